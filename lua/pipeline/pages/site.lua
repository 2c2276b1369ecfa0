--- site.lua: the browser pages below the base path: the document, its assets, and the routes of its API.
--
--   <base>/            the pages: one document, whose scripts show what the address says
--   <base>/assets/…    scripts, style sheet, icon
--   <base>/api/…       JSON for the pages and for everybody else; <base>/api lists it
--
-- The document says nothing about the store: whoever may not see it gets the same one, which asks for a token.

local access = require "pipeline.pages.access"
local api = require "pipeline.pages.api"
local assets = require "pipeline.pages.assets"
local errors = require "pipeline.support.errors"
local home = require "pipeline.pages.reads.home"
local json = require "pipeline.http.json"
local live = require "pipeline.pages.live"
local rates = require "pipeline.pages.reads.rates"
local shared = require "pipeline.pages.shared"
local text = require "pipeline.support.text"

local site = {}

local PAGES = {
  "", "pipelines", "pipeline", "stage", "queues", "tasks", "workers", "schedules", "events",
}

local POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " ..
  "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

local Site = {}
local meta = { __name = "pipeline.Pages", __index = Site }

local DOCUMENT = [[
<!doctype html>
<html lang="en" data-base="%s">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>pipeline</title>
<link rel="icon" href="%sapp.svg" type="image/svg+xml">
<link rel="stylesheet" href="%sapp.css">
%s<script type="module" src="%sapp.js"></script>
</head>
<body>
<div id="app"><noscript>These pages need JavaScript. The same is at <a href="%s/api">%s/api</a> as JSON.</noscript>
</div>
</body>
</html>
]]

local function document(self)
  local base = text.html(self.web.base_path)
  local folder = base .. "/" .. assets.FOLDER
  local preloads = {}
  for _, name in ipairs(assets.NAMES) do
    if name:find("%.js$") then
      preloads[#preloads + 1] = ('<link rel="modulepreload" href="%s%s">\n'):format(folder, name)
    end
  end
  return DOCUMENT:format(base, folder, folder, table.concat(preloads), folder, base, base)
end

-- Headers of all that is not the same for everybody and for ever.
local function private(more)
  local headers = {
    ["cache-control"] = "no-store", ["referrer-policy"] = "no-referrer", ["x-frame-options"] = "DENY",
    ["content-security-policy"] = POLICY, ["cross-origin-opener-policy"] = "same-origin",
  }
  for name, value in pairs(more or {}) do headers[name] = value end
  return headers
end

local function answer_json(status, value, more)
  local headers = private(more)
  headers["content-type"] = "application/json"
  return status, headers, json.encode(value)
end

local function refuse(status, why, seconds)
  return answer_json(status, { error = { class = "Refused", message = why } },
    seconds and { ["retry-after"] = ("%d"):format(seconds) } or nil)
end

local function show_document(self, request)
  local _, status, why = self.access:who(request)
  if status == 421 or status == 403 then
    return status, private { ["content-type"] = "text/plain; charset=utf-8" }, why .. "\n"
  end
  return 200, private { ["content-type"] = "text/html; charset=utf-8" }, document(self)
end

-- ---- sessions ---------------------------------------------------------------------------------------------------

local function describe(self, who)
  local facts = self.web.core:facts()
  return {
    role = who.role, csrf = who.csrf, signed_in = who.session ~= "local" and who.session ~= "open",
    has_tokens = self.access:has_tokens(),
    version = facts.version, store = facts.path, now = self.web.core:now(),
  }
end

local function show_session(self, request)
  local who, status, why, seconds = self.access:who(request)
  if status == 401 and not request.headers.authorization then return answer_json(200, { role = "none" }) end
  if not who then return refuse(status, why, seconds) end
  return answer_json(200, describe(self, who))
end

local function sign_in(self, request)
  local _, status, why = self.access:who(request)
  if status == 421 or status == 403 then return refuse(status, why) end
  local foreign = self.access:refuse_foreign(request)
  if foreign then return refuse(403, foreign) end
  local given = request.json
  local role, cookie, problem, seconds = self.access:sign_in(request, type(given) == "table" and given.token or nil)
  if not role then return refuse(cookie, problem, seconds) end
  return answer_json(200, { role = role }, { ["set-cookie"] = cookie })
end

local function sign_out(self, request)
  local foreign = self.access:refuse_foreign(request)
  if foreign then return refuse(403, foreign) end
  return answer_json(200, {}, { ["set-cookie"] = self.access:sign_out(request) })
end

-- ---- the API ----------------------------------------------------------------------------------------------------

-- Errors that are the answer to what was asked, with their status; all others are ours.
local STATUS = {
  PipelineStatusError = 404, UnexpectedPipelineError = 409, RequestError = 400, ConfigurationError = 400,
  SerializationError = 400, NotFound = 404, UnknownScheduleError = 404, PipelineRuntimeError = 409,
  ScheduleError = 400, ScheduleExistsError = 409, LimitError = 409, QueryError = 409, UpdateRejectedError = 409,
  NondeterminismError = 409, WorkflowError = 409, AbortedError = 409, PipelineExistsError = 409, TimeoutError = 504,
}

-- Whether the library says that it was called in a wrong way: by what the request gave.
local function is_about_arguments(message)
  local method, rest = message:match("bad argument #%d to '([%l_]+)' (.*)$")
  return method and (rest:find("option ", 1, true) or method == "act_tasks" or method == "callback" or
    method == "signal" or method == "update" or method == "query")
end

local function failed(self, request, problem)
  local name, message, traceback = errors.describe(problem)
  local status = STATUS[name] or is_about_arguments(message) and 400
  if not status then
    self.web.log(40, ("%s %s: %s: %s\n%s"):format(text.short(request.method), text.short(request.raw_path), name,
      message, traceback or ""))
    status = 500
  end
  return answer_json(status, { error = { class = name, message = message } })
end

-- For how long an answer serves others at most; nil: for nobody else. Pages are told when to ask again; a program may
-- not know that, so it gets nothing older than a second, and nothing old of what it follows step by step.
local function seconds_shared(route, who)
  if route.acts or route.is_fresh then return nil end
  if who.session ~= "bearer" then return math.huge end
  return route.shared and 1 or nil
end

local function call(self, route, request)
  local who, status, why, seconds = self.access:who(request)
  if not who then return refuse(status, why, seconds) end
  if route.acts then
    local problem = self.access:refuse_act(request, who)
    if problem then return refuse(403, problem) end
  end
  local function make()
    local given = (route.acts and api.body or api.query)(request, route)
    local value = route.handler(self.engine, given, self)
    local pause <close> = self.web.face.slices()
    return json.encode(value, pause)
  end
  if route.acts then self.shared:forget() end
  local seconds_max = seconds_shared(route, who)
  local ok, result, again = xpcall(function()
    if not seconds_max then return make() end
    return self.shared:get(route.name .. "\n" .. request.raw_query, seconds_max, make)
  end, errors.handler)
  if route.acts then self.shared:forget() end
  if not ok then return failed(self, request, result) end
  local headers = private {
    ["content-type"] = "application/json", ["x-pipeline-again"] = again and ("%.2f"):format(again) or nil,
  }
  return 200, headers, result
end

--- Begins the pages of a web object. `engine`: the one whose store they show.
function site.add(web, engine)
  local self = setmetatable({ web = web, engine = engine, access = access.new(web), lost = home.watch(engine),
    rates = rates.new() }, meta)
  self.live, self.shared = live.new(self), shared.new(web.core)
  local function add(method, name, fn)
    web:endpoint(method, name, function(_, request) return fn(self, request) end)
  end
  for _, name in ipairs(PAGES) do add("GET", name, show_document) end
  for _, name in ipairs(assets.NAMES) do
    add("GET", assets.FOLDER .. name, function() return 200, assets.get(name) end)
  end
  add("GET", "api/session", show_session)
  add("POST", "api/sign-in", sign_in)
  add("POST", "api/sign-out", sign_out)
  for _, route in ipairs(api.ROUTES) do
    add(route.method, "api/" .. route.name, function(_, request) return call(self, route, request) end)
  end
  local openapi = api.ROUTES[#api.ROUTES]
  add("GET", "api", function(_, request) return call(self, openapi, request) end)
  add("GET", "api/live", function(_, request) return self.live:serve(request) end)
  add("GET", "status", function(_, request) -- as mails of the original link to it
    local id = (request.params.root or ""):gsub("^pipeline%-", "")
    return 302, private { location = web.base_path .. "/pipeline?" .. text.query { id = id } }
  end)
  add("GET", "list", function() return 302, private { location = web.base_path .. "/pipelines" } end)
  return self
end

-- The library's endpoint that a request leads to, below the base path; nil: none. A path with encoded slashes reads
-- like one of them, and leads to a route of the program.
local function endpoint_of(self, request)
  local base, segments = self.web.base_path .. "/", request.segments
  if not segments or segments.slashes > 0 or request.path:sub(1, #base) ~= base then return nil end
  local name = request.path:sub(#base + 1)
  return self.web.endpoints[name] and name
end

--- Whether a request is one of a script in a session of these pages, for the routes rpc/* that it may use: a viewer
-- reads, an administrator does all. What acts needs what every act of a session needs, the token of its page included;
-- if that is missing request.refused says what.
local function may_call_rpc(self, request, endpoint)
  local headers = request.headers
  if not headers.cookie or (headers["x-requested-with"] or ""):lower() ~= "xmlhttprequest" then return false end
  if not (endpoint and endpoint:find("^rpc/")) then return false end
  local who = self.access:who(request)
  if not who or who.session == "local" or who.session == "open" then return false end
  if request.method == "GET" or request.method == "HEAD" then return true end
  request.refused = self.access:refuse_act(request, who)
  return request.refused == nil
end

-- Beside the endpoints: what answers differently to whoever has a token.
local TELLING = { ["/metrics"] = true, ["/healthz"] = true, ["/readyz"] = true }

-- Whether a token can be tried out there, so that wrong ones count. Callbacks and routes of the program may have tokens
-- of somebody else.
local function is_guarded(request, endpoint)
  return endpoint ~= nil and endpoint ~= "callback" or TELLING[request.path] or false
end

--- Completes who is asking, for all routes: sets request.is_viewer (it carries the viewer's token), and returns whether
-- it has the rights of an administrator: by its token (request.is_admin says so), unless it was wrong too often before,
-- or by a session.
function Site:identify(request)
  local endpoint = endpoint_of(self, request)
  request.is_viewer = self.access:has_viewer_token(request)
  if is_guarded(request, endpoint) then
    local role, problem = self.access:bearer(request)
    if role or problem then
      request.is_viewer = role == "viewer"
      return role == "admin"
    end
  end
  return request.is_admin or may_call_rpc(self, request, endpoint)
end

--- Takes what serve was given (viewer_token, allowed_hosts, host).
function Site:configure(given)
  self.access:configure(given)
  self.web:route("GET", self.web.base_path, function()
    return 302, private { location = self.web.base_path .. "/" }
  end)
end

return site
