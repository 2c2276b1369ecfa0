-- tasklets.lua: tasklets, for editors (LuaLS); made from doc comments by `make reference`.
---@meta pipeline.tasklets

---@class tasklets
local tasklets = {}

---@type pipeline.ErrorClass
tasklets.CancelledError = nil

---@type pipeline.ErrorClass
tasklets.DeadlockError = nil

---@type pipeline.ErrorClass
tasklets.EOFError = nil

---@type pipeline.ErrorClass
tasklets.FetchError = nil

---@type fun(): tasklets.Future
tasklets.Future = nil

---@type pipeline.ErrorClass
tasklets.TaskletError = nil

---@type pipeline.ErrorClass
tasklets.TimeoutError = nil

--- Makes a batcher of the current context. In App Engine: AutoBatcher.
---
--- `fn`: fn(list, options) answers a batch: a list of {future=, arg=}; it completes each future, and may await. If it
--- fails, the futures that are not done get its error.
---@param fn function
---@param given? table limit (default 20).
function tasklets.AutoBatcher(fn, given) end

--- Makes a future of many: its result is the list of theirs, with field n. It fails, when all are done, with the error
--- of the first in the list. Adding after complete raises TaskletError. In App Engine: MultiFuture.
---@param given? table|string its purpose, for texts, or a table {info=}.
function tasklets.MultiFuture(given) end

--- Makes a mutex: a semaphore with one permit. A tasklet that takes it twice waits for itself.
function tasklets.Mutex() end

--- Makes a queue that gives results in the order they are ready. In App Engine: QueueFuture.
---@param given? table|string info (text), limit (how many may be in it before putq makes its caller wait).
function tasklets.QueueFuture(given) end

---@class (exact) tasklets.ReducingFuture.options
--- how many values at most; default 20; 1 counts as 2
---@field batch_size? integer

--- Makes a future of what reducer(list) makes of many values, in any order and in batches: it must be like a sum. It
--- returns a value or a future. The first error, of a member or of the reducer, is that of the whole, at once. In App
--- Engine: ReducingFuture.
---
--- `given`: info (text), batch_size (how many values at most; default 20; 1 counts as 2).
---@param reducer any
---@param given? tasklets.ReducingFuture.options
function tasklets.ReducingFuture(reducer, given) end

--- Makes a semaphore with n permits (an integer, at least 1). They are handed on in the order they were asked for.
---@param n integer
function tasklets.Semaphore(n) end

--- Makes a queue that gives results in the order they were put; `given` as for QueueFuture. In App Engine:
--- SerialQueueFuture.
---@param given? table
function tasklets.SerialQueueFuture(given) end

--- Says that failures of that class of errors need not be reported when nobody looks at them (T36).
---@param of any
function tasklets.add_flow_exception(of) end

--- Waits for futures. await(f) gives all results of f, or raises its error; await(f, g, ...) gives the first result of
--- each, or raises, when all are done, the error of the first of them in this order. In a tasklet, and in whatever an
--- engine calls (run, callback, finalized, a route), others go on meanwhile; elsewhere the loop runs until then. Raises
--- TaskletError where it cannot wait: inside a C function that calls back (table.sort, string.gsub, require), in a
--- coroutine of the user's own within a tasklet, in a callback of the loop; DeadlockError when nothing is left that
--- could complete what is waited for. In App Engine: yield.
---@generic T
---@param ... tasklets.Future<T>
---@return T, ...
function tasklets.await(...) end

--- Waits for a list of futures; lists in it give lists. Returns the list of their first results, with field n. Raises,
--- when all are done, the error of the first in the list; with {fail_fast = true} the first error in time, at once.
--- Raises TaskletError, before anything is waited for, when a member is no future. In App Engine: yield of a list.
---@param list any
---@param given? table
function tasklets.await_all(list, given) end

---@class (exact) tasklets.fetch.options
--- 32 MiB; with stream none; 0: none
---@field body? any
---@field ca_file? string
---@field connect_timeout? number
---@field deadline? number
---@field follow? any
--- by lower-case name, repeated ones joined with ", "
---@field headers? table
---@field max_size? integer
--- GET
---@field method? string
---@field proxy? any
---@field stream? boolean
--- after redirects
---@field url? string
---@field verify? boolean

--- Makes an HTTP request. Returns a future at once; its result is the response: status, headers (by lower-case name,
--- repeated ones joined with ", "), header_list (pairs as sent), url (after redirects) and body. Any status is an
--- response, not an error. Cancelling the future, or the only tasklet that waits for it, ends the request.
---
--- `given`: url (http or https); method (GET); headers (strings, or lists of strings, by name); body: a string, or a
--- function that gives one piece after the other and nil at the end; it runs as a tasklet; stream: the future is done
--- with the head, and instead of a body the response has read() -> piece or nil, each(), and close(), which is also its
--- __close; until it is closed, read to its end, or collected, the loop does not take itself for done; deadline:
--- seconds (60; 0: none) for everything; with stream for the head, and for each piece waited for; connect_timeout:
--- seconds; max_size: bytes of the body (32 MiB; with stream none; 0: none); follow: true, or how many redirects to
--- follow; verify: false takes any certificate; ca_file: certificates to trust instead of the system's; proxy: its URL,
--- or true: as the environment says. The future fails with FetchError (fields code, url, method), TimeoutError (the
--- same fields), CancelledError, or what the body function has raised.
---@param given? tasklets.fetch.options
---@return tasklets.Future
function tasklets.fetch(given) end

--- What is under way on the loop: active, queued; requests and connections since it began.
function tasklets.fetch_facts() end

---@class (exact) tasklets.fetch_limits.options
--- requests under way at once, 100; more wait for their turn
---@field active? integer
--- connections kept open without a request, 100
---@field idle? integer
--- connections to one host; 0: any number
---@field per_host? integer

--- Sets the limits of requests on the loop.
---
--- `given`: active (requests under way at once, 100; more wait for their turn), per_host (connections to one host; 0:
--- any number), idle (connections kept open without a request, 100).
---@param given? tasklets.fetch_limits.options
function tasklets.fetch_limits(given) end

--- The function that tasklet, synctasklet or toplevel was given; nil for other values.
---@param wrapper any
function tasklets.function_of(wrapper) end

--- The context of the running tasklet, made if there is none. In App Engine: get_context.
function tasklets.get_context() end

--- A local value of the running tasklet: its own, or one it was started with.
---@param key string
function tasklets.get_local(key) end

--- Calls body(group) and waits until it and all tasklets started with group:spawn(fn, ...) have ended. Returns what
--- body returned; raises the first error.
---@param body function
function tasklets.group(body) end

--- Whether the running code is a tasklet, or something an engine has called that may await.
function tasklets.in_tasklet() end

--- Whether `value` is a future of tasklets, of any kind.
---@param value any
function tasklets.is_future(value) end

--- Makes a context with the fields of `given`. In App Engine: make_context.
---@param given? table
function tasklets.make_context(given) end

---@class (exact) tasklets.promisify.options
---@field plain? boolean

--- Makes of fn(..., callback) a function that returns a future. The callback's first argument is an error or nil, the
--- others are the results; with {plain = true} all are results. Cancelling the future does not undo the call.
---@param fn function
---@param given? tasklets.promisify.options
function tasklets.promisify(fn, given) end

--- Sets the context of the running tasklet, and of no other; nil: none. In App Engine: set_context.
---@param of any
function tasklets.set_context(of) end

--- Sets a local value of the running tasklet. Those it starts later have it too; its caller has not. In App Engine the
--- namespace is such a value.
---@param key string
---@param value any
function tasklets.set_local(key, value) end

--- Returns a future that is done, with nil, after so many seconds. In App Engine: sleep.
---@param seconds number
---@return tasklets.Future
function tasklets.sleep(seconds) end

--- As tasklet, but a call waits and gives the results. In App Engine: @synctasklet.
---@generic T
---@param fn fun(...: any): T
---@return fun(...: any): T
function tasklets.synctasklet(fn) end

--- Makes a tasklet of a function: calling it returns a future at once, and the function runs on the loop, where it may
--- await. All its results, or its error, are those of the future. Unlike the original, this holds for a function that
--- never awaits, too: it does not run inside the call. In App Engine: @tasklet.
---@generic T
---@param fn fun(...: any): T
---@return fun(...: any): tasklets.Future<T>
function tasklets.tasklet(fn) end

---@class (exact) tasklets.toplevel.options
--- default true
---@field after_error? boolean

--- As synctasklet, in a fresh context; afterwards the context is flushed and the loop run until nothing is left, so
--- that what was started without waiting is finished. Leaves no current context behind. In App Engine: @toplevel.
---@generic T
---@param fn fun(...: any): T
---@param given? tasklets.toplevel.options after_error (default true): also work off what is left when fn has failed.
---@return fun(...: any): T
function tasklets.toplevel(fn, given) end

--- A message handler for xpcall that shows where an error was raised, through all the awaits it has come.
---@param value any
function tasklets.traceback(value) end

--- Returns a future that is done as `of` is; or else fails with TimeoutError after so many seconds, and cancels `of`.
---@param of any a future, or a function, which is started as a tasklet.
---@param seconds number 0 and less: it must be done already.
function tasklets.with_timeout(of, seconds) end

return tasklets
