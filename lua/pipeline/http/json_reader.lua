--- http/json_reader.lua: reads JSON that somebody else has sent (RFC 8259), and says where it is damaged.
--
-- Whole numbers that fit are integers, as they are in Lua; null is lua-cjson's null, so that it can be told from what
-- is missing. Nothing but JSON is read: no comments, no NaN, no text that is not UTF-8, nothing behind the value.

local null = require("cjson").null

local reader = {}

local DEPTH_MAX = 100

local escapes = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

-- What is raised: { at = position, problem = text }.
local function fail(at, problem)
  error({ at = at, problem = problem }, 0)
end

local function skip(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

-- The character of "\uXXXX" at `at`, and what is behind it. Those beyond the first 65,536 are written as two.
local function read_unicode(text, at)
  local code = tonumber(text:match("^\\u(%x%x%x%x)", at) or fail(at, "\\u without four hexadecimal digits"), 16)
  if code < 0xD800 or code > 0xDFFF then return utf8.char(code), at + 6 end
  local low = tonumber(text:match("^\\u(%x%x%x%x)", at + 6) or "0", 16)
  if code > 0xDBFF or low < 0xDC00 or low > 0xDFFF then fail(at, "half of a pair of surrogates") end
  return utf8.char(0x10000 + (code - 0xD800) * 0x400 + (low - 0xDC00)), at + 12
end

-- The string whose quote is at `at`, and what is behind it.
local function read_string(text, at)
  local first, parts = at + 1, nil
  while true do
    local stop = text:find('["\\%c]', first) or fail(#text + 1, "a string is not closed")
    local mark = text:sub(stop, stop)
    if mark == '"' and not parts then return text:sub(first, stop - 1), stop + 1 end
    parts = parts or {}
    parts[#parts + 1] = text:sub(first, stop - 1)
    if mark == '"' then return table.concat(parts), stop + 1 end
    if mark == "\127" then
      parts[#parts + 1], first = mark, stop + 1
    elseif mark ~= "\\" then
      fail(stop, "a control character in a string")
    elseif text:sub(stop + 1, stop + 1) == "u" then
      parts[#parts + 1], first = read_unicode(text, stop)
    else
      parts[#parts + 1] = escapes[text:sub(stop + 1, stop + 1)] or fail(stop, "an escape that JSON does not have")
      first = stop + 2
    end
  end
end

local function read_number(text, at)
  local whole = text:match("^-?%d+", at)
  if not whole or whole:find("^-?0%d") then fail(at, "a number that JSON does not have") end
  local stop = at + #whole
  local fraction = text:match("^%.%d+", stop) or ""
  local exponent = text:match("^[eE][+-]?%d+", stop + #fraction) or ""
  stop = stop + #fraction + #exponent
  if text:find("^[%w.+-]", stop) then fail(stop, "a number that JSON does not have") end
  local value = fraction == "" and exponent == "" and math.tointeger(tonumber(whole)) or
    tonumber(whole .. fraction .. exponent)
  if not value or value == math.huge or value == -math.huge then fail(at, "a number that is too large") end
  return value, stop
end

local read -- forward

local function read_array(text, at, depth)
  local list, count = {}, 0
  at = skip(text, at + 1)
  if text:sub(at, at) == "]" then return list, at + 1 end
  while true do
    count = count + 1
    list[count], at = read(text, at, depth)
    at = skip(text, at)
    local mark = text:sub(at, at)
    if mark == "]" then return list, at + 1 end
    if mark ~= "," then fail(at, "',' or ']' expected") end
    at = skip(text, at + 1)
  end
end

local function read_object(text, at, depth)
  local object = {}
  at = skip(text, at + 1)
  if text:sub(at, at) == "}" then return object, at + 1 end
  while true do
    if text:sub(at, at) ~= '"' then fail(at, "the name of a member expected") end
    local name
    name, at = read_string(text, at)
    at = skip(text, at)
    if text:sub(at, at) ~= ":" then fail(at, "':' expected") end
    object[name], at = read(text, skip(text, at + 1), depth)
    at = skip(text, at)
    local mark = text:sub(at, at)
    if mark == "}" then return object, at + 1 end
    if mark ~= "," then fail(at, "',' or '}' expected") end
    at = skip(text, at + 1)
  end
end

local words = { t = { "true", true }, f = { "false", false }, n = { "null", null } }

function read(text, at, depth)
  local mark = text:sub(at, at)
  if depth > DEPTH_MAX then fail(at, ("more than %d levels"):format(DEPTH_MAX)) end
  if mark == '"' then return read_string(text, at) end
  if mark == "{" then return read_object(text, at, depth + 1) end
  if mark == "[" then return read_array(text, at, depth + 1) end
  if mark:find("[%d-]") then return read_number(text, at) end
  local word = words[mark]
  if not word or text:sub(at, at + #word[1] - 1) ~= word[1] or text:find("^[%w_]", at + #word[1]) then
    fail(at, mark == "" and "a value expected, but here it ends" or "a value expected")
  end
  return word[2], at + #word[1]
end

local function read_all(text)
  local _, bad = utf8.len(text)
  if bad then fail(bad, "not UTF-8") end
  local value, at = read(text, skip(text, 1), 0)
  at = skip(text, at)
  if at <= #text then fail(at, "something behind the value") end
  return value
end

local function place_of(text, at)
  local before = text:sub(1, at - 1)
  local _, lines = before:gsub("\n", "")
  local column = #before:match("[^\n]*$") + 1
  return ("line %d, column %d"):format(lines + 1, column)
end

--- The value of a JSON text; or nil and what is wrong with it, and where: "line 1, column 8: ':' expected".
function reader.read(text)
  local ok, value = pcall(read_all, text)
  if ok then return value end
  if type(value) ~= "table" or not value.problem then error(value, 0) end
  return nil, ("%s: %s"):format(place_of(text, value.at), value.problem)
end

return reader
