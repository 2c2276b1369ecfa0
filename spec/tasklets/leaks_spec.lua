-- The check after every spec of tasklets finds what it is there for; and what may look like a leak is none.

local leaks = require "spec.tasklets.leaks"
local support = require "spec.tasklets.support"

local core = require "pipeline.core"
local eventloop = require "pipeline.eventloop"
local tasklets = require "pipeline.tasklets"

local await, sleep, go = tasklets.await, tasklets.sleep, support.go

describe("what a tasklet leaves behind", function()
  local kept

  before_each(support.start)
  after_each(function()
    kept = nil
    support.finish()
  end)

  -- Leaves something behind; the check must see it, and no more when it is gone.
  local function found(pattern, leave, undo)
    leave()
    support.raises(nil, pattern, leaks.check)
    kept = nil
    if undo then undo() end
    leaks.check()
  end

  it("is found: a coroutine", function()
    found("coroutines are left", function()
      kept = tasklets.Future()
      go(function() await(kept) end)
      eventloop.run()
    end)
  end)

  it("is found: a wait for something outside", function()
    local outside = require "pipeline.tasklet.outside"
    local token
    found("waits for something outside", function() token = outside.new(function() end) end,
      function() token:forget() end)
  end)

  it("is found: a reference", function()
    local registry = debug.getregistry()
    found("references are left", function() registry[#registry + 1000] = {} end, function()
      for key in pairs(registry) do
        if math.type(key) == "integer" and key > 1000 then registry[key] = nil end
      end
    end)
  end)

  it("is found: a handle on the uv loop", function()
    local before = core.loop():handles()
    local client = core.client(core.loop())
    assert.equal(before + 2, core.loop():handles())
    support.raises(nil, "handles are left", leaks.check)
    client:close()
    core.loop():poll(0)
    assert.equal(before, core.loop():handles())
  end)

  it("is nothing when it is cancelled, dropped, or fails, wherever it waits", function()
    local queue, mutex = tasklets.QueueFuture(), tasklets.Mutex()
    local permit = mutex:acquire()
    local waits = {
      function() await(sleep(10)) end,
      function() await(tasklets.Future()) end,
      function() await(queue:getq()) end,
      function() mutex:acquire() end,
      function() await(tasklets.with_timeout(tasklets.Future(), 5)) end,
      function() tasklets.await_all { sleep(3), tasklets.Future() } end,
      function() tasklets.group(function(g) g:spawn(function() await(sleep(9)) end) end) end,
      function() await(go(function() await(sleep(9)) end)) end,
      function() tasklets.Future.wait_any { sleep(5), tasklets.Future() } end,
    }
    for _, wait in ipairs(waits) do
      local future = go(wait)
      eventloop.run0()
      future:cancel()
      go(function()
        pcall(tasklets.group, function(g)
          g:spawn(wait)
          await(sleep(0.1))
          error("fails")
        end)
      end)
      eventloop.run()
    end
    permit:release()
    for _, wait in ipairs(waits) do
      go(wait) -- dropped
    end
    eventloop.run()
    queue:complete()
    assert.is_true(support.time() < 1000)
    for _ = 1, 3 do
      collectgarbage()
      eventloop.run()
    end
    support.reports()
  end)
end)
