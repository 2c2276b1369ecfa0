-- processes_spec.lua: transactions and other processes on the file: those that wait, and those that die.

local check = require "spec.crash.check"
local classes = require "spec.multi.classes"
local support = require "spec.multi.support"
local taskqueue = require "pipeline.taskqueue"

describe("transactions of several processes", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  local function go()
    assert(io.open(scene.path .. ".go", "w")):close()
  end

  local function column(sql)
    return check.sql(scene.path, sql)
  end

  it("SIGKILL in the middle: rows, tasks and pipelines agree", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    math.randomseed(seed)
    taskqueue.configure { rows = { mode = "pull" } }
    local acknowledged = {}
    for round = 1, 8 do
      local pid = scene:spawn("start_rows", {}, round * 100000)
      support.sleep(math.random() * 0.15)
      scene.group:kill(pid)
      for _, words in ipairs(scene:read("row", pid)) do acknowledged[words[2]] = true end
      local has_table = column("SELECT count(*) FROM sqlite_schema WHERE name = 'row'")[1] == "1"
      local rows = has_table and column("SELECT n FROM row ORDER BY n") or {}
      local of_round = (" (seed %d, round %d)"):format(seed, round)
      assert.same(rows, column("SELECT substr(name, 2) FROM pl_task WHERE kind = 5 ORDER BY 0 + substr(name, 2)"),
        of_round)
      assert.same(rows, column("SELECT substr(key, 2) FROM pl_stage ORDER BY 0 + substr(key, 2)"), of_round)
      assert.equal(tostring(#rows), column("SELECT count(*) FROM pl_task_detail")[1], of_round)
      local found = {}
      for _, n in ipairs(rows) do
        found[n] = true
        assert(tonumber(n) % 2 == 1, "one that was given up is there" .. of_round)
      end
      for n in pairs(acknowledged) do assert(found[n], n .. " was acknowledged and is not there" .. of_round) end
    end
    assert.equal("", scene:printed())
  end)

  it("one transaction after the other does not starve others", function()
    local greedy = scene:spawn("start_greedy", {}, 6, 0.1)
    scene:wait_line("let_go", greedy)
    local before = support.now()
    for i = 1, 5 do taskqueue.add { url = "/", countdown = 1000, name = "t" .. i } end
    local took = support.now() - before
    assert(took < 3, ("5 tasks took %.1f s"):format(took))
    scene.group:kill(greedy)
  end)

  for _, ending in ipairs { "ends", "is killed" } do
    it("nobody is lost, and nobody is taken for dead, until one that holds the file for long " .. ending, function()
      local victim = scene:spawn("work", { lease_seconds = 1 })
      local holder = scene:spawn("start_hold", { lease_seconds = 1 }, ending == "ends" and 2.5 or 60)
      scene:set_hold(true)
      local stage = classes.Hold(scene.hold, 5):start()
      scene:wait_line("begin", victim)
      local other = scene:spawn("work", { lease_seconds = 1 })
      go()
      scene:wait_line("held", holder)
      local waits = support.now()
      if ending == "is killed" then
        support.sleep(2.5)
        scene.group:kill(holder)
      end
      local added = taskqueue.add { url = "/", countdown = 1000, name = "waited" } -- waits
      local where = classes.Where():start()
      assert(support.now() - waits > 1.5, "the file was not held")
      assert.is_true(added.was_enqueued)
      scene.engine:wait(where, { timeout = 10 })
      support.sleep(1.2) -- whoever took the victim for dead would run its task now
      assert.equal(victim, scene.engine:wait(stage, { timeout = 10 }).default.value)
      assert.equal(1, (scene:begun(stage.id)))
      assert.same({}, scene:logged(30, victim))
      assert.same({}, scene:logged(40, other))
      assert.equal(ending == "ends" and "1" or "0", column("SELECT count(*) FROM sqlite_schema WHERE name = 'held'")[1])
      assert.equal("", scene:printed())
    end)
  end
end)
