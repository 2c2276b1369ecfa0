--- http/routes.lua: which handler a path leads to.
--
-- A path is divided at its slashes first, and its segments are decoded afterwards: an encoded slash divides nothing. So
-- "/admin/..%2fx" and "/admin%2fx" do not come to what is below "/admin/", whoever else has looked at them before.
--
-- A route is a path of such segments: "/orders/:id/items" has a parameter, which is any one segment that is not empty;
-- a last segment "*name", or "*", is all that is left. At each segment a literal goes before a parameter, and a
-- parameter before the rest, whatever the order in which the routes were made.

local routes = {}

local function decode(segment)
  return (segment:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- Whether a decoded segment, or a part of it, would lead upwards for somebody who reads it as a path.
local function has_dots(segment)
  if not segment:find(".", 1, true) then return false end
  for part in segment:gmatch("[^/\\]+") do
    if part == "." or part == ".." then return true end
  end
  return false
end

--- Divides a path as sent (without query). Returns a list of its segments, decoded, with `path` (the whole, decoded),
-- `slashes` (number of the last segment with an encoded slash, 0: none) and `has_dots`; or nil if it is no path, has a
-- zero byte or a percent sign without its two digits.
function routes.split(path)
  if path:sub(1, 1) ~= "/" or path:find("\0", 1, true) or path:find("%00", 1, true) then return nil end
  if path:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
  local segments, count = { slashes = 0, has_dots = false }, 0
  for segment in path:gmatch("/([^/]*)") do
    count = count + 1
    if segment:find("%", 1, true) then
      segment = decode(segment)
      if segment:find("/", 1, true) then segments.slashes = count end
    end
    segments.has_dots = segments.has_dots or has_dots(segment)
    segments[count] = segment
  end
  segments.path = "/" .. table.concat(segments, "/")
  return segments
end

-- ---- routes ----------------------------------------------------------------------------------------------------

local Routes = {}
local meta = { __name = "pipeline.Routes", __index = Routes }

local function new_node()
  return { literals = {}, parameter = false, rest = false, methods = {} }
end

--- Makes an empty set of routes.
function routes.new()
  return setmetatable({ root = new_node() }, meta)
end

-- What is wrong with a segment that is taken literally; nil: nothing.
local function check_literal(segment)
  if has_dots(segment) then return "can never be asked for" end
  if segment:find("[?#]") then return "has a query or a fragment, which are no part of a route" end
  if segment:find("[*{}<>]") or segment:find("^%[.*%]$") or segment:find("%W:[%a_]") then
    return "looks like a parameter, but is none: write \":name\" for one segment, and \"*name\" at the end for the rest"
  end
end

-- Kind ("literal", "parameter", "rest") and text of a segment; or nil and what is wrong with it.
local function read_segment(segment, is_last)
  local mark, name = segment:match("^([:*])(.*)$")
  if not mark then
    local problem = check_literal(segment)
    if problem then return nil, problem end
    return "literal", segment
  end
  if mark == "*" and not is_last then return nil, "must be the last one: it stands for all that is left" end
  if mark == "*" and name == "" then return "rest", false end
  if not name:find("^[%a_][%w_]*$") then
    return nil, "looks like a parameter, but its name is not made of letters, digits and underscores"
  end
  return mark == ":" and "parameter" or "rest", name
end

local function child(node, kind, text)
  if kind == "literal" then
    node.literals[text] = node.literals[text] or new_node()
    return node.literals[text]
  end
  node[kind] = node[kind] or new_node()
  return node[kind]
end

-- A list of { kind, text }, or nil and what is wrong with the path.
local function read_path(path)
  local parts, list, seen = {}, {}, {}
  for segment in path:gmatch("/([^/]*)") do parts[#parts + 1] = segment end
  for i, segment in ipairs(parts) do
    local kind, value = read_segment(segment, i == #parts)
    if not kind then return nil, ("segment \"%s\" %s"):format(segment, value) end
    if kind ~= "literal" and value and seen[value] then
      return nil, ("there are two parameters \"%s\""):format(value)
    end
    if kind ~= "literal" and value then seen[value] = true end
    list[i] = { kind, value }
  end
  return list
end

--- Adds or replaces a route. Returns true, or nil and what is wrong with the path.
function Routes:add(method, path, handler)
  local list, problem = read_path(path)
  if not list then return nil, problem end
  local node, names = self.root, {}
  for _, segment in ipairs(list) do
    if segment[1] ~= "literal" then names[#names + 1] = segment[2] end
    node = child(node, segment[1], segment[2])
  end
  node.methods[method] = { handler = handler, names = names }
  return true
end

local function walk(node, segments, i, values)
  local segment = segments[i]
  if not segment then return next(node.methods) and node.methods or nil end
  local count, found = #values, nil
  if node.literals[segment] then found = walk(node.literals[segment], segments, i + 1, values) end
  if not found and node.parameter and segment ~= "" then
    values[count + 1] = segment
    found = walk(node.parameter, segments, i + 1, values)
    if not found then values[count + 1] = nil end
  end
  if not found and node.rest and segments.slashes < i then
    values[count + 1] = table.concat(segments, "/", i)
    found = node.rest.methods
  end
  return found
end

--- What is at a path, divided by split: routes by method, each with `handler` and `names` of its parameters, and the
-- values of these; or nil. A path with dots, "." or "..", leads nowhere.
function Routes:find(segments)
  if segments.has_dots then return nil end
  local values = {}
  local methods = walk(self.root, segments, 1, values)
  if methods then return methods, values end
end

return routes
