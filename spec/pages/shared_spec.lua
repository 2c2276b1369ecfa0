-- shared_spec.lua - answers that several pages ask for at the same time.

local pipeline = require "pipeline"
local http = require "spec.http.support"
local support = require "spec.pages.support"

describe("what many pages ask at once", function()
  local engine, server

  before_each(function()
    engine = http.open()
    server = engine:serve { port = 0, admin_token = support.ADMIN, viewer_token = support.VIEWER }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local Work = pipeline.define("pages.shared.Work", { run = function() return 1 end })
  local HEAD = "GET /_ah/pipeline/api/counts HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer "
    .. support.VIEWER .. "\r\n\r\n"

  -- Counts how often the reader is asked. The method is replaced in the engine, not in its class.
  local function counting()
    local asked, read = { times = 0 }, engine.list_counts
    rawset(engine, "list_counts", function(self, ...)
      asked.times = asked.times + 1
      return read(self, ...)
    end)
    return asked
  end

  it("U7 is made once, also for those who come while it is made, and anew after a change", function()
    local asked, began = counting(), engine:now()
    local clients = {}
    for i = 1, 10 do clients[i] = http.connect(engine, server):send(HEAD) end
    for i = 1, 10 do assert.truthy(clients[i]:finish():find('"done":0', 1, true)) end
    assert.is_true(asked.times <= 2 + (engine:now() - began), "asked " .. asked.times .. " times")
    local stage = Work()
    stage:start()
    engine:wait(stage)
    local reply = http.connect(engine, server):send(HEAD):finish()
    assert.truthy(reply:find('"done":1', 1, true) or reply:find("X%-Pipeline%-Again: %d"))
    engine:sleep(1.01)
    assert.truthy(http.connect(engine, server):send(HEAD):finish():find('"done":1', 1, true))
  end)

  it("U7 is forgotten with every act, and an error is nobody else's", function()
    engine:close()
    engine = pipeline.open(":memory:", { virtual_time = true, log = function() end }) -- no second passes meanwhile
    engine:serve { port = 0, admin_token = support.ADMIN }
    local bearer = { authorization = "Bearer " .. support.ADMIN }
    local asked = counting()
    local function counts() return support.ask(engine, { path = "api/counts", headers = bearer }) end
    counts()
    counts()
    assert.equal(1, asked.times)
    support.ask(engine, { path = "api/queues/pause", json = { queue = "none" }, headers = bearer })
    counts()
    assert.equal(2, asked.times)
    support.ask(engine, { path = "api/queues/pause", json = { queue = "none" }, headers = bearer })
    local read = engine.list_counts
    rawset(engine, "list_counts", function() error("broken") end)
    assert.equal(500, counts().status)
    rawset(engine, "list_counts", read)
    assert.equal(200, counts().status)
  end)
end)
