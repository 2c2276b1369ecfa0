-- support.lua - what specs of the pages share: an engine with a server, and requests as a browser sends them.

local json = require "pipeline.http.json"

local support = {}

support.ADMIN, support.VIEWER = "admin-token-of-specs", "viewer-token-of-specs"
support.BASE = "/_ah/pipeline"

--- Answers a request of a browser at 127.0.0.1, without a socket: given has path (below the base path), method,
-- headers, json, and `cookie`, `csrf` of a session. The answer's body is read as `json` when it is JSON.
function support.ask(engine, given)
  local headers = { host = "127.0.0.1:8080" }
  for name, value in pairs(given.headers or {}) do headers[name] = value or nil end
  if given.cookie then headers.cookie = given.cookie end
  if given.csrf then headers["x-csrf-token"] = given.csrf end
  local method = given.method or (given.json and "POST") or "GET"
  if method == "POST" and headers.origin == nil then headers.origin = "http://" .. headers.host end
  for name, value in pairs(headers) do headers[name] = value ~= "" and value or nil end
  local reply = engine:handle {
    method = method, path = (given.base or support.BASE) .. "/" .. given.path, headers = headers, query = given.query,
    body = given.json and json.encode(given.json) or "", remote_address = given.from or "127.0.0.1",
  }
  if (reply.headers["content-type"] or ""):find("^application/json") then reply.json = json.decode(reply.body) end
  return reply
end

--- Signs in; returns the cookie as a browser sends it, the token for acts, and the Set-Cookie line.
function support.sign_in(engine, token)
  local reply = support.ask(engine, { path = "api/sign-in", json = { token = token } })
  assert(reply.status == 200, reply.body)
  local line = reply.headers["set-cookie"][1]
  local cookie = line:match("^[^;]+")
  return cookie, support.ask(engine, { path = "api/session", cookie = cookie }).json.csrf, line
end

return support
