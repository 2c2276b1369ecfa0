--- errors.lua: the error classes of task queues, and which of them a result of the store stands for.

local errors = require "pipeline.support.errors"

local classes = {}

classes.Error = errors.define("TaskQueueError", errors.Error)

local function define(parent, ...)
  for _, name in ipairs { ... } do classes[name] = errors.define(name, parent) end
end

define(classes.Error, "InvalidTaskError", "InvalidQueueError", "UnknownQueueError", "TransientError", "InternalError",
  "BadTaskStateError", "PermissionDeniedError", "DuplicateTaskNameError", "TooManyTasksError",
  "BadTransactionStateError", "InvalidTaskRetryOptionsError", "InvalidLeaseTimeError", "InvalidMaxTasksError",
  "InvalidDeadlineError", "InvalidQueueModeError", "TaskLeaseExpiredError", "QueuePausedError", "InvalidTagError",
  "InvalidDispatchDeadlineError", "UnknownTaskError", "TombstonedQueueError")
define(classes.InvalidTaskError, "InvalidTaskNameError", "TaskTooLargeError", "TaskAlreadyExistsError",
  "TombstonedTaskError", "InvalidUrlError", "InvalidEtaError")
define(classes.TaskTooLargeError, "TransactionalRequestTooLargeError")
define(classes.InvalidQueueError, "InvalidQueueNameError")
-- The store failed, not the call: a StoreError as well.
classes.DatastoreError = errors.define("DatastoreError", classes.Error, errors.StoreError)
classes.MalformedQueueConfiguration = errors.define("MalformedQueueConfiguration", errors.ConfigurationError)

local class_of_code = {
  EEXISTS = classes.TaskAlreadyExistsError,
  ETOMBSTONE = classes.TombstonedTaskError,
  ENOTFOUND = classes.UnknownTaskError,
  ESTATE = classes.BadTaskStateError,
  ENOQUEUE = classes.UnknownQueueError,
  EMODE = classes.InvalidQueueModeError,
  EPAUSED = classes.QueuePausedError,
  ELEASE = classes.TaskLeaseExpiredError,
  ELIMIT = classes.TransientError,
}

local text_of_code = {
  EEXISTS = "the name is in use", ETOMBSTONE = "the name was used before", ENOTFOUND = "there is no such task",
  ESTATE = "not possible in this state", ENOQUEUE = "there is no such queue",
  EMODE = "the queue has the other mode: PULL tasks and leases are for pull queues, all others for push queues",
  EPAUSED = "the queue is paused", ELEASE = "the lease is over",
  ELIMIT = "the store has reached its storage limit",
}

local M = { classes = classes }

--- An error object for a result of the store about `subject`; nil if it stands for none of these classes. `message` is
-- what the store says of it.
function M.of_code(code, subject, message)
  local class = class_of_code[code] or (errors.is_of_store(code) and classes.DatastoreError)
  return class and class(("%s: %s"):format(subject, text_of_code[code] or message or code), { code = code })
end

--- Raises what `nil, code, message` of the C core stands for.
function M.raise(code, message, subject)
  local object = M.of_code(code, subject, message)
  if not object then errors.raise_core(code, message, subject) end
  object.traceback = debug.traceback(nil, 2)
  error(object, 0)
end

return M
