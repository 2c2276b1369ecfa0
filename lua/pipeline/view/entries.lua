--- entries.lua: stages as tables for people and programs: lower_snake names, times in seconds since the epoch, ids as
-- texts. What is absent is absent. All faces show these; none reads the store itself.
--
-- An entry has: id, root (both as users know them), parent (not of a root), class, state and state_words (words.lua),
-- status (the word that the original has for it), key, queue, created, started (when it became ready), ended, took
-- (seconds from created to ended, or until now), attempt (1 and up), max_attempts, last_error (of its last attempt that
-- failed), reason (why its tree was aborted), message, message_time, console_url, links (what it said of itself),
-- children = { done, total, more }, stages = the same of the whole tree, of roots, and by its state
--   waiting     waits_for: a list of { slot, stage, name, class, state }: whose outputs are not there
--   delayed     until; of a durable function that waits in its run `suspended` (for what, in words), of one that is
--               held `held` (why)
--   ready       place (in its queue; 1001: behind the first thousand), queue_paused
--   executing   worker ("host:pid"), since; these, until, place and queue_paused are there for finalizing and aborting,
--               too, which have a task as well
--   open        children_open, outputs_open (of an async one: outputs that are to come from outside)
--   aborting    abort_held: it refused to be cancelled

local core = require "pipeline.core"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local values = require "pipeline.view.values"
local words = require "pipeline.view.words"

local entries = {}

local NEVER = 9.2e12 -- seconds: what is due then waits for something else than a time
local WAITS_MAX = 20 -- slots of which it is told whose they are

local function non_empty(value)
  if value == nil or value == "" then return nil end
  return value
end

--- The name that users know a stage by.
function entries.id_text(engine, record)
  return record.key or engine:_id_text(record.id)
end

-- What the original says (P175).
local function status_of(record)
  if record.state == "ready" then return record.retry_at and "retry" or "run" end
  return record.state == "abort_held" and "aborting" or record.state
end

local function add_status(entry, said)
  if not said then return end
  entry.message, entry.message_time = non_empty(said.message), said.time
  entry.console_url = non_empty(said.console_url)
  local links = said.links and values.shown(said.links)
  if type(links) == "table" and next(links) ~= nil then entry.links = links end
end

local function add_task(entry, work)
  if work.claimed then
    entry.worker, entry.since = work.worker and work.worker:gsub("#%d+$", "") or nil, work.since
  elseif work["until"] then
    if work["until"] < NEVER then entry["until"] = work["until"] end
  else
    entry.place = work.place
    if work.paused then entry.queue_paused = true end
  end
end

-- Whose slot it is, as far as it can be told without reading the tree: the default output of a stage has its id.
local function waited_for(engine, slot)
  local wait = { slot = engine:_id_text(slot) }
  local owner = errors.read(current.store(engine, true):stage_get(slot, false, true))
  if owner then
    wait.stage, wait.name = entries.id_text(engine, owner), "default"
    wait.class, wait.state = owner.class_path, words.state(owner, owner.work)
  end
  return wait
end

local ALL = 1 << 62 -- behind all entries of a journal

--- What the store keeps of a durable function that is to be run, without its journal; nil: it is none.
function entries.flow(engine, record)
  if record.flags & core.DURABLE == 0 or record.state ~= "ready" then return nil end
  return (errors.read(current.store(engine, true):journal_get(record.id, { after = ALL, limit = 1 })))
end

-- A durable function whose task is delayed waits in the middle of its run, or is held.
local function add_flow(entry, engine, record)
  local flow = entry.state == "delayed" and entries.flow(engine, record)
  if flow and (flow.mode == "suspended" or flow.mode == "held") then entry[flow.mode] = flow.reason or "" end
end

local function add_work(entry, engine, record, with_owners)
  local work = record.work
  if not work then return end
  if work.unfilled then
    local list = {}
    for i, slot in ipairs(work.unfilled) do
      list[i] = with_owners and i <= WAITS_MAX and waited_for(engine, slot) or { slot = engine:_id_text(slot) }
    end
    entry.waits_for = list
  end
  if record.state == "run" then
    entry.children_open = record.open - work.outputs_open
    if record.flags & core.ASYNC ~= 0 then entry.outputs_open = work.outputs_open end
  end
  if work.has_task then add_task(entry, work) end
end

local function add_times(entry, record, now)
  entry.created, entry.started, entry.ended = record.created, record.started, record.finalized
  if record.created then entry.took = math.max(0, (record.finalized or now) - record.created) end
end

-- Counts of what is below it: { done, total, more }.
local function tally(counts)
  if not counts then return nil end
  return { done = counts.done, total = counts.total, more = counts.more or nil }
end

--- The entry of a stage.
-- @tparam table record of the stage, with `work` if it is live.
-- @tparam string root the name of its root.
-- @tparam[opt] table given parent (the name of its parent), owners (whose the slots are that it waits for).
function entries.of(engine, record, root, given)
  local entry = {
    id = entries.id_text(engine, record), root = root, parent = given and given.parent, class = record.class_path,
    state = words.state(record, record.work), status = status_of(record), key = record.key,
    queue = record.queue or "default", attempt = math.min(record.attempt + 1, record.max_attempts),
    max_attempts = record.max_attempts, last_error = non_empty(record.retry_message),
    reason = non_empty(record.abort_message), abort_held = record.state == "abort_held" or nil,
    fallback_taken = record.flags & core.FALLBACK_TAKEN ~= 0 or nil, durable = record.flags & core.DURABLE ~= 0 or nil,
    children = tally(record.children), stages = tally(record.stages),
  }
  add_times(entry, record, engine._core:now())
  add_status(entry, record.status)
  add_work(entry, engine, record, given and given.owners)
  add_flow(entry, engine, record)
  entry.state_words = words.line(entry)
  return entry
end

--- An entry for a record that cannot be read: the list that it is in is shown all the same.
function entries.readable(engine, record, root, given)
  local ok, entry = pcall(entries.of, engine, record, root, given)
  if ok then return entry end
  local _, message = errors.describe(entry)
  return {
    id = entries.id_text(engine, record), root = root, class = "", state = "damaged", state_words = message,
    queue = "default", attempt = 1, max_attempts = 1,
  }
end

return entries
