-- copas.lua: an engine in a program that lives on copas. Copas waits for objects that have a descriptor; one that
-- stands for the engine lets a thread of copas wait for it.
--
--     eval "$(make -s env)"; lua5.4 examples/hosts/copas.lua

-- Debian has copas for an older Lua only; it runs on this one.
package.path = package.path .. ";/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua"
local copas = require "copas"
local pipeline = require "pipeline"

local Greet = pipeline.define("copas_example.Greet", {
  run = function(_, name) return "hello " .. name end,
})

local engine = pipeline.open(":memory:")
local done = false

-- What copas can wait for: it asks for data, is told "timeout", waits until the descriptor can be read, asks again.
local function source_of(fd)
  local source, asked = {}, false
  function source.getfd() return fd end
  function source.dirty() return false end
  function source.receive()
    asked = not asked
    if asked then return nil, "timeout" end
    return "ready"
  end
  function source.close() end
  return source
end

copas.addthread(function()
  local source = source_of(engine:fd())
  while not done do
    engine:step()
    if not done then copas.receive(source, "*l") end
  end
end)

local tasklets = require "pipeline.tasklets"
tasklets.tasklet(function()
  print(engine:wait(Greet("copas"):start()).default.value) -- suspends this tasklet; copas goes on
  done = true
end)()

-- Copas takes steps of its own; between two of them the engine's timers want to be looked at, too.
while not done do
  local seconds = engine:timeout()
  copas.step(seconds >= 0 and math.min(seconds, 1) or 1)
  engine:step()
end
engine:close()
