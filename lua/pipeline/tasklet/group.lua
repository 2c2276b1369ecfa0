--- tasklet/group.lua: a scope that ends only when all tasklets started in it have ended. When one of them fails, or the
-- body does, the others are cancelled, and the group raises that first error.

local errors = require "pipeline.support.errors"
local future = require "pipeline.tasklet.future"
local options = require "pipeline.support.options"
local task = require "pipeline.tasklet.task"

local group = {}

local FINISHING = future.FINISHING

local Group = {}
local meta = { __name = "pipeline.Group", __index = Group }

-- Cancelling one may change the set, so the list is made first; `members` says in which order they were started.
local function cancel_all(self)
  local list = {}
  for member in pairs(self.members) do list[#list + 1] = member end
  local members = self.members
  table.sort(list, function(a, b) return members[a] < members[b] end)
  for _, member in ipairs(list) do member:cancel("its group has ended") end
end

local function ended(self, member)
  self.members[member] = nil
  self.count = self.count - 1
  local failure = member.failure
  if failure then
    failure.seen = true
    if not self.failure and not (self.cancelling and errors.is(failure.value, errors.CancelledError)) then
      self.failure = failure
    end
    if not self.cancelling then
      self.cancelling = true
      cancel_all(self)
    end
  end
  if self.count == 0 and self.done.state ~= FINISHING then future.finish(self.done) end
end

local function add(self, member)
  self.count, self.started = self.count + 1, self.started + 1
  self.members[member] = self.started
  if member.state == FINISHING then return ended(self, member) end
  future.add_now(member, ended, self, member)
end

--- Starts fn(...) as a tasklet of the group. Returns its future.
function Group.spawn(self, fn, ...)
  options.check_function(fn, 1, "spawn")
  if self.done.state == FINISHING or self.cancelling then
    errors.raise(errors.TaskletError, "spawn: the group has ended")
  end
  local member = task.start_user(fn, 2, table.pack(...))
  add(self, member)
  return member
end

--- Cancels all tasklets of the group, its body too.
function Group.cancel(self)
  self.cancelling = true
  cancel_all(self)
end

local function drop(done)
  local self = done.of
  self.cancelling = true
  cancel_all(self)
end

--- Calls body(group) and waits until it and all tasklets started with group:spawn(fn, ...) have ended. Returns what
-- body returned; raises the first error.
function group.group(body)
  options.check_function(body, 1, "group")
  local done = future.plain(2, "group")
  local self = setmetatable({
    members = {}, count = 0, started = 0, done = done, failure = false, cancelling = false,
  }, meta)
  done.of, done.dropped = self, drop
  local main = task.start_user(body, 2, { n = 1, self })
  add(self, main)
  future.wait(done)
  if done.failure then future.raise(done.failure) end
  if self.failure then future.raise(self.failure) end
  if main.failure then future.raise(main.failure) end
  return future.results(main)
end

return group
