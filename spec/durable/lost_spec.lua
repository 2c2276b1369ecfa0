--- A durable function whose step kills every process that executes it.
package.path = "spec/binding/?.lua;" .. package.path
local processes = require "spec.crash.processes"
local support = require "support"

-- A process that works on the file until its run is done, or held. `kills`: its step does so.
local function work(path, kills)
  return support.process(([[
    local pipeline = require "pipeline"
    local processes = require "spec.crash.processes"
    local Killer = pipeline.workflow("spec.Killer", { max_losses = 2, run = function(self)
      self:step("first", function() return 1 end)
      return self:step("deadly", function()
        if %s then
          os.execute("kill -9 " .. processes.own_pid())
          while true do end
        end
        return "survived"
      end)
    end })
    local engine = pipeline.open(%q, { log = function() end })
    local stage = pipeline.from_id("the-run") or Killer():start { idempotence_key = "the-run" }
    local id = engine._core:stage_get("the-run").id
    if not %s then
      local flow
      for _ = 1, 60 do
        pcall(engine.wait, engine, stage, { timeout = 0.5 })
        flow = engine._core:journal_get(id)
        if flow.mode ~= "begun" then break end
      end
      print(flow.mode, flow.reason, #engine:check())
      assert(engine._core:flow_set(id, { resume = true }))
      print(engine:wait(stage, { timeout = 30 }).default.value)
    else
      engine:wait(stage, { timeout = 30 })
    end]]):format(kills, path, kills))
end

describe("a durable function", function()
  it("W164 that too many workers have died of is held, and goes on when it is let", function()
    local directory = processes.directory()
    local path = directory .. "/run.db"
    for _ = 1, 2 do work(path, true) end
    local _, output = work(path, false)
    assert.equal("held\tthe workers that executed it died 2 times in a row\t0\nsurvived\n", output)
    os.execute(("rm -rf '%s'"):format(directory))
  end)

  it("W123 W125 whose worker died in its first step undoes that, aborted before anybody begins it again", function()
    local directory = processes.directory()
    local function run(dies, code)
      local _, output = support.process(([[
        local pipeline = require "pipeline"
        local processes = require "spec.crash.processes"
        local Charge = pipeline.workflow("spec.Charge", { run = function(self)
          self:step({ name = "charge", compensate = function(outcome) print("undone", outcome.ok) end }, function()
            if %s then os.execute("kill -9 " .. processes.own_pid()) end
            while true do end
          end)
        end })
        local engine = pipeline.open(%q, { log = function() end })
        local stage = pipeline.from_id("the-run") or Charge():start { idempotence_key = "the-run" }
        %s]]):format(dies, directory .. "/run.db", code))
      return output
    end
    run(true, "engine:wait(stage, { timeout = 30 })")
    assert.equal("ready\ntrue\nundone\tnil\nenough\n", run(false, [[
      local function set_paused(is_paused)
        engine._core:queue_set { { name = "default", mode = "push", paused = is_paused } }
      end
      set_paused(true)
      local state
      for _ = 1, 300 do
        engine:sleep(0.1)
        state = engine:stage(stage.id).state
        if state == "ready" then break end
      end
      print(state)
      print(stage:abort("enough"))
      set_paused(false)
      print(select(2, pcall(engine.wait, engine, stage, { timeout = 30 })).reason)]]))
    os.execute(("rm -rf '%s'"):format(directory))
  end)

  it("W54 shows the status that its body set before its worker died, though that is replayed", function()
    local directory = processes.directory()
    local function run(dies)
      local _, output = support.process(([[
        local pipeline = require "pipeline"
        local processes = require "spec.crash.processes"
        local Told = pipeline.workflow("spec.Told", { run = function(self)
          self:step("a", function() end)
          self:set_status { message = "a is done" }
          if %s then os.execute("kill -9 " .. processes.own_pid()) end
          self:wait_event("never")
        end })
        local engine = pipeline.open(%q, { log = function() end })
        local stage = pipeline.from_id("the-run") or Told():start { idempotence_key = "the-run" }
        pcall(engine.wait, engine, stage, { timeout = %d })
        for _ = 1, 300 do
          engine:sleep(0.1)
          if engine:stage(stage.id).state == "delayed" then break end
        end
        print(engine:get_status_tree(stage.id).pipelines[stage.id].statusMessage)]]):format(dies,
          directory .. "/run.db", dies and 30 or 1))
      return output
    end
    run(true)
    assert.equal("a is done\n", run(false))
    os.execute(("rm -rf '%s'"):format(directory))
  end)
end)
