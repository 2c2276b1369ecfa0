-- luv.lua: an engine in a program that lives on luv. Where luv is loaded the engine uses its loop. What runs it is
-- the engine: engine:run() here, or drain, or wait; luv's callbacks are called meanwhile. uv.run() alone runs what is
-- luv's, and tasklets, but executes no tasks.
--
--     eval "$(make -s env)"; lua5.4 examples/hosts/luv.lua

local uv = require "luv"
local pipeline = require "pipeline"

local Greet = pipeline.define("luv_example.Greet", {
  run = function(_, name) return "hello " .. name end,
})

local engine = pipeline.open(":memory:")

local ticks = 0
local ticker = uv.new_timer()
ticker:start(10, 10, function() ticks = ticks + 1 end)

local tasklets = require "pipeline.tasklets"
tasklets.tasklet(function()
  print(engine:wait(Greet("luv"):start()).default.value) -- suspends this tasklet; the loop goes on
  tasklets.await(tasklets.sleep(0.05))
  print("luv's timer went on: " .. tostring(ticks > 0))
  ticker:close()
  engine:stop()
end)()

engine:run()
engine:close()
