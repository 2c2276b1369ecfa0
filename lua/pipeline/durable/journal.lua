--- durable/journal.lua: between the machine of a body and the journal in the store: reading it, and what is written.

local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"

local journal = {}

local mailbox = require "pipeline.durable.mailbox"
local shown = require "pipeline.durable.reach.shown"

local PAGE_ENTRIES <const> = 500
local LISTS <const> = { "children", "starts", "publish", "taken" }
local put, NONE <const> = entry.put, entry.NONE

-- ---- reading -------------------------------------------------------------------------------------------------------

local function read_page(self, after, limit)
  local flow, entries, news = self.core:journal_get(self.record.id, {
    after = after, limit = limit, mail_after = self.mailbox.last, mail_limit = mailbox.LIMIT,
  })
  if flow then return flow, entries, news end
  if entries then errors.raise_core(entries, news) end
  errors.raise(errors.StoreError, "%s has no journal", self.self.id)
end

--- Everything the store has of a run: its flow, the list of its entries, and what has come.
function journal.read(self)
  local flow, entries, news = read_page(self, 0, PAGE_ENTRIES)
  while flow.more do
    local more
    flow, more, news = read_page(self, entries[#entries].seq, PAGE_ENTRIES)
    table.move(more, 1, #more, #entries + 1, entries)
  end
  self.written = flow.bytes
  return flow, entries, news
end

--- What the store has of a run whose body is in this process still: its flow, and what has come, all of it anew; nil:
-- its journal is not the one that this body has written. Whoever writes an entry adds to the bytes of the era, also
-- where the number of entries stays as it was.
function journal.read_again(self)
  self.mailbox:forget()
  local flow, _, news = read_page(self, self.machine.next, 0)
  local is_same = flow.era == self.flow.era and flow.next == self.machine.next and flow.bytes == self.written
  if is_same then return flow, news end
end

--- What has come since, of all that is open; and the flow.
function journal.read_news(self)
  local flow, _, news = read_page(self, self.machine.next, 1)
  return news, flow
end

-- ---- writing -------------------------------------------------------------------------------------------------------

local function taken(list)
  return list[1] and list or nil
end

local function by_seq(a, b)
  return a.seq < b.seq
end

--- Something is to be written with the next commit, beside entries: `item` of the list `name` of a run, which are
-- children, starts, publish and taken.
function journal.add(self, name, item)
  self.has_more = true
  put(self, name, item)
end

--- The same of what there is one of: status, bind.
function journal.set(self, name, value)
  self.has_more = true
  self[name] = value
end

-- Adds that.
local function collect_more(self, given)
  if self.taken[2] then table.sort(self.taken) end
  given.children, given.starts, given.fills = taken(self.children), taken(self.starts), taken(self.publish)
  given.taken, given.status = taken(self.taken), self.status or nil
  shown.collect(self, given)
  local bind = self.bind
  if bind then given.cancel, given.deadline, self.bind = bind.cancel, bind.deadline, false end
  for _, name in ipairs(LISTS) do self[name] = NONE end
  self.status, self.has_more = false, false
end

-- The operations that are to be written, in the order of seq; they are the entries, for their fields have these names.
local function take_writes(self)
  local writes = self.machine:take_writes()
  if writes[2] then table.sort(writes, by_seq) end
  return writes
end

--- What is to be written: the operations, and the JOURNAL for the store; nil if there is nothing, unless `always`.
function journal.collect(self, always)
  local body, more = self.machine, self.has_more
  if not (always or body.writes[1] or more) then return nil, nil end
  local writes = take_writes(self)
  local given = { entries = taken(writes), next = body.next }
  if more then collect_more(self, given) end
  return writes, given
end

--- What collect gave has been written: `bytes` of entries.
function journal.wrote(self, writes, bytes)
  self.written = self.written + bytes
  self.machine:wrote(writes)
end

--- Writes what is to be written, of which there is some. Returns true; or nil, code, text.
function journal.write(self)
  local writes, given, ok, refused, bytes
  if self.has_more then
    writes, given = journal.collect(self)
    ok, refused, bytes = self.core:journal(self.claim, given)
  else
    writes = take_writes(self)
    ok, refused, bytes = self.core:journal(self.claim, writes, self.machine.next)
  end
  if not ok then return nil, refused, bytes end
  journal.wrote(self, writes, bytes)
  if given then shown.wrote(self, given, refused) end
  return true
end

local function put_first(list, before)
  if not before then return list end
  return table.move(list, 1, #list, #before + 1, before)
end

--- What collect gave has not been written: it is to be with the next commit.
function journal.put_back(self, writes, given)
  for _, op in ipairs(writes) do self.machine:touch(op) end
  self.children = put_first(self.children, given.children)
  self.starts = put_first(self.starts, given.starts)
  self.publish = put_first(self.publish, given.fills)
  self.taken = put_first(self.taken, given.taken)
  self.status = self.status or given.status or false
  shown.put_back(self, given)
  if given.cancel or given.deadline then self.bind = { cancel = given.cancel, deadline = given.deadline } end
  local lists = given.children or given.starts or given.fills or given.taken
  if lists or self.status or self.bind or self.shown.any then self.has_more = true end
end

return journal
