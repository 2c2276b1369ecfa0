-- visit.lua URL - does what a person with a browser would do: visits a URL until it answers with success, or says that
-- it needs no answer any more (409).
--
-- The other examples start it in the background for --approve, because a real request over a real socket is what
-- they want to show. Gives up after ten seconds.
local http = require "socket.http"
local socket = require "socket"

local url = assert(arg[1], "usage: visit.lua URL")
local deadline = socket.gettime() + 10
repeat
  local _, code = http.request(url)
  if code == 200 or code == 409 then os.exit(true) end
  socket.sleep(0.1)
until socket.gettime() > deadline
io.stderr:write("visit.lua: no success from ", url, "\n")
os.exit(false)
