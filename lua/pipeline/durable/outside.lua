--- durable/outside.lua: durable functions from outside of them: methods of the engine.

local context = require "pipeline.context"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local instance = require "pipeline.workflow.instance"
local keys = require "pipeline.workflow.keys"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local text = require "pipeline.support.text"
local values = require "pipeline.durable.values"
local misuse = require("pipeline.support.place").misuse

local methods = {} -- of the engine

local LIMIT <const>, LIMIT_MAX <const> = 100, 1000

local function record_of(self, ref, what)
  local record
  if instance.is(ref) and ref._id then
    record = errors.read(context.store(self, true):stage_get(ref._id))
  elseif type(ref) == "string" then
    record = keys.find(self, ref)
  else
    misuse("bad argument #1 to '%s' (id, idempotence key or started pipeline expected, got %s)", what, type(ref))
  end
  if not record then
    errors.raise(errors.UnexpectedPipelineError, "%s: there is no pipeline %s", what, tostring(ref))
  end
  if record.flags & core.DURABLE == 0 then
    errors.raise(errors.UnexpectedPipelineError, "%s: %s is no durable function", what, record.class_path)
  end
  return record
end

--- Lets a durable function that is held go on: with the code of now, from where its journal ends.
-- @param ref its id, idempotence key or instance.
-- @return whether it goes on; false if it was not held. Raises UnexpectedPipelineError if it is none or final.
function methods.resume(self, ref)
  opened.check(self)
  local record = record_of(self, ref, "resume")
  local ok, code, message = context.store(self):flow_set(record.id, { resume = true })
  if ok then return true end
  if code == "ESTATE" then return false end
  if code == "EFINAL" then
    errors.raise(errors.UnexpectedPipelineError, "resume of %s: it is final", record.class_path)
  end
  errors.raise_core(code, message, "resume of " .. record.class_path)
end

local function error_text(bytes)
  local class, message = values.describe_error(bytes)
  return ("%s: %s"):format(class, message)
end

local function shown(item)
  local name, key = item.name, nil
  if item.nth == 0 then name, key = item.name:match("^(.-)@(.*)$") end
  local entry = {
    seq = item.seq, done = item.done, kind = item.kind, state = item.state, path = item.path or "", name = name,
    nth = item.nth, key = key, line = item.line, opened = item.opened, closed = item.closed, attempt = item.attempt,
    due = item.due,
  }
  if not item.value then return entry end
  if item.state == "failed" or item.state == "again" then
    entry.error = error_text(item.value)
  elseif item.state == "ok" then
    local ok, list, n = pcall(values.decode, item.value)
    if ok and item.kind == "child" or item.kind == "slot" then n = 1 end
    entry.value = ok and text.of_list(list, n) or "?"
  end
  return entry
end

local kinds = { after = "any", limit = "count" }

--- The journal of a durable function: what it has asked for, in that order.
-- @param ref its id, idempotence key or instance.
-- @tparam[opt] table given after (the seq of the last entry of the page before; 0), limit (100, at most 1000).
-- @return list of { seq, done (order in which it was delivered; absent: not yet), kind ("step", "timer", "child",
--   "slot" ...), state ("open", "ok", "failed", "cancelled", "again": a step that is to be tried again), path (of its
--   branch), name, nth, key, line, opened, closed, attempt, due, value (results in short), error }.
function methods.get_journal(self, ref, given)
  opened.check(self)
  given = options.check(given, kinds, 2, "get_journal")
  local record = record_of(self, ref, "get_journal")
  local store = context.store(self, true)
  local flow, entries, message = store:journal_get(record.id, {
    after = given.after or 0, limit = math.min(given.limit or LIMIT, LIMIT_MAX),
  })
  if not flow and entries then errors.raise_core(entries, message) end
  local list = {}
  for i, item in ipairs(flow and entries or {}) do list[i] = shown(item) end
  return list
end

return methods
