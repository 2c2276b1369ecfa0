--- letters.lua: texts of anybody as they may be shown: nothing that moves the cursor, and known widths.
--
-- Names, arguments and errors come from programs and from the world. What is not a letter (control characters, bytes
-- that are not UTF-8, marks that turn the direction of writing) is shown by its number, so that no text can write over
-- another one or look like something else.

local letters = {}

-- Marks that have no width but change how what follows looks, first and last of each stretch.
local HIDDEN = {
  { 0x80, 0x9F }, { 0xAD, 0xAD }, { 0x61C, 0x61C }, { 0x200B, 0x200F }, { 0x2028, 0x202E }, { 0x2060, 0x206F },
  { 0xFEFF, 0xFEFF }, { 0xFFF9, 0xFFFB }, { 0xE0000, 0xE0FFF },
}
local NO_WIDTH = { { 0x300, 0x36F }, { 0x483, 0x489 }, { 0x591, 0x5BD }, { 0x1AB0, 0x1AFF }, { 0x20D0, 0x20FF },
  { 0xFE00, 0xFE0F }, { 0xFE20, 0xFE2F } }
local WIDE = {
  { 0x1100, 0x115F }, { 0x2E80, 0x303E }, { 0x3041, 0xA4CF }, { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF },
  { 0xFE30, 0xFE6F }, { 0xFF00, 0xFF60 }, { 0xFFE0, 0xFFE6 }, { 0x1F300, 0x1F64F }, { 0x1F680, 0x1F6FF },
  { 0x1F900, 0x1F9FF }, { 0x20000, 0x3FFFD },
}

local function is_in(stretches, code)
  for _, stretch in ipairs(stretches) do
    if code >= stretch[1] and code <= stretch[2] then return true end
  end
  return false
end

local NAMES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\27"] = "\\e" }

local function escaped_byte(byte)
  return NAMES[byte] or ("\\x%02x"):format(byte:byte())
end

-- Code points one by one; bytes that are none by themselves.
local function each(text)
  local at = 1
  return function()
    if at > #text then return nil end
    local from = at
    local bad = select(2, utf8.len(text, at, at))
    if bad then
      at = at + 1
      return text:sub(from, from), nil
    end
    at = utf8.offset(text, 2, at)
    return text:sub(from, at - 1), utf8.codepoint(text, from)
  end
end

--- `text` in one line that is safe to show. With `unicode` letters of all the world stay, else only ASCII does.
function letters.plain(text, unicode)
  if not text:find("[^\32-\126]") then return text end
  local out = {}
  for letter, code in each(text) do
    if not code then
      letter = escaped_byte(letter)
    elseif code < 32 or code == 127 then
      letter = escaped_byte(letter)
    elseif code > 126 and (not unicode or is_in(HIDDEN, code)) then
      letter = ("\\u{%x}"):format(code)
    end
    out[#out + 1] = letter
  end
  return table.concat(out)
end

local function width_of(code)
  if code < 0x300 then return 1 end
  if is_in(NO_WIDTH, code) then return 0 end
  return is_in(WIDE, code) and 2 or 1
end

--- How many columns a text takes that letters.plain gave.
function letters.width(text)
  if not text:find("[\128-\255]") then return #text end
  local width = 0
  for _, code in each(text) do width = width + (code and width_of(code) or 1) end
  return width
end

--- Cuts a text at `columns`, with `mark` at its end where something is missing.
function letters.cut(text, columns, mark)
  if letters.width(text) <= columns then return text end
  local room, out, width = math.max(0, columns - letters.width(mark)), {}, 0
  for letter, code in each(text) do
    width = width + (code and width_of(code) or 1)
    if width > room then break end
    out[#out + 1] = letter
  end
  return columns >= letters.width(mark) and table.concat(out) .. mark or mark:sub(1, columns)
end

--- `text` with blanks behind (before, if `right`) up to `columns`.
function letters.pad(text, columns, right)
  local blanks = (" "):rep(columns - letters.width(text))
  return right and blanks .. text or text .. blanks
end

--- Lines of at most `columns`, broken at blanks where there are any.
function letters.wrap(text, columns)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    while letters.width(word) > columns do -- longer than a line by itself
      if line ~= "" then lines[#lines + 1], line = line, "" end
      local head = letters.cut(word, columns, "")
      if head == "" then head = word end
      lines[#lines + 1], word = head, word:sub(#head + 1)
    end
    if line == "" then
      line = word
    elseif letters.width(line) + 1 + letters.width(word) <= columns then
      line = line .. " " .. word
    else
      lines[#lines + 1], line = line, word
    end
  end
  if line ~= "" or #lines == 0 then lines[#lines + 1] = line end
  return lines
end

return letters
