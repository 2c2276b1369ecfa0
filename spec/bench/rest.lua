--- rest.lua: what a program takes that has a file open and nothing to do: its memory, and how often it wakes up.
--
-- It is a program of its own, for bench.lua has code of hundreds of KiB that would count as well. One that makes its
-- file keeps what it needed for that.
--
--   lua5.4 spec/bench/rest.lua PATH DURABILITY made|found

local SECONDS = 10

local engine <close> = require("pipeline").open(arg[1], { durability = arg[2] })
engine:step()
collectgarbage()
collectgarbage()
print(("rss_%s_kib"):format(arg[3]), require("spec.support.memory").resident())
if arg[3] == "made" then return end
local before = engine._core:facts()
engine._core:run("forever", SECONDS)
local after = engine._core:facts()
print("wakeups", (after.loop_wakeups - before.loop_wakeups + after.store_wakeups - before.store_wakeups) / SECONDS)
