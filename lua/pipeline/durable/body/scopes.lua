--- durable/body/scopes.lua: parts of a body that are cancelled together, or not at all.

local calls = require "pipeline.durable.body.calls"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"

local scopes = {}

local methods = {}
local unpack = table.unpack

local Scope = { __name = "pipeline.Scope", __unserializable = "a scope of a durable function" }
Scope.__index = Scope

local function cancelled(reason)
  local text = reason ~= nil and "cancelled: " .. errors.text(reason) or "cancelled"
  return function()
    return errors.CancelledError(text, { reason = reason ~= nil and errors.text(reason) or nil, where = false,
      traceback = "" })
  end
end

--- Cancels what was asked for inside a scope: timers and waits end, functions of steps are cancelled, children aborted.
-- Each of its branches gets CancelledError, once, where it waits; and so does who has called self:scope.
-- @param[opt] reason a text.
-- @return whether it was not cancelled, nor at its end, before.
function Scope.cancel(self, reason)
  local run = calls.run_of(self.of, "scope")
  if self.is_over or self.inner.problem then return false end
  run.machine:cancel_scope(self.inner, cancelled(reason))
  return true
end

-- The results of a scope: what its function has returned, unless it was cancelled meanwhile; then `problem`.
local function leave(run, results, inner, problem)
  if inner.problem then
    local told = run.machine:told(inner)
    local original = not results[1] and errors.original(results[2])
    if results[1] or rawequal(original, told) then error(problem or told or inner.problem(), 0) end
  end
  if not results[1] then error(errors.original(results[2]), 0) end
  return unpack(results, 2, results.n)
end

--- Calls fn(scope) in a scope of its own: scope:cancel(reason), from whatever branch, cancels all that was asked for in
-- it, and nothing else.
-- @return what fn returns. Raises its error, and CancelledError when it was cancelled.
function methods.scope(self, fn)
  local run = calls.run_of(self, "scope")
  options.check_function(fn, 1, "scope")
  local given
  local results, inner = run.machine:within({ what = "self:scope" }, function(inner)
    given = setmetatable({ of = self, inner = inner, is_over = false }, Scope)
    return fn(given)
  end)
  given.is_over = true
  return leave(run, results, inner)
end

--- Calls fn(...), which no cancellation from around it interrupts: that is raised here, when it has ended.
-- @return what fn returns.
function methods.shield(self, fn, ...)
  local run = calls.run_of(self, "shield")
  options.check_function(fn, 1, "shield")
  local function call(_, ...) return fn(...) end
  local results, inner = run.machine:within({ what = "self:shield", is_shield = true }, call, ...)
  if results[1] then run.machine:heed() end
  return leave(run, results, inner)
end

--- Calls fn(...), which may take so many seconds; then what it has asked for is cancelled.
-- @return what fn returns. Raises its error, and TimeoutError when the time was up first.
function methods.with_timeout(self, seconds, fn, ...)
  local run = calls.run_of(self, "with_timeout")
  options.check_function(fn, 2, "with_timeout")
  local timer = calls.ask_timer(run, "with_timeout", calls.due_in(run, "with_timeout", seconds))
  local text = ("it took longer than %g s (with_timeout)"):format(seconds)
  local function call(inner, ...)
    timer.follow = function()
      run.machine:cancel_scope(inner, function()
        return errors.CancelledError(text, { reason = text, where = false, traceback = "" })
      end)
    end
    return fn(...)
  end
  local results, inner = run.machine:within({ what = "self:with_timeout" }, call, ...)
  timer.follow = nil
  run.machine:cancel(timer)
  return leave(run, results, inner, inner.problem and errors.TimeoutError(text, { where = timer.line or false }))
end

scopes.methods = methods

return scopes
