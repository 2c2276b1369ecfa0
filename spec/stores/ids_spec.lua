-- Ids, pipelines, futures and slots of several engines in one program: whose they are, and who is told so.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"
local taskqueue = require "pipeline.taskqueue"

local Give = helper.define(function(_, value) return value end)
local Waits = helper.define { async = true, output_names = { "extra" }, run = function() end }

local A, B

-- The error, which must be an UnexpectedPipelineError with the names of both engines.
local function refused(fn, ...)
  local problem = helper.raises(pipeline.UnexpectedPipelineError, fn, ...)
  for _, engine in ipairs { A, B } do
    assert.is_truthy(problem.message:find(engine._path, 1, true), problem.message)
  end
  return problem
end

-- Runs a pipeline on A in which fn(self) is called; gives what the run raised.
local function problem_in_run(fn)
  local raised
  local stage = helper.define {
    max_attempts = 1,
    run = function(self) return fn(self, Give) end,
    finalized = function() end,
  }():start { engine = A }
  A:drain()
  local ok, aborted = pcall(A.wait, A, stage, { timeout = 0 })
  assert.is_false(ok)
  raised = aborted.failures[1]
  assert.equal("UnexpectedPipelineError", raised.error_class)
  for _, engine in ipairs { A, B } do
    assert.is_truthy(raised.message:find(engine._path, 1, true), raised.message)
  end
  return raised.message
end

describe("several engines", function()
  before_each(function() A, B = helper.open(), helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("make ids that differ, though their workers have the same number in the same millisecond", function()
    local seen, met = {}, 0
    local engines = { A, B, helper.open(), helper.open() }
    for _, engine in ipairs(engines) do
      assert.equal(A._core:facts().worker_number, engine._core:facts().worker_number)
      for _ = 1, 500 do
        local id = engine._core:new_id()
        met = met + (seen[id] and 1 or 0)
        seen[id] = true
      end
    end
    assert.is_true(met <= 500, met) -- of 1,500 that there would be; two of four stores may meet, once in 170 runs
  end)

  it("know each other's pipelines by id, and wait for them where they are", function()
    for i = 1, 20 do
      local a, b = Give("a" .. i):start { engine = A }, Give("b" .. i):start { engine = B }
      A:drain()
      B:drain()
      assert.equal("a" .. i, B:wait(a).default.value)
      assert.equal("b" .. i, A:wait(b).default.value)
      assert.equal("a" .. i, B:wait(a.id).default.value)
      assert.equal("b" .. i, pipeline.from_id(b.id).outputs.default.value)
      assert.equal("b" .. i, A:from_id(b.id).outputs.default.value)
      assert.equal(B, A:from_id(b.id)._engine)
      assert.equal(b.id, A:get_status_tree(b.id).rootPipelineId)
    end
  end)

  it("do not know each other's keys", function()
    Give(1):start { engine = A, idempotence_key = "order" }
    assert.is_nil(B:from_id("order"))
    Give(2):start { engine = B, idempotence_key = "order" }
    A:drain()
    B:drain()
    assert.equal(1, A:wait("order").default.value)
    assert.equal(2, B:wait("order").default.value)
  end)

  it("are told of each other by HTTP only what is their own", function()
    local server = { path = "/_ah/pipeline/callback" }
    local Public = helper.define {
      async = true, public_callbacks = true, run = function() end,
      callback = function(self) self:complete(true) return 200, "text/plain", "done" end,
    }
    local a = Public():start { engine = A }
    A:drain()
    server.params = { pipeline_id = a.id }
    assert.equal(400, B:handle(server).status)
    assert.equal(200, A:handle(server).status)
  end)

  it("refuse futures and slots of another store in a run, as an argument, in a table, as a result, in after", function()
    local foreign = Waits():start { engine = B }
    B:drain()
    local f = foreign.outputs
    local uses = {
      function(self) self:spawn(Give(f)) end,
      function(self) self:spawn(Give { deep = { f.extra } }) end,
      function() return f end,
      function() return { f.default } end,
      function(self) self:after({ f }, function() self:spawn(Give(1)) end) end,
      function(self) self:fill(f.extra, 1) return 1 end,
    }
    for _, use in ipairs(uses) do problem_in_run(use) end
    assert.is_false(B:from_id(foreign.id).outputs.extra.filled)
  end)

  it("refuse tasks of another store among what a run adds with its outcome", function()
    local foreign = Waits():start { engine = B }
    B:drain()
    problem_in_run(function()
      foreign:get_callback_task { name = "late" }:add(nil, { transactional = true })
    end)
    problem_in_run(function()
      Give(1):start { engine = B, return_task = true }:add(nil, { transactional = true })
    end)
  end)

  it("fill a slot of another store there: at once, outside of runs or with publish", function()
    local foreign = Waits():start { engine = B }
    B:drain()
    local own = Waits():start { engine = A }
    A:drain()
    own:fill(foreign.outputs.extra, "from outside")
    assert.equal("from outside", B:from_id(foreign.id).outputs.extra.value)
    local stage = helper.define(function(self)
      self:fill(foreign.outputs.default, "from a run", { publish = true })
      return "own"
    end)():start { engine = A }
    A:drain()
    B:drain()
    assert.equal("own", A:wait(stage).default.value)
    assert.equal("from a run", B:wait(foreign).default.value)
    assert.is_false(A:from_id(own.id).outputs.default.filled)
  end)

  it("refuse a slot of which only the other engine is known", function()
    local waiting = Waits():start { engine = B }
    B:drain()
    local parent = helper.define(function(self) -- its child waits for what is not there
      local f = self:spawn(Waits())
      self:spawn(Give(f))
    end)():start { engine = B }
    B:drain()
    local child
    for _, record in ipairs(B._core:tree_get(parent._id)) do
      if record.class_path == Give.class_path then child = B:from_id(B:_id_text(record.id)) end
    end
    local own = Waits():start { engine = A }
    A:drain()
    refused(own.fill, own, child.args[1], 1)
    assert.is_truthy(waiting)
  end)

  it("prolong and delete tasks where they are, whichever engine the caller works for", function()
    local queues = { work = { mode = "pull" } }
    local one, two = helper.open { queues = queues }, helper.open { queues = queues }
    local queue = taskqueue.Queue("work")
    local function on(engine, fn)
      local stage = helper.define(function() fn() end)():start { engine = engine }
      engine:drain()
      engine:wait(stage, { timeout = 0 })
    end
    local Task = taskqueue.Task
    local added, leased
    on(one, function() added = queue:add { Task { method = "PULL", payload = "x", name = "n", countdown = -1 } }[1] end)
    on(two, function() queue:add { Task { method = "PULL", payload = "y", name = "n", countdown = -1 } } end)
    on(one, function() leased = queue:lease_tasks(60, 1)[1] end)
    assert.same({ "x", "n" }, { leased.payload, leased.name })
    queue:modify_task_lease(leased, 90) -- the default engine, A, has no such queue
    on(two, function() queue:delete_tasks(leased) end)
    assert.is_true(leased.was_deleted)
    on(two, function() queue:delete_tasks(added) end)
    assert.is_false(added.was_deleted)
    local left
    on(two, function() left = queue:lease_tasks(60, 10) end)
    assert.same({ 1, "y" }, { #left, left[1].payload })
    left[1].name, added.name = "n", "m"
    helper.raises(taskqueue.BadTaskStateError, queue.delete_tasks, queue, { added, left[1] })
    one:close()
    queue:delete_tasks(left)
    assert.is_true(left[1].was_deleted)
  end)

  it("take each other's futures and ids when they work on the same file", function()
    local other = helper.open { path = A._path }
    local stage = Waits():start { engine = other }
    A:drain()
    stage:fill("extra", 5)
    local sum = helper.define(function(self) return self:spawn(Give(stage.outputs.extra)) end)():start { engine = A }
    A:drain()
    assert.equal(5, A:wait(sum, { timeout = 0 }).default.value)
    assert.equal(5, other:wait(sum, { timeout = 0 }).default.value)
  end)
end)

describe("an idempotence key", function()
  before_each(function() A, B = helper.open(), helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("may not be the id of a pipeline of the store", function()
    local victim = Give("victim"):start()
    helper.raises(pipeline.PipelineExistsError, Give("thief").start, Give("thief"), { idempotence_key = victim.id })
    A:drain()
    assert.equal("victim", A:wait(victim.id).default.value)
    victim:cleanup()
    helper.raises(pipeline.PipelineExistsError, Give("thief").start, Give("thief"), { idempotence_key = victim.id })
  end)

  it("that has the form of an id is kept as its hash, so that no two pipelines have the same id anywhere", function()
    local victim = Give("victim"):start { engine = B }
    B:drain()
    local other = Give("other"):start { idempotence_key = victim.id }
    A:drain()
    assert.not_equal(victim.id, other.id)
    assert.equal(40, #other.id)
    assert.equal("other", A:wait(other.id).default.value)
    assert.equal("victim", A:wait(other.id) and B:wait(victim.id).default.value)
    assert.equal("other", A:from_id(victim.id).outputs.default.value) -- here it is a key
    helper.raises(pipeline.PipelineExistsError, Give(1).start, Give(1), { idempotence_key = victim.id })
  end)

  it("of that form in a file of an earlier version is found, and still used once only", function()
    local md5 = ("0123456789abcdef"):rep(2)
    Give("old"):start { idempotence_key = "stand-in" }
    A:drain()
    local path = A._path
    A:close()
    sql.run({ _path = path }, ("UPDATE pl_stage SET key = CAST('%s' AS BLOB) WHERE key IS NOT NULL"):format(md5))
    A = helper.open { path = path }
    assert.equal("old", A:from_id(md5).outputs.default.value)
    assert.equal(md5, A:from_id(md5).id)
    helper.raises(pipeline.PipelineExistsError, Give(1).start, Give(1), { idempotence_key = md5, engine = A })
  end)
end)
