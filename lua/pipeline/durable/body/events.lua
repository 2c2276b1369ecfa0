--- durable/body/events.lua: what comes from outside to a body, and what it becomes next: events, eras, transactions.

local calls = require "pipeline.durable.body.calls"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local values = require "pipeline.durable.values"
local misuse = require("pipeline.support.place").misuse

local events = {}

local methods = {}

-- ---- events --------------------------------------------------------------------------------------------------------

--- Asks for the next event of a name.
function events.ask(run, name, what, due)
  return run.machine:ask("event", name, { what = "self:" .. what, fill = function(op) op.due = due end })
end

--- A future of the next signal of that name: its payload. A signal that came before is taken, too.
function methods.event(self, name)
  local run = calls.run_of(self, "event")
  return calls.new_future(events.ask(run, name, "event"))
end

local wait_kinds = { timeout = "duration" }

--- Waits for the next signal of that name, which may have come before.
-- @tparam[opt] table given timeout (seconds).
-- @return its payload. Raises TimeoutError; a signal that comes later goes to the next wait.
function methods.wait_event(self, name, given)
  local run = calls.run_of(self, "wait_event")
  given = options.check(given, wait_kinds, 2, "wait_event")
  local op = events.ask(run, name, "wait_event", given.timeout and calls.due_in(run, "wait_event", given.timeout))
  run.machine:wait({ op }, "self:wait_event")
  return calls.give(op)
end

local signal_kinds = { key = "any" }

--- Sends this durable function a signal, from outside of its body: see engine:signal.
function methods.signal(self, name, payload, given)
  given = options.check(given, signal_kinds, 3, "signal")
  if not self._id then
    errors.raise(errors.UnexpectedPipelineError, "signal of %s: it is not started", tostring(self))
  end
  return self._engine:signal(self, name, payload, given)
end

-- ---- transactions --------------------------------------------------------------------------------------------------

--- Calls fn(tx) in a transaction on the file of the engine (see engine:transaction): what it does to the user's tables,
-- its results, and everything that the body has asked for before are committed together, or not at all. If it raises,
-- all is rolled back and it is tried again, as a step is. It should wait for nothing.
-- @tparam string name of the step that it is.
-- @tparam function fn its tx has execute and query.
-- @return what fn returned, decoded.
function methods.transaction(self, name, fn)
  local run = calls.run_of(self, "transaction")
  options.check_function(fn, 2, "transaction")
  local op = run.machine:ask("tx", name, { what = "self:transaction" })
  if not op.done then
    local record = self._record
    op.fn, op.options = fn, {
      max_attempts = record.max_attempts, backoff_seconds = record.backoff_seconds,
      backoff_factor = record.backoff_factor, at_most_once = false,
    }
  end
  run.machine:wait({ op }, "self:transaction")
  return calls.give(op)
end

-- ---- eras ----------------------------------------------------------------------------------------------------------

local Again = {
  __name = "pipeline.ContinueAsNew", __unserializable = "what self:continue_as_new returns: run returns it",
}
Again.__index = Again

--- Encodes the arguments of the next era.
function Again.settle(self)
  self.bytes = values.encode(self.args, self.args.n, "arguments of continue_as_new")
end

--- Begins run anew with these arguments, an empty journal and the same id: `return self:continue_as_new(...)`. Signals
-- that were not taken, the outputs and who waits for them, and children that still run are as before. Handlers at work
-- end first; what they change in tables among the arguments is in the next era.
-- @return what run must return.
function methods.continue_as_new(self, ...)
  local run = calls.run_of(self, "continue_as_new")
  run.machine:check_call("self:continue_as_new")
  if run.machine.branch.is_handler then
    misuse("continue_as_new is not possible in a handler: set a variable, and let run return " ..
      "self:continue_as_new(...)")
  end
  local again = setmetatable({ args = table.pack(...), bytes = false }, Again)
  again:settle() -- what cannot be encoded is an error here
  run.again = again
  return again
end

--- Whether that is what continue_as_new returns.
function events.is_again(value)
  return type(value) == "table" and getmetatable(value) == Again
end

--- How long the journal of this era is: { entries, bytes, era (times it was continued as new), suggested (it is time to
-- continue as new: from 2,000 entries or 4 MiB on) }.
function methods.history(self)
  local run = calls.run_of(self, "history")
  local count, bytes = run.machine.count, run.machine.bytes
  return {
    entries = count, bytes = bytes, era = run.flow.era,
    suggested = run.machine:is_long(),
  }
end

events.methods = methods

return events
