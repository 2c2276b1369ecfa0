--- tasks.lua: tasks of queues as tables for people and programs, those of pipelines included.
--
-- An entry has: queue, name (absent: it was added without one), id (with which it can be named in its queue where it
-- has no name), address (QUEUE/NAME, or QUEUE/ID), kind ("run", "finalize", "abort", "callback", "push", "pull",
-- "deferred"), what (in words), state ("ready", "delayed", "executing", "dead"), eta, created (about), attempt,
-- max_attempts (of a run), priority, stage (the id of its pipeline), class, key, last_error, status (HTTP, of its last
-- answer), worker and since (executing), and of a dead one died, error_class, message, traceback.

local core = require "pipeline.core"
local task_text = require "pipeline.taskqueue.task_text"
local text = require "pipeline.support.text"

local tasks = {}

--- The states of tasks.
tasks.STATES = { ready = true, delayed = true, executing = true, dead = true }

local NEVER = 9.2e12 -- seconds: what is due then waits for something else than a time

-- What a push asks for: method and URL as they were encoded, as far as they can be read.
local function request_of(record)
  if not record.request then return {} end
  local ok, request = pcall(core.decode, record.request)
  return ok and type(request) == "table" and request or {}
end

local function words_of(record, stage)
  if stage then
    local named = record.key or stage
    return ("%s %s %s"):format(record.kind, record.class_path or "pipeline", text.short(named))
  end
  local request = request_of(record)
  local ok, said = pcall(task_text.of, {
    _kind = record.kind, payload = record.payload, tag = record.tag, method = request.method or "POST",
    url = request.url or "", params = {},
  })
  return ok and said or record.kind
end

local function last_error(record)
  if record.message then
    return record.error_class and ("%s: %s"):format(record.error_class, record.message) or record.message
  end
  if record.error and record.error ~= "" then return record.error end
  return record.status and ("HTTP status %d"):format(record.status) or nil
end

--- The entry of a task as the store gives it.
function tasks.entry(engine, record)
  local id = engine:_id_text(record.id)
  local stage = record.stage and (record.key or engine:_id_text(record.stage)) or nil
  local queue = record.queue or "default"
  return {
    queue = queue, name = record.name, id = id, address = ("%s/%s"):format(queue, record.name or id),
    kind = record.kind, what = words_of(record, stage), state = record.state,
    eta = record.eta < NEVER and record.eta or nil, created = engine._core:id_time(record.id),
    attempt = record.attempt, max_attempts = record.attempts,
    priority = record.priority, stage = stage, class = record.class_path, key = record.key,
    last_error = last_error(record), status = record.status, worker = record.worker, since = record.since,
    died = record.died, error_class = record.error_class, message = record.message, traceback = record.traceback,
  }
end

return tasks
