-- stage.lua: instances of pipelines, for editors (LuaLS); made from doc comments by `make reference`.
---@meta _

---@class pipeline.Class: { [string]: any }
---@overload fun(...: any): pipeline.Stage

---@class pipeline.Future: { [string]: pipeline.Future }

---@class pipeline.Slot
---@field name string
---@field filled boolean
---@field value any
---@field filler pipeline.Stage?
---@field fill_time number?

---@class pipeline.Stage
---@field id string once it is started or spawned
---@field root_id string
---@field is_root boolean
---@field pipeline_id string the same as id
---@field root_pipeline_id string the same as root_id
---@field args any[] what it was made with
---@field outputs table<string, pipeline.Slot>
---@field class pipeline.Class
---@field class_path string the name of its class
---@field current_attempt integer from 1 on
---@field max_attempts integer
---@field backoff_seconds number
---@field backoff_factor number
---@field timeout number?
---@field queue_name string
---@field target string?
---@field base_path string
---@field was_aborted boolean in finalized: how it has ended
---@field has_finalized boolean
---@field test_mode boolean
---@field task_retry boolean
---@field schedule table? of the fire that started it
local Stage = {}

---@class (exact) pipeline.Stage.abort.options
---@field force? boolean

--- Aborts the whole tree of this pipeline. Inside the own run: raises Abort. A durable function that has begun is told
--- (its waits raise CancelledError), cleans up, executes its compensations, and is ABORTED then, whatever its run
--- returns.
---
--- `given`: force = true: no code of the user runs any more, no finalized() either; the tree is ABORTED at once, also
--- one that is being aborted already.
---
--- Returns whether the signal was taken; false if the tree is final, already told to abort, or gone, or if this is an
--- async root whose try_cancel refuses. In App Engine: Pipeline.abort.
---@param message? string why.
---@param given? pipeline.Stage.abort.options
---@return any
function Stage:abort(message, given) end

--- Children spawned inside `fn` start only when the default outputs of all `futures` are filled.
---
--- `fn`: its results are passed on; without it a to-be-closed scope is returned. In App Engine: `with
--- pipeline.After(...)`.
---@param futures table list of futures.
---@param fn? function
function Stage:after(futures, fn) end

--- Deletes all records of a finished tree. Does nothing on a child. In finalized() of the root: deletes them as soon as
--- all of the tree is final. Raises UnexpectedPipelineError before start and while the tree still runs. In App Engine:
--- cleanup.
function Stage:cleanup() end

---@class (exact) pipeline.Stage.complete.options
---@field strict? boolean

--- Fills the default output of an async pipeline.
---
--- `given`: strict = true: raises SlotNotFilledError if other outputs are not filled yet. Raises
--- UnexpectedPipelineError if the pipeline is not async, not started, or final. In App Engine: complete.
---@param value any any value that can be stored.
---@param given? pipeline.Stage.complete.options
function Stage:complete(value, given) end

---@class (exact) pipeline.Stage.fill.options
---@field publish? boolean

--- Fills an output. Inside the own run the value becomes visible when the attempt succeeds; else at once.
---
--- `name_or_slot`: name of an output of this pipeline, or a slot (one of another store is filled there, by its own
--- pipeline).
---
--- `given`: publish = true: visible at once even inside run, whatever becomes of the attempt. Raises
--- SlotNotDeclaredError, SerializationError, UnexpectedPipelineError (wrong argument, not started, or final). In App
--- Engine: Pipeline.fill.
---@param name_or_slot any
---@param value any any value that can be stored; nil is a value.
---@param given? pipeline.Stage.fill.options
function Stage:fill(name_or_slot, value, given) end

--- Reads a pipeline of this class back; see pipeline.from_id.
---@param given? table
function Stage:from_id(given) end

---@class (exact) pipeline.Stage.get_callback_task.options
---@field countdown? number
---@field eta? number|table
--- of the task; callback() does not see them
---@field headers? table
---@field method? string
---@field name? string
---@field params? table
---@field priority? integer
--- TaskRetryOptions: how often it is tried again when callback() fails; without them for ever, with growing delays
---@field retry_options? table

--- A task that calls this pipeline's callback; the caller adds it with task:add([queue_name]) or queue:add(task).
---
--- `given`: params, name, countdown or eta, priority, headers (of the task; callback() does not see them),
--- retry_options (TaskRetryOptions: how often it is tried again when callback() fails; without them for ever, with
--- growing delays); `method` is accepted and ignored.
---
--- Returns a taskqueue.Task. In App Engine: get_callback_task.
---@param given? pipeline.Stage.get_callback_task.options
---@return taskqueue.Task
function Stage:get_callback_task(given) end

--- The relative URL that calls this pipeline's callback.
---
--- Returns string parameters sorted by name, URL-encoded. In App Engine: get_callback_url.
---@param params? table names and values that reach the callback.
---@return string
function Stage:get_callback_url(params) end

--- Children spawned inside `fn` run one after the other, each when the default output of the one before is filled.
---
--- `fn`: its results are passed on; without it a to-be-closed scope is returned. Raises UnexpectedPipelineError inside
--- another in_order. In App Engine: `with pipeline.InOrder()`.
---@param fn? function
function Stage:in_order(fn) end

--- Writes a line to the log of the engine, with the fields of this pipeline: its id, root, class, queue and attempt.
---@param level string "debug", "info", "warning", "error", "critical", or a number.
---@param format string as of string.format; without more arguments it is the text as it is.
---@param ... any
function Stage:log(level, format, ...) end

--- Lets the tree of this pipeline, which was aborted, go on from where it failed: what is done stays done, outputs that
--- are filled stay filled, and all other pipelines of the tree run again with all their attempts (one whose run had
--- ended well already waits for its children again, an async one for its callback). finalized() is called again at the
--- end.
---
--- Returns whether it goes on; false if the tree is not aborted (any more), or gone. Raises UnexpectedPipelineError if
--- the abort is not at its end yet: something of the tree still runs; or if it is not started.
---@return any
function Stage:resume() end

--- Runs an async pipeline again, if its try_cancel agrees. Inside the own run: raises Retry.
---
--- Returns whether a new attempt was scheduled; false also when max_attempts is used up. Raises UnexpectedPipelineError
--- if it is not async or not started. In App Engine: Pipeline.retry.
---@param message string
---@return any
function Stage:retry(message) end

---@class (exact) pipeline.Stage.send_result_email.options
--- default: `from` of the option `mail`
---@field sender? string
--- an address or a list; default: `to` of that option
---@field to? any

--- Sends a mail that says how this pipeline ended, with a link to its status page; called in finalized(). A root of a
--- class without that function sends it by itself if the engine's option `mail` has `to` (and `results` lets it).
---
--- `given`: sender (default: `from` of the option `mail`), to (an address or a list; default: `to` of that option).
--- What is wrong with them is a warning in the log. In App Engine: send_result_email.
---@param given? pipeline.Stage.send_result_email.options
function Stage:send_result_email(given) end

---@class (exact) pipeline.Stage.set_status.options
---@field console_url? string
---@field message? string
--- name -> URL
---@field status_links? table

--- Replaces what the status pages say about this pipeline, at once; what is left out becomes empty.
---
--- `given`: message, console_url, status_links (name -> URL). Raises PipelineRuntimeError if it cannot be stored. In
--- test mode it is only logged. In App Engine: set_status.
---@param given? pipeline.Stage.set_status.options
function Stage:set_status(given) end

--- Makes `child` a child of the running pipeline.
---
--- `given`: fallback: a value. If the child, or anything below it, fails for good or aborts, not the whole tree is
--- aborted but the child with all that is below it; its outputs that are not filled get this value, and the others go
--- on. Of several the nearest one counts. An abort of the tree from outside ends it all the same.
---
--- Returns its future. Nothing starts before run has ended; arguments are read then. Raises UnexpectedPipelineError
--- outside of run, for anything but a new pipeline instance; SerializationError for a fallback that cannot be stored.
--- In App Engine: `yield child`.
---@param child any
---@param given? table
---@return pipeline.Future
function Stage:spawn(child, given) end

---@class (exact) pipeline.Stage.start.options
---@field base_path? string
--- seconds
---@field countdown? number
--- default: that of the run, else the default one
---@field engine? table
--- seconds since the epoch, or a table as of os.date("!*t")
---@field eta? number|table
--- any bytes; "" is none
---@field idempotence_key? string
--- default "default"
---@field queue_name? string
--- write the records but return the task that starts it instead of enqueuing it
---@field return_task? boolean
--- inside engine:transaction it is started with that; false: by itself, when that has ended; true: only there. A root
--- that is to begin if, and only if, an attempt of a run succeeds is started in it with return_task, and the task added
--- with transactional = true
---@field transactional? boolean

--- Starts the pipeline as the root of a new tree.
---
--- `given`: idempotence_key (any bytes; "" is none), queue_name (default "default"), base_path, countdown (seconds) or
--- eta (seconds since the epoch, or a table as of os.date("!*t")), return_task (write the records but return the task
--- that starts it instead of enqueuing it), engine (default: that of the run, else the default one), transactional
--- (inside engine:transaction it is started with that; false: by itself, when that has ended; true: only there. A root
--- that is to begin if, and only if, an attempt of a run succeeds is started in it with return_task, and the task added
--- with transactional = true).
---
--- Returns the instance; with return_task the task. When it returns, the pipeline is stored. Raises PipelineExistsError
--- if the key was ever used, PipelineSetupError, SerializationError, StoreError, UnexpectedPipelineError if the
--- instance was started or spawned before. In App Engine: Pipeline.start.
---@param given? pipeline.Stage.start.options
---@return pipeline.Stage
function Stage:start(given) end

---@class (exact) pipeline.Stage.start_test.options
---@field at? table
---@field base_path? string
---@field callbacks? function
---@field countdown? number
---@field crash? string
---@field engine? table
---@field eta? number|table
---@field idempotence_key? string
---@field queue_name? string
---@field replay? string
---@field retry? boolean
---@field return_task? boolean
---@field transactional? boolean

--- Runs the pipeline and all it spawns at once, without a store; outputs can be read on the instance afterwards.
---
--- `given`: retry = true: retry failed attempts in virtual time, and raise AbortedError at the end of them; without it
--- the first error of user code that no fallback answers for comes straight out. callbacks = function(stage, engine):
--- is called for each async pipeline that waits, when nothing else is left to be done, and may complete it, fill
--- outputs, retry or abort it, or call its callback (engine:callback(stage.id, params)); as long as that changes
--- anything it is called again. With it async pipelines without run_test are run. Without, or when it leaves them open,
--- SlotNotFilledError is raised. at = { [seconds] = function(engine) }: is called at that virtual time after the start,
--- with the engine of the test, which has signal, update, query ... for durable functions. replay = "always" (which is
--- so anyway): a durable function is replayed at every wait. crash = "every": afterwards it is run once for each moment
--- before and after a commit of a durable function, and before a step is executed, with a crash there; WorkflowError
--- names the first one whose outputs are others. idempotence_key and base_path as for start; the other options of start
--- have no effect.
---
--- Returns the instance. In App Engine: start_test.
---@param given? pipeline.Stage.start_test.options
---@return any
function Stage:start_test(given) end

--- Changes settings of this one pipeline before it is started or spawned; queue_name also applies to what it spawns.
---
--- `params`: max_attempts, backoff_seconds (seconds), backoff_factor, target, queue_name, timeout (seconds),
--- max_losses.
---
--- Returns the instance. Raises UnexpectedPipelineError after start. In App Engine: with_params.
---@param params table
---@return pipeline.Stage
function Stage:with_params(params) end

---@class pipeline.Common
local Common = {}

--- AbortIfTrue(v, { message = "why" }): aborts the tree with that message if v is true, else gives nil. The message may
--- also be the second argument itself; default "". In App Engine: common.AbortIfTrue.
---@type pipeline.Class
Common.AbortIfTrue = nil

--- All(...): whether all its arguments are true; false if there are none. In App Engine: common.All.
---@type pipeline.Class
Common.All = nil

--- Any(...): whether one of its arguments is true; false if there are none. In App Engine: common.Any.
---@type pipeline.Class
Common.Any = nil

--- Append(...): a list of its arguments as they are. In App Engine: common.Append.
---@type pipeline.Class
Common.Append = nil

--- Complement(v): gives `not v`; of several values a list of these; of none an empty list. In App Engine:
--- common.Complement.
---@type pipeline.Class
Common.Complement = nil

--- Concat(..., { separator = ", " }): its arguments, strings or numbers, as one string. The table at the end may be
--- left out; without it nothing is put between. None: "". In App Engine: common.Concat.
---@type pipeline.Class
Common.Concat = nil

--- Delay{ seconds = n }: gives n as it is, n seconds after it has begun to run; in test mode at once. A time that is
--- not above 0 is over at once. In App Engine: common.Delay.
---@type pipeline.Class
Common.Delay = nil

--- Dict{ name = value, ... }: gives the table; Dict() an empty one. In App Engine: common.Dict.
---@type pipeline.Class
Common.Dict = nil

--- EmailToContinue{ to = "boss@example.org", subject = "…", body = "… {approve_url} … {disapprove_url}" }: sends
--- a mail and waits for the answer; gives true if it is approved, false if not. In test mode it gives true at once.
--- Fields: from (or sender), to, cc, bcc, reply_to, subject, headers as in pipeline.mail; body (required) and html:
--- templates with {approve_url} and {disapprove_url}, or %(approve_url)s and %(disapprove_url)s; approve_html and
--- disapprove_html: what is shown after the answer; one_click = true: following a link decides, without the page;
--- random_token: the secret of the links (default: made at random). The links lead to the base_url of pipeline.open or
--- engine:serve. An answer with a wrong token, or after the first, is refused with 403 and changes nothing. In App
--- Engine: common.EmailToContinue.
---@type pipeline.Class
Common.EmailToContinue = nil

--- Extend(...): one list of the elements of all its arguments, which are lists; one level is opened. None: an empty
--- list. In App Engine: common.Extend.
---@type pipeline.Class
Common.Extend = nil

--- Format.tuple(template, ...) and Format.dict(template, { name = value }): the text made of them, see format.lua.
--- Format(kind, template, ...) is what both make; a kind that is neither "tuple" nor "dict" aborts. In App Engine:
--- common.Format.
---@type pipeline.Class
Common.Format = nil

--- Ignore(...): gives nil, when all its arguments are there. In App Engine: common.Ignore, which marks outputs as used.
---@type pipeline.Class
Common.Ignore = nil

--- Intersection(...): the elements that are in all its arguments, which are lists; without doubles, in the order of the
--- first. None: an empty list. In App Engine: common.Intersection.
---@type pipeline.Class
Common.Intersection = nil

--- List(...): gives its arguments as a list. In App Engine: common.List.
---@type pipeline.Class
Common.List = nil

--- Log.log(level, template, ...): writes to the log of the engine when it runs, and gives nil. The level may be any
--- integer; Log.debug, info, warning, error and critical stand for 10, 20, 30, 40 and 50. Without values the template
--- is the text as it is. In App Engine: common.Log.
---@type pipeline.Class
Common.Log = nil

--- Max(...): the largest of its arguments, numbers or strings; at least one. In App Engine: common.Max.
---@type pipeline.Class
Common.Max = nil

--- Min(...): the smallest of its arguments, numbers or strings; at least one. In App Engine: common.Min.
---@type pipeline.Class
Common.Min = nil

--- Multiply(...): the product of its arguments, at least one. In App Engine: common.Multiply.
---@type pipeline.Class
Common.Multiply = nil

--- Negate(v): gives -v; of several numbers a list of these. At least one. In App Engine: common.Negate.
---@type pipeline.Class
Common.Negate = nil

--- Return(v): gives v; Return() gives nil. Useful as the last child, and what the engine adds by itself when a run that
--- spawned children returns a value with futures in it. In App Engine: common.Return.
---@type pipeline.Class
Common.Return = nil

--- Sum(...): the sum of its arguments, at least one. In App Engine: common.Sum.
---@type pipeline.Class
Common.Sum = nil

--- Union(...): the elements of all its arguments, which are lists, without doubles. In App Engine: common.Union.
---@type pipeline.Class
Common.Union = nil

--- Uniquify(...): its arguments without doubles; nil is left out. In App Engine: common.Uniquify.
---@type pipeline.Class
Common.Uniquify = nil
