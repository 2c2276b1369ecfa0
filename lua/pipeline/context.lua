--- context.lua: which engine and which run the running code belongs to.
--
-- Everything "current" hangs on the coroutine that the engine started for a task, never on a global: several engines
-- and any number of suspended runs live side by side in one Lua state. Outside of tasks the default engine counts:
-- the first one opened that is still open.

local errors = require "pipeline.errors"

local context = {
  instances = setmetatable({}, { __mode = "k" }), -- coroutine -> the pipeline instance whose task it executes
  owners = setmetatable({}, { __mode = "k" }),    -- coroutine -> the engine whose task without pipeline it executes
  engines = {},                                   -- open engines in the order opened
  logger = nil,                                   -- set by pipeline.set_logger
  enforce_auth = true,                            -- set by pipeline.set_enforce_auth
  gate = nil,                                     -- set by transaction.lua: waits for transactions of others
}

local running = coroutine.running
local transactions = setmetatable({}, { __mode = "v" }) -- file -> set of transactions

--- The instance whose run, finalized or callback is executed by this coroutine, or nil.
function context.instance()
  return context.instances[running()]
end

--- The transaction this code belongs to, or nil; made real by transaction.lua, which is loaded with the first one.
function context.transaction()
  return nil
end

--- The engine of the transaction under way here, else that of the task this coroutine executes, else the default one,
-- or nil.
function context.engine_or_nil()
  local tx = context.transaction()
  if tx and tx:_is_open() then return tx._engine end
  local co = running()
  local instance = context.instances[co]
  return instance and instance._engine or context.owners[co] or context.engines[1]
end

--- As engine_or_nil, but raises when there is none.
function context.engine()
  local engine = context.engine_or_nil()
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
  local tx = context.transaction()
  if tx and tx:_is_open() then
    if tx._engine == engine then return tx._session end
    if not only_reads and tx._engine._transactions == engine._transactions then
      errors.raise(errors.TransactionError, "inside a transaction of another engine on the same file (%s): " ..
        "nothing can be written through this one before its end", engine._path)
    end
  end
  if next(engine._transactions) and not (only_reads and engine._path ~= ":memory:") then context.gate(engine) end
  return engine._core
end

function context.add_engine(engine)
  table.insert(context.engines, engine)
end

function context.remove_engine(engine)
  for i, other in ipairs(context.engines) do
    if other == engine then return table.remove(context.engines, i) end
  end
end

return context
