-- durable/reach/progress.lua: heartbeats and streams of steps at work.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local open, workflow = support.open, support.workflows { backoff_seconds = 1 }

teardown(helper.clean)

describe("a heartbeat of a step", function()
  it("W43 gives its last details to the next attempt, after an error", function()
    local engine <close> = open()
    local seen = {}
    local stage = workflow(function(self)
      return self:step({ name = "copy", max_attempts = 4 }, function()
        local info = pipeline.step()
        seen[#seen + 1] = info.details and info.details.at or "none"
        for i = 1, 3 do info:heartbeat { at = info.attempt * 10 + i } end
        if info.attempt < 3 then error("again", 0) end
        return info.details
      end)
    end)():start()
    engine:drain { delayed = true }
    assert.same({ "none", 13, 23 }, seen)
    assert.same({ at = 23 }, engine:wait(stage).default.value)
  end)

  it("W43 gives details at most a second old after a crash, and one a second is written", function()
    local path = helper.path()
    local Copy = workflow(function(self)
      return self:step("copy", function()
        local info = pipeline.step()
        if info.details then return { info.details, info.attempt } end
        for i = 1, 50 do
          info:heartbeat(i)
          tasklets.await(tasklets.sleep(0.1))
        end
        tasklets.await(tasklets.sleep(1e6))
      end)
    end)
    local id
    do
      local engine <close> = open(path)
      id = Copy():start().id
      local commits, methods = 0, getmetatable(engine._core).__index
      local journal = methods.journal
      methods.journal = function(...)
        commits = commits + 1
        return journal(...)
      end
      local on = tasklets.tasklet(function() engine:sleep(6) end)()
      tasklets.await(on)
      methods.journal = journal
      assert.is_true(commits >= 5 and commits <= 8, commits .. " commits")
    end
    local engine <close> = open(path)
    engine:drain()
    local result = engine:wait(id).default.value
    assert.is_true(result[1] >= 40, "details " .. result[1])
    assert.equal(1, result[2])
  end)

  it("W44 is CancelledError when the attempt is over", function()
    local engine <close> = open()
    local info
    local stage = workflow(function(self)
      self:step({ name = "slow", timeout = 5, max_attempts = 1 }, function()
        info = pipeline.step()
        tasklets.await(tasklets.sleep(10))
      end)
    end)():start()
    assert.is_false(pcall(engine.wait, engine, stage))
    for _, call in ipairs { function() info:heartbeat(1) end, function() info:stream("s"):write(1) end } do
      local ok, problem = pcall(call)
      assert.is_false(ok)
      assert.is_true(pipeline.is(problem, pipeline.CancelledError))
    end
  end)

  it("that does not come in time fails the attempt", function()
    local engine <close> = open()
    local attempts = 0
    local stage = workflow(function(self)
      return self:step({ name = "model", heartbeat_timeout = 5, max_attempts = 2 }, function()
        local info = pipeline.step()
        attempts = attempts + 1
        for i = 1, 4 do
          info:heartbeat(i)
          tasklets.await(tasklets.sleep(4))
        end
        if info.attempt == 1 then tasklets.await(tasklets.sleep(6)) end
        return info.details
      end)
    end)():start()
    engine:drain { delayed = true }
    assert.equal(4, engine:wait(stage).default.value)
    assert.equal(2, attempts)
  end)
end)

describe("a stream of a step", function()
  it("W140 has the k-th write of a step once, however many attempts it takes, while the step is at work", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:stream("tokens"):write("begin")
      self:step({ name = "model", max_attempts = 3 }, function()
        local info = pipeline.step()
        local out = info:stream("tokens")
        for i = 1, 2 + info.attempt do
          out:write(i)
          tasklets.await(tasklets.sleep(1))
        end
        if info.attempt < 3 then error("again", 0) end
      end)
      self:stream("tokens"):write("end")
    end)():start()
    local early = tasklets.tasklet(function()
      local list = {}
      for _, value in engine:read_stream(stage, "tokens") do
        list[#list + 1] = value
        if value == 2 then break end
      end
      return list, engine:stage(stage.id).state
    end)()
    engine:drain { delayed = true }
    local list, state = tasklets.await(early)
    assert.same({ "begin", 1, 2 }, list)
    assert.not_equal("done", state)
    list = {}
    for n, value in engine:read_stream(stage, "tokens") do list[n + 1] = value end
    assert.same({ "begin", 1, 2, 3, 4, 5, "end" }, list)
  end)
end)
