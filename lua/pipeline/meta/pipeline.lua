-- pipeline.lua: the module that users require, for editors (LuaLS); made from doc comments by `make reference`.
---@meta pipeline

---@class pipeline
local pipeline = {}

---@type pipeline.ErrorClass
pipeline.Abort = nil

---@type pipeline.ErrorClass
pipeline.AbortedError = nil

---@type pipeline.ErrorClass
pipeline.CancelledError = nil

---@type pipeline.ErrorClass
pipeline.ConfigurationError = nil

---@type pipeline.ErrorClass
pipeline.DeadlockError = nil

---@type pipeline.ErrorClass
pipeline.EOFError = nil

---@type pipeline.ErrorClass
pipeline.Error = nil

---@type pipeline.ErrorClass
pipeline.FetchError = nil

---@type pipeline.ErrorClass
pipeline.Interrupted = nil

---@type pipeline.ErrorClass
pipeline.LimitError = nil

---@type pipeline.ErrorClass
pipeline.MailError = nil

---@type pipeline.ErrorClass
pipeline.NondeterminismError = nil

---@type pipeline.ErrorClass
pipeline.NotInStepError = nil

---@type pipeline.ErrorClass
pipeline.NotYieldableError = nil

---@type table
pipeline.Pipeline = nil

---@type pipeline.ErrorClass
pipeline.PipelineExistsError = nil

---@type pipeline.ErrorClass
pipeline.PipelineRuntimeError = nil

---@type pipeline.ErrorClass
pipeline.PipelineSetupError = nil

---@type pipeline.ErrorClass
pipeline.PipelineStatusError = nil

---@type pipeline.ErrorClass
pipeline.PipelineUserError = nil

---@type pipeline.ErrorClass
pipeline.QueryError = nil

---@type pipeline.ErrorClass
pipeline.RequestError = nil

---@type pipeline.ErrorClass
pipeline.Retry = nil

---@type pipeline.ErrorClass
pipeline.SQLError = nil

---@type pipeline.ErrorClass
pipeline.SerializationError = nil

---@type pipeline.ErrorClass
pipeline.SlotNotDeclaredError = nil

---@type pipeline.ErrorClass
pipeline.SlotNotFilledError = nil

---@type pipeline.ErrorClass
pipeline.StepInterruptedError = nil

---@type pipeline.ErrorClass
pipeline.StoreError = nil

---@type pipeline.ErrorClass
pipeline.TaskletError = nil

---@type pipeline.ErrorClass
pipeline.TimeoutError = nil

---@type pipeline.ErrorClass
pipeline.TransactionError = nil

---@type pipeline.ErrorClass
pipeline.UnexpectedPipelineError = nil

---@type pipeline.ErrorClass
pipeline.UpdateRejectedError = nil

---@type pipeline.ErrorClass
pipeline.WorkerLostError = nil

---@type pipeline.ErrorClass
pipeline.WorkflowError = nil

---@type pipeline.Common
pipeline.common = nil

---@type string
pipeline.version = nil

--- Makes a slot that belongs to no pipeline yet. `name` is required.
---@param name string
function pipeline.Slot(name) end

--- Lets pipelines stored under an old class name find the class, or the module of classes, that has another name now.
--- Counts only where the old name leads nowhere: call it in every process that executes them. Raises ConfigurationError
--- if aliases would lead in a circle.
---@param old string the name in the store, such as "shop.Order", or a part of it up to a dot.
---@param new string where it leads.
function pipeline.alias(old, new) end

--- Whether the code of now goes with the journals of the durable functions that have not returned: for a spec, or
--- before new code is put to work. Nothing is written.
---
--- `of`: an engine, or the path of a store. @tparam[opt] table given class (a class or its path: this one alone), limit
--- (how many are replayed at most).
---
--- Returns list of { id, class, error }, empty where all is well; see NondeterminismError. Raises StoreError.
---@param of any
---@param given? table
---@return any
function pipeline.check_history(of, given) end

--- The default engine, or inside a task the engine that executes it. Raises ConfigurationError if none is open.
---@return pipeline.Engine
function pipeline.default() end

--- Defines a pipeline class under the name that the store keeps, such as "shop.Order".
---
--- `definition`: run (function(self, ...)), callback (function(self, params)), finalized (function(self)), try_cancel
--- (function(self) -> whether it may be aborted), run_test and finalized_test (used in tests instead), async (outputs
--- come from outside), output_names (list), public_callbacks (anybody may call back), admin_callbacks (administrators
--- may), max_attempts (3), backoff_seconds (15), backoff_factor (2), timeout (seconds of one attempt), max_losses (an
--- attempt whose worker died so often in a row has failed; default: as its queue says, else 5), target, queue_name,
--- extends (a class whose fields this one has, too), durable (run may wait: see pipeline.workflow). Other fields are
--- yours.
---
--- Returns the class; calling it makes an instance. The same name with an equal definition gives the same class. Raises
--- ConfigurationError, and UnexpectedPipelineError for an output called "default". In App Engine: a subclass of
--- pipeline.Pipeline.
---@param name string a worker finds the class by it: in the registry, else in the module before the last dot.
---@param definition table
---@return pipeline.Class
function pipeline.define(name, definition) end

--- Reads a pipeline back, of whatever class.
---
--- `given`: resolve_outputs (true; false: the outputs' values are not shown), engine (default: that of the running
--- task, else the default one).
---
--- Returns an instance of its class, or nil if there is none. Inputs not filled yet are slots in `args`.
---@param id string as `stage.id` gives it, or its idempotence key.
---@param given? table
---@return pipeline.Stage
function pipeline.from_id(id, given) end

--- The class paths of every class defined in this process, sorted, the library's own included. In App Engine:
--- pipeline.get_pipeline_names.
function pipeline.get_pipeline_names() end

--- The list of roots, newest first; options class_path, cursor, count (50). In App Engine: get_root_list.
---@param given? table
function pipeline.get_root_list(given) end

--- The status of a tree, by the id of any of its pipelines; without options the whole of it, of up to 5,000 stages.
---
--- `given`: asks for a page: parent (the id of a stage: it and what is below it), depth (levels below it, 0 and up),
--- limit (stages; 1000, at most 5000), cursor (of the page before). A page has `order` (ids), and `cursor` if more
--- follows; its entries have parentPipelineId and, with parent or depth, childCount. Beside `status`, which has the
--- words of App Engine, `state` of an entry tells what is so: "waiting" (with waitingFor, the keys of up to 100 slots
--- that are not filled), "delayed" (untilMs: for its eta, or the next attempt), "ready" (placeInQueue, from 1 and
--- counted up to 1,000: 1,001 is behind these; pausedQueue = true if the queue is paused or has rate 0), "executing"
--- (worker: "host:pid", and sinceMs, to the second), "open" (its run is committed: childrenOpen, and of an async
--- pipeline outputsOpen, how many), "finalizing", "aborting" (both with untilMs, placeInQueue, or worker and sinceMs of
--- their task), "done", "aborted". Raises PipelineStatusError: there is none, or it is larger than that. In App Engine:
--- get_status_tree.
---@param id string
---@param given? table
function pipeline.get_status_tree(id, given) end

--- Whether `object` is an error of `class` or of a class below it. Without `class`: whether it is one of this library.
--- A second argument that is no class (nil: a name that was misspelt) is refused: it would be true of every error.
---@param object any
---@param ... any
---@return boolean
function pipeline.is(object, ...) end

--- Whether `value` is a pipeline class.
---@param value any
---@return boolean
function pipeline.is_class(value) end

--- Whether `value` is the future of a pipeline: what self:spawn returns.
---@param value any
function pipeline.is_future(value) end

--- Whether `value` is a pipeline instance.
---@param value any
function pipeline.is_pipeline(value) end

--- Whether `value` is a slot: one output of a pipeline, or what pipeline.Slot makes.
---@param value any
function pipeline.is_slot(value) end

---@class (exact) pipeline.open.options
--- such as "https://shop.example.org": where people reach this program, for the links in mails; default: the URL of
--- serve
---@field base_url? string
--- seconds, default 10: the log tells of a body of a durable function that computes for longer without waiting
---@field block_warning? number
--- seconds until a tree whose class stays missing is aborted, default 7 days
---@field class_load_timeout? number
--- runs at work at once, default 64; one that waits is not at work
---@field concurrency? integer
--- "full" or "normal"
---@field durability? string
--- permissions of the files that are made, such as "640"; default "600": the file holds the secret that signs requests
---@field file_mode? any
--- true: os.time, os.clock, os.getenv, io.open and math.random raise in the body of a durable function, as they do in
--- tests
---@field guards? boolean
--- how long journals of durable functions are kept that are over, default { done = "7d", aborted = "30d" }, as
--- retention
---@field journal_retention? any
--- until others take over from a process that gives no sign of life, default 15
---@field lease_seconds? number
--- function(level, text, fields), or { format = "text" or "json", level = "info" }, see telemetry/log.lua
---@field log? any
--- the server that mails are sent by, see mail/settings.lua
---@field mail? table
---@field max_tasks_per_add? integer
--- of one call, default 100 and 1000
---@field max_tasks_per_lease? integer
--- { public =, classes = }, see telemetry/metrics.lua
---@field metrics? table
--- prefixes a worker may require
---@field modules? table
--- true: a file that is not there is not made, and one that is no store does not become one: that is a StoreError
---@field must_exist? boolean
--- executes nothing, and deletes nothing unless `retention` is given
---@field no_worker? boolean
--- function({ schedule, count, from, to }): times of a schedule at which nobody was there
---@field on_missed? function
--- settings by name, see taskqueue.configure
---@field queues? table
--- how long what is over is kept, default { done = "30d", aborted = "90d" }: finished trees go when their root has been
--- done or aborted for so long, with all that belongs to them and their idempotence key; seconds, or a text such as
--- "30d", "12h", "15m"; false: for ever, for one of them or all; `dead`: the same for dead tasks of queues, default
--- false; `max_bytes`: while more of the file is in use the oldest of these go before their time. Of several processes
--- on a file each deletes what is too old by its own setting
---@field retention? any
---@field seed? integer
--- list of names: only tasks of these are executed by this process, those of pipelines included; default: all
---@field serve_queues? table
--- seconds that what runs has to end when the engine stops, default 30; then it is cancelled and given back
---@field stop_grace? number
--- base URLs by name; `default` is where relative URLs of tasks lead; a target "v2.billing" that is not there leads
--- where "billing" does
---@field targets? table
--- how long the name of a task that is gone stays blocked, default 9 days
---@field tombstone_seconds? number
--- bytes, or a text such as "500M": while more of the file is in use this engine adds no tasks to queues; default: none
---@field total_storage_limit? any
--- { endpoint =, service =, sample = }, see telemetry/tracing.lua
---@field tracing? table
--- seconds that a transaction may be held, 0.001 to 3600, default 5: everybody else on the file waits meanwhile
---@field transaction_timeout? number
---@field vfs? string
--- seconds since the epoch
---@field virtual_start? number
---@field virtual_time? boolean
--- bytes, or a text such as "256M", the default: what runs may take that wait; beyond it they keep their places
---@field waiting_memory? any
--- bytes, or a text such as "16M"; default 32 MiB
---@field warm_bytes? any
--- number, default 1000; 0: none
---@field warm_runs? any

--- Opens or creates a store and makes an engine on it.
---
--- `given`: durability ("full" or "normal"), concurrency (runs at work at once, default 64; one that waits is not at
--- work), waiting_memory (bytes, or a text such as "256M", the default: what runs may take that wait; beyond it they
--- keep their places), modules (prefixes a worker may require), stop_grace (seconds that what runs has to end when the
--- engine stops, default 30; then it is cancelled and given back), lease_seconds (until others take over from a process
--- that gives no sign of life, default 15), tombstone_seconds (how long the name of a task that is gone stays blocked,
--- default 9 days), class_load_timeout (seconds until a tree whose class stays missing is aborted, default 7 days),
--- transaction_timeout (seconds that a transaction may be held, 0.001 to 3600, default 5: everybody else on the file
--- waits meanwhile), queues (settings by name, see taskqueue.configure), targets (base URLs by name; `default` is where
--- relative URLs of tasks lead; a target "v2.billing" that is not there leads where "billing" does), must_exist (true:
--- a file that is not there is not made, and one that is no store does not become one: that is a StoreError), file_mode
--- (permissions of the files that are made, such as "640"; default "600": the file holds the secret that signs
--- requests), serve_queues (list of names: only tasks of these are executed by this process, those of pipelines
--- included; default: all), total_storage_limit (bytes, or a text such as "500M": while more of the file is in use this
--- engine adds no tasks to queues; default: none), max_tasks_per_add and max_tasks_per_lease (of one call, default 100
--- and 1000), log (function(level, text, fields), or { format = "text" or "json", level = "info" }, see
--- telemetry/log.lua), metrics ({ public =, classes = }, see telemetry/metrics.lua), tracing ({ endpoint =, service =,
--- sample = }, see telemetry/tracing.lua), mail (the server that mails are sent by, see mail/settings.lua), base_url
--- (such as "https://shop.example.org": where people reach this program, for the links in mails; default: the URL of
--- serve), retention (how long what is over is kept, default { done = "30d", aborted = "90d" }: finished trees go when
--- their root has been done or aborted for so long, with all that belongs to them and their idempotence key; seconds,
--- or a text such as "30d", "12h", "15m"; false: for ever, for one of them or all; `dead`: the same for dead tasks of
--- queues, default false; `max_bytes`: while more of the file is in use the oldest of these go before their time. Of
--- several processes on a file each deletes what is too old by its own setting), no_worker (executes nothing, and
--- deletes nothing unless `retention` is given), journal_retention (how long journals of durable functions are kept
--- that are over, default { done = "7d", aborted = "30d" }, as retention), on_missed (function({ schedule, count, from,
--- to }): times of a schedule at which nobody was there), block_warning (seconds, default 10: the log tells of a body
--- of a durable function that computes for longer without waiting), guards (true: os.time, os.clock, os.getenv, io.open
--- and math.random raise in the body of a durable function, as they do in tests), warm_runs (number, default 1000; 0:
--- none) and warm_bytes (bytes, or a text such as "16M"; default 32 MiB): so many durable functions that are suspended
--- are kept in memory, counted by the bytes of their journals, and go on without a replay unless another process has
--- gone on with them meanwhile; and for tests virtual_time, virtual_start (seconds since the epoch), seed, vfs.
---
--- Returns the engine. The first one open is the default one. Raises StoreError with the reason.
---@param path string a file, or ":memory:".
---@param given? pipeline.open.options
---@param hidden any
---@return pipeline.Engine
function pipeline.open(path, given, hidden) end

--- Whether status pages and rpc need an administrator (the default). In App Engine: set_enforce_auth.
---@param enforce any
function pipeline.set_enforce_auth(enforce) end

--- Gives log lines of all engines without a `log` option to fn(level, text); nil: warnings to standard error. Levels:
--- 10 debug, 20 info, 30 warning, 40 error, 50 critical.
---@param fn function
function pipeline.set_logger(fn) end

--- As pairs: numbers first, then texts, then all else by its text.
---@param t any
function pipeline.sorted_pairs(t) end

--- In the function of a step of a durable function: what it can know of that. `name`; `key` (a text that is the same in
--- every attempt and every life: the idempotency key to hand on); `attempt` (from 1); `max_attempts`. Raises
--- NotInStepError elsewhere.
function pipeline.step() end

--- Defines a durable function: a pipeline class whose run may wait for days, and survives the end of its process. Each
--- step that it takes is recorded in a journal; its run is called again from the first line when it goes on, and the
--- journal answers for what was done before. So between its calls of self:step, self:await, self:sleep ... run only
--- computes; what touches the world is done in the functions of steps.
---
--- `definition`: as for define; durable is true. max_attempts, backoff_seconds, backoff_factor and timeout are those of
--- each step: run itself is not tried again. More fields: version (whole number, 1; kept with each run), on_error
--- ("abort"; "hold": an error that leaves run holds it, until engine:resume), max_parallel_steps (64), journal_limit ({
--- entries = 10000, bytes = 52428800 }), determinism ("strict": a run whose journal has what changed code does not ask
--- for is held; "by_name": that is passed over, and named in the log at the end).
---
--- Returns the class. Raises ConfigurationError.
---@param name string as for define.
---@param definition table
---@return pipeline.Class
function pipeline.workflow(name, definition) end

return pipeline
