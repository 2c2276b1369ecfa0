-- What one process does is noticed by the others at once, and costs them nothing while nothing happens.

local pipeline = require "pipeline"
local support = require "spec.multi.support"
local classes = require "spec.multi.classes"

-- How often the threads of a process went to sleep by themselves: at least once per wake-up.
local function sleeps_of(pid)
  local sum = 0
  local pipe <close> = assert(io.popen(("cat /proc/%d/task/*/status"):format(pid)))
  for line in pipe:lines() do sum = sum + (tonumber(line:match("^voluntary_ctxt_switches:%s*(%d+)")) or 0) end
  return sum
end

-- ThreadSanitizer's runtime has a thread that wakes up by itself.
local has_own_thread = (os.getenv("PL_BUILD") or ""):find("tsan", 1, true)

describe("between processes", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  it("a new task is noticed within 50 ms", function()
    local pid = scene:spawn("work")
    local times = {}
    for i = 1, 25 do
      support.sleep(0.02)
      local stage = classes.Where():start()
      local started = scene.engine:now()
      local value = scene.engine:wait(stage, { timeout = 5 }).default.value
      assert.equal(pid, value.pid)
      times[i] = value.time - started
    end
    local median = support.median(times)
    assert(median < 0.050, ("median %.1f ms"):format(1000 * median))
  end)

  it("a task that falls due is noticed in another process, too", function()
    scene:spawn("work")
    local late = {}
    for i = 1, 5 do
      local stage = classes.Where():start { countdown = 0.15 }
      local due = scene.engine:now() + 0.15
      late[i] = scene.engine:wait(stage, { timeout = 5 }).default.value.time - due
    end
    assert(support.median(late) < 0.1, ("median %.1f ms late"):format(1000 * support.median(late)))
  end)

  it("wait() in one process ends when another has finished the pipeline", function()
    local pid = scene:spawn("work")
    local times = {}
    for i = 1, 15 do
      local outputs = scene.engine:wait(classes.Where():start(), { timeout = 5 })
      times[i] = scene.engine:now() - outputs.default.value.time
      assert.equal(pid, outputs.default.value.pid)
    end
    assert(support.median(times) < 0.1, ("median %.1f ms"):format(1000 * support.median(times)))
  end)

  it("wait() is told of an abort in another process", function()
    scene:set_hold(true)
    local pid = scene:spawn("work")
    local stage = classes.Hold(scene.hold, 0.3):start()
    scene:wait_line("begin", pid)
    assert.is_true(stage:abort("enough"))
    local ok, problem = pcall(scene.engine.wait, scene.engine, stage, { timeout = 5 })
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.AbortedError), tostring(problem))
    assert.equal("enough", problem.reason)
  end)

  it("a worker is told of tasks by a process that was there before it and does not run its loop", function()
    local pid = scene:spawn("work")
    support.sleep(0.1)
    local stage = classes.Where():start()
    assert(support.eventually(1, function() return scene:begun(stage.id) == 1 end), "not noticed")
    assert.equal(1, #scene:read("begin", pid))
  end)

  it("a process at rest wakes up less than once a second, and writes nothing", function()
    scene.engine:close() -- alone on the file
    local pid = scene:spawn("rest", nil, 4)
    scene:wait_line("resting", pid)
    local before = sleeps_of(pid)
    support.sleep(3.5)
    local sleeps = sleeps_of(pid) - before
    local line = scene:wait_line("rested", pid)
    assert(tonumber(line[2]) < 4, line[2] .. " wake-ups in 4 s")
    assert.equal("0", line[3]) -- no commit
    assert(sleeps < 4 or has_own_thread, sleeps .. " times asleep in 3.5 s")
  end)

  it("processes at rest on one file wake up less than once a second each", function()
    local other = scene:spawn("work") -- does not leave meanwhile, which would be heard
    local pid = scene:spawn("rest", nil, 7)
    scene:wait_line("resting", pid)
    local before = sleeps_of(other)
    support.sleep(6)
    local sleeps = sleeps_of(other) - before
    local line = scene:wait_line("rested", pid)
    assert.equal("2", line[4]) -- it knows of the others
    assert(tonumber(line[2]) < 7, line[2] .. " wake-ups in 7 s")
    assert(sleeps < 12 or has_own_thread, sleeps .. " times asleep in 6 s") -- two threads, and their locks
    assert.equal("", scene:printed())
  end)

  it("a task that falls due just when the loop goes to sleep is not forgotten", function()
    scene.engine:close()
    classes.log = assert(io.open(scene.log, "a"))
    local engine <close> = pipeline.open(scene.path, { durability = "normal" })
    for i = 1, 300 do
      classes.Give(i):start { countdown = 0.0005 + i % 7 * 0.0002 }
      engine:drain { delayed = true, timeout = 5 }
    end
  end)
end)
