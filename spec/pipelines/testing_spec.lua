-- Test mode: start_test (P219–P232, G21, G22).

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

describe("start_test", function()
  local trace
  local Give = pipeline.define("testing.Give", { run = function(_, value) return value end })
  local Note = pipeline.define("testing.Note", {
    run = function(_, name)
      table.insert(trace, name)
      return name
    end,
  })
  local Sum = pipeline.define("testing.Sum", {
    run = function(_, ...)
      local sum = 0
      for _, n in ipairs { ... } do sum = sum + n end
      return sum
    end,
  })
  local Async = pipeline.define("testing.Async", {
    async = true, run = function() error("must not run") end, run_test = function(self, value) self:complete(value) end,
  })

  before_each(function() trace = {} end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function result(stage, options)
    return stage:start_test(options).outputs.default.value
  end

  it("P219 runs the whole tree in the caller; outputs can be read afterwards", function()
    local Tree = helper.define {
      output_names = { "count" },
      run = function(self, ...)
        table.insert(trace, "root")
        local list = {}
        for i, n in ipairs { ... } do list[i] = self:spawn(Sum(n, 1)) end
        self:fill("count", #list)
        local sum = self:spawn(Sum(table.unpack(list)))
        self:after({ sum }, function() self:spawn(Note("after")) end)
        return sum
      end,
    }
    local stage = Tree(1, 2, 3)
    assert.equal(stage, stage:start_test())
    assert.same({ "root", "after" }, trace)
    assert.same({ 9, 3 }, { stage.outputs.default.value, stage.outputs.count.value })
    assert.is_true(stage.outputs.default.filled)
    assert.matches("^%x+$", stage.outputs.default.filler)
    assert.equal("number", type(stage.outputs.default.fill_time))
    assert.is_true(stage.test_mode)
    assert.same({ 1, 2, 3 }, { table.unpack(stage.args) })
    assert.equal(stage.id, stage.root_id)
    assert.is_true(stage.is_root)
  end)

  it("P219 takes key and base path; other options of start have no effect, unknown ones raise", function()
    local seen = {}
    local Root = helper.define(function(self)
      seen.id, seen.base_path, seen.queue = self.id, self.base_path, self.queue_name
      seen.late = self.test_mode and "test"
    end)
    local stage = Root():start_test {
      idempotence_key = "mine", base_path = "/base", queue_name = "other", countdown = 1e6, return_task = true,
    }
    assert.same({ id = "mine", base_path = "/base", queue = "default", late = "test" }, seen)
    assert.same({ "mine", "/base" }, { stage.id, stage.base_path })
    helper.misuse("unknown option 'rety'; did you mean 'retry'%?", stage.start_test, Root(), { rety = true })
    helper.raises(pipeline.UnexpectedPipelineError, stage.start_test, stage)
    helper.raises(pipeline.UnexpectedPipelineError, stage.start, stage)
  end)

  it("P219 works beside an engine and leaves it alone", function()
    local engine = helper.open()
    local seen
    local Root = helper.define(function(self)
      seen = pipeline.default()
      self:spawn(Give(1))
    end)
    local real = Give("real"):start()
    assert.equal(1, result(Root()))
    assert.not_equal(engine, seen)
    assert.equal(engine, pipeline.default())
    assert.equal("run", helper.entry(real).status)
    engine:drain()
    assert.equal("real", engine:wait(real).default.value)
  end)

  it("P219 time is virtual: nothing is waited for", function()
    local Waits = helper.define(function()
      local engine = pipeline.default()
      local before = engine:now()
      engine:sleep(86400)
      return engine:now() - before
    end)
    local started = os.time()
    assert.equal(86400.0, result(Waits()))
    assert.is_true(os.time() - started < 60)
  end)

  it("P220 leaves no record, so a key may be used again (G22)", function()
    local engine = helper.open()
    for _ = 1, 3 do assert.equal(7, result(Give(7), { idempotence_key = "same" })) end
    assert.equal(8, helper.result(Give(8), { idempotence_key = "same" }))
    assert.equal(9, result(Give(9), { idempotence_key = "same" }))
    assert.equal(1, #pipeline.get_root_list().pipelines)
    assert.equal(1, engine:status().stages)
  end)

  it("P221 a child runs when it is spawned and its run's parent has ended; one not spawned never (G22)", function()
    local Tree = helper.define(function(self)
      Note("never")
      local child = Note("child")
      table.insert(trace, "made")
      self:spawn(child)
      table.insert(trace, "end of run")
    end)
    assert.equal("child", result(Tree()))
    assert.same({ "made", "end of run", "child" }, trace)
  end)

  it("P222 prefers run_test, of sync and generator", function()
    local Sync = helper.define { run = function() return "run" end, run_test = function(_, value) return value end }
    local Generator = helper.define {
      run = function(self) self:spawn(Give("run")) end,
      run_test = function(self) self:spawn(Sync("run_test")) end,
    }
    assert.equal("test", result(Sync("test")))
    assert.equal("run_test", result(Generator()))
    helper.open()
    assert.equal("run", helper.result(Sync("test")))
    assert.equal("run", helper.result(Generator()))
  end)

  it("P222 an async pipeline needs run_test", function()
    assert.equal("done", result(Async("done")))
    local Tree = helper.define(function(self) self:spawn(Give(self:spawn(Async("below")))) end)
    assert.equal("below", result(Tree()))
    local NoTest = helper.define { async = true, run = function(self) self:complete(1) end }
    local problem = helper.raises(pipeline.UnexpectedPipelineError, result, NoTest())
    assert.matches("is async and has no run_test function", problem.message, 1, true)
    local Above = helper.define(function(self) self:spawn(NoTest()) end)
    helper.raises(pipeline.UnexpectedPipelineError, result, Above())
  end)

  it("P223 run_test may be of another kind than run", function()
    local Becomes = helper.define {
      run = function() return "plain" end, run_test = function(self) self:spawn(Give("child")) end,
    }
    local Ceases = helper.define {
      run = function(self) self:spawn(Give("child")) end, run_test = function() return "plain" end,
    }
    assert.equal("child", result(Becomes()))
    assert.equal("plain", result(Ceases()))
  end)

  it("P224 using an output that is not filled raises SlotNotFilledError", function()
    local Reads = helper.define(function(self) return self:spawn(Give(1)).default.value end)
    local problem = helper.raises(pipeline.SlotNotFilledError, result, Reads())
    assert.matches("value of slot 'default' of testing.Give(1): it is not filled", problem.message, 1, true)
    local Forgets = helper.define { async = true, run = function() end, run_test = function() end }
    local Waits = helper.define(function(self)
      self:spawn(Note(self:spawn(Forgets())))
      return "own"
    end)
    problem = helper.raises(pipeline.SlotNotFilledError, result, Waits())
    assert.matches(Forgets.class_path, problem.message, 1, true)
    assert.same({}, trace)
    helper.raises(pipeline.SlotNotFilledError, result, Forgets())
    helper.raises(pipeline.SlotNotFilledError, result, Forgets(), { idempotence_key = "key" })
  end)

  it("P225 prefers finalized_test; has_finalized stays false", function()
    local Both = helper.define {
      run = function(_, value) return value end,
      finalized = function() table.insert(trace, "finalized") end,
      finalized_test = function(self)
        table.insert(trace, { self.outputs.default.value, self.was_aborted, self.has_finalized })
      end,
    }
    local Only = helper.define { run = Give.run, finalized = function() table.insert(trace, "only") end }
    local Test = helper.define { run = Give.run, finalized_test = function() table.insert(trace, "test") end }
    local stage = Both(5):start_test()
    assert.same({ { 5, false, false } }, trace)
    assert.is_false(stage.has_finalized)
    assert.is_false(stage.was_aborted)
    trace = {}
    Only(1):start_test()
    Test(1):start_test()
    Give(1):start_test()
    assert.same({ "only", "test" }, trace)
    trace = {}
    helper.open()
    helper.result(Both(1))
    helper.result(Test(1))
    assert.same({ "finalized" }, trace)
    local Tree = helper.define(function(self) self:spawn(Both(6)) end)
    trace = {}
    Tree():start_test()
    assert.same({ { 6, false, false } }, trace)
  end)

  it("P226 an error comes straight out, Retry and Abort included: no retry, no finalized", function()
    local runs
    local object = setmetatable({}, { __tostring = function() return "mine" end })
    local at = "^spec/pipelines/testing_spec.lua:"
    for _, case in ipairs {
      { function(self) self:retry("once more") end, pipeline.Retry, at .. "211: Retry: once more$" },
      { function(self) self:abort("enough") end, pipeline.Abort, at .. "212: Abort: enough$" },
      { function() error(pipeline.Retry "thrown") end, pipeline.Retry, at .. "213: Retry: thrown$" },
      { function() error(object) end, nil, "^mine$" },
      { function() error("text", 0) end, nil, "^text$" },
      { function() error(17, 0) end, nil, "^17$" },
    } do
      runs = 0
      local Fails = helper.define {
        run = function(self)
          runs = runs + 1
          case[1](self)
        end,
        finalized = function() table.insert(trace, "finalized") end,
      }
      local Tree = helper.define {
        run = function(self)
          local f = self:spawn(Fails())
          self:after({ f }, function() self:spawn(Note("after")) end)
        end,
        finalized = Fails.finalized,
      }
      for _, stage in ipairs { Fails(), Tree() } do
        local ok, problem = pcall(stage.start_test, stage)
        assert.is_false(ok)
        assert.matches(case[3], tostring(problem))
        if case[2] then assert.is_true(pipeline.is(problem, case[2])) end
        if case[3] == "mine" then assert.equal(object, problem) end
      end
      assert.equal(2, runs)
    end
    assert.same({}, trace)
  end)

  it("P226 also one of finalized", function()
    pipeline.set_logger(function() end)
    finally(function() pipeline.set_logger(nil) end)
    local Fails = helper.define { run = Give.run, finalized = function() error("in finalized", 0) end }
    helper.misuse("^in finalized$", result, Fails(1))
    local FailsTest = helper.define { run = Give.run, finalized_test = function() error("in finalized_test", 0) end }
    local Tree = helper.define(function(self) self:spawn(FailsTest(1)) end)
    helper.misuse("^in finalized_test$", result, Tree())
  end)

  it("P226 with retry = true failed attempts are repeated in virtual time, and end in AbortedError", function()
    local times = {}
    local Flaky = helper.define {
      run = function(self, needed)
        table.insert(times, math.floor(pipeline.default():now()))
        if self.current_attempt < needed then error("attempt " .. self.current_attempt, 0) end
        return self.current_attempt
      end,
      finalized = function(self) table.insert(trace, self.was_aborted) end,
    }
    assert.equal(3, result(Flaky(3), { retry = true }))
    assert.same({ 15, 30 }, { times[2] - times[1], times[3] - times[2] })
    assert.same({ false }, trace)
    local problem = helper.raises(pipeline.AbortedError, result, Flaky(4), { retry = true })
    assert.equal("Aborting after 3 attempts. Error: attempt 3", problem.reason)
    assert.equal(3, #problem.failures)
    assert.same({ false, true }, trace)
    local Quits = helper.define(function(self) self:abort("no") end)
    local stage = Quits()
    assert.equal("no", helper.raises(pipeline.AbortedError, result, stage, { retry = true }).reason)
    assert.is_true(stage.was_aborted)
  end)

  it("P227 outputs of the root: undeclared ones raise, declared ones must be filled", function()
    local stage = Give(1):start_test()
    helper.raises(pipeline.SlotNotDeclaredError, function() return stage.outputs.other end)
    local Undeclared = helper.define(function(self) self:fill("other", 1) end)
    helper.raises(pipeline.SlotNotDeclaredError, result, Undeclared())
    local Unfilled = helper.define { output_names = { "x" }, run = function() return 1 end }
    helper.raises(pipeline.SlotNotFilledError, result, Unfilled())
    local AsyncUnfilled = helper.define {
      async = true, output_names = { "x" }, run = function() end, run_test = function(self) self:complete(1) end,
    }
    local problem = helper.raises(pipeline.SlotNotFilledError, result, AsyncUnfilled())
    assert.matches("output 'x' of " .. AsyncUnfilled.class_path, problem.message, 1, true)
  end)

  it("P228 a bad child, or the same one twice, raises as in production", function()
    local Twice = helper.define(function(self)
      local child = Give(1)
      self:spawn(child)
      self:spawn(child)
    end)
    local Bad = helper.define(function(self) self:spawn("what") end)
    for _, class in ipairs { Twice, Bad } do helper.raises(pipeline.UnexpectedPipelineError, result, class()) end
  end)

  it("P229 refuses what production refuses: nested in_order, outputs of dynamic children nobody reads (G21)", function()
    local Nested = helper.define(function(self)
      self:in_order(function() self:in_order(function() end) end)
    end)
    assert.matches("in_order cannot be nested", helper.raises(pipeline.UnexpectedPipelineError, result,
      Nested()).message, 1, true)
    local Dynamic = helper.define(function(self) self:fill("nobody", 1) end)
    local Unread = helper.define(function(self) self:spawn(Dynamic()) end)
    helper.raises(pipeline.SlotNotDeclaredError, result, Unread())
    local Missing = helper.define(function(self) return self:spawn(Give(1)).missing end)
    helper.raises(pipeline.SlotNotFilledError, result, Missing())
    local Strict = helper.define {
      output_names = { "x" },
      run = function(self)
        self:spawn(Sum())
        self:spawn(Give(2))
        self:fill("x", 1)
      end,
    }
    assert.equal(2, result(Strict()))
  end)

  it("P230 values are stored and read back as in production", function()
    local given = { 1 }
    local Changes = helper.define(function(self, list)
      table.insert(list, 2)
      local f = self:spawn(Give(list))
      return { f, list }
    end)
    local stage = Changes(given):start_test()
    local out = stage.outputs.default.value
    assert.same({ { 1, 2 }, { 1, 2 } }, out)
    assert.not_equal(out[1], out[2])
    assert.same({ 1 }, given)
    helper.raises(pipeline.SerializationError, result, Give(function() return given end))
    local Bad = helper.define(function() return function() return given end end)
    helper.raises(pipeline.SerializationError, result, Bad())
  end)

  it("P231 no mail is sent: a root without finalized ends in silence", function()
    local lines = {}
    pipeline.set_logger(function(level, text) lines[#lines + 1] = { level, text } end)
    finally(function() pipeline.set_logger(nil) end)
    local stage = Give(1):start_test()
    assert.same({}, lines)
    assert.is_false(stage.was_aborted)
  end)

  it("P231 cleanup in finalized leaves the outputs readable", function()
    local Cleans = helper.define { run = Give.run, finalized = function(self) self:cleanup() end }
    assert.equal(4, result(Cleans(4)))
  end)

  describe("of a report of counts", function()
    -- The demo of the original: two ways of counting a list, one useless child, and an ordered end.
    local Useless = pipeline.define("testing.report.Useless", {
      backoff_seconds = 1,
      run = function(self)
        table.insert(trace, "useless " .. self.current_attempt)
        if not self.test_mode and self.current_attempt == 1 then error(pipeline.Retry "I think I should try again") end
      end,
    })
    local CountOne = pipeline.define("testing.report.CountOne", {
      run = function(_, things, wanted)
        local count = 0
        for _, thing in ipairs(things) do
          if thing == wanted then count = count + 1 end
        end
        return count
      end,
    })
    local SplitCount = pipeline.define("testing.report.SplitCount", {
      run = function(self, things, ...)
        local counts = {}
        for i, wanted in ipairs { ... } do counts[i] = self:spawn(CountOne(things, wanted)) end
        self:spawn(Sum(table.unpack(counts)))
      end,
    })
    local CountReport = pipeline.define("testing.report.CountReport", {
      output_names = { "text" },
      run = function(self, things, ...)
        local total = self:spawn(SplitCount(things, ...))
        self:spawn(Useless())
        self:after({ total }, function()
          self:in_order(function()
            self:spawn(Note("total known"))
            self:spawn(Note(total))
          end)
        end)
        self:fill("text", ("counts of %d things"):format(#things))
        return total
      end,
      finalized = function(self) table.insert(trace, "finalized " .. self.outputs.default.value) end,
    })
    local things = { "red", "blue", "red", "green" }

    it("P232 gives 4 in test mode, where the child that wants a retry looks at test_mode", function()
      local stage = CountReport(things, "red", "green", "blue"):start_test()
      assert.same({ 4, "counts of 4 things" }, { stage.outputs.default.value, stage.outputs.text.value })
      assert.same({ "useless 1", "total known", 4, "finalized 4" }, trace)
      assert.equal(2, result(CountReport(things, "red")))
      assert.equal(0, result(CountReport(things)))
    end)

    it("P232 gives 4 for real as well, after the retry", function()
      local engine = helper.open()
      local stage = CountReport(things, "red", "green", "blue"):start { idempotence_key = "report" }
      engine:drain()
      local useless = helper.find(stage, Useless)
      assert.same({ "retry", 2, "I think I should try again" }, {
        useless.status, useless.currentAttempt, useless.lastRetryMessage,
      })
      assert.equal("run", helper.entry(stage).status)
      local outputs = engine:wait("report")
      assert.same({ 4, "counts of 4 things" }, { outputs.default.value, outputs.text.value })
      assert.same({ "useless 1", "total known", 4, "useless 2", "finalized 4" }, trace)
      local tree = pipeline.get_status_tree("report")
      local count = 0
      for _, entry in pairs(tree.pipelines) do
        assert.equal("done", entry.status)
        count = count + 1
      end
      assert.equal(9, count)
    end)
  end)
end)
