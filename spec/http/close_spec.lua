-- What a client gets when the program ends as soon as the visit has done its work.

local http = require "socket.http"

local PROGRAM = [[
local pipeline = require "pipeline"
local Approve = pipeline.define("close.Approve", {
  async = true, public_callbacks = true,
  run = function() end,
  callback = function(self)
    self:complete(true)
    pipeline.default()._core:sleep(0.05) -- the wait below is over long before the answer is ready
    return 200, "text/html", "<h1>Thank you</h1>"
  end,
})
local engine <close> = pipeline.open(":memory:")
local server = engine:serve { port = 0, admin_token = "not-printed" }
local stage = Approve():start()
io.write(server.url, stage:get_callback_url(), "\n")
io.flush()
assert(engine:wait(stage).default.value == true)
]]

describe("closing", function()
  it("a visit that ends the wait is answered, though the program closes at once", function()
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write(PROGRAM)
    file:close()
    local pipe = assert(io.popen(("timeout 20 '%s' '%s'"):format(os.getenv("LUA") or "lua5.4", name)))
    local url = pipe:read("l")
    local body, status = http.request(url)
    local ended = pipe:close()
    os.remove(name)
    assert.equal(200, status)
    assert.equal("<h1>Thank you</h1>", body)
    assert.is_true(ended)
  end)
end)
