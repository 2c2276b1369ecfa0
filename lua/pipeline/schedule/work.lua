--- work.lua: what a schedule starts: a pipeline, a task or a deferred call, as it is stored, and made of that for each
-- fire.
--
-- Stored: { kind = "stage", stage = fields of the core but its ids, outputs = names }, or { kind = "task", task =
-- fields of the core but its id, request = of a push: method, url, headers, target }.

local core = require "pipeline.core"
local current = require "pipeline.current"
local deferred = require "pipeline.deferred"
local errors = require "pipeline.support.errors"
local instance = require "pipeline.workflow.instance"
local queue_errors = require "pipeline.taskqueue.errors"
local queue_task = require "pipeline.taskqueue.task"
local times = require "pipeline.schedule.times"
local trace = require "pipeline.telemetry.trace"

local work = {}
local ScheduleError = times.ScheduleError

-- ---- to what is stored -----------------------------------------------------------------------------------------

local function of_pipeline(engine, given, queue)
  if not instance.is(given) then
    errors.raise(ScheduleError, "start: a pipeline expected, such as Report(\"eu\"), got a %s", type(given))
  end
  local stage = instance.root_stage(given, engine, { queue_name = queue })
  local outputs
  if stage.outputs then
    outputs = {}
    for i, output in ipairs(stage.outputs) do outputs[i] = output.name end
  end
  stage.id, stage.outputs = nil, nil
  stage.flags = stage.flags | core.SCHEDULED
  return { kind = "stage", stage = stage, outputs = outputs }
end

local function check_mode(engine, queue, kind)
  for _, known in ipairs(errors.check(current.store(engine, true):queue_get(nil))) do
    if (known.name or "default") == queue then
      if (known.mode == "pull") == (kind == "pull") then return end
      errors.raise(queue_errors.classes.InvalidQueueModeError, "the queue '%s' takes %s tasks", queue, known.mode)
    end
  end
end

local function of_task(engine, given, queue)
  if not queue_task.is(given) or rawget(given, "_stage") then
    errors.raise(ScheduleError, "task: a taskqueue.Task expected, got a %s", type(given))
  end
  if rawget(given, "name") then
    errors.raise(ScheduleError, "task: it has a name, and each name is used once: leave the name out")
  end
  local form, url = queue_task.form(given, engine._core, queue)
  local request = form.request and errors.read(core.decode(form.request))
  form.id, form.eta, form.request = nil, nil, nil
  check_mode(engine, queue, form.kind)
  return { kind = "task", task = form, request = request, url = url }
end

local function of_call(engine, given, queue)
  if type(given) ~= "table" or getmetatable(given) or given[1] == nil then
    errors.raise(ScheduleError, "call: a list expected, { function, arguments … }")
  end
  local n = 0
  for key in pairs(given) do n = math.max(n, math.type(key) == "integer" and key or 0) end
  check_mode(engine, queue, "deferred")
  return { kind = "task", task = {
    kind = "deferred", queue = queue, payload = deferred.serialize(table.unpack(given, 1, n)),
  } }
end

local function of_spec(engine, spec)
  local kinds = (spec.start ~= nil and 1 or 0) + (spec.task ~= nil and 1 or 0) + (spec.call ~= nil and 1 or 0)
  if kinds > 1 then errors.raise(ScheduleError, "start, task and call exclude each other") end
  if kinds == 0 then return nil end
  local queue = spec.queue or "default"
  if spec.start ~= nil then return of_pipeline(engine, spec.start, spec.queue) end
  if spec.task ~= nil then return of_task(engine, spec.task, queue) end
  return of_call(engine, spec.call, queue)
end

--- What a spec says is to be done, as it is stored; nil: it says nothing of that. The fires of a schedule do not belong
-- to the trace of the code that declares it.
function work.of_spec(engine, spec)
  return trace.within(nil, of_spec, engine, spec)
end

-- ---- of what is stored -----------------------------------------------------------------------------------------

local function encode(value, what)
  local bytes, code, message = core.encode_value(value, what)
  if not bytes then errors.raise_core(code, message, what) end
  return bytes
end

--- A row or a form again, to be changed.
function work.copy(of)
  local copy = {}
  for key, value in pairs(of) do copy[key] = value end
  return copy
end

-- Of a fire that the running code has asked for.
local function traceparent(engine, fire)
  local reason = fire.told.reason
  local is_asked_for = reason == "trigger" or reason == "backfill"
  return engine._tracing and is_asked_for and trace.header() or nil
end

local function make_stage(engine, stored, fire, args)
  local stage = work.copy(stored.stage)
  stage.id = engine._core:new_id()
  stage.key = fire.key
  stage.trace = traceparent(engine, fire)
  if args then
    local bytes, code, message = core.encode(args, args.n or #args)
    if not bytes then errors.raise_core(code, message, "trigger") end
    stage.args = bytes
  end
  if stored.outputs then
    stage.outputs = {}
    for i, name in ipairs(stored.outputs) do
      stage.outputs[i] = { name = name, slot = i == 1 and stage.id or engine._core:new_id() }
    end
  end
  return stage
end

local function make_task(engine, stored, fire, args)
  local task = work.copy(stored.task)
  task.id = engine._core:new_id()
  if task.kind == "deferred" then
    task.payload = deferred._of_schedule(task.payload, fire.told, args)
  elseif args then
    errors.raise(ScheduleError, "trigger: args are for pipelines and calls, not for tasks")
  end
  if stored.request then
    local request = work.copy(stored.request)
    if traceparent(engine, fire) then request.headers = trace.headers(request.headers) end
    request.schedule = { name = fire.told.name, nominal = ("%.15g"):format(fire.told.nominal_time) }
    task.request = encode(request, "request")
  end
  return task
end

--- The work of one fire. `fire`: key (of a root), told (what it is told of the fire).
-- @return a root, or nil and a task, as the core takes them.
function work.make(engine, stored, fire, args)
  if stored.kind == "stage" then return make_stage(engine, stored, fire, args) end
  return nil, make_task(engine, stored, fire, args)
end

return work
