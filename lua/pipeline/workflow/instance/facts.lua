--- workflow/instance/facts.lua: what a pipeline is: its settings, its place in a tree, its arguments; how one is made.
--
-- The ground of the other rooms of instances: what they add to `methods` all classes have.

local core = require "pipeline.core"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"
local options = require "pipeline.support.options"
local task = require "pipeline.workflow.task"
local text = require "pipeline.support.text"
local misuse = require("pipeline.support.place").misuse

local type, getmetatable, rawget, setmetatable = type, getmetatable, rawget, setmetatable

local facts = { BASE_PATH = task.BASE_PATH }

local methods, getters = class.Base, {}

local settings = {
  max_attempts = "count", backoff_seconds = "duration", backoff_factor = "duration", target = "string",
  queue_name = "string", timeout = "duration", max_losses = "count", task_retry = "boolean",
}

local function class_of(self)
  return getmetatable(self).class
end

local metas = setmetatable({}, { __mode = "k" }) -- metatable of the instances of a class -> true

--- Whether `value` is a pipeline instance.
local function is_instance(value)
  return type(value) == "table" and metas[getmetatable(value)] == true
end
facts.is = is_instance

-- Whoever calls a method with a dot gives something else as self.
local function refuse_self(self, name)
  if is_instance(self) then return end
  misuse(("bad self of '%s' (a pipeline expected, got %s): ':' is missing, as in stage:%s(...)"):format(name,
    class.is(self) and "a class" or type(self), name))
end

--- The value of a setting: given to this instance, else by its class.
local function setting(self, name)
  local params = self._params
  if params and params[name] ~= nil then return params[name] end
  return class_of(self)[name]
end

local function stored_setting(name)
  return function(self)
    local record = self._record
    if record then return record[name] end
    return setting(self, name)
  end
end

for _, name in ipairs { "max_attempts", "backoff_seconds", "backoff_factor", "target" } do
  getters[name] = stored_setting(name)
end

function getters.timeout(self)
  local seconds
  if self._record then seconds = self._record.timeout else seconds = setting(self, "timeout") end
  return seconds ~= 0 and seconds or nil -- 0 is how the store says none
end

function getters.queue_name(self)
  local record = self._record
  if record then return record.queue or "default" end
  return setting(self, "queue_name")
end

function getters.base_path(self)
  local record = self._record
  return record and (record.base_path or facts.BASE_PATH) or nil
end

function getters.id(self)
  local id = self._id
  if not id then return nil end
  local known = rawget(self, "_text")
  if not known then
    known = self._record and self._record.key or self._engine:_id_text(id)
    rawset(self, "_text", known)
  end
  return known
end
getters.pipeline_id = getters.id

function getters.root_id(self)
  local record = self._record
  if not record then return nil end
  if not record.parent then return self.id end
  local known = rawget(self, "_root_text")
  if not known then
    local store = current.in_body() and self._engine._core or current.store(self._engine, true)
    local root = errors.read(store:stage_get(record.root))
    known = root and root.key or self._engine:_id_text(record.root)
    rawset(self, "_root_text", known)
  end
  return known
end
getters.root_pipeline_id = getters.root_id

function getters.is_root(self)
  local record = self._record
  return not (record and record.parent) and not self._spawned
end

function getters.args(self)
  local list = facts.args(self)
  return setmetatable(table.move(list, 1, self._n, 1, {}), { __index = { n = self._n } })
end

function getters.outputs(self)
  local outputs = rawget(self, "_outputs")
  if not outputs then
    outputs = future.new(self)
    rawset(self, "_outputs", outputs)
  end
  return outputs
end

function getters.current_attempt(self)
  local record = self._record
  return record and math.min(record.attempt + 1, record.max_attempts) or 1
end

function getters.was_aborted(self)
  return rawget(self, "_aborting") == true or (self._record and self._record.state == "aborted") or false
end

--- Of a root that a schedule has started: { name, nominal_time, fire_time, previous_nominal_time, reason ("schedule",
-- "catch_up", "trigger", "backfill"), local_time }; else nil. A retry is told the same.
function getters.schedule(self)
  local record = self._record
  if not record or record.flags & core.SCHEDULED == 0 then return nil end
  local known = rawget(self, "_schedule")
  if known == nil then
    known = require("pipeline.schedule.told").of_root(self._engine, record) or false
    rawset(self, "_schedule", known)
  end
  return known or nil
end

-- Test mode keeps no record, so nothing counts as finalized in it (P225).
function getters.has_finalized(self)
  return self._record and self._record.state == "done" and not self.test_mode or false
end

function getters.test_mode(self)
  local record = self._record
  if record and record.flags then return record.flags & core.TEST ~= 0 end
  local engine = current.engine_or_nil()
  return engine ~= nil and engine._test
end

function getters.task_retry(self)
  local record = self._record
  if record and record.flags then return record.flags & core.TASK_RETRY ~= 0 end
  return setting(self, "task_retry") == true
end

-- Of a child that got its id in the outcome of a run: few are ever asked.
function getters._record(self)
  local record = { id = self._id, parent = self._spawned._id, root = self._spawned._record.root }
  for name, value in next, self._params do record[name] = value end
  rawset(self, "_record", record)
  return record
end

--- Keeps the settings that a child, which has its id now, is stored with; they may be those of others, too.
function facts.keep_settings(child, given)
  child._params, child._record = given, nil
end

function getters.class(self)
  return class_of(self)
end

function getters.class_path(self)
  local record = self._record
  return record and record.class_path or rawget(class_of(self), "class_path")
end

--- The constructor arguments, decoded on first use. Inputs that are not filled are slots.
function facts.args(self)
  local list = self._args
  if list then return list end
  local records = rawget(self, "_slot_records") or {}
  local engine = self._engine
  local function resolve(id)
    local record = records[id]
    if record and record.filled then
      local value, code, problem = core.decode(record.value)
      if value == nil and code then errors.raise_core(code, problem, "value of an argument") end
      return value
    end
    return future.input_slot(engine, id, record)
  end
  local n, message
  list, n, message = core.decode_list(self._record.args, resolve)
  if not list then errors.raise_core(n, message) end
  self._args, self._n = list, n
  return list
end

--- Its arguments, in short.
function facts.args_text(self)
  local ok, shown = pcall(function() return text.of_list(facts.args(self), self._n) end)
  return ok and text.short(shown) or "?"
end

local function instance_text(self)
  return ("%s(%s)"):format(text.short(errors.text(self.class_path or "pipeline")), facts.args_text(self))
end

local function assign(self, name, value)
  local kind = settings[name]
  if kind then
    if self._id or self._spawned then
      errors.raise(errors.UnexpectedPipelineError, "'%s' of %s cannot be changed after start", name, tostring(self))
    end
    facts.check_setting(name, value)
    local params = self._params or {}
    params[name] = value
    self._params = params
  elseif getters[name] or rawget(methods, name) then
    errors.raise(errors.UnexpectedPipelineError, "field '%s' of a pipeline is read-only", tostring(name))
  else
    rawset(self, name, value)
  end
end

--- Raises unless `value` is one a setting may have; nil takes the class's.
function facts.check_setting(name, value)
  if value == nil then return end
  local ok, wanted = options.fits(value, settings[name])
  if not ok then
    local got = type(value) == "number" and tostring(value) or type(value)
    misuse(("bad value for '%s' (%s expected, got %s)"):format(name, wanted, got))
  end
end

-- A pipeline is no value: what is meant is its future.
local function refuse_storing(self)
  error(("%s is a pipeline; pass the future that spawn returns"):format(tostring(self)), 0)
end

local function new_meta(of)
  local meta = {
    __defer = refuse_storing,
    __name = "pipeline.Pipeline", class = of,
    __unserializable = "a pipeline: spawn it, self:spawn(it), and pass on the future that returns",
    __tostring = instance_text, __newindex = assign,
    __index = function(self, name)
      local getter = getters[name]
      if getter then return getter(self) end
      return of[name]
    end,
  }
  metas[meta] = true
  return meta
end

local function new(of, engine, record)
  return setmetatable({
    _args = false, _n = 0, _params = false, _record = record, _id = record.id, _run = false, _spawned = false,
    _engine = engine,
  }, of._meta)
end

--- The instance of a stage as read from the store. `records` maps slot ids to slot records; nil: not resolved.
function facts.of_record(engine, of, record, records)
  local self = new(of, engine, record)
  if records then rawset(self, "_slot_records", records) end
  return self
end

--- Gives an instance a newer record and slots.
function facts.refresh(self, record, records)
  rawset(self, "_record", record)
  rawset(self, "_slots", nil)
  rawset(self, "_slot_records", records)
end

local function refuse_used(self)
  if self._id then errors.raise(errors.UnexpectedPipelineError, "%s was already started", tostring(self)) end
  if self._spawned then errors.raise(errors.UnexpectedPipelineError, "%s was already spawned", tostring(self)) end
end

local function require_stored(self, what)
  if not self._id then
    errors.raise(errors.UnexpectedPipelineError, "%s of %s: it is not started", what, tostring(self))
  end
end

local function eta_of(engine, given)
  if given.countdown and given.eta then
    errors.raise(errors.PipelineSetupError, "countdown and eta exclude each other")
  end
  if given.countdown then return engine._core:due() + given.countdown end
  if not given.eta then return nil end
  local eta = options.epoch(given.eta)
  if not eta then errors.raise(errors.PipelineSetupError, "eta has no year, month and day") end
  return eta
end

class.provide { new_meta = new_meta }

facts.methods, facts.getters, facts.settings = methods, getters, settings
facts.class_of, facts.setting, facts.new, facts.eta_of = class_of, setting, new, eta_of
facts.refuse_self, facts.refuse_used, facts.require_stored = refuse_self, refuse_used, require_stored

return facts
