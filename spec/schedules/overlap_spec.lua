-- What becomes of a fire while the work of the one before is not final.

local deferred = require "pipeline.deferred"
local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"
local support = require "spec.schedules.support"

local START = support.START

describe("a schedule whose work is not over", function()
  local engine
  before_each(function() engine = support.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function create(overlap, more)
    local spec = { every = "1h", overlap = overlap, start = support.Open("x") }
    for key, value in pairs(more or {}) do spec[key] = value end
    return support.create("s", spec)
  end

  local function complete(i)
    pipeline.from_id(support.runs[i].id):complete(1)
    engine:drain()
  end

  local function states(s)
    local list = {}
    for i, fire in ipairs(s:fires()) do list[i] = fire.state end
    return table.concat(list, " ")
  end

  it("S40 skips, counts it, and does not remember it", function()
    local s = create(nil)
    engine:advance(3 * 3600)
    assert.same({ 3600 }, support.times())
    assert.same({ 1, 2, 0 }, { s:status().fired, s:status().skipped, s:status().buffered })
    assert.equal("skipped skipped started", states(s))
    complete(1)
    assert.equal(1, #support.runs)
    engine:advance(3600)
    assert.same({ 3600, 14400 }, support.times())
  end)

  it("S41 waits for what waits to start, and for a root between two attempts", function()
    taskqueue.configure { default = {}, slow = { paused = true } }
    local s = support.create("queued", { every = "1h", queue = "slow" })
    engine:advance(3 * 3600)
    assert.same({ 1, 2 }, { s:status().fired, s:status().skipped })
    local Retries = helper.define { max_attempts = 2, backoff_seconds = 5400, run = function() error("no", 0) end }
    local r = support.create("retries", { every = "1h", start = Retries() })
    engine:advance(2 * 3600)
    assert.same({ 1, 1 }, { r:status().fired, r:status().skipped })
  end)

  it("S42 keeps one, which starts when the other is final, with its own nominal time", function()
    local s = create("buffer_one")
    engine:advance(3 * 3600)
    assert.same({ 1, 1, 1 }, { s:status().running, s:status().buffered, s:status().skipped })
    assert.equal("skipped buffered started", states(s))
    complete(1)
    assert.same({ 3600, 7200 }, support.times())
    assert.equal("skipped started done", states(s))
    assert.equal(2, s:status().fired)
  end)

  it("S43 keeps all, which start one after the other; of too many the oldest are dropped", function()
    local s = create("buffer_all", { catch_up = { limit = 2 } })
    engine:advance(5 * 3600)
    assert.same({ 1, 2, 2 }, { s:status().running, s:status().buffered, s:status().dropped })
    complete(1)
    complete(2)
    complete(3)
    assert.same({ 3600, 4 * 3600, 5 * 3600 }, support.times())
    assert.equal("done done cancelled cancelled done", states(s))
  end)

  it("S44 aborts the other, and starts when that is final", function()
    local s = create("cancel_other")
    engine:advance(2 * 3600)
    engine:drain()
    assert.same({ 3600, 7200 }, support.times())
    assert.equal("started cancelled", states(s))
    assert.equal("aborted", engine._core:stage_get(support.runs[1].id).state)
    assert.equal(0, s:status().failures)
  end)

  it("S44 waits while what is aborted is still finalizing, and keeps the newest", function()
    local ended = 0
    local Slow = helper.define {
      run = function() table.insert(support.runs, {}) engine:sleep(3 * 3600) end,
      finalized = function() ended = ended + 1 end,
    }
    local s = support.create("slow", { every = "1h", overlap = "cancel_other", start = Slow() })
    engine:advance(4 * 3600)
    assert.equal(4, #support.runs)
    assert.equal(3, ended)
    assert.same({ 4, 1, 0 }, { s:status().fired, s:status().running, s:status().dropped })
    engine:drain()
  end)

  it("S45 makes the other final at once, whatever it says, and starts in the same commit", function()
    local Refuses = pipeline.define("schedules.Refuses", {
      async = true, try_cancel = function() return false end,
      run = function(self) table.insert(support.runs, { told = self.schedule, id = self.id }) end,
    })
    local s = support.create("stubborn", { every = "1h", overlap = "terminate_other", start = Refuses() })
    engine:advance(2 * 3600)
    assert.same({ 3600, 7200 }, support.times())
    assert.equal("started cancelled", states(s))
    local first = pipeline.from_id(support.runs[1].id)
    assert.is_true(first.was_aborted)
    assert.is_false((pcall(first.complete, first, 1)))
  end)

  it("S45 starts all of them, where that is wanted", function()
    local s = create("allow_all")
    engine:advance(3 * 3600)
    assert.equal(3, #support.runs)
    assert.equal(3, s:status().running)
  end)

  -- What the counts say became of its times.
  local function counted(s)
    local status = s:status()
    return { status.fired, status.dropped, status.skipped, status.backfilled, status.triggered }
  end

  it("S43 S69 counts a time that was buffered and given up as dropped, and as nothing else", function()
    local s = create("buffer_all", { catch_up = { limit = 2 } })
    engine:advance(5 * 3600)
    assert.same({ 3, 2, 0, 0, 0 }, counted(s))
    s:trigger()
    assert.same({ 2, 3, 0, 0, 1 }, counted(s))
    s:trigger()
    s:trigger()
    assert.same({ 1, 5, 0, 0, 2 }, counted(s))
  end)

  it("S44 S69 counts what is buffered and replaced by a newer one as dropped", function()
    local runs = 0
    local Slow = helper.define {
      run = function() runs = runs + 1 engine:sleep(10 * 3600) end,
      finalized = function(self) if self.was_aborted then engine:sleep(5 * 3600) end end,
    }
    local s = support.create("slow", { every = "1h", overlap = "cancel_other", start = Slow(), max_fires = 9 })
    engine:advance(4 * 3600)
    assert.same({ 2, 2, 0, 0, 0 }, counted(s))
    s:delete()
    engine:drain { delayed = true }
    assert.equal(1, runs)
  end)

  it("S45 S69 counts what is buffered when the other is made final at once as dropped", function()
    local s = create("buffer_all")
    engine:advance(3 * 3600)
    assert.same({ 3, 0, 0, 0, 0 }, counted(s))
    s:trigger { overlap = "terminate_other" }
    assert.same({ 1, 2, 0, 0, 1 }, counted(s))
    assert.equal("started cancelled cancelled cancelled", states(s))
  end)

  it("S69 counts what is buffered and aborted by hand as dropped", function()
    local s = create("buffer_all")
    engine:advance(2 * 3600)
    pipeline.from_id(s:fires()[1].id):abort()
    engine:drain()
    assert.same({ 1, 1, 0, 0, 0 }, counted(s))
    complete(1)
    assert.equal(1, #support.runs)
  end)

  it("S36 S69 counts for max_fires what has fired, not what was dropped", function()
    local s = create("buffer_all", { catch_up = { limit = 1 }, max_fires = 3 })
    engine:advance(3 * 3600)
    assert.same({ 2, 1, 0, 0, 0 }, counted(s))
    assert.equal("active", s:status().state)
    complete(1)
    engine:advance(3600)
    assert.same({ 3, 1, 0, 0, 0 }, counted(s))
    assert.equal("finished", s:status().state)
  end)

  it("S46 is paused when so many in a row have failed; a success sets that to zero", function()
    local s = support.create("fragile", { every = "1h", pause_on_failure = 3, start = support.Noted("fail") })
    engine:advance(2 * 3600)
    s:trigger { args = { "well" } }
    engine:drain()
    assert.equal(0, s:status().failures)
    engine:advance(10 * 3600)
    local status = s:status()
    assert.same({ "paused", 3, 5 }, { status.state, status.failures, status.fired })
    assert.equal("paused after 3 failed fires in a row", status.note)
    s:resume()
    assert.same({ "active", 0 }, { s:status().state, s:status().failures })
  end)

  it("S46 S58 fires nothing after the failure that pauses it, also of times that come at one moment", function()
    taskqueue.configure { default = {}, gone = {} }
    deferred.register("schedules.spec.pausing", function() end)
    local s = support.create("late", { every = "1h", overlap = "allow_all", queue = "gone", pause_on_failure = 2,
      call = { "schedules.spec.pausing" }, catch_up = { policy = "all" } })
    taskqueue.configure { default = {}, gone = false }
    engine._core:advance(5.5 * 3600)
    engine:drain()
    local status = s:status()
    assert.same({ "paused", 2, 2, 3, 0 }, { status.state, status.failures, status.caught_up, status.skipped_paused,
      status.missed })
    assert.equal("failed failed", states(s))
    assert.equal("failed", (s:trigger()))
    assert.same({ failed = 4, started = 0, buffered = 0, skipped = 0, already_fired = 2 },
      s:backfill { from = START, to = engine:now(), overlap = "allow_all" })
  end)

  it("knows the end of deferred calls and tasks, however they end", function()
    local calls = 0
    deferred.register("schedules.spec.overlap", function() calls = calls + 1 end)
    taskqueue.configure { default = {}, slow = { paused = true } }
    local queue = taskqueue.Queue("slow")
    local s = support.create("call", { every = "1h", overlap = "buffer_all", queue = "slow",
      call = { "schedules.spec.overlap" } })
    engine:advance(3 * 3600)
    assert.same({ 1, 2 }, { s:status().running, s:status().buffered })
    queue:resume()
    engine:drain()
    assert.equal(3, calls)
    assert.same({ 0, 0, "done" }, { s:status().running, s:status().buffered, s:status().last_result })
    queue:pause()
    engine:advance(3600)
    queue:purge()
    engine:advance(3600)
    assert.equal("started cancelled done done done", states(s))
    assert.equal(0, s:status().skipped)
  end)

  it("counts a call that has no retries left as failed", function()
    deferred.register("schedules.spec.dies", function() error(deferred.PermanentTaskFailure("no")) end)
    deferred.register("schedules.spec.fails", function() error("no", 0) end)
    taskqueue.configure { default = { retry_parameters = { task_retry_limit = 0 } } }
    local s = support.create("dies", { every = "1h", call = { "schedules.spec.fails" } })
    engine:advance(3600)
    assert.same({ "failed", 1 }, { s:status().last_result, s:status().failures })
  end)

  it("is deleted with what is buffered; what runs is left, or aborted (S67)", function()
    local s = create("buffer_all")
    engine:advance(3 * 3600)
    s:delete()
    assert.is_nil(schedules.get("s"))
    complete(1)
    assert.equal(1, #support.runs)
    local stages = engine:status().stages
    s = create("buffer_all")
    engine:advance(3 * 3600)
    s:delete { running = "abort" }
    engine:drain()
    assert.equal("aborted", engine._core:stage_get(support.runs[2].id).state)
    assert.equal(stages + 1, engine:status().stages)
  end)
end)
