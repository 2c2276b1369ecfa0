--- usage.lua: whether functions use a field by its name.
--
-- A field of a class whose name is one letter away from one that means something is a slip, unless it is a function
-- that the others call. What they name is among the constants of their code, which string.dump shows. Looked at are the
-- functions of the class and of what it extends, those inside of them, and those they reach by their upvalues: helpers
-- of the same file, and what a wrapper such as `tasklet` was given.

local usage = {}

local FUNCTIONS_MAX = 1000 -- looked at; beyond that a field counts as used

-- How a short string stands in a dump of Lua 5.4: its tag, its length + 1 with the mark of a last digit, its bytes.
local function constant(name)
  return "\x04" .. string.char(#name + 1 | 0x80) .. name
end

local function upvalues(fn, add)
  local i = 1
  while true do
    local name, value = debug.getupvalue(fn, i)
    if not name then return end
    if type(value) == "function" then add(value) end
    i = i + 1
  end
end

local function names(fn, bytes)
  local ok, code = pcall(string.dump, fn, true) -- a C function has none
  return ok and code:find(bytes, 1, true) ~= nil
end

-- The functions among the fields of a class and of what it extends.
local function functions_of(fields, add)
  while type(fields) == "table" do
    for _, value in next, fields do
      if type(value) == "function" then add(value) end
    end
    fields = rawget(fields, "extends")
  end
end

--- Whether `value`, a field called `key`, is a function that one of the functions in `fields`, or in `others` (nil:
-- none), or one that these reach, uses by that name. Both are followed to what they extend.
function usage.is_used(key, value, fields, others)
  if type(value) ~= "function" or #key > 40 then return false end
  local list, seen, bytes = {}, { [value] = true }, constant(key)
  local function add(fn)
    if seen[fn] then return end
    seen[fn] = true
    list[#list + 1] = fn
  end
  functions_of(fields, add)
  functions_of(others, add)
  local i = 1
  while list[i] do
    if i > FUNCTIONS_MAX or names(list[i], bytes) then return true end
    upvalues(list[i], add)
    i = i + 1
  end
  return false
end

return usage
