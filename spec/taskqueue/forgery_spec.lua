-- forgery_spec.lua: nothing from outside can run a task: requests over real HTTP to processes that would execute what
-- the store's own tasks say. Each is refused and logged. D30, D31, Q77, Q78.

local support = require "spec.multi.support"
local deferred = require "pipeline.deferred"
local execute = require "pipeline.workflow.execute"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

local URL = "/_ah/queue/deferred"

describe("a request from outside", function()
  local scene, handler, url, engine

  local function start_handler()
    local pid = scene:spawn("start_handler")
    return pid, "http://127.0.0.1:" .. scene:wait_line("port", pid)[2]
  end

  before_each(function()
    scene = support.scene()
    handler, url = start_handler()
    scene.engine:close()
    engine = pipeline.open(scene.path, { log = function() end, targets = { default = url } })
  end)
  after_each(function()
    engine:close()
    scene:close()
  end)

  local function send(to, headers, body)
    local answer, code = engine._core:fetch { url = to .. URL, method = "POST", headers = headers, body = body }
    return answer and answer.status or code
  end

  local function refused(pid, pattern)
    local found = support.eventually(5, function()
      for _, line in ipairs(scene:logged(30, pid)) do
        if line:find(pattern, 1, true) then return line end
      end
    end)
    assert.truthy(found, "nobody logged: " .. pattern)
    assert.equal(0, #scene:read("begin", pid))
  end

  local function defer(what)
    return deferred.with { target = "elsewhere", retry_options = { task_retry_limit = 0 } }("spec.note", what)
  end

  -- Has pushes go through fn(request, forward) in place of being sent; forward(request) sends.
  local function intercept(fn)
    local core = engine._core
    local function forward(request) return core:fetch(request) end
    local proxy = setmetatable({ fetch = function(_, request) return fn(request, forward) end }, {
      __index = function(_, name)
        return function(_, ...) return core[name](core, ...) end
      end,
    })
    core:on("task", function(claim)
      engine._core = proxy
      execute.task(engine, claim)
      engine._core = core
    end)
  end

  local function changed(request, changes)
    local headers = {}
    for name, value in pairs(request.headers) do headers[name] = value end
    for name, value in pairs(changes.headers or {}) do headers[name] = value or nil end
    return { url = changes.url or request.url, method = changes.method or request.method, headers = headers,
      body = changes.body or request.body }
  end

  it("D30 D31 with the headers of a task runs nothing", function()
    local body = deferred.serialize("spec.note", "forged")
    assert.equal(403, send(url, { ["X-AppEngine-TaskName"] = "t", ["X-AppEngine-QueueName"] = "default" }, body))
    refused(handler, "but it is not signed")
    assert.equal(403, send(url, {}, body))
    refused(handler, "refused a forged deferred call from 127.0.0.1")
  end)

  it("D30 with a made-up signature runs nothing", function()
    local body = deferred.serialize("spec.note", "forged")
    local time, code = os.time(), ("0"):rep(64)
    for signature, why in pairs {
      [("t=%d,v1=%s"):format(time, code)] = "but its headers are not signed",
      [("t=%d,n=%s,c=%s.1,v1=%s"):format(time, ("a"):rep(24), ("b"):rep(32), code)] = "but its signature is wrong",
    } do
      assert.equal(403, send(url, { ["X-AppEngine-TaskName"] = "t", ["X-Pipeline-Signature"] = signature }, body))
      refused(handler, why)
    end
    for _, signature in ipairs { "x", "", "t=1", ("t=1,v1="):rep(1000), "t=1,n=,c=,v1=0",
      "t=99999999999999999999,v1=0" } do
      assert.equal(403, send(url, { ["X-AppEngine-TaskName"] = "t", ["X-Pipeline-Signature"] = signature }, body))
    end
    refused(handler, "but its signature cannot be read")
  end)

  it("D30 Q77 that was recorded and altered runs nothing", function()
    local other = deferred.serialize("spec.note", "another call")
    local answers = {}
    intercept(function(request, forward)
      local function try(changes)
        local answer = forward(changed(request, changes))
        answers[#answers + 1] = answer and answer.status
      end
      try { body = other }
      try { headers = { ["X-AppEngine-TaskName"] = "other" } }
      try { headers = { ["X-AppEngine-TaskRetryCount"] = "9" } }
      try { headers = { ["X-AppEngine-More"] = "1" } }
      try { url = request.url .. "?x=1" }
      refused(handler, "but its signature is wrong")
      return forward(request)
    end)
    defer("true one")
    engine:drain { delayed = true, timeout = 20 }
    assert.same({ 403, 403, 403, 403, 403 }, answers)
    assert.equal(1, #scene:read("end"))
    assert.equal("true one", scene:read("end")[1][2])
    assert.equal(0, #taskqueue.Queue():dead_tasks())
  end)

  it("D30 that was recorded and is sent again runs nothing, in the process that had it and in others", function()
    local second, second_url = start_handler()
    local recorded, again
    intercept(function(request, forward)
      local answer = forward(request)
      recorded = request
      again = forward(request).status
      return answer
    end)
    defer("once")
    engine:drain { delayed = true, timeout = 20 }
    assert.equal(403, again)
    assert.equal(1, #scene:read("begin"))
    assert.equal(0, #taskqueue.Queue():dead_tasks())
    local function count(pid, pattern)
      local n = 0
      for _, line in ipairs(scene:logged(30, pid)) do
        if line:find(pattern, 1, true) then n = n + 1 end
      end
      return n
    end
    assert.equal(1, count(handler, "but its signature was used before"))
    assert.equal(403, send(second_url, recorded.headers, recorded.body))
    refused(second, "but its try is over")
    scene.group:kill(handler) -- and its memory with it
    local third, third_url = start_handler()
    assert.equal(403, send(third_url, recorded.headers, recorded.body))
    refused(third, "but its try is over")
    assert.equal(1, #scene:read("begin"))
  end)

  it("D30 that was recorded in a try that failed runs nothing in the next", function()
    local recorded, answers = nil, {}
    engine:close()
    engine = pipeline.open(scene.path, { log = function() end, targets = { default = url }, queues = {
      default = { retry_parameters = { task_retry_limit = 1, min_backoff_seconds = 0.01 } } } })
    intercept(function(request, forward)
      if not recorded then -- it never arrives
        recorded = request
        return nil, "ECONNRESET", "the connection broke"
      end
      answers[1] = forward(recorded).status
      local answer = forward(request)
      answers[2] = answer.status
      return answer
    end)
    deferred.with { target = "elsewhere" }("spec.note", "second try")
    engine:drain { delayed = true, timeout = 20 }
    assert.same({ 403, 200 }, answers)
    assert.equal(1, #scene:read("end"))
  end)

  it("D30 signed by another store runs nothing", function()
    engine:close()
    engine = pipeline.open(":memory:", { log = function() end, targets = { default = url } })
    defer("foreign")
    engine:drain { delayed = true, timeout = 10 }
    local dead = taskqueue.Queue():dead_tasks()
    assert.same({ 1, 403 }, { #dead, dead[1].status })
    refused(handler, "but its signature is wrong")
  end)

  it("Q77 Q78 with the headers of a task reaches routes of programs without them, and is no task there", function()
    local target = scene:spawn("start_target")
    local to = "http://127.0.0.1:" .. scene:wait_line("port", target)[2] .. "/target"
    local answer = engine._core:fetch { url = to, method = "POST", headers = { ["X-AppEngine-TaskRetryCount"] = "7" } }
    assert.equal(200, answer.status)
    local seen = scene:wait_line("request", target)
    assert.same({ "false", "nil" }, { seen[4], seen[6] })
  end)
end)
