--- duration.lua: lengths of time as programs and people write them: 90, "90s", "5m", "2h", "7d", "1w", "1h30m".
--
-- A text is one number and unit, or several, which are added; or a number alone: seconds. Numbers may have a fraction.
-- Blanks between the parts and around them do not matter.

local options = require "pipeline.support.options"

local duration = {}

local UNITS = options.TIME_UNITS
local SECONDS_MAX = 1e12

--- What messages say is expected.
duration.EXPECTED = 'a number of seconds, or a text such as "15m", "2h", "7d" or "1h30m"'

local function of_text(text)
  local plain = text:match("^%s*(%d+%.?%d*)%s*$")
  if plain then return tonumber(plain) end
  local seconds, at = nil, 1
  while true do
    local number, unit, next_at = text:match("^%s*(%d+%.?%d*)%s*([smhdw])()", at)
    if not number then break end
    seconds, at = (seconds or 0) + tonumber(number) * UNITS[unit], next_at
  end
  return text:find("^%s*$", at) and seconds or nil
end

--- Seconds, as a float, of a number or a text; nil for whatever else, and for what is negative or beyond all measure.
function duration.seconds(value)
  local seconds = value
  if type(value) == "string" then seconds = of_text(value) end
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= SECONDS_MAX) then return nil end
  return seconds + 0.0
end

return duration
