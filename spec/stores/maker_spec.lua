-- Tasklets that were made while one engine only was open work for the engine of their maker when others are open.
--
-- Each program runs in a process of its own: whether there were ever several engines is a fact of the process.

local helper = require "spec.support.helper"

local LUA = os.getenv("LUA") or "lua5.4"

local PRELUDE = [[
local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"
local await, tasklet = tasklets.await, tasklets.tasklet
local Give = pipeline.define("spec.maker.Give", { run = function(_, value) return value end })
local first, second, VIRTUAL = arg[1], arg[2], arg[3] == "virtual"
local A = pipeline.open(first, { virtual_time = VIRTUAL })
local gate = tasklets.Future()
local one
local function work()
  await(gate)
  return Give(1):start()
end
local function in_run(fn)
  pipeline.define("spec.maker.Maker", { run = function() fn() end })():start()
  A:drain()
end
local B
local function open_second() B = pipeline.open(second, { virtual_time = VIRTUAL }) end
local function report()
  gate:set_result(true)
  local ok, result = pcall(one.get_result, one)
  print(ok and (result._engine == A and "A" or result._engine == B and "B") or result.code or result)
end
]]

-- What is done between, and where the pipeline then is, or the code of the error.
local programs = {
  { "of a run goes on working for that engine", "A", "in_run(function() one = tasklet(work)() end) open_second()" },
  { "of a run does not pass on to another engine when its own is closed", "ECLOSED",
    "in_run(function() one = tasklet(work)() end) open_second() A:close()" },
  { "of a run does not pass on to an engine that was opened after its own was closed", "ECLOSED",
    "in_run(function() one = tasklet(work)() end) A:close() open_second()" },
  { "of a tasklet of a run does not pass on to another engine", "ECLOSED",
    "in_run(function() await(tasklet(function() one = tasklet(work)() end)()) end) open_second() A:close()" },
  { "that makes another one when there are two engines hands its engine on", "ECLOSED", [[
    in_run(function()
      one = tasklet(function() await(gate) return await(tasklet(work)()) end)()
    end)
    open_second()
    A:close()]] },
  { "of a run, with two arguments, does not pass on to another engine", "ECLOSED",
    "in_run(function() one = tasklet(function(_, _) return work() end)(1, 2) end) open_second() A:close()" },
  { "of no engine works for the default one", "B", "one = tasklet(work)() A:drain() open_second() A:close()" },
}

for _, kind in ipairs { "virtual", "real" } do
  describe("a tasklet made before the second engine was opened (" .. kind .. " time)", function()
    teardown(helper.clean)

    for _, program in ipairs(programs) do
      local title, expected, body = table.unpack(program)
      it(title, function()
        local path = helper.path()
        local file = assert(io.open(path .. ".lua", "w"))
        file:write(PRELUDE, body, "\nreport()\n")
        file:close()
        local pipe = assert(io.popen(("timeout 30 %s %s.lua %s.a %s.b %s 2>&1"):format(LUA, path, path, path, kind)))
        local said = pipe:read("a")
        pipe:close()
        assert.equal(expected .. "\n", said)
      end)
    end
  end)
end
