-- A program that forks: its child has nothing of the engine, neither its use nor its locks.

local support = require "spec.multi.support"
local classes = require "spec.multi.classes"
local processes = require "spec.crash.processes"

-- A build that looks for races does not follow a child of a process with threads.
local in_any_build = (os.getenv("PL_BUILD") or ""):find("tsan", 1, true) and pending or it

describe("a process that has forked", function()
  local scene, child

  before_each(function()
    scene = support.scene()
    local command = "cc -O1 -shared -fPIC -I/usr/include/lua5.4 -o %s/forking.so spec/multi/forking.c"
    assert(os.execute(command:format(processes.quote(scene.directory))))
  end)

  after_each(function()
    if child then os.execute("kill -KILL " .. child) end
    child = nil
    scene:close()
  end)

  -- A process that executes a pipeline, for longer than the spec lasts, and has a child that does nothing.
  local function forked()
    scene:set_hold(true)
    local stage = classes.Hold(scene.hold, 60):with_params { max_attempts = 1 }:start()
    local pid = scene:spawn("work_forked", nil, scene.directory)
    child = math.tointeger(tonumber(scene:wait_line("forked", pid)[2]))
    scene:wait_line("begin", pid)
    return stage, pid
  end

  in_any_build("when it is killed another one takes over within 2 s, though the child lives on", function()
    local stage, victim = forked()
    local other = scene:spawn("work")
    scene:set_hold(false)
    local killed = support.now()
    scene.group:kill(victim)
    assert.equal(other, scene.engine:wait(stage, { timeout = 12 }).default.value)
    assert.is_true(support.now() - killed < 2, support.now() - killed)
    assert.is_true(os.execute(("kill -0 %d"):format(child)))
  end)

  in_any_build("keeps its locks while its child comes and goes", function()
    local stage, pid = forked()
    os.execute("kill -KILL " .. child)
    child = nil
    local other = scene:spawn("work", { lease_seconds = 1 })
    support.sleep(1.5)
    local count, lines = scene:begun(stage.id)
    assert.equal(1, count)
    assert.equal(pid, lines[1].pid)
    scene.group:kill(other)
  end)

  in_any_build("the child cannot use the engine, and is told whose it is", function()
    local _, pid = forked()
    local told = scene:wait_line("refused", pid)[2]
    local expected = ("this engine was opened by process %d, before a fork; open another one here"):format(pid)
    assert.truthy(told:find(expected, 1, true), told)
    assert.equal("", scene:printed())
  end)
end)
