-- callback_spec.lua - callbacks of pipelines over HTTP: who may call them, and what they are answered.

local pipeline = require "pipeline"
local support = require "spec.http.support"

local TOKEN = "token-of-the-specs"
local calls = {}

local function callback(self, params)
  calls[#calls + 1] = params
  if params.fail then error("callback went wrong") end
  if params.done then self:complete(params.done) end
  if params.status then return tonumber(params.status), "text/plain", "said so" end
end

local function define(name, fields)
  fields.run = function() end
  if fields.async == nil then fields.async = true end
  if fields.callback == nil then fields.callback = callback end
  return pipeline.define("spec.http." .. name, fields)
end

local Plain = define("Plain", {})
local Admin = define("Admin", { admin_callbacks = true })
local Public = define("Public", { public_callbacks = true })
local Both = define("Both", { public_callbacks = true, admin_callbacks = true })
local Sync = pipeline.define("spec.http.Sync", {
  public_callbacks = true, run = function(self) self:spawn(Plain()) end,
  callback = function() return 200, "text/plain", "sync answered" end,
})
local Mute = pipeline.define("spec.http.Mute", { async = true, public_callbacks = true, run = function() end })

describe("callbacks over HTTP", function()
  local engine, lines

  before_each(function()
    engine, lines = support.open()
    engine:serve { port = 0, admin_token = TOKEN }
    calls = {}
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local function start(class)
    local stage = class():start()
    engine:drain()
    return stage
  end

  local function call(stage, params, headers, method)
    params = params or {}
    params.pipeline_id = stage.id
    return engine:handle {
      method = method or "GET", path = "/_ah/pipeline/callback", params = params, headers = headers,
    }
  end

  local function call_as_task(stage, params, headers)
    params = params or {}
    params.pipeline_id = stage.id
    return engine._web:handle_task {
      method = "POST", path = "/_ah/pipeline/callback", params = params, headers = headers,
    }
  end

  local admin = { Authorization = "Bearer " .. TOKEN }

  it("P152 the URL of get_callback_url reaches the callback with its parameters", function()
    local stage = start(Public)
    local url = stage:get_callback_url { choice = "a b&c=d", lang = "\u{e9}" }
    assert.equal("/_ah/pipeline/callback?choice=a+b%26c%3Dd&lang=%C3%A9&pipeline_id=" .. stage.id, url)
    assert.equal(200, engine:handle { path = url }.status)
    assert.same({ { choice = "a b&c=d", lang = "\u{e9}" } }, calls)
  end)

  it("P158 callback answers GET and POST, and no other method", function()
    local stage = start(Public)
    assert.equal(200, call(stage, { a = 1 }).status)
    assert.equal(200, call(stage, { a = 2 }, nil, "POST").status)
    local reply = call(stage, nil, nil, "DELETE")
    assert.equal(405, reply.status)
    assert.equal("GET, HEAD, POST", reply.headers.allow)
    assert.same({ { a = "1" }, { a = "2" } }, calls)
  end)

  it("P160 a callback without pipeline_id is answered 400", function()
    assert.equal(400, engine:handle { path = "/_ah/pipeline/callback" }.status)
    assert.equal(400, engine:handle { path = "/_ah/pipeline/callback?pipeline_id=" }.status)
  end)

  it("P161 a callback for an unknown id is answered 400 without detail", function()
    for _, id in ipairs { "nonsense", ("0"):rep(32), ("f"):rep(5000), "%00", "'; drop table stage; --" } do
      local reply = engine:handle { path = "/_ah/pipeline/callback", params = { pipeline_id = id } }
      assert.equal(400, reply.status)
      assert.equal("400 Bad Request\n", reply.body)
    end
  end)

  it("P162 who may call back: by class and caller", function()
    local expected = {
      [Plain] = { task = 200, anonymous = 400, admin = 400 },
      [Admin] = { task = 200, anonymous = 400, admin = 200 },
      [Public] = { task = 200, anonymous = 200, admin = 200 },
      [Both] = { task = 200, anonymous = 200, admin = 200 },
    }
    for class, by in pairs(expected) do
      local stage = start(class)
      assert.equal(by.task, call_as_task(stage).status, tostring(class))
      assert.equal(by.anonymous, call(stage).status, tostring(class))
      assert.equal(by.anonymous, call(stage, nil, { Authorization = "Bearer wrong" }).status, tostring(class))
      assert.equal(by.admin, call(stage, nil, admin).status, tostring(class))
    end
  end)

  it("P162 a forged task header gives nothing, and is logged", function()
    local stage = start(Plain)
    assert.equal(400, call(stage, nil, { ["X-AppEngine-TaskName"] = "task1" }).status)
    assert.equal(400, call(stage, nil, {
      ["X-AppEngine-TaskName"] = "task1", ["X-Pipeline-Signature"] = "t=1,v1=" .. ("0"):rep(64),
    }).status)
    assert.same({}, calls)
    assert.truthy(support.logged(lines, "claims to be a task"))
  end)

  it("P163 all parameters but pipeline_id come as strings, the first of each name", function()
    local stage = start(Public)
    local reply = engine:handle {
      method = "POST", path = "/_ah/pipeline/callback?a=1&a=2&pipeline_id=" .. stage.id,
      headers = { ["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8" }, body = "a=3&b=4&b=5&c=&d",
    }
    assert.equal(200, reply.status)
    assert.same({ { a = "1", b = "4", c = "", d = "" } }, calls)
  end)

  it("P164 what the callback returns is the answer; nothing is 200 and empty", function()
    local stage = start(Public)
    local reply = call(stage)
    assert.equal(200, reply.status)
    assert.equal("", reply.body)
    reply = call(stage, { status = 202 })
    assert.equal(202, reply.status)
    assert.equal("text/plain", reply.headers["Content-Type"])
    assert.equal("said so", reply.body)
  end)

  it("P165 a callback that raises is answered 500 without detail, and logged", function()
    local stage = start(Public)
    local reply = call(stage, { fail = "yes" })
    assert.equal(500, reply.status)
    assert.is_nil(reply.body:find("went wrong", 1, true))
    assert.truthy(support.logged(lines, "callback went wrong"))
  end)

  it("P157 a class without callback is answered 500", function()
    assert.equal(500, call(start(Mute)).status)
  end)

  it("P166 a task that is refused is told to stop after more than five retries", function()
    local function retried(count)
      return engine._web:handle_task {
        method = "POST", path = "/_ah/pipeline/callback",
        headers = { ["X-AppEngine-TaskRetryCount"] = tostring(count) },
      }.status
    end
    assert.same({ 400, 400, 200, 200 }, { retried(0), retried(5), retried(6), retried(100) })
    -- Not for those who only claim to be a task.
    assert.equal(400, engine:handle {
      path = "/_ah/pipeline/callback", headers = { ["X-AppEngine-TaskRetryCount"] = "6" },
    }.status)
  end)

  it("P167 P168 a callback may complete its pipeline; afterwards the URL answers 409", function()
    local stage = start(Public)
    assert.equal(200, call(stage, { done = "first" }).status)
    engine:drain()
    assert.equal(409, call(stage, { done = "second" }).status)
    assert.equal("first", engine:wait(stage).default.value)
    assert.equal(1, #calls)
    -- Who may not call back does not learn that it is over.
    local private = start(Plain)
    call_as_task(private, { done = "x" })
    engine:drain()
    assert.equal(400, call(private).status)
  end)

  it("P168 G25 the callback of an aborted pipeline is answered 409", function()
    local stage = start(Public)
    call(stage, { done = "x" })
    local other = start(Public)
    other:abort("no more")
    engine:drain()
    local again = pipeline.from_id(other.id)
    if again.was_aborted then assert.equal(409, call(other).status) end
  end)

  it("P169 the callback of a pipeline that is not async is routed as well", function()
    local reply = call(start(Sync))
    assert.equal(200, reply.status)
    assert.equal("sync answered", reply.body)
  end)

  it("P158 a base path of the pipeline's own has its callback too", function()
    local stage = Public():start { base_path = "/own" }
    engine:drain()
    assert.equal(200, engine:handle { path = stage:get_callback_url { x = 1 } }.status)
    assert.same({ { x = "1" } }, calls)
    assert.equal(404, engine:handle { path = "/other/callback?pipeline_id=" .. stage.id }.status)
  end)

  it("P164 L31 a callback over a socket is answered like one without", function()
    local server = engine:serve { port = 0, admin_token = TOKEN }
    local stage = start(Public)
    local reply = support.fetch(engine, server, { path = stage:get_callback_url { status = 201 } })
    assert.equal(201, reply.status)
    assert.equal("said so", reply.body)
    assert.equal("text/plain", reply.headers["content-type"])
    local path = stage:get_callback_url { done = "over the wire" }
    assert.equal(200, support.fetch(engine, server, { method = "POST", path = path, body = "" }).status)
    assert.equal("over the wire", engine:wait(stage).default.value)
    assert.equal(409, support.fetch(engine, server, { path = path }).status)
  end)
end)
