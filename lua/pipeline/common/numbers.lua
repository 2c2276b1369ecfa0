--- numbers.lua: pipelines that calculate. See common.lua.
--
-- Integers stay integers; a result that an integer cannot hold fails the attempt instead of wrapping around.

local class = require "pipeline.workflow.class"
local bad_argument = require("pipeline.support.place").bad_argument
require "pipeline.workflow.instance"

local numbers = {}

local function require_one(name)
  class.prepare_arguments(numbers[name], function(...)
    if select("#", ...) == 0 then bad_argument(1, name, "value expected") end
    return ...
  end)
end

local function check_number(name, position, value)
  if type(value) ~= "number" then
    error(("%s: argument %d: number expected, got %s"):format(name, position, type(value)), 0)
  end
end

local function check_comparable(name, position, value, first)
  local kind = type(first)
  if kind ~= "number" and kind ~= "string" then
    error(("%s: argument 1: number or string expected, got %s"):format(name, kind), 0)
  end
  if type(value) ~= kind then
    error(("%s: argument %d: %s expected as argument 1 is, got %s"):format(name, position, kind, type(value)), 0)
  end
end

-- The first of the arguments that no other one `beats`; NaN, if there is one.
local function best_of(name, beats, ...)
  local list, first = { ... }, ...
  local best = first
  for i = 1, select("#", ...) do
    local value = list[i]
    check_comparable(name, i, value, first)
    if best == best and (value ~= value or beats(value, best)) then best = value end
  end
  return best
end

--- Max(...): the largest of its arguments, numbers or strings; at least one. In App Engine: common.Max.
numbers.Max = class.define("pipeline.common.Max", {
  run = function(_, ...) return best_of("Max", function(a, b) return a > b end, ...) end,
})

--- Min(...): the smallest of its arguments, numbers or strings; at least one. In App Engine: common.Min.
numbers.Min = class.define("pipeline.common.Min", {
  run = function(_, ...) return best_of("Min", function(a, b) return a < b end, ...) end,
})

local function fold(name, calculate, ...)
  local list, result = { ... }, ...
  check_number(name, 1, result)
  for i = 2, select("#", ...) do
    local value = list[i]
    check_number(name, i, value)
    result = calculate(result, value) or error(name .. ": the result is larger than an integer can be", 0)
  end
  return result
end

local function add(a, b)
  local sum = a + b
  if math.type(sum) == "integer" and (a ~ sum) & (b ~ sum) < 0 then return nil end
  return sum
end

local function multiply(a, b)
  local product = a * b
  if math.type(product) ~= "integer" or a == 0 then return product end
  if product // a ~= b or a == -1 and b == math.mininteger then return nil end
  return product
end

--- Sum(...): the sum of its arguments, at least one. In App Engine: common.Sum.
numbers.Sum = class.define("pipeline.common.Sum", {
  run = function(_, ...) return fold("Sum", add, ...) end,
})

--- Multiply(...): the product of its arguments, at least one. In App Engine: common.Multiply.
numbers.Multiply = class.define("pipeline.common.Multiply", {
  run = function(_, ...) return fold("Multiply", multiply, ...) end,
})

--- Negate(v): gives -v; of several numbers a list of these. At least one. In App Engine: common.Negate.
numbers.Negate = class.define("pipeline.common.Negate", {
  run = function(_, ...)
    local list, count = { ... }, select("#", ...)
    for i = 1, count do
      check_number("Negate", i, list[i])
      if list[i] == math.mininteger then error("Negate: the result is larger than an integer can be", 0) end
      list[i] = -list[i]
    end
    if count == 1 then return list[1] end
    return list
  end,
})

for name in pairs(numbers) do require_one(name) end

return numbers
