--- crowd.lua: bodies under real processes that kill themselves: three at a time on one file, each at an event of its
-- own.

local bodies = require "spec.explore.bodies"
local lives = require "spec.explore.lives"
local pace = require "spec.support.pace"

local crowd = {}

local SECONDS <const> = 60

local function read(path)
  local found = { effects = {} }
  for line in io.lines(path) do
    local verb, rest = line:match("^(%w+)|(.*)$")
    if verb == "effect" then found.effects[#found.effects + 1] = rest elseif verb == "done" then found.output = rest end
  end
  return found
end

-- Processes that crash at these events (0: never), at once. Returns the ledger.
local function run(group, directory, seed, crashes)
  local path = directory .. "/crowd.db"
  for _, suffix in ipairs { "", "-wal", "-shm", "-workers", ".ledger" } do os.remove(path .. suffix) end
  local pids = {}
  for i, at in ipairs(crashes) do
    pids[i] = group:spawn(directory .. "/output", "spec/explore/worker.lua", path, path .. ".ledger", seed, at,
      SECONDS * pace)
  end
  for _, pid in ipairs(pids) do assert(group:wait_for(pid, 2 * SECONDS), "a process does not end") end
  return read(path .. ".ledger")
end

--- Runs the body of a number once by one process that lives, then `times` by three of which two die. `random`:
-- function(n) that gives 1 to n. Raises at the first difference.
function crowd.explore(group, directory, seed, times, random)
  local words = bodies.make(seed).words
  local clean = run(group, directory, seed, { 0 })
  for _ = 1, times do
    local crashes = { random(12), random(24), 0 }
    local found = run(group, directory, seed, crashes)
    local what = found.output ~= clean.output and ("output %s, not %s"):format(found.output, clean.output) or
      lives.difference_of_effects(found.effects, clean.effects, 2)
    if what then
      error(("body %d, processes dead at their events %d and %d: %s\nbody: %s"):format(seed, crashes[1], crashes[2],
        what, words), 0)
    end
  end
end

return crowd
