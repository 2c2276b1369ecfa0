--- workflow/instance/fill.lua: outputs are filled: inside a run with its outcome, else at once; and those of others.

local core = require "pipeline.core"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local facts = require "pipeline.workflow.instance.facts"
local future = require "pipeline.workflow.future"
local options = require "pipeline.support.options"
local stores = require "pipeline.support.stores"
local run_of = require("pipeline.workflow.instance.run").run_of

local methods, class_of = facts.methods, facts.class_of
local refuse_self, require_stored = facts.refuse_self, facts.require_stored

-- A slot object may be of another pipeline, which must still be there and not final.
local function require_fillable(owner)
  local record = errors.read(current.store(owner._engine, true):stage_get(owner._id))
  if record and record.state ~= "done" and record.state ~= "aborted" then return end
  errors.raise(errors.UnexpectedPipelineError, "fill of a slot of %s: it %s", tostring(owner),
    record and "is final" or "was deleted")
end

-- The slot meant by a name or slot: its id; its name if it is an output of `self`; whose it is if it is of another
-- store: a pipeline, or an engine if only that is known.
local function target_slot(self, name_or_slot)
  if type(name_or_slot) == "string" then
    local id = future.slot_id(self, name_or_slot)
    if not id then
      errors.raise(errors.SlotNotDeclaredError, "output '%s' of %s is not declared", name_or_slot, tostring(self))
    end
    return id, name_or_slot
  end
  if not future.is_slot(name_or_slot) then
    errors.raise(errors.UnexpectedPipelineError, "fill: name of an output or slot expected, got %s",
      type(name_or_slot))
  end
  local id, owner = future.id_of_slot(name_or_slot), future.owner(name_or_slot)
  if not id then
    errors.raise(errors.SlotNotDeclaredError, "slot '%s' belongs to no stored pipeline", name_or_slot.name)
  end
  local of = owner and owner._engine or rawget(name_or_slot, "_engine") or false
  if of and not stores.same(of, self._engine) then return id, nil, owner or of end
  if owner and owner._id == self._id then return id, name_or_slot.name end
  if owner then require_fillable(owner) end
  return id
end

local function encode_value(value, what)
  local bytes, inputs, message = core.encode_value(value, what)
  if not bytes then errors.raise_core(inputs, message) end
  if inputs and #inputs > 0 then
    errors.raise(errors.SerializationError, "%s: a future cannot be the value of a slot", what)
  end
  return bytes
end

local function fill_now(self, id, bytes)
  local ok, code, message = current.store(self._engine):fill(self._id, { { slot = id, value = bytes } })
  if ok then return true end
  if code == "EABORTED" then return false end -- it was only waiting for this to become aborted (G3)
  if code == "EFINAL" then
    errors.raise(errors.UnexpectedPipelineError, "fill of %s: it is final", tostring(self))
  end
  errors.raise_core(code, message, "fill of " .. tostring(self))
end

-- A slot of another store is filled by its own pipeline there, at once: it cannot be part of the outcome of a run here.
local function fill_elsewhere(self, owner, slot, value, publish)
  local what = ("slot '%s' in fill of %s"):format(slot.name, tostring(self))
  if not facts.is(owner) then stores.refuse(what, owner, self._engine) end
  if self._run and not publish then
    stores.refuse(what, owner._engine, self._engine, "fill it at once with { publish = true }")
  end
  owner:fill(slot, value)
end

local fill_kinds = { publish = "boolean" }

local function fill(self, name_or_slot, value, publish)
  require_stored(self, "fill")
  local id, name, owner = target_slot(self, name_or_slot)
  if owner then return fill_elsewhere(self, owner, name_or_slot, value, publish) end
  local bytes = encode_value(value, ("value of slot '%s'"):format(name or name_or_slot.name))
  local run = self._run
  if not run then return fill_now(self, id, bytes) end
  run_of(self, "fill")
  if publish and run.durable then
    run.durable:publish_fill(id, bytes)
  elseif publish then
    fill_now(self, id, bytes)
    if run.fills then run.fills[id] = nil end
  else
    run.fills = run.fills or {}
    run.fills[id] = bytes
  end
  if name then
    run.filled = run.filled or {}
    run.filled[name] = true
  end
end

--- Fills an output. Inside the own run the value becomes visible when the attempt succeeds; else at once.
-- @param name_or_slot name of an output of this pipeline, or a slot (one of another store is filled
--   there, by its own pipeline).
-- @param value any value that can be stored; nil is a value.
-- @tparam[opt] table given publish = true: visible at once even inside run, whatever becomes of the attempt.
-- Raises SlotNotDeclaredError, SerializationError, UnexpectedPipelineError (wrong argument, not started, or final).
-- In App Engine: Pipeline.fill.
function methods.fill(self, name_or_slot, value, given)
  refuse_self(self, "fill")
  if given ~= nil then given = options.check(given, fill_kinds, 3, "fill") end
  fill(self, name_or_slot, value, given and given.publish)
end

--- The names of outputs other than default that are filled neither in the store nor by this run, sorted.
local function missing_of(self)
  local filled = self._run and self._run.filled or {}
  local record, records = errors.read(current.store(self._engine, true):stage_get(self._id, true))
  local missing = {}
  for _, output in ipairs(record and record.outputs or {}) do
    local slot = records[output.slot]
    if output.name ~= "default" and not filled[output.name] and not (slot and slot.filled) then
      missing[#missing + 1] = output.name
    end
  end
  table.sort(missing)
  return missing
end

local complete_kinds = { strict = "boolean" }

--- Fills the default output of an async pipeline.
-- @param value any value that can be stored.
-- @tparam[opt] table given strict = true: raises SlotNotFilledError if other outputs are not filled yet.
-- Raises UnexpectedPipelineError if the pipeline is not async, not started, or final. In App Engine: complete.
function methods.complete(self, value, given)
  refuse_self(self, "complete")
  if given ~= nil then given = options.check(given, complete_kinds, 2, "complete") end
  if not class_of(self).async then
    errors.raise(errors.UnexpectedPipelineError, "complete of %s: it is not async", tostring(self))
  end
  require_stored(self, "complete")
  if given and given.strict then
    local missing = missing_of(self)
    if #missing > 0 then
      errors.raise(errors.SlotNotFilledError, "complete of %s: outputs %s are not filled", tostring(self),
        table.concat(missing, ", "))
    end
  end
  fill(self, "default", value)
end

return { missing = missing_of }
