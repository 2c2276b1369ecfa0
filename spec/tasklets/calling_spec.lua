-- Calling a tasklet: T1 to T12, L7.

local eventloop = require "pipeline.eventloop"
local support = require "spec.tasklets.support"
local tasklets = require "pipeline.tasklets"

local await, sleep, tasklet = tasklets.await, tasklets.sleep, tasklets.tasklet

describe("calling a tasklet", function()
  before_each(support.start)
  after_each(support.finish)

  it("T1 returns a future at once", function()
    local future = tasklet(function() return 1 end)()
    assert.is_true(tasklets.is_future(future))
    assert.is_false(future:done())
    assert.equal(1, future:get_result())
  end)

  it("T2 does not start the body until the loop runs; the first step is an immediate callback", function()
    local note, list = support.log()
    eventloop.queue_call(nil, note, "before")
    tasklet(function() note("body") end)()
    eventloop.queue_call(nil, note, "after")
    eventloop.queue_call(0, note, "timed")
    assert.same({}, list)
    eventloop.run()
    assert.same({ "before", "body", "after", "timed" }, list)
  end)

  it("T3 several interleave step by step in call order", function()
    local note, list = support.log()
    local done = support.done()
    local step = tasklet(function(name)
      for i = 0, 2 do
        note(name .. i)
        await(done)
      end
    end)
    step("a")
    step("b")
    eventloop.run()
    assert.same({ "a0", "b0", "a1", "b1", "a2", "b2" }, list)
  end)

  it("T4 (L7) a function that never waits is started by the loop, too", function()
    local ran = false
    local future = tasklet(function() ran = true end)()
    assert.is_false(ran)
    assert.is_false(future:done())
    eventloop.run()
    assert.is_true(ran)
    assert.is_true(future:done())
  end)

  it("T5 (L7) its error is in the future and not raised by the call", function()
    local future = tasklet(function() error("no", 0) end)()
    assert.equal("Error: no", support.unplaced(future:get_exception()))
    support.raises(nil, "^Error: no$", future.get_result, future)
  end)

  it("T6 gives all values the function returned", function()
    local many = tasklet(function(...) return ... end)
    assert.same({ n = 0 }, table.pack(await(many())))
    assert.same({ 1, n = 1 }, table.pack(await(many(1))))
    assert.same({ 1, nil, 3, nil, n = 4 }, table.pack(await(many(1, nil, 3, nil))))
    local list = { 1, 2, 3 }
    assert.equal(list, await(many(list)))
    assert.same({ nil, n = 1 }, table.pack(await(many(nil))))
  end)

  it("T6 passes any number of arguments, nil and false among them, at once or after a wait", function()
    local echo = tasklet(function(...) return select("#", ...), ... end)
    local waits = tasklet(function(...)
      await(sleep(0))
      return select("#", ...), ...
    end)
    for _, start in ipairs { echo, waits } do
      assert.same({ 0, n = 1 }, table.pack(start():get_result()))
      assert.same({ 1, nil, n = 2 }, table.pack(start(nil):get_result()))
      assert.same({ 1, false, n = 2 }, table.pack(start(false):get_result()))
      assert.same({ 1, { n = 3 }, n = 2 }, table.pack(start({ n = 3 }):get_result()))
      assert.same({ 3, 1, nil, false, n = 4 }, table.pack(start(1, nil, false):get_result()))
      local many = {}
      for i = 1, 5000 do many[i] = i end
      assert.same({ 5000, n = 5001, table.unpack(many) }, table.pack(start(table.unpack(many)):get_result()))
    end
  end)

  it("a worker is used again after each way to end, and by more tasklets at once than are kept", function()
    local fails = tasklet(function(...) error(..., 0) end)
    local returns = tasklet(function(...)
      await(sleep(0))
      return ...
    end)
    for round = 1, 3 do
      local futures = {}
      for i = 1, 700 do futures[i] = i % 7 == 0 and fails("failed " .. i) or returns(i, round) end
      eventloop.run()
      for i, future in ipairs(futures) do
        if i % 7 == 0 then
          assert.equal("Error: failed " .. i, support.unplaced(future:get_exception()))
        else
          assert.same({ i, round }, { future:get_result() })
        end
      end
    end
  end)

  it("T7 an end without a value is nil", function()
    local future = tasklet(function() end)()
    assert.is_nil(future:get_result())
    assert.is_true(future:done())
  end)

  it("T8 synctasklet waits and returns the result", function()
    local add = tasklets.synctasklet(function(a, b)
      await(sleep(2))
      return a + b, "too"
    end)
    assert.same({ 7, "too" }, { add(3, 4) })
    assert.equal(2, support.time())
    local fail = tasklets.synctasklet(function() error("sync", 0) end)
    support.raises(nil, "^Error: sync$", fail)
  end)

  it("T8 synctasklet called in a tasklet waits without nesting the loop (G46)", function()
    local inner = tasklets.synctasklet(function(depth) await(sleep(0)) return depth end)
    local note, list = support.log()
    support.go(function() note(inner(1)) end)
    support.go(function() note(inner(2)) end)
    eventloop.run()
    assert.same({ "1", "2" }, list)
    local function deep(n) -- the stack does not grow with the depth of calls
      if n == 0 then return 0 end
      return 1 + tasklets.synctasklet(deep)(n - 1)
    end
    assert.equal(1000, support.go(deep, 1000):get_result())
  end)

  it("T9 toplevel works off what was started without waiting, also after an error", function()
    local note, list = support.log()
    local later = tasklet(function(name) await(sleep(5)) note(name) end)
    tasklets.toplevel(function() later("a") note("body") end)()
    assert.same({ "body", "a" }, list)
    support.raises(nil, "^Error: top$", tasklets.toplevel(function() later("b") error("top", 0) end))
    assert.same({ "body", "a", "b" }, list)
  end)

  it("T9 flushes the batchers of its context", function()
    local sent = {}
    tasklets.toplevel(function()
      local batcher = tasklets.AutoBatcher(function(batch)
        for _, item in ipairs(batch) do
          sent[#sent + 1] = item.arg
          item.future:set_result()
        end
      end)
      batcher:add(1)
      batcher:add(2)
    end)()
    assert.same({ 1, 2 }, sent)
  end)

  it("G53 toplevel need not work off the rest after an error", function()
    local ran = false
    local fail = tasklets.toplevel(function()
      support.go(function() await(sleep(5)) ran = true end)
      error("top", 0)
    end, { after_error = false })
    support.raises(nil, "^Error: top$", fail)
    assert.is_false(ran)
    eventloop.run()
    assert.is_true(ran)
  end)

  it("T10 toplevel passes arguments, works as a method, and each call sees a new context", function()
    local seen = {}
    local object = { factor = 3 }
    object.run = tasklets.toplevel(function(self, a, b)
      seen[#seen + 1] = tasklets.get_context()
      return self.factor * a + b
    end)
    assert.equal(10, object:run(3, 1))
    assert.equal(7, object:run(2, 1))
    assert.not_equal(seen[1], seen[2])
  end)

  it("T11 toplevel leaves no current context behind", function()
    local before = tasklets.make_context()
    tasklets.set_context(before)
    tasklets.toplevel(function() assert(tasklets.get_context() ~= before) end)()
    assert.not_equal(before, tasklets.get_context())
  end)

  it("toplevel in a tasklet is refused: it would nest the loop", function()
    local inner = tasklets.toplevel(function() end)
    local future = support.go(function() inner() end)
    assert.matches("toplevel", tostring(future:get_exception()))
  end)

  it("T12 the wrapper is a plain function, and its function can be found", function()
    local function body() end
    for _, wrap in ipairs { tasklets.tasklet, tasklets.synctasklet, tasklets.toplevel } do
      local wrapper = wrap(body)
      assert.equal("function", type(wrapper))
      assert.equal(body, tasklets.function_of(wrapper))
    end
    support.raises(nil, "bad argument #1 to 'tasklet'", tasklet, 42)
  end)

  it("a callable object can be a tasklet", function()
    local object = setmetatable({}, { __call = function(_, x) return x + 1 end })
    assert.equal(5, await(tasklet(object)(4)))
  end)
end)
