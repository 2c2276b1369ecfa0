--- outcome.lua: turns what one run did into the one op that makes it real.
--
-- Everything is checked here before anything is sent: a violation is an error of this attempt (G1). Ids of children
-- and slots are made here, at the end of run, because the outputs a child inherits can be those of the running pipeline
-- (P60): futures get their ids last.

local core = require "pipeline.core"
local common = require "pipeline.common"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"
local instance = require "pipeline.workflow.instance"
local stores = require "pipeline.support.stores"

local outcome = {}

local ipairs, next, rawget = ipairs, next, rawget
local encode, encode_value, encode_for = core.encode, core.encode_value, future.encode_for
local new_children = core.children
local class_of, fill_stage = instance.class_of, instance.fill_stage
local TEST, TASK_RETRY, OWN_TARGET = core.TEST, core.TASK_RETRY, instance.OWN_TARGET
local HIDDEN, BELOW_FALLBACK, GUARDED = instance.HIDDEN, instance.BELOW_FALLBACK, instance.GUARDED
local KEPT_FLAGS = TEST | TASK_RETRY | OWN_TARGET | HIDDEN | GUARDED | core.STRICT | core.SCHEDULED | core.RESUMES |
  core.SCOPE | core.DURABLE | core.TRACED

--- The flags to store of a stage whose class is `of`: those of the class as it is now, and the stage's own.
function outcome.flags(of, record, engine)
  local flags = record.flags
  flags = (flags & TEST ~= 0 and of._flags_test or of._flags) | (flags & KEPT_FLAGS)
  if engine._mail and not record.parent then flags = flags | instance.result_flag(engine) end
  return flags
end

-- ---- children --------------------------------------------------------------------------------------------------

-- Slot ids of one child: of the outputs it declares, or that were read of it, or that it inherits.
local function give_slots(store, child, inherited)
  local names = class_of(child)._declared or rawget(child, "_reads")
  if not names and not inherited then return nil end
  local slots = { default = inherited and inherited.default or child._id }
  local list = { { name = "default", slot = slots.default } }
  for _, name in ipairs(names or {}) do
    local id = inherited and inherited[name] or store:new_id()
    slots[name] = id
    list[#list + 1] = { name = name, slot = id }
  end
  for _, name in ipairs(inherited or {}) do
    if not slots[name] then
      slots[name] = inherited[name]
      list[#list + 1] = { name = name, slot = inherited[name] }
    end
  end
  rawset(child, "_slots", slots)
  return list
end

local function default_slot(owner, engine)
  if owner._engine ~= engine then
    stores.check("a future given to after", owner._engine, engine, "wait for it with its own engine")
  end
  local id = future.slot_id(owner, "default")
  if not id then
    errors.raise(errors.UnexpectedPipelineError, "after: a future of %s, which is not part of this run",
      tostring(owner))
  end
  return id
end

-- The default slots of all futures of a chain of scopes, ascending without duplicates; kept in the innermost scope.
local function scope_slots(scope, engine)
  if scope.ids then return scope.ids end
  local set, ids = {}, {}
  local at = scope
  while at do
    for _, f in ipairs(at.futures) do
      local id = default_slot(future.owner(f), engine)
      if not set[id] then
        set[id] = true
        ids[#ids + 1] = id
      end
    end
    at = at.outer
  end
  table.sort(ids)
  scope.ids = ids
  return ids
end

local function predecessors(child, engine)
  local scope, previous = rawget(child, "_after"), rawget(child, "_previous")
  if not scope then return previous and { default_slot(previous, engine) } or nil end
  local ids = scope_slots(scope, engine)
  if not previous then return ids end
  local own, id = table.move(ids, 1, #ids, 1, {}), default_slot(previous, engine)
  for _, other in ipairs(ids) do
    if other == id then return own end
  end
  own[#own + 1] = id
  table.sort(own)
  return own
end

-- The settings a child is stored with. Those that with_params has changed nothing of are the same table for all of a
-- class, which is read once.
local function settings_of(parent, run, child)
  local of, is_plain, known = class_of(child), not child._params, run.settings
  local fallback = run.has_fallbacks and rawget(child, "_fallback")
  is_plain = is_plain and not fallback
  local found = is_plain and known and known[of]
  if found then return found end
  local record, engine = parent._record, parent._engine
  local flags = record.flags
  local own = flags & TEST ~= 0 and of._flags_test | TEST or of._flags
  local target = flags & OWN_TARGET == 0 and record.target or run.target
  own = own | flags & TASK_RETRY
  if flags & GUARDED ~= 0 then own = own | BELOW_FALLBACK end
  found = fill_stage(child, { base_path = record.base_path, flags = own }, record.queue, target)
  if own & core.DURABLE ~= 0 then found.version = of._version or nil end
  if fallback then found.fallback, found.flags = fallback, found.flags | core.HAS_FALLBACK end
  if engine._known_queues then instance.check_queue(engine, found.queue) end
  if is_plain then
    known = known or {}
    run.settings, known[of] = known, found
  end
  return found
end

-- Gives ids to every child of the run. `inherited` maps the names that `heir` takes over to slot ids. Returns the
-- outputs of those that do not have only the one, by the numbers of the children.
local function give_ids(self, run, heir, inherited)
  local engine = self._engine
  local store = engine._core
  local children, outputs = run.children, {}
  for i = 1, run.n do
    local child = children[i]
    child._id, child._engine = store:new_id(), engine
  end
  for i = 1, run.n do
    local child = children[i]
    outputs[i] = give_slots(store, child, child == heir and inherited or nil)
    instance.keep_settings(child, settings_of(self, run, child))
  end
  return outputs
end

-- The list of children for the store. Needs the ids of all: arguments may hold futures of any of them.
local function children_list(self, run, outputs)
  local engine, children = self._engine, run.children
  local list = new_children(run.n)
  local is_sole = current.sole() == engine
  run.prefix = "Bad child arguments. "
  for i = 1, run.n do
    local child = children[i]
    local bytes, inputs, message
    if is_sole then
      bytes, inputs, message = encode(child._args, child._n, "argument")
    else
      bytes, inputs, message = encode_for(engine, encode, child._args, child._n, "argument")
    end
    if not bytes then errors.raise_core(inputs, message, tostring(child)) end
    list:add(child._params, child._id, bytes, inputs, predecessors(child, engine), outputs[i])
  end
  run.prefix = nil
  return list
end

-- ---- outputs ---------------------------------------------------------------------------------------------------

local function missing_outputs(self, run)
  local outputs, filled, missing = self._record.outputs, run.filled, nil
  for i = 1, #outputs do
    local name = outputs[i].name
    if name ~= "default" and not (filled and filled[name]) then
      missing = missing or {}
      missing[#missing + 1] = name
    end
  end
  return missing
end

local function require_complete(self, run)
  local missing = missing_outputs(self, run)
  if not missing then return end
  table.sort(missing)
  errors.raise(errors.SlotNotFilledError, "outputs %s of %s were not filled", table.concat(missing, ", "),
    tostring(self))
end

-- What the heir takes over: every output that this run has not filled itself. nil if there is none.
local function inheritance(self, run, heir)
  local filled, inherited = run.filled, nil
  local declared = class_of(heir)._declared_set
  for _, output in ipairs(self._record.outputs) do
    local name = output.name
    if not (filled and filled[name]) then
      if name ~= "default" and declared and not declared[name] then
        errors.raise(errors.UnexpectedPipelineError, "%s does not declare output '%s' that it must give to %s",
          tostring(heir), name, tostring(self))
      end
      inherited = inherited or {}
      inherited[#inherited + 1] = name
      inherited[name] = output.slot
    end
  end
  return inherited
end

local function set_fill(self, run, bytes)
  local outputs = self._record.outputs
  local slot = outputs[1].name == "default" and outputs[1].slot or future.slot_id(self, "default")
  if run.fills then
    run.fills[slot] = bytes
  else
    run.fills = { [slot] = bytes }
  end
end

local function fill_list(fills)
  local first, value = next(fills)
  if first == nil then return nil end
  if next(fills, first) == nil then return { { slot = first, value = value } } end
  local list, n = {}, 0
  for slot, bytes in pairs(fills) do
    n = n + 1
    list[n] = { slot = slot, value = bytes }
  end
  table.sort(list, function(a, b) return a.slot < b.slot end)
  return list
end

-- A returned value with futures in it becomes the default output of a hidden last child.
local function add_return(self, run, outputs, value)
  local child = common.Return(value)
  child._spawned = self
  run.n = run.n + 1
  run.children = run.children or {}
  run.children[run.n] = child
  local store = self._engine._core
  child._id, child._engine = store:new_id(), self._engine
  outputs[run.n] = give_slots(store, child, { "default", default = future.slot_id(self, "default") })
  child._params = {} -- these settings are its alone
  local settings = settings_of(self, run, child)
  settings.flags = settings.flags | HIDDEN
  instance.keep_settings(child, settings)
end

local function returned_value(self, run, outputs, value)
  require_complete(self, run)
  run.prefix = "Bad return value. "
  local engine = self._engine
  local bytes, inputs, message
  if current.sole() == engine then
    bytes, inputs, message = encode_value(value, "return value")
  else
    bytes, inputs, message = encode_for(engine, encode_value, value, "return value")
  end
  if not bytes then errors.raise_core(inputs, message) end
  run.prefix = nil
  if inputs and #inputs > 0 then
    if run.fills then run.fills[future.slot_id(self, "default")] = nil end
    add_return(self, run, outputs, value)
  else
    set_fill(self, run, bytes)
  end
end

-- The child that gives this run its outputs, if one does.
local function heir_of(self, run, value)
  if run.n == 0 then return nil end
  if value == nil then return run.children[run.n] end
  if future.is_future(value) then
    local owner = future.owner(value)
    if owner._spawned == self then return owner end
  end
  return nil
end

local function generator(self, run, out, count, value)
  local heir = heir_of(self, run, value)
  local outputs
  if heir then
    outputs = give_ids(self, run, heir, inheritance(self, run, heir))
  else
    outputs = give_ids(self, run)
    returned_value(self, run, outputs, value)
  end
  out.children = children_list(self, run, outputs)
  return count
end

local function plain(self, run, out, count, value)
  if count == 0 and run.filled and run.filled.default then return require_complete(self, run) end
  local outputs = {}
  returned_value(self, run, outputs, value)
  if run.n > 0 then out.children = children_list(self, run, outputs) end
end

-- What most runs do: they spawn nothing, and return the value of their only output. Its bytes; nil: it is not so.
local function bytes_of_leaf(self, run, value)
  if run.fills or run.filled or run.tasks or run.committed or not self._record.sole_output then return nil end
  if current.sole() ~= self._engine then return nil end
  run.prefix = "Bad return value. "
  local bytes, inputs, message = encode_value(value, "return value")
  if not bytes then errors.raise_core(inputs, message) end
  run.prefix = nil
  return not inputs and bytes
end

--- What a run that returned `count` values, `value` first, asks the store to do. Raises what is wrong with it, with
-- run.prefix telling where. If that is only the value of its only output, its bytes; else a table.
function outcome.of_run(self, run, of, count, value)
  local bytes = run.n == 0 and not of.async and bytes_of_leaf(self, run, value)
  if bytes then return bytes end
  local out = { kind = "ok", flags = outcome.flags(of, self._record, self._engine), nowait = true, tasks = run.tasks }
  if of.async then
    if run.n > 0 then out.children = children_list(self, run, give_ids(self, run)) end
  elseif run.n > 0 then
    generator(self, run, out, count, value)
  else
    plain(self, run, out, count, value)
  end
  if run.fills then out.fills = fill_list(run.fills) end
  return out
end

return outcome
