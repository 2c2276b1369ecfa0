-- target.lua [CERTIFICATE KEY] - the server the fetch specs talk to: a process of its own that answers well, badly,
-- slowly or never, as the path says, and counts what it sees. Prints its port; ends at GET /quit, or by itself.
local socket = require "socket"

local LIFETIME_SECONDS = 120 * dofile((arg[0]:gsub("[^/]*/[^/]*$", "support/pace.lua")))
local PIECE = ("x"):rep(65536)

local certificate, key = ...
local tls = certificate and require("ssl").newcontext {
  mode = "server", protocol = "any", certificate = certificate, key = key,
}

local threads = {} -- coroutine -> what it waits for: {read = socket} or {write = socket} or {at = time}
local seen = { connections = 0, now = 0, most = 0, flood = 0, gone = 0, requests = 0 }
local running = true

local function pause(seconds) coroutine.yield { at = socket.gettime() + seconds } end

-- ---- connections: every function here raises when the client is gone

local function receive(connection, pattern)
  local text = ""
  while true do
    local part, problem, rest = connection:receive(pattern)
    text = text .. (part or rest or "")
    if part then return text end
    if problem ~= "timeout" and problem ~= "wantread" then error(problem, 0) end
    if type(pattern) == "number" then pattern = pattern - #rest end
    coroutine.yield { read = connection }
  end
end

local function send(connection, bytes, count)
  local from = 1
  while from <= #bytes do
    local last, problem, partial = connection:send(bytes, from)
    if count then seen[count] = seen[count] + (last or partial or from - 1) - from + 1 end
    from = (last or partial or from - 1) + 1
    if not last then
      if problem ~= "timeout" and problem ~= "wantwrite" then error(problem, 0) end
      coroutine.yield { write = connection }
    end
  end
end

local function answer(connection, status, headers, body)
  local lines = { ("HTTP/1.1 %d Whatever"):format(status) }
  for _, line in ipairs(headers) do lines[#lines + 1] = line end
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  send(connection, table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or ""))
end

local function read_request(connection)
  local request = { headers = {}, lines = {} }
  request.method, request.path, request.query = receive(connection, "*l"):match("^(%S+) ([^%s?]*)%??(%S*)")
  while true do
    local line = receive(connection, "*l")
    if line == "" then break end
    request.lines[#request.lines + 1] = line
    local name, value = line:match("^([^:]+): *(.*)$")
    request.headers[name:lower()] = value
  end
  seen.requests = seen.requests + 1
  return request
end

-- Gives each piece of the body to fn.
local function read_body(connection, request, fn)
  if request.headers["transfer-encoding"] == "chunked" then
    while true do
      local size = tonumber(receive(connection, "*l"), 16)
      if size > 0 then fn(receive(connection, size)) end
      receive(connection, "*l")
      if size == 0 then return end
    end
  end
  local length = tonumber(request.headers["content-length"] or 0)
  if length > 0 then fn(receive(connection, length)) end
end

-- ---- what the paths do

local paths = {}

function paths.status(connection, request)
  local status = tonumber(request.query)
  if status == 204 then return answer(connection, status, {}) end
  answer(connection, status, status == 302 and { "Location: /after" } or {}, "status " .. status)
end

-- Fails so many times, then answers well.
function paths.flaky(connection, request)
  local left = seen.flaky or tonumber(request.query)
  seen.flaky = left - 1
  if left > 0 then return answer(connection, 503, {}, "") end
  answer(connection, 200, {}, "fine")
end

function paths.after(connection, request) answer(connection, 200, {}, request.method .. " after") end

paths["loop"] = function(connection) answer(connection, 302, { "Location: /loop" }, "") end

function paths.elsewhere(connection) answer(connection, 302, { "Location: ftp://127.0.0.1/" }, "") end

function paths.never() pause(LIFETIME_SECONDS) end

function paths.dribble(connection)
  send(connection, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
  while true do
    send(connection, "x")
    pause(0.01)
  end
end

-- A piece, then silence.
function paths.stall(connection)
  send(connection, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst")
  pause(LIFETIME_SECONDS)
end

function paths.big(connection, request)
  local left = tonumber(request.query)
  send(connection, ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(left))
  while left > 0 do
    send(connection, PIECE:sub(1, left))
    left = left - #PIECE
  end
end

function paths.pieces(connection, request)
  send(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
  for i = 1, tonumber(request.query) do
    send(connection, ("%x\r\n%s\r\n"):format(#PIECE + #tostring(i), PIECE .. i))
  end
  send(connection, "0\r\nX-Trailer: late\r\n\r\n")
end

-- As many bytes as the client takes.
function paths.flood(connection)
  connection:setoption("send-buffer-size", 65536)
  send(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
  while true do send(connection, ("%x\r\n%s\r\n"):format(#PIECE, PIECE), "flood") end
end

function paths.half(connection)
  send(connection, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" .. ("x"):rep(500))
  return "close"
end

-- No length: the end of the connection is the end of the body.
function paths.open(connection)
  send(connection, "HTTP/1.1 200 OK\r\n\r\n" .. ("x"):rep(500))
  return "close"
end

function paths.drop() return "close" end

function paths.garbage(connection)
  send(connection, "SSH-2.0-whatever\r\n\r\n")
  return "close"
end

-- A whole answer, and the connection is reset behind it: the rest of the request was not read.
function paths.hurry(connection)
  send(connection, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
  connection:setoption("linger", { on = true, timeout = 0 })
  return "close"
end

-- What libcurl alone would take for a 200.
function paths.statusless(connection)
  send(connection, "HTTP/any: thing 1\r\nX: y\r\n\r\nhello")
  return "close"
end

-- A trailer that looks like the head of another answer.
function paths.trailer(connection)
  send(connection, "HTTP/1.1 201 Created\r\nX-One: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
  send(connection, "5\r\nhello\r\n0\r\nHTTP/1.1 500 trap: x\r\nX-Two: 2\r\n\r\n")
end

-- A head whose first line goes on from one that is not there.
function paths.folded(connection)
  send(connection, "HTTP/1.1 200 OK\r\n folded: on\r\nX-Last: a\r\nContent-Length: 2\r\n\r\nok")
end

function paths.headers(connection)
  answer(connection, 200, {
    "Set-Cookie: a=1, x", "X-One:1", "SET-COOKIE:  b=2  ", "X-Empty:", "X-Last: z",
  }, "")
end

function paths.head(connection, request)
  send(connection, "HTTP/1.1 200 OK\r\n")
  for i = 1, tonumber(request.query) do send(connection, ("X-%d: %s\r\n"):format(i, ("y"):rep(50))) end
  send(connection, "Content-Length: 0\r\n\r\n")
end

function paths.echo(connection, request)
  local pieces = { request.method .. "\n", table.concat(request.lines, "\n"), "\n\n" }
  read_body(connection, request, function(piece) pieces[#pieces + 1] = piece end)
  answer(connection, 200, { "X-Method: " .. request.method }, table.concat(pieces))
end

-- Does not read for a while; then counts the bytes.
function paths.sink(connection, request)
  local total = 0
  pause(tonumber(request.query) or 0)
  read_body(connection, request, function(piece) total = total + #piece end)
  answer(connection, 200, {}, tostring(total))
end

function paths.slow(connection, request)
  seen.now = seen.now + 1
  seen.most = math.max(seen.most, seen.now)
  pause(tonumber(request.query))
  seen.now = seen.now - 1
  answer(connection, 200, {}, "slow")
end

function paths.seen(connection, request) answer(connection, 200, {}, tostring(seen[request.query])) end

function paths.reset(connection)
  for name in pairs(seen) do seen[name] = 0 end
  answer(connection, 200, {}, "")
end

function paths.quit(connection)
  running = false
  answer(connection, 200, { "Connection: close" }, "")
  return "close"
end

-- ---- the loop

local function serve(connection)
  if tls then
    connection = assert(require("ssl").wrap(connection, tls))
    connection:settimeout(0)
    while true do
      local good, problem = connection:dohandshake()
      if good then break end
      if problem ~= "wantread" and problem ~= "wantwrite" then return connection:close() end
      coroutine.yield { read = connection }
    end
  end
  pcall(function()
    repeat
      local request = read_request(connection)
      local name = request.path and request.path:match("^/(%w*)") or ""
      local path = paths[name] or function() answer(connection, 404, {}, "no such path") end
      local ends = path(connection, request) == "close" or request.headers.connection == "close"
    until ends
  end)
  seen.gone = seen.gone + 1
  connection:close()
end

local function start(fn, ...)
  local thread = coroutine.create(fn)
  local ok, wait = coroutine.resume(thread, ...)
  if not ok then io.stderr:write(tostring(wait), "\n") end
  if coroutine.status(thread) ~= "dead" then threads[thread] = wait end
end

local listener = assert(socket.bind("127.0.0.1", 0, 512))
listener:settimeout(0)
print((select(2, listener:getsockname())))
io.stdout:flush()

local limit = socket.gettime() + LIFETIME_SECONDS
while running and socket.gettime() < limit do
  local readers, writers, wake = { listener }, {}, limit
  for _, wait in pairs(threads) do
    if wait.read then readers[#readers + 1] = wait.read end
    if wait.write then writers[#writers + 1] = wait.write end
    if wait.at then wake = math.min(wake, wait.at) end
  end
  local readable, writable = socket.select(readers, writers, math.max(0, wake - socket.gettime()))
  local now, due = socket.gettime(), {}
  for thread, wait in pairs(threads) do
    if wait.read and readable[wait.read] or wait.write and writable[wait.write] or wait.at and wait.at <= now then
      due[#due + 1] = thread
    end
  end
  for _, thread in ipairs(due) do
    local _, wait = coroutine.resume(thread)
    threads[thread] = coroutine.status(thread) ~= "dead" and wait or nil
  end
  while readable[listener] do
    local connection = listener:accept()
    if not connection then break end
    connection:settimeout(0)
    connection:setoption("tcp-nodelay", true)
    seen.connections = seen.connections + 1
    start(serve, connection)
  end
end
