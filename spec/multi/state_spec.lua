-- state_spec.lua: what one process tells of the runs that another executes.

local classes = require "spec.multi.classes"
local pipeline = require "pipeline"
local support = require "spec.multi.support"

describe("a run in another process", function()
  local scene
  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  it("is executing, with the worker and the second in which it was taken", function()
    local pid = scene:spawn("work")
    local from = math.floor(scene.engine:now())
    local stage = classes.Long(60):start()
    scene:wait_line("begin", pid, 1)
    local entry = pipeline.get_status_tree(stage.id).pipelines[stage.id]
    assert.equal("executing", entry.state)
    assert.matches(":" .. pid .. "$", entry.worker)
    local since = entry.sinceMs / 1000
    assert.is_true(since >= from and since <= scene.engine:now(), tostring(since - from))
    stage:abort("enough")
    scene:wait_line("closed", pid, 1)
  end)
end)
