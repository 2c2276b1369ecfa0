-- durable/body/compensating.lua: what a run that fails, or is cancelled, undoes.

local pipeline = require "pipeline"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local aborted, open, workflow = support.aborted, support.open, support.workflows()

local function nothing() end

describe("compensations", function()
  it("W123 are executed when an error leaves run, the newest first, then finalized", function()
    local engine <close> = open()
    local events = {}
    local function note(text) return function() events[#events + 1] = text end end
    local stage = workflow {
      run = function(self)
        self:on_compensate("a", note "a")
        self:on_compensate("b", note "b")
        self:on_compensate("c", note "c")
        error("no", 0)
      end,
      finalized = function(self) events[#events + 1] = "finalized " .. tostring(self.was_aborted) end,
    }():start()
    assert.match("Error: no", aborted(engine, stage).reason)
    assert.same({ "c", "b", "a", "finalized true" }, events)
  end)

  it("W123 are steps, which are tried again, and shown in the journal", function()
    local engine <close> = open()
    local attempts = 0
    local stage = workflow(function(self)
      self:on_compensate("undo", function(what)
        attempts = attempts + 1
        if attempts < 3 then error("not yet", 0) end
        return what
      end, "this")
      error(pipeline.Abort("enough"))
    end)():start()
    assert.equal("enough", aborted(engine, stage).reason)
    assert.equal(3, attempts)
    local journal = engine:get_journal(stage.id)
    assert.equal(1, #journal)
    assert.equal("/~compensate#1", journal[1].path)
    assert.equal('"this"', journal[1].value)
  end)

  it("W123 W124 are executed after an abort from outside, and not interrupted by another error", function()
    local engine <close> = open()
    local undone = 0
    local stage = workflow(function(self)
      self:on_compensate("undo", function() undone = undone + 1 end)
      self:on_compensate(function()
        self:sleep(100)
        self:await(self:timer(100))
        undone = undone + 1
      end)
      self:wait_event("never")
    end)():start()
    engine:drain()
    assert.is_true(stage:abort("enough"))
    engine:drain()
    engine:advance(50)
    engine:drain()
    assert.is_false(stage:abort("again"))
    assert.equal("enough", aborted(engine, stage).reason)
    assert.equal(2, undone)
    assert.equal(1e9 + 200, engine:now())
  end)

  it("W124 an abort while an error is being compensated changes nothing", function()
    local engine <close> = open()
    local undone = 0
    local stage = workflow(function(self)
      self:on_compensate("undo", function() undone = undone + 1 end)
      self:on_compensate(function() self:sleep(100) end)
      error("no", 0)
    end)():start()
    engine:drain()
    assert.is_true(stage:abort("enough"))
    aborted(engine, stage)
    assert.equal(1, undone)
    assert.equal(1e9 + 100, engine:now())
  end)

  it("W125 know whether their step had its effect, had not, or that nobody can say", function()
    local engine <close> = open()
    local seen = {}
    local function undo(outcome, ...)
      seen[#seen + 1] = { outcome.ok == nil and "?" or outcome.ok, outcome.value or "", (...),
        outcome.error and outcome.error.class or "", outcome.key:match("/(.*)") }
    end
    local stage = workflow { max_attempts = 1, run = function(self)
      self:step({ name = "well", compensate = undo }, function(x) return x + 1 end, 1)
      pcall(self.step, self, { name = "bad", compensate = undo }, function() error(pipeline.FetchError("gone")) end, 2)
      pcall(self.step, self, { name = "late", timeout = 5, compensate = undo }, function()
        tasklets.await(tasklets.sleep(10))
      end, 3)
      self:start_step({ name = "at work", compensate = undo }, function() tasklets.await(tasklets.sleep(1e6)) end, 4)
      self:sleep(1)
      error("no", 0)
    end }():start()
    aborted(engine, stage)
    assert.same({
      { "?", "", 4, "", "at work#1" }, { "?", "", 3, "TimeoutError", "late#1" },
      { false, "", 2, "FetchError", "bad#1" }, { true, 2, 1, "", "well#1" },
    }, seen)
  end)

  it("W126 that fail for good leave the others alone, and both failures are told", function()
    local engine <close> = open()
    local undone = 0
    local stage = workflow { max_attempts = 2, run = function(self)
      self:on_compensate("first", function() undone = undone + 1 end)
      self:on_compensate("second", error, "cannot", 0)
      self:on_compensate("third", function() undone = undone + 1 end)
      error("no", 0)
    end }():start()
    local problem = aborted(engine, stage)
    assert.equal(2, undone)
    assert.match("Error: no; compensation second failed: Error: .*cannot", problem.reason)
    assert.equal(2, #problem.failures)
    assert.equal("no", problem.failures[1].message)
    assert.match("^compensation second: .*cannot", problem.failures[2].message)
  end)

  it("W127 are not executed for an error that run catches; by hand they are, and are forgotten", function()
    local engine <close> = open()
    local undone, failed = {}, nil
    local function note(text) return function() undone[#undone + 1] = text end end
    local stage = workflow(function(self)
      self:on_compensate("a", note "a")
      local ok = pcall(self.step, self, { name = "s", max_attempts = 1 }, error, "no")
      if not ok then self:compensate("it did not work") end
      self:on_compensate("b", note "b")
      self:step("between", nothing)
      self:on_compensate("worse", error, "cannot", 0)
      failed = select(2, pcall(self.compensate, self))
      return "done"
    end)():start()
    assert.equal("done", engine:wait(stage).default.value)
    assert.same({ "a", "b" }, undone)
    assert.match("1 of the compensations failed: worse: Error: .*cannot", failed.message)
  end)

  it("W128 are not executed by a return, a next era, a forced abort or holding", function()
    local engine <close> = open()
    local undone = 0
    local function undo() undone = undone + 1 end
    local returned = workflow(function(self) self:on_compensate("u", undo) end)():start()
    local again = workflow(function(self, n)
      self:on_compensate("u", undo)
      if not n then return self:continue_as_new(1) end
    end)():start()
    local held = workflow { on_error = "hold", run = function(self)
      self:on_compensate("u", undo)
      error("no", 0)
    end }():start()
    local forced = workflow(function(self)
      self:on_compensate("u", undo)
      self:wait_event("never")
    end)():start()
    engine:drain()
    engine:wait(returned)
    engine:wait(again)
    assert.equal("held", engine._core:journal_get(held._record.id).mode)
    assert.is_true(forced:abort("now", { force = true }))
    aborted(engine, forced)
    assert.equal(0, undone)
    assert.is_true(held:abort("give up")) -- that is no hold any more
    aborted(engine, held)
    assert.equal(1, undone)
  end)

  it("W123 branches are cancelled first, and clean up", function()
    local engine <close> = open()
    local events = {}
    local stage = workflow(function(self)
      self:on_compensate("undo", function() events[#events + 1] = "undone" end)
      self:go(function()
        local ok, problem = pcall(self.wait_event, self, "never")
        self:sleep(10)
        self:step("clean", function() events[#events + 1] = tostring(ok) .. " " .. problem.message end)
      end)
      self:sleep(1)
      error("no", 0)
    end)():start()
    aborted(engine, stage)
    assert.same({ "false the run has failed: Error: no", "undone" }, events)
  end)

  it("W123 W177 are executed in tests, too, and the error comes out", function()
    local undone = 0
    local ok, problem = pcall(function()
      workflow(function(self)
        self:on_compensate("undo", function() undone = undone + 1 end)
        error("no", 0)
      end)():start_test()
    end)
    assert.is_false(ok)
    assert.match("no", tostring(problem))
    assert.is_true(undone >= 1)
  end)
end)
