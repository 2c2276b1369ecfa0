--- durable/body/methods.lua: the methods that `self` has in the body of a durable function.
--
-- What they ask for is recorded: the machine of the run finds it in the journal, or has it done. Their names are
-- reserved in durable classes, and nowhere else.

local branches = require "pipeline.durable.body.branches"
local calls = require "pipeline.durable.body.calls"
local compensating = require "pipeline.durable.body.compensating"
local core = require "pipeline.core"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local events = require "pipeline.durable.body.events"
local future = require "pipeline.workflow.future"
local guards = require "pipeline.durable.body.guards"
local handling = require "pipeline.durable.body.handling"
local journal = require "pipeline.durable.journal"
local options = require "pipeline.support.options"
local scopes = require "pipeline.durable.body.scopes"
local shown = require "pipeline.durable.reach.shown"
local spawning = require "pipeline.durable.body.spawning"
local telling = require "pipeline.durable.body.telling"
local versions = require "pipeline.durable.body.versions"
local place = require "pipeline.support.place"
local bad_argument, bad_option, bad_type, misuse = place.bad_argument, place.bad_option, place.bad_type, place.misuse

local body = {}

local run_of, give, new_future, is_own_future = calls.run_of, calls.give, calls.new_future, calls.is_own_future
local await_one, ask_timer, due_in = calls.await_one, calls.ask_timer, calls.due_in

local methods = {}
local type, select, unpack, pack = type, select, table.unpack, table.pack

-- ---- steps ---------------------------------------------------------------------------------------------------------

local step_kinds = {
  name = "string", key = "any", max_attempts = "any", backoff_seconds = "duration", backoff_factor = "duration",
  timeout = "duration", no_retry = "table", at_most_once = "boolean", heartbeat_timeout = "duration",
  compensate = "function",
}

local function check_key(what, key)
  if key == nil or type(key) == "string" or math.type(key) == "integer" then
    key = key ~= nil and tostring(key) or nil
    if not key or #key >= 1 and #key <= 200 then return key end
  end
  bad_option(1, what, "key", "a text of 1 to 200 bytes, or a whole number, expected")
end

local function check_attempts(what, value)
  if value == nil or value == math.huge or math.type(value) == "integer" and value >= 1 then return value end
  bad_option(1, what, "max_attempts", "a whole number from 1 on, or math.huge, expected")
end

local function read_options(given, what)
  if type(given) == "string" then return { name = given } end
  if type(given) ~= "table" then
    bad_type(1, what, "the name of the step, or a table with it,", given)
  end
  given = options.check(given, step_kinds, 1, what)
  if given.name == nil then bad_option(1, what, "name", "string expected, got nil") end
  check_attempts(what, given.max_attempts)
  return given
end

-- What a step goes by: its own options, else those of the run.
local function options_of(self, given)
  local record = self._record
  local timeout = given.timeout or record.timeout
  return {
    max_attempts = given.max_attempts or given.at_most_once and 1 or record.max_attempts,
    backoff_seconds = given.backoff_seconds or record.backoff_seconds,
    backoff_factor = given.backoff_factor or record.backoff_factor, at_most_once = given.at_most_once or false,
    timeout = timeout and timeout > 0 and timeout or nil, no_retry = given.no_retry,
    heartbeat_timeout = given.heartbeat_timeout,
  }
end

local function refuse_future(value, position, what)
  if future.is_future(value) or future.is_slot(value) or is_own_future(value) then
    bad_argument(position, what, "a future: await it first, and give the step its value")
  end
end

local function check_args(what, n, ...)
  for i = 1, n do
    local value = (select(i, ...))
    refuse_future(value, i + 2, what)
    if type(value) == "table" and not getmetatable(value) then
      for _, inner in next, value do refuse_future(inner, i + 2, what) end
    end
  end
end

-- Of most steps only the name is given, and no arguments: what those have in common is made once.
local NO_ARGS <const> = { n = 0 }
local asks = { step = { what = "self:step" }, start_step = { what = "self:start_step" } }

local function ask_plain(run, self, what, name, fn, n, ...)
  local op = run.machine:ask("step", name, asks[what])
  if op.done then return op end
  run.plain_options = run.plain_options or options_of(self, {})
  op.fn, op.args, op.options = fn, n == 0 and NO_ARGS or pack(...), run.plain_options
  return op
end

local function ask_step(self, what, given, fn, ...)
  local run = run_of(self, what)
  if type(given) == "string" and type(fn) == "function" then
    local n = select("#", ...)
    if n > 0 then check_args(what, n, ...) end
    local op = ask_plain(run, self, what, given, fn, n, ...)
    run.unseen[op] = true
    return run, op
  end
  given = read_options(given, what)
  options.check_function(fn, 2, what)
  check_args(what, select("#", ...), ...)
  local op = run.machine:ask("step", given.name, { key = check_key(what, given.key), what = "self:" .. what })
  if not op.done then op.fn, op.args, op.options = fn, pack(...), options_of(self, given) end
  run.unseen[op] = true
  if given.compensate then compensating.register_step(run, op, given.compensate, pack(...)) end
  return run, op
end

--- Has fn(...) done once, in a tasklet of its own, and its results recorded: in every later life of the run they come
-- from the journal. A failed attempt is tried again.
-- @param given name of the step (1 to 200 bytes), or a table: name, key (text or whole number: the identity in place of
--   the occurrence), max_attempts, backoff_seconds, backoff_factor, timeout (seconds of one attempt); these default to
--   those of the class; heartbeat_timeout (seconds without a heartbeat after which an attempt has failed), no_retry
--   (list of classes of errors that are final), at_most_once (its begin is recorded: it is never called again after a
--   crash; max_attempts is then 1 unless it is given), compensate (function(outcome, ...) that undoes it should run
--   fail or be cancelled later: outcome.ok is true, false, or nil: nobody can say whether it had its effect;
--   outcome.value, outcome.error and outcome.key are those of the step, the rest are its arguments).
-- @tparam function fn may do anything, and may await; see pipeline.step.
-- @return what fn returned, decoded; raises what it raised once its attempts are used up.
-- Raises NotInStepError, NotYieldableError, LimitError, NondeterminismError never: such a run is held.
function methods.step(self, given, fn, ...)
  local run, op = ask_step(self, "step", given, fn, ...)
  run.machine:wait_asked(op)
  run.unseen[op] = nil
  return give(op)
end

--- As step, but does not wait: returns a future.
function methods.start_step(self, given, fn, ...)
  local _, op = ask_step(self, "start_step", given, fn, ...)
  return new_future(op)
end

-- ---- time and chance -----------------------------------------------------------------------------------------------

--- Waits so many seconds, however long: the run is suspended meanwhile, and goes on in whatever process is there.
function methods.sleep(self, seconds)
  local run = run_of(self, "sleep")
  local op = ask_timer(run, "sleep", due_in(run, "sleep", seconds))
  run.machine:wait({ op }, "self:sleep")
  give(op)
end

--- A future that is done after so many seconds, or at { at = seconds since the epoch }.
function methods.timer(self, given)
  local run = run_of(self, "timer")
  local due
  if type(given) == "table" then
    given = options.check(given, { at = "number" }, 1, "timer")
    if not given.at then bad_option(1, "timer", "at", "number expected, got nil") end
    due = math.max(given.at, 0)
  else
    due = due_in(run, "timer", given)
  end
  return new_future(ask_timer(run, "timer", due))
end

--- The time of what the body was told last, in seconds since the epoch: the same in every life of the run.
function methods.now(self)
  return run_of(self, "now").machine.now
end

--- As math.random, but the same in every life of the run.
function methods.random(self, m, n)
  return run_of(self, "random").machine:chance("self:random"):number(m, n)
end

--- A random UUID, a text of 36 characters; the same in every life of the run.
function methods.uuid(self)
  return run_of(self, "uuid").machine:chance("self:uuid"):uuid()
end

--- The version of the class that the run was started under.
function methods.version(self)
  return run_of(self, "version").flow.version
end

-- ---- children ------------------------------------------------------------------------------------------------------

--- Starts `child` with the next commit, below this run.
-- @tparam[opt] table given detached = true: a root of its own, which lives on whatever becomes of this run, and is not
--   awaited; fallback (a value): what its outputs are if it is aborted.
-- @return its future, for self:await or as an argument of another child.
function methods.spawn(self, child, given)
  local run = run_of(self, "spawn")
  return spawning.spawn(run, self, child, given)
end

local function await_all(run, self, list, i, n)
  if i > n then return end
  local value = await_one(run, self, list[i])
  return value, await_all(run, self, list, i + 1, n)
end

--- Waits for futures of this run: of steps, timers, children and their outputs. Of one: its values; of several: the
-- first value of each. Raises AbortedError for a child that was aborted, else the recorded error.
function methods.await(self, ...)
  local run, n = run_of(self, "await"), select("#", ...)
  if n == 0 then bad_argument(1, "await", "a future expected, got no value") end
  if n == 1 then return await_one(run, self, (...)) end
  return await_all(run, self, { ... }, 1, n)
end

-- ---- what is seen of it --------------------------------------------------------------------------------------------

--- Writes a line to the log, once: not when the run is replayed.
function methods.log(self, ...)
  local run = run_of(self, "log")
  if run.machine.replaying or run.reads_only then return end
  return class.Base.log(self, ...)
end

--- Whether what the body does now was done before, in an earlier life.
function methods.is_replaying(self)
  return run_of(self, "is_replaying").machine.replaying
end

local status_kinds = { message = "string", console_url = "string", status_links = "table" }

--- As for every pipeline; in the body with the next commit.
function methods.set_status(self, given)
  local run = self._run and self._run.durable
  if not (run and run.machine.branch) then return class.Base.set_status(self, given) end
  given = options.check(given, status_kinds, 1, "set_status")
  if not shown.is_new(run) then return end
  local bytes, code, message = core.encode_value(given.status_links or {}, "status_links")
  if not bytes then errors.raise_core(code, message) end
  journal.set(run, "status", {
    message = given.message, console_url = given.console_url, links = bytes, time = run.core:now(),
  })
end

--- Not for durable functions, which await the futures, and then spawn: raises UnexpectedPipelineError.
function methods.after()
  errors.raise(errors.UnexpectedPipelineError, "after is not for durable functions: await the futures, then spawn")
end

--- Not for durable functions, which await each child before they spawn the next: raises UnexpectedPipelineError.
function methods.in_order()
  errors.raise(errors.UnexpectedPipelineError, "in_order is not for durable functions: await each child before the " ..
    "next is spawned")
end

-- ---- the body as a whole -------------------------------------------------------------------------------------------

-- What a run leaves behind unawaited: its branches, steps and children are waited for, in order, and a failure is its
-- failure.
local function wait_for_rest(run)
  while true do
    branches.wait_for_rest(run)
    local op
    for each in pairs(run.unseen) do
      if not (op and op.seq < each.seq) and not (run.again and each.kind == "child") then op = each end
    end
    if not op then return end
    run.machine:wait({ op }, "the end of run")
    run.unseen[op] = nil
    if op.state == "failed" and not op.is_stopping then give(op) end
  end
end

-- A run that returns the future of a child gives that child's outputs as its own.
local function take_over(run, self, value)
  local outputs = {}
  for _, output in ipairs(self._record.outputs) do
    local name = output.name
    local filled = run.context.filled
    if name ~= "default" and not (filled and filled[name]) then outputs[#outputs + 1] = name end
  end
  for _, name in ipairs(outputs) do self:fill(name, await_one(run, self, value[name])) end
  return await_one(run, self, value)
end

-- What a run gives is visible as soon as its body has returned, also while children are waited for that nobody awaits.
local function show_outputs(run, self, n, value)
  local waits = false
  for op in pairs(run.unseen) do waits = waits or op.kind == "child" and not op.ready end
  if not waits or run.again then return end
  local given = run.context
  if n > 0 or not (given.filled and given.filled.default) then self:fill("default", value, { publish = true }) end
  for slot, bytes in pairs(given.fills or {}) do run:publish_fill(slot, bytes) end
end

local function finish(run, self, ...)
  local first = ...
  run.handlers.is_ending = true
  if run.again and not rawequal(first, run.again) then
    misuse("continue_as_new: run must return what it returns, as in return self:continue_as_new(...)")
  end
  if is_own_future(first) then return finish(run, self, await_one(run, self, first)) end
  if future.is_future(first) or future.is_slot(first) then
    if future.is_future(first) then return finish(run, self, take_over(run, self, first)) end
    return finish(run, self, await_one(run, self, first))
  end
  show_outputs(run, self, select("#", ...), first)
  wait_for_rest(run)
  if run.again then run.again:settle() end
  return ...
end

local function attempt(run, self, given)
  if run.flow.era > 0 then methods.sleep(self, 0) end -- the time of its begin is in the journal before anything else
  run.handlers.has_begun = true
  return finish(run, self, versions.pick(run.of, run.flow.version, given.fn)(self, unpack(given.args, 1, given.count)))
end

-- A cancellation comes when run has returned, and is not over in the store, or run has failed: what it did is undone.
local function undo(run, problem)
  compensating.finish(run, run.self, problem)
end

local function settle(run, ok, ...)
  if ok then return ... end
  undo(run, (...))
end

-- The body of a run: the user's function with its arguments, and what has to be waited for behind it; where it fails,
-- the compensations. A run for whose version there is no function is held.
-- `context` of the run has fn, args (a list) and count (of these).
local function main(run)
  return settle(run, xpcall(attempt, errors.handler, run, run.self, run.context))
end

for _, room in ipairs { branches, compensating, events, handling, scopes, telling, versions } do
  for name, method in pairs(room.methods) do methods[name] = method end
end

body.methods = methods

local function bracket(enter, leave)
  return { main = main, late = undo, missing = versions.problem, enter = enter, leave = leave }
end

--- The functions that a run is made of, see durable/run.lua; guarded: in tests, and with `guards` of open.
body.plain, body.guarded = bracket(current.enter_body, current.leave_body), bracket(guards.enter, guards.leave)

return body
