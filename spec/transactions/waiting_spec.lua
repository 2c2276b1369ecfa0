-- waiting_spec.lua: transactions that take their time: others wait, and are not lost; the time is limited.

local pipeline = require "pipeline"
local eventloop = require "pipeline.eventloop"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"
local helper = require "spec.support.helper"

local await, sleep, tasklet = tasklets.await, tasklets.sleep, tasklets.tasklet

for _, path in ipairs { "a file", ":memory:" } do
  describe("a transaction that takes time, on " .. path, function()
    local engine

    local function open(seconds)
      engine = helper.open {
        path = path == ":memory:" and path or nil, virtual_time = false, transaction_timeout = seconds or 30,
      }
      engine:transaction(function(tx) tx:execute("CREATE TABLE row (value)") end)
    end

    after_each(helper.finish)
    teardown(helper.clean)

    local function count(of)
      return engine:transaction(function(tx) return tx:query("SELECT count(*) AS n FROM " .. of)[1].n end)
    end

    -- A tasklet that holds a transaction until `gate` is done, and says when it has begun.
    local function holder(begun, gate, fails)
      return tasklet(function()
        return engine:transaction(function(tx)
          tx:execute("INSERT INTO row VALUES ('held')")
          begun:set_result(true)
          await(gate)
          if fails then error("no") end
          return "held"
        end)
      end)()
    end

    for _, fails in ipairs { false, true } do
      it("lets other tasklets wait, whether it " .. (fails and "fails" or "commits"), function()
        open()
        local begun, gate, order = tasklets.Future(), tasklets.Future(), {}
        local held = holder(begun, gate, fails)
        local adds, starts, transacts = {}, {}, {}
        local Give = helper.define(function(_, value) return value end)
        for i = 1, 3 do
          adds[i] = tasklet(function()
            await(begun)
            taskqueue.add { name = "t" .. i, url = "/" }
            order[#order + 1] = i
          end)()
          starts[i] = tasklet(function()
            await(begun)
            return Give(i):start()
          end)()
          transacts[i] = tasklet(function()
            await(begun)
            return engine:transaction(function(tx)
              tx:execute("INSERT INTO row VALUES (?)", i)
              await(sleep(0.01))
              return i
            end)
          end)()
        end
        tasklet(function()
          await(begun, sleep(0.1))
          assert(#order == 0, "somebody did not wait")
          gate:set_result(true)
        end)():get_result()
        assert.equal(not fails, (pcall(held.get_result, held)))
        for i = 1, 3 do
          adds[i]:get_result()
          assert.equal(i, transacts[i]:get_result())
          assert.equal(i, engine:wait(starts[i]:get_result()).default.value)
        end
        assert.equal(fails and 3 or 4, count("row"))
      end)
    end

    it("takes what its tasklets do, and what they start, but not what others do", function()
      open()
      local outside = tasklet(function()
        await(sleep(0.02))
        taskqueue.add { name = "outside", countdown = 1000 }
        return "added"
      end)()
      local ok = pcall(engine.transaction, engine, function(tx)
        local inner = tasklet(function(n)
          taskqueue.add { name = "inside" .. n, countdown = 1000 }
          await(sleep(0.05))
          tx:execute("INSERT INTO row VALUES (?)", n)
        end)
        tasklets.await_all { inner(1), inner(2), tasklet(function() return await(inner(3)) end)() }
        assert.equal(3, #tx:query("SELECT * FROM row"))
        assert.equal(3, tx:query("SELECT count(*) AS n FROM pl_task")[1].n)
        error("no")
      end)
      assert.is_false(ok)
      assert.equal("added", outside:get_result())
      assert.same({ 0, 1 }, { count("row"), count("pl_task") })
    end)

    it("a tasklet that outlives it cannot add to it any more", function()
      open()
      local gate, late = tasklets.Future(), nil
      engine:transaction(function()
        late = tasklet(function()
          await(gate)
          helper.raises(taskqueue.BadTransactionStateError, taskqueue.add, { url = "/" })
          taskqueue.add { url = "/", countdown = 1000, transactional = false }
          return engine:transaction(function(tx) return tx:query("SELECT count(*) AS n FROM pl_task")[1].n end)
        end)()
        await(sleep(0))
      end)
      gate:set_result(true)
      assert.equal(1, late:get_result())
    end)

    it("runs of pipelines take turns, and nothing they do is lost", function()
      open()
      local Adds = helper.define(function(_, n)
        return engine:transaction(function(tx)
          local before = tx:query("SELECT count(*) AS n FROM row")[1].n
          engine:sleep(0.001)
          tx:execute("INSERT INTO row VALUES (?)", n)
          assert(tx:query("SELECT count(*) AS n FROM row")[1].n == before + 1)
          taskqueue.add { url = "/", countdown = 1000 }
        end)
      end)
      local Counts = helper.define(function(_, n) return n end)
      local stages = {}
      for n = 1, 30 do stages[n] = (n % 3 == 0 and Counts or Adds)(n):start() end
      for n = 1, 30 do engine:wait(stages[n], { timeout = 20 }) end
      assert.same({ 20, 20 }, { count("row"), count("pl_task") })
    end)

    it("what a run left behind when its time was up is rolled back, and what comes later comes", function()
      open()
      local Late = helper.define { timeout = 0.1, max_attempts = 1, run = function()
        engine:transaction(function(tx)
          tx:execute("INSERT INTO row VALUES (1)")
          taskqueue.add { url = "/", countdown = 1000, name = "later", transactional = false }
          engine:sleep(60)
        end)
      end }
      local stage = Late():start()
      helper.raises(pipeline.AbortedError, engine.wait, engine, stage, { timeout = 10 })
      assert.same({ 0, 1 }, { count("row"), count("pl_task") })
    end)

    it("held too long by waiting: rolled back, and the file is free meanwhile", function()
      open(0.2)
      local begun, first = tasklets.Future(), nil
      local held = tasklet(function()
        return engine:transaction(function(tx)
          tx:execute("INSERT INTO row VALUES (1)")
          taskqueue.add { url = "/", name = "lost" }
          begun:set_result(true)
          await(sleep(1.5))
          first = select(2, pcall(tx.query, tx, "SELECT 1"))
        end)
      end)()
      tasklet(function()
        await(begun)
        local before = engine:now()
        taskqueue.add { url = "/", name = "lost", countdown = 1000 }
        assert(engine:now() - before < 1.2, "it waited for the function, not for the limit")
      end)():get_result()
      local ok, problem = pcall(held.get_result, held)
      assert.is_false(ok)
      assert.is_true(pipeline.is(problem, pipeline.TimeoutError))
      assert.truthy(problem.message:find("held longer than 0.2 s and has been rolled back", 1, true))
      assert.is_true(pipeline.is(first, pipeline.TimeoutError))
      assert.same({ 0, 1 }, { count("row"), count("pl_task") })
    end)

    it("held too long by a busy loop: the next thing it does says so", function()
      open(0.1)
      local before = engine._core:facts().commits
      for _, does in ipairs { "nothing", "execute", "add" } do
        local problem = helper.raises(pipeline.TimeoutError, engine.transaction, engine, function(tx)
          tx:execute("INSERT INTO row VALUES (1)")
          local till = os.clock() + 0.3
          repeat until os.clock() > till
          if does == "execute" then tx:execute("INSERT INTO row VALUES (2)") end
          if does == "add" then taskqueue.add { url = "/" } end
        end)
        assert.truthy(problem.message:find("held longer than 0.1 s", 1, true))
      end
      assert.equal(before, engine._core:facts().commits)
      assert.same({ 0, 0 }, { count("row"), count("pl_task") })
    end)

    it("held too long by one statement: it is interrupted", function()
      open(0.2)
      local endless = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
      for _, what in ipairs { "SELECT count(*) FROM c", "INSERT INTO row SELECT x FROM c WHERE x < 0" } do
        local sql = endless .. what
        local before = engine:now()
        local problem = helper.raises(pipeline.TimeoutError, engine.transaction, engine, function(tx)
          tx:execute("INSERT INTO row VALUES (1)")
          tx:execute(sql)
        end)
        assert.truthy(problem.message:find("ran longer", 1, true))
        assert(engine:now() - before < 5)
        -- Who overlooks it does not commit either.
        helper.raises(pipeline.TimeoutError, engine.transaction, engine, function(tx) pcall(tx.execute, tx, sql) end)
      end
      assert.equal(0, count("row"))
    end)

    it("a callback of the loop, which cannot wait, is told so at once", function()
      open()
      local begun, gate = tasklets.Future(), tasklets.Future()
      local held = holder(begun, gate)
      local problem
      tasklet(function()
        await(begun)
        eventloop.queue_call(0, function()
          problem = select(2, pcall(taskqueue.add, { url = "/" }))
          gate:set_result(true)
        end)
      end)()
      assert.equal("held", held:get_result())
      assert.is_true(pipeline.is(problem, pipeline.TaskletError), tostring(problem))
    end)

    it("a script waits by running the loop", function()
      open()
      local begun, gate = tasklets.Future(), tasklets.Future()
      local held = holder(begun, gate)
      begun:get_result()
      tasklet(function()
        await(sleep(0.05))
        gate:set_result(true)
      end)()
      taskqueue.add { url = "/", countdown = 1000 }
      assert.is_true(held:done())
      assert.same({ 1, 1 }, { count("row"), count("pl_task") })
    end)

    it("a tasklet that is cancelled in it rolls back", function()
      open()
      local begun, gate = tasklets.Future(), tasklets.Future()
      local held = holder(begun, gate)
      begun:get_result()
      held:cancel()
      assert.same({ 0, 0 }, { count("row"), count("pl_task") })
    end)

    it("drain waits for what is under way", function()
      open()
      local Sleeps = helper.define(function()
        return engine:transaction(function(tx)
          tx:execute("INSERT INTO row VALUES (1)")
          engine:sleep(0.1)
        end)
      end)
      Sleeps():start()
      engine:drain { timeout = 10 }
      assert.equal(1, count("row"))
    end)

    it("is rolled back when the engine is closed meanwhile", function()
      open()
      local begun, gate = tasklets.Future(), tasklets.Future()
      local held = holder(begun, gate)
      begun:get_result()
      local waits = tasklet(taskqueue.add)({ url = "/" })
      tasklets.sleep(0.01):get_result()
      local before = os.time()
      engine:close()
      local problem = helper.raises(pipeline.Error, waits.get_result, waits)
      assert.truthy(problem.message:find("closed", 1, true))
      assert(os.time() - before < 20)
      gate:set_result(true)
      problem = helper.raises(pipeline.TransactionError, held.get_result, held)
      assert.truthy(problem.message:find("closed", 1, true))
      if path == ":memory:" then return end
      engine = helper.open { path = engine._path, virtual_time = false }
      assert.equal(0, count("row"))
    end)

    it("runs suspended in transactions are given back when the engine is closed", function()
      open()
      local Holds = helper.define(function()
        engine:transaction(function(tx)
          tx:execute("INSERT INTO row VALUES (1)")
          engine:sleep(60)
        end)
      end)
      for _ = 1, 3 do Holds():start() end
      pcall(engine.drain, engine, { timeout = 0.2 })
      engine:close()
      if path == ":memory:" then return end
      engine = helper.open { path = engine._path, virtual_time = false, no_worker = true }
      assert.same({ 0, 3 }, { count("row"), count("pl_task WHERE state = 0") })
    end)
  end)
end

describe("a transaction, beside another engine of the process on its file,", function()
  local engine, other

  before_each(function()
    engine = helper.open { virtual_time = false, transaction_timeout = 30 }
    local directory, name = engine._path:match("^(.*)/(.-)$")
    other = helper.open { path = directory .. "/./" .. name, virtual_time = false, transaction_timeout = 30 }
    engine:transaction(function(tx) tx:execute("CREATE TABLE row (value)") end)
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("says at once that this one cannot write, and goes on", function()
    local Give = helper.define(function(_, value) return value end)
    local clock <const> = os.time()
    engine:transaction(function(tx)
      local problem = helper.raises(pipeline.TransactionError, function() Give(1):start { engine = other } end)
      assert.truthy(problem.message:find("another engine on the same file", 1, true))
      helper.raises(pipeline.TransactionError, other.drain, other)
      helper.raises(pipeline.TransactionError, other.transaction, other, function() end)
      problem = helper.raises(pipeline.TransactionError, pipeline.open, engine._path)
      assert.truthy(problem.message:find(engine._path, 1, true))
      assert.equal(engine._path:match("[^/]*$"), other:status().store.path:match("[^/]*$")) -- who only reads can
      tx:execute("INSERT INTO row VALUES (1)")
    end)
    assert.is_true(os.time() - clock < 20)
    local stage = Give(2):start { engine = other }
    assert.equal(2, other:wait(stage).default.value)
    assert.equal(1, other:transaction(function(tx) return tx:query("SELECT count(*) AS n FROM row")[1].n end))
  end)

  it("makes those wait who write through this one, while the loop goes on", function()
    local begun, order = tasklets.Future(), {}
    local held = tasklet(function()
      engine:transaction(function(tx)
        tx:execute("INSERT INTO row VALUES (1)")
        begun:set_result(true)
        sleep(0.05)
        order[#order + 1] = "first"
      end)
    end)()
    begun:get_result()
    assert.equal(1, other:transaction(function(tx)
      order[#order + 1] = "second"
      return tx:query("SELECT count(*) AS n FROM row")[1].n
    end))
    held:get_result()
    assert.same({ "first", "second" }, order)
  end)

  it("gives the file back when its own engine is closed", function()
    local begun, gate = tasklets.Future(), tasklets.Future()
    local held = tasklet(function()
      engine:transaction(function(tx)
        tx:execute("INSERT INTO row VALUES (1)")
        begun:set_result(true)
        await(gate)
      end)
    end)()
    begun:get_result()
    local waits = tasklet(other.transaction)(other, function(tx)
      return tx:query("SELECT count(*) AS n FROM row")[1].n
    end)
    local clock <const> = os.time()
    sleep(0.01):get_result()
    engine:close()
    assert.equal(0, waits:get_result())
    assert.is_true(os.time() - clock < 20)
    gate:set_result(true)
    assert.is_false((pcall(held.get_result, held)))
  end)
end)
