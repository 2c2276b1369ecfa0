--- status.lua: what status pages show: the tree of one root, and the list of roots. Field names are those of the
-- original's JSON; times are whole milliseconds since the epoch, truncated.
--
-- Values are shown, not given back: one that is large, or that cannot be read in this process, becomes a text (G20).

local core = require "pipeline.core"
local context = require "pipeline.context"
local errors = require "pipeline.errors"
local instance = require "pipeline.instance"
local keys = require "pipeline.keys"
local options = require "pipeline.options"
local stores = require "pipeline.stores"
local text = require "pipeline.text"
local misuse = require("pipeline.place").misuse

local status = {}

local VALUE_BYTES_MAX = 8192
local PREVIEW_BYTES = 1000
local PAGE = 50
local PAGE_MAX = 1000

-- Integer arithmetic, so that 16.416567 s gives 16416 ms whatever the float is (P181, G31).
local function milliseconds(seconds)
  return math.floor(seconds * 1e6 + 0.5) // 1000
end

-- A stage and its default slot share an id; only the stage is known by its idempotence key.
local function id_text(view, id)
  return view.keys[id] or view.engine:_id_text(id)
end

local function slot_text(view, id)
  return view.engine:_id_text(id)
end

-- A slot inside a value, or in its place.
local SlotMark = {}

local function preview(value, size)
  return ("%s... (%d bytes)"):format(text.of(value, PREVIEW_BYTES):sub(1, PREVIEW_BYTES), size)
end

local function shown_value(bytes)
  local ok, value, code, message = pcall(core.decode, bytes)
  if not ok then return "(cannot be read: " .. errors.text(value) .. ")" end
  if value == nil and code then return "(cannot be read: " .. tostring(message) .. ")" end
  if #bytes > VALUE_BYTES_MAX then return preview(value, #bytes) end
  return value
end

local function shown_args(view, record)
  local function mark(id) return setmetatable({ type = "slot", slotKey = slot_text(view, id) }, SlotMark) end
  local ok, list, n, message = pcall(core.decode_list, record.args, mark)
  if not ok or not list then
    return { { type = "value", value = "(cannot be read: " .. errors.text(ok and message or list) .. ")" } }
  end
  local large = #record.args > VALUE_BYTES_MAX
  local args = {}
  for i = 1, n do
    local value = list[i]
    if getmetatable(value) == SlotMark then
      args[i] = { type = "slot", slotKey = value.slotKey }
    else
      args[i] = { type = "value", value = large and #text.of(value, 2 * PREVIEW_BYTES) > PREVIEW_BYTES
        and preview(value, #record.args) or value }
    end
  end
  return args
end

-- ---- one pipeline ----------------------------------------------------------------------------------------------

local shown_states = {
  waiting = "waiting", run = "run", finalizing = "finalizing", done = "done", aborted = "aborted",
  aborting = "aborting", abort_held = "aborting",
}

-- A stage that is ready shows run, as in the original, unless it waits for its next attempt (P175, P176, G11).
local function shown_state(record)
  if record.state == "ready" then return record.retry_at and "retry" or "run" end
  return shown_states[record.state] or record.state
end

local with_start = { run = true, finalizing = true, done = true, retry = true, aborting = true }

local function add_times(entry, record, default)
  local state = entry.status
  if with_start[state] then
    local start = record.retry_at or record.started or record.created
    if start then entry.startTimeMs = milliseconds(start) end
  end
  if state == "finalizing" and default and default.time then
    entry.endTimeMs = milliseconds(default.time)
  elseif (state == "done" or state == "aborted") and record.finalized then
    entry.endTimeMs = milliseconds(record.finalized)
  end
end

local function non_empty(value)
  if value == nil or value == "" then return nil end
  return value
end

local function add_status_record(entry, said)
  if not said then return end
  entry.statusTimeMs = milliseconds(said.time)
  entry.statusMessage = non_empty(said.message)
  entry.statusConsoleUrl = non_empty(said.console_url)
  local links = said.links and shown_value(said.links)
  if type(links) == "table" and next(links) ~= nil then entry.statusLinks = links end
end

-- Outputs that an async pipeline still waits for although its default is filled (G10).
local function add_missing(entry, view, record)
  local default = view.slots[record.outputs[1].slot]
  if record.state ~= "run" or record.flags & core.ASYNC == 0 or not (default and default.filled) then return end
  local missing = {}
  for _, output in ipairs(record.outputs) do
    local slot = view.slots[output.slot]
    if not (slot and slot.filled) then missing[#missing + 1] = output.name end
  end
  table.sort(missing)
  if #missing > 0 then entry.missingOutputs = missing end
end

local function require_whole(view, record)
  local what = (record.class_path or "") == "" and "no class" or not record.args and "no arguments"
    or not (record.outputs[1] and record.outputs[1].name == "default") and "no default output"
  if what then
    errors.raise(errors.PipelineStatusError, "pipeline %s is damaged: it has %s", id_text(view, record.id), what)
  end
end

local function pipeline_entry(view, record)
  require_whole(view, record)
  local outputs, after = {}, {}
  for _, output in ipairs(record.outputs) do outputs[output.name] = slot_text(view, output.slot) end
  for i, slot in ipairs(record.after or {}) do after[i] = slot_text(view, slot) end
  local entry = {
    classPath = record.class_path, args = shown_args(view, record), kwargs = {}, outputs = outputs,
    children = {}, queueName = record.queue or "default", afterSlotKeys = after, currentAttempt = record.attempt + 1,
    maxAttempts = record.max_attempts, backoffSeconds = record.backoff_seconds,
    backoffFactor = record.backoff_factor, status = shown_state(record), target = record.target,
    lastRetryMessage = non_empty(record.retry_message), abortMessage = non_empty(record.abort_message),
  }
  if record.state == "abort_held" then entry.abortPending = true end
  add_times(entry, record, view.slots[record.outputs[1].slot])
  add_status_record(entry, record.status)
  add_missing(entry, view, record)
  return entry
end

local function slot_entry(view, slot)
  local entry = {
    status = slot.filled and "filled" or "waiting", fillerPipelineId = slot.filler and id_text(view, slot.filler),
  }
  if slot.filled then
    entry.fillTimeMs = milliseconds(slot.time)
    entry.value = shown_value(slot.value)
  end
  return entry
end

-- ---- the tree --------------------------------------------------------------------------------------------------

-- Slots of unfilled outputs without a known owner get the deepest pipeline that has them (P182).
local function add_slots(view, tree, record)
  for _, output in ipairs(record.outputs) do
    local slot = view.slots[output.slot]
    if slot then
      local entry = slot_entry(view, slot)
      entry.fillerPipelineId = entry.fillerPipelineId or id_text(view, record.id)
      tree.slots[slot_text(view, output.slot)] = entry
    end
  end
end

local function no_such(id)
  errors.raise(errors.PipelineStatusError, "there is no pipeline %s", errors.text(id))
end

local function find_tree(engine, id, only_own)
  if type(id) ~= "string" then
    misuse(("bad argument #1 to 'get_status_tree' (string expected, got %s)"):format(type(id)))
  end
  local record = keys.find(engine, id)
  local owner = not record and not only_own and stores.find(engine, id)
  if owner then engine, record = owner, keys.find(owner, id) end
  if not record then no_such(id) end
  local stages, slots, message = context.store(engine, true):tree_get(record.id)
  if not stages and slots then errors.raise_core(slots, message, "status tree") end
  if not stages or #stages == 0 then no_such(id) end
  return stages, slots, engine
end

-- What the engine itself has added, while all is well with it.
local function is_hidden(record)
  return record.flags & instance.HIDDEN ~= 0 and record.attempt == 0
end

--- The status of a whole tree, by the id of any of its pipelines: {rootPipelineId, slots, pipelines}.
-- If it is of the store of another open engine, that is asked, unless only_own. Raises PipelineStatusError if there is
-- none. In App Engine: pipeline.get_status_tree.
function status.tree(engine, id, only_own)
  local stages, slots, owner = find_tree(engine, id, only_own)
  local view = { engine = owner, slots = slots, keys = {} }
  for _, record in ipairs(stages) do
    if record.key then view.keys[record.id] = record.key end
  end
  local tree = { rootPipelineId = id_text(view, stages[1].root), slots = {}, pipelines = {} }
  for _, record in ipairs(stages) do
    if is_hidden(record) then goto continue end
    local own = id_text(view, record.id)
    tree.pipelines[own] = pipeline_entry(view, record)
    add_slots(view, tree, record)
    if record.parent then
      local parent = tree.pipelines[id_text(view, record.parent)]
      if not parent then
        errors.raise(errors.PipelineStatusError, "the parent of pipeline %s is missing", own)
      end
      table.insert(parent.children, own)
    end
    ::continue::
  end
  return tree
end

-- ---- roots -----------------------------------------------------------------------------------------------------

local list_kinds = { class_path = "string", cursor = "string", count = "count" }

local function root_entry(view, record)
  local ok, entry = pcall(pipeline_entry, view, record)
  if not ok then
    local _, message = errors.describe(entry)
    entry = { status = message, classPath = "" }
  end
  entry.pipelineId = id_text(view, record.id)
  return entry
end

--- Roots, newest first: {pipelines = list of entries of the tree with pipelineId, cursor}. `cursor` is there only if
-- there is another page.
-- @tparam[opt] table given class_path (only that class), cursor (of the page before), count (default 50).
-- Raises PipelineStatusError for a bad cursor. In App Engine: pipeline.get_root_list.
function status.roots(engine, given)
  given = options.check(given, list_kinds, 1, "get_root_list")
  local before
  if given.cursor then
    before = engine._core:id_parse(given.cursor)
    if not before then errors.raise(errors.PipelineStatusError, "bad cursor") end
  end
  local stages, slots, following = context.store(engine, true):roots_list {
    class_path = given.class_path, before = before, limit = math.min(given.count or PAGE, PAGE_MAX),
  }
  if not stages then errors.raise_core(slots, following, "root list") end
  local view = { engine = engine, slots = slots, keys = {} }
  local list = {}
  for i, record in ipairs(stages) do
    if record.key then view.keys[record.id] = record.key end
    list[i] = root_entry(view, record)
  end
  return { pipelines = list, cursor = following and engine:_id_text(following) or nil }
end

return status
