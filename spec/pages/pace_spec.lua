-- pace_spec.lua - how often the pages have their answers made anew, by what these cost and how hard the process works.

local pace = require "pipeline.pages.pace"

describe("the pace of the pages", function()
  local core, its

  -- An engine of which only clock and counts are looked at.
  before_each(function()
    core = { time = 1000.0, ops = 0, reading_us = 0 }
    function core:steady() return self.time end
    function core:facts() return { ops = self.ops, reading_us = self.reading_us } end
    its = pace.new(core)
  end)

  local function ask(key, seconds)
    return its:measure(key, function()
      core.reading_us = core.reading_us + math.floor(seconds * 1e6)
      return "answer"
    end)
  end

  -- `ops`: of the store in these seconds.
  local function pass(seconds, ops)
    core.time, core.ops = core.time + seconds, core.ops + ops
  end

  it("U7 is a second while answers cost little, and while nothing else is done", function()
    assert.equal("answer", ask("home", 0.1))
    pass(10, 0)
    assert.equal(1, its:period())
  end)

  it("U7 slows down under load, so that all answers together take a hundredth of the time", function()
    ask("home", 0.02)
    ask("list", 0.03)
    pass(1, 100000)
    assert.is_true(math.abs(its:period() - 5) < 0.1, its:period())
    ask("list", 0.01)
    pass(1, 100000)
    assert.is_true(math.abs(its:period() - 3) < 0.1, its:period())
    ask("list", 10)
    pass(1, 100000)
    assert.equal(20, its:period())
  end)

  it("U7 counts only what is still asked for, and is quick again after the load", function()
    ask("home", 0.02)
    ask("list", 0.03)
    for _ = 1, 40 do
      pass(1, 100000)
      its:period("home")
    end
    assert.is_true(math.abs(its:period() - 2) < 0.1, its:period())
    pass(10, 0)
    assert.equal(1, its:period())
  end)
end)
