--- tasklet/task.lua: tasklets: functions in coroutines of their own, and how they wait.
--
-- A task is the future of a tasklet, of the kind "Tasklet", with these fields more: body (the function), args (packed
-- arguments, or nil), co (its coroutine, nil before the start), on (the future it waits for), place (where it waits
-- there), context, guard (closes the coroutine when the task is dropped while it waits).
--
-- The coroutine runs xpcall(body, handler, ...): so to-be-closed variables are closed, and may await, before the task
-- fails, and the handler sees the whole stack. A task waits by yielding TAG, which no user code has.
--
-- Invariants
--   1. `current` is the task whose coroutine was resumed last and has not come back; nil outside.
--   2. A task that waits is in exactly one place: among those who wait for `on`, or in the queue of its loop.
--   3. A coroutine that will not be resumed again is closed.

local errors = require "pipeline.errors"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"

local task = {}

local FINISHING, RUNNING = future.FINISHING, future.RUNNING
local TAG = {}

local getmetatable, setmetatable, rawequal, select, type = getmetatable, setmetatable, rawequal, select, type
local unpack, pack, xpcall = table.unpack, table.pack, xpcall
local create, resume, yield, running = coroutine.create, coroutine.resume, coroutine.yield, coroutine.running
local isyieldable, status, close = coroutine.isyieldable, coroutine.status, coroutine.close
local is_future, add, remove, results, fail, finish = future.is, future.add, future.remove, future.results, future.fail,
  future.finish
local where, next_id, current_loop = require("pipeline.core").where, future.next_id, eventloop.current

local meta, Task = future.kind("Tasklet")
local current -- the task that is running
local traces = setmetatable({}, { __mode = "k" }) -- task -> trace of the error it is dying of

-- ---- errors ----------------------------------------------------------------------------------------------------

local OWN = "/pipeline/tasklet/"

local find, traceback = string.find, debug.traceback

-- A traceback without the frames of this library.
local function trim(trace)
  local lines = {}
  for line in trace:gmatch("[^\n]+") do
    if not (find(line, OWN, 1, true) or find(line, "stack traceback:", 1, true) or
      find(line, "%[C%]: in function '[xp]*error'") or find(line, "[C]: in function 'xpcall'", 1, true)) then
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n")
end

-- The handler of xpcall around the body: remembers where the error was raised; the value stays as it is.
local function handler(value)
  if type(value) == "string" and find(value, "stack overflow", 1, true) then return value end
  local inner, trace = errors.awaited_trace(value), trim(traceback(nil, 2))
  if inner and current then trace = ("%s\nawaited in %s\n%s"):format(inner, future.name(current), trace) end
  if current then traces[current] = trace end
  if errors.is(value) and (inner or rawget(value, "traceback") == nil) then rawset(value, "traceback", trace) end
  return value
end

--- A message handler for xpcall that shows where an error was raised, through all the awaits it has come.
function task.traceback(value)
  local inner = errors.awaited_trace(value)
  if type(value) ~= "string" and not errors.is(value) then return value end
  return ("%s\n%s%s"):format(errors.text(value), inner and inner .. "\nawaited in\n" or "", trim(traceback(nil, 2)))
end

local ADVICE = "await cannot wait here: it is called from a function written in C, such as table.sort, string.gsub, " ..
  "require or a __gc metamethod, which cannot be left and entered again. Await first, and call it with the results"

local FOREIGN = "await is called in a coroutine that is no tasklet. Make its function a tasklet, " ..
  "or await outside of the coroutine"

local CALLBACK = "a callback of the event loop cannot wait for a future: make it a tasklet, or use add_callback"

-- ---- running ---------------------------------------------------------------------------------------------------

local guard_meta = { __name = "pipeline.Guard" }

local function close_orphan(co)
  if status(co) ~= "suspended" then return end
  local ok, problem = close(co)
  if not ok then eventloop.report(problem) end
end

-- The task was dropped while it waited for something that nobody else knows: its variables are closed by the loop.
function guard_meta.__gc(guard)
  if guard.co then guard.loop:push { fn = close_orphan, n = 1, guard.co } end
end

-- Closes the coroutine where it stands. Errors of its to-be-closed variables are reported.
local function close_task(self)
  local co = self.co
  if self.guard then self.guard.co = nil end
  self.on = nil
  if not co or status(co) ~= "suspended" then return end
  local before = current
  current = nil
  local ok, problem = close(co)
  current = before
  if not ok then eventloop.report(problem) end
end

local run

-- A yield that is not ours. The error is raised where the tasklet yielded, by a hook that fires at its next
-- instruction.
local function refuse_yield(self, value)
  local text = "a tasklet may not yield by itself: only await can suspend it"
  if is_future(value) then text = "a tasklet may not yield a future: use await(future)" end
  local problem = errors.TaskletError(text)
  local co = self.co
  debug.sethook(co, function()
    debug.sethook(co)
    error(problem, 0)
  end, "", 1)
  self.loop:push(self)
end

-- The coroutine came back: it waits, or it has ended.
local function settle(self, before, alive, first, ...)
  current = before
  if rawequal(first, TAG) then
    if self.state == FINISHING then return close_task(self) end -- it has cancelled itself
    if not self.guard then
      self.guard = setmetatable({ co = self.co, loop = self.loop }, guard_meta)
    end
    return
  end
  local co = self.co
  if alive and status(co) ~= "dead" then return refuse_yield(self, first) end
  local guard = self.guard
  if guard then guard.co = nil end
  self.on = nil
  if self.state == FINISHING then return end
  if alive and first then return finish(self, ...) end
  local problem = ...
  if not alive then -- not even xpcall could catch it
    problem = first
    close(co)
  end
  if problem == nil then problem = "nil" end
  local trace = traces[self]
  traces[self] = nil
  return fail(self, problem, trace)
end

function run(self)
  local before, co = current, self.co
  if co then
    if self.state == FINISHING then return end
    current = self
    return settle(self, before, resume(co))
  end
  if self.state == FINISHING then return end
  co = create(xpcall)
  self.co = co
  current = self
  local args = self.args
  if not args then return settle(self, before, resume(co, self.body, handler)) end
  self.args = nil
  return settle(self, before, resume(co, self.body, handler, unpack(args, 1, args.n)))
end

eventloop.set_runner(run)

local contexts = setmetatable({}, { __mode = "k" }) -- coroutine that is no tasklet -> its context

local function current_context()
  local co = running()
  if current and (current.co == co or contexts[co] == nil) then return current.context end
  return contexts[co]
end

--- Starts a tasklet: `body` runs on the loop, in a coroutine of its own. Returns its task. `level` says whose line it
-- is started at: 1 is the function that calls this.
local function start(body, level, ...)
  local file, line = where(level + 1)
  local n = select("#", ...)
  local loop = current_loop()
  local self = setmetatable({
    state = RUNNING, id = next_id(), loop = loop, file = file, line = line, info = false, n = 0, failure = false,
    first = false, body = body, args = n > 0 and pack(...) or nil, context = current_context(),
  }, meta)
  loop:push(self)
  return self
end

task.start = start

-- ---- waiting ---------------------------------------------------------------------------------------------------

local function wait_in_task(self, on)
  if not isyieldable() then errors.raise(errors.TaskletError, ADVICE) end
  if on.state == FINISHING then
    self.loop:push(self)
  else
    self.place = add(on, self)
  end
  self.on = on
  yield(TAG)
  self.on = nil
end

local function wake(token)
  token:wake()
end

-- In a coroutine that an engine manages: the run of a stage, a callback, a route.
local function wait_managed(core, on)
  local token, code, message = core:token()
  if not token then errors.raise_core(code, message, "await") end
  if on.state == FINISHING then
    token:wake()
  else
    add(on, { fn = wake, n = 1, loop = current_loop(), token })
  end
  local _, failed, text = core:suspend()
  if failed then errors.raise_core(failed, text, "await") end
end

-- Outside of everything: the loop runs here until the future is done.
local function wait_blocking(on)
  if on.state == FINISHING then return end
  if current then errors.raise(errors.TaskletError, FOREIGN) end
  if eventloop.is_stepping() then errors.raise(errors.TaskletError, CALLBACK) end
  if eventloop.is_running() then errors.raise(errors.TaskletError, isyieldable() and FOREIGN or ADVICE) end
  local loop = on.loop
  if not loop:run_until(on, FINISHING) then
    local problem = future.deadlock(on)
    if on.body ~= nil then close_task(on) end
    return fail(on, problem, problem.traceback)
  end
  if on.state ~= FINISHING then errors.raise(errors.TaskletError, "the loop was stopped while this waited for %s",
    future.name(on)) end
end

local function wait(on)
  local self = current
  if self and running() == self.co then return wait_in_task(self, on) end
  local core = eventloop.managed()
  if core then return wait_managed(core, on) end
  return wait_blocking(on)
end

future.wait = wait

local function check_future(value, position, name)
  if is_future(value) then return end
  errors.raise(errors.TaskletError, "bad argument #%d to '%s' (future expected, got %s)", position, name,
    type(value) == "table" and "table; use await_all for a list" or type(value))
end

local function take_results(self, i, n)
  if i > n then return end
  return future.first_result(self[i]), take_results(self, i + 1, n)
end

local function await_many(n, ...)
  local members = { ... }
  for i = 1, n do check_future(members[i], i, "await") end
  local all = task.all(members, n)
  wait(all)
  if all.failure then return future.raise(all.failure) end
  return take_results(members, 1, n)
end

--- Waits for futures. await(f) gives all results of f, or raises its error; await(f, g, ...) gives the first result of
-- each, or raises, when all are done, the error of the first of them in this order. In a tasklet, and in whatever an
-- engine calls (run, callback, finalized, a route), others go on meanwhile; elsewhere the loop runs until then.
-- In App Engine: yield.
function task.await(on, ...)
  if select("#", ...) > 0 then return await_many(select("#", ...) + 1, on, ...) end
  if not is_future(on) then check_future(on, 1, "await") end
  local self = current
  if self and running() == self.co then
    if not isyieldable() then errors.raise(errors.TaskletError, ADVICE) end
    if on.state == FINISHING then
      self.loop:push(self)
    else
      self.place = add(on, self)
    end
    self.on = on
    yield(TAG)
    self.on = nil
  else
    wait(on)
  end
  return results(on)
end

-- ---- tasklets --------------------------------------------------------------------------------------------------

local bodies = setmetatable({}, { __mode = "k" }) -- wrapper -> function

local function check_body(fn, name)
  if type(fn) == "function" then return end
  local of = type(fn) == "table" and getmetatable(fn)
  if type(of) == "table" and of.__call then return end
  error(("bad argument #1 to '%s' (function expected, got %s)"):format(name, type(fn)), 3)
end

--- Makes a tasklet of a function: calling it returns a future at once, and the function runs on the loop, where it may
-- await. All its results, or its error, are those of the future. In App Engine: @tasklet.
function task.tasklet(fn)
  check_body(fn, "tasklet")
  local function wrapper(...)
    return start(fn, 1, ...)
  end
  bodies[wrapper] = fn
  return wrapper
end

--- As tasklet, but a call waits and gives the results. In App Engine: @synctasklet.
function task.synctasklet(fn)
  check_body(fn, "synctasklet")
  local function wrapper(...)
    local self = start(fn, 2, ...)
    wait(self)
    return results(self)
  end
  bodies[wrapper] = fn
  return wrapper
end

--- The function that tasklet, synctasklet or toplevel was given; nil for other values.
function task.function_of(wrapper)
  return bodies[wrapper]
end

task.bodies = bodies

--- Ends the tasklet: its to-be-closed variables are closed, its future fails with CancelledError. A tasklet that
-- cancels itself ends at its next await. Returns false if it is done.
function Task.cancel(self, reason)
  if self.state == FINISHING then return false end
  local problem = errors.CancelledError(reason or "cancelled")
  local co = self.co
  if co and status(co) ~= "suspended" then
    fail(self, problem)
    return true
  end
  local on = self.on
  if on then
    local alone = remove(on, self, self.place) or on.state == FINISHING
    local dropped = on.dropped
    if alone and dropped then
      on.dropped = nil
      dropped(on)
    end
  end
  close_task(self)
  self.args = nil
  if self.state ~= FINISHING then fail(self, problem) end
  return true
end

--- Whether the running code is a tasklet.
function task.is_running()
  return current ~= nil and running() == current.co
end

--- Whether the running code is a tasklet, or something an engine has called that may await.
function task.in_tasklet()
  if task.is_running() then return true end
  return eventloop.managed() ~= nil
end

-- ---- contexts --------------------------------------------------------------------------------------------------

task.current_context = current_context

--- Sets the context of the running code: of its tasklet alone, or of its coroutine.
function task.set_context(context)
  local co = running()
  if current and current.co == co then
    current.context = context
  else
    contexts[co] = context
  end
end

task.kind = meta

return task
