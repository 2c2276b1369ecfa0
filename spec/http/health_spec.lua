-- health_spec.lua - what supervisors and load balancers ask.

local cjson = require "cjson"
local pipeline = require "pipeline"
local support = require "spec.http.support"

local ADMIN = { Authorization = "Bearer token-of-the-specs" }

describe("health", function()
  local engine

  local function ask(path, headers)
    local reply = engine:handle { path = path, headers = headers }
    return reply.status, cjson.decode(reply.body), reply
  end

  after_each(function()
    if engine then engine:close() end
    pipeline.set_logger(nil)
  end)

  it("O5 /healthz is 200 while the process answers, with facts for administrators only", function()
    engine = support.open()
    engine:serve { port = 0, admin_token = "token-of-the-specs" }
    local status, body, reply = ask("/healthz")
    assert.equal(200, status)
    assert.same({ status = "ok" }, body)
    assert.equal("no-store", reply.headers["cache-control"])
    status, body = ask("/healthz", ADMIN)
    assert.equal(200, status)
    assert.same({ "ok", pipeline.version, "full", 0 }, { body.status, body.version, body.durability, body.executing })
    assert.same({ status = "ok" }, select(2, ask("/healthz", { Authorization = "Bearer another-token" })))
  end)

  it("O5 /readyz is 200 when the store takes a commit, and tells administrators more", function()
    engine = support.open()
    engine:serve { port = 0, admin_token = "token-of-the-specs" }
    local status, body = ask("/readyz")
    assert.equal(200, status)
    assert.same({ status = "ready" }, body)
    status, body = ask("/readyz", ADMIN)
    assert.equal(200, status)
    assert.same({ status = "ready", store = "ok", lease = "held", stopping = false }, body)
    assert.equal(405, engine:handle { method = "POST", path = "/readyz" }.status)
    assert.equal(200, engine:handle { method = "HEAD", path = "/readyz" }.status)
  end)

  it("O5 /readyz of an engine that executes nothing needs no lease", function()
    engine = support.open { no_worker = true }
    engine:serve { port = 0, admin_token = "token-of-the-specs" }
    local status, body = ask("/readyz", ADMIN)
    assert.equal(200, status)
    assert.equal("not a worker", body.lease)
  end)

  it("O5 /readyz costs a commit a second at most", function()
    engine = support.open()
    local before = engine._core:facts().commits
    for _ = 1, 50 do assert.equal(200, (ask("/readyz"))) end
    assert.is_true(engine._core:facts().commits - before <= 3)
  end)

  it("O5 /readyz is 503 while the engine stops", function()
    engine = support.open()
    engine:serve { port = 0, admin_token = "token-of-the-specs" }
    local Slow = pipeline.define("spec.health.Slow", {
      run = function()
        engine:stop()
        engine:sleep(0.01)
        local status, body = ask("/readyz", ADMIN)
        return { status, body.status, body.stopping }
      end,
    })
    local stage = Slow():start()
    engine:run()
    assert.same({ 503, "not ready", true }, engine:wait(stage).default.value)
  end)
end)

describe("/readyz without a store", function()
  -- The write that fails is in the build that can make it fail; see spec/faults.
  it("O5 is 503, and does not say why to everybody", function()
    local engine = support.open()
    local server = engine:serve { port = 0, admin_token = "token-of-the-specs" }
    local core = engine._web.core
    -- What the core says when the disk is full; the specs of faults see to it that it says so.
    engine._web.core = setmetatable({ meta = function() return nil, "EFULL", "disk full" end }, {
      __index = function(_, name)
        return function(_, ...) return core[name](core, ...) end
      end,
    })
    local reply = support.fetch(engine, server, { path = "/readyz" })
    assert.equal(503, reply.status)
    assert.same({ status = "not ready" }, cjson.decode(reply.body))
    reply = support.fetch(engine, server, { path = "/readyz", headers = ADMIN })
    assert.equal("disk full (EFULL)", cjson.decode(reply.body).store)
    engine._web.core = core
    engine:close()
    pipeline.set_logger(nil)
  end)
end)
