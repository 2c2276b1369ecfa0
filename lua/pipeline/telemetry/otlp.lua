--- telemetry/otlp.lua: spans on their way to a collector: OTLP over HTTP, as JSON, in batches.
--
-- A span is a table: trace, span, parent (or nil), name, kind, from, to (seconds since the epoch), attributes (name ->
-- string, number or boolean), failed (nil, or a text), events, links (lists). It is kept as the JSON that is sent: that
-- is smaller than a table. Those of attempts that have ended well, which are most, come as JSON from the core, many at
-- a time (csrc/binding/telemetry/span.h). Spans gather for a second, or until there are BATCH of them. Those that would
-- be more than KEPT at a time are dropped, and so is a batch that the collector does not take; after that none is sent
-- for a while. How many were dropped is said in the log, at most once a minute.

local errors = require "pipeline.support.errors"
local json = require "pipeline.http.json"

local otlp = {}

local BATCH, KEPT, PERIOD_SECONDS = 512, 4096, 1.0
local DEADLINE_SECONDS, LAST_DEADLINE_SECONDS, PAUSE_SECONDS, REPORT_SECONDS = 3.0, 1.0, 30.0, 60.0
local LAST_ROUNDS = 2
local WARNING = 30

otlp.BATCH = BATCH
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

local function attribute(name, value)
  return '{"key":"' .. name .. '","value":' .. value_of(value) .. "}"
end

local function attributes_of(map)
  local list = {}
  for name, value in pairs(map or {}) do list[#list + 1] = attribute(name, value) end
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

local function encoded(span)
  return '{"traceId":"' .. span.trace .. '","spanId":"' .. span.span
    .. (span.parent and '","parentSpanId":"' .. span.parent or "") .. '","name":' .. quoted(span.name) .. ',"kind":'
    .. span.kind .. ',"startTimeUnixNano":"' .. nanoseconds(span.from) .. '","endTimeUnixNano":"'
    .. nanoseconds(span.to) .. '","attributes":' .. attributes_of(span.attributes) .. ',"events":'
    .. events_of(span.events) .. ',"links":' .. links_of(span.links) .. ',"status":'
    .. (span.failed and '{"code":2,"message":' .. quoted(span.failed) .. "}" or '{"code":1}') .. "}"
end

local function body_of(self, texts)
  return '{"resourceSpans":[{"resource":{"attributes":' .. attributes_of(self.resource)
    .. '},"scopeSpans":[{"scope":{"name":"pipeline","version":' .. quoted(self.version) .. '},"spans":['
    .. table.concat(texts, ",") .. "]}]}]}"
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

local function post(self, texts, count, seconds)
  local answer, code, message = self.engine._core:fetch {
    url = self.url, method = "POST", headers = { ["Content-Type"] = "application/json" }, body = body_of(self, texts),
    deadline = seconds, max_size = 65536,
  }
  if answer and answer.status <= 299 then
    self.paused_until = false
    return
  end
  self.paused_until = (self.engine._core:steady() or 0) + PAUSE_SECONDS
  drop(self, count, answer and ("the collector answered %d"):format(answer.status) or message or code)
end

-- Spans are kept in pieces: one each, or those that the core has made, which are many.
local function add_piece(self, text, count)
  local at = #self.pieces + 1
  self.pieces[at], self.counts[at] = text, count
  self.count = self.count + count
end

-- What the core has made becomes a piece.
local function collect(self)
  local text, count = self.engine._core:spans_take()
  if not text then return end
  if text == "" then return drop(self, count, "out of memory") end
  if self.count + count > KEPT then return drop(self, count) end
  add_piece(self, text, count)
end

-- Takes the oldest pieces, about a batch. Returns their texts, and of how many spans they are.
local function take(self)
  local pieces, counts, at, taken = self.pieces, self.counts, 0, 0
  while at < #pieces and taken < BATCH do
    at = at + 1
    taken = taken + counts[at]
  end
  self.pieces, self.counts = table.move(pieces, at + 1, #pieces, 1, {}), table.move(counts, at + 1, #counts, 1, {})
  self.count = self.count - taken
  return table.move(pieces, 1, at, 1, {}), taken
end

local function is_paused(self)
  return self.paused_until and self.engine._core:steady() < self.paused_until
end

local function send_all(self)
  self.sending = true
  collect(self)
  while self.count > 0 do
    local texts, count = take(self)
    if is_paused(self) then
      drop(self, count)
    else
      local ok, problem = pcall(post, self, texts, count, DEADLINE_SECONDS)
      if not ok then drop(self, count, errors.text(problem)) end
    end
    collect(self)
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
  send_soon(self)
end

local function begin_period(self)
  if self.timed then return end
  self.timed = true
  self.engine._timers:add(PERIOD_SECONDS, time_is_up, { exporter = self })
end

--- The core has made so many spans that wait with it: called when there is a first one, and when there is a batch.
function Exporter:made(count)
  if count < BATCH then return begin_period(self) end
  collect(self)
  send_soon(self)
end

--- Takes a span; it is sent with others, or dropped.
function Exporter:add(span)
  if self.count >= KEPT or is_paused(self) then return drop(self, 1) end
  add_piece(self, encoded(span), 1)
  if self.count >= BATCH then return send_soon(self) end
  begin_period(self)
end

--- The engine closes: what is left is sent now, for two seconds at most.
function Exporter:close()
  local core = self.engine._core
  for _ = 1, LAST_ROUNDS do -- while one is sent the loop runs, and more may come
    collect(self)
    if self.count == 0 or core:running() or is_paused(self) then return end
    local texts, count = take(self)
    pcall(post, self, texts, count, LAST_DEADLINE_SECONDS)
  end
end

--- What sends the spans of an engine to `url`; `resource`: attributes of the program.
function otlp.exporter(engine, url, resource)
  return setmetatable({
    engine = engine, url = url, resource = resource, version = engine._core:facts().version, dropped = 0,
    pieces = {}, counts = {}, count = 0, sending = false, timed = false, paused_until = false, told_at = false,
    why = nil,
  }, Exporter)
end

return otlp
