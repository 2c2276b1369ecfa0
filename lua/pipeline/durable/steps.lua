--- durable/steps.lua: executes the functions of steps: when they begin, how an attempt ends, when the next one is due.
--
--             asked for ──► queued ──── place, flush ────► at work ──┬─ returned ─────────────► ended: results
--                             ▲                                      ├─ raised, timed out ─┬──► ended: error
--                             └────────── due ◄── again ◄────────────┴─────────────────────┘
--
-- A function is executed in a tasklet, so it may await. What ended is in `ended`, in that order, until the run takes
-- it.
--
-- Invariants
--   1. At most `most` functions of a run are at work; the others begin in the order of the calls.
--   2. Of one step there is one attempt at a time; what a late one returns is dropped.

local await = require "pipeline.support.await"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local future = require "pipeline.tasklet.future"
local info = require "pipeline.durable.info"
local progress = require "pipeline.durable.reach.progress"
local task = require "pipeline.tasklet.task"
local trace = require "pipeline.telemetry.trace"
local values = require "pipeline.durable.values"

local steps = {}

local Steps = {}
local meta = { __name = "pipeline.Steps", __index = Steps }

local select, pack, unpack, xpcall = select, table.pack, table.unpack, xpcall
local results = await.results

--- Makes the steps of a run. `run_key`: the beginning of the keys of its steps; `most`: how many are at work at once.
-- Its engine's clocks count, and its `wake` is called when one has ended.
function steps.new(run, run_key, most)
  return setmetatable({
    run = run, engine = run.engine, wake = run.wake, run_key = run_key, most = most, queue = {}, first = 1,
    last = 0, at_work = {}, count = 0, ended = {},
  }, meta)
end

-- ---- beginning ---------------------------------------------------------------------------------------------------

--- A step is to begin as soon as there is a place for it.
function Steps.add(self, op)
  self.last = self.last + 1
  self.queue[self.last] = op
end

--- Takes those that may begin now: a list; nil: there are none. Each counts as at work.
function Steps.take(self)
  if self.first > self.last or self.count >= self.most then return nil end
  local list = { nil }
  while self.count < self.most and self.first <= self.last do
    local op = self.queue[self.first]
    self.queue[self.first] = nil
    self.first = self.first + 1
    self.count = self.count + 1
    list[#list + 1] = op
  end
  return list
end

--- Cancels the function of a step that is at work; its end counts. Returns whether it is.
function Steps.stop(self, op, reason)
  local attempt = self.at_work[op]
  if not attempt then return false end
  if not attempt.is_stopped then
    attempt.is_stopped = true
    attempt.task:cancel(reason)
  end
  return true
end

--- A step that waits for a place waits no more.
function Steps.drop(self, op)
  for i = self.first, self.last do
    if self.queue[i] == op then
      table.move(self.queue, i + 1, self.last + 1, i)
      self.last = self.last - 1
      return
    end
  end
end

--- Whether any is at work or waits for a place.
function Steps.is_busy(self)
  return self.count > 0 or self.first <= self.last
end

--- The key of a step: what its function gets as pipeline.step().key.
function Steps.key(self, op)
  local which = op.nth == 0 and ("%s@%s"):format(op.name, op.key) or ("%s#%d"):format(op.name, op.nth)
  return ("%s%s/%s"):format(self.run_key, op.path, which)
end

--- The number of the attempt that begins or is at work.
local function attempt_of(op)
  return op.options.at_most_once and op.attempt or op.attempt + 1
end

local function stop_timers(self, attempt)
  if attempt.timer then self.engine._timers:cancel(attempt.timer) end
  if attempt.beat then self.engine._timers:cancel(attempt.beat) end
end

local function end_span(self, op, attempt, outcome)
  local tracing, failure = self.engine._tracing, nil
  if outcome.problem then
    local class, message = errors.describe(outcome.problem[1])
    failure = { error_class = class, message = message, traceback = outcome.trace or "" }
  end
  if tracing then tracing:step_ended(attempt.span, op.name, attempt.number, failure) end
end

local function end_attempt(self, op, attempt, outcome)
  if self.at_work[op] ~= attempt then return end
  self.at_work[op] = nil
  self.count = self.count - 1
  stop_timers(self, attempt)
  outcome.op, outcome.number, op.has_ended = op, attempt.number, true
  if attempt.span then end_span(self, op, attempt, outcome) end
  self.ended[#self.ended + 1] = outcome
  self.wake()
end

local function time_is_up(op)
  return errors.TimeoutError(("step %q took longer than %g s"):format(op.name, op.options.timeout), { where = op.line })
end

-- The function was called: its results are encoded in its tasklet, where nobody waits for them.
local function outcome_of(op, ok, ...)
  if not ok then
    local caught = ...
    local value = errors.original(caught)
    return { problem = { value }, trace = select(3, errors.describe(caught)) }
  end
  local encoded, bytes = pcall(values.encode, { ... }, select("#", ...), ("result of step %q"):format(op.name))
  if encoded then return { value = bytes, problem = nil, op = nil, number = nil } end -- with room for those
  return { problem = { bytes }, for_good = true }
end

local function call(fn, ...)
  return results(fn(...))
end

-- What the tasklet of an attempt does. The error stays the value that was raised.
local function attempt_body(op, span)
  local args = op.args
  if span then
    return outcome_of(op, trace.within(span.context, xpcall, call, errors.handler, op.fn, unpack(args, 1, args.n)))
  end
  return outcome_of(op, xpcall(call, errors.handler, op.fn, unpack(args, 1, args.n)))
end

local function finished(self, op, attempt)
  local on = attempt.task
  local late = attempt.limit and self.engine._core:steady() > attempt.limit
  if on.failure then -- it was cancelled, by whoever
    return end_attempt(self, op, attempt, { problem = { on:get_exception() }, trace = on:get_traceback() })
  end
  local outcome = future.results(on)
  end_attempt(self, op, attempt, late and { problem = { time_is_up(op) } } or outcome)
end

local function out_of_time(timer)
  local attempt = timer.attempt
  end_attempt(timer.steps, timer.op, attempt, { problem = { time_is_up(timer.op) } })
  attempt.task:cancel("its time was up")
end

-- The attempt has given no sign of life for too long.
local function is_silent(timer)
  local op, attempt = timer.op, timer.attempt
  end_attempt(timer.steps, op, attempt, { problem = {
    errors.TimeoutError(("step %q gave no heartbeat for %g s"):format(op.name, op.options.heartbeat_timeout), {
      where = op.line,
    }),
  } })
  attempt.task:cancel("it gave no heartbeat")
end

-- The attempt fails when no heartbeat comes for so long.
local function expect_heartbeats(self, op, attempt)
  local seconds, timers = op.options.heartbeat_timeout, self.engine._timers
  local given = { steps = self, op = op, attempt = attempt }
  attempt.beat = timers:add(seconds, is_silent, given)
  attempt.alive = function()
    timers:cancel(attempt.beat)
    attempt.beat = timers:add(seconds, is_silent, given)
  end
end

--- Begins an attempt of a step that `take` gave. Its function runs inside this call until it waits for the first time;
-- one that does not wait has ended then.
function Steps.begin(self, op)
  local given = op.options
  op.has_ended = false
  local tracing = self.engine._tracing
  local attempt = {
    number = attempt_of(op), task = false, timer = false, limit = false, beat = false, alive = false,
    span = tracing and tracing:step_begins(),
  }
  self.at_work[op] = attempt
  local on = task.prepare(attempt_body, 2, pack(op, attempt.span))
  attempt.task = on
  info.set(on, self, op, attempt)
  if given.heartbeat_timeout then expect_heartbeats(self, op, attempt) end
  if given.timeout then
    attempt.limit = self.engine._core:steady() + given.timeout
    attempt.timer = self.engine._timers:add(given.timeout, out_of_time, { steps = self, op = op, attempt = attempt })
  end
  on:go()
  if on:done() then return finished(self, op, attempt) end
  on:add_immediate_callback(finished, self, op, attempt)
end

--- What the function of an attempt can know of its step.
function Steps.info(self, op, attempt)
  return info.new(op.name, self:key(op), attempt.number, op.options.max_attempts, progress.details(op),
    progress.new(self.run, op, attempt))
end

--- Cancels what is at work: nothing of it counts.
function Steps.cancel_all(self, reason)
  local list = {}
  for op, attempt in pairs(self.at_work) do list[#list + 1] = { op, attempt } end
  self.first, self.last, self.queue = 1, 0, {}
  for _, each in ipairs(list) do
    local op, attempt = each[1], each[2]
    self.at_work[op] = nil
    self.count = self.count - 1
    stop_timers(self, attempt)
    if attempt.task then attempt.task:cancel(reason) end
  end
end

-- ---- ends --------------------------------------------------------------------------------------------------------

local function is_of(value, class)
  if errors.is_class(class) then return errors.is(value, class) end
  local of = type(value) == "table" and getmetatable(value)
  while type(of) == "table" do
    if of == class then return true end
    local parent = rawget(of, "__index")
    if parent == class then return true end
    of = type(parent) == "table" and parent ~= of and getmetatable(parent) or nil
  end
  return value == class
end

local function is_hopeless(op, value)
  if errors.is(value, errors.Abort) then return true end
  for _, class in ipairs(op.options.no_retry or {}) do
    if is_of(value, class) then return true end
  end
  return false
end

local function backoff(op, failures)
  local given = op.options
  return core.backoff(given.backoff_seconds, given.backoff_factor, failures - 1)
end

--- What is to be done about an attempt that has ended: "ok", bytes; "failed", bytes; or "again", bytes, seconds.
-- A step that was stopped is not tried again, and that it was stopped is no result.
function Steps.judge(_, outcome)
  if not outcome.problem then return "ok", outcome.value end
  local op, problem = outcome.op, outcome.problem[1]
  if op.is_stopping and errors.is(problem, errors.CancelledError) then return "cancelled", nil end
  local bytes = values.encode_error(problem, outcome.trace, op.details)
  if outcome.for_good or outcome.number >= op.options.max_attempts or is_hopeless(op, problem) then
    return "failed", bytes
  end
  if op.is_stopping then return "cancelled", nil end
  local after = errors.is(problem, errors.Retry) and tonumber(problem.after)
  return "again", bytes, after and math.max(after, 0) or backoff(op, outcome.number)
end

--- A step that runs at most once was at work when its process died. What is to be done: as judge.
function Steps.judge_interrupted(_, op)
  local text = "step %q was at work when its process died (attempt %d of %s), and it is to run at most once"
  local problem = errors.StepInterruptedError(text:format(op.name, op.attempt, tostring(op.options.max_attempts)), {
    where = op.line or false,
  })
  local bytes = values.encode_error(problem, nil, op.details)
  if op.attempt >= op.options.max_attempts then return "failed", bytes end
  return "again", bytes, 0
end

return steps
