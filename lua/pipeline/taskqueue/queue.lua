--- queue.lua: queues as programs use them: adding, leasing, deleting, statistics, dead letters.
--
-- A queue object is only a name. What it does is done on the engine of the running task, else on the default engine;
-- but tasks that are in a store are dealt with there.

local batch = require "pipeline.taskqueue.batch"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local queue_async = require "pipeline.taskqueue.async"
local queue_errors = require "pipeline.taskqueue.errors"
local queue_settings = require "pipeline.taskqueue.settings"
local queue_task = require "pipeline.taskqueue.task"
local stage_task = require "pipeline.workflow.task"
local place = require "pipeline.support.place"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local classes = queue_errors.classes
local was_added, was_not_added, raise_worst = batch.was_added, batch.was_not_added, batch.raise_worst
local type, ipairs, rawget, getmetatable = type, ipairs, rawget, getmetatable

local queue = {
  MAX_QUEUE_NAME_LENGTH = queue_settings.MAX_NAME_LENGTH,
  MAX_TASKS_PER_ADD = batch.MAX_TASKS,
  MAX_TASKS_PER_LEASE = 1000,
  MAX_LEASE_SECONDS = 604800,
  DEFAULT_BUCKET_SIZE = queue_settings.DEFAULT_BUCKET_SIZE,
  parse_rate = queue_settings.parse_rate,
  parse_age = queue_settings.parse_age,
  parse_limit = queue_settings.parse_limit,
  parse = queue_settings.parse,
}

local Queue = {}
local queue_meta = { __name = "pipeline.Queue", __index = Queue }

function queue_meta.__eq(a, b)
  return a.name == b.name
end

function queue_meta.__tostring(self)
  return ("Queue(%q)"):format(self.name)
end

--- A queue by name ("default" if none is given). Raises InvalidQueueNameError. In App Engine: taskqueue.Queue.
function queue.Queue(name)
  if name == nil then name = "default" end
  return setmetatable({ name = queue_settings.check_name(name) }, queue_meta)
end

queue_task.set_queue(queue.Queue)

local function store_of(only_reads)
  local engine = current.engine()
  return current.store(engine, only_reads), engine
end

-- Passes on what the store says of a queue, or raises.
local function check(subject, result, code, message)
  if result == nil and code then queue_errors.raise(code, message, tostring(subject)) end
  return result, code
end

-- ---- adding ----------------------------------------------------------------------------------------------------

local add_kinds = { transactional = "boolean", deadline = "number" }

-- Changes settings of queues in the store. Returns a result for each.
local function set_queues(what, store, list, patch)
  local tx = current.transaction()
  if tx then tx:_forget_queues() end
  return check(what, store:queue_set(list, patch))
end

-- The one queue that comes into being when it is first used (Q43).
local function make_cron(store, name)
  if name == "__cron" then set_queues("__cron", store, { { name = name } }, true) end
end

-- Whether the call has a deadline: then it is the same as waiting for its _async variant.
local function has_deadline(given, what)
  return queue_async.check_deadline(given.deadline, what) ~= nil
end

-- Adds what has been checked and marks it as added.
local function send(self, engine, store, list, forms, urls, names)
  local results = check(self, store:task_add(forms, false))
  for i, task in ipairs(list) do
    if results[i] == "OK" then was_added(task, forms[i].id, urls[i], names[i], self.name, engine) end
  end
  raise_worst(self, list, results)
end

-- Adds a list of tasks of which nothing is said that takes a table. Returns whether it is that; then it is done.
local function send_batch(self, engine, store, list)
  for i = 1, #list do
    if not queue_task.is_gathered(list[i]) then return false end
  end
  local name = self.name
  local gathered, code, message = store:batch()
  if not gathered then queue_errors.raise(code, message, tostring(self)) end
  local ids, urls, names = {}, {}, {}
  for i = 1, #list do
    local why
    urls[i], ids[i], names[i], why = queue_task.gather(list[i], gathered, name)
    if not ids[i] then queue_errors.raise(names[i], why, tostring(self)) end
  end
  local results = check(self, gathered:send())
  local all = true
  for i = 1, #list do
    if results[i] == "OK" then was_added(list[i], ids[i], urls[i], names[i], name, engine) else all = false end
  end
  if not all then raise_worst(self, list, results) end
  return true
end

-- Adds to the transaction `tx`: all of the list, or none. What the store cannot refuse is sent when something else is
-- asked of it, or with the end of the transaction.
local function send_in(self, tx, store, list, forms, urls, names)
  local name, pull = self.name, list[1].method == "PULL"
  if tx:_takes_all(name, pull) and not batch.is_any_named(forms) then
    if check(self, store:tasks_gather(forms)) then check(self, store:settle()) end
  else
    local results = check(self, store:task_add(forms, true))
    if batch.worst(list, results) then
      for i, result in ipairs(results) do
        if result == "OK" then results[i] = "ESKIPPED" end
      end
      raise_worst(self, list, results)
    end
    if not forms[1].stage then tx:_took(name, pull) end
  end
  for i, task in ipairs(list) do
    tx:_if_lost(was_not_added, task, rawget(task, "name"), rawget(task, "_engine"))
    was_added(task, forms[i].id, urls[i], names[i], name, tx._engine)
  end
end

-- The commonest call in a transaction: one task, without anything that the store could refuse. Returns whether it is
-- that; then it is done.
local function gather_one(self, tx, task)
  local name, pull = self.name, task.method == "PULL"
  if task.was_enqueued or rawget(task, "_engine") or not tx:_takes_all(name, pull) or
    not queue_task.is_gathered(task) then
    return false
  end
  local session = tx._session
  local url, id, known_as, is_much = queue_task.gather(task, session, name)
  if not id then queue_errors.raise(known_as, is_much, tostring(self)) end
  tx:_if_lost(was_not_added, task)
  was_added(task, id, url, known_as, name, tx._engine)
  if is_much then check(self, session:settle()) end
  return true
end

-- The commonest call outside: one task that was in no store yet. Returns whether it is that; then it is done.
local function add_one(self, task)
  if task.was_enqueued or rawget(task, "_engine") or self.name == "__cron" then return false end
  local engine = current.engine()
  local store = current.store(engine)
  local form, url, known_as = queue_task.form(task, store, self.name)
  local results = check(self, store:task_add({ form }, false))
  if results[1] ~= "OK" then raise_worst(self, { task }, results) end
  was_added(task, form.id, url, known_as, self.name, engine)
  return true
end

--- Adds a task or a list of tasks (at most 100, or what max_tasks_per_add of pipeline.open allows).
-- Each task of a list stands alone: what can be added is added and has was_enqueued; then one error is raised for the
-- others, whose `results` has a code for each task. An unnamed task gets a name.
-- Inside engine:transaction the list is added all or none, with the transaction, unless transactional = false: then
-- by itself when the transaction has ended. There tasks without names do not wait for the store: should it fail to take
-- them (the disk is full), the transaction is undone, and its next statement or its commit raises that.
-- @param tasks a task, or a list; nil is an empty list.
-- @tparam[opt] table given transactional = true inside a run: added when, and only if, the attempt succeeds; deadline:
--   how many seconds it may take (default: any; after that it raises TimeoutError, and the tasks may be added or not).
-- @return what was given. Raises TooManyTasksError, DuplicateTaskNameError, BadTaskStateError (added before),
-- InvalidDeadlineError, TransientError (the file has reached its total_storage_limit), InvalidTaskError (push and pull
-- mixed), InvalidQueueModeError, UnknownQueueError, TaskAlreadyExistsError, TombstonedTaskError,
-- BadTransactionStateError. In App Engine: Queue.add.
function Queue.add(self, tasks, given)
  local tx = current.transaction()
  if given == nil and queue_task.is(tasks) then
    local done
    if tx then done = tx:_is_open() and gather_one(self, tx, tasks) else done = add_one(self, tasks) end
    if done then return tasks end
  end
  given = options.check(given, add_kinds, 2, "add")
  if has_deadline(given, "add") then
    return self:add_async(tasks, { transactional = given.transactional, deadline = given.deadline }):get_result()
  end
  if tasks == nil then return {} end
  local list = batch.list_of(tasks, "add")
  if #list == 0 then return tasks end
  batch.check(list)
  local engine = batch.engine_of(list, "add")
  local takes
  tx, takes = current.route(engine, given.transactional, "add")
  local transaction = given.transactional and not tx and stage_task.gathered("add", engine) or nil
  local store = current.store(engine)
  if takes or not tx then make_cron(store, self.name) end
  if not tx and not transaction and list[2] and send_batch(self, engine, store, list) then return tasks end
  local forms, urls, names = {}, {}, {}
  for i, task in ipairs(list) do forms[i], urls[i], names[i] = queue_task.form(task, store, self.name) end
  if transaction then
    table.move(forms, 1, #forms, #transaction + 1, transaction)
    for i, task in ipairs(list) do was_added(task, forms[i].id, urls[i], names[i], self.name, engine) end
    return tasks
  end
  if takes then
    send_in(self, tx, store, list, forms, urls, names)
  elseif tx then
    tx:_after(function()
      local later = current.store(engine)
      make_cron(later, self.name)
      send(self, engine, later, list, forms, urls, names)
    end)
  else
    send(self, engine, store, list, forms, urls, names)
  end
  return tasks
end

local module_add_kinds = { queue_name = true, transactional = true, deadline = true }

--- Makes a task and adds it: the options of Task, and queue_name, transactional and deadline. Returns the task.
-- In App Engine: taskqueue.add.
function queue.add(given)
  local own, rest = {}, {}
  if given ~= nil and type(given) ~= "table" then
    bad_type(1, "add", "table of options", given)
  end
  for key, value in pairs(given or {}) do
    if module_add_kinds[key] then own[key] = value else rest[key] = value end
  end
  return queue.Queue(own.queue_name):add(queue_task.new(rest), { transactional = own.transactional,
    deadline = own.deadline })
end

-- ---- leases ----------------------------------------------------------------------------------------------------

local function check_lease_seconds(seconds, what, position)
  if type(seconds) ~= "number" then
    bad_type(position, what, "number of seconds", seconds)
  end
  if not (seconds >= 0 and seconds <= queue.MAX_LEASE_SECONDS) then
    errors.raise(classes.InvalidLeaseTimeError, "%s: %g seconds are not from 0 to %d", what, seconds,
      queue.MAX_LEASE_SECONDS)
  end
end

local function check_max(max, limit, what)
  if type(max) ~= "number" then
    bad_type(2, what, "number of tasks", max)
  end
  local whole = math.tointeger(max)
  if not whole or whole < 1 or whole > limit then
    errors.raise(classes.InvalidMaxTasksError, "%s: %g tasks are not from 1 to %d", what, max, limit)
  end
  return whole
end

local deadline_kinds = { deadline = "number" }

local function lease(self, what, seconds, max, how)
  check_lease_seconds(seconds, what, 1)
  local store, engine = store_of()
  how.seconds, how.max = seconds, check_max(max, engine._max_tasks_per_lease, what)
  local records = check(self, store:lease(self.name, how))
  for i, record in ipairs(records) do records[i] = queue_task.of_record(store, record, engine) end
  return records
end

--- Leases tasks of a pull queue: those whose eta has passed, earliest first. Until the lease is over nobody else gets
-- them; then, unless they were deleted, somebody does.
-- @tparam number seconds 0 to 604800.
-- @tparam integer max 1 to 1000, or what max_tasks_per_lease of pipeline.open allows.
-- @tparam[opt] table given deadline (seconds; see add).
-- @return list of tasks, whose eta is the end of the lease and whose retry_count counts leases. A task that was leased
-- as often as its retry limits allow goes to the dead-letter list instead. Raises InvalidLeaseTimeError,
-- InvalidMaxTasksError, UnknownQueueError, InvalidQueueModeError. In App Engine: Queue.lease_tasks.
function Queue.lease_tasks(self, seconds, max, given)
  given = options.check(given, deadline_kinds, 3, "lease_tasks")
  if has_deadline(given, "lease_tasks") then return self:lease_tasks_async(seconds, max, given):get_result() end
  return lease(self, "lease_tasks", seconds, max, {})
end

--- As lease_tasks, but only tasks with `tag` ("": those without). Without a tag: those with the tag of the earliest.
-- In App Engine: Queue.lease_tasks_by_tag.
function Queue.lease_tasks_by_tag(self, seconds, max, tag, given)
  given = options.check(given, deadline_kinds, 4, "lease_tasks_by_tag")
  if has_deadline(given, "lease_tasks_by_tag") then
    return self:lease_tasks_by_tag_async(seconds, max, tag, given):get_result()
  end
  if tag ~= nil and type(tag) ~= "string" then
    bad_type(3, "lease_tasks_by_tag", "string", tag)
  end
  return lease(self, "lease_tasks_by_tag", seconds, max, { tag = tag, group = tag == nil })
end

local function check_task(task, what)
  if not queue_task.is(task) then
    bad_type(1, what, "task", task)
  end
  if not task.name then errors.raise(classes.BadTaskStateError, "%s: the task has no name", what) end
end

-- How the store is asked for a task of this name.
local function ref_of(store, name)
  return queue_task.auto_id(store, name) or name
end

--- Moves the end of the lease of a task to `seconds` from now; 0 gives it back. Returns the task, with its new eta.
-- Raises TaskLeaseExpiredError when the lease is over or somebody else's, TombstonedTaskError, UnknownTaskError,
-- QueuePausedError, InvalidQueueModeError, InvalidLeaseTimeError. In App Engine: Queue.modify_task_lease.
function Queue.modify_task_lease(self, task, seconds)
  check_task(task, "modify_task_lease")
  check_lease_seconds(seconds, "modify_task_lease", 2)
  local store = batch.store_of_tasks({ task }, "modify_task_lease")
  local eta, code, message = store:lease_modify(self.name, ref_of(store, task.name), math.max(task.eta, 0), seconds)
  if not eta then queue_errors.raise(code, message, tostring(task)) end
  task.eta = eta
  return task
end

-- ---- deleting --------------------------------------------------------------------------------------------------

local function delete(self, list)
  local store = batch.store_of_tasks(list, "delete_tasks")
  local refs = {}
  for i, task in ipairs(list) do refs[i] = ref_of(store, task.name) end
  local results = check(self, store:task_delete(self.name, refs))
  for i, task in ipairs(list) do task.was_deleted = results[i] == "OK" end
end

--- Deletes a task, or a list of tasks, by their names. was_deleted tells which were there to be deleted; the others are
-- no error. Returns what was given. Raises BadTaskStateError (no name, or deleted before), DuplicateTaskNameError,
-- UnknownQueueError, InvalidDeadlineError. `given`: deadline (see add). In App Engine: Queue.delete_tasks.
function Queue.delete_tasks(self, tasks, given)
  given = options.check(given, deadline_kinds, 2, "delete_tasks")
  if has_deadline(given, "delete_tasks") then return self:delete_tasks_async(tasks, given):get_result() end
  local list = batch.list_of(tasks, "delete_tasks")
  for _, task in ipairs(list) do
    if not task.name then errors.raise(classes.BadTaskStateError, "delete_tasks: a task has no name") end
    if task.was_deleted then errors.raise(classes.BadTaskStateError, "%s was already deleted", tostring(task)) end
  end
  batch.refuse_doubles(list, "delete_tasks")
  if #list > 0 then delete(self, list) end
  return tasks
end

local function is_string(value)
  return type(value) == "string"
end

--- Deletes tasks by name: returns a task for a name, a list of tasks for a list of names. In App Engine:
-- Queue.delete_tasks_by_name.
function Queue.delete_tasks_by_name(self, names)
  local single = type(names) == "string"
  if not single then
    options.check_list(names, is_string, 1, "delete_tasks_by_name", "name or list of names", "name")
  end
  local list = {}
  for i, name in ipairs(single and { names } or names) do
    list[i] = queue_task.new { name = name }
    if not list[i].name then errors.raise(classes.BadTaskStateError, "delete_tasks_by_name: an empty name") end
  end
  self:delete_tasks(list)
  return single and list[1] or list
end

local purge_kinds = { keep_names = "boolean" }

--- Deletes all tasks of the queue, but for its dead letters and what belongs to the life of pipelines. Their names stay
-- taken for a while, unless keep_names = false frees all names of the queue. Returns how many there were. In App
-- Engine: Queue.purge.
function Queue.purge(self, given)
  given = options.check(given, purge_kinds, 1, "purge")
  return (check(self, store_of():purge(self.name, given.keep_names == false)))
end

-- ---- statistics ------------------------------------------------------------------------------------------------

local QueueStatistics = {}
local statistics_meta = { __name = "pipeline.QueueStatistics" }

function statistics_meta.__eq(a, b)
  for _, name in ipairs { "queue", "tasks", "oldest_eta_usec", "executed_last_minute", "in_flight",
    "enforced_rate" } do
    if a[name] ~= b[name] then return false end
  end
  return true
end

function statistics_meta.__tostring(self)
  return ("QueueStatistics(%q, %d tasks)"):format(self.queue.name, self.tasks)
end

local function statistics_of(record)
  local self = { queue = queue.Queue(record.queue), tasks = record.tasks }
  if record.known then
    self.oldest_eta_usec = record.oldest_eta and math.tointeger((record.oldest_eta * 1e6 + 0.5) // 1)
    self.executed_last_minute, self.in_flight = record.executed_last_minute, record.in_flight
    self.enforced_rate, self.dead_tasks = record.enforced_rate, record.dead
  end
  return setmetatable(self, statistics_meta)
end

local function fetch(list)
  if #list == 0 then return {} end
  local names, kind = {}, type(list[1])
  for i, item in ipairs(list) do
    if type(item) ~= kind then bad_argument(1, "fetch", "names and queues are mixed") end
    names[i] = queue_settings.check_name(kind == "table" and item.name or item)
  end
  local records = check("fetch", store_of():queue_stats(names))
  for i, record in ipairs(records) do records[i] = statistics_of(record) end
  return records
end

local function is_queue_or_name(value)
  return type(value) == "string" or getmetatable(value) == queue_meta
end

--- Figures of queues, as they are in the store.
-- @param queues a queue or a name, or a list of either.
-- @tparam[opt] table given deadline (seconds; see Queue.add).
-- @return for one, and else a list of: queue, tasks (all but dead ones), oldest_eta_usec (of those that are due; nil:
-- none), executed_last_minute (started; of a pull queue: deleted), in_flight (being executed, or leased), enforced_rate
-- (per second; 0 while paused, nil without a limit), dead_tasks. Of an unknown queue tasks is 0, the rest nil.
-- In App Engine: QueueStatistics.fetch.
function QueueStatistics.fetch(queues, given)
  given = options.check(given, deadline_kinds, 2, "fetch")
  if has_deadline(given, "fetch") then return QueueStatistics.fetch_async(queues, given):get_result() end
  if type(queues) == "string" or getmetatable(queues) == queue_meta then return fetch({ queues })[1] end
  return fetch(options.check_list(queues, is_queue_or_name, 1, "fetch", "queue, name or list of either",
    "queue or name"))
end

queue.QueueStatistics = QueueStatistics

--- QueueStatistics.fetch of this queue.
function Queue.fetch_statistics(self, given)
  return QueueStatistics.fetch(self, given)
end

-- ---- without waiting -------------------------------------------------------------------------------------------

local async_kinds = { deadline = "number", rpc = "any" }
local add_async_kinds = { deadline = "number", rpc = "any", transactional = "boolean" }

--- As add, but returns at once: a future of what add returns or raises. `given` may also have rpc, a handle of
-- create_rpc, which is then what is returned. The same holds for all methods whose names end with _async. In App
-- Engine: Queue.add_async.
function Queue.add_async(self, tasks, given)
  given = options.check(given, add_async_kinds, 2, "add_async")
  local transactional = given.transactional
  return queue_async.start("add_async", given, transactional, Queue.add, self, tasks, { transactional = transactional })
end

--- As lease_tasks, but returns a future. In App Engine: Queue.lease_tasks_async.
function Queue.lease_tasks_async(self, seconds, max, given)
  given = options.check(given, async_kinds, 3, "lease_tasks_async")
  return queue_async.start("lease_tasks_async", given, false, Queue.lease_tasks, self, seconds, max)
end

--- As lease_tasks_by_tag, but returns a future. In App Engine: Queue.lease_tasks_by_tag_async.
function Queue.lease_tasks_by_tag_async(self, seconds, max, tag, given)
  given = options.check(given, async_kinds, 4, "lease_tasks_by_tag_async")
  return queue_async.start("lease_tasks_by_tag_async", given, false, Queue.lease_tasks_by_tag, self, seconds, max, tag)
end

--- As delete_tasks, but returns a future. In App Engine: Queue.delete_tasks_async.
function Queue.delete_tasks_async(self, tasks, given)
  given = options.check(given, async_kinds, 2, "delete_tasks_async")
  return queue_async.start("delete_tasks_async", given, false, Queue.delete_tasks, self, tasks)
end

--- As delete_tasks_by_name, but returns a future. In App Engine: Queue.delete_tasks_by_name_async.
function Queue.delete_tasks_by_name_async(self, names, given)
  given = options.check(given, async_kinds, 2, "delete_tasks_by_name_async")
  return queue_async.start("delete_tasks_by_name_async", given, false, Queue.delete_tasks_by_name, self, names)
end

--- As fetch, but returns a future. In App Engine: QueueStatistics.fetch_async.
function QueueStatistics.fetch_async(queues, given)
  given = options.check(given, async_kinds, 2, "fetch_async")
  return queue_async.start("fetch_async", given, false, QueueStatistics.fetch, queues)
end

--- As fetch_statistics, but returns a future. In App Engine: Queue.fetch_statistics_async.
function Queue.fetch_statistics_async(self, given)
  return QueueStatistics.fetch_async(self, given)
end

-- ---- dead letters ----------------------------------------------------------------------------------------------

local dead_kinds = { count = "count", cursor = "string" }

--- Tasks whose retries are used up, newest first.
-- @tparam[opt] table given count (50), cursor (as returned by the call before).
-- @return list of tasks with died (seconds since the epoch), error_class, message, traceback and status (of the last
-- answer, if there was one), and a cursor when there are more.
function Queue.dead_tasks(self, given)
  given = options.check(given, dead_kinds, 1, "dead_tasks")
  local store, engine = store_of()
  local before = given.cursor and math.tointeger(tonumber(given.cursor))
  local records, next_id = check(self, store:dead_list(self.name, { before = before, limit = given.count or 50 }))
  for i, record in ipairs(records) do
    local task = queue_task.of_record(store, record, engine)
    for _, name in ipairs { "died", "error_class", "message", "traceback", "status" } do task[name] = record[name] end
    task.was_enqueued = false
    records[i] = task
  end
  return records, next_id and tostring(next_id) or nil
end

local function ids_of(tasks, what)
  if tasks == nil then return nil end
  local ids = {}
  for i, task in ipairs(batch.list_of(tasks, what)) do
    if not task._id then errors.raise(classes.BadTaskStateError, "%s: %s is not in the store", what, tostring(task)) end
    ids[i] = task._id
  end
  return ids
end

--- Gives dead tasks another life, as if they had never been tried: a task or a list of dead_tasks, or all of the queue.
-- Returns how many were revived. Raises TaskAlreadyExistsError when a name has been taken meanwhile, UnknownTaskError
-- when a task is not in the list (any more); the others are revived all the same.
function Queue.revive(self, tasks)
  local ids = ids_of(tasks, "revive")
  local store = batch.store_of_tasks(tasks and batch.list_of(tasks, "revive"), "revive")
  local results = check(self, store:dead_revive(self.name, ids))
  if not ids then return results end
  local list, revived = batch.list_of(tasks, "revive"), 0
  for i, task in ipairs(list) do
    if results[i] == "OK" then task.was_enqueued, revived = true, revived + 1 end
  end
  raise_worst(self, list, results)
  return revived
end

--- Forgets dead tasks: a task or a list of dead_tasks, or all of the queue. Returns how many.
function Queue.purge_dead(self, tasks)
  local ids = ids_of(tasks, "purge_dead")
  local store = batch.store_of_tasks(tasks and batch.list_of(tasks, "purge_dead"), "purge_dead")
  return (check(self, store:dead_purge(self.name, ids)))
end

-- ---- settings --------------------------------------------------------------------------------------------------

--- Sends parsed settings to the store of an engine.
function queue.apply(store, list)
  if #list == 0 then return end
  local results = set_queues("configure", store, list, false)
  for i, settings in ipairs(list) do
    if results[i] == "ESTATE" then
      queue_settings.refuse(settings.name, "its mode cannot change while it has tasks")
    end
  end
end

--- Makes queues and sets their settings, for all processes on the file and at once: a table from the name of a queue to
-- its settings. Settings of a queue that are not given have their defaults again, but for `paused`, which stays; queues
-- that are not given stay as they are; `false` removes a queue with its tasks.
-- @tparam table queues mode ("push" or "pull"), rate ("5/s"; default: no limit) and bucket_size (how many may start at
--   once; default 5), max_concurrent_requests (default: no limit), target, retry_parameters (as TaskRetryOptions; a
--   task's own replace them one by one), paused.
-- Raises MalformedQueueConfiguration. In App Engine: queue.yaml.
function queue.configure(queues)
  if type(queues) ~= "table" then
    bad_type(1, "configure", "table of queues", queues)
  end
  local store, engine = store_of()
  queue.apply(store, queue.parse(queues, function(level, line) engine:_log(level, line) end))
  rawset(engine, "_known_queues", {})
end

local function set_paused(self, paused)
  local store = store_of()
  local known = check(self, store:queue_get(self.name))[1]
  if not known or known.removed then queue_errors.raise("ENOQUEUE", nil, tostring(self)) end
  set_queues(self, store, { { name = self.name, paused = paused } }, true)
end

--- Stops the queue in all processes: nothing of it starts, nothing is leased. What runs goes on.
function Queue.pause(self)
  set_paused(self, true)
end

--- Lets a paused queue go on.
function Queue.resume(self)
  set_paused(self, false)
end

--- The settings of the queue as they are stored: mode, paused, rate (per second), bucket_size, max_concurrent_requests,
-- target, retry_parameters. nil if there is no such queue.
function Queue.settings(self)
  local known = check(self, store_of():queue_get(self.name))[1]
  if not known or known.removed then return nil end
  return {
    mode = known.mode, paused = known.paused, rate = known.rate,
    bucket_size = known.bucket_size and math.tointeger(known.bucket_size),
    max_concurrent_requests = known.max_concurrent, target = known.target, retry_parameters = known.retry,
  }
end

options.methods(Queue, function(value) return getmetatable(value) == queue_meta end, "queue")

return queue
