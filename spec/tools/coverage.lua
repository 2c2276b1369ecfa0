-- coverage.lua [-v] - tells which numbered behaviours no spec names; fails if there are any.
--
-- A spec names the behaviours it proves at the beginning of its title: it("P60 P61 the last child's outputs …"),
-- it("P60, P61: …"), it("P60–P63 …"). Titles of describe count for the same reason. C tests name them in a comment:
-- /* P60 P61 … */ at the beginning of a line.

local ranges = { { 1, 192 }, { 197, 200 }, { 203, 232 }, { 258, 264 } }
local verbose = arg[1] == "-v"

local found = {} -- number -> list of places

local function note(number, place)
  found[number] = found[number] or {}
  table.insert(found[number], place)
end

-- Takes the numbers at the beginning of a title; "P60–P63", "P60-P63" and "P60-63" are ranges.
local function scan_title(title, place)
  local rest = title:gsub("\u{2013}", "-")
  while true do
    local from, to, tail = rest:match("^[%s,;:+&]*P(%d+)%-P?(%d+)(.*)$")
    if not from then
      from, tail = rest:match("^[%s,;:+&]*P(%d+)(.*)$")
      to = from
    end
    if not from then return end
    for number = math.tointeger(from), math.tointeger(to) do note(number, place) end
    rest = tail:gsub("^%s+and%f[%s]", "")
  end
end

local function scan_spec(path)
  local number = 0
  for line in io.lines(path) do
    number = number + 1
    for _, word in ipairs { "it", "describe", "test", "context" } do
      local title = line:match("%f[%w_]" .. word .. "%s*%(?%s*[\"'](.-)[\"']%s*,")
        or line:match("%f[%w_]" .. word .. "%s*%(?%s*%[%[(.-)%]%]")
      if title then scan_title(title, path .. ":" .. number) end
    end
  end
end

local function scan_c_test(path)
  local number = 0
  for line in io.lines(path) do
    number = number + 1
    local title = line:match("^%s*/[%*/]+%s*(P%d.*)")
    if title then scan_title(title, path .. ":" .. number) end
  end
end

local function files(pattern)
  local pipe <close> = assert(io.popen("find spec -name '" .. pattern .. "' | sort"))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

for _, path in ipairs(files("*_spec.lua")) do scan_spec(path) end
for _, path in ipairs(files("*_test.c")) do scan_c_test(path) end

local missing, total = {}, 0
for _, range in ipairs(ranges) do
  for number = range[1], range[2] do
    total = total + 1
    if not found[number] then
      missing[#missing + 1] = "P" .. number
    elseif verbose then
      print(("P%d\t%s"):format(number, table.concat(found[number], " ")))
    end
  end
end

if #missing == 0 then
  print(("behaviours: all %d have a spec"):format(total))
else
  print(("behaviours: %d of %d have no spec: %s"):format(#missing, total, table.concat(missing, " ")))
  os.exit(false)
end
