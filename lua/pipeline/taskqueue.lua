--- taskqueue.lua: what users catch when they add tasks of pipelines to queues.

local task = require "pipeline.task"

local taskqueue = {}

for name, class in pairs(task.errors) do taskqueue[name] = class end

return taskqueue
