--- durable/body/compensating.lua: undoing what a body has done, when an error or a cancellation ends it.
--
-- What is registered is a list of the run, in no journal: each life registers the same anew. The compensations
-- themselves are steps, each with its entry, so those that are done stay done.
--
--   error leaves run, or it is cancelled
--        │ all else of the body is cancelled: its branches clean up and end, steps at work end
--        ▼
--   the newest that is registered ──► the one before ──► … ──► the error, and those of compensations
--
-- All of that is shielded: a cancellation that comes meanwhile does not interrupt it.

local calls = require "pipeline.durable.body.calls"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local values = require "pipeline.durable.values"
local bad_argument = require("pipeline.support.place").bad_argument

local compensating = {}

local methods = {}
local pack, unpack = table.pack, table.unpack
local put, NONE <const> = entry.put, entry.NONE

-- ---- registering ---------------------------------------------------------------------------------------------------

--- Registers `fn`, which undoes the step `op`: fn(outcome, ...) with the arguments of the step.
function compensating.register_step(run, op, fn, args)
  put(run, "compensations", { name = op.name, fn = fn, args = args, op = op })
end

--- Registers what undoes something: with a name fn(...) is executed as a step, without one fn() is code of the body.
-- It is called when an error leaves run, or the run is cancelled; what was registered last comes first.
-- @tparam[opt] string name of the step.
function methods.on_compensate(self, name, fn, ...)
  local run = calls.run_of(self, "on_compensate")
  run.machine:check_call("self:on_compensate")
  if fn == nil and options.is_callable(name) then name, fn = nil, name end
  options.check_function(fn, 2, "on_compensate")
  if name ~= nil and (type(name) ~= "string" or name == "" or #name > 200) then
    bad_argument(1, "on_compensate", "a name of 1 to 200 bytes expected")
  end
  put(run, "compensations", { name = name, fn = fn, args = pack(...) })
end

-- ---- executing -----------------------------------------------------------------------------------------------------

-- What is known of a step that is to be undone: ok is nil when nobody can say whether it had its effect.
local function outcome_of(run, op)
  if not op.ready then run.machine:wait({ op }, "a compensation") end
  local outcome = { ok = nil, key = run.steps and run.steps:key(op) }
  if op.state == "ok" then
    outcome.ok, outcome.value = true, (values.decode(op.value))[1]
  elseif op.state == "failed" then
    local problem = values.decode_error(op.value)
    outcome.error = problem
    local is_unknown = errors.is(problem, errors.TimeoutError) or errors.is(problem, errors.StepInterruptedError)
      or errors.is(problem, errors.CancelledError)
    if not is_unknown then outcome.ok = false end
  end
  return outcome
end

local function execute(run, self, item)
  if item.op then
    local outcome = outcome_of(run, item.op)
    return self:step(item.name, item.fn, outcome, unpack(item.args, 1, item.args.n))
  elseif item.name then
    return self:step(item.name, item.fn, unpack(item.args, 1, item.args.n))
  end
  return item.fn(unpack(item.args, 1, item.args.n))
end

-- Executes what is registered, the newest first. Returns the list of those that failed: { name, problem }.
local function execute_all(run, self)
  local list, failed = run.compensations, {}
  run.compensations, run.compensated = NONE, run.compensated + 1
  local given = {
    what = "self:compensate", is_shield = true, path = ("/~compensate#%d"):format(run.compensated),
  }
  local results = run.machine:within(given, function()
    for i = #list, 1, -1 do
      local ok, problem = xpcall(execute, errors.handler, run, self, list[i])
      if not ok then failed[#failed + 1] = { name = list[i].name or "function", problem = problem } end
    end
  end)
  if not results[1] then error(results[2], 0) end
  return failed
end

local function failed_text(failed)
  local parts = {}
  for i, each in ipairs(failed) do
    local class, message = errors.describe(each.problem)
    parts[i] = ("%s: %s: %s"):format(each.name, class, message)
  end
  return table.concat(parts, "; ")
end

--- Executes what is registered for compensation now, the newest first, and forgets it.
-- @param[opt] reason a text, for the log.
-- Raises WorkflowError when some have failed, after all were tried.
function methods.compensate(self, reason)
  local run = calls.run_of(self, "compensate")
  run.machine:check_call("self:compensate")
  if reason ~= nil and run.compensations[1] then self:log("info", "compensates: %s", errors.text(reason)) end
  local failed = execute_all(run, self)
  if failed[1] then
    errors.raise(errors.WorkflowError, "%d of the compensations failed: %s", #failed, failed_text(failed))
  end
end

-- ---- the end of a run ----------------------------------------------------------------------------------------------

-- An error for which the run is held is not the last word.
local function is_held_for(run, caught)
  return run.of.on_error == "hold" and not errors.is(errors.original(caught), errors.Abort)
end

local function wait_for_branches(run)
  local i = 1
  while run.branches[i] do
    local on = run.branches[i]
    if not on.ready then run.machine:wait({ on }, "the end of run") end
    i = i + 1
  end
end

--- An error leaves run: everything else of the body is ended, and what it did is undone. Raises the error.
function compensating.finish(run, self, caught)
  local body = run.machine
  local is_cancelled = body.cancellation ~= false
  if not is_cancelled and (not run.compensations[1] or is_held_for(run, caught)) then error(caught, 0) end
  run:bind_to_abort()
  local results = body:within({ what = "the end of run", is_shield = true }, function()
    local class, message = errors.describe(caught)
    local text = ("the run has failed: %s: %s"):format(class, message)
    body:cancel_scope(body.scope, function()
      return errors.CancelledError(text, { where = false, traceback = "", reason = text })
    end)
    wait_for_branches(run)
    for _, each in ipairs(execute_all(run, self)) do put(run, "uncompensated", each) end
  end)
  error(results[1] and caught or results[2], 0)
end

compensating.methods = methods

return compensating
