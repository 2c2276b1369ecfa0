--- settings.lua: what pipeline.open is given, checked and brought into the form that the core and the engine take.

local errors = require "pipeline.support.errors"
local log = require "pipeline.telemetry.log"
local options = require "pipeline.support.options"
local queue = require "pipeline.taskqueue.queue"
local retention = require "pipeline.retention"
local text = require "pipeline.support.text"
local warm = require "pipeline.flow.warm"
local place = require "pipeline.support.place"
local bad_argument, bad_option, bad_type = place.bad_argument, place.bad_option, place.bad_type

local settings = {}

local TRANSACTION_TIMEOUT_MIN, TRANSACTION_TIMEOUT_MAX = 0.001, 3600
local WARM_RUNS <const>, WARM_BYTES <const> = 1000, 32 << 20

local open_kinds = {
  durability = "string", concurrency = "count", modules = "table", serve_queues = "table", file_mode = "any",
  lease_seconds = "duration",
  tombstone_seconds = "duration", class_load_timeout = "duration", log = "any", vfs = "string",
  virtual_time = "boolean", virtual_start = "number", seed = "integer", no_worker = "boolean", must_exist = "boolean",
  queues = "table", targets = "table", total_storage_limit = "any", transaction_timeout = "duration",
  max_tasks_per_add = "count", max_tasks_per_lease = "count", waiting_memory = "any", mail = "table",
  base_url = "string", stop_grace = "duration", metrics = "table", tracing = "table",
  retention = "any", on_missed = "function", guards = "boolean",
  journal_retention = "any", block_warning = "duration", warm_runs = "any", warm_bytes = "any",
}

local core_options = {
  "durability", "concurrency", "stop_grace", "lease_seconds", "tombstone_seconds", "vfs", "virtual_time",
  "virtual_start", "seed",
  "no_worker", "must_exist",
}

local function check_modules(list)
  for key, prefix in pairs(list) do
    if math.type(key) ~= "integer" or type(prefix) ~= "string" or prefix == "" then
      bad_option(2, "open", "modules", "list of module prefixes expected")
    end
  end
end

-- Permissions as a number, or as octal digits.
local function file_mode(given)
  if given == nil then return nil end
  local mode = math.type(given) == "integer" and given
  if type(given) == "string" then mode = given:find("^[0-7]+$") and tonumber(given, 8) end
  if not mode or mode < 0 or mode > tonumber("777", 8) or mode & tonumber("600", 8) ~= tonumber("600", 8) then
    bad_option(2, "open", "file_mode",
      "octal digits expected, with which the owner can read and write, such as \"640\"")
  end
  return mode
end

local function is_queue_name(value)
  return type(value) == "string" and pcall(queue.Queue, value)
end

-- The form in which the core takes a list of queues: each name with a line break behind.
local function serve_queues(list)
  if not list then return nil end
  options.check_list(list, is_queue_name, 2, "open", "option 'serve_queues': list of queue names",
    "option 'serve_queues': name of a queue")
  return table.concat(list, "\n") .. "\n"
end

local function check(path, given)
  if type(path) ~= "string" then
    bad_type(1, "open", "string", path)
  end
  if path == "" or path:find("\0", 1, true) then
    bad_argument(1, "open", "the path of a file, or \":memory:\", expected")
  end
  given = options.check(given, open_kinds, 2, "open")
  local durability = given.durability
  if durability and durability ~= "full" and durability ~= "normal" then
    bad_option(2, "open", "durability", "\"full\" or \"normal\" expected")
  end
  check_modules(given.modules or {})
  local seconds = given.transaction_timeout
  if seconds and not (seconds >= TRANSACTION_TIMEOUT_MIN and seconds <= TRANSACTION_TIMEOUT_MAX) then
    bad_option(2, "open", "transaction_timeout", "%g to %g seconds expected", TRANSACTION_TIMEOUT_MIN,
      TRANSACTION_TIMEOUT_MAX)
  end
  return given
end

-- Where people reach the server of this program, without a slash at the end.
local function check_base_url(url)
  if url == nil then return false end
  return text.base_url(url) or errors.raise(errors.ConfigurationError,
    "base_url: a URL such as \"https://shop.example.org\" expected, got %s", text.of(text.short(url)))
end

-- Base URLs by name, without a slash at the end.
local function check_targets(given)
  local targets = {}
  for name, url in pairs(given) do
    if type(name) ~= "string" or type(url) ~= "string" or not url:find("^https?://[^/%s]") then
      errors.raise(errors.ConfigurationError, "targets: a URL such as \"http://127.0.0.1:8080\" by name expected, " ..
        "got %s under %s", text.of(url, 100), text.of(name, 100))
    end
    targets[name] = url:gsub("/+$", "")
  end
  return targets
end

-- Where durable functions are kept that are suspended; false: nowhere.
local function warm_runs(most, bytes)
  if most == nil then most = WARM_RUNS end
  if math.type(most) ~= "integer" or most < 0 then
    bad_option(2, "open", "warm_runs", "whole number, at least 0, expected")
  end
  bytes = bytes == nil and WARM_BYTES or queue.parse_limit(bytes, "warm_bytes")
  return most > 0 and warm.new(most, bytes)
end

--- Checks what open was given.
-- @return the options, those of them that the core takes, and what has been read from the others: targets, base_url,
-- log, metrics, tracing, mail, warm (see flow/warm.lua, or false). Raises where something is wrong.
function settings.read(path, given)
  given = check(path, given)
  local passed = {}
  local known = {
    targets = check_targets(given.targets or {}), base_url = check_base_url(given.base_url),
    log = log.read(given.log), warm = warm_runs(given.warm_runs, given.warm_bytes),
    metrics = given.metrics and require("pipeline.telemetry.metrics").read(given.metrics) or {},
    tracing = given.tracing and require("pipeline.telemetry.tracing").read(given.tracing) or false,
    mail = given.mail and require("pipeline.mail.settings").read(given.mail) or false,
  }
  for _, name in ipairs(core_options) do passed[name] = given[name] end
  passed.file_mode = file_mode(given.file_mode)
  passed.serve_queues = serve_queues(given.serve_queues)
  passed.storage_limit = given.total_storage_limit and queue.parse_limit(given.total_storage_limit)
  passed.waiting_memory = given.waiting_memory and queue.parse_limit(given.waiting_memory, "waiting_memory")
  for name, value in pairs(retention.read(given.retention, queue.parse_limit)) do passed[name] = value end
  for name, value in pairs(retention.read_journals(given.journal_retention)) do passed[name] = value end
  passed.no_sweep = given.no_worker and given.retention == nil
  return given, passed, known
end

return settings
