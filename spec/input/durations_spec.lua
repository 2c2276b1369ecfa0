-- Lengths of time as texts: one grammar, wherever one is taken.

local core = require "pipeline.core"
local duration = require "pipeline.support.duration"
local schedules = require "pipeline.schedules"
local values = require "pipeline.command.values"
local helper = require "spec.support.helper"

require("pipeline.deferred").register("spec.durations.f", function() end)

local GOOD = {
  ["90"] = 90, ["90s"] = 90, ["5m"] = 300, ["2h"] = 7200, ["7d"] = 7 * 86400, ["1w"] = 7 * 86400, ["1h30m"] = 5400,
  ["1.5h"] = 5400, ["1d12h"] = 129600, ["30 d"] = 30 * 86400, [" 1h 30m "] = 5400, ["2h15m10.5s"] = 8110.5,
}
local BAD = { "", " ", "soon", "h", "5x", "1h30", "-5m", "5m!", "1e3s", "1,5h", "0x10", "1 h 30", "1000000000w", "\0" }

describe("a length of time", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("is a number and a unit, or several of them, or a number of seconds", function()
    for text, seconds in pairs(GOOD) do assert.equal(seconds, duration.seconds(text), text) end
    assert.equal("float", math.type(duration.seconds(90)))
    assert.equal(0.25, duration.seconds(0.25))
    for _, text in ipairs(BAD) do assert.is_nil(duration.seconds(text), text) end
    for _, value in ipairs { -1, 0 / 0, 1 / 0, true, {}, print } do assert.is_nil(duration.seconds(value)) end
    assert.is_nil(duration.seconds(nil))
  end)

  it("has the same grammar in schedules, in retention and on the command line", function()
    for text, seconds in pairs(GOOD) do
      local engine = helper.open { retention = { done = text, dead = text } }
      assert.same({ seconds, seconds }, { engine:status().retention.done, engine:status().retention.dead }, text)
      local s = schedules.create("s", { every = text, anchor = 0, call = { "spec.durations.f" },
        catch_up = { window = text } })
      local fields = core.decode(engine._core:schedule_get { name = s.name }[1].times)
      assert.same({ seconds, seconds }, { fields.every, fields.catch_up.window }, text)
      assert.equal(seconds, values.duration(text), text)
      helper.finish()
    end
  end)

  it("that is none is refused everywhere, and says what is expected", function()
    for _, text in ipairs(BAD) do
      helper.misuse("'done': .*1h30m.* or false", helper.open, { retention = { done = text } })
      helper.open()
      local problem = helper.raises(schedules.ScheduleError, schedules.create, "s",
        { every = text, call = { "spec.durations.f" } })
      assert.truthy(problem.message:find("every: a number of seconds, or a text such as", 1, true), problem.message)
      local seconds, why = values.duration(text)
      assert.is_nil(seconds)
      assert.truthy(why:find("is no duration", 1, true))
      helper.finish()
    end
  end)
end)
