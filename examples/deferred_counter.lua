-- deferred_counter.lua [--db FILE] [--work] - counts later: deferred calls of functions, methods and objects.
--
--   deferred_counter.lua                      defers on a fresh store in memory and does the work itself
--   deferred_counter.lua --db counter.db      defers and ends; nothing is counted yet
--   deferred_counter.lua --db counter.db --work     another process does the work that is left, and prints it
--
-- It is the example of App Engine's documentation: do_something_later(key, amount) adds to a stored counter, deferred
-- with and without options. A call may be made more than once, when it fails, or its process dies, between its effect
-- and its end. So each has a number of its own, and what has a number that was counted is not counted again.
--
-- The counters are rows of a table of the program, which lives in the same file as the calls.
local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"

local db, work = ":memory:", false
do
  local i = 1
  while arg[i] do
    if arg[i] == "--db" then
      db, i = assert(arg[i + 1], "--db needs a file"), i + 1
    elseif arg[i] == "--work" then
      work = true
    else
      error("usage: deferred_counter.lua [--db FILE] [--work]", 0)
    end
    i = i + 1
  end
end
local work_too = work or db == ":memory:"

local engine <close> = pipeline.open(db, { queues = { foo = {} } })

-- ---- counters ------------------------------------------------------------------------------------------------------

engine:transaction(function(tx)
  tx:execute "CREATE TABLE IF NOT EXISTS counters (key TEXT PRIMARY KEY, value INTEGER NOT NULL)"
  tx:execute "CREATE TABLE IF NOT EXISTS counted (number TEXT PRIMARY KEY)"
end)

-- Adds to a counter; returns its new value, or nil if the number was counted before.
local function count(tx, key, amount, number)
  if tx:execute("INSERT INTO counted VALUES (?) ON CONFLICT DO NOTHING", number) == 0 then return nil end
  tx:execute("INSERT INTO counters VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value", key, amount)
  return tx:query("SELECT value FROM counters WHERE key = ?", key)[1].value
end

local function new_number()
  return ("%016x"):format(math.random(0))
end

-- ---- what is deferred ----------------------------------------------------------------------------------------------

-- A function of a script has no module: it is registered under a name that the store keeps.
local do_something_later = deferred.register("counter.add", function(key, amount, number)
  local value = engine:transaction(function(tx) return count(tx, key, amount, number) end)
  if value then print(("%s: %+d, now %d"):format(key, amount, value)) end
end)

-- An object travels with its state; its class is found by name.
local Visitor = {}
Visitor.__index = Visitor
deferred.register("counter.Visitor", Visitor)

function Visitor.count_visit(self, pages)
  do_something_later(self.name, pages, self.number)
end

-- A failure is tried again by the rules of its queue, at once here.
local tries = 0
deferred.register("counter.unreliable", function(number)
  tries = tries + 1
  if tries < 3 then error(deferred.SingularTaskFailure("not yet")) end
  do_something_later("unreliable", 3, number)
end)

-- ---- the program ---------------------------------------------------------------------------------------------------

if not work then
  -- As soon as possible, on the default queue, without a name.
  deferred.defer(do_something_later, "counter", 20, new_number())
  deferred.defer(do_something_later, "counter", 22, new_number())

  -- Options are a table of their own: everything else belongs to the function.
  deferred.with { queue = "foo", countdown = 0.5, name = "later-" .. os.time() }(do_something_later, "later", 1,
    new_number())

  deferred.defer(setmetatable({ name = "ann", number = new_number() }, Visitor), "count_visit", 3)
  deferred.with { retry_options = { min_backoff_seconds = 0.1 } }("counter.unreliable", new_number())
  deferred.defer(print, "a built-in function says: good morning")

  -- What cannot be carried is refused here, not when it is too late.
  local ok, problem = pcall(deferred.defer, function() return engine end)
  assert(not ok)
  print(problem)
  if not work_too then print("deferred; run again with --work") end
end

if work_too then
  engine:drain { delayed = true, timeout = 60 }
  local total = engine:transaction(function(tx) return tx:query("SELECT sum(value) AS sum FROM counters")[1].sum end)
  assert(db ~= ":memory:" or total == 42 + 1 + 3 + 3)
end
