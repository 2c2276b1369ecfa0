-- cqueues.lua: an engine in a program that lives on cqueues: one of its coroutines waits for the engine's descriptor,
-- at most as long as the engine says, and takes a step.
--
--     eval "$(make -s env)"; lua5.4 examples/hosts/cqueues.lua

local cqueues = require "cqueues"
local pipeline = require "pipeline"

local Greet = pipeline.define("cqueues_example.Greet", {
  run = function(_, name) return "hello " .. name end,
})

local engine = pipeline.open(":memory:")
local done, ticks = false, 0

local function drive()
  local source = { pollfd = engine:fd(), events = "r" }
  while not done do
    engine:step()
    local seconds = engine:timeout()
    if not done then cqueues.poll(source, seconds >= 0 and seconds or nil) end
  end
end

local function other()
  while not done do
    ticks = ticks + 1
    cqueues.sleep(0.01)
  end
end

local loop = cqueues.new()
loop:wrap(drive)
loop:wrap(other)

local tasklets = require "pipeline.tasklets"
tasklets.tasklet(function()
  print(engine:wait(Greet("cqueues"):start()).default.value) -- suspends this tasklet; cqueues goes on
  tasklets.await(tasklets.sleep(0.05))
  print("the other coroutine went on: " .. tostring(ticks > 1))
  done = true
end)()

assert(loop:loop())
engine:close()
