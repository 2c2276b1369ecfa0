--- Tasks whose worker dies: one loss spends nothing; one that kills its worker each time fails in the end.

local pipeline = require "pipeline"
local support = require "spec.multi.support"
local taskqueue = require "pipeline.taskqueue"
local classes = require "spec.multi.classes"

describe("a worker that dies with its tasks", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  local function wait(stage)
    return scene.engine:wait(stage, { timeout = 0.001 })
  end

  -- Starts workers one after the other until `done()` is true; returns how many died.
  local function work_until(done, options)
    local died = 0
    local pid = scene:spawn("work", options)
    local ok = support.eventually(60, function()
      if scene.group:state(pid) == "Z" then
        scene.group:wait(pid)
        died = died + 1
        pid = scene:spawn("work", options)
      end
      return done()
    end)
    assert(ok, "it does not end; output: " .. scene:printed())
    scene.group:signal(pid, "TERM")
    scene.group:wait_for(pid, 10)
    return died
  end

  local function is_final(stage)
    return function()
      local state = scene.engine._core:stage_get(stage._id).state
      return state == "done" or state == "aborted"
    end
  end

  -- Each of the lines is in the log once; `...` stands for anything.
  local function assert_told(lines)
    local told = scene:logged(30)
    for _, line in ipairs(lines) do
      local pattern, found = line:gsub("%p", "%%%0"):gsub("%%%.%%%.%%%.", ".*"), 0
      for _, each in ipairs(told) do found = found + (each:find("^" .. pattern .. "$") and 1 or 0) end
      assert.equal(1, found, line .. "\nis not once in:\n" .. table.concat(told, "\n"))
    end
  end

  local function queue_of(name, limit)
    local retry = { task_retry_limit = limit, max_losses = 2, min_backoff_seconds = 0.01, max_backoff_seconds = 0.01 }
    scene.engine._core:queue_set({ { name = name, retry = retry } }, true)
    return taskqueue.Queue(name)
  end

  it("each time fails an attempt of a run after five losses, told with class, id and attempt n of m", function()
    local stage = classes.Kill():with_params { max_attempts = 2, backoff_seconds = 0.01 }:start()
    local died = work_until(is_final(stage))
    assert.equal(10, died)
    local ok, problem = pcall(wait, stage)
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.AbortedError))
    assert.equal("Aborting after 2 attempts. WorkerLostError: the workers that executed it died 5 times in a row",
      problem.reason)
    assert.equal(2, #problem.failures)
    assert.equal("WorkerLostError", problem.failures[1].error_class)
    assert.truthy(problem.failures[1].worker:find("#", 1, true))
    local told = table.concat(scene:logged(30), "\n")
    assert.truthy(told:find("the workers that executed it died 5 times in a row", 1, true), told)
    local line = "run of %s %s failed, attempt %d of 2: the workers that executed it died 5 times in a row; %s"
    for i, following in ipairs { "runs again in ", "its tree is aborted" } do
      assert.truthy(told:find(line:format("spec.multi.classes.Kill", stage.id, i, following), 1, true), told)
    end
  end)

  it("has its fallback taken when it has failed for good", function()
    local stage = classes.KillGuarded():start()
    assert.equal(2, work_until(is_final(stage)))
    assert.equal("instead", wait(stage).default.value)
    local told = table.concat(scene:logged(30), "\n")
    assert.truthy(told:find("; its fallback is taken", 1, true), told)
    assert.is_nil(told:find("its tree is aborted", 1, true))
  end)

  it("may do so as often as the class, the queue or the task says", function()
    local stage = classes.Kill():with_params { max_attempts = 1, max_losses = 2 }:start()
    assert.equal(2, work_until(is_final(stage)))
    scene.engine._core:queue_set({ { name = "frail", retry = { max_losses = 3 } } }, true)
    stage = classes.Kill():with_params { max_attempts = 1, queue_name = "frail" }:start()
    assert.equal(3, work_until(is_final(stage)))
    assert.equal(3, scene.engine._core:queue_get("frail")[1].retry.max_losses)
    stage = classes.Kill():with_params { max_attempts = 1, max_losses = 1, queue_name = "frail" }:start()
    assert.equal(1, work_until(is_final(stage)))
    local _, problem = pcall(wait, stage)
    assert.truthy(problem.reason:find("the worker that executed it died", 1, true), problem.reason)
  end)

  it("each time sends a deferred call to the dead letters when it has no retries left", function()
    require("pipeline.deferred").with {
      retry_options = taskqueue.TaskRetryOptions { task_retry_limit = 1, min_backoff_seconds = 0.01, max_losses = 2 },
    }("spec.multi.kill")
    local queue = taskqueue.Queue()
    local died = work_until(function() return #queue:dead_tasks() == 1 end)
    assert.equal(4, died)
    assert.equal("WorkerLostError", queue:dead_tasks()[1].error_class)
    local lost = "deferred task ... of queue default failed, try %d: the workers that executed it died 2 times in a row"
    assert_told { lost:format(1) .. "; runs again in ... s", lost:format(2) .. "; it has no retries left" }
  end)

  it("each time sends a push task to the dead letters, told with its queue and the number of the try", function()
    local queue = queue_of("pushed", 1)
    queue:add(taskqueue.Task { url = "/kill" })
    assert.equal(4, work_until(function() return #queue:dead_tasks() == 1 end))
    local lost = "push task ... of queue pushed failed, try %d: the workers that executed it died 2 times in a row"
    assert_told { lost:format(1) .. "; runs again in ... s", lost:format(2) .. "; it has no retries left" }
  end)

  it("O1 is told of to the hooks of the worker that finds it, with whether it is tried again, and when", function()
    scene.engine:close() -- it would find it, too
    local function kill_run(attempts)
      local stage = classes.Kill():with_params { max_attempts = attempts, max_losses = 1, backoff_seconds = 1000 }
      return stage:start().id
    end
    local function kill_call(limit)
      require("pipeline.deferred").with { retry_options = taskqueue.TaskRetryOptions {
        task_retry_limit = limit, max_losses = 1, min_backoff_seconds = 1000,
      } }("spec.multi.kill")
    end
    local cases = {
      { kill_run, 2, "stage_failed", true }, { kill_run, 1, "stage_failed", false },
      { kill_call, 1, "task_failed", true }, { kill_call, 0, "task_failed", false },
    }
    for _, case in ipairs(cases) do
      local start, limit, event, is_tried_again = table.unpack(case)
      local heard, count = {}, 0
      local finder <close> = pipeline.open(scene.path, { log = function() end })
      for _, name in ipairs { "stage_failed", "task_failed", "task_dead" } do
        finder:on(name, function(told) heard[name], count = told, count + 1 end)
      end
      local starter = pipeline.open(scene.path, { no_worker = true })
      local id = starter:transaction(function() return start(limit) end)
      starter:close()
      local pid = scene:spawn("work")
      assert(support.eventually(20, function() return scene.group:state(pid) == "Z" end))
      scene.group:wait(pid)
      assert(support.eventually(20, function()
        finder:sleep(0.02)
        return heard[event]
      end), event)
      local told = heard[event]
      assert.same({ "WorkerLostError", 1, is_tried_again }, { told.error_class, told.attempt, told.will_retry })
      assert.equal(is_tried_again, told.at ~= nil)
      assert.equal(id, told.id)
      assert.equal(event == "task_failed" and not is_tried_again, heard.task_dead ~= nil)
      assert.equal(heard.task_dead and 2 or 1, count)
    end
  end)

  it("each time in a callback is told with its queue and the number of the try", function()
    queue_of("called", 1)
    local stage = classes.KillCallback():with_params { queue_name = "called" }:start()
    local pid = scene:spawn("work")
    assert(support.eventually(20, function() return scene.engine._core:stage_get(stage._id).state == "run" end))
    scene.group:signal(pid, "TERM")
    scene.group:wait_for(pid, 10)
    stage:get_callback_task():add()
    work_until(function() return #scene:logged(30) > 0 end)
    assert_told { "callback task ... of queue called failed, try 1: the workers that executed it died 2 times in a " ..
      "row; runs again in ... s" }
  end)

  it("each time while it aborts a pipeline leaves that aborted in the end", function()
    local stage = classes.KillAborted():with_params { max_attempts = 2, max_losses = 2, backoff_seconds = 0.01 }:start()
    local pid = scene:spawn("work")
    assert(support.eventually(20, function() return scene.engine._core:stage_get(stage._id).state == "run" end))
    scene.group:signal(pid, "TERM")
    scene.group:wait_for(pid, 10)
    assert.is_true(stage:abort("enough"))
    assert.equal(4, work_until(is_final(stage)))
    assert.equal("aborted", scene.engine._core:stage_get(stage._id).state)
    local lost = ("abort of spec.multi.classes.KillAborted %s failed, attempt %%d of 2: "):format(stage.id) ..
      "the workers that executed it died 2 times in a row"
    assert_told { lost:format(1) .. "; runs again in ... s", lost:format(2) .. "; it is final without it" }
  end)

  it("in finalized() each time leaves the pipeline final in the end", function()
    local stage = classes.KillLast():with_params { max_attempts = 2, max_losses = 2, backoff_seconds = 0.01 }:start()
    assert.equal(4, work_until(is_final(stage)))
    assert.equal("done", scene.engine._core:stage_get(stage._id).state)
    assert.equal(2, #scene.engine._core:failures_get(stage._id))
    local lost = ("finalized of spec.multi.classes.KillLast %s failed, attempt %%d of 2: "):format(stage.id) ..
      "the workers that executed it died 2 times in a row"
    assert_told { lost:format(1) .. "; runs again in ... s", lost:format(2) .. "; it is final without it" }
  end)

  it("spends nothing of the tasks that were claimed with the one at fault", function()
    local others = {}
    for i = 1, 30 do others[i] = classes.Slow(0.05):with_params { max_attempts = 1 }:start() end
    local kill = classes.Kill():with_params { max_attempts = 1 }:start()
    for i = 31, 60 do others[i] = classes.Slow(0.05):with_params { max_attempts = 1 }:start() end
    local died = work_until(function()
      for _, other in ipairs(others) do
        if scene.engine._core:stage_get(other._id).state ~= "done" then return false end
      end
      return is_final(kill)()
    end, { concurrency = 100 })
    assert.equal(5, died)
    for _, other in ipairs(others) do
      assert.equal(0, #scene.engine._core:failures_get(other._id))
      assert.equal("slow", scene.engine:wait(other, { timeout = 0.001 }).default.value)
    end
  end)

  it("once is not counted after an outcome", function()
    -- dies at its first run of each attempt, and fails at the second one
    local stage = classes.DieThenFail(scene.path .. ".died"):with_params {
      max_attempts = 4, max_losses = 2, backoff_seconds = 0.01,
    }:start()
    assert.equal(4, work_until(is_final(stage)))
    for _, failure in ipairs(scene.engine._core:failures_get(stage._id)) do
      assert.equal("Error", failure.error_class)
    end
  end)
end)
