--- durable/news.lua: what comes to a run from the store: its children have ended, outputs that it waits for are filled.

local cancel = require "pipeline.durable.cancel"
local class = require "pipeline.workflow.class"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local NONE <const> = require("pipeline.flow.entry").NONE
local failures = require "pipeline.workflow.failures"
local instance = require "pipeline.workflow.instance"
local values = require "pipeline.durable.values"

local news = {}

-- The error of a child that was aborted, as its await raises it.
local function aborted(self, item)
  local engine, reason = self.engine, item.message or ""
  local record = errors.read(self.core:stage_get(item.stage))
  if not record then
    local text = "a child was aborted, and is deleted" .. (reason ~= "" and ": " .. reason or "")
    return errors.AbortedError(text, { reason = reason, failures = {}, where = false })
  end
  local of = class.find(record.class_path) or class.Base
  local message, fields = failures.explain(engine, instance.of_record(engine, of, record), reason)
  fields.where = false
  return errors.AbortedError(message, fields)
end

local function decode(bytes)
  if bytes == nil then return nil end
  local value, code, message = core.decode(bytes)
  if value == nil and code then errors.raise_core(code, message) end
  return value
end

local function results(op, bytes)
  return values.encode({ decode(bytes), op.slots }, op.slots and 2 or 1, "output of " .. op.name)
end

-- An operation ends with the value of a slot, and what else is kept of it; with an error where that cannot be kept.
local function close_with(self, op, bytes)
  local ok, encoded = pcall(results, op, bytes)
  if ok then return self.machine:close(op, "ok", encoded) end
  self.machine:close(op, "failed", values.encode_error(encoded))
end

local function close_slot(self, item, closed)
  local op = self.known[item.seq]
  if not op or op.done or cancel.holds(self, op) then return end
  self.known[item.seq] = nil
  close_with(self, op, item.value)
  closed[#closed + 1] = op
end

local function close_child(self, item, closed)
  local op = self.known[item.seq]
  if not op or op.done or cancel.holds(self, op) then return end
  self.known[item.seq] = nil
  if item.state == "done" or item.fallback then
    close_with(self, op, item.value)
  else
    self.machine:close(op, "failed", values.encode_error(aborted(self, item), nil, op.slots))
  end
  closed[#closed + 1] = op
end

--- Ends the operations of which the store tells. Returns them in order.
function news.close(self, given)
  if not given or not (given.slots or given.children) then return NONE end
  local closed = {}
  for _, item in ipairs(given.slots or NONE) do close_slot(self, item, closed) end
  for _, item in ipairs(given.children or NONE) do close_child(self, item, closed) end
  return closed
end

--- The ids of the slots that a suspended run waits for.
function news.slots(self)
  local list = {}
  for _, op in pairs(self.known) do
    if op.kind == "slot" then list[#list + 1] = op.ref end
  end
  table.sort(list)
  return list[1] and list or nil
end

--- Has the engine tell of what comes while the run is executed: it calls `hear` of the run.
function news.listen(self)
  self.engine._news[self.record.id] = self
end

--- The run goes: nobody has to tell it anything.
function news.forget(self)
  self.engine._news[self.record.id] = nil
end

return news
