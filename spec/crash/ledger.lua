--- ledger.lua: what the log of a crash run tells of the work of queues, and what of it must never be. The lines are
-- those of tasks.lua, and of the driver: kill|pid, stop|pid.
--
-- All processes append to one file, and the driver says that it kills or stops a process before it does. So the order
-- of the lines is an order in which things may be told to have happened, and whatever a process said before it was
-- killed counts.
--
-- Invariants:
--   * a task is executed by one at a time, and not again after a success, unless a process that took part was killed,
--     or stopped for longer than its lease;
--   * only who stood still is told that its claim is another's, unless the task was taken away on purpose;
--   * what was acknowledged is executed with success, or dead, or was taken away on purpose;
--   * a task dies when its tries are used up, and not before; then it is in the list of its queue;
--   * a name belongs to one task at a time, and stays taken for a while after; what was refused is never executed;
--   * of a queue no more are executed at once than its limit, nor started in a time than its rate;
--   * a lease belongs to one process until it is over or given back, and what was deleted is not leased again;
--   * statistics say what is in the store.

local ledger = {}

local Ledger = {}
Ledger.__index = Ledger

local ALMOST = 2e-6 -- of times that went through floats

--- An empty ledger.
-- @tparam table given limits (name of a queue -> how many at once), rates (-> { rate =, bucket = }), tombstone (seconds
--   that names stay taken; nil: longer than anything here).
function ledger.new(given)
  return setmetatable({
    slack = given.slack or 0,
    given = given, found = {}, line = 0, first = nil, entries = {}, by_name = {}, bearers = {}, gone = {}, stopped = {},
    dropping = {}, deleting = {}, queues = {}, stale = {}, running = {}, started = {}, deleted = {}, drops = {},
    dead = {}, dead_count = {}, stats = {}, unsigned = {},
    executed = 0, again = 0, late = 0, leases = 0, -- late: ended by who stood still, when others had begun it anew
  }, Ledger)
end

function Ledger:fail(...)
  self.found[#self.found + 1] = string.format(...)
end

local function entry_of(self, key, queue)
  local entry = self.entries[key]
  if not entry then
    entry = { key = key, queue = queue, behaviour = "ok", since = self.line, open = {}, leases = {}, fails = 0,
      successes = 0 }
    self.entries[key] = entry
  end
  entry.queue = entry.queue or queue
  return entry
end

-- What a process of these was doing may be done again.
local function is_excused(self, worker, target)
  return self.gone[worker] or self.stopped[worker] or target and self.gone[target]
end

local function is_taken_away(self, entry)
  return entry.taken or next(self.dropping[entry.queue] or {}) or (self.drops[entry.queue] or -1) >= entry.since
end

-- What a process was taking away, it takes no longer.
function Ledger:end_dropping(pid)
  for queue, pids in pairs(self.dropping) do
    if pids[pid] then self.drops[queue], pids[pid] = self.line, nil end
  end
  for _, pids in pairs(self.deleting) do pids[pid] = nil end
end

local readers = {}

-- ---- processes -------------------------------------------------------------------------------------------------

function readers.kill(self, pid)
  self.gone[pid] = true
  self:end_dropping(pid)
end
function readers.stop(self, pid) self.stopped[pid] = true end
function readers.cont() end
function readers.opened(self, time) self.first = self.first or tonumber(time) end -- rates count from here

-- ---- adding ----------------------------------------------------------------------------------------------------

function readers.will(self, key, queue, behaviour, name)
  local entry = entry_of(self, key, queue)
  entry.behaviour, entry.name = behaviour, name ~= "" and name or nil
  entry.taken = queue == "work" and next(self.deleting[name] or {}) ~= nil
end

local function check_name(self, entry, time)
  local place = entry.queue .. "|" .. entry.name
  local last = self.bearers[place]
  if entry.finished then return end -- told late: others may have borne the name since
  self.bearers[place] = entry
  if not last or is_taken_away(self, last) and not last.finished then return end
  if not last.finished then
    self:fail("the name %s was given to %s while %s had it", entry.name, entry.key, last.key)
  elseif time - last.finished < (self.given.tombstone or math.huge) - self.slack then
    self:fail("the name %s was given to %s %.3f s after %s was done", entry.name, entry.key, time - last.finished,
      last.key)
  end
end

function readers.added(self, key, name, time)
  local entry = entry_of(self, key)
  entry.acked = true
  self.by_name[entry.queue .. "|" .. name] = entry
  self.queues[entry.queue] = true
  if entry.name then check_name(self, entry, tonumber(time)) end
end

function readers.refused(self, key)
  local entry = entry_of(self, key)
  entry.refused = true
  if entry.ran then self:fail("%s was executed, but its addition was refused", key) end
end

-- ---- executing -------------------------------------------------------------------------------------------------

local function check_alone(self, entry, worker)
  for other, execution in pairs(entry.open) do
    if is_excused(self, execution.worker, execution.target) then
      self.again = self.again + 1
      entry.open[other], self.running[execution] = nil, nil
    elseif not self.stopped[worker] then
      self:fail("%s was begun by %s while %s was at it", entry.key, worker, execution.worker)
    end
  end
  local success = entry.success
  if success and not self.stopped[worker] and not is_excused(self, success.worker, success.target) then
    self:fail("%s was begun by %s after %s had done it", entry.key, worker, success.worker)
  end
end

local function check_limit(self, queue)
  local limit, running = self.given.limits[queue], 0
  for execution in pairs(limit and self.running or {}) do
    local counts = execution.queue == queue and not is_excused(self, execution.worker, execution.target)
    running = running + (counts and 1 or 0)
  end
  if limit and running > limit then self:fail("queue %s: %d at once, more than %d", queue, running, limit) end
end

local function check_rate(self, queue, time)
  local rule, started = self.given.rates[queue], self.started[queue]
  local most = rule and rule.bucket + rule.rate * (time - self.first + self.slack) + ALMOST
  if rule and started > most then
    self:fail("queue %s: %d started within %.3f s", queue, started, time - self.first)
  end
end

readers["do"] = function(self, key, queue, worker, target, time)
  local entry = entry_of(self, key, queue)
  if entry.refused then self:fail("%s was executed, but its addition was refused", key) end
  check_alone(self, entry, worker)
  local execution = { worker = worker, target = target, queue = queue }
  entry.ran, entry.open[worker .. target], self.running[execution] = true, execution, true
  self.started[queue] = (self.started[queue] or 0) + 1
  self.executed = self.executed + 1
  check_limit(self, queue)
  check_rate(self, queue, tonumber(time))
end

function readers.did(self, key, worker, target, how, time)
  local entry = entry_of(self, key)
  local execution = entry.open[worker .. target]
  if self.stopped[worker] and not execution then self.late = self.late + 1 end
  if execution then entry.open[worker .. target], self.running[execution] = nil, nil end
  if how == "fail" then
    entry.fails = entry.fails + 1
  else
    entry.successes = entry.successes + 1
    entry.success, entry.done = { worker = worker, target = target }, true
    entry.finished = entry.finished or tonumber(time)
  end
end

-- The name tells the task: unnamed ones have one that is not used again.
function readers.stale(self, worker, name) table.insert(self.stale, { worker = worker, name = name }) end

-- The target refuses the request of a try that is over.
function readers.unsigned(self, key, worker)
  table.insert(self.unsigned, { entry = entry_of(self, key), worker = worker })
end

local function check_unsigned(self)
  for _, refused in ipairs(self.unsigned) do
    if not is_excused(self, refused.worker) and not is_taken_away(self, refused.entry) then
      self:fail("the request of %s for %s was refused", refused.worker, refused.entry.key)
    end
  end
end

local function check_stale(self)
  for _, refused in ipairs(self.stale) do
    for queue in pairs(self.queues) do
      local entry = self.by_name[queue .. "|" .. refused.name]
      if entry and not is_taken_away(self, entry) and not self.stopped[refused.worker] then
        self:fail("%s was refused the end of %s, but it never stood still", refused.worker, entry.key)
      end
    end
  end
end

-- ---- taking away -----------------------------------------------------------------------------------------------

function readers.willdrop(self, queue, pid)
  self.dropping[queue] = self.dropping[queue] or {}
  self.dropping[queue][pid] = true
end

function readers.dropped(self, _, pid) self:end_dropping(pid) end
function readers.diddelete(self, _, pid) self:end_dropping(pid) end

function readers.willdelete(self, name, pid)
  self.deleting[name] = self.deleting[name] or {}
  self.deleting[name][pid] = true
  for _, entry in pairs(self.entries) do
    if entry.name == name and entry.queue == "work" then entry.taken = true end
  end
end

-- ---- pulling ---------------------------------------------------------------------------------------------------

-- Leases in the order of their beginning; checked at the end.
function readers.leased(self, key, pid, from, to)
  local entry = entry_of(self, key, "pull")
  self.leases = self.leases + 1
  table.insert(entry.leases, { pid = pid, from = tonumber(from), to = tonumber(to) })
  if entry.deleted and tonumber(from) > entry.deleted + ALMOST + self.slack then -- lines of two may change places
    self:fail("%s was leased by %s after it was deleted", key, pid)
  end
  if entry.refused then self:fail("%s was leased, but its addition was refused", key) end
end

local function last_lease(entry, pid)
  for i = #entry.leases, 1, -1 do
    if entry.leases[i].pid == pid then return entry.leases[i] end
  end
end

-- Until it is told what came of it, the lease may have any end.
function readers.willmodify(self, key, pid)
  local lease = last_lease(entry_of(self, key, "pull"), pid)
  if lease then lease.unsure = true end
end

function readers.modified(self, key, pid, from, to)
  local lease = last_lease(entry_of(self, key, "pull"), pid)
  if not lease then return self:fail("%s: %s moved a lease that it did not have", key, pid) end
  lease.unsure = false
  if tonumber(from) >= lease.to + ALMOST + self.slack then
    self:fail("%s: %s moved its lease %.6f s after it was over", key, pid, tonumber(from) - lease.to)
  end
  lease.to = tonumber(to)
end

function readers.handled(self, key, _, time)
  local entry = entry_of(self, key, "pull")
  entry.done, entry.finished = true, entry.finished or tonumber(time)
end

function readers.deleted(self, key, really, time)
  local entry = entry_of(self, key, "pull")
  if really == "true" and entry.deleted then self:fail("%s was deleted twice", key) end
  if really == "true" then
    entry.deleted = tonumber(time)
    self.deleted.pull = (self.deleted.pull or 0) + 1
  end
end

local function check_leases(self, entry)
  table.sort(entry.leases, function(a, b) return a.from < b.from end)
  for i = 2, #entry.leases do
    local before, lease = entry.leases[i - 1], entry.leases[i]
    if not before.unsure and lease.from < before.to - ALMOST - self.slack then
      self:fail("%s was leased by %s %.6f s before the lease of %s was over", entry.key, lease.pid,
        before.to - lease.from, before.pid)
    end
  end
end

-- ---- the end ---------------------------------------------------------------------------------------------------

function readers.dead(self, name, queue, class, tries)
  local place = queue .. "|" .. name
  if self.dead[place] then self:fail("%s is twice in the dead-letter list of %s", name, queue) end
  self.dead[place] = { class = class, tries = tonumber(tries) }
  self.dead_count[queue] = (self.dead_count[queue] or 0) + 1
  local entry = self.by_name[place]
  if entry then entry.dead = self.dead[place] end
end

function readers.stats(self, queue, count, in_flight, executed, dead)
  self.stats[queue] = { tasks = tonumber(count), in_flight = tonumber(in_flight), executed = tonumber(executed),
    dead = tonumber(dead) }
end

local function check_fate(self, entry)
  if entry.dead and entry.behaviour ~= "hopeless" then
    self:fail("%s (%s) is dead: %s", entry.key, entry.behaviour, entry.dead.class)
  end
  if not entry.acked or is_taken_away(self, entry) then return end
  if entry.behaviour == "hopeless" then
    if entry.done then self:fail("%s was done, but it always fails", entry.key) end
    if not entry.dead then self:fail("%s is not in the dead-letter list", entry.key) end
  elseif not entry.done then
    self:fail("%s (%s, %s) was acknowledged, and is lost", entry.key, entry.queue, entry.behaviour)
  end
end

local function check_stats(self)
  for queue, stats in pairs(self.stats) do
    if stats.tasks ~= 0 or stats.in_flight ~= 0 then
      self:fail("queue %s: statistics say %d tasks, %d in flight, but all is done", queue, stats.tasks, stats.in_flight)
    end
    if stats.dead ~= (self.dead_count[queue] or 0) then
      self:fail("queue %s: statistics say %d dead, the list has %d", queue, stats.dead, self.dead_count[queue] or 0)
    end
    local least = self.started[queue] or self.deleted[queue] or 0
    if stats.executed < least and not self.drops[queue] then
      self:fail("queue %s: statistics say %d executed, it was %d at least", queue, stats.executed, least)
    end
  end
end

--- Reads a line: its verb and its words. Returns false for a verb that is none of its own.
function Ledger:read(verb, ...)
  local reader = readers[verb]
  if not reader then return false end
  self.line = self.line + 1
  reader(self, ...)
  return true
end

--- After the last line, with everything at its end.
-- @return list of texts, one per violation.
function Ledger:finish()
  for _, entry in pairs(self.entries) do
    check_leases(self, entry)
    check_fate(self, entry)
  end
  check_stale(self)
  check_unsigned(self)
  check_stats(self)
  return self.found
end

return ledger
