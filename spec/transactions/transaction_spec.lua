-- transaction_spec.lua: what belongs to engine:transaction, and what becomes of it: Q70 to Q76, D22, D28, G36, G68.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local Queue, Task = taskqueue.Queue, taskqueue.Task
local calls = {}

local function record(...)
  calls[#calls + 1] = table.pack(...)
end

for _, path in ipairs { "a file", ":memory:" } do
  describe("a transaction on " .. path, function()
    local engine, queue, Give

    setup(function() deferred.register("spec.transactions.record", record) end)
    before_each(function()
      calls = {}
      engine = helper.open {
        path = path == ":memory:" and path or nil, queues = { work = {}, pull = { mode = "pull" } },
      }
      engine:route("*", "/note", function(request) calls[#calls + 1] = { request.headers["x-appengine-taskname"] } end)
      engine:transaction(function(tx) tx:execute("CREATE TABLE row (id INTEGER PRIMARY KEY, value)") end)
      queue = Queue("work")
      Give = helper.define(function(_, value) return value end)
    end)
    after_each(helper.finish)
    teardown(helper.clean)

    local function rows()
      return engine:transaction(function(tx) return tx:query("SELECT value FROM row ORDER BY id") end)
    end

    -- Rolls back after fn(tx); the error must come out unchanged.
    local function rolled_back(fn)
      local reason = {}
      local ok, problem = pcall(engine.transaction, engine, function(tx)
        fn(tx)
        error(reason)
      end)
      assert.is_false(ok)
      assert.equal(reason, problem)
    end

    local function commits()
      return engine._core:facts().commits
    end

    it("Q73 commits rows, tasks, starts and deferred calls in one commit", function()
      local before = commits()
      local stage, task
      local results = table.pack(engine:transaction(function(tx)
        for i = 1, 3 do tx:execute("INSERT INTO row (value) VALUES (?)", i) end
        task = queue:add(Task { url = "/note" })
        queue:add { Task { url = "/note", name = "one" }, Task { url = "/note", name = "two" } }
        taskqueue.add { url = "/note", queue_name = "work", transactional = true }
        deferred.defer(record, "deferred")
        stage = Give(7):start { idempotence_key = "order-17" }
        assert.is_true(task.was_enqueued)
        assert.truthy(task.name)
        assert.equal("order-17", stage.id)
        return 1, nil, "three", nil
      end))
      assert.equal(before + 1, commits())
      assert.same({ 1, nil, "three", nil, n = 4 }, results)
      assert.equal(3, #rows())
      assert.equal(4, queue:fetch_statistics().tasks)
      engine:drain()
      assert.equal(5, #calls)
      assert.equal(7, engine:wait(stage).default.value)
    end)

    it("Q73 D22 leaves nothing of it when the function fails", function()
      local before = commits()
      local stage, task = Give(7), Task { url = "/note" }
      rolled_back(function(tx)
        tx:execute("INSERT INTO row (value) VALUES (1); CREATE TABLE other (x)")
        queue:add { task, Task { url = "/note", name = "one" } }
        deferred.defer(record, "deferred")
        stage:start { idempotence_key = "k" }
        assert.truthy(pipeline.from_id("k"))
        assert.equal(2, queue:fetch_statistics().tasks)
      end)
      assert.equal(before, commits())
      engine:drain()
      assert.same({ 0, 0, 0 }, { #calls, #rows(), queue:fetch_statistics().tasks })
      assert.is_nil(pipeline.from_id("k"))
      helper.raises(pipeline.SQLError, engine.transaction, engine, function(tx) tx:query("SELECT * FROM other") end)
      -- The objects have forgotten it, too, and can be used again; the names are free.
      assert.same({ false, nil }, { task.was_enqueued, task.name })
      engine:transaction(function()
        queue:add { task, Task { url = "/note", name = "one" } }
        stage:start { idempotence_key = "k" }
      end)
      engine:drain()
      assert.equal(2, #calls)
      assert.equal(7, engine:wait(stage).default.value)
    end)

    it("Q71 Q76 G68 takes as many tasks as are wanted, with names", function()
      engine:transaction(function()
        for n = 0, 4 do
          local list = {}
          for i = 1, 100 do list[i] = Task { name = ("t%d"):format(100 * n + i), url = "/note" } end
          queue:add(list)
        end
      end)
      assert.equal(500, queue:fetch_statistics().tasks)
    end)

    it("Q75 G68 takes more than a megabyte", function()
      engine:transaction(function()
        for _ = 1, 30 do queue:add(Task { url = "/note", payload = ("x"):rep(100000) }) end
      end)
      engine:drain()
      assert.equal(30, #calls)
    end)

    it("D28 G36 takes a call of any size, and gives it up with the rest", function()
      local big = ("b"):rep(3 << 20)
      rolled_back(function() deferred.with { name = "big" }(record, big) end)
      engine:drain()
      assert.equal(0, #calls)
      assert.equal(0, engine:transaction(function(tx)
        return tx:query("SELECT count(*) AS n FROM pl_task_detail")[1].n
      end))
      engine:transaction(function() deferred.with { name = "big", transactional = true }(record, big) end)
      engine:drain()
      assert.same({ { big, n = 1 } }, calls)
    end)

    it("Q61 Q74 refuses names in use at the call, all of its list, and goes on", function()
      queue:add(Task { name = "taken", url = "/note" })
      engine:transaction(function(tx)
        tx:execute("INSERT INTO row (value) VALUES (1)")
        local list = { Task { name = "free", url = "/note" }, Task { name = "taken", url = "/note" } }
        local problem = helper.raises(taskqueue.TaskAlreadyExistsError, queue.add, queue, list)
        assert.same({ "ESKIPPED", "EEXISTS" }, problem.results)
        assert.truthy(tostring(problem):find("taken", 1, true))
        assert.same({ false, false }, { list[1].was_enqueued, list[2].was_enqueued })
        queue:add(list[1])
        helper.raises(taskqueue.TaskAlreadyExistsError, queue.add, queue, Task { name = "free" })
        helper.raises(taskqueue.UnknownQueueError, taskqueue.add, { queue_name = "nowhere" })
        helper.raises(taskqueue.InvalidQueueModeError, taskqueue.add, { queue_name = "pull" })
        Give(1):start { idempotence_key = "k" }
        helper.raises(pipeline.PipelineExistsError, function() Give(1):start { idempotence_key = "k" } end)
      end)
      assert.same({ 1, 2 }, { #rows(), queue:fetch_statistics().tasks })
    end)

    it("Q72 transactional = false is committed by itself when the transaction has ended, either way", function()
      local first, second = Task { url = "/note", name = "a" }, Task { url = "/note", name = "b" }
      local stage, other = Give(1), Give(2)
      engine:transaction(function(tx)
        tx:execute("INSERT INTO row (value) VALUES (1)")
        assert.equal(first, queue:add(first, { transactional = false }))
        assert.is_false(first.was_enqueued)
        stage:start { idempotence_key = "s", transactional = false }
        assert.is_nil(pipeline.from_id("s"))
        assert.equal(0, tx:query("SELECT count(*) AS n FROM pl_task")[1].n)
      end)
      assert.is_true(first.was_enqueued)
      rolled_back(function()
        queue:add(second, { transactional = false })
        queue:add(Task { url = "/note", name = "c" })
        other:start { idempotence_key = "o", transactional = false }
        deferred.with { transactional = false }(record, "deferred")
      end)
      assert.is_true(second.was_enqueued)
      engine:drain()
      assert.equal(3, #calls)
      assert.same({ 1, 2 }, { engine:wait(stage).default.value, engine:wait(other).default.value })
    end)

    it("Q72 raises what is wrong with such a task after the commit, and only logs it after a rollback", function()
      queue:add(Task { name = "taken", url = "/note" })
      local problem = helper.raises(taskqueue.TaskAlreadyExistsError, engine.transaction, engine, function(tx)
        tx:execute("INSERT INTO row (value) VALUES (1)")
        queue:add(Task { name = "taken" }, { transactional = false })
      end)
      assert.is_true(problem.committed)
      assert.equal(1, #rows())
      rolled_back(function() queue:add(Task { name = "taken" }, { transactional = false }) end)
      local log = helper.log(40)
      assert.truthy(log[#log]:find("rolled back.*taken"))
    end)

    it("Q70 transactional = true outside of transactions is an error", function()
      helper.raises(taskqueue.BadTransactionStateError, queue.add, queue, Task(), { transactional = true })
      helper.raises(pipeline.TransactionError, function() Give(1):start { transactional = true } end)
      engine:transaction(function() Give(1):start { transactional = true, idempotence_key = "k" } end)
      assert.truthy(pipeline.from_id("k"))
    end)

    it("Q70 a start that belongs to the outcome of a run is refused, and the message says what does it", function()
      local fails = true
      local Starts = helper.define {
        max_attempts = 3, backoff_seconds = 1,
        run = function(self)
          local refused = Give(1)
          local problem = helper.raises(pipeline.TransactionError, refused.start, refused, { transactional = true })
          assert.truthy(problem.message:find("start{return_task = true}:add(nil, {transactional = true})", 1, true))
          local key = ("of attempt %d"):format(self.current_attempt)
          Give(1):start { idempotence_key = key, return_task = true }:add(nil, { transactional = true })
          if fails then
            fails = false
            error("not yet")
          end
        end,
      }
      Starts():start()
      engine:drain { delayed = true }
      local states = {}
      for i = 1, 2 do
        local tree = pipeline.get_status_tree("of attempt " .. i)
        states[i] = tree.pipelines[tree.rootPipelineId].status
      end
      assert.same({ "run", "done" }, states) -- the first one waits for its task, which was given up
    end)

    it("leases, deletes, fills, aborts and pauses with the rest", function()
      local pull = Queue("pull")
      pull:add { Task { method = "PULL", payload = "a" }, Task { method = "PULL", payload = "b" } }
      local Waits = helper.define { async = true, run = function() end, try_cancel = function() return true end }
      local one, two = Waits():start(), Waits():start()
      engine:drain()
      engine:advance(1)
      local function act(tx)
        local list = pull:lease_tasks(60, 2)
        assert.equal(2, #list)
        pull:delete_tasks(list[1])
        one:fill("default", 5)
        two:abort("no more")
        queue:pause()
        tx:execute("INSERT INTO row (value) VALUES (1)")
      end
      rolled_back(act)
      assert.same({ 2, 0 }, { pull:fetch_statistics().tasks, pull:fetch_statistics().in_flight })
      assert.is_false(queue:settings().paused)
      assert.equal("run", pipeline.from_id(one.id)._record.state)
      engine:transaction(act)
      assert.same({ 1, 1 }, { pull:fetch_statistics().tasks, pull:fetch_statistics().in_flight })
      assert.is_true(queue:settings().paused)
      assert.equal(5, engine:wait(one).default.value)
      helper.raises(pipeline.AbortedError, engine.wait, engine, two)
    end)

    it("sees what it has done, and its own engine is the current one", function()
      local other = helper.open()
      other:transaction(function(tx)
        assert.equal(other, pipeline.default())
        queue = taskqueue.Queue("default")
        queue:add(Task { url = "/note" })
        assert.equal(1, tx:query("SELECT count(*) AS n FROM pl_task")[1].n)
        assert.equal(1, queue:fetch_statistics().tasks)
        assert.equal(1, other:status().queues.default.ready)
      end)
      assert.equal(engine, pipeline.default())
      assert.equal(0, queue:fetch_statistics().tasks)
    end)

    it("takes what plain coroutines inside of the function do", function()
      engine:transaction(function(tx)
        local co = coroutine.wrap(function()
          queue:add(Task { url = "/note" })
          coroutine.yield(1)
          tx:execute("INSERT INTO row (value) VALUES (1)")
        end)
        co()
        assert.equal(1, tx:query("SELECT count(*) AS n FROM pl_task")[1].n)
        co()
      end)
      assert.same({ 1, 1 }, { #rows(), queue:fetch_statistics().tasks })
    end)

    it("refuses what cannot be in it", function()
      helper.misuse("bad argument #1 to 'transaction' %(function expected, got nil%)", engine.transaction, engine)
      engine:transaction(function()
        local stage = Give(1):start()
        local function refused(pattern, fn, ...)
          local problem = helper.raises(pipeline.TransactionError, fn, ...)
          assert.truthy(tostring(problem):find(pattern))
        end
        refused("inside a transaction", engine.transaction, engine, function() end)
        refused("drain", engine.drain, engine)
        refused("run", engine.run, engine)
        refused("step", engine.step, engine)
        refused("wait", engine.wait, engine, stage)
      end)
    end)

    it("is of no use when it is over", function()
      local kept
      engine:transaction(function(tx) kept = tx end)
      assert.equal("transaction (committed)", tostring(kept))
      local problem = helper.raises(pipeline.TransactionError, kept.query, kept, "SELECT 1")
      assert.truthy(tostring(problem):find("was committed", 1, true))
      rolled_back(function(tx) kept = tx end)
      problem = helper.raises(pipeline.TransactionError, kept.execute, kept, "SELECT 1")
      assert.truthy(tostring(problem):find("was rolled back", 1, true))
      helper.misuse("colon", kept.execute, "SELECT 1")
    end)

    it("can be begun again at once, whatever became of the last one", function()
      for i = 1, 20 do
        rolled_back(function(tx) tx:execute("INSERT INTO row (value) VALUES (?)", i) end)
        engine:transaction(function(tx) tx:execute("INSERT INTO row (value) VALUES (?)", -i) end)
        queue:add(Task { url = "/note" })
      end
      assert.equal(20, #rows())
      assert.equal(20, queue:fetch_statistics().tasks)
    end)

    it("keeps the place of an error in its trace", function()
      local function culprit() error("deep") end
      local trace
      xpcall(engine.transaction, function(problem) trace = debug.traceback(problem, 1) end, engine, function()
        culprit()
      end)
      assert.truthy(trace:find("culprit", 1, true))
    end)

    it("is rolled back when the engine is closed in it", function()
      local problem = helper.raises(pipeline.TransactionError, engine.transaction, engine, function(tx)
        tx:execute("INSERT INTO row (value) VALUES (1)")
        queue:add(Task { url = "/note" })
        engine:close()
        assert.is_false(pcall(tx.execute, tx, "INSERT INTO row (value) VALUES (2)"))
      end)
      assert.truthy(tostring(problem):find("closed", 1, true))
      helper.raises(pipeline.StoreError, engine.transaction, engine, function() end)
      if path == ":memory:" then return end
      engine = helper.open { path = engine._path }
      assert.same({ 0, 0 }, { #rows(), queue:fetch_statistics().tasks })
    end)

    it("does not begin in an object that was dropped", function()
      do
        local session = engine._core:session()
        assert.is_true(session:begin(60))
        assert(session:sql("INSERT INTO row (value) VALUES (1)", {}, 0, false))
      end
      collectgarbage()
      assert.equal(0, #rows())
      local session = engine._core:session()
      assert.equal("EOVER", (select(2, session:sql("SELECT 1", {}, 0, true))))
      session:drop()
      assert.is_true(session:begin(60))
      assert.same("ESTATE", (select(2, session:begin(60))))
      assert.is_true(session:finish(false))
      assert.same("EOVER", (select(2, session:finish(true))))
    end)
  end)
end

describe("a transaction", function()
  local engine
  before_each(function() engine = helper.open { transaction_timeout = 60 } end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("has a limit of time that is checked", function()
    for _, bad in ipairs { 0, -1, 3601, 1 / 0, 0 / 0, "5" } do
      helper.misuse("transaction_timeout", pipeline.open, helper.path(), { transaction_timeout = bad })
    end
    helper.open { transaction_timeout = 0.001 }
    helper.open { transaction_timeout = 3600 }
  end)

  it("inside a run is its own, and commits before the run does", function()
    engine:transaction(function(tx) tx:execute("CREATE TABLE row (attempt)") end)
    local Twice = helper.define { backoff_seconds = 1, run = function(self)
      local n = engine:transaction(function(tx)
        tx:execute("INSERT INTO row VALUES (?)", self.current_attempt)
        deferred.with { transactional = true }(record, self.current_attempt)
        return tx:query("SELECT count(*) AS n FROM row")[1].n
      end)
      deferred.with { transactional = true }(record, "run")
      if self.current_attempt == 1 then error("again") end
      return n
    end }
    deferred.register("spec.transactions.record", record)
    calls = {}
    assert.equal(2, helper.result(Twice()))
    assert.same({ { 1, n = 1 }, { 2, n = 1 }, { "run", n = 1 } }, calls)
  end)

  it("does not hold virtual time: others wait for their turn at the time they get it", function()
    engine:transaction(function(tx)
      tx:execute("CREATE TABLE row (value)")
      engine:sleep(1000)
      tx:execute("INSERT INTO row VALUES (1)")
    end)
    assert.equal(1700001000.0, engine:now())
    local Sleeps = helper.define(function()
      return engine:transaction(function(tx)
        engine:sleep(100)
        tx:execute("INSERT INTO row VALUES (2)")
        return engine:now()
      end)
    end)
    local stages, times = {}, {}
    for i = 1, 3 do stages[i] = Sleeps():start() end
    engine:drain()
    for i = 1, 3 do times[i] = engine:wait(stages[i]).default.value end
    table.sort(times)
    assert.same({ 1700001100.0, 1700001200.0, 1700001300.0 }, times)
  end)

  it("works in test mode, on the store of the test", function()
    local Test = helper.define(function(_, value)
      return pipeline.default():transaction(function(tx)
        tx:execute("CREATE TABLE row (value)")
        tx:execute("INSERT INTO row VALUES (?)", value)
        return tx:query("SELECT value FROM row")[1].value
      end)
    end)
    local stage = Test(5)
    stage:start_test()
    assert.equal(5, stage.outputs.default.value)
    helper.raises(pipeline.SQLError, engine.transaction, engine, function(tx) tx:query("SELECT * FROM row") end)
  end)

  it("in a handler answers with the row it has made", function()
    engine:transaction(function(tx) tx:execute("CREATE TABLE row (value UNIQUE)") end)
    engine:route("POST", "/rows", function(request)
      local n = engine:transaction(function(tx)
        tx:execute("INSERT INTO row VALUES (?)", request.body)
        return tx:query("SELECT count(*) AS n FROM row")[1].n
      end)
      return 200, "text/plain", tostring(n)
    end)
    assert.equal("1", engine:handle { method = "POST", path = "/rows", body = "a" }.body)
    assert.equal(500, engine:handle({ method = "POST", path = "/rows", body = "a" }).status)
    assert.equal("2", engine:handle { method = "POST", path = "/rows", body = "b" }.body)
  end)
end)
