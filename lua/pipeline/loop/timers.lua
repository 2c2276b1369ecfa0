--- timers.lua: calls after a while, on an engine's steady clock, which can be cancelled.
--
-- One coroutine of the engine sleeps until the first of them; when an earlier one is added another sleeper is started,
-- and a sleeper that wakes with nothing due sleeps again or ends. So an idle engine has no sleeper.

local pipeline = require "pipeline.core"
local errors = require "pipeline.support.errors"

local timers = {}

local Timers = {}
local meta = { __index = Timers }

--- Makes the timers of an engine. `core` is the engine of the C core, `report` takes errors of the called functions.
function timers.new(core, report)
  return setmetatable({
    core = core, report = report, entries = pipeline.timetable(), sleeping_until = math.huge,
  }, meta)
end

-- Returns when the next one is due, or nil.
local function fire_due(self)
  local now, entries = self.core:steady(), self.entries
  local due = entries:first()
  while due and due <= now do
    local entry = entries:take()
    local ok, problem = xpcall(entry.fn, errors.handler, entry)
    if not ok then self.report(problem) end
    due = entries:first()
  end
  return due
end

local function sleep(self, due)
  while true do
    self.core:sleep(math.max(due - self.core:steady(), 0))
    if self.closed then return end
    if self.sleeping_until == due then self.sleeping_until = math.huge end
    due = fire_due(self)
    if not due or due >= self.sleeping_until then return end
    self.sleeping_until = due
  end
end

--- Calls fn(entry) at `due`, a time of the steady clock, in a coroutine of the engine. The entry is a table of the
-- caller, whose fields `fn` and 0 are set.
function Timers.add_at(self, due, fn, entry)
  entry.fn = fn
  self.entries:add(entry, due)
  if due < self.sleeping_until then
    local before = self.sleeping_until
    self.sleeping_until = due
    local ok, code, message = self.core:spawn(sleep, self, due)
    if not ok and code == "ENOMEM" then -- nobody would wake for it, nor for those that come after it
      self.sleeping_until = before
      self.entries:cancel(entry)
      errors.raise_core(code, message, "a timer of the engine")
    end
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
  self.entries:cancel(entry)
end

return timers
