-- What is deleted at once goes in portions: others go on meanwhile, and a crash leaves nothing half done (F121).

local pace = require "spec.support.pace"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local processes = require "spec.crash.processes"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local MEMBERS, TASKS = 4500, 30000 -- a status tree has 5000 at most

local Leaf = pipeline.define("portions.Leaf", { run = function(_, i) return i end })
local Branch = pipeline.define("portions.Branch", {
  run = function(self, n) for i = 1, n do self:spawn(Leaf(i)) end end,
})
local Root = pipeline.define("portions.Root", {
  run = function(self, n) for _ = 1, n // 500 do self:spawn(Branch(499)) end end,
})

describe("deleting in portions", function()
  local engine, group, directory, output

  local function open()
    engine = helper.open { path = directory .. "/portions.db", virtual_time = false, retention = false }
  end

  before_each(function()
    directory = processes.directory()
    output = directory .. "/output"
    group = processes.group(directory)
    open()
  end)
  after_each(function()
    group:close()
    helper.finish()
    os.execute("rm -rf " .. processes.quote(directory))
  end)
  teardown(helper.clean)

  local function spawn(...) return group:spawn(output, "spec/retention/worker.lua", engine._path, ...) end

  local function printed()
    local file <close> = io.open(output)
    return file and file:read("a") or ""
  end

  local function grow(key)
    local root = Root(MEMBERS)
    root:start { idempotence_key = key }
    engine:drain()
    return root
  end

  local function count(name) return sql.number(engine, "SELECT count(*) FROM " .. name) end

  local function fill(queue)
    taskqueue.configure { bulk = { mode = "pull" } }
    for _ = 1, TASKS // 100 do
      local list = {}
      for i = 1, 100 do list[i] = taskqueue.Task { payload = "x", method = "PULL" } end
      queue:add(list)
    end
  end

  -- Does step() over and over until is_over() says so; returns how often, and the longest time it took.
  local function beside(is_over, step)
    local times, longest = 0, 0
    repeat
      local began = processes.now()
      step()
      times, longest = times + 1, math.max(longest, processes.now() - began)
      processes.sleep(0.002)
    until is_over()
    return times, longest
  end

  it("F121 a crash in the middle leaves no part of a tree that anybody finds; the next sweep ends it", function()
    local root = grow("big")
    local branch = engine._core:tree_get(root._id)[2].id
    local commits = engine._core:facts().commits
    local pid = spawn("cleanup", "big")
    assert(processes.eventually(20, function() return count("pl_deletion") == 1 end), "it did not begin")
    group:kill(pid)
    assert.is_true(count("pl_stage") > 0, "it was over before it was killed")
    assert.equal(commits, engine._core:facts().commits)
    -- nothing of it is found
    for _, id in ipairs { "big", root.id, engine:_id_text(branch) } do
      assert.is_nil(pipeline.from_id(id))
      helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, id)
    end
    assert.same({}, pipeline.get_root_list().pipelines)
    assert.same({}, pipeline.get_root_list({ class_path = "portions.Root" }).pipelines)
    local core = engine._core
    assert.equal("ENOTFOUND", select(2, core:cleanup(root._id)))
    assert.equal("ENOTFOUND", select(2, core:abort(branch, "no", false)))
    assert.equal("ENOTFOUND", select(2, core:fill(branch, { { slot = branch, value = "\1" } })))
    assert.equal("ENOTFOUND", select(2, core:status(branch, { message = "x" })))
    assert.same({}, core:failures_get(root._id))
    assert.matches("was deleted", tostring(helper.raises(pipeline.UnexpectedPipelineError, engine.wait, engine, root)),
      1, true)
    root:cleanup()
    assert.same({}, engine:check())
    -- the key is free
    Leaf(7):start { idempotence_key = "big" }
    engine:drain()
    assert.equal(7, pipeline.from_id("big").outputs.default.value)
    -- whoever opens the file goes on, whatever its retention
    engine:close()
    open()
    assert(processes.eventually(20, function() return count("pl_stage") == 1 end), "nobody went on")
    assert(processes.eventually(5, function() return count("pl_deletion") == 0 end), "it was not ended")
    assert.equal(0, count("pl_slot"))
    assert.same({}, engine:check())
  end)

  it("F121 others have their turns while a large tree is deleted", function()
    grow("big")
    local queue = taskqueue.Queue()
    spawn("cleanup", "big")
    local times, longest = beside(function() return printed():find("done") end, function()
      queue:add(taskqueue.Task { url = "/x", countdown = 1000 })
    end)
    assert.is_true(times * pace > 10, times .. " turns")
    assert.is_true(longest < 0.25 * pace, ("%.3f s"):format(longest)) -- on a busy machine; see spec/soak/retention.lua
    assert.equal(0, count("pl_stage"))
    assert.same({}, engine:check())
  end)

  it("F121 others have their turns while a queue is purged, and what they add stays", function()
    local queue = taskqueue.Queue("bulk")
    fill(queue)
    spawn("purge", "bulk")
    assert(processes.eventually(20, function() return count("pl_task") < TASKS end), "it did not begin")
    local began, added = processes.now(), 0
    local times, longest = beside(function() return printed():find("%d") end, function()
      queue:add(taskqueue.Task { payload = "new", method = "PULL", name = "new-" .. added })
      added = added + 1
    end)
    assert.is_true(times * pace > 10, ("%d turns in %.3f s"):format(times, processes.now() - began))
    assert.is_true(longest < 0.25 * pace, ("%.3f s"):format(longest))
    assert.same({ added, TASKS }, { queue:fetch_statistics().tasks, tonumber(printed()) })
    assert.same({}, engine:check())
  end)

  it("F121 a purge that is killed leaves a prefix done; again, it does the rest", function()
    local queue = taskqueue.Queue("bulk")
    fill(queue)
    local pid = spawn("purge", "bulk")
    assert(processes.eventually(20, function() return count("pl_task") < TASKS end), "it did not begin")
    group:kill(pid)
    local left = count("pl_task")
    assert.is_true(left > 0, "it was over before it was killed")
    assert.same({}, engine:check())
    assert.equal(left, queue:purge())
    assert.equal(0, count("pl_task"))
  end)

  it("F121 dead tasks are revived and purged in portions, each once", function()
    local queue = taskqueue.Queue("bulk")
    taskqueue.configure { bulk = { mode = "pull" } }
    sql.run(engine, ([[
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
      INSERT INTO pl_task (id, kind, state, queue, priority, eta) SELECT i, 5, 4, q.id, 0, 0 FROM n, pl_queue AS q
        WHERE q.name = 'bulk';
      INSERT INTO pl_dead (task, time) SELECT id, id FROM pl_task;]]):format(TASKS))
    local before = engine._core:facts().commits
    assert.equal(TASKS, queue:revive())
    assert.is_true(engine._core:facts().commits - before > 3)
    assert.same({ 0, TASKS }, { count("pl_dead"), count("pl_task WHERE state = 3") })
    sql.run(engine, "UPDATE pl_task SET state = 4; INSERT INTO pl_dead (task, time) SELECT id, id FROM pl_task")
    before = engine._core:facts().commits
    assert.equal(TASKS, queue:purge_dead())
    assert.is_true(engine._core:facts().commits - before > 3)
    assert.same({ 0, 0 }, { count("pl_dead"), count("pl_task") })
  end)

  it("F120 F121 sweepers that are killed again and again leave nothing half deleted", function()
    for i = 1, 3 do grow("tree " .. i) end
    for i = 1, 300 do Leaf(i):start() end
    engine:drain()
    local before = count("pl_stage")
    for _ = 1, 5 do
      local pid, second = spawn("sweep"), spawn("sweep")
      assert(processes.eventually(20, function() return count("pl_stage") < before end), "nothing was swept")
      group:kill(pid)
      group:kill(second)
      assert.same({}, engine:check())
      before = count("pl_stage")
      for _, root in ipairs(pipeline.get_root_list({ count = 1000 }).pipelines) do
        local _, entry = next(pipeline.get_status_tree(root.pipelineId).pipelines)
        assert.equal("done", entry.status)
      end
      if before == 0 then break end
    end
    spawn("sweep")
    assert(processes.eventually(20, function() return count("pl_stage") == 0 end), "it was not swept to the end")
    for _, name in ipairs { "pl_slot", "pl_wait", "pl_deletion", "pl_task" } do assert.equal(0, count(name)) end
  end)
end)
