--- async.lua: engine:complete and engine:callback: an async pipeline hears from outside, by its address.

local address = require "pipeline.view.address"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local execute = require "pipeline.workflow.execute"
local instance = require "pipeline.workflow.instance"
local opened = require "pipeline.engine.opened"
local text = require "pipeline.support.text"
local bad_argument = require("pipeline.support.place").bad_argument

local methods = {} -- of the engine

local WHO = { method = "POST", is_task = true, is_admin = true } -- the rights of the engine itself

-- `flags`: those of which it must have one; `what`: these in words.
local function find_with(flags, what, engine, given, name)
  local id, record = address.require(engine, given, name)
  if record.flags & flags == 0 then
    errors.raise(errors.UnexpectedPipelineError, "%s of %s: %s is %s", name, text.short(id), record.class_path, what)
  end
  return id, record
end

--- Fills the default output of an async pipeline, whose class need not be known in this process.
-- @tparam string given an id, the beginning of one (at least 6 characters), or "key:KEY".
-- @param value any value that can be stored; nil is a value.
-- @return true; false if it only waited for this to be aborted. Raises PipelineStatusError if there is none or several
-- may be meant, UnexpectedPipelineError if it is not async, or final, SerializationError.
function methods.complete(self, given, value)
  opened.check(self)
  local id, record = find_with(core.ASYNC, "not async", self, given, "complete")
  local bytes, inputs, message = core.encode_value(value, "value")
  if not bytes then errors.raise_core(inputs, message) end
  if inputs and #inputs > 0 then
    errors.raise(errors.SerializationError, "complete: a future cannot be the value of a slot")
  end
  local ok, code, problem = current.store(self):fill(record.id, { { slot = record.outputs[1].slot, value = bytes } })
  if ok then return true end
  if code == "EABORTED" then return false end
  if code == "EFINAL" then
    errors.raise(errors.UnexpectedPipelineError, "complete of %s: it is final", text.short(id))
  end
  errors.raise_core(code, problem, "complete of " .. text.short(id))
end

local function flat(params)
  if params ~= nil and type(params) ~= "table" then bad_argument(2, "callback", "table expected") end
  local list = {}
  for name, value in pairs(params or {}) do
    local kind = type(value)
    if type(name) ~= "string" or not (kind == "string" or kind == "number" or kind == "boolean") then
      bad_argument(2, "callback", "parameters are named strings, numbers or booleans")
    end
    list[name] = tostring(value)
  end
  return list
end

--- Calls the callback of an async pipeline or a durable function, as its URL would, with the rights of the engine
-- itself.
-- @tparam string given an id, the beginning of one (at least 6 characters), or "key:KEY".
-- @tparam[opt] table params names and values; they reach the callback as texts.
-- @return status, content type and body of its answer (409: it is final). Raises what the callback raises;
-- PipelineStatusError if there is none or several may be meant, UnexpectedPipelineError if it is neither,
-- ConfigurationError if its class is not to be found in this process.
function methods.callback(self, given, params)
  opened.check(self)
  params = flat(params)
  local id, record = find_with(core.ASYNC | core.DURABLE, "neither async nor durable", self, given, "callback")
  local of, problem = class.find(record.class_path)
  if not of then errors.raise(errors.ConfigurationError, "callback of %s: %s", text.short(id), problem) end
  local _, slots = errors.read(current.store(self, true):stage_get(record.id, true))
  local stage = instance.of_record(self, of, record, slots)
  local ok, status, kind, body = pcall(execute.run_callback, self, stage, params, WHO)
  if not ok then error(errors.original(status), 0) end
  return status, kind, body
end

return methods
