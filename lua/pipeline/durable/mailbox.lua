--- durable/mailbox.lua: signals that have come to a run, and the waits that take them.
--
-- A signal is kept in the store until a wait of its name takes it: the first signal of a name goes to the first wait of
-- that name. That it was taken, and the entry that has it, are one commit.
--
-- Fields: mails (list of those that were read and are not taken), last (id of the last one read), has_more (the store
-- may have more behind it), waits (name -> list of the operations that wait, in the order in which they were asked
-- for), holds (function(owner, op): it gets nothing for the time being), owner.

local core = require "pipeline.core"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local values = require "pipeline.durable.values"

local mailbox = {}

local LIST_BYTES <const> = 16 -- of a list around a payload

local Mailbox = { mails = entry.NONE, last = 0, has_more = false, waits = entry.NONE }
Mailbox.__index = Mailbox

--- Mails that the store gives at a time.
mailbox.LIMIT = 100

--- Makes an empty one.
function mailbox.new(owner, holds)
  return setmetatable({ owner = owner, holds = holds }, Mailbox)
end

--- What has come, in the order of commits.
function Mailbox.receive(self, mails)
  if not mails then
    self.has_more = false
    return
  end
  for _, mail in ipairs(mails) do
    entry.put(self, "mails", mail)
    if mail.id > self.last then self.last = mail.id end
  end
  self.has_more = #mails >= mailbox.LIMIT
end

--- What was read is read anew: somebody else may have taken of it.
function Mailbox.forget(self)
  self.mails, self.last, self.has_more = entry.NONE, 0, false
end

--- An operation waits for the next signal of its name.
function Mailbox.wait(self, op)
  local waits = entry.own(self, "waits")
  local list = waits[op.name] or {}
  waits[op.name] = list
  list[#list + 1] = op
end

-- The first operation that still waits for that name.
local function first_wait(self, name)
  local list = self.waits[name]
  while list and list[1] and list[1].done do table.remove(list, 1) end
  for _, op in ipairs(list or {}) do
    if not op.done and not self.holds(self.owner, op) then return op end
  end
end

--- The first mail that something waits for, and that operation, or what `handlers` (nil: none) have for it; nil: there
-- is none among those that were read.
function Mailbox.take(self, handlers)
  for i, mail in ipairs(self.mails) do
    local op = mail.kind ~= "update" and first_wait(self, mail.name) or
      handlers and handlers:find(mail)
    if op then
      table.remove(self.mails, i)
      return mail, op
    end
  end
end

--- The names that something waits for, sorted; nil: none.
function Mailbox.wants(self, handlers)
  local names = handlers:signal_names()
  for name in pairs(self.waits) do
    if first_wait(self, name) and not handlers.signal[name] then names[#names + 1] = name end
  end
  table.sort(names)
  return names[1] and names or nil
end

--- The names of signals that nothing has taken, sorted.
function Mailbox.left(self)
  if not self.mails[1] then return entry.NONE end
  local names, met = {}, {}
  for _, mail in ipairs(self.mails) do
    if not met[mail.name] and mail.kind ~= "update" then
      met[mail.name] = true
      names[#names + 1] = mail.name
    end
  end
  table.sort(names)
  return names
end

--- The results of a wait that has taken a signal, encoded.
function mailbox.results(mail)
  local value
  if mail.value then
    local code, message
    value, code, message = core.decode(mail.value)
    if value == nil and code then errors.raise_core(code, message, "payload of signal " .. mail.name) end
  end
  return values.encode({ value }, 1, "payload of signal " .. mail.name, LIST_BYTES)
end

return mailbox
