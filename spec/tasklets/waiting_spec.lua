-- Waiting inside a tasklet: T13 to T22, G44, L6, L8, L9, and where await can be called.

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local support = require "spec.tasklets.support"
local tasklets = require "pipeline.tasklets"

local await, await_all, sleep = tasklets.await, tasklets.await_all, tasklets.sleep
local go, done, failed = support.go, support.done, support.failed

describe("await", function()
  before_each(support.start)
  after_each(support.finish)

  it("T13 gives the result, or raises the error, which can be caught", function()
    local future = go(function()
      local a = await(done(20))
      local ok, problem = pcall(await, failed("oops"))
      return a, ok, problem
    end)
    local a, ok, problem = future:get_result()
    assert.same({ 20, false, "Error: oops" }, { a, ok, support.unplaced(problem) })
  end)

  it("T14 a future that is done costs one turn of the loop", function()
    local note, list = support.log()
    go(function()
      note("a")
      await(done())
      note("b")
    end)
    eventloop.queue_call(nil, note, "other")
    eventloop.run()
    assert.same({ "a", "other", "b" }, list)
  end)

  it("T15 await_all gives a list of results in order, with n; empty gives an empty list", function()
    local list = await_all { go(function() await(sleep(2)) return "slow" end), done("fast"), done(), n = 3 }
    assert.same({ "slow", "fast", n = 3 }, list)
    assert.same({ n = 0 }, await_all {})
  end)

  it("L9 await of several gives the first value of each", function()
    local a, b, c = await(done(1, "not seen"), done(nil), done(3))
    assert.same({ 1, nil, 3 }, { a, b, c })
    assert.equal(2, select("#", await(done(), done())))
  end)

  it("L8 await of one gives all its values", function()
    assert.same({ 1, nil, 3, n = 3 }, table.pack(await(done(1, nil, 3))))
  end)

  it("T16 lists in the list give lists", function()
    local list = await_all { done(1), { done(2), { done(3) } } }
    assert.same({ 1, { 2, { 3, n = 1 }, n = 2 }, n = 2 }, list)
  end)

  it("T17 an error comes when all members are done; the first in list order wins", function()
    local future = go(function()
      local a = go(function() await(sleep(3)) error("late", 0) end)
      local b = go(function() await(sleep(1)) error("early", 0) end)
      local c = go(function() await(sleep(9)) end)
      return pcall(await_all, { a, b, c })
    end)
    local ok, problem = future:get_result()
    assert.same({ false, "Error: late" }, { ok, support.unplaced(problem) })
    assert.equal(9, support.time())
  end)

  it("T17 the same for await of several", function()
    local future = go(function()
      return pcall(await, go(function() await(sleep(3)) error("late", 0) end), failed("early"))
    end)
    local ok, problem = future:get_result()
    assert.same({ false, "Error: late" }, { ok, support.unplaced(problem) })
  end)

  it("L9 fail_fast raises the first error in time, at once", function()
    local slow
    local future = go(function()
      slow = go(function() await(sleep(9)) end)
      local b = go(function() await(sleep(1)) error("early", 0) end)
      return pcall(await_all, { slow, { b } }, { fail_fast = true })
    end)
    local ok, problem = future:get_result()
    assert.same({ false, "Error: early" }, { ok, support.unplaced(problem) })
    assert.equal(1, support.time())
    assert.is_false(slow:done())
    support.raises(nil, "did you mean 'fail_fast'", await_all, {}, { fail_last = true })
  end)

  it("T18 a member that is no future raises before anything is waited for", function()
    local other = go(function() await(sleep(5)) return "went on" end)
    local future = go(function() return pcall(await_all, { other, 42 }) end)
    local ok, problem = future:get_result()
    assert.is_false(ok)
    assert.matches("item 2: future expected, got number", tostring(problem))
    assert.equal(0, support.time())
    assert.equal("went on", other:get_result())
    support.raises(errors.TaskletError, "#2 to 'await'", await, done(), "x")
    support.raises(errors.TaskletError, "use await_all", await, { done() })
    support.raises(errors.TaskletError, "future expected, got nil", await)
  end)

  it("T19 the same future may come twice", function()
    local future = go(function() await(sleep(1)) return 7 end)
    assert.same({ 7, 7, n = 2 }, await_all { future, future })
    assert.same({ 7, 7 }, { await(future, future) })
  end)

  it("T20 (G44) yielding a plain value raises in the tasklet", function()
    local future = go(function()
      local ok, problem = pcall(function()
        local got = coroutine.yield(42)
        return got
      end)
      return ok, tostring(problem), await(done("goes on"))
    end)
    local ok, text, rest = future:get_result()
    assert.is_false(ok)
    assert.matches("may not yield by itself", text)
    assert.equal("goes on", rest)
  end)

  it("T20 (G44) uncaught it is the error of its future", function()
    local future = go(function()
      local x = coroutine.yield()
      return x
    end)
    assert.is_true(errors.is(future:get_exception(), errors.TaskletError))
    assert.is_nil(debug.gethook())
  end)

  it("a tasklet that waits fails when other code closes its coroutine, or resumes it, and no other one does", function()
    for _, disturb in ipairs { coroutine.close, coroutine.resume } do
      local waited, co = tasklets.Future(), nil
      local disturbed = go(function()
        co = coroutine.running()
        return await(waited)
      end)
      eventloop.run0()
      disturb(co)
      waited:set_result(1)
      support.raises(errors.TaskletError, "was closed, or resumed, by other code", disturbed.get_result, disturbed)
      for i = 1, 3 do assert.equal(i, go(function() return await(sleep(0)) or i end):get_result()) end
    end
  end)

  it("T21 (G44) yielding a future says what to do instead", function()
    local future = go(function()
      local x = coroutine.yield(done(1))
      return x
    end)
    assert.matches("use await%(future%)", tostring(future:get_exception()))
  end)

  it("T22 what stands for a request outside is a future as well", function()
    local callback
    local request = tasklets.promisify(function(name, cb) callback = function() cb(nil, "hello " .. name) end end)
    local future = go(function() return await(request("you")) end)
    eventloop.queue_call(3, function() callback() end)
    assert.equal("hello you", future:get_result())
  end)

  it("works inside pcall, xpcall, metamethods, iterators and __close", function()
    local function wait(x) return await(go(function() await(sleep(1)) return x end)) end
    local object = setmetatable({}, {
      __index = function(_, key) return wait(key) end,
      __add = function(_, n) return wait(n + 1) end,
      __call = function(_, n) return wait(n * 2) end,
      __eq = function() return wait(true) end,
      __lt = function() return wait(true) end,
      __concat = function() return wait("joined") end,
      __len = function() return wait(9) end,
      __pairs = function() return function(_, i) return wait((i or 0) < 2 and (i or 0) + 1 or nil) end, nil, nil end,
    })
    local note, list = support.log()
    local future = go(function()
      note(select(2, pcall(wait, "pcall")))
      note(select(2, xpcall(wait, debug.traceback, "xpcall")))
      note(object.field, object + 1, object(4), object == setmetatable({}, getmetatable(object)))
      note(object < object, object .. "x", #object)
      for i in pairs(object) do note("pairs", i) end
      do
        local _ <close> = setmetatable({}, { __close = function() note("closed", wait("close")) end })
      end
      local ok = pcall(function()
        local _ <close> = setmetatable({}, { __close = function() note("after error", wait("close")) end })
        error("x")
      end)
      note(ok)
    end)
    future:get_result()
    assert.same({
      "pcall", "xpcall", "field 2 8 true", "true joined 9", "pairs 1", "pairs 2", "closed close", "after error close",
      "false",
    }, list)
  end)

  it("may wait in a to-be-closed variable of a tasklet that fails", function()
    local note, list = support.log()
    local future = go(function()
      local _ <close> = setmetatable({}, {
        __close = function(_, problem)
          await(sleep(4))
          note("closed", problem)
        end,
      })
      error("dies", 0)
    end)
    assert.equal("Error: dies", support.unplaced(future:get_exception()))
    assert.same({ "closed dies" }, list)
    assert.equal(4, support.time())
  end)

  it("across table.sort, string.gsub and require it says what to do instead", function()
    local cases = {
      function() table.sort({ 3, 1, 2 }, function(a, b) await(sleep(1)) return a < b end) end,
      function() return (("abc"):gsub(".", function() await(sleep(1)) end)) end,
      function()
        package.preload["spec.waits"] = function() await(sleep(1)) end
        return require "spec.waits"
      end,
      function() return tostring(setmetatable({}, { __tostring = function() return await(done("x")) end })) end,
    }
    for _, case in ipairs(cases) do
      local problem = go(case):get_exception()
      assert.matches("written in C, such as table.sort", tostring(problem))
      assert.matches("Await first", tostring(problem))
    end
    package.preload["spec.waits"] = nil
  end)

  it("in a coroutine of the user's own says what to do instead", function()
    local future = go(function()
      local items = coroutine.wrap(function() coroutine.yield(await(sleep(1))) end)
      return items()
    end)
    assert.matches("a coroutine that is no tasklet", tostring(future:get_exception()))
  end)

  it("a coroutine of the user's own that does not wait works in a tasklet", function()
    local future = go(function()
      local sum = 0
      for i in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do
        sum = sum + i
        await(sleep(1))
      end
      return sum
    end)
    assert.equal(6, future:get_result())
  end)

  it("L6 outside of a tasklet runs the loop", function()
    assert.equal("x", await(go(function() await(sleep(3)) return "x" end)))
    assert.equal(3, support.time())
    local co = coroutine.wrap(function() return await(go(function() await(sleep(1)) return "y" end)) end)
    assert.equal("y", co())
  end)

  it("L6 in a callback of the loop does not nest it", function()
    local problem
    local pending = tasklets.Future()
    eventloop.queue_call(nil, function() problem = select(2, pcall(await, pending)) end)
    eventloop.run()
    assert.matches("a callback of the event loop cannot wait", tostring(problem))
    eventloop.queue_call(nil, function() problem = select(2, pcall(eventloop.run)) end)
    eventloop.run()
    assert.matches("the loop is already running", tostring(problem))
    local future = go(function() eventloop.run() end)
    assert.matches("the loop is already running", tostring(future:get_exception()))
  end)
end)

describe("tracebacks", function()
  before_each(support.start)
  after_each(support.finish)

  local function line_of(fn) return debug.getinfo(fn, "S").linedefined end

  it("T27 an error three tasklets deep shows each frame through all awaits", function()
    local function deep() await(sleep(1)) error("boom") end
    local function middle() local x = pcall(string.rep) and await(go(deep)) or await(go(deep)) return x end
    local function top() local x = select(1, pcall(type), await(go(middle))) return x end
    local future = go(top)
    assert.matches("boom$", future:get_exception())
    local trace = future:get_traceback()
    for _, fn in ipairs { deep, middle, top } do
      assert.matches("waiting_spec.lua:" .. line_of(fn) .. ":", trace, 1, true)
    end
    assert.truthy(trace:find("waiting_spec.lua:" .. line_of(deep), 1, true)
      < trace:find("waiting_spec.lua:" .. line_of(top) .. ":", 1, true))
    assert.falsy(trace:find("tasklet/task.lua", 1, true))
  end)

  it("T27 also with a C function in between, for error objects and for strings", function()
    local function deep() error(errors.Error("object")) end
    local function middle()
      local ok, problem = pcall(await, go(deep))
      assert(not ok)
      error(problem, 0)
    end
    local function top() return select(2, assert(true, (await(go(middle))))) end
    local future = go(top)
    local problem = future:get_exception()
    assert.equal("object", problem.message)
    assert.matches("waiting_spec.lua:" .. line_of(deep) .. ":", problem.traceback, 1, true)
    assert.matches("waiting_spec.lua:" .. line_of(top) .. ":", problem.traceback, 1, true)
  end)

  it("tasklets.traceback is a handler for xpcall that shows it outside, too", function()
    local function deep() error("boom") end
    local _, text = xpcall(await, tasklets.traceback, go(function() local x = await(go(deep)) return x end))
    assert.matches("boom", text)
    assert.matches("waiting_spec.lua:" .. line_of(deep) .. ":", text, 1, true)
  end)

  it("a stack overflow is an error like others", function()
    local function over() return 1 + over() end
    assert.matches("stack overflow", tostring(go(over):get_exception()))
  end)
end)
