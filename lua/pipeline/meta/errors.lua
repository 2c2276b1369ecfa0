-- errors.lua: classes of errors, for editors (LuaLS); made from doc comments by `make reference`.
---@meta _

---@class pipeline.ErrorClass
---@field name string
---@overload fun(...: any): pipeline.Error

---@class deferred.DeferredError: pipeline.Error

---@class deferred.PermanentTaskFailure: deferred.DeferredError

---@class deferred.SingularTaskFailure: deferred.DeferredError

---@class pipeline.Abort: pipeline.PipelineUserError

---@class pipeline.AbortedError: pipeline.Error

---@class pipeline.CancelledError: pipeline.TaskletError

---@class pipeline.ConfigurationError: pipeline.Error

---@class pipeline.DeadlockError: pipeline.TaskletError

---@class pipeline.EOFError: pipeline.TaskletError

---@class pipeline.Error
---@field message string
---@field where string
---@field traceback string

---@class pipeline.FetchError: pipeline.Error

---@class pipeline.Interrupted: pipeline.Error

---@class pipeline.LimitError: pipeline.WorkflowError

---@class pipeline.MailError: pipeline.Error

---@class pipeline.NondeterminismError: pipeline.WorkflowError

---@class pipeline.NotInStepError: pipeline.WorkflowError

---@class pipeline.NotYieldableError: pipeline.WorkflowError

---@class pipeline.PipelineExistsError: pipeline.PipelineSetupError

---@class pipeline.PipelineRuntimeError: pipeline.Error

---@class pipeline.PipelineSetupError: pipeline.Error

---@class pipeline.PipelineStatusError: pipeline.Error

---@class pipeline.PipelineUserError: pipeline.Error

---@class pipeline.QueryError: pipeline.WorkflowError

---@class pipeline.RequestError: pipeline.Error

---@class pipeline.Retry: pipeline.PipelineUserError

---@class pipeline.SQLError: pipeline.StoreError

---@class pipeline.SerializationError: pipeline.Error

---@class pipeline.SlotNotDeclaredError: pipeline.PipelineRuntimeError

---@class pipeline.SlotNotFilledError: pipeline.PipelineRuntimeError

---@class pipeline.StepInterruptedError: pipeline.WorkflowError

---@class pipeline.StoreError: pipeline.Error

---@class pipeline.TaskletError: pipeline.Error

---@class pipeline.TimeoutError: pipeline.Error

---@class pipeline.TransactionError: pipeline.Error

---@class pipeline.UnexpectedPipelineError: pipeline.PipelineRuntimeError

---@class pipeline.UpdateRejectedError: pipeline.WorkflowError

---@class pipeline.WorkerLostError: pipeline.Error

---@class pipeline.WorkflowError: pipeline.Error

---@class schedules.ScheduleError: pipeline.Error

---@class schedules.ScheduleExistsError: schedules.ScheduleError

---@class schedules.UnknownScheduleError: schedules.ScheduleError

---@class taskqueue.BadTaskStateError: taskqueue.TaskQueueError

---@class taskqueue.BadTransactionStateError: taskqueue.TaskQueueError

---@class taskqueue.DatastoreError: taskqueue.TaskQueueError

---@class taskqueue.DuplicateTaskNameError: taskqueue.TaskQueueError

---@class taskqueue.InternalError: taskqueue.TaskQueueError

---@class taskqueue.InvalidDeadlineError: taskqueue.TaskQueueError

---@class taskqueue.InvalidDispatchDeadlineError: taskqueue.TaskQueueError

---@class taskqueue.InvalidEtaError: taskqueue.InvalidTaskError

---@class taskqueue.InvalidLeaseTimeError: taskqueue.TaskQueueError

---@class taskqueue.InvalidMaxTasksError: taskqueue.TaskQueueError

---@class taskqueue.InvalidQueueError: taskqueue.TaskQueueError

---@class taskqueue.InvalidQueueModeError: taskqueue.TaskQueueError

---@class taskqueue.InvalidQueueNameError: taskqueue.InvalidQueueError

---@class taskqueue.InvalidTagError: taskqueue.TaskQueueError

---@class taskqueue.InvalidTaskError: taskqueue.TaskQueueError

---@class taskqueue.InvalidTaskNameError: taskqueue.InvalidTaskError

---@class taskqueue.InvalidTaskRetryOptionsError: taskqueue.TaskQueueError

---@class taskqueue.InvalidUrlError: taskqueue.InvalidTaskError

---@class taskqueue.MalformedQueueConfiguration: pipeline.ConfigurationError

---@class taskqueue.PermissionDeniedError: taskqueue.TaskQueueError

---@class taskqueue.QueuePausedError: taskqueue.TaskQueueError

---@class taskqueue.TaskAlreadyExistsError: taskqueue.InvalidTaskError

---@class taskqueue.TaskLeaseExpiredError: taskqueue.TaskQueueError

---@class taskqueue.TaskQueueError: pipeline.Error

---@class taskqueue.TaskTooLargeError: taskqueue.InvalidTaskError

---@class taskqueue.TombstonedQueueError: taskqueue.TaskQueueError

---@class taskqueue.TombstonedTaskError: taskqueue.InvalidTaskError

---@class taskqueue.TooManyTasksError: taskqueue.TaskQueueError

---@class taskqueue.TransactionalRequestTooLargeError: taskqueue.TaskTooLargeError

---@class taskqueue.TransientError: taskqueue.TaskQueueError

---@class taskqueue.UnknownQueueError: taskqueue.TaskQueueError

---@class taskqueue.UnknownTaskError: taskqueue.TaskQueueError
