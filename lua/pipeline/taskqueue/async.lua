--- async.lua: calls of task queues that do not wait: they return a future at once, while the store works.
--
-- The call runs in a coroutine of the engine, so calls of many futures share commits. What belongs to a transaction is
-- done where it is called. A deadline ends the wait, not the work: what the store has been told it does.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local options = require "pipeline.support.options"
local misuse = require("pipeline.support.place").misuse
local classes = require("pipeline.taskqueue.errors").classes

local queue_async = {}

local future -- the module; loaded with the first call, which many a program never makes

local function load_futures()
  if future then return end
  require "pipeline.tasklet.task" -- makes that futures can be waited for
  future = require "pipeline.tasklet.future"
end

--- Checks a deadline (a finite number of seconds, above 0, or nil). Raises InvalidDeadlineError.
function queue_async.check_deadline(deadline, what)
  if deadline ~= nil and deadline <= 0 then
    errors.raise(classes.InvalidDeadlineError, "%s: a deadline of %g seconds is not above 0", what, deadline)
  end
  return deadline
end

-- ---- a call under way ------------------------------------------------------------------------------------------

local Call = {}
local call_meta = { __name = "pipeline.QueueCall", __index = Call }

-- It is over, whatever way: the loop need not wait for it any more.
local function let_go(call)
  if not call.has_ref then return end
  call.has_ref = false
  call.engine._pending[call] = nil
  call.loop.refs = call.loop.refs - 1
  if call.timer then eventloop.cancel_timer(call.timer) end
end

-- Its engine is closed.
function Call.abandon(call)
  let_go(call)
  if call.rpc.state ~= future.FINISHING then
    future.fail(call.rpc, errors.closed(call.what, true))
  end
end

call_meta.__close = Call.abandon

local function settle(call, ok, ...)
  if call.rpc.state == future.FINISHING then return end -- out of time, or cancelled
  if ok then return future.finish(call.rpc, ...) end
  local caught = ...
  return future.fail(call.rpc, errors.original(caught), type(caught) == "table" and rawget(caught, "traceback") or nil)
end

local function work(call)
  local _ <close> = call
  settle(call, xpcall(call.fn, errors.handler, table.unpack(call.args, 1, call.args.n)))
end

local function expire(timer)
  local call = timer.call
  call.timer = false
  let_go(call)
  if call.rpc.state == future.FINISHING then return end
  local text = ("%s: no result within %g s"):format(call.what, timer.seconds)
  future.fail(call.rpc, errors.TimeoutError(text, { where = false }))
end

local function start_timer(call, seconds)
  if not seconds then return end
  call.timer = { fire = expire, call = call, seconds = seconds }
  call.loop:add_timer(call.timer, call.loop.clock.now() + seconds)
end

-- ---- for programs ----------------------------------------------------------------------------------------------

local rpc_kinds = { deadline = "number", callback = "function" }

--- Makes a handle to pass to an _async call as its option `rpc`.
-- @tparam[opt] table given deadline (seconds), callback (called, without arguments, when the call is over).
-- @return a future. Raises InvalidDeadlineError. In App Engine: taskqueue.create_rpc.
function queue_async.create_rpc(given)
  given = options.check(given, rpc_kinds, 1, "create_rpc")
  load_futures()
  local rpc = future.plain(2, "of a task queue")
  rpc.deadline, rpc.is_rpc = queue_async.check_deadline(given.deadline, "create_rpc"), true
  if given.callback then rpc:add_callback(given.callback) end
  return rpc
end

local function handle_of(given, what)
  local rpc = given.rpc
  if rpc == nil then return future.plain(4, what) end
  if not future.is(rpc) or not rpc.is_rpc or rpc.used then
    misuse(("bad argument to '%s' (option 'rpc': handle of create_rpc that was not used yet expected)"):format(what))
  end
  rpc.used = true
  return rpc
end

-- Whether the running code belongs to a transaction, which a coroutine of its own would not.
local function in_transaction()
  local tx = current.transaction and current.transaction()
  return tx ~= nil
end

--- Calls fn(...) and returns the future of its result: at once if `here`, or in a transaction; else in a coroutine of
-- the engine.
-- @tparam table given of which deadline and rpc are used. Raises InvalidDeadlineError.
function queue_async.start(what, given, here, fn, ...)
  load_futures()
  local deadline = queue_async.check_deadline(given.deadline, what)
  local rpc = handle_of(given, what)
  local loop = eventloop.current()
  local call = setmetatable({ what = what, rpc = rpc, loop = loop, has_ref = false, timer = false, fn = fn,
    args = table.pack(...) }, call_meta)
  if here or in_transaction() then
    settle(call, xpcall(fn, errors.handler, ...))
    return rpc
  end
  call.engine = current.engine()
  call.has_ref, loop.refs = true, loop.refs + 1
  call.engine._pending[call] = true
  start_timer(call, deadline or rpc.deadline)
  local ok, code, message = call.engine._core:spawn(work, call)
  if not ok then
    let_go(call)
    errors.raise_core(code, message, what)
  end
  return rpc
end

return queue_async
