-- schema.lua FILE... - prints build/gen/schema.h: the migrations of a store as C string literals.
--
-- Each FILE is named NNN_what_it_does.sql; NNN is the schema version it leads to. Versions must be 1, 2, 3, …
-- without a gap, so that a missing or doubled migration stops the build.

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

-- "?" is escaped because C11 still knows trigraphs; anything unprintable goes as three octal digits, which, unlike
-- hexadecimal ones, cannot swallow the character behind them.
local function quote(line)
  local body = line:gsub('[%c"\\?\127-\255]', function(c)
    if c == "\n" then return "\\n" end
    if c == "\t" then return "\\t" end
    if c == '"' or c == "\\" or c == "?" then return "\\" .. c end
    return ("\\%03o"):format(c:byte())
  end)
  return '"' .. body .. '"'
end

local steps = {}
for _, path in ipairs(arg) do
  local number, name = path:match("(%d+)_([%w_]+)%.sql$")
  if not number then error(path .. ": not named NNN_what_it_does.sql") end
  steps[#steps + 1] = { version = tonumber(number, 10), name = name, path = path }
end
table.sort(steps, function(a, b) return a.version < b.version end)

print("/* schema.h - made by csrc/tools/schema.lua from the numbered migrations; do not edit. */")
print("#ifndef PL_GEN_SCHEMA_H")
print("#define PL_GEN_SCHEMA_H")
print("")
print("static const struct {\n    int version;\n    const char *name;\n    const char *sql;\n} pl__schema_steps[] = {")
for i, step in ipairs(steps) do
  if step.version ~= i then error(("%s: expected version %d here"):format(step.path, i)) end
  print(("    { %d, %s,"):format(step.version, quote(step.name)))
  local empty = true
  for line in read(step.path):gsub("\r\n", "\n"):gmatch("[^\n]*\n?") do
    if line ~= "" then
      print("      " .. quote(line))
      empty = false
    end
  end
  if empty then print('      ""') end
  print("    },")
end
print("    { 0, 0, 0 }\n};\n\n#endif")
