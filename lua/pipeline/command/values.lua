--- values.lua: values as they stand on a command line: durations, times, JSON.
--
--   duration   90, 90s, 5m, 2h, 7d, 1h30m
--   time       2026-11-28T18:25:09Z, 2026-11-28 18:25, 2026-11-28, now; a duration: so long ago
--   JSON       3, "text", {"a": [1, 2]}; what is no JSON is a text as it stands

local duration = require "pipeline.support.duration"
local failure = require "pipeline.command.failure"
local null = require("cjson").null
local options = require "pipeline.support.options"
local reader = require "pipeline.http.json_reader"

local values = {}

--- Seconds of a duration, or nil.
values.seconds = duration.seconds

--- For the parser: seconds, or nil and what is wrong.
function values.duration(text)
  local seconds = values.seconds(text)
  if seconds then return seconds end
  return nil, ("'%s' is no duration; write 90, 90s, 5m, 2h, 7d or 1h30m"):format(text)
end

--- For the parser: a positive whole number, or nil and what is wrong.
function values.count(text)
  local number = text:find("^%d+$") and math.tointeger(tonumber(text))
  if number and number >= 1 then return number end
  return nil, ("'%s' is no number from 1 up"):format(text)
end

--- For the parser: a whole number from 0 up, or nil and what is wrong.
function values.depth(text)
  local number = text:find("^%d+$") and math.tointeger(tonumber(text))
  if number then return number end
  return nil, ("'%s' is no number from 0 up"):format(text)
end

local PATTERN = "^(%d%d%d%d)%-(%d%d)%-(%d%d)[T ]?(%d?%d?):?(%d?%d?):?(%d?%d?%.?%d*)([Zz]?)([+-]?)(%d?%d?):?(%d?%d?)$"

local function is_within(number, first, last)
  return number >= first and number <= last
end

-- Seconds since the epoch of a date and time. Without a zone it is the local one.
local function date_of(text)
  local year, month, day, hour, minute, second, utc, sign, hours, minutes = text:match(PATTERN)
  if not year then return nil end
  local fraction = (tonumber(second) or 0) % 1
  local date = {
    year = math.tointeger(tonumber(year)), month = math.tointeger(tonumber(month)),
    day = math.tointeger(tonumber(day)), hour = math.tointeger(tonumber(hour)) or 0,
    min = math.tointeger(tonumber(minute)) or 0, sec = math.tointeger((tonumber(second) or 0) // 1) or 0,
  }
  if not (is_within(date.month, 1, 12) and is_within(date.day, 1, 31) and is_within(date.hour, 0, 24)
    and is_within(date.min, 0, 59) and is_within(date.sec, 0, 60)) then
    return nil
  end
  if utc == "" and sign == "" then return os.time(date) + fraction end
  local offset = sign ~= "" and ((tonumber(hours) or 0) * 3600 + (tonumber(minutes) or 0) * 60) or 0
  return options.epoch(date) + fraction - (sign == "-" and -offset or offset)
end

--- For the parser: a function of now that gives seconds since the epoch; or nil and what is wrong. A duration is so
-- long ago.
function values.time(text)
  if text == "now" then return function(now) return now end end
  local seconds = values.seconds(text)
  if seconds then return function(now) return now - seconds end end
  local date = date_of(text)
  if date then return function() return date end end
  return nil, ("'%s' is no time; write now, a duration (so long ago) or 2026-11-28T18:25:09Z"):format(text)
end

-- Lua has no null: in a table it is what is not there.
local function without_null(value)
  if value == null then return nil end
  if type(value) ~= "table" then return value end
  for key, item in pairs(value) do value[key] = without_null(item) end
  return value
end

--- A Lua value of JSON; what is no JSON is a text. Then, if it looks as if JSON was meant, what is wrong with it comes
-- second.
function values.json(text)
  local value, problem = reader.read(text)
  if value ~= nil then return without_null(value) end
  if text:find('^%s*[%[{"]') then
    return text, ("'%s' is no JSON, so it is taken as a text (%s); names and texts of JSON are in double quotes, as in "
      .. "'{\"id\": 17}'"):format(text, problem)
  end
  return text
end

--- As json; where it looks as if JSON was meant, says what is wrong with it.
function values.told(call, text)
  local value, hint = values.json(text)
  if hint then call.out:note("%s", hint) end
  return value
end

--- "key=value" words as a table; `what` is said where one has no "=".
function values.pairs(list, what)
  local map = {}
  for _, word in ipairs(list or {}) do
    local key, value = word:match("^([^=]+)=(.*)$")
    if not key then failure.usage("'%s' is no %s; write name=value", word, what) end
    map[key] = value
  end
  return map
end

return values
