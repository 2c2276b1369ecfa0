-- Virtual time: it passes only when there is nothing to do, and never over what is due.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

describe("virtual time", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("does not pass while something is due that the store was not asked for yet", function()
    local engine = helper.open()
    local Later = helper.define(function() return pipeline.default():now() end)
    for i = 1, 100 do -- depends on what the thread of the store has done when the clock is moved
      local stage = Later():start { countdown = 10 }
      local began = engine:now()
      engine:drain()
      engine:advance(10.001)
      local value = engine:wait(stage, { timeout = 1 }).default.value
      assert.is_true(value - began < 10.01, ("round %d: after %g s"):format(i, value - began))
    end
  end)

  it("passes for what is executed when there is no room for what is due", function()
    local engine = helper.open { concurrency = 1, waiting_memory = 1 } -- who waits keeps its place
    local Sleeps = helper.define(function(_, seconds)
      pipeline.default():sleep(seconds)
      return pipeline.default():now()
    end)
    local began = engine:now()
    local long, short = Sleeps(100):start(), Sleeps(1):start { countdown = 10 }
    engine:drain { delayed = true, timeout = 1000 }
    assert.near(100, engine:wait(long).default.value - began, 0.01)
    assert.near(101, engine:wait(short).default.value - began, 0.01)
  end)
end)
