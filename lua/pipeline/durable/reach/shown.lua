--- durable/reach/shown.lua: what a run shows and sends to the outside: values, streams, answers of updates, signals.
--
-- None of it has an entry in the journal: it is written with the next commit of the run, whatever that is for. So what
-- the body says in a replay was committed, at the latest, with the entry that comes behind it, and is left out. What it
-- says behind the last one may have been committed, or not: it is written again, and the store leaves out what is there
-- already, for each chunk has its number among those of its source, and each signal a key.
--
-- Fields of a run's `shown`: answers, values, chunks, mails (lists, to be written), any (whether there is something in
-- one of them), counts (stream -> chunks of the body so far), bytes (stream -> of these), closed (set of streams), full
-- (set of those of which the store has refused chunks), sent (signals so far).

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local waiting = require "pipeline.workflow.waiting"

local shown = {}

local LISTS <const> = { "answers", "values", "chunks", "mails" }
local CHUNKS_MAX <const>, STREAM_BYTES_MAX <const>, CHUNK_BYTES_MAX <const> = 100000, 64 << 20, 2 << 20

local function new()
  return {
    answers = {}, values = {}, chunks = {}, mails = {}, any = false, counts = {}, bytes = {}, closed = {}, full = {},
    sent = 0,
  }
end

--- What a run shows that has shown nothing yet: it is that of all of these, and never changed.
shown.NOTHING = new()

-- That of a run that is about to show something.
local function own(run)
  if run.shown == shown.NOTHING then run.shown = new() end
  return run.shown
end

--- Whether what the body says now may not have been committed in an earlier life.
function shown.is_new(run)
  if run.reads_only then return false end
  local body = run.machine
  return body:is_fresh() or body.passes_over or run.flow.forked_from ~= nil
end

-- ---- what the body says --------------------------------------------------------------------------------------------

local function add(run, list, item)
  list[#list + 1] = item
  run.shown.any, run.has_more = true, true
end

--- Encodes a value that is shown. Raises SerializationError and LimitError.
function shown.encode(value, what)
  local bytes, inputs, message = core.encode_value(value, what)
  if not bytes then errors.raise_core(inputs, message) end
  if inputs and #inputs > 0 then
    errors.raise(errors.SerializationError, "%s: a future of a pipeline; await it, and show its value", what)
  end
  if #bytes > CHUNK_BYTES_MAX then
    errors.raise(errors.LimitError, "%s: %d bytes, and at most %d can be shown", what, #bytes, CHUNK_BYTES_MAX)
  end
  return bytes
end

--- A value of that name is to be shown.
function shown.set_value(run, name, bytes)
  if not shown.is_new(run) then return end
  local list = own(run).values
  for i, other in ipairs(list) do
    if other.name == name then
      list[i].value = bytes
      return
    end
  end
  add(run, list, { name = name, value = bytes })
end

-- The source of what the body writes in this era.
local function source_of(run)
  return "~" .. run.flow.era
end

--- Raises where one source has written more into a stream than there may be.
function shown.check_room(name, count, bytes)
  if count <= CHUNKS_MAX and bytes <= STREAM_BYTES_MAX then return end
  errors.raise(errors.LimitError, "stream %q is full: it can have %d chunks and %d bytes", name, CHUNKS_MAX,
    STREAM_BYTES_MAX)
end

--- The body writes into a stream; bytes nil: it closes it.
function shown.write(run, name, bytes)
  local self = own(run)
  if self.closed[name] then
    if not bytes then return end
    errors.raise(errors.WorkflowError, "stream %q was closed before", name)
  end
  local k, total = (self.counts[name] or 0) + 1, (self.bytes[name] or 0) + #(bytes or "")
  if bytes then shown.check_room(name, k, total) else self.closed[name] = true end
  self.counts[name], self.bytes[name] = k, total
  if not shown.is_new(run) then return end
  add(run, self.chunks, { stream = name, source = source_of(run), k = k, value = bytes })
end

--- A signal is to be sent to another run; `mail`: as the store takes it. One without a key gets that of its place in
-- this run.
function shown.send(run, mail)
  local self = own(run)
  self.sent = self.sent + 1
  local body = run.machine
  if run.reads_only or not (body.passes_over or body:is_fresh()) then return end
  mail.key = mail.key or ("%s~%d.%d"):format(run.self.id, run.flow.era, self.sent)
  add(run, self.mails, mail)
end

--- An update is answered: `reply` is "ok", "failed" or "refused".
function shown.answer(run, mail, reply, bytes)
  add(run, own(run).answers, { mail = mail, reply = reply, value = bytes })
end

-- ---- what steps at work say ----------------------------------------------------------------------------------------

--- A step writes into a stream, as the k-th time.
function shown.write_of_step(run, name, source, k, bytes)
  if run.shown.full[name] then
    errors.raise(errors.LimitError, "stream %q is full, or was closed", name)
  end
  add(run, own(run).chunks, { stream = name, source = source, k = k, value = bytes })
end

-- ---- writing -------------------------------------------------------------------------------------------------------

--- Whether there is anything to be written.
function shown.has_any(run)
  return run.shown.any
end

--- Puts what is to be written into the JOURNAL for the store.
function shown.collect(run, given)
  local self = run.shown
  if not self.any then return end
  self.any = false
  for _, name in ipairs(LISTS) do
    if self[name][1] then given[name], self[name] = self[name], {} end
  end
end

--- It was not written: it is to be with the next commit.
function shown.put_back(run, given)
  local self = run.shown -- its own, where there is anything to put back
  for _, name in ipairs(LISTS) do
    local before = given[name]
    if before then
      self[name], self.any = table.move(self[name], 1, #self[name], #before + 1, before), true
    end
  end
end

--- It was written: whoever waits for it here hears of that. `refused`: set of streams that have taken no more, or nil.
function shown.wrote(run, given, refused)
  if not given then return end
  if given.answers or given.values or given.chunks then waiting.told(run.engine) end
  if type(refused) ~= "table" then return end
  for name in pairs(refused) do
    if not run.shown.full[name] then
      run.shown.full[name] = true
      run.engine:_log(30, ("%s %s: stream %q takes no more: it is full, or was closed"):format(run.record.class_path,
        run.self.id, name))
    end
  end
end

return shown
