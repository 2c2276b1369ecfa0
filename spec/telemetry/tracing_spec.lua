-- tracing_spec.lua - spans of what an engine executes, as a collector gets them.

local cjson = require "cjson"
local deferred = require "pipeline.deferred"
local pace = require "spec.support.pace"
local pipeline = require "pipeline"
local processes = require "spec.crash.processes"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"

local PYTHON = os.getenv("PYTHON") or "/usr/bin/python3"
local PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
local PARENT_TRACE, PARENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

local function nothing() end
deferred.register("tracing_spec.nothing", nothing)

local Child = pipeline.define("tracing_spec.Child", { run = function() return 1 end })
local Parent = pipeline.define("tracing_spec.Parent", { run = function(self) self:spawn(Child()) end })
local Fails = pipeline.define("tracing_spec.Fails", {
  max_attempts = 2, backoff_seconds = 0.01, run = function() error("broken on purpose") end,
})

describe("tracing", function()
  local engine, directory, collector, lines

  -- A collector that answers `status` after `delay` seconds; returns its URL.
  local function collect(status, delay)
    collector = assert(io.popen(("env -u LD_PRELOAD %s spec/telemetry/collector.py %s/spans %d %g >%s/port"):format(
      PYTHON, directory, status or 200, delay or 0, directory), "w"))
    local port
    processes.eventually(20, function()
      local file = io.open(directory .. "/port")
      port = file and file:read("n")
      if file then file:close() end
      return port
    end)
    return ("http://127.0.0.1:%d"):format(port)
  end

  local function open(url, given)
    lines = {}
    engine = pipeline.open(":memory:", {
      tracing = { endpoint = url, service = "shop", sample = given and given.sample },
      log = function(level, line, fields) lines[#lines + 1] = { level = level, text = line, fields = fields } end,
    })
    return engine
  end

  local function spans()
    local list = {}
    local file = io.open(directory .. "/spans")
    for line in file and file:lines() or function() end do list[#list + 1] = cjson.decode(line) end
    if file then file:close() end
    for _, span in ipairs(list) do assert.is_nil(span.problem) end
    return list
  end

  -- Runs the engine until so many spans have come; by their names.
  local function received(count)
    local list
    local deadline = processes.now() + 20 * pace
    repeat
      engine:sleep(0.05)
      list = spans()
    until #list >= count or processes.now() > deadline
    local by_name = {}
    for _, span in ipairs(list) do by_name[span.name] = span end
    return by_name, list
  end

  local function attribute(span, name)
    for _, item in ipairs(span.attributes) do
      if item.key == name then return item.value.stringValue or item.value.intValue end
    end
  end

  before_each(function() directory = processes.directory() end)

  after_each(function()
    if engine then engine:close() end
    if collector then collector:close() end
    engine, collector = nil, nil
    os.execute("rm -rf " .. directory)
  end)

  it("O4 a pipeline is a trace: each stage a span below its parent's, each attempt one below its stage", function()
    open(collect())
    local stage = Parent():start()
    engine:wait(stage)
    local by_name, list = received(4)
    assert.equal(4, #list)
    local root, child = by_name["tracing_spec.Parent"], by_name["tracing_spec.Child"]
    for _, span in ipairs(list) do assert.same({ stage.id, "shop" }, { span.traceId, span.service }) end
    assert.is_nil(root.parentSpanId)
    assert.equal(root.spanId, child.parentSpanId)
    assert.equal(root.spanId, child.links[1].spanId)
    assert.equal(root.spanId, by_name["run tracing_spec.Parent"].parentSpanId)
    assert.equal(child.spanId, by_name["run tracing_spec.Child"].parentSpanId)
    assert.equal("done", attribute(root, "pipeline.state"))
    assert.equal("1", attribute(by_name["run tracing_spec.Child"], "pipeline.attempt"))
  end)

  it("O4 names of any letters and signs come as they are", function()
    open(collect())
    local name = 'tracing_spec.Ünï "quoted" \\ \1'
    local Odd = pipeline.define(name, { run = function() return 1 end })
    engine:wait(Odd():start())
    engine:wait(Child():start())
    local by_name = received(4)
    assert.equal(name, attribute(by_name["run " .. name], "pipeline.class"))
    assert.equal("tracing_spec.Child", attribute(by_name["run tracing_spec.Child"], "pipeline.class"))
  end)

  it("O4 a failed attempt has the error as an event, and an aborted stage is marked", function()
    open(collect())
    local stage = Fails():start()
    pcall(engine.wait, engine, stage)
    local by_name, list = received(3)
    assert.equal(3, #list)
    local run = by_name["run tracing_spec.Fails"]
    assert.equal(2, run.status.code)
    assert.equal("exception", run.events[1].name)
    local message
    for _, item in ipairs(run.events[1].attributes) do
      if item.key == "exception.message" then message = item.value.stringValue end
    end
    assert.matches("broken on purpose", message)
    assert.equal(2, by_name["tracing_spec.Fails"].status.code)
  end)

  it("O4 a request with traceparent is a span; what it starts and adds is in its trace, below it", function()
    open(collect())
    local started
    engine:route("POST", "/work", function() return 204 end)
    engine:route("POST", "/orders", function()
      started = Child():start()
      deferred.defer(nothing)
      taskqueue.add { url = "/work" }
      return 200
    end)
    engine:handle { method = "POST", path = "/orders", headers = { traceparent = PARENT } }
    engine:drain()
    local by_name = received(6)
    local server = by_name["POST /orders"]
    assert.same({ PARENT_TRACE, PARENT_SPAN, 2 }, { server.traceId, server.parentSpanId, server.kind })
    local start = by_name["start tracing_spec.Child"]
    assert.same({ PARENT_TRACE, server.spanId }, { start.traceId, start.parentSpanId })
    local root = by_name["tracing_spec.Child"]
    assert.same({ PARENT_TRACE, server.spanId }, { root.traceId, root.parentSpanId })
    assert.same({ PARENT_TRACE, root.spanId }, { start.links[1].traceId, start.links[1].spanId })
    assert.equal(started.id, attribute(root, "pipeline.id"))
    for _, name in ipairs { "deferred default", "push default" } do
      assert.same({ PARENT_TRACE, server.spanId }, { by_name[name].traceId, by_name[name].parentSpanId })
      assert.equal(server.spanId, by_name[name].links[1].spanId)
    end
  end)

  it("O4 a push and a fetch say which trace they belong to: that of the attempt that makes them", function()
    open(collect())
    local got = {}
    engine:route("POST", "/work", function(request)
      got.push = request.headers.traceparent
      return 200
    end)
    engine:route("GET", "/ask", function(request)
      got.fetch = request.headers.traceparent
      return 200
    end)
    local server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
    local Fetches = pipeline.define("tracing_spec.Fetches", { run = function()
      tasklets.fetch({ url = server.url .. "/ask" }):get_result()
      taskqueue.add { url = "/work" }
    end })
    local stage = Fetches():start()
    engine:wait(stage)
    engine:drain()
    local by_name = received(3)
    local run = by_name["run tracing_spec.Fetches"]
    assert.equal(("00-%s-%s-01"):format(stage.id, run.spanId), got.fetch)
    local push = by_name["push default"]
    assert.equal(("00-%s-%s-01"):format(stage.id, push.spanId), got.push)
    assert.equal(run.spanId, push.parentSpanId)
  end)

  it("O4 the context of a task is kept with it: who executes it later, in another process, is in its trace", function()
    local url = collect()
    local path = directory .. "/store.db"
    local function open_file(no_worker)
      return pipeline.open(path, {
        tracing = { endpoint = url, service = "shop" }, log = function() end, no_worker = no_worker,
      })
    end
    engine = open_file(true)
    engine:route("POST", "/orders", function() deferred.defer(nothing) end)
    engine:handle { method = "POST", path = "/orders", headers = { traceparent = PARENT } }
    engine:close()
    engine = open_file()
    engine:drain()
    local by_name = received(2)
    assert.equal(PARENT_TRACE, by_name["deferred default"].traceId)
  end)

  -- Engines on one file, one after another, each with the option `sample` at next to nothing.
  local function file_opener(url)
    local path = directory .. "/store.db"
    return function(no_worker)
      engine = pipeline.open(path, {
        tracing = { endpoint = url, service = "shop", sample = 1e-9 }, log = function() end, no_worker = no_worker,
      })
      return engine
    end, path
  end

  local function rows(path)
    local pipe = assert(io.popen(("sqlite3 '%s' 'SELECT count(*) FROM pl_value'"):format(path)))
    local count = pipe:read("n")
    pipe:close()
    return count
  end

  it("O4 the trace of what has started a root is kept with it: its whole tree is in it, in any process", function()
    local open_file, path = file_opener(collect())
    local id
    open_file(true):route("POST", "/orders", function()
      id = Parent():start().id
      return 200
    end)
    engine:handle { method = "POST", path = "/orders", headers = { traceparent = PARENT } }
    engine:close()
    open_file():drain()
    engine:close()
    open_file()
    local by_name, list = received(6)
    assert.equal(6, #list)
    for _, span in ipairs(list) do assert.equal(PARENT_TRACE, span.traceId) end
    local root, child = by_name["tracing_spec.Parent"], by_name["tracing_spec.Child"]
    assert.equal(by_name["POST /orders"].spanId, root.parentSpanId)
    assert.equal(root.spanId, by_name["run tracing_spec.Parent"].parentSpanId)
    assert.equal(root.spanId, child.parentSpanId)
    assert.equal(child.spanId, by_name["run tracing_spec.Child"].parentSpanId)
    assert.equal(1, rows(path))
    assert.same({}, engine:check())
    pipeline.from_id(id):cleanup()
    assert.equal(0, rows(path))
  end)

  it("O4 a failed attempt, what it logs and a resumed tree are in the trace that its root was started in", function()
    open(collect(), { sample = 1e-9 })
    local stage
    engine:route("POST", "/orders", function()
      stage = Fails():start()
      return 200
    end)
    engine:handle { method = "POST", path = "/orders", headers = { traceparent = PARENT } }
    pcall(engine.wait, engine, stage)
    stage:resume()
    pcall(engine.wait, engine, stage)
    local _, list = received(8) -- request, start, two attempts and an end, twice
    assert.equal(8, #list)
    for _, span in ipairs(list) do assert.equal(PARENT_TRACE, span.traceId) end
  end)

  it("O4 a run starts a root in its own trace, and a durable function one that is detached", function()
    open(collect())
    local Starts = pipeline.define("tracing_spec.Starts", { run = function() Child():start() end })
    local Detaches = pipeline.define("tracing_spec.Detaches", {
      durable = true, run = function(self) self:spawn(Parent(), { detached = true }) end,
    })
    for of, class in pairs { ["tracing_spec.Child"] = Starts, ["tracing_spec.Parent"] = Detaches } do
      local before = #spans()
      local stage = class():start()
      engine:drain()
      local by_name = received(before + (class == Starts and 5 or 6))
      assert.same({ stage.id, by_name["run " .. class.class_path].spanId },
        { by_name[of].traceId, by_name[of].parentSpanId })
      assert.equal(stage.id, by_name["run " .. of].traceId)
    end
  end)

  it("O4 each attempt of a step is a span below that of its run, and what it asks for is in its trace", function()
    open(collect())
    local asked, tries = {}, 0
    engine:route("GET", "/ask", function(request)
      asked[#asked + 1] = request.headers.traceparent
      return 200
    end)
    local server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
    local Steps = pipeline.define("tracing_spec.Steps", { durable = true, run = function(self)
      return self:step({ name = "ask", max_attempts = 2, backoff_seconds = 0.01 }, function()
        tries = tries + 1
        tasklets.fetch({ url = server.url .. "/ask" }):get_result()
        if tries == 1 then error("not yet") end
        return tries
      end)
    end })
    local stage = Steps():start()
    assert.equal(2, engine:wait(stage).default.value)
    local found
    local deadline = processes.now() + 20 * pace
    repeat
      engine:sleep(0.05)
      found = {}
      for _, span in ipairs(spans()) do
        if span.name == "step ask" then found[#found + 1] = span end
      end
    until #found >= 2 or processes.now() > deadline
    assert.equal(2, #found)
    table.sort(found, function(a, b) return attribute(a, "pipeline.attempt") < attribute(b, "pipeline.attempt") end)
    assert.same({ 2, 1 }, { found[1].status.code, found[2].status.code })
    assert.matches("not yet", found[1].status.message)
    for i, span in ipairs(found) do
      assert.equal(stage.id, span.traceId)
      assert.truthy(span.parentSpanId)
      assert.equal(("00-%s-%s-01"):format(stage.id, span.spanId), asked[i])
    end
  end)

  it("O4 a root that unsampled code starts is not sampled, whatever its own id says", function()
    open(collect())
    engine:route("POST", "/orders", function()
      Parent():start()
      return 200
    end)
    engine:handle { method = "POST", path = "/orders", headers = { traceparent = PARENT:sub(1, -2) .. "0" } }
    engine:drain()
    engine:close()
    engine = nil
    assert.equal(0, #spans())
  end)

  it("O4 fires of a schedule are not in the trace of who has declared it, but of who triggers them", function()
    open(collect())
    local daily
    engine:route("POST", "/declare", function()
      daily = schedules.create("tracing_spec", { cron = "0 3 * * *", start = Child() })
      return 200
    end)
    engine:route("POST", "/trigger", function()
      daily:trigger()
      return 200
    end)
    engine:handle { method = "POST", path = "/declare", headers = { traceparent = PARENT } }
    daily:trigger()
    engine:drain()
    local by_name = received(3)
    assert.is_true(by_name["tracing_spec.Child"].traceId ~= PARENT_TRACE)
    engine:handle { method = "POST", path = "/trigger", headers = { traceparent = PARENT } }
    engine:drain()
    assert.equal(PARENT_TRACE, received(6)["tracing_spec.Child"].traceId)
  end)

  it("O4 sample: none, or who asked is not sampled: nothing is sent, and requests go out all the same", function()
    open(collect(), { sample = 0 })
    engine:wait(Parent():start())
    engine:route("POST", "/orders", function() deferred.defer(nothing) end)
    local unsampled = PARENT:sub(1, -2) .. "0"
    engine:handle { method = "POST", path = "/orders", headers = { traceparent = unsampled } }
    engine:drain()
    engine:close()
    engine = nil
    assert.equal(0, #spans())
  end)

  it("O4 sample: a part of all, each tree with all of its stages or none, and tasks of queues by themselves", function()
    open(collect(), { sample = 0.5 })
    engine:route("POST", "/work", function() return 200 end)
    for _ = 1, 40 do
      Parent():start()
      taskqueue.add { url = "/work", payload = ("x"):rep(200), headers = { ["x-what"] = "a header of the user's" } }
    end
    engine:drain()
    received(4)
    engine:close()
    engine = nil
    local trees, tasks = {}, 0
    for _, span in ipairs(spans()) do
      if span.name:find("tracing_spec", 1, true) then
        trees[span.traceId] = (trees[span.traceId] or 0) + 1
      elseif span.name:find("push", 1, true) then
        tasks = tasks + 1
      end
    end
    local count = 0
    for _, size in pairs(trees) do
      count = count + 1
      assert.equal(4, size)
    end
    assert.is_true(count > 0 and count < 40, count .. " trees")
    assert.is_true(tasks > 0 and tasks < 40, tasks .. " tasks")
  end)

  it("O4 of what is not sampled nothing is told, and what it sends says so", function()
    open(collect(), { sample = 0 })
    local core, told, got = engine._core, 0, nil
    core:on("event", function(what) told = told + (what == "ended" and 1 or 0) end)
    engine:route("POST", "/work", function(request)
      got = request.headers.traceparent
      return 200
    end)
    for _ = 1, 5 do deferred.defer(nothing) end
    taskqueue.add { url = "/work" }
    engine:drain()
    assert.equal(0, told)
    assert.matches("^00%-%x+%-%x+%-00$", got)
  end)

  it("O4 damaged headers are no trace", function()
    local trace = require "pipeline.telemetry.trace"
    for _, header in ipairs { "", "00-0-0-0", "ff-" .. PARENT:sub(4), PARENT .. "-more", PARENT:gsub("4bf9", "4bfg"),
      "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-" .. PARENT_TRACE .. "-0000000000000000-01" } do
      assert.is_nil(trace.parse(header), header)
    end
    assert.same({ trace = PARENT_TRACE, span = PARENT_SPAN, sampled = true }, trace.parse(PARENT))
  end)

  it("O4 a collector that is away, refuses or stalls costs spans and a line of log, and holds no work up", function()
    for _, url in ipairs { "http://127.0.0.1:1", collect(503) } do
      open(url)
      assert.equal(1, engine:wait(Child():start()).default.value)
      local deadline = processes.now() + 20 * pace
      local function is_told()
        for _, line in ipairs(lines) do
          if line.text:find("spans were dropped", 1, true) then return true end
        end
      end
      repeat engine:sleep(0.05) until is_told() or processes.now() > deadline
      assert.is_true(is_told())
      assert.equal(1, engine:wait(Child():start()).default.value)
      engine:close()
      engine = nil
    end
    collector:close()
    open(collect(200, 30))
    local began = processes.now()
    for _ = 1, 50 do engine:wait(Child():start()) end
    assert.is_true(processes.now() - began < 10 * pace)
  end)

  it("O4 lines of log have the id of the trace", function()
    open(collect())
    local Says = pipeline.define("tracing_spec.Says", { run = function(self) self:log("info", "hello") end })
    local stage = Says():start()
    engine:wait(stage)
    for _, line in ipairs(lines) do
      if line.text == "hello" then return assert.equal(stage.id, line.fields.trace_id) end
    end
    error("no line")
  end)

  it("O4 an endpoint or a sample that cannot be is refused", function()
    local bad = { {}, { endpoint = "collector" }, { endpoint = "http://x", sample = 2 }, { endpont = "x" } }
    for _, given in ipairs(bad) do
      local ok, problem = pcall(pipeline.open, ":memory:", { tracing = given, virtual_time = true })
      assert.is_false(ok)
      assert.matches("tracing", tostring(problem))
    end
  end)
end)
