--- lists.lua: pipelines that make lists of values and of other lists. See common.lua.
--
-- Sets are lists without doubles, in the order in which their elements were seen first. Elements of sets are compared
-- as the keys of a table are: 1 and 1.0 are the same; tables are refused, since two that look the same are not.

local class = require "pipeline.workflow.class"
local bad_argument = require("pipeline.support.place").bad_argument
require "pipeline.workflow.instance"

local lists = {}

-- Raises unless `value` is a proper sequence.
local function check_list(name, position, value)
  local what = type(value)
  if what == "table" then
    local count = 0
    for _ in next, value do count = count + 1 end
    if count == #value then return end
    what = "table that is no list"
  end
  error(("%s: argument %d: list expected, got %s"):format(name, position, what), 0)
end

--- Extend(...): one list of the elements of all its arguments, which are lists; one level is opened. None: an empty
-- list. In App Engine: common.Extend.
lists.Extend = class.define("pipeline.common.Extend", {
  run = function(_, ...)
    local given, all = { ... }, {}
    for i = 1, select("#", ...) do
      local list = given[i]
      check_list("Extend", i, list)
      table.move(list, 1, #list, #all + 1, all)
    end
    return all
  end,
})

--- Append(...): a list of its arguments as they are. In App Engine: common.Append.
lists.Append = class.define("pipeline.common.Append", {
  run = function(_, ...) return { ... } end,
})

local function is_separator(value)
  return type(value) == "table" and next(value) == "separator" and next(value, "separator") == nil
end

--- Concat(..., { separator = ", " }): its arguments, strings or numbers, as one string. The table at the end may be
-- left out; without it nothing is put between. None: "". In App Engine: common.Concat.
lists.Concat = class.define("pipeline.common.Concat", {
  run = function(_, ...)
    local list, count, separator = { ... }, select("#", ...), ""
    if is_separator(list[count]) then
      separator = list[count].separator
      if type(separator) ~= "string" then error("Concat: separator: string expected, got " .. type(separator), 0) end
      count = count - 1
    end
    for i = 1, count do
      if type(list[i]) ~= "string" and type(list[i]) ~= "number" then
        error(("Concat: argument %d: string expected, got %s"):format(i, type(list[i])), 0)
      end
    end
    return table.concat(list, separator, 1, count)
  end,
})

class.prepare_arguments(lists.Concat, function(...)
  local list, count = { ... }, select("#", ...)
  for i = 1, count do
    local value = list[i]
    if type(value) == "table" and getmetatable(value) == nil and not (i == count and is_separator(value)) then
      bad_argument(i, "Concat", "string expected, or { separator = } at the end")
    end
  end
  return ...
end)

local function check_element(name, place, value)
  if type(value) == "table" then error(("%s: %s is a table: it cannot be compared"):format(name, place), 0) end
end

-- NaN is no key; each is an element of its own.
local function add_new(list, seen, value)
  if value == value then
    if seen[value] then return end
    seen[value] = true
  end
  list[#list + 1] = value
end

local function check_lists(name, all)
  for i = 1, all.n do
    check_list(name, i, all[i])
    for k, value in ipairs(all[i]) do check_element(name, ("argument %d[%d]"):format(i, k), value) end
  end
end

--- Union(...): the elements of all its arguments, which are lists, without doubles. In App Engine: common.Union.
lists.Union = class.define("pipeline.common.Union", {
  run = function(_, ...)
    local all, list, seen = table.pack(...), {}, {}
    check_lists("Union", all)
    for i = 1, all.n do
      for _, value in ipairs(all[i]) do add_new(list, seen, value) end
    end
    return list
  end,
})

local function keys_of(list)
  local keys = {}
  for _, value in ipairs(list) do
    if value == value then keys[value] = true end
  end
  return keys
end

--- Intersection(...): the elements that are in all its arguments, which are lists; without doubles, in the order of the
-- first. None: an empty list. In App Engine: common.Intersection.
lists.Intersection = class.define("pipeline.common.Intersection", {
  run = function(_, ...)
    local all, list, seen = table.pack(...), {}, {}
    check_lists("Intersection", all)
    local sets = {}
    for i = 2, all.n do sets[i - 1] = keys_of(all[i]) end
    for _, value in ipairs(all[1] or {}) do
      local in_all = true
      for _, set in ipairs(sets) do in_all = in_all and set[value] end
      if in_all then add_new(list, seen, value) end
    end
    return list
  end,
})

--- Uniquify(...): its arguments without doubles; nil is left out. In App Engine: common.Uniquify.
lists.Uniquify = class.define("pipeline.common.Uniquify", {
  run = function(_, ...)
    local given, list, seen = { ... }, {}, {}
    for i = 1, select("#", ...) do
      local value = given[i]
      check_element("Uniquify", ("argument %d"):format(i), value)
      if value ~= nil then add_new(list, seen, value) end
    end
    return list
  end,
})

return lists
