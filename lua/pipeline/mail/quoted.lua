--- quoted.lua: text as quoted-printable (RFC 2045): lines of 76 bytes of plain ASCII at most.
--
-- "\n" and "\r\n" are line breaks; any other control byte, and all beyond ASCII, is "=XX". Spaces at the end of a line
-- are encoded, since servers on the way drop them; so are a dot and "From " at its beginning, which some change. A text
-- that does not end with a line break ends with a soft one, so that reading gives back exactly what was there.

local quoted = {}

local PIECE = 75 -- and "=" for a soft line break

local escapes = {}
for byte = 0, 255 do escapes[string.char(byte)] = ("=%02X"):format(byte) end

-- Splits a line that is too long by soft line breaks, never within "=XX"; `ending` follows it.
local function wrap(out, line, ending)
  local at, size = 1, #line
  local room = ending == "\r\n" and PIECE + 1 or PIECE
  while size - at + 1 > room do
    local last = at + PIECE - 1
    if line:byte(last) == 61 then
      last = last - 1
    elseif line:byte(last - 1) == 61 then
      last = last - 2
    end
    out[#out + 1] = line:sub(at, last) .. "=\r\n"
    at = last + 1
  end
  out[#out + 1] = at == 1 and line or line:sub(at)
  out[#out + 1] = ending
end

local function escape_line(line)
  line = line:gsub("[^\t -<>-~]", escapes):gsub("[ \t]$", escapes):gsub("^%.", escapes)
  if line:sub(1, 5) == "From " then line = "=46" .. line:sub(2) end
  return line
end

--- The text as quoted-printable, with line breaks "\r\n"; it ends with one.
function quoted.encode(value)
  local out, at, size = {}, 1, #value
  while at <= size do
    local stop = value:find("\n", at, true)
    local last = stop and stop - 1 or size
    if stop and last >= at and value:byte(last) == 13 then last = last - 1 end
    wrap(out, escape_line(value:sub(at, last)), stop and "\r\n" or "=\r\n")
    at = stop and stop + 1 or size + 1
  end
  return table.concat(out)
end

return quoted
