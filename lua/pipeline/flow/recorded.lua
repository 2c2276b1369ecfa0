--- flow/recorded.lua: what the journal has and the body has not asked for: found by what it is; and passed over, where
-- that is no divergence.
--
--   recorded, when the body is blocked and nothing that it asked for is recorded
--        │ over
--        ▼
--   passed over ── the body asks for it after all: recall ──► found ── deliver ──► as any other end
--        │
--        └── the body is over: `left` names it
--
-- What is found later is delivered before anything else happens, in the order of `done`: so it is in every later life,
-- for there it is asked for behind the same delivery. What is still pending in the journal stays so, and is not begun.
--
-- What an earlier life has cancelled is cancelled by this one, too, before the next thing is delivered. Where it is
-- not, for the code has changed, nothing would ever come of it: that is a divergence; or, where what is passed over is
-- none, the operation ends as cancelled in its turn.
--
-- Operations of one path, kind and name are a series: a table, by number (of those with a key it is 0, and the key is a
-- part of the name).
--
-- Fields of a machine that are of this: recorded (path -> kind -> name -> series), has_passed (whether what is in there
-- was passed over), found (operations that have an end and are to be delivered), is_recalling; given_up (those that
-- were cancelled, in the order of `done`).

local entry = require "pipeline.flow.entry"

local recorded = {}

local function sub(map, key)
  local inner = map[key]
  if not inner then
    inner = {}
    map[key] = inner
  end
  return inner
end

--- Adds an operation of the journal.
function recorded.add(machine, op)
  local name = op.nth == 0 and op.key ~= nil and entry.keyed(op.name, op.key) or op.name
  sub(sub(sub(machine.recorded, op.path), op.kind), name)[op.nth] = op
end

--- The series of that path, kind and name, or nil.
function recorded.series(machine, path, kind, name)
  local of_path = machine.recorded[path]
  local of_kind = of_path and of_path[kind]
  return of_kind and of_kind[name]
end

-- An operation that was passed over is asked for.
local function recall(machine, op)
  machine.unasked = machine.unasked + 1
  if op.is_delivery or op.done and op.state == "cancelled" then
    op.is_delivery = false -- not one of the replay any more
    machine.found[#machine.found + 1] = op
  end
end

--- Takes an operation out of its series (nil: there is none): it is asked for. Returns it; nil: it is not there.
function recorded.take(machine, series, nth)
  local op = series and series[nth]
  if not op then return nil end
  series[nth] = nil
  if machine.has_passed then recall(machine, op) end
  machine.unasked = machine.unasked - 1
  return op
end

--- All of them, in no order.
function recorded.list(machine)
  local list = {}
  for _, of_path in pairs(machine.recorded) do
    for _, of_kind in pairs(of_path) do
      for _, series in pairs(of_kind) do
        for _, op in pairs(series) do list[#list + 1] = op end
      end
    end
  end
  return list
end

--- The first of them, in the order of asking.
function recorded.first(machine)
  local found
  for _, op in ipairs(recorded.list(machine)) do
    if not found or op.seq < found.seq then found = op end
  end
  return found
end

--- The replay has come to its end: what is left is passed over.
function recorded.pass_over(machine)
  machine.has_passed = true
  machine.unasked, machine.left = 0, 0
end

--- The first operation that an earlier life has cancelled, before `op` was delivered (nil: ever), and this one has
-- asked for and not cancelled; nil: there is none.
function recorded.given_up(machine, op)
  for _, other in ipairs(machine.given_up) do
    if op and other.done > op.done then return nil end
    if other.is_asked and not other.ready then return other end
  end
end

local function by_done(a, b) return a.done < b.done end

--- Delivers what was found, and what is found because of that.
function recorded.deliver(machine)
  if machine.is_recalling then return end
  machine.is_recalling = true
  while machine.found[1] and not machine.broken do
    table.sort(machine.found, by_done)
    local op = table.remove(machine.found, 1)
    if not op.ready then machine:deliver(op) end
  end
  machine.is_recalling = false
end

--- The operations that were passed over and never asked for, in the order in which they were once; in words.
function recorded.left(machine)
  local list, words = machine.has_passed and recorded.list(machine) or {}, {}
  table.sort(list, function(a, b) return a.seq < b.seq end)
  for i, op in ipairs(list) do words[i] = ("entry %d of the journal, %s"):format(op.position, entry.words(op)) end
  return words
end

return recorded
