--- durable/info.lua: what a step function can know of its step: pipeline.step().

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local bad_argument = require("pipeline.support.place").bad_argument

local info = {}

local ATTEMPT <const> = "attempt_of_step" -- field of a tasklet: the attempt of a step that it executes

local NAME_BYTES_MAX <const> = 200

local Info = {}
local meta = { __name = "pipeline.Step", __index = Info, __unserializable = "the step that is executed" }

function meta.__tostring(self)
  return ("step %q, attempt %d of %s"):format(self.name, self.attempt, tostring(self.max_attempts))
end

local progress_of = setmetatable({}, { __mode = "k" }) -- of such a step: see reach/progress.lua

--- Tells that the step is at work. The next attempt, should this one fail or its process die, finds `details` (any
-- value that can be stored; after a crash those of at most a second before) in its field `details`. Raises
-- CancelledError when the attempt is over: the run was cancelled, another process has taken it over, or its time was
-- up.
function Info.heartbeat(self, details)
  progress_of[self]:heartbeat(details)
end

--- A stream of the durable function (engine:read_stream): its method is write(value). The k-th write of a step is there
-- once, however many attempts it takes.
-- @tparam string name of 1 to 200 bytes.
function Info.stream(self, name)
  if type(name) ~= "string" or name == "" or #name > NAME_BYTES_MAX then
    bad_argument(1, "stream", "a name of 1 to %d bytes expected", NAME_BYTES_MAX)
  end
  return progress_of[self]:stream(name)
end

--- Makes it: name, key, attempt, max_attempts; details of the last heartbeat, and where the attempt tells of its
-- progress.
function info.new(name, key, attempt, max_attempts, details, progress)
  local self = setmetatable({
    name = name, key = key, attempt = attempt, max_attempts = max_attempts, details = details,
  }, meta)
  progress_of[self] = progress
  return self
end

--- The tasklet executes this attempt of a step; what it can know of that is made when it asks.
function info.set(task, attempt)
  task[ATTEMPT] = attempt
end

--- The step whose function runs; nil: none.
function info.current()
  local task = current.tasklet[1]
  local attempt = task and rawget(task, ATTEMPT)
  if not attempt then return nil end
  if not attempt.info then attempt.info = attempt.steps:info(attempt.op, attempt) end
  return attempt.info
end

--- What the running step function can know of its step: `name`; `key` (text; the same in every attempt and every life,
-- to be handed on as an idempotency key), `attempt` (from 1), `max_attempts`, `details` (of the last heartbeat of an
-- attempt before); its methods are heartbeat(details) and stream(name). Raises NotInStepError where no step
-- function runs; a tasklet that a step function has started is none.
function info.step()
  return info.current() or errors.raise(errors.NotInStepError,
    "pipeline.step() tells of the step whose function calls it, and this is not called in the function of a step")
end

return info
