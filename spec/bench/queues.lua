--- queues.lua: the parts of the benchmark that are about task queues and deferred calls. bench.lua runs them.
--
-- Returns a function that adds its parts to a table of parts, given the tools of bench.lua: `fresh_path(name)`,
-- `options`, `percentile`, `in_loop(engine, fn)`, `self_command(part, more)`.
--
-- Calls are made through `deferred` and lists through `Queue:add`, as programs do. Only the backlog of the drains is
-- written straight into the store, because writing it is no part of what they measure.

local ONES, TASKLETS, LISTS, CALLS, LATENCIES, TRANSACTIONS = 500, 64, 300, 100000, 400, 30

local queues = {}

local function noop() end

-- An engine with queues without and with limits, and the names of what is called.
local function open(tools, name, more)
  local pipeline = require "pipeline"
  local deferred = require "pipeline.deferred"
  deferred.register("bench.noop", noop)
  local settings = {
    durability = tools.options.durability,
    queues = {
      plain = {},
      pulled = { mode = "pull" },
      rated = { rate = "10000000/s", bucket_size = 10000000 },
      tight = { max_concurrent_requests = 16 },
      narrow = { max_concurrent_requests = 64 },
      wide = { max_concurrent_requests = 256 },
    },
  }
  for key, value in pairs(more or {}) do settings[key] = value end
  return pipeline.open(name:find("/", 1, true) and name or tools.fresh_path(name), settings), deferred
end

local function clock_of(engine)
  return function() return engine._core:now() end
end

-- One after the other, from a script without a loop: each waits for its own commit.
local function one(tools)
  local engine, deferred = open(tools, "one")
  local time, times = clock_of(engine), {}
  for i = 1, ONES do
    local start = time()
    deferred.defer(noop)
    times[i] = time() - start
  end
  print("enqueue_one_ms", tools.percentile(times, 0.5) * 1000)
end

local function tasklets(tools)
  local engine, deferred = open(tools, "tasklets", { no_worker = true })
  local library = require "pipeline.tasklets"
  local time, each = clock_of(engine), 200
  local start, futures = time(), {}
  for i = 1, TASKLETS do
    futures[i] = library.tasklet(function()
      for _ = 1, each do deferred.defer(noop) end
    end)()
  end
  for i = 1, TASKLETS do library.await(futures[i]) end
  print("enqueue_tasklets", TASKLETS * each / (time() - start))
end

-- 1,000 calls or tasks at a time, each added by itself in a transaction of the program.
local function transactions(tools)
  local engine, deferred = open(tools, "transactions", { no_worker = true })
  local taskqueue = require "pipeline.taskqueue"
  local Task, plain, time = taskqueue.Task, taskqueue.Queue("plain"), clock_of(engine)
  local payload = ("x"):rep(50)
  local function measure(name, add)
    local start = time()
    for _ = 1, TRANSACTIONS do
      engine:transaction(function()
        for _ = 1, 1000 do add() end
      end)
    end
    print(name, TRANSACTIONS * 1000 / (time() - start))
  end
  measure("transaction_defers", function() deferred.defer(noop) end)
  measure("transaction_adds", function() plain:add(Task { url = "/work", payload = payload }) end)
end

-- Lists of 100 and of 1,000 tasks, from a script without a loop; making the tasks is part of it.
local function lists(tools)
  local engine = open(tools, "lists", { no_worker = true, max_tasks_per_add = 1000 })
  local taskqueue = require "pipeline.taskqueue"
  local Task, time = taskqueue.Task, clock_of(engine)
  local pulled, plain = taskqueue.Queue("pulled"), taskqueue.Queue("plain")
  local payload = ("x"):rep(50)
  local function measure(name, queue, size, make)
    local start, cpu = time(), os.clock()
    for _ = 1, LISTS * 100 // size do
      local list = {}
      for i = 1, size do list[i] = make() end
      queue:add(list)
    end
    print(name, LISTS * 100 / (time() - start))
    print(name .. "_cpu_us", (os.clock() - cpu) / (LISTS * 100) * 1e6)
  end
  measure("lists_pull", pulled, 100, function() return Task { method = "PULL", payload = payload } end)
  measure("lists_push", plain, 100, function() return Task { url = "/work", payload = payload } end)
  measure("lists_long", plain, 1000, function() return Task { url = "/work", payload = payload } end)
end

local function fill(engine, deferred, queue, count)
  local core, bytes = engine._core, deferred.serialize(noop)
  for _ = 1, count // 1000 do
    local list = {}
    for i = 1, 1000 do list[i] = { id = core:new_id(), kind = "deferred", queue = queue, payload = bytes } end
    assert(core:task_add(list))
  end
end

local function drain(tools, name, queue)
  local engine, deferred = open(tools, name)
  local time = clock_of(engine)
  fill(engine, deferred, queue, CALLS)
  local start, cpu = time(), os.clock()
  engine:drain()
  print(name, CALLS / (time() - start))
  print(name .. "_cpu_us", (os.clock() - cpu) / CALLS * 1e6)
end

-- Calls are deferred by 64 coroutines of an engine while it executes them.
local function both(tools)
  local engine, deferred = open(tools, "both")
  local time, each = clock_of(engine), CALLS // 4 // TASKLETS
  local start = time()
  for _ = 1, TASKLETS do
    engine._core:spawn(function()
      for _ = 1, each do deferred.defer(noop) end
    end)
  end
  engine:drain()
  print("both", TASKLETS * each / (time() - start))
end

local function print_latency(tools, name, times)
  print(name .. "_p50_ms", tools.percentile(times, 0.5) * 1000)
  print(name .. "_p99_ms", tools.percentile(times, 0.99) * 1000)
end

-- From the call of defer to the start of the function, in an engine that is up and has nothing else to do.
local function idle(tools)
  local engine, deferred = open(tools, "idle")
  local time, times, token = clock_of(engine), {}, nil
  deferred.register("bench.started", function(sent)
    times[#times + 1] = time() - sent
    token:wake()
  end)
  tools.in_loop(engine, function()
    for _ = 1, LATENCIES do
      token = engine._core:token()
      deferred.defer("bench.started", time())
      engine._core:suspend()
      engine:sleep(0.002)
    end
  end)
  print_latency(tools, "idle", times)
end

-- The same with the caller in another process, which executes nothing itself.
local function across(tools)
  local path = tools.fresh_path("across")
  local worker = assert(io.popen(tools.self_command("across_worker", path)))
  assert(worker:read("l") == "ready", "the worker does not start")
  local engine <close>, deferred = open(tools, path, { no_worker = true })
  local time = clock_of(engine)
  for _ = 1, LATENCIES do
    deferred.defer("bench.started", time())
    engine:sleep(0.01)
  end
  io.write(worker:read("a"))
  assert(worker:close())
end

local function across_worker(tools)
  local engine <close>, deferred = open(tools, tools.options.path)
  local time, times = clock_of(engine), {}
  deferred.register("bench.started", function(sent)
    times[#times + 1] = time() - sent
    if #times == LATENCIES then engine:stop() end
  end)
  print("ready")
  io.stdout:flush()
  engine:run()
  print_latency(tools, "across", times)
end

--- Adds the parts. Returns the names of those to be run, in order.
function queues.add(parts, tools)
  local function part(name, fn, ...)
    local args = table.pack(...)
    parts[name] = function() fn(tools, table.unpack(args, 1, args.n)) end
  end
  part("enqueue_one", one)
  part("enqueue_tasklets", tasklets)
  part("lists", lists)
  part("transactions", transactions)
  part("drain", drain, "drain", "plain")
  part("drain_rated", drain, "drain_rated", "rated")
  part("drain_wide", drain, "drain_wide", "wide")
  part("drain_narrow", drain, "drain_narrow", "narrow")
  part("drain_tight", drain, "drain_tight", "tight")
  part("both", both)
  part("idle", idle)
  part("across", across)
  part("across_worker", across_worker)
  return {
    "enqueue_one", "enqueue_tasklets", "lists", "transactions", "drain", "drain_rated", "drain_wide", "drain_narrow",
    "drain_tight", "both", "idle", "across",
  }
end

--- Prints the figures: `m` has the medians, `c` those of the ceiling for tasks.
function queues.report(report, m, c)
  local commit_ms = c.commit_us / 1000
  report("ceiling of tasks, inserts in commits of 1000", c.inserts, "rows/s")
  report("ceiling of tasks, inserts in commits of 100", c.inserts_100, "rows/s")
  report("ceiling of tasks, inserts in commits of 64", c.inserts_64, "rows/s")
  report("ceiling of tasks, claims with finish", c.claims, "rows/s")
  report("ceiling of tasks, both at once", c.both, "rows/s")
  report("ceiling of tasks, commit of one", c.commit_us, "us")
  report("ceiling of tasks, commit of one after 2 ms", c.rested_us, "us")
  report("defer one at a time, p50 in commits", m.enqueue_one_ms / commit_ms, "commits", nil, "aim <= 1.3")
  report("defer from 64 tasklets", m.enqueue_tasklets, "tasks/s", m.enqueue_tasklets / c.inserts_64)
  report("add lists of 100, pull", m.lists_pull, "tasks/s", m.lists_pull / c.inserts_100, "aim x0.75")
  report("add lists of 100, push", m.lists_push, "tasks/s", m.lists_push / c.inserts_100, "aim x0.75")
  report("add lists of 1,000, push", m.lists_long, "tasks/s", m.lists_long / c.inserts, "aim x0.85")
  report("1,000 defers in a transaction", m.transaction_defers, "tasks/s", m.transaction_defers / c.inserts, "aim x0.6")
  report("1,000 adds in a transaction", m.transaction_adds, "tasks/s", m.transaction_adds / c.inserts, "aim x0.6")
  report("drain of 100,000 deferred calls", m.drain, "tasks/s", m.drain / c.claims, "aim x0.6")
  report("the same with a rate", m.drain_rated, "tasks/s", m.drain_rated / c.claims)
  report("the same with at most 256 at once", m.drain_wide, "tasks/s", m.drain_wide / c.claims)
  report("the same with at most 64 at once", m.drain_narrow, "tasks/s", m.drain_narrow / c.claims)
  report("the same with at most 16 at once", m.drain_tight, "tasks/s", m.drain_tight / c.claims)
  report("share kept with a rate", m.drain_rated / m.drain, "times", nil, "aim >= 0.67")
  report("share kept with at most 256 at once", m.drain_wide / m.drain, "times", nil, "aim >= 0.95")
  report("share kept with at most 64 at once", m.drain_narrow / m.drain, "times", nil, "aim >= 0.9")
  report("share kept with at most 16 at once", m.drain_tight / m.drain, "times", nil, "aim >= 0.6")
  report("processor time of a task added in a list, pull", m.lists_pull_cpu_us, "us", c.inserts_100_cpu_us /
    m.lists_pull_cpu_us)
  report("processor time of a drained call, both threads", m.drain_cpu_us, "us", c.claims_cpu_us / m.drain_cpu_us)
  report("deferred and executed at the same time", m.both, "tasks/s", m.both / c.both)
  local rested_ms = c.rested_us / 1000 -- as the callers of these do
  report("defer to start, p50 in commits after 2 ms", m.idle_p50_ms / rested_ms, "commits", nil, "aim <= 1.2")
  report("defer to start, p99 in commits after 2 ms", m.idle_p99_ms / rested_ms, "commits")
  report("defer to start in another process, p50", m.across_p50_ms, "ms", nil, "aim < 5")
  report("defer to start in another process, p99", m.across_p99_ms, "ms")
end

return queues
