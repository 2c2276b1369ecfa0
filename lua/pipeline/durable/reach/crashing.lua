--- durable/reach/crashing.lua: start_test of durable functions with crashes: once with a crash at each moment that
-- counts.
--
-- A moment is before and after each commit of a run, before its outcome, and before the function of a step is called. A
-- crash there ends the run as the death of its process would: it holds nothing any more, what was not committed is
-- gone, and it is replayed.

local errors = require "pipeline.support.errors"
local instance = require "pipeline.workflow.instance"
local text = require "pipeline.support.text"

local crashing = {}

local SEED <const> = ("\0"):rep(16) -- of the random numbers of all runs of such a test: they are to be the same

-- What is to happen in an engine: a crash at moment number `at` (0: never).
local function plan(at)
  return { at = at, count = 0, what = false, seed = SEED }
end

--- A moment of a run has come (a format and what belongs to it). Returns whether it crashes there.
function crashing.is_due(engine, format, ...)
  local crash = engine._crash
  if not crash then return false end
  crash.count = crash.count + 1
  if crash.count ~= crash.at then return false end
  crash.what = format:format(...)
  return true
end

local function outputs_of(self)
  local values = {}
  for _, slot in ipairs(self._record.outputs) do
    local output = self.outputs[slot.name]
    values[slot.name] = output.filled and { output.value } or false
  end
  return values
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b or a ~= a and b ~= b end
  for key, value in next, a do
    if not same(value, b[key]) then return false end
  end
  for key in next, b do
    if a[key] == nil then return false end
  end
  return true
end

local function fail(number, count, what, format, ...)
  errors.raise(errors.WorkflowError, "start_test: with a crash %s (schedule %d of %d) " .. format, what, number, count,
    ...)
end

-- A pipeline like this one.
local function another(self)
  local copy = instance.class_of(self)(table.unpack(self._args, 1, self._n))
  copy._params = self._params
  return copy
end

--- Runs the pipeline without a crash, and then once for each moment with a crash there. Raises WorkflowError for the
-- first one whose outputs are others.
-- @tparam function run run(stage, plan): runs a pipeline on an engine of its own that has the plan as `_crash`.
function crashing.every(self, run)
  local likeness, first = another(self), plan(0)
  run(self, first)
  local expected, last = outputs_of(self), first.count
  for number = 1, last do
    local stage, crash = another(likeness), plan(number)
    local ok, problem = pcall(run, stage, crash)
    if not ok then
      local class, message = errors.describe(problem)
      fail(number, last, crash.what or "that did not come", "it fails: %s: %s", class, message)
    end
    if crash.what and not same(expected, outputs_of(stage)) then
      fail(number, last, crash.what, "its outputs are others: %s, and not %s", text.of(outputs_of(stage), 500),
        text.of(expected, 500))
    end
  end
end

return crashing
