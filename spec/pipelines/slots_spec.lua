-- Slots and futures, filling and completeness (P24–P54).

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

describe("slots", function()
  local engine
  local Nothing = pipeline.define("slots.Nothing", { run = function() end })
  local Give = pipeline.define("slots.Give", { run = function(_, value) return value end })
  local Pair = pipeline.define("slots.Pair", {
    output_names = { "a", "b" },
    run = function(self, a, b)
      self:fill("a", a)
      self:fill("b", b)
      return "pair"
    end,
  })
  local Async = pipeline.define("slots.Async", { async = true, output_names = { "x" }, run = function() end })
  -- Fills the names it is given.
  local FillNames = pipeline.define("slots.FillNames", {
    max_attempts = 2, backoff_seconds = 1,
    run = function(self, names)
      for _, name in ipairs(names) do self:fill(name, name) end
      return "filled"
    end,
  })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("P24 need a name", function()
    helper.raises(pipeline.UnexpectedPipelineError, pipeline.Slot)
    helper.raises(pipeline.UnexpectedPipelineError, pipeline.Slot, "")
    assert.equal("x", pipeline.Slot("x").name)
    assert.equal("x", pipeline.Slot { name = "x" }.name)
  end)

  it("P25 are not filled when new", function()
    local slot = pipeline.Slot("x")
    assert.is_false(slot.filled)
    for _, field in ipairs { "value", "filler", "fill_time" } do
      helper.raises(pipeline.SlotNotFilledError, function() return slot[field] end)
    end
    local output = Nothing():start().outputs.default
    assert.is_false(output.filled)
    helper.raises(pipeline.SlotNotFilledError, function() return output.value end)
  end)

  it("P26 show value, filler and fill time once filled", function()
    local stage = Give { 1, 2 }
    local outputs = helper.outputs(stage)
    assert.is_true(outputs.default.filled)
    assert.same({ 1, 2 }, outputs.default.value)
    assert.equal(stage.id, outputs.default.filler)
    assert.equal(1700000000.0, outputs.default.fill_time)
    assert.equal("five", tostring(helper.outputs(Give("five")).default))
    local unfilled = tostring(Nothing():start().outputs.default)
    assert.matches("default", unfilled)
    assert.matches("%x%x%x%x%x%x%x%x", unfilled)
    helper.raises(pipeline.UnexpectedPipelineError, function() outputs.default.value = 1 end)
  end)

  it("P27 default exists always and cannot be declared", function()
    helper.raises(pipeline.UnexpectedPipelineError, pipeline.define, "slots.Bad", { output_names = { "default" } })
    assert.equal("default", Nothing().outputs.default.name)
  end)

  it("P28 P29 P31 L23 the future of a dynamic class has any name, of a strict one only the declared", function()
    local seen
    local Tree = helper.define(function(self)
      local dynamic, strict = self:spawn(FillNames { "one", "two" }), self:spawn(Pair(1, 2))
      seen = { dynamic.one == dynamic.one, dynamic.one ~= dynamic.two, strict.a.name, strict.default.name }
      helper.raises(pipeline.SlotNotDeclaredError, function() return strict.c end)
      for name in pairs(dynamic) do error("enumerated " .. tostring(name)) end
      helper.raises(pipeline.UnexpectedPipelineError, function() dynamic.one = 1 end)
      self:spawn(Nothing(dynamic.one, dynamic.two))
    end)
    helper.result(Tree())
    assert.same({ true, true, "a", "default" }, seen)
  end)

  it("P30 a started root is strict even with no declared outputs", function()
    local stage = Nothing():start()
    helper.raises(pipeline.SlotNotDeclaredError, function() return stage.outputs.other end)
    local problem = helper.aborted(FillNames { "other" })
    assert.matches("SlotNotDeclaredError", problem.reason)
  end)

  it("P32 P35 outputs of a strict child may be read and not used; default may be ignored", function()
    local Tree = helper.define(function(self)
      local pair = self:spawn(Pair(1, 2))
      local _ = pair.b
      return self:spawn(Give(pair.a))
    end)
    assert.equal(1, helper.result(Tree()))
  end)

  it("P33 a name read of a dynamic child must be filled by it", function()
    local Tree = helper.define(function(self)
      local f = self:spawn(FillNames { "one" })
      self:spawn(Nothing(f.one, f.two))
    end)
    local problem = helper.aborted(Tree())
    assert.matches("SlotNotFilledError", problem.reason)
    assert.matches("two", problem.reason)
  end)

  it("P34 a dynamic child may not fill a name nobody read", function()
    local Tree = helper.define(function(self) self:spawn(Nothing(self:spawn(FillNames { "one", "two" }).one)) end)
    local problem = helper.aborted(Tree())
    assert.matches("SlotNotDeclaredError", problem.reason)
    assert.equal(2, #problem.failures)
  end)

  it("P36 fill by name and by slot are the same and visible at once", function()
    local stage = Async():start()
    engine:drain()
    stage:fill("x", 1)
    assert.equal(1, pipeline.from_id(stage.id).outputs.x.value)
    stage:fill(stage.outputs.x, 2)
    assert.equal(2, pipeline.from_id(stage.id).outputs.x.value)
  end)

  it("P37 P38 fill takes a name or slot of this pipeline", function()
    local stage = Async():start()
    for _, bad in ipairs { 5, {}, true, stage.outputs, stage } do
      helper.raises(pipeline.UnexpectedPipelineError, stage.fill, stage, bad, 1)
    end
    helper.raises(pipeline.UnexpectedPipelineError, stage.fill, stage, nil, 1)
    helper.raises(pipeline.SlotNotDeclaredError, stage.fill, stage, pipeline.Slot("x"), 1)
    helper.raises(pipeline.SlotNotDeclaredError, stage.fill, stage, "y", 1)
    helper.raises(pipeline.UnexpectedPipelineError, function() Async():fill("x", 1) end)
  end)

  it("P39 fill after cleanup is refused", function()
    local stage = Give(1)
    helper.result(stage)
    stage:cleanup()
    helper.raises(pipeline.UnexpectedPipelineError, stage.fill, stage, "default", 1)
  end)

  it("P40 the last value wins until the pipeline is final", function()
    local stage = Async():start()
    engine:drain()
    stage:fill("x", 1)
    engine:advance(5)
    stage:fill("x", 2)
    local slot = pipeline.from_id(stage.id).outputs.x
    assert.equal(2, slot.value)
    assert.equal(1700000005.0, slot.fill_time)
    stage:complete("done")
    engine:drain()
    helper.raises(pipeline.UnexpectedPipelineError, stage.fill, stage, "x", 3)
    helper.raises(pipeline.UnexpectedPipelineError, stage.complete, stage, 3)
  end)

  it("P41 the return value overrides an earlier fill of default", function()
    local Both = helper.define(function(self)
      self:fill("default", 1)
      return 2
    end)
    assert.equal(2, helper.result(Both()))
    local Keep = helper.define(function(self) self:fill("default", 1) end)
    assert.equal(1, helper.result(Keep()))
  end)

  it("P42 P47 every output must be filled in the attempt itself", function()
    local attempts = 0
    local Half = helper.define {
      output_names = { "a", "b" }, max_attempts = 2, backoff_seconds = 1,
      run = function(self)
        attempts = attempts + 1
        self:fill(attempts == 1 and "a" or "b", attempts)
      end,
    }
    local problem = helper.aborted(Half())
    assert.equal(2, attempts)
    assert.matches("SlotNotFilledError.*outputs a of", problem.failures[2].error_class .. problem.failures[2].message)
    assert.matches("outputs b of", problem.failures[1].message)
  end)

  it("P43 P44 P45 what an attempt filled becomes visible only when it succeeds", function()
    local attempts, used = 0, {}
    local Flaky = helper.define {
      output_names = { "early" }, backoff_seconds = 1,
      run = function(self)
        attempts = attempts + 1
        self:fill("early", attempts)
        self:fill("default", attempts)
        assert(not pipeline.from_id(self.id).outputs.early.filled)
        if attempts == 1 then error("first") end
      end,
    }
    local Use = helper.define(function(_, value) used[#used + 1] = value end)
    local Tree = helper.define(function(self)
      local f = self:spawn(Flaky())
      self:spawn(Use(f.early))
    end)
    helper.result(Tree())
    assert.equal(2, attempts)
    assert.same({ 2 }, used)
  end)

  it("P43 publish makes a value visible at once, and counts as filled", function()
    local Streams = helper.define {
      output_names = { "early" },
      run = function(self)
        self:fill("early", "now", { publish = true })
        assert(pipeline.from_id(self.id).outputs.early.value == "now")
        return "late"
      end,
    }
    local outputs = helper.outputs(Streams())
    assert.equal("now", outputs.early.value)
    assert.equal("late", outputs.default.value)
  end)

  it("P46 a slot of another pipeline can be filled; the own completeness is not concerned", function()
    local other = Async():start()
    local Filler = helper.define(function(self, id)
      self:fill(pipeline.from_id(id).outputs.x, "from outside")
      return "ok"
    end)
    local stage = Filler(other.id)
    assert.equal("ok", helper.result(stage))
    local slot = pipeline.from_id(other.id).outputs.x
    assert.equal("from outside", slot.value)
    assert.equal(stage.id, slot.filler)
  end)

  it("P48 an async run's return value is ignored; it stays in run until filled from outside", function()
    local Returns = helper.define { async = true, run = function() return "ignored" end }
    local stage = Returns():start()
    engine:drain { delayed = true }
    assert.equal("run", helper.entry(stage).status)
    stage:complete("given")
    engine:drain()
    assert.equal("given", engine:wait(stage).default.value)
  end)

  it("P49 P51 G10 complete fills only default, and the rest is told to be missing", function()
    local stage = Async():start()
    engine:drain()
    helper.raises(pipeline.SlotNotFilledError, stage.complete, stage, 1, { strict = true })
    stage:complete()
    engine:drain()
    local entry = helper.entry(stage)
    assert.equal("run", entry.status)
    assert.same({ "x" }, entry.missingOutputs)
    stage:fill("x", 1)
    engine:drain()
    local outputs = engine:wait(stage)
    assert.is_true(outputs.default.filled)
    assert.is_nil(outputs.default.value)
  end)

  it("P50 complete is for async pipelines only", function()
    local stage = Give(1):start()
    helper.raises(pipeline.UnexpectedPipelineError, stage.complete, stage, 1)
  end)

  it("P52 outputs may be filled in run and completed in a callback", function()
    local Half = helper.define {
      async = true, public_callbacks = true, output_names = { "x" },
      run = function(self) self:fill("x", "early") end,
      callback = function(self, params) self:complete(params.value) end,
    }
    local stage = Half():start()
    engine:drain()
    stage:get_callback_task { params = { value = "late" } }:add()
    engine:drain()
    local outputs = engine:wait(stage)
    assert.equal("early", outputs.x.value)
    assert.equal("late", outputs.default.value)
  end)

  it("P53 a return value that cannot be stored is a failed attempt", function()
    local Bad = helper.define { max_attempts = 2, run = function() return { a = { b = function() end } } end }
    local stage = Bad():start()
    engine:drain()
    local entry = helper.entry(stage)
    assert.equal("retry", entry.status)
    assert.matches("^Bad return value%. SerializationError: .*a%.b", entry.lastRetryMessage)
    engine:drain { delayed = true }
    helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
  end)

  it("P54 a child argument that cannot be stored is a failed attempt of the parent", function()
    local ran = 0
    local Child = helper.define(function() ran = ran + 1 end)
    local Bad = helper.define {
      max_attempts = 2,
      run = function(self)
        self:spawn(Child(1))
        self:spawn(Child(coroutine.create(print)))
      end,
    }
    local stage = Bad():start()
    engine:drain()
    assert.matches("^Bad child arguments%. SerializationError: ", helper.entry(stage).lastRetryMessage)
    engine:drain { delayed = true }
    assert.equal(0, ran)
    assert.is_true(pipeline.from_id(stage.id).was_aborted)
  end)

  it("P54 a pipeline in place of its future is refused", function()
    local Bad = helper.define { max_attempts = 1, run = function(self) self:spawn(Give(Give(1))) end }
    assert.matches("Bad child arguments", helper.aborted(Bad()).reason)
  end)

  it("L13 nil is a value", function()
    local Count = helper.define(function(_, ...) return select("#", ...) end)
    assert.equal(3, helper.result(Count(nil, 1, nil)))
    local outputs = helper.outputs(Pair(nil, false))
    assert.is_true(outputs.a.filled)
    assert.is_nil(outputs.a.value)
    assert.is_false(outputs.b.value)
  end)
end)
