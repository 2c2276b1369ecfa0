--- shapes.lua: the JSON schema of what each command prints with --json.

local shapes = {}

local text, number, count, flag = { type = "string" }, { type = "number" }, { type = "integer", minimum = 0 },
  { type = "boolean" }

local function list(items) return { type = "array", items = items } end

local function object(required, properties, is_open)
  return { type = "object", required = required, properties = properties, additionalProperties = is_open or false }
end

shapes.STATES = { "waiting", "delayed", "ready", "executing", "open", "finalizing", "aborting", "done", "aborted" }
local state = { type = "string", enum = shapes.STATES }

local tally = object({ "done", "total" }, { done = count, total = count, more = flag })

local entry = {
  id = text, root = text, parent = text, class = text, state = state, state_words = text, status = text, key = text,
  queue = text, created = number, started = number, ended = number, took = number, attempt = count,
  max_attempts = count, last_error = text, reason = text, message = text, message_time = number, console_url = text,
  links = { type = "object" }, children = tally, stages = tally, child_ids = list(text), ["until"] = number,
  waits_for = list(object({ "slot" }, { slot = text, stage = text, name = text, class = text, state = text })),
  place = count, queue_paused = flag, worker = text, since = number, children_open = count, outputs_open = count,
  abort_held = flag, args = list({ type = "object" }), outputs = list({ type = "object" }),
}
local ENTRY = object({ "id", "root", "class", "state", "state_words", "queue" }, entry, true)

shapes.version = object({ "version", "lua" }, { version = text, lua = text })
shapes.start = object({ "id", "class" }, { id = text, class = text, key = text })
shapes.list = object({ "items" }, { items = list(ENTRY), cursor = text })
shapes.show = object({ "id", "state", "stages" }, { id = text, state = state, stages = list(ENTRY), cut = flag })
shapes.why = object({ "id", "reasons" }, {
  id = text, reasons = list(object({ "code", "text" }, { code = text, text = text, command = text }, true)),
})
shapes.query = object({ "results" }, { value = {}, results = { type = "array" } })
shapes.handlers = object({ "queries", "signals", "updates" }, {
  queries = list(text), signals = list(text), updates = list(text),
})
shapes.values = object({ "items", "streams" }, {
  items = list(object({ "name", "time", "size" }, {
    name = text, time = number, size = count, value = {}, too_large = flag,
  })),
  streams = list(object({ "name", "count", "tail" }, {
    name = text, count = count, time = number, closed = flag,
    tail = list(object({ "offset", "time" }, { offset = count, time = number, value = {} })),
  })),
})
shapes.stream = object({ "items" }, { items = list(object({ "offset" }, { offset = count, value = {} })) })
shapes.fork = object({ "id", "done" }, { id = text, done = flag })
shapes.logs = object({ "id", "lines" }, {
  id = text, lines = list(object({ "time", "level", "kind", "stage", "class", "text" }, {
    time = number, level = text, kind = text, stage = text, class = text, text = text, attempt = count, worker = text,
    traceback = text,
  }, true)),
})
shapes.act = object({ "matched", "done", "refused" }, {
  matched = count, done = count, refused_more = count,
  refused = list(object({ "id", "why" }, { id = text, why = text })),
})

local QUEUE = object({ "name", "mode", "ready", "delayed", "executing", "dead", "paused" }, {
  name = text, mode = { type = "string", enum = { "push", "pull" } }, rate = number, bucket_size = count,
  max_concurrent = count, paused = flag, ready = count, delayed = count, executing = count, dead = count,
  oldest_ready = number, served = flag, executed_last_minute = count, settings = { type = "object" },
}, true)
shapes.queues = object({ "items" }, { items = list(QUEUE) })
shapes.queue = QUEUE
shapes.set = object({ "name", "settings" }, { name = text, settings = { type = "object" } })
shapes.names = object({ "queues" }, { queues = list(text) })
shapes.purge = object({ "queue", "matched", "done" }, { queue = text, matched = count, done = count })

local TASK = object({ "queue", "id", "address", "kind", "what", "state" }, {
  id = text, address = text,
  queue = text, name = text, kind = text, what = text, state = { type = "string",
    enum = { "ready", "delayed", "executing", "dead" } }, eta = number, attempt = count, last_error = text,
  created = number, stage = text,
}, true)
shapes.tasks = object({ "items" }, { items = list(TASK), cursor = text })

local WORKER = object({ "host", "pid", "executing" }, {
  number = count, host = text, pid = count, version = text, since = number, serving = list(text), executing = count,
  lease_until = number, is_self = flag,
}, true)
shapes.workers = object({ "items" }, { items = list(WORKER) })
shapes.top = object({ "time", "totals", "queues", "workers", "executing", "failed" }, {
  time = number, totals = { type = "object" }, queues = list(QUEUE), workers = list(WORKER), executing = list(TASK),
  failed = list(ENTRY),
})

local SCHEDULE = object({ "name", "source", "state", "running", "buffered", "fired" }, {
  name = text, source = text, state = { type = "string", enum = { "active", "paused", "finished" } }, note = text,
  time_zone = text, next_nominal_time = number, next_fire_time = number, next_local = text,
  last_nominal_time = number, last_fire_time = number, last_result = text, last_end = number, running = count,
  buffered = count, failures = count, created = number, lag = number, fired = count, caught_up = count,
  triggered = count, backfilled = count, skipped = count, skipped_paused = count, skipped_gap = count, missed = count,
  dropped = count, next = list({ type = "object" }), fires = list({ type = "object" }),
})
shapes.schedules = object({ "items" }, { items = list(SCHEDULE), cursor = text })
shapes.schedule = SCHEDULE
shapes.trigger = object({ "name", "state" }, { name = text, state = text, id = text })
shapes.backfill = object({ "name", "started", "buffered", "skipped", "already_fired" }, {
  name = text, started = count, buffered = count, skipped = count, failed = count, already_fired = count,
})

local FINDING = object({ "what" }, { what = text, mend = text, repair = text, id = text, root = text })
shapes.check = object({ "ok", "path", "found" }, {
  ok = flag, path = text, found = list(FINDING), left = list(FINDING), backup = text,
  mended = list(object({ "what", "rows" }, { what = text, rows = count })),
})
shapes.backup = object({ "path", "bytes" }, { path = text, bytes = count })
shapes.stats = object({ "path", "bytes", "stages", "queues", "workers" }, {
  path = text, bytes = count, free = count, log_bytes = count, stages = count, workers = count, durability = text,
  growth = object({ "days", "pipelines_last_day", "pipelines_last_days" }, {
    days = list(object({ "since", "done", "aborted" }, { since = number, done = count, aborted = count })), more = flag,
    pipelines_last_day = count, pipelines_last_days = count, bytes_last_day = count,
  }),
  overdue_schedules = count, queues = list({ type = "object" }), due = list({ type = "object" }),
  tables = list(object({ "name", "bytes", "index_bytes", "unused" }, {
    name = text, bytes = count, index_bytes = count, unused = count,
  })),
})

return shapes
