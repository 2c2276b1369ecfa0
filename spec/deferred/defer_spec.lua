-- defer_spec.lua: enqueueing a call: D15 to D29, with G36 to G38, G42 and G43.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local taskqueue = require "pipeline.taskqueue"
local functions = require "spec.deferred.functions"
local helper = require "spec.support.helper"

local START = 1700000000
local BIG = ("x"):rep(3 << 20)

describe("defer", function()
  local engine
  before_each(function()
    engine = helper.open { queues = { work = {}, pull = { mode = "pull" } } }
    functions.forget()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function call(...)
    engine:drain { delayed = true }
    assert.same({ table.pack(...) }, functions.calls)
  end

  it("D15 adds one task and returns it", function()
    local task = deferred.defer(functions.record, 1)
    assert.is_true(taskqueue.is_task(task))
    assert.same({ "/_ah/queue/deferred", "default", "POST", "application/octet-stream", true }, { task.url,
      task.queue_name, task.method, task.headers["Content-Type"], task.was_enqueued })
    assert.equal(deferred.serialize(functions.record, 1), task.payload)
    assert.equal(1, taskqueue.Queue("default"):fetch_statistics().tasks)
    call(1)
    assert.equal(0, taskqueue.Queue("default"):fetch_statistics().tasks)
  end)

  it("D16 L2 G42 gives all arguments to the function, whatever they are called", function()
    deferred.defer(functions.record, { _countdown = 10, countdown = 60, _x = 1 })
    engine:drain()
    assert.same({ _countdown = 10, countdown = 60, _x = 1 }, functions.calls[1][1])
  end)

  local function dead_call()
    local dead = taskqueue.Queue("work"):dead_tasks()
    assert.equal(1, #dead)
    return dead[1]
  end

  it("Q28 ends a call that waits past its dispatch deadline, and tries it again as its retry options say", function()
    local closed = 0
    deferred.register("spec.defer.slow", function()
      local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
      engine:sleep(1000)
    end)
    deferred.with { queue = "work", dispatch_deadline = 20, retry_options = {
      task_retry_limit = 1, min_backoff_seconds = 5 } }("spec.defer.slow")
    engine:drain { delayed = true }
    assert.equal(2, closed)
    assert.near(45, engine:now() - START, 0.1)
    local dead = dead_call()
    assert.equal("the call took longer than 20 s", dead.message)
    assert.equal("TimeoutError", dead.error_class)
    local logged = table.concat(helper.log(30), "\n")
    assert.truthy(logged:find("deferred call failed: TimeoutError: the call took longer than 20 s", 1, true), logged)
  end)

  it("Q28 a call has ten minutes unless it says otherwise, and one that ends in time is not tried again", function()
    local seconds, calls = 599, 0
    deferred.register("spec.defer.long", function()
      calls = calls + 1
      engine:sleep(seconds)
    end)
    deferred.defer("spec.defer.long")
    engine:drain { delayed = true }
    assert.near(599, engine:now() - START, 0.1)
    seconds = 601
    deferred.with { queue = "work", retry_options = { task_retry_limit = 0 } }("spec.defer.long")
    engine:drain { delayed = true }
    assert.near(1199, engine:now() - START, 0.1)
    assert.equal("the call took longer than 600 s", dead_call().message)
    deferred.with { dispatch_deadline = 700 }("spec.defer.long")
    engine:drain { delayed = true }
    assert.equal(3, calls)
    assert.near(1800, engine:now() - START, 0.1)
  end)

  it("Q28 ends each of several calls at its own dispatch deadline, whatever order they began in", function()
    local ended, closed = {}, {}
    deferred.register("spec.defer.waiting", function(name, seconds)
      local _ <close> = setmetatable({}, { __close = function()
        closed[#closed + 1] = ("%s %.0f"):format(name, engine:now() - START)
      end })
      engine:sleep(seconds)
      ended[#ended + 1] = name
    end)
    local once = { task_retry_limit = 0 }
    local function defer(name, deadline, seconds, countdown)
      deferred.with { queue = "work", dispatch_deadline = deadline, retry_options = once, countdown = countdown }(
        "spec.defer.waiting", name, seconds)
    end
    defer("a", 600, 1000)
    defer("b", 20, 1000)
    defer("c", 300, 10)
    defer("d", 40, 1000)
    defer("e", 15, 1000, 10)
    defer("f", 100, 1, 30)
    defer("g", 100, 1000, 700)
    engine:drain { delayed = true }
    assert.same({ "c", "f" }, ended)
    assert.same({ "c 10", "b 20", "e 25", "f 31", "d 40", "a 600", "g 800" }, closed)
    assert.equal(5, #taskqueue.Queue("work"):dead_tasks())
  end)

  it("Q28 refuses a dispatch deadline that is none", function()
    helper.raises(taskqueue.InvalidDispatchDeadlineError, deferred.with { dispatch_deadline = 14 }, functions.record)
    helper.misuse("dispatch_deadline", deferred.with { dispatch_deadline = "20" }, functions.record)
    assert.equal(700, deferred.with { dispatch_deadline = 700, url = "/there" }(functions.record).dispatch_deadline)
  end)

  it("Q28 ends a call that computes past its dispatch deadline, also when it catches errors", function()
    engine:close()
    local real = helper.open { virtual_time = false, queues = { work = {} } }
    local queue_task = require "pipeline.taskqueue.task"
    -- A build that looks for races delivers signals only when memory is asked for, or the like.
    local function compute()
      local list
      while true do list = { list and 1 } end
    end
    local loops = { forever = compute, stubborn = function() while true do pcall(compute) end end }
    for name, fn in pairs(loops) do
      name = "spec.defer." .. name
      deferred.register(name, fn)
      local form = queue_task.form(queue_task.new({ payload = deferred.serialize(name), url = "/x",
        retry_options = { task_retry_limit = 0 } }, { kind = "deferred" }), real._core, "work")
      form.deadline = 0.2 -- a user must give 15 seconds
      real._core:task_add { form }
    end
    real:drain()
    local dead = taskqueue.Queue("work"):dead_tasks()
    assert.equal(2, #dead)
    for _, task in ipairs(dead) do
      assert.equal("TimeoutError", task.error_class)
      assert.truthy(task.message:find("the call took longer than 0.2 s", 1, true), task.message)
    end
  end)

  it("D16 L2 has options of its own, and an unknown one is an error", function()
    helper.misuse("countdwn.*countdown", deferred.with, { countdwn = 5 })
    helper.misuse("_countdown", deferred.with, { _countdown = 5 })
    helper.misuse("bad argument #1 to 'with'", deferred.with, 5)
    helper.misuse("queue", deferred.with, { queue = 5 })
    local task = deferred.with { countdown = 60, queue = "work", retry_options = { task_retry_limit = 1 } }(
      functions.fail, "no")
    assert.same({ START + 60, "work", 1 }, { task.eta, task.queue_name, task.retry_options.task_retry_limit })
    engine:drain()
    assert.equal(0, #functions.calls)
    engine:drain { delayed = true }
    assert.equal(2, #functions.calls)
    assert.equal(1, #taskqueue.Queue("work"):dead_tasks())
    assert.equal(START + 5, deferred.with { eta = START + 5 }(functions.record).eta)
    helper.raises(taskqueue.InvalidTaskError, deferred.with { eta = START, countdown = 1 }, functions.record)
    helper.raises(taskqueue.UnknownQueueError, deferred.with { queue = "nowhere" }, functions.record)
    helper.raises(taskqueue.InvalidQueueModeError, deferred.with { queue = "pull" }, functions.record)
  end)

  it("D17 has a name that was chosen, or that was given and is used once", function()
    assert.matches("^task%-%x+$", deferred.defer(functions.record).name)
    local named = deferred.with { name = "once" }
    assert.equal("once", named(functions.record).name)
    helper.raises(taskqueue.TaskAlreadyExistsError, named, functions.record)
    engine:drain()
    helper.raises(taskqueue.TombstonedTaskError, named, functions.record)
    assert.equal(2, #functions.calls)
  end)

  it("G43 leaves a tombstone for as long as configured", function()
    engine:close()
    engine = helper.open { tombstone_seconds = 60.0 }
    deferred.with { name = "often" }(functions.record)
    engine:drain()
    helper.raises(taskqueue.TombstonedTaskError, deferred.with { name = "often" }, functions.record)
    engine:advance(3600)
    deferred.with { name = "often" }(functions.record)
    engine:drain()
    assert.equal(2, #functions.calls)
  end)

  it("D18 has a target in its Host header", function()
    assert.matches("^other%.", deferred.with { target = "other" }(functions.record).headers.Host)
    assert.is_nil(deferred.defer(functions.record).headers.Host)
    engine:drain()
    assert.equal(2, #functions.calls)
  end)

  it("D19 has headers, which may replace the content type", function()
    local task = deferred.with { headers = { ["X-Mine"] = "a" } }(functions.record)
    assert.same({ "a", "application/octet-stream" }, { task.headers["X-Mine"], task.headers["Content-Type"] })
    task = deferred.with { headers = { ["content-type"] = "text/x" } }(functions.record)
    assert.equal("text/x", task.headers["Content-Type"])
  end)

  it("D20 G38 without a url has the default one", function()
    assert.equal("/_ah/queue/deferred", deferred.with { url = nil }(functions.record).url)
    assert.equal("/mine", deferred.with { url = "/mine" }(functions.record).url)
  end)

  it("D21 has no method to choose", function()
    helper.misuse("method", deferred.with, { method = "GET" })
  end)

  it("D22 transactional outside of a transaction is an error", function()
    helper.raises(taskqueue.BadTransactionStateError, deferred.with { transactional = true }, functions.record)
    engine:drain()
    assert.equal(0, #functions.calls)
  end)

  -- A pipeline whose first attempt defers and fails, and whose second one defers again.
  local function twice(...)
    local list, attempts = table.pack(...), 0
    helper.outputs(helper.define(function()
      attempts = attempts + 1
      deferred.with { transactional = true }(functions.record, attempts, table.unpack(list, 1, list.n))
      if attempts == 1 then error("not yet") end
    end)())
  end

  it("D22 transactional exists only if the transaction commits", function()
    twice()
    call(2)
  end)

  it("D23 G37 stores a call of any size with the task", function()
    local task = deferred.defer(functions.record, BIG)
    assert.is_true(#task.payload > taskqueue.MAX_PUSH_TASK_SIZE_BYTES)
    call(BIG)
  end)

  it("D24 leaves nothing of a large call after it ran, or failed for good", function()
    deferred.defer(functions.record, BIG)
    deferred.defer(functions.fail, deferred.PermanentTaskFailure(BIG))
    engine:drain { delayed = true }
    assert.equal(0, engine:status().queues.default and engine:status().queues.default.ready or 0)
    assert.equal(0, #taskqueue.Queue("default"):dead_tasks())
  end)

  it("D25 D26 keeps a large call for its retry", function()
    functions.raises = "once"
    deferred.defer(functions.fail_once, BIG)
    engine:drain { delayed = true }
    assert.equal(2, #functions.calls)
    assert.equal(BIG, functions.calls[2][1])
  end)

  it("D27 G38 has the result of a large call, too", function()
    assert.equal(BIG, select(2, deferred.run(deferred.serialize(functions.record, BIG))))
  end)

  it("D28 G36 transactional with a large call is in the same commit", function()
    twice(BIG)
    call(2, BIG)
  end)

  it("D29 has all other options with a large call", function()
    local task = deferred.with { name = "large", countdown = 60, headers = { ["X-Mine"] = "a" }, queue = "work",
      target = "t" }(functions.record, BIG)
    assert.same({ "large", START + 60, "a", "work" }, { task.name, task.eta, task.headers["X-Mine"], task.queue_name })
    engine:drain()
    assert.equal(0, #functions.calls)
    call(BIG)
  end)

  it("survives the process that deferred", function()
    deferred.defer(functions.record, "kept")
    engine:close()
    engine = helper.open { path = engine._path }
    call("kept")
  end)

  it("G39 keeps a call whose function cannot be found, which can be revived when it is there", function()
    functions.vanishing = function(x) functions.record(x) end
    deferred.defer(functions.vanishing, 5)
    functions.vanishing = nil
    engine:drain { delayed = true }
    local queue = taskqueue.Queue("default")
    local dead = queue:dead_tasks()
    assert.equal(1, #dead)
    assert.equal("PermanentTaskFailure", dead[1].error_class)
    assert.matches("spec.deferred.functions.vanishing", dead[1].message)
    deferred.alias("spec.deferred.functions.vanishing", "spec.deferred.functions.record")
    queue:revive(dead[1])
    call(5)
  end)

  it("is for engines without a default one an error", function()
    engine:close()
    helper.raises(pipeline.ConfigurationError, deferred.defer, functions.record)
  end)
end)
