-- fetch_spec.lua - HTTP requests against a server in a process of its own: answers of all kinds, limits, failures.
local pace = require "spec.support.pace"
local core = require "pipeline.core"
local support = require "spec.fetch.support"

describe("fetch", function()
  local target, e, errors

  setup(function() target = support.target() end)
  teardown(function() support.stop(target) end)

  before_each(function() e, errors = support.open() end)

  after_each(function()
    local facts = e:fetch_facts()
    e:close()
    assert.equal(0, facts.active)
    assert.equal(0, facts.queued)
    assert.same({}, errors)
  end)

  local function get(path, options)
    options = options or {}
    options.url = target.url .. path
    return e:fetch(options)
  end

  local function seen(name) return tonumber(get("/seen?" .. name).body) end

  -- In a managed coroutine, and in the main program, which runs the loop.
  local function both(fn)
    fn()
    support.inside(e, fn)
  end

  it("gives every status as an answer", function()
    both(function()
      for _, status in ipairs { 200, 302, 404, 500, 599 } do
        local response = assert(get("/status?" .. status))
        assert.equal(status, response.status)
        assert.equal("status " .. status, response.body)
        assert.equal(target.url .. "/status?" .. status, response.url)
      end
      local response = assert(get("/status?204"))
      assert.equal(204, response.status)
      assert.equal("", response.body)
    end)
  end)

  it("follows redirects only when asked", function()
    both(function()
      assert.equal("/after", get("/status?302").headers.location)
      local response = assert(get("/status?302", { follow = true }))
      assert.equal(200, response.status)
      assert.equal("GET after", response.body)
      assert.equal(target.url .. "/after", response.url)
      assert.is_nil(response.headers.location)
      assert.equal("ELIMIT", (select(2, get("/loop", { follow = 3 }))))
      assert.equal("EPROTO", (select(2, get("/elsewhere", { follow = true }))))
      assert.equal(302, get("/elsewhere").status)
      assert.equal(302, get("/status?302", { follow = true, method = "PUT", body = "" }).status)
    end)
  end)

  it("sends method, headers and body as given", function()
    both(function()
      local bytes = {}
      for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
      local body = table.concat(bytes):rep(100)
      for _, method in ipairs { "POST", "PUT", "PATCH", "DELETE", "GET", "PURGE" } do
        local response = assert(get("/echo", {
          method = method, body = body, headers = { ["X-A"] = "b c", ["X-Empty"] = "", ["X-List"] = { "1", "2" } },
        }))
        local head, back = response.body:match("^(.-)\n\n(.*)$")
        assert.equal(body, back)
        assert.truthy(head:find("^" .. method .. "\n"))
        for _, line in ipairs { "X-A: b c", "X-Empty:", "X-List: 1", "X-List: 2", "Content-Length: 25600" } do
          assert.truthy(("\n" .. head .. "\n"):find("\n" .. line .. "\n", 1, true), line)
        end
        assert.is_nil(head:lower():find("content-type", 1, true))
        assert.is_nil(head:lower():find("expect", 1, true))
      end
      local echo = get("/echo", { method = "POST", headers = { ["Content-Type"] = "text/x", ["User-Agent"] = "me" } })
      assert.truthy(echo.body:find("Content-Length: 0\n", 1, true))
      assert.truthy(echo.body:find("Content-Type: text/x\n", 1, true))
      assert.truthy(echo.body:find("User-Agent: me\n", 1, true))
      local head = get("/status?404", { method = "HEAD", headers = { Connection = "close" } })
      assert.equal(404, head.status)
      assert.equal("", head.body)
    end)
  end)

  it("gives headers by lower-case name, joined, and as a list", function()
    local response = assert(get("/headers"))
    assert.same({
      ["set-cookie"] = "a=1, x, b=2", ["x-one"] = "1", ["x-empty"] = "", ["x-last"] = "z", ["content-length"] = "0",
    }, response.headers)
    assert.same({
      { "set-cookie", "a=1, x" }, { "x-one", "1" }, { "set-cookie", "b=2" }, { "x-empty", "" }, { "x-last", "z" },
      { "content-length", "0" },
    }, response.header_list)
  end)

  it("refuses headers, methods and URLs that would smuggle something in", function()
    local refused = {
      { headers = { ["X-A"] = "a\r\nX-B: b" } }, { headers = { ["X-A"] = "a\nb" } }, { headers = { ["X-A"] = "a\0b" } },
      { headers = { ["X-A\r\nX-B"] = "b" } }, { headers = { ["X A"] = "b" } }, { headers = { [""] = "b" } },
      { headers = { ["X-A:"] = "b" } }, { headers = { ["Content-Length"] = "3" } },
      { headers = { ["transfer-encoding"] = "chunked" } }, { method = "GET / HTTP/1.1\r\nX-B: b\r\n\r\nGET" },
      { method = "" }, { method = "CONNECT" }, { method = "HEAD", body = "x" },
    }
    both(function()
      for i, options in ipairs(refused) do
        local response, code, message = get("/echo", options)
        assert.is_nil(response, "case " .. i)
        assert.equal("EINVAL", code)
        assert.is_string(message)
      end
      for _, url in ipairs {
        "", "127.0.0.1", "/echo", "file:///etc/passwd", "ftp://127.0.0.1/", "dict://127.0.0.1:1/d", "http://", "https:",
        "http://127.0.0.1:99999/", target.url .. "/a b", target.url .. "/\r\nX-B: b", target.url .. "/\0",
        "gopher://127.0.0.1/",
      } do
        local response, code = e:fetch { url = url }
        assert.is_nil(response, url)
        assert.equal("EINVAL", code, url)
      end
    end)
  end)

  it("raises where an option is of the wrong type", function()
    for _, options in ipairs {
      {}, { url = 1 }, { url = "http://x/", method = {} }, { url = "http://x/", headers = "a" },
      { url = "http://x/", headers = { "a" } }, { url = "http://x/", headers = { a = 1 } },
      { url = "http://x/", headers = { a = { {} } } }, { url = "http://x/", body = 5 },
      { url = "http://x/", deadline = "x" }, { url = "http://x/", deadline = -1 },
      { url = "http://x/", deadline = 0 / 0 }, { url = "http://x/", max_size = -1 },
      { url = "http://x/", max_size = 0.5 }, { url = "http://x/", follow = "yes" }, { url = "http://x/", verify = 0 },
      { url = "http://x/", stream = 1 }, { url = "http://x/", proxy = 1 },
    } do
      assert.has_error(function() e:fetch(options) end)
      assert.has_error(function() e:fetch_start(options, print) end)
    end
    assert.has_error(function() e:fetch "http://x/" end)
    assert.has_error(function() e:fetch_start { url = "http://x/" } end)
    assert.has_error(function() core.open(":memory:").fetch { url = "http://x/" } end)
  end)

  it("gives up at the deadline", function()
    both(function()
      local response, code, message = get("/never", { deadline = 0.05 })
      assert.is_nil(response)
      assert.equal("ETIMEDOUT", code)
      assert.equal("no answer within 0.05 s", message)
      assert.equal("ETIMEDOUT", (select(2, get("/dribble", { deadline = 0.1 }))))
    end)
    -- One that waits for its place has a deadline as well.
    e:fetch_limits { active = 1 }
    local codes = {}
    for i = 1, 3 do
      e:fetch_start({ url = target.url .. "/never", deadline = 0.1 }, function(_, code) codes[i] = code end)
    end
    e:run("ready")
    assert.same({ "ETIMEDOUT", "ETIMEDOUT", "ETIMEDOUT" }, codes)
  end)

  it("takes a body of 10 MB, and none over max_size", function()
    both(function()
      assert.equal(10000000, #assert(get("/big?10000000")).body)
      assert.equal(1000, #assert(get("/big?1000", { max_size = 1000 })).body)
      local response, code = get("/big?1001", { max_size = 1000 }) -- the length tells
      assert.is_nil(response)
      assert.equal("ELIMIT", code)
      assert.equal("ELIMIT", (select(2, get("/pieces?100", { max_size = 1000000 })))) -- the bytes do
      assert.equal("ELIMIT", (select(2, get("/head?10000")))) -- half a megabyte of headers
      assert.equal("ELIMIT", (select(2, get("/head?1100"))))
      assert.equal(("y"):rep(50), get("/head?900").headers["x-900"])
    end)
  end)

  it("names what went wrong with the connection", function()
    both(function()
      local function code(url) return (select(2, e:fetch { url = url })) end
      assert.equal("ECONNRESET", code(target.url .. "/half"))
      assert.equal("ECONNRESET", code(target.url .. "/drop"))
      assert.equal("EPROTO", code(target.url .. "/garbage"))
      assert.equal("EPROTO", code(target.url .. "/statusless"))
      assert.equal("ECONNREFUSED", code("http://127.0.0.1:1/"))
      assert.equal("ENOHOST", code("http://no-such-host.invalid/"))
      assert.equal("ETLS", code("https://127.0.0.1:" .. target.port .. "/"))
      assert.equal(500, #get("/open").body)
    end)
  end)

  it("has the answer that a server gave before it reset the connection", function()
    for _ = 1, 50 do assert.equal("hello", assert(get("/hurry")).body) end
  end)

  it("keeps the head of an answer apart from its trailers", function()
    local answer = get("/trailer")
    assert.same({ 201, "hello", "1" }, { answer.status, answer.body, answer.headers["x-one"] })
    assert.is_nil(answer.headers["x-two"])
  end)

  it("takes nothing of one answer into the next, however that begins", function()
    for _ = 1, 5 do
      assert.equal("z", get("/headers").headers["x-last"])
      assert.equal("EPROTO", (select(2, get("/folded"))))
    end
  end)

  it("keeps connections open and uses them again", function()
    get("/reset")
    local before = seen("connections")
    for _ = 1, 50 do assert.equal(200, get("/status?200").status) end
    assert.equal(before, seen("connections"))
    assert.equal(1, e:fetch_facts().connections)
  end)

  it("does a thousand requests with a limit on how many at once", function()
    local slow = ("/slow?%.3f"):format(0.001 * pace) -- so that there is time to ask for as many as may be
    get("/reset")
    e:fetch_limits { active = 10 }
    local good, order = 0, {}
    for i = 1, 1000 do
      assert(e:fetch_start({ url = target.url .. slow }, function(response)
        if response and response.body == "slow" then good = good + 1 end
        order[#order + 1] = i
      end))
    end
    assert.equal(10, e:fetch_facts().active)
    assert.equal(990, e:fetch_facts().queued)
    assert(e:run("ready"))
    assert.equal(1000, good)
    assert.truthy(order[1] <= 10 and order[1000] > 980)
    assert.equal(10, seen("most"))
    assert.truthy(seen("connections") <= 10)
    e:close()
    e, errors = support.open()
    e:fetch_limits { active = 50, per_host = 5 }
    get("/reset")
    for _ = 1, 100 do e:fetch_start({ url = target.url .. slow }, function() end) end
    assert(e:run("ready"))
    assert.equal(5, seen("most"))
  end)

  it("waits in real time while virtual time stands still", function()
    e:close()
    e, errors = support.open { virtual_time = true, virtual_start = 1000 }
    local order = {}
    e:spawn(function()
      e:sleep(3600)
      order[#order + 1] = "slept"
    end)
    e:spawn(function()
      assert.equal("slow", get("/slow?0.05").body)
      order[#order + 1] = e:now()
    end)
    assert(e:run("all"))
    assert(e:sleep(3600))
    assert.same({ 1000, "slept" }, order)
    assert.equal("slow", get("/slow?0.01").body)
    assert.equal(4600, e:now())
  end)

  it("gives tasks of the loop their turn while the main program waits", function()
    local ticks = 0
    e:spawn(function()
      for _ = 1, 3 do
        e:sleep(0.005)
        ticks = ticks + 1
      end
    end)
    assert.equal("slow", get("/slow?0.1").body)
    assert.equal(3, ticks)
  end)

  it("says so where it cannot wait, and when the loop is stopped", function()
    support.inside(e, function()
      local code
      table.sort({ 1, 2 }, function(a, b)
        code = select(2, get("/status?200"))
        return a < b
      end)
      assert.equal("ESTATE", code)
    end)
    e:spawn(function()
      e:sleep(0.01)
      e:stop()
    end)
    local response, code = get("/never")
    assert.is_nil(response)
    assert.equal("ESTATE", code)
    assert.equal(200, get("/status?200").status)
  end)

  it("uses no proxy of the environment unless asked", function()
    local lua = ("%s -e %q"):format(os.getenv("LUA") or "lua5.4", ([[
      local e = require("pipeline.core").open(":memory:")
      local url = "%s/status?200"
      print(e:fetch{url = url}.status, (select(2, e:fetch{url = url, proxy = true})),
        (select(2, e:fetch{url = url, proxy = "http://127.0.0.1:1"})),
        e:fetch{url = "http://no-such-host.invalid/echo", proxy = "%s"}.status)
      e:close()]]):format(target.url, target.url):gsub("\n", " "))
    local pipe = assert(io.popen("no_proxy= http_proxy=http://127.0.0.1:1 " .. lua .. " 2>&1"))
    local output = pipe:read("a")
    pipe:close()
    assert.equal("200\tECONNREFUSED\tECONNREFUSED\t404\n", output)
  end)
end)
