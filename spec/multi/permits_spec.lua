--- permits_spec.lua: a limit of concurrency over several processes that claim ahead of it: Q52.
--
-- Tasks write when they begin and end into one file, each line with one append; so its order is that of the events.

local pace = require "spec.support.pace"
local support = require "spec.multi.support"
local deferred = require "pipeline.deferred"
local check = require "spec.crash.check"
local taskqueue = require "pipeline.taskqueue"
local classes = require "spec.multi.classes"

local Queue = taskqueue.Queue

describe("a limit over several processes that claim ahead", function()
  local scene

  before_each(function()
    scene = support.scene { lease_seconds = 5 }
    classes.log, classes.pid = assert(io.open(scene.log, "a")), 0
  end)
  after_each(function()
    classes.log:close()
    classes.log = io.stderr
    scene:close()
  end)

  local function configure(limit, more)
    local settings = { max_concurrent_requests = limit }
    for key, value in pairs(more or {}) do settings[key] = value end
    taskqueue.configure { narrow = settings }
  end

  local function add(prefix, count)
    local core = scene.engine._core
    for from = 1, count, 1000 do
      local list = {}
      for i = from, math.min(count, from + 999) do
        list[#list + 1] = { id = core:new_id(), kind = "deferred", queue = "narrow",
          payload = deferred.serialize("spec.limited", prefix .. i) }
      end
      assert(core:task_add(list))
    end
  end

  local function spawn(every, concurrency)
    return scene:spawn("limited", { lease_seconds = 5, concurrency = concurrency or 64 }, every or 1000000)
  end

  local function count(verb, pid) return #scene:read(verb, pid) end

  local function claimed_ahead()
    return tonumber(check.sql(scene.path, "SELECT count(*) FROM pl_permit WHERE permits > 0;")[1]) > 0
  end

  local function ends(n)
    return support.eventually(60, function() return count("end") >= n end)
  end

  -- What the file says was being executed at once, more than allowed. A process counts no more once it is being killed;
  -- a limit that was lowered counts for what begins half a second later.
  local function exceeded()
    local running, dead, limits, found, most = {}, {}, {}, {}, 0
    local function total()
      local sum = 0
      for _, n in pairs(running) do sum = sum + n end
      return sum
    end
    for line in io.lines(scene.log) do
      local verb, pid, what, at = line:match("^(%a+)|(%d+)|([^|]*)|?(.*)$")
      at = tonumber(at)
      if verb == "limit" then
        limits[#limits + 1] = { value = tonumber(what), at = at }
      elseif verb == "killing" then
        dead[what], running[what] = true, nil
      elseif (verb == "begin" or verb == "end") and not dead[pid] then
        running[pid] = (running[pid] or 0) + (verb == "begin" and 1 or -1)
        local allowed = limits[#limits].value
        for i = #limits - 1, 1, -1 do
          if limits[i + 1].at < at - 0.5 then break end
          allowed = math.max(allowed, limits[i].value)
        end
        most = math.max(most, total())
        if verb == "begin" and total() > allowed then
          found[#found + 1] = ("%d at once, more than %d: %s"):format(total(), allowed, line)
        end
      end
    end
    return found, most
  end

  local function set_limit(limit)
    classes.note("limit", limit, classes.now()) -- before it may count when it grows; for what is lowered see above
    configure(limit)
  end

  it("Q52 is never exceeded while processes are killed and the limit changes, and all is executed", function()
    local seed = os.time()
    math.randomseed(seed)
    print("permits_spec: seed " .. seed)
    set_limit(6)
    local pids, rounds, each, ahead = {}, 3, 2000, 0
    for i = 1, 4 do pids[i] = spawn(40) end
    local function left() return Queue("narrow"):fetch_statistics().tasks end
    local function disturb()
      local what = math.random(4)
      if what == 1 then
        local i = math.random(#pids)
        classes.note("killing", pids[i], classes.now())
        scene.group:kill(pids[i])
        pids[i] = spawn(40)
      elseif what == 2 then
        set_limit(math.random(9))
      end
      assert(Queue("narrow"):fetch_statistics().in_flight <= 9)
      return left() == 0
    end
    for round = 1, rounds do
      add(("task%d-"):format(round), each)
      assert(support.eventually(20, function()
        local is_ahead = claimed_ahead()
        ahead = ahead + (is_ahead and 1 or 0)
        return is_ahead or left() == 0
      end))
      assert(support.eventually(60, disturb), "tasks are left; seed " .. seed)
    end
    local found, most = exceeded()
    assert.same({}, found, "seed " .. seed)
    assert.is_true(most >= 3, "at once: " .. most)
    assert.is_true(ahead > 0, "nobody claimed ahead; seed " .. seed)
    local done = {}
    for _, words in ipairs(scene:read("end")) do done[words[2]] = true end
    for i = 1, rounds * each do
      local name = ("task%d-%d"):format((i - 1) // each + 1, (i - 1) % each + 1)
      assert(done[name], name .. " was lost; seed " .. seed)
    end
    assert.equal(0, #Queue("narrow"):dead_tasks())
  end)

  it("Q52 leaves a process that comes later its share", function()
    set_limit(8)
    add("task", 2000)
    add("slow", 250)
    local first = spawn()
    assert(support.eventually(30, function() return count("end", first) >= 2016 end), scene:printed())
    local second = spawn()
    local came = count("begin")
    assert(support.eventually(5, function() return count("begin", second) > 0 end), "it gets nothing")
    assert(ends(2250), scene:printed())
    assert.same({}, (exceeded()))
    local share = count("begin", second) / (2250 - came)
    assert.is_true(share > 0.3, ("the second process got %.2f of what was left"):format(share))
  end)

  it("Q52 lets processes take turns where it is less than they are", function()
    set_limit(1)
    add("slow", 30)
    local first = spawn()
    assert(support.eventually(10, function() return count("end", first) >= 2 end), scene:printed())
    local second = spawn()
    assert(ends(30), scene:printed())
    assert.same({}, (exceeded()))
    assert.is_true(count("begin", second) >= 6, count("begin", second))
  end)

  for title, act in pairs {
    ["a pause"] = function() Queue("narrow"):pause() end,
    ["a purge"] = function() Queue("narrow"):purge() end,
    ["a rate of none"] = function() configure(4, { rate = "0" }) end,
  } do
    it("is not in the way of " .. title .. ", which reaches what is claimed ahead", function()
      set_limit(4)
      add("task", 3000)
      add("slow", 120)
      local pid = spawn()
      assert(support.eventually(30, function() return count("end", pid) >= 3004 end), scene:printed())
      local stats = Queue("narrow"):fetch_statistics()
      assert.equal(4, stats.in_flight)
      assert.is_true(stats.tasks > 60, stats.tasks)
      assert.is_true(claimed_ahead())
      act()
      local before = count("begin")
      support.sleep(0.3)
      local begun = count("begin")
      support.sleep(0.5)
      assert.equal(begun, count("begin"))
      assert.is_true(begun < 3120 and begun <= before + 8, ("%d, then %d"):format(before, begun))
      assert.equal(0, Queue("narrow"):fetch_statistics().in_flight)
      if title ~= "a purge" then
        configure(4, { paused = false })
        assert(ends(3120), scene:printed())
      end
    end)
  end

  it("counts no loss for what had not been started when its worker died, and a second death does", function()
    local slow = pace > 10 and 320 or 80 -- who looks may be slow, and those that are looked at are not
    set_limit(4)
    add("task", 3000)
    add("slow", slow)
    local first = spawn()
    assert(support.eventually(30, function() return count("end", first) >= 3004 end), scene:printed())
    assert.is_true(claimed_ahead())
    scene.group:kill(first)
    classes.note("killing", first, classes.now())
    local second = spawn()
    assert(support.eventually(20, function() return count("begin", second) >= 8 end), scene:printed())
    local losses = check.sql(scene.path, "SELECT max(losses) FROM pl_task;")
    assert.equal("0", losses[1])
    assert.is_false(claimed_ahead())
    Queue("narrow"):pause()
    scene.group:kill(second)
    classes.note("killing", second, classes.now())
    spawn()
    local lost
    assert(support.eventually(20, function()
      lost = tonumber(check.sql(scene.path, "SELECT count(*) FROM pl_task WHERE losses = 1;")[1])
      return lost > 0
    end))
    assert.is_true(lost <= 4, lost)
    Queue("narrow"):resume()
    assert(ends(3000 + slow), scene:printed())
    assert.same({}, (exceeded()))
    assert.equal(0, #Queue("narrow"):dead_tasks())
  end)

  it("lets a queue be emptied, and gives the permits up with it", function()
    set_limit(4)
    add("task", 3000)
    spawn(50)
    spawn(50)
    assert(ends(3000), scene:printed())
    assert(support.eventually(5, function()
      return check.sql(scene.path, "SELECT count(*) FROM pl_permit;")[1] == "0"
    end))
    assert.same({}, (exceeded()))
  end)
end)
