--- Durations and times over the whole range of numbers: nothing overflows, and what never comes does not come at once.

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"
local helper = require "spec.support.helper"

-- Around every limit there is: of milliseconds in 32 and 64 bits, of microseconds since the epoch, of doubles.
local LONG = { 2147483, 2147484, 4294967.296, 1e9, 9e9, 9.2e12, 9223372036854.775, 9223372036855, 1e13, 1.9e13, 1e15,
  9223372036854775, 1e16, 1e19, 1e100, 1.7e308 }
local SHORT = { 0, 5e-324, 1e-300, 1e-9, 1e-7, 0.0004, 0.001 }

local function with_each(lists, fn)
  for _, list in ipairs(lists) do
    for _, seconds in ipairs(list) do
      local ok, problem = pcall(fn, seconds)
      if not ok then error(("%g: %s"):format(seconds, tostring(problem)), 2) end
    end
  end
end

describe("a duration of any length", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("is a pause before a retry: one of thirty thousand years is not over at once", function()
    local engine = helper.open()
    local served = 0
    engine:route("POST", "/fails", function()
      served = served + 1
      return 500
    end)
    with_each({ LONG }, function(seconds)
      served = 0
      local queue = taskqueue.Queue("default")
      queue:add(taskqueue.Task { url = "/fails", retry_options = { min_backoff_seconds = seconds,
        max_backoff_seconds = seconds, max_doublings = math.min(seconds, 2.0 ^ 62) // 1, task_retry_limit = 3 } })
      engine:drain()
      assert(served == 1, served)
      queue:add(taskqueue.Task { url = "/fails", retry_options = { min_backoff_seconds = seconds } })
      engine:drain()
      assert(served == 2, served)
      queue:purge()
    end)
    with_each({ SHORT }, function(seconds)
      local queue = taskqueue.Queue("default")
      queue:add(taskqueue.Task { url = "/fails", retry_options = { min_backoff_seconds = seconds,
        max_backoff_seconds = seconds, task_retry_limit = 2, task_age_limit = nil } })
      served = 0
      engine:drain { delayed = true }
      assert(served == 3, served)
      queue:purge()
    end)
  end)

  it("is a pause of a queue, and an age limit", function()
    with_each({ LONG, SHORT }, function(seconds)
      local engine = helper.open { queues = { work = { retry_parameters = { min_backoff_seconds = seconds,
        max_backoff_seconds = seconds, task_age_limit = seconds >= 1 and seconds or nil, task_retry_limit = 1 } } } }
      local served = 0
      engine:route("POST", "/fails", function()
        served = served + 1
        return 500
      end)
      taskqueue.Queue("work"):add(taskqueue.Task { url = "/fails" })
      engine:drain()
      assert(served >= 1 and (served == 1 or seconds < 1))
      engine:close()
    end)
  end)

  it("keeps the names of tasks that are gone", function()
    with_each({ LONG }, function(seconds)
      local engine = helper.open { tombstone_seconds = seconds, queues = { pulled = { mode = "pull" } } }
      local queue = taskqueue.Queue("pulled")
      local function add() queue:add(taskqueue.Task { method = "PULL", payload = "x", name = "once" }) end
      add()
      queue:delete_tasks_by_name("once")
      helper.raises(taskqueue.TombstonedTaskError, add)
      queue:add(taskqueue.Task { method = "PULL", payload = "x", name = "other" })
      queue:purge()
      engine:advance(1)
      helper.raises(taskqueue.TombstonedTaskError, add)
      engine:close()
    end)
  end)

  it("is the lease of a worker, of a transaction, of a class that is missing", function()
    local Quick = helper.define(function() return 1 end)
    with_each({ LONG, SHORT }, function(seconds)
      local engine = helper.open { lease_seconds = seconds, class_load_timeout = seconds }
      local stage = Quick():start()
      engine:drain()
      assert(engine:wait(stage).default.value == 1)
      pcall(helper.open, { transaction_timeout = seconds })
      engine:close()
      local file = engine._path
      local again = pipeline.open(file, { lease_seconds = seconds })
      again:close()
    end)
  end)

  it("is a countdown, an eta, a timeout, a back-off of a pipeline", function()
    local engine = helper.open()
    local runs = 0
    local Runs = helper.define(function() runs = runs + 1 end)
    local Fails = helper.define(function()
      runs = runs + 1
      error("fails")
    end)
    with_each({ LONG }, function(seconds)
      runs = 0
      local late = { Runs():start { countdown = seconds }, Runs():start { eta = 1.7e9 + seconds } }
      engine:drain()
      assert(runs == 0, "it ran at once")
      for _, stage in ipairs(late) do stage:abort() end
      local stage = Runs():with_params { timeout = seconds, backoff_seconds = seconds, backoff_factor = seconds }
      stage:start()
      engine:drain()
      assert(runs == 1 and engine:wait(stage))
      stage = Fails():with_params { backoff_seconds = seconds, backoff_factor = seconds, max_attempts = 9 }
      stage:start()
      engine:drain()
      assert(runs == 2, "it was retried at once")
      stage:abort()
      engine:drain()
    end)
    with_each({ SHORT }, function(seconds)
      runs = 0
      Runs():start { countdown = seconds }
      Runs():start { countdown = -seconds }
      Runs():start { eta = seconds }
      Fails():with_params { backoff_seconds = seconds, backoff_factor = seconds, max_attempts = 4 }:start()
      engine:drain { delayed = true }
      assert(runs == 7, runs)
    end)
    for _, seconds in ipairs(LONG) do -- a time before the epoch is refused
      pcall(function() Runs():start { countdown = -seconds } end)
      pcall(function() Runs():start { eta = -seconds } end)
      engine:drain()
    end
  end)

  it("is a countdown, an eta, a deadline of a task", function()
    local engine = helper.open()
    local served = 0
    engine:route("POST", "/served", function() served = served + 1 end)
    with_each({ LONG }, function(seconds)
      served = 0
      taskqueue.add { url = "/served", countdown = seconds }
      taskqueue.add { url = "/served", eta = 1.7e9 + seconds }
      engine:drain()
      assert(served == 0, "it was served at once")
      taskqueue.add { url = "/served", countdown = -seconds }
      taskqueue.add { url = "/served", eta = -seconds }
      pcall(taskqueue.add, { url = "/served", dispatch_deadline = seconds })
      engine:drain()
      assert(served >= 2)
      taskqueue.Queue("default"):purge()
    end)
  end)

  it("is the lease of a pulled task", function()
    local engine = helper.open { queues = { pulled = { mode = "pull" } } }
    local queue = taskqueue.Queue("pulled")
    with_each({ LONG, SHORT }, function(seconds)
      queue:add(taskqueue.Task { method = "PULL", payload = "x", countdown = -1 })
      pcall(function()
        for _, task in ipairs(queue:lease_tasks(seconds, 1)) do
          pcall(queue.modify_task_lease, queue, task, seconds)
        end
      end)
      -- the limits of the queue's own methods are not those of the store
      engine._core:lease("pulled", { seconds = seconds, max = 1 })
      assert(seconds < 1 or #queue:lease_tasks(1, 10) == 0, "it is free at once")
      queue:purge()
    end)
  end)

  it("is a rate and a bucket", function()
    with_each({ LONG, { 1e-300, 1e-12, 1e-7 } }, function(rate)
      local engine = helper.open { queues = { work = { rate = rate, bucket_size = rate < 1 and 1 or 5 } } }
      local served = 0
      engine:route("POST", "/served", function() served = served + 1 end)
      for _ = 1, 3 do taskqueue.Queue("work"):add(taskqueue.Task { url = "/served" }) end
      pcall(engine.drain, engine, { timeout = 1 })
      assert(served == (rate < 1 and 1 or 3), served)
      taskqueue.Queue("work"):purge()
      engine:close()
    end)
  end)

  it("is a wait: of a run, a tasklet, the program", function()
    local engine = helper.open()
    local Never = helper.define { async = true, run = function() end }
    local stage = Never():start()
    local others = 0
    with_each({ LONG }, function(seconds)
      local sleeps = helper.define { timeout = 1, max_attempts = 1, run = function()
        engine:sleep(seconds)
        others = others + 1000
      end }
      sleeps():start()
      helper.define(function() others = others + 1 end)():start()
      engine:drain { timeout = 100 }
      local future = tasklets.sleep(seconds)
      local limited = tasklets.with_timeout(tasklets.sleep(seconds), seconds)
      assert(not future:done() and not limited:done())
      future:cancel()
      limited:cancel()
      pcall(engine.wait, engine, stage, { timeout = seconds })
    end)
    assert(others == #LONG, others)
    with_each({ SHORT }, function(seconds)
      assert(not pcall(engine.wait, engine, stage, { timeout = seconds }))
      engine:sleep(seconds)
      engine:sleep(-seconds)
      pcall(engine.drain, engine, { timeout = seconds })
    end)
    stage:abort()
  end)

  it("is a wait in real time", function()
    local engine = helper.open { virtual_time = false, virtual_start = nil }
    local Quick = helper.define(function() return 1 end)
    with_each({ LONG }, function(seconds)
      assert(engine:wait(Quick():start(), { timeout = seconds }).default.value == 1)
      engine:drain { timeout = seconds }
      local future = tasklets.sleep(seconds)
      engine._timers:cancel(engine._timers:add(seconds, function() end))
      engine:step()
      assert(not future:done())
      future:cancel()
    end)
  end)

  it("is how far virtual time moves", function()
    with_each({ LONG }, function(seconds)
      local engine = helper.open { virtual_start = seconds }
      engine:advance(seconds)
      engine:advance(1)
      local Quick = helper.define(function() return 1 end)
      local stage = Quick():start()
      engine:drain()
      assert(engine:wait(stage).default.value == 1)
      engine:close()
    end)
  end)

  it("is where virtual time begins, the epoch itself, too: what ends there has ended", function()
    local engine = helper.open { virtual_start = 0 }
    local Waits = pipeline.define("range_spec.Waits", { async = true, run = function() end })
    local stage = Waits():start()
    local other = helper.define(function() error("broken on purpose") end)():with_params { max_attempts = 1 }:start()
    local quick = helper.define(function() return 1 end)():start()
    engine:drain()
    engine:transaction(function() stage:complete(2) end)
    engine:drain()
    assert.same({ 1, 2, "aborted" }, { engine:wait(quick).default.value, engine:wait(stage).default.value,
      engine:stage(other.id).state })
    local entry = engine:stage(stage.id)
    assert.is_true(entry.state == "done" and entry.ended > 0 and entry.ended < 1)
    engine:close()
  end)
end)
