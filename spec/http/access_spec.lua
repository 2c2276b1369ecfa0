-- access_spec.lua - endpoints of the library: task-only ones, rpc, signatures and the administrator's token.

local cjson = require "cjson"
local pipeline = require "pipeline"
local support = require "spec.http.support"

local TOKEN = "token-of-the-specs"
local BASE = "/_ah/pipeline/"

local Leaf = pipeline.define("spec.access.Leaf", { run = function(_, value) return value end })
local Parent = pipeline.define("spec.access.Parent", {
  run = function(self, value) self:spawn(Leaf(value)) end,
})
local Idle = pipeline.define("spec.access.Idle", { async = true, run = function() end })

local ajax = { ["X-Requested-With"] = "XMLHttpRequest", Authorization = "Bearer " .. TOKEN }

describe("endpoints", function()
  local engine, lines, server

  before_each(function()
    engine, lines = support.open()
    server = engine:serve { port = 0, admin_token = TOKEN }
  end)

  after_each(function()
    pipeline.set_enforce_auth(true)
    engine:close()
    pipeline.set_logger(nil)
  end)

  local function rpc(name, params, headers)
    local reply = engine:handle { path = BASE .. "rpc/" .. name, params = params, headers = headers or ajax }
    return reply, reply.status == 200 and cjson.decode(reply.body) or nil
  end

  local task_only = { "output", "run", "finalized", "abort", "fanout", "fanout_abort", "cleanup" }

  it("P158 P159 task-only endpoints take POST, and only from the engine", function()
    local stage = Parent(1):start()
    for _, name in ipairs(task_only) do
      assert.equal(405, engine:handle { path = BASE .. name }.status)
      local request = { method = "POST", path = BASE .. name, params = { pipeline_key = stage.id } }
      assert.equal(403, engine:handle(request).status)
      request.headers = { ["X-AppEngine-TaskName"] = "forged" }
      assert.equal(403, engine:handle(request).status)
      request.headers = { Authorization = "Bearer " .. TOKEN }
      assert.equal(403, engine:handle(request).status)
      request.headers = nil
      assert.equal(200, engine._web:handle_task(request).status)
    end
    assert.truthy(support.logged(lines, "claims to be a task"))
    assert.equal(1, engine:wait(stage).default.value)
  end)

  it("what the engine delivers in its own process leaves nothing behind in memory", function()
    local served = 0
    engine:route("POST", "/mine", function(request)
      served = served + (request.is_task and 1 or 0)
      return 204
    end)
    local function deliver(n)
      for i = 1, n do
        engine._web:handle_task {
          method = "POST", path = "/mine", headers = { ["x-appengine-taskname"] = "t" .. i }, body = "b",
        }
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count") * 1024
    end
    local before = deliver(100)
    local after = deliver(5000)
    assert.equal(5100, served)
    assert.is_true(after - before < 100000, ("%d bytes more after 5000 tasks"):format(after - before))
  end)

  it("P159 a signature is good for one method, path, query, body and time", function()
    local good = { method = "POST", path = BASE .. "run", query = "a=1", body = "b=2" }
    local function try(change, signature)
      local request = {}
      for key, value in pairs(good) do request[key] = change[key] or value end
      request.headers = {
        ["X-Pipeline-Signature"] = signature or engine._web:sign(good.method, good.path, good.query, good.body),
      }
      return support.fetch(engine, server, {
        method = request.method, path = request.path .. "?" .. request.query, headers = request.headers,
        body = request.body,
      }).status
    end
    assert.equal(200, try {})
    assert.equal(403, try { path = BASE .. "abort" })
    assert.equal(403, try { query = "a=2" })
    assert.equal(403, try { body = "b=3" })
    local signature = engine._web:sign(good.method, good.path, good.query, good.body)
    assert.equal(200, try({}, signature))
    local time, mac = signature:match("t=(%d+),v1=(%x+)")
    assert.equal(403, try({}, ("t=%d,v1=%s"):format(time + 1, mac)))
    assert.equal(403, try({}, ("t=%d,v1=%s"):format(time, mac:sub(1, 62) .. (mac:sub(63) == "00" and "01" or "00"))))
    for _, bad in ipairs { "", "t=,v1=", "v1=" .. mac, "t=" .. time, "t=1e3,v1=" .. mac, ("x"):rep(9000) } do
      assert.equal(403, try({}, bad))
    end
  end)

  it("P159 a signature is too old after five minutes", function()
    local web, core = engine._web, engine._web.core
    local function at(offset)
      local time = ("%d"):format(math.floor(core:now()) + offset)
      local signature = core:sign(table.concat({ "POST", BASE .. "run", "", time, "" }, "\n"))
      return web:handle {
        method = "POST", path = BASE .. "run",
        headers = { ["X-Pipeline-Signature"] = "t=" .. time .. ",v1=" .. signature },
      }.status
    end
    assert.same({ 200, 200, 200, 403, 403 }, { at(0), at(-290), at(290), at(-310), at(310) })
  end)

  it("P188 rpc needs X-Requested-With, but not with an administrator's token", function()
    pipeline.set_enforce_auth(false)
    for _, name in ipairs { "tree", "list", "class_paths" } do
      assert.equal(403, (rpc(name, nil, {})).status)
      assert.equal(403, (rpc(name, nil, { ["X-Requested-With"] = "other" })).status)
      assert.equal(403, (rpc(name, nil, { Authorization = "Bearer wrong" })).status)
      assert.equal(200, (rpc(name, nil, { ["X-Requested-With"] = "XMLHttpRequest" })).status)
    end
    pipeline.set_enforce_auth(true)
    for _, name in ipairs { "tree", "list", "class_paths" } do
      assert.equal(200, (rpc(name, nil, { Authorization = ajax.Authorization })).status)
    end
  end)

  it("P189 rpc is for the administrator only", function()
    for _, name in ipairs { "tree", "list", "class_paths" } do
      for _, authorization in ipairs { "", "Bearer", "Bearer wrong", "Basic " .. TOKEN, "Bearer " .. TOKEN .. "x" } do
        local headers = { ["X-Requested-With"] = "XMLHttpRequest", Authorization = authorization }
        assert.equal(403, (rpc(name, nil, headers)).status)
      end
    end
    assert.equal(200, (rpc("list")).status)
  end)

  it("P190 without enforced authentication rpc is open, the other endpoints are not", function()
    pipeline.set_enforce_auth(false)
    local headers = { ["X-Requested-With"] = "XMLHttpRequest" }
    assert.equal(200, (rpc("class_paths", nil, headers)).status)
    assert.equal(403, (rpc("class_paths", nil, {})).status)
    assert.equal(403, engine:handle { method = "POST", path = BASE .. "run" }.status)
    local stage = Idle():start()
    engine:drain()
    assert.equal(400, engine:handle { path = BASE .. "callback", params = { pipeline_id = stage.id } }.status)
  end)

  it("P191 rpc errors are answers with class, message and traceback", function()
    for _, id in ipairs { "", "no such id", ("0"):rep(32) } do
      local reply, value = rpc("tree", { root_pipeline_id = id })
      assert.equal(200, reply.status)
      assert.equal("PipelineStatusError", value.error_class)
      assert.is_string(value.error_message)
      assert.is_string(value.error_traceback)
      assert.equal("application/json", reply.headers["content-type"])
      assert.equal("no-cache", reply.headers["cache-control"])
    end
    local reply = rpc("list")
    assert.equal("application/json", reply.headers["content-type"])
    assert.equal("no-cache", reply.headers["cache-control"])
  end)

  it("P170 P185 rpc/tree and rpc/list show what the functions of the same name give", function()
    local stage = Parent("\xff binary"):start()
    engine:drain()
    local _, tree = rpc("tree", { root_pipeline_id = stage.id })
    assert.equal(stage.id, tree.rootPipelineId)
    local root = tree.pipelines[stage.id]
    assert.equal("spec.access.Parent", root.classPath)
    assert.equal("done", root.status)
    assert.equal(1, #root.children)
    assert.equal("spec.access.Leaf", tree.pipelines[root.children[1]].classPath)
    local reply = rpc("tree", { root_pipeline_id = stage.id })
    assert.truthy(reply.body:find('"children":[]', 1, true), reply.body)
    assert.truthy(reply.body:find('"base64"', 1, true))
    local _, list = rpc("list", { class_path = "spec.access.Parent" })
    assert.equal(1, #list.pipelines)
    assert.truthy(rpc("list", { class_path = "no.such" }).body:find('"pipelines":[]', 1, true))
    local _, paths = rpc("class_paths")
    local known = {}
    for _, path in ipairs(paths.classPaths) do known[path] = true end
    assert.truthy(known["spec.access.Parent"] and known["pipeline.common.Return"])
  end)

  it("P196 an administrator aborts and cleans up by POST", function()
    local stage = Parent(1):start()
    engine:drain()
    local function act(name, headers, method)
      return engine:handle {
        method = method or "POST", path = BASE .. "rpc/" .. name, params = { root_pipeline_id = stage.id },
        headers = headers or ajax,
      }
    end
    assert.equal(405, act("cleanup", nil, "GET").status)
    assert.equal(403, act("cleanup", { Authorization = "Bearer wrong" }).status)
    assert.equal(403, act("cleanup", { ["X-Requested-With"] = "XMLHttpRequest" }).status)
    assert.equal(false, cjson.decode(act("abort", { Authorization = ajax.Authorization }).body).done)
    assert.equal(true, cjson.decode(act("cleanup").body).done)
    assert.is_nil(pipeline.from_id(stage.id))
    assert.equal("PipelineStatusError", cjson.decode(act("abort").body).error_class)
  end)

  it("P192 an unknown path is 404 in plain text", function()
    local paths = {
      "/", "/nothing", BASE .. "nothing", BASE .. "assets/none.js", BASE .. "../../etc/passwd", BASE .. "rpc/tree/",
    }
    for _, path in ipairs(paths) do
      local reply = engine:handle { path = path }
      assert.equal(404, reply.status, path)
      assert.truthy(reply.headers["content-type"]:find("^text/plain"))
    end
  end)

  it("/healthz says that all is well", function()
    local reply = engine:handle { path = "/healthz" }
    assert.equal(200, reply.status)
    assert.equal("ok", cjson.decode(reply.body).status)
    assert.equal(405, engine:handle { method = "POST", path = "/healthz" }.status)
  end)

  it("the token can be made by the engine", function()
    local other = engine:serve { port = 0, admin_token = "another-token" }
    assert.equal("another-token", other.admin_token)
    assert.equal(403, (rpc("list")).status)
    assert.has_error(function() engine:serve { port = 0, admin_token = "a b\r\nc d e f g" } end)
    assert.has_error(function() engine:serve { port = 0, admin_tokn = "x" } end)
    assert.has_error(function() engine:serve { port = other.port } end)
  end)

  it("base_path moves the endpoints", function()
    engine:serve { port = 0, admin_token = TOKEN, base_path = "/jobs" }
    assert.equal(200, engine:handle { path = "/jobs/rpc/list", headers = ajax }.status)
    assert.equal(404, engine:handle { path = BASE .. "rpc/list", headers = ajax }.status)
    assert.has_error(function() engine:serve { port = 0, base_path = "jobs/" } end)
  end)
end)
