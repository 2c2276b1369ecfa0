-- later_spec.lua: methods of the engine whose files are read when they are first called.

local later = require "pipeline.engine.later"

describe("the methods of a room that is read when it is first called", function()
  for room, promised in pairs(later.ROOMS) do
    it("are promised, each of them and no other: " .. room, function()
      local brought = {}
      later.bring(brought, room)
      local names = {}
      for name in pairs(brought) do names[#names + 1] = name end
      table.sort(names)
      local expected = table.move(promised, 1, #promised, 1, {})
      table.sort(expected)
      assert.same(expected, names)
    end)
  end
end)
