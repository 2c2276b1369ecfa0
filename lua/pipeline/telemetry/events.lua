--- telemetry/events.lua: what happens in an engine, told to functions of the program.
--
-- What ends an attempt is told of by the core when its commit has come back (csrc/engine/telemetry/event.h); what
-- begins one, by workflow/evaluate.lua. Nothing is told of before somebody asks. Each function gets a coroutine of its
-- own, so that one that waits keeps nobody waiting; what it raises goes to the log.
--
-- An object of hooks: functions (name of event -> list), raw (list of functions that get events as the core has them,
-- for tracing), engine, count.

local errors = require "pipeline.support.errors"
local queue_task = require "pipeline.taskqueue.task"
local trace = require "pipeline.telemetry.trace"

local events = {}

local WARNING, ERROR = 30, 40
local CALLS_MAX = 10000   -- that have not come back: each is a coroutine, and what it waits for may never come
local REPORT_SECONDS = 60 -- between two lines about events that were not told of

events.NAMES = {
  "stage_started", "stage_done", "stage_failed", "stage_aborted", "root_done", "root_aborted", "task_started",
  "task_done", "task_failed", "task_dead", "queue_paused", "worker_joined", "worker_lost", "engine_stopping",
}
local Hooks = { __name = "pipeline.Hooks" }
Hooks.__index = Hooks

-- ---- calling ---------------------------------------------------------------------------------------------------

local function call(engine, name, fn, event)
  if trace.on then trace.set(nil) end -- the coroutine may have been another's
  local ok, problem = xpcall(fn, errors.handler, event)
  if ok then return end
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

-- The same for one of many.
local function call_counted(self, name, fn, event)
  call(self.engine, name, fn, event)
  self.calls = self.calls - 1
end

-- Too many calls wait: this one is left out.
local function leave_out(self)
  local now = self.engine._core:steady()
  self.left_out = self.left_out + 1
  if self.told_at and now - self.told_at < REPORT_SECONDS then return end
  self.engine:_log(WARNING, ("hooks: %d calls have not come back, so %d were left out"):format(self.calls,
    self.left_out))
  self.told_at, self.left_out = now, 0
end

function Hooks:tell(name, event)
  local list = self.functions[name]
  if not list then return end
  event.event = name
  for i = 1, #list do
    if self.calls >= CALLS_MAX then
      leave_out(self)
    elseif self.engine._core:begin(call_counted, self, name, list[i], copy(event)) then
      self.calls = self.calls + 1
    end
  end
end

-- ---- what is told ----------------------------------------------------------------------------------------------

local STAGE_KINDS = { run = true, finalize = true, abort = true }

local function name_of(engine, name, id, kind)
  if name or kind == "callback" then return name end
  return queue_task.auto_name(engine._core, id)
end

-- Of an attempt: as the core tells of its end, or as its claim tells of its beginning.
local function attempt(engine, raw)
  local stage, root = raw.stage, raw.root
  return {
    time = raw.time, id = stage and engine:_id_text(stage), root = root and engine:_id_text(root), class = raw.class,
    key = raw.key, queue = raw.queue, kind = raw.kind, attempt = raw.attempt, max_attempts = raw.max_attempts,
    name = not STAGE_KINDS[raw.kind] and name_of(engine, raw.name, raw.task, raw.kind) or nil,
    took = raw.took, late = raw.late, status = raw.status,
  }
end

local function with_failure(event, raw)
  event.error_class, event.error, event.traceback = raw.error_class, raw.message, raw.traceback
  event.will_retry, event.at = raw.will_retry, raw.again
  return event
end

local tellers = {}

function tellers.ended(self, raw)
  local is_stage = STAGE_KINDS[raw.kind]
  if not raw.failed then
    if not is_stage and self.functions.task_done then self:tell("task_done", attempt(self.engine, raw)) end
    return
  end
  local name = is_stage and "stage_failed" or "task_failed"
  if not (self.functions[name] or raw.died and self.functions.task_dead) then return end
  local event = with_failure(attempt(self.engine, raw), raw)
  self:tell(name, event)
  if raw.died then self:tell("task_dead", event) end
end

-- In a coroutine of its own, for it reads the stage.
local function tell_final(self, raw)
  local engine = self.engine
  local record = engine._core:stage_get(raw.task) or { id = raw.task } -- it may be deleted already
  local ended = record.finalized or raw.time
  local begun = record.started or record.created
  local event = {
    time = raw.time, id = engine:_id_text(raw.task), root = record.root and engine:_id_text(record.root),
    class = record.class_path, key = record.key, queue = record.queue or "default", state = raw.state,
    created = record.created, started = record.started, ended = ended, took = begun and math.max(ended - begun, 0),
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

-- The "event" hook of the core.
local function received(self, raw)
  for _, fn in ipairs(self.raw) do fn(raw) end
  if raw.what == "stopping" then self.told_stop = true end
  tellers[raw.what](self, raw)
end

local function started(self, claim)
  local kind = claim.kind
  local name = STAGE_KINDS[kind] and (kind == "run" and "stage_started" or nil) or "task_started"
  if self.functions[name] == nil then return end
  local record, core = claim.stage, self.engine._core
  local tries = kind == "run" and record and record.attempt or claim.tries
  self:tell(name, attempt(self.engine, {
    time = core:now(), task = claim.id, stage = record and record.id, root = record and record.root,
    class = record and record.class_path, key = record and record.key, queue = claim.queue, kind = kind,
    name = claim.name, attempt = tries + 1, max_attempts = STAGE_KINDS[kind] and record and record.max_attempts or nil,
    late = math.max(core:now() - claim.eta, 0),
  }))
end

--- A claim is about to be executed; called in its coroutine.
function Hooks:started(claim)
  if self.engine._tracing then self.engine._tracing:started(claim) end
  local ok, problem = pcall(started, self, claim)
  if not ok then self.engine:_log(ERROR, "hooks: " .. errors.text(problem)) end
end

-- ---- asking for it ---------------------------------------------------------------------------------------------

--- The hooks of an engine, made when they are first asked for. From then on `engine._events` has them while anybody
-- listens, and false while nobody does.
function events.of(engine)
  local self = engine._hooks
  if self then return self end
  return setmetatable({ engine = engine, functions = {}, raw = {}, count = 0, told_stop = false,
    calls = 0, left_out = 0, told_at = false }, Hooks)
end

function Hooks:_count(step)
  local engine = self.engine
  self.count = self.count + step
  local on = self.count > 0
  engine._hooks, engine._events = self, on and self or false
  if (step > 0 and self.count == 1) or self.count == 0 then
    engine._core:on("event", on and function(raw) received(self, raw) end or nil)
  end
end

local function remove(list, fn)
  local out = {}
  for _, other in ipairs(list or {}) do
    if other ~= fn then out[#out + 1] = other end
  end
  return out
end

--- Has fn(event) called from now on; returns a function that ends it. Events as the core has them, for `name` "raw".
function Hooks:add(name, fn)
  local entry = function(...) return fn(...) end -- the same function may listen twice
  local function change(list)
    if name == "raw" then self.raw = list else self.functions[name] = #list > 0 and list or nil end
  end
  local function current() return name == "raw" and self.raw or self.functions[name] end
  local list = remove(current())
  list[#list + 1] = entry
  change(list) -- a new one: the old one may be in use
  self:_count(1)
  return function()
    if not entry then return end
    change(remove(current(), entry))
    entry = nil
    if not self.engine._closed then self:_count(-1) end
  end
end

--- The engine closes, and its loop has not been told to stop: those that listen for that are called here and now.
function Hooks:closing()
  if self.engine._tracing then self.engine._tracing:closing() end
  for _, fn in ipairs(self.functions.engine_stopping or {}) do
    if not self.told_stop then
      call(self.engine, "engine_stopping", fn, { event = "engine_stopping", time = self.engine._core:now() })
    end
  end
end

return events
