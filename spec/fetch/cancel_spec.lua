-- cancel_spec.lua - requests that end early: by the handle, with their coroutine, with the engine or the process; and
-- callbacks of e:fetch_start.
local core = require "pipeline.core"
local support = require "spec.fetch.support"

describe("a request", function()
  local target, e, errors

  setup(function() target = support.target() end)
  teardown(function() support.stop(target) end)
  before_each(function() e, errors = support.open() end)
  after_each(function()
    e:close()
    assert.same({}, errors)
  end)

  local function url(path) return target.url .. path end

  it("calls back with the response, or with what went wrong", function()
    local calls = {}
    local function note(...) calls[#calls + 1] = table.pack(...) end
    local handle = assert(e:fetch_start({ url = url "/after" }, note))
    assert.equal(0, #calls)
    assert(e:run("ready"))
    assert.equal(1, #calls)
    assert.equal(1, calls[1].n)
    assert.equal("GET after", calls[1][1].body)
    assert.is_false(handle:cancel())
    assert(e:fetch_start({ url = "http://127.0.0.1:1/" }, note))
    assert(e:run("ready"))
    assert.equal(3, calls[2].n)
    assert.equal("ECONNREFUSED", calls[2][2])
    local refused, code = e:fetch_start({ url = "nonsense" }, note)
    assert.is_nil(refused)
    assert.equal("EINVAL", code)
    assert(e:run("ready"))
    assert.equal(2, #calls)
  end)

  it("calls back in a coroutine that may wait, and reports its errors", function()
    local order = {}
    e:fetch_start({ url = url "/pieces?3", stream = true }, function(response)
      assert(e:in_coroutine())
      e:sleep(0.01)
      while response:read() do order[#order + 1] = "piece" end
      order[#order + 1] = e:fetch { url = url "/after" }.body
    end)
    e:fetch_start({ url = url "/after" }, function() error("callback broke") end)
    support.wait(e, function() return order[#order] == "GET after" and #errors > 0 end)
    assert.equal("GET after", order[#order])
    assert.truthy(#order > 1)
    assert.equal(1, #errors)
    assert.truthy(errors[1]:find("callback broke", 1, true))
    errors[1] = nil
    assert.equal(0, e:fetch_facts().active)
  end)

  it("can be cancelled at any time", function()
    local called = 0
    local function count() called = called + 1 end
    e:fetch_limits { active = 2 }
    local handles = {}
    for i = 1, 6 do handles[i] = assert(e:fetch_start({ url = url "/never" }, count)) end
    assert.is_true(handles[6]:cancel()) -- before its coroutine began, waiting for its place
    e:sleep(0.02)
    for i = 1, 6 do
      assert.equal(i < 6, handles[i]:cancel())
      assert.is_false(handles[i]:cancel())
    end
    assert.equal(0, e:fetch_facts().active)
    assert(e:run("ready"))
    assert.equal(0, called)
    -- From inside another callback, of itself too; and with a body function under way.
    local own, other, sending, done
    e:fetch_limits {}
    other = e:fetch_start({ url = url "/never" }, count)
    sending = e:fetch_start({ url = url "/sink", method = "POST", body = function()
      e:sleep(0.05)
      return "x"
    end }, count)
    own = e:fetch_start({ url = url "/after" }, function()
      assert(other:cancel())
      assert(not own:cancel())
      e:sleep(0.03)
      assert(sending:cancel())
      done = true
    end)
    support.wait(e, function() return done and e:facts().coroutines == 0 end)
    assert.equal(0, called)
    assert.equal(0, e:fetch_facts().active)
    assert.equal(0, e:facts().coroutines)
  end)

  it("frees its place when it is cancelled", function()
    e:fetch_limits { active = 1 }
    local body
    local handle = e:fetch_start({ url = url "/never" }, print)
    e:fetch_start({ url = url "/after" }, function(response) body = response.body end)
    e:spawn(function()
      e:sleep(0.01)
      handle:cancel()
    end)
    support.wait(e, function() return body end)
    assert.equal("GET after", body)
  end)

  it("goes on when its handle is dropped", function()
    local body
    e:fetch_start({ url = url "/slow?0.02" }, function(response) body = response.body end)
    collectgarbage()
    e:sleep(0.005)
    collectgarbage()
    assert(e:run("ready"))
    assert.equal("slow", body)
  end)

  it("is cancelled with the engine, wherever it stands", function()
    e:fetch_limits { active = 20 }
    local closed, called = 0, 0
    local kept = {}
    local open = assert(e:fetch { url = url "/stall", stream = true })
    for i = 1, 30 do
      e:spawn(function()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        if i % 3 == 0 then
          local response = e:fetch { url = url "/stall", stream = true }
          kept[#kept + 1] = response
          assert(response:read())
          response:read()
        elseif i % 3 == 1 then
          e:fetch { url = url "/never" }
        else
          e:fetch { url = url "/sink?60", method = "POST", body = function() return ("x"):rep(100000) end }
        end
        called = called + 1
      end)
      kept[#kept + 1] = e:fetch_start({ url = url "/never" }, function() called = called + 1 end)
    end
    e:sleep(0.05)
    e:fetch_start({ url = url "/never" }, function() called = called + 1 end)
    e:close()
    assert.equal(30, closed)
    assert.equal(0, called)
    assert.equal("ECLOSED", (select(2, open:read())))
    open:close()
    for _, thing in ipairs(kept) do
      if type(thing) == "userdata" then assert.is_false(thing:cancel()) end
    end
    assert.equal("ECLOSED", (select(2, e:fetch { url = url "/after" })))
    assert.equal("ECLOSED", (select(2, e:fetch_start({ url = url "/after" }, print))))
    assert.equal("ECLOSED", (select(2, e:fetch_facts())))
  end)

  it("does not wait for a name that is being looked up", function()
    e:fetch_start({ url = "http://no-such-host.invalid/" }, print)
    e:run("next")
    e:close()
  end)

  it("ends with the state, open or running, without a leak", function()
    local function run(source)
      local name = os.tmpname()
      local file = assert(io.open(name, "w"))
      file:write(("local url = %q\n"):format(target.url), source)
      file:close()
      local pipe = assert(io.popen(("%s -W %s 2>&1"):format(os.getenv("LUA") or "lua5.4", name)))
      local output = pipe:read("a")
      local ok = pipe:close()
      os.remove(name)
      return ok, output
    end
    for _, last in ipairs { "", "e = nil kept = nil collectgarbage()", "e:close()", "os.exit(0, true)",
      "e:spawn(function() e:sleep(0.01) os.exit(0, true) end) e:run('forever')" } do
      local ok, output = run([[
        e = require("pipeline.core").open(":memory:")
        kept = assert(e:fetch{url = url .. "/stall", stream = true})
        handle = e:fetch_start({url = url .. "/never"}, print)
        e:fetch_start({url = url .. "/never"}, print)
        e:sleep(0.01)
        ]] .. last)
      assert.equal("", output)
      assert.truthy(ok, last)
    end
  end)

  it("works with several engines, on each its own", function()
    local other = core.open(":memory:")
    local bodies = {}
    for _, engine in ipairs { e, other } do
      engine:fetch_start({ url = url "/after" }, function(response) bodies[#bodies + 1] = response.body end)
    end
    assert(other:run("ready"))
    assert.equal(1, #bodies)
    assert(e:run("ready"))
    assert.equal(2, #bodies)
    other:close()
  end)

  it("reaches the server of its own engine", function()
    local server = assert(e:serve { port = 0, handler = function(request)
      if request.path == "/far" then return 200, {}, e:fetch { url = url "/after" }.body end
      return 200, {}, request.method .. #request.body
    end })
    local own = "http://127.0.0.1:" .. server.port
    assert.equal("POST70000", e:fetch { url = own, method = "POST", body = ("x"):rep(70000) }.body)
    local pieces = 3
    assert.equal("PUT30", e:fetch { url = own, method = "PUT", body = function()
      pieces = pieces - 1
      return pieces >= 0 and ("x"):rep(10) or nil
    end }.body)
    assert.equal("GET after", e:fetch { url = own .. "/far" }.body)
    local good = 0
    for _ = 1, 40 do -- each needs two places
      e:fetch_start({ url = own .. "/far" }, function(response)
        if response.body == "GET after" then good = good + 1 end
      end)
    end
    assert(e:run("ready"))
    assert.equal(40, good)
  end)
end)
