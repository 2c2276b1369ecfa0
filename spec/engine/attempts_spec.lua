--- Whichever way the execution of a task ends, that was an attempt: it is counted and recorded.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

describe("an execution that ends without a result", function()
  local engine, runs

  before_each(function()
    engine = helper.open()
    runs = 0
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  -- A run that never ends by itself, and what ends it: called with its coroutine, from another coroutine.
  local function ended_by(how)
    local waiting
    local Class = helper.define { max_attempts = 2, backoff_seconds = 10, run = function()
      runs = runs + 1
      waiting = coroutine.running()
      engine:sleep(1000)
    end }
    local Ender = helper.define { max_attempts = 1, run = function()
      while not waiting do engine:sleep(0.1) end
      how(waiting)
      waiting = nil
    end }
    local stage = Class():start()
    Ender():start()
    Ender():start { countdown = 20 }
    return stage
  end

  local function must_be_aborted(stage, text, class)
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
    assert.equal(2, runs)
    local expected = "^Aborting after 2 attempts. " .. (class or "UnexpectedPipelineError") .. ": "
    assert.truthy(problem.reason:find(expected), problem.reason)
    assert.truthy(problem.reason:find(text, 1, true), problem.reason)
    assert.equal(2, #problem.failures)
  end

  it("is told by the log: whose, which attempt of how many, what failed, and what happens next", function()
    local stage = ended_by(coroutine.close)
    must_be_aborted(stage, "closed, or resumed, by other code")
    local found = {}
    for _, level in ipairs { 30, 40 } do
      for _, line in ipairs(helper.log(level)) do
        if line:find(("^run of %s %s failed, "):format(stage.class_path:gsub("%p", "%%%0"), stage.id)) then
          found[line] = true
        end
      end
    end
    local lines = {}
    for line in pairs(found) do lines[#lines + 1] = line end
    table.sort(lines)
    assert.equal(2, #lines)
    assert.matches("attempt 1 of 2: UnexpectedPipelineError: .*closed.*; runs again in 10 s$", lines[1])
    assert.matches("attempt 2 of 2: UnexpectedPipelineError: .*closed.*; its tree is aborted$", lines[2])
  end)

  it("because its coroutine was closed by other code, is a failed attempt", function()
    must_be_aborted(ended_by(coroutine.close), "closed, or resumed, by other code")
  end)

  it("because its coroutine was resumed by other code, is a failed attempt", function()
    must_be_aborted(ended_by(coroutine.resume), "was resumed by somebody else", "Error")
  end)

  it("because it yields to nobody, is a failed attempt", function()
    local Class = helper.define { max_attempts = 2, run = function()
      runs = runs + 1
      coroutine.yield("to whom?")
    end }
    must_be_aborted(Class():start(), "yielded to a scheduler that does not run it")
  end)

  it("of finalized() counts among the attempts of finalized()", function()
    local Class = helper.define { max_attempts = 3, run = function() return 5 end, finalized = function()
      runs = runs + 1
      coroutine.yield()
    end }
    local stage = Class():start()
    assert.equal(5, engine:wait(stage).default.value)
    assert.equal(3, runs)
    assert.equal(3, #engine._core:failures_get(stage._id))
  end)

  it("of a deferred call and of a push is a failed try", function()
    deferred.register("attempts.yields", function()
      runs = runs + 1
      coroutine.yield()
    end)
    local once = taskqueue.TaskRetryOptions { task_retry_limit = 1 }
    deferred.with { retry_options = once }("attempts.yields")
    engine:route("POST", "/yields", function()
      runs = runs + 1
      coroutine.yield()
    end)
    taskqueue.add { url = "/yields", retry_options = once }
    engine:drain { delayed = true }
    assert.equal(4, runs)
    local dead = taskqueue.Queue():dead_tasks()
    assert.equal(2, #dead)
    for _, task in ipairs(dead) do
      assert.equal("UnexpectedPipelineError", task.error_class)
      assert.truthy(task.message:find("yielded to a scheduler", 1, true))
    end
  end)

  it("keeps no other task waiting", function()
    local Class = helper.define { max_attempts = 2, backoff_seconds = 100, run = function() coroutine.yield() end }
    local Other = helper.define(function() return engine:now() end)
    local began = engine:now()
    local stage = Class():start()
    local others = {}
    for i = 1, 200 do others[i] = Other():start() end
    engine:drain()
    for _, other in ipairs(others) do assert.equal(began, engine:wait(other, { timeout = 0 }).default.value) end
    helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
  end)

  it("is told from errors by what it is, not by the words of the user", function()
    local Class = helper.define { max_attempts = 1, run = function()
      error("cannot resume dead coroutine; it yielded to a scheduler that does not run it")
    end }
    local problem = helper.aborted(Class())
    assert.truthy(problem.reason:find("Error: ", 1, true))
    assert.truthy(problem.reason:find("cannot resume dead coroutine", 1, true))
    engine._core:spawn(function() error("cannot resume dead coroutine") end)
    engine:drain()
    assert.truthy(table.concat(helper.log(40), "\n"):find("cannot resume dead coroutine", 1, true))
  end)

  it("because its time was up, is one failed attempt, and nothing else is reported", function()
    local Class = helper.define { max_attempts = 2, timeout = 5, backoff_seconds = 1, run = function()
      runs = runs + 1
      engine:sleep(1000)
    end }
    local problem = helper.aborted(Class())
    assert.equal(2, runs)
    assert.truthy(problem.reason:find("longer than 5 s", 1, true))
    for _, line in ipairs(helper.log(40)) do assert.is_nil(line:find("coroutine", 1, true), line) end
  end)

  it("because the engine is closed, spends nothing", function()
    local Class = helper.define { max_attempts = 1, run = function(_, wait)
      runs = runs + 1
      if runs == 1 then engine:sleep(wait) end
      return runs
    end }
    local id = Class(1000):start().id
    assert.is_false((pcall(engine.drain, engine, { timeout = 1 })))
    engine:close()
    local second = helper.open { path = engine._path }
    assert.equal(2, second:wait(id).default.value)
  end)
end)

describe("finalized() that always fails", function()
  local engine, calls

  before_each(function()
    engine = helper.open()
    calls = 0
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("is called as often as the class has attempts, then the pipeline is final and the failures recorded", function()
    local Class = helper.define { max_attempts = 3, backoff_seconds = 10, run = function() return 1 end,
      finalized = function()
        calls = calls + 1
        error("no, never")
      end }
    local stage = Class():start()
    assert.equal(1, engine:wait(stage).default.value)
    assert.equal(3, calls)
    assert.equal("done", helper.record(stage).state)
    local failures = engine._core:failures_get(stage._id)
    assert.equal(3, #failures)
    assert.truthy(failures[3].message:find("no, never", 1, true))
    local lines = table.concat(helper.log(40), "\n")
    assert.truthy(lines:find("attempt 3 of 3", 1, true) and lines:find("no, never", 1, true), lines)
  end)

  it("does not keep a tree from being aborted, nor the parent of a child from going on", function()
    local Child = helper.define { max_attempts = 2, run = function() return 4 end, finalized = function()
      calls = calls + 1
      error("never")
    end }
    local Parent = helper.define(function(self) self:spawn(Child()) end)
    assert.equal(4, helper.result(Parent()))
    assert.equal(2, calls)
    local Aborts = helper.define { max_attempts = 2, run = function() error(pipeline.Abort("enough")) end,
      finalized = function()
        calls = calls + 1
        error("never")
      end }
    local stage = Aborts():start()
    helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
    assert.equal(4, calls)
    assert.equal("aborted", helper.record(stage).state)
  end)

  it("has all its attempts, whatever the run has used", function()
    local Class = helper.define { max_attempts = 3, backoff_seconds = 1, run = function() error("fails") end,
      finalized = function()
        calls = calls + 1
        error("never")
      end }
    local stage = Class():start()
    helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
    assert.equal(3, calls)
  end)
end)
