-- deferred.lua: deferred calls, for editors (LuaLS); made from doc comments by `make reference`.
---@meta pipeline.deferred

---@class deferred
local deferred = {}

---@type pipeline.ErrorClass
deferred.Error = nil

---@type pipeline.ErrorClass
deferred.PermanentTaskFailure = nil

---@type pipeline.ErrorClass
deferred.SingularTaskFailure = nil

--- Lets calls stored under an old name find what has moved: a function, a class, or a module with all that is in it.
--- Counts only where the old name leads nowhere. Raises ConfigurationError if aliases would lead in a circle.
---@param old_path any
---@param new_path any
function deferred.alias(old_path, new_path) end

--- Stores a call, to be made as soon as possible by an engine on the same store; see serialize for what can be called.
--- All arguments are the function's: options are given to `with`. The call runs as a coroutine of the engine and may
--- await.
---
--- Returns the task. Raises what serialize and Queue.add raise; then nothing is enqueued. In App Engine:
--- deferred.defer.
---@param fn function
---@param ... any
---@return any
function deferred.defer(fn, ...) end

--- Executes a claimed task of kind "deferred"; called in a coroutine of the engine, which counts its time from then on.
---@param engine any
---@param claim any
function deferred.execute(engine, claim) end

--- A route handler that makes the calls pushed to it; at /_ah/queue/deferred it is routed by itself. Only a request
--- with the signature of the store runs anything: all others are answered 403. Success is 200, a SingularTaskFailure
--- 408 (retried), a PermanentTaskFailure 200 (not retried), any other error 500 (retried); a call that cannot be read,
--- or whose function cannot be found, 422, and the task goes to the dead-letter list. In App Engine:
--- deferred.TaskHandler.
---@param request table
function deferred.handler(request) end

--- Calls the method `name` of `object` with the other arguments. In App Engine: deferred.invoke_member.
---@param object any
---@param name string
---@param ... any
function deferred.invoke_member(object, name, ...) end

--- Gives a function, or a class whose objects are deferred, a name under which calls find it, whatever module it is in.
--- Every process that makes or executes such calls must register it. Returns what was registered. Raises
--- ConfigurationError if the name is taken by another one.
---@param name string
---@param fn function
function deferred.register(name, fn) end

--- Makes a call that serialize has stored.
---
--- Returns what the function returns, or what its future gives if it is a tasklet; its errors are raised unchanged.
--- Raises PermanentTaskFailure if the bytes cannot be read or what they call cannot be found. In App Engine:
--- deferred.run.
---@param bytes any
---@return any
function deferred.run(bytes) end

--- Inside a call that a schedule has made: { name, nominal_time, fire_time, previous_nominal_time, reason ("schedule",
--- "catch_up", "trigger", "backfill"), local_time }; else nil. A retry is told the same.
function deferred.schedule() end

--- A call as bytes: what defer would store. What can be deferred: a name, "module.function", or one given by register;
--- the module may be unknown in this process; a function that was registered, or is a field (or a field of a field, up
--- to four deep) of a module under `modules` of pipeline.open; the built-in functions of string, table, math and utf8,
--- and assert, error, ipairs, next, pairs, print, rawequal, rawlen, select, tonumber, tostring and type. Nothing of os,
--- io, debug and package, no load, dofile or require is ever called by a stored name, unless it was registered; a class
--- or other table with __call that is such a field, or registered: it is called when the task runs, and so a class
--- constructs; followed by the name of a method of it: that is called, with the class as first argument; an object of
--- such a class: its state is stored (its plain fields, or what the __defer of its class gives), and it is called when
--- the task runs; followed by the name of a method of it: that method is called. For an object that has both, and a
--- first argument that is the name of a method, defer invoke_member. Arguments are values as pipelines take them: no
--- futures, coroutines, userdata, anonymous functions.
---
--- Returns string. Raises SerializationError, which names the place, or "bad argument" for what cannot be called. In
--- App Engine: deferred.serialize.
---@param fn function
---@param ... any
---@return any
function deferred.serialize(fn, ...) end

--- Answers a request with a stored call on behalf of an engine.
---@param engine any
---@param request table
function deferred.serve(engine, request) end

--- The level (10 debug, 20 info, the default, 30 warning, 40 error, 50 critical) at which each execution is logged,
--- with its task's headers. In App Engine: deferred.set_log_level.
---@param level string
function deferred.set_log_level(level) end

---@class (exact) deferred.with.options
--- seconds
---@field countdown? any
--- seconds, 15 to 86400: how long one try may take; default 600
---@field dispatch_deadline? any
--- seconds since the epoch, or a table as of os.date("!*t")
---@field eta? any
--- of the push; they may replace the content type
---@field headers? table
--- of the task; used once, and blocked until its tombstone expires
---@field name? any
--- "default"
---@field queue? string
--- TaskRetryOptions
---@field retry_options? any
--- the call is pushed to that target
---@field target? any
--- inside a run: enqueued when, and only if, the attempt succeeds
---@field transactional? boolean
--- the call is pushed there, where deferred.handler must be routed
---@field url? string

--- As defer, with options: `deferred.with{ countdown = 10 }(fn, ...)`.
---
--- `given`: countdown (seconds) or eta (seconds since the epoch, or a table as of os.date("!*t")), name (of the task;
--- used once, and blocked until its tombstone expires), queue ("default"), retry_options (TaskRetryOptions),
--- transactional (inside a run: enqueued when, and only if, the attempt succeeds), url (the call is pushed there, where
--- deferred.handler must be routed), target (the call is pushed to that target), headers (of the push; they may replace
--- the content type), dispatch_deadline (seconds, 15 to 86400: how long one try may take; default 600).
---
--- Returns a function that takes what defer takes. In App Engine: the arguments of defer with a leading underscore.
---@param given? deferred.with.options
---@return any
function deferred.with(given) end

return deferred
