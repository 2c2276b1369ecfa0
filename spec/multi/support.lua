--- support.lua: a file, an engine that executes nothing, and other processes at work on it.

local processes = require "spec.crash.processes"
local check = require "spec.crash.check"
local pipeline = require "pipeline"

local support = {}

local Scene = {}
Scene.__index = Scene

--- A new file with an engine of this process on it, which executes nothing.
function support.scene(options)
  local directory = processes.directory()
  local self = setmetatable({
    directory = directory, path = directory .. "/multi.db", log = directory .. "/log", output = directory .. "/output",
    group = processes.group(directory), lines = {},
  }, Scene)
  self.hold = directory .. "/hold"
  assert(io.open(self.log, "w")):close()
  self.engine = pipeline.open(self.path, {
    no_worker = true, lease_seconds = options and options.lease_seconds,
    log = function(level, text) table.insert(self.lines, ("%d %s"):format(level, text)) end,
  })
  return self
end

--- Starts a process in a role (worker.lua) and waits until its engine is open. Returns its id.
function Scene:spawn(role, options, ...)
  options = options or {}
  local pid = self.group:spawn(self.output, "spec/multi/worker.lua", self.path, self.log, role,
    options.lease_seconds or 15, options.concurrency or 64, ...)
  self:wait_line("ready", pid)
  return pid
end

--- The lines `verb|pid|...` of the log, of all processes or one, split into words after the id.
function Scene:read(verb, pid)
  local found = {}
  for line in io.lines(self.log) do
    local words = {}
    for word in line:gmatch("[^|]+") do words[#words + 1] = word end
    local of = math.tointeger(tonumber(words[2]))
    if words[1] == verb and (not pid or of == pid) then
      table.remove(words, 1)
      words[1], words.pid = of, of
      found[#found + 1] = words
    end
  end
  return found
end

local function read_all(path)
  local file = io.open(path)
  local text = file and file:read("a") or ""
  if file then file:close() end
  return text
end

--- Waits for the nth such line (the first) and returns it.
function Scene:wait_line(verb, pid, n)
  local found = processes.eventually(20, function() return self:read(verb, pid)[n or 1] end)
  if not found then
    error(("no line '%s' of process %s came; output: %s; log: %s"):format(verb, tostring(pid), read_all(self.output),
      read_all(self.log)), 2)
  end
  return found
end

--- What the other processes printed: nothing, if all is well.
function Scene:printed()
  return read_all(self.output)
end

--- Log lines of other processes at `level` or above, as texts.
function Scene:logged(level, pid)
  local found = {}
  for _, words in ipairs(self:read("log", pid)) do
    if tonumber(words[2]) >= level then found[#found + 1] = table.concat(words, " ", 3) end
  end
  return found
end

--- Makes or removes the file that Hold looks at.
function Scene:set_hold(on)
  if on then assert(io.open(self.hold, "w")):close() else os.remove(self.hold) end
end

--- The number of executions (lines `begin`) of a pipeline, and the lines.
function Scene:begun(id)
  local found = {}
  for _, words in ipairs(self:read("begin")) do
    if words[2] == id then found[#found + 1] = words end
  end
  return #found, found
end

function Scene:close()
  self.group:close()
  self.engine:close()
  local found = check.file(self.path)
  os.execute("rm -rf " .. processes.quote(self.directory))
  if #found > 0 then error("the file is damaged: " .. table.concat(found, "; "), 0) end
end

support.median = require("spec.support.figures").median
support.now, support.sleep, support.eventually = processes.now, processes.sleep, processes.eventually

return support
