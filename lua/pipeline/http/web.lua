--- web.lua: who may ask what over HTTP, and who answers.
--
-- One object per engine. A request from a socket and one given to handle() take the same way:
--
--   complete ──► identify ──► find the route ──► check access ──► handler ──► check the response
--
-- Who is asking is decided in identify() and nowhere else:
--   is_task    the engine itself made the request, or signed it with the secret of the store; only then are
--              X-AppEngine-* headers believed
--   is_admin   it carries the administrator's token, or is one of a session (pages/access.lua)
--
-- Invariants
--   1. A header X-AppEngine-* never reaches a handler from a request without a valid signature.
--   2. No comparison of a secret takes a time that depends on where it differs.
--   3. Nothing a handler returns can break the response: status, header names and values are checked here.

local await = require "pipeline.support.await"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local health = require "pipeline.http.health"
local http_request = require "pipeline.http.request"
local routes = require "pipeline.http.routes"
local json = require "pipeline.http.json"
local options = require "pipeline.support.options"
local stage_task = require "pipeline.workflow.task"
local text = require "pipeline.support.text"
local place = require "pipeline.support.place"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local web = {}

local BASE_PATH = stage_task.BASE_PATH
local SIGNATURE_SECONDS = 300 -- how far the time in a signature may be off
local SEEN_MAX = 200000       -- numbers of signatures remembered at a time
local GIVE_UP_AFTER = 5       -- retries after which a task is told that all is well, so that its queue stops (P166)
local INFO, WARNING, ERROR = 20, 30, 40

local Web = {}
local web_meta = { __name = "pipeline.Web", __index = Web }

-- A message handler that leaves an error that was caught before, with its traceback, as it is.
local function catch(value)
  if errors.original(value) ~= value then return value end
  return errors.handler(value)
end

-- ---- who is asking ---------------------------------------------------------------------------------------------

-- The headers of a task, which are signed with it.
local function task_headers(headers)
  local lines = {}
  for name, value in pairs(headers) do
    if name:find("^x%-appengine%-") then lines[#lines + 1] = name .. ":" .. value end
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

-- A request with headers of a task is signed together with them, with a number that is used once, and with the try it
-- belongs to.
local function signed_bytes(request, time, once, try)
  local parts = { request.method, request.raw_path, request.raw_query, time, request.body }
  if once then
    parts = { "task", request.method, request.raw_path, request.raw_query, time, once, try,
      task_headers(request.headers), request.body }
  end
  return table.concat(parts, "\n")
end

-- Whether a number was used before; remembers it. What is older than a signature may be is forgotten, and so is more
-- than SEEN_MAX, so that memory is bounded.
local function was_seen(self, once)
  local seen, now = self.seen, self.core:now()
  if seen.count >= SEEN_MAX or now - seen.since > 2 * SIGNATURE_SECONDS then
    seen.before, seen.now, seen.count, seen.since = seen.now, {}, 0, now
  end
  if seen.now[once] or seen.before[once] then return true end
  seen.now[once] = true
  seen.count = seen.count + 1
  return false
end

-- Whether the store knows that the try a task's request belongs to is under way.
local function is_under_way(self, try)
  local id, claim = try:match("^(%x+)%.(%d+)$")
  id, claim = id and self.core:id_parse(id), math.tointeger(tonumber(claim))
  return id and claim and claim < 1 << 31 and errors.read(self.core:claim_check(id, claim)) == true
end

-- time, number and try (both "" when there is none), code; or nothing.
local function parse_signature(signature)
  if #signature > 300 then return end
  local time, rest, mac = signature:match("^t=(%d+)([^v]*),v1=(%x+)$")
  local once, try = "", ""
  if rest and rest ~= "" then
    once, try = rest:match("^,n=(%x+),c=(%x*%.?%d*)$")
  end
  if once and time and #time <= 15 then return time, once, try, mac end
end

-- Whether the request is signed by this store, and if not, why not. A request that was recorded on its way and is sent
-- again is refused: by this process because it remembers its number, by others on the file when its try is over.
local function check_signature(self, request)
  local signature = request.headers["x-pipeline-signature"]
  if not signature then return false, "it is not signed" end
  local time, once, try, mac = parse_signature(signature)
  if not time then return false, "its signature cannot be read" end
  if once == "" and task_headers(request.headers) ~= "" then return false, "its headers are not signed" end
  local good = self.core:verify(signed_bytes(request, time, once ~= "" and once, try), mac)
  if not good then return false, "its signature is wrong" end
  if math.abs(self.core:now() - tonumber(time)) > SIGNATURE_SECONDS then return false, "its signature is too old" end
  if once ~= "" and was_seen(self, once) then return false, "its signature was used before" end
  if try ~= "" and not is_under_way(self, try) then return false, "its try is over" end
  return true
end

local function is_admin(self, request)
  local scheme, token = (request.headers.authorization or ""):match("^%s*(%a+)%s+(%S+)%s*$")
  if not scheme or scheme:lower() ~= "bearer" then return false end
  return self.core:verify("admin token\n" .. token, self.admin_mac)
end

-- Takes task headers away from those who may not send them. Returns whether there were any.
local function drop_task_headers(headers)
  local names = {}
  for name in pairs(headers) do
    if name:find("^x%-appengine%-") then names[#names + 1] = name end
  end
  for _, name in ipairs(names) do headers[name] = nil end
  return #names > 0
end

-- `is_own`: the engine itself has made the request, in this process. Its word needs no proof, and as nobody can have
-- recorded it on its way there is nothing to be remembered.
local function identify(self, request, is_own)
  local why
  if is_own then
    request.is_task = true
  else
    request.is_task, why = check_signature(self, request)
  end
  request.is_admin = is_admin(self, request)
  if self.pages then request.is_admin = self.pages:identify(request) end
  if request.is_task then return end
  local forged = drop_task_headers(request.headers)
  if forged or request.headers["x-pipeline-signature"] then
    self.log(WARNING, ("%s %s from %s claims to be a task, but %s"):format(text.short(request.method),
      text.short(request.raw_path), request.remote_address, why))
  end
end

-- ---- responses ---------------------------------------------------------------------------------------------------

-- Names are kept in lower case and found in any.
local response_headers_meta = {
  __index = function(headers, name) return type(name) == "string" and rawget(headers, name:lower()) or nil end,
}

local reasons = {
  [400] = "Bad Request", [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed", [409] = "Conflict",
  [500] = "Internal Server Error",
}

local function plain(status, headers, problem)
  headers = headers or {}
  headers["content-type"] = "text/plain; charset=utf-8"
  return status, headers, ("%d %s%s\n"):format(status, reasons[status] or "", problem and ": " .. problem or "")
end

local function fail(format, ...)
  error(("bad answer of a handler: " .. format):format(...), 0)
end

local function header_value(name, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    fail("header %s is a %s", text.short(name), kind)
  end
  value = tostring(value)
  if value:find("[%z\1-\8\10-\31\127]") then fail("header %s has a control byte in its value", text.short(name)) end
  return value
end

local function check_headers(given)
  local headers = setmetatable({}, response_headers_meta)
  for name, value in pairs(given) do
    if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+%-.^_`|~]+$") then
      fail("header name %s", text.of(name, 100))
    end
    if type(value) == "table" then
      local list = {}
      for i, item in ipairs(value) do list[i] = header_value(name, item) end
      headers[name:lower()] = list
    else
      headers[name:lower()] = header_value(name, value)
    end
  end
  return headers
end

-- Makes the response of what a handler returned: nothing; or a status, headers or a content type, and a body. A table
-- as body is sent as JSON.
local function make_response(status, headers, body)
  if status == nil then status = 200 end
  local code = math.tointeger(status)
  if type(status) ~= "number" or not code or code < 200 or code > 599 then
    fail("status %s", text.of(status, 100))
  end
  if type(headers) == "string" then headers = { ["content-type"] = headers } end
  if headers ~= nil and type(headers) ~= "table" then fail("headers are a %s", type(headers)) end
  if type(body) == "number" then body = tostring(body) end
  local is_json = type(body) == "table"
  if is_json then body = json.encode(body) end
  if body ~= nil and type(body) ~= "string" then fail("the body is a %s", type(body)) end
  local checked = check_headers(headers or {})
  if is_json and not checked["content-type"] then checked["content-type"] = "application/json" end
  if body and body ~= "" and not checked["content-type"] then checked["content-type"] = "text/html; charset=utf-8" end
  checked["x-content-type-options"] = checked["x-content-type-options"] or "nosniff"
  return { status = code, headers = checked, body = body or "" }
end

-- ---- endpoints of the library ----------------------------------------------------------------------------------

-- 400 on purpose without detail; a task that has been refused often enough is told that all is well.
local function refuse_callback(request, status)
  local retries = tonumber(request.headers["x-appengine-taskretrycount"] or "") -- dropped unless signed
  if retries and retries > GIVE_UP_AFTER then return plain(200) end
  return plain(status)
end

-- The pipeline a callback is for, or nil. Errors of looking it up are the server's business, not the caller's; but what
-- cannot be read is no reason to tell the caller that it is not there.
local function find_instance(self, id)
  if not id or id == "" or #id > 1000 then return nil end
  local ok, instance = xpcall(self.face.from_id, catch, id)
  if not ok then
    if errors.is(errors.original(instance), errors.StoreError) then error(instance, 0) end
    local name, message = errors.describe(instance)
    self.log(WARNING, ("callback for %s: %s: %s"):format(text.short(id), name, message))
    return nil
  end
  if not instance or not instance.class or rawget(instance.class, "class_path") == nil then return nil end
  return instance
end

local function may_call_back(request, class)
  return request.is_task or class.public_callbacks or (class.admin_callbacks and request.is_admin)
end

-- Of two callbacks at once one comes too late, and its complete() raises: that is a 409 too (G25).
local function refuse_if_final(self, request, instance, ok, ...)
  if ok then return ... end
  local problem = ...
  if errors.is(errors.original(problem), errors.UnexpectedPipelineError) then
    local now = find_instance(self, instance.id)
    if now and (now.has_finalized or now.was_aborted) then return refuse_callback(request, 409) end
  end
  error(problem, 0)
end

local function run_callback(self, request, instance)
  if not instance or not may_call_back(request, instance.class) then return refuse_callback(request, 400) end
  local is_final = instance.has_finalized or instance.was_aborted
  if is_final and not instance.class._answers_when_final then return refuse_callback(request, 409) end
  local params = {}
  for name, value in pairs(request.params) do
    if name ~= "pipeline_id" then params[name] = value end
  end
  return refuse_if_final(self, request, instance, pcall(self.face.run_callback, instance, params,
    { method = request.method, is_task = request.is_task, is_admin = request.is_admin }))
end

local function callback(self, request)
  return run_callback(self, request, find_instance(self, request.params.pipeline_id))
end

local function mark_entry(entry)
  for _, name in ipairs { "args", "children", "afterSlotKeys" } do
    if type(entry[name]) == "table" then json.array(entry[name]) end
  end
end

-- A whole number of the query, or nil.
local function number_param(given, name, least)
  local value = given[name]
  local number = math.tointeger(tonumber(value or ""))
  if value and not (number and number >= least) then
    errors.raise(errors.PipelineStatusError, "%s: a number of %d or more expected", name, least)
  end
  return number
end

local NO_CHILDREN = '{"children":[]'

-- Entries of a tree as JSON texts: one string each instead of a score of tables, which is what the collector and the
-- memory have to bear while a large tree is read.
local function texts_of_tree()
  local bytes = 0
  local function encode(value)
    local encoded = json.encode(value)
    bytes = bytes + #encoded
    if bytes > json.BYTES_MAX then json.refuse_large() end
    return encoded
  end
  return {
    slot = encode,
    entry = function(entry)
      entry.children = nil
      mark_entry(entry)
      return NO_CHILDREN .. "," .. encode(entry):sub(2)
    end,
    adopt = function(entry, children)
      return '{"children":' .. encode(json.array(children)) .. entry:sub(#NO_CHILDREN + 1)
    end,
  }
end

local rpc = {}

function rpc.tree(self, request)
  local id = request.params.root_pipeline_id
  if not id or id == "" then errors.raise(errors.PipelineStatusError, "root_pipeline_id is missing") end
  local params, given = request.params, nil
  for _, name in ipairs { "parent", "depth", "cursor", "limit" } do
    local value = params[name]
    if value and value ~= "" then
      given = given or {}
      given[name] = value
    end
  end
  if given then
    given.depth, given.limit = number_param(given, "depth", 0), number_param(given, "limit", 1)
  end
  local tree = self.face.get_status_tree(id, given, texts_of_tree())
  json.texts(tree.pipelines)
  json.texts(tree.slots)
  if tree.order then json.array(tree.order) end
  return tree
end

function rpc.list(self, request)
  local params = request.params
  local list = self.face.get_root_list {
    class_path = params.class_path ~= "" and params.class_path or nil,
    cursor = params.cursor ~= "" and params.cursor or nil,
    count = math.tointeger(tonumber(params.count or "")),
  }
  for _, entry in ipairs(json.array(list.pipelines or {})) do mark_entry(entry) end
  return list
end

function rpc.class_paths(self)
  return { classPaths = json.array(self.face.get_pipeline_names()) }
end

local function find_for_admin(self, request)
  local id = request.params.pipeline_id or request.params.root_pipeline_id or ""
  local instance = self.face.from_id(id)
  if not instance then errors.raise(errors.PipelineStatusError, "there is no pipeline %s", text.short(id)) end
  return instance
end

function rpc.abort(self, request)
  return { done = find_for_admin(self, request):abort(request.params.message or "aborted by an administrator") }
end

function rpc.retry(self, request)
  return { done = find_for_admin(self, request):retry(request.params.message or "retried by an administrator") }
end

function rpc.cleanup(self, request)
  find_for_admin(self, request):cleanup()
  return { done = true }
end

local function respond_json(value)
  local headers = { ["content-type"] = "application/json", ["cache-control"] = "no-cache" }
  return 200, headers, json.encode(value)
end

-- Errors are responses too (P191): the page that asked shows them. The header is what a page of another site cannot
-- send along with what the browser sends by itself; a token is no such thing.
local function run_rpc(self, request, call)
  if not request.is_admin then
    local is_page = (request.headers["x-requested-with"] or ""):lower() == "xmlhttprequest"
    if current.enforce_auth or not is_page then return plain(403, nil, request.refused) end
  end
  local ok, result = xpcall(function()
    local value = call(self, request)
    local pause <close> = self.face.slices()
    return json.encode(value, pause)
  end, catch)
  if ok then
    return 200, { ["content-type"] = "application/json", ["cache-control"] = "no-cache" }, result
  end
  local name, message, traceback = errors.describe(result)
  return respond_json { error_class = name, error_message = message, error_traceback = traceback }
end

-- The engine executes its own tasks without HTTP, so a signed request finds its work done.
local function task_only(_, request)
  if not request.is_task then return plain(403) end
  return 200
end

local function respond_health(status, value) return status, { ["cache-control"] = "no-store" }, value end

local function add_endpoints(self)
  local function add(methods, name, handler)
    for method in methods:gmatch("%a+") do self:endpoint(method, name, handler) end
  end
  add("GET POST", "callback", callback)
  for _, name in ipairs { "tree", "list", "class_paths" } do
    add("GET", "rpc/" .. name, function(_, request) return run_rpc(self, request, rpc[name]) end)
  end
  for _, name in ipairs { "abort", "retry", "cleanup" } do
    add("POST", "rpc/" .. name, function(_, request) return run_rpc(self, request, rpc[name]) end)
  end
  for _, name in ipairs { "output", "run", "finalized", "abort", "fanout", "fanout_abort", "cleanup" } do
    add("POST", name, task_only)
  end
end

-- ---- routes ----------------------------------------------------------------------------------------------------

--- Adds an endpoint of the library below the base path; `handler(web, request)`.
function Web:endpoint(method, name, handler)
  local methods = self.endpoints[name] or {}
  self.endpoints[name] = methods
  methods[method] = { handler = function(request) return handler(self, request) end, names = {} }
end

--- Adds or replaces a route.
-- @tparam string method such as "GET" (which answers HEAD too), or "*" for any.
-- @tparam string path begins with "/". A segment ":name" stands for any one that is not empty, a last segment "*name"
--   (or "*") for all that is left; what they stood for is in `request.path_params`. Literal segments go before
--   parameters, and these before the rest, whatever the order of calls. A segment that looks like a parameter, but is
--   none, is refused.
-- @tparam function handler `handler(request)` returns nothing (200, empty), or a status, headers or a content type,
--   and a body: a string, or a table, which is sent as JSON. It runs as a coroutine of the engine and may await; when
--   its client leaves, it is cancelled. A request has method, path, query, params, headers, body, remote_address,
--   path_params, is_task, is_admin, is_viewer; and `json`, the body as JSON, read when it is first used (null is that
--   of lua-cjson; the response to what is damaged is 400 with the place).
-- In App Engine: a handler of the webapp.
function Web:route(method, path, handler)
  if type(method) ~= "string" or not method:find("^[%u*]+$") then
    bad_argument(1, "route", "a method such as \"GET\", or \"*\" expected")
  end
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    bad_argument(2, "route", "a path that begins with \"/\" expected")
  end
  if type(handler) ~= "function" then bad_type(3, "route", "function", handler) end
  local ok, problem = self.routes:add(method, path, handler)
  if not ok then bad_argument(2, "route", "%s: %s", path, problem) end
end

-- What is at a path that was divided: routes by method, and the values of their parameters; or nil. The library's own
-- come first.
local function find_methods(self, segments)
  local base = self.base_path .. "/"
  if segments.path:sub(1, #base) == base and segments.slashes == 0 then
    local methods = self.endpoints[segments.path:sub(#base + 1)]
    if methods then return methods, {} end
  end
  return self.routes:find(segments)
end

-- A pipeline may have been started with a base path of its own: its callback is found there.
local function find_foreign_callback(self, request)
  local base = request.segments.slashes == 0 and request.path:match("^(.*)/callback$")
  if not base or not request.params.pipeline_id then return nil end
  local instance = find_instance(self, request.params.pipeline_id)
  if not instance or instance.base_path ~= base then return nil end
  local entry = { handler = function() return run_callback(self, request, instance) end, names = {} }
  return { GET = entry, POST = entry }, {}
end

local function allowed(methods)
  local names = {}
  for method in pairs(methods) do names[#names + 1] = method end
  if methods.GET and not methods.HEAD then names[#names + 1] = "HEAD" end
  table.sort(names)
  return table.concat(names, ", ")
end

--- Whether a request to this path would find a route here.
function Web:has_route(path)
  local segments = routes.split(path:match("^[^?]*"))
  return segments ~= nil and find_methods(self, segments) ~= nil
end

local function dispatch(self, request)
  if not request.segments then return 204 end -- OPTIONS *: the server is there
  local methods, values = find_methods(self, request.segments)
  if not methods then methods, values = find_foreign_callback(self, request) end
  if not methods then return plain(404) end
  local entry = methods[request.method] or (request.method == "HEAD" and methods.GET) or methods["*"]
  if not entry then return plain(405, { allow = allowed(methods) }) end
  request.segments = nil
  for i, name in ipairs(entry.names) do
    if name then request.path_params[name] = values[i] end
  end
  return await.results(entry.handler(request))
end

-- What the client has sent is at fault, and it is told why.
local function respond_bad_request(self, request, problem)
  self.log(INFO, ("%s %s from %s: %s"):format(text.short(request.method), text.short(request.raw_path),
    request.remote_address, problem))
  return make_response(plain(400, nil, problem))
end

local function dispatch_safely(self, request)
  return xpcall(function() return make_response(dispatch(self, request)) end, catch)
end

local function respond(self, request, is_own)
  if not http_request.complete(request) then return make_response(plain(400)) end
  identify(self, request, is_own)
  local ok, result = self.face.work(dispatch_safely, self, request)
  if ok then return result end
  local name, message, traceback = errors.describe(result)
  if errors.is(errors.original(result), errors.RequestError) then return respond_bad_request(self, request, message) end
  self.log(ERROR, ("%s %s: %s: %s\n%s"):format(text.short(request.method), text.short(request.raw_path), name, message,
    traceback))
  return make_response(plain(500))
end

-- ---- for programs ----------------------------------------------------------------------------------------------

local request_kinds = {
  method = "string", path = "string", query = "any", raw_query = "string", params = "table", headers = "table",
  body = "string", remote_address = "string",
}

--- Answers a request without a socket, in every other respect as if it had come from one.
-- @tparam table given method (default "GET"), path (may have a query), query (a string, as raw_query, or a table),
--   params (a table; becomes the query of a GET, else a form), headers (names in any case), body, remote_address.
-- @treturn table `status`, `headers` (found by names in any case) and `body`.
function Web:handle(given)
  local request = http_request.expand(options.check(given, request_kinds, 1, "handle"))
  local result = respond(self, request)
  if request.method == "HEAD" then result.body = "" end
  return result
end

--- The value of the header X-Pipeline-Signature for a request of the engine itself. `path` and `query` as sent;
-- `headers`: those of a task (lower-case names), which are signed, too, and make the signature good for one request;
-- `claim`: of the task; the signature is good only as long as it is held.
function Web:sign(method, path, query, body, headers, claim)
  local time = ("%d"):format(math.floor(self.core:now()))
  local request = { method = method, raw_path = path, raw_query = query or "", body = body or "", headers = headers }
  local once = headers and (self.core:random(12):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
  local try = claim and ("%s.%d"):format(self.core:id_text(claim.id), claim.claim) or ""
  local mac = self.core:sign(signed_bytes(request, time, once, try))
  return once and ("t=%s,n=%s,c=%s,v1=%s"):format(time, once, try, mac) or ("t=%s,v1=%s"):format(time, mac)
end

--- Answers a request of the engine itself: its X-AppEngine-* headers are believed.
function Web:handle_task(given)
  return respond(self, http_request.expand(options.check(given, request_kinds, 1, "handle_task")), true)
end

local function set_admin_token(self, token)
  self.admin_token = token
  self.admin_mac = self.core:sign("admin token\n" .. token)
end

local function random_token(core)
  return (core:random(24):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function check_base_path(path)
  if path:find("^/[%w%-._~/]*[^/]$") then return end
  errors.raise(errors.ConfigurationError, "base_path '%s' must begin with '/' and not end with it", text.short(path))
end

local serve_kinds = {
  host = "string", port = "integer", base_path = "string", base_url = "string", admin_token = "string",
  viewer_token = "string", allowed_hosts = "table",
  max_body = "integer", max_header = "integer", max_connections = "count", max_per_address = "count",
  min_rate = "integer", idle_timeout = "duration", header_timeout = "duration", request_timeout = "duration",
}

local Server = {}
local server_meta = { __name = "pipeline.WebServer", __index = Server }

--- Stops listening and closes the connections; idempotent.
function Server:close()
  self._server:close()
end

server_meta.__close = Server.close

function server_meta.__tostring(self) return "pipeline server at " .. self.url end

-- On the wire names are written as people are used to see them.
local function wire_names(headers)
  local out = {}
  for name, value in next, headers do
    out[name:gsub("%f[%w]%l", string.upper)] = value
  end
  return out
end

local function url_of(host, port)
  if host == "0.0.0.0" then host = "127.0.0.1" end
  if host:find(":", 1, true) then host = "[" .. (host == "::" and "::1" or host) .. "]" end
  return ("http://%s:%d"):format(host, port)
end

-- Says the token once, and only if it was made here: one that was configured is known.
local function settle_token(self, given)
  if given then
    if #given < 8 or given:find("[^%w%-._~+/=]") then
      errors.raise(errors.ConfigurationError, "admin_token must be 8 or more of letters, digits and -._~+/=")
    end
    set_admin_token(self, given)
  elseif self.token_is_random and not self.token_said then
    io.stderr:write("pipeline: administrator's token: ", self.admin_token, "\n")
  end
  self.token_is_random = self.token_is_random and not given
  self.token_said = true
end

-- Counts the requests whose responses are not given yet, also when their coroutines are ended.
local Answering = { __name = "pipeline.Answering" }

function Answering.__close(guard)
  guard.web.answering = guard.web.answering - 1
end

--- Listens for HTTP.
-- @tparam[opt] table given host (numeric; default "127.0.0.1"), port (default 8080; 0 picks one), base_path (default
--   "/_ah/pipeline"), base_url (where people reach it, if that is another URL: behind a proxy; for links in mails),
--   admin_token (default: made at random and printed once to standard error), viewer_token (who has it sees the pages
--   and changes nothing), allowed_hosts (names by which pages may be asked for), and limits: max_body (bytes, 1 MiB),
--   max_header (bytes, 32 KiB), max_connections (256; when all are open the one that has been idle for the longest
--   gives way to a new one), max_per_address (how many of them one client address may have; default: all), idle_timeout
--   (seconds, 30), header_timeout (seconds in which the headers of a request must have arrived, 10), request_timeout
--   (the whole of it, 60), min_rate (bytes a second, over any 10 seconds, at which a body must arrive and a response be
--   taken, 4096; 0: any).
-- @return a server with `url`, `host`, `port`, `admin_token` and `close()`; it lives until closed or until the engine
--   is. Raises ConfigurationError if the address cannot be used.
function Web:serve(given)
  given = options.check(given, serve_kinds, 1, "serve")
  if given.base_path then check_base_path(given.base_path) end
  local base_url = given.base_url and (text.base_url(given.base_url) or
    errors.raise(errors.ConfigurationError, "serve: base_url '%s' is none such as \"https://shop.example.org\"",
      text.short(given.base_url)))
  settle_token(self, given.admin_token)
  local core_options = {
    host = given.host or "127.0.0.1", port = given.port or 8080, max_body = given.max_body,
    max_header = given.max_header, max_connections = given.max_connections, max_per_address = given.max_per_address,
    min_rate = given.min_rate, idle_timeout = given.idle_timeout, header_timeout = given.header_timeout,
    request_timeout = given.request_timeout,
    handler = function(request)
      local _ <close> = setmetatable({ web = self }, Answering)
      self.answering = self.answering + 1
      local result = respond(self, request)
      self.face.answered(request.method, result.status)
      return result.status, wire_names(result.headers), result.body
    end,
  }
  local server, code, message = self.core:serve(core_options)
  if not server then
    errors.raise(errors.ConfigurationError, "serve: %s", message or code)
  end
  self.base_path = given.base_path or self.base_path
  local url = url_of(core_options.host, server.port)
  self.base_url, self.url = base_url or self.base_url, url
  if self.pages then self.pages:configure(given) end
  self.log(INFO, "serving at " .. url)
  return setmetatable({
    url = url, host = core_options.host, port = server.port, admin_token = self.admin_token, _server = server,
  }, server_meta)
end

--- Makes the web object of an engine.
-- @tparam table face `engine` (the core's engine) and the functions from_id(id), run_callback(instance, params, who),
--   get_status_tree(id, options, keep), slices(), get_root_list(options), get_pipeline_names(), log(level, text), and
--   work(fn, ...), which calls
--   fn(...) for the engine and returns what it does.
function web.new(face)
  local self = setmetatable({
    face = face, core = face.engine, log = face.log, base_path = BASE_PATH, routes = routes.new(), endpoints = {},
    answering = 0, admin_token = false, admin_mac = false, token_is_random = true, token_said = false,
    base_url = false, url = false, -- for links: as given to serve; of the server
    seen = { now = {}, before = {}, count = 0, since = face.engine:now() },
  }, web_meta)
  set_admin_token(self, random_token(self.core))
  add_endpoints(self)
  for path, fn in pairs { ["/healthz"] = health.alive, ["/readyz"] = health.ready } do
    self:route("GET", path, function(asked) return respond_health(fn(self, asked.is_admin or asked.is_viewer)) end)
  end
  return self
end

return web
