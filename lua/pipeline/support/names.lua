--- names.lua: names of functions and classes in stored calls, and what they lead to.
--
-- A stored call has names only, never code. A name is one that was given by register(), or the name of a module and a
-- path of up to four fields in it, joined by dots: "shop.mail.send", "string.rep", "shop.Order.cancel". What has
-- several names gets the registered one, else that with the shortest path, then that of the better module (standard
-- library, modules under `modules`, globals), then the smallest.
--
-- Whoever can write the file can write names into it, so a name leads only to what is registered, to what is in a
-- module under the prefixes of `modules`, or to a built-in function that does no harm; names.c draws that line.
--
-- A name that leads nowhere is looked for by alias: its own, or that of a part of it up to a dot, so that a module or a
-- class that moved needs one alias. The value codec asks here too, for functions and classes among the arguments.
--
-- Invariant: what find_name gives leads back to the same value in this process.

local aliases = require "pipeline.support.aliases"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"

local pcall, rawequal = pcall, rawequal

local names = {
  registered = {}, -- name -> function or class; the codec finds what is in here as a field of this module
}

local name_of = setmetatable({}, { __mode = "k" }) -- what is registered -> its name
local moved = aliases.new()

-- ---- from name to value ----------------------------------------------------------------------------------------

local DOT = 46

-- What is at a name, without loading anything: the longest module first. Else nil, and why a value that is there may
-- not be had.
local function find_loaded(name)
  local value = names.registered[name]
  if value ~= nil then return value end
  local why
  if package.loaded[name] ~= nil then
    value, why = core.field_of(name, "")
    if value ~= nil then return value end
  end
  for position = #name, 2, -1 do
    if name:byte(position) == DOT then
      local refused
      value, refused = core.field_of(name:sub(1, position - 1), name:sub(position + 1))
      if value ~= nil then return value end
      why = why or refused
    end
  end
  return nil, why
end

-- Loads modules that may be loaded, then looks again. Gives the value, or nil and why there is none.
local function find_loading(name)
  local why
  for position = #name, 2, -1 do
    local module = name:byte(position) == DOT and name:sub(1, position - 1)
    if module and package.loaded[module] == nil and core.may_require(module) then
      local ok, problem = pcall(require, module)
      if ok then
        local value, refused = core.field_of(module, name:sub(position + 1))
        if value ~= nil then return value end
        why = why or refused
      else
        why = why or ("%s: module %s cannot be loaded: %s"):format(name, module, errors.text(problem):match("[^\n]*"))
      end
    end
  end
  return nil, why or ("%s is neither registered nor at most four fields deep in a module under `modules`"):format(name)
end

--- What a name leads to; nil and why not. May load modules under the prefixes of `modules`.
function names.resolve(name)
  local first_why
  while name do
    local value, why = find_loaded(name)
    if value == nil and not why then value, why = find_loading(name) end
    if value ~= nil then return value end
    first_why = first_why or why
    name = moved:next(name)
  end
  return nil, first_why
end

--- Whether a name may be stored: it is registered, has an alias, or is that of a field of a module. nil and why not.
-- Only what is loaded can be looked into: another process may know more.
function names.check(name)
  local value, why = find_loaded(name)
  if value ~= nil or moved:next(name) then return true end
  if why then return nil, "cannot be deferred: " .. why end
  if not name:find("^[%w_%-]+%.[%w_.%-]*[%w_%-]$") then
    return nil, "is neither registered nor of the form \"module.function\""
  end
  local module = name:match("^(.+)%.[^.]*$")
  if package.loaded[module] ~= nil then return nil, ("is not a field of module %s"):format(module) end
  return true
end

--- The name of a function or table, or nil if it has none that leads back to it.
function names.find_name(value)
  local name = name_of[value]
  if name and rawequal(names.registered[name], value) then return name end
  local module, path = core.find_name(value)
  if not module then return nil end
  name = path == "" and module or module .. "." .. path
  return rawequal(find_loaded(name), value) and name or nil
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
  return moved:add(old_name, new_name)
end

--- The hook of the value codec: what a name leads to that led nowhere, or where it may not lead.
function names.lookup(module, path, _, bound)
  local name = path == "" and module or module .. "." .. path
  if module == "pipeline.support.names" then name = path:match("^registered%.(.+)$") or name end
  if bound then return (names.resolve(name)) end
  local new = moved:next(name)
  return names.registered[name] or (new and names.resolve(new))
end

local refusing_slots = false

local function slot_of(value)
  if refusing_slots then error("a call that is stored cannot wait for a future or slot of a pipeline", 0) end
  return future.slot_of(value)
end

--- core.encode for values that no pipeline waits for: futures and slots are refused.
function names.encode(list, n)
  refusing_slots = true
  local ok, bytes, code, message = pcall(core.encode, list, n, nil, true)
  refusing_slots = false
  if not ok then error(bytes, 0) end
  return bytes, code, message
end

core.set_hooks { slot_of = slot_of, lookup = names.lookup, registered = name_of }

return names
