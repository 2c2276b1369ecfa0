-- The event loop: T65 to T80, G49, G50, G51.

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local support = require "spec.tasklets.support"
local tasklets = require "pipeline.tasklets"

local queue_call, add_idle, sleep = eventloop.queue_call, eventloop.add_idle, tasklets.sleep

describe("the event loop", function()
  local note, list

  before_each(function()
    support.start()
    note, list = support.log()
  end)
  after_each(support.finish)

  it("T65 immediate calls run in the order queued, before anything timed", function()
    queue_call(0, note, "timed")
    queue_call(nil, note, "a", 1, nil)
    queue_call(nil, function()
      note("b")
      queue_call(nil, note, "d")
    end)
    queue_call(nil, note, "c")
    eventloop.run()
    assert.same({ "a 1 nil", "b", "c", "d", "timed" }, list)
  end)

  it("T66 timed calls run at their time, those of the same time in the order queued", function()
    local function at(name) note(name, support.time()) end
    queue_call(2, at, "c")
    queue_call(1, at, "a")
    queue_call(2, at, "d")
    queue_call(1, at, "b")
    queue_call(0, at, "now")
    queue_call(-5, at, "past")
    eventloop.run()
    assert.same({ "now 0.0", "past 0.0", "a 1.0", "b 1.0", "c 2.0", "d 2.0" }, list)
  end)

  it("T66 a thousand timers in random order", function()
    local seed = 12345
    local last = -1
    for _ = 1, 1000 do
      seed = (seed * 1103515245 + 12345) % 2147483648
      local delay = seed % 500
      queue_call(delay, function()
        assert(delay >= last and support.time() == delay)
        last = delay
        note(delay)
      end)
    end
    eventloop.run()
    assert.equal(1000, #list)
  end)

  it("T66 sleeps of no time come after timers that were due before, in order with those of the same time", function()
    queue_call(1, function()
      note("first")
      sleep(0):add_callback(note, "sleep")
      queue_call(0, note, "call")
      sleep(-1):add_callback(note, "another sleep")
      queue_call(nil, note, "immediate")
    end)
    queue_call(1, note, "second")
    queue_call(1.5, note, "later")
    eventloop.run()
    assert.same({ "first", "immediate", "second", "sleep", "call", "another sleep", "later" }, list)
  end)

  it("T66 sleeps of no time are in order though the clock is set back", function()
    sleep(0):add_callback(note, "a")
    eventloop.set_clock(eventloop.virtual_clock(5))
    sleep(0):add_callback(note, "b")
    eventloop.run()
    assert.same({ "a", "b" }, list)
  end)

  it("a sleep of no time that nobody waits for any more is not pending", function()
    local task = tasklets.tasklet(function() sleep(0):wait() end)()
    assert.equal(0, eventloop.run0())
    assert.equal(1, select(2, eventloop.pending()))
    task:cancel()
    assert.equal(0, select(2, eventloop.pending()))
    local other = sleep(0)
    other:cancel()
    assert.equal(0, select(2, eventloop.pending()))
    support.raises(tasklets.CancelledError, nil, other.get_result, other)
    sleep(0):add_callback(note, "kept")
    eventloop.run()
    assert.same({ "kept" }, list)
    sleep(0)
    eventloop.clear()
    assert.equal(0, select(2, eventloop.pending()))
  end)

  it("a batch of calls ends where one of them stops or clears the loop", function()
    queue_call(nil, note, "a")
    queue_call(nil, function()
      assert.equal(1, (eventloop.pending()))
      eventloop.stop()
    end)
    queue_call(nil, note, "b")
    eventloop.run()
    assert.same({ "a" }, list)
    queue_call(nil, function()
      eventloop.clear()
      queue_call(nil, note, "new")
    end)
    queue_call(nil, note, "dropped")
    eventloop.run()
    assert.same({ "a", "b", "new" }, list)
  end)

  it("T67 a delay of 1e9 or more is a time since the epoch", function()
    eventloop.set_clock(eventloop.virtual_clock(1.5e9))
    queue_call(1.5e9 + 30, function() note(eventloop.now()) end)
    queue_call(1e9, function() note("long past", eventloop.now()) end)
    queue_call(20, function() note(eventloop.now()) end)
    eventloop.run()
    assert.same({ "long past 1500000000.0", "1500000020.0", "1500000030.0" }, list)
  end)

  it("T68 (G49) one step: an immediate call, else a due timer, else an idle call, else wait", function()
    add_idle(function() note("idle") end)
    queue_call(1, note, "later")
    queue_call(0, note, "due")
    queue_call(nil, note, "immediate")
    assert.equal(0, eventloop.run0())
    assert.same({ "immediate" }, list)
    assert.equal(0, eventloop.run0())
    assert.same({ "immediate", "due" }, list)
    assert.equal(0, eventloop.run0())
    assert.same({ "immediate", "due", "idle" }, list)
    assert.equal(1, eventloop.run0())
    assert.equal(0, support.time())
    assert.is_true(eventloop.run1())
    assert.equal(1, support.time())
    assert.equal(0, eventloop.run0())
    assert.is_nil(eventloop.run0())
    assert.equal("later", list[4])
  end)

  it("T69 run1 is false only if nothing is left; a step may be just a sleep", function()
    assert.is_false(eventloop.run1())
    queue_call(5, note, "x")
    assert.is_true(eventloop.run1())
    assert.same({}, list)
    assert.equal(5, support.time())
    assert.is_true(eventloop.run1())
    assert.same({ "x" }, list)
    assert.is_false(eventloop.run1())
  end)

  it("T70 run works until nothing is left", function()
    queue_call(nil, function()
      note(1)
      queue_call(10, function()
        note(2)
        queue_call(nil, note, 3)
      end)
    end)
    eventloop.run()
    assert.same({ "1", "2", "3" }, list)
    eventloop.run()
  end)

  it("T71 idle calls: nil removes, true is called again, false waits for the next event", function()
    local left = 3
    add_idle(function()
      note("worker")
      left = left - 1
      return left > 0 and true or nil
    end)
    eventloop.run()
    assert.same({ "worker", "worker", "worker" }, list)
    local calls, keep = 0, true
    add_idle(function()
      calls = calls + 1
      if keep then return false end
    end)
    eventloop.run()
    assert.equal(1, calls) -- the loop ends though it is still registered
    eventloop.run()
    assert.equal(2, calls) -- and a later run calls it once more
    queue_call(nil, note, "event")
    queue_call(1, note, "event")
    eventloop.run()
    assert.equal(4, calls) -- once after each event
    keep = false
    eventloop.run()
    assert.equal(5, calls)
  end)

  it("T72 idle calls take turns", function()
    local rounds = 0
    for _, name in ipairs { "a", "b", "c" } do
      add_idle(function()
        note(name)
        rounds = rounds + 1
        return rounds <= 6 and true or nil
      end)
    end
    eventloop.run()
    assert.same({ "a", "b", "c", "a", "b", "c", "a", "b", "c" }, list)
  end)

  it("T73 (G50) an idle call that raises is gone and reported; the loop goes on", function()
    add_idle(function() error("idle", 0) end)
    add_idle(note, "other")
    eventloop.run()
    assert.same({ "other" }, list)
    assert.equal("idle", support.reports()[1].value)
    eventloop.run()
    assert.same({}, support.reports())
  end)

  it("T74 (G50) a callback that raises is reported; the loop goes on", function()
    queue_call(nil, error, "immediate", 0)
    queue_call(nil, note, "a")
    queue_call(1, error, "timed", 0)
    queue_call(1, note, "b")
    eventloop.run()
    assert.same({ "a", "b" }, list)
    local reports = support.reports()
    assert.equal("immediate", reports[1].value)
    assert.equal("timed", reports[2].value)
    assert.matches("stack traceback", reports[1].text)
  end)

  it("T74 without a hook errors go to standard error, and any value may be one", function()
    eventloop.set_error_hook(nil)
    local before, written = io.stderr, {}
    rawset(io, "stderr", { write = function(_, ...) written[#written + 1] = table.concat({ ... }) end })
    queue_call(nil, error)
    queue_call(nil, error, setmetatable({}, { __tostring = function() error("no text") end }))
    queue_call(nil, error, errors.Abort("object"))
    eventloop.run()
    rawset(io, "stderr", before)
    assert.equal(3, #written)
    assert.matches("nil", written[1])
    assert.matches("Abort: object", written[3])
  end)

  it("T75 (G49) a timer is on time while something outside is waited for", function()
    local request = tasklets.Future("outside")
    tasklets.tasklet(function() note("answer", tasklets.await(request), support.time()) end)()
    queue_call(1, function() note("timer", support.time()) end)
    queue_call(5, function() request:set_result("x") end)
    eventloop.run()
    assert.same({ "timer 1.0", "answer x 5.0" }, list)
  end)

  it("T71 (G49) an idle call that always has work does not starve timers", function()
    local calls = 0
    queue_call(nil, function() end)
    add_idle(function()
      calls = calls + 1
      support.clock.sleep(0.1)
      return calls < 100 and true or nil
    end)
    queue_call(1, function() note("timer", calls) end)
    eventloop.run()
    assert.same({ "timer 10" }, list)
  end)

  it("immediate calls that queue others for ever do not starve timers", function()
    local steps, stop = 0, false
    local function again()
      steps = steps + 1
      support.clock.sleep(0.001)
      if not stop then queue_call(nil, again) end
    end
    again()
    queue_call(0.5, function()
      note("timer")
      stop = true
    end)
    eventloop.run()
    assert.same({ "timer" }, list)
    assert.is_true(steps < 5000)
  end)

  it("T76 a group of requests is done when the last is", function()
    local requests = {}
    for i = 1, 3 do
      requests[i] = tasklets.Future()
      queue_call(4 - i, function() requests[i]:set_result(i) end)
    end
    assert.same({ 1, 2, 3, n = 3 }, tasklets.await_all(requests))
    assert.equal(3, support.time())
  end)

  it("T77 what is queued must be a function", function()
    support.raises(nil, "bad argument #2 to 'queue_call' %(function expected, got nil", queue_call, nil)
    support.raises(nil, "bad argument #1 to 'queue_call'", queue_call, "soon", print)
    support.raises(nil, "bad argument #1 to 'queue_call'", queue_call, 0 / 0, print)
    support.raises(nil, "bad argument #1 to 'add_idle'", add_idle, {})
    queue_call(nil, setmetatable({}, { __call = function(_, x) note(x) end }), "callable")
    eventloop.run()
    assert.same({ "callable" }, list)
  end)

  it("T78 L28 the loop belongs to the Lua state: a coroutine runs the same one", function()
    queue_call(nil, note, "from outside")
    coroutine.wrap(eventloop.run)()
    assert.same({ "from outside" }, list)
  end)

  it("T79 clear drops everything pending without running it", function()
    queue_call(nil, note, "immediate")
    queue_call(1, note, "timed")
    add_idle(note, "idle")
    assert.same({ 1, 1, 1, 0 }, { eventloop.pending() })
    eventloop.clear()
    assert.same({ 0, 0, 0, 0 }, { eventloop.pending() })
    eventloop.run()
    assert.same({}, list)
  end)

  it("T79 what was cleared may still be cancelled", function()
    local naps = {}
    for i = 1, 4 do naps[i] = support.go(function() tasklets.await(tasklets.sleep(i == 4 and 0 or 5)) end) end
    local entry = queue_call(5, note, "cleared")
    while eventloop.run0() == 0 and select(2, eventloop.pending()) < 5 do end
    eventloop.clear()
    for i = 1, 20 do queue_call(i, note, i) end
    for i = 1, 4 do naps[i]:cancel() end
    eventloop.cancel(entry)
    assert.same({ 0, 20, 0, 0 }, { eventloop.pending() })
    eventloop.run()
    assert.equal(20, #list)
    assert.same({ 0, 0, 0, 0 }, { eventloop.pending() })
  end)

  it("T80 the clock can be replaced", function()
    local slept = {}
    local time = 50
    eventloop.set_clock {
      now = function() return time end,
      sleep = function(seconds)
        slept[#slept + 1] = seconds
        time = time + seconds
      end,
    }
    queue_call(3, note, "x")
    queue_call(4.5, note, "y")
    eventloop.run()
    assert.same({ 3, 1.5 }, slept)
    support.raises(nil, "object with functions now and sleep", eventloop.set_clock, {})
    support.raises(nil, "bad argument #1 to 'virtual_clock' %(number", eventloop.virtual_clock, "noon")
  end)

  it("G51 stop makes run return after the callback; what is left can be run later", function()
    queue_call(nil, function()
      note("a")
      eventloop.stop()
    end)
    queue_call(nil, note, "b")
    queue_call(1, note, "c")
    eventloop.run()
    assert.same({ "a" }, list)
    eventloop.run()
    assert.same({ "a", "b", "c" }, list)
  end)

  it("G51 stop ends a wait for a future with an error", function()
    queue_call(2, eventloop.stop)
    support.raises(errors.TaskletError, "the loop was stopped", tasklets.await, tasklets.Future())
  end)

  it("a timed call can be cancelled", function()
    local entry = queue_call(5, note, "never")
    local others = {}
    for i = 1, 100 do others[i] = queue_call(i, note, i) end
    eventloop.cancel(entry)
    eventloop.cancel(entry)
    for i = 1, 100 do if i ~= 50 then eventloop.cancel(others[i]) end end
    assert.same({ 0, 1, 0, 0 }, { eventloop.pending() })
    eventloop.run()
    assert.same({ "50" }, list)
    eventloop.cancel(others[50])
  end)

  it("a sleep that is over, and whose tasklet is cancelled before its turn, is not counted twice", function()
    for i = 1, 20 do queue_call(i, note, i) end
    local on, nap = tasklets.sleep(0.5), nil
    on:add_callback(function() nap:cancel() end)
    nap = support.go(function() tasklets.await(on) end)
    while not nap:done() do eventloop.run1() end
    eventloop.run0()
    assert.same({ 0, 20, 0, 0 }, { eventloop.pending() })
    eventloop.run()
    assert.same({ 0, 0, 0, 0 }, { eventloop.pending() })
  end)

  it("a call is cancelled by its own method, too, timed or not", function()
    for _, seconds in ipairs { false, 0, 1 } do
      local entry = queue_call(seconds or nil, note, "never")
      entry:cancel()
      entry:cancel()
    end
    queue_call(nil, note, "other")
    eventloop.run()
    assert.same({ "other" }, list)
    support.raises(nil, "bad argument #1 to 'cancel' %(what queue_call has returned expected", eventloop.cancel)
    support.raises(nil, "bad argument #1 to 'cancel'", eventloop.cancel, tasklets.Future())
  end)

  it("an error thrown through run leaves the loop usable", function()
    eventloop.set_clock { now = function() return 0 end, sleep = function() error("interrupted!", 0) end }
    queue_call(1, note, "x")
    support.raises(nil, "interrupted", eventloop.run)
    eventloop.set_clock(eventloop.virtual_clock(0))
    eventloop.run()
    assert.same({ "x" }, list)
  end)

  it("G46 run in a callback is refused", function()
    local problems = {}
    queue_call(nil, function()
      for i, name in ipairs { "run", "run0", "run1" } do problems[i] = select(2, pcall(eventloop[name])) end
    end)
    eventloop.run()
    for i = 1, 3 do assert.matches("the loop is already running", tostring(problems[i])) end
  end)
end)

describe("real time", function()
  before_each(support.start_real)
  after_each(function() support.finish_real(function() end) end)

  it("waits for timers on the uv loop", function()
    local before = eventloop.now()
    tasklets.await(tasklets.sleep(0.02))
    local took = eventloop.now() - before
    assert.is_true(took >= 0.02 and took < 2)
  end)

  it("offers a descriptor, a timeout and a step to a host without an engine", function()
    local done = false
    tasklets.tasklet(function()
      tasklets.await(tasklets.sleep(0.01))
      done = true
    end)()
    assert.is_true(eventloop.fd() >= 0)
    assert.equal(0, eventloop.timeout())
    for _ = 1, 1000 do
      eventloop.step()
      if done then break end
      require("pipeline.core").poll(eventloop.timeout(), eventloop.fd())
    end
    assert.is_true(done)
    assert.equal(-1, eventloop.timeout())
  end)
end)
