-- tidy.lua - the rules of the house that no other tool checks; run by `make lint`.
--
-- Which room may include what, the length of lines and of C functions, leftovers, whitespace, and that each file
-- begins with a comment saying what it is for. Prints one line per finding and fails if there is any.

local findings = 0

local function complain(path, number, message)
  findings = findings + 1
  print(("%s:%d: %s"):format(path, number, message))
end

-- What a room may include: its own kind of system headers, and other rooms (by the first component of the path).
local rooms = {
  base = { ours = { base = true } },
  store = { ours = { base = true, store = true } },
  http = { ours = { base = true, mail = true, http = true }, uv = true },
  mail = { ours = { base = true, mail = true }, uv = true },
  engine = {
    ours = { base = true, calendar = true, store = true, http = true, mail = true, engine = true }, uv = true,
  },
  binding = {
    ours = {
      base = true, calendar = true, store = true, http = true, mail = true, engine = true, binding = true,
    },
    uv = true, lua = true,
  },
}

local function check_include(path, number, line)
  local room = rooms[path:match("^csrc/(%w+)/")]
  local quote, header = line:match("^%s*#%s*include%s*([<\"])([^>\"]+)")
  if not room or not header then return end
  if header:match("^lua[%w]*%.h$") or header == "lauxlib.h" then
    if not room.lua then complain(path, number, "only csrc/binding includes " .. header) end
  elseif header:match("^uv") then
    if not room.uv then complain(path, number, header .. " has no place in this room") end
  elseif quote == '"' and header ~= "schema.h" then
    local other = header:match("^(%w+)/")
    if not other then
      complain(path, number, "include by the path below csrc/: " .. header)
    elseif not room.ours[other] then
      complain(path, number, "calls go down only: " .. header)
    end
  end
end

-- Errors about arguments are of one form, which one module gives them.
local function check_argument_error(path, number, line)
  if path == "lua/pipeline/support/place.lua" then return end
  if line:find("bad argument #[^']*'[^']*' %([%w%%]") then
    complain(path, number, "an error about an argument is raised by bad_argument, bad_type or bad_option of place.lua")
  end
end

local leftovers = { "TO" .. "DO", "FIX" .. "ME", "XX" .. "X", "HA" .. "CK" }
local width = 120

local function check_line(path, number, line, tabs_allowed)
  if (utf8.len(line) or #line) > width then complain(path, number, "longer than " .. width .. " columns") end
  if line:find("[ \t\r]$") then complain(path, number, "whitespace at the end") end
  if not tabs_allowed and line:find("\t", 1, true) then complain(path, number, "a tab") end
  local comment = line:find("%-%-") or line:find("/[*/]") or line:find("^%s*[*#]")
  for _, word in ipairs(comment and leftovers or {}) do
    if line:find("%f[%w_]" .. word .. "%f[^%w_]", comment) then complain(path, number, "a leftover " .. word) end
  end
end

-- States, kinds and the like have names in SQL, too (csrc/store/sqlite/schema/numbers.h).
local numbered = { "state", "kind", "mode", "reason", "reply", "flags" }

local function check_numbers(path, number, line)
  for text in line:gmatch('"([^"]*)"') do
    for _, column in ipairs(numbered) do
      if text:find("%f[%w_]" .. column .. "%f[^%w_] ?[=<>&|]+ ?%d")
        or text:find("%f[%w_]" .. column .. "%f[^%w_] N?O?T? ?IN %(%d") then
        complain(path, number, column .. " beside a bare number in SQL: schema/numbers.h has its name")
      end
    end
  end
end

-- A function begins at the line that ends its signature with ") {" and ends with a brace in the first column.
local function check_functions(path, lines)
  local start, name
  for number, line in ipairs(lines) do
    if not start and line:find("%) {$") and not line:find("^%s*#") then
      local head = line
      if line:find("^%s") then head = lines[number - 1] .. line end
      start, name = number, head:match("([%w_]+)%s*%(") or "?"
    elseif line:find("^}") then
      if start and number - start - 1 > 70 then
        complain(path, start, ("%s has %d lines, more than 70"):format(name, number - start - 1))
      end
      start = nil
    end
  end
end

local comment_marks = { c = "^/%*", h = "^/%*", lua = "^%-%-", mk = "^#", sql = "^%-%-", sh = "^#", rockspec = "^%-%-" }

local function check_header(path, kind, lines)
  local mark = comment_marks[kind]
  if not mark then return end
  local first = lines[1] or ""
  if first:find("^#!") then first = lines[2] or "" end
  if not first:find(mark) then complain(path, 1, "does not begin with a comment that says what it is for") end
end

local function check_file(path)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = line end
  local kind = path:match("%.(%w+)$") or (path:find("%.ci/") and "sh") or ""
  check_header(path, kind, lines)
  local is_c = kind == "c" or kind == "h"
  for number, line in ipairs(lines) do
    check_line(path, number, line, path == "Makefile" or kind == "mk")
    if path:find("^lua/pipeline/") then check_argument_error(path, number, line) end
    if is_c then check_include(path, number, line) end
    if is_c and path:find("^csrc/store/sqlite/") then check_numbers(path, number, line) end
  end
  if is_c then check_functions(path, lines) end
end

local find = "find Makefile .ci csrc lua spec examples rockspec -type f "
  .. "-not -path 'spec/fuzz/corpus/*' -not -path '*/data/*' 2>/dev/null | LC_ALL=C sort"
local pipe <close> = assert(io.popen(find))
for path in pipe:lines() do
  if path == "Makefile" or path:find("^%.ci/") or comment_marks[path:match("%.(%w+)$") or ""] then check_file(path) end
end
if findings > 0 then
  print(("tidy: %d findings"):format(findings))
  os.exit(false)
end
