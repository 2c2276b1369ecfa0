--- execute.lua: executes one claimed task: run(), finalized(), an abort, or a callback.
--
-- A run context collects what one run() does to the graph:
--   children, n      pipelines spawned, in order; children is false before the first
--   fills, filled    slot id -> encoded value; names of own outputs filled (or published)
--   scope, order     innermost open `after` scope; open `in_order` scope
--   tasks            transactional tasks
--   committed        list of functions to call when the outcome has been committed; false: none
--   target           what children get in place of the target that was given to this stage alone
--   claim            of the task that is executed
--   prefix           says what was being encoded when it failed ("Bad return value. ")
--   has_fallbacks    some of its children have one
--   used             more than its children can refer to it: it serves no other run
--   over             the attempt has ended: by its outcome, because its time was up, or as its tree was aborted
--   timer, self      of an attempt whose time is limited
--
-- Invariants
--   1. Every claim is ended exactly once, whatever user code does.
--   2. What an attempt collected becomes real only with its own successful outcome.

local attempts = require "pipeline.engine.attempt"
local core = require "pipeline.core"
local await = require "pipeline.support.await"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local definition = require "pipeline.durable.definition"
local errors = require "pipeline.support.errors"
local instance = require "pipeline.workflow.instance"
local outcome = require "pipeline.workflow.outcome"
local place = require "pipeline.support.place"
local report = require "pipeline.support.report"

local execute = {}

local TEST, TASK_RETRY, OWN_TARGET = core.TEST, core.TASK_RETRY, instance.OWN_TARGET
local DURABLE = core.DURABLE
local GUARDED = instance.GUARDED
local MAY_REFUSE = core.WAS_RUN | core.HAS_TRY_CANCEL
local TASK_BACKOFF_SECONDS, TASK_BACKOFF_SECONDS_MAX = 0.1, 3600.0
local GIVE_UP_TRIES = 5 -- refused callbacks are dropped after more tries than this (P166)

local running, unpack = coroutine.running, table.unpack
local select, setmetatable, type, xpcall = select, setmetatable, type, xpcall
local decode, decode_list = core.decode, core.decode_list
local instances = current.instances
local handler, results = errors.handler, await.results
local failure_of = errors.failure_of

await.set_refusal(current.refuse_in_body)

local function task_backoff(tries)
  return core.backoff(TASK_BACKOFF_SECONDS, 2.0, tries, TASK_BACKOFF_SECONDS_MAX)
end

local WHAT = "a task" -- in the log
local told_by_core = { EEXISTS = true, ETOMBSTONE = true, ENOQUEUE = true, EMODE = true } -- it failed the attempt

local function log_result(engine, ok, code, message)
  if not ok then attempts.log_end(engine, WHAT, told_by_core, ok, code, message) end
end

-- Makes `fields` the end of an attempt that failed.
local function failed(failure, fields)
  fields.kind, fields.nowait, fields.failure = "failed", true, failure
  return fields
end

-- ---- run -------------------------------------------------------------------------------------------------------

-- Decoding does not yield, so one variable serves all coroutines.
local inputs_of

local function input(id)
  local bytes = inputs_of:value(id)
  if not bytes then errors.raise(errors.SlotNotFilledError, "an argument's slot is not filled") end
  local value, code, message = decode(bytes)
  if value == nil and code then errors.raise_core(code, message) end
  return value
end

local function decode_args(self, claim)
  inputs_of = claim
  local list, n, message = decode_list(self._record.args, input)
  if not list then errors.raise_core(n, message) end
  self._args, self._n = list, n
  return list, n
end

local function finish(self, run, of, ...)
  if run.over then return nil end
  return outcome.of_run(self, run, of, select("#", ...), (...))
end

-- What the children of a stage with a target of its own get: the nearest one above that was not given to one stage.
local function target_above(engine, record)
  while record and record.flags & OWN_TARGET ~= 0 do
    record = record.parent and errors.read(engine._core:stage_get(record.parent))
  end
  return record and record.target
end

-- All that may fail in an attempt: reading the arguments, the user's run, and what it makes of the graph.
local function attempt(self, claim, run, of, fn)
  local list, n = decode_args(self, claim)
  if self._record.flags & OWN_TARGET ~= 0 then run.target = target_above(self._engine, self._record) end
  return finish(self, run, of, results(fn(self, unpack(list, 1, n))))
end

local function no_run(self)
  errors.raise(errors.UnexpectedPipelineError, "%s has no run function", tostring(self.class_path))
end

local function no_run_test(self)
  errors.raise(errors.UnexpectedPipelineError, "%s is async and has no run_test function: it cannot be tested " ..
    "without `callbacks` of start_test", tostring(self.class_path))
end

local function run_function(engine, of, record)
  if record.flags & TEST ~= 0 then
    if of.run_test then return of.run_test end
    if of.async and not engine._test_callbacks then return no_run_test end
  end
  return of.run or no_run
end

local function failed_outcome(engine, record, flags, caught, prefix)
  local original = errors.original(caught)
  local failure = failure_of(caught)
  local out = failed(failure, { flags = flags })
  if errors.is(original, errors.Abort) then
    out.kind, out.abort_message = "abort", failure.message
    return out
  end
  local tries = record.attempt
  if errors.is(original, errors.Retry) then
    out.retry_message = failure.message
  else
    out.retry_message = ("%s%s: %s"):format(prefix or "", failure.error_class, failure.message)
  end
  if tries + 1 >= record.max_attempts then
    out.give_up = true
    out.abort_message = ("Aborting after %d attempt%s. %s"):format(tries + 1, tries == 0 and "" or "s",
      out.retry_message)
  else
    out.retry_at = engine._core:now() + instance.backoff(record, tries)
  end
  return out
end

-- Test mode without retries: a fallback is taken at once; without one the error comes out of start_test, and nothing
-- more is executed.
local function end_test(engine, record, out, caught)
  if record.flags & GUARDED ~= 0 then
    out.abort_message = out.abort_message or ("Aborting after %d attempt%s. %s"):format(record.attempt + 1,
      record.attempt == 0 and "" or "s", out.retry_message)
    out.give_up, out.retry_at = out.kind == "failed" or nil, nil
    return
  end
  if not engine._test_errors then engine._test_errors = { errors.original(caught) } end
  out.kind, out.give_up, out.abort_message = "failed", nil, nil
  out.retry_message = out.retry_message or ""
  out.retry_at = engine._core:now() + 1e9
  engine._core:stop()
end

-- What failed by itself, after run has returned, is about the run as a whole.
local function tell(engine, record, of, out, caught)
  local where = errors.place(caught) or place.of_function(of.run)
  local number = record.attempt + 1
  report.attempt(engine, record, number, out.failure, where, out.retry_at)
  if out.retry_at then return end
  if record.flags & GUARDED ~= 0 then return report.fallback(engine, record) end
  report.abort(engine, instance.of_record(engine, of, record), record, number, out.failure, where)
end

-- A method that only durable functions have was called: the error says whose it is.
local function explained(caught)
  local value = errors.original(caught)
  local name = type(value) == "string" and value:match("attempt to call a nil value %(method '([%w_]+)'%)")
  if not (name and definition.is_method(name)) then return caught end
  return errors.NotInStepError(("%s: self:%s is a method of durable functions, and belongs into the run of a class " ..
    "with durable = true"):format(value, name), { traceback = caught.traceback, where = errors.place(caught) or false })
end

local function fail(engine, claim, record, of, caught, prefix)
  caught = explained(caught)
  local out = failed_outcome(engine, record, outcome.flags(of, record, engine), caught, prefix)
  if engine._test and not engine._test_retry then
    end_test(engine, record, out, caught)
  else
    tell(engine, record, of, out, caught)
    if record.flags & TASK_RETRY ~= 0 and not engine._raised then engine._raised = { errors.original(caught) } end
  end
  log_result(engine, engine._core:outcome(claim, out))
end

-- How long a task has been tried in vain: its delays together. Not since its stage was started, which may have waited
-- for its inputs, or run, for much longer than a class may be missing.
local function time_spent(tries)
  local seconds = 0.0
  for i = 0, tries - 1 do seconds = seconds + task_backoff(i) end
  return seconds
end

local function not_loadable(engine, claim, record, problem)
  local core_engine = engine._core
  local now = core_engine:now()
  local text = ("class %s cannot be loaded: %s"):format(record.class_path, problem)
  local out = failed(errors.failure("ConfigurationError", text), { flags = record.flags })
  if time_spent(claim.tries) > engine._class_load_timeout then
    out.kind, out.abort_message, out.retry_message = "abort", text, text
    if record.flags & DURABLE ~= 0 then out.kind = "held" end -- it goes on when the class is there, and it is resumed
    report.given_up(engine, record, text, out.kind == "held" and "is held" or "is aborted")
  else
    report.missing(engine, record, text)
    out.retry_task, out.retry_at = true, now + task_backoff(claim.tries)
  end
  log_result(engine, core_engine:outcome(claim, out))
end

local function out_of_time(run, co)
  local self = run.self
  self._run = false
  local record = self._record
  local problem = attempts.time_is_up("attempt", record.timeout)
  problem.where = place.of_thread(co) or false
  problem.traceback = debug.traceback(co)
  fail(self._engine, run.claim, record, instance.class_of(self), problem)
end

local function interrupt(engine, co, self, run)
  run.over = true
  self._run = false
  log_result(engine, engine._core:outcome(run.claim, failed(errors.failure("CancelledError", "aborted"), {
    flags = self._record.flags, retry_at = engine._core:now(), retry_message = "",
  })))
  engine:_cancel(co)
end

-- Ends those that were aborted since the last turn: looked for together, for a tree may have many.
local function interrupt_all(engine)
  local ids, found = engine._aborted, {}
  engine._aborted = false
  for co, self in pairs(instances) do
    local run = self._engine == engine and ids[self._id] and self._run
    if run and not run.over then found[co] = self end
  end
  for co, self in pairs(found) do
    local run = self._run
    if run and not run.over then interrupt(engine, co, self, run) end
  end
end

--- The tree of a stage was aborted. If its run is under way in this process it ends where it waits: nothing that it
-- could still do would count. The store refuses the outcome, and makes the task that of the abort.
function execute.interrupt(engine, id)
  if engine._aborted then
    engine._aborted[id] = true
  elseif engine._core:spawn(interrupt_all, engine) then
    engine._aborted = { [id] = true }
  end
end

-- As log_result of the outcome of a run that has succeeded, but waits for the commit, and calls what waits for it.
local function commit_outcome(engine, claim, run, out)
  out.nowait = nil
  local ok, code, message = engine._core:outcome(claim, out)
  log_result(engine, ok, code, message)
  if not ok then return end
  for _, fn in ipairs(run.committed) do fn() end
end

-- The context of a run is closed with the coroutine. If that is done while the attempt waits, this ends it.
local Run = { __name = "pipeline.Run", __close = attempts.leave }

-- The context of a run that has done nothing to the graph is that of the next one.
local spare = false

local function new_run(claim)
  local run = spare
  if not run then
    return setmetatable({
      children = false, n = 0, claim = claim, over = false, committed = false, used = false,
    }, Run)
  end
  spare = false
  run.claim, run.over = claim, false
  return run
end

local function is_untouched(run)
  return run.n == 0 and not (run.used or run.timer or run.committed or run.tasks or run.target)
end

--- The body of a durable function, in an instance of its own. It runs in coroutines of its own: to whom they belong is
-- known while they do.
-- @param inputs what gives the values of the slots among the arguments: inputs:value(id).
-- @return the instance, its run context, and the functions that a run of it is made of.
function execute.body(engine, of, record, inputs)
  local self = instance.new(of, engine, record)
  local run = {
    children = false, n = 0, claim = inputs, over = false, committed = false, used = true,
    fn = run_function(engine, of, record), args = false, count = 0, durable = false,
  }
  self._run = run
  run.args, run.count = decode_args(self, inputs)
  local body = require "pipeline.durable.body.methods"
  return self, run, (engine._test or engine._guards) and body.guarded or body.plain
end

local function run_durable(engine, claim, of, record)
  local durable = require "pipeline.durable.run"
  if not durable.go_on(engine, claim, of, record) then
    local self, run, bracket = execute.body(engine, of, record, claim)
    instances[running()] = self
    durable.execute(engine, claim, self, run, bracket)
  end
  instances[running()] = nil
end

local function run_stage(engine, claim)
  local record = claim.stage
  local of, problem = class.find(record.class_path)
  if not of then return not_loadable(engine, claim, record, problem) end
  if record.flags & DURABLE ~= 0 then return run_durable(engine, claim, of, record) end
  local self = instance.new(of, engine, record)
  local run <close> = new_run(claim)
  self._run = run
  local co = running()
  instances[co] = self
  local seconds = record.timeout
  if seconds and seconds > 0 then
    run.self = self
    attempts.limit(run, engine, seconds, out_of_time)
  end
  local ok, out = xpcall(attempt, handler, self, claim, run, of, run_function(engine, of, record))
  local ended = attempts.finish(run, engine)
  instances[co] = nil
  if ended == "over" then return end
  self._run = false
  if ended == "cancelled" then return end
  if ended == "late" then
    local where = not ok and errors.text(errors.original(out)) or nil
    fail(engine, claim, record, of, attempts.time_is_up("attempt", record.timeout, where))
  elseif not ok then
    fail(engine, claim, record, of, out, run.prefix)
  elseif type(out) == "string" then
    log_result(engine, engine._core:returned(claim, outcome.flags(of, record, engine), out))
    if is_untouched(run) then run.claim, spare = false, run end
  elseif run.committed then
    commit_outcome(engine, claim, run, out)
  else
    log_result(engine, engine._core:outcome(claim, out))
  end
end

-- ---- finalized and abort ---------------------------------------------------------------------------------------

local function slots_of_claim(claim, record)
  local slots = {}
  for _, output in ipairs(record.outputs) do slots[output.slot] = claim:slot(output.slot) end
  for _, id in ipairs(record.inputs or {}) do slots[id] = claim:slot(id) end
  return slots
end

local function stage_of_claim(engine, claim)
  local record = claim.stage
  local of, problem = class.find(record.class_path)
  if not of then return nil, problem end
  return instance.of_record(engine, of, record, slots_of_claim(claim, record))
end

local function send_result(self)
  require("pipeline.mail.result").send(self._engine, self, {})
end

local function finalized_function(self)
  local of = instance.class_of(self)
  local fn = self.test_mode and of.finalized_test or of.finalized
  if not fn and self._engine._mail and require("pipeline.mail.result").is_wanted(self._engine, self) then
    return send_result
  end
  return fn
end

local function call_awaiting(fn, self)
  return results(fn(self))
end

local function call(fn, self)
  local co = running()
  instances[co] = self
  local ok, result = xpcall(call_awaiting, handler, fn, self)
  instances[co] = nil
  return ok, result
end

-- A pipeline whose finalized() fails each time becomes final all the same when its attempts are used up.
local function finalize_failed(engine, claim, caught)
  local record = claim.stage
  local failure = failure_of(caught)
  local number, max = claim.tries + 1, record.max_attempts
  local is_last = number >= max
  local at = not is_last and engine._core:now() + instance.backoff(record, claim.tries) or nil
  report.finalized(engine, record, number, failure, errors.place(caught), at)
  if engine._test and (not engine._test_retry or is_last) then
    engine._test_errors = engine._test_errors or { errors.original(caught) }
    engine._core:stop()
  end
  log_result(engine, engine._core:finalized(claim, failed(failure, {
    give_up = is_last, retry_at = at or engine._core:now(),
  })))
end

-- A class that stays missing must not keep a tree from becoming final for ever.
local function finalize_not_loadable(engine, claim, problem)
  local record, now = claim.stage, engine._core:now()
  local text = ("class %s cannot be loaded: %s"):format(record.class_path, problem)
  if time_spent(claim.tries) > engine._class_load_timeout then
    report.given_up(engine, record, text, "is final without its finalized()")
    return log_result(engine, engine._core:finalized(claim, { kind = "ok", nowait = true }))
  end
  report.missing(engine, record, text)
  log_result(engine, engine._core:finalized(claim, failed(errors.failure("ConfigurationError", text), {
    retry_at = now + task_backoff(claim.tries),
  })))
end

local function finalize(engine, claim, self)
  local fn = finalized_function(self)
  if fn then
    rawset(self, "_finalizing", true)
    local ok, problem = call(fn, self)
    rawset(self, "_finalizing", nil)
    if not ok then return finalize_failed(engine, claim, problem) end
  end
  log_result(engine, engine._core:finalized(claim, { kind = "ok", nowait = true }))
end

local function finalize_stage(engine, claim)
  local self, problem = stage_of_claim(engine, claim)
  if not self then return finalize_not_loadable(engine, claim, problem) end
  finalize(engine, claim, self)
end

local function abort_stage(engine, claim)
  local self, problem = stage_of_claim(engine, claim)
  if not self then return finalize_not_loadable(engine, claim, problem) end
  local of = instance.class_of(self)
  if of.async and claim.stage.flags & MAY_REFUSE == MAY_REFUSE then
    local ok, agreed = call(instance.may_cancel, self)
    if not ok then return finalize_failed(engine, claim, agreed) end
    if not agreed then
      return log_result(engine, engine._core:finalized(claim, { kind = "held", nowait = true }))
    end
  end
  rawset(self, "_aborting", true)
  finalize(engine, claim, self)
end

-- ---- callbacks -------------------------------------------------------------------------------------------------

local function may_call(of, who)
  return who.is_task or of.public_callbacks or (of.admin_callbacks and who.is_admin)
end

-- What a callback returned, as status, content type and body: nothing; a body; or all three.
local function response(first, content_type, body)
  if first == nil then return 200, "text/plain; charset=utf-8", "" end
  if math.type(first) == "integer" then
    return first, content_type or "text/plain; charset=utf-8", errors.text(body == nil and "" or body)
  end
  return 200, "text/html; charset=utf-8", errors.text(first)
end

local function call_callback(self, of, params, who)
  return response(results(of.callback(self, params, who)))
end

local function leave(co, before, ok, ...)
  instances[co] = before
  if not ok then error(..., 0) end
  return ...
end

--- Calls the callback of a stored pipeline, if `who` = {method, is_task, is_admin} may (P162) and it is not final
-- (G25).
-- @return status, content type and body of the answer. Errors of the callback are raised again.
function execute.run_callback(engine, self, params, who)
  local of = instance.class_of(self)
  if not of.class_path or not may_call(of, who) then return 400, "text/plain; charset=utf-8", "Bad request" end
  local state = self._record.state
  if (state == "done" or state == "aborted") and not of._answers_when_final then
    return 409, "text/plain; charset=utf-8", "This pipeline is finished"
  end
  if not of.callback then
    errors.raise(errors.UnexpectedPipelineError, "%s has no callback function", of.class_path)
  end
  local co = running()
  local before = instances[co]
  instances[co] = self
  local function done(ok, ...)
    if ok and state == "abort_held" then engine._core:fill(self._id, {}) end
    return leave(co, before, ok, ...)
  end
  return done(xpcall(call_callback, handler, self, of, params, who))
end

-- `options`: the retry options of the task, `since` when it was added; nil: it is tried for ever.
local function callback_failed(engine, claim, failure, options, since)
  report.callback(engine, claim.stage, failure, claim.tries + 1)
  local now, delay = engine._core:now(), task_backoff(claim.tries)
  if options then delay = core.retry_after(options, claim.tries + 1, now - since) end
  if not delay then
    engine:_log(core.LOG_ERROR, ("callback task of %s is given up after %d failures: its retry_options allow no more")
      :format(claim.stage.class_path, claim.tries + 1))
    return log_result(engine, engine._core:task_done(claim, { nowait = true }))
  end
  attempts.fail_task(engine, claim, WHAT, failure, { retry_at = now + delay })
end

-- A callback task without parameters is the cleanup that finalized() of the root asked for.
local function cleanup_task(engine, claim)
  local deleted, code, message = engine._core:cleanup(claim.stage.id)
  if deleted then return engine._core:task_done(claim, {}) end -- went with its stage, so this is refused
  attempts.fail_task(engine, claim, WHAT, errors.failure("Error", message or code), {
    retry_at = engine._core:now() + task_backoff(claim.tries),
  })
end

local function callback_task(engine, claim)
  if not claim.payload then return cleanup_task(engine, claim) end
  local self, problem = stage_of_claim(engine, claim)
  if not self then return callback_failed(engine, claim, errors.failure("ConfigurationError", problem)) end
  local params, retry, since = claim.payload and decode(claim.payload), nil, nil
  if type(params) ~= "table" then params = {} end
  if type(params[1]) == "table" then params, retry, since = params[1], params[2], params[3] end
  params.pipeline_id = nil
  local ok, status, _, body = pcall(execute.run_callback, engine, self, params, { method = "POST", is_task = true })
  if not ok then return callback_failed(engine, claim, failure_of(status), retry, since) end
  local refused = status == 409 or (status == 400 and claim.tries > GIVE_UP_TRIES)
  if status >= 200 and status <= 299 or refused then
    if refused then report.refused(engine, self, status, body) end
    return log_result(engine, engine._core:task_done(claim, { nowait = true }))
  end
  callback_failed(engine, claim, errors.failure("Error", ("answered %d"):format(status)), retry, since)
end

-- ---- entry -----------------------------------------------------------------------------------------------------

local executors = { run = run_stage, finalize = finalize_stage, abort = abort_stage, callback = callback_task }

-- Tasks that belong to no stage, and the modules that execute them.
local modules = { push = "pipeline.taskqueue.push", deferred = "pipeline.deferred" }

local function load_executor(kind)
  executors[kind] = require(modules[kind]).execute
  return executors[kind]
end

local function end_orphan(engine, claim)
  engine._core:task_done(claim)
end

local function execute_claim(engine, claim)
  local kind = claim.kind
  local fn = executors[kind]
  if engine._events then engine._events:started(claim) end
  if modules[kind] then
    fn = fn or load_executor(kind)
  elseif claim.stage == nil then
    fn = end_orphan
  end
  return fn(engine, claim)
end

-- A mistake of this library is a failed attempt, as every way is in which an execution ends without a result. The same
-- is made, in C, of a claim whose coroutine has ended: by a yield to nobody, or because other code closed it.
local function internal_error(engine, claim, problem)
  local failure = failure_of(problem)
  engine:_log(core.LOG_CRITICAL, ("internal error in a %s task: %s: %s\n%s"):format(claim.kind, failure.error_class,
    failure.message, failure.traceback))
  engine._core:claim_fail(claim, ("%s: %s"):format(failure.error_class, failure.message))
end

-- What an attempt leaves behind when its coroutine is closed while it waits.
local forget = setmetatable({}, {
  __name = "pipeline.Guard",
  __close = function() instances[running()] = nil end,
})

--- Executes a claimed task; called in a coroutine of the engine.
function execute.task(engine, claim)
  local _ <close> = forget
  local ok, problem = xpcall(execute_claim, handler, engine, claim)
  if not ok then
    ok, problem = pcall(internal_error, engine, claim, problem)
    if not ok then engine:_log(core.LOG_CRITICAL, "internal error: " .. errors.text(problem)) end
  end
end

return execute
