-- deferred_counter.lua [--db FILE] [--work] - counts later: deferred calls of functions, methods and objects.
--
--   deferred_counter.lua                      defers on a fresh store in memory and does the work itself
--   deferred_counter.lua --db counter.db      defers and ends; nothing is counted yet
--   deferred_counter.lua --db counter.db --work     another process does the work that is left, and prints it
--
-- It is the example of App Engine's documentation: do_something_later(key, amount) adds to a stored counter, deferred
-- with and without options. A call may be made more than once, when a process dies between its effect and its end.
--
-- The counters stand for the entities of a program: here they are a file, beside the store, of name=value lines.
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

-- ---- counters ------------------------------------------------------------------------------------------------------

local counters = {}

local function counters_file()
  return db ~= ":memory:" and db .. ".counters" or nil
end

local function load_counters()
  local file = counters_file() and io.open(counters_file())
  if not file then return end
  for line in file:lines() do
    local name, value = line:match("^(.-)=(%-?%d+)$")
    if name then counters[name] = math.tointeger(value) end
  end
  file:close()
end

local function save_counters()
  if not counters_file() then return end
  local file = assert(io.open(counters_file(), "w"))
  for name, value in pairs(counters) do file:write(name, "=", value, "\n") end
  file:close()
end

-- ---- what is deferred ----------------------------------------------------------------------------------------------

-- A function of a script has no module: it is registered under a name that the store keeps.
local do_something_later = deferred.register("counter.add", function(key, amount)
  counters[key] = (counters[key] or 0) + amount
  save_counters()
  print(("%s: %+d, now %d"):format(key, amount, counters[key]))
end)

-- An object travels with its state; its class is found by name.
local Visitor = {}
Visitor.__index = Visitor
deferred.register("counter.Visitor", Visitor)

function Visitor.count_visit(self, pages)
  do_something_later(self.name, pages)
end

-- A failure is tried again by the rules of its queue, at once here.
local tries = 0
deferred.register("counter.unreliable", function()
  tries = tries + 1
  if tries < 3 then error(deferred.SingularTaskFailure("not yet")) end
  do_something_later("unreliable", tries)
end)

-- ---- the program ---------------------------------------------------------------------------------------------------

local engine <close> = pipeline.open(db, { queues = { foo = {} } })
load_counters()

if not work then
  -- As soon as possible, on the default queue, without a name.
  deferred.defer(do_something_later, "counter", 20)
  deferred.defer(do_something_later, "counter", 22)

  -- Options are a table of their own: everything else belongs to the function.
  deferred.with { queue = "foo", countdown = 0.5, name = "later-" .. os.time() }(do_something_later, "later", 1)

  deferred.defer(setmetatable({ name = "ann" }, Visitor), "count_visit", 3)
  deferred.with { retry_options = { min_backoff_seconds = 0.1 } }("counter.unreliable")
  deferred.defer(print, "a built-in function says: good morning")

  -- What cannot be carried is refused here, not when it is too late.
  local ok, problem = pcall(deferred.defer, function() return counters end)
  assert(not ok)
  print(problem)
  if not work_too then print("deferred; run again with --work") end
end

if work_too then
  engine:drain { delayed = true, timeout = 60 }
  assert(db ~= ":memory:" or (counters.counter == 42 and counters.ann == 3 and counters.unreliable == 3))
end
