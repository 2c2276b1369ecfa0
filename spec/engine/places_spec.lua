-- places_spec.lua: a run that waits inside the engine takes no place of `concurrency`; when it is woken it gets one.

local helper = require "spec.support.helper"
local pace = require "spec.support.pace"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"
local await, sleep = tasklets.await, tasklets.sleep

local MANY = pace == 10 and 200 or 1000 -- who watches races keeps megabytes of each when they are many
local START = 1700000000.0

describe("a run that waits", function()
  local engine

  local function open(options)
    options.transaction_timeout = 60 -- a thousand are started in one, on a machine that may have other work
    engine = helper.open(options)
  end

  after_each(function()
    if not engine._closed then
      local facts = engine._core:facts()
      assert.same({ 0, 0 }, { facts.executing, facts.waiting })
    end
    helper.finish()
  end)
  teardown(helper.clean)

  local function start_all(Class, n)
    local stages = {}
    engine:transaction(function()
      for i = 1, n do stages[i] = Class(i):start() end
    end)
    return stages
  end

  local function check_values(stages)
    for i, stage in ipairs(stages) do
      assert.equal(i, engine:wait(stage, { timeout = 0 }).default.value)
    end
  end

  for _, virtual in ipairs { true, false } do
    local function it_holds(title, test)
      it(title .. (virtual and " (virtual time)" or " (real time)"), function()
        open { concurrency = 1, virtual_time = virtual }
        test()
      end)
    end

    it_holds("for a pipeline it has started lets that run: 1,000 of them at concurrency 1", function()
      local most = 0
      local Child = helper.define { run = function(_, i) return i end }
      local Parent = helper.define {
        run = function(_, i)
          local value = engine:wait(Child(i):start()).default.value
          most = math.max(most, engine:status().waiting)
          return value
        end,
      }
      local stages = start_all(Parent, MANY)
      engine:drain { timeout = 60 * pace }
      check_values(stages)
      assert.is_true(most > 1, most)
    end)

    it_holds("for time: 1,000 sleeps at concurrency 1 take no longer than one", function()
      local seconds = virtual and 100 or 0.5
      local ways = {
        function() engine:sleep(seconds) end,
        function() await(sleep(seconds)) end,
        function() await(tasklets.tasklet(function() await(sleep(seconds)) end)()) end,
      }
      local Class = helper.define {
        run = function(_, i)
          ways[i % #ways + 1]()
          return i
        end,
      }
      local started = engine:now()
      local stages = start_all(Class, MANY)
      engine:drain { timeout = virtual and 1000 or 60 }
      check_values(stages)
      if virtual then assert.is_true(engine:now() - started < 101) end
      assert.is_true(engine:now() - started < MANY * seconds / 4)
    end)

    it_holds("for what other runs do: all but the last wait for the last", function()
      local all_here, here = tasklets.Future(), 0
      local Class = helper.define {
        run = function(_, i)
          here = here + 1
          if here == MANY then all_here:set_result() end
          await(all_here)
          return i
        end,
      }
      local stages = start_all(Class, MANY)
      engine:drain { timeout = 60 * pace }
      check_values(stages)
    end)
  end

  it("for answers: its requests are under way together", function()
    open { concurrency = 1, virtual_time = false }
    local waiting, all_here = 0, tasklets.Future()
    local server = engine:serve { port = 0 }
    engine:route("GET", "/gather", function()
      waiting = waiting + 1
      if waiting == 50 then all_here:set_result() end
      await(all_here)
      return 200, "text/plain", "together"
    end)
    local Class = helper.define {
      run = function() return await(tasklets.fetch { url = server.url .. "/gather", deadline = 30 }).body end,
    }
    local stages = start_all(Class, 50)
    engine:drain { timeout = 60 * pace }
    for _, stage in ipairs(stages) do assert.equal("together", engine:wait(stage, { timeout = 0 }).default.value) end
  end)

  it("for a place counts again: never more are at work than places", function()
    for _, places in ipairs { 1, 3 } do
      open { concurrency = places, virtual_time = false }
      local at_work, most = 0, 0
      local Child = helper.define { run = function() end }
      -- Starting a pipeline waits for the commit: that is work, and keeps the place.
      local function work()
        at_work = at_work + 1
        most = math.max(most, at_work)
        Child():start()
        at_work = at_work - 1
      end
      local Class = helper.define {
        run = function(_, i)
          for _ = 1, 3 do
            work()
            await(sleep(0.001 * (i % 3)))
          end
          work()
          return i
        end,
      }
      local stages = start_all(Class, 60)
      engine:drain { timeout = 60 * pace }
      check_values(stages)
      assert.equal(places, most)
      engine:close()
    end
  end)

  it("goes on though new tasks come all the time, and they though it is woken all the time", function()
    open { concurrency = 1, virtual_time = false }
    local woken, tasks, over = { 0, 0 }, 0, false
    local Other
    Other = helper.define {
      run = function()
        tasks = tasks + 1
        over = over or tasks >= 40 and woken[1] >= 40 and woken[2] >= 40
        if not over then Other():start() end
      end,
    }
    local Waker = helper.define {
      run = function(_, i)
        while not over do
          await(sleep(0))
          woken[i] = woken[i] + 1
        end
      end,
    }
    start_all(Waker, 2)
    Other():start()
    Other():start()
    engine:drain { timeout = 30 * pace } -- until all have had their turns
    assert.is_true(over)
  end)

  it("is woken in the order in which what they waited for came, one after the other", function()
    open { concurrency = 1 }
    local list = {}
    local gate = tasklets.Future()
    local Class = helper.define {
      run = function(_, i)
        await(sleep(i))
        await(gate)
        list[#list + 1] = i
      end,
    }
    start_all(Class, 20)
    engine._core:spawn(function()
      engine:sleep(50)
      gate:set_result()
    end)
    engine:drain { delayed = true }
    local expected = {}
    for i = 1, 20 do expected[i] = i end
    assert.same(expected, list)
  end)

  it("whose time is up while it waits for its place has failed, and takes nothing with it", function()
    open { concurrency = 1 }
    local Holder = helper.define {
      run = function()
        await(sleep(1))
        engine._core:stage_get(1) -- time passes only while nothing is under way
        engine:advance(10)
      end,
    }
    local Late = helper.define {
      max_attempts = 1, timeout = 5,
      run = function() await(sleep(1)) engine._core:stage_get(1) return "in time" end,
    }
    local stages = { Holder():start(), Late():start(), Late():start() }
    engine:drain { delayed = true }
    assert.equal("done", helper.record(stages[1]).state)
    for i = 2, 3 do assert.truthy(({ done = true, aborted = true })[helper.record(stages[i]).state]) end
  end)

  it("counts in the concurrency of its queue", function()
    open { concurrency = 8, queues = { narrow = { max_concurrent_requests = 2 } } }
    local waiting, most = 0, 0
    local Class = helper.define {
      queue_name = "narrow",
      run = function()
        waiting = waiting + 1
        most = math.max(most, waiting)
        await(sleep(1))
        waiting = waiting - 1
      end,
    }
    start_all(Class, 10)
    engine:drain { delayed = true }
    assert.equal(2, most)
    assert.is_true(engine:now() >= START + 5)
  end)

  it("keeps its place when those that wait take the memory they may, which is said once", function()
    open { concurrency = 2, waiting_memory = "100K" }
    local most = 0
    local Class = helper.define {
      run = function(_, i)
        await(sleep(10))
        most = math.max(most, engine:status().executing)
        return i
      end,
    }
    local stages = start_all(Class, 200)
    engine:drain { delayed = true }
    check_values(stages)
    assert.is_true(most >= 4 and most < 20, most)
    local said = 0
    for _, line in ipairs(helper.log(30)) do said = said + (line:find("waiting_memory", 1, true) and 1 or 0) end
    assert.is_true(said >= 1 and said < 30, said)
    helper.raises(pipeline.ConfigurationError, pipeline.open, ":memory:", { waiting_memory = "lots" })
  end)

  it("inside a transaction goes on at once, for others wait for its end", function()
    open { concurrency = 1, virtual_time = false }
    local Child = helper.define { run = function() return 1 end }
    local Class = helper.define {
      run = function(_, i)
        engine:transaction(function(tx)
          tx:execute("CREATE TABLE IF NOT EXISTS note (i INTEGER)")
          await(sleep(0.01))
          tx:execute("INSERT INTO note VALUES (?)", i)
          Child():start()
        end)
        return i
      end,
    }
    local stages = start_all(Class, 20)
    engine:drain { timeout = 60 * pace }
    check_values(stages)
    engine:transaction(function(tx) assert.same({ { n = 20 } }, tx:query("SELECT count(*) AS n FROM note")) end)
  end)

  it("may be a deferred call, a callback, finalized, or a route that serves a task", function()
    open { concurrency = 1 }
    local here, all_here = 0, tasklets.Future()
    local function meet()
      here = here + 1
      if here == 8 then all_here:set_result() end
      await(all_here)
    end
    engine:route("POST", "/meet", function()
      meet()
      return 200
    end)
    local Done = helper.define { run = function() end, finalized = meet }
    local Async = helper.define {
      async = true, run = function() end,
      callback = function(self)
        meet()
        self:complete()
      end,
    }
    local async = { Async():start(), Async():start() }
    engine:drain()
    local deferred = require "pipeline.deferred"
    local call = deferred.register(helper.name("meet"), meet)
    for i = 1, 2 do
      deferred.defer(call)
      taskqueue.add { url = "/meet" }
      Done():start()
      taskqueue.Queue("default"):add(async[i]:get_callback_task {})
    end
    engine:drain()
    assert.equal(8, here)
    for i = 1, 2 do assert.equal("done", helper.record(async[i]).state) end
  end)

  it("is given back when the engine closes, wherever it waits", function()
    local path = helper.path()
    open { path = path, concurrency = 1 }
    local runs, quick = 0, false
    local Class = helper.define {
      run = function(_, i)
        runs = runs + 1
        if not quick then await(sleep(i)) end
        return i
      end,
    }
    local ids = {}
    for i, stage in ipairs(start_all(Class, 30)) do ids[i] = stage.id end
    helper.raises(pipeline.TimeoutError, engine.drain, engine, { timeout = 10.5 })
    assert.equal(20, engine:status().waiting)
    engine:close()
    quick = true
    open { path = path, concurrency = 1 }
    engine:drain()
    assert.equal(50, runs)
    for i, id in ipairs(ids) do assert.equal(i, pipeline.from_id(id).outputs.default.value) end
  end)
end)
