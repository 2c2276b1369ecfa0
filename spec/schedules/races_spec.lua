-- Schedules that two processes change at the same moment. Here it is one process, which does the other's part while the
-- store is asked.

local schedules = require "pipeline.schedules"
local helper = require "spec.support.helper"
local support = require "spec.schedules.support"

describe("a schedule that others change at the same moment", function()
  local methods, original
  before_each(function()
    local engine = support.open()
    methods = getmetatable(engine._core).__index
    original = methods.schedule_get
  end)
  after_each(function()
    methods.schedule_get = original
    helper.finish()
  end)
  teardown(helper.clean)

  -- fn() comes between the first look at the schedules of a source and what follows from it.
  local function after_look(fn)
    methods.schedule_get = function(core, given)
      local list, version, message = original(core, given)
      if given.source and fn then
        local run = fn
        fn = nil
        run()
      end
      return list, version, message
    end
  end

  local function declare(...)
    local specs = {}
    for _, name in ipairs { ... } do specs[name] = { every = "1h", start = support.Noted(name) } end
    return schedules.declare("app", specs)
  end

  local function names()
    local list = {}
    for i, s in ipairs(schedules.list { source = "app" }) do list[i] = s.name end
    return list
  end

  it("S64 is declared by two processes of one source at a time", function()
    after_look(function() assert.is_true(declare("a", "b")) end)
    assert.is_true(declare("a", "b"))
    assert.same({ "a", "b" }, names())
  end)

  it("S63 is declared with others by two processes, and the last one counts", function()
    after_look(function() assert.is_true(declare("a", "b")) end)
    assert.is_true(declare("b", "c"))
    assert.same({ "b", "c" }, names())
  end)

  it("S64 is not taken from another source that declares it first", function()
    after_look(function() schedules.declare("other", { a = { every = 60, start = support.Noted() } }) end)
    local problem = helper.raises(schedules.ScheduleError, declare, "a", "b")
    assert.truthy(problem.message:find("declared by 'other'", 1, true), problem.message)
    assert.same({}, names())
  end)
end)
