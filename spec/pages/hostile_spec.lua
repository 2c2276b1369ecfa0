-- hostile_spec.lua - every route of an engine with pages, asked by whoever has no right to it, by wrong methods, by
-- paths that pretend to be others, and with whatever comes out of a random generator.

local http = require "spec.http.support"
local json = require "pipeline.http.json"
local pipeline = require "pipeline"
local support = require "spec.pages.support"

local BASE, ADMIN, VIEWER = support.BASE, support.ADMIN, support.VIEWER
local METHODS = { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get" }

describe("every route", function()
  local engine, lines

  local Leaf = pipeline.define("pages.hostile.Leaf", { run = function(_, n) return n end })
  local Open = pipeline.define("pages.hostile.Open", { async = true, run = function() end,
    callback = function(self) self:complete(1) end })
  local Fails = pipeline.define("pages.hostile.Fails", { max_attempts = 1, run = function() error("no luck") end })

  before_each(function()
    lines = {}
    engine = pipeline.open(":memory:", {
      virtual_time = true, virtual_start = 1700000000.0,
      log = function(line, text) lines[#lines + 1] = { level = line.level or line, text = text or line.message } end,
    })
    engine:serve { port = 0, admin_token = ADMIN, viewer_token = VIEWER }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  -- All of them: { method, path }, of the library and of the program.
  local function routes_of()
    local list = {}
    for name, methods in pairs(engine._web.endpoints) do
      for method in pairs(methods) do list[#list + 1] = { method, BASE .. "/" .. name } end
    end
    local function walk(node, path)
      for method in pairs(node.methods) do list[#list + 1] = { method, path == "" and "/" or path } end
      for literal, child in pairs(node.literals) do walk(child, path .. "/" .. literal) end
      assert(not node.parameter and not node.rest, "a route with parameters: say here what it asks of whom")
    end
    walk(engine._web.routes.root, "")
    table.sort(list, function(a, b) return a[2] .. " " .. a[1] < b[2] .. " " .. b[1] end)
    return list
  end

  local function ask(method, path, headers, body)
    local all = { host = "127.0.0.1:8080", origin = "http://127.0.0.1:8080" }
    for name, value in pairs(headers or {}) do all[name] = value end
    return engine:handle { method = method, path = path, headers = all, body = body or "",
      remote_address = "127.0.0.1" }
  end

  -- What whoever has no token may have. Everything else is refused, also what is added to the table tomorrow.
  local PUBLIC = {
    ["GET /healthz"] = { [200] = true }, ["GET /readyz"] = { [200] = true },
    ["POST /_ah/pipeline/api/sign-in"] = { [403] = true, [400] = true, [429] = true },
    ["POST /_ah/pipeline/api/sign-out"] = { [200] = true }, ["GET /_ah/pipeline/api/session"] = { [200] = true },
    ["GET /_ah/pipeline"] = { [302] = true }, ["GET /_ah/pipeline/status"] = { [302] = true },
    ["GET /_ah/pipeline/list"] = { [302] = true },
    ["GET /_ah/pipeline/callback"] = { [400] = true }, ["POST /_ah/pipeline/callback"] = { [400] = true },
  }
  for _, name in ipairs { "", "pipelines", "pipeline", "stage", "queues", "tasks", "workers", "schedules", "events" } do
    PUBLIC["GET /_ah/pipeline/" .. name] = { [200] = true } -- the document, which says nothing
  end

  local function is_public(method, path, status)
    if path:find("^/_ah/pipeline/assets/%x+/") then return method == "GET" and status == 200 end
    local allowed = PUBLIC[method .. " " .. path]
    return allowed ~= nil and allowed[status] == true
  end

  it("U6 U13 gives nothing to whoever has no token, or a wrong one", function()
    local count = 0
    for _, route in ipairs(routes_of()) do
      local method, path = route[1] == "*" and "POST" or route[1], route[2]
      for _, headers in ipairs { {}, { authorization = "Bearer wrong-token-of-somebody" },
        { cookie = engine._web.pages.access:cookie_name() .. "=admin.99999999999.00.00" },
        { ["x-appengine-taskname"] = "t", ["x-appengine-queuename"] = "default" },
        { ["x-requested-with"] = "XMLHttpRequest" } } do
        local status = ask(method, path, headers).status
        local refused = status == 401 or status == 403 or status == 429
        assert.is_true(refused or is_public(method, path, status), ("%s %s: %d"):format(method, path, status))
        count = count + 1
      end
      engine:advance(61)
    end
    assert.is_true(count > 200, count .. " requests")
  end)

  it("U6 U13 gives a viewer nothing that acts", function()
    for _, route in ipairs(routes_of()) do
      local method, path = route[1], route[2]
      if method ~= "GET" and not PUBLIC[method .. " " .. path] then
        method = method == "*" and "POST" or method
        local status = ask(method, path, { authorization = "Bearer " .. VIEWER }, "{}").status
        assert.equal(403, status, method .. " " .. path)
      end
    end
  end)

  it("U6 answers wrong methods with 405 and those that are right", function()
    for _, route in ipairs(routes_of()) do
      local path, known = route[2], {}
      for _, other in ipairs(routes_of()) do
        if other[2] == path then known[other[1]] = true end
      end
      for _, method in ipairs(METHODS) do
        if not known["*"] and not known[method:upper()] and not (method == "HEAD" and known.GET) then
          local reply = ask(method, path, { authorization = "Bearer " .. ADMIN })
          assert.equal(405, reply.status, method .. " " .. path)
          for name in pairs(known) do assert.truthy(reply.headers.allow:find(name, 1, true), path) end
        end
      end
    end
  end)

  local TRICKS = {
    function(path) return (path:gsub("/", "%%2f")):gsub("^%%2f", "/") end,
    function(path) return (path:gsub("/", "%%252f")):gsub("^%%252f", "/") end,
    function(path) return path:gsub("/api/", "/%%61pi/") end, -- is the same path, and needs the same right
    function(path) return path:gsub("/api/", "/x/../api/") end,
    function(path) return path:gsub("/api/", "/x/%%2e%%2e/api/") end,
    function(path) return path:gsub("/api/", "/x/..%%2fapi/") end,
    function(path) return path:gsub("/api/", "/./api/") end,
    function(path) return path:gsub("/api/", "//api/") end,
    function(path) return path:gsub("/api/", "/api;x/") end,
    function(path) return path .. ";jsessionid=1" end,
    function(path) return path .. "/" end,
    function(path) return path .. "%00" end,
    function(path) return path .. "%00.css" end,
    function(path) return path .. "%0d%0aX: y" end,
    function(path) return path .. "/%c0%ae%c0%ae/%c0%af" end,
    function(path) return path .. "%" end,
    function(path) return path .. "%zz" end,
    function(path) return path:upper() end,
    function(path) return path:gsub("/", "\\") end,
    function(path) return "/_ah/pipelinex" .. path:sub(#BASE + 1) end,
    function(path) return BASE .. path end,
    function(path) return BASE .. "/assets/../" .. path:sub(#BASE + 2) end,
    function(path) return BASE .. "/assets/0123456789abcdef/..%2f..%2f" .. path:sub(#BASE + 2) end,
    function(path) return path .. ("/x"):rep(20000) end,
    function(path) return path .. ("%2e%2e%2f"):rep(2000) end,
  }

  it("U6 is found under no other name by whoever has no token", function()
    for _, route in ipairs(routes_of()) do
      local method, path = route[1] == "*" and "POST" or route[1], route[2]
      if not is_public(method, path, ask(method, path).status) and path:sub(1, #BASE + 1) == BASE .. "/" then
        for i, trick in ipairs(TRICKS) do
          local other = trick(path)
          local status = ask(method, other).status
          assert.is_true(status >= 400 and status < 500, ("%d: %s %s: %d"):format(i, method, other:sub(1, 200), status))
        end
      end
    end
    assert.is_nil(http.logged(lines, "no such trick")) -- the log was kept
  end)

  -- ---- random requests -------------------------------------------------------------------------------------------

  local VALUES = {
    "", "0", "1", "-1", "1e309", "nan", "0x10", "9223372036854775808", "-9223372036854775808", "1.5", "true", "null",
    "[]", "{}", "\0", "\255\254", ("x"):rep(5000), "%", "%00", "..", "/", "\\", "<script>",
    "'; DROP TABLE pl_stage; --", "*",
    "%2e%2e%2f", "\u{202e}", "key:", "key:x", "default", "aborted", "done,open", "ready", "done,", ",", "shop",
    "0123456",
    "ffffffffffffffffffffffffffffffff", "default/1", "x.y.z", "1.1.1.1.1", "-3600", "1e18",
  }
  local KINDS_OF_JSON = {
    function() return json.null end, function() return true end,
    function(random) return random(1 << 53) - (1 << 52) end,
    function(random) return (random(1000) - 500) / 7 end, function(random) return VALUES[random(#VALUES)] end,
    function() return json.array {} end, function() return {} end,
    function(random) return json.array { VALUES[random(#VALUES)], 1, false } end,
    function(random) return { [VALUES[random(#VALUES)]] = VALUES[random(#VALUES)], state = "done" } end,
  }

  local function a_query(random, route, ids)
    local parts = {}
    for _ = 1, random(4) do
      local param = route.params[random(math.max(1, #route.params))]
      local name = param and random(6) > 1 and param[1] or VALUES[random(#VALUES)]
      local value = random(3) == 1 and ids[random(#ids)] or VALUES[random(#VALUES)]
      if random(8) > 1 then value = value:gsub("[^%w%-._~]", function(c) return ("%%%02x"):format(c:byte()) end) end
      parts[#parts + 1] = name:gsub("[^%w_]", function(c) return ("%%%02x"):format(c:byte()) end) .. "=" .. value
    end
    return table.concat(parts, random(10) == 1 and ";" or "&")
  end

  local OPS = { "retry", "resume", "abort", "cleanup", "revive", "forget", "x" }

  local function a_body(random, route, ids)
    local body = {}
    for _, param in ipairs(route.params) do
      if random(5) > 1 then
        local value = KINDS_OF_JSON[random(#KINDS_OF_JSON)](random)
        if random(2) == 1 then
          value = ({ op = OPS[random(#OPS)], id = ids[random(#ids)], ids = json.array { ids[random(#ids)] },
            queue = "default", dry_run = true, filters = { state = "done" }, name = "none",
            params = { a = "b" } })[param[1]] or value
        end
        body[param[1]] = value
      end
    end
    local text = json.encode(body)
    if random(10) == 1 then -- a byte of it is another one
      local at = random(#text)
      text = text:sub(1, at - 1) .. string.char(random(256) - 1) .. text:sub(at + 1)
    end
    return text
  end

  it("U6 refuses a list where an object is expected", function()
    for _, list in ipairs { '["1e309",1]', "[null,1]" } do
      local reply = engine:handle { method = "POST", path = BASE .. "/api/act", raw_query = "",
        headers = { authorization = "Bearer " .. ADMIN }, body = ('{"op":"cleanup","filters":%s}'):format(list),
        remote_address = "127.0.0.1" }
      assert.equal(400, reply.status, reply.body)
      assert.matches("filters: an object", reply.body)
    end
  end)

  it("U6 U13 answers whatever it is asked, without an error of its own", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    print("seed " .. seed)
    math.randomseed(seed)
    local random, ids = math.random, {}
    for _, class in ipairs { Leaf, Open, Fails, Leaf, Open, Fails } do
      ids[#ids + 1] = class(1):start { idempotence_key = "key-" .. #ids }.id
    end
    engine:drain()
    ids[#ids + 1], ids[#ids + 2] = ids[1]:sub(1, 12), "key:key-1"
    local routes = require("pipeline.pages.api").ROUTES
    local counts = {}
    for _ = 1, 2000 do
      local route = routes[random(#routes)]
      local method = random(12) == 1 and METHODS[random(#METHODS)] or route.method
      local path = BASE .. "/api/" .. route.name
      if random(15) == 1 then path = TRICKS[random(#TRICKS)](path) end
      local headers = { authorization = "Bearer " .. (random(5) == 1 and VIEWER or ADMIN) }
      if random(10) == 1 then headers.cookie = ("%s=%s"):format(VALUES[random(#VALUES)]:gsub("%c", ""), ids[1]) end
      local body = route.acts and a_body(random, route, ids) or ""
      local given = { method = method, path = path, headers = headers, body = body,
        raw_query = a_query(random, route, ids), remote_address = "127.0.0.1" }
      local ok, reply = pcall(engine.handle, engine, given)
      local said = ("%s %s?%s %s"):format(method, path:sub(1, 300), given.raw_query:sub(1, 500), body:sub(1, 500))
      assert.is_true(ok, said .. ": " .. tostring(reply))
      assert.is_true(reply.status < 500, ("%d: %s: %s"):format(reply.status, said, reply.body:sub(1, 500)))
      counts[reply.status] = (counts[reply.status] or 0) + 1
      if random(500) == 1 then engine:drain() end
    end
    for _, line in ipairs(lines) do -- failures of pipelines are told, too
      assert.is_nil(line.text:find("^%u+ /_ah/"), line.text)
    end
    assert.is_true((counts[200] or 0) > 100, "200: " .. tostring(counts[200]))
    assert.is_true((counts[400] or 0) > 50, "400: " .. tostring(counts[400]))
  end)
end)
