-- Times at which nobody was there, backfill, and control by hand.

local core = require "pipeline.core"
local deferred = require "pipeline.deferred"
local schedules = require "pipeline.schedules"
local helper = require "spec.support.helper"
local pace = require "spec.support.pace"
local support = require "spec.schedules.support"

local START, Noted = support.START, support.Noted

-- Looking through ten years is arithmetic and nothing else, which an instrumented build slows down more than the rest.
local TEN_YEARS <const> = 0.2 * pace * (pace > 10 and 12 or pace > 4 and 5 or 1)

describe("a schedule", function()
  local engine, missed
  local function open(options)
    missed = {}
    options = options or {}
    options.on_missed = function(info) missed[#missed + 1] = info end
    engine = support.open(options)
  end
  before_each(function() open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  -- Nobody is there for so long.
  local function be_down(seconds)
    engine._core:advance(seconds)
    engine:drain()
  end

  it("S48 that was down for two weeks fires once, for the latest time, and counts the others", function()
    local s = support.create("often", { every = 5 })
    be_down(14 * 86400 + 3)
    assert.same({ 14 * 86400 }, support.times())
    assert.equal("catch_up", support.runs[1].told.reason)
    local status = s:status()
    assert.same({ 0, 1, 14 * 86400 // 5 - 1 }, { status.fired, status.caught_up, status.missed })
    assert.same({ { schedule = "often", count = 14 * 86400 // 5 - 1, from = START + 5.0, to = START + 14 * 86400.0 } },
      missed)
    engine:advance(2)
    assert.equal(2, #support.runs)
  end)

  it("S48 fires no time older than its window, and with \"none\" the next regular one only", function()
    local s = support.create("daily", { cron = "0 9 * * *", catch_up = { window = 3600 } })
    local n = support.create("never", { cron = "0 9 * * *", catch_up = { policy = "none" }, start = Noted("n") })
    be_down(3 * 86400)
    assert.equal(0, #support.runs)
    assert.same({ 3, 3 }, { s:status().missed, n:status().missed })
    engine:advance(3600)
    assert.equal(2, #support.runs)
  end)

  it("S49 fires each missed time within window and limit, oldest first, as its overlap rule says", function()
    local s = support.create("all", { every = "1h", overlap = "buffer_all",
      catch_up = { policy = "all", window = "6h", limit = 4 } })
    be_down(10 * 3600 + 5)
    assert.same({ 7 * 3600, 8 * 3600, 9 * 3600, 10 * 3600 }, support.times())
    assert.same({ 4, 6 }, { s:status().caught_up, s:status().missed })
    assert.equal("catch_up", support.runs[4].told.reason)
  end)

  it("S49 S51 makes up for a thousand of ten years of missed minutes in portions, for ten of them at once", function()
    local s = support.create("thousand", { every = "1m", overlap = "allow_all", start = Noted(),
      catch_up = { policy = "all", window = "3650d" } })
    local most, sum, turns, busy = 0, 0, 0, true
    engine._core:advance(3650 * 86400)
    engine._core:spawn(function()
      while busy do
        engine._core:counts_get()
        turns = turns + 1
      end
    end)
    local asked = support.with_store("schedule_fire", function(store, op)
      most, sum = math.max(most, #op.fires), sum + #op.fires
      busy = sum < 1000
      return store:schedule_fire(op)
    end, function() engine:drain() end)
    assert.is_true(most <= 100 and asked >= 10 and turns >= 10, ("%d fires, %d times, %d"):format(most, asked, turns))
    assert.same({ 1000, 3650 * 1440 - 1000, 1000 }, { s:status().caught_up, s:status().missed, #support.runs })
    local from = 3650 * 86400 - 1000 * 60
    local times = support.times()
    table.sort(times)
    for i, time in ipairs(times) do
      assert.equal(from + i * 60, time)
      assert.equal("catch_up", support.runs[i].told.reason)
    end
    assert.equal(1, #missed)
    s:delete()
    local ten = support.create("ten", { cron = "* * * * *", time_zone = "America/New_York", overlap = "allow_all",
      catch_up = { policy = "all", window = "3650d", limit = 10 } })
    local before = os.clock()
    be_down(3650 * 86400)
    local took = os.clock() - before
    assert(took < TEN_YEARS, ("took %.2f s of the processor"):format(took))
    assert.same({ 10, 3650 * 1440 - 10 }, { ten:status().caught_up, ten:status().missed })
  end)

  it("S49 stops making up for missed times when it is paused meanwhile, and loses none", function()
    local s = support.create("paused", { every = "1m", overlap = "allow_all", catch_up = { policy = "all" } })
    local sum = 0
    engine._core:advance(600 * 60)
    support.with_store("schedule_fire", function(store, op)
      local states, code, message = store:schedule_fire(op)
      sum = sum + #op.fires
      if sum == #op.fires then s:pause() end
      return states, code, message
    end, function() engine:drain() end)
    assert.equal("paused", s:status().state)
    assert.is_true(s:status().caught_up < 200)
    s:resume { catch_up = true }
    engine:drain()
    assert.same({ 600, 0 }, { s:status().caught_up, s:status().missed })
  end)

  it("S50 S51 goes on after ten years of missed minutes, which cost under 50 ms and no row each", function()
    local s = support.create("minutes", { cron = "* * * * *", time_zone = "America/New_York" })
    local before = os.clock()
    be_down(3650 * 86400)
    local took = os.clock() - before
    assert(took < TEN_YEARS, ("took %.2f s of the processor"):format(took))
    assert.equal(1, #support.runs)
    assert.equal(3650 * 1440 - 1, s:status().missed)
    assert.equal(1, #s:fires())
    engine:advance(60)
    assert.equal(2, #support.runs)
  end)

  it("S52 with several expressions fires once, for the latest of all, and once where two of them meet", function()
    support.create("several", { cron = { "0 * * * *", "*/20 * * * *" }, start = Noted("several") })
    be_down(2 * 3600 + 30 * 60)
    assert.same({ 2 * 3600 + 20 * 60 }, support.times())
    engine:advance(40 * 60)
    assert.same({ 2 * 3600 + 20 * 60, 2 * 3600 + 40 * 60, 3 * 3600 }, support.times())
  end)

  it("S53 owes nothing for the time before it was made", function()
    support.create("new", { every = "1h", anchor = START - 86400 * 30 })
    engine:drain()
    assert.equal(0, #support.runs)
  end)

  it("S54 S55 is filled in for times of the past, in order, but for those that have fired", function()
    local s = support.create("days", { cron = "0 12 * * *", max_fires = 5 })
    engine:advance(2 * 86400)
    local next_time = s:status().next_nominal_time
    local made = s:backfill { from = START - 2 * 86400, to = engine:now() }
    engine:drain()
    assert.same({ 1, 1, 2 }, { made.started, made.buffered, made.already_fired })
    assert.same({ 4 * 3600 - 2 * 86400, 4 * 3600 - 86400 },
      { table.unpack(support.times(), 3, 4) })
    assert.equal("backfill", support.runs[3].told.reason)
    local status = s:status()
    assert.same({ 2, 2, 0, next_time }, { status.fired, status.backfilled, status.missed, status.next_nominal_time })
    made = s:backfill { from = START - 2 * 86400, to = engine:now(), again = true }
    engine:drain()
    assert.same({ 0, 8 }, { made.already_fired, #support.runs })
    local problem = helper.raises(schedules.ScheduleError, s.backfill, s, { from = START - 40 * 86400, max = 10 })
    assert.truthy(problem.message:find("42 times, more than max = 10", 1, true), problem.message)
    helper.raises(schedules.ScheduleError, s.backfill, s, { from = START, to = engine:now() + 60 })
    assert.equal(8, #support.runs)
  end)

  -- Calls fn twice at once, and works off what comes of that.
  local function twice_at_once(fn)
    local results = {}
    for i = 1, 2 do assert(engine._core:spawn(function() results[i] = fn() end)) end
    engine:drain()
    return results
  end

  it("S54 fires each time once, also calls and tasks, when it is filled in twice at once", function()
    local calls = {}
    deferred.register("schedules.spec.filled", function()
      local told = deferred.schedule()
      calls[told.nominal_time] = (calls[told.nominal_time] or 0) + 1
    end)
    local s = support.create("filled", { every = "1h", anchor = START, call = { "schedules.spec.filled" } })
    local made = twice_at_once(function()
      return s:backfill { from = START - 300 * 3600, to = START, overlap = "allow_all" }
    end)
    assert.equal(600, made[1].started + made[2].started + made[1].already_fired + made[2].already_fired)
    local n = 0
    for _, times in pairs(calls) do
      assert.equal(1, times)
      n = n + 1
    end
    assert.same({ 300, 300 }, { n, s:status().backfilled })
    made = s:backfill { from = START - 300 * 3600, to = START }
    assert.same({ 0, 300 }, { made.started + made.buffered, made.already_fired })
    engine:advance(2 * 86400)
    for _ = 1, 150 do s:trigger() end
    engine:drain()
    assert.is_true(#s:fires { count = 1000 } < 120) -- those of a backfill are not kept for ever
  end)

  it("S54 S29 does not fire a time by the clock that has been filled in", function()
    local calls = 0
    deferred.register("schedules.spec.both", function() calls = calls + 1 end)
    local s = support.create("both", { every = "1h", call = { "schedules.spec.both" }, catch_up = { policy = "all" },
      overlap = "allow_all" })
    s:pause()
    engine:advance(3 * 3600)
    assert.equal(2, s:backfill { from = START + 1, overlap = "allow_all" }.started)
    engine:drain()
    s:resume { catch_up = true }
    engine:drain()
    assert.equal(3, calls)
    assert.same({ 1, 2, 2 }, { s:status().caught_up, s:status().backfilled, s:status().skipped })
  end)

  it("S56 S57 S58 is paused, and makes nothing up unless that is wanted; what runs goes on", function()
    local s = support.create("paused", { every = "1h", overlap = "buffer_one", start = Noted(5400) })
    local c = support.create("caught", { every = "1h", overlap = "buffer_all", start = Noted("c"),
      catch_up = { policy = "all" } })
    engine:advance(2 * 3600)
    s:pause("holidays")
    c:pause()
    assert.same({ "paused", "holidays", 1 }, { s:status().state, s:status().note, s:status().buffered })
    engine:advance(3 * 3600)
    engine:drain { delayed = true }
    local done = #support.runs
    assert.equal(1, s:status().buffered)
    s:resume()
    c:resume { catch_up = true }
    engine:drain()
    assert.equal(3, s:status().skipped_paused)
    assert.equal(0, s:status().missed)
    assert.equal(done + 1 + 3, #support.runs)
    assert.equal(3, c:status().caught_up)
    assert.equal(START + 6 * 3600, s:status().next_nominal_time)
  end)

  it("S59 fires when it is told to, also paused or finished, and keeps its next time", function()
    local s = support.create("asked", { every = "1h", start = Noted("a") })
    s:pause()
    local state, id = s:trigger { args = { "b" } }
    engine:drain()
    assert.equal("started", state)
    assert.same({ "b", "trigger", id }, { support.runs[1].what, support.runs[1].told.reason, support.runs[1].id })
    assert.same({ 1, 0, START + 3600 }, { s:status().triggered, s:status().fired, s:status().next_nominal_time })
    local once = support.create("once", { at = START + 5 })
    engine:advance(10)
    assert.equal("finished", once:status().state)
    assert.equal("started", (once:trigger()))
  end)

  it("S60 S62 counts a changed time from now, and leaves counters, pause and arguments that are not named", function()
    local s = support.create("changed", { every = "1h", start = Noted("old") })
    engine:advance(5400)
    s:update { cron = "15 * * * *" }
    assert.equal(START + 2 * 3600 + 900, s:status().next_nominal_time)
    s:update { start = Noted("new") }
    assert.equal(START + 2 * 3600 + 900, s:status().next_nominal_time)
    s:pause()
    s:update { time_zone = "Asia/Kathmandu" }
    assert.same({ "paused", 1 }, { s:status().state, s:status().fired })
    s:resume()
    engine:advance(3600)
    assert.equal("new", support.runs[2].what)
  end)

  it("S63 S64 S65 S62 is declared by its source, by the highest version, all or nothing", function()
    local function declare(version, names)
      local specs = {}
      for _, name in ipairs(names) do specs[name] = { every = "1h", start = Noted(name) } end
      return schedules.declare("app", specs, { version = version })
    end
    support.create("other", { every = "1h" })
    assert.is_true(declare(2, { "a", "b" }))
    schedules.get("a"):pause("kept")
    assert.is_true(declare(3, { "a", "c" }))
    assert.is_nil(schedules.get("b"))
    assert.equal("kept", schedules.get("a"):status().note)
    assert.is_false(declare(2, { "b" }))
    assert.is_nil(schedules.get("b"))
    local commits = engine._core:facts().commits
    assert.is_true(declare(3, { "a", "c" }))
    assert.equal(commits, engine._core:facts().commits)
    local problem = helper.raises(schedules.ScheduleError, schedules.declare, "mine",
      { c = { every = 60, start = Noted() }, z = { every = 60, start = Noted() } })
    assert.truthy(problem.message:find("declared by 'app'", 1, true))
    helper.raises(schedules.ScheduleError, schedules.declare, "mine", { other = { every = 60, start = Noted() } })
    assert.is_nil(schedules.get("z"))
    problem = helper.raises(schedules.ScheduleError, schedules.declare, "app", { d = { every = 60, start = Noted() },
      e = { cron = "61 * * * *", start = Noted() } })
    assert.truthy(problem.message:find("'e'", 1, true) and problem.message:find("minute", 1, true), problem.message)
    assert.is_nil(schedules.get("d"))
    helper.raises(schedules.ScheduleError, schedules.get("a").update, schedules.get("a"), { every = 5 })
    assert.is_true(schedules.declare("app", {}))
    local names = {}
    for i, s in ipairs(schedules.list()) do names[i] = s.name end
    assert.same({ "other" }, names)
    assert.is_false(declare(2, { "a" }))
  end)

  it("S66 that is deleted and made again owes nothing for the time between", function()
    support.create("again", { every = "1h" }):delete()
    engine:advance(5 * 3600)
    support.create("again", { every = "1h", anchor = START })
    engine:drain()
    assert.equal(0, #support.runs)
    engine:advance(3600)
    assert.equal(1, #support.runs)
  end)

  it("that exists is refused, kept or updated, as is said", function()
    support.create("s", { every = "1h" })
    helper.raises(schedules.ScheduleExistsError, support.create, "s", { every = "1h" })
    schedules.create("s", { every = "2h", start = Noted() }, { if_exists = "keep" })
    assert.equal(START + 3600, schedules.get("s"):status().next_nominal_time)
    schedules.create("s", { every = "2h", start = Noted() }, { if_exists = "update" })
    assert.equal(START + 7200, schedules.get("s"):status().next_nominal_time)
    helper.raises(schedules.UnknownScheduleError, schedules.get("s").pause, setmetatable({ name = "none" },
      { __index = schedules.get("s") }))
  end)

  it("S69 has each of its times in exactly one count", function()
    local s = support.create("counted", { cron = "30 2 * * *", time_zone = "Europe/Berlin", dst = { gap = "skip" } })
    local days = (1806192000 - START) // 86400 + 10
    engine:advance(3 * 86400)
    s:pause()
    engine:advance(2 * 86400)
    s:resume()
    be_down(5 * 86400)
    engine:advance((days - 10) * 86400)
    local status = s:status()
    local total = 0
    for _, name in ipairs { "fired", "caught_up", "skipped", "skipped_paused", "skipped_gap", "missed" } do
      total = total + status[name]
    end
    assert.equal(days, total)
    assert.same({ 1, 2, 1, 4 }, { status.skipped_gap, status.skipped_paused, status.caught_up, status.missed })
  end)

  it("S26 works its next time out anew when the zone has other rules by then", function()
    local s = support.create("zone", { cron = "0 12 * * *", time_zone = "Europe/Berlin" })
    local row = engine._core:schedule_get { name = "zone" }[1]
    local fields = core.decode(row.times)
    fields.digest = fields.digest + 1 -- as it was worked out by other rules, an hour early
    row.times, row.next_nominal, row.next_at = core.encode_value(fields), START + 7200, START + 7200
    assert.is_true(engine._core:schedule_set { row })
    engine:advance(7200)
    assert.equal(0, #support.runs)
    assert.equal(START + 3 * 3600, s:status().next_nominal_time)
    engine:advance(3600)
    assert.equal(1, #support.runs)
  end)
end)
