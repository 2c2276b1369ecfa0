--- taskqueue/batch.lua: tasks that are dealt with together: whose they are, what can be said against them, what became
-- of each.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local queue_errors = require "pipeline.taskqueue.errors"
local queue_task = require "pipeline.taskqueue.task"
local stores = require "pipeline.support.stores"

local classes = queue_errors.classes
local ipairs, rawget = ipairs, rawget

local batch = { MAX_TASKS = 100 }

--- A task, or a list of tasks, as a list.
function batch.list_of(value, what)
  if queue_task.is(value) then return { value } end
  return options.check_list(value, queue_task.is, 1, what, "task or list of tasks", "task")
end

--- The engine that all of a list belong to: tasks of pipelines have that of their pipeline; those that were added,
-- leased or read, that of the store they are in; others that of the caller.
function batch.engine_of(list, what)
  local engine
  for _, task in ipairs(list or {}) do
    local own = rawget(task, "_engine")
    if own and engine and own ~= engine and not stores.same(own, engine) then
      errors.raise(classes.BadTaskStateError, "%s: tasks of different stores (%s and %s)", what, engine._path,
        own._path)
    end
    engine = engine or own
  end
  return engine and stores.live(engine) or current.engine()
end

--- The store that all of a list belong to: engine_of.
function batch.store_of_tasks(list, what)
  return current.store(batch.engine_of(list, what))
end

--- Raises DuplicateTaskNameError if a task, or a name, comes twice.
function batch.refuse_doubles(list, what)
  if not list[2] then return end
  local seen = {} -- tasks and names
  for _, task in ipairs(list) do
    local name = rawget(task, "name")
    if seen[task] or (name and seen[name]) then
      errors.raise(classes.DuplicateTaskNameError, "%s: %s comes twice", what, tostring(task))
    end
    seen[task] = true
    if name then seen[name] = true end
  end
end

--- Everything that can be known before anything is sent (Q56 to Q59).
function batch.check(list)
  if #list > batch.MAX_TASKS then
    local engine = current.engine_or_nil()
    local max = engine and engine._max_tasks_per_add or batch.MAX_TASKS
    if #list > max then
      errors.raise(classes.TooManyTasksError, "add: %d tasks, more than %d (max_tasks_per_add of pipeline.open)", #list,
        max)
    end
  end
  batch.refuse_doubles(list, "add")
  local are_pull = list[1].method == "PULL"
  for i = 1, #list do
    local task = list[i]
    if task.was_enqueued then
      errors.raise(classes.BadTaskStateError, "%s was already added", tostring(task))
    end
    if (task.method == "PULL") ~= are_pull then
      errors.raise(classes.InvalidTaskError, "add: push and pull tasks are mixed")
    end
  end
end

--- The task is in the queue of that name: it is marked so.
function batch.was_added(task, id, url, name, queue_name, engine)
  task._id, task.was_enqueued, task.queue_name, task._engine, task.name = id, true, queue_name, engine, name
  if url ~= task.url then task.url = url end
end

--- Which error stands for all: the first that is about neither a name in use nor a tombstone, else the last (Q63). Of a
-- list that is added all or none, "ESKIPPED" are those that were not at fault.
function batch.worst(list, results)
  local found, subject
  for i, result in ipairs(results) do
    if result ~= "OK" and result ~= "ESKIPPED" then
      found, subject = result, list[i]
      if result ~= "EEXISTS" and result ~= "ETOMBSTONE" then break end
    end
  end
  return found, subject
end

-- Whether this is a run that was tried before: what it adds by itself it may have added then.
local function is_repeated()
  local stage = current.instance()
  return stage and stage._run and stage.current_attempt > 1
end

--- Raises the error that stands for all; returns if there is none. It has `results` and `tasks`.
function batch.raise_worst(self, list, results)
  local code, subject = batch.worst(list, results)
  if not code then return end
  local about = (code == "ENOQUEUE" or code == "EMODE") and tostring(self) or tostring(subject)
  local object = queue_errors.of_code(code, about)
  if not object then errors.raise_core(code, nil, about) end
  if (code == "EEXISTS" or code == "ETOMBSTONE") and is_repeated() then
    object.message = object.message .. "; maybe an earlier attempt of this run has added it: with transactional = true "
      .. "it is added once, with the attempt that succeeds"
  end
  object.results, object.tasks, object.traceback = results, list, debug.traceback(nil, 2)
  error(object, 0)
end

--- As was_added, when the transaction that was to add it was lost.
function batch.was_not_added(task, name, engine)
  task.was_enqueued, task._id, task.name, task._engine = false, nil, name or nil, engine or nil
end

--- Whether the store could refuse one of them for its name.
function batch.is_any_named(forms)
  for _, form in ipairs(forms) do
    if form.name or form.stage then return true end
  end
  return false
end

return batch
