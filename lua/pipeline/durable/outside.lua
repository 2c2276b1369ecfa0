--- durable/outside.lua: durable functions from outside of them: methods of the engine.

local address = require "pipeline.durable.reach.address"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local instance = require "pipeline.workflow.instance"
local keys = require "pipeline.workflow.keys"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local progress = require "pipeline.durable.reach.progress"
local text = require "pipeline.support.text"
local values = require "pipeline.durable.values"
local place = require "pipeline.support.place"
local bad_option, bad_type = place.bad_option, place.bad_type

local methods = {} -- of the engine

local LIMIT <const>, LIMIT_MAX <const> = 100, 1000
local PAGE <const> = 200

local resume_kinds = { retry = "boolean" }

--- Holds a durable function: nothing more of it begins, until it is resumed. Steps at work end, and are recorded;
-- timers keep their times, and signals wait in the mailbox.
-- @param ref its id, idempotence key or instance.
-- @tparam[opt] string reason a text.
-- @return whether it is held from here on, also if it waits for its inputs or has no task yet; false if it was before,
--   or has returned. Raises UnexpectedPipelineError if it is none or final.
function methods.hold(self, ref, reason)
  opened.check(self)
  local record = address.record(self, ref, "hold")
  local text_of = reason ~= nil and errors.text(reason) or "on request"
  local ok, code, message = current.store(self):flow_set(record.id, { hold = true, reason = text_of })
  if ok then return true end
  if code == "ESTATE" then return false end
  if code == "EFINAL" then
    errors.raise(errors.UnexpectedPipelineError, "hold of %s: it is final", record.class_path)
  end
  errors.raise_core(code, message, "hold of " .. record.class_path)
end

-- Lets all of a class go on that are held, the newest first. Returns how many.
local function resume_class(self, of, change)
  local store, path, before, count = current.store(self), rawget(of, "class_path"), nil, 0
  repeat
    local ids = errors.check(store:flows_list { held = true, after = before, limit = PAGE })
    for _, id in ipairs(ids) do
      before = id
      local record = errors.read(store:stage_get(id))
      if record and record.class_path == path and store:flow_set(id, change) then count = count + 1 end
    end
  until #ids < PAGE
  return count
end

--- Lets a durable function that is held go on: with the code of now, from where its journal ends.
-- @param ref its id, idempotence key or instance; or a durable class: all of it that are held.
-- @tparam[opt] table given retry = true: if it is held since the error of a step has left run (`on_error = "hold"`),
--   that step is tried again, with all its attempts.
-- @return whether it goes on; false if it was not held; of a class how many go on. Raises UnexpectedPipelineError if it
--   is none or final.
function methods.resume(self, ref, given)
  opened.check(self)
  given = options.check(given, resume_kinds, 2, "resume")
  local change = { resume = true, reason = given.retry and "retry" or nil }
  if class.is(ref) and ref.durable then return resume_class(self, ref, change) end
  local record = address.record(self, ref, "resume")
  local ok, code, message = current.store(self):flow_set(record.id, change)
  if ok then return true end
  if code == "ESTATE" then return false end
  if code == "EFINAL" then
    errors.raise(errors.UnexpectedPipelineError, "resume of %s: it is final", record.class_path)
  end
  errors.raise_core(code, message, "resume of " .. record.class_path)
end

local signal_kinds = { key = "any", start = "table" }

-- Whom a signal is for, as the store takes it.
local function address_of(self, ref, item, start)
  if instance.is(ref) and ref._id then
    item.stage = ref._id
  elseif type(ref) ~= "string" then
    bad_type(1, "signal", "id, idempotence key or started pipeline", ref)
  elseif start then
    if not instance.is(start) or start._id or start._spawned or not start.class.durable then
      bad_option(4, "signal", "start", "a durable function that is not started expected")
    end
    local stage = instance.root_stage(start, self, { idempotence_key = ref })
    item.idempotence, item.start = stage.key, { stage }
  else
    local record = keys.find(self, ref)
    item.stage = record and record.id
  end
  return item
end

--- Sends a durable function a signal. It is kept until a wait of that name takes it (self:wait_event, self:event,
-- self:select), also if it waits for it only later, or has not begun.
-- @param ref its id, idempotence key or instance. @tparam string name of the signal. @param payload any value that can
--   be stored.
-- @tparam[opt] table given key (a signal with a key that the run has had already is not delivered again), start (a
--   durable function that is started, with `ref` as its idempotence key and with the signal, if there is none).
-- @return true: it is on disk; false and "final", or "not_found": nothing was stored. Inside engine:transaction it is
--   sent with that. Raises LimitError when the mailbox of the run is full, SerializationError.
function methods.signal(self, ref, name, payload, given)
  opened.check(self)
  current.refuse_in_body("a signal")
  given = options.check(given, signal_kinds, 4, "signal")
  address.check_name(name, 2, "signal")
  local bytes = address.encode(payload)
  local key = address.check_key(given.key, 4, "signal")
  local item = address_of(self, ref, { name = name, key = key, value = bytes, kind = "signal" }, given.start)
  if not (item.stage or item.idempotence) then return false, "not_found" end
  local results, code, problem = current.store(self):signal { item }
  if not results then errors.raise_core(code, problem, "signal") end
  local result = results[1]
  if result == "OK" or result == "EEXISTS" then return true end
  if result == "ENOTFOUND" then return false, "not_found" end
  if result == "EFINAL" then return false, "final" end
  if result == "ELIMIT" then
    errors.raise(errors.LimitError, "signal %q: the mailbox of %s is full: 10,000 signals, or 16 MiB of them, wait " ..
      "to be taken; send it again when it has taken some", name, tostring(ref))
  end
  errors.raise(errors.UnexpectedPipelineError, "signal: %s is no durable function", tostring(ref))
end

local function error_text(bytes)
  local of, message = values.describe_error(bytes)
  return ("%s: %s"):format(of, message)
end

-- How far a step that is at work, or is to be tried again, has said that it got.
local function add_progress(entry, item)
  local told = item.kind == "step" and progress.told(item.value)
  if not told then return end
  local ok, value = pcall(core.decode, told.details)
  entry.details, entry.beat = ok and text.of(value) or "?", told.at
end

local function shown(self, item)
  local name, key = item.name, nil
  if item.nth == 0 then name, key = item.name:match("^(.-)@(.*)$") end
  local entry = {
    seq = item.seq, done = item.done, kind = item.kind, state = item.state, path = item.path or "", name = name,
    nth = item.nth, key = key, line = item.line, opened = item.opened, closed = item.closed, attempt = item.attempt,
    due = item.due, stage = item.kind == "child" and item.ref and self:_id_text(item.ref) or nil,
  }
  if not item.value then return entry end
  if item.state == "open" or item.state == "again" then add_progress(entry, item) end
  if item.state == "failed" or item.state == "again" then
    entry.error = error_text(item.value)
  elseif item.state == "ok" then
    local ok, list, n = pcall(values.decode, item.value)
    if ok and item.kind == "child" or item.kind == "slot" then n = 1 end
    entry.value = ok and text.of_list(list, n) or "?"
  end
  return entry
end

local function known(flow)
  return {
    era = flow.era, first = flow.first, last = flow.next - 1, bytes = flow.bytes, signals = flow.mails,
    mode = flow.mode, reason = (flow.mode == "held" or flow.mode == "suspended") and flow.reason or nil,
  }
end

local kinds = { after = "any", limit = "count" }

--- The journal of a durable function: what it has asked for, in that order.
-- @param ref its id, idempotence key or instance.
-- @tparam[opt] table given after (the seq of the last entry of the page before; 0), limit (100, at most 1000).
-- @return list of { seq, done (order in which it was delivered; absent: not yet), kind ("step", "timer", "child",
--   "slot" ...), state ("open", "ok", "failed", "cancelled", "again": a step that is to be tried again), path (of its
--   branch), name, nth, key, line, opened, closed, attempt, due, value (results in short), error, stage (id of a
--   child), details (of the last heartbeat of a step that has not ended, in short), beat (when that was) }; and what is
--   known of the run besides: { era, first, last (seq of the first and the last entry of its era), bytes, signals (how
--   many wait to be taken), mode ("begun", "suspended", "held", "over"), reason (held: why; suspended: what it waits
--   for, in words) }; nil when the journal is not kept any more.
function methods.get_journal(self, ref, given)
  opened.check(self)
  given = options.check(given, kinds, 2, "get_journal")
  local record = address.record(self, ref, "get_journal")
  local store = current.store(self, true)
  local flow, entries, message = store:journal_get(record.id, {
    after = given.after or 0, limit = math.min(given.limit or LIMIT, LIMIT_MAX),
  })
  if not flow and entries then errors.raise_core(entries, message) end
  local list = {}
  for i, item in ipairs(flow and entries or {}) do list[i] = shown(self, item) end
  return list, flow and known(flow) or nil
end

return methods
