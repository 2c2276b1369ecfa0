--- delay.lua: waiting for time. See common.lua.
--
-- The run only leaves a callback task with its due time in the store, in the commit that ends the run: however often a
-- process dies, there is one timer, its time is that of the first run, and nothing of it is in memory meanwhile.

local class = require "pipeline.workflow.class"
local future = require "pipeline.workflow.future"
local misuse = require("pipeline.support.place").misuse
require "pipeline.workflow.instance"

local function check_seconds(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds == math.huge or seconds == -math.huge then
    local got = type(seconds) == "number" and tostring(seconds) or type(seconds)
    error("Delay: seconds: finite number expected, got " .. got, 0)
  end
end

--- Delay{ seconds = n }: gives n as it is, n seconds after it has begun to run; in test mode at once. A time that is
-- not above 0 is over at once. In App Engine: common.Delay.
local Delay = class.define("pipeline.common.Delay", {
  async = true,
  run = function(self, given)
    check_seconds(given.seconds)
    self:get_callback_task {
      countdown = given.seconds, params = { attempt = self.current_attempt },
    }:add(nil, { transactional = true })
  end,
  run_test = function(self, given)
    check_seconds(given.seconds)
    self:complete(given.seconds)
  end,
  callback = function(self, params)
    if tonumber(params.attempt) ~= self.current_attempt then return end -- the timer of before a retry()
    self:complete(self.args[1].seconds)
  end,
  try_cancel = function() return true end,
})

class.prepare_arguments(Delay, function(given, ...)
  if type(given) ~= "table" or getmetatable(given) ~= nil or select("#", ...) > 0 or given.seconds == nil
    or next(given, next(given)) ~= nil then
    misuse("bad arguments to 'Delay' ({ seconds = n } expected, and nothing else)")
  end
  local seconds = given.seconds
  if not (future.is_future(seconds) or future.is_slot(seconds)) then
    local ok, problem = pcall(check_seconds, seconds)
    if not ok then misuse(("bad arguments to 'Delay' (%s)"):format(problem:gsub("^Delay: ", ""))) end
  end
  return given
end)

return { Delay = Delay }
