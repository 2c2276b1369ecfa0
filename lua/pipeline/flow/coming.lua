--- flow/coming.lua: what comes to a body by itself: signals and updates that a handler takes. Methods of the machine.
--
-- The body does not ask for each of these; it says once what is done about those of a name. What came in earlier lives
-- is recorded, and is delivered in its turn.

local entry = require "pipeline.flow.entry"
local recorded = require "pipeline.flow.recorded"

local coming = {}

--- What comes under that name from now on is for `follow(op)`, which is called when it is delivered; so is what was
-- recorded of it. `kind`: "signal" or "update".
function coming.follow(self, kind, name, follow)
  local counter, counts = kind .. ":" .. name, self.root.counts
  local series = recorded.series(self, "", kind, name)
  for nth in pairs(series or {}) do
    local op = recorded.take(self, series, nth)
    op.is_asked, op.follow = true, follow
    self.count, self.pending = self.count + 1, self.pending + 1
    self.bytes = self.bytes + entry.size(op)
    if nth > (counts[counter] or 0) then counts[counter] = nth end
  end
end

--- Something has come: makes its operation, which has ended, and is to be delivered. `ref`: what it is in the store,
-- `value`: encoded.
function coming.receive(self, kind, name, ref, value, follow)
  local counter, counts = kind .. ":" .. name, self.root.counts
  local nth = (counts[counter] or 0) + 1
  counts[counter] = nth
  local op = {
    kind = kind, path = "", name = name, nth = nth, opened = self.now,
    attempt = 0, ref = ref, is_stored = false, is_dirty = false, ready = false, waiters = false, is_asked = true,
    follow = follow, seq = self.next,
  }
  self.next = op.seq + 1
  self.count, self.bytes, self.pending = self.count + 1, self.bytes + entry.size(op), self.pending + 1
  self:close(op, "ok", value)
  return op
end

return coming
