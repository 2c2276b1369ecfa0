-- eventloop.lua: the event loop below tasklets, for editors (LuaLS); made from doc comments by `make reference`.
---@meta pipeline.eventloop

---@class eventloop
local eventloop = {}

---@type table
eventloop.common = nil

---@type table
eventloop.stepping = nil

---@type table
eventloop.virtual = nil

--- Calls fn(...) when nothing else is to be done. It returns nil: that was all; true: there is more to do; false: there
--- was nothing to do, call again after the next event; or a future of one of these. In App Engine: add_idle.
---@param fn function
---@param ... any
function eventloop.add_idle(fn, ...) end

--- For a host with a loop of its own, with no engine open: the descriptor to poll for reading. See timeout and step.
function eventloop.fd() end

--- Whether any engine, or the loop itself, is running below this code.
function eventloop.is_running() end

--- Calls fn(...) from the loop. In App Engine: queue_call.
---
--- `seconds`: nil: as soon as possible, in the order queued. Else after so many seconds, those of the same time in the
--- order queued, 0 after all immediate ones; 1e9 and more is a time since the epoch.
---
--- Returns an object with `cancel()`.
---@param seconds number|nil
---@param fn function
---@param ... any
---@return any
function eventloop.queue_call(seconds, fn, ...) end

--- Works until nothing is left to do, or until stop(); runs the open engines too. In App Engine: run.
function eventloop.run() end

--- Does one step without waiting. Returns 0 if something was done, else the seconds until the next timer, nil if there
--- is none. In App Engine: run0.
function eventloop.run0() end

--- Does one step, waiting for it if need be; false if nothing is left. In App Engine: run1.
function eventloop.run1() end

--- Gives errors of callbacks, and failures that nobody looked at, to fn(value, text); nil: to the log of the engine, or
--- standard error. Returns the one before.
---@param fn function
function eventloop.set_error_hook(fn) end

--- For a host with a loop of its own: does what can be done without waiting.
function eventloop.step() end

--- Makes run() return after the callback that is being called (G51).
function eventloop.stop() end

--- For a host with a loop of its own: the seconds to wait at most before the next step; -1: any time.
function eventloop.timeout() end

return eventloop
