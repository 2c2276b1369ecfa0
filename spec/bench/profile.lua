-- profile.lua: where the processor time of stages goes; run by `make profile` on a build with -DPL_PROFILE.
--
-- For each shape of work a table: how often each SQL statement of the store thread ran, for each stage, and how many
-- microseconds of processor time it took, a time and a stage; what that thread did beside; the thread of the loop; and
-- what Lua allocated. Medians of RUNS, each in a process of its own. Reading the clock is taken off. Figures of the
-- store thread are processor time, so the disk and other processes do not count.
--
--   lua5.4 spec/bench/profile.lua [--runs N] [--shape fan|flows|roots] [--durability full|normal]
--   lua5.4 spec/bench/profile.lua --only SHAPE

local options = { runs = 3, durability = "full", dir = os.getenv("BENCH_DIR") or "build/profile" }
for i = 1, #arg, 2 do
  local name = arg[i]:match("^%-%-(%w+)$") or error("unknown argument " .. arg[i])
  options[name] = arg[i + 1] or error(arg[i] .. " needs a value")
end

local median = require("spec.support.figures").median

-- ---- shapes: each returns what does the work, and how many stages that has ------------------------------------------

local shapes = {}

function shapes.fan(engine, pipeline)
  local Leaf = pipeline.define("profile.Leaf", { run = function(_, n) return n end })
  local Sum = pipeline.define("profile.Sum", {
    run = function(_, list)
      local sum = 0
      for i = 1, #list do sum = sum + list[i] end
      return sum
    end,
  })
  local Fan = pipeline.define("profile.Fan", {
    run = function(self, n)
      local futures = {}
      for i = 1, n do futures[i] = self:spawn(Leaf(i)) end
      self:spawn(Sum(futures))
    end,
  })
  return function()
    local stage = Fan(10000)
    stage:start()
    assert(engine:wait(stage).default.value == 50005000)
  end, 10002
end

function shapes.flows(engine, pipeline)
  local Step = pipeline.define("profile.Step", { run = function(_, n) return n + 1 end })
  local Flow = pipeline.define("profile.Flow", {
    run = function(self, steps)
      local future = self:spawn(Step(0))
      for _ = 2, steps do future = self:spawn(Step(future)) end
    end,
  })
  return function()
    for _ = 1, 500 do
      engine._core:spawn(function() Flow(10):start() end)
    end
    engine:drain()
  end, 500 * 11
end

function shapes.roots(engine, pipeline)
  local Leaf = pipeline.define("profile.Leaf", { run = function(_, n) return n end })
  return function()
    for i = 1, 10000 do
      engine._core:spawn(function() Leaf(i):start() end)
    end
    engine:drain()
  end, 10000
end

-- ---- one run, in a process of its own ----------------------------------------------------------------------------

local function clean(path)
  for _, suffix in ipairs { "", "-wal", "-shm", "-workers" } do os.remove(path .. suffix) end
end

local function run(shape)
  local path = ("%s/profile-%s.db"):format(options.dir, shape)
  clean(path)
  local pipeline = require "pipeline"
  local engine = pipeline.open(path, { durability = options.durability })
  local work, stages = shapes[shape](engine, pipeline)
  local from = os.clock()
  work()
  print(("stages 1 %d"):format(stages))
  print(("process 1 %.0f"):format((os.clock() - from) * 1e9))
  engine:close()
  clean(path)
end

-- How many bytes Lua allocates, in a process of its own: without the collector what is in use only grows.
local function count_bytes(shape)
  local path = ("%s/profile-%s.db"):format(options.dir, shape)
  clean(path)
  local pipeline = require "pipeline"
  local engine <close> = pipeline.open(path, { durability = "normal" })
  local work = shapes[shape](engine, pipeline)
  collectgarbage()
  collectgarbage("stop")
  local from = collectgarbage("count")
  work()
  print(("lua 1 %.0f"):format((collectgarbage("count") - from) * 1024))
end

-- ---- the table ---------------------------------------------------------------------------------------------------

local function capture(shape, more)
  local out = ("%s/profile.txt"):format(options.dir)
  os.remove(out)
  local command = ("PL_PROFILE_FILE='%s' lua5.4 spec/bench/profile.lua --dir '%s' --durability %s --only %s %s"):format(
    out, options.dir, options.durability, shape, more or "")
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  assert(pipe:close(), "failed: " .. command)
  local file <close> = assert(io.open(out), "no figures: the build is not one of `make profile`")
  local found = {}
  for name, times, value in (text .. file:read("a")):gmatch("(%S+) (%d+) (%-?%d+)\n") do
    found[name] = { times = tonumber(times), value = tonumber(value) }
  end
  os.remove(out)
  return found
end

local SPECIAL = { stages = true, process = true, thread = true, clock = true, lua = true }

local function gather(shape)
  local all = {} -- name -> { times = list, value = list }
  local function add(found)
    for name, figure in pairs(found) do
      all[name] = all[name] or { times = {}, value = {} }
      table.insert(all[name].times, figure.times)
      table.insert(all[name].value, figure.value)
    end
  end
  for _ = 1, tonumber(options.runs) do add(capture(shape)) end
  local figures = {}
  for name, lists in pairs(all) do figures[name] = { times = median(lists.times), value = median(lists.value) } end
  figures.lua = capture(shape, "--bytes yes").lua
  return figures
end

local LINE = "%-28s %10s %10s %10s\n"

local function show(shape)
  local figures = gather(shape)
  local stages = figures.stages.value
  local names, sum = {}, 0
  for name, figure in pairs(figures) do
    if not SPECIAL[name] then
      names[#names + 1] = name
      sum = sum + figure.value
    end
  end
  table.sort(names, function(a, b) return figures[a].value > figures[b].value end)
  local store = figures.thread.value - figures.clock.value
  io.write(("\n%s: %d stages, durability %s\n"):format(shape, stages, options.durability))
  io.write(LINE:format("statement", "a stage", "us a time", "us a stage"))
  local function line(name, times, ns)
    io.write(LINE:format(name, times and ("%.3f"):format(times / stages) or "",
      times and ("%.2f"):format(ns / times / 1000) or "", ("%.2f"):format(ns / stages / 1000)))
  end
  for _, name in ipairs(names) do
    local figure = figures[name]
    if figure.value / stages >= 10 then line(name, figure.times, figure.value) end
  end
  line("all statements", nil, sum)
  line("store thread, the rest", nil, store - sum)
  line("store thread", nil, store)
  line("loop thread", nil, figures.process.value - figures.thread.value)
  io.write(("%-28s %32.0f\n"):format("Lua bytes a stage", figures.lua.value / stages))
end

if options.only then
  if options.bytes then count_bytes(options.only) else run(options.only) end
else
  for _, shape in ipairs(options.shape and { options.shape } or { "fan", "flows", "roots" }) do show(shape) end
end
