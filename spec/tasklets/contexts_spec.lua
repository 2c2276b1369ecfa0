-- Contexts and batchers: T81 to T91, G56, G57.

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local support = require "spec.tasklets.support"
local tasklets = require "pipeline.tasklets"

local await, sleep = tasklets.await, tasklets.sleep
local get, set, make = tasklets.get_context, tasklets.set_context, tasklets.make_context
local go = support.go

describe("a context", function()
  before_each(support.start)
  after_each(support.finish)

  it("T81 is that of the caller when the tasklet was called", function()
    local a, b = make { name = "a" }, make { name = "b" }
    set(a)
    local first = go(function()
      await(sleep(1))
      return get().name
    end)
    set(b)
    local second = go(function() return get().name end)
    assert.equal("a", first:get_result())
    assert.equal("b", second:get_result())
    assert.equal(b, get())
  end)

  it("T81 set inside lasts for that tasklet only, across awaits", function()
    local outer, inner = make(), make()
    set(outer)
    local seen = {}
    local future = go(function()
      set(inner)
      local child = go(function() return get() end)
      await(sleep(1))
      seen[1] = get()
      seen[2] = await(child)
    end)
    local other = go(function()
      await(sleep(0.5))
      return get()
    end)
    future:get_result()
    assert.equal(inner, seen[1])
    assert.equal(inner, seen[2])
    assert.equal(outer, other:get_result())
    assert.equal(outer, get())
  end)

  it("T82 (G57) one that is set after catching an error is kept", function()
    local mine = make()
    local future = go(function()
      pcall(await, support.failed("x"))
      set(mine)
      await(sleep(1))
      return get()
    end)
    assert.equal(mine, future:get_result())
  end)

  it("T83 local values are taken over when called; changes stay with the tasklet", function()
    tasklets.set_local("namespace", "caller")
    local future = go(function()
      assert(tasklets.get_local("namespace") == "caller")
      tasklets.set_local("namespace", "inner")
      await(sleep(1))
      local child = go(function() return tasklets.get_local("namespace") end)
      return tasklets.get_local("namespace"), await(child)
    end)
    assert.same({ "inner", "inner" }, { future:get_result() })
    assert.equal("caller", tasklets.get_local("namespace"))
    tasklets.set_local("namespace", nil)
    assert.is_nil(tasklets.get_local("namespace"))
  end)

  it("T84 is made if there is none", function()
    set(nil)
    local context = get()
    assert.equal(context, get())
    assert.matches("^<Context", tostring(context))
    support.raises(nil, "context expected, got table", set, {})
    support.raises(nil, "table expected", make, 42)
  end)

  it("T85 knows nothing of a store: it is the user's own table", function()
    local context = make { user = "ann" }
    context.more = 1
    assert.same({ "ann", 1 }, { context.user, context.more })
  end)

  it("of a coroutine of the user's own in a tasklet is that of the tasklet", function()
    local mine = make()
    local future = go(function()
      set(mine)
      return coroutine.wrap(function() return get() end)()
    end)
    assert.equal(mine, future:get_result())
  end)
end)

describe("AutoBatcher", function()
  local sizes, order

  local function answer(batch, options)
    sizes[#sizes + 1] = #batch
    order[#order + 1] = options
    for _, item in ipairs(batch) do item.future:set_result(item.arg * 10) end
  end

  before_each(function()
    support.start()
    sizes, order = {}, {}
  end)
  after_each(support.finish)

  it("T86 each request has its own future; equal options are one batch", function()
    local batcher = tasklets.AutoBatcher(answer)
    local a, b = batcher:add(1, { deadline = 1 }), batcher:add(2, { deadline = 1 })
    local c, d = batcher:add(3, { deadline = 2 }), batcher:add(4)
    assert.same({ 10, 20, 30, 40 }, { await(a, b, c, d) })
    assert.same({ 2, 1, 1 }, sizes)
  end)

  it("T87 a batch goes when the limit is reached, the rest when the loop is idle", function()
    local batcher = tasklets.AutoBatcher(answer, { limit = 3 })
    local futures = {}
    for i = 1, 7 do futures[i] = batcher:add(i) end
    assert.same({ 10, 20, 30, 40, 50, 60, 70, n = 7 }, tasklets.await_all(futures))
    assert.same({ 3, 3, 1 }, sizes)
  end)

  it("T87 one group for each idle step", function()
    local batcher = tasklets.AutoBatcher(answer)
    local note, list = support.log()
    batcher:add(1, "a"):add_callback(note, "a")
    batcher:add(2, "b"):add_callback(note, "b")
    eventloop.run0()
    assert.same({}, sizes)
    eventloop.run0()
    assert.same({ 1 }, sizes)
    eventloop.run()
    assert.same({ "a", "b" }, list)
  end)

  it("T88 a batch that fails fails the futures that are not done, with the same error", function()
    local problem = errors.Error("batch")
    local batcher = tasklets.AutoBatcher(function(batch)
      batch[1].future:set_result("done")
      await(sleep(1))
      error(problem)
    end)
    local a, b, c = batcher:add(1), batcher:add(2), batcher:add(3)
    assert.equal("done", a:get_result())
    assert.equal(problem, b:get_exception())
    assert.equal(problem, c:get_exception())
  end)

  it("T88 (G55) a batch that fails when all its futures are done is reported", function()
    local batcher = tasklets.AutoBatcher(function(list)
      for _, item in ipairs(list) do item.future:set_result("done") end
      error("too late", 0)
    end)
    assert.equal("done", batcher:add(1):get_result())
    eventloop.run()
    collectgarbage()
    collectgarbage()
    eventloop.run()
    local reports = support.reports()
    assert.equal(1, #reports)
    assert.equal("Error: too late", support.unplaced(reports[1].value))
  end)

  it("T88 a batch that forgets a future fails it", function()
    local batcher = tasklets.AutoBatcher(function() end)
    assert.matches("has not completed this future", tostring(batcher:add(1):get_exception()))
  end)

  it("T89 add_once gives the same future while the request is pending, a new one afterwards", function()
    local batcher = tasklets.AutoBatcher(answer)
    local a, b = batcher:add_once(1), batcher:add_once(1)
    assert.equal(a, b)
    assert.not_equal(a, batcher:add_once(1, "other options"))
    eventloop.run()
    assert.same({ 1, 1 }, sizes)
    assert.not_equal(a, batcher:add_once(1))
  end)

  it("T90 flush sends everything and waits for all under way", function()
    local batcher = tasklets.AutoBatcher(function(batch)
      await(sleep(2))
      answer(batch)
    end, { limit = 2 })
    local futures = {}
    for i = 1, 5 do futures[i] = batcher:add(i) end
    batcher:flush():get_result()
    for i = 1, 5 do assert.is_true(futures[i]:done()) end
    assert.equal(2, support.time())
    assert.same({ 2, 2, 1 }, sizes)
    batcher:flush():get_result()
  end)

  it("T91 (G56) groups go in the order of their first request", function()
    local batcher = tasklets.AutoBatcher(answer)
    for i, name in ipairs { "z", "a", "m", "a", "z" } do batcher:add(i, name) end
    eventloop.run()
    assert.same({ "z", "a", "m" }, order)
    assert.same({ 2, 2, 1 }, sizes)
  end)

  it("its arguments are checked", function()
    support.raises(nil, "bad argument #1 to 'AutoBatcher'", tasklets.AutoBatcher, 1)
    support.raises(nil, "did you mean 'limit'", tasklets.AutoBatcher, print, { limt = 1 })
  end)
end)
