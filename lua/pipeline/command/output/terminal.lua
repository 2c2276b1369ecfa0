--- terminal.lua: what the command writes to and reads from: a terminal or not, how wide, with which signs and colours.
--
-- Nothing here is asked of the system before somebody wants to know it: a pipe needs none of it.

local terminal = {}

local WIDTH, HEIGHT = 80, 24

-- Whether a descriptor (0, 1, 2) is a terminal.
local function is_terminal(number)
  return os.execute(("test -t %d"):format(number)) == true
end

local known = {}

--- Whether standard input, output or error ("in", "out", "err") is a terminal.
function terminal.is(what)
  if known[what] == nil then known[what] = is_terminal(({ ["in"] = 0, out = 1, err = 2 })[what]) end
  return known[what]
end

--- Columns and lines of the terminal that the command runs in, as it is now.
function terminal.size()
  local pipe <close> = io.popen("stty size 2>/dev/null </dev/tty")
  local height, width = (pipe and pipe:read("a") or ""):match("^(%d+) (%d+)")
  height, width = math.tointeger(tonumber(height)), math.tointeger(tonumber(width))
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

--- Makes keys readable one by one and unseen, each read waiting up to so many seconds. Returns whether that worked.
function terminal.read_keys(seconds)
  local pipe <close> = io.popen("stty -g 2>/dev/null </dev/tty")
  local before = pipe and pipe:read("a"):match("^[%w:]+")
  if not before then return false end
  raw = before
  io.stdin:setvbuf("no")
  local tenths = math.min(TENTHS_MAX, math.floor(seconds * 10))
  return os.execute(("stty -icanon -echo min 0 time %d 2>/dev/null </dev/tty"):format(tenths)) == true
end

local is_full = false

--- Turns to a screen of its own, without a cursor.
function terminal.full_screen()
  is_full = true
  io.stdout:write("\27[?1049h\27[?25l")
end

--- Ends what read_keys and full_screen began.
function terminal.restore()
  if is_full then
    io.stdout:write("\27[?25h\27[?1049l")
    io.stdout:flush()
    is_full = false
  end
  if not raw then return end
  os.execute(("stty %s 2>/dev/null </dev/tty"):format(raw))
  raw = nil
end

return terminal
