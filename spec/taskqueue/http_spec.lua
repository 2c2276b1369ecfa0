-- http_spec.lua: pushing over HTTP to another process, in real time: Q77, Q80 to Q82, limits as the target sees them.

local support = require "spec.multi.support"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

local Queue, Task = taskqueue.Queue, taskqueue.Task

local function can_fetch()
  local store <close> = require("pipeline.core").open(":memory:", { no_worker = true })
  return store.fetch ~= nil
end

describe("a push over HTTP", function()
  if not can_fetch() then return pending("needs a build that can send HTTP requests") end
  local scene, engine, port

  before_each(function()
    scene = support.scene()
    port = scene:wait_line("port", scene:spawn("start_target"))[2]
    engine = pipeline.open(scene.path, {
      log = function() end, concurrency = 200,
      targets = { default = "http://127.0.0.1:" .. port, gone = "http://127.0.0.1:1" },
      queues = { work = { retry_parameters = { task_retry_limit = 1, min_backoff_seconds = 0.01 } },
        ten = { max_concurrent_requests = 10 } },
    })
  end)
  after_each(function()
    engine:close()
    scene:close()
  end)

  local function push(given, queue_name)
    given.url = "/target"
    local task = Queue(queue_name or "work"):add(Task(given))
    engine:drain { delayed = true, timeout = 20 }
    return task
  end

  it("Q77 Q81 is signed, and done when the answer is 200 to 299", function()
    for answer, tries in pairs { ["200"] = 1, ["204"] = 1, ["302"] = 2, ["404"] = 2, ["500"] = 2, slow = 1,
      large = 1 } do
      push { params = { answer = answer } }
      local seen = {}
      for _, words in ipairs(scene:read("request")) do
        if words[3] == answer then seen[#seen + 1] = words end
      end
      assert.equal(tries, #seen, answer)
      assert.same({ "POST", "true", "0" }, { seen[1][2], seen[1][4], seen[1][6] })
    end
    local dead = Queue("work"):dead_tasks()
    assert.equal(3, #dead)
    assert.truthy(dead[1].status)
  end)

  it("carries bodies and queries of any method", function()
    push { method = "PUT", payload = ("x"):rep(90000), params = { answer = "200" } }
    push { method = "GET", params = { answer = "204" } }
    local requests = scene:read("request")
    assert.same({ "PUT", "90000", "GET", "0" }, { requests[1][2], requests[1][5], requests[2][2], requests[2][5] })
    assert.same({ "true", "true" }, { requests[1][4], requests[2][4] })
  end)

  it("Q80 goes to the target of the queue, else of the task", function()
    push { target = "v1" }
    assert.truthy(scene:read("request")[1][7]:find("^v1%."))
    push { target = "gone" }
    taskqueue.configure { work = { target = "gone", retry_parameters = { task_retry_limit = 0 } } }
    push {}
    push { target = "v1" } -- the queue's wins
    assert.equal(1, #scene:read("request"))
    assert.equal(3, #Queue("work"):dead_tasks())
  end)

  it("Q30 Q80 a target that is not configured leads to its module's, else to the default one, by its name", function()
    taskqueue.configure { work = { retry_parameters = { task_retry_limit = 0 } } }
    push { target = "v2.gone" }
    push { target = "i1.v2.gone" }
    assert.equal(2, #Queue("work"):dead_tasks())
    assert.equal(0, #scene:read("request"))
    push { target = "v2.nowhere" }
    assert.truthy(scene:read("request")[1][7]:find("^v2%.nowhere%."))
    engine._targets.v3 = engine._targets.gone
    push { target = "v3.nowhere" } -- a version is no module
    assert.equal(2, #scene:read("request"))
  end)

  it("Q82 fails without a status when nobody can be reached", function()
    push { target = "gone" }
    local dead = Queue("work"):dead_tasks()[1]
    assert.is_nil(dead.status)
    assert.equal(2, dead.retry_count)
  end)

  it("Q52 the target never sees more at once than the queue allows", function()
    for _ = 1, 10 do
      local list = {}
      for i = 1, 100 do list[i] = Task { url = "/target", params = { answer = "short" } } end
      Queue("ten"):add(list)
    end
    engine:drain { delayed = true, timeout = 60 }
    local most = 0
    for _, words in ipairs(scene:read("request")) do most = math.max(most, tonumber(words[8])) end
    assert.equal(1000, #scene:read("request"))
    assert.is_true(most <= 10 and most >= 8, "at once: " .. most)
  end)
end)
