--- shared.lua: answers that several pages ask for at the same time are made once.
--
-- Ten pages that hear of a change ask the same ten times. An answer is given to all who ask within a period
-- (pace.lua), also to those who come while it is being made. Whoever gets one that a change has overtaken is told when
-- to ask again.
--
--   (none) ──ask──► making ──made──► there ──a period, or an act──► (none)
--                     │ whoever makes it has left or failed: the next of those who wait makes it

local live = require "pipeline.pages.live"
local pace = require "pipeline.pages.pace"

local shared = {}

local ANSWERS_MAX, BYTES_MAX = 100, 8 << 20

local Shared = {}
local meta = { __name = "pipeline.PagesShared", __index = Shared }

--- Makes the shared answers of a site. `core`: of its engine.
function shared.new(core)
  return setmetatable({ core = core, pace = pace.new(core), answers = {}, count = 0, bytes = 0, acts = 0 }, meta)
end

--- What was answered holds no longer: somebody has acted.
function Shared:forget()
  self.answers, self.count, self.bytes, self.acts = {}, 0, 0, self.acts + 1
end

-- Seconds for which the answer may still be given; nil: it is not there.
local function left(self, answer, key, seconds_max)
  if not answer.text then return nil end
  local period = math.min(self.pace:period(key), seconds_max)
  local seconds = answer.at + period - self.core:steady()
  return seconds > 0 and seconds <= period and seconds or nil
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

-- Keeps it, unless somebody has acted meanwhile.
local function keep(self, answer, text, at, state)
  if self.bytes + #text > BYTES_MAX then self:forget() end
  if answer.acts ~= self.acts then return end
  self.bytes = self.bytes + #text - #(answer.text or "")
  answer.text, answer.at, answer.state = text, at, state
end

local function make(self, answer, key, fn)
  local _ <close> = setmetatable({ answer = answer }, Making)
  answer.is_made = true
  local at, state = self.core:steady(), live.state_of(self.core:facts())
  local text = self.pace:measure(key, fn)
  keep(self, answer, text, at, state)
  return text
end

local function entry(self, key)
  local answer = self.answers[key]
  if answer then return answer end
  if self.count >= ANSWERS_MAX then self:forget() end
  answer = { text = false, at = 0, state = false, is_made = false, waiting = {}, acts = self.acts }
  self.answers[key], self.count = answer, self.count + 1
  return answer
end

--- The answer of that key: a text that fn() makes. Also returns, if a change has overtaken it, the seconds after which
-- there will be a newer one. Raises what fn does.
-- @tparam number seconds_max for which an answer serves at most.
function Shared:get(key, seconds_max, fn)
  local answer = entry(self, key)
  while answer.is_made and not left(self, answer, key, seconds_max) do
    if not wait(self, answer) then return fn() end
  end
  local seconds = left(self, answer, key, seconds_max)
  if not seconds then return make(self, answer, key, fn) end
  return answer.text, answer.state ~= live.state_of(self.core:facts()) and seconds or nil
end

return shared
