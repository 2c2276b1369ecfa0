--- refusal.lua: what a schedule is told when the store says no: not now, or never.
--
-- What passes by itself (a full disk, a lost connection, no memory) is no fault of any schedule: nothing is given up,
-- and all that is due is tried again. Whatever else is refused would be refused each time: it concerns the one schedule
-- that asked for it, and none of the others.

local errors = require "pipeline.support.errors"
local text = require "pipeline.support.text"

local refusal = {}

-- The store, the machine or the engine is at fault: the same op may be taken later.
local passing = {}
for code in ("ENOMEM EIO EFULL ECORRUPT ENOTDB ENEWER EREADONLY EBUSY ECLOSED ETIMEDOUT EABORTED EFORK EOTHER EOVER "
  .. "EGONE ESCHEMA EINTR EAGAIN ELOST"):gmatch("%u+") do
  passing[code] = true
end

--- Whether an error that was raised is one that passes.
function refusal.passes(problem)
  if problem == "not enough memory" then return true end
  return type(problem) == "table" and passing[rawget(problem, "code")] or false
end

--- Whether there is no use in trying the other schedules before a while has passed: the store takes nothing. One
-- unexpected failure says nothing of the others.
function refusal.is_outage(problem)
  return refusal.passes(problem) and not (type(problem) == "table" and rawget(problem, "code") == "EOTHER")
end

--- Calls a method of the store that writes. Returns true: it is done; false: another process was first; or nil and the
-- problem: it is refused for good. Raises what passes.
function refusal.ask(store, method, ...)
  local ok, result, code, message = pcall(store[method], store, ...)
  if not ok then
    if refusal.passes(result) then error(result, 0) end
    return nil, result
  end
  if result then return true end
  if result == false or code == "ESTALE" or code == "ENOTFOUND" then return false end
  if passing[code] then errors.raise_core(code, message, method) end
  return nil, message or code
end

--- One short line that says what the matter is: for the note of a schedule.
function refusal.note(problem)
  return text.short((errors.text(problem):gsub("%c+", " ")))
end

return refusal
