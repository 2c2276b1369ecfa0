--- telemetry/log.lua: lines of log as text or JSON, with the fields of what they are about.
--
-- Whatever is logged passes through Engine._log, which asks here for the fields: those that the caller knows, else
-- those of the task whose coroutine runs. A function given as `log` gets them as its third argument.

local cjson = require "cjson"
local current = require "pipeline.current"
local place = require "pipeline.support.place"
local bad_argument, bad_option, bad_type, misuse = place.bad_argument, place.bad_option, place.bad_type, place.misuse
local options = require "pipeline.support.options"
local text = require "pipeline.support.text"

local log = {}

local INFO = 20
local LEVELS = { debug = 10, info = 20, warning = 30, error = 40, critical = 50 }
local NAMES = {}
for name, level in pairs(LEVELS) do NAMES[level] = name end

-- In the order in which they are written.
local FIELDS = {
  "engine", "pipeline_id", "root_id", "class", "queue", "task", "kind", "attempt", "worker", "trace_id",
}

local function level_of(given)
  return LEVELS[given] or math.type(given) == "integer" and given or nil
end

local function name_of(level)
  return NAMES[level] or tostring(level)
end

-- ---- fields ----------------------------------------------------------------------------------------------------

--- The fields of a stage by its record.
function log.fields_of(engine, record, attempt)
  return {
    pipeline_id = engine:_id_text(record.id), root_id = record.root and engine:_id_text(record.root),
    class = record.class_path, queue = record.queue or "default", attempt = attempt,
  }
end

--- What a line is about, with what is true of all lines of this engine. `known`: what the caller knows; nil: what the
-- running code executes.
function log.complete(engine, known)
  local core = engine._core
  local fields = known
  local instance = not fields and current.instance()
  if instance and instance._engine == engine and instance._record then
    local record = instance._record
    fields = log.fields_of(engine, record, record.attempt and record.attempt + 1)
  elseif not fields then
    fields = core:executing() or {} -- nil: nothing, or the engine is closed
  end
  fields.time = core:now() or os.time()
  fields.engine = engine._path
  fields.worker = engine._worker_number
  local tracing = engine._tracing
  if tracing and not fields.trace_id then fields.trace_id = tracing:current_id() end
  return fields
end

-- ---- as text, as JSON ------------------------------------------------------------------------------------------

local function time_text(seconds)
  local whole = math.floor(seconds)
  return ("%s.%03dZ"):format(os.date("!%Y-%m-%dT%H:%M:%S", whole), math.floor((seconds - whole) * 1000))
end

-- Bytes that are no UTF-8 would make a line that nobody can read.
local function readable(value)
  value = tostring(value)
  if utf8.len(value) then return value end
  return (value:gsub("[\x80-\xFF]", "\u{FFFD}"))
end

local formats = {}

function formats.json(seconds, level, line, fields)
  local out = { ('{"time":"%s","level":"%s"'):format(time_text(seconds), name_of(level)) }
  for _, name in ipairs(FIELDS) do
    local value = fields[name]
    if value ~= nil then
      out[#out + 1] = ('"%s":%s'):format(name, math.type(value) == "integer" and ("%d"):format(value)
        or cjson.encode(readable(value)))
    end
  end
  out[#out + 1] = '"message":' .. cjson.encode(readable(line)) .. "}"
  return table.concat(out, ",")
end

local function quoted(value)
  value = readable(value)
  if value:find('^[%w_%-.:/@]+$') then return value end
  return '"' .. value:gsub('[%c"\\]', function(c) return ("\\%d"):format(c:byte()) end) .. '"'
end

-- Lines stay lines, behind blanks; what else steers a terminal is written out.
local CONTROLS = setmetatable({ ["\n"] = "\n    ", ["\t"] = "\t" }, {
  __index = function(_, letter) return ("\\%d"):format(letter:byte()) end,
})

function formats.text(seconds, level, line, fields)
  local out = { time_text(seconds), name_of(level):upper(), (readable(line):gsub("%c", CONTROLS)) }
  for _, name in ipairs(FIELDS) do
    if fields[name] ~= nil then out[#out + 1] = name .. "=" .. quoted(fields[name]) end
  end
  return table.concat(out, " ")
end

local kinds = { format = "string", level = "any" }

--- Reads the option `log` of pipeline.open: a function(level, text, fields), `fields.time` in seconds since the epoch;
-- or a table: format ("text", the default, or "json", one object a line) and level ("debug", "info", which is the
-- default, "warning", "error", "critical", or a number): lines of that level and above are written to standard error.
-- A line has time, level, engine (path of the store) and worker (number), and, of what it is about, pipeline_id,
-- root_id, class, queue, task, kind, attempt, trace_id. Returns a function(level, text, fields), or false.
function log.read(given)
  if given == nil then return false end
  if type(given) == "function" then return given end
  if type(given) ~= "table" then
    bad_option(2, "open", "log", "function or table expected, got %s", type(given))
  end
  given = options.check(given, kinds, 2, "open")
  local form, least = formats[given.format or "text"], level_of(given.level or INFO)
  if not form then
    bad_option(2, "open", "log", "format: \"text\" or \"json\" expected, got %s", text.of(given.format, 100))
  end
  if not least then
    bad_option(2, "open", "log",
      "level: \"debug\", \"info\", \"warning\", \"error\", \"critical\" or a number expected, got %s",
      text.of(given.level, 100))
  end
  return function(level, line, fields)
    if level < least then return end
    io.stderr:write(form(fields.time, level, line, fields), "\n")
  end
end

--- Writes a line to the log of the engine, with the fields of this pipeline: its id, root, class, queue and attempt.
-- @param level "debug", "info", "warning", "error", "critical", or a number.
-- @tparam string format as of string.format; without more arguments it is the text as it is.
function log.method(self, level, format, ...)
  local number = level_of(level)
  if not number then
    bad_argument(1, "log",
      "level expected: \"debug\", \"info\", \"warning\", \"error\", \"critical\" or a number, got %s",
      text.of(level, 100))
  end
  if type(format) ~= "string" then
    bad_type(2, "log", "string", format)
  end
  local line = select("#", ...) > 0 and format:format(...) or format
  local engine, record = self._engine, self._record
  if not engine then misuse("bad self: 'log' is for pipelines that were started") end
  engine:_log(number, line, record and log.fields_of(engine, record, record.attempt and record.attempt + 1) or {
    class = tostring(self.class_path),
  })
end

return log
