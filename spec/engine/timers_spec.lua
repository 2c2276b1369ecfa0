-- timers_spec.lua - the timers of an engine when the coroutine that waits for them cannot be started.

local timers = require "pipeline.loop.timers"

describe("timers of an engine", function()
  -- A core whose time stands still; `refuse`: it has no memory for another coroutine.
  local function core_of(state)
    return {
      steady = function() return 0 end,
      spawn = function(_, _, _, due)
        if state.refuse then return nil, "ENOMEM", "out of memory" end
        state.waits = due
        return true
      end,
    }
  end

  it("one that nobody can wait for is an error, and those after it fire all the same", function()
    local state = { refuse = true }
    local of = timers.new(core_of(state), function() end)
    local ok, problem = pcall(of.add, of, 5, function() end)
    assert.is_false(ok)
    assert.matches("out of memory", tostring(problem))
    assert.is_nil(of.entries:first())
    state.refuse = false
    of:add(7, function() end)
    assert.equal(7, state.waits)
    assert.equal(7, of.entries:first())
  end)
end)
