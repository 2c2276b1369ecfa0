-- dying.lua - runs a program that kills itself with SIGKILL at a chosen event:
--
--   lua dying.lua AT EVENTS PROGRAM ARGUMENTS...
--
-- Events are the beginning and the end of each commit of a durable function, and of each function of a step. The
-- process dies at the one numbered AT (0: at none). The file EVENTS gets a byte for each, so a run without a death
-- tells how many there are.

local processes = require "spec.crash.processes"
local await = require "pipeline.support.await"
local bodies = require("pipeline.durable.body.methods").methods
local pipeline = require "pipeline"

local at, path, program = tonumber(arg[1]), arg[2], arg[3]
local VERBS <const> = { "journal", "flow_suspend", "outcome", "signal", "give_back", "finalized" }

local file = assert(io.open(path, "a"))
file:setvbuf("no")
local count = 0

local function event()
  count = count + 1
  file:write(".")
  if count ~= at then return end
  os.execute("kill -9 " .. processes.own_pid())
  while true do end -- until the signal comes
end

local function behind(...)
  event()
  return ...
end

for _, name in ipairs { "step", "start_step" } do
  local method = bodies[name]
  bodies[name] = function(self, given, fn, ...)
    return method(self, given, function(...)
      event()
      return behind(await.results(fn(...)))
    end, ...)
  end
end

local open = pipeline.open
local is_watched = false

function pipeline.open(...)
  local engine = open(...)
  if is_watched then return engine end
  is_watched = true
  local methods = getmetatable(engine._core).__index
  for _, verb in ipairs(VERBS) do
    local call = methods[verb]
    methods[verb] = function(...)
      event()
      return behind(call(...))
    end
  end
  return engine
end

table.move(arg, 4, #arg + 3, 1)
rawset(arg, 0, program)
dofile(program)
