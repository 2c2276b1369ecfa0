--- mails.lua: what the log of a crash run tells of durable functions, and what of it must never be. The lines are those
-- of flows.lua.
--
-- Invariants:
--   * a step has its effect once, but for those whose process was killed, or stood still, before it was recorded;
--   * a note that was acknowledged is taken once, or is still there at the end; one that was not may be;
--   * what a transaction of a step has inserted is there once;
--   * nobody waits for what is there (check.lua).

local mails = {}

local Mails = {}
Mails.__index = Mails

--- An empty one.
function mails.new()
  return setmetatable({
    found = {}, effects = {}, notes = {}, excused = {}, flows = {}, effects_count = 0, again = 0, taken = 0,
  }, Mails)
end

function Mails:fail(...)
  self.found[#self.found + 1] = string.format(...)
end

local function note_of(self, flow, what)
  local note = self.notes[what] or { flow = flow, what = what }
  self.notes[what] = note
  return note
end

-- Whoever was at the same before must be dead, or have stood still.
local function check_again(self, what, before, pid)
  if before == nil then return end
  self.again = self.again + 1
  if not (self.excused[before] or self.excused[pid]) then
    self:fail("%s by %s after %s had done it", what, pid, before)
  end
end

local readers = {}

function readers.effect(self, flow, step, pid)
  check_again(self, ("effect %s of %s"):format(step, flow), self.effects[step], pid)
  self.effects[step], self.flows[flow] = pid, true
  self.effects_count = self.effects_count + 1
end

function readers.willnote(self, flow, what) note_of(self, flow, what).tried = true end
function readers.noted(self, flow, what) note_of(self, flow, what).acked = true end

function readers.took(self, flow, what, step, pid)
  local note = note_of(self, flow, what)
  if not note.tried or note.flow ~= flow then self:fail("%s has taken %s, which was not sent to it", flow, what) end
  if note.step and note.step ~= step then
    self:fail("%s was taken twice: by %s and %s", what, note.step, step)
  end
  check_again(self, ("step %s of %s"):format(step, flow), note.pid, pid)
  self.taken = self.taken + (note.step and 0 or 1)
  note.step, note.pid = step, pid
end

--- Reads a line of the log; whether it is one of these.
function Mails:read(verb, ...)
  if verb == "kill" or verb == "stop" then self.excused[(...)] = true end
  if not readers[verb] then return false end
  readers[verb](self, ...)
  return true
end

--- For sqlite3: the notes that are still there, and what transactions have inserted twice.
mails.left = "SELECT cast(value AS text) FROM pl_mail WHERE name = 'note' AND taken = 0;"

--- What is wrong at the end; `left`: the lines of that.
function Mails:finish(left)
  local there = {}
  for _, line in ipairs(left) do
    local what = line:match("note%-%d+%-%d+%.")
    if what then
      if there[what] then self:fail("%s is there twice", what) end
      there[what] = true
    end
  end
  for what, note in pairs(self.notes) do
    if note.step and there[what] then self:fail("%s was taken, and is there", what) end
    if note.acked and not (note.step or there[what]) then
      self:fail("%s was acknowledged, and is lost: %s", what, note.flow)
    end
  end
  return self.found
end

return mails
