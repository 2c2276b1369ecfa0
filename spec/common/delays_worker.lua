-- delays_worker.lua FILE LOG COUNT SECONDS - COUNT delays, the last of which is over after SECONDS; writes to LOG when
-- each is over: its number, how late that is, and the time. Started again it goes on; ends when all are over.

local pipeline = require "pipeline"

local path, log_path, count, seconds = arg[1], arg[2], math.tointeger(tonumber(arg[3])), tonumber(arg[4])
local log = assert(io.open(log_path, "a"))
log:setvbuf("line")

local Note = pipeline.define("delays.Note", {
  run = function(_, number, due)
    log:write(("%d %.6f\n"):format(number, pipeline.default():now() - due))
  end,
})

local Timed = pipeline.define("delays.Timed", {
  run = function(self, number, after)
    local over = self:spawn(pipeline.common.Delay { seconds = after })
    local due = pipeline.default():now() + after
    self:after({ over }, function() self:spawn(Note(number, due)) end)
  end,
})

local engine <close> = pipeline.open(path)
local All = pipeline.define("delays.All", {
  run = function(self)
    for i = 1, count do self:spawn(Timed(i, seconds * i / count)) end
  end,
})
if not pipeline.from_id("all") then All():start { idempotence_key = "all" } end
engine:wait("all", { timeout = 60 })
