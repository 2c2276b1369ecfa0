-- house.lua - the rules that keep the house in order: folders, lengths, heads, one dialect; run by `make lint`.
--
-- A folder holds 3 to 12 nouns (a .c and its .h are one). A file has 700 lines at most. A file of csrc or lua begins
-- with its own name and what it is about. C has one dialect: `!x` and `x`, not comparisons with NULL; `sizeof x` of a
-- value, `sizeof(type)` of a type. A Lua module writes into no other one: who needs that gives it a function to call.
-- Nothing but csrc/store/sqlite knows SQLite, or the files it keeps: what is true of it alone is behind driver.h.
--
-- What is not so yet is listed below. The lists may only become shorter: what is listed and is in order now fails, too.

local FILE_LINES, FOLDER_MIN, FOLDER_MAX = 700, 3, 12

local known = {
  long = {},
  folders = {},
  knows_sqlite = { ["csrc/store/driver.h"] = true, ["csrc/store/drivers.c"] = true },
  writes = {},
}

local findings, seen = 0, {}

local function complain(format, ...)
  findings = findings + 1
  print(("house: " .. format):format(...))
end

-- What is listed may be so; returns whether it is.
local function is_known(list, name)
  seen[list] = seen[list] or {}
  seen[list][name] = true
  return known[list][name]
end

local function lines_of(path)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = line end
  return lines
end

local function check_head(path, lines)
  local name = path:match("[^/]+$"):gsub("%p", "%%%0")
  local head = (lines[1] or "") .. (lines[2] or "")
  if not head:find(name .. "[:,]? %-? ?%S") and not head:find(name .. ": ") then
    complain("%s does not begin with its name and what it is about", path)
  end
end

local TYPES = { char = true, int = true, bool = true, double = true, unsigned = true, struct = true, void = true }

local function check_dialect(path, lines)
  for number, line in ipairs(lines) do
    if line:find("[!=]= NULL") then complain("%s:%d: a comparison with NULL: write !x, or x", path, number) end
    for what in line:gmatch("sizeof%(([^()]+)%)") do
      local word = what:match("^const ([%w_]+)") or what:match("^[%w_]+") or ""
      if not (word:find("_t$") or TYPES[word] or word:find("^lua_") or word:find("^luaL_")) then
        complain("%s:%d: sizeof %s of a value", path, number, what)
      end
    end
  end
end

-- Comments may name what is the default.
local function check_seam(path, lines)
  local text = table.concat(lines, "\n"):gsub("/%*.-%*/", function(comment) return comment:gsub("[^\n]", "") end)
  local number = 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    if path:find("%.lua$") then line = line:gsub("%-%-.*", "") end
    local word = line:lower():match("[%w_]*sqlite[%w_]*") or line:match('%-wal"') or line:match('%-shm"') or
      line:match('%-workers"')
    if word and not is_known("knows_sqlite", path) then
      complain("%s:%d: %s is SQLite's: ask the driver for it (store/driver.h)", path, number, word)
    end
  end
end

-- Fields of a module that this file has required, set here.
local function check_writes(path, lines)
  local required = {}
  for number, line in ipairs(lines) do
    local name = line:match("^local ([%w_]+) = require")
    if name then required[name] = true end
    local written = line:match("^%s*([%w_]+)%.[%w_]+ = ") or line:match("^function ([%w_]+)%.[%w_]+%(")
    if written and required[written] and not is_known("writes", path .. " " .. written) then
      complain("%s:%d: writes into the module %s", path, number, written)
    end
  end
end

local function check_file(path)
  local lines = lines_of(path)
  if #lines > FILE_LINES and not is_known("long", path) then
    complain("%s has %d lines, more than %d", path, #lines, FILE_LINES)
  end
  if path:find("%.[chl]u?a?$") then check_head(path, lines) end
  if path:find("^csrc/.*%.[ch]$") then check_dialect(path, lines) end
  if path:find("%.lua$") then check_writes(path, lines) end
  if path:find("%.[chl]u?a?$") and not path:find("^csrc/store/sqlite/") then check_seam(path, lines) end
end

local folders = {} -- folder -> its nouns, and how many files
local pipe <close> = assert(io.popen("find csrc lua/pipeline -type f | LC_ALL=C sort"))
for path in pipe:lines() do
  check_file(path)
  local folder, noun = path:match("^(.*)/([^/]+)%.%w+$")
  if path:find("/%d+_[^/]*%.sql$") then noun = "migrations" end -- as many as there have been changes of the schema
  local in_it = folders[folder] or { nouns = {}, count = 0, files = 0 }
  folders[folder] = in_it
  if not in_it.nouns[noun] then in_it.count = in_it.count + 1 end
  in_it.nouns[noun], in_it.files = true, in_it.files + 1
end
for folder, in_it in pairs(folders) do
  if (in_it.files < FOLDER_MIN or in_it.count > FOLDER_MAX) and not is_known("folders", folder) then
    complain("%s holds %d nouns in %d files, not %d to %d", folder, in_it.count, in_it.files, FOLDER_MIN, FOLDER_MAX)
  end
end
for list, names in pairs(known) do
  for name in pairs(names) do
    if not (seen[list] and seen[list][name]) then complain("%s is in order now: take it from the list", name) end
  end
end
os.exit(findings == 0)
