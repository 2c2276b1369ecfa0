-- futures.lua: futures of tasklets and their kin, for editors (LuaLS); made from doc comments by `make reference`.
---@meta _

---@class tasklets.Future<T>
local Future = {}

--- Calls fn(...) from the loop when the future is done; in the order added.
---@param fn function
---@param ... any
function Future:add_callback(fn, ...) end

--- Calls fn(...) inside the call that completes the future, before all other callbacks; at once if it is done. If that
--- call is itself in an immediate callback, fn comes as soon as those have returned that are to be called before. It
--- cannot await.
---@param fn function
---@param ... any
function Future:add_immediate_callback(fn, ...) end

--- Completes the future with CancelledError, and cancels what only it has waited for. Returns false if it was done
--- already.
---@param reason string
function Future:cancel(reason) end

--- Waits, then raises the error if there is one.
function Future:check_success() end

--- Whether the future is done.
---@return boolean
function Future:done() end

--- The chain as one text.
function Future:dump_stack() end

--- Waits, then returns the error or nil.
function Future:get_exception() end

--- Waits, then returns the results or raises the error. In a tasklet the same as await.
---@return any
function Future:get_result() end

--- The trace of the error, through all the awaits it has come; nil if there is none. Waits like get_exception.
function Future:get_traceback() end

--- What it is and where it was made.
function Future:name() end

--- Completes the future with an error: any value but nil. A text, and whatever else is no object, becomes an Error.
---@param value any
---@param trace any
function Future:set_exception(value, trace) end

--- Completes the future with results, any number of them. Raises TaskletError if it is done.
---@param ... any
function Future:set_result(...) end

--- As name, and how it stands (T33).
function Future:text() end

--- Waits until the future is done.
function Future:wait() end

---@class tasklets.QueueFuture: tasklets.Future
local QueueFuture = {}

--- Calls fn(...) from the loop when the future is done; in the order added.
---@param fn function
---@param ... any
function QueueFuture:add_callback(fn, ...) end

--- Adds a future: its result can be taken when it is done. The same one twice is added once.
---@param member any
function QueueFuture:add_dependent(member) end

--- Calls fn(...) inside the call that completes the future, before all other callbacks; at once if it is done. If that
--- call is itself in an immediate callback, fn comes as soon as those have returned that are to be called before. It
--- cannot await.
---@param fn function
---@param ... any
function QueueFuture:add_immediate_callback(fn, ...) end

--- As set_exception with a CancelledError, also after complete. Returns false if the queue was done already.
---@param reason string
function QueueFuture:cancel(reason) end

--- Waits, then raises the error if there is one.
function QueueFuture:check_success() end

--- No more will be added. The queue itself is done, with nil, when the last result is there.
function QueueFuture:complete() end

--- Whether the future is done.
function QueueFuture:done() end

--- The chain as one text.
function QueueFuture:dump_stack() end

--- For loops: `for value in q:each() do`, until the queue has ended.
function QueueFuture:each() end

--- Waits, then returns the error or nil.
function QueueFuture:get_exception() end

--- Waits, then returns the results or raises the error. In a tasklet the same as await.
function QueueFuture:get_result() end

--- The trace of the error, through all the awaits it has come; nil if there is none. Waits like get_exception.
function QueueFuture:get_traceback() end

--- Returns a future of the next result; after the last one it fails with EOFError, or with the error of set_exception.
function QueueFuture:getq() end

--- What it is and where it was made.
function QueueFuture:name() end

--- Adds a value or a future. Returns a future that is done as soon as the queue has room for more (G54).
function QueueFuture:putq() end

--- No more will be added: the queue fails at once; those who ask for more than is there get the error.
---@param value any
---@param trace any
function QueueFuture:set_exception(value, trace) end

--- set_result of the kinds that are completed with complete().
function QueueFuture:set_result() end

--- As name, and how it stands (T33).
function QueueFuture:text() end

--- Waits until the future is done.
function QueueFuture:wait() end

---@class tasklets.SerialQueueFuture: tasklets.Future
local SerialQueueFuture = {}

--- Calls fn(...) from the loop when the future is done; in the order added.
---@param fn function
---@param ... any
function SerialQueueFuture:add_callback(fn, ...) end

--- Adds a future; results come in the order of adding.
---@param member any
function SerialQueueFuture:add_dependent(member) end

--- Calls fn(...) inside the call that completes the future, before all other callbacks; at once if it is done. If that
--- call is itself in an immediate callback, fn comes as soon as those have returned that are to be called before. It
--- cannot await.
---@param fn function
---@param ... any
function SerialQueueFuture:add_immediate_callback(fn, ...) end

--- As set_exception with a CancelledError. Returns false if the queue was done already.
---@param reason string
function SerialQueueFuture:cancel(reason) end

--- Waits, then raises the error if there is one.
function SerialQueueFuture:check_success() end

--- No more will be added. The queue itself is done at once, with nil.
function SerialQueueFuture:complete() end

--- Whether the future is done.
function SerialQueueFuture:done() end

--- The chain as one text.
function SerialQueueFuture:dump_stack() end

--- For loops: `for value in q:each() do`, until the queue has ended.
function SerialQueueFuture:each() end

--- Waits, then returns the error or nil.
function SerialQueueFuture:get_exception() end

--- Waits, then returns the results or raises the error. In a tasklet the same as await.
function SerialQueueFuture:get_result() end

--- The trace of the error, through all the awaits it has come; nil if there is none. Waits like get_exception.
function SerialQueueFuture:get_traceback() end

--- Returns a future of the next item: the very one that was put, if there is one.
function SerialQueueFuture:getq() end

--- What it is and where it was made.
function SerialQueueFuture:name() end

--- Adds a value or a future. Returns a future that is done as soon as the queue has room for more (G54).
---@param value any
function SerialQueueFuture:putq(value) end

--- No more will be added: the queue fails; what is in it can still be taken, then comes the error.
---@param value any
---@param trace any
function SerialQueueFuture:set_exception(value, trace) end

--- set_result of the kinds that are completed with complete().
function SerialQueueFuture:set_result() end

--- As name, and how it stands (T33).
function SerialQueueFuture:text() end

--- Waits until the future is done.
function SerialQueueFuture:wait() end

---@class tasklets.MultiFuture: tasklets.Future
local MultiFuture = {}

--- Calls fn(...) from the loop when the future is done; in the order added.
---@param fn function
---@param ... any
function MultiFuture:add_callback(fn, ...) end

--- Adds a future whose result will be the next of the list. In App Engine: add_dependent.
---@param member any
function MultiFuture:add_dependent(member) end

--- Calls fn(...) inside the call that completes the future, before all other callbacks; at once if it is done. If that
--- call is itself in an immediate callback, fn comes as soon as those have returned that are to be called before. It
--- cannot await.
---@param fn function
---@param ... any
function MultiFuture:add_immediate_callback(fn, ...) end

--- Completes the future with CancelledError, and cancels what only it has waited for. Returns false if it was done
--- already.
---@param reason string
function MultiFuture:cancel(reason) end

--- Waits, then raises the error if there is one.
function MultiFuture:check_success() end

--- No more will be added: the future is done, with the list of all results, when the last member is.
function MultiFuture:complete() end

--- Whether the future is done.
function MultiFuture:done() end

--- The chain as one text.
function MultiFuture:dump_stack() end

--- Waits, then returns the error or nil.
function MultiFuture:get_exception() end

--- Waits, then returns the results or raises the error. In a tasklet the same as await.
function MultiFuture:get_result() end

--- The trace of the error, through all the awaits it has come; nil if there is none. Waits like get_exception.
function MultiFuture:get_traceback() end

--- What it is and where it was made.
function MultiFuture:name() end

--- Adds a value, or a future.
---@param value any
function MultiFuture:putq(value) end

--- Instead of complete: fails at once.
---@param value any
---@param trace any
function MultiFuture:set_exception(value, trace) end

--- set_result of the kinds that are completed with complete().
function MultiFuture:set_result() end

--- As name, and how it stands (T33).
function MultiFuture:text() end

--- Waits until the future is done.
function MultiFuture:wait() end

---@class tasklets.ReducingFuture: tasklets.Future
local ReducingFuture = {}

--- Calls fn(...) from the loop when the future is done; in the order added.
---@param fn function
---@param ... any
function ReducingFuture:add_callback(fn, ...) end

--- Adds a future whose result is to be reduced with the others.
---@param member any
function ReducingFuture:add_dependent(member) end

--- Calls fn(...) inside the call that completes the future, before all other callbacks; at once if it is done. If that
--- call is itself in an immediate callback, fn comes as soon as those have returned that are to be called before. It
--- cannot await.
---@param fn function
---@param ... any
function ReducingFuture:add_immediate_callback(fn, ...) end

--- Completes the future with CancelledError, and cancels what only it has waited for. Returns false if it was done
--- already.
---@param reason string
function ReducingFuture:cancel(reason) end

--- Waits, then raises the error if there is one.
function ReducingFuture:check_success() end

--- No more will be added: the future is done with what the reducer makes of all values; nil if there are none.
function ReducingFuture:complete() end

--- Whether the future is done.
function ReducingFuture:done() end

--- The chain as one text.
function ReducingFuture:dump_stack() end

--- Waits, then returns the error or nil.
function ReducingFuture:get_exception() end

--- Waits, then returns the results or raises the error. In a tasklet the same as await.
function ReducingFuture:get_result() end

--- The trace of the error, through all the awaits it has come; nil if there is none. Waits like get_exception.
function ReducingFuture:get_traceback() end

--- What it is and where it was made.
function ReducingFuture:name() end

--- Adds a value, which may not be nil, or a future.
---@param value any
function ReducingFuture:putq(value) end

--- Instead of complete: fails at once.
---@param value any
---@param trace any
function ReducingFuture:set_exception(value, trace) end

--- set_result of the kinds that are completed with complete().
function ReducingFuture:set_result() end

--- As name, and how it stands (T33).
function ReducingFuture:text() end

--- Waits until the future is done.
function ReducingFuture:wait() end

---@class tasklets.Semaphore
local Semaphore = {}

--- Takes a permit, waiting until there is one. `local permit <close> = semaphore:acquire()` gives it back by itself.
function Semaphore:acquire() end

--- Gives one permit back that was taken with acquire, by whoever. Raises if none is out.
function Semaphore:release() end

--- Takes a permit if there is one, else returns nil.
function Semaphore:try_acquire() end

---@class tasklets.AutoBatcher
local AutoBatcher = {}

--- Adds a request. Returns a future of its answer. In App Engine: add.
---@param arg any
---@param given? table options: requests with equal ones go together.
function AutoBatcher:add(arg, given) end

--- As add; but when the same request already waits to be sent, its future.
---@param arg any
---@param given? table
function AutoBatcher:add_once(arg, given) end

--- Sends everything. Returns a future that is done when nothing is under way. In App Engine: flush.
function AutoBatcher:flush() end

---@class tasklets.Context
local Context = {}

--- Sends what the batchers of this context hold; a future that is done when they have nothing under way.
function Context:flush() end
