-- hooks_spec.lua - what happens in an engine is told to functions of the program.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local taskqueue = require "pipeline.taskqueue"

local function nothing() end
deferred.register("hooks_spec.nothing", nothing)

local number = 0

-- A class with a name of its own.
local function define(definition)
  number = number + 1
  local name = "hooks_spec.Class" .. number
  return pipeline.define(name, definition), name
end

describe("hooks", function()
  local engine, heard, lines

  local ALL = {
    "stage_started", "stage_done", "stage_failed", "stage_aborted", "root_done", "root_aborted", "task_started",
    "task_done", "task_failed", "task_dead", "queue_paused", "engine_stopping",
  }

  local function listen(names)
    for _, name in ipairs(names or ALL) do
      engine:on(name, function(event) heard[#heard + 1] = event end)
    end
  end

  local function names_of(list)
    local out = {}
    for i, event in ipairs(list) do out[i] = event.event end
    return out
  end

  local function of(name)
    for _, event in ipairs(heard) do
      if event.event == name then return event end
    end
  end

  before_each(function()
    heard, lines = {}, {}
    engine = pipeline.open(":memory:", {
      virtual_time = true, virtual_start = 1e9, log = function(level, line) lines[#lines + 1] = { level, line } end,
    })
  end)

  after_each(function() engine:close() end)

  it("O1 a pipeline that succeeds: its start, its end, that of its root, each once and with what it was", function()
    local Child = define { run = function() return 1 end }
    local Class, name = define { run = function(self) self:spawn(Child()) end }
    listen()
    local stage = Class():start { idempotence_key = "k1" }
    engine:wait(stage)
    assert.same({ "stage_started", "stage_started", "stage_done", "stage_done", "root_done" }, names_of(heard))
    local started, done = heard[1], of("root_done")
    assert.same({ started.root, name, "k1", "default", 1, 3 }, {
      started.id, started.class, started.key, started.queue, started.attempt, started.max_attempts,
    })
    assert.equal("k1", stage.id)
    assert.same({ started.id, started.id, name, "k1", "done" },
      { done.id, done.root, done.class, done.key, done.state })
    assert.is_true(done.took >= 0 and done.ended >= done.created)
    assert.equal(started.id, heard[3].root) -- the child's
  end)

  it("O1 a failure tells of the attempt, of what failed, and of when it runs again; the last one aborts", function()
    local Class = define { max_attempts = 2, backoff_seconds = 10, run = function() error("broken on purpose") end }
    listen { "stage_failed", "stage_aborted", "root_aborted" }
    local began = engine:now()
    local stage = Class():start()
    engine:drain { delayed = true }
    assert.same({ "stage_failed", "stage_failed", "stage_aborted", "root_aborted" }, names_of(heard))
    local first, last = heard[1], heard[2]
    assert.is_true(first.will_retry)
    assert.equal(1, first.attempt)
    assert.is_true(first.at - began >= 10)
    assert.matches("broken on purpose", first.error)
    assert.matches("hooks_spec.lua", first.traceback)
    assert.is_false(last.will_retry)
    assert.is_nil(last.at)
    assert.equal(2, last.attempt)
    assert.equal(stage.id, of("root_aborted").id)
    assert.matches("Aborting after 2 attempts", of("root_aborted").reason)
  end)

  it("O1 a finalized() that fails is a failed attempt of its own, and the stage is done all the same", function()
    local Class, name = define {
      max_attempts = 2, backoff_seconds = 10, run = function() end, finalized = function() error("not today") end,
    }
    listen { "stage_failed", "stage_done", "stage_aborted" }
    local stage = Class():start()
    engine:drain { delayed = true }
    local first, last = heard[1], heard[2]
    assert.same({ "stage_failed", "stage_failed", "stage_done" }, names_of(heard))
    assert.same({ "finalize", stage.id, name, 1, 2 },
      { first.kind, first.id, first.class, first.attempt, first.max_attempts })
    assert.matches("not today", first.error)
    assert.is_true(first.will_retry and first.at >= first.time + 10)
    assert.same({ 2, false }, { last.attempt, last.will_retry })
    assert.is_nil(last.at)
  end)

  it("O1 an attempt that asks for the abort has failed, and is not made again", function()
    local Class = define { max_attempts = 5, run = function() error(pipeline.Abort("nothing to do")) end }
    listen { "stage_failed", "root_aborted" }
    Class():start()
    engine:drain { delayed = true }
    assert.same({ "stage_failed", "root_aborted" }, names_of(heard))
    assert.same({ "Abort", "nothing to do", false }, { heard[1].error_class, heard[1].error, heard[1].will_retry })
  end)

  it("O1 tasks without a stage: deferred calls, pushes, and those that die", function()
    listen { "task_started", "task_done", "task_failed", "task_dead" }
    engine:route("POST", "/work", function(request) return request.params.fail and 503 or 200 end)
    deferred.defer(nothing)
    engine:drain { delayed = true }
    assert.same({ "task_started", "task_done" }, names_of(heard))
    assert.same({ "deferred", "default", 1 }, { heard[2].kind, heard[2].queue, heard[2].attempt })
    assert.is_string(heard[2].name)
    assert.equal(heard[1].name, heard[2].name)
    heard = {}
    taskqueue.add { url = "/work", name = "t1" }
    engine:drain { delayed = true }
    assert.same({ "task_started", "task_done" }, names_of(heard))
    assert.same({ "push", "t1" }, { heard[2].kind, heard[2].name })
    heard = {}
    taskqueue.add { url = "/work", params = { fail = "1" }, name = "t2", retry_options = { task_retry_limit = 1 } }
    engine:drain { delayed = true }
    assert.same({ "task_started", "task_failed", "task_started", "task_failed", "task_dead" }, names_of(heard))
    assert.is_true(heard[2].will_retry and heard[2].at > heard[2].time)
    assert.is_false(heard[4].will_retry)
    assert.equal(503, heard[5].status)
    assert.equal("t2", heard[5].name)
  end)

  it("O1 a callback task is a task, with its stage", function()
    local Class, name = define {
      async = true, run = function() end, callback = function(self) self:complete(7) end,
    }
    listen { "task_started", "task_done" }
    local stage = Class():start()
    engine:drain()
    stage:get_callback_task { params = { go = "1" } }:add()
    engine:wait(stage)
    engine:drain()
    assert.same({ "task_started", "task_done" }, names_of(heard))
    assert.same({ "callback", stage.id, name }, { heard[2].kind, heard[2].id, heard[2].class })
  end)

  it("O1 an error in a hook is logged, and changes nothing", function()
    local Class = define { run = function() return 5 end }
    engine:on("stage_started", function() error("a bad hook") end)
    engine:on("stage_done", function() error("another") end)
    listen { "stage_done" }
    assert.equal(5, engine:wait(Class():start()).default.value)
    engine:drain()
    assert.same({ "stage_done" }, names_of(heard))
    local said = {}
    for _, line in ipairs(lines) do
      if line[1] == 40 then said[#said + 1] = line[2] end
    end
    assert.equal(2, #said)
    assert.matches("hook of stage_started.*a bad hook", said[1])
  end)

  it("O1 a hook that waits holds nothing up, and goes on when its time has come", function()
    local Class = define { run = function() return 5 end }
    local woke = false
    engine:on("stage_started", function()
      engine:sleep(3600)
      woke = true
    end)
    engine:wait(Class():start())
    engine:drain { delayed = true }
    assert.is_false(woke)
    engine:advance(3601)
    engine:drain()
    assert.is_true(woke)
  end)

  it("O1 of calls that come at once, one that waits or raises keeps no other from being made", function()
    local count, told, ended = 0, {}, 0
    engine:on("task_done", function(event)
      count = count + 1
      told[event.name] = true
      if count % 5 == 2 then error("a bad hook") end
      if count % 3 == 0 then engine:sleep(60) end
      ended = ended + 1
    end)
    engine:transaction(function()
      for _ = 1, 30 do deferred.defer(nothing) end
    end)
    engine:drain()
    local names = 0
    for _ in pairs(told) do names = names + 1 end
    assert.same({ 30, 30 }, { count, names })
    assert.is_true(ended < 24)
    engine:advance(61)
    engine:drain()
    assert.equal(24, ended)
    assert.equal(0, engine._hooks.calls)
  end)

  it("O1 what one hook writes into its event the next one does not see", function()
    local Class = define { run = function() return 5 end }
    engine:on("stage_started", function(event) event.id = "gone" end)
    listen { "stage_started" }
    local stage = Class():start()
    engine:wait(stage)
    assert.equal(stage.id, heard[1].id)
  end)

  it("O1 a hook that was removed is called no more, and removing twice is nothing", function()
    local count = 0
    local remove = engine:on("task_done", function() count = count + 1 end)
    deferred.defer(nothing)
    engine:drain()
    remove()
    remove()
    deferred.defer(nothing)
    engine:drain()
    assert.equal(1, count)
    engine:on("task_done", function() count = count + 10 end)
    deferred.defer(nothing)
    engine:drain()
    assert.equal(11, count)
  end)

  it("O1 a queue that is paused, and the engine that stops", function()
    listen { "queue_paused", "engine_stopping" }
    taskqueue.configure { work = { rate = 5 } }
    taskqueue.Queue("work"):pause()
    engine:drain()
    assert.same({ "queue_paused" }, names_of(heard))
    assert.equal("work", heard[1].queue)
    heard = {}
    taskqueue.configure { work = { paused = false }, first = { paused = true }, second = { rate = 1 } }
    engine:drain()
    assert.same({ "queue_paused" }, names_of(heard))
    assert.equal("first", heard[1].queue)
    deferred.defer(nothing)
    engine:on("task_done", function() engine:stop() end)
    engine:run()
    assert.same({ "queue_paused", "engine_stopping" }, names_of(heard))
    engine:close()
    assert.equal(2, #heard)
  end)

  it("O1 an engine that is closed without having been stopped says so, too", function()
    listen { "engine_stopping" }
    engine:close()
    assert.same({ "engine_stopping" }, names_of(heard))
  end)

  it("O1 calls that do not come back are bounded: what is more is left out, and the log says so", function()
    local begun, ended = 0, 0
    local core = engine._core
    engine:on("task_done", function()
      begun = begun + 1
      core:sleep(60)
      ended = ended + 1
    end)
    local hooks = engine._hooks
    hooks.calls = 9990 -- as if so many waited
    for _ = 1, 15 do deferred.defer(nothing) end
    engine:drain()
    assert.equal(10, begun)
    local told = 0
    for _, line in ipairs(lines) do
      if line[2]:find("hooks: 10000 calls have not come back", 1, true) then told = told + 1 end
    end
    assert.equal(1, told)
    engine:advance(61)
    engine:drain()
    assert.equal(10, ended)
    deferred.defer(nothing)
    engine:drain()
    assert.equal(11, begun)
  end)

  it("O1 an unknown event is refused, with the nearest known one", function()
    local ok, problem = pcall(engine.on, engine, "stage_don", print)
    assert.is_false(ok)
    assert.matches("did you mean 'stage_done'", tostring(problem))
    assert.is_false((pcall(engine.on, engine, "stage_done")))
  end)

  it("O1 stages made final in a transaction are told of when it is committed", function()
    local Class = define { async = true, run = function() end }
    listen { "root_done" }
    local stage = Class():start()
    engine:drain()
    engine:transaction(function() stage:complete(1) end)
    engine:drain()
    assert.same({ "root_done" }, names_of(heard))
    assert.equal(stage.id, heard[1].id)
  end)
end)
