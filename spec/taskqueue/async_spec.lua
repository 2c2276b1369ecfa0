-- async_spec.lua: calls that return futures, and deadlines: Q68, Q69; what the store's failures are: Q66.

local pipeline = require "pipeline"
local queue_errors = require "pipeline.taskqueue.errors"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"
local eventloop = require "pipeline.eventloop"
local helper = require "spec.support.helper"

local Queue, Task = taskqueue.Queue, taskqueue.Task
local await = tasklets.await

for _, virtual in ipairs { true, false } do
  describe(virtual and "calls without waiting" or "calls without waiting, in real time", function()
    local engine, work, pull
    before_each(function()
      engine = helper.open { virtual_time = virtual, virtual_start = virtual and 1700000000.0 or nil,
        queues = { work = { paused = true }, pull = { mode = "pull" } } }
      work, pull = Queue("work"), Queue("pull")
    end)
    after_each(function()
      helper.finish()
      assert.same({ 0, 0, 0, 0 }, { eventloop.pending() })
    end)
    teardown(helper.clean)

    local function pull_task(given)
      given.method, given.payload, given.countdown = "PULL", given.payload or "", -1
      return Task(given)
    end

    it("Q68 add_async gives what add gives", function()
      local task = Task { name = "a" }
      local future = work:add_async(task)
      assert.is_true(tasklets.is_future(future))
      assert.is_false(future:done())
      assert.is_false(task.was_enqueued)
      assert.equal(task, future:get_result())
      assert.same({ true, "work" }, { task.was_enqueued, task.queue_name })
      local list = { Task(), Task() }
      assert.equal(list, work:add_async(list):get_result())
      assert.equal("a", Task({ name = "a" }):add_async():get_result().name)
      local failed = work:add_async(Task { name = "a" })
      helper.raises(taskqueue.TaskAlreadyExistsError, failed.get_result, failed)
      helper.raises(taskqueue.TaskAlreadyExistsError, failed.get_result, failed)
      helper.misuse("task or list of tasks expected", function() work:add_async("x"):get_result() end)
      helper.misuse("bad argument #2 to 'add_async' %(unknown option", work.add_async, work, task, { dedline = 1 })
      assert.equal(3, work:fetch_statistics_async():get_result().tasks)
    end)

    it("Q68 Q114 all others too, and many share commits", function()
      local futures = {}
      for i = 1, 50 do
        futures[i] = pull:add_async(pull_task { name = "t" .. i, tag = i % 2 == 0 and "even" or nil })
      end
      local before = engine._core:facts().commits
      for _, future in ipairs(futures) do future:get_result() end
      assert.is_true(engine._core:facts().commits - before <= 5)
      local even = pull:lease_tasks_by_tag_async(60, 100, "even"):get_result()
      local odd = pull:lease_tasks_async(60, 100):get_result()
      assert.same({ 25, 25 }, { #even, #odd })
      assert.equal(even, pull:delete_tasks_async(even):get_result())
      assert.is_true(even[1].was_deleted)
      assert.equal("t1", pull:delete_tasks_by_name_async("t1"):get_result().name)
      assert.equal(24, pull:fetch_statistics_async():get_result().tasks)
      local both = taskqueue.QueueStatistics.fetch_async({ "work", "pull" }):get_result()
      assert.same({ 0, 24 }, { both[1].tasks, both[2].tasks })
      assert.same({}, taskqueue.QueueStatistics.fetch_async({}):get_result())
      local wrong = work:lease_tasks_async(1, 1)
      helper.raises(taskqueue.InvalidQueueModeError, wrong.get_result, wrong)
    end)

    it("Q68 in tasklets, which go on meanwhile", function()
      local order = {}
      local function add(name)
        return tasklets.tasklet(function()
          order[#order + 1] = "before " .. name
          await(work:add_async(Task { name = name }))
          order[#order + 1] = "after " .. name
        end)()
      end
      await(add "a", add "b")
      assert.same({ "before a", "before b", "after a", "after b" }, order)
    end)

    it("Q68 in runs; what is transactional belongs to the run", function()
      local attempts = 0
      local Adds = helper.define { max_attempts = 2, backoff_seconds = 0.01, run = function()
        attempts = attempts + 1
        assert(work:add_async(Task { name = "mine" }, { transactional = true }):done())
        await(work:add_async(Task { name = "own" .. attempts }))
        if attempts == 1 then error("rolled back") end
      end }
      Adds():start()
      engine:drain { delayed = true, timeout = 10 }
      assert.equal(2, attempts)
      assert.equal(3, work:fetch_statistics().tasks)
      local future = work:add_async(Task(), { transactional = true })
      helper.raises(taskqueue.BadTransactionStateError, future.get_result, future)
    end)

    it("Q68 in a transaction belongs to it", function()
      if not engine.transaction then return pending("needs transactions") end
      local ok = pcall(engine.transaction, engine, function()
        assert(work:add_async(Task { name = "lost" }):done())
        error("rolled back")
      end)
      assert.is_false(ok)
      assert.equal(0, work:fetch_statistics().tasks)
      engine:transaction(function()
        work:add_async(Task { name = "kept" })
        work:add_async(Task { name = "own" }, { transactional = false })
        assert.equal(1, work:fetch_statistics_async():get_result().tasks)
      end)
      assert.equal(2, work:fetch_statistics().tasks)
    end)

    it("Q68 a handle passed in is the one returned", function()
      local called = 0
      local rpc = taskqueue.create_rpc { callback = function() called = called + 1 end }
      assert.equal(rpc, work:add_async(Task(), { rpc = rpc }))
      assert.is_true(rpc:get_result().was_enqueued)
      eventloop.run()
      assert.equal(1, called)
      helper.misuse("not used yet", work.add_async, work, Task(), { rpc = rpc })
      helper.misuse("handle of create_rpc", work.add_async, work, Task(), { rpc = {} })
      helper.misuse("handle of create_rpc", work.add_async, work, Task(), { rpc = tasklets.Future() })
    end)

    it("Q68 a call whose engine is closed fails, begun or not", function()
      local future = work:add_async(Task())
      engine:close()
      helper.raises(pipeline.StoreError, future.get_result, future)
    end)

    it("Q69 refuses deadlines that are none", function()
      local fetch = taskqueue.QueueStatistics.fetch
      for _, deadline in ipairs { 0, -1 } do
        local given = { deadline = deadline }
        helper.raises(taskqueue.InvalidDeadlineError, work.add, work, Task(), given)
        helper.raises(taskqueue.InvalidDeadlineError, taskqueue.add, given)
        helper.raises(taskqueue.InvalidDeadlineError, work.add_async, work, Task(), given)
        helper.raises(taskqueue.InvalidDeadlineError, pull.lease_tasks, pull, 1, 1, given)
        helper.raises(taskqueue.InvalidDeadlineError, pull.lease_tasks_async, pull, 1, 1, given)
        helper.raises(taskqueue.InvalidDeadlineError, pull.lease_tasks_by_tag, pull, 1, 1, "t", given)
        helper.raises(taskqueue.InvalidDeadlineError, pull.delete_tasks, pull, {}, given)
        helper.raises(taskqueue.InvalidDeadlineError, work.fetch_statistics, work, given)
        helper.raises(taskqueue.InvalidDeadlineError, fetch, {}, given)
        helper.raises(taskqueue.InvalidDeadlineError, taskqueue.create_rpc, given)
      end
      for _, deadline in ipairs { "10", {}, 0 / 0 } do
        helper.misuse("bad argument #3 to 'lease_tasks' %(option 'deadline': finite number expected", pull.lease_tasks,
          pull, 1, 1, { deadline = deadline })
        helper.misuse("option 'deadline'", taskqueue.create_rpc, { deadline = deadline })
      end
      assert.equal(0, work:fetch_statistics().tasks)
    end)

    it("Q69 what is done in time has its result", function()
      assert.is_true(work:add(Task { name = "a" }, { deadline = 10 }).was_enqueued)
      helper.raises(taskqueue.TaskAlreadyExistsError, work.add, work, Task { name = "a" }, { deadline = 10 })
      pull:add(pull_task { name = "p", tag = "t" })
      pull:add(pull_task { name = "q" })
      assert.equal("q", pull:lease_tasks_by_tag(60, 1, "", { deadline = 10 })[1].name)
      local list = pull:lease_tasks(60, 10, { deadline = 10 })
      assert.equal("p", list[1].name)
      pull:delete_tasks(list, { deadline = 10 })
      assert.equal(1, pull:fetch_statistics({ deadline = 10 }).tasks)
      assert.is_true(taskqueue.add({ queue_name = "work", deadline = 10 }).was_enqueued)
    end)

    it("Q69 what is not done in time fails, and the store is none the worse", function()
      local core, release = engine._core, nil
      engine._core = setmetatable({ queue_stats = function(_, ...)
        release = core:token()
        core:suspend()
        return core:queue_stats(...)
      end }, { __index = function(_, name)
        return function(_, ...) return core[name](core, ...) end
      end })
      local future = work:fetch_statistics_async { deadline = 0.05 }
      helper.raises(pipeline.TimeoutError, future.get_result, future)
      engine._core = core
      release:wake()
      eventloop.run()
      engine:step()
      helper.raises(pipeline.TimeoutError, future.get_result, future)
      assert.equal(0, work:fetch_statistics().tasks)
    end)
  end)
end

it("Q68 Q69 in a program that has not loaded tasklets deadlines and futures work as elsewhere", function()
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "w"))
  file:write [[
    local pipeline = require "pipeline"
    local taskqueue = require "pipeline.taskqueue"
    local engine <close> = pipeline.open(":memory:", { queues = { pull = { mode = "pull" } } })
    local queue = taskqueue.Queue("pull")
    for _ = 1, 2 do queue:add(taskqueue.Task { method = "PULL", payload = "x" }, { deadline = 30 }) end
    local Lease = pipeline.define("spec.Lease", { run = function()
      return #queue:lease_tasks_async(60, 1):get_result()
    end })
    print(#queue:lease_tasks(60, 1, { deadline = 30 }), engine:wait(Lease():start()).default.value)
  ]]
  file:close()
  local pipe = assert(io.popen(("timeout 60 %s %s 2>&1"):format(os.getenv("LUA") or "lua5.4", path)))
  local said = pipe:read("a")
  assert.is_true(pipe:close(), said)
  os.remove(path)
  assert.equal("1\t1\n", said)
end)

describe("failures", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("Q66 have a class for each result of the store", function()
    local names = {
      EEXISTS = "TaskAlreadyExistsError", ETOMBSTONE = "TombstonedTaskError", ENOTFOUND = "UnknownTaskError",
      ESTATE = "BadTaskStateError", ENOQUEUE = "UnknownQueueError", EMODE = "InvalidQueueModeError",
      EPAUSED = "QueuePausedError", ELEASE = "TaskLeaseExpiredError",
    }
    for code, name in pairs(names) do
      local object = queue_errors.of_code(code, "it")
      assert.same({ name, code }, { object.class, object.code })
      assert.is_true(pipeline.is(object, taskqueue[name]))
      assert.is_false(pipeline.is(object, pipeline.StoreError))
    end
  end)

  it("Q66 of the store itself are DatastoreErrors and the store's own errors, too", function()
    local engine = helper.open()
    local core = engine._core
    engine._core = setmetatable({ task_add = function() return nil, "EFULL", "disk full" end }, {
      __index = function(_, name)
        return function(_, ...) return core[name](core, ...) end
      end,
    })
    local problem = helper.raises(taskqueue.DatastoreError, taskqueue.add)
    engine._core = core
    assert.is_true(pipeline.is(problem, taskqueue.Error))
    assert.is_true(pipeline.is(problem, pipeline.StoreError))
    assert.equal("EFULL", problem.code)
    assert.truthy(tostring(problem):find("disk full", 1, true))
    assert.is_false(pipeline.is(pipeline.StoreError "x", taskqueue.Error))
  end)
end)
