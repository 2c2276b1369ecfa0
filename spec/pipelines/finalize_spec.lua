-- Finalization (P135–P143).

local pipeline = require "pipeline"
local class = require "pipeline.workflow.class"
local delivery = require "spec.support.delivery"
local helper = require "spec.support.helper"

local START = 1700000000.0

local record, child = helper.record, helper.child

describe("finalized", function()
  local engine, trace

  local function note(name)
    return function() table.insert(trace, name) end
  end

  local Give = pipeline.define("finalize.Give", { run = function(_, value) return value end })
  local Async = pipeline.define("finalize.Async", { async = true, run = function() end })

  before_each(function()
    engine = helper.open()
    trace = {}
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("P135 is called once when all own outputs and those of all children are filled, in every kind", function()
    local Sync = helper.define {
      output_names = { "a" }, finalized = note "sync",
      run = function(self)
        self:fill("a", 1)
        return 2
      end,
    }
    local Wait = helper.define { async = true, output_names = { "a" }, run = function() end, finalized = note "async" }
    local Tree = helper.define {
      finalized = note "generator",
      run = function(self)
        self:spawn(Wait())
        self:spawn(Sync())
        return "own output"
      end,
    }
    local stage = Tree():start()
    engine:drain()
    assert.same({ "sync" }, trace)
    assert.equal("own output", pipeline.from_id(stage.id).outputs.default.value)
    assert.equal("run", record(stage).state) -- its own outputs are filled, a child's are not
    local wait = child(stage, Wait)
    wait:complete(1)
    engine:drain()
    assert.same({ "sync" }, trace)
    wait:fill("a", 2)
    engine:drain { delayed = true }
    table.sort(trace)
    assert.same({ "async", "generator", "sync" }, trace)
    assert.equal("done", record(stage).state)
  end)

  it("P135 of an async pipeline waits for the children it spawned (G35)", function()
    local Parent = helper.define {
      async = true, run = function(self) self:spawn(Async()) end, finalized = note "parent",
    }
    local stage = Parent():start()
    engine:drain()
    stage:complete("own")
    engine:drain()
    assert.same({}, trace)
    child(stage, Async):complete("child")
    engine:drain()
    assert.same({ "parent" }, trace)
  end)

  it("P136 is called without delay", function()
    local times = {}
    local Look = helper.define {
      run = function() end,
      finalized = function() table.insert(times, engine:now() - START) end,
    }
    local stage = Look():start()
    engine:drain()
    assert.same({ 0 }, times)
    assert.equal(START, record(stage).finalized)
    local watch = helper.open { virtual_time = false }
    local real = Look():start { engine = watch }
    local before = os.time()
    watch:wait(real.id)
    assert.is_true(os.time() - before <= 1)
    watch:close()
  end)

  it("P137 is called in the order the last outputs arrive: of nested generators the innermost first", function()
    local Nested
    Nested = pipeline.define("finalize.Nested", {
      run = function(self, n)
        local inner = n > 1 and self:spawn(Nested(n - 1)) or nil
        self:after({ inner }, function() self:spawn(Give(n)) end)
      end,
      finalized = function(self) table.insert(trace, self.args[1]) end,
    })
    assert.equal(5, helper.result(Nested(5)))
    assert.same({ 1, 2, 3, 4, 5 }, trace)
    trace = {}
    -- The example of the original: each prints when it is finalized, its child after it was run.
    local Leaf = pipeline.define("finalize.Leaf", {
      run = function(_, n) return n end,
      finalized = function(self) table.insert(trace, self.args[1]) end,
    })
    local Chain
    Chain = pipeline.define("finalize.Chain", {
      run = function(self, n)
        self:spawn(Leaf(n))
        if n > 1 then self:spawn(Chain(n - 1)) end
      end,
    })
    helper.result(Chain(5))
    assert.same({ 5, 4, 3, 2, 1 }, trace)
  end)

  it("P138 of a parent does not wait for that of its children", function()
    local Child = helper.define {
      backoff_seconds = 30, run = function() return "output" end,
      finalized = function()
        table.insert(trace, ("child at %g"):format(engine:now() - START))
        if #trace == 1 then error("not now") end
      end,
    }
    local Tree = helper.define {
      run = function(self) self:spawn(Child()) end,
      finalized = function() table.insert(trace, ("parent at %g"):format(engine:now() - START)) end,
    }
    local stage = Tree():start()
    engine:drain { delayed = true }
    assert.same({ "child at 0", "parent at 0", "child at 30" }, trace)
    assert.equal(START, record(stage).finalized)
    assert.equal(START + 30, record(child(stage, Child)).finalized)
  end)

  it("P139 can read the outputs; has_finalized and was_aborted are still false", function()
    local seen
    local Look = helper.define {
      output_names = { "a", "b" },
      run = function(self, x)
        self:fill("a", { x, { nested = x } })
        self:spawn(helper.define { output_names = { "b" }, run = function(s)
          s:fill("b", "of the child")
          return "default of the child"
        end }())
      end,
      finalized = function(self)
        seen = {
          default = self.outputs.default.value, a = self.outputs.a.value, b = self.outputs.b.value,
          args = { table.unpack(self.args) }, done = self.has_finalized, aborted = self.was_aborted,
          state = record(self).state, id = self.id, root = self.is_root, attempt = self.current_attempt,
          filler = self.outputs.a.filler, filled = self.outputs.b.filled,
        }
        helper.raises(pipeline.SlotNotDeclaredError, function() return self.outputs.c end)
      end,
    }
    local stage = Look("x"):start()
    engine:drain()
    assert.same({
      default = "default of the child", a = { "x", { nested = "x" } }, b = "of the child", args = { "x" },
      done = false, aborted = false, state = "finalizing", id = stage.id, root = true, attempt = 1,
      filler = stage.id, filled = true,
    }, seen)
    assert.is_true(pipeline.from_id(stage.id).has_finalized)
  end)

  it("P139 cannot spawn, fill or complete any more what is to be final", function()
    local problems = {}
    local Late = helper.define {
      run = function() return "value" end,
      finalized = function(self)
        for _, call in ipairs {
          function() self:spawn(Give(1)) end,
          function() self:after({}, function() end) end,
          function() self:complete(1) end,
          function() self:retry("no") end,
        } do
          local ok, problem = pcall(call)
          table.insert(problems, ok or pipeline.is(problem, pipeline.UnexpectedPipelineError))
        end
        self:set_status { message = "finished" }
      end,
    }
    local stage = Late():start()
    engine:drain()
    assert.same({ true, true, true, true }, problems)
    assert.equal("finished", helper.entry(stage).statusMessage)
    assert.equal("value", pipeline.from_id(stage.id).outputs.default.value)
    assert.same({}, helper.entry(stage).children)
  end)

  it("P140 that raises is called again with the pipeline's backoff until it works; attempts are not counted", function()
    local Hard = helper.define {
      backoff_seconds = 12, backoff_factor = 1.5, max_attempts = 5,
      run = function() return "value" end,
      finalized = function()
        table.insert(trace, engine:now() - START)
        if #trace < 5 then error("not yet", 0) end
      end,
    }
    local Tree = helper.define(function(self) self:spawn(Give(self:spawn(Hard()))) end)
    local stage = Tree():start()
    engine:drain()
    local hard = child(stage, Hard)
    local entry = helper.find(stage, Hard)
    assert.same({ "finalizing", 1, START * 1000, START * 1000 },
      { entry.status, entry.currentAttempt, entry.startTimeMs, entry.endTimeMs })
    assert.equal("done", record(stage).state)
    engine:drain { delayed = true }
    assert.same({ 0, 12, 30, 57, 97.5 }, trace)
    local found = record(hard)
    assert.same({ "done", 0, START + 97.5 }, { found.state, found.attempt, found.finalized })
    assert.is_nil(found.retry_message)
    local failures = engine._core:failures_get(hard._id)
    assert.same({ 4, "Error", "not yet", START + 12 },
      { #failures, failures[2].error_class, failures[2].message, failures[2].time })
    assert.equal(4, #helper.log(30))
  end)

  it("P140 is waited for by wait and by cleanup", function()
    local fails = true
    local Hard = helper.define {
      run = function() return "value" end,
      finalized = function() if fails then error("not yet") end end,
    }
    local stage = Hard():start()
    engine:drain()
    helper.raises(pipeline.UnexpectedPipelineError, stage.cleanup, stage)
    helper.raises(pipeline.TimeoutError, engine.wait, engine, stage, { timeout = 10 })
    fails = false
    assert.equal("value", engine:wait(stage).default.value)
    assert.equal(START + 15, record(stage).finalized)
    stage:cleanup()
    assert.is_nil(pipeline.from_id(stage.id))
  end)

  it("P140 whose class cannot be loaded is tried again, and given up after the time given", function()
    engine:close()
    engine = helper.open { class_load_timeout = 100 }
    local function start()
      local name = helper.name()
      local definition = { async = true, run = function() end, finalized = note(name) }
      local stage = pipeline.define(name, definition)():start()
      engine:drain()
      engine:advance(1000) -- it was started long ago
      stage:complete("value")
      class.registry[name] = nil
      engine:drain()
      assert.equal("finalizing", record(stage).state)
      return stage, name, definition
    end
    local stage, name, definition = start()
    pipeline.define(name, definition)
    engine:drain { delayed = true }
    assert.same({ name }, trace)
    assert.equal("done", record(stage).state)
    local completed = engine:now()
    stage = start()
    completed = completed + 1000
    engine:drain { delayed = true }
    assert.same({ name }, trace)
    assert.equal("done", record(stage).state)
    local late = record(stage).finalized - completed
    assert.is_true(late > 100 and late < 210, tostring(late))
    assert.matches("cannot be loaded", helper.log(40)[1])
  end)

  it("P141 may be missing: the pipeline is done with its last output, without another task", function()
    local kinds = {}
    delivery.intercept(engine, function(claim, execute)
      table.insert(kinds, claim.kind)
      execute()
    end)
    local Plain = helper.define { run = function(self) self:spawn(Give(1)) end }
    local stage = Plain():start()
    engine:drain()
    assert.same({ "run", "run" }, kinds)
    assert.equal("done", record(stage).state)
    local Parent = helper.define { run = function() end, finalized = note "inherited" }
    local Heir = pipeline.define(helper.name(), { extends = Parent })
    local heir = Heir():start()
    engine:drain()
    assert.same({ "run", "run", "run", "finalize" }, kinds)
    assert.equal("done", record(heir).state)
    assert.same({ "inherited" }, trace)
  end)

  it("P141 counts as the class has it when it runs, whatever it had when it was started", function()
    local name = helper.name()
    local stage = pipeline.define(name, { run = function() return 1 end })():start()
    class.registry[name] = nil
    pipeline.define(name, { run = function() return 2 end, finalized = note "of the new version" })
    engine:drain()
    assert.same({ "of the new version" }, trace)
    assert.equal(2, pipeline.from_id(stage.id).outputs.default.value)
  end)

  it("P142 has no default: neither roots nor children do anything when they are done", function()
    local stage = Give(1):start()
    assert.is_nil(Give.finalized)
    engine:drain()
    assert.same({ "done", START }, { record(stage).state, record(stage).finalized })
    assert.same({}, helper.log(20))
  end)

  it("P143 may be called more than once: what it reports counts when it is committed (G27)", function()
    local Twice = helper.define {
      run = function() return "value" end,
      finalized = function() table.insert(trace, "finalized") end,
    }
    delivery.lose_first(engine, 2)
    local stage = Twice():start()
    engine:drain { delayed = true }
    assert.same({ "finalized", "finalized", "finalized" }, trace)
    assert.equal("done", record(stage).state)
    engine:advance(1e6)
    engine:drain { delayed = true }
    assert.equal(3, #trace)
  end)

  it("P143 is called again after its process was killed, and so is run", function()
    local path, log = helper.path(), helper.path()
    local program = helper.path()
    local file = assert(io.open(program, "w"))
    file:write(([[
      local pipeline = require "pipeline"
      local engine = pipeline.open(%q, { virtual_time = true, virtual_start = %f })
      local function say(text)
        local out = io.open(%q, "a")
        out:write(text, "\n")
        out:close()
      end
      local dies = arg[1]
      local function step(name)
        say(name)
        if name == dies then
          local pid = io.open("/proc/self/stat"):read("n")
          os.execute("kill -9 " .. pid)
        end
      end
      local Child = pipeline.define("killed.Child", { run = function() step("child") return "value" end })
      local Tree = pipeline.define("killed.Tree", {
        run = function(self)
          self:spawn(Child())
          step("run")
        end,
        finalized = function() step("finalized") end,
      })
      if not pipeline.from_id("tree") then Tree():start { idempotence_key = "tree" } end
      engine:drain { delayed = true }
      say(pipeline.from_id("tree").outputs.default.value)
    ]]):format(path, START, log))
    file:close()
    for _, step in ipairs { "run", "child", "finalized", "never" } do
      os.execute(("%s %s %s 2>/dev/null"):format(os.getenv("LUA") or "lua5.4", program, step))
    end
    local said = {}
    for line in io.lines(log) do said[#said + 1] = line end
    assert.same({ "run", "run", "child", "child", "finalized", "finalized", "value" }, said)
  end)
end)
