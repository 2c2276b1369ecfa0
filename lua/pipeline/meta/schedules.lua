-- schedules.lua: schedules, for editors (LuaLS); made from doc comments by `make reference`.
---@meta pipeline.schedules

---@class schedules
local schedules = {}

---@type pipeline.ErrorClass
schedules.ScheduleError = nil

---@type pipeline.ErrorClass
schedules.ScheduleExistsError = nil

---@type pipeline.ErrorClass
schedules.UnknownScheduleError = nil

---@class (exact) schedules.create.options
---@field if_exists? string

--- Makes a schedule.
---
--- `given`: when: cron (an expression of 5 or 6 fields, seconds first, @daily and the like, or a list of them), or
--- every (seconds, or "15m", "2h", "7d") with anchor (where the slots are counted from; default: now), or at (seconds
--- since the epoch, or "2026-12-24T18:00"); exclude (cron expressions and days "2026-12-25" that do not fire),
--- time_zone (an IANA name, default "UTC"), dst = { gap = "next" | "shift" | "skip", fold = "first" | "last" | "both" }
--- (local times that do not exist: the first instant after them, later by as much, or not at all; that exist twice),
--- day_and_weekday (both are needed where both are said; else either is enough), jitter (seconds by which fires are
--- spread, at most to the next one), start_time, end_time (both inclusive), max_fires. What: start (a pipeline), task
--- (a taskqueue.Task without a name) or call ({ function, arguments … }, as deferred takes it); queue (of the three).
--- How: overlap, when the work of the fire before is not final: "skip" (the default), "buffer_one", "buffer_all",
--- "cancel_other", "terminate_other", "allow_all"; catch_up = { policy = "last" | "all" | "none", window = 86400, limit
--- = 1000 } (what becomes of times at which no process was there; default: the latest of them, if it is not older than
--- a day); pause_on_failure (so many failed fires in a row pause it).
---
--- Returns the schedule. Raises ScheduleError, which names the field and why it is wrong; ScheduleExistsError.
---@param name string one of at most 200 bytes.
---@param given? schedules.create.options
---@param how? table if_exists: "raise" (the default), "update", "keep".
---@return schedules.Schedule
function schedules.create(name, given, how) end

--- Declares the schedules of a source, such as a program or a module: those in the table are made or changed, those the
--- source has declared before and does not name any more are removed; those of others stay. Pauses, counters and
--- buffered fires are not touched. All of it or nothing.
---
--- `how`: version: of several versions of a program that run side by side, the highest one counts; a lower one changes
--- nothing. Default: it counts.
---
--- Returns whether it counted. Raises as `create` does, and ScheduleError for a name that is another's.
---@param source string its name.
---@param specs table name -> what `create` takes.
---@param how? table
---@return any
function schedules.declare(source, specs, how) end

--- The schedule of that name, or nil.
---@param name string
---@return schedules.Schedule
function schedules.get(name) end

---@class (exact) schedules.list.options
--- 50
---@field count? integer
---@field cursor? string
---@field source? string
--- "active", "paused", "finished"
---@field state? string

--- Schedules by name.
---
--- Returns list, cursor of the next page or nil.
---@param given? schedules.list.options source, state ("active", "paused", "finished"), cursor, count (50).
---@return schedules.Schedule[]
function schedules.list(given) end

---@class (exact) schedules.next.options
---@field count? integer
---@field from? number

--- The next times of a spec that need not be declared: a list of { nominal_time, local_time, fire_time }.
---@param given? schedules.next.options as `create` takes it; what is to be done may be left out.
---@param how? table from (seconds since the epoch; default: now), count (5).
function schedules.next(given, how) end

---@class schedules.Schedule
local Schedule = {}

---@class (exact) schedules.Schedule.backfill.options
--- also times that have fired
---@field again? boolean
---@field from? number
--- 1000: more than that are refused
---@field max? integer
--- "buffer_all"
---@field overlap? string
--- seconds since the epoch; `to` is not later than now
---@field to? number

--- Fires each of its times in [from, to), in order. Times that have fired are left out, as far as that is known: those
--- of the last 100 fires, of the backfills of a day, and of pipelines that are still there. Of several backfills at
--- once each time fires once. The next regular time, max_fires and what was missed stay as they are.
---
--- `given`: from, to (seconds since the epoch; `to` is not later than now), overlap ("buffer_all"), again (also times
--- that have fired), max (1000: more than that are refused).
---
--- Returns { started =, buffered =, skipped =, already_fired = }
---@param given? schedules.Schedule.backfill.options
---@return any
function Schedule:backfill(given) end

---@class (exact) schedules.Schedule.delete.options
---@field running? string

--- Deletes it. What is buffered ends with it; what runs is left, or aborted with running = "abort".
---@param given? schedules.Schedule.delete.options
function Schedule:delete(given) end

---@class (exact) schedules.Schedule.fires.options
---@field count? integer
---@field cursor? integer

--- Its fires, newest first: a list of { nominal_time, local_time, fire_time, previous_nominal_time, reason, state, id
--- (of the pipeline), ended }, and the cursor of the next page or nil. Kept are the last 100 and those not over.
---@param given? schedules.Schedule.fires.options
function Schedule:fires(given) end

--- Its next n (5) times, if nothing changes: a list of { nominal_time, local_time, fire_time }.
---@param n integer
function Schedule:next(n) end

--- Pauses it, with a note: nothing fires and nothing that is buffered starts until `resume`; what runs goes on.
---@param note any
function Schedule:pause(note) end

---@class (exact) schedules.Schedule.resume.options
---@field catch_up? boolean

--- Ends a pause. Times in the pause are over, unless catch_up = true: then the catch-up policy says what becomes of
--- them.
---@param given? schedules.Schedule.resume.options
function Schedule:resume(given) end

--- How it is getting on: name, source, state ("active", "paused", "finished"), note (why it is paused, or why its
--- latest time did not fire), next_nominal_time, next_fire_time, next_local, last_nominal_time, last_fire_time,
--- last_result ("done" or "failed") and last_end, running and buffered (fires), failures (in a row), lag (seconds
--- overdue), and what became of its times: fired, caught_up, triggered, backfilled, skipped (the one before was not
--- over), skipped_paused, skipped_gap, missed, dropped.
function Schedule:status() end

---@class (exact) schedules.Schedule.trigger.options
--- a list, in the place of those of the pipeline or call
---@field args? table
---@field overlap? string

--- Fires it now, whatever its times are, also when it is paused or finished. The next regular time stays.
---
--- `given`: args (a list, in the place of those of the pipeline or call), overlap.
---
--- Returns what became of it ("started", "buffered", "skipped"), and the id of the pipeline, if it is one and was not
--- skipped.
---@param given? schedules.Schedule.trigger.options
---@return any
function Schedule:trigger(given) end

--- Changes the fields that are given; see `create`. Changed times count from now; those that have come and have not
--- fired yet fire first, by the rules of before.
---@param part any
function Schedule:update(part) end

return schedules
