-- What the store refuses for good is the matter of one schedule: the others that are due fire.

local core = require "pipeline.core"
local schedules = require "pipeline.schedules"
local helper = require "spec.support.helper"
local support = require "spec.schedules.support"

local START, Noted = support.START, support.Noted

describe("a schedule that the store refuses", function()
  local engine
  before_each(function() engine = support.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  -- Several that are due at once, before and behind the one called "bad".
  local function create_around(spec)
    for i = 1, 3 do support.create("a" .. i, { every = "1h", start = Noted("a" .. i) }) end
    local bad = support.create("bad", spec)
    for i = 1, 3 do support.create("z" .. i, { every = "1h", start = Noted("z" .. i) }) end
    return bad, bad._engine._core:schedule_get { name = "bad" }[1].id
  end

  local function run_for(seconds)
    engine._core:run("all", seconds)
    engine:_end_run()
  end

  -- An hour passes, in which the store refuses that op of the schedule with that id.
  local function pass_hour(op, is_it, code)
    support.with_store(op, function(store, given)
      if is_it(given) then return nil, code, "it says no" end
      return store[op](store, given)
    end, function()
      engine._core:advance(3600)
      run_for(1)
    end)
  end

  local function others()
    local fired = 0
    for i = 1, 3 do
      fired = fired + schedules.get("a" .. i):status().fired + schedules.get("z" .. i):status().fired
    end
    return fired
  end

  local function logged(part)
    local found = 0
    for _, line in ipairs(helper.log(40)) do found = found + (line:find(part, 1, true) and 1 or 0) end
    return found
  end

  it("S31 S69 is moved on and says why; the others fire in the same pass", function()
    local bad, id = create_around { every = "1h" }
    pass_hour("schedule_fire", function(op) return op.id == id and #(op.fires or {}) > 0 end, "ENOQUEUE")
    assert.equal(6, others())
    local status = bad:status()
    assert.same({ 0, 1, "active", START + 7200 },
      { status.fired, status.missed, status.state, status.next_nominal_time })
    assert.equal("its latest time did not fire: it says no", status.note)
    assert.equal(1, logged("schedule 'bad' cannot fire: it says no"))
    engine:advance(3600)
    status = bad:status()
    assert.same({ 1, 1 }, { status.fired, status.missed })
    assert.is_nil(status.note)
  end)

  it("S31 is paused with the reason where it cannot even be moved on", function()
    local bad, id = create_around { every = "1h" }
    pass_hour("schedule_fire", function(op) return op.id == id and not op.pause_note end, "ECONSTRAINT")
    assert.equal(6, others())
    local status = bad:status()
    assert.same({ "paused", 0, 0, START + 3600 }, { status.state, status.fired, status.missed,
      status.next_nominal_time })
    assert.equal("paused: it cannot fire: it says no", status.note)
    assert.equal(1, logged("schedule 'bad' is paused: it cannot fire: it says no"))
    bad:resume { catch_up = true }
    engine:advance(5)
    assert.equal(1, bad:status().fired)
  end)

  it("S26 S31 is paused where its next time, worked out anew by other rules of its zone, is refused", function()
    local bad = create_around { cron = "0 12 * * *", time_zone = "Europe/Berlin" }
    support.other_rules(engine, "bad", START + 3600)
    pass_hour("schedule_set", function(list) return list[1].name == "bad" end, "ECONSTRAINT")
    assert.equal(6, others())
    assert.same({ "paused", "paused: it cannot fire: it says no" }, { bad:status().state, bad:status().note })
  end)

  it("S69 counts all of its times that have come as missed, and goes on with the next", function()
    local bad, id = create_around { every = "1h" }
    support.with_store("schedule_fire", function(store, op)
      if op.id == id and #(op.fires or {}) > 0 then return nil, "ELIMIT", "too large" end
      return store:schedule_fire(op)
    end, function()
      engine._core:advance(5.5 * 3600)
      run_for(1)
    end)
    assert.same({ 0, 0, 5, START + 6 * 3600 }, { bad:status().fired, bad:status().caught_up, bad:status().missed,
      bad:status().next_nominal_time })
  end)

  it("S9 whose times cannot be read is paused and keeps its next time; with other times it goes on", function()
    local bad = create_around { every = "1h" }
    local row = engine._core:schedule_get { name = "bad" }[1]
    local fields = core.decode(row.times)
    fields.time_zone = "Europe/Gone"
    row.times = core.encode_value(fields)
    assert.is_true(engine._core:schedule_set { row })
    engine:advance(3600)
    assert.equal(6, others())
    row = engine._core:schedule_get { name = "bad" }[1]
    assert.same({ true, START + 3600, 0 }, { row.paused, row.next_nominal, row.missed })
    assert.truthy(row.note:find("its times cannot be read: .*Europe/Gone"), row.note)
    bad:update { time_zone = "UTC" }
    bad:resume()
    engine:advance(3600)
    assert.equal(1, bad:status().fired)
  end)

  it("S31 S69 of which the store cannot say what is wrong is tried again, after the others have fired", function()
    local bad, id = create_around { every = "1h" }
    pass_hour("schedule_fire", function(op) return op.id == id end, "EOTHER")
    assert.equal(6, others())
    assert.same({ "active", 0, 0 }, { bad:status().state, bad:status().fired, bad:status().missed })
    engine:advance(10)
    engine:drain()
    assert.same({ 1, 0 }, { bad:status().fired, bad:status().missed })
  end)

  it("S31 S69 loses no time for want of memory", function()
    local s = support.create("big", { every = "1h" })
    support.with_store("schedule_fire", function() error("not enough memory", 0) end, function()
      engine._core:advance(3600)
      run_for(1)
    end)
    assert.same({ "active", 0, 0 }, { s:status().state, s:status().fired, s:status().missed })
    engine:advance(10)
    engine:drain()
    assert.equal(1, s:status().fired)
  end)
end)
