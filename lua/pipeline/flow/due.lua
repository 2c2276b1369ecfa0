--- flow/due.lua: the operations of a run that have a time: timers, waits that give up, steps that are tried again.
--
-- A heap: the first is found at once, also of thousands. An operation that has ended, or has another time by now, is
-- not taken out: it is passed over when it comes to the top.
--
-- Fields: heap (items: op, due, seq; each not later than the two below it), count, items (op -> its item: the others
-- that it may have in the heap are old).

local entry = require "pipeline.flow.entry"

local due = {}

local own = entry.own

local Due = { heap = entry.NONE, count = 0, items = entry.NONE }
local meta = { __name = "pipeline.Due", __index = Due }

--- Makes an empty one.
function due.new()
  return setmetatable({}, meta)
end

local function is_before(a, b)
  return a.due < b.due or a.due == b.due and a.seq < b.seq
end

local function sink(heap, count, item)
  local at = 1
  while true do
    local child = at * 2
    if child > count then break end
    if child < count and is_before(heap[child + 1], heap[child]) then child = child + 1 end
    if not is_before(heap[child], item) then break end
    heap[at], at = heap[child], child
  end
  heap[at] = item
end

local function drop_first(self)
  local heap, count = self.heap, self.count
  local last = heap[count]
  heap[count], self.count = nil, count - 1
  if count > 1 then sink(heap, count - 1, last) end
end

--- An operation has its time, or another one than before.
function Due.add(self, op)
  local item, heap = { op = op, due = op.due, seq = op.seq }, own(self, "heap")
  own(self, "items")[op] = item
  self.count = self.count + 1
  local at = self.count
  while at > 1 and is_before(item, heap[at // 2]) do heap[at], at = heap[at // 2], at // 2 end
  heap[at] = item
end

--- An operation has its time no more.
function Due.remove(self, op)
  self.items[op] = nil
end

local function is_old(self, item)
  local op = item.op
  return op.done or op.due ~= item.due or self.items[op] ~= item
end

--- The first operation that is not over, and for which `waits` (function(op, of)) is not true; and its time; nil: there
-- is none. Those that wait stay.
function Due.first(self, waits, of)
  if self.count == 0 then return nil end
  local aside, found
  while self.count > 0 and not found do
    local item = self.heap[1]
    if is_old(self, item) then
      if self.items[item.op] == item then self.items[item.op] = nil end
      drop_first(self)
    elseif waits(item.op, of) then
      aside = aside or {}
      aside[#aside + 1] = item.op
      drop_first(self)
    else
      found = item
    end
  end
  for _, op in ipairs(aside or {}) do self:add(op) end
  if found then return found.op, found.due end
end

--- Iterates the operations that have a time, in no order; some may be over.
function Due.each(self)
  return next, self.items, nil
end

return due
