-- sql.lua: looks into a store, or damages it, through the sqlite3 command, as somebody from outside could.

local sql = {}

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Runs SQL on the file of an engine; returns the lines it prints. Rules that the schema states are not enforced.
function sql.run(engine, statements)
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write("PRAGMA ignore_check_constraints = ON;\n.timeout 5000\n", statements, "\n")
  file:close()
  local pipe = assert(io.popen(("sqlite3 -batch %s <%s 2>&1"):format(quote(engine._path), script)))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  local ok, _, code = pipe:close()
  os.remove(script)
  if not ok then error(("sqlite3: exit code %s: %s"):format(code, table.concat(lines, "; ")), 2) end
  return lines
end

--- The single number that a query gives.
function sql.number(engine, query)
  return math.tointeger(sql.run(engine, query)[1])
end

return sql
