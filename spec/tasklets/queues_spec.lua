-- MultiFuture, QueueFuture, SerialQueueFuture, ReducingFuture: T38 to T64, G48, G54, L12.

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local support = require "spec.tasklets.support"
local tasklets = require "pipeline.tasklets"

local await, sleep, Future = tasklets.await, tasklets.sleep, tasklets.Future
local go = support.go

local function after(seconds, value)
  return go(function() await(sleep(seconds)) return value end)
end

local function fails_after(seconds, value)
  return go(function() await(sleep(seconds)) error(value, 0) end)
end

describe("MultiFuture", function()
  before_each(support.start)
  after_each(support.finish)

  it("T38 gives the list of results in order of adding", function()
    local multi = tasklets.MultiFuture()
    multi:add_dependent(after(3, "a"))
    multi:putq("b")
    multi:putq(after(1, "c"))
    multi:putq(nil)
    multi:complete()
    assert.same({ "a", "b", "c", nil, n = 4 }, multi:get_result())
    local done = tasklets.MultiFuture()
    done:putq(support.done(1))
    done:complete()
    assert.is_true(done:done())
    assert.same({ 1, n = 1 }, done:get_result())
    local empty = tasklets.MultiFuture()
    empty:complete()
    assert.same({ n = 0 }, empty:get_result())
  end)

  it("T39 completing twice, and adding afterwards, is refused", function()
    local multi = tasklets.MultiFuture()
    multi:complete()
    support.raises(errors.TaskletError, "complete of MultiFuture", multi.complete, multi)
    support.raises(errors.TaskletError, "putq of MultiFuture", multi.putq, multi, 1)
    support.raises(errors.TaskletError, "add_dependent of MultiFuture", multi.add_dependent, multi, Future())
    local failed = tasklets.MultiFuture()
    failed:set_exception("x")
    support.raises(errors.TaskletError, "putq", failed.putq, failed, 1)
    failed:get_exception()
    support.raises(nil, "future expected, got number", multi.add_dependent, tasklets.MultiFuture(), 1)
  end)

  it("T40 set_exception fails it at once; members finishing later are ignored", function()
    local multi = tasklets.MultiFuture()
    local member = after(2)
    multi:add_dependent(member)
    multi:set_exception("at once")
    assert.is_true(multi:done())
    assert.equal("Error: at once", tostring(multi:get_exception()))
    eventloop.run()
    assert.equal("Error: at once", tostring(multi:get_exception()))
  end)

  it("T41 a failed member fails the whole once all are done", function()
    local multi = tasklets.MultiFuture()
    multi:add_dependent(after(5))
    multi:add_dependent(fails_after(3, "second"))
    multi:add_dependent(fails_after(1, "third"))
    multi:complete()
    assert.equal("Error: second", support.unplaced(multi:get_exception()))
    assert.equal(5, support.time())
  end)

  it("T42 the same member twice gives its result twice", function()
    local multi = tasklets.MultiFuture()
    local member = after(1, "m")
    multi:add_dependent(member)
    multi:add_dependent(member)
    multi:complete()
    assert.same({ "m", "m", n = 2 }, multi:get_result())
  end)
end)

describe("QueueFuture", function()
  before_each(support.start)
  after_each(support.finish)

  it("T43 results come in order of completion, getters are served in order of asking", function()
    local queue = tasklets.QueueFuture()
    queue:add_dependent(after(3, "slow"))
    queue:add_dependent(after(1, "fast"))
    local note, list = support.log()
    for i = 1, 2 do go(function() note(i, await(queue:getq())) end) end
    eventloop.run()
    assert.same({ "1 fast", "2 slow" }, list)
    queue:putq(after(1, "later"))
    queue:complete()
    eventloop.run()
    assert.equal("later", queue:getq():get_result())
  end)

  it("T44 a plain value is delivered by the loop", function()
    local queue = tasklets.QueueFuture()
    queue:putq("v")
    local getter = queue:getq()
    assert.is_false(getter:done())
    eventloop.run()
    assert.is_true(getter:done())
    assert.equal("v", getter:get_result())
    queue:putq(nil)
    eventloop.run()
    assert.is_nil(queue:getq():get_result())
  end)

  it("T44 plain values and members keep the order in which they were ready", function()
    local queue = tasklets.QueueFuture()
    local member = Future()
    queue:putq(1)
    queue:add_dependent(member)
    queue:putq(2)
    member:set_result(3)
    queue:putq(4)
    queue:complete()
    local list = {}
    go(function() for value in queue:each() do list[#list + 1] = value end end)
    eventloop.run()
    assert.same({ 1, 2, 3, 4 }, list)
  end)

  it("T45 a failed member fails its getter; the queue goes on", function()
    local queue = tasklets.QueueFuture()
    queue:add_dependent(fails_after(1, "bad"))
    queue:add_dependent(after(2, "good"))
    local a, b = queue:getq(), queue:getq()
    assert.equal("Error: bad", support.unplaced(a:get_exception()))
    assert.equal("good", b:get_result())
  end)

  it("T46 after complete the queue is done with nil when the last result is ready, then getters get EOF", function()
    local queue = tasklets.QueueFuture()
    queue:add_dependent(after(2, "only"))
    local waiting = { queue:getq(), queue:getq() }
    queue:complete()
    assert.is_false(queue:done())
    assert.is_nil(queue:get_result())
    assert.equal(2, support.time())
    assert.equal("only", waiting[1]:get_result())
    assert.is_true(errors.is(waiting[2]:get_exception(), tasklets.EOFError))
    local late = queue:getq() -- raises nothing itself
    assert.is_true(errors.is(late:get_exception(), tasklets.EOFError))
  end)

  it("T46 it is done whether its results were taken or not", function()
    local queue = tasklets.QueueFuture()
    queue:putq("left")
    queue:complete()
    queue:wait()
    assert.is_true(queue:done())
    assert.equal("left", queue:getq():get_result())
  end)

  it("T47 set_exception fails the queue at once; what is in it or pending comes first", function()
    local queue = tasklets.QueueFuture()
    queue:putq("in")
    queue:add_dependent(after(2, "pending"))
    queue:set_exception("end")
    assert.is_true(queue:done())
    assert.equal("Error: end", tostring(queue:get_exception()))
    assert.equal("in", queue:getq():get_result())
    assert.equal("pending", queue:getq():get_result())
    assert.equal("Error: end", tostring(queue:getq():get_exception()))
    assert.equal("Error: end", tostring(queue:getq():get_exception()))
  end)

  it("T48 (G48) more waiters than members: the surplus gets the error, too", function()
    local queue = tasklets.QueueFuture()
    queue:add_dependent(after(2, "one"))
    local waiting = { queue:getq(), queue:getq(), queue:getq() }
    queue:set_exception("end")
    queue:get_exception()
    assert.equal("one", waiting[1]:get_result())
    assert.equal("Error: end", tostring(waiting[2]:get_exception()))
    assert.equal("Error: end", tostring(waiting[3]:get_exception()))
  end)

  it("T49 the same pending future added twice is delivered once", function()
    local queue = tasklets.QueueFuture()
    local member = after(1, "once")
    queue:add_dependent(member)
    queue:add_dependent(member)
    queue:complete()
    assert.equal("once", queue:getq():get_result())
    assert.is_true(errors.is(queue:getq():get_exception(), tasklets.EOFError))
  end)

  it("T50 complete twice is refused, with the right name", function()
    local queue = tasklets.QueueFuture()
    queue:complete()
    support.raises(errors.TaskletError, "complete of QueueFuture", queue.complete, queue)
    support.raises(errors.TaskletError, "putq of QueueFuture", queue.putq, queue, 1)
  end)

  it("T51 without a limit putq never makes anybody wait", function()
    local queue = tasklets.QueueFuture()
    for i = 1, 1000 do assert.is_true(queue:putq(i):done()) end
    queue:complete()
    local sum = 0
    go(function() for value in queue:each() do sum = sum + value end end)
    eventloop.run()
    assert.equal(500500, sum)
  end)

  it("G54 with a limit a producer waits for room", function()
    for _, make in ipairs { tasklets.QueueFuture, tasklets.SerialQueueFuture } do
      local queue = make { limit = 2 }
      local note, list = support.log()
      go(function()
        for i = 1, 5 do
          await(queue:putq(i))
          note("put", i)
        end
        queue:complete()
      end)
      eventloop.run()
      assert.same({ "put 1", "put 2" }, list)
      assert.equal(1, queue:getq():get_result())
      eventloop.run()
      assert.same({ "put 1", "put 2", "put 3" }, list)
      go(function() for value in queue:each() do note("got", value) end end)
      eventloop.run()
      local got = {}
      for _, line in ipairs(list) do got[#got + 1] = line:match("got (%d)") end
      assert.same({ "2", "3", "4", "5" }, got)
      assert.equal(9, #list)
    end
    support.raises(nil, "positive integer", tasklets.QueueFuture, { limit = 0 })
  end)

  it("G54 a queue that fails, or is cancelled, makes no producer wait any longer", function()
    for _, make in ipairs { tasklets.QueueFuture, tasklets.SerialQueueFuture } do
      for _, break_off in ipairs { "set_exception", "cancel" } do
        local queue = make { limit = 1 }
        local producer = go(function()
          for i = 1, 5 do await(queue:putq(i)) end
        end)
        eventloop.run()
        assert.is_false(producer:done())
        queue[break_off](queue, "enough")
        assert.is_not_nil(queue:get_exception())
        assert.matches("it is complete, nothing can be added", tostring(producer:get_exception()))
      end
    end
  end)

  it("cancel is the end of the queue for those who wait for more", function()
    for _, make in ipairs { tasklets.QueueFuture, tasklets.SerialQueueFuture } do
      local queue = make()
      local waiting = queue:getq()
      assert.is_true(queue:cancel())
      assert.is_false(queue:cancel())
      assert.equal("CancelledError", queue:get_exception().class)
      assert.equal("CancelledError", waiting:get_exception().class)
      assert.equal("CancelledError", queue:getq():get_exception().class)
      support.raises(errors.TaskletError, "it is complete", queue.putq, queue, 1)
    end
  end)

  it("its result is set by complete alone, and a wrong error changes nothing", function()
    for _, name in ipairs { "QueueFuture", "SerialQueueFuture", "MultiFuture", "ReducingFuture" } do
      local queue = name == "ReducingFuture" and tasklets.ReducingFuture(print) or tasklets[name]()
      support.raises(errors.TaskletError, "set_result of " .. name .. ".*use complete", queue.set_result, queue, 1)
      local problem = support.raises(nil, "error expected, got nil", function() queue:set_exception(nil) end)
      assert.matches("queues_spec", problem)
      queue:putq(1)
      queue:complete()
      eventloop.run()
    end
  end)

  it("options are checked where it is made", function()
    for _, name in ipairs { "QueueFuture", "SerialQueueFuture", "MultiFuture", "Future" } do
      local problem = support.raises(nil, "unknown option 'lim'", function()
        local queue = tasklets[name] { lim = 1 }
        return queue
      end)
      assert.matches("queues_spec", problem)
    end
  end)

  it("L12 each is the loop over all results, and raises their errors", function()
    for _, make in ipairs { tasklets.QueueFuture, tasklets.SerialQueueFuture } do
      local queue = make()
      local seen = {}
      local consumer = go(function()
        for value in queue:each() do seen[#seen + 1] = value end
        return "end"
      end)
      go(function()
        for i = 1, 3 do
          await(sleep(1))
          queue:putq(i)
        end
        queue:complete()
      end)
      assert.equal("end", consumer:get_result())
      assert.same({ 1, 2, 3 }, seen)
      local failing = make()
      failing:putq(1)
      failing:set_exception("broken")
      failing:get_exception()
      support.raises(nil, "^Error: broken$", function() for _ in failing:each() do end end)
      local with_nil = make()
      with_nil:putq(nil)
      support.raises(errors.TaskletError, "use getq", function() for _ in with_nil:each() do end end)
    end
  end)

  it("a getter whose tasklet was cancelled takes nothing", function()
    local queue = tasklets.QueueFuture()
    local note, list = support.log()
    local first = go(function() note("first", await(queue:getq())) end)
    local second = go(function() note("second", await(queue:getq())) end)
    eventloop.run()
    first:cancel()
    queue:putq("x")
    eventloop.run()
    assert.same({ "second x" }, list)
    assert.is_true(second:done())
  end)

  it("what a getter has got, but its cancelled tasklet has not seen, goes to the next", function()
    local queue = tasklets.QueueFuture()
    local first = go(function() await(queue:getq()) error("not reached") end)
    eventloop.run()
    queue:putq("x")
    eventloop.run0() -- delivers it; first is woken, but has not had its turn
    first:cancel()
    assert.equal("x", queue:getq():get_result())
  end)

  it("a limit of time for getq forgets the getter", function()
    local queue = tasklets.QueueFuture()
    support.raises(errors.TimeoutError, nil, await, tasklets.with_timeout(queue:getq(), 1))
    queue:putq("kept")
    assert.equal("kept", queue:getq():get_result())
  end)
end)

describe("SerialQueueFuture", function()
  before_each(support.start)
  after_each(support.finish)

  it("T52 keeps the order of putting", function()
    local queue = tasklets.SerialQueueFuture()
    queue:add_dependent(after(3, "slow"))
    queue:add_dependent(after(1, "fast"))
    queue:putq("plain")
    queue:complete()
    local list = {}
    go(function() for value in queue:each() do list[#list + 1] = value end end)
    eventloop.run()
    assert.same({ "slow", "fast", "plain" }, list)
  end)

  it("T53 getq gives the very future that was put", function()
    local queue = tasklets.SerialQueueFuture()
    local member = after(1)
    queue:putq(member)
    assert.equal(member, queue:getq())
    eventloop.run()
  end)

  it("T54 getq before put is filled by the next put, also after complete", function()
    local queue = tasklets.SerialQueueFuture()
    local a, b, c = queue:getq(), queue:getq(), queue:getq()
    queue:putq("value")
    assert.is_true(a:done())
    queue:putq(after(2, "future"))
    local member = Future()
    queue:putq(member)
    queue:complete()
    assert.equal("value", a:get_result())
    assert.equal("future", b:get_result())
    assert.is_false(c:done())
    member:set_result("late")
    assert.equal("late", c:get_result())
  end)

  it("T55 complete: done with nil at once; waiting getters get EOF", function()
    local queue = tasklets.SerialQueueFuture()
    local waiting = queue:getq()
    queue:complete()
    assert.is_true(queue:done())
    assert.is_nil(queue:get_result())
    assert.is_true(errors.is(waiting:get_exception(), tasklets.EOFError))
    local other = tasklets.SerialQueueFuture()
    other:putq(after(5, "pending"))
    other:complete()
    assert.is_true(other:done())
    assert.equal("pending", other:getq():get_result())
    assert.is_true(errors.is(other:getq():get_exception(), tasklets.EOFError))
  end)

  it("T56 set_exception: waiting and later getters get it, items come first", function()
    local queue = tasklets.SerialQueueFuture()
    local waiting = queue:getq()
    queue:set_exception("end")
    assert.equal("Error: end", tostring(waiting:get_exception()))
    assert.equal("Error: end", tostring(queue:get_exception()))
    assert.equal("Error: end", tostring(queue:getq():get_exception()))
    local other = tasklets.SerialQueueFuture()
    other:putq("item")
    other:set_exception("end")
    other:get_exception()
    assert.equal("item", other:getq():get_result())
    assert.equal("Error: end", tostring(other:getq():get_exception()))
  end)

  it("T57 a failed item fails its getter", function()
    local queue = tasklets.SerialQueueFuture()
    local getter = queue:getq()
    queue:putq(fails_after(1, "bad"))
    queue:putq(fails_after(1, "worse"))
    assert.equal("Error: bad", support.unplaced(getter:get_exception()))
    assert.equal("Error: worse", support.unplaced(queue:getq():get_exception()))
  end)

  it("T58 putting after complete, and complete twice, is refused", function()
    local queue = tasklets.SerialQueueFuture()
    queue:complete()
    support.raises(errors.TaskletError, "putq of SerialQueueFuture", queue.putq, queue, 1)
    support.raises(errors.TaskletError, "complete of SerialQueueFuture", queue.complete, queue)
    support.raises(errors.TaskletError, "add_dependent of SerialQueueFuture", queue.add_dependent, queue, Future())
  end)
end)

-- The short ways are left and entered again: with and without a limit, before and after somebody waits.
describe("a queue whose items are looked at in every way", function()
  before_each(support.start)
  after_each(support.finish)

  for _, name in ipairs { "QueueFuture", "SerialQueueFuture" } do
    for _, limit in ipairs { false, 1, 3 } do
      it(("T49 T56 G54 gives each in order, by getq and by each: %s, limit %s"):format(name, limit), function()
        local queue = tasklets[name](limit and { limit = limit } or nil)
        local got, given = {}, {}
        local values = { 1, "two", false, { 3 }, 4.5, io.stdout, 7, 8, 9, 10 }
        for round = 1, 3 do
          for i, value in ipairs(values) do given[(round - 1) * #values + i] = value end
        end
        go(function()
          for i, value in ipairs(given) do
            await(queue:putq(value))
            if i % 7 == 0 then await(sleep(0)) end
          end
          queue:complete()
        end)
        local taker = go(function()
          for _ = 1, 5 do got[#got + 1] = await(queue:getq()) end
          for value in queue:each() do
            got[#got + 1] = value
            if #got % 4 == 0 then got[#got + 1] = await(queue:getq()) end
            if #got % 9 == 0 then await(sleep(0)) end
          end
        end)
        local ok, problem = pcall(taker.get_result, taker)
        assert.is_true(ok or errors.is(problem, errors.EOFError), tostring(problem))
        assert.equal(#given, #got)
        for i, value in ipairs(given) do assert.equal(value, got[i]) end
      end)

      it(("T57 G54 a future among values is not given as a value: %s, limit %s"):format(name, limit), function()
        local queue = tasklets[name](limit and { limit = limit } or nil)
        local got = {}
        go(function()
          for i = 1, 6 do
            local value = i
            if i % 3 == 0 then value = support.done(i) end
            await(queue:putq(value))
          end
          queue:complete()
        end)
        go(function()
          for value in queue:each() do got[#got + 1] = value end
        end):get_result()
        table.sort(got)
        assert.same({ 1, 2, 3, 4, 5, 6 }, got)
      end)
    end
  end

  it("an item that goes back to an empty list, and one before others, is the next again", function()
    for _, more in ipairs { false, true } do
      local queue = tasklets.QueueFuture()
      local getter
      local taker = go(function()
        getter = queue:getq()
        return await(getter)
      end)
      while eventloop.run0() do end
      queue:putq(1)
      if more then queue:putq(2) end
      repeat eventloop.run0() until getter:done()
      assert.is_true(taker:cancel())
      if not more then queue:putq(2) end
      queue:complete()
      assert.same({ 1, 2 }, { queue:getq():get_result(), queue:getq():get_result() })
      eventloop.run()
    end
  end)

  it("T47 putq to one that is complete is refused, also when values could just be added before", function()
    for _, name in ipairs { "QueueFuture", "SerialQueueFuture" } do
      local queue = tasklets[name]()
      for i = 1, 3 do queue:putq(i) end
      queue:complete()
      support.raises(errors.TaskletError, "putq of " .. name, queue.putq, queue, 4)
      for i = 1, 3 do assert.equal(i, queue:getq():get_result()) end
      assert.is_true(errors.is(queue:getq():get_exception(), errors.EOFError))
    end
  end)
end)

describe("ReducingFuture", function()
  local function sum(list)
    local total = 0
    for _, value in ipairs(list) do total = total + value end
    return total
  end

  before_each(support.start)
  after_each(support.finish)

  it("T59 nothing gives nil, one value gives that value, without the reducer", function()
    local function never() error("called") end
    local empty = tasklets.ReducingFuture(never)
    empty:complete()
    assert.is_nil(empty:get_result())
    local one = tasklets.ReducingFuture(never)
    one:putq(42)
    one:complete()
    assert.equal(42, one:get_result())
  end)

  it("T60 the reducer gets batches as they gather, then the rest", function()
    local note, list = support.log()
    local future = tasklets.ReducingFuture(function(values)
      note(table.concat(values, ","))
      return sum(values)
    end, { batch_size = 3 })
    for i = 1, 7 do future:putq(i) end
    future:complete()
    assert.equal(28, future:get_result())
    assert.same({ "1,2,3", "6,4,5", "15,6,7" }, list)
  end)

  it("T60 the default batch is of 20", function()
    local sizes = {}
    local future = tasklets.ReducingFuture(function(values)
      sizes[#sizes + 1] = #values
      return sum(values)
    end)
    for i = 1, 50 do future:putq(after(i % 3, 1)) end
    future:complete()
    assert.equal(50, future:get_result())
    assert.same({ 20, 20, 12 }, sizes)
  end)

  it("T61 the reducer may return a future", function()
    local future = tasklets.ReducingFuture(tasklets.tasklet(function(values)
      await(sleep(1))
      return sum(values)
    end), { batch_size = 2 })
    for i = 1, 5 do future:putq(i) end
    future:complete()
    assert.equal(15, future:get_result())
  end)

  it("T62 a failed member, or reducer, fails the whole at once", function()
    local future = tasklets.ReducingFuture(sum)
    future:add_dependent(fails_after(1, "member"))
    future:add_dependent(after(9, 1))
    future:complete()
    assert.equal("Error: member", support.unplaced(future:get_exception()))
    assert.equal(1, support.time())
    local failing = tasklets.ReducingFuture(function() error("reducer", 0) end, { batch_size = 2 })
    failing:putq(1)
    failing:putq(2)
    failing:putq(after(20, 3))
    failing:complete()
    assert.equal("Error: reducer", support.unplaced(failing:get_exception()))
    local later = tasklets.ReducingFuture(function() return fails_after(1, "future") end, { batch_size = 2 })
    later:putq(1)
    later:putq(2)
    later:complete()
    assert.equal("Error: future", support.unplaced(later:get_exception()))
  end)

  it("T63 the order of its input is that of completion, which nobody promises", function()
    local future = tasklets.ReducingFuture(function(values) return table.concat(values) end)
    future:add_dependent(after(3, "c"))
    future:add_dependent(after(1, "a"))
    future:add_dependent(after(2, "b"))
    future:complete()
    assert.equal("abc", future:get_result())
  end)

  it("T64 complete twice, and adding afterwards, is refused", function()
    local future = tasklets.ReducingFuture(sum)
    future:complete()
    support.raises(errors.TaskletError, "complete of ReducingFuture", future.complete, future)
    support.raises(errors.TaskletError, "putq of ReducingFuture", future.putq, future, 1)
    support.raises(errors.TaskletError, "add_dependent of ReducingFuture", future.add_dependent, future, Future())
    support.raises(nil, "bad argument #1 to 'ReducingFuture'", tasklets.ReducingFuture, 42)
    support.raises(nil, "value expected, got nil", future.putq, tasklets.ReducingFuture(sum), nil)
  end)

  it("a step of each() refuses what is no queue", function()
    for _, queue in ipairs { tasklets.QueueFuture(), tasklets.SerialQueueFuture() } do
      local step = queue:each()
      for _, wrong in ipairs { 5, "x", true, print } do assert.is_false((pcall(step, wrong))) end
      assert.is_false((pcall(step)))
    end
  end)
end)
