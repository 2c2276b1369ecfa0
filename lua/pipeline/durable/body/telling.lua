--- durable/body/telling.lua: what a body shows to the outside and sends to others. All of it leaves with the next
-- commit of the run, once, whatever is replayed.

local address = require "pipeline.durable.reach.address"
local calls = require "pipeline.durable.body.calls"
local options = require "pipeline.support.options"
local shown = require "pipeline.durable.reach.shown"
local bad_type = require("pipeline.support.place").bad_type

local telling = {}

local methods = {}

--- Shows a value: engine:get_value(ref, name) gives it, from the next commit on, also when the run is over. Of several
-- between two commits the last one counts.
-- @tparam string name of 1 to 200 bytes. @param value any value that can be stored.
function methods.set_value(self, name, value)
  local run = calls.run_of(self, "set_value")
  address.check_name(name, 1, "set_value")
  shown.set_value(run, name, shown.encode(value, ("value %q"):format(name)))
end

local Stream = { __name = "pipeline.Stream", __unserializable = "a stream of a durable function" }
Stream.__index = Stream

--- Appends a value to the stream.
function Stream.write(self, value)
  local run = calls.run_of(self.of, "stream")
  shown.write(run, self.name, shown.encode(value, ("chunk of stream %q"):format(self.name)))
end

--- Ends the stream: whoever reads it comes to its end.
function Stream.close(self)
  shown.write(calls.run_of(self.of, "stream"), self.name, nil)
end

--- A stream, which engine:read_stream reads while it grows and afterwards: its methods are write(value) and close().
-- Each write is there once, in the order of the writes. It lives on over continue_as_new, and ends with the run.
-- @tparam string name of 1 to 200 bytes.
-- @return the stream. Its write raises LimitError above 100,000 values, or 64 MiB.
function methods.stream(self, name)
  calls.run_of(self, "stream")
  address.check_name(name, 1, "stream")
  return setmetatable({ of = self, name = name }, Stream)
end

local signal_kinds = { key = "any" }

--- Sends another durable function a signal, with the next commit: see engine:signal. What is sent to one that is over,
-- or that is not there, is dropped.
-- @tparam string id of the other one, or its idempotence key. @tparam string name of the signal. @param payload any
--   value that can be stored.
-- @tparam[opt] table given key (as for engine:signal; default: one of its own).
function methods.signal_to(self, id, name, payload, given)
  local run = calls.run_of(self, "signal_to")
  given = options.check(given, signal_kinds, 4, "signal_to")
  if type(id) ~= "string" then
    bad_type(1, "signal_to", "id or idempotence key of a pipeline", id)
  end
  local number = self._engine._core:id_parse(id)
  address.check_name(name, 2, "signal_to")
  shown.send(run, {
    stage = number or nil, idempotence = not number and id or nil, name = name, kind = "signal",
    key = address.check_key(given.key, 4, "signal_to"), value = address.encode(payload),
  })
end

telling.methods = methods

return telling
