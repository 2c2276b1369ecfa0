--- errors.lua: the tree of error classes, error objects, and how an error of user code is caught.
--
-- Every failure that is not plain misuse raises an error object: a table with `class` (name of its class),
-- `message`, `where` (the line of the user's that led to it, such as "shop.lua:42"; nil if there is none), `traceback`,
-- and a readable tostring. A class is a table that can be called to make such an object:
-- `error(pipeline.Abort "no stock")`. A class that is raised itself counts as an object of it.
--
-- Invariants
--   1. Nothing in here raises while it describes an error, whatever the error is.
--   2. The handler of xpcall does not allocate when the stack has overflowed (Lua 5.4.4 may hang otherwise).

local place = require "pipeline.support.place"
local texts = require "pipeline.support.text"
local bad_argument = place.bad_argument

local errors = {}

local MESSAGE_BYTES_MAX = 8192
local TRACEBACK_BYTES_MAX = 16384
local TRACE_BYTES_MAX, TRACE_HEAD_BYTES, TRACE_TAIL_BYTES = 8192, 2048, 2048 -- in flight
local LEFT_OUT, LEFT_OUT_PATTERN = "... (%d lines left out)", "\n%.%.%. %((%d+) lines left out%)"

local class_meta = { __name = "pipeline.ErrorClass" }

--- Makes an error object. `fields` are copied into it (for instance `reason`, `failures`, `code`). With where = false
-- it is not about the code that runs now: its place is where it is raised.
function class_meta.__call(class, message, fields)
  local object = { class = class.name, message = message == nil and "" or errors.text(message) }
  if fields then
    for key, value in pairs(fields) do object[key] = value end
  end
  if object.where == nil then object.where = place.here() end
  object.where = object.where or nil
  return setmetatable(object, class.meta)
end

function class_meta.__tostring(class)
  return "pipeline." .. class.name
end

local function object_text(object)
  local class, message, where = tostring(rawget(object, "class")), rawget(object, "message"), rawget(object, "where")
  local shown = type(message) == "string" and message ~= "" and class .. ": " .. message or class
  if type(where) ~= "string" or type(message) == "string" and message:find(where, 1, true) == 1 then return shown end
  return where .. ": " .. shown
end

--- Makes a class of errors below `parent`. Its objects are also of the class `other`, if one is given.
function errors.define(name, parent, other)
  local class = { name = name, parent = parent, other = other }
  class.meta = { __name = "pipeline." .. name, __tostring = object_text, __pipeline_error = class }
  return setmetatable(class, class_meta)
end

local function class_of(object)
  if type(object) ~= "table" then return nil end
  local meta = getmetatable(object)
  return type(meta) == "table" and rawget(meta, "__pipeline_error") or nil
end

--- Whether `value` is a class of errors.
function errors.is_class(value)
  return getmetatable(value) == class_meta
end

--- Whether `object` is an error of `class` or of a class below it. Without `class`: whether it is one of this library.
-- A second argument that is no class (nil: a name that was misspelt) is refused: it would be true of every error.
function errors.is(object, ...)
  local own, class = class_of(object), ...
  if select("#", ...) == 0 then return own ~= nil end
  if getmetatable(class) ~= class_meta then
    bad_argument(2, "is", "class of errors expected, got %s%s", type(class),
      class == nil and ": is its name misspelt?" or "")
  end
  while own do
    if own == class or own.other == class then return true end
    own = own.parent
  end
  return false
end

--- The text of any value; never raises and always gives a string.
function errors.text(value)
  if type(value) == "string" then return value end
  local ok, text = pcall(tostring, value)
  if ok and type(text) == "string" then return text end
  return "(" .. type(value) .. " without a readable text)"
end

--- Gives an error object that has no place that of the code that runs now, which raises it; returns it.
function errors.located(value)
  if class_of(value) and rawget(value, "where") == nil then rawset(value, "where", place.here()) end
  return value
end

--- The error that was raised: `error(pipeline.Abort)`, a class that is raised, is an object of it.
function errors.raised(value)
  return getmetatable(value) == class_meta and value() or value
end

local Error = errors.define("Error")
errors.Error = Error
errors.PipelineSetupError = errors.define("PipelineSetupError", Error)
errors.PipelineExistsError = errors.define("PipelineExistsError", errors.PipelineSetupError)
errors.PipelineRuntimeError = errors.define("PipelineRuntimeError", Error)
errors.SlotNotFilledError = errors.define("SlotNotFilledError", errors.PipelineRuntimeError)
errors.SlotNotDeclaredError = errors.define("SlotNotDeclaredError", errors.PipelineRuntimeError)
errors.UnexpectedPipelineError = errors.define("UnexpectedPipelineError", errors.PipelineRuntimeError)
errors.PipelineUserError = errors.define("PipelineUserError", Error)
errors.Retry = errors.define("Retry", errors.PipelineUserError)
errors.Abort = errors.define("Abort", errors.PipelineUserError)
errors.PipelineStatusError = errors.define("PipelineStatusError", Error)
errors.WorkerLostError = errors.define("WorkerLostError", Error)
errors.AbortedError = errors.define("AbortedError", Error)
errors.TimeoutError = errors.define("TimeoutError", Error)
errors.Interrupted = errors.define("Interrupted", Error)
errors.SerializationError = errors.define("SerializationError", Error)
errors.StoreError = errors.define("StoreError", Error)
errors.FetchError = errors.define("FetchError", Error)
errors.MailError = errors.define("MailError", Error)
errors.RequestError = errors.define("RequestError", Error) -- what an HTTP client has sent cannot be used: 400
errors.SQLError = errors.define("SQLError", errors.StoreError)
errors.TransactionError = errors.define("TransactionError", Error)
errors.ConfigurationError = errors.define("ConfigurationError", Error)
errors.TaskletError = errors.define("TaskletError", Error)
errors.DeadlockError = errors.define("DeadlockError", errors.TaskletError)
errors.CancelledError = errors.define("CancelledError", errors.TaskletError)
errors.WorkflowError = errors.define("WorkflowError", Error) -- of durable functions
errors.NondeterminismError = errors.define("NondeterminismError", errors.WorkflowError)
errors.NotInStepError = errors.define("NotInStepError", errors.WorkflowError)
errors.NotYieldableError = errors.define("NotYieldableError", errors.WorkflowError)
errors.StepInterruptedError = errors.define("StepInterruptedError", errors.WorkflowError)
errors.LimitError = errors.define("LimitError", errors.WorkflowError)
errors.QueryError = errors.define("QueryError", errors.WorkflowError)
errors.UpdateRejectedError = errors.define("UpdateRejectedError", errors.WorkflowError)
errors.EOFError = errors.define("EOFError", errors.TaskletError)

-- Codes of the C core that are not about the store itself.
local class_of_code = {
  ESERIALIZE = errors.SerializationError,
  EEXISTS = errors.PipelineExistsError,
  ENOTFOUND = errors.UnexpectedPipelineError,
  EFINAL = errors.UnexpectedPipelineError,
  ESTATE = errors.UnexpectedPipelineError,
  ELIVE = errors.UnexpectedPipelineError,
  EABORTED = errors.AbortedError,
  ETIMEDOUT = errors.TimeoutError,
  EINTR = errors.Interrupted,
  EOVER = errors.TransactionError,
}

--- Whether a failure with this code of the C core is one of the store.
function errors.is_of_store(code)
  return class_of_code[code] == nil
end

--- Raises the error object for `nil, code, message` of the C core; `context` says what was tried.
function errors.raise_core(code, message, context)
  local class = class_of_code[code] or errors.StoreError
  local text = message or code or "unexpected failure"
  if context then text = context .. ": " .. text end
  error(class(text, { code = code, traceback = debug.traceback(nil, 2) }), 0)
end

--- What a call of the core that reads has given: nil alone is "there is none"; what cannot be read is raised.
function errors.read(first, second, third)
  if first == nil and second then errors.raise_core(second, third) end
  return first, second, third
end

--- The error of whatever waited for an engine that was closed meanwhile; `what` was waited for. `elsewhere`: the code
-- that runs now is not what waited.
function errors.closed(what, elsewhere)
  local fields = { code = "ECLOSED" }
  if elsewhere then fields.where = false end
  return errors.StoreError(what .. ": the engine was closed", fields)
end

--- Passes the results of a call of the C core on, or raises.
function errors.check(first, code, message)
  if first == nil and code then errors.raise_core(code, message) end
  return first
end

--- Raises an error object of `class` with a formatted message.
function errors.raise(class, format, ...)
  local object = class(select("#", ...) > 0 and format:format(...) or format)
  object.traceback = debug.traceback(nil, 2)
  error(object, 0)
end

--- The error object for a value that was raised by user code: a table or a userdata is one already, as far as its user
-- is concerned, and stays what it is; of everything else (texts, mostly) an Error is made, with that trace.
function errors.object(value, trace)
  value = errors.raised(value)
  local kind = type(value)
  if kind == "table" or kind == "userdata" then return value end
  local where = kind == "string" and value:match("^([^\n]-:%d+): ") or trace and place.of_trace(trace) or false
  return Error(value == nil and "nil" or value, { traceback = trace or nil, where = where })
end

-- What the handler makes of an error that is not ours: the value and where it was raised.
local caught_meta = { __name = "pipeline.Caught" }

local find, traceback = string.find, debug.traceback

-- Gives the trace of an error that has come out of an await, where it was raised first; set by the tasklets.
local awaited = function() end

--- Says how the trace of an error that comes out of an await is found.
function errors.set_awaited(fn)
  awaited = fn
end

--- The trace of an error that has just come out of an await, else nil.
function errors.awaited_trace(value)
  return awaited(value)
end

-- Cuts the middle out of a trace: where the error was raised and where it was seen last are worth more.
local function shorten(trace)
  local head_end, tail_begin, left_out = find(trace, "\n", TRACE_HEAD_BYTES, true), #trace - TRACE_TAIL_BYTES, 0
  local first, last, count = find(trace, LEFT_OUT_PATTERN)
  if first then
    head_end, left_out = first, tonumber(count)
    tail_begin = math.max(tail_begin, last)
  end
  tail_begin = find(trace, "\n", tail_begin, true)
  if not head_end or not tail_begin or head_end >= tail_begin then return trace end
  local _, lines = trace:sub(first and last + 1 or head_end + 1, tail_begin):gsub("\n", "")
  return trace:sub(1, head_end) .. LEFT_OUT:format(left_out + lines) .. trace:sub(tail_begin)
end

--- The trace of an error that was raised, with trace `inner`, in what was awaited, and raised again where it was.
-- However many awaits there were, it is bounded: what is left out in the middle is said.
function errors.join_traces(inner, between, outer)
  local trace = ("%s\n%s\n%s"):format(inner, between, outer)
  if #trace <= TRACE_BYTES_MAX then return trace end
  return shorten(trace)
end

local function trace_of(value)
  local inner, outer = awaited(value), traceback(nil, 3)
  return inner and errors.join_traces(inner, "awaited in", outer) or outer, inner
end

--- The message handler for xpcall around user code.
function errors.handler(value)
  if type(value) == "string" and find(value, "stack overflow", 1, true) then return value end
  if getmetatable(value) == caught_meta then return value end -- another handler has seen it
  value = errors.raised(value)
  if class_of(value) then
    local trace, inner = trace_of(value)
    if inner or rawget(value, "traceback") == nil then rawset(value, "traceback", trace) end
    return errors.located(value)
  end
  return setmetatable({ value = value, traceback = (trace_of(value)) }, caught_meta)
end

--- The error as it was raised, from what the handler returned.
function errors.original(caught)
  if type(caught) == "table" and getmetatable(caught) == caught_meta then return caught.value end
  return caught
end

local function cut(text, limit)
  if #text <= limit then return text end
  return text:sub(1, limit) .. ("... (%d bytes)"):format(#text)
end

local function foreign_name(value)
  if type(value) ~= "table" then return "Error" end
  local name = rawget(value, "class")
  if type(name) == "string" then return name end
  local meta = getmetatable(value)
  name = type(meta) == "table" and rawget(meta, "__name")
  return type(name) == "string" and name or "Error"
end

-- A table without a text of its own is shown by its fields.
local function plain_text(value)
  local meta = getmetatable(value)
  if type(value) == "table" and not (type(meta) == "table" and rawget(meta, "__tostring")) then
    local ok, shown = pcall(texts.of, value, MESSAGE_BYTES_MAX)
    if ok then return shown end
  end
  return errors.text(value)
end

--- Where in the user's code an error was raised, from what the handler returned; nil if that is not known.
function errors.place(caught)
  local value, trace = caught, nil
  if type(caught) == "table" and getmetatable(caught) == caught_meta then
    value, trace = caught.value, caught.traceback
  end
  if class_of(value) then
    local where = rawget(value, "where")
    if type(where) == "string" then return where end
    trace = rawget(value, "traceback")
  end
  return type(trace) == "string" and place.of_trace(trace) or nil
end

--- Describes what the handler returned: class name, message and traceback, all strings of bounded length.
function errors.describe(caught)
  local value, trace = errors.raised(caught), nil
  if type(caught) == "table" and getmetatable(caught) == caught_meta then
    value, trace = caught.value, caught.traceback
  end
  if class_of(value) then
    trace = rawget(value, "traceback")
    return errors.text(value.class), cut(errors.text(value.message), MESSAGE_BYTES_MAX),
      cut(errors.text(trace or ""), TRACEBACK_BYTES_MAX)
  end
  local message = type(value) == "table" and rawget(value, "message")
  if type(message) ~= "string" then message = plain_text(value) end
  return foreign_name(value), cut(message, MESSAGE_BYTES_MAX), cut(trace or "", TRACEBACK_BYTES_MAX)
end

--- What the store keeps of a failure: the name of a class of errors, a message, and a trace (nil: there is none).
function errors.failure(class, message, trace)
  return { error_class = class, message = message, traceback = trace or "" }
end

--- The same of what the handler returned.
function errors.failure_of(caught)
  return errors.failure(errors.describe(caught))
end

return errors
