--- taskqueue/settings.lua: what a program says of queues (rates, ages, limits, targets), read into what a store takes.
--
-- The forms are those of queue.yaml: "5/s", "2d", "1.5G". Pure functions; taskqueue.configure sends what comes of them.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local queue_errors = require "pipeline.taskqueue.errors"
local text = require "pipeline.support.text"

local classes = queue_errors.classes
local type, ipairs = type, ipairs

local settings = { MAX_NAME_LENGTH = 100, DEFAULT_BUCKET_SIZE = 5 }

--- The name, if it may be one of a queue. Raises InvalidQueueNameError.
function settings.check_name(name)
  if type(name) ~= "string" or #name > settings.MAX_NAME_LENGTH or
    not (name:find("^[%w%-]+$") or name == "__cron") then
    errors.raise(classes.InvalidQueueNameError, "queue name %s is not 1 to %d of letters, digits and '-'",
      text.of(name, 100), settings.MAX_NAME_LENGTH)
  end
  return name
end

-- Raises MalformedQueueConfiguration.
local function refuse(name, format, ...)
  errors.raise(classes.MalformedQueueConfiguration, "queue %s: " .. format, name, ...)
end

settings.refuse = refuse

local UNIT_SECONDS = { s = 1, m = 60, h = 3600, d = 86400 }

--- Tasks per second of "0", "5/s", "2000/d", or of a number. Raises MalformedQueueConfiguration.
function settings.parse_rate(rate, name)
  name = name or "?"
  local value = rate
  if type(rate) == "string" then
    local number, unit = rate:match("^(%d+%.?%d*)/([smhd])$")
    value = rate == "0" and 0 or number and tonumber(number) / UNIT_SECONDS[unit]
  end
  if type(value) ~= "number" or not (value >= 0 and value < math.huge) then
    refuse(name, "rate %s is neither \"0\" nor a number and /s, /m, /h or /d", text.of(rate, 100))
  end
  return value + 0.0
end

--- Whole seconds of "1.5e2s", "2d", or of a number. Raises MalformedQueueConfiguration.
function settings.parse_age(age, name)
  name = name or "?"
  local seconds = age
  if type(age) == "string" then
    local number, unit = age:match("^([%d.eE+%-]+)([smhd])$")
    number = number and tonumber(number)
    seconds = number and number * UNIT_SECONDS[unit]
  end
  if type(seconds) ~= "number" or not (seconds > 0 and seconds < math.huge) then
    refuse(name, "task_age_limit %s is not a number above 0 and s, m, h or d", text.of(age, 100))
  end
  return math.floor(seconds)
end

local UNIT_BYTES = { B = 1, K = 1 << 10, M = 1 << 20, G = 1 << 30, T = 1 << 40 }

--- Bytes of "500", "1.5G" (B, K, M, G, T: powers of 1024), or of a number. Raises
-- MalformedQueueConfiguration; or ConfigurationError, when the option has a name of its own.
-- In App Engine: total_storage_limit.
function settings.parse_limit(limit, name)
  local bytes = limit
  if type(limit) == "string" then
    local number, unit = limit:match("^(%d+%.?%d*)([BKMGT]?)$")
    bytes = number and tonumber(number) * UNIT_BYTES[unit == "" and "B" or unit]
  end
  if type(bytes) ~= "number" or not (bytes >= 1 and bytes < 2 ^ 63) then
    errors.raise(name and errors.ConfigurationError or classes.MalformedQueueConfiguration,
      "%s %s is not a number, at least 1, and B, K, M, G, T or nothing", name or "total_storage_limit",
      text.of(limit, 100))
  end
  return math.tointeger(bytes // 1)
end

local retry_kinds = {
  task_retry_limit = "integer", task_age_limit = "any", min_backoff_seconds = "number", max_backoff_seconds = "number",
  max_doublings = "integer", max_losses = "count",
}

local function parse_retry(given, name)
  if given == nil then return nil end
  if type(given) ~= "table" then refuse(name, "retry_parameters is a %s", type(given)) end
  options.check(given, retry_kinds, 1, "configure", "queue " .. name)
  local form = {}
  for key, value in pairs(given) do
    if key == "task_age_limit" then
      form[key] = settings.parse_age(value, name)
    else
      if value < 0 then refuse(name, "%s is negative", key) end
      form[key] = value
    end
  end
  local min, max = form.min_backoff_seconds, form.max_backoff_seconds
  if min and max and min > max then refuse(name, "min_backoff_seconds is above max_backoff_seconds") end
  return form
end

local function parse_target(target, name)
  if target == nil then return nil end
  local parts = 0
  for part in (target .. "."):gmatch("([^.]*)%.") do
    parts = parts + 1
    if not part:find("^[%l%d][%l%d%-]*$") then parts = 3 end
  end
  if parts > 2 then refuse(name, "target '%s' is not module or version.module in lower case", text.short(target)) end
  return target
end

local setting_kinds = {
  mode = "string", rate = "any", bucket_size = "count", max_concurrent_requests = "count", target = "string",
  retry_parameters = "any", paused = "boolean",
}

local function parse_settings(name, given, log)
  if not pcall(settings.check_name, name) then refuse(text.of(name, 100), "not a name of a queue") end
  if given == false then return { name = name, removed = true } end
  if type(given) ~= "table" then refuse(name, "table of settings expected, got %s", type(given)) end
  options.check(given, setting_kinds, 1, "configure", "queue " .. name)
  local mode = given.mode or "push"
  if mode ~= "push" and mode ~= "pull" then refuse(name, "mode '%s' is neither push nor pull", text.short(mode)) end
  local rate = given.rate ~= nil and settings.parse_rate(given.rate, name) or nil
  if mode == "pull" and (rate or given.max_concurrent_requests) then
    log(core.LOG_WARNING, ("queue %s: a pull queue has no rate and no concurrency; they are ignored"):format(name))
    rate = nil
  end
  return {
    name = name, mode = mode, rate = rate, bucket_size = rate and (given.bucket_size or settings.DEFAULT_BUCKET_SIZE),
    max_concurrent = mode == "push" and given.max_concurrent_requests or nil,
    target = parse_target(given.target, name), retry = parse_retry(given.retry_parameters, name),
    paused = given.paused,
  }
end

--- Parses the `queues` option: what the store takes. Raises MalformedQueueConfiguration.
function settings.parse(queues, log)
  local names, list = {}, {}
  for name in pairs(queues) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for i, name in ipairs(names) do list[i] = parse_settings(name, queues[name], log) end
  return list
end

return settings
