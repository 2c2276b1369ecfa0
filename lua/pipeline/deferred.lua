--- deferred.lua: calls that are made later, by whatever process works on the store: `require "pipeline.deferred"`.
--
-- A call is stored as a name or an object, and its arguments, encoded by the value codec; never as code. It is a task
-- of kind "deferred" that the engine executes itself, or, with `url`, a push of the same bytes to deferred.handler.
-- Both live in the store like any task, whatever their size.
--
-- The payload is the encoded list { form, what, ... }:
--   "deferred/1 name"     the name of a function, class or callable table; arguments
--   "deferred/1 object"   an object with __call; arguments
--   "deferred/1 method"   an object, the name of its method; arguments
--   "deferred/1 static"   the name of a table, the name of its method; arguments
--
-- How a call ends: it returns, and the task is done. It raises, or takes longer than its dispatch deadline: the task is
-- tried again as its retry options say.
-- SingularTaskFailure: the same, without ado in the log. PermanentTaskFailure: the task is done with. It cannot be
-- read, or what it calls cannot be found: the dead-letter list.
--
-- Invariants
--   1. Nothing is enqueued when anything in a call cannot be stored.
--   2. Only a request with the store's signature makes the handler run anything.

local attempts = require "pipeline.engine.attempt"
local core = require "pipeline.core"
local await = require "pipeline.support.await"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local names = require "pipeline.support.names"
local options = require "pipeline.support.options"
local queue_task = require "pipeline.taskqueue.task"
local report = require "pipeline.support.report"
local text = require "pipeline.support.text"
local places = require "pipeline.support.place"
local bad_argument, bad_type, misuse = places.bad_argument, places.bad_type, places.misuse
local handler = errors.handler

local deferred = {}
local type, rawget, select = type, rawget, select

local DEFAULT_URL = "/_ah/queue/deferred"
local DISPATCH_SECONDS = queue_task.DISPATCH_SECONDS
local WHAT = "a deferred call" -- in the log
local FORM_PREFIX = "deferred/1 "
local DEBUG, INFO, WARNING, ERROR, CRITICAL = 10, 20, 30, 40, 50

local log_level = INFO

--- The errors of this module. In App Engine: deferred.Error, PermanentTaskFailure, SingularTaskFailure.
deferred.Error = errors.define("DeferredError", errors.Error)

--- Raised by a deferred function: it failed and will never succeed, so it is not tried again. Raised by run() for a
-- call that cannot be read or whose function cannot be found; such a call is kept in the dead-letter list.
deferred.PermanentTaskFailure = errors.define("PermanentTaskFailure", deferred.Error)

--- Raised by a deferred function: it failed this once. It is tried again, and only a debug line is logged.
deferred.SingularTaskFailure = errors.define("SingularTaskFailure", deferred.Error)

-- ---- what is called --------------------------------------------------------------------------------------------

local getmetatable_raw, running = debug.getmetatable, coroutine.running

local function field_of(object, name)
  local ok, value = pcall(function() return object[name] end)
  return ok and value or nil
end

local function is_callable(value)
  if type(value) == "function" then return true end
  local meta = getmetatable_raw(value)
  return type(meta) == "table" and rawget(meta, "__call") ~= nil
end

-- A table that is called, or whose methods are, by its name: a class, a module. Not an object of a class that happens
-- to be reachable: its state is to travel.
local function is_by_name(value)
  if names.is_registered(value) then return true end
  local meta = getmetatable_raw(value)
  return rawget(value, "__index") ~= nil or type(meta) ~= "table" or not names.find_name(meta)
end

local function refuse_function(fn, what)
  local info = debug.getinfo(fn, "S")
  local place = info.what == "C" and "a C function" or ("%s:%d"):format(info.short_src, info.linedefined)
  errors.raise(errors.SerializationError,
    "%s: cannot defer a function that is neither registered (deferred.register) nor at most four fields deep in a "
    .. "module under `modules` of pipeline.open (%s)", what, place)
end

local function bad_callable(what, found)
  bad_argument(1, what, "function, name or callable object expected, got %s", found)
end

-- The form of a call of a table or object, and what stands for it in the payload.
local function form_of_object(value, method, what)
  local has_method = type(method) == "string" and type(field_of(value, method)) == "function"
  if not has_method and not is_callable(value) then
    local why = type(value) .. " that cannot be called"
    if type(method) == "string" then why = ("%s and has no method '%s'"):format(why, text.short(method)) end
    bad_callable(what, why)
  end
  local name = type(value) == "table" and is_by_name(value) and names.find_name(value)
  if name then return has_method and "static" or "name", name end
  return has_method and "method" or "object", value
end

local function form_of(value, method, what)
  local kind = type(value)
  if kind == "function" then
    return "name", names.find_name(value) or refuse_function(value, what)
  elseif kind == "string" then
    local ok, why = names.check(value)
    if not ok then errors.raise(errors.SerializationError, "%s: '%s' %s", what, text.short(value), why) end
    return "name", value
  elseif kind == "table" or kind == "userdata" then
    return form_of_object(value, method, what)
  end
  bad_callable(what, value == nil and "nil" or kind)
end

-- ---- to bytes --------------------------------------------------------------------------------------------------

-- Counts arguments as the caller of the deferred function does.
local function place_in(message, form)
  local before = (form == "method" or form == "static") and 3 or 2
  return (message:gsub("^argument (%d+)", function(number)
    number = tonumber(number)
    if number <= 2 then return "the object" end
    return ("argument %d"):format(number - before)
  end))
end

local function encode(what, fn, ...)
  local form, target = form_of(fn, (...), what)
  local list, n = { FORM_PREFIX .. form, target, ... }, select("#", ...) + 2
  local bytes, code, message = names.encode(list, n)
  if not bytes then errors.raise_core(code, place_in(message, form), what) end
  return bytes
end

--- A call as bytes: what defer would store. What can be deferred:
--   a name, "module.function", or one given by register; the module may be unknown in this process;
--   a function that was registered, or is a field (or a field of a field, up to four deep) of a module under `modules`
--   of pipeline.open; the built-in functions of string, table, math and utf8, and assert, error, ipairs, next, pairs,
--   print, rawequal, rawlen, select, tonumber, tostring and type. Nothing of os, io, debug and package, no load, dofile
--   or require is ever called by a stored name, unless it was registered;
--   a class or other table with __call that is such a field, or registered: it is called when the task runs, and so a
--   class constructs; followed by the name of a method of it: that is called, with the class as first argument;
--   an object of such a class: its state is stored (its plain fields, or what the __defer of its class gives), and it
--   is called when the task runs; followed by the name of a method of it: that method is called. For an object that
--   has both, and a first argument that is the name of a method, defer invoke_member.
-- Arguments are values as pipelines take them: no futures, coroutines, userdata, anonymous functions.
-- @return string. Raises SerializationError, which names the place, or "bad argument" for what cannot be called.
-- In App Engine: deferred.serialize.
function deferred.serialize(fn, ...)
  return (encode("serialize", fn, ...))
end

-- ---- from bytes ------------------------------------------------------------------------------------------------

-- `unreadable` tells it from a failure that the function itself declares permanent.
local function unreadable(format, ...)
  local object = deferred.PermanentTaskFailure(format:format(...), { unreadable = true })
  object.traceback = debug.traceback(nil, 2)
  error(object, 0)
end

local function resolve(name)
  local value, why = names.resolve(name)
  if value == nil then unreadable("the call cannot be made: %s", why) end
  return value
end

--- Calls the method `name` of `object` with the other arguments. In App Engine: deferred.invoke_member.
function deferred.invoke_member(object, name, ...)
  local kind = type(object)
  if (kind ~= "table" and kind ~= "userdata" and kind ~= "string") or object[name] == nil then
    misuse(("invoke_member: a %s without method '%s'"):format(kind, tostring(name)))
  end
  return object[name](object, ...)
end

names.register("pipeline.deferred.invoke_member", deferred.invoke_member)

local function callable(value, subject)
  if core.reaches_out(value) and not names.is_registered(value) then
    unreadable("the call cannot be made: %s reaches out of the program and is not registered", subject)
  end
  if not is_callable(value) then unreadable("the call cannot be made: %s is a %s", subject, type(value)) end
  return value
end

local function method_of(object, list)
  local name = list[3]
  if type(name) ~= "string" then unreadable("the call cannot be read: its method is a %s", type(name)) end
  return callable(field_of(object, name), ("method '%s' of %s"):format(text.short(name),
    type(list[2]) == "string" and list[2] or "the object"))
end

local readers = {} -- by form

readers[FORM_PREFIX .. "name"] = function(list)
  return callable(resolve(list[2]), list[2]), nil, 3
end

readers[FORM_PREFIX .. "object"] = function(list)
  return callable(list[2], "the object"), nil, 3
end

readers[FORM_PREFIX .. "method"] = function(list)
  return method_of(list[2], list), list[2], 4
end

readers[FORM_PREFIX .. "static"] = function(list)
  local object = resolve(list[2])
  return method_of(object, list), object, 4
end

local BY_NAME = {
  [FORM_PREFIX .. "name"] = true, [FORM_PREFIX .. "static"] = true, [FORM_PREFIX .. "object"] = false,
  [FORM_PREFIX .. "method"] = false,
}

-- A call that a schedule makes: { form, what it is told of the fire, the call itself }.
local FIRED = FORM_PREFIX .. "fired"
local fires = setmetatable({}, { __mode = "k" }) -- coroutine -> what its call was told

-- The stored call `bytes` as a fire of a schedule makes it, with other arguments if there are any; for schedules.
function deferred._of_schedule(bytes, told, args)
  if args then
    local list, n, message = core.decode_list(bytes, nil, true)
    if not list then errors.raise_core(n, message, "trigger") end
    local first = (list[1] == FORM_PREFIX .. "name" or list[1] == FORM_PREFIX .. "object") and 3 or 4
    n = args.n or #args
    local code, problem
    list = table.move(args, 1, n, first, table.move(list, 1, first - 1, 1, {}))
    bytes, code, problem = names.encode(list, first - 1 + n)
    if not bytes then errors.raise_core(code, problem, "trigger") end
  end
  return assert(core.encode({ FIRED, told, bytes }, 3))
end

--- Inside a call that a schedule has made: { name, nominal_time, fire_time, previous_nominal_time, reason ("schedule",
-- "catch_up", "trigger", "backfill"), local_time }; else nil. A retry is told the same.
function deferred.schedule()
  return fires[running()]
end

-- The function of a stored call, the object whose method it is (or nil), the list of values, where the arguments in it
-- begin, and where they end.
local function decode(bytes, is_fire)
  local list, n, message = core.decode_list(bytes, nil, true)
  if not list then unreadable("the call cannot be read: %s", message or n) end
  if list[1] == FIRED and n == 3 and type(list[2]) == "table" and type(list[3]) == "string" and not is_fire then
    fires[running()] = list[2]
    return decode(list[3], true)
  end
  local read = readers[list[1] or false]
  if not read or n < 2 or (type(list[2]) == "string") ~= BY_NAME[list[1]] then
    unreadable("the call cannot be read: it is not one of deferred.serialize")
  end
  local fn, object, first = read(list)
  return fn, object, list, first, n
end

-- Reads a call without making it; for its fuzzer.
deferred._decode = decode

--- Makes a call that serialize has stored.
-- @return what the function returns, or what its future gives if it is a tasklet; its errors are raised unchanged.
-- Raises PermanentTaskFailure if the bytes cannot be read or what they call cannot be found.
-- In App Engine: deferred.run.
function deferred.run(bytes)
  if type(bytes) ~= "string" then
    bad_type(1, "run", "string", bytes)
  end
  local fn, object, list, first, n = decode(bytes)
  if object ~= nil then return await.results(fn(object, table.unpack(list, first, n))) end
  return await.results(fn(table.unpack(list, first, n)))
end

-- ---- names -----------------------------------------------------------------------------------------------------

local function check_string(value, position, what)
  if type(value) ~= "string" or value == "" then
    bad_argument(position, what, "name expected, got %s", value == "" and "an empty one" or type(value))
  end
end

--- Gives a function, or a class whose objects are deferred, a name under which calls find it, whatever module it is in.
-- Every process that makes or executes such calls must register it. Returns what was registered. Raises
-- ConfigurationError if the name is taken by another one.
function deferred.register(name, fn)
  check_string(name, 1, "register")
  if type(fn) ~= "function" and type(fn) ~= "table" then
    bad_type(2, "register", "function or class", fn)
  end
  if not names.register(name, fn) then
    errors.raise(errors.ConfigurationError, "register: the name '%s' is taken by another function", text.short(name))
  end
  return fn
end

--- Lets calls stored under an old name find what has moved: a function, a class, or a module with all that is in it.
-- Counts only where the old name leads nowhere. Raises ConfigurationError if aliases would lead in a circle.
function deferred.alias(old_path, new_path)
  check_string(old_path, 1, "alias")
  check_string(new_path, 2, "alias")
  if not names.alias(old_path, new_path) then
    errors.raise(errors.ConfigurationError, "alias: '%s' and '%s' lead in a circle", text.short(old_path),
      text.short(new_path))
  end
end

--- The level (10 debug, 20 info, the default, 30 warning, 40 error, 50 critical) at which each execution is logged,
-- with its task's headers. In App Engine: deferred.set_log_level.
function deferred.set_log_level(level)
  if math.type(level) ~= "integer" then
    bad_type(1, "set_log_level", "integer", level)
  end
  log_level = level
end

-- ---- defer -----------------------------------------------------------------------------------------------------

local with_kinds = {
  countdown = "any", eta = "any", name = "any", queue = "string", target = "any", retry_options = "any",
  headers = "table", url = "string", transactional = "boolean", dispatch_deadline = "any",
}

local function headers_with_type(given)
  local headers, has_type = {}, false
  for name, value in pairs(given or {}) do
    headers[name] = value
    has_type = has_type or type(name) == "string" and name:lower() == "content-type"
  end
  if not has_type then headers["Content-Type"] = "application/octet-stream" end
  return headers
end

-- Who executes it: the engines, unless a URL was given, or a target that leads somewhere.
local function kind_of(given)
  if given.url then return "push" end
  local engine = given.target and current.engine_or_nil()
  if engine and engine:_base_of(given.target) then return "push" end
  return "deferred"
end

local function add(given, bytes)
  local task = queue_task.new({
    payload = bytes, url = given.url or DEFAULT_URL, name = given.name, countdown = given.countdown, eta = given.eta,
    target = given.target, retry_options = given.retry_options, headers = headers_with_type(given.headers),
    dispatch_deadline = given.dispatch_deadline,
  }, { kind = kind_of(given), no_size_limit = true })
  return task:add(given.queue, { transactional = given.transactional })
end

--- Stores a call, to be made as soon as possible by an engine on the same store; see serialize for what can be called.
-- All arguments are the function's: options are given to `with`. The call runs as a coroutine of the engine and may
-- await.
-- @return the task. Raises what serialize and Queue.add raise; then nothing is enqueued. In App Engine: deferred.defer.
function deferred.defer(fn, ...)
  current.engine()
  return queue_task.call(encode("defer", fn, ...), DEFAULT_URL):add()
end

--- As defer, with options: `deferred.with{ countdown = 10 }(fn, ...)`.
-- @tparam table given countdown (seconds) or eta (seconds since the epoch, or a table as of os.date("!*t")), name (of
--   the task; used once, and blocked until its tombstone expires), queue ("default"), retry_options
--   (TaskRetryOptions), transactional (inside a run: enqueued when, and only if, the attempt succeeds), url (the call
--   is pushed there, where deferred.handler must be routed), target (the call is pushed to that target), headers (of
--   the push; they may replace the content type), dispatch_deadline (seconds, 15 to 86400: how long one try may take;
--   default 600).
-- @return a function that takes what defer takes. In App Engine: the arguments of defer with a leading underscore.
function deferred.with(given)
  given = options.check(given, with_kinds, 1, "with")
  return function(fn, ...)
    current.engine()
    return add(given, encode("defer", fn, ...))
  end
end

-- ---- executing -------------------------------------------------------------------------------------------------

local function may_be_logged(engine, level)
  return level >= WARNING or engine._log_function or current.logger
end

local function log_headers(engine, headers)
  if not may_be_logged(engine, log_level) then return end
  local list = {}
  for name, value in pairs(headers) do
    if name:find("^x%-appengine%-") then list[#list + 1] = ("%s: %s"):format(name, value) end
  end
  table.sort(list)
  engine:_log(log_level, "deferred call: " .. table.concat(list, ", "))
end

local function run_nothing(bytes)
  deferred.run(bytes)
end

local function with_traceback(line, traceback)
  return traceback == "" and line or line .. "\n" .. traceback
end

-- What becomes of a failed call: "singular", "permanent" or "unreadable", which are logged, or "failed".
local function verdict(engine, caught)
  local original = errors.original(caught)
  local name, message, traceback = errors.describe(caught)
  if errors.is(original, deferred.SingularTaskFailure) then
    engine:_log(DEBUG, "deferred call failed this once: " .. message)
    return "singular", name, message, traceback
  elseif errors.is(original, deferred.PermanentTaskFailure) then
    engine:_log(ERROR, with_traceback("deferred call failed for good: " .. message, traceback))
    local is_kept = rawget(original, "unreadable") or rawget(original, "is_kept")
    return is_kept and "unreadable" or "permanent", name, message, traceback
  end
  return "failed", name, message, traceback
end

local function log_claim(engine, claim)
  log_headers(engine, {
    ["x-appengine-queuename"] = claim.queue, ["x-appengine-taskretrycount"] = claim.tries,
    ["x-appengine-taskname"] = claim.name or queue_task.auto_name(engine._core, claim.id),
    ["x-appengine-taskexecutioncount"] = claim.executions, ["x-appengine-tasketa"] = ("%.6f"):format(claim.eta),
  })
end

-- What a server said to the call, if its error tells, else that of an error.
local function status_of(caught)
  local original = errors.original(caught)
  return errors.is(original) and math.tointeger(rawget(original, "status")) or 500
end

-- Ends the claim of a call that failed.
local function end_failed(engine, claim, caught)
  local kind, name, message, traceback = verdict(engine, caught)
  if kind == "failed" then
    local line = ("deferred call failed: %s: %s"):format(name, message)
    report.line(engine, WARNING, line, with_traceback(line, traceback))
  elseif kind == "permanent" then
    return attempts.log_end(engine, WHAT, nil, engine._core:task_done(claim))
  end
  attempts.fail_task(engine, claim, WHAT, errors.failure(name, message, traceback), {
    give_up = kind == "unreadable" or nil, status = kind == "singular" and 408 or status_of(caught),
  })
end

-- `where`: see attempts.time_is_up.
local function end_late(engine, claim, seconds, where, traceback)
  local problem = attempts.time_is_up("call", seconds, where)
  problem.traceback = traceback or ""
  end_failed(engine, claim, problem)
end

local function seconds_of(claim)
  return claim.deadline or DISPATCH_SECONDS
end

--- Ends a call that waits past its dispatch deadline, in another coroutine.
function deferred._late(engine, claim, co)
  end_late(engine, claim, seconds_of(claim), nil, debug.traceback(co))
  engine:_cancel(co)
end

--- Executes a claimed task of kind "deferred"; called in a coroutine of the engine, which counts its time from then on.
function deferred.execute(engine, claim)
  if next(fires) then fires[running()] = nil end -- of the call before
  if may_be_logged(engine, log_level) then log_claim(engine, claim) end
  local store = engine._core
  local ok, caught = xpcall(run_nothing, handler, claim.payload or "")
  if ok then
    local done, code, detail = store:task_done(claim)
    if done then return end
    if code == "ETIMEDOUT" then return end_late(engine, claim, seconds_of(claim)) end
    return attempts.log_end(engine, WHAT, nil, done, code, detail)
  end
  local ended = store:deadline() -- by force: "late" or "cancelled"
  if ended == "cancelled" then return end
  if ended == "late" then
    return end_late(engine, claim, seconds_of(claim), errors.text(errors.original(caught)))
  end
  end_failed(engine, claim, caught)
end

-- ---- over HTTP -------------------------------------------------------------------------------------------------

local function plain(status, body, headers)
  headers = headers or {}
  headers["content-type"] = "text/plain; charset=utf-8"
  return status, headers, body
end

-- Content-Length may only say what there is; a request without one has no body.
local function body_of(request)
  local length = request.headers["content-length"]
  return length and length:find("^%s*%d+%s*$") and request.body or ""
end

--- Answers a request with a stored call on behalf of an engine.
function deferred.serve(engine, request)
  if request.method ~= "POST" then return plain(405, "405 Method Not Allowed\n", { allow = "POST" }) end
  if not request.is_task then
    engine:_log(CRITICAL, ("refused a forged deferred call from %s: the request is not signed by this store"):format(
      tostring(request.remote_address)))
    return plain(403, "403 Forbidden\n")
  end
  log_headers(engine, request.headers)
  local ok, caught = xpcall(run_nothing, handler, body_of(request))
  if ok then return plain(200, "Success") end
  local kind, _, message = verdict(engine, caught)
  if kind == "singular" then return plain(408, "") end
  if kind == "permanent" then return plain(200, "") end
  if kind == "unreadable" then
    return plain(422, "", { ["x-pipeline-give-up"] = text.short((message:gsub("%c", " "))) })
  end
  error(caught, 0)
end

--- A route handler that makes the calls pushed to it; at /_ah/queue/deferred it is routed by itself. Only a request
-- with the signature of the store runs anything: all others are answered 403. Success is 200, a SingularTaskFailure
-- 408 (retried), a PermanentTaskFailure 200 (not retried), any other error 500 (retried); a call that cannot be read,
-- or whose function cannot be found, 422, and the task goes to the dead-letter list. In App Engine:
-- deferred.TaskHandler.
function deferred.handler(request)
  if type(request) ~= "table" or type(request.headers) ~= "table" then
    bad_type(1, "handler", "request", request)
  end
  return deferred.serve(current.engine(), request)
end

return deferred
