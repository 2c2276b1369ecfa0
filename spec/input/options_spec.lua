-- Misuse of the public functions: unknown options name the nearest known one, wrong types are wrong arguments, and
-- nothing of it gets into the store.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local Echo = pipeline.define("input.options.Echo", { run = function(_, value) return value end })
local Idle = pipeline.define("input.options.Idle", { async = true, run = function() end, callback = function() end })

local VALUES = {
  ["nil"] = {}, boolean = { true }, number = { 1.5 }, negative = { -1 }, nan = { 0 / 0 }, infinite = { 1 / 0 },
  string = { "text" }, table = { {} }, ["function"] = { print }, thread = { coroutine.create(print) },
  userdata = { io.stdout },
}

-- Calls fn(value) with a value of every kind that is not listed in `good`; each must raise something readable that is
-- an error object of ours, or says which argument or option is wrong.
local function all_wrong(good, fn, what)
  local accepted = {}
  for kind in good:gmatch("%S+") do accepted[kind] = true end
  for kind, value in pairs(VALUES) do
    if not accepted[kind] then
      local ok, problem = pcall(fn, value[1])
      assert(not ok, ("%s took a value of kind '%s'"):format(what, kind))
      local text = tostring(problem)
      local readable = pipeline.is(problem) or text:find("bad argument #%d+ to '[%w_]+'") or text:find("read%-only")
        or text:find("expected", 1, true) or text:find("bad self", 1, true)
      assert(readable, ("%s, '%s': %s"):format(what, kind, text))
      assert(not text:find("attempt to", 1, true), ("%s, '%s': %s"):format(what, kind, text))
    end
  end
end

describe("misuse", function()
  local engine, idle

  before_each(function()
    engine = helper.open()
    idle = Idle():start()
    engine:drain()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("an unknown option names the nearest known one", function()
    local stage = Echo(1)
    local cases = {
      { "open", "durabilty", "durability", function(given) pipeline.open(helper.path(), given) end },
      { "drain", "time_out", "timeout", function(given) engine:drain(given) end },
      { "wait", "timout", "timeout", function(given) engine:wait(idle, given) end },
      { "start", "idempotency_key", "idempotence_key", function(given) stage:start(given) end },
      { "start", "queue", "eta", function(given) stage:start(given) end },
      { "start_test", "retries", "retry", function(given) stage:start_test(given) end },
      { "with_params", "max_attempt", "max_attempts", function(given) stage:with_params(given) end },
      { "from_id", "resolve_output", "resolve_outputs", function(given) pipeline.from_id(idle.id, given) end },
      { "fill", "publsh", "publish", function(given) idle:fill("default", 1, given) end },
      { "complete", "strct", "strict", function(given) idle:complete(1, given) end },
      { "set_status", "mesage", "message", function(given) idle:set_status(given) end },
      { "get_callback_task", "parms", "params", function(given) idle:get_callback_task(given) end },
      { "add", "transaction", "transactional", function(given) idle:get_callback_task():add(nil, given) end },
      { "get_root_list", "class_pth", "class_path", function(given) pipeline.get_root_list(given) end },
      { "serve", "prt", "port", function(given) engine:serve(given) end },
      { "handle", "pth", "path", function(given)
        given.path = "/"
        engine:handle(given)
      end },
    }
    for _, case in ipairs(cases) do
      local name, wrong, right, fn = table.unpack(case)
      local text = helper.misuse("bad argument #%d+ to '" .. name .. "'", fn, { [wrong] = 1 })
      assert.truthy(text:find(wrong, 1, true), text)
      if name ~= "start" or wrong ~= "queue" then assert.truthy(text:find("'" .. right .. "'", 1, true), text) end
    end
    assert.is_nil(stage.id)
  end)

  it("an option that is no name is refused", function()
    for _, key in ipairs { 1, true, 2.5, print } do
      helper.misuse("bad argument #1 to 'drain'", engine.drain, engine, { [key] = 1 })
    end
  end)

  it("options of open: every wrong type is refused and no engine is left", function()
    local path = helper.path()
    all_wrong("string", function(value) pipeline.open(value) end, "open: path")
    all_wrong("nil table", function(value) pipeline.open(path, value) end, "open: options")
    local kinds = {
      durability = "nil", concurrency = "nil", modules = "nil table", log = "nil function table", vfs = "nil string",
      lease_seconds = "nil number", tombstone_seconds = "nil number", class_load_timeout = "nil number",
      virtual_time = "nil boolean", virtual_start = "nil number negative", seed = "nil negative",
      no_worker = "nil boolean",
    }
    for name, good in pairs(kinds) do
      all_wrong(good, function(value) pipeline.open(path, { [name] = value }) end, "open: " .. name)
    end
    helper.misuse("modules", pipeline.open, path, { modules = { 7 } })
    helper.raises(pipeline.StoreError, pipeline.open, path, { vfs = "no such vfs" })
    assert.equal(engine, pipeline.default())
  end)

  it("methods of the engine", function()
    all_wrong("nil table", function(value) engine:drain(value) end, "drain")
    all_wrong("nil number", function(value) engine:drain { timeout = value } end, "drain: timeout")
    all_wrong("nil boolean", function(value) engine:drain { delayed = value } end, "drain: delayed")
    all_wrong("", function(value) engine:wait(value, { timeout = 0 }) end, "wait")
    all_wrong("table nil", function(value) engine:wait(idle, value) end, "wait: options")
    all_wrong("nil", function(value) engine:wait(idle, { timeout = value or 0 }) end, "wait: timeout")
    all_wrong("number negative", function(value) engine:advance(value) end, "advance")
    all_wrong("number negative", function(value) engine:sleep(value) end, "sleep")
    for _, name in ipairs { "drain", "wait", "close", "status", "run", "step", "stop", "now", "serve", "handle" } do
      all_wrong("", function(value) engine[name](value) end, name .. ": self")
    end
  end)

  it("define", function()
    local run = function() end
    all_wrong("string", function(value) pipeline.define(value, { run = run }) end, "define: name")
    all_wrong("table", function(value) pipeline.define(helper.name(), value) end, "define: definition")
    helper.misuse("bad argument #1 to 'define'", pipeline.define, "", { run = run })
    local kinds = {
      run = "nil function", callback = "nil function", finalized = "nil function", try_cancel = "nil function",
      run_test = "nil function", finalized_test = "nil function", async = "nil boolean",
      public_callbacks = "nil boolean", admin_callbacks = "nil boolean", max_attempts = "nil",
      backoff_seconds = "nil number", backoff_factor = "nil number", timeout = "nil number", target = "nil string",
      queue_name = "nil string", output_names = "nil table", extends = "nil",
    }
    for name, good in pairs(kinds) do
      all_wrong(good, function(value) pipeline.define(helper.name(), { [name] = value }) end, "define: " .. name)
    end
    for _, names in ipairs { { 1 }, { "" }, { "a", "a" }, { "default" }, { a = "b" }, { "a", nil, "b" }, { {} } } do
      local ok, problem = pcall(pipeline.define, helper.name(), { output_names = names })
      assert.is_false(ok)
      assert(pipeline.is(problem), tostring(problem))
    end
    helper.raises(pipeline.ConfigurationError, pipeline.define, "input.options.Echo", { run = run })
  end)

  it("instances before start", function()
    local kinds = {
      idempotence_key = "nil string", queue_name = "nil string", base_path = "nil string",
      countdown = "nil number negative", eta = "nil number negative", return_task = "nil boolean", engine = "nil",
    }
    all_wrong("nil table", function(value) Echo(1):start(value) end, "start")
    for name, good in pairs(kinds) do
      all_wrong(good, function(value) Echo(1):start { [name] = value } end, "start: " .. name)
    end
    all_wrong("nil table", function(value) Echo(1):with_params(value) end, "with_params")
    local params = {
      max_attempts = "nil", backoff_seconds = "nil number", backoff_factor = "nil number", target = "nil string",
      queue_name = "nil string", timeout = "nil number",
    }
    for name, good in pairs(params) do
      all_wrong(good, function(value) Echo(1):with_params { [name] = value } end, "with_params: " .. name)
      all_wrong(good, function(value) Echo(1)[name] = value end, "assigning " .. name)
    end
    all_wrong("nil table", function(value) Echo(1):start_test(value) end, "start_test")
  end)

  it("ids", function()
    all_wrong("string", function(value) pipeline.from_id(value) end, "from_id")
    all_wrong("string", function(value) Echo.from_id(value) end, "Class.from_id")
    all_wrong("", function(value) pipeline.get_status_tree(value) end, "get_status_tree")
    all_wrong("nil table", function(value) pipeline.get_root_list(value) end, "get_root_list")
    all_wrong("nil", function(value) pipeline.get_root_list { count = value } end, "get_root_list: count")
    all_wrong("nil", function(value) pipeline.get_root_list { cursor = value } end, "get_root_list: cursor")
    all_wrong("nil string", function(value) pipeline.get_root_list { class_path = value } end, "class_path")
    all_wrong("boolean", function(value) pipeline.set_enforce_auth(value) end, "set_enforce_auth")
    pipeline.set_enforce_auth(true)
    for _, id in ipairs { "", "x", ("0"):rep(32), ("\0"):rep(32), ("z"):rep(100000), "\xff\xfe", idle.id .. "0" } do
      assert.is_nil(pipeline.from_id(id))
      helper.raises(pipeline.UnexpectedPipelineError, engine.wait, engine, id, { timeout = 0 })
      helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, id)
    end
  end)

  it("instances at any time", function()
    all_wrong("", function(value) idle:fill(value, 1) end, "fill: slot")
    helper.raises(pipeline.SlotNotDeclaredError, idle.fill, idle, "nowhere", 1)
    all_wrong("nil table", function(value) idle:fill("default", 1, value) end, "fill: options")
    all_wrong("nil table", function(value) idle:set_status(value) end, "set_status")
    for _, name in ipairs { "message", "console_url" } do
      all_wrong("nil string", function(value) idle:set_status { [name] = value } end, "set_status: " .. name)
    end
    all_wrong("nil table", function(value) idle:set_status { status_links = value } end, "set_status: status_links")
    helper.raises(pipeline.PipelineRuntimeError, idle.set_status, idle, { status_links = { 1 } })
    all_wrong("nil table", function(value) idle:get_callback_url(value) end, "get_callback_url")
    helper.misuse("bad argument #1 to 'get_callback_url'", idle.get_callback_url, idle, { 7 })
    helper.misuse("bad argument #1 to 'get_callback_url'", idle.get_callback_url, idle, { a = {} })
    all_wrong("nil table", function(value) idle:get_callback_task(value) end, "get_callback_task")
    local task = { params = "nil table", name = "nil string", countdown = "nil number negative", method = "nil string",
      eta = "nil number negative", priority = "nil negative" }
    for name, good in pairs(task) do
      all_wrong(good, function(value) idle:get_callback_task { [name] = value } end, "get_callback_task: " .. name)
    end
    all_wrong("nil string table", function(value) idle:get_callback_task():add(value) end, "add: queue")
    helper.misuse("bad argument", function() idle:get_callback_task():add { quue = "x" } end)
    all_wrong("nil table", function(value) idle:get_callback_task():add(nil, value) end, "add: options")
    helper.raises(pipeline.UnexpectedPipelineError, idle.spawn, idle, Echo(1))
    helper.raises(pipeline.UnexpectedPipelineError, idle.after, idle, {})
    helper.raises(pipeline.UnexpectedPipelineError, idle.in_order, idle)
    helper.raises(pipeline.UnexpectedPipelineError, function() idle.id = "x" end)
  end)

  it("inside run", function()
    local tried = false
    local class = helper.define(function(self)
      all_wrong("", function(value) self:spawn(value) end, "spawn")
      all_wrong("table", function(value) self:after(value, function() end) end, "after: list")
      all_wrong("function nil", function(value) self:after({}, value) end, "after: function")
      all_wrong("function nil", function(value) self:in_order(value) end, "in_order")
      helper.raises(pipeline.UnexpectedPipelineError, self.spawn, self, idle)
      tried = true
      return "survived"
    end)
    assert.equal("survived", helper.result(class()))
    assert.is_true(tried)
  end)

  it("HTTP", function()
    all_wrong("nil table", function(value) engine:serve(value) end, "serve")
    for _, name in ipairs { "host", "port", "base_path", "admin_token" } do
      all_wrong("nil string", function(value) engine:serve { [name] = value } end, "serve: " .. name)
    end
    for _, port in ipairs { -1, 65536, 1.5, "http" } do
      assert.is_false((pcall(engine.serve, engine, { port = port })), tostring(port))
    end
    local fn = function() return 200 end
    all_wrong("string", function(value) engine:route(value, "/x", fn) end, "route: method")
    all_wrong("string", function(value) engine:route("GET", value, fn) end, "route: path")
    all_wrong("function", function(value) engine:route("GET", "/x", value) end, "route: handler")
    all_wrong("table", function(value) engine:handle(value) end, "handle")
    all_wrong("nil string", function(value) engine:handle { path = value } end, "handle: path")
    local fields = { method = "nil string", headers = "nil table", params = "nil table", body = "nil string" }
    for name, good in pairs(fields) do
      all_wrong(good, function(value) engine:handle { path = "/x", [name] = value } end, "handle: " .. name)
    end
  end)

  it("a closed engine refuses everything but close", function()
    local other = pipeline.open(":memory:", { virtual_time = true })
    other:close()
    other:close()
    local methods = { "drain", "run", "step", "stop", "fd", "timeout", "now", "status", "serve", "get_root_list" }
    for _, name in ipairs(methods) do
      helper.raises(pipeline.StoreError, other[name], other)
    end
    helper.raises(pipeline.StoreError, other.wait, other, idle.id)
    helper.raises(pipeline.StoreError, other.from_id, other, idle.id)
    helper.raises(pipeline.StoreError, function() Echo(1):start { engine = other } end)
  end)
end)
