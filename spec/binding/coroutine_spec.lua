-- Managed coroutines: awaiting ops, sleep, tokens, foreign yields, errors, reuse, and the blocking form.
package.path = "spec/binding/?.lua;" .. package.path
local support = require "support"

describe("a managed coroutine", function()
  local e, seen

  before_each(function() e, seen = support.open() end)
  after_each(function()
    assert.equal(0, e:facts().coroutines)
    e:close()
  end)

  it("starts at the next turn, with its arguments", function()
    local order = {}
    assert.is_true(e:spawn(function(...)
      order[#order + 1] = table.pack(...)
      e:spawn(function() order[#order + 1] = "inner" end)
      order[#order + 1] = "after"
    end, 1, nil, "three", nil))
    assert.equal(0, #order)
    assert(e:run("ready"))
    assert.same({ { 1, nil, "three", nil, n = 4 }, "after", "inner" }, order)
    assert.has_error(function() e:spawn(3) end)
  end)

  it("awaits ops and gets the same results as a blocking call", function()
    assert.equal("v", e:meta("k", "v"))
    local awaited, others = nil, 0
    e:spawn(function() awaited = table.pack(e:meta("k")) end)
    e:spawn(function() others = others + 1 end)
    assert(e:run("ready"))
    assert.same({ "v", n = 1 }, awaited)
    assert.equal(1, others)
    assert.equal("v", e:meta("k"))
    local failed = table.pack(support.inside(e, function() return e:fill(e:new_id(), {}) end))
    assert.equal("ENOTFOUND", failed[2])
    assert.same(failed, table.pack(e:fill(e:new_id(), {})))
  end)

  it("awaits through pcall, metamethods and iterators", function()
    local value = support.inside(e, function()
      local ok, v = pcall(e.meta, e, "a", "1")
      assert(ok and v == "1")
      local object = setmetatable({}, { __index = function(_, name) return e:meta(name, "2") end })
      assert(object.b == "2")
      for v2 in function(_, last) if not last then return e:meta("c", "3") end end do assert(v2 == "3") end
      return "through"
    end)
    assert.equal("through", value)
  end)

  it("blocks where it cannot yield", function()
    local facts = support.inside(e, function()
      assert(e:in_coroutine())
      local list = { 3, 1, 2 }
      table.sort(list, function(a, b)
        assert(not e:in_coroutine())
        assert(e:meta("sorted", "yes") == "yes")
        return a < b
      end)
      local suspended = table.pack(nil, nil)
      string.gsub("x", "x", function() suspended = table.pack(e:suspend()) end)
      assert(suspended[2] == "ESTATE")
      local nested = coroutine.wrap(function()
        assert(not e:in_coroutine())
        assert(e:token() == nil)
        return e:meta("nested", "yes")
      end)
      assert(nested() == "yes")
      return e:facts()
    end)
    assert.equal(1, facts.coroutines)
  end)

  it("sleeps on virtual time, and so does the main program", function()
    local order = {}
    for i, seconds in ipairs{ 30, 10, 20, 0 } do
      e:spawn(function()
        assert(e:sleep(seconds))
        order[#order + 1] = { i, e:now() }
      end)
    end
    assert.is_true(e:sleep(60))
    assert.same({ { 4, 1000 }, { 2, 1010 }, { 3, 1020 }, { 1, 1030 } }, order)
    assert.equal(1060, e:now())
    assert.is_true(e:sleep(-1))
    assert.is_true(e:sleep(0 / 0))
    assert.has_error(function() e:sleep("x") end)
  end)

  it("sleeps on real time", function()
    local real = support.open{ virtual_time = false }
    local started = real:now()
    local slept
    real:spawn(function() slept = real:sleep(0.01) end)
    assert.is_true(real:sleep(0.03))
    assert.is_true(slept)
    assert.truthy(real:now() - started >= 0.029)
    real:spawn(function() real:stop() end)
    assert.equal("ESTATE", select(2, real:sleep(10)))
    real:close()
  end)

  it("is woken by a token, once, with values", function()
    local token, got
    e:spawn(function()
      token = e:token()
      got = table.pack(e:suspend())
    end)
    assert(e:run("ready"))
    assert.is_nil(got)
    assert.is_true(token:wake(1, nil, 3, nil))
    assert.is_false(token:wake("again"))
    assert.is_nil(got)
    assert(e:run("ready"))
    assert.same({ 1, nil, 3, nil, n = 4 }, got)
    assert.is_false(token:wake())
  end)

  it("takes a wake that comes before it suspends", function()
    support.inside(e, function()
      local token, second = e:token(), e:token()
      assert(token:wake("a", nil, nil))
      assert(not second:wake("b"))
      e:meta("something", "else")
      local got = table.pack(e:suspend())
      assert.same({ "a", nil, nil, n = 3 }, got)
      assert(not second:wake())
      assert(e:token():wake())
      assert.equal(0, select("#", e:suspend()))
    end)
    local token
    support.inside(e, function()
      token = e:token()
      token:wake("never read")
    end)
    assert.is_false(token:wake())
    support.inside(e, function() assert(e:token():wake("fresh") and e:suspend() == "fresh") end)
  end)

  it("gives tokens only inside, and takes no wake after the end", function()
    assert.equal("ESTATE", select(2, e:token()))
    assert.equal("ESTATE", select(2, e:suspend()))
    local other = support.open()
    local token
    other:spawn(function()
      token = other:token()
      other:suspend()
    end)
    assert(other:run("once"))
    assert(other:run("once"))
    other:close()
    assert.is_false(token:wake(1))
  end)

  it("wakes others without resuming inside a resume", function()
    local order, token = {}, nil
    e:spawn(function()
      token = e:token()
      e:suspend()
      order[#order + 1] = "woken"
    end)
    e:spawn(function()
      token:wake()
      order[#order + 1] = "waker goes on"
    end)
    assert(e:run("ready"))
    assert.same({ "waker goes on", "woken" }, order)
  end)

  it("ends with a clear error when it yields to somebody else", function()
    local closed = false
    e:spawn(function()
      local guard <close> = setmetatable({}, { __close = function() closed = true end }) -- luacheck: ignore
      coroutine.yield("to whom?")
      error("never reached")
    end)
    assert(e:run("ready"))
    assert.is_true(closed)
    assert.equal(1, #seen.errors)
    assert.truthy(seen.errors[1]:find("yielded to a scheduler that does not run it", 1, true))
    assert.truthy(seen.errors[1]:find("coroutine_spec.lua", 1, true))
    assert.equal("yielded", seen.codes[1])
  end)

  it("survives being resumed or closed by somebody else", function()
    local handles = {}
    for i = 1, 3 do
      e:spawn(function()
        handles[i] = coroutine.running()
        e:meta("k" .. i, "v")
      end)
    end
    local resumed, closed
    e:spawn(function()
      resumed = table.pack(coroutine.resume(handles[1], "intruder"))
      closed = coroutine.close(handles[2])
    end)
    assert(e:run("ready"))
    assert.is_false(resumed[1])
    assert.truthy(resumed[2]:find("resumed by somebody else", 1, true))
    assert.is_true(closed)
    assert.equal(2, #seen.errors)
    for i, err in ipairs(seen.errors) do
      assert.truthy(err:find("dead coroutine", 1, true))
      assert.equal("closed", seen.codes[i])
    end
  end)

  it("reports what it dies of, with a traceback, after closing its variables", function()
    local order = {}
    e:on("error", function(err) order[#order + 1] = err end)
    e:spawn(function()
      local guard <close> = setmetatable({}, { -- luacheck: ignore
        __close = function(_, err) order[#order + 1] = { err } end,
      })
      e:meta("a", "b")
      error("boom")
    end)
    local object = setmetatable({ "an object" }, { __tostring = function() return "object" end })
    e:spawn(function() error(object) end)
    e:spawn(function() error() end)
    assert(e:run("ready"))
    local text, closed
    for _, entry in ipairs(order) do
      if type(entry) == "string" and entry:find("boom", 1, true) then text = entry end
      if type(entry) == "table" and entry ~= object then closed = entry end
    end
    assert.truthy(text:find("stack traceback", 1, true))
    assert.truthy(closed[1]:find("boom", 1, true))
    assert.falsy(closed[1]:find("traceback", 1, true))
    local found = false
    for _, entry in ipairs(order) do found = found or rawequal(entry, object) end
    assert.is_true(found)
  end)

  it("reports what it dies of, and another error of a to-be-closed variable", function()
    local given
    e:spawn(function()
      local guard <close> = setmetatable({}, { -- luacheck: ignore
        __close = function(_, err)
          given = err
          error("second", 0)
        end,
      })
      error("first", 0)
    end)
    assert(e:run("ready"))
    assert.equal("first", given)
    assert.equal(2, #seen.errors)
    assert.truthy(seen.errors[1]:find("^first\nstack traceback"))
    assert.equal("second", seen.errors[2])
    assert.same({ "raised", "raised" }, seen.codes)
  end)

  it("waits where a to-be-closed variable of a failed one does", function()
    local value
    e:spawn(function()
      local guard <close> = setmetatable({}, { -- luacheck: ignore
        __close = function() value = { e:in_coroutine(), e:meta("closed", "yes") } end,
      })
      error("failed", 0)
    end)
    assert(e:run("ready"))
    assert.same({ true, "yes" }, value)
    assert.equal(1, #seen.errors)
  end)

  it("survives a stack overflow quickly", function()
    local function deep() return 1 + deep() end
    e:spawn(deep)
    local started = os.clock()
    assert(e:run("ready"))
    assert.truthy(os.clock() - started < 20)
    assert.truthy(seen.errors[1]:find("stack overflow", 1, true))
    support.inside(e, function() assert(e:meta("still", "alive")) end)
  end)

  it("uses finished threads again, but not those with a hook", function()
    local threads, hooked = {}, nil
    for _ = 1, 10 do
      support.inside(e, function() threads[coroutine.running()] = true end)
    end
    local n = 0
    for _ in pairs(threads) do n = n + 1 end
    assert.equal(1, n)
    if not debug.gethook() then
      support.inside(e, function()
        hooked = coroutine.running()
        debug.sethook(function() end, "c")
      end)
      support.inside(e, function() assert.not_equal(hooked, coroutine.running()) end)
    end
  end)

  it("does not use a finished thread that other code has closed or resumed", function()
    local function thread()
      return support.inside(e, function() return (coroutine.running()) end)
    end
    local function resume_more(co) coroutine.resume(co, print, 1, print) end
    for _, disturb in ipairs{ coroutine.close, coroutine.resume, resume_more } do
      local finished = thread()
      disturb(finished)
      local other = thread()
      assert.not_equal(finished, other)
      assert.equal(other, thread())
    end
    assert.same({}, seen.errors)
  end)

  it("does not grow the handle", function()
    for _ = 1, 1000 do e:spawn(function() e:sleep(0) end) end
    assert(e:run("ready"))
    assert.truthy(e:facts().coroutines_idle <= 256)
    collectgarbage()
    local before = collectgarbage("count")
    for _ = 1, 5 do
      for _ = 1, 1000 do e:spawn(function() e:sleep(0) end) end
      assert(e:run("ready"))
    end
    collectgarbage()
    assert.truthy(collectgarbage("count") < before + 100)
  end)
end)
