--- tasks.lua: the work of queues in the crash run: queues, tasks of every kind, who executes them, who disturbs them.
-- Loaded by every process; what the lines of the log mean for the invariants is in ledger.lua.
--
--   opened|time                              a process opens the store
--   will|key|queue|behaviour|name            about to be added (name: only one that was chosen)
--   added|key|name|time                      the addition was acknowledged
--   refused|key|class                        the name is taken, or the queue is gone
--   do|key|queue|worker|target|time          an execution begins (target: the process that was asked, or -)
--   did|key|worker|target|ok or fail|time    it ends and is to be answered
--   unsigned|key|worker                      a request is not good, or not any more
--   stale|worker|name                        the end of the unnamed task of this name was refused
--   willdrop|queue|pid, dropped|queue|pid    about to lose tasks on purpose; and this is over
--   willdelete|name|pid, diddelete|name|pid  the same for those of a name
--   leased|key|pid|from|until                a lease; willmodify|key|pid, modified|key|pid|from|until: it moves
--   handled|key|pid|time                     about to be deleted by who leased it; deleted|key|true or false|time
--   willsell|key, sold|key, unsold|key       a transaction of rows and tasks: begins, committed, undone on purpose
--   dead|name|queue|class|tries, stats|queue|tasks|in flight|executed|dead: at the end
--
-- A key is that of one addition; names are shared. Behaviours: ok, slow, long, flaky (fails now and then), large (its
-- payload does not fit in a task), hopeless (fails until it is dead).

local deferred = require "pipeline.deferred"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local classes = require "spec.crash.classes"
local library = require "spec.clocks.library"
local plan = require "spec.crash.plan"
local processes = require "spec.crash.processes"
local rows = require "spec.crash.rows"

local Queue, Task = taskqueue.Queue, taskqueue.Task

local tasks = {}

-- Here workers die all the time, and no task is at fault.
local RETRY = { min_backoff_seconds = 0.01, max_backoff_seconds = 0.05, max_losses = 10000 }
local HOPELESS = { task_retry_limit = 2, min_backoff_seconds = 0.001, max_backoff_seconds = 0.01, max_losses = 10000 }

-- How long an execution may take.
local SECONDS = { slow = 0.04, long = 0.25 }

--- What the queues allow, for ledger.lua.
tasks.rules = {
  limits = { strict = 2, narrow = 3 },
  rates = { rated = { rate = 400, bucket = 5 } },
}

tasks.queues = {
  work = { retry_parameters = RETRY },
  strict = { retry_parameters = RETRY, max_concurrent_requests = tasks.rules.limits.strict },
  narrow = { retry_parameters = RETRY, max_concurrent_requests = tasks.rules.limits.narrow },
  rated = { retry_parameters = RETRY, rate = "400/s", bucket_size = 5 },
  scrap = { retry_parameters = RETRY },
  orders = { retry_parameters = RETRY },
  pull = { mode = "pull" },
}

local note = classes.note

local function now()
  return ("%.6f"):format(processes.now())
end

-- ---- executing -------------------------------------------------------------------------------------------------

local function is_to_fail(behaviour)
  return behaviour == "hopeless" or behaviour == "flaky" and math.random(3) == 1
end

--- One execution; returns whether it is a success.
function tasks.perform(key, queue, behaviour, worker, target)
  note("do", key, queue, worker, target, now())
  local seconds = SECONDS[behaviour]
  if seconds then pipeline.default():sleep(math.random() * seconds) end
  local failed = is_to_fail(behaviour)
  if not failed then rows.done(pipeline.default(), key) end
  note("did", key, worker, target, failed and "fail" or "ok", now())
  return not failed
end

local function blob(size)
  return ("0123456789abcdef"):rep(size // 16)
end

--- The deferred function. `bytes` must come as it went.
function tasks.call(key, queue, behaviour, size, bytes)
  if bytes ~= blob(size) then note("log", 50, "the arguments of " .. key .. " are not what they were") end
  if not tasks.perform(key, queue, behaviour, classes.pid, "-") then error("it fails, as intended", 0) end
end
deferred.register("crash.call", tasks.call)

--- A route handler: in the process that holds the claim (target "-"), or in another one.
function tasks.handle(request)
  local worker = request.path:match("^/w(%d+)/")
  local params, headers = request.params, request.headers
  if not request.is_task then
    note("unsigned", params.key, worker or classes.pid)
    return 403
  end
  local ok = tasks.perform(params.key, headers["x-appengine-queuename"], params.behaviour, worker or classes.pid,
    worker and classes.pid or "-")
  return ok and 204 or 500
end

-- ---- adding ----------------------------------------------------------------------------------------------------

local function retry_options(behaviour)
  return behaviour == "hopeless" and taskqueue.TaskRetryOptions(HOPELESS) or nil
end

local function form(item, key)
  local given = { name = item.name, countdown = item.countdown, retry_options = retry_options(item.behaviour) }
  if item.kind == "pull" then
    given.method, given.payload, given.tag = "PULL", key, item.tag
    if item.behaviour == "large" then given.payload = key .. "|" .. blob(item.size) end
  else
    given.url = item.kind == "remote" and "/remote" or "/local"
    local size = item.behaviour == "large" and item.size or 0
    given.params = { key = key, behaviour = item.behaviour, filler = blob(size) }
  end
  return given
end

--- Adds a task, transactionally inside a run; returns it.
function tasks.add(item, key, transactional)
  if item.kind ~= "defer" then
    return Queue(item.queue):add(Task(form(item, key)), { transactional = transactional })
  end
  local size = item.behaviour == "large" and item.size or 0
  return deferred.with {
    name = item.name, countdown = item.countdown, queue = item.queue, retry_options = retry_options(item.behaviour),
    transactional = transactional,
  }("crash.call", key, item.queue, item.behaviour, size, blob(size))
end

local function is_refusal(item, problem)
  return item.name and (pipeline.is(problem, taskqueue.TaskAlreadyExistsError) or
    pipeline.is(problem, taskqueue.TombstonedTaskError)) or
    item.queue == "scrap" and pipeline.is(problem, taskqueue.UnknownQueueError)
end

local function note_will(item)
  local key = ("%s.%d"):format(item.key, classes.pid)
  note("will", key, item.queue, item.behaviour, item.name or "")
  return key
end

local function note_outcome(item, key, ok, task, problem)
  if ok then
    note("added", key, task.name, now())
  elseif is_refusal(item, problem) then
    note("refused", key, tostring(problem):match("^%w+"))
  else
    error(problem, 0)
  end
end

--- Adds a task of a plan and says so before and after.
function tasks.add_noted(item)
  local key = note_will(item)
  local ok, task = pcall(tasks.add, item, key)
  note_outcome(item, key, ok, task, task)
end

--- Adds tasks of a plan in one call: those for `queue`, but for deferred calls, with names of their own. Each stands
-- alone.
function tasks.add_list_noted(queue, list)
  local items, keys, added, seen = {}, {}, {}, {}
  for _, item in ipairs(list) do
    if item.queue == queue and item.kind ~= "defer" and not seen[item.name or item] then
      seen[item.name or item] = true
      local i = #items + 1
      items[i], keys[i] = item, note_will(item)
      added[i] = Task(form(item, keys[i]))
    end
  end
  local _, problem = pcall(Queue(queue).add, Queue(queue), added)
  for i, item in ipairs(items) do note_outcome(item, keys[i], added[i].was_enqueued, added[i], problem) end
end

-- ---- rows and tasks together -----------------------------------------------------------------------------------

local SELL_SECONDS = 0.01

local function sell(item, key, sleep)
  note("willsell", key)
  local i = 0
  local ok, problem = pcall(rows.sell, pipeline.default(), key, item.items, function(name)
    i = i + 1
    tasks.add({ queue = "orders", name = name, kind = plan.kind_of_item(i), behaviour = "slow", size = 0 }, name)
    if math.random(5) == 1 then sleep(math.random() * SELL_SECONDS) end
  end, item.fails and function() error("undone, as intended", 0) end)
  if not ok and problem ~= "undone, as intended" then error(problem, 0) end
  note(ok and "sold" or "unsold", key)
end

--- Sells an order of a plan: here, where a commit blocks.
function tasks.sell_noted(item, sleep)
  sell(item, ("%s_%d"):format(item.key, classes.pid), sleep)
end

--- The same in a deferred call, which may be executed again.
function tasks.sell_later(item)
  sell(item, item.key, function(seconds) pipeline.default():sleep(seconds) end)
end
deferred.register("crash.sell", tasks.sell_later)

-- ---- disturbing ------------------------------------------------------------------------------------------------

local function quietly(class, fn, ...)
  local ok, problem = pcall(fn, ...)
  if not ok and not pipeline.is(problem, class) then error(problem, 0) end
  return ok and problem
end

local function pause(work_a_little)
  local queue = Queue(({ "strict", "narrow", "rated", "pull", "work", "orders" })[math.random(6)])
  queue:pause()
  work_a_little()
  queue:resume()
end

local function reconfigure()
  taskqueue.configure { narrow = { retry_parameters = RETRY,
    max_concurrent_requests = math.random(tasks.rules.limits.narrow) } }
end

local function purge()
  note("willdrop", "scrap", classes.pid)
  quietly(taskqueue.UnknownQueueError, Queue("scrap").purge, Queue "scrap")
  note("dropped", "scrap", classes.pid)
end

local function remove(work_a_little)
  note("willdrop", "scrap", classes.pid)
  taskqueue.configure { scrap = false }
  note("dropped", "scrap", classes.pid)
  work_a_little()
  taskqueue.configure { scrap = tasks.queues.scrap }
end

local function revive()
  local queue = Queue(({ "work", "pull" })[math.random(2)])
  if math.random(2) == 1 then return queue:revive() end
  quietly(taskqueue.Error, queue.revive, queue, (queue:dead_tasks { count = 3 })) -- somebody else may be faster
end

local function delete(_, list)
  local item = list[math.random(#list)]
  if not item or not item.name or item.queue ~= "work" then return end
  note("willdelete", item.name, classes.pid)
  Queue("work"):delete_tasks_by_name(item.name)
  note("diddelete", item.name, classes.pid)
end

local disturbances = { pause, reconfigure, purge, remove, revive, delete }

--- Does something to the queues; `list`: tasks of the plan.
function tasks.disturb(work_a_little, list)
  disturbances[math.random(#disturbances)](work_a_little, list)
end

--- Lets all queues go on that a process has paused and not lived to resume.
function tasks.resume_all()
  for name in pairs(tasks.queues) do quietly(taskqueue.UnknownQueueError, Queue(name).resume, Queue(name)) end
end

-- ---- pulling ---------------------------------------------------------------------------------------------------

local function key_of(task)
  return task.payload:match("^[^|]*")
end

local ends = setmetatable({}, { __mode = "k" }) -- task -> when its lease is over, in true time

local function time_of(seconds)
  return ("%.6f"):format(seconds)
end

-- Times of leases in true time, though somebody sets the clock: `ahead` is how much the clock was ahead, and what the
-- true time was, before the call that gave a time of the engine.
local function look() return { shift = library.shift(), now = processes.now() } end

local function true_time(time, before)
  local early = time - before.shift
  local is_so = early >= before.now - 0.5 and early <= processes.now() + 0.5
  return is_so and early or time - library.shift()
end

local function lease(queue, seconds, max)
  local tag = ({ false, "a", "b", "" })[math.random(4)]
  local list
  local before = look()
  if tag then list = queue:lease_tasks_by_tag(seconds, max, tag) else list = queue:lease_tasks(seconds, max) end
  for _, task in ipairs(list) do
    local from = true_time(task.eta - seconds, before)
    note("leased", key_of(task), classes.pid, time_of(from), time_of(from + seconds))
    ends[task] = from + seconds
  end
  return list
end

local function modify(queue, task)
  local seconds = math.random(2) == 1 and 0 or math.random() * 0.2
  note("willmodify", key_of(task), classes.pid)
  local before = look()
  local ok, problem = pcall(queue.modify_task_lease, queue, task, seconds)
  if ok then
    local from = true_time(task.eta - seconds, before)
    note("modified", key_of(task), classes.pid, time_of(from), time_of(from + seconds))
    ends[task] = from + seconds
  elseif not (pipeline.is(problem, taskqueue.TaskLeaseExpiredError) or
    pipeline.is(problem, taskqueue.QueuePausedError) or pipeline.is(problem, taskqueue.TombstonedTaskError)) then
    error(problem, 0)
  end
  return ok and seconds > 0
end

local function handle(queue, task)
  note("handled", key_of(task), classes.pid, now())
  rows.done(pipeline.default(), key_of(task))
  queue:delete_tasks(task)
  note("deleted", key_of(task), tostring(task.was_deleted), now())
end

local function is_hopeless(task)
  return task.retry_options and task.retry_options.task_retry_limit ~= nil
end

local function pull_one(queue, task)
  local chance = math.random(10)
  local keeps = chance ~= 1 and (chance > 3 or modify(queue, task))
  if keeps and not is_hopeless(task) and processes.now() < ends[task] then handle(queue, task) end
end

--- Leases tasks for ever; some leases run out, some move, some tasks are handled and deleted.
function tasks.pull(sleep)
  local queue = Queue "pull"
  while true do
    for _, task in ipairs(lease(queue, 0.03 + math.random() * 0.15, math.random(5))) do
      if math.random(3) == 1 then sleep(math.random() * 0.02) end
      pull_one(queue, task)
    end
    sleep(math.random() * 0.02)
  end
end

--- Works off what is left of the pull queue.
function tasks.pull_rest(sleep)
  local queue = Queue "pull"
  while queue:fetch_statistics().tasks > 0 do
    for _, task in ipairs(queue:lease_tasks(0.01, 100)) do
      if not is_hopeless(task) then handle(queue, task) end
    end
    sleep(0.01)
  end
end

-- ---- at the end ------------------------------------------------------------------------------------------------

local function tell_dead(queue)
  local cursor
  repeat
    local list
    list, cursor = queue:dead_tasks { count = 3, cursor = cursor }
    for _, task in ipairs(list) do
      note("dead", task.name, queue.name, task.error_class or "?", task.retry_count)
    end
  until not cursor
end

--- Says what the dead-letter lists and the statistics say.
function tasks.tell()
  for name in pairs(tasks.queues) do
    tell_dead(Queue(name))
    local found = Queue(name):fetch_statistics()
    note("stats", name, found.tasks, found.in_flight, found.executed_last_minute, found.dead_tasks)
  end
end

return tasks
