--- schedules.lua: the commands about schedules: schedules, schedule, trigger, pause-schedule, resume-schedule and
-- backfill.

local columns = require "pipeline.command.output.columns"
local confirm = require "pipeline.command.confirm"
local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local json = require "pipeline.http.json"
local program = require "pipeline.command.program"
local schedules = require "pipeline.schedules"
local values = require "pipeline.command.values"
local words = require "pipeline.command.output.words"

local commands = {}

local LIMIT, FIRES, NEXT, PAGE = 50, 10, 5, 200
local STATES = { "active", "paused", "finished" }

-- ---- looking ---------------------------------------------------------------------------------------------------

local function columns_of(now)
  return {
    { title = "SCHEDULE", field = "name", least = 10 },
    { title = "STATE", field = function(status) return status.state, words.style(status.state) end },
    { title = "NEXT", field = function(status)
      return status.state == "active" and words.away(status.next_fire_time, now) or ""
    end },
    { title = "LAST", field = function(status) return words.away(status.last_fire_time, now) end, rank = 2 },
    { title = "RESULT", field = function(status)
      return status.last_result or "", status.last_result == "failed" and "bad" or "good"
    end, rank = 1 },
    { title = "RUNNING", field = "running", right = true, rank = 4 },
    { title = "BUFFERED", field = "buffered", right = true, rank = 5 },
    { title = "ZONE", field = "time_zone", rank = 6 },
    { title = "", field = function(status) return status.note or "", "faint" end, least = 8, rank = 3 },
  }
end

commands[#commands + 1] = {
  name = "schedules", summary = "lists the schedules, when they fire next and how the last time went",
  options = {
    { "--state", sign = "STATE", choices = STATES, help = "active, paused or finished" },
    { "--source", sign = "SOURCE", help = "those that this source has declared" },
    { "--limit", sign = "N", convert = values.count, help = "at most so many (50)" },
    { "--cursor", sign = "C", help = "goes on where the list before has ended" },
  },
  run = function(call)
    local engine, given, out = call.open(), call.given, call.out
    local found, cursor = schedules.list {
      state = given.state, source = given.source, count = given.limit or LIMIT, cursor = given.cursor,
    }
    local list = {}
    for i, schedule in ipairs(found) do list[i] = schedule:status() end
    if out.as_json then return out:json { items = json.array(list), cursor = cursor } end
    if #list == 0 then return out:note("no schedules") end
    columns.write(out, columns_of(engine:now()), list)
    out:more(cursor)
  end,
}

local function names()
  local list, cursor = {}, nil
  repeat
    local found
    found, cursor = schedules.list { count = PAGE, cursor = cursor }
    for _, schedule in ipairs(found) do list[#list + 1] = schedule.name end
  until not cursor
  return list
end

local function find(name)
  local ok, schedule = pcall(schedules.get, name)
  if ok and schedule then return schedule end
  failure.unknown("schedule", name, names(), "see 'pipeline schedules'")
end

local COUNTS = { "fired", "caught_up", "triggered", "backfilled", "skipped", "skipped_paused", "skipped_gap", "missed",
  "dropped" }

local function say_status(out, status, now)
  out:line(("%s  %s"):format(out:style("strong", out:plain(status.name)),
    out:style(words.style(status.state), status.state)))
  if status.note then out:paragraph(status.note) end
  if status.last_fire_time then
    out:say("last fired %s%s", words.away(status.last_fire_time, now),
      status.last_result and (", " .. status.last_result) or "")
  end
  if status.lag > 0 then out:line(out:style("warn", ("overdue by %s"):format(words.span(status.lag)))) end
  local counts = {}
  for _, name in ipairs(COUNTS) do
    if (status[name] or 0) > 0 then counts[#counts + 1] = ("%s %d"):format(name:gsub("_", " "), status[name]) end
  end
  if #counts > 0 then out:paragraph(table.concat(counts, ", ")) end
end

commands[#commands + 1] = {
  name = "schedule", summary = "shows a schedule: its state, the next times, the last fires",
  arguments = { { name = "name", sign = "NAME", help = "its name" } },
  run = function(call)
    local engine, out = call.open(), call.out
    local schedule = find(call.given.name)
    local status, next_times, fires = schedule:status(), schedule:next(NEXT), schedule:fires { count = FIRES }
    if out.as_json then
      status.next, status.fires = json.array(next_times), json.array(fires)
      return out:json(status)
    end
    local now = engine:now()
    say_status(out, status, now)
    if #next_times > 0 and status.state == "active" then
      out:line()
      columns.write(out, {
        { title = "NEXT", field = "local_time", least = 10 },
        { title = "", field = function(one) return words.away(one.fire_time, now), "faint" end, rank = 1 },
      }, next_times)
    end
    if #fires == 0 then return end
    out:line()
    columns.write(out, {
      { title = "FIRED FOR", field = "local_time", least = 10 }, { title = "STATE", field = "state" },
      { title = "REASON", field = "reason", rank = 2 }, { title = "PIPELINE", field = "id", least = 8, rank = 1 },
    }, fires)
  end,
}

-- ---- acting ----------------------------------------------------------------------------------------------------

local function try(fn, ...)
  local results = table.pack(xpcall(fn, errors.handler, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local problem = errors.original(results[2])
  if errors.is(problem, schedules.ScheduleError) or errors.is(problem, errors.ConfigurationError) then
    failure.no("%s", problem.message)
  end
  error(results[2], 0)
end

local MODULE = { "--module", sign = "FILE|NAME", count = "*", help = "the file or module that defines what it starts" }
local OVERLAP = { "--overlap", sign = "POLICY",
  choices = { "skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all" },
  help = "if what runs is not over: skip, buffer_one, buffer_all, cancel_other, terminate_other, allow_all" }

commands[#commands + 1] = {
  name = "trigger", summary = "fires a schedule now, whatever its times are",
  arguments = {
    { name = "name", sign = "NAME", help = "the schedule" },
    { name = "args", sign = "JSON", many = "*", help = "an argument, in the place of its own" },
  },
  options = { OVERLAP, MODULE },
  run = function(call)
    call.open()
    for _, name in ipairs(call.given.module) do program.load(name) end
    local args = {}
    for i, text in ipairs(call.given.args) do args[i] = values.json(text) end
    local schedule = find(call.given.name)
    local state, id = try(schedule.trigger, schedule, {
      args = #args > 0 and args or nil, overlap = call.given.overlap,
    })
    call.out:json { name = schedule.name, state = state, id = id }
    if id then call.out:line(id) end
    call.out:note("%s: %s", schedule.name, state)
    if state == "skipped" then return failure.NO end
  end,
}

commands[#commands + 1] = {
  name = "pause-schedule", summary = "pauses a schedule: nothing of it fires; what runs goes on",
  arguments = { { name = "name", sign = "NAME", help = "the schedule" } },
  options = { { "--note", sign = "TEXT", help = "why, for those who look" } },
  run = function(call)
    call.open()
    local schedule = find(call.given.name)
    schedule:pause(call.given.note)
    call.out:json { name = schedule.name, state = "paused" }
    call.out:note("%s is paused", schedule.name)
  end,
}

commands[#commands + 1] = {
  name = "resume-schedule", summary = "ends the pause of a schedule",
  arguments = { { name = "name", sign = "NAME", help = "the schedule" } },
  options = { { "--catch-up", help = "what was due in the pause is caught up on, as its policy says" } },
  run = function(call)
    call.open()
    local schedule = find(call.given.name)
    schedule:resume { catch_up = call.given.catch_up or false }
    local status = schedule:status()
    call.out:json { name = schedule.name, state = status.state, next_fire_time = status.next_fire_time }
    call.out:note("%s goes on", schedule.name)
  end,
}

commands[#commands + 1] = {
  name = "backfill", summary = "fires each time of a schedule in a stretch of the past",
  details = "Times that have fired are left out. It is done after a confirmation.",
  arguments = { { name = "name", sign = "NAME", help = "the schedule" } },
  options = {
    { "--from", sign = "TIME", convert = values.time, help = "from then on" },
    { "--to", sign = "TIME", convert = values.time, help = "before then (default: now)" },
    { "--again", help = "also times that have fired" },
    { "--max", sign = "N", convert = values.count, help = "refuses more than so many (1000)" },
    OVERLAP, MODULE, confirm.options[1],
  },
  run = function(call)
    local engine, given = call.open(), call.given
    if not given.from then failure.usage("from when on? Give --from TIME") end
    for _, name in ipairs(given.module) do program.load(name) end
    local schedule = find(given.name)
    local from, to = given.from(engine:now()), given.to and given.to(engine:now()) or engine:now()
    confirm.ask(call, ("fire %s for its times from %s to %s"):format(given.name, words.utc(from), words.utc(to)))
    local result = try(schedule.backfill, schedule, {
      from = from, to = to, again = given.again or nil, max = given.max, overlap = given.overlap,
    })
    result.name = schedule.name
    call.out:json(result)
    call.out:note("%d started, %d buffered, %d skipped, %d had fired", result.started, result.buffered, result.skipped,
      result.already_fired)
  end,
}

return commands
