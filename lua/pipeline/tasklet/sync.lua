--- tasklet/sync.lua: Semaphore and Mutex for tasklets (G52).
--
-- Permits are handed to those who wait in the order they asked. A permit is an object: release() gives it back, once;
-- as a to-be-closed variable it does so at the end of its block, also when the tasklet is cancelled.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local future = require "pipeline.tasklet.future"
local bad_argument = require("pipeline.support.place").bad_argument

local sync = {}

local FINISHING = future.FINISHING

local Permit = {}
local permit_meta = { __name = "pipeline.Permit", __index = Permit }

local Semaphore = {}
local semaphore_meta = { __name = "pipeline.Semaphore", __index = Semaphore }
local Mutex = {}
local mutex_meta = { __name = "pipeline.Mutex", __index = Mutex }

-- ---- permits ---------------------------------------------------------------------------------------------------

local function new_permit(of)
  return setmetatable({ of = of }, permit_meta)
end

-- The next who waits gets the permit, else it is free.
local function give_back(self)
  local waiting = self.waiting
  while self.first <= self.last do
    local waiter = waiting[self.first]
    waiting[self.first] = nil
    self.first = self.first + 1
    if waiter and waiter.state ~= FINISHING then
      future.finish(waiter)
      return
    end
  end
  self.first, self.last = 1, 0
  self.free = self.free + 1
end

--- Gives the permit back; the second time does nothing, nor when all were given back by hand.
function Permit.release(self)
  local of = self.of
  if not of then return end
  self.of = nil
  if of.held == 0 then return end
  of.held = of.held - 1
  if of.permit == self then of.permit = nil end
  give_back(of)
end

permit_meta.__close = Permit.release

function permit_meta.__tostring(self)
  return ("<permit of %s>"):format(self.of and tostring(self.of) or "nothing: it was released")
end

-- ---- waiting ---------------------------------------------------------------------------------------------------

-- The task that waited was cancelled: it goes without its permit.
local function drop(waiter)
  local self, place = waiter.of, waiter.turn
  if waiter.state == FINISHING then
    give_back(self)
  elseif self.waiting[place] == waiter then
    self.waiting[place] = false
    while self.last >= self.first and not self.waiting[self.last] do
      self.waiting[self.last] = nil
      self.last = self.last - 1
    end
  end
end

local function acquire(self)
  current.refuse_in_body("acquire of a semaphore or mutex")
  if self.free > 0 then
    self.free = self.free - 1
  else
    local waiter = future.plain(3, self.name)
    self.last = self.last + 1
    self.waiting[self.last] = waiter
    waiter.of, waiter.turn, waiter.dropped = self, self.last, drop
    future.wait(waiter)
    if waiter.failure then future.raise(waiter.failure) end
  end
  self.held = self.held + 1
  return new_permit(self)
end

local function new(meta, name, free)
  return setmetatable({ name = name, free = free, held = 0, waiting = {}, first = 1, last = 0 }, meta)
end

-- ---- Semaphore -------------------------------------------------------------------------------------------------

--- Takes a permit, waiting until there is one. `local permit <close> = semaphore:acquire()` gives it back by itself.
function Semaphore.acquire(self)
  local permit = acquire(self)
  return permit
end

--- Takes a permit if there is one, else returns nil.
function Semaphore.try_acquire(self)
  if self.free > 0 then return acquire(self) end
end

--- Gives one permit back that was taken with acquire, by whoever. Raises if none is out.
function Semaphore.release(self)
  if self.held == 0 then errors.raise(errors.TaskletError, "release: semaphore released more often than acquired") end
  self.held = self.held - 1
  give_back(self)
end

function semaphore_meta.__tostring(self)
  return ("<Semaphore: %d free, %d held, %d wait>"):format(self.free, self.held, self.last - self.first + 1)
end

--- Makes a semaphore with n permits (an integer, at least 1). They are handed on in the order they were asked for.
function sync.Semaphore(n)
  if math.type(n) ~= "integer" or n < 1 then
    bad_argument(1, "Semaphore", "positive integer expected, got %s", tostring(n))
  end
  return new(semaphore_meta, "Semaphore", n)
end

-- ---- Mutex -----------------------------------------------------------------------------------------------------

--- Takes the mutex, waiting until it is free. `local lock <close> = mutex:acquire()` gives it back by itself.
function Mutex.acquire(self)
  local permit = acquire(self)
  self.permit = permit
  return permit
end

--- Takes the mutex if it is free, else returns nil.
function Mutex.try_acquire(self)
  if self.free > 0 then return self:acquire() end
end

--- Gives the mutex back. Raises if nobody holds it.
function Mutex.release(self)
  if not self.permit then errors.raise(errors.TaskletError, "release: nobody holds this mutex") end
  self.permit:release()
end

function mutex_meta.__tostring(self)
  return ("<Mutex: %s, %d wait>"):format(self.permit and "held" or "free", self.last - self.first + 1)
end

--- Makes a mutex: a semaphore with one permit. A tasklet that takes it twice waits for itself.
function sync.Mutex()
  return new(mutex_meta, "Mutex", 1)
end

return sync
