--- current.lua: which engine and which run the running code belongs to.
--
-- Everything "current" hangs on the coroutine that runs, never on a global: several engines and any number of suspended
-- runs live side by side in one Lua state. Whatever an engine calls (run, finalized, callback, handler, deferred call)
-- works for that engine; a tasklet, and a callback of the event loop, for the one that the code that made it worked
-- for; a plain coroutine for whoever runs it. All others work for the default engine: the first one opened that is
-- still open.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"

local current = {
  instances = setmetatable({}, { __mode = "k" }), -- coroutine -> the pipeline instance whose task it executes
  owners = setmetatable({}, { __mode = "k" }),    -- coroutine -> the engine whose handler it executes
  engines = {},                                   -- open engines in the order opened
  logger = nil,                                   -- see current.set_logger
  enforce_auth = true,                            -- see current.set_enforce_auth
  has_several = false,                            -- there were two engines at a time: makers are remembered
  alone = false,                                  -- the engine that callbacks made before work for, while it is open
  calling = false,                                -- the engine that the callback of a loop that runs works for
  tasklet = { false },                            -- at 1 the task that runs
  body = { false },                               -- at 1 the instance of a durable function whose body runs
}

local next = next
local running, status, whose = coroutine.running, coroutine.status, core.whose
local sole -- see current.sole
local open = setmetatable({}, { __mode = "k" }) -- engine of the C core -> engine
local opened = setmetatable({}, { __mode = "k" }) -- the same, the closed ones too
local transactions = setmetatable({}, { __mode = "v" }) -- file -> set of transactions

--- The instance whose run, finalized or callback is executed by this coroutine, or nil.
function current.instance()
  return current.instances[running()]
end

--- The transaction this code belongs to, or nil. It may be over: a tasklet can outlive it.
function current.transaction()
  return nil -- there was none yet: see current.set_transactions
end

local gate -- waits for transactions of others

--- Transactions there are from now on. find() gives that of the running code, or nil; wait(engine) waits until none of
-- others keeps the store of the engine busy.
function current.set_transactions(find, wait)
  current.transaction, gate = find, wait
end

--- Who gets the lines of log of all engines without a `log` option, fn(level, text); nil: standard error.
function current.set_logger(fn)
  current.logger = fn
end

--- Whether pages and rpc need an administrator.
function current.set_enforce_auth(enforce)
  current.enforce_auth = enforce
end

local inside = setmetatable({}, { __mode = "k" }) -- coroutine of an engine that executes a handler -> true

-- The engine whose handler has made the plain coroutine that runs. `managed`: it was called in a coroutine of an
-- engine, else outside of all.
local function around(managed)
  for co in pairs(managed and inside or current.owners) do
    if status(co) == "normal" then return current.owners[co] end
  end
end

local MAKER <const> = 6 -- as in binding/tasklet/step.c

-- Of the tasklet that runs.
local function owner_of_tasklet()
  local maker = current.tasklet[1][MAKER]
  return maker and opened[maker]
end

--- The callback of a loop that runs works for `engine`. Returns the one that it was for before.
function current.set_calling(engine)
  local before = current.calling
  current.calling = engine
  return before
end

--- The engine that the running code works for; nil or false: for none in particular.
function current.owner()
  local co = running()
  local instance = current.instances[co]
  local engine = instance and instance._engine or current.owners[co]
  if engine then return engine end
  local handle = whose()
  if handle == true then return owner_of_tasklet() end
  if handle then return next(inside) and around(true) or open[handle] end
  return current.calling or next(current.owners) and around()
end

--- The engine, as long as it is open and there has been no other: all code works for it, and everything is its. Else
-- nil.
function current.sole()
  return sole
end

--- The engine of the transaction under way here, else the one the running code works for, else the default one, or nil.
function current.engine_or_nil()
  if sole then return sole end
  local tx = current.transaction()
  if tx and tx:_is_open() then return tx._engine end
  return current.owner() or current.engines[1]
end

local restore = {
  __close = function(state)
    local co = state.co
    current.owners[co], current.instances[co], inside[co] = state.owner, state.instance, state.inside
  end,
}

local in_body = false -- the coroutine of a durable function's body that runs

local instances, body = current.instances, current.body

--- A coroutine of the body of a durable function is about to be resumed. `run`: has its instance as `self`.
function current.enter_body(co, run)
  local instance = run.self
  instances[co], in_body, body[1] = instance, co, instance
end

--- It has come back.
function current.leave_body(co)
  instances[co], in_body, body[1] = nil, false, false
end

--- Whether the body of a durable function runs, or what it has called.
function current.in_body()
  return in_body ~= false
end

--- Raises where the body of a durable function runs: it is run again in every life, so it does nothing by itself.
-- `what`: the call.
function current.refuse_in_body(what)
  if not in_body then return end
  errors.raise(errors.NotInStepError, "%s is not possible in the body of a durable function, which is run again " ..
    "from its beginning in every life: do it in the function of a step", what)
end

--- Calls fn(...) for `engine`; nil or false: for none in particular. Returns what it does.
function current.work_for(engine, fn, ...)
  local co = running()
  local instance = current.instances[co]
  local _ <close> = setmetatable({
    co = co, owner = current.owners[co], instance = instance, inside = inside[co],
  }, restore)
  current.owners[co] = engine or nil
  if engine and instance and instance._engine ~= engine then current.instances[co] = nil end -- no part of that run
  if engine and whose() then inside[co] = true end
  return fn(...)
end

--- As engine_or_nil, but raises when there is none.
function current.engine()
  local engine = sole or current.engine_or_nil()
  if not engine then errors.raise(errors.ConfigurationError, "no engine is open: call pipeline.open first") end
  return engine
end

--- The set of transactions under way on a file (nil: one that is nobody else's), for all engines of this process.
function current.transactions_of(file)
  local set = file and transactions[file] or {}
  if file then transactions[file] = set end
  return set
end

--- What to ask the store of an engine through: the transaction under way here, if it is one of this engine; else the
-- engine, as soon as no transaction of others keeps it busy. Who only reads need not wait for those. Raises
-- TransactionError where waiting would be for oneself.
function current.store(engine, only_reads)
  if in_body then current.refuse_in_body("what reads or changes the store") end
  local tx = current.transaction()
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
function current.route(engine, transactional, what)
  local tx = current.transaction()
  if not tx or tx._engine ~= engine then return nil, false end
  return tx, tx:_takes(transactional, what)
end

local listeners, had_any = {}, false

--- Has fn() called when there are two engines at a time for the first time, or now if there were.
function current.on_several(fn)
  if current.has_several then fn() end
  listeners[#listeners + 1] = fn
end

--- An engine is open. `hidden`: it is never the default one.
function current.add_engine(engine, hidden)
  local _, another = next(open)
  open[engine._core], opened[engine._core] = engine, engine
  sole = not had_any and not hidden and engine or nil
  had_any = true
  if not hidden then table.insert(current.engines, engine) end
  if not another or current.has_several then return end
  current.has_several, current.alone = true, another
  for _, fn in ipairs(listeners) do fn() end
end

function current.remove_engine(engine)
  open[engine._core] = nil
  if sole == engine then sole = nil end
  if current.alone == engine then current.alone = false end
  for i, other in ipairs(current.engines) do
    if other == engine then return table.remove(current.engines, i) end
  end
end

return current
