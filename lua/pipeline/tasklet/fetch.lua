--- tasklet/fetch.lua: HTTP requests of tasklets: futures over the client in C (csrc/binding/http/client.c).
--
-- A loop has a client, made when it is first wanted: on the uv loop of this Lua state, or with virtual time on that of
-- the engine; and one for each further engine with a uv loop of its own in which requests were made. A client tells by
-- number which request has news; `waiting` has those somebody waits for, or that are still to be answered; `streams`,
-- which keeps nothing alive, the responses that come in pieces. So a response in pieces that nobody holds is collected,
-- and its connection closed.
--
-- Invariants
--   1. An exchange is in `waiting` exactly while somebody waits for the server. Then it also has a ref: `refs` of its
--      loop counts it, and virtual time stands still; but not while its body function is at work.
--   2. Once an exchange is `ended`, its request is released, nobody waits for it, and its sender has ended or is
--      cancelled.

local core = require "pipeline.core"
local await_room = require "pipeline.support.await"
local clients = require "pipeline.loop.clients"
local engines = require "pipeline.current"
local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"
local options = require "pipeline.support.options"
local task = require "pipeline.tasklet.task"
local place = require "pipeline.support.place"
local trace = require "pipeline.telemetry.trace"
local bad_option = place.bad_option

local fetch = {}

local FINISHING = future.FINISHING

local meta, Fetch = future.kind("Fetch")

-- ---- exchanges -------------------------------------------------------------------------------------------------

-- Whether the loop has to wait for the server.
local function update_ref(self)
  local wanted = not self.ended and (not self.answered or self.reader ~= false)
  local has_ref = wanted and not self.in_body
  local loop = self.loop
  self.client.waiting[self.id] = wanted and self or nil
  if has_ref == self.has_ref then return end
  self.has_ref = has_ref
  local by = has_ref and 1 or -1
  loop.refs, loop.fetching = loop.refs + by, loop.fetching + by
  if self.is_virtual then self.request:hold(has_ref) end
end

-- Ends the exchange: nothing of it is left but what was given away.
local function finish(self)
  if self.ended then return end
  self.ended = true
  local reader, room, sender = self.reader, self.room, self.sender
  self.reader, self.room, self.sender = false, false, false
  self.request:cancel()
  update_ref(self)
  self.client.streams[self.id] = nil
  if reader then future.finish(reader) end
  if room then future.finish(room) end
  if sender and sender.state ~= FINISHING then sender:cancel("its request is over") end
end

local function problem_of(self, code, message)
  local class = code == "ETIMEDOUT" and errors.TimeoutError or errors.FetchError
  return class(("%s %s: %s"):format(self.method, self.url, message or code), {
    code = code, url = self.url, method = self.method, where = false,
  })
end

-- ---- responses in pieces -----------------------------------------------------------------------------------------

local Response = {}
local response_meta = { __name = "pipeline.FetchResponse", __index = Response }

local function exchange_of(response, name)
  local self = type(response) == "table" and getmetatable(response) == response_meta and rawget(response, "_exchange")
  if self then return self end
  place.misuse(("bad self of '%s' (an answer in pieces expected; call it with a colon)"):format(name))
end

local reading_meta = {
  __close = function(reading)
    local self = reading.of
    if self.reader ~= reading.on then return end
    self.reader = false
    update_ref(self)
  end,
}

-- Waits until there is a piece, or the end.
local function wait_for_piece(self)
  local on = future.plain(2, "piece of " .. self.url)
  self.reader = on
  update_ref(self)
  local _ <close> = setmetatable({ of = self, on = on }, reading_meta)
  future.wait(on)
end

local function read_end(self)
  local problem = self.problem
  finish(self)
  if problem == nil then return nil end
  self.problem = problem -- the same every time
  error(errors.located(problem), 0)
end

--- The next piece of the body, as it has come; nil at the end. Waits for it. Raises FetchError or TimeoutError.
function Response.read(response)
  local self = exchange_of(response, "read")
  if self.reader then
    errors.raise(errors.TaskletError, "read of %s: another tasklet is reading this answer", self.url)
  end
  while not self.ended do
    local is_over = self.request:state()
    local piece, code, message = self.request:take()
    if piece then return piece end
    if code then
      self.problem = self.problem or problem_of(self, code, message)
      break
    end
    if is_over then break end
    wait_for_piece(self)
  end
  return read_end(self)
end

--- An iterator over the pieces.
function Response.each(response)
  exchange_of(response, "each")
  return Response.read, response
end

--- Ends the request if the response was not read to its end. Idempotent; also the response's __close.
function Response.close(response)
  local self = exchange_of(response, "close")
  if self.ended then return end
  self.problem = problem_of(self, "ECLOSED", "the answer was closed")
  finish(self)
end

response_meta.__close = Response.close

function response_meta.__tostring(response)
  local self = rawget(response, "_exchange")
  return ("<%s: %s %s>"):format("Response", tostring(response.status), self and self.url or "?")
end

-- ---- the response ------------------------------------------------------------------------------------------------

local function answered(self)
  local on, response, code, message = self.future, self.request:response()
  self.answered, self.future, on.exchange = true, false, false
  if not response then
    finish(self)
    return future.fail(on, self.problem or problem_of(self, code, message))
  end
  if self.stream then
    response._exchange = self
    self.client.streams[self.id] = self
    update_ref(self)
    setmetatable(response, response_meta)
  else
    finish(self)
  end
  return future.finish(on, response)
end

local function changed(self)
  local is_over, has_head, has_piece, wants = self.request:state()
  local room, reader = self.room, self.reader
  if room and (wants or is_over) then
    self.room = false
    future.finish(room)
  end
  if not self.answered then
    if is_over or (self.stream and has_head) then answered(self) end
  elseif reader and (is_over or has_piece) then
    future.finish(reader)
  end
end

-- ---- the body of the request, in pieces ------------------------------------------------------------------------

local function wait_for_room(self)
  local on = future.plain(2, "room for the body of " .. self.url)
  self.room = on
  self.in_body = false
  update_ref(self)
  future.wait(on)
end

-- Calls the body function while there is room. In a tasklet.
local function send(self)
  while not self.ended do
    local is_over, _, _, wants = self.request:state()
    if is_over then return end
    if wants then
      self.in_body = true
      update_ref(self)
      local piece = await_room.results(self.body())
      if type(piece) ~= "string" and piece ~= nil then
        local text = "%s %s: the body function must return a string or nil, got %s"
        error(errors.FetchError(text:format(self.method, self.url, type(piece)), {
          where = place.of_function(self.body), traceback = debug.traceback(nil, 2),
        }), 0)
      end
      if self.ended then return end
      self.request:send(piece)
      if piece == nil then return end
    else
      wait_for_room(self)
    end
  end
end

-- The sender has ended.
local function sent(self)
  local sender = self.sender
  self.sender, self.in_body = false, false
  if self.ended then return end
  update_ref(self)
  local failure = sender and sender.failure
  if not failure then return end
  failure.seen = true
  self.problem = failure.value
  local on = self.future
  finish(self)
  if on then
    self.future = false
    future.fail(on, failure.value, failure.trace)
  end
end

local function start_sender(self)
  self.sender = task.start(send, 3, { n = 1, self })
  future.add_now(self.sender, sent, self)
end

-- ---- clients ---------------------------------------------------------------------------------------------------

local Client = {}
Client.__index = Client

local function tell(client, id)
  local self = client.waiting[id] or client.streams[id]
  if self and not self.ended then changed(self) end
end

-- The entry of the loop's queue: works off what has come.
function Client.go(client)
  local id = client.core:news()
  while id do
    tell(client, id)
    id = client.core:news()
  end
end

-- There will be no response, or no more of it.
local function give_up(self)
  local on = self.future
  self.answered, self.future = true, false
  finish(self)
  if not on then return end
  on.exchange = false
  future.fail(on, self.problem)
end

local function add_those_of(engine, exchanges, list)
  for _, self in pairs(exchanges) do
    if not engine or self.works_for == engine then list[#list + 1] = self end
  end
end

--- An engine is being closed: what is under way for it fails; without `engine` all does.
function Client.abandon(client, engine)
  local list = {}
  add_those_of(engine, client.waiting, list)
  add_those_of(engine, client.streams, list)
  table.sort(list, function(a, b) return a.id < b.id end)
  for _, self in ipairs(list) do
    self.problem = self.problem or problem_of(self, "ECLOSED", "the engine was closed")
    give_up(self)
  end
end

--- The engine whose uv loop it is on is being closed: all that is under way fails.
function Client.shut(client)
  client.core:close()
  client:abandon()
end

local function make_client(on)
  return setmetatable({
    core = errors.check(core.client(on)), waiting = {}, streams = setmetatable({}, { __mode = "v" }), last = 0,
    engine = false,
  }, Client)
end

local limits = setmetatable({}, { __mode = "k" }) -- loop -> what fetch_limits was given

local function client_of(loop)
  return clients.of_request(loop, function(on)
    local client = make_client(on)
    if limits[loop] then errors.check(client.core:limits(limits[loop])) end
    return client
  end)
end

-- ---- for users -------------------------------------------------------------------------------------------------

-- Ends the exchange of a future that is not done.
local function abandon(self)
  local exchange = self.exchange
  self.exchange = false
  if not exchange then return end
  exchange.future = false
  exchange.answered = true
  finish(exchange)
end

--- Ends the request: its connection is closed, the future fails with CancelledError. Returns false if it was done.
function Fetch.cancel(self, reason)
  if self.state == FINISHING then return false end
  abandon(self)
  future.fail(self, errors.CancelledError(reason or "cancelled"))
  return true
end

-- The only tasklet that waited was cancelled.
function Fetch.dropped(self)
  if self.state ~= FINISHING then
    Fetch.cancel(self, "nobody waits for it any more")
  elseif not self.failure and getmetatable(self.value) == response_meta then
    self.value:close()
  end
end

Fetch.exchange = false

local kinds = {
  url = "string", method = "string", headers = "table", body = "any", deadline = "duration",
  connect_timeout = "duration", max_size = "integer", stream = "boolean", follow = "any", verify = "boolean",
  ca_file = "string", proxy = "any",
}

local function check(given)
  if given == nil then given = {} end
  given = options.check(given, kinds, 1, "fetch")
  if given.url == nil then bad_option(1, "fetch", "url", "string expected, got nil") end
  return given
end

-- What may be shown of a URL: not the password in it.
local function shown(url)
  return (url:gsub("^(%a[%w+.-]*://)[^/?#]*@", "%1"))
end

-- A request made by code that belongs to a trace says so.
local function with_trace(given)
  local out = {}
  for name, value in pairs(given) do out[name] = value end
  out.headers = trace.headers(given.headers)
  return out
end

--- Makes an HTTP request. Returns a future at once; its result is the response: status, headers (by lower-case name,
-- repeated ones joined with ", "), header_list (pairs as sent), url (after redirects) and body. Any status is an
-- response, not an error. Cancelling the future, or the only tasklet that waits for it, ends the request.
-- @tparam table given
--   url (http or https); method (GET); headers (strings, or lists of strings, by name);
--   body: a string, or a function that gives one piece after the other and nil at the end; it runs as a tasklet;
--   stream: the future is done with the head, and instead of a body the response has read() -> piece or nil,
--     each(), and close(), which is also its __close; until it is closed, read to its end, or collected, the loop
--     does not take itself for done;
--   deadline: seconds (60; 0: none) for everything; with stream for the head, and for each piece waited for;
--   connect_timeout: seconds; max_size: bytes of the body (32 MiB; with stream none; 0: none);
--   follow: true, or how many redirects to follow; verify: false takes any certificate; ca_file: certificates to
--   trust instead of the system's; proxy: its URL, or true: as the environment says.
-- The future fails with FetchError (fields code, url, method), TimeoutError (the same fields), CancelledError, or
-- what the body function has raised.
function fetch.fetch(given)
  engines.refuse_in_body("fetch")
  given = check(given)
  if trace.on then given = with_trace(given) end
  local self = future.new(meta, 2, (given.method or "GET") .. " " .. shown(given.url))
  local loop = self.loop
  local client = client_of(loop)
  client.last = client.last + 1
  local exchange = {
    id = client.last, client = client, loop = loop, is_virtual = not loop.is_common, future = self, request = false,
    works_for = engines.owner() or false,
    method = given.method or "GET", url = shown(given.url), stream = given.stream or false,
    body = type(given.body) == "function" and given.body, sender = false, in_body = false,
    room = false, reader = false, -- futures: of the sender, of whoever reads
    answered = false, ended = false, has_ref = false,
  }
  local ok, request, code, message = pcall(client.core.start, client.core, given, exchange.id)
  if not ok then
    place.misuse((tostring(request):gsub("^.-bad argument #%d+ to '.-' ", "bad argument #1 to 'fetch' ")))
  end
  if not request then
    future.fail(self, problem_of(exchange, code, message))
    return self
  end
  exchange.request, self.exchange = request, exchange
  update_ref(exchange)
  if exchange.body then start_sender(exchange) end
  return self
end

local limit_kinds = { active = "count", per_host = "integer", idle = "count" }

--- Sets the limits of requests on the loop.
-- @tparam table given active (requests under way at once, 100; more wait for their turn), per_host (connections to one
--   host; 0: any number), idle (connections kept open without a request, 100).
function fetch.fetch_limits(given)
  given = options.check(given, limit_kinds, 1, "fetch_limits")
  local loop = eventloop.current()
  limits[loop] = { active = given.active, per_host = given.per_host, idle = given.idle }
  for _, client in ipairs(loop.clients or {}) do errors.check(client.core:limits(limits[loop])) end
end

--- What is under way on the loop: active, queued; requests and connections since it began.
function fetch.fetch_facts()
  local sum = { active = 0, queued = 0, requests = 0, connections = 0 }
  for _, client in ipairs(eventloop.current().clients or {}) do
    for name, count in pairs(client.core:facts()) do sum[name] = sum[name] + count end
  end
  return sum
end

return fetch
