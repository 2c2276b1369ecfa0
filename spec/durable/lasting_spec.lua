-- Durable functions that do not come to an end at once: failures that last, blocked bodies, bursts of signals.

local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"
local helper = require "spec.support.helper"
local support = require "spec.durable.support"

local DAY <const> = 86400

describe("a durable function that lasts", function()
  local engine

  after_each(helper.finish)
  teardown(helper.clean)

  local function open(options)
    options = options or {}
    options.warm_runs = support.warm_runs
    engine = helper.open(options)
  end

  local function workflow(definition)
    if type(definition) == "function" then definition = { run = definition } end
    return pipeline.workflow(helper.name("Lasting"), definition)
  end

  local function log_of(text)
    local found = {}
    for _, line in ipairs(helper.log()) do
      if line:find(text, 1, true) then found[#found + 1] = line end
    end
    return found
  end

  it("W8 has its outputs visible when its body has returned, and is done when its children have settled", function()
    open()
    local Child = helper.define(function() return 1 end)
    local class = workflow { output_names = { "other" }, run = function(self)
      local slow = Child()
      slow.queue_name = "default"
      self:spawn(slow)
      self:fill("other", "o")
      return "mine"
    end }
    local Slow = pipeline.workflow(helper.name("Slow"), { run = function(self) self:sleep(DAY) return 2 end })
    local waits = workflow { output_names = { "other" }, run = function(self)
      self:spawn(Slow())
      self:fill("other", "o")
      return "mine"
    end }
    local stage, fast = waits():start(), class():start()
    engine:drain()
    local seen = engine:from_id(stage.id)
    assert.same({ "mine", "o" }, { seen.outputs.default.value, seen.outputs.other.value })
    assert.is_false(seen.has_finalized)
    assert.is_true(engine:from_id(fast.id).has_finalized)
    engine:wait(stage)
    assert.same({ "mine", "o" }, { stage.outputs.default.value, stage.outputs.other.value })
    assert.equal(1700000000 + DAY, engine:stage(stage.id).ended // 1)
  end)

  it("W8 W98 a child that nobody awaits and that is aborted fails it all the same", function()
    open()
    local Bad = pipeline.workflow(helper.name("Bad"), { run = function(self)
      self:sleep(DAY)
      error(pipeline.Abort("child is gone"))
    end })
    local stage = workflow(function(self)
      self:spawn(Bad())
      return "mine"
    end)():start()
    engine:drain()
    assert.equal("mine", engine:from_id(stage.id).outputs.default.value)
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
    assert.match("child is gone", problem.message)
  end)

  it("W47 resume with retry forgets the failure that has left run, and gives the step all its attempts", function()
    open()
    local calls, before, works = 0, 0, false
    local class = workflow { on_error = "hold", max_attempts = 2, backoff_seconds = 1, run = function(self)
      local n = self:step("before", function() before = before + 1 return 40 end)
      return n + self:step("bad", function()
        calls = calls + 1
        if not works then error("no luck") end
        return 2
      end)
    end }
    local stage = class():start()
    local function go_on(given)
      assert.is_true(engine:resume(stage, given))
      engine:drain { delayed = true }
    end
    engine:drain { delayed = true }
    assert.equal(2, calls)
    go_on()
    assert.same({ 2, "held" }, { calls, engine._core:journal_get(stage._id).mode })
    go_on { retry = true }
    assert.same({ 4, "held" }, { calls, engine._core:journal_get(stage._id).mode })
    works = true
    go_on()
    assert.equal(4, calls)
    go_on { retry = true }
    assert.equal(42, engine:wait(stage, { timeout = 0 }).default.value)
    assert.same({ 5, 1 }, { calls, before })
  end)

  it("W47 retry does not forget what a step of an aborted child or the body itself has done", function()
    open()
    local entered = 0
    local stage = workflow { on_error = "hold", run = function(self)
      entered = entered + 1
      pcall(self.step, self, { name = "caught", max_attempts = 1 }, error, "x")
      error("mine")
    end }():start()
    engine:drain()
    assert.is_true(engine:resume(stage, { retry = true }))
    engine:drain { delayed = true }
    assert.same({ 2, "held" }, { entered, engine._core:journal_get(stage._id).mode })
    assert.equal(1, engine:get_journal(stage)[1].attempt)
  end)

  it("W32 W49 a step that never succeeds backs off up to thirty days, says why, and never spins", function()
    open()
    local times = {}
    local stage = workflow(function(self)
      self:step({ name = "hopeless", max_attempts = math.huge }, function()
        times[#times + 1] = engine:now()
        error("nobody is there")
      end)
    end)():start()
    engine:sleep(365 * DAY)
    assert.is_true(#times > 15 and #times < 40)
    assert.near(30 * DAY, times[#times] - times[#times - 1], 10)
    local seen = engine:stage(stage.id)
    assert.match("attempt %d+ of step hopeless at .* nobody is there", seen.state_words)
    local calls = 0
    stage = workflow(function(self)
      self:step({ name = "quick", max_attempts = 1200, backoff_seconds = 0 }, function()
        calls = calls + 1
        if calls < 1200 then error("not yet") end
      end)
      return self:now()
    end)():start()
    engine:drain()
    assert.equal(1200, calls)
    assert.is_true(engine:wait(stage, { timeout = 0 }).default.value - engine:now() < 1)
  end)

  it("W52 a transaction that waits for too long is rolled back, and its attempt has failed", function()
    open { virtual_time = false, transaction_timeout = 0.2 }
    local calls, seen = 0, nil
    local stage = workflow { max_attempts = 2, backoff_seconds = 0, run = function(self)
      return self:transaction("slow", function(tx)
        calls = calls + 1
        tx:execute("CREATE TABLE IF NOT EXISTS slow (x)")
        tx:execute("INSERT INTO slow VALUES (1)")
        while calls == 1 and not seen do tasklets.await(tasklets.sleep(0.05)) end
        return tx:query("SELECT count(*) AS n FROM slow")[1].n
      end)
    end }():start()
    tasklets.tasklet(function() -- others wait no longer than that
      while calls == 0 do tasklets.await(tasklets.sleep(0.01)) end
      workflow(function() end)():start()
      seen = calls
    end)()
    assert.equal(1, engine:wait(stage, { timeout = 60 }).default.value)
    assert.same({ 2, 1 }, { calls, seen })
    assert.match("attempt 1 of 2: TimeoutError: .*held longer than 0.2 s", log_of("step slow of")[1])
  end)

  it("W92 signals that come while it ends or continues as new are not lost, and do not put off its end", function()
    open()
    local taken, sent = {}, 0
    local stage
    local function burst(n)
      for _ = 1, n do
        if engine:signal(stage, "x", sent + 1) == true then sent = sent + 1 end
      end
    end
    stage = workflow(function(self, n)
      for _ = 1, 3 do
        taken[#taken + 1] = self:wait_event("x")
        self:step("more", burst, 2)
      end
      if n == 10 then return n end
      return self:continue_as_new(n + 1)
    end)(1)
    stage:start()
    engine:drain()
    burst(1)
    engine:drain()
    assert.equal(10, engine:wait(stage, { timeout = 0 }).default.value)
    for i = 1, 30 do assert.equal(i, taken[i]) end
    assert.same({ 30, 61 }, { #taken, sent })
    assert.same({ false, "final" }, { engine:signal(stage, "x") })
    assert.equal(1, #log_of 'nothing in it has taken signal "x"')
  end)

  it("W109 a body that computes for long is told of, with its line; the claim is not lost", function()
    open { virtual_time = false, block_warning = 0.05, lease_seconds = 1 }
    local entered = 0
    local stage = workflow(function(self)
      entered = entered + 1
      self:step("a", function() end)
      local from = os.clock()
      while os.clock() - from < 0.1 do end
      local value = self:step("b", function() return entered end)
      return value
    end)():start()
    assert.equal(1, engine:wait(stage, { timeout = 60 }).default.value)
    engine:drain() -- the run is final, and its coroutine perhaps not over yet
    local said = log_of "has computed for"
    assert.is_true(#said >= 1)
    assert.match("without waiting, up to spec/durable/lasting_spec.lua:%d+", table.concat(said, "\n"))
  end)
end)
