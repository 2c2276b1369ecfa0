--- durable/steps.lua: executes the functions of steps: when they begin, how an attempt ends, when the next one is due.
--
--             asked for ──► queued ──── place, flush ────► at work ──┬─ returned ─────────────► ended: results
--                             ▲                                      ├─ raised, timed out ─┬──► ended: error
--                             └────────── due ◄── again ◄────────────┴─────────────────────┘
--
-- A function is executed in a tasklet, so it may await. The attempts that have ended are in `ended`, in that order,
-- until the run takes them.
--
-- Fields of an attempt: steps, op, number, task; where they are needed: timer and limit (when its time is up), beat and
-- alive (heartbeats), span, info (see info.lua); and when it has ended: value (encoded results), or problem ({ what was
-- raised }), trace, for_good (true: there is to be no other).
--
-- Invariants
--   1. At most `most` functions of a run are at work; the others begin in the order of the calls.
--   2. Of one step there is one attempt at a time; what a late one returns is dropped.

local await = require "pipeline.support.await"
local core = require "pipeline.core"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local info = require "pipeline.durable.info"
local progress = require "pipeline.durable.reach.progress"
local task = require "pipeline.tasklet.task"
local trace = require "pipeline.telemetry.trace"
local values = require "pipeline.durable.values"

local steps = {}

local Steps = {}
local meta = { __name = "pipeline.Steps", __index = Steps }

local select, unpack, xpcall = select, table.unpack, xpcall
local results = await.results
local own, put, emptied, NONE <const> = entry.own, entry.put, entry.emptied, entry.NONE

--- Makes the steps of a run. `era`: what their keys have behind the id of the run; `most`: so many are at work at once.
-- The clocks of its engine count, and its `wake` is called when one has ended.
function steps.new(run, era, most)
  return setmetatable({
    run = run, engine = run.engine, era = era, most = most, queue = NONE, taken = NONE, first = 1, at_work = NONE,
    count = 0, ended = NONE, settled = NONE,
  }, meta)
end

-- ---- beginning ---------------------------------------------------------------------------------------------------

--- A step is to begin as soon as there is a place for it.
function Steps.add(self, op)
  put(self, "queue", op)
end

--- Takes those that may begin now: a list, which is good until the next call; nil: there are none. Each counts as at
-- work.
function Steps.take(self)
  local queue, first = self.queue, self.first
  local last, all = first + self.most - self.count - 1, #queue
  if last > all then last = all end
  if last < first then return nil end
  self.count = self.count + last - first + 1
  if last < all then
    self.first = last + 1
    return table.move(queue, first, last, 1, {})
  end
  self.queue, self.taken, self.first = emptied(self.taken), queue, 1
  return first == 1 and queue or table.move(queue, first, last, 1, {})
end

--- An attempt that was taken counts as one that has just ended.
function Steps.put_ended(self, attempt)
  put(self, "ended", attempt)
end

--- Takes the attempts that have ended: a list, which is good until the next call.
function Steps.take_ended(self)
  local ended = self.ended
  self.ended, self.settled = emptied(self.settled), ended
  return ended
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
  for i = self.first, #self.queue do
    if self.queue[i] == op then return table.remove(self.queue, i) end
  end
end

--- Whether any is at work or waits for a place.
function Steps.is_busy(self)
  return self.count > 0 or self.first <= #self.queue
end

--- The key of a step: what its function gets as pipeline.step().key.
function Steps.key(self, op)
  local which = op.nth == 0 and ("%s@%s"):format(op.name, op.key) or ("%s#%d"):format(op.name, op.nth)
  return ("%s%s%s/%s"):format(self.run.self.id, self.era, op.path, which)
end

--- The number of the attempt that begins or is at work.
local function attempt_of(op)
  return op.options.at_most_once and op.attempt or op.attempt + 1
end

local function stop_timers(self, attempt)
  if attempt.timer then self.engine._timers:cancel(attempt.timer) end
  if attempt.beat then self.engine._timers:cancel(attempt.beat) end
end

local function end_span(self, attempt)
  local tracing, problem, failure = self.engine._tracing, attempt.problem, nil
  if problem then
    local class, message = errors.describe(problem[1])
    failure = errors.failure(class, message, attempt.trace)
  end
  if tracing then tracing:step_ended(attempt.span, attempt.op.name, attempt.number, failure) end
end

-- An attempt has ended, unless it had ended before: with encoded results, or with a problem.
local function end_attempt(attempt, value, problem, traceback)
  local self, op = attempt.steps, attempt.op
  if self.at_work[op] ~= attempt then return end
  self.at_work[op] = nil
  self.count = self.count - 1
  if attempt.timer or attempt.beat then stop_timers(self, attempt) end
  attempt.value, op.has_ended = value, true
  if problem then attempt.problem, attempt.trace = problem, traceback end
  if attempt.span then end_span(self, attempt) end
  put(self, "ended", attempt)
  self.run:wake()
end

local function time_is_up(op)
  return errors.TimeoutError(("step %q took longer than %g s"):format(op.name, op.options.timeout), { where = op.line })
end

local function encode(op, n, ...)
  local ok, bytes = pcall(values.encode, { ... }, n, "result of a step")
  if ok then return bytes end
  return nil, select(2, pcall(values.encode, { ... }, n, ("result of step %q"):format(op.name)))
end

-- The function was called: its results are encoded in its tasklet, where nobody waits for them.
local function returned(attempt, ok, ...)
  if attempt.limit and attempt.steps.engine._core:steady() > attempt.limit then
    return end_attempt(attempt, nil, { time_is_up(attempt.op) })
  end
  if not ok then
    local caught = ...
    local value = errors.original(caught)
    return end_attempt(attempt, nil, { value }, select(3, errors.describe(caught)))
  end
  local n = select("#", ...)
  if n == 0 then return end_attempt(attempt, values.NOTHING) end
  local bytes, problem = encode(attempt.op, n, ...)
  if not bytes then
    attempt.for_good = true
    return end_attempt(attempt, nil, { problem })
  end
  end_attempt(attempt, bytes)
end

local function call(fn, ...)
  return results(fn(...))
end

-- What the tasklet of an attempt does. The error stays the value that was raised.
local function attempt_body(attempt)
  local op, span = attempt.op, attempt.span
  local args = op.args
  if span then
    return returned(attempt,
      trace.within(span.context, xpcall, call, errors.handler, op.fn, unpack(args, 1, args.n)))
  end
  return returned(attempt, xpcall(call, errors.handler, op.fn, unpack(args, 1, args.n)))
end

-- The tasklet has ended, also where its function has not.
local function tasklet_ended(attempt)
  local on = attempt.task
  if on.failure then end_attempt(attempt, nil, { on:get_exception() }, on:get_traceback()) end
end

local function out_of_time(attempt)
  end_attempt(attempt, nil, { time_is_up(attempt.op) })
  attempt.task:cancel("its time was up")
end

-- The attempt has given no sign of life for too long.
local function is_silent(attempt)
  local op = attempt.op
  end_attempt(attempt, nil, {
    errors.TimeoutError(("step %q gave no heartbeat for %g s"):format(op.name, op.options.heartbeat_timeout), {
      where = op.line,
    }),
  })
  attempt.task:cancel("it gave no heartbeat")
end

-- The attempt fails when no heartbeat comes for so long.
local function expect_heartbeats(self, attempt)
  local seconds, timers = attempt.op.options.heartbeat_timeout, self.engine._timers
  attempt.beat = timers:add(seconds, is_silent, attempt)
  attempt.alive = function()
    timers:cancel(attempt.beat)
    attempt.beat = timers:add(seconds, is_silent, attempt)
  end
end

local made = false -- where the tasklets of steps are made: their "file:line"

--- Begins an attempt of a step that `take` gave. Its function runs inside this call until it waits for the first time;
-- one that does not wait has ended then.
function Steps.begin(self, op)
  local given = op.options
  op.has_ended = false
  local tracing = self.engine._tracing
  made = made or core.where(2)
  local attempt = { steps = self, op = op, number = attempt_of(op), task = nil, value = nil }
  if tracing then attempt.span = tracing:step_begins() end
  own(self, "at_work")[op] = attempt
  local on = task.prepare(attempt_body, made, attempt)
  attempt.task = on
  info.set(on, attempt)
  if given.heartbeat_timeout then expect_heartbeats(self, attempt) end
  if given.timeout then
    attempt.limit = self.engine._core:steady() + given.timeout
    attempt.timer = self.engine._timers:add(given.timeout, out_of_time, attempt)
  end
  on:go()
  if self.at_work[op] == attempt then on:add_immediate_callback(tasklet_ended, attempt) end
end

--- What the function of an attempt can know of its step.
function Steps.info(self, op, attempt)
  return info.new(op.name, self:key(op), attempt.number, op.options.max_attempts, progress.details(op),
    progress.new(self.run, op, attempt))
end

--- Cancels what is at work: nothing of it counts.
function Steps.cancel_all(self, reason)
  if self.count == 0 and not self.queue[1] then return end
  local list = {}
  for op, attempt in pairs(self.at_work) do list[#list + 1] = { op, attempt } end
  self.first, self.queue = 1, NONE
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

--- What is to be done about an attempt that has failed: "failed", bytes; or "again", bytes, seconds; or "cancelled": a
-- step that was stopped is not tried again, and that it was stopped is no result.
function Steps.judge(_, attempt)
  local op, problem = attempt.op, attempt.problem[1]
  if op.is_stopping and errors.is(problem, errors.CancelledError) then return "cancelled", nil end
  local bytes = values.encode_error(problem, attempt.trace, op.details)
  if attempt.for_good or attempt.number >= op.options.max_attempts or is_hopeless(op, problem) then
    return "failed", bytes
  end
  if op.is_stopping then return "cancelled", nil end
  local after = errors.is(problem, errors.Retry) and tonumber(problem.after)
  return "again", bytes, after and math.max(after, 0) or backoff(op, attempt.number)
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
