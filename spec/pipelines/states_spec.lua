-- States, re-delivery and idempotence of the machinery (P83–P102).

local pipeline = require "pipeline"
local class = require "pipeline.workflow.class"
local delivery = require "spec.support.delivery"
local helper = require "spec.support.helper"

local START = 1700000000.0

local record, child, states = helper.record, helper.child, helper.states

-- A module with a function that values can name.
local names = { rate = function() return 19 end }
package.loaded["spec.states.names"] = names

describe("a pipeline", function()
  local engine, trace
  local Give = pipeline.define("states.Give", { run = function(_, value) return value end })
  local Note = pipeline.define("states.Note", {
    run = function(_, name)
      table.insert(trace, name)
      return name
    end,
  })
  local Async = pipeline.define("states.Async", { async = true, output_names = { "x" }, run = function() end })
  local Finalized = pipeline.define("states.Finalized", {
    run = function(_, value) return value end,
    finalized = function(self) table.insert(trace, "finalized " .. tostring(self.args[1])) end,
  })

  before_each(function()
    engine = helper.open()
    trace = {}
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function tasks()
    local sum = 0
    for _, queue in pairs(engine:status().queues) do sum = sum + queue.ready + queue.delayed + queue.claimed end
    return sum
  end

  it("P83 goes from waiting to run to done, or to aborted; a sync one never enters run", function()
    local seen = {}
    local Sync = helper.define(function(self)
      seen.sync = record(self).state
      seen.generator = engine._core:stage_get(record(self).parent).state
      return 1
    end)
    local Tree = helper.define(function(self)
      seen.before = record(self).state
      local f = self:spawn(Sync())
      self:spawn(Async())
      self:spawn(Give(f))
    end)
    local stage = Tree():start()
    engine:drain()
    assert.same({ sync = "ready", before = "ready", generator = "run" }, seen)
    assert.same({ done = 2, run = 2 }, states(stage))
    assert.equal("run", helper.entry(stage).status)
    local async = child(stage, Async)
    async:complete(1)
    async:fill("x", 2)
    assert.same({ done = 4 }, states(stage))
    local Fail = helper.define(function(self) self:abort("no") end)
    local failed = Fail():start()
    assert.equal("run", helper.entry(failed).status)
    engine:drain()
    assert.equal("aborted", helper.entry(failed).status)
  end)

  it("P84 ends with every slot filled and nothing left, in whatever order tasks are executed", function()
    local Leaf = helper.define {
      output_names = { "a" },
      run = function(self, n)
        self:fill("a", n)
        return n
      end,
      finalized = function() end,
    }
    local Branch = helper.define(function(self, n)
      local first = self:spawn(Leaf(n))
      self:in_order(function()
        self:spawn(Leaf(first.a))
        self:spawn(Leaf(n))
      end)
      self:after({ first }, function() self:spawn(Leaf(first)) end)
    end)
    local Tree = helper.define {
      run = function(self)
        local list = {}
        for n = 1, 6 do list[n] = self:spawn(Branch(n)) end
        self:spawn(pipeline.common.Return(list))
      end,
      finalized = function() table.insert(trace, "root") end,
    }
    math.randomseed(84)
    delivery.intercept(engine, function(_, execute)
      engine:sleep(math.random())
      execute()
    end)
    for round = 1, 5 do
      local stage = Tree():start()
      engine:drain { delayed = true }
      assert.same({ 1, 2, 3, 4, 5, 6 }, engine:wait(stage).default.value)
      assert.same({ done = 32 }, states(stage))
      for _, slot in pairs(pipeline.get_status_tree(stage.id).slots) do assert.equal("filled", slot.status) end
      assert.equal(0, tasks())
      assert.equal(round, #trace)
    end
  end)

  it("P85 that is done or aborted stays so: nothing changes it any more", function()
    local done = Finalized("done"):start()
    engine:drain()
    local Stop = helper.define { async = true, try_cancel = function() return true end, run = function() end }
    local stopped = Stop():start()
    engine:drain()
    assert.is_true(stopped:abort("enough"))
    engine:drain { delayed = true }
    local before = { record(done), record(stopped) }
    assert.same({ "done", "aborted" }, { before[1].state, before[2].state })
    engine:advance(10)
    for _, stage in ipairs { done, stopped } do
      helper.raises(pipeline.UnexpectedPipelineError, stage.fill, stage, "default", 9)
      assert.is_false(stage:abort("again"))
    end
    helper.raises(pipeline.UnexpectedPipelineError, stopped.complete, stopped, 9)
    local other = Async():start()
    engine:drain()
    for _, stage in ipairs { done, stopped } do -- nor does a slot object lead around that
      helper.raises(pipeline.UnexpectedPipelineError, other.fill, other, stage.outputs.default, 9)
    end
    assert.equal("done", pipeline.from_id(done.id).outputs.default.value)
    assert.is_false(stopped:retry("again"))
    engine:drain { delayed = true }
    assert.same(before, { record(done), record(stopped) })
    assert.same({ "finalized done" }, trace)
  end)

  it("P86 that is aborted ignores another abort in silence (G28)", function()
    local Tree = helper.define {
      run = function(self) self:spawn(Async()) end,
      finalized = function() table.insert(trace, "finalized") end,
    }
    local stage = Tree():start()
    engine:drain()
    assert.is_true(stage:abort("first"))
    assert.is_false(stage:abort("second"))
    engine:drain()
    assert.is_false(stage:abort("third"))
    assert.is_false(child(stage, Async):abort("fourth"))
    engine:drain()
    assert.equal("first", record(stage).abort_message)
    assert.same({ "finalized" }, trace)
    assert.same({}, helper.log(30))
  end)

  it("P87 that is sync and whose result was lost runs again; only what is committed counts", function()
    local runs = 0
    local Count = helper.define {
      output_names = { "a" },
      run = function(self)
        runs = runs + 1
        self:fill("a", runs)
        return runs
      end,
    }
    delivery.lose_first(engine, 2)
    local stage = Count()
    local outputs = helper.outputs(stage)
    assert.same({ 3, 3, 3 }, { runs, outputs.default.value, outputs.a.value })
    assert.equal(1, stage.current_attempt)
    assert.same({}, engine._core:failures_get(stage._id))
  end)

  it("P88 that is async runs again when delivered again, but never after its run was committed", function()
    local runs = 0
    local Wait = helper.define { async = true, run = function() runs = runs + 1 end }
    delivery.lose_first(engine, 1)
    local stage = Wait():start()
    engine:drain { delayed = true }
    assert.equal(2, runs)
    assert.equal("run", record(stage).state)
    assert.equal(0, tasks())
    engine:advance(1e6)
    engine:drain { delayed = true }
    stage:complete("yes")
    assert.equal("yes", engine:wait(stage).default.value)
    assert.equal(2, runs)
  end)

  it("P89 that is a generator has the children of one delivery only", function()
    local runs = 0
    local Tree = helper.define(function(self)
      runs = runs + 1
      self:spawn(Note("child of run " .. runs))
    end)
    local Empty = helper.define { output_names = { "a" }, run = function(self) self:fill("a", 1) end }
    delivery.lose_first(engine, 1)
    local stage = Tree()
    assert.equal("child of run 2", helper.result(stage))
    assert.equal(1, #helper.entry(stage).children)
    assert.same({ "child of run 2", "child of run 2" }, trace) -- the child's first result was lost as well
    local empty = Empty()
    assert.is_nil(helper.result(empty))
    assert.is_true(empty.outputs.default.filled)
  end)

  it("P90 is not finalized again once that is committed, and its finalized time stays", function()
    local path = helper.path()
    engine:close()
    engine = helper.open { path = path }
    local stage = Finalized("once"):start()
    local go_on = delivery.hold(engine, function(claim) return claim.kind == "finalize" end)
    local second = delivery.successor(engine, helper.open, path)
    second:drain()
    assert.same({ "finalized once" }, trace)
    local before = second._core:stage_get(stage._id)
    assert.equal("done", before.state)
    assert.equal(second:now(), before.finalized)
    go_on()
    assert.same({ "finalized once", "finalized once" }, trace) -- at least once; committed exactly once
    assert.same(before, second._core:stage_get(stage._id))
    second:drain { delayed = true }
    assert.equal(2, #trace)
  end)

  it("P91 is not finalized while an output is missing", function()
    local Half = helper.define {
      async = true, output_names = { "x", "y" }, run = function(self) self:fill("y", 0) end,
      finalized = function(self) table.insert(trace, self.outputs.x.value) end,
    }
    local stage = Half():start()
    engine:drain()
    stage:complete("default")
    engine:advance(3600)
    engine:drain { delayed = true }
    assert.same({}, trace)
    assert.equal("run", record(stage).state)
    assert.same({ "x" }, helper.entry(stage).missingOutputs)
    stage:fill("x", "last")
    engine:drain()
    assert.same({ "last" }, trace)
    assert.equal("done", record(stage).state)
  end)

  it("P92 that is gone is no trouble to the tasks it left behind", function()
    local Called = helper.define {
      async = true, run = function() end, try_cancel = function() return true end,
      callback = function() table.insert(trace, "called") end,
    }
    local stage = Called():start()
    engine:drain()
    stage:get_callback_task { countdown = 60 }:add()
    stage:abort()
    engine:drain()
    stage:cleanup()
    engine:drain { delayed = true }
    assert.equal(START, engine:now()) -- nor does anybody wait for them
    assert.same({}, trace)
    assert.equal(0, tasks())
    assert.same({}, helper.log(30))
    assert.is_nil(pipeline.from_id(stage.id))
  end)

  it("P93 whose class cannot be loaded is tried again without using up attempts", function()
    local name, seen = helper.name(), {}
    local definition = { max_attempts = 1, run = function() return "loaded" end }
    local stage = pipeline.define(name, definition)():start()
    class.registry[name] = nil
    delivery.intercept(engine, function(claim, execute)
      seen[#seen + 1] = ("%d at %.1f"):format(claim.tries, engine:now() - START)
      if #seen == 5 then pipeline.define(name, definition) end
      execute()
    end)
    engine:drain { delayed = true }
    assert.same({ "0 at 0.0", "1 at 0.1", "2 at 0.3", "3 at 0.7", "4 at 1.5" }, seen)
    assert.equal("loaded", engine:wait(stage).default.value)
    assert.equal(0, record(stage).attempt)
    assert.is_nil(record(stage).retry_message)
    local failures = engine._core:failures_get(stage._id)
    assert.equal(4, #failures)
    assert.equal("ConfigurationError", failures[1].error_class)
    assert.matches(name .. " cannot be loaded", failures[1].message, 1, true)
    assert.equal(1, #helper.log(40)) -- for all of a class, for a while
    assert.matches("it is tried again: start the worker with the file that defines it", helper.log(40)[1], 1,
      true)
  end)

  it("P93 of a class that is missing the log tells once a minute, however many wait for it, and how many", function()
    local Here, name = pipeline.define(helper.name(), { run = function() end }), helper.name()
    local Gone = pipeline.define(name, { run = function() end })
    for _ = 1, 20 do Gone():start() end
    class.registry[name] = nil
    engine:drain()
    engine:advance(50)
    engine:drain()
    assert.equal(1, #helper.log(40))
    engine:advance(70)
    engine:drain()
    Here():start()
    local lines = helper.log(40)
    assert.equal(3, #lines)
    assert.matches("^%d+ more tries in vain to load class " .. name, lines[2])
    assert.matches("^class " .. name, lines[3])
  end)

  it("P93 whose class stays away is aborted after a time that counts from its own turn", function()
    engine:close()
    engine = helper.open { class_load_timeout = 100 }
    local Gone = pipeline.define(helper.name(), { run = function() return 1 end })
    local Tree = helper.define(function(self) self:spawn(Gone(self:spawn(Async()))) end)
    local stage = Tree():start()
    engine:drain()
    class.registry[Gone.class_path] = nil
    engine:advance(1000) -- it waited for its input for much longer than the limit
    local async = child(stage, Async)
    async:complete(1)
    async:fill("x", 1)
    engine:drain()
    assert.is_false(record(stage).abort_requested)
    engine:drain { delayed = true }
    assert.equal("aborted", record(stage).state)
    assert.matches("cannot be loaded", record(stage).abort_message)
    local late = record(stage).finalized - START
    assert.is_true(late > 1100 and late <= 1210, tostring(late))
  end)

  it("P94 whose arguments cannot be made again has failed that attempt", function()
    local Use = helper.define { max_attempts = 2, run = function(_, fn) return fn() end }
    local rate = names.rate
    local stage = Use(rate):start()
    names.rate = nil
    engine:drain()
    assert.equal(1, record(stage).attempt)
    assert.matches("^SerializationError: .*spec.states.names", record(stage).retry_message)
    names.rate = rate
    engine:drain { delayed = true }
    assert.equal(19, engine:wait(stage).default.value)
  end)

  it("P95 takes no result of an attempt that another worker has taken over", function()
    local path = helper.path()
    engine:close()
    engine = helper.open { path = path }
    local Where = helper.define {
      backoff_seconds = 7,
      run = function(self)
        if pipeline.default() == engine then return "the first worker" end
        if self.current_attempt == 1 then error("attempt 1") end
        return "the second worker"
      end,
    }
    local stage = Where():start()
    local go_on = delivery.hold(engine, function() return true end)
    local second = delivery.successor(engine, helper.open, path)
    second:drain() -- attempt 1 fails there
    local before = second._core:stage_get(stage._id)
    assert.same({ "ready", 1, second:now() + 7 }, { before.state, before.attempt, before.retry_at })
    go_on()
    assert.same(before, second._core:stage_get(stage._id))
    second:drain { delayed = true }
    assert.equal("the second worker", second:wait(stage.id).default.value)
    local told = 0
    for _, line in ipairs(helper.log(30)) do told = told + (line:find("ESTALE", 1, true) and 1 or 0) end
    assert.equal(1, told)
  end)

  it("P96 with all its attempts used up is not run again", function()
    local runs = 0
    local Fail = helper.define {
      max_attempts = 2, backoff_seconds = 1,
      run = function()
        runs = runs + 1
        error("no")
      end,
    }
    local stage = Fail():start()
    delivery.lose_first(engine, 1)
    engine:drain { delayed = true }
    assert.equal(3, runs) -- the first one was lost and does not count
    assert.same({ "aborted", 2 }, { record(stage).state, record(stage).attempt })
    engine:advance(86400)
    engine:drain { delayed = true }
    assert.equal(3, runs)
  end)

  it("P97 cannot have fewer than one attempt", function()
    helper.raises(pipeline.ConfigurationError, pipeline.define, helper.name(), { max_attempts = 0 })
    for _, bad in ipairs { 0, -1, 1.5, math.huge, "3" } do
      helper.misuse("positive integer expected", function() Give():with_params { max_attempts = bad } end)
      helper.misuse("positive integer expected", function() Give().max_attempts = bad end)
    end
    assert.equal(1, Give():with_params({ max_attempts = 1 }).max_attempts)
  end)

  it("P98 that waited and was deleted is not called back to life by what it waited for", function()
    local inner
    local Tree = helper.define(function(self)
      local f = self:spawn(Async())
      self:spawn(Note(f))
    end)
    local stage = Tree():start()
    engine:drain()
    inner = child(stage, Async)
    local slot = inner.outputs.default
    assert.is_true(stage:abort())
    inner:complete(1) -- could not be cancelled: this ends it (G3)
    engine:drain()
    assert.same({ aborted = 3 }, states(stage))
    stage:cleanup()
    local Other = helper.define { async = true, run = function() end }
    local other = Other():start()
    engine:drain()
    helper.raises(pipeline.UnexpectedPipelineError, other.fill, other, slot, "too late")
    engine:drain { delayed = true }
    assert.same({}, trace)
    assert.is_nil(engine._core:stage_get(stage._id))
    assert.same({}, helper.log(30))
  end)

  it("P99 that needs a slot that does not exist is a failed attempt of the run that made it so", function()
    local foreign = Give(1):start()
    engine:drain()
    for _, value in ipairs { pipeline.Slot("nowhere"), Give(2).outputs } do
      local Tree = helper.define { max_attempts = 2, run = function(self) self:spawn(Note(value)) end }
      local stage = Tree()
      local problem = helper.aborted(stage)
      assert.equal(2, #problem.failures)
      assert.matches("^Aborting after 2 attempts. Bad child arguments. ", problem.reason)
      assert.same({}, helper.entry(stage).children)
    end
    assert.same({}, trace)
    assert.equal("done", record(foreign).state)
  end)

  it("P100 starts once, however often and by whomever the slots it waits for are filled", function()
    local Tree = helper.define(function(self)
      local a = self:spawn(Async())
      self:after({ a, a }, function() self:spawn(Note(a)) end)
      self:spawn(Note(a.x))
    end)
    local stage = Tree():start()
    engine:drain()
    local async = child(stage, Async)
    async:complete("first")
    async:complete("second")
    engine:drain()
    async:complete("third")
    async:fill("x", "end")
    engine:drain { delayed = true }
    assert.same({ "second", "end" }, trace)
    assert.same({ done = 4 }, states(stage))
  end)

  it("P101 that is gone or finished takes no transition, without an error", function()
    local path = helper.path()
    engine:close()
    engine = helper.open { path = path }
    local Stop = helper.define { async = true, try_cancel = function() return true end, run = function() end }
    local stage = Stop():start()
    local go_on = delivery.hold(engine, function() return true end)
    local second = delivery.successor(engine, helper.open, path)
    second:drain()
    assert.equal("run", second._core:stage_get(stage._id).state)
    assert.is_true(second:from_id(stage.id):abort())
    second:drain()
    second:from_id(stage.id):cleanup()
    go_on() -- "run" of a stage that is not there any more
    assert.is_nil(second._core:stage_get(stage._id))
    local again = Stop():start { engine = second }
    second:drain()
    local copy = second:from_id(again.id)
    copy:complete(1)
    local before = second._core:stage_get(again._id)
    assert.equal("done", before.state)
    assert.is_false(copy:retry("late"))
    assert.is_false(copy:abort("late"))
    helper.raises(pipeline.UnexpectedPipelineError, copy.complete, copy, 2)
    assert.same(before, second._core:stage_get(again._id))
    assert.equal(0, tasks())
  end)

  it("P102 in run always has something that ends it", function()
    local Empty = helper.define { async = true, output_names = { "x" }, run = function(self)
      self:fill("default", 1)
      self:fill("x", 2)
    end }
    local Tree = helper.define { async = true, run = function(self)
      self:fill("default", 1)
      self:spawn(Empty())
    end }
    local stage = Tree():start()
    engine:drain()
    assert.same({ done = 2 }, states(stage)) -- nothing was left to come from outside
    assert.equal(1, engine:wait(stage).default.value)
  end)
end)
