--- why: the sentence that decides, and the command that changes it: done, it starts.

local support = require "spec.command.support"

describe("why", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  local function start(...)
    return (scene:must { "start", "--module", "demo.lua", ... }):match("%S+")
  end

  local function deciding(id) return scene:json({ "why", id }).reasons[1] end

  local function is(id, state)
    assert.is_true(support.eventually(support.SECONDS, function()
      return scene:json({ "show", id, "--depth", "0" }).state == state
    end), state)
  end

  it("C7 names what holds a pipeline up; changed by the command that it gives, the pipeline starts", function()
    local id = start("demo.Add", "1", "2")
    assert.equal("no_worker", deciding(id).code)
    scene:must { "pause", "default" }
    local worker = scene:worker()
    local reason = deciding(id)
    assert.equal("queue_paused", reason.code)
    assert.equal("pipeline resume-queue default", reason.command)
    scene:must { "resume-queue", "default" }
    is(id, "done")
    assert.same({}, scene:json({ "why", id }).reasons)
    assert.truthy(scene:must({ "why", id }):find("nothing holds it up", 1, true))
    scene:stop(worker)
  end)

  it("C7 says which callback an async pipeline waits for, and what failed in an aborted one", function()
    local worker = scene:worker()
    local id = start("demo.Ask")
    is(id, "open")
    local reason = deciding(id)
    assert.truthy(reason.command:find("pipeline complete " .. id, 1, true), reason.command)
    scene:must { "complete", id, "1" }
    is(id, "done")
    id = start("demo.Parent", "no stock")
    is(id, "aborted")
    reason = deciding(id)
    assert.truthy(reason.text:find("demo.Bad", 1, true), reason.text)
    assert.equal("pipeline resume " .. id, reason.command)
    local out = scene:must { "why", id }
    assert.truthy(out:find("\n  $ pipeline resume " .. id, 1, true), out)
    scene:stop(worker)
  end)

  it("C8 refuses an address of nothing", function()
    start("demo.Add", "1", "2")
    assert.equal(3, (scene:run { "why", "key:nothing" }))
    assert.equal(3, (scene:run { "why", "default/nothing" }))
    local code, _, err = scene:run { "why", "defualt/nothing" }
    assert.equal(3, code)
    assert.truthy(err:find("did you mean 'default'?", 1, true), err)
  end)
end)
