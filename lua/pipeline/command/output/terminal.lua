--- terminal.lua: what the command writes to and reads from: a terminal or not, how wide, with which signs and colours.
--
-- Nothing here is asked of the system before somebody wants to know it: a pipe needs none of it.

local core = require "pipeline.core"

local terminal = {}

local WIDTH, HEIGHT = 80, 24

local known = {}

--- Whether standard input, output or error ("in", "out", "err") is a terminal.
function terminal.is(what)
  if known[what] == nil then known[what] = core.is_terminal(({ ["in"] = 0, out = 1, err = 2 })[what]) end
  return known[what]
end

--- Columns and lines of the terminal that the command runs in, as it is now.
function terminal.size()
  local width, height = core.terminal_size()
  if not width or width == 0 then width = math.tointeger(tonumber(os.getenv("COLUMNS"))) or WIDTH end
  if not height or height == 0 then height = math.tointeger(tonumber(os.getenv("LINES"))) or HEIGHT end
  return width, height
end

local function is_set(name)
  local value = os.getenv(name)
  return value ~= nil and value ~= ""
end

--- Whether the terminal can do more than write one line below the other.
function terminal.is_dumb()
  local kind = os.getenv("TERM")
  return kind == nil or kind == "" or kind == "dumb"
end

--- Whether colours are welcome: on a terminal that has them, unless NO_COLOR is set.
function terminal.has_colour()
  return terminal.is("out") and not terminal.is_dumb() and not is_set("NO_COLOR")
end

--- Whether the locale has more than ASCII.
function terminal.has_unicode()
  for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do
    if is_set(name) then return os.getenv(name):lower():find("utf%-?8") ~= nil end
  end
  return false
end

local raw -- how the terminal was before keys were read one by one

local TENTHS_MAX = 255 -- the longest that a terminal waits

-- Calls stty on the terminal. Returns whether that worked, and what it wrote. (os.execute would keep Ctrl-C from us
-- while it works, and io.popen does not.)
local function stty(options)
  local pipe = io.popen(("stty %s 2>/dev/null </dev/tty"):format(options))
  local text = pipe and pipe:read("a")
  return pipe ~= nil and pipe:close() == true, text or ""
end

--- Makes keys readable one by one and unseen, each read waiting up to so many seconds. Returns whether that worked.
function terminal.read_keys(seconds)
  local _, text = stty "-g"
  local before = text:match("^[%w:]+")
  if not before then return false end
  raw = before
  io.stdin:setvbuf("no")
  local tenths = math.min(TENTHS_MAX, math.floor(seconds * 10))
  return (stty(("-icanon -echo min 0 time %d"):format(tenths)))
end

local is_full = false
local LEAVE <const> = "\27[?25h\27[?1049l" -- with the cursor, for the screen that was there before

--- Turns to a screen of its own, without a cursor. The terminal is what it was before also when Ctrl-C is typed.
function terminal.full_screen()
  is_full = true
  core.end_at_interrupt(LEAVE)
  io.stdout:write("\27[?1049h\27[?25l")
end

--- Ends what read_keys and full_screen began.
function terminal.restore()
  if is_full then
    io.stdout:write(LEAVE)
    io.stdout:flush()
  end
  if raw then stty(raw) end
  if is_full then core.end_at_interrupt("") end
  is_full, raw = false, nil
end

return terminal
