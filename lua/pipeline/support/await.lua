--- await.lua: what a function of the user's returns, when it is called by the library.
--
-- Such a function may be a tasklet, or may end with `return tasklet(...)`: then its work has only begun when it
-- returns, and its results, or its error, are those of the future. Whoever calls user code and has something to do
-- when that is done (end a task, answer a request, commit) passes what it returned through `results`.
--
-- The tasklets are not loaded from here: a program that has no tasklets has no futures either.

local await = {}

local is_future, wait_for -- of the tasklets, as soon as they are loaded

--- Has the tasklets say what a future is, and how to wait for one.
function await.set(is, wait)
  is_future, wait_for = is, wait
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
