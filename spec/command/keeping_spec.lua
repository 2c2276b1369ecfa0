--- check, backup, stats: looking after a store from the shell.

local check = require "spec.crash.check"
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
    assert.is_true(scene:json({ "check" }).ok)
  end)

  it("C9 check names what is wrong and what mends it, and exits with 1", function()
    check.sql(scene.db, "PRAGMA foreign_keys = OFF; UPDATE pl_stage SET attempt = 1; DELETE FROM pl_task;")
    local out = scene:must({ "check" }, nil, 1)
    assert.truthy(out:find("a stage without its task: ", 1, true), out)
    assert.truthy(out:find("\n  mend: ", 1, true), out)
    local value = scene:json({ "check" }, nil, 1)
    assert.is_false(value.ok)
    assert.truthy(value.found[1].what and value.found[1].mend)
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
    assert.is_true(value.bytes > 0)
    assert.equal(4, value.stages)
    assert.same({ { name = "default", ready = 0, delayed = 1, executing = 0 } }, value.queues)
    assert.truthy(scene:must({ "stats" }):find("default", 1, true))
  end)

  it("is not made by commands that only look", function()
    local code, _, err = scene:run { "stats", "--db", "other.db" }
    assert.equal(4, code)
    assert.truthy(err:find("there is no store other.db", 1, true), err)
    assert.equal("", scene:read("other.db"))
  end)
end)
