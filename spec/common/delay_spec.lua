-- Delay (P251, P252, M2).

local pipeline = require "pipeline"
local common = pipeline.common
local helper = require "spec.support.helper"

describe("Delay", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("P251 L25 takes exactly { seconds = n }, seen when it is made", function()
    local Delay = common.Delay
    for _, arguments in ipairs {
      { n = 0 }, { 10 }, { {} }, { { seconds = 1, more = 2 } }, { { second = 1 } }, { { seconds = 1 }, 2 },
      { { seconds = "1" } }, { { seconds = 1 / 0 } }, { { seconds = 0 / 0 } },
    } do
      local text = helper.misuse("bad arguments to 'Delay'", function()
        local stage = Delay(table.unpack(arguments))
        return stage
      end)
      assert.truthy(text:find("delay_spec.lua", 1, true), text)
    end
  end)

  it("P251 gives n as it is when the time is over, and not before", function()
    local engine = helper.open()
    for _, seconds in ipairs { 10, 0.5, 0, -3 } do
      local stage = common.Delay { seconds = seconds }
      stage:start()
      engine:drain()
      if seconds > 0 then
        assert.equal("run", helper.entry(stage).status)
        engine:advance(seconds - 0.01)
        engine:drain()
        assert.equal("run", helper.entry(stage).status)
        engine:advance(0.011)
      end
      local value = engine:wait(stage, { timeout = 1 }).default.value
      assert.equal(seconds, value)
      assert.equal(math.type(seconds), math.type(value))
    end
  end)

  it("M2 n may come from another pipeline", function()
    local Seconds = helper.define(function() return 30 end)
    local Root = helper.define(function(self)
      self:spawn(common.Delay { seconds = self:spawn(Seconds()) })
    end)
    local engine = helper.open()
    local stage = Root():start()
    local began = engine:now()
    assert.equal(30, engine:wait(stage).default.value)
    assert.is_true(engine:now() - began >= 30)
    assert.equal(30, Root():start_test().outputs.default.value)
  end)

  it("P251 what is no number fails the attempt", function()
    local Bad = helper.define(function() return "soon" end)
    local Root = helper.define(function(self)
      self:spawn(common.Delay { seconds = self:spawn(Bad()) }:with_params { max_attempts = 1 })
    end)
    helper.open()
    assert.truthy(helper.aborted(Root()).reason:find("Delay: seconds: finite number expected, got string", 1, true))
  end)

  it("P252 in test mode it is over at once", function()
    local stage = common.Delay { seconds = 1e6 }
    local before = os.time()
    assert.equal(1e6, stage:start_test().outputs.default.value)
    assert.is_true(os.time() - before < 30)
  end)

  it("P251 M2 a restart neither starts it again nor makes it longer", function()
    local path = helper.path()
    local first = helper.open { path = path }
    local stage = common.Delay { seconds = 100 }
    stage:start()
    local id = stage.id
    first:drain()
    first:close()
    for _, after in ipairs { 40, 99 } do
      local engine = helper.open { path = path, virtual_start = 1700000000.0 + after }
      engine:drain()
      assert.equal(1, engine:status().queues.default.delayed)
      assert.equal("run", engine:get_status_tree(id).pipelines[id].status)
      engine:close()
    end
    local last = helper.open { path = path, virtual_start = 1700000099.0 }
    assert.equal(100, last:wait(id).default.value)
    assert.near(1700000100, last:now(), 0.01)
  end)

  it("P251 its timer becomes real with the end of its run: an attempt that fails leaves none", function()
    local engine = helper.open()
    local Twice = helper.define {
      extends = common.Delay, backoff_seconds = 7,
      run = function(self, given)
        common.Delay.run(self, given)
        if self.current_attempt == 1 then error("after the timer") end
      end,
    }
    local stage = Twice { seconds = 10 }
    stage:start()
    local began = engine:now()
    engine:drain()
    assert.equal("retry", helper.entry(stage).status)
    assert.equal(10, engine:wait(stage).default.value)
    assert.near(17, engine:now() - began, 0.01)
    engine:drain { delayed = true }
    assert.near(17, engine:now() - began, 0.01)
  end)

  it("P251 an aborted tree does not wait for it", function()
    local engine = helper.open()
    local Root = helper.define(function(self) self:spawn(common.Delay { seconds = 1e6 }) end)
    local root = Root():start()
    engine:drain()
    assert.is_true(root:abort("enough"))
    engine:drain()
    assert.equal("enough", helper.raises(pipeline.AbortedError, engine.wait, engine, root, { timeout = 0 }).reason)
  end)

  it("P251 retry() begins it anew, and the timer of before does not count", function()
    local engine = helper.open()
    local stage = common.Delay({ seconds = 100 }):start()
    local began = engine:now()
    engine:drain()
    engine:advance(60)
    assert.is_true(stage:retry())
    assert.equal(100, engine:wait(stage).default.value)
    assert.near(175, engine:now() - began, 0.1) -- 60, 15 of back-off, 100
  end)
end)
