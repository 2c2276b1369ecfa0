-- The end of an engine while others wait for it: each of them hears that it is closed.

local pipeline = require "pipeline"
local eventloop = require "pipeline.eventloop"
local helper = require "spec.support.helper"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"

local await, sleep, tasklet = tasklets.await, tasklets.sleep, tasklets.tasklet
local Give = helper.define(function(_, value) return value end)
local Open = helper.define { async = true, run = function() end }

-- The error must say that the engine is closed.
local function check_closed(problem)
  if not pipeline.is(problem, pipeline.StoreError) or problem.code ~= "ECLOSED" then
    error("an error that says closed expected, got: " .. tostring(problem), 2)
  end
  assert.is_truthy(problem.message:find("closed", 1, true), problem.message)
end

local function check_raises_closed(fn, ...)
  local ok, problem = pcall(fn, ...)
  assert.is_false(ok)
  check_closed(problem)
end

-- What a tasklet waits for, by its name: fn(engine, stage).
local waits = {
  ["for a pipeline"] = function(engine, stage) engine:wait(stage) end,
  ["for a pipeline by its id"] = function(engine, stage) engine:wait(stage.id) end,
  ["for a pipeline, so long and no longer"] = function(engine, stage) engine:wait(stage, { timeout = 1000 }) end,
  ["to sleep on its clock"] = function(engine) engine:sleep(1000) end,
}

-- The same, while a transaction is held.
local waits_of_commits = {
  ["for another transaction to end"] = function(engine) engine:transaction(function() end) end,
  ["to add a task"] = function() taskqueue.add { url = "/x" } end,
  ["to start a pipeline"] = function(engine) Give(1):start { engine = engine } end,
}

for _, kind in ipairs { "virtual", "real" } do
  describe("closing an engine (" .. kind .. " time)", function()
    local engine, stage
    local function open(options)
      options = options or {}
      if kind == "real" then options.virtual_time = false end
      return helper.open(options)
    end

    before_each(function()
      engine = open { transaction_timeout = 60 }
      stage = Open():start()
      engine:drain()
    end)
    after_each(function()
      collectgarbage()
      helper.finish()
    end)
    teardown(helper.clean)

    -- Starts a tasklet, and lets it go as far as it can.
    local function begin(fn, ...)
      local started = tasklets.Future()
      local one = tasklet(function(...)
        started:set_result(true)
        return fn(...)
      end)(...)
      started:get_result()
      for _ = 1, 3 do engine:step() end
      return one
    end

    for name, wait in pairs(waits) do
      it("wakes a tasklet that waits " .. name, function()
        local one = begin(wait, engine, stage)
        assert.is_false(one:done())
        engine:close()
        check_closed(one:get_exception())
      end)
    end

    for name, wait in pairs(waits_of_commits) do
      it("wakes a tasklet that waits " .. name, function()
        local begun, gate = tasklets.Future(), tasklets.Future()
        local holder = begin(function()
          engine:transaction(function()
            begun:set_result(true)
            await(gate)
          end)
        end)
        begun:get_result()
        local one = begin(wait, engine)
        assert.is_false(one:done())
        engine:close()
        gate:set_result(true)
        check_closed(one:get_exception())
        assert.is_truthy(pipeline.is(holder:get_exception(), pipeline.TransactionError))
      end)
    end

    it("wakes all of a hundred tasklets, and each of them once", function()
      local woken, all = 0, {}
      for i = 1, 100 do
        all[i] = tasklet(function()
          local ok, problem = pcall(engine.wait, engine, stage)
          woken = woken + 1
          assert.is_false(ok)
          check_closed(problem)
        end)()
      end
      begin(function() end)
      engine:close()
      engine:close()
      for _, one in ipairs(all) do one:get_result() end
      assert.equal(100, woken)
    end)

    it("in a tasklet wakes whoever called wait, drain or sleep, and ends run", function()
      local names = { "wait", "drain", "sleep", kind == "real" and "run" or nil }
      for _, name in ipairs(names) do
        local closer = tasklet(function()
          await(sleep(0.01))
          engine:close()
        end)()
        helper.define(function() await(sleep(1000)) end)():start { engine = engine }
        local calls = {
          wait = function() engine:wait(stage) end, drain = function() engine:drain { delayed = true } end,
          sleep = function() engine:sleep(100) end,
        }
        if name == "run" then engine:run() else check_raises_closed(calls[name]) end
        assert.is_nil(closer:get_exception())
        check_raises_closed(engine.status, engine)
        engine = open()
        stage = Open():start()
      end
    end)

    it("in a run gives that back when it waits, and keeps what it did when it ends", function()
      local path, ran = engine._path, 0
      local Waits = helper.define(function(self)
        ran = ran + 1
        if ran > 1 then return "again" end
        engine:close()
        await(sleep(0))
        return self
      end)
      local Ends = helper.define(function()
        engine:close()
        return "ended"
      end)
      local first = Waits():start { idempotence_key = "first" }
      check_raises_closed(engine.wait, engine, first)
      engine = open { path = path }
      assert.equal("again", engine:wait("first").default.value)
      local second = Ends():start { engine = engine, idempotence_key = "second" }
      check_raises_closed(engine.wait, engine, second)
      engine = open { path = path }
      assert.equal("ended", engine:wait("second").default.value)
      assert.same({ engine:from_id("second").current_attempt, 2 }, { engine:from_id("first").current_attempt, ran })
    end)

    it("closes the variables of what it executes", function()
      local closed, started = 0, 0
      local Sleeps = helper.define(function()
        started = started + 1
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        await(sleep(1000))
      end)
      for _ = 1, 5 do Sleeps():start() end
      while started < 5 do engine:step() end
      engine:close()
      assert.equal(5, closed)
    end)

    it("leaves tasklets alone that wait for nothing of it", function()
      local gate = tasklets.Future()
      local one = begin(function() return await(gate) end)
      engine:close()
      gate:set_result(7)
      assert.equal(7, one:get_result())
    end)
  end)
end

for _, kind in ipairs { "virtual", "real" } do
  describe("two engines on one file (" .. kind .. " time)", function()
    local A, B
    before_each(function()
      A = helper.open { virtual_time = kind == "virtual", transaction_timeout = 60 }
      B = helper.open { path = A._path, virtual_time = kind == "virtual", transaction_timeout = 60 }
      A:transaction(function(tx) tx:execute("CREATE TABLE row (value)") end)
    end)
    after_each(helper.finish)
    teardown(helper.clean)

    local function count()
      return A:transaction(function(tx) return tx:query("SELECT count(*) AS n FROM row")[1].n end)
    end

    it("closing one in a transaction of the other waits for nobody", function()
      local clock = eventloop.now()
      A:transaction(function(tx)
        tx:execute("INSERT INTO row VALUES (1)")
        B:close()
        B:close()
        check_raises_closed(B.status, B)
        assert.is_not_nil(B._core:facts()) -- the store is left when the file is free
        tx:execute("INSERT INTO row VALUES (2)")
      end)
      assert.is_nil((B._core:facts()))
      assert.equal(2, count())
      assert.is_true(eventloop.now() - clock < 20)
      A:drain()
      assert.equal(1, A:status().workers)
    end)

    it("closing one while a tasklet holds a transaction of the other waits for nobody", function()
      local begun, gate = tasklets.Future(), tasklets.Future()
      local holder = tasklet(function()
        A:transaction(function(tx)
          tx:execute("INSERT INTO row VALUES (1)")
          begun:set_result(true)
          await(gate)
        end)
      end)()
      begun:get_result()
      B:close()
      assert.is_false(holder:done())
      gate:set_result(true)
      holder:get_result()
      assert.is_nil((B._core:facts()))
      assert.equal(1, count())
    end)

    it("closing both while a transaction is held ends both", function()
      local begun, gate = tasklets.Future(), tasklets.Future()
      local holder = tasklet(function()
        A:transaction(function(tx)
          tx:execute("INSERT INTO row VALUES (1)")
          begun:set_result(true)
          await(gate)
        end)
      end)()
      begun:get_result()
      B:close()
      A:close()
      assert.is_nil((B._core:facts()))
      gate:set_result(true)
      helper.raises(pipeline.TransactionError, holder.get_result, holder)
      A = helper.open { path = A._path }
      assert.equal(0, count())
    end)

    it("a transaction that is lost lets the other one be closed, too", function()
      helper.raises(pipeline.Error, A.transaction, A, function()
        B:close()
        error(pipeline.Error "no")
      end)
      assert.is_nil((B._core:facts()))
      assert.equal(0, count())
    end)
  end)
end
