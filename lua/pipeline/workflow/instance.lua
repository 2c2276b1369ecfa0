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
--   _run             the run context (see execute.lua), false outside of its run
--   _spawned         whether a run has spawned it
--   _aborting        in finalized() and try_cancel() of an abort
--   _finalizing      in finalized()
-- and those that future.lua lists.

local core = require "pipeline.core"
local await = require "pipeline.support.await"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local facts = require "pipeline.workflow.instance.facts"
local fill = require "pipeline.workflow.instance.fill"
local keys = require "pipeline.workflow.keys"
local options = require "pipeline.support.options"
local report = require "pipeline.support.report"
local queue_errors = require "pipeline.taskqueue.errors"
local stores = require "pipeline.support.stores"
local task = require "pipeline.workflow.task"
local text = require "pipeline.support.text"
local trace = require "pipeline.telemetry.trace"
local place = require "pipeline.support.place"
local bad_option, bad_type = place.bad_option, place.bad_type

require "pipeline.workflow.instance.outside"
require "pipeline.workflow.instance.run"

local methods, class_of, setting, new = facts.methods, facts.class_of, facts.setting, facts.new
local refuse_self, refuse_used, require_stored = facts.refuse_self, facts.refuse_used, facts.require_stored
local eta_of = facts.eta_of
local rawget = rawget

local instance = {
  BASE_PATH = facts.BASE_PATH, is = facts.is, args = facts.args, args_text = facts.args_text,
  check_setting = facts.check_setting, keep_settings = facts.keep_settings, of_record = facts.of_record,
  refresh = facts.refresh, missing = fill.missing,
}

-- ---- before start ----------------------------------------------------------------------------------------------

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

-- flags & OWN_TARGET: the target was given to this stage alone and does not pass to its children.
local OWN_TARGET = 1 << 16
-- flags & HIDDEN: the engine made it, for a value that is returned with futures in it; nobody has spawned it.
local HIDDEN = core.HIDDEN
-- flags & GUARDED: this stage, or one above it, has a fallback.
local BELOW_FALLBACK = 1 << 19
local GUARDED = core.HAS_FALLBACK | BELOW_FALLBACK

local function unknown_queue(engine, name)
  local names = {}
  for _, each in ipairs(errors.check(current.store(engine, true):queue_get(nil))) do
    names[each.name or "default"] = true
  end
  errors.raise(queue_errors.classes.UnknownQueueError, "there is no queue '%s'; did you mean '%s'?", text.short(name),
    options.nearest(name, names))
end

-- Where queues are configured, a pipeline is not put into one that is not: it would be a name that was misspelt.
local function check_queue(engine, name)
  local known = engine._known_queues
  if not known or name == nil or name == "default" or known[name] then return end
  local found = errors.check(current.store(engine, true):queue_get(name))[1]
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
  local tx, takes = current.route(engine, given.transactional, "start")
  if given.transactional and not tx then
    errors.raise(errors.TransactionError, "start: transactional, but not inside engine:transaction; what is to " ..
      "begin with the end of a run is start{return_task = true}:add(nil, {transactional = true})")
  end
  local stage = root_stage(self, engine, given)
  if tx and not takes then
    tx:_after(function() send(self, current.store(engine), stage) end)
  else
    send(self, current.store(engine), stage)
    if takes then tx:_if_lost(forget_start, self) end
  end
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
  local engine = given.engine or current.engine()
  if not rawget(engine, "_core") then bad_option(1, "start", "engine", "engine expected") end
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
  local store = current.store(self._engine)
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
  local store = current.store(self._engine)
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
  local store = current.store(self._engine)
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
    engine:_log(core.LOG_WARNING, ("from_id of %s: %s"):format(id, problem))
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
local function read(fallback, id, given)
  if type(id) ~= "string" then
    bad_type(1, "from_id", "string", id)
  end
  given = options.check(given, from_kinds, 2, "from_id")
  return instance.from_id(given.engine or current.engine(), id, given, fallback)
end

class.provide { read = read }

instance.class_of = class_of
instance.setting = setting
instance.new = new
instance.fill_stage = fill_stage
instance.encode_args = encode_args
instance.root_stage = root_stage
instance.OWN_TARGET, instance.HIDDEN = OWN_TARGET, HIDDEN
instance.BELOW_FALLBACK, instance.GUARDED = BELOW_FALLBACK, GUARDED

for name in pairs(facts.getters) do
  if not facts.settings[name] then class.reserved[name] = true end
end
for name, value in pairs(methods) do
  if type(value) == "function" then class.reserved[name] = true end
end
class.reserved.from_id, class.reserved.start_test = true, true
class.reserved.task_retry, class.reserved.log = true, nil -- classes may have a log of their own
class.set_up_base()

return instance
