-- requests_spec.lua - the server is strict: each request of requests.lua has one answer, in whatever portions it comes
-- and whatever stands before and behind it on the connection.

local pipeline = require "pipeline"
local requests = require "spec.http.requests"
local support = require "spec.http.support"

local MAX_BODY = 4096

-- The answers in a text: their statuses, without those that only announce others.
local function statuses(text)
  local list, at = {}, 1
  while at <= #text do
    local status, head, body = text:match("^HTTP/1%.1 (%d%d%d)(.-)\r\n\r\n()", at)
    assert(status, "no answer: " .. text:sub(at, at + 100))
    if status ~= "100" then list[#list + 1] = tonumber(status) end
    at = body + (head:find("X-Is-Head", 1, true) and 0 or tonumber(head:match("\r\nContent%-Length: (%d+)") or 0))
  end
  return list
end

describe("a raw request", function()
  local engine, server, seen

  local function handle(request)
    seen[#seen + 1] = request
    return 200, request.method == "HEAD" and { ["X-Is-Head"] = "yes" } or {}, "an answer"
  end

  before_each(function()
    engine, seen = support.open(), {}
    server = engine:_get_web().core:serve { port = 0, max_body = MAX_BODY, handler = handle }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local function check_given(request, title, answer, body, headers)
    local query = request.raw_query ~= "" and "?" .. request.raw_query or ""
    assert.equal(answer:sub(2), request.method .. " " .. request.path .. query, title)
    assert.equal(body or "", request.body, title)
    for name, value in pairs(headers or {}) do assert.equal(value or nil, request.headers[name], title) end
  end

  -- What came back is what was to come: `before` requests and answers, those of the entry, and of `behind` the one
  -- request only if the connection stays open.
  local function check(entry, text, before, behind)
    local title, _, answer, body, headers = table.unpack(entry, 1, 5)
    local list, expected, given = statuses(text), {}, before
    for i = 1, before do expected[i] = 200 end
    expected[before + 1] = type(answer) == "number" and answer or 200
    if type(answer) == "string" then
      given = before + 1
      assert.truthy(seen[given], title .. ": the handler was given nothing")
      check_given(seen[given], title, answer, body, headers)
      if behind and answer:sub(1, 1) == "+" then
        given = given + 1
        expected[given] = 200
        assert.equal("/behind", seen[given] and seen[given].path, title)
      end
    end
    assert.same(expected, list, title)
    assert.equal(given, #seen, title)
    seen = {}
  end

  local LAST = "GET /behind HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

  it("has the one right answer, and what stands behind it is another request or is not heard", function()
    for _, entry in ipairs(requests) do
      check(entry, support.raw(engine, server, entry[2] .. LAST), 0, true)
    end
  end)

  it("has the same answer behind another one", function()
    local first = "POST /before HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET "
    for _, entry in ipairs(requests) do
      check(entry, support.raw(engine, server, first .. entry[2] .. LAST), 1, true)
    end
  end)

  it("has the same answer when it comes byte by byte", function()
    for _, entry in ipairs(requests) do
      local bytes = entry[2] .. LAST
      if #bytes < 2000 then
        local client = support.connect(engine, server)
        for i = 1, #bytes do
          client:send(bytes:sub(i, i))
          engine:step()
        end
        check(entry, client:finish(), 0, true)
      end
    end
  end)

  it("that ends in its middle is refused once, wherever it ends", function()
    local bytes = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"
    for i = 1, #bytes - 1 do
      local client = support.connect(engine, server):send(bytes:sub(1, i))
      client.socket:shutdown("send")
      local text = client:finish()
      assert.same({ 400 }, statuses(text), "after " .. i .. " bytes")
    end
    assert.equal(0, #seen)
  end)

  it("is told to send its body only if it waits for that", function()
    local client = support.connect(engine, server)
    client:send("POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert.truthy(client:expect("HTTP/1.1 100 Continue\r\n\r\n"))
    client:send("abcGET /q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.same({ 200, 200 }, statuses(client:finish()))
    assert.equal("abc", seen[1].body)
    local text = support.raw(engine, server,
      "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
    assert.is_nil(text:find(" 100 ", 1, true))
    text = support.raw(engine, server,
      "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
    assert.same({ 413 }, statuses(text))
    assert.is_nil(text:find(" 100 ", 1, true))
  end)

  it("is answered with the date, in the form of HTTP", function()
    local text = support.raw(engine, server, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    local date = text:match("\r\nDate: (%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT)\r\n")
    assert.truthy(date, text)
    local close = false
    for seconds = os.time() - 5, os.time() + 1 do
      close = close or date == os.date("!%a, %d %b %Y %H:%M:%S GMT", seconds)
    end
    assert.is_true(close, date)
  end)

  it("has answers without a body where there must be none", function()
    local statuses_given = { "204", "205", "304" }
    for _, status in ipairs(statuses_given) do
      local other = engine:_get_web().core:serve {
        port = 0, handler = function() return tonumber(status), {}, "must not be sent" end,
      }
      local text = support.raw(engine, other, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      assert.equal(status, text:match("^HTTP/1.1 (%d+)"))
      assert.truthy(text:find("\r\n\r\n$"))
      assert.equal(status == "205" and "0" or nil, text:match("Content%-Length: (%d+)"))
      other:close()
    end
  end)

  it("of HTTP/1.0 is told when the connection stays", function()
    local text = support.raw(engine, server,
      "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n")
    assert.same({ 200, 200 }, statuses(text))
    assert.truthy(text:find("Connection: keep%-alive.*Connection: close"))
  end)

  it("is refused with a reason", function()
    local text = support.raw(engine, server, "GET / HTTP/1.1\r\nHost : a\r\n\r\n")
    assert.truthy(text:find("400 Bad Request: the name of a header is not a token with a colon behind it", 1, true))
    assert.truthy(text:find("Connection: close", 1, true))
    text = support.raw(engine, server, "HEAD / HTTP/1.1\r\nX: y\r\n\r\n")
    assert.truthy(text:find("^HTTP/1.1 400 .*\r\n\r\n$"))
  end)
end)
