--- flow/passed.lua: what the journal has and the body does not ask for, where that is no divergence.
--
--   recorded, when the body is blocked and nothing that it asked for is recorded
--        │ over
--        ▼
--   passed ── the body asks for it after all: recall ──► found ── deliver ──► as any other end
--        │
--        └── the body is over: `left` names it
--
-- What is found later is delivered before anything else happens, in the order of `done`: so it is in every later life,
-- for there it is asked for behind the same delivery. What is still pending in the journal stays so, and is not begun.
--
-- Fields of a machine that are of this: passed (id -> operation; false: nothing was passed over), found (operations
-- that have an end and are to be delivered), is_recalling.

local entry = require "pipeline.flow.entry"

local passed = {}

--- The replay has come to its end: what is left is passed over.
function passed.over(machine)
  machine.passed, machine.recorded = machine.recorded, {}
  machine.unasked, machine.left = 0, 0
end

--- An operation that was passed over is asked for. Returns it, as one that is recorded; nil: it was not.
function passed.recall(machine, id)
  local op = machine.passed[id]
  if not op then return nil end
  machine.passed[id] = nil
  machine.recorded[id], machine.unasked = op, machine.unasked + 1
  if op.is_delivery then -- not one of the replay any more
    op.is_delivery = false
    machine.found[#machine.found + 1] = op
  end
  return op
end

--- The same for all of a kind and name.
function passed.recall_named(machine, kind, name)
  local ids = {}
  for id, op in pairs(machine.passed) do
    if op.kind == kind and op.name == name then ids[#ids + 1] = id end
  end
  for _, id in ipairs(ids) do passed.recall(machine, id) end
end

local function by_done(a, b) return a.done < b.done end

--- Delivers what was found, and what is found because of that.
function passed.deliver(machine)
  if machine.is_recalling then return end
  machine.is_recalling = true
  while machine.found[1] and not machine.broken do
    table.sort(machine.found, by_done)
    local op = table.remove(machine.found, 1)
    if not op.ready then machine:deliver(op) end
  end
  machine.is_recalling = false
end

--- The operations that were never asked for, in the order in which they were once; in words.
function passed.left(machine)
  local list, words = {}, {}
  for _, op in pairs(machine.passed or {}) do list[#list + 1] = op end
  table.sort(list, function(a, b) return a.seq < b.seq end)
  for i, op in ipairs(list) do words[i] = ("entry %d of the journal, %s"):format(op.position, entry.words(op)) end
  return words
end

return passed
