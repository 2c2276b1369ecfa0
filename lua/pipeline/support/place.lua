--- place.lua: where in the user's code something happens.
--
-- An error is about the line of the user that led to it, however many functions of this library lie between. So no
-- function counts levels: the stack is searched, from the innermost frame on, for the first one that belongs neither to
-- this library nor to C. That costs something only where an error is made.

local place = {}

local core = require "pipeline.core"

local find, getinfo = string.find, debug.getinfo

local FRAMES_MAX = 200
-- Sources of this library begin with it.
local OWN = getinfo(1, "S").source:match("^(.*)support/place%.lua$") or "@pipeline/"

local function text_of(info)
  if info.what == "C" or info.currentline < 0 or find(info.source, OWN, 1, true) == 1 then return nil end
  return ("%s:%d"):format(info.short_src, info.currentline)
end

--- The innermost line of user code that is being executed, such as "shop.lua:42"; nil if there is none.
place.here = core.placer(OWN)

--- The same of a coroutine that is suspended.
function place.of_thread(co)
  for level = 0, FRAMES_MAX do
    local info = getinfo(co, level, "Sl")
    if not info then return nil end
    local text = text_of(info)
    if text then return text end
  end
end

--- Where a function of the user's is defined, for what is wrong with the function as a whole.
function place.of_function(fn)
  local info = type(fn) == "function" and getinfo(fn, "S")
  if not info or info.what == "C" or find(info.source, OWN, 1, true) == 1 then return nil end
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

-- Long names of files have been cut at the front, to "...end".
local function is_own(file)
  local own = OWN:sub(2)
  if file:sub(1, #own) == own then return true end
  local tail = file:match("^%.%.%.(.*)$")
  local rest = tail and tail:match("pipeline/(.*)$")
  return rest ~= nil and (own .. rest):sub(-#tail) == tail
end

--- The innermost line of user code in a traceback; nil if there is none.
function place.of_trace(trace)
  for file, line in ("\n" .. trace):gmatch("\n%s*([^\n]-):(%d+): in ") do
    if not is_own(file) then return file .. ":" .. line end
  end
end

-- A format with its values; without any it is a text as it is.
local function filled(format, ...)
  return select("#", ...) > 0 and format:format(...) or format
end

--- Raises an error of use: a text that begins with the line of the user's call, whichever function notices it.
function place.misuse(format, ...)
  local message = filled(format, ...)
  local where = place.here()
  error(where and where .. ": " .. message or message, 0)
end

--- The text of an error about an argument: its number, the function that was called, and what is wrong: a format and
-- the values for it.
function place.argument_text(position, what, problem, ...)
  return ("bad argument #%d to '%s' (%s)"):format(position, what, filled(problem, ...))
end

--- Raises it as an error of use.
function place.bad_argument(position, what, problem, ...)
  place.misuse(place.argument_text(position, what, problem, ...))
end

--- The same of an argument of a wrong type. `expected`: what it should be; `value`: what it is.
function place.bad_type(position, what, expected, value)
  place.bad_argument(position, what, "%s expected, got %s", expected, type(value))
end

--- The same of the field `option` of an argument that is a table of options.
function place.bad_option(position, what, option, problem, ...)
  place.bad_argument(position, what, "option '%s': %s", option, filled(problem, ...))
end

return place
