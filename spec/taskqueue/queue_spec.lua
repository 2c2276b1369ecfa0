-- queue_spec.lua: names and settings of queues, limits, statistics, errors: Q39 to Q53, Q113 to Q118.

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local Queue, Task = taskqueue.Queue, taskqueue.Task

local function configured(settings)
  taskqueue.configure { work = settings }
  return Queue("work"):settings()
end

local function malformed(settings)
  return helper.raises(taskqueue.MalformedQueueConfiguration, taskqueue.configure, { work = settings })
end

describe("a queue", function()
  local engine, started
  before_each(function()
    engine = helper.open()
    started = {}
    engine:route("POST", "/note", function(request)
      started[#started + 1] = { at = engine:now() - 1700000000, name = request.params.name }
    end)
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("Q39 has a name of letters, digits and '-'", function()
    assert.equal("default", Queue().name)
    assert.equal("a-Z9", Queue("a-Z9").name)
    assert.equal(100, #Queue(("q"):rep(100)).name)
    for _, name in ipairs { "", "a_b", "a\n", "ä", ("q"):rep(101), 7 } do
      helper.raises(taskqueue.InvalidQueueNameError, Queue, name)
    end
  end)

  it("Q40 equals another one of the same name", function()
    assert.is_true(Queue("a") == Queue("a"))
    assert.is_false(Queue("a") == Queue("b"))
  end)

  it("Q41 gives its name to tasks without a URL", function()
    taskqueue.configure { work = {} }
    assert.equal("/_ah/queue/work", Queue("work"):add(Task()).url)
    assert.equal("/_ah/queue/default", Task():add().url)
  end)

  it("Q42 must exist", function()
    local nowhere = Queue("nowhere")
    helper.raises(taskqueue.UnknownQueueError, nowhere.add, nowhere, Task())
    helper.raises(taskqueue.UnknownQueueError, nowhere.purge, nowhere)
    helper.raises(taskqueue.UnknownQueueError, nowhere.lease_tasks, nowhere, 1, 1)
    helper.raises(taskqueue.UnknownQueueError, nowhere.delete_tasks_by_name, nowhere, "x")
    helper.raises(taskqueue.UnknownQueueError, nowhere.pause, nowhere)
    local statistics = nowhere:fetch_statistics()
    assert.equal(0, statistics.tasks)
    assert.is_nil(statistics.in_flight)
    assert.is_nil(statistics.executed_last_minute)
  end)

  it("Q43 called default always exists, and __cron when it is used", function()
    Queue("default"):add(Task())
    Queue("__cron"):add(Task())
    assert.equal(1, Queue("__cron"):fetch_statistics().tasks)
  end)

  it("Q44 disappears with its tasks", function()
    taskqueue.configure { work = {} }
    Queue("work"):add(Task { name = "gone" })
    taskqueue.configure { work = false }
    helper.raises(taskqueue.UnknownQueueError, Queue("work").add, Queue("work"), Task())
    taskqueue.configure { work = {} }
    assert.equal(0, Queue("work"):fetch_statistics().tasks)
    Queue("work"):add(Task { name = "gone" })
  end)

  it("Q45 keeps its settings, and forgets those not given again", function()
    assert.same({
      mode = "push", paused = false, rate = 5, bucket_size = 10, max_concurrent_requests = 3, target = "billing",
      retry_parameters = { task_retry_limit = 7, task_age_limit = 7200.0, min_backoff_seconds = 1.0,
        max_backoff_seconds = 60.0, max_doublings = 2 },
    }, configured {
      rate = "5/s", bucket_size = 10, max_concurrent_requests = 3, target = "billing",
      retry_parameters = { task_retry_limit = 7, task_age_limit = "2h", min_backoff_seconds = 1,
        max_backoff_seconds = 60, max_doublings = 2 },
    })
    assert.same({ mode = "push", paused = false }, configured {})
    assert.same({ mode = "pull", paused = true }, configured { mode = "pull", paused = true })
    assert.is_true(configured({ mode = "pull" }).paused)
    helper.misuse("queue work: unknown option 'rat'; did you mean 'rate'", taskqueue.configure, { work = { rat = 1 } })
    helper.misuse("queue work: option 'max_doublings': integer expected", taskqueue.configure,
      { work = { retry_parameters = { max_doublings = 0.5 } } })
    malformed { mode = "both" }
    helper.raises(taskqueue.MalformedQueueConfiguration, taskqueue.configure, { ["a_b"] = {} })
    assert.is_nil(Queue("nowhere"):settings())
  end)

  it("settings come with open, too, and a malformed one leaves nothing open", function()
    local path = helper.path()
    local other = helper.open { path = path, queues = { mail = { rate = "1/m" } } }
    other:close()
    helper.raises(taskqueue.MalformedQueueConfiguration, helper.open, { queues = { mail = { rate = "x" } } })
    helper.raises(pipeline.ConfigurationError, helper.open, { targets = { default = "nowhere" } })
  end)

  it("Q46 has a rate", function()
    assert.near(1 / 43.2, configured({ rate = "2000/d" }).rate, 1e-12)
    assert.near(0.5, configured({ rate = "30/m" }).rate, 1e-12)
    assert.near(1 / 3600, configured({ rate = "1/h" }).rate, 1e-12)
    assert.equal(0, configured({ rate = "0" }).rate)
    assert.equal(2.5, configured({ rate = 2.5 }).rate)
    for _, rate in ipairs { "5", "5/x", "/s", "-1/s", "5 /s", "fast", -1, true } do malformed { rate = rate } end
  end)

  it("Q47 has an age limit as text", function()
    local function age(value) return configured({ retry_parameters = { task_age_limit = value } })
      .retry_parameters.task_age_limit end
    assert.equal(86400, age "1d")
    assert.equal(150, age "1.5e2s")
    assert.equal(90, age "1.5m")
    assert.equal(1, age "1.9s")
    for _, value in ipairs { "5", "x s", "1w", "", true, 0, "0s", -1 } do
      malformed { retry_parameters = { task_age_limit = value } }
    end
  end)

  it("Q48 has, with all others, a limit of storage as text", function()
    local function open(limit) return helper.open { total_storage_limit = limit } end
    for _, limit in ipairs { "x", "", "5X", "M", "-1", "1 M", "0", 0, -1, true, {}, math.huge, "1e3", "9999999T" } do
      helper.raises(taskqueue.MalformedQueueConfiguration, open, limit)
    end
    local parse = require("pipeline.taskqueue.queue").parse_limit
    assert.same({ 7, 8, 3072, 1 << 20, 3 << 29, 1 << 40, 12 },
      { parse "7", parse "8B", parse "3K", parse "1M", parse "1.5G", parse "1T", parse(12.9) })
    engine:close()
    engine = open "1M"
    engine:route("POST", "/note", function() started[#started + 1] = true end)
    local function add() return taskqueue.add { url = "/note", countdown = 10, payload = ("x"):rep(90000) } end
    local added = 0
    local problem = helper.raises(taskqueue.TransientError, function()
      for _ = 1, 100 do
        add()
        added = added + 1
      end
    end)
    assert.truthy(problem.message:find("storage limit", 1, true))
    assert.is_true(added >= 8 and added <= 12, added)
    helper.result(helper.define(function() return 1 end)()) -- pipelines go on, and so does what is there
    assert.equal(added, #started)
    add()
  end)

  it("Q49 refuses impossible retry parameters", function()
    for _, name in ipairs { "task_retry_limit", "min_backoff_seconds", "max_backoff_seconds", "max_doublings" } do
      malformed { retry_parameters = { [name] = -1 } }
    end
    malformed { retry_parameters = { min_backoff_seconds = 2, max_backoff_seconds = 1 } }
    malformed { retry_parameters = 3 }
    configured { retry_parameters = { min_backoff_seconds = 7200 } }
  end)

  it("Q50 has a target in lower case", function()
    assert.equal("v2.billing", configured({ target = "v2.billing" }).target)
    malformed { target = "Billing" }
    malformed { target = "1.v2.billing" }
  end)

  it("Q51 starts as many as its bucket holds, then at its rate", function()
    configured { rate = "5/s", bucket_size = 3 }
    for i = 1, 8 do taskqueue.add { queue_name = "work", url = "/note", params = { name = i } } end
    engine:drain()
    local times = {}
    for i, start in ipairs(started) do times[i] = math.floor(start.at * 10 + 0.5) end
    assert.same({ 0, 0, 0, 2, 4, 6, 8, 10 }, times)
    assert.equal(5, configured({ rate = "1/s" }).bucket_size)
    configured { mode = "pull", rate = "1/s" }
    assert.truthy(helper.log(30)[1]:find("no rate", 1, true))
  end)

  it("Q51 is not slowed by starts that come a little late, and forgets what nobody wanted", function()
    configured { rate = "10/s", bucket_size = 1 }
    for i = 1, 6 do taskqueue.add { queue_name = "work", url = "/note", params = { name = i } } end
    -- So many have started when so many seconds have passed, and no more.
    local function check(total, seconds)
      engine:advance(seconds)
      local rounds, more = 0, 20
      repeat
        engine:step()
        engine._core:meta("none") -- waits until the store has done what it was told before
        rounds, more = rounds + 1, #started < total and more or more - 1
      until more == 0 or rounds == 5000
      assert.equal(total, #started)
    end
    check(1, 0)
    check(2, 0.15) -- 50 ms late
    check(3, 0.05) -- and this one on time
    check(3, 0.05)
    check(4, 0.05)
    check(5, 3) -- a bucket of one
    check(5, 0.09)
    check(6, 0.011)
  end)

  it("Q52 G65 executes no more at once than it may", function()
    configured { max_concurrent_requests = 2 }
    local running, most = 0, 0
    engine:route("POST", "/slow", function()
      running = running + 1
      most = math.max(most, running)
      engine:sleep(1)
      running = running - 1
    end)
    for _ = 1, 7 do taskqueue.add { queue_name = "work", url = "/slow" } end
    local before = engine:now()
    engine:drain { delayed = true }
    assert.equal(2, most)
    assert.near(4, engine:now() - before, 0.01)
  end)

  it("Q52 executes no more at once than it may, also of what it has claimed ahead, in its order", function()
    configured { max_concurrent_requests = 3 }
    local deferred = require "pipeline.deferred"
    local running, most, counted, order = 0, 0, 0, {}
    deferred.register("spec.narrow", function(i)
      running = running + 1
      most = math.max(most, running)
      order[#order + 1] = i
      if i % 100 == 0 then
        local stats = Queue("work"):fetch_statistics()
        assert(stats.in_flight <= 3)
        counted = math.max(counted, stats.in_flight)
      end
      if i > 1500 then engine:sleep(1) end
      running = running - 1
    end)
    local core, list = engine._core, {}
    for i = 1, 1600 do
      local payload = deferred.serialize("spec.narrow", i)
      list[i] = { id = core:new_id(), kind = "deferred", queue = "work", payload = payload }
    end
    local commits = core:facts().commits
    for from = 1, 1600, 800 do assert(core:task_add(table.move(list, from, from + 799, 1, {}))) end
    local before = engine:now()
    engine:drain { delayed = true }
    assert.same({ 3, 3 }, { most, counted })
    assert.is_true(core:facts().commits - commits < 300, core:facts().commits - commits)
    assert.is_true(engine:now() - before >= 33)
    for i = 1, 1600 do assert.equal(i, order[i]) end
  end)

  it("Q53 G65 starts nothing while it is paused, and lets the limits change while it runs", function()
    configured { rate = "0" }
    taskqueue.add { queue_name = "work", url = "/note", params = { name = "a" } }
    engine:drain { delayed = true }
    configured { paused = true }
    engine:drain { delayed = true }
    assert.equal(0, #started)
    Queue("work"):resume()
    engine:drain()
    assert.equal(1, #started)
    Queue("work"):pause()
    assert.is_true(Queue("work"):settings().paused)
  end)

  it("Q83 orders by priority, then eta, then the order of adding", function()
    configured { paused = true }
    for i, given in ipairs { {}, { priority = 5 }, { countdown = -10 }, { priority = -1 }, {} } do
      given.queue_name, given.url, given.params = "work", "/note", { name = i }
      taskqueue.add(given)
    end
    Queue("work"):resume()
    engine:drain()
    local order = {}
    for i, start in ipairs(started) do order[i] = start.name end
    assert.same({ "2", "3", "1", "5", "4" }, order)
  end)

  it("Q83 takes its turn with the others, whatever their order is", function()
    engine:close()
    engine = helper.open { concurrency = 1, queues = { work = {}, other = {} } }
    local order = {}
    engine:route("POST", "/note", function(request) order[#order + 1] = request.params.name end)
    for i, name in ipairs { "other", "work", "default", "work", "other", "default" } do
      taskqueue.add { queue_name = name, url = "/note", params = { name = i }, eta = 1700000000 - (i * 5) % 7 }
    end
    engine:drain()
    local place = {}
    for i, name in ipairs(order) do place[name] = i end
    for first, second in pairs { ["1"] = "5", ["4"] = "2", ["6"] = "3" } do -- those of a queue
      assert.is_true(place[first] <= 3 and place[second] > 3, table.concat(order, " "))
    end
  end)

  it("Q113 Q116 G71 has true figures", function()
    configured { rate = "1/m", bucket_size = 2 }
    local empty = Queue("work"):fetch_statistics()
    assert.same({ 0, 0, 0 }, { empty.tasks, empty.executed_last_minute, empty.in_flight })
    assert.is_nil(empty.oldest_eta_usec)
    for i = 1, 4 do taskqueue.add { queue_name = "work", url = "/note", eta = 1700000000 - i } end
    taskqueue.add { queue_name = "work", url = "/note", countdown = 100 }
    pcall(engine.drain, engine, { timeout = 1 })
    local full = Queue("work"):fetch_statistics()
    assert.same({ 3, 2, 0 }, { full.tasks, full.executed_last_minute, full.in_flight })
    assert.equal(1699999998000000, full.oldest_eta_usec)
    assert.near(1 / 60, full.enforced_rate, 1e-9)
    Queue("work"):purge()
    taskqueue.add { queue_name = "work", url = "/note", countdown = 100 }
    engine:advance(60)
    local future = Queue("work"):fetch_statistics()
    assert.same({ 1, 0 }, { future.tasks, future.executed_last_minute })
    assert.is_nil(future.oldest_eta_usec)
    assert.is_nil(Queue():fetch_statistics().enforced_rate)
  end)

  it("Q114 Q115 Q117 fetches one or many", function()
    local fetch = taskqueue.QueueStatistics.fetch
    taskqueue.configure { work = {} }
    assert.equal("work", fetch("work").queue.name)
    assert.is_true(fetch("work") == Queue("work"):fetch_statistics())
    assert.is_true(fetch(Queue("work")) == fetch({ "default", "work" })[2])
    assert.is_false(fetch("work") == fetch("default"))
    assert.same({}, fetch {})
    helper.misuse("mixed", fetch, { "work", Queue("default") })
    helper.misuse("bad argument #1 to 'fetch'", fetch, 7)
  end)

  it("Q118 has its tree of errors", function()
    local parents = {
      InvalidTaskError = "InvalidTaskNameError TaskTooLargeError TaskAlreadyExistsError TombstonedTaskError "
        .. "InvalidUrlError InvalidEtaError",
      TaskTooLargeError = "TransactionalRequestTooLargeError", InvalidQueueError = "InvalidQueueNameError",
      Error = "InvalidTaskError InvalidQueueError UnknownQueueError TransientError InternalError BadTaskStateError "
        .. "PermissionDeniedError DuplicateTaskNameError TooManyTasksError DatastoreError BadTransactionStateError "
        .. "InvalidTaskRetryOptionsError InvalidLeaseTimeError InvalidMaxTasksError InvalidDeadlineError "
        .. "InvalidQueueModeError TaskLeaseExpiredError QueuePausedError InvalidTagError "
        .. "InvalidDispatchDeadlineError UnknownTaskError",
    }
    for parent, children in pairs(parents) do
      for child in children:gmatch("%S+") do
        assert.is_true(pipeline.is(taskqueue[child] "x", taskqueue[parent]), child)
        assert.is_true(pipeline.is(taskqueue[child] "x", taskqueue.Error), child)
      end
    end
    assert.is_true(pipeline.is(taskqueue.Error "x", pipeline.Error))
  end)
end)
