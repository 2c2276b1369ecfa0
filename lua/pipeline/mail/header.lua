--- header.lua: lines of a mail's head, folded, with anything beyond plain ASCII as encoded words.
--
-- RFC 5322 lets a line have 998 bytes and asks for 78; RFC 2047 allows 76 where there are encoded words
-- ("=?UTF-8?Q?...?=", of 75 at most, that never split a character). A text is left as it is if folding at its spaces
-- gives it back exactly; else all of it is encoded. What has a control byte was refused before (message.lua).
--
-- Invariant: what is given as a value cannot end its header: every line break in the result is followed by a space.

local header = {}

local LINE_MAX, WORD_MAX, PLAIN_WORD_MAX = 76, 75, 60
local PREFIX, SUFFIX = "=?UTF-8?Q?", "?="

-- A character as it stands in an encoded word, also of a name.
local encoded = setmetatable({ [" "] = "_" }, {
  __index = function(cache, character)
    local code = character:gsub("[^%w!*+%-/]", function(c) return ("=%02X"):format(c:byte()) end)
    if #character == 1 then cache[character] = code end
    return code
  end,
})

-- The text in encoded words, the first of which begins at `column`.
local function encode_words(value, column)
  local words, word = {}, {}
  local size = math.max(column, LINE_MAX - WORD_MAX) + #PREFIX + #SUFFIX
  for character in value:gmatch(utf8.charpattern) do
    local code = encoded[character]
    if size + #code > LINE_MAX and (word[1] or column > 1) then
      words[#words + 1] = word[1] and PREFIX .. table.concat(word) .. SUFFIX or ""
      word, size = {}, 1 + #PREFIX + #SUFFIX
      column = 1
    end
    word[#word + 1] = code
    size = size + #code
  end
  words[#words + 1] = PREFIX .. table.concat(word) .. SUFFIX
  return table.concat(words, "\r\n ")
end

-- Whether all of it is printable ASCII that no reader takes for an encoded word.
local function is_ascii(value)
  return not value:find("[^ -~]") and not value:find("=?", 1, true)
end

-- Whether folding at the spaces can be undone.
local function is_plain(value)
  if not is_ascii(value) or (" " .. value .. " "):find("  ", 1, true) then return false end
  for word in value:gmatch("[^ ]+") do
    if #word > PLAIN_WORD_MAX then return false end
  end
  return true
end

local function fold(value, column)
  local lines, line = {}, ""
  for word in value:gmatch("[^ ]+") do
    if line == "" and #lines == 0 then
      line = word
    elseif (#lines == 0 and column or 1) + #line + 1 + #word <= LINE_MAX then
      line = line .. " " .. word
    else
      lines[#lines + 1], line = line, word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\r\n ")
end

--- A header with any text as its value, without the line break at its end.
function header.text(name, value)
  local start = name .. ": "
  return start .. (is_plain(value) and fold(value, #start) or encode_words(value, #start))
end

-- A name before an address: words, a quoted string, or encoded words.
local function phrase(name, column)
  if #name > PLAIN_WORD_MAX or not is_ascii(name) then return encode_words(name, column) end
  if name:find("^[%w!#$%%&'*+/=?^_`{|}~%-]+$") then return name end
  return '"' .. name:gsub('[\\"]', "\\%0") .. '"'
end

--- A header with addresses (see address.lua), each on a line of its own.
function header.addresses(name, list)
  local lines = {}
  for i, item in ipairs(list) do
    local column = i == 1 and #name + 2 or 1
    lines[i] = item.spec
    if item.name then
      local name_text = phrase(item.name, column)
      local room = LINE_MAX - column - #name_text - #item.spec - 3
      local glue = (room < 0 or name_text:find("\n", 1, true)) and "\r\n <" or " <"
      lines[i] = name_text .. glue .. item.spec .. ">"
    end
  end
  return name .. ": " .. table.concat(lines, ",\r\n ")
end

return header
