-- Several engines with real time in one Lua state: while one of them runs or waits, the others, and luv, have their
-- turns. Each case is a program of its own, which is ended when it hangs.

local LUA = os.getenv("LUA") or "lua5.4"
local SLOW = (os.getenv("PL_BUILD") or ""):match("/[atu]%l*san$") and 6 or 1
local IS_TSAN = (os.getenv("PL_BUILD") or ""):find("/tsan$")

-- It begins no threads in the child of a process that has some, and holds signals back while only Lua computes.
local function skip(title)
  it(title, function() pending("ThreadSanitizer cannot watch this") end)
end

local prelude = [[
local directory = ...
local pipeline = require "pipeline"
local eventloop = require "pipeline.eventloop"
local tasklets = require "pipeline.tasklets"
local await, sleep, tasklet, Future = tasklets.await, tasklets.sleep, tasklets.tasklet, tasklets.Future

local function open(name, options)
  options = options or {}
  options.durability = "normal"
  function options.log(level, text)
    if level >= 40 then io.stderr:write(text, "\n") end
  end
  return pipeline.open(directory .. "/" .. name .. ".db", options)
end

local defined = 0
local function define(run)
  defined = defined + 1
  return pipeline.define("spec.Shared" .. defined, type(run) == "table" and run or { max_attempts = 1, run = run })
end

local Give = define(function(_, value) return value end)
local function value_of(engine, stage, given) return engine:wait(stage, given).default.value end
local Open = define { async = true, run = function() end }

-- Work that goes on: each step is a task. steps() tells how many of them there were.
local function work_of(engine)
  local steps, Step = 0, nil
  Step = define(function()
    steps = steps + 1
    await(sleep(0.002))
    if not engine._closed then Step():start { engine = engine } end
  end)
  Step():start { engine = engine }
  return function() return steps end
end

local function is_closed(problem)
  return pipeline.is(problem, pipeline.Error) and problem.code == "ECLOSED"
    and tostring(problem):find("closed", 1, true) ~= nil
end

local _ = { eventloop, await, tasklet, Future, Give, value_of, Open, work_of, is_closed }
]]

describe("several engines with real time", function()
  local directory
  setup(function()
    local pipe = assert(io.popen("mktemp -d"))
    directory = pipe:read("l")
    pipe:close()
  end)
  teardown(function() os.execute("rm -rf '" .. directory .. "'") end)

  local function run(program, keeps_files)
    if not keeps_files then os.execute(("rm -rf '%s'/*"):format(directory)) end
    local path = directory .. "/program.lua"
    local out = assert(io.open(path, "w"))
    out:write(prelude, program, "\nprint('well')\n")
    out:close()
    local pipe = assert(io.popen(("timeout -k 1 %d %s %s '%s' 2>&1"):format(20 * SLOW, LUA, path, directory)))
    local text = pipe:read("a")
    local _, _, code = pipe:close()
    if code == 124 then text = text .. "it hangs" end
    -- The leak checker of a child after a fork speaks of its parent's threads.
    text = text:gsub("==%d+==Running thread %d+ was not suspended%. False leaks are possible%.\n", "")
    assert.equal("well\n", text)
  end

  local function both(title, program)
    it(title .. " (the first engine)", function()
      run("local A, B = open 'a', open 'b'\n" .. program)
    end)
    it(title .. " (the second engine)", function()
      run("local B, A = open 'b', open 'a'\n" .. program)
    end)
  end

  local luv = pcall(require, "luv") and both or function(title) pending(title .. ": luv is not installed") end

  for _, from in ipairs { "wait", "drain", "sleep", "run" } do
    luv("let luv's timers fire during " .. from, [[
      local uv, fired = require "luv", 0
      local timer = uv.new_timer()
      timer:start(5, 5, function() fired = fired + 1 end)
      local Sleeps = define(function() await(sleep(0.2)) return 1 end)
      local stage = Sleeps():start { engine = A }
      local before = os.clock()
      ]] .. ({
        wait = "assert(value_of(A, stage) == 1)",
        drain = "A:drain()",
        sleep = "A:sleep(0.2)",
        run = "eventloop.queue_call(0.2, function() A:stop() end) A:run()",
      })[from] .. [[

      assert(fired >= 5, "fired " .. fired)
      assert(os.clock() - before < 0.15, "the loop spins")
      timer:close()
      A:close()
      fired = 0
      timer = uv.new_timer()
      timer:start(5, 5, function() fired = fired + 1 end)
      B:sleep(0.1)
      assert(fired >= 3, "alone: fired " .. fired)
      timer:close()
      B:sleep(0.01)
      B:close()
    ]])

    both("execute the tasks of all during " .. from, [[
      local steps, others = work_of(B), work_of(A)
      local Sleeps = define(function() await(sleep(0.2)) return 1 end)
      local stage = Sleeps():start { engine = A }
      ]] .. ({
        wait = "assert(value_of(A, stage) == 1)",
        drain = "pcall(A.drain, A, { timeout = 0.2 })",
        sleep = "A:sleep(0.2)",
        run = "eventloop.queue_call(0.2, function() A:stop() end) A:run()",
      })[from] .. [[

      assert(steps() >= 5, "of the other: " .. steps())
      assert(others() >= 5, "of its own: " .. others())
      B:close()
      A:close()
    ]])
  end

  both("let a run of one wait for a pipeline of the other, and the other way round, and both go on meanwhile", [[
    local of_a, of_b = work_of(A), work_of(B)
    local Slow = define(function(_, value) await(sleep(0.1)) return value end)
    local before_a, before_b
    local OfA = define(function()
      before_a, before_b = of_a(), of_b()
      return value_of(B, Slow(2):start { engine = B })
    end)
    local OfB = define(function(self, id) return value_of(A, A:from_id(id)) end)
    local first = OfA():start { engine = A }
    local second = OfB(first.id):start { engine = B }
    local third = define(function(self, id) return value_of(B, B:from_id(id)) end)(second.id):start { engine = A }
    assert(value_of(A, third) == 2)
    assert(of_a() - before_a >= 5, "A: " .. of_a() - before_a)
    assert(of_b() - before_b >= 5, "B: " .. of_b() - before_b)
    assert(value_of(B, second) == 2)
    A:close()
    B:close()
  ]])

  both("let many runs of both wait for each other, with few places", [[
    A:close() B:close()
    A, B = open("c", { concurrency = 1 }), open("d", { concurrency = 1 })
    local Chain
    Chain = define(function(_, left)
      if left == 0 then return 0 end
      local other = left % 2 == 0 and A or B
      return value_of(other, Chain(left - 1):start { engine = other }) + 1
    end)
    local all = {}
    for i = 1, 20 do all[i] = Chain(i):start { engine = i % 2 == 0 and A or B } end
    for i = 1, 20 do assert(value_of(i % 2 == 0 and A or B, all[i]) == i) end
    A:close()
    B:close()
  ]])

  both("let a run wait for a pipeline of the other no longer than it says", [[
    local stage = Open():start { engine = B }
    local Waits = define(function()
      local ok, problem = pcall(B.wait, B, stage, { timeout = 0.05 })
      assert(not ok and pipeline.is(problem, pipeline.TimeoutError), tostring(problem))
      return "late"
    end)
    assert(value_of(A, Waits():start { engine = A }) == "late")
    B:close()
    A:close()
  ]])

  both("let a tasklet in a run of one wait for a pipeline, or a future, of the other", [[
    local Slow = define(function(_, value) await(sleep(0.05)) return value end)
    local future, begun = Future(), Future()
    define(function()
      await(begun)
      await(sleep(0.05))
      future:set_result(3)
    end)():start { engine = A }
    local OfB = define(function()
      local one = tasklet(function() return value_of(A, Slow(1):start { engine = A }) end)()
      local two = tasklet(function() return await(future) end)()
      begun:set_result(true)
      return await(one) + await(two) + await(tasklet(function() return value_of(A, Slow(4):start { engine = A }) end)())
    end)
    assert(value_of(B, OfB():start { engine = B }) == 8)
    B:drain()
    A:close()
    B:close()
  ]])

  both("let one be closed while the other works", [[
    local of_a, of_b = work_of(A), work_of(B)
    while of_a() < 3 or of_b() < 3 do A:sleep(0.01) end
    local Closes = define(function()
      B:close()
      await(sleep(0.05))
      return 1
    end)
    local at = of_a()
    assert(value_of(A, Closes():start { engine = A }) == 1)
    assert(of_a() - at >= 5)
    B = open("b")
    local stage = Open():start { engine = B }
    local Waits = define(function()
      local ok, problem = pcall(B.wait, B, stage)
      assert(not ok and is_closed(problem), tostring(problem))
      return 2
    end)
    local waits = Waits():start { engine = A }
    local waiting = tasklet(function() return select(2, pcall(B.wait, B, stage)) end)()
    tasklet(function() await(sleep(0.05)) B:close() end)()
    assert(value_of(A, waits) == 2)
    assert(is_closed(await(waiting)))
    at = of_a()
    A:sleep(0.05)
    assert(of_a() - at >= 3)
    A:close()
  ]])

  both("let one be closed by what the other executes while it is itself running", [[
    local CloseA = define(function() await(sleep(0.02)) A:close() await(sleep(0.02)) return 1 end)
    local stage = CloseA():start { engine = B }
    local ok, problem = pcall(A.wait, A, Open():start { engine = A })
    assert(not ok and is_closed(problem), tostring(problem))
    assert(value_of(B, stage) == 1)
    A = open("a")
    CloseA():start { engine = B }
    A:run()
    assert(not pcall(A.status, A))
    B:drain()
    A = open("a")
    local CloseB = define(function() B:close() return 3 end)
    assert(value_of(A, CloseB():start { engine = A }) == 3)
    B = open("b")
    CloseB():start { engine = B }
    assert(value_of(A, define(function() await(sleep(0.1)) return 4 end)():start { engine = A }) == 4)
    assert(not pcall(B.status, B))
    A:close()
  ]])

  local server = [[
    local socket = assert(A:serve { port = 0, admin_token = "0123456789012345678901234567890123456789" })
    A:route("GET", "/slow", function() await(sleep(5)) return 200, "text/plain", "late" end)
    A:route("GET", "/fast", function() return 200, "text/plain", "soon" end)
    local url = socket.url or ("http://127.0.0.1:" .. socket.port)
  ]]

  both("answer requests of all while one of them waits", server .. [[
    local Fetches = define(function() return await(tasklets.fetch { url = url .. "/fast" }).body end)
    assert(value_of(B, Fetches():start { engine = B }) == "soon")
    assert(value_of(A, Fetches():start { engine = A }) == "soon")
    assert(await(tasklets.fetch { url = url .. "/fast" }).body == "soon")
    A:close()
    B:close()
  ]])

  both("end the requests of what they execute when they are closed, with an error that says so", server .. [[
    local begun, seen = Future(), Future()
    define(function()
      tasklet(function()
        begun:set_result(true)
        seen:set_result(select(2, pcall(await, tasklets.fetch { url = url .. "/slow" })))
      end)()
      await(sleep(30))
    end)():start { engine = B }
    A:wait(define(function() await(begun, sleep(0.05)) end)():start { engine = A })
    local before = eventloop.now()
    B:close()
    local problem = await(seen)
    assert(is_closed(problem), tostring(problem))
    assert(eventloop.now() - before < 2)
    A:close()
  ]])

  it("let tasklets made before the second engine was opened work for the engine of their maker", function()
    run [[
      local hidden = require("pipeline.engine").open(directory .. "/h.db", {}, true) -- never the default one
      local gate, done = Future(), Future()
      local Makes = define(function()
        tasklet(function()
          await(gate)
          done:set_result(Give(1):start()._engine)
        end)()
      end)
      Makes():start { engine = hidden }
      hidden:drain()
      local B = open "b"
      B:drain()
      gate:set_result(true)
      assert(await(done) == hidden)
      hidden:close()
      B:close()
    ]]
  end)

  local forked = IS_TSAN and skip or it
  forked("opened by a child after a fork work beside each other; those of the parent go on in the parent", function()
    os.execute(("rm -rf '%s'/*"):format(directory))
    local path = directory .. "/forks"
    local out = assert(io.open(path .. ".c", "w"))
    out:write [[
      #include <lauxlib.h>
      #include <sys/wait.h>
      #include <unistd.h>
      int luaopen_forks(lua_State *L);
      static int forks(lua_State *L) {
          lua_pushinteger(L, fork());
          return 1;
      }
      static int waits(lua_State *L) {
          int status = -1;
          waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0);
          lua_pushinteger(L, status);
          return 1;
      }
      int luaopen_forks(lua_State *L) {
          lua_pushcfunction(L, forks);
          lua_setglobal(L, "fork");
          lua_pushcfunction(L, waits);
          lua_setglobal(L, "waitpid");
          return 0;
      }
    ]]
    out:close()
    assert(os.execute(("cc -shared -fPIC $(pkg-config --cflags lua5.4) -o '%s.so' '%s.c'"):format(path, path)))
    run([[
      package.cpath = directory .. "/?.so;" .. package.cpath
      require "forks"
      local Slow = define(function(_, value) await(sleep(0.02)) return value end)
      local A, E = open "a", open "e"
      assert(value_of(A, Slow(1):start { engine = A }) == 1)
      local child = fork()
      if child == 0 then
        local B = open "b"
        assert(value_of(B, Slow(2):start { engine = B }) == 2)
        local C = open "c"
        local steps = work_of(C)
        assert(value_of(B, Slow(3):start { engine = B }) == 3)
        assert(await(tasklet(function() return value_of(C, Slow(4):start { engine = C }) end)()) == 4)
        assert(steps() > 2)
        B:close()
        C:close()
        os.exit(0, false)
      end
      assert(value_of(E, Slow(5):start { engine = E }) == 5)
      assert(waitpid(child) == 0)
      assert(value_of(A, Slow(6):start { engine = A }) == 6)
      A:close()
      E:close()
    ]], true)
  end)

  for signal, from in pairs { TERM = "run", INT = "drain" } do
    local computing = IS_TSAN and skip or both
    computing("end what the others compute, too, when a signal stops the one that is in " .. from, ([[
      A:close() B:close()
      A, B = open("c", { stop_grace = 0.3 }), open("d", { stop_grace = 0.3 })
      local turns = 0
      local Endless = define(function()
        turns = turns + 1
        while turns == 1 do end
        return "again"
      end)
      local stage = Endless():start { engine = B }
      define(function() await(sleep(30)) end)():start { engine = A }
      local pid = io.open("/proc/self/stat"):read("n")
      os.execute(("(sleep 0.5; kill -%s %%d) >/dev/null 2>&1 &"):format(pid))
      local begun = eventloop.now()
      local ok, problem = pcall(A.%s, A)
      assert(ok or pipeline.is(problem, pipeline.Interrupted), tostring(problem))
      assert(eventloop.now() - begun < %d and turns >= 1, turns)
      assert(value_of(B, stage) == "again")
      A:close()
      B:close()
    ]]):format(signal, from, 5 * SLOW))
  end

  it("closed in any order leave what the others do alone", function()
    run [[
      local list, steps = {}, {}
      for i = 1, 5 do
        list[i] = open("e" .. i)
        steps[i] = work_of(list[i])
      end
      for _, i in ipairs { 1, 3, 5, 2 } do
        list[4]:sleep(0.05)
        list[i]:close()
        local at = steps[4]()
        assert(value_of(list[4], Give(i):start { engine = list[4] }) == i)
        list[4]:sleep(0.05)
        assert(steps[4]() > at)
      end
      list[4]:close()
    ]]
  end)

  it("give back what was claimed ahead when the one that ran has ended", function()
    run [[
      local A, B = open "a", open "b"
      for i = 1, 500 do Give(i):start { engine = B } end
      A:sleep(0.01)
      local facts = B._core:facts()
      assert(facts.buffered == 0 and facts.executing == 0, facts.buffered .. ", " .. facts.executing)
      A:close()
      B:close()
    ]]
  end)
end)
