-- tls_spec.lua - HTTPS against a server with a certificate that only its file vouches for.
local support = require "spec.fetch.support"

describe("fetch over TLS", function()
  local target, certificate, key, directory, e

  setup(function()
    certificate, key, directory = support.certificate()
    target = support.target(certificate, key)
  end)

  teardown(function()
    support.stop(target, { ca_file = certificate })
    os.execute("rm -r '" .. directory .. "'")
  end)

  before_each(function() e = support.open() end)
  after_each(function() e:close() end)

  local function get(path, options)
    options.url = target.url .. path
    return e:fetch(options)
  end

  it("trusts no certificate but those of the system, or of the file", function()
    local response, code, message = get("/after", {})
    assert.is_nil(response)
    assert.equal("ETLS", code)
    assert.truthy(message:find("certificate", 1, true))
    assert.equal("GET after", get("/after", { ca_file = certificate }).body)
    assert.equal("GET after", get("/after", { verify = false }).body)
    -- A connection that was not verified is no answer to a request that wants it verified.
    assert.equal("ETLS", (select(2, get("/after", {}))))
    assert.equal("ETLS", (select(2, get("/after", { ca_file = key }))))
    assert.equal("ETLS", (select(2, get("/after", { ca_file = directory .. "/none" }))))
  end)

  it("checks the name of the host", function()
    local url = target.url:gsub("127%.0%.0%.1", "localhost")
    local _, code = e:fetch { url = url .. "/after", ca_file = certificate }
    assert.equal("ETLS", code)
  end)

  it("keeps connections, and sends and reads in pieces", function()
    for _ = 1, 5 do assert.equal(200, get("/after", { ca_file = certificate }).status) end
    assert.equal(1, e:fetch_facts().connections)
    local left = 5
    local response = get("/echo", { ca_file = certificate, method = "POST", body = function()
      left = left - 1
      return left >= 0 and ("z"):rep(50000) or nil
    end })
    assert.equal(("z"):rep(250000), response.body:match("\n\n(.*)$"))
    response = get("/pieces?30", { ca_file = certificate, stream = true })
    local size = 0
    for piece in response.read, response do size = size + #piece end
    assert.equal(30 * 65536 + 51, size)
    assert.equal(3000000, #get("/big?3000000", { ca_file = certificate }).body)
    assert.equal("ECONNRESET", (select(2, get("/half", { ca_file = certificate }))))
  end)
end)
