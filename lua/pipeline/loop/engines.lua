--- engines.lua: how a loop waits for what is outside of it: its engines, and the uv loop of this Lua state.
--
-- One engine alone waits for all. Of several each has a uv loop of its own, all but one (`lent`): whoever waits, or is
-- run, gives the others and the uv loop of the Lua state their turns before it sleeps, and wakes up for any of them.

local core = require "pipeline.core"
local clients = require "pipeline.loop.clients"
local clocks = require "pipeline.loop.clocks"
local errors = require "pipeline.support.errors"

local engines = {}

local sooner, uv_loop, uv_or_nil, heed = clocks.sooner, clocks.uv, clocks.uv_or_nil, clients.heed
local unpack = table.unpack

-- ---- which one runs -----------------------------------------------------------------------------------------------

--- The core of the engine in whose managed coroutine this code runs, if it is one of the list; or nil.
function engines.managed(list)
  for i = 1, #list do
    local handle = list[i]._core
    if handle:in_coroutine() then return handle end
  end
end

--- Whether one of the list is running below this code.
function engines.is_running(list)
  for i = 1, #list do
    if list[i]._core:running() then return true end
  end
  return false
end

--- Whether the engine with that core is one of the list.
function engines.has(list, handle)
  for i = 1, #list do
    if list[i]._core == handle then return true end
  end
  return false
end

-- ---- waiting ---------------------------------------------------------------------------------------------------

-- SIGINT ends a wait, until the loop ends.
local function listen(engine)
  if engine._listens then return end
  engine._listens = true
  engine._core:listen(true)
end

local function run_core(engine, mode, timeout)
  if mode == "next" then listen(engine) end
  local ok, code, message = engine._core:run(mode, timeout)
  engine:_end_run()
  if ok or code == "ETIMEDOUT" or engine._closed then return end
  if code == "ESTATE" then
    errors.raise(errors.UnexpectedPipelineError,
      "the loop is already running: await in a tasklet instead of waiting here")
  end
  errors.raise_core(code, message, "event loop")
end

-- Whether something outside is waited for that can be seen on no engine.
local function waits_outside(self)
  return self.refs > 0 or (self.is_common and uv_loop():alive())
end

-- Has every engine do what it can without waiting. Returns whether there may be something to do now, or nothing left to
-- wait for: whoever slept then would sleep on after what it has waited for.
local function step_engines(self)
  self.worked = false
  for i = #self.engines, 1, -1 do
    local engine = self.engines[i]
    if engine then run_core(engine, "once") end -- nil: what ran has closed some
  end
  local on = self.awaited
  return self.worked or self:is_stopping() or self:is_ready() or (on and on:done())
end

-- The only engine: it waits for all.
local function wait_engine(self, engine, wait)
  self:arm()
  if not wait and not waits_outside(self) then
    if step_engines(self) then return true end
    if engine._core:idle() and not waits_outside(self) then return self:delay() ~= nil end
  end
  run_core(engine, "next", wait)
  return true
end

-- Several engines: each has a loop of its own, all but one. What is to be waited for is known when all have had their
-- turn, for each of them may give work to the others.
local function wait_engines(self)
  self:arm()
  if step_engines(self) then return true end
  local uv = uv_loop()
  local wait, fds = self:delay(), { uv:fd() }
  local busy = wait ~= nil or waits_outside(self)
  wait = sooner(wait, uv:timeout())
  for _, engine in ipairs(self.engines) do
    busy = busy or not engine._core:idle()
    wait = sooner(wait, engine._core:timeout())
    fds[#fds + 1] = engine._core:fd()
  end
  if not busy then return false end
  listen(self.engines[1])
  core.poll(wait or -1, unpack(fds))
  uv:poll(0)
  return true
end

local function wait_uv(self, wait)
  local uv = uv_loop()
  if not wait and not uv:alive() then return false end
  self.polling = true
  uv:poll(wait or -1)
  self.polling = false
  return true
end

local function wait_outside(self, wait)
  local clock = self.clock
  if clock.sleep then
    if self.fetching > 0 then return wait_uv(self) end -- time stands still meanwhile
    if not wait then return false end
    clock.sleep(wait)
    return true
  end
  local first, second = self.engines[1], self.engines[2]
  if second or (first and self.is_common and first ~= self.lent) then return wait_engines(self) end
  if first then return wait_engine(self, first, wait) end
  return wait_uv(self, wait)
end

--- Waits until the loop may have something to do, `wait` seconds at most (nil: for ever). Returns false when there
-- never will be anything.
function engines.wait_for(self, wait)
  if self:is_ready() then return true end
  local more = wait_outside(self, wait)
  return heed(self) or more
end

--- Events from outside have their turn though the loop always has something to do.
function engines.look_outside(self)
  local list = self.engines
  if self.clock.sleep then
    if self.fetching > 0 then uv_loop():poll(0) end
  else
    for i = #list, 1, -1 do
      if list[i] then run_core(list[i], "once") end -- nil: what ran has closed some
    end
    if self.is_common and not self.lent then uv_loop():poll(0) end
  end
  heed(self)
end

-- ---- while one of several engines runs -------------------------------------------------------------------------

-- Gives another engine a turn. What was raised for those who wait for it is theirs.
local function give_turn(engine)
  engine._core:run("once")
  engine:_end_run()
end

-- Adds those who are to have turns while `engine` runs to `list`, and their descriptors to `fds`. Returns the delay
-- until the first of them has something to do; nil: none.
local function add_others(self, engine, list, fds)
  local wait
  for _, other in ipairs(self.engines) do
    if other ~= engine and not other._core:running() then
      list[#list + 1], fds[#fds + 1] = other, other._core:fd()
      wait = sooner(wait, other._core:timeout())
    end
  end
  local uv = not self.lent and not self.polling and uv_or_nil()
  if uv then
    fds[#fds + 1] = uv:fd()
    wait = sooner(wait, uv:timeout())
  end
  return wait
end

-- The engine is run, and is about to sleep: waits for it and for all others, and gives those their turns.
local function wait_with_others(self, engine)
  local list, fds, readable = {}, { engine._core:fd() }, {}
  local wait = add_others(self, engine, list, fds)
  wait = sooner(wait, engine._core:timeout())
  for _, place in ipairs { core.poll(wait or -1, unpack(fds)) } do readable[place] = true end
  for i, other in ipairs(list) do
    local has_turn = not other._closed and not other._core:running() -- what ran has closed some
    if has_turn and (readable[i + 1] or other._core:timeout() == 0) then give_turn(other) end
  end
  local uv = not self.lent and not self.polling and uv_or_nil()
  if uv then uv:poll(0) end
  heed(self)
end

--- The engines of the loop have come to be others: each of them that is not the only one hears of the others when it
-- waits.
function engines.meet(self)
  for _, engine in ipairs(self.engines) do
    local is_alone = engine == self.lent and not self.engines[2]
    engine._core:on("wait", not is_alone and function() wait_with_others(self, engine) end or nil)
  end
end

return engines
