--- aliases.lua: old names that lead where new ones do. A name is looked for by its own alias, else by that of a part of
-- it up to a dot, so that a module or a class that moved needs one alias for all that is in it.

local aliases = {}

local CHAIN_MAX = 16

local Aliases = {}
Aliases.__index = Aliases

--- Makes an empty set of aliases.
function aliases.new()
  return setmetatable({ leads = {} }, Aliases)
end

--- The name that the longest part of `name` with an alias leads to, or nil.
function Aliases.next(self, name)
  local part = name
  while part do
    local new = self.leads[part]
    if new then return new .. name:sub(#part + 1) end
    part = part:match("^(.+)%.[^.]*$")
  end
  return nil
end

--- Lets `old` lead where `new` does. Returns false, and changes nothing, if that would go in a circle or through more
-- than 16 names.
function Aliases.add(self, old, new)
  local before, name = self.leads[old], old
  self.leads[old] = new
  for _ = 0, CHAIN_MAX do
    name = self:next(name)
    if not name then return true end
  end
  self.leads[old] = before
  return false
end

return aliases
