--- free_port.lua: a function that returns a port of the loopback that nobody listens on just now.

local socket = require "socket"

return function()
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  server:close()
  return port
end
