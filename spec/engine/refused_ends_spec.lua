-- refused_ends_spec.lua: what becomes of a claim whose end the store will never take: here because a trigger of the
-- user's, in the same file, forbids the change.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"
local taskqueue = require "pipeline.taskqueue"

local Queue, TaskRetryOptions = taskqueue.Queue, taskqueue.TaskRetryOptions

describe("the end of a claim that the store refuses", function()
  local engine, runs

  before_each(function()
    engine = helper.open()
    runs = 0
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function forbid(event)
    sql.run(engine, ("CREATE TRIGGER forbid BEFORE %s BEGIN SELECT RAISE(ABORT, 'not today'); END;"):format(event))
  end

  local function allow()
    sql.run(engine, "DROP TRIGGER forbid;")
  end

  local function claimed()
    return sql.number(engine, "SELECT count(*) FROM pl_task WHERE state = 2;")
  end

  deferred.register("refused.call", function() runs = runs + 1 end)

  local function defer(limit)
    return deferred.with { name = "n", retry_options = TaskRetryOptions { task_retry_limit = limit,
      min_backoff_seconds = 100, max_backoff_seconds = 100 } }("refused.call")
  end

  it("of a deferred call is a failed try, which is made again", function()
    defer(5)
    forbid "UPDATE ON pl_task_name"
    engine:drain()
    assert.equal(1, runs)
    assert.equal(0, claimed())
    allow()
    engine:drain { delayed = true }
    assert.equal(2, runs)
    assert.equal(0, Queue():fetch_statistics().tasks)
    assert.truthy(table.concat(helper.log(40), "\n"):find("not today", 1, true))
  end)

  it("of a deferred call counts: the last one goes to the dead letters", function()
    deferred.with { retry_options = TaskRetryOptions { task_retry_limit = 1 } }("refused.call", ("x"):rep(5000))
    forbid "DELETE ON pl_task_detail"
    engine:drain { delayed = true }
    local dead = Queue():dead_tasks()
    assert.equal(1, #dead)
    assert.equal("StoreError", dead[1].error_class)
    assert.truthy(dead[1].message:find("not today", 1, true))
    assert.equal(2, runs)
    allow()
  end)

  it("of deferred calls that ended together is that of the one at fault alone", function()
    for _ = 1, 20 do deferred.defer("refused.call") end
    local at_fault = sql.number(engine, "SELECT id FROM pl_task ORDER BY id LIMIT 1 OFFSET 7;")
    forbid(("DELETE ON pl_task WHEN old.id = %d"):format(at_fault))
    engine:drain()
    assert.equal(20, runs)
    assert.equal(0, claimed())
    assert.same({ 1 }, { sql.number(engine, "SELECT count(*) FROM pl_task;") })
    allow()
    engine:drain { delayed = true }
    assert.equal(21, runs)
    assert.equal(0, Queue():fetch_statistics().tasks)
  end)

  it("of a run is a failed attempt with that error", function()
    local Class = helper.define { max_attempts = 3, run = function()
      runs = runs + 1
      return 7
    end }
    local stage = Class():start()
    forbid "UPDATE OF result ON pl_stage"
    engine:drain()
    assert.equal(1, runs)
    assert.equal(0, claimed())
    assert.truthy(helper.entry(stage).lastRetryMessage:find("not today", 1, true))
    local told = ("run of %s failed, attempt 1: StoreError: "):format(stage.id)
    assert.truthy(table.concat(helper.log(30), "\n"):find(told, 1, true))
    allow()
    engine:drain { delayed = true }
    assert.equal(7, engine:wait(stage, { timeout = 0 }).default.value)
    assert.equal(2, runs)
  end)

  it("of a run, each time, aborts the tree when the attempts are used up", function()
    local Class = helper.define { max_attempts = 2, run = function() runs = runs + 1 end }
    local stage = Class():start()
    forbid "UPDATE OF result ON pl_stage"
    engine:drain { delayed = true }
    allow()
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage, { timeout = 0 })
    assert.equal(2, runs)
    assert.truthy(problem.reason:find("^Aborting after 2 attempts. StoreError: .*not today"), problem.reason)
  end)

  it("of finalized() is made again", function()
    local Class = helper.define { run = function() return 1 end, finalized = function() runs = runs + 1 end }
    local stage = Class():start()
    forbid "UPDATE OF finalized ON pl_stage"
    engine:drain()
    assert.equal(1, runs)
    assert.equal(0, claimed())
    allow()
    engine:drain { delayed = true }
    assert.equal(2, runs)
    assert.equal(1, engine:wait(stage, { timeout = 0 }).default.value)
  end)

  it("and whose failure the store refuses as well is given back, and comes again after a while", function()
    local now = engine:now()
    defer(0)
    forbid "UPDATE ON pl_task_name" -- neither done nor dead: both put a tombstone for the name
    pcall(engine.drain, engine, { timeout = 3.2 })
    assert.is_true(runs >= 2 and runs <= 8, runs)
    assert.equal(0, claimed())
    allow()
    engine:drain()
    assert.equal(0, Queue():fetch_statistics().tasks)
    assert.is_true(engine:now() > now)
  end)
end)
