--- task.lua: tasks of queues as programs make them: checked when they are made, added later.
--
-- A task says what is to be done (a request to a URL, or bytes that somebody pulls) and when; `description` says it in
-- words. Fields are read only;
-- was_enqueued, was_deleted, name, queue_name and url change when it is added or deleted.
--
-- Private: _kind (of the store), _request (what is encoded for a push), _auto (the name was chosen here), _eta_given.

local core = require "pipeline.core"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local queue_errors = require "pipeline.taskqueue.errors"
local task_text = require "pipeline.taskqueue.task_text"
local text = require "pipeline.support.text"
local trace = require "pipeline.telemetry.trace"
local place = require "pipeline.support.place"
local bad_argument, bad_option = place.bad_argument, place.bad_option

local classes = queue_errors.classes
local type, next, rawget, getmetatable, setmetatable = type, next, rawget, getmetatable, setmetatable

local queue_task = {
  MAX_TASK_NAME_LENGTH = 500,
  MAX_URL_LENGTH = 2083,
  MAX_TAG_LENGTH = 500,
  MAX_PUSH_TASK_SIZE_BYTES = 102400,
  MAX_PULL_TASK_SIZE_BYTES = 1048576,
  MIN_DISPATCH_DEADLINE = 15.0,
  MAX_DISPATCH_DEADLINE = 86400.0,
  DISPATCH_SECONDS = 600.0, -- of a task that says nothing of it
  AUTO_NAME_PREFIX = "task-",
}

local max_eta_seconds -- how far an eta may be ahead; nil: any

--- Limits how far ahead an eta may be, in seconds; nil, the default: not at all. App Engine had 30 days.
function queue_task.set_max_eta(seconds)
  if seconds ~= nil and not options.fits(seconds, "duration") then
    bad_argument(1, "set_max_eta", "number of seconds, at least 0, expected")
  end
  max_eta_seconds = seconds
end

-- ---- retry options ---------------------------------------------------------------------------------------------

local retry_meta = { __name = "pipeline.TaskRetryOptions" }

local retry_kinds = {
  min_backoff_seconds = "number", max_backoff_seconds = "number", max_doublings = "number",
  task_retry_limit = "number", task_age_limit = "number", max_losses = "count",
}

local function check_retry(given)
  for name in pairs(retry_kinds) do
    if given[name] and given[name] < 0 then
      errors.raise(classes.InvalidTaskRetryOptionsError, "%s is negative: %g", name, given[name])
    end
  end
  for _, name in ipairs { "max_doublings", "task_retry_limit" } do
    if given[name] and math.tointeger(given[name]) == nil then
      errors.raise(classes.InvalidTaskRetryOptionsError, "%s is not a whole number: %g", name, given[name])
    end
  end
  local min, max = given.min_backoff_seconds, given.max_backoff_seconds
  if min and max and max < min then
    errors.raise(classes.InvalidTaskRetryOptionsError, "max_backoff_seconds %g is below min_backoff_seconds %g", max,
      min)
  end
end

--- Makes retry options of a task; each field that is set replaces that of the queue.
-- @tparam[opt] table given min_backoff_seconds, max_backoff_seconds, max_doublings, task_retry_limit (retries after the
--   first run; 0: none), task_age_limit (seconds since the first try, rounded up; with both limits a task is retried
--   while either allows it). The delay before retry n is min_backoff_seconds, doubled max_doublings times, then growing
--   by the same step, up to max_backoff_seconds. max_losses (5): a try whose worker died so often in a row has failed.
--   Raises InvalidTaskRetryOptionsError.
function queue_task.TaskRetryOptions(given)
  given = options.check(given, retry_kinds, 1, "TaskRetryOptions")
  check_retry(given)
  local self = {}
  for name in pairs(retry_kinds) do self[name] = given[name] end
  if self.task_age_limit then
    self.task_age_limit = math.tointeger(math.ceil(self.task_age_limit)) or self.task_age_limit
  end
  return setmetatable(self, retry_meta)
end

-- The table of the core, or nil when nothing is set (Q36).
local function retry_form(given)
  if not given then return nil end
  if type(given) ~= "table" then
    bad_option(1, "Task", "retry_options", "TaskRetryOptions expected")
  end
  if getmetatable(given) ~= retry_meta then given = queue_task.TaskRetryOptions(given) end
  local form = {}
  for name in pairs(retry_kinds) do form[name] = given[name] end
  return next(form) and form or nil, given
end

-- ---- parts of a task -------------------------------------------------------------------------------------------

local METHODS = { GET = true, POST = true, HEAD = true, PUT = true, DELETE = true, PULL = true }
local WITH_PAYLOAD = { POST = true, PUT = true, PULL = true }

local function invalid(format, ...)
  errors.raise(classes.InvalidTaskError, format, ...)
end

local function method_of(given)
  local method = given == nil and "POST" or given
  if METHODS[method] then return method end
  if type(method) ~= "string" or not METHODS[method:upper()] then
    invalid("method %s is none of GET, POST, HEAD, PUT, DELETE, PULL", text.of(method, 100))
  end
  return method:upper()
end

--- Checks the name of a task; nil and "" are none.
function queue_task.check_name(name)
  if name == nil or name == "" then return nil end
  if type(name) ~= "string" or #name > queue_task.MAX_TASK_NAME_LENGTH or name:find("[^%w_%-]") then
    errors.raise(classes.InvalidTaskNameError, "task name %s is not 1 to %d of letters, digits, '_' and '-'",
      text.of(name, 100), queue_task.MAX_TASK_NAME_LENGTH)
  end
  return name
end

-- What was found out about something, for the next time: most tasks of a program go to few URLs.
local function memo(max)
  local known, count = {}, 0
  return known, function(key, value)
    if count >= max then
      for old in pairs(known) do known[old] = nil end
      count = 0
    end
    known[key], count = value, count + 1
    return value
  end
end

local MEMO_MAX, MEMO_LENGTH_MAX = 256, 200
local plain_urls, remember_plain_url = memo(MEMO_MAX) -- those that are checked and have no query

-- Path and query (without "?", nil if there is none) of a relative URL.
local function split_url(url)
  if plain_urls[url] then return url end
  if type(url) ~= "string" then errors.raise(classes.InvalidUrlError, "url is a %s", type(url)) end
  if url:find("#", 1, true) then errors.raise(classes.InvalidUrlError, "url has a fragment: %s", text.short(url)) end
  if url:find("[%z\1-\32\127]") then
    errors.raise(classes.InvalidUrlError, "url has a space or control byte: %s", text.of(url, 200))
  end
  local path, query = url:match("^([^?]*)%?(.*)$")
  path = path or url
  if path:find("^//") or path:find("^%a[%w+.%-]*:") or (path ~= "" and path:sub(1, 1) ~= "/") then
    errors.raise(classes.InvalidUrlError, "url is not relative, beginning with '/': %s", text.short(url))
  end
  if #path > queue_task.MAX_URL_LENGTH then
    errors.raise(classes.InvalidUrlError, "path of url has %d bytes, more than %d", #path, queue_task.MAX_URL_LENGTH)
  end
  if not query and #path <= MEMO_LENGTH_MAX then remember_plain_url(path, true) end
  return path, query
end

local function param_text(name, value)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" or kind == "boolean" then return tostring(value) end
  invalid("parameter %s is a %s", text.short(name), kind)
end

-- Form encoding, sorted by name; a list repeats the name.
local function encode_params(params)
  if type(params) ~= "table" then invalid("params is a %s", type(params)) end
  local names, values = {}, {}
  for key, value in pairs(params) do
    if type(key) ~= "string" and type(key) ~= "number" then invalid("params: a name is a %s", type(key)) end
    local name = tostring(key)
    names[#names + 1] = name
    values[name] = value
  end
  table.sort(names)
  local out = {}
  for _, name in ipairs(names) do
    local value = values[name]
    local list = type(value) == "table" and value or { value }
    for _, item in ipairs(list) do
      out[#out + 1] = text.quote(name) .. "=" .. text.quote(param_text(name, item))
    end
  end
  return table.concat(out, "&")
end

local headers_meta = {
  __index = function(headers, name)
    if type(name) ~= "string" then return nil end
    return rawget(headers, (name:lower():gsub("%f[%w]%l", string.upper)))
  end,
}

local function header_text(name, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" then invalid("header %s is a %s", name, kind) end
  value = tostring(value)
  if value:find("[%z\r\n]") then invalid("header %s has a line break in its value", name) end
  return value
end

local NO_HEADERS = {}                                                -- shared by many tasks, so never written to
local CALL_HEADERS = { ["Content-Type"] = "application/octet-stream" } -- likewise

-- Names are kept in one spelling ("Content-Type"); a list repeats its header.
local function copy_headers(given)
  if given == nil then return NO_HEADERS end
  local headers = {}
  if type(given) ~= "table" then invalid("headers is a %s", type(given)) end
  for name, value in next, given do
    if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+%-.^_`|~]+$") then
      invalid("header name %s", text.of(name, 100))
    end
    name = name:lower():gsub("%f[%w]%l", string.upper)
    if type(value) == "table" then
      local list = {}
      for i, item in ipairs(value) do list[i] = header_text(name, item) end
      headers[name] = list
    else
      headers[name] = header_text(name, value)
    end
  end
  return headers
end

local function seconds_of(what, value)
  local seconds = tonumber(value)
  if type(value) == "boolean" or not seconds then invalid("%s is not a number: %s", what, text.of(value, 100)) end
  if seconds ~= seconds or seconds == math.huge or seconds == -math.huge then invalid("%s is not finite", what) end
  return seconds + 0.0
end

local function now()
  local engine = current.engine_or_nil()
  return engine and engine._core:due() or os.time() + 0.0
end

local function eta_of(given)
  if given.countdown ~= nil and given.eta ~= nil then invalid("countdown and eta exclude each other") end
  local at = now()
  local eta = at
  if given.countdown ~= nil then
    eta = at + seconds_of("countdown", given.countdown)
  elseif given.eta ~= nil then
    eta = options.epoch(given.eta)
    if not eta then invalid("eta is neither a number nor a table of year, month and day") end
    eta = seconds_of("eta", eta)
  end
  if max_eta_seconds and eta > at + max_eta_seconds then
    errors.raise(classes.InvalidEtaError, "eta is %.0f s ahead, more than %.0f", eta - at, max_eta_seconds)
  end
  return eta
end

local function tag_of(tag, method)
  if tag == nil or tag == "" then return nil end
  if method ~= "PULL" then invalid("a tag is for PULL tasks only") end
  if type(tag) ~= "string" then invalid("tag is a %s", type(tag)) end
  if #tag > queue_task.MAX_TAG_LENGTH then
    errors.raise(classes.InvalidTagError, "tag has %d bytes, more than %d", #tag, queue_task.MAX_TAG_LENGTH)
  end
  return tag
end

local function deadline_of(deadline)
  if deadline == nil then return nil end
  if type(deadline) ~= "number" then
    bad_option(1, "Task", "dispatch_deadline", "number expected, got %s", type(deadline))
  end
  if not (deadline >= queue_task.MIN_DISPATCH_DEADLINE and deadline <= queue_task.MAX_DISPATCH_DEADLINE) then
    errors.raise(classes.InvalidDispatchDeadlineError, "dispatch_deadline %g is not from %g to %g seconds", deadline,
      queue_task.MIN_DISPATCH_DEADLINE, queue_task.MAX_DISPATCH_DEADLINE)
  end
  return deadline + 0.0
end

local function set_header(self, name, value)
  if self._headers == NO_HEADERS then self._headers = {} end -- those of a call are written to by nobody
  self._headers[name] = value
end

-- Fills url, payload and headers from payload, url and params, as the method demands (Q9 to Q19).
local function fill_request(self, given)
  local method, payload, params = self.method, given.payload, given.params
  if payload ~= nil and type(payload) ~= "string" then invalid("payload is a %s", type(payload)) end
  local encoded = params ~= nil and encode_params(params) or ""
  local has_params = params ~= nil and next(params) ~= nil
  if payload and payload ~= "" and not WITH_PAYLOAD[method] then invalid("%s takes no payload", method) end
  if not WITH_PAYLOAD[method] then payload = nil end
  local path, query = split_url(given.url or "")
  if has_params and query then invalid("a query in url and params exclude each other") end
  if method == "POST" then
    if query then invalid("the url of a POST has no query; pass params") end
    if has_params then
      if payload and payload ~= "" then invalid("payload and params exclude each other") end
      payload = encoded
      if not self._headers["Content-Type"] then
        set_header(self, "Content-Type", "application/x-www-form-urlencoded")
      end
    end
  elseif has_params and encoded ~= "" then
    query = encoded
  end
  self.payload, self.url = payload, query and path .. "?" .. query or path
end

local function fill_pull(self, given)
  local extra = given.url ~= nil and "url" or given.headers ~= nil and "headers" or given.target ~= nil and "target"
  if extra then invalid("a PULL task has no %s", extra) end
  if given.payload ~= nil and given.params ~= nil then invalid("payload and params exclude each other") end
  if given.payload == nil and given.params == nil then invalid("a PULL task needs a payload or params") end
  if given.payload ~= nil and type(given.payload) ~= "string" then invalid("payload is a %s", type(given.payload)) end
  self.payload = given.payload or encode_params(given.params)
end

-- The authority of the engine's default target.
local function default_host()
  local engine = current.engine_or_nil()
  local base = engine and engine._targets.default or ""
  return base:match("^%a+://([^/]+)") or "localhost"
end

local function fill_target(self, given)
  local host = self._headers.Host
  if given.target ~= nil then
    if type(given.target) ~= "string" or not given.target:find("^[%w%-.]+$") then
      invalid("target %s is not letters, digits, '-' and '.'", text.of(given.target, 100))
    end
    if host then invalid("target and a Host header exclude each other") end
    self.target = given.target
    set_header(self, "Host", given.target .. "." .. default_host())
  elseif host then
    local suffix = "." .. default_host()
    local short = host:sub(-#suffix) == suffix and host:sub(1, -#suffix - 1) or nil
    self.target = short
  end
end

local function size_of(self)
  local size = #self.method + #(self.payload or "") + #(self.url or "")
  for name, value in next, self._headers do
    for _, item in ipairs(type(value) == "table" and value or { value }) do size = size + #name + #item + 4 end
  end
  return size
end

-- ---- tasks -----------------------------------------------------------------------------------------------------

local Task = { was_enqueued = false, was_deleted = false, retry_count = 0, priority = 0 } -- until something else is set
local task_meta = { __name = "pipeline.QueueTask", __unserializable = "a task: store what it is made of" }

-- Headers are given as a copy in which names are found in any spelling, the rest as it is.
function task_meta.__index(self, key)
  if key == "headers" then
    local headers = copy_headers(self._headers)
    return setmetatable(headers == NO_HEADERS and {} or headers, headers_meta)
  end
  if key == "size" then return size_of(self) end
  if key == "description" then return task_text.of(self) end
  return Task[key]
end

function task_meta.__tostring(self)
  local where = self.method == "PULL" and "PULL" or ('url="%s"'):format(self.url or "")
  return ("Task(%s%s)"):format(where, self.name and (', name="' .. text.short(self.name) .. '"') or "")
end

local task_kinds = {
  url = "any", params = "any", payload = "any", method = "any", name = "any", headers = "any", countdown = "any",
  eta = "any", target = "any", tag = "any", retry_options = "any", dispatch_deadline = "any", priority = "integer",
}

local MARGIN = MEMO_LENGTH_MAX + 4 -- bytes of a task beside its payload, if its URL was remembered

local function check_size(self, no_limit)
  local limit = self.method == "PULL" and queue_task.MAX_PULL_TASK_SIZE_BYTES or queue_task.MAX_PUSH_TASK_SIZE_BYTES
  local size = not no_limit and size_of(self) or 0
  if size > limit then
    errors.raise(classes.TaskTooLargeError, "the task has %d bytes, more than %d", size, limit)
  end
end

local function check_priority(priority)
  if priority and (priority < -2147483648 or priority > 2147483647) then invalid("priority %d", priority) end
  return priority
end

local PLAIN = { url = true, payload = true, method = true }

-- Most tasks of a program say where they go, or that they are pulled, and what they bring. They are due now: no limit
-- of etas concerns them. nil: more is said of this one, or something of it has to be looked at as `new` does.
local function new_plain(given)
  for field in next, given do
    if not PLAIN[field] then return nil end
  end
  local payload, url, method = given.payload, given.url, given.method
  local kind, is_fine
  if method == "PULL" then
    kind, is_fine = "pull", url == nil and type(payload) == "string"
      and #payload < queue_task.MAX_PULL_TASK_SIZE_BYTES - MARGIN
  elseif method == nil or method == "POST" then
    method, kind, is_fine = "POST", "push", plain_urls[url] and (payload == nil or type(payload) == "string"
      and #payload < queue_task.MAX_PUSH_TASK_SIZE_BYTES - MARGIN)
  end
  if not is_fine then return nil end
  return setmetatable({
    method = method, _headers = NO_HEADERS, eta = now(), _kind = kind, url = url, payload = payload,
    _id = nil, was_enqueued = nil, queue_name = nil, _engine = nil, name = nil, -- room for what adding it sets
  }, task_meta)
end

--- Makes a task without adding it. `how`: kind ("push", "pull" or "deferred"; default by the method), no_size_limit.
function queue_task.new(given, how)
  local plain = not how and type(given) == "table" and not getmetatable(given) and new_plain(given)
  if plain then return plain end
  given = options.check(given, task_kinds, 1, "Task")
  local kind = how and how.kind
  local method = method_of(given.method)
  if kind == "pull" then method = "PULL" end
  local retry, retry_options = retry_form(given.retry_options)
  local self = {
    method = method, _headers = copy_headers(given.headers), eta = eta_of(given), tag = tag_of(given.tag, method),
    name = queue_task.check_name(given.name), dispatch_deadline = deadline_of(given.dispatch_deadline),
    priority = check_priority(given.priority), _retry = retry, retry_options = retry_options,
    _kind = kind or (method == "PULL" and "pull" or "push"),
  }
  if method == "PULL" then
    fill_pull(self, given)
  else
    fill_request(self, given)
    fill_target(self, given)
  end
  setmetatable(self, task_meta)
  check_size(self, how and how.no_size_limit)
  return self
end

--- Makes a task of the life of a pipeline: the one that starts a held-back root, or calls a callback.
-- @tparam table fields kind ("run" or "callback"), engine, stage (its id), url, queue_name (where it goes unless add
--   says otherwise), eta, and for a callback params (name -> value), name, priority, headers, retry_options.
function queue_task.of_stage(fields)
  local retry, retry_options = retry_form(fields.retry_options)
  local params = fields.params or {}
  local self = setmetatable({
    method = "POST", _headers = copy_headers(fields.headers), eta = fields.eta, url = fields.url, params = params,
    payload = encode_params(params), name = queue_task.check_name(fields.name), queue_name = fields.queue_name,
    priority = check_priority(fields.priority), retry_options = retry_options, _retry = retry, _kind = fields.kind,
    _engine = fields.engine, _stage = fields.stage,
  }, task_meta)
  if next(params) and not self._headers["Content-Type"] then
    set_header(self, "Content-Type", "application/x-www-form-urlencoded")
  end
  check_size(self)
  return self
end

--- Makes a task of kind "deferred" of which nothing is said but its payload and its URL.
function queue_task.call(payload, url)
  return setmetatable({
    method = "POST", _headers = CALL_HEADERS, eta = now(), _kind = "deferred", url = url, payload = payload,
    _id = nil, was_enqueued = nil, queue_name = nil, _engine = nil, name = nil, -- room for what adding it sets
  }, task_meta)
end

--- Makes a task.
-- @tparam[opt] table given
--   url (relative, at most 2083 bytes of path; default "/_ah/queue/" and the name of the queue),
--   method ("POST" by default; "PULL" for a pull queue), params (name -> value or list of values: the body of a POST
--   and of a PULL task, else the query), payload (bytes, for POST, PUT and PULL), headers,
--   name (1 to 500 of letters, digits, "_" and "-"; a name is used once in its queue, and again only when its tombstone
--   has expired: 9 days after the task is gone unless the engine was opened with tombstone_seconds),
--   countdown (seconds) or eta (seconds since the epoch, or a table as of os.date("!*t")),
--   target (a name of the `targets` of pipeline.open), tag (PULL, at most 500 bytes), retry_options
--   (TaskRetryOptions), dispatch_deadline (seconds, 15 to 86400: how long one try may take; default 600),
--   priority (higher first).
-- Raises InvalidTaskError or a class below it, InvalidTagError, InvalidDispatchDeadlineError,
-- InvalidTaskRetryOptionsError. In App Engine: taskqueue.Task.
function queue_task.Task(given)
  return queue_task.new(given)
end

--- Whether `value` is a task.
function queue_task.is(value)
  return getmetatable(value) == task_meta
end

local make_queue -- function(name) -> queue
local default_queue

--- Tells how a queue is made of its name; called by the module of queues, which knows tasks, not they it.
function queue_task.set_queue(fn)
  make_queue = fn
end

-- add(queue_name, given), or add{ queue_name =, transactional =, deadline = } as taskqueue.add takes them. Returns the
-- queue and the options of its method.
local function arguments_of_add(self, queue_name, given)
  if queue_name == nil and not rawget(self, "_stage") then
    default_queue = default_queue or make_queue()
    return default_queue, given
  end
  if type(queue_name) == "table" and given == nil then
    local named = queue_name
    queue_name, given = named.queue_name, {}
    for key, value in pairs(named) do
      if key ~= "queue_name" then given[key] = value end
    end
  end
  if queue_name == nil and rawget(self, "_stage") then queue_name = self.queue_name end
  return make_queue(queue_name), given
end

--- Adds the task to a queue (unless given: that of its pipeline if it is one of a pipeline, else "default"); see
-- Queue.add. The queue may also be named among the options: `task:add{ queue_name = "mail", transactional = true }`.
-- Returns the task. In App Engine: Task.add.
function Task.add(self, queue_name, given)
  local queue, how = arguments_of_add(self, queue_name, given)
  return queue:add(self, how)
end

--- As add, but returns a future; see Queue.add_async. In App Engine: Task.add_async.
function Task.add_async(self, queue_name, given)
  local queue, how = arguments_of_add(self, queue_name, given)
  return queue:add_async(self, how)
end

local function unquote(value)
  if value:gsub("%%%x%x", ""):find("%%") then invalid("malformed parameters: a bad escape") end
  return (value:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- The parameters of the task, decoded: single ones as strings, repeated ones as lists. From the payload of POST and
-- PULL tasks, else from the query of the URL. Raises InvalidTaskError if they are malformed.
function Task.extract_params(self)
  local encoded = (self.method == "POST" or self.method == "PULL") and self.payload
    or (self.url or ""):match("%?(.*)$") or ""
  local params = {}
  for pair in encoded:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=(.*)$")
    if not name then invalid("malformed parameters: '%s'", text.short(pair)) end
    name, value = unquote(name), unquote(value)
    local before = params[name]
    if before == nil then
      params[name] = value
    elseif type(before) == "table" then
      before[#before + 1] = value
    else
      params[name] = { before, value }
    end
  end
  return params
end

-- ---- to and from the store -------------------------------------------------------------------------------------

--- The id of an unnamed task of this engine whose name this is; nil: it is an ordinary name.
function queue_task.auto_id(store, name)
  local id_text = name:match("^task%-(%x+)$")
  return id_text and store:id_parse(id_text) or nil
end

--- The name by which an unnamed task is known.
function queue_task.auto_name(store, id)
  return queue_task.AUTO_NAME_PREFIX .. store:id_text(id)
end

local byte = string.byte
local SLASH = byte("/")
local requests, remember_request = memo(MEMO_MAX) -- url -> the encoded POST to it, without headers

local function encode_request(self, url)
  local headers = trace.on and trace.headers(self._headers) or self._headers
  local is_plain = headers == NO_HEADERS and not rawget(self, "target") and self.method == "POST"
  if is_plain and requests[url] then return requests[url] end
  local request = { method = self.method, url = url, target = self.target }
  if next(headers) then request.headers = headers end
  local bytes, code, message = core.encode_value(request, "request")
  if not bytes then errors.raise_core(code, message, tostring(self)) end
  if is_plain and #url <= MEMO_LENGTH_MAX then remember_request(url, bytes) end
  return bytes
end

-- The parameters of a callback are kept as a table; with retry options of its own, as { params, options, since }.
local function encode_callback(self, store)
  local value = self.params
  if self._retry then value = { self.params, self._retry, store:now() } end
  local bytes, code, message = core.encode_value(value, "parameter")
  if not bytes then errors.raise_core(code, message, tostring(self)) end
  return bytes
end

local function form_of_stage(self, store, queue_name)
  local form = {
    kind = self._kind, queue = queue_name, name = rawget(self, "name"), stage = self._stage,
    priority = rawget(self, "priority"), eta = self.eta,
  }
  if self._kind == "run" then
    form.id = self._stage
    return form, self.url, form.name
  end
  local known_as
  form.id, known_as = store:new_name(queue_task.AUTO_NAME_PREFIX)
  form.payload = encode_callback(self, store)
  return form, self.url, form.name or known_as
end

-- A call has one for the trace it belongs to.
local function has_request(kind)
  return kind == "push" or kind == "deferred" and trace.on and trace.header() ~= nil
end

--- The form in which the store takes the task, its full URL, and the name by which it is known.
function queue_task.form(self, store, queue_name)
  if rawget(self, "_stage") then return form_of_stage(self, store, queue_name) end
  local url, name, kind, eta = self.url, rawget(self, "name"), self._kind, self.eta -- most have no name, tag, ...
  if url and url:byte() ~= SLASH then url = "/_ah/queue/" .. queue_name .. url end
  local id, known_as = store:new_name(queue_task.AUTO_NAME_PREFIX)
  return {
    id = id, kind = kind, queue = queue_name, name = name, payload = self.payload,
    name_id = name and queue_task.auto_id(store, name), priority = rawget(self, "priority"), tag = rawget(self, "tag"),
    eta = eta > 1e-6 and eta or 1e-6, deadline = kind ~= "pull" and rawget(self, "dispatch_deadline") or nil,
    retry = rawget(self, "_retry"), request = has_request(kind) and encode_request(self, url) or nil,
  }, url, name or known_as
end

--- Whether `gather` will do: nothing but the task itself has to be said of it.
function queue_task.is_gathered(self)
  return not rawget(self, "name") and not rawget(self, "_stage") and not rawget(self, "_retry") and
    not (trace.on and trace.header())
end

--- Gives the task to a transaction; the store cannot refuse it. Returns its full URL, its id, the name by which it is
-- known, and whether the transaction is to settle; or the URL, nil, code, message.
function queue_task.gather(self, session, queue_name)
  local url, kind, eta = self.url, self._kind, self.eta
  if url and byte(url) ~= SLASH then url = "/_ah/queue/" .. queue_name .. url end
  return url, session:task_gather(queue_name, kind, self.payload, kind == "push" and encode_request(self, url) or nil,
    eta > 1e-6 and eta or 1e-6, rawget(self, "priority"), rawget(self, "tag"),
    kind ~= "pull" and rawget(self, "dispatch_deadline") or nil, queue_task.AUTO_NAME_PREFIX)
end

--- The task as the store gives it back, through `engine`: leased, or dead.
function queue_task.of_record(store, record, engine)
  local request = record.request and core.decode(record.request) or {}
  local self = {
    method = record.kind == "pull" and "PULL" or request.method or "POST", url = request.url, eta = record.eta,
    target = request.target, _headers = copy_headers(request.headers), tag = record.tag, payload = record.payload,
    name = record.name or queue_task.auto_name(store, record.id), queue_name = record.queue,
    priority = record.priority, dispatch_deadline = record.deadline, retry_count = record.tries, was_enqueued = true,
    was_deleted = false, _kind = record.kind, _id = record.id, _engine = engine, _retry = record.retry,
    retry_options = record.retry and queue_task.TaskRetryOptions(record.retry) or nil,
  }
  return setmetatable(self, task_meta)
end

return queue_task
