--- telemetry/hooks.lua: functions of the program that are called when something happens in an engine.

local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local text = require "pipeline.support.text"
local place = require "pipeline.support.place"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local methods = {} -- of the engine

--- Has fn(event) called when something happens in this engine: after the commit, so that what is told of holds. Each
-- call has a coroutine of its own and may wait; an error in it is logged, and changes nothing. While 10,000 calls have
-- not come back nothing more is told of, and the log says so.
--
-- A table has `event`, `time` and what applies: of stages id, root, class, key, queue, attempt, max_attempts; at their
-- end state, created, started, ended, took, reason; of tasks kind ("push", "deferred", "callback"), queue, name,
-- attempt, status. `took` (seconds of this attempt), `late` (seconds from when it could have begun until it did). Of
-- failures error_class, error, traceback, will_retry, and `at` (when it runs again).
-- @tparam string event stage_started, stage_done, stage_failed, stage_aborted; root_done, root_aborted (after that of
--   its stage); task_started, task_done, task_failed, task_dead; queue_paused; worker_joined, worker_lost (number, pid;
--   of others: a loss is told of by the process that gives back what the lost one had); engine_stopping; of durable
--   functions run_suspended (due, reason), run_replayed (entries), run_held (reason), each with id, class, key, era.
-- @tparam function fn
-- @return a function that ends it; idempotent.
function methods.on(self, event, fn)
  opened.check(self)
  local events = require "pipeline.telemetry.events"
  local known = {}
  for _, name in ipairs(events.NAMES) do known[name] = true end
  if not known[event] then
    local nearest = type(event) == "string" and options.nearest(event, known)
    bad_argument(1, "on", "unknown event %s%s; there are %s", text.of(event, 100),
      nearest and ("; did you mean '%s'?"):format(nearest) or "", table.concat(events.NAMES, ", "))
  end
  if type(fn) ~= "function" then
    bad_type(2, "on", "function", fn)
  end
  return events.of(self):add(event, fn)
end

return methods
