--- queues.lua: methods of the engine that show queues, their tasks, and the processes that work on the store.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local slices = require "pipeline.support.slices"
local tasks = require "pipeline.view.tasks"
local bad_option = require("pipeline.support.place").bad_option

local methods = {} -- of the engine

local PAGE, PAGE_MAX = 50, 1000

local function ask(self, verb, ...)
  local found, code, message = current.store(self, true)[verb](current.store(self, true), ...)
  if not found then errors.raise_core(code, message, verb) end
  return found, code
end

-- ---- workers ---------------------------------------------------------------------------------------------------

-- A list of names; nil: all queues.
local function served_queues(serves)
  if not serves then return nil end
  local names = {}
  for name in serves:gmatch("[^\n]+") do names[#names + 1] = name end
  return names
end

--- The processes on the store: a list of { number, host, pid, version (absent: it did not say), since, serving (a list
-- of queues; absent: all; an empty one: it executes nothing), executing (tasks it has claimed), lease_until, is_self,
-- gone (true: its process has ended; others take over what it has) }.
function methods.workers(self)
  opened.check(self)
  local list, own = {}, self._core:facts()
  for i, record in ipairs(ask(self, "workers_get")) do
    list[i] = {
      number = record.number, host = record.host, pid = record.pid, version = record.version, since = record.started,
      serving = served_queues(record.serves), executing = record.claims, lease_until = record.lease_until,
      is_self = record.number == own.worker_number, gone = record.gone or nil,
    }
  end
  return list
end

local function serves(worker, name)
  if worker.gone then return false end
  if not worker.serving then return true end
  for _, served in ipairs(worker.serving) do
    if served == name then return true end
  end
  return false
end

-- ---- queues ----------------------------------------------------------------------------------------------------

local function queue_of(record, workers)
  local is_served = false
  for _, worker in ipairs(workers) do is_served = is_served or serves(worker, record.name) end
  return {
    name = record.name, mode = record.mode, paused = record.paused, rate = record.rate,
    bucket_size = record.rate and record.bucket_size, tokens = record.tokens, max_concurrent = record.max_concurrent,
    target = record.target, retry = record.retry, ready = record.ready, delayed = record.delayed,
    executing = record.executing, dead = record.dead, more = record.more, oldest_ready = record.oldest_ready,
    executed_last_minute = record.executed_last_minute, served = is_served,
  }
end

--- The queues, in the order in which they were made: a list of { name, mode ("push", "pull"), rate (tasks a second;
-- absent: no limit), bucket_size, tokens (of the rate, now), max_concurrent, target, retry (its retry parameters, if
-- any), paused, ready, delayed, executing (leased, of a pull queue), dead, more (true: there are more tasks than were
-- counted, which is 100,000 of a state at most), oldest_ready (since when its oldest ready task is ready),
-- executed_last_minute, served (a process that lives executes its tasks) }.
function methods.queues(self)
  opened.check(self)
  local workers, list = self:workers(), {}
  for i, record in ipairs(ask(self, "queues_seen")) do list[i] = queue_of(record, workers) end
  return list
end

-- ---- tasks -----------------------------------------------------------------------------------------------------

local task_kinds = { queue = "string", state = "any", text = "string", limit = "count", cursor = "string" }

local PLACE = { "phase", "queue", "priority", "eta", "id" }

local function cursor_text(at)
  if not at then return nil end
  local parts = {}
  for i, name in ipairs(PLACE) do parts[i] = ("%d"):format(at[name]) end
  return table.concat(parts, ".")
end

local function read_cursor(cursor)
  if not cursor then return nil end
  local at, i = {}, 0
  for part in cursor:gmatch("[^.]+") do
    i = i + 1
    if PLACE[i] then at[PLACE[i]] = math.tointeger(tonumber(part)) end
  end
  if i ~= #PLACE or not (at.phase and at.queue and at.priority and at.eta and at.id) then
    errors.raise(errors.PipelineStatusError, "bad cursor")
  end
  return at
end

local function add_states(wanted, given)
  if given == nil or given == "" then return end
  local list = type(given) == "string" and {} or given
  if type(given) == "string" then
    for word in given:gmatch("[^,%s]+") do list[#list + 1] = word end
  end
  options.check_list(list, function(item) return type(item) == "string" end, 1, "tasks",
    "option 'state': list of states", "option 'state': state")
  for _, word in ipairs(list) do
    if not tasks.STATES[word] then
      bad_option(1, "tasks", "state", "'%s' is none; did you mean '%s'?", word, options.nearest(word, tasks.STATES))
    end
    wanted[word] = true
  end
end

local function refuse_queue(self, name)
  local known = {}
  for _, record in ipairs(ask(self, "queue_get")) do known[record.name] = true end
  local nearest = options.nearest(name, known)
  errors.raise(errors.PipelineStatusError, "there is no queue '%s'%s", name,
    nearest and ("; did you mean '" .. nearest .. "'?") or "")
end

--- Tasks of queues, those of pipelines included: { items = list of entries (see view/tasks.lua), cursor = text, if
-- there may be more }. Those executing come first, then ready ones as they will start, delayed ones by time, dead ones
-- newest first.
-- @tparam[opt] table given queue (default: all), state ("ready", "delayed", "executing", "dead"; several with commas,
--   or a list), text (found in name, class, key, tag, URL, payload or error), limit (default 50, at most 1000), cursor
--   (of the page before). A page may have fewer items than `limit`, or none, and a cursor all the same: what is looked
--   through for one page is bounded.
-- Raises PipelineStatusError for a bad cursor or an unknown queue.
function methods.tasks(self, given)
  opened.check(self)
  given = options.check(given, task_kinds, 1, "tasks")
  local wanted = {
    queue = given.queue ~= "" and given.queue or nil, text = given.text ~= "" and given.text or nil,
    limit = math.min(given.limit or PAGE, PAGE_MAX), at = read_cursor(given.cursor),
  }
  add_states(wanted, given.state)
  local records, at, message = current.store(self, true):tasks_find(wanted)
  if not records then
    if at == "ENOQUEUE" then refuse_queue(self, given.queue) end
    errors.raise_core(at, message, "tasks")
  end
  local items = {}
  local pause <close> = slices.new(self)
  for i, record in ipairs(records) do
    items[i] = tasks.entry(self, record)
    pause()
  end
  return { items = items, cursor = cursor_text(at) }
end

return methods
