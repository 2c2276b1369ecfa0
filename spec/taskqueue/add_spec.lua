-- add_spec.lua: adding tasks, alone, in lists and inside runs: Q54 to Q76.

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local Queue, Task = taskqueue.Queue, taskqueue.Task

describe("adding", function()
  local engine, queue
  before_each(function()
    engine = helper.open { queues = { work = {}, pull = { mode = "pull" } } }
    engine:route("*", "/note", function() end)
    queue = Queue("work")
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function add(tasks, given)
    return queue:add(tasks, given)
  end

  it("Q54 gives the task its queue and a name", function()
    local task = Task { url = "/note" }
    assert.equal(task, queue:add(task))
    assert.is_true(task.was_enqueued)
    assert.equal("work", task.queue_name)
    assert.truthy(task.name:find("^[%w_-]+$"))
    assert.equal("mine", queue:add(Task { name = "mine" }).name)
  end)

  it("Q55 of a list gives the list", function()
    local list = { Task(), Task() }
    assert.equal(list, queue:add(list))
    assert.same({}, queue:add {})
    assert.same({}, queue:add(nil))
    local one = { Task() }
    assert.equal(one, queue:add(one))
    helper.misuse("task expected at %[1%]", add, { "x" })
    for _, wrong in ipairs { { url = "/note" }, { Task(), name = "x" }, { [2] = Task() }, queue, print, 7 } do
      for _, method in ipairs { "add", "delete_tasks", "revive", "purge_dead" } do -- none passes for an empty list
        helper.misuse("task or list of tasks expected", queue[method], queue, wrong)
      end
    end
    for _, wrong in ipairs { { name = "a" }, { "a", x = "b" }, 7 } do
      helper.misuse("name or list of names expected", queue.delete_tasks_by_name, queue, wrong)
      helper.misuse("list of either expected", taskqueue.QueueStatistics.fetch, wrong)
    end
    helper.misuse("name expected at %[1%]", queue.delete_tasks_by_name, queue, { 7 })
    helper.misuse("unknown option", add, Task(), { transaction = true })
    helper.misuse("a queue expected %(add is called with a colon%)", queue.add, Task()) -- not lost without a word
  end)

  it("Q56 G68 takes as many at once as the engine says, in one commit", function()
    engine:close()
    engine = helper.open { max_tasks_per_add = 1000 }
    local list, wide = {}, taskqueue.Queue("wide")
    for i = 1, 1001 do list[i] = Task { url = "/", payload = "p" .. i } end
    helper.raises(taskqueue.TooManyTasksError, wide.add, wide, list)
    list[1001] = nil
    taskqueue.configure { wide = {}, pulled = { mode = "pull" } }
    local before = engine._core:facts().commits
    assert.equal(list, wide:add(list))
    assert.equal(before + 1, engine._core:facts().commits)
    assert.equal(1000, wide:fetch_statistics().tasks)
    local names = {}
    for _, task in ipairs(list) do
      assert.is_true(task.was_enqueued)
      names[task.name] = true
    end
    local count = 0
    for _ in pairs(names) do count = count + 1 end
    assert.equal(1000, count)
    helper.raises(taskqueue.BadTaskStateError, wide.add, wide, list)
    list = {}
    for i = 1, 3 do list[i] = Task { method = "PULL", payload = "q" .. i, tag = "t", priority = i } end
    local problem = helper.raises(taskqueue.InvalidQueueModeError, wide.add, wide, list)
    assert.same({ "EMODE", "EMODE", "EMODE" }, problem.results)
    assert.is_false(list[1].was_enqueued)
    taskqueue.Queue("pulled"):add(list)
    engine:advance(1)
    assert.equal("q2", taskqueue.Queue("pulled"):lease_tasks_by_tag(60, 10, "t")[2].payload)
    problem = helper.raises(taskqueue.UnknownQueueError, function() taskqueue.Queue("none"):add { Task(), Task() } end)
    assert.equal(2, #problem.results)
  end)

  it("a batch of the core is good for one call", function()
    local core = pipeline.default()._core
    local batch = core:batch()
    local id, name = batch:task_gather("default", "push", "x", nil, 1, nil, nil, nil, "task-")
    assert.same({ "integer", "task-" .. core:id_text(id) }, { math.type(id), name })
    assert.is_false(pcall(batch.task_gather, batch, "default", "nonsense", "x", nil, 1, nil, nil, nil, "task-"))
    assert.is_false(pcall(batch.task_gather, batch, "default", "push", 5, nil, 1, nil, nil, nil, "task-"))
    assert.is_false(pcall(batch.task_gather, batch, "default", "push", "x", nil, -1, nil, nil, nil, "task-"))
    assert.same({ "OK" }, batch:send())
    assert.same({ nil, "ESTATE" }, { (select(1, batch:send())), (select(2, batch:send())) })
    assert.equal("ESTATE", (select(2, batch:task_gather("default", "push", "x", nil, 1, nil, nil, nil, "task-"))))
    local left = core:batch()
    left:task_gather("default", "push", "x", nil, 1, nil, nil, nil, "task-")
    pipeline.default():close()
    assert.equal("ECLOSED", (select(2, left:send())))
  end)

  it("Q56 takes 100 at once", function()
    local list = {}
    for i = 1, 101 do list[i] = Task() end
    helper.raises(taskqueue.TooManyTasksError, add, list)
    assert.equal(0, queue:fetch_statistics().tasks)
    list[101] = nil
    queue:add(list)
    assert.equal(100, queue:fetch_statistics().tasks)
  end)

  it("Q57 Q58 Q59 refuses doubles, what was added, and mixtures before anything is sent", function()
    helper.raises(taskqueue.DuplicateTaskNameError, add, { Task { name = "a" }, Task { name = "a" } })
    local task = queue:add(Task())
    helper.raises(taskqueue.BadTaskStateError, add, task)
    helper.raises(taskqueue.BadTaskStateError, add, { Task(), task })
    helper.raises(taskqueue.InvalidTaskError, add, { Task(), Task { method = "PULL", payload = "" } })
    assert.equal(1, queue:fetch_statistics().tasks)
  end)

  it("Q60 needs a queue of the mode", function()
    local pull = Queue("pull")
    helper.raises(taskqueue.InvalidQueueModeError, pull.add, pull, Task())
    helper.raises(taskqueue.InvalidQueueModeError, add, Task { method = "PULL", payload = "" })
  end)

  it("Q61 G43 needs a name that is free in its queue, or whose tombstone has expired", function()
    queue:add(Task { name = "once", url = "/note" })
    helper.raises(taskqueue.TaskAlreadyExistsError, add, Task { name = "once" })
    Queue():add(Task { name = "once", url = "/note" })
    engine:drain()
    helper.raises(taskqueue.TombstonedTaskError, add, Task { name = "once" })
    engine:advance(9 * 86400 + 1)
    queue:add(Task { name = "once", url = "/note" })
  end)

  it("Q61 Q65 G64 chosen names are unique, and nobody else can take them", function()
    local chosen = queue:add(Task { url = "/note" }).name
    helper.raises(taskqueue.TaskAlreadyExistsError, add, Task { name = chosen })
    engine:drain()
    helper.raises(taskqueue.TombstonedTaskError, add, Task { name = chosen })
    local failed = Task { name = "x" }
    queue:add(Task { name = "x" })
    pcall(add, failed)
    assert.same({ "x", false }, { failed.name, failed.was_enqueued })
  end)

  it("Q62 Q63 G14 G69 L11 each task of a list stands alone", function()
    queue:add(Task { name = "a", countdown = 100 })
    queue:add(Task { name = "b", url = "/note" })
    engine:drain()
    local list = { Task { name = "a" }, Task { name = "c" }, Task { name = "b" } }
    local problem = helper.raises(taskqueue.TombstonedTaskError, add, list)
    assert.same({ "EEXISTS", "OK", "ETOMBSTONE" }, problem.results)
    assert.same({ false, true, false }, { list[1].was_enqueued, list[2].was_enqueued, list[3].was_enqueued })
    helper.raises(taskqueue.TaskAlreadyExistsError, add, { Task { name = "b" }, Task { name = "a" } })
  end)

  it("Q64 adds none when the queue is wrong", function()
    local list = { Task(), Task() }
    helper.raises(taskqueue.UnknownQueueError, Queue("nowhere").add, Queue("nowhere"), list)
    assert.same({ false, false }, { list[1].was_enqueued, list[2].was_enqueued })
  end)

  it("Q67 is make and add in one", function()
    local task = taskqueue.add { url = "/note", params = { a = 1 }, queue_name = "work", name = "n" }
    assert.same({ "n", "work", true, "a=1" }, { task.name, task.queue_name, task.was_enqueued, task.payload })
    assert.equal("default", taskqueue.add().queue_name)
    assert.equal("work", Task():add("work").queue_name)
    helper.misuse("unknown option 'queue'", taskqueue.add, { queue = "work" })
    helper.misuse("bad argument #1 to 'add'", taskqueue.add, "x")
  end)

  it("Q70 is transactional only inside a transaction", function()
    helper.raises(taskqueue.BadTransactionStateError, add, Task(), { transactional = true })
  end)

  it("of a task takes the queue and the options in one table, too", function()
    queue:pause()
    local attempts = 0
    local Adds = helper.define(function()
      attempts = attempts + 1
      assert(Task { name = "once" }:add { queue_name = queue.name, transactional = true }.was_enqueued)
      Task { name = "again" .. attempts }:add_async({ queue_name = queue.name }):get_result()
      if attempts == 1 then error("rolled back") end
    end)
    helper.outputs(Adds())
    assert.same({ 2, 3 }, { attempts, queue:fetch_statistics().tasks })
    helper.misuse("unknown option 'queue'", function() Task():add { queue = "work" } end)
    helper.misuse("bad argument #2 to 'add'", function() Task():add("work", "x") end)
  end)

  it("of a name that an earlier attempt of the run has taken says so, and the remedy", function()
    queue:pause()
    local Adds = helper.define { max_attempts = 2, run = function()
      queue:add(Task { name = "mine" })
      error("no")
    end }
    assert.matches("TaskAlreadyExistsError.*an earlier attempt of this run has added it: with transactional = true",
      helper.aborted(Adds()).reason)
    local problem = helper.raises(taskqueue.TaskAlreadyExistsError, queue.add, queue, Task { name = "mine" })
    assert.is_nil(problem.message:find("earlier", 1, true))
  end)

  it("Q71 Q73 Q76 G68 commits with the run, under a name, as many as wanted", function()
    local seen, attempts = {}, 0
    local Adds = helper.define(function()
      attempts = attempts + 1
      for i = 1, 20 do
        local task = queue:add(Task { name = "t" .. i, url = "/note" }, { transactional = true })
        seen[i] = task.was_enqueued and task.name
      end
      assert(queue:fetch_statistics().tasks == 0)
      if attempts == 1 then error("rolled back") end
    end)
    queue:pause()
    Adds():start()
    engine:drain { delayed = true }
    assert.same({ 2, 20, "t20" }, { attempts, queue:fetch_statistics().tasks, seen[20] })
  end)

  it("Q75 G36 commits with the run, whatever its tasks weigh together", function()
    queue:pause()
    local Adds = helper.define(function()
      for _ = 1, 20 do
        queue:add(Task { url = "/note", payload = ("x"):rep(100000) }, { transactional = true })
      end
    end)
    helper.outputs(Adds())
    assert.equal(20, queue:fetch_statistics().tasks)
  end)

  it("Q72 inside a run, but not transactional: added at once, whatever becomes of the run", function()
    queue:pause()
    local Adds = helper.define { max_attempts = 1, run = function()
      queue:add(Task { name = "survivor" })
      error("no")
    end }
    Adds():start()
    engine:drain()
    assert.equal(1, queue:fetch_statistics().tasks)
  end)

  it("Q74 all or none: a transactional task that cannot be added fails the attempt", function()
    queue:pause()
    queue:add(Task { name = "taken" })
    local Adds = helper.define { max_attempts = 1, run = function()
      queue:add({ Task { name = "free" }, Task { name = "taken" } }, { transactional = true })
    end }
    local problem = helper.aborted(Adds())
    assert.truthy(problem.reason:find("TaskAlreadyExistsError", 1, true))
    assert.equal(1, queue:fetch_statistics().tasks)
    assert.is_true(pipeline.is(problem, pipeline.AbortedError))
  end)
end)
