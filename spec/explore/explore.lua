--- explore.lua: the whole exploration: `make explore` (BODIES=50, SEED=1: the number of the first).
--
-- Every body is killed at every event, and once more at every fifth event of the life behind that; every second by
-- three processes; and every third is aborted at every fifth event, and killed before or after that.

local aborts = require "spec.explore.aborts"
local crowd = require "spec.explore.crowd"
local lives = require "spec.explore.lives"
local processes = require "spec.crash.processes"

local first, count = tonumber(arg[1]) or 1, tonumber(arg[2]) or 50
local directory = processes.directory()
local group = processes.group(directory)
local total, failed = 0, 0

local function try(seed, what, fn, ...)
  local began = processes.now()
  local ok, result, body = pcall(fn, ...)
  if not ok then
    failed = failed + 1
    print(("body %d, %s: FAILED\n%s"):format(seed, what, result))
  else
    total = total + (result or 0)
    print(("body %d, %s: %s (%.1f s)%s"):format(seed, what, result and result .. " lives" or "done",
      processes.now() - began, body and ": " .. body.words or ""))
  end
  io.stdout:flush()
end

math.randomseed(first)
for seed = first, first + count - 1 do
  try(seed, "two crashes deep", lives.explore, directory, seed, 2, 5)
  if seed % 3 == 0 then try(seed, "aborted", aborts.explore, directory, seed, 5, 6) end
  if seed % 2 == 0 then try(seed, "three processes", crowd.explore, group, directory, seed, 3, math.random) end
end
group:close()
os.execute(("rm -rf '%s'"):format(directory))
print(("%d bodies from %d on, %d lives: %s"):format(count, first, total, failed == 0 and "all as without a crash" or
  failed .. " FAILED"))
os.exit(failed == 0)
