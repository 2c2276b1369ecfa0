--- telemetry/tracing.lua: spans of what an engine executes.
--
-- A pipeline is a trace: its id is that of its root, as users see it. Each stage is a span, of its whole life, below
-- that of its parent; each attempt is a span below that of its stage. The ids of spans are made from those of stages
-- and claims with a number that the secret of the store gives. So nothing of it has to be stored, all processes on a
-- file agree, and whether a pipeline is sampled is decided by its id alone: before anything is made for it.
--
-- What traced code starts or adds belongs to the trace of that code (a request with `traceparent`, a run, a task), and
-- is sampled if that is. The context is kept with it: with the root, for all of its tree, or in the request of the
-- task. The span of the root is below that of the code that has started it, though it may end long after that.

local otlp = require "pipeline.telemetry.otlp"
local core_module = require "pipeline.core"
local events = require "pipeline.telemetry.events"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local trace = require "pipeline.telemetry.trace"
local bad_option = require("pipeline.support.place").bad_option

local tracing = {}

local ERROR = 40
local TEXT_MAX = 4000 -- bytes of a message or a traceback: thousands of spans may be kept

local Tracing = { __name = "pipeline.Tracing" }
Tracing.__index = Tracing

-- ---- ids -------------------------------------------------------------------------------------------------------

-- Another number for each number, and one that looks like chance.
local function mixed(number)
  number = (number ~ number >> 30) * 0xbf58476d1ce4e5b9
  number = (number ~ number >> 27) * 0x94d049bb133111eb
  return number ~ number >> 31
end

local function span_text(number)
  return ("%016x"):format(number ~= 0 and number or 1)
end

-- For a span that nobody has to find again.
local function next_number(self)
  self.number = self.number + 1
  return mixed(self.number)
end

local function is_sampled(self, trace_id)
  return tonumber(trace_id:sub(-8), 16) < self.sample * 4294967296.0
end

-- Made with what the secret of the store gives: the same in all processes.
local function stage_span(self, id)
  return span_text(mixed(id ~ self.key))
end

local function attempt_span(self, task, claim)
  return span_text(mixed(mixed(task ~ ~self.key) + claim))
end

-- The context that was kept with the root of a stage (`request` is its text), or with a task, in its request.
local function kept(stage, request)
  if not request then return nil end
  if stage then return trace.parse(request) end
  local value = core_module.decode(request)
  local headers = type(value) == "table" and value.headers
  return type(headers) == "table" and trace.parse(headers.traceparent) or nil
end

-- The context of an attempt; the span above it; and the context that was kept with its task.
local function context_of(self, task, claim, stage, root, request)
  local span, of = attempt_span(self, task, claim), kept(stage, request)
  if of then
    return { trace = of.trace, span = span, sampled = of.sampled }, stage and stage_span(self, stage) or of.span,
      not stage and of or nil
  end
  local id = self.core:id_text(stage and (root or stage) or task)
  return { trace = id, span = span, sampled = is_sampled(self, id) }, stage and stage_span(self, stage) or nil
end

-- That of the task which the running coroutine executes, if it is one of this engine.
local function context_of_running(self)
  local task, claim, stage, root, request = self.core:claim_of_running()
  return task and claim and context_of(self, task, claim, stage, root, request) or nil
end

-- ---- spans -----------------------------------------------------------------------------------------------------

-- The beginning of a text, without a half of its last letter.
local function cut(value)
  if not value or #value <= TEXT_MAX then return value end
  return (value:sub(1, TEXT_MAX):gsub("[\xC0-\xFF][\x80-\xBF]*$", ""))
end

local function exception(time, failure)
  return { time = time, name = "exception", attributes = {
    ["exception.type"] = failure.error_class, ["exception.message"] = cut(failure.message),
    ["exception.stacktrace"] = failure.traceback ~= "" and cut(failure.traceback) or nil,
  } }
end

-- An attempt has ended that is more than one of its own trace that has ended well: those are spans already.
local function attempt_ended(self, time, task, claim, stage, root, kind, attempt, _, queue, _, class, _, took, late,
  sampled, request, failure)
  if not took or not (sampled or request and not stage) then return end
  local context, parent, of = context_of(self, task, claim, stage, root, request)
  if not context.sampled then return end
  self.exporter:add {
    trace = context.trace, span = context.span, parent = parent,
    links = of and { { trace = of.trace, span = of.span, kind = "enqueued" } } or nil,
    name = ("%s %s"):format(kind, class or queue or "default"), kind = kind == "push" and otlp.CLIENT or otlp.INTERNAL,
    from = time - took, to = time, failed = failure and (cut(failure.message) or "") or nil,
    events = failure and { exception(time, failure) } or nil,
    attributes = {
      ["pipeline.kind"] = kind, ["pipeline.class"] = class, ["pipeline.queue"] = queue,
      ["pipeline.id"] = stage and self.core:id_text(stage), ["pipeline.attempt"] = attempt,
      ["pipeline.late_seconds"] = late, ["pipeline.will_retry"] = failure and failure.will_retry,
      ["http.response.status_code"] = failure and failure.status,
    },
  }
end

local function add_stage(self, raw)
  local record = self.core:stage_get(raw.task)
  if not record then return end -- it is deleted already
  local of, id = kept(raw.task, record.trace), self.core:id_text(record.root)
  if of then id = of.trace end
  if of and not of.sampled or not of and not is_sampled(self, id) then return end
  local parent = record.parent and stage_span(self, record.parent)
  local is_aborted = raw.state == "aborted"
  self.exporter:add {
    trace = id, span = stage_span(self, raw.task), parent = parent or of and of.span or nil,
    name = record.class_path, kind = otlp.INTERNAL, from = record.created or raw.time,
    to = record.finalized or raw.time, failed = is_aborted and (cut(record.abort_message) or "aborted") or nil,
    links = parent and { { trace = id, span = parent, kind = "parent" } } or nil,
    attributes = {
      ["pipeline.id"] = self.core:id_text(raw.task), ["pipeline.class"] = record.class_path,
      ["pipeline.queue"] = record.queue or "default", ["pipeline.state"] = raw.state, ["pipeline.key"] = record.key,
    },
  }
end

local function stage_is_final(self, raw)
  self.core:begin(function()
    local ok, problem = pcall(add_stage, self, raw)
    if not ok and not self.engine._closed then self.engine:_log(ERROR, "tracing: " .. errors.text(problem)) end
  end)
end

local function spans_made(self, count)
  self.exporter:made(count)
end

--- The running code has started the pipeline `stage`: says when, in the trace of both, if there is one.
function Tracing:start(stage)
  local context, now = trace.current(), self.core:now()
  if not context or not context.sampled then return end
  self.exporter:add {
    trace = context.trace, span = span_text(next_number(self)), parent = context.span,
    name = "start " .. tostring(stage.class_path), kind = otlp.PRODUCER, from = now, to = now,
    links = { { trace = context.trace, span = stage_span(self, stage.id), kind = "started" } },
    attributes = { ["pipeline.id"] = self.core:id_text(stage.id), ["pipeline.class"] = stage.class_path },
  }
end

--- A step of a durable function begins in the running code: its span, which is given to `step_ended`; nil: it is not
-- traced. What the step does is to be done within `span.context`.
function Tracing:step_begins()
  local context = trace.current()
  if not context or not context.sampled then return nil end
  return {
    from = self.core:now(), parent = context.span,
    context = { trace = context.trace, span = span_text(next_number(self)), sampled = true },
  }
end

--- An attempt of the step `name`, for which there is a span, has ended; `failure`: nil, or error_class, message,
-- traceback.
function Tracing:step_ended(span, name, attempt, failure)
  local now = self.core:now()
  if not now then return end -- the engine is closed
  self.exporter:add {
    trace = span.context.trace, span = span.context.span, parent = span.parent, name = "step " .. name,
    kind = otlp.INTERNAL, from = span.from, to = math.max(now, span.from),
    failed = failure and (cut(failure.message) or "") or nil, events = failure and { exception(now, failure) } or nil,
    attributes = { ["pipeline.step"] = name, ["pipeline.attempt"] = attempt },
  }
end

--- Calls a handler for a request: as a span, if the request says that it belongs to a trace.
function Tracing:serve(request, fn, ...)
  local of = trace.parse(request.headers.traceparent)
  if not of then return trace.within(nil, fn, ...) end
  local context = { trace = of.trace, span = span_text(next_number(self)), sampled = of.sampled }
  local from = self.core:now()
  local function ended(...)
    local _, answer = ...
    local status = type(answer) == "table" and math.type(answer.status) == "integer" and answer.status or 500
    if of.sampled then
      self.exporter:add {
        trace = of.trace, span = context.span, parent = of.span, kind = otlp.SERVER, from = from,
        to = self.core:now() or from, name = ("%s %s"):format(request.method, request.path or request.raw_path or ""),
        failed = status >= 500 and ("answered %d"):format(status) or nil,
        attributes = { ["http.request.method"] = request.method, ["http.response.status_code"] = status },
      }
    end
    return ...
  end
  return ended(trace.within(context, fn, ...))
end

--- The id of the trace that the running code belongs to, for the log; or nil.
function Tracing:current_id()
  local context = trace.current()
  return context and context.trace
end

-- ---- options ---------------------------------------------------------------------------------------------------

local kinds = { endpoint = "string", service = "string", sample = "number" }

--- Reads the option `tracing` of pipeline.open: endpoint (of a collector that takes OTLP over HTTP, such as
-- "http://127.0.0.1:4318"; spans go to /v1/traces there), service (the name of the program; default that of the store),
-- sample (which part of the pipelines is traced, 0 to 1; default 1).
function tracing.read(given)
  given = options.check(given, kinds, 2, "open", "option 'tracing'")
  if not given.endpoint or not given.endpoint:find("^https?://[^/%s]") then
    bad_option(2, "open", "tracing", "endpoint: a URL such as \"http://127.0.0.1:4318\" expected")
  end
  local sample = given.sample or 1
  if not (sample >= 0 and sample <= 1) then
    bad_option(2, "open", "tracing", "sample: a number from 0 to 1 expected")
  end
  local url = given.endpoint:gsub("/+$", "")
  if not url:find("/v1/traces$") then url = url .. "/v1/traces" end
  return { url = url, service = given.service, sample = sample }
end

local function byte_of(digits) return string.char(tonumber(digits, 16)) end

--- Begins for an engine that was opened with these settings.
function tracing.set_up(engine, given)
  local core = engine._core
  local self = setmetatable({
    engine = engine, core = core, sample = given.sample,
    key = string.unpack("<i8", (core:sign("spans"):sub(1, 16):gsub("%x%x", byte_of))),
    number = string.unpack("<i8", core:random(8)),
    exporter = otlp.exporter(engine, given.url, {
      ["service.name"] = given.service or engine:_app_name(), ["service.instance.id"] = tostring(engine._worker_number),
      ["telemetry.sdk.name"] = "pipeline", ["telemetry.sdk.language"] = "lua",
    }),
  }, Tracing)
  trace.begin(self, context_of_running)
  assert(core:spans_begin(self.key, otlp.BATCH))
  events.of(engine):look {
    ended = attempt_ended, final = stage_is_final, spans = spans_made, of = self, sample = given.sample,
  }
  return self
end

--- The engine closes.
function Tracing:closing()
  trace.done(self)
  self.exporter:close()
end

return tracing
