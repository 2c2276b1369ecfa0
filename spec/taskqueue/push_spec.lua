-- push_spec.lua: pushing to routes of this process, retries, dead letters: Q77 to Q91.

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local Queue, Task = taskqueue.Queue, taskqueue.Task
local START = 1700000000

describe("a push task", function()
  local engine, requests, answers
  before_each(function()
    engine = helper.open()
    requests, answers = {}, {}
    engine:route("*", "/target", function(request)
      requests[#requests + 1] = request
      request.at = math.floor((engine:now() - START) * 10 + 0.5) / 10
      return table.unpack(answers[#requests] or answers.all or { 200 })
    end)
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function push(given)
    given.url = given.url or "/target"
    local task = taskqueue.add(given)
    engine:drain { delayed = true }
    return task
  end

  -- Seconds between the tries of a task that always fails.
  local function delays(retry_options)
    answers.all = { 500 }
    push { retry_options = retry_options }
    local list = {}
    for i = 2, #requests do list[i - 1] = math.floor((requests[i].at - requests[i - 1].at) * 10 + 0.5) / 10 end
    return list
  end

  it("Q77 tells who it is in signed headers", function()
    answers[1] = { 503 }
    local task = push { name = "n", payload = "four", eta = START + 1.25 }
    local first, second = requests[1].headers, requests[2].headers
    assert.same({ "default", "n", "0", "0", "1700000001.250000", "4" }, {
      first["x-appengine-queuename"], first["x-appengine-taskname"], first["x-appengine-taskretrycount"],
      first["x-appengine-taskexecutioncount"], first["x-appengine-tasketa"], first["content-length"],
    })
    assert.is_nil(first["x-appengine-taskpreviousresponse"])
    assert.same({ "1", "1", "503" }, { second["x-appengine-taskretrycount"],
      second["x-appengine-taskexecutioncount"], second["x-appengine-taskpreviousresponse"] })
    assert.is_true(requests[1].is_task)
    assert.equal("0.1.0.2", requests[1].remote_address)
    assert.equal(task.name, first["x-appengine-taskname"])
  end)

  it("Q77 without a name has the one that was chosen for it", function()
    local task = push {}
    assert.equal(task.name, requests[1].headers["x-appengine-taskname"])
  end)

  it("Q78 passes the user's headers, but for those only the engine sets", function()
    push { headers = { ["X-Mine"] = "a", ["X-Two"] = { "b", "c" }, ["X-AppEngine-QueueName"] = "forged",
      ["X-AppEngine-Fake"] = "1", ["Content-Length"] = "99", ["X-Pipeline-Signature"] = "t=1,v1=00" } }
    local headers = requests[1].headers
    assert.same({ "a", "b, c", "default", "0" },
      { headers["x-mine"], headers["x-two"], headers["x-appengine-queuename"], headers["content-length"] })
    assert.is_nil(headers["x-appengine-fake"])
  end)

  it("Q77 Q78 repeats repeated headers over HTTP, where its own are signed", function()
    engine:close()
    engine = helper.open { targets = { default = "http://127.0.0.1:1" } }
    local core, sent = engine._core, nil
    engine._core = setmetatable({ fetch = function(_, request)
      sent = request
      return { status = 200, headers = {} }
    end }, { __index = function(_, name)
      return function(_, ...) return core[name](core, ...) end
    end })
    taskqueue.add { url = "/elsewhere", name = "n", headers = { ["X-Two"] = { "b", "c" },
      ["X-AppEngine-QueueName"] = "forged", ["X-Pipeline-Signature"] = "t=1,v1=00" } }
    engine:drain()
    engine._core = core
    assert.same({ "b", "c" }, sent.headers["X-Two"])
    assert.same({ "default", "n", "0", "0", "1700000000.000000" }, { sent.headers["X-AppEngine-QueueName"],
      sent.headers["X-AppEngine-TaskName"], sent.headers["X-AppEngine-TaskRetryCount"],
      sent.headers["X-AppEngine-TaskExecutionCount"], sent.headers["X-AppEngine-TaskETA"] })
    assert.matches("^t=1700000000,n=%x+,c=%x+%.%d+,v1=%x+$", sent.headers["X-Pipeline-Signature"])
    assert.same({ "http://127.0.0.1:1/elsewhere", "POST", 600 }, { sent.url, sent.method, sent.deadline })
  end)

  it("Q79 has a body of some type", function()
    push { payload = "x" }
    push { payload = "x", headers = { ["Content-Type"] = "text/x" } }
    push {}
    assert.equal("application/octet-stream", requests[1].headers["content-type"])
    assert.equal("text/x", requests[2].headers["content-type"])
    assert.is_nil(requests[3].headers["content-type"])
  end)

  it("arrives as it was sent, whatever the method and however large", function()
    push { method = "GET", params = { a = "1 2" } }
    push { method = "PUT", params = { a = 1 }, payload = ("x"):rep(50000) }
    push { method = "DELETE" }
    push { method = "HEAD" }
    assert.same({ "GET", "1 2" }, { requests[1].method, requests[1].params.a })
    assert.same({ "PUT", "1", 50000 }, { requests[2].method, requests[2].query.a, #requests[2].body })
    assert.same({ "DELETE", "HEAD" }, { requests[3].method, requests[4].method })
  end)

  it("Q81 is done when the answer is 200 to 299, and its name becomes a tombstone", function()
    for status, tries in pairs { [200] = 1, [204] = 1, [299] = 1, [302] = 2, [404] = 2, [500] = 2, [300] = 2 } do
      requests, answers = {}, { { status } }
      local name = "status-" .. status
      push { name = name }
      assert.equal(tries, #requests, name)
      helper.raises(taskqueue.TombstonedTaskError, Queue().add, Queue(), Task { name = name })
    end
  end)

  it("Q82 G60 fails without a status when nobody can be reached", function()
    taskqueue.add { url = "/nowhere", retry_options = { task_retry_limit = 0 } }
    engine:drain { delayed = true }
    local dead = Queue():dead_tasks()[1]
    assert.is_nil(dead.status)
    assert.truthy(dead.message:find("no target", 1, true))
  end)

  it("an error of the handler is a failure of 500", function()
    engine:route("POST", "/broken", function() error("oops") end)
    push { url = "/broken", retry_options = { task_retry_limit = 0 } }
    assert.equal(500, Queue():dead_tasks()[1].status)
  end)

  it("Q49 has its limit of waiting raised when only the least is given, and the reverse", function()
    assert.same({ 7200, 7200 }, delays { min_backoff_seconds = 7200, task_retry_limit = 2 })
    taskqueue.configure { work = { retry_parameters = { min_backoff_seconds = 5000, task_retry_limit = 2 } } }
    requests = {}
    push { queue_name = "work" }
    assert.near(5000, requests[3].at - requests[2].at, 0.01)
    taskqueue.configure { work = { retry_parameters = { max_backoff_seconds = 0.05, task_retry_limit = 2 } } }
    requests = {}
    local before = engine:now()
    push { queue_name = "work" }
    assert.equal(3, #requests)
    assert.near(0.1, engine:now() - before, 0.01)
  end)

  it("Q84 G61 is retried as often as its limit says", function()
    answers.all = { 500 }
    for limit, tries in pairs { [0] = 1, [2] = 3 } do
      requests = {}
      push { retry_options = { task_retry_limit = limit } }
      assert.equal(tries, #requests)
    end
    taskqueue.configure { work = { retry_parameters = { task_retry_limit = 1, min_backoff_seconds = 50 } } }
    requests = {}
    push { queue_name = "work", retry_options = { min_backoff_seconds = 3 } }
    assert.equal(2, #requests)
    assert.near(3, requests[2].at - requests[1].at, 0.01)
  end)

  it("Q36 Q37 G61 has the options of its queue where it has none of its own", function()
    answers.all = { 500 }
    taskqueue.configure { work = { retry_parameters = { task_retry_limit = 2, min_backoff_seconds = 7,
      max_doublings = 0, max_backoff_seconds = 10 } } }
    local function waits(retry_options)
      requests = {}
      push { queue_name = "work", retry_options = retry_options }
      local list = {}
      for i = 2, #requests do list[i - 1] = math.floor((requests[i].at - requests[i - 1].at) * 10 + 0.5) / 10 end
      return list
    end
    assert.same({ 7, 10 }, waits())
    assert.same({ 7, 10 }, waits(taskqueue.TaskRetryOptions()))
    assert.same({ 7, 10 }, waits {})
    assert.same({ 7, 10, 10 }, waits { task_retry_limit = 3 })
    assert.same({ 2, 4 }, waits { min_backoff_seconds = 2 })
    assert.same({ 7, 12 }, waits { max_backoff_seconds = 12 })
  end)

  it("Q85 Q86 is retried while its age, or its limit, allows it", function()
    assert.same({ 4, 4, 4 }, delays { task_age_limit = 10, min_backoff_seconds = 4, max_backoff_seconds = 4 })
    requests = {}
    assert.equal(6, #delays { task_age_limit = 10, task_retry_limit = 6, min_backoff_seconds = 4,
      max_backoff_seconds = 4 })
    requests = {}
    assert.equal(3, #delays { task_age_limit = 10, task_retry_limit = 1, min_backoff_seconds = 4,
      max_backoff_seconds = 4 })
  end)

  it("Q87 waits twice as long each time, then longer by the same step", function()
    assert.same({ 10, 20, 40, 80, 160, 240, 300, 300 }, delays { task_retry_limit = 8, min_backoff_seconds = 10,
      max_backoff_seconds = 300, max_doublings = 3 })
  end)

  it("Q88 without doublings waits longer by the same step", function()
    assert.same({ 10, 20, 30, 40 }, delays { task_retry_limit = 4, min_backoff_seconds = 10, max_doublings = 0 })
  end)

  it("Q38 Q89 has defaults", function()
    assert.same({ 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6, 819.2, 1638.4, 3276.8,
      3600, 3600 }, delays { task_retry_limit = 18 })
  end)

  it("Q90 without retries left is kept among the dead, and can be revived or forgotten", function()
    answers.all = { 500 }
    local task = push { name = "mortal", params = { a = 1 }, retry_options = { task_retry_limit = 0 } }
    helper.raises(taskqueue.TombstonedTaskError, Queue().add, Queue(), Task { name = "mortal" })
    local list = Queue():dead_tasks()
    assert.equal(1, #list)
    assert.same({ "mortal", "/target", "POST", "a=1", 500, "answered 500", 1 }, { list[1].name, list[1].url,
      list[1].method, list[1].payload, list[1].status, list[1].message, list[1].retry_count })
    assert.equal(1, Queue():fetch_statistics().dead_tasks)
    assert.equal(1, #helper.log(30))
    assert.matches("^task %d+ has no retries left and is kept among the dead ones: Error: answered 500$",
      helper.log(30)[1])
    answers.all = nil
    assert.equal(1, Queue():revive(list[1]))
    engine:drain()
    assert.equal(2, #requests)
    assert.equal(0, #Queue():dead_tasks())
    helper.raises(taskqueue.UnknownTaskError, Queue().revive, Queue(), list[1])
    answers.all = { 500 }
    for _ = 1, 3 do push { retry_options = { task_retry_limit = 0 } } end
    local page, cursor = Queue():dead_tasks { count = 2 }
    assert.equal(2, #page)
    assert.equal(1, #Queue():dead_tasks { cursor = cursor })
    assert.equal(1, Queue():purge_dead(page[1]))
    assert.equal(2, Queue():revive())
    engine:drain()
    assert.equal(2, Queue():purge_dead())
    assert.is_false(task.was_deleted)
  end)

  it("is executed with its engine as the current one", function()
    local other = helper.open()
    local current
    other:route("POST", "/who", function() current = pipeline.default() end)
    other._core:task_add { Task { url = "/who" } and require("pipeline.taskqueue.task").form(Task { url = "/who" },
      other._core, "default") }
    other:drain()
    assert.equal(other, current)
  end)

  it("fails when its dispatch deadline is over", function()
    local closed = 0
    engine:route("POST", "/slow", function()
      local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
      engine:sleep(1000)
    end)
    push { url = "/slow", dispatch_deadline = 20, retry_options = { task_retry_limit = 1, min_backoff_seconds = 5 } }
    assert.equal(2, closed)
    assert.near(45, engine:now() - START, 0.1)
    assert.truthy(Queue():dead_tasks()[1].message:find("no answer within 20 s", 1, true))
  end)

  it("is signed with its headers, once, and by its store", function()
    local web = engine:_get_web()
    local headers = { ["x-appengine-taskname"] = "n", ["x-appengine-queuename"] = "q" }
    local function send(signature, name)
      engine:handle { method = "POST", path = "/target", body = "b", headers = {
        ["X-Pipeline-Signature"] = signature, ["X-AppEngine-TaskName"] = name or "n", ["X-AppEngine-QueueName"] = "q",
      } }
      return requests[#requests].is_task, helper.log(30)[#helper.log(30)]
    end
    local signature = web:sign("POST", "/target", "", "b", headers)
    assert.is_true((send(signature)))
    local replayed, why = send(signature)
    assert.is_false(replayed)
    assert.truthy(why:find("was used before", 1, true))
    assert.is_false((send(web:sign("POST", "/target", "", "b", headers), "forged")))
    replayed, why = send(web:sign("POST", "/target", "", "b"))
    assert.is_false(replayed)
    assert.truthy(why:find("headers are not signed", 1, true))
    local other = helper.open()
    assert.is_false((send(other:_get_web():sign("POST", "/target", "", "b", headers))))
    assert.is_true((send(web:sign("POST", "/target", "", "b", headers))))
    signature = web:sign("POST", "/target", "", "b", headers)
    engine:advance(301)
    assert.is_false((send(signature)))
  end)

  it("nobody else can pretend to be one", function()
    local answer = engine:handle { method = "POST", path = "/target", headers = { ["X-AppEngine-QueueName"] = "q",
      ["X-Pipeline-Signature"] = "t=1700000000,v1=" .. ("0"):rep(64) } }
    assert.equal(200, answer.status)
    assert.is_false(requests[1].is_task)
    assert.is_nil(requests[1].headers["x-appengine-queuename"])
    assert.truthy(helper.log(30)[1]:find("claims to be a task", 1, true))
  end)
end)
