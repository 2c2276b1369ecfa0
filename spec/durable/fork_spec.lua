-- durable/reach/fork.lua: a new run with the first entries of another one's journal.

local pipeline = require "pipeline"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local open, workflow = support.open, support.workflows { backoff_seconds = 1 }

describe("a fork of a durable function", function()
  it("W155 W57 keeps what was before an entry, does the rest anew with keys of its own, and both show it", function()
    local engine <close> = open()
    local effects, rate = {}, 1
    local stage = workflow(function(self, n)
      local random = self:random(1000000)
      self:set_value("random", random)
      local function step(name, value)
        return self:step(name, function()
          effects[#effects + 1] = pipeline.step().key:match("/(.*)$")
          return value
        end)
      end
      local a = step("load", n)
      self:sleep(10)
      local b = step("rate", rate)
      local c = step("rate", rate * 2)
      return { a, b, c, random }
    end)(5):start()
    local before = engine:wait(stage).default.value
    assert.same({ 5, 1, 2 }, { before[1], before[2], before[3] })
    assert.same({ "load#1", "rate#1", "rate#2" }, effects)
    effects, rate = {}, 10
    local fork = engine:fork(stage, { from = "rate#2", idempotence_key = "fork" })
    assert.not_equal(stage.id, fork.id)
    local after = engine:wait(fork).default.value
    assert.same({ 5, 1, 20, before[4] }, after)
    assert.same({ "rate#2" }, effects)
    assert.equal(before[4], engine:get_value(fork, "random"))
    assert.same(before, engine:wait(stage).default.value)
    assert.equal(stage.id, engine:stage(fork.id).forked_from)
    assert.equal(1, #engine:stage(stage.id).forks)
    assert.is_nil(engine:stage(stage.id).forked_from)
    local by_position = engine:fork(stage, { from = 3 })
    assert.same({ 5, 10, 20, before[4] }, engine:wait(by_position).default.value)
    assert.same({}, engine:check())
  end)

  it("W155 refuses what is not there, and a key that is taken", function()
    local engine <close> = open()
    local stage = workflow(function(self) self:step("one", function() end) end)():start { idempotence_key = "first" }
    engine:drain()
    assert.has_error(function() engine:fork(stage, { from = "two" }) end)
    assert.has_error(function() engine:fork(stage, { from = 2 }) end)
    assert.has_error(function() engine:fork(stage, {}) end)
    local ok, problem = pcall(engine.fork, engine, "first", { from = "one", idempotence_key = "first" })
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.PipelineExistsError))
    ok, problem = pcall(engine.fork, engine, "nobody", { from = "one" })
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.UnexpectedPipelineError))
  end)

  it("W155 of a run that is suspended goes on beside it; signals that wait come along if asked for", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local n = self:step("one", function() return 1 end)
      return { n, self:wait_event("go"), self:wait_event("more") }
    end)():start()
    engine:drain()
    engine:signal(stage, "more", "kept")
    local fork = engine:fork(stage, { from = "go", mail = true })
    engine:drain()
    engine:signal(fork, "go", "fork")
    engine:drain()
    assert.same({ 1, "fork", "kept" }, engine:wait(fork).default.value)
    assert.match("waits for signal go", engine:stage(stage.id).state_words)
    engine:signal(stage, "go", "original")
    engine:drain()
    assert.same({ 1, "original", "kept" }, engine:wait(stage).default.value)
  end)

  it("W155 with other arguments that lead elsewhere in what is kept is held, as a divergence is", function()
    local engine <close> = open()
    local stage = workflow(function(self, name)
      self:step(name, function() end)
      self:step("last", function() end)
    end)("a"):start()
    engine:drain()
    local fork = engine:fork(stage, { from = "last", args = { "b" } })
    engine:drain()
    assert.match("held: NondeterminismError", engine:stage(fork.id).state_words)
    local same = engine:fork(stage, { from = "a", args = { "b" } })
    engine:drain()
    assert.equal("done", engine:stage(same.id).state)
  end)

  it("W156 W157 that keeps a child which is not final is refused, unless that is to be done anew", function()
    local engine <close> = open()
    local Waits = pipeline.define("durable_fork.Waits", { async = true, run = function() end })
    local Quick = pipeline.define("durable_fork.Quick", { run = function() return "quick" end })
    local stage = workflow(function(self)
      local first = self:await(self:spawn(Quick()))
      self:step("count", function() end)
      local child = self:spawn(Waits())
      self:step("after", function() end)
      return { first, self:await(child) }
    end)():start()
    engine:drain()
    local ok, problem = pcall(engine.fork, engine, stage, { from = "after" })
    assert.is_false(ok)
    assert.match('child "durable_fork.Waits" %(.-%), which it would keep, is not final', problem.message)
    local fork = engine:fork(stage, { from = "after", children = "rerun" })
    engine:drain()
    local function child_of(of)
      for _, item in ipairs(engine:tree(of.id).items) do
        if item.class == "durable_fork.Waits" then return item.id end
      end
    end
    assert.not_equal(child_of(stage), child_of(fork))
    engine:complete(child_of(fork), "of the fork")
    engine:drain()
    assert.same({ "quick", "of the fork" }, engine:wait(fork).default.value)
    assert.match("suspended", engine:stage(stage.id).state_words)
    engine:complete(child_of(stage), "of the original")
    engine:drain()
    assert.same({ "quick", "of the original" }, engine:wait(stage).default.value)
    assert.same({}, engine:check())
  end)

  it("W113 W155 from where it was cancelled does anew what was stopped; from behind that it is aborted, too", function()
    local engine <close> = open()
    local ran, stop = {}, true
    local class = workflow(function(self)
      local function step(name, seconds)
        return self:start_step(name, function()
          ran[#ran + 1] = name
          if seconds and stop then tasklets.await(tasklets.sleep(seconds)) end
          return name
        end)
      end
      local slow, timer = step("slow", 1000), self:timer(50)
      local ok, problem = pcall(self.all, self, { slow, timer, self:event("e") })
      self:await(step "clean")
      if not ok then error(problem, 0) end
      return self:await(slow)
    end)
    local stage = class():start()
    tasklets.tasklet(function()
      tasklets.await(tasklets.sleep(5))
      stage:abort("enough")
    end)()
    assert.is_false((pcall(engine.wait, engine, stage)))
    assert.same({ "slow", "clean" }, ran)
    stop = false
    local fork = engine:fork(stage.id, { from = "abort" })
    engine:signal(fork, "e")
    assert.equal("slow", engine:wait(fork).default.value)
    assert.same({ "slow", "clean", "slow", "clean" }, ran)
    local ok, problem = pcall(engine.wait, engine, engine:fork(stage.id, { from = "clean" }))
    assert.is_true(not ok and pipeline.is(problem, pipeline.AbortedError))
    assert.same({ "slow", "clean", "slow", "clean", "clean" }, ran)
  end)
end)
