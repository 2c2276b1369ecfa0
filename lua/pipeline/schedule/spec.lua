--- spec.lua: what a program says of a schedule, checked and brought to the form that is stored.

local core = require "pipeline.core"
local duration = require "pipeline.support.duration"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local text = require "pipeline.support.text"
local times = require "pipeline.schedule.times"
local work = require "pipeline.schedule.work"

local spec = {}
local ScheduleError = times.ScheduleError

spec.WINDOW, spec.LIMIT = 86400.0, 1000
local NAME_MAX = 200

local kinds = {
  cron = "any", every = "any", anchor = "any", at = "any", exclude = "any", time_zone = "string", dst = "table",
  day_and_weekday = "boolean", jitter = "any", start_time = "any", end_time = "any", max_fires = "count",
  overlap = "string", catch_up = "table", pause_on_failure = "count", start = "any", task = "any", call = "any",
  queue = "string",
}
spec.kinds = kinds

local overlaps = {
  skip = true, buffer_one = true, buffer_all = true, cancel_other = true, terminate_other = true, allow_all = true,
}
spec.overlaps = overlaps

local gaps = { ["next"] = true, shift = true, skip = true }
local folds = { first = true, last = true, both = true }
local policies = { last = true, all = true, none = true }

local function refuse(format, ...)
  errors.raise(ScheduleError, format, ...)
end

--- Seconds of a number, or of a text (see support/duration.lua). Raises ScheduleError.
function spec.duration(value, what)
  return duration.seconds(value) or refuse("%s: %s expected, got %s", what, duration.EXPECTED, text.of(value, 100))
end

local function choice(value, known, what)
  if value == nil or known[value] then return value end
  refuse("%s: '%s' is not known; did you mean '%s'?", what, text.short(tostring(value)),
    options.nearest(tostring(value), known))
end

local function list_of_texts(value, what)
  if value == nil then return nil end
  local list = type(value) == "table" and value or { value }
  for i, item in ipairs(list) do
    if type(item) ~= "string" then refuse("%s: entry %d is a %s, a text expected", what, i, type(item)) end
  end
  if #list == 0 and what == "cron" then refuse("cron: no expression") end
  return #list > 0 and table.move(list, 1, #list, 1, {}) or nil
end

-- Seconds since the epoch, or a time on the clock of the zone.
local function instant(value, fields, what)
  if value == nil then return nil end
  if type(value) == "number" and value == value then return value + 0.0 end
  if type(value) == "string" then
    local rule, code, message = core.at(value, { zone = times.zone(fields.time_zone), gap = fields.gap,
      fold = fields.fold })
    if not rule then refuse("%s: %s", what, message or code) end
    return rule:next(-1e11) + 0.0
  end
  refuse("%s: seconds since the epoch, or a text such as \"2026-12-24T18:00\", expected, got %s", what,
    text.of(value, 100))
end

local function check_inner(given, known, what)
  for name in pairs(given) do
    if not known[name] then
      refuse("%s: unknown field '%s'; did you mean '%s'?", what, text.short(tostring(name)),
        options.nearest(tostring(name), known))
    end
  end
end

local function catch_up_of(given)
  if given == nil then return { policy = "last", window = spec.WINDOW, limit = spec.LIMIT } end
  check_inner(given, { policy = true, window = true, limit = true }, "catch_up")
  local limit = given.limit == nil and spec.LIMIT or given.limit
  if math.type(limit) ~= "integer" or limit < 1 or limit > 100000 then
    refuse("catch_up.limit: a whole number from 1 to 100000 expected")
  end
  return {
    policy = choice(given.policy, policies, "catch_up.policy") or "last", limit = limit,
    window = given.window == nil and spec.WINDOW or spec.duration(given.window, "catch_up.window"),
  }
end

local function check_kinds(given)
  local n = (given.cron ~= nil and 1 or 0) + (given.every ~= nil and 1 or 0) + (given.at ~= nil and 1 or 0)
  if n ~= 1 then refuse("%s of cron, every and at is needed", n == 0 and "one" or "only one") end
  if given.anchor ~= nil and given.every == nil then refuse("anchor: it is for `every`") end
end

--- The stored fields of the times of a spec. `now` is the anchor of `every` where none is said.
function spec.times(given, now)
  check_kinds(given)
  local dst = given.dst or {}
  check_inner(dst, { gap = true, fold = true }, "dst")
  local fields = {
    time_zone = given.time_zone or "UTC", gap = choice(dst.gap, gaps, "dst.gap"),
    fold = choice(dst.fold, folds, "dst.fold"), cron = list_of_texts(given.cron, "cron"),
    exclude = list_of_texts(given.exclude, "exclude"), day_and_weekday = given.day_and_weekday or nil,
    max_fires = given.max_fires, overlap = choice(given.overlap, overlaps, "overlap") or "skip",
    catch_up = catch_up_of(given.catch_up), pause_on_failure = given.pause_on_failure,
  }
  fields.digest = times.zone(fields.time_zone):digest()
  if given.every ~= nil then
    fields.every = spec.duration(given.every, "every")
    if fields.every < 1 then refuse("every: a second or more expected") end
    fields.anchor = instant(given.anchor, fields, "anchor") or math.floor(now) + 0.0
  end
  fields.at = instant(given.at, fields, "at")
  if given.jitter ~= nil then fields.jitter = spec.duration(given.jitter, "jitter") end
  fields.start_time = instant(given.start_time, fields, "start_time")
  fields.end_time = instant(given.end_time, fields, "end_time")
  if fields.start_time and fields.end_time and fields.end_time < fields.start_time then
    refuse("end_time is before start_time")
  end
  times.compile(fields)
  return fields
end

--- What was given, as a spec again: for a part of it to be changed.
function spec.given(fields)
  return {
    cron = fields.cron, every = fields.every, anchor = fields.anchor, at = fields.at, exclude = fields.exclude,
    time_zone = fields.time_zone, dst = { gap = fields.gap, fold = fields.fold },
    day_and_weekday = fields.day_and_weekday, jitter = fields.jitter, start_time = fields.start_time,
    end_time = fields.end_time, max_fires = fields.max_fires, overlap = fields.overlap,
    catch_up = fields.catch_up, pause_on_failure = fields.pause_on_failure,
  }
end

--- Checks the name of a schedule.
function spec.check_name(name, what)
  if type(name) ~= "string" or name == "" or #name > NAME_MAX or name:find("[%c]") or not utf8.len(name) then
    refuse("%s: a name of 1 to %d bytes of UTF-8 without control characters expected, got %s", what, NAME_MAX,
      text.of(name, 100))
  end
  return name
end

--- The stored forms of times and work of a whole spec. Raises ScheduleError, which says which field is wrong and why.
function spec.parse(engine, given, what)
  options.check(given, kinds, 2, what)
  local fields = spec.times(given, engine._core:now())
  local todo = work.of_spec(engine, given)
  if not todo then refuse("one of start, task and call is needed: what is to be done") end
  return fields, todo
end

local function encode(value)
  local bytes, code, message = core.encode_value(value, "schedule")
  if not bytes then errors.raise_core(code, message, "schedule") end
  return bytes
end

spec.encode = encode

return spec
