-- killer.lua - loaded before a program (lua -l spec.mail.killer): kills it with SIGKILL at the task whose number is
-- KILL_AT, counted from its start: before it is executed, or, with KILL_WHEN=after, when it has been and its end is not
-- committed yet.

local executor = require "pipeline.workflow.execute"

local at, when = tonumber(os.getenv("KILL_AT") or ""), os.getenv("KILL_WHEN")
local execute, count = executor.task, 0

local function die()
  os.execute("kill -9 $PPID")
end

function executor.task(engine, claim)
  count = count + 1
  local mine = count == at
  if mine and when ~= "after" then die() end
  execute(engine, claim)
  if mine then die() end
end
