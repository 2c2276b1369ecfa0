-- support.lua: mail servers of the specs: a hostile one that does as it is told, and a real one.

local cjson = require "cjson.safe"

local support = {}

local PYTHON = os.getenv("PYTHON") or "/usr/bin/python3"

support.PYTHON = PYTHON

--- A new directory, which the caller removes.
function support.directory()
  local pipe <close> = assert(io.popen("mktemp -d"))
  return pipe:read("l")
end

function support.remove(directory)
  os.execute("rm -rf '" .. directory .. "'")
end

function support.write(path, bytes)
  local file <close> = assert(io.open(path .. ".new", "wb"))
  file:write(bytes)
  file:close()
  assert(os.rename(path .. ".new", path))
end

-- Starts a server that prints its port and ends when its input does: it goes with this process, whatever happens.
local function start(directory, command)
  local out = directory .. "/port"
  local pipe = assert(io.popen(("env -u LD_PRELOAD %s %s >%s"):format(PYTHON, command, out), "w"))
  for _ = 1, 400 do
    local file = io.open(out)
    local port = file and file:read("n")
    if file then file:close() end
    if port then return pipe, math.tointeger(port) end
    os.execute("sleep 0.05")
  end
  pipe:close()
  error("the mail server did not start: " .. command)
end

local Server = {}
Server.__index = Server

function Server:close()
  self.pipe:close()
  support.remove(self.directory)
end

--- What the hostile server does from now on; see hostile.py.
function Server:plan(plan)
  self.plans = (self.plans or 0) + 1
  local numbered = { number = self.plans }
  for name, value in pairs(plan) do numbered[name] = value end
  support.write(self.directory .. "/plan", cjson.encode(numbered))
end

--- What came of the connections that have ended, since the last time. A line without an end is still being written.
function Server:seen()
  local list, n = {}, 0
  local file = io.open(self.directory .. "/log")
  for line in file and file:lines("L") or function() end do
    if line:sub(-1) ~= "\n" then break end
    n = n + 1
    if n > (self.read or 0) then list[#list + 1] = assert(cjson.decode(line)) end
  end
  if file then file:close() end
  self.read = n
  return list
end

--- As seen, when there are `count`.
function Server:wait_seen(count)
  local list = {}
  for _ = 1, 200 do
    for _, item in ipairs(self:seen()) do list[#list + 1] = item end
    if #list >= count then return list end
    os.execute("sleep 0.05")
  end
  return list
end

--- A server that does as `plan` says.
function support.hostile(plan)
  local self = setmetatable({ directory = support.directory() }, Server)
  self:plan(plan or {})
  self.pipe, self.port = start(self.directory, ("spec/mail/hostile.py %s/plan %s/log"):format(self.directory,
    self.directory))
  self.url = "smtp://127.0.0.1:" .. self.port
  return self
end

--- A real server that keeps what it gets: Server:messages() gives it.
function support.mailbox(arguments)
  local self = setmetatable({ directory = support.directory() }, Server)
  self.box = self.directory .. "/box"
  os.execute("mkdir " .. self.box)
  self.pipe, self.port = start(self.directory, ("spec/mail/mailbox.py %s %s"):format(self.box, arguments or ""))
  self.url = "smtp://127.0.0.1:" .. self.port
  return self
end

--- The messages in the box, in the order they came.
function Server:messages()
  local list = {}
  while true do
    local file = io.open(("%s/%d.json"):format(self.box, #list + 1))
    if not file then return list end
    list[#list + 1] = cjson.decode(file:read("a"))
    file:close()
  end
end

return support
