--- told.lua: what a root is told of the fire that has started it.

local context = require "pipeline.context"
local errors = require "pipeline.support.errors"
local times = require "pipeline.schedule.times"

local told = {}

--- The table that is `schedule` of the pipeline; nil: no schedule has started it.
function told.of_root(engine, record)
  local store = context.store(engine, true)
  local fire = errors.check(store:fires_get { target = record.id })[1]
  if not fire then return nil end -- the schedule was deleted
  local row = errors.check(store:schedule_get { name = fire.name })[1]
  return {
    name = fire.name, nominal_time = fire.nominal, fire_time = fire.at, previous_nominal_time = fire.previous,
    reason = fire.reason, local_time = row and times.of_row(row):local_time(fire.nominal),
  }
end

return told
