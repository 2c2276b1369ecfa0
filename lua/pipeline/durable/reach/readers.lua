--- durable/reach/readers.lua: what durable functions show and answer, for whoever is outside: methods of the engine.
--
-- Who waits looks when a run of this process has written, when others on the file have, and when the run is over;
-- between that nothing is looked at.

local address = require "pipeline.durable.reach.address"
local current = require "pipeline.current"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local values = require "pipeline.durable.values"
local waiting = require "pipeline.workflow.waiting"
local bad_option = require("pipeline.support.place").bad_option

local methods = {} -- of the engine

local PAGE <const> = 100

local function read(engine, id, what)
  local found, code, message = current.store(engine, true):shown_get(id, what)
  if not found and code then errors.raise_core(code, message) end
  return found
end

local function decode(bytes)
  local value, code, message = core.decode(bytes)
  if value == nil and code then errors.raise_core(code, message) end
  return value
end

--- A value that a durable function shows (self:set_value).
-- @param ref its id, idempotence key or instance. @tparam string name
-- @return the value, as it is now or was at the end; nil: none of that name was set.
function methods.get_value(self, ref, name)
  opened.check(self)
  local record = address.record(self, ref, "get_value")
  address.check_name(name, 2, "get_value")
  local found = read(self, record.id, { name = name })
  if not (found and found.value) then return nil end
  return decode(found.value)
end

-- What is listed, with its time; `size`: in bytes.
local function value_of(item)
  local listed = { name = item.name, time = item.time, size = item.size }
  if item.value then
    listed.value = decode(item.value)
  else
    listed.too_large = true
  end
  return listed
end

--- The values that a durable function shows (self:set_value): as they are now, or were at the end.
-- @param ref its id, idempotence key or instance.
-- @return list of { name, value, time (when it was set), size (bytes as it is stored), too_large = true (in place of
--   the value, where it is larger than 64 KiB: get_value has it) }, by their names; 100 of them at most.
function methods.get_values(self, ref)
  opened.check(self)
  local record = address.record(self, ref, "get_values")
  local found, list = read(self, record.id, { names = true }), {}
  for i, item in ipairs(found and found.values or {}) do list[i] = value_of(item) end
  return list
end

-- ---- streams -------------------------------------------------------------------------------------------------------

local stream_kinds = { offset = "any", wait = "boolean", timeout = "duration" }

local function check_offset(offset)
  if offset == nil then return 0 end
  if math.type(offset) == "integer" and offset >= 0 then return offset end
  bad_option(3, "read_stream", "offset", "a whole number from 0 on expected")
end

-- The next page: a list of chunks; an empty one: there is no more.
local function next_page(self, id, name, offset, given)
  local function look()
    local found = read(self, id, { stream = name, from = offset, limit = PAGE })
    return found and found.chunks[1] and found.chunks or nil
  end
  if given.wait == false then return look() or {} end
  return waiting.shown(self, id, given.timeout, look, ("stream %q"):format(name)) or {}
end

--- Reads a stream of a durable function (self:stream), while it grows and afterwards.
-- @param ref its id, idempotence key or instance. @tparam string name
-- @tparam[opt] table given offset (0: of the first value that is wanted), wait (true; false: ends with what is there),
--   timeout (seconds that the next value may take, TimeoutError; default: for ever).
-- @return iterator of offset, value; for a reader that goes on later the offset of the last one plus 1 is where. It
--   ends when the stream is closed, or the run is over.
function methods.read_stream(self, ref, name, given)
  opened.check(self)
  current.refuse_in_body("reading a stream")
  given = options.check(given, stream_kinds, 3, "read_stream")
  local offset = check_offset(given.offset)
  local id = address.record(self, ref, "read_stream").id
  address.check_name(name, 2, "read_stream")
  local page, at, is_over = {}, 0, false
  return function()
    if is_over then return nil end
    at = at + 1
    if not page[at] then page, at = next_page(self, id, name, offset, given), 1 end
    local chunk = page[at]
    if not (chunk and chunk.value) then
      is_over = true
      return nil
    end
    offset = chunk.n + 1
    return chunk.n, decode(chunk.value)
  end
end

local TAIL <const>, TAIL_MAX <const> = 10, 100
local tail_kinds = { tail = "integer" }

local function tail_of(self, id, stream, count)
  local tail = {}
  if count == 0 or stream.count == 0 then return tail end
  local found = read(self, id, { stream = stream.name, from = math.max(0, stream.count - count), limit = count })
  for _, chunk in ipairs(found and found.chunks or {}) do
    if chunk.value then tail[#tail + 1] = { offset = chunk.n, time = chunk.time, value = decode(chunk.value) } end
  end
  return tail
end

--- The streams of a durable function (self:stream), with what was written into each last.
-- @param ref its id, idempotence key or instance.
-- @tparam[opt] table given tail (how many values of each are told, the last ones; default 10, at most 100).
-- @return list of { name, count (of values), time (of the last one), closed = true (it takes no more), tail = list of {
--   offset, value, time } }, by their names; 100 of them at most. A value that has come meanwhile is in `tail`.
function methods.get_streams(self, ref, given)
  opened.check(self)
  given = options.check(given, tail_kinds, 2, "get_streams")
  local count = math.max(0, math.min(given.tail or TAIL, TAIL_MAX))
  local id = address.record(self, ref, "get_streams").id
  local found, list = read(self, id, { names = true }), {}
  for i, stream in ipairs(found and found.streams or {}) do
    list[i] = {
      name = stream.name, count = stream.count, time = stream.time, closed = stream.closed,
      tail = tail_of(self, id, stream, count),
    }
  end
  return list
end

-- ---- updates -------------------------------------------------------------------------------------------------------

local update_kinds = { key = "any", timeout = "duration" }

local function raise_over(name)
  local text = ("update %q was not taken: the run is over"):format(name)
  error(errors.AbortedError(text, { reason = "final", failures = {} }), 0)
end

-- What an answer says.
local function give(found, name)
  if found.reply == "ok" then
    local list, n = values.decode(found.answer)
    return table.unpack(list, 1, n)
  end
  if not found.answer then errors.raise(errors.WorkflowError, "update %q has failed", name) end
  local problem = values.decode_error(found.answer)
  error(problem, 0)
end

-- Sends it. Returns the number of its mail.
local function send(self, id, name, bytes, key)
  local results, numbers, problem = current.store(self):signal {
    { stage = id, name = name, key = key, value = bytes, kind = "update" },
  }
  if not results then errors.raise_core(numbers, problem, "update") end
  local result, number = results[1], numbers[1]
  if (result == "OK" or result == "EEXISTS" or result == "EFINAL") and number > 0 then return number end
  if result == "EFINAL" then raise_over(name) end
  if result == "ELIMIT" then
    errors.raise(errors.LimitError, "update %q: the mailbox of the run is full: send it again when it has taken some",
      name)
  end
  errors.raise(errors.UnexpectedPipelineError, "update %q: the run was deleted", name)
end

--- Has a handler of a durable function (self:on_update) do something, and waits for its answer. It is done once, also
-- if whoever has asked is gone, or its process: with a key whoever asks again gets the same answer, as long as the run
-- goes on.
-- @param ref its id, idempotence key or instance. @tparam string name @param payload any value that can be stored.
-- @tparam[opt] table given key (a text or a whole number), timeout (seconds to wait; the update goes on all the same).
-- @return what the handler has returned; raises what it has raised, UpdateRejectedError (its validator has refused it,
--   or no handler takes it), TimeoutError, AbortedError (the run was over before it was taken), LimitError.
function methods.update(self, ref, name, payload, given)
  opened.check(self)
  current.refuse_in_body("an update")
  opened.outside_transaction(self, "update")
  given = options.check(given, update_kinds, 4, "update")
  address.check_name(name, 2, "update")
  local key, bytes = address.check_key(given.key, 4, "update"), address.encode(payload)
  local id = address.record(self, ref, "update").id
  waiting.refuse_deadlock(self, id)
  local number = send(self, id, name, bytes, key)
  local function look()
    local found = read(self, id, { mail = number })
    return found and found.reply and found.reply ~= "none" and found or nil
  end
  local found = waiting.shown(self, id, given.timeout, look, ("update %q"):format(name))
  if not found then raise_over(name) end
  return give(found, name)
end

return methods
