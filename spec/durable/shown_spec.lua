-- What a durable function shows, as faces list it: values, tails of streams, handlers, heartbeats, and who is held.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local workflow = support.workflows { backoff_seconds = 1 }

local function open() return support.open(nil, { warm_runs = 1000 }) end

describe("what a durable function shows", function()
  it("W139 lists its values by their names, with when they were set; a large one by its size", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:set_value("b", { done = 1 })
      self:set_value("a", nil)
      self:set_value("huge", ("x"):rep(70000))
      self:sleep(10)
      self:set_value("b", { done = 2 })
    end)():start()
    assert.same({}, engine:get_values(stage))
    engine:drain()
    engine:drain { delayed = true }
    local list = engine:get_values(stage.id)
    assert.same({ "a", "b", "huge" }, { list[1].name, list[2].name, list[3].name })
    assert.is_nil(list[1].value)
    assert.is_nil(list[1].too_large)
    assert.same({ done = 2 }, list[2].value)
    assert.is_true(list[2].time >= 1e9 + 10 and list[1].time < 1e9 + 10)
    assert.is_true(list[3].too_large and list[3].size > 70000)
    assert.equal(70000, #engine:get_value(stage, "huge"))
    helper.raises(pipeline.UnexpectedPipelineError, engine.get_values, engine, "nobody")
  end)

  it("W141 lists its streams by their names: how long they are, whether closed, and their tails", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local tokens, log = self:stream("tokens"), self:stream("log")
      for i = 0, 29 do tokens:write("t" .. i) end
      log:write { level = "info" }
      log:close()
      self:stream("empty"):close()
      self:wait_event("go")
    end)():start()
    engine:drain()
    local list = engine:get_streams(stage, { tail = 3 })
    assert.same({ "empty", "log", "tokens" }, { list[1].name, list[2].name, list[3].name })
    assert.same({ 0, 1, 30 }, { list[1].count, list[2].count, list[3].count })
    assert.same({ true, true, "open" }, { list[1].closed, list[2].closed, list[3].closed or "open" })
    assert.same({}, list[1].tail)
    assert.same({ level = "info" }, list[2].tail[1].value)
    local tail = {}
    for i, item in ipairs(list[3].tail) do tail[i] = item.offset .. item.value end
    assert.same({ "27t27", "28t28", "29t29" }, tail)
    assert.equal(1e9, list[3].time)
    assert.equal(10, #engine:get_streams(stage)[3].tail)
    assert.same({}, engine:get_streams(stage, { tail = 0 })[3].tail)
  end)

  it("W131 names its handlers, as far as it has come, and changes nothing", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:on_query("state", print)
      self:on_query("all", print)
      self:on_update("rename", nil, print)
      self:on_signal("nudge", print)
      self:wait_event("go")
      self:on_query("late", print)
    end)():start()
    engine:drain()
    local entries = #engine:get_journal(stage)
    assert.same({ queries = { "all", "state" }, updates = { "rename" }, signals = { "nudge" } },
      engine:get_handlers(stage))
    assert.equal(entries, #engine:get_journal(stage))
    local Plain = workflow(function(self) self:wait_event("x") end)
    helper.raises(pipeline.UnexpectedPipelineError, engine.get_handlers, engine, "nobody")
    assert.same({ queries = {}, updates = {}, signals = {} }, engine:get_handlers(Plain():start()))
  end)

  it("W43 W176 shows in its journal how far a step at work said it got, and when", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:step({ name = "copy", max_attempts = 2 }, function()
        local info = pipeline.step()
        if info.attempt == 1 then
          info:heartbeat { copied=40, of = 100 }
          tasklets.await(tasklets.sleep(5))
        end
        error("the disk is full", 0)
      end)
    end)():start()
    local seen
    tasklets.tasklet(function()
      tasklets.await(tasklets.sleep(2))
      seen = engine:get_journal(stage)[1]
    end)()
    engine:drain()
    assert.equal("open", seen.state)
    assert.match("copied=40", seen.details)
    assert.is_true(seen.beat >= 1e9 and seen.beat < 1e9 + 2)
    local again = engine:get_journal(stage)[1]
    assert.same({ "again", true }, { again.state, again.details:find("copied=40", 1, true) ~= nil })
  end)
end)

describe("durable functions that are held", function()
  it("U1 W158 are listed, the newest first, however many others wait, and at any depth of a tree", function()
    local engine <close> = open()
    local Waits = workflow(function(self) self:wait_event("go") end)
    local Above = workflow(function(self) self:await(self:spawn(Waits())) end)
    local first, above = Waits():start(), Above():start()
    engine:drain()
    assert.same({ items = {}, count = 0 }, engine:list_held())
    local child = engine:tree(above.id).items[2].id
    engine:hold(first, "the bank is closed")
    engine:hold(child)
    for _ = 1, 150 do Waits():start() end
    engine:drain()
    local held = engine:list_held()
    assert.equal(2, held.count)
    assert.same({ child, first.id }, { held.items[1].id, held.items[2].id })
    assert.same({ above.id, above.id }, { held.items[1].root, held.items[1].parent })
    assert.equal("the bank is closed", held.items[2].held)
    assert.equal(1, #engine:list_held({ limit = 1 }).items)
    engine:resume(first)
    engine:signal(child, "go")
    engine:drain()
    assert.equal(1, engine:list_held().count)
    engine:resume(child)
    engine:drain()
    assert.same({ 0, "done" }, { engine:list_held().count, engine:stage(above.id).state })
  end)
end)
