--- attempt.lua: what those who execute tasks share: the time that an attempt may take, and its end as a failure.
--
-- An attempt is a table of the executor's; here it has
--   over    it has ended: by its result, or because its time was up, or from outside
--   timer   of its time; nil or false: it is not limited
--
-- Its code may wait, and may run without coming back to the loop. So its time is measured twice: by a timer of the
-- engine, which ends it from another coroutine while it waits, and by the core, which raises an error in code that does
-- not wait. Whichever comes first sets `over`, and ends the claim.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"

local attempts = {}

local running = coroutine.running

local function out_of_time(timer)
  local attempt = timer.attempt
  if attempt.over then return end
  attempt.over = true
  timer.failed(attempt, timer.coroutine)
  timer.engine:_cancel(timer.coroutine)
end

--- Limits the time of an attempt that runs in this coroutine. If it waits when the time is up, failed(attempt,
-- coroutine) is called, which is to end the claim, and the coroutine is cancelled.
function attempts.limit(attempt, engine, seconds, failed)
  engine._core:deadline(seconds)
  attempt.timer = engine._timers:add(seconds, out_of_time, {
    attempt = attempt, engine = engine, failed = failed, coroutine = running(),
  })
end

--- The code of the attempt has returned or raised: it is over. Returns "over" if it was so before, "late" or
-- "cancelled" if the core has ended its code, else nil.
function attempts.finish(attempt, engine)
  local ended = engine._core:deadline()
  if attempt.timer then engine._timers:cancel(attempt.timer) end
  if attempt.over then return "over" end
  attempt.over = true
  return ended
end

--- The coroutine of an attempt is closed, perhaps while it waits: the __close of an attempt.
function attempts.leave(attempt)
  attempt.over = true
  local timer = attempt.timer
  if timer then timer.engine._timers:cancel(timer) end
end

--- The error of an attempt, or call (`what`), that took too long. `where`: the text of the error that was raised in
-- code which did not come back to the loop; nil: it waited.
function attempts.time_is_up(what, seconds, where)
  where = where and where:match("^(.-:%d+): ")
  return errors.TimeoutError(("the %s took longer than %g s%s"):format(what, seconds,
    where and " (it was at " .. where .. ")" or ""))
end

-- What nobody has to be told: the end comes too late.
local silent = { EABORTED = true, ESTALE = true }

--- Writes to the log that the store refused the end of `what`, from the results of the call that was to end it.
-- @tparam[opt] table told set of further codes that are told of elsewhere.
function attempts.log_end(engine, what, told, ok, code, message)
  if ok or not code or silent[code] or told and told[code] then return end
  engine:_log(core.LOG_WARNING, ("end of %s: %s %s"):format(what, code, message or ""))
end

--- Ends a task of a queue, or a callback task, as a failed try. `what`: as for log_end; `how`: retry_at (seconds
-- since the epoch; nil: as the queue says), status, give_up.
function attempts.fail_task(engine, claim, what, failure, how)
  how.failed, how.nowait, how.failure = true, true, failure
  attempts.log_end(engine, what, nil, engine._core:task_done(claim, how))
end

return attempts
