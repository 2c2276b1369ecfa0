-- durable.lua: durable functions, for editors (LuaLS); made from doc comments by `make reference`.
---@meta _

---@class pipeline.DurableFunction: pipeline.Stage
local DurableFunction = {}

--- Not for durable functions, which await the futures, and then spawn: raises UnexpectedPipelineError.
function DurableFunction:after() end

---@class (exact) pipeline.DurableFunction.all.options
---@field settle? boolean

--- Waits for all futures of a list.
---
--- Returns list of the first value of each, with their count in `n`; with settle of { ok =, value =, error = }. Raises
--- the first error in the order in which they came; the others go on.
---@param list table of futures of this run. @tparam[opt] table given settle = true: errors are among the results.
---@param given? pipeline.DurableFunction.all.options
---@return any
function DurableFunction:all(list, given) end

--- Waits for futures of this run: of steps, timers, children and their outputs. Of one: its values; of several: the
--- first value of each. Raises AbortedError for a child that was aborted, else the recorded error.
---@param ... any
function DurableFunction:await(...) end

--- Executes what is registered for compensation now, the newest first, and forgets it.
---@param reason? string a text, for the log. Raises WorkflowError when some have failed, after all were tried.
function DurableFunction:compensate(reason) end

--- Begins run anew with these arguments, an empty journal and the same id: `return self:continue_as_new(...)`. Signals
--- that were not taken, the outputs and who waits for them, and children that still run are as before. Handlers at work
--- end first; what they change in tables among the arguments is in the next era.
---
--- Returns what run must return.
---@param ... any
---@return any
function DurableFunction:continue_as_new(...) end

--- A future of the next signal of that name: its payload. A signal that came before is taken, too.
---@param name string
function DurableFunction:event(name) end

--- Starts a branch of the body: fn(...) takes its turns beside the code that goes on here, and may wait by the same
--- methods. What it asks for counts by itself, so its steps never share a number with those of another branch.
---
--- Returns a future of its results. An error that nobody awaits fails the run at its end.
---@param name? string of the branch (default "go"); the second of that name is another one.
---@param fn function
---@param ... any
---@return any
function DurableFunction:go(name, fn, ...) end

--- How long the journal of this era is: { entries, bytes, era (times it was continued as new), suggested (it is time to
--- continue as new: from 2,000 entries or 4 MiB on) }.
function DurableFunction:history() end

--- Not for durable functions, which await each child before they spawn the next: raises UnexpectedPipelineError.
function DurableFunction:in_order() end

--- Whether what the body does now was done before, in an earlier life.
function DurableFunction:is_replaying() end

--- Writes a line to the log, once: not when the run is replayed.
---@param ... any
function DurableFunction:log(...) end

--- The time of what the body was told last, in seconds since the epoch: the same in every life of the run.
function DurableFunction:now() end

--- Registers what undoes something: with a name fn(...) is executed as a step, without one fn() is code of the body. It
--- is called when an error leaves run, or the run is cancelled; what was registered last comes first.
---@param name? string of the step.
---@param fn function
---@param ... any
function DurableFunction:on_compensate(name, fn, ...) end

--- Answers queries of that name (engine:query) with what fn(...) returns. It has to answer at once, may be called in
--- any process, at any time and also when the run is over, and changes nothing: what it changes is lost.
---@param name string of 1 to 200 bytes. @tparam function fn gets the arguments of the query.
---@param fn function
function DurableFunction:on_query(name, fn) end

--- Takes the signals of that name that no wait takes: for each, in the order in which they came, fn(payload) runs as a
--- branch of the body, when that waits. Those that came before are taken, too. The run ends when all handlers have
--- ended; an error of one fails it then.
---@param name string of 1 to 200 bytes. @tparam function fn
---@param fn function
function DurableFunction:on_signal(name, fn) end

--- Takes updates of that name (engine:update): fn(payload) runs as a branch of the body, when that waits, and its
--- result, or its error, is the answer. An update that comes when the body waits first, and has no handler then, is
--- refused.
---
--- `validator`: nil, or function(payload), which raises where the update is to be refused: then it leaves no trace in
--- the journal. It records nothing, and does not wait.
---@param name string of 1 to 200 bytes.
---@param validator any
---@param fn function
function DurableFunction:on_update(name, validator, fn) end

---@class (exact) pipeline.DurableFunction.patched.options
---@field deprecated? boolean

--- Guards changed code: `if self:patched("id") then new() else old() end`. True in runs that reach it for the first
--- time with this code, false in those that have passed it before; the same all through a run.
---
--- `given`: deprecated = true: true always; the old way is gone, and runs that went the new way still say so in their
--- journals. When there are none any more the call can go, too.
---@param id string of the change (1 to 200 bytes).
---@param given? pipeline.DurableFunction.patched.options
function DurableFunction:patched(id, given) end

--- As math.random, but the same in every life of the run.
---@param m any
---@param n integer
function DurableFunction:random(m, n) end

--- Calls fn(scope) in a scope of its own: scope:cancel(reason), from whatever branch, cancels all that was asked for in
--- it, and nothing else.
---
--- Returns what fn returns. Raises its error, and CancelledError when it was cancelled.
---@param fn function
---@return any
function DurableFunction:scope(fn) end

--- Waits for the first of several.
---
--- `members`: by key: futures of this run; a number: a timer of so many seconds; a text: the next signal of that name.
--- The last two end with the select; losing futures stay valid.
---
--- Returns the key of the member that came first, and its values; in every later life the same. Raises its error, with
--- the key in its field `key`.
---@param members table
---@return any
function DurableFunction:select(members) end

---@class (exact) pipeline.DurableFunction.set_status.options
---@field console_url? string
---@field message? string
---@field status_links? table

--- As for every pipeline; in the body with the next commit.
---@param given? pipeline.DurableFunction.set_status.options
function DurableFunction:set_status(given) end

--- Shows a value: engine:get_value(ref, name) gives it, from the next commit on, also when the run is over. Of several
--- between two commits the last one counts.
---@param name string of 1 to 200 bytes. @param value any value that can be stored.
---@param value any
function DurableFunction:set_value(name, value) end

--- Calls fn(...), which no cancellation from around it interrupts: that is raised here, when it has ended.
---
--- Returns what fn returns.
---@param fn function
---@param ... any
---@return any
function DurableFunction:shield(fn, ...) end

---@class (exact) pipeline.DurableFunction.signal.options
---@field key? any

--- Sends this durable function a signal, from outside of its body: see engine:signal.
---@param name string
---@param payload any
---@param given? pipeline.DurableFunction.signal.options
function DurableFunction:signal(name, payload, given) end

---@class (exact) pipeline.DurableFunction.signal_to.options
--- as for engine:signal; default: one of its own
---@field key? any

--- Sends another durable function a signal, with the next commit: see engine:signal. What is sent to one that is over,
--- or that is not there, is dropped.
---
--- `id`: of the other one, or its idempotence key. @tparam string name of the signal. @param payload any value that can
--- be stored.
---@param id string
---@param name string
---@param payload any
---@param given? pipeline.DurableFunction.signal_to.options key (as for engine:signal; default: one of its own).
function DurableFunction:signal_to(id, name, payload, given) end

--- Waits so many seconds, however long: the run is suspended meanwhile, and goes on in whatever process is there.
---@param seconds number
function DurableFunction:sleep(seconds) end

--- Starts `child` with the next commit, below this run.
---
--- `given`: detached = true: a root of its own, which lives on whatever becomes of this run, and is not awaited;
--- fallback (a value): what its outputs are if it is aborted.
---
--- Returns its future, for self:await or as an argument of another child.
---@param child any
---@param given? table
---@return any
function DurableFunction:spawn(child, given) end

--- As step, but does not wait: returns a future.
---@param given? table
---@param fn function
---@param ... any
function DurableFunction:start_step(given, fn, ...) end

--- Has fn(...) done once, in a tasklet of its own, and its results recorded: in every later life of the run they come
--- from the journal. A failed attempt is tried again.
---
--- `given`: name of the step (1 to 200 bytes), or a table: name, key (text or whole number: the identity in place of
--- the occurrence), max_attempts, backoff_seconds, backoff_factor, timeout (seconds of one attempt); these default to
--- those of the class; heartbeat_timeout (seconds without a heartbeat after which an attempt has failed), no_retry
--- (list of classes of errors that are final), at_most_once (its begin is recorded: it is never called again after a
--- crash; max_attempts is then 1 unless it is given), compensate (function(outcome, ...) that undoes it should run fail
--- or be cancelled later: outcome.ok is true, false, or nil: nobody can say whether it had its effect; outcome.value,
--- outcome.error and outcome.key are those of the step, the rest are its arguments).
---
--- Returns what fn returned, decoded; raises what it raised once its attempts are used up. Raises NotInStepError,
--- NotYieldableError, LimitError, NondeterminismError never: such a run is held.
---@param given? table
---@param fn function may do anything, and may await; see pipeline.step.
---@param ... any
---@return any
function DurableFunction:step(given, fn, ...) end

--- A stream, which engine:read_stream reads while it grows and afterwards: its methods are write(value) and close().
--- Each write is there once, in the order of the writes. It lives on over continue_as_new, and ends with the run.
---
--- Returns the stream. Its write raises LimitError above 100,000 values, or 64 MiB.
---@param name string of 1 to 200 bytes.
---@return any
function DurableFunction:stream(name) end

--- A future that is done after so many seconds, or at { at = seconds since the epoch }.
---@param given? table
function DurableFunction:timer(given) end

--- Calls fn(tx) in a transaction on the file of the engine (see engine:transaction): what it does to the user's tables,
--- its results, and everything that the body has asked for before are committed together, or not at all. If it raises,
--- all is rolled back and it is tried again, as a step is. It should wait for nothing.
---
--- Returns what fn returned, decoded.
---@param name string of the step that it is.
---@param fn function its tx has execute and query.
---@return any
function DurableFunction:transaction(name, fn) end

--- A random UUID, a text of 36 characters; the same in every life of the run.
function DurableFunction:uuid() end

--- The version of the class that the run was started under.
function DurableFunction:version() end

---@class (exact) pipeline.DurableFunction.wait_event.options
--- seconds
---@field timeout? number

--- Waits for the next signal of that name, which may have come before.
---
--- Returns its payload. Raises TimeoutError; a signal that comes later goes to the next wait.
---@param name string
---@param given? pipeline.DurableFunction.wait_event.options timeout (seconds).
---@return any
function DurableFunction:wait_event(name, given) end

--- Calls fn(...), which may take so many seconds; then what it has asked for is cancelled.
---
--- Returns what fn returns. Raises its error, and TimeoutError when the time was up first.
---@param seconds number
---@param fn function
---@param ... any
---@return any
function DurableFunction:with_timeout(seconds, fn, ...) end

---@class (partial) pipeline.Engine
local Engine = {}

--- What a durable function does now.
---
--- Returns a table: id, class, mode ("begun", "suspended", "held", "over"), reason (of the last two), era, bytes (of
--- its journal), mails (signals and updates that were not taken), forked_from; pending: a list of what it waits for,
--- each with kind, name, nth, key, path, line, since, due, attempt, error.
---@param ref any its id, idempotence key or instance.
---@return any
function Engine:explain(ref) end

---@class (exact) pipeline.Engine.fork.options
--- list of arguments; default: those of the original
---@field args? table
--- "rerun": should a child that is kept not be final, it and all behind it is done anew; default: an error
---@field children? string
--- the entry from which on all is done anew: its name, as in "charge", "charge#2" for the second one, or its position
--- in the journal
---@field from? any
---@field idempotence_key? string
--- true: with a copy of the signals that were not taken
---@field mail? boolean
--- default: that of the original
---@field version? integer

--- Starts a new run with what another one had done before a certain entry of its journal; from there on it is done
--- anew. The original is left as it is, whatever its state, and effects that it had before are not had again. What was
--- stopped when the original was cancelled is done anew; a fork from behind that is aborted as the original was.
---
--- `given`: from (the entry from which on all is done anew: its name, as in "charge", "charge#2" for the second one, or
--- its position in the journal), args (list of arguments; default: those of the original), version (default: that of
--- the original), idempotence_key, children ("rerun": should a child that is kept not be final, it and all behind it is
--- done anew; default: an error), mail (true: with a copy of the signals that were not taken).
---
--- Returns the new instance. Raises PipelineExistsError, WorkflowError (its journal is gone; a child is not final).
---@param ref any id, idempotence key or instance of the original.
---@param given? pipeline.Engine.fork.options
---@return any
function Engine:fork(ref, given) end

--- The names that a durable function answers to, as far as it has come: it is replayed, as for a query.
---
--- Returns { queries, signals, updates }: lists of names that handlers take (self:on_query, self:on_signal,
--- self:on_update), sorted. Raises QueryError (it cannot be replayed here), NondeterminismError.
---@param ref any its id, idempotence key or instance.
---@return any
function Engine:get_handlers(ref) end

---@class (exact) pipeline.Engine.get_journal.options
--- the seq of the last entry of the page before; 0
---@field after? any
--- 100, at most 1000
---@field limit? integer

--- The journal of a durable function: what it has asked for, in that order.
---
--- `given`: after (the seq of the last entry of the page before; 0), limit (100, at most 1000).
---
--- Returns list of { seq, done (order in which it was delivered; absent: not yet), kind ("step", "timer", "child",
--- "slot" ...), state ("open", "ok", "failed", "cancelled", "again": a step that is to be tried again), path (of its
--- branch), name, nth, key, line, opened, closed, attempt, due, value (results in short), error, stage (id of a child),
--- details (of the last heartbeat of a step that has not ended, in short), beat (when that was) }; and what is known of
--- the run besides: { era, first, last (seq of the first and the last entry of its era), bytes, signals (how many wait
--- to be taken), mode ("begun", "suspended", "held", "over"), reason (held: why; suspended: what it waits for, in
--- words) }; nil when the journal is not kept any more.
---@param ref any its id, idempotence key or instance.
---@param given? pipeline.Engine.get_journal.options
---@return any
function Engine:get_journal(ref, given) end

---@class (exact) pipeline.Engine.get_streams.options
--- how many values of each are told, the last ones; default 10, at most 100
---@field tail? integer

--- The streams of a durable function (self:stream), with what was written into each last.
---
--- `given`: tail (how many values of each are told, the last ones; default 10, at most 100).
---
--- Returns list of { name, count (of values), time (of the last one), closed = true (it takes no more), tail = list of
--- { offset, value, time } }, by their names; 100 of them at most. A value that has come meanwhile is in `tail`.
---@param ref any its id, idempotence key or instance.
---@param given? pipeline.Engine.get_streams.options
---@return any
function Engine:get_streams(ref, given) end

--- A value that a durable function shows (self:set_value).
---
--- Returns the value, as it is now or was at the end; nil: none of that name was set.
---@param ref any its id, idempotence key or instance. @tparam string name
---@param name string
---@return any
function Engine:get_value(ref, name) end

--- The values that a durable function shows (self:set_value): as they are now, or were at the end.
---
--- Returns list of { name, value, time (when it was set), size (bytes as it is stored), too_large = true (in place of
--- the value, where it is larger than 64 KiB: get_value has it) }, by their names; 100 of them at most.
---@param ref any its id, idempotence key or instance.
---@return any
function Engine:get_values(ref) end

--- Holds a durable function: nothing more of it begins, until it is resumed. Steps at work end, and are recorded;
--- timers keep their times, and signals wait in the mailbox.
---
--- Returns whether it is held from here on, also if it waits for its inputs or has no task yet; false if it was before,
--- or has returned. Raises UnexpectedPipelineError if it is none or final.
---@param ref any its id, idempotence key or instance.
---@param reason? string a text.
---@return any
function Engine:hold(ref, reason) end

--- Asks a durable function, wherever and whether or not it is being executed; also when it is over, as long as its
--- journal is kept. Its handler (self:on_query) is called in a replay of it, in this process, up to where its journal
--- ends; so the class has to be loaded here, or loadable. Nothing of the run is changed, and nothing begins.
---
--- Returns what the handler returns, decoded. Raises what it raises; QueryError (there is no such handler: it lists
--- those that are there; or it cannot be replayed; or the handler did what is recorded); NondeterminismError.
---@param ref any its id, idempotence key or instance. @tparam string name of the query. @param ... its arguments.
---@param name string
---@param ... any
---@return any
function Engine:query(ref, name, ...) end

---@class (exact) pipeline.Engine.read_stream.options
--- 0: of the first value that is wanted
---@field offset? any
--- seconds that the next value may take, TimeoutError; default: for ever
---@field timeout? number
--- true; false: ends with what is there
---@field wait? boolean

--- Reads a stream of a durable function (self:stream), while it grows and afterwards.
---
--- `given`: offset (0: of the first value that is wanted), wait (true; false: ends with what is there), timeout
--- (seconds that the next value may take, TimeoutError; default: for ever).
---
--- Returns iterator of offset, value; for a reader that goes on later the offset of the last one plus 1 is where. It
--- ends when the stream is closed, or the run is over.
---@param ref any its id, idempotence key or instance. @tparam string name
---@param name string
---@param given? pipeline.Engine.read_stream.options
---@return any
function Engine:read_stream(ref, name, given) end

---@class (exact) pipeline.Engine.resume.options
---@field retry? boolean

--- Lets a durable function that is held go on: with the code of now, from where its journal ends.
---
--- `given`: retry = true: if it is held since the error of a step has left run (`on_error = "hold"`), that step is
--- tried again, with all its attempts.
---
--- Returns whether it goes on; false if it was not held; of a class how many go on. Raises UnexpectedPipelineError if
--- it is none or final.
---@param ref any its id, idempotence key or instance; or a durable class: all of it that are held.
---@param given? pipeline.Engine.resume.options
---@return any
function Engine:resume(ref, given) end

---@class (exact) pipeline.Engine.signal.options
--- a signal with a key that the run has had already is not delivered again
---@field key? any
--- a durable function that is started, with `ref` as its idempotence key and with the signal, if there is none
---@field start? table

--- Sends a durable function a signal. It is kept until a wait of that name takes it (self:wait_event, self:event,
--- self:select), also if it waits for it only later, or has not begun.
---
--- `ref`: its id, idempotence key or instance. @tparam string name of the signal. @param payload any value that can be
--- stored.
---
--- `given`: key (a signal with a key that the run has had already is not delivered again), start (a durable function
--- that is started, with `ref` as its idempotence key and with the signal, if there is none).
---
--- Returns true: it is on disk; false and "final", or "not_found": nothing was stored. Inside engine:transaction it is
--- sent with that. Raises LimitError when the mailbox of the run is full, SerializationError.
---@param ref any
---@param name string
---@param payload any
---@param given? pipeline.Engine.signal.options
---@return any
function Engine:signal(ref, name, payload, given) end

---@class (exact) pipeline.Engine.update.options
--- a text or a whole number
---@field key? any
--- seconds to wait; the update goes on all the same
---@field timeout? number

--- Has a handler of a durable function (self:on_update) do something, and waits for its answer. It is done once, also
--- if whoever has asked is gone, or its process: with a key whoever asks again gets the same answer, as long as the run
--- goes on.
---
--- `given`: key (a text or a whole number), timeout (seconds to wait; the update goes on all the same).
---
--- Returns what the handler has returned; raises what it has raised, UpdateRejectedError (its validator has refused it,
--- or no handler takes it), TimeoutError, AbortedError (the run was over before it was taken), LimitError.
---@param ref any its id, idempotence key or instance. @tparam string name @param payload any value that can be stored.
---@param name string
---@param payload any
---@param given? pipeline.Engine.update.options
---@return any
function Engine:update(ref, name, payload, given) end
