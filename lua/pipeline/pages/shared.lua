--- shared.lua: answers that several pages ask for at the same time are made once.
--
-- Ten pages that hear of a change ask the same ten times. An answer is given to all who ask within a second, also to
-- those who come while it is being made. Whoever gets one that a change has overtaken is told to ask again.
--
--   (none) ──ask──► making ──made──► there ──a second, or an act──► (none)
--                     │ whoever makes it has left or failed: the next of those who wait makes it

local shared = {}

local SECONDS = 1
local ANSWERS_MAX = 100

local Shared = {}
local meta = { __name = "pipeline.PagesShared", __index = Shared }

--- Makes the shared answers of a site. `core`: of its engine.
function shared.new(core)
  return setmetatable({ core = core, answers = {}, count = 0 }, meta)
end

--- What was answered holds no longer: somebody has acted.
function Shared:forget()
  self.answers, self.count = {}, 0
end

local function is_fresh(self, answer)
  return answer.text and self.core:steady() - answer.at < SECONDS
end

-- Waits until an answer is made; false where that cannot be waited for.
local function wait(self, answer)
  local token = self.core:token()
  if not token then return false end
  table.insert(answer.waiting, token)
  self.core:suspend()
  return true
end

local Making = { __name = "pipeline.PagesMaking" }

function Making.__close(making)
  local answer = making.answer
  answer.is_made = false
  local waiting = answer.waiting
  answer.waiting = {}
  for _, token in ipairs(waiting) do token:wake() end
end

local function make(self, answer, fn)
  local _ <close> = setmetatable({ answer = answer }, Making)
  answer.is_made = true
  local at, changes = self.core:steady(), self.core:facts().changes
  local text = fn()
  answer.text, answer.at, answer.changes = text, at, changes
  return text
end

local function entry(self, key)
  local answer = self.answers[key]
  if answer then return answer end
  if self.count >= ANSWERS_MAX then self:forget() end
  answer = { text = false, at = 0, changes = 0, is_made = false, waiting = {} }
  self.answers[key], self.count = answer, self.count + 1
  return answer
end

--- The answer of that key: a text that fn() makes. Also returns whether a change has overtaken it. Raises what fn does.
function Shared:get(key, fn)
  local answer = entry(self, key)
  while not is_fresh(self, answer) and answer.is_made do
    if not wait(self, answer) then return fn(), false end
  end
  if not is_fresh(self, answer) then return make(self, answer, fn), false end
  return answer.text, answer.changes ~= self.core:facts().changes
end

return shared
