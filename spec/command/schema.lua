--- schema.lua: whether a value is what a JSON schema says, as far as the specs use the language.
--
-- type (a name or a list of names), required, properties, additionalProperties (false: no others), items, enum,
-- minimum.

local schema = {}

local null = require("cjson").null

local kinds = {
  object = function(value) return type(value) == "table" and (next(value) == nil or #value == 0) end,
  array = function(value)
    if type(value) ~= "table" then return false end
    for key in pairs(value) do
      if math.type(key) ~= "integer" then return false end
    end
    return true
  end,
  string = function(value) return type(value) == "string" end,
  number = function(value) return type(value) == "number" end,
  integer = function(value) return math.type(value) == "integer" or math.type(value) == "float" and value % 1 == 0 end,
  boolean = function(value) return type(value) == "boolean" end,
  null = function(value) return value == null end,
}

local function has_type(value, wanted)
  if type(wanted) == "string" then wanted = { wanted } end
  for _, name in ipairs(wanted) do
    if kinds[name](value) then return true end
  end
  return false
end

local check -- forward

local function check_object(value, rules, place, found)
  for _, name in ipairs(rules.required or {}) do
    if value[name] == nil then found[#found + 1] = ("%s.%s is missing"):format(place, name) end
  end
  for name, item in pairs(value) do
    local own = rules.properties and rules.properties[name]
    if own then
      check(item, own, ("%s.%s"):format(place, name), found)
    elseif rules.additionalProperties == false and type(name) == "string" then
      found[#found + 1] = ("%s.%s is not in the schema"):format(place, name)
    end
  end
end

function check(value, rules, place, found)
  if rules.type and not has_type(value, rules.type) then
    found[#found + 1] = ("%s is a %s"):format(place, type(value))
    return
  end
  if rules.enum then
    local is_known = false
    for _, one in ipairs(rules.enum) do is_known = is_known or one == value end
    if not is_known then found[#found + 1] = ("%s is %s"):format(place, tostring(value)) end
  end
  if rules.minimum and value < rules.minimum then found[#found + 1] = ("%s is %s"):format(place, tostring(value)) end
  if rules.items then
    for i, item in ipairs(value) do check(item, rules.items, ("%s[%d]"):format(place, i), found) end
  elseif type(value) == "table" then
    check_object(value, rules, place, found)
  end
end

--- What is not as the schema says: a text for each, none if all is well.
function schema.check(value, rules)
  local found = {}
  check(value, rules, "$", found)
  return table.concat(found, "\n")
end

return schema
