--- library.lua: builds the library that shifts the wall clock of a process (clock.c), and sets such clocks.

local processes = require "spec.crash.processes"

local library = {}

--- Builds it in a directory; returns its path.
function library.build(directory)
  local path = directory .. "/clock.so"
  local pipe = assert(io.popen(("cc -O1 -shared -fPIC -o %s spec/clocks/clock.c -ldl 2>&1"):format(
    processes.quote(path))))
  local output = pipe:read("a")
  assert(pipe:close(), output)
  return path
end

--- The assignments that give a process a clock that follows `file`. `keeps_fine`: what luasocket shows stays the true
-- time.
function library.environment(path, file, keeps_fine)
  return ("LD_PRELOAD=%s SHIFT_FILE=%s%s"):format(processes.quote(path), processes.quote(file),
    keeps_fine and " SHIFT_NOT_GETTIMEOFDAY=1" or "")
end

--- Makes the file that a clock follows.
function library.make(file)
  local handle <close> = assert(io.open(file, "wb"))
  handle:write(string.pack("=i8i8", 0, 0))
end

--- Sets all clocks that follow `file`: so many seconds ahead of the true time, coarse readings so much behind.
function library.set(file, seconds, lag)
  local handle <close> = assert(io.open(file, "r+b"))
  handle:write(string.pack("=i8i8", math.floor(seconds * 1e6), math.floor((lag or 0) * 1e6)))
end

--- Seconds by which the clock of this process is ahead.
function library.shift()
  local file = os.getenv("SHIFT_FILE")
  if not file then return 0.0 end
  local handle <close> = assert(io.open(file, "rb"))
  return string.unpack("=i8", handle:read(8)) / 1e6
end

return library
