--- durable/body/guards.lua: functions of Lua that give another result in another life, while a body of a test runs.
--
-- In tests, and with `guards` of open, they raise in the body of a durable function. They are put in their places
-- around each resume of a body, and taken away before anything else runs.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"

local guards = {}

local remedies = {
  { os, "time", "os.time", "self:now()" }, { os, "clock", "os.clock", "self:now()" },
  { os, "getenv", "os.getenv", "an argument of the run" }, { io, "open", "io.open", "the function of a step" },
  { math, "random", "math.random", "self:random()" },
}

local enter_body, leave_body = current.enter_body, current.leave_body
local is_set = false

for _, each in ipairs(remedies) do
  local of, name, full, instead = table.unpack(each)
  each.original = of[name]
  each.guard = function()
    errors.raise(errors.NotInStepError, "%s is not possible in the body of a durable function, which is run again from "
      .. "its beginning in every life: use %s", full, instead)
  end
end

-- Puts them in place.
local function set()
  if is_set then return end
  is_set = true
  for _, each in ipairs(remedies) do
    each.original = each[1][each[2]]
    each[1][each[2]] = each.guard
  end
end

-- Takes them away.
local function lift()
  if not is_set then return end
  is_set = false
  for _, each in ipairs(remedies) do each[1][each[2]] = each.original end
end

--- As current.enter_body, and they are in place.
function guards.enter(co, run)
  enter_body(co, run)
  set()
end

--- As current.leave_body, and they are not in place any more.
function guards.leave(co)
  lift()
  leave_body(co)
end

return guards
