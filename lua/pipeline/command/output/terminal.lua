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

--- Makes keys readable one by one and unseen, each read waiting up to a second. Returns whether it could be done.
function terminal.read_keys()
  local pipe <close> = io.popen("stty -g 2>/dev/null </dev/tty")
  local before = pipe and pipe:read("a"):match("^[%w:]+")
  if not before then return false end
  raw = before
  io.stdin:setvbuf("no")
  return os.execute("stty -icanon -echo min 0 time 10 2>/dev/null </dev/tty") == true
end

--- Ends what read_keys began.
function terminal.restore()
  if not raw then return end
  os.execute(("stty %s 2>/dev/null </dev/tty"):format(raw))
  raw = nil
end

return terminal
