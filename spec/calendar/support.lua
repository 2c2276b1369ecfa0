-- support.lua - what specs of the calendar share: zones by name, and the next fires of an expression as local times.

local core = require "pipeline.core"

local support = {}

local zones = {}

--- A zone of the machine's data; the same object for the same name.
function support.zone(name)
  zones[name] = zones[name] or assert(core.zone(name))
  return zones[name]
end

--- The instant of a local time that exists once (of one that exists twice: the first).
function support.instant(name, text)
  return assert(support.zone(name):instants(text)[1], "no such time")
end

--- The next n fires after a local time of the zone, as local times with their offsets. Also how many were skipped.
-- options: those of core.cron, with the name of a zone ("UTC").
function support.fires(expression, from, n, options)
  options = options or {}
  local name = options.zone or "UTC"
  local zone = support.zone(name)
  local given = {}
  for key, value in pairs(options) do given[key] = value end
  given.zone = zone
  local rule = assert(core.cron(expression, given))
  local list, skipped, at = {}, 0, support.instant(name, from)
  for i = 1, n do
    local following, left_out = rule:next(at)
    if not following then break end
    assert(following > at, "time went back")
    list[i], at, skipped = zone:local_time(following), following, skipped + left_out
  end
  return list, skipped
end

--- The same without offsets and seconds of zero: "2027-03-14T03:00".
function support.times(...)
  local list = support.fires(...)
  for i, text in ipairs(list) do list[i] = text:sub(1, 19):gsub(":00$", "", 1) end
  return list
end

--- How often it fires on a local day.
function support.count(expression, day, options)
  local name = options.zone
  local zone = support.zone(name)
  local rule = assert(core.cron(expression, { zone = zone, fold = options.fold, gap = options.gap }))
  local at, count = support.instant(name, day .. "T00:00") - 1, 0
  while true do
    at = rule:next(at)
    if zone:local_time(at):sub(1, 10) ~= day then return count end
    count = count + 1
  end
end

return support
