-- Tasklets and an engine: what an engine calls may await, and both ways of running drive both.

local eventloop = require "pipeline.eventloop"
local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local support = require "spec.tasklets.support"
local tasklets = require "pipeline.tasklets"

local await, sleep = tasklets.await, tasklets.sleep
local prepare = require("pipeline.tasklet.task").prepare

local function go(fn, ...) return tasklets.tasklet(fn)(...) end

local function ways(name, test)
  it(name .. " (virtual time)", function()
    test(helper.open {})
  end)
  it(name .. " (real time)", function()
    test(helper.open { virtual_time = false, virtual_start = false or nil })
  end)
end

describe("tasklets and an engine", function()
  before_each(support.start_real)
  after_each(function() support.finish_real(helper.finish) end)
  teardown(helper.clean)

  ways("a run may await, and others go on meanwhile", function(engine)
    local inside, most = 0, 0
    local Class = helper.define(function(_, n)
      inside = inside + 1
      most = math.max(most, inside)
      await(sleep(0.02))
      local twice = await(go(function()
        await(sleep(0.01))
        return n * 2
      end))
      inside = inside - 1
      return twice
    end)
    local stages = {}
    for i = 1, 5 do
      stages[i] = Class(i)
      stages[i]:start()
    end
    for i = 1, 5 do assert.equal(i * 2, engine:wait(stages[i]).default.value) end
    assert.equal(5, most)
  end)

  ways("one that is begun inside a run is a tasklet all the same, and the run goes on where it waits", function(engine)
    local note, list = support.log()
    local core = engine._core
    local Class = helper.define(function()
      local function body(n)
        note(("%d begins: %s %s"):format(n, tasklets.in_tasklet(), core:is_resuming()))
        if n == 2 then await(sleep(0.01)) end
        note(n .. " ends")
        return n
      end
      local first = prepare(body, 1, 1)
      local second = prepare(body, 1, 2)
      note "prepared"
      first:go()
      second:go()
      note(("run: %s %s %s"):format(first:done(), second:done(), core:is_resuming()))
      return await(first) + await(second)
    end)
    local stage = Class()
    stage:start()
    assert.equal(3, engine:wait(stage).default.value)
    assert.same({
      "prepared", "1 begins: true false", "1 ends", "2 begins: true false", "run: true false true", "2 ends",
    }, list)
  end)

  ways("a context ends with the run that has made it, and so do local values", function(engine)
    local seen, threads = {}, {}
    local Class = helper.define(function(_, n)
      local context = tasklets.get_context()
      seen[n] = { context.mark or "none", tasklets.get_local("user") or "none" }
      context.mark = n
      tasklets.set_local("user", n)
      threads[coroutine.running()] = true
      await(sleep(0))
      assert(tasklets.get_context() == context and tasklets.get_local("user") == n)
      return n
    end)
    for n = 1, 3 do
      local stage = Class(n)
      stage:start()
      assert.equal(n, engine:wait(stage).default.value)
    end
    assert.same({ { "none", "none" }, { "none", "none" }, { "none", "none" } }, seen)
    assert.is_nil(next(threads, (next(threads)))) -- or it would prove nothing
  end)

  ways("finalized and callback may await", function(engine)
    local list = {}
    local Class = helper.define {
      async = true, public_callbacks = true,
      run = function() end,
      callback = function(self, params)
        await(sleep(0.01))
        self:complete(params.value)
        return 200, "text/plain", "thanks"
      end,
      finalized = function()
        await(sleep(0.01))
        list[#list + 1] = "finalized"
      end,
    }
    local stage = Class()
    stage:start()
    engine:drain()
    engine._core:spawn(function()
      local status = require("pipeline.workflow.execute").run_callback(engine,
        pipeline.from_id(stage.id), { value = 7 }, { is_admin = true })
      list[#list + 1] = status
    end)
    engine:sleep(0.05)
    assert.equal(7, engine:wait(stage).default.value)
    assert.same({ 200, "finalized" }, list)
  end)

  ways("a tasklet may wait for a pipeline", function(engine)
    local Class = helper.define(function(_, n)
      await(sleep(0.01))
      return n + 1
    end)
    local future = go(function()
      local stage = Class(41)
      stage:start()
      return engine:wait(stage).default.value
    end)
    assert.equal(42, await(future))
  end)

  ways("a wait for a pipeline in a tasklet has its limit of time, and can be cancelled", function(engine)
    local Class = helper.define { async = true, run = function() end }
    local stage = Class()
    stage:start()
    engine:drain()
    local future = go(function() engine:wait(stage, { timeout = 0.02 }) end)
    assert.equal("TimeoutError", future:get_exception().class)
    local other = go(function() engine:wait(stage) end)
    eventloop.queue_call(0.02, other.cancel, other)
    assert.equal("CancelledError", other:get_exception().class)
    stage:complete(1)
  end)

  ways("eventloop.run works the engine off", function(engine)
    local Class = helper.define(function() return await(go(function() return "done" end)) end)
    local stage = Class()
    stage:start()
    eventloop.run()
    assert.equal("done", engine:wait(stage, { timeout = 0 }).default.value)
  end)

  ways("engine:drain runs tasklets that were started outside", function(engine)
    local ran = false
    go(function() ran = true end)
    engine:drain()
    assert.is_true(ran)
  end)

  ways("a failure in a tasklet of a run is a failed attempt, with the trace through all awaits", function(engine)
    local function deep()
      await(sleep(0.001))
      error("deep down")
    end
    local Class = helper.define { max_attempts = 1, run = function() local x = await(go(deep)) return x end }
    local stage = Class()
    stage:start()
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
    assert.matches("deep down", problem.message)
    local trace = problem.failures[1].traceback
    assert.truthy(trace:find(("engine_spec.lua:%d:"):format(debug.getinfo(deep, "S").linedefined + 2), 1, true))
    assert.matches("awaited in", trace)
  end)

  ways("await across a C function in a run says what to do instead", function(engine)
    local Class = helper.define {
      max_attempts = 1,
      run = function() table.sort({ 2, 1 }, function(a, b) await(tasklets.Future()) return a < b end) end,
    }
    local stage = Class()
    stage:start()
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
    assert.matches("Await first", problem.message)
  end)

  ways("a run that is out of time is closed while it awaits", function(engine)
    local closed = false
    local Class = helper.define {
      max_attempts = 1, timeout = 0.02,
      run = function()
        local _ <close> = setmetatable({}, { __close = function() closed = true end })
        await(sleep(0.1))
      end,
    }
    local stage = Class()
    stage:start()
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
    assert.matches("took longer", problem.message)
    assert.is_true(closed)
  end)

  for name, wait in pairs {
    ["a future"] = function() await(tasklets.Future()) end,
    ["a tasklet"] = function() await(go(function() await(tasklets.Future()) end)) end,
    ["a pipeline"] = function(engine, never) engine:wait(never) end,
    ["an hour to pass"] = function(engine) engine:sleep(3600) end,
  } do
    it("a run that was out of time while it waited for " .. name .. " gives its place to others", function()
      local engine = helper.open { virtual_time = false, concurrency = 1 }
      local never = helper.define { async = true, run = function() end } ()
      never:start()
      local Waits = helper.define {
        max_attempts = 1, timeout = 0.01, run = function() wait(engine, never) end,
      }
      local Quick = helper.define(function() return "had its turn" end)
      for _ = 1, 3 do
        local stage = Waits()
        stage:start()
        helper.raises(pipeline.AbortedError, engine.wait, engine, stage, { timeout = 5 })
      end
      local stage = Quick()
      stage:start()
      assert.equal("had its turn", engine:wait(stage, { timeout = 5 }).default.value)
      engine:drain()
      assert.is_true(engine._core:idle())
      eventloop.run() -- ends
    end)
  end

  it("a wait is over when its future is done, though an engine has more to do", function()
    for engines = 1, 2 do
      local engine = helper.open { virtual_time = false }
      if engines == 2 then helper.open { virtual_time = false } end
      local inside = false
      local Sleeps = helper.define(function()
        inside = true
        engine:sleep(1.2)
      end)
      Sleeps():start { engine = engine }
      while not inside do engine._core:run("next") end
      for stop = 1, 2 do
        local future = tasklets.Future()
        engine._core:spawn(function()
          if stop == 2 then eventloop.stop() else future:set_result("done") end
        end)
        local before = eventloop.now()
        if stop == 2 then eventloop.run() else assert.equal("done", await(future)) end
        assert.is_true(eventloop.now() - before < 0.8)
      end
      engine:drain()
      helper.finish()
    end
  end)

  ways("a run that awaits is not woken by a token it has made before", function(engine)
    local Class = helper.define(function()
      local core = engine._core
      local token, nap = core:token(), sleep(0.02)
      eventloop.queue_call(nil, function() token:wake("early") end)
      await(nap)
      return { nap:done(), core:suspend() }
    end)
    local stage = Class()
    stage:start()
    assert.same({ true, "early" }, engine:wait(stage, { timeout = 30 }).default.value)
  end)

  it("start_test runs tasklets in virtual time", function()
    local Class = helper.define(function()
      local before = eventloop.now()
      await(sleep(3600))
      return eventloop.now() - before
    end)
    local stage = Class()
    stage:start_test()
    assert.near(3600, stage.outputs.default.value, 1e-3)
  end)

  it("tasklets go on where they were when the engine is closed", function()
    local engine = helper.open { virtual_time = false }
    local future = go(function()
      await(sleep(0.02))
      return "still here"
    end)
    engine:drain()
    engine:close()
    assert.equal("still here", future:get_result())
  end)

  it("several engines are driven by one loop", function()
    local a, b = helper.open { virtual_time = false }, helper.open { virtual_time = false }
    local Class = helper.define(function(_, n)
      await(sleep(0.01))
      return n
    end)
    local first, second = Class("a"), Class("b")
    first:start { engine = a }
    second:start { engine = b }
    eventloop.run()
    assert.equal("a", a:wait(first, { timeout = 0 }).default.value)
    assert.equal("b", b:wait(second, { timeout = 0 }).default.value)
  end)

  it("a host with a loop of its own drives both through descriptor, timeout and step", function()
    local engine = helper.open { virtual_time = false }
    local Class = helper.define(function()
      await(sleep(0.01))
      return "x"
    end)
    local stage = Class()
    stage:start()
    local core = require "pipeline.core"
    for _ = 1, 1000 do
      engine:step()
      if engine._core:idle() then break end
      core.poll(engine:timeout(), engine:fd())
    end
    assert.equal("x", engine:wait(stage, { timeout = 0 }).default.value)
  end)

  ways("routes, handlers of push tasks and deferred calls may await, and others go on meanwhile", function(engine)
    local deferred, taskqueue = require "pipeline.deferred", require "pipeline.taskqueue"
    local inside, most, done = 0, 0, {}
    local function work(name)
      inside = inside + 1
      most = math.max(most, inside)
      await(sleep(0.02))
      await(go(function() await(sleep(0.01)) end))
      inside = inside - 1
      done[#done + 1] = name
    end
    engine:route("POST", "/push", function(request)
      work(request.params.name)
      return 200
    end)
    engine:route("GET", "/ask", function()
      work("asked")
      return 200, "text/plain", "answer"
    end)
    deferred.register(helper.name "later", work)
    for i = 1, 3 do
      deferred.defer(work, "deferred " .. i)
      taskqueue.add { url = "/push", params = { name = "pushed " .. i } }
    end
    local asked = go(function() return engine:handle { method = "GET", path = "/ask" }.body end)
    engine:drain()
    assert.equal("answer", asked:get_result())
    table.sort(done)
    assert.same({ "asked", "deferred 1", "deferred 2", "deferred 3", "pushed 1", "pushed 2", "pushed 3" }, done)
    assert.equal(7, most)
  end)

  it("the claim of a run that awaits longer than its lease stays alive", function()
    local engine = helper.open { virtual_time = false, lease_seconds = 0.2 }
    local other = helper.open { virtual_time = false, lease_seconds = 0.2, path = engine._path }
    local runs = 0
    local Class = helper.define(function()
      runs = runs + 1
      await(sleep(0.7))
      return "once"
    end)
    local stage = Class()
    stage:start { engine = engine }
    eventloop.run()
    assert.equal("once", engine:wait(stage, { timeout = 0 }).default.value)
    assert.equal(1, runs)
    assert.is_true(other:status().workers == 2)
  end)

  describe("what a tasklet asks of an engine", function()
    local taskqueue = require "pipeline.taskqueue"

    local function commits(engine) return engine:status().facts.commits end

    ways("suspends it, and others go on: many share a commit", function(engine)
      taskqueue.configure { work = { mode = "pull" } }
      local queue = taskqueue.Queue("work")
      local before, under_way, most = commits(engine), 0, 0
      local list = {}
      for i = 1, 64 do
        list[i] = go(function()
          under_way = under_way + 1
          most = math.max(most, under_way)
          local task = queue:add(taskqueue.Task { payload = "p" .. i, method = "PULL" })
          under_way = under_way - 1
          return task.was_enqueued
        end)
      end
      for _, was in ipairs(tasklets.await_all(list)) do assert.is_true(was) end
      assert.equal(64, most)
      assert.is_true(commits(engine) - before <= 8, tostring(commits(engine) - before))
      assert.equal(64, queue:fetch_statistics().tasks)
    end)

    ways("is start, wait, fill, complete, status, abort or a look-up; errors come out of the call", function(engine)
      local Class = helper.define { async = true, output_names = { "extra" }, run = function() end }
      local turns = 0
      local ticker = go(function()
        while turns < 10000 do
          await(sleep(0.0005))
          turns = turns + 1
        end
      end)
      local future = go(function()
        local stage = Class(1)
        stage:start { idempotence_key = "only-once" }
        local problem = helper.raises(pipeline.PipelineExistsError, function()
          Class(2):start { idempotence_key = "only-once" }
        end)
        assert.matches("only%-once", problem.message)
        stage:set_status { message = "half way" }
        stage:fill("extra", 7)
        local again = pipeline.from_id("only-once")
        again:complete(42)
        local outputs = engine:wait(stage)
        helper.raises(pipeline.UnexpectedPipelineError, again.complete, again, 43)
        local other = helper.define(function() end)()
        other:start { countdown = 60 }
        other:abort("enough")
        engine:sleep(0.001)
        helper.raises(pipeline.AbortedError, engine.wait, engine, other)
        return outputs.default.value, outputs.extra.value, engine:status().stages
      end)
      local value, extra, stages = await(future)
      assert.same({ 42, 7, 2 }, { value, extra, stages })
      assert.is_true(turns > 0)
      ticker:cancel()
    end)

    ways("is the same in the tasklets of a run", function(engine)
      local Child = helper.define(function(_, n) return n + 1 end)
      local Class = helper.define(function(_, n)
        local list = {}
        for i = 1, n do
          list[i] = go(function()
            local stage = Child(i)
            stage:start()
            return engine:wait(stage).default.value
          end)
        end
        local sum = 0
        for _, value in ipairs(tasklets.await_all(list)) do sum = sum + value end
        return sum
      end)
      local stage = Class(10)
      stage:start()
      assert.equal(65, engine:wait(stage).default.value)
    end)

    ways("happens also when the tasklet is cancelled while it waits", function()
      taskqueue.configure { work = { mode = "pull" } }
      local queue = taskqueue.Queue("work")
      local closed = false
      local future = go(function()
        local _ <close> = setmetatable({}, { __close = function() closed = true end })
        queue:add(taskqueue.Task { payload = "x", method = "PULL" })
      end)
      assert.equal(0, eventloop.run0()) -- the tasklet has begun, and waits
      assert.is_true(future:cancel())
      assert.is_true(closed)
      eventloop.run()
      assert.equal(1, queue:fetch_statistics().tasks)
    end)

    ways("works where the tasklet cannot be suspended: it blocks", function(engine)
      local Class = helper.define(function(_, n) return n end)
      local future = go(function()
        local list = { 3, 1, 2 }
        local started = 0
        table.sort(list, function(a, b)
          Class(a):start()
          started = started + 1
          return a < b
        end)
        return started
      end)
      local started = await(future)
      assert.equal(started, engine:status().stages)
    end)

    it("fails when the engine is closed meanwhile", function()
      local engine = helper.open { virtual_time = false }
      local Class = helper.define(function() end)
      local future = go(function() Class():start() end)
      assert.equal(0, eventloop.run0())
      engine:close()
      local problem = future:get_exception()
      assert.equal("StoreError", problem.class)
      assert.matches("the engine was closed", problem.message)
    end)

    it("of another loop blocks", function()
      local real, virtual = helper.open { virtual_time = false }, helper.open { virtual_time = true }
      local Class = helper.define(function() return 1 end)
      local future = go(function() -- on the loop of real time
        local stage = Class()
        stage:start { engine = virtual }
        return stage.id
      end)
      assert.is_string(await(future))
      assert.equal(1, virtual:status().stages)
      assert.equal(0, real:status().stages)
      virtual:drain()
    end)
  end)
end)
