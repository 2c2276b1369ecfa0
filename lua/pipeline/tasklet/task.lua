--- tasklet/task.lua: tasklets: functions in coroutines of their own, and how they wait.
--
-- A task is the future of a tasklet, of the kind "Tasklet", with these fields more, which have numbers as those are
-- quicker to reach from C: BODY (the function), WORKER (what runs it, once it has waited), ON (the future it waits
-- for), PLACE, MADE (what `made` is for other futures), and MAKER (the core of the engine it works for, if it is for
-- one in particular). PLACE holds the arguments until it starts: packed, or (ON is SINGLE) the only one; and while it
-- waits its place among those who wait. `context` is set if there is one.
--
-- A worker, {co}, is a coroutine that runs bodies one after the other (csrc/binding/tasklet/worker.c). A body that is
-- dropped while it waits is closed when its worker is collected. A task waits by yielding WAIT, which no user code can
-- make. What nearly every step of a tasklet is, is done in csrc/binding/tasklet/step.c; what that leaves comes to
-- `settle`, `start_packed` and `await`.
--
-- Invariants
--   1. current[TASK] is the task whose coroutine was resumed last and has not come back; false outside.
--   2. A task that waits is in exactly one place: among those who wait for the future ON, or in the queue of its loop.
--   3. A coroutine that will not be resumed again is closed.

local core = require "pipeline.core"
local await_room = require "pipeline.support.await"
local engines = require "pipeline.current"
local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"
local options = require "pipeline.support.options"
local pipelines = require "pipeline.workflow.future"
local argument_text = require("pipeline.support.place").argument_text

local task = {}

local FINISHING = future.FINISHING
local TASKLET = await_room.TASKLET
local TASK <const> = 1
-- As in binding/tasklet/step.c; MADE is 5.
local BODY <const>, WORKER <const>, ON <const>, PLACE <const>, MAKER <const> = 1, 2, 3, 4, 6
local CO <const> = 1
local ENDED <const>, WAITS <const>, YIELDED <const>, DEAD <const> = 0, 2, 3, 4 -- as in binding/tasklet/worker.h
local SINGLE = {} -- the task has one argument, in PLACE

local setmetatable, select, type = setmetatable, select, type
local pack = table.pack
local running, isyieldable, status, close = coroutine.running, coroutine.isyieldable, coroutine.status, coroutine.close
local is_future, leave, results, fail, finish = future.is, future.leave, future.results, future.fail, future.finish
local current_loop, common = eventloop.current, eventloop.common

local meta, Task = future.kind("Tasklet")
local soon_meta, Soon = future.kind("Sleep") -- sleeps of no time: see time.lua
local commit_meta, Commit = future.kind("Commit") -- of an op: see binding/tasklet/tasklet.c
Task.first, Commit.info = false, "commit of an engine"
local current = engines.tasklet -- at 1 the task that is running
local traces = setmetatable({}, { __mode = "k" }) -- task -> trace of the error it is dying of

-- ---- errors ----------------------------------------------------------------------------------------------------

local OWN = "/pipeline/tasklet/"

local find, traceback, getinfo = string.find, debug.traceback, debug.getinfo

-- A traceback without the frames of this library.
local function trim(trace)
  local lines = {}
  for line in trace:gmatch("[^\n]+") do
    if not (find(line, OWN, 1, true) or find(line, "stack traceback:", 1, true) or
      find(line, "[C]: in function 'pipeline.", 1, true) or find(line, "%[C%]: in function '[xp]*error'") or
      find(line, "[C]: in function 'xpcall'", 1, true)) then
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n")
end

-- The handler of xpcall around the body: remembers where the error was raised; the value stays as it is.
local function handler(value)
  if type(value) == "string" and find(value, "stack overflow", 1, true) then return value end
  value = errors.raised(value)
  local inner, trace = errors.awaited_trace(value), trim(traceback(nil, 2))
  local self = current[TASK]
  if inner and self then trace = errors.join_traces(inner, "awaited in " .. future.name(self), trace) end
  if self then traces[self] = trace end
  if errors.is(value) and (inner or rawget(value, "traceback") == nil) then rawset(value, "traceback", trace) end
  return value
end

--- A message handler for xpcall that shows where an error was raised, through all the awaits it has come.
function task.traceback(value)
  local inner = errors.awaited_trace(value)
  if type(value) ~= "string" and not errors.is(value) then return value end
  local outer = trim(traceback(nil, 2))
  return ("%s\n%s"):format(errors.text(value), inner and errors.join_traces(inner, "awaited in", outer) or outer)
end

local ADVICE = "await cannot wait here: it is called from a function written in C, such as table.sort, string.gsub, " ..
  "require or a __gc metamethod, or to close a variable of a tasklet that is cancelled; these cannot be left and " ..
  "entered again. Await first, and call it with the results"

local FOREIGN = "await is called in a coroutine that is no tasklet. Make its function a tasklet, " ..
  "or await outside of the coroutine"

local CALLBACK = "a callback of the event loop cannot wait for a future: make it a tasklet, or use add_callback"

-- ---- running ---------------------------------------------------------------------------------------------------

local function close_orphan(entry)
  local co = entry.thread
  if status(co) ~= "suspended" then return end
  local ok, problem = close(co)
  if not ok then eventloop.report(problem) end
end

-- The task was dropped while it waited for something that nobody else knows: its variables are closed by the loop.
core.on_orphaned(function(co)
  if getinfo(co, 1, "l") then current_loop():push { go = close_orphan, thread = co } end
end)

-- Closes the coroutine where it stands. Errors of its to-be-closed variables are reported.
local function close_task(self)
  local worker = self[WORKER]
  self[ON], self[WORKER] = false, false
  if not worker or status(worker[CO]) ~= "suspended" then return end
  local before = current[TASK]
  current[TASK] = false
  local ok, problem = close(worker[CO])
  current[TASK] = before
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

local function died(self, problem)
  local trace = traces[self]
  traces[self] = nil
  return fail(self, problem, trace)
end

local DISTURBED = "the coroutine of a tasklet that waited was closed, or resumed, by other code"

-- The worker came back, and it is not one of the usual cases. One that has ended or failed has been taken back.
local function settle(self, worker, state, ...)
  if state == WAITS then
    self[WORKER] = worker
    close_task(self) -- it has cancelled itself
  elseif state == YIELDED then
    self[WORKER] = worker
    return refuse_yield(self, worker[CO], (...))
  else
    self[WORKER], self[ON] = false, false
    local is_disturbed = state == DEAD and (...) == "cannot resume dead coroutine"
    if state == DEAD then close(worker[CO]) end -- not even the worker could catch it
    if self.state == FINISHING then return end -- it has cancelled itself
    if state == ENDED then return finish(self, ...) end
    return died(self, is_disturbed and errors.TaskletError(DISTURBED) or (...))
  end
end

local step = core.tasklets {
  current = current, handler = handler, task_meta = meta, kinds = future.kinds,
  common = common, none = future.NONE, single = SINGLE, settle = settle, add = future.add, complete = future.complete,
  arouse = eventloop.arouse, loop = current_loop, stepping = eventloop.stepping, virtual = eventloop.virtual,
  soon_meta = soon_meta, commit_meta = commit_meta, results = results, leave = leave, serves = eventloop.has_engine,
}
local suspend, is_inside, launch, prepare = step.suspend, step.is_inside, step.launch, step.prepare

Task.go = step.run
eventloop.set_drain(step.drain)

local contexts = setmetatable({}, { __mode = "k" }) -- coroutine that is no tasklet -> its context
local has_contexts, has_several = false, false

engines.on_several(function()
  has_several = true
  step.use_contexts() -- tasklets begin in `start`
end)

-- The task works for the engine. Where there is none in particular, step.c notes the one whose coroutine makes it.
local function set_maker(self, engine)
  if engine then self[MAKER] = engine._core end
end

task.set_maker = set_maker

local function current_context()
  if not has_contexts then return nil end
  local co = running()
  local self = current[TASK]
  if self and (is_inside() or contexts[co] == nil) then return self.context end
  return contexts[co]
end

-- The table `self` is about to become a task.
local function belong(self)
  local loop = current_loop()
  if loop ~= common then self.loop = loop end
  local context = has_contexts and current_context()
  if context then self.context = context end
  if has_several then set_maker(self, engines.owner()) end
  return self
end

--- Starts a tasklet: `body` runs on the loop, in a coroutine of its own. Returns its task. `level` says whose line it
-- is started at: 1 is the function that calls this. `args` are packed, or false; with `single` the only argument.
local function start(body, level, args, single)
  return launch(belong { body, false, single or false, args }, level + 1)
end

task.start = start

--- The same, with one argument, but it does not begin by itself: its method go() has it run at once, inside that call,
-- until it waits for the first time, or to its end. `made`: where it is made, "file:line".
function task.prepare(body, made, argument)
  return prepare(belong {
    body, false, SINGLE, argument, made, false, state = nil, value = nil, first = nil, run_of = nil, context = nil,
  })
end

local function call_user(fn, ...)
  return await_room.results(fn(...))
end

--- As start, for a function that the library was given and whose end it waits for: it may be a tasklet, or return one's
-- future. `args` are packed.
function task.start_user(fn, level, args)
  local body = task.bodies[fn]
  if body then return start(body, level + 1, args) end
  local self = start(call_user, level + 1, pack(fn, table.unpack(args, 1, args.n)))
  self.user = fn
  return self
end

-- What a function made by `tasklet` does when there are contexts.
local function start_packed(body, ...)
  return start(body, 2, pack(...))
end

-- ---- waiting ---------------------------------------------------------------------------------------------------

-- Outside of everything: the loop runs here until the future is done.
local function wait_blocking(on)
  if on.state == FINISHING then return end
  if current[TASK] then errors.raise(errors.TaskletError, FOREIGN) end
  if eventloop.is_stepping() then errors.raise(errors.TaskletError, CALLBACK) end
  if eventloop.is_running() then errors.raise(errors.TaskletError, isyieldable() and FOREIGN or ADVICE) end
  local loop = on.loop
  if not loop:run_until(on, FINISHING) then
    local problem = future.deadlock(on)
    if on[BODY] ~= nil then close_task(on) end
    return fail(on, problem, problem.traceback)
  end
  if on.state ~= FINISHING then errors.raise(errors.TaskletError, "the loop was stopped while this waited for %s",
    future.name(on)) end
end

-- A tasklet is suspended, and so is a coroutine of an engine (the run of a stage, a callback, a route): by C, see
-- binding/tasklet/step.c.
local function wait(on)
  if suspend(on) then return end
  if await_room.way() == TASKLET then errors.raise(errors.TaskletError, ADVICE) end
  return wait_blocking(on)
end

future.set_wait(wait)

local function check_future(value, position, name)
  if is_future(value) then return end
  if pipelines.is_future(value) then
    errors.raise(errors.TaskletError, "%s", argument_text(position, name, "the future of a pipeline is not awaited: " ..
      "pass it on to another child, self:spawn(Next(future)), which runs when its value is there"))
  end
  errors.raise(errors.TaskletError, "%s", argument_text(position, name, "future expected, got %s",
    type(value) == "table" and "table; use await_all for a list" or type(value)))
end

local function take_results(self, i, n)
  if i > n then return end
  return future.first_result(self[i]), take_results(self, i + 1, n)
end

local all_of -- makes a future of several, which multi.lua knows how to

--- all_of(members, n) gives a future that is done when all of its members are.
function task.set_all_of(fn)
  all_of = fn
end

local function await_many(n, ...)
  local members = { ... }
  for i = 1, n do check_future(members[i], i, "await") end
  local all = all_of(members, n)
  wait(all)
  if all.failure then return future.raise(all.failure) end
  return take_results(members, 1, n)
end

-- What is not the usual case: see step.c.
local function await(on, ...)
  if select("#", ...) > 0 then return await_many(select("#", ...) + 1, on, ...) end
  check_future(on, 1, "await")
  wait(on)
  return results(on)
end

--- Waits for futures. await(f) gives all results of f, or raises its error; await(f, g, ...) gives the first result of
-- each, or raises, when all are done, the error of the first of them in this order. In a tasklet, and in whatever an
-- engine calls (run, callback, finalized, a route), others go on meanwhile; elsewhere the loop runs until then.
-- Raises TaskletError where it cannot wait: inside a C function that calls back (table.sort, string.gsub, require), in
-- a coroutine of the user's own within a tasklet, in a callback of the loop; DeadlockError when nothing is left that
-- could complete what is waited for. In App Engine: yield.
-- @function task.await
task.await = step.awaiter(await)
await_room.set(is_future, task.await, is_inside)

-- ---- tasklets --------------------------------------------------------------------------------------------------

local bodies = setmetatable({}, { __mode = "k" }) -- wrapper -> function

--- Makes a tasklet of a function: calling it returns a future at once, and the function runs on the loop, where it may
-- await. All its results, or its error, are those of the future. Unlike the original, this holds for a function that
-- never awaits, too: it does not run inside the call. In App Engine: @tasklet.
function task.tasklet(fn)
  options.check_function(fn, 1, "tasklet")
  fn = bodies[fn] or fn
  local wrapper = step.starter(fn, start_packed)
  bodies[wrapper] = fn
  return wrapper
end

--- As tasklet, but a call waits and gives the results. In App Engine: @synctasklet.
function task.synctasklet(fn)
  options.check_function(fn, 1, "synctasklet")
  fn = bodies[fn] or fn
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

--- Ends the tasklet: what only it waits for is cancelled, its to-be-closed variables are closed, which may not await,
-- and its future fails with CancelledError. A tasklet that cancels itself ends at its next await. Returns false if it
-- is done.
function Task.cancel(self, reason)
  if self.state == FINISHING then return false end
  local problem = errors.CancelledError(reason or "cancelled")
  local worker = self[WORKER]
  if worker and status(worker[CO]) ~= "suspended" then
    fail(self, problem)
    return true
  end
  local on = self[ON]
  if is_future(on) then leave(on, self, self[PLACE]) end
  close_task(self)
  if self.state ~= FINISHING then fail(self, problem) end
  return true
end

function Task.dropped(self, reason)
  if self.state ~= FINISHING then self:cancel(reason or "nobody waits for it any more") end
end

--- Whether the running code is a tasklet.
function task.is_running()
  return is_inside()
end

--- Whether the running code is a tasklet, or something an engine has called that may await.
function task.in_tasklet()
  return await_room.way() ~= await_room.BLOCK
end

-- ---- contexts --------------------------------------------------------------------------------------------------

task.current_context = current_context

--- Sets the context of the running code: of its tasklet alone, or of its coroutine.
function task.set_context(context)
  if not has_contexts then
    has_contexts = true
    step.use_contexts()
    core.keep_contexts(contexts)
  end
  if is_inside() then
    current[TASK].context = context
  else
    contexts[running()] = context
  end
end

task.kind, task.soon, task.soon_meta, task.Soon = meta, step.soon, soon_meta, Soon

return task
