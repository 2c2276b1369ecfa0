--- acts.lua: the routes of the API that change something. Each is one call of the library; the pages, the command and
-- programs have the same ones.

local errors = require "pipeline.support.errors"
local json = require "pipeline.http.json"
local run = require "pipeline.pages.reads.run"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"

local acts = {}

local BY = "an administrator, on the pages"

local function tell(result)
  for _, name in ipairs { "refused", "ids" } do
    if type(result[name]) == "table" then json.array(result[name]) end
  end
  return result
end

local function number_times(filters, now)
  for _, name in ipairs { "since", "until" } do
    local given = filters[name]
    local time = tonumber(given)
    if given ~= nil and not time then errors.raise(errors.RequestError, "filters: %s: a number expected", name) end
    filters[name] = time and (time < 0 and now + time or time)
  end
  return filters
end

local function act(engine, given)
  if (given.ids == nil) == (given.filters == nil) then
    errors.raise(errors.RequestError, "either ids or filters expected")
  end
  return tell(engine:act {
    op = given.op, ids = given.ids, filters = given.filters and number_times(given.filters, engine:now()),
    reason = given.reason or given.op == "abort" and "aborted by " .. BY or nil, dry_run = given.dry_run,
    list = given.list,
  })
end

local function complete(engine, given)
  return { done = engine:complete(given.id, given.value) ~= false }
end

local function call_back(engine, given)
  local status, kind, body = engine:callback(given.id, given.params or {})
  if type(status) == "table" then status, kind, body = status.status, nil, status.body end
  return { status = status, content_type = type(kind) == "string" and kind or nil, body = body }
end

local function send_signal(engine, given)
  local sent, why = engine:signal(given.id, given.signal, given.payload, { key = given.key })
  if not sent then
    local class = why == "final" and errors.UnexpectedPipelineError or errors.PipelineStatusError
    errors.raise(class, "%s is %s", given.id, why == "final" and "final, and takes no signal" or "not there")
  end
  return { done = true }
end

local function resume_run(engine, given)
  return { done = engine:resume(given.id, { retry = given.retry }) }
end

local function hold_run(engine, given)
  return { done = engine:hold(given.id, given.reason or "by " .. BY) }
end

local UPDATE_SECONDS = 10

local function send_update(engine, given)
  return run.answer(("update %q"):format(given.update), engine.update, engine, given.id, given.update, given.payload, {
    key = given.key, timeout = given.timeout or UPDATE_SECONDS,
  })
end

local function fork_run(engine, given)
  local stage = engine:fork(given.id, {
    from = math.tointeger(tonumber(given.from)) or given.from, idempotence_key = given.key, mail = given.mail,
    children = given.rerun_children and "rerun" or nil,
  })
  return { id = stage.id, done = true }
end

-- By an address as everywhere, where the library wants an id.
local function found(fn)
  return function(engine, given)
    local id = engine:find(given.id)
    if not id then errors.raise(errors.PipelineStatusError, "there is no pipeline %s", errors.text(given.id)) end
    given.id = id
    return fn(engine, given)
  end
end

-- Only queues that are there: a queue that is asked for by a name nobody knows would be made.
local function queue_of(engine, name)
  for _, queue in ipairs(engine:queues()) do
    if queue.name == name then return taskqueue.Queue(name) end
  end
  errors.raise(errors.PipelineStatusError, "there is no queue \"%s\"", name)
end

local function on_queue(method)
  return function(engine, given)
    local queue = queue_of(engine, given.queue)
    queue[method](queue)
    return { done = true }
  end
end

local function act_tasks(engine, given)
  return tell(engine:act_tasks {
    op = given.op, queue = given.queue, names = given.names, filters = given.filters, dry_run = given.dry_run,
  })
end

local function on_schedule(fn)
  return function(_, given)
    local schedule = schedules.get(given.name)
    if not schedule then errors.raise(errors.PipelineStatusError, "there is no schedule \"%s\"", given.name) end
    fn(schedule, given)
    return { done = true }
  end
end

local QUEUE = { "queue", "text", "its name", required = true }
local SCHEDULE = { "name", "text", "its name", required = true }
local ID = { "id", "text", "an id, an unambiguous beginning of at least 6 characters, or key:KEY", required = true }
local DRY_RUN = { "dry_run", "flag", "only count" }

acts.ROUTES = {
  { method = "POST", name = "act", summary = "Acts on pipelines: by their ids, or on all that filters find", params = {
    { "op", "text", "retry, resume, abort or cleanup", required = true }, { "ids", "list" },
    { "filters", "object", "as the query of pipelines" }, { "reason", "text" }, DRY_RUN,
    { "list", "flag", "tell the ids of those that are, or would be, acted on: 10,000 at most" } }, handler = act },
  { method = "POST", name = "complete", summary = "Completes an async stage with a value", handler = complete,
    params = { ID, { "value", "any" } } },
  { method = "POST", name = "callback", summary = "Calls a stage back", handler = call_back,
    params = { ID, { "params", "object" } } },
  { method = "POST", name = "signal", summary = "Sends a durable function a signal", handler = found(send_signal),
    params = { ID, { "signal", "text", "the name of the signal", required = true }, { "payload", "any" },
      { "key", "text", "a signal with a key that it has had already is not delivered again" } } },
  { method = "POST", name = "update", summary = "Has a handler of a durable function do something, and waits for it",
    handler = found(send_update), params = { ID, { "update", "text", "the name of the update", required = true },
      { "payload", "any" }, { "key", "text", "one with a key that it has had already is answered as then" },
      { "timeout", "number", "seconds that the answer may take (10); the update goes on all the same" } } },
  { method = "POST", name = "hold", summary = "Holds a durable function: nothing more of it begins",
    params = { ID, { "reason", "text" } }, handler = found(hold_run) },
  { method = "POST", name = "resume-run", summary = "Lets a durable function that is held go on",
    handler = found(resume_run),
    params = { ID, { "retry", "flag", "the step whose failure has left run is tried again, with all its attempts" } } },
  { method = "POST", name = "fork", summary = "Starts a new run with what one had done before an entry of its journal",
    handler = found(fork_run), params = { ID,
      { "from", "text", "the entry from which on all is done anew: its name, or its position", required = true },
      { "key", "text", "idempotence key of the new run" },
      { "rerun_children", "flag", "a child that is not final, and all behind it, is done anew" },
      { "mail", "flag", "with a copy of the signals that were not taken" } } },
  { method = "POST", name = "queues/pause", summary = "Pauses a queue", params = { QUEUE },
    handler = on_queue "pause" },
  { method = "POST", name = "queues/resume", summary = "Lets a paused queue go on", params = { QUEUE },
    handler = on_queue "resume" },
  { method = "POST", name = "queues/purge", params = { QUEUE }, handler = on_queue "purge",
    summary = "Deletes the tasks of a queue, but for those of pipelines" },
  { method = "POST", name = "tasks/act", summary = "Revives or forgets dead tasks", handler = act_tasks, params = {
    { "op", "text", "revive or forget", required = true }, QUEUE, { "names", "list" }, { "filters", "object" },
    DRY_RUN } },
  { method = "POST", name = "schedules/trigger", summary = "Fires a schedule now", params = { SCHEDULE },
    handler = on_schedule(function(schedule) schedule:trigger() end) },
  { method = "POST", name = "schedules/pause", summary = "Pauses a schedule", params = { SCHEDULE, { "note", "text" } },
    handler = on_schedule(function(schedule, given) schedule:pause(given.note or "by " .. BY) end) },
  { method = "POST", name = "schedules/resume", summary = "Lets a paused schedule go on", params = { SCHEDULE },
    handler = on_schedule(function(schedule) schedule:resume() end) },
}

for _, route in ipairs(acts.ROUTES) do route.acts = true end

return acts
