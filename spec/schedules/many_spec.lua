-- Ten thousand schedules: at rest they cost nothing, and due at once they fire at once, while others go on.

local classes = require "spec.multi.classes"
local deferred = require "pipeline.deferred"
local pace = require "spec.support.pace"
local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local sql = require "spec.support.sql"
local support = require "spec.multi.support"
local taskqueue = require "pipeline.taskqueue"

local MANY = 10000

describe("ten thousand schedules", function()
  local scene
  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  local function declare(spec)
    local specs = {}
    for i = 1, MANY do specs["s" .. i] = spec end
    assert.is_true(schedules.declare("many", specs))
    assert.equal(MANY, sql.number(scene.engine, "SELECT count(*) FROM pl_schedule WHERE next_at IS NOT NULL"))
  end

  -- Seconds of the processor that a process has used.
  local function processor_time(pid)
    local file <close> = assert(io.open(("/proc/%d/stat"):format(pid)))
    local user, system = file:read("a"):match("%) %a" .. (" %-?%d+"):rep(10) .. " (%d+) (%d+)")
    return (tonumber(user) + tonumber(system)) / 100
  end

  local function fired() return sql.number(scene.engine, "SELECT count(*) FROM pl_fire") end

  it("S33 with none due, wake nobody: neither the loop nor the store", function()
    local seconds, tries = 2.5, 8 -- on a busy machine the upkeep after opening may take its time
    declare { every = "1d", call = { "spec.multi.nothing" } }
    local engine <close> = pipeline.open(scene.path, { durability = "normal" })
    local core, wakeups, ops = engine._core, nil, nil
    core:spawn(function()
      for _ = 1, tries do
        local before = core:facts()
        core:sleep(seconds)
        local after = core:facts()
        wakeups = after.loop_wakeups - before.loop_wakeups + after.store_wakeups - before.store_wakeups
        ops = after.ops - before.ops
        if wakeups <= 1 and ops == 0 then break end -- that of this coroutine
      end
      engine:stop()
    end)
    engine:run()
    assert.is_true(wakeups <= 1, ("%d wake-ups in %.1f s"):format(wakeups, seconds))
    assert.equal(0, ops)
    assert.equal(0, fired())
  end)

  it("S33 all due in one second, fire once each within seconds; other work is done meanwhile", function()
    taskqueue.configure { others = { mode = "pull" } }
    local queue = taskqueue.Queue("others")
    local due = math.ceil(scene.engine:now()) + 2
    declare { at = due, call = { "spec.multi.nothing" } }
    local pid = scene:spawn("work")
    local slowest, beside, before = 0, 0, 0
    assert(support.eventually(60, function()
      local begun = support.now()
      queue:add(taskqueue.Task { payload = "x", method = "PULL" })
      deferred.defer("spec.multi.nothing")
      slowest = math.max(slowest, support.now() - begun)
      local count = fired()
      if count > before and count < MANY then beside = beside + 1 end
      before = count
      return count == MANY
    end))
    local first, last = sql.number(scene.engine, "SELECT min(last_actual) FROM pl_schedule") / 1e6,
      sql.number(scene.engine, "SELECT max(last_actual) FROM pl_schedule") / 1e6
    local took = processor_time(pid) -- that of the clock, if nobody else is at work
    assert.is_true(took < 5 * pace, ("%.3f s"):format(took))
    assert.is_true(first >= due)
    assert.is_true(beside > 0, "it was over before anything could be done beside it")
    assert.is_true(slowest < math.max(pace, (last - first) / 2), ("what is done beside takes %.3f s"):format(slowest))
    assert.equal(MANY, sql.number(scene.engine, "SELECT count(DISTINCT schedule) FROM pl_fire"))
    assert(support.eventually(60, function()
      return sql.number(scene.engine, "SELECT count(*) FROM pl_fire WHERE state != 2") == 0
    end), "not all are done")
    assert.equal(MANY, sql.number(scene.engine, "SELECT sum(fired) FROM pl_schedule"))
    local stage = classes.Give(7)
    stage:start()
    assert.equal(7, scene.engine:wait(stage, { timeout = 20 }).default.value)
  end)
end)
