--- facts.lua: what an engine tells of itself and of its store.

local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local instance = require "pipeline.workflow.instance"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local retention = require "pipeline.retention"
local status = require "pipeline.workflow.status"
local bad_type = require("pipeline.support.place").bad_type

local methods = {} -- of the engine

local OVERDUE_MAX = 1000

--- What the engine is and has to do: version, store (kind, version, path; `bytes` of the file, `free` of these unused,
-- `log_bytes` of the write-ahead log beside it, `shrinks`: unused pages at its end are given back), durability, worker,
-- workers, stages, queues (name -> ready, delayed, claimed), retention (done, aborted, dead: seconds, or false;
-- journals: done and aborted of the journals of durable functions; max_bytes; `sweeps`: this engine deletes what is
-- older; `due`: what the next sweep takes, for done, aborted, dead and
-- names each {count =, oldest = (seconds since the epoch), more = (there is more than was counted)}), `overdue`
-- (schedules whose fire is due and has not been made; at most 1000 are counted), last_tick (when this engine last
-- looked for schedules that are due, in seconds since the epoch; nil: it has not yet), runs (of durable functions: how
-- many are begun, suspended, held, over, and the bytes of their journals) and counters.
-- While the store cannot be reached, unreachable_since tells since when (seconds since the epoch), and what only the
-- store knows is missing: its bytes, workers, stages, queues, retention. A file can always be reached.
function methods.status(self)
  opened.check(self)
  local facts = errors.check(self._core:facts())
  local counts, stages, workers, space, overdue, runs = {}, nil, nil, nil, nil, nil
  if not facts.unreachable_since then
    counts, stages, workers = current.store(self, true):counts_get()
    if not counts then errors.raise_core(stages, workers, "status") end
    space = errors.check(current.store(self, true):space_get())
    runs = current.store(self, true):flows_get()
    overdue = #errors.check(current.store(self, true):schedule_get { due = self._core:due(), limit = OVERDUE_MAX })
  end
  local queues = {}
  for _, count in ipairs(counts) do
    queues[count.queue or "default"] = { ready = count.ready, delayed = count.delayed, claimed = count.claimed }
  end
  return {
    runs = runs,
    version = facts.version, store = {
      kind = facts.store_kind, version = facts.store_version, path = facts.path, bytes = space and space.bytes,
      free = space and space.free, log_bytes = space and space.log, shrinks = space and space.shrinks,
    },
    retention = space and retention.status(space), unreachable_since = facts.unreachable_since,
    durability = facts.durability, worker = facts.worker, worker_number = facts.worker_number, workers = workers,
    stages = stages, queues = queues, executing = facts.executing, waiting = facts.waiting,
    executed = facts.executed, overdue = overdue, last_tick = self._last_tick or nil, facts = facts,
  }
end

-- The tables of the file, the largest first.
local function tables_of(core)
  local list, by_name, part = {}, {}, 0
  repeat
    local found, following, message = core:tables_get(part)
    if not found then errors.raise_core(following, message, "stats") end
    local one = found.table and by_name[found.table]
    if found.table and not one then
      one = { name = found.table, bytes = 0, index_bytes = 0, unused = 0 }
      by_name[found.table], list[#list + 1] = one, one
    end
    if one then
      local where = found.index and "index_bytes" or "bytes"
      one[where], one.unused = one[where] + found.bytes, one.unused + found.unused
    end
    part = following
  until not part
  table.sort(list, function(a, b)
    local a_bytes, b_bytes = a.bytes + a.index_bytes, b.bytes + b.index_bytes
    return a_bytes > b_bytes or a_bytes == b_bytes and a.name < b.name
  end)
  return list
end

--- Where the bytes of the file are, and what may go. Reads the whole file, one table after the other; work and other
-- reads go on meanwhile. For what is cheap to know see `status`.
-- @return bytes, free, log_bytes (as in `status().store`); tables: a list, the largest first, of { name =, bytes =
--   (of its rows), index_bytes = (of its indexes), unused = (bytes of both that hold nothing) }, your own tables
--   included; retention: as in `status`. Raises StoreError when that cannot be read, or SQLite is built without dbstat.
function methods.stats(self)
  opened.check(self)
  opened.outside_transaction(self, "stats")
  local tables, space = tables_of(self._core), errors.check(self._core:space_get())
  return {
    bytes = space.bytes, free = space.free, log_bytes = space.log, tables = tables, retention = retention.status(space),
  }
end

--- Looks for what is wrong in the file: its text encoding and schema against what its version says, the rules between
-- its rows that hold after every commit, its pages and foreign keys. Work goes on meanwhile, and other reads come
-- between; a large file takes seconds. Of each kind of fault some twenty are named.
-- @return a list of texts; an empty one: nothing is wrong. Raises StoreError when it cannot be read.
function methods.check(self)
  opened.check(self)
  opened.outside_transaction(self, "check")
  local list, part = {}, 0
  repeat
    local found, following, message = self._core:check(part)
    if not found then errors.raise_core(following, message, "check") end
    table.move(found, 1, #found, #list + 1, list)
    part = following
  until not part
  return list
end

--- A pipeline of this engine by its id; see pipeline.from_id.
function methods.from_id(self, id, given)
  opened.check(self)
  if type(id) ~= "string" then
    bad_type(1, "from_id", "string", id)
  end
  given = options.check(given, { resolve_outputs = "boolean" }, 2, "from_id")
  return instance.from_id(self, id, given, class.Base)
end

--- As pipeline.get_status_tree, of this engine.
function methods.get_status_tree(self, id, given)
  opened.check(self)
  return status.tree(self, id, given)
end

--- As pipeline.get_root_list, of this engine.
function methods.get_root_list(self, given)
  opened.check(self)
  return status.roots(self, given)
end

return methods
