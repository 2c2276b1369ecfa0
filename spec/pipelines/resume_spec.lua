-- stage:resume(): an aborted tree goes on from where it failed.

local check = require "spec.crash.check"
local pipeline = require "pipeline"
local schedules = require "spec.schedules.support"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local child, states = helper.child, helper.states

describe("resume", function()
  local engine, broken, ran, ended

  local function note(name) ran[name] = (ran[name] or 0) + 1 end

  local Leaf = pipeline.define("resume.Leaf", {
    max_attempts = 2, backoff_seconds = 1,
    run = function(self, value)
      note("leaf " .. value)
      table.insert(ran, self.current_attempt)
      if broken[value] then error("broken " .. value, 0) end
      return value
    end,
  })
  local Sum = pipeline.define("resume.Sum", {
    run = function(_, ...)
      note "sum"
      local sum = 0
      for _, value in ipairs { ... } do sum = sum + value end
      return sum
    end,
  })
  local Branch = pipeline.define("resume.Branch", {
    run = function(self, ...)
      note "branch"
      local list = {}
      for i, value in ipairs { ... } do list[i] = self:spawn(Leaf(value)) end
      return self:spawn(Sum(table.unpack(list)))
    end,
    finalized = function(self) table.insert(ended, ("branch %s"):format(tostring(self.was_aborted))) end,
  })
  local Root = pipeline.define("resume.Root", {
    run = function(self, ...)
      note "root"
      return self:spawn(Sum(self:spawn(Branch(...)), self:spawn(Leaf(100))))
    end,
    finalized = function(self) table.insert(ended, ("root %s"):format(tostring(self.was_aborted))) end,
  })
  local Async = pipeline.define("resume.Async", {
    async = true, output_names = { "more" }, run = function() note "async" end, try_cancel = function() return true end,
    callback = function(self, params) self:complete(tonumber(params.value)) end, public_callbacks = true,
  })

  before_each(function()
    engine = helper.open()
    broken, ran, ended = {}, {}, {}
  end)
  after_each(function()
    local path = engine._path
    helper.finish()
    assert.same({}, check.file(path))
  end)
  teardown(helper.clean)

  local function run(stage)
    stage:start()
    engine:drain { delayed = true }
    return stage
  end

  local function value(stage)
    engine:drain { delayed = true }
    return engine:wait(stage, { timeout = 0 }).default.value
  end

  it("goes on from where the tree failed: what is done is not done again", function()
    broken[2] = true
    local root = run(Root(1, 2, 3))
    helper.raises(pipeline.AbortedError, engine.wait, engine, root)
    assert.same({ "branch true", "root true" }, (table.sort(ended) or ended))
    broken, ended = {}, {}
    assert.is_true(root:resume())
    assert.equal("run", helper.entry(root).status)
    assert.is_nil(helper.entry(root).abortMessage)
    assert.equal(106, value(root))
    assert.same({ 1, 1, 1, 3, 1, 1, 2 }, {
      ran.root, ran.branch, ran["leaf 1"], ran["leaf 2"], ran["leaf 3"], ran["leaf 100"], ran.sum,
    })
    assert.same({ "branch false", "root false" }, (table.sort(ended) or ended))
    assert.same({ done = 8 }, states(root))
  end)

  it("is possible on any pipeline of the tree, and is for all of it", function()
    broken[2] = true
    local root = run(Root(1, 2))
    broken = {}
    assert.is_true(child(root, Sum):resume())
    assert.equal(103, value(root))
  end)

  it("gives all attempts anew, and keeps what failed before", function()
    broken[2] = true
    local root = run(Branch(2))
    assert.is_true(root:resume())
    engine:drain { delayed = true }
    assert.equal(4, ran["leaf 2"])
    assert.equal(4, #helper.find(root, Leaf).failures)
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, root)
    assert.equal("Aborting after 2 attempts. broken 2", (problem.reason:gsub("Error: ", "")))
    broken = {}
    assert.is_true(root:resume())
    assert.equal(2, value(root))
  end)

  it("gives false for a tree that is not aborted: running, done, deleted, or resumed by somebody else", function()
    local root = Root(1):start()
    assert.is_false(root:resume())
    engine:drain()
    assert.is_false(root:resume())
    broken[2] = true
    local failed = run(Root(2))
    local other = helper.open { path = engine._path, no_worker = true }
    local same = other:from_id(failed.id)
    broken = {}
    assert.is_true(failed:resume())
    assert.is_false(same:resume())
    assert.equal(102, value(failed))
    failed:cleanup()
    engine:drain()
    assert.is_false(same:resume())
  end)

  it("raises while something of the tree is still being aborted", function()
    local Held = pipeline.define("resume.Held", {
      async = true, run = function() end, try_cancel = function() return false end,
    })
    local root = helper.define(function(self)
      self:spawn(Held())
      self:spawn(Leaf(9))
    end)()
    broken[9] = true
    run(root)
    assert.same({ aborted = 2, abort_held = 1 }, states(root))
    local problem = helper.raises(pipeline.UnexpectedPipelineError, root.resume, root)
    assert.truthy(problem.message:find("still being aborted", 1, true), problem.message)
    child(root, Held):complete(1)
    broken = {}
    assert.is_true(root:resume())
    engine:drain { delayed = true }
    assert.same({ done = 1, run = 2 }, states(root))
    child(root, Held):complete(1)
    engine:drain()
    assert.same({ done = 3 }, states(root))
  end)

  it("raises for a pipeline that was not started", function()
    helper.raises(pipeline.UnexpectedPipelineError, Leaf(1).resume, Leaf(1))
    helper.misuse("':' is missing", Leaf(1).resume)
  end)

  it("lets an async pipeline wait for its callback again; outputs that are filled stay so", function()
    local root = helper.define(function(self)
      self:spawn(Async())
      return self:spawn(Leaf(7))
    end)()
    root:start()
    engine:drain()
    local async = child(root, Async)
    async:fill("more", "kept")
    root:abort("enough")
    engine:drain { delayed = true }
    assert.same({ aborted = 2, done = 1 }, states(root))
    assert.is_true(async:resume())
    engine:drain()
    assert.equal(1, ran.async)
    async = child(root, Async)
    assert.equal("kept", async.outputs.more.value)
    async:get_callback_task { params = { value = 5 } }:add()
    engine:drain()
    assert.equal(5, child(root, Async).outputs.default.value)
    assert.same({ done = 3 }, states(root))
  end)

  it("waits again for slots and barriers that were not filled, and not for those that were", function()
    local root = helper.define(function(self)
      local first, second = self:spawn(Leaf(1)), self:spawn(Leaf(2))
      self:after({ first, second }, function() self:spawn(Leaf(3)) end)
      self:in_order(function()
        self:spawn(Leaf(4))
        self:spawn(Leaf(5))
      end)
      return self:spawn(Sum(first, second))
    end)()
    broken[2], broken[4] = true, true
    run(root)
    assert.is_nil(ran["leaf 3"] or ran["leaf 5"] or ran.sum)
    broken = { [4] = true }
    assert.is_true(root:resume())
    engine:drain { delayed = true }
    assert.equal(1, ran["leaf 3"])
    assert.is_nil(ran["leaf 5"])
    broken = {}
    assert.is_true(root:resume())
    assert.equal(3, value(root))
    assert.same({ 1, 1, 1, 1 }, { ran["leaf 1"], ran["leaf 3"], ran["leaf 5"], ran.sum })
  end)

  it("runs again a pipeline whose run was under way, whose outcome counts no more", function()
    local slept = 0
    local Slow = helper.define { run = function()
      slept = slept + 1
      if slept == 1 then engine:sleep(10) end
      return slept
    end }
    local root = helper.define(function(self)
      self:spawn(Leaf(2))
      return self:spawn(Slow())
    end)()
    broken[2] = true
    run(root)
    broken = {}
    assert.is_true(root:resume())
    assert.equal(2, value(root))
  end)

  it("keeps the idempotence key, and a time to start that has not come", function()
    local root = Root(1):start { idempotence_key = "order-7", countdown = 3600 }
    root:abort()
    engine:drain()
    assert.is_true(root:resume())
    helper.raises(pipeline.PipelineExistsError, function() Root(1):start { idempotence_key = "order-7" } end)
    local began = engine:now()
    assert.equal(101, value(root))
    assert.is_true(engine:now() - began >= 3600)
  end)

  it("starts a root that was aborted before its task was added", function()
    local root = Leaf(1)
    local task = root:start { return_task = true }
    root:abort()
    assert.is_true(root:resume())
    pcall(task.add, task)
    assert.equal(1, value(root))
    assert.equal(1, ran["leaf 1"])
  end)

  it("is part of a transaction, and undone with it", function()
    broken[2] = true
    local root = run(Root(2))
    pcall(engine.transaction, engine, function()
      assert.is_true(root:resume())
      error "no"
    end)
    assert.equal("aborted", helper.record(root).state)
    broken = {}
    engine:transaction(function() assert.is_true(root:resume()) end)
    assert.equal(102, value(root))
  end)

  it("keeps its tree from retention, which counts from its next end", function()
    engine:close()
    engine = helper.open { retention = { aborted = 3600, done = 3600 } }
    broken[2] = true
    local root = run(Root(2))
    engine:advance(3000)
    broken = {}
    assert.is_true(root:resume())
    engine:drain { delayed = true }
    engine:advance(3000)
    engine._core:sweep()
    assert.equal("done", helper.record(root).state)
    engine:advance(3000)
    engine._core:sweep()
    assert.is_nil(helper.record(root))
  end)

  it("gives a fire of a schedule back its root, which is told of it again", function()
    helper.finish()
    engine = schedules.open()
    local Fickle = helper.define { max_attempts = 1, run = function(self)
      table.insert(ran, self.schedule and self.schedule.nominal_time or "not told")
      if #ran == 1 then error("no", 0) end
    end }
    local s = schedules.create("s", { every = "1h", start = Fickle() })
    engine:advance(3600)
    assert.equal("failed", s:fires()[1].state)
    assert.is_true(pipeline.from_id(pipeline.get_root_list().pipelines[1].pipelineId):resume())
    assert.equal("started", s:fires()[1].state)
    engine:drain()
    assert.equal("done", s:fires()[1].state)
    assert.equal(ran[1], ran[2])
    assert.equal(0, s:status().failures or 0)
  end)

  it("goes on in files of earlier versions, where an abort did not say what it found", function()
    broken[2] = true
    local root = run(Root(1, 2))
    local id = root.id
    sql.run(engine, "UPDATE pl_stage SET flags = flags & ~384")
    engine:close()
    engine = helper.open { path = engine._path }
    root = engine:from_id(id)
    broken = {}
    assert.is_true(root:resume())
    assert.equal(103, value(root))
    assert.same({ 1, 1, 1 }, { ran.root, ran.branch, ran["leaf 1"] })
  end)
end)
