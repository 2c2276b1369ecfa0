--- options.lua: checks tables of options. An unknown key raises and names the nearest known one; a value of a wrong
-- type raises as a wrong argument of any Lua function does.

local places = require "pipeline.support.place"
local bad_argument, bad_option, bad_type = places.bad_argument, places.bad_option, places.bad_type
local misuse = places.misuse

local options = {}
local type, next, math_type = type, next, math.type

--- Seconds of the units in texts such as "15m" and "30d".
options.TIME_UNITS = { s = 1, m = 60, h = 3600, d = 86400, w = 7 * 86400 }

local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

--- How many letters must be changed, added or left out to make one text the other.
options.distance = distance

-- What the same thing is called elsewhere.
local synonyms = {
  max_attempts = { "task_retry_limit" }, max_retries = { "task_retry_limit", "max_attempts" },
  retries = { "task_retry_limit", "max_attempts" }, attempts = { "max_attempts", "task_retry_limit" },
  delay = { "countdown", "eta" }, ["in"] = { "countdown" }, at = { "eta" }, run_at = { "eta" },
  queue = { "queue_name" },
  queue_name = { "queue" }, id = { "idempotence_key", "name" }, key = { "idempotence_key", "name" },
  concurrency = { "max_concurrent_requests" }, max_concurrency = { "max_concurrent_requests", "concurrency" },
  args = { "params" }, body = { "payload", "params" }, data = { "payload", "params" },
  retry_parameters = { "retry_options" }, retry_options = { "retry_parameters" },
}

--- The key of `known` that `name` may have meant: what the same is called elsewhere, else the nearest by letters; ties
-- go to the first in alphabetical order.
function options.nearest(name, known)
  for _, other in ipairs(synonyms[name] or {}) do
    if known[other] then return other end
  end
  local best, best_distance
  for candidate in pairs(known) do
    local d = distance(name:sub(1, 80), candidate)
    if not best or d < best_distance or (d == best_distance and candidate < best) then
      best, best_distance = candidate, d
    end
  end
  return best
end

--- Raises unless the option `name` of `what` is one of the keys of `known`.
function options.check_one_of(value, known, position, what, name)
  if value ~= nil and known[value] then return end
  bad_option(position, what, name, "'%s' is none of them; did you mean '%s'?", tostring(value),
    options.nearest(tostring(value), known))
end

--- The key of `known` that `name` is one letter away from, or nil.
function options.misspelt(name, known)
  if #name < 3 or #name > 80 then return nil end
  local found
  for candidate in pairs(known) do
    local is_near = candidate ~= name and math.abs(#candidate - #name) <= 1
    if is_near and distance(name, candidate) <= 1 and (not found or candidate < found) then found = candidate end
  end
  return found
end

local function is_finite(value)
  return value == value and value ~= math.huge and value ~= -math.huge
end

local checks = {
  any = function() return true end,
  number = function(value) return type(value) == "number" and is_finite(value) end,
  integer = function(value) return math.type(value) == "integer" end,
  count = function(value) return math.type(value) == "integer" and value >= 1 end,
  duration = function(value) return type(value) == "number" and value >= 0 and is_finite(value) end,
  time = function(value) return type(value) == "table" or (type(value) == "number" and is_finite(value)) end,
}

local expected = {
  number = "finite number",
  count = "positive integer",
  duration = "number of seconds, at least 0",
  time = "number of seconds since the epoch, or a table as of os.date",
}

--- Whether `value` is of `kind`: a kind above or a Lua type. Else false and what was expected.
function options.fits(value, kind)
  local check = checks[kind]
  local ok
  if check then ok = check(value) else ok = type(value) == kind end
  if ok then return true end
  return false, expected[kind] or kind
end

local function describe(value)
  if type(value) == "number" then return tostring(value) end
  return type(value)
end

--- Checks `given` (a table or nil) against `known` (name -> kind). `position` and `name` say which argument of which
-- function it is, `place` where in it. Returns the table, never nil.
function options.check(given, known, position, name, place)
  place = place and place .. ": " or ""
  if given == nil then return {} end
  if type(given) ~= "table" then
    bad_type(position, name, "table of options", given)
  end
  for key, value in pairs(given) do
    if type(key) ~= "string" then
      bad_argument(position, name, "%soptions have names; got one at [%s]", place, tostring(key))
    end
    local kind = known[key]
    if not kind then
      local nearest = options.nearest(key, known)
      bad_argument(position, name, "%sunknown option '%s'%s", place, key,
        nearest and ("; did you mean '" .. nearest .. "'?") or "")
    end
    local ok, wanted = true, nil
    if kind ~= "any" then ok, wanted = options.fits(value, kind) end
    if not ok then
      bad_argument(position, name, "%soption '%s': %s expected, got %s", place, key, wanted, describe(value))
    end
  end
  return given
end

--- Refuses what is not a plain list: a table with keys 1 to n and no others, each item of which `is_item` accepts. A
-- table that is something else would pass for an empty list, and nothing would be done. `what` says what is expected,
-- `item` what the items are. Returns the list.
function options.check_list(value, is_item, position, name, what, item)
  if type(value) ~= "table" then bad_type(position, name, what, value) end
  local n, at = #value, 0
  for key, each in next, value do
    at = at + 1
    if key ~= at and (math_type(key) ~= "integer" or key < 1 or key > n) then
      bad_argument(position, name, "%s expected, got a table with the field '%s'", what, tostring(key))
    end
    if not is_item(each) then bad_argument(position, name, "%s expected at [%d], got %s", item, key, type(each)) end
  end
  return value
end

--- Whether `value` can be called.
function options.is_callable(value)
  if type(value) == "function" then return true end
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__call ~= nil
end

--- Refuses what cannot be called. `position` and `name` say which argument of which function it is.
function options.check_function(value, position, name)
  if options.is_callable(value) then return end
  bad_type(position, name, "function", value)
end

--- Makes each function of a table of methods, but for those of the library alone (_name), refuse a wrong `self`, as of
-- a call with a dot in place of the colon. `noun` says what is expected.
function options.methods(functions, is_self, noun)
  for name, fn in pairs(functions) do
    if type(fn) == "function" and name:sub(1, 1) ~= "_" then
      functions[name] = function(self, ...)
        if not is_self(self) then
          misuse("bad self of '%s': a %s expected (%s is called with a colon), got %s", name, noun, name, type(self))
        end
        return fn(self, ...)
      end
    end
  end
end

-- Days since 1970-01-01 of a date in the proleptic Gregorian calendar, in integers.
local function days_of(year, month, day)
  year = year + (month - 1) // 12
  month = (month - 1) % 12 + 1
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5
  local day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
  return era * 146097 + day_of_era - 719468 + day - 1
end

--- Seconds since the epoch of a number, or of a table as from os.date("!*t"), read as UTC. nil if it is neither.
function options.epoch(time)
  if type(time) == "number" then return time end
  if type(time) ~= "table" then return nil end
  local year, month, day = math.tointeger(time.year), math.tointeger(time.month), math.tointeger(time.day)
  if not (year and month and day) then return nil end
  local hour, min, sec = tonumber(time.hour) or 12, tonumber(time.min) or 0, tonumber(time.sec) or 0
  return days_of(year, month, day) * 86400.0 + hour * 3600 + min * 60 + sec
end

return options
