--- eventloop.lua: the event loop of tasklets: `require "pipeline.eventloop"`.
--
-- One step is the first of these that there is to do: an immediate callback, a due timer, an idle callback; else the
-- loop waits for the next timer or for something outside. Immediate callbacks come in the order queued; after
-- BURST_STEPS of them in a row timers that are due and events from outside have their turn all the same.
--
-- A loop has a clock and a way of waiting:
--   the common one   real time. With no engine open it waits on the uv loop of this Lua state (that of luv, if there
--                    is luv). Engines with real time tick for it: it works inside engine:run(), and
--                    eventloop.run() runs them.
--   of an engine     with virtual time: for all that is started by what that engine executes
--   of a test        set_clock gives the common loop another clock: an object with now() and sleep(seconds)
--
-- An entry of a queue is called as entry.go(entry). What go does for callbacks {fn=, n=, ...} is eventloop.call;
-- other entries, such as tasks, are the library's and raise nothing.
--
-- Invariants
--   1. No error leaves a callback: it goes to the error hook, and the loop goes on (G50).
--   2. A loop that has something to do and is not working is armed: every engine that ticks for it will call it, and
--      a wait under way is ended.
--   3. Loops do not nest: run inside a callback or a tasklet raises (G46).

local core = require "pipeline.core"
local await = require "pipeline.support.await"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local clients = require "pipeline.loop.clients"
local clocks = require "pipeline.loop.clocks"
local others = require "pipeline.loop.engines"
local options = require "pipeline.support.options"
local place = require "pipeline.support.place"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local eventloop = {}

local BURST_STEPS = 1024
local ABSOLUTE = 1e9 -- a delay so large is a time since the epoch (T67)
local QUEUE_KEPT_MAX = 8192

-- Fields of a loop that have numbers, which are quicker to reach from C: as in binding/tasklet/step.c.
local AT <const>, LAST <const>, CURRENT <const>, COUNT <const>, LATER <const> = 1, 2, 3, 4, 5
local AWAKE <const>, STOPPING <const>, FRUITLESS <const>, TIMERS <const> = 6, 7, 8, 9

local TICK = 1e-6 -- of an engine's clock: a timer so near is due, for the clock may never be nearer

local max, huge, drain = math.max, math.huge, core.drain
local uv_loop, heed = clocks.uv, clients.heed
local wait_for, look_outside, meet = others.wait_for, others.look_outside, others.meet
local select, type, rawequal = select, type, rawequal

local Loop = {}
local meta = { __name = "pipeline.EventLoop", __index = Loop }

local common                -- the loop of real time
local active = { false }     -- at 1: the loop whose callbacks are being called
local virtual = {}          -- engines with virtual time that are open
local loops = setmetatable({}, { __mode = "k" }) -- engine -> its loop
local error_hook

-- ---- the queues ------------------------------------------------------------------------------------------------

local function new_loop(clock)
  return setmetatable({
    clock = clock, is_common = clock == clocks.real,
    0, 0, {},                         -- AT, LAST, CURRENT: being worked off is [at + 1 .. last]
    0, {},                            -- COUNT, LATER: queued since
    false,                            -- AWAKE: working, or armed
    false,                            -- STOPPING
    0,                                -- FRUITLESS: idle calls since the last event
    core.timetable(),                 -- TIMERS
    idlers = {},
    armed = huge,                     -- the time it is armed for
    running = false, polling = false,
    worked = false, awaited = false,  -- a turn inside an engine did something; the future run_until waits for
    refs = 0,                         -- what keeps it alive, but for handles: waits for something outside
    clients = false, fetching = 0,    -- HTTP: see tasklet/fetch.lua; requests that are waited for
    engines = {},
  }, meta)
end

-- The loop has something to do and nobody knows.
local function arouse(self)
  self[AWAKE] = true
  for _, engine in ipairs(self.engines) do engine._core:schedule_tick(0) end
  if self.polling then uv_loop():stop() end
end

--- Gives the loops the `drain` that knows the tasks: see core.drain.
function eventloop.set_drain(fn)
  drain = fn
end

--- Queues a task or a callback record.
function Loop.push(self, entry)
  local n = self[COUNT] + 1
  self[COUNT] = n
  self[LATER][n] = entry
  if not self[AWAKE] then arouse(self) end
end

eventloop.push, eventloop.arouse, eventloop.stepping, eventloop.virtual = Loop.push, arouse, active, virtual

-- Makes what was queued the batch that is worked off. Returns false if there is nothing.
local function next_batch(self)
  if self[COUNT] == 0 then return false end
  local empty = self[CURRENT] -- made before anything is moved: a finalizer may queue something meanwhile
  if self[LAST] > QUEUE_KEPT_MAX then empty = {} end
  self[CURRENT], self[LATER], self[AT], self[LAST], self[COUNT] = self[LATER], empty, 0, self[COUNT], 0
  return true
end

local function pop(self)
  if self[AT] >= self[LAST] and not next_batch(self) then return nil end
  local at = self[AT] + 1
  self[AT] = at
  local taken = self[CURRENT]
  local entry = taken[at]
  taken[at] = false
  return entry
end

local function rearm(self, due)
  if self[AWAKE] then return end
  if self.polling then uv_loop():stop() end
  if due >= self.armed then return end
  self.armed = due
  local wait = max(due - self.clock.now(), 0) + TICK / 2
  for _, engine in ipairs(self.engines) do engine._core:schedule_tick(wait) end
end

--- Adds a timer: a table that is called as timer.fire(timer) at the time `due` of the loop's clock. It must not raise.
function Loop.add_timer(self, timer, due)
  if timer.loop ~= self then timer.loop = self end
  self[TIMERS]:add(timer, due)
  if not self[AWAKE] then rearm(self, due) end
  return timer
end

--- Adds a timer that is due at once, after those that are due already: a table as for add_timer, but its `loop` is not
-- set.
function Loop.add_soon(self, timer)
  local now = self.clock.now()
  self[TIMERS]:add_soon(timer, now)
  if not self[AWAKE] then rearm(self, now) end
  return timer
end

eventloop.add_soon = Loop.add_soon

--- Forgets a timer; harmless when it has fired.
function eventloop.cancel_timer(timer)
  local self = timer.loop
  if self then self[TIMERS]:cancel(timer) end
end

-- ---- errors ----------------------------------------------------------------------------------------------------

local function describe(problem, trace)
  local name, message, own = errors.describe(problem)
  trace = trace or own
  return ("%s: %s%s%s"):format(name, message, trace ~= "" and "\n" or "", trace)
end

--- Reports what nobody else can take: to the hook of set_error_hook, the log of an open engine, or standard error.
function eventloop.report(problem, trace)
  if error_hook then
    local ok = pcall(error_hook, errors.original(problem), describe(problem, trace))
    if ok then return end
  end
  local text = describe(problem, trace)
  local engine = common.engines[1] or current.engines[1]
  if engine then return engine:_log(core.LOG_ERROR, text) end
  if current.logger and pcall(current.logger, 40, text) then return end
  io.stderr:write("pipeline [40] ", text, "\n")
end

local handler = errors.handler

-- ---- one step --------------------------------------------------------------------------------------------------

local unpack, set_calling = table.unpack, current.set_calling

-- Notes the engine that the callback record works for, once there were several: that of the code that makes it.
local function note_owner(entry)
  if current.has_several then entry.works_for = current.owner() or false end
  return entry
end

eventloop.note_owner = note_owner

-- Calls fn(entry, ...), which must not raise, for the engine of the entry.
local function call_for(entry, fn, ...)
  local engine = entry.works_for
  if engine == nil then engine = current.alone end
  local before = set_calling(engine)
  local first, second = fn(entry, ...)
  set_calling(before)
  return first, second
end

local function call_at_once(entry)
  local ok, problem
  if entry.n == 0 then
    ok, problem = xpcall(entry.fn, handler)
  else
    ok, problem = xpcall(entry.fn, handler, unpack(entry, 1, entry.n))
  end
  if not ok then eventloop.report(problem) end
end

--- Calls the function of a callback record.
local function call(entry)
  if current.has_several then return call_for(entry, call_at_once) end
  return call_at_once(entry)
end

eventloop.call = call

local function fire_due(self)
  local timers = self[TIMERS]
  local due, is_soon = timers:first()
  if not due or not is_soon and due > self.clock.now() + TICK then return false end
  self[FRUITLESS] = 0
  local first = timers:take()
  first.fire(first)
  return true
end

local function call_idler(idler)
  return xpcall(idler.fn, handler, unpack(idler, 1, idler.n))
end

-- An idle callback has returned `worked`: nil: gone; true: did work; false: kept, but the round is fruitless (T71).
local function keep_idler(self, idler, worked)
  if worked == nil then return end
  self[FRUITLESS] = worked and 0 or self[FRUITLESS] + 1
  self.idlers[#self.idlers + 1] = idler
end

-- It was a tasklet, whose end says how it goes on.
local function idler_ended(self, idler, future)
  keep_idler(self, idler, (future:get_result()))
  if not self[AWAKE] then arouse(self) end
end

-- Round-robin.
local function run_idle(self)
  local idlers = self.idlers
  if self[FRUITLESS] >= #idlers then return false end
  local idler = table.remove(idlers, 1)
  local ok, worked = call_for(idler, call_idler)
  if not ok then
    eventloop.report(worked)
  elseif await.is_future(worked) then
    worked:add_callback(idler_ended, self, idler, worked)
  else
    keep_idler(self, idler, worked)
  end
  return true
end

local function step(self)
  local entry = pop(self)
  if entry then
    self[FRUITLESS] = 0
    entry.go(entry)
    return true
  end
  return fire_due(self) or run_idle(self)
end

local function fire_all_due(self)
  for _ = 1, BURST_STEPS do
    if not fire_due(self) then return end
  end
end

-- Does what can be done now, but not for ever. Returns whether there was anything, and whether there may be more.
local function work(self)
  local steps = 0
  local before = active[1]
  active[1], self[AWAKE] = self, true
  while steps < BURST_STEPS and not self[STOPPING] do
    if self[AT] < self[LAST] or next_batch(self) then
      steps = steps + drain(self, BURST_STEPS - steps)
    elseif fire_due(self) or run_idle(self) then
      steps = steps + 1
    else
      break
    end
  end
  if steps == BURST_STEPS then fire_all_due(self) end
  active[1], self[AWAKE] = before, false
  return steps > 0, steps == BURST_STEPS
end

local function is_ready(self)
  return self[AT] < self[LAST] or self[COUNT] > 0 or self[FRUITLESS] < #self.idlers or heed(self)
end

-- Seconds until there is something to do; nil: nothing will be.
local function delay(self)
  if is_ready(self) then return 0 end
  local due = self[TIMERS]:first()
  return due and max(due - self.clock.now(), 0)
end

-- ---- inside the run of an engine -------------------------------------------------------------------------------

local function arm(self)
  local wait = delay(self)
  self[AWAKE] = wait == 0
  self.armed = wait and self.clock.now() + wait or huge
  if wait and wait > 0 then wait = wait + TICK / 2 end
  for _, engine in ipairs(self.engines) do engine._core:schedule_tick(wait) end
end

Loop.is_ready, Loop.delay, Loop.arm = is_ready, delay, arm

--- Whether stop() was called.
function Loop.is_stopping(self)
  return self[STOPPING]
end

local function tick(self)
  if active[1] == self then return end
  heed(self)
  local stopping = self[STOPPING]
  self[STOPPING] = false
  if work(self) then self.worked = true end
  self[STOPPING] = stopping or self[STOPPING]
  if self[STOPPING] and self.running then
    for _, engine in ipairs(self.engines) do engine._core:schedule_tick(nil) end
    return
  end
  self[STOPPING] = false
  arm(self)
end

-- ---- running ---------------------------------------------------------------------------------------------------

-- Running ends with the block that has the loop as its to-be-closed variable, whatever happens in it.
function meta.__close(self)
  self.running, self.polling, self[AWAKE], self.awaited, active[1] = false, false, false, false, self.outer
  for _, engine in ipairs(self.engines) do
    if not engine._closed then
      if engine._listens then engine._core:listen(false) end
      engine._core:release_prefetched()
    end
    engine._listens = false
  end
  if is_ready(self) or self[TIMERS]:count() > 0 then arm(self) end
end

local function enter(self, name)
  if active[1] or self.running then
    errors.raise(errors.UnexpectedPipelineError,
      "%s: the loop is already running; await in a tasklet instead", name)
  end
  self.running, self[STOPPING], self.outer = true, false, active[1]
  return self
end

local function step_once(self)
  active[1], self[AWAKE] = self, true
  local did = step(self)
  active[1], self[AWAKE] = false, false
  return did
end

--- Does one step; if there is none, waits for the next (T69). Returns false if nothing is left.
function Loop.run1(self)
  local _ <close> = enter(self, "run1")
  return step_once(self) or wait_for(self, delay(self))
end

--- Does one step without waiting: 0 if there was one, else the seconds to the next timer; nil if nothing is left.
function Loop.run0(self)
  local _ <close> = enter(self, "run0")
  if step_once(self) then return 0 end
  return delay(self)
end

--- Works until nothing is left, or until stop().
function Loop.run(self)
  local _ <close> = enter(self, "run")
  self[FRUITLESS] = 0
  repeat
    local more, full = work(self)
    if full then
      look_outside(self)
    elseif not more and not self[STOPPING] then
      more = wait_for(self, delay(self))
    end
  until not more or self[STOPPING]
end

--- Works until future.state is FINISHING. Returns false when nothing is left that could finish it.
function Loop.run_until(self, future, finished)
  local _ <close> = enter(self, "wait")
  self[FRUITLESS], self.awaited = 0, future
  active[1] = self
  local left = BURST_STEPS
  while future.state ~= finished do
    self[AWAKE] = true
    local did = true
    if self[AT] < self[LAST] or next_batch(self) then
      left = left - drain(self, left, future)
    else
      did = step(self)
      left = left - 1
    end
    if self[STOPPING] then return true end
    if not did or left == 0 then
      active[1], self[AWAKE] = false, false
      if did then
        look_outside(self)
      elseif not wait_for(self, delay(self)) then
        return future.state == finished
      end
      active[1], left = self, BURST_STEPS
    end
  end
  return true
end

-- ---- which loop ------------------------------------------------------------------------------------------------

common = new_loop(clocks.real)
eventloop.common = common

--- The loop the running code belongs to.
function eventloop.current()
  if active[1] then return active[1] end
  if not virtual[1] then return common end
  local engine = current.owner() or current.engines[1]
  return engine and loops[engine] or common
end

local loop_here = eventloop.current

--- Whether a callback of a loop is below the running code.
function eventloop.is_stepping()
  return active[1] and true or false
end

--- The engine in whose managed coroutine this code runs, if it may wait there: its core, else nil. With `engine`: if it
-- may wait there for that one, whose coroutine it is, or which has its turns while the other one has.
function eventloop.managed(engine)
  if engine then
    if engine._core:in_coroutine() then return engine._core end
    if loops[engine] ~= common then return nil end
  end
  return others.managed(common.engines) or not engine and others.managed(virtual) or nil
end

await.set_managed(eventloop.managed)

--- Whether any engine, or the loop itself, is running below this code.
function eventloop.is_running()
  return active[1] and true or common.running or others.is_running(common.engines) or others.is_running(virtual)
end

--- A run of an engine is over: the others, which have had turns meanwhile, give back what they have claimed ahead.
function eventloop.release_prefetched(engine)
  local engines = common.engines
  local is_alone = not engines[2] and (not engines[1] or engines[1] == engine)
  if is_alone or (loops[engine] ~= common and not engine._closed) or eventloop.is_running() then return end
  for _, other in ipairs(engines) do
    if other ~= engine then other._core:release_prefetched() end
  end
end

-- After a fork the engines that were open belong to the parent, and so do requests that were under way.
local function leave_to_parent(self)
  for i = #self.engines, 1, -1 do
    local engine = self.engines[i]
    if not engine._core:fd() then
      table.remove(self.engines, i)
      loops[engine], self.clients = nil, false
      if self.lent == engine then self.lent = nil end
    end
  end
end

--- The uv loop a new engine with real time is to be opened on: that of this Lua state, if no other engine has it.
function eventloop.lend()
  leave_to_parent(common)
  if common.lent then return nil end
  return uv_loop()
end

--- An engine is open: its loop lives in it from now on.
function eventloop.attach(engine, is_virtual, lent)
  local self = common
  if is_virtual then
    self = new_loop({ now = function() return engine._core:now() end })
    virtual[#virtual + 1] = engine
  elseif lent then
    common.lent = engine
  end
  loops[engine] = self
  self.engines[#self.engines + 1] = engine
  if lent then clients.serve(self) end
  engine._core:on("tick", function() tick(self) end)
  if self == common then meet(self) end
  arm(self)
end

local function remove(list, value)
  for i = #list, 1, -1 do
    if rawequal(list[i], value) then table.remove(list, i) end
  end
end

--- Whether `self` runs the engine with that core, so that one of its callbacks may wait for it.
function eventloop.has_engine(self, handle)
  if self.clock.sleep then return false end
  return others.has(self.engines, handle)
end

--- An engine is being closed.
function eventloop.detach(engine)
  local self = loops[engine]
  if not self then return end
  remove(self.engines, engine)
  remove(virtual, engine)
  loops[engine] = nil
  if self ~= common then
    self.clock = clocks.virtual(engine._core:now()) -- it goes on by itself
  end
  clients.leave(self, engine)
  if common.lent == engine then common.lent = nil end
  if self == common then meet(self) end
end

-- ---- for users -------------------------------------------------------------------------------------------------

local check_function = options.check_function

-- What queue_call returns.
local Call = {}
local call_meta = { __name = "pipeline.Call", __index = Call }

local function nothing() end

--- It will not be called; harmless when it was.
function Call.cancel(self)
  self.fn, self.n = nothing, 0
  eventloop.cancel_timer(self)
end

--- Calls fn(...) from the loop. In App Engine: queue_call.
-- @tparam number|nil seconds nil: as soon as possible, in the order queued. Else after so many seconds, those of the
--   same time in the order queued, 0 after all immediate ones; 1e9 and more is a time since the epoch.
-- @return an object with `cancel()`.
function eventloop.queue_call(seconds, fn, ...)
  check_function(fn, 2, "queue_call")
  local self = loop_here()
  local entry = note_owner(setmetatable({ go = call, fn = fn, n = select("#", ...), ... }, call_meta))
  if seconds == nil then
    self:push(entry)
    return entry
  end
  if type(seconds) ~= "number" or seconds ~= seconds then bad_type(1, "queue_call", "number of seconds", seconds) end
  entry.fire = call
  local clock, due = self.clock, seconds
  if seconds < ABSOLUTE then
    due = clock.now() + max(seconds, 0)
  elseif clock.time then
    due = clock.now() + (seconds - clock.time())
  end
  return self:add_timer(entry, due)
end

--- Forgets a call that queue_call has queued, as its own method `cancel` does. Harmless when it was made.
function eventloop.cancel(entry)
  if getmetatable(entry) ~= call_meta then bad_type(1, "cancel", "what queue_call has returned", entry) end
  entry:cancel()
end

--- Calls fn(...) when nothing else is to be done. It returns nil: that was all; true: there is more to do; false: there
-- was nothing to do, call again after the next event; or a future of one of these. In App Engine: add_idle.
function eventloop.add_idle(fn, ...)
  check_function(fn, 1, "add_idle")
  local self = loop_here()
  self.idlers[#self.idlers + 1] = note_owner { fn = fn, n = select("#", ...), ... }
  if not self[AWAKE] then arouse(self) end
end

--- Works until nothing is left to do, or until stop(); runs the open engines too. In App Engine: run.
function eventloop.run()
  loop_here():run()
end

--- Does one step, waiting for it if need be; false if nothing is left. In App Engine: run1.
function eventloop.run1()
  return loop_here():run1()
end

--- Does one step without waiting. Returns 0 if something was done, else the seconds until the next timer, nil if there
-- is none. In App Engine: run0.
function eventloop.run0()
  return loop_here():run0()
end

--- Makes run() return after the callback that is being called (G51).
function eventloop.stop()
  local self = loop_here()
  self[STOPPING] = true
  if not self[AWAKE] then arouse(self) end
end

--- Drops everything pending without running it. In App Engine: clear (T79).
function eventloop.clear()
  local self = loop_here()
  self[TIMERS]:clear()
  self[CURRENT], self[AT], self[LAST], self[LATER], self[COUNT] = {}, 0, 0, {}, 0
  self.idlers = {}
end

--- Seconds since the epoch: the time of day, or that of the clock that the loop was given.
function eventloop.now()
  local clock = loop_here().clock
  return (clock.time or clock.now)()
end

--- Gives the common loop another clock, for tests: an object with functions now() -> seconds and sleep(seconds); nil:
-- real time again. Returns the one before.
function eventloop.set_clock(clock)
  local before = common.clock
  if clock ~= nil and (type(clock) ~= "table" or type(clock.now) ~= "function" or type(clock.sleep) ~= "function") then
    bad_argument(1, "set_clock", "object with functions now and sleep expected")
  end
  common.clock = clock or clocks.real
  return before ~= clocks.real and before or nil
end

--- A clock that stands still but when the loop sleeps.
-- @tparam[opt] number start seconds since the epoch, default 1.7e9.
function eventloop.virtual_clock(start)
  if start ~= nil and type(start) ~= "number" then bad_type(1, "virtual_clock", "number of seconds", start) end
  return clocks.virtual(start or 1.7e9)
end

--- Gives errors of callbacks, and failures that nobody looked at, to fn(value, text); nil: to the log of the engine, or
-- standard error. Returns the one before.
function eventloop.set_error_hook(fn)
  if fn ~= nil then check_function(fn, 1, "set_error_hook") end
  local before = error_hook
  error_hook = fn
  return before
end

--- For a host with a loop of its own, with no engine open: the descriptor to poll for reading. See timeout and step.
function eventloop.fd()
  return uv_loop():fd()
end

--- For a host with a loop of its own: the seconds to wait at most before the next step; -1: any time.
function eventloop.timeout()
  local wait, outside = delay(common) or -1, uv_loop():timeout()
  if outside >= 0 and (wait < 0 or outside < wait) then return outside end
  return wait
end

--- For a host with a loop of its own: does what can be done without waiting.
function eventloop.step()
  local self = common
  local _ <close> = enter(self, "step")
  uv_loop():poll(0)
  self[FRUITLESS] = 0
  heed(self)
  work(self)
end

--- What is pending: number of immediate callbacks, timers, idle callbacks, waits for something outside.
function eventloop.pending()
  local self = loop_here()
  return self[LAST] - self[AT] + self[COUNT], self[TIMERS]:count(), #self.idlers, self.refs
end

return eventloop
