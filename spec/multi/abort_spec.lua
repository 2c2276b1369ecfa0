-- abort_spec.lua: a tree that one process aborts while another executes its runs.

local classes = require "spec.multi.classes"
local pipeline = require "pipeline"
local support = require "spec.multi.support"

describe("an abort", function()
  local scene
  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  it("ends runs that wait in another process at once, those of its tree alone", function()
    local pid = scene:spawn("work")
    local stages = {}
    for i = 1, 3 do stages[i] = classes.Long(60):start() end
    for i = 1, 3 do scene:wait_line("begin", pid, i) end
    for i = 1, 2 do
      local before = support.now()
      assert.is_true(stages[i]:abort("enough"))
      local line = scene:wait_line("closed", pid, i)
      assert.equal(stages[i].id, line[2])
      assert.is_true(support.now() - before < 5)
      local problem
      assert.is_true(support.eventually(10, function()
        local _
        _, problem = pcall(scene.engine.wait, scene.engine, stages[i], { timeout = 0.1 })
        return pipeline.is(problem, pipeline.AbortedError)
      end), tostring(problem))
    end
    assert.equal(2, #scene:read("closed", pid))
    assert.equal(3, #scene:read("begin", pid))
    assert.is_true(stages[3]:abort("enough"))
    scene:wait_line("closed", pid, 3)
    assert.same({}, scene:logged(30, pid))
  end)
end)
