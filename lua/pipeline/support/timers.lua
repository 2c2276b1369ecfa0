--- timers.lua: calls after a while, on an engine's steady clock, which can be cancelled.
--
-- Entries are kept in the order they fall due. One coroutine of the engine sleeps until the first of them; when an
-- earlier one is added another sleeper is started, and a sleeper that wakes with nothing due sleeps again or ends. So
-- memory is bounded by the entries that are still wanted, and an idle engine has no sleeper.

local errors = require "pipeline.support.errors"

local timers = {}

local Timers = {}
local meta = { __index = Timers }

--- Makes the timers of an engine. `core` is the engine of the C core, `report` takes errors of the called functions.
function timers.new(core, report)
  return setmetatable({
    core = core, report = report, first = 1, last = 0, entries = {}, cancelled = 0, sleeping_until = math.huge,
  }, meta)
end

local function compact(self)
  local kept, n = {}, 0
  for i = self.first, self.last do
    local entry = self.entries[i]
    if entry.fn then
      n = n + 1
      kept[n] = entry
    end
  end
  self.entries, self.first, self.last, self.cancelled = kept, 1, n, 0
end

local function fire_due(self)
  local now = self.core:steady()
  while self.first <= self.last do
    local entry = self.entries[self.first]
    if entry.fn and entry.due > now then break end
    self.entries[self.first] = nil
    self.first = self.first + 1
    local fn = entry.fn
    entry.fn = nil
    if fn then
      local ok, problem = xpcall(fn, errors.handler, entry)
      if not ok then self.report(problem) end
    else
      self.cancelled = self.cancelled - 1
    end
  end
end

local function sleep(self, due)
  while true do
    self.core:sleep(math.max(due - self.core:steady(), 0))
    if self.closed then return end
    if self.sleeping_until == due then self.sleeping_until = math.huge end
    fire_due(self)
    local first = self.entries[self.first]
    if not first or first.due >= self.sleeping_until then return end
    due = first.due
    self.sleeping_until = due
  end
end

local function insert(self, entry)
  local at = self.last
  while at >= self.first and self.entries[at].due > entry.due do
    self.entries[at + 1] = self.entries[at]
    at = at - 1
  end
  self.entries[at + 1] = entry
  self.last = self.last + 1
end

--- Calls fn(entry) at `due`, a time of the steady clock, in a coroutine of the engine. The entry is a table of the
-- caller, whose fields `due` and `fn` are set.
function Timers.add_at(self, due, fn, entry)
  entry.due, entry.fn = due, fn
  local last = self.last
  if last < self.first or self.entries[last].due <= due then
    self.entries[last + 1], self.last = entry, last + 1
  else
    insert(self, entry)
  end
  if due < self.sleeping_until then
    self.sleeping_until = due
    self.core:spawn(sleep, self, due)
  end
end

--- Calls fn(entry) after `seconds`, in a coroutine of the engine. Returns the entry, which may carry fields of the
-- caller given in `fields`.
function Timers.add(self, seconds, fn, fields)
  local entry = fields or {}
  self:add_at(self.core:steady() + seconds, fn, entry)
  return entry
end

--- Forgets an entry; harmless when it has fired.
function Timers.cancel(self, entry)
  if not entry.fn then return end
  entry.fn = nil
  if self.entries[self.last] == entry then -- most end before others begin
    self.entries[self.last] = nil
    self.last = self.last - 1
    return
  end
  self.cancelled = self.cancelled + 1
  if self.cancelled > 64 and self.cancelled * 2 > self.last - self.first then compact(self) end
end

return timers
