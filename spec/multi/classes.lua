--- classes.lua: the pipelines of the specs of several processes; they write into the log of the process they run in.

local pipeline = require "pipeline"

local classes = { log = io.stderr, pid = 0 }

function classes.now()
  return ("%.6f"):format(pipeline.default():now())
end

--- Writes `verb|pid|...` to the log, in one piece.
function classes.note(verb, ...)
  local words = table.pack(verb, classes.pid, ...)
  for i = 1, words.n do words[i] = tostring(words[i]) end
  classes.log:write(table.concat(words, "|"), "\n")
  classes.log:flush()
end

local function define(name, run)
  classes[name] = pipeline.define("spec.multi.classes." .. name, {
    backoff_seconds = 0.01, backoff_factor = 1,
    run = function(self, ...)
      classes.note("begin", self.id, self.current_attempt, classes.now())
      local result = run(self, ...)
      classes.note("end", self.id)
      return result
    end,
  })
end

define("Give", function(_, value) return value end)

define("Pair", function(self, value)
  self:spawn(classes.Give(value))
  return self:spawn(classes.Give(2 * value))
end)

define("Count", function(_, ...) return select("#", ...) end)

-- So many children, and how many they were.
define("Wide", function(self, n)
  local list = {}
  for i = 1, n do list[i] = self:spawn(classes.Give(i)) end
  return self:spawn(classes.Count(table.unpack(list)))
end)

-- When it ran, and where.
define("Where", function() return { time = pipeline.default():now(), pid = classes.pid } end)

-- Takes `seconds`, without blocking the process, while the file `hold` exists; then says where it ran.
define("Hold", function(self, hold, seconds)
  local file <close> = io.open(hold)
  if file then
    classes.note("held", self.id, classes.now())
    pipeline.default():sleep(seconds)
  end
  return classes.pid
end)

-- Waits, and says when it is ended meanwhile.
define("Long", function(self, seconds)
  local _ <close> = setmetatable({}, { __close = function() classes.note("closed", self.id, classes.now()) end })
  pipeline.default():sleep(seconds)
end)

-- Blocks the whole process.
define("Busy", function(_, seconds)
  local engine = pipeline.default()
  local until_time = engine:now() + seconds
  while engine:now() < until_time do math.random() end
  return classes.pid
end)

-- Kills the process it runs in.
local function kill()
  os.execute(("kill -KILL %d"):format(classes.pid))
  while true do end
end

define("Kill", kill)
classes.KillGuarded = pipeline.define("spec.multi.classes.KillGuarded", { run = function(self)
  return self:spawn(classes.Kill():with_params { max_attempts = 1, max_losses = 2 }, { fallback = "instead" })
end })
classes.KillLast = pipeline.define("spec.multi.classes.KillLast", { run = function() return 1 end, finalized = kill })
classes.KillCallback = pipeline.define("spec.multi.classes.KillCallback", {
  async = true, run = function() end, callback = kill,
})
classes.KillAborted = pipeline.define("spec.multi.classes.KillAborted", {
  run = function(self) self:spawn(require("pipeline.common").Delay { seconds = 1e6 }) end, finalized = kill,
})
require("pipeline.deferred").register("spec.multi.kill", kill)

require("pipeline.deferred").register("spec.multi.nothing", function() end)

--- For the route that kills who serves it.
classes.kill = kill

define("Slow", function(_, seconds)
  pipeline.default():sleep(seconds)
  return "slow"
end)

-- Kills its process and fails by turns; `mark` is a file that tells which is due.
define("DieThenFail", function(_, mark)
  if os.remove(mark) then error("fails") end
  assert(io.open(mark, "w")):close()
  kill()
end)

local guard_meta = { __close = function() classes.note("closed_variable") end }

-- Computes without end. A build that looks for races delivers signals only when memory is asked for, or the like.
local is_tsan = (os.getenv("PL_BUILD") or ""):find("tsan", 1, true)
local function compute()
  local n = 0
  while true do n = is_tsan and { n and 1 } or n + 1 end
end

-- Never comes back.
define("Forever", function()
  local guard <close> = setmetatable({}, guard_meta) -- luacheck: ignore
  compute()
end)

-- The same, and catches every error.
define("Stubborn", function()
  while true do pcall(compute) end
end)

-- The same, in code that the run has made a coroutine or a tasklet for.
define("ForeverInCoroutine", function()
  local guard <close> = setmetatable({}, guard_meta) -- luacheck: ignore
  coroutine.wrap(compute)()
end)

define("ForeverInCoroutines", function()
  local guard <close> = setmetatable({}, guard_meta) -- luacheck: ignore
  local outer = coroutine.create(function()
    for _ in coroutine.wrap(function() coroutine.yield(1) compute() end) do math.random() end
  end)
  assert(coroutine.resume(outer))
end)

define("StubbornInCoroutine", function()
  while true do coroutine.resume(coroutine.create(function() while true do pcall(compute) end end)) end
end)

local tasklets = require "pipeline.tasklets"

define("ForeverInTasklet", function()
  local guard <close> = setmetatable({}, guard_meta) -- luacheck: ignore
  tasklets.await(tasklets.tasklet(compute)())
end)

define("ForeverInTasklets", function()
  local guard <close> = setmetatable({}, guard_meta) -- luacheck: ignore
  local inner = tasklets.tasklet(function()
    tasklets.await(tasklets.sleep(0.01))
    coroutine.wrap(compute)()
  end)
  tasklets.await(tasklets.tasklet(function() tasklets.await(inner()) end)())
end)

define("StubbornInTasklet", function()
  tasklets.await(tasklets.tasklet(function() while true do pcall(compute) end end)())
end)

define("Hooked", function() return debug.gethook() and "a hook" or "no hook" end)

-- Has a debug hook of its own, and computes for half a second before it waits.
define("Debugged", function()
  local lines, engine = 0, pipeline.default()
  debug.sethook(function() lines = lines + 1 end, "l")
  local till = engine._core:steady() + 0.5
  while engine._core:steady() < till do
    local _ = 1
  end
  debug.sethook()
  classes.note("hooked", lines)
  engine:sleep(10)
end)

return classes
