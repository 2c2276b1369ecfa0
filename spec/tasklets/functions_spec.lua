-- functions_spec.lua: tasklets, and functions that return a tasklet's future, where the library takes a function: the
-- work is done when the future is, and its error is that of the function.

local support = require "spec.tasklets.support" -- first: see leaks.lua

local eventloop = require "pipeline.eventloop"
local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local helper = require "spec.support.helper"
local tasklets = require "pipeline.tasklets"
local await, sleep, tasklet = tasklets.await, tasklets.sleep, tasklets.tasklet

describe("a tasklet in the place of a function", function()
  local engine, calls

  -- Each kind of function is given once as a tasklet, and once as a function that ends with `return tasklet(...)`.
  local function both(title, test)
    it(title .. " (tasklet)", function() test(tasklet) end)
    it(title .. " (its future returned)", function()
      test(function(fn)
        local work = tasklet(fn)
        return function(...) return work(...) end
      end)
    end)
  end

  -- Fails at its first `failures` calls, each after a while.
  local function flaky(make, failures, result)
    return make(function(...)
      await(sleep(1))
      calls = calls + 1
      if calls <= failures then error("not yet") end
      return result, ...
    end)
  end

  before_each(function()
    calls = 0
    engine = helper.open { queues = { work = { retry_parameters = { min_backoff_seconds = 1 } } } }
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  both("run: its result is the output, and its errors are retried", function(make)
    local Class = helper.define { max_attempts = 3, run = flaky(make, 2, "done") }
    assert.equal("done", helper.result(Class()))
    assert.equal(3, calls)
  end)

  both("run: an error that stays aborts", function(make)
    local Class = helper.define { max_attempts = 2, run = flaky(make, 9) }
    local problem = helper.aborted(Class())
    assert.matches("not yet", problem.reason)
    assert.equal(2, calls)
  end)

  both("run: what it spawns belongs to it", function(make)
    local Child = helper.define { run = function(_, n) return n + 1 end }
    local Class = helper.define {
      run = make(function(self)
        await(sleep(1))
        self:in_order(make(function()
          await(sleep(1))
          self:spawn(Child(1))
          self:spawn(Child(5))
        end))
      end),
    }
    assert.equal(6, helper.result(Class()))
  end)

  both("finalized: the pipeline is final when it has ended, and it is called again after an error", function(make)
    local Class = helper.define { backoff_seconds = 1, run = function() return 1 end, finalized = flaky(make, 1) }
    local stage = Class():start()
    engine:wait(stage)
    assert.equal(2, calls)
    assert.equal("done", helper.record(stage).state)
  end)

  both("callback: answers with what the tasklet gives, and its error is no answer", function(make)
    local Class = helper.define {
      async = true, public_callbacks = true, run = function() end,
      callback = make(function(self, params)
        await(sleep(1))
        if params.fail then error("no") end
        self:complete(params.value)
        return 201, "text/plain", "thanks"
      end),
    }
    local stage = Class():start()
    engine:drain()
    local reply = engine:handle { path = stage:get_callback_url { fail = "1" } }
    assert.equal(500, reply.status)
    reply = engine:handle { path = stage:get_callback_url { value = "x" } }
    assert.same({ 201, "thanks" }, { reply.status, reply.body })
    assert.equal("x", engine:wait(stage).default.value)
  end)

  both("try_cancel: its answer counts", function(make)
    local agrees = false
    local Class = helper.define {
      async = true, run = function() end,
      try_cancel = make(function()
        await(sleep(1))
        return agrees
      end),
    }
    local stage = Class():start()
    engine:drain()
    assert.is_false(stage:retry())
    assert.is_false(stage:abort())
    agrees = true
    assert.is_true(stage:retry())
    assert.is_true(stage:abort())
    engine:drain { delayed = true }
    assert.equal("aborted", helper.record(stage).state)
  end)

  both("run_test and finalized_test", function(make)
    local Class = helper.define {
      async = true, run = function() end,
      run_test = make(function(self)
        await(sleep(1))
        self:complete("tested")
      end),
      finalized_test = flaky(make, 0),
    }
    local stage = Class()
    stage:start_test()
    assert.equal("tested", stage.outputs.default.value)
    assert.equal(1, calls)
    calls = 0
    local Failing = helper.define { run = function() end, run_test = flaky(make, 1) }
    local ok, problem = pcall(function() Failing():start_test() end)
    assert.is_false(ok)
    assert.matches("not yet", tostring(problem))
  end)

  both("a deferred call is done when its tasklet is, and is tried again after its error", function(make)
    local work = deferred.register(helper.name("work"), flaky(make, 2))
    deferred.with { queue = "work" }(work, 1)
    engine:drain()
    assert.equal(1, calls)
    engine:drain { delayed = true }
    assert.equal(3, calls)
    calls = 9
    assert.same({ nil, 7 }, { deferred.run(deferred.serialize(work, 7)) })
  end)

  both("a route answers with what the tasklet gives", function(make)
    engine:route("GET", "/slow", flaky(make, 1, 203))
    assert.equal(500, engine:handle { path = "/slow" }.status)
    assert.equal(203, engine:handle { path = "/slow" }.status)
  end)

  both("a transaction ends when the tasklet has", function(make)
    local Class = helper.define { run = function() return 1 end }
    local stage = Class()
    local result = engine:transaction(make(function(tx)
      tx:execute("CREATE TABLE note (text TEXT)")
      await(sleep(0.001))
      stage:start()
      tx:execute("INSERT INTO note VALUES (?)", "in")
      return "committed"
    end))
    assert.equal("committed", result)
    assert.equal(1, engine:wait(stage).default.value)
    assert.is_false((pcall(engine.transaction, engine, make(function(tx)
      tx:execute("INSERT INTO note VALUES (?)", "out")
      await(sleep(0.001))
      error("no")
    end))))
    engine:transaction(function(tx) assert.same({ { n = 1 } }, tx:query("SELECT count(*) AS n FROM note")) end)
  end)
end)

describe("a tasklet in the place of a function, without an engine:", function()
  before_each(support.start)
  after_each(support.finish)

  local function slow(result)
    await(sleep(5))
    return result
  end

  it("the time of with_timeout is that of the tasklet", function()
    local work = tasklet(slow)
    for _, fn in ipairs { work, function() return work("late") end } do
      support.raises(pipeline.TimeoutError, "not done after 2 s", await, tasklets.with_timeout(fn, 2))
    end
    assert.equal("in time", await(tasklets.with_timeout(function() return work("in time") end, 6)))
  end)

  it("a group ends with it", function()
    local note, list = support.log()
    local work = tasklet(function(...)
      await(sleep(1))
      note(...)
      return ...
    end)
    assert.equal("result", tasklets.group(tasklet(function(g)
      g:spawn(work, "spawned")
      g:spawn(function(...) return work(...) end, "returned")
      await(sleep(1))
      return work("result")
    end)):get_result())
    assert.same({ "spawned", "returned", "result" }, list)
  end)

  it("a tasklet of a tasklet is one, and synctasklet and toplevel wait for it", function()
    local work = tasklet(slow)
    assert.equal(1, await(tasklet(work)(1)))
    assert.equal(2, tasklets.synctasklet(work)(2))
    assert.equal(3, tasklets.toplevel(work)(3))
  end)

  it("the batch function of an AutoBatcher", function()
    local work = tasklet(function(batch)
      await(sleep(1))
      for _, item in ipairs(batch) do item.future:set_result(item.arg * 2) end
    end)
    for _, fn in ipairs { work, function(batch) return work(batch) end } do
      local batcher = tasklets.AutoBatcher(fn)
      assert.equal(8, await(batcher:add(4)))
    end
  end)

  it("an idle callback is called again when its tasklet has ended, and as that says", function()
    local note, list = support.log()
    local left = 3
    eventloop.add_idle(tasklet(function()
      await(sleep(1))
      left = left - 1
      note(support.time())
      if left > 0 then return true end
    end))
    eventloop.run()
    assert.same({ "1.0", "2.0", "3.0" }, list)
  end)
end)
