-- start_test of durable functions: virtual times of the world outside, and crashes at every moment.

local pipeline = require "pipeline"
local support = require "spec.durable.support"

local workflow = support.workflows { backoff_seconds = 1 }

describe("start_test of a durable function", function()
  it("W180 has signals and updates reach the run at virtual times", function()
    local seen = {}
    local class = workflow(function(self)
      local boss, start = "ann", self:now()
      self:on_query("boss", function() return boss end)
      self:on_update("reassign", nil, function(name)
        local old
        old, boss = boss, name
        return old
      end)
      local which, answer = self:select { answer = "answer", late = 14 * 86400 }
      return { boss, which, answer, self:now() - start }
    end)
    local stage = class()
    stage:start_test { at = {
      [86400] = function(engine) seen[1] = engine:update(stage.id, "reassign", "bob") end,
      [86401] = function(engine) seen[2] = engine:query(stage.id, "boss") end,
      [3 * 86400] = function(engine) engine:signal(stage.id, "answer", "yes") end,
    } }
    local value = stage.outputs.default.value
    assert.same({ "bob", "answer", "yes", 3 * 86400 }, value)
    assert.same({ "ann", "bob" }, seen)
  end)

  it("W180 raises what such a function raises", function()
    local ok, problem = pcall(function()
      workflow(function(self) self:sleep(10) end)():start_test { at = { [1] = function() error("in the test", 0) end } }
    end)
    assert.is_false(ok)
    assert.equal("in the test", problem)
    assert.has_error(function() workflow(print)():start_test { crash = "some" } end)
    assert.has_error(function() workflow(print)():start_test { at = { 5 } } end)
  end)

  it("W179 runs it once for each commit and each effect, with a crash there", function()
    local bodies, effects = 0, 0
    local Child = pipeline.define("durable_testing.Child", { run = function(_, n) return n * 2 end })
    local stage = workflow(function(self, n)
      bodies = bodies + 1
      local a = self:step("a", function()
        effects = effects + 1
        return n
      end)
      self:sleep(60)
      local child = self:await(self:spawn(Child(a)))
      local left, right = self:await(self:start_step("side", function() return 1 end),
        self:start_step("side", function() return 2 end))
      return { a, child, left, right, self:random(100), self:wait_event("go") }
    end)(21)
    stage:start_test { crash = "every", at = { [100] = function(engine)
      engine:signal(engine:list {}.items[1].id, "go", "went")
    end } }
    local value = stage.outputs.default.value
    assert.same({ 21, 42, 1, 2, value[5], "went" }, value)
    assert.is_true(bodies > 40, bodies .. " bodies")
    assert.is_true(effects > 5, effects .. " effects")
  end)

  it("W9 W179 what is published behind the last entry of the journal is not lost", function()
    local class = workflow(function(self)
      self:step("a", function() end)
      self:fill("early", "published", { publish = true })
      self:step("b", function() end)
      return 1
    end, { output_names = { "early" } })
    local stage = class():start_test { crash = "every" }
    assert.equal("published", stage.outputs.early.value)
  end)

  it("W179 names the first schedule whose outputs are others", function()
    local calls = 0
    local ok, problem = pcall(function()
      workflow(function(self)
        local n = self:step("count", function()
          calls = calls + 1
          return calls
        end)
        calls = 0
        return n
      end)():start_test { crash = "every" }
    end)
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.WorkflowError))
    assert.match("with a crash before entry %d+ is committed %(schedule %d+ of %d+%) its outputs are others",
      problem.message)
  end)
end)
