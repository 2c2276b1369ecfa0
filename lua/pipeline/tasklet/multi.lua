--- tasklet/multi.lua: futures that depend on others: MultiFuture, ReducingFuture, and waiting for several.
--
-- A MultiFuture keeps its members, in the order added, in `members` (futures and, in the places of plain values, the
-- values: `plain[i]` is true there), counts those `pending`, and is `full` when no more will come.

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"
local options = require "pipeline.support.options"
local task = require "pipeline.tasklet.task"
local places = require "pipeline.support.place"
local bad_argument, bad_type = places.bad_argument, places.bad_type

local multi = {}

local FINISHING = future.FINISHING
local is_future, fail, finish = future.is, future.fail, future.finish
local add_now, remove_now, first_result = future.add_now, future.remove_now, future.first_result
local leave_now, fail_dropped = future.leave_now, future.fail_dropped

local NO_OPTIONS = {}

local function refuse(self, what)
  errors.raise(errors.TaskletError, "%s of %s: it is complete, nothing can be added", what, future.name(self))
end

multi.refuse = refuse

--- set_result of the kinds that are completed with complete().
function multi.refuse_result(self)
  errors.raise(errors.TaskletError, "set_result of %s: what is added makes its result; use complete",
    future.name(self))
end

-- ---- MultiFuture -----------------------------------------------------------------------------------------------

local meta, Multi = future.kind("MultiFuture")

local function conclude(self)
  local members, plain, n = self.members, self.plain, self.size
  local list = { n = n }
  local failure
  for i = 1, n do
    local member = members[i]
    if plain and plain[i] then
      list[i] = member
    elseif member.failure then
      member.failure.seen = true
      failure = failure or member.failure
    else
      list[i] = first_result(member)
    end
  end
  self.members, self.entries = nil, nil
  if failure then return fail(self, failure.value, failure.trace) end
  return finish(self, list)
end

local function signal(self, member)
  self.pending = self.pending - 1
  if self.state == FINISHING then return end
  if self.fail_fast and member.failure then
    member.failure.seen = true
    self.full = true
    return fail(self, member.failure.value, member.failure.trace)
  end
  if self.full and self.pending == 0 then conclude(self) end
end

-- Nobody waits for it any more, and so it does not wait for its members.
local function dropped(self, reason)
  local members, entries = self.members, self.entries
  self.entries, self.members, self.pending, self.full = nil, nil, 0, true
  for i = 1, entries and self.size or 0 do
    if entries[i] then leave_now(members[i], entries[i]) end
  end
  fail_dropped(self, reason)
end

local function add_member(self, member)
  local n = self.size + 1
  self.size = n
  self.members[n] = member
  if member.state == FINISHING then
    if self.fail_fast and member.failure then
      self.pending = self.pending + 1
      signal(self, member)
    end
    return
  end
  self.pending = self.pending + 1
  self.entries[n] = add_now(member, signal, self, member)
end

local function new(level)
  local self = future.new(meta, level + 1)
  self.members, self.entries, self.size, self.pending, self.full, self.plain = {}, {}, 0, 0, false, false
  self.dropped = dropped
  return self
end

--- Adds a future whose result will be the next of the list. In App Engine: add_dependent.
function Multi.add_dependent(self, member)
  if not is_future(member) then
    bad_type(1, "add_dependent", "future", member)
  end
  if self.full then refuse(self, "add_dependent") end
  add_member(self, member)
end

--- Adds a value, or a future.
function Multi.putq(self, value)
  if self.full then refuse(self, "putq") end
  if is_future(value) then return add_member(self, value) end
  local n = self.size + 1
  self.size, self.plain = n, self.plain or {}
  self.members[n], self.plain[n] = value, true
end

--- No more will be added: the future is done, with the list of all results, when the last member is.
function Multi.complete(self)
  if self.full then refuse(self, "complete") end
  self.full = true
  if self.pending == 0 then conclude(self) end
end

--- Instead of complete: fails at once.
function Multi.set_exception(self, value, trace)
  if value ~= nil then self.full = true end
  return future.methods.set_exception(self, value, trace)
end

Multi.set_result = multi.refuse_result

--- Makes a future of many: its result is the list of theirs, with field n. It fails, when all are done, with the error
-- of the first in the list. Adding after complete raises TaskletError. In App Engine: MultiFuture.
-- @tparam[opt] table|string given its purpose, for texts, or a table {info=}.
function multi.MultiFuture(given)
  local self = new(2)
  self.info = multi.info(given, "MultiFuture")
  return self
end

--- Reads the argument of a constructor: a text, or options. Returns the info and the options.
function multi.info(given, name, known)
  if given == nil then return false, NO_OPTIONS end
  if type(given) == "string" then return given, NO_OPTIONS end
  local kinds = { info = "any" }
  for key, kind in pairs(known or {}) do kinds[key] = kind end
  given = options.check(given, kinds, 1, name)
  return given.info or false, given
end

-- For await(f, g, ...): nobody else sees it.
local function all_of(members, n)
  local self = new(3)
  for i = 1, n do add_member(self, members[i]) end
  self.full = true
  if self.pending == 0 then conclude(self) end
  return self
end

task.set_all_of(all_of)

-- ---- waiting for a list ----------------------------------------------------------------------------------------

local function check_list(list, name, depth)
  if type(list) ~= "table" or is_future(list) then
    errors.raise(errors.TaskletError, "%s", places.argument_text(1, name, "list of futures expected, got %s",
      is_future(list) and "a future" or type(list)))
  end
  for i = 1, list.n or #list do
    local member = list[i]
    if not is_future(member) then
      if type(member) ~= "table" or depth > 100 then
        errors.raise(errors.TaskletError, "%s: item %d: future expected, got %s", name, i, type(member))
      end
      check_list(member, name, depth + 1)
    end
  end
end

local function gather(list, fail_fast)
  local self = new(3)
  self.fail_fast = fail_fast
  for i = 1, list.n or #list do
    local member = list[i]
    if self.full then break end
    if not is_future(member) then member = gather(member, fail_fast) end
    add_member(self, member)
  end
  if self.full then return self end
  self.full = true
  if self.pending == 0 then conclude(self) end
  return self
end

--- Waits for a list of futures; lists in it give lists. Returns the list of their first results, with field n. Raises,
-- when all are done, the error of the first in the list; with {fail_fast = true} the first error in time, at once.
-- Raises TaskletError, before anything is waited for, when a member is no future. In App Engine: yield of a list.
function multi.await_all(list, given)
  given = options.check(given, { fail_fast = "boolean" }, 2, "await_all")
  check_list(list, "await_all", 1)
  return task.await(gather(list, given.fail_fast))
end

-- Who waited for some of a list was cancelled.
local function leave_list(self)
  local list, entries = self.members, self.entries
  for i = 1, list.n or #list do
    if entries[i] then leave_now(list[i], entries[i]) end
  end
end

-- A future that waits for those of a list that are not done: tell(future) is called whenever one is.
local function watch_list(list, info, tell)
  local self, entries, pending = future.plain(3, info), {}, 0
  for i = 1, list.n or #list do
    entries[i] = false
    if list[i].state ~= FINISHING then
      pending = pending + 1
      entries[i] = add_now(list[i], tell, self)
    end
  end
  self.members, self.entries, self.pending, self.dropped = list, entries, pending, leave_list
  return self
end

local function one_done(all)
  all.pending = all.pending - 1
  if all.pending == 0 and all.state ~= FINISHING then finish(all) end
end

--- Waits until all futures of a list are done; raises no errors of theirs, but a deadlock.
-- In App Engine: Future.wait_all.
function multi.wait_all(list)
  check_list(list, "wait_all", 100)
  local all = watch_list(list, "wait_all", one_done)
  if all.pending == 0 then return end
  future.wait(all)
  if all.failure then future.raise(all.failure) end
end

local function any_done(any)
  if any.state ~= FINISHING then finish(any) end
end

--- Waits until one future of a list is done, and returns it; nil for an empty list. In App Engine: Future.wait_any.
function multi.wait_any(list)
  check_list(list, "wait_any", 100)
  local n = list.n or #list
  if n == 0 then return nil end
  for i = 1, n do
    if list[i].state == FINISHING then return list[i] end
  end
  local any = watch_list(list, "wait_any", any_done)
  future.wait(any)
  for i = 1, n do remove_now(list[i], any.entries[i]) end
  if any.failure then future.raise(any.failure) end
  for i = 1, n do
    if list[i].state == FINISHING then return list[i] end
  end
end

-- ---- ReducingFuture --------------------------------------------------------------------------------------------

-- Values gather in `values`; `batch_size` of them are given to the reducer and its result takes their place.
local reducing_meta, Reducing = future.kind("ReducingFuture")

local gathered

local function reduce(self)
  local values = self.values
  self.values = {}
  local ok, result = xpcall(self.reducer, errors.handler, values)
  if self.state == FINISHING then return end
  if not ok then
    local _, _, trace = errors.describe(result)
    return fail(self, errors.original(result), trace)
  end
  if is_future(result) then return self:_depend(result) end
  gathered(self, result)
end

local function conclude_reducing(self)
  if self.state == FINISHING or not self.full or self.pending > 0 then return end
  local values = self.values
  if #values > 1 then
    reduce(self)
    return conclude_reducing(self)
  end
  finish(self, values[1])
end

function gathered(self, value)
  local values = self.values
  values[#values + 1] = value
  if #values >= self.batch_size then reduce(self) end
end

local function reducing_signal(entry)
  local self, member = entry.of, entry.member
  self.waits[entry] = nil
  self.pending = self.pending - 1
  local failure = member.failure
  if failure then failure.seen = true end
  if self.state == FINISHING then return end
  if failure then return fail(self, failure.value, failure.trace) end
  gathered(self, first_result(member))
  conclude_reducing(self)
end

function Reducing._depend(self, member)
  self.pending = self.pending + 1
  local entry = { go = reducing_signal, loop = eventloop.current(), of = self, member = member }
  if member.state == FINISHING then return entry.loop:push(entry) end
  self.waits[entry] = future.add(member, entry)
end

-- Nobody waits for it any more, and so it does not wait for its members.
function Reducing.dropped(self, reason)
  local waits = self.waits
  self.waits, self.full = {}, true
  for entry, place in pairs(waits) do future.leave(entry.member, entry, place) end
  fail_dropped(self, reason)
end

local function put_value(entry)
  local self, value = entry.of, entry.value
  self.pending = self.pending - 1
  if self.state == FINISHING then return end
  gathered(self, value)
  conclude_reducing(self)
end

--- Adds a future whose result is to be reduced with the others.
function Reducing.add_dependent(self, member)
  if not is_future(member) then
    bad_type(1, "add_dependent", "future", member)
  end
  if self.full then refuse(self, "add_dependent") end
  self:_depend(member)
end

--- Adds a value, which may not be nil, or a future.
function Reducing.putq(self, value)
  if self.full then refuse(self, "putq") end
  if is_future(value) then return self:_depend(value) end
  if value == nil then bad_argument(1, "putq", "value expected, got nil") end
  self.pending = self.pending + 1
  eventloop.current():push { go = put_value, of = self, value = value }
end

--- No more will be added: the future is done with what the reducer makes of all values; nil if there are none.
function Reducing.complete(self)
  if self.full then refuse(self, "complete") end
  self.full = true
  conclude_reducing(self)
end

--- Instead of complete: fails at once.
function Reducing.set_exception(self, value, trace)
  if value ~= nil then self.full = true end
  return future.methods.set_exception(self, value, trace)
end

Reducing.set_result = multi.refuse_result

local reducing_kinds = { batch_size = "count" }

--- Makes a future of what reducer(list) makes of many values, in any order and in batches: it must be like a sum. It
-- returns a value or a future. The first error, of a member or of the reducer, is that of the whole, at once.
-- In App Engine: ReducingFuture.
-- @tparam[opt] table given info (text), batch_size (how many values at most; default 20; 1 counts as 2).
function multi.ReducingFuture(reducer, given)
  options.check_function(reducer, 1, "ReducingFuture")
  local info, rest = multi.info(given, "ReducingFuture", reducing_kinds)
  local self = future.new(reducing_meta, 2, info)
  self.reducer, self.batch_size = reducer, math.max(rest.batch_size or 20, 2)
  self.values, self.pending, self.full, self.waits = {}, 0, false, {}
  return self
end

multi.kind = meta

return multi
