-- What must not be lost, doubled or counted wrongly when a schedule fires: failures of the store, other processes,
-- rules of the zone, jitter.

local core = require "pipeline.core"
local schedules = require "pipeline.schedules"
local helper = require "spec.support.helper"
local support = require "spec.schedules.support"

local START, Noted = support.START, support.Noted

describe("a schedule", function()
  local engine, missed
  before_each(function()
    missed = {}
    engine = support.open { on_missed = function(info) missed[#missed + 1] = info end }
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function be_down(seconds)
    engine._core:advance(seconds)
    engine:drain()
  end

  local function run_for(seconds)
    engine._core:run("all", seconds)
    engine:_end_run()
  end

  local with_store = support.with_store

  it("S31 S69 whose commit fails fires when the store can write again: its time is not given up", function()
    local s = support.create("full", { every = "1h" })
    local asked = with_store("schedule_fire", function() return nil, "EFULL", "disk full" end, function()
      engine._core:advance(3600)
      run_for(1)
    end)
    assert.equal(1, asked)
    assert.equal(0, s:status().missed)
    be_down(10)
    assert.same({ 3600 }, support.times())
    assert.same({ 1, 0 }, { s:status().fired, s:status().missed })
  end)

  it("S69 tells the hook of what was missed once, by the process that has stored it", function()
    support.create("missed", { every = "1h" })
    with_store("schedule_fire", function(store, op)
      local states = store:schedule_fire(op)
      assert(states)
      return nil, "ESTALE", "another was first"
    end, function() be_down(10 * 3600) end)
    assert.equal(0, #missed)
    be_down(10 * 3600)
    assert.equal(1, #missed)
  end)

  it("S31 S69 is fired while the hook of what was missed waits for something, and nothing waits for that", function()
    local told, problem = 0, false
    helper.finish()
    engine = support.open { on_missed = function()
      engine:sleep(5 * 3600)
      told = told + 1
      if problem then error("it does not work", 0) end
    end }
    for i = 1, 3 do
      support.create("missed" .. i, { every = "1h", catch_up = { policy = "none" }, start = Noted(i) })
    end
    be_down(3 * 3600 + 100)
    assert.same({ 0, 0 }, { told, #support.runs })
    engine:advance(3600)
    assert.same({ 0, 3 }, { told, #support.runs })
    engine:advance(6 * 3600)
    engine:drain()
    assert.equal(3, told)
    problem = true
    be_down(3600 * 3 + 100)
    engine:advance(6 * 3600)
    engine:drain()
    assert.equal(6, told)
    assert.truthy(table.concat(helper.log(40), "\n"):find("on_missed: it does not work", 1, true))
  end)

  it("S26 S64 that is declared again after the rules of its zone have changed still has its next time worked out anew",
    function()
      local specs = { zone = { cron = "0 12 * * *", time_zone = "Europe/Berlin", start = Noted() } }
      schedules.declare("here", specs)
      local row = engine._core:schedule_get { name = "zone" }[1]
      local fields = core.decode(row.times)
      fields.digest = fields.digest + 1
      row.times, row.next_nominal, row.next_at = core.encode_value(fields), START + 7200, START + 7200
      assert.is_true(engine._core:schedule_set { row })
      local revision = engine._core:schedule_get { name = "zone" }[1].revision
      schedules.declare("here", specs)
      assert.equal(revision, engine._core:schedule_get { name = "zone" }[1].revision)
      engine:advance(7200)
      assert.equal(0, #support.runs)
      assert.equal(START + 3 * 3600, schedules.get("zone"):status().next_nominal_time)
    end)

  it("S38 S48 has not missed a time whose fire has not come yet, for its jitter", function()
    local found
    for i = 1, 50 do -- one whose fourth fire is late by some minutes
      local name = "jitter" .. i
      local s = support.create(name, {
        every = "1h", jitter = "30m", catch_up = { policy = "none" }, start = Noted(name),
      })
      local fourth = s:next(4)[4]
      if fourth.fire_time - fourth.nominal_time > 300 and not found then found = { s, fourth, name } else s:delete() end
    end
    local s, fourth = found[1], found[2]
    be_down(fourth.nominal_time + 60 - START)
    assert.equal(3, s:status().missed)
    assert.same({ fourth.nominal_time, fourth.fire_time },
      { s:status().next_nominal_time, s:status().next_fire_time })
    engine:advance(3600)
    assert.same({ 4 * 3600, "schedule" }, { support.times()[1], support.runs[1].told.reason })
  end)

  it("S69 shows in the status of the engine how many are overdue, and when it last looked", function()
    assert.same({ 0 }, { engine:status().overdue, engine:status().last_tick })
    support.create("due", { every = "1h" })
    engine._core:advance(3700)
    assert.equal(1, engine:status().overdue)
    engine:drain()
    assert.same({ 0, START + 3700 }, { engine:status().overdue, engine:status().last_tick })
  end)
end)
