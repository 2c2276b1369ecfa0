-- gathered_spec.lua: adds in a transaction that ask the store nothing: sent ahead, in the order of the calls.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local Queue, Task = taskqueue.Queue, taskqueue.Task
local calls = {}

local function record(...)
  calls[#calls + 1] = table.pack(...)
end

for _, path in ipairs { "a file", ":memory:" } do
  describe("adds without names in a transaction, on " .. path, function()
    local engine, queue

    setup(function() deferred.register("spec.gathered.record", record) end)
    before_each(function()
      calls = {}
      engine = helper.open {
        path = path == ":memory:" and path or nil, queues = { work = {}, pull = { mode = "pull" } },
      }
      engine:route("*", "/note", function(request)
        calls[#calls + 1] = { request.headers["x-appengine-taskname"], request.body }
      end)
      queue = Queue("work")
    end)
    after_each(helper.finish)
    teardown(helper.clean)

    local function count(tx)
      return tx:query("SELECT count(*) AS n FROM pl_task")[1].n
    end

    local function rolled_back(fn)
      local reason = {}
      local ok, problem = pcall(engine.transaction, engine, function(tx)
        fn(tx)
        error(reason)
      end)
      assert.is_false(ok)
      assert.equal(reason, problem)
    end

    it("do not ask the store one by one", function()
      local before = engine._core:facts().ops
      engine:transaction(function()
        for i = 1, 500 do deferred.defer(record, i) end
        for _ = 1, 500 do queue:add(Task { url = "/note" }) end
      end)
      local ops = engine._core:facts().ops - before
      assert(ops < 30, ops .. " ops for 1000 tasks")
      engine:drain()
      assert.equal(1000, #calls)
    end)

    it("are seen by the next statement, and by whatever else asks the store", function()
      engine:transaction(function(tx)
        for i = 1, 150 do
          queue:add(Task { url = "/note" })
          if i % 7 == 0 then assert.equal(i, count(tx)) end
        end
        assert.equal(150, queue:fetch_statistics().tasks)
        queue:add(Task { url = "/note" })
        assert.equal(151, engine:status().queues.work.ready)
        queue:add(Task { url = "/note" })
        assert.equal(152, queue:purge())
        queue:add(Task { url = "/note" })
      end)
      assert.equal(1, queue:fetch_statistics().tasks)
    end)

    it("keep what was said of them, and their names and ids", function()
      local tasks = {}
      engine:transaction(function()
        queue:add(Task { url = "/note" })
        for i = 1, 5 do
          tasks[i] = queue:add(Task {
            url = "/note", payload = "p" .. i, countdown = i, headers = { ["X-Some"] = "value" }, priority = i,
            dispatch_deadline = 20,
          })
          assert.equal("work", tasks[i].queue_name)
        end
        queue:add { Task { url = "/note", payload = "p6", countdown = 6 }, Task { payload = "p7", countdown = 7 } }
        for i = 1, 3 do Queue("pull"):add(Task { method = "PULL", payload = "q" .. i, tag = "t" .. i % 2 }) end
      end)
      engine:route("POST", "/_ah/queue/work", function(request) calls[#calls + 1] = { false, request.body } end)
      local names = {}
      for i = 1, 5 do names[i] = { tasks[i].name, "p" .. i } end
      engine:drain { delayed = true }
      table.remove(calls, 1)
      assert.same(names, { table.unpack(calls, 1, 5) })
      assert.same({ "p6", "p7" }, { calls[6][2], calls[7][2] })
      local leased = Queue("pull"):lease_tasks_by_tag(60, 10, "t1")
      assert.same({ 2, "q1", "q3" }, { #leased, leased[1].payload, leased[2].payload })
      helper.raises(taskqueue.BadTaskStateError, queue.add, queue, tasks[1])
    end)

    it("are gone with the transaction, and the tasks can be added again", function()
      local task, listed = Task { url = "/note" }, { Task { url = "/note" }, Task { url = "/note" } }
      rolled_back(function()
        queue:add(Task { url = "/note" })
        assert.equal(task, queue:add(task))
        assert.truthy(task.name)
        queue:add(listed)
        deferred.defer(record, 1)
      end)
      assert.same({ false, nil, false }, { task.was_enqueued, task.name, listed[2].was_enqueued })
      assert.equal(0, queue:fetch_statistics().tasks)
      engine:transaction(function()
        queue:add(task)
        queue:add(listed)
      end)
      engine:drain()
      assert.equal(3, #calls)
    end)

    it("are refused at the call when the queue cannot take them, whatever it could before", function()
      engine:transaction(function(tx)
        helper.raises(taskqueue.UnknownQueueError, taskqueue.add, { queue_name = "nowhere" })
        helper.raises(taskqueue.InvalidQueueModeError, taskqueue.add, { queue_name = "pull" })
        queue:add(Task { url = "/note" })
        helper.raises(taskqueue.InvalidQueueModeError, queue.add, queue, Task { method = "PULL", payload = "" })
        queue:add(Task { url = "/note" })
        taskqueue.configure { work = false }
        helper.raises(taskqueue.UnknownQueueError, queue.add, queue, Task { url = "/note" })
        taskqueue.configure { work = { mode = "pull" } }
        helper.raises(taskqueue.InvalidQueueModeError, queue.add, queue, Task { url = "/note" })
        taskqueue.configure { work = {} }
        queue:add(Task { url = "/note" })
        assert.equal(1, count(tx))
      end)
      engine:drain()
      assert.equal(1, #calls)
    end)

    it("of any size go through, and memory is bounded", function()
      local big = ("b"):rep(300000)
      engine:transaction(function()
        for i = 1, 40 do deferred.defer(record, i, big) end
      end)
      engine:drain()
      assert.same({ 40, big }, { #calls, calls[40][2] })
    end)

    it("of its tasklets come with it, in coroutines too", function()
      local Adds = helper.define(function()
        engine:transaction(function()
          local futures = {}
          for i = 1, 20 do
            futures[i] = tasklets.tasklet(function()
              for n = 1, 10 do deferred.defer(record, i, n) end
              tasklets.await(tasklets.sleep(0))
              deferred.with { name = "named" .. i }(record, i, 11)
              deferred.defer(record, i, 12)
            end)()
          end
          tasklets.await_all(futures)
        end)
      end)
      Adds():start()
      engine:drain()
      assert.equal(20 * 12, #calls)
    end)

    it("are dropped with an engine that is closed meanwhile", function()
      helper.raises(pipeline.TransactionError, engine.transaction, engine, function()
        for _ = 1, 100 do queue:add(Task { url = "/note" }) end
        engine:close()
        assert.is_false(pcall(queue.add, queue, Task { url = "/note" }))
      end)
    end)

    it("are refused by a session that is over", function()
      local session = engine._core:session()
      assert.equal("EOVER", (select(2, session:tasks_gather {})))
      assert.is_true(session:begin(60))
      assert.is_false(session:tasks_gather { { id = engine._core:new_id(), kind = "deferred", payload = "x" } })
      assert.is_false(pcall(session.tasks_gather, session, { { kind = "nonsense" } }))
      local id, name, is_much = session:task_gather("work", "deferred", "x", nil, 1, nil, nil, nil, "task-")
      assert.same({ "integer", "task-" .. engine._core:id_text(id), false }, { math.type(id), name, is_much })
      assert.is_nil((session:settle()))
      assert.is_true(session:finish(true))
      assert.equal("EOVER", (select(2, session:settle())))
      local none, code = session:task_gather("work", "deferred", "x", nil, 1, nil, nil, nil, "task-")
      assert.same({ nil, "EOVER" }, { none, code })
      assert.equal(2, engine:transaction(count))
    end)
  end)
end

describe("adds without names in a transaction", function()
  local engine, queue

  after_each(helper.finish)
  teardown(helper.clean)

  it("are refused at the call where the file has reached its limit", function()
    engine = helper.open { total_storage_limit = "1M" }
    queue = Queue("default")
    local added = 0
    engine:transaction(function(tx)
      for _ = 1, 100 do
        local ok, problem = pcall(queue.add, queue, Task { url = "/", payload = ("x"):rep(50000) })
        if not ok then
          assert.is_true(pipeline.is(problem, taskqueue.TransientError), tostring(problem))
          break
        end
        added = added + 1
      end
      assert(added > 5 and added < 100)
      assert.equal(added, tx:query("SELECT count(*) AS n FROM pl_task")[1].n) -- it goes on
    end)
    assert.equal(added, queue:fetch_statistics().tasks)
  end)

  it("that a rule of the file refuses undo the transaction, and the next statement or the commit says why", function()
    engine = helper.open { queues = { work = {} } }
    queue = Queue("work")
    sql.run(engine, [[CREATE TRIGGER no_more BEFORE INSERT ON pl_task WHEN CAST(new.payload AS TEXT) = 'bad'
      BEGIN SELECT RAISE(ABORT, 'no such tasks here'); END]])
    for _, how in ipairs { "statement", "commit", "full" } do
      local problem = helper.raises(pipeline.TransactionError, engine.transaction, engine, function(tx)
        tx:execute("CREATE TABLE row (x)")
        queue:add(Task { url = "/", payload = "good" })
        for _ = 1, how == "full" and 500 or 3 do queue:add(Task { url = "/", payload = "bad" }) end
        if how == "statement" then tx:execute("INSERT INTO row VALUES (1)") end
      end)
      assert.truthy(problem.message:find("rolled back: .*no such tasks here"), problem.message)
      assert.equal(0, queue:fetch_statistics().tasks)
    end
  end)
end)
