--- support.lua: the installed command, run in a directory of its own: through pipes, in a terminal, in the background.

local pace = require "spec.support.pace"
local processes = require "spec.crash.processes"

local support = {}

local quote = processes.quote
local SECONDS = 20 * pace

--- The program that the specs work with.
support.PROGRAM = [[
local pipeline = require "pipeline"
local Add = pipeline.define("demo.Add", { run = function(_, a, b) return a + b end })
pipeline.define("demo.Sum", {
  run = function(self, a, b, c)
    local both = self:spawn(Add(a, b))
    self:spawn(Add(both, c))
  end,
})
pipeline.define("demo.Say", { run = function(_, ...) return { ... } end })
pipeline.define("demo.Named", { output_names = { "half" }, run = function(self, n)
  self:fill("half", n / 2)
  return n
end })
local Bad = pipeline.define("demo.Bad", { max_attempts = 1, run = function(_, why) error(why or "no luck", 0) end })
pipeline.define("demo.Parent", { run = function(self, why)
  self:spawn(Add(1, 2))
  self:spawn(Bad(why))
end })
pipeline.define("demo.Ask", { async = true, public_callbacks = true, run = function(self)
  self:set_status{ message = "asks somebody" }
end, callback = function(self, params) self:complete(params.answer) end })
pipeline.define("demo.Hold", { run = function(_, path)
  io.stderr:write("holding\n")
  while io.open(path) do pipeline.default():sleep(0.02) end
  return "let go"
end })
return {}
]]

-- The command is installed once for all specs of a file.
local prefix

local function make(...)
  local variant = (os.getenv("PL_BUILD") or ""):match("/(%a+san)$")
  local words = { "env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s --no-print-directory DEPS=no" }
  if variant then words[#words + 1] = "VARIANT=" .. variant end
  for _, word in ipairs { ... } do words[#words + 1] = quote(word) end
  local log = os.tmpname()
  local ok = os.execute(table.concat(words, " ") .. " >" .. log .. " 2>&1")
  local file <close> = assert(io.open(log))
  local said = file:read("a")
  os.remove(log)
  assert(ok, said)
end

--- Where the command is installed: the directory has bin/pipeline.
function support.installed()
  if not prefix then
    prefix = processes.directory()
    make("install", "PREFIX=" .. prefix)
  end
  return prefix
end

--- Takes the installation away.
function support.remove()
  if prefix then os.execute("rm -rf " .. quote(prefix)) end
  prefix = nil
end

local Scene = {}
Scene.__index = Scene

local CLEAN = "env -u LUA_PATH -u LUA_CPATH -u LUA_INIT -u NO_COLOR -u PAGER -u COLUMNS -u LINES -u LC_ALL -u LC_CTYPE "
  .. "LANG=C.UTF-8 TERM=xterm TZ=UTC "

--- A directory with a program (demo.lua) and no store yet.
function support.scene()
  local directory = processes.directory()
  local self = setmetatable({
    directory = directory, db = directory .. "/jobs.db", command = support.installed() .. "/bin/pipeline", logs = 0,
    group = processes.group(directory),
  }, Scene)
  self:write("demo.lua", support.PROGRAM)
  return self
end

--- Writes a file in the directory.
function Scene:write(name, text)
  local file <close> = assert(io.open(self.directory .. "/" .. name, "w"))
  file:write(text)
end

--- What is in a file of the directory.
function Scene:read(name)
  local file = io.open(self.directory .. "/" .. name)
  local text = file and file:read("a") or ""
  if file then file:close() end
  return text
end

local function line_of(self, words, given)
  local parts = { "cd", quote(self.directory), "&&", CLEAN }
  for name, value in pairs(given.env or {}) do parts[#parts + 1] = name .. "=" .. quote(value) end
  if not given.no_db then parts[#parts + 1] = "PIPELINE_DB=" .. quote(self.db) end
  parts[#parts + 1] = given.before or ""
  parts[#parts + 1] = quote(self.command)
  for _, word in ipairs(words) do parts[#parts + 1] = quote(word) end
  return table.concat(parts, " ")
end

local function code_of(how, code)
  return how == "signal" and 128 + code or code
end

--- Runs the command through pipes.
-- @tparam table words its arguments.
-- @tparam[opt] table given env (variables), no_db (PIPELINE_DB is not set), input (a text).
-- @return its exit code, and what it wrote to standard output and error.
function Scene:run(words, given)
  given = given or {}
  local input = "/dev/null"
  if given.input then
    self:write("input", given.input)
    input = self.directory .. "/input"
  end
  local line = ("( %s ) <%s >%s 2>%s"):format(line_of(self, words, given), quote(input),
    quote(self.directory .. "/out"), quote(self.directory .. "/err"))
  local _, how, code = os.execute(line)
  return code_of(how, code), self:read("out"), self:read("err")
end

--- Runs it and fails unless it ends with `expected` (default: 0). Returns what it wrote.
function Scene:must(words, given, expected)
  local code, out, err = self:run(words, given)
  if code ~= (expected or 0) then
    error(("pipeline %s: exit code %s, not %d\n%s%s"):format(table.concat(words, " "), tostring(code), expected or 0,
      out, err), 2)
  end
  return out, err
end

--- Runs it with --json and returns the value.
function Scene:json(words, given, expected)
  local list = table.move(words, 1, #words, 2, { "--json" })
  return (assert(require("pipeline.http.json_reader").read((self:must(list, given, expected)))))
end

--- Runs it in a terminal.
-- @tparam table words its arguments.
-- @tparam[opt] table given columns (80), lines (24), env, send (list of { text to wait for, keys to type }).
-- @return its exit code, and what was written to the terminal, with "\n" at the ends of lines.
function Scene:terminal(words, given)
  given = given or {}
  local before = {
    "python3", quote(os.getenv("PWD") .. "/spec/command/terminal.py"), given.columns or 80, given.lines or 24,
  }
  for _, pair in ipairs(given.send or {}) do
    before[#before + 1] = ("--send %s %s"):format(quote(pair[1]), quote(pair[2]))
  end
  before[#before + 1] = "--"
  local line = line_of(self, words, { env = given.env, before = table.concat(before, " "), no_db = given.no_db })
  local _, how, code = os.execute(("( %s ) </dev/null >%s"):format(line, quote(self.directory .. "/screen")))
  return code_of(how, code), (self:read("screen"):gsub("\r\n", "\n"))
end

--- Runs several commands one after the other in one terminal.
-- @tparam table list of their arguments.
-- @return what each wrote, in a list; fails if one of them does.
function Scene:screens(list, given)
  local lines = {}
  for i, words in ipairs(list) do
    local quoted = {}
    for k, word in ipairs(words) do quoted[k] = quote(word) end
    lines[i] = ('"$PIPELINE" %s || echo "exit code $?"; echo "<%d>"'):format(table.concat(quoted, " "), i)
  end
  self:write("all.sh", table.concat(lines, "\n"))
  local command, env = self.command, { PIPELINE = self.command }
  for name, value in pairs(given.env or {}) do env[name] = value end
  self.command = "sh"
  local _, screen = self:terminal({ "all.sh" }, { columns = given.columns, lines = given.lines, env = env })
  self.command = command
  local screens, at = {}, 1
  for i in ipairs(list) do
    local first, last = screen:find(("<%d>\n"):format(i), at, true)
    assert(first, screen)
    screens[i], at = screen:sub(at, first - 1), last + 1
    assert(not screens[i]:find("exit code %d+\n$"), screens[i])
  end
  return screens
end

--- Starts it in the background.
-- @return a process: { pid =, said() -> what it wrote so far, saw(text) waits until it has written that }.
function Scene:spawn(words, given)
  self.logs = self.logs + 1
  local name = "log" .. self.logs
  self:write(name, "")
  self:write(name .. ".sh", "exec " .. line_of(self, words, given or {}):gsub("^cd [^&]+&& ", ""))
  local shell = ("-C %s sh %s"):format(quote(self.directory), name .. ".sh")
  local pid = self.group:shell(self.directory .. "/" .. name, shell)
  local process = { pid = pid }
  function process.said() return self:read(name) end
  function process.saw(text)
    local found = processes.eventually(SECONDS, function() return self:read(name):find(text, 1, true) end)
    if not found then error(("'%s' was not written, but:\n%s"):format(text, self:read(name)), 2) end
  end
  return process
end

--- Starts a worker of demo.lua and waits until it works.
function Scene:worker(...)
  local process = self:spawn { "worker", "demo.lua", ... }
  process.saw("working on")
  return process
end

--- Ends a process by a signal; returns its exit code.
function Scene:stop(process, signal)
  self.group:signal(process.pid, signal or "TERM")
  return self.group:wait_for(process.pid, SECONDS)
end

function Scene:close()
  self.group:close()
  os.execute("rm -rf " .. quote(self.directory))
end

support.eventually, support.SECONDS = processes.eventually, SECONDS

return support
