-- pull_spec.lua: leases, and deleting: Q92 to Q112.

local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local Queue, Task = taskqueue.Queue, taskqueue.Task

describe("a pull queue", function()
  local engine, queue
  before_each(function()
    engine = helper.open { queues = { pull = { mode = "pull" }, limited = { mode = "pull", retry_parameters = {
      task_retry_limit = 2 } } } }
    queue = Queue("pull")
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function add(given)
    given.method, given.payload = "PULL", given.payload or ""
    return queue:add(Task(given))
  end

  local function names(tasks)
    local list = {}
    for i, task in ipairs(tasks) do list[i] = task.name end
    return table.concat(list, " ")
  end

  it("Q92 Q93 leases tasks whose eta has passed, earliest first", function()
    local now = engine:now()
    add { name = "third" }
    add { name = "second", countdown = -1 }
    add { name = "first", countdown = -2, payload = "bytes\0", tag = "t" }
    add { name = "later", countdown = 10 }
    assert.equal("first second", names(queue:lease_tasks(60, 10)))
    engine:advance(0.5)
    local list = queue:lease_tasks(60, 10)
    assert.equal("third", names(list))
    engine:advance(61)
    local task = queue:lease_tasks(30, 1)[1]
    assert.equal("later", task.name)
    task = queue:lease_tasks(30, 2)[2]
    assert.same({ "first", "pull", "bytes\0", "PULL", 2, "t", true, false },
      { task.name, task.queue_name, task.payload, task.method, task.retry_count, task.tag, task.was_enqueued,
        task.was_deleted })
    assert.is_nil(task.url)
    assert.near(now + 91.5, task.eta, 1e-6)
  end)

  it("is not for the engines", function()
    add { name = "a" }
    engine:drain { delayed = true }
    engine:advance(1)
    assert.equal(1, #queue:lease_tasks(1, 1))
  end)

  it("Q94 Q106 leases for 0 to 604,800 seconds", function()
    add { name = "a" }
    engine:advance(1)
    for _, seconds in ipairs { -1, 604801, 0 / 0 } do
      helper.raises(taskqueue.InvalidLeaseTimeError, queue.lease_tasks, queue, seconds, 1)
    end
    helper.misuse("bad argument #1 to 'lease_tasks'", queue.lease_tasks, queue, "60", 1)
    local task = queue:lease_tasks(604800, 1)[1]
    for _, seconds in ipairs { -1, 604801 } do
      helper.raises(taskqueue.InvalidLeaseTimeError, queue.modify_task_lease, queue, task, seconds)
    end
    helper.misuse("bad argument #2 to 'modify_task_lease'", queue.modify_task_lease, queue, task, "1")
    helper.misuse("bad argument #1 to 'modify_task_lease'", queue.modify_task_lease, queue, "a", 1)
  end)

  it("Q95 leases 1 to 1000 tasks", function()
    for _, max in ipairs { 0, -1, 1001, 1.5 } do
      helper.raises(taskqueue.InvalidMaxTasksError, queue.lease_tasks, queue, 1, max)
    end
    helper.misuse("bad argument #2 to 'lease_tasks'", queue.lease_tasks, queue, 1, "1")
    for _ = 1, 10 do
      local list = {}
      for i = 1, 100 do list[i] = Task { method = "PULL", payload = tostring(i) } end
      queue:add(list)
    end
    engine:advance(1)
    assert.equal(1000, #queue:lease_tasks(60, 1000))
    assert.equal(1000, queue:fetch_statistics().in_flight)
  end)

  it("Q95 G68 leases thousands in one call where the engine was opened so", function()
    local path = helper.path()
    local wide = helper.open { path = path, max_tasks_per_lease = 5000, queues = { many = { mode = "pull" } } }
    wide:transaction(function()
      for from = 1, 3000, 100 do
        local list = {}
        for i = 1, 100 do list[i] = Task { method = "PULL", payload = tostring(from + i) } end
        Queue("many"):add(list)
      end
    end)
    wide:advance(1)
    wide:transaction(function()
      local many = Queue("many")
      helper.raises(taskqueue.InvalidMaxTasksError, many.lease_tasks, many, 1, 5001)
      assert.equal(3000, #many:lease_tasks(60, 5000))
    end)
  end)

  it("Q96 is no push queue", function()
    local default = Queue()
    helper.raises(taskqueue.InvalidQueueModeError, default.lease_tasks, default, 1, 1)
    helper.raises(taskqueue.InvalidQueueModeError, default.modify_task_lease, default, add { name = "a" }, 1)
  end)

  it("Q97 leases a task again when its lease is over", function()
    add { name = "a" }
    engine:advance(1)
    assert.equal(1, #queue:lease_tasks(10, 1))
    assert.equal(0, #queue:lease_tasks(10, 1))
    engine:advance(10.001)
    assert.equal(2, queue:lease_tasks(10, 1)[1].retry_count)
  end)

  it("Q98 Q99 Q100 G59 keeps to retry limits, of the queue and of the task", function()
    queue = Queue("limited")
    add { name = "queue" }
    add { name = "task", retry_options = { task_retry_limit = 3 } }
    add { name = "aged", retry_options = { task_retry_limit = 1, task_age_limit = 100 } }
    local leased = {}
    for i = 1, 5 do
      engine:advance(i == 5 and 200 or 10)
      leased[i] = names(queue:lease_tasks(5, 10))
    end
    assert.same({ "queue task aged", "queue task aged", "task aged", "aged", "" }, leased)
    assert.equal(3, #queue:dead_tasks())
    assert.equal(0, queue:fetch_statistics().tasks)
  end)

  it("Q101 Q102 Q103 leases by tag", function()
    add { name = "a", tag = "eu" }
    add { name = "b", countdown = -1 }
    for i = 1, 3 do add { name = "eu" .. i, tag = "eu", countdown = -0.5 } end
    add { name = "c" }
    engine:advance(1)
    assert.equal("", names(queue:lease_tasks_by_tag(60, 10, "us")))
    assert.equal("b c", names(queue:lease_tasks_by_tag(60, 2)))
    assert.equal("eu1 eu2", names(queue:lease_tasks_by_tag(60, 2)))
    assert.equal("eu3 a", names(queue:lease_tasks_by_tag(60, 10, "eu")))
    engine:advance(100)
    assert.equal(2, #queue:lease_tasks_by_tag(60, 10, ""))
    helper.misuse("bad argument #3", queue.lease_tasks_by_tag, queue, 60, 10, 7)
  end)

  it("Q104 moves the end of a lease", function()
    add { name = "a" }
    engine:advance(1)
    local task = queue:lease_tasks(10, 1)[1]
    engine:advance(5)
    assert.equal(task, queue:modify_task_lease(task, 20))
    assert.near(engine:now() + 20, task.eta, 1e-6)
    assert.equal(1, task.retry_count)
    engine:advance(19)
    assert.equal(0, #queue:lease_tasks(1, 1))
    queue:modify_task_lease(task, 0)
    engine:advance(0.001)
    assert.equal(2, queue:lease_tasks(1, 1)[1].retry_count)
  end)

  it("Q105 G70 only for the holder of a live lease", function()
    local function modify(task) return pcall(queue.modify_task_lease, queue, task, 5) end
    add { name = "a" }
    engine:advance(1)
    local task = queue:lease_tasks(10, 1)[1]
    queue:pause()
    helper.raises(taskqueue.QueuePausedError, queue.modify_task_lease, queue, task, 5)
    queue:resume()
    engine:advance(10)
    helper.raises(taskqueue.TaskLeaseExpiredError, queue.modify_task_lease, queue, task, 5)
    engine:advance(1)
    local second = queue:lease_tasks(10, 1)[1]
    helper.raises(taskqueue.TaskLeaseExpiredError, queue.modify_task_lease, queue, task, 5)
    assert.is_true((modify(second)))
    queue:delete_tasks(task) -- only the name counts, although the lease is over
    assert.is_true(task.was_deleted)
    helper.raises(taskqueue.TombstonedTaskError, queue.modify_task_lease, queue, second, 5)
    helper.raises(taskqueue.UnknownTaskError, queue.modify_task_lease, queue,
      Task { method = "PULL", payload = "", name = "never" }, 5)
  end)

  it("Q107 deletes what is there, and tells", function()
    local list = { add { name = "a" }, add {}, Task { name = "nobody" } }
    assert.equal(list, queue:delete_tasks(list))
    assert.same({ true, true, false }, { list[1].was_deleted, list[2].was_deleted, list[3].was_deleted })
    local again = Task { name = "a" }
    assert.equal(again, queue:delete_tasks(again))
    assert.is_false(again.was_deleted)
    assert.equal(0, queue:fetch_statistics().tasks)
  end)

  it("Q108 refuses what cannot be deleted before anything is sent", function()
    local a = add { name = "a" }
    helper.raises(taskqueue.BadTaskStateError, queue.delete_tasks, queue, { a, Task() })
    helper.raises(taskqueue.DuplicateTaskNameError, queue.delete_tasks, queue, { a, Task { name = "a" } })
    assert.equal(1, queue:fetch_statistics().tasks)
    queue:delete_tasks(a)
    helper.raises(taskqueue.BadTaskStateError, queue.delete_tasks, queue, a)
    helper.misuse("task or list of tasks", queue.delete_tasks, queue, "a")
  end)

  it("Q110 Q111 deletes by name, in push queues too", function()
    add { name = "a" }
    add { name = "b" }
    local unnamed = add {}
    local task = queue:delete_tasks_by_name("a")
    assert.same({ "a", true }, { task.name, task.was_deleted })
    local list = queue:delete_tasks_by_name { "b", "c", unnamed.name }
    assert.same({ true, false, true }, { list[1].was_deleted, list[2].was_deleted, list[3].was_deleted })
    Queue():add(Task { name = "p", countdown = 10 })
    assert.is_true(Queue():delete_tasks_by_name("p").was_deleted)
    engine:drain { delayed = true }
  end)

  it("Q112 G63 purges, and keeps the names or frees them", function()
    add { name = "a" }
    add {}
    assert.equal(2, queue:purge())
    assert.equal(0, queue:fetch_statistics().tasks)
    helper.raises(taskqueue.TombstonedTaskError, add, { name = "a" })
    add { name = "b" }
    assert.equal(1, queue:purge { keep_names = false })
    add { name = "a" }
    add { name = "b" }
  end)

  it("a paused queue leases nothing", function()
    add { name = "a" }
    engine:advance(1)
    queue:pause()
    assert.equal(0, #queue:lease_tasks(1, 1))
    queue:resume()
    assert.equal(1, #queue:lease_tasks(1, 1))
  end)
end)
