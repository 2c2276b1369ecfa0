-- access_spec.lua - who may see the pages and act on them: sessions, tokens, hosts, origins, limits.

local pipeline = require "pipeline"
local http = require "spec.http.support"
local support = require "spec.pages.support"

local ask, ADMIN, VIEWER = support.ask, support.ADMIN, support.VIEWER

describe("the pages", function()
  local engine, lines, start

  before_each(function()
    local server
    engine, lines = http.open()
    function start(given)
      given = given or { admin_token = ADMIN, viewer_token = VIEWER }
      given.port = 0
      server = engine:serve(given)
      return server
    end
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
    pipeline.set_enforce_auth(true)
  end)

  local ACT = { path = "api/queues/pause", json = { queue = "default" } }

  local function act(given)
    given.path, given.json = ACT.path, ACT.json
    return ask(engine, given)
  end

  it("U6 are one document without a secret, under a strict policy, and assets that are kept for ever", function()
    start()
    local reply = ask(engine, { path = "pipelines" })
    assert.equal(200, reply.status)
    assert.equal("no-store", reply.headers["cache-control"])
    assert.truthy(reply.headers["content-security-policy"]:find("^default%-src 'none'; "))
    assert.is_nil(reply.headers["content-security-policy"]:find("unsafe", 1, true))
    assert.is_nil(reply.body:find("<script>", 1, true))
    assert.is_nil(reply.body:find(engine._core:facts().path, 1, true))
    local count, all = 0, {}
    for address in reply.body:gmatch('[hs][r][ec]f?="([^"]+assets/%x+/[^"]+)"') do
      local asset = engine:handle { path = address }
      assert.equal(200, asset.status, address)
      assert.truthy(asset.headers["cache-control"]:find("immutable", 1, true))
      count, all[#all + 1] = count + 1, asset.body
    end
    assert.is_true(count > 10)
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    assert(file:write(table.concat(all)):flush())
    local pipe <close> = assert(io.popen("gzip -c " .. path .. " | wc -c"))
    assert.is_true(assert(pipe:read("n")) < 150 * 1024)
    os.remove(path)
    assert.equal(404, ask(engine, { path = "assets/0123456789abcdef/app.js" }).status)
    assert.equal(302, engine:handle({ path = support.BASE }).status)
  end)

  it("U6 ask for a token, whose session is a cookie with all its guards", function()
    start()
    assert.same({ role = "none" }, ask(engine, { path = "api/session" }).json)
    assert.equal(401, ask(engine, { path = "api/queues" }).status)
    assert.equal(403, ask(engine, { path = "api/sign-in", json = { token = "wrong-token" } }).status)
    assert.equal(403, ask(engine, { path = "api/sign-in", json = {} }).status)
    local cookie, csrf, line = support.sign_in(engine, ADMIN)
    for _, part in ipairs { "; HttpOnly", "; SameSite=Strict", "; Path=/_ah/pipeline" } do
      assert.truthy(line:find(part, 1, true), part)
    end
    assert.is_nil(line:find("Max-Age", 1, true))
    assert.is_nil(line:find("Secure", 1, true))
    assert.is_nil(line:find(ADMIN, 1, true))
    assert.truthy(csrf:find("^%x+$"))
    local session = ask(engine, { path = "api/session", cookie = cookie }).json
    assert.equal("admin", session.role)
    local over_tls = ask(engine, { path = "api/sign-in", json = { token = ADMIN },
      headers = { host = "127.0.0.1", origin = "https://127.0.0.1" } })
    for _, set in ipairs(over_tls.headers["set-cookie"]) do assert.truthy(set:find("; Secure", 1, true)) end
    assert.truthy(ask(engine, { path = "api/sign-out", method = "POST", cookie = cookie }).headers["set-cookie"]
      :find("Max-Age=0", 1, true))
  end)

  it("U6 refuse a cookie that was changed, is of another token, or is older than 12 hours", function()
    engine:close()
    engine = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1700000000.0 })
    start()
    local cookie = support.sign_in(engine, VIEWER)
    local name, value = cookie:match("^(.-)=(.*)$")
    for _, bad in ipairs {
      (value:gsub("^viewer", "admin")), (value:gsub("%.%d", ".9", 1)), value .. "0", value:sub(1, -2), "", ".",
    } do
      assert.equal(401, ask(engine, { path = "api/counts", cookie = name .. "=" .. bad }).status, bad)
    end
    assert.equal(200, ask(engine, { path = "api/counts", cookie = "other=1; " .. cookie .. "; more=2" }).status)
    engine:advance(12 * 3600 - 1)
    assert.equal(200, ask(engine, { path = "api/counts", cookie = cookie }).status)
    engine:advance(2)
    assert.equal(401, ask(engine, { path = "api/counts", cookie = cookie }).status)
    local again = support.sign_in(engine, VIEWER)
    start { admin_token = ADMIN, viewer_token = "another-viewer-token" }
    assert.equal(401, ask(engine, { path = "api/counts", cookie = again }).status)
  end)

  it("U6 let acts be done only with the token of their page, from their own origin, by an administrator", function()
    start()
    engine:transaction(function() end)
    require("pipeline.taskqueue").Queue("default"):pause()
    local cookie, csrf = support.sign_in(engine, ADMIN)
    assert.equal(401, act({ csrf = csrf }).status)
    assert.equal(403, act({ cookie = cookie }).status)
    assert.equal(403, act({ cookie = cookie, csrf = ("0"):rep(64) }).status)
    for _, origin in ipairs {
      "http://evil.example", "null", "http://127.0.0.1:8081", "https://127.0.0.1.evil.example:8080",
    } do
      local reply = act { cookie = cookie, csrf = csrf, headers = { origin = origin } }
      assert.equal(403, reply.status, origin)
    end
    assert.equal(403, act({ cookie = cookie, csrf = csrf, headers = { origin = "" } }).status)
    assert.not_equal(403, act({ cookie = cookie, csrf = csrf }).status)
    assert.equal(405, ask(engine, { path = ACT.path, cookie = cookie }).status)
    local viewer, viewer_csrf = support.sign_in(engine, VIEWER)
    assert.equal("viewer", ask(engine, { path = "api/session", cookie = viewer }).json.role)
    local reply = act { cookie = viewer, csrf = viewer_csrf }
    assert.equal(403, reply.status)
    assert.truthy(reply.json.error.message:find("viewers may change nothing", 1, true))
    assert.equal(403, act({ cookie = viewer, csrf = csrf }).status)
    assert.not_equal(403, act({ headers = { authorization = "Bearer " .. ADMIN, origin = "" } }).status)
    assert.equal(403, act({ headers = { authorization = "Bearer " .. VIEWER } }).status)
  end)

  it("U6 U13 give nothing to who has no right, whatever the route", function()
    start()
    local viewer, csrf = support.sign_in(engine, VIEWER)
    for _, route in ipairs(require("pipeline.pages.api").ROUTES) do
      local given = { path = "api/" .. route.name, method = route.method, json = route.acts and {} or nil }
      assert.equal(401, ask(engine, given).status, route.name)
      given.headers = { authorization = "Bearer wrong" }
      assert.truthy(({ [401] = true, [429] = true })[ask(engine, given).status], route.name)
      if route.acts then
        given.headers, given.cookie, given.csrf = nil, viewer, csrf
        assert.equal(403, ask(engine, given).status, route.name)
      end
    end
  end)

  it("U6 answer only under their own names", function()
    start { admin_token = ADMIN, base_url = "https://shop.example.org/x", allowed_hosts = { "jobs.example.org" } }
    local function status(host) return ask(engine, { path = "", headers = { host = host } }).status end
    for _, host in ipairs { "127.0.0.1:8080", "localhost", "[::1]:80", "10.1.2.3:8080", "shop.example.org",
      "SHOP.example.org.", "jobs.example.org:8080", "app.localhost:1" } do
      assert.equal(200, status(host), host)
    end
    for _, host in ipairs { "evil.example", "shop.example.org.evil.example", "127.0.0.1.evil.example", "a:b:c",
      "localhost.evil" } do
      assert.equal(421, status(host), host)
      assert.equal(421, ask(engine, { path = "api/session", headers = { host = host } }).status, host)
    end
    assert.truthy(ask(engine, { path = "", headers = { host = "evil.example" } }).body:find("allowed_hosts", 1, true))
    assert.has_error(function() engine:serve { port = 0, allowed_hosts = { "http://x" } } end)
    assert.has_error(function() engine:serve { port = 0, viewer_token = "short" } end)
    assert.has_error(function() engine:serve { port = 0, admin_token = ADMIN, viewer_token = ADMIN } end)
  end)

  it("U6 serve this machine alone while there is no token, and say so", function()
    local stderr = io.stderr
    rawset(io, "stderr", io.tmpfile())
    start {}
    io.stderr:close()
    rawset(io, "stderr", stderr)
    local session = ask(engine, { path = "api/session" })
    assert.equal("admin", session.json.role)
    assert.is_false(session.json.has_tokens)
    local csrf = session.json.csrf
    assert.not_equal(403, act({ csrf = csrf }).status)
    assert.equal(403, act({}).status)
    assert.equal(403, act({ csrf = csrf, headers = { origin = "http://evil.example" } }).status)
    for _, given in ipairs {
      { from = "10.0.0.7" }, { from = "::2" }, { headers = { ["x-forwarded-for"] = "10.0.0.7" } },
      { headers = { forwarded = "for=10.0.0.7" } },
    } do
      given.path = "api/session"
      assert.equal(403, ask(engine, given).status)
      given.path = ""
      assert.equal(403, ask(engine, given).status)
    end
    assert.equal(421, ask(engine, { path = "api/session", headers = { host = "10.1.2.3" } }).status)
    assert.equal(421, ask(engine, { path = "api/session", headers = { host = "rebound.example" } }).status)
  end)

  it("U6 P190 are open for reading when set_enforce_auth(false) says so", function()
    start()
    pipeline.set_enforce_auth(false)
    local session = ask(engine, { path = "api/session" })
    assert.equal("viewer", session.json.role)
    assert.equal(403, act({ csrf = session.json.csrf }).status)
    local cookie, csrf = support.sign_in(engine, ADMIN)
    assert.not_equal(403, act({ cookie = cookie, csrf = csrf }).status)
  end)

  it("U6 tell routes of the program who has the viewer's token", function()
    start()
    local seen
    engine:route("GET", "/mine", function(request) seen = { request.is_admin, request.is_viewer } end)
    local function visit(token) engine:handle { path = "/mine", headers = { authorization = "Bearer " .. token } } end
    visit(VIEWER)
    assert.same({ false, true }, seen)
    visit("another-token")
    assert.same({ false, false }, seen)
    visit(ADMIN)
    assert.is_true(seen[1])
  end)

  it("U6 limit wrong tokens by address, and log them once a minute", function()
    engine:close()
    lines = {}
    engine = pipeline.open(":memory:", {
      virtual_time = true, virtual_start = 1700000000.0, log = function(_, text) lines[#lines + 1] = text end,
    })
    start()
    local function try(token, from)
      return ask(engine, { path = "api/sign-in", json = { token = token }, from = from })
    end
    local function has_line(pattern)
      for _, line in ipairs(lines) do
        if line:find(pattern) then return true end
      end
    end
    for _ = 1, 10 do assert.equal(403, try("wrong-token", "10.0.0.9").status) end
    local reply = try(ADMIN, "10.0.0.9")
    assert.equal(429, reply.status)
    assert.equal("60", reply.headers["retry-after"])
    assert.equal(429, ask(engine, { path = "api/queues", from = "10.0.0.9",
      headers = { authorization = "Bearer " .. ADMIN } }).status)
    assert.equal(200, try(ADMIN, "10.0.0.8").status)
    local told = 0
    for _, line in ipairs(lines) do if line:find("wrong token", 1, true) then told = told + 1 end end
    assert.equal(1, told)
    engine:advance(61)
    assert.equal(200, try(ADMIN, "10.0.0.9").status)
    for i = 1, 250 do try("wrong-token", "10.1." .. i // 200 .. "." .. i % 200) end
    assert.equal(200, try(ADMIN, "10.9.9.9").status)
    assert.equal(403, try("wrong-token", "10.9.9.8").status)
    assert.equal(429, try("wrong-token", "10.9.9.8").status) -- of many who are wrong, each may be it once
    engine:advance(61)
    try("wrong-token", "10.9.9.8")
    assert.truthy(has_line("25%d wrong tokens within a minute"))
  end)

  it("U6 shut nobody out who has the right token, whatever others at his address or elsewhere send", function()
    engine:close()
    engine = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1700000000.0, log = function() end })
    start()
    local function try(token, from, cookie)
      return ask(engine, { path = "api/sign-in", json = { token = token }, from = from, cookie = cookie })
    end
    local function flood(from)
      for _ = 1, 300 do try("wrong-token", from) end
    end
    local function known(reply) return reply.headers["set-cookie"][2]:match("^[^;]+") end
    local before = try(ADMIN, "10.0.0.9")
    local session, mark = before.headers["set-cookie"][1]:match("^[^;]+"), known(before)
    local viewers = known(try(VIEWER, "10.0.0.9"))
    flood("10.0.0.9")
    assert.equal(429, try(ADMIN, "10.0.0.9").status)
    assert.equal(200, ask(engine, { path = "api/queues", from = "10.0.0.9", cookie = session }).status)
    assert.equal(200, try(ADMIN, "10.0.0.9", mark).status)
    assert.equal(429, try(ADMIN, "10.0.0.9", mark:gsub("%x$", "z")).status)
    assert.equal(200, try(ADMIN, "10.0.0.8").status)
    -- A mark is no way to try more.
    for _ = 1, 10 do assert.equal(403, try("wrong-token", "10.0.0.9", mark).status) end
    assert.equal(429, try(ADMIN, "10.0.0.9", mark).status)
    for _ = 1, 10 do try("wrong-token", "10.0.0.9", viewers) end
    assert.equal(429, try("wrong-token", "10.0.0.9", viewers).status)
    -- One try in three seconds goes through.
    engine:advance(3)
    assert.equal(200, try(ADMIN, "10.0.0.9").status)
    -- A network of IPv6 is one visitor.
    for i = 1, 10 do assert.equal(403, try("wrong-token", ("2001:db8:1:2::%x"):format(i)).status) end
    assert.equal(429, try(ADMIN, "2001:db8:1:2:3:4:5:6").status)
    assert.equal(200, try(ADMIN, "2001:db8:1:3::1").status)
  end)

  it("U6 let a scraper go on beside a neighbour who is wrong", function()
    engine:close()
    engine = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1700000000.0, log = function() end })
    start()
    local function scrape(token)
      return engine:handle { path = "/metrics", remote_address = "10.0.0.9",
        headers = { host = "127.0.0.1:8080", authorization = "Bearer " .. token } }.status
    end
    assert.equal(200, scrape(VIEWER))
    for _ = 1, 90 do assert.equal(403, scrape("wrong-token")) end
    assert.equal(200, scrape(VIEWER))
  end)

  it("U6 take a viewer who writes slashes of a path as %2f for no administrator", function()
    start()
    local seen
    engine:route("GET", "/:any", function(request) seen = { request.is_admin } end)
    engine:route("GET", "/files/*rest", function(request) seen = { request.is_admin } end)
    local cookie = support.sign_in(engine, VIEWER)
    for _, path in ipairs { "/_ah%2fpipeline%2frpc%2fx", "/_ah%2Fpipeline%2Frpc%2Ftree" } do
      seen = nil
      assert.equal(200, engine:handle({ path = path, headers = {
        host = "127.0.0.1:8080", cookie = cookie, ["x-requested-with"] = "XMLHttpRequest",
      } }).status)
      assert.same({ false }, seen)
    end
  end)

  it("U6 limit wrong tokens wherever one can be tried out, and count each once", function()
    engine:close()
    engine = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1700000000.0, log = function() end })
    start()
    engine:route("GET", "/mine", function() return 200 end)
    local count = 0
    local function visit(path, token, from, scheme)
      return engine:handle { path = path, remote_address = from,
        headers = { host = "127.0.0.1:8080", authorization = (scheme or "Bearer") .. " " .. token } }
    end
    for _, path in ipairs { "/metrics", "/healthz", "/readyz", "/_ah/pipeline/rpc/class_paths", "/_ah/pipeline/metrics",
      "/_ah/pipeline/api/queues" } do
      count = count + 1
      engine:advance(61) -- together these are more than a minute bears
      local from = "10.0.1." .. count
      for _ = 1, 9 do visit(path, "wrong-token", from) end
      for _, other in ipairs { "/mine", "/_ah/pipeline/callback" } do
        for _ = 1, 5 do visit(other, "token-of-somebody-else", from) end
      end
      for _ = 1, 20 do visit(path, "b3RoZXI6cGFzcw==", from, "Basic") end
      assert.equal(200, visit("/metrics", ADMIN, from).status, path)
      assert.equal(200, visit("/metrics", VIEWER, from).status, path)
      for _ = 10, 99 do visit(path, "wrong-token", from) end -- it has sent a right one before: that is worth patience
      assert.equal(200, visit("/metrics", ADMIN, from).status, path)
      visit(path, "wrong-token", from)
      assert.equal(403, visit("/metrics", ADMIN, from).status, path)
      assert.same('{"status":"ok"}', visit("/healthz", ADMIN, from).body)
      assert.equal(403, visit("/_ah/pipeline/rpc/class_paths", ADMIN, from).status, path)
    end
    engine:advance(61)
    assert.equal(200, visit("/metrics", ADMIN, "10.0.1.6").status)
    assert.truthy(visit("/healthz", VIEWER, "10.0.1.6").body:find("version", 1, true))
  end)

  it("U6 know a session behind a proxy that asks for a password of its own", function()
    start()
    local cookie = support.sign_in(engine, VIEWER)
    for _ = 1, 12 do
      assert.equal(200, ask(engine, { path = "api/queues", cookie = cookie,
        headers = { authorization = "Basic b3RoZXI6cGFzcw==" } }).status)
    end
  end)

  it("U12 P188 let the status page of the original, served beside, read rpc/* in a session", function()
    start()
    local stage = pipeline.define("pages.access.Work", { run = function() return 1 end })()
    stage:start()
    engine:drain()
    local cookie = support.sign_in(engine, VIEWER)
    local function rpc(given)
      given.path = given.path or "rpc/tree"
      given.query = { root_pipeline_id = stage.id }
      given.headers = given.headers or { ["x-requested-with"] = "XMLHttpRequest" }
      return ask(engine, given)
    end
    assert.equal(stage.id, rpc({ cookie = cookie }).json.rootPipelineId)
    assert.equal(200, rpc({ cookie = cookie, path = "rpc/list" }).status)
    assert.equal(403, rpc({ cookie = cookie, headers = { ["x-none"] = "1" } }).status)
    assert.equal(403, rpc({}).status)
    assert.equal(403, rpc({ cookie = cookie, path = "rpc/abort", method = "POST" }).status)
    local moved = ask(engine, { path = "status", query = { root = stage.id } })
    assert.equal(302, moved.status)
    assert.truthy(moved.headers.location:find("/pipeline?id=" .. stage.id, 1, true))
  end)

  it("U6 U12 let rpc/* act in a session only with the token of its page, by whichever name it acts", function()
    start()
    local Waits = pipeline.define("pages.access.Waits", { async = true, run = function() end,
      try_cancel = function() return true end })
    local XHR = { ["x-requested-with"] = "XMLHttpRequest" }
    local admin, csrf = support.sign_in(engine, ADMIN)
    local _, other = support.sign_in(engine, ADMIN) -- somebody else's session
    local viewer, viewers = support.sign_in(engine, VIEWER)
    local function refused(given, why)
      for _, name in ipairs { "abort", "retry", "cleanup" } do
        local stage = Waits()
        stage:start()
        engine:drain()
        local reply = ask(engine, { path = "rpc/" .. name, method = "POST", query = { root_pipeline_id = stage.id },
          cookie = given.cookie, csrf = given.csrf, headers = given.headers or XHR })
        assert.equal(403, reply.status, name)
        assert.truthy(reply.body:find(why, 1, true), reply.body)
        assert.equal("open", engine:stage(stage.id).state)
      end
    end
    refused({ cookie = admin }, "X-CSRF-Token")
    refused({ cookie = admin, csrf = other }, "X-CSRF-Token")
    refused({ cookie = admin, csrf = viewers }, "X-CSRF-Token")
    refused({ cookie = viewer, csrf = viewers }, "viewers may change nothing")
    refused({ cookie = admin, csrf = csrf, headers = { ["x-requested-with"] = "XMLHttpRequest",
      origin = "http://evil.example" } }, "another origin")
    refused({ cookie = admin, csrf = csrf, headers = { ["x-requested-with"] = "XMLHttpRequest", origin = "" } },
      "Origin")
    refused({ cookie = admin, csrf = csrf, headers = { ["x-none"] = "1" } }, "403")
    for _, given in ipairs { { cookie = admin, csrf = csrf, headers = XHR },
      { headers = { authorization = "Bearer " .. ADMIN, origin = "" } } } do -- a program that has the token itself
      local stage = Waits()
      stage:start()
      engine:drain()
      given.path, given.method, given.query = "rpc/abort", "POST", { root_pipeline_id = stage.id }
      assert.equal(true, ask(engine, given).json.done)
      engine:drain()
      assert.equal("aborted", engine:stage(stage.id).state)
    end
  end)

  it("P193 lead from the address of the original's status page to that of the pipeline", function()
    start()
    local id = ("0123456789abcdef"):rep(2)
    for _, root in ipairs { id, "pipeline-" .. id } do
      local moved = ask(engine, { path = "status", query = { root = root } })
      assert.equal(302, moved.status)
      assert.equal(support.BASE .. "/pipeline?id=" .. id, moved.headers.location)
    end
    assert.equal(support.BASE .. "/pipelines", ask(engine, { path = "list" }).headers.location)
  end)

  it("U6 let a session go on in the next run of a file's engine", function()
    engine:close()
    local path = os.tmpname()
    os.remove(path)
    engine = pipeline.open(path)
    start()
    local cookie, csrf = support.sign_in(engine, ADMIN)
    engine:close()
    engine = pipeline.open(path)
    start()
    local session = ask(engine, { path = "api/session", cookie = cookie })
    assert.equal("admin", session.json.role)
    assert.equal(csrf, session.json.csrf)
    engine:close()
    for _, ending in ipairs { "", "-wal", "-shm", "-workers" } do os.remove(path .. ending) end
  end)
end)
