-- later_spec.lua - what most programs never call costs them nothing: it is read when it is called first.

local later = require "pipeline.engine.later"

-- What a program of its own writes.
local function output_of(program)
  local pipe <close> = assert(io.popen(("lua5.4 -e '%s' 2>&1"):format(program)))
  return pipe:read("a")
end

describe("methods that are read later", function()
  it("are those that their rooms bring, by name", function()
    for room, names in pairs(later.ROOMS) do
      local promised, brought = {}, {}
      for _, name in ipairs(names) do promised[name] = true end
      for name in pairs(require(room)) do brought[name] = true end
      assert.same(brought, promised, room)
    end
  end)

  it("are not read by whoever opens an engine and runs something", function()
    local out = output_of [[
      local pipeline = require "pipeline"
      local engine = pipeline.open(":memory:")
      local stage = pipeline.define("later_spec.One", { run = function() return 1 end })():start()
      engine:wait(stage)
      local rooms = { "pipeline.telemetry.metrics", "pipeline.telemetry.events", "pipeline.telemetry.tracing",
        "pipeline.pages.site" }
      for room in pairs(require "pipeline.engine.later".ROOMS) do rooms[#rooms + 1] = room end
      for _, room in ipairs(rooms) do
        if package.loaded[room] then print("read:", room) end
      end
      print(#engine:list().items, engine:find(stage.id) == stage.id, #engine:queues() > 0)
      print(pcall(engine.list, engine, { stat = "done" }))
      engine:close()
    ]]
    assert.matches("^1\ttrue\ttrue\n", out)
    assert.matches("did you mean .state.", out)
  end)
end)
