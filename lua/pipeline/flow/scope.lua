--- flow/scope.lua: scopes of a body: what is cancelled together, and who is told of it.
--
-- Every branch is in a scope, and so is every operation: that of the branch that has asked for it. Scopes are nested;
-- the outermost is that of the run itself. Cancelling one ends what was asked for in it, and raises an error in its
-- branches, once in each, in the order of their creation: where a branch waits, or at its next wait. What a branch asks
-- for after that works, so that a handler may clean up.
--
--          run ───────────────┐         cancel(run)    reaches a, b; not c while the shield lasts
--           ├─ scope ── a     │         cancel(scope)  reaches a
--           ├─ b              │
--           └─ shield ── c ───┘         c is told when it leaves the shield
--
-- Fields of a scope: parent (or false), is_shield, problem (function that makes the error of its branches; false: it is
-- not cancelled).
-- Fields of a branch that are of this: scope, got (scope -> the error that was raised for it; true: it was cancelled
-- before there was the branch), thrown (the scope whose error the branch is about to get).
--
-- Nothing of this is in the journal but the cancellation of the run, which comes from outside: all else follows from
-- what the body does.

local scope = {}

-- What has to be stopped by who owns the machine, and ends later, one way or another. All else ends at once.
local is_at_work = { step = true, tx = true, child = true }

--- Makes one within `parent`.
function scope.new(parent, is_shield)
  return { parent = parent or false, is_shield = is_shield or false, problem = false }
end

--- Whether a cancellation of `outer` reaches what is in `inner`.
function scope.reaches(outer, inner)
  local at = inner
  while at and at ~= outer do
    if at.is_shield then return false end
    at = at.parent
  end
  return at == outer
end

--- What a new branch in that scope need not be told of.
function scope.known(inner)
  local got
  local at = inner
  while at do
    if at.problem then
      got = got or {}
      got[at] = true
    end
    at = at.parent
  end
  return got
end

--- The outermost scope whose cancellation the branch has not been told of; nil: there is none.
function scope.due(branch)
  local found
  local at = branch.scope
  while at do
    if at.problem and not (branch.got and branch.got[at]) then found = at end
    at = not at.is_shield and at.parent
  end
  return found
end

--- The error for the branch of a scope that was cancelled. It counts as told.
function scope.take(branch, of)
  branch.got = branch.got or {}
  branch.got[of] = of.problem()
  return branch.got[of]
end

-- The operations of a scope that have not been delivered, in the order of asking.
local function pending(machine, of)
  local list = {}
  for op in pairs(machine.open) do
    if scope.reaches(of, op.scope) then list[#list + 1] = op end
  end
  table.sort(list, function(a, b) return a.seq < b.seq end)
  return list
end

--- The operations that a cancellation of `of` has stopped by their owner, in the order of asking.
function scope.at_work(machine, of)
  local list = {}
  for _, op in ipairs(pending(machine, of)) do
    if is_at_work[op.kind] then list[#list + 1] = op end
  end
  return list
end

--- Cancels a scope, once. `problem`: a function that makes the error for a branch.
function scope.cancel(machine, of, problem)
  if of.problem then return end
  of.problem = problem
  machine.has_cancelled = true
  for _, branch in ipairs(machine.branches) do
    if not branch.future.ready and scope.reaches(of, branch.scope) then machine:interrupt(branch, of) end
  end
  for _, op in ipairs(pending(machine, of)) do
    if is_at_work[op.kind] then machine:stop(op) else machine:cancel(op) end
  end
end

return scope
