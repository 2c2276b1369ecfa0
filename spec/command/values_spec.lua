--- Values as they stand on a command line.

local values = require "pipeline.command.values"

describe("a value on the command line", function()
  it("is a duration: 90, 90s, 5m, 2h, 7d, and sums of them", function()
    for text, seconds in pairs { ["90"] = 90, ["90s"] = 90, ["5m"] = 300, ["2h"] = 7200, ["7d"] = 604800,
      ["1h30m"] = 5400, ["0.5s"] = 0.5, ["0"] = 0 } do
      assert.equal(seconds, values.duration(text), text)
    end
    for _, text in ipairs { "", "m", "5x", "-5", "5 m x", "1e3", "soon" } do
      local seconds, why = values.duration(text)
      assert.is_nil(seconds, text)
      assert.truthy(why:find("no duration", 1, true))
    end
  end)

  it("is a time: now, so long ago, or a date with and without a zone", function()
    local function at(text) return values.time(text)(1000000) end
    assert.equal(1000000, at("now"))
    assert.equal(1000000 - 7200, at("2h"))
    assert.equal(1795890309, at("2026-11-28T18:25:09Z"))
    assert.equal(1795890309.5, at("2026-11-28T18:25:09.5Z"))
    assert.equal(1795890309, at("2026-11-28T19:25:09+01:00"))
    assert.equal(1795890309, at("2026-11-28 13:55:09-04:30"))
    assert.equal(os.time { year = 2026, month = 11, day = 28, hour = 18, min = 25 }, at("2026-11-28 18:25"))
    assert.equal(os.time { year = 2026, month = 11, day = 28, hour = 0 }, at("2026-11-28"))
    for _, text in ipairs { "2026-13-01", "2026-11-28T25:00:00Z", "yesterday", "" } do
      assert.is_nil((values.time(text)), text)
    end
  end)

  it("is JSON, or a text as it stands", function()
    assert.equal(3, values.json("3"))
    assert.equal("integer", math.type(values.json("3")))
    assert.equal(2.5, values.json("2.5"))
    assert.equal(false, values.json("false"))
    assert.equal("3", values.json('"3"'))
    assert.is_nil(values.json("null"))
    assert.same({ a = { 1, 2 } }, values.json('{"a": [1, 2], "b": null}'))
    assert.equal("shop.Order", values.json("shop.Order"))
    assert.equal("{1}", (values.json("{1}")))
    local text, hint = values.json("{id: 20}")
    assert.equal("{id: 20}", text)
    assert.truthy(hint:find("'{id: 20}' is no JSON", 1, true) and hint:find("double quotes", 1, true), hint)
    assert.is_nil(select(2, values.json("shop.Order")))
  end)
end)
