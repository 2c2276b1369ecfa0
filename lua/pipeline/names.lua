--- names.lua: names of functions and classes in stored calls, and what they lead to.
--
-- A stored call has names only, never code. A name is one that was given by register(), or the name of a loaded module
-- and a path of one or two fields in it, joined by dots: "shop.mail.send", "string.rep", "shop.Order.cancel". What has
-- several names gets the registered one, else that with the shortest path, then that of the better module (standard
-- library, others, globals), then the smallest.
--
-- A name that leads nowhere is looked for by alias: its own, or that of a part of it up to a dot, so that a module or a
-- class that moved needs one alias. The value codec asks here too, for functions and classes among the arguments.
--
-- Invariant: what find_name gives leads back to the same value in this process.

local core = require "pipeline.core"
local class = require "pipeline.class"
local errors = require "pipeline.errors"
local future = require "pipeline.future"

local names = {
  registered = {}, -- name -> function or class; the codec finds what is in here as a field of this module
}

local ALIASES_MAX = 16 -- in a chain

local name_of = {}                                 -- what is registered -> its name
local aliases = {}                                 -- old name -> new name
local known = setmetatable({}, { __mode = "k" })   -- value -> name, as found last

local standard = { coroutine = 0, debug = 0, io = 0, math = 0, os = 0, package = 0, string = 0, table = 0, utf8 = 0 }

-- ---- from name to value ----------------------------------------------------------------------------------------

-- What is at a path of one or two fields in a table; a field whose name has a dot comes first.
local function walk(root, path)
  if type(root) ~= "table" then return nil end
  local value = rawget(root, path)
  if value ~= nil then return value end
  local first, second = path:match("^([^.]+)%.(.+)$")
  local inner = first and rawget(root, first)
  if type(inner) == "table" then return rawget(inner, second) end
  return nil
end

-- Calls fn(module, path) for the ways to split a name, the longest module first, until it gives something.
local function each_split(name, fn)
  for position = #name, 2, -1 do
    if name:byte(position) == 46 then
      local value = fn(name:sub(1, position - 1), name:sub(position + 1))
      if value ~= nil then return value end
    end
  end
  return nil
end

local function in_loaded(module, path)
  return walk(package.loaded[module], path)
end

-- Without loading anything.
local function find_loaded(name)
  local value = names.registered[name]
  if value == nil then value = package.loaded[name] end
  if value == nil then value = each_split(name, in_loaded) end
  return value
end

local function is_module_name(name)
  return name:find("^[%w_.%-]+$") ~= nil
end

-- Loads modules that may be loaded, then looks again. Gives the value, or nil and why there is none.
local function find_loading(name)
  local why
  local value = each_split(name, function(module, path)
    if package.loaded[module] ~= nil or not is_module_name(module) or not class.may_load(module) then return nil end
    local ok, problem = pcall(require, module)
    if not ok then why = why or ("module %s cannot be loaded: %s"):format(module, errors.text(problem)) end
    return ok and in_loaded(module, path) or nil
  end)
  return value, why or ("%s is neither registered nor a field of a module that is loaded or under the prefixes of "
    .. "`modules`"):format(name)
end

-- The name that the longest part of `name` with an alias leads to, or nil.
local function aliased(name)
  local part = name
  while part do
    if aliases[part] then return aliases[part] .. name:sub(#part + 1) end
    part = part:match("^(.+)%.[^.]*$")
  end
  return nil
end

--- What a name leads to; nil and why not. May load modules under the prefixes of `modules`.
function names.resolve(name)
  local first_why
  for _ = 1, ALIASES_MAX do
    local value, why = find_loaded(name), nil
    if value == nil then value, why = find_loading(name) end
    if value ~= nil then return value end
    first_why = first_why or why
    name = aliased(name)
    if not name then break end
  end
  return nil, first_why
end

--- Whether a name may be stored: it is registered, has an alias, or is that of a field of a module. nil and why not.
-- Only what is loaded can be looked into: another process may know more.
function names.check(name)
  if find_loaded(name) ~= nil or aliased(name) then return true end
  if not name:find("^[%w_%-]+%.[%w_.%-]*[%w_%-]$") then
    return nil, "is neither registered nor of the form \"module.function\""
  end
  local module = name:match("^(.+)%.[^.]*$")
  if package.loaded[module] ~= nil then return nil, ("is not a field of module %s"):format(module) end
  return true
end

-- ---- from value to name ----------------------------------------------------------------------------------------

local function rank(module)
  return standard[module] or module == "_G" and 2 or 1
end

local function consider(best, module, path)
  local own = rank(module)
  if best.module then
    if own ~= best.rank then
      if own > best.rank then return end
    elseif module ~= best.module then
      if module > best.module then return end
    elseif path >= best.path then
      return
    end
  end
  best.module, best.path, best.rank = module, path, own
end

local function search_fields(best, value, module, fields, prefix)
  for key, field in next, fields do
    if type(key) == "string" and rawequal(field, value) then consider(best, module, prefix .. key) end
  end
end

local function search_nested(best, value, module, fields)
  for key, field in next, fields do
    if type(key) == "string" and type(field) == "table" and field ~= fields and not key:find(".", 1, true) then
      search_fields(best, value, module, field, key .. ".")
    end
  end
end

local function search(value)
  local best = {}
  for module, fields in next, package.loaded do
    if type(module) == "string" and type(fields) == "table" then
      if rawequal(fields, value) then return module end
      search_fields(best, value, module, fields, "")
    end
  end
  if best.module then return best.module .. "." .. best.path end
  for module, fields in next, package.loaded do
    if type(module) == "string" and type(fields) == "table" and fields ~= names then
      search_nested(best, value, module, fields)
    end
  end
  return best.module and best.module .. "." .. best.path
end

--- The name of a function or table, or nil if it has none that leads back to it.
function names.find_name(value)
  local name = name_of[value] or known[value]
  if name and rawequal(find_loaded(name), value) then return name end
  name = search(value)
  if not name or not rawequal(find_loaded(name), value) then return nil end
  known[value] = name
  return name
end

-- ---- what the program says -------------------------------------------------------------------------------------

--- Whether it is registered.
function names.is_registered(value)
  return name_of[value] ~= nil
end

--- Gives a function or class a name of its own. Returns false if another one has it.
function names.register(name, value)
  local before = names.registered[name]
  if before ~= nil and not rawequal(before, value) then return false end
  names.registered[name], name_of[value] = value, name
  return true
end

--- Lets an old name lead where a new one does. Returns false if that would go in a circle.
function names.alias(old_name, new_name)
  local before, name = aliases[old_name], old_name
  aliases[old_name] = new_name
  for _ = 0, ALIASES_MAX do
    name = aliased(name)
    if not name then return true end
  end
  aliases[old_name] = before
  return false
end

--- The hook of the value codec: what a name leads to that led nowhere.
function names.lookup(module, path)
  local name = path == "" and module or module .. "." .. path
  if module == "pipeline.names" then name = path:match("^registered%.(.+)$") or name end
  return (names.resolve(name))
end

local refusing_slots = false

local function slot_of(value)
  if refusing_slots then error("a call that is stored cannot wait for a future or slot of a pipeline", 0) end
  return future.slot_of(value)
end

--- core.encode for values that no pipeline waits for: futures and slots are refused.
function names.encode(list, n)
  refusing_slots = true
  local ok, bytes, code, message = pcall(core.encode, list, n)
  refusing_slots = false
  if not ok then error(bytes, 0) end
  return bytes, code, message
end

core.set_hooks { slot_of = slot_of, lookup = names.lookup }

return names
