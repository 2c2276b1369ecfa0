--- Files of older versions open, and what was in them goes on.

local core = require "pipeline.core"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local deferred = require "pipeline.deferred"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local function sqlite(path, script)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(script)
  file:close()
  local ok = os.execute(("sqlite3 -batch -bail '%s' <'%s' >/dev/null"):format(path, name))
  os.remove(name)
  assert(ok, "sqlite3 failed")
end

-- A file as version `version` of the schema made it, with the rows of `script` in it.
local function older(version, script)
  local path = helper.path()
  local parts = {}
  for i = 1, version do
    local pipe = assert(io.popen(("cat csrc/store/sqlite/schema/%03d_*.sql"):format(i)))
    parts[i] = pipe:read("a")
    pipe:close()
  end
  parts[#parts + 1] = ("INSERT INTO pl_meta VALUES ('schema_version', %d);"):format(version)
  parts[#parts + 1] = script
  sqlite(path, ("PRAGMA journal_mode = WAL;\nBEGIN;\n%s\nCOMMIT;\n"):format(table.concat(parts, "\n")))
  return path
end

describe("a file of an older version", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("opens, and its tasks, retries and leases go on", function()
    local path = older(2, [[
      INSERT INTO pl_queue (id, name, mode) VALUES (2, 'pulled', 'pull');
      INSERT INTO pl_task (id, kind, state, queue, priority, eta, payload, request, tries, first_try)
        VALUES (11, 6, 1, 1, 0, 1700000005000000, NULL, NULL, 1, 1699999990000000);
      INSERT INTO pl_task (id, kind, state, queue, priority, eta, payload, tries, first_try)
        VALUES (12, 5, 3, 2, 0, 1700000060000000, 'leased', 1, 1699999990000000);
      INSERT INTO pl_task (id, kind, state, queue, priority, eta, payload)
        VALUES (13, 5, 3, 2, 0, 1699999990000000, 'free');]])
    local engine = helper.open { path = path }
    local store = engine._core
    local counts = store:counts_get()
    assert(counts[1].delayed == 1)
    local queue = taskqueue.Queue("pulled")
    local leased = queue:lease_tasks(30, 10)
    assert(#leased == 1 and leased[1].payload == "free")
    assert.are_equal(1700000070.0, store:lease_modify("pulled", 12, 1700000060.0, 70))
    engine:advance(71)
    assert(#queue:lease_tasks(30, 10) == 2)
  end)

  it("that knew of no losses opens, and its queues have the default", function()
    local path = older(3, [[
      INSERT INTO pl_queue (id, name, mode, max_doublings) VALUES (2, 'kept', 'push', 3);
      INSERT INTO pl_task (id, kind, state, queue, priority, eta, payload, is_retry, tries)
        VALUES (11, 6, 1, 2, 0, 1700000005000000, NULL, 1, 1);]])
    local engine = helper.open { path = path }
    assert.same({ max_doublings = 3 }, engine._core:queue_get("kept")[1].retry)
    assert.equal(1, engine._core:counts_get()[2].delayed)
  end)

  it("that counted the stages the engine makes itself opens, and counts the others", function()
    local path = older(4, [[
      INSERT INTO pl_stage (id, root, parent, state, flags, missing, open, attempt, queue, class_path, args, created,
          finalized) VALUES
        (11, 11, NULL, 4, 0, 0, 0, 0, 1, 'some.Class', x'00', 1700000000000000, 1700000000000000),
        (12, 11, 11, 4, 131072, 0, 0, 0, 1, 'pipeline.common.Return', x'00', 1700000000000000, 1700000000000000),
        (13, 11, 11, 4, 131072, 0, 0, 1, 1, 'pipeline.common.Return', x'00', 1700000000000000, 1700000000000000);]])
    assert.equal(2, helper.open { path = path }:status().stages)
  end)

  it("learns which fields its ids have, and is refused by a version whose ids have others", function()
    local path = older(4, "")
    helper.open({ path = path }):close()
    local function fields() return sql.run({ _path = path }, "SELECT value FROM pl_meta WHERE key = 'id_fields'") end
    assert.same({ "41 10 12" }, fields())
    sql.run({ _path = path }, "UPDATE pl_meta SET value = CAST('41 6 5 11' AS BLOB) WHERE key = 'id_fields'")
    local problem = helper.raises(pipeline.StoreError, pipeline.open, path)
    assert.equal("ENEWER", problem.code)
    assert.truthy(problem.message:find("its ids have other fields (41 6 5 11 bits", 1, true), problem.message)
    assert.same({ "41 6 5 11" }, fields())
  end)

  it("with claims that were numbered by counting opens; since when they are is not known, and they go on", function()
    local path = older(4, [[
      INSERT INTO pl_worker (id, number, host, pid, started, lease_until)
        VALUES (99, 99, 'elsewhere', 1, 1699999990000000, 1700000030000000);
      INSERT INTO pl_task (id, kind, state, queue, priority, eta, payload, claim, owner)
        VALUES (11, 6, 2, 1, 0, 1699999990000000, NULL, 3, 99);]])
    local engine = helper.open { path = path }
    local counts
    repeat counts = engine._core:counts_get()[1] until counts.claimed == 0 -- nobody holds the lock of that worker
    assert.equal(1, counts.ready)
  end)

  it("with stages that wait for each other opens, and they go on: by waits and values in rows of their own", function()
    local path = older(5, [[
      INSERT INTO pl_stage (id, root, parent, state, flags, missing, open, queue, class_path, args, created, started,
          finalized, inputs, outputs) VALUES
        (11, 11, NULL, 2, 0, 0, 3, 1, 'older.Root', x'80', 1700000000000000, 1700000000000000, NULL, NULL, NULL),
        (12, 11, 11, 4, 0, 0, 0, 1, 'older.Give', x'8101', 1700000000000000, 1700000000000000, 1700000000000000,
          NULL, NULL),
        (13, 11, 11, 1, 0, 0, 0, 1, 'older.Give', x'8102', 1700000000000000, 1700000000000000, NULL, NULL, NULL),
        (14, 11, 11, 0, 0, 1, 0, 1, 'older.Add', x'82da504f53540cda504f53540d', 1700000000000000, NULL, NULL,
          x'000000000000000c000000000000000d', NULL),
        (15, 11, 11, 0, 0, 2, 0, 1, 'older.Add', x'82da504f53540dda504f53540e', 1700000000000000, NULL, NULL,
          x'000000000000000d000000000000000e', x'000764656661756c74000000000000000b');
      INSERT INTO pl_slot VALUES (12, 12, 1700000000000000, x'01');
      INSERT INTO pl_wait VALUES (13, 14, 0), (13, 15, 0), (14, 15, 0);
      INSERT INTO pl_task (id, kind, state, queue, priority, eta) VALUES (13, 0, 0, 1, 0, 1700000000000000);]])
    pipeline.define("older.Give", { run = function(_, value) return value end })
    pipeline.define("older.Add", { run = function(_, a, b) return a + b end })
    local engine = helper.open { path = path }
    assert.same({}, engine:check())
    engine:drain()
    assert.same({}, engine:check())
    local root, slots = engine._core:stage_get(11, true)
    assert.equal("done", root.state)
    assert.equal("\5", slots[11].value)
  end)

  it("F120 that knew of no retention opens, and what ended long ago goes", function()
    local path = older(4, [[
      INSERT INTO pl_stage (id, root, state, flags, missing, open, queue, class_path, args, created, finalized)
        VALUES (11, 11, 4, 0, 0, 0, 1, 'old.Done', x'80', 1, 1699000000000000),
               (12, 12, 6, 0, 0, 0, 1, 'old.Aborted', x'80', 1, 1699000000000000),
               (13, 13, 2, 0, 0, 1, 1, 'old.Runs', x'80', 1, NULL);
      INSERT INTO pl_stage (id, root, parent, state, flags, missing, open, queue, class_path, args, created, finalized)
        VALUES (14, 11, 11, 4, 0, 0, 0, 1, 'old.Child', x'80', 1, 1699000000000000);
      INSERT INTO pl_slot (id, filler, time, value) VALUES (11, 11, 1, x'01'), (14, 14, 1, x'01');
      INSERT INTO pl_wait (slot, stage, kind) VALUES (13, 13, 1);
      INSERT INTO pl_task (id, kind, state, queue, priority, eta, executions) VALUES (15, 6, 4, 1, 0, 1, 1);
      INSERT INTO pl_dead (task, time) VALUES (15, 1699000000000000);]])
    local engine = helper.open { path = path, retention = { done = "20d", aborted = "100d", dead = "20d" } }
    local status = engine:status()
    assert.is_false(status.store.shrinks) -- its free pages are used again
    assert.same({ 0, 0, 0 }, { status.retention.due.done.count, status.retention.due.aborted.count,
      status.retention.due.dead.count })
    engine:advance(10 * 86400)
    assert.same({ "Aborted", "Runs" }, { engine._core:stage_get(12).class_path:match("%a+$"),
      engine._core:stage_get(13).class_path:match("%a+$") })
    assert.is_nil(engine._core:stage_get(11))
    assert.is_nil(engine._core:stage_get(14))
    assert.same({}, engine._core:dead_list())
    assert.same({}, engine:check())
  end)

  it("that knew no permits opens, and what its queues limit goes on", function()
    local path = older(5, [[
      INSERT INTO pl_queue (id, name, max_concurrent) VALUES (2, 'narrow', 2);
      INSERT INTO pl_task (id, kind, state, queue, priority, eta, payload, losses)
        VALUES (11, 6, 1, 2, 0, 1700000005000000, NULL, 1);]])
    local engine = helper.open { path = path }
    local running, most, done = 0, 0, 0
    deferred.register("spec.older", function()
      running = running + 1
      most = math.max(most, running)
      engine:sleep(1)
      running, done = running - 1, done + 1
    end)
    for _ = 1, 6 do deferred.with { queue = "narrow" } ("spec.older") end
    local stats = taskqueue.Queue("narrow"):fetch_statistics()
    assert.same({ 7, 0 }, { stats.tasks, stats.in_flight })
    engine:drain()
    assert.same({ 2, 6 }, { most, done })
  end)

  it("that knew of no fallbacks opens, and its trees get them", function()
    local engine = helper.open { path = older(10, "") }
    local Fail = helper.define { max_attempts = 1, run = function() error("no", 0) end }
    assert.equal("instead", helper.result(helper.define(function(self)
      return self:spawn(Fail(), { fallback = "instead" })
    end)()))
    assert.same({}, engine:check())
  end)

  it("that knew of no durable functions opens, and what waits there is filled", function()
    local engine = helper.open { path = older(14, [[
      INSERT INTO pl_stage (id, root, state, flags, missing, open, queue, class_path, args, created)
        VALUES (11, 11, 2, 0, 0, 1, 1, 'old.Root', x'80', 1699999200000000);
      INSERT INTO pl_stage (id, root, parent, state, flags, missing, open, queue, class_path, args, created, waiter)
        VALUES (12, 11, 11, 2, 1, 0, 1, 1, 'old.Async', x'80', 1699999200000000, -1);
      INSERT INTO pl_wait VALUES (12, 12, 1);]]) }
    assert.same({}, engine:check())
    local id = engine._core:new_id()
    assert.same({ "OK" }, engine._core:start { { id = id, class_path = "x.Y", args = "\x80", flags = core.DURABLE } })
    assert.equal("begun", engine._core:journal_get(id).mode)
    assert(engine._core:fill(12, { { slot = 12, value = core.encode_value(1) } }))
    assert.same({ "done", "done" }, { engine._core:stage_get(11).state, engine._core:stage_get(12).state })
    assert.same({}, engine:check())
  end)

  it("with durable functions of which nothing was shown opens, and they go on", function()
    local stage = [[
      INSERT INTO pl_stage (id, root, state, flags, missing, open, queue, class_path, args, created)
        VALUES (11, 11, 1, 1048576, 0, 0, 1, 'old.Durable', x'80', 1699999200000000);
      INSERT INTO pl_task (id, kind, state, queue, priority, eta) VALUES (11, 0, 0, 1, 0, 1699999200000000);
      INSERT INTO pl_flow (stage, seed) VALUES (11, x'000102030405060708090a0b0c0d0e0f');
      INSERT INTO pl_chunk VALUES (11, 's', 0, '~0', 1, 1699999200000000, x'01');]]
    pipeline.workflow("old.Durable", { run = function(self)
      self:stream("s"):write(1)
      self:stream("s"):write(2)
      self:set_value("v", "shown")
    end })
    local engine = helper.open { path = older(15, stage) }
    assert.same({}, engine:check())
    engine:drain()
    local id, list = engine:list {}.items[1].id, {}
    for n, value in engine:read_stream(id, "s") do list[n + 1] = value end
    assert.same({ 1, 2 }, list)
    assert.equal("shown", engine:get_value(id, "v"))
    assert.same({}, engine:check())
  end)

  it("W63 with durable functions that are held opens: they are listed as held, and go on together", function()
    local parts, last = {}, (1 << 63) - 2
    for id = 11, 14 do -- held by two versions; 13 waits for a signal; 14 was asked when at work
      local mode, state, eta = id == 13 and 1 or 2, id == 14 and 0 or 1, id == 12 and last + 1 or last
      parts[#parts + 1] = ([[
        INSERT INTO pl_stage (id, root, state, flags, missing, open, queue, class_path, args, created)
          VALUES (%d, %d, 1, 1048576, 0, 0, 1, 'old.Held', x'80', 1699999200000000);
        INSERT INTO pl_task (id, kind, state, queue, priority, eta) VALUES (%d, 0, %d, 1, 0, %d);
        INSERT INTO pl_flow (stage, seed, mode, reason)
          VALUES (%d, x'000102030405060708090a0b0c0d0e0f', %d, 'why');]]):format(id, id, id, state, eta, id, mode)
    end
    local Held = pipeline.workflow("old.Held", { run = function() return "done" end })
    local engine = helper.open { path = older(16, table.concat(parts, "\n")) }
    assert.same({}, engine:check())
    local held = engine:list_held()
    assert.same({ 3, 3 }, { held.count, #held.items })
    assert.same({ "9223372036854775806" }, sql.run(engine, "SELECT DISTINCT eta FROM pl_task WHERE state = 1"))
    assert.equal(3, engine:resume(Held))
    engine:drain()
    assert.equal(0, engine:list_held().count)
    for _, id in ipairs { 11, 12, 14 } do assert.equal("done", engine._core:stage_get(id).state) end
    assert.equal("ready", engine._core:stage_get(13).state) -- it waits for its signal
    assert.same({}, engine:check())
  end)

  describe("whose rows of tasks had all there may be of a task", function()
    local FAR, LAST = 1700000060000000, (1 << 63) - 2
    local LIMITS = "deadline, retry_limit, age_limit, min_backoff, max_backoff, max_doublings, max_losses"

    local ran, work
    local function execute(what) return work(what) end

    local function body(...)
      return "x'" .. deferred.serialize(execute, ...):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
        .. "'"
    end

    -- Tasks that have failed, were lost, leased, are dead, with and without limits of their own and long bodies.
    local function rows()
      local long = ("x"):rep(3000)
      return ([[
        INSERT INTO pl_queue (id, name, mode) VALUES (2, 'pulled', 'pull');
        INSERT INTO pl_task_name (queue, name, task) VALUES (1, 'limited', 11), (2, 'leased', 21);
        INSERT INTO pl_task_name (queue, name, task, expires) VALUES (1, 'dead', 31, 9000000000000000);
        INSERT INTO pl_task (id, kind, state, queue, priority, eta, claim, tries, name, payload, first_try, executions,
            status, is_retry, losses, %s) VALUES
          (11, 6, 1, 1, 3, %d, 7, 2, 'limited', %s, 1699999990000000, 1, 503, 1, 1, 30, 9, 100, 2, 8, 1, 4),
          (12, 6, 1, 1, 0, %d, 7, 1, NULL, %s, 1699999990000000, 0, NULL, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL);
        INSERT INTO pl_task (id, kind, state, queue, priority, eta, losses, alone, payload) VALUES
          (13, 6, 1, 1, 0, %d, 4, 1, %s);
        INSERT INTO pl_task (id, kind, state, queue, priority, eta, large, retry_limit) VALUES
          (14, 6, 0, 1, 0, 1699999990000000, 1, 2), (15, 6, 0, 1, 0, 1699999990000000, 1, NULL);
        INSERT INTO pl_task_large (task, payload) VALUES (14, %s), (15, %s);
        INSERT INTO pl_task (id, kind, state, queue, priority, eta, payload, max_losses) VALUES
          (16, 6, 0, 1, 0, 1699999990000000, %s, 2);
        INSERT INTO pl_task (id, kind, state, queue, priority, eta, lease, tries, name, payload, tag, first_try,
            retry_limit) VALUES
          (21, 5, 3, 2, 0, %d, 1700000050000000, 1, 'leased', 'one', x'6575', 1699999990000000, 2),
          (22, 5, 3, 2, 0, %d, NULL, 1, NULL, 'two', NULL, 1699999990000000, NULL),
          (23, 5, 3, 2, 0, 1699999990000000, NULL, 0, NULL, 'three', x'6575', NULL, 1);
        INSERT INTO pl_task (id, kind, state, queue, priority, eta, tries, name, payload, request, first_try,
            executions, status, deadline, retry_limit) VALUES
          (31, 4, 4, 1, 0, 1699999990000000, 3, 'dead', 'was posted', x'80', 1699999980000000, 3, 500, 20, 2);
        INSERT INTO pl_dead (task, time, error_class, message) VALUES (31, 1699999995000000, 'Error', 'why');]])
        :format(LIMITS, FAR, body("limited"), FAR, body("again"), LAST, body("alone"), body("long", long),
          body("longer", long), body("lost"), FAR, FAR)
    end

    local engine

    setup(function() deferred.register("spec.rows", execute) end)
    before_each(function()
      ran = {}
      function work(what) ran[#ran + 1] = what end
      local path = older(17, rows() .. "CREATE VIEW mine AS SELECT id, lease FROM pl_task;")
      engine = helper.open { path = path }
    end)

    local function column(query) return table.concat(sql.run(engine, query), " ") end

    it("opens, and keeps all of it: in the row, or beside it", function()
      assert.same({}, engine:check())
      assert.equal("11|7|2|1||1699999990000000|1|503|3|limited| 12|7|1|||1699999990000000|0||2|| 13|0|0|4|1||0||0||"
        .. " 14|0|0||||0||1|| 15|0|0||||0||1|| 16|0|0||||0||1|| 21|1700000050000000|1|||1699999990000000|0||1|leased|eu"
        .. " 22|0|1|||1699999990000000|0||0|| 23|0|0||||0||1||eu 31|0|3|||1699999980000000|3|500|1|dead|",
        column("SELECT id, claim, tries, losses, alone, first_try, executions, status, flags, name, tag FROM pl_task"))
      assert.equal("11|30.0|9.0|100.0|2.0|8.0|1.0|4.0 14||2.0||||| 15||||||| 16|||||||2.0 21||2.0||||| 23||1.0|||||"
        .. " 31|20.0|2.0|||||", column("SELECT task, " .. LIMITS .. " FROM pl_task_detail"))
      assert.equal("", column("SELECT id FROM pl_task WHERE flags & 1 AND (payload NOTNULL OR request NOTNULL)"))
      assert.equal("one three", column("SELECT payload FROM pl_task_detail WHERE task IN (21, 23)"))
      assert.equal("was posted|80", column("SELECT payload, hex(request) FROM pl_task_detail WHERE task = 31"))
    end)

    it("executes what is to be executed, within the limits of each", function()
      engine:drain()
      table.sort(ran)
      assert.same({ "alone", "long", "longer", "lost" }, ran)
      ran = {}
      engine:drain { delayed = true }
      table.sort(ran)
      assert.same({ "again", "limited" }, ran)
      assert.same({}, engine:check())
      assert.equal("21 23 31", column("SELECT task FROM pl_task_detail")) -- what was done left nothing behind
      assert.equal("", column("SELECT id FROM pl_task WHERE queue = 1 AND state < 4"))
    end)

    it("counts tries, delays them and gives up by the limits of a task", function()
      local told = {}
      function work(what)
        if what == "limited" then told[#told + 1] = math.floor(engine:now()) end
        error("fails", 0)
      end
      for _ = 1, 40 do
        engine:advance(4)
        engine:drain()
      end
      local waits = {}
      for i = 2, #told do waits[i - 1] = told[i] - told[i - 1] end
      assert.same({ 8, 8, 8, 8, 8, 8, 8 }, waits) -- its tries are the third to the tenth
    end)

    it("knows its leases by their ends, and its dead tasks with what they had", function()
      local store, queue = engine._core, taskqueue.Queue("pulled")
      assert.equal("ELEASE", (select(2, store:lease_modify("pulled", 21, 1700000060.0, 70))))
      assert.equal(1700000070.0, store:lease_modify("pulled", 21, 1700000050.0, 70))
      assert.equal(1700000070.0, store:lease_modify("pulled", 22, 1700000060.0, 70))
      local leased = queue:lease_tasks_by_tag(30, 10, "eu")
      assert.same({ 1, "three" }, { #leased, leased[1].payload })
      engine:advance(71)
      leased = queue:lease_tasks(30, 10)
      assert.same({ 2, "one", "two" }, { #leased, leased[1].payload, leased[2].payload }) -- 23 had one try
      local dead = store:dead_list()
      assert.same({ 31, 23 }, { dead[1].id, dead[2].id })
      dead = dead[1]
      assert.same({ "was posted", 20, 500, 3, "why" }, { dead.payload, dead.deadline, dead.status, dead.tries,
        dead.message })
    end)
  end)

  it("S37 with schedules opens, and the roots they have started know of which fire they are", function()
    local function hex(value)
      return "x'" .. core.encode_value(value):gsub(".", function(c) return ("%02x"):format(c:byte()) end) .. "'"
    end
    local fields = {
      every = 3600.0, anchor = 1699999200.0, time_zone = "Europe/Berlin", overlap = "skip", digest = 0,
      catch_up = { policy = "last", window = 86400.0, limit = 1000 },
    }
    local path = older(10, ([[
      INSERT INTO pl_stage (id, root, state, flags, missing, open, queue, class_path, args, created)
        VALUES (11, 11, 1, 262144, 0, 0, 1, 'old.Root', x'80', 1699999200000000);
      INSERT INTO pl_task (id, kind, state, queue, priority, eta) VALUES (11, 0, 1, 1, 0, 1700000005000000);
      INSERT INTO pl_schedule (id, name, times, work, revision, created, next_nominal, next_at)
        VALUES (21, 'old', %s, x'80', 1, 1699990000000000, 1700002800000000, 1700002800000000);
      INSERT INTO pl_fire (id, schedule, nominal, at, reason, state, is_stage, target)
        VALUES (22, 21, 1699999200000000, 1699999201000000, 0, 1, 1, 11);]]):format(hex(fields)))
    helper.open { path = path }
    local schedules = require "pipeline.schedules"
    local told = {
      name = "old", nominal_time = 1699999200.0, fire_time = 1699999201.0, reason = "schedule",
      local_time = "2023-11-14T23:00:00+01:00",
    }
    local root = pipeline.from_id(schedules.get("old"):fires()[1].id)
    assert.same(told, root.schedule)
    schedules.get("old"):delete()
    told.local_time = nil -- its zone is not known any more
    assert.same(told, pipeline.from_id(root.id).schedule)
  end)
end)
