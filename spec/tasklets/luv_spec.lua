-- One loop with luv, whichever is loaded first: TCP, timers, a subprocess and a file within tasklets, beside an engine.
-- Each case runs in a process of its own, for a Lua state has luv only once.

local LUA = os.getenv("LUA") or "lua5.4"

local prelude = [[
local function luv() return require "luv" end
local function ours() return require "pipeline.tasklets", require "pipeline.eventloop", require "pipeline" end
]]

local body = [[
local await, go = tasklets.await, function(fn, ...) return tasklets.tasklet(fn)(...) end
assert(require("pipeline.core").loop():alive() == uv.loop_alive())

local function serve()
  local server = uv.new_tcp()
  assert(server:bind("127.0.0.1", 0))
  assert(server:listen(16, function(problem)
    assert(not problem, problem)
    local client = uv.new_tcp()
    server:accept(client)
    client:read_start(function(_, data)
      if data then client:write("echo " .. data) else client:close() end
    end)
  end))
  return server, server:getsockname().port
end

local function ask(port, text)
  local client = uv.new_tcp()
  await(tasklets.promisify(client.connect)(client, "127.0.0.1", port))
  local answer = tasklets.Future("answer")
  client:read_start(function(problem, data) if not answer:done() then answer:set_result(data or problem) end end)
  await(tasklets.promisify(client.write)(client, text))
  local data = await(answer)
  client:close()
  return data
end

local function subprocess()
  local output, exit = uv.new_pipe(), tasklets.Future("exit")
  local options = { args = { "hello" }, stdio = { nil, output } }
  local handle = uv.spawn("echo", options, function(code) exit:set_result(code) end)
  local text = tasklets.Future("text")
  output:read_start(function(_, data) if data then text:set_result(data) else output:close() end end)
  local code, said = await(exit, text)
  handle:close()
  return code, said
end

local function file()
  local fd = await(tasklets.promisify(uv.fs_open)(arg[0], "r", 0))
  local data = await(tasklets.promisify(uv.fs_read)(fd, 5, 0))
  await(tasklets.promisify(uv.fs_close)(fd))
  local ok, problem = pcall(function() await(tasklets.promisify(uv.fs_open)("/does/not/exist", "r", 0)) end)
  assert(not ok and tostring(problem):find("ENOENT"))
  return data
end

local function timer(milliseconds)
  local handle, fired = uv.new_timer(), tasklets.Future("timer")
  handle:start(milliseconds, 0, function() fired:set_result(milliseconds) end)
  local got = await(fired)
  handle:close()
  return got
end

local function all()
  local server, port = serve()
  local a, b, c = go(ask, port, "one"), go(ask, port, "two"), go(subprocess)
  local d, e = go(file), go(timer, 5)
  assert(await(a) == "echo one" and await(b) == "echo two")
  local code, said = await(c)
  assert(code == 0 and said == "hello\n")
  assert(#await(d) == 5 and await(e) == 5)
  server:close()
end
]]

local engine = [[
local engine = pipeline.open(":memory:", { durability = "normal" })
local Class = pipeline.define("spec.Luv", { run = function(_, n)
  all()
  return n
end })
local stage = Class(42)
stage:start()
assert(await(go(function() return engine:wait(stage).default.value end)) == 42)
local second = Class(43)
second:start()
assert(engine:wait(second).default.value == 43)
go(all)
eventloop.run()
local third = Class(44)
third:start()
go(function() engine:wait(third) engine:stop() end)
engine:run()
assert(engine:wait(third).default.value == 44)
engine:close()
]]

local first = {
  luv = "local uv = luv()\nlocal tasklets, eventloop, pipeline = ours()\n",
  ours = "local tasklets, eventloop, pipeline = ours()\ntasklets.await(tasklets.sleep(0.001))\nlocal uv = luv()\n",
}

local function run(...)
  local path = os.tmpname()
  local out = assert(io.open(path, "w"))
  out:write(prelude, ...)
  out:write("\nlocal _ = eventloop, pipeline\nprint('well')\n")
  out:close()
  local pipe = assert(io.popen(("timeout 30 %s %s 2>&1"):format(LUA, path)))
  local text = pipe:read("a")
  pipe:close()
  os.remove(path)
  assert.equal("well\n", text)
end

local has_luv = pcall(require, "luv")

describe("with luv", function()
  for name, order in pairs(first) do
    it(("loaded with %s first, without an engine"):format(name), function()
      if not has_luv then return pending("luv is not installed") end
      run(order, body, "go(all)\neventloop.run()\nawait(go(all))\neventloop.run()\nassert(not uv.loop_alive())")
    end)

    it(("loaded with %s first, beside an engine"):format(name), function()
      if not has_luv then return pending("luv is not installed") end
      run(order, body, engine)
    end)
  end

  it("uv.run drives what luv has on the loop, and the engine does not keep it from ending", function()
    if not has_luv then return pending("luv is not installed") end
    run(first.luv, [[
      local engine = pipeline.open(":memory:", { durability = "normal" })
      local fired = false
      local handle = uv.new_timer()
      handle:start(5, 0, function() fired = true handle:close() end)
      uv.run()
      assert(fired)
      engine:close()
      tasklets.sleep(0)
    ]])
  end)
end)
