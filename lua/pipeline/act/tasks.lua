--- tasks.lua: engine:act_tasks: dead tasks get another life, or are forgotten: by their names, or by filters.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local place = require "pipeline.support.place"
local bad_argument, bad_option = place.bad_argument, place.bad_option

local methods = {} -- of the engine

local PAGE = 100

local ops = { revive = true, forget = true }

local reasons = {
  EEXISTS = "its name has been taken meanwhile", ENOTFOUND = "it is not among the dead tasks any more",
}

local function has(value, part)
  return value and value:lower():find(part, 1, true) ~= nil
end

-- Dead tasks, newest first, a page at a time, and where to go on.
local function read_page(engine, queue, before)
  local records, following, message = current.store(engine, true):dead_list(queue, { before = before, limit = PAGE })
  if not records then
    if queue and (following == "ENOQUEUE" or following == "ENOTFOUND") then
      errors.raise(errors.PipelineStatusError, "there is no queue '%s'", errors.text(queue))
    end
    errors.raise_core(following, message, "dead tasks")
  end
  return records, following
end

local function refuse(result, name, why)
  result.refused[#result.refused + 1] = { id = name, why = why }
end

local function name_of(engine, record)
  return record.name or engine:_id_text(record.id)
end

-- A page of tasks, in one commit.
local function act_on(engine, result, queue, list, given)
  result.matched = result.matched + #list
  if given.dry_run or #list == 0 then
    result.done = result.done + #list
    return
  end
  local ids, store = {}, current.store(engine)
  for i, record in ipairs(list) do ids[i] = record.id end
  if given.op == "forget" then
    result.done = result.done + errors.check(store:dead_purge(queue, ids))
    return
  end
  for i, code in ipairs(errors.check(store:dead_revive(queue, ids))) do
    if code == "OK" then
      result.done = result.done + 1
    else
      refuse(result, name_of(engine, list[i]), reasons[code] or code)
    end
  end
end

-- Calls fits(record) for all dead tasks, and acts on those it chooses, page by page; `left` (absent: all) says which
-- may still be found.
local function act_where(engine, result, given, queue, fits, left)
  local before
  repeat
    local records, following = read_page(engine, queue, before)
    local chosen = {}
    for _, record in ipairs(records) do
      if fits(record) then chosen[#chosen + 1] = record end
    end
    act_on(engine, result, queue, chosen, given)
    before = following
  until not before or (left and next(left) == nil)
end

local function by_names(engine, result, given)
  local wanted = {}
  for _, name in ipairs(given.names) do
    if type(name) ~= "string" then bad_option(1, "act_tasks", "names", "list of texts expected") end
    local queue, rest = name:match("^([^/]+)/(.+)$")
    if not given.queue and not queue then
      bad_argument(1, "act_tasks", "names are QUEUE/NAME, or `queue` is given")
    end
    wanted[given.queue and given.queue .. "/" .. name or queue .. "/" .. rest] = true
  end
  act_where(engine, result, given, given.queue, function(record)
    local name = (record.queue or "default") .. "/" .. name_of(engine, record)
    local is_wanted = wanted[name]
    wanted[name] = nil
    return is_wanted
  end, wanted)
  for name in pairs(wanted) do
    refuse(result, given.queue and name:sub(#given.queue + 2) or name, reasons.ENOTFOUND)
  end
end

local filter_kinds = { queue = "string", text = "string", state = "string" }

local function by_filters(engine, result, given)
  local filters = options.check(given.filters, filter_kinds, 1, "act_tasks")
  if filters.state and filters.state ~= "dead" then
    bad_argument(1, "act_tasks", "only dead tasks are revived or forgotten")
  end
  if filters.text == "" then
    bad_option(1, "act_tasks", "filters", "'text' is empty; without it all are meant")
  end
  if given.queue and filters.queue and given.queue ~= filters.queue then
    bad_argument(1, "act_tasks", "`queue` and the one among the filters are two")
  end
  local part = filters.text and filters.text:lower()
  act_where(engine, result, given, given.queue or filters.queue, function(record)
    return not part or has(name_of(engine, record), part) or has(record.error_class, part)
      or has(record.message, part)
  end)
end

local act_kinds = { op = "string", queue = "string", names = "table", filters = "table", dry_run = "boolean" }

--- Gives dead tasks another life, or forgets them: { matched, done (how many), refused = list of { id, why } }.
-- @tparam table given op ("revive": as if they had never been tried; "forget"); names (a list: those of `queue`, or
--   "QUEUE/NAME"; of a task without a name its id) or filters (queue; text: found in name, class or message of the last
--   error); without either all of `queue`; dry_run (true: nothing is done, `done` says how many it would be).
-- A hundred at a time, each hundred in a commit of its own. Raises StoreError.
function methods.act_tasks(self, given)
  opened.check(self)
  given = options.check(given, act_kinds, 1, "act_tasks")
  options.check_one_of(given.op, ops, 1, "act_tasks", "op")
  if given.names and given.filters then bad_argument(1, "act_tasks", "either names or filters expected") end
  if not (given.names or given.filters or given.queue) then
    bad_argument(1, "act_tasks", "names, filters or queue expected")
  end
  local result = { matched = 0, done = 0, refused = {} }
  if given.names then
    by_names(self, result, given)
  else
    given.filters = given.filters or {}
    by_filters(self, result, given)
  end
  return result
end

return methods
