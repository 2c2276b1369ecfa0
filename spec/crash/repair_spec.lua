-- Damage of every kind that a check names: it is mended, nothing sound is lost, and what was to be done is done.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local taskqueue = require "pipeline.taskqueue"
local check = require "spec.crash.check"
local helper = require "spec.support.helper"

local ran = {}
deferred.register("repair.call", function(name) ran[name] = (ran[name] or 0) + 1 end)

describe("a repair", function()
  local engine, path, ids

  local Leaf = pipeline.define("repair.Leaf", { run = function(_, value) return value end })
  local Async = pipeline.define("repair.Async", {
    async = true,
    run = function(self) self:get_callback_task({ name = "answer", countdown = 100 }):add() end,
    callback = function(self) self:complete(20) end,
  })
  local Add = pipeline.define("repair.Add", { run = function(_, a, b) return a + b end })
  local Tree = pipeline.define("repair.Tree", {
    run = function(self)
      local answer, leaf = self:spawn(Async()), self:spawn(Leaf(1))
      self:spawn(Leaf(leaf))
      return self:spawn(Add(answer, leaf))
    end,
  })

  local function sql(text)
    return check.sql(path, "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; " .. text .. ";")
  end

  before_each(function()
    ran, path = {}, helper.path()
    engine = helper.open { path = path }
    ids = { done = Leaf(7):start().id, tree = Tree():start().id }
    engine:drain()
    Leaf(("long"):rep(1000)):start { countdown = 60 }
    ids.late = Leaf(2):start { countdown = 50 }.id
    deferred.with { countdown = 70, name = "named" } ("repair.call", "named")
    deferred.with { countdown = 70 } ("repair.call", "long", ("x"):rep(5000))
    deferred.with { name = "dead" } ("repair.missing")
    engine:drain()
    engine:close()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function found_in(list, title)
    for _, line in ipairs(list) do
      if line:sub(1, #title) == title then return true end
    end
    return false
  end

  -- Damages the file, repairs it, and looks at it from inside and outside.
  local function repaired(text, title)
    sql(text)
    local looks = helper.open { path = path, no_worker = true }
    assert.is_true(found_in(looks:check(), title), table.concat(looks:check(), "\n"))
    local dry = looks:repair { dry_run = true }
    assert.same({ dry.found, {} }, { dry.left, dry.mended })
    local copy = path .. ".copy"
    local answer = looks:repair { backup = copy }
    assert.same({}, answer.left)
    assert.equal(copy, answer.backup)
    local before = check.sql(copy, "SELECT count(*) FROM pl_stage;")[1]
    assert.is_true(tonumber(before) >= 1)
    assert.same({}, looks:check())
    looks:close()
    os.remove(copy)
    assert.same({}, (check.file(path)))
  end

  -- Everything that can still be done is done; returns the states of what the spec has started.
  local function ended()
    engine = helper.open { path = path }
    engine:drain { delayed = true }
    local states = {}
    for name, id in pairs(ids) do
      local ok, entry = pcall(engine.stage, engine, id)
      states[name] = ok and entry.state or "gone"
    end
    local value = states.tree == "done" and engine:stage(ids.tree).outputs[1].value or nil
    local open = engine:list { state = "waiting,delayed,ready,executing,open,finalizing,aborting" }
    engine:close()
    assert.same({}, open.items)
    assert.same({}, (check.file(path, { finished = true })))
    return states, value
  end

  local WHOLE = { done = "done", late = "done", tree = "done" }

  -- Nothing of it is lost: all of it runs to its end.
  local harmless = {
    { "UPDATE pl_task SET state = 2, owner = 77 WHERE kind = 3", "a claim of a worker that is gone" },
    { "UPDATE pl_task SET kind = 1 WHERE kind = 0", "a task that does not fit the state of its stage" },
    { "UPDATE pl_stage SET attempt = 1 WHERE state = 1; DELETE FROM pl_task WHERE kind = 0",
      "a stage without its task" },
    { "UPDATE pl_stage SET missing = 2 WHERE state = 0", "a stage that does not wait for as many inputs as it says" },
    { "UPDATE pl_stage SET waiter = NULL WHERE waiter > 0; DELETE FROM pl_wait WHERE kind = 0",
      "a stage that does not wait for as many inputs as it says" },
    { "UPDATE pl_stage SET open = open + 1 WHERE state = 2",
      "a stage that does not wait for as many children and outputs as it says" },
    { "DELETE FROM pl_wait WHERE kind = 1", "a stage that does not wait for as many children and outputs as it says" },
    { "INSERT INTO pl_wait SELECT id, id, 0 FROM pl_stage WHERE state = 2 AND parent IS NOT NULL",
      "a stage that has begun but still waits for an input" },
    { "INSERT INTO pl_wait SELECT d.id, s.id, 0 FROM pl_stage AS d, pl_stage AS s WHERE d.state = 4 AND d.parent IS "
      .. "NULL AND s.state = 0; UPDATE pl_stage SET waiter = -1 WHERE id IN (SELECT slot FROM pl_wait); "
      .. "UPDATE pl_stage SET missing = missing + 1 WHERE state = 0", "a wait for a value that is there" },
    { "INSERT INTO pl_wait VALUES (5, 6, 0)", "a wait without its stage" },
    { "UPDATE pl_stage SET waiter = NULL WHERE id IN (SELECT slot FROM pl_wait)",
      "a wait that the stage it waits for does not know" },
    { "DELETE FROM pl_task_name WHERE name = 'named'", "a task whose name is not taken" },
    { "INSERT INTO pl_task_name (queue, name, task) VALUES (1, 'nobody', 5)", "a name taken by no task" },
    { "INSERT INTO pl_task_detail (task) VALUES (5)", "a body of no task" },
    { "INSERT INTO pl_journal_large (stage, seq, value) VALUES (5, 1, x'01')", "a long value of no entry" },
    { "INSERT INTO pl_dead (task, time) VALUES (5, 1)", "an error of no dead task" },
    { "DELETE FROM pl_dead", "a dead task without its error" },
    { "UPDATE pl_task SET queue = 77", "a task of no queue" },
    { "UPDATE pl_stage SET result = x'01' WHERE state = 1", "a value of a stage that is not done" },
    { "UPDATE pl_slot SET filler = 5; INSERT INTO pl_slot SELECT max(id) + 1, 5, 1, x'01' FROM pl_stage",
      "a value without the stage that filled it" },
    { "INSERT INTO pl_task (id, kind, state, queue, priority, eta) VALUES (5, 0, 0, 1, 0, 1)",
      "a task without its stage" },
    { "INSERT INTO pl_status (stage, time) VALUES (5, 1)", "a row without the one it belongs to" },
    { "INSERT INTO pl_failure (stage, time, attempt) VALUES (5, 1, 1)", "a row without the one it belongs to" },
    { "INSERT INTO pl_fallback (stage, value) VALUES (5, x'01')", "a fallback of no stage" },
    { "INSERT INTO pl_value (stage, name, time) VALUES (5, '', 1)", "a trace of no root" },
  }
  for _, case in ipairs(harmless) do
    it("C9 loses nothing: " .. case[2] .. ": " .. case[1], function()
      repaired(case[1], case[2])
      local states, value = ended()
      assert.same({ WHOLE, 21 }, { states, value })
      assert.same({ named = 1, long = 1 }, ran)
    end)
  end

  it("C9 aborts what cannot be done any more, and nothing beside it", function()
    repaired("UPDATE pl_stage SET args = NULL WHERE state = 1 AND key IS NULL AND parent IS NULL AND id = (SELECT "
      .. "max(id) FROM pl_stage WHERE state = 1)", "a stage whose arguments are missing")
    assert.same({ done = "done", late = "aborted", tree = "done" }, (ended()))
  end)

  it("C9 ends an abort that has stopped half-way", function()
    repaired("UPDATE pl_stage SET abort_requested = 1 WHERE state = 2 AND parent IS NULL",
      "a tree to be aborted with a stage that goes on")
    assert.equal("aborted", (ended()).tree)
  end)

  it("C9 aborts what is left of a tree that has lost its root, with that as the reason", function()
    ids.child = nil
    engine = helper.open { path = path, no_worker = true }
    for _, entry in ipairs(engine:tree(ids.tree).items) do
      if entry.parent and entry.state == "open" then ids.child = entry.id end
    end
    engine:close()
    repaired("DELETE FROM pl_stage WHERE state = 2 AND parent IS NULL", "a stage whose parent is not in its tree")
    local states = ended()
    assert.same({ "gone", "aborted", "done" }, { states.tree, states.child, states.late })
    engine = helper.open { path = path, no_worker = true }
    assert.matches("its pipeline was lost", engine:stage(ids.child).reason)
    engine:close()
  end)

  it("C9 puts a task whose body is lost among the dead, with a reason", function()
    repaired("DELETE FROM pl_task_detail", "a task whose body is missing")
    assert.same(WHOLE, (ended()))
    assert.same({ named = 1 }, ran)
    engine = helper.open { path = path }
    local texts = {}
    for _, task in ipairs(engine:tasks { queue = "default", state = "dead" }.items) do
      texts[#texts + 1] = task.message
    end
    assert.truthy(table.concat(texts, "\n"):find("what it was to do is lost", 1, true))
    engine:close()
  end)

  it("C9 makes a damaged index anew", function()
    sql("PRAGMA wal_checkpoint(TRUNCATE)")
    sql("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '(queue, id)', '(queue, eta)') WHERE "
      .. "name = 'pl_task_dead'")
    taskqueue.Queue("default") -- nothing but a name
    sql("INSERT INTO pl_task (id, kind, state, queue, priority, eta) VALUES (9, 4, 4, 1, 0, 77); "
      .. "INSERT INTO pl_dead (task, time) VALUES (9, 1)")
    sql("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '(queue, eta)', '(queue, id)') WHERE "
      .. "name = 'pl_task_dead'")
    repaired("SELECT 1", "damage")
    assert.same(WHOLE, (ended()))
  end)

  it("C9 refuses while anybody works on the file, and without a copy; then nothing is changed", function()
    sql("INSERT INTO pl_dead (task, time) VALUES (5, 1)")
    engine = helper.open { path = path }
    local ok, problem = pcall(engine.repair, engine, { backup = path .. ".copy" })
    assert.is_false(ok)
    assert.matches("this engine executes tasks", tostring(problem))
    local other = helper.open { path = path, no_worker = true }
    ok, problem = pcall(other.repair, other, { backup = path .. ".copy" })
    assert.is_false(ok)
    assert.matches("is at work on the store", tostring(problem))
    engine:close()
    assert.is_false((pcall(other.repair, other, {})))
    assert.is_false((pcall(other.repair, other, { backup = path .. ".no/copy" })))
    assert.equal(1, #other:check())
    other:close()
  end)
end)
