--- deeds.lua: what is done to pipelines and to dead tasks, one or many, by what the library has for one.
--
-- A deed is told as { matched =, done =, refused = list of { id or name =, why = } }: what the library refuses does not
-- keep it from the others.

local errors = require "pipeline.support.errors"
local taskqueue = require "pipeline.taskqueue"

local deeds = {}

local PAGE = 1000

-- What each does to a stage: false, or an error, is a refusal.
local ON_STAGE = {
  retry = function(stage, reason) return stage:retry(reason) end,
  resume = function(stage) return stage:resume() end,
  abort = function(stage, reason) return stage:abort(reason) end,
  cleanup = function(stage)
    if not stage.is_root then return false, "it is part of a pipeline: clean up that" end
    stage:cleanup()
    return true
  end,
}

local WHY = {
  retry = "it does not wait for a callback, its attempts are used up, or it refuses (try_cancel)",
  resume = "it is not aborted", abort = "it is over, being aborted, or refuses (try_cancel)",
}

--- The ids of all roots that filters choose.
function deeds.ids(engine, wanted)
  local ids, cursor = {}, nil
  repeat
    wanted.limit, wanted.cursor = PAGE, cursor
    local page = engine:list(wanted)
    for _, entry in ipairs(page.items) do ids[#ids + 1] = entry.id end
    cursor = page.cursor
  until not cursor
  return ids
end

-- Errors of the store are no refusals.
local function try(fn, ...)
  local ok, done, why = xpcall(fn, errors.handler, ...)
  if ok then return done, why end
  local problem = errors.original(done)
  if not errors.is(problem) or errors.is(problem, errors.StoreError) then error(done, 0) end
  return false, problem.message
end

--- Does `op` ("retry", "resume", "abort", "cleanup") to pipelines.
-- @tparam table ids theirs.
-- @tparam[opt] string reason what is said of it.
function deeds.to_pipelines(engine, op, ids, reason)
  local result = { matched = #ids, done = 0, refused = {} }
  for _, id in ipairs(ids) do
    local stage = engine:from_id(id)
    local done, why = false, "it is gone"
    if stage then done, why = try(ON_STAGE[op], stage, reason) end
    if done then
      result.done = result.done + 1
    else
      table.insert(result.refused, { id = id, why = why or WHY[op] })
    end
  end
  return result
end

-- ---- dead tasks ------------------------------------------------------------------------------------------------

-- Dead tasks of a queue; `names`: only these, a set. A task without a name is known by its id.
local function dead_of(queue, names)
  local list, cursor = {}, nil
  repeat
    local page
    page, cursor = queue:dead_tasks { count = PAGE, cursor = cursor }
    for _, task in ipairs(page) do
      local id = task.name:match("^task%-(%x+)$")
      if not names or names[task.name] or id and names[id] then list[#list + 1] = task end
    end
  until not cursor
  return list
end

--- The addresses of dead tasks with `text` in what is known of them; of a queue, or of all.
function deeds.dead(engine, queue, text)
  local addresses, cursor = {}, nil
  repeat
    local page = engine:tasks { queue = queue, state = "dead", text = text, limit = PAGE, cursor = cursor }
    for _, task in ipairs(page.items) do addresses[#addresses + 1] = task.address end
    cursor = page.cursor
  until not cursor
  return addresses
end

--- Revives or forgets ("revive", "forget") dead tasks of a queue.
-- @tparam string name of the queue.
-- @tparam table wanted names or ids of tasks.
function deeds.to_dead(op, name, wanted)
  local queue, names = taskqueue.Queue(name), {}
  for _, one in ipairs(wanted) do names[one] = true end
  local result, found = { matched = 0, done = 0, refused = {} }, dead_of(queue, names)
  for _, task in ipairs(found) do
    local id = task.name:match("^task%-(%x+)$")
    names[task.name], names[id or task.name] = nil, nil
    local done, why = try(op == "revive" and queue.revive or queue.purge_dead, queue, task)
    if done and done ~= 0 then
      result.done = result.done + 1
    else
      table.insert(result.refused, { name = ("%s/%s"):format(name, task.name), why = why or "it is gone" })
    end
  end
  for _, one in ipairs(wanted) do
    if names[one] then
      table.insert(result.refused, { name = ("%s/%s"):format(name, one), why = "there is no dead task of that name" })
    end
  end
  result.matched = #found
  return result
end

return deeds
