--- retention.lua: whether a file stays as it is when what is over goes while the queue is never empty, and what that
-- costs those who commit. A worker executes trees, another process starts as many as it can take, a third adds a task
-- every few milliseconds and measures how long that takes: by turns on a file without retention, which grows, and on
-- one with retention. Slices are short, so that what else the machine does hits both.
--
--   lua5.4 spec/soak/retention.lua [--seconds 600] [--slice 30] [--durability full]
--
-- What is over is kept for two slices: so in each slice goes what was made in the one before of the same file, as much
-- as is made. Fails if the file grows after it had time to become steady, or if the median of the 99th percentiles of
-- the adds is more than 1.2 times that without retention.

local opening = require "spec.soak.opening"
local processes = require "spec.crash.processes"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

local options = { seconds = 600, slice = 30, durability = "full" }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%w+)$") or error("unknown argument " .. arg[i])
    options[name] = arg[i + 1] or error(arg[i] .. " needs a value")
    i = i + 2
  end
end
local SECONDS, SLICE = tonumber(options.seconds), tonumber(options.slice)
local RETENTION = 2 * SLICE
local READY_MOST, BATCH, PAUSE = 1000, 50, 0.005
local STEADY, P99_MOST = 1.1, 1.2
local WARM_UP_SLICES = 2 -- of each file: then as much goes as comes

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
  return opening(path, given, options.durability)
end

function roles.worker(path)
  open(path, { retention = { done = options.keep == "no" and RETENTION } }):run()
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
  local stop = processes.now() + SLICE
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

-- ---- one slice -----------------------------------------------------------------------------------------------------

local function size_of(path)
  local file <close> = io.open(path)
  return file and file:seek("end") or 0
end

-- Waits until the prober has ended; returns the most bytes that the file and its log have had.
local function watch(path, group, prober)
  local bytes, log = 0, 0
  repeat
    processes.sleep(0.5)
    bytes, log = math.max(bytes, size_of(path)), math.max(log, size_of(path .. "-wal"))
  until group:state(prober) == "Z"
  return bytes, log
end

local function percentiles(path)
  local times = {}
  for line in io.lines(path) do times[#times + 1] = tonumber(line) end
  table.sort(times)
  local function at(part) return times[math.max(1, math.ceil(part * #times))] * 1000 end
  return { count = #times, p50 = at(0.5), p99 = at(0.99), p999 = at(0.999), most = times[#times] * 1000 }
end

-- Returns times, bytes, bytes of the log, and how many trees have ended.
local function run(directory, name)
  local path, output, times = directory .. "/" .. name .. ".db", directory .. "/output", directory .. "/times"
  local own = directory .. "/group"
  os.execute(("rm -rf %s; mkdir %s"):format(processes.quote(own), processes.quote(own)))
  local group = processes.group(own)
  local engine <close> = open(path, { no_worker = true, queues = { default = {}, probe = { mode = "pull" } } })
  local function start(role)
    return group:spawn(output, "spec/soak/retention.lua", "--role", role, "--path", path, "--output", times,
      "--slice", tostring(SLICE), "--keep", name == "with" and "no" or "yes", "--durability", options.durability)
  end
  start "worker"
  start "starter"
  local bytes, log = watch(path, group, start "prober")
  group:close()
  local file <close> = io.open(output)
  io.stdout:write(file and file:read("a") or "")
  os.remove(output)
  local status = engine:status()
  return percentiles(times), bytes, log, status
end

local function median(list)
  table.sort(list)
  return (list[(#list + 1) // 2] + list[#list // 2 + 1]) / 2
end

local function show(round, name, times, bytes, log, status)
  print(("%2d %-7s %6d adds: p50 %6.2f ms, p99 %6.2f, p99.9 %6.2f, most %6.2f; file %7.2f MiB, log %6.2f, in use %7.2f")
    :format(round, name, times.count, times.p50, times.p99, times.p999, times.most, bytes / 2 ^ 20, log / 2 ^ 20,
      (status.store.bytes - status.store.free) / 2 ^ 20))
  io.stdout:flush()
end

local function check(path)
  local engine <close> = open(path, { no_worker = true })
  local found = engine:check()
  assert(#found == 0, table.concat(found, "; "))
end

local function most(list, from, to)
  return math.max(table.unpack(list, from, to))
end

local function main()
  local directory = processes.directory()
  local _ <close> = setmetatable({}, { __close = function()
    os.execute("rm -rf " .. processes.quote(directory))
  end })
  local rounds = math.max(WARM_UP_SLICES + 2, SECONDS // (2 * SLICE))
  local sizes, p99 = {}, { with = {}, without = {} }
  for round = 1, rounds do
    for _, name in ipairs { "without", "with" } do
      local times, bytes, log, status = run(directory, name)
      show(round, name, times, bytes, log, status)
      if name == "with" then sizes[round] = bytes end
      if round > WARM_UP_SLICES then table.insert(p99[name], times.p99) end
    end
  end
  check(directory .. "/with.db")
  local middle = (WARM_UP_SLICES + rounds) // 2
  local first, second = most(sizes, WARM_UP_SLICES, middle), most(sizes, middle + 1, rounds)
  local before, after = median(p99.without), median(p99.with)
  print(("the file: %.2f MiB at most, then %.2f; median of p99 %.2f ms without, %.2f with: %.2f times"):format(
    first / 2 ^ 20, second / 2 ^ 20, before, after, after / before))
  return second <= STEADY * first and after <= P99_MOST * before
end

os.exit(main(), true)
