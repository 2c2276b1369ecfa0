-- coverage.lua [-v] - whether the numbered behaviours, the specs that prove them, and the comments that refer to them
-- agree; run by `make lint` and `make test`. With -v it lists where each number is proven.
--
-- The numbers are in spec/behaviours/, a file for each letter, an entry for each number: "- **P60** what holds". An
-- entry that no spec can prove says so at its end: "(No spec: the reason.)".
--
-- A spec names what it proves in its title, mostly at the beginning: it("P60 P61 the last child's outputs …"),
-- it("P60–P63 …"), it("… (G7)"). Titles of describe count for the same reason. C tests name it in a comment at the
-- beginning of a line: /* P60 P61 … */. All other comments only refer to numbers.
--
-- What is found wrong: a number with two entries; a number in a title or comment without an entry; an entry that no
-- spec names and that does not say why; one that says so although a spec names it.

local FOLDER = "spec/behaviours"
local ORDER = "PDTQLGM" -- the letters, in the order they are counted in
local verbose = arg[1] == "-v"

-- Words of a capital and digits that are no behaviours.
local words = { C11 = true }

local failures = 0
local function complain(...)
  failures = failures + 1
  print((...):format(select(2, ...)))
end

local function files(folders, pattern)
  local pipe <close> = assert(io.popen(("find %s -name '%s' -type f | sort"):format(folders, pattern)))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

-- ---- the entries ----------------------------------------------------------------------------------------------------

local entries, letters = {}, {} -- "P60" -> { place, text, excused }; "P" -> list of its numbers

local function read_entries(path)
  local number, entry = 0, nil
  for line in io.lines(path) do
    number = number + 1
    local name, text = line:match("^%- %*%*(%u%d+)%*%* (.*)")
    if name then
      if entries[name] then complain("%s:%d: %s is at %s already", path, number, name, entries[name].place) end
      entry = { place = path .. ":" .. number, text = text }
      entries[name] = entry
      local letter = name:sub(1, 1)
      letters[letter] = letters[letter] or {}
      table.insert(letters[letter], name)
    elseif entry and line:find("^  %S") then
      entry.text = entry.text .. " " .. line:sub(3)
    else
      if line:find("^%s*[-*] ") then complain("%s:%d: an entry begins with \"- **P60** \"", path, number) end
      entry = nil
    end
  end
end

for _, path in ipairs(files(FOLDER, "*.md")) do read_entries(path) end
for _, entry in pairs(entries) do entry.excused = entry.text:match("%(No spec: (.-)%)$") end

-- ---- what names them ------------------------------------------------------------------------------------------------

local proven, unknown = {}, {} -- "P60" -> list of places

local function note(list, name, place)
  list[name] = list[name] or {}
  table.insert(list[name], place)
end

-- All numbers in a text; "P60–P63", "P60-P63" and "P60-63" are ranges.
local function numbers(text)
  local list = {}
  text = text:gsub("\u{2013}", "-")
  for letter, digits, rest in text:gmatch("%f[%w_](%u)(%d%d?%d?)%f[^%w_]()") do
    local from = math.tointeger(digits)
    local to = math.tointeger(text:match("^%-" .. letter .. "?(%d+)%f[^%w_]", rest))
    if not words[letter .. digits] then
      for number = from, to and to > from and to or from do list[#list + 1] = letter .. number end
    end
  end
  return list
end

local function scan(text, place, proves)
  for _, name in ipairs(numbers(text)) do
    if proves then note(proven, name, place) end
    if not entries[name] and letters[name:sub(1, 1)] then note(unknown, name, place) end
  end
end

local function place_of(path, text, position)
  local _, count = text:sub(1, position):gsub("\n", "")
  return path .. ":" .. count + 1
end

local function scan_titles(path, text)
  text = text:gsub("\\[\"']", "``")
  for _, word in ipairs { "it", "describe", "test", "context" } do
    for position, _, title in text:gmatch("()%f[%w_]" .. word .. "%s*%(?%s*([\"'])(.-)%2") do
      scan(title, place_of(path, text, position), true)
    end
  end
end

local function scan_lua_comments(path, text)
  for position, comment in text:gmatch("()(%-%-[^\n]*)") do scan(comment, place_of(path, text, position)) end
end

local function scan_c_comments(path, text)
  for position, comment in text:gmatch("()(/%*.-%*/)") do scan(comment, place_of(path, text, position)) end
  for position, comment in text:gmatch("()(//[^\n]*)") do scan(comment, place_of(path, text, position)) end
end

local function scan_c_titles(path, text)
  for position, title in ("\n" .. text):gmatch("\n()%s*/%*+%s*(%u%d.-)%*/") do
    scan(title, place_of(path, text, position), true)
  end
end

for _, path in ipairs(files("csrc lua spec examples", "*.lua")) do
  local text = read(path)
  scan_lua_comments(path, text)
  if path:find("^spec/.*_spec%.lua$") then scan_titles(path, text) end
end
for _, path in ipairs(files("csrc", "*.sql")) do scan_lua_comments(path, read(path)) end
for _, path in ipairs(files("csrc spec examples", "*.[ch]")) do
  local text = read(path)
  scan_c_comments(path, text)
  if path:find("^spec/.*_test%.c$") then scan_c_titles(path, text) end
end

-- ---- whether they agree ---------------------------------------------------------------------------------------------

local function look_at(name)
  local entry, places = entries[name], proven[name]
  if entry.excused and places then
    complain("%s: %s says it can have no spec, but it has one: %s", entry.place, name, places[1])
  elseif not entry.excused and not places then
    complain("%s: no spec names %s", entry.place, name)
  end
  if verbose then
    print(("%s\t%s"):format(name, places and table.concat(places, " ") or "(none: " .. (entry.excused or "?") .. ")"))
  end
  return places and 1 or 0
end

local counts, total, all = {}, 0, 0
for letter in ORDER:gmatch("%u") do
  local count = 0
  for _, name in ipairs(letters[letter] or {}) do count = count + look_at(name) end
  counts[#counts + 1], total, all = ("%s %d"):format(letter, count), total + count, all + #(letters[letter] or {})
end
for name, places in pairs(unknown) do
  complain("%s: there is no %s in %s (%d times)", places[1], name, FOLDER, #places)
end

if failures > 0 then
  print(("behaviours: %d of %d have a spec; %d wrong"):format(total, all, failures))
else
  local others = all > total and ("; %d say why not"):format(all - total) or ""
  print(("behaviours: %d have a spec (%s)%s"):format(total, table.concat(counts, ", "), others))
end
os.exit(failures == 0)
