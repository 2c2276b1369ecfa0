--- failures.lua: the failed attempts of a tree, and which of them it was aborted for.

local current = require "pipeline.current"
local class = require "pipeline.workflow.class"
local errors = require "pipeline.support.errors"
local instance = require "pipeline.workflow.instance"
local place = require "pipeline.support.place"
local text = require "pipeline.support.text"

local failures = {}

local STAGES_MAX = 20 -- in an error; the one that failed is always there

local function id_text(engine, failure)
  return failure.key or engine:_id_text(failure.stage)
end

--- Failed attempts of the tree of `root`, by stage, oldest first: up to 200, and the latest one of all.
function failures.of_tree(engine, root)
  local list, latest, message = current.store(engine, true):failures_get(root, true)
  if not list then errors.raise_core(latest, message) end
  if latest then
    local last = list[#list]
    local is_there = last.stage == latest.stage and last.attempt == latest.attempt and last.time == latest.time
    if not is_there then list[#list + 1] = latest end
  end
  return list
end

-- Can `reason`, the text of an abort, have come from this failure? An attempt that was the last one says so.
local function may_have_said(reason, failure)
  if failure.error_class == "Abort" or failure.error_class == "ConfigurationError" or reason == failure.message then
    return reason == failure.message and reason ~= ""
  end
  local attempts, what = reason:match("^Aborting after (%d+) attempts?%. (.*)$")
  if tonumber(attempts) ~= failure.attempt then return false end
  local said = failure.message:sub(1, 200) -- what the engine itself tells of is cut there
  return said == "" or what:find(said, 1, true) ~= nil
end

-- Of stages that failed alike, the one for which no attempt was left.
local function was_last(record, reason, failure)
  return record.max_attempts <= failure.attempt or not reason:find("^Aborting after ")
end

--- The failure in `list` for which the tree was aborted with `reason`, and the record of its stage; nil: none, as
-- when somebody asked for the abort.
function failures.cause(engine, list, reason)
  local candidates = {}
  for i, failure in ipairs(list) do
    if may_have_said(reason, failure) then candidates[#candidates + 1] = { i, failure } end
  end
  table.sort(candidates, function(a, b)
    if a[2].time ~= b[2].time then return a[2].time > b[2].time end
    return a[1] > b[1]
  end)
  for i = 1, math.min(#candidates, STAGES_MAX) do
    local failure = candidates[i][2]
    local record = errors.read(current.store(engine, true):stage_get(failure.stage))
    if record and was_last(record, reason, failure) then return failure, record end
  end
  return nil
end

-- Some stages are enough for an error.
local function shortened(engine, list, cause)
  local short, count, last = {}, 0, nil
  for _, failure in ipairs(list) do
    if failure.stage ~= last then count, last = count + 1, failure.stage end
    if count <= STAGES_MAX or cause and failure.stage == cause.stage then
      failure.pipeline_id = id_text(engine, failure)
      short[#short + 1] = failure
    end
  end
  return short
end

local function described(engine, failure, record)
  local of = class.find(record.class_path) or class.Base
  local shown = instance.args_text(instance.of_record(engine, of, record))
  return {
    id = id_text(engine, failure), class = record.class_path, args = shown, attempt = failure.attempt,
    error = failure.error_class .. (failure.message ~= "" and ": " .. failure.message or ""),
    where = place.of_trace(failure.traceback or ""),
  }
end

local function text_of(failed, reason, record)
  local where = failed.where
  local at = where and not reason:find(where, 1, true) and (", at " .. where) or ""
  return (" (%s(%s) %s%s%s)"):format(failed.class, failed.args, text.short(failed.id),
    text.attempt(failed.attempt, record), at)
end

--- Fields and text for the error about `stage`, which was aborted with its tree for `reason`.
function failures.explain(engine, stage, reason)
  local list = failures.of_tree(engine, stage._record.root)
  local cause, record = failures.cause(engine, list, reason)
  local failed = cause and described(engine, cause, record)
  local message = ("%s was aborted%s%s"):format(tostring(stage), reason ~= "" and ": " .. reason or "",
    failed and text_of(failed, reason, record) or "")
  return message, {
    reason = reason, failed = failed, failures = shortened(engine, list, cause), pipeline_id = stage.id,
  }
end

return failures
