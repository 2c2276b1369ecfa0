--- why.lua: why a pipeline or a task does not run, or is not done: one sentence for each reason, the deciding one
-- first, and the command that would change it.
--
-- What decides is worked out by the function that claims ask, too (csrc/store/view/start.h), over facts that the store
-- reads; here it gets its words. Of a pipeline that waits for others of its tree the first of these is followed, down
-- to the one that holds all up.

local address = require "pipeline.view.address"
local current = require "pipeline.current"
local core = require "pipeline.core"
local entries = require "pipeline.view.entries"
local errors = require "pipeline.support.errors"
local failures = require "pipeline.workflow.failures"
local opened = require "pipeline.engine.opened"
local stores = require "pipeline.support.stores"
local text = require "pipeline.support.text"
local words = require "pipeline.view.words"
local bad_type = require("pipeline.support.place").bad_type

local methods = {} -- of the engine

local DEPTH_MAX = 20 -- steps from what waits to what it waits for
local CHILDREN_MAX = 200 -- of a stage, that are looked at
local DEPTH_ALL = 1 << 20 -- no tree is deeper
local ABORTED_MAX = 1000 -- stages of an aborted tree that are looked at

-- ---- sentences -------------------------------------------------------------------------------------------------

local say = {} -- code -> function(found, subject): text, command, details

local function queue_of(found)
  return found.task and found.task.queue or found.stage and found.stage.queue or "default"
end

local function name_of(engine, slot)
  return slot.key or engine:_id_text(slot.stage)
end

function say.slots(found, engine)
  local list, first = {}, found.slots[1]
  for i, slot in ipairs(found.slots) do
    list[i] = {
      slot = engine:_id_text(slot.slot), name = slot.name, class = slot.class_path,
      stage = slot.stage and name_of(engine, slot), state = slot.state,
    }
  end
  local line, command = ("it waits for %s"):format(words.count(found.stage.missing, "slot")), nil
  if first and first.stage then
    line = ("%s: first '%s' of %s %s"):format(line, first.name, first.class_path, name_of(engine, first))
    local is_open = first.state == "run" and first.flags & core.ASYNC ~= 0
    if is_open then command = ("pipeline complete %s VALUE"):format(name_of(engine, first)) end
  end
  return line, command, { slots = list }
end

function say.not_added()
  return "its start was left to whoever has asked for its task (return_task), who has not added it yet"
end

function say.schedule_paused(found)
  return ("schedule '%s' is paused: it starts nothing, nor what it has held back"):format(found.schedule),
    "pipeline resume-schedule " .. text.shell(found.schedule), { schedule = found.schedule }
end

local function earlier_name(engine, id)
  local record = errors.read(current.store(engine, true):stage_get(id))
  return record and entries.id_text(engine, record) or engine:_id_text(id)
end

function say.held(found, engine)
  local details = { schedule = found.schedule }
  if not found.earlier then return "it is held back until something else is over", nil, details end
  local earlier = earlier_name(engine, found.earlier)
  details.earlier = earlier
  return ("it is held back: the work of an earlier fire of schedule '%s', %s, is not over"):format(found.schedule,
    earlier), nil, details
end

function say.alone(found)
  return ("workers have died with it, so it is executed alone, and another such task of queue '%s' is before it")
    :format(queue_of(found))
end

function say.no_class(found)
  return ("no worker that tried it could load class %s; it is tried again at %s"):format(found.stage.class_path,
    words.time(found["until"])), "pipeline worker FILE.lua", { ["until"] = found["until"],
    class = found.stage.class_path }
end

function say.retry(found)
  local message = found.stage and found.stage.retry_message or found.task.message
  return ("its last attempt failed; the next one is at %s%s"):format(words.time(found["until"]),
    message and message ~= "" and (" (%s)"):format(text.short((message:gsub("%s+", " ")))) or ""), nil,
    { ["until"] = found["until"] }
end

function say.eta(found)
  return "it is not to start before " .. words.time(found["until"]), nil, { ["until"] = found["until"] }
end

function say.pulled(found)
  return ("queue '%s' is a pull queue: it waits for somebody to lease it"):format(queue_of(found))
end

function say.no_worker()
  return "no worker lives", "pipeline worker FILE.lua"
end

function say.not_served(found)
  return ("none of the %s that live serves queue '%s'"):format(words.count(found.workers, "worker"), queue_of(found)),
    ("pipeline worker FILE.lua --queues %s"):format(queue_of(found))
end

function say.queue_paused(found)
  return ("queue '%s' is paused"):format(queue_of(found)), "pipeline resume-queue " .. queue_of(found)
end

function say.rate_zero(found)
  return ("the rate of queue '%s' is 0"):format(queue_of(found)), ("pipeline set %s rate=5/s"):format(queue_of(found))
end

function say.concurrency(found)
  return ("%d of at most %d tasks of queue '%s' are being executed"):format(found.used, found.max_concurrent,
    queue_of(found)), ("pipeline set %s max_concurrent_requests=%d"):format(queue_of(found),
    2 * found.max_concurrent), { max_concurrent = found.max_concurrent, used = found.used }
end

function say.rate(found)
  local wait = math.max(0, (found.place or 1) - found.tokens) / found.rate
  return ("queue '%s' starts %.3g tasks a second: its turn comes in about %s"):format(queue_of(found), found.rate,
    words.span(wait)), ("pipeline set %s rate=%.3g/s"):format(queue_of(found), 2 * found.rate),
    { rate = found.rate, tokens = found.tokens, wait = wait }
end

function say.place(found)
  return ("%s before it in queue '%s'"):format(found.place > 1000 and "more than 1000 tasks are"
    or found.place == 2 and "1 task is" or found.place - 1 .. " tasks are", queue_of(found)), nil,
    { place = found.place }
end

function say.worker(found)
  return ("nothing keeps it: it is next in queue '%s', for the first worker that has room"):format(queue_of(found))
end

local function sentences(engine, found, list)
  for _, code in ipairs(found.reasons) do
    local line, command, details = say[code](found, engine)
    local reason = details or {}
    reason.code, reason.text, reason.command = code, line, command
    reason.queue = found.task and found.task.queue or nil
    list[#list + 1] = reason
  end
end

-- ---- what is final, or waits for others ------------------------------------------------------------------------

-- It ended with a part of its tree: one of which a fallback was taken, or a child of a durable function; the rest of
-- the tree goes on, or is done. `list` gets the stage where that part begins.
local function explain_part(engine, record, list)
  local store, top = current.store(engine, true), record
  while top and top.flags & core.FALLBACK_TAKEN == 0 and not top.abort_requested do
    top = top.parent and errors.read(store:stage_get(top.parent))
  end
  if not top then return false end
  local name, reason = entries.id_text(engine, top), top.abort_message
  local is_scope = top.flags & core.FALLBACK_TAKEN == 0
  list[#list + 1] = {
    code = is_scope and "aborted" or "fallback", stage = name, class = top.class_path,
    text = ("it was aborted with all of %s %s, %s%s"):format(top.class_path, name,
      is_scope and "and the durable function that has started that goes on" or "whose fallback was taken",
      reason and reason ~= "" and ": " .. text.short((reason:gsub("%s+", " "))) or ""),
  }
  return true
end

local explain -- forward

-- A stage of a tree that is aborted in itself, but not to its end: among the first of them.
local function still_aborting(engine, root)
  local info, page <close> = errors.read(current.store(engine, true):tree_page(root.id,
    { top = root.id, depth = DEPTH_ALL, limit = ABORTED_MAX }))
  while info do
    local stages = page:take()
    if not stages then return nil end
    for _, stage in ipairs(stages) do
      if stage.state == "aborting" or stage.state == "abort_held" then return stage end
    end
  end
end

local function explain_abort(engine, record, list, depth)
  local root = record.parent and errors.read(current.store(engine, true):stage_get(record.root)) or record
  local is_whole = root.state == "aborted" or root.state == "aborting" or root.state == "abort_held"
  if not is_whole and explain_part(engine, record, list) then return end
  local reason = root.abort_message or record.abort_message or ""
  local cause, failed = failures.cause(engine, failures.of_tree(engine, root.id), reason)
  local shown = { code = "aborted", command = "pipeline resume " .. entries.id_text(engine, root) }
  if cause then
    local name = entries.id_text(engine, failed)
    shown.text = ("its tree was aborted: %s %s failed%s: %s: %s"):format(failed.class_path, name,
      text.attempt(cause.attempt, failed), cause.error_class, text.short((cause.message:gsub("%s+", " "))))
    shown.stage, shown.class, shown.error_class, shown.message = name, failed.class_path, cause.error_class,
      cause.message
  else
    shown.text = reason ~= "" and "its tree was aborted: " .. reason or "its tree was aborted"
  end
  list[#list + 1] = shown
  local last = is_whole and still_aborting(engine, root)
  if not last then return end
  local name, below = entries.id_text(engine, last), {}
  explain(engine, { id = last.id }, below, depth + 1)
  shown.text = ("%s; it can be resumed when %s %s, which is still being aborted, is final"):format(shown.text,
    last.class_path, name)
  shown.command = below[1] and below[1].command
  for _, one in ipairs(below) do
    one.stage = one.stage or name
    list[#list + 1] = one
  end
end

-- Whether its parent waits for it.
local function is_unsettled(record)
  return record.state ~= "done" and record.state ~= "aborted" and record.state ~= "finalizing"
    and record.flags & core.FALLBACK_TAKEN == 0
end

-- The child that holds it up: the first that waits for nothing of its siblings.
local function live_child(engine, record)
  local info, page <close> = errors.read(current.store(engine, true):tree_page(record.id,
    { top = record.id, depth = 1, limit = CHILDREN_MAX }))
  local waiting
  if not info then return nil end
  while true do
    local stages = page:take()
    if not stages then return waiting end
    for _, child in ipairs(stages) do
      if child.parent == record.id and is_unsettled(child) then
        if child.state ~= "waiting" then return child end
        waiting = waiting or child
      end
    end
  end
end

-- Adds what holds up `other`, which `record` waits for: first in one sentence, then by itself.
local function follow(engine, other, list, code, format, depth)
  local name, below = entries.id_text(engine, other), {}
  explain(engine, { id = other.id }, below, depth + 1)
  local first = below[1]
  list[#list + 1] = {
    code = code, stage = name, class = other.class_path, cause = first and (first.cause or first.code),
    command = first and first.command,
    text = format:format(other.class_path, name) .. ": " .. (first and first.text or words.state(other, other.work)),
  }
  for _, reason in ipairs(below) do
    reason.stage = reason.stage or name
    list[#list + 1] = reason
  end
end

local function explain_open(engine, record, list, depth)
  local work = record.work
  if record.flags & core.ASYNC ~= 0 and work and work.outputs_open > 0 then
    local name = entries.id_text(engine, record)
    list[#list + 1] = {
      code = "callback", command = ("pipeline complete %s VALUE"):format(name),
      text = "it is async, and waits to be completed from outside (complete, or a callback)",
    }
  end
  local child = record.open > (work and work.outputs_open or 0) and live_child(engine, record)
  if child then follow(engine, child, list, "child", "it waits for its child %s %s", depth) end
end

local function explain_held_abort(engine, record, list)
  list[#list + 1] = {
    code = "abort_held", command = ("pipeline complete %s VALUE"):format(entries.id_text(engine, record)),
    text = "its abort was asked for, and its try_cancel() refused: it ends when it is completed",
  }
end

local function follow_slots(engine, found, list, depth)
  local slot = found.slots[1]
  if not (slot and slot.stage) or slot.state == "done" or slot.state == "aborted" then return end
  local owner = errors.read(current.store(engine, true):stage_get(slot.stage, false, true))
  if owner then follow(engine, owner, list, "slot_owner", "what it waits for, %s %s, is not done", depth) end
end

-- The work of the fire that one which is held back waits for.
local function follow_earlier(engine, found, list, depth)
  local held = list[#list]
  for _, reason in ipairs(list) do held = reason.code == "held" and reason or held end
  local below = {}
  if held.code ~= "held" or not found.earlier then return end
  if not explain(engine, { id = found.earlier }, below, depth + 1) then return end
  local name = earlier_name(engine, found.earlier)
  held.cause, held.command = below[1] and below[1].code, below[1] and below[1].command
  for _, reason in ipairs(below) do
    reason.stage = reason.stage or name
    list[#list + 1] = reason
  end
end

-- A durable function that waits in the middle of its run, or is held. Returns false if it is neither.
local function explain_run(engine, record, list)
  if not (record and record.work and record.work["until"]) then return false end
  local flow = entries.flow(engine, record)
  local mode, reason = flow and flow.mode, flow and (flow.reason or ""):gsub("%s+", " ")
  if mode == "suspended" then
    list[#list + 1] = { code = "suspended", text = "it is suspended, and " .. reason }
  elseif mode == "held" then
    list[#list + 1] = {
      code = "held_run", text = "it is held: " .. reason,
      command = "pipeline resume-run " .. entries.id_text(engine, record),
    }
  end
  return mode == "suspended" or mode == "held"
end

--- Adds the reasons for a stage or a task. Returns false if there is none.
function explain(engine, ref, list, depth)
  if depth > DEPTH_MAX then return true end
  local found = errors.read(current.store(engine, true):why_get(ref))
  if not found then return false end
  local record = found.stage
  if record and record.state == "aborted" then
    explain_abort(engine, record, list, depth)
  elseif record and record.state == "run" then
    explain_open(engine, record, list, depth)
  elseif record and record.state == "abort_held" then
    explain_held_abort(engine, record, list)
  elseif not explain_run(engine, record, list) then
    sentences(engine, found, list)
    if found.task and found.task.state == "dead" then
      list[#list + 1] = {
        code = "dead", command = ("pipeline revive %s/%s"):format(found.task.queue, found.task.name
          or engine:_id_text(found.task.id)),
        text = ("it has failed as often as it may: %s"):format(text.short(found.task.message or "?")),
      }
    end
    if record and record.state == "waiting" then follow_slots(engine, found, list, depth) end
    if found.earlier then follow_earlier(engine, found, list, depth) end
  end
  return true
end

-- ---- the method ------------------------------------------------------------------------------------------------

-- QUEUE/NAME, or QUEUE/ID of a task without a name; nil: it is no task.
local function task_ref(engine, given)
  local queue, name = given:match("^([^/]+)/(.+)$")
  if not queue then return nil end
  local id = stores.is_id(name) and engine._core:id_parse(name)
  return id and { id = id } or { queue = queue, name = name }
end

--- Why a pipeline or a task is not running, or not done: a list of { code, text (one sentence), command (of the shell,
-- that would change it; absent: none would), and details by code }, the deciding one first. Empty: it is being
-- executed, is done, or is about to be.
--
-- Codes: slots (with `slots`), not_added, schedule_paused (schedule), held (schedule, earlier: the id of the work that
-- is not over, whose reasons follow), alone, no_class, retry, eta (`until`), pulled, no_worker, not_served,
-- queue_paused, rate_zero, concurrency (max_concurrent, used), rate (rate, tokens, wait), place, worker (it is next);
-- callback, child and slot_owner (stage, class, cause: the code of what decides there, which follows), aborted (stage,
-- class, error_class, message: of what failed), suspended and held_run (of durable functions), fallback (stage, class:
-- which had it), abort_held, dead.
-- @tparam string given an address of a pipeline (see find), or QUEUE/NAME of a task. Raises PipelineStatusError if
--   there is none.
function methods.why(self, given)
  opened.check(self)
  if type(given) ~= "string" then bad_type(1, "why", "string", given) end
  local list, ref = {}, task_ref(self, given)
  if not ref then
    local _, record = address.require(self, given, "why")
    ref = { id = record.id }
  end
  if explain(self, ref, list, 1) then return list end
  errors.raise(errors.PipelineStatusError, "there is no task %s", text.short(given))
end

return methods
