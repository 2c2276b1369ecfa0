-- Times that are changed: what came before the change is owed by the rules of before, what comes after it by the new
-- ones; nothing between is lost or fires twice.

local schedules = require "pipeline.schedules"
local helper = require "spec.support.helper"
local support = require "spec.schedules.support"

local START, Noted = support.START, support.Noted

describe("a schedule whose times are changed", function()
  local engine, missed
  before_each(function()
    missed = {}
    engine = support.open { on_missed = function(info) missed[#missed + 1] = info end }
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  -- Nobody is there for so long, and it is changed before anything could fire.
  local function down_then(seconds, change)
    engine._core:advance(seconds)
    change()
    engine:drain()
  end

  local function counts(s)
    local status = s:status()
    return { status.fired, status.caught_up, status.missed, status.skipped_paused }
  end

  it("S60 S48 S69 fires what nobody was there for, by the rules of before", function()
    local s = support.create("daily", { cron = "0 9 * * *" })
    down_then(2 * 3600, function() s:update { cron = "30 9 * * *", time_zone = "Europe/Berlin" } end)
    assert.same({ 3600 }, support.times())
    assert.equal("catch_up", support.runs[1].told.reason)
    assert.same({ 0, 1, 0, 0 }, counts(s))
    assert.equal(START + 86400 + 1800, s:status().next_nominal_time)
    engine:advance(86400)
    assert.same({ 3600, 86400 + 1800 }, support.times())
  end)

  it("S60 S69 counts what nobody was there for and is too late, and tells it", function()
    local s = support.create("hourly", { every = "1h", catch_up = { policy = "none" } })
    down_then(5.5 * 3600, function() s:update { every = "2h" } end)
    assert.same({ 0, 0, 5, 0 }, counts(s))
    assert.same({ { schedule = "hourly", count = 5, from = START + 3600.0, to = START + 5 * 3600.0 } }, missed)
    assert.equal(START + 6 * 3600, s:status().next_nominal_time)
    assert.equal(0, #support.runs)
  end)

  it("S60 S63 does so when it is declared again, all of them", function()
    local function declare(cron)
      schedules.declare("app", { a = { cron = cron, start = Noted("a") }, b = { cron = cron, start = Noted("b") } })
    end
    declare("0 9 * * *")
    down_then(2 * 3600, function() declare("0 10,11 * * *") end)
    assert.same({ 3600, 3600 }, support.times())
    for _, name in ipairs { "a", "b" } do
      assert.equal(START + 3 * 3600, schedules.get(name):status().next_nominal_time)
    end
    engine:advance(3600)
    assert.same({ 3600, 3600, 3 * 3600, 3 * 3600 }, support.times())
  end)

  it("S60 S38 fires at once what was late by its jitter only", function()
    local s, delay
    for i = 1, 50 do -- one whose first fire is late by some minutes
      s = support.create("spread" .. i, { every = "1h", jitter = "50m", start = Noted() })
      delay = s:next(1)[1].fire_time - START - 3600
      if delay > 300 then break end
      s:delete()
    end
    engine:advance(3600 + 60)
    assert.equal(0, #support.runs)
    s:update { jitter = 0 }
    engine:drain()
    assert.same({ 3600 }, support.times())
    assert.same({ 1, 0, 0, 0 }, counts(s))
    engine:advance(2 * 3600)
    assert.same({ 3600, 7200, 10800 }, support.times())
  end)

  it("S60 S58 S69 counts what lay in a pause before the change as such", function()
    local s = support.create("paused", { every = "1h" })
    engine:advance(3600)
    s:pause()
    engine:advance(3.5 * 3600)
    s:update { every = "30m" }
    assert.same({ 1, 0, 0, 3 }, counts(s))
    engine:advance(3600)
    s:resume()
    assert.same({ 1, 0, 0, 5 }, counts(s))
    engine:advance(1800)
    assert.same({ 3600, 6 * 3600 }, support.times())
  end)

  it("S60 S26 owes nothing for the time before it, also when the rules of the zone change afterwards", function()
    local s = support.create("zone", { cron = "0 12 * * *", time_zone = "Europe/Berlin" })
    engine:advance(86400)
    assert.same({ 3 * 3600 }, support.times())
    engine:advance(86400)
    assert.equal(2, #support.runs)
    engine:advance(1.5 * 3600)
    s:update { cron = "*/30 * * * *" }
    support.other_rules(engine, "zone", s:status().next_nominal_time)
    engine:advance(3600)
    assert.same({ 4, 0, 0, 0 }, counts(s))
    assert.same({ 2 * 86400 + 2 * 3600, 2 * 86400 + 2.5 * 3600 }, { table.unpack(support.times(), 3) })
    assert.equal(0, #missed)
  end)

  it("S57 S26 owes nothing for a pause either, when the rules of the zone change afterwards", function()
    local s = support.create("zone", { cron = "0 12 * * *", time_zone = "Europe/Berlin" })
    s:pause()
    engine:advance(2 * 3600)
    s:resume()
    s:update { catch_up = { policy = "all" } }
    support.other_rules(engine, "zone", START + 2.5 * 3600)
    engine:advance(3600)
    assert.same({ 3 * 3600 }, support.times())
    assert.same({ 1, 0, 0, 0 }, counts(s))
  end)
end)
