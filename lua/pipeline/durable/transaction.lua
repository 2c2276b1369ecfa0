--- durable/transaction.lua: transactions of a durable function: the user's rows, the result, and everything that the
-- body had asked for before are one commit.

local errors = require "pipeline.support.errors"
local journal = require "pipeline.durable.journal"
local shown = require "pipeline.durable.reach.shown"
local values = require "pipeline.durable.values"

local transaction = {}

local LOST <const>, UNKEPT <const> = {}, {}

-- Calls fn(tx), and writes its results and the journal in the same transaction.
local function attempt(self, op)
  return self.engine:transaction(function(tx)
    local results = table.pack(op.fn(tx))
    local kept, bytes = pcall(values.encode, results, results.n, ("result of transaction %q"):format(op.name))
    if not kept then error({ UNKEPT, bytes }, 0) end
    self.machine:close(op, "ok", bytes)
    local writes, given = journal.collect(self, true)
    local ok, code, last = tx._session:journal(self.claim, given)
    if not ok then error({ LOST, code, last }, 0) end
    op.writes, op.given, op.bytes = writes, given, last
  end)
end

--- Executes the transaction of an operation. Returns "ok": it is committed, and its operation is to be delivered;
-- "failed", with the error, its trace and whether it is no use to try again: nothing of it is there; "lost", with a
-- code and a message: nothing may be written any more.
function transaction.execute(self, op)
  local ok, problem = xpcall(attempt, errors.handler, self, op)
  if ok then
    journal.wrote(self, op.writes, op.bytes)
    shown.wrote(self, op.given)
    return "ok"
  end
  local original = errors.original(problem)
  if type(original) == "table" and original[1] == LOST then return "lost", original[2], original[3] end
  if type(original) == "table" and original[1] == UNKEPT then return "failed", errors.raised(original[2]), nil, true end
  if op.done then return "lost", original.code or "EIO", errors.text(original) end -- the commit itself has failed
  local _, _, trace = errors.describe(problem)
  return "failed", original, trace
end

return transaction
