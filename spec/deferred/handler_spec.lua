-- handler_spec.lua: how calls end, executed by the engine and pushed to the handler: D30 to D41, with G38 and G39.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local taskqueue = require "pipeline.taskqueue"
local functions = require "spec.deferred.functions"
local helper = require "spec.support.helper"

local URL = "/_ah/queue/deferred"

describe("the handler", function()
  local engine, lines
  before_each(function()
    lines = {}
    engine = helper.open { log = function(level, text) lines[#lines + 1] = { level, text } end }
    functions.forget()
  end)
  after_each(function()
    deferred.set_log_level(20)
    helper.finish()
  end)
  teardown(helper.clean)

  -- A request signed as the engine signs its own.
  local function post(body, headers, how)
    local request = { method = how and how.method or "POST", path = how and how.path or URL, body = body,
      headers = { ["Content-Length"] = tostring(#body), ["X-AppEngine-TaskName"] = "t" } }
    for name, value in pairs(headers or {}) do request.headers[name] = value or nil end
    return engine:_get_web():handle_task(request)
  end

  local function logged(level)
    local found = {}
    for _, line in ipairs(lines) do
      if line[1] == level then found[#found + 1] = line[2] end
    end
    return found
  end

  local function forged(given)
    given.method, given.path = "POST", given.path or URL
    given.body = given.body or deferred.serialize(functions.record, 1)
    given.headers["Content-Length"] = tostring(#given.body)
    local answer = engine:handle(given)
    assert.equal(403, answer.status)
    assert.equal(0, #functions.calls)
    assert.equal(1, #logged(50))
    lines = {}
  end

  it("D30 D31 runs nothing without the store's signature, whatever the headers and the address are", function()
    forged { headers = {} }
    forged { headers = { ["X-AppEngine-TaskName"] = "t", ["X-AppEngine-QueueName"] = "default" } }
    forged { headers = { ["X-AppEngine-TaskName"] = "" }, remote_address = "0.1.0.2" }
    forged { headers = { ["X-Pipeline-Signature"] = "t=1700000000,v1=" .. ("0"):rep(64) } }
    forged { headers = { Authorization = "Bearer " .. engine:_get_web().admin_token } }
  end)

  it("D30 runs nothing with a signature of another body, path, time or store", function()
    local body = deferred.serialize(functions.record, 1)
    local function sign(of, path, signed_body)
      return { ["X-Pipeline-Signature"] = of:_get_web():sign("POST", path, "", signed_body, {}) }
    end
    forged { headers = sign(engine, URL, "other") }
    forged { headers = sign(engine, "/other", body) }
    forged { headers = sign(helper.open(), URL, body) }
    local old = sign(engine, URL, body)
    engine:advance(301)
    forged { headers = old }
    engine:route("POST", "/mine", deferred.handler)
    forged { path = "/mine", headers = sign(engine, URL, body) }
    local once = sign(engine, URL, body)
    assert.equal(200, engine:handle({ method = "POST", path = URL, body = body, headers = {
      ["X-Pipeline-Signature"] = once["X-Pipeline-Signature"], ["Content-Length"] = tostring(#body) } }).status)
    functions.forget()
    forged { headers = once }
  end)

  it("D32 G38 asks for no server software", function()
    assert.equal(200, post(deferred.serialize(functions.record)).status)
  end)

  it("D33 answers success with 200 and \"Success\"", function()
    local answer = post(deferred.serialize(functions.record, 1))
    assert.same({ 200, "Success" }, { answer.status, answer.body })
    assert.matches("^text/plain", answer.headers["content-type"])
    assert.same({ { 1, n = 1 } }, functions.calls)
  end)

  it("D34 answers a singular failure with 408, and the next run may succeed", function()
    functions.raises = deferred.SingularTaskFailure("busy")
    local body = deferred.serialize(functions.fail_once)
    assert.equal(408, post(body).status)
    assert.same({ 1, 0, 0 }, { #logged(10), #logged(30), #logged(40) })
    assert.equal(200, post(body).status)
  end)

  it("D35 answers a permanent failure with 200, logged as an error with its trace", function()
    assert.equal(200, post(deferred.serialize(functions.fail, deferred.PermanentTaskFailure("never"))).status)
    local problem = logged(40)
    assert.equal(1, #problem)
    assert.matches("never", problem[1])
    assert.matches("stack traceback", problem[1])
  end)

  it("D35 G39 answers what cannot be read with 422, so that it is kept", function()
    local answer = post("nonsense")
    assert.equal(422, answer.status)
    assert.matches("cannot be read", answer.headers["x-pipeline-give-up"])
    answer = post(deferred.serialize("spec.not_here.fn"))
    assert.equal(422, answer.status)
    assert.matches("spec.not_here.fn", answer.headers["x-pipeline-give-up"])
  end)

  it("D36 answers any other error with 500", function()
    assert.equal(500, post(deferred.serialize(functions.fail, "oh")).status)
    assert.matches("oh", logged(40)[1])
  end)

  it("D37 reads no body without a length that is a number", function()
    for _, length in ipairs { false, "x", "" } do
      assert.equal(422, post(deferred.serialize(functions.record), { ["Content-Length"] = length }).status)
    end
    assert.equal(0, #functions.calls)
  end)

  it("D38 G38 answers other methods with 405", function()
    for _, method in ipairs { "GET", "PUT", "DELETE" } do
      local answer = post("", nil, { method = method })
      assert.same({ 405, "POST" }, { answer.status, answer.headers.allow })
    end
  end)

  it("D39 logs the headers of the task, at the level that was set", function()
    post(deferred.serialize(functions.record), { ["X-AppEngine-QueueName"] = "q", ["X-Mine"] = "secret" })
    assert.same({ "deferred call: x-appengine-queuename: q, x-appengine-taskname: t" }, logged(20))
    deferred.set_log_level(30)
    deferred.with { name = "mine" }(functions.record)
    engine:drain()
    assert.equal(1, #logged(30))
    assert.matches("x%-appengine%-queuename: default, .*x%-appengine%-taskname: mine, x%-appengine%-taskretrycount: 0",
      logged(30)[1])
    helper.misuse("bad argument #1 to 'set_log_level' %(integer expected, got string", deferred.set_log_level, "debug")
  end)

  it("D40 is routed at the default URL, and at others by the program", function()
    assert.equal(404, post("", nil, { path = "/mine" }).status)
    engine:route("POST", "/mine", deferred.handler)
    assert.equal(200, post(deferred.serialize(functions.record, 1), nil, { path = "/mine" }).status)
    local task = deferred.with { url = "/mine" }(functions.record, 2)
    deferred.with { url = URL }(functions.record, 3)
    assert.equal("/mine", task.url)
    engine:drain()
    assert.same({ 1, 2, 3 }, { functions.calls[1][1], functions.calls[2][1], functions.calls[3][1] })
  end)

  it("D41 has its errors in a tree", function()
    for _, class in ipairs { deferred.PermanentTaskFailure, deferred.SingularTaskFailure } do
      assert.is_true(pipeline.is(class("x"), deferred.Error))
      assert.is_true(pipeline.is(class("x"), pipeline.Error))
    end
    assert.is_false(pipeline.is(deferred.SingularTaskFailure("x"), deferred.PermanentTaskFailure))
  end)
end)

for _, where in ipairs { "the engine", "a route" } do
  describe("a call made by " .. where, function()
    local engine, defer
    before_each(function()
      engine = helper.open()
      functions.forget()
      defer = where == "the engine" and deferred.with {} or deferred.with { url = URL }
    end)
    after_each(helper.finish)
    teardown(helper.clean)

    local function dead()
      return taskqueue.Queue("default"):dead_tasks()
    end

    it("D33 is done when it returns", function()
      defer(functions.record, 1)
      engine:drain { delayed = true }
      assert.equal(1, #functions.calls)
      assert.equal(0, #dead())
    end)

    it("D34 is made again after a singular failure", function()
      functions.raises = deferred.SingularTaskFailure("busy")
      defer(functions.fail_once)
      engine:drain { delayed = true }
      assert.equal(2, #functions.calls)
      assert.equal(0, #helper.log(30))
    end)

    it("D35 D24 is done with after a permanent failure", function()
      defer(functions.fail, deferred.PermanentTaskFailure("never"))
      engine:drain { delayed = true }
      assert.equal(1, #functions.calls)
      assert.equal(0, #dead())
      assert.equal(1, #helper.log(40))
    end)

    it("D36 is made again after any other error, by the rules of its queue", function()
      functions.raises = "once"
      defer(functions.fail_once)
      engine:drain { delayed = true }
      assert.equal(2, #functions.calls)
      assert.is_true(#helper.log(30) >= 1)
    end)

    it("D35 G39 is kept when its function cannot be found", function()
      defer("spec.nobody_has.this", 1)
      engine:drain { delayed = true }
      local list = dead()
      assert.equal(1, #list)
      assert.equal("PermanentTaskFailure", list[1].error_class)
      assert.matches("spec.nobody_has.this", list[1].message)
      assert.equal(deferred.serialize("spec.nobody_has.this", 1), list[1].payload)
    end)
  end)
end

describe("a call pushed to another process's handler", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("D18 D30 D40 goes over HTTP, signed", function()
    functions.forget()
    local engine = helper.open { virtual_time = false, targets = { other = "http://127.0.0.1:1" } }
    if not engine._core.fetch then return pending("needs a build that can send HTTP requests") end
    local server = engine:serve { port = 0, admin_token = "not-asked-for" }
    engine._targets.other = server.url
    deferred.with { target = "other", retry_options = { task_retry_limit = 0 } }(functions.record, "over HTTP")
    engine:drain { timeout = 10 }
    assert.same({ { "over HTTP", n = 1 } }, functions.calls)
    assert.equal(0, #taskqueue.Queue("default"):dead_tasks())
    server:close()
  end)
end)
