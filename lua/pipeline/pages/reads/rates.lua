--- rates.lua: how many roots have ended in each minute of the last hour.
--
-- They are counted by their index, so what started long ago counts as well. A minute that is over is counted once, and
-- remembered; what is counted for one answer is bounded: of a busy store the older minutes follow with the next ones.

local json = require "pipeline.http.json"

local rates = {}

local MINUTES <const>, SECONDS <const> = 60, 60
local COUNTED_MAX, MINUTE_MAX = 300000, 300000 -- for one answer, and of a kind within a minute
local SETTLED_SECONDS = 5 -- what has ended before is committed by then

local Rates = {}
local meta = { __name = "pipeline.PagesRates", __index = Rates }

--- What is remembered of a store.
function rates.new()
  return setmetatable({ minutes = {} }, meta)
end

local function forget_before(self, first)
  for minute in pairs(self.minutes) do
    if minute < first then self.minutes[minute] = nil end
  end
end

-- The numbers of a minute; false: they cannot be read.
local function count(self, engine, minute, now)
  local since = minute * SECONDS
  local ok, found = pcall(engine.count_over, engine, {
    since = since, before = since + SECONDS, limit = MINUTE_MAX,
  })
  if not ok then return false end
  if now >= since + SECONDS + SETTLED_SECONDS then self.minutes[minute] = found end
  return found
end

--- { done, aborted = lists of 60 numbers, by minute, the oldest first; more = true: there are more than these; since:
-- from when on they are counted, where that is not the whole hour }
function Rates:read(engine, now)
  local last = math.floor(now / SECONDS)
  local first, left = last - MINUTES + 1, COUNTED_MAX
  local told = { done = json.array {}, aborted = json.array {} }
  for i = 1, MINUTES do told.done[i], told.aborted[i] = 0, 0 end
  forget_before(self, first)
  for minute = last, first, -1 do
    local found = self.minutes[minute]
    if not found and left > 0 then
      found = count(self, engine, minute, now)
      left = left - (found and found.done + found.aborted or 0)
    end
    if not found then
      told.more, told.since = true, (minute + 1) * SECONDS
      break
    end
    told.done[minute - first + 1], told.aborted[minute - first + 1] = found.done, found.aborted
    if found.more then told.more = true end
  end
  return told
end

return rates
