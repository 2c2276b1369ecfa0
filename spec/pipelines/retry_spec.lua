-- Failures, retry and backoff (P103–P117, G1, G2, G6, G9).

local pipeline = require "pipeline"
local delivery = require "spec.support.delivery"
local helper = require "spec.support.helper"

local START = 1700000000.0

local record, child = helper.record, helper.child

local names = { rate = function() return 19 end }
package.loaded["spec.retry.names"] = names

describe("a failed attempt", function()
  local engine, trace
  local Give = pipeline.define("retry.Give", { run = function(_, value) return value end })
  local Async = pipeline.define("retry.Async", { async = true, run = function() end })

  before_each(function()
    engine = helper.open()
    trace = {}
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function note_time()
    table.insert(trace, engine:now() - START)
  end

  -- A definition whose runs note their times and fail.
  local function failing(fields)
    local definition = {
      run = function()
        note_time()
        error("boom", 0)
      end,
    }
    for name, value in pairs(fields or {}) do definition[name] = value end
    return helper.define(definition)
  end

  it("P103 comes of any error in any kind of run, and says class and text", function()
    local runs = {
      sync = function() error("boom", 0) end,
      ["generator, before"] = function(self, fail)
        if fail then error("boom", 0) end
        self:spawn(Give(1))
      end,
      ["generator, after"] = function(self)
        self:spawn(Give(1))
        self:spawn(Give(2))
        error("boom", 0)
      end,
      nested = function() pcall(error, "other"); error("boom", 0) end,
    }
    for name, run in pairs(runs) do
      for _, async in ipairs { false, true } do
        local stage = helper.define({ async = async, run = run })(true):start()
        engine:drain()
        local found = record(stage)
        assert.same({ "ready", 1, "Error: boom", START + 15 },
          { found.state, found.attempt, found.retry_message, found.retry_at }, name)
        local entry = helper.entry(stage)
        assert.same({ "retry", 2, "Error: boom", (START + 15) * 1000 },
          { entry.status, entry.currentAttempt, entry.lastRetryMessage, entry.startTimeMs })
        assert.same({}, entry.children)
        assert.is_nil(found.abort_message)
      end
    end
  end)

  it("P103 takes any value as an error", function()
    local cases = {
      { "plain", "^Error: plain$" },
      { false, "^Error: nil$" }, -- error(nil)
      { 42, "^Error: 42$" },
      { { class = "Broke", message = "no money" }, "^Broke: no money$" },
      { setmetatable({}, { __name = "Mine", __tostring = function() return "mine it is" end }), "^Mine: mine it is$" },
      { setmetatable({}, { __tostring = function() error("worse") end }), "^Error: %(table without a readable" },
      { pipeline.SlotNotFilledError("which"), "^SlotNotFilledError: which$" },
      { pipeline.PipelineUserError("user"), "^PipelineUserError: user$" },
    }
    for _, case in ipairs(cases) do
      local Fail = helper.define(function() error(case[1] or nil, 0) end)
      local stage = Fail():start()
      engine:drain()
      assert.matches(case[2], record(stage).retry_message)
    end
    local At = helper.define(function() error("here") end)
    local stage = At():start()
    engine:drain()
    assert.matches("^Error: .*retry_spec.lua:%d+: here$", record(stage).retry_message)
    local failure = engine._core:failures_get(stage._id)[1]
    assert.same({ "Error", START }, { failure.error_class, failure.time })
    assert.matches("retry_spec.lua:%d+: here", failure.message)
    assert.matches("stack traceback:\n.*retry_spec.lua", failure.traceback)
    local Deep = helper.define(function()
      local function down() return 1 + down() end
      return down()
    end)
    local deep = Deep():start()
    engine:drain()
    assert.matches("^Error: .*stack overflow", record(deep).retry_message)
  end)

  it("P103 leaves no outputs behind, but for those it published (G6, G7)", function()
    local attempts = 0
    local Tree = helper.define {
      output_names = { "a", "streamed" },
      run = function(self)
        attempts = attempts + 1
        self:fill("default", "of attempt " .. attempts)
        self:fill("a", attempts)
        self:fill("streamed", attempts, { publish = true })
        if attempts == 1 then error("boom", 0) end
      end,
    }
    local Outer = helper.define(function(self)
      local f = self:spawn(Tree())
      local Note = helper.define(function(_, name, value) table.insert(trace, name .. value) end)
      self:spawn(Note("default ", f))
      self:spawn(Note("a ", f.a))
      self:spawn(Note("streamed ", f.streamed))
    end)
    local stage = Outer():start()
    engine:drain()
    assert.same({ "streamed 1" }, trace)
    engine:drain { delayed = true }
    table.sort(trace)
    assert.same({ "a 2", "default of attempt 2", "streamed 1" }, trace)
    assert.equal("done", record(stage).state)
  end)

  it("P104 of Retry stores the bare text", function()
    local runs = {
      function() error(pipeline.Retry "later, please") end,
      function(self) self:retry("later, please") end,
      function(self)
        self:spawn(Give(1))
        self:retry("later, please")
      end,
    }
    for _, run in ipairs(runs) do
      for _, async in ipairs { false, true } do
        local stage = helper.define({ async = async, run = run })():start()
        engine:drain()
        assert.same({ "ready", 1, "later, please", START + 15 },
          { record(stage).state, record(stage).attempt, record(stage).retry_message, record(stage).retry_at })
        assert.equal("Retry", engine._core:failures_get(stage._id)[1].error_class)
      end
    end
    local Silent = helper.define(function(self) self:retry() end)
    local stage = Silent():start()
    engine:drain()
    assert.equal("", record(stage).retry_message)
    assert.is_nil(helper.entry(stage).lastRetryMessage)
    local UsedUp = helper.define { max_attempts = 1, run = function(self) self:retry("never") end }
    assert.equal("Aborting after 1 attempt. never", helper.aborted(UsedUp()).reason)
  end)

  it("P105 is tried again after backoff_seconds * backoff_factor ^ its number from 0", function()
    local Fail = failing { max_attempts = 5, backoff_seconds = 12, backoff_factor = 1.5 }
    helper.aborted(Fail())
    assert.same({ 0, 12, 12 + 18, 12 + 18 + 27, 12 + 18 + 27 + 40.5 }, trace)
  end)

  it("P105 L32 may have to be tried again at once, never more than 30 days later", function()
    helper.aborted(failing { max_attempts = 3, backoff_seconds = 0 }())
    assert.same({ 0, 0, 0 }, trace)
    trace = {}
    helper.aborted(failing { max_attempts = 3, backoff_seconds = 1, backoff_factor = 1e300 }())
    assert.same({ 0, 1, 1 + 30 * 86400 }, trace)
    trace = {}
    local begin = engine:now() - START
    helper.aborted(failing { max_attempts = 3, backoff_seconds = 0, backoff_factor = 1e300 }())
    assert.same({ begin, begin, begin }, trace) -- 0 * inf is no time at all: nothing may hang
  end)

  it("P106 has the defaults 3 attempts, 15 s and factor 2", function()
    local Fail = failing()
    local stage = Fail()
    assert.same({ 3, 15, 2 }, { stage.max_attempts, stage.backoff_seconds, stage.backoff_factor })
    local problem = helper.aborted(stage)
    assert.same({ 0, 15, 45 }, trace)
    assert.equal(3, #problem.failures)
    for i, failure in ipairs(problem.failures) do
      assert.same({ trace[i] + START, "boom", "Error" }, { failure.time, failure.message, failure.error_class })
      assert.equal(i, failure.attempt)
    end
  end)

  it("P107 counts runs, not retries", function()
    helper.aborted(failing { max_attempts = 1 }())
    assert.same({ 0 }, trace)
    trace = {}
    local Twice = helper.define {
      max_attempts = 2,
      run = function(self)
        table.insert(trace, self.current_attempt)
        if self.current_attempt == 1 then error("boom") end
        return "second"
      end,
    }
    local stage = Twice()
    assert.equal("second", helper.result(stage))
    assert.same({ 1, 2 }, trace)
    assert.equal(2, stage.current_attempt)
    assert.equal("done", helper.entry(stage).status)
    assert.matches("boom", helper.entry(stage).lastRetryMessage)
  end)

  it("P108 keeps target, queue, arguments and place; its task is due when the delay is over", function()
    local claims = {}
    local Fail = helper.define {
      max_attempts = 2, backoff_seconds = 10, backoff_factor = 3, target = "backend",
      run = function(self, value)
        table.insert(trace, { self.queue_name, self.target, value, self.current_attempt, self.id })
        if self.current_attempt == 1 then error("boom") end
      end,
    }
    delivery.intercept(engine, function(claim, execute)
      table.insert(claims, { claim.kind, claim.eta - START, claim.queue, claim.name, claim.tries })
      execute()
    end)
    local stage = Fail { 1, "two" }
    helper.result(stage, { queue_name = "other" })
    assert.same({ { "run", 0, "other", nil, 0 }, { "run", 10, "other", nil, 0 } }, claims)
    for attempt = 1, 2 do
      assert.same({ "other", "backend", { 1, "two" }, attempt, stage.id }, trace[attempt])
    end
  end)

  it("P109 is never tried again before its time", function()
    local stage = failing { backoff_seconds = 100 }():start()
    engine:drain()
    local before = record(stage)
    engine:advance(99.999999)
    engine:drain()
    assert.same({ 0 }, trace)
    assert.same(before, record(stage))
    local again = helper.open { path = engine._path, virtual_start = START + 99.999999 }
    again:drain()
    assert.same({ 0 }, trace)
    again:close()
    engine:advance(0.000001)
    engine:drain()
    assert.same({ 0, 100 }, trace)
    assert.equal(2, record(stage).attempt)
  end)

  it("P110 that is the last one aborts the tree and says after how many", function()
    local Fail = failing { max_attempts = 2, backoff_seconds = 1 }
    local Tree = helper.define(function(self)
      self:spawn(Async())
      self:spawn(Give(self:spawn(Fail())))
    end)
    local stage = Tree()
    local problem = helper.aborted(stage)
    assert.equal("Aborting after 2 attempts. Error: boom", problem.reason)
    assert.same({ 2, "boom", "boom" }, { #problem.failures, problem.failures[1].message, problem.failures[2].message })
    local failed = record(child(stage, Fail))
    assert.same({ "aborted", 2, "Error: boom", problem.reason, START + 1 },
      { failed.state, failed.attempt, failed.retry_message, failed.abort_message, failed.finalized })
    assert.equal("aborted", record(child(stage, Give)).state)
  end)

  it("P111 that is the last one is the same as Abort: the root has flag and message (G2)", function()
    local Fail = failing { max_attempts = 1 }
    local Sibling = failing { max_attempts = 9, backoff_seconds = 50 }
    local Tree = helper.define(function(self)
      local f = self:spawn(Fail())
      self:spawn(Sibling())
      self:after({ f }, function() self:spawn(Sibling()) end)
    end)
    local order = {}
    delivery.intercept(engine, function(claim, execute)
      local class_path = claim.stage.class_path
      if class_path == Sibling.class_path then engine:sleep(5) end
      table.insert(order, class_path)
      execute()
    end)
    local stage = Tree():start()
    engine:drain { delayed = true }
    assert.same({ Tree.class_path, Fail.class_path, Sibling.class_path }, order) -- it was claimed before the abort
    assert.same({ 0, 5 }, trace)
    local root = record(stage)
    assert.same({ "aborted", true, "Aborting after 1 attempt. Error: boom", 0 },
      { root.state, root.abort_requested, root.abort_message, root.attempt })
    for _, member in ipairs(engine._core:tree_get(stage._id)) do assert.equal("aborted", member.state) end
    assert.equal(0, record(child(stage, Sibling)).attempt) -- its late failure was refused
  end)

  it("P112 may be declared from outside on an async pipeline whose try_cancel agrees", function()
    local agrees
    local Wait = helper.define {
      async = true, backoff_seconds = 12, backoff_factor = 1.5, max_attempts = 4,
      run = note_time,
      try_cancel = function(self)
        table.insert(trace, "asked " .. self.id)
        return agrees
      end,
    }
    local stage = Wait():start()
    engine:drain()
    local before = record(stage)
    agrees = false
    assert.is_false(stage:retry("no"))
    agrees = nil
    assert.is_false(stage:retry("no"))
    assert.same(before, record(stage))
    agrees = true
    assert.is_true(stage:retry("once more"))
    assert.same({ "ready", 1, "once more", START + 12 },
      { record(stage).state, record(stage).attempt, record(stage).retry_message, record(stage).retry_at })
    assert.equal("retry", helper.entry(stage).status)
    engine:drain { delayed = true }
    assert.equal("run", record(stage).state)
    assert.is_true(stage:retry("and again"))
    engine:drain { delayed = true }
    local asked = "asked " .. stage.id
    assert.same({ 0, asked, asked, asked, 12, asked, 12 + 18 }, trace)
    assert.equal(3, pipeline.from_id(stage.id).current_attempt)
    local Default = Async():start()
    engine:drain()
    assert.is_false(Default:retry("no"))
    assert.equal(0, record(Default).attempt)
  end)

  it("P113 cannot be declared on one that is not async, or not started", function()
    local stage = Give(1):start { countdown = 100 }
    helper.raises(pipeline.UnexpectedPipelineError, stage.retry, stage, "no")
    local new = Async()
    helper.raises(pipeline.UnexpectedPipelineError, new.retry, new, "no")
    assert.equal(0, record(stage).attempt)
  end)

  it("P114 from outside is capped as well: past max_attempts it is refused and nothing happens (G9)", function()
    local Wait = helper.define {
      async = true, backoff_seconds = 1, max_attempts = 3, run = note_time, try_cancel = function() return true end,
    }
    local stage = Wait():start()
    engine:drain()
    for _ = 1, 2 do
      assert.is_true(stage:retry("again"))
      assert.is_false(stage:retry("twice")) -- it is waiting for its next attempt already
      engine:drain { delayed = true }
    end
    local before = record(stage)
    assert.is_false(stage:retry("too often"))
    assert.same(before, record(stage))
    assert.same({ "run", 2, false }, { before.state, before.attempt, before.abort_requested })
    assert.same({ 0, 1, 3 }, trace)
    stage:complete("in the end")
    assert.equal("in the end", engine:wait(stage).default.value)
  end)

  it("P115 of an async pipeline runs it again from the start; what was filled stays filled", function()
    local Wait = helper.define {
      async = true, output_names = { "x" }, try_cancel = function() return true end,
      run = function(self)
        table.insert(trace, self.current_attempt)
        if self.current_attempt == 2 then error("boom", 0) end
      end,
    }
    local stage = Wait():start()
    engine:drain()
    stage:fill("x", "early")
    stage:retry()
    engine:drain { delayed = true }
    assert.same({ 1, 2, 3 }, trace)
    assert.equal("run", record(stage).state)
    assert.equal("Error: boom", record(stage).retry_message)
    stage:complete("late")
    local outputs = engine:wait(stage)
    assert.same({ "early", "late" }, { outputs.x.value, outputs.default.value })
  end)

  it("P115 counts the children of every attempt of an async pipeline", function()
    local Slow = helper.define {
      backoff_seconds = 15,
      run = function(self) if self.current_attempt == 1 then error("boom", 0) end end,
    }
    local Parent = helper.define {
      async = true, backoff_seconds = 15, try_cancel = function() return true end,
      run = function(self)
        if self.current_attempt == 1 then self:spawn(Slow()) else self:spawn(Async()) end
      end,
      finalized = function() table.insert(trace, "finalized") end,
    }
    local stage = Parent():start()
    engine:drain()
    assert.is_true(stage:retry()) -- due at the same time as the second attempt of the child
    local token, run_parent
    delivery.intercept(engine, function(claim, execute)
      if claim.id == stage._id and claim.kind == "run" then
        run_parent, token = execute, engine._core:token()
        return engine._core:suspend()
      end
      execute()
      if token and claim.stage.class_path == Slow.class_path then
        run_parent() -- so that both results are committed together, the child's first
        token:wake()
      end
    end)
    engine:drain { delayed = true }
    local found = record(stage)
    assert.same({ "run", 2 }, { found.state, found.open }) -- the new child and the own output
    assert.equal("done", record(child(stage, Slow)).state)
    stage:complete(1)
    engine:drain()
    assert.same({ "run", 1 }, { record(stage).state, record(stage).open })
    assert.same({}, trace)
    child(stage, Async):complete(2)
    engine:drain()
    assert.same({ "done", "finalized" }, { record(stage).state, trace[1] })
  end)

  it("P116 is raised to the caller of the loop as well with task_retry, in the whole tree", function()
    local problem = pipeline.Error("made by the child")
    local attempts = 0
    local Fail = helper.define(function(self)
      assert.is_true(self.task_retry)
      attempts = attempts + 1
      if attempts == 1 then error(problem) end
      return "at last"
    end)
    local Tree = helper.define(function(self)
      self:spawn(Give(1))
      self:spawn(Fail())
    end)
    local stage = Tree()
    assert.is_false(stage.task_retry)
    stage.task_retry = true
    stage:start()
    local ok, raised = pcall(engine.drain, engine)
    assert.is_false(ok)
    assert.equal(problem, raised)
    local failed = record(child(stage, Fail))
    assert.same({ "ready", 1, "Error: made by the child" }, { failed.state, failed.attempt, failed.retry_message })
    engine:drain { delayed = true }
    assert.equal("at last", engine:wait(stage).default.value)
    attempts = 0
    stage = Tree()
    stage.task_retry = true
    stage:start()
    helper.raises(pipeline.Error, engine.wait, engine, stage)
    assert.equal("at last", engine:wait(stage).default.value)
  end)

  it("P116 is not raised to anybody without task_retry", function()
    local stage = failing { max_attempts = 1 }()
    assert.equal(1, #helper.aborted(stage).failures)
    assert.is_false(stage.task_retry)
    helper.raises(pipeline.UnexpectedPipelineError, function() stage.task_retry = true end)
  end)

  it("P117 while its arguments are made is raised with task_retry, and not without", function()
    local Use = helper.define(function(_, fn) return fn() end)
    for _, flag in ipairs { true, false } do
      local stage = Use(names.rate)
      stage.task_retry = flag
      stage:start()
      local rate = names.rate
      names.rate = nil
      local ok, raised = pcall(engine.drain, engine)
      names.rate = rate
      assert.equal(not flag, ok)
      if flag then assert.is_true(pipeline.is(raised, pipeline.SerializationError)) end
      assert.matches("^SerializationError: ", record(stage).retry_message)
      engine:drain { delayed = true }
      assert.equal(19, engine:wait(stage).default.value)
    end
  end)

  it("P103 counts mistakes in the use of the library like any other error (G1)", function()
    local Twice = Give(1)
    local mistakes = {
      function(self) self:spawn(42) end,
      function(self)
        self:spawn(Twice)
        self:spawn(Twice)
      end,
      function(self) self:in_order(function() self:in_order(function() end) end) end,
      function(self) self:fill("unknown", 1) end,
      function(self) self:fill(42, 1) end,
      function() return coroutine.create(print) end,
    }
    for _, run in ipairs(mistakes) do
      local stage = helper.define({ max_attempts = 2, backoff_seconds = 1, run = run })()
      local problem = helper.aborted(stage)
      assert.equal(2, #problem.failures, problem.reason)
      assert.equal(2, record(stage).attempt)
    end
  end)
end)
