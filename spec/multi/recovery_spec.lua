-- Processes that die, stop, or are asked to leave: what becomes of their tasks.

local support = require "spec.multi.support"
local check = require "spec.crash.check"
local classes = require "spec.multi.classes"

describe("several processes", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  -- A pipeline that process `pid` is executing and would go on executing for long.
  local function started_in(pid)
    scene:set_hold(true)
    local stage = classes.Hold(scene.hold, 60):start()
    assert(support.eventually(10, function()
      local count, lines = scene:begun(stage.id)
      return count == 1 and lines[1].pid == pid
    end), "it did not begin where expected")
    scene:wait_line("held", pid) -- else it may find that it is not to be held
    scene:set_hold(false)
    return stage
  end

  it("a live process runs the tasks of one that was killed within 2 s", function()
    local times = {}
    for _ = 1, 3 do
      local victim = scene:spawn("work")
      local stage = started_in(victim)
      local other = scene:spawn("work")
      local killed = support.now()
      scene.group:kill(victim)
      assert.equal(other, scene.engine:wait(stage, { timeout = 10 }).default.value)
      local count, lines = scene:begun(stage.id)
      assert.equal(2, count)
      times[#times + 1] = tonumber(lines[2][4]) - killed
      assert.equal("1", lines[2][3]) -- no attempt was spent
      scene.group:kill(other)
    end
    table.sort(times)
    assert(times[#times] < 2, ("took up to %.3f s"):format(times[#times]))
    assert.equal("", scene:printed())
  end)

  it("a restarted process takes up at once what it was killed at", function()
    for _ = 1, 3 do
      local victim = scene:spawn("work")
      local stage = started_in(victim)
      scene.group:kill(victim)
      local restarted = scene:spawn("work")
      assert.equal(restarted, scene.engine:wait(stage, { timeout = 10 }).default.value)
      local _, lines = scene:begun(stage.id)
      local ready = tonumber(scene:read("ready", restarted)[1][2])
      local took = tonumber(lines[2][4]) - ready
      assert(took < 0.5, ("took %.3f s"):format(took))
      scene.group:kill(restarted)
    end
  end)

  it("P95 a stopped process loses its tasks when its lease ends, and its late outcome is refused", function()
    local stopped = scene:spawn("work", { lease_seconds = 1 })
    scene:set_hold(true)
    local stage = classes.Hold(scene.hold, 0.5):start()
    scene:wait_line("begin", stopped)
    scene.group:signal(stopped, "STOP")
    scene:set_hold(false)
    local other = scene:spawn("work", { lease_seconds = 1 })
    assert.equal(other, scene.engine:wait(stage, { timeout = 20 }).default.value)
    scene.group:signal(stopped, "CONT")
    scene:wait_line("end", stopped)
    assert(support.eventually(5, function()
      for _, text in ipairs(scene:logged(30, stopped)) do
        if text:find("refused", 1, true) and text:find("ESTALE", 1, true) then return true end
      end
    end), "the late outcome was not logged: " .. table.concat(scene:logged(0, stopped), "; "))
    assert.equal(other, require("pipeline").from_id(stage.id).outputs.default.value)
    assert.equal(2, (scene:begun(stage.id)))
    -- It goes on as a new incarnation.
    scene.group:kill(other)
    local next_stage = classes.Where():start()
    assert.equal(stopped, scene.engine:wait(next_stage, { timeout = 10 }).default.value.pid)
    assert.equal("", scene:printed())
  end)

  it("a process whose Lua code blocks longer than its lease keeps its tasks", function()
    local blocked = scene:spawn("work", { lease_seconds = 1 })
    local stage = classes.Busy(4):start()
    scene:wait_line("begin", blocked)
    local other = scene:spawn("work", { lease_seconds = 1 })
    support.sleep(2.5)
    local busy = classes.Where():start() -- the other one is alive, and looks about
    assert.equal(other, scene.engine:wait(busy, { timeout = 10 }).default.value.pid)
    assert.equal(blocked, scene.engine:wait(stage, { timeout = 20 }).default.value)
    assert.equal(1, (scene:begun(stage.id)))
  end)

  it("P95 processes that cannot renew their leases, because somebody locks the file, keep their tasks", function()
    local holders = {}
    scene:set_hold(true)
    for i = 1, 3 do holders[i] = scene:spawn("work", { lease_seconds = 1, concurrency = 1 }) end
    for _ = 1, 3 do classes.Hold(scene.hold, 60):start() end
    assert(support.eventually(10, function() return #scene:read("begin") == 3 end))
    for _ = 1, 3 do
      local passer_by = scene:spawn("start_target") -- whose death makes all of them look about
      scene:wait_line("port", passer_by)
      local lock <close> = assert(io.popen(("sqlite3 -batch '%s' >/dev/null 2>&1"):format(scene.path), "w"))
      lock:setvbuf("no")
      lock:write(".timeout 5000\nBEGIN IMMEDIATE;\n")
      support.sleep(2)
      scene.group:kill(passer_by)
      support.sleep(0.1)
      lock:write("COMMIT;\n")
      lock:close()
      support.sleep(0.5)
    end
    assert.equal(3, #scene:read("begin"))
    for _, pid in ipairs(holders) do
      for _, text in ipairs(scene:logged(20, pid)) do
        assert.is_nil(text:find("given up", 1, true) or text:find("[1-9]%d* task%(s%) returned"), text)
      end
    end
    scene:set_hold(false)
  end)

  it("SIGTERM: what runs is finished, the rest goes back to the queue", function()
    local leaving = scene:spawn("work", { concurrency = 1 })
    scene:set_hold(true)
    local stages = {}
    for i = 1, 6 do stages[i] = classes.Hold(scene.hold, 0.4):start() end
    scene:wait_line("begin", leaving)
    scene.group:signal(leaving, "TERM")
    assert.equal(0, scene.group:wait_for(leaving, 5))
    assert.equal(1, #scene:read("closed", leaving))
    assert.equal(#scene:read("end", leaving), #scene:read("begin", leaving))
    assert.same({}, check.sql(scene.path, "SELECT id FROM pl_task WHERE state = 2;"))
    assert.same({ "1" }, check.sql(scene.path, "SELECT count(*) FROM pl_worker;")) -- the one of this process
    scene:set_hold(false)
    local other = scene:spawn("work")
    for _, stage in ipairs(stages) do scene.engine:wait(stage, { timeout = 10 }) end
    assert.equal(6, #scene:read("begin"))
    for _, words in ipairs(scene:read("begin", other)) do assert.equal("1", words[3]) end
    assert.same({}, check.sql(scene.path, "SELECT id FROM pl_failure;"))
  end)

  it("SIGTERM twice: the process ends at once; what ran runs again elsewhere, without spending an attempt", function()
    local leaving = scene:spawn("work")
    local stage = started_in(leaving)
    scene.group:signal(leaving, "TERM")
    support.sleep(0.05)
    assert.equal("S", scene.group:state(leaving)) -- it waits for the run
    scene.group:signal(leaving, "TERM")
    assert.equal(128 + 15, scene.group:wait_for(leaving, 5))
    local other = scene:spawn("work")
    assert.equal(other, scene.engine:wait(stage, { timeout = 10 }).default.value)
    local _, lines = scene:begun(stage.id)
    assert.equal("1", lines[2][3])
    assert.equal("", scene:printed())
  end)
end)
