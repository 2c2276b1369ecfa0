-- What is old goes by itself: trees, dead tasks, names (F120).

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local deferred = require "pipeline.deferred"
local functions = require "spec.deferred.functions"

local DAY = 86400
local BIG = ("z"):rep(200000)
local TABLES = { "pl_stage", "pl_stage_large", "pl_slot", "pl_wait", "pl_status", "pl_failure", "pl_deletion" }

describe("the sweep", function()
  local engine
  local Give = pipeline.define("retention.Give", { run = function(_, value) return value end })
  local Flaky = pipeline.define("retention.Flaky", {
    backoff_seconds = 1,
    run = function(self, value)
      self:set_status { message = "at it" }
      if self.current_attempt == 1 then error("not yet") end
      return value
    end,
  })
  local Tree = pipeline.define("retention.Tree", {
    output_names = { "x" },
    run = function(self, value)
      self:fill("x", ("y"):rep(100000))
      self:spawn(Flaky(value))
      return self:spawn(Give(value))
    end,
  })
  local Quits = pipeline.define("retention.Quits", { run = function(self) self:abort("no") end })
  local Waits = pipeline.define("retention.Waits", { async = true, run = function() end })

  after_each(helper.finish)
  teardown(helper.clean)

  local function open(options) engine = helper.open(options) end

  local function rows()
    local found = {}
    for _, name in ipairs(TABLES) do
      local count = sql.number(engine, "SELECT count(*) FROM " .. name)
      if count > 0 then found[name] = count end
    end
    return found
  end

  local function begun(stage, options)
    stage:start(options)
    engine:drain { delayed = true }
    return stage.id
  end

  local function is_there(id) return pipeline.from_id(id) ~= nil end

  it("F120 a done tree goes after 30 days, an aborted one after 90, one that lives never", function()
    open()
    local done, aborted, live = begun(Tree(1)), begun(Quits()), begun(Waits())
    engine:advance(30 * DAY - 100)
    assert.same({ true, true, true }, { is_there(done), is_there(aborted), is_there(live) })
    engine:advance(200)
    assert.same({ false, true, true }, { is_there(done), is_there(aborted), is_there(live) })
    assert.same({ pl_stage = 2, pl_failure = 1, pl_wait = 1 }, rows())
    engine:advance(60 * DAY - 200)
    assert.is_true(is_there(aborted))
    engine:advance(200)
    assert.same({ false, true }, { is_there(aborted), is_there(live) })
    engine:advance(1000 * DAY)
    assert.is_true(is_there(live))
    assert.same({}, engine:check())
    for _, line in ipairs(helper.log(30)) do assert.is_nil(line:find("old", 1, true)) end
  end)

  it("F120 the ages are counted from the end of the root, and virtual time that runs by itself counts", function()
    open { retention = { done = "2d" } }
    local early = begun(Give(1))
    local late = Give(2)
    late:start { countdown = 3 * DAY }
    engine:drain { delayed = true } -- three days pass
    assert.same({ false, true }, { is_there(early), is_there(late.id) })
    engine:sleep(1.9 * DAY)
    assert.is_true(is_there(late.id))
    engine:sleep(0.2 * DAY)
    assert.is_false(is_there(late.id))
    assert.same({}, rows())
  end)

  it("F120 takes seconds and texts with a unit; false keeps for ever, one of them or all", function()
    for given, seconds in pairs { [90] = 90, ["90s"] = 90, ["1.5m"] = 90, ["12h"] = 43200, ["2w"] = 14 * DAY } do
      open { retention = { done = given } }
      assert.equal(seconds + 0.0, engine:status().retention.done)
      engine:close()
    end
    open { retention = { done = false } }
    local done, aborted = begun(Give(1)), begun(Quits())
    engine:advance(1000 * DAY)
    assert.same({ true, false }, { is_there(done), is_there(aborted) })
    engine:close()
    open { retention = false }
    done, aborted = begun(Give(1)), begun(Quits())
    engine:advance(1000 * DAY)
    assert.same({ true, true }, { is_there(done), is_there(aborted) })
    local status = engine:status().retention
    assert.same({ false, false, false }, { status.done, status.aborted, status.dead })
  end)

  it("F120 wrong ages are refused with what is right", function()
    helper.misuse("'done': seconds, a text such as \"30d\".*got \"soon\"", open, { retention = { done = "soon" } })
    helper.misuse("'aborted'.*got %-1", open, { retention = { aborted = -1 } })
    helper.misuse("unknown option 'don'; did you mean 'done'", open, { retention = { don = 1 } })
    helper.misuse("table or false expected, got boolean", open, { retention = true })
    helper.raises(pipeline.ConfigurationError, open, { retention = { max_bytes = "much" } })
  end)

  it("F120 the idempotence key goes with the tree, and a kept id or pipeline says that it was deleted", function()
    open { retention = { done = "1d" } }
    local kept = Give(1)
    local id = begun(kept, { idempotence_key = "daily" })
    helper.raises(pipeline.PipelineExistsError, Give(2).start, Give(2), { idempotence_key = "daily" })
    engine:advance(2 * DAY)
    assert.is_nil(pipeline.from_id("daily"))
    assert.is_nil(pipeline.from_id(id))
    helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, id)
    assert.same({}, pipeline.get_root_list().pipelines)
    assert.matches("was deleted", tostring(helper.raises(pipeline.UnexpectedPipelineError, engine.wait, engine, kept)),
      1, true)
    kept:cleanup() -- nothing is left to be done
    assert.equal(2, helper.result(Give(2), { idempotence_key = "daily" }))
  end)

  it("F120 a root that is final stays while a stage of its tree is not", function()
    open { retention = { done = 10, aborted = 10 } }
    local ready = false
    local Slow = helper.define {
      run = function() return 1 end,
      finalized = function() if not ready then error("not yet", 0) end end,
    }
    local Root = helper.define(function(self)
      self:spawn(Slow())
      return 1
    end)
    local root = Root():start()
    engine:drain()
    assert.equal("done", helper.record(root).state)
    for _ = 1, 100 do engine:advance(100) end
    assert.same({ done = 1, finalizing = 1 }, helper.states(root))
    ready = true
    engine:drain()
    engine:advance(100)
    assert.same({}, rows())
  end)

  it("F120 dead tasks are kept, and their names blocked no longer than others", function()
    open { tombstone_seconds = 100, modules = { "spec" } }
    local queue = taskqueue.Queue("default")
    local function die(name)
      deferred.with { name = name, retry_options = { task_retry_limit = 0 } }(functions.fail, BIG)
      engine:drain { delayed = true }
    end
    die("one")
    assert.equal(1, #queue:dead_tasks())
    engine:advance(1000 * DAY)
    assert.equal(1, #queue:dead_tasks())
    assert.equal(0, sql.number(engine, "SELECT count(*) FROM pl_task_name"))
    local path = engine._path
    engine:close()
    open { path = path, retention = { dead = "3d" }, tombstone_seconds = 100,
      virtual_start = 1700000000.0 + 1000 * DAY }
    die("two")
    assert.equal(2, #queue:dead_tasks())
    engine:advance(DAY)
    assert.equal(1, #queue:dead_tasks())
    engine:advance(3 * DAY)
    assert.same({}, queue:dead_tasks())
    for _, name in ipairs { "pl_dead", "pl_task", "pl_task_detail", "pl_task_name" } do
      assert.equal(0, sql.number(engine, "SELECT count(*) FROM " .. name), name)
    end
    assert.same({}, engine:check())
  end)

  it("F120 max_bytes: the oldest go while more is in use, but what is kept for ever stays", function()
    open { retention = { max_bytes = "2M", aborted = false } }
    local aborted, ids = begun(Quits()), {}
    for i = 1, 40 do
      ids[i] = begun(Tree(("x"):rep(1000)))
      engine:advance(10)
    end
    local store = engine:status().store
    assert.is_true(store.bytes - store.free <= 2 * 1024 * 1024, ("%d of %d"):format(store.free, store.bytes))
    assert.is_true(is_there(aborted))
    local first = 1
    while first <= 40 and not is_there(ids[first]) do first = first + 1 end
    assert.is_true(first > 10 and first < 35, "first kept: " .. first)
    for i = first, 40 do assert.is_true(is_there(ids[i])) end
  end)

  it("F120 max_bytes: done trees, aborted ones and dead tasks go in the order in which they ended", function()
    open { retention = { max_bytes = "2M", done = "300d", aborted = "300d", dead = "300d" }, modules = { "spec" } }
    local queue, ended = taskqueue.Queue("default"), {}
    local function die(i)
      local name = "dead" .. i
      deferred.with { name = name, retry_options = { task_retry_limit = 0 } }(functions.fail, BIG)
      engine:drain { delayed = true }
      return name
    end
    local kinds = {
      function() return begun(Give(BIG)) end, function() return begun(Quits(BIG)) end, die,
      function() return begun(Quits(BIG .. "!")) end, die, function() return begun(Give(BIG .. "!")) end,
    }
    for i = 1, 30 do
      ended[i] = kinds[(i - 1) % #kinds + 1](i)
      engine:advance(10)
    end
    local store = engine:status().store
    assert.is_true(store.bytes - store.free <= 2 * 1024 * 1024, ("%d of %d"):format(store.free, store.bytes))
    local dead = {}
    for _, task in ipairs(queue:dead_tasks()) do dead[task.name] = true end
    local first
    for i, id in ipairs(ended) do
      local there = dead[id] or is_there(id)
      if there and not first then first = i end
      assert.equal(first ~= nil, there or false, ("%d of %d, first kept: %s"):format(i, #ended, first))
    end
    assert.is_true(first > 10 and first < 28, "first kept: " .. first)
    assert.same({}, engine:check())
  end)

  it("F120 the status says how large the file is, what is free, and what the next sweep takes", function()
    open { no_worker = true, retention = { done = "1d" } }
    assert.is_true(engine:status().retention.sweeps)
    local path = engine._path
    engine:close()
    open { path = path, no_worker = true }
    assert.is_false(engine:status().retention.sweeps)
    engine:close()
    open { path = path, retention = { done = "1d" } }
    for i = 1, 5 do begun(Give(i)) end
    begun(Quits())
    local status = engine:status()
    assert.same({ 86400.0, 90 * 86400.0, false, true }, { status.retention.done, status.retention.aborted,
      status.retention.dead, status.retention.sweeps })
    local store = status.store
    assert.equal(sql.number(engine, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"),
      store.bytes)
    assert.is_true(store.shrinks and store.free < store.bytes and store.log_bytes > 0)
    assert.same({ count = 0, more = false }, status.retention.due.done)
    engine:close()
    open { path = path, no_worker = true, virtual_start = 1700000000.0 + 2 * DAY, retention = false }
    assert.equal(0, engine:status().retention.due.done.count)
    engine:close()
    open { path = path, no_worker = true, virtual_start = 1700000000.0 + 40 * DAY }
    local due = engine:status().retention.due
    assert.same({ count = 5, more = false, oldest = 1700000000.0 }, due.done)
    assert.same({ count = 0, more = false }, due.aborted)
    assert.equal(5, #sql.run(engine, "SELECT id FROM pl_stage WHERE state = 4"), "an engine that executes nothing")
  end)

  it("F120 two engines on one file sweep it without harm", function()
    open { retention = { done = "1d" } }
    local other = helper.open { path = engine._path, retention = { done = "1d" } }
    for i = 1, 50 do begun(Tree(i)) end
    engine:advance(2 * DAY)
    other:advance(2 * DAY)
    assert.same({}, rows())
    assert.same({}, engine:check())
  end)
end)
