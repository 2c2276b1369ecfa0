-- Abort (P118–P134, G2–G5, G8, G24, G28, G30).

local pipeline = require "pipeline"
local delivery = require "spec.support.delivery"
local helper = require "spec.support.helper"

local START = 1700000000.0

local record, child, states = helper.record, helper.child, helper.states

describe("abort", function()
  local engine, trace

  local function finalized(self)
    table.insert(trace, ("%s %s"):format(self.class_path:match("[^.]*$"), tostring(self.was_aborted)))
  end

  local Give = pipeline.define("abort.Give", { run = function(_, value) return value end })
  local Last = pipeline.define("abort.Last", { run = function(_, value) return value end, finalized = finalized })
  local Async = pipeline.define("abort.Async", { async = true, run = function() end })
  local Willing = pipeline.define("abort.Willing", {
    async = true, output_names = { "x" }, run = function() end, finalized = finalized,
    try_cancel = function(self)
      table.insert(trace, ("asked %s %s"):format(self.class_path:match("[^.]*$"), tostring(self.was_aborted)))
      return true
    end,
  })

  before_each(function()
    engine = helper.open()
    trace = {}
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function start(run)
    local stage = helper.define { run = run, finalized = function() table.insert(trace, "root") end }():start()
    engine:drain()
    return stage
  end

  local function count(name)
    local sum = 0
    for _, line in ipairs(trace) do sum = sum + (line == name and 1 or 0) end
    return sum
  end

  it("P118 raised in a run of any kind ends the whole tree; the text is on the root only", function()
    local runs = {
      function() error(pipeline.Abort "no stock") end,
      function(self) self:abort("no stock") end,
      function(self)
        self:spawn(Give(1))
        error(pipeline.Abort "no stock")
      end,
    }
    for _, run in ipairs(runs) do
      for _, async in ipairs { false, true } do
        local Fail = helper.define { async = async, run = run }
        local Tree = helper.define(function(self)
          self:spawn(Give(1))
          self:spawn(Async())
          self:spawn(Give(self:spawn(Fail())))
        end)
        local stage = Tree():start()
        engine:drain()
        child(stage, Async):complete() -- it could not be cancelled and ends now (G3)
        engine:drain()
        assert.same({ aborted = 4, done = 1 }, states(stage))
        local root, failed = record(stage), record(child(stage, Fail))
        assert.same({ "no stock", true, "no stock", false },
          { root.abort_message, root.abort_requested, helper.entry(stage).abortMessage, failed.abort_message ~= nil })
        assert.same({ 0, 0 }, { root.attempt, failed.attempt })
        local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
        assert.equal("no stock", problem.reason)
        assert.same({ "Abort", "no stock" }, { problem.failures[1].error_class, problem.failures[1].message })
        assert.equal(child(stage, Fail).id, problem.failures[1].pipeline_id)
      end
    end
  end)

  it("P119 from outside works on any member, once", function()
    for _, by_child in ipairs { false, true } do
      local stage = start(function(self) self:spawn(Willing()) end)
      local member = by_child and child(stage, Willing) or stage
      assert.is_true(member:abort("enough"))
      assert.equal("enough", record(stage).abort_message)
      assert.is_true(record(stage).abort_requested)
      assert.is_false(stage:abort("signalled already"))
      assert.is_false(child(stage, Willing):abort("signalled already"))
      engine:drain()
      assert.same({ aborted = 2 }, states(stage))
      assert.is_false(stage:abort("aborted already"))
      assert.is_false(member:abort("aborted already"))
      assert.equal("enough", record(stage).abort_message)
      stage:cleanup()
      assert.is_false(stage:abort("gone"))
      assert.is_false(member:abort("gone"))
    end
    local new = Give(1)
    helper.raises(pipeline.UnexpectedPipelineError, new.abort, new)
  end)

  it("P120 does not change the instance in hand; a fresh copy tells when it was carried out", function()
    local stage = start(function(self) self:spawn(Willing()) end)
    assert.is_true(stage:abort())
    assert.is_false(stage.was_aborted)
    assert.is_false(pipeline.from_id(stage.id).was_aborted)
    engine:drain()
    assert.is_false(stage.was_aborted)
    assert.is_true(pipeline.from_id(stage.id).was_aborted)
    assert.is_false(pipeline.from_id(stage.id).has_finalized)
  end)

  it("P121 of an async root asks its try_cancel first, and only once", function()
    local agrees
    local Root = helper.define {
      async = true, run = function() end, finalized = function() table.insert(trace, "finalized") end,
      try_cancel = function()
        table.insert(trace, "asked")
        return agrees
      end,
    }
    local stage = Root():start()
    engine:drain()
    for _, answer in ipairs { false, "yes", 1 } do
      agrees = answer
      assert.is_false(stage:abort("no"))
    end
    assert.same({ "run", false }, { record(stage).state, record(stage).abort_requested })
    agrees = true
    assert.is_true(stage:abort("yes"))
    engine:drain()
    assert.same({ "asked", "asked", "asked", "asked", "finalized" }, trace)
    assert.equal("aborted", record(stage).state)
    local default = Async():start()
    engine:drain()
    assert.is_false(default:abort("no"))
    assert.equal("run", record(default).state)
  end)

  it("P122 raised by an async root itself needs no permission (G4)", function()
    for _, refuses in ipairs { false, true } do
      local Root = helper.define {
        async = true, try_cancel = refuses and function() error("not to be asked") end or nil,
        run = function(self) self:abort("I give up") end,
        finalized = function(self) table.insert(trace, tostring(self.was_aborted)) end,
      }
      local stage = Root():start()
      engine:drain { delayed = true }
      assert.same({ "aborted", "I give up", 0 },
        { record(stage).state, record(stage).abort_message, record(stage).attempt })
    end
    assert.same({ "true", "true" }, trace)
  end)

  it("P123 of a root that is done is refused and changes nothing (G8)", function()
    local stage = start(function(self) self:spawn(Give(1)) end)
    local before = record(stage)
    assert.equal("done", before.state)
    assert.is_false(stage:abort("late"))
    assert.is_false(child(stage, Give):abort("late"))
    engine:drain()
    assert.same(before, record(stage))
    assert.is_nil(helper.entry(stage).abortMessage)
  end)

  it("P124 reaches every pipeline that is waiting or running, however many, and leaves finished ones alone", function()
    local stage = start(function(self)
      local gate = self:spawn(Async())
      for i = 1, 40 do self:spawn(Last(i)) end
      for i = 1, 40 do self:spawn(Last(gate, i)) end
      for _ = 1, 40 do self:spawn(Willing()) end
    end)
    assert.equal(40, count("Last false"))
    stage:abort("all of you")
    engine:drain()
    child(stage, Async):complete(1)
    engine:drain { delayed = true }
    assert.same({ done = 40, aborted = 82 }, states(stage))
    assert.same({ 40, 40, 40, 40, 1 }, { count("Last false"), count("Last true"), count("asked Willing false"),
      count("Willing true"), count("root") })
    assert.equal(161, #trace)
  end)

  it("P125 reaches the children of earlier attempts of an async pipeline as well", function()
    local Parent = helper.define {
      async = true, backoff_seconds = 1, try_cancel = function() return true end,
      run = function(self) self:spawn(Willing()) end,
    }
    local stage = Parent():start()
    engine:drain()
    stage:retry()
    engine:drain { delayed = true }
    assert.same({ run = 3 }, states(stage))
    stage:abort()
    engine:drain()
    assert.same({ aborted = 3 }, states(stage))
    assert.equal(2, count("Willing true"))
  end)

  it("P126 keeps everything from running that has not run: later ones, retries, and what is being claimed", function()
    local Never = pipeline.define("abort.Never", {
      backoff_seconds = 5, run = function() error("boom", 0) end, finalized = finalized,
    })
    local stage = start(function(self)
      self:spawn(Never())
      self:spawn(Last(self:spawn(Willing())))
    end)
    local later = Last("later"):start { countdown = 60 }
    assert.is_true(later:abort())
    stage:abort()
    local kinds = {}
    delivery.intercept(engine, function(claim, execute)
      kinds[claim.kind] = (kinds[claim.kind] or 0) + 1
      execute()
    end)
    engine:drain { delayed = true }
    assert.same({ abort = 5 }, kinds)
    assert.equal(START, engine:now()) -- at once, not when the retry or the start was due
    assert.same({ aborted = 4 }, states(stage))
    assert.same({ aborted = 1 }, states(later))
    assert.same({ 1, 2, 1 }, { count("Never true"), count("Last true"), count("Willing true") })
  end)

  it("P126 refuses the result of a run that goes on after it", function()
    local Busy = pipeline.define("abort.Goes", {
      run = function(self)
        assert.is_true(pipeline.from_id(self.root_id):abort("by myself"))
        self:spawn(Last("child"))
        return "result"
      end,
      finalized = finalized,
    })
    local stage = helper.define(function(self) self:spawn(Busy()) end)():start()
    engine:drain()
    assert.same({ aborted = 2 }, states(stage)) -- no child of Busy
    assert.is_false(child(stage, Busy).outputs.default.filled)
    assert.same({ "Goes true" }, trace)
    assert.same({}, helper.log(30))
  end)

  it("P126 ends a run that waits, and refuses its result", function()
    local Busy = pipeline.define("abort.Busy", {
      run = function(self)
        engine:sleep(10)
        self:spawn(Last("child"))
        return "result"
      end,
      finalized = finalized,
    })
    local Fails = pipeline.define("abort.Fails", {
      run = function()
        engine:sleep(10)
        error("boom")
      end,
    })
    local stage
    engine._core:spawn(function()
      engine:sleep(5)
      assert.is_true(stage:abort("meanwhile"))
    end)
    local Tree = helper.define {
      run = function(self)
        self:spawn(Busy())
        self:spawn(Fails())
      end,
      finalized = function() table.insert(trace, "root") end,
    }
    stage = Tree():start()
    engine:drain()
    assert.same({ aborted = 3 }, states(stage)) -- no child of Busy
    assert.is_false(child(stage, Busy).outputs.default.filled)
    assert.same({ 0, 5 }, { record(child(stage, Fails)).attempt, record(child(stage, Busy)).finalized - START })
    table.sort(trace)
    assert.same({ "Busy true", "root" }, trace)
    assert.same({}, helper.log(30))
  end)

  it("P126 turns a finalization that has to be repeated into an abort", function()
    local stage
    local Stubborn = pipeline.define("abort.Stubborn", {
      backoff_seconds = 3,
      run = function() end,
      finalized = function(self)
        finalized(self)
        if #trace == 1 then
          assert(stage:abort("while it is being finalized"))
          error("boom")
        end
      end,
    })
    local Tree = helper.define(function(self)
      self:spawn(Stubborn())
      self:spawn(Willing())
    end)
    stage = Tree():start()
    engine:drain { delayed = true }
    assert.same({ "Stubborn false", "asked Willing false", "Willing true", "Stubborn true" }, trace)
    assert.same({ aborted = 3 }, states(stage))
    assert.equal(3, record(child(stage, Stubborn)).finalized - START)
  end)

  it("P126 lets a finalization that succeeds meanwhile count", function()
    local stage
    local Done = helper.define {
      run = function() end,
      finalized = function() assert(stage:abort("while it is being finalized")) end,
    }
    local Tree = helper.define(function(self)
      self:spawn(Done())
      self:spawn(Willing())
    end)
    stage = Tree():start()
    engine:drain { delayed = true }
    assert.same({ aborted = 2, done = 1 }, states(stage))
    assert.equal("done", record(child(stage, Done)).state)
  end)

  it("P127 calls finalized with was_aborted before the state changes, also of what never ran", function()
    local seen = {}
    local Look = helper.define {
      run = function() table.insert(seen, "run") end,
      finalized = function(self)
        table.insert(seen, { self.was_aborted, self.has_finalized, record(self).state,
          pipeline.from_id(self.id).was_aborted, self.outputs.default.filled })
      end,
    }
    local stage = Look():start { countdown = 10 }
    stage:abort()
    engine:drain()
    assert.same({ { true, false, "aborting", false, false } }, seen)
    assert.equal("aborted", record(stage).state)
  end)

  it("P128 G5 calls finalized of those without inputs too; their arguments are slots", function()
    local Needs = pipeline.define("abort.Needs", {
      run = function() end,
      finalized = function(self)
        finalized(self)
        local args = self.args
        table.insert(trace, { args[1], pipeline.is_slot(args[2]), args[2].filled, args[3], args[4].deep[1].filled })
        helper.raises(pipeline.SlotNotFilledError, function() return args[2].value end)
      end,
    })
    local stage = start(function(self)
      local never, given = self:spawn(Willing()), self:spawn(Give("given"))
      self:spawn(Needs("plain", never, given, { deep = { never } }))
    end)
    child(stage, Willing):fill("x", 1)
    stage:abort()
    engine:drain()
    assert.equal(1, count("Needs true"))
    for i, line in ipairs(trace) do
      if line == "Needs true" then assert.same({ "plain", true, false, "given", false }, trace[i + 1]) end
    end
    assert.same({ aborted = 3, done = 1 }, states(stage))
  end)

  it("P129 calls finalized of those held back by after and in_order", function()
    local stage = start(function(self)
      local gate = self:spawn(Willing())
      self:after({ gate }, function() self:spawn(Last("after")) end)
      self:in_order(function()
        self:spawn(Willing())
        self:spawn(Last("in order"))
      end)
    end)
    stage:abort()
    engine:drain()
    assert.equal(2, count("Last true"))
    assert.same({ aborted = 5 }, states(stage))
  end)

  it("P130 asks an async pipeline in run; one that refuses is pending until its next complete (G3)", function()
    local answer = false
    local Asked = pipeline.define("abort.Asked", {
      async = true, output_names = { "x" }, run = function() end, finalized = finalized,
      try_cancel = function(self)
        table.insert(trace, "asked " .. tostring(self.outputs.x.filled))
        return answer
      end,
    })
    local stage = start(function(self)
      self:spawn(Asked())
      self:spawn(Async())
      self:spawn(Last(1))
    end)
    local asked, async = child(stage, Asked), child(stage, Async)
    trace = {}
    stage:abort("stop")
    engine:drain { delayed = true }
    assert.same({ abort_held = 2, aborted = 1, done = 1 }, states(stage))
    assert.same({ 2, 1, 1 }, { #trace, count("asked false"), count("root") })
    for _, held in ipairs { asked, async } do
      local entry = helper.entry(stage) and pipeline.get_status_tree(stage.id).pipelines[held.id]
      assert.same({ "aborting", true }, { entry.status, entry.abortPending })
      assert.is_nil(record(held).finalized)
      assert.is_false(held:abort("again"))
    end
    assert.is_false(asked:retry("no"))
    helper.raises(pipeline.UnexpectedPipelineError, stage.cleanup, stage)
    engine:advance(100)
    asked:complete("late")
    async:complete("late")
    engine:drain()
    assert.same({ aborted = 3, done = 1 }, states(stage))
    assert.equal(START + 100, record(asked).finalized)
    assert.equal(1, count("Asked true"))
    assert.equal(0, count("asked true")) -- it was asked once, and that was enough
    assert.is_false(pipeline.from_id(asked.id).outputs.default.filled)
    helper.raises(pipeline.UnexpectedPipelineError, asked.complete, asked, "once more")
    stage:cleanup()
  end)

  it("P130 aborts one that agrees; a fill or a callback ends one that is pending (G3)", function()
    local Called = helper.define {
      async = true, output_names = { "x" }, run = function() end,
      callback = function(_, params) table.insert(trace, params.word) end,
    }
    local stage = start(function(self)
      self:spawn(Called())
      self:spawn(Async())
      self:spawn(Willing())
    end)
    stage:abort()
    engine:drain()
    assert.same({ 3, 1, 1 }, { #trace, count("asked Willing false"), count("Willing true") })
    assert.equal("aborted", record(child(stage, Willing)).state)
    local called = child(stage, Called)
    called:get_callback_task({ params = { word = "called" } }):add()
    engine:drain()
    assert.equal("called", trace[#trace])
    assert.equal("aborted", record(called).state)
    child(stage, Async):fill("default", 1)
    engine:drain()
    assert.same({ aborted = 4 }, states(stage))
  end)

  it("P131 does not ask an async pipeline that has not run", function()
    local stage = start(function(self)
      self:spawn(Willing(self:spawn(Async())))
      self:spawn(Give(1))
    end)
    local later = Willing():start { countdown = 60 }
    local id = later.id
    stage:abort()
    engine:drain { delayed = true }
    assert.equal(0, count("asked Willing true"))
    assert.equal("aborted", record(child(stage, Willing)).state)
    assert.equal(1, count("Willing true"))
    assert.equal("run", record(pipeline.from_id(id)).state)
  end)

  it("P132 finalizes parents and children in any order, each once", function()
    local function level(n)
      return function(self)
        if n > 0 then
          self:spawn(Last(1))
          self:spawn(helper.define { run = level(n - 1), finalized = function() table.insert(trace, "level") end }())
        else
          self:spawn(Willing())
        end
      end
    end
    local stage = start(level(4))
    assert.equal(4, count("Last false"))
    delivery.intercept(engine, function(claim, execute)
      engine:sleep(claim.id % 7)
      execute()
    end)
    stage:abort()
    engine:drain()
    assert.same({ aborted = 6, done = 4 }, states(stage))
    assert.same({ 1, 4, 1 }, { count("Willing true"), count("level"), count("root") })
  end)

  it("P133 sets the finalized time and leaves attempts and retry message alone", function()
    local Tries = helper.define { backoff_seconds = 50, run = function() error("boom", 0) end }
    local stage = start(function(self) self:spawn(Tries()) end)
    engine:advance(20)
    stage:abort("stop")
    engine:drain()
    for _, of in ipairs { stage, child(stage, Tries) } do
      assert.same({ "aborted", START + 20 }, { record(of).state, record(of).finalized })
      assert.equal((START + 20) * 1000, pipeline.get_status_tree(stage.id).pipelines[of.id].endTimeMs)
    end
    local tried = record(child(stage, Tries))
    assert.same({ 1, "Error: boom" }, { tried.attempt, tried.retry_message })
    assert.same({ 0, nil }, { record(stage).attempt, record(stage).retry_message })
  end)

  it("P134 repeats a finalized that fails, with the backoff of the pipeline, until it works", function()
    local fails = 3
    local Hard = helper.define {
      backoff_seconds = 10, backoff_factor = 3, max_attempts = 4, async = true, run = function() end,
      try_cancel = function()
        table.insert(trace, ("asked at %g"):format(engine:now() - START))
        if fails == 3 then
          fails = 2
          error("not now")
        end
        return true
      end,
      finalized = function(self)
        table.insert(trace, ("%s at %g"):format(tostring(self.was_aborted), engine:now() - START))
        if fails > 0 then
          fails = fails - 1
          error("not now")
        end
      end,
    }
    local Tree = helper.define(function(self) self:spawn(Hard()) end)
    local stage = Tree():start()
    engine:drain()
    stage:abort()
    engine:drain()
    assert.equal("aborting", record(child(stage, Hard)).state)
    assert.equal("aborted", record(stage).state)
    engine:drain { delayed = true }
    assert.same({ "asked at 0", "asked at 10", "true at 10", "asked at 40", "true at 40", "asked at 130",
      "true at 130" }, trace)
    local hard = record(child(stage, Hard))
    assert.same({ "aborted", START + 130, 0 }, { hard.state, hard.finalized, hard.attempt })
    assert.equal(3, #engine._core:failures_get(hard.id))
  end)

  it("P119 may be asked for by a run of the same tree, or of another (G24)", function()
    local Killer = helper.define(function(self, id)
      local target = pipeline.from_id(id or self.root_id)
      table.insert(trace, target:abort("from a run"))
      self:spawn(Give("never"))
    end)
    local stage = start(function(self) self:spawn(Killer()) end)
    assert.same({ aborted = 2 }, states(stage))
    assert.equal("from a run", record(stage).abort_message)
    local other = start(function(self) self:spawn(Willing()) end)
    local killer = Killer(other.id):start()
    engine:drain()
    assert.same({ aborted = 2 }, states(other))
    assert.same({ done = 2 }, states(killer))
    assert.same({ 2, 2 }, { count(true), count("root") })
    assert.same({}, helper.log(30))
  end)

  it("P118 makes reading an output of what was aborted an error of its own (G30)", function()
    local stage = start(function(self) self:spawn(Willing()) end)
    stage:abort("enough")
    engine:drain()
    local copy = pipeline.from_id(child(stage, Willing).id)
    for _, field in ipairs { "value", "filler", "fill_time" } do
      local problem = helper.raises(pipeline.AbortedError, function() return copy.outputs.x[field] end)
      assert.matches("was aborted", problem.message)
    end
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, copy)
    assert.equal("enough", problem.reason)
    assert.equal(copy.id, problem.pipeline_id)
    assert.same({}, problem.failures)
  end)
end)
