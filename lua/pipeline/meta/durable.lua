-- durable.lua: bodies of durable functions, for editors (LuaLS); made from doc comments by `make reference`.
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
