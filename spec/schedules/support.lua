--- support.lua: what specs of schedules share: an engine in virtual time, and a note of every run.

local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local helper = require "spec.support.helper"

local support = { START = 1800000000 } -- 2027-01-15T08:00:00Z, a Friday

support.runs = {}

-- Notes what it was given and told; fails, or takes its time, when it is told so.
support.Noted = pipeline.define("schedules.Noted", {
  max_attempts = 1,
  run = function(self, what)
    table.insert(support.runs, { what = what, told = self.schedule, id = self.id, time = pipeline.default():now() })
    if what == "fail" then error("as told", 0) end
    if type(what) == "number" then pipeline.default():sleep(what) end
  end,
})

--- Waits until somebody completes it.
support.Open = pipeline.define("schedules.Open", {
  async = true, run = function(self, what) table.insert(support.runs, { what = what, told = self.schedule,
    id = self.id }) end,
  try_cancel = function() return true end,
})

function support.open(options)
  support.runs = {}
  options = options or {}
  options.virtual_start = options.virtual_start or support.START
  return helper.open(options)
end

--- The nominal times of the runs so far, as seconds since the start.
function support.times()
  local list = {}
  for i, run in ipairs(support.runs) do list[i] = math.tointeger(run.told.nominal_time - support.START) end
  return list
end

function support.create(name, spec)
  if spec.start == nil and spec.task == nil and spec.call == nil then spec.start = support.Noted() end
  return schedules.create(name, spec)
end

return support
