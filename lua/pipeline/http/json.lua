--- json.lua: JSON for the HTTP side: any value a slot can hold can be shown, and none breaks the page.
--
-- Numbers and structure are written here, since lua-cjson rounds to 14 digits and refuses sparse arrays; strings are
-- escaped, and everything is read, by lua-cjson. What JSON cannot say is tagged:
--
--   a string that is not UTF-8   {"base64": "..."}; as a key, "base64:..."
--   NaN and the infinities       {"float": "nan"}, {"float": "inf"}, {"float": "-inf"}
--   functions and the like       {"type": "function"}
--   a table within itself        {"type": "cycle"}; one nested too deeply {"type": "deep"}
--
-- A sequence is an array, any other table an object. An empty table is an object unless marked by json.array.

local cjson = require "cjson"

local json = { BYTES_MAX = 16 * 1024 * 1024 } -- of a whole text: shared tables could make it grow without bound

local DEPTH_MAX = 100
local BYTES_MAX = json.BYTES_MAX
local PIECES_MAX = 1000000
local PAUSE_DEPTH = 2

local array_meta = { __name = "pipeline.JsonArray" }
local texts_meta = { __name = "pipeline.JsonTexts" } -- of a table whose values are texts in JSON already
local quote = cjson.encode

--- Marks a table as an array, also when it is empty; returns it.
function json.array(list)
  return setmetatable(list, array_meta)
end

--- Marks a table whose values are JSON texts, which become part of the text as they are; returns it.
function json.texts(map)
  return setmetatable(map, texts_meta)
end

local base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- The base64 text (RFC 4648, with padding) of a string of bytes.
function json.base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local n = a << 16 | (b or 0) << 8 | (c or 0)
    for k = 1, 4 do
      local digit = (n >> (24 - 6 * k) & 63) + 1
      out[#out + 1] = base64_digits:sub(digit, digit)
    end
    if not c then out[#out] = "=" end
    if not b then out[#out - 1] = "=" end
  end
  return table.concat(out)
end

--- Raises what encode does for a text that would have more than json.BYTES_MAX.
function json.refuse_large()
  error("the JSON text would be too large (16 MiB, or a million values): ask for less at once", 0)
end

local function add(out, piece)
  local n = out.n + 1
  out[n], out.n = piece, n
  out.bytes = out.bytes + #piece
  if out.bytes > BYTES_MAX or n > PIECES_MAX then json.refuse_large() end
end

local function write_number(out, value)
  if math.type(value) == "integer" then
    add(out, ("%d"):format(value))
  elseif value ~= value then
    add(out, '{"float":"nan"}')
  elseif value == math.huge or value == -math.huge then
    add(out, value > 0 and '{"float":"inf"}' or '{"float":"-inf"}')
  else
    -- The shortest of the two that reads back as the same number; a comma may come from the locale.
    local short = ("%.15g"):format(value)
    if tonumber(short) ~= value then short = ("%.17g"):format(value) end
    add(out, (short:gsub(",", ".")))
  end
end

local function write_string(out, value)
  if utf8.len(value) then return add(out, quote(value)) end
  add(out, '{"base64":"')
  add(out, json.base64(value))
  add(out, '"}')
end

local function key_text(key)
  if type(key) == "string" then return utf8.len(key) and key or "base64:" .. json.base64(key) end
  local kind = type(key)
  return (kind == "number" or kind == "boolean") and tostring(key) or kind
end

-- Whether the keys of a table are 1..n; an empty one only if it is marked.
local function is_array(value)
  if getmetatable(value) == array_meta then return true end
  local count = 0
  for key in next, value do
    if math.type(key) ~= "integer" or key < 1 then return false end
    count = count + 1
  end
  return count > 0 and rawlen(value) == count
end

local write -- forward

local function write_array(out, value, depth)
  add(out, "[")
  for i = 1, rawlen(value) do
    if i > 1 then add(out, ",") end
    write(out, rawget(value, i), depth)
  end
  add(out, "]")
end

-- Sorted by name, so that the same value gives the same text.
local function write_object(out, value, depth)
  local names, by_name, is_texts = {}, {}, getmetatable(value) == texts_meta
  for key, item in next, value do
    local name = key_text(key)
    if by_name[name] == nil then names[#names + 1] = name end
    by_name[name] = item
  end
  if out.pause and #names > 1000 then out.pause() end
  table.sort(names)
  if out.pause and #names > 1000 then out.pause() end
  add(out, "{")
  for i, name in ipairs(names) do
    if i > 1 then add(out, ",") end
    add(out, quote(name))
    add(out, ":")
    if is_texts then
      add(out, by_name[name])
      if out.pause then out.pause() end
    else
      write(out, by_name[name], depth)
    end
  end
  add(out, "}")
end

-- What is two levels down becomes one piece, and then there is a pause.
local function pause_behind(out, from)
  out[from + 1] = table.concat(out, "", from + 1, out.n)
  out.n = from + 1
  out.pause()
end

local function write_table(out, value, depth)
  if out.open[value] then return add(out, '{"type":"cycle"}') end
  if depth > DEPTH_MAX then return add(out, '{"type":"deep"}') end
  local from = out.n
  out.open[value] = true
  if is_array(value) then write_array(out, value, depth + 1) else write_object(out, value, depth + 1) end
  out.open[value] = nil
  if depth == PAUSE_DEPTH and out.pause then pause_behind(out, from) end
end

function write(out, value, depth)
  local kind = type(value)
  if kind == "string" then
    write_string(out, value)
  elseif kind == "number" then
    write_number(out, value)
  elseif kind == "table" then
    write_table(out, value, depth)
  elseif kind == "boolean" or kind == "nil" then
    add(out, tostring(value == nil and "null" or value))
  elseif value == cjson.null then
    add(out, "null")
  else
    add(out, '{"type":' .. quote(kind) .. "}")
  end
end

--- The JSON text of any value. Raises only when that would be too large (16 MiB).
-- @tparam[opt] function pause called now and then (see slices.lua), between the entries of lists that are fields of
--   the value.
function json.encode(value, pause)
  local out = { n = 0, bytes = 0, open = {}, pause = pause }
  write(out, value, 0)
  return table.concat(out, "", 1, out.n)
end

--- The value of a JSON text; null is json.null. Raises on anything else.
json.decode = cjson.decode
json.null = cjson.null

return json
