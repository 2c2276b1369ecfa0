--- durable/body/spawning.lua: children of a durable function: how one is made, found again in a replay, and waited for.
--
-- A child has its id, and its outputs have theirs, from the call on: they are kept with the operation, so a replay
-- finds the same child, and its future may be an argument of another one at once.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"
local instance = require "pipeline.workflow.instance"
local journal = require "pipeline.durable.journal"
local options = require "pipeline.support.options"
local trace = require "pipeline.telemetry.trace"
local values = require "pipeline.durable.values"

local spawning = {}

local TEST <const>, TASK_RETRY <const> = core.TEST, core.TASK_RETRY
local OWN_TARGET, BELOW_FALLBACK, GUARDED = instance.OWN_TARGET, instance.BELOW_FALLBACK, instance.GUARDED
local rawget, rawset = rawget, rawset

local spawn_kinds = { detached = "boolean", fallback = "any" }

local function refuse(child)
  local hint = ""
  if future.is_future(child) then hint = ", of a pipeline that is spawned already" end
  errors.raise(errors.UnexpectedPipelineError, "spawn: a pipeline instance expected, got %s%s",
    child == nil and "nothing" or type(child), hint)
end

local function flags_of(self, child, detached)
  local of, flags = instance.class_of(child), self._record.flags
  local own = flags & TEST ~= 0 and of._flags_test | TEST or of._flags
  own = own | flags & TASK_RETRY
  if detached then return own end
  if flags & GUARDED ~= 0 or flags & TEST ~= 0 then own = own | BELOW_FALLBACK end
  return own
end

-- Ids of the outputs that the class declares; nil: there is the default one alone.
local function new_slots(run, child)
  local names = instance.class_of(child)._declared
  if not names then return nil end
  local slots = { default = child._id }
  for _, name in ipairs(names) do slots[name] = run.core:new_id() end
  return slots
end

local function outputs_of(child, slots)
  if not slots then return nil end
  local list = { { name = "default", slot = slots.default } }
  for i, name in ipairs(instance.class_of(child)._declared) do list[i + 1] = { name = name, slot = slots[name] } end
  return list
end

-- What the child is stored with.
local function stage_of(self, child, detached)
  local record = self._record
  local target = record.flags & OWN_TARGET == 0 and record.target or nil
  local stage = instance.fill_stage(child, {
    base_path = record.base_path, flags = flags_of(self, child, detached),
  }, record.queue, target)
  if stage.flags & core.DURABLE ~= 0 then stage.version = instance.class_of(child)._version or nil end
  if self._engine._known_queues then instance.check_queue(self._engine, stage.queue) end
  return stage
end

local function encode_args(self, child)
  local bytes, inputs, message = future.encode_for(self._engine, core.encode, child._args, child._n, "argument")
  if not bytes then errors.raise_core(inputs, message, tostring(child)) end
  return bytes, inputs
end

local function encode_fallback(value)
  local bytes, inputs, message = core.encode_value(value, "fallback")
  if not bytes then errors.raise_core(inputs, message) end
  if inputs and #inputs > 0 then
    errors.raise(errors.SerializationError, "fallback: a future cannot be the value of a slot")
  end
  return bytes
end

-- A child that is not in the journal is written with the next commit.
local function prepare(run, self, child, given, stage)
  local list = given.detached and "starts" or "children"
  return function(op)
    local args, inputs = encode_args(self, child)
    op.ref = run.core:new_id()
    child._id = op.ref
    op.slots = new_slots(run, child)
    if op.slots then op.value = values.encode({ nil, op.slots }, 2, "outputs") end
    local new = {}
    for name, value in next, stage do new[name] = value end
    new.id, new.args, new.inputs, new.outputs = op.ref, args, inputs, outputs_of(child, op.slots)
    if given.fallback ~= nil then
      new.fallback, new.flags = encode_fallback(given.fallback), new.flags | core.HAS_FALLBACK
    end
    if given.detached then
      new.flags = new.flags | core.STRICT
      new.trace = self._engine._tracing and trace.header() or nil
    end
    journal.add(run, list, new)
  end
end

-- Versions before did not keep the outputs of a child that was aborted, or is detached. Those that were asked for have
-- entries of their own, and the others have no value.
local function names_only(child)
  local names, slots = instance.class_of(child)._declared, nil
  for _, name in ipairs(names or {}) do
    slots = slots or { default = 0 }
    slots[name] = 0
  end
  return slots
end

local function slots_of(op, child)
  if op.slots then return op.slots end
  if op.state == "failed" then
    op.slots = values.details_of(op.value) or names_only(child)
  elseif op.value then
    op.slots = values.decode(op.value)[2]
  elseif op.state == "cancelled" then
    op.slots = names_only(child)
  end
  return op.slots
end

--- Makes `child` a child of the run. Returns its future.
function spawning.spawn(run, self, child, given)
  if not instance.is(child) then refuse(child) end
  given = options.check(given, spawn_kinds, 2, "spawn")
  if child._spawned or child._id then
    errors.raise(errors.UnexpectedPipelineError, "%s was %s before", tostring(child),
      child._spawned and "spawned" or "started")
  end
  local stage = stage_of(self, child, given.detached)
  local op = run.machine:ask("child", rawget(instance.class_of(child), "class_path"), {
    what = "self:spawn", fill = prepare(run, self, child, given, stage),
  })
  child._spawned, child._engine, child._id = self, self._engine, op.ref
  local slots = slots_of(op, child)
  if slots then rawset(child, "_slots", slots) end
  instance.keep_settings(child, stage)
  rawset(child, "_operation", op)
  rawset(child, "_in_run", run)
  if given.detached then
    rawset(child, "_detached", true)
    run.machine:cancel(op)
  else
    run.unseen[op] = true
  end
  return future.new(child)
end

-- What belongs to another run, or to none.
local function refuse_foreign(value, what)
  errors.raise(errors.UnexpectedPipelineError, "%s: %s is not of a pipeline that this run has spawned", what,
    tostring(value))
end

--- The operation that stands for a future or slot: that of the child; of an output other than the default one its own,
-- and then that of the child as the second result.
function spawning.operation(run, self, value, what)
  local child = future.owner(value)
  local op = child and rawget(child, "_operation")
  if not op or rawget(child, "_in_run") ~= run then refuse_foreign(value, what) end
  if rawget(child, "_detached") then
    errors.raise(errors.UnexpectedPipelineError, "%s: %s is detached, so it is not awaited", what, tostring(child))
  end
  local name = future.is_slot(value) and value.name or "default"
  if name == "default" then return op end
  if op.ready and op.state == "failed" then return op end
  local known = rawget(child, "_outputs_asked") or {}
  rawset(child, "_outputs_asked", known)
  if not known[name] then
    known[name] = run.machine:ask("slot", ("%s#%d.%s"):format(op.name, op.nth, name), {
      what = "self:await", fill = function(new) new.ref = future.slot_id(child, name) end,
    })
  end
  return known[name], op, self
end


return spawning
