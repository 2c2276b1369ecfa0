--- times.lua: when a schedule fires: what is stored of that, compiled.
--
-- Fields of what is stored: cron (list) or every and anchor or at; exclude, time_zone, gap, fold, day_and_weekday,
-- jitter, start_time, end_time, max_fires; and how it fires: overlap, catch_up = { policy, window, limit }. `digest`
-- tells the rules of the zone as they were when the next time was worked out; `since`, of a schedule that was changed
-- or paused, the time before which it owes nothing.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"

local times = {}

local Times = {}
Times.__index = Times

-- Zones are shared; whether the file has other rules by now is looked at once a minute.
local zones, LOOK_SECONDS = {}, 60

--- The zone of that name. Raises ScheduleError, which says what is missing and how to get it.
function times.zone(name)
  local known = zones[name]
  if known and os.time() < known.looked + LOOK_SECONDS then return known.zone end
  if known then
    known.looked = os.time()
    if not known.zone:changed() then return known.zone end
  end
  local zone, code, message = core.zone(name)
  if not zone then
    if known then return known.zone end
    errors.raise(times.ScheduleError, "time_zone: %s", message or code)
  end
  zones[name] = { zone = zone, looked = os.time() }
  return zone
end

times.ScheduleError = errors.define("ScheduleError", errors.Error)

-- Whether a new time is one of the calendar at all: what fires by it is compiled once.
local function rule_of(fields, zone)
  local how = {
    zone = zone, exclude = fields.exclude, day_and_weekday = fields.day_and_weekday, gap = fields.gap,
    fold = fields.fold,
  }
  if fields.cron then return core.cron(fields.cron, how) end
  if fields.every then return core.every(fields.every, fields.anchor, how) end
  return core.at(fields.at, how)
end

--- Compiles stored fields. Raises ScheduleError.
function times.compile(fields)
  local zone = times.zone(fields.time_zone)
  local rule, code, message = rule_of(fields, zone)
  if not rule then errors.raise(times.ScheduleError, "%s", message or code) end
  return setmetatable({ fields = fields, zone = zone, rule = rule, digest = zone:digest() }, Times)
end

local compiled, KNOWN_MAX, known = setmetatable({}, { __mode = "v" }), 100000, 0

--- The compiled times of a row. `fields` is shared: nobody writes to it.
function times.of_row(row)
  local found = compiled[row.times]
  if found and found.zone == times.zone(found.fields.time_zone) then return found end
  found = times.compile(errors.read(core.decode(row.times)))
  if known >= KNOWN_MAX then compiled, known = setmetatable({}, { __mode = "v" }), 0 end
  compiled[row.times], known = found, known + 1
  return found
end

--- The first time after that one, and how many in between fell into gaps of the clock; nil: it never fires again.
function Times.next(self, after)
  local fields = self.fields
  if fields.start_time and after < fields.start_time then after = fields.start_time - 1e-6 end
  local nominal, skipped = self.rule:next(after)
  if not nominal or (fields.end_time and nominal > fields.end_time) then return nil, 0 end
  return nominal, skipped
end

-- The part of a stretch in which it fires at all.
function Times._within(self, after, upto)
  local fields = self.fields
  if fields.start_time and after < fields.start_time then after = fields.start_time - 1e-6 end
  if fields.end_time and upto > fields.end_time then upto = fields.end_time end
  return after, upto
end

--- How many times lie after the one and not after the other.
function Times.count(self, after, upto)
  after, upto = self:_within(after, upto)
  return after < upto and self.rule:count(after, upto) or 0
end

--- The last time after the one and not after the other; nil: there is none.
function Times.last(self, after, upto)
  after, upto = self:_within(after, upto)
  return after < upto and self.rule:last(after, upto) or nil
end

--- When the fire of a nominal time happens: later by its jitter, which is always the same.
function Times.fire_at(self, name, nominal)
  local jitter = self.fields.jitter
  if not jitter or jitter == 0 then return nominal end
  return nominal + core.jitter(name, nominal, jitter, (self:next(nominal)))
end

--- "2026-12-24T18:00:00+01:00"
function Times.local_time(self, time)
  return self.zone:local_time(time)
end

--- The instant of a time on the clock of a zone.
function times.instant(text, zone)
  local rule, code, message = core.at(text, { zone = times.zone(zone) })
  if not rule then errors.raise(times.ScheduleError, "%s: %s", text, message or code) end
  return rule:next(-1e11) + 0.0
end

--- Whether the fields that say when it fires are the same: a change of others moves no time.
function times.are_same(a, b)
  for _, name in ipairs { "every", "anchor", "at", "time_zone", "gap", "fold", "day_and_weekday", "jitter",
    "start_time", "end_time" } do
    if a[name] ~= b[name] then return false end
  end
  for _, name in ipairs { "cron", "exclude" } do
    if table.concat(a[name] or {}, "\0") ~= table.concat(b[name] or {}, "\0") then return false end
  end
  return true
end

return times
