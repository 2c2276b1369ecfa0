--- task.lua: tasks that a caller adds to a queue himself: the one that starts a held-back root, and callback tasks.

local core = require "pipeline.core"
local context = require "pipeline.context"
local errors = require "pipeline.errors"
local options = require "pipeline.options"
local queue_errors = require "pipeline.taskqueue_errors"

local task = {}

local Task = {}
local meta = { __name = "pipeline.Task", __index = Task }

function meta.__tostring(self)
  return ("Task(url=\"%s\"%s)"):format(self.url, self.name and (", name=\"" .. self.name .. "\"") or "")
end

local add_kinds = { transactional = "boolean" }

local function stored_form(self, queue_name)
  return {
    id = self._id, kind = self._kind, queue = queue_name, name = self.name, stage = self._stage,
    payload = self._payload, priority = self.priority, eta = self.eta,
  }
end

--- The list of tasks that are added when, and only if, the attempt of the run that calls this succeeds. Raises
-- BadTransactionStateError outside of a run.
function task.gathered(what)
  local current = context.instance()
  local run = current and current._run
  if not run or run.over then
    errors.raise(queue_errors.classes.BadTransactionStateError,
      "%s: transactional, but inside neither a transaction nor a run", what)
  end
  run.tasks = run.tasks or {}
  return run.tasks
end

local function send(self, form)
  local results, code, message = context.store(self._engine):task_add({ form }, false)
  if not results then errors.raise_core(code, message, "add of " .. tostring(self)) end
  if results[1] ~= "OK" then
    queue_errors.raise(results[1], nil, tostring(self))
  end
  self.was_enqueued, self.queue_name = true, form.queue
end

--- Adds the task to a queue.
-- @tparam[opt] string queue_name default: the queue of its pipeline.
-- @tparam[opt] table given transactional = true inside a run: added when, and only if, the attempt succeeds. Inside
-- engine:transaction it is added with that, unless transactional = false.
-- @return the task. Raises TaskAlreadyExistsError, TombstonedTaskError (the name was used before),
-- BadTaskStateError (it was added before) and BadTransactionStateError. In App Engine: Task.add.
function Task.add(self, queue_name, given)
  if queue_name ~= nil and type(queue_name) ~= "string" then
    error("bad argument #1 to 'add' (name of a queue expected)", 2)
  end
  given = options.check(given, add_kinds, 2, "add")
  if self.was_enqueued then
    errors.raise(queue_errors.classes.BadTaskStateError, "%s was already added", tostring(self))
  end
  local form = stored_form(self, queue_name or self.queue_name)
  local tx = context.transaction()
  if tx and tx._engine ~= self._engine then tx = nil end
  if tx and not tx:_takes(given.transactional, "add") then
    tx:_after(function() send(self, form) end)
    return self
  end
  if given.transactional and not tx then
    table.insert(task.gathered("add"), form)
    self.was_enqueued, self.queue_name = true, form.queue
    return self
  end
  send(self, form)
  if tx then tx:_if_lost(function() self.was_enqueued = false end) end
  return self
end

local function new(fields)
  fields.method, fields.was_enqueued = "POST", false
  return setmetatable(fields, meta)
end

--- The task that starts a root whose records were written with return_task.
function task.of_start(instance, stage)
  return new {
    url = (stage.base_path or "/_ah/pipeline") .. "/run", eta = stage.eta, queue_name = stage.queue, params = {},
    _engine = instance._engine, _kind = "run", _id = stage.id, _stage = stage.id,
  }
end

--- A task that calls the callback of `instance` with `params` (names and strings).
function task.of_callback(instance, params, fields)
  local bytes, code, message = core.encode_value(params, "parameter")
  if not bytes then errors.raise_core(code, message) end
  return new {
    url = fields.url, name = fields.name, eta = fields.eta, priority = fields.priority, params = params,
    queue_name = instance.queue_name, _engine = instance._engine, _kind = "callback",
    _id = instance._engine._core:new_id(), _stage = instance._id, _payload = bytes,
  }
end

return task
