-- flood_spec.lua - however many connections do nothing, or little: work goes on, and so does an honest visitor.

local pace = require "spec.support.pace"
local pipeline = require "pipeline"
local socket = require "socket"
local support = require "spec.http.support"

local SECONDS = pace > 4 and 24 or 12
local WORK_MAX = 5 * pace  -- seconds of the processor until an honest visitor has the answer,
local WAIT_MAX = 20 * pace -- and of time, on a machine that does other things, too

local Work = pipeline.define("spec.flood.Work", { run = function(_, n) return n end })

-- Where the server is that much slower than those who flood it, more than there are places for come before it has read
-- what the visitor asks: then the visitor comes again.
local function visit(engine, server)
  local ok, reply
  repeat
    ok, reply = pcall(support.fetch, engine, server, { path = "/hello", wait = WAIT_MAX })
  until ok or pace <= 4 or not tostring(reply):find("no answer", 1, true)
  return ok and reply or error(reply, 0)
end

describe("10,000 idle connections and 500 slow ones", function()
  it("shut nobody out", function()
    local engine = support.open()
    local server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
    local large = ("x"):rep(8 * 1024 * 1024)
    engine:route("GET", "/large", function() return 200, "text/plain", large end)
    engine:route("GET", "/hello", function() return 200, "text/plain", "hello" end)
    local crowd = assert(io.popen(("%s spec/http/flood_client.lua %d %d"):format(os.getenv("LUA") or "lua5.4",
      server.port, SECONDS)))
    local visits, done, longest, dearest = 0, 0, 0, 0
    local stop, most = socket.gettime() + SECONDS, 0
    while socket.gettime() < stop do
      local began, worked = socket.gettime(), os.clock()
      assert.equal("hello", visit(engine, server).body)
      visits = visits + 1
      longest, dearest = math.max(longest, socket.gettime() - began), math.max(dearest, os.clock() - worked)
      most = math.max(most, server._server.connections)
      local stage = Work(visits):start()
      if engine:wait(stage).default.value == visits then done = done + 1 end
    end
    local idle, slow = crowd:read("n", "n")
    crowd:close()
    assert.equal(10000, idle)
    assert.is_true(slow >= 500, "slow: " .. slow)
    assert.is_true(most > 200 and most <= 256, "connections: " .. most)
    assert.is_true(visits >= 20 // pace, "visits: " .. visits)
    assert.equal(visits, done)
    print(("%d visits, the slowest %.3f s and %.3f s of work, %d connections, %d slow"):format(visits, longest, dearest,
      most, slow))
    assert.is_true(longest < WAIT_MAX, "the slowest visit: " .. longest)
    assert.is_true(dearest < WORK_MAX, "work until the answer: " .. dearest)
    engine:close()
    pipeline.set_logger(nil)
  end)
end)

describe("a slow client", function()
  local engine, server

  before_each(function()
    engine = support.open()
    server = engine:serve { port = 0, admin_token = "token-of-the-specs", header_timeout = 1, min_rate = 1000 }
    engine:route("*", "/any", function() return 200, "text/plain", "any" end)
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  -- Does something about ten times a second until the connection is closed; returns the seconds it took.
  local function seconds_until_closed(client, act)
    local began, last = socket.gettime(), 0
    while not client.closed and socket.gettime() - began < 30 do
      engine:step()
      client:read()
      if socket.gettime() - last > 0.1 then
        last = socket.gettime()
        act()
      end
      socket.sleep(0.005)
    end
    return socket.gettime() - began
  end

  it("has so long for its headers, whatever it sends", function()
    local client = support.connect(engine, server):send("GET /any HTTP/1.1\r\nX: ")
    local seconds = seconds_until_closed(client, function() client.socket:send("x") end)
    assert.is_true(seconds < 5, tostring(seconds))
    assert.truthy(client.text:find("^HTTP/1.1 408 "))
  end)

  it("sends its body, and takes its answer, at the least rate; or the connection ends", function()
    local large = ("x"):rep(32 * 1024 * 1024)
    engine:route("GET", "/large", function() return 200, "text/plain", large end)
    local head = "POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    local reader = support.connect(engine, server):send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    local slow = support.connect(engine, server):send(head)
    local steady = support.connect(engine, server):send(head)
    local seconds = seconds_until_closed(slow, function()
      slow.socket:send("0123456789")
      steady.socket:send(("x"):rep(500))
    end)
    assert.is_true(seconds > 9 and seconds < 20, tostring(seconds))
    assert.truthy(slow.text:find("^HTTP/1.1 408 "))
    local began = socket.gettime()
    while server._server.connections > 1 and socket.gettime() - began < 20 do
      steady.socket:send(("x"):rep(500))
      engine:step()
      socket.sleep(0.1)
    end
    assert.equal(1, server._server.connections) -- the steady one, and not the one that reads nothing
    steady:read()
    assert.equal("", steady.text)
    assert.is_false(steady.closed)
    reader:close()
    steady:close()
    assert.equal(200, support.fetch(engine, server, { path = "/any" }).status)
  end)
end)
