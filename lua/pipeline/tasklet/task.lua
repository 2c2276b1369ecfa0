--- tasklet/task.lua: tasklets: functions in coroutines of their own, and how they wait.
--
-- A task is the future of a tasklet, of the kind "Tasklet", with these fields more: body (the function), worker (what
-- runs it, once it has started), on (the future it waits for), context if there is one. Its `value` holds the packed
-- arguments until it starts, and while it waits its place among those who wait.
--
-- A worker is a coroutine that runs bodies one after the other (csrc/binding/worker.c); `busy` while it has one. A body
-- that is dropped while it waits is closed when its worker is collected. A task waits by yielding WAIT, which no user
-- code can make.
--
-- Invariants
--   1. `current` is the task whose coroutine was resumed last and has not come back; nil outside.
--   2. A task that waits is in exactly one place: among those who wait for `on`, or in the queue of its loop.
--   3. A coroutine that will not be resumed again is closed.

local core = require "pipeline.core"
local errors = require "pipeline.errors"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"

local task = {}

local FINISHING, RUNNING = future.FINISHING, future.RUNNING
local WORKERS_IDLE_MAX = 512

local getmetatable, setmetatable, select, type = getmetatable, setmetatable, select, type
local unpack, pack = table.unpack, table.pack
local create, resume, yield, running = coroutine.create, coroutine.resume, coroutine.yield, coroutine.running
local isyieldable, status, close = coroutine.isyieldable, coroutine.status, coroutine.close
local is_future, add, remove, results, fail, finish = future.is, future.add, future.remove, future.results, future.fail,
  future.finish
local where, current_loop, push = core.where, eventloop.current, eventloop.push

local meta, Task = future.kind("Tasklet")
local current, current_co -- the task that is running, and its coroutine
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

local main, DONE, WAIT = core.worker(handler)
local worker_meta = { __name = "pipeline.Worker" }
local idle, idle_count = {}, 0

local function close_orphan(entry)
  local co = entry.co
  if status(co) ~= "suspended" then return end
  local ok, problem = close(co)
  if not ok then eventloop.report(problem) end
end

-- The task was dropped while it waited for something that nobody else knows: its variables are closed by the loop.
function worker_meta.__gc(worker)
  if worker.busy then current_loop():push { go = close_orphan, co = worker.co } end
end

local function get_worker()
  if idle_count == 0 then return setmetatable({ co = create(main), busy = true }, worker_meta) end
  local worker = idle[idle_count]
  idle[idle_count] = nil
  idle_count = idle_count - 1
  worker.busy = true
  return worker
end

local function put_worker(worker)
  worker.busy = false
  if idle_count >= WORKERS_IDLE_MAX then
    close(worker.co)
    return
  end
  idle_count = idle_count + 1
  idle[idle_count] = worker
end

-- Closes the coroutine where it stands. Errors of its to-be-closed variables are reported.
local function close_task(self)
  local worker = self.worker
  self.on, self.worker = false, false
  if not worker or status(worker.co) ~= "suspended" then return end
  worker.busy = false
  local before, before_co = current, current_co
  current, current_co = nil, nil
  local ok, problem = close(worker.co)
  current, current_co = before, before_co
  if not ok then eventloop.report(problem) end
end

-- A yield that is not ours. The error is raised where the tasklet yielded, by a hook that fires at its next
-- instruction.
local function refuse_yield(self, co, value)
  local text = "a tasklet may not yield by itself: only await can suspend it"
  if is_future(value) then text = "a tasklet may not yield a future: use await(future)" end
  local problem = errors.TaskletError(text)
  debug.sethook(co, function()
    debug.sethook(co)
    error(problem, 0)
  end, "", 1)
  self.loop:push(self)
end

local function ended(self, ok, ...)
  if ok then return finish(self, ...) end
  local problem = ...
  if problem == nil then problem = "nil" end
  local trace = traces[self]
  traces[self] = nil
  return fail(self, problem, trace)
end

-- The coroutine came back: it waits, or it has ended.
local function settle(self, worker, before, alive, first, ...)
  current, current_co = before, before and before.worker.co
  if first == WAIT then
    if self.state == FINISHING then close_task(self) end
  elseif first == DONE then
    put_worker(worker)
    self.worker = false
    if self.state == FINISHING then return end -- it has cancelled itself
    return ended(self, ...)
  elseif alive then
    return refuse_yield(self, worker.co, first)
  else -- not even the worker could catch it
    worker.busy, self.worker, self.on = false, false, false
    close(worker.co)
    if self.state ~= FINISHING then return ended(self, false, first) end
  end
end

local function run(self)
  if self.state == FINISHING then return end
  local before, worker = current, self.worker
  if worker then
    local co = worker.co
    current, current_co = self, co
    return settle(self, worker, before, resume(co))
  end
  worker = get_worker()
  local co, args = worker.co, self.value
  self.worker = worker
  current, current_co = self, co
  if not args then return settle(self, worker, before, resume(co, self.body)) end
  self.value = false
  return settle(self, worker, before, resume(co, self.body, unpack(args, 1, args.n)))
end

Task.go = run

local contexts = setmetatable({}, { __mode = "k" }) -- coroutine that is no tasklet -> its context
local has_contexts = false

local function current_context()
  if not has_contexts then return nil end
  local co = running()
  if current and (current_co == co or contexts[co] == nil) then return current.context end
  return contexts[co]
end

--- Starts a tasklet: `body` runs on the loop, in a coroutine of its own. Returns its task. `level` says whose line it
-- is started at: 1 is the function that calls this. `args` are packed, or false.
local function start(body, level, args)
  local loop, context = current and current.loop or current_loop(), current_context()
  local self = setmetatable({
    loop = loop, made = where(level + 1), body = body, worker = false, on = false, state = RUNNING,
    value = args, first = false,
  }, meta)
  if context then self.context = context end
  push(loop, self)
  return self
end

task.start = start

-- ---- waiting ---------------------------------------------------------------------------------------------------

local function wait_in_task(self, on)
  if not isyieldable() then errors.raise(errors.TaskletError, ADVICE) end
  if on.state == FINISHING then
    self.loop:push(self)
  else
    self.value = add(on, self)
  end
  self.on = on
  yield(WAIT)
  self.on = false
end

local managed_meta = {}

local function wake(entry)
  entry.woken = true
  entry.token:wake()
end

-- The coroutine goes on, or it is closed while it waits: as when its attempt is out of time.
function managed_meta.__close(entry)
  if entry.woken then return end
  local on = entry.on
  local dropped = on.dropped
  if remove(on, entry, entry.place) and dropped then dropped(on) end
end

-- In a coroutine that an engine manages: the run of a stage, a callback, a route.
local function wait_managed(handle, on)
  local token, code, message = handle:token()
  if not token then errors.raise_core(code, message, "await") end
  local entry <close> = setmetatable({ go = wake, loop = current_loop(), token = token, on = on }, managed_meta)
  if on.state == FINISHING then
    wake(entry)
  else
    entry.place = add(on, entry)
  end
  local _, failed, text = handle:suspend()
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
  if self and running() == current_co then return wait_in_task(self, on) end
  local handle = eventloop.managed()
  if handle then return wait_managed(handle, on) end
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
  if self and running() == current_co then
    if not isyieldable() then errors.raise(errors.TaskletError, ADVICE) end
    if on.state == FINISHING then
      push(self.loop, self)
    else
      self.value = add(on, self)
    end
    self.on = on
    yield(WAIT)
    self.on = false
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
    return start(fn, 1, select("#", ...) > 0 and pack(...))
  end
  bodies[wrapper] = fn
  return wrapper
end

--- As tasklet, but a call waits and gives the results. In App Engine: @synctasklet.
function task.synctasklet(fn)
  check_body(fn, "synctasklet")
  local function wrapper(...)
    local self = start(fn, 2, pack(...))
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
  local worker = self.worker
  if worker and status(worker.co) ~= "suspended" then
    fail(self, problem)
    return true
  end
  local on = self.on
  if on then
    local alone = remove(on, self, self.value) or on.state == FINISHING
    local dropped = on.dropped
    if alone and dropped then
      on.dropped = nil
      dropped(on)
    end
  end
  close_task(self)
  if self.state ~= FINISHING then fail(self, problem) end
  return true
end

--- Whether the running code is a tasklet.
function task.is_running()
  return current ~= nil and running() == current_co
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
  has_contexts = true
  local co = running()
  if current and current_co == co then
    current.context = context
  else
    contexts[co] = context
  end
end

task.kind = meta

return task
