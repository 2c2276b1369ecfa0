--- durable/cancel.lua: a run is cancelled: by an abort from outside, or for its time is up.
--
--   asked ──► what is at work is stopped, children are aborted ──► they are final ──► told: an entry of the journal
--                                                                                        │
--   ABORTED ◄── outcome ◄── compensations ◄── branches have ended ◄── CancelledError ◄───┘
--
-- Between asking and telling nothing else is delivered, but inside shields: so a branch that waits for a child that is
-- being aborted sees the cancellation, and not the end of the child first. What was held back is delivered after it.
--
-- Steps that were stopped end when their functions do. One that ends well all the same has its result recorded; of any
-- other it is recorded only that it was cancelled, which is not its result.
--
-- Fields of a run that are of this: cancelling (what is asked for and not told; or false: name, value, message, final
-- (set of operations of children that are), live (set of children below which something is not)), deadline (of the run,
-- or of its cleaning up; false: none), bind (what the store is to keep with the next commit; false: nothing), held_ends
-- (ends of steps that are held back).

local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local journal = require "pipeline.durable.journal"
local values = require "pipeline.durable.values"

local cancel = {}

local ASKED <const>, TOLD <const> = 1, 2 -- what the store keeps of it

cancel.TOLD = TOLD -- from here on a run is bound to end ABORTED

-- ---- asking --------------------------------------------------------------------------------------------------------

local function stop_step(self, op)
  if self.steps:stop(op, "its run is cancelled") then return end
  self.steps:drop(op)
end

--- What the store is to keep with the next commit: how far a cancellation is, and until when it may take; nil: as it
-- is.
function cancel.bind(self, how, deadline)
  local bind = self.bind or {}
  journal.set(self, "bind", { cancel = how or bind.cancel, deadline = deadline or bind.deadline })
end

-- How long it may clean up.
local function limit_cleaning(self)
  local seconds = self.of.cancel_timeout
  if not seconds then
    self.deadline = false
    return
  end
  local due = self.core:now() + seconds
  self.deadline = self.deadline and math.min(self.deadline, due) or due
  cancel.bind(self, nil, self.deadline)
end

-- The run is to be cancelled, once. `problem`: an error; name: "abort" or "timeout".
local function ask(self, name, problem)
  if self.cancelling or self.machine.cancellation then return end
  self.cancelling = {
    name = name, value = values.encode_error(problem), final = {}, live = {},
    message = problem.reason or problem.message,
    has_told_children = false,
  }
  self.machine.is_cancelling = true
  limit_cleaning(self)
  for _, op in ipairs(self.machine:at_work()) do
    if op.kind == "step" then stop_step(self, op) end
  end
end

-- Its time is up: so it is from here on in every life of it, also when there is more of it for cleaning up.
local function ask_late(self)
  local seconds = self.of.run_timeout
  ask(self, "timeout", errors.TimeoutError(seconds and ("the run took longer than %g s (run_timeout)"):format(seconds)
    or "the run took longer than its run_timeout", { where = false, traceback = "" }))
  if self.cancelling then cancel.bind(self, ASKED) end
end

--- The store tells of a cancellation that was asked for: by an abort, or in an earlier life when the time was up.
function cancel.heed(self, given)
  if given.is_abort then
    local text = given.message and given.message ~= "" and "aborted: " .. given.message or "aborted"
    ask(self, "abort", errors.CancelledError(text, { where = false, traceback = "", reason = given.message }))
  else
    ask_late(self)
  end
  if not self.cancelling then return end
  self.cancelling.live = {}
  for _, id in ipairs(given.live) do self.cancelling.live[id] = true end
end

-- ---- stopping ------------------------------------------------------------------------------------------------------

--- Aborts children, when it is written that they are to be, and that there are.
local function abort_children(self, list, message)
  if not list[1] then return end
  self:commit()
  for _, op in ipairs(list) do
    local ok, code, text = self.core:abort(op.ref, message or "", false)
    if not ok and code ~= "ENOTFOUND" and code ~= "EFINAL" and code ~= "EEXISTS" then
      errors.raise_core(code, text, "abort of a child")
    end
  end
  self.has_news = true
end

--- Stops what the body has no use for any more: a scope of it was cancelled. Returns whether there was anything.
function cancel.stop(self)
  local list, children = self.machine:take_stops(), {}
  for _, op in ipairs(list) do
    local is_over = op.done or op.has_ended -- it is about to be delivered
    if op.kind == "child" and not is_over then
      children[#children + 1] = op
    elseif not (is_over or self.steps:stop(op, "it is cancelled")) then
      self.steps:drop(op)
      self.machine:close(op, "cancelled", nil)
      entry.put(self, "closed", op)
    end
  end
  abort_children(self, children, "cancelled")
  return list[1] ~= nil
end

--- Whether the end of this operation has to wait until the run is told. Of a child it is noted.
function cancel.holds(self, op)
  if not self.cancelling or not self.machine:holds(op) then return false end
  if op.kind == "child" then self.cancelling.final[op] = true end
  return true
end

-- ---- telling -------------------------------------------------------------------------------------------------------

-- The children that have to be final first.
local function children_of(self)
  local list = {}
  for _, op in ipairs(self.machine:at_work()) do
    if op.kind == "child" and not op.done then list[#list + 1] = op end
  end
  return list
end

--- Tells the body, if it is to be told and nothing below it goes on. Returns whether something was done about it.
function cancel.tell(self, deliver)
  local asked = self.cancelling
  if not asked then return false end
  local children = children_of(self)
  if not asked.has_told_children then
    asked.has_told_children = true
    abort_children(self, children, asked.message)
    if children[1] then return true end
  end
  for _, op in ipairs(children) do
    if not asked.final[op] or asked.live[op.ref] then return false end
  end
  self.cancelling = false
  local op = self.machine:cancel_all(asked.name, asked.value)
  cancel.bind(self, TOLD)
  self:commit()
  for _, attempt in ipairs(self.held_ends) do self.steps:put_ended(attempt) end
  self.held_ends, self.has_news = entry.NONE, true
  deliver(self, { op })
  return true
end

--- The error that a branch of a cancelled run gets.
function cancel.problem(op)
  local problem = values.decode_error(op.value)
  if errors.is(problem, errors.CancelledError) then return problem end
  local class, message = errors.describe(problem)
  return errors.CancelledError(("%s: %s"):format(class, message), {
    where = false, traceback = "", reason = message,
  })
end

--- Why the run was cancelled: its own decision, with the error; or, nil: somebody has aborted it.
function cancel.own_reason(self)
  local it = self.machine.cancellation or self.cancelling
  return it and it.name ~= "abort" and values.decode_error(it.value) or nil
end

--- What a run that is being cancelled waits for, in words; nil: it waits for something else.
function cancel.waits_for(self)
  local asked = self.cancelling
  if not asked then return nil end
  local names = {}
  for _, op in ipairs(children_of(self)) do
    if not asked.final[op] or asked.live[op.ref] then names[#names + 1] = entry.words(op) end
  end
  return ("is cancelled (%s), and waits for the end of what is below it: %s"):format(asked.message or "",
    table.concat(names, ", ", 1, math.min(#names, 5)))
end

-- ---- time ----------------------------------------------------------------------------------------------------------

--- Reads how long the run may take: what the store keeps of that, or, at its begin, what its class says.
function cancel.read_deadline(self)
  local flow, seconds = self.flow, self.of.run_timeout
  self.deadline = flow.deadline or false
  if flow.cancel > 0 then
    if not self.of.cancel_timeout then self.deadline = false end
  elseif seconds and not flow.deadline then
    self.deadline = self.core:now() + seconds
    cancel.bind(self, nil, self.deadline)
  end
end

--- Acts on the deadline, if it has passed. Returns whether it has; and an error: the run is to be ended at once.
function cancel.check_deadline(self)
  if not self.deadline or self.deadline > self.core:now() then return false end
  self.deadline = false
  if self.cancelling or self.machine.cancellation then
    return true, errors.TimeoutError(("its cleaning up took longer than %g s (cancel_timeout)"):format(
      self.of.cancel_timeout or 0), { where = false, traceback = "" })
  end
  ask_late(self)
  return true
end

return cancel
