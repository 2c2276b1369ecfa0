--- stages.lua: methods of the engine that show the stages of a tree: all of them, one of them, and what has happened.

local address = require "pipeline.view.address"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local core = require "pipeline.core"
local entries = require "pipeline.view.entries"
local errors = require "pipeline.support.errors"
local failures = require "pipeline.workflow.failures"
local instance = require "pipeline.workflow.instance"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local slices = require "pipeline.support.slices"
local text = require "pipeline.support.text"
local values = require "pipeline.view.values"
local bad_option = require("pipeline.support.place").bad_option

local methods = {} -- of the engine

local TREE_PAGE, TREE_MAX = 1000, 5000
local DEPTH_MAX = 1 << 20 -- no tree is deeper

-- ---- the tree --------------------------------------------------------------------------------------------------

local tree_kinds = { parent = "string", depth = "integer", cursor = "string", limit = "count" }

-- What the engine itself has added, while all is well with it.
local function is_hidden(record)
  return record.flags & instance.HIDDEN ~= 0 and record.attempt == 0
end

local function to_read(engine, root, given)
  if given.depth and given.depth < 0 then
    bad_option(2, "tree", "depth", "integer, at least 0, expected")
  end
  local wanted = {
    depth = given.depth and math.min(given.depth, DEPTH_MAX),
    limit = math.min(given.limit or TREE_PAGE, TREE_MAX), counts = true, hidden = instance.HIDDEN,
  }
  if given.parent then
    local _, record = address.require(engine, given.parent, "tree")
    if record.root ~= root then
      errors.raise(errors.PipelineStatusError, "pipeline %s is not in that tree", text.short(given.parent))
    end
    wanted.top = record.id
  end
  if given.cursor then
    wanted.after = engine._core:id_parse(given.cursor) or errors.raise(errors.PipelineStatusError, "bad cursor")
  end
  return wanted
end

local function counted(record)
  if not record.child_count or record.child_count == 0 then return nil end
  return { done = record.children_done, total = record.child_count }
end

local function add_stages(engine, page, root, list)
  local pause <close> = slices.new(engine)
  local by_id = {}
  repeat
    local stages = page:take()
    for _, record in ipairs(stages or {}) do
      if not is_hidden(record) then
        record.children = counted(record)
        local parent = record.parent and (record.parent == root.number and root.text or engine:_id_text(record.parent))
        local entry = entries.readable(engine, record, root.text, { parent = parent })
        entry.child_ids = {}
        list[#list + 1], by_id[entry.id] = entry, entry
        if parent and by_id[parent] then table.insert(by_id[parent].child_ids, entry.id) end
      end
      pause()
    end
  until not stages
end

--- The stages of a tree, or a page of them: { root = id, items = list of entries (see view/entries.lua), a parent
-- before its children, children in the order spawned; cursor = text, if there are more }. Each has child_ids: those of
-- its children that are in the page.
-- @tparam string given an address (see find) of any stage of the tree.
-- @tparam[opt] table page parent (address of a stage: it and what is below it; default: the root), depth (levels below
--   that; default: all), limit (stages, default 1000, at most 5000), cursor (of the page before). A page may have fewer
--   stages than asked for, or none. Raises PipelineStatusError if there is no such pipeline.
function methods.tree(self, given, page)
  opened.check(self)
  page = options.check(page, tree_kinds, 2, "tree")
  local _, record = address.require(self, given, "tree")
  local wanted = to_read(self, record.root, page)
  local info, stages <close> = errors.read(current.store(self, true):tree_page(record.id, wanted))
  if not info then errors.raise(errors.PipelineStatusError, "there is no pipeline %s", text.short(given)) end
  local root = { number = info.root, text = info.key or self:_id_text(info.root) }
  local list = {}
  add_stages(self, stages, root, list)
  return { root = root.text, items = list, cursor = info.next and self:_id_text(info.next) or nil }
end

-- ---- one stage -------------------------------------------------------------------------------------------------

local function names_of(engine, record)
  if not record.parent then return entries.id_text(engine, record), nil end
  local root = errors.read(current.store(engine, true):stage_get(record.root))
  local root_text = root and entries.id_text(engine, root) or engine:_id_text(record.root)
  return root_text, record.parent == record.root and root_text or engine:_id_text(record.parent)
end

local function slot_of(engine, slots, id)
  local slot = slots[id]
  local shown = { type = "slot", slot = engine:_id_text(id), filled = slot and slot.filled or false }
  if slot and slot.filled then
    shown.value, shown.time = values.shown(slot.value), slot.time
    shown.filler = slot.filler and engine:_id_text(slot.filler)
  end
  return shown
end

local function outputs_of(engine, record, slots)
  local list = {}
  for i, output in ipairs(record.outputs) do
    local shown = slot_of(engine, slots, output.slot)
    shown.type, shown.name = nil, output.name
    list[i] = shown
  end
  return list
end

local function attempts_of(engine, record)
  local list, code, message = current.store(engine, true):failures_get(record.id)
  if not list then errors.raise_core(code, message) end
  local attempts = {}
  for i, failure in ipairs(list) do
    attempts[i] = {
      time = failure.time, attempt = failure.attempt, worker = failure.worker, error_class = failure.error_class,
      message = failure.message, traceback = failure.traceback,
    }
  end
  return attempts
end

-- How long it has waited for its inputs, then in its queue, and how long it has been executed, as far as it is known.
local function timings_of(entry, now)
  local timings, began = {}, nil
  timings.waited = math.max(0, (entry.started or entry.ended or now) - (entry.created or now))
  if entry.state == "executing" then began = entry.since end
  if entry.started and began then
    timings.queued, timings.executed = math.max(0, began - entry.started), math.max(0, now - began)
  elseif entry.started and (entry.state == "ready" or entry.state == "delayed") then
    timings.queued = math.max(0, now - entry.started)
  end
  return timings
end

local function add_callback(entry, self, record)
  if record.flags & core.ASYNC == 0 then return end
  entry.async = true
  local of = class.find(record.class_path) or class.Base
  local ok, stage = pcall(instance.of_record, self, of, record)
  if not ok then return end
  entry.callback_url = (self:_link_base() or "") .. (record.base_path or instance.BASE_PATH) .. "/callback?pipeline_id="
    .. text.quote(stage.id)
  entry.public_callbacks = of.public_callbacks and true or nil
end

local function failed_stage(engine, record)
  if record.parent or not record.abort_message then return nil end
  local cause, of = failures.cause(engine, failures.of_tree(engine, record.id), record.abort_message)
  return cause and {
    id = entries.id_text(engine, of), class = of.class_path, attempt = cause.attempt, error_class = cause.error_class,
    message = cause.message, traceback = cause.traceback, time = cause.time,
  }
end

-- Of which durable function it is a fork, and which are forks of it.
local function add_forks(entry, engine, record)
  if record.flags & core.DURABLE == 0 then return end
  local store = current.store(engine, true)
  local flow = errors.read(store:journal_get(record.id, { after = 1 << 62, limit = 1, mail_limit = 0 }))
  if flow and flow.forked_from then entry.forked_from = engine:_id_text(flow.forked_from) end
  local found = errors.read(store:shown_get(record.id, { forks = true }))
  if not (found and found.forks[1]) then return end
  entry.forks = {}
  for i, id in ipairs(found.forks) do entry.forks[i] = engine:_id_text(id) end
end

--- Everything about one stage: its entry (see view/entries.lua), and args (list of { type = "value", value } or { type
-- = "slot", slot, filled, value, time, filler }), outputs (list of { name, slot, filled, value, time, filler }), after
-- (as args: slots that had to be filled first), attempts (those that failed: list of { time, attempt, worker,
-- error_class, message, traceback }), async, callback_url (of an async one; absolute where base_url is known),
-- public_callbacks, timings = { waited, queued, executed } in seconds, as far as they are known, base_path, target,
-- timeout, priority, backoff_seconds, backoff_factor, and failed = { id, class, attempt, error_class, message,
-- traceback, time }: of an aborted root, the stage for which its tree was aborted. Of a durable function that was
-- forked, or is a fork: forks (list of ids), forked_from (id).
-- @tparam string given an address (see find). Raises PipelineStatusError if there is no such pipeline.
function methods.stage(self, given)
  opened.check(self)
  local id, found = address.require(self, given, "stage")
  local record, slots = errors.read(current.store(self, true):stage_get(found.id, true, true))
  if not record then errors.raise(errors.PipelineStatusError, "there is no pipeline %s", id) end
  local root, parent = names_of(self, record)
  local entry = entries.of(self, record, root, { parent = parent, owners = true })
  entry.args = values.args(record, function(slot) return slot_of(self, slots, slot) end)
  entry.outputs, entry.attempts = outputs_of(self, record, slots), attempts_of(self, record)
  entry.after = {}
  for i, slot in ipairs(record.after or {}) do entry.after[i] = slot_of(self, slots, slot) end
  for _, name in ipairs { "base_path", "target", "timeout", "priority", "backoff_seconds", "backoff_factor" } do
    entry[name] = record[name]
  end
  entry.timings = timings_of(entry, self._core:now())
  add_callback(entry, self, record)
  entry.failed = failed_stage(self, record)
  add_forks(entry, self, record)
  return entry
end

-- ---- what has happened -----------------------------------------------------------------------------------------

local function add_failures(engine, root, list)
  for _, failure in ipairs(failures.of_tree(engine, root)) do
    list[#list + 1] = {
      time = failure.time, level = "error", kind = "failure",
      stage = failure.key or engine:_id_text(failure.stage), class = failure.class_path, attempt = failure.attempt,
      worker = failure.worker, text = failure.message ~= "" and ("%s: %s"):format(failure.error_class, failure.message)
        or failure.error_class, traceback = failure.traceback,
    }
  end
end

local function add_line(list, entry, time, level, kind, line)
  if time then
    list[#list + 1] = { time = time, level = level, kind = kind, stage = entry.id, class = entry.class, text = line }
  end
end

local function add_history(list, entry)
  add_line(list, entry, entry.created, "info", "created", "created")
  if entry.message or entry.message_time then
    add_line(list, entry, entry.message_time, "info", "message", entry.message or "(its message was cleared)")
  end
  if entry.state == "aborted" then
    add_line(list, entry, entry.ended, "error", "aborted", entry.reason and "aborted: " .. entry.reason or "aborted")
  else
    add_line(list, entry, entry.ended, "info", "done", "done")
  end
end

local LOG_STAGES_MAX = 20000
local LOG_RANKS = { created = 1, message = 2, failure = 2, done = 3, aborted = 3 } -- of what a single commit has told

--- What has happened in a tree, or below one of its stages, in the order of time: a list of { time, level ("info",
-- "error"), kind ("created", "failure", "message", "done", "aborted"), stage, class, text, attempt, worker, traceback
-- }. Of a tree with more than 20,000 stages it has those of the first ones; of more than 200 failures, some.
-- @tparam string given an address (see find). Raises PipelineStatusError if there is no such pipeline.
function methods.logs(self, given)
  opened.check(self)
  local id, record = address.require(self, given, "logs")
  local list, cursor, seen, members = {}, nil, 0, {}
  repeat
    local page = self:tree(id, { parent = id, cursor = cursor, limit = TREE_MAX })
    for _, entry in ipairs(page.items) do
      members[entry.id] = true
      add_history(list, entry)
    end
    seen, cursor = seen + #page.items, page.cursor
  until not cursor or seen >= LOG_STAGES_MAX
  local failed = {}
  add_failures(self, record.root, failed)
  for _, line in ipairs(failed) do
    if members[line.stage] or not record.parent then list[#list + 1] = line end
  end
  for i, line in ipairs(list) do line.order = i end
  table.sort(list, function(a, b)
    if a.time ~= b.time then return a.time < b.time end
    local rank, other = LOG_RANKS[a.kind] or 2, LOG_RANKS[b.kind] or 2
    if rank ~= other then return rank < other end
    return a.order < b.order
  end)
  for _, line in ipairs(list) do line.order = nil end
  return list
end

return methods
