--- trees.lua: engine:act: what is done to many pipelines at once, by their ids or by filters.
--
-- One after the other, each in a commit of its own: in a run, a handler or a tasklet others go on between them, and
-- whoever waits for the store waits for one of them at most. What cannot be done with one is told, and the next one
-- comes.

local address = require "pipeline.view.address"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local filters_of = require "pipeline.view.filters"
local instance = require "pipeline.workflow.instance"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local place = require "pipeline.support.place"
local bad_argument, bad_option = place.bad_argument, place.bad_option

local methods = {} -- of the engine

local PAGE = 200
local REFUSED_MAX = 1000 -- that are told with their reasons
local IDS_MAX = 10000 -- that are listed

-- ---- one pipeline ----------------------------------------------------------------------------------------------

local function root_of(engine, record)
  return record.parent and errors.read(current.store(engine, true):stage_get(record.root)) or record
end

-- What an abort of it takes along: the tree, or the child of a durable function that it is in.
local function scope_of(engine, record)
  while record and record.parent and record.flags & core.SCOPE == 0 do
    record = errors.read(current.store(engine, true):stage_get(record.parent))
  end
  return record
end

local function is_final(record) return record.state == "done" or record.state == "aborted" end

-- For each act: why it is not possible with a record; nil: it is. And how it is done: false, why: it was not possible
-- any more.
local ops = {}

ops.resume = {
  refuse = function(engine, record)
    local root = root_of(engine, record)
    if root.state == "aborted" then -- and what was below it may still be under way
      local _, code = current.store(engine):resume(root.id, true)
      return code == "ELIVE" and "its tree is still being aborted" or nil
    end
    if root.abort_requested and root.state ~= "done" then return "its tree is still being aborted" end
    return "its tree is not aborted"
  end,
  act = function(stage) return stage:resume(), "its tree is not aborted any more" end,
}

ops.abort = {
  refuse = function(engine, record, way)
    local top = scope_of(engine, record)
    if not top or is_final(top) then return "its tree is final" end
    if top.abort_requested and not way.force then return "its tree is being aborted already" end
  end,
  act = function(stage, way)
    return stage:abort(way.reason, { force = way.force }), "it refuses, or its tree is final by now"
  end,
}

ops.retry = {
  refuse = function(_, record)
    if record.flags & core.ASYNC == 0 then return "it is not async; an aborted tree is resumed, not retried" end
    if record.state ~= "run" then return "it does not wait for its completion" end
    if record.attempt + 1 >= record.max_attempts then return "its attempts are used up" end
    local of, problem = class.find(record.class_path)
    if not of then return "its try_cancel cannot be asked: " .. problem end
  end,
  act = function(stage, way) return stage:retry(way.reason), "its try_cancel refuses" end,
}

ops.cleanup = {
  refuse = function(_, record)
    if record.parent then return "it is not a root" end
    if not is_final(record) then return "it still runs; abort it first" end
  end,
  act = function(stage)
    stage:cleanup()
    return true
  end,
}

-- ---- all of them -----------------------------------------------------------------------------------------------

-- `way`: op, reason, force, dry_run. Returns whether it was (or could be) done, or false and why not.
local function try(engine, record, way)
  local op = ops[way.op]
  local why = op.refuse(engine, record, way)
  if why then return false, why end
  if way.dry_run then return true end
  local stage = instance.of_record(engine, class.find(record.class_path) or class.Base, record)
  local ok, done, otherwise = pcall(op.act, stage, way)
  if not ok and not errors.is(done, errors.Error) then error(done, 0) end
  if not ok then return false, select(2, errors.describe(done)) end
  return done, otherwise
end

local function refuse(result, id, why)
  if #result.refused < REFUSED_MAX then
    result.refused[#result.refused + 1] = { id = id, why = why }
  else
    result.refused_more = (result.refused_more or 0) + 1
  end
end

local function act_on(engine, result, id, record, way)
  if not record then return refuse(result, id, "there is no such pipeline") end
  result.matched = result.matched + 1
  local done, why = try(engine, record, way)
  if not done then return refuse(result, id, why) end
  result.done = result.done + 1
  if result.ids then table.insert(result.ids, id) end
end

local function by_ids(engine, result, ids, way)
  for _, given in ipairs(ids) do
    local ok, id, record = pcall(address.find, engine, given, "act")
    if not ok and not errors.is(id, errors.PipelineStatusError) then error(id, 0) end
    if ok then
      act_on(engine, result, id or given, record, way)
    else
      refuse(result, given, select(2, errors.describe(id)))
    end
  end
end

-- In a list an empty filter chooses all. Here somebody's variable was empty.
local function check_filters(given)
  filters_of.check(given, {}, "act")
  for name, value in pairs(given) do
    if value == "" then
      bad_option(1, "act", "filters", "'%s' is empty; without it all are meant", name)
    end
  end
  local states = filters_of.read(given, "act").states
  if states and next(states) == nil then
    bad_option(1, "act", "filters", "'state' names none; without it all are meant")
  end
end

-- Newest first: what is done to one takes nothing from those that follow.
local function by_filters(engine, result, filters, way)
  check_filters(filters)
  local wanted = { limit = PAGE }
  for name, value in pairs(filters) do wanted[name] = value end
  repeat
    local page = engine:list(wanted)
    for _, entry in ipairs(page.items) do
      if result.ids and #result.ids == IDS_MAX then
        result.more = true
        return
      end
      local id = engine._core:id_parse(entry.id)
      act_on(engine, result, entry.id, errors.read(current.store(engine, true):stage_get(id or entry.id)), way)
    end
    wanted.cursor = page.cursor
  until not wanted.cursor
end

local act_kinds = {
  op = "string", ids = "table", filters = "table", reason = "string", force = "boolean", dry_run = "boolean",
  list = "boolean",
}

--- Does one thing to many pipelines: { matched, done (how many), refused = list of { id, why } }; of more than 1000
-- refused ones `refused_more` says how many follow.
-- @tparam table given op ("resume": an aborted tree goes on, see Pipeline.resume; "abort": the tree is aborted, with
--   `reason`, and with force = true at once, see Pipeline.abort; "retry": an async pipeline that waits runs again, with
--   `reason`; "cleanup": a finished tree is deleted);
--   and either ids (list of ids, beginnings of at least 6 characters, or "key:KEY") or filters (of `list`: the roots
--   that it finds; none may be empty); dry_run (true: nothing is done, `done` says how many it would be); list (true:
--   `ids` lists those that are done, or with dry_run would be, 10,000 at most, and `more` says that filters find others
--   behind them, which are left alone: who asks somebody first acts on these ids then, and on nothing that came later).
-- Each is a commit of its own, and others have their turns between: when the process dies the trees before are done,
-- the others as they were, and none is done by half; the same act once more does what is left. Raises StoreError; what
-- is wrong with one of the pipelines is told in `refused`.
function methods.act(self, given)
  opened.check(self)
  given = options.check(given, act_kinds, 1, "act")
  options.check_one_of(given.op, ops, 1, "act", "op")
  if given.force and given.op ~= "abort" then bad_argument(1, "act", "option 'force' is for abort alone") end
  if (given.ids == nil) == (given.filters == nil) then
    bad_argument(1, "act", "either ids or filters expected")
  end
  for _, id in ipairs(given.ids or {}) do
    if type(id) ~= "string" then bad_option(1, "act", "ids", "list of texts expected") end
  end
  local result = { matched = 0, done = 0, refused = {}, ids = given.list and {} or nil }
  if given.ids then
    by_ids(self, result, given.ids, given)
  else
    by_filters(self, result, given.filters, given)
  end
  return result
end

return methods
