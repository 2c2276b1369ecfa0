-- task_spec.lua: making tasks and their retry options, Q1 to Q38.

local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local Task, Retry = taskqueue.Task, taskqueue.TaskRetryOptions

local function refused(class, given)
  return helper.raises(taskqueue[class], Task, given)
end

describe("a task", function()
  local engine
  before_each(function() engine = helper.open { targets = { default = "http://shop.example:8080" } } end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("Q1 has defaults", function()
    local task = Task()
    assert.same({ "POST", "", false, false, 0, 0 },
      { task.method, task.url, task.was_enqueued, task.was_deleted, task.retry_count, task.priority })
    assert.is_nil(task.payload)
    assert.is_nil(task.name)
    assert.is_nil(task.queue_name)
    assert.is_nil(task.tag)
    assert.equal(engine:now(), task.eta)
  end)

  it("Q2 L1 refuses unknown options and names the nearest", function()
    helper.misuse("unknown option 'paylod'; did you mean 'payload'", Task, { paylod = "x" })
  end)

  it("Q3 takes methods in any case", function()
    for _, method in ipairs { "GET", "post", "Head", "PUT", "delete" } do
      assert.equal(method:upper(), Task { method = method }.method)
    end
    assert.equal("PULL", Task { method = "pull", payload = "" }.method)
    refused("InvalidTaskError", { method = "PATCH" })
    refused("InvalidTaskError", { method = 1 })
  end)

  it("Q4 Q5 G66 checks names exactly", function()
    for _, name in ipairs { "a", "-", "_x-9", ("n"):rep(500) } do assert.equal(name, Task { name = name }.name) end
    assert.is_nil(Task { name = "" }.name)
    for _, name in ipairs { "a b", "a\n", "ä", "a.b", ("n"):rep(501), 7 } do
      refused("InvalidTaskNameError", { name = name })
    end
  end)

  it("Q6 Q7 takes relative URLs", function()
    assert.equal("/a/b?c=d", Task { url = "/a/b?c=d", method = "GET" }.url)
    for _, url in ipairs { "http://h/x", "//h/x", "x", "/x#y", "mailto:x", "/a b", 7 } do
      refused("InvalidUrlError", { url = url })
    end
    assert.equal(2083, #Task { url = "/" .. ("x"):rep(2082) }.url)
    refused("InvalidUrlError", { url = "/" .. ("x"):rep(2083) })
    Task { url = "/x?" .. ("q"):rep(3000), method = "GET" }
  end)

  it("Q1 Q6 Q25 is the same whether little is said of it or all of that by other words", function()
    local function fields(given)
      local task = Task(given)
      local found = { size = task.size, headers = task.headers, text = tostring(task), words = task.description }
      for key, value in pairs(task) do found[key] = value end
      return found
    end
    for _, given in ipairs {
      { url = "/work", payload = "x" }, { url = "/work" }, { url = "/work", payload = "" }, { url = "" },
      { url = "/work", payload = "x", method = "POST" }, { method = "PULL", payload = "x" },
      { method = "PULL", payload = "" },
    } do
      local more = { name = "" } -- the same, and not what is made in a hurry
      for key, value in pairs(given) do more[key] = value end
      if given.url then Task { url = given.url } end -- it is known then
      assert.same(fields(more), fields(given))
    end
    local function behind(fields_behind) return setmetatable({}, { __index = fields_behind }) end
    assert.equal("PULL", Task(behind { method = "PULL", payload = "x" }).method)
    refused("InvalidTaskError", { url = "/work", payload = 7 })
    refused("InvalidTaskError", { method = "PULL" })
    refused("InvalidTaskError", { method = "PULL", payload = "x", url = "/work" })
    refused("TaskTooLargeError", { url = "/work", payload = ("x"):rep(102400) })
    refused("TaskTooLargeError", { method = "PULL", payload = ("x"):rep(1048576) })
  end)

  it("Q8 takes name and url together", function()
    local task = Task { name = "n", url = "/u" }
    assert.same({ "n", "/u" }, { task.name, task.url })
  end)

  it("Q9 has a payload only with POST, PUT and PULL", function()
    for _, method in ipairs { "GET", "HEAD", "DELETE" } do
      refused("InvalidTaskError", { method = method, payload = "x" })
      assert.is_nil(Task { method = method, payload = "" }.payload)
    end
    for _, method in ipairs { "POST", "PUT", "PULL" } do
      assert.equal("x", Task { method = method, payload = "x" }.payload)
    end
  end)

  it("Q10 L17 has bytes as payload, and no content type of its own", function()
    refused("InvalidTaskError", { payload = {} })
    refused("InvalidTaskError", { payload = 7 })
    assert.equal("", Task { payload = "" }.payload)
    assert.equal("\0\255", Task { payload = "\0\255" }.payload)
    assert.is_nil(Task { payload = "x" }.headers["Content-Type"])
  end)

  it("Q11 encodes the params of a POST", function()
    local task = Task { url = "/x", params = { b = "1 2", a = "ä&" } }
    assert.equal("a=%C3%A4%26&b=1+2", task.payload)
    assert.equal("application/x-www-form-urlencoded", task.headers["content-type"])
    local own = Task { params = { a = 1 }, headers = { ["CONTENT-type"] = "text/x" } }
    assert.equal("text/x", own.headers["Content-Type"])
  end)

  it("Q12 Q13 Q15 Q119 refuses what is said twice", function()
    refused("InvalidTaskError", { params = { a = 1 }, payload = "x" })
    refused("InvalidTaskError", { url = "/x?a=1" })
    for _, method in ipairs { "GET", "PUT", "DELETE", "POST" } do
      refused("InvalidTaskError", { method = method, url = "/x?a=1", params = { b = 2 } })
    end
  end)

  it("Q14 Q16 puts the params of other methods into the query", function()
    assert.equal("/x?a=1", Task { method = "GET", url = "/x", params = { a = 1 } }.url)
    local put = Task { method = "PUT", url = "/x", params = { a = 1 }, payload = "body" }
    assert.same({ "/x?a=1", "body" }, { put.url, put.payload })
    local default = Task { method = "GET", params = { a = 1 } }
    assert.equal("?a=1", default.url)
    assert.equal("/_ah/queue/default?a=1", default:add().url)
  end)

  it("Q17 takes strings, numbers and lists as values", function()
    assert.equal("f=1.5&i=7&l=1&l=2", Task { params = { i = 7, f = 1.5, l = { 1, "2" }, none = {} } }.payload)
    refused("InvalidTaskError", { params = { f = print } })
    refused("InvalidTaskError", { params = { [{}] = 1 } })
  end)

  it("Q18 keeps headers in one spelling and finds them in any", function()
    local task = Task { headers = { ["x-one"] = "1", ["X-MANY"] = { "a", "b" } } }
    assert.equal("1", task.headers["X-ONE"])
    assert.same({ "a", "b" }, task.headers["x-many"])
    local copy = task.headers
    copy["X-One"] = "changed"
    assert.equal("1", task.headers["x-one"])
    refused("InvalidTaskError", { headers = { ["x-one"] = "a\r\nx-forged: 1" } })
    refused("InvalidTaskError", { headers = { ["x one"] = "a" } })
  end)

  it("Q19 to be pulled has a payload or params and nothing else", function()
    assert.equal("", Task { method = "PULL", payload = "" }.payload)
    assert.equal("a=1", Task { method = "PULL", params = { a = 1 } }.payload)
    assert.is_nil(Task { method = "PULL", params = { a = 1 } }.headers["content-type"])
    refused("InvalidTaskError", { method = "PULL" })
    refused("InvalidTaskError", { method = "PULL", payload = "x", params = { a = 1 } })
    for _, other in ipairs { { url = "/x" }, { headers = {} }, { target = "t" } } do
      other.method, other.payload = "PULL", "x"
      refused("InvalidTaskError", other)
    end
  end)

  it("Q20 G67 has a tag of at most 500 bytes, when it is to be pulled", function()
    assert.equal("\0ü", Task { method = "PULL", payload = "", tag = "\0ü" }.tag)
    assert.is_nil(Task { method = "PULL", payload = "", tag = "" }.tag)
    assert.equal(500, #Task { method = "PULL", payload = "", tag = ("t"):rep(500) }.tag)
    refused("InvalidTagError", { method = "PULL", payload = "", tag = ("ü"):rep(251) })
    refused("InvalidTaskError", { tag = "x" })
  end)

  it("Q21 Q22 Q23 takes a countdown or an eta", function()
    local now = engine:now()
    assert.equal(now + 5, Task { countdown = 5 }.eta)
    assert.equal(now + 2.5, Task { countdown = "2.5" }.eta)
    assert.equal(now - 7, Task { countdown = -7 }.eta)
    assert.equal(1600000000.123456, Task { eta = 1600000000.123456 }.eta)
    assert.equal(1609459200.0, Task { eta = { year = 2021, month = 1, day = 1, hour = 0 } }.eta)
    refused("InvalidTaskError", { countdown = "soon" })
    refused("InvalidTaskError", { countdown = {} })
    refused("InvalidTaskError", { countdown = math.huge })
    refused("InvalidTaskError", { eta = "tomorrow" })
    refused("InvalidTaskError", { countdown = 1, eta = 1 })
  end)

  it("Q24 G68 has a horizon only where one is configured", function()
    Task { countdown = 400 * 86400 }
    taskqueue.set_max_eta(30 * 86400)
    finally(function() taskqueue.set_max_eta(nil) end)
    Task { countdown = 30 * 86400 }
    refused("InvalidEtaError", { countdown = 30 * 86400 + 1 })
  end)

  it("Q25 Q26 G62 has a size with one limit", function()
    local task = Task { url = "/u", payload = "12345", headers = { ab = "cd" } }
    assert.equal(#"POST" + #"/u" + 5 + 2 + 2 + 4, task.size)
    local room = taskqueue.MAX_PUSH_TASK_SIZE_BYTES - #"POST/u"
    assert.is_true(Task { url = "/u", payload = ("x"):rep(room) }:add().was_enqueued)
    refused("TaskTooLargeError", { url = "/u", payload = ("x"):rep(room + 1) })
    Task { method = "PULL", payload = ("x"):rep(taskqueue.MAX_PULL_TASK_SIZE_BYTES - 4) }
    refused("TaskTooLargeError", { method = "PULL", payload = ("x"):rep(taskqueue.MAX_PULL_TASK_SIZE_BYTES - 3) })
  end)

  it("Q27 has no limit any more when it is leased", function()
    taskqueue.configure { pull = { mode = "pull" } }
    local queue = taskqueue.Queue("pull")
    local payload = ("x"):rep(taskqueue.MAX_PULL_TASK_SIZE_BYTES + 1)
    local form = require("pipeline.taskqueue.task").form(Task { method = "PULL", payload = "" }, engine._core, "pull")
    form.payload = payload -- as of a program with another limit
    assert(engine._core:task_add { form })
    engine:advance(1)
    assert.equal(payload, queue:lease_tasks(60, 1)[1].payload)
  end)

  it("Q28 has a dispatch deadline of 15 seconds to a day", function()
    assert.is_nil(Task().dispatch_deadline)
    assert.equal(15, Task { dispatch_deadline = 15 }.dispatch_deadline)
    assert.equal(86400, Task { dispatch_deadline = 86400 }.dispatch_deadline)
    refused("InvalidDispatchDeadlineError", { dispatch_deadline = 14.9 })
    refused("InvalidDispatchDeadlineError", { dispatch_deadline = 86401 })
    helper.misuse("dispatch_deadline", Task, { dispatch_deadline = "20" })
  end)

  it("Q29 has a target, which is in its Host header", function()
    local task = Task { target = "billing" }
    assert.same({ "billing", "billing.shop.example:8080" }, { task.target, task.headers.Host })
    assert.equal("v2", Task { headers = { Host = "v2.shop.example:8080" } }.target)
    refused("InvalidTaskError", { target = "a", headers = { Host = "b" } })
    assert.is_nil(Task().target)
  end)

  it("Q32 gives its params back", function()
    local params = { one = "1", many = { "a", "b" }, text = "ä =&" }
    assert.same(params, Task { params = params }:extract_params())
    assert.same(params, Task { method = "PULL", params = params }:extract_params())
    assert.same(params, Task { method = "GET", params = params }:extract_params())
    assert.same({}, Task():extract_params())
    assert.same({}, Task { method = "GET", url = "/x" }:extract_params())
    helper.raises(taskqueue.InvalidTaskError, Task { payload = "a=1&b" }.extract_params, Task { payload = "a=1&b" })
    helper.raises(taskqueue.InvalidTaskError, Task { payload = "a=%x" }.extract_params, Task { payload = "a=%x" })
  end)

  it("has a readable text", function()
    assert.equal('Task(url="/u", name="n")', tostring(Task { url = "/u", name = "n" }))
    assert.is_true(taskqueue.is_task(Task()))
    assert.is_false(taskqueue.is_task({}))
  end)
end)

describe("retry options of a task", function()
  it("Q33 have five fields, all optional", function()
    local none = Retry()
    for _, name in ipairs { "min_backoff_seconds", "max_backoff_seconds", "max_doublings", "task_retry_limit",
      "task_age_limit" } do
      assert.is_nil(none[name])
      assert.equal(3, Retry { [name] = 3 }[name])
    end
    helper.misuse("unknown option 'limit'", Retry, { limit = 1 })
  end)

  it("Q34 are not negative, and the maximum is not below the minimum", function()
    for _, name in ipairs { "min_backoff_seconds", "max_backoff_seconds", "max_doublings", "task_retry_limit",
      "task_age_limit" } do
      helper.raises(taskqueue.InvalidTaskRetryOptionsError, Retry, { [name] = -1 })
      Retry { [name] = 0 }
    end
    Retry { min_backoff_seconds = 5, max_backoff_seconds = 5 }
    helper.raises(taskqueue.InvalidTaskRetryOptionsError, Retry, { min_backoff_seconds = 5, max_backoff_seconds = 4 })
  end)

  it("Q35 round the age limit up", function()
    assert.equal(60, Retry { task_age_limit = 59.8 }.task_age_limit)
    assert.equal(60, Retry { task_age_limit = 60 }.task_age_limit)
  end)

  it("are checked inside a task, too", function()
    helper.raises(taskqueue.InvalidTaskRetryOptionsError, Task, { retry_options = { task_retry_limit = -1 } })
    helper.misuse("retry_options", Task, { retry_options = 7 })
    assert.equal(2, Task { retry_options = Retry { task_retry_limit = 2 } }.retry_options.task_retry_limit)
  end)
end)
