-- metrics_spec.lua - what is measured, as text that the tools of the field can read.

local deferred = require "pipeline.deferred"
local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"

local PYTHON = os.getenv("PYTHON") or "/usr/bin/python3"

local function nothing() end
deferred.register("metrics_spec.nothing", nothing)

local ADMIN = { Authorization = "Bearer token-of-the-specs" }

-- Samples of a page: "name{labels}" -> number.
local function read(text)
  local samples = {}
  for line in text:gmatch("[^\n]+") do
    local name, value = line:match("^([^#].*) (%S+)$")
    if name then samples[name] = tonumber(value) end
  end
  return samples
end

-- Feeds a text to a command; what it says, and whether it is content.
local function fed(text, command)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local pipe = assert(io.popen(("env -u LD_PRELOAD %s <%s 2>&1"):format(command, path)))
  local said = pipe:read("a")
  local ok = pipe:close()
  os.remove(path)
  return ok, said
end

-- The parsers of the client library of Prometheus, which are strict.
local PARSE = [["%s" -c '
import sys
from prometheus_client.%sparser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    print(family.type, family.name, len(family.samples))
    assert family.documentation and family.samples, family.name
']]

describe("metrics", function()
  local engine

  local Slow = pipeline.define("metrics_spec.Slow", { run = function()
    engine:sleep(3)
    return 1
  end })

  local function open(options)
    options = options or {}
    options.virtual_time, options.virtual_start = true, 1e9
    engine = pipeline.open(":memory:", options)
    engine:serve { port = 0, admin_token = "token-of-the-specs", viewer_token = "token-of-viewers" }
    return engine
  end

  after_each(function()
    if engine then engine:close() end
    engine = nil
  end)

  local function work()
    for _ = 1, 5 do deferred.defer(nothing) end
    engine:route("POST", "/fails", function() return 500 end)
    taskqueue.add { url = "/fails", name = "t1", retry_options = { task_retry_limit = 1 } }
    engine:drain { delayed = true }
    engine:wait(Slow():start())
    deferred.with { countdown = 100 }(nothing)
    engine:advance(2)
  end

  it("O2 counts what was begun, went well, failed and died, by queue and kind", function()
    open()
    work()
    local samples = read(engine:metrics())
    assert.equal(5, samples['pipeline_started_total{queue="default",kind="deferred"}'])
    assert.equal(5, samples['pipeline_succeeded_total{queue="default",kind="deferred"}'])
    assert.equal(2, samples['pipeline_started_total{queue="default",kind="push"}'])
    assert.equal(2, samples['pipeline_failed_total{queue="default",kind="push"}'])
    assert.equal(1, samples['pipeline_dead_total{queue="default",kind="push"}'])
    assert.equal(1, samples['pipeline_succeeded_total{queue="default",kind="run"}'])
    assert.is_nil(samples['pipeline_failed_total{queue="default",kind="run"}'])
  end)

  it("O2 histograms: how long executions took, and how late they were; buckets add up", function()
    open()
    work()
    local samples = read(engine:metrics())
    assert.equal(8, samples['pipeline_execute_seconds_count{queue="default"}'])
    assert.equal(8, samples['pipeline_execute_seconds_bucket{queue="default",le="+Inf"}'])
    assert.equal(7, samples['pipeline_execute_seconds_bucket{queue="default",le="2.097152"}'])
    assert.equal(8, samples['pipeline_execute_seconds_bucket{queue="default",le="4.194304"}'])
    assert.near(3, samples['pipeline_execute_seconds_sum{queue="default"}'], 0.001)
    assert.equal(8, samples['pipeline_queue_seconds_count{queue="default"}'])
    assert.is_true(samples["pipeline_commit_seconds_count"] > 0)
    assert.equal(samples["pipeline_commit_seconds_count"], samples["pipeline_commit_ops_count"])
    assert.is_true(samples["pipeline_commit_ops_sum"] >= samples["pipeline_commit_ops_count"] / 2)
    assert.is_true(samples["pipeline_loop_lag_seconds_count"] >= 0)
  end)

  it("O2 what the store holds: tasks by queue and state, stages by state, sizes, workers", function()
    open()
    work()
    taskqueue.configure { idle = { rate = 1 } }
    local samples = read(engine:metrics())
    assert.equal(1, samples['pipeline_tasks{queue="default",state="delayed"}'])
    assert.equal(0, samples['pipeline_tasks{queue="default",state="ready"}'])
    assert.equal(1, samples['pipeline_tasks{queue="default",state="dead"}'])
    assert.equal(0, samples['pipeline_tasks{queue="idle",state="ready"}'])
    assert.equal(0, samples['pipeline_oldest_ready_seconds{queue="default"}'])
    assert.equal(1, samples['pipeline_stages{state="done"}'])
    assert.is_true(samples["pipeline_store_bytes"] > 0)
    assert.equal(1, samples["pipeline_workers"])
    if engine.workers then assert.is_true(samples["pipeline_lease_age_seconds"] >= 0) end
    assert.equal(1, samples["pipeline_store_reachable"])
  end)

  it("O2 the oldest ready task of a queue that stands still grows old", function()
    open()
    taskqueue.configure { still = { paused = true } }
    deferred.with { queue = "still" }(nothing)
    engine:drain()
    engine:advance(60)
    local samples = read(engine:metrics())
    assert.equal(1, samples['pipeline_tasks{queue="still",state="ready"}'])
    assert.near(60, samples['pipeline_oldest_ready_seconds{queue="still"}'], 0.01)
  end)

  it("O2 schedules: fires by outcome, those that are overdue; retention: what is to go", function()
    open { retention = { done = 10 } }
    schedules.create("hourly", { every = "1h", call = { nothing } })
    engine:advance(3601)
    engine:drain()
    local samples = read(engine:metrics())
    assert.equal(1, samples['pipeline_schedule_fires_total{schedule="hourly",outcome="fired"}'])
    assert.equal(0, samples['pipeline_schedule_late_seconds{schedule="hourly"}'])
    assert.equal(0, samples["pipeline_schedules_overdue"])
    assert.equal(0, samples['pipeline_retention_due{what="done"}'])
    assert.equal(0, samples['pipeline_retention_overdue_seconds{what="aborted"}'])
  end)

  it("O2 durable functions: how many wait or are held, their journals, replays", function()
    open { warm_runs = 0 } -- so that each goes on by a replay
    local n = 0
    local held = pipeline.workflow("metrics_spec.Held", { run = function(self)
      n = n + 1
      self:step("step" .. n, function() end)
      self:sleep(1)
    end })
    local waits = pipeline.workflow("metrics_spec.Waits", { run = function(self)
      self:step("one", function() end)
      self:wait_event("go")
    end })
    held():start()
    local stage = waits():start()
    engine:drain()
    engine:advance(2)
    engine:drain()
    local samples = read(engine:metrics())
    assert.equal(1, samples['pipeline_runs{mode="held"}'])
    assert.equal(1, samples['pipeline_runs{mode="suspended"}'])
    assert.is_true(samples["pipeline_journal_bytes"] > 0)
    assert.equal(1, samples["pipeline_replays_total"])
    assert.equal(2, samples["pipeline_replayed_entries_total"])
    engine:signal(stage, "go")
    engine:drain()
    engine:advance(120)
    samples = read(engine:metrics())
    assert.equal(0, samples['pipeline_runs{mode="suspended"}'])
    assert.equal(2, samples["pipeline_replays_total"])
  end)

  it("O2 /metrics needs a token, or public = true, and is there below the base path, too", function()
    open()
    for _, path in ipairs { "/metrics", "/_ah/pipeline/metrics" } do
      assert.equal(403, engine:handle { path = path }.status)
      assert.equal(403, engine:handle { path = path, headers = { Authorization = "Bearer another-token" } }.status)
      assert.equal(200, engine:handle { path = path, headers = { Authorization = "Bearer token-of-viewers" } }.status)
      local reply = engine:handle { path = path, headers = ADMIN }
      assert.equal(200, reply.status)
      assert.matches("^application/openmetrics%-text", reply.headers["content-type"])
      assert.equal("# EOF\n", reply.body:sub(-6))
      assert.equal(405, engine:handle { method = "POST", path = path, headers = ADMIN }.status)
    end
    engine:close()
    open { metrics = { public = true } }
    assert.equal(200, engine:handle { path = "/metrics" }.status)
    assert.is_false((pcall(pipeline.open, ":memory:", { metrics = { pubic = true } })))
  end)

  it("O2 who accepts plain text only gets the older format", function()
    open { metrics = { public = true } }
    local reply = engine:handle { path = "/metrics", headers = { accept = "text/plain" } }
    assert.equal("text/plain; version=0.0.4; charset=utf-8", reply.headers["content-type"])
    assert.is_nil(reply.body:find("# EOF", 1, true))
    reply = engine:handle { path = "/metrics", headers = {
      accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    } }
    assert.matches("^application/openmetrics", reply.headers["content-type"])
  end)

  it("O2 strict parsers of both formats read it, also with hostile names of queues and classes, each once", function()
    open { metrics = { classes = true } }
    work()
    local Class = pipeline.define('metrics_spec.Bad"\\name\n', { run = function() end })
    engine:wait(Class():start())
    for _, ending in ipairs { "a", "b" } do -- names that differ where they are cut, or in what is no UTF-8
      local name = ("metrics_spec." .. ("\u{E4}"):rep(120)) .. ending
      engine:wait(pipeline.define(name, { run = function() end })():start())
    end
    schedules.create("a", { every = "1h", call = { nothing } })
    for format, parser in pairs { openmetrics = "openmetrics.", prometheus = "" } do
      local page = engine:metrics { format = format }
      local ok, said = fed(page, PARSE:format(PYTHON, parser))
      assert(ok, said)
      assert.matches("histogram pipeline_execute_seconds", said)
      assert.matches("counter pipeline_started", said)
      local seen = {}
      for line in page:gmatch("[^\n]+") do
        local sample = line:match("^([^#].*) %S+$")
        if sample then
          assert.is_nil(seen[sample], line)
          seen[sample] = true
        end
      end
    end
  end)

  it("O2 promtool finds nothing wrong", function()
    if not os.execute("command -v promtool >/dev/null 2>&1") then
      return pending("skipped: no promtool (spec/tools/deps.sh promtool)")
    end
    open { metrics = { classes = true } }
    work()
    local ok, said = fed(engine:metrics { format = "prometheus" }, "promtool check metrics")
    assert(ok, said)
    assert.equal("", said)
  end)

  it("O2 classes are a label only if asked for", function()
    open()
    work()
    assert.is_nil(engine:metrics():find("metrics_spec", 1, true))
    engine:close()
    open { metrics = { classes = true } }
    work()
    assert.equal(1, read(engine:metrics())['pipeline_attempts_total{class="metrics_spec.Slow",result="succeeded"}'])
  end)

  it("O2 a thousand queues are a hundred label values and one for all others; sums stay right", function()
    open()
    local names = {}
    for i = 1, 250 do names[("q%03d"):format(i)] = { rate = 1000 } end
    taskqueue.configure(names)
    for name in pairs(names) do deferred.with { queue = name }(nothing) end
    engine:drain()
    local page, labels, sum = engine:metrics(), {}, 0
    for name, value in page:gmatch('pipeline_succeeded_total{queue="([^"]+)",kind="deferred"} (%d+)') do
      labels[#labels + 1] = name
      sum = sum + math.tointeger(value)
    end
    assert.equal(101, #labels)
    assert.equal(250, sum)
    local count = 0
    for _ in page:gmatch('pipeline_oldest_ready_seconds{') do count = count + 1 end
    assert.equal(101, count)
  end)

  it("O2 what was read within a second serves everybody who asks meanwhile", function()
    open { metrics = { public = true } }
    local first = engine:metrics()
    deferred.defer(nothing)
    engine:drain()
    assert.equal(first, engine:metrics())
    engine:advance(2)
    assert.not_equal(first, engine:metrics())
  end)

  it("O2 what takes long to read is read for a two-thousandth of the time, and its age is said", function()
    open { metrics = { public = true } }
    local reads, steady, ahead = 0, engine._core.steady, 0.0
    local core = setmetatable({ steady = function() return steady(engine._core) + ahead end }, {
      __index = function(_, name)
        local found = engine._core[name]
        return type(found) ~= "function" and found or function(_, ...) return found(engine._core, ...) end
      end,
    })
    local self = setmetatable({ _core = core, queues = function()
      reads, ahead = reads + 1, ahead + 0.01
      return {}
    end }, { __index = engine })
    local function ages()
      local found = {}
      for _, of in ipairs(require("pipeline.telemetry.metrics").page(self)) do
        if of.name == "pipeline_read_age_seconds" then
          for _, sample in ipairs(of.samples) do found[sample[1][2]] = sample[2] end
        end
      end
      return found
    end
    assert.is_true(math.abs(ages().queues - 0.01) < 1e-4)
    for _ = 1, 19 do
      ahead = ahead + 1.0
      ages()
    end
    assert.equal(1, reads)
    ahead = ahead + 0.5
    assert.is_true(ages().queues > 18)
    ahead = ahead + 1.5
    assert.is_true(ages().queues < 1 and reads == 2)
  end)
end)
