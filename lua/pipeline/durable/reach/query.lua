--- durable/reach/query.lua: asking a durable function, without its knowing.
--
-- Its body is replayed from the journal, in the process that asks, to where the journal ends; there its handler is
-- called, and all of that is dropped. No claim is taken, and nothing is written or begun.

local address = require "pipeline.durable.reach.address"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local opened = require "pipeline.engine.opened"
local replay = require "pipeline.durable.reach.replay"
local values = require "pipeline.durable.values"

local methods = {} -- of the engine

local function fail(record, name, format, ...)
  errors.raise(errors.QueryError, "query %q of %s: " .. format, name, record.class_path, ...)
end

-- The results are a copy: nobody gets hold of what the body has.
local function results_of(name, ok, ...)
  if not ok then error(errors.original((...)), 0) end
  local list, n = values.decode(values.encode({ ... }, select("#", ...), ("result of query %q"):format(name)))
  return table.unpack(list, 1, n)
end

-- The run, replayed, of the record; raises where it has parted from its journal.
local function replayed(self, record, cannot)
  local run, problem = replay.of(self, record)
  if not run then cannot(problem) end
  local body = run.machine
  if body.diverged then error(body.diverged, 0) end
  if body.broken then error(body.broken, 0) end
  return run
end

--- Asks a durable function, wherever and whether or not it is being executed; also when it is over, as long as its
-- journal is kept. Its handler (self:on_query) is called in a replay of it, in this process, up to where its journal
-- ends; so the class has to be loaded here, or loadable. Nothing of the run is changed, and nothing begins.
-- @param ref its id, idempotence key or instance. @tparam string name of the query. @param ... its arguments.
-- @return what the handler returns, decoded. Raises what it raises; QueryError (there is no such handler: it lists
--   those that are there; or it cannot be replayed; or the handler did what is recorded); NondeterminismError.
function methods.query(self, ref, name, ...)
  opened.check(self)
  current.refuse_in_body("a query")
  address.check_name(name, 2, "query")
  local record = address.record(self, ref, "query")
  local run = replayed(self, record, function(problem) fail(record, name, "%s", problem) end)
  local fn = run.handlers.query[name]
  if not fn then fail(record, name, "there is no handler of that name; there are: %s", run.handlers:names "query") end
  return results_of(name, run.handlers:call(fn, ...))
end

--- The names that a durable function answers to, as far as it has come: it is replayed, as for a query.
-- @param ref its id, idempotence key or instance.
-- @return { queries, signals, updates }: lists of names that handlers take (self:on_query, self:on_signal,
--   self:on_update), sorted. Raises QueryError (it cannot be replayed here), NondeterminismError.
function methods.get_handlers(self, ref)
  opened.check(self)
  current.refuse_in_body("get_handlers")
  local record = address.record(self, ref, "get_handlers")
  local handlers = replayed(self, record, function(problem)
    errors.raise(errors.QueryError, "get_handlers of %s: %s", record.class_path, problem)
  end).handlers
  return { queries = handlers:list "query", signals = handlers:list "signal", updates = handlers:list "update" }
end

return methods
