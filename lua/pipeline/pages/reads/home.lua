--- home.lua: what the first page shows: what needs a person, then how the store is getting on.

local json = require "pipeline.http.json"
local schedules = require "pipeline.schedules"

local home = {}

local HOUR, DAY = 3600, 86400
local FEW, OPEN_MAX, ABORTED_MAX, RECENT_MAX, COUNTED_MAX = 8, 20, 50, 300, 10000

local TEXT_MAX = 500 -- bytes of a text of others in a list: one long message would be the end of the whole page
local LONG = { "message", "reason", "last_error", "held", "suspended" }

--- The beginning of a text: at most so many bytes.
function home.beginning(value, bytes)
  if #value <= bytes then return value end
  return value:sub(1, bytes):gsub("[\xC0-\xFF][\x80-\xBF]*$", "") .. "\u{2026}"
end

--- Cuts the long texts of the entries of a list, as an array for JSON; GET stage has them whole.
function home.short(items)
  for _, entry in ipairs(items) do
    for _, name in ipairs(LONG) do
      local value = entry[name]
      if value then entry[name] = home.beginning(value, TEXT_MAX) end
    end
  end
  return json.array(items)
end

--- A schedule as the pages show it.
function home.schedule(schedule)
  local told = schedule:status()
  told.name = told.name or schedule.name
  return told
end

-- What a reader says, or nothing where the store cannot be read for it.
local function try(fn, ...)
  local ok, value = pcall(fn, ...)
  if ok then return value end
end

-- Roots that go on when somebody outside completes something.
local function waiting_for_somebody(engine)
  local page = try(engine.list, engine, { state = "open", limit = OPEN_MAX })
  local items = json.array {}
  for _, entry in ipairs(page and page.items or {}) do
    local waits = entry.outputs_open and entry.outputs_open > 0
    for _, reason in ipairs(not waits and try(engine.why, engine, entry.id) or {}) do
      waits = waits or reason.code == "callback" or reason.cause == "callback"
    end
    if waits and #items < FEW then items[#items + 1] = entry end
  end
  return { items = home.short(items) }
end

-- Durable functions that go no further until somebody lets them.
local function held(engine)
  local found = try(engine.list_held, engine, { limit = FEW }) or { items = {}, count = 0 }
  return { items = home.short(found.items), count = found.count, more = found.more }
end

-- Roots that were aborted in the last day, whenever they were started: the last ones, and how many.
local function failed(engine, now)
  local page = try(engine.list, engine, { state = "aborted", limit = ABORTED_MAX })
  local items = json.array {}
  for _, entry in ipairs(page and page.items or {}) do
    if entry.ended and entry.ended >= now - DAY then items[#items + 1] = entry end
  end
  table.sort(items, function(a, b) return a.ended > b.ended end)
  local found = try(engine.count_over, engine, { since = now - DAY, limit = COUNTED_MAX })
  local count = math.max(found and found.aborted or 0, #items)
  for i = FEW + 1, #items do items[i] = nil end
  return { items = home.short(items), count = count, more = count >= COUNTED_MAX or nil }
end

--- Keeps the workers that are lost from now on, the last first: the store forgets them as soon as somebody else has
-- what they had. Returns the list.
function home.watch(engine)
  local lost = {}
  engine:on("worker_lost", function(event)
    table.insert(lost, 1, { number = event.number, pid = event.pid, time = event.time })
    lost[FEW + 1] = nil
  end)
  return lost
end

local function lost_lately(site, now)
  local items = json.array {}
  for _, worker in ipairs(site.lost) do
    if worker.time >= now - DAY then items[#items + 1] = worker end
  end
  return items
end

local function schedules_in_short()
  local list, next_up, paused = try(schedules.list) or {}, json.array {}, 0
  for _, schedule in ipairs(list) do
    local told = home.schedule(schedule)
    if told.state == "paused" then paused = paused + 1 end
    if told.next_fire_time then next_up[#next_up + 1] = told end
  end
  table.sort(next_up, function(a, b) return a.next_fire_time < b.next_fire_time end)
  for i = FEW + 1, #next_up do next_up[i] = nil end
  return { count = #list, paused = paused, next = next_up }
end

-- Roots that were started in the last hour, as far as they are shown.
local function recent(engine, now)
  local page = try(engine.list, engine, { since = now - HOUR, limit = RECENT_MAX })
  return home.short(page and page.items or {}), page and page.cursor ~= nil
end

--- What GET events answers: starts and ends of roots; more = true: of those that were started last.
function home.events(engine)
  local now = engine:now()
  local items = json.array {}
  local found, more = recent(engine, now)
  for _, entry in ipairs(found) do
    local function add(event, state, time, text)
      items[#items + 1] = { event = event, state = state, time = time, text = text, id = entry.id, root = entry.id,
        class = entry.class }
    end
    if entry.created then add("started", "ready", entry.created) end
    if entry.ended then
      local is_done = entry.state == "done"
      add(is_done and "done" or "aborted", entry.state, entry.ended, not is_done and entry.reason or nil)
    elseif entry.last_error then
      add("failed", "delayed", entry.started or entry.created, entry.last_error)
    end
  end
  table.sort(items, function(a, b) return a.time > b.time end)
  return { items = items, more = more or nil, now = now }
end

--- What GET home answers.
function home.show(engine, _, site)
  local now = engine:now()
  return {
    now = now,
    failed = failed(engine, now),
    held = held(engine), approvals = waiting_for_somebody(engine),
    counts = try(engine.list_counts, engine, { since = now - DAY }),
    queues = json.array(try(engine.queues, engine) or {}),
    workers = json.array(try(engine.workers, engine) or {}), lost = lost_lately(site, now),
    schedules = schedules_in_short(), rates = site.rates:read(engine, now),
  }
end

return home
