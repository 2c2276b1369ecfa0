--- task.lua: tasks of the life of a pipeline that a caller adds to a queue himself: the one that starts a held-back
-- root, and callback tasks. They are tasks as all others (queue_task.lua); what they are good for is said here.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local queue_errors = require "pipeline.taskqueue.errors"
local queue_task = require "pipeline.taskqueue.task"
local stores = require "pipeline.support.stores"

local task = { BASE_PATH = "/_ah/pipeline" } -- of every URL that is not the user's own

-- The run context that what is transactional belongs to.
local function run_under_way(what, engine)
  local stage = current.instance()
  local run = stage and stage._run
  if not run or run.over then
    errors.raise(queue_errors.classes.BadTransactionStateError,
      "%s: transactional, but inside neither a transaction nor a run", what)
  end
  stores.check(what .. ": a task", engine, stage._engine, "without transactional it is added at once")
  return run
end

--- The list of tasks that are added when, and only if, the attempt of the run that calls this succeeds. Raises
-- BadTransactionStateError outside of a run, UnexpectedPipelineError in one of another store than that of `engine`.
function task.gathered(what, engine)
  local run = run_under_way(what, engine)
  run.tasks = run.tasks or {}
  return run.tasks
end

--- Calls fn() when what is done here has become real, as an added task would: when the transaction under way here has
-- been committed, with `transactional` in a run when the attempt has; else now. Raises what gathered and a transaction
-- that is over raise.
function task.when_committed(what, engine, transactional, fn)
  local tx, takes = current.route(engine, transactional, what)
  if takes then
    tx:_if_committed(fn)
  elseif tx then
    tx:_after(fn)
  elseif transactional then
    local run = run_under_way(what, engine)
    run.committed = run.committed or {}
    run.committed[#run.committed + 1] = fn
  else
    fn()
  end
end

--- The task that starts a root whose records were written with return_task.
function task.of_start(instance, stage)
  return queue_task.of_stage {
    url = (stage.base_path or task.BASE_PATH) .. "/run", eta = stage.eta, queue_name = stage.queue, kind = "run",
    stage = stage.id, engine = instance._engine,
  }
end

--- A task that calls the callback of `instance` with `params` (names and strings).
function task.of_callback(instance, params, fields)
  return queue_task.of_stage {
    url = fields.url, name = fields.name, eta = fields.eta, priority = fields.priority, headers = fields.headers,
    retry_options = fields.retry_options, params = params, queue_name = instance.queue_name, kind = "callback",
    stage = instance._id, engine = instance._engine,
  }
end

return task
