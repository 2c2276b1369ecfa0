--- worker.lua: one process of the crash run, to be killed at any moment.
--
--   lua worker.lua work FILE LOG SEED BATCH NUMBER PORT START    starts and adds what a batch has, and works
--   lua worker.lua pull FILE LOG SEED BATCH NUMBER PORT START    leases, for ever
--   lua worker.lua target FILE LOG SEED BATCH NUMBER PORT START  answers push tasks at this port (0: any: it says it)
--   lua worker.lua drain FILE LOG SEED BATCHES 0 PORT START      works until nothing is left, then logs what came of it
--
-- START is the time at which the round began, by its clock.

local processes = require "spec.crash.processes"
local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local classes = require "spec.crash.classes"
local fires = require "spec.crash.fires"
local flows = require "spec.crash.flows"
local plan = require "spec.crash.plan"
local rows = require "spec.crash.rows"
local tasks = require "spec.crash.tasks"

local mode, path, log, seed, batch, number, port, start = table.unpack(arg)
seed, batch, number = math.tointeger(tonumber(seed)), math.tointeger(tonumber(batch)), tonumber(number)
start = math.tointeger(start)

classes.log, classes.pid = assert(io.open(log, "a")), processes.own_pid()
math.randomseed(seed + number, batch)

-- What the run does on purpose is no news: failing, and taking tasks from under those who execute them.
local expected = { "as intended", "no attempt succeeds", "after its tasks", "ESTALE", "has no retries left",
  "its try is over" }
local engine

-- The end of a task was refused, because its claim is another's now, or it is gone: ledger.lua knows whether that may
-- be.
local function note_stale(text)
  local id = text:match("the end of task (%d+) was refused: .*ESTALE")
  if id then classes.note("stale", classes.pid, "task-" .. engine._core:id_text(math.tointeger(id))) end
end

local function is_expected(text)
  for _, part in ipairs(expected) do
    if text:find(part, 1, true) then return true end
  end
end

classes.note("opened", ("%.6f"):format(processes.now()))
engine = pipeline.open(path, {
  durability = seed % 3 == 0 and "full" or "normal", concurrency = ({ 4, 64, 256 })[seed % 3 + 1],
  no_worker = mode == "pull" or mode == "target", queues = tasks.queues, lease_seconds = plan.LEASE_SECONDS,
  tombstone_seconds = plan.tombstone(seed), journal_retention = false, -- clocks jump by more than that
  targets = { default = ("http://127.0.0.1:%s/w%d"):format(port, classes.pid) },
  log = function(level, text)
    note_stale(text)
    if level >= 30 and not is_expected(text) then classes.note("log", level, (text:gsub("\n", " "))) end
  end,
})

rows.create(engine)
fires.listen(engine)

local function start_root(item)
  classes.start_once(item.key, classes[item.class](table.unpack(item.args)))
  if item.may_abort and math.random(3) == 1 then
    local stage = pipeline.from_id(item.key)
    if stage and stage:abort("by a worker") then classes.note("aborted", item.key) end
  end
end

local function work_a_little()
  local ok, problem = pcall(engine.drain, engine, { timeout = math.random() * 0.02 })
  if not ok and not pipeline.is(problem, pipeline.TimeoutError) then error(problem, 0) end
end

-- A run may hold a transaction when work_a_little is over, and only the loop can end it: what it is in the way of comes
-- after that.
local function do_one(thing)
  local ok, problem = pcall(thing)
  while not ok and tostring(problem):find("nothing can wait for its end", 1, true) do
    work_a_little()
    ok, problem = pcall(thing)
  end
  if not ok then error(problem, 0) end
end

-- What there is to do at the beginning of a batch, in an order of its own in each process.
local function things_to_do()
  local list, batch_tasks = { function() fires.declare(seed, batch, start) end }, plan.tasks(seed, batch)
  if math.random(4) == 1 then return list end -- it comes to work
  for _ = 1, 2 do list[#list + 1] = function() fires.disturb(work_a_little) end end
  list[#list + 1] = function() fires.pause(work_a_little) end
  for _, item in ipairs(plan.batch(seed, batch)) do list[#list + 1] = function() start_root(item) end end
  local bulk = math.random(2) == 1 and ({ "work", "strict", "pull" })[math.random(3)]
  for _, fn in ipairs(flows.things_to_do(engine, seed, batch)) do list[#list + 1] = fn end
  for _, item in ipairs(batch_tasks) do
    if item.queue ~= bulk or item.kind == "defer" then list[#list + 1] = function() tasks.add_noted(item) end end
  end
  for _, order in ipairs(plan.orders(seed, batch)) do
    list[#list + 1] = function()
      if order.later then return deferred.defer("crash.sell", order) end
      tasks.sell_noted(order, processes.sleep)
    end
  end
  if bulk then list[#list + 1] = function() tasks.add_list_noted(bulk, batch_tasks) end end
  for _ = 1, 2 do list[#list + 1] = function() tasks.disturb(work_a_little, batch_tasks) end end
  for i = #list, 2, -1 do
    local j = math.random(i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

-- A program may read its own files: the locks on them are not of the process.
local function visit()
  for _, suffix in ipairs { "", "-wal", "-shm" } do
    local file = io.open(path .. suffix, "rb")
    if file then file:close() end
  end
end

local roles = {}

local function take_routes()
  engine:route("POST", "/local", tasks.handle)
  engine:route("POST", "/fired", fires.handle)
end

function roles.work()
  take_routes()
  if math.random(2) == 1 then tasks.resume_all() end
  if math.random(2) == 1 then fires.resume_all() end
  for _, fn in ipairs(things_to_do()) do
    do_one(fn)
    if math.random(4) == 1 then visit() end
    if math.random(6) == 1 then work_a_little() end
  end
  engine:run()
end

function roles.pull()
  tasks.pull(processes.sleep)
end

function roles.target()
  engine:route("POST", "/*", tasks.handle)
  classes.note("port", engine:serve({ port = math.tointeger(tonumber(port)), admin_token = "of-the-run" }).port)
  engine:run()
end

local function result_of(key)
  local stage = pipeline.from_id(key)
  if not stage then return "missing" end
  if stage.was_aborted then return "aborted" end
  return tostring(stage.outputs.default.value)
end

local function tell_results()
  for cycle = 1, batch do
    for _, item in ipairs(plan.batch(seed, cycle)) do
      classes.note("result", item.key, result_of(item.key))
      for n = 1, item.class == "Starter" and item.args[2] or 0 do
        local key = item.key .. "-" .. n
        classes.note("result", key, result_of(key))
      end
    end
  end
end

function roles.drain()
  take_routes()
  tasks.resume_all()
  fires.finish(seed, batch, start, work_a_little)
  flows.finish(engine, seed, batch)
  engine:drain { delayed = true, timeout = 60 }
  tasks.pull_rest(processes.sleep)
  tasks.tell()
  tell_results()
  classes.note("drained")
end

visit()
roles[mode]()
engine:close()
