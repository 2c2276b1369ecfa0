-- support.lua - HTTP clients for the specs: raw sockets that never block, with the engine's loop run in between.

local socket = require "socket"
local pipeline = require "pipeline"

local support = {}

local WAIT_SECONDS = 10

--- A fresh engine in memory whose log lines are collected in `engine_log` (second result).
function support.open(options)
  local lines = {}
  pipeline.set_logger(function(level, text) lines[#lines + 1] = { level = level, text = text } end)
  return pipeline.open(":memory:", options), lines
end

--- Whether a collected line has the text.
function support.logged(lines, part)
  for _, line in ipairs(lines) do
    if line.text:find(part, 1, true) then return line end
  end
  return nil
end

local Client = {}
Client.__index = Client

--- Connects to a server of the engine. `wait`: seconds for each thing that is waited for (optional).
function support.connect(engine, server, wait)
  local client = setmetatable({
    engine = engine, socket = socket.tcp(), text = "", closed = false, wait = wait or WAIT_SECONDS,
  }, Client)
  client.socket:settimeout(0)
  client.socket:connect("127.0.0.1", server.port)
  return client
end

--- Takes what has arrived.
function Client:read()
  local part, problem, rest = self.socket:receive(65536)
  self.text = self.text .. (part or rest or "")
  if problem and problem ~= "timeout" and problem ~= "Socket is not connected" then self.closed = true end
  return part ~= nil or (rest ~= nil and rest ~= "")
end

--- Runs the engine until the condition holds; returns whether it does.
function Client:until_(condition)
  local limit = socket.gettime() + self.wait
  while not condition() do
    if socket.gettime() > limit then return false end
    self.engine:step()
    if not self:read() then socket.sleep(0.0005) end
  end
  return true
end

--- Sends all of it, or until the server closes.
function Client:send(bytes)
  local at = 1
  self:until_(function()
    local last, problem, partial = self.socket:send(bytes, at)
    at = (last or partial or at - 1) + 1
    if problem == "closed" then self.closed = true end
    return at > #bytes or self.closed
  end)
  return self
end

--- Waits for a text in what was received.
function Client:expect(part)
  self:until_(function() return self.closed or self.text:find(part, 1, true) end)
  return self.text:find(part, 1, true) ~= nil
end

--- Waits for the end of the connection; returns everything received.
function Client:finish()
  self:until_(function() return self.closed end)
  self.socket:close()
  return self.text
end

function Client:close()
  self.socket:close()
end

--- Sends raw bytes on a connection of their own and returns what comes back until the server closes it.
function support.raw(engine, server, bytes, wait)
  return support.connect(engine, server, wait):send(bytes):finish()
end

--- One request over a socket: {method, path, headers, body, wait} -> {status, headers, body}.
function support.fetch(engine, server, request)
  local lines = {
    ("%s %s HTTP/1.1"):format(request.method or "GET", request.path), "Host: spec", "Connection: close",
  }
  for name, value in pairs(request.headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  if request.body then lines[#lines + 1] = "Content-Length: " .. #request.body end
  local text = support.raw(engine, server, table.concat(lines, "\r\n") .. "\r\n\r\n" .. (request.body or ""),
    request.wait)
  local head, body = text:match("^(.-\r\n)\r\n(.*)$")
  assert(head, "no answer: " .. text:sub(1, 200))
  local reply = { status = tonumber(head:match("^HTTP/1.1 (%d+)")), headers = {}, body = body }
  for name, value in head:gmatch("\n([^:\r\n]+): *([^\r\n]*)") do reply.headers[name:lower()] = value end
  return reply
end

return support
