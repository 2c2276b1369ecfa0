--- tasklet/time.lua: sleep, and limits of time.

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"
local options = require "pipeline.support.options"
local task = require "pipeline.tasklet.task"
local place = require "pipeline.support.place"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local time = {}

local FINISHING, RUNNING = future.FINISHING, future.RUNNING
local cancel_timer, current_loop, complete = eventloop.cancel_timer, eventloop.current, future.complete
local common, add_soon = eventloop.common, eventloop.add_soon

local function check_seconds(seconds, position, name)
  if type(seconds) == "number" and seconds == seconds then return end
  bad_argument(position, name, "number of seconds expected, got %s", seconds ~= seconds and "nan" or type(seconds))
end

-- A sleep is a future and its timer in one. One of no time at all is among those that are due soon.
local meta, Sleep = future.kind("Sleep")
local soon_meta, Soon, soon = task.soon_meta, task.Soon, task.soon

Soon.first = false

function Sleep.dropped(self, reason)
  cancel_timer(self)
  future.fail_dropped(self, reason)
end

--- Ends the sleep with an error: what it is for has gone.
function Sleep.give_up(self, problem)
  if self.state == FINISHING then return end
  cancel_timer(self)
  future.fail(self, problem)
end

function Sleep.fire(self)
  if self.state ~= FINISHING then complete(self) end
end

Soon.fire, Soon.dropped, Soon.give_up = Sleep.fire, Sleep.dropped, Sleep.give_up

local function sleep_soon()
  local loop, self = current_loop(), setmetatable({ [0] = 0, state = RUNNING, first = false }, soon_meta)
  if loop ~= common then self.loop = loop end
  return add_soon(loop, self)
end

--- Returns a future that is done, with nil, after so many seconds. In App Engine: sleep.
function time.sleep(seconds)
  if seconds == 0 then return soon() or sleep_soon() end
  check_seconds(seconds, 1, "sleep")
  if seconds < 0 then return soon() or sleep_soon() end
  local loop = current_loop()
  local self = setmetatable({ [0] = 0, loop = loop, state = RUNNING, first = false }, meta)
  return loop:add_timer(self, loop.clock.now() + seconds)
end

local function expire(timer)
  local result, of = timer.result, timer.of
  if result.state == FINISHING then return end
  future.remove_now(of, timer.entry)
  local text = ("%s: not done after %g s"):format(future.name(of), timer.seconds)
  future.fail(result, errors.TimeoutError(text, { where = false }))
  of:cancel("its time was up")
end

local function in_time(of, timer)
  cancel_timer(timer)
  if timer.result.state ~= FINISHING then future.hand_over(timer.result, of) end
end

-- Nobody waits for the result any more, so it does not wait for the future.
local function drop(result, reason)
  local timer = result.timer
  cancel_timer(timer)
  future.leave_now(timer.of, timer.entry)
  future.fail_dropped(result, reason)
end

--- Returns a future that is done as `of` is; or else fails with TimeoutError after so many seconds, and cancels `of`.
-- @param of a future, or a function, which is started as a tasklet.
-- @tparam number seconds 0 and less: it must be done already.
function time.with_timeout(of, seconds)
  if options.is_callable(of) then of = task.start_user(of, 2, { n = 0 }) end
  if not future.is(of) then
    bad_type(1, "with_timeout", "future or function", of)
  end
  check_seconds(seconds, 2, "with_timeout")
  local result = future.plain(2, "with_timeout")
  if of.state == FINISHING then
    future.hand_over(result, of)
    return result
  end
  local loop = result.loop
  local timer = { fire = expire, of = of, result = result, seconds = seconds }
  timer.entry = future.add_now(of, in_time, of, timer)
  result.timer, result.dropped, result.members = timer, drop, { of }
  loop:add_timer(timer, loop.clock.now() + (seconds > 0 and seconds or 0))
  return result
end

return time
