-- Callback tasks, and what is not possible without async (P153–P157).

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local START = 1700000000.0

describe("a callback task", function()
  local engine, calls

  local Async = helper.define {
    async = true,
    run = function() end,
    callback = function(self, params)
      calls[#calls + 1] = { at = engine._core:now() - START, params = params }
      self:complete(params.value)
    end,
  }
  local Sync = helper.define(function() return 1 end)

  before_each(function()
    engine = helper.open()
    calls = {}
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("P153 keeps params, name and eta, is POST whatever method is given, and runs only when added", function()
    local stage = Async():start()
    local task = stage:get_callback_task { params = { value = "v" }, name = "once", countdown = 30, method = "GET" }
    assert.equal("POST", task.method)
    assert.equal("/_ah/pipeline/callback", task.url)
    assert.equal("once", task.name)
    assert.equal(START + 30, task.eta)
    assert.is_false(task.was_enqueued)
    engine:drain { delayed = true }
    assert.same({}, calls)
    task:add()
    assert.is_true(task.was_enqueued)
    engine:drain { delayed = true }
    assert.same({ { at = 30.0, params = { value = "v" } } }, calls) -- pipeline_id is not among the parameters (P163)
    assert.equal("v", engine:wait(stage).default.value)
  end)

  it("P153 eta is kept as given, and pipeline_id travels with the task", function()
    local stage = Async():start()
    local task = stage:get_callback_task { eta = START + 99.5 }
    assert.equal(START + 99.5, task.eta)
    assert.equal(stage.id, task.params.pipeline_id)
    task:add(stage.queue_name)
    engine:drain { delayed = true }
    assert.equal(99.5, calls[1].at)
  end)

  it("P153 a name works once: again it is refused, while the task lives and after it ran", function()
    local stage = Async():start()
    stage:get_callback_task({ name = "delay", countdown = 5 }):add()
    helper.raises(taskqueue.TaskAlreadyExistsError, function()
      stage:get_callback_task({ name = "delay", countdown = 5 }):add()
    end)
    engine:drain { delayed = true }
    helper.raises(taskqueue.TombstonedTaskError, function()
      stage:get_callback_task({ name = "delay", countdown = 5 }):add()
    end)
    assert.equal(1, #calls)
  end)

  it("P153 is a task as all others: of a queue, in a list, with parameters, headers and retry options", function()
    local stage = Async():start()
    local task = stage:get_callback_task { params = { value = "v", other = true }, headers = { ["x-a"] = "b" } }
    assert.same({ value = "v", other = "true", pipeline_id = stage.id }, task:extract_params())
    assert.equal("b", task.headers["X-A"])
    assert.is_true(task.size > 10)
    local other = Async():start()
    local list = { task, other:get_callback_task { params = { value = 2 } }, taskqueue.Task { url = "/plain" } }
    assert.equal(list, taskqueue.Queue("default"):add(list))
    for _, each in ipairs(list) do assert.is_true(each.was_enqueued) end
    assert.matches("^task%-%x+$", task.name)
    engine:drain { delayed = false }
    assert.equal("v", engine:wait(stage).default.value)
    assert.equal("2", engine:wait(other).default.value)
    helper.raises(taskqueue.BadTaskStateError, task.add, task)
  end)

  it("P153 can be deleted before it runs", function()
    local stage = Async():start()
    local task = stage:get_callback_task({ countdown = 5, params = { value = "v" } }):add()
    taskqueue.Queue("default"):delete_tasks(task)
    assert.is_true(task.was_deleted)
    engine:drain { delayed = true }
    assert.same({}, calls)
  end)

  it("P153 with retry options of its own is tried as often, and as late, as they say", function()
    local Fails = helper.define {
      async = true, run = function() end,
      callback = function()
        calls[#calls + 1] = engine._core:now() - START
        error("no")
      end,
    }
    local stage = Fails():start()
    local retry = { task_retry_limit = 3, min_backoff_seconds = 10, max_doublings = 1 }
    stage:get_callback_task({ retry_options = retry }):add()
    engine:drain { delayed = true }
    assert.same({ 0.0, 10.0, 30.0, 70.0 }, calls)
    assert.matches("given up after 4 failures", table.concat(helper.log(40), "\n"))
    calls = {}
    Async():start():get_callback_task({ retry_options = taskqueue.TaskRetryOptions { task_retry_limit = 0 },
      params = { value = 1 } }):add()
    engine:drain { delayed = true }
    assert.same({ value = "1" }, { value = calls[1].params.value })
  end)

  it("P154 neither a URL nor a task is to be had from a pipeline that is not async", function()
    local stage = Sync():start()
    helper.raises(pipeline.UnexpectedPipelineError, stage.get_callback_url, stage, { choice = "x" })
    helper.raises(pipeline.UnexpectedPipelineError, stage.get_callback_task, stage, { params = { choice = "x" } })
  end)

  it("P155 parameters are names with single values: anything else names the place", function()
    local stage = Async():start()
    for _, params in ipairs { { choice = { 1, 2 } }, { "positional" }, { choice = print } } do
      for _, method in ipairs { "get_callback_url", "get_callback_task" } do
        local given = method == "get_callback_url" and params or { params = params }
        local ok, problem = pcall(stage[method], stage, given)
        assert.is_false(ok)
        assert.truthy(tostring(problem):find("parameter", 1, true) or tostring(problem):find("choice", 1, true),
          tostring(problem))
      end
    end
    local url = stage:get_callback_url { b = 2, a = "x y", c = true }
    assert.equal(("/_ah/pipeline/callback?a=x%%20y&b=2&c=true&pipeline_id=%s"):format(stage.id),
      (url:gsub("x%+y", "x%%20y")))
  end)

  it("P156 without a try_cancel of its own a pipeline does not let itself be cancelled", function()
    local stage = Async():start()
    engine:drain()
    assert.is_false(stage:retry("again"))
    assert.is_false(stage:abort("stop"))
    engine:drain { delayed = true }
    assert.equal("run", pipeline.get_status_tree(stage.id).pipelines[stage.id].status)
  end)
end)
