-- routes_spec.lua - paths with parameters, and paths that must not lead anywhere.

local pipeline = require "pipeline"
local support = require "spec.http.support"

describe("a route", function()
  local engine, server

  before_each(function()
    engine = support.open()
    server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local function show(name)
    return function(request)
      local list = {}
      for key, value in pairs(request.path_params) do list[#list + 1] = key .. "=" .. value end
      table.sort(list)
      return 200, "text/plain", name .. "(" .. table.concat(list, ",") .. ")"
    end
  end

  -- What a path leads to, over the socket and without; both must be the same.
  local function ask(path, method)
    local direct = engine:handle { method = method, path = path }
    local reply = support.fetch(engine, server, { method = method or "GET", path = path })
    assert.equal(direct.status, reply.status, path)
    if method ~= "HEAD" then assert.equal(direct.body, reply.body, path) end
    return reply.status == 200 and reply.body or reply.status
  end

  it("has parameters, each for one segment, and one at the end for the rest", function()
    engine:route("GET", "/orders/:id", show("order"))
    engine:route("GET", "/orders/:id/items/:item_2", show("item"))
    engine:route("GET", "/files/*path", show("files"))
    engine:route("GET", "/orders/:id/*rest", show("rest"))
    assert.equal("order(id=17)", ask("/orders/17"))
    assert.equal("item(id=17,item_2=x)", ask("/orders/17/items/x"))
    assert.equal("rest(id=17,rest=items)", ask("/orders/17/items"))
    assert.equal("rest(id=17,rest=items/x/y)", ask("/orders/17/items/x/y"))
    assert.equal("files(path=a/b.txt)", ask("/files/a/b.txt"))
    assert.equal("files(path=)", ask("/files/"))
    assert.equal(404, ask("/files"))
    assert.equal(404, ask("/orders/"))
    assert.equal(404, ask("/orders"))
    assert.equal(405, ask("/orders/17", "POST"))
  end)

  it("gives parameters decoded, also with a slash in them", function()
    engine:route("GET", "/orders/:id", show("order"))
    assert.equal("order(id=a b/c)", ask("/orders/a%20b%2Fc"))
    assert.equal("order(id=\195\188)", ask("/orders/%C3%BC"))
    assert.equal("order(id=%41)", ask("/orders/%2541"))
    assert.equal("order(id=a+b)", ask("/orders/a+b"))
    assert.equal("order(id=..b)", ask("/orders/..b"))
  end)

  it("goes by literal segments first, then parameters, then the rest, whatever the order of calls", function()
    local paths = { "/a/b/c", "/a/b/:z", "/a/:y/c", "/a/:y/:z", "/a/*rest", "/:x/b/c", "/*all" }
    local expected = {
      ["/a/b/c"] = "/a/b/c()", ["/a/b/d"] = "/a/b/:z(z=d)", ["/a/e/c"] = "/a/:y/c(y=e)",
      ["/a/e/d"] = "/a/:y/:z(y=e,z=d)", ["/a/b"] = "/a/*rest(rest=b)", ["/a/b/c/d"] = "/a/*rest(rest=b/c/d)",
      ["/f/b/c"] = "/:x/b/c(x=f)", ["/f/b"] = "/*all(all=f/b)", ["/"] = "/*all(all=)",
    }
    for _ = 1, 2 do
      engine:close()
      engine = support.open()
      server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
      for _, path in ipairs(paths) do engine:route("GET", path, show(path)) end
      for path, answer in pairs(expected) do assert.equal(answer, ask(path)) end
      for i = 1, #paths // 2 do paths[i], paths[#paths + 1 - i] = paths[#paths + 1 - i], paths[i] end
    end
  end)

  it("may call its parameters differently for each method", function()
    engine:route("GET", "/a/:x", show("get"))
    engine:route("POST", "/a/:y", show("post"))
    engine:route("*", "/a/:z/b", show("any"))
    assert.equal("get(x=1)", ask("/a/1"))
    assert.equal("post(y=1)", ask("/a/1", "POST"))
    assert.equal("any(z=1)", ask("/a/1/b", "PUT"))
    assert.equal(200, engine:handle { method = "HEAD", path = "/a/1" }.status)
    assert.equal("GET, HEAD, POST", engine:handle { method = "PUT", path = "/a/1" }.headers.allow)
  end)

  it("is refused with a segment that looks like a parameter and is none", function()
    local bad = {
      "/a/:", "/a/:1", "/a/:id.json", "/a/:id(%d+)", "/a/:id?", "/a/:id*", "/a/{id}", "/a/<id>", "/a/[id]",
      "/a/*rest/b",
      "/a/**", "/a/*1", "/a/b*", "/a/file-:id", "/a/:a-:b", "/:x/:x", "/:x/*x", "/a/../b", "/a/./b", "/a?b=:c", "/a#b",
    }
    for _, path in ipairs(bad) do
      local ok, problem = pcall(function() engine:route("GET", path, print) end)
      assert.is_false(ok, path)
      assert.truthy(problem:find("routes_spec.lua:%d+: bad argument #2 to 'route' %("), problem)
    end
    for _, path in ipairs { "/v1/things:batch", "/a:b", "/(a)", "/~user", "/a b", "/a//b" } do
      engine:route("GET", path, print)
    end
  end)

  it("is not reached around its literal segments", function()
    engine:route("*", "/admin/*", show("admin"))
    engine:route("*", "/admin/:what", show("what"))
    engine:route("*", "/public/*path", show("public"))
    engine:route("*", "/*", show("all"))
    for _, path in ipairs {
      "/admin/..%2fx", "/admin/..%2Fx", "/admin/%2e%2e%2fx", "/admin/..%5cx", "/admin/../x", "/admin/%2e%2e/x",
      "/admin/./x", "/public/../admin/x", "/public/..%2fadmin/x", "/public/%2e%2e/admin", "/public/a%2f..%2f..%2fb",
      "/..", "/.", "/%2e%2e", "/public/..",
    } do
      assert.equal(404, ask(path), path)
    end
    assert.equal(404, ask("/public%2fx"))
    assert.equal(404, ask("/public/a%2fb"))
    assert.equal(404, ask("/admin%2fx"))
    assert.equal("what(what=x)", ask("/admin/x"))
    assert.equal("what(what=..x)", ask("/admin/..x"))
    assert.equal("public(path=a..b/c)", ask("/public/a..b/c"))
  end)

  it("has no zero byte and no half of a code in its path", function()
    engine:route("*", "/*", show("all"))
    for _, path in ipairs { "/a%00", "/a%00.txt", "/%", "/%a", "/%zz", "/100%", "/a%2" } do
      assert.equal(400, engine:handle { path = path }.status, path)
      assert.equal(400, support.fetch(engine, server, { path = path }).status, path)
    end
    assert.equal(400, engine:handle { path = "/a\0b" }.status)
  end)

  it("of the library is not reached by an encoded slash either", function()
    local headers = { Authorization = "Bearer token-of-the-specs" }
    assert.equal(200, engine:handle { path = "/_ah/pipeline/rpc/list", headers = headers }.status)
    for _, path in ipairs { "/_ah%2fpipeline/rpc/list", "/_ah/pipeline%2Frpc/list", "/x/../_ah/pipeline/rpc/list" } do
      assert.equal(404, engine:handle { path = path, headers = headers }.status, path)
    end
  end)

  it("is not needed for OPTIONS of the server", function()
    local text = support.raw(engine, server, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.truthy(text:find("^HTTP/1.1 204 "))
  end)
end)
