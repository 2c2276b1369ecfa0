-- model.lua: an owner of flow machines with made-up endings: what durable/ does with a store and a loop, done with a
-- table and a function that chooses what happens next.
--
-- A program is a function(m) that is the body; it uses m:ask and m:wait by the helpers below. Every commit and every
-- effect is an event; a life may be stopped before any of them. With `cancel` the run is cancelled, too, at a moment
-- that is chosen as all else is; what is at work then ends well, or does not.

local errors = require "pipeline.support.errors"
local entry = require "pipeline.flow.entry"
local machine = require "pipeline.flow.machine"

local model = {}

local CRASH = {}

local function identity(op)
  return entry.identity(op.path, op.kind, op.name, op.nth, op.nth == 0 and op.key or nil)
end

local function copy(op)
  return {
    seq = op.seq, done = op.done, kind = op.kind, state = op.state, path = op.path, name = op.name, nth = op.nth,
    key = op.key, line = op.line, opened = op.opened, closed = op.closed, attempt = op.attempt, due = op.due,
    ref = op.ref, value = op.value,
  }
end

--- A store of one run: entries by seq.
function model.store()
  return { entries = {}, next = 1, time = 1000.0, commits = 0, effects = {}, sync = true }
end

local function entries_of(store)
  local list = {}
  for _, each in pairs(store.entries) do list[#list + 1] = copy(each) end
  table.sort(list, function(a, b) return a.seq < b.seq end)
  return list
end

local Life = {}
Life.__index = Life

function Life.event(self)
  self.events = self.events + 1
  if self.events == self.crash_at then error(CRASH, 0) end
end

-- The flush: what was asked for and delivered.
function Life.commit(self)
  local writes = self.machine:take_writes()
  if #writes == 0 then return end
  self:event()
  for _, op in ipairs(writes) do
    assert((op.done == nil) == (op.state == "open" or op.state == "again"))
    self.store.entries[op.seq] = copy(op)
  end
  self.store.next = self.machine.next
  self.store.commits = self.store.commits + 1
  self.machine:wrote(writes)
end

-- What was asked for is set to work, and what is at work is listed.
function Life.begin_asked(self)
  for _, op in ipairs(self.machine:take_asked()) do
    if op.kind == "step" and not op.is_stopping then
      if not self.without_flush_rule then self:commit() end
      self:event()
      self.store.effects[#self.store.effects + 1] = identity(op)
    end
    self.open[#self.open + 1] = op
  end
end

local function still_open(list)
  local left = {}
  for _, op in ipairs(list) do
    if not op.done then left[#left + 1] = op end
  end
  return left
end

-- The run is told that it is cancelled.
function Life.cancel(self)
  self.may_cancel = false
  local op = self.machine:cancel_all("abort", "cancelled")
  self:commit()
  self.machine:deliver(op)
end

-- One operation ends, or the run is cancelled.
function Life.turn(self, choose)
  local n = #self.open + (self.may_cancel and 1 or 0)
  assert(n > 0, "nothing is open, and the body is not over: a wake-up was lost")
  local which = choose(n)
  self.store.time = self.store.time + 1
  local op = self.open[which]
  if not op then return self:cancel() end
  local is_cut = op.is_stopping and choose(2) == 2
  self.machine:close(op, is_cut and "cancelled" or "ok", not is_cut and identity(op) or nil)
  if op.kind == "step" then self:commit() end -- its effect was had
  self.machine:deliver(op)
end

-- Runs until the body is over. choose(n) -> 1..n: which of the open operations ends next.
function Life.run(self, choose)
  self.machine:start()
  if self.machine.diverged then error(self.machine.diverged, 0) end
  if self.machine.cancellation then self.may_cancel = false end
  while not self.machine:is_over() do
    self:begin_asked()
    self.open = still_open(self.open)
    self:turn(choose)
  end
  self:commit()
  if self.machine.broken then error(self.machine.broken, 0) end
  return self.machine.ended
end

--- One life of a run. Returns the future of its body; nil: it was stopped.
function model.life(program, store, choose, given)
  given = given or {}
  local life = setmetatable({
    store = store, events = 0, crash_at = given.crash_at, open = {}, without_flush_rule = given.without_flush_rule,
    may_cancel = given.cancel or false,
  }, Life)
  local m
  m = machine.new {
    seed = "0123456789abcdef", entries = entries_of(store), next = store.next, limit = given.limit, enter = given.enter,
    clock = function() return store.time end, start = store.time, main = function() return program(m) end,
    cancelled = function(op) return errors.CancelledError(op.value) end,
    late = function(_, problem) error(problem, 0) end,
  }
  life.machine = m
  local ok, result = pcall(Life.run, life, choose)
  if ok then return result, life.events, m end
  if result == CRASH then return nil, life.events, m end
  error(result, 0)
end

--- All sequences of choices, one after the other: calls try(choose) for each. Returns how many there were.
function model.each_order(try, most)
  local path, count = {}, 0
  repeat
    local depth = 0
    try(function(n)
      depth = depth + 1
      local at = path[depth] or { choice = 1 }
      path[depth], at.n = at, n
      return at.choice
    end)
    count = count + 1
    for i = #path, depth + 1, -1 do path[i] = nil end
    while #path > 0 and path[#path].choice >= path[#path].n do path[#path] = nil end
    if #path > 0 then path[#path].choice = path[#path].choice + 1 end
  until #path == 0 or count == most
  return count
end

--- Chooses by a generator of its own.
function model.by_chance(random)
  return function(n) return random(1, n) end
end

-- ---- what programs are made of -----------------------------------------------------------------------------------

function model.step(m, name, key)
  local op = m:ask("step", name, { key = key })
  m:wait { op }
  return op.value
end

function model.timer(m, seconds)
  return m:ask("timer", "timer", { fill = function(op) op.due = m.given.clock() + seconds end })
end

--- The first of two operations: 1 or 2; what lost is cancelled if it is a timer.
function model.race(m, a, b)
  local first = m:wait { a, b }
  local lost = first == a and b or a
  if lost.kind == "timer" then m:cancel(lost) end
  return first == a and 1 or 2
end

function model.go(m, name, fn, ...)
  return m:go(name, fn, ...)
end

--- What fn does in a scope of its own: ok, results or error; the scope, which is given to fn, too.
function model.scope(m, fn, is_shield)
  local results, inner = m:within({ what = "scope", is_shield = is_shield }, fn)
  return results[1], results[1] and results[2] or errors.original(results[2]), inner
end

function model.join(m, futures)
  local list = {}
  for i, future in ipairs(futures) do
    m:wait { future }
    if not future.ok then error(future.caught, 0) end
    list[i] = future.results[1]
  end
  return list
end

return model
