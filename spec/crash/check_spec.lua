-- The checker of files itself: it finds nothing in a sound file and every kind of damage in a damaged one.

local pipeline = require "pipeline"
local check = require "spec.crash.check"
local helper = require "spec.support.helper"

describe("the checker", function()
  local engine, path

  local Leaf = pipeline.define("check.Leaf", { run = function(_, value) return value end })
  local Async = pipeline.define("check.Async", {
    async = true,
    run = function(self) self:get_callback_task({ name = "answer", countdown = 100 }):add() end,
    callback = function(self) self:complete(1) end,
  })
  local Tree = pipeline.define("check.Tree", {
    run = function(self)
      local answer, leaf = self:spawn(Async()), self:spawn(Leaf(1))
      self:spawn(Leaf(leaf))
      return self:spawn(Leaf(answer))
    end,
  })

  before_each(function()
    path = helper.path()
    engine = helper.open { path = path }
    Tree():start()
    Leaf(2):start { countdown = 50 }
    engine:drain()
    engine:close()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function damaged(sql, title)
    check.sql(path, "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;" .. sql)
    local found = table.concat(check.file(path), "\n")
    assert(found:find(title, 1, true), ("'%s' was not found by: %s"):format(title, found))
  end

  it("finds nothing in a sound file", function()
    assert.same({}, (check.file(path)))
    assert(#check.file(path, { finished = true }) > 0)
    engine = helper.open { path = path }
    engine:drain { delayed = true }
    engine:close()
    local found, stages = check.file(path, { finished = true })
    assert.same({}, found)
    assert.equal(6, stages)
  end)

  local cases = {
    { "UPDATE pl_task SET state = 2, owner = 77 WHERE kind = 3", "a claim without an owner" },
    { "DELETE FROM pl_task WHERE kind = 0", "a stage without its task" },
    { "DELETE FROM pl_task WHERE kind = 3", "a name taken by no task" },
    { "DELETE FROM pl_task_name", "a task whose name is not taken" },
    { "UPDATE pl_task SET kind = 1 WHERE kind = 0", "a task that does not fit the state of its stage" },
    { "UPDATE pl_stage SET missing = 2 WHERE state = 0", "missing is not the number of unfilled inputs" },
    { "DELETE FROM pl_wait WHERE kind = 0", "a stage that waits for nothing" },
    { "UPDATE pl_stage SET open = open + 1 WHERE state = 2", "open is not the number" },
    { "DELETE FROM pl_wait WHERE kind = 1", "open is not the number" },
    { "DELETE FROM pl_slot", "unfilled outputs" },
    { "INSERT OR IGNORE INTO pl_slot SELECT slot, stage, 1, x'01' FROM pl_wait", "a wait for a filled slot" },
    { "UPDATE pl_stage SET state = 4, missing = 0, finalized = 1 WHERE state = 0", "still waits for an input" },
    { "UPDATE pl_stage SET abort_requested = 1 WHERE parent IS NULL", "to be aborted with a stage that goes on" },
    { "UPDATE pl_stage SET state = 6 WHERE state = 4", "an aborted stage of a tree that was not told to abort" },
    { "DELETE FROM pl_stage WHERE parent IS NULL", "foreign key" },
    { "UPDATE pl_slot SET filler = 5", "a value without the stage that filled it" },
  }
  for _, case in ipairs(cases) do
    it("finds: " .. case[1], function() damaged(case[1] .. ";", case[2]) end)
  end
end)
