-- status_spec.lua - what engine:status() says of the store: what keeps it, and whether it can be reached.

local pipeline = require "pipeline"

describe("engine:status()", function()
  it("names the store and its version, and says that it is reached", function()
    local engine <close> = pipeline.open ":memory:"
    local status = engine:status()
    assert.equal("sqlite", status.store.kind)
    assert.truthy(status.store.version:find "^3%.")
    assert.equal(":memory:", status.store.path)
    assert.is_nil(status.unreachable_since)
    assert.equal(1, status.workers)
  end)

  it("says since when the store cannot be reached, without asking it anything", function()
    local engine <close> = pipeline.open ":memory:"
    local core = engine._core
    engine._core = {
      facts = function()
        local facts = core:facts()
        facts.unreachable_since = 1700000000.5
        return facts
      end,
    }
    local status = engine:status()
    engine._core = core
    assert.equal(1700000000.5, status.unreachable_since)
    assert.same({}, status.queues)
    assert.is_nil(status.workers)
  end)
end)
