-- The checker of files itself: it finds nothing in a sound file and every kind of damage in a damaged one.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"
local check = require "spec.crash.check"
local rows = require "spec.crash.rows"
local helper = require "spec.support.helper"

describe("the checker", function()
  local engine, path

  local Leaf = pipeline.define("check.Leaf", { run = function(_, value) return value end })
  local Async = pipeline.define("check.Async", {
    async = true,
    run = function(self) self:get_callback_task({ name = "answer", countdown = 100 }):add() end,
    callback = function(self) self:complete(1) end,
  })
  local Tree = pipeline.define("check.Tree", {
    run = function(self)
      local answer, leaf = self:spawn(Async()), self:spawn(Leaf(1))
      self:spawn(Leaf(leaf))
      return self:spawn(Leaf(answer))
    end,
  })

  before_each(function()
    path = helper.path()
    engine = helper.open { path = path }
    Tree():start()
    Leaf(("long"):rep(1000)):start()
    Leaf(2):start { countdown = 50 }
    engine:drain()
    engine:close()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  -- Rows of the user's own, as the crash run has them.
  describe("of rows", function()
    local given = { more = { rows.always, rows.finished } }

    before_each(function()
      engine = helper.open { path = path }
      taskqueue.configure { orders = {} }
      rows.create(engine)
      local function add(name)
        taskqueue.add { name = name, url = "/item", params = { key = name }, queue_name = "orders" }
      end
      rows.sell(engine, "o1", 2, add)
      assert.is_false((pcall(rows.sell, engine, "o2", 3, add, function() error "undone" end)))
      engine:route("POST", "/item", function(request) rows.done(engine, request.params.key) end)
      engine:drain()
      rows.sell(engine, "o1", 2, add) -- is there
      rows.sell(engine, "o3", 1, add)
      engine:close()
    end)

    it("finds nothing in a sound file, but what is left to do", function()
      assert.same({ "4" }, check.sql(path, rows.count_tables))
      assert.same({ "o1|2", "o3|1" }, check.sql(path, "SELECT key, items FROM crash_order ORDER BY 1;"))
      assert.same({}, (check.file(path, { more = { rows.always } })))
      assert.same({ "an item that was not done: o3-1" }, (check.file(path, given)))
    end)

    local damages = {
      { "DELETE FROM crash_done WHERE key = 'o1-1'", "an item whose task is lost: o1-1" },
      { "DELETE FROM pl_task WHERE name = 'o3-1'", "an item whose task is lost: o3-1" },
      { "DELETE FROM crash_item WHERE key = 'o3-1'", "a task without its item: o3-1" },
      { "DELETE FROM crash_item WHERE key = 'o1-1'", "an order that was cut: o1" },
      { "DELETE FROM crash_item WHERE key = 'o1-1'", "something done for an item that is not there: o1-1" },
      { "DELETE FROM crash_order WHERE key = 'o1'", "an item without its order: o1-1" },
      { "INSERT INTO crash_flow VALUES ('k1', 2), ('k1', 2)",
        "something that a durable function has booked twice: k1 2" },
    }
    for _, case in ipairs(damages) do
      it("finds: " .. case[1] .. ": " .. case[2], function()
        check.sql(path, case[1] .. ";")
        local found = table.concat(check.file(path, given), "\n")
        assert(found:find(case[2], 1, true), ("'%s' was not found by: %s"):format(case[2], found))
      end)
    end
  end)

  local function damaged(sql, title, given)
    check.sql(path, "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;" .. sql)
    local found = table.concat(check.file(path, given), "\n")
    assert(found:find(title, 1, true), ("'%s' was not found by: %s"):format(title, found))
  end

  it("finds nothing in a sound file", function()
    assert.same({}, (check.file(path)))
    assert(#check.file(path, { finished = true }) > 0)
    engine = helper.open { path = path }
    engine:drain { delayed = true }
    engine:close()
    local found, stages = check.file(path, { finished = true })
    assert.same({}, found)
    assert.equal(7, stages)
  end)

  local cases = {
    { "UPDATE pl_task SET state = 2, owner = 77 WHERE kind = 3", "a claim without an owner" },
    { "DELETE FROM pl_task WHERE kind = 0", "a stage without its task" },
    { "DELETE FROM pl_task WHERE kind = 3", "a name taken by no task" },
    { "DELETE FROM pl_task_name", "a task whose name is not taken" },
    { "UPDATE pl_task SET kind = 1 WHERE kind = 0", "a task that does not fit the state of its stage" },
    { "UPDATE pl_stage SET missing = 2 WHERE state = 0", "missing is not the number of unfilled inputs" },
    { "DELETE FROM pl_wait WHERE kind = 0", "a stage that waits for nothing" },
    { "UPDATE pl_stage SET open = open + 1 WHERE state = 2", "open is not the number" },
    { "DELETE FROM pl_wait WHERE kind = 1", "open is not the number" },
    { "DELETE FROM pl_slot", "unfilled outputs" },
    { "UPDATE pl_stage SET result = NULL", "unfilled outputs" },
    { "UPDATE pl_stage SET result = x'01' WHERE waiter = -1", "a value of a stage that is not done" },
    { "UPDATE pl_stage SET waiter = NULL", "a wait that the stage it waits for does not know" },
    { "INSERT OR IGNORE INTO pl_slot SELECT slot, stage, 1, x'01' FROM pl_wait", "a wait for a filled slot" },
    { "UPDATE pl_stage SET state = 4, missing = 0, finalized = 1 WHERE state = 0", "still waits for an input" },
    { "UPDATE pl_stage SET abort_requested = 1 WHERE parent IS NULL", "to be aborted with a stage that goes on" },
    { "UPDATE pl_stage SET state = 6 WHERE state = 4", "an aborted stage of a tree that was not told to abort" },
    { "DELETE FROM pl_stage WHERE parent IS NULL", "foreign key" },
    { "UPDATE pl_slot SET filler = 5", "a value without the stage that filled it" },
  }
  for _, case in ipairs(cases) do
    it("finds: " .. case[1], function() damaged(case[1] .. ";", case[2]) end)
  end

  -- ---- schedules -------------------------------------------------------------------------------------------------

  deferred.register("check.nothing", function() end)

  describe("of schedules", function()
    before_each(function()
      engine = helper.open { path = path }
      schedules.create("waits", { every = 1, overlap = "buffer_all", start = Async() })
      schedules.create("calls", { every = 1, overlap = "skip", call = { "check.nothing" } })
      schedules.create("later", { every = 1, overlap = "buffer_all",
        task = taskqueue.Task { url = "/x", countdown = 100 } })
      engine:advance(3)
      schedules.get("calls"):trigger()
      engine:close()
    end)

    it("finds nothing in a sound file, but what is left to do", function()
      assert.same({}, (check.file(path)))
      assert.same({ "calls|3|1", "later|3|0", "waits|3|0" },
        check.sql(path, "SELECT name, fired, triggered FROM pl_schedule ORDER BY 1;"))
      assert.same({ "0|4", "1|3", "2|3" }, check.sql(path, "SELECT state, count(*) FROM pl_fire GROUP BY 1;"))
      local found = table.concat(check.file(path, { finished = true }), "\n")
      assert.truthy(found:find("a fire that is not over", 1, true), found)
    end)

    local damages = {
      { "UPDATE pl_fire SET nominal = (SELECT min(nominal) FROM pl_fire)", "two fires of a schedule for one time" },
      { "UPDATE pl_fire SET nominal = nominal + 1e9 WHERE state = 2",
        "a fire for a time that its schedule has not come to" },
      { "UPDATE pl_stage SET state = 6 WHERE id IN (SELECT target FROM pl_fire)",
        "a fire under way whose root is final, or gone" },
      { "DELETE FROM pl_stage WHERE id IN (SELECT target FROM pl_fire WHERE state = 0)",
        "a fire under way whose root is final, or gone" },
      { "DELETE FROM pl_task WHERE id IN (SELECT target FROM pl_fire)",
        "a fire under way whose task is dead, or gone" },
      { "UPDATE pl_fire SET state = 0 WHERE is_stage AND state = 1 AND schedule = (SELECT id FROM pl_schedule WHERE "
        .. "name = 'waits')", "a fire that is kept back for nobody" },
      { "UPDATE pl_fire SET state = 1 WHERE is_stage AND state = 0", "a stage without its task" },
      { "UPDATE pl_schedule SET fired = fired + 1 WHERE name = 'calls'",
        "calls has 3..3 1..1, skipped 0, 4 0 1 0 0 0" },
      { "UPDATE pl_schedule SET fired = 2, skipped = 1 WHERE name = 'waits'",
        "waits has 3..3, skipped 0, 2 0 0 0 0 1" },
      { "UPDATE pl_schedule SET dropped = 1 WHERE name = 'waits'", "waits has 3..3, skipped 0, 3 0 0 0 1 0" },
      { "UPDATE pl_schedule SET fired = 2, dropped = 1 WHERE name = 'calls'",
        "calls has 3..3 1..1, skipped 0, 2 0 1 0 1" },
      { "DELETE FROM pl_fire WHERE id = (SELECT max(id) FROM pl_fire)", "counts of a schedule that are not those" },
    }
    for _, case in ipairs(damages) do
      it("finds: " .. case[1], function() damaged(case[1] .. ";", case[2]) end)
    end
  end)

  -- ---- tasks of queues -----------------------------------------------------------------------------------------

  deferred.register("check.fails", function() error("as it should") end)

  describe("of queues", function()
    before_each(function()
      engine = helper.open { path = path }
      taskqueue.configure { pull = { mode = "pull" }, strict = { max_concurrent_requests = 1, rate = "5/s" } }
      local once = taskqueue.TaskRetryOptions { task_retry_limit = 1, min_backoff_seconds = 0.01 }
      deferred.with { retry_options = once, name = "dead" } ("check.missing")
      deferred.with { retry_options = once, name = "dying" } ("check.fails")
      engine:drain()
      engine._core:advance(1)
      engine:drain()
      deferred.with { countdown = 100, name = "later" } ("check.fails", ("x"):rep(5000))
      deferred.with { countdown = 100, queue = "strict" } ("check.fails")
      deferred.with { countdown = 100, queue = "strict" } ("check.fails")
      taskqueue.add { method = "PULL", payload = "p", queue_name = "pull", name = "later" }
      engine:close()
    end)

    it("finds nothing in a sound file", function()
      assert.same({}, (check.file(path, { limits = { strict = 1 } })))
      assert.same({ "2" }, check.sql(path, "SELECT count(*) FROM pl_task WHERE state = 4;"))
      assert.same({ "1" }, check.sql(path, "SELECT count(*) FROM pl_task_detail WHERE length(payload) > 1024;"))
    end)

    local damages = {
      { "DELETE FROM pl_task WHERE name = 'later' AND kind = 5", "a name taken by no task" },
      { "UPDATE pl_task SET name = 'later', queue = 1 WHERE kind = 5", "a name borne by two tasks" },
      { "UPDATE pl_task_name SET expires = 9e15 WHERE name = 'later'", "a task whose name is not taken" },
      { "UPDATE pl_task_name SET task = 5 WHERE name = 'later'", "a name of another task" },
      { "UPDATE pl_task_name SET expires = NULL WHERE name = 'dying'", "a name taken by no task" },
      { "DELETE FROM pl_task WHERE flags & 1", "a large body of no task" },
      { "DELETE FROM pl_task_detail", "a task whose large body is missing" },
      { "UPDATE pl_task SET state = 0 WHERE state = 4", "a reason of no dead task" },
      { "DELETE FROM pl_dead", "a dead task without a reason" },
      { "UPDATE pl_task SET tries = 1 WHERE name = 'dying'", "a task that died before its tries were used up" },
      { "UPDATE pl_queue SET removed = 1", "a task of no queue" },
      { "UPDATE pl_task SET queue = 77", "a task of no queue" },
      { "UPDATE pl_queue SET mode = 'push'", "a task of a queue of the other mode" },
      { "UPDATE pl_queue SET tokens = -1", "a bucket that is emptier than empty" },
      { "UPDATE pl_task SET state = 2, owner = 1 WHERE queue = (SELECT id FROM pl_queue WHERE name = 'strict')",
        "queue strict: 2 claimed, more than 1" },
      { "UPDATE pl_task SET state = 2, owner = 77 WHERE kind = 6 AND state = 1", "a claim without an owner" },
    }
    for _, case in ipairs(damages) do
      it("finds: " .. case[1], function() damaged(case[1] .. ";", case[2], { limits = { strict = 1 } }) end)
    end
  end)
end)
