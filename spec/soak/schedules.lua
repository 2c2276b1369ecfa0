--- schedules.lua: what many schedules cost: a hundred thousand at rest, ten thousand due in one second, ten years of
-- missed minutes. Prints each figure beside its aim; fails if one is missed. Run by `make soak-schedules`.
--
--   lua5.4 spec/soak/schedules.lua [--rest 100000] [--due 10000] [--seconds 20] [--durability full]
--
-- Figures are those of processes of their own, so that what makes the schedules does not count.

local memory = require "spec.support.memory"
local opening = require "spec.soak.opening"
local processes = require "spec.crash.processes"
local deferred = require "pipeline.deferred"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"

local options = { rest = 100000, due = 10000, seconds = 20, durability = "full" }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%w+)$") or error("unknown argument " .. arg[i])
    options[name] = arg[i + 1] or error(arg[i] .. " needs a value")
    i = i + 2
  end
end
local REST, DUE, SECONDS = tonumber(options.rest), tonumber(options.due), tonumber(options.seconds)
local YEARS, MINUTES = 10, 365 * 24 * 60

local calls = 0
deferred.register("soak.count", function() calls = calls + 1 end)

-- ---- the processes -------------------------------------------------------------------------------------------------

local roles = {}

local function open(path, given)
  return opening(path, given, options.durability)
end

-- Does nothing for a while; says how often it woke up and how large it is.
function roles.rest(path)
  local engine = open(path, {})
  local core = engine._core
  core:spawn(function()
    core:sleep(3) -- then the first looks, and the upkeep after opening, are over
    local before = core:facts()
    core:sleep(SECONDS)
    local after = core:facts()
    collectgarbage()
    print(("rest %d %d"):format(after.loop_wakeups - before.loop_wakeups + after.store_wakeups - before.store_wakeups,
      memory.resident()))
    io.stdout:flush()
    engine:stop()
  end)
  engine:run()
end

-- Works until it has made all calls; says when.
function roles.work(path)
  local engine = open(path, {})
  print("ready 0")
  io.stdout:flush()
  engine._core:spawn(function()
    local began = os.clock()
    while calls < DUE do engine._core:sleep(0.005) end
    print(("done %.6f %.6f"):format(processes.now(), os.clock() - began))
    io.stdout:flush()
    engine:stop()
  end)
  engine:run()
end

if options.role then
  roles[options.role](options.path)
  return
end

-- ---- the figures ---------------------------------------------------------------------------------------------------

local missed = 0

local function show(what, figure, unit, aim)
  local is_met = not aim or figure <= aim
  if not is_met then missed = missed + 1 end
  print(("%-58s %10.3f %s%s"):format(what, figure, unit, aim and (" (aim: at most %g)%s"):format(aim,
    is_met and "" or "  MISSED") or ""))
  io.stdout:flush()
end

local directory, group, output

local function spawn(role, path)
  os.remove(output)
  return group:spawn(output, "spec/soak/schedules.lua", "--role", role, "--path", path, "--due", tostring(DUE),
    "--seconds", tostring(SECONDS), "--durability", options.durability)
end

-- Waits for a line of the process that works; returns the numbers behind the word.
local function heard(word)
  local file <close> = io.open(output)
  local numbers = file and file:read("a"):match("%f[%a]" .. word .. " ([%d. ]+)\n")
  if not numbers then return nil end
  local list = {}
  for number in numbers:gmatch("[%d.]+") do list[#list + 1] = tonumber(number) end
  return list
end

local function declare(path, count, spec)
  local _ <close> = open(path, { no_worker = true })
  local specs = {}
  for i = 1, count do specs["s" .. i] = spec end
  local began = processes.now()
  schedules.declare("soak", specs)
  return processes.now() - began
end

local function at_rest(name, count)
  local path = ("%s/%s.db"):format(directory, name)
  local took = declare(path, count, { cron = "0 4 1 1 *", call = { "soak.count" } })
  local pid = spawn("rest", path)
  group:wait(pid)
  local figures = assert(heard "rest", "it says nothing")
  return took, figures[1] / SECONDS, figures[2]
end

local function many_at_rest()
  local _, wakeups_without, kib_without = at_rest("none", 0)
  local took, wakeups, kib = at_rest("many", REST)
  show(("%d schedules: to declare them"):format(REST), took, "s")
  show("  wake-ups of the process at rest (loop and store)", wakeups, "a second", 1)
  show("  of one without schedules", wakeups_without, "a second")
  show("  memory more than without", (kib - kib_without) / 1024, "MiB", 32)
end

local function percentile(times, part)
  return times[math.max(1, math.ceil(part * #times))] or 0
end

local function many_due()
  local path = directory .. "/due.db"
  local _ <close> = open(path, { no_worker = true, queues = { probe = { mode = "pull" } } })
  local due = math.ceil(processes.now()) + 4 + DUE // 2000
  local specs = {}
  for i = 1, DUE do specs["s" .. i] = { at = due, call = { "soak.count" } } end
  schedules.declare("soak", specs)
  local pid = spawn("work", path)
  assert(processes.eventually(60, function() return heard "ready" end), "the worker does not begin")
  local from = math.max(due, processes.now())
  processes.sleep(math.max(0, due - processes.now()))
  local queue, times = taskqueue.Queue("probe"), {}
  local done
  repeat
    local began = processes.now()
    queue:add(taskqueue.Task { payload = "x", method = "PULL" })
    times[#times + 1] = processes.now() - began
    done = heard "done"
    processes.sleep(0.002)
  until done or processes.now() > from + 120
  assert(done, "not all of them have fired")
  group:wait(pid)
  table.sort(times)
  show(("%d due in one second: until all of it is done"):format(DUE), done[1] - from, "s", 2)
  show("  processor time of the process that fires and executes", done[2], "s")
  show(("  %d adds of another process meanwhile, median"):format(#times), percentile(times, 0.5) * 1000, "ms")
  show("  99th percentile", percentile(times, 0.99) * 1000, "ms")
  show("  longest", times[#times] * 1000, "ms")
  local fired = 0
  for _, schedule in ipairs(schedules.list { count = DUE }) do fired = fired + schedule:status().fired end
  assert(fired == DUE, ("%d fires of %d"):format(fired, DUE))
end

local function missed_minutes(policy, expected)
  local path, now = ("%s/%s.db"):format(directory, policy), 1800000000
  local count = YEARS * MINUTES
  do
    local engine <close> = open(path, { virtual_time = true, virtual_start = now - count * 60 })
    schedules.create("minutes", { cron = "* * * * *", overlap = "allow_all", call = { "soak.count" },
      catch_up = { policy = policy } })
    engine:drain()
  end
  local engine <close> = open(path, { virtual_time = true, virtual_start = now })
  calls = 0
  local began = processes.now()
  engine:advance(30)
  show(("%d years of missed minutes, catch_up %s: %d runs"):format(YEARS, policy, expected),
    (processes.now() - began) * 1000, "ms")
  local status = schedules.get("minutes"):status()
  assert(calls == expected and status.caught_up == expected, ("%d runs, %d caught up"):format(calls, status.caught_up))
  assert(status.missed == count - expected, status.missed .. " missed")
end

local function main()
  directory = processes.directory()
  output = directory .. "/output"
  group = processes.group(directory)
  local _ <close> = setmetatable({}, { __close = function()
    group:close()
    os.execute("rm -rf " .. processes.quote(directory))
  end })
  many_at_rest()
  many_due()
  missed_minutes("last", 1)
  missed_minutes("none", 0)
  missed_minutes("all", 1000)
  return missed == 0
end

os.exit(main(), true)
