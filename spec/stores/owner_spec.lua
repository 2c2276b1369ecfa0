-- Which engine the running code works for, when a program has several: what it starts goes there.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local eventloop = require "pipeline.eventloop"
local helper = require "spec.support.helper"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"

local await, tasklet = tasklets.await, tasklets.tasklet
local Give = helper.define(function(_, value) return value end)

local engines -- by letter
local place   -- letter of the engine for which `mark` was called last

-- Starts a pipeline, and notes where it went.
local function mark()
  local stage = Give(1):start()
  for letter, engine in pairs(engines) do
    if stage._engine == engine then place = letter end
  end
end

-- What calls fn and comes back when it was called. Each way is tried in a run, a handler, a tasklet of ...
local ways = {
  ["the code itself"] = function(fn) fn() end,
  ["a plain coroutine"] = function(fn) coroutine.wrap(fn)() end,
  ["a coroutine in a coroutine"] = function(fn)
    coroutine.wrap(function() coroutine.wrap(fn)() end)()
  end,
  ["a tasklet"] = function(fn) await(tasklet(fn)()) end,
  ["a tasklet of a tasklet"] = function(fn)
    await(tasklet(function() await(tasklets.sleep(0.001), tasklet(fn)()) end)())
  end,
  ["a tasklet that has slept"] = function(fn)
    await(tasklet(function() await(tasklets.sleep(0.01)) fn() end)())
  end,
  ["a coroutine in a tasklet"] = function(fn) await(tasklet(function() coroutine.wrap(fn)() end)()) end,
  ["a callback of the loop"] = function(fn)
    local done = tasklets.Future()
    eventloop.queue_call(nil, function() fn() done:set_result(true) end)
    await(done)
  end,
  ["a timer of the loop"] = function(fn)
    local done = tasklets.Future()
    eventloop.queue_call(0.001, function() fn() done:set_result(true) end)
    await(done)
  end,
  ["an idle callback"] = function(fn)
    local done = tasklets.Future()
    eventloop.add_idle(function() fn() done:set_result(true) end)
    await(done)
  end,
  ["a callback of a future"] = function(fn)
    local done = tasklets.sleep(0.001)
    done:add_callback(fn)
    await(done)
    await(tasklets.sleep(0.001))
  end,
  ["an immediate callback of a future"] = function(fn)
    local done = tasklets.sleep(0.001)
    done:add_immediate_callback(fn)
    await(done)
  end,
  ["a batch"] = function(fn)
    local batcher = tasklets.AutoBatcher(function(list)
      fn()
      for _, item in ipairs(list) do item.future:set_result(1) end
    end)
    await(batcher:add(1))
  end,
  ["a group"] = function(fn) tasklets.group(function(g) g:spawn(fn) end) end,
  ["a call with a limit of time"] = function(fn) await(tasklets.with_timeout(fn, 5)) end,
  ["a transaction"] = function(fn) pipeline.default():transaction(fn) end,
}

local function in_run(engine, fn)
  local stage = helper.define { max_attempts = 1, run = function() fn() end }():start { engine = engine }
  engine:drain { delayed = true }
  engine:wait(stage, { timeout = 0 })
end

-- Places from which an engine calls user code.
local places = {
  ["a run"] = in_run,
  ["finalized"] = function(engine, fn)
    local stage = helper.define { run = function() return 1 end, finalized = function() fn() end }()
    stage:start { engine = engine }
    engine:drain { delayed = true }
  end,
  ["a callback"] = function(engine, fn)
    local stage = helper.define { async = true, public_callbacks = true, run = function() end,
      callback = function(self) fn() self:complete(1) end }():start { engine = engine }
    engine:drain()
    stage:get_callback_task():add()
    engine:drain { delayed = true }
    assert.is_true(engine:from_id(stage.id).outputs.default.filled)
  end,
  ["a route that a push task calls"] = function(engine, fn)
    local called = false
    engine:route("POST", "/push", function() called = true fn() end)
    engine:transaction(function() taskqueue.add { url = "/push" } end)
    engine:drain { delayed = true }
    assert.is_true(called)
  end,
  ["a deferred call"] = function(engine, fn)
    local called = false
    local function call() called = true fn() end
    deferred.register("spec.owner." .. helper.name(), call)
    engine:transaction(function() deferred.defer(call) end)
    engine:drain { delayed = true }
    assert.is_true(called)
  end,
}

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- A, opened first, is the default one.
local function open_all(kind)
  local options = kind == "real" and { virtual_time = false } or nil
  engines = { A = helper.open(options), B = helper.open(options), C = helper.open(options) }
end

for _, kind in ipairs { "virtual", "real" } do
  describe("with three engines (" .. kind .. " time) what is started in", function()
    -- Opening them takes longer than all that is done with them, so all cases have the same.
    setup(function() open_all(kind) end)
    before_each(function() place = nil end)
    after_each(function()
      helper.check()
      for _, engine in pairs(engines) do
        assert(engine._core:facts().executing == 0, "a task was still being executed at the end of a test")
      end
    end)
    teardown(function()
      helper.finish()
      helper.clean()
    end)

    for _, from in ipairs(sorted(places)) do
      for _, way in ipairs(sorted(ways)) do
        it(("%s by %s goes to the engine of that"):format(from, way), function()
          for _, letter in ipairs { "B", "A", "C" } do
            place = nil
            places[from](engines[letter], function() ways[way](mark) end)
            assert.equal(letter, place)
          end
        end)
      end
    end

    for _, way in ipairs { "the code itself", "a plain coroutine", "a coroutine in a coroutine" } do
      it("a handler that is called without a socket by " .. way .. " goes to the engine of the handler", function()
        engines.B:route("GET", "/mark", function() ways[way](mark) end)
        assert.equal(200, engines.B:handle { path = "/mark" }.status)
        assert.equal("B", place)
        mark()
        assert.equal("A", place)
        in_run(engines.C, function()
          engines.B:handle { path = "/mark" }
          assert.equal("B", place)
          mark()
        end)
        assert.equal("C", place)
      end)
    end

    it("a test in a run stays in the test", function()
      local Outer = helper.define(function() await(tasklet(function() ways["a tasklet"](mark) end)()) end)
      in_run(engines.B, function()
        local before = engines.B:status().stages
        Outer():start_test()
        assert.equal(nil, place)
        assert.equal(before, engines.B:status().stages)
        mark()
      end)
      assert.equal("B", place)
    end)

  end)

  describe("with three engines (" .. kind .. " time)", function()
    setup(function() open_all(kind) end)
    teardown(function()
      helper.finish()
      helper.clean()
    end)

    it("what is started outside of all goes to the default one, which is the first that is open", function()
      place = nil
      mark()
      assert.equal("A", place)
      engines.A:close()
      mark()
      assert.equal("B", place)
      coroutine.wrap(mark)()
      assert.equal("B", place)
    end)
  end)
end
