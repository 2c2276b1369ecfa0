-- Requests from people who mean harm, or who made a mistake.

local pipeline = require "pipeline"
local support = require "spec.http.support"

local calls

local Public = pipeline.define("input.requests.Public", {
  async = true, public_callbacks = true, run = function() end,
  callback = function(self, params)
    calls[#calls + 1] = params
    if params.done then self:complete(params.done) end
    return 200, "text/plain", "heard"
  end,
})

local Closed = pipeline.define("input.requests.Closed", {
  async = true, run = function() end,
  callback = function() calls[#calls + 1] = "closed" end,
})

describe("a request", function()
  local engine, server, stage

  before_each(function()
    calls = {}
    engine = support.open()
    server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
    stage = Public():start()
    engine:drain { timeout = 10 }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local function path_of(target, params)
    return target:get_callback_url(params)
  end

  local function still_answers()
    local reply = support.fetch(engine, server, { path = path_of(stage, { hello = "you" }) })
    assert.equal(200, reply.status)
    assert.equal("you", calls[#calls].hello)
  end

  it("with a query of 2 MiB is refused on the socket, and the callback never hears of it", function()
    local text = support.raw(engine, server,
      ("GET %s&x=%s HTTP/1.1\r\nHost: spec\r\n\r\n"):format(path_of(stage), ("x"):rep(2 * 1024 * 1024)))
    local status = tonumber(text:match("^HTTP/1%.%d (%d+)"))
    assert.is_true(text == "" or status == 414 or status == 431 or status == 413 or status == 400, text:sub(1, 100))
    assert.equal(0, #calls)
    still_answers()
  end)

  it("with a form of 2 MiB is refused or reaches the callback whole", function()
    local reply = support.fetch(engine, server, {
      method = "POST", path = path_of(stage), body = "x=" .. ("x"):rep(2 * 1024 * 1024),
      headers = { ["Content-Type"] = "application/x-www-form-urlencoded" },
    })
    if reply.status == 200 then
      assert.equal(2 * 1024 * 1024, #calls[1].x)
    else
      assert.is_true(reply.status == 413, tostring(reply.status))
      assert.equal(0, #calls)
    end
    still_answers()
  end)

  it("with forged task headers is no task", function()
    local closed = Closed():start()
    engine:drain { timeout = 10 }
    for _, headers in ipairs {
      { ["X-AppEngine-TaskName"] = "forged", ["X-AppEngine-QueueName"] = "default" },
      { ["X-AppEngine-TaskName"] = "forged", ["X-AppEngine-TaskRetryCount"] = "0",
        ["X-AppEngine-Signature"] = ("0"):rep(64) },
      { ["X-AppEngine-TaskName"] = ("x"):rep(4000) },
    } do
      local reply = support.fetch(engine, server, { method = "POST", path = path_of(closed), headers = headers })
      assert.is_true(reply.status >= 400 and reply.status < 500, tostring(reply.status))
      for _, name in ipairs { "run", "finalized", "abort", "fanout", "output", "cleanup" } do
        reply = support.fetch(engine, server, {
          method = "POST", path = "/_ah/pipeline/" .. name, headers = headers, body = "pipeline_key=" .. closed.id,
        })
        assert.is_true(reply.status >= 400 and reply.status < 500, name .. ": " .. reply.status)
      end
    end
    assert.equal(0, #calls)
    assert.is_false(pipeline.from_id(closed.id).was_aborted)
    still_answers()
  end)

  it("for a pipeline that does not exist, or whose id was changed, is refused", function()
    local id = stage.id
    local other = id:sub(1, -2) .. (id:sub(-1) == "0" and "1" or "0")
    local ids = { "", "x", other, ("0"):rep(32), ("f"):rep(32), "%00", "%ff%fe", ("a"):rep(3000), "' OR 1=1" }
    for _, wrong in ipairs(ids) do
      local reply = engine:handle { path = "/_ah/pipeline/callback?pipeline_id=" .. wrong:gsub(" ", "+") }
      assert.is_true(reply.status >= 400 and reply.status < 500, wrong .. ": " .. reply.status)
    end
    assert.equal(0, #calls)
    still_answers()
  end)

  it("with a broken query still has what can be read of it", function()
    local reply = engine:handle { path = path_of(stage) .. "&=&&a=%&b=%zz&c=%4&d&e=1=2&%00=%00" }
    assert.is_true(reply.status == 200 or reply.status == 400, tostring(reply.status))
    still_answers()
  end)

  it("that is no HTTP at all does no harm", function()
    for _, bytes in ipairs { "\x16\x03\x01\x02", "GET", ("\xff"):rep(1000), "GET / HTTP/9.9" } do
      local text = support.raw(engine, server, bytes .. "\r\n\r\n")
      assert.is_true(text == "" or text:find("^HTTP/1%.%d [45]") ~= nil, text:sub(1, 80))
    end
    still_answers()
  end)
end)
