--- tasklet/outside.lua: how a tasklet waits for something that no handle of the loop stands for: for whoever has its
-- token, while the loop does not take itself for done; and for an engine.
--
-- What a tasklet asks of an engine (start, fill, adding tasks, status) suspends it until the commit; others go on, and
-- what they ask meanwhile shares that commit. Where a tasklet cannot be suspended, inside table.sort for instance, or
-- when its loop does not run that engine, the call blocks the thread as it does outside of tasklets. The calls
-- themselves are in C (csrc/binding/tasklet/tasklet.c), which asks three functions below.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"
local task = require "pipeline.tasklet.task"
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

-- ---- calls of an engine -------------------------------------------------------------------------------------------

local FINISHING = future.FINISHING
local waits = setmetatable({}, { __mode = "k" }) -- engine's core -> its futures that are not done

local function done(on)
  waits[on.engine][on] = nil
  if on.state ~= FINISHING then future.finish(on) end
end

-- A future for a call of the engine, if the running code is a tasklet that may wait for it.
local function begin(engine)
  if not task.is_running() then return nil end
  local loop = eventloop.current()
  if not eventloop.has_engine(loop, engine) then return nil end
  local on = future.plain(1, "commit of an engine")
  on.engine, on.loop = engine, loop
  local list = waits[engine]
  if not list then
    list = setmetatable({}, { __mode = "k" })
    waits[engine] = list
  end
  list[on] = true
  return on
end

core.set_tasklets(begin, future.wait, done)

-- The engine is closed: nothing comes back any more.
eventloop.on_closed(function(engine)
  local list = waits[engine]
  waits[engine] = nil
  for on in pairs(list or {}) do
    if on.state ~= FINISHING then future.finish(on) end
  end
end)

return outside
