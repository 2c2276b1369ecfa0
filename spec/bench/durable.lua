--- durable.lua: the parts of the benchmark that are about durable functions. bench.lua runs them.
--
-- Returns a function that adds its parts to a table of parts, given the tools of bench.lua, and one that prints the
-- figures. A step is an empty function, so what is measured is what a step costs beside its work.

local ROW, FLOWS, STEPS, SIDE, SIGNALS, ACROSS, ENTRIES = 2000, 500, 10, 2000, 400, 200, 9000
local AT_REST, TIMERS, BATCH, SETTLING = 100000, 10000, 500, 10

local durable = {}

local function noop() end

local function workflow(pipeline, name, run)
  return pipeline.workflow("bench.durable." .. name, {
    journal_limit = { entries = 1000000, bytes = 1 << 30 }, run = run,
  })
end

local function open(tools, name, more)
  local given = { log = function() end } -- which tells of long journals
  for key, value in pairs(more or {}) do given[key] = value end
  return tools.open(name, given)
end

local function clock_of(engine)
  return function() return engine._core:now() end
end

-- Steps in a row, of one run: each waits for its own commit.
local function row(tools)
  local engine <close>, pipeline = open(tools, "durable_row")
  local time = clock_of(engine)
  local Row = workflow(pipeline, "Row", function(self)
    for _ = 1, ROW do self:step("s", noop) end
  end)
  local start = time()
  engine:wait(Row():start())
  print("durable_row_us", (time() - start) / ROW * 1e6)
end

-- The same of many runs at once: commits are shared.
local function flows(tools)
  local engine <close>, pipeline = open(tools, "durable_flows")
  local time = clock_of(engine)
  local Flow = workflow(pipeline, "Flow", function(self)
    for _ = 1, STEPS do self:step("s", noop) end
  end)
  local start, cpu = time(), os.clock()
  for _ = 1, FLOWS do engine._core:spawn(function() Flow():start() end) end
  engine:drain()
  print("durable_flows", FLOWS * STEPS / (time() - start))
  print("durable_flows_cpu_us", (os.clock() - cpu) / (FLOWS * STEPS) * 1e6)
end

local function side(tools)
  local engine <close>, pipeline = open(tools, "durable_side")
  local time = clock_of(engine)
  local Side = workflow(pipeline, "Side", function(self)
    local list = {}
    for i = 1, SIDE do list[i] = self:start_step("s", noop) end
    self:all(list)
  end)
  local start = time()
  engine:wait(Side():start())
  print("durable_side", SIDE / (time() - start))
end

-- A run that says how long after they were sent signals came.
local function listener(pipeline, times, count)
  return workflow(pipeline, "Listener", function(self)
    for i = 1, count do
      local sent = self:wait_event("x")
      if not self:is_replaying() then times[i] = pipeline.default()._core:now() - sent end
    end
  end)
end

local function signals(tools)
  local engine <close>, pipeline = open(tools, "durable_signals")
  local times = {}
  local stage = listener(pipeline, times, SIGNALS)():start()
  for i = 1, SIGNALS do
    engine._core:spawn(function() engine:signal(stage, "x", engine._core:now()) end)
    engine:drain()
    assert(times[i])
  end
  print("durable_signal_p50_ms", tools.percentile(times, 0.5) * 1000)
  print("durable_signal_p99_ms", tools.percentile(times, 0.99) * 1000)
end

-- The other process: sends, one every ten milliseconds.
local function sender(tools)
  local pipeline = require "pipeline"
  local engine <close> = pipeline.open(tools.options.path, { durability = tools.options.durability, no_worker = true })
  for _ = 1, ACROSS do
    engine:signal("listener", "x", engine._core:now())
    engine:sleep(0.01)
  end
end

local function across(tools)
  local engine <close>, pipeline = open(tools, "durable_across")
  local times, path = {}, tools.options.dir .. "/durable_across.db"
  local stage = listener(pipeline, times, ACROSS)():start { idempotence_key = "listener" }
  local sends = assert(io.popen(tools.self_command("durable_sender", path)))
  engine:wait(stage)
  sends:close()
  print("durable_across_p50_ms", tools.percentile(times, 0.5) * 1000)
  print("durable_across_p99_ms", tools.percentile(times, 0.99) * 1000)
end

-- A run with a long journal goes on: the whole of it is replayed. And what an entry takes in the file.
local function replay(tools)
  local engine <close>, pipeline = open(tools, "durable_replay", { warm_runs = 0 })
  local time, done = clock_of(engine), false
  local Long = workflow(pipeline, "Long", function(self)
    local list = {}
    for i = 1, ENTRIES do list[i] = self:start_step("s", noop) end
    self:all(list)
    self:wait_event("go")
    done = time()
  end)
  local before = engine:status().store.bytes
  local stage = Long():start()
  engine:drain()
  print("durable_entry_bytes", (engine:status().store.bytes - before) / ENTRIES)
  collectgarbage()
  local start, cpu = time(), os.clock()
  engine:signal(stage, "go")
  engine:drain()
  print("durable_replay_us", (done - start) / ENTRIES * 1e6)
  print("durable_replay_cpu_us", (os.clock() - cpu) / ENTRIES * 1e6)
end

local function start_many(engine, class, count, ...)
  for first = 1, count, BATCH do
    local given = { ... }
    engine:transaction(function()
      for _ = first, math.min(first + BATCH - 1, count) do class(table.unpack(given)):start() end
    end)
    engine:drain()
  end
end

-- Runs that wait for a signal that nobody sends.
local function rest(tools)
  local engine <close>, pipeline = open(tools, "durable_rest")
  local Waits = workflow(pipeline, "Waits", function(self) self:wait_event("never") end)
  start_many(engine, Waits, 100)
  collectgarbage()
  collectgarbage()
  local before, bytes, time = tools.rss_kib(), engine:status().store.bytes, clock_of(engine)
  local start = time()
  start_many(engine, Waits, AT_REST)
  print("durable_suspended", AT_REST / (time() - start))
  collectgarbage()
  collectgarbage()
  print("durable_rest_kib", tools.rss_kib() - before)
  print("durable_rest_bytes", (engine:status().store.bytes - bytes) / AT_REST)
  engine._core:run("forever", SETTLING) -- the log is moved into the file
  local seconds, facts = 20, engine._core:facts()
  engine._core:run("forever", seconds)
  local after = engine._core:facts()
  print("durable_wakeups",
    (after.loop_wakeups - facts.loop_wakeups + after.store_wakeups - facts.store_wakeups) / seconds)
end

-- Timers of many runs that fall due in one second.
local function timers(tools)
  local engine <close>, pipeline = open(tools, "durable_timers")
  local time, count, last = clock_of(engine), 0, 0
  local Sleeps = workflow(pipeline, "Sleeps", function(self, at)
    self:await(self:timer { at = at })
    count, last = count + 1, time()
    if count == TIMERS then engine:stop() end
  end)
  local begun = time()
  start_many(engine, Sleeps, TIMERS, begun + 1e5)
  local due = time() + 2 + (time() - begun) * 1.5
  start_many(engine, Sleeps, TIMERS, due)
  count = 0
  if time() > due then error("the machine is too slow for this part") end
  engine._core:run("forever", due - time() + 120)
  assert(count == TIMERS, "not all of them were due")
  print("durable_timers_s", last - due)
end

--- Adds the parts; returns the names of those that are run each time, and of those that are run once.
function durable.add(parts, tools)
  local list = {
    durable_row = row, durable_flows = flows, durable_side = side, durable_signals = signals, durable_across = across,
    durable_replay = replay, durable_rest = rest, durable_timers = timers, durable_sender = sender,
  }
  for name, part in pairs(list) do
    parts[name] = function() part(tools) end
  end
  return { "durable_row", "durable_flows", "durable_side", "durable_signals", "durable_across", "durable_replay" },
    { "durable_rest", "durable_timers" }
end

--- Prints the figures: `m` has the medians, `c` those of the ceiling.
function durable.report(report, m, c)
  local commit_ms = c.commit_us / 1000
  report("ceiling end to end", c.end_to_end, "rows/s")
  report("ceiling commit of one row", c.commit_us, "us")
  report("ceiling processor time of a claim", c.claims_cpu_us, "us")
  report("steps in a row, one run", m.durable_row_us / c.commit_us, "commits", nil, "aim <= 1.2")
  report("500 runs of 10 steps", m.durable_flows, "steps/s", m.durable_flows / c.end_to_end, "aim x0.4")
  report("processor time of a step, both threads", m.durable_flows_cpu_us, "us")
  report("steps side by side, one run", m.durable_side, "steps/s", m.durable_side / c.end_to_end, "aim x0.4")
  report("signal to resumption, p50", m.durable_signal_p50_ms, "ms")
  report("signal to resumption, p50 in commits", m.durable_signal_p50_ms / commit_ms, "commits", nil, "aim <= 2.5")
  report("signal to resumption, p99 in commits", m.durable_signal_p99_ms / commit_ms, "commits")
  report("the same in another process, p50", m.durable_across_p50_ms, "ms", nil, "aim <= 5")
  report("the same in another process, p99", m.durable_across_p99_ms, "ms")
  report("replay of an entry", m.durable_replay_us, "us", nil, "aim <= 3")
  report("processor time of that, both threads", m.durable_replay_cpu_us, "us", nil, "aim <= 3")
  report("an entry in the file", m.durable_entry_bytes, "bytes")
  report("runs started and suspended", m.durable_suspended, "runs/s", m.durable_suspended / c.end_to_end)
  report("RSS of 100,000 suspended runs", m.durable_rest_kib / 1024, "MiB more")
  report("suspended runs of a MiB of memory", AT_REST / (m.durable_rest_kib / 1024), "runs/MiB")
  report("a suspended run in the file", m.durable_rest_bytes, "bytes")
  report("wake-ups at rest with them", m.durable_wakeups, "per second", nil, "aim < 1")
  report("10,000 timers of one second, last one after", m.durable_timers_s, "s", nil, "aim <= 1")
end

return durable
