--- slices.lua: long work in Lua in slices, so that it does not hold the loop.
--
-- The collector answers a large allocation (a table of thousands of entries that grows, a text of megabytes) with as
-- much work at once, which would hold the loop longer than the slice itself. So it rests during a slice and goes on,
-- without debts, while others have the loop. It is never left at rest: neither over a wait, nor after an error.

local core = require "pipeline.core"
local await = require "pipeline.support.await"
local current = require "pipeline.current"

local slices = {
  busy = 0.0, -- seconds that this process has spent in such work
}

local SECONDS = 0.002

-- A transaction of the user keeps the store to itself: it is not made longer.
local function can_wait(engine)
  local tx = current.transaction()
  if tx and tx:_is_open() then return false end
  return await.way(engine) ~= await.BLOCK
end

local function begin(self)
  self.rests = collectgarbage("isrunning")
  if self.rests then collectgarbage("stop") end
  self.since = core.now()
end

local function finish(self)
  if self.engine then slices.busy = slices.busy + math.max(core.now() - self.since, 0.0) end
  if self.rests then collectgarbage("restart") end
  self.rests = false
end

local function pause(self)
  if not self.engine or core.now() - self.since < SECONDS then return end
  finish(self)
  self.engine:sleep(0)
  begin(self)
end

local meta = { __name = "pipeline.Slices", __call = pause, __close = finish }

--- An object to be called between small pieces of work that do not wait, and to be closed behind them: in a run, a
-- handler or a tasklet it lets the loop go on when some milliseconds have passed; elsewhere nothing can wait, and it
-- does nothing.
function slices.new(engine)
  local self = setmetatable({ engine = can_wait(engine) and engine or nil, rests = false, since = 0 }, meta)
  if self.engine then begin(self) end
  return self
end

return slices
