-- engine.lua: engines and transactions, for editors (LuaLS); made from doc comments by `make reference`.
---@meta _

---@class pipeline.Engine
local Engine = {}

---@class (exact) pipeline.Engine.act.options
--- true: nothing is done, `done` says how many it would be
---@field dry_run? boolean
--- of `list`: the roots that it finds; none may be empty
---@field filters? table
---@field force? boolean
--- list of ids, beginnings of at least 6 characters, or "key:KEY"
---@field ids? table
--- true: `ids` lists those that are done, or with dry_run would be, 10,000 at most, and `more` says that filters find
--- others behind them, which are left alone: who asks somebody first acts on these ids then, and on nothing that came
--- later
---@field list? boolean
--- "resume": an aborted tree goes on, see Pipeline.resume; "abort": the tree is aborted, with `reason`, and with force
--- = true at once, see Pipeline.abort; "retry": an async pipeline that waits runs again, with `reason`; "cleanup": a
--- finished tree is deleted
---@field op? string
---@field reason? string

--- Does one thing to many pipelines: { matched, done (how many), refused = list of { id, why } }; of more than 1000
--- refused ones `refused_more` says how many follow.
---
--- `given`: op ("resume": an aborted tree goes on, see Pipeline.resume; "abort": the tree is aborted, with `reason`,
--- and with force = true at once, see Pipeline.abort; "retry": an async pipeline that waits runs again, with `reason`;
--- "cleanup": a finished tree is deleted); and either ids (list of ids, beginnings of at least 6 characters, or
--- "key:KEY") or filters (of `list`: the roots that it finds; none may be empty); dry_run (true: nothing is done,
--- `done` says how many it would be); list (true: `ids` lists those that are done, or with dry_run would be, 10,000 at
--- most, and `more` says that filters find others behind them, which are left alone: who asks somebody first acts on
--- these ids then, and on nothing that came later). Each is a commit of its own, and others have their turns between:
--- when the process dies the trees before are done, the others as they were, and none is done by half; the same act
--- once more does what is left. Raises StoreError; what is wrong with one of the pipelines is told in `refused`.
---@param given? pipeline.Engine.act.options
---@return { matched: integer, done: integer, refused: table[] }
function Engine:act(given) end

---@class (exact) pipeline.Engine.act_tasks.options
--- true: nothing is done, `done` says how many it would be
---@field dry_run? boolean
--- queue; text: found in name, class or message of the last error
---@field filters? table
--- a list: those of `queue`, or "QUEUE/NAME"; of a task without a name its id
---@field names? table
--- "revive": as if they had never been tried; "forget"
---@field op? string
---@field queue? string

--- Gives dead tasks another life, or forgets them: { matched, done (how many), refused = list of { id, why } }.
---
--- `given`: op ("revive": as if they had never been tried; "forget"); names (a list: those of `queue`, or "QUEUE/NAME";
--- of a task without a name its id) or filters (queue; text: found in name, class or message of the last error);
--- without either all of `queue`; dry_run (true: nothing is done, `done` says how many it would be). A hundred at a
--- time, each hundred in a commit of its own. Raises StoreError.
---@param given? pipeline.Engine.act_tasks.options
---@return { matched: integer, done: integer, refused: table[] }
function Engine:act_tasks(given) end

--- Moves virtual time forward by `seconds`, or to a time such as "2027-03-28T01:59:00[Europe/Berlin]". Where schedules
--- fire meanwhile, time stops for each of them: what is due by then, and what it starts, is done.
---@param seconds number
function Engine:advance(seconds) end

---@class (exact) pipeline.Engine.backup.options
--- of a portion, 256
---@field pages? integer
--- function(copied, total), in pages, after each portion
---@field progress? function
--- true: a file of that name that is no store is not replaced, but refused
---@field spare? boolean

--- Copies the store, as it is now, into another file, while everybody works on. It is done in portions, by the thread
--- that reads; in a tasklet or a run the others go on meanwhile. The copy has its name only when it is whole and on
--- disk: what is interrupted leaves `path` as it was, and is simply begun again. It holds the secret of the store, too,
--- and is the owner's alone, as the store is (`file_mode`). What was being executed is executed again when the copy is
--- opened.
---
--- `path`: of the copy; a file of that name is replaced, unless a log (-wal, -journal) lies beside it: then it is a
--- database in use. Until the copy is whole it is `path` with ".part".
---
--- `given`: progress (function(copied, total), in pages, after each portion), pages (of a portion, 256), spare (true: a
--- file of that name that is no store is not replaced, but refused). Raises StoreError.
---@param path string
---@param given? pipeline.Engine.backup.options
function Engine:backup(path, given) end

--- Calls the callback of an async pipeline or a durable function, as its URL would, with the rights of the engine
--- itself.
---
--- Returns status, content type and body of its answer (409: it is final). Raises what the callback raises;
--- PipelineStatusError if there is none or several may be meant, UnexpectedPipelineError if it is neither,
--- ConfigurationError if its class is not to be found in this process.
---@param given? string an id, the beginning of one (at least 6 characters), or "key:KEY".
---@param params? table names and values; they reach the callback as texts.
---@return any
function Engine:callback(given, params) end

--- Looks for what is wrong in the file: its text encoding and schema against what its version says, the rules between
--- its rows that hold after every commit, its pages and foreign keys. Work goes on meanwhile, and other reads come
--- between; a large file takes seconds. Of each kind of fault some twenty are named.
---
--- Returns a list of texts; an empty one: nothing is wrong. Raises StoreError when it cannot be read.
---@return string[]
function Engine:check() end

--- Stops and closes the engine. What it executes is given back without spending an attempt, and its transactions are
--- rolled back; whoever else waits for it, or through it, gets a StoreError that says closed (`code` "ECLOSED"), and so
--- does whoever has called wait, drain or sleep if it is closed in there; run returns. Idempotent, and possible
--- anywhere. While a transaction is held through another engine of this process on the file, the store is left, and
--- what is executed given back, when that has ended: at the latest when its time is up.
function Engine:close() end

--- Fills the default output of an async pipeline, whose class need not be known in this process.
---
--- Returns true; false if it only waited for this to be aborted. Raises PipelineStatusError if there is none or several
--- may be meant, UnexpectedPipelineError if it is not async, or final, SerializationError.
---@param given? string an id, the beginning of one (at least 6 characters), or "key:KEY".
---@param value any any value that can be stored; nil is a value.
---@return any
function Engine:complete(given, value) end

---@class (exact) pipeline.Engine.count_over.options
--- seconds since the epoch: from, and up to but not including; default: ever
---@field before? number
--- how many of a kind are counted, default 1,000,000
---@field limit? integer
---@field since? number

--- How many roots have ended within a time, of those whose records are still kept.
---
--- `given`: since, before (seconds since the epoch: from, and up to but not including; default: ever), limit (how many
--- of a kind are counted, default 1,000,000).
---
--- Returns { done, aborted, more = true where a number is the limit, and there may be more }
---@param given? pipeline.Engine.count_over.options
---@return any
function Engine:count_over(given) end

---@class (exact) pipeline.Engine.drain.options
--- default false
---@field delayed? boolean
--- seconds
---@field timeout? number

--- Works until nothing is ready or running; with `delayed`, until nothing is scheduled either. Does not wait for async
--- pipelines that only somebody outside can complete.
---
--- `given`: timeout (seconds), delayed (default false). Raises TimeoutError; and Interrupted at SIGINT: what was
--- running is given back then, spending nothing.
---@param given? pipeline.Engine.drain.options
function Engine:drain(given) end

--- The descriptor to poll for reading before calling step.
---@return integer
function Engine:fd() end

--- The id of the pipeline that an address means; nil: there is none.
---
--- `given`: an id, "key:" with an idempotence key, or the beginning of an id: 6 characters or more. A beginning that a
--- single root has means that root; else it must be that of a single pipeline. Raises PipelineStatusError, naming some,
--- if several may be meant.
---@param given? string
---@return string?
function Engine:find(given) end

--- A pipeline of this engine by its id; see pipeline.from_id.
---@param id string
---@param given? table
---@return pipeline.Stage
function Engine:from_id(id, given) end

--- As pipeline.get_root_list, of this engine.
---@param given? table
function Engine:get_root_list(given) end

--- As pipeline.get_status_tree, of this engine.
---@param id string
---@param given? table
function Engine:get_status_tree(id, given) end

---@class (exact) pipeline.Engine.handle.options
---@field body? string
--- names in any case
---@field headers? table
--- default "GET"
---@field method? string
--- a table; becomes the query of a GET, else a form
---@field params? table
--- may have a query
---@field path? string
--- a string, as raw_query, or a table
---@field query? any
---@field raw_query? string
---@field remote_address? string

--- Answers a request without a socket, in every other respect as if it had come from one.
---
--- `given`: method (default "GET"), path (may have a query), query (a string, as raw_query, or a table), params (a
--- table; becomes the query of a GET, else a form), headers (names in any case), body, remote_address.
---
--- Returns table `status`, `headers` (found by names in any case) and `body`.
---@param given? pipeline.Engine.handle.options
---@return any
function Engine:handle(given) end

---@class (exact) pipeline.Engine.list.options
--- of the page before
---@field cursor? string
--- default 50, at most 1000
---@field limit? integer

--- Roots, newest first: { items = list of entries (see view/entries.lua), cursor = text, if there may be more }.
---
--- `given`: filters: state (a word of view/words.lua, several with commas, or a list), class, queue, key, text (found
--- in class, key, message or error), since and until (when it was created, seconds since the epoch), error (found in
--- its last error or the reason of its abort; true: any); and limit (default 50, at most 1000), cursor (of the page
--- before). A page may have fewer items than `limit`, or none, and a cursor all the same: what is looked through for
--- one page is bounded. Raises PipelineStatusError for a bad cursor.
---@param given? pipeline.Engine.list.options
---@return { items: table[], cursor: string? }
function Engine:list(given) end

--- How many roots there are in each state, of those that the filters of `list` choose: a table with a number for each
--- word of view/words.lua, `total`, and `more` = true if counting stopped before the end.
---@param given? table
function Engine:list_counts(given) end

---@class (exact) pipeline.Engine.list_held.options
--- how many are told, default 50, at most 1000
---@field limit? integer

--- Durable functions that are held: they go no further until somebody resumes them. Roots and others, the newest first.
---
--- Returns { items = list of entries (see view/entries.lua), count (how many there are), more = true where that is a
--- thousand, and there may be more }
---@param given? pipeline.Engine.list_held.options limit (how many are told, default 50, at most 1000).
---@return any
function Engine:list_held(given) end

--- What has happened in a tree, or below one of its stages, in the order of time: a list of { time, level ("info",
--- "error"), kind ("created", "failure", "message", "done", "aborted"), stage, class, text, attempt, worker, traceback
--- }. Of a tree with more than 20,000 stages it has those of the first ones; of more than 200 failures, some.
---@param given? string an address (see find). Raises PipelineStatusError if there is no such pipeline.
---@return table[]
function Engine:logs(given) end

---@class (exact) pipeline.Engine.metrics.options
---@field format? string

--- What is measured of this engine and its store, as a text for Prometheus and its like; the same as GET /metrics.
---
--- Returns the text, and its content type. Raises StoreError when the store cannot be read.
---@param given? pipeline.Engine.metrics.options format: "openmetrics" (default), or "prometheus", the older format.
---@return any
function Engine:metrics(given) end

--- The engine's time: seconds since the epoch.
---@return number
function Engine:now() end

--- Has fn(event) called when something happens in this engine: after the commit, so that what is told of holds. Each
--- call has a coroutine of its own and may wait; an error in it is logged, and changes nothing. While 10,000 calls have
--- not come back nothing more is told of, and the log says so. A table has `event`, `time` and what applies: of stages
--- id, root, class, key, queue, attempt, max_attempts; at their end state, created, started, ended, took, reason; of
--- tasks kind ("push", "deferred", "callback"), queue, name, attempt, status. `took` (seconds of this attempt), `late`
--- (seconds from when it could have begun until it did). Of failures error_class, error, traceback, will_retry, and
--- `at` (when it runs again).
---
--- `event`: stage_started, stage_done, stage_failed, stage_aborted; root_done, root_aborted (after that of its stage);
--- task_started, task_done, task_failed, task_dead; queue_paused; worker_joined, worker_lost (number, pid; of others: a
--- loss is told of by the process that gives back what the lost one had); engine_stopping; of durable functions
--- run_suspended (due, reason), run_replayed (entries), run_held (reason), each with id, class, key, era.
---
--- Returns a function that ends it; idempotent.
---@param event string
---@param fn function
---@return any
function Engine:on(event, fn) end

--- The queues, in the order in which they were made: a list of { name, mode ("push", "pull"), rate (tasks a second;
--- absent: no limit), bucket_size, tokens (of the rate, now), max_concurrent, target, retry (its retry parameters, if
--- any), paused, ready, delayed, executing (leased, of a pull queue), dead, more (true: there are more tasks than were
--- counted, which is 100,000 of a state at most), oldest_ready (since when its oldest ready task is ready),
--- executed_last_minute, served (a process that lives executes its tasks) }.
---@return table[]
function Engine:queues() end

---@class (exact) pipeline.Engine.repair.options
--- path of the copy; needed unless dry_run
---@field backup? string
--- only looks
---@field dry_run? boolean

--- Mends what `check` finds, as far as it can be mended, once a copy of the store is on disk. Counts, waits, tasks,
--- names and indexes are made right from the rows beside them; what cannot be done any more is aborted, or put among
--- the dead tasks, with a reason; rows go only if nothing could ever read them. What is left is named: for that a
--- backup has to be put in the place of the store. Close the engine afterwards, and let others open the file.
---
--- Returns { found, left (lists of texts, as of check), mended (title -> rows changed), backup }. Raises StoreError
--- when another process is at work on the store, or the copy cannot be made; then nothing is changed.
---@param given? pipeline.Engine.repair.options backup (path of the copy; needed unless dry_run), dry_run (only looks).
---@return any
function Engine:repair(given) end

--- Adds or replaces a route.
---
--- `path`: begins with "/". A segment ":name" stands for any one that is not empty, a last segment "*name" (or "*") for
--- all that is left; what they stood for is in `request.path_params`. Literal segments go before parameters, and these
--- before the rest, whatever the order of calls. A segment that looks like a parameter, but is none, is refused.
---
--- `handler`: `handler(request)` returns nothing (200, empty), or a status, headers or a content type, and a body: a
--- string, or a table, which is sent as JSON. It runs as a coroutine of the engine and may await; when its client
--- leaves, it is cancelled. A request has method, path, query, params, headers, body, remote_address, path_params,
--- is_task, is_admin, is_viewer; and `json`, the body as JSON, read when it is first used (null is that of lua-cjson;
--- the response to what is damaged is 400 with the place). In App Engine: a handler of the webapp.
---@param method string such as "GET" (which answers HEAD too), or "*" for any.
---@param path string
---@param handler function
function Engine:route(method, path, handler) end

--- Works until engine:stop() or SIGINT or SIGTERM, then finishes what runs and returns. What has not ended after
--- `stop_grace` seconds is cancelled and given back, spending nothing. A second signal ends the process at once.
function Engine:run() end

---@class (exact) pipeline.Engine.serve.options
--- default: made at random and printed once to standard error
---@field admin_token? string
--- names by which pages may be asked for
---@field allowed_hosts? table
--- default "/_ah/pipeline"
---@field base_path? string
--- where people reach it, if that is another URL: behind a proxy; for links in mails
---@field base_url? string
--- seconds in which the headers of a request must have arrived, 10
---@field header_timeout? number
--- numeric; default "127.0.0.1"
---@field host? string
--- seconds, 30
---@field idle_timeout? number
--- bytes, 1 MiB
---@field max_body? integer
--- 256; when all are open the one that has been idle for the longest gives way to a new one
---@field max_connections? integer
--- bytes, 32 KiB
---@field max_header? integer
--- how many of them one client address may have; default: all
---@field max_per_address? integer
--- bytes a second, over any 10 seconds, at which a body must arrive and a response be taken, 4096; 0: any
---@field min_rate? integer
--- default 8080; 0 picks one
---@field port? integer
--- the whole of it, 60
---@field request_timeout? number
--- who has it sees the pages and changes nothing
---@field viewer_token? string

--- Listens for HTTP.
---
--- `given`: host (numeric; default "127.0.0.1"), port (default 8080; 0 picks one), base_path (default "/_ah/pipeline"),
--- base_url (where people reach it, if that is another URL: behind a proxy; for links in mails), admin_token (default:
--- made at random and printed once to standard error), viewer_token (who has it sees the pages and changes nothing),
--- allowed_hosts (names by which pages may be asked for), and limits: max_body (bytes, 1 MiB), max_header (bytes, 32
--- KiB), max_connections (256; when all are open the one that has been idle for the longest gives way to a new one),
--- max_per_address (how many of them one client address may have; default: all), idle_timeout (seconds, 30),
--- header_timeout (seconds in which the headers of a request must have arrived, 10), request_timeout (the whole of it,
--- 60), min_rate (bytes a second, over any 10 seconds, at which a body must arrive and a response be taken, 4096; 0:
--- any).
---
--- Returns a server with `url`, `host`, `port`, `admin_token` and `close()`; it lives until closed or until the engine
--- is. Raises ConfigurationError if the address cannot be used.
---@param given? pipeline.Engine.serve.options
---@return { url: string, host: string, port: integer }
function Engine:serve(given) end

--- Waits on the engine's clock: suspends a task or a tasklet, else runs the loop.
---@param seconds number
function Engine:sleep(seconds) end

--- Everything about one stage: its entry (see view/entries.lua), and args (list of { type = "value", value } or { type
--- = "slot", slot, filled, value, time, filler }), outputs (list of { name, slot, filled, value, time, filler }), after
--- (as args: slots that had to be filled first), attempts (those that failed: list of { time, attempt, worker,
--- error_class, message, traceback }), async, callback_url (of an async one; absolute where base_url is known),
--- public_callbacks, timings = { waited, queued, executed } in seconds, as far as they are known, base_path, target,
--- timeout, priority, backoff_seconds, backoff_factor, and failed = { id, class, attempt, error_class, message,
--- traceback, time }: of an aborted root, the stage for which its tree was aborted. Of a durable function that was
--- forked, or is a fork: forks (list of ids), forked_from (id).
---@param given? string an address (see find). Raises PipelineStatusError if there is no such pipeline.
---@return table
function Engine:stage(given) end

--- Where the bytes of the file are, and what may go. Reads the whole file, one table after the other; work and other
--- reads go on meanwhile. For what is cheap to know see `status`.
---
--- Returns bytes, free, log_bytes (as in `status().store`); tables: a list, the largest first, of { name =, bytes = (of
--- its rows), index_bytes = (of its indexes), unused = (bytes of both that hold nothing) }, your own tables included;
--- retention: as in `status`. Raises StoreError when that cannot be read, or SQLite is built without dbstat.
---@return any
function Engine:stats() end

--- What the engine is and has to do: version, store (kind, version, path; `bytes` of the file, `free` of these unused,
--- `log_bytes` of the write-ahead log beside it, `shrinks`: unused pages at its end are given back), durability,
--- worker, workers, stages, queues (name -> ready, delayed, claimed), retention (done, aborted, dead: seconds, or
--- false; journals: done and aborted of the journals of durable functions; max_bytes; `sweeps`: this engine deletes
--- what is older; `due`: what the next sweep takes, for done, aborted, dead and names each {count =, oldest = (seconds
--- since the epoch), more = (there is more than was counted)}), `overdue` (schedules whose fire is due and has not been
--- made; at most 1000 are counted), last_tick (when this engine last looked for schedules that are due, in seconds
--- since the epoch; nil: it has not yet), runs (of durable functions: how many are begun, suspended, held, over, and
--- the bytes of their journals) and counters. While the store cannot be reached, unreachable_since tells since when
--- (seconds since the epoch), and what only the store knows is missing: its bytes, workers, stages, queues, retention.
--- A file can always be reached.
---@return table
function Engine:status() end

--- One step for a host with its own loop: does what can be done without waiting.
function Engine:step() end

--- Makes run return.
function Engine:stop() end

---@class (exact) pipeline.Engine.tasks.options
--- of the page before
---@field cursor? string
--- default 50, at most 1000
---@field limit? integer
--- default: all
---@field queue? string
--- "ready", "delayed", "executing", "dead"; several with commas, or a list
---@field state? any
--- found in name, class, key, tag, URL, payload or error
---@field text? string

--- Tasks of queues, those of pipelines included: { items = list of entries (see view/tasks.lua), cursor = text, if
--- there may be more }. Those executing come first, then ready ones as they will start, delayed ones by time, dead ones
--- newest first.
---
--- `given`: queue (default: all), state ("ready", "delayed", "executing", "dead"; several with commas, or a list), text
--- (found in name, class, key, tag, URL, payload or error), limit (default 50, at most 1000), cursor (of the page
--- before). A page may have fewer items than `limit`, or none, and a cursor all the same: what is looked through for
--- one page is bounded. Raises PipelineStatusError for a bad cursor or an unknown queue.
---@param given? pipeline.Engine.tasks.options
function Engine:tasks(given) end

--- Seconds after which step is to be called even if the descriptor is quiet; -1: no limit.
---@return number
function Engine:timeout() end

--- Calls fn(tx) in one transaction on the file of the engine: what tx:execute and tx:query do to the user's own tables,
--- and whatever is started, enqueued, deferred or else done through this library meanwhile, by the coroutine that calls
--- this and by tasklets started in it, is committed together when fn returns; or nothing of it is, if fn raises, the
--- process dies, or the transaction is held longer than `transaction_timeout`. What is started or added with
--- `transactional = false` is committed by itself when the transaction has ended, either way. Everybody else who writes
--- to the file waits meanwhile. fn may await; it should not wait for the world. It cannot begin another transaction,
--- nor run or wait for what it starts, nor write to the file through another engine.
---
--- Returns what fn returns. Raises its error, unchanged; TimeoutError, TransactionError, SQLError, StoreError. An error
--- of what was to be committed by itself is raised too, with `committed` = true; if fn has failed, it is logged. In App
--- Engine: run_in_transaction.
---@param fn function its tx has execute and query, see transaction.lua; tx is of no use when fn has returned.
---@return any
function Engine:transaction(fn) end

---@class (exact) pipeline.Engine.tree.options
---@field cursor? string
---@field depth? integer
---@field limit? integer
---@field parent? string

--- The stages of a tree, or a page of them: { root = id, items = list of entries (see view/entries.lua), a parent
--- before its children, children in the order spawned; cursor = text, if there are more }. Each has child_ids: those of
--- its children that are in the page.
---
--- `page`: parent (address of a stage: it and what is below it; default: the root), depth (levels below that; default:
--- all), limit (stages, default 1000, at most 5000), cursor (of the page before). A page may have fewer stages than
--- asked for, or none. Raises PipelineStatusError if there is no such pipeline.
---@param given? pipeline.Engine.tree.options an address (see find) of any stage of the tree.
---@param page? table
---@return table[]
function Engine:tree(given, page) end

---@class (exact) pipeline.Engine.wait.options
--- seconds
---@field timeout? number

--- Works until a pipeline is final; inside a task it suspends instead. Virtual time stands then.
---
--- `stage_or_id`: a started pipeline, or its id. If it is of the store of another engine, that engine waits for it.
---
--- Returns its outputs (a future whose slots are filled). Raises AbortedError with `reason`, `failures` (attempts, with
--- their tracebacks) and `failed` = {id =, class =, args = (in short), attempt =, error =, where =}: the stage for
--- which the tree was aborted, nil if somebody asked for the abort; TimeoutError, UnexpectedPipelineError if there is
--- no such pipeline; and Interrupted at SIGINT: what was running is given back then, spending nothing.
---@param stage_or_id pipeline.Stage|string
---@param given? pipeline.Engine.wait.options timeout (seconds).
---@return table<string, pipeline.Slot>
function Engine:wait(stage_or_id, given) end

--- Why a pipeline or a task is not running, or not done: a list of { code, text (one sentence), command (of the shell,
--- that would change it; absent: none would), and details by code }, the deciding one first. Empty: it is being
--- executed, is done, or is about to be. Codes: slots (with `slots`), not_added, schedule_paused (schedule), held
--- (schedule, earlier: the id of the work that is not over, whose reasons follow), alone, no_class, retry, eta
--- (`until`), pulled, no_worker, not_served, queue_paused, rate_zero, concurrency (max_concurrent, used), rate (rate,
--- tokens, wait), place, worker (it is next); callback, child and slot_owner (stage, class, cause: the code of what
--- decides there, which follows), aborted (stage, class, error_class, message: of what failed), suspended and held_run
--- (of durable functions), fallback (stage, class: which had it), abort_held, dead.
---
--- `given`: an address of a pipeline (see find), or QUEUE/NAME of a task. Raises PipelineStatusError if there is none.
---@param given? string
---@return { code: string, text: string, command: string? }[]
function Engine:why(given) end

--- The processes on the store: a list of { number, host, pid, version (absent: it did not say), since, serving (a list
--- of queues; absent: all; an empty one: it executes nothing), executing (tasks it has claimed), lease_until, is_self,
--- gone (true: its process has ended; others take over what it has) }.
---@return table[]
function Engine:workers() end

---@class pipeline.Transaction
local Transaction = {}

--- Runs a statement, or, without values, several.
---
--- `...`: nil and JSON's null are NULL, true and false are 1 and 0; integers, floats and strings are exact. A string is
--- stored as text if it is UTF-8 without zero bytes, else as a blob.
---
--- Returns how many rows were inserted, updated or deleted (those that triggers changed are not counted), and the rowid
--- of the one inserted last, if one was. Rows of a SELECT are thrown away. Raises SQLError with SQLite's message, also
--- when a constraint is violated (`code` is "ECONSTRAINT"); the statement has then changed nothing, and the transaction
--- can go on, unless the statement itself made SQLite roll back (OR ROLLBACK). Raises TimeoutError when the transaction
--- was held too long, TransactionError when it is over. Refused, as SQLError: COMMIT and its like, ATTACH, PRAGMA but
--- those that only tell something, and whatever writes to tables that begin with pl_ or depends on them.
---@param sql string parameters are `?`; there are as many values.
---@param ... any
---@return integer, integer
function Transaction:execute(sql, ...) end

--- Runs one statement and gives its rows.
---
--- Returns list of tables, from the name of a column to its value; NULL is nil. At most 64 MiB. Values and errors are
--- those of execute; two columns of one name are an error.
---@param sql string
---@param ... any
---@return table<string, any>[]
function Transaction:query(sql, ...) end
