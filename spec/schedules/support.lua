--- support.lua: what specs of schedules share: an engine in virtual time, and a note of every run.

local core = require "pipeline.core"
local current = require "pipeline.current"
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

--- Calls fn while the store answers that op as `answer` does; returns how often it was asked.
function support.with_store(op, answer, fn)
  local real, asked = current.store, 0
  current.store = function(...) -- luacheck: ignore
    local store = real(...)
    return setmetatable({ [op] = function(_, ...)
      asked = asked + 1
      return answer(store, ...)
    end }, { __index = function(_, name)
      return function(_, ...) return store[name](store, ...) end
    end })
  end
  local ok, problem = pcall(fn)
  current.store = real -- luacheck: ignore
  if not ok then error(problem, 0) end
  return asked
end

--- Makes the next time of a schedule one that was worked out by other rules of its zone.
function support.other_rules(engine, name, next_time)
  local row = engine._core:schedule_get { name = name }[1]
  local fields = core.decode(row.times)
  fields.digest = fields.digest + 1
  row.times, row.next_nominal, row.next_at = core.encode_value(fields), next_time, next_time
  assert(engine._core:schedule_set { row } == true)
end

return support
