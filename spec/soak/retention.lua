--- retention.lua: whether a file stays as it is when what is over goes while the queue is never empty, and what that
-- costs those who commit. A worker executes trees, another process starts as many as it can take, a third adds a task
-- every few milliseconds and measures how long that takes: first without retention, on a file that grows, then with.
--
--   lua5.4 spec/soak/retention.lua [--seconds 600] [--retention 60] [--durability full]
--
-- Fails if the file grows after it had time to become steady, or if the 99th percentile of the adds is more than 1.2
-- times that without retention. On a busy machine percentiles scatter: look at both runs.

local processes = require "spec.crash.processes"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

local options = { seconds = 600, retention = 60, durability = "full" }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%w+)$") or error("unknown argument " .. arg[i])
    options[name] = arg[i + 1] or error(arg[i] .. " needs a value")
    i = i + 2
  end
end
local SECONDS, RETENTION = tonumber(options.seconds), tonumber(options.retention)
local READY_MOST, BATCH, PAUSE = 1000, 50, 0.005
local STEADY, P99_MOST = 1.1, 1.2

local Leaf = pipeline.define("soak.Leaf", { run = function(_, text) return #text end })
local Tree = pipeline.define("soak.Tree", {
  run = function(self, text)
    self:set_status { message = "at it" }
    return self:spawn(Leaf(text))
  end,
})

-- ---- the processes -------------------------------------------------------------------------------------------------

local roles = {}

local function open(path, given)
  given.durability = options.durability
  given.log = function(level, text)
    if level >= 30 then io.stderr:write(text, "\n") end
  end
  return pipeline.open(path, given)
end

function roles.worker(path)
  open(path, { retention = { done = RETENTION > 0 and RETENTION } }):run()
end

function roles.starter(path)
  local engine = open(path, { no_worker = true })
  local text = ("x"):rep(500)
  while true do
    if engine:status().queues.default.ready < READY_MOST then
      engine:transaction(function()
        for _ = 1, BATCH do Tree(text):start() end
      end)
    else
      processes.sleep(PAUSE)
    end
  end
end

-- Adds and deletes, so that its own tasks stay few; writes all times at the end.
function roles.prober(path, output)
  local engine = open(path, { no_worker = true })
  local queue = taskqueue.Queue("probe")
  local stop = processes.now() + SECONDS
  local file <close> = assert(io.open(output, "w"))
  while processes.now() < stop do
    local began = processes.now()
    local task = queue:add(taskqueue.Task { payload = "x", method = "PULL" })
    file:write(("%.6f\n"):format(processes.now() - began))
    queue:delete_tasks(task)
    processes.sleep(PAUSE)
  end
  engine:close()
end

if options.role then
  roles[options.role](options.path, options.output)
  return
end

-- ---- one run -------------------------------------------------------------------------------------------------------

local function size_of(path)
  local file <close> = io.open(path)
  return file and file:seek("end") or 0
end

-- Samples of {seconds, bytes of file and log, stages} until the prober has ended.
local function watch(engine, path, group, prober)
  local samples, began = {}, processes.now()
  repeat
    processes.sleep(1)
    local status = engine:status()
    samples[#samples + 1] = {
      seconds = processes.now() - began, bytes = size_of(path), log = size_of(path .. "-wal"), stages = status.stages,
      used = status.store.bytes - status.store.free,
    }
  until group:state(prober) == "Z"
  return samples
end

local function percentiles(path)
  local times = {}
  for line in io.lines(path) do times[#times + 1] = tonumber(line) end
  table.sort(times)
  local function at(part) return times[math.max(1, math.ceil(part * #times))] * 1000 end
  return { count = #times, p50 = at(0.5), p99 = at(0.99), p999 = at(0.999), most = times[#times] * 1000 }
end

local function run(directory, name, retention)
  local path, output, times = directory .. "/" .. name .. ".db", directory .. "/output", directory .. "/times"
  local own = directory .. "/" .. name
  os.execute("mkdir " .. processes.quote(own))
  local group = processes.group(own)
  local engine <close> = open(path, { no_worker = true, queues = { default = {}, probe = { mode = "pull" } } })
  local function start(role)
    return group:spawn(output, "spec/soak/retention.lua", "--role", role, "--path", path, "--output", times,
      "--seconds", tostring(SECONDS), "--retention", tostring(retention), "--durability", options.durability)
  end
  start "worker"
  start "starter"
  local samples = watch(engine, path, group, start "prober")
  group:close()
  local found = engine:check()
  assert(#found == 0, table.concat(found, "; "))
  local file <close> = io.open(output)
  io.stdout:write(file and file:read("a") or "")
  return samples, percentiles(times)
end

local function most(samples, field, from, to)
  local found = 0
  for _, sample in ipairs(samples) do
    if sample.seconds >= from and sample.seconds < to then found = math.max(found, sample[field]) end
  end
  return found
end

local function show(name, samples, times)
  print(("%-18s %6d adds: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, at most %.2f ms"):format(name, times.count,
    times.p50, times.p99, times.p999, times.most))
  for i = 1, #samples, math.max(1, #samples // 10) do
    local sample = samples[i]
    print(("  %5.0f s: file %7.2f MiB, in use %7.2f, log %6.2f, stages %d"):format(sample.seconds,
      sample.bytes / 2 ^ 20, sample.used / 2 ^ 20, sample.log / 2 ^ 20, sample.stages))
  end
end

local function main()
  local directory = processes.directory()
  local _ <close> = setmetatable({}, { __close = function()
    os.execute("rm -rf " .. processes.quote(directory))
  end })
  local before, before_times = run(directory, "without", 0)
  show("without retention", before, before_times)
  os.execute("rm -f " .. processes.quote(directory) .. "/without.db*")
  local with, with_times = run(directory, "with", RETENTION)
  show(("retention %g s"):format(RETENTION), with, with_times)
  local steady = 1.5 * RETENTION + 5
  local middle = steady + (SECONDS - steady) / 2
  local first, second = most(with, "bytes", steady, middle), most(with, "bytes", middle, math.huge)
  local factor = with_times.p99 / before_times.p99
  print(("the file: %.2f MiB at most, then %.2f MiB at most; p99 %.2f times that without"):format(first / 2 ^ 20,
    second / 2 ^ 20, factor))
  return second <= STEADY * first and factor <= P99_MOST
end

os.exit(main(), true)
