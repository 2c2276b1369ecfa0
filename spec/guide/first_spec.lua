-- first_spec.lua: the programs of the first chapter of the guide do what the pages say (runner.lua).

local runner = require "spec.guide.runner"
local source = require "spec.tools.docs.source"

local fragments = require "spec.guide.fragments"

describe("the guide,", function()
  for _, name in ipairs(source.names "First") do
    it("N2 every program does what its page says: " .. name, function() runner.run(name) end)
  end

  it("each page of examples/guide/ is in the contents", function()
    local known = {}
    for _, name in ipairs(source.names()) do known[source.path(name)] = true end
    local pipe <close> = assert(io.popen("find examples/guide -name '*.md'"))
    for path in pipe:lines() do assert(known[path], path .. " is not in source.CHAPTERS") end
  end)

  it("each entry of fragments.lua has its part of a page", function()
    local all = {}
    for i, name in ipairs(source.names()) do all[i] = source.read(source.path(name)) end
    local text = table.concat(all)
    for _, fragment in ipairs(fragments) do
      assert(text:find(fragment[1], 1, true), "no page has: " .. fragment[1])
    end
  end)
end)
