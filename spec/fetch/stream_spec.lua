-- stream_spec.lua - bodies in pieces, both ways: order, back-pressure, early ends, and a flat memory.
local pace = require "spec.support.pace"
local support = require "spec.fetch.support"

describe("fetch in pieces", function()
  local target, e, errors

  setup(function() target = support.target() end)
  teardown(function() support.stop(target) end)

  before_each(function() e, errors = support.open() end)

  after_each(function()
    local facts = e:fetch_facts()
    e:close()
    assert.equal(0, facts.active)
    assert.same({}, errors)
  end)

  local function get(path, options)
    options = options or {}
    options.url = target.url .. path
    return e:fetch(options)
  end

  local function seen(name) return tonumber(get("/seen?" .. name).body) end

  local function both(fn)
    fn()
    support.inside(e, fn)
  end

  it("reads an answer piece by piece", function()
    both(function()
      local response = assert(get("/pieces?50", { stream = true }))
      assert.equal(200, response.status)
      assert.equal("chunked", response.headers["transfer-encoding"])
      assert.is_nil(response.body)
      local pieces = {}
      for piece in response.read, response do
        assert.truthy(#piece > 0)
        pieces[#pieces + 1] = piece
      end
      local expected = {}
      for i = 1, 50 do expected[i] = ("x"):rep(65536) .. i end
      assert.equal(table.concat(expected), table.concat(pieces))
      assert.is_nil(response.headers["x-trailer"])
      assert.equal(1, select("#", response:read()))
      response:close()
      assert.equal(1, select("#", response:read()))
    end)
  end)

  it("gives answers without a body, and errors before the head", function()
    both(function()
      for _, path in ipairs { "/status?204", "/after" } do
        local response = assert(get(path, { stream = true }))
        local all = ""
        for piece in response.read, response do all = all .. piece end
        assert.equal(path == "/after" and "GET after" or "", all)
      end
      local followed <close> = assert(get("/status?302", { stream = true, follow = true }))
      assert.equal("GET after", followed:read())
      local response, code = get("/drop", { stream = true })
      assert.is_nil(response)
      assert.equal("ECONNRESET", code)
      assert.equal("ETIMEDOUT", (select(2, get("/never", { stream = true, deadline = 0.05 }))))
    end)
  end)

  it("gives what came before the connection broke, then the error", function()
    both(function()
      local response = assert(get("/half", { stream = true }))
      local size = 0
      local piece, code
      repeat
        piece, code = response:read()
        size = size + #(piece or "")
      until not piece
      assert.equal(500, size)
      assert.equal("ECONNRESET", code)
      assert.equal("ECONNRESET", (select(2, response:read())))
    end)
  end)

  it("counts the deadline only while it waits for the server", function()
    local deadline = 0.5 * pace -- ten times and more what the server needs for a piece, and others may be at work, too
    both(function()
      local response = assert(get("/stall", { stream = true, deadline = deadline }))
      e:sleep(deadline * 1.2)
      assert.equal("first", response:read())
      local piece, code, message = response:read()
      assert.is_nil(piece)
      assert.equal("ETIMEDOUT", code)
      assert.equal(("no more of the answer within %g s"):format(deadline), message)
      response = assert(get("/dribble", { stream = true, deadline = deadline }))
      local size, began = 0, e:steady()
      while e:steady() - began < deadline * 1.2 do size = size + #assert(response:read()) end
      assert.is_true(size > 1)
      response:close()
      response:close()
      assert.equal("ECLOSED", (select(2, response:read())))
    end)
  end)

  it("ends at max_size", function()
    local response = assert(get("/pieces?100", { stream = true, max_size = 1000000 }))
    local size = 0
    local piece, code
    repeat
      piece, code = response:read()
      size = size + #(piece or "")
    until not piece
    assert.equal("ELIMIT", code)
    assert.truthy(size <= 1000000)
  end)

  it("makes the server wait for a reader who is slow", function()
    both(function()
      get("/reset")
      local response <close> = assert(get("/flood", { stream = true }))
      local total = #response:read()
      e:sleep(0.3)
      local sent = seen("flood")
      assert.truthy(sent < 16 * 1024 * 1024, sent)
      local before = support.memory()
      while total < 200 * 1024 * 1024 do
        local piece = response:read()
        assert.truthy(#piece <= 512 * 1024)
        total = total + #piece
        collectgarbage("step", 10)
      end
      assert.truthy(support.memory() - before < 50 * 1024, "memory grew")
    end)
  end)

  it("sends a body piece by piece", function()
    both(function()
      local pieces = { "first", "", "second", ("x"):rep(1000000), "\0" }
      local i = 0
      local response = assert(get("/echo", { method = "PUT", body = function()
        i = i + 1
        if i % 2 == 0 then e:sleep(0.005) end
        return pieces[i]
      end }))
      local head, body = response.body:match("^(.-)\n\n(.*)$")
      assert.truthy(head:find("Transfer-Encoding: chunked", 1, true))
      assert.truthy(head:find("^PUT\n"))
      assert.equal(table.concat(pieces), body)
      assert.equal(6, i)
      assert.truthy(get("/echo", { method = "POST", body = function() end }).body:find("\n\n$"))
      local _, code = get("/echo", { method = "POST", body = function() end, follow = true })
      assert.equal("EINVAL", code)
    end)
  end)

  it("asks for no more of a body than the server takes", function()
    both(function()
      local piece, made = ("y"):rep(65536), 0
      local ended, response
      local before = support.memory()
      e:spawn(function()
        response = get("/sink?0.3", { method = "POST", body = function()
          made = made + 1
          if made <= 1600 then return piece end
        end })
        ended = true
      end)
      e:sleep(0.2)
      assert.truthy(made > 0 and made < 300, made)
      local limit = 0
      while not ended and limit < 1000 do
        e:sleep(0.01)
        limit = limit + 1
      end
      assert.equal(tostring(1600 * 65536), response.body)
      assert.truthy(support.memory() - before < 50 * 1024, "memory grew")
    end)
  end)

  it("copies an answer into another request, both in pieces", function()
    support.inside(e, function()
      local from <close> = assert(get("/pieces?40", { stream = true }))
      local size = 0
      local to = assert(get("/sink?0.02", { method = "POST", body = function()
        local piece = from:read()
        size = size + #(piece or "")
        return piece
      end }))
      assert.truthy(size > 40 * 65536)
      assert.equal(tostring(size), to.body)
    end)
  end)

  it("sends while it reads the answer", function()
    both(function()
      local made = 0
      local response = assert(get("/dribble", { method = "POST", stream = true, body = function()
        made = made + 1
        e:sleep(0.002)
        return made < 10 and "piece" or nil
      end }))
      for _ = 1, 5 do assert(response:read()) end
      response:close()
    end)
  end)

  it("cancels the request when the body function fails", function()
    both(function()
      for _, bad in ipairs { function() error("no body") end, function() return 5 end, function() return {} end } do
        local ok, problem = pcall(get, "/sink", { method = "POST", body = bad })
        assert.is_false(ok)
        assert.truthy(tostring(problem):find("body"))
      end
      assert.equal(0, e:fetch_facts().active)
    end)
  end)

  it("has one reader at a time", function()
    support.inside(e, function()
      local response <close> = assert(get("/stall", { stream = true }))
      assert.equal("first", response:read())
      local first
      e:spawn(function() first = table.pack(response:read()) end)
      e:sleep(0.01)
      assert.equal("ESTATE", (select(2, response:read())))
      response:close()
      e:sleep(0.01)
      assert.equal("ECLOSED", first[2])
    end)
  end)

  it("refuses what is no response in pieces", function()
    local response = assert(get("/after", { stream = true }))
    local read = response.read
    for _, wrong in ipairs { 1, {}, { _stream = 1 }, { _stream = io.stdout } } do
      assert.has_error(function() read(wrong) end)
    end
    while response:read() do end
  end)

  it("closes a response that nobody holds", function()
    get("/stall", { stream = true })
    collectgarbage()
    collectgarbage()
    assert.equal(0, e:fetch_facts().active)
  end)
end)
