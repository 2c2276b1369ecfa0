--- address.lua: how people name a pipeline: by its id, by the beginning of it, or by "key:" and its idempotence key.
--
-- The first half of an id is a number that grows with time, so ids with one beginning lie side by side in the store. A
-- beginning that a single root has means that root, whatever is below it; else it must be that of a single stage.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local keys = require "pipeline.workflow.keys"
local text = require "pipeline.support.text"
local bad_type = require("pipeline.support.place").bad_type

local address = {}

local PREFIX_MIN, NUMBER_DIGITS = 6, 16
local NAMED_MAX = 5 -- of those that an ambiguous beginning may mean

-- The least and the greatest number whose 16 hexadecimal digits begin with `digits`; nil: there is none.
local function range_of(digits)
  local first = digits .. ("0"):rep(NUMBER_DIGITS - #digits)
  local last = digits .. ("f"):rep(NUMBER_DIGITS - #digits)
  if first:byte() > ("7"):byte() or not last:find("[^0]") then return nil end -- ids are positive
  return math.max(1, tonumber(first, 16)), tonumber(last, 16)
end

local function texts_of(engine, list, prefix)
  local found = {}
  for _, id in ipairs(list) do
    local shown = engine:_id_text(id)
    if shown:sub(1, #prefix) == prefix then found[#found + 1] = shown end
  end
  return found
end

local function refuse(engine, given, list)
  local named = {}
  for i = 1, math.min(#list, NAMED_MAX) do
    local record = keys.find(engine, list[i])
    named[i] = record and ("%s (%s)"):format(list[i], record.class_path) or list[i]
  end
  errors.raise(errors.PipelineStatusError, "%s is the beginning of several ids: %s%s; give more of it", given,
    table.concat(named, ", "), #list > NAMED_MAX and ", ..." or "")
end

-- The id of which `prefix` is the beginning, or nil.
local function by_prefix(engine, prefix)
  local from, to = range_of(prefix:sub(1, NUMBER_DIGITS))
  if not from then return nil end
  local roots, stages, message = current.store(engine, true):ids_find(from, to, NAMED_MAX + 1)
  if not roots then errors.raise_core(stages, message, "find") end
  roots, stages = texts_of(engine, roots, prefix), texts_of(engine, stages, prefix)
  if #roots == 1 then return roots[1] end
  if #roots > 1 then refuse(engine, prefix, roots) end
  if #stages > 1 then refuse(engine, prefix, stages) end
  return stages[1]
end

--- The id of the pipeline that an address means, and its record; nil: there is none.
-- @tparam string given an id, an idempotence key as "key:KEY", or the first 6 characters of an id or more.
-- Raises PipelineStatusError, naming some, if several pipelines may be meant.
function address.find(engine, given, name)
  if type(given) ~= "string" then
    bad_type(1, name, "string", given)
  end
  local key = given:match("^key:(.+)$")
  local id = key or given
  local record = keys.find(engine, id)
  if record then return record.key or engine:_id_text(record.id), record end
  if key or #given < PREFIX_MIN or given:find("[^0-9a-f]") then return nil end
  id = by_prefix(engine, given)
  record = id and keys.find(engine, id)
  if record then return record.key or id, record end
end

--- As find, but raises PipelineStatusError where there is none.
function address.require(engine, given, name)
  local id, record = address.find(engine, given, name)
  if id then return id, record end
  errors.raise(errors.PipelineStatusError, "there is no pipeline %s", text.short(errors.text(given)))
end

return address
