-- support.lua - what the fetch specs share: the server process, engines whose errors are collected.
local core = require "pipeline.core"
local memory = require "spec.support.memory"

local support = {}

local LUA = "lua5.4" -- not the one under test: a server needs no sanitizer

--- Starts spec/fetch/target.lua; with certificate and key it speaks TLS.
function support.target(certificate, key)
  local target = { scheme = certificate and "https" or "http" }
  local command = ("env -u LD_PRELOAD %s spec/fetch/target.lua %s %s"):format(LUA, certificate or "", key or "")
  target.pipe = assert(io.popen(command))
  target.port = assert(tonumber(target.pipe:read("l")), "the server did not start")
  target.url = ("%s://127.0.0.1:%d"):format(target.scheme, target.port)
  return target
end

function support.stop(target, options)
  local e = assert(core.open(":memory:"))
  options = options or {}
  options.url = target.url .. "/quit"
  assert(e:fetch(options))
  e:close()
  target.pipe:close()
end

--- An engine whose errors are collected; virtual time on demand.
function support.open(options)
  local e = assert(core.open(":memory:", options))
  local errors = {}
  e:on("error", function(problem) errors[#errors + 1] = problem end)
  return e, errors
end

--- Runs fn in a managed coroutine until it ends; returns what it returns, raises what it raises.
function support.inside(e, fn)
  local result
  assert(e:spawn(function()
    result = table.pack(pcall(fn))
    e:stop()
  end))
  e:run("forever", 60)
  assert(result, "the coroutine did not end")
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

--- Runs the loop until the condition holds.
function support.wait(e, condition)
  local left = 4000
  while not condition() do
    assert(left > 0, "it did not happen")
    left = left - 1
    e:sleep(0.005)
  end
end

--- Kibibytes of memory this process holds; 0 where a tool holds more of it than we do.
function support.memory()
  if (os.getenv("PL_BUILD") or ""):find("san$") or (os.getenv("WRAP") or "") ~= "" then return 0 end
  return memory.resident()
end

--- A self-signed certificate for 127.0.0.1: the paths of the certificate and its key, and of the directory.
function support.certificate()
  local pipe = assert(io.popen("mktemp -d"))
  local directory = pipe:read("l")
  pipe:close()
  local certificate, key = directory .. "/certificate.pem", directory .. "/key.pem"
  assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s -out %s "
    .. "-days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2>/dev/null"):format(key, certificate)))
  return certificate, key, directory
end

return support
