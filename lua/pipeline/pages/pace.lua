--- pace.lua: how often the pages may have their answers made anew.
--
-- What a question costs is measured each time it is answered: the processor time of the thread that reads, and of the
-- slices in which the answer is built. All questions that are being asked are answered once in a period, which is as
-- long as their costs together may take of it: a hundredth of a processor's time while this process works hard, a
-- fifth when it rests.

local slices = require "pipeline.support.slices"

local pace = {}

local SECONDS_MIN, SECONDS_MAX = 1, 20
local SHARE_BUSY, SHARE_AT_REST = 0.01, 0.2
local USE_BUSY, OPS_BUSY = 0.3, 500 -- of a processor, and operations of the store a second: from there on it works hard
local ASKED_SECONDS = 30 -- what nobody has asked for so long is not counted
local LOOK_SECONDS = 0.5

local Pace = {}
local meta = { __name = "pipeline.PagesPace", __index = Pace }

--- Makes the pace of a site. `core`: of its engine.
function pace.new(core)
  return setmetatable({ core = core, costs = {}, seconds = SECONDS_MIN, looked = core:steady(), clock = os.clock(),
    ops = core:facts().ops, share = SHARE_AT_REST, spent = 0.0 }, meta)
end

local function spent(self)
  return self.core:facts().reading_us / 1e6 + slices.busy
end

--- Calls fn() and notes what it cost as that of the question `key`. Returns what it does.
function Pace:measure(key, fn)
  local before = spent(self)
  local value = fn()
  local cost = spent(self) - before
  self.costs[key] = { cost = cost, asked = self.core:steady() }
  self.spent = self.spent + cost -- in all, as measured
  return value
end

-- How far from working hard it has been since the last look: 0 to 1. A machine that is full gives a process less time
-- than it would use, so what it does counts, too.
local function rest_of(self, passed)
  local clock, ops = os.clock(), self.core:facts().ops
  local used, done = clock - self.clock, ops - self.ops
  self.clock, self.ops = clock, ops
  if passed > 60 then return 1.0 end
  return math.max(0.0, 1.0 - math.max(used / passed / USE_BUSY, done / passed / OPS_BUSY))
end

local function sum_of(self, now)
  local sum = 0.0
  for key, of in pairs(self.costs) do
    if now - of.asked > ASKED_SECONDS then self.costs[key] = nil else sum = sum + of.cost end
  end
  return sum
end

--- Seconds for which an answer may serve. `key`: of the question that is being asked.
function Pace:period(key)
  local now = self.core:steady()
  local of = key and self.costs[key]
  if of then of.asked = now end
  local passed = now - self.looked
  if passed < LOOK_SECONDS then return self.seconds end
  self.share = SHARE_BUSY + (SHARE_AT_REST - SHARE_BUSY) * rest_of(self, passed)
  self.looked = now
  self.seconds = math.max(SECONDS_MIN, math.min(sum_of(self, now) / self.share, SECONDS_MAX))
  return self.seconds
end

return pace
