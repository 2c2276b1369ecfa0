--- scenarios.lua: what holds while the wall clock is set; run by clocks_spec.lua in a process whose clock can be.
--
--   lua scenarios.lua FILE SHIFT_FILE SCENARIO [SECONDS]
--
-- Says nothing and ends with 0 if all is well. Times are measured on the clock that nobody sets (core.now).

local library = require "spec.clocks.library"
local current = require "pipeline.current"
local core = require "pipeline.core"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"

local path, shift_file, name, step = table.unpack(arg)
step = tonumber(step)

local shifted = 0.0

-- Sets the wall clock of this process forward by `seconds`; coarse readings stay behind by `lag`.
local function set_clock(seconds, lag)
  local before = core.time()
  shifted = shifted + seconds
  library.set(shift_file, shifted, lag)
  local moved = core.time() - before
  assert(math.abs(moved - seconds) < 5, "the clock was not set: the library is not preloaded")
end

local function open(options)
  local given = { durability = "normal" }
  for key, value in pairs(options or {}) do given[key] = value end
  given.log = given.log or function() end -- what is printed here is what went wrong
  return pipeline.open(path, given)
end

-- Whether something took about as long as it should.
local function took(what, began, least, most)
  local seconds = core.now() - began
  if seconds < least or seconds > most then
    error(("%s took %.3f s, not %.2f to %.2f"):format(what, seconds, least, most), 2)
  end
end

local scenarios = {}

function scenarios.waits()
  local engine <close> = open()
  local Never = pipeline.define("clocks.Never", { async = true, run = function() end })
  local stage = Never():start()
  engine._timers:add(0.2, function() set_clock(step) end)
  local began = core.now()
  local ok, problem = pcall(engine.wait, engine, stage, { timeout = 0.6 })
  assert(not ok and pipeline.is(problem, pipeline.TimeoutError), tostring(problem))
  took("a wait of 0.6 s", began, 0.58, 2.5)
end

function scenarios.runs()
  local engine <close> = open()
  local runs = 0
  local InTime = pipeline.define("clocks.InTime", { timeout = 1.5, max_attempts = 1, run = function()
    runs = runs + 1
    engine:sleep(0.2)
    set_clock(step)
    engine:sleep(0.3)
    tasklets.sleep(0.2):wait()
    return "in time"
  end })
  local began = core.now()
  local stage = InTime():start()
  assert(engine:wait(stage, { timeout = 10 }).default.value == "in time")
  took("a run of 0.7 s", began, 0.65, 3)
  assert(runs == 1)
  local TooLate = pipeline.define("clocks.TooLate", { timeout = 0.5, max_attempts = 1, run = function()
    engine:sleep(0.1)
    set_clock(-step)
    engine:sleep(30)
  end })
  began = core.now()
  stage = TooLate():start()
  local ok, problem = pcall(engine.wait, engine, stage, { timeout = 10 })
  assert(not ok and pipeline.is(problem, pipeline.AbortedError), tostring(problem))
  took("a run with 0.5 s", began, 0.45, 3)
end

function scenarios.retries()
  local engine <close> = open()
  local starts = {}
  local Again = pipeline.define("clocks.Again", { backoff_seconds = 0.8, backoff_factor = 1, run = function()
    starts[#starts + 1] = core.now()
    if #starts < 3 then error("again") end
    return #starts
  end })
  local stage = Again():start()
  engine._timers:add(0.4, function() set_clock(step) end)
  engine._timers:add(1.2, function() set_clock(-2 * step) end)
  assert(engine:wait(stage, { timeout = 20 }).default.value == 3)
  for i = 2, 3 do
    local pause = starts[i] - starts[i - 1]
    assert(pause > 0.75 and pause < 2.5, ("a pause of 0.8 s took %.3f s"):format(pause))
  end
end

-- The clock is set after the end of the pause was worked out, and before it is stored: somebody has the file locked.
function scenarios.retry_on_its_way()
  local engine <close> = open()
  local starts, locked = {}, path .. ".locked"
  local function lock()
    local command = assert(io.popen(("sqlite3 '%s'"):format(path), "w"))
    command:write(("BEGIN IMMEDIATE;\n.shell touch '%s'\n"):format(locked))
    command:flush()
    local file
    repeat
      tasklets.sleep(0.01):wait()
      file = io.open(locked)
    until file
    file:close()
    return command
  end
  local OnItsWay = pipeline.define("clocks.OnItsWay", { backoff_seconds = 0.8, backoff_factor = 1, run = function()
    if #starts == 0 then
      local command = lock()
      engine._timers:add(0.2, function()
        set_clock(step)
        command:write("ROLLBACK;\n")
        command:close()
      end)
    end
    starts[#starts + 1] = core.now()
    if #starts == 1 then error("again") end
    return #starts
  end })
  assert(engine:wait(OnItsWay():start(), { timeout = 20 }).default.value == 2)
  local pause = starts[2] - starts[1]
  assert(pause > 0.75 and pause < 4, ("a pause of 0.8 s took %.3f s"):format(pause))
end

-- The pause goes on while no process is there.
function scenarios.reopened()
  local starts = {}
  local Reopened = pipeline.define("clocks.Reopened", { backoff_seconds = 1, run = function()
    starts[#starts + 1] = core.now()
    if #starts == 1 then error("again") end
    return "done"
  end })
  local engine = open()
  local id = Reopened():start().id
  engine:drain()
  engine:close()
  set_clock(step)
  engine = open()
  assert(engine:wait(id, { timeout = 20 }).default.value == "done")
  assert(starts[2] - starts[1] > 0.95 and starts[2] - starts[1] < 4, ("%.3f"):format(starts[2] - starts[1]))
  engine:close()
end

function scenarios.leases()
  local engine <close> = open { queues = { pulled = { mode = "pull" } } }
  local queue = taskqueue.Queue("pulled")
  queue:add { taskqueue.Task { method = "PULL", payload = "a" }, taskqueue.Task { method = "PULL", payload = "b" } }
  local began = core.now()
  local held = queue:lease_tasks(2, 2)
  assert(#held == 2)
  set_clock(step)
  assert(#queue:lease_tasks(2, 2) == 0, "the clock was set, and a lease is over")
  queue:modify_task_lease(held[1], 30) -- its holder may still prolong it
  local found
  repeat
    engine:sleep(0.05)
    found = queue:lease_tasks(2, 2)
  until #found > 0 or core.now() - began > 10
  took("a lease of 2 s", began, 1.9, 5)
  assert(#found == 1 and found[1].payload == "b")
  queue:delete_tasks(found)
end

-- What could be leased can be leased: tasks that nobody has leased yet, and those whose lease is over.
function scenarios.leasable()
  local engine <close> = open { queues = { pulled = { mode = "pull" } } }
  local queue = taskqueue.Queue("pulled")
  for i = 1, 3 do queue:add(taskqueue.Task { method = "PULL", payload = "t" .. i }) end
  queue:lease_tasks(0.1, 1)
  local back = queue:lease_tasks(5, 1)[1]
  queue:modify_task_lease(back, 0)
  engine:sleep(0.2)
  set_clock(step)
  assert(#queue:lease_tasks(5, 10) == 3)
end

-- A process that rested while the clock was set, and set back, does not take the ends in the file for ends as it knew
-- them.
function scenarios.rested()
  local first <close> = open { queues = { pulled = { mode = "pull" } } }
  local second <close> = open()
  local queue = taskqueue.Queue("pulled")
  local function lease(engine, seconds)
    return #current.work_for(engine, queue.lease_tasks, queue, seconds, 1)
  end
  queue:add { taskqueue.Task { method = "PULL", payload = "a" }, taskqueue.Task { method = "PULL", payload = "b" } }
  set_clock(step)
  assert(lease(second, 60) == 1) -- the second one finds it set
  set_clock(-step)
  local began = core.now()
  assert(lease(first, 1) == 1) -- the first one sees what it saw before
  local found
  repeat
    second:sleep(0.05)
    found = lease(second, 30)
  until found > 0 or core.now() - began > 10
  took("a lease of 1 s", began, 0.9, 4)
end

function scenarios.rates()
  local engine <close> = open { queues = { slow = { rate = 5, bucket_size = 1 } } }
  local served, first, last = 0, nil, nil
  engine:route("POST", "/slow", function()
    served, last = served + 1, core.now()
    first = first or last
    if served == 4 then set_clock(step) end
    if served == 8 then set_clock(-step) end
    return 200
  end)
  local queue = taskqueue.Queue("slow")
  for _ = 1, 12 do queue:add(taskqueue.Task { url = "/slow" }) end
  engine:drain { timeout = 20 }
  assert(served == 12)
  local seconds = last - first
  assert(seconds > 1.9 and seconds < 5, ("12 tasks at 5/s took %.3f s"):format(seconds))
end

function scenarios.tombstones()
  local engine <close> = open { queues = { pulled = { mode = "pull" } }, tombstone_seconds = 2 }
  local queue = taskqueue.Queue("pulled")
  local function add()
    return pcall(queue.add, queue, taskqueue.Task { method = "PULL", name = "once", payload = "x" })
  end
  assert(add())
  local began = core.now()
  queue:delete_tasks_by_name("once")
  set_clock(step)
  assert(not add(), "the clock was set, and a name is free again")
  repeat engine:sleep(0.05) until add() or core.now() - began > 10
  took("a tombstone of 2 s", began, 1.9, 5)
end

-- An eta is a time of day: it comes when the clock is set to it.
function scenarios.etas()
  local engine <close> = open()
  local At = pipeline.define("clocks.At", { run = function() return core.time() end })
  local before = core.time()
  local far, near = At(), At()
  far:start { eta = before + math.abs(step) + 1 }
  near:start { countdown = 0.3 }
  engine:wait(near, { timeout = 10 })
  assert(not pcall(engine.wait, engine, far, { timeout = 0.3 }))
  set_clock(math.abs(step))
  local began = core.now()
  local ran = engine:wait(far, { timeout = 30 }).default.value
  assert(ran >= before + math.abs(step) + 1)
  took("an eta that the clock was set to", began, 0, 12)
  local Loop = require "pipeline.eventloop"
  local called
  Loop.queue_call(core.time() + 0.3, function() called = core.now() end)
  began = core.now()
  repeat engine:sleep(0.02) until called or core.now() - began > 5
  took("a call at a time of day", began, 0.28, 2)
end

-- Whoever reads the clock in a run finds that its eta has come, by every clock there is.
function scenarios.due()
  local engine <close> = open { queues = { pulled = { mode = "pull" } } }
  set_clock(0, 0.4)
  local At = pipeline.define("clocks.Due", { run = function(self) return { os.time(), core.time(), self.eta } end })
  local fails, runs = 0, 0
  local Again = pipeline.define("clocks.DueAgain", { run = function() runs = runs + 1 end })
  local eta = math.floor(core.time()) + 2
  local stages = {}
  for i = 1, 5 do stages[i] = At():start { eta = eta } end
  Again():start { eta = eta }
  local queue = taskqueue.Queue("pulled")
  queue:add(taskqueue.Task { method = "PULL", payload = "x", eta = eta })
  local leased
  repeat
    engine:sleep(0.01)
    leased = #queue:lease_tasks(10, 1) > 0
    if leased and os.time() < eta then fails = fails + 1 end
  until leased
  for _, stage in ipairs(stages) do
    local seen = engine:wait(stage, { timeout = 20 }).default.value
    if seen[1] < eta then fails = fails + 1 end
    assert(seen[2] >= eta)
  end
  assert(fails == 0, fails .. " saw os.time() < eta")
  -- and what is started with an eta of just now is not begun early
  for _ = 1, 5 do
    local now = core.time()
    local stage = At():start { eta = now }
    assert(engine:wait(stage, { timeout = 20 }).default.value[2] >= now)
  end
end

-- A worker whose run goes on is not taken for dead by another one; of two processes on a file both see the clock set.
function scenarios.work()
  local engine <close> = open { lease_seconds = 2 }
  pipeline.define("clocks.Long", { run = function()
    local file <close> = assert(io.open(path .. ".begun", "a"))
    file:write("begun\n")
    file:flush()
    engine:sleep(4)
    return "done"
  end })
  engine:run()
end

function scenarios.start()
  local engine <close> = open { no_worker = true, lease_seconds = 2 }
  local Long = pipeline.define("clocks.Long", { run = function() end })
  local stage = Long():start()
  local began = core.now()
  repeat
    engine:sleep(0.05)
    local file = io.open(path .. ".begun")
    if file then file:close() end
  until file or core.now() - began > 20
  set_clock(step)
  assert(engine:wait(stage, { timeout = 30 }).default.value == "done")
  local file <close> = assert(io.open(path .. ".begun"))
  assert(file:read("a") == "begun\n", "the run was begun again")
end

scenarios[name]()
