--- push.lua: executes a push task: a request to its URL.
--
-- A task without a target whose path has a route in this process is served in this process, through the same handler
-- and with the same headers; any other becomes a signed HTTP request to its target. An answer of 200 to 299 is success;
-- everything else is a failure, and the retry parameters decide (Q81 to Q90), unless the answer has the header
-- X-Pipeline-Give-Up with a reason: then the task goes to the dead-letter list at once (deferred.handler says so of a
-- call whose function cannot be found).
--
-- Which target: that of the queue, else that of the task, else "default"; the name leads to a base URL by the `targets`
-- option of pipeline.open ("v2.billing" where that name does, else "billing"), an unknown name to the default one (its
-- Host header tells who is meant).

local attempts = require "pipeline.engine.attempt"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local queue_task = require "pipeline.taskqueue.task"
local report = require "pipeline.support.report"
local trace = require "pipeline.telemetry.trace"
local text = require "pipeline.support.text"

local push = {}

local DISPATCH_SECONDS = queue_task.DISPATCH_SECONDS
local ANSWER_BYTES_MAX = 64 << 20

-- Headers that only the engine sets (Q78).
local function is_reserved(name)
  return name == "content-length" or name == "transfer-encoding" or name == "connection"
    or name:find("^x%-appengine%-") ~= nil or name:find("^x%-pipeline%-") ~= nil
end

local function headers_of(claim, request, store)
  local headers = {}
  for name, value in pairs(request.headers or {}) do
    name = name:lower()
    if not is_reserved(name) then headers[name] = value end
  end
  if claim.payload and claim.payload ~= "" and not headers["content-type"] then
    headers["content-type"] = "application/octet-stream"
  end
  if trace.on then headers.traceparent = trace.header() or headers.traceparent end
  headers["x-appengine-queuename"] = claim.queue
  headers["x-appengine-taskname"] = claim.name or queue_task.auto_name(store, claim.id)
  headers["x-appengine-taskretrycount"] = tostring(claim.tries)
  headers["x-appengine-taskexecutioncount"] = tostring(claim.executions)
  headers["x-appengine-tasketa"] = ("%.6f"):format(claim.eta)
  local schedule = request.schedule
  if type(schedule) == "table" then
    headers["x-pipeline-schedule"] = text.quote(tostring(schedule.name))
    headers["x-pipeline-nominal-time"] = tostring(schedule.nominal)
  end
  if claim.tries > 0 and claim.status then headers["x-appengine-taskpreviousresponse"] = tostring(claim.status) end
  return headers
end

-- ---- in this process -------------------------------------------------------------------------------------------

-- A list repeats its header; a handler sees one value.
local function joined(headers)
  local out = {}
  for name, value in pairs(headers) do out[name] = type(value) == "table" and table.concat(value, ", ") or value end
  return out
end

local function serve(engine, claim, request, headers)
  headers = joined(headers)
  headers["content-length"] = tostring(#(claim.payload or ""))
  return engine:_get_web():handle_task {
    method = request.method, path = request.url, headers = headers, body = claim.payload or "",
    remote_address = "0.1.0.2",
  }
end

-- ---- over HTTP -------------------------------------------------------------------------------------------------

local spelling = {}
for word in ("QueueName TaskName TaskRetryCount TaskExecutionCount TaskETA TaskPreviousResponse"):gmatch("%S+") do
  spelling["x-appengine-" .. word:lower()] = "X-AppEngine-" .. word
end

-- What goes over the wire, in the spelling people are used to.
local function wire_names(headers)
  local out = {}
  for name, value in pairs(headers) do
    out[spelling[name] or name:gsub("%f[%w]%l", string.upper)] = value
  end
  return out
end

local function send(engine, claim, request, headers, target)
  local store = engine._core
  local base = engine:_base_of(target)
  if not base then return nil, "no route for it in this process, and no target is configured" end
  local path, query = request.url:match("^([^?]*)%??(.*)$")
  local prefix = base:match("^%a+://[^/]+(.-)/*$") or ""
  headers["x-pipeline-signature"] = engine:_get_web():sign(request.method, prefix .. path, query, claim.payload or "",
    headers, claim)
  local answer, code, message = store:fetch {
    url = base:gsub("/+$", "") .. request.url, method = request.method, headers = wire_names(headers),
    body = claim.payload, deadline = claim.deadline or DISPATCH_SECONDS, max_size = ANSWER_BYTES_MAX,
  }
  if not answer then return nil, message or code end
  return answer
end

-- ---- one task --------------------------------------------------------------------------------------------------

local function deliver(engine, claim)
  local request, code, message = core.decode(claim.request or "")
  if type(request) ~= "table" then return nil, message or code or "the request cannot be read" end
  local headers = headers_of(claim, request, engine._core)
  local target = claim.target or request.target
  if not target and engine:_get_web():has_route(request.url) then
    return serve(engine, claim, request, headers)
  end
  return send(engine, claim, request, headers, target)
end

local function failed(engine, claim, status, class_name, message, give_up)
  attempts.fail_task(engine, claim, "a push task", errors.failure(class_name, message), {
    status = status, give_up = give_up,
  })
  report.task(engine, "push", claim, message, status)
end

local Try = { __name = "pipeline.Try", __close = attempts.leave }

local function no_answer(try)
  failed(try.engine, try.claim, nil, "TimeoutError", ("no answer within %g s"):format(try.seconds))
end

--- Executes a claimed push task; called in a coroutine of the engine.
function push.execute(engine, claim)
  local seconds = claim.deadline or DISPATCH_SECONDS
  local try <close> = setmetatable({ engine = engine, claim = claim, seconds = seconds, over = false }, Try)
  attempts.limit(try, engine, seconds, no_answer)
  local ok, answer, problem = xpcall(deliver, errors.handler, engine, claim)
  local ended = attempts.finish(try, engine)
  if ended == "late" then return no_answer(try) end
  if ended then return end
  if not ok then
    local name, message = errors.describe(answer)
    return failed(engine, claim, nil, name, message)
  end
  if not answer then return failed(engine, claim, nil, "TransientError", text.short(problem)) end
  local why = answer.status > 299 and answer.headers["x-pipeline-give-up"]
  if why then
    return failed(engine, claim, answer.status, "PermanentTaskFailure", text.short(joined({ why = why }).why), true)
  end
  if answer.status < 200 or answer.status > 299 then
    return failed(engine, claim, answer.status, "Error", ("answered %d"):format(answer.status))
  end
  engine._core:task_done(claim)
end

return push
