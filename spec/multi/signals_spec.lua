--- Signals: what they end, what becomes of the work, and that they are heard while a run keeps the process busy.

local pace = require "spec.support.pace"
local support = require "spec.multi.support"
local classes = require "spec.multi.classes"

describe("a signal", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  -- A process in a role, when its first run has begun.
  local function begun(role, ...)
    local pid = scene:spawn(role, nil, ...)
    scene:wait_line("begin", pid)
    return pid
  end

  local function record(stage) return scene.engine._core:stage_get(stage._id) end

  -- The run was given back, at no cost, and another worker executes it.
  local function is_given_back(stage)
    local claimed = scene.engine._core:counts_get()[1].claimed
    assert.equal(0, claimed)
    assert.equal(0, record(stage).attempt)
    assert.equal(0, #scene.engine._core:failures_get(stage._id))
  end

  it("SIGINT ends drain with an Interrupted, and what was running is given back unspent", function()
    local stage = classes.Hold(scene.hold, 60):with_params { max_attempts = 1 }:start()
    scene:set_hold(true)
    local pid = begun("drain")
    scene.group:signal(pid, "INT")
    assert.equal(0, scene.group:wait_for(pid, 10))
    assert.equal("Interrupted", scene:wait_line("raised", pid)[2])
    is_given_back(stage)
    scene:set_hold(false)
    local other = scene:spawn("work")
    assert.equal(other, scene.engine:wait(stage, { timeout = 10 }).default.value)
    scene.group:signal(other, "TERM")
    scene.group:wait_for(other, 10)
    assert.equal("", scene:printed())
  end)

  it("SIGINT ends wait, sleep and a wait for a tasklet with an Interrupted", function()
    for _, role in ipairs { "wait", "sleep", "await" } do
      local stage = classes.Hold(scene.hold, 60):with_params { max_attempts = 1 }:start()
      scene:set_hold(true)
      local pid = begun(role, stage.id)
      scene.group:signal(pid, "INT")
      assert.equal(0, scene.group:wait_for(pid, 10), role)
      assert.equal("Interrupted", scene:wait_line("raised", pid)[2], role)
      is_given_back(stage)
      stage:abort()
    end
  end)

  -- A build that looks for races keeps a signal back that was ignored when the process began, as in the background.
  local in_any_build = (os.getenv("PL_BUILD") or ""):find("tsan", 1, true) and pending or it

  in_any_build("SIGINT is heard in a run that never comes back: drain ends, and the run is given back", function()
    local stage = classes.Forever():with_params { max_attempts = 1 }:start()
    local pid = begun("drain")
    scene.group:signal(pid, "INT")
    assert.equal(0, scene.group:wait_for(pid, 10))
    assert.equal("Interrupted", scene:wait_line("raised", pid)[2])
    is_given_back(stage)
    assert.equal(1, #scene:read("closed_variable", pid))
  end)

  in_any_build("SIGINT is heard in coroutines and tasklets that a run has made and that never come back", function()
    for _, name in ipairs { "ForeverInCoroutine", "ForeverInCoroutines", "ForeverInTasklet", "ForeverInTasklets" } do
      local stage = classes[name]():with_params { max_attempts = 1 }:start()
      local pid = begun("drain")
      support.sleep(0.1)
      scene.group:signal(pid, "INT")
      assert.equal(0, scene.group:wait_for(pid, 10), name)
      assert.equal("Interrupted", scene:wait_line("raised", pid)[2])
      is_given_back(stage)
      assert.equal(1, #scene:read("closed_variable", pid), name)
      stage:abort()
    end
  end)

  it("a second one ends the process at once, whatever it does", function()
    classes.Stubborn():with_params { max_attempts = 1 }:start()
    local codes = { INT = 130, TERM = 143 }
    for _, signals in ipairs { { "TERM", "TERM" }, { "TERM", "INT" }, { "INT", "INT" } } do
      local pid = begun("work")
      scene.group:signal(pid, signals[1])
      support.sleep(0.2)
      assert.equal("R", scene.group:state(pid))
      scene.group:signal(pid, signals[2])
      assert.equal(codes[signals[2]], scene.group:wait_for(pid, 5))
    end
  end)

  it("SIGTERM lets run() finish what runs, within stop_grace", function()
    local short = classes.Slow(0.5):with_params { max_attempts = 1 }:start()
    local pid = begun("work_with_grace", 5)
    scene.group:signal(pid, "TERM")
    assert.equal(0, scene.group:wait_for(pid, 4))
    scene:wait_line("returned", pid)
    assert.equal("slow", scene.engine:wait(short, { timeout = 1 * pace }).default.value)
  end)

  it("what has not ended within stop_grace is cancelled and given back, whether it waits or computes", function()
    for _, stage in ipairs { classes.Slow(60), classes.Forever(), classes.ForeverInCoroutine(),
      classes.ForeverInTasklet() } do
      stage:with_params { max_attempts = 1 }:start()
      local pid = begun("work_with_grace", 0.5)
      local sent = support.now()
      scene.group:signal(pid, "TERM")
      assert.equal(0, scene.group:wait_for(pid, 10))
      local took = support.now() - sent
      assert.is_true(took >= 0.45 and took < 5 * pace, took)
      scene:wait_line("returned", pid)
      is_given_back(stage)
      local told = table.concat(scene:logged(30, pid), "\n")
      assert.truthy(told:find("stop_grace is over: 1 task was given back", 1, true), told)
      stage:abort()
    end
  end)

  it("is heard by a handler of the program, too, while run() listens and afterwards", function()
    local pid = scene:spawn("signals_luv")
    scene:wait_line("listening", pid)
    support.sleep(0.1)
    scene.group:signal(pid, "INT")
    scene:wait_line("returned", pid)
    scene.group:signal(pid, "INT")
    assert.equal(0, scene.group:wait_for(pid, 10))
    assert.equal(2, #scene:read("heard", pid))
    assert.equal("", scene:printed())
  end)
end)

describe("a run that never comes back", function()
  local scene
  local TIMEOUT <const> = 0.3 * pace -- it has to get as far as its loop before
  local LONGER <const> = ("longer than %g s"):format(TIMEOUT)

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  local function ends_late(class, ...)
    local stage = class(...):with_params { max_attempts = 1, timeout = TIMEOUT }:start()
    local pid = scene:spawn("work")
    local ok, problem = pcall(scene.engine.wait, scene.engine, stage, { timeout = 15 * pace })
    scene.group:signal(pid, "TERM")
    scene.group:wait_for(pid, 10)
    assert.is_false(ok)
    local failures = scene.engine._core:failures_get(stage._id)
    assert.equal(1, #failures, tostring(problem))
    assert.equal("TimeoutError", failures[1].error_class)
    return failures[1], pid
  end

  it("ends when its timeout is over, and the error says where it was", function()
    local failure, pid = ends_late(classes.Forever)
    assert.truthy(failure.message:find(LONGER .. " %(it was at .*classes.lua:%d+%)"), failure.message)
    assert.equal(1, #scene:read("closed_variable", pid))
  end)

  it("ends though it catches errors", function()
    ends_late(classes.Stubborn)
  end)

  for _, name in ipairs { "ForeverInCoroutine", "ForeverInCoroutines" } do
    it("ends when its timeout is over, and the error says where it was: " .. name, function()
      local failure, pid = ends_late(classes[name])
      assert.truthy(failure.message:find(LONGER .. " %(it was at .*classes.lua:%d+%)"), failure.message)
      assert.equal(1, #scene:read("closed_variable", pid))
    end)
  end

  for _, name in ipairs { "ForeverInTasklet", "ForeverInTasklets" } do
    it("ends when its timeout is over, and the error says where it waits: " .. name, function()
      local failure, pid = ends_late(classes[name])
      assert.truthy(failure.message:find("the attempt took " .. LONGER, 1, true), failure.message)
      assert.truthy(failure.traceback:find("classes.lua:%d+"), failure.traceback)
      assert.equal(1, #scene:read("closed_variable", pid))
    end)
  end

  for _, name in ipairs { "StubbornInCoroutine", "StubbornInTasklet" } do
    it("ends though it catches errors: " .. name, function() ends_late(classes[name]) end)
  end

  it("does not keep others waiting afterwards, and its thread is as good as new", function()
    classes.Forever():with_params { max_attempts = 1, timeout = 0.2 }:start()
    local others = {}
    for i = 1, 20 do others[i] = classes.Hooked():with_params { timeout = 30 }:start() end
    local pid = scene:spawn("work")
    for _, other in ipairs(others) do
      assert.equal("no hook", scene.engine:wait(other, { timeout = 10 * pace }).default.value)
    end
    scene.group:signal(pid, "TERM")
    assert.equal(0, scene.group:wait_for(pid, 10))
  end)

  it("keeps a debug hook of its own: then only its waits notice", function()
    local stage = classes.Debugged():with_params { max_attempts = 1, timeout = 0.2 }:start()
    local pid = scene:spawn("work")
    local ok = pcall(scene.engine.wait, scene.engine, stage, { timeout = 10 })
    assert.is_false(ok)
    assert.equal("TimeoutError", scene.engine._core:failures_get(stage._id)[1].error_class)
    local lines = tonumber(scene:wait_line("hooked", pid)[2])
    assert.is_true(lines > 1000, lines)
    scene.group:signal(pid, "TERM")
    assert.equal(0, scene.group:wait_for(pid, 10))
  end)
end)
