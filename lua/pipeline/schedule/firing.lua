--- firing.lua: fires the schedules that are due: on the loop, when the engine says that the time of one has come.
--
-- For each, all its times up to now are looked at together. If the first of them is late by no more than a minute, they
-- fire, each as if it had been in time. If it is later, nobody was there: they are one missed stretch, and what becomes
-- of that is the schedule's catch-up policy. Either way one op says what fires and what the next time is; if another
-- process has said so before, the store refuses it, and nothing is done here.

local core = require "pipeline.core"
local await = require "pipeline.support.await"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local keys = require "pipeline.workflow.keys"
local missed = require "pipeline.schedule.missed"
local refusal = require "pipeline.schedule.refusal"
local spec = require "pipeline.schedule.spec"
local times = require "pipeline.schedule.times"
local work = require "pipeline.schedule.work"

local firing = {}

local LATE_SECONDS = 60 -- a slow commit or a busy loop, and not a time that nobody was there
local BATCH, RETRY_SECONDS = 256, 5
local PORTION = 64 -- fires of an op, of those that make up for what was missed: a few milliseconds on the loop

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

local function call_hook(engine, info)
  local ok, problem = pcall(function() return await.results(engine._on_missed(info)) end)
  if not ok then engine:_log(core.LOG_ERROR, "on_missed: " .. errors.text(problem)) end
end

-- Tells the hook, once it is stored: of several processes that try, one tells it. Nobody waits for the hook, which may
-- wait for whatever it likes.
local function tell_missed(engine, row, op, stretch)
  if (op.counts.missed or 0) == 0 or not engine._on_missed then return end
  local info = { schedule = row.name, count = op.counts.missed, from = row.next_nominal, to = stretch.last }
  if not engine._core:spawn(call_hook, engine, info) then
    engine:_log(core.LOG_ERROR, ("on_missed was not called for schedule '%s': no memory"):format(row.name))
  end
end

--- What lets the loop go on with other things for a turn: for missed.count.
function firing.pause(engine)
  return function() errors.check(current.store(engine, true):schedule_get { due = 1, limit = 1 }) end
end

-- The op that fires what is due of a row by now. What was missed is made up for in portions, of which the first one
-- counts what is not; `progress.stretch` is there, and `more` says that another portion is to follow.
local function op_of(engine, row, compiled, now, progress)
  local fields, op = compiled.fields, {
    id = row.id, revision = row.revision, nominal = row.next_nominal, counts = {}, fires = {}, stages = {}, tasks = {},
    buffered_max = compiled.fields.catch_up.limit,
  }
  local list, reason, skipped
  local stretch = progress.stretch
  if not stretch and now - row.next_at <= LATE_SECONDS then
    list, op.next_nominal, op.next_at, skipped = due_times(row, compiled, now)
    op.last_nominal, reason = list[#list], "schedule"
  else
    if not stretch then
      stretch = missed.stretch(row, compiled, now, firing.pause(engine))
      op.counts.missed = stretch.missed
    end
    progress.stretch = stretch
    list, progress.more = missed.portion(compiled, stretch.after, stretch.upto, PORTION)
    op.last_nominal, reason = progress.more and list[#list] or stretch.last, "catch_up"
    stretch.after = op.last_nominal
    op.next_nominal, op.next_at, skipped = firing.next_of(row.name, compiled, op.last_nominal)
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
  engine:_log(core.LOG_ERROR, ("schedule '%s' is %s"):format(row.name, note))
  local _, refused = refusal.ask(current.store(engine), "schedule_fire", {
    id = row.id, revision = row.revision, nominal = row.next_nominal, next_nominal = row.next_nominal,
    next_at = row.next_at, counts = {}, pause_note = note,
  })
  if refused then
    errors.raise(times.ScheduleError, "schedule '%s' cannot be paused: %s", row.name, errors.text(refused))
  end
end

-- What cannot be read, made or stored, such as arguments of a class that is gone, is told, and its times up to now are
-- over: the others go on.
local function skip_broken(engine, row, problem)
  engine:_log(core.LOG_ERROR, ("schedule '%s' cannot fire: %s"):format(row.name, errors.text(problem)))
  local op = {
    id = row.id, revision = row.revision, nominal = row.next_nominal, last_nominal = row.next_nominal,
    counts = { missed = 1 }, note = "its latest time did not fire: " .. refusal.note(problem),
  }
  local ok, why = pcall(function()
    local compiled, from, now = times.of_row(row), row.next_nominal - 1e-6, engine._core:now()
    op.counts.missed = math.max(1, missed.count(compiled, from, now, firing.pause(engine)))
    op.last_nominal = compiled:last(from, now) or row.next_nominal
    op.next_nominal, op.next_at = firing.next_of(row.name, compiled, op.last_nominal)
  end)
  if not ok and refusal.passes(why) then error(why, 0) end
  if not ok then return pause_broken(engine, row, "its times cannot be read: " .. refusal.note(why)) end
  local _, refused = refusal.ask(current.store(engine), "schedule_fire", op)
  if refused then pause_broken(engine, row, refused) end
end

-- The verb and its argument by which a row goes on.
local function prepare(engine, row, now, progress)
  local compiled = times.of_row(row)
  if compiled.fields.digest ~= compiled.digest then return "schedule_set", { worked_out_anew(row, compiled) } end
  return "schedule_fire", op_of(engine, row, compiled, now, progress)
end

-- The row after an op of ours, for the next portion; nil: it is for somebody else to go on.
local function after_op(engine, name, op)
  local row = errors.check(current.store(engine):schedule_get { name = name })[1]
  local is_ours = row and row.id == op.id and not row.paused and row.next_nominal == op.next_nominal
  return is_ours and row or nil
end

-- Fires what is due of a row, or works it out anew. Raises what passes by itself; all else ends with this row.
local function fire_row(engine, row, now)
  local progress = {}
  repeat
    local ok, verb, given = pcall(prepare, engine, row, now, progress)
    if not ok then
      if refusal.passes(verb) then error(verb, 0) end
      return skip_broken(engine, row, verb)
    end
    local done, refused = refusal.ask(current.store(engine), verb, given)
    if refused ~= nil then return (verb == "schedule_fire" and skip_broken or pause_broken)(engine, row, refused) end
    if not done or verb ~= "schedule_fire" then return end
    tell_missed(engine, row, given, progress.stretch)
    row = progress.more and after_op(engine, row.name, given)
  until not row
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
  engine:_log(core.LOG_ERROR, "schedules: " .. errors.text(problem))
  engine._core:fired(RETRY_SECONDS)
end

--- Fires what is due; called from the loop.
function firing.begin(engine)
  if not engine._core:spawn(run, engine) then engine._core:fired(RETRY_SECONDS) end
end

return firing
