--- flow/blocked.lua: where the branches of a body stand, and for what they wait.

local place = require "pipeline.support.place"

local blocked = {}

local status = coroutine.status

--- A branch waits for an operation, or a branch. Mostly it is the only one: then it stands in `waiters` itself, else a
-- list does.
function blocked.add_waiter(op, branch)
  local waiters = op.waiters
  if not waiters then
    op.waiters = branch
  elseif waiters.co then
    op.waiters = { waiters, branch }
  else
    waiters[#waiters + 1] = branch
  end
end

--- A branch waits for it no more.
function blocked.remove_waiter(op, branch)
  local waiters = op.waiters
  if waiters == branch then
    op.waiters = false
    return
  end
  for i, waiter in ipairs(waiters or {}) do
    if waiter == branch then return table.remove(waiters, i) end
  end
end

--- Whether any branch waits for it.
function blocked.has_waiter(op)
  local waiters = op.waiters
  return waiters and (waiters.co or waiters[1]) ~= nil
end

-- Iterates the branches of a machine that are blocked.
local function next_blocked(machine, i)
  local branches = machine.branches
  for at = i + 1, #branches do
    local branch = branches[at]
    if branch.waits and status(branch.co) == "suspended" then return at, branch end
  end
end

--- Iterates the operations for which some branch waits; one may come twice.
function blocked.each_awaited(machine)
  local at, branch, k = 0, nil, 0
  return function()
    while true do
      local op = branch and branch.waits[k + 1]
      if op then
        k = k + 1
        if op.kind ~= "branch" then return op end
      else
        at, branch = next_blocked(machine, at)
        if not at then return nil end
        k = 0
      end
    end
  end
end

--- Branches that wait only for each other, and so for ever: a list of { path, line, on = the others }; nil: one waits
-- for something else, or none waits.
function blocked.by_itself(machine)
  if blocked.each_awaited(machine)() then return nil end
  local list = {}
  for _, branch in next_blocked, machine, 0 do
    list[#list + 1] = { path = branch.path, line = place.of_thread(branch.co), on = branch.waits }
  end
  return list[1] and list or nil
end

--- Where the branch is blocked that ran last; nil: it has ended.
function blocked.last_line(machine)
  local branch = machine.ran
  return branch and status(branch.co) == "suspended" and place.of_thread(branch.co) or nil
end

--- How many branches beside the first one have not ended.
function blocked.count(machine)
  local count = 0
  for i = 2, #machine.branches do
    if not machine.branches[i].future.ready then count = count + 1 end
  end
  return count
end

return blocked
