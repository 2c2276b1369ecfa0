--- durable/body/calls.lua: what all methods of a body have in common: where they may be called, and their futures.

local current = require "pipeline.current"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"
local info = require "pipeline.durable.info"
local instance = require "pipeline.workflow.instance"
local spawning = require "pipeline.durable.body.spawning"
local values = require "pipeline.durable.values"
local place = require "pipeline.support.place"
local bad_argument, misuse = place.bad_argument, place.misuse

local calls = {}

local type, unpack = type, table.unpack
local running = current.body

-- ---- futures -------------------------------------------------------------------------------------------------------

local Future = { __name = "pipeline.DurableFuture", __unserializable = "a future of a durable function: await it" }

function Future.__tostring(self)
  local op = self.op
  return ("future of %s %q%s"):format(op.kind, op.name, op.ready and " (done)" or "")
end

--- The future of an operation or a branch.
function calls.new_future(op)
  return setmetatable({ op = op }, Future)
end

--- Whether `value` is one.
local function is_own_future(value)
  return type(value) == "table" and getmetatable(value) == Future
end

-- ---- where they may be called --------------------------------------------------------------------------------------

--- The run that the caller is the body of. Raises where it is none.
function calls.run_of(self, what)
  if self == running[1] then
    local run = self._run.durable
    if run.machine.branch then return run end
  end
  if not instance.is(self) then
    misuse("bad self of '%s' (a pipeline expected, got %s): ':' is missing, as in self:%s(...)", what, type(self), what)
  end
  local given = self._run
  local run = given and given.durable
  if run and run.machine.branch then return run end
  if run and run.reads_only then
    errors.raise(errors.QueryError, "self:%s is called in the handler of a query, which only looks", what)
  end
  local step = info.current()
  if step then
    errors.raise(errors.NotInStepError, "self:%s is called inside the function of step %q: it belongs into the body " ..
      "of the durable function, which awaits the step first", what, step.name)
  end
  errors.raise(errors.NotInStepError, "self:%s is possible only in the body of a durable function, while it runs; " ..
    "here %s is not in its body", what, tostring(self))
end

-- The results of an operation that is ready, or its error.
local function give(op)
  op.is_seen = true
  if op.state == "failed" then
    local problem = values.decode_error(op.value)
    op.raised = { problem } -- what is raised, should it leave run
    error(problem, 0)
  elseif op.state == "cancelled" then
    error(errors.CancelledError(entry.words(op) .. " was cancelled", { where = op.line or false, traceback = "" }), 0)
  end
  if op.value == values.NOTHING then return end
  local list, n = values.decode(op.value)
  if op.kind == "child" or op.kind == "slot" then return list[1] end
  return unpack(list, 1, n)
end

local function give_branch(on)
  on.is_seen = true
  if not on.ok then error(errors.original(on.caught), 0) end
  return unpack(on.results, 1, on.results.n)
end

--- The results of an operation or a branch that is ready, or its error.
local function results_of(op)
  if op.kind == "branch" then return give_branch(op) end
  return give(op)
end

calls.give, calls.results_of, calls.is_own_future = give, results_of, is_own_future


--- The operation or branch to wait for, and, of an output of a child, the operation of that.
local function operation_of(run, self, value, what)
  if is_own_future(value) then return value.op end
  if not (future.is_future(value) or future.is_slot(value)) then
    local hint = ""
    if instance.is(value) then hint = "; spawn it first, and await the future that returns" end
    bad_argument(1, what, "a future of this run expected, got %s%s",
      type(value) == "table" and "another table" or type(value), hint)
  end
  return spawning.operation(run, self, value, what)
end

calls.operation_of = operation_of

--- Waits for a future. Returns its values, or raises its error.
function calls.await_one(run, self, value)
  local op, child = operation_of(run, self, value, "await")
  if child and not op.ready then
    local first = run.machine:wait({ op, child }, "self:await")
    if first == child and child.state == "failed" then op = child end
  end
  if not op.ready then run.machine:wait({ op }, "self:await") end
  run.unseen[op] = nil
  if child then run.unseen[child] = nil end
  return results_of(op)
end

--- A time so many seconds from now.
function calls.due_in(run, what, seconds)
  if type(seconds) ~= "number" or seconds ~= seconds then
    bad_argument(1, what, "number of seconds expected, got %s", seconds ~= seconds and "nan" or type(seconds))
  end
  return run.core:now() + math.min(math.max(seconds, 0), 1e10)
end

--- Asks for a timer.
function calls.ask_timer(run, what, due)
  return run.machine:ask("timer", what, {
    what = "self:" .. what, fill = function(op) op.due = due end,
  })
end

return calls
