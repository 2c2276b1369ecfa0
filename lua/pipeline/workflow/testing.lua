--- testing.lua: start_test: runs a whole tree at once in the caller, on a private engine in memory with virtual time.
--
-- It is the same evaluator as in production (G21): what is refused there is refused here. Nothing is left behind.

local core = require "pipeline.core"
local crashing = require "pipeline.durable.reach.crashing"
local current = require "pipeline.current"
local engine = require "pipeline.engine"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"
local instance = require "pipeline.workflow.instance"
local options = require "pipeline.support.options"
local place = require "pipeline.support.place"
local bad_option, misuse = place.bad_option, place.misuse

local testing = {}

local test_kinds = { retry = "boolean", callbacks = "function", at = "table", crash = "string", replay = "string" }
for name, kind in pairs(instance.start_kinds) do test_kinds[name] = kind end

local function open(retry, callbacks, start)
  local outer = current.engine_or_nil()
  local private = engine.open(":memory:", {
    virtual_time = true, virtual_start = start, durability = "normal",
    modules = outer and outer._modules, log = outer and outer._log_function or nil,
  }, true)
  private._test, private._test_retry, private._test_callbacks = true, retry, callbacks
  if outer then private._mail, private._base_url = outer._mail, outer:_link_base() end
  return private
end

-- The instance outlives the private engine: everything it may show is read now.
local function keep(self, private)
  local record, slots = errors.read(private._core:stage_get(self._id, true))
  instance.refresh(self, record, slots)
  local _ = self.id
  rawset(self, "_root_text", self.id)
  for _, slot in pairs(slots) do
    if slot.filled and slot.filler then slot.filler_text = private:_id_text(slot.filler) end
  end
end

-- ---- async pipelines -------------------------------------------------------------------------------------------

-- The async pipelines of the tree that wait for somebody outside, and a text that tells what they wait for.
local function open_stages(self, private)
  local records, slots = errors.read(private._core:tree_get(self._id))
  local list, said = {}, {}
  for _, record in ipairs(records or {}) do
    local missing = {}
    for _, output in ipairs(record.state == "run" and record.flags & core.ASYNC ~= 0 and record.outputs or {}) do
      if not slots[output.slot].filled then missing[#missing + 1] = output.name end
    end
    if #missing > 0 then
      list[#list + 1] = private:_id_text(record.id)
      said[#said + 1] = ("%d %d %s"):format(record.id, record.attempt, table.concat(missing, " "))
    end
  end
  return list, table.concat(said, "\n")
end

local function drain(private)
  private:drain { delayed = true }
  if private._test_errors then error(errors.located(private._test_errors[1]), 0) end
end

-- Where nothing but functions of the test is left to come, time goes on to the next of them.
local function work(private)
  drain(private)
  while true do
    local next_at
    for at in pairs(private._test_at or {}) do
      if not (next_at and next_at <= at) then next_at = at end
    end
    if not next_at then return end
    private:advance(math.max(next_at - private._core:now(), 0))
    drain(private)
    if private._test_at[next_at] then return end -- the engine has stopped
  end
end

-- Lets the test's function be the world outside, as long as that changes anything.
local function drive(self, private, callbacks)
  local before
  repeat
    local list, said = open_stages(self, private)
    if said == before then return end
    before = said
    for _, id in ipairs(list) do
      local stage = private:from_id(id)
      if stage._record.state == "run" then callbacks(stage, private) end
    end
    work(private)
  until #list == 0
end

-- Nobody outside can fill what an async pipeline of a test has left open, so its tree will never be final.
local function require_final(self, private)
  local state = self._record.state
  if state == "done" or state == "aborted" then return end
  local records, slots = errors.read(private._core:tree_get(self._id))
  for _, record in ipairs(records) do
    for _, output in ipairs(record.state == "run" and record.flags & core.ASYNC ~= 0 and record.outputs or {}) do
      if not slots[output.slot].filled then
        errors.raise(errors.SlotNotFilledError, "output '%s' of %s was not filled", output.name,
          tostring(private:from_id(private:_id_text(record.id))))
      end
    end
  end
  errors.raise(errors.UnexpectedPipelineError, "%s did not end: it is in state %s", tostring(self), state)
end

local function require_outputs(self)
  for name in pairs(future.slots_of(self)) do
    if not self.outputs[name].filled then
      errors.raise(errors.SlotNotFilledError, "output '%s' of %s was not filled", name, tostring(self))
    end
  end
end

-- Has functions of the test called at their virtual times, each in a coroutine of the engine.
local function schedule(private, at)
  local pending, start = {}, private._core:now()
  private._test_at = at and pending
  for seconds, fn in pairs(at or {}) do
    if type(seconds) ~= "number" or not options.is_callable(fn) then
      bad_option(1, "start_test", "at", "functions by seconds expected")
    end
    pending[start + seconds] = true
    private._core:spawn(function()
      local ok, problem = xpcall(function()
        private:sleep(seconds)
        pending[start + seconds] = nil
        fn(private)
      end, errors.handler)
      if ok then return end
      private._test_errors = private._test_errors or { errors.original(problem) }
      private._core:stop()
    end)
  end
end

local function run(self, private, given)
  schedule(private, given.at)
  self:start { idempotence_key = given.idempotence_key, base_path = given.base_path, engine = private }
  work(private)
  if given.callbacks then drive(self, private, given.callbacks) end
  keep(self, private)
  require_final(self, private)
  if self._record.state == "aborted" then private:wait(self) end
  require_outputs(self)
end

--- Runs the pipeline and all it spawns at once, without a store; outputs can be read on the instance afterwards.
-- @tparam[opt] table given retry = true: retry failed attempts in virtual time, and raise AbortedError at the end of
--   them; without it the first error of user code that no fallback answers for comes straight out. callbacks =
--   function(stage, engine): is called for each async pipeline that waits, when nothing else is left to be done, and
--   may complete it, fill outputs, retry or abort it, or call its callback (engine:callback(stage.id, params));
--   as long as that changes anything it is called again. With it async pipelines without run_test are run. Without, or
--   when it leaves them open, SlotNotFilledError is raised. at = { [seconds] = function(engine) }: is called at that
--   virtual time after the start, with the engine of the test, which has signal, update, query ... for durable
--   functions. replay = "always" (which is so anyway): a durable function is replayed at every wait. crash = "every":
--   afterwards it is run once for each moment before and after a commit of a durable function, and before a step is
--   executed, with a crash there; WorkflowError names the first one whose outputs are others. idempotence_key and
--   base_path as for start; the other options of start have no effect.
-- @return the instance. In App Engine: start_test.
function testing.start_test(self, given)
  if not instance.is(self) then
    misuse("bad self of 'start_test' (pipeline expected, got %s): ':' is missing; methods are called with a colon",
      type(self))
  end
  given = options.check(given, test_kinds, 1, "start_test")
  if given.crash and given.crash ~= "every" then
    bad_option(1, "start_test", "crash", "\"every\" expected, got %q", given.crash)
  end
  if given.replay and given.replay ~= "always" then
    bad_option(1, "start_test", "replay", "\"always\" expected, got %q", given.replay)
  end
  local start = os.time() + 0.0
  local function run_alone(stage, crash)
    local private <close> = open(given.retry or false, given.callbacks or false, start)
    private._crash = crash or false
    run(stage, private, given)
  end
  if given.crash then crashing.every(self, run_alone) else run_alone(self) end
  return self
end

return testing
