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

-- When it ran, and where.
define("Where", function() return { time = pipeline.default():now(), pid = classes.pid } end)

-- Takes `seconds`, without blocking the process, while the file `hold` exists; then says where it ran.
define("Hold", function(_, hold, seconds)
  local file <close> = io.open(hold)
  if file then pipeline.default():sleep(seconds) end
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
classes.KillLast = pipeline.define("spec.multi.classes.KillLast", { run = function() return 1 end, finalized = kill })
require("pipeline.deferred").register("spec.multi.kill", kill)

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

return classes
