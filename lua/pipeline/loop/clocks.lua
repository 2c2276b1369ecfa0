--- clocks.lua: the clocks of event loops, and the uv loop of this Lua state.
--
-- A clock is an object with now() -> seconds. That of real time has time(), too, the time of day, which may be set,
-- while nobody sets the other one. A clock with sleep(seconds) is made up: a loop that has it never waits for anything
-- outside but requests under way, and sleeps by calling that.

local core = require "pipeline.core"
local misuse = require("pipeline.support.place").misuse

local clocks = {}

--- Real time.
clocks.real = { now = core.now, time = core.time }

--- A clock that begins at `time` and stands still but when the loop sleeps.
function clocks.virtual(time)
  return {
    now = function() return time end,
    sleep = function(seconds) time = time + seconds end,
  }
end

-- ---- the uv loop -----------------------------------------------------------------------------------------------

local uv -- made when it is first needed

-- When luv is loaded later, it is given the loop that exists.
local function load_luv()
  package.preload.luv = nil
  for i = 2, #package.searchers do
    local loader, path = package.searchers[i]("luv")
    if type(loader) == "function" then
      if type(path) == "string" then uv:lend(path) end
      return loader("luv", path), path
    end
  end
  misuse("module 'luv' not found")
end

--- The uv loop of this Lua state: that of luv, if there is luv.
function clocks.uv()
  if not uv or not uv:fd() then -- the latter after a fork
    uv = core.loop()
    if not package.loaded.luv and not package.preload.luv then package.preload.luv = load_luv end
  end
  return uv
end

--- The same, nil if nobody has needed it.
function clocks.uv_or_nil()
  return uv and clocks.uv()
end

--- The sooner of two delays in seconds; the first may be nil, the second negative: none.
function clocks.sooner(wait, timeout)
  if timeout >= 0 and (not wait or timeout < wait) then return timeout end
  return wait
end

return clocks
