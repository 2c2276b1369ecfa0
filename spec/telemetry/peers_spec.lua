-- peers_spec.lua - workers that come and go are told of, and who only looks on hears of what it did itself.

local pace = require "spec.support.pace"
local support = require "spec.multi.support"
local classes = require "spec.multi.classes"

describe("hooks between processes", function()
  local scene, heard

  before_each(function()
    scene, heard = support.scene(), {}
    for _, name in ipairs { "worker_joined", "worker_lost", "stage_started", "root_done", "stage_failed" } do
      scene.engine:on(name, function(event) heard[#heard + 1] = event end)
    end
  end)
  after_each(function() scene:close() end)

  -- Runs the engine until something is so.
  local function run_until(condition)
    local deadline = support.now() + 20 * pace
    repeat
      scene.engine:sleep(0.02)
      local found = condition()
      if found then return found end
    until support.now() > deadline
    error("it did not come")
  end

  local function of(name)
    return function()
      for _, event in ipairs(heard) do
        if event.event == name then return event end
      end
    end
  end

  it("O1 another worker that comes is told of, and one that is killed, with number and process", function()
    scene.engine:sleep(0.02) -- whoever is there now was there before
    local pid = scene:spawn("work")
    local joined = run_until(of("worker_joined"))
    assert.equal(pid, joined.pid)
    assert.equal("integer", math.type(joined.number))
    scene.group:kill(pid)
    local lost = run_until(of("worker_lost"))
    assert.equal(pid, lost.pid)
    assert.equal(joined.number, lost.number)
  end)

  it("O1 what another process executes is told of there, and the end is not told of twice", function()
    scene:spawn("work")
    local stage = classes.Where():start()
    scene.engine:wait(stage, { timeout = 20 * pace })
    scene.engine:sleep(0.1)
    assert.is_nil(of("stage_started")())
    assert.is_nil(of("root_done")())
  end)
end)
