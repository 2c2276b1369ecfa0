-- schema_spec.lua: files whose schema somebody has changed: what is wrong is named, when the file is opened, while it
-- is open, and by engine:check().

local deferred = require "pipeline.deferred"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local Echo = pipeline.define("store.schema.Echo", { run = function(_, value) return value end })
local Wait = pipeline.define("store.schema.Wait", { async = true, run = function() end })
local Sum = pipeline.define("store.schema.Sum", {
  run = function(self)
    local open = self:spawn(Wait())
    self:spawn(Echo(open))
  end,
})

deferred.register("store.schema.call", function() end)

local REWRITE = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, %s) WHERE name = '%s'; "

-- What is done to a sound file from outside, and the words for it.
local CHANGES = {
  { "ALTER TABLE pl_queue DROP COLUMN target", "table pl_queue has no column target" },
  { "ALTER TABLE pl_slot RENAME COLUMN value TO worth", "table pl_slot has no column value" },
  { "ALTER TABLE pl_task ADD COLUMN colour TEXT", "table pl_task has a column colour that does not belong to it" },
  { "DROP TABLE pl_wait", "table pl_wait is missing" },
  { "ALTER TABLE pl_slot RENAME TO slots; CREATE VIEW pl_slot AS SELECT * FROM slots",
    "pl_slot is a view, a table is expected" },
  { "DROP TABLE pl_dead; CREATE TABLE pl_dead (task INTEGER PRIMARY KEY, time TEXT, error_class TEXT, message TEXT, " ..
    "traceback TEXT)", "column time of table pl_dead is TEXT, INTEGER NOT NULL expected" },
  { "DROP TABLE pl_wait; CREATE TABLE pl_wait (slot INTEGER NOT NULL, stage INTEGER NOT NULL, " ..
    "kind INTEGER NOT NULL CHECK (kind IN (0, 1)), PRIMARY KEY (slot, stage, kind))",
    "the constraints of table pl_wait are not those" },
  { REWRITE:format("'CHECK (state < 4 OR kind >= 4)', 'CHECK (1)'", "pl_task"),
    "the constraints of table pl_task are not those" },
  { REWRITE:format("' REFERENCES pl_stage (id) ON DELETE CASCADE', ''", "pl_failure"),
    "the constraints of table pl_failure are not those" },
  { REWRITE:format("' UNIQUE', ''", "pl_worker") .. "DELETE FROM sqlite_schema WHERE name LIKE '%auto%pl_worker%'",
    "the constraints of table pl_worker are not those" },
  { "DROP INDEX pl_task_ready", "index pl_task_ready is missing" },
  { "DROP INDEX pl_task_due; CREATE INDEX pl_task_due ON pl_task (eta) WHERE state = 2",
    "index pl_task_due of table pl_task is not the one" },
  { "DROP INDEX pl_stage_key; CREATE INDEX pl_stage_key ON pl_stage (key) WHERE key IS NOT NULL",
    "index pl_stage_key of table pl_stage is not the one" },
  { "CREATE TRIGGER swallow BEFORE INSERT ON pl_task BEGIN SELECT RAISE(IGNORE); END",
    "trigger swallow on table pl_task does not belong" },
  { "CREATE TRIGGER eat AFTER INSERT ON pl_stage BEGIN DELETE FROM pl_stage WHERE id = new.id; END",
    "trigger eat on table pl_stage does not belong" },
  { "CREATE UNIQUE INDEX one ON pl_task (queue)", "unique index one on table pl_task does not belong" },
  { "CREATE TABLE mine (stage REFERENCES pl_stage (id))", "a foreign key of table mine leads to the engine" },
  { 'CREATE TABLE "my own" (a, b, FOREIGN KEY (b) REFERENCES "PL_TASK" (id))',
    "a foreign key of table my own leads to the engine" },
  { "DROP TABLE pl_meta", "table pl_meta is missing" },
  { "DELETE FROM pl_meta WHERE key = 'schema_version'", "pl_meta has no schema_version" },
}

-- What does no harm.
local FINE = {
  "CREATE INDEX mine ON pl_task (payload)",
  "CREATE TABLE pl (a); CREATE TABLE plx (pl_task); CREATE VIEW v AS SELECT * FROM pl_task",
  "CREATE TABLE own (a PRIMARY KEY, b REFERENCES own (a)); CREATE TRIGGER t AFTER INSERT ON own BEGIN SELECT 1; END",
  REWRITE:format("'BLOB', ' /* pl */ blob -- x' || char(10)", "pl_slot"),
  REWRITE:format("'pl_stage (', '\"pl_stage\" ('", "pl_stage_root"),
  "PRAGMA user_version = 12; ANALYZE; REINDEX; VACUUM",
}

describe("the schema of a file", function()
  local path

  before_each(function()
    path = helper.path()
    helper.open { path = path }
    helper.result(Echo(1))
    helper.finish()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function change(statements)
    sql.run({ _path = path }, statements .. ";")
  end

  for _, row in ipairs(CHANGES) do
    it("is refused at opening, and left as it is, after: " .. row[1]:sub(1, 90), function()
      change(row[1])
      local before = sql.run({ _path = path }, "SELECT * FROM sqlite_schema; PRAGMA schema_version;")
      local problem = helper.raises(pipeline.StoreError, pipeline.open, path)
      assert.equal("ESCHEMA", problem.code)
      assert(problem.message:find(row[2], 1, true), problem.message)
      assert(problem.message:find("undo what changed it, or use a backup", 1, true), problem.message)
      assert.same(before, sql.run({ _path = path }, "SELECT * FROM sqlite_schema; PRAGMA schema_version;"))
    end)
  end

  for _, statements in ipairs(FINE) do
    it("is taken as it is after: " .. statements:sub(1, 90), function()
      change(statements)
      local engine = helper.open { path = path }
      assert.equal(7, helper.result(Echo(7)))
      assert.same({}, engine:check())
      helper.finish()
      helper.open { path = path }
      assert.equal(8, helper.result(Echo(8)))
    end)
  end

  it("is compared again only where it has changed", function()
    local function hash() return sql.run({ _path = path }, "SELECT value FROM pl_meta WHERE key = 'schema_hash'")[1] end
    local first = hash()
    assert(first and first ~= "")
    change("CREATE INDEX mine ON pl_task (payload)")
    helper.open { path = path }
    helper.finish()
    local second = hash()
    assert.not_equal(first, second)
    change("DROP INDEX mine")
    helper.open { path = path }
    assert.equal(first, hash())
  end)

  for _, encoding in ipairs { "UTF-16le", "UTF-16be" } do
    it("cannot be in " .. encoding .. ", which the error says with the way out", function()
      local other = helper.path()
      sql.run({ _path = other }, ("PRAGMA encoding = '%s'; CREATE TABLE mine (a); INSERT INTO mine VALUES ('ä');")
        :format(encoding))
      local problem = helper.raises(pipeline.StoreError, pipeline.open, other)
      assert.equal("ESCHEMA", problem.code)
      assert(problem.message:find("its text is in " .. encoding .. ", UTF-8 expected", 1, true), problem.message)
      assert(problem.message:find(".dump", 1, true))
      assert.equal(1, sql.number({ _path = other }, "SELECT count(*) FROM sqlite_schema"))
      assert.same({ "delete" }, sql.run({ _path = other }, "PRAGMA journal_mode"))
    end)
  end

  it("of version 1 that was changed is not brought up to date, and says what is wrong", function()
    local old = helper.path()
    local file <close> = assert(io.open("csrc/store/sqlite/schema/001_initial.sql"))
    sql.run({ _path = old }, file:read("a") .. "INSERT INTO pl_meta VALUES ('schema_version', 1);" ..
      "ALTER TABLE pl_task RENAME COLUMN payload TO load;")
    local problem = helper.raises(pipeline.StoreError, pipeline.open, old)
    assert.equal("ESCHEMA", problem.code)
    assert(problem.message:find("cannot be brought up to date: no such column: payload", 1, true), problem.message)
    assert.same({ "1" }, sql.run({ _path = old }, "SELECT value FROM pl_meta"))
  end)

  -- ---- while it is open --------------------------------------------------------------------------------------

  it("that is changed under an engine is noticed before anything is acknowledged", function()
    local engine = helper.open { path = path }
    change("CREATE TRIGGER swallow BEFORE INSERT ON pl_task BEGIN SELECT RAISE(IGNORE); END")
    local problem = helper.raises(pipeline.StoreError, taskqueue.add, { url = "/" })
    assert.equal("ESCHEMA", problem.code)
    assert(problem.message:find("trigger swallow on table pl_task", 1, true), problem.message)
    helper.raises(pipeline.StoreError, function() return Echo(1):start() end)
    change("DROP TRIGGER swallow")
    deferred.defer("store.schema.call")
    assert.equal(1, sql.number(engine, "SELECT count(*) FROM pl_task"))
    assert.equal(3, helper.result(Echo(3)))
  end)

  it("that forbids something lets everything else go on", function()
    helper.open { path = path }
    change("CREATE TRIGGER forbid BEFORE DELETE ON pl_failure BEGIN SELECT RAISE(ABORT, 'it''s (mine)'); END")
    assert.equal(4, helper.result(Echo(4)))
    change("CREATE TRIGGER more BEFORE DELETE ON pl_failure WHEN 1 BEGIN SELECT RAISE(ABORT, 'x') WHERE 0; " ..
      "DELETE FROM pl_task; END")
    helper.raises(pipeline.StoreError, taskqueue.add, { url = "/" })
  end)

  -- ---- check -------------------------------------------------------------------------------------------------

  it("is compared by check(), which names all differences", function()
    local engine = helper.open { path = path }
    assert.same({}, engine:check())
    change("DROP INDEX pl_task_due; ALTER TABLE pl_queue DROP COLUMN target; " ..
      "CREATE TRIGGER t AFTER UPDATE ON pl_slot BEGIN SELECT 1; END")
    assert.same({
      "schema: table pl_queue has no column target", "schema: index pl_task_due is missing",
      "schema: trigger t on table pl_slot does not belong to the engine",
    }, engine:check())
  end)
end)

-- What is done to the rows of a sound file, and what check() calls it.
local DAMAGES = {
  { "UPDATE pl_task SET state = 2, owner = 77 WHERE kind = 0", "a claim of a worker that is gone: task %d+" },
  { "DELETE FROM pl_task WHERE kind = 0", "a stage without its task: stage %d+, state 1" },
  { "INSERT INTO pl_task (id, kind, state, queue, priority, eta) VALUES (5, 0, 0, 1, 0, 0)",
    "a task without its stage: task 5" },
  { "UPDATE pl_task SET kind = 1 WHERE kind = 0", "a task that does not fit the state of its stage" },
  { "UPDATE pl_stage SET missing = 2 WHERE state = 0", "a stage that does not wait for as many inputs" },
  { "DELETE FROM pl_wait WHERE kind = 0", "a stage that does not wait for as many inputs" },
  { "UPDATE pl_stage SET open = open + 1 WHERE state = 2",
    "as many children and outputs as it says: stage %d+, open 3" },
  { "DELETE FROM pl_wait WHERE kind = 1", "as many children and outputs as it says" },
  { "INSERT OR IGNORE INTO pl_slot SELECT slot, stage, 1, x'01' FROM pl_wait", "a wait for a value that is there" },
  { "UPDATE pl_stage SET state = 4, missing = 0, finalized = 1 WHERE state = 0",
    "has begun but still waits for an input" },
  { "INSERT INTO pl_wait VALUES (1, 2, 0)", "a wait without its stage: slot 1" },
  { "UPDATE pl_stage SET waiter = NULL", "a wait that the stage it waits for does not know" },
  { "UPDATE pl_stage SET result = x'01' WHERE state = 2", "a value of a stage that is not done: stage %d+, state 2" },
  { "UPDATE pl_stage SET parent = 3 WHERE parent IS NOT NULL", "a stage whose parent is not in its tree" },
  { "UPDATE pl_stage SET abort_requested = 1 WHERE parent IS NULL", "a tree to be aborted with a stage that goes on" },
  { "DELETE FROM pl_task_name", "a task whose name is not taken: task %d+, later" },
  { "DELETE FROM pl_task WHERE name = 'later'", "a name taken by no task: later" },
  { "DELETE FROM pl_task WHERE flags & 1", "a body of no task" },
  { "DELETE FROM pl_task_detail", "a task whose body is missing" },
  { "UPDATE pl_stage SET args = NULL WHERE state = 0", "a stage whose arguments are missing" },
  { "INSERT INTO pl_dead (task, time) VALUES (9, 9)", "an error of no dead task: task 9" },
  { "UPDATE pl_task SET state = 4, kind = 6 WHERE kind = 6", "a dead task without its error" },
  { "UPDATE pl_task SET queue = 99", "a task of no queue: task %d+, queue 99" },
  { "UPDATE pl_slot SET filler = 5", "a value without the stage that filled it" },
  { "DELETE FROM pl_stage WHERE parent IS NULL", "a row without the one it belongs to, in table: pl_stage" },
  { "UPDATE pl_task SET state = 9", "damage: CHECK constraint failed in pl_task" },
}

describe("check()", function()
  local engine
  before_each(function()
    engine = helper.open()
    Sum():start()
    Echo(1):start()
    Echo(("long"):rep(1000)):start()
    engine:drain()
    taskqueue.add { url = "/", name = "later", countdown = 1000 }
    deferred.with { countdown = 1000 } ("store.schema.call", ("x"):rep(5000))
    Echo(5):start { countdown = 1000 }
    -- A root whose task waits for its next attempt, and a child that is to run.
    local Fail = helper.define { max_attempts = 9, backoff_seconds = 1000, run = function() error("no") end }
    helper.define(function(self) self:spawn(Fail()) end)():start()
    engine:drain()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("finds nothing in a sound file, whatever it has to do", function()
    assert.same({}, engine:check())
    taskqueue.Queue("default"):purge()
    engine:drain { delayed = true }
    assert.same({}, engine:check())
    local task = Echo(1):start { return_task = true }
    assert.same({}, engine:check())
    task:add()
    engine:drain()
    assert.same({}, engine:check())
  end)

  for _, row in ipairs(DAMAGES) do
    it("finds: " .. row[1]:sub(1, 100), function()
      sql.run(engine, row[1] .. ";")
      local found = table.concat(engine:check(), "\n")
      assert(found:find(row[2]), ("'%s' was not found by: %s"):format(row[2], found))
    end)
  end

  it("finds damaged pages, and says so instead of raising", function()
    for i = 1, 300 do Echo((" "):rep(100) .. i):start { countdown = 1000 } end
    local path = engine._path
    helper.finish()
    sql.run({ _path = path }, "PRAGMA wal_checkpoint(TRUNCATE);")
    local page = sql.number({ _path = path }, "SELECT rootpage FROM sqlite_schema WHERE name = 'pl_stage_class';")
    local file <close> = assert(io.open(path, "r+b"))
    file:seek("set", (page - 1) * 4096)
    file:write(("\xff"):rep(20))
    file:close()
    local found = table.concat(helper.open { path = path, no_worker = true }:check(), "\n")
    assert(found:find("damage: ", 1, true), found)
  end)

  it("names twenty of a kind, and that there are more", function()
    for _ = 1, 30 do Echo(1):start { countdown = 10 } end
    sql.run(engine, "DELETE FROM pl_task; UPDATE pl_stage SET attempt = 1 WHERE state = 1;")
    local found = engine:check()
    local count = 0
    for _, line in ipairs(found) do if line:find("a stage without its task: ", 1, true) then count = count + 1 end end
    assert.equal(20, count)
    assert.truthy(table.concat(found, "\n"):find("... and more of the kind", 1, true))
  end)

  it("is refused in a transaction, and looks at a store in memory too", function()
    helper.raises(pipeline.TransactionError, engine.transaction, engine, function() engine:check() end)
    local other <close> = helper.open { path = ":memory:" }
    assert.same({}, other:check())
  end)
end)
