-- parsed.lua: a function that gives what Python's email package reads of the bytes of a message.

local cjson = require "cjson.safe"
local support = require "spec.mail.support"

return function(bytes)
  local directory = support.directory()
  support.write(directory .. "/1.eml", bytes)
  local pipe = assert(io.popen(("env -u LD_PRELOAD %s spec/mail/parse.py %s"):format(support.PYTHON, directory)))
  local text = pipe:read("a")
  pipe:close()
  support.remove(directory)
  return assert(cjson.decode(text), text)["1"]
end
