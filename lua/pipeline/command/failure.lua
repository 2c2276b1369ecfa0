--- failure.lua: why a command ends without having done what it was asked: one line for people, an exit code for shells.
--
--   1  the answer is no: it was aborted, was refused, is not there in a check
--   2  the command line is wrong
--   3  what it names is not there
--   4  the store cannot be opened
--   130  it was interrupted

local options = require "pipeline.support.options"

local failure = { NO = 1, USAGE = 2, NOT_FOUND = 3, STORE = 4, INTERRUPTED = 130 }

local meta = { __name = "pipeline.CommandFailure" }

function meta.__tostring(self)
  return self.message
end

local NEAR = 0.5 -- of its letters may differ

local function raise(code, text, ...)
  error(setmetatable({ code = code, message = select("#", ...) > 0 and text:format(...) or text }, meta), 0)
end

--- Whether `value` is a failure that was raised by this module.
function failure.is(value)
  return getmetatable(value) == meta
end

--- Ends the command with exit code 1: the answer is no.
function failure.no(text, ...)
  raise(failure.NO, text, ...)
end

--- Ends the command with exit code 2: the command line is wrong.
function failure.usage(text, ...)
  raise(failure.USAGE, text, ...)
end

--- Ends the command with exit code 4: the store cannot be opened.
function failure.store(text, ...)
  raise(failure.STORE, text, ...)
end

--- Ends the command with exit code 3: what it names is not there.
function failure.not_found(text, ...)
  raise(failure.NOT_FOUND, text, ...)
end

--- The name of `names` (a list) that was probably meant, or nil where none is alike.
function failure.nearest(name, names)
  local known = {}
  for _, one in ipairs(names) do
    if one == name .. "s" or one:lower() == name:lower() then return one end
    if one:sub(-#name - 1) == "." .. name then return one end -- "Order" of "shop.Order"
    known[one] = true
  end
  local near = options.nearest(name, known)
  if not near then return nil end
  return options.distance(name:lower(), near:lower()) <= math.max(#name, #near) * NEAR and near or nil
end

--- Says that there is no `what` called `name`, and which of `names` (a list) is nearest; exit code 3.
-- @tparam[opt] string remedy what to do where nothing is near.
function failure.unknown(what, name, names, remedy)
  local near = failure.nearest(name, names)
  raise(failure.NOT_FOUND, "there is no %s '%s'%s", what, name,
    near and ("; did you mean '%s'?"):format(near) or remedy and "; " .. remedy or "")
end

return failure
