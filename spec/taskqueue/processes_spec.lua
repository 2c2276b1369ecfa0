-- processes_spec.lua: limits and leases across processes on one file, in real time: Q51, Q52, Q91, G65.

local support = require "spec.multi.support"
local taskqueue = require "pipeline.taskqueue"

local Queue, Task = taskqueue.Queue, taskqueue.Task

describe("several processes on one file", function()
  local scene
  before_each(function() scene = support.scene { lease_seconds = 2 } end)
  after_each(function() scene:close() end)

  local function add(count, queue)
    local names = {}
    for from = 1, count, 100 do
      local list = {}
      for i = from, math.min(from + 99, count) do
        names[i] = "task" .. i
        list[#list + 1] = Task { name = names[i], url = "/timed" }
      end
      Queue(queue):add(list)
    end
    return names
  end

  local function workers(count, role, ...)
    local pids = {}
    for i = 1, count do pids[i] = scene:spawn(role, { lease_seconds = 2 }, ...) end
    return pids
  end

  it("Q52 never execute more at once than the queue allows, and all that it allows", function()
    taskqueue.configure { narrow = { max_concurrent_requests = 4 } }
    workers(3, "push", 0.02)
    add(150, "narrow")
    assert(support.eventually(30, function() return #scene:read("end") >= 150 end), scene:printed())
    local events = {}
    for _, verb in ipairs { "begin", "end" } do
      for _, words in ipairs(scene:read(verb)) do
        events[#events + 1] = { at = tonumber(words[3]), change = verb == "begin" and 1 or -1 }
      end
    end
    table.sort(events, function(a, b) return a.at < b.at or (a.at == b.at and a.change < b.change) end)
    local running, most = 0, 0
    for _, event in ipairs(events) do
      running = running + event.change
      most = math.max(most, running)
    end
    assert.is_true(most <= 4, "at once: " .. most)
    assert.is_true(most >= 3, "at once: " .. most)
    assert.equal(150, #scene:read("begin"))
  end)

  it("Q51 keep to the rate together", function()
    taskqueue.configure { rated = { rate = "100/s", bucket_size = 5 } }
    workers(3, "push", 0)
    local from = support.now()
    add(305, "rated")
    assert(support.eventually(30, function() return #scene:read("end") >= 305 end), scene:printed())
    local times = {}
    for i, words in ipairs(scene:read("begin")) do times[i] = tonumber(words[3]) end
    table.sort(times)
    assert.equal(305, #times)
    local seconds = times[305] - times[1]
    assert.is_true(seconds >= 3 * 0.98, ("305 tasks in %.3f s"):format(seconds))
    assert.is_true(seconds <= 3 * 2, -- a machine under load lets tokens overflow
      ("305 tasks in %.3f s"):format(seconds))
    assert.is_true(support.now() - from < 20)
  end)

  it("Q97 lose no lease when a process is killed, and hand nothing to two", function()
    taskqueue.configure { pull = { mode = "pull" } }
    local list = {}
    for i = 1, 60 do list[i] = Task { name = "p" .. i, method = "PULL", payload = "x" } end
    Queue("pull"):add(list)
    local doomed = scene:spawn("lease", { lease_seconds = 2 }, "pull", 1)
    scene:wait_line("leased", doomed, 6)
    scene.group:kill(doomed)
    workers(2, "lease", "pull")
    assert(support.eventually(20, function() return #scene:read("deleted") >= 60 end), scene:printed())
    local deleted = {}
    for _, words in ipairs(scene:read("deleted")) do deleted[words[2]] = (deleted[words[2]] or 0) + 1 end
    for i = 1, 60 do assert.equal(1, deleted["p" .. i]) end
    assert.equal(0, Queue("pull"):fetch_statistics().tasks)
  end)
end)
