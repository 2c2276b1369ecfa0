-- What takes how much of the file is told table by table.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local Give = pipeline.define("tables.Give", { run = function(_, size) return ("x"):rep(size) end })

describe("engine:stats", function()
  after_each(helper.finish)
  teardown(helper.clean)

  local function by_name(stats)
    local found = {}
    for _, one in ipairs(stats.tables) do found[one.name] = one end
    return found
  end

  it("F120 tells the bytes of each table and its indexes, the user's included, as SQLite itself does", function()
    local engine = helper.open { retention = { done = "1d" } }
    for _ = 1, 40 do Give(50000):start() end
    for _ = 1, 300 do Give(1):start() end
    engine:drain()
    sql.run(engine, "CREATE TABLE mine (x); CREATE INDEX mine_x ON mine (x); INSERT INTO mine VALUES (zeroblob(99999))")
    local stats, sum = engine:stats(), 0
    local tables = by_name(stats)
    for i, one in ipairs(stats.tables) do
      local total = one.bytes + one.index_bytes
      local found = sql.run(engine, ([[SELECT sum(d.pgsize * (s.type = 'table')), sum(d.pgsize * (s.type = 'index')),
        sum(d.unused) FROM dbstat('main', 1) AS d JOIN (SELECT 'sqlite_schema' AS name, 'table' AS type, 'sqlite_schema'
        AS tbl_name UNION ALL SELECT name, type, tbl_name FROM sqlite_schema) AS s USING (name) WHERE
        s.tbl_name = '%s']]):format(one.name))[1]
      assert.equal(found, ("%d|%d|%d"):format(one.bytes, one.index_bytes, one.unused), one.name)
      assert.is_true(i == 1 or total <= sum, "they are in order")
      sum = total
    end
    assert.is_true(tables.pl_slot.bytes > 40 * 50000 and tables.pl_slot.bytes < 41 * 60000, tables.pl_slot.bytes)
    assert.equal("pl_slot", stats.tables[1].name)
    assert.is_true(tables.mine.bytes > 99999 and tables.mine.index_bytes > 99999)
    assert.is_true(tables.pl_stage.index_bytes > 0)
    sum = stats.free
    for _, one in ipairs(stats.tables) do sum = sum + one.bytes + one.index_bytes end
    assert.is_true(sum <= stats.bytes and sum > stats.bytes - 3 * 4096, sum .. " of " .. stats.bytes) -- pointer maps
    -- and what may go
    assert.equal(0, stats.retention.due.done.count)
    engine:advance(2 * 86400)
    stats = engine:stats()
    assert.equal(0, stats.retention.due.done.count)
    assert.is_true(stats.free > 40 * 50000, stats.free .. " bytes are free")
    assert.is_true(by_name(stats).pl_slot.bytes < 50000)
    assert.is_true(stats.log_bytes >= 0)
  end)

  it("F120 is told of a store in memory, while others work on the file, and not in a transaction", function()
    local memory <close> = pipeline.open(":memory:", { log = function() end })
    assert.is_true(#memory:stats().tables > 10)
    local engine = helper.open()
    helper.misuse("transaction", function() engine:transaction(function() engine:stats() end) end)
    assert.equal("EINVAL", select(2, engine._core:tables_get(-1)))
    local found, following = engine._core:tables_get(100000)
    assert.same({ bytes = 0, unused = 0 }, found)
    assert.is_nil(following)
    local between = 0
    engine._core:spawn(function()
      for _ = 1, 5 do
        Give(1):start()
        between = between + 1
      end
    end)
    local task = Give(2):start()
    assert.is_true(#engine:stats().tables > 10)
    engine:drain()
    assert.equal("xx", engine:wait(task).default.value)
    assert.equal(5, between)
  end)
end)
