-- seeds.lua FUZZER DIRECTORY - writes what a fuzzer begins with besides its corpus: the requests of the HTTP specs, and
-- files of the machine's time zones.

local name, directory = arg[1], arg[2]

-- Both take a byte first that says how the rest is divided.
local takes = { http_fuzz = true, http_parser_fuzz = true }

for i, entry in ipairs(takes[name] and require "spec.http.requests" or {}) do
  if #entry[2] < 2000 then
    local file <close> = assert(io.open(("%s/request-%03d"):format(directory, i), "wb"))
    file:write("\0", entry[2], "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n")
  end
end

-- One of each kind: a table and a footer, a footer alone, a table to 2087, half hours, two hours, a missing day.
local ZONES = { "Europe/Berlin", "UTC", "Africa/Casablanca", "Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia",
  "Europe/Dublin", "America/New_York", "Asia/Gaza", "Etc/GMT+5" }

for i, zone in ipairs(name == "zone_fuzz" and ZONES or {}) do
  local from = io.open("/usr/share/zoneinfo/" .. zone, "rb")
  if from then
    local file <close> = assert(io.open(("%s/zone-%02d"):format(directory, i), "wb"))
    file:write((from:read("a")))
    from:close()
  end
end
