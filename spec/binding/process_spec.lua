-- Lua states that end at any moment: lua_close and os.exit with coroutines, claims and ops under way.
package.path = "spec/binding/?.lua;" .. package.path
local support = require "support"

local PRELUDE = [[
local core = require "pipeline.core"
local e = assert(core.open(":memory:"))
local id = e:new_id()
assert(e:start{ { id = id, class_path = "spec.X", args = "", hold = true } })
local function add(n)
  for i = 1, n do assert(e:task_add{ { id = e:new_id(), stage = id, payload = tostring(i) } }) end
end
local function guard(name)
  return setmetatable({}, { __close = function() print("closed " .. name) end })
end
]]

local function process(source)
  local code, output = support.process(PRELUDE .. source)
  assert.equal(0, code, output)
  assert.falsy(output:find("warning", 1, true), output)
  return output
end

describe("a Lua state", function()
  it("may close with everything suspended", function()
    local output = process[[
      add(3)
      local started = 0
      e:on("task", function(task)
        local g <close> = guard("task")
        started = started + 1
        if task.payload == "1" then e:sleep(1e6) elseif task.payload == "2" then e:suspend() else
          e:token(); while true do e:meta("k", "v") end
        end
      end)
      e:spawn(function() local g <close> = guard("spawned"); e:suspend() end)
      e:spawn(function() while true do e:sleep(0) end end)
      while started < 3 do assert(e:run("next")) end
      e:spawn(function() print("never started") end)
      print("end")
    ]]
    assert.falsy(output:find("never started", 1, true))
    local _, n = output:gsub("closed", "")
    assert.equal(4, n, output)
  end)

  it("may end by os.exit inside the loop", function()
    for _, call in ipairs{ "os.exit(true, true)", "os.exit(true)" } do
      local output = process([[
        add(2)
        local scoped <close> = e
        e:on("task", function(task)
          if task.payload == "1" then e:suspend() end
          e:spawn(function() print("leaving"); ]] .. call .. [[ end)
          e:suspend()
        end)
        e:run("forever", 20)
        print("not reached")
      ]])
      assert.truthy(output:find("leaving", 1, true))
      assert.falsy(output:find("not reached", 1, true))
    end
  end)

  it("may end by an error outside, in a hook and in a finalizer", function()
    process[[
      e:on("final", function() error("hook") end)
      e:on("error", function() error("error hook") end)
      e:on("log", function() error("log hook") end)
      e:spawn(function() e:suspend() end)
      e:run("once")
      setmetatable({}, { __gc = function() pcall(e.meta, e, "k", "v"); pcall(e.spawn, e, print) end })
      setmetatable({}, { __gc = function() e:close() end })
    ]]
  end)

  it("may drop an engine with ops in flight, and go on with another", function()
    process[[
      for _ = 1, 20 do
        local other = assert(core.open(":memory:"))
        for i = 1, 10 do other:spawn(function() while true do other:meta("k" .. i, "v") end end) end
        other:run("once")
        other:run("once")
        other = nil
        collectgarbage()
      end
      assert(e:meta("still", "here") == "here")
    ]]
  end)

  it("finalizes in any order", function()
    process[[
      local kept = {}
      add(1)
      e:on("task", function(task)
        kept.claim, kept.token = task, e:token()
        e:suspend()
      end)
      while not kept.claim do e:run("next", 10) end
      -- marked last, so finalized before the engine; and one that outlives it
      setmetatable(kept, { __gc = function(t) assert(t.token:wake() == true); assert(t.claim.id) end })
      local late = setmetatable({ kept.token, kept.claim }, {})
      e.close(e)
      assert(late[1]:wake() == false)
      assert(not pcall(function() return late[2].id end))
      setmetatable(kept, { __gc = function(t) assert(t.token:wake() == false) end })
    ]]
  end)

  it("may close an engine by a finalizer while any method of it runs", function()
    local output = process[[
      local calls = {
        { "new_id" }, { "new_name", "t" }, { "new_ids", 3 }, { "id_text", 1 }, { "id_parse", "5" },
        { "sign", "1" }, { "verify", "1", "2" }, { "random", 100000 }, { "now" }, { "due" }, { "steady" },
        { "advance", 1 }, { "fd" }, { "timeout" }, { "facts" }, { "fetch_facts" }, { "meter" }, { "spans_begin", 1, 2 },
        { "spans_take" }, { "tell", true, 1, true }, { "batch" }, { "session" }, { "spawn", print, 1 },
        { "begin", print, 1 }, { "suspend" }, { "on", "log", print }, { "stop" }, { "listen", false },
        { "release_prefetched" }, { "schedule_tick", 1 }, { "next_fire" }, { "idle" }, { "fired", 1 }, { "token" },
        { "run", "once", 0 }, { "sleep", 0 }, { "status", 1, {} }, { "unwatch", 1 }, { "meta", "k" },
        { "closed", coroutine.create(print) }, { "fetch_limits", {} }, { "id_time", 1 },
        { "fetch", { url = "http://127.0.0.1:9/" } },
        { "serve", { port = 0, handler = print } },
      }
      local function closing()
        local other = assert(core.open(":memory:", { virtual_time = true }))
        return other, setmetatable({}, { __gc = function() other:close() end })
      end
      local closed = 0
      for _, call in ipairs(calls) do
        local other, object = closing()
        local method = assert(other[call[1] ], call[1])
        collectgarbage("incremental", 1, 1000, 40)
        collectgarbage() -- from now on there is a whole cycle wherever anything is allocated
        object = nil -- luacheck: ignore
        local _, code = method(other, table.unpack(call, 2))
        collectgarbage("incremental", 200, 100, 13)
        collectgarbage()
        local _, later = other:now()
        assert(later == "ECLOSED", call[1])
        if code == "ECLOSED" then closed = closed + 1 end
      end
      print("found it closed: " .. closed)
    ]]
    assert.truthy(tonumber(output:match("found it closed: (%d+)")) >= 3, output)
  end)
end)
