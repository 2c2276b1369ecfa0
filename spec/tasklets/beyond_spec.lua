-- What the original did not have: Semaphore, Mutex (G52), groups; and how much there can be.

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local support = require "spec.tasklets.support"
local tasklets = require "pipeline.tasklets"

local await, sleep = tasklets.await, tasklets.sleep
local go = support.go

describe("G52 Semaphore and Mutex", function()
  before_each(support.start)
  after_each(support.finish)

  it("a semaphore lets n in at once, in the order they asked", function()
    local semaphore = tasklets.Semaphore(2)
    local note, list = support.log()
    for i = 1, 5 do
      go(function()
        local _ <close> = semaphore:acquire()
        note(i, support.time())
        await(sleep(1))
      end)
    end
    eventloop.run()
    assert.same({ "1 0.0", "2 0.0", "3 1.0", "4 1.0", "5 2.0" }, list)
    assert.equal("<Semaphore: 2 free, 0 held, 0 wait>", tostring(semaphore))
  end)

  it("acquire and release also go by hand", function()
    local semaphore = tasklets.Semaphore(1)
    semaphore:acquire()
    assert.is_nil(semaphore:try_acquire())
    semaphore:release()
    local permit = semaphore:try_acquire()
    permit:release()
    permit:release() -- the second time does nothing
    assert.equal("<Semaphore: 1 free, 0 held, 0 wait>", tostring(semaphore))
    support.raises(errors.TaskletError, "released more often than acquired", semaphore.release, semaphore)
    support.raises(nil, "positive integer", tasklets.Semaphore, 0)
  end)

  it("a permit given back by hand in its own block is given back once", function()
    local semaphore = tasklets.Semaphore(2)
    do
      local _ <close> = semaphore:acquire()
      semaphore:release()
    end
    assert.equal("<Semaphore: 2 free, 0 held, 0 wait>", tostring(semaphore))
  end)

  it("a tasklet that is cancelled gives its permit back, also one it has just been handed", function()
    local semaphore = tasklets.Semaphore(1)
    local holder = go(function()
      local _ <close> = semaphore:acquire()
      await(sleep(10))
    end)
    local second = go(function()
      local _ <close> = semaphore:acquire()
      error("not reached")
    end)
    local third = go(function()
      local _ <close> = semaphore:acquire()
      return "third"
    end)
    eventloop.queue_call(1, function()
      holder:cancel() -- hands the permit to the second, which has not had its turn
      second:cancel()
    end)
    assert.equal("third", third:get_result())
    assert.equal("<Semaphore: 1 free, 0 held, 0 wait>", tostring(semaphore))
  end)

  it("one that is cancelled while it waits is skipped", function()
    local mutex = tasklets.Mutex()
    local note, list = support.log()
    local waiting = {}
    local permit = mutex:acquire()
    for i = 1, 4 do
      waiting[i] = go(function()
        local _ <close> = mutex:acquire()
        note(i)
      end)
    end
    eventloop.run()
    waiting[1]:cancel()
    waiting[3]:cancel()
    waiting[4]:cancel()
    permit:release()
    eventloop.run()
    assert.same({ "2" }, list)
    assert.equal("<Mutex: free, 0 wait>", tostring(mutex))
  end)

  it("a mutex keeps others out across awaits", function()
    local mutex = tasklets.Mutex()
    local inside, most = 0, 0
    local function work()
      local _ <close> = mutex:acquire()
      inside = inside + 1
      most = math.max(most, inside)
      await(sleep(1))
      inside = inside - 1
    end
    for _ = 1, 10 do go(work) end
    eventloop.run()
    assert.equal(1, most)
    assert.equal(10, support.time())
    mutex:acquire()
    assert.is_nil(mutex:try_acquire())
    mutex:release()
    support.raises(errors.TaskletError, "nobody holds", mutex.release, mutex)
  end)

  it("waiting for a mutex that is never given back is a deadlock", function()
    local mutex = tasklets.Mutex()
    mutex:acquire()
    support.raises(errors.DeadlockError, "Mutex", mutex.acquire, mutex)
  end)
end)

describe("a group", function()
  before_each(support.start)
  after_each(support.finish)

  it("ends only when its tasklets have ended, and returns what its body returned", function()
    local note, list = support.log()
    local future = go(function()
      return tasklets.group(function(g)
        for i = 1, 3 do
          g:spawn(function(n)
            await(sleep(n))
            note(n)
          end, i)
        end
        note("body")
        return "result", 2
      end)
    end)
    assert.same({ "result", 2 }, { future:get_result() })
    assert.same({ "body", "1", "2", "3" }, list)
  end)

  it("cancels the others, and its body, when one fails, and raises that error", function()
    local note, list = support.log()
    local function closes(name) return setmetatable({}, { __close = function() note(name, "closed") end }) end
    local ok, problem = pcall(tasklets.group, function(g)
      local _ <close> = closes("body")
      g:spawn(function()
        local _ <close> = closes("slow")
        await(sleep(10))
      end)
      g:spawn(function()
        await(sleep(1))
        error("first", 0)
      end)
      await(sleep(20))
    end)
    assert.is_false(ok)
    assert.equal("Error: first", support.unplaced(problem))
    table.sort(list)
    assert.same({ "body closed", "slow closed" }, list)
    assert.equal(1, support.time())
  end)

  it("cancels its tasklets when its body fails, or when its caller is cancelled", function()
    local ran = false
    local function slow()
      await(sleep(10))
      ran = true
    end
    support.raises(nil, "^Error: body$", tasklets.group, function(g)
      g:spawn(slow)
      error("body", 0)
    end)
    local caller = go(function() tasklets.group(function(g) g:spawn(slow) end) end)
    eventloop.queue_call(1, caller.cancel, caller)
    eventloop.run()
    assert.is_false(ran)
    assert.is_true(errors.is(caller:get_exception(), errors.CancelledError))
  end)

  it("one tasklet that is cancelled ends the group with CancelledError", function()
    support.raises(errors.CancelledError, nil, tasklets.group, function(g)
      local member = g:spawn(function() await(sleep(10)) end)
      g:spawn(function() await(sleep(10)) end)
      await(sleep(1))
      member:cancel()
      await(sleep(10))
    end)
    assert.equal(1, support.time())
  end)

  it("takes no more tasklets when it has ended", function()
    local kept
    tasklets.group(function(g) kept = g end)
    support.raises(errors.TaskletError, "the group has ended", kept.spawn, kept, print)
    support.raises(nil, "bad argument #1 to 'group'", tasklets.group, nil)
  end)

  it("its functions may be tasklets and whatever can be called", function()
    local function called() return "called" end
    local callable = setmetatable({}, {
      __call = function(_, group) return await(group and group:spawn(called) or go(called)) end,
    })
    assert.equal("called", tasklets.group(callable))
    assert.equal("called", tasklets.group(function(g) return await(g:spawn(callable)) end))
    assert.equal("called", await(tasklets.with_timeout(callable, 1)))
    assert.equal("tasklet", await(tasklets.with_timeout(tasklets.tasklet(function() return "tasklet" end), 1)))
    for _, wrong in ipairs { 1, "x", {}, setmetatable({}, { __metatable = 1 }) } do
      support.raises(nil, "bad argument #1 to 'group' %(function expected", tasklets.group, wrong)
      support.raises(nil, "bad argument #1 to 'tasklet' %(function expected", tasklets.tasklet, wrong)
      support.raises(nil, "bad argument #1 to 'with_timeout' %(future or function", tasklets.with_timeout, wrong, 1)
    end
  end)

  it("groups nest", function()
    local list = {}
    tasklets.group(function(g)
      g:spawn(function()
        tasklets.group(function(inner) inner:spawn(function() await(sleep(2)) list[#list + 1] = "inner" end) end)
        list[#list + 1] = "after inner"
      end)
    end)
    assert.same({ "inner", "after inner" }, list)
  end)
end)

describe("many", function()
  before_each(support.start)
  after_each(support.finish)

  it("10,000 tasklets that sleep one second end in one second", function()
    local nap = tasklets.tasklet(function() await(sleep(1)) end)
    local list = {}
    for i = 1, 10000 do list[i] = nap() end
    tasklets.await_all(list)
    assert.equal(1, support.time())
  end)

  it("100,000 waiting tasklets fit in 200 MB and are all freed", function()
    if (os.getenv("PL_BUILD") or ""):find("tsan", 1, true) then
      return pending("ThreadSanitizer keeps the frames of suspended coroutines, and no more than 65,536 of them")
    end
    collectgarbage()
    collectgarbage()
    local before = collectgarbage("count")
    local shared = tasklets.Future()
    local wait = tasklets.tasklet(function() return await(shared) end)
    local alive = setmetatable({}, { __mode = "k" })
    for _ = 1, 100000 do alive[wait()] = true end
    eventloop.run()
    collectgarbage()
    assert.is_true((collectgarbage("count") - before) / 1024 < 200)
    shared:set_result(1)
    eventloop.run()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(alive))
    shared = nil
    collectgarbage()
    collectgarbage()
    assert.is_true((collectgarbage("count") - before) / 1024 < 10)
  end)

  it("a chain of 10,000 tasklets that wait for each other does not use up the stack", function()
    local function chain(n)
      if n == 0 then return 0 end
      local below = await(go(chain, n - 1))
      return below + 1
    end
    assert.equal(10000, go(chain, 10000):get_result())
  end)
end)
