--- firing.lua: fires the schedules that are due: on the loop, when the engine says that the time of one has come.
--
-- For each, all its times up to now are looked at together. If the first of them is late by no more than a minute, they
-- fire, each as if it had been in time. If it is later, nobody was there: they are one missed stretch, and what becomes
-- of that is the schedule's catch-up policy. Either way one op says what fires and what the next time is; if another
-- process has said so before, the store refuses it, and nothing is done here.

local core = require "pipeline.core"
local context = require "pipeline.context"
local errors = require "pipeline.support.errors"
local keys = require "pipeline.workflow.keys"
local spec = require "pipeline.schedule.spec"
local times = require "pipeline.schedule.times"
local work = require "pipeline.schedule.work"

local firing = {}

local LATE_SECONDS = 60 -- a slow commit or a busy loop, and not a time that nobody was there
local BATCH, RETRY_SECONDS = 256, 5

-- ---- one fire --------------------------------------------------------------------------------------------------

local function time_text(time)
  return ("%.6f"):format(time):gsub("%.?0+$", "")
end

-- A fire of a row as the core takes it, and its work: a root, or nil and a task.
local function make(engine, row, compiled, nominal, previous, stored, how)
  local now, id = engine._core:now(), engine._core:new_id()
  local told = {
    name = row.name, nominal_time = nominal, fire_time = now, previous_nominal_time = previous, reason = how.reason,
    local_time = compiled:local_time(nominal),
  }
  local key = ("schedule/%s/%s"):format(row.name, (time_text(nominal)))
  if how.is_again then key = key .. "/" .. engine._core:id_text(id) end
  local stage, task = work.make(engine, stored, { key = keys.of(key), told = told }, how.args)
  return {
    id = id, nominal = nominal, at = now, previous = previous, reason = how.reason,
    overlap = how.overlap or compiled.fields.overlap,
  }, stage, task
end

--- Adds fires of the nominal times to an op. `how`: reason, overlap and args (those of the schedule, unless given),
-- is_again (the root may be one of several of its time).
function firing.add(engine, row, compiled, op, list, how)
  local stored, previous = errors.read(core.decode(row.work)), row.last_nominal
  for i, nominal in ipairs(list) do
    op.fires[i], op.stages[i], op.tasks[i] = make(engine, row, compiled, nominal, previous, stored, how)
    if how.reason == "schedule" or how.reason == "catch_up" then previous = nominal end
  end
end

-- ---- what is due -----------------------------------------------------------------------------------------------

--- The next time after that one, when it fires, and how many fell into gaps before it; nil: it never fires again.
function firing.next_of(name, compiled, after)
  local nominal, skipped = compiled:next(after)
  if not nominal then return nil, nil, 0 end
  return nominal, compiled:fire_at(name, nominal), skipped
end

-- All times from the row's on whose fires are due, and what comes after them. Only called where they are few.
local function due_times(row, compiled, now)
  local list, skipped = {}, 0
  local nominal, at, gap = row.next_nominal, row.next_at, 0
  while nominal and at <= now do
    list[#list + 1] = nominal
    skipped = skipped + gap
    nominal, at, gap = firing.next_of(row.name, compiled, nominal)
  end
  return list, nominal, at, skipped + gap
end

-- Where a missed stretch ends: a time that has come, but whose fire has not yet, for its jitter, was not missed.
local function end_of_missed(row, compiled, now)
  local last = compiled:last(row.next_nominal - 1e-6, now)
  if last and last > row.next_nominal and compiled:fire_at(row.name, last) > now then return last - 1e-6 end
  return now
end

-- The times of a missed stretch, which ends `now`, that are made up for, oldest first.
local function caught_up(row, compiled, now)
  local how = compiled.fields.catch_up
  if how.policy == "none" then return {} end
  local after = math.max(row.next_nominal - 1e-6, now - how.window - 1e-6)
  if how.policy == "last" then return { compiled:last(after, now) } end
  local list, nominal = {}, compiled:next(after)
  local skip = math.max(0, compiled:count(after, now) - how.limit)
  while nominal and nominal <= now do
    if skip > 0 then skip = skip - 1 else list[#list + 1] = nominal end
    nominal = compiled:next(nominal)
  end
  return list
end

-- Tells the hook, once it is stored: of several processes that try, one tells it.
local function tell_missed(engine, row, op)
  if (op.counts.missed or 0) == 0 or not engine._on_missed then return end
  local ok, problem = pcall(engine._on_missed, {
    schedule = row.name, count = op.counts.missed, from = row.next_nominal, to = op.last_nominal,
  })
  if not ok then engine:_log(40, "on_missed: " .. errors.text(problem)) end
end

-- The op that fires what is due of a row by now.
local function op_of(engine, row, compiled, now)
  local fields, op = compiled.fields, {
    id = row.id, revision = row.revision, nominal = row.next_nominal, counts = {}, fires = {}, stages = {}, tasks = {},
    buffered_max = compiled.fields.catch_up.limit,
  }
  local list, reason, skipped
  if now - row.next_at <= LATE_SECONDS then
    list, op.next_nominal, op.next_at, skipped = due_times(row, compiled, now)
    op.last_nominal, reason = list[#list], "schedule"
  else
    local upto = end_of_missed(row, compiled, now)
    list, reason = caught_up(row, compiled, upto), "catch_up"
    op.last_nominal = compiled:last(row.next_nominal - 1e-6, upto) or row.next_nominal
    op.next_nominal, op.next_at, skipped = firing.next_of(row.name, compiled, op.last_nominal)
    op.counts.missed = compiled:count(row.next_nominal - 1e-6, upto) - #list
  end
  op.left = fields.max_fires and math.max(1, fields.max_fires - row.fired - row.caught_up)
  if skipped > 0 then op.counts.skipped_gap = skipped end
  firing.add(engine, row, compiled, op, list, { reason = reason })
  return op
end

-- The rules of the zone have changed since the next time was worked out: it is worked out anew, and fires when that has
-- come.
local function work_out_anew(engine, row, compiled)
  local fields = work.copy(compiled.fields)
  fields.digest = compiled.digest
  local nominal, at = firing.next_of(row.name, compiled, row.last_nominal or row.created)
  row.times, row.next_nominal, row.next_at, row.counts = spec.encode(fields), nominal, at, nil
  errors.check(context.store(engine):schedule_set { row })
end

-- What the op itself is refused for, however often it is tried.
local hopeless = { EINVAL = true, ECONSTRAINT = true, ELIMIT = true }

-- Moves a row on; true: by this. False: another process was first; or there is a problem of the op itself, which is
-- returned as well. Raises what else the store says, such as that the disk is full, which is no fault of the schedule:
-- its time is not over by that, and is tried again.
local function move_on(engine, op)
  local states, code, message = context.store(engine):schedule_fire(op)
  if states then return true end
  if hopeless[code] then return false, message or code end
  if code == "ESTALE" or code == "ENOTFOUND" then return false end
  errors.raise_core(code, message, "fire")
end

-- What cannot be read or made, such as arguments of a class that is gone, is told, and its time is over: the others go
-- on.
local function skip_broken(engine, row, problem)
  engine:_log(40, ("schedule '%s' cannot fire: %s"):format(row.name, errors.text(problem)))
  local ok, nominal, at = pcall(function()
    return firing.next_of(row.name, times.of_row(row), engine._core:now())
  end)
  local _, refused = move_on(engine, {
    id = row.id, revision = row.revision, nominal = row.next_nominal, next_nominal = ok and nominal or nil,
    next_at = ok and at or nil, last_nominal = row.next_nominal, counts = { missed = 1 },
    pause_note = not ok and "its times cannot be read" or nil,
  })
  if refused then errors.raise(times.ScheduleError, "schedule '%s' cannot be moved on: %s", row.name, refused) end
end

-- The op of a row; nil: its next time is worked out anew instead.
local function prepare(engine, row, now)
  local compiled = times.of_row(row)
  return compiled.fields.digest == compiled.digest and op_of(engine, row, compiled, now) or nil
end

local function fire_row(engine, row, now)
  local ok, op = pcall(prepare, engine, row, now)
  if not ok then return skip_broken(engine, row, op) end
  if not op then return work_out_anew(engine, row, times.of_row(row)) end
  local done, refused = move_on(engine, op)
  if refused then return skip_broken(engine, row, refused) end
  if done then tell_missed(engine, row, op) end
end

-- Many rows are fired at a time, so that they share commits. The first failure of the store ends the rest: they are
-- still due.
local function fire_rows(engine, list, now)
  local handle, at, busy, token, failed = engine._core, 0, 0, nil, nil
  local function go_on()
    while at < #list and not failed do
      at = at + 1
      local ok, problem = pcall(fire_row, engine, list[at], now)
      if not ok then failed = { problem } end
    end
    busy = busy - 1
    if busy == 0 and token then token:wake() end
  end
  for _ = 1, #list do
    busy = busy + 1
    if not handle:spawn(go_on) then
      busy, failed = busy - 1, failed or { "no memory for more of them at a time" }
      break
    end
  end
  if busy > 0 then
    token = errors.check(handle:token())
    errors.check(handle:suspend())
  end
  if failed then error(failed[1], 0) end
end

local function fire_all(engine)
  local list
  repeat
    local now = engine._core:due()
    list = errors.check(engine._core:schedule_get { due = now, limit = BATCH })
    if #list == 1 then fire_row(engine, list[1], now) else fire_rows(engine, list, now) end
    engine._last_tick = engine._core:now()
  until #list < BATCH
end

local function run(engine)
  local ok, problem = pcall(fire_all, engine)
  if ok then return engine._core:fired() end
  engine:_log(40, "schedules: " .. errors.text(problem))
  engine._core:fired(RETRY_SECONDS)
end

--- Fires what is due; called from the loop.
function firing.begin(engine)
  if not engine._core:spawn(run, engine) then engine._core:fired(RETRY_SECONDS) end
end

return firing
