-- sql_spec.lua: tx:execute and tx:query: values, results, errors, and what the guard refuses.

local pace = require "spec.support.pace"
local pipeline = require "pipeline"
local json = require "pipeline.http.json"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

describe("SQL in a transaction", function()
  local engine
  before_each(function()
    engine = helper.open { transaction_timeout = 60 * pace } -- a slow machine is not the question
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function transact(fn)
    return engine:transaction(fn)
  end

  -- Calls fn(tx) and gives the SQLError it must raise; the transaction goes on and commits.
  local function refused(tx, pattern, ...)
    local problem = helper.raises(pipeline.SQLError, tx.execute, tx, ...)
    if not problem.message:find(pattern) then error(("'%s' expected, got: %s"):format(pattern, problem.message), 2) end
    return problem
  end

  local function same_number(a, b)
    return a == b and math.type(a) == math.type(b)
  end

  it("values come back as they went in", function()
    local list = {
      0, 1, -1, math.maxinteger, math.mininteger, 0.0, 1.0, 0.1, -1e308, 5e-324, 1 / 0, -1 / 0, 2.0 ^ 53, 2.0 ^ 63,
      "", "a", "\0", "a\0b", "\xff\xfe", "grüße", "\xed\xa0\x80", "12", "1.0", ("x"):rep(1 << 20),
      ("\0\xff"):rep(1 << 19),
    }
    transact(function(tx)
      tx:execute("CREATE TABLE v (id INTEGER PRIMARY KEY, value)")
      for i, value in ipairs(list) do tx:execute("INSERT INTO v VALUES (?, ?)", i, value) end
    end)
    transact(function(tx)
      for i, row in ipairs(tx:query("SELECT value FROM v ORDER BY id")) do
        local equal = type(list[i]) == "number" and same_number(list[i], row.value) or list[i] == row.value
        assert(equal, ("value %d: %q became %q"):format(i, list[i], row.value))
      end
      assert.equal(#list, tx:query("SELECT count(*) AS n FROM v")[1].n)
    end)
  end)

  it("random values come back as they went in", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    math.randomseed(seed)
    local function random()
      local kind = math.random(5)
      if kind == 1 then return math.random(0) end
      if kind == 2 then return math.random(-3, 3) end
      if kind == 3 then
        local number = string.unpack("d", string.pack("j", math.random(0)))
        return number == number and number or 0.5
      end
      local bytes, most = {}, kind == 4 and 255 or 127
      for i = 1, math.random(0, 40) do bytes[i] = string.char(math.random(0, most)) end
      return table.concat(bytes)
    end
    local list = {}
    transact(function(tx)
      tx:execute("CREATE TABLE v (id INTEGER PRIMARY KEY, value)")
      for i = 1, 500 do
        list[i] = random()
        tx:execute("INSERT INTO v VALUES (?, ?)", i, list[i])
        local echo = tx:query("SELECT ? AS value", list[i])[1].value
        assert(echo == list[i] and math.type(echo) == math.type(list[i]), "seed " .. seed)
      end
    end)
    transact(function(tx)
      for i, row in ipairs(tx:query("SELECT value FROM v ORDER BY id")) do
        local want = list[i]
        assert(row.value == want and math.type(row.value) == math.type(want),
          ("seed %d, value %d: %q became %q"):format(seed, i, want, row.value))
      end
    end)
  end)

  it("nil and JSON's null are NULL, booleans are 1 and 0", function()
    transact(function(tx)
      local row = tx:query("SELECT ? AS a, ? AS b, ? AS c, ? AS d, ? AS e", nil, json.null, true, false, nil)[1]
      assert.same({ c = 1, d = 0 }, row)
      local kinds = tx:query("SELECT typeof(?) AS a, typeof(?) AS b, typeof(?) AS c, typeof(?) AS d", "text", "a\0b",
        "\xff", 1.0)[1]
      assert.same({ a = "text", b = "blob", c = "blob", d = "real" }, kinds)
    end)
  end)

  it("execute gives the number of changed rows and the last rowid", function()
    transact(function(tx)
      assert.same({ 0, n = 2 }, table.pack(tx:execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")))
      assert.same({ 1, 7, n = 2 }, table.pack(tx:execute("INSERT INTO t VALUES (7, 'a')")))
      taskqueue.add { url = "/" } -- which inserts rows, too
      assert.same({ 2, 9, n = 2 }, table.pack(tx:execute("INSERT INTO t (v) VALUES ('b'), ('c')")))
      assert.same({ 3, n = 2 }, table.pack(tx:execute("UPDATE t SET v = ?", "x")))
      assert.same({ 0, n = 2 }, table.pack(tx:execute("UPDATE t SET v = 1 WHERE id = 100")))
      assert.same({ 0, n = 2 }, table.pack(tx:execute("SELECT * FROM t")))
      assert.same({ 5, 8, n = 2 }, table.pack(tx:execute([[
        -- a script: several statements, comments, and an empty one
        DELETE FROM t WHERE id > 7;;
        INSERT INTO t (v) VALUES ('d'); UPDATE t SET v = 'e'; /* the end */ ]])))
      assert.same({ { id = 8 } }, tx:query("DELETE FROM t WHERE id = 8 RETURNING id"))
      assert.same({}, tx:query("SELECT * FROM t WHERE id > ?", 100))
      assert.same({}, tx:query("DELETE FROM t"))
    end)
  end)

  it("an error names the cause, and the transaction goes on", function()
    transact(function(tx)
      tx:execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v NOT NULL CHECK (v <> 5), p REFERENCES t (id))")
      tx:execute("INSERT INTO t VALUES (1, 1, NULL)")
      assert.equal("ECONSTRAINT", refused(tx, "UNIQUE constraint failed: t.id",
        "INSERT INTO t VALUES (2, 2, NULL), (1, 1, 1)").code)
      assert.equal("ECONSTRAINT", refused(tx, "NOT NULL constraint failed: t.v", "INSERT INTO t (id) VALUES (2)").code)
      refused(tx, "CHECK constraint failed", "INSERT INTO t (v) VALUES (?)", 5)
      refused(tx, "FOREIGN KEY constraint failed", "INSERT INTO t VALUES (2, 2, 77)")
      assert.equal("ESQL", refused(tx, "syntax error", "SELEKT 1").code)
      refused(tx, "no such table: nowhere", "SELECT * FROM nowhere")
      refused(tx, "the statement has 2 parameters, 1 value was given", "SELECT ?, ?", 1)
      refused(tx, "the statement has 0 parameters, 2 values were given", "SELECT 1", 1, nil)
      refused(tx, "there is no statement", " -- nothing\n;")
      refused(tx, "zero byte", "SELECT 1\0; SELECT 2")
      refused(tx, "one statement expected", "SELECT ?; SELECT 2", 1)
      refused(tx, "cannot VACUUM", "VACUUM")
      local problem = helper.raises(pipeline.SQLError, tx.query, tx, "SELECT 1; SELECT 2")
      assert.truthy(problem.message:find("one statement expected", 1, true))
      problem = helper.raises(pipeline.SQLError, tx.query, tx, "SELECT 1 AS a, 2 AS a")
      assert.truthy(problem.message:find("two columns are called a", 1, true))
      assert.same({ { id = 1, v = 1 } }, tx:query("SELECT * FROM t"))
    end)
  end)

  it("a wrong argument is misuse", function()
    transact(function(tx)
      helper.misuse("bad argument #1 to 'execute' %(SQL expected, got nil%)", tx.execute, tx)
      helper.misuse("bad argument #3 to 'query' %(nil, boolean, number or string expected, got table%)", tx.query, tx,
        "SELECT ?, ?", 1, {})
      helper.misuse("bad argument #2 to 'execute' .*got function", tx.execute, tx, "SELECT ?", print)
      helper.misuse("bad argument #2 to 'execute' .*got userdata", tx.execute, tx, "SELECT ?", io.stdout)
      helper.misuse("bad argument #2 to 'execute' %(nan cannot be stored%)", tx.execute, tx, "SELECT ?", 0 / 0)
    end)
  end)

  it("of a script, what was done before the error stays until the function decides", function()
    transact(function(tx)
      tx:execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
      refused(tx, "UNIQUE", "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
      assert.same({ { id = 1 } }, tx:query("SELECT * FROM t"))
    end)
  end)

  it("a statement that rolls back takes the transaction with it", function()
    local after
    local problem = helper.raises(pipeline.StoreError, transact, function(tx)
      tx:execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
      tx:execute("INSERT INTO t VALUES (1)")
      local ok, first = pcall(tx.execute, tx, "INSERT OR ROLLBACK INTO t VALUES (1)")
      after = select(2, pcall(tx.query, tx, "SELECT 1"))
      error(first, ok and 1 or 0)
    end)
    assert.truthy(problem.message:find("UNIQUE", 1, true))
    assert.is_true(pipeline.is(after, pipeline.TransactionError))
    assert.truthy(after.message:find("rolled back: .*UNIQUE"))
    -- Neither does one commit who overlooks the error.
    helper.raises(pipeline.TransactionError, transact, function(tx)
      tx:execute("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
      pcall(tx.execute, tx, "INSERT OR ROLLBACK INTO t VALUES (1)")
    end)
    transact(function(tx) refused(tx, "no such table: t", "SELECT * FROM t") end)
  end)

  it("a deferred foreign key fails at the commit, and nothing of it stays", function()
    transact(function(tx)
      tx:execute("CREATE TABLE p (id INTEGER PRIMARY KEY)")
      tx:execute("CREATE TABLE c (p REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED)")
    end)
    local problem = helper.raises(pipeline.StoreError, transact, function(tx)
      tx:execute("INSERT INTO c VALUES (1)")
      taskqueue.add { url = "/" }
    end)
    assert.truthy(problem.message:find("FOREIGN KEY", 1, true))
    transact(function(tx)
      assert.equal(0, tx:query("SELECT (SELECT count(*) FROM c) + (SELECT count(*) FROM pl_task) AS n")[1].n)
    end)
    assert.equal(0, taskqueue.Queue("default"):fetch_statistics().tasks)
  end)

  it("a result is bounded", function()
    transact(function(tx)
      tx:execute("CREATE TABLE t (v)")
      for _ = 1, 65 do tx:execute("INSERT INTO t VALUES (zeroblob(1 << 20))") end
      local problem = helper.raises(pipeline.SQLError, tx.query, tx, "SELECT v FROM t")
      assert.equal("ELIMIT", problem.code)
      assert.equal(60, #tx:query("SELECT v FROM t LIMIT 60"))
      helper.raises(pipeline.SQLError, tx.query, tx, "DELETE FROM t RETURNING v")
      assert.equal(65, tx:query("SELECT count(*) AS n FROM t")[1].n)
      assert.equal(65, #tx:query("DELETE FROM t RETURNING length(v) AS n"))
    end)
  end)

  it("the guard says what it keeps also right after a change of the schema was undone", function()
    transact(function(tx)
      tx:execute("CREATE TABLE mine (id INTEGER PRIMARY KEY, v)")
      for _, sql in ipairs { "CREATE VIEW pl_v AS SELECT 1", "CREATE TEMP TABLE pl_task (id)", "DROP TABLE pl_task" } do
        refused(tx, "begin with pl_", "ALTER TABLE mine RENAME TO pl_mine")
        refused(tx, "begin with pl_", sql)
      end
    end)
  end)

  it("the guard keeps the engine's tables, the transaction and the connection", function()
    transact(function(tx)
      tx:execute("CREATE TABLE mine (id INTEGER PRIMARY KEY, v)")
      for pattern, list in pairs {
        ["can be read, not written"] = {
          "INSERT INTO pl_task (id) VALUES (1)", "UPDATE pl_task SET state = 0", "DELETE FROM main.pl_stage",
          "REPLACE INTO PL_META VALUES ('secret', 'x')", "WITH x AS (SELECT 1) DELETE FROM pl_worker",
          "CREATE TRIGGER sly AFTER INSERT ON mine BEGIN DELETE FROM pl_task; END; INSERT INTO mine VALUES (1, 1)",
        },
        ["can be read, not changed"] = {
          "CREATE INDEX i ON pl_task (queue)", "CREATE TRIGGER x AFTER INSERT ON pl_task BEGIN SELECT 1; END",
          "CREATE TEMP TRIGGER x AFTER INSERT ON pl_task BEGIN SELECT 1; END", "ALTER TABLE pl_task ADD COLUMN x",
          "ALTER TABLE pl_task RENAME TO x",
        },
        ["begin with pl_"] = {
          "CREATE TABLE pl_mine (x)", "CREATE TEMP TABLE pl_task (id)", "CREATE VIEW pl_v AS SELECT 1",
          "CREATE TEMP VIEW pl_task AS SELECT 1", "DROP TABLE pl_task", "DROP INDEX pl_task_ready",
          "ALTER TABLE mine RENAME TO pl_mine", "CREATE INDEX pl_i ON mine (v)",
          "CREATE VIRTUAL TABLE pl_f USING fts5 (x)",
        },
        ["foreign key"] = {
          "CREATE TABLE bad (t REFERENCES pl_task (id))", "ALTER TABLE mine ADD COLUMN t REFERENCES pl_stage (id)",
        },
        ["begins and ends with the function"] = {
          "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a", "ROLLBACK TO a",
        },
        ["about one file"] = { "ATTACH '/nowhere/x' AS x", "DETACH main" },
        ["PRAGMA %S+ is not possible"] = {
          "PRAGMA journal_mode = DELETE", "PRAGMA synchronous = OFF", "PRAGMA foreign_keys = OFF",
          "PRAGMA writable_schema = ON", "PRAGMA wal_checkpoint", "PRAGMA locking_mode = EXCLUSIVE",
          "PRAGMA schema_version = 5", "PRAGMA ignore_check_constraints = ON", "PRAGMA busy_timeout = 0",
          "PRAGMA optimize",
        },
        ["secret"] = { "SELECT * FROM pl_meta", "SELECT (SELECT value FROM pl_meta LIMIT 1)" },
        ["load_extension"] = { "SELECT load_extension('x')" },
        ["may not be modified"] = { "DELETE FROM sqlite_schema" },
      } do
        for _, sql in ipairs(list) do refused(tx, pattern, sql) end
      end
      tx:execute("DROP TRIGGER IF EXISTS sly; INSERT INTO mine VALUES (1, 1)")
    end)
    assert.equal("ok", transact(function(tx) return tx:query("PRAGMA integrity_check")[1].integrity_check end))
    taskqueue.add { url = "/" }
    assert.equal(1, taskqueue.Queue("default"):fetch_statistics().tasks)
  end)

  it("what does no harm is allowed, and the engine works on beside it", function()
    local Give = helper.define(function(_, value) return value end)
    transact(function(tx)
      tx:execute([[
        CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); CREATE INDEX t_v ON t (v);
        CREATE VIEW w AS SELECT v FROM t; CREATE TABLE log (v TEXT) STRICT]])
      tx:execute("CREATE TRIGGER t_log AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.v); END")
      tx:execute("CREATE VIRTUAL TABLE f USING fts5 (text); INSERT INTO f VALUES ('the quick fox')")
      tx:execute("CREATE TEMP TABLE scratch AS SELECT 1 AS a; ALTER TABLE t ADD COLUMN more; PRAGMA user_version = 7")
      assert.equal(1, (tx:execute("INSERT INTO t (v) VALUES (?)", "a")))
      tx:execute("ANALYZE; REINDEX")
      assert.equal("a", tx:query("SELECT v FROM log")[1].v)
      assert.equal(1, #tx:query("SELECT * FROM f WHERE f MATCH 'fox'"))
      assert.equal(7, tx:query("PRAGMA user_version")[1].user_version)
      assert.equal("id", tx:query("PRAGMA table_info(t)")[1].name)
      assert.equal("v", tx:query("SELECT name FROM pragma_table_info('t') WHERE cid = 1")[1].name)
      Give(1):start { idempotence_key = "one" }
      assert.equal(1, tx:query("SELECT count(*) AS n FROM pl_stage JOIN pl_task USING (id)")[1].n)
      assert.same({}, tx:query("SELECT * FROM sqlite_stat1 WHERE tbl LIKE 'pl%'"))
      tx:execute("DROP TABLE log; DROP VIEW w; DROP TABLE f; DROP TRIGGER t_log; DROP INDEX t_v")
    end)
    engine:drain()
    assert.equal(1, engine:wait(pipeline.from_id("one")).default.value)
    assert.equal(2, helper.result(Give(2)))
  end)

  it("replace finds each part once, wherever in a long text it lies", function()
    transact(function(tx)
      for _, length in ipairs { 1, 2, 7, 100, 5000 } do
        local part = ("a"):rep(length - 1) .. "b"
        for _, before in ipairs { 0, 1, 4094, 4095, 4096, 4097, 4098, 4200, 8193, 14095, 14096, 14097, 20000 } do
          local given = ("x"):rep(before) .. part .. ("a"):rep(before) .. part .. part .. ("y"):rep(9000)
          local expected = given:gsub(part, "(%0)")
          local row = tx:query("SELECT replace(?, ?, ?) AS v", given, part, "(" .. part .. ")")[1]
          assert.is_true(row.v == expected, ("a part of %d bytes after %d"):format(length, before))
        end
      end
    end)
  end)

  it("values are never SQL", function()
    transact(function(tx)
      tx:execute("CREATE TABLE t (v)")
      local evil = "'); DROP TABLE t; --"
      tx:execute("INSERT INTO t VALUES (?)", evil)
      assert.equal(evil, tx:query("SELECT v FROM t WHERE v = ?", evil)[1].v)
    end)
  end)
end)
