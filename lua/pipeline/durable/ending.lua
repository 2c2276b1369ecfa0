--- durable/ending.lua: how a claimed run of a durable function ends: done, aborted, held; and what it is said to wait
-- for.

local attempts = require "pipeline.engine.attempt"
local blocked = require "pipeline.flow.blocked"
local cancel = require "pipeline.durable.cancel"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local NONE <const> = require("pipeline.flow.entry").NONE
local instance = require "pipeline.workflow.instance"
local journal = require "pipeline.durable.journal"
local noticed = require "pipeline.durable.reach.noticed"
local outcome = require "pipeline.workflow.outcome"
local place = require "pipeline.support.place"
local recorded = require "pipeline.flow.recorded"
local report = require "pipeline.support.report"
local shown = require "pipeline.durable.reach.shown"
local text = require "pipeline.support.text"
local values = require "pipeline.durable.values"

local ending = {}

local ERROR <const>, WARNING <const> = 40, 30
local WAITS_MAX <const> = 5 -- named in the words of what a run waits for
local NEVER_SECONDS <const> = 1e9

-- ---- words ---------------------------------------------------------------------------------------------------------

local function time_text(seconds)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(math.min(seconds, 1e11)))
end

local waits = {}

function waits.timer(_, op)
  return ("timer until %s"):format(time_text(op.due))
end

function waits.child(self, op)
  return ("child %s %s"):format(op.name, self.engine:_id_text(op.ref))
end

function waits.event(_, op)
  return ("signal %s%s"):format(op.name, op.due and " until " .. time_text(op.due) or "")
end

function waits.slot(_, op)
  return ("output %s"):format(op.name)
end

function waits.tx(_, op)
  return waits.step(nil, op)
end

function waits.step(_, op)
  local of, message = "", ""
  if op.value then of, message = values.describe_error(op.value) end
  return ("attempt %d of step %s at %s, after %s: %s"):format(op.attempt + 1, op.name, time_text(op.due), of,
    text.short(message))
end

--- What a run that is suspended waits for, in words.
function ending.waits_for(self)
  local cancelled = cancel.waits_for(self)
  if cancelled then return cancelled end
  local list, met = {}, {}
  local function add(op)
    if met[op] or op.done or not waits[op.kind] then return end
    if (op.kind == "step" or op.kind == "tx" or op.kind == "timer") and not op.due then return end
    met[op] = true
    list[#list + 1] = waits[op.kind](self, op)
  end
  for op in blocked.each_awaited(self.machine) do add(op) end
  local retried = {}
  for op in self.timers:each() do
    if op.kind == "step" or op.kind == "tx" then retried[#retried + 1] = op end
  end
  table.sort(retried, function(a, b) return a.seq < b.seq end)
  for _, op in ipairs(retried) do add(op) end
  if #list > WAITS_MAX then list[WAITS_MAX + 1] = ("and %d more"):format(#list - WAITS_MAX) end
  return "waits for " .. table.concat(list, ", ", 1, math.min(#list, WAITS_MAX + 1))
end

--- A failed attempt of a step that will be tried again.
function ending.report_step(self, op, number, bytes)
  local of, message = values.describe_error(bytes)
  report.line(self.engine, WARNING, table.concat({ "step", self.record.class_path, op.name, message }, "\0"),
    ("step %s of %s %s failed, attempt %d of %s: %s: %s; it is tried again at %s"):format(op.name,
      self.record.class_path, self.self.id, number, tostring(op.options.max_attempts), of, text.short(message, 500),
      time_text(op.due)))
end

-- ---- ends ----------------------------------------------------------------------------------------------------------

local function send(self, out)
  self.context.over = true
  local ok, code, message = self.core:outcome(self.claim, out)
  if ok then shown.wrote(self, out.journal) end
  if ok then return end
  attempts.log_end(self.engine, ("%s %s"):format(self.record.class_path, self.self.id), nil, ok, code, message)
end

local function flags(self)
  return outcome.flags(self.of, self.record, self.engine)
end

-- In tests without retries an error that nobody has answered for comes out of start_test.
local function fail_test(self, caught)
  local engine = self.engine
  if not engine._test_errors then engine._test_errors = { errors.original(caught) } end
  send(self, {
    kind = "failed", flags = flags(self), retry_at = self.core:now() + NEVER_SECONDS, retry_message = "",
    failure = errors.failure("Error", ""),
  })
  self.core:stop()
end

local function is_test(self)
  return self.engine._test and not self.engine._test_retry and self.record.flags & instance.GUARDED == 0
end

-- The compensations that failed: their failures, and what is added to the reason of the abort.
local function failed_compensations(self)
  local list, words = {}, ""
  for i, each in ipairs(self.uncompensated) do
    list[i] = errors.failure_of(each.problem)
    words = ("%s; compensation %s failed: %s: %s"):format(words, each.name, list[i].error_class, list[i].message)
    list[i].message = ("compensation %s: %s"):format(each.name, list[i].message)
  end
  return list[1] and list or nil, words
end

-- The run was cancelled, and has cleaned up. `caught`: what its body ended with; nil: it returned.
local function cancelled(self, caught)
  local failures, words = failed_compensations(self)
  local own = cancel.own_reason(self)
  local is_told = caught == nil or errors.is(errors.original(caught), errors.CancelledError)
  local out = { kind = "abort", flags = flags(self), failures = failures }
  if own then
    local failure = errors.failure_of(own)
    out.failure, out.abort_message = failure, ("%s: %s%s"):format(failure.error_class, failure.message, words)
    if self.record.flags & instance.GUARDED == 0 then
      report.abort(self.engine, self.self, self.record, 1, failure, place.of_function(self.of.run))
    end
  end
  if not is_told then
    out.failures = out.failures or {}
    table.insert(out.failures, 1, errors.failure_of(caught))
  end
  local _, given = journal.collect(self)
  out.journal = given
  send(self, out)
end

--- Ends a run that is to be aborted at once: nothing more of its body runs. `problem`: an error object.
function ending.force(self, problem)
  self.steps:cancel_all("its run has ended")
  local failure = errors.failure_of(problem)
  local failures, words = failed_compensations(self)
  self.engine:_log(ERROR, ("%s %s is aborted by force: %s: %s"):format(self.record.class_path, self.self.id,
    failure.error_class, failure.message))
  local own = cancel.own_reason(self)
  local why = own and errors.failure_of(own)
  local _, given = journal.collect(self)
  send(self, {
    kind = "abort", flags = flags(self), failure = failure, failures = failures, journal = given, force = true,
    abort_message = why and ("%s: %s%s"):format(why.error_class, why.message, words) or nil,
  })
end

-- Why it is held, and the line of the log that says so. Of a divergence both are the same, wherever it is shown.
local function reason_of(self, problem)
  local class, message = errors.describe(problem)
  local who = ("%s %s"):format(self.record.class_path, self.self.id)
  if errors.is(errors.original(problem), errors.NondeterminismError) then
    local reason = ("%s: %s: %s. Held."):format(class, who, message)
    return reason, reason
  end
  local reason = ("%s: %s"):format(class, message)
  return reason, ("%s is held: %s"):format(who, reason)
end

--- The run goes no further until somebody resumes it; `problem`: an error object. One that is to be aborted is so.
function ending.hold(self, problem)
  if is_test(self) then return fail_test(self, problem) end
  if self.flow.cancel > 0 or self.cancelling or self.machine.cancellation then return ending.force(self, problem) end
  local reason, line = reason_of(self, problem)
  self.engine:_log(ERROR, line)
  noticed.held(self, reason)
  send(self, { kind = "held", retry_message = reason, flags = flags(self) })
end

--- It was claimed, and is held all the same.
function ending.stay_held(self)
  send(self, { kind = "held", retry_message = self.flow.reason, flags = flags(self) })
end

-- The failure of a step that has just left run is forgotten with the abort: should the tree be resumed, the step is
-- tried again, as everything that failed.
local function forget_failure(self, original)
  local op = self.machine.latest
  if not (op and op.kind == "step" and op.raised and rawequal(op.raised[1], original)) then return nil end
  if not self.machine:reopen(op, self.core:now()) then return nil end
  local _, given = journal.collect(self)
  return given
end

--- The body has ended, all from the journal, with the error for which the run was held, and it was resumed with
-- `retry`: the failure of the step is forgotten, and the step tried again in the next life. Returns whether there was
-- one.
function ending.retry(self)
  local ended = self.machine.ended
  local given = ended and not ended.ok and forget_failure(self, errors.original(ended.caught))
  if not (given and self.core:journal(self.claim, given)) then return false end
  self.context.over = true
  return self.core:give_back(self.claim) ~= nil
end

-- An error that leaves run.
local function abort(self, caught)
  self.steps:cancel_all("its run has failed")
  if is_test(self) then return fail_test(self, caught) end
  local original = errors.original(caught)
  if self.machine.cancellation then return cancelled(self, caught) end
  if self.of.on_error == "hold" and not errors.is(original, errors.Abort) then return ending.hold(self, caught) end
  local failure = errors.failure_of(caught)
  local class, message = failure.error_class, failure.message
  local failures, words = failed_compensations(self)
  local reason = (errors.is(original, errors.Abort) and message or ("%s: %s"):format(class, message)) .. words
  local where = errors.place(caught) or place.of_function(self.of.run)
  if self.record.flags & instance.GUARDED == 0 then
    report.abort(self.engine, self.self, self.record, 1, failure, where)
  end
  local given = forget_failure(self, original)
  send(self, {
    kind = "abort", abort_message = reason, failure = failure, failures = failures, flags = flags(self),
    journal = given,
  })
end

local function by_slot(a, b) return a.slot < b.slot end

local function encode_default(value)
  local bytes, inputs, message = core.encode_value(value, "return value")
  if not bytes then errors.raise_core(inputs, message, "Bad return value") end
  if inputs and #inputs > 0 then
    errors.raise(errors.SerializationError, "return value: a future of a pipeline inside a table; await it, and " ..
      "return its value")
  end
  return bytes
end

-- The list with what was filled before, but for slots that are in it; in the order of slots.
local function with_fills(fills, list)
  local first = list[1] and list[1].slot
  for slot, bytes in pairs(fills) do
    if slot ~= first then list[#list + 1] = { slot = slot, value = bytes } end
  end
  table.sort(list, by_slot)
  return list
end

-- The outputs of a run that has returned `count` values, `value` first.
local function fills_of(self, count, value)
  local given, outputs = self.context, self.record.outputs
  local filled = given.filled or NONE
  local missing, list
  for i = 1, #outputs do
    local output = outputs[i]
    if output.name ~= "default" and not filled[output.name] then
      missing = missing or {}
      missing[#missing + 1] = output.name
    elseif output.name == "default" and not (count == 0 and filled.default) then
      list = { { slot = output.slot, value = encode_default(value) } }
    end
  end
  if missing then
    table.sort(missing)
    errors.raise(errors.SlotNotFilledError, "outputs %s of %s were not filled", table.concat(missing, ", "),
      tostring(self.self))
  end
  if not given.fills then return list or NONE end
  return with_fills(given.fills, list or {})
end

-- Signals that nothing has taken go with the run.
local function tell_left(self)
  for _, name in ipairs(self.mailbox:left()) do
    self.engine:_log(WARNING, ("%s %s has ended, and nothing in it has taken signal %q"):format(self.record.class_path,
      self.self.id, name))
  end
end

-- Its next era.
local function continue(self)
  local _, given = journal.collect(self, true)
  send(self, { kind = "continue", args = self.again.bytes, flags = flags(self), journal = given })
end

local function done(self, results)
  if self.again then return continue(self) end
  local ok, fills = xpcall(fills_of, errors.handler, self, results.n, results[1])
  if not ok then
    self:commit()
    return abort(self, fills)
  end
  local _, given = journal.collect(self)
  tell_left(self)
  send(self, {
    kind = "ok", flags = flags(self), fills = fills[1] and fills or nil, tasks = self.context.tasks, journal = given,
  })
  for _, fn in ipairs(self.context.committed or NONE) do fn() end
end

--- Whether the end of a body takes along what is to be written of its journal: that of one that has returned does.
function ending.takes_journal(self)
  local ended = self.machine.ended
  return not self.machine.broken and ended and ended.ok
end

-- What the journal has and the body has not asked for goes with the run (determinism = "by_name").
local function tell_passed(self)
  for _, words in ipairs(recorded.left(self.machine)) do
    self.engine:_log(WARNING, ("%s %s has ended, and has not asked for %s, which an earlier life of it did: it was " ..
      "passed over"):format(self.record.class_path, self.self.id, words))
  end
end

--- The body is over: its results are those of the run, its error aborts it.
function ending.finish(self)
  local body = self.machine
  if body.has_passed then tell_passed(self) end
  if body.broken then return abort(self, body.broken) end
  local ended = body.ended
  if not ended.ok then return abort(self, ended.caught) end
  if body.cancellation then return cancelled(self, nil) end
  return done(self, ended.results)
end

return ending
