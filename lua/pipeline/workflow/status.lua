--- status.lua: what status pages show: the tree of one root, and the list of roots. Field names are those of the
-- original's JSON; times are whole milliseconds since the epoch, truncated.
--
-- Values are shown, not given back: one that is large, or that cannot be read in this process, becomes a text (G20).

local core = require "pipeline.core"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local failures = require "pipeline.workflow.failures"
local instance = require "pipeline.workflow.instance"
local keys = require "pipeline.workflow.keys"
local options = require "pipeline.support.options"
local slices = require "pipeline.support.slices"
local stores = require "pipeline.support.stores"
local values = require "pipeline.view.values"
local words = require "pipeline.view.words"
local place = require "pipeline.support.place"
local bad_option, bad_type = place.bad_option, place.bad_type

local status = {}

local PAGE = 50
local PAGE_MAX = 1000
local PIECE = 25 -- roots read at a time
local TREE_PAGE = 1000
local TREE_MAX = 5000 -- stages of a page, and of a tree that is given as a whole

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

local function shown_args(view, record)
  return values.args(record, function(id) return { type = "slot", slotKey = slot_text(view, id) } end)
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

-- ---- what is so -------------------------------------------------------------------------------------------------

local NEVER = 9.2e12 -- seconds: what is due then waits for something else than a time

local function add_task(entry, work)
  if work.claimed then
    entry.worker, entry.sinceMs = work.worker, work.since and milliseconds(work.since)
  elseif work["until"] then
    if work["until"] < NEVER then entry.untilMs = milliseconds(work["until"]) end
  else
    entry.placeInQueue = work.place
    if work.paused then entry.pausedQueue = true end
  end
end

-- The word `state`, and what it means for this one (see get_status_tree in init.lua).
local function add_state(entry, view, record)
  local work = record.work
  entry.state = words.state(record, work)
  if not work then return end
  if work.unfilled then
    local slots = {}
    for i, slot in ipairs(work.unfilled) do slots[i] = slot_text(view, slot) end
    entry.waitingFor = slots
  end
  if record.state == "run" then
    entry.childrenOpen = record.open - work.outputs_open
    if record.flags & core.ASYNC ~= 0 then entry.outputsOpen = work.outputs_open end
  end
  if work.has_task then add_task(entry, work) end
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
  local links = said.links and values.shown(said.links)
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
  local what = (record.class_path or "") == "" and "no class" or not (record.args or record.args_cut) and "no arguments"
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
    children = {}, queueName = record.queue or "default", afterSlotKeys = after,
    currentAttempt = math.min(record.attempt + 1, record.max_attempts),
    maxAttempts = record.max_attempts, backoffSeconds = record.backoff_seconds,
    backoffFactor = record.backoff_factor, status = shown_state(record), target = record.target,
    lastRetryMessage = non_empty(record.retry_message), abortMessage = non_empty(record.abort_message),
  }
  if record.state == "abort_held" then entry.abortPending = true end
  if record.flags & core.FALLBACK_TAKEN ~= 0 then entry.fallbackTaken = true end
  add_times(entry, record, view.slots[record.outputs[1].slot])
  add_status_record(entry, record.status)
  add_missing(entry, view, record)
  add_state(entry, view, record)
  return entry
end

-- In lists and pages one that is damaged says so, and the others are shown.
local function readable_entry(view, record)
  local ok, entry = pcall(pipeline_entry, view, record)
  if ok then return entry end
  local _, message = errors.describe(entry)
  return {
    status = message, classPath = "", args = {}, kwargs = {}, outputs = {}, children = {}, afterSlotKeys = {},
  }
end

local function slot_entry(view, slot)
  local entry = {
    status = slot.filled and "filled" or "waiting", fillerPipelineId = slot.filler and id_text(view, slot.filler),
  }
  if slot.filled then
    entry.fillTimeMs = milliseconds(slot.time)
    entry.value = slot.cut and values.too_long(slot.cut) or not slot.cut and values.shown(slot.value) or nil
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
      tree.slots[slot_text(view, output.slot)] = view.keep.slot(entry)
    end
  end
end

local function no_such(id)
  errors.raise(errors.PipelineStatusError, "there is no pipeline %s", errors.text(id))
end

local function find_record(engine, id, only_own)
  if type(id) ~= "string" then
    bad_type(1, "get_status_tree", "string", id)
  end
  local record = keys.find(engine, id)
  local owner = not record and not only_own and stores.find(engine, id)
  if owner then engine, record = owner, keys.find(owner, id) end
  if not record then no_such(id) end
  return record, engine
end

local tree_kinds = { parent = "string", depth = "integer", cursor = "string", limit = "count" }

-- What the store is asked for: without options the whole tree, and one stage more than it may have.
local function to_read(engine, given)
  if not given then return { limit = TREE_MAX + 1 } end
  if given.depth and given.depth < 0 then
    bad_option(2, "get_status_tree", "depth", "integer, at least 0, expected")
  end
  local wanted = {
    depth = given.depth, limit = math.min(given.limit or TREE_PAGE, TREE_MAX),
    counts = (given.depth or given.parent) ~= nil, hidden = instance.HIDDEN,
  }
  if given.parent then
    local top = keys.find(engine, given.parent)
    if not top then no_such(given.parent) end
    wanted.top = top.id
  end
  if given.cursor then
    wanted.after = engine._core:id_parse(given.cursor)
    if not wanted.after then errors.raise(errors.PipelineStatusError, "bad cursor") end
  end
  return wanted
end

local function read_page(engine, record, id, wanted, given)
  local info, page = errors.read(current.store(engine, true):tree_page(record.id, wanted))
  if info then return info, page end
  if not wanted.top then no_such(id) end
  errors.raise(errors.PipelineStatusError, "pipeline %s is not in the tree of %s", given.parent, id)
end

local function refuse_large(id)
  errors.raise(errors.PipelineStatusError, "the tree of %s has more than %d stages and is not given as a whole: " ..
    "read it in pages, get_status_tree(id, { limit = %d, cursor = the cursor of the page before }), or in parts, " ..
    "with parent and depth", id, TREE_MAX, TREE_PAGE)
end

-- What the engine itself has added, while all is well with it.
local function is_hidden(record)
  return record.flags & instance.HIDDEN ~= 0 and record.attempt == 0
end

-- How entries are kept: as they are.
local plain = {
  entry = function(entry) return entry end,
  slot = function(entry) return entry end,
  adopt = function(entry, children)
    entry.children = children
    return entry
  end,
}

-- Attempts that failed, with their tracebacks, and which stage the tree was aborted for.
local function read_failures(view, root)
  local list, by_stage = failures.of_tree(view.engine, root), {}
  for _, failure in ipairs(list) do
    local of = by_stage[failure.stage] or {}
    by_stage[failure.stage] = of
    of[#of + 1] = {
      timeMs = milliseconds(failure.time), attempt = failure.attempt, worker = failure.worker,
      errorClass = failure.error_class, message = failure.message, traceback = failure.traceback,
    }
  end
  view.failed_attempts, view.all_failures = by_stage, list
end

local function add_failures(view, entry, record)
  entry.failures = view.failed_attempts[record.id]
  local cause = not record.parent and record.abort_message and
    failures.cause(view.engine, view.all_failures, record.abort_message)
  if cause then entry.failedPipelineId = cause.key or view.engine:_id_text(cause.stage) end
end

-- Children are linked when all stages are there: in files of before, a child may come before its parent.
local function add_stage(view, tree, record, is_page)
  local own = id_text(view, record.id)
  local entry = (is_page and readable_entry or pipeline_entry)(view, record)
  local above = record.parent and id_text(view, record.parent)
  if is_page then entry.parentPipelineId, entry.childCount = above, record.child_count end
  add_failures(view, entry, record)
  tree.pipelines[own] = view.keep.entry(entry)
  add_slots(view, tree, record)
  table.insert(tree.order, own)
  if not above then return end
  local siblings = view.children[above] or {}
  view.children[above] = siblings
  table.insert(siblings, own)
end

local function link_children(view, tree, is_page)
  local pause <close> = slices.new(view.engine)
  for own, children in pairs(view.children) do
    local entry = tree.pipelines[own]
    if entry then
      tree.pipelines[own] = view.keep.adopt(entry, children)
    elseif not is_page then
      errors.raise(errors.PipelineStatusError, "the parent of pipeline %s is missing", children[1])
    end
    pause()
  end
end

local function add_page(view, tree, page, is_page)
  local pause <close> = slices.new(view.engine)
  local stages
  repeat
    stages, view.slots = page:take()
    for _, stage in ipairs(stages or {}) do
      if not is_hidden(stage) then add_stage(view, tree, stage, is_page) end
      pause()
    end
  until not stages
end

-- A whole tree with large values takes several pages, too, so that there is not all of it in memory at once.
local function read_tree(engine, record, id, given, keep)
  local wanted, seen = to_read(engine, given), 0
  local view, tree
  repeat
    local info, page <close> = read_page(engine, record, id, wanted, given)
    seen = seen + info.len
    if seen > TREE_MAX then refuse_large(id) end
    if not tree then
      view = { engine = engine, keys = { [info.root] = info.key }, keep = keep, children = {} }
      read_failures(view, info.root)
      tree = { rootPipelineId = id_text(view, info.root), slots = {}, pipelines = {}, order = {} }
    end
    add_page(view, tree, page, given ~= nil)
    wanted.after, wanted.limit = info.next, TREE_MAX + 1 - seen
  until given or not info.next
  link_children(view, tree, given ~= nil)
  tree.cursor = wanted.after and engine:_id_text(wanted.after)
  return tree
end

--- The status of a tree, by the id of any of its pipelines: {rootPipelineId, slots, pipelines}. A tree of more than
-- 5,000 stages is read in pages. In a run, a handler or a tasklet others go on while it is read.
-- An entry whose attempts have failed has failures: a list of {timeMs, attempt, worker, errorClass, message,
-- traceback}; of a tree with more than 200 of them, some. The root of an aborted tree has failedPipelineId.
-- If it is of the store of another open engine, that is asked, unless only_own. `keep` says what becomes of entries, so
-- that there need not be tables of a whole tree at once: entry(e), slot(e), adopt(what entry gave, ids of children).
-- @tparam[opt] table given asks for a page: parent (the id of a stage: it and what is below it; default: the root),
--   depth (levels below that, 0 and up; default: all), limit (stages, default 1000, at most 5000), cursor (of the
--   page before). A page has also `order` (the ids in it, a parent before its children) and, if more follows,
--   `cursor`; it may have fewer stages than asked for, or none. Its entries have parentPipelineId (which need not be
--   in the page) and, if parent or depth were given and the tree is not too large for it (200,000 stages), childCount;
--   children are those in the page. All of a page is seen at one moment. Going on by cursors gives every stage once
--   that was there at the first page and is still there; of those that are added meanwhile, some.
-- Raises PipelineStatusError if there is none, or it is too large. In App Engine: pipeline.get_status_tree.
function status.tree(engine, id, given, only_own, keep)
  if given ~= nil then given = options.check(given, tree_kinds, 2, "get_status_tree") end
  local record, owner = find_record(engine, id, only_own)
  local tree = read_tree(owner, record, id, given, keep or plain)
  if not given then tree.order = nil end
  return tree
end

-- ---- roots -----------------------------------------------------------------------------------------------------

local list_kinds = { class_path = "string", cursor = "string", count = "count" }

local function root_entry(view, record)
  local entry = readable_entry(view, record)
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
  local list, left = {}, math.min(given.count or PAGE, PAGE_MAX)
  repeat
    local stages, slots, following = current.store(engine, true):roots_list {
      class_path = given.class_path, before = before, limit = math.min(left, PIECE),
    }
    if not stages then errors.raise_core(slots, following, "root list") end
    local view = { engine = engine, slots = slots, keys = {} }
    local pause <close> = slices.new(engine)
    for _, record in ipairs(stages) do
      if record.key then view.keys[record.id] = record.key end
      list[#list + 1] = root_entry(view, record)
      pause()
    end
    before, left = following, left - #stages
  until not before or left <= 0
  return { pipelines = list, cursor = before and engine:_id_text(before) or nil }
end

return status
