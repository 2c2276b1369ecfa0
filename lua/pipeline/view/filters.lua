--- filters.lua: which roots or tasks are meant, in the same words wherever somebody asks for some: state, class, queue,
-- key, text (in class, key, message, error), since, until, error.

local keys = require "pipeline.workflow.keys"
local options = require "pipeline.support.options"
local words = require "pipeline.view.words"
local bad_option = require("pipeline.support.place").bad_option

local filters = {}

--- The names of filters, and of what they are.
filters.KINDS = {
  state = "any", class = "string", queue = "string", key = "string", text = "string", since = "number",
  ["until"] = "number", error = "any",
}

local known_states = {}
for _, word in ipairs(words.STATES) do known_states[word] = true end

local function check_state(word, name)
  if known_states[word] then return end
  bad_option(1, name, "state", "'%s' is none; did you mean '%s'?", tostring(word),
    options.nearest(tostring(word), known_states))
end

-- A set of state words, from one of them, a list, or a text with commas; nil: any.
local function read_states(given, name)
  if given == nil or given == "" then return nil end
  local set, list = {}, given
  if type(given) == "string" then
    list = {}
    for word in given:gmatch("[^,%s]+") do list[#list + 1] = word end
  end
  options.check_list(list, function(item) return type(item) == "string" end, 1, name, "option 'state': list of states",
    "option 'state': state")
  for _, word in ipairs(list) do
    check_state(word, name)
    set[word] = true
  end
  return set
end

-- A time as the store takes it.
local function check_time(value, option, name)
  if value == nil or (value >= 0 and value < math.huge) then return value end
  bad_option(1, name, option, "seconds since the epoch expected, got %s", tostring(value))
end

local function non_empty(value)
  return value ~= "" and value or nil
end

--- Checks the filters among `given`, and gives them in the form that is compared: states (a set), class, queue, key (as
-- stored), text, since, until (seconds), error (a text, or true: any error).
-- @tparam string name of the method that was called, for errors.
function filters.read(given, name)
  local wanted = given.error
  if wanted ~= nil and type(wanted) ~= "string" and type(wanted) ~= "boolean" then
    bad_option(1, name, "error", "string or boolean expected, got %s", type(wanted))
  end
  return {
    states = read_states(given.state, name), class = non_empty(given.class), queue = non_empty(given.queue),
    key = keys.of(given.key), text = non_empty(given.text), since = check_time(given.since, "since", name),
    ["until"] = check_time(given["until"], "until", name),
    error = wanted ~= false and non_empty(wanted) or nil,
  }
end

--- Checks options of a method: the filters, and what else it takes.
-- @tparam table more names and kinds of other options.
function filters.check(given, more, name)
  local known = {}
  for key, kind in pairs(filters.KINDS) do known[key] = kind end
  for key, kind in pairs(more) do known[key] = kind end
  return options.check(given, known, 1, name)
end

return filters
