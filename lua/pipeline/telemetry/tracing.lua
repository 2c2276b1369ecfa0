--- telemetry/tracing.lua: spans of what an engine executes.
--
-- A pipeline is a trace: its id is that of its root, as users see it. Each stage is a span, of its whole life, below
-- that of its parent; each attempt is a span below that of its stage. The ids of spans are made from those of stages
-- and claims with the secret of the store. So nothing of it has to be stored, all processes on a file agree, and
-- whether a pipeline is sampled is decided by its id alone.
--
-- A task that is added by traced code is executed in its trace: the context is kept with it, in its request. What
-- starts a pipeline (a request with `traceparent`, a task) and the pipeline are two traces; the span of the start has a
-- link to that of the root: one may end long before the other.

local otlp = require "pipeline.telemetry.otlp"
local core_module = require "pipeline.core"
local events = require "pipeline.telemetry.events"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local trace = require "pipeline.telemetry.trace"
local misuse = require("pipeline.support.place").misuse

local tracing = {}

local ERROR = 40
local TEXT_MAX = 4000 -- bytes of a message or a traceback: thousands of spans may be kept
local KEPT_MAX = 10000

local Tracing = { __name = "pipeline.Tracing" }
Tracing.__index = Tracing

-- ---- ids -------------------------------------------------------------------------------------------------------

-- Made with the secret: the same in all processes, and nobody can guess it.
local function span_id(self, ...)
  local id = self.core:sign(table.concat({ "span", ... }, "\0")):sub(1, 16)
  return id:find("^0+$") and "0000000000000001" or id
end

local function is_sampled(self, trace_id)
  return tonumber(trace_id:sub(-8), 16) < self.sample * 4294967296.0
end

local function stage_span(self, id)
  return span_id(self, "stage", ("%d"):format(id))
end

-- The context kept with a task, if there is one.
local function kept(request)
  if not request then return nil end
  local value = core_module.decode(request)
  local headers = type(value) == "table" and value.headers
  return type(headers) == "table" and trace.parse(headers.traceparent) or nil
end

-- The context of the attempt that a claim, or the event about its end, is about; and the span above it.
local function context_of(self, raw, of)
  local span = span_id(self, "attempt", ("%d"):format(raw.task), ("%d"):format(raw.claim or 0))
  if raw.stage then
    local id = self.core:id_text(raw.root or raw.stage)
    return { trace = id, span = span, sampled = is_sampled(self, id) }, stage_span(self, raw.stage)
  end
  if of then return { trace = of.trace, span = span, sampled = of.sampled }, of.span end
  local id = self.core:id_text(raw.task)
  return { trace = id, span = span, sampled = is_sampled(self, id) }, nil
end

-- ---- spans -----------------------------------------------------------------------------------------------------

-- The beginning of a text, without a half of its last letter.
local function cut(value)
  if not value or #value <= TEXT_MAX then return value end
  return (value:sub(1, TEXT_MAX):gsub("[\xC0-\xFF][\x80-\xBF]*$", ""))
end

local function exception(raw)
  return { time = raw.time, name = "exception", attributes = {
    ["exception.type"] = raw.error_class, ["exception.message"] = cut(raw.message),
    ["exception.stacktrace"] = raw.traceback ~= "" and cut(raw.traceback) or nil,
  } }
end

local function add_attempt(self, raw)
  local entry = self.contexts[raw.task]
  if entry and entry.claim ~= raw.claim then entry = nil end
  if entry then self.contexts[raw.task], self.kept = nil, self.kept - 1 end
  local context, parent
  if entry then context, parent = entry.context, entry.parent else context, parent = context_of(self, raw) end
  if not context.sampled or not raw.took then return end
  local links = entry and entry.of and { { trace = entry.of.trace, span = entry.of.span, kind = "enqueued" } } or nil
  self.exporter:add {
    trace = context.trace, span = context.span, parent = parent, links = links,
    name = ("%s %s"):format(raw.kind, raw.class or raw.queue or "default"),
    kind = raw.kind == "push" and otlp.CLIENT or otlp.INTERNAL,
    from = raw.time - raw.took, to = raw.time, failed = raw.failed and (cut(raw.message) or "") or nil,
    events = raw.failed and { exception(raw) } or nil,
    attributes = {
      ["pipeline.kind"] = raw.kind, ["pipeline.class"] = raw.class, ["pipeline.queue"] = raw.queue,
      ["pipeline.id"] = raw.stage and self.core:id_text(raw.stage), ["pipeline.attempt"] = raw.attempt,
      ["pipeline.late_seconds"] = raw.late, ["pipeline.will_retry"] = raw.will_retry,
      ["http.response.status_code"] = raw.status,
    },
  }
end

local function add_stage(self, raw)
  local record = self.core:stage_get(raw.task)
  if not record then return end -- it is deleted already
  local id = self.core:id_text(record.root)
  if not is_sampled(self, id) then return end
  local is_aborted = raw.state == "aborted"
  self.exporter:add {
    trace = id, span = stage_span(self, raw.task), parent = record.parent and stage_span(self, record.parent) or nil,
    name = record.class_path, kind = otlp.INTERNAL, from = record.created or raw.time,
    to = record.finalized or raw.time, failed = is_aborted and (cut(record.abort_message) or "aborted") or nil,
    links = record.parent and { { trace = id, span = stage_span(self, record.parent), kind = "parent" } } or nil,
    attributes = {
      ["pipeline.id"] = self.core:id_text(raw.task), ["pipeline.class"] = record.class_path,
      ["pipeline.queue"] = record.queue or "default", ["pipeline.state"] = raw.state, ["pipeline.key"] = record.key,
    },
  }
end

local tellers = {}

function tellers.ended(self, raw) add_attempt(self, raw) end

function tellers.final(self, raw)
  self.core:begin(function()
    local ok, problem = pcall(add_stage, self, raw)
    if not ok and not self.engine._closed then self.engine:_log(ERROR, "tracing: " .. errors.text(problem)) end
  end)
end

--- A claim is about to be executed, in the running coroutine: what it does belongs to its span.
function Tracing:started(claim)
  local record = claim.stage
  local raw = { task = claim.id, claim = claim.claim, stage = record and record.id, root = record and record.root }
  local of = not record and kept(claim.request) or nil
  local context, parent = context_of(self, raw, of)
  if of then -- of all others the end is enough to know it again
    if self.kept >= KEPT_MAX then self.contexts, self.kept = {}, 0 end -- of claims that were given back
    self.contexts[claim.id] = { claim = claim.claim, context = context, parent = parent, of = of }
    self.kept = self.kept + 1
  end
  trace.set(context)
end

--- The running code has started the pipeline `stage`: says so in its trace, if it has one.
function Tracing:start(stage)
  local context, now = trace.current(), self.core:now()
  if not context or not context.sampled then return end
  local id = self.core:id_text(stage.id)
  self.exporter:add {
    trace = context.trace, span = span_id(self, "start", ("%d"):format(stage.id)), parent = context.span,
    name = "start " .. tostring(stage.class_path), kind = otlp.PRODUCER, from = now, to = now,
    links = { { trace = id, span = stage_span(self, stage.id), kind = "started" } },
    attributes = { ["pipeline.id"] = id, ["pipeline.class"] = stage.class_path },
  }
end

--- Calls a handler for a request: as a span, if the request says that it belongs to a trace.
function Tracing:serve(request, fn, ...)
  local of = trace.parse(request.headers.traceparent)
  if not of then return trace.within(nil, fn, ...) end
  local context = { trace = of.trace, span = span_id(self, "request", self.core:random(16)), sampled = of.sampled }
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
    misuse("bad argument #2 to 'open' (option 'tracing': endpoint: a URL such as \"http://127.0.0.1:4318\" expected)")
  end
  local sample = given.sample or 1
  if not (sample >= 0 and sample <= 1) then
    misuse("bad argument #2 to 'open' (option 'tracing': sample: a number from 0 to 1 expected)")
  end
  local url = given.endpoint:gsub("/+$", "")
  if not url:find("/v1/traces$") then url = url .. "/v1/traces" end
  return { url = url, service = given.service, sample = sample }
end

--- Begins for an engine that was opened with these settings.
function tracing.set_up(engine, given)
  local core = engine._core
  local self = setmetatable({
    engine = engine, core = core, sample = given.sample, contexts = {}, kept = 0,
    exporter = otlp.exporter(engine, given.url, {
      ["service.name"] = given.service or engine:_app_name(), ["service.instance.id"] = tostring(engine._worker_number),
      ["telemetry.sdk.name"] = "pipeline", ["telemetry.sdk.language"] = "lua",
    }),
  }, Tracing)
  trace.begin()
  events.of(engine):add("raw", function(raw)
    if tellers[raw.what] then tellers[raw.what](self, raw) end
  end)
  return self
end

--- The engine closes.
function Tracing:closing()
  self.exporter:close()
end

return tracing
