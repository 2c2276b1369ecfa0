-- left_spec.lua - clients that leave while their request is worked on: the handler is cancelled, and holds no place.

local pipeline = require "pipeline"
local support = require "spec.http.support"
local tasklets = require "pipeline.tasklets"

describe("a client that leaves", function()
  local engine, lines, server

  before_each(function()
    engine, lines = support.open()
    server = engine:serve { port = 0, admin_token = "token-of-the-specs", max_connections = 16 }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local function is_closed_variable(fn)
    return setmetatable({}, { __close = fn })
  end

  -- Opens requests to a path, waits until all are with their handlers, and closes their connections.
  local function visit_and_leave(path, count, has_begun)
    local clients = {}
    for i = 1, count do
      clients[i] = support.connect(engine, server):send(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path))
    end
    clients[1]:until_(has_begun)
    for _, client in ipairs(clients) do client:close() end
  end

  it("has its handler cancelled, wherever it waits, and its variables closed", function()
    local begun, closed, went_on = 0, 0, 0
    local never = tasklets.Future("never")
    local waits = {
      function() engine:sleep(600) end,
      function() tasklets.await(tasklets.sleep(600)) end,
      function() tasklets.await(never) end,
      function() tasklets.await_all { tasklets.sleep(600), never } end,
    }
    for i, wait in ipairs(waits) do
      engine:route("GET", "/wait/" .. i, function()
        begun = begun + 1
        local _ <close> = is_closed_variable(function() closed = closed + 1 end)
        wait()
        went_on = went_on + 1
        return 200, "text/plain", "late"
      end)
      visit_and_leave("/wait/" .. i, 2, function() return begun == 2 * i end)
      local probe = support.connect(engine, server)
      assert.is_true(probe:until_(function() return closed == 2 * i end), "wait " .. i)
      probe:close()
    end
    assert.equal(0, went_on)
    assert.equal(0, engine._web.answering)
    assert.truthy(support.logged(lines, "left before it was answered: GET /wait/1"))
    assert.equal(200, support.fetch(engine, server, { path = "/healthz" }).status)
  end)

  it("cancels what only its handler waits for", function()
    local cancelled, begun = 0, 0
    local work = tasklets.tasklet(function()
      local _ <close> = is_closed_variable(function() cancelled = cancelled + 1 end)
      begun = begun + 1
      tasklets.await(tasklets.sleep(600))
    end)
    engine:route("GET", "/work", function() tasklets.await(work()) end)
    visit_and_leave("/work", 1, function() return begun == 1 end)
    local probe = support.connect(engine, server)
    assert.is_true(probe:until_(function() return cancelled == 1 end))
    probe:close()
  end)

  it("has its transaction rolled back", function()
    engine:transaction(function(tx) tx:execute("CREATE TABLE visit (n)") end)
    local begun
    engine:route("GET", "/tx", function()
      engine:transaction(function(tx)
        tx:execute("INSERT INTO visit VALUES (1)")
        begun = true
        engine:sleep(600)
      end)
    end)
    visit_and_leave("/tx", 1, function() return begun end)
    local count
    local probe = support.connect(engine, server)
    probe:until_(function() return server._server.connections == 1 end)
    engine:transaction(function(tx) count = #tx:query("SELECT n FROM visit") end)
    assert.equal(0, count)
    probe:close()
  end)

  it("does not shut others out, however many leave a slow route", function()
    local begun = 0
    engine:route("GET", "/slow", function()
      begun = begun + 1
      engine:sleep(600)
    end)
    for round = 1, 3 do
      visit_and_leave("/slow", 16, function() return begun == 16 * round end)
      assert.equal(200, support.fetch(engine, server, { path = "/healthz" }).status)
    end
  end)

  it("after its answer changes nothing, and one that only ends its side is answered", function()
    engine:route("GET", "/quick", function()
      engine:sleep(0.2)
      return 200, "text/plain", "here"
    end)
    local client = support.connect(engine, server):send("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
    client.socket:shutdown("send")
    assert.truthy(client:finish():find("here", 1, true))
    assert.is_nil(support.logged(lines, "left before"))
  end)
end)
