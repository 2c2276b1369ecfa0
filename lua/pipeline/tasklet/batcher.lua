--- tasklet/batcher.lua: AutoBatcher: gathers single requests and answers them in batches.
--
-- Requests of the same options form a group; groups are sent in the order their first request came (G56): as soon as
-- they hold `limit` requests, or when the loop has nothing else to do, one group for each idle step.

local context = require "pipeline.tasklet.context"
local errors = require "pipeline.support.errors"
local engines = require "pipeline.current"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"
local options = require "pipeline.support.options"
local task = require "pipeline.tasklet.task"

local batcher = {}

local LIMIT_DEFAULT = 20
local FINISHING = future.FINISHING

local Batcher = {}
local meta = { __name = "pipeline.AutoBatcher", __index = Batcher }

-- Equal options are one group: by value, also for plain tables.
local function key_of(given)
  if type(given) ~= "table" then return given == nil and meta or given end
  local parts = {}
  for name, value in pairs(given) do
    parts[#parts + 1] = ("%s=%s:%s"):format(tostring(name), math.type(value) or type(value), tostring(value))
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

local function remove(list, value)
  for i, other in ipairs(list) do
    if other == value then return table.remove(list, i) end
  end
end

-- Returns whether there was any that was not done.
local function fail_rest(group, problem, trace)
  local any = false
  for _, item in ipairs(group) do
    if item.future.state ~= FINISHING then
      any = true
      future.fail(item.future, problem, trace)
    end
  end
  return any
end

local function sent(self, group, of)
  self.under_way[of] = nil
  local failure = of.failure
  if failure then
    failure.seen = fail_rest(group, failure.value, failure.trace)
    return
  end
  local text = "the function of an AutoBatcher has not completed this future"
  fail_rest(group, errors.TaskletError(text, { where = false }))
end

local function send(self, group)
  remove(self.groups, group)
  self.by_key[group.key] = nil
  local of = task.start_user(self.fn, 1, { n = 2, group, group.options })
  task.set_maker(of, self.works_for)
  self.under_way[of] = true
  future.add_now(of, sent, self, group, of)
end

-- An idle callback: one group each time.
local function on_idle(self)
  local group = self.groups[1]
  if group then send(self, group) end
  if self.groups[1] then return true end
  self.waits = false
  return nil
end

local function group_of(self, given)
  local key = key_of(given)
  local group = self.by_key[key]
  if not group then
    group = { key = key, options = given }
    self.by_key[key] = group
    self.groups[#self.groups + 1] = group
  end
  return group
end

local function add(self, arg, given, level)
  local group = group_of(self, given)
  local item = { future = future.plain(level, "batch"), arg = arg }
  group[#group + 1] = item
  if #group >= self.limit then
    send(self, group)
  elseif not self.waits then
    self.waits = true
    eventloop.add_idle(on_idle, self)
  end
  return item.future
end

--- Adds a request. Returns a future of its answer. In App Engine: add.
-- @param[opt] given options: requests with equal ones go together.
function Batcher.add(self, arg, given)
  return add(self, arg, given, 2)
end

--- As add; but when the same request already waits to be sent, its future.
function Batcher.add_once(self, arg, given)
  local group = self.by_key[key_of(given)]
  for _, item in ipairs(group or {}) do
    if item.arg == arg and item.future.state ~= FINISHING then return item.future end
  end
  return add(self, arg, given, 2)
end

local function flush(self)
  while self.groups[1] or next(self.under_way) do
    while self.groups[1] do send(self, self.groups[1]) end
    local of = next(self.under_way)
    if of then of:get_exception() end
  end
end

--- Sends everything. Returns a future that is done when nothing is under way. In App Engine: flush.
function Batcher.flush(self)
  return task.start(flush, 1, { n = 1, self })
end

--- Makes a batcher of the current context. In App Engine: AutoBatcher.
-- @tparam function fn fn(list, options) answers a batch: a list of {future=, arg=}; it completes each future, and may
--   await. If it fails, the futures that are not done get its error.
-- @tparam[opt] table given limit (default 20).
function batcher.AutoBatcher(fn, given)
  options.check_function(fn, 1, "AutoBatcher")
  given = options.check(given, { limit = "count" }, 2, "AutoBatcher")
  local self = setmetatable({
    fn = fn, limit = given.limit or LIMIT_DEFAULT, groups = {}, by_key = {}, under_way = {},
    waits = false, works_for = engines.owner() or false,
  }, meta)
  local batchers = context.get_context()._shared.batchers
  batchers[#batchers + 1] = self
  return self
end

return batcher
