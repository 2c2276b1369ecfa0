-- cancel_spec.lua: cancelling goes through whatever combines futures, down to tasklets, sleeps and requests, and stops
-- at what somebody else waits for. The end of a run is one of the cancellations.

local support = require "spec.tasklets.support" -- first: see leaks.lua

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"
local await, await_all, sleep, Future = tasklets.await, tasklets.await_all, tasklets.sleep, tasklets.Future
local go = support.go

local function is_cancelled(future)
  return future:done() and errors.is(future:get_exception(), errors.CancelledError)
end

-- What combines two futures: combine(a, b) waits for them, in a tasklet or a run.
local combinations = {
  ["await of one"] = function(a) await(a) end,
  ["await of several"] = function(a, b) await(a, b) end,
  await_all = function(a, b) await_all { a, { b } } end,
  ["await_all with fail_fast"] = function(a, b) await_all({ a, b }, { fail_fast = true }) end,
  wait_any = function(a, b) Future.wait_any { a, b } end,
  wait_all = function(a, b) Future.wait_all { a, b } end,
  MultiFuture = function(a, b)
    local multi = tasklets.MultiFuture()
    multi:add_dependent(a)
    multi:putq(b)
    multi:complete()
    await(multi)
  end,
  ReducingFuture = function(a, b)
    local sum = tasklets.ReducingFuture(function(list) return #list end)
    sum:add_dependent(a)
    sum:add_dependent(b)
    sum:complete()
    await(sum)
  end,
  with_timeout = function(a, b)
    await(tasklets.with_timeout(a, 50), tasklets.with_timeout(b, 50))
  end,
  ["with_timeout of a function"] = function(a, b)
    await(tasklets.with_timeout(function() await(a, b) end, 50))
  end,
  group = function(a, b)
    tasklets.group(function(g)
      g:spawn(function() await(a) end)
      await(b)
    end)
  end,
  ["a tasklet of tasklets"] = function(a, b)
    await(go(function() await(go(function() await(a, b) end)) end))
  end,
}

local names = {}
for name in pairs(combinations) do names[#names + 1] = name end
table.sort(names)

-- Whether the combination waits for b, too.
local function has_both(name)
  return name ~= "await of one"
end

describe("cancelling who waits through", function()
  before_each(support.start)
  after_each(support.finish)

  local function slow(note, name)
    return go(function()
      local _ <close> = setmetatable({}, { __close = function() note(name) end })
      await(sleep(100))
    end)
  end

  for _, name in ipairs(names) do
    local combine = combinations[name]

    it(name .. " cancels what only it waits for, tasklets and sleeps", function()
      local note, list = support.log()
      local a, b = slow(note, "a"), has_both(name) and slow(note, "b")
      local outer = go(combine, a, b or a)
      eventloop.queue_call(1, outer.cancel, outer)
      eventloop.run()
      table.sort(list)
      assert.same(b and { "a", "b" } or { "a" }, list)
      assert.is_true(is_cancelled(outer))
      assert.is_true(is_cancelled(a))
      assert.equal(1, support.time())
      assert.same({ 0, 0, 0, 0 }, { eventloop.pending() })
    end)

    it(name .. " leaves what somebody else waits for", function()
      local shared, alone = go(function() await(sleep(5)) return "shared" end), go(function() await(sleep(100)) end)
      local other = go(function() return await(shared) end)
      local outer = go(combine, shared, has_both(name) and alone or shared)
      eventloop.queue_call(1, outer.cancel, outer)
      assert.equal("shared", other:get_result())
      if has_both(name) then assert.is_true(is_cancelled(alone)) else alone:cancel() end
      assert.equal(5, support.time())
    end)

    it(name .. " leaves a future made by hand to whoever will complete it", function()
      local shared = Future()
      local outer = go(combine, shared, has_both(name) and Future() or shared)
      eventloop.run0()
      eventloop.queue_call(1, outer.cancel, outer)
      eventloop.run()
      assert.is_false(shared:done())
      shared:set_result(7)
      assert.equal(7, await(shared))
    end)
  end
end)

describe("cancelling", function()
  before_each(support.start)
  after_each(support.finish)

  local function nap() return go(function() await(sleep(100)) end) end

  it("a combination itself cancels its members", function()
    local a, b, c, d, e = nap(), nap(), nap(), nap(), nap()
    local multi = tasklets.MultiFuture()
    multi:add_dependent(a)
    multi:add_dependent(b)
    local sum = tasklets.ReducingFuture(function(list) return #list end)
    sum:add_dependent(c)
    local limited = tasklets.with_timeout(d, 50)
    local nested = tasklets.MultiFuture()
    nested:add_dependent(tasklets.with_timeout(e, 50))
    eventloop.run0()
    for _, future in ipairs { multi, sum, limited, nested } do
      assert.is_true(future:cancel("enough"))
      assert.equal("enough", future:get_exception().message)
      assert.is_false(future:cancel())
    end
    for _, member in ipairs { a, b, c, d, e } do assert.is_true(is_cancelled(member)) end
    eventloop.run()
    assert.equal(0, support.time())
  end)

  it("a limit of time leaves what somebody else waits for, when it is cancelled and not up", function()
    local shared = go(function() await(sleep(5)) return "shared" end)
    local other = go(function() return await(shared) end)
    eventloop.run0()
    eventloop.run0()
    tasklets.with_timeout(shared, 50):cancel()
    assert.equal("shared", other:get_result())
  end)

  it("what was cancelled with who waited for it can still be asked, and does not hang", function()
    local queue = tasklets.QueueFuture()
    local futures = { sleep(100), nap(), tasklets.with_timeout(nap(), 50), queue:getq() }
    for _, future in ipairs(futures) do
      local waiter = go(function() await(future) end)
      while eventloop.pending() > 0 do eventloop.run0() end
      waiter:cancel()
      assert.is_true(is_cancelled(future))
    end
    queue:putq("for another")
    assert.equal("for another", queue:getq():get_result())
    eventloop.run()
    assert.equal(0, support.time())
  end)

  it("an item that a getter of a SerialQueueFuture waits for goes to the next", function()
    for _, others in ipairs { 0, 1 } do
      local queue, item = tasklets.SerialQueueFuture(), Future()
      local first = go(function() return await(queue:getq()) end)
      local second = others > 0 and go(function() return await(queue:getq()) end)
      eventloop.run()
      queue:putq(item)
      first:cancel()
      second = second or go(function() return await(queue:getq()) end)
      eventloop.run0()
      item:set_result("item")
      assert.equal("item", second:get_result())
    end
  end)

  it("a tasklet that nobody waits for goes on", function()
    local note, list = support.log()
    local inner
    local outer = go(function()
      inner = go(function()
        await(sleep(5))
        note("done")
      end)
      await(sleep(100))
    end)
    eventloop.queue_call(1, outer.cancel, outer)
    eventloop.run()
    assert.same({ "done" }, list)
    assert.is_true(inner:done())
    assert.equal(5, support.time())
  end)
end)

describe("the end of a run", function()
  local engine
  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local START = 1700000000.0

  for _, name in ipairs(names) do
    it("whose time is up ends what it waits for through " .. name, function()
      local closed = 0
      local function slow()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        await(sleep(100))
      end
      local Class = helper.define {
        max_attempts = 1, timeout = 2,
        run = function()
          local a = go(slow)
          combinations[name](a, has_both(name) and go(slow) or a)
        end,
      }
      local stage = Class():start()
      assert.is_false((pcall(engine.wait, engine, stage)))
      assert.equal(has_both(name) and 2 or 1, closed)
      assert.equal(START + 2, engine:now())
      engine:drain { delayed = true }
      assert.equal(START + 2, engine:now())
      assert.is_true(pipeline.from_id(stage.id).was_aborted)
    end)
  end

  for _, name in ipairs(names) do
    it("whose tree is aborted ends what it waits for through " .. name, function()
      local closed, finalized = 0, 0
      local function slow()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        await(sleep(100))
      end
      local Class = helper.define {
        timeout = 50, finalized = function(self) finalized = self.was_aborted and finalized + 1 end,
        run = function()
          local a = go(slow)
          combinations[name](a, has_both(name) and go(slow) or a)
        end,
      }
      local stage = helper.define(function(self)
        self:spawn(Class())
        self:spawn(Class())
      end)():start()
      engine._core:spawn(function()
        engine:sleep(3)
        stage:abort("enough")
      end)
      engine:drain { delayed = true }
      assert.same({ has_both(name) and 4 or 2, 2 }, { closed, finalized })
      assert.equal(START + 3, engine:now())
      assert.same({ aborted = 3 }, helper.states(stage))
      assert.same({ 0, 0 }, { engine:status().executing, engine:status().waiting })
      assert.same({}, helper.log(30))
    end)
  end

  it("whose tree is aborted takes no longer when there are many of them", function()
    local N = 2000
    local closed = 0
    local Class = helper.define {
      run = function()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        await(sleep(100))
      end,
    }
    local stage = helper.define(function(self)
      for _ = 1, N do self:spawn(Class()) end
    end)():start()
    engine._core:spawn(function()
      engine:sleep(3)
      stage:abort("enough")
    end)
    engine:drain { delayed = true }
    assert.equal(N, closed)
    assert.equal(START + 3, engine:now())
    assert.same({ aborted = N + 1 }, helper.states(stage))
  end)

  it("whose tree is aborted may stand anywhere: in a sleep, a wait, a transaction, a request, a call of the store",
    function()
      engine:close()
      engine = helper.open { virtual_time = false }
      local Never = helper.define { async = true, run = function() end }
      local Quick = helper.define { run = function() end }
      local waits = {
        function() engine:sleep(60) end,
        function() engine:wait(Never():start()) end,
        function() engine:wait(Never():start(), { timeout = 60 }) end,
        function()
          engine:transaction(function(tx)
            tx:execute("CREATE TABLE IF NOT EXISTS lost (i INTEGER)")
            await(sleep(60))
          end)
        end,
        function() await(tasklets.fetch { url = engine.slow_url, deadline = 60 }) end,
        function()
          while true do Quick():start() end
        end,
      }
      local server = engine:serve { port = 0, admin_token = "token-of-the-spec" }
      rawset(engine, "slow_url", server.url .. "/slow")
      engine:route("GET", "/slow", function() engine:sleep(1) end)
      for i, wait in ipairs(waits) do
        local begun, closed
        local Class = helper.define {
          run = function()
            local _ <close> = setmetatable({}, { __close = function() closed = true end })
            begun = true
            wait()
          end,
        }
        local stage = Class():start()
        engine._core:spawn(function()
          while not begun do engine:sleep(0.001) end
          engine:sleep(0.01)
          stage:abort("enough")
        end)
        local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage, { timeout = 20 })
        assert.matches("enough", problem.reason, 1, true)
        assert.is_true(closed, "wait " .. i)
        assert.equal(0, engine:status().executing)
      end
    end)
end)
