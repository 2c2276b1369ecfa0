--- durable/run.lua: executes a claimed run of a durable function: between the machine of its body, which decides, and
-- the store, the clock and the steps, which happen.
--
--      claim ──► journal read ──► machine replays ──► held: the two have parted
--                                      │
--                 ┌────────────────────▼─────────────────────────┐
--                 │ what was asked for is set to work             │ run is over ──► outcome
--                 │ something has ended ──► (commit) ──► delivered │
--                 └────────┬─────────────────────────▲───────────┘
--      nothing is at work  │                         │ something came meanwhile
--                          └──► suspended: the claim ends; whatever comes makes the task ready again
--
-- A body that is suspended is kept in this process for a while (flow/warm.lua). The next claim goes on with it where it
-- stands, if the store has of this run what was written when it was suspended, and nothing else: another process may
-- have gone on with it in between. If not, it is dropped before anything of it runs, and the journal is replayed.
--
-- Fields of a run: engine, core, claim, self (the instance), record, of (its class), flow (what the store keeps of it),
-- machine, steps, context (its run context, see workflow/execute.lua), timers (the operations that have a due),
-- children, starts, publish, taken, status (to be written with the next commit), has_more (whether there is something
-- to be written beside entries), known (seq -> operation that is open and that the store tells of), mailbox,
-- transactions (to be executed), unseen, branches (see body/methods.lua), again
-- (what begins its next era, or false), token (what wakes the coroutine that waits, or false), compensations (those
-- that are registered), compensated (how often they were executed), uncompensated (those that failed); and those of
-- cancel.lua; written (bytes of its journal in this era, as the store counts them).
--
-- Invariants
--   1. Before a step function begins, everything that was asked for or delivered is committed.
--   2. The result of a step is delivered after its commit.
--   3. With nothing at work the run is suspended: it holds no claim and no place, and its body may be dropped.
--   4. Nothing is written by a run whose claim is not its own any more.
--   5. A body that is kept goes on only from the very journal that it has written.

local blocked = require "pipeline.flow.blocked"
local cancel = require "pipeline.durable.cancel"
local current = require "pipeline.current"
local core = require "pipeline.core"
local crashing = require "pipeline.durable.reach.crashing"
local due = require "pipeline.flow.due"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local ending = require "pipeline.durable.ending"
local handlers = require "pipeline.durable.reach.handlers"
local journal = require "pipeline.durable.journal"
local machine = require "pipeline.flow.machine"
local mailbox = require "pipeline.durable.mailbox"
local news = require "pipeline.durable.news"
local noticed = require "pipeline.durable.reach.noticed"
local progress = require "pipeline.durable.reach.progress"
local shown = require "pipeline.durable.reach.shown"
local steps = require "pipeline.durable.steps"
local transaction = require "pipeline.durable.transaction"
local values = require "pipeline.durable.values"

local run = {}

local own, put, emptied, NONE <const> = entry.own, entry.put, entry.emptied, entry.NONE

-- Most runs leave most of this as it is.
local Run = {
  __name = "pipeline.DurableRun", known = NONE, settled = NONE, held_ends = NONE, children = NONE, starts = NONE,
  publish = NONE, taken = NONE, status = false, bind = false, shown = shown.NOTHING, beats = NONE, branches = NONE,
  compensations = NONE, compensated = 0, uncompensated = NONE, again = false, is_suspended = false, steps = false,
}
Run.__index = Run

local now = core.now
local PARALLEL_STEPS <const> = 64
local DELIVERIES_PER_TURN <const> = 100
local RETRY <const> = "retry" -- the reason of a run that was resumed so
local KEPT_BYTES <const>, BRANCH_BYTES <const> = 16384, 6144 -- of a run that is kept, and of each branch of it
local LOST <const> = {} -- is raised where the claim is not ours any more

-- ---- the store -----------------------------------------------------------------------------------------------------

-- Nothing of this run may be written any more, or nothing can be: the body is dropped, and nobody is told.
local function lose(self, code, message)
  if code ~= "ESTALE" and code ~= "EABORTED" and code ~= "ECLOSED" then
    self.engine:_log(30, ("%s %s: its journal cannot be written: %s %s; it is tried again"):format(
      self.record.class_path, self.self.id, tostring(code), message or ""))
    self.core:give_back(self.claim, true)
  end
  error(LOST, 0)
end

-- In tests with crashes (self.engine._crash): dies here, perhaps, as it would with its process.
local function moment(self, format, ...)
  if not crashing.is_due(self.engine, format, ...) then return end
  self.core:give_back(self.claim, true)
  error(LOST, 0)
end

--- Writes what was asked for and delivered, if there is anything.
function Run.commit(self)
  if not (self.has_more or self.machine.writes[1]) then return end
  local is_tested = self.engine._crash
  if is_tested then moment(self, "before entry %d is committed", self.machine.next) end
  local ok, code, message = journal.write(self)
  if not ok then lose(self, code, message) end
  if is_tested then moment(self, "after entry %d is committed", self.machine.next) end
end

--- The run ends ABORTED, whatever comes: it is about to undo what it did.
function Run.bind_to_abort(self)
  self.deadline = self.machine.cancellation and self.deadline
  if self.flow.cancel < cancel.TOLD then cancel.bind(self, cancel.TOLD) end
end

--- An output is to be visible with the next commit; nothing happens in a replay.
function Run.publish_fill(self, slot, bytes)
  if not shown.is_new(self) then return end
  journal.add(self, "publish", { slot = slot, value = bytes })
end

-- ---- what was asked for --------------------------------------------------------------------------------------------

local begin = {}

function begin.step(self, op)
  if op.value then progress.take(op) end
  if op.state == "again" then
    self.timers:add(op)
  elseif op.options.at_most_once and op.is_stored then -- it has begun in an earlier life
    local verdict, bytes = self.steps:judge_interrupted(op)
    if verdict == "again" then return self.steps:add(op) end
    self.machine:close(op, verdict, bytes)
    put(self, "closed", op)
  else
    self.steps:add(op)
  end
end

function begin.timer(self, op)
  self.timers:add(op)
end

function begin.child(self, op)
  own(self, "known")[op.seq] = op
end

begin.slot = begin.child

function begin.event(self, op)
  if op.due then self.timers:add(op) end
  self.mailbox:wait(op)
end

function begin.tx(self, op)
  if op.state == "again" then self.timers:add(op) else put(self, "transactions", op) end
end

local function begin_asked(self)
  local asked = self.machine:take_asked()
  for i = 1, #asked do
    local op = asked[i]
    local is_stopped = op.is_stopping and op.kind ~= "child" -- of a child the end is still to come
      or (op.kind == "step" or op.kind == "tx") and self.machine:holds(op)
    if not (op.done or is_stopped) then begin[op.kind](self, op) end
  end
end

-- ---- what has happened ---------------------------------------------------------------------------------------------

-- The body has kept the loop, as any code that computes: who has to look for it is told where.
local function warn_of_block(self, took)
  local line = blocked.last_line(self.machine)
  self.engine:_log(30, ("the body of %s %s has computed for %.1f s without waiting%s: nothing else runs in this "
    .. "process meanwhile; what takes long belongs into a step that awaits, or into a process of its own"):format(
    self.record.class_path, self.self.id, took, line and ", up to " .. line or ""))
end

local function deliver(self, list)
  local began, body, count = now(), self.machine, #list
  for i = 1, count do
    body:deliver(list[i])
    if body.broken then return end
  end
  self.deliveries = self.deliveries + count
  local took = now() - began
  if took >= self.engine._block_warning then warn_of_block(self, took) end
  if self.deliveries >= DELIVERIES_PER_TURN then -- others have their turn
    self.deliveries = 0
    self.core:sleep(0)
  end
end

-- An attempt of a step has failed: there will be another one, or the step ends.
local function settle_failed(self, attempt, closed)
  local op, number = attempt.op, attempt.number
  local verdict, value, seconds = self.steps:judge(attempt)
  if not op.options.at_most_once then op.attempt = number end
  if verdict == "again" then
    self.machine:try_again(op, self.core:now() + seconds, value)
    op.has_ended = false
    self.timers:add(op)
    ending.report_step(self, op, number, value)
  else
    self.machine:close(op, verdict, value)
    closed[#closed + 1] = op
  end
end

local function settle_steps(self)
  local ended, closed = self.steps.ended, self.closed
  if not (ended[1] or closed[1]) then return false end
  if ended[1] then ended = self.steps:take_ended() end
  closed = own(self, "closed")
  self.closed, self.settled = self.settled, closed
  for i = 1, #ended do
    local attempt = ended[i]
    if self.cancelling and cancel.holds(self, attempt.op) then
      put(self, "held_ends", attempt) -- until the run has been told
    elseif attempt.problem then
      settle_failed(self, attempt, closed)
    else
      self.machine:close(attempt.op, "ok", attempt.value)
      closed[#closed + 1] = attempt.op
    end
  end
  if closed[1] then
    self:commit()
    deliver(self, closed)
    emptied(closed)
  end
  return true
end

-- Begins the steps for which there is a place, after a flush. Returns whether there was one.
local function begin_steps(self)
  local list = self.steps:take()
  if not list then return false end
  for i = 1, #list do
    local op = list[i]
    if op.state == "again" then op.state, op.due = "open", nil end
    if op.options.at_most_once then
      op.attempt = op.attempt + 1
      self.machine:touch(op)
    end
  end
  self:commit()
  if self.engine._crash then moment(self, "before step %s is executed", list[1].name) end
  for i = 1, #list do self.steps:begin(list[i]) end
  settle_steps(self) -- those that have not waited
  return true
end

-- What is due has to wait.
local function is_waiting(op, self)
  return op.is_stopping or self.machine:holds(op)
end

-- The operation that is due first, and when.
local function first_due(self)
  return self.timers:first(is_waiting, self)
end

-- The same, or the deadline of the run.
local function next_due(self)
  local _, time = first_due(self)
  local deadline = self.deadline
  return deadline and (not time or deadline < time) and deadline or time
end

local function fire_timer(self)
  local op, time = first_due(self)
  if not op or time > self.core:now() then return false end
  self.timers:remove(op)
  if op.state == "again" then
    if op.kind == "tx" then put(self, "transactions", op) else self.steps:add(op) end
  elseif op.kind == "event" then
    local problem = errors.TimeoutError(("no signal %q has come in time"):format(op.name), { where = op.line or false })
    self.machine:close(op, "failed", values.encode_error(problem))
    deliver(self, { op })
  else
    self.machine:close(op, "ok", nil)
    deliver(self, { op })
  end
  return true
end

local function take_news(self, given, flow)
  if flow then self.holding = flow.mode == "held" and (flow.reason or "") or false end
  self.mailbox:receive(given and given.mails)
  if given and given.cancel then cancel.heed(self, given.cancel) end
  local closed = news.close(self, given)
  deliver(self, closed)
  return closed[1] ~= nil
end

-- Reads what the engine has told of.
local function heed_news(self)
  if not self.has_news then return false end
  self.has_news = false
  take_news(self, journal.read_news(self))
  return true
end

-- Gives a signal or an update to a wait, or a handler, of its name.
local function take_mail(self)
  local mail, op = self.mailbox:take(not self.machine:is_full() and self.handlers)
  if not mail then
    local is_over = self.handlers.is_ending and not self.mailbox:wants(self.handlers)
    if is_over or not self.mailbox.has_more then return false end -- behind what nobody wants there may be updates
    take_news(self, journal.read_news(self))
    return true
  end
  if not op.kind then
    deliver(self, self.handlers:receive(self, mail, op))
    return true
  end
  self.machine:close(op, "ok", mailbox.results(mail))
  journal.add(self, "taken", mail.id)
  deliver(self, { op })
  return true
end

-- Executes a transaction that was asked for.
local function run_transaction(self)
  local op = table.remove(self.transactions, 1)
  while op and (op.done or op.is_stopping or self.machine:holds(op)) do op = table.remove(self.transactions, 1) end
  if not op then return false end
  op.state, op.due = "open", nil
  local how, problem, trace, for_good = transaction.execute(self, op)
  if how == "lost" then lose(self, problem, trace) end
  if how == "ok" then
    deliver(self, { op })
    return true
  end
  local verdict, value, seconds = self.steps:judge {
    op = op, problem = { problem }, trace = trace, number = op.attempt + 1, for_good = for_good,
  }
  op.attempt = op.attempt + 1
  if verdict == "again" then
    self.machine:try_again(op, self.core:now() + seconds, value)
    self.timers:add(op)
    ending.report_step(self, op, op.attempt, value)
  else
    self.machine:close(op, verdict, value)
    self:commit()
    deliver(self, { op })
  end
  return true
end

-- ---- waiting -------------------------------------------------------------------------------------------------------

-- Waits, with the claim, beside steps that are at work.
local function wait_beside(self)
  if self.steps.ended[1] or self.has_news or shown.has_any(self) then return end
  local first, beat = next_due(self), progress.due(self)
  local seconds = first and first - self.core:now()
  if beat then seconds = math.min(seconds or math.huge, beat - self.core:steady()) end
  local timer = seconds and self.engine._timers:add(math.max(seconds, 0), Run.wake, self)
  self.token = errors.check(self.core:token())
  local _, code, message = self.core:suspend()
  self.token = false
  if timer then self.engine._timers:cancel(timer) end
  if code then errors.raise_core(code, message) end
end

-- Branches that wait only for each other will wait for ever.
local function deadlock(self)
  local list, lines = blocked.by_itself(self.machine), {}
  if not list then return nil end
  for i, branch in ipairs(list) do
    local names = {}
    for j, on in ipairs(branch.on) do names[j] = on.name == "" and "run" or on.name:sub(2) end
    lines[i] = ("%s (%s) waits for %s"):format(branch.path == "" and "run" or branch.path:sub(2), branch.line or "?",
      table.concat(names, ", "))
  end
  return errors.DeadlockError("its branches wait for each other: " .. table.concat(lines, "; "), {
    where = false, traceback = "",
  })
end

-- Gives the claim back until something comes. Returns whether it is over.
local function suspend(self)
  local writes, given = journal.collect(self, true)
  local time = next_due(self)
  given.due, given.slots, given.reason = time, news.slots(self), ending.waits_for(self)
  given.wants = self.mailbox:wants(self.handlers)
  local ok, code, message = self.core:flow_suspend(self.claim, given)
  if ok then
    journal.wrote(self, writes, code)
    shown.wrote(self, given)
    noticed.suspended(self, time, given.reason)
    self.is_suspended = true
    return true
  end
  journal.put_back(self, writes, given)
  if code ~= "EBUSY" then lose(self, code, message) end
  self:commit() -- the store tells of what it knows to be waited for
  take_news(self, journal.read_news(self))
  return false
end

-- Says once in an era that its journal is long.
local function warn_of_length(self)
  self.is_warned = true
  local body = self.machine
  self.engine:_log(30, ("%s %s has a long journal: %d entries, %d bytes (it can have %d and %d): self:history() " ..
    "says so by `suggested`, and self:continue_as_new(...) begins a new one"):format(self.record.class_path,
    self.self.id, body.count, body.bytes, body.max_entries, body.max_bytes))
end

-- It is to be held: nothing more begins, and what is at work ends. Returns whether it still has the claim.
local function hold_on(self)
  if settle_steps(self) or heed_news(self) then return true end
  if self.steps.count > 0 then
    self:commit()
    wait_beside(self)
    return true
  end
  local writes, given = journal.collect(self, true)
  given.hold, given.reason = true, self.holding
  local ok, code, message = self.core:flow_suspend(self.claim, given)
  if ok then
    journal.wrote(self, writes, code)
    return false
  end
  journal.put_back(self, writes, given)
  if code ~= "EBUSY" then lose(self, code, message) end
  take_news(self, journal.read_news(self))
  return true
end

-- ---- the life of a claim -------------------------------------------------------------------------------------------

-- Does one of the things that are to be done, in this order. Returns false where there is none. What mostly has nothing
-- to do is not called.
local function act(self)
  local box = self.mailbox
  return self.cancelling and cancel.tell(self, deliver)
    or (self.steps.ended[1] or self.closed[1]) and settle_steps(self) or self.has_news and heed_news(self)
    or (box.mails[1] or box.has_more) and take_mail(self) or self.timers.count > 0 and fire_timer(self)
    or self.transactions[1] and run_transaction(self) or begin_steps(self)
end

-- Goes on until the claim ends. `given`: what has come.
local function loop(self, given)
  local body = self.machine
  if given and given.cancel then cancel.heed(self, given.cancel) end -- before anything begins
  local _, problem = cancel.check_deadline(self)
  if problem then return ending.force(self, problem) end
  if body:is_over() and self.flow.reason == RETRY and ending.retry(self) then return end
  begin_asked(self)
  take_news(self, given)
  while true do
    if body.stops[1] then cancel.stop(self) end
    if body.asked[1] then begin_asked(self) end
    if not self.is_warned and body:is_long() then warn_of_length(self) end
    if (body.ended or body.broken) and not self.cancelling then
      if not ending.takes_journal(self) then self:commit() end
      if self.engine._crash then moment(self, "before its outcome is committed") end
      return ending.finish(self)
    end
    local is_late
    if self.deadline then is_late, problem = cancel.check_deadline(self) end
    if problem then return ending.force(self, problem) end
    if self.holding and not self.cancelling then
      if not hold_on(self) then return end
    elseif not (is_late or act(self)) then
      problem = not self.steps:is_busy() and not self.cancelling and deadlock(self)
      if problem then
        self:commit()
        return ending.hold(self, problem)
      elseif self.steps:is_busy() then
        progress.note(self)
        self:commit()
        wait_beside(self)
      elseif suspend(self) then
        return
      end
    end
  end
end

-- From the beginning of the body.
local function replay(self, given)
  local missing = self.missing(self.of, self.flow.version, self.record.class_path)
  if missing then return ending.hold(self, missing) end
  local body, began = self.machine, now()
  body:start()
  local took = now() - began
  if took >= self.engine._block_warning then warn_of_block(self, took) end
  if body.diverged then return ending.hold(self, body.diverged) end
  self.is_warned = body.was_long
  return loop(self, given)
end

-- What it takes, about: its values are those of its journal.
local function bytes_of(self)
  local body = self.machine
  return KEPT_BYTES + BRANCH_BYTES * blocked.count(body) + body.bytes
end

-- In tests each life begins anew, so that what depends on more than the journal is found. One that is being cancelled
-- has to ask what of it is over.
local function may_be_kept(self)
  return self.is_suspended and self.engine._warm and not (self.engine._test or self.engine._crash or self.cancelling
    or self.machine.cancellation)
end

-- Executes what is to be done for the claim; then the body is kept, if it may go on with another one.
local function live(self, what, given)
  local ok, problem = xpcall(what, errors.handler, self, given)
  if ok then
    if may_be_kept(self) then self.engine._warm:keep(self.record.id, self, bytes_of(self)) end
    return
  end
  if errors.original(problem) == LOST then return end
  error(errors.object(errors.original(problem), problem ~= errors.original(problem) and problem.traceback or nil), 0)
end

--- There is something to do for a run that may be waiting beside its steps.
function Run.wake(self)
  if self.token then self.token:wake(true) end
end

--- Something has come, of which the store tells.
function Run.hear(self)
  self.has_news = true
  self:wake()
end

-- The claim ends with the coroutine, perhaps while that waits: nothing of it goes on. The body is dropped, not closed.
function Run.__close(self)
  self.context.over, self.self._run = true, false
  if self.steps then self.steps:cancel_all("its run has ended") end
  news.forget(self)
end

local function new(engine, claim, stage, run_context, bracket)
  local self = setmetatable({
    engine = engine, core = engine._core, claim = claim, self = stage, record = stage._record, context = run_context,
    of = stage.class, flow = nil, machine = nil, steps = nil, timers = due.new(), missing = bracket.missing,
    handlers = nil, mailbox = nil, unseen = {}, closed = NONE, transactions = NONE, deliveries = 0, written = 0,
    has_more = false, has_news = false, is_warned = false, cancelling = false, holding = false, deadline = false,
    token = false,
  }, Run)
  self.handlers, self.mailbox = handlers.new(self, bracket), mailbox.new(self, cancel.holds)
  return self
end

-- The clock of an engine, made once.
local function clock_of(engine)
  local handle = engine._core
  engine._clock = engine._clock or function() return handle:now() end
  return engine._clock
end

--- Executes a claimed run.
-- @param engine, claim: as the "task" hook has them; stage: its instance; run_context: that of the instance, whose
--   `durable` is set here; bracket: the functions that it is made of: main(self), the body; enter(co, self) and
--   leave(co), called with the coroutine of a branch before and after it runs; late(self, problem), what comes when the
--   run is cancelled and the body has ended; missing(class, version, path), why there is no body.
function run.execute(engine, claim, stage, run_context, bracket)
  local self <close> = new(engine, claim, stage, run_context, bracket)
  news.listen(self)
  local flow, entries, given = journal.read(self)
  self.flow = flow
  cancel.read_deadline(self)
  if flow.mode == "held" then return ending.stay_held(self) end
  local era = flow.era > 0 and ("/~%d"):format(flow.era) or ""
  self.steps = steps.new(self, era, self.of.max_parallel_steps or PARALLEL_STEPS)
  self.machine = machine.new {
    main = bracket.main, owner = self, seed = (engine._crash and engine._crash.seed or flow.seed) .. era,
    entries = entries, next = flow.next, start = flow.era == 0 and flow.created or nil, clock = clock_of(engine),
    limit = self.of.journal_limit, cancelled = cancel.problem, passes_over = self.of.determinism == "by_name",
    late = bracket.late, enter = bracket.enter, leave = bracket.leave,
  }
  run_context.durable = self
  noticed.replayed(self, #entries)
  live(self, replay, given)
end

--- Goes on with a run whose body is kept in this process, and that is claimed again.
-- @param engine, claim, record: as for execute; of: its class, as it is loaded now.
-- @return whether there was one, and it is the one that the store has. If not, nothing of it has run.
function run.go_on(engine, claim, of, record)
  local self <close> = engine._warm and engine._warm:take(record.id) or nil
  if not self or self.of ~= of then return false end
  self.claim, self.record, self.is_suspended, self.has_news = claim, record, false, false
  news.listen(self)
  local flow, given = journal.read_again(self)
  if not flow or flow.mode == "held" or flow.reason == RETRY then return false end
  self.flow = flow
  cancel.read_deadline(self)
  self.self._record, self.self._run, self.context.claim, self.context.over = record, self.context, claim, false
  current.instances[coroutine.running()] = self.self
  live(self, loop, given)
  return true
end

return run
