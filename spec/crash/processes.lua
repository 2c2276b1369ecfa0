--- processes.lua: starts, signals and reaps real processes, for the crash run and the specs of several processes.
--
-- One shell is the parent of all of them, so that none is left behind as a zombie. It reads commands from a pipe and
-- answers through a fifo, one line each; killing is a builtin of the shell and therefore quick. When the pipe closes,
-- because the process that held it is gone, it kills what is left.

local pace = require "spec.support.pace"
local socket = require "socket"

local processes = {}

local Group = {}
Group.__index = Group

local LUA = os.getenv("LUA") or "lua5.4"

local script = [[
exec 3>"$1"
while IFS= read -r line; do
  verb=${line%% *}
  rest=${line#* }
  case $verb in
    spawn) eval "exec $rest </dev/null &" ; echo $! >&3 ;;
    kill) kill $rest 2>/dev/null; echo $? >&3 ;;
    wait) wait "$rest" 2>/dev/null; echo $? >&3 ;;
  esac
done
for pid in $(jobs -p); do kill -KILL "$pid"; done 2>/dev/null
]]

local function quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end
processes.quote = quote

--- Makes a directory that nobody else uses and returns its path.
function processes.directory()
  local pipe = assert(io.popen("mktemp -d"))
  local path = assert(pipe:read("l"), "mktemp failed")
  pipe:close()
  return path
end

--- The id of this process.
function processes.own_pid()
  local file <close> = assert(io.open("/proc/self/stat"))
  return (file:read("n"))
end

--- A new group of processes; `directory` gets its script and fifo. The field `environment` may be set to assignments
-- of variables, for those that are started from then on.
function processes.group(directory)
  local path, fifo = directory .. "/spawn.sh", directory .. "/spawn.fifo"
  local file <close> = assert(io.open(path, "w"))
  file:write(script)
  file:close()
  assert(os.execute("mkfifo " .. quote(fifo)))
  local commands = assert(io.popen(("sh %s %s 2>%s"):format(quote(path), quote(fifo), quote(directory .. "/spawn.err")),
    "w"))
  commands:setvbuf("no")
  return setmetatable({ commands = commands, replies = assert(io.open(fifo)), alive = {} }, Group)
end

local function ask(self, line)
  self.commands:write(line, "\n")
  return assert(self.replies:read("n", "l"), "the shell that starts processes is gone")
end

--- Starts lua with these arguments; standard output and error are appended to `log`. Returns the process id.
function Group:spawn(log, ...)
  local words = { quote(LUA) }
  for i, word in ipairs { ... } do words[i + 1] = quote(word) end
  return self:shell(log, ("%s %s"):format(self.environment or "", table.concat(words, " ")))
end

--- Starts a command of the shell, with its assignments of variables before it. Returns the process id.
function Group:shell(log, command)
  local pid = ask(self, ("spawn env %s >>%s 2>&1"):format(command, quote(log)))
  self.alive[pid] = true
  return pid
end

--- Sends a signal by name ("KILL", "TERM", "STOP", "CONT").
function Group:signal(pid, name)
  assert(self.alive[pid], "not a process of this group")
  return ask(self, ("kill -%s %d"):format(name, pid)) == 0
end

--- Waits until a process has ended; returns its exit code, 128 + n if signal n ended it.
function Group:wait(pid)
  assert(self.alive[pid], "not a process of this group")
  self.alive[pid] = nil
  return ask(self, ("wait %d"):format(pid))
end

--- The same, but after `seconds` the process is killed and nil returned.
function Group:wait_for(pid, seconds)
  if processes.eventually(seconds, function() return self:state(pid) == "Z" end) then return self:wait(pid) end
  self:kill(pid)
  return nil
end

--- SIGKILL, and until the process is gone.
function Group:kill(pid)
  self:signal(pid, "KILL")
  return self:wait(pid)
end

--- The state letter of a process: R running, S sleeping, T stopped, Z ended and not yet waited for.
function Group:state(pid)
  assert(self.alive[pid], "not a process of this group")
  local file <close> = io.open(("/proc/%d/stat"):format(pid))
  return file and file:read("a"):match("^%d+ %(.*%) (%a)") or "Z"
end

--- Kills what is left and ends the shell.
function Group:close()
  for pid in pairs(self.alive) do self:signal(pid, "CONT") end
  for pid in pairs(self.alive) do self:kill(pid) end
  self.commands:close()
  self.replies:close()
end

--- Looks every few milliseconds whether fn() is true, for at most `seconds`; returns what it returned.
function processes.eventually(seconds, fn)
  local until_time = socket.gettime() + seconds * pace
  repeat
    local found = fn()
    if found then return found end
    socket.sleep(0.003)
  until socket.gettime() > until_time
  return fn()
end

processes.now, processes.sleep = socket.gettime, socket.sleep

return processes
