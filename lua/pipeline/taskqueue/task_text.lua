--- task_text.lua: what a task is, in words: the function and arguments of a deferred call, the URL and parameters of a
-- push. For people who look at dead letters; nothing is called, loaded or resolved for it.

local core = require "pipeline.core"
local text = require "pipeline.support.text"

local task_text = {}

local LENGTH_MAX = 300
local FORM_PREFIX = "deferred/1 "

-- The text item of CBOR at `at`, and where the next one begins; nil: there is none.
local function read_text(bytes, at)
  local head = bytes:byte(at)
  if not head or head < 0x60 or head > 0x79 then return nil end
  local length, from = head - 0x60, at + 1
  if head == 0x78 then
    length, from = bytes:byte(at + 1), at + 2
  elseif head == 0x79 and #bytes >= at + 2 then
    length, from = string.unpack(">I2", bytes, at + 1), at + 3
  elseif head > 0x77 then
    return nil
  end
  if not length or from + length - 1 > #bytes then return nil end
  return bytes:sub(from, from + length - 1), from + length
end

-- Form and name of a stored call, as far as they can be read without decoding the rest.
local function read_name(bytes)
  local at = (bytes:byte(1) or 0) < 0x98 and 2 or 3
  local form, behind = read_text(bytes, at)
  if not form or form:sub(1, #FORM_PREFIX) ~= FORM_PREFIX then return nil end
  return form:sub(#FORM_PREFIX + 1), read_text(bytes, behind)
end

local function call_text(bytes)
  local form, name = read_name(bytes)
  if not form then return ("an unreadable call of %d bytes"):format(#bytes) end
  local list, n = core.decode_list(bytes, nil, true)
  if not list then return ("%s(... %d bytes that cannot be read here)"):format(name or form, #bytes) end
  local target = type(list[2]) == "string" and list[2] or text.of(list[2], 100)
  local first = 3
  if form == "method" or form == "static" then
    target, first = ("%s:%s"):format(target, text.short(tostring(list[3]))), 4
  end
  return ("%s(%s)"):format(target, text.of_list({ table.unpack(list, first, n) }, n - first + 1))
end

local function payload_text(payload)
  if not payload or payload == "" then return "" end
  if utf8.len(payload) and not payload:find("%c") then return " " .. text.short(payload) end
  return (" (%d bytes)"):format(#payload)
end

--- What the task is, in at most 300 bytes.
function task_text.of(task)
  local kind, words = task._kind
  if kind == "deferred" then
    words = call_text(task.payload or "")
  elseif kind == "callback" then
    words = "callback " .. text.of(task.params, LENGTH_MAX)
  elseif kind == "pull" then
    words = "PULL" .. (task.tag and " tag " .. text.short(task.tag) or "") .. payload_text(task.payload)
  else
    words = ("%s %s%s"):format(task.method, task.url or "", payload_text(task.payload))
  end
  if #words <= LENGTH_MAX then return words end
  return words:sub(1, LENGTH_MAX - 3) .. "..."
end

return task_text
