--- future.lua: futures and slots.
--
-- A PipelineFuture stands for the outputs of one pipeline: `f.name` is the slot of that name and `f` alone means
-- `f.default`. It has no methods and cannot be enumerated, so that every name is free for the user. A slot is a view
-- on its owner: it shows what the owner's record says, and gets its id when the owner gets ids.
--
-- Private fields of an owner (a pipeline instance) used here:
--   _id            id of its stage; false until it has one
--   _slots         output name -> slot id; made from the record on demand; absent: only the default slot
--   _slot_records  slot id -> {filled, value, filler, time} as read from the store
--   _reads         names read of a dynamic child, in order, before it has an id
--   _slot_objects  name -> slot

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local stores = require "pipeline.support.stores"

local future = {}
local type, getmetatable, rawget = type, getmetatable, rawget

local Future = { __name = "pipeline.PipelineFuture", __pipeline_slot = true }
local Slot = { __name = "pipeline.Slot", __pipeline_slot = true }

--- Makes the future of a pipeline instance.
function future.new(owner)
  return setmetatable({ owner }, Future)
end

--- Whether `value` is the future of a pipeline: what self:spawn returns.
function future.is_future(value)
  return type(value) == "table" and getmetatable(value) == Future
end

--- Whether `value` is a slot: one output of a pipeline, or what pipeline.Slot makes.
function future.is_slot(value)
  return type(value) == "table" and getmetatable(value) == Slot
end

--- The instance a future or slot belongs to; nil for a slot made on the spot.
function future.owner(value)
  if getmetatable(value) == Future then return rawget(value, 1) end
  return rawget(value, "_owner")
end

local function slots_of(owner)
  local slots = rawget(owner, "_slots")
  if slots then return slots end
  slots = {}
  local record = owner._record
  for _, output in ipairs(record and record.outputs or {}) do slots[output.name] = output.slot end
  if not slots.default then slots.default = owner._id end
  rawset(owner, "_slots", slots)
  return slots
end
future.slots_of = slots_of

--- The id of the slot `name` of a stored owner; nil if there is none.
function future.slot_id(owner, name)
  local id = owner._id
  if not id then return nil end
  if name == "default" and not rawget(owner, "_slots") then
    local record = rawget(owner, "_record")
    if not (record and record.outputs) then return id end -- most have no other slot: no table is made for it
  end
  return slots_of(owner)[name]
end
local slot_id = future.slot_id

local function declare(owner, name)
  if name == "default" then return true end
  if owner._id then return slots_of(owner)[name] ~= nil end
  local declared = getmetatable(owner).class._declared_set
  if declared then return declared[name] == true end
  local reads = rawget(owner, "_reads")
  if not reads then
    reads = {}
    rawset(owner, "_reads", reads)
  end
  if not reads[name] then
    reads[#reads + 1] = name
    reads[name] = true
  end
  return true
end

--- The slot `name` of an owner, made on demand. Raises SlotNotDeclaredError.
function future.slot(owner, name)
  local objects = rawget(owner, "_slot_objects")
  if not objects then
    objects = {}
    rawset(owner, "_slot_objects", objects)
  end
  local slot = objects[name]
  if slot then return slot end
  if not declare(owner, name) then
    errors.raise(errors.SlotNotDeclaredError, "output '%s' of %s is not declared", name, tostring(owner))
  end
  slot = setmetatable({ _owner = owner, _name = name }, Slot)
  objects[name] = slot
  return slot
end

function Future.__index(self, name)
  if type(name) ~= "string" then return nil end
  return future.slot(rawget(self, 1), name)
end

function Future.__newindex(_, name)
  errors.raise(errors.UnexpectedPipelineError, "a future is read-only; fill its slot '%s' instead", tostring(name))
end

local function nothing() end

function Future.__pairs()
  return nothing, nil, nil
end

function Future.__tostring(self)
  return "future of " .. tostring(rawget(self, 1))
end

--- Makes a slot that belongs to no pipeline yet. `name` is required.
function future.new_slot(name)
  if type(name) == "table" then name = name.name end
  if type(name) ~= "string" or name == "" then
    errors.raise(errors.UnexpectedPipelineError, "a slot needs a name")
  end
  return setmetatable({ _name = name }, Slot)
end

--- A slot known by its id only, with its record: an unfilled input of a pipeline that was read back.
function future.input_slot(engine, id, record)
  return setmetatable({ _name = "input", _id = id, _record = record, _engine = engine }, Slot)
end

local function record_of(slot)
  local owner = rawget(slot, "_owner")
  if not owner then return rawget(slot, "_record") end
  local records = rawget(owner, "_slot_records")
  return records and records[future.slot_id(owner, rawget(slot, "_name"))]
end

local function id_of(slot)
  local owner = rawget(slot, "_owner")
  if owner then return future.slot_id(owner, rawget(slot, "_name")) end
  return rawget(slot, "_id")
end
future.id_of_slot = id_of

local function not_filled(slot, what)
  local owner = rawget(slot, "_owner")
  local record = owner and owner._record
  local name = rawget(slot, "_name")
  if record and record.state == "aborted" then
    errors.raise(errors.AbortedError, "%s of slot '%s': %s was aborted", what, name, tostring(owner))
  end
  local remedy = owner and rawget(owner, "_spawned") and not record and
    " yet: this run must end first; pass the future on to another child, which runs when it is" or ""
  errors.raise(errors.SlotNotFilledError, "%s of slot '%s'%s: it is not filled%s", what, name,
    owner and " of " .. tostring(owner) or "", remedy)
end

local getters = {}

function getters.name(slot)
  return rawget(slot, "_name")
end

function getters.filled(slot)
  local record = record_of(slot)
  return record ~= nil and record.filled == true
end

function getters.value(slot)
  local record = record_of(slot)
  if not (record and record.filled) then return not_filled(slot, "value") end
  if rawget(slot, "_decoded_of") ~= record then
    local value, code, message = core.decode(record.value)
    if value == nil and code then errors.raise_core(code, message, "value of slot " .. rawget(slot, "_name")) end
    rawset(slot, "_decoded", value)
    rawset(slot, "_decoded_of", record)
  end
  return rawget(slot, "_decoded")
end

function getters.filler(slot)
  local record = record_of(slot)
  if not (record and record.filled) then return not_filled(slot, "filler") end
  if record.filler_text then return record.filler_text end
  local owner = rawget(slot, "_owner")
  local engine = owner and owner._engine or rawget(slot, "_engine")
  local own = owner and owner._record
  if own and record.filler == own.id then return owner.id end
  return record.filler and engine:_id_text(record.filler)
end

function getters.fill_time(slot)
  local record = record_of(slot)
  if not (record and record.filled) then return not_filled(slot, "fill time") end
  return record.time
end

function Slot.__index(slot, name)
  local getter = getters[name]
  return getter and getter(slot)
end

function Slot.__newindex(_, name)
  errors.raise(errors.UnexpectedPipelineError, "field '%s' of a slot is read-only", tostring(name))
end

function Slot.__tostring(slot)
  if slot.filled then return errors.text(slot.value) end
  local id, owner = id_of(slot), rawget(slot, "_owner")
  local engine = owner and owner._engine or rawget(slot, "_engine")
  local key = id and engine and engine:_id_text(id) or "none yet"
  return ("Slot(name=\"%s\", slot_key=\"%s\")"):format(rawget(slot, "_name"), key)
end

-- The engine for whose store values are being encoded, and the error about one of another store: encoding does not
-- yield, so one of each serves all coroutines.
local encoding_for, refused = false, false

-- The engine that a future or slot belongs to; nil or false: none yet.
local function engine_of(value)
  local owner = future.owner(value)
  if owner then return owner._engine end
  return rawget(value, "_engine")
end

local function check_store(value)
  local engine = engine_of(value)
  if not engine or stores.same(engine, encoding_for) then return end
  local what = future.is_future(value) and tostring(value) or ("slot '%s'"):format(rawget(value, "_name"))
  local _, problem = pcall(stores.refuse, what, engine, encoding_for,
    "wait for it with its own engine, and pass its value on")
  refused = problem
  error(problem, 0)
end

--- Encodes for the store of `engine`, by fn(a, b, c), one of core's. Raises UnexpectedPipelineError if there is a
-- future or slot of another store among the values. Returns what fn does.
function future.encode_for(engine, fn, a, b, c)
  encoding_for, refused = engine, false
  local bytes, inputs, message = fn(a, b, c)
  encoding_for = false
  if not bytes and refused then error(refused, 0) end
  return bytes, inputs, message
end

-- The hook of the value codec: the id that stands for a future or a slot in stored arguments.
function future.slot_of(value)
  local id
  if getmetatable(value) == Future then
    local owner = rawget(value, 1)
    if encoding_for and owner._engine ~= encoding_for then check_store(value) end
    id = slot_id(owner, "default")
  else
    if encoding_for then check_store(value) end
    id = id_of(value)
  end
  if not id then error("a future of a pipeline that is not part of this run", 0) end
  return id
end

core.set_hooks { slot_of = future.slot_of }

return future
