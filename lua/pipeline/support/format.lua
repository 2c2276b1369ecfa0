--- format.lua: texts with places for values, as Python's % makes them, in the conversions of Lua's string.format.
--
--   positional   "%d of %s"         values in order
--   by name      "%(count)d of %(what)s"
--
-- Conversions are those of string.format (flags, width, precision, then one of A a c d E e f G g i o q s u X x). "%s"
-- of a table shows what is in it. "%%" is a per cent sign.

local text = require "pipeline.support.text"

local format = {}

local CONVERSION = "^([-+ #0]*%d*%.?%d*)([AacdEefGgioqsuXx])"

-- What string.format would show as an address is shown as people read it.
local function shown(value, conversion)
  if conversion == "u" then conversion = "d" end
  if conversion == "s" and type(value) == "table" then value = text.of(value) end
  return value, conversion
end

local function one(spec, conversion, value, what)
  value, conversion = shown(value, conversion)
  local ok, made = pcall(string.format, "%" .. spec .. conversion, value)
  if ok then return made end
  local why = made:match("%((.*)%)$") or made
  error(("format: %s for %%%s%s: %s"):format(what, spec, conversion, why), 0)
end

-- Replaces what follows each "%" by what fn(rest) gives: a text, and how many bytes of the rest it took.
local function replace(template, fn)
  local out, at = {}, 1
  while true do
    local percent = template:find("%", at, true)
    if not percent then break end
    out[#out + 1] = template:sub(at, percent - 1)
    if template:byte(percent + 1) == 37 then
      out[#out + 1], at = "%", percent + 2
    else
      local made, taken = fn(template:sub(percent + 1, percent + 300))
      out[#out + 1], at = made, percent + 1 + taken
    end
  end
  out[#out + 1] = template:sub(at)
  return table.concat(out)
end

local function incomplete(rest)
  error(("format: '%%%s' is no conversion"):format(rest:sub(1, 20)), 0)
end

local function check(template, name)
  if type(template) ~= "string" then error(("%s: string expected, got %s"):format(name, type(template)), 0) end
end

--- Fills in values[1..n] in order. Raises if there are fewer than the template has places for, or more.
function format.positional(template, values, n)
  check(template, "format")
  local used = 0
  local made = replace(template, function(rest)
    local spec, conversion = rest:match(CONVERSION)
    if not spec then incomplete(rest) end
    used = used + 1
    if used > n then error(("format: %d values for more places than that"):format(n), 0) end
    return one(spec, conversion, values[used], "value " .. used), #spec + 1
  end)
  if used < n then error(("format: %d values for %d places"):format(n, used), 0) end
  return made
end

--- Fills in values by name. Raises if one is missing.
function format.named(template, values)
  check(template, "format")
  return replace(template, function(rest)
    local name = rest:match("^%(([^)]*)%)")
    local spec, conversion = rest:match(CONVERSION, name and #name + 3)
    if not name or not spec then incomplete(rest) end
    local value = values[name]
    if value == nil and math.tointeger(tonumber(name)) then value = values[math.tointeger(tonumber(name))] end
    if value == nil then error(("format: there is no value '%s'"):format(name), 0) end
    return one(spec, conversion, value, ("value '%s'"):format(name)), #name + 2 + #spec + 1
  end)
end

return format
