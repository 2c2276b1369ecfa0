-- Values: arguments, outputs and what is passed between stages (P214–P218).

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

-- A module with a function and a class that values can name.
local names = {}
package.loaded["spec.values.names"] = names
function names.double(n) return 2 * n end
names.Point = {}
names.Point.__index = names.Point
function names.Point.sum(point) return point.x + point.y end

local function exact(value)
  return ("%s:%q"):format(math.type(value) or type(value), value)
end

describe("values", function()
  local engine
  local Give = pipeline.define("values.Give", { run = function(_, value) return value end })
  local Up = pipeline.define("values.Up", {
    run = function(self, depth, value)
      if depth == 0 then return value end
      self:spawn(self.class(depth - 1, self:spawn(Give(value))))
    end,
  })
  local Async = pipeline.define("values.Async", { async = true, output_names = { "x" }, run = function() end })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  -- Through arguments of a root, of children, returned values and inherited slots, and through the file.
  local function through(value)
    local stage = Up(2, value):start()
    local path, id = engine._path, stage.id
    engine:close()
    engine = helper.open { path = path }
    engine:drain { delayed = true }
    return engine:wait(id, { timeout = 0 }).default.value
  end

  it("P214 L15 keep their types: integers, floats, strings, booleans, nil", function()
    local list = {
      0, 1, -1, 2 ^ 53 | 0, (2 ^ 53 | 0) + 1, math.maxinteger, math.mininteger, 1.0, -0.0, 0.1, 1e300, 5e-324,
      1 / 0, -1 / 0, true, false, "", "text", "über", "\0\255\254", ("\128"):rep(100), "1", "1.0", "null",
    }
    local back = through(list)
    assert.equal(#list, #back)
    for i, value in ipairs(list) do assert.equal(exact(value), exact(back[i])) end
    assert.is_true(1 / back[9] < 0)
    local nan = through { 0 / 0 }[1]
    assert.is_true(nan ~= nan)
    assert.is_nil(through(nil))
    assert.equal("integer:7", exact(through(7)))
    assert.equal("float:0x1.cp+2", exact(through(7.0)))
    assert.is_false(through(false))
  end)

  it("P214 L14 keep the shape of tables: sequences, maps, holes, mixed and odd keys, empty ones", function()
    local holes = { 1, nil, 3 }
    holes[10] = "ten"
    local mixed = { "a", "b", x = 1, [2.5] = "half", [-1] = "minus", [true] = "yes", [false] = "no", ["3"] = "text" }
    local big = { [math.maxinteger] = 1, [math.mininteger] = 2 }
    local value = { {}, { {} }, holes, mixed, big, { [1.5] = { deep = { deeper = { 1, { 2 } } } } } }
    local back = through(value)
    assert.same(value, back)
    assert.equal("integer:3", exact(back[3][3]))
    assert.is_nil(back[4][3])
    assert.equal("text", back[4]["3"])
    for key in pairs(back[5]) do assert.equal("integer", math.type(key)) end
    assert.is_nil(next(back[1]))
  end)

  it("P214 keep the identity of tables that are met twice, and cycles", function()
    local shared = { 1 }
    local value = { shared, shared, { 1 } }
    value.self = value
    local back = through(value)
    assert.equal(back[1], back[2])
    assert.not_equal(back[1], back[3])
    assert.equal(back, back.self)
  end)

  it("P214 keep the number of arguments, with nil in any place", function()
    local seen
    local Count = helper.define(function(_, ...) seen = table.pack(...) end)
    for _, args in ipairs {
      table.pack(), table.pack(nil), table.pack(nil, nil), table.pack(1, nil), table.pack(nil, 2, nil, 4, nil),
    } do
      local Tree = helper.define(function(self, ...)
        assert(select("#", ...) == args.n)
        self:spawn(Count(...))
      end)
      local stage = Tree(table.unpack(args, 1, args.n))
      helper.result(stage)
      assert.same(args, seen)
      assert.equal(args.n, pipeline.from_id(stage.id).args.n)
    end
  end)

  it("P214 are copies: what is done to a table afterwards changes nothing", function()
    local given = { 1 }
    local stage = Give(given):start()
    given[1] = 2
    local Tree = helper.define(function(self)
      local inner = { "before" }
      local f = self:spawn(Give(inner))
      self:spawn(Give(f))
      self:spawn(Give { f, inner })
    end)
    local tree = Tree()
    local out = helper.result(tree)
    assert.same({ { "before" }, { "before" } }, out)
    assert.not_equal(out[1], out[2])
    assert.same({ 1 }, engine:wait(stage).default.value)
  end)

  it("P214 may be functions and objects of modules", function()
    local point = setmetatable({ x = 1, y = 2.5 }, names.Point)
    local back = through { names.double, point, { names.Point } }
    assert.equal(names.double, back[1])
    assert.equal(names.Point, getmetatable(back[2]))
    assert.equal(3.5, back[2]:sum())
    assert.equal(14, back[1](7))
  end)

  it("P214 that cannot be stored raise SerializationError with their place", function()
    local co = coroutine.create(print)
    local cases = {
      { "argument 2, field \"cfg.on_done\"", 1, { cfg = { on_done = function() return co end } } },
      { "argument 1", co },
      { "argument 3, field \"[2]\"", 1, 2, { 1, io.stdout } },
      { "argument 1, field \"[7].x\"", { [7] = { x = co } } },
    }
    for _, case in ipairs(cases) do
      local problem = helper.raises(pipeline.SerializationError, function()
        Give(table.unpack(case, 2, 4)):start()
      end)
      assert.matches(case[1], problem.message, 1, true)
    end
    assert.same({}, pipeline.get_root_list().pipelines)
    local stage = Async():start()
    engine:drain()
    local problem = helper.raises(pipeline.SerializationError, stage.fill, stage, "x", { a = co })
    assert.matches("value of slot 'x', field \"a\"", problem.message, 1, true)
    helper.raises(pipeline.SerializationError, stage.complete, stage, function() return co end)
    assert.equal("run", helper.entry(stage).status)
  end)

  it("P215 times survive to the microsecond, and so do ids of pipelines", function()
    local now = 1700000016.416567
    assert.equal(exact(now), exact(through(now)))
    local date = os.date("!*t", 1700000016)
    assert.same(date, through(date))
    engine:close()
    engine = helper.open { virtual_start = now }
    local stage = Async():start()
    engine:drain()
    stage:fill("x", stage.id)
    local slot = pipeline.from_id(stage.id).outputs.x
    assert.equal(1700000016416567, math.floor(slot.fill_time * 1e6 + 0.5))
    assert.equal(stage.id, slot.value)
    assert.equal(stage.id, pipeline.from_id(slot.value).id)
  end)

  it("P215 with a tag that nobody knows raise when read, and spoil nothing else", function()
    local stage = Give(1)
    helper.result(stage)
    sql.run(engine, "UPDATE pl_stage SET result = x'd90fa001' WHERE id = " .. stage._id) -- tag 4000
    local copy = pipeline.from_id(stage.id)
    local problem = helper.raises(pipeline.SerializationError, function() return copy.outputs.default.value end)
    assert.matches("tag 4000", problem.message, 1, true)
    assert.is_true(copy.outputs.default.filled)
    assert.equal("done", helper.entry(stage).status)
    local waiting = Give(1):start { countdown = 10 }
    sql.run(engine, "UPDATE pl_stage SET args = x'81d90fa001' WHERE id = " .. waiting._id)
    engine:drain()
    engine:drain { delayed = true }
    problem = helper.raises(pipeline.AbortedError, engine.wait, engine, waiting.id)
    assert.matches("SerializationError", problem.reason, 1, true)
    assert.equal(3, #problem.failures)
  end)

  it("P216 no key of a user's table has a meaning of its own", function()
    local value = {
      __pipeline_json_type = "datetime", __pipeline_slot = true, isoformat = "x", type = "slot", slotKey = "abc",
      class = "x", __index = 1, __gc = 1, __close = 2, __name = "pipeline.Slot", [28] = 29,
      nested = { { __pipeline_json_type = "nobody knows" }, { __pipeline_slot = 17 } },
    }
    local back = through(value)
    assert.same(value, back)
    assert.is_nil(getmetatable(back))
  end)

  it("P217 of 3 and 4 MB go up and down a tree", function()
    local three, four = ("3"):rep(3000000), { bytes = ("\255\0"):rep(2000000), list = {} }
    for i = 1, 10000 do four.list[i] = i end
    local Leaf = helper.define {
      output_names = { "four" },
      run = function(self, text, map)
        assert(text == three and map.bytes == four.bytes)
        self:fill("four", map)
        return text .. "!"
      end,
    }
    local Middle = helper.define {
      output_names = { "four" }, run = function(self, ...) return self:spawn(Leaf(...)) end,
    }
    local Tree = helper.define {
      output_names = { "four" },
      run = function(self, text, map)
        local low = self:spawn(Middle(text, map))
        self:spawn(Middle(self:spawn(Give(text)), low.four))
      end,
    }
    local stage = Tree(three, four)
    local outputs = helper.outputs(stage)
    assert.equal(three .. "!", outputs.default.value)
    assert.is_true(four.bytes == outputs.four.value.bytes)
    assert.same(four.list, outputs.four.value.list)
    local copy = pipeline.from_id(stage.id)
    assert.is_true(copy.args[1] == three)
    assert.is_true(copy.outputs.four.value.bytes == four.bytes)
  end)

  it("P217 of any size between small and large survive, in arguments, values and status", function()
    for _, size in ipairs { 0, 1, 23, 24, 255, 256, 900, 1000, 1024, 1025, 4096, 65535, 65536, 899999, 900001 } do
      local bytes = ("b"):rep(size)
      local stage = Give(bytes)
      assert.is_true(bytes == helper.result(stage), size)
      local copy = pipeline.from_id(stage.id)
      assert.is_true(bytes == copy.args[1] and bytes == copy.outputs.default.value, size)
    end
    local links = {}
    for i = 1, 5000 do links["link" .. i] = ("/"):rep(100) end
    local stage = Async():start()
    stage:set_status { message = ("m"):rep(1000000), status_links = links }
    local record = engine._core:stage_get(stage._id)
    assert.equal(1000000, #record.status.message)
  end)

  it("P218 need nothing to be set up; above the hard limit the call raises and nothing is left behind", function()
    local bytes = ("x"):rep(64 * 1024 * 1024)
    local problem = helper.raises(pipeline.SerializationError, function() Give(bytes):start() end)
    assert.matches("argument 1: too large", problem.message, 1, true)
    assert.same({}, pipeline.get_root_list().pipelines)
    local stage = Async():start()
    engine:drain()
    problem = helper.raises(pipeline.SerializationError, stage.fill, stage, "x", { a = bytes })
    assert.matches("value of slot 'x'", problem.message, 1, true)
    assert.is_false(pipeline.from_id(stage.id).outputs.x.filled)
    local Large = helper.define { max_attempts = 1, run = function() return bytes end }
    problem = helper.aborted(Large())
    assert.matches("Bad return value. SerializationError: return value: too large", problem.reason, 1, true)
    local Child = helper.define { max_attempts = 1, run = function(self) self:spawn(Give(bytes)) end }
    problem = helper.aborted(Child())
    assert.matches("Bad child arguments. SerializationError: .*argument 1: too large", problem.reason)
  end)
end)
