-- Hosts with a loop of their own: cqueues, copas, and none but poll, drive an engine, or the tasklets alone, through
-- descriptor, timeout and step. The host's own coroutines go on meanwhile.

local support = require "spec.tasklets.support"

local core = require "pipeline.core"
local eventloop = require "pipeline.eventloop"
local helper = require "spec.support.helper"
local server = require "spec.fetch.support"
local tasklets = require "pipeline.tasklets"

local await, sleep, go = tasklets.await, tasklets.sleep, support.go

-- A library, if it is there: one in plain Lua may be installed for another version of Lua.
local function find(name)
  local ok, library = pcall(require, name)
  local path = package.path
  for _, version in ipairs { "5.3", "5.2" } do
    if ok then break end
    package.path = ("%s;/usr/share/lua/%s/?.lua;/usr/share/lua/%s/?/init.lua"):format(path, version, version)
    ok, library = pcall(require, name)
  end
  package.path = path
  return ok and library
end

-- ---- hosts: each calls loop.step() when loop.fd can be read or loop.timeout() has passed, until done() -------------

local function limit(loop)
  local seconds = loop.timeout()
  if seconds >= 0 then return math.min(seconds, 5) end
  return 5
end

local hosts = {}

function hosts.cqueues(cqueues, loop, done, other)
  local queue = cqueues.new()
  queue:wrap(function()
    local source = { pollfd = loop.fd, events = "r" }
    repeat
      loop.step()
      if not done() then cqueues.poll(source, limit(loop)) end
    until done()
  end)
  queue:wrap(function() other(cqueues.sleep) end)
  assert(queue:loop(20))
end

-- Its coroutines wait for sockets alone: one waits for the descriptor, the others talk to each other.
function hosts.copas(copas, loop, done, other)
  local socket = require "socket"
  local listener = assert(socket.bind("127.0.0.1", 0))
  copas.addserver(listener, function(connection)
    repeat
      local line = copas.receive(connection, "*l")
      if line then copas.send(connection, line .. "\n") end
    until not line
    connection:close()
  end)
  copas.addthread(function()
    local client = socket.tcp()
    assert(copas.connect(client, listener:getsockname()))
    other(function()
      copas.send(client, "tick\n")
      assert(copas.receive(client, "*l") == "tick")
    end)
    client:close()
  end)
  -- What copas can wait for: an object with a descriptor, whose receive says "timeout" first.
  local fd, asked = loop.fd, false
  local source = { getfd = function() return fd end, dirty = function() return false end, close = function() end }
  function source.receive()
    asked = not asked
    if asked then return nil, "timeout" end
    return "ready"
  end
  copas.addthread(function()
    while not done() do copas.receive(source, "*l") end
  end)
  repeat
    loop.step()
    copas.step(done() and 0 or limit(loop)) -- the time may have passed though others have kept it busy
  until done()
  local bell = assert(socket.bind("127.0.0.1", 0))
  local ring = assert(socket.connect("127.0.0.1", (select(2, bell:getsockname()))))
  fd = bell:getfd() -- the thread is to end now
  for _ = 1, 3 do copas.step(0) end
  for _, open in ipairs { bell, ring, listener } do open:close() end
end

function hosts.poll(_, loop, done)
  repeat
    loop.step()
    if not done() then core.poll(limit(loop), loop.fd) end
  until done()
end

local function of_engine(engine)
  return {
    fd = engine:fd(), step = function() engine:step() end, timeout = function() return engine:timeout() end,
  }
end

local alone = { step = eventloop.step, timeout = eventloop.timeout }

for name, run in pairs(hosts) do
  describe("with the loop of " .. name, function()
    local target, library

    setup(function()
      target = server.target()
      library = name == "poll" or find(name)
    end)
    teardown(function()
      server.stop(target)
      helper.clean()
    end)
    before_each(support.start_real)
    after_each(function() support.finish_real(helper.finish) end)

    -- Runs the host until done(); its own coroutine ticks, every millisecond where it can wait so long.
    local function drive(loop, done)
      local ticks, began = 0, os.time()
      local function is_over()
        assert(os.time() - began < 20, "it does not end")
        return done()
      end
      run(library, loop, is_over, function(pause)
        while not is_over() do
          pause(0.001)
          ticks = ticks + 1
        end
      end)
      assert(name == "poll" or ticks > 5, "the host's coroutine had no turn: " .. ticks)
    end

    it("an engine finishes pipelines and tasklets", function()
      if not library then return pending(name .. " is not installed") end
      local engine = helper.open { virtual_time = false }
      local Child = helper.define(function(_, n)
        await(sleep(0.01))
        return n * n
      end)
      local Sum = helper.define(function(_, ...)
        local sum = 0
        for _, n in ipairs { ... } do sum = sum + n end
        return sum
      end)
      local Parent = helper.define(function(self, n)
        local list = {}
        for i = 1, n do list[i] = self:spawn(Child(i)) end
        self:spawn(Sum(table.unpack(list)))
      end)
      local stages, finals = {}, 0
      for i = 1, 5 do
        stages[i] = Parent(i + 1)
        stages[i]:start()
        go(function()
          engine:wait(stages[i])
          finals = finals + 1
        end)
      end
      local ticker = go(function()
        for _ = 1, 20 do await(sleep(0.002)) end
        return "ticked"
      end)
      drive(of_engine(engine), function() return finals == 5 and ticker:done() end)
      assert.equal("ticked", ticker:get_result())
      for i, sum in ipairs { 5, 14, 30, 55, 91 } do
        assert.equal(sum, engine:wait(stages[i], { timeout = 0 }).default.value)
      end
    end)

    it("an engine serves HTTP and fetches, from runs and tasklets", function()
      if not library then return pending(name .. " is not installed") end
      local engine = helper.open { virtual_time = false }
      local own = engine:serve { port = 0, admin_token = "secret-token" }
      engine:route("GET", "/hello", function()
        await(sleep(0.005))
        return 200, "text/plain", "hello"
      end)
      local Class = helper.define(function(_, url) return await(tasklets.fetch { url = url }).body end)
      local stage = Class(target.url .. "/slow?0.02")
      stage:start()
      local list = go(function()
        local first, second = await(tasklets.fetch { url = own.url .. "/hello" },
          tasklets.fetch { url = target.url .. "/slow?0.01" })
        return { first.body, second.body, engine:wait(stage).default.value }
      end)
      drive(of_engine(engine), function() return list:done() end)
      assert.same({ "hello", "slow", "slow" }, list:get_result())
    end)

    it("tasklets run without an engine", function()
      if not library then return pending(name .. " is not installed") end
      alone.fd = eventloop.fd()
      local future = go(function()
        await(sleep(0.01))
        local response = await(tasklets.fetch { url = target.url .. "/slow?0.01" })
        local timeout = tasklets.with_timeout(tasklets.Future(), 0.01):get_exception()
        return response.body, timeout.class
      end)
      drive(alone, function() return future:done() end)
      assert.same({ "slow", "TimeoutError" }, { future:get_result() })
    end)
  end)
end
