-- shown_recipes_spec.lua: the programs of the recipes, as their pages show them, do what the pages say (runner.lua).

local runner = require "spec.guide.runner"
local source = require "spec.tools.docs.source"

describe("the guide,", function()
  for _, name in ipairs(source.names "Recipes") do
    it("N2 every program does what its page says: " .. name, function() runner.run(name) end)
  end
end)
