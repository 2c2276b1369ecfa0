--- flow/patch.lua: guards of changed code: whether a run goes the new way.
--
-- A run that reaches a guard for the first time while it does something new goes the new way, and an entry says so from
-- then on. One that reaches it in a replay, and has no such entry, has passed it with the old code: it goes the old
-- way. The answer of a run is the same wherever it asks, for as long as its journal is.

local place = require "pipeline.support.place"
local recorded = require "pipeline.flow.recorded"

local patch = {}

--- The answer for the running branch.
-- @param machine of the body. @tparam string id of the guard. @tparam boolean is_deprecated all go the new way: the
-- entry
--   is taken note of, and not made.
function patch.ask(machine, id, is_deprecated)
  machine:check_call("self:patched")
  machine.patches = machine.patches or {}
  local known = machine.patches[id]
  if known ~= nil then return known end
  local op = recorded.take(machine, recorded.series(machine, "", "patch", id), 1)
  local answer = true
  if op then
    machine.count = machine.count + 1
  elseif not is_deprecated then
    answer = not machine.replaying or machine.unasked == 0 and machine.left == 0
    if answer then machine:mark("patch", id).line = place.here() end
  end
  machine.patches[id] = answer
  return answer
end

return patch
