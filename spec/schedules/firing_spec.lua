-- Schedules fire: what is told, what is stored, and how times and jitter go.

local deferred = require "pipeline.deferred"
local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"
local support = require "spec.schedules.support"

local START, Noted = support.START, support.Noted

describe("a schedule", function()
  local engine
  before_each(function() engine = support.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("S37 starts a pipeline that is told the nominal time, the actual one, the one before, and why", function()
    local s = support.create("report", { cron = "30 9 * * *", time_zone = "Europe/Berlin", start = Noted("eu") })
    engine:advance(2 * 86400)
    assert.same({ 1800, 1800 + 86400 }, support.times())
    local told = support.runs[2].told
    assert.same({
      name = "report", nominal_time = START + 88200.0, fire_time = START + 88200.0,
      previous_nominal_time = START + 1800.0, reason = "schedule", local_time = "2027-01-16T09:30:00+01:00",
    }, told)
    assert.equal("eu", support.runs[1].what)
    assert.equal(support.runs[1].id, pipeline.from_id("schedule/report/1800001800").id)
    local status = s:status()
    assert.same({ 2, START + 1800 + 2 * 86400.0, "done", "active" },
      { status.fired, status.next_nominal_time, status.last_result, status.state })
  end)

  it("S37 tells a retry the same", function()
    local told = {}
    local Fails = helper.define { max_attempts = 2, backoff_seconds = 60, run = function(self)
      told[#told + 1] = self.schedule
      if #told == 1 then error("once", 0) end
    end }
    support.create("retried", { every = "1h", start = Fails() })
    engine:advance(3600)
    engine:drain { delayed = true }
    assert.equal(2, #told)
    assert.same(told[1], told[2])
    local by_hand
    helper.result(helper.define(function(self) by_hand = self.schedule == nil end)())
    assert.is_true(by_hand)
  end)

  it("S37 S67 tells it to a root for as long as that is there, whatever became of the fire and the schedule", function()
    local told = {}
    local Fails = helper.define { max_attempts = 2, backoff_seconds = 7200, run = function(self)
      told[#told + 1] = self.schedule
      if #told == 1 then error("once", 0) end
    end }
    local s = support.create("gone", { cron = "30 9 * * *", time_zone = "Europe/Berlin", start = Fails() })
    engine:advance(3600)
    local root = pipeline.from_id(s:fires()[1].id)
    s:delete()
    engine:drain { delayed = true }
    assert.equal(2, #told)
    assert.same(told[1], told[2])
    assert.same({ "gone", "2027-01-15T09:30:00+01:00" }, { told[2].name, told[2].local_time })
    assert.same(told[1], pipeline.from_id(root.id).schedule)
    root:cleanup()
    assert.same({}, engine._core:fires_get { target = root._id })
  end)

  it("S37 tells it to a root of a fire that is forgotten", function()
    local s = support.create("many", { every = "1h" })
    engine:advance(3600)
    local first = support.runs[1]
    engine:advance(130 * 3600)
    local rows = s:fires { count = 1000 }
    assert.is_true(rows[#rows].nominal_time > first.told.nominal_time)
    assert.same(first.told, pipeline.from_id(first.id).schedule)
  end)

  it("S37 S42 tells it to a root that was buffered as it was when it started", function()
    local s = support.create("kept", { every = "1h", overlap = "buffer_one", start = support.Open("x") })
    engine:advance(2.5 * 3600)
    pipeline.from_id(support.runs[1].id):complete(1)
    engine:drain()
    local told = support.runs[2].told
    assert.same({ START + 7200.0, START + 9000.0 }, { told.nominal_time, told.fire_time })
    s:delete()
    assert.same(told, pipeline.from_id(support.runs[2].id).schedule)
  end)

  it("calls a function, which is told, too; and one that comes later is not", function()
    local seen = {}
    deferred.register("schedules.spec.call", function(...) seen[#seen + 1] = { told = deferred.schedule(), ... } end)
    support.create("call", { every = "1h", call = { "schedules.spec.call", 1, nil, "x" } })
    engine:advance(3600)
    deferred.defer("schedules.spec.call", 7)
    engine:drain()
    assert.same({ 1, nil, "x" }, { seen[1][1], seen[1][2], seen[1][3] })
    assert.equal(START + 3600, seen[1].told.nominal_time)
    assert.is_nil(seen[2].told)
  end)

  it("pushes a task with the headers of the schedule, and fills a pull queue", function()
    local headers
    engine:route("POST", "/due", function(request) headers = request.headers end)
    taskqueue.configure { pulled = { mode = "pull" }, default = {} }
    support.create("push", { every = "1h", task = taskqueue.Task { url = "/due", params = { a = 1 } } })
    support.create("pull", { every = "1h", queue = "pulled", task = taskqueue.Task { method = "PULL", payload = "x" } })
    engine:advance(3601)
    assert.same({ "push", "1800003600" }, { headers["x-pipeline-schedule"], headers["x-pipeline-nominal-time"] })
    local leased = taskqueue.Queue("pulled"):lease_tasks(60, 10)
    assert.same({ 1, "x" }, { #leased, leased[1].payload })
    helper.raises(schedules.ScheduleError, schedules.create, "named", { every = "1h",
      task = taskqueue.Task { url = "/due", name = "once" } })
  end)

  it("S28 S47 has the same nominal times, to the second, however late it is woken", function()
    support.create("minutes", { cron = "* * * * *", overlap = "allow_all" })
    engine._core:advance(95.75)
    engine:drain()
    assert.same({ 60 }, support.times())
    engine._core:advance(84)
    engine:drain()
    assert.same({ 60, 120 }, support.times())
    assert.equal("schedule", support.runs[2].told.reason)
  end)

  it("S29 S30 never fires again for a time that is over, whatever becomes of the clock", function()
    local s = support.create("hourly", { cron = "0 * * * *" })
    engine:advance(3 * 3600)
    assert.same({ 3600, 7200, 10800 }, support.times())
    assert.equal(3, s:status().fired)
    local fires = s:fires()
    for i = 2, #fires do assert.is_true(fires[i].nominal_time < fires[i - 1].nominal_time) end
  end)

  it("S31 fires whatever became of the work before", function()
    local s = support.create("failing", { every = "10m", start = Noted("fail") })
    engine:advance(1800)
    assert.same({ 600, 1200, 1800 }, support.times())
    assert.same({ 3, 3, "failed" }, { s:status().fired, s:status().failures, s:status().last_result })
  end)

  it("S34 counts slots from a stored anchor, and keeps that when `every` is changed", function()
    local path = helper.path()
    engine:close()
    engine = support.open { path = path }
    support.create("weekly", { every = "7d" })
    for day = 1, 15 do
      engine:advance(86400)
      local now = engine:now()
      engine:close()
      local runs = support.runs
      engine = support.open { path = path, virtual_start = now }
      support.runs = runs
      engine:drain()
      assert.equal(day // 7, #support.runs)
    end
    local s = schedules.get("weekly")
    s:update { every = "1d" }
    assert.equal(START + 16 * 86400, s:status().next_nominal_time)
  end)

  it("S35 fires once for `at`, and is finished then; a time that is past is refused", function()
    local s = support.create("once", { at = "2027-01-15T12:00", time_zone = "Europe/Berlin" })
    engine:advance(86400)
    assert.same({ 3 * 3600 }, support.times())
    assert.equal("finished", s:status().state)
    assert.equal(1, #s:fires())
    helper.raises(schedules.ScheduleError, schedules.create, "past", { at = START - 86400 * 2, start = Noted() })
    support.create("late", { at = START + 86400 - 30 })
    engine:drain()
    assert.equal(2, #support.runs)
  end)

  it("S36 fires from start_time to end_time, both included, and no more often than max_fires; a trigger does not count",
    function()
      local s = support.create("bounded", { every = "1h", anchor = START, start_time = START + 7200,
        end_time = START + 4 * 3600 })
      local few = support.create("few", { every = "1h", anchor = START, max_fires = 2, start = Noted("few") })
      few:trigger()
      engine:advance(86400)
      local times = { bounded = {}, few = {} }
      for _, run in ipairs(support.runs) do
        if run.told.reason ~= "trigger" then
          table.insert(times[run.told.name], (run.told.nominal_time - START) // 3600)
        end
      end
      assert.same({ bounded = { 2.0, 3.0, 4.0 }, few = { 1.0, 2.0 } }, times)
      assert.same({ "finished", "finished" }, { s:status().state, few:status().state })
      few:update { max_fires = 3 }
      assert.equal("active", few:status().state)
    end)

  it("S36 S40 counts what has fired for max_fires, and not what was skipped", function()
    local s = support.create("some", { every = "1h", max_fires = 2, start = support.Open("x") })
    engine:advance(3 * 3600)
    assert.same({ "active", 1, 2 }, { s:status().state, s:status().fired, s:status().skipped })
    pipeline.from_id(support.runs[1].id):complete(1)
    engine:advance(3 * 3600)
    assert.same({ "finished", 2, 2 }, { s:status().state, s:status().fired, s:status().skipped })
  end)

  it("S38 S68 fires later by its jitter, the same in the preview and at the time, in the order of the nominal times",
    function()
      local s = support.create("spread", { every = "1m", jitter = 300 })
      local preview = s:next(5)
      engine:advance(6 * 60)
      local fires = s:fires()
      for i = 1, 5 do
        local fire = fires[#fires + 1 - i]
        assert.same({ preview[i].nominal_time, preview[i].local_time }, { fire.nominal_time, fire.local_time })
        assert.is_true(math.abs(preview[i].fire_time - fire.fire_time) < 1e-5)
        assert.is_true(fire.fire_time >= fire.nominal_time and fire.fire_time < fire.nominal_time + 60)
      end
    end)

  it("S39 starts its work by the rules of its queue", function()
    taskqueue.configure { default = {}, slow = { paused = true } }
    support.create("queued", { every = "1h", queue = "slow" })
    engine:advance(3600)
    assert.equal(0, #support.runs)
    taskqueue.Queue("slow"):resume()
    engine:drain()
    assert.equal(1, #support.runs)
  end)

  it("S32 says as its next fire the time that the loop waits for", function()
    local s = support.create("seen", { every = "1h" })
    engine:drain()
    assert.equal(s:status().next_fire_time, engine._core:next_fire())
    s:pause()
    engine:drain()
    assert.is_nil(engine._core:next_fire())
  end)

  it("S70 that is made in a transaction is there with its commit, or not at all", function()
    pcall(function()
      engine:transaction(function()
        support.create("lost", { every = "1h" })
        error("not this time", 0)
      end)
    end)
    engine:transaction(function() support.create("kept", { every = "1h" }) end)
    assert.is_nil(schedules.get("lost"))
    engine:advance(3600)
    assert.equal(1, #support.runs)
  end)

  it("whose class or function is gone says so, and goes on", function()
    local s = support.create("broken", { every = "1h" })
    local engine_core = engine._core
    local row = engine_core:schedule_get { name = "broken" }[1]
    row.work = "\x01"
    assert.is_true(engine_core:schedule_set { row })
    engine:advance(7200)
    assert.equal(2, s:status().missed)
    local told = 0
    for _, line in ipairs(helper.log(40)) do
      told = told + (line:find("schedule 'broken' cannot fire", 1, true) and 1 or 0)
    end
    assert.equal(2, told)
  end)

  it("refuses what it does not understand, with the field and why", function()
    for part, spec in pairs {
      ["of cron, every and at"] = {}, ["exclude each other"] = { every = 60, call = { print } },
      ["hour"] = { cron = "0 25 * * *" }, ["tzdata"] = { every = 60, time_zone = "Europe/Nowhere" },
      ["did you mean 'skip'"] = { every = 60, overlap = "skipp" }, ["a second or more"] = { every = 0.5 },
      ["such as \"15m\""] = { every = "soon" }, ["end_time is before"] = { every = 60, start_time = 10, end_time = 5 },
      ["did you mean 'policy'"] = { every = 60, catch_up = { polici = "all" } },
      ["is for `every`"] = { cron = "* * * * *", anchor = 5 },
    } do
      spec.start = Noted()
      local problem = helper.raises(schedules.ScheduleError, schedules.create, "bad", spec)
      assert.truthy(problem.message:find(part, 1, true), problem.message)
    end
    local problem = helper.raises(schedules.ScheduleError, schedules.create, "bad", { every = 60 })
    assert.truthy(problem.message:find("what is to be done", 1, true))
    assert.is_nil(schedules.get("bad"))
  end)

  it("lets virtual time stop at each of its times, and at delayed tasks between them, in their order", function()
    local order = {}
    deferred.register("schedules.spec.order", function(what) order[#order + 1] = { what, engine:now() - START } end)
    support.create("ticks", { every = 100, call = { "schedules.spec.order", "tick" } })
    deferred.with { countdown = 150 }("schedules.spec.order", "delayed")
    engine:advance(300)
    assert.same({ { "tick", 100.0 }, { "delayed", 150.0 }, { "tick", 200.0 }, { "tick", 300.0 } }, order)
    engine:advance("2027-01-15T10:00:00[Europe/Berlin]")
    assert.equal(START + 3600, engine:now())
    assert.equal(36, #order - 1)
  end)
end)
