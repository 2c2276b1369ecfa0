--- rows.lua: the user's own tables in the crash run, in the file of the engine. Every row of crash_item was inserted in
-- one transaction with its order and its task, and every row of crash_done by the task of that key; so rows and tasks
-- must agree after every kill. The driver, which has no engine, takes the queries only.

local rows = {}

local tables = [[
  CREATE TABLE IF NOT EXISTS crash_order (key TEXT PRIMARY KEY, items INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS crash_item (key TEXT PRIMARY KEY, of TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS crash_flow (key TEXT NOT NULL, n INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS crash_done (key TEXT PRIMARY KEY, times INTEGER NOT NULL);
]]

--- Makes the tables unless they are there.
function rows.create(engine)
  engine:transaction(function(tx) tx:execute(tables) end)
end

--- A task has done its work: once, however often it is executed.
function rows.done(engine, key)
  engine:transaction(function(tx)
    tx:execute("INSERT INTO crash_done VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET times = times + 1", key)
  end)
end

--- An order of n items and their tasks, or nothing if `key` is there.
-- @tparam function add add(name) adds the task of an item.
-- @tparam[opt] function last called before the end; what it raises undoes all.
function rows.sell(engine, key, n, add, last)
  engine:transaction(function(tx)
    if tx:execute("INSERT OR IGNORE INTO crash_order VALUES (?, ?)", key, n) == 0 then return end
    for i = 1, n do
      local name = ("%s-%d"):format(key, i)
      tx:execute("INSERT INTO crash_item VALUES (?, ?)", name, key)
      add(name)
    end
    if last then last() end
  end)
end

--- For sqlite3: 4 if the tables are there.
rows.count_tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('crash_order', 'crash_item', 'crash_done', "
  .. "'crash_flow');"

--- What holds after every commit.
rows.always = {
  ["an item whose task is lost"] = [[
    SELECT key FROM crash_item AS i WHERE NOT EXISTS (SELECT 1 FROM pl_task AS t WHERE t.name = i.key AND t.state < 4)
      AND NOT EXISTS (SELECT 1 FROM crash_done AS d WHERE d.key = i.key)]],
  ["a task without its item"] = [[
    SELECT t.name FROM pl_task AS t JOIN pl_queue AS q ON q.id = t.queue
    WHERE q.name = 'orders' AND NOT EXISTS (SELECT 1 FROM crash_item AS i WHERE i.key = t.name)]],
  ["an order that was cut"] = [[
    SELECT key FROM crash_order AS o WHERE items <> (SELECT count(*) FROM crash_item AS i WHERE i.of = o.key)]],
  ["an item without its order"] = "SELECT key FROM crash_item WHERE of NOT IN (SELECT key FROM crash_order)",
  ["something that a durable function has booked twice"] =
    "SELECT key || ' ' || n FROM crash_flow GROUP BY key, n HAVING count(*) > 1",
  ["something done for an item that is not there"] =
    "SELECT key FROM crash_done WHERE key LIKE 'o%' AND key NOT IN (SELECT key FROM crash_item)",
}

--- And at the end.
rows.finished = {
  ["an item that was not done"] = "SELECT key FROM crash_item WHERE key NOT IN (SELECT key FROM crash_done)",
}

return rows
