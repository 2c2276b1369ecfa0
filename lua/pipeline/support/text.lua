--- text.lua: short texts of values, and URL encoding.

local core = require "pipeline.core"

local text = {}

local SHORT_BYTES_MAX = 200
local DEPTH_MAX = 4

--- Cuts `value` at 200 bytes, saying how long it was.
function text.short(value)
  if #value <= SHORT_BYTES_MAX then return value end
  return ("%s... (%d bytes)"):format(value:sub(1, SHORT_BYTES_MAX), #value)
end

--- Which attempt of a pipeline failed, with a comma before it. The run of a durable function has no attempts (its
-- steps have): nothing is said of it.
function text.attempt(number, record)
  if record.flags & core.DURABLE ~= 0 then return "" end
  return (", attempt %d of %d"):format(number, record.max_attempts)
end

local write -- forward

-- A budget keeps texts of huge tables cheap: what would be cut off anyway is not written.
local function write_table(out, value, depth)
  if depth >= DEPTH_MAX then
    out[#out + 1] = "{...}"
    return
  end
  out[#out + 1] = "{"
  local first, count = true, #value
  for key, item in next, value do
    if out.left <= 0 then break end
    if not first then out[#out + 1] = ", " end
    first = false
    if not (math.type(key) == "integer" and key >= 1 and key <= count) then
      if type(key) == "string" and key:find("^[%a_][%w_]*$") then
        out[#out + 1] = key .. "="
      else
        out[#out + 1] = "["
        write(out, key, depth + 1)
        out[#out + 1] = "]="
      end
    end
    write(out, item, depth + 1)
  end
  out[#out + 1] = "}"
end

function write(out, value, depth)
  local piece
  if type(value) == "string" then
    piece = '"' .. value:gsub('[%c"\\]', function(c) return ("\\%d"):format(c:byte()) end) .. '"'
  elseif type(value) == "table" then
    local meta = getmetatable(value)
    if meta == nil then
      out.left = out.left - 2
      return write_table(out, value, depth)
    end
    local ok, shown = pcall(tostring, value)
    piece = ok and type(shown) == "string" and shown or "table"
  else
    piece = tostring(value)
  end
  out.left = out.left - #piece
  out[#out + 1] = piece
end

--- The text of a value for people: not meant to be read back. `budget` bounds the work, in bytes.
function text.of(value, budget)
  local out = { left = budget or 4096 }
  write(out, value, 0)
  return table.concat(out)
end

--- The text of the values list[1..n], separated by commas.
function text.of_list(list, n)
  local out = { left = 4096 }
  for i = 1, n do
    if i > 1 then out[#out + 1] = ", " end
    write(out, list[i], 0)
    if out.left <= 0 then break end
  end
  return table.concat(out)
end

--- The URL that others are put behind, without a slash at its end; nil if it is none.
function text.base_url(url)
  return url:find("^https?://[^/%s?#\"'<>]+[^%s?#\"'<>]*$") and (url:gsub("/+$", "")) or nil
end

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- `text` as it stands in HTML, also within quotes.
function text.html(value)
  return (value:gsub("[&<>\"']", entities))
end

--- `text` as one word of a shell.
function text.shell(value)
  if value ~= "" and not value:find("[^%w%-_./:@]") then return value end
  return "'" .. value:gsub("'", "'\\''") .. "'"
end

--- Percent-encodes as HTML forms do: space becomes "+", letters, digits, "-", "_" and "." stay.
function text.quote(value)
  return (value:gsub("[^%w%-_. ]", function(c) return ("%%%02X"):format(c:byte()) end):gsub(" ", "+"))
end

--- `name=value` pairs of a map of strings, sorted by name and joined by "&".
function text.query(params)
  local names = {}
  for name in pairs(params) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do names[i] = text.quote(name) .. "=" .. text.quote(params[name]) end
  return table.concat(names, "&")
end

return text
