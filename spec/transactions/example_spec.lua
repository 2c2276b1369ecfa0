-- example_spec.lua: examples/transaction.lua does what it says.

local helper = require "spec.support.helper"

describe("examples/transaction.lua", function()
  teardown(helper.clean)

  local function run(path)
    local lua = os.getenv("LUA") or "lua5.4"
    local pipe = assert(io.popen(("%s examples/transaction.lua --db '%s' 2>&1"):format(lua, path)))
    local text = pipe:read("a")
    assert(pipe:close(), text)
    return text
  end

  it("places orders, and leaves nothing of those that fail", function()
    local path = helper.path()
    local text = run(path)
    local _, receipts = text:gsub("receipt to", "")
    local _, shipped = text:gsub("shipped", "")
    assert.same({ 2, 2 }, { receipts, shipped })
    assert.is_nil(text:find("of Mallory", 1, true))
    _, shipped = run(path):gsub("shipped", "")
    assert.equal(4, shipped)
  end)
end)
