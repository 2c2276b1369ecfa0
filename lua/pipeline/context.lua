--- context.lua: which engine and which run the running code belongs to.
--
-- Everything "current" hangs on the coroutine that runs, never on a global: several engines and any number of suspended
-- runs live side by side in one Lua state. Whatever an engine calls (run, finalized, callback, handler, deferred call)
-- works for that engine; a tasklet, and a callback of the event loop, for the one that the code that made it worked
-- for; a plain coroutine for whoever runs it. All others work for the default engine: the first one opened that is
-- still open.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"

local context = {
  instances = setmetatable({}, { __mode = "k" }), -- coroutine -> the pipeline instance whose task it executes
  owners = setmetatable({}, { __mode = "k" }),    -- coroutine -> the engine whose handler it executes
  engines = {},                                   -- open engines in the order opened
  logger = nil,                                   -- see context.set_logger
  enforce_auth = true,                            -- see context.set_enforce_auth
  has_several = false,                            -- there were two engines at a time: makers are remembered
  alone = false,                                  -- the engine that callbacks made before work for, while it is open
  calling = false,                                -- the engine that the callback of a loop that runs works for
  tasklet = { false },                            -- set by tasklets: at 1 the task that runs
}

local next = next
local running, status, whose = coroutine.running, coroutine.status, core.whose
local sole -- see context.sole
local open = setmetatable({}, { __mode = "k" }) -- engine of the C core -> engine
local opened = setmetatable({}, { __mode = "k" }) -- the same, the closed ones too
local transactions = setmetatable({}, { __mode = "v" }) -- file -> set of transactions

--- The instance whose run, finalized or callback is executed by this coroutine, or nil.
function context.instance()
  return context.instances[running()]
end

--- The transaction this code belongs to, or nil. It may be over: a tasklet can outlive it.
function context.transaction()
  return nil -- there was none yet: see context.set_transactions
end

local gate -- waits for transactions of others

--- Transactions there are from now on. `current` finds that of the running code, or nil; wait(engine) waits until none
-- of others keeps the store of the engine busy.
function context.set_transactions(current, wait)
  context.transaction, gate = current, wait
end

--- Who gets the lines of log of all engines without a `log` option, fn(level, text); nil: standard error.
function context.set_logger(fn)
  context.logger = fn
end

--- Whether pages and rpc need an administrator.
function context.set_enforce_auth(enforce)
  context.enforce_auth = enforce
end

local inside = setmetatable({}, { __mode = "k" }) -- coroutine of an engine that executes a handler -> true

-- The engine whose handler has made the plain coroutine that runs. `managed`: it was called in a coroutine of an
-- engine, else outside of all.
local function around(managed)
  for co in pairs(managed and inside or context.owners) do
    if status(co) == "normal" then return context.owners[co] end
  end
end

local MAKER <const> = 6 -- as in binding/tasklet/step.c

-- Of the tasklet that runs.
local function owner_of_tasklet()
  local maker = context.tasklet[1][MAKER]
  return maker and opened[maker]
end

--- The engine that the running code works for; nil or false: for none in particular.
function context.owner()
  local co = running()
  local instance = context.instances[co]
  local engine = instance and instance._engine or context.owners[co]
  if engine then return engine end
  local handle = whose()
  if handle == true then return owner_of_tasklet() end
  if handle then return next(inside) and around(true) or open[handle] end
  return context.calling or next(context.owners) and around()
end

--- The engine, as long as it is open and there has been no other: all code works for it, and everything is its. Else
-- nil.
function context.sole()
  return sole
end

--- The engine of the transaction under way here, else the one the running code works for, else the default one, or nil.
function context.engine_or_nil()
  if sole then return sole end
  local tx = context.transaction()
  if tx and tx:_is_open() then return tx._engine end
  return context.owner() or context.engines[1]
end

local restore = {
  __close = function(state)
    local co = state.co
    context.owners[co], context.instances[co], inside[co] = state.owner, state.instance, state.inside
  end,
}

local in_body = false -- the coroutine of a durable function's body that runs

--- The body of a durable function is about to be resumed in `co`, for `instance`.
function context.enter_body(co, instance)
  context.instances[co], in_body = instance, co
end

--- It has come back.
function context.leave_body(co)
  context.instances[co], in_body = nil, false
end

--- Whether the body of a durable function runs, or what it has called.
function context.in_body()
  return in_body ~= false
end

--- Raises where the body of a durable function runs: it is run again in every life, so it does nothing by itself.
-- `what`: the call.
function context.refuse_in_body(what)
  if not in_body then return end
  errors.raise(errors.NotInStepError, "%s is not possible in the body of a durable function, which is run again " ..
    "from its beginning in every life: do it in the function of a step", what)
end

--- Calls fn(...) for `engine`; nil or false: for none in particular. Returns what it does.
function context.work_for(engine, fn, ...)
  local co = running()
  local instance = context.instances[co]
  local _ <close> = setmetatable({
    co = co, owner = context.owners[co], instance = instance, inside = inside[co],
  }, restore)
  context.owners[co] = engine or nil
  if engine and instance and instance._engine ~= engine then context.instances[co] = nil end -- no part of that run
  if engine and whose() then inside[co] = true end
  return fn(...)
end

--- As engine_or_nil, but raises when there is none.
function context.engine()
  local engine = sole or context.engine_or_nil()
  if not engine then errors.raise(errors.ConfigurationError, "no engine is open: call pipeline.open first") end
  return engine
end

--- The set of transactions under way on a file (nil: one that is nobody else's), for all engines of this process.
function context.transactions_of(file)
  local set = file and transactions[file] or {}
  if file then transactions[file] = set end
  return set
end

--- What to ask the store of an engine through: the transaction under way here, if it is one of this engine; else the
-- engine, as soon as no transaction of others keeps it busy. Who only reads need not wait for those. Raises
-- TransactionError where waiting would be for oneself.
function context.store(engine, only_reads)
  if in_body then context.refuse_in_body("what reads or changes the store") end
  local tx = context.transaction()
  if tx and tx:_is_open() then
    if tx._engine == engine then return tx._session end
    if not only_reads and tx._engine._transactions == engine._transactions then
      errors.raise(errors.TransactionError, "inside a transaction of another engine on the same file (%s): " ..
        "nothing can be written through this one before its end", engine._path)
    end
  end
  if next(engine._transactions) and not (only_reads and engine._path ~= ":memory:") then gate(engine) end
  return engine._core
end

--- Where what is started or added here for `engine` goes; `transactional` and `what` as for Tx._takes, which may raise.
-- @return the transaction under way here, if it is one of that engine, and whether it belongs to that; if not, it is
-- done by itself when the transaction has ended (Tx._after). nil, false: there is none, and it is done now.
function context.route(engine, transactional, what)
  local tx = context.transaction()
  if not tx or tx._engine ~= engine then return nil, false end
  return tx, tx:_takes(transactional, what)
end

local listeners, had_any = {}, false

--- Has fn() called when there are two engines at a time for the first time, or now if there were.
function context.on_several(fn)
  if context.has_several then fn() end
  listeners[#listeners + 1] = fn
end

--- An engine is open. `hidden`: it is never the default one.
function context.add_engine(engine, hidden)
  local _, another = next(open)
  open[engine._core], opened[engine._core] = engine, engine
  sole = not had_any and not hidden and engine or nil
  had_any = true
  if not hidden then table.insert(context.engines, engine) end
  if not another or context.has_several then return end
  context.has_several, context.alone = true, another
  for _, fn in ipairs(listeners) do fn() end
end

function context.remove_engine(engine)
  open[engine._core] = nil
  if sole == engine then sole = nil end
  if context.alone == engine then context.alone = false end
  for i, other in ipairs(context.engines) do
    if other == engine then return table.remove(context.engines, i) end
  end
end

return context
