--- tasklets.lua: the module `pipeline.tasklets`: concurrency on the engine's loop.
--
--   tasklet/future.lua   results that are not there yet       tasklet/task.lua     tasklets, await
--   tasklet/multi.lua    several futures as one               tasklet/queue.lua    queues of results
--   tasklet/time.lua     sleep, limits of time                tasklet/sync.lua     Semaphore, Mutex
--   tasklet/group.lua    structured groups                    tasklet/context.lua  contexts, toplevel
--   tasklet/batcher.lua  AutoBatcher                          tasklet/promise.lua  promisify
--   tasklet/fetch.lua    HTTP requests                        tasklet/outside.lua   calls of an engine

local batcher = require "pipeline.tasklet.batcher"
local context = require "pipeline.tasklet.context"
local errors = require "pipeline.support.errors"
local fetch = require "pipeline.tasklet.fetch"
local future = require "pipeline.tasklet.future"
local group = require "pipeline.tasklet.group"
local multi = require "pipeline.tasklet.multi"
local promise = require "pipeline.tasklet.promise"
local queue = require "pipeline.tasklet.queue"
local sync = require "pipeline.tasklet.sync"
local task = require "pipeline.tasklet.task"
local time = require "pipeline.tasklet.time"

require "pipeline.tasklet.outside"

local tasklets = {
  tasklet = task.tasklet, synctasklet = task.synctasklet, toplevel = context.toplevel,
  await = task.await, await_all = multi.await_all, sleep = time.sleep, with_timeout = time.with_timeout,
  group = group.group, Semaphore = sync.Semaphore, Mutex = sync.Mutex, promisify = promise.promisify,
  MultiFuture = multi.MultiFuture, ReducingFuture = multi.ReducingFuture,
  QueueFuture = queue.QueueFuture, SerialQueueFuture = queue.SerialQueueFuture,
  AutoBatcher = batcher.AutoBatcher, add_flow_exception = future.add_flow_exception,
  get_context = context.get_context, set_context = context.set_context, make_context = context.make_context,
  get_local = context.get_local, set_local = context.set_local,
  fetch = fetch.fetch, fetch_limits = fetch.fetch_limits, fetch_facts = fetch.fetch_facts,
  is_future = future.is, in_tasklet = task.in_tasklet, function_of = task.function_of, traceback = task.traceback,
  EOFError = errors.EOFError, TimeoutError = errors.TimeoutError, CancelledError = errors.CancelledError,
  DeadlockError = errors.DeadlockError, TaskletError = errors.TaskletError, FetchError = errors.FetchError,
}

local new, plain_meta = future.new, future.plain_meta

--- Makes a future that somebody else completes: `Future(info)` or `Future{info=}`.
tasklets.Future = setmetatable({
  IDLE = future.IDLE, RUNNING = future.RUNNING, FINISHING = future.FINISHING,
  wait_any = multi.wait_any, wait_all = multi.wait_all,
}, {
  __name = "pipeline.FutureClass",
  __call = function(_, given)
    if given == nil then return new(plain_meta, 1) end
    return new(plain_meta, 1, (multi.info(given, "Future")))
  end,
})

return tasklets
