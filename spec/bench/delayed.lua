--- delayed.lua: a part of bench.lua: a million delayed tasks. What they cost in memory, while they are added and when
-- they rest, and whether a task that becomes due among them starts on time.

local COUNT, LIST, PROBES = 1000000, 1000, 200
local PROBE_SECONDS = 0.01 -- from one probe to the next

-- Adds tasks that become due in a year or so, in no order.
local function add_far(store, payload, lists)
  local now = store:now()
  for list = 1, lists do
    local tasks = {}
    for i = 1, LIST do
      local eta = now + 3e7 + (list * LIST + i) * 7919 % COUNT
      tasks[i] = { id = store:new_id(), kind = "deferred", queue = "far", eta = eta, payload = payload }
    end
    assert(store:task_add(tasks))
  end
end

-- Seconds from the eta of each probe to its start.
local function probe(engine, deferred)
  local store, late = engine._core, {}
  deferred.register("bench.probe", function(eta)
    late[#late + 1] = store:now() - eta
    if #late == PROBES then engine:stop() end
  end)
  local from = store:now() + 0.5
  for i = 1, PROBES do
    local eta = from + i * PROBE_SECONDS
    deferred.with { eta = eta, queue = "near" }("bench.probe", eta)
  end
  engine:run()
  return late
end

--- `open(name, options)` opens an engine, `rss_kib()` says what the process holds, `percentile(list, p)` sorts.
return function(open, rss_kib, percentile)
  local deferred = require "pipeline.deferred"
  local engine = open("delayed", { queues = { far = {}, near = {} } })
  local store, payload = engine._core, deferred.serialize("bench.nothing", 1)
  add_far(store, payload, 1) -- what a list takes while it is on its way is not counted
  collectgarbage()
  local before = rss_kib()
  add_far(store, payload, COUNT // LIST)
  local late = probe(engine, deferred)
  collectgarbage()
  print("delayed_kib", rss_kib() - before)
  print("delayed_late_p50_ms", percentile(late, 0.5) * 1000)
  print("delayed_late_max_ms", percentile(late, 1) * 1000)
end
