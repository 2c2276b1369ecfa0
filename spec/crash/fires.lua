--- fires.lua: the schedules of the crash run: which there are, what their fires do, and who disturbs them. Loaded by
-- every process; what must hold of them is in journal.lua, with the lines that are written to the log.
--
-- The work of a fire is told as that of tasks is (tasks.lua); where the rule of a schedule lets one of its fires run at
-- a time, the queue is one of its own.
--
-- All processes declare the same schedules; those of a higher version count. Besides, each makes schedules of its own,
-- which it alone changes, triggers and deletes, until it is killed.

local deferred = require "pipeline.deferred"
local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"
local classes = require "spec.crash.classes"
local plan = require "spec.crash.plan"
local tasks = require "spec.crash.tasks"

local fires = {}

local SOURCE = "crash"
local note = classes.note

-- ---- what the store is asked -----------------------------------------------------------------------------------

local asked = 0

local function new_op()
  asked = asked + 1
  return ("%d-%d"):format(classes.pid, asked)
end

local function us(time)
  return time and math.floor(time * 1e6 + 0.5) or 0
end

local function hex(bytes)
  return (bytes:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

local tell = {}

function tell.schedule_set(op, rows, source)
  for _, row in ipairs(rows) do
    note("set", op, row.id, row.revision or 0, us(row.next_nominal), us(row.last_nominal), row.paused and 1 or 0,
      row.counts and row.counts.skipped_paused or 0, hex(row.times), row.name)
  end
  for _, name in ipairs(source and source.removed or {}) do note("unset", op, name) end
end

function tell.schedule_delete(op, name) note("unset", op, name) end

function tell.schedule_fire(op, given)
  note("fire", op, given.id, given.revision or 0, us(given.nominal), us(given.next_nominal), us(given.last_nominal),
    given.counts.missed or 0)
  for _, fire in ipairs(given.fires) do note("shot", op, fire.id, us(fire.nominal), fire.reason) end
end

--- From now on the log has all that the store is asked to do with schedules.
function fires.listen(engine)
  local methods = getmetatable(engine._core).__index
  for verb, line in pairs(tell) do
    local ask = methods[verb]
    methods[verb] = function(core, ...)
      local op = new_op()
      line(op, ...)
      local answer, code, message = ask(core, ...)
      local states = type(answer) == "table" and table.concat(answer, ",") or ""
      note("settled", op, answer and "ok" or type(code) == "string" and code or "ESTALE", states)
      return answer, code, message
    end
  end
end

-- ---- the work of a fire ----------------------------------------------------------------------------------------

-- What the work was told when it was declared: `group`: of which only one may be executed at a time, or "".
local function perform(told, group, behaviour)
  local key = plan.fire_key(told.name, told.nominal_time)
  return tasks.perform(key, group == "" and "fires" or group, behaviour, classes.pid, "-")
end

function fires.call(group, behaviour) perform(deferred.schedule(), group, behaviour) end
deferred.register("crash.fire", fires.call)

-- Who stood still is told what one is for that is over, and so are those whose schedule is gone.
classes.define("Fired", { run = function(self, group, behaviour) perform(self.schedule, group, behaviour) end })

classes.define("FiredBadly", { max_attempts = 1, run = function(self, group)
  perform(self.schedule, group, "hopeless")
  error(pipeline.Abort "as intended")
end })

--- Handles the push tasks of schedules.
function fires.handle(request)
  local headers, params = request.headers, request.params
  if not request.is_task then return 403 end
  perform({ name = headers["x-pipeline-schedule"], nominal_time = tonumber(headers["x-pipeline-nominal-time"]) },
    params.group, params.behaviour)
  return 204
end

-- What a schedule does, of three kinds. What is aborted for a newer fire does not say that it has ended.
local function with_work(name, kind, behaviour, spec)
  local overlap = spec.overlap or "skip"
  local is_alone = overlap == "skip" or overlap == "buffer_one" or overlap == "buffer_all"
  local group = is_alone and plan.ALONE .. name or ""
  spec.queue = kind ~= "start" and "work" or nil -- where many workers may die of a task
  if kind == "start" then
    spec.start = (behaviour == "bad" and classes.FiredBadly or classes.Fired)(group, behaviour)
  elseif kind == "call" then
    spec.call = { "crash.fire", group, behaviour }
  else
    spec.task = taskqueue.Task { url = "/fired", params = { group = group, behaviour = behaviour } }
  end
  return spec
end

-- ---- those that all declare ------------------------------------------------------------------------------------

--- Declares the schedules of the run in this version; `last`: none of them fires any more after a fire or two.
function fires.declare(seed, version, start, last)
  local specs = {}
  for name, item in pairs(plan.schedules(seed, version, start)) do
    if last then item.spec.max_fires = 1 end
    specs[name] = with_work(name, item.kind, item.behaviour, item.spec)
  end
  return schedules.declare(SOURCE, specs, { version = version })
end

-- ---- disturbing ------------------------------------------------------------------------------------------------

local OVERLAPS = { "skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all" }
local BACK_SECONDS = 5

local own, made = {}, 0 -- names; how many there ever were

local function create()
  made = made + 1
  local name, overlap = ("own-%d-%d"):format(classes.pid, made), OVERLAPS[math.random(#OVERLAPS)]
  local catch_up = { policy = ({ "all", "last", "none" })[math.random(3)], window = plan.EVER, limit = 2 }
  local spec = { every = math.random(3), overlap = overlap, catch_up = catch_up }
  if math.random(2) == 1 then
    spec.call, spec.queue = { "crash.fire", "", "slow" }, "work"
  else
    spec.start = classes.Fired("", "slow")
  end
  schedules.create(name, spec)
  table.insert(own, name)
end

local acts = {}

function acts.trigger(s)
  s:trigger { overlap = math.random(2) == 1 and OVERLAPS[math.random(#OVERLAPS)] or nil }
end

function acts.pause(s, work_a_little)
  s:pause "for a while"
  if math.random(2) == 1 then work_a_little() end
  s:resume { catch_up = math.random(2) == 1 }
end

function acts.update(s)
  s:update(({ { every = math.random(3) }, { overlap = OVERLAPS[math.random(#OVERLAPS)] }, { jitter = math.random(3) },
    { cron = "*/2 * * * * *" } })[math.random(4)])
end

-- A clock that is set back makes its end a time of the future, which is refused.
function acts.backfill(s)
  local now = pipeline.default():now()
  local ok, problem = pcall(s.backfill, s, { from = now - BACK_SECONDS, to = now })
  if not ok and not pipeline.is(problem, schedules.ScheduleError) then error(problem, 0) end
end

function acts.delete(s)
  for i, name in ipairs(own) do
    if name == s.name then table.remove(own, i) end
  end
  s:delete { running = ({ "leave", "abort" })[math.random(2)] }
end

local names = { "trigger", "trigger", "pause", "update", "update", "backfill", "delete" }

--- Makes a schedule, or does something to one of its own.
function fires.disturb(work_a_little)
  if #own == 0 then create() end
  acts[names[math.random(#names)]](schedules.get(own[math.random(#own)]), work_a_little)
end

-- A higher version may have removed one that is everybody's.
local function unless_gone(act, ...)
  local ok, problem = pcall(act, ...)
  if not ok and not pipeline.is(problem, schedules.UnknownScheduleError) then error(problem, 0) end
end

--- Pauses one of those that are everybody's, for a while.
function fires.pause(work_a_little)
  local list = schedules.list { source = SOURCE, count = 100 }
  if #list > 0 then unless_gone(acts.pause, list[math.random(#list)], work_a_little) end
end

--- Lets all go on that a process has paused and not lived to resume, and those that paused for their failures.
function fires.resume_all()
  for _, s in ipairs(schedules.list { state = "paused", count = 1000 }) do unless_gone(s.resume, s) end
end

-- ---- at the end ------------------------------------------------------------------------------------------------

local DUE_SECONDS = 20

local function is_overdue(list)
  for _, s in ipairs(list) do
    if s:status().lag > 0 then return true end
  end
end

--- Lets everything fire that is due, and nothing after that; what is buffered is started.
function fires.finish(seed, version, start, work_a_little)
  fires.resume_all()
  local deadline = os.clock() + DUE_SECONDS
  repeat work_a_little() until not is_overdue(schedules.list { count = 1000 }) or os.clock() > deadline
  fires.declare(seed, version, start, true)
  fires.resume_all()
  for _, s in ipairs(schedules.list { count = 1000 }) do
    if not s:status().source then s:update { max_fires = 1 } end
  end
end

return fires
