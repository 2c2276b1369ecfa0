--- flow/divergence.lua: the error of a body that does not ask for what its journal has.
--
-- It names the recorded operation that nobody asks for, with the line that asked for it once, and all that is asked for
-- now instead, with their lines: with both at hand the change of the code is found.

local blocked = require "pipeline.flow.blocked"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"

local divergence = {}

local ASKED_MAX <const> = 10 -- named in the text
local REMEDY = "Guard changed code with self:patched(id), or resume the run with the old code"

local function asked_text(asked, ended)
  local named = {}
  for i = 1, math.min(#asked, ASKED_MAX) do named[i] = entry.words(asked[i]) end
  if #asked > ASKED_MAX then named[#named + 1] = ("and %d more"):format(#asked - ASKED_MAX) end
  if #named > 0 then return "but the function now asks for " .. table.concat(named, ", ") end
  if ended and ended.ok then return "but the function now returns without asking for it" end
  if ended then
    local _, message = errors.describe(ended.caught)
    return "but the function now raises an error before it asks for it: " .. message
  end
  return "but the function now waits without asking for it"
end

local function new(recorded, position, what, lines)
  return errors.NondeterminismError(("entry %d of the journal is %s, %s. Nothing was executed. %s"):format(
    position, entry.words(recorded), what, REMEDY), {
    recorded = entry.words(recorded), asked = lines, position = position, where = false, traceback = "",
  })
end

--- The error; `recorded` is the operation nobody asks for, the entry at `position`, `asked` a list of those that are
-- asked for and not recorded, `ended` the future of run if it has returned or raised.
function divergence.new(recorded, position, asked, ended)
  local fresh = {}
  for _, op in ipairs(asked) do
    if not op.is_stored then fresh[#fresh + 1] = op end
  end
  local lines = {}
  for i, op in ipairs(fresh) do lines[i] = entry.words(op) end
  return new(recorded, position, asked_text(fresh, ended), lines)
end

--- The error where an earlier life has cancelled what this one has not, so that it will never come.
function divergence.of_cancelled(recorded, position, ended)
  local what = blocked.has_waiter(recorded) and "waits for it" or ended and ended.ok and
    "returns without cancelling it" or "goes on without cancelling it"
  return new(recorded, position, "which was cancelled, but the function now " .. what, {})
end

return divergence
