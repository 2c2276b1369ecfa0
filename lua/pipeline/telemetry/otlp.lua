--- telemetry/otlp.lua: spans on their way to a collector: OTLP over HTTP, as JSON, in batches.
--
-- A span is a table: trace, span, parent (or nil), name, kind, from, to (seconds since the epoch), attributes (name ->
-- string, number or boolean), failed (nil, or a text), events, links (lists). It is kept as the JSON that is sent: that
-- is smaller than a table. Spans gather for a second, or until there are BATCH of them. Those that would be more than
-- KEPT at a time are dropped, and so is a batch that the collector does not take; after that none is sent for a while.
-- How many were dropped is said in the log, at most once a minute.

local errors = require "pipeline.support.errors"
local json = require "pipeline.http.json"

local otlp = {}

local BATCH, KEPT, PERIOD_SECONDS = 512, 4096, 1.0
local DEADLINE_SECONDS, LAST_DEADLINE_SECONDS, PAUSE_SECONDS, REPORT_SECONDS = 3.0, 1.0, 30.0, 60.0
local LAST_ROUNDS = 2
local WARNING = 30

otlp.INTERNAL, otlp.SERVER, otlp.CLIENT, otlp.PRODUCER = 1, 2, 3, 4

local Exporter = { __name = "pipeline.Exporter" }
Exporter.__index = Exporter

-- ---- as JSON ---------------------------------------------------------------------------------------------------

local function readable(value)
  return utf8.len(value) and value or (value:gsub("[\x80-\xFF]", "\u{FFFD}"))
end

--- A text as JSON.
local function quoted(value)
  return json.encode(readable(value))
end

-- Without a float in it, in whose text a locale may put a comma.
local function decimal(value)
  if value ~= value or value >= 9e12 or value <= -9e12 then return "0" end
  local millionths = math.floor(math.abs(value) * 1e6 + 0.5) | 0
  return ("%s%d.%06d"):format(value < 0 and "-" or "", millionths // 1000000, millionths % 1000000)
end

local function value_of(value)
  if type(value) == "boolean" then return '{"boolValue":' .. tostring(value) .. "}" end
  if math.type(value) == "integer" then return '{"intValue":"' .. value .. '"}' end
  if type(value) == "number" then return '{"doubleValue":' .. decimal(value) .. "}" end
  return '{"stringValue":' .. quoted(tostring(value)) .. "}"
end

--- An attribute as JSON.
function otlp.attribute(name, value)
  return '{"key":"' .. name .. '","value":' .. value_of(value) .. "}"
end

local function attributes_of(map)
  local list = {}
  for name, value in pairs(map or {}) do list[#list + 1] = otlp.attribute(name, value) end
  table.sort(list)
  return "[" .. table.concat(list, ",") .. "]"
end

-- As text. Seconds as a double have no more than microseconds.
local function nanoseconds(seconds)
  return (math.floor(seconds * 1e6 + 0.5) | 0) .. "000"
end

local function events_of(list)
  if not list then return "[]" end
  local out = {}
  for i, event in ipairs(list) do
    out[i] = '{"timeUnixNano":"' .. nanoseconds(event.time) .. '","name":' .. quoted(event.name) .. ',"attributes":'
      .. attributes_of(event.attributes) .. "}"
  end
  return "[" .. table.concat(out, ",") .. "]"
end

local function links_of(list)
  if not list then return "[]" end
  local out = {}
  for i, link in ipairs(list) do
    out[i] = '{"traceId":"' .. link.trace .. '","spanId":"' .. link.span .. '","attributes":'
      .. attributes_of { kind = link.kind } .. "}"
  end
  return "[" .. table.concat(out, ",") .. "]"
end

--- What a span of the kind has that many have alike: its name, and a list of attributes as JSON, without its end.
function otlp.form(name, kind, attributes)
  return ',"name":' .. quoted(name) .. ',"kind":' .. kind .. ',"attributes":[' .. table.concat(attributes, ",")
end

--- The JSON of a span that has ended well and has neither events nor links; `more`: further attributes as JSON, each
-- after a comma.
function otlp.plain(trace, span, parent, form, from, to, more)
  return '{"traceId":"' .. trace .. '","spanId":"' .. span .. (parent and '","parentSpanId":"' .. parent or "") .. '"'
    .. form .. more .. '],"startTimeUnixNano":"' .. nanoseconds(from) .. '","endTimeUnixNano":"' .. nanoseconds(to)
    .. '","events":[],"links":[],"status":{"code":1}}'
end

local function encoded(span)
  return '{"traceId":"' .. span.trace .. '","spanId":"' .. span.span
    .. (span.parent and '","parentSpanId":"' .. span.parent or "") .. '","name":' .. quoted(span.name) .. ',"kind":'
    .. span.kind .. ',"startTimeUnixNano":"' .. nanoseconds(span.from) .. '","endTimeUnixNano":"'
    .. nanoseconds(span.to) .. '","attributes":' .. attributes_of(span.attributes) .. ',"events":'
    .. events_of(span.events) .. ',"links":' .. links_of(span.links) .. ',"status":'
    .. (span.failed and '{"code":2,"message":' .. quoted(span.failed) .. "}" or '{"code":1}') .. "}"
end

local function body_of(self, spans)
  return '{"resourceSpans":[{"resource":{"attributes":' .. attributes_of(self.resource)
    .. '},"scopeSpans":[{"scope":{"name":"pipeline","version":' .. quoted(self.version) .. '},"spans":['
    .. table.concat(spans, ",") .. "]}]}]}"
end

-- ---- sending ---------------------------------------------------------------------------------------------------

local function tell_dropped(self)
  local now = self.engine._core:steady() or 0
  if self.dropped == 0 or self.told_at and now - self.told_at < REPORT_SECONDS then return end
  self.engine:_log(WARNING, ("tracing: %d spans were dropped: %s"):format(self.dropped,
    self.why or "too many at a time"))
  self.told_at, self.dropped, self.why = now, 0, nil
end

local function drop(self, count, why)
  self.dropped, self.why = self.dropped + count, why or self.why
  tell_dropped(self)
end

local function post(self, spans, seconds)
  local answer, code, message = self.engine._core:fetch {
    url = self.url, method = "POST", headers = { ["Content-Type"] = "application/json" }, body = body_of(self, spans),
    deadline = seconds, max_size = 65536,
  }
  if answer and answer.status <= 299 then
    self.paused_until = false
    return
  end
  self.paused_until = (self.engine._core:steady() or 0) + PAUSE_SECONDS
  drop(self, #spans, answer and ("the collector answered %d"):format(answer.status) or message or code)
end

local function send_all(self)
  self.sending = true
  while #self.spans > 0 do
    local batch = table.move(self.spans, 1, math.min(#self.spans, BATCH), 1, {})
    self.spans = table.move(self.spans, #batch + 1, #self.spans, 1, {})
    if self.paused_until and self.engine._core:steady() < self.paused_until then
      drop(self, #batch)
    else
      local ok, problem = pcall(post, self, batch, DEADLINE_SECONDS)
      if not ok then drop(self, #batch, errors.text(problem)) end
    end
  end
  self.sending = false
end

local function send_soon(self)
  if self.sending or self.engine._closed then return end
  self.sending = true
  if not self.engine._core:begin(send_all, self) then self.sending = false end
end

local function time_is_up(entry)
  local self = entry.exporter
  self.timed = false
  if #self.spans > 0 then send_soon(self) end
end

--- Whether a span would be sent: not while the collector is away, or too many wait. If not, it counts as dropped.
function Exporter:takes()
  local spans, paused = self.spans, self.paused_until
  if #spans < KEPT and (not paused or self.engine._core:steady() >= paused) then return true end
  drop(self, 1)
  return false
end

--- Takes the JSON of a span; it is sent with others, or dropped.
function Exporter:add_text(text)
  local spans = self.spans
  local count = #spans + 1
  spans[count] = text
  if count >= BATCH then return send_soon(self) end
  if self.timed then return end
  self.timed = true
  self.engine._timers:add(PERIOD_SECONDS, time_is_up, { exporter = self })
end

--- Takes a span.
function Exporter:add(span)
  if self:takes() then self:add_text(encoded(span)) end
end

--- The engine closes: what is left is sent now, for two seconds at most.
function Exporter:close()
  local core = self.engine._core
  for _ = 1, LAST_ROUNDS do -- while one is sent the loop runs, and more may come
    local spans = self.spans
    if #spans == 0 or core:running() or self.paused_until and core:steady() < self.paused_until then return end
    self.spans = {}
    pcall(post, self, spans, LAST_DEADLINE_SECONDS)
  end
end

--- What sends the spans of an engine to `url`; `resource`: attributes of the program.
function otlp.exporter(engine, url, resource)
  return setmetatable({
    engine = engine, url = url, resource = resource, version = engine._core:facts().version, spans = {}, dropped = 0,
    sending = false, timed = false, paused_until = false, told_at = false, why = nil,
  }, Exporter)
end

return otlp
