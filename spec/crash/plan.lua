--- plan.lua: what is started in a crash run, and what must come of it. Everything follows from the seed, so that the
-- workers that start a root and the driver that checks it need not talk to each other.

local plan = {}

--- Of the workers; a stopped one is given up after that.
plan.LEASE_SECONDS = 1.5

--- How long names stay taken in a round; nil: longer than it lasts.
function plan.tombstone(seed)
  return seed % 2 == 0 and 0.2 or nil
end

local function sum_to(n)
  return n * (n + 1) // 2
end

local function tree_stages(depth, width)
  if depth == 0 then return 1 end
  return 2 + width * tree_stages(depth - 1, width)
end

local function flow_arguments(random, key) return { key, random(2, 5) } end

local function of_flow(_, n)
  local list = {}
  for i = 1, n do list[i] = i end
  return table.concat(list, " "), n + 1
end

local function saga_arguments(random, key) return { key, random(1, 6) } end

local function of_saga(_, n)
  if n % 2 == 0 then return "aborted" end
  return n, 1
end

-- Each kind: arguments made from a random function; the value and the number of stages of a tree that is done.
local kinds = {
  { "Fan", function(random) return { random(1, 40) } end, function(n) return sum_to(n), n + 2 end },
  { "Fan", function(random) return { random(100, 200) } end, function(n) return sum_to(n), n + 2 end },
  { "Tree", function(random) return { random(1, 3), random(1, 3) } end,
    function(depth, width) return width ^ depth // 1 | 0, tree_stages(depth, width) end },
  { "Order", function(random, key) return { key, random(2, 6) } end, function(_, n) return n + 1, n + 2 end },
  { "Flakies", function(random) return { random(1, 5) } end, function(n) return sum_to(n), n + 2 end },
  { "Asyncs", function(random) return { random(1, 6) } end, function(n) return 3 * sum_to(n), n + 2 end },
  { "Doomed", function(random) return { random(3, 9) } end, function() return "aborted" end },
  { "Hopeless", function() return {} end, function() return "aborted" end },
  { "Booker", function(random, key) return { key, random(1, 5) } end, function(_, n) return n, 1 end },
  { "Flow", flow_arguments, of_flow }, { "Flow", flow_arguments, of_flow }, { "Flow", flow_arguments, of_flow },
  { "Saga", saga_arguments, of_saga }, { "Saga", saga_arguments, of_saga },
  { "Starter", function(random, key) return { key, random(1, 3) } end, function(_, n) return n, 1 end },
}

-- A small generator of its own: the same in every process, whatever else uses math.random.
local function generator(seed)
  local state = seed & 0x7fffffff
  return function(low, high)
    state = (state * 1103515245 + 12345) & 0x7fffffff
    return low + (state >> 8) % (high - low + 1)
  end
end

--- The roots of batch `number`: list of { key, class, args, may_abort }.
function plan.batch(seed, number)
  local random = generator(seed * 7919 + number * 104729)
  for _ = 1, 3 do random(0, 1) end
  local list = {}
  for i = 1, random(2, 6) do
    local kind = kinds[random(1, #kinds)]
    local key = ("k%d-%d"):format(number, i)
    list[i] = { key = key, class = kind[1], args = kind[2](random, key), kind = kind, may_abort = random(1, 8) == 1 }
  end
  return list
end

-- ---- tasks of queues -------------------------------------------------------------------------------------------

-- Where tasks go, and who executes them there.
local places = {
  { "work", { "local", "remote", "defer" } },
  { "work", { "local", "remote", "defer" } },
  { "strict", { "local", "remote", "defer" } },
  { "narrow", { "remote", "remote", "defer" } },
  { "rated", { "local", "remote", "defer" } },
  { "scrap", { "local", "remote", "defer" } },
  { "pull", { "pull", "pull", "pull" } },
}

local behaviours = { "ok", "ok", "slow", "slow", "flaky", "large", "hopeless" }
local tags = { "a", "b" }

local function size_of(random, kind)
  return kind == "defer" and random(2, 10) == 2 and random(110000, 1500000) or random(1100, 60000)
end

-- Some names are of one addition in each process, some come again and again.
local function name_of(random, item, number, i)
  if item.behaviour == "hopeless" or item.behaviour == "long" or item.queue == "scrap" then return nil end
  local chance = random(1, 5)
  if chance <= 2 then return ("n%d-%d"):format(number, i) end
  return chance == 3 and ("pool-%d"):format(random(1, 3)) or nil
end

--- The tasks of batch `number`: list of { key, queue, kind, behaviour, name, countdown, size, tag }. All processes add
-- all of them, each with a key of its own.
function plan.tasks(seed, number)
  local random = generator(seed * 6007 + number * 15485863 + 1)
  for _ = 1, 3 do random(0, 1) end
  local list = {}
  for i = 1, random(10, 50) do
    local place = places[random(1, #places)]
    local item = { key = ("t%d-%d"):format(number, i), queue = place[1], kind = place[2][random(1, 3)],
      behaviour = behaviours[random(1, #behaviours)] }
    if item.kind == "pull" and item.behaviour == "flaky" then item.behaviour = "ok" end
    if item.queue == "work" and random(1, 3) == 1 then item.behaviour = "long" end
    item.name, item.tag = name_of(random, item, number, i), item.kind == "pull" and tags[random(1, 3)] or nil
    item.countdown = random(1, 3) == 1 and random(1, 30) / 1000 or nil
    item.size = size_of(random, item.kind)
    list[i] = item
  end
  return list
end

--- The orders of batch `number`: list of { key, items, fails, later }. With `later` all processes defer the same one.
function plan.orders(seed, number)
  local random = generator(seed * 4001 + number * 32452843 + 2)
  for _ = 1, 3 do random(0, 1) end
  local list = {}
  for i = 1, random(1, 5) do
    list[i] = { key = ("o%d_%d"):format(number, i), items = random(1, 5), fails = random(1, 4) == 1,
      later = random(1, 3) == 1 }
  end
  return list
end

--- How item i of an order is executed.
function plan.kind_of_item(i)
  return ({ "local", "defer", "remote" })[i % 3 + 1]
end

--- The tasks that the attempt of a Booker adds: list of keys, and their kinds.
function plan.booked(key, n, attempt)
  local kinds_of_tasks, list = { "local", "defer", "pull", "remote" }, {}
  for i = 1, n do
    list[i] = { key = ("%s+%d+%d"):format(key, i, attempt), kind = kinds_of_tasks[i % 4 + 1], behaviour = "ok" }
    list[i].queue = list[i].kind == "pull" and "pull" or "work"
  end
  return list
end

--- The attempt of a Booker that succeeds.
function plan.booked_attempt(n)
  return n % 2 == 0 and 2 or 1
end

-- ---- schedules -------------------------------------------------------------------------------------------------

--- Begins the queue, as the log has it, of fires of which only one may be executed at a time.
plan.ALONE = "alone-"

--- The key of the work of a fire, for a nominal time in seconds.
function plan.fire_key(name, nominal)
  return ("s:%s:%.15g"):format(name, nominal)
end

--- Whatever a clock that jumps makes of a time, it is not too old to be made up for.
plan.EVER = 60 * 86400

--- Zones, and times at which their clocks change: where clocks jump they jump around one of these.
plan.changes = {
  { zone = "Europe/Berlin", at = 1806195600 }, -- 2027-03-28, a gap of an hour at 02:00
  { zone = "Europe/Berlin", at = 1824944400 }, -- 2027-10-31, 02:00 comes twice
  { zone = "America/New_York", at = 1805007600 }, -- 2027-03-14, a gap
  { zone = "America/New_York", at = 1825567200 }, -- 2027-11-07, twice
  { zone = "Australia/Lord_Howe", at = 1806764400 }, -- 2027-04-03, half an hour twice
  { zone = "Antarctica/Troll", at = 1806195600 }, -- 2027-03-28, a gap of two hours
}

--- The change of a round.
function plan.change(seed)
  return plan.changes[seed % #plan.changes + 1]
end

--- The schedules of a version of the run, which started at `start`: name -> { spec, kind, behaviour }. What clocks that
-- jump make miss is bounded.
function plan.schedules(seed, version, start)
  local zone = plan.change(seed).zone
  local function all(limit) return { policy = "all", window = plan.EVER, limit = limit } end
  local last = { policy = "last", window = plan.EVER }
  local gaps, folds = { "next", "shift", "skip" }, { "first", "last", "both" }
  local found = {
    tick = { kind = "start", behaviour = "ok",
      spec = { every = 1, anchor = 0, overlap = "allow_all", catch_up = all(4) } },
    buffered = { kind = "call", behaviour = "slow",
      spec = { every = 1, anchor = 0.5, overlap = "buffer_all", catch_up = all(3) } },
    skipping = { kind = "task", behaviour = "slow",
      spec = { every = 1, anchor = 0.25, overlap = "skip", catch_up = last } },
    wall = { kind = "start", behaviour = "slow",
      spec = { cron = "*/2 * 0-23 * * *", time_zone = zone, overlap = "buffer_one", catch_up = last,
        dst = { gap = gaps[seed % 3 + 1], fold = folds[seed // 3 % 3 + 1] } } },
    elapsed = { kind = "call", behaviour = "ok",
      spec = { cron = "* * * * * *", time_zone = zone, overlap = "skip", catch_up = { policy = "none" } } },
    cancelling = { kind = "start", behaviour = "long",
      spec = { every = 2, anchor = 0, overlap = "cancel_other", catch_up = last } },
    ending = { kind = "task", behaviour = "long",
      spec = { every = 2, anchor = 0.75, overlap = "terminate_other", catch_up = last } },
    spread = { kind = "start", behaviour = "ok",
      spec = { every = 3, anchor = 0, jitter = 2, overlap = "allow_all", catch_up = all(2) } },
    failing = { kind = "start", behaviour = "bad",
      spec = { every = 1, anchor = 0, overlap = "skip", catch_up = last, pause_on_failure = 2 } },
    limited = { kind = "call", behaviour = "ok",
      spec = { every = 1, anchor = 0, overlap = "allow_all", catch_up = last, max_fires = 5 } },
    once = { kind = "task", behaviour = "ok", spec = { at = start + 1, catch_up = last } },
  }
  if version % 3 > 0 then -- it comes and goes
    found.sometimes = { kind = "start", behaviour = "ok",
      spec = { every = version % 2 + 1, anchor = 0, overlap = "allow_all", catch_up = all(2) } }
  end
  return found
end

-- ---- what must come of it --------------------------------------------------------------------------------------

--- What must come of a root: its value, or "aborted", and the number of stages of its tree if it is done.
function plan.expected(item)
  return item.kind[3](table.unpack(item.args))
end

--- What must come of a root that a Starter started, by its key k<batch>-<i>-<n>.
function plan.expected_of_started(n)
  return sum_to(n), n + 2
end

return plan
