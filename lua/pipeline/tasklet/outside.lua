--- tasklet/outside.lua: how a tasklet waits for something that no handle of the loop stands for: for whoever has its
-- token, while the loop does not take itself for done.
--
-- What a tasklet asks of an engine (start, fill, adding tasks, status) suspends it until the commit; others go on, and
-- what they ask meanwhile shares that commit. Where a tasklet cannot be suspended, inside table.sort for instance, or
-- when its loop does not run that engine, the call blocks the thread as it does outside of tasklets. The calls
-- themselves are in C (csrc/binding/tasklet/tasklet.c).

local errors = require "pipeline.support.errors"
local future = require "pipeline.tasklet.future"
local time = require "pipeline.tasklet.time"

local outside = {}

local Token = {}
local meta = { __name = "pipeline.Outside", __index = Token }

--- Ends the wait with `value`, not nil. Returns whether it was the first time.
function Token.wake(self, value)
  local on = self.future
  if on.state == future.FINISHING then return false end
  future.finish(on, value)
  return true
end

--- It is not waited for: gives back what was taken.
function Token.forget(self)
  if self.is_over then return end
  self.is_over = true
  self.loop.refs = self.loop.refs - 1
  self.over(self)
end

--- Waits until somebody wakes the token; returns the value, or nil after `timeout` seconds.
function Token.wait(self, timeout)
  local on = timeout and time.with_timeout(self.future, timeout) or self.future
  local _ <close> = self
  local problem = on:get_exception()
  if not problem then return (future.results(on)) end
  if not errors.is(problem, errors.TimeoutError) then future.raise(on.failure) end
end

meta.__close = Token.forget

--- Makes a token. `over(token)` is called when its wait is over, whatever way.
function outside.new(over, info)
  local on = future.plain(2, info)
  local self = setmetatable({ future = on, loop = on.loop, over = over, is_over = false }, meta)
  self.loop.refs = self.loop.refs + 1
  return self
end

return outside
