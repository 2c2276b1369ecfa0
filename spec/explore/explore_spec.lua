-- Generated bodies of durable functions that are killed at every event: a selection of what `make explore` does.

local aborts = require "spec.explore.aborts"
local crowd = require "spec.explore.crowd"
local lives = require "spec.explore.lives"
local processes = require "spec.crash.processes"

describe("generated bodies", function()
  local directory, group

  setup(function()
    directory = processes.directory()
    group = processes.group(directory)
  end)
  teardown(function()
    group:close()
    os.execute(("rm -rf '%s'"):format(directory))
  end)

  for _, seed in ipairs { 3, 11, 13, 48 } do
    it(("W13 W14 W20 W54 W56 W81 W140 W164 are the same, dead at any event: body %d"):format(seed), function()
      assert.is_true(lives.explore(directory, seed, 1) > 5)
    end)
  end

  it("W14 W164 are the same when they are killed twice: body 5", function()
    assert.is_true(lives.explore(directory, 5, 2, 6) > 10)
  end)

  for _, seed in ipairs { 11, 15, 26 } do
    it(("W110 W112 W123 W124 W164 undo what they did, aborted and dead at any event: body %d"):format(seed), function()
      assert.is_true(aborts.explore(directory, seed, 6, 7) > 8)
    end)
  end

  it("W5 W14 W85 W164 are the same when three processes work on them, of which two die: body 11", function()
    math.randomseed(11)
    crowd.explore(group, directory, 11, 1, math.random)
  end)
end)
