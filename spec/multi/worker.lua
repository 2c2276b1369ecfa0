--- worker.lua: a process of the specs of several processes.
--
--   lua worker.lua FILE LOG ROLE LEASE_SECONDS CONCURRENCY ARGUMENT...
--
-- Lines of the log: `ready|pid|time` (the engine is open), those of the roles and classes below, and
-- `log|pid|level|text`.

local processes = require "spec.crash.processes"
local pipeline = require "pipeline"
local classes = require "spec.multi.classes"

local path, log, role, lease, concurrency = table.unpack(arg, 1, 5)

classes.log, classes.pid = assert(io.open(log, "a")), processes.own_pid()
local note, now = classes.note, classes.now

local engine = pipeline.open(path, {
  lease_seconds = tonumber(lease), concurrency = math.tointeger(tonumber(concurrency)),
  no_worker = role:find("^start") ~= nil, transaction_timeout = 30,
  log = function(level, text) note("log", level, (text:gsub("\n", " "))) end,
})

local roles = {}

function roles.work()
  engine:route("POST", "/kill", classes.kill)
  engine:run()
  note("returned")
end

-- Waits for a file to appear, so that several processes begin at the same time.
local function wait_for_go()
  assert(processes.eventually(20, function()
    local file <close> = io.open(path .. ".go")
    return file
  end), "nobody said go")
end

function roles.start_keys(count)
  wait_for_go()
  for i = 1, tonumber(count) do
    local ok, problem = pcall(function() classes.Give(i):start { idempotence_key = "key-" .. i } end)
    if not ok and not pipeline.is(problem, pipeline.PipelineExistsError) then error(problem, 0) end
    note(ok and "won" or "lost", i)
  end
end

function roles.start_many(count)
  wait_for_go()
  for i = 1, tonumber(count) do classes.Pair(i):start() end
end

-- Does nothing for some seconds, in the loop, and tells what it cost. The first second is not counted: then the looks
-- for dead workers take place.
function roles.rest(seconds)
  local store = engine._core
  store:spawn(function()
    store:sleep(1)
    local before = store:facts()
    note("resting", now())
    store:sleep(tonumber(seconds))
    local after = store:facts()
    note("rested", after.loop_wakeups - before.loop_wakeups + after.store_wakeups - before.store_wakeups,
      after.commits - before.commits, after.other_workers)
    engine:stop()
  end)
  engine:run()
end

-- Executes push tasks, each of which takes some seconds and says when it begins and ends.
function roles.push(seconds)
  engine:route("POST", "/timed", function(request)
    note("begin", request.headers["x-appengine-taskname"], now())
    engine:sleep(tonumber(seconds))
    note("end", request.headers["x-appengine-taskname"], now())
  end)
  engine:run()
end

-- Resumes the trees of these ids, one after the other.
function roles.start_resume(ids)
  wait_for_go()
  for id in ids:gmatch "[^,]+" do note(pipeline.from_id(id):resume() and "won" or "lost", id) end
end

-- The target of push tasks: answers as the parameter `answer` says, and tells what came.
function roles.start_target()
  local running, most = 0, 0
  engine:route("*", "/target", function(request)
    running = running + 1
    most = math.max(most, running)
    local answer = request.params.answer or "200"
    note("request", request.method, answer, tostring(request.is_task), #request.body,
      request.headers["x-appengine-taskretrycount"], request.headers.host, most)
    if answer == "slow" then engine:sleep(0.3) end
    if answer == "never" then engine:sleep(60) end
    if answer == "short" then engine:sleep(0.01) end
    running = running - 1
    if answer == "large" then return 200, "text/plain", ("x"):rep(10 << 20) end
    return math.tointeger(tonumber(answer)) or 200, { location = "/target" }, "body"
  end)
  note("port", engine:serve({ port = 0, admin_token = "of-the-spec" }).port)
  engine:run()
end

-- Leases tasks one by one and says which; never deletes what its argument says.
function roles.lease(queue_name, keeps)
  local queue = require("pipeline.taskqueue").Queue(queue_name)
  for _ = 1, 400 do
    for _, task in ipairs(queue:lease_tasks(tonumber(keeps) or 1, 3)) do
      note("leased", task.name, now())
      if not tonumber(keeps) then
        queue:delete_tasks(task)
        note("deleted", task.name)
      end
    end
    processes.sleep(0.01)
  end
end

-- Deferred calls of "spec.note" say that they begin, take as long as they are told, and say that they end.
local function register_note()
  require("pipeline.deferred").register("spec.note", function(what, seconds)
    note("begin", what)
    if seconds then engine:sleep(seconds) end
    note("end", what)
    return what
  end)
end

-- The same, in one line for each end of it; what begins with "slow" is slow, and of the others one in `every`.
function roles.limited(every)
  local asleep = 0
  require("pipeline.deferred").register("spec.limited", function(what)
    note("begin", what, now())
    asleep = (asleep + 1) % math.tointeger(tonumber(every))
    if what:find("^slow") then
      engine:sleep(0.1)
    elseif asleep == 0 then
      engine:sleep(0.002)
    end
    note("end", what, now())
  end)
  engine:run()
end

function roles.deferred()
  register_note()
  engine:run()
end

-- Executes only what is pushed to it.
function roles.start_handler()
  register_note()
  note("port", engine:serve({ port = 0, admin_token = "of-the-spec" }).port)
  engine:run()
end

-- Holds the file with a transaction for some seconds, without coming back to the loop.
function roles.start_hold(seconds)
  wait_for_go()
  engine:transaction(function(tx)
    tx:execute("CREATE TABLE held (x)")
    note("held", now())
    processes.sleep(tonumber(seconds))
  end)
  note("let_go", now())
end

-- Holds the file again and again, with hardly a moment between two transactions.
function roles.start_greedy(seconds, hold)
  local till = engine:now() + tonumber(seconds)
  while engine:now() < till do
    engine:transaction(function(tx)
      tx:execute("CREATE TABLE IF NOT EXISTS greedy (x)")
      processes.sleep(tonumber(hold))
    end)
    note("let_go")
  end
end

-- Transactions without end: of each number from `first` on a row, a task and a pipeline. Every second one is given up.
function roles.start_rows(first)
  local taskqueue = require "pipeline.taskqueue"
  for n = math.tointeger(tonumber(first)), math.huge do
    local ok = pcall(engine.transaction, engine, function(tx)
      tx:execute("CREATE TABLE IF NOT EXISTS row (n INTEGER PRIMARY KEY)")
      taskqueue.Queue("rows"):add(taskqueue.Task { method = "PULL", name = "t" .. n, payload = ("x"):rep(2000) })
      classes.Give(n):start { idempotence_key = "n" .. n }
      tx:execute("INSERT INTO row VALUES (?)", n)
      if n % 2 == 0 then error("given up") end
    end)
    if ok then note("row", n) end
  end
end

-- Calls that a signal ends: which error they raise.
local function interrupted(fn, ...)
  local ok, problem = pcall(fn, ...)
  note("raised", ok and "nothing" or type(problem) == "table" and problem.class or problem)
end

function roles.drain() interrupted(engine.drain, engine) end

function roles.wait(id) interrupted(engine.wait, engine, id) end

function roles.sleep() interrupted(engine.sleep, engine, 60) end

function roles.await()
  interrupted(function() require("pipeline.tasklets").sleep(60):wait() end)
end

-- Executes tasks, and has a child that tries to use the engine and then does nothing for a minute.
function roles.work_forked(directory)
  local forking = assert(package.loadlib(directory .. "/forking.so", "luaopen_forking"))()
  local child = forking.fork()
  if child == 0 then
    local _, problem = pcall(engine.status, engine)
    note("refused", (tostring(problem):gsub("\n", " ")))
    processes.sleep(60)
    os.exit(0, false)
  end
  note("forked", child)
  engine:run()
end

function roles.work_with_grace(seconds)
  engine:close()
  engine = pipeline.open(path, {
    stop_grace = tonumber(seconds), log = function(level, text) note("log", level, text) end,
  })
  engine:run()
  note("returned")
end

-- Has a handler of its own, by luv: it hears what the engine hears, and goes on hearing afterwards.
function roles.signals_luv()
  local uv = require "luv"
  local heard = 0
  local handle = uv.new_signal()
  handle:start("sigint", function()
    heard = heard + 1
    note("heard", heard)
  end)
  note("listening")
  engine:run()
  note("returned")
  while heard < 2 do uv.run("once") end
end

note("ready", now())
roles[role](table.unpack(arg, 6))
engine:close()
note("closed")
