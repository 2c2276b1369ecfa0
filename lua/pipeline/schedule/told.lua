--- told.lua: what a root is told of the fire that has started it: for as long as it is there, also when the fire is
-- over and forgotten, or the schedule is deleted.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local times = require "pipeline.schedule.times"

local told = {}

-- Of a root that was started by a version that did not note it.
local function local_time(engine, fire)
  local row = errors.check(current.store(engine, true):schedule_get { name = fire.name })[1]
  return row and times.of_row(row):local_time(fire.nominal)
end

--- The table that is `schedule` of the pipeline; nil: no schedule has started it.
function told.of_root(engine, record)
  local fire = errors.check(current.store(engine, true):fires_get { target = record.id })[1]
  if not fire then return nil end -- made by a version that did not note it
  return {
    name = fire.name, nominal_time = fire.nominal, fire_time = fire.at, previous_nominal_time = fire.previous,
    reason = fire.reason, local_time = fire.local_time or local_time(engine, fire),
  }
end

return told
