--- access.lua: who may see the pages and who may act on them.
--
--   host ──► who is it ──► for acts by a browser: origin, and the token of the page
--
-- A session is a cookie that says who it is for and until when, signed with the secret of the store together with the
-- token it was made for: it holds in every process on the store and after a restart, and ends when the token changes.
-- A page of another site can neither read the token for acts (X-CSRF-Token) nor send the right Origin. A name that is
-- made to lead here by somebody else's name server is no host of ours (`allowed_hosts`).
--
-- Invariants
--   1. No comparison of a secret takes a time that depends on where it differs.
--   2. Wrong tokens are limited, and cost the log one line a minute (attempts.lua).
--   3. While no token was configured nobody but this machine is served, under its own names.

local attempts = require "pipeline.pages.attempts"
local current = require "pipeline.current"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local text = require "pipeline.support.text"

local access = {}

local SESSION_SECONDS = 12 * 3600
local MARK_SECONDS = 30 * 86400

local Access = {}
local meta = { __name = "pipeline.PagesAccess", __index = Access }

--- Makes what decides for the pages of a web object.
function access.new(web)
  return setmetatable({
    web = web, viewer_mac = false, allowed_hosts = {}, serve_host = false,
    attempts = attempts.new(web), tokens = setmetatable({}, { __mode = "k" }),
  }, meta)
end

local function check_token(name, token)
  if type(token) == "string" and #token >= 8 and not token:find("[^%w%-._~+/=]") then return end
  errors.raise(errors.ConfigurationError, "%s must be 8 or more of letters, digits and -._~+/=", name)
end

local function check_hosts(list)
  local hosts = {}
  for key, name in pairs(list) do
    if math.type(key) ~= "integer" or type(name) ~= "string" or not name:find("^[%w%-._]+$") then
      errors.raise(errors.ConfigurationError, "allowed_hosts: names such as \"jobs.example.org\" expected, without " ..
        "scheme and port; got %s", text.of(name, 100))
    end
    hosts[name:lower()] = true
  end
  return hosts
end

--- Takes what serve was given: viewer_token, allowed_hosts, host, base_url. Raises ConfigurationError.
function Access:configure(given)
  if given.viewer_token then
    check_token("viewer_token", given.viewer_token)
    if given.viewer_token == self.web.admin_token then
      errors.raise(errors.ConfigurationError, "viewer_token must not be admin_token: who has it may change nothing")
    end
    self.viewer_mac = self.web.core:sign("viewer token\n" .. given.viewer_token)
  end
  if given.allowed_hosts then self.allowed_hosts = check_hosts(given.allowed_hosts) end
  self.serve_host = given.host and given.host:lower() or self.serve_host
end

--- Whether somebody has configured a token: else only this machine is served.
function Access:has_tokens()
  return not self.web.token_is_random or self.viewer_mac ~= false
end

-- ---- hosts -----------------------------------------------------------------------------------------------------

-- Name and port of "name:port", "[::1]:port".
local function divide(host)
  local name, port = host:match("^(%[[%x:.]+%]):?(%d*)$")
  if not name then name, port = host:match("^([^:]*):?(%d*)$") end
  return name and name:lower():gsub("%.$", ""), port
end

local function is_own_name(name)
  return name == "localhost" or name:find("%.localhost$") ~= nil or name == "[::1]" or name:find("^127%.%d+%.%d+%.%d+$")
    ~= nil
end

local function is_own_address(address)
  return address == "::1" or address:find("^127%.") ~= nil or address:find("^::ffff:127%.") ~= nil
end

-- An address cannot be made to lead elsewhere, so it is no trap.
local function is_address(name)
  return name:find("^%d+%.%d+%.%d+%.%d+$") ~= nil or name:find("^%[[%x:.]+%]$") ~= nil
end

local function host_of_url(url)
  return url and divide(url:match("^%a[%w+.-]*://([^/]+)") or "")
end

-- Why the host that was asked for is none of ours; nil: it is one.
local function refuse_host(self, request)
  local host = request.headers.host
  if not host or host == "" then return nil end
  local name = divide(host)
  if not name then return "the host of the request cannot be read" end
  if is_own_name(name) or self.allowed_hosts[name] then return nil end
  if self:has_tokens() then
    if is_address(name) or name == self.serve_host or name == host_of_url(self.web.base_url) then return nil end
    return ("the host \"%s\" is not one of this server: serve{ allowed_hosts = { \"%s\" } } makes it one"):format(
      text.short(name), text.short(name))
  end
  return "no token is configured, so only this machine is served, under 127.0.0.1 and localhost: " ..
    "serve{ admin_token = ... } lets others in"
end

local FORWARDED = { "forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via" }

-- Whether this machine itself is asking, not somebody behind a proxy on it.
local function is_local(request)
  for _, name in ipairs(FORWARDED) do
    if request.headers[name] then return false end
  end
  return is_own_address(request.remote_address)
end

-- ---- tokens ----------------------------------------------------------------------------------------------------

-- Role for a token, or nil.
local function role_of(self, token)
  local core_engine = self.web.core
  if core_engine:verify("admin token\n" .. token, self.web.admin_mac) then return "admin" end
  if self.viewer_mac and core_engine:verify("viewer token\n" .. token, self.viewer_mac) then return "viewer" end
end

-- ---- sessions --------------------------------------------------------------------------------------------------

-- Cookies are not kept apart by port: each store and base path has its own name.
function Access:cookie_name()
  return "pipeline_" .. core.sha1(tostring(self.web.core:facts().path) .. "\n" .. self.web.base_path):sub(1, 10)
end

local function session_bytes(self, role, expires, nonce)
  local of_token = role == "admin" and self.web.admin_mac or self.viewer_mac or ""
  return table.concat({ "session", role, expires, nonce, of_token }, "\n")
end

-- The values of a cookie, each in turn: somebody else may have set another of the name.
local function cookies(request, wanted)
  local each = (request.headers.cookie or ""):gmatch("([^=;%s]+)=([^;%s]*)")
  return function()
    for name, value in each do
      if name == wanted and #value < 400 then return value end
    end
  end
end

-- Role and number of the session of a cookie, or nil.
local function read_session(self, request)
  for value in cookies(request, self:cookie_name()) do
    local role, expires, nonce, mac = value:match("^(%l+)%.(%d+)%.(%x+)%.(%x+)$")
    if role and (role == "admin" or self.viewer_mac) and
      self.web.core:verify(session_bytes(self, role, expires, nonce), mac) and
      self.web.core:now() < tonumber(expires) then
      return role, nonce
    end
  end
end

local function mark_bytes(role, expires, nonce)
  return table.concat({ "mark", role, expires, nonce }, "\n")
end

-- The mark of a browser that has signed in before, or nil. A viewer can have as many as he likes, so all of an address
-- are one.
local function read_mark(self, request)
  for value in cookies(request, self:cookie_name() .. "_known") do
    local role, expires, nonce, mac = value:match("^(%l+)%.(%d+)%.(%x+)%.(%x+)$")
    if role and self.web.core:verify(mark_bytes(role, expires, nonce), mac) and
      self.web.core:now() < tonumber(expires) then
      return role == "admin" and nonce or "of viewers at " .. attempts.sender(request)
    end
  end
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function cookie(self, request, value, more, ending)
  local is_https = (request.headers.origin or self.web.base_url or ""):find("^https://") ~= nil
  return ("%s%s=%s; Path=%s; HttpOnly; SameSite=Strict%s%s"):format(self:cookie_name(), ending or "", value,
    self.web.base_path, is_https and "; Secure" or "", more or "")
end

-- The cookie that marks a browser: wrong tokens of others at its address are not counted as its own.
local function mark(self, request, role)
  local expires, nonce = ("%d"):format(math.floor(self.web.core:now()) + MARK_SECONDS), hex(self.web.core:random(16))
  local mac = self.web.core:sign(mark_bytes(role, expires, nonce))
  return cookie(self, request, table.concat({ role, expires, nonce, mac }, "."),
    ("; Max-Age=%d"):format(MARK_SECONDS), "_known")
end

--- Begins a session for a token. Returns its role and the cookies, a list; or nil, a status and why not.
function Access:sign_in(request, token)
  local sender = attempts.sender(request, read_mark(self, request))
  local seconds = self.attempts:must_wait(sender)
  if seconds then return nil, 429, ("too many wrong tokens: try again in %d seconds"):format(seconds), seconds end
  local role = type(token) == "string" and #token <= 1000 and role_of(self, token) or nil
  if not role then
    self.attempts:wrong(sender, request)
    return nil, 403, "this is not the token of an administrator, nor of a viewer"
  end
  local nonce = hex(self.web.core:random(16))
  local expires = ("%d"):format(math.floor(self.web.core:now()) + SESSION_SECONDS)
  local mac = self.web.core:sign(session_bytes(self, role, expires, nonce))
  return role, { cookie(self, request, table.concat({ role, expires, nonce, mac }, ".")), mark(self, request, role) }
end

--- The cookie that ends a session.
function Access:sign_out(request)
  return cookie(self, request, "", "; Max-Age=0")
end

-- The token of a request; nil: it has none. What a proxy in between asks for (Basic) is not ours.
local function token_of(request)
  local scheme, token = (request.headers.authorization or ""):match("^%s*(%a+)%s*(.-)%s*$")
  return scheme and scheme:lower() == "bearer" and token or nil
end

--- Whether a request carries the viewer's token.
function Access:has_viewer_token(request)
  local token = self.viewer_mac and token_of(request)
  return token and #token <= 1000 and self.web.core:verify("viewer token\n" .. token, self.viewer_mac) or false
end

-- ---- who it is -------------------------------------------------------------------------------------------------

-- Role and session by a token in the headers; nil, status, why and seconds when it is wrong.
local function by_bearer(self, request)
  local token, sender = token_of(request), attempts.sender(request)
  local seconds = self.attempts:must_wait(sender)
  if seconds then return nil, 429, ("too many wrong tokens: try again in %d seconds"):format(seconds), seconds end
  local role = #token <= 1000 and role_of(self, token)
  if role then
    self.attempts:right(sender)
    return role, "bearer"
  end
  self.attempts:wrong(sender, request)
  return nil, 401, "the token is wrong"
end

--- Role by the token in the headers of a request, and "bearer"; or nil, a status, why not, and for 429 the seconds to
-- wait; nil alone: it has none. However often it is asked, a wrong one counts once.
function Access:bearer(request)
  if not token_of(request) then return nil end
  local known = self.tokens[request]
  if not known then
    known = table.pack(by_bearer(self, request))
    self.tokens[request] = known
  end
  return table.unpack(known, 1, known.n)
end

--- Who is asking: { role = "admin" | "viewer", session = a text } with `csrf`, the token of its pages for acts; or nil,
-- a status, why not, and for 429 the seconds to wait.
function Access:who(request)
  local problem = refuse_host(self, request)
  if problem then return nil, 421, problem end
  local role, session, why, seconds = self:bearer(request)
  if not role and session then return nil, session, why, seconds end
  if not role then role, session = read_session(self, request) end
  if not role and not self:has_tokens() then
    if not is_local(request) then
      return nil, 403, "no token is configured, so only this machine is served: serve{ admin_token = ... } lets " ..
        "others in"
    end
    role, session = "admin", "local"
  end
  if not role and not current.enforce_auth then role, session = "viewer", "open" end
  if not role then return nil, 401, "sign in first" end
  return { role = role, session = session, csrf = self.web.core:sign("csrf\n" .. session) }
end

--- Why a request of a browser may not change anything: it comes from a page of somebody else; nil: it may.
function Access:refuse_foreign(request)
  local origin = request.headers.origin
  if not origin then
    if request.headers["sec-fetch-site"] == "same-origin" then return nil end
    return "it does not say which page it comes from (Origin)"
  end
  local scheme, host = origin:lower():match("^(https?)://([^/]+)$")
  if host and host == (request.headers.host or ""):lower() then return nil end
  local base_url = self.web.base_url
  if host and base_url and base_url:lower():match("^https?://[^/]+") == scheme .. "://" .. host then return nil end
  return ("it comes from a page of another origin, %s"):format(text.short(origin))
end

--- Why a request that changes something is refused; nil: it may.
function Access:refuse_act(request, who)
  if who.role ~= "admin" then return "viewers may change nothing: sign in with the administrator's token" end
  if who.session == "bearer" then return nil end
  local problem = self:refuse_foreign(request)
  if problem then return problem end
  if not self.web.core:verify("csrf\n" .. who.session, request.headers["x-csrf-token"] or "") then
    return "it has no token of its page (X-CSRF-Token): load the page again"
  end
end

return access
