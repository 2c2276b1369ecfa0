--- flow/machine.lua: runs the body of a durable function: its branches, what they ask for, what is delivered to them.
--
-- The machine is the deterministic part of a durable function. It knows no loop, no store and no clock but the one it
-- is given: whoever owns it (a run of the engine; a model in the specs) executes what was asked for, tells how that
-- ended, and writes what has to be written. One thing is delivered at a time, and after each the body runs until every
-- branch is blocked, so the order of the deliveries, which the journal keeps, decides everything that the body does.
--
--                 ask                     owner: work done, timer due, child final
--   (nothing) ──────────► open ──────────────────────► closed (has `done`) ── deliver ──► ready: waiters go on
--                          │ ▲                             ▲
--                          ▼ │ attempt failed              │ replay: from the journal
--                         again                        recorded
--
-- Whatever has an end in the journal is delivered from there, in the order of `done`, before anything else happens.
--
-- Fields of a branch: co, fn and args (what is executed in it), path, counts (occurrences by kind and name), chance
-- (its random numbers, or nil), future (of its results), waits (what it is blocked on: a list, or nil), alone (such a
-- list, for one operation), first (what came first of that); scope, got and thrown: see scope.lua.
--
-- Invariants
--   1. Only the machine resumes branches, and only the running branch may ask or wait.
--   2. Which operation is meant is fixed in the call that asks for it, in program order.
--   3. A branch is dropped, never closed: no code of the user runs because a run leaves this process.
--   4. After a divergence nothing of the body runs.
--   5. That the run is cancelled is an entry with a `done`, delivered as all else: every life is told of it at the same
--      place.

local blocked = require "pipeline.flow.blocked"
local chance = require "pipeline.flow.chance"
local coming = require "pipeline.flow.coming"
local divergence = require "pipeline.flow.divergence"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local place = require "pipeline.support.place"
local recorded = require "pipeline.flow.recorded"
local scope = require "pipeline.flow.scope"
local bad_argument = place.bad_argument

local NONE <const> = entry.NONE

-- What most machines never change.
local machine = {
  begun = false, delivered = 0, at_limit = false, cancellation = false, is_cancelling = false, recorded = NONE,
  entries = NONE, deliveries = NONE, given_up = NONE, names = NONE, stops = NONE, was_long = false, diverged = false,
}
machine.__index = machine

local kinds, size_of, emptied, ENTRY_BYTES <const> = entry.kinds, entry.size, entry.emptied, entry.BYTES
local own, put = entry.own, entry.put
local create, resume, running, yield = coroutine.create, coroutine.resume, coroutine.running, coroutine.yield
local isyieldable, here = coroutine.isyieldable, place.here
local pack, unpack = table.pack, table.unpack
local add_waiter, remove_waiter = blocked.add_waiter, blocked.remove_waiter

local WAIT <const> = {} -- what a branch yields when it waits; no code of the user has it
local ENTRIES_MAX <const>, BYTES_MAX <const> = 10000, 50 << 20
local ENTRIES_RESERVED <const>, BYTES_RESERVED <const> = 200, 1 << 20 -- for cleaning up after LimitError
local PENDING_MAX <const> = 10000
local ENTRIES_SUGGESTED <const>, BYTES_SUGGESTED <const> = 2000, 4 << 20 -- from here on it is time to begin anew
local NAME_BYTES_MAX <const> = 200

-- These must be in the journal while they are pending; others when they have ended.
local is_written_when_asked = {
  [kinds.timer] = true, [kinds.event] = true, [kinds.child] = true, [kinds.slot] = true, [kinds.patch] = true,
}

--- Makes a machine.
-- @tparam table given what the machine keeps, and does not change: main (function(owner): the body, called in its first
--   branch), owner (what the functions are told of), seed (bytes), entries (the journal, in the order of seq; default:
--   none), clock (function() -> time), start (time of the begin, when there are no entries), next (the lowest number
--   that the counter may give; default 1), limit ({ entries =, bytes = }), enter and leave (function(co, owner): that
--   coroutine is about to be resumed, and has come back), cancelled (function(op) -> the error that branches get when
--   the run is cancelled), late (function(owner, error): what is done about a cancellation that comes when main has
--   ended; it raises), passes_over (true: what the body does not ask for is no divergence, see recorded.lua).
function machine.new(given)
  local limit, entries = given.limit or NONE, given.entries or NONE
  local self = setmetatable({
    given = given, next = given.next or 1, now = false, waiting = {}, first = 1, last = 0, branch = false,
    branches = {}, ran = false, asked = {}, writes = {}, taken_asked = NONE, taken_writes = NONE, open = {},
    pending = 0, count = 0, bytes = 0, order = 0, unasked = 0, left = 0, latest = false, ended = false, broken = false,
    replaying = true, max_entries = limit.entries or ENTRIES_MAX, max_bytes = limit.bytes or BYTES_MAX,
    scope = scope.new(), has_cancelled = false, passes_over = given.passes_over or false, has_passed = false,
    found = NONE, root = nil,
  }, machine)
  local bytes = recorded.load(self, entries)
  if #entries >= ENTRIES_SUGGESTED or bytes >= BYTES_SUGGESTED then self.was_long = true end
  self.replaying = self.unasked > 0
  self.now = self.begun or given.start or given.clock()
  self.root = self:add_branch("", given.main, pack(given.owner), self.scope)
  return self
end

-- ---- branches --------------------------------------------------------------------------------------------------

local function push(self, branch)
  self.last = self.last + 1
  self.waiting[self.last] = branch
end

-- Who waits for it goes on.
local function wake_all(self, op)
  local waiters = op.waiters
  if not waiters then return end
  op.waiters = false
  if waiters.co then return self:wake(waiters, op) end
  for i = 1, #waiters do self:wake(waiters[i], op) end
end

local function finish(self, branch, ok, ...)
  local future = branch.future
  self.order = self.order + 1
  future.ok, future.ready, future.order = ok, true, self.order
  if ok then future.results = pack(...) else future.caught = (...) end
  wake_all(self, future)
  return WAIT
end

-- What the coroutine of a branch does.
local function execute(self, branch)
  local args = branch.args
  return finish(self, branch, xpcall(branch.fn, errors.handler, unpack(args, 1, args.n)))
end

--- Starts a branch at the end of the queue of those that can go on. Returns its future.
function machine.add_branch(self, path, fn, args, within)
  local branch = {
    path = path, counts = {}, waits = nil, first = nil, scope = within, got = scope.known(within), fn = fn,
    args = args, co = create(execute), future = nil, alone = NONE,
  }
  branch.future = { kind = "branch", name = path, path = path, ready = false, waiters = false, branch = branch }
  self.branches[#self.branches + 1] = branch
  push(self, branch)
  return branch
end

-- A branch does not wait any more for any of the list, of which `op` (nil: none) has come.
local function forget_waits(branch, list, op)
  if not list[2] and list[1] == op then return end
  for i = 1, #list do
    local other = list[i]
    if other ~= op and other.waiters then remove_waiter(other, branch) end
  end
end

--- A branch goes on because of `op`, the first that came of what it waits for.
function machine.wake(self, branch, op)
  local list = branch.waits
  if not list then return end
  if branch.left then
    branch.left = branch.left - 1
    if branch.left > 0 and not branch.ends(op) then return end
    branch.left = nil
  end
  branch.waits, branch.first = nil, op
  forget_waits(branch, list, op)
  push(self, branch)
end

--- A scope that the branch is in was cancelled: if it waits, it goes on with that error; else it gets it where it waits
-- next.
function machine.interrupt(self, branch, of)
  local list = branch.waits
  if not list then return end
  branch.waits, branch.left, branch.thrown = nil, nil, of
  forget_waits(branch, list, nil)
  push(self, branch)
end

-- What the user's code has yielded by itself goes to a scheduler that is not there.
local function broken_yield(self, branch)
  local where = place.of_thread(branch.co)
  self.broken = errors.WorkflowError("the body yields by itself (coroutine.yield); only the methods of self wait in it",
    { where = where or false, traceback = debug.traceback(branch.co) })
end

local function step(self, branch)
  local co, given = branch.co, self.given
  self.branch, self.ran = branch, branch
  if given.enter then given.enter(co, given.owner) end
  local ok, tag = resume(co, self, branch) -- which only the first time are for anybody
  if given.leave then given.leave(co, given.owner) end
  self.branch = false
  if not ok then -- not even xpcall could catch it
    finish(self, branch, false, tag)
  elseif tag ~= WAIT then
    broken_yield(self, branch)
  end
end

-- Runs the body until every branch is blocked.
local function run_until_blocked(self)
  while self.first <= self.last and not self.broken do
    local branch = self.waiting[self.first]
    self.waiting[self.first] = nil
    self.first = self.first + 1
    step(self, branch)
  end
  if self.root.future.ready then self.ended = self.root.future end
  if self.found[1] then recorded.deliver(self) end
end

-- ---- asking ----------------------------------------------------------------------------------------------------

-- Raises unless the running code is a branch of this body.
local function check_branch(self, what)
  local branch = self.branch
  if branch and running() == branch.co then return branch end
  errors.raise(errors.NotInStepError, "%s is possible only in the body of a durable function itself, not in a " ..
    "coroutine that it made", what)
end

--- Raises unless the running code is a branch of this body, and can wait. `what`: the call.
function machine.check_call(self, what)
  local branch = check_branch(self, what)
  if isyieldable() then return branch end
  errors.raise(errors.NotYieldableError, "%s cannot wait here: it is called from a function written in C, such as " ..
    "table.sort, string.gsub or require. Call it first, and use its result there", what)
end

-- One of the bounds of a run is reached: raises, unless there is something kept for cleaning up.
local function check_limit(self, what)
  local spare = self.at_limit
  local entries = self.max_entries + (spare and ENTRIES_RESERVED or 0)
  local bytes = self.max_bytes + (spare and BYTES_RESERVED or 0)
  local reached = self.count >= entries and ("%d entries"):format(self.count) or
    self.bytes >= bytes and ("%d bytes"):format(self.bytes)
  if reached then
    self.at_limit = true
    errors.raise(errors.LimitError, "%s: the journal of this run is full: it has %s (journal_limit: %d entries, %d " ..
      "bytes)", what, reached, self.max_entries, self.max_bytes)
  end
  if self.pending >= PENDING_MAX then
    errors.raise(errors.LimitError, "%s: %d operations of this run are pending already", what, self.pending)
  end
end

local function check_name(what, name)
  if type(name) == "string" and #name >= 1 and #name <= NAME_BYTES_MAX then return end
  bad_argument(1, what, "a name of 1 to %d bytes expected, got %s", NAME_BYTES_MAX,
    type(name) == "string" and #name .. " bytes" or type(name))
end

-- Which operation of the branch this is: its number, and what the journal has of that name.
local function identify(self, branch, kind, name, key, what)
  local counts = branch.counts[kind]
  local count = counts and name ~= nil and counts[name]
  if count and key == nil then
    count.nth = count.nth + 1
    return count.nth, count.series
  end
  if kind ~= "child" and kind ~= "slot" then check_name(what, name) end
  if key ~= nil then
    local id = entry.identity(branch.path, kind, name, 0, key)
    if self.names[id] then
      bad_argument(1, what, "%s %q of key %s was asked for before in this branch: a key names one", kind, name, key)
    end
    own(self, "names")[id] = true
    return 0, recorded.series(self, branch.path, kind, entry.keyed(name, key))
  end
  if not counts then
    counts = {}
    branch.counts[kind] = counts
  end
  count = { nth = 1, series = recorded.series(self, branch.path, kind, name) }
  counts[name] = count
  return 1, count.series
end

-- Raises what the branch has not been told of.
local function heed(self, branch)
  local due = self.has_cancelled and scope.due(branch)
  if due then error(scope.take(branch, due), 0) end
end

--- Notes that what the journal has of an operation is not what is so.
function machine.touch(self, op)
  if op.is_dirty then return end
  op.is_dirty = true
  local writes = self.writes
  writes[#writes + 1] = op
end

--- Asks for an operation.
-- @tparam string kind see flow/entry.lua.
-- @tparam string name
-- @tparam[opt] table given key (identity in place of the occurrence), what (the call, for errors), fill (function(op):
--   gives a new operation its due, its ref and what else it takes; not called when it is recorded).
-- @return the operation.
function machine.ask(self, kind, name, given)
  given = given or NONE
  local what, key, fill = given.what or kind, given.key, given.fill
  local branch = self:check_call(what)
  if self.has_cancelled then heed(self, branch) end
  local nth, series = identify(self, branch, kind, name, key, what)
  local op = series and recorded.take(self, series, nth)
  if op then
    op.is_asked, op.name, op.key, op.scope = true, name, key, branch.scope
  else
    if self.count >= self.max_entries or self.bytes >= self.max_bytes or self.pending >= PENDING_MAX then
      check_limit(self, what)
    end
    op = {
      kind = kind, state = "open", path = branch.path, name = name, nth = nth, key = key, line = here(),
      opened = self.now, attempt = 0, is_asked = true, scope = branch.scope, ready = false, waiters = false,
      is_stored = nil, is_dirty = nil, done = nil, closed = nil, -- room for what comes later
    }
    if fill then fill(op) end
    local number = self.next
    op.seq, self.next = number, number + 1
    if is_written_when_asked[kinds[kind]] then self:touch(op) end
    if self.passes_over then self.replaying = false end
  end
  self.count, self.pending = self.count + 1, self.pending + 1
  self.bytes = self.bytes + ENTRY_BYTES + #op.name + #op.path
  self.open[op] = true
  if not op.done then self.asked[#self.asked + 1] = op end
  if self.unasked == 0 and self.left == 0 then self.replaying = false end
  return op
end

-- ---- what comes by itself: see coming.lua ------------------------------------------------------------------------

machine.follow, machine.receive = coming.follow, coming.receive

--- Whether the journal takes no more of what comes by itself.
function machine.is_full(self)
  return self.count >= self.max_entries or self.bytes >= self.max_bytes
end

-- Blocks the running branch until one of the list comes, none of which is ready. Returns the first one.
local function block(branch, list)
  branch.waits = list
  for i = 1, #list do add_waiter(list[i], branch) end
  yield(WAIT)
  local thrown = branch.thrown
  if thrown then
    branch.thrown = nil
    error(scope.take(branch, thrown), 0)
  end
  local first = branch.first
  branch.first = nil
  return first
end

--- Blocks the running branch until one of the operations, or branches, of the list is ready. Returns the first one; of
-- several that are ready already, the one that was ready first.
function machine.wait(self, list, what)
  local branch = self:check_call(what or "await")
  heed(self, branch)
  local found
  for i = 1, #list do
    local op = list[i]
    if op.ready and not (found and found.order <= op.order) then found = op end
  end
  return found or block(branch, list)
end

--- The same for the operation that the running branch has asked for just now: so it may wait, and that is not ready.
function machine.wait_asked(self, op)
  local branch = self.branch
  local alone = own(branch, "alone")
  alone[1] = op
  return block(branch, alone)
end

--- The same for all of the list, or until one of them comes that `ends` the wait (function(op)). Returns that one; nil:
-- all are ready.
function machine.wait_all(self, list, what, ends)
  local branch, found, left, rest = self:check_call(what), nil, 0, {}
  heed(self, branch)
  for i = 1, #list do
    local op = list[i]
    if not op.ready then
      left = left + 1
      rest[left] = op
    elseif ends(op) and not (found and found.order <= op.order) then
      found = op
    end
  end
  if found or left == 0 then return found end
  branch.left, branch.ends = left, ends
  local first = block(branch, rest)
  branch.left = nil
  return ends(first) and first or nil
end

--- The random numbers of the running branch.
function machine.chance(self, what)
  local branch = check_branch(self, what)
  branch.chance = branch.chance or chance.new(self.given.seed, branch.path)
  return branch.chance
end

-- ---- endings ---------------------------------------------------------------------------------------------------

--- An operation has ended: gives it its place in the order of deliveries. It is delivered later, when its owner says.
-- @tparam string state "ok", "failed" or "cancelled". value: encoded.
function machine.close(self, op, state, value)
  op.state, op.value, op.due = state, value, nil
  local number = self.next
  op.done, self.next = number, number + 1
  local now = self.given.clock()
  op.closed = now > self.now and now or self.now
  self:touch(op)
end

--- An attempt of a step has failed, and there will be another one at `due`.
function machine.try_again(self, op, due, value)
  op.state, op.value, op.due = "again", value, due
  self:touch(op)
end

--- The end of a step, delivered last, is forgotten: should the run go on some day, it is tried again. Returns false
-- where something was asked for since.
function machine.reopen(self, op, due)
  if not op.done or self.next ~= op.done + 1 then return false end
  op.state, op.done, op.closed, op.due, op.value, op.attempt = "again", nil, nil, due, nil, 0
  self:touch(op)
  return true
end

-- An operation is ready: who waits for it goes on.
local function make_ready(self, op)
  op.ready = true
  self.pending = self.pending - 1
  self.open[op] = nil
  self.order = self.order + 1
  op.order = self.order
  wake_all(self, op)
end

--- The body itself has no use for an operation any more; nothing is delivered. Whoever waits for it all the same finds
-- it cancelled.
function machine.cancel(self, op)
  if op.ready then return end
  op.is_cancelled = true
  if not op.done then
    self:close(op, "cancelled", op.kind == "child" and op.value or nil) -- the ids of its outputs
  else
    op.state = "cancelled"
    if op.is_delivery then self.left = self.left - 1 end
  end
  make_ready(self, op)
end

--- The body has no use any more for an operation that may be at work: its owner stops it, and its end, one way or
-- another, is delivered.
function machine.stop(self, op)
  if op.ready or op.is_stopping then return end
  op.is_stopping = true
  put(self, "stops", op)
end

--- The operations that are to be stopped, since the last call.
function machine.take_stops(self)
  local stops = self.stops
  if stops[1] then self.stops = NONE end
  return stops
end

-- The run is told that it is cancelled. Where its main branch has ended, and that is not in the store yet, something
-- else has the last word.
local function cancel_run(self, op)
  self.cancellation = op
  scope.cancel(self, self.scope, function() return self.given.cancelled(op) end)
  if self.root.future.ready then
    self.ended = false
    local given = self.given
    local args = pack(given.owner, given.cancelled(op))
    self.root = self:add_branch("/~late", given.late, args, scope.new(self.scope, true))
  end
end

local function hand_over(self, op)
  self.latest = op
  local value = op.value
  if value then self.bytes = self.bytes + #value end
  if op.closed > self.now then self.now = op.closed end
  make_ready(self, op)
  if op.kind == "cancel" then cancel_run(self, op) end
  if op.follow then op.follow(op) end
  run_until_blocked(self)
end

--- Makes an entry of the run as a whole, which ends as it is made. `value`: encoded.
function machine.mark(self, kind, name, value)
  local op = {
    kind = kind, state = "ok", path = "", name = name, nth = 1, opened = self.now, attempt = 0, is_asked = true,
    scope = self.scope,
  }
  op.seq = self.next
  self.next = op.seq + 1
  self.count, self.bytes = self.count + 1, self.bytes + size_of(op)
  self:close(op, "ok", value)
  return op
end

--- The run is cancelled: makes the entry that says so, which is delivered when it is in the journal. `value`: encoded.
function machine.cancel_all(self, name, value)
  self.is_cancelling = false
  self.pending = self.pending + 1
  return self:mark("cancel", name, value)
end

--- Whether the end of an operation has to wait, for the run is about to be told that it is cancelled.
function machine.holds(self, op)
  return self.is_cancelling and scope.reaches(self.scope, op.scope)
end

--- The steps, transactions and children that a cancellation of the run stops.
function machine.at_work(self)
  return scope.at_work(self, self.scope)
end

--- Delivers an operation that has ended, and whose end, if it had an effect, is in the journal.
function machine.deliver(self, op)
  if not op.is_cancelled then hand_over(self, op) end
end

-- ---- replay ----------------------------------------------------------------------------------------------------

-- The next recorded delivery of those that were asked for. What was stopped in an earlier life has its turn when it is
-- stopped in this one.
local function next_delivery(self)
  local list, at = self.deliveries, self.delivered + 1
  local op = list[at]
  while op and op.ready do
    at = at + 1
    op = list[at]
  end
  self.delivered = at - 1
  while op and (op.ready or not op.is_asked or op.state == "cancelled" and not (op.is_stopping or self.passes_over)) do
    at = at + 1
    op = list[at]
  end
  return self.passes_over and recorded.given_up(self, op) or op
end

--- Runs the body, from its beginning, to where the journal ends. What it then asks for is in `asked`.
function machine.start(self)
  run_until_blocked(self)
  while not self.broken do -- to the last, as it was the first time, also where the main branch has ended by then
    local op = next_delivery(self)
    if not op then break end
    if op.is_delivery then self.left = self.left - 1 end
    hand_over(self, op)
  end
  if self.unasked > 0 and not self.broken then
    if not self.passes_over then
      local first = recorded.first(self)
      self.diverged = divergence.new(first, recorded.position(self, first), self.asked, self.ended)
      return
    end
    recorded.pass_over(self)
  end
  local given_up = not self.broken and recorded.given_up(self)
  if given_up then
    self.diverged = divergence.of_cancelled(given_up, recorded.position(self, given_up), self.ended)
  end
  self.replaying = false
end

-- ---- what the owner has to do -----------------------------------------------------------------------------------

--- The operations that were asked for, and have no end, since the last call; in the order of the calls. The list is
-- good until the next one.
function machine.take_asked(self)
  local asked = self.asked
  self.asked, self.taken_asked = emptied(self.taken_asked), asked
  return asked
end

--- What is to be written: the operations that are not in the journal as they are, in the order in which that came
-- about. They count as written from now on. The list is good until the next call.
function machine.take_writes(self)
  local writes = self.writes
  self.writes, self.taken_writes = emptied(self.taken_writes), writes
  for i = 1, #writes do writes[i].is_dirty = false end
  return writes
end

--- What take_writes gave is in the journal: `is_stored` of these operations.
function machine.wrote(_, writes)
  for i = 1, #writes do writes[i].is_stored = true end
end

--- Whether the journal is so long that the run had better begin anew. `was_long`: it was so when it was read.
function machine.is_long(self)
  return self.count >= ENTRIES_SUGGESTED or self.bytes >= BYTES_SUGGESTED
end

--- Whether what the body does now may not have been written in an earlier life: all that is left to be delivered was
-- written with what was delivered last, before the body went on.
function machine.is_fresh(self)
  if self.unasked > 0 then return false end
  if self.left == 0 then return true end
  local last = self.deliveries[#self.deliveries]
  return self.latest ~= false and last.done - self.latest.done == self.left
end

--- Whether the body has nothing left to do: its first branch has returned or raised.
function machine.is_over(self)
  return (self.broken or self.ended) ~= false
end

--- Starts a branch from the running one.
function machine.go(self, name, fn, ...)
  local branch = self:check_call("go")
  check_name("go", name)
  local nth = (branch.counts["go:" .. name] or 0) + 1
  branch.counts["go:" .. name] = nth
  return self:add_branch(("%s/%s#%d"):format(branch.path, name, nth), fn, pack(...), branch.scope).future
end

-- ---- scopes --------------------------------------------------------------------------------------------------------

--- Has the running branch do fn(...) in a scope of its own.
-- @tparam table given is_shield, path (the operations that it asks for are known by this one), what (the call).
-- @return what xpcall does; the scope.
function machine.within(self, given, fn, ...)
  local branch = self:check_call(given.what)
  local outer, path, counts = branch.scope, branch.path, branch.counts
  local inner = scope.new(outer, given.is_shield)
  branch.scope = inner
  if given.path then branch.path, branch.counts = given.path, {} end
  local results = pack(xpcall(fn, errors.handler, inner, ...))
  branch.scope, branch.path, branch.counts = outer, path, counts
  return results, inner
end

--- Cancels a scope that `within` has made; `problem`: a function that makes the error for a branch.
function machine.cancel_scope(self, of, problem)
  scope.cancel(self, of, problem)
end

--- The error of that scope that the running branch was told of; nil: none.
function machine.told(self, of)
  local branch = self.branch
  return branch.got and branch.got[of]
end

--- Raises what the running branch was not told of while a shield was around it.
function machine.heed(self)
  heed(self, self.branch)
end

return machine
