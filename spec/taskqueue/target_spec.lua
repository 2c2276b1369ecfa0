-- target_spec.lua: pushing to a process that answers well, badly, slowly, half or never, in real time: Q81, Q82, Q91.

local fetch = require "spec.fetch.support"
local queue_task = require "pipeline.taskqueue.task"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local Queue, Task = taskqueue.Queue, taskqueue.Task
local MIB = 1 << 20

describe("a push to a target", function()
  local target, engine, queue
  setup(function() target = fetch.target() end)
  teardown(function()
    fetch.stop(target)
    helper.clean()
  end)
  before_each(function()
    engine = helper.open { virtual_time = false, virtual_start = false or nil,
      targets = { default = target.url, closed = "http://127.0.0.1:1" },
      queues = { work = { retry_parameters = { task_retry_limit = 1, min_backoff_seconds = 0.01 } } } }
    queue = Queue("work")
  end)
  after_each(helper.finish)

  local function seen(what)
    local store = engine._core
    local answer = fetch.inside(store, function() return store:fetch { url = target.url .. "/seen?" .. what } end)
    return tonumber(answer.body)
  end

  -- Pushes one task until it is done or dead; returns how often the target saw it, and the dead task, if it died.
  local function push(url, given)
    local before = seen("requests")
    local task = Task { url = url, method = given and given.method or "GET", target = given and given.target,
      payload = given and given.payload }
    local form = queue_task.form(task, engine._core, "work")
    form.deadline = given and given.deadline -- shorter than a program may ask for
    assert(engine._core:task_add { form })
    engine:drain { delayed = true, timeout = 30 }
    local dead = queue:dead_tasks()
    queue:purge_dead()
    return seen("requests") - before - 1, dead[1]
  end

  for _, status in ipairs { 200, 201, 204, 299 } do
    it("Q81 is done when it answers " .. status, function()
      assert.same({ 1 }, { push("/status?" .. status) })
    end)
  end

  for _, status in ipairs { 302, 304, 400, 404, 408, 500, 503 } do
    it("Q81 has failed when it answers " .. status .. ", which is not followed either", function()
      local times, dead = push("/status?" .. status)
      assert.equal(2, times)
      assert.same({ status, 2, "answered " .. status }, { dead.status, dead.retry_count, dead.message })
    end)
  end

  it("Q81 is done when it answers slowly, with much, in pieces, or without a length", function()
    for _, url in ipairs { "/slow?0.3", "/big?" .. 10 * MIB, "/pieces?100", "/open" } do
      assert.same({ 1 }, { push(url) }, url)
    end
    assert.same({ 1 }, { push("/sink", { method = "PUT", payload = ("x"):rep(90000) }) })
  end)

  it("Q82 Q91 has failed without a status when it breaks off, and is pushed again although it was heard", function()
    for _, url in ipairs { "/half", "/drop", "/garbage" } do
      local times, dead = push(url)
      assert.is_true(times >= 2, url) -- a kept connection that breaks may only have been closed: it is asked anew
      assert.same({ 2, "TransientError" }, { dead.retry_count, dead.error_class }, url)
      assert.is_nil(dead.status, url)
      assert.is_true(#dead.message > 0)
    end
  end)

  it("Q82 has failed when it takes longer than the deadline, silent or not", function()
    for _, url in ipairs { "/never", "/stall", "/dribble" } do
      local before = engine:now()
      local times, dead = push(url, { deadline = 0.2 })
      assert.equal(2, times, url)
      assert.is_nil(dead.status, url)
      assert.is_true(engine:now() - before >= 0.4, url)
    end
  end)

  it("has failed when it answers with more than anybody wants", function()
    taskqueue.configure { work = { retry_parameters = { task_retry_limit = 0 } } }
    local _, dead = push("/flood")
    assert.equal(1, dead.retry_count)
  end)

  it("is named when its base is no URL", function()
    for value, shown in pairs { ["localhost:80"] = '"localhost:80" under "other"', [3] = '3 under "other"' } do
      local problem = helper.raises(pipeline.ConfigurationError, pipeline.open, helper.path(),
        { targets = { default = target.url, other = value } })
      assert.truthy(problem.message:find(shown, 1, true), problem.message)
    end
  end)

  it("Q82 has failed when nobody listens", function()
    local times, dead = push("/status?200", { target = "closed" })
    assert.equal(0, times)
    assert.same({ 2, "TransientError" }, { dead.retry_count, dead.error_class })
    assert.is_nil(dead.status)
  end)
end)
