--- bench.lua: the engine beside a bare SQLite loop, in the same run.
--
-- Every figure is the median of five, printed with the durability level and the time of one fsync beside it, and
-- written to build/bench.jsonl: one object a line with name, value, unit, durability and, where there is a ceiling,
-- ratio. A part runs in a process of its own, so that memory and page caches of one do not help another.
--
--   lua5.4 spec/bench/bench.lua [--dir DIR] [--durability full|normal] [--runs N] [--group GROUP]
--   lua5.4 spec/bench/bench.lua --only PART
--
-- GROUP is stages, queues, durable, tasklets or pages. The parts about task queues are in queues.lua, those about
-- durable functions in durable.lua, those about tasklets in tasklets.lua, those about programs at rest in delayed.lua
-- and rest.lua; what open pages cost is measured by watched.lua.

local durable = dofile "spec/bench/durable.lua"
local queues = dofile "spec/bench/queues.lua"

local options = { dir = os.getenv("BENCH_DIR") or "build/bench", durability = "full", runs = 5 }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%w+)$") or error("unknown argument " .. arg[i])
    options[name] = arg[i + 1] or error(arg[i] .. " needs a value")
    i = i + 2
  end
end
local RUNS = tonumber(options.runs)

local figures = require "spec.support.figures"
local median, percentile = figures.median, figures.percentile

local function clean(path)
  for _, suffix in ipairs { "", "-wal", "-shm", "-workers" } do os.remove(path .. suffix) end
end

local function fresh_path(name)
  local path = ("%s/%s.db"):format(options.dir, name)
  clean(path)
  return path
end

local rss_kib = require("spec.support.memory").resident

-- How a part is run in a process of its own; `path` is what --path gives it.
local function self_command(part, path)
  local command = ("lua5.4 spec/bench/bench.lua --dir '%s' --durability %s --only %s"):format(options.dir,
    options.durability, part)
  return path and ("%s --path '%s'"):format(command, path) or command
end

-- A program at rest, whose file it has made, and one that has found it.
local function rest_command()
  local path, text = fresh_path("rest"), "lua5.4 spec/bench/rest.lua '%s' %s %s"
  return text:format(path, options.durability, "made") .. " && " .. text:format(path, options.durability, "found")
end

-- ---- parts: each runs in its own process and prints "name value" lines ------------------------------------------

local parts = {}

local function open(name, more)
  local pipeline = require "pipeline"
  local settings = { durability = options.durability }
  for key, value in pairs(more or {}) do settings[key] = value end
  return pipeline.open(fresh_path(name), settings), pipeline
end


local function clock_of(engine)
  return function() return engine._core:now() end
end

local function define(pipeline)
  local Leaf = pipeline.define("bench.Leaf", { run = function(_, n) return n end })
  local Sum = pipeline.define("bench.Sum", {
    run = function(_, list)
      local sum = 0
      for i = 1, #list do sum = sum + list[i] end
      return sum
    end,
  })
  local Fan = pipeline.define("bench.Fan", {
    run = function(self, n)
      local futures = {}
      for i = 1, n do futures[i] = self:spawn(Leaf(i)) end
      self:spawn(Sum(futures))
    end,
  })
  return Leaf, Fan
end

local function fan_out(engine, Fan, n)
  local time = clock_of(engine)
  local start = time()
  local stage = Fan(n)
  stage:start()
  local sum = engine:wait(stage).default.value
  assert(sum == n * (n + 1) // 2, "the sum is wrong")
  return time() - start
end

function parts.fan10000()
  local engine, pipeline = open("fan10000")
  local _, Fan = define(pipeline)
  print("fan10000", 10002 / fan_out(engine, Fan, 10000))
end

-- Many fan-outs of 100 at once, as many children as above: the cost of a child must not depend on the width much.
function parts.fan100()
  local engine, pipeline = open("fan100")
  local _, Fan = define(pipeline)
  local time = clock_of(engine)
  local start, stages = time(), {}
  for i = 1, 100 do
    stages[i] = Fan(100)
    stages[i]:start()
  end
  engine:drain()
  local took = time() - start
  for _, stage in ipairs(stages) do assert(engine:wait(stage).default.value == 5050, "the sum is wrong") end
  print("fan100", 100 * 102 / took)
end

-- Runs fn in a coroutine of an engine that is up and idle, as a route or a script's main tasklet would.
local function in_loop(engine, fn)
  engine._core:spawn(function()
    fn()
    engine:stop()
  end)
  engine:run()
end

function parts.alone()
  local engine, pipeline = open("alone")
  local _, Fan = define(pipeline)
  local times = {}
  in_loop(engine, function()
    for i = 1, 30 do times[i] = fan_out(engine, Fan, 100) end
  end)
  print("alone_ms", median(times) * 1000)
end

function parts.latency()
  local engine, pipeline = open("latency")
  local Leaf = define(pipeline)
  local time = clock_of(engine)
  local times = {}
  in_loop(engine, function()
    for i = 1, 300 do
      local start = time()
      local stage = Leaf(i)
      stage:start()
      engine:wait(stage)
      times[i] = time() - start
    end
  end)
  print("latency_p50_ms", percentile(times, 0.5) * 1000)
  print("latency_p99_ms", percentile(times, 0.99) * 1000)
end

-- Roots, each started by a coroutine of its own, so that starts share commits; then drained.
function parts.roots()
  local engine, pipeline = open("roots")
  local Leaf = define(pipeline)
  local time, count = clock_of(engine), 10000
  local start = time()
  for i = 1, count do
    engine._core:spawn(function() Leaf(i):start() end)
  end
  engine:drain()
  print("roots", count / (time() - start))
end

-- Flows of ten steps, each step with the result of the one before, all at once.
function parts.flows()
  local engine, pipeline = open("flows")
  local Step = pipeline.define("bench.Step", { run = function(_, n) return n + 1 end })
  local Flow = pipeline.define("bench.Flow", {
    run = function(self, steps)
      local future = self:spawn(Step(0))
      for _ = 2, steps do future = self:spawn(Step(future)) end
    end,
  })
  local time, count, steps = clock_of(engine), 500, 10
  local start = time()
  for _ = 1, count do
    engine._core:spawn(function() Flow(steps):start() end)
  end
  engine:drain()
  print("flows", count * steps / (time() - start))
end

function parts.waiting()
  local engine, pipeline = open("waiting")
  local core = engine._core
  local Leaf = define(pipeline)
  local stage = Leaf(1)
  stage:start { countdown = 1e6 }
  collectgarbage()
  local before, payload = rss_kib(), require "pipeline.core".encode_value({ choice = "approve" })
  local id = core:id_parse(stage.id)
  for _ = 1, 1000 do
    local tasks = {}
    for i = 1, 1000 do
      tasks[i] = { id = core:new_id(), kind = "callback", stage = id, eta = core:now() + 1e6 + i, payload = payload }
    end
    assert(core:task_add(tasks))
  end
  collectgarbage()
  collectgarbage()
  print("waiting_kib", rss_kib() - before)
end

function parts.delayed()
  require "spec.bench.delayed"(open, rss_kib, percentile)
end

-- ---- the driver ------------------------------------------------------------------------------------------------

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  assert(pipe:close(), "failed: " .. command)
  return text
end

local function run_part(name)
  local text = capture(name == "rest" and rest_command() or self_command(name))
  local found = {}
  for key, value in text:gmatch("(%S+)%s+(%S+)\n") do found[key] = tonumber(value) end
  return found
end

local function ceiling(shape)
  local path = fresh_path("ceiling")
  local text = capture(("build/bench/ceiling '%s' %s 100000 1000 %s"):format(path, options.durability, shape))
  clean(path)
  local found = {}
  for key, value in text:gmatch("(%S+) (%S+)") do found[key] = tonumber(value) end
  return found
end

local function gather(into, found)
  for key, value in pairs(found) do
    into[key] = into[key] or {}
    table.insert(into[key], value)
  end
end

local out

local function report(name, value, unit, ratio, aim)
  local line = ('{"name":"%s","value":%.6g,"unit":"%s","durability":"%s"%s}'):format(name, value, unit,
    options.durability, ratio and (',"ratio":%.4g'):format(ratio) or "")
  out:write(line, "\n")
  print(("%-48s %12.4g %-14s %-10s %s"):format(name, value, unit, ratio and ("x%.3f"):format(ratio) or "", aim or ""))
end

local function medians(values)
  local m = {}
  for key, list in pairs(values) do m[key] = median(list) end
  return m
end

-- Runs the parts and the ceiling of that shape RUNS times, and `seldom` once. Returns the medians of both.
local function measure(shape, names, seldom)
  local values, limits = {}, {}
  for _ = 1, RUNS do
    gather(limits, ceiling(shape))
    for _, name in ipairs(names) do gather(values, run_part(name)) end
  end
  for _, name in ipairs(seldom) do gather(values, run_part(name)) end
  return medians(values), medians(limits)
end

local function report_stages()
  local m, c = measure("rows", { "fan10000", "fan100", "flows", "alone", "latency", "roots" },
    { "rest", "waiting", "delayed" })
  local commit_ms = c.commit_us / 1000
  report("ceiling inserts", c.inserts, "rows/s")
  report("ceiling claims with finish", c.claims, "rows/s")
  report("ceiling end to end", c.end_to_end, "rows/s")
  report("ceiling commit of one row", c.commit_us, "us")
  report("stages, fan-out of 10,000 and sum", m.fan10000, "stages/s", m.fan10000 / c.end_to_end, "aim x0.45")
  report("stages, 100 fan-outs of 100", m.fan100, "stages/s", m.fan100 / c.end_to_end)
  report("cost per child, 10,000 against 100", m.fan100 / m.fan10000, "times", nil, "aim <= 1.5")
  report("one fan-out of 100 alone", m.alone_ms, "ms", nil, "aim <= 4")
  report("500 flows of 10 steps", m.flows, "steps/s", m.flows / c.end_to_end, "aim x0.35")
  report("roots started and done", m.roots, "roots/s", m.roots / c.end_to_end, "aim x0.35")
  report("start to done, p50", m.latency_p50_ms, "ms")
  report("start to done, p50 in commits", m.latency_p50_ms / commit_ms, "commits", nil, "aim <= 2.2")
  report("start to done, p99 in commits", m.latency_p99_ms / commit_ms, "commits", nil, "aim <= 4")
  report("RSS at rest", m.rss_found_kib / 1024, "MiB", nil, "aim <= 8")
  report("RSS at rest of who has made the file", m.rss_made_kib / 1024, "MiB")
  report("RSS of a million waiting tasks", m.waiting_kib / 1024, "MiB more", nil, "aim <= 32")
  report("RSS of a million delayed tasks", m.delayed_kib / 1024, "MiB more", nil, "aim <= 32")
  report("start after the eta among them, p50", m.delayed_late_p50_ms, "ms")
  report("start after the eta among them, most", m.delayed_late_max_ms, "ms", nil, "aim <= 50")
  report("wake-ups at rest", m.wakeups, "per second", nil, "aim < 1")
end

local queue_parts = queues.add(parts, {
  options = options, percentile = percentile, fresh_path = fresh_path, in_loop = in_loop, self_command = self_command,
})

local durable_parts, durable_seldom = durable.add(parts, {
  options = options, percentile = percentile, open = open, self_command = self_command, rss_kib = rss_kib,
})

local function report_durable()
  local m, c = measure("rows", durable_parts, durable_seldom)
  durable.report(report, m, c)
end

local function report_queues()
  local m, c = measure("tasks", queue_parts, {})
  queues.report(report, m, c)
end

local function is_wanted(group)
  return not options.group or options.group == group
end

local function main()
  print(("durability %s, medians of %d"):format(options.durability, RUNS))
  out = assert(io.open("build/bench.jsonl", "w"))
  if is_wanted "stages" then report_stages() end
  if is_wanted "queues" then report_queues() end
  if is_wanted "durable" then report_durable() end
  out:close()
end

if options.only then
  parts[options.only]()
else
  if options.group ~= "tasklets" and options.group ~= "pages" then main() end
  if is_wanted "tasklets" then dofile("spec/bench/tasklets.lua").main(options) end
  if is_wanted "pages" then
    assert(os.execute(("lua5.4 spec/bench/watched.lua 50000 %d 10 '%s'"):format(RUNS, options.dir)))
  end
end
