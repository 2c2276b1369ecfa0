--- tasklet/commit.lua: what a tasklet asks of an engine (start, fill, adding tasks, status) suspends it until the
-- commit; others go on, and what they ask meanwhile shares that commit. Where a tasklet cannot be suspended, inside
-- table.sort for instance, or when its loop does not run that engine, the call blocks the thread as it does outside of
-- tasklets.
--
-- The calls themselves are in C (csrc/binding/tasklet.c), which asks the three functions below.

local core = require "pipeline.core"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"
local task = require "pipeline.tasklet.task"

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
