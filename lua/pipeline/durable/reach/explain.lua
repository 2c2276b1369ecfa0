--- durable/reach/explain.lua: what a durable function does now, or waits for, in one line and as a table.

local address = require "pipeline.durable.reach.address"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local opened = require "pipeline.engine.opened"
local values = require "pipeline.durable.values"

local methods = {} -- of the engine

local PAGE_ENTRIES <const> = 500

local function pending_of(item)
  local name, key = item.name, nil
  if item.nth == 0 then name, key = item.name:match("^(.-)@(.*)$") end
  local pending = {
    kind = item.kind, name = name, nth = item.nth, key = key, path = item.path or "", line = item.line,
    since = item.opened, due = item.due, attempt = item.attempt,
  }
  if item.state == "again" and item.value then
    local class, message = values.describe_error(item.value)
    pending.error = ("%s: %s"):format(class, message)
  end
  return pending
end

--- What a durable function does now.
-- @param ref its id, idempotence key or instance.
-- @return a line: since when it is suspended, and for what (timers and when they are due, signals, children, outputs,
--   steps that are tried again, with their last error); or on what it is at work; or why it is held; or how it ended.
-- @return a table: id, class, mode ("begun", "suspended", "held", "over"), reason (of the last two), era, bytes (of its
--   journal), mails (signals and updates that were not taken), forked_from; pending: a list of what it waits for, each
--   with kind, name, nth, key, path, line, since, due, attempt, error.
function methods.explain(self, ref)
  opened.check(self)
  local record = address.record(self, ref, "explain")
  local store, after, pending = current.store(self, true), 0, {}
  local flow
  repeat
    local found, page, message = store:journal_get(record.id, { after = after, limit = PAGE_ENTRIES, mail_limit = 0 })
    if not found then errors.raise_core(page, message, "explain") end
    flow = found
    for _, item in ipairs(page) do
      after = item.seq
      if item.state == "open" or item.state == "again" then pending[#pending + 1] = pending_of(item) end
    end
  until not flow.more
  local id = self:_id_text(record.id)
  return ("%s %s: %s"):format(record.class_path, id, self:stage(id).state_words), {
    id = id, class = record.class_path, mode = flow.mode, reason = flow.reason, era = flow.era, bytes = flow.bytes,
    mails = flow.mails, pending = pending, forked_from = flow.forked_from and self:_id_text(flow.forked_from) or nil,
  }
end

return methods
