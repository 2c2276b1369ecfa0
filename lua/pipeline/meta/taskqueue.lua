-- taskqueue.lua: queues, tasks, statistics, for editors (LuaLS); made from doc comments by `make reference`.
---@meta pipeline.taskqueue

---@class taskqueue
local taskqueue = {}

---@type pipeline.ErrorClass
taskqueue.BadTaskStateError = nil

---@type pipeline.ErrorClass
taskqueue.BadTransactionStateError = nil

---@type pipeline.ErrorClass
taskqueue.DatastoreError = nil

---@type pipeline.ErrorClass
taskqueue.DuplicateTaskNameError = nil

---@type pipeline.ErrorClass
taskqueue.Error = nil

---@type pipeline.ErrorClass
taskqueue.InternalError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidDeadlineError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidDispatchDeadlineError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidEtaError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidLeaseTimeError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidMaxTasksError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidQueueError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidQueueModeError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidQueueNameError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidTagError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidTaskError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidTaskNameError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidTaskRetryOptionsError = nil

---@type pipeline.ErrorClass
taskqueue.InvalidUrlError = nil

---@type number
taskqueue.MAX_DISPATCH_DEADLINE = nil

---@type integer
taskqueue.MAX_LEASE_SECONDS = nil

---@type integer
taskqueue.MAX_PULL_TASK_SIZE_BYTES = nil

---@type integer
taskqueue.MAX_PUSH_TASK_SIZE_BYTES = nil

---@type integer
taskqueue.MAX_QUEUE_NAME_LENGTH = nil

---@type integer
taskqueue.MAX_TAG_LENGTH = nil

---@type integer
taskqueue.MAX_TASKS_PER_ADD = nil

---@type integer
taskqueue.MAX_TASKS_PER_LEASE = nil

---@type integer
taskqueue.MAX_TASK_NAME_LENGTH = nil

---@type integer
taskqueue.MAX_URL_LENGTH = nil

---@type number
taskqueue.MIN_DISPATCH_DEADLINE = nil

---@type pipeline.ErrorClass
taskqueue.MalformedQueueConfiguration = nil

---@type pipeline.ErrorClass
taskqueue.PermissionDeniedError = nil

---@type pipeline.ErrorClass
taskqueue.QueuePausedError = nil

---@type taskqueue.QueueStatistics
taskqueue.QueueStatistics = nil

---@type pipeline.ErrorClass
taskqueue.TaskAlreadyExistsError = nil

---@type pipeline.ErrorClass
taskqueue.TaskLeaseExpiredError = nil

---@type pipeline.ErrorClass
taskqueue.TaskTooLargeError = nil

---@type pipeline.ErrorClass
taskqueue.TombstonedQueueError = nil

---@type pipeline.ErrorClass
taskqueue.TombstonedTaskError = nil

---@type pipeline.ErrorClass
taskqueue.TooManyTasksError = nil

---@type pipeline.ErrorClass
taskqueue.TransactionalRequestTooLargeError = nil

---@type pipeline.ErrorClass
taskqueue.TransientError = nil

---@type pipeline.ErrorClass
taskqueue.UnknownQueueError = nil

---@type pipeline.ErrorClass
taskqueue.UnknownTaskError = nil

--- A queue by name ("default" if none is given). Raises InvalidQueueNameError. In App Engine: taskqueue.Queue.
---@param name string
---@return taskqueue.Queue
function taskqueue.Queue(name) end

--- Makes a task.
---
--- `given`: url (relative, at most 2083 bytes of path; default "/_ah/queue/" and the name of the queue), method ("POST"
--- by default; "PULL" for a pull queue), params (name -> value or list of values: the body of a POST and of a PULL
--- task, else the query), payload (bytes, for POST, PUT and PULL), headers, name (1 to 500 of letters, digits, "_" and
--- "-"; a name is used once in its queue, and again only when its tombstone has expired: 9 days after the task is gone
--- unless the engine was opened with tombstone_seconds), countdown (seconds) or eta (seconds since the epoch, or a
--- table as of os.date("!*t")), target (a name of the `targets` of pipeline.open), tag (PULL, at most 500 bytes),
--- retry_options (TaskRetryOptions), dispatch_deadline (seconds, 15 to 86400: how long one try may take; default 600),
--- priority (higher first). Raises InvalidTaskError or a class below it, InvalidTagError, InvalidDispatchDeadlineError,
--- InvalidTaskRetryOptionsError. In App Engine: taskqueue.Task.
---@param given? table
---@return taskqueue.Task
function taskqueue.Task(given) end

---@class (exact) taskqueue.TaskRetryOptions.options
---@field max_backoff_seconds? number
---@field max_doublings? number
--- 5
---@field max_losses? integer
---@field min_backoff_seconds? number
--- seconds since the first try, rounded up; with both limits a task is retried while either allows it
---@field task_age_limit? number
--- retries after the first run; 0: none
---@field task_retry_limit? number

--- Makes retry options of a task; each field that is set replaces that of the queue.
---
--- `given`: min_backoff_seconds, max_backoff_seconds, max_doublings, task_retry_limit (retries after the first run; 0:
--- none), task_age_limit (seconds since the first try, rounded up; with both limits a task is retried while either
--- allows it). The delay before retry n is min_backoff_seconds, doubled max_doublings times, then growing by the same
--- step, up to max_backoff_seconds. max_losses (5): a try whose worker died so often in a row has failed. Raises
--- InvalidTaskRetryOptionsError.
---@param given? taskqueue.TaskRetryOptions.options
function taskqueue.TaskRetryOptions(given) end

---@class (exact) taskqueue.add.options
---@field deadline? any
---@field queue_name? any
---@field transactional? any

--- Makes a task and adds it: the options of Task, and queue_name, transactional and deadline. Returns the task. In App
--- Engine: taskqueue.add.
---@param given? taskqueue.add.options
---@return taskqueue.Task
function taskqueue.add(given) end

--- Makes queues and sets their settings, for all processes on the file and at once: a table from the name of a queue to
--- its settings. Settings of a queue that are not given have their defaults again, but for `paused`, which stays;
--- queues that are not given stay as they are; `false` removes a queue with its tasks.
---
--- `queues`: mode ("push" or "pull"), rate ("5/s"; default: no limit) and bucket_size (how many may start at once;
--- default 5), max_concurrent_requests (default: no limit), target, retry_parameters (as TaskRetryOptions; a task's own
--- replace them one by one), paused. Raises MalformedQueueConfiguration. In App Engine: queue.yaml.
---@param queues table
function taskqueue.configure(queues) end

---@class (exact) taskqueue.create_rpc.options
--- called, without arguments, when the call is over
---@field callback? function
--- seconds
---@field deadline? number

--- Makes a handle to pass to an _async call as its option `rpc`.
---
--- `given`: deadline (seconds), callback (called, without arguments, when the call is over).
---
--- Returns a future. Raises InvalidDeadlineError. In App Engine: taskqueue.create_rpc.
---@param given? taskqueue.create_rpc.options
---@return any
function taskqueue.create_rpc(given) end

--- Whether `value` is a task.
---@param value any
function taskqueue.is_task(value) end

--- Limits how far ahead an eta may be, in seconds; nil, the default: not at all. App Engine had 30 days.
---@param seconds number
function taskqueue.set_max_eta(seconds) end

---@class taskqueue.Queue
local Queue = {}

---@class (exact) taskqueue.Queue.add.options
---@field deadline? number
---@field transactional? boolean

--- Adds a task or a list of tasks (at most 100, or what max_tasks_per_add of pipeline.open allows). Each task of a list
--- stands alone: what can be added is added and has was_enqueued; then one error is raised for the others, whose
--- `results` has a code for each task. An unnamed task gets a name. Inside engine:transaction the list is added all or
--- none, with the transaction, unless transactional = false: then by itself when the transaction has ended. There tasks
--- without names do not wait for the store: should it fail to take them (the disk is full), the transaction is undone,
--- and its next statement or its commit raises that.
---
--- `given`: transactional = true inside a run: added when, and only if, the attempt succeeds; deadline: how many
--- seconds it may take (default: any; after that it raises TimeoutError, and the tasks may be added or not).
---
--- Returns what was given. Raises TooManyTasksError, DuplicateTaskNameError, BadTaskStateError (added before),
--- InvalidDeadlineError, TransientError (the file has reached its total_storage_limit), InvalidTaskError (push and pull
--- mixed), InvalidQueueModeError, UnknownQueueError, TaskAlreadyExistsError, TombstonedTaskError,
--- BadTransactionStateError. In App Engine: Queue.add.
---@param tasks taskqueue.Task|taskqueue.Task[] a task, or a list; nil is an empty list.
---@param given? taskqueue.Queue.add.options
---@return any
function Queue:add(tasks, given) end

---@class (exact) taskqueue.Queue.add_async.options
---@field deadline? number
---@field rpc? any
---@field transactional? boolean

--- As add, but returns at once: a future of what add returns or raises. `given` may also have rpc, a handle of
--- create_rpc, which is then what is returned. The same holds for all methods whose names end with _async. In App
--- Engine: Queue.add_async.
---@param tasks taskqueue.Task|taskqueue.Task[]
---@param given? taskqueue.Queue.add_async.options
function Queue:add_async(tasks, given) end

---@class (exact) taskqueue.Queue.dead_tasks.options
--- 50
---@field count? integer
--- as returned by the call before
---@field cursor? string

--- Tasks whose retries are used up, newest first.
---
--- Returns list of tasks with died (seconds since the epoch), error_class, message, traceback and status (of the last
--- answer, if there was one), and a cursor when there are more.
---@param given? taskqueue.Queue.dead_tasks.options count (50), cursor (as returned by the call before).
---@return taskqueue.Task[]
function Queue:dead_tasks(given) end

---@class (exact) taskqueue.Queue.delete_tasks.options
--- see add
---@field deadline? number

--- Deletes a task, or a list of tasks, by their names. was_deleted tells which were there to be deleted; the others are
--- no error. Returns what was given. Raises BadTaskStateError (no name, or deleted before), DuplicateTaskNameError,
--- UnknownQueueError, InvalidDeadlineError. `given`: deadline (see add). In App Engine: Queue.delete_tasks.
---@param tasks taskqueue.Task|taskqueue.Task[]
---@param given? taskqueue.Queue.delete_tasks.options
function Queue:delete_tasks(tasks, given) end

---@class (exact) taskqueue.Queue.delete_tasks_async.options
---@field deadline? number
---@field rpc? any

--- As delete_tasks, but returns a future. In App Engine: Queue.delete_tasks_async.
---@param tasks taskqueue.Task|taskqueue.Task[]
---@param given? taskqueue.Queue.delete_tasks_async.options
function Queue:delete_tasks_async(tasks, given) end

--- Deletes tasks by name: returns a task for a name, a list of tasks for a list of names. In App Engine:
--- Queue.delete_tasks_by_name.
---@param names any
function Queue:delete_tasks_by_name(names) end

---@class (exact) taskqueue.Queue.delete_tasks_by_name_async.options
---@field deadline? number
---@field rpc? any

--- As delete_tasks_by_name, but returns a future. In App Engine: Queue.delete_tasks_by_name_async.
---@param names any
---@param given? taskqueue.Queue.delete_tasks_by_name_async.options
function Queue:delete_tasks_by_name_async(names, given) end

--- QueueStatistics.fetch of this queue.
---@param given? table
---@return taskqueue.QueueStatistics
function Queue:fetch_statistics(given) end

--- As fetch_statistics, but returns a future. In App Engine: Queue.fetch_statistics_async.
---@param given? table
function Queue:fetch_statistics_async(given) end

---@class (exact) taskqueue.Queue.lease_tasks.options
--- seconds; see add
---@field deadline? number

--- Leases tasks of a pull queue: those whose eta has passed, earliest first. Until the lease is over nobody else gets
--- them; then, unless they were deleted, somebody does.
---
--- Returns list of tasks, whose eta is the end of the lease and whose retry_count counts leases. A task that was leased
--- as often as its retry limits allow goes to the dead-letter list instead. Raises InvalidLeaseTimeError,
--- InvalidMaxTasksError, UnknownQueueError, InvalidQueueModeError. In App Engine: Queue.lease_tasks.
---@param seconds number 0 to 604800.
---@param max integer 1 to 1000, or what max_tasks_per_lease of pipeline.open allows.
---@param given? taskqueue.Queue.lease_tasks.options deadline (seconds; see add).
---@return taskqueue.Task[]
function Queue:lease_tasks(seconds, max, given) end

---@class (exact) taskqueue.Queue.lease_tasks_async.options
---@field deadline? number
---@field rpc? any

--- As lease_tasks, but returns a future. In App Engine: Queue.lease_tasks_async.
---@param seconds number
---@param max any
---@param given? taskqueue.Queue.lease_tasks_async.options
function Queue:lease_tasks_async(seconds, max, given) end

---@class (exact) taskqueue.Queue.lease_tasks_by_tag.options
---@field deadline? number

--- As lease_tasks, but only tasks with `tag` ("": those without). Without a tag: those with the tag of the earliest. In
--- App Engine: Queue.lease_tasks_by_tag.
---@param seconds number
---@param max any
---@param tag any
---@param given? taskqueue.Queue.lease_tasks_by_tag.options
function Queue:lease_tasks_by_tag(seconds, max, tag, given) end

---@class (exact) taskqueue.Queue.lease_tasks_by_tag_async.options
---@field deadline? number
---@field rpc? any

--- As lease_tasks_by_tag, but returns a future. In App Engine: Queue.lease_tasks_by_tag_async.
---@param seconds number
---@param max any
---@param tag any
---@param given? taskqueue.Queue.lease_tasks_by_tag_async.options
function Queue:lease_tasks_by_tag_async(seconds, max, tag, given) end

--- Moves the end of the lease of a task to `seconds` from now; 0 gives it back. Returns the task, with its new eta.
--- Raises TaskLeaseExpiredError when the lease is over or somebody else's, TombstonedTaskError, UnknownTaskError,
--- QueuePausedError, InvalidQueueModeError, InvalidLeaseTimeError. In App Engine: Queue.modify_task_lease.
---@param task taskqueue.Task
---@param seconds number
function Queue:modify_task_lease(task, seconds) end

--- Stops the queue in all processes: nothing of it starts, nothing is leased. What runs goes on.
function Queue:pause() end

---@class (exact) taskqueue.Queue.purge.options
---@field keep_names? boolean

--- Deletes all tasks of the queue, but for its dead letters and what belongs to the life of pipelines. Their names stay
--- taken for a while, unless keep_names = false frees all names of the queue. Returns how many there were. In App
--- Engine: Queue.purge.
---@param given? taskqueue.Queue.purge.options
function Queue:purge(given) end

--- Forgets dead tasks: a task or a list of dead_tasks, or all of the queue. Returns how many.
---@param tasks taskqueue.Task|taskqueue.Task[]
function Queue:purge_dead(tasks) end

--- Lets a paused queue go on.
function Queue:resume() end

--- Gives dead tasks another life, as if they had never been tried: a task or a list of dead_tasks, or all of the queue.
--- Returns how many were revived. Raises TaskAlreadyExistsError when a name has been taken meanwhile, UnknownTaskError
--- when a task is not in the list (any more); the others are revived all the same.
---@param tasks taskqueue.Task|taskqueue.Task[]
function Queue:revive(tasks) end

--- The settings of the queue as they are stored: mode, paused, rate (per second), bucket_size, max_concurrent_requests,
--- target, retry_parameters. nil if there is no such queue.
function Queue:settings() end

---@class taskqueue.QueueStatistics
local QueueStatistics = {}

---@class (exact) taskqueue.QueueStatistics.fetch.options
--- seconds; see Queue.add
---@field deadline? number

--- Figures of queues, as they are in the store.
---
--- Returns for one, and else a list of: queue, tasks (all but dead ones), oldest_eta_usec (of those that are due; nil:
--- none), executed_last_minute (started; of a pull queue: deleted), in_flight (being executed, or leased),
--- enforced_rate (per second; 0 while paused, nil without a limit), dead_tasks. Of an unknown queue tasks is 0, the
--- rest nil. In App Engine: QueueStatistics.fetch.
---@param queues any a queue or a name, or a list of either.
---@param given? taskqueue.QueueStatistics.fetch.options deadline (seconds; see Queue.add).
---@return any
function QueueStatistics.fetch(queues, given) end

---@class (exact) taskqueue.QueueStatistics.fetch_async.options
---@field deadline? number
---@field rpc? any

--- As fetch, but returns a future. In App Engine: QueueStatistics.fetch_async.
---@param queues any
---@param given? taskqueue.QueueStatistics.fetch_async.options
function QueueStatistics.fetch_async(queues, given) end

---@class taskqueue.Task
local Task = {}

--- Adds the task to a queue (unless given: that of its pipeline if it is one of a pipeline, else "default"); see
--- Queue.add. The queue may also be named among the options: `task:add{ queue_name = "mail", transactional = true }`.
--- Returns the task. In App Engine: Task.add.
---@param queue_name string
---@param given? table
function Task:add(queue_name, given) end

--- As add, but returns a future; see Queue.add_async. In App Engine: Task.add_async.
---@param queue_name string
---@param given? table
function Task:add_async(queue_name, given) end

--- The parameters of the task, decoded: single ones as strings, repeated ones as lists. From the payload of POST and
--- PULL tasks, else from the query of the URL. Raises InvalidTaskError if they are malformed.
function Task:extract_params() end

return taskqueue
