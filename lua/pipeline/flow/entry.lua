--- flow/entry.lua: one operation of a durable function: its kind, its state, its identity.
--
-- An operation is a plain table. What the journal keeps of it:
--   seq      order in which it was asked for; done: order in which it was delivered (nil: not yet); from one counter
--   kind     see `kinds`; state: see `states`
--   path     of the branch that asked for it ("" is run itself)
--   name, nth, key   which operation of the branch: its name and occurrence, or (nth 0) its name and the user's key
--   line     where in the user's code it was asked for, or nil
--   opened, closed   time of the delivery before it was asked for; time of its own
--   attempt  how many attempts of a step have failed (of one that runs at most once: have begun)
--   due      when a timer fires, a wait gives up, a step is tried again
--   ref      what it stands for in the store: a child, a slot
--   value    encoded results, or the encoded error
-- and what only the machine knows of it (see machine.lua): id, ready, waiters, is_stored, is_dirty.
--
-- All of this is the format of journals: later versions read what this one has written.

local entry = {}

--- Kinds of operations, by the numbers that the journal keeps.
entry.kinds = {
  step = 0, tx = 1, timer = 2, event = 3, child = 4, slot = 5, patch = 6, update = 7, cancel = 8, signal = 9,
}

--- States of operations, by the numbers that the journal keeps.
entry.states = { open = 0, ok = 1, failed = 2, cancelled = 3, again = 4 }

local function names_of(numbers)
  local names = {}
  for name, number in pairs(numbers) do names[number] = name end
  return names
end

--- The names of both by number.
entry.kind_names, entry.state_names = names_of(entry.kinds), names_of(entry.states)

-- What users read of a kind.
local words = {
  step = "step", tx = "transaction", timer = "timer", event = "event", child = "child", slot = "output",
  patch = "patch", update = "update", cancel = "cancellation", signal = "signal",
}

--- The name of an operation with a key, as the journal has it.
function entry.keyed(name, key)
  return name .. "@" .. key
end

local keyed = entry.keyed

--- The identity of an operation within its branch, for the keys of steps: "charge#1", "charge@17".
function entry.label(op)
  if op.nth == 0 then return keyed(op.name, op.key) end
  return op.name .. "#" .. op.nth
end

--- The identity of an operation within its run.
function entry.identity(path, kind, name, nth, key)
  if key ~= nil then return path .. "/" .. kind .. ":" .. keyed(name, key) end
  return path .. "/" .. kind .. ":" .. name .. "#" .. nth
end

--- An operation in words, with the line that asked for it: `step "charge" (shop.lua:42)`.
function entry.words(op)
  local which = ("%s %q"):format(words[op.kind], op.name)
  if op.nth == 0 then which = op.key and ("%s of key %s"):format(which, op.key) or which
  elseif op.nth > 1 then which = ("%s, number %d"):format(which, op.nth) end
  if op.path ~= "" then which = which .. " in branch " .. op.path:sub(2) end
  return op.line and ("%s (%s)"):format(which, op.line) or which
end

--- Whether an operation has an end that was recorded.
function entry.is_over(op)
  return op.done ~= nil
end

local ENTRY_BYTES <const> = 64

--- How many bytes an entry counts for, without its texts and its value.
entry.BYTES = ENTRY_BYTES

--- How many bytes an operation counts for, but for its value.
function entry.size(op)
  return ENTRY_BYTES + #op.name + #op.path
end

-- ---- lists and sets of operations ----------------------------------------------------------------------------------

-- Most of those that a run may have stay empty all its life. Until something is put into one its class has NONE in its
-- place, which is empty, the same for all, and takes nothing.
local NONE <const> = setmetatable({}, {
  __newindex = function(_, _, item)
    if item ~= nil then error("entry.NONE takes nothing: see entry.own", 2) end
  end,
})

entry.NONE = NONE

--- The list or set `field` of an object, into which something is about to be put.
function entry.own(object, field)
  local list = object[field]
  if list ~= NONE then return list end
  list = {}
  object[field] = list
  return list
end

--- Puts something at the end of the list `field` of an object.
function entry.put(object, field, item)
  local list = object[field]
  if list == NONE then
    object[field] = { item }
  else
    list[#list + 1] = item
  end
end

--- The list without what is in it, to be filled again; in place of NONE a new one.
function entry.emptied(list)
  if list == NONE then return {} end
  for i = #list, 1, -1 do list[i] = nil end
  return list
end

return entry
