--- passing.lua: virtual time passes the times at which schedules fire.

local errors = require "pipeline.support.errors"
local times = require "pipeline.schedule.times"
local waiting = require "pipeline.workflow.waiting"
local bad_argument = require("pipeline.support.place").bad_argument

local passing = {}

--- How long it is until a time such as "2027-03-28T01:59:00[Europe/Berlin]".
function passing.seconds_until(engine, time)
  local when, zone = time:match("^(.-)%[(.-)%]$")
  local target, now = times.instant(when or time, zone or "UTC"), engine._core:now()
  if target < now then bad_argument(1, "advance", "%s is past", time) end
  return target - now
end

-- The schedule that fires next, up to a time; nil: none does.
local function next_fire(engine, target)
  return errors.check(engine._core:schedule_get { due = target, limit = 1 })[1]
end

-- Works until that is done, or so long.
local function work(engine, mode, seconds)
  local ok, code, message = engine._core:run(mode, seconds)
  engine:_end_run()
  if not ok and code ~= "ETIMEDOUT" then errors.raise_core(code, message, "advance") end
  waiting.raise_again(engine)
end

--- Passes the times up to `target` at which schedules fire, one after the other: what is due before each is done
-- before it, and what it starts is done as far as it can be without time.
function passing.pass(engine, target)
  local row = next_fire(engine, target)
  while row and not engine._closed do
    local wait = row.next_at - engine._core:now()
    if wait > 0 then work(engine, "all", wait) end
    engine._core:advance(math.max(0, row.next_at - engine._core:now()))
    work(engine, "settle")
    local before = row
    row = next_fire(engine, target)
    if row and row.id == before.id and row.revision == before.revision then break end -- the store fails: it stays due
  end
end

return passing
