-- many_queues_spec.lua: tens of thousands of queues: what they cost, and that none of them is forgotten.

local core = require "pipeline.core"
local deferred = require "pipeline.deferred"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local ran = {}
deferred.register("many.call", function(name) ran[#ran + 1] = name end)

describe("many queues", function()
  before_each(function() ran = {} end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function settings(n)
    local queues = {}
    for i = 1, n do queues["queue-" .. i] = { rate = "1000/s", bucket_size = 100, max_concurrent_requests = 3 } end
    return queues
  end

  local function seconds(fn, ...)
    local started = core.now()
    fn(...)
    return core.now() - started
  end

  it("are configured in time that grows with their number, not with its square", function()
    helper.open()
    local first = seconds(taskqueue.configure, settings(1000))
    local all = seconds(taskqueue.configure, settings(20000))
    local again = seconds(taskqueue.configure, settings(20000))
    local bound = math.max(20 * first * 6, 6)
    assert(all < bound and again < bound, ("1,000: %.2f s, 20,000: %.2f s, again: %.2f s"):format(first, all, again))
    assert.equal(20000, #taskqueue.QueueStatistics.fetch((function()
      local list = {}
      for i = 1, 20000 do list[i] = taskqueue.Queue("queue-" .. i) end
      return list
    end)()))
  end)

  for _, n in ipairs { 5, 32, 33, 200 } do
    it(("have each their share: %d of them"):format(n), function()
      local engine = helper.open { concurrency = 4 }
      taskqueue.configure(settings(n))
      for i = 1, n do
        for _ = 1, i == 1 and 300 or 2 do
          deferred.with { queue = "queue-" .. i } ("many.call", i)
        end
      end
      engine:drain { delayed = true }
      assert.equal(300 + 2 * (n - 1), #ran)
      local seen, last = {}, 0
      for at, name in ipairs(ran) do
        seen[name] = (seen[name] or 0) + 1
        if name ~= 1 then last = at end
      end
      assert.equal(300, seen[1])
      for i = 2, n do assert.equal(2, seen[i]) end
      assert(n == 200 or last < 300, "the others waited for the long queue, until " .. last)
    end)
  end

  it("that are paused or limited keep nobody else waiting", function()
    local engine = helper.open()
    local queues = settings(100)
    for i = 1, 50 do queues["queue-" .. i] = i % 2 == 0 and { paused = true } or { rate = "1/d", bucket_size = 1 } end
    taskqueue.configure(queues)
    for i = 1, 100 do
      for _ = 1, 2 do deferred.with { queue = "queue-" .. i } ("many.call", i) end
    end
    engine:drain()
    assert.equal(50 + 100, #ran)
    taskqueue.Queue("queue-2"):resume()
    engine:drain()
    assert.equal(50 + 102, #ran)
  end)
end)
