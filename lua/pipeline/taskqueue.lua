--- taskqueue.lua: task queues, as in App Engine: `require "pipeline.taskqueue"`.
--
--   queue_task.lua         tasks and their retry options
--   queue.lua              queues: add, lease, delete, statistics, settings
--   queue_async.lua        calls that do not wait
--   push.lua               how an engine executes a push task
--   taskqueue_errors.lua   the error classes

local queue = require "pipeline.taskqueue.queue"
local queue_async = require "pipeline.taskqueue.async"
local queue_errors = require "pipeline.taskqueue.errors"
local queue_task = require "pipeline.taskqueue.task"

local taskqueue = {
  Task = queue_task.Task, TaskRetryOptions = queue_task.TaskRetryOptions, is_task = queue_task.is,
  set_max_eta = queue_task.set_max_eta,
  Queue = queue.Queue, QueueStatistics = queue.QueueStatistics, add = queue.add, configure = queue.configure,
  create_rpc = queue_async.create_rpc,
}

for _, module in ipairs { queue_task, queue } do
  for name, value in pairs(module) do
    if name:find("^M[AI][XN]_") then taskqueue[name] = value end
  end
end

for name, class in pairs(queue_errors.classes) do taskqueue[name] = class end

return taskqueue
