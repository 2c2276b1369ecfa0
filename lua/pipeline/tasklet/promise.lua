--- tasklet/promise.lua: promisify: functions whose last argument is a callback, as those of luv, give futures.

local errors = require "pipeline.support.errors"
local future = require "pipeline.tasklet.future"
local options = require "pipeline.support.options"

local promise = {}

local FINISHING = future.FINISHING

local function settle(self, style, first, ...)
  if self.state == FINISHING then return end -- cancelled: nobody wants it any more
  if style == "plain" then return future.finish(self, first, ...) end
  if first then return future.fail(self, first) end
  return future.finish(self, ...)
end

-- What the call itself gave back: nil and a message means that the callback will not come.
local function called(self, first, problem, code)
  if first == nil and problem ~= nil and self.state ~= FINISHING then
    local value = problem
    if type(problem) == "string" and code ~= nil then value = errors.Error(problem, { code = code, where = false }) end
    future.fail(self, value)
  end
  return self
end

local promise_kinds = { plain = "boolean" }

--- Makes of fn(..., callback) a function that returns a future. The callback's first argument is an error or nil, the
-- others are the results; with {plain = true} all are results. Cancelling the future does not undo the call.
function promise.promisify(fn, given)
  options.check_function(fn, 1, "promisify")
  given = options.check(given, promise_kinds, 2, "promisify")
  local style = given.plain and "plain" or "error first"
  return function(...)
    local self = future.plain(2)
    local list, n = { ... }, select("#", ...) + 1
    list[n] = function(...) settle(self, style, ...) end
    return called(self, fn(table.unpack(list, 1, n)))
  end
end

return promise
