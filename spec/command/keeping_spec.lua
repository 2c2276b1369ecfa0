--- check, backup, stats: looking after a store from the shell.

local check = require "spec.crash.check"
local schema = require "spec.command.schema"
local shapes = require "spec.command.shapes"
local support = require "spec.command.support"

describe("the store", function()
  local scene

  before_each(function()
    scene = support.scene()
    scene:must { "start", "demo.Sum", "1", "2", "3", "--module", "demo.lua", "--wait" }
    scene:must { "start", "demo.Add", "1", "2", "--module", "demo.lua", "--in", "1h" }
  end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  it("C9 check says in one line that a file is sound", function()
    assert.equal(scene.db .. " is sound\n", (scene:must { "check" }))
    local value = scene:json { "check" }
    assert.equal("", schema.check(value, shapes.check))
    assert.is_true(value.ok)
  end)

  -- Whatever is broken, the row is named, and what is to be done.
  local damages = {
    { "UPDATE pl_stage SET attempt = 1; DELETE FROM pl_task", "a stage without its task: stage %d+" },
    { "UPDATE pl_task SET state = 2, owner = 77", "a claim of a worker that is gone: task %d+" },
    { "UPDATE pl_task SET kind = 1", "a task that does not fit the state of its stage: stage %d+" },
    { "UPDATE pl_stage SET state = 2, open = 7 WHERE state = 1",
      "a stage that does not wait for as many children and outputs as it says: stage %d+" },
    { "UPDATE pl_stage SET abort_requested = 1 WHERE state = 1",
      "a tree to be aborted with a stage that goes on: stage %d+" },
    { "DELETE FROM pl_stage WHERE state = 1", "a task without its stage: task %d+" },
    { "UPDATE pl_stage SET args = NULL WHERE state = 1", "a stage whose arguments are missing: stage %d+" },
    { "UPDATE pl_task SET queue = 77", "a task of no queue: task %d+" },
    { "UPDATE pl_stage SET result = x'01' WHERE state = 1", "a value of a stage that is not done: stage %d+" },
    { "INSERT INTO pl_dead (task, time) VALUES (5, 1)", "an error of no dead task: task 5" },
    { "INSERT INTO pl_task_detail (task) VALUES (5)", "a body of no task: task 5" },
  }
  -- Of durable functions: the scene has one that waits.
  local of_durable = {
    { "DELETE FROM pl_flow", "a durable function without its record, or a record of no such: stage %d+" },
    { "UPDATE pl_flow SET mode = 3", "a durable function in a mode that its stage is not in: stage %d+, mode 3" },
    { "UPDATE pl_flow SET dirty = 1", "a durable function that waits, and has news nobody has seen: stage %d+" },
    { "UPDATE pl_flow SET mails = 7", "a mailbox that holds not as many mails as it says: stage %d+, mails 7" },
    { "UPDATE pl_flow SET next = 1", "an entry that was numbered beyond what its function knows: stage %d+, " },
    { "DELETE FROM pl_journal_large", "an entry whose long value is missing: stage %d+, entry %d+" },
    { "UPDATE pl_journal SET large = 0 WHERE large", "a long value of no entry: stage %d+, entry %d+" },
    { "UPDATE pl_journal SET done = 2 WHERE done IS NOT NULL", "two entries delivered at once: stage %d+, 2" },
    { "UPDATE pl_journal SET stage = 5", "an entry, or a mail, of no durable function: stage 5, entry %d+" },
  }
  for _, case in ipairs(of_durable) do
    it("C9 check names the row and the mend of: " .. case[1], function()
      scene:write("waits.lua", [[
        require("pipeline").workflow("demo.Waits", { run = function(self)
          self:step("long", function() return ("x"):rep(5000) end)
          self:step("short", function() end)
          self:wait_event("go")
        end })
      ]])
      scene:must { "start", "demo.Waits", "--module", "./waits.lua" }
      local worker = scene:spawn { "worker", "./waits.lua" }
      support.eventually(support.SECONDS, function()
        return #check.sql(scene.db, "SELECT 1 FROM pl_flow WHERE mode = 1;") == 1
      end)
      scene:stop(worker)
      assert.equal(scene.db .. " is sound\n", (scene:must { "check" }))
      check.sql(scene.db, "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; " .. case[1] .. ";")
      local out = scene:must({ "check" }, nil, 1)
      local line = out:match("[^\n]*" .. case[2] .. "[^\n]*\n[^\n]*")
      assert.truthy(line and line:find("\n  mend: ", 1, true), out)
    end)
  end

  it("C9 each kind that check finds has its mend: what --repair does, a command, or a backup", function()
    local mends = require "pipeline.command.mends"
    local kinds, own = 0, 0
    for line in io.lines("csrc/store/sqlite/checks.h") do
      local title = line:match('^    X%("(a[n ][^"]*)"') or line:match('^    X%("(two [^"]*)"')
      if title then
        kinds = kinds + 1
        local mend = mends.of(title .. ": stage 1", "0123456789abcdef")
        local repair = mends.repair_of(title .. ": stage 1")
        assert.is_string(mend, title)
        if mend:find("'pipeline ", 1, true) or mend:find("none is needed", 1, true) or mend:find("start a worker") then
          own = own + 1
        end
        assert.is_true(not repair or mend:find("^stop all programs") == nil, title)
      end
    end
    assert.is_true(kinds >= 34 and own >= kinds - 3, kinds .. " kinds, " .. own .. " with a mend of their own")
  end)

  for _, case in ipairs(damages) do
    it("C9 check names the row and the mend of: " .. case[1], function()
      check.sql(scene.db, "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; " .. case[1] .. ";")
      local out = scene:must({ "check" }, nil, 1)
      local line = out:match("[^\n]*" .. case[2] .. "[^\n]*\n[^\n]*")
      assert.truthy(line, out)
      assert.truthy(line:find("\n  mend: ", 1, true), out)
      local value = scene:json({ "check" }, nil, 1)
      assert.equal("", schema.check(value, shapes.check))
      assert.is_false(value.ok)
    end)
  end

  it("C9 check gives the id of a stage, and the commands for its pipeline", function()
    check.sql(scene.db, "UPDATE pl_stage SET attempt = 1; DELETE FROM pl_task;")
    local id = scene:json({ "list", "--state", "waiting" }).items[1].id
    local found = scene:json({ "check" }, nil, 1).found[1]
    assert.equal(id, found.id)
    assert.truthy(found.mend:find("pipeline abort " .. id, 1, true), found.mend)
  end)

  it("C9 check --repair mends what was named, after a copy; --dry-run says what it would do", function()
    check.sql(scene.db, "PRAGMA foreign_keys = OFF; UPDATE pl_stage SET attempt = 1 WHERE state = 1; "
      .. "DELETE FROM pl_task; INSERT INTO pl_dead (task, time) VALUES (5, 1);")
    local out = scene:must({ "check", "--dry-run" }, nil, 1)
    assert.truthy(out:find("a stage without its task: [^\n]*\n  repair: it gets a task"), out)
    local code, _, err = scene:run { "check", "--repair" }
    assert.equal(2, code)
    assert.truthy(err:find("--yes", 1, true), err)
    local value = scene:json { "check", "--repair", "--yes" }
    assert.equal("", schema.check(value, shapes.check))
    assert.same({ true, 0 }, { value.ok, #value.left })
    assert.is_true(#value.found >= 2 and #value.mended >= 2)
    assert.equal(scene.db .. " is sound\n", (scene:must { "check" }))
    assert.truthy(scene:must({ "check", "--db", value.backup }, nil, 1):find("a stage without its task", 1, true))
    assert.equal(scene.db .. " is sound\n", (scene:must { "check", "--repair", "--yes" }))
  end)

  it("C9 check finds damage of the file itself, and says to put a backup in its place", function()
    check.sql(scene.db, "PRAGMA wal_checkpoint(TRUNCATE);")
    local root = check.sql(scene.db, "SELECT rootpage FROM sqlite_schema WHERE name = 'pl_failure_stage';")[1]
    local file <close> = assert(io.open(scene.db, "r+b"))
    file:seek("set", 4096 * (math.tointeger(tonumber(root)) - 1))
    file:write(("\255"):rep(100))
    file:close()
    local out = scene:must({ "check" }, nil, 1)
    assert.truthy(out:find("damage: [^\n]*\n  mend: [^\n]*backup"), out)
  end)

  it("C9 a file whose tables were changed is not opened: exit code 4, with what is to be done", function()
    check.sql(scene.db, "DROP INDEX pl_task_ready;")
    local code, _, err = scene:run { "check" }
    assert.equal(4, code)
    assert.truthy(err:find("pl_task_ready is missing: undo what changed it, or use a backup", 1, true), err)
  end)

  it("backup copies a store that opens and is sound", function()
    assert.truthy(scene:must({ "backup", "copy.db" }):find("copy.db: ", 1, true))
    assert.equal("copy.db is sound\n", (scene:must({ "check", "--db", "copy.db" }):gsub("^.*/", "")))
    local code, _, err = scene:run { "backup", "no/copy.db" }
    assert.equal(1, code)
    assert.truthy(err:find("copy.db", 1, true), err)
  end)

  it("stats tells sizes, and how much is in each queue", function()
    local value = scene:json { "stats" }
    assert.equal("", schema.check(value, shapes.stats))
    assert.is_true(value.bytes > 0)
    assert.equal(4, value.stages)
    assert.same({ { name = "default", ready = 0, delayed = 1, executing = 0, dead = 0 } }, value.queues)
    assert.is_true(#value.tables > 5)
    assert.equal(7, #value.growth.days)
    local before = value.growth.pipelines_last_day
    for i = 1, 3 do scene:must { "start", "demo.Add", i, "2", "--module", "demo.lua", "--wait" } end
    local growth = scene:json({ "stats", "--short" }).growth
    assert.equal(before + 3, growth.pipelines_last_day)
    assert.equal(before + 3, growth.days[1].done + growth.days[1].aborted)
    assert.is_true(growth.bytes_last_day > 0)
    assert.truthy(scene:must({ "stats" }):find("have ended in the last day, about", 1, true))
    assert.is_nil(scene:json({ "stats", "--short" }).tables)
    local out = scene:must { "stats" }
    assert.truthy(out:find("default", 1, true) and out:find("pl_stage", 1, true), out)
  end)

  it("says in one line that it may not be read or written, and what to look at; the exit code is 4", function()
    local pipe <close> = io.popen("id -u; command -v setpriv")
    if not pipe:read("a"):find("^0\n/") then return pending("only root can be somebody else") end
    os.execute(("chmod 755 '%s' '%s'"):format(scene.directory, support.installed()))
    local nobody = { before = "setpriv --reuid=65534 --regid=65534 --clear-groups" }
    for mode, text in pairs { ["600"] = "may you read it?", ["644"] = "may you write it, and its directory?" } do
      os.execute(("chmod %s '%s'"):format(mode, scene.db))
      for _, words in ipairs { { "list" }, { "check" }, { "worker", "demo.lua" }, { "serve", "127.0.0.1:0" },
        { "start", "demo.Add", "1", "2", "--module", "./demo.lua" } } do
        local code, out, err = scene:run(words, nobody)
        assert.same({ 4, "" }, { code, out }, words[1])
        assert.match("^pipeline: [^\n]*" .. text:gsub("%p", "%%%0") .. "\n$", err)
      end
    end
  end)

  it("is not made by commands that only look", function()
    local code, _, err = scene:run { "stats", "--db", "other.db" }
    assert.equal(4, code)
    assert.truthy(err:find("there is no store other.db", 1, true), err)
    assert.equal("", scene:read("other.db"))
  end)
end)
