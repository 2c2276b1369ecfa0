--- durable/reach/address.lua: which durable function somebody outside means, and what he sends it.

local current = require "pipeline.current"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local instance = require "pipeline.workflow.instance"
local keys = require "pipeline.workflow.keys"
local place = require "pipeline.support.place"
local bad_argument, bad_option, bad_type = place.bad_argument, place.bad_option, place.bad_type

local address = {}

local PAYLOAD_BYTES_MAX <const>, NAME_BYTES_MAX <const> = 2 << 20, 200

--- The record of the durable function that `ref` (its id, idempotence key or instance) means. Raises
-- UnexpectedPipelineError where there is none, or it is no durable function. `what`: the call.
function address.record(engine, ref, what)
  local record
  if instance.is(ref) and ref._id then
    record = errors.read(current.store(engine, true):stage_get(ref._id))
  elseif type(ref) == "string" then
    record = keys.find(engine, ref)
  else
    bad_type(1, what, "id, idempotence key or started pipeline", ref)
  end
  if not record then
    errors.raise(errors.UnexpectedPipelineError, "%s: there is no pipeline %s", what, tostring(ref))
  end
  if record.flags & core.DURABLE == 0 then
    errors.raise(errors.UnexpectedPipelineError, "%s: %s is no durable function", what, record.class_path)
  end
  return record
end

--- Raises unless `name` is one of a signal, an update, a query, a value or a stream. `position`: of the argument.
function address.check_name(name, position, what)
  if type(name) == "string" and name ~= "" and #name <= NAME_BYTES_MAX then return end
  bad_argument(position, what, "a name of 1 to %d bytes expected", NAME_BYTES_MAX)
end

--- The key of a signal or an update as the store takes it; nil: none.
function address.check_key(key, position, what)
  if key == nil then return nil end
  if type(key) == "number" then key = tostring(key) end
  if type(key) ~= "string" or key == "" or #key > NAME_BYTES_MAX then
    bad_option(position, what, "key", "a text of 1 to %d bytes, or a whole number, expected", NAME_BYTES_MAX)
  end
  return key
end

--- A payload, encoded. Raises SerializationError, and LimitError where it is too large.
function address.encode(payload, what)
  what = what or "payload"
  local bytes, inputs, message = core.encode_value(payload, what)
  if not bytes then errors.raise_core(inputs, message) end
  if inputs and #inputs > 0 then
    errors.raise(errors.SerializationError, "%s: a future of a pipeline; send its value", what)
  end
  if #bytes > PAYLOAD_BYTES_MAX then
    errors.raise(errors.LimitError, "%s: %d bytes, and at most %d can be sent", what, #bytes, PAYLOAD_BYTES_MAX)
  end
  return bytes
end

return address
