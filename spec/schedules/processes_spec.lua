-- Schedules of a file that several processes work on.

local classes = require "spec.multi.classes"
local pace = require "spec.support.pace"
local schedules = require "pipeline.schedules"
local support = require "spec.multi.support"

describe("a schedule of several processes", function()
  local scene
  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  local function lines_of(verb)
    return #scene:read(verb)
  end

  it("S27 fires each of its times once, also when they are killed", function()
    local pids = {}
    for i = 1, 4 do pids[i] = scene:spawn("work") end
    local s = schedules.create("tick", { every = 1, overlap = "allow_all", start = classes.Give(1) })
    assert(support.eventually(30, function() return lines_of("end") >= 3 end))
    for i = 1, 2 do
      scene.group:signal(pids[i], "KILL")
      scene.group:wait_for(pids[i], 10)
    end
    assert(support.eventually(30, function() return lines_of("end") >= 6 end))
    s:pause()
    assert(support.eventually(30, function() return s:status().running == 0 end))
    local seen, fires = {}, s:fires { count = 100 }
    for _, fire in ipairs(fires) do
      assert.is_nil(seen[fire.nominal_time])
      seen[fire.nominal_time] = true
      assert.equal("done", fire.state)
    end
    local status = s:status()
    assert.equal(#fires, status.fired + status.caught_up)
    assert.equal(#fires + status.missed, math.tointeger(status.last_nominal_time - fires[#fires].nominal_time) + 1)
  end)

  it("S33 wakes an idle process in time", function()
    local pid = scene:spawn("work")
    local due = math.ceil(scene.engine:now()) + 2
    schedules.create("one", { at = due, start = classes.Give(1) })
    scene:wait_line("begin", pid, 1)
    local status = schedules.get("one"):status()
    assert.is_true(status.last_fire_time - due < 0.25 * pace, ("%.3f s late"):format(status.last_fire_time - due))
  end)

  it("S44 starts the fire that was kept, also when the process that was to abort the one before is killed", function()
    local pid = scene:spawn("work")
    local s = schedules.create("heir", { every = "1d", overlap = "cancel_other", start = classes.Long(600) })
    s:trigger()
    scene:wait_line("begin", pid)
    scene.group:signal(pid, "STOP")
    assert.equal("buffered", (s:trigger { args = { 0 } }))
    scene.group:signal(pid, "KILL")
    scene.group:wait_for(pid, 10)
    scene:spawn("work")
    assert(support.eventually(30, function() return lines_of("end") == 1 end), "the one that was kept is kept")
    assert(support.eventually(30, function() return s:status().running == 0 end))
    local fires = s:fires()
    assert.same({ "done", "cancelled" }, { fires[1].state, fires[2].state })
  end)

  it("S61 is obeyed by all as soon as one of them has changed it", function()
    scene:spawn("work")
    local s = schedules.create("tick", { every = 1, start = classes.Give(1) })
    assert(support.eventually(30, function() return lines_of("end") >= 2 end))
    s:pause()
    assert(support.eventually(30, function() return s:status().running == 0 end))
    local fired = s:status().fired
    s:update { start = classes.Pair(2) }
    support.eventually(2.2, function() return s:status().fired > fired end)
    assert.equal(fired, s:status().fired)
    s:resume()
    assert(support.eventually(30, function() return lines_of("end") > 2 + fired end))
    s:delete()
    assert.is_nil(schedules.get("tick"))
  end)
end)
