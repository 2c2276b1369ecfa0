-- stream_spec.lua - answers without an end: begun by a handler, added to piece by piece, over when it returns or its
-- client has gone; and clients that leave in the middle of an answer.

local pipeline = require "pipeline"
local support = require "spec.http.support"

describe("an answer without an end", function()
  local engine, lines, server

  before_each(function()
    engine, lines = support.open()
    server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local function get(path)
    return support.connect(engine, server):send(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path))
  end

  it("is sent piece by piece, without a length, and ends with its handler", function()
    local core, go_on = engine._web.core, false
    engine:route("GET", "/stream", function()
      assert(core:stream(200, { ["Content-Type"] = "text/event-stream", ["Content-Length"] = "5" }))
      assert(core:send("one\n"))
      while not go_on do core:sleep(0.001) end
      assert(core:send("two\n"))
      return 500, "text/plain", "not sent"
    end)
    local client = get("/stream")
    assert.is_true(client:expect("one\n"))
    assert.is_false(client.closed)
    go_on = true
    local text = client:finish()
    assert.truthy(text:find("^HTTP/1.1 200 OK\r\n"))
    assert.is_nil(text:lower():find("content-length", 1, true))
    assert.truthy(text:find("Connection: close\r\n", 1, true))
    assert.truthy(text:find("\r\n\r\none\ntwo\n$"))
  end)

  it("tells its handler when the client has gone, or does not read", function()
    local core, ended, refused = engine._web.core, false, false
    engine:route("GET", "/gone", function()
      local _ <close> = setmetatable({}, { __close = function() ended = true end })
      core:stream(200, {})
      core:send("here\n")
      core:sleep(600)
    end)
    engine:route("GET", "/deaf", function()
      core:stream(200, {})
      local piece = ("x"):rep(1 << 20)
      for _ = 1, 1000 do
        if not core:send(piece) then
          refused = true
          return
        end
      end
    end)
    local client = get("/gone")
    assert.is_true(client:expect("here"))
    client:close()
    local deaf = get("/deaf")
    assert.is_true(deaf:until_(function() return ended and refused end))
    deaf:close()
    assert.is_nil(support.logged(lines, "left before it was answered"))
    assert.equal(200, support.fetch(engine, server, { path = "/healthz" }).status)
  end)

  it("is refused where there is no socket, for HEAD, twice, and with bad headers", function()
    local core, said = engine._web.core, {}
    engine:route("GET", "/odd", function()
      said[#said + 1] = { core:stream(200, { ["X-Bad"] = "a\nb" }) }
      said[#said + 1] = { core:stream(200, {}) }
      said[#said + 1] = { core:stream(200, {}) }
      return 200, "text/plain", "plain"
    end)
    assert.equal("plain", engine:handle { path = "/odd" }.body)
    assert.equal("ESTATE", said[2][2])
    said = {}
    get("/odd"):finish()
    assert.is_nil(said[1][1])
    assert.same({ true }, said[2])
    assert.equal("ESTATE", said[3][2])
    said = {}
    assert.equal(200, support.fetch(engine, server, { method = "HEAD", path = "/odd" }).status)
    assert.equal("ESTATE", said[2][2])
  end)

  it("ends when its server or its engine is closed", function()
    local core, closed = engine._web.core, 0
    engine:route("GET", "/stream", function()
      local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
      core:stream(200, {})
      core:send("here\n")
      core:sleep(600)
    end)
    local first = get("/stream")
    assert.is_true(first:expect("here"))
    local other = engine:serve { port = 0, admin_token = "token-of-the-specs" }
    other:close()
    server:close()
    first:finish()
    server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
    local second = get("/stream")
    assert.is_true(second:expect("here"))
    engine:close()
    assert.equal(2, closed)
    second:close()
  end)
end)

-- A process of its own, with nothing in it that ignores SIGPIPE, as other libraries do.
local PROGRAM = [[
local pipeline = require "pipeline"
local engine = pipeline.open(":memory:", { log = function() end })
local server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
local served = 0
engine:route("GET", "/large", function()
  served = served + 1
  return 200, "text/plain", ("x"):rep(30 * 1024 * 1024)
end)
engine:route("GET", "/end", function() engine:stop() end)
io.stdout:write(server.port, "\n")
io.stdout:flush()
engine:run()
io.stdout:write("served ", served, "\n")
]]

describe("a client that leaves in the middle of a long answer", function()
  it("does not end a process that has no handler for SIGPIPE", function()
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write(PROGRAM)
    file:close()
    local pipe <close> = assert(io.popen("lua5.4 " .. path, "r"))
    local port = pipe:read("n", "l")
    local socket = require "socket"
    for _ = 1, 5 do
      local client = assert(socket.connect("127.0.0.1", port))
      client:send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
      client:shutdown("send")
      client:receive(1000)
      client:close()
    end
    local last = assert(socket.connect("127.0.0.1", port))
    last:send("GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    last:receive("*a")
    last:close()
    assert.equal("served 5", pipe:read("l"))
    assert.is_true(pipe:close())
    os.remove(path)
  end)
end)
