-- failed_spec.lua: the error about an aborted pipeline and its status tree name the stage that failed, and where.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local HERE = "spec/pipelines/failed_spec.lua:"

describe("an aborted pipeline", function()
  local engine

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function has(text, ...)
    for _, part in ipairs { ... } do assert.truthy(text:find(part, 1, true), part .. " is not in " .. text) end
  end

  local function abort_of(stage)
    return helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
  end

  it("names the child that failed: class, id, arguments in short, attempt, error and place", function()
    local Fails = helper.define { max_attempts = 2, backoff_seconds = 1, run = function() error("no stock") end }
    local stage = helper.define(function(self) self:spawn(Fails("x1", { n = 2 })) end)():start()
    local problem = abort_of(stage)
    local _, id = helper.find(stage, Fails)
    local failed = problem.failed
    assert.same({ id, Fails.class_path, '"x1", {n=2}', 2 }, { failed.id, failed.class, failed.args, failed.attempt })
    has(failed.error, "Error: ", HERE, "no stock")
    has(failed.where, HERE)
    has(problem.message, Fails.class_path .. '("x1", {n=2}) ' .. id, "attempt 2 of 2", HERE, "no stock")
    assert.equal(2, #problem.failures)
    for _, failure in ipairs(problem.failures) do has(failure.traceback, "stack traceback:\n", HERE) end
  end)

  it("is told so whichever of its pipelines is waited for", function()
    local Fails = helper.define { max_attempts = 1, run = function() error(pipeline.Abort "enough") end }
    local Async = helper.define { async = true, try_cancel = function() return true end, run = function() end }
    local stage = helper.define(function(self)
      self:spawn(Async(1))
      self:spawn(Fails())
    end)():start()
    engine:drain()
    local _, id = helper.find(stage, Fails)
    for _, of in ipairs { stage, helper.child(stage, Async), pipeline.from_id(id) } do
      local failed = abort_of(of).failed
      assert.same({ id, "Abort: enough", 1 }, { failed.id, failed.error, failed.attempt })
      has(failed.where, HERE)
    end
  end)

  it("names the one for which no attempt was left, of children that fail alike", function()
    local function run() error("the same", 0) end
    local Patient = helper.define { max_attempts = 3, backoff_seconds = 60, run = run }
    local Hasty = helper.define { max_attempts = 1, run = run }
    local stage = helper.define(function(self)
      self:spawn(Patient())
      self:spawn(Hasty())
      self:spawn(Patient())
    end)():start()
    local problem = abort_of(stage)
    local _, id = helper.find(stage, Hasty)
    assert.equal(id, problem.failed.id)
  end)

  it("names it among hundreds that have failed before", function()
    local Once = helper.define {
      backoff_seconds = 1, run = function(self) if self.current_attempt == 1 then error("once", 0) end end,
    }
    local Fails = helper.define { max_attempts = 1, run = function() error("for ever") end }
    local stage = helper.define(function(self)
      for _ = 1, 250 do self:spawn(Once()) end
      local delay = self:spawn(pipeline.common.Delay { seconds = 5 })
      self:after({ delay }, function() self:spawn(Fails()) end)
    end)():start()
    local problem = abort_of(stage)
    local _, id = helper.find(stage, Fails)
    assert.equal(id, problem.failed.id)
    local is_listed = false
    for _, failure in ipairs(problem.failures) do is_listed = is_listed or failure.pipeline_id == id end
    assert.is_true(is_listed)
  end)

  it("names none if somebody asked for the abort", function()
    local Tries = helper.define { backoff_seconds = 50, run = function() error("boom", 0) end }
    local stage = helper.define(function(self) self:spawn(Tries()) end)():start()
    engine:drain()
    stage:abort("not wanted")
    local problem = abort_of(stage)
    assert.is_nil(problem.failed)
    has(problem.message, "was aborted: not wanted")
    assert.equal(1, #problem.failures)
  end)

  it("has made no more attempts than max_attempts, as its status tree and from_id tell", function()
    local Fails = helper.define { max_attempts = 1, run = function() error("no stock") end }
    local stage = Fails():start()
    engine:drain()
    local entry = pipeline.get_status_tree(stage.id).pipelines[stage.id]
    assert.same({ 1, 1 }, { entry.currentAttempt, entry.maxAttempts })
    assert.equal(1, pipeline.from_id(stage.id).current_attempt)
  end)

  it("has its failures, with tracebacks, in the status tree, and the id of the one that failed", function()
    local Fails = helper.define { max_attempts = 2, backoff_seconds = 1, run = function() error("no stock") end }
    local stage = helper.define(function(self) self:spawn(Fails("x1")) end)():start()
    engine:drain { delayed = true }
    local _, id = helper.find(stage, Fails)
    for _, given in ipairs { false, { limit = 10 } } do
      local tree = pipeline.get_status_tree(stage.id, given or nil)
      local list = tree.pipelines[id].failures
      assert.equal(2, #list)
      for i, failure in ipairs(list) do
        assert.same({ i, "Error" }, { failure.attempt, failure.errorClass })
        assert.is_true(failure.timeMs > 0)
        has(failure.message, "no stock")
        has(failure.traceback, HERE)
      end
      assert.is_nil(tree.pipelines[stage.id].failures)
      assert.equal(id, tree.pipelines[stage.id].failedPipelineId)
    end
  end)
end)
