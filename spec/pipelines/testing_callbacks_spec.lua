-- start_test{ callbacks = … }: the test's function is the world outside.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

describe("start_test with callbacks", function()
  local Ask = pipeline.define("callbacks.Ask", {
    async = true, output_names = { "who" }, run = function(self) self:set_status { message = "asked" } end,
    callback = function(self, params)
      self:fill("who", params.who)
      self:complete(params.choice)
    end,
    try_cancel = function() return true end, backoff_seconds = 1,
  })
  local List = pipeline.define("callbacks.List", { run = function(_, ...) return { ... } end })
  local Both = pipeline.define("callbacks.Both", {
    run = function(self)
      local first = self:spawn(Ask(1))
      local second
      self:after({ first }, function() second = self:spawn(Ask(2)) end)
      return self:spawn(List(first, first.who, second))
    end,
  })

  after_each(helper.finish)
  teardown(helper.clean)

  it("calls it for each async pipeline that waits, one after the other as they come to it", function()
    local asked = {}
    local stage = Both():start_test { callbacks = function(open)
      asked[#asked + 1] = open.args[1]
      open:fill("who", "me")
      open:complete(10 * open.args[1])
    end }
    assert.same({ 1, 2 }, asked)
    assert.same({ 10, "me", 20 }, stage.outputs.default.value)
  end)

  it("may go through the callback of the pipeline, which is checked as for real", function()
    local stage = Both():start_test { callbacks = function(open, engine)
      assert.equal(200, (engine:callback(open.id, { who = "you", choice = "yes" })))
    end }
    assert.same({ "yes", "you", "yes" }, stage.outputs.default.value)
  end)

  it("is called again as long as that changes anything, and then the test says what nobody has filled", function()
    local times = 0
    local _, problem = pcall(function()
      Ask(1):start_test { callbacks = function(open)
        times = times + 1
        if times == 1 then open:fill("who", "me") end
      end }
    end)
    assert.equal(2, times)
    assert.is_true(pipeline.is(problem, pipeline.SlotNotFilledError))
    assert.truthy(problem.message:find("output 'default'", 1, true), problem.message)
  end)

  it("may retry and abort", function()
    local attempts = {}
    local stage = Ask(1):start_test { callbacks = function(open)
      attempts[#attempts + 1] = open.current_attempt
      if open.current_attempt == 1 then return open:retry("again") end
      open:fill("who", "me")
      open:complete("done")
    end }
    assert.same({ 1, 2 }, attempts)
    assert.equal("done", stage.outputs.default.value)
    local _, problem = pcall(function()
      Both():start_test { callbacks = function(open) open:abort("enough") end }
    end)
    assert.is_true(pipeline.is(problem, pipeline.AbortedError), tostring(problem))
  end)

  it("raises what it raises, and without it an async pipeline needs run_test as before", function()
    local _, problem = pcall(function() Ask(1):start_test { callbacks = function() error("of the test", 0) end } end)
    assert.equal("of the test", problem)
    _, problem = pcall(function() Ask(1):start_test() end)
    assert.truthy(tostring(problem):find("has no run_test function", 1, true), tostring(problem))
    helper.misuse("callbacks", Ask(1).start_test, Ask(1), { callbacks = 1 })
  end)
end)
