--- journal.lua: what must never be of schedules and their fires, told by the log and by the file that is left.
--
-- The log has every change of a schedule that a process was about to ask the store for (fires.lua writes the lines),
-- and what the store said, if the process lived to hear it. A schedule has a revision, which each change makes one
-- more; so those that came through are a chain, one for each revision, and where the answer is missing the file, or the
-- next change, tells which it was. The file has the fires, the counts and the last revision.
--
--   set|op|id|revision|next|last|paused|in a pause|times|name   a schedule is to be made (revision 0) or changed
--   unset|op|name                                               it is to be deleted
--   fire|op|id|revision|nominal|next|last|missed                it is to move on (revision 0: it fires by hand)
--   shot|op|fire|nominal|reason                                 a fire of that op
--   settled|op|ok or the code of an error|state,state,…         what the store said
--
-- Times are microseconds, 0 for none. Invariants:
--   * a change is made to the revision, and the next time, that was read; of several that try one comes through;
--   * what was acknowledged is there, what was refused is not;
--   * a schedule fires for each time once, and for none that is not later than the last one;
--   * each time that it moves over has fired, is skipped, missed or in a pause, and what was missed is made up for as
--     its policy says; its next time never goes back, unless its rule is changed;
--   * what is paused does not move;
--   * its counts are those of its fires;
--   * the work of a fire that is done was executed; what was skipped was not.

local core = require "pipeline.core"
local times = require "pipeline.schedule.times"
local plan = require "spec.crash.plan"

local journal = {}

local DONE, SKIPPED, CANCELLED = 2, 4, 5
local ALREADY = "already_fired" -- what a backfill is told of a time that has fired
local REASONS = { "schedule", "catch_up", "trigger", "backfill" }
local COUNTS = { "fired", "caught_up", "triggered", "backfilled", "skipped", "skipped_paused", "missed", "dropped" }
local COUNT_OF = { schedule = "fired", catch_up = "caught_up", trigger = "triggered", backfill = "backfilled" }
local KEPT = 100 -- fires of a schedule, of those that are over

--- For the sqlite3 command: what the file has.
journal.dump = "SELECT 'schedule|' || id || '|' || revision || '|' || coalesce(next_nominal, 0) || '|' || "
  .. "coalesce(last_nominal, 0) || '|' || paused || '|' || " .. table.concat(COUNTS, " || '|' || ")
  .. " FROM pl_schedule;\nSELECT 'made|' || id || '|' || schedule || '|' || nominal || '|' || reason || '|' || state "
  .. "FROM pl_fire;"

local Book = {}
Book.__index = Book

--- An empty book: it reads lines of the log, then those of the file, and then tells what is wrong.
function journal.new()
  return setmetatable({ found = {}, ops = {}, schedules = {}, deleted = {}, by_key = {}, fires = {},
    line = 0, fired = 0, missed = 0, changes = 0 }, Book)
end

function Book:fail(...)
  self.found[#self.found + 1] = string.format(...)
end

-- ---- reading ---------------------------------------------------------------------------------------------------

local function compile(hex)
  local bytes = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  return times.compile(assert(core.decode(bytes)))
end

local function op_of(self, op)
  self.ops[op] = self.ops[op] or {}
  return self.ops[op]
end

local function schedule_of(self, id)
  self.schedules[id] = self.schedules[id] or { id = id, name = id, changes = {}, by_hand = {}, latest = 0, fires = {} }
  return self.schedules[id]
end

local function add_change(self, op, id, revision, change)
  local s = schedule_of(self, id)
  change.op, change.fires, change.revision = op_of(self, op), {}, math.tointeger(revision)
  self.ops[op].change = change
  s.latest = math.max(s.latest, change.revision)
  s.changes[change.revision] = s.changes[change.revision] or {}
  table.insert(s.changes[change.revision], change)
  return s
end

local readers = {}

function readers.set(self, op, id, revision, next_time, last, paused, in_pause, rule, name)
  add_change(self, op, id, revision, { kind = "set", next = math.tointeger(next_time), last = math.tointeger(last),
    paused = paused == "1", in_pause = math.tointeger(in_pause), times = rule }).name = name
end

function readers.unset(self, op, name)
  self.deleted[name] = self.deleted[name] or {}
  table.insert(self.deleted[name], op_of(self, op))
  self.ops[op].asked = self.line
end

function readers.fire(self, op, id, revision, nominal, next_time, last, missed)
  local change = { kind = "fire", nominal = math.tointeger(nominal), next = math.tointeger(next_time),
    last = math.tointeger(last), missed = math.tointeger(missed) }
  if nominal ~= "0" then return add_change(self, op, id, revision, change) end
  change.op, change.fires = op_of(self, op), {}
  self.ops[op].change = change
  table.insert(schedule_of(self, id).by_hand, change)
end

function readers.shot(self, op, id, nominal, reason)
  table.insert(self.ops[op].change.fires, { id = id, nominal = math.tointeger(nominal), reason = reason })
end

function readers.settled(self, op, outcome, states)
  op_of(self, op).outcome = outcome
  self.ops[op].heard = self.line
  local change, i = self.ops[op].change, 0
  for state in (states or ""):gmatch("[^,]+") do
    i = i + 1
    if change and change.fires[i] then change.fires[i].told = state end
  end
end

--- Reads a line of the log. Returns false for a verb that is none of its own.
function Book:read(verb, ...)
  if not readers[verb] then return false end
  self.line = self.line + 1
  readers[verb](self, ...)
  return true
end

local file_readers = {}

function file_readers.schedule(self, id, revision, next_time, last, paused, ...)
  local s, counts = schedule_of(self, id), { ... }
  s.row = { revision = math.tointeger(revision), next = math.tointeger(next_time), last = math.tointeger(last),
    paused = paused == "1", counts = {} }
  for i, name in ipairs(COUNTS) do s.row.counts[name] = math.tointeger(counts[i]) end
end

function file_readers.made(self, id, schedule, nominal, reason, state)
  local fire = { id = id, nominal = math.tointeger(nominal), reason = REASONS[math.tointeger(reason) + 1],
    state = math.tointeger(state) }
  self.fires[id] = fire
  table.insert(schedule_of(self, schedule).fires, fire)
end

--- Reads a line of the dump.
function Book:read_file(line)
  local words = {}
  for word in line:gmatch("[^|]+") do words[#words + 1] = word end
  file_readers[words[1]](self, table.unpack(words, 2))
end

-- ---- which changes came through --------------------------------------------------------------------------------

local function is_trimmed(s)
  local counts, total = s.row.counts, 0
  for i = 1, 5 do total = total + counts[COUNTS[i]] end
  return total + counts.dropped > KEPT
end

-- What a schedule that is gone, or has had many fires, may have fired.
local function note_possible(self, s, fires)
  for _, fire in ipairs(fires) do
    local key = plan.fire_key(s.name, fire.nominal / 1e6)
    self.by_key[key] = self.by_key[key] or {}
    table.insert(self.by_key[key], {})
  end
end

-- Whether the file has the fires of a change: all, none, or nil: it cannot say.
local function has_fires(self, s, change)
  if #change.fires == 0 or not s.row or is_trimmed(s) then return nil end
  local n, made, is_backfill = 0, 0, change.fires[1].reason == "backfill"
  for _, fire in ipairs(change.fires) do
    n = n + (self.fires[fire.id] and 1 or 0)
    made = made + (fire.told == ALREADY and 0 or 1)
  end
  if n > 0 and n < made and not s.rule.fields.max_fires and not (is_backfill and not change.op.outcome) then
    self:fail("%s: of the %d fires of one change %d are there", s.name, made, n)
  end
  if n == 0 and (made == 0 or is_backfill and not change.op.outcome) then return nil end
  return n > 0
end

local function is_through(self, s, change)
  local outcome, is_there = change.op.outcome, has_fires(self, s, change)
  if outcome == "ok" and is_there == false then
    self:fail("%s: its fire for %d was acknowledged, and is lost", s.name, change.fires[1].nominal)
  elseif outcome and outcome ~= "ok" and is_there then
    self:fail("%s: its fire for %d was refused, and is there", s.name, change.fires[1].nominal)
  end
  if outcome then return outcome == "ok" end
  return is_there
end

-- Of several whose process did not live to hear the answer, the one after which things are as they were found.
local function guess(s, list)
  local after = s.changes[list[1].revision + 1]
  local expected = s.row and s.row.revision == list[1].revision + 1 and s.row.next
  for _, change in ipairs(not expected and after or {}) do
    expected = expected or change.kind == "fire" and change.nominal or nil
  end
  local fitting = {}
  for _, change in ipairs(list) do
    if not expected or change.next == expected then fitting[#fitting + 1] = change end
  end
  if #fitting ~= 1 then s.is_unsure = true end
  return fitting[1] or list[1]
end

-- The change that came through for a revision; nil: none did: it is the last one, or the store itself paused it.
local function find_change(self, s, revision)
  local through, unknown = nil, {}
  for _, change in ipairs(s.changes[revision] or {}) do
    local is = is_through(self, s, change)
    if is and through then self:fail("%s: two changes came through for the revision %d", s.name, revision) end
    if is then through = change elseif is == nil then unknown[#unknown + 1] = change end
    if is == nil then note_possible(self, s, change.fires) end
  end
  if through or revision >= s.latest then return through end
  if #unknown > 0 then return guess(s, unknown) end
  if not s.rule.fields.pause_on_failure then
    self:fail("%s: nobody has made the change of the revision %d", s.name, revision)
  end
end

-- ---- what a change does ----------------------------------------------------------------------------------------

-- How many times lie from one on and before another one.
local function count(rule, from, upto)
  return rule:count(from / 1e6 - 1e-6, upto / 1e6 - 1e-6)
end

local function check_reasons(self, s, change, n)
  local how, made, reason = s.rule.fields.catch_up, #change.fires, change.fires[1] and change.fires[1].reason
  for _, fire in ipairs(change.fires) do
    if fire.reason ~= reason then self:fail("%s: two reasons at a time", s.name) end
  end
  if reason == "schedule" then
    if made ~= n then self:fail("%s: %d of the %d times from %d on fired", s.name, made, n, change.nominal) end
    return
  end
  local most = how.policy == "none" and 0 or how.policy == "last" and 1 or how.limit
  if made > most then self:fail("%s: %d missed times made up for, more than %d", s.name, made, most) end
  if how.window >= plan.EVER and made < math.min(most, n) then
    self:fail("%s: %d of %d missed times made up for, and not %d", s.name, made, n, math.min(most, n))
  end
  if made + change.missed ~= n then
    self:fail("%s: of %d times %d were made up for and %d missed", s.name, n, made, change.missed)
  end
  if made > 0 and count(s.rule, change.fires[1].nominal, change.upto) ~= made then
    self:fail("%s: it was not the latest of the missed times that were made up for", s.name)
  end
end

local function check_fire(self, s, fire, change)
  if fire.nominal <= s.newest then
    self:fail("%s: fired for %d (%s) after it had for %d", s.name, fire.nominal, fire.reason, s.newest)
  end
  s.newest = math.max(s.newest, fire.nominal)
  if fire.nominal < change.nominal or fire.nominal >= change.upto then
    self:fail("%s: fired for %d, over which it did not move", s.name, fire.nominal)
  end
  if count(s.rule, fire.nominal, fire.nominal + 2) ~= 1 then
    self:fail("%s: fired for %d, which is none of its times", s.name, fire.nominal)
  end
end

local function tally(self, s, fires)
  for _, fire in ipairs(fires) do
    local in_file = self.fires[fire.id]
    fire.state = in_file and in_file.state
    if fire.told == ALREADY then goto next_fire end
    local is_skipped = fire.told == "skipped" or fire.state == SKIPPED
    local name = is_skipped and "skipped" or COUNT_OF[fire.reason]
    s.counts[name] = s.counts[name] + 1
    if not is_skipped then self.fired = self.fired + 1 end
    if not (fire.told or fire.state) then s.is_unsure = true end
    local key = plan.fire_key(s.name, fire.nominal / 1e6)
    self.by_key[key] = self.by_key[key] or {}
    table.insert(self.by_key[key], { state = fire.state, is_skipped = is_skipped })
    ::next_fire::
  end
end

local apply = {}

function apply.fire(self, s, change)
  if s.paused then self:fail("%s: it moved on from %d while it was paused", s.name, change.nominal) end
  if change.nominal ~= s.next then
    self:fail("%s: it moved on from %d, but its next time was %d", s.name, change.nominal, s.next)
  end
  if change.next ~= 0 and change.next <= s.next then
    self:fail("%s: its next time went from %d back to %d", s.name, s.next, change.next)
  end
  local last = math.max(change.last, change.nominal)
  change.upto = change.next ~= 0 and change.next or last + 1
  local n = count(s.rule, change.nominal, change.upto)
  local most = s.rule.fields.max_fires
  if not most then
    check_reasons(self, s, change, n)
  elseif s.counts.fired + s.counts.caught_up >= most and not s.is_unsure then
    self:fail("%s: it went on after the last of %d fires", s.name, most)
  end
  for _, fire in ipairs(change.fires) do check_fire(self, s, fire, change) end
  s.counts.missed = s.counts.missed + change.missed
  self.missed = self.missed + change.missed
  tally(self, s, change.fires)
end

function apply.set(self, s, change)
  local rule = change.times == s.times and s.rule or compile(change.times)
  if times.are_same(rule.fields, s.rule.fields) and change.next ~= s.next and change.next ~= 0 and s.next ~= 0 then
    local n = change.next > s.next and count(s.rule, s.next, change.next) or 0
    if change.next < s.next then self:fail("%s: its next time went from %d back to %d", s.name, s.next, change.next) end
    if n ~= change.in_pause then self:fail("%s: %d times of a pause, but %d counted", s.name, n, change.in_pause) end
  end
  s.counts.skipped_paused = s.counts.skipped_paused + change.in_pause
  s.paused, s.times, s.rule = change.paused, change.times, rule
end

-- ---- a schedule ------------------------------------------------------------------------------------------------

-- Whether somebody may have deleted it; and whether somebody has, for certain: asked for when it was known to be there.
local function is_deleted(self, s, made)
  local may_be, is = false, false
  for _, op in ipairs(self.deleted[s.name] or {}) do
    may_be = may_be or op.outcome == nil or op.outcome == "ok"
    is = is or op.outcome == "ok" and made.heard ~= nil and made.heard < op.asked
  end
  return may_be, is
end

-- What made it; nil: nothing came of that.
local function begin(self, s)
  local change = (s.changes[0] or {})[1]
  if not change then
    self:fail("%s: nobody has made it", s.name)
    return nil
  end
  local outcome, is_there = change.op.outcome, s.row ~= nil
  local may_be_deleted, is_deleted_now = is_deleted(self, s, change.op)
  if outcome == "ok" and not is_there and not may_be_deleted then
    self:fail("%s: it was made, and is lost", s.name)
  elseif is_there and is_deleted_now then
    self:fail("%s: it was deleted, and is there", s.name)
  elseif outcome and outcome ~= "ok" and is_there then
    self:fail("%s: it was not made, and is there", s.name)
  end
  if outcome ~= "ok" and not is_there and s.latest == 0 then return nil end
  s.times, s.rule, s.next, s.paused, s.newest, s.last, s.counts = change.times, compile(change.times), change.next,
    change.paused, 0, 0, {}
  for _, name in ipairs(COUNTS) do s.counts[name] = 0 end
  return change
end

-- What was kept back and given up counts as dropped, and for its reason no more.
local function check_dropped(self, s)
  local row, cancelled, sum = s.row, {}, 0
  for _, fire in ipairs(s.fires) do
    local name = COUNT_OF[fire.reason]
    if fire.state == CANCELLED then cancelled[name] = (cancelled[name] or 0) + 1 end
  end
  for _, name in pairs(COUNT_OF) do
    local dropped = s.counts[name] - row.counts[name]
    if dropped < 0 or dropped > (cancelled[name] or 0) and not is_trimmed(s) then
      self:fail("%s: %s is %d, but it was %d", s.name, name, row.counts[name], s.counts[name])
    end
    sum = sum + dropped
  end
  if row.counts.dropped ~= sum then
    self:fail("%s: %d dropped, but %d given up", s.name, row.counts.dropped, sum)
  end
end

local function check_row(self, s)
  local row = s.row
  local is_over = row.next == 0 and s.rule.fields.max_fires -- the store ends it with the last one
  if row.next ~= s.next and not is_over then
    self:fail("%s: its next time is %d, and not %d", s.name, row.next, s.next)
  end
  if s.is_unsure or s.rule.fields.max_fires then return end
  check_dropped(self, s)
  for _, name in ipairs { "skipped", "skipped_paused", "missed" } do
    if row.counts[name] ~= s.counts[name] then
      self:fail("%s: %s is %d, but it was %d", s.name, name, row.counts[name], s.counts[name])
    end
  end
end

local function check_by_hand(self, s)
  for _, change in ipairs(s.by_hand) do
    local is = is_through(self, s, change)
    if is or is == nil and not s.row then tally(self, s, change.fires) end
  end
end

local function check_schedule(self, s)
  if s.row then s.latest = math.max(s.latest, s.row.revision) end
  if not begin(self, s) then return end
  for revision = 1, s.latest do
    local change = find_change(self, s, revision)
    if change then
      apply[change.kind](self, s, change)
      s.next, s.last = change.next, math.max(s.last, change.last)
      self.changes = self.changes + 1
    elseif revision < s.latest then
      s.paused = true
    end
  end
  check_by_hand(self, s)
  if s.row then check_row(self, s) end
end

-- ---- the end ---------------------------------------------------------------------------------------------------

local function check_work(self, entries)
  for key, list in pairs(self.by_key) do
    local may_run, is_done = false, false
    for _, fire in ipairs(list) do
      may_run = may_run or not fire.is_skipped
      is_done = is_done or fire.state == DONE
    end
    local entry = entries[key]
    if is_done and not (entry and entry.done) then self:fail("%s is done, but it was not executed", key) end
    if entry and not may_run then self:fail("%s was executed, but it was skipped", key) end
  end
  for key in pairs(entries) do
    if key:match("^s:") and not self.by_key[key] then self:fail("%s was executed, but nothing has fired", key) end
  end
end

--- After the last line.
-- @tparam[opt] table entries what ledger.lua says was executed, by key.
-- @return list of texts, one per violation.
function Book:finish(entries)
  for _, s in pairs(self.schedules) do check_schedule(self, s) end
  if entries then check_work(self, entries) end
  return self.found
end

return journal
