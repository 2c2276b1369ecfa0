--- telemetry/metrics.lua: what is measured of an engine and its store.
--
-- What this process does is counted by the core, always, from when the engine was opened: see
-- csrc/engine/telemetry/meter.h. What the store holds is read when somebody asks, at most once a second; and what takes
-- long to read (many tasks are counted one by one) so seldom that it takes a two-thousandth of the time, at least once
-- a minute if asked for: read_age_seconds says how old it is. Labels have few
-- values: QUEUES_MAX queues, and the like of schedules and classes; all others share the value "(others)".

local current = require "pipeline.current"
local options = require "pipeline.support.options"

local metrics = {}

local SHARED_SECONDS = 1
local SHARE, REMEMBERED_SECONDS_MAX = 2000, 60
local QUEUES_MAX, SCHEDULES_MAX, CLASSES_MAX = 100, 100, 200
local OTHERS = "(others)"
local MICROSECONDS = 1000000

-- ---- families --------------------------------------------------------------------------------------------------

local Page = {}
Page.__index = Page

local function family(self, kind, name, help, scale)
  local new = { kind = kind, name = "pipeline_" .. name, help = help, samples = {}, scale = scale }
  self[#self + 1] = new
  return new.samples
end

function Page:gauge(name, help, value, labels)
  local samples = family(self, "gauge", name, help)
  if value ~= nil then samples[1] = { labels, value } end
  return samples
end

local function add(samples, value, ...)
  if value ~= nil then samples[#samples + 1] = { { ... }, value } end
end

-- ---- what this process does ------------------------------------------------------------------------------------

local COUNTS = {
  { "started", "Executions begun by this process, by queue and kind of task." },
  { "succeeded", "Executions that ended well." },
  { "failed", "Executions that failed, whether or not they are tried again." },
  { "dead", "Tasks that have failed with no retries left." },
}

local function add_meter(page, meter)
  for _, count in ipairs(COUNTS) do
    local samples = family(page, "counter", count[1], count[2])
    for _, of in ipairs(meter.queues) do
      for kind, value in pairs(of[count[1]]) do add(samples, value, "queue", of.queue or OTHERS, "kind", kind) end
    end
    table.sort(samples, function(a, b) return table.concat(a[1], "\0") < table.concat(b[1], "\0") end)
  end
  local execute = family(page, "histogram", "execute_seconds", "How long an execution took.", MICROSECONDS)
  local late = family(page, "histogram", "queue_seconds", "From when a task could begin until it did.", MICROSECONDS)
  for _, of in ipairs(meter.queues) do
    add(execute, of.execute_us, "queue", of.queue or OTHERS)
    add(late, of.queue_us, "queue", of.queue or OTHERS)
  end
  add(family(page, "histogram", "commit_seconds", "How long a transaction of the store took.", MICROSECONDS),
    meter.commit_us)
  add(family(page, "histogram", "commit_ops", "Of how many operations a transaction was."), meter.commit_ops)
  add(family(page, "histogram", "loop_lag_seconds", "For how long at a time the event loop was busy.", MICROSECONDS),
    meter.lag_us)
end

local function add_requests(page, counts)
  local samples = family(page, "counter", "http_requests", "Requests answered by the HTTP server.")
  for method, codes in pairs(counts or {}) do
    for code, count in pairs(codes) do add(samples, count, "method", method, "code", code) end
  end
  table.sort(samples, function(a, b) return table.concat(a[1], "\0") < table.concat(b[1], "\0") end)
end

local function add_classes(page, classes)
  if not classes then return end
  local samples = family(page, "counter", "attempts", "Executions of stages ended, by class and result.")
  for class, of in pairs(classes.counts) do
    add(samples, of.succeeded, "class", class, "result", "succeeded")
    add(samples, of.failed, "class", class, "result", "failed")
  end
  table.sort(samples, function(a, b) return table.concat(a[1], "\0") < table.concat(b[1], "\0") end)
end

-- ---- what the store holds --------------------------------------------------------------------------------------

local STATES = { "ready", "delayed", "executing", "dead" }

-- Without the lists of the view: what status tells, and statistics of the queues that are shown.
local function rows_of(status)
  local rows, shown = {}, {}
  for name, of in pairs(status.queues) do
    rows[#rows + 1] = { name = name, ready = of.ready, delayed = of.delayed, executing = of.claimed, dead = 0 }
  end
  table.sort(rows, function(a, b) return a.ready + a.executing > b.ready + b.executing end)
  for i = 1, math.min(#rows, QUEUES_MAX) do shown[i] = rows[i].name end
  local statistics = require("pipeline.taskqueue").QueueStatistics
  for i, found in ipairs(#shown > 0 and statistics.fetch(shown) or {}) do
    rows[i].dead = found.dead_tasks or 0
    rows[i].oldest_ready = found.oldest_eta_usec and found.oldest_eta_usec / MICROSECONDS
  end
  return rows
end

-- Those that matter most have a label of their own.
local function shortened(rows)
  table.sort(rows, function(a, b)
    local x, y = a.ready + a.executing, b.ready + b.executing
    if x ~= y then return x > y end
    return a.name < b.name
  end)
  if #rows <= QUEUES_MAX then return rows end
  local rest = { name = OTHERS }
  for i = QUEUES_MAX + 1, #rows do
    for _, state in ipairs(STATES) do rest[state] = (rest[state] or 0) + (rows[i][state] or 0) end
    local oldest = rows[i].oldest_ready
    if oldest and (not rest.oldest_ready or oldest < rest.oldest_ready) then rest.oldest_ready = oldest end
    rows[i] = nil
  end
  rows[QUEUES_MAX + 1] = rest
  return rows
end

local function add_queues(page, rows, now)
  local tasks = family(page, "gauge", "tasks", "Tasks in the store, by queue and state.")
  local oldest = family(page, "gauge", "oldest_ready_seconds", "For how long the oldest ready task of a queue waits.")
  for _, row in ipairs(rows) do
    for _, state in ipairs(STATES) do add(tasks, row[state], "queue", row.name, "state", state) end
    add(oldest, row.oldest_ready and math.max(now - row.oldest_ready, 0.0) or 0, "queue", row.name)
  end
end

local function add_stages(page, counts)
  local samples = family(page, "gauge", "stages", "Pipelines in the store (roots), by state.")
  for state, count in pairs(counts) do
    if state ~= "total" and state ~= "more" then add(samples, count, "state", state) end
  end
  table.sort(samples, function(a, b) return a[1][2] < b[1][2] end)
end

local OUTCOMES = {
  "fired", "caught_up", "triggered", "backfilled", "skipped", "skipped_paused", "skipped_gap", "missed", "dropped",
}

local function add_schedules(page, list, overdue, is_more)
  local fires = family(page, "counter", "schedule_fires", "Times of schedules, by what became of them.")
  local late = family(page, "gauge", "schedule_late_seconds", "For how long the next time of a schedule is overdue.")
  for _, status in ipairs(list) do
    for _, outcome in ipairs(OUTCOMES) do
      if (status[outcome] or 0) > 0 then
        add(fires, status[outcome], "schedule", status.name, "outcome", outcome)
      end
    end
    add(late, status.lag, "schedule", status.name)
  end
  page:gauge("schedules_overdue", "Schedules whose time has come and that have not fired.", overdue)
  page:gauge("schedules_shown", "Schedules that have samples here: others are left out.", is_more and #list or nil)
end

local function add_retention(page, kept, now)
  local due = family(page, "gauge", "retention_due", "What is older than it is kept, and goes with the next sweep.")
  local oldest = family(page, "gauge", "retention_overdue_seconds", "For how long the oldest of these might be gone.")
  for _, what in ipairs { "done", "aborted", "dead", "names" } do
    local of = kept.due[what]
    add(due, of.count, "what", what)
    local age = what ~= "names" and kept[what] or 0
    add(oldest, of.oldest and age and math.max(now - of.oldest - age, 0.0) or 0, "what", what)
  end
end

-- ---- reading ---------------------------------------------------------------------------------------------------

local function statuses_of_schedules()
  local schedules = require "pipeline.schedules"
  local list, cursor = schedules.list { count = SCHEDULES_MAX }
  local out = {}
  for _, schedule in ipairs(list) do
    local ok, status = pcall(schedule.status, schedule) -- it may be deleted meanwhile
    if ok then out[#out + 1] = status end
  end
  return out, cursor ~= nil
end

-- Since when this worker's lease was not renewed; nil: it has none.
local function lease_age(workers, now, lease_seconds)
  for _, worker in ipairs(workers) do
    if worker.is_self and worker.lease_until then
      return math.max(now - (worker.lease_until - lease_seconds), 0.0)
    end
  end
end

-- What fn(self) gives, or has given not long ago.
local function remembered(self, name, fn)
  local last, now = self._metrics_read[name], self._core:steady()
  if last and now >= last.at and now < last.till then return last.value end
  local value = fn(self)
  local took = self._core:steady() - now
  self._metrics_read[name] = {
    at = now, value = value, till = now + math.min(math.max(took * SHARE, SHARED_SECONDS), REMEMBERED_SECONDS_MAX),
  }
  return value
end

local function add_ages(page, self)
  local samples = family(page, "gauge", "read_age_seconds", "How long ago what is here of the store was read.")
  local now = self._core:steady()
  for what, of in pairs(self._metrics_read) do add(samples, math.max(now - of.at, 0.0), "what", what) end
  table.sort(samples, function(a, b) return a[1][2] < b[1][2] end)
end

local function stages_of(self) return self:list_counts() end
local function workers_of(self) return self.workers and self:workers() or {} end
local function status_of(self) return self:status() end
local function schedules_of()
  local list, is_more = statuses_of_schedules()
  return { list = list, is_more = is_more }
end

local function queues_of(self)
  return shortened(self.queues and self:queues() or rows_of(remembered(self, "status", status_of)))
end

local function runs_of(self) return (self._core:flows_get()) or {} end

local RUN_MODES = { "begun", "suspended", "held" }

-- Of durable functions.
local function add_runs(page, self)
  local counts, replays = remembered(self, "runs", runs_of), self._replays or { runs = 0, entries = 0 }
  local samples = family(page, "gauge", "runs", "Durable functions that are not over, by what they were last.")
  for _, mode in ipairs(RUN_MODES) do add(samples, counts[mode], "mode", mode) end
  page:gauge("journal_bytes", "Size of the journals of durable functions, about.", counts.bytes)
  add(family(page, "counter", "replays", "Replays of durable functions in this process."), replays.runs)
  add(family(page, "counter", "replayed_entries", "Entries of journals that were replayed."), replays.entries)
end

local function add_store(page, self, status, now)
  page:gauge("store_bytes", "Size of the store.", status.store.bytes)
  page:gauge("store_free_bytes", "Of these, unused.", status.store.free)
  page:gauge("wal_bytes", "Size of the write-ahead log.", status.store.log_bytes)
  page:gauge("workers", "Processes at work on the store.", status.workers)
  page:gauge("lease_age_seconds", "Since when the lease of this worker was renewed: at rest it need not be.",
    lease_age(remembered(self, "workers", workers_of), now, self._lease_seconds))
  add_queues(page, remembered(self, "queues", queues_of), now)
  add_stages(page, remembered(self, "stages", stages_of))
  local schedules = remembered(self, "schedules", schedules_of)
  add_schedules(page, schedules.list, status.overdue, schedules.is_more)
  add_retention(page, status.retention, now)
  add_runs(page, self)
  add_ages(page, self)
end

local function collect(self)
  local page, now = setmetatable({}, Page), self._core:now()
  local status, facts = remembered(self, "status", status_of), self._core:facts()
  family(page, "info", "engine", "The engine.")[1] =
    { { "version", status.version, "store", status.store.kind, "durability", status.durability }, 1 }
  page:gauge("executing", "Executions under way in this process.", facts.executing)
  page:gauge("waiting", "Of these, those that wait for something.", facts.waiting)
  page:gauge("store_reachable", "Whether the store can be reached.", facts.unreachable_since and 0 or 1)
  add_meter(page, self._core:meter())
  add_requests(page, self._requests)
  add_classes(page, self._class_counts)
  if not (status.unreachable_since or facts.unreachable_since) then add_store(page, self, status, now) end
  return page
end

--- The families of a page (exposition.lua); what was read within a second serves everybody who asks meanwhile.
function metrics.page(self)
  local last, now = self._metrics_page, self._core:steady()
  if last and now - last.at < SHARED_SECONDS and now >= last.at then return last.page end
  local page = current.work_for(self, collect, self)
  self._metrics_page = { at = now, page = page }
  return page
end

-- ---- counting here ---------------------------------------------------------------------------------------------

local METHODS = { GET = true, HEAD = true, POST = true, PUT = true, DELETE = true, PATCH = true, OPTIONS = true }

--- A request was answered.
function metrics.answered(self, method, status)
  method = METHODS[method] and method or "other"
  local of = self._requests[method] or {}
  self._requests[method] = of
  local code = ("%d"):format(status)
  of[code] = (of[code] or 0) + 1
end

--- Counts attempts by class from now on.
function metrics.count_classes(self)
  local classes = { counts = {}, known = 0 }
  self._class_counts = classes
  local function ended(_, _, _, _, _, _, kind, _, _, _, _, class, _, _, _, _, _, failure)
    if kind ~= "run" then return end
    class = class or OTHERS
    if not classes.counts[class] and classes.known >= CLASSES_MAX then class = OTHERS end
    local of = classes.counts[class]
    if not of then
      of = { succeeded = 0, failed = 0 }
      classes.counts[class], classes.known = of, classes.known + 1
    end
    local result = failure and "failed" or "succeeded"
    of[result] = of[result] + 1
  end
  require("pipeline.telemetry.events").of(self):look { ended = ended, of = false }
end

local kinds = { public = "boolean", classes = "boolean" }

--- Reads the option `metrics` of pipeline.open: public (everybody may read /metrics; default: who has a token), classes
-- (attempts are also counted by class; default false).
function metrics.read(given)
  return options.check(given, kinds, 2, "open", "option 'metrics'")
end

return metrics
