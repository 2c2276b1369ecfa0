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
-- spec names and that does not say why; one that says so although a spec names it. And, since it is the same kind of
-- reference: the name of a document (*.md) that is not in the repository.

local FOLDER = "spec/behaviours"
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

local entries, letters = {}, {} -- "P60" -> { place, text, excused }; list of { letter = "P", names of its entries … }

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
      if not letters[letter] then
        letters[letter] = { letter = letter }
        table.insert(letters, letters[letter])
      end
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

local function place_of(path, text, position)
  local _, count = text:sub(1, position):gsub("\n", "")
  return path .. ":" .. count + 1
end

-- Takes the numbers of a title or comment, which is at `position` of the file's text.
local function scan(part, path, text, position, proves)
  for _, name in ipairs(numbers(part)) do
    local place = place_of(path, text, position)
    if proves then note(proven, name, place) end
    if not entries[name] then note(unknown, name, place) end
  end
end

local function scan_titles(path, text)
  text = text:gsub("\\[\"']", "``")
  for _, word in ipairs { "it", "describe", "test", "context" } do
    for position, _, title in text:gmatch("()%f[%w_]" .. word .. "%s*%(?%s*([\"'])(.-)%2") do
      scan(title, path, text, position, true)
    end
  end
end

local function scan_lua_comments(path, text)
  for position, comment in text:gmatch("()(%-%-[^\n]*)") do scan(comment, path, text, position) end
end

local function scan_c_comments(path, text)
  for position, comment in text:gmatch("()(/%*.-%*/)") do scan(comment, path, text, position) end
  for position, comment in text:gmatch("()(//[^\n]*)") do scan(comment, path, text, position) end
end

local function scan_c_titles(path, text)
  for position, title in ("\n" .. text):gmatch("\n()%s*/%*+%s*(%u%d.-)%*/") do
    scan(title, path, text, position, true)
  end
end

local function exists(path)
  local file = io.open(path, "rb")
  return file and file:close()
end

-- A document is named by its path from the top, or beside the file that names it.
local function scan_documents(path, text)
  for position in text:gmatch("()%.md%f[^%w_]") do
    local name = text:sub(math.max(1, position - 200), position - 1):match("[%w_./-]*[%w_-]$")
    name = name and name .. ".md"
    if name and not exists(name) and not exists((path:match("^.*/") or "") .. name) then
      complain("%s: there is no %s", place_of(path, text, position), name)
    end
  end
end

for _, pattern in ipairs { "*.lua", "*.[ch]", "*.mk", "*.sh", "*.sql", "*.md" } do
  for _, path in ipairs(files("*.md csrc lua spec examples", pattern)) do scan_documents(path, read(path)) end
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
for _, group in ipairs(letters) do
  local count = 0
  for _, name in ipairs(group) do count = count + look_at(name) end
  counts[#counts + 1], total, all = ("%s %d"):format(group.letter, count), total + count, all + #group
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
