--- waiting.lua: how code waits for an engine: for a pipeline to be final, and for time to pass.
--
-- Whoever can be suspended (see support/await.lua) gives the engine a token that is woken when the pipeline is final,
-- when the time is up, or when the engine is closed; all other code runs the engine until then.

local await = require "pipeline.support.await"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local failures = require "pipeline.workflow.failures"
local instance = require "pipeline.workflow.instance"
local stores = require "pipeline.support.stores"
local bad_argument = require("pipeline.support.place").bad_argument

local waiting = {}

local CLOSED, TIMEOUT = "closed", "timeout" -- what a wait ends with instead of a state
local SHOWN <const> = "shown" -- in the place of an id: of those who wait for what durable functions show

--- Raises again what a run has raised in test mode.
function waiting.raise_again(engine)
  local raised = engine._raised
  if not raised then return end
  engine._raised = false
  error(errors.located(raised[1]), 0)
end

-- ---- time ------------------------------------------------------------------------------------------------------

local Sleeping = {}
Sleeping.__index = Sleeping

function Sleeping.abandon(self)
  self.sleep:give_up(errors.closed("sleep", true))
end

function Sleeping.__close(self)
  self.engine._pending[self] = nil
end

local function sleep_awaiting(engine, seconds)
  local sleep = require("pipeline.tasklet.time").sleep(seconds)
  local self <close> = setmetatable({ engine = engine, sleep = sleep }, Sleeping)
  engine._pending[self] = true
  sleep:get_result()
end

--- Waits so many seconds on the engine's clock.
function waiting.sleep(engine, seconds)
  local way, handle = await.way(engine)
  if way ~= await.BLOCK and handle ~= engine._core then return sleep_awaiting(engine, seconds) end
  local ok, code, message = engine._core:sleep(seconds)
  if way == await.BLOCK then -- the loop has run, and come back
    engine:_end_run()
    eventloop.release_prefetched(engine)
  end
  if engine._closed then error(errors.closed("sleep"), 0) end
  if not ok then errors.raise_core(code, message) end
end

-- ---- suspended until a pipeline is final -----------------------------------------------------------------------

local function remove_waiter(engine, id, token)
  for i, other in ipairs(engine._waiters[id] or {}) do
    if other == token then
      table.remove(engine._waiters[id], i)
      break
    end
  end
end

local function add_waiter(engine, id, token)
  local waiters = engine._waiters[id] or {}
  engine._waiters[id] = waiters
  waiters[#waiters + 1] = token
end

-- The token of a managed coroutine, which may be closed meanwhile: as those of tasklet/outside.lua.
local Token = { __name = "pipeline.Waiting" }
Token.__index = Token

function Token.wake(self, value)
  return self.core:wake(value)
end

function Token.wait(self, timeout)
  self.timer = timeout and self.engine._timers:add(timeout, function() self.core:wake(TIMEOUT) end)
  return errors.check(self.handle:suspend())
end

function Token.__close(self)
  if self.timer then self.engine._timers:cancel(self.timer) end
  remove_waiter(self.engine, self.id, self)
end

local function new_token(engine, id, way, handle)
  if way == await.MANAGED then
    return setmetatable({
      engine = engine, id = id, handle = handle, core = errors.check(handle:token()), timer = false,
    }, Token)
  end
  local outside = require "pipeline.tasklet.outside"
  local what = id == SHOWN and "what a pipeline shows" or "pipeline " .. engine:_id_text(id)
  return outside.new(function(token) remove_waiter(engine, id, token) end, what)
end

local function is_final(state)
  return state == "done" or state == "aborted"
end

-- The state of a pipeline, whose end the engine hears of from now on.
local function watch(engine, id)
  local state, code, message = current.store(engine):watch(id)
  if code == "ENOTFOUND" then
    errors.raise(errors.UnexpectedPipelineError, "wait: pipeline %s was deleted", engine:_id_text(id))
  end
  return errors.check(state, code, message)
end

local function wait_suspended(engine, id, timeout, way, handle, stage)
  local token <close> = new_token(engine, id, way, handle)
  add_waiter(engine, id, token)
  local state = watch(engine, stage or id)
  if is_final(state) then return state end
  return token:wait(timeout) or TIMEOUT
end

-- ---- running the engine until a pipeline is final --------------------------------------------------------------

-- With virtual time nothing happens by itself: time jumps to what is due, until what is waited for has come. (Where
-- there are other workers, it would wait for them after that.)
local function run_some(engine, id, left)
  if not engine._virtual then return engine._core:run("next", left) end
  local ok, code, message = engine._core:run("ready", left)
  if not ok or engine._closed or engine._finals[id] then return ok, code, message end
  return engine._core:run("all", left)
end

local function wait_running(engine, id, timeout, stage)
  local state = watch(engine, stage or id)
  if is_final(state) then return state end
  local deadline = timeout and engine._core:steady() + timeout
  engine._finals[id] = false
  repeat
    local left = deadline and math.max(deadline - engine._core:steady(), 0)
    local ok, code, message = run_some(engine, id, left)
    engine:_end_run()
    if engine._closed then return CLOSED end
    state = engine._finals[id]
    if engine._raised then break end
    if not ok and code ~= "ETIMEDOUT" then
      engine._finals[id] = nil
      if code == "ESTATE" then
        errors.raise(errors.UnexpectedPipelineError,
          "wait: the loop is already running; call it from a task or a tasklet")
      end
      errors.raise_core(code, message, "wait")
    end
    local late = deadline and engine._core:steady() >= deadline
    if not state and (late or engine._virtual) then state = TIMEOUT end -- virtual: no more happens, or not in time
  until state
  engine._finals[id] = nil
  engine._core:release_prefetched()
  waiting.raise_again(engine)
  return state
end

local function wait_blocking(engine, id, timeout, stage)
  engine._core:listen(true)
  local ok, state = pcall(wait_running, engine, id, timeout, stage)
  engine._core:listen(false)
  eventloop.release_prefetched(engine)
  if not ok then error(state, 0) end
  return state
end

-- ---- a pipeline ------------------------------------------------------------------------------------------------

-- `state`: or, where the store has read it with the end, a table of record and slots.
local function wake(engine, id, state)
  local waiters = engine._waiters[id]
  engine._waiters[id] = nil
  for _, token in ipairs(waiters or {}) do token:wake(state) end
  if engine._finals[id] == nil then return end
  engine._finals[id] = state
  if not engine._closed then engine._core:leave() end
end

--- What durable functions show may have changed: whoever waits for that looks again.
function waiting.told(engine)
  engine._told = engine._told + 1
  wake(engine, SHOWN, SHOWN)
end

--- A watched stage is final: whoever waits for it goes on. `state`: its name, or a table of its record and slots.
function waiting.is_final(engine, id, state)
  wake(engine, id, state)
  waiting.told(engine)
end

--- The engine is being closed: whoever waits for it hears that. What it executes itself ends with it instead.
function waiting.give_up(engine)
  for _, waiters in pairs(engine._waiters) do
    for _, token in ipairs(table.move(waiters, 1, #waiters, 1, {})) do token:wake(CLOSED) end
  end
  for pending in pairs(engine._pending) do pending:abandon() end
end

--- The stage that is to be waited for, given as such or by its id.
function waiting.stage(engine, stage_or_id)
  if instance.is(stage_or_id) then
    if not stage_or_id._id then
      errors.raise(errors.UnexpectedPipelineError, "wait for %s: it is not started", tostring(stage_or_id))
    end
    return stage_or_id
  end
  if type(stage_or_id) ~= "string" then
    bad_argument(1, "wait", "pipeline or id expected")
  end
  local stage = instance.from_id(engine, stage_or_id, {}, class.Base)
  if not stage then errors.raise(errors.UnexpectedPipelineError, "wait: there is no pipeline %s", stage_or_id) end
  return stage
end

--- Raises where a run would wait for its own end.
function waiting.refuse_deadlock(engine, id)
  local stage = current.instance()
  local record = stage and stage._run and stores.same(stage._engine, engine) and stage._record
  if record and (id == record.id or id == record.parent or id == record.root) then
    errors.raise(errors.UnexpectedPipelineError, "a run cannot wait for its own pipeline or those above it")
  end
end

local function raise_aborted(engine, stage)
  local record = stage._record
  local root = record.parent and errors.read(current.store(engine, true):stage_get(record.root))
  local reason = root and root.abort_message or record.abort_message or ""
  local message, fields = failures.explain(engine, stage, reason)
  fields.traceback = debug.traceback(nil, 2)
  error(errors.AbortedError(message, fields), 0)
end

local function raise_late(engine, stage, timeout)
  local id = stage._id
  if not (engine._waiters[id] and engine._waiters[id][1]) then
    engine._waiters[id] = nil
    current.store(engine):unwatch(id)
  end
  errors.raise(errors.TimeoutError, "%s is not final%s", tostring(stage),
    timeout and (" after %g s"):format(timeout) or ", and nothing is left to be done")
end

--- Waits until look() finds something: what a durable function shows, which is stage `id`.
-- @tparam function look is called at first, and when something may have changed; returns it, or nil.
-- @return what it has found; nil and the state: the stage is final, and there is nothing. Raises TimeoutError after
--   `timeout` seconds (nil: never), for `what`.
function waiting.shown(engine, id, timeout, look, what)
  local deadline = timeout and engine._core:steady() + timeout
  while true do
    local state, told = watch(engine, id), engine._told
    local found = look()
    if found ~= nil then return found end
    if is_final(state) then return nil, state end
    if told == engine._told then
      local way, handle = await.way(engine)
      local left = deadline and math.max(deadline - engine._core:steady(), 0)
      if way == await.BLOCK then
        state = wait_blocking(engine, SHOWN, left, id)
      else
        state = wait_suspended(engine, SHOWN, left, way, handle, id)
      end
      if state == CLOSED then error(errors.closed(what), 0) end
      if state == TIMEOUT then
        errors.raise(errors.TimeoutError, "%s: nothing has come%s", what, timeout and (" in %g s"):format(timeout) or
          ", and nothing is left to be done")
      end
    end
  end
end

--- Waits until the stage is final. Returns its outputs; raises as Engine.wait does.
function waiting.outputs(engine, stage, timeout)
  local id, way, handle = stage._id, await.way(engine)
  local state
  if way == await.BLOCK then
    state = wait_blocking(engine, id, timeout)
  else
    state = wait_suspended(engine, id, timeout, way, handle)
  end
  if state == CLOSED then error(errors.closed("wait for " .. tostring(stage)), 0) end
  if state == TIMEOUT then raise_late(engine, stage, timeout) end
  local record, slots
  if type(state) == "table" then
    record, slots = state.record, state.slots
  else
    record, slots = errors.read(current.store(engine, true):stage_get(id, true))
  end
  if not record then errors.raise(errors.UnexpectedPipelineError, "%s was deleted", tostring(stage)) end
  instance.refresh(stage, record, slots)
  if record.state == "aborted" then raise_aborted(engine, stage) end
  return stage.outputs
end

return waiting
