--- values.lua: arguments and outputs as they are shown: a value that is large, or that cannot be read in this process,
-- becomes a text (G20). Nothing is loaded or called to show it.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local text = require "pipeline.support.text"

local values = {}

local VALUE_BYTES_MAX = 8192
local PREVIEW_BYTES = 1000
local ITEMS_MAX = 20000 -- of a value: reading more takes too long for whoever else waits for the loop

-- A slot inside a value, or in its place.
local SlotMark = {}

local function preview(value, size)
  return ("%s... (%d bytes)"):format(text.of(value, PREVIEW_BYTES):sub(1, PREVIEW_BYTES), size)
end

--- Of what is too long to be looked at: `size` in bytes.
function values.too_long(size)
  return ("(%d bytes)"):format(size)
end

--- A stored value, or a text in its place.
-- @tparam string bytes as the store has it.
function values.shown(bytes)
  local ok, value, code, message = pcall(core.decode, bytes, nil, false, ITEMS_MAX)
  if not ok then return "(cannot be read: " .. errors.text(value) .. ")" end
  if code == "ELIMIT" then return values.too_long(#bytes) end
  if value == nil and code then return "(cannot be read: " .. tostring(message) .. ")" end
  if #bytes > VALUE_BYTES_MAX then return preview(value, #bytes) end
  return value
end

-- One argument in its shape.
local function shown_arg(value, record)
  local large = #record.args > VALUE_BYTES_MAX and #text.of(value, 2 * PREVIEW_BYTES) > PREVIEW_BYTES
  return { type = "value", value = large and preview(value, #record.args) or value }
end

--- The arguments of a stage: a list of { type = "value", value }, and of what `slot` gives for each that is a slot.
-- @tparam table record of the stage.
-- @tparam function slot function(id of a slot): a new table, { type = "slot", ... }.
function values.args(record, slot)
  if not record.args then return { { type = "value", value = values.too_long(record.args_cut) } } end
  local function mark(id) return setmetatable(slot(id), SlotMark) end
  local ok, list, n, message = pcall(core.decode_list, record.args, mark, false, ITEMS_MAX)
  if ok and n == "ELIMIT" then return { { type = "value", value = values.too_long(#record.args) } } end
  if not ok or not list then
    return { { type = "value", value = "(cannot be read: " .. errors.text(ok and message or list) .. ")" } }
  end
  local args = {}
  for i = 1, n do
    local value = list[i]
    args[i] = getmetatable(value) == SlotMark and setmetatable(value, nil) or shown_arg(value, record)
  end
  return args
end

return values
