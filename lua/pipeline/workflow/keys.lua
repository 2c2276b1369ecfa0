--- keys.lua: the names a pipeline is known by: its id, as users see it, and its idempotence key.
--
-- The id of a pipeline with a key is that key. So no key may be an id: one that this store has made is refused, and one
-- that only looks like it (of another store, or the MD5 of something) is kept as its hash, as are those that are no
-- plain names. Files of earlier versions have keys of that form as they were given; these are still found.

local core = require "pipeline.core"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local stores = require "pipeline.support.stores"

local keys = {}

local PLAIN_BYTES_MAX = 500

--- The form in which the store keeps an idempotence key; nil for none.
function keys.of(key)
  if key == nil or key == "" then return nil end
  if #key <= PLAIN_BYTES_MAX and not key:find("[^%w_%-]") and not stores.is_id(key) then return key end
  return core.sha1(key)
end

local function refuse(key, why)
  errors.raise(errors.PipelineExistsError, "the idempotence key '%s' %s", key, why)
end

local function read(store, ref, with_slots)
  return errors.read(store:stage_get(ref, with_slots))
end

--- As keys.of, for a pipeline that is to be started. Raises PipelineExistsError if the key is an id of this store.
function keys.to_start(engine, key)
  if key and stores.is_id(key) then
    if engine._core:id_parse(key) then refuse(key, "is the id of another pipeline") end
    if read(current.store(engine, true), key) then refuse(key, "belongs to a pipeline that exists already") end
  end
  return keys.of(key)
end

--- The record and slots of a pipeline by what users know it by: an id or a key. nil if there is none in this store.
function keys.find(engine, id, with_slots)
  local store = current.store(engine, true)
  local key = keys.of(id)
  if not key then return nil end
  local number = stores.is_id(id) and engine._core:id_parse(id)
  if number then return read(store, number, with_slots) end
  local record, slots = read(store, key, with_slots)
  if record or key == id or not stores.is_id(id) then return record, slots end
  return read(store, id, with_slots)
end

return keys
