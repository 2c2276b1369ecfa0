--- limits.lua: whether rate and concurrency hold over time: three worker processes on one file push to a target, a
-- process of its own, which counts what it sees for ten seconds. Run by `make soak`; fails if anything is off by more
-- than 5 %.
--
--   lua5.4 spec/soak/limits.lua [--seconds 10] [--only NAME] [--durability full]

local processes = require "spec.crash.processes"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

local WORKERS, WARM_UP_SECONDS, MARGIN = 3, 1.0, 0.05
local MAX_AT_ONCE = 512

local options = { seconds = 10, durability = "full" }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%w+)$") or error("unknown argument " .. arg[i])
    options[name] = arg[i + 1] or error(arg[i] .. " needs a value")
    i = i + 2
  end
end
local SECONDS = tonumber(options.seconds)

-- ---- the processes -------------------------------------------------------------------------------------------------

local roles = {}

-- Counts requests, and how many there are at a time, weighed by how long; /begin starts anew, /report tells.
function roles.target(log)
  local engine = pipeline.open(":memory:", { no_worker = true, log = function() end })
  local running, count, most, weighed, last = 0, 0, 0, 0.0, processes.now()
  local began = last
  local function step(change)
    local now = processes.now()
    weighed, last = weighed + running * (now - last), now
    running = running + change
    most = math.max(most, running)
  end
  engine:route("*", "/work/*", function(request)
    count = count + 1
    step(1)
    local seconds = tonumber(request.path:match("([%d.]+)$"))
    if seconds > 0 then engine:sleep(seconds) end
    step(-1)
  end)
  engine:route("GET", "/begin", function()
    step(0)
    count, most, weighed, began = 0, running, 0.0, processes.now()
  end)
  engine:route("GET", "/report", function()
    step(0)
    local took = processes.now() - began
    return 200, "text/plain", ("%d %d %.6f %.6f"):format(count, most, weighed / took, took)
  end)
  local server = engine:serve { port = 0, admin_token = "of-the-soak", max_connections = 4 * MAX_AT_ONCE }
  local file <close> = assert(io.open(log, "w"))
  file:write(server.url, "\n")
  file:close()
  engine:run()
end

function roles.worker(path, url)
  pipeline.open(path, { durability = options.durability, concurrency = MAX_AT_ONCE, targets = { default = url },
    log = function(level, text)
      if level >= 30 then io.stderr:write(text, "\n") end
    end }):run()
end

if options.role then
  roles[options.role](options.path, options.url)
  return
end

-- ---- one limit -----------------------------------------------------------------------------------------------------

local limits = {
  { name = "20 a second", settings = { rate = "20/s", bucket_size = 5 }, per_second = 20, seconds = 0 },
  { name = "200 a second", settings = { rate = "200/s", bucket_size = 20 }, per_second = 200, seconds = 0 },
  { name = "600 a minute, one by one", settings = { rate = "600/m", bucket_size = 1 }, per_second = 10, seconds = 0 },
  { name = "10 at a time", settings = { max_concurrent_requests = 10 }, at_once = 10, seconds = 0.5 },
  { name = "1 at a time", settings = { max_concurrent_requests = 1 }, at_once = 1, seconds = 0.5 },
  { name = "100 a second, at most 40 at a time", settings = { rate = "100/s", bucket_size = 10,
    max_concurrent_requests = 40 }, per_second = 100, most = 40, seconds = 0.1 },
  { name = "200 a second, one worker stopped", settings = { rate = "200/s", bucket_size = 20 }, per_second = 200,
    seconds = 0, stopped = 1 },
  { name = "200 a second, one worker killed", settings = { rate = "200/s", bucket_size = 20 }, per_second = 200,
    seconds = 0, killed = 1 },
  { name = "10 at a time, two workers killed", settings = { max_concurrent_requests = 10 }, at_once = 10, seconds = 0.5,
    killed = 2 },
}

local function tasks_for(limit)
  local per_second = limit.per_second or limit.at_once / limit.seconds
  return math.ceil(per_second * (SECONDS + 2 * WARM_UP_SECONDS) * 1.2) + 100
end

local function fill_queue(queue, limit)
  local left = tasks_for(limit)
  while left > 0 do
    local list = {}
    for i = 1, math.min(left, taskqueue.MAX_TASKS_PER_ADD) do
      list[i] = taskqueue.Task { url = ("/work/%g"):format(limit.seconds) }
    end
    queue:add(list)
    left = left - #list
  end
end

local function ask(engine, url)
  local answer = assert(engine._core:fetch { url = url })
  return answer.body
end

-- Returns requests, the most at once, the mean at once and the seconds they were counted for.
local function measure(engine, url, limit, before, after)
  local name = "soak-" .. limit.name:gsub("[^%w]+", "-")
  local queue = taskqueue.Queue(name)
  limit.settings.paused = true
  taskqueue.configure { [name] = limit.settings }
  fill_queue(queue, limit)
  queue:resume()
  processes.sleep(WARM_UP_SECONDS)
  before() -- a request whose sender is killed goes on at the target for a while, beside its second try
  processes.sleep(WARM_UP_SECONDS)
  ask(engine, url .. "/begin")
  processes.sleep(SECONDS)
  local count, most, mean, took = ask(engine, url .. "/report"):match("(%S+) (%S+) (%S+) (%S+)")
  queue:pause()
  after()
  assert(processes.eventually(20, function() return queue:fetch_statistics().in_flight == 0 end))
  assert(queue:fetch_statistics().tasks > 0, "the queue ran empty: nothing was measured")
  queue:purge()
  return tonumber(count), tonumber(most), tonumber(mean), tonumber(took)
end

-- What is wrong with the figures, or nil.
local function judge(limit, count, most, mean, took)
  local ceiling = limit.most or limit.at_once
  if ceiling and most > ceiling then return ("%d at once, more than %d"):format(most, ceiling) end
  local got, wanted = mean, limit.at_once
  if limit.per_second then got, wanted = count / took, limit.per_second end
  if math.abs(got - wanted) > MARGIN * wanted then return ("off by %.1f %%"):format(100 * (got - wanted) / wanted) end
end

local function main()
  local directory = processes.directory()
  local path, output = directory .. "/soak.db", directory .. "/output"
  local group = processes.group(directory)
  local _ <close> = setmetatable({}, { __close = function()
    group:close()
    os.execute("rm -rf " .. processes.quote(directory))
  end })
  local engine <close> = pipeline.open(path, { no_worker = true, durability = options.durability })
  local function start(...)
    return group:spawn(output, "spec/soak/limits.lua", "--durability", options.durability, ...)
  end
  start("--role", "target", "--path", directory .. "/url")
  local url = processes.eventually(20, function()
    local file <close> = io.open(directory .. "/url")
    return file and file:read("l")
  end) or error("the target did not start")
  local workers = {}
  local function start_workers()
    while #workers < WORKERS do workers[#workers + 1] = start("--role", "worker", "--path", path, "--url", url) end
  end
  start_workers()
  print(("%d workers, durability %s, counted by the target for %g s"):format(WORKERS, options.durability, SECONDS))
  local failed = 0
  for _, limit in ipairs(limits) do
    if not options.only or limit.name:find(options.only, 1, true) then
      local count, most, mean, took = measure(engine, url, limit, function()
        for i = 1, limit.stopped or 0 do group:signal(workers[i], "STOP") end
        for _ = 1, limit.killed or 0 do group:kill(table.remove(workers)) end
      end, function()
        for i = 1, limit.stopped or 0 do group:signal(workers[i], "CONT") end
        start_workers()
      end)
      local problem = judge(limit, count, most, mean, took)
      print(("%-40s %8.2f a second, %3d at most, %6.3f at a time on average  %s"):format(limit.name, count / took, most,
        mean, problem or "ok"))
      failed = failed + (problem and 1 or 0)
    end
  end
  local file <close> = io.open(output)
  io.stdout:write(file and file:read("a") or "")
  return failed == 0
end

os.exit(main(), true)
