-- The life of an engine handle: open, hooks, run, close, and what works when.
package.path = "spec/binding/?.lua;" .. package.path
local core = require "pipeline.core"
local support = require "support"

describe("pipeline.core", function()
  it("has the constants of stages and its version", function()
    assert.equal(1, core.ASYNC)
    assert.equal(32, core.TASK_RETRY)
    assert.equal("string", type(core.version))
  end)

  it("may be opened again in the same state", function()
    local loader = package.searchers[3]("pipeline.core")
    assert.equal("function", type(loader))
    local e = assert(core.open(":memory:"))
    local again = loader("pipeline.core")
    assert.not_equal(core, again)
    local other = assert(again.open(":memory:"))
    assert.truthy(e:now())
    assert.truthy(other:now())
    e:close()
    other:close()
  end)
end)

describe("open", function()
  it("checks its options", function()
    local cases = {
      { { durability = "some" }, "durability" },
      { { durability = 3 }, "durability: string expected, got number" },
      { { concurrency = 0 }, "concurrency: integer from 1" },
      { { concurrency = 1.5 }, "concurrency: integer from 1" },
      { { concurrency = "8" }, "concurrency: number expected, got string" },
      { { lease_seconds = -1 }, "lease_seconds: not a duration" },
      { { lease_seconds = 0 / 0 }, "lease_seconds: not a duration" },
      { { virtual_time = 1 }, "virtual_time: boolean expected, got number" },
    }
    for _, case in ipairs(cases) do
      local ok, err = pcall(core.open, ":memory:", case[1])
      assert.is_false(ok)
      assert.truthy(err:find(case[2], 1, true), err)
    end
    assert.has_error(function() core.open("a\0b") end)
    assert.has_error(function() core.open() end)
    assert.has_error(function() core.open(":memory:", 3) end)
  end)

  it("returns nil, code, message when it fails", function()
    local e, code, message = core.open("/nonexistent/dir/file.db")
    assert.is_nil(e)
    assert.equal("string", type(code))
    assert.equal("E", code:sub(1, 1))
    assert.truthy(#message > 0)
  end)
end)

describe("close", function()
  it("is one idempotent function, also as __close and __gc", function()
    local e = support.open()
    assert.is_true(e:close())
    assert.is_true(e:close())
    assert.equal("pipeline.Engine (closed)", tostring(e))
    local kept
    do
      local scoped <close> = support.open() -- luacheck: ignore
      kept = scoped
    end
    assert.equal("pipeline.Engine (closed)", tostring(kept))
    local meta = getmetatable(kept)
    meta.__gc(kept)
    meta.__close(kept)
  end)

  it("makes every method refuse", function()
    local e = support.open()
    e:close()
    local calls = {
      { "now" }, { "run" }, { "release_prefetched" }, { "stop" }, { "facts" }, { "new_id" }, { "new_ids", 2 },
      { "id_text", 1 }, { "id_parse", "x" }, { "sign", "x" }, { "verify", "x", "y" }, { "random", 1 },
      { "advance", 1 }, { "fd" },
      { "timeout" }, { "sleep", 1 }, { "spawn", print }, { "suspend" }, { "start", {} }, { "task_add", {} },
      { "fill", 1, {} }, { "retry", 1 }, { "abort", 1 }, { "status", 1, {} }, { "cleanup", 1 }, { "watch", 1 },
      { "unwatch", 1 }, { "meta", "k" }, { "stage_get", 1 }, { "tree_get", 1 }, { "tree_page", 1, {} },
      { "roots_list" }, { "counts_get" },
      { "failures_get", 1 }, { "claim_check", 1, 1 }, { "on", "log", print },
    }
    for _, call in ipairs(calls) do
      local ok, code, message = e[call[1]](e, table.unpack(call, 2))
      assert.is_nil(ok, call[1])
      assert.equal("ECLOSED", code, call[1])
      assert.equal("string", type(message))
    end
    assert.is_false(e:running())
    assert.is_false(e:in_coroutine())
  end)

  it("collects an engine that nobody holds, with hooks and coroutines that hold it", function()
    local weak = setmetatable({}, { __mode = "v" })
    local closed = 0
    do
      local e = support.open()
      weak[1] = e
      e:on("task", function() return e end)
      e:spawn(function()
        local guard <close> = setmetatable({}, { __close = function() closed = closed + 1 end }) -- luacheck: ignore
        e:sleep(1e6)
      end)
      assert(e:run("once"))
      assert(e:run("once"))
      assert.equal(1, e:facts().coroutines)
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    assert.equal(1, closed)
  end)

  it("is refused inside the loop", function()
    local e = support.open()
    local ok, code
    support.inside(e, function() ok, code = e:close() end)
    assert.is_nil(ok)
    assert.equal("ESTATE", code)
    assert.truthy(e:now())
    e:close()
  end)

  it("closes suspended coroutines first, while the engine still works for them", function()
    local e, seen = support.open()
    local order = {}
    e:spawn(function()
      local guard <close> = setmetatable({}, { -- luacheck: ignore
        __close = function()
          order[#order + 1] = e:meta("spec", "written while closing")
          order[#order + 1] = select(2, e:spawn(print))
        end,
      })
      e:suspend()
    end)
    assert(e:run("once"))
    assert(e:run("once"))
    e:close()
    assert.same({ "written while closing", "ECLOSED" }, order)
    assert.same({}, seen.errors)
  end)

  it("reports errors of to-be-closed variables", function()
    local e, seen = support.open()
    e:spawn(function()
      local guard <close> = setmetatable({}, { __close = function() error("in close", 0) end }) -- luacheck: ignore
      e:suspend()
    end)
    assert(e:run("once"))
    assert(e:run("once"))
    e:close()
    assert.same({ "in close" }, seen.errors)
  end)

  it("gives held claims back", function()
    local path = os.tmpname()
    os.remove(path)
    local e = support.open{ path = path, virtual_time = false }
    support.tasks(e, support.held(e), { "a" })
    e:on("task", function() e:suspend() end)
    while e:facts().executing == 0 do assert(e:run("next", 10)) end
    e:close()
    local again = support.open{ path = path, virtual_time = false }
    local tries
    again:on("task", function(task)
      tries = task.tries
      assert(again:task_done(task, { nowait = true }))
    end)
    assert(again:run("ready", 10))
    assert.equal(0, tries)
    again:close()
    for _, suffix in ipairs{ "", "-wal", "-shm", ".lock", "-lock" } do os.remove(path .. suffix) end
  end)
end)

describe("run", function()
  it("is not re-entrant", function()
    local e = support.open()
    local results = {}
    support.inside(e, function()
      results[1] = select(2, e:run("ready"))
      results[2] = e:running()
      results[3] = select(2, coroutine.wrap(function() return e:run("ready") end)())
      results[4] = select(2, coroutine.wrap(function() return e:sleep(1) end)())
    end)
    assert.same({ "ESTATE", true, "ESTATE", "ESTATE" }, results)
    assert.is_false(e:running())
    e:close()
  end)

  it("may be called from any coroutine", function()
    local e = support.open()
    local ran
    e:spawn(function() ran = e:in_coroutine() end)
    assert.is_true(coroutine.wrap(function() return e:run("ready") end)())
    assert.is_true(ran)
    e:close()
  end)

  it("ends at its timeout and at stop", function()
    local e = support.open{ virtual_time = false }
    assert.equal("ETIMEDOUT", select(2, e:run("forever", 0.01)))
    e:spawn(function()
      e:sleep(0.01)
      e:stop()
    end)
    assert.is_true(e:run("forever", 10))
    e:close()
  end)

  it("lets engines run inside each other's coroutines", function()
    local outer, inner = support.open(), support.open()
    local seen = {}
    support.inside(outer, function()
      inner:spawn(function()
        seen[#seen + 1] = inner:in_coroutine()
        seen[#seen + 1] = outer:in_coroutine()
        seen[#seen + 1] = outer:meta("from", "inner")
        seen[#seen + 1] = inner:meta("of", "inner")
      end)
      assert(inner:run("ready"))
    end)
    assert.same({ true, false, "inner", "inner" }, seen)
    outer:close()
    inner:close()
  end)
end)

describe("hooks", function()
  it("must be functions, for known events", function()
    local e = support.open()
    assert.has_error(function() e:on("task", 3) end)
    assert.has_error(function() e:on("other", print) end)
    assert.is_true(e:on("task", nil))
    e:close()
  end)

  it("keep tasks waiting until there is one for them", function()
    local e = support.open()
    support.tasks(e, support.held(e), { "early" })
    for _ = 1, 3 do e:run("next") end
    assert.equal(1, e:facts().executing)
    local payload
    e:on("task", function(task)
      payload = task.payload
      assert(e:task_done(task, {}))
    end)
    assert(e:run("ready"))
    assert.equal("early", payload)
    e:close()
  end)

  it("report final stages that are watched", function()
    local e = support.open()
    local id = e:new_id()
    assert(e:start{ { id = id, class_path = "spec.Watched", args = "" } })
    local final
    e:on("final", function(stage, state)
      final = { stage, state }
      error("an error in the hook")
    end)
    e:on("task", function(task)
      assert.equal("run", task.kind)
      assert(e:outcome(task, { fills = { { slot = id, value = "\1" } } }))
    end)
    assert.equal("ready", e:watch(id))
    assert(e:run("ready"))
    assert.same({ id, "done" }, final)
    assert.equal("done", e:watch(id))
    assert.is_true(e:unwatch(id))
    e:close()
  end)

  it("take errors of each other, and standard error takes those of the last", function()
    local code, output = support.process[[
      local core = require "pipeline.core"
      local e = core.open(":memory:")
      e:on("error", function() error("the hook is broken") end)
      e:spawn(function() error("first") end)
      assert(e:run("ready"))
      e:on("error", nil)
      e:spawn(function() error(setmetatable({}, { __tostring = function() return "second" end })) end)
      assert(e:run("ready"))
      e:close()
      print("went on")
    ]]
    assert.equal(0, code)
    assert.truthy(output:find("first", 1, true))
    assert.truthy(output:find("the hook is broken", 1, true))
    assert.truthy(output:find("pipeline: second", 1, true))
    assert.truthy(output:find("went on", 1, true))
  end)
end)

describe("facts", function()
  it("tell what the engine is and does", function()
    local e = support.open()
    local facts = e:facts()
    for _, name in ipairs{ "version", "store_kind", "store_version", "uv_version", "path", "durability" } do
      assert.equal("string", type(facts[name]), name)
    end
    for _, name in ipairs{ "worker", "worker_number", "executing", "buffered", "other_workers", "executed",
                           "loop_wakeups", "commits", "ops", "claims", "batches", "checkpoints", "store_wakeups",
                           "coroutines", "coroutines_idle" } do
      assert.equal("integer", math.type(facts[name]), name)
    end
    e:close()
  end)

  it("make ids, texts of ids, signatures and random bytes", function()
    local e = support.open()
    local first, list = e:new_ids(3)
    assert.equal(first, list[1])
    assert.equal(3, #list)
    assert.truthy(list[1] < list[2] and list[2] < list[3])
    local text = e:id_text(first)
    assert.truthy(text:match("^%x+$"))
    assert.equal(32, #text)
    assert.equal(first, e:id_parse(text))
    assert.is_nil(e:id_parse(text:reverse()))
    assert.is_nil(e:id_parse("x"))
    local mac = e:sign("bytes\0more")
    assert.equal(64, #mac)
    assert.is_true(e:verify("bytes\0more", mac))
    assert.is_false(e:verify("bytes\0less", mac))
    assert.is_false(e:verify("bytes\0more", mac:sub(1, 63)))
    assert.equal(20, #e:random(20))
    assert.equal("", e:random(0))
    assert.has_error(function() e:random(-1) end)
    assert.has_error(function() e:new_ids(0) end)
    e:close()
  end)

  it("know the time, which advances by hand when it is virtual", function()
    local e = support.open()
    assert.equal(1000, e:now())
    assert.is_true(e:advance(1.5))
    assert.equal(1001.5, e:now())
    assert.has_error(function() e:advance(-1) end)
    e:close()
    local real = support.open{ virtual_time = false }
    assert.equal("ESTATE", select(2, real:advance(1)))
    assert.truthy(math.abs(real:now() - os.time()) < 5)
    assert.equal("integer", math.type(real:fd()))
    assert.equal("number", type(real:timeout()))
    real:close()
  end)
end)
