--- await.lua: how the running code waits, and what a function of the user's returns.
--
-- There are three ways to wait. A tasklet is suspended, and so is a coroutine that an engine manages (a run, a
-- callback, a route): others go on meanwhile. All else (a script, a plain coroutine, a callback of a loop) cannot be
-- left and entered again: whoever it waits for runs the loop below it, or refuses. Which way it is, is decided in `way`
-- alone.
--
-- A function of the user's may be a tasklet, or may end with `return tasklet(...)`: then its work has only begun when
-- it returns, and its results, or its error, are those of the future. Whoever calls user code and has something to do
-- when that is done (end a task, answer a request, commit) passes what it returned through `results`.
--
-- The tasklets are not loaded from here: a program that has no tasklets has no futures either.

local await = { TASKLET = "tasklet", MANAGED = "managed", BLOCK = "block" }

local TASKLET <const>, MANAGED <const>, BLOCK <const> = await.TASKLET, await.MANAGED, await.BLOCK
local is_future, wait_for, is_tasklet -- of the tasklets, as soon as they are loaded
local managed -- of the event loop
local refuse_in_body = function() end

--- Has the tasklets say what a future is, how to wait for one, and whether the running code is a tasklet.
function await.set(is, wait, in_tasklet)
  is_future, wait_for, is_tasklet = is, wait, in_tasklet
end

--- Has the event loop say in which engine's coroutine the running code is: managed(engine | nil) -> core, or nil.
function await.set_managed(fn)
  managed = fn
end

--- Has the context say where nothing is waited for but what the journal of a durable function has.
function await.set_refusal(fn)
  refuse_in_body = fn
end

--- How the running code waits: TASKLET; or MANAGED, and the core of the engine whose coroutine it is; or BLOCK.
-- @tparam[opt] table engine what it waits for has its turns with this one: MANAGED only if it is its coroutine, or that
--   of an engine that has its turns while it has.
function await.way(engine)
  if is_tasklet and is_tasklet() then return TASKLET end
  local core = managed(engine)
  if core then return MANAGED, core end
  refuse_in_body("waiting by await, sleep or wait (but not self:await, self:sleep)")
  return BLOCK
end

--- Whether `value` is a future of tasklets.
function await.is_future(value)
  return is_future ~= nil and is_future(value)
end

--- Passes on what a user's function has returned; if that is, first of all, a future of tasklets, waits for it and
-- gives its results, or raises its error.
function await.results(...)
  if is_future and is_future((...)) then return wait_for((...)) end
  return ...
end

return await
