-- support.lua: pipelines of the library, evaluated in test mode and on the store of the default engine, with values and
-- with futures as arguments.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local assert = require "luassert"

local support = {}

-- Gives its argument after it was stored, so that what waits for it gets it through a slot.
local Give = pipeline.define("common.spec.Give", { run = function(_, value) return value end })

-- Runs the class with a future in place of each value at the top and of each field of an options table.
local Spread = pipeline.define("common.spec.Spread", {
  run = function(self, path, count, ...)
    local make = pipeline.common
    for name in path:gmatch("[^.]+") do make = make[name] end
    local given, futures = { ... }, {}
    for i = 1, count do
      local value = given[i]
      if path == "Delay" or path == "Dict" or type(value) == "table" and value.separator then
        futures[i] = {}
        for name, field in pairs(value or {}) do futures[i][name] = self:spawn(Give(field)) end
      else
        futures[i] = self:spawn(Give(value))
      end
    end
    self:spawn(make(table.unpack(futures, 1, count)))
  end,
})

local function of(path)
  local make = pipeline.common
  for name in path:gmatch("[^.]+") do make = make[name] end
  return make
end

--- The four ways to evaluate `path`(...): in test mode and on a store, with values and with futures.
function support.each_way(path, fn, ...)
  local args = table.pack(...)
  local function direct() return of(path)(table.unpack(args, 1, args.n)) end
  local function spread() return Spread(path, args.n, table.unpack(args, 1, args.n)) end
  for _, make in ipairs { direct, spread } do
    fn(make(), function(stage) return stage:start_test().outputs.default.value end)
    fn(make(), helper.result)
  end
end

--- Asserts that `path`(...) gives `wanted` in each way, of the same type of number.
function support.gives(wanted, path, ...)
  support.each_way(path, function(stage, evaluate)
    local value = evaluate(stage)
    assert.same(wanted, value)
    if type(wanted) ~= "table" then assert.equal(math.type(wanted), math.type(value)) end
  end, ...)
end

--- Asserts that attempts of `path`(...) fail with `text`, in each way.
function support.fails(text, path, ...)
  support.each_way(path, function(stage, evaluate)
    local ok, problem = pcall(evaluate, stage)
    assert.is_false(ok)
    if not tostring(problem):find(text, 1, true) then
      error(("'%s' expected, got: %s"):format(text, tostring(problem)), 2)
    end
  end, ...)
end

return support
