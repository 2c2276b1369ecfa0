--- telemetry/events.lua: what happens in an engine, told to functions of the program.
--
-- What ends an attempt is told of by the core when its commit has come back (csrc/engine/telemetry/event.h); what
-- begins one, by workflow/execute.lua. Nothing is told of before somebody asks. Each function gets a coroutine of its
-- own, so that one that waits keeps nobody waiting; what it raises goes to the log.
--
-- An object of hooks: functions (name of event -> list of entries { fn, name }), lookers (list of tables with functions
-- `ended` and `final` that get what the core tells, and `sample`: see look), engine, count; and the calls that are to
-- be made: events in `queue`, whose functions are in `entries`, from `first` to `last`; `worker`: who makes them, or
-- false; `begun`: coroutines that are to make them and have not had their turn.
--
-- Calls
--   Many events come at a time, and hardly any function waits: one coroutine makes all calls that are to be made. If
--   there are several, another one is begun that has its turn when the first ends or waits; it makes the calls that
--   are left. So nobody waits for a function that does, and a function that does not costs no coroutine.

local errors = require "pipeline.support.errors"
local queue_task = require "pipeline.taskqueue.task"

local events = {}

local WARNING, ERROR = 30, 40
local CALLS_MAX = 10000   -- that have not come back: each is a coroutine, and what it waits for may never come
local REPORT_SECONDS = 60 -- between two lines about events that were not told of

events.NAMES = {
  "stage_started", "stage_done", "stage_failed", "stage_aborted", "root_done", "root_aborted", "task_started",
  "task_done", "task_failed", "task_dead", "queue_paused", "worker_joined", "worker_lost", "engine_stopping",
  "run_suspended", "run_replayed", "run_held",
}
local Hooks = { __name = "pipeline.Hooks" }
Hooks.__index = Hooks

-- ---- calling ---------------------------------------------------------------------------------------------------

local function tell_error(engine, name, problem)
  local class, message, traceback = errors.describe(problem)
  engine:_log(ERROR, ("hook of %s: %s: %s%s"):format(name, class, message,
    traceback ~= "" and "\n" .. traceback or ""))
end

-- Each gets a table of its own: what one writes into it is nobody else's business.
local function copy(event)
  local out = {}
  for name, value in next, event do out[name] = value end
  return out
end

-- Too many calls wait: this one is left out.
local function leave_out(self)
  local now = self.engine._core:steady()
  self.left_out = self.left_out + 1
  if self.told_at and now - self.told_at < REPORT_SECONDS then return end
  self.engine:_log(WARNING, ("hooks: %d calls have not come back, so %d were left out"):format(CALLS_MAX,
    self.left_out))
  self.told_at, self.left_out = now, 0
end

local work

local function begin(self)
  if self.engine._core:begin(work, self) then self.begun = self.begun + 1 end
end

-- Makes calls until there are none left, or one of them has waited, so that somebody else makes them.
local function make_calls(self, me)
  local queue, entries = self.queue, self.entries
  local first = self.first
  while first <= self.last do
    local event, entry = queue[first], entries[first]
    queue[first], entries[first] = nil, nil
    self.first, me.entry = first + 1, entry
    entry.fn(event)
    if self.worker ~= me then return end
    first = self.first
  end
end

-- Whoever makes calls counts as one that has not come back.
local function is_allowed(self)
  if self.calls <= CALLS_MAX then return true end
  for i = self.first, self.last do
    self.queue[i], self.entries[i] = nil, nil
    leave_out(self)
  end
end

function work(self)
  local me = { entry = false }
  self.begun, self.calls = self.begun - 1, self.calls + 1
  self.worker = me
  if is_allowed(self) then
    if self.first < self.last and self.begun == 0 then begin(self) end
    repeat -- a function that raises ends a round
      local ok, problem = xpcall(make_calls, errors.handler, self, me)
      if not ok then tell_error(self.engine, me.entry.name, problem) end
    until ok or self.worker ~= me
  end
  self.calls = self.calls - 1
  if self.worker == me then self.worker, self.first, self.last = false, 1, 0 end
end

-- Has the functions of a list called with `event`, which has its name.
local function tell(self, list, event)
  local last, queue, entries = self.last, self.queue, self.entries
  for i = 1, #list do
    last = last + 1
    queue[last], entries[last] = i == 1 and event or copy(event), list[i]
  end
  self.last = last
  if self.begun == 0 then begin(self) end
end

function Hooks:tell(name, event)
  local list = self.functions[name]
  if not list then return end
  event.event = name
  tell(self, list, copy(event))
end

-- ---- what is told ----------------------------------------------------------------------------------------------

local STAGE_KINDS = { run = true, finalize = true, abort = true }

-- An attempt has failed.
local function failed(self, event, failure, is_stage)
  local name, functions = is_stage and "stage_failed" or "task_failed", self.functions
  event.status = failure.status
  event.error_class, event.error, event.traceback = failure.error_class, failure.message, failure.traceback
  event.will_retry, event.at = failure.will_retry, failure.again
  if functions[name] then self:tell(name, event) end
  if failure.died and functions.task_dead then self:tell("task_dead", event) end
end

local tell_other

-- Returns what is called when something has happened: that is the end of an attempt, as a rule, whose event is made in
-- one piece, with what it needs alone. Of anything else the second value is the event as the core has it.
local function end_teller(self)
  local core, list, queue, entries = self.engine._core, self.functions.task_done, self.queue, self.entries
  local only = list and #list == 1 and list[1]
  return function(what, time, _, _, stage, root, kind, number, max, queue_name, name, class, key, took, late, _, _,
      failure)
    if what ~= "ended" then return tell_other(self, what, time) end
    local is_stage = STAGE_KINDS[kind]
    if not failure and (is_stage or not list) then return end
    local event = {
      event = "task_done", time = time, queue = queue_name, kind = kind, attempt = number, took = took, late = late,
      name = not is_stage and name or nil,
    }
    if stage then
      event.id, event.root = core:id_text(stage), root and core:id_text(root)
      event.class, event.key, event.max_attempts = class, key, max
    end
    if failure then return failed(self, event, failure, is_stage) end
    if not only then return tell(self, list, event) end
    local last = self.last + 1
    queue[last], entries[last], self.last = event, only, last
    if self.begun == 0 then begin(self) end
  end
end

local tellers = {}

-- In a coroutine of its own, for it reads the stage.
local function tell_final(self, raw)
  local engine = self.engine
  local record = engine._core:stage_get(raw.task) or { id = raw.task } -- it may be deleted already
  local finished = record.finalized or raw.time
  local begun = record.started or record.created
  local event = {
    time = raw.time, id = engine:_id_text(raw.task), root = record.root and engine:_id_text(record.root),
    class = record.class_path, key = record.key, queue = record.queue or "default", state = raw.state,
    created = record.created, started = record.started, ended = finished,
    took = begun and math.max(finished - begun, 0),
    attempt = record.attempt and record.attempt + 1, max_attempts = record.max_attempts,
    reason = raw.state == "aborted" and record.abort_message or nil,
  }
  self:tell("stage_" .. raw.state, event)
  if record.root == raw.task then self:tell("root_" .. raw.state, event) end
end

function tellers.final(self, raw)
  if not (self.functions["stage_" .. raw.state] or self.functions["root_" .. raw.state]) then return end
  self.engine._core:begin(function()
    local ok, problem = pcall(tell_final, self, raw)
    if not ok and not self.engine._closed then
      self.engine:_log(ERROR, "hooks: the end of a pipeline was not told of: " .. errors.text(problem))
    end
  end)
end

function tellers.paused(self, raw)
  self:tell("queue_paused", { time = raw.time, queue = raw.queue })
end

function tellers.joined(self, raw)
  self:tell("worker_joined", { time = raw.time, number = raw.worker, pid = raw.pid })
end

function tellers.lost(self, raw)
  self:tell("worker_lost", { time = raw.time, number = raw.worker, pid = raw.pid })
end

function tellers.stopping(self, raw)
  self:tell("engine_stopping", { time = raw.time })
end

-- What is no end of an attempt.
function tell_other(self, what, event)
  for _, looker in ipairs(self.lookers) do
    if looker[what] then looker[what](looker.of, event) end
  end
  if what == "stopping" then self.told_stop = true end
  if what == "spans" then return end
  if self.tells_all or what == "stopping" then tellers[what](self, event) end
end

-- The "event" hook of the core.
local function receiver(self)
  local tell_end, lookers = end_teller(self), self.lookers
  if #lookers == 0 then return tell_end end
  return function(what, ...)
    if what ~= "ended" then return tell_other(self, what, ...) end
    for _, looker in ipairs(lookers) do looker.ended(looker.of, ...) end
    if self.tells_all then tell_end(what, ...) end
  end
end

local function started(self, claim)
  local kind = claim.kind
  local is_stage = STAGE_KINDS[kind]
  local list = self.functions[is_stage and (kind == "run" and "stage_started" or false) or "task_started"]
  if not list then return end
  local record, core = claim.stage, self.engine._core
  local now = core:now()
  local event = {
    event = is_stage and "stage_started" or "task_started", time = now, queue = claim.queue, kind = kind,
    attempt = (kind == "run" and record and record.attempt or claim.tries) + 1, late = math.max(now - claim.eta, 0),
    name = not is_stage and (claim.name or kind ~= "callback" and queue_task.auto_name(core, claim.id)) or nil,
  }
  if record then
    event.id, event.root, event.class = core:id_text(record.id), core:id_text(record.root), record.class_path
    event.key, event.max_attempts = record.key, is_stage and record.max_attempts or nil
  end
  tell(self, list, event)
end

--- A claim is about to be executed; called in its coroutine, if somebody listens for that.
function Hooks:started(claim)
  local ok, problem = pcall(started, self, claim)
  if not ok then self.engine:_log(ERROR, "hooks: " .. errors.text(problem)) end
end

-- ---- asking for it ---------------------------------------------------------------------------------------------

--- The hooks of an engine, made when they are first asked for. From then on `engine._hooks` has them, and
-- `engine._events`, too, while somebody listens for what begins.
function events.of(engine)
  local self = engine._hooks
  if not self then
    self = setmetatable({ engine = engine, functions = {}, lookers = {}, told_stop = false, tells_all = false,
      queue = {}, entries = {}, first = 1, last = 0, worker = false, begun = 0, calls = 0, left_out = 0,
      told_at = false }, Hooks)
    engine._hooks = self
  end
  return self
end

-- Events that come whatever else is told of.
local OF_WORKERS = { worker_joined = true, worker_lost = true }

-- Has the core tell what somebody wants to hear, and no more.
local function ask(self)
  local engine, functions, sample, all = self.engine, self.functions, 0.0, false
  for name in pairs(functions) do all = all or not OF_WORKERS[name] end
  local has_functions = next(functions) ~= nil
  self.tells_all = has_functions
  for _, looker in ipairs(self.lookers) do
    if looker.sample then sample = math.max(sample, looker.sample) else all = true end
  end
  engine._core:on("event", (has_functions or #self.lookers > 0) and receiver(self) or nil)
  engine._events = (functions.stage_started or functions.task_started) and self or false
  engine._core:tell(all, sample, self.tells_all)
end

local function with(list, entry)
  local out = table.move(list, 1, #list, 1, {}) -- the old one may be in use
  out[#out + 1] = entry
  return out
end

local function without(list, entry)
  local out = {}
  for _, one in ipairs(list) do
    if one ~= entry then out[#out + 1] = one end
  end
  return out
end

--- Has fn(event) called from now on; returns a function that ends it.
function Hooks:add(name, fn)
  local entry = { fn = fn, name = name } -- the same function may listen twice
  local functions = self.functions
  functions[name] = with(functions[name] or {}, entry)
  ask(self)
  return function()
    if not entry then return end
    local list = without(functions[name], entry)
    functions[name], entry = #list > 0 and list or nil, nil
    if not self.engine._closed then ask(self) end
  end
end

--- Has looker.ended(looker.of, ...), looker.final(looker.of, event) and looker.spans(looker.of, count) called with what
-- the core tells (csrc/binding/telemetry/event.c), at once and in no coroutine: they may not wait. With `sample`: ended
-- for that part of all roots and tasks, and for what names a trace.
function Hooks:look(looker)
  self.lookers = with(self.lookers, looker)
  ask(self)
end

local function call(engine, entry, event)
  local ok, problem = xpcall(entry.fn, errors.handler, event)
  if not ok then tell_error(engine, entry.name, problem) end
end

--- The engine closes, and its loop has not been told to stop: those that listen for that are called here and now.
function Hooks:closing()
  if self.engine._tracing then self.engine._tracing:closing() end
  for _, entry in ipairs(self.functions.engine_stopping or {}) do
    if not self.told_stop then
      call(self.engine, entry, { event = "engine_stopping", time = self.engine._core:now() })
    end
  end
end

return events
