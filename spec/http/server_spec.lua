-- server_spec.lua - routes, and the server on its socket: answers, limits and hostile clients.

local pipeline = require "pipeline"
local support = require "spec.http.support"

local TOKEN = "token-of-the-specs"

describe("the server", function()
  local engine, lines, server

  before_each(function()
    engine, lines = support.open()
    server = engine:serve { port = 0, admin_token = TOKEN }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  it("gives a request to its route, from a socket as from handle", function()
    local seen = {}
    engine:route("POST", "/echo me", function(request)
      seen[#seen + 1] = request
      return 201, { ["X-One"] = "1", ["X-Two"] = { "a", "b" } }, "got " .. request.body
    end)
    local reply = support.fetch(engine, server, {
      method = "POST", path = "/echo%20me?q=1&r=%41&q=2", body = "f=x+y&q=3",
      headers = { ["Content-Type"] = "application/x-www-form-urlencoded", ["X-Up"] = "Case" },
    })
    assert.equal(201, reply.status)
    assert.equal("got f=x+y&q=3", reply.body)
    assert.equal("1", reply.headers["x-one"])
    local request = seen[1]
    assert.equal("POST", request.method)
    assert.equal("/echo me", request.path)
    assert.same({ q = "1", r = "A" }, request.query)
    assert.same({ q = "1", r = "A", f = "x y" }, request.params)
    assert.equal("Case", request.headers["x-up"])
    assert.equal("127.0.0.1", request.remote_address)
    local direct = engine:handle { method = "POST", path = "/echo me", query = { q = 1 }, params = { f = "x y" } }
    assert.equal(201, direct.status)
    assert.equal("1", direct.headers["X-One"])
    assert.same({ q = "1", f = "x y" }, seen[2].params)
  end)

  it("answers 404, 405 with Allow, and HEAD for a GET route", function()
    engine:route("GET", "/page", function() return 200, "text/plain", "page" end)
    assert.equal(404, support.fetch(engine, server, { path = "/none" }).status)
    local reply = support.fetch(engine, server, { method = "POST", path = "/page", body = "" })
    assert.equal(405, reply.status)
    assert.equal("GET, HEAD", reply.headers.allow)
    reply = support.fetch(engine, server, { method = "HEAD", path = "/page" })
    assert.equal(200, reply.status)
    assert.equal("", reply.body)
    assert.equal("4", reply.headers["content-length"])
    engine:route("*", "/below/*", function(request) return 200, "text/plain", request.method .. request.path end)
    assert.equal("PUT/below/a/b", engine:handle { method = "PUT", path = "/below/a/b" }.body)
  end)

  it("lets a handler wait, and answers others meanwhile", function()
    local tasklets_ok, sleep = pcall(function() return require("pipeline.tasklets").sleep end)
    local core = engine._web.core
    engine:route("GET", "/slow", function()
      if tasklets_ok and sleep then sleep(0.1) else core:sleep(0.1) end
      return 200, "text/plain", "slow"
    end)
    engine:route("GET", "/fast", function() return 200, "text/plain", "fast" end)
    local slow = support.connect(engine, server):send("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert.equal("fast", support.fetch(engine, server, { path = "/fast" }).body)
    assert.is_nil(slow.text:find("slow", 1, true))
    assert.truthy(slow:finish():find("slow", 1, true))
  end)

  it("answers 500 to an error or a bad answer of a handler, and goes on", function()
    local answers = {
      function() error("handler broke") end,
      function() error { odd = true } end,
      function() error(nil) end,
      function() return "200" end,
      function() return 99 end,
      function() return 200.5 end,
      function() return 200, 5 end,
      function() return 200, { ["X-A"] = "a\r\nSet-Cookie: b" } end,
      function() return 200, { ["X-A\r\nB"] = "a" } end,
      function() return 200, "text/plain\r\nX-Injected: yes", "x" end,
      function() return 200, { ["X-A"] = {} , ["X-B"] = { {} } } end,
      function() return 200, { "x" } end,
      function() return 200, {}, print end,
      function() local function deep() return deep() + 1 end return deep() end,
    }
    collectgarbage("stop") -- a finalizer that ran when the stack is full could only fail
    for i, handler in ipairs(answers) do
      engine:route("GET", "/bad", handler)
      local reply = support.fetch(engine, server, { path = "/bad" })
      assert.equal(500, reply.status, "answer " .. i)
      assert.is_nil(reply.headers["x-injected"])
      assert.is_nil(reply.body:find("broke", 1, true))
      assert.equal(500, engine:handle { path = "/bad" }.status)
    end
    collectgarbage("restart")
    assert.truthy(support.logged(lines, "handler broke"))
    assert.equal(200, support.fetch(engine, server, { path = "/healthz" }).status)
  end)

  it("refuses what is too large with a clear answer", function()
    local mib = 1024 * 1024
    local handled = 0
    engine:route("*", "/any", function(request)
      handled = handled + 1
      return 200, "text/plain", tostring(#request.body)
    end)
    local function status(bytes) return tonumber(support.raw(engine, server, bytes):match("^HTTP/1.1 (%d+)")) end
    local head = "Host: x\r\nConnection: close\r\n"
    assert.equal(414, status("GET /any?" .. ("q"):rep(2 * mib) .. " HTTP/1.1\r\n" .. head .. "\r\n"))
    assert.equal(431, status("GET /any HTTP/1.1\r\nX: " .. ("h"):rep(40000) .. "\r\n" .. head .. "\r\n"))
    assert.equal(431, status("GET /any HTTP/1.1\r\n" .. ("X: y\r\n"):rep(1000) .. head .. "\r\n"))
    local function post(size) return "POST /any HTTP/1.1\r\nContent-Length: " .. size .. "\r\n" .. head .. "\r\n" end
    assert.equal(413, status(post(mib + 1) .. ("b"):rep(mib + 1)))
    assert.equal(413, status(post(1 << 40)))
    assert.equal(0, handled)
    assert.equal(200, status(post(mib) .. ("b"):rep(mib)))
    assert.equal(400, status("GET /any?" .. ("a&"):rep(11000) .. " HTTP/1.1\r\n" .. head .. "\r\n"))
    assert.equal(1, handled)
  end)

  it("a query of 2 MiB on a callback does no harm, over the socket or without", function()
    local long = "/_ah/pipeline/callback?pipeline_id=" .. ("x"):rep(2 * 1024 * 1024)
    local reply = support.raw(engine, server, "GET " .. long .. " HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.equal("414", reply:match("^HTTP/1.1 (%d+)"))
    assert.equal(400, engine:handle { path = long }.status)
    assert.equal(200, support.fetch(engine, server, { path = "/healthz" }).status)
  end)

  it("refuses what is no HTTP", function()
    local bad = {
      "garbage\r\n\r\n", "\1\2\3\255\0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: nonsense\r\n\r\n",
      "\22\3\1\2\0\1\0\1\252\3\3 a TLS client\r\n\r\n",
    }
    for i, bytes in ipairs(bad) do
      assert.equal("400", support.raw(engine, server, bytes):match("^HTTP/1.1 (%d+)"), "number " .. i)
    end
    assert.equal(200, support.fetch(engine, server, { path = "/healthz" }).status)
  end)

  it("a slow client costs only its connection", function()
    local slow = {}
    for i = 1, 50 do
      slow[i] = support.connect(engine, server)
      slow[i]:send("GET /heal")
    end
    assert.equal(200, support.fetch(engine, server, { path = "/healthz" }).status)
    for _, client in ipairs(slow) do client:close() end
    assert.equal(200, support.fetch(engine, server, { path = "/healthz" }).status)
  end)

  it("closes idle connections, and lets waiting clients in when there is room", function()
    local small = engine:serve { port = 0, admin_token = TOKEN, max_connections = 2, idle_timeout = 1 }
    local first, second = support.connect(engine, small), support.connect(engine, small)
    first:send("G")
    second:send("G")
    assert.equal(200, support.fetch(engine, small, { path = "/healthz" }).status)
    first:finish()
    second:finish()
  end)

  it("keeps a connection for several requests, also when they come at once", function()
    engine:route("GET", "/n", function(request) return 200, "text/plain", "number " .. request.query.n end)
    local client = support.connect(engine, server)
    client:send("GET /n?n=1 HTTP/1.1\r\nHost: x\r\n\r\nGET /n?n=2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.truthy(client:expect("number 2"))
    client:send("GET /n?n=3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert.truthy(client:finish():find("number 1.*number 2.*number 3"))
  end)

  it("survives a client that goes away while its request is worked on", function()
    local core, done = engine._web.core, 0
    engine:route("GET", "/wait", function()
      core:sleep(0.05)
      done = done + 1
      return 200, "text/plain", ("x"):rep(100000)
    end)
    for _ = 1, 5 do
      local client = support.connect(engine, server):send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
      for _ = 1, 5 do engine:step() end
      client:close()
    end
    local probe = support.connect(engine, server)
    probe:until_(function() return done == 5 end)
    assert.equal(5, done)
    probe:close()
    assert.equal(200, support.fetch(engine, server, { path = "/healthz" }).status)
  end)

  it("can be closed at any time, twice, and from a handler", function()
    engine:route("GET", "/close", function()
      server:close()
      server:close()
      return 200, "text/plain", "bye"
    end)
    support.raw(engine, server, "GET /close HTTP/1.1\r\nHost: x\r\n\r\n")
    local other = engine:serve { port = server.port, admin_token = TOKEN }
    assert.equal(200, support.fetch(engine, other, { path = "/healthz" }).status)
    assert.equal(("http://127.0.0.1:%d"):format(other.port), other.url)
    other:close()
  end)

  it("ends with the engine, whatever is in progress", function()
    local core = engine._web.core
    engine:route("GET", "/wait", function() core:sleep(60) end)
    local waiting = support.connect(engine, server):send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    local half = support.connect(engine, server):send("POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    for _ = 1, 10 do engine:step() end
    engine:close()
    for _ = 1, 100 do
      waiting:read()
      half:read()
    end
    assert.truthy(waiting.closed and half.closed)
    server:close()
  end)

  it("refuses bad options", function()
    for _, options in ipairs {
      { port = 70000 }, { port = -1 }, { port = "80" }, { host = "no such host" }, { max_body = -1 },
      { max_header = 1 }, { max_connections = 0 }, { idle_timeout = 0 }, { colour = "red" }, { base_path = "x" },
    } do
      options.port = options.port or 0
      assert.has_error(function() engine:serve(options) end)
    end
    assert.has_error(function() engine:route("get me", "/", print) end)
    assert.has_error(function() engine:route("GET", "no slash", print) end)
    assert.has_error(function() engine:route("GET", "/", "no function") end)
    assert.has_error(function() engine:handle { pth = "/" } end)
  end)
end)
