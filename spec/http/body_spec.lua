-- body_spec.lua - JSON in requests and answers.

local cjson = require "cjson"
local pipeline = require "pipeline"
local reader = require "pipeline.http.json_reader"
local support = require "spec.http.support"

describe("a body of JSON", function()
  local engine, lines, server

  before_each(function()
    engine, lines = support.open()
    server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local function post(body)
    return support.fetch(engine, server, { method = "POST", path = "/json", body = body })
  end

  it("is read when request.json is first used", function()
    local seen
    engine:route("POST", "/json", function(request)
      seen = request.json
      assert(rawequal(seen, request.json))
      return 200, { ok = "yes" }, { same = request.json }
    end)
    local reply = post('{"a": [1, 2.5, null], "b": {"c": "\\u00fc\\ud83d\\ude00"}, "d": false}')
    assert.equal(200, reply.status)
    assert.same({ a = { 1, 2.5, cjson.null }, b = { c = "\195\188\240\159\152\128" }, d = false }, seen)
    assert.equal("integer", math.type(seen.a[1]))
    assert.equal("application/json", reply.headers["content-type"])
    assert.same(cjson.decode(reply.body).same.b, seen.b)
    for text, value in pairs { ["false"] = false, [" 5 "] = 5, ['"x"'] = "x", ["null"] = cjson.null } do
      post(text)
      assert.equal(value, seen)
    end
  end)

  it("that is damaged is answered 400 with the place, and is no error of the handler", function()
    engine:route("POST", "/json", function(request) return 200, "text/plain", tostring(request.json) end)
    local reply = post('{"a": 1,\n "b" 2}')
    assert.equal(400, reply.status)
    assert.equal("400 Bad Request: the body is not JSON: line 2, column 6: ':' expected\n", reply.body)
    assert.equal(400, post("").status)
    for _, line in ipairs(lines) do assert.is_true(line.level < 30, line.text) end
  end)

  it("that is damaged does not matter to a handler that does not look, or that looks out", function()
    engine:route("POST", "/json", function(request)
      if request.query.careful then
        local ok, problem = pcall(function() return request.json end)
        return 200, "text/plain", tostring(ok) .. tostring(pipeline.is(problem, pipeline.RequestError))
      end
      return 200, "text/plain", request.body
    end)
    assert.equal("{", post("{").body)
    assert.equal("falsetrue", engine:handle { method = "POST", path = "/json?careful=1", body = "{" }.body)
  end)

  it("is sent of a table, with the type that goes with it unless there is another", function()
    local answers = {
      { { 200, nil, { 1, 2 } }, "[1,2]", "application/json" },
      { { 201, {}, {} }, "{}", "application/json" },
      { { 200, "application/problem+json", { a = true } }, '{"a":true}', "application/problem+json" },
      { { 200, { ["Content-Type"] = "text/x" }, { a = 0.5 } }, '{"a":0.5}', "text/x" },
    }
    for i, answer in ipairs(answers) do
      engine:route("GET", "/table", function() return table.unpack(answer[1], 1, 3) end)
      local reply = support.fetch(engine, server, { path = "/table" })
      assert.equal(answer[1][1], reply.status, i)
      assert.equal(answer[2], reply.body, i)
      assert.equal(answer[3], reply.headers["content-type"], i)
    end
    engine:route("GET", "/table", function() return 200, nil, print end)
    assert.equal(500, engine:handle { path = "/table" }.status)
  end)
end)

describe("JSON", function()
  it("is read as RFC 8259 has it", function()
    local good = {
      ["0"] = 0, ["-0"] = 0, ["-12"] = -12, ["1.5"] = 1.5, ["1e2"] = 100.0, ["1E-2"] = 0.01, ["0.0"] = 0.0,
      ["9007199254740993"] = 9007199254740993, ["9223372036854775807"] = math.maxinteger,
      ["-9223372036854775808"] = math.mininteger, ["9223372036854775808"] = 2.0 ^ 63, ["true"] = true,
      ['""'] = "", ['"\\"\\\\\\/\\b\\f\\n\\r\\t"'] = '"\\/\b\f\n\r\t',
      ['"\\u0041\\u00e9\\u20ac"'] = "A\195\169\226\130\172",
      ['"\127"'] = "\127", [' \t\r\n"x" \n'] = "x", ['"\\u0000"'] = "\0",
    }
    for text, value in pairs(good) do
      local read, problem = reader.read(text)
      assert.equal(value, read, text .. ": " .. tostring(problem))
    end
    assert.same({}, reader.read("[ ]"))
    assert.same({ a = {}, [""] = { { 1 } } }, reader.read('{"a":{},"":[[1]]}'))
    assert.same({ a = 2 }, reader.read('{"a":1,"a":2}'))
  end)

  it("is refused with line and column when it is anything else", function()
    local bad = {
      [""] = "1:1", ["  "] = "1:3", ["{"] = "1:2", ["["] = "1:2", ["[1"] = "1:3", ["[1,]"] = "1:4", ["[,1]"] = "1:2",
      ['{"a":1,}'] = "1:8", ["{a:1}"] = "1:2", ['{"a"}'] = "1:5", ['{"a":}'] = "1:6", ["[1 2]"] = "1:4",
      ["1 2"] = "1:3",
      ["01"] = "1:1", ["+1"] = "1:1", [".5"] = "1:1", ["1."] = "1:2", ["1e"] = "1:2", ["0x10"] = "1:2", ["-"] = "1:1",
      ["NaN"] = "1:1", ["Infinity"] = "1:1", ["nul"] = "1:1", ["nulll"] = "1:1", ["truetrue"] = "1:1", ["'a'"] = "1:1",
      ['"a'] = "1:3", ['"a\nb"'] = "1:3", ['"\\x"'] = "1:2", ['"\\u12g4"'] = "1:2", ['"\\ud800"'] = "1:2",
      ['"\\udc00"'] = "1:2", ['"\\ud800\\u0041"'] = "1:2", ["1e999"] = "1:1", ["// c\n1"] = "1:1", ["[1]\n]"] = "2:1",
      ["[\n1,\n  x]"] = "3:3", ['"\255"'] = "1:2", ['"\237\160\128"'] = "1:2", ["\239\187\1911"] = "1:1",
      [("["):rep(200)] = "1:102",
    }
    for text, place in pairs(bad) do
      local value, problem = reader.read(text)
      assert.is_nil(value, text)
      assert.equal(place, ("%s:%s"):format(problem:match("^line (%d+), column (%d+): ")), text .. ": " .. problem)
    end
  end)

  it("of any bytes is read, or refused with a place", function()
    local seed = os.time()
    print("seed " .. seed)
    math.randomseed(seed)
    local pieces = { "{", "}", "[", "]", ",", ":", '"', "\\", "u", "1", "-", ".", "e", "true", "null", " ", "\n" }
    for _ = 1, 20000 do
      local list = {}
      for i = 1, math.random(0, 12) do list[i] = pieces[math.random(#pieces)] end
      local text = table.concat(list)
      local value, problem = reader.read(text)
      assert.is_true(value ~= nil or problem:find("^line %d+, column %d+: .") ~= nil, text)
    end
  end)
end)
