--- durable/info.lua: what a step function can know of its step: pipeline.step().

local context = require "pipeline.context"
local errors = require "pipeline.support.errors"

local info = {}

local of_task = setmetatable({}, { __mode = "k" }) -- tasklet -> the step that it executes

local Info = {}
local meta = { __name = "pipeline.Step", __index = Info, __unserializable = "the step that is executed" }

function meta.__tostring(self)
  return ("step %q, attempt %d of %s"):format(self.name, self.attempt, tostring(self.max_attempts))
end

local function not_there(name)
  return function(self)
    errors.raise(errors.WorkflowError, "%s of step %q: this version has no %s in steps", name, self.name, name)
  end
end

Info.heartbeat, Info.stream = not_there "heartbeat", not_there "stream"

--- Makes it: name, key, attempt, max_attempts.
function info.new(name, key, attempt, max_attempts)
  return setmetatable({ name = name, key = key, attempt = attempt, max_attempts = max_attempts }, meta)
end

--- The tasklet executes this step.
function info.set(task, step)
  of_task[task] = step
end

--- The step whose function runs; nil: none.
function info.current()
  local task = context.tasklet[1]
  return task and of_task[task] or nil
end

--- What the running step function can know of its step: `name`; `key` (text; the same in every attempt and every life,
-- to be handed on as an idempotency key), `attempt` (from 1), `max_attempts`. Raises NotInStepError where no step
-- function runs; a tasklet that a step function has started is none.
function info.step()
  return info.current() or errors.raise(errors.NotInStepError,
    "pipeline.step() tells of the step whose function calls it, and this is not called in the function of a step")
end

return info
