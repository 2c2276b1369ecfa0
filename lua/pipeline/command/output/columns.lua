--- columns.lua: rows of fields in columns that fit the terminal.
--
-- A column is { title =, field = (of a row: a text, or function(row) -> text, style)), right = (figures), least =
-- (columns it cannot do without; default: as wide as it is), narrow = (the same on a narrow terminal), rank = (which go
-- first when there is no room: the highest; a column without a rank always stays) }. Columns with `least` share what is
-- left. Where nothing is written to a terminal nothing is cut.

local letters = require "pipeline.command.output.letters"

local columns = {}

local GAP = 2
local NARROW = 60 -- columns of a terminal

-- Texts and styles of all cells, and how wide each column would like to be.
local function lay_out(out, list, rows)
  local cells, widths = {}, {}
  for c, column in ipairs(list) do widths[c] = letters.width(column.title) end
  for r, row in ipairs(rows) do
    cells[r] = {}
    for c, column in ipairs(list) do
      local text, style
      if type(column.field) == "function" then text, style = column.field(row) else text = row[column.field] end
      text = out:plain(text == nil and "" or tostring(text))
      cells[r][c] = { text = text, style = style }
      widths[c] = math.max(widths[c], letters.width(text))
    end
  end
  return cells, widths
end

local function least_of(column, width, room)
  local least = column.least
  if column.narrow and room < NARROW then least = column.narrow end
  return least and math.min(least, width) or width
end

local function total(list, widths, shown, room)
  local sum, count = 0, 0
  for c, column in ipairs(list) do
    if shown[c] then sum, count = sum + least_of(column, widths[c], room), count + 1 end
  end
  return sum + GAP * math.max(0, count - 1)
end

-- Takes columns away, those of the highest rank first, until the rest fits.
local function choose(list, widths, room)
  local shown = {}
  for c in ipairs(list) do shown[c] = true end
  while total(list, widths, shown, room) > room do
    local worst
    for c, column in ipairs(list) do
      if shown[c] and column.rank and (not worst or column.rank > list[worst].rank) then worst = c end
    end
    if not worst then break end
    shown[worst] = false
  end
  return shown
end

-- Gives what is left to the columns that can be shorter than they would like, in turn.
local function share(list, widths, shown, room)
  local left = room - total(list, widths, shown, room)
  local final = {}
  for c, column in ipairs(list) do final[c] = least_of(column, widths[c], room) end
  local given = true
  while left > 0 and given do
    given = false
    for c in ipairs(list) do
      if shown[c] and final[c] < widths[c] and left > 0 then
        final[c], left, given = final[c] + 1, left - 1, true
      end
    end
  end
  return final
end

--- Writes rows below their titles.
-- @tparam table out the output, see output.lua.
-- @tparam table list columns.
-- @tparam table rows what their fields are of.
function columns.write(out, list, rows)
  local cells, widths = lay_out(out, list, rows)
  local room = out.width or math.huge
  local shown = choose(list, widths, room)
  if out.width then widths = share(list, widths, shown, room) end
  local last
  for c in ipairs(list) do
    if shown[c] then last = c end
  end
  local function line(cell_of)
    local parts = {}
    for c, column in ipairs(list) do
      if shown[c] then
        local cell = cell_of(c)
        local text = letters.cut(cell.text, widths[c], out.mark)
        local pad = (" "):rep(widths[c] - letters.width(text))
        text = out:style(cell.style, text)
        if column.right then text = pad .. text elseif c ~= last then text = text .. pad end
        parts[#parts + 1] = text
      end
    end
    out:line((table.concat(parts, (" "):rep(GAP)):gsub("%s+$", "")))
  end
  line(function(c) return { text = list[c].title, style = "title" } end)
  for r in ipairs(rows) do line(function(c) return cells[r][c] end) end
end

return columns
