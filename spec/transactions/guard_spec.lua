-- guard_spec.lua: SQL of the user that would come between the engine and its tables, or keep the file for longer than a
-- transaction may be held, or take the memory of the process. Each attack is a row.

local core = require "pipeline.core"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

-- Resident bytes of this process, at most so far.
local function peak()
  for line in io.lines("/proc/self/status") do
    local kilobytes = line:match("^VmHWM:%s+(%d+)")
    if kilobytes then return kilobytes * 1024 end
  end
end

describe("the guard of the user's SQL", function()
  after_each(helper.finish)
  teardown(helper.clean)

  -- Names of the engine, in any schema, by any way. The last statement is the one refused.
  local NAMES = {
    { "a temporary table is renamed", "CREATE TEMP TABLE x (id)", "ALTER TABLE x RENAME TO pl_task" },
    { "a temporary table is renamed, with its schema", "CREATE TEMP TABLE x (id)",
      "ALTER TABLE temp.x RENAME TO Pl_Task" },
    { "a copy of the engine's table is renamed", "CREATE TEMP TABLE x AS SELECT * FROM pl_task",
      'ALTER TABLE x RENAME TO "pl_task"' },
    { "a table of the file is renamed", "CREATE TABLE x (id)", "ALTER TABLE x RENAME TO pl_other" },
    { "a temporary table is made", "CREATE TEMP TABLE pl_task (id)" },
    { "a temporary table is made by its schema", "CREATE TABLE temp.pl_task (id)" },
    { "a temporary table is made of a query", "CREATE TEMP TABLE PL_TASK AS SELECT 1 AS id" },
    { "a temporary view is made", "CREATE TEMP VIEW pl_task AS SELECT 1 AS id" },
    { "a view is made", "CREATE VIEW [pl_v] AS SELECT 1" },
    { "a temporary index is made", "CREATE TEMP TABLE x (id)", "CREATE INDEX temp.pl_i ON x (id)" },
    { "a virtual table is made", "CREATE VIRTUAL TABLE pl_f USING fts5 (x)" },
    { "a temporary virtual table is made", "CREATE VIRTUAL TABLE temp.pl_f USING fts4 (x)" },
    { "a virtual table keeps its rows in tables of such names", "CREATE VIRTUAL TABLE pl USING fts5 (x)" },
    { "so does one of another kind", "CREATE VIRTUAL TABLE temp.pl USING rtree (id, a, b)" },
    { "a virtual table is renamed", "CREATE VIRTUAL TABLE x USING fts5 (x)", "ALTER TABLE x RENAME TO pl_x" },
    { "a virtual table is renamed, so that its own tables get such names", "CREATE VIRTUAL TABLE x USING fts5 (x)",
      "ALTER TABLE x RENAME TO pl" },
    { "the same with an R-tree", "CREATE VIRTUAL TABLE x USING rtree (id, a, b)", "ALTER TABLE x RENAME TO pl" },
    { "the same with a temporary one", "CREATE VIRTUAL TABLE temp.x USING fts4 (x)", "ALTER TABLE x RENAME TO pl" },
    { "a temporary trigger has such a name", "CREATE TEMP TABLE x (id)",
      "CREATE TEMP TRIGGER pl_t AFTER INSERT ON x BEGIN SELECT 1; END" },
  }

  local KEYS = {
    { "plainly", "CREATE TABLE bad (t REFERENCES pl_task (id))" },
    { "behind a temporary table of the same name", "CREATE TEMP TABLE bad (t)",
      "CREATE TABLE main.bad (t REFERENCES pl_stage (id))" },
    { "in a column added behind a temporary table of the same name", "CREATE TABLE bad (t)",
      "CREATE TEMP TABLE bad (t)", "ALTER TABLE main.bad ADD COLUMN k REFERENCES pl_stage (id)" },
    { "behind a table in the place of the function that lists keys",
      'CREATE TEMP TABLE pragma_foreign_key_list (id, seq, "table", arg)',
      "CREATE TABLE bad (t REFERENCES pl_stage (id))" },
    { "quoted, in capitals", 'CREATE TABLE "b ad" (t REFERENCES [PL_STAGE] (id))' },
    { "among others", "CREATE TABLE p (id PRIMARY KEY)", [[CREATE TABLE bad (a REFERENCES p, b,
      FOREIGN KEY (b) REFERENCES "pl_stage" (id) DEFERRABLE INITIALLY DEFERRED)]] },
  }

  local OTHER = {
    { "a trigger on the engine's table", "can be read, not changed",
      "CREATE TEMP TRIGGER t BEFORE INSERT ON main.pl_task BEGIN SELECT RAISE(IGNORE); END" },
    { "an upsert", "can be read, not written",
      "INSERT INTO main.pl_task (id) VALUES (1) ON CONFLICT DO UPDATE SET state = 0" },
    { "a trigger of a view writes the engine's table", "can be read, not written", "CREATE VIEW v AS SELECT 1 AS a",
      "CREATE TRIGGER t INSTEAD OF INSERT ON v BEGIN DELETE FROM pl_task; END", "INSERT INTO v VALUES (1)" },
    { "the secret, by a full-text table", "holds the secret",
      "CREATE VIRTUAL TABLE f USING fts5 (value, content = 'pl_meta', content_rowid = 'key')", "SELECT * FROM f" },
    { "the secret, by a view", "holds the secret", "CREATE VIEW v AS SELECT value FROM pl_meta", "SELECT * FROM v" },
    { "statistics on the engine's tables", "written by ANALYZE alone", "CREATE TABLE mine (a); ANALYZE mine",
      "INSERT INTO sqlite_stat1 VALUES ('pl_task', NULL, '1')" },
    { "other statistics", "written by ANALYZE alone", "CREATE TABLE mine (a); INSERT INTO mine VALUES (1); ANALYZE",
      "UPDATE sqlite_stat1 SET tbl = 'pl_task'" },
    { "the pages of the file", "", "SELECT data FROM sqlite_dbpage" },
    { "code by its address", "fts3_tokenizer is not possible", "SELECT fts3_tokenizer('simple', x'4141414141414141')" },
    { "an internal table of a full-text table", "", "CREATE VIRTUAL TABLE f USING fts5 (x)", "DELETE FROM f_data" },
  }

  local function attack(row, from, pattern)
    helper.open { transaction_timeout = 60 }
    local engine = pipeline.default()
    helper.raises(pipeline.SQLError, engine.transaction, engine, function(tx)
      for i = from, #row - 1 do tx:execute(row[i]) end
      local problem = helper.raises(pipeline.SQLError, tx.execute, tx, row[#row])
      assert(problem.message:find(pattern), problem.message)
      assert.equal(0, tx:query([[SELECT count(*) AS n FROM temp.sqlite_schema
        WHERE name LIKE 'pl@_%' ESCAPE '@' OR tbl_name LIKE 'pl@_%' ESCAPE '@']])[1].n)
      taskqueue.add { url = "/", name = "witness" }
      error(problem, 0)
    end)
    -- The same, with what was not refused committed: the engine works on, in its own tables.
    engine:transaction(function(tx)
      for i = from, #row do pcall(tx.execute, tx, row[i]) end
      taskqueue.add { url = "/", name = "witness", queue_name = "default" }
    end)
    taskqueue.add { url = "/" }
    assert.equal(2, sql.number(engine, "SELECT count(*) FROM pl_task"))
    assert.equal(2, taskqueue.Queue("default"):fetch_statistics().tasks)
    assert.equal("ok", sql.run(engine, "PRAGMA integrity_check")[1])
    assert.equal(0, sql.number(engine, "SELECT count(*) FROM sqlite_schema WHERE " ..
      "name LIKE 'b%ad' AND sql LIKE '%pl@_%' ESCAPE '@'"))
  end

  for _, row in ipairs(NAMES) do
    it("no name of the engine arises when " .. row[1], function() attack(row, 2, "begin with pl_") end)
  end

  for _, row in ipairs(KEYS) do
    it("no foreign key leads to a table of the engine, given " .. row[1], function()
      attack(row, 2, "foreign key cannot lead")
    end)
  end

  for _, row in ipairs(OTHER) do
    it("refuses " .. row[1], function() attack(row, 3, row[2]) end)
  end

  it("ANALYZE and REINDEX are about the user's tables alone, and find nothing in the way", function()
    local engine = helper.open { total_storage_limit = "100M" }
    engine:transaction(function(tx)
      tx:execute("CREATE TABLE mine (a UNIQUE); INSERT INTO mine VALUES (1), (2)")
      tx:execute("CREATE TEMP TABLE pragma_page_count (a); CREATE TEMP TABLE pragma_page_size (a)")
      tx:execute("ANALYZE; REINDEX; ANALYZE main; ANALYZE pl_task; REINDEX pl_task; REINDEX pl_stage_root")
      assert.same({ { tbl = "mine" } }, tx:query("SELECT DISTINCT tbl FROM sqlite_stat1"))
      taskqueue.add { url = "/" }
    end)
    taskqueue.add { url = "/" }
    assert.equal(2, taskqueue.Queue("default"):fetch_statistics().tasks)
  end)

  it("temporary tables of other names stay usable, and the engine's statements mean the engine's tables", function()
    local engine = helper.open()
    engine:transaction(function(tx)
      tx:execute("CREATE TEMP TABLE task (id); CREATE TEMP TABLE sqlitex (id); INSERT INTO task VALUES (1)")
      tx:execute("ALTER TABLE task RENAME TO plain; ALTER TABLE plain RENAME COLUMN id TO pl_id")
      assert.equal(1, tx:query("SELECT count(*) AS n FROM plain")[1].n)
    end)
    assert.equal(3, helper.result(helper.define(function(_, a, b) return a + b end)(1, 2)))
  end)

  -- ---- time and memory ---------------------------------------------------------------------------------------

  local SERIES = "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) "
  local BIG = "hex(zeroblob(16000000))"

  local HEAVY = {
    { "a value longer than a value may be", "SELECT length(hex(zeroblob(400000000))) AS n", pipeline.SQLError },
    { "a blob of zeros longer than that", "SELECT hex(zeroblob(999999999)) AS n", pipeline.SQLError },
    { "a replacement that grows", "SELECT replace(hex(zeroblob(1000000)), '0', '" .. ("x"):rep(100) .. "') AS n",
      pipeline.SQLError },
    { "padding", "SELECT printf('%*d', 999999999, 1) AS n", pipeline.SQLError },
    { "a search that fails late everywhere",
      "SELECT instr(" .. BIG .. ", hex(zeroblob(8000000)) || 'b') AS n" },
    { "a replacement that fails late everywhere",
      "SELECT length(replace(" .. BIG .. ", hex(zeroblob(8000000)) || 'b', '')) AS n" },
    { "trimming by a long set of characters",
      "SELECT trim(" .. BIG .. ", hex(randomblob(4000000)) || '0') AS n, " ..
      "ltrim(" .. BIG .. ", replace(hex(zeroblob(8000000)), '0', 'b') || '0') AS m", pipeline.TimeoutError },
    { "a long pattern", "SELECT " .. BIG .. " LIKE '%' || hex(zeroblob(20000)) || 'b' AS n", pipeline.SQLError },
    { "a join without end", "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 10000) " ..
      "SELECT count(*) AS n FROM c a, c b, c d", pipeline.TimeoutError },
    { "a query without end", SERIES .. "SELECT count(*) AS n FROM c", pipeline.TimeoutError },
    { "a sort without end", SERIES .. "SELECT i FROM c ORDER BY i * 7919 % 10007, random()", pipeline.TimeoutError },
    { "a temporary table without end", "CREATE TEMP TABLE big AS " .. SERIES .. "SELECT i, hex(zeroblob(1000)) FROM c",
      pipeline.TimeoutError },
    { "groups without end", SERIES .. "SELECT count(*) AS n FROM (SELECT group_concat(i) FROM c GROUP BY i % 100000)",
      pipeline.TimeoutError },
    { "a row of many long values", function()
      local columns = {}
      for i = 1, 400 do columns[i] = "a || " .. i .. " AS c" .. i end
      return "SELECT " .. table.concat(columns, ", ") .. " FROM (SELECT hex(zeroblob(30000000)) AS a)"
    end, pipeline.StoreError },
    { "JSON that grows", SERIES .. "SELECT json_group_array(hex(zeroblob(100000))) AS n FROM c", pipeline.SQLError },
  }

  local pace = require "spec.support.pace"
  local LIMIT, TIMEOUT, LATE = (900 << 20) * (pace > 4 and 4 or 1), 1.0, 6.0 * pace -- sanitizers take memory, too

  for _, row in ipairs(HEAVY) do
    it("neither time nor memory is taken by " .. row[1], function()
      local engine = helper.open { transaction_timeout = TIMEOUT }
      local text = type(row[2]) == "function" and row[2]() or row[2]
      local before, started = peak(), core.now()
      local ok, problem = pcall(engine.transaction, engine, function(tx) return tx:query(text) end)
      local took, grown = core.now() - started, peak() - before
      assert(took < LATE, ("took %.1f s: %s"):format(took, tostring(problem)))
      assert(grown < LIMIT, ("took %d MiB"):format(grown >> 20))
      local is_late = not ok and pipeline.is(problem, pipeline.TimeoutError) -- a slow machine
      assert(ok or is_late or row[3] and pipeline.is(problem, row[3]), tostring(problem))
      taskqueue.add { url = "/" }
      assert.equal(1, taskqueue.Queue("default"):fetch_statistics().tasks)
    end)
  end
end)
