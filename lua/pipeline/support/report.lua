--- report.lua: what the log says of failures.
--
-- Every failed attempt is a warning that tells whose it was, which attempt of how many, what failed and where, and when
-- it runs again; every abort is an error that names the stage that failed. A thousand stages that fail alike must not
-- drown the rest: lines that are equal but for ids and numbers of attempts share a key, and of one key a few lines are
-- written in a while; the next one tells how many were left out.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local log = require "pipeline.telemetry.log"
local text = require "pipeline.support.text"

local report = {}

local INFO, WARNING, ERROR = 20, 30, 40
local BURST, WINDOW_SECONDS, KEYS_MAX = 5, 10.0, 256
local MISSING_SECONDS = 60.0 -- between two lines about a class that is not there
local MESSAGE_BYTES_MAX = 1000

local function tell_left_out(engine, entry)
  if entry.left_out == 0 then return end
  engine:_log(entry.level, entry.short and entry.short:format(entry.left_out)
    or ("%d more like this were not written: %s"):format(entry.left_out, entry.line))
  entry.left_out = 0
end

--- Writes the lines about those that were left out, of keys that are out of date; of all, if `all`.
function report.flush(engine, all)
  local now = not all and engine._core:steady()
  for key, entry in pairs(engine._reports) do
    if all or now - entry.since >= entry.seconds then
      engine._reports[key] = nil
      engine._reports_count = engine._reports_count - 1
      tell_left_out(engine, entry)
    end
  end
end

-- `short`: what is said of those that were left out, with %d for their number; nil: the last line.
local function line_of(engine, level, key, line, fields, most, seconds, short)
  local reports = engine._reports
  local entry = reports[key]
  if not entry or engine._core:steady() - entry.since >= entry.seconds then
    report.flush(engine, engine._reports_count >= KEYS_MAX)
    entry = { since = engine._core:steady(), count = 0, left_out = 0, level = level, seconds = seconds, short = short }
    reports[key] = entry
    engine._reports_count = engine._reports_count + 1
  end
  entry.count, entry.line = entry.count + 1, line
  if entry.count <= most then return engine:_log(level, line, fields) end
  entry.left_out = entry.left_out + 1
end

--- Writes a line of which there may be many; those with the same key count as equal. `fields`: see telemetry/log.lua.
function report.line(engine, level, key, line, fields)
  line_of(engine, level, key, line, fields, BURST, WINDOW_SECONDS)
end

-- What failed, and where: a text that was raised begins with its place already.
local function shown(failure, where)
  local message = failure.message
  if #message > MESSAGE_BYTES_MAX then message = message:sub(1, MESSAGE_BYTES_MAX) .. "..." end
  if failure.error_class ~= "Error" then
    message = message == "" and failure.error_class or failure.error_class .. ": " .. message
  end
  if where and not message:find(where, 1, true) then return where .. ": " .. message end
  return message
end

local function id_of(engine, record)
  return text.short(record.key or engine:_id_text(record.id))
end

local function again(engine, at)
  if not at then return "" end
  local wait = math.max(at - engine._core:now(), 0)
  local seconds = (wait < 10 and "%.2g" or "%.0f"):format(wait)
  return ("; runs again in %s s, at %s"):format(seconds, os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(math.min(at, 1e11))))
end

local function attempt(engine, level, record, what, number, problem, rest)
  report.line(engine, level, table.concat({ what, record.class_path, problem }, "\0"),
    ("%s of %s %s failed%s: %s%s"):format(what, record.class_path, id_of(engine, record),
      text.attempt(number, record), problem, rest), log.fields_of(engine, record, number))
end

--- A failed attempt of the run of a stage; `at` is when it runs again, nil: not at all.
function report.attempt(engine, record, number, failure, where, at)
  attempt(engine, WARNING, record, "run", number, shown(failure, where), again(engine, at))
end

--- A failed attempt of finalized(); after the last one the stage is final all the same.
function report.finalized(engine, record, number, failure, where, at)
  local problem = shown(failure, where)
  if at then return attempt(engine, WARNING, record, "finalized", number, problem, again(engine, at)) end
  attempt(engine, ERROR, record, "finalized", number, problem, "; it is final without it")
end

--- A task whose class is not there; `problem` says so. It is tried again: one line for all of a class, now and then.
function report.missing(engine, record, problem)
  line_of(engine, ERROR, "missing\0" .. record.class_path,
    ("%s; it is tried again: start the worker with the file that defines it, or name its module in `modules`"):format(
      problem), log.fields_of(engine, record), 1, MISSING_SECONDS,
    "%d more tries in vain to load class " .. record.class_path:gsub("%%", "%%%%"))
end

--- A stage whose class has not been there for as long as may be, and what becomes of it.
function report.given_up(engine, record, problem, what)
  report.line(engine, ERROR, "given up\0" .. record.class_path,
    ("%s; %s %s"):format(problem, id_of(engine, record), what), log.fields_of(engine, record))
end

--- A callback task whose callback() failed.
function report.callback(engine, record, failure, number)
  local problem = shown(failure)
  report.line(engine, ERROR, table.concat({ "callback", record.class_path, problem }, "\0"),
    ("callback of %s %s failed, try %d: %s"):format(record.class_path, id_of(engine, record), number, problem),
    log.fields_of(engine, record, number))
end

--- A callback task that is not made, and dropped.
function report.refused(engine, stage, status, body)
  report.line(engine, WARNING, table.concat({ "refused", tostring(stage.class_path), status }, "\0"),
    ("a callback task of %s %s was refused and is dropped: %d %s"):format(tostring(stage), stage.id, status, body))
end

-- Later (408, 429) and "it went wrong" (5xx) are answers that a handler may give on purpose, to be asked again.
local function is_told_quietly(status)
  return status == 408 or status == 429 or status ~= nil and status >= 500
end

--- A try of a task of a queue that failed: without an answer (no route, no target, nobody there), or with `status`.
function report.task(engine, kind, claim, message, status)
  report.line(engine, is_told_quietly(status) and INFO or WARNING, table.concat({ kind, claim.queue, message }, "\0"),
    ("%s task %s of queue %s failed, try %d: %s"):format(kind, claim.name or claim.id, claim.queue, claim.tries + 1,
      message), { queue = claim.queue, task = claim.name, kind = kind, attempt = claim.tries + 1 })
end

--- The abort of a tree, because of an attempt of `stage`.
function report.abort(engine, stage, record, number, failure, where)
  local problem = shown(failure, where)
  local whose = record.parent and "the tree " .. engine:_id_text(record.root) or "the tree"
  if record.flags & core.SCOPE ~= 0 then whose = "the part of a tree below a durable function" end
  report.line(engine, ERROR, table.concat({ "abort", record.class_path, problem }, "\0"),
    ("%s is aborted: %s %s failed%s: %s"):format(whose, tostring(stage), id_of(engine, record),
      text.attempt(number, record), problem), log.fields_of(engine, record, number))
end

--- A stage has failed for good, and what goes on in its place is the fallback of it, or of one above it.
function report.fallback(engine, record)
  report.line(engine, WARNING, "fallback\0" .. record.class_path,
    ("the fallback above %s %s is taken: that part of the tree is aborted, and the rest goes on"):format(
      record.class_path, id_of(engine, record)))
end

--- The abort of the tree of `stage` that somebody has asked for, who knows of it: nothing has failed.
function report.abort_asked(engine, stage, message)
  report.line(engine, INFO, "abort asked\0" .. tostring(message),
    ("the tree of %s %s is aborted, as was asked%s"):format(tostring(stage), stage.id,
      message ~= nil and message ~= "" and ": " .. text.short(errors.text(message)) or ""))
end

--- The tree of `stage`, which was aborted, goes on, as somebody has asked for.
function report.resumed(engine, stage, count)
  report.line(engine, INFO, "resumed", ("the tree of %s %s is resumed: %d of its pipelines go on"):format(
    tostring(stage), stage.id, count))
end

return report
