--- retention.lua: how long an engine keeps what is over: the option `retention` of open, and what status says of it.

local duration = require "pipeline.support.duration"
local options = require "pipeline.support.options"
local bad_option = require("pipeline.support.place").bad_option

local retention = {}

local KEPT = -1 -- for ever, as the core has it
local DAY = 86400.0

--- What holds without the option: seconds, or false.
local DEFAULTS = { done = 30 * DAY, aborted = 90 * DAY, dead = false }

local journal_kinds = { done = "any", aborted = "any" }
local kinds = { done = "any", aborted = "any", dead = "any", max_bytes = "any" }

--- The same of journals of durable functions: the option `journal_retention`.
local JOURNALS = { done = 7 * DAY, aborted = 30 * DAY }

local function refuse(name, value, wanted, option)
  bad_option(2, "open", option or "retention", "'%s': %s expected, got %s", name, wanted,
    type(value) == "string" and ("%q"):format(value:sub(1, 40)) or tostring(value))
end

local function age_of(given, name, defaults, option)
  local value = given[name]
  if value == nil then value = defaults[name] end
  if value == false then return KEPT end
  return duration.seconds(value)
    or refuse(name, value, 'seconds, a text such as "30d", "12h" or "1h30m", or false (for ever)', option)
end

--- Reads the option into those of the core. `parse_limit` reads bytes.
function retention.read(given, parse_limit)
  if given == false then given = { done = false, aborted = false } end
  if given ~= nil and type(given) ~= "table" then
    bad_option(2, "open", "retention", "table or false expected, got %s", type(given))
  end
  given = options.check(given, kinds, 2, "open", "option 'retention'")
  local passed = { max_bytes = given.max_bytes and parse_limit(given.max_bytes, "retention.max_bytes") or nil }
  for name in pairs(DEFAULTS) do passed["keep_" .. name] = age_of(given, name, DEFAULTS) + 0.0 end
  return passed
end

--- Reads the option `journal_retention` into those of the core.
function retention.read_journals(given)
  if given == false then given = { done = false, aborted = false } end
  if given ~= nil and type(given) ~= "table" then
    bad_option(2, "open", "journal_retention", "table or false expected, got %s", type(given))
  end
  given = options.check(given, journal_kinds, 2, "open", "option 'journal_retention'")
  local passed = {}
  for name in pairs(JOURNALS) do
    passed["keep_journals_" .. name] = age_of(given, name, JOURNALS, "journal_retention") + 0.0
  end
  return passed
end

-- What of a kind is older than it is kept.
local function due_of(found)
  return { count = found.count, more = found.more, oldest = found.oldest }
end

--- What status says: the ages in force, and what the next sweep takes. `found` is the core's.
function retention.status(found)
  local ages = {}
  for name in pairs(DEFAULTS) do
    local age = found["keep_" .. name]
    ages[name] = age >= 0 and age
  end
  ages.journals = {}
  for name in pairs(JOURNALS) do
    local age = found["keep_journals_" .. name]
    ages.journals[name] = age >= 0 and age
  end
  ages.max_bytes = found.max_bytes
  ages.sweeps = found.sweeps
  ages.due = {
    done = due_of(found.done), aborted = due_of(found.aborted), dead = due_of(found.dead), names = due_of(found.names),
  }
  return ages
end

return retention
