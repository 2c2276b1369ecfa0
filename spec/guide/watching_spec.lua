-- watching_spec.lua: the programs of the chapter on watching it do what the pages say (runner.lua).

local runner = require "spec.guide.runner"
local source = require "spec.tools.docs.source"

describe("the guide,", function()
  for _, name in ipairs(source.names "Watching it") do
    it("N2 every program does what its page says: " .. name, function() runner.run(name) end)
  end
end)
