-- flood_client.lua PORT SECONDS - a crowd that a server must bear: 10,000 connections that do nothing, and 500 slow
-- ones that come back whenever they are closed: a third trickle headers, a third a body, a third read a large answer in
-- small bites. Prints how many connections were opened of each kind.

local socket = require "socket"

local port, seconds = tonumber(arg[1]), tonumber(arg[2])
local IDLE, SLOW = 10000, 500
local opened = { idle = 0, slow = 0 }
local idle = {}

local function open(kind)
  local client = socket.tcp()
  if client then
    client:settimeout(0)
    local ok, problem = client:connect("127.0.0.1", port)
    if ok or problem == "timeout" or problem:find("in progress") then
      opened[kind] = opened[kind] + 1
      return client
    end
    client:close()
  end
  local oldest = table.remove(idle, 1) -- there are no descriptors left
  if oldest then oldest:close() end
end

local heads = {
  "GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: ",
  "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
  "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
}

local function step_slow(client, kind)
  if kind == 3 then
    local _, problem, part = client:receive(300)
    return problem ~= "closed" or (part and #part > 0)
  end
  local _, problem = client:send("x")
  if problem == "closed" then return false end
  _, problem = client:receive(1)
  return problem ~= "closed"
end

local slow, stop = {}, socket.gettime() + seconds
while socket.gettime() < stop do
  for _ = 1, 250 do
    if opened.idle < IDLE then idle[#idle + 1] = open("idle") end
  end
  for i = 1, SLOW do
    local entry = slow[i]
    if entry and not step_slow(entry.client, entry.kind) then
      entry.client:close()
      entry, slow[i] = nil, nil
    end
    if not entry then
      local client = open("slow")
      if client then
        slow[i] = { client = client, kind = i % 3 + 1 }
        client:send(heads[i % 3 + 1])
      end
    end
  end
  socket.sleep(0.05)
end
print(opened.idle, opened.slow)
