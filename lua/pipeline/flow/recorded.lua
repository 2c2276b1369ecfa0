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
-- Fields of a machine that are of this: entries (the journal as read), recorded (path -> kind -> name -> series),
-- has_passed (whether what is in there was passed over), found (operations that have an end and are to be delivered),
-- is_recalling; given_up (those that were cancelled, in the order of `done`).

local entry = require "pipeline.flow.entry"

local recorded = {}

local kind_names, state_names, ENTRY_BYTES <const> = entry.kind_names, entry.state_names, entry.BYTES

-- These may end when the body has no use for them any more; the end is delivered all the same.
local ends_later = { step = true, tx = true, child = true }

local function sub(map, key)
  local inner = map[key]
  if not inner then
    inner = {}
    map[key] = inner
  end
  return inner
end

-- Returns a function that adds an operation of the journal, of that path and kind. Mostly it is of the series of the
-- one before.
local function adder(machine)
  local series, path_before, kind_before, name_before
  return function(op, path, kind)
    local name, nth = op.name, op.nth
    if nth == 0 and op.key ~= nil then name = entry.keyed(name, op.key) end
    if name ~= name_before or kind ~= kind_before or path ~= path_before then
      series = sub(sub(sub(entry.own(machine, "recorded"), path), kind), name)
      path_before, kind_before, name_before = path, kind, name
    end
    series[nth] = op
  end
end

-- Mostly they are in order already: of steps in a row each ends before the next one is asked for.
local function sort_deliveries(list)
  for i = 2, #list do
    if list[i].done < list[i - 1].done then
      return table.sort(list, function(a, b) return a.done < b.done end)
    end
  end
end

-- Gives an entry what a store may leave out. A time of 0 is one, too: virtual time may begin there, and a store may
-- keep no zeros. Returns its kind, its state and its path.
local function complete(op)
  local kind, state, path, done = op.kind, op.state, op.path, op.done
  if not path then
    path = ""
    op.path = path
  end
  if kind_names[kind] then
    kind = kind_names[kind]
    op.kind = kind
  end
  if state_names[state] then
    state = state_names[state]
    op.state = state
  end
  if not op.opened then op.opened = 0.0 end
  if done then
    if not op.closed then op.closed = 0.0 end
  elseif (kind == "timer" or state == "again") and not op.due then
    op.due = 0.0
  end
  op.is_stored = true
  return kind, state, path
end

--- Puts the entries of the journal where they are found by what they are, and lists the deliveries. Returns how many
-- bytes they count for.
function recorded.load(self, entries)
  if not entries[1] then return 0 end
  local deliveries, given_up, last, bytes, unasked, begun = {}, {}, self.next - 1, 0, #entries, self.begun
  local add, delivered = adder(self), 0
  for i = 1, #entries do
    local op = entries[i]
    local kind, state, path = complete(op)
    local done, value, opened, seq = op.done, op.value, op.opened, op.seq
    if kind == "cancel" then -- the body does not ask for it
      op.is_asked, op.scope = true, self.scope
      self.pending, unasked = self.pending + 1, unasked - 1
    else
      add(op, path, kind)
    end
    if seq > last then last = seq end
    if done then
      if done > last then last = done end
      if kind ~= "patch" and (state ~= "cancelled" or ends_later[kind]) then
        op.is_delivery = true
        delivered = delivered + 1
        deliveries[delivered] = op
      end
      if state == "cancelled" then given_up[#given_up + 1] = op end
    end
    if not begun or opened < begun then begun = opened end
    bytes = bytes + ENTRY_BYTES + #op.name + #path + (value and #value or 0)
  end
  self.entries, self.begun = entries, begun
  sort_deliveries(deliveries)
  sort_deliveries(given_up)
  self.given_up = given_up
  self.deliveries, self.left, self.unasked, self.next = deliveries, delivered, unasked, last + 1
  return bytes
end

--- Which entry of the journal, as it was read, an operation is.
function recorded.position(machine, op)
  for i, other in ipairs(machine.entries) do
    if other == op then return i end
  end
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
    entry.put(machine, "found", op)
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
  for i, op in ipairs(list) do
    words[i] = ("entry %d of the journal, %s"):format(recorded.position(machine, op), entry.words(op))
  end
  return words
end

return recorded
