-- seeds.lua FUZZER DIRECTORY - writes what a fuzzer begins with besides its corpus: the requests of the HTTP specs.

local name, directory = arg[1], arg[2]

-- Both take a byte first that says how the rest is divided.
local takes = { http_fuzz = true, http_parser_fuzz = true }

for i, entry in ipairs(takes[name] and require "spec.http.requests" or {}) do
  if #entry[2] < 2000 then
    local file <close> = assert(io.open(("%s/request-%03d"):format(directory, i), "wb"))
    file:write("\0", entry[2], "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n")
  end
end
