-- json_spec.lua - any Lua value as JSON.

local cjson = require "cjson"
local json = require "pipeline.http.json"

describe("json", function()
  it("writes numbers so that they read back the same", function()
    for _, number in ipairs { 0, 1, -1, 0.1, 0.1 + 0.2, 1e300, -5e-324, 2^53, 123456789012345, math.maxinteger } do
      assert.equal(number, load("return " .. json.encode(number))())
    end
    assert.equal('{"float":"nan"}', json.encode(0 / 0))
    assert.equal('{"float":"inf"}', json.encode(math.huge))
    assert.equal('{"float":"-inf"}', json.encode(-math.huge))
  end)

  it("tells arrays from objects", function()
    assert.equal("{}", json.encode {})
    assert.equal("[]", json.encode(json.array {}))
    assert.equal("[1,[2]]", json.encode { 1, { 2 } })
    assert.equal('{"1":1,"3":3}', json.encode { 1, nil, 3 })
    assert.equal('{"5":1,"a":2,"true":3}', json.encode { [5] = 1, a = 2, [true] = 3 })
  end)

  it("writes strings that are not UTF-8 as base64", function()
    assert.equal('{"base64":"/w=="}', json.encode "\xff")
    assert.equal("\u{e9}\0\"\\", cjson.decode(json.encode "\u{e9}\0\"\\"))
    assert.is_nil(json.encode("</script>"):find("</", 1, true))
    assert.same({ ["base64:/w=="] = 1 }, cjson.decode(json.encode { ["\xff"] = 1 }))
    local expected = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" }
    for i, text in ipairs(expected) do assert.equal(text, json.base64(("foobar"):sub(1, i - 1))) end
  end)

  it("shows what JSON cannot say", function()
    assert.equal('{"type":"function"}', json.encode(print))
    assert.equal("null", json.encode(nil))
    assert.equal("null", json.encode(json.null))
    local loop = {}
    loop.me = loop
    assert.equal('{"me":{"type":"cycle"}}', json.encode(loop))
    local shared = { 1 }
    assert.equal("[[1],[1]]", json.encode { shared, shared })
  end)

  it("bounds depth and size", function()
    local deep = {}
    for _ = 1, 10000 do deep = { deep } end
    assert.truthy(json.encode(deep):find('{"type":"deep"}', 1, true))
    local wide = {}
    for _ = 1, 40 do wide = { wide, wide } end
    assert.has_error(function() json.encode(wide) end)
    assert.has_error(function() json.encode(("x"):rep(17 * 1024 * 1024)) end)
  end)
end)
