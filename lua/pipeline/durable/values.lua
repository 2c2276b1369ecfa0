--- durable/values.lua: results and errors of operations as the journal keeps them.
--
-- Whatever the body of a durable function gets has been encoded and decoded, live as in a replay: so it is the same in
-- every life, and nobody else holds the same table. Results are a list, nils included. An error is kept with all that
-- makes it the same error again: class, message, fields, place and traceback of one of the library, or the very value
-- that was raised.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local queue_errors = require "pipeline.taskqueue.errors"

local values = {}

local VALUE_BYTES_MAX <const> = 2 << 20
local TEXT_BYTES_MAX <const> = 64 << 10

-- ---- results -----------------------------------------------------------------------------------------------------

--- Encodes a list of `n` results; `what` is theirs, for the error; `extra`: so much more than usual is allowed, as the
-- list is put around a value that was small enough.
-- @return bytes. Raises SerializationError, and LimitError if they are too large.
function values.encode(list, n, what, extra)
  local bytes, inputs, message = core.encode(list, n, what)
  if not bytes then errors.raise_core(inputs, message) end
  if inputs and #inputs > 0 then
    errors.raise(errors.SerializationError, "%s: a future or slot of a pipeline; await it, and use its value", what)
  end
  if #bytes > VALUE_BYTES_MAX + (extra or 0) then
    errors.raise(errors.LimitError, "%s: %d bytes, and at most %d can be kept; store it elsewhere, and give its " ..
      "name", what, #bytes, VALUE_BYTES_MAX)
  end
  return bytes
end

--- No results at all, encoded: those of most steps that are done for their effect.
values.NOTHING = values.encode({}, 0, "no results")

local NOTHING <const> = values.NOTHING

local function no_slot()
  errors.raise(errors.SerializationError, "a recorded value refers to a slot")
end

local function raise_undecodable(code, message)
  errors.raise_core(code, message, "a recorded value")
end

--- The results again: list, n.
function values.decode(bytes)
  if bytes == nil or bytes == NOTHING then return {}, 0 end
  local list, n, message = core.decode_list(bytes, no_slot)
  if not list then raise_undecodable(n, message) end
  return list, n
end

-- ---- errors ------------------------------------------------------------------------------------------------------

local own_fields = { class = true, message = true, where = true, traceback = true }

-- The fields of an error of the library that can be kept.
local function fields_of(value)
  local fields
  for name, field in next, value do
    if type(name) == "string" and not own_fields[name] and core.encode_value(field, name) then
      fields = fields or {}
      fields[name] = field
    end
  end
  return fields
end

local function cut(text)
  if type(text) ~= "string" or #text <= TEXT_BYTES_MAX then return text or nil end
  return text:sub(1, TEXT_BYTES_MAX)
end

local function described(value, trace)
  local name, message, own = errors.describe(value)
  return { class = name, message = message, trace = cut(trace or own) }
end

local function record_of(value, trace)
  if errors.is(value) then
    return {
      class = errors.text(value.class), message = cut(errors.text(value.message)), where = value.where or nil,
      trace = cut(value.traceback or trace), fields = fields_of(value),
    }
  end
  if type(value) == "string" then value = cut(value) end
  if type(value) == "function" then return described(value, trace) end
  return { value = value, raw = true, trace = cut(trace) }
end

--- Encodes an error; `value` is what was raised, `trace` its traceback or nil, `details` what is kept with it, or nil:
-- of a step those of its last heartbeat, for its next attempt; of a child the ids of its outputs. Never raises.
function values.encode_error(value, trace, details)
  value = errors.raised(value)
  local ok, bytes, inputs = pcall(function()
    local record = record_of(value, trace)
    record.details = details or nil
    return core.encode_value(record, "error")
  end)
  if ok and bytes and not (inputs and #inputs > 0) and #bytes <= VALUE_BYTES_MAX then return bytes end
  local record = described(value, trace)
  record.details = details or nil
  return (core.encode_value(record, "error"))
end

local function class_called(name)
  local found = errors[name] or queue_errors.classes[name]
  return errors.is_class(found) and found or nil
end

--- The error again, to be raised; and its traceback.
function values.decode_error(bytes)
  local record, code, message = core.decode(bytes)
  if type(record) ~= "table" then raise_undecodable(code, message) end
  if record.raw then return record.value, record.trace end
  local fields = { traceback = record.trace, where = record.where or false }
  for name, field in pairs(record.fields or {}) do fields[name] = field end
  local class = class_called(record.class)
  if class then return class(record.message, fields), record.trace end
  fields.recorded_class = record.class
  return errors.WorkflowError(("%s: %s"):format(record.class, record.message), fields), record.trace
end

--- What is kept with a recorded error; nil: nothing.
function values.details_of(bytes)
  local record = core.decode(bytes)
  return type(record) == "table" and record.details or nil
end

--- Class name, message and traceback of a recorded error, as texts.
function values.describe_error(bytes)
  local value, trace = values.decode_error(bytes)
  local name, message, own = errors.describe(value)
  return name, message, trace or own
end

return values
