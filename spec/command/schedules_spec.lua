--- schedules, schedule, trigger, pause-schedule, resume-schedule, backfill: what the clock starts, from the shell.

local schema = require "spec.command.schema"
local shapes = require "spec.command.shapes"
local support = require "spec.command.support"

describe("schedules", function()
  local scene

  before_each(function()
    scene = support.scene()
    scene:write("clock.lua", [[
      local pipeline, schedules = require "pipeline", require "pipeline.schedules"
      local Report = pipeline.define("clock.Report", { run = function(_, of) return of end })
      if os.getenv "DECLARE" then
        schedules.declare("reports", {
          nightly = { cron = "30 2 * * *", time_zone = "Europe/Berlin", start = Report("eu") },
          hourly = { every = "1h", start = Report("all"), catch_up = { policy = "none" } },
        })
      end
    ]])
    local worker = scene:spawn({ "worker", "clock.lua" }, { env = { DECLARE = "1" } })
    worker.saw("working on")
    scene:stop(worker)
  end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  local function is_as(shape, words, expected)
    local value = scene:json(words, nil, expected)
    assert.equal("", schema.check(value, shapes[shape]))
    return value
  end

  it("C6 schedules and schedule tell when they fire next, as JSON with the names of their schemas", function()
    local list = is_as("schedules", { "schedules" }).items
    assert.equal("hourly", list[1].name)
    assert.equal("nightly", list[2].name)
    assert.equal(1, #is_as("schedules", { "schedules", "--limit", "1" }).items)
    assert.same({}, is_as("schedules", { "schedules", "--state", "paused" }).items)
    local one = is_as("schedule", { "schedule", "nightly" })
    assert.equal(5, #one.next)
    local out = scene:must { "schedules" }
    assert.truthy(out:find("nightly", 1, true) and out:find("Europe/Berlin", 1, true), out)
    out = scene:must { "schedule", "nightly" }
    assert.truthy(out:find("T02:30:00+0", 1, true), out)
  end)

  it("trigger fires one now, and its pipeline can be shown", function()
    local id = scene:must({ "trigger", "nightly", "--module", "clock.lua" }):match("^(%S+)\n")
    assert.equal("clock.Report", scene:json({ "show", id }).stages[1].class)
    assert.equal("started", is_as("trigger", { "trigger", "hourly", '"us"', "--module", "clock.lua" }).state)
    assert.equal(1, scene:json({ "schedule", "hourly" }).triggered)
    assert.equal("skipped", is_as("trigger", { "trigger", "hourly", "--overlap", "skip" }, 1).state)
  end)

  it("pauses with a note and goes on", function()
    scene:must { "pause-schedule", "nightly", "--note", "holidays" }
    assert.equal("holidays", scene:json({ "schedules", "--state", "paused" }).items[1].note)
    assert.truthy(scene:must({ "schedule", "nightly" }):find("holidays", 1, true))
    scene:must { "resume-schedule", "nightly" }
    assert.equal("active", scene:json({ "schedule", "nightly" }).state)
  end)

  it("backfills a stretch of the past after a confirmation, each time once", function()
    local words = { "backfill", "nightly", "--from", "2026-03-01", "--to", "2026-03-04T00:00:00Z" }
    local code, _, err = scene:run(words)
    assert.equal(2, code)
    assert.truthy(err:find("--yes", 1, true), err)
    words[#words + 1] = "--yes"
    local result = is_as("backfill", words)
    assert.equal(3, result.started + result.buffered)
    assert.equal(3, is_as("backfill", words).already_fired)
    code, _, err = scene:run { "backfill", "nightly", "--from", "2020-01-01", "--yes", "--max", "10" }
    assert.equal(1, code)
    assert.truthy(err:find("more than max = 10", 1, true), err)
  end)

  it("C8 names the schedule that was probably meant", function()
    for _, command in ipairs { "schedule", "trigger", "pause-schedule", "resume-schedule" } do
      local code, _, err = scene:run { command, "nightli" }
      assert.equal(3, code, err)
      assert.truthy(err:find("did you mean 'nightly'?", 1, true), err)
    end
  end)
end)
