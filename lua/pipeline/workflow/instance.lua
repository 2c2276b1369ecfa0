--- instance.lua: one pipeline: what users see as `self`, as the result of calling a class, and of from_id.
--
-- An instance is in one of these places: new; spawned (part of the run that spawned it, until that run ends); stored
-- (has an id). While the engine executes its run it also has a run context, and what it does to the graph is collected
-- there; in any other case it happens at once.
--
-- Private fields (names that start with an underscore belong to the library):
--   _args, _n        constructor arguments and their count; _args is false until decoded
--   _params          with_params and assigned settings, or false; of a child with an id, all its settings, as stored
--   _record          the stage as stored (or as it will be stored); false before. That of a child is made on demand
--   _id, _engine     id of the stage and its engine; false before
--   _run             the run context (see evaluate.lua), false outside of its run
--   _spawned         whether a run has spawned it
--   _aborting        in finalized() and try_cancel() of an abort
--   _finalizing      in finalized()
-- and those that future.lua lists.

local core = require "pipeline.core"
local await = require "pipeline.support.await"
local class = require "pipeline.workflow.class"
local context = require "pipeline.context"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"
local keys = require "pipeline.workflow.keys"
local options = require "pipeline.support.options"
local report = require "pipeline.support.report"
local queue_errors = require "pipeline.taskqueue.errors"
local stores = require "pipeline.support.stores"
local task = require "pipeline.workflow.task"
local text = require "pipeline.support.text"
local trace = require "pipeline.telemetry.trace"
local misuse = require("pipeline.support.place").misuse

local instance = {}
local type, getmetatable, rawget, setmetatable = type, getmetatable, rawget, setmetatable

local BASE_PATH = "/_ah/pipeline"

instance.BASE_PATH = BASE_PATH

local methods, getters = class.Base, {}

-- ---- facts -----------------------------------------------------------------------------------------------------

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
instance.is = is_instance

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
  return record and (record.base_path or BASE_PATH) or nil
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
    local store = context.in_body() and self._engine._core or context.store(self._engine, true)
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
  local list = instance.args(self)
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
  local engine = context.engine_or_nil()
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
function instance.keep_settings(child, given)
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
function instance.args(self)
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
function instance.args_text(self)
  local ok, shown = pcall(function() return text.of_list(instance.args(self), self._n) end)
  return ok and text.short(shown) or "?"
end

local function instance_text(self)
  return ("%s(%s)"):format(text.short(errors.text(self.class_path or "pipeline")), instance.args_text(self))
end

local function assign(self, name, value)
  local kind = settings[name]
  if kind then
    if self._id or self._spawned then
      errors.raise(errors.UnexpectedPipelineError, "'%s' of %s cannot be changed after start", name, tostring(self))
    end
    instance.check_setting(name, value)
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
function instance.check_setting(name, value)
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

function class.new_meta(of)
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
function instance.of_record(engine, of, record, records)
  local self = new(of, engine, record)
  if records then rawset(self, "_slot_records", records) end
  return self
end

--- Gives an instance a newer record and slots.
function instance.refresh(self, record, records)
  rawset(self, "_record", record)
  rawset(self, "_slots", nil)
  rawset(self, "_slot_records", records)
end

-- ---- before start ----------------------------------------------------------------------------------------------

local function refuse_used(self)
  if self._id then errors.raise(errors.UnexpectedPipelineError, "%s was already started", tostring(self)) end
  if self._spawned then errors.raise(errors.UnexpectedPipelineError, "%s was already spawned", tostring(self)) end
end

local function require_stored(self, what)
  if not self._id then
    errors.raise(errors.UnexpectedPipelineError, "%s of %s: it is not started", what, tostring(self))
  end
end

local param_kinds = {
  max_attempts = "count", backoff_seconds = "duration", backoff_factor = "duration", target = "string",
  queue_name = "string", timeout = "duration", max_losses = "count",
}

--- Changes settings of this one pipeline before it is started or spawned; queue_name also applies to what it spawns.
-- @tparam table params max_attempts, backoff_seconds (seconds), backoff_factor, target, queue_name, timeout (seconds),
--   max_losses.
-- @return the instance. Raises UnexpectedPipelineError after start. In App Engine: with_params.
function methods.with_params(self, params)
  refuse_self(self, "with_params")
  refuse_used(self)
  params = options.check(params, param_kinds, 1, "with_params")
  local own = self._params or {}
  for name, value in pairs(params) do own[name] = value end
  self._params = own
  return self
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

-- flags & OWN_TARGET: the target was given to this stage alone and does not pass to its children.
local OWN_TARGET = 1 << 16
-- flags & HIDDEN: the engine made it, for a value that is returned with futures in it; nobody has spawned it.
local HIDDEN = core.HIDDEN
-- flags & GUARDED: this stage, or one above it, has a fallback.
local BELOW_FALLBACK = 1 << 19
local GUARDED = core.HAS_FALLBACK | BELOW_FALLBACK

local function unknown_queue(engine, name)
  local names = {}
  for _, each in ipairs(errors.check(context.store(engine, true):queue_get(nil))) do
    names[each.name or "default"] = true
  end
  errors.raise(queue_errors.classes.UnknownQueueError, "there is no queue '%s'; did you mean '%s'?", text.short(name),
    options.nearest(name, names))
end

-- Where queues are configured, a pipeline is not put into one that is not: it would be a name that was misspelt.
local function check_queue(engine, name)
  local known = engine._known_queues
  if not known or name == nil or name == "default" or known[name] then return end
  local found = errors.check(context.store(engine, true):queue_get(name))[1]
  if not found or found.removed then unknown_queue(engine, name) end
  known[name] = true
end
instance.check_queue = check_queue

--- Fills the settings of a STAGE table for `self`; `queue` is what it gets when it does not say.
local function fill_stage(self, stage, queue, target)
  local of = class_of(self)
  local params = self._params
  stage.class_path = rawget(of, "class_path")
  if not stage.class_path then
    errors.raise(errors.UnexpectedPipelineError, "a pipeline of the base class cannot be run")
  end
  if params then
    stage.max_attempts = params.max_attempts or of.max_attempts
    stage.backoff_seconds = params.backoff_seconds or of.backoff_seconds
    stage.backoff_factor = params.backoff_factor or of.backoff_factor
    stage.timeout, stage.max_losses = params.timeout or of.timeout, params.max_losses or of.max_losses
    stage.queue = params.queue_name or of.queue_name or queue
    stage.target = params.target or of.target or target
    if params.target then stage.flags = stage.flags | OWN_TARGET end
  else
    stage.max_attempts, stage.backoff_seconds, stage.backoff_factor = of.max_attempts, of.backoff_seconds,
      of.backoff_factor
    stage.timeout, stage.queue, stage.target = of.timeout, of.queue_name or queue, of.target or target
    stage.max_losses = of.max_losses
  end
  return stage
end

local function encode_args(self, what)
  local bytes, inputs, message = core.encode(self._args, self._n, what)
  if not bytes then errors.raise_core(inputs, message) end
  return bytes, inputs
end

local start_kinds = {
  idempotence_key = "string", queue_name = "string", base_path = "string", countdown = "number", eta = "time",
  return_task = "boolean", engine = "table", transactional = "boolean",
}
instance.start_kinds = start_kinds

--- What a root has for its end to be told by mail: a task then, whether it has a function for that or not.
function instance.result_flag(engine)
  local mail = engine._mail
  return mail and mail.to and mail.results ~= "none" and core.HAS_FINALIZED or 0
end

local function root_stage(self, engine, given)
  local bytes, inputs = encode_args(self)
  if inputs and #inputs > 0 then
    errors.raise(errors.PipelineSetupError, "start of %s: a future of another pipeline cannot be its argument",
      tostring(self))
  end
  local of = class_of(self)
  local id = engine._core:new_id()
  local flags = (engine._test and of._flags_test | core.TEST or of._flags) | core.STRICT | instance.result_flag(engine)
  if setting(self, "task_retry") then flags = flags | core.TASK_RETRY end
  local stage = fill_stage(self, {
    id = id, args = bytes, base_path = given.base_path, flags = flags, eta = eta_of(engine, given),
    key = keys.to_start(engine, given.idempotence_key), hold = given.return_task,
    trace = engine._tracing and trace.header() or nil,
  })
  stage.flags = stage.flags & ~OWN_TARGET -- the target of a root is that of its tree
  stage.queue = given.queue_name or stage.queue
  if flags & core.DURABLE ~= 0 then stage.version = of._version or nil end
  check_queue(engine, stage.queue)
  if of._declared then
    stage.outputs = { { name = "default", slot = id } }
    for i, name in ipairs(of._declared) do stage.outputs[i + 1] = { name = name, slot = engine._core:new_id() } end
  end
  return stage
end

local function send(self, store, stage)
  local results, code, message = store:start { stage }
  if not results then errors.raise_core(code, message, "start of " .. tostring(self)) end
  if results[1] == "EEXISTS" then
    errors.raise(errors.PipelineExistsError, "a pipeline with the idempotence key '%s' exists already", stage.key)
  elseif results[1] ~= "OK" then
    errors.raise_core(results[1], nil, "start of " .. tostring(self))
  end
end

local function forget_start(self)
  self._id, self._engine, self._record = false, false, false
  rawset(self, "_text", nil)
end

local function start(self, engine, given)
  local tx = context.transaction()
  if tx and tx._engine ~= engine then tx = nil end
  if given.transactional and not tx then
    errors.raise(errors.TransactionError, "start: transactional, but not inside engine:transaction; what is to " ..
      "begin with the end of a run is start{return_task = true}:add(nil, {transactional = true})")
  end
  local takes = tx and tx:_takes(given.transactional, "start")
  local stage = root_stage(self, engine, given)
  if tx and not takes then
    tx:_after(function() send(self, context.store(engine), stage) end)
  else
    send(self, context.store(engine), stage)
  end
  if takes then tx:_if_lost(function() forget_start(self) end) end
  return stage
end

--- Starts the pipeline as the root of a new tree.
-- @tparam[opt] table given idempotence_key (any bytes; "" is none), queue_name (default "default"), base_path,
--   countdown (seconds) or eta (seconds since the epoch, or a table as of os.date("!*t")), return_task (write the
--   records but return the task that starts it instead of enqueuing it), engine (default: that of the run, else the
--   default one), transactional (inside engine:transaction it is started with that; false: by itself, when that has
--   ended; true: only there. A root that is to begin if, and only if, an attempt of a run succeeds is started in it
--   with return_task, and the task added with transactional = true).
-- @return the instance; with return_task the task. When it returns, the pipeline is stored.
-- Raises PipelineExistsError if the key was ever used, PipelineSetupError, SerializationError, StoreError,
-- UnexpectedPipelineError if the instance was started or spawned before. In App Engine: Pipeline.start.
function methods.start(self, given)
  refuse_self(self, "start")
  given = options.check(given, start_kinds, 1, "start")
  refuse_used(self)
  local engine = given.engine or context.engine()
  if not rawget(engine, "_core") then misuse("bad argument #1 to 'start' (option 'engine': engine expected)") end
  local ok, stage = xpcall(start, errors.handler, self, engine, given)
  if not ok then
    if errors.is(stage) then error(stage, 0) end
    local _, message = errors.describe(stage)
    errors.raise(errors.PipelineSetupError, "start of %s with key %s: %s", tostring(self),
      tostring(given.idempotence_key), message)
  end
  stage.root = stage.id
  self._id, self._engine, self._record = stage.id, engine, stage
  if engine._tracing then engine._tracing:start(stage) end
  if given.return_task then return task.of_start(self, stage) end
  return self
end

-- ---- inside run ------------------------------------------------------------------------------------------------

local function run_of(self, what)
  refuse_self(self, what)
  local run = self._run
  if not run then
    errors.raise(errors.UnexpectedPipelineError, "%s is possible only inside the run of a pipeline", what)
  end
  if run.over then
    errors.raise(errors.UnexpectedPipelineError, "%s: this attempt of %s is over", what, tostring(self))
  end
  run.used = true
  return run
end

local Scope = { __name = "pipeline.Scope" }

-- Chains of scopes are never changed, since children refer to them; a scope closed before an inner one stays in the
-- chain until that one closes and is skipped meanwhile.
local function open_only(chain)
  if chain == nil then return nil end
  local outer = open_only(chain.outer)
  if chain.closed then return outer end
  if outer == chain.outer then return chain end
  return { futures = chain.futures, outer = outer }
end

function Scope.__close(scope)
  local run = scope.run
  if scope.is_order then
    if run.order == scope then run.order = nil end
    return
  end
  scope.closed = true
  local top = run.scope
  while top and top.closed do top = top.outer end
  run.scope = top
end

local function refuse_child(self, child)
  refuse_self(self, "spawn")
  local what, hint = type(child), ""
  if child == nil then
    hint = "; is ':' missing, as in self:spawn(Child())?"
  elseif class.is(child) then
    what, hint = "a class", "; make an instance of it with its arguments, as in self:spawn(Child(1, 2))"
  elseif future.is_future(child) then
    what, hint = "a future", ", of a pipeline that is spawned already"
  end
  errors.raise(errors.UnexpectedPipelineError, "spawn: a pipeline instance expected, got %s%s", what, hint)
end

local spawn_kinds = { fallback = "any" }

local function encode_fallback(given)
  given = options.check(given, spawn_kinds, 2, "spawn")
  if given.fallback == nil then return nil end
  local bytes, inputs, message = core.encode_value(given.fallback, "fallback")
  if not bytes then errors.raise_core(inputs, message) end
  if inputs and #inputs > 0 then
    errors.raise(errors.SerializationError, "fallback: a future cannot be the value of a slot")
  end
  return bytes
end

--- Makes `child` a child of the running pipeline.
-- @tparam[opt] table given fallback: a value. If the child, or anything below it, fails for good or aborts, not the
--   whole tree is aborted but the child with all that is below it; its outputs that are not filled get this value, and
--   the others go on. Of several the nearest one counts. An abort of the tree from outside ends it all the same.
-- @return its future. Nothing starts before run has ended; arguments are read then.
-- Raises UnexpectedPipelineError outside of run, for anything but a new pipeline instance; SerializationError for a
-- fallback that cannot be stored. In App Engine: `yield child`.
function methods.spawn(self, child, given)
  if not is_instance(child) then refuse_child(self, child) end
  local run = run_of(self, "spawn")
  if child._spawned or child._id then refuse_used(child) end
  local fallback = given ~= nil and encode_fallback(given)
  child._spawned = self
  local n = run.n + 1
  run.n = n
  if n == 1 then run.children = {} end
  run.children[n] = child
  local order = run.order
  if order then
    if order.last then rawset(child, "_previous", order.last) end
    order.last = child
  end
  if run.scope then rawset(child, "_after", open_only(run.scope)) end
  if fallback then
    rawset(child, "_fallback", fallback)
    run.has_fallbacks = true
  end
  return future.new(child)
end

local function check_body(fn, position, name)
  if fn ~= nil and type(fn) ~= "function" then
    misuse(("bad argument #%d to '%s' (function expected, got %s)"):format(position, name, type(fn)))
  end
end

local function within(scope, fn)
  local _ <close> = scope
  return await.results(fn())
end

--- Children spawned inside `fn` start only when the default outputs of all `futures` are filled.
-- @tparam table futures list of futures.
-- @tparam[opt] function fn its results are passed on; without it a to-be-closed scope is returned.
-- In App Engine: `with pipeline.After(...)`.
function methods.after(self, futures, fn)
  if type(futures) ~= "table" or future.is_future(futures) then
    misuse("bad argument #1 to 'after' (list of futures expected)")
  end
  check_body(fn, 2, "after")
  local count, copy = 0, {}
  for key, value in next, futures do
    count = count + 1
    if not future.is_future(value) then
      misuse(("bad argument #1 to 'after' (list of futures expected; [%s] is a %s)"):format(tostring(key),
        future.is_slot(value) and "slot" or instance.is(value) and "pipeline" or type(value)))
    end
    copy[count] = value
  end
  local run = run_of(self, "after")
  local scope = setmetatable({ futures = copy, outer = run.scope, run = run }, Scope)
  run.scope = scope
  if fn == nil then return scope end
  return within(scope, fn)
end

--- Children spawned inside `fn` run one after the other, each when the default output of the one before is filled.
-- @tparam[opt] function fn its results are passed on; without it a to-be-closed scope is returned.
-- Raises UnexpectedPipelineError inside another in_order. In App Engine: `with pipeline.InOrder()`.
function methods.in_order(self, fn)
  check_body(fn, 1, "in_order")
  local run = run_of(self, "in_order")
  if run.order then errors.raise(errors.UnexpectedPipelineError, "in_order cannot be nested") end
  local scope = setmetatable({ is_order = true, run = run, last = false }, Scope)
  run.order = scope
  if fn == nil then return scope end
  return within(scope, fn)
end

-- ---- filling ---------------------------------------------------------------------------------------------------

-- A slot object may be of another pipeline, which must still be there and not final.
local function require_fillable(owner)
  local record = errors.read(context.store(owner._engine, true):stage_get(owner._id))
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
  local ok, code, message = context.store(self._engine):fill(self._id, { { slot = id, value = bytes } })
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
  if not instance.is(owner) then stores.refuse(what, owner, self._engine) end
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
    local missing = instance.missing(self)
    if #missing > 0 then
      errors.raise(errors.SlotNotFilledError, "complete of %s: outputs %s are not filled", tostring(self),
        table.concat(missing, ", "))
    end
  end
  fill(self, "default", value)
end

--- The names of outputs other than default that are filled neither in the store nor by this run, sorted.
function instance.missing(self)
  local filled = self._run and self._run.filled or {}
  local record, records = errors.read(context.store(self._engine, true):stage_get(self._id, true))
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

-- ---- retry, abort ----------------------------------------------------------------------------------------------

--- Seconds to wait after failure number `attempt` (0-based): backoff_seconds * backoff_factor ^ attempt, capped.
function instance.backoff(record, attempt)
  return core.backoff(record.backoff_seconds, record.backoff_factor, attempt)
end

local function may_cancel(self)
  local try_cancel = class_of(self).try_cancel
  return try_cancel ~= nil and (await.results(try_cancel(self))) == true
end
instance.may_cancel = may_cancel

local function flow_error(of, message)
  errors.raise(of, "%s", message == nil and "" or errors.text(message))
end

--- Runs an async pipeline again, if its try_cancel agrees. Inside the own run: raises Retry.
-- @return whether a new attempt was scheduled; false also when max_attempts is used up.
-- Raises UnexpectedPipelineError if it is not async or not started. In App Engine: Pipeline.retry.
function methods.retry(self, message)
  refuse_self(self, "retry")
  if self._run then flow_error(errors.Retry, message) end
  if not class_of(self).async then
    errors.raise(errors.UnexpectedPipelineError, "retry of %s: it is not async", tostring(self))
  end
  require_stored(self, "retry")
  if not may_cancel(self) then return false end
  local store = context.store(self._engine)
  local record = errors.read(store:stage_get(self._id))
  if not record then return false end
  local at = store:now() + instance.backoff(record, record.attempt)
  local ok, code, detail = store:retry(self._id, at, message == nil and "" or errors.text(message))
  if ok then return true end
  if code == "ELIMIT" or code == "ESTATE" or code == "EFINAL" or code == "ENOTFOUND" then return false end
  errors.raise_core(code, detail, "retry of " .. tostring(self))
end

local abort_kinds = { force = "boolean" }

--- Aborts the whole tree of this pipeline. Inside the own run: raises Abort. A durable function that has begun is told
-- (its waits raise CancelledError), cleans up, executes its compensations, and is ABORTED then, whatever its run
-- returns.
-- @tparam[opt] string message why.
-- @tparam[opt] table given force = true: no code of the user runs any more, no finalized() either; the tree is
--   ABORTED at once, also one that is being aborted already.
-- @return whether the signal was taken; false if the tree is final, already told to abort, or gone, or if this is an
-- async root whose try_cancel refuses. In App Engine: Pipeline.abort.
function methods.abort(self, message, given)
  refuse_self(self, "abort")
  given = options.check(given, abort_kinds, 2, "abort")
  if self._run then flow_error(errors.Abort, message) end
  require_stored(self, "abort")
  local asked = false
  if class_of(self).async and self.is_root and not given.force then
    if not may_cancel(self) then return false end
    asked = true
  end
  local store = context.store(self._engine)
  local ok, code, detail = store:abort(self._id, message == nil and "" or errors.text(message), asked, given.force)
  if ok then
    report.abort_asked(self._engine, self, message)
    return true
  end
  if code == "ENOTFOUND" or code == "EFINAL" or code == "EEXISTS" then return false end
  errors.raise_core(code, detail, "abort of " .. tostring(self))
end

--- Lets the tree of this pipeline, which was aborted, go on from where it failed: what is done stays done, outputs that
-- are filled stay filled, and all other pipelines of the tree run again with all their attempts (one whose run had
-- ended well already waits for its children again, an async one for its callback). finalized() is called again at the
-- end.
-- @return whether it goes on; false if the tree is not aborted (any more), or gone.
-- Raises UnexpectedPipelineError if the abort is not at its end yet: something of the tree still runs; or if it is not
-- started.
function methods.resume(self)
  refuse_self(self, "resume")
  require_stored(self, "resume")
  local store = context.store(self._engine)
  local count, code, detail = store:resume(self._id)
  if count then
    report.resumed(self._engine, self, count)
    instance.refresh(self, errors.read(store:stage_get(self._id, true)))
    return true
  end
  if code == "ESTATE" or code == "ENOTFOUND" then return false end
  if code == "ELIVE" then
    errors.raise(errors.UnexpectedPipelineError, "resume of %s: its tree is still being aborted; wait until nothing " ..
      "of it runs, and resume it then", tostring(self))
  end
  errors.raise_core(code, detail, "resume of " .. tostring(self))
end

-- ---- callbacks, status, cleanup --------------------------------------------------------------------------------

local function callback_params(self, params, name)
  local of = class_of(self)
  if not (of.async or of.durable) then
    errors.raise(errors.UnexpectedPipelineError, "%s of %s: it is neither async nor durable", name, tostring(self))
  end
  require_stored(self, name)
  local flat = {}
  for key, value in pairs(params or {}) do
    local kind = type(value)
    if type(key) ~= "string" or not (kind == "string" or kind == "number" or kind == "boolean") then
      misuse(("bad argument #1 to '%s' (parameters are named strings, numbers or booleans)"):format(name))
    end
    flat[key] = tostring(value)
  end
  flat.pipeline_id = self.id
  return flat
end

--- The relative URL that calls this pipeline's callback.
-- @tparam[opt] table params names and values that reach the callback.
-- @treturn string parameters sorted by name, URL-encoded. In App Engine: get_callback_url.
function methods.get_callback_url(self, params)
  refuse_self(self, "get_callback_url")
  if params ~= nil and type(params) ~= "table" then
    misuse("bad argument #1 to 'get_callback_url' (table expected)")
  end
  local flat = callback_params(self, params, "get_callback_url")
  return self.base_path .. "/callback?" .. text.query(flat)
end

local callback_kinds = {
  params = "table", name = "string", countdown = "number", eta = "time", method = "string", priority = "integer",
  headers = "table", retry_options = "table",
}

--- A task that calls this pipeline's callback; the caller adds it with task:add([queue_name]) or queue:add(task).
-- @tparam[opt] table given params, name, countdown or eta, priority, headers (of the task; callback() does not see
--   them), retry_options (TaskRetryOptions: how often it is tried again when callback() fails; without them for ever,
--   with growing delays); `method` is accepted and ignored.
-- @return a taskqueue.Task. In App Engine: get_callback_task.
function methods.get_callback_task(self, given)
  refuse_self(self, "get_callback_task")
  given = options.check(given, callback_kinds, 1, "get_callback_task")
  local flat = callback_params(self, given.params, "get_callback_task")
  return task.of_callback(self, flat, {
    name = given.name, eta = eta_of(self._engine, given), priority = given.priority, headers = given.headers,
    retry_options = given.retry_options, url = self.base_path .. "/callback",
  })
end

local status_kinds = { message = "string", console_url = "string", status_links = "table" }

local function store_status(self, given)
  local links = {}
  for name, url in pairs(given.status_links or {}) do
    if type(name) ~= "string" or type(url) ~= "string" then
      error("status_links: a table of URLs by name expected", 0)
    end
    links[name] = url
  end
  local store = context.store(self._engine)
  local bytes, code, message = core.encode_value(links, "status_links")
  if not bytes then errors.raise_core(code, message) end
  errors.check(store:status(self._id, {
    message = given.message, console_url = given.console_url, links = bytes, time = store:now(),
  }))
end

methods.log = require("pipeline.telemetry.log").method

--- Replaces what the status pages say about this pipeline, at once; what is left out becomes empty.
-- @tparam[opt] table given message, console_url, status_links (name -> URL).
-- Raises PipelineRuntimeError if it cannot be stored. In test mode it is only logged. In App Engine: set_status.
function methods.set_status(self, given)
  refuse_self(self, "set_status")
  given = options.check(given, status_kinds, 1, "set_status")
  require_stored(self, "set_status")
  if self.test_mode then
    self._engine:_log(20, ("status of %s: %s"):format(tostring(self), given.message or ""))
    return
  end
  local ok, problem = xpcall(store_status, errors.handler, self, given)
  if not ok then
    local name, message = errors.describe(problem)
    errors.raise(errors.PipelineRuntimeError, "set_status of %s: %s: %s", tostring(self), name, message)
  end
end

local email_kinds = { sender = "string", to = "any" }

--- Sends a mail that says how this pipeline ended, with a link to its status page; called in finalized(). A root of a
-- class without that function sends it by itself if the engine's option `mail` has `to` (and `results` lets it).
-- @tparam[opt] table given sender (default: `from` of the option `mail`), to (an address or a list; default: `to` of
--   that option). What is wrong with them is a warning in the log. In App Engine: send_result_email.
function methods.send_result_email(self, given)
  refuse_self(self, "send_result_email")
  given = options.check(given, email_kinds, 1, "send_result_email")
  require_stored(self, "send_result_email")
  if not self.id then
    errors.raise(errors.UnexpectedPipelineError, "send_result_email of %s: its engine is closed", tostring(self))
  end
  require("pipeline.mail.result").send(self._engine, self, given)
end

-- For a root whose finalized() asks for its cleanup: a task that waits until the whole tree is final.
-- A test leaves nothing behind anyway, and its outputs are to be read.
local function cleanup_later(self)
  if self.test_mode then return end
  errors.check(context.store(self._engine):task_add({
    { id = self._engine._core:new_id(), kind = "callback", queue = self.queue_name, stage = self._id },
  }, false))
end

--- Deletes all records of a finished tree. Does nothing on a child. In finalized() of the root: deletes them as soon as
-- all of the tree is final.
-- Raises UnexpectedPipelineError before start and while the tree still runs. In App Engine: cleanup.
function methods.cleanup(self)
  refuse_self(self, "cleanup")
  require_stored(self, "cleanup")
  if not self.is_root then return end
  if rawget(self, "_finalizing") then return cleanup_later(self) end
  local deleted, code, message = context.store(self._engine):cleanup(self._id)
  if deleted or code == "ENOTFOUND" then return end
  if code == "ELIVE" then
    errors.raise(errors.UnexpectedPipelineError, "cleanup of %s: it still runs; abort it first", tostring(self))
  end
  errors.raise_core(code, message, "cleanup of " .. tostring(self))
end

-- ---- reading back ----------------------------------------------------------------------------------------------

local from_kinds = { resolve_outputs = "boolean", engine = "table" }

-- The record and slots of a pipeline by the id that users see, and the engine that has it: `engine`, or, if the id is
-- of the store of another open one, that.
local function look_up(engine, id)
  local record, slots = keys.find(engine, id, true)
  if record then return engine, record, slots end
  local owner = stores.find(engine, id)
  if owner then return owner, keys.find(owner, id, true) end
end

--- The instance with this id, of its original class; of `fallback` (with a warning) if that cannot be found. It is of
-- another engine if the id is of that one's store.
function instance.from_id(engine, id, given, fallback)
  local resolve = given.resolve_outputs ~= false
  local owner, record, slots = look_up(engine, id)
  if not record then return nil end
  engine = owner
  local of, problem = class.find(record.class_path)
  if not of then
    engine:_log(30, ("from_id of %s: %s"):format(id, problem))
    of = fallback
  end
  if not resolve then
    for _, output in ipairs(record.outputs) do slots[output.slot] = nil end
  end
  return instance.of_record(engine, of, record, slots)
end

--- Reads a pipeline back.
-- @tparam string id as `stage.id` gives it, or its idempotence key.
-- @tparam[opt] table given resolve_outputs (true; false: do not show the outputs' values), engine (default:
--   that of the running task, else the default one).
-- @return an instance of the original class, or nil if there is none. Inputs not filled yet are slots in `args`.
-- In App Engine: Pipeline.from_id.
function class.read(fallback, id, given)
  if type(id) ~= "string" then
    misuse(("bad argument #1 to 'from_id' (string expected, got %s)"):format(type(id)))
  end
  given = options.check(given, from_kinds, 2, "from_id")
  return instance.from_id(given.engine or context.engine(), id, given, fallback)
end

--- The class of an instance, for the other rooms.
instance.class_of = class_of
instance.setting = setting
instance.new = new
instance.fill_stage = fill_stage
instance.encode_args = encode_args
instance.root_stage = root_stage
instance.OWN_TARGET, instance.HIDDEN = OWN_TARGET, HIDDEN
instance.BELOW_FALLBACK, instance.GUARDED = BELOW_FALLBACK, GUARDED

for name in pairs(getters) do
  if not settings[name] then class.reserved[name] = true end
end
for name, value in pairs(methods) do
  if type(value) == "function" then class.reserved[name] = true end
end
class.reserved.from_id, class.reserved.start_test = true, true
class.reserved.task_retry, class.reserved.log = true, nil -- classes may have a log of their own
class.set_up_base()

return instance
