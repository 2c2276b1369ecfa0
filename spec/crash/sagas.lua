--- sagas.lua: what the log of a crash run tells of durable functions that undo what they did, and what of it must never
-- be. The lines are those of flows.lua.
--
-- Invariants:
--   * what is done is done once, and so is what is undone, but for those whose process was killed, or stood still;
--   * of one that was aborted everything that was done is undone, what was done last first; of any other nothing is,
--     but what its child did;
--   * one whose abort was acknowledged ends so.

local sagas = {}

local Sagas = {}
Sagas.__index = Sagas

--- An empty one.
function sagas.new()
  return setmetatable({ found = {}, all = {}, excused = {}, results = {}, aborted = {}, lines = 0, undone = 0 }, Sagas)
end

function Sagas:fail(...)
  self.found[#self.found + 1] = string.format(...)
end

local function note(self, verb, saga, label, step, pid)
  local of = self.all[saga] or { acted = {}, undid = {}, by = {} }
  self.all[saga] = of
  self.lines = self.lines + 1
  local before = of.by[step]
  if before and not (self.excused[before] or self.excused[pid]) then
    self:fail("%s %s of %s by %s after %s had done it", verb, label, saga, pid, before)
  end
  of.by[step] = pid
  of[verb][label] = of[verb][label] or self.lines
end

--- Reads a line of the log; whether it is one of these.
function Sagas:read(verb, ...)
  if verb == "acted" or verb == "undid" then
    note(self, verb, ...)
    return true
  end
  local what, value = ...
  if verb == "kill" or verb == "stop" then self.excused[what] = true end
  if verb == "result" then self.results[what] = value end
  if verb == "aborted" then self.aborted[what] = true end
  return false
end

local function check_order(self, saga, of)
  for label, at in pairs(of.acted) do
    for other, later in pairs(of.acted) do
      local a, b = of.undid[label], of.undid[other]
      if label ~= "part" and other ~= "part" and at < later and a and b and a < b then
        self:fail("%s: %s was undone before %s, which was done after it", saga, label, other)
      end
    end
  end
end

local function check(self, saga, of)
  local is_aborted = self.results[saga] == "aborted"
  for label, at in pairs(of.acted) do
    local undone = of.undid[label]
    if undone then self.undone = self.undone + 1 end
    if undone and undone < at then self:fail("%s: %s was undone before it was done", saga, label) end
    if is_aborted and not undone then self:fail("%s was aborted, and %s was never undone", saga, label) end
    if undone and not is_aborted and label ~= "part" then self:fail("%s: %s was undone", saga, label) end
  end
  if is_aborted then check_order(self, saga, of) end
  if self.aborted[saga] and not is_aborted then
    self:fail("%s: its abort was acknowledged, and it ends with %s", saga, tostring(self.results[saga]))
  end
end

--- What is wrong at the end. `undone`: how much was undone.
function Sagas:finish()
  for saga, of in pairs(self.all) do
    if self.results[saga] then check(self, saga, of) end
  end
  return self.found
end

return sagas
