-- engine:complete and engine:callback.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

describe("an async pipeline, by its address,", function()
  local engine

  local Ask = pipeline.define("act.async.Ask", {
    async = true, run = function() end,
    callback = function(self, params)
      if params.choice == "fail" then error("as told", 0) end
      self:complete(params.choice)
      return 202, "text/plain", "thanks for " .. params.choice .. params.n
    end,
  })
  local Held = pipeline.define("act.async.Held", {
    async = true, run = function() end, try_cancel = function() return false end,
  })
  local Give = pipeline.define("act.async.Give", { run = function(_, value) return value end })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function start(class, key)
    local stage = class(1):start { idempotence_key = key }
    engine:drain()
    return stage
  end

  it("is completed with a value, by id, by a beginning of it, or by key", function()
    for _, key in ipairs { false, "order-1" } do
      local stage = start(Ask, key or nil)
      assert.is_true(engine:complete(key and "key:" .. key or stage.id:sub(1, 30), { 1, 2 }))
      engine:drain()
      assert.same({ 1, 2 }, engine:wait(stage).default.value)
      helper.raises(pipeline.UnexpectedPipelineError, engine.complete, engine, stage.id, 1)
    end
    local empty = start(Ask)
    engine:complete(empty.id)
    engine:drain()
    assert.is_nil(engine:wait(empty).default.value)
  end)

  it("is called back; status, type and body of the answer come back", function()
    local stage = start(Ask)
    assert.same({ 202, "text/plain", "thanks for yes3" }, { engine:callback(stage.id, { choice = "yes", n = 3 }) })
    engine:drain()
    assert.equal("yes", engine:wait(stage).default.value)
    assert.equal(409, (engine:callback(stage.id, { choice = "no" })))
    local failed = start(Ask)
    local _, problem = pcall(engine.callback, engine, failed.id, { choice = "fail" })
    assert.truthy(tostring(problem):find("as told", 1, true))
  end)

  it("that only waited to be aborted is aborted by it", function()
    local root = helper.define(function(self) self:spawn(Held()) end)():start()
    engine:drain()
    root:abort()
    engine:drain()
    local held = helper.child(root, Held)
    assert.is_false(engine:complete(held.id, 1))
    engine:drain()
    assert.equal("aborted", helper.record(held).state)
  end)

  it("must be there, and async, and its value storable", function()
    helper.raises(pipeline.PipelineStatusError, engine.complete, engine, "key:none", 1)
    local given = start(Give)
    for _, name in ipairs { "complete", "callback" } do
      helper.raises(pipeline.UnexpectedPipelineError, engine[name], engine, given.id)
    end
    local stage = start(Ask)
    helper.raises(pipeline.SerializationError, engine.complete, engine, stage.id, function() end)
    helper.misuse("named strings", engine.callback, engine, stage.id, { { "x" } })
    helper.misuse("string expected", engine.complete, engine, 7)
  end)
end)
