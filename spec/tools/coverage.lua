-- coverage.lua [-v] - tells which numbered behaviours no spec names; fails if there are any.
--
-- A spec names the behaviours it proves at the beginning of its title: it("P60 P61 the last child's outputs …"),
-- it("P60, Q61: …"), it("P60–P63 …"). Titles of describe count for the same reason. C tests name them in a comment:
-- /* P60 P61 … */ at the beginning of a line.
--
-- Letters: P pipelines, D deferred calls, T tasklets, Q task queues, L what is particular to Lua, G what is done
-- instead of what the original got wrong, M library and mail.

local behaviours = {
  { letter = "P", { 1, 192 }, { 197, 264 } },
  { letter = "D", { 1, 41 } },
  { letter = "T", { 1, 91 } },
  { letter = "Q", { 1, 119 } },
  { letter = "L", { 6, 9 }, { 12, 12 }, { 25, 27 }, { 29, 29 } },
  { letter = "G", { 5, 5 }, { 10, 10 }, { 15, 15 }, { 33, 33 }, { 36, 71 } },
  { letter = "M", { 1, 8 } },
}

-- Numbers that can have no spec, each with its reason.
local without = {
  Q31 = "there are no namespaces; what else a task is to carry is in its own headers",
  Q109 = "a call that deletes is one commit: no single task of it can fail otherwise than by not being there",
}
local verbose = arg[1] == "-v"

local found = {} -- "P60" -> list of places

local function note(letter, number, place)
  local name = letter .. number
  found[name] = found[name] or {}
  table.insert(found[name], place)
end

-- Takes the numbers at the beginning of a title; "P60–P63", "P60-P63" and "P60-63" are ranges.
local function scan_title(title, place)
  local rest = title:gsub("\u{2013}", "-")
  while true do
    local letter, from, to, tail = rest:match("^[%s,;:+&()]*(%u)(%d+)%-%u?(%d+)(.*)$")
    if not from then
      letter, from, tail = rest:match("^[%s,;:+&()]*(%u)(%d+)(.*)$")
      to = from
    end
    if not from then return end
    for number = math.tointeger(from), math.tointeger(to) do note(letter, number, place) end
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
    local title = line:match("^%s*/[%*/]+%s*(%u%d.*)")
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

local missing, stale, counts, total = {}, {}, {}, 0

local function look_at(letter, number)
  local name = letter .. number
  local places = found[name]
  if without[name] then
    if places then stale[#stale + 1] = name end
    if verbose then print(("%s\t(none: %s)"):format(name, without[name])) end
    return 0
  end
  if not places then
    missing[#missing + 1] = name
  elseif verbose then
    print(("%s\t%s"):format(name, table.concat(places, " ")))
  end
  return 1
end

for _, group in ipairs(behaviours) do
  local count = 0
  for _, range in ipairs(group) do
    for number = range[1], range[2] do count = count + look_at(group.letter, number) end
  end
  counts[#counts + 1], total = ("%s %d"):format(group.letter, count), total + count
end

if #stale > 0 then
  print("behaviours: a spec names what the list of those without says can have none: " .. table.concat(stale, " "))
end
if #missing == 0 then
  print(("behaviours: all %d have a spec (%s)"):format(total, table.concat(counts, ", ")))
else
  print(("behaviours: %d of %d have no spec: %s"):format(#missing, total, table.concat(missing, " ")))
end
os.exit(#missing == 0 and #stale == 0)
