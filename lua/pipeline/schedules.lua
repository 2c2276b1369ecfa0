--- schedules.lua: work that comes back by the clock: `require "pipeline.schedules"`.
--
-- A schedule lives in the store, like the work it starts. Whichever process works on the file when its time has come
-- fires it; each of its times fires once, whatever the number of processes, and whatever becomes of them.

local core = require "pipeline.core"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local firing = require "pipeline.schedule.firing"
local missed = require "pipeline.schedule.missed"
local options = require "pipeline.support.options"
local spec = require "pipeline.schedule.spec"
local times = require "pipeline.schedule.times"
local work = require "pipeline.schedule.work"
local place = require "pipeline.support.place"
local bad_argument, bad_option, bad_type = place.bad_argument, place.bad_option, place.bad_type

local schedules = {}

--- What is wrong with a schedule, or what is said of one.
schedules.ScheduleError = times.ScheduleError
--- There is a schedule of that name.
schedules.ScheduleExistsError = errors.define("ScheduleExistsError", times.ScheduleError)
--- There is no schedule of that name, or not any more.
schedules.UnknownScheduleError = errors.define("UnknownScheduleError", times.ScheduleError)

local TRIES = 20 -- to write what others write as well
local BACKFILL_MAX, BATCH = 1000, 64
local PAGE = 1000

local Schedule = {}
local meta = { __name = "pipeline.Schedule", __index = Schedule, __unserializable = "a schedule: store its name" }

function meta.__tostring(self)
  return ("schedule '%s'"):format(self.name)
end

local function object(engine, row)
  return setmetatable({ name = row.name, _engine = engine }, meta)
end

local function read(engine, name)
  return errors.check(current.store(engine, true):schedule_get { name = name })[1]
end

local function refuse_unknown(name)
  errors.raise(schedules.UnknownScheduleError, "there is no schedule '%s'", name)
end

local function row_of(self)
  return read(self._engine, self.name) or refuse_unknown(self.name)
end

-- ---- writing ---------------------------------------------------------------------------------------------------

-- When a new or changed schedule fires first: never for a time that is past, but for `at`, which may be late by as much
-- as it may catch up.
local function first_time(name, compiled, now, last)
  local fields = compiled.fields
  if not fields.at then return firing.next_of(name, compiled, math.max(now, last or now)) end
  if last and fields.at <= last then return nil end
  local window = math.max(60, fields.catch_up.policy ~= "none" and fields.catch_up.window or 0)
  if fields.at < now - window then
    errors.raise(times.ScheduleError, "at: %s is past", compiled:local_time(fields.at))
  end
  return firing.next_of(name, compiled, fields.at - 1e-6)
end

-- The row of a new schedule.
local function new_row(engine, name, fields, todo, source)
  local compiled = times.compile(fields)
  local nominal, at = first_time(name, compiled, engine._core:now())
  return {
    id = engine._core:new_id(), name = name, source = source, times = spec.encode(fields), work = spec.encode(todo),
    next_nominal = nominal, next_at = at, pause_on_failure = fields.pause_on_failure,
  }
end

local function is_over(row, fields)
  return fields.max_fires and row.fired + row.caught_up >= fields.max_fires
end

-- A pause is over, or is given other times: those of the past are counted, as far as they can be read.
local function end_stretch_of_pause(engine, row, changed, now)
  local ok, compiled = pcall(times.of_row, row)
  if not ok then return end
  changed.counts = { skipped_paused = missed.count(compiled, row.next_nominal - 1e-6, now, firing.pause(engine)) }
  changed.last_nominal = compiled:last(row.next_nominal - 1e-6, now)
end

-- The row of a changed schedule; nil: nothing is changed by that; nil, true: not yet, for it has times that have come,
-- and these fire by the rules of before.
local function changed_row(engine, row, fields, todo)
  local before, now = errors.read(core.decode(row.times)), engine._core:now()
  local is_same = times.are_same(before, fields)
  if is_same then -- the next time is still that of those rules of the zone
    fields.digest, fields.since = before.digest, before.since
  else
    fields.since = now
  end
  local new_times, new_work = spec.encode(fields), todo and spec.encode(todo) or row.work
  if new_times == row.times and new_work == row.work then return nil end
  local is_due = not is_same and row.next_nominal and row.next_nominal <= now
  if is_due and not row.paused then return nil, true end
  local changed = {
    id = row.id, name = row.name, source = row.source, revision = row.revision, times = new_times, work = new_work,
    next_nominal = row.next_nominal, next_at = row.next_at, last_nominal = row.last_nominal, paused = row.paused,
    note = row.note, pause_on_failure = fields.pause_on_failure,
  }
  local was_over = is_over(row, before)
  if is_over(row, fields) then
    changed.next_nominal, changed.next_at = nil, nil
  elseif was_over or not is_same then
    if is_due then end_stretch_of_pause(engine, row, changed, now) end
    changed.next_nominal, changed.next_at = first_time(row.name, times.compile(fields), now, changed.last_nominal)
  end
  return changed
end

-- Writes what make() returns for the row as it is, again when somebody else was faster. nil from make: nothing to do;
-- nil, true: when what is due has fired.
local function write(engine, name, make)
  for _ = 1, TRIES do
    local row = read(engine, name)
    local changed, is_due = make(row)
    if is_due then
      firing.fire_now(engine, row)
    else
      if not changed then return false end
      if errors.check(current.store(engine):schedule_set { changed }) then return true end
    end
  end
  errors.raise(times.ScheduleError, "schedule '%s': others keep changing it", name)
end

local create_kinds = { if_exists = "string" }
local existing = { raise = true, update = true, keep = true }

-- The anchor of `every`, where none is said, stays what it was.
local function keep_anchor(fields, given, row)
  local before = errors.read(core.decode(row.times))
  if given.every ~= nil and given.anchor == nil and before.every then fields.anchor = before.anchor end
  return fields
end

local function refuse_declared(row, what)
  if row.source then
    errors.raise(times.ScheduleError, "%s of '%s': it is declared by '%s', which says what it is", what, row.name,
      row.source)
  end
end

--- Makes a schedule.
-- @tparam string name one of at most 200 bytes.
-- @tparam table given when: cron (an expression of 5 or 6 fields, seconds first, @daily and the like, or a list of
--   them), or every (seconds, or "15m", "2h", "7d") with anchor (where the slots are counted from; default: now), or at
--   (seconds since the epoch, or "2026-12-24T18:00"); exclude (cron expressions and days "2026-12-25" that do not
--   fire), time_zone (an IANA name, default "UTC"), dst = { gap = "next" | "shift" | "skip", fold = "first" | "last" |
--   "both" } (local times that do not exist: the first instant after them, later by as much, or not at all; that exist
--   twice), day_and_weekday (both are needed where both are said; else either is enough), jitter (seconds by which
--   fires are spread, at most to the next one), start_time, end_time (both inclusive), max_fires.
--   What: start (a pipeline), task (a taskqueue.Task without a name) or call ({ function, arguments … }, as deferred
--   takes it); queue (of the three).
--   How: overlap, when the work of the fire before is not final: "skip" (the default), "buffer_one", "buffer_all",
--   "cancel_other", "terminate_other", "allow_all"; catch_up = { policy = "last" | "all" | "none", window = 86400,
--   limit = 1000 } (what becomes of times at which no process was there; default: the latest of them, if it is not
--   older than a day); pause_on_failure (so many failed fires in a row pause it).
-- @tparam[opt] table how if_exists: "raise" (the default), "update", "keep".
-- @return the schedule. Raises ScheduleError, which names the field and why it is wrong; ScheduleExistsError.
function schedules.create(name, given, how)
  spec.check_name(name, "create")
  how = options.check(how, create_kinds, 3, "create")
  if how.if_exists and not existing[how.if_exists] then
    bad_option(3, "create", "if_exists", "\"raise\", \"update\" or \"keep\" expected")
  end
  local engine = current.engine()
  local fields, todo = spec.parse(engine, given, "create")
  write(engine, name, function(row)
    if not row then return new_row(engine, name, fields, todo) end
    if how.if_exists == "keep" then return nil end
    if how.if_exists ~= "update" then
      errors.raise(schedules.ScheduleExistsError, "there is a schedule '%s' already", name)
    end
    refuse_declared(row, "update")
    return changed_row(engine, row, keep_anchor(fields, given, row), todo)
  end)
  return object(engine, { name = name })
end

-- ---- declaring -------------------------------------------------------------------------------------------------

local declare_kinds = { version = "integer" }

local function all_of(store, source)
  local rows, after, version = {}, "", nil
  repeat
    local list, found, message = store:schedule_get { source = source, after = after, limit = PAGE }
    errors.check(list, found, message)
    version = version or found
    for _, row in ipairs(list) do rows[#rows + 1] = row end
    after = #list > 0 and list[#list].name or after
  until #list < PAGE
  return rows, version
end

-- Whose it is; a name of another source, or one made by itself, is not taken. One of this source has come since the
-- others were read: what is written will be refused, and they are read again.
local function check_owner(engine, name, source)
  local row = read(engine, name)
  if not row or row.source == source then return end
  errors.raise(times.ScheduleError, "declare: the schedule '%s' is %s: nothing of '%s' is declared", name,
    row.source and ("declared by '%s'"):format(row.source) or "made by the program, and not declared", source)
end

-- What is to be written and removed; or nil, when something that is due has fired first.
local function plan(engine, source, parsed, rows)
  local known, writes, removed, any_due = {}, {}, {}, false
  for _, row in ipairs(rows) do
    known[row.name] = row
    if not parsed[row.name] then removed[#removed + 1] = row.name end
  end
  for name, one in pairs(parsed) do
    local row = known[name]
    if row then
      local changed, is_due = changed_row(engine, row, keep_anchor(one.fields, one.given, row), one.todo)
      if is_due then firing.fire_now(engine, row) end
      writes[#writes + 1], any_due = changed, any_due or is_due
    else
      check_owner(engine, name, source)
      writes[#writes + 1] = new_row(engine, name, one.fields, one.todo, source)
    end
  end
  if any_due then return nil end
  return writes, removed
end

local function declare(engine, source, parsed, version)
  for _ = 1, TRIES do
    local rows, before = all_of(current.store(engine, true), source)
    if version and before and version < before then return false end
    local writes, removed = plan(engine, source, parsed, rows)
    local after = version or before or 0
    if writes and #writes == 0 and #removed == 0 and after == before then return true end
    if writes and errors.check(current.store(engine):schedule_set(writes, {
      source = source, version = after, version_before = before, removed = removed,
    })) then
      return true
    end
  end
  errors.raise(times.ScheduleError, "declare: others keep changing the schedules of '%s'", source)
end

--- Declares the schedules of a source, such as a program or a module: those in the table are made or changed, those
-- the source has declared before and does not name any more are removed; those of others stay. Pauses, counters and
-- buffered fires are not touched. All of it or nothing.
-- @tparam string source its name.
-- @tparam table specs name -> what `create` takes.
-- @tparam[opt] table how version: of several versions of a program that run side by side, the highest one counts; a
--   lower one changes nothing. Default: it counts.
-- @return whether it counted. Raises as `create` does, and ScheduleError for a name that is another's.
function schedules.declare(source, specs, how)
  spec.check_name(source, "declare")
  how = options.check(how, declare_kinds, 3, "declare")
  if type(specs) ~= "table" then
    bad_type(2, "declare", "table of schedules by name", specs)
  end
  local engine = current.engine()
  local parsed = {}
  for name, given in pairs(specs) do
    spec.check_name(name, "declare")
    if type(given) ~= "table" then
      bad_argument(2, "declare", "'%s': table expected, got %s", name, type(given))
    end
    local ok, fields, todo = xpcall(spec.parse, errors.handler, engine, given, "declare")
    if not ok then
      local class, message = errors.describe(fields)
      errors.raise(times.ScheduleError, "declare: '%s': %s%s", name,
        class == "ScheduleError" and "" or class .. ": ", message)
    end
    parsed[name] = { fields = fields, todo = todo, given = given }
  end
  return declare(engine, source, parsed, how.version)
end

-- ---- finding ---------------------------------------------------------------------------------------------------

--- The schedule of that name, or nil.
function schedules.get(name)
  spec.check_name(name, "get")
  local engine = current.engine()
  local row = read(engine, name)
  return row and object(engine, row) or nil
end

local function state_of(row)
  return row.paused and "paused" or row.next_nominal and "active" or "finished"
end

local list_kinds = { source = "string", state = "string", cursor = "string", count = "count" }

--- Schedules by name.
-- @tparam[opt] table given source, state ("active", "paused", "finished"), cursor, count (50).
-- @return list, cursor of the next page or nil.
function schedules.list(given)
  given = options.check(given, list_kinds, 1, "list")
  local engine = current.engine()
  local store, count, found, after = current.store(engine, true), given.count or 50, {}, given.cursor or ""
  while #found < count do
    local rows = errors.check(store:schedule_get { source = given.source, after = after, limit = PAGE })
    for _, row in ipairs(rows) do
      after = row.name
      if not given.state or state_of(row) == given.state then
        found[#found + 1] = object(engine, row)
        if #found == count then break end
      end
    end
    if #rows < PAGE and #found < count then return found, nil end
  end
  return found, after
end

local next_kinds = { from = "number", count = "count" }

--- The next times of a spec that need not be declared: a list of { nominal_time, local_time, fire_time }.
-- @tparam table given as `create` takes it; what is to be done may be left out.
-- @tparam[opt] table how from (seconds since the epoch; default: now), count (5).
function schedules.next(given, how)
  options.check(given, spec.kinds, 1, "next")
  how = options.check(how, next_kinds, 2, "next")
  local engine = current.engine_or_nil()
  local now = how.from or (engine and engine._core:now() or os.time())
  return schedules._preview("", times.compile(spec.times(given, now)), now, how.count or 5)
end

-- The next n times after `after`.
function schedules._preview(name, compiled, after, n)
  local list = {}
  for i = 1, n do
    local nominal, at = firing.next_of(name, compiled, after)
    if not nominal then break end
    list[i] = { nominal_time = nominal, local_time = compiled:local_time(nominal), fire_time = at }
    after = nominal
  end
  return list
end

-- ---- one schedule ----------------------------------------------------------------------------------------------

--- Changes the fields that are given; see `create`. Changed times count from now; those that have come and have not
-- fired yet fire first, by the rules of before.
function Schedule.update(self, part)
  options.check(part, spec.kinds, 1, "update")
  local engine = self._engine
  local todo = work.of_spec(engine, part)
  write(engine, self.name, function(row)
    if not row then refuse_unknown(self.name) end
    refuse_declared(row, "update")
    local whole = spec.given(errors.read(core.decode(row.times)))
    if part.cron ~= nil or part.every ~= nil or part.at ~= nil then
      whole.cron, whole.every, whole.at = nil, nil, nil
      if part.every == nil then whole.anchor = nil end
    end
    for key, value in pairs(part) do
      if key ~= "start" and key ~= "task" and key ~= "call" and key ~= "queue" then whole[key] = value end
    end
    return changed_row(engine, row, spec.times(whole, engine._core:now()), todo)
  end)
end

--- Pauses it, with a note: nothing fires and nothing that is buffered starts until `resume`; what runs goes on.
function Schedule.pause(self, note)
  if note ~= nil and type(note) ~= "string" then bad_argument(1, "pause", "string expected") end
  write(self._engine, self.name, function(row)
    if not row then refuse_unknown(self.name) end
    if row.paused and row.note == note then return nil end
    local changed = work.copy(row)
    changed.paused, changed.note = true, note
    return changed
  end)
end

local resume_kinds = { catch_up = "boolean" }

--- Ends a pause. Times in the pause are over, unless catch_up = true: then the catch-up policy says what becomes of
-- them.
function Schedule.resume(self, given)
  given = options.check(given, resume_kinds, 1, "resume")
  local engine = self._engine
  write(engine, self.name, function(row)
    if not row then refuse_unknown(self.name) end
    if not row.paused then return nil end
    local changed, now = work.copy(row), engine._core:now()
    changed.paused, changed.note = false, nil
    if given.catch_up then return changed end
    local fields = errors.read(core.decode(row.times))
    fields.since = now
    changed.times = spec.encode(fields)
    if row.next_nominal and row.next_at <= now then
      end_stretch_of_pause(engine, row, changed, now)
      changed.next_nominal, changed.next_at = firing.next_of(row.name, times.of_row(row), now)
    end
    return changed
  end)
end

-- Fires by hand: list of the nominal times. Returns the states, and the roots and tasks.
local function fire(self, row, list, how)
  local engine, compiled = self._engine, times.of_row(row)
  local op = {
    id = row.id, fires = {}, stages = {}, tasks = {}, counts = {},
    buffered_max = how.buffered_max or compiled.fields.catch_up.limit,
  }
  firing.add(engine, row, compiled, op, list, how)
  local states, code, message = current.store(engine):schedule_fire(op)
  if not states and code == "ENOTFOUND" then refuse_unknown(self.name) end
  return errors.check(states, code, message), op
end

local trigger_kinds = { args = "table", overlap = "string" }

local function check_overlap(overlap, what)
  if overlap and not spec.overlaps[overlap] then
    bad_option(1, what, "overlap", "'%s' is not known; did you mean '%s'?", overlap,
      options.nearest(overlap, spec.overlaps))
  end
end

--- Fires it now, whatever its times are, also when it is paused or finished. The next regular time stays.
-- @tparam[opt] table given args (a list, in the place of those of the pipeline or call), overlap.
-- @return what became of it ("started", "buffered", "skipped"), and the id of the pipeline, if it is one and was not
-- skipped.
function Schedule.trigger(self, given)
  given = options.check(given, trigger_kinds, 1, "trigger")
  check_overlap(given.overlap, "trigger")
  local engine = self._engine
  local states, op = fire(self, row_of(self), { engine._core:now() }, {
    reason = "trigger", args = given.args, overlap = given.overlap, is_again = true,
  })
  local stage = op.stages[1]
  return states[1], stage and states[1] ~= "skipped" and stage.key or nil
end

local backfill_kinds = { from = "number", to = "number", overlap = "string", again = "boolean", max = "count" }

--- Fires each of its times in [from, to), in order. Times that have fired are left out, as far as that is known: those
-- of the last 100 fires, of the backfills of a day, and of pipelines that are still there. Of several backfills at once
-- each time fires once. The next regular time, max_fires and what was missed stay as they are.
-- @tparam table given from, to (seconds since the epoch; `to` is not later than now), overlap ("buffer_all"), again
--   (also times that have fired), max (1000: more than that are refused).
-- @return { started =, buffered =, skipped =, already_fired = }
function Schedule.backfill(self, given)
  given = options.check(given, backfill_kinds, 1, "backfill")
  check_overlap(given.overlap, "backfill")
  local now = self._engine._core:now()
  local from, to, max = given.from, given.to or now, given.max or BACKFILL_MAX
  if not from then bad_option(1, "backfill", "from", "seconds since the epoch expected") end
  if to > now then
    errors.raise(times.ScheduleError, "backfill: `to` is in the future: those times fire by themselves")
  end
  local row = row_of(self)
  local compiled = times.of_row(row)
  local after, upto = from - 1e-6, to - 1e-6
  local total = missed.count(compiled, after, upto, firing.pause(self._engine))
  if total > max then
    errors.raise(times.ScheduleError, "backfill: %d times, more than max = %d; nothing was started", total, max)
  end
  local result = { started = 0, buffered = 0, skipped = 0, failed = 0, already_fired = 0 }
  local list, more
  repeat
    list, more = missed.portion(compiled, after, upto, BATCH)
    local states = #list > 0 and fire(self, row, list, {
      reason = "backfill", overlap = given.overlap or "buffer_all", buffered_max = max + BACKFILL_MAX,
      is_again = given.again,
    }) or {}
    for _, state in ipairs(states) do result[state] = result[state] + 1 end
    after = list[#list]
  until not more
  return result
end

local delete_kinds = { running = "string" }

--- Deletes it. What is buffered ends with it; what runs is left, or aborted with running = "abort".
function Schedule.delete(self, given)
  given = options.check(given, delete_kinds, 1, "delete")
  if given.running and given.running ~= "leave" and given.running ~= "abort" then
    bad_option(1, "delete", "running", "\"leave\" or \"abort\" expected")
  end
  local ok, code, message = current.store(self._engine):schedule_delete(self.name, given.running == "abort")
  if not ok and code == "ENOTFOUND" then refuse_unknown(self.name) end
  errors.check(ok, code, message)
end

--- Its next n (5) times, if nothing changes: a list of { nominal_time, local_time, fire_time }.
function Schedule.next(self, n)
  local row = row_of(self)
  if not row.next_nominal then return {} end
  local compiled = times.of_row(row)
  local left = compiled.fields.max_fires and compiled.fields.max_fires - row.fired - row.caught_up or math.huge
  return schedules._preview(row.name, compiled, row.next_nominal - 1e-6, math.min(n or 5, left))
end

local fires_kinds = { cursor = "integer", count = "count" }

--- Its fires, newest first: a list of { nominal_time, local_time, fire_time, previous_nominal_time, reason, state, id
-- (of the pipeline), ended }, and the cursor of the next page or nil. Kept are the last 100 and those not over.
function Schedule.fires(self, given)
  given = options.check(given, fires_kinds, 1, "fires")
  local count, compiled = given.count or 50, times.of_row(row_of(self))
  local store, list = current.store(self._engine, true), {}
  local rows, code, message = store:fires_get { name = self.name, before = given.cursor, limit = count }
  if not rows and code == "ENOTFOUND" then refuse_unknown(self.name) end
  for i, row in ipairs(errors.check(rows, code, message)) do
    list[i] = {
      nominal_time = row.nominal, local_time = compiled:local_time(row.nominal), fire_time = row.at,
      previous_nominal_time = row.previous, reason = row.reason, state = row.state, ended = row.ended,
      id = row.kind == "stage" and row.target and self._engine:_id_text(row.target) or nil,
    }
  end
  return list, #rows == count and rows[count].id or nil
end

--- How it is getting on: name, source, state ("active", "paused", "finished"), note (why it is paused, or why its
-- latest time did not fire), next_nominal_time, next_fire_time, next_local, last_nominal_time, last_fire_time,
-- last_result ("done" or "failed") and last_end, running and buffered (fires), failures (in a row), lag (seconds
-- overdue), and what became of its times: fired, caught_up, triggered, backfilled, skipped (the one before was not
-- over), skipped_paused, skipped_gap, missed, dropped.
function Schedule.status(self)
  local row = row_of(self)
  local compiled, now = times.of_row(row), self._engine._core:now()
  local status = {
    name = row.name, source = row.source, state = state_of(row), note = row.note, time_zone = compiled.fields.time_zone,
    next_nominal_time = row.next_nominal, next_fire_time = row.next_at,
    next_local = row.next_nominal and compiled:local_time(row.next_nominal), last_nominal_time = row.last_nominal,
    last_fire_time = row.last_actual, last_result = row.last_result, last_end = row.last_end, running = row.running,
    buffered = row.buffered, failures = row.failures, created = row.created,
    lag = row.next_at and not row.paused and math.max(0, now - row.next_at) or 0,
  }
  for _, name in ipairs { "fired", "caught_up", "triggered", "backfilled", "skipped", "skipped_paused", "skipped_gap",
    "missed", "dropped" } do
    status[name] = row[name]
  end
  return status
end

return schedules
