--- durable/reach/progress.lua: what the function of a step tells while it is at work: heartbeats, and chunks of
-- streams.
--
-- Details of a heartbeat are kept in the entry of the step, at most once a second, and with each attempt that fails;
-- the next attempt, in whatever process, finds the last ones. Chunks are committed as soon as the run has its turn, and
-- with the result of the step; the k-th of a step is there once, whatever attempt has written it.
--
-- Fields of an operation: details (encoded, of the last heartbeat), beat_at (steady time from which on they are
-- written; false: they are).

local core = require "pipeline.core"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local shown = require "pipeline.durable.reach.shown"

local progress = {}

local BETWEEN_SECONDS <const> = 1.0

local Progress = {}
Progress.__index = Progress

-- The attempt may have ended without the function's knowing: it was cancelled, its time was up, its claim is lost.
local function check_at_work(self, what)
  if self.run.steps.at_work[self.op] == self.attempt and not self.run.context.over then return end
  errors.raise(errors.CancelledError, "%s of step %q: its attempt is over", what, self.op.name)
end

--- The function of the step is at work, and got as far as `details`.
function Progress.heartbeat(self, details)
  check_at_work(self, "heartbeat")
  local run, op, attempt = self.run, self.op, self.attempt
  local bytes = shown.encode(details, ("details of step %q"):format(op.name))
  if attempt.alive then attempt.alive() end
  if bytes == op.details then return end
  op.details = bytes
  if op.beat_at then return end
  op.beat_at = math.max(run.engine._core:steady(), self.next_at)
  self.next_at = op.beat_at + BETWEEN_SECONDS
  entry.own(run, "beats")[op] = true
  run:wake()
end

-- Most steps write nothing.
local function begin_writing(self)
  local op = self.op
  self.counts, self.bytes = {}, {}
  self.source = ("~%d%s/%s"):format(self.run.flow.era, op.path, entry.label(op))
end

local Stream = { __name = "pipeline.Stream", __unserializable = "a stream of a durable function" }
Stream.__index = Stream

--- Appends a value to the stream.
function Stream.write(self, value)
  local of, name = self.of, self.name
  check_at_work(of, ("stream %q"):format(name))
  local bytes = shown.encode(value, ("chunk of stream %q"):format(name))
  if not of.source then begin_writing(of) end
  local k, total = (of.counts[name] or 0) + 1, (of.bytes[name] or 0) + #bytes
  shown.check_room(name, k, total)
  of.counts[name], of.bytes[name] = k, total
  shown.write_of_step(of.run, name, of.source, k, bytes)
  of.run:wake()
end

--- A stream of the run, for the function of a step.
function Progress.stream(self, name)
  return setmetatable({ of = self, name = name }, Stream)
end

--- What an attempt of a step tells its run. `attempt`: as steps.lua has it; its alive() is called with each heartbeat.
function progress.new(run, op, attempt)
  return setmetatable({ run = run, op = op, attempt = attempt, next_at = 0.0, source = false }, Progress)
end

-- ---- the run -------------------------------------------------------------------------------------------------------

--- When the next details are to be written, by the steady clock; nil: none are.
function progress.due(run)
  local due
  for op in pairs(run.beats) do
    if op.done or op.state ~= "open" then run.beats[op], op.beat_at = nil, false end
    if op.beat_at and not (due and due <= op.beat_at) then due = op.beat_at end
  end
  return due
end

--- Has the details that are due written with the next commit.
function progress.note(run)
  local now = next(run.beats) and run.engine._core:steady()
  for op in pairs(run.beats) do
    if op.done or op.state ~= "open" then
      run.beats[op], op.beat_at = nil, false
    elseif op.beat_at <= now then
      run.beats[op], op.beat_at = nil, false
      op.value = core.encode_value({ details = op.details, at = run.engine._core:now() }, "details")
      run.machine:touch(op)
    end
  end
end

--- A step that was recorded and has not ended begins: takes what its last attempt has told.
function progress.take(op)
  local told = op.value and progress.told(op.value)
  op.details = told and told.details or op.details or false
end

--- What the last attempt of a step that has not ended has told: { details (encoded), at (seconds since the epoch, of
-- the heartbeat; nil: not known) }; nil: nothing. `bytes`: the value of its entry.
function progress.told(bytes)
  local record = bytes and core.decode(bytes)
  if type(record) ~= "table" or type(record.details) ~= "string" then return nil end
  return { details = record.details, at = tonumber(record.at) }
end

--- The details of the last heartbeat of a step, decoded.
function progress.details(op)
  if not op.details then return nil end
  return (core.decode(op.details))
end

return progress
