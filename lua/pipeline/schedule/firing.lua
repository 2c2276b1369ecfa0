--- firing.lua: fires the schedules that are due: on the loop, when the engine says that the time of one has come.
--
-- For each, all its times up to now are looked at together. If the first of them is late by no more than a minute, they
-- fire, each as if it had been in time. If it is later, nobody was there: they are one missed stretch, and what becomes
-- of that is the schedule's catch-up policy. Either way one op says what fires and what the next time is; if another
-- process has said so before, the store refuses it, and nothing is done here.

local core = require "pipeline.core"
local await = require "pipeline.support.await"
local context = require "pipeline.context"
local errors = require "pipeline.support.errors"
local keys = require "pipeline.workflow.keys"
local refusal = require "pipeline.schedule.refusal"
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
    overlap = how.overlap or compiled.fields.overlap, again = how.is_again, local_time = told.local_time,
  }, stage, task
end

--- Adds fires of the nominal times to an op. `how`: reason, overlap and args (those of the schedule, unless given),
-- is_again (the root may be one of several of its time, which may have fired).
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

local function call_hook(engine, info)
  local ok, problem = pcall(function() return await.results(engine._on_missed(info)) end)
  if not ok then engine:_log(40, "on_missed: " .. errors.text(problem)) end
end

-- Tells the hook, once it is stored: of several processes that try, one tells it. Nobody waits for the hook, which may
-- wait for whatever it likes.
local function tell_missed(engine, row, op)
  if (op.counts.missed or 0) == 0 or not engine._on_missed then return end
  local info = { schedule = row.name, count = op.counts.missed, from = row.next_nominal, to = op.last_nominal }
  if not engine._core:spawn(call_hook, engine, info) then
    engine:_log(40, ("on_missed was not called for schedule '%s': no memory"):format(row.name))
  end
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

-- The rules of the zone have changed since the next time was worked out: the row with the next time by the new ones,
-- which fires when that has come.
local function worked_out_anew(row, compiled)
  local fields, anew = work.copy(compiled.fields), work.copy(row)
  fields.digest = compiled.digest
  local after = math.max(row.last_nominal or row.created, fields.since or 0)
  anew.next_nominal, anew.next_at = firing.next_of(row.name, compiled, after)
  anew.times, anew.counts = spec.encode(fields), nil
  return anew
end

-- Last resort, where a schedule cannot even be moved on: it is paused, its time and all else stay. That is refused only
-- if another process has changed it meanwhile.
local function pause_broken(engine, row, problem)
  local note = "paused: it cannot fire: " .. refusal.note(problem)
  engine:_log(40, ("schedule '%s' is %s"):format(row.name, note))
  local _, refused = refusal.ask(context.store(engine), "schedule_fire", {
    id = row.id, revision = row.revision, nominal = row.next_nominal, next_nominal = row.next_nominal,
    next_at = row.next_at, counts = {}, pause_note = note,
  })
  if refused then
    errors.raise(times.ScheduleError, "schedule '%s' cannot be paused: %s", row.name, errors.text(refused))
  end
end

-- What cannot be read, made or stored, such as arguments of a class that is gone, is told, and its time is over: the
-- others go on.
local function skip_broken(engine, row, problem)
  engine:_log(40, ("schedule '%s' cannot fire: %s"):format(row.name, errors.text(problem)))
  local ok, nominal, at = pcall(function()
    return firing.next_of(row.name, times.of_row(row), engine._core:now())
  end)
  local _, refused = refusal.ask(context.store(engine), "schedule_fire", {
    id = row.id, revision = row.revision, nominal = row.next_nominal, next_nominal = ok and nominal or nil,
    next_at = ok and at or nil, last_nominal = row.next_nominal, counts = { missed = 1 },
    note = "its latest time did not fire: " .. refusal.note(problem),
    pause_note = not ok and "its times cannot be read: " .. refusal.note(nominal) or nil,
  })
  if refused then pause_broken(engine, row, refused) end
end

-- The verb and its argument by which a row goes on.
local function prepare(engine, row, now)
  local compiled = times.of_row(row)
  if compiled.fields.digest == compiled.digest then return "schedule_fire", op_of(engine, row, compiled, now) end
  return "schedule_set", { worked_out_anew(row, compiled) }
end

-- Fires what is due of a row, or works it out anew. Raises what passes by itself; all else ends with this row.
local function fire_row(engine, row, now)
  local ok, verb, given = pcall(prepare, engine, row, now)
  if not ok then
    if refusal.passes(verb) then error(verb, 0) end
    return skip_broken(engine, row, verb)
  end
  local done, refused = refusal.ask(context.store(engine), verb, given)
  if refused == nil then
    if done and verb == "schedule_fire" then tell_missed(engine, row, given) end
  elseif verb == "schedule_fire" then
    skip_broken(engine, row, refused)
  else
    pause_broken(engine, row, refused)
  end
end

--- Fires what has come of a row: also what would be later by its jitter only, for its times are about to be others.
function firing.fire_now(engine, row)
  fire_row(engine, row, math.max(engine._core:now(), row.next_at))
end

-- Many rows are fired at a time, so that they share commits. An outage of the store ends the rest: they are still due.
local function fire_rows(engine, list, now)
  local handle, at, busy, token, failed, is_out = engine._core, 0, 0, nil, nil, false
  local function go_on()
    while at < #list and not is_out do
      at = at + 1
      local ok, problem = pcall(fire_row, engine, list[at], now)
      if not ok then failed, is_out = failed or { problem }, is_out or refusal.is_outage(problem) end
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
