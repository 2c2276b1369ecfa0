--- tasklet/queue.lua: QueueFuture and SerialQueueFuture: results one at a time, as they come.
--
-- Both keep `items`, those nobody has asked for yet, and `getters`, the futures of getq that wait: at most one of the
-- two is not empty. `full`: no more will be put; then getters get `last_error` (set_exception) or EOFError.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"
local multi = require "pipeline.tasklet.multi"
local bad_type = require("pipeline.support.place").bad_type

local queue = {}

local FINISHING, RUNNING = future.FINISHING, future.RUNNING
local getmetatable, kinds = getmetatable, future.kinds
local is_future, fail, finish, hand_over, plain = future.is, future.fail, future.finish, future.hand_over, future.plain
local current_loop, push, refuse = eventloop.current, eventloop.push, multi.refuse

local FIRST <const>, LAST <const>, QUICK <const> = 1, 2, 3 -- as in binding/tasklet/items.c
local NIL = {} -- in the place of nil

-- What putq returns when there is room.
local DONE = plain(1)
finish(DONE)

-- ---- lists -----------------------------------------------------------------------------------------------------

-- A list that is used from the front: the indexes of its first and last value are its fields FIRST and LAST. QUICK is
-- how many values it may have for a value to be put without further ado, as nobody waits; or 0.
local function new_list()
  return { 4, 3, 0 }
end

local function append(list, value)
  local last = list[LAST] + 1
  list[LAST] = last
  list[last] = value
end

local function prepend(list, value)
  local first = list[FIRST] - 1
  if first <= QUICK then
    table.move(list, first + 1, list[LAST], first + 2)
    first, list[LAST] = first + 1, list[LAST] + 1
  end
  list[FIRST] = first
  list[first] = value
end

local function take(list)
  local first = list[FIRST]
  local value = list[first]
  list[first] = nil
  if first == list[LAST] then
    list[FIRST], list[LAST] = 4, 3
  else
    list[FIRST] = first + 1
  end
  return value
end

local function is_empty(list)
  return list[LAST] < list[FIRST]
end

-- The next getter that still wants something.
local function take_getter(self)
  local getters = self.getters
  while not is_empty(getters) do
    local getter = take(getters)
    if not getter.gone and getter.state ~= FINISHING then return getter end
  end
end

local function end_error(self)
  local failure = self.last_error
  if failure then return failure.value, failure.trace end
  return errors.EOFError("the queue has ended", { where = false })
end

local function end_getters(self)
  local getter = take_getter(self)
  while getter do
    fail(getter, end_error(self))
    getter = take_getter(self)
  end
end

local function check_future(member)
  if not is_future(member) then
    bad_type(1, "add_dependent", "future", member)
  end
end

-- ---- room ------------------------------------------------------------------------------------------------------

-- Of a queue with a limit: `count` values were put and not taken (false: those in `items`); the futures of `putters`
-- wait for room. A value was put.
local function put(self)
  local count, items = self.count, self.items
  if count then
    count = count + 1
    self.count = count
  else
    count = items[LAST] - items[FIRST] + 1
  end
  if count <= self.limit then return DONE end
  items[QUICK] = 0
  local putter = plain(2, "putq")
  append(self.putters, putter)
  return putter
end

-- There is room again.
local function serve_putters(self)
  local putters = self.putters
  while putters[LAST] >= putters[FIRST] do
    local putter = take(putters)
    if putter.state ~= FINISHING then return finish(putter) end
  end
end

local function taken(self)
  if not self.limit then return end
  if self.count then self.count = self.count - 1 end
  return serve_putters(self)
end

-- Nothing can be put any more: nobody need wait for room.
local function free_putters(self)
  local putters = self.putters
  while putters and not is_empty(putters) do
    local putter = take(putters)
    if putter.state ~= FINISHING then finish(putter) end
  end
end

-- The queue has failed.
local function broken(self)
  self.last_error = self.failure
  free_putters(self)
end

-- ---- QueueFuture -----------------------------------------------------------------------------------------------

-- An item is a plain value (NIL: nil), or a future that is done. `members` are those that are not done yet; `pending`
-- counts them, and plain values that go through the loop behind them. Other plain values go through the loop together:
-- `batch` is the entry with the list of them; `lane` is that list while others can just be put to its end.
local meta, Queue = future.kind("QueueFuture")
local getter_meta, Getter = future.kind("getq")

-- Getters that have gone are skipped; when they are many the list is made anew.
local function forget_getter(self, getter)
  getter.gone = true
  self.gone = self.gone + 1
  local getters = self.getters
  if self.gone * 2 <= getters[LAST] - getters[FIRST] + 1 then return end
  local kept = new_list()
  for i = getters[FIRST], getters[LAST] do
    if not getters[i].gone then append(kept, getters[i]) end
  end
  self.getters, self.gone = kept, 0
end

-- Set below: what a getter of a SerialQueueFuture waits for goes to the next.
local give_back

-- The task that waited for the getter was cancelled: what the getter has got already is given to the next.
local function drop_getter(getter)
  local self = getter.owner
  if getter.state ~= FINISHING then
    if getter.waits then give_back(self, getter) else forget_getter(self, getter) end
    return future.fail_dropped(getter)
  end
  if getter.failure or getter.gone then return end
  getter.gone = true
  local other = take_getter(self)
  if other then return hand_over(other, getter) end
  prepend(self.items, getter)
  if self.count then self.count = self.count + 1 end
end

Getter.dropped, Getter.gone, Getter.waits = drop_getter, false, false

local function new_getter(self)
  return setmetatable({ state = RUNNING, loop = current_loop(), value = false, first = false, owner = self },
    getter_meta)
end

local function is_delivered(self)
  return self.pending == 0 and is_empty(self.batch.values)
end

local function ended(self)
  if self.state ~= FINISHING then finish(self, nil) end
  end_getters(self)
end

-- Completes a getter with an item.
local function give(getter, item)
  if is_future(item) then return hand_over(getter, item) end
  if item == NIL then item = nil end
  return finish(getter, item)
end

local function deliver(entry)
  local self, item = entry.of, entry.item
  self.pending = self.pending - 1
  local getter = take_getter(self)
  if getter then
    give(getter, item)
    taken(self)
  else
    append(self.items, item)
  end
  if self.full and is_delivered(self) then ended(self) end
end

-- Plain values are put in one go, as long as no member could come between them.
local function deliver_batch(entry)
  local self, values = entry.of, entry.values
  entry.values, self.lane = new_list(), false
  while not is_empty(values) do
    local getter = take_getter(self)
    if not getter then break end
    give(getter, take(values))
    taken(self)
  end
  if is_empty(self.items) then
    self.items = values
  else
    for i = values[FIRST], values[LAST] do append(self.items, values[i]) end
  end
  if self.full and is_delivered(self) then ended(self) end
end

local function new_batch(self)
  return { go = deliver_batch, of = self, values = new_list() }
end

-- A member is pending, and could come between: the value goes by itself. A batch that is on its way is left alone: it
-- arrives before this value, so that nobody need count it.
local function put_single(self, value)
  self.pending = self.pending + 1
  push(current_loop(), { go = deliver, of = self, item = value })
  if not is_empty(self.batch.values) then self.batch = new_batch(self) end
end

local function deliver_member(entry)
  local self = entry.of
  self.members[entry.item] = nil
  deliver(entry)
end

-- Returns whether it is a new one.
local function add_member(self, member)
  if self.members[member] then return false end
  self.members[member], self.lane = true, false
  self.pending = self.pending + 1
  local entry = { go = deliver_member, loop = current_loop(), of = self, item = member }
  if member.state == FINISHING then entry.loop:push(entry) else future.add(member, entry) end
  return true
end

--- Adds a future: its result can be taken when it is done. The same one twice is added once.
function Queue.add_dependent(self, member)
  check_future(member)
  if self.full then refuse(self, "add_dependent") end
  if add_member(self, member) and self.limit then put(self) end
end

local function put_any(self, value)
  if self.full then refuse(self, "putq") end
  if kinds[getmetatable(value) or false] then
    if not add_member(self, value) then return DONE end
  else
    if value == nil then value = NIL end
    if self.pending > 0 and next(self.members) then
      put_single(self, value)
    else
      local values = self.batch.values
      append(values, value)
      if values[FIRST] == values[LAST] then push(current_loop(), self.batch) end
      if not self.limit then self.lane = values end
    end
  end
  if self.limit then return put(self) end
  return DONE
end

--- Adds a value or a future. Returns a future that is done as soon as the queue has room for more (G54).
-- @function Queue.putq
Queue.putq = core.put_item(put_any, DONE)

--- Returns a future of the next result; after the last one it fails with EOFError, or with the error of set_exception.
function Queue.getq(self)
  local getter = new_getter(self)
  if not is_empty(self.items) then
    give(getter, take(self.items))
    taken(self)
  elseif self.full and is_delivered(self) then
    fail(getter, end_error(self))
  else
    append(self.getters, getter)
  end
  return getter
end

--- No more will be added. The queue itself is done, with nil, when the last result is there.
function Queue.complete(self)
  if self.full then refuse(self, "complete") end
  self.full, self.lane = true, false
  if is_delivered(self) then ended(self) end
end

--- No more will be added: the queue fails at once; those who ask for more than is there get the error.
function Queue.set_exception(self, value, trace)
  if value == nil then return future.methods.set_exception(self) end
  if self.full and self.state ~= FINISHING then refuse(self, "set_exception") end
  self.full, self.lane = true, false
  future.methods.set_exception(self, value, trace)
  broken(self)
  if is_delivered(self) then ended(self) end
end

--- As set_exception with a CancelledError, also after complete. Returns false if the queue was done already.
function Queue.cancel(self, reason)
  if self.state == FINISHING then return false end
  self.full, self.lane = true, false
  future.methods.cancel(self, reason)
  broken(self)
  if is_delivered(self) then ended(self) end
  return true
end

Queue.set_result = multi.refuse_result

-- ---- each ------------------------------------------------------------------------------------------------------

local function next_item(self)
  local getter = self:getq()
  future.wait(getter)
  local failure = getter.failure
  if failure then
    if not self.last_error and errors.is(failure.value, errors.EOFError) then
      failure.seen = true
      return nil
    end
    return future.raise(failure)
  end
  local value = future.first_result(getter)
  if value == nil then
    errors.raise(errors.TaskletError, "an item of %s is nil, which ends a for loop: use getq", future.name(self))
  end
  return value
end

-- An item was taken, so nobody waits for one; if nobody waits for room either the next are put and taken quickly.
local function taken_quick(self)
  taken(self)
  if not (self.count or self.full) and is_empty(self.putters) then self.items[QUICK] = self.limit end
end

local next_free = core.next_item(next_item, kinds, NIL)
local next_limited = core.next_item(next_item, kinds, NIL, taken_quick)

--- For loops: `for value in q:each() do`, until the queue has ended.
function Queue.each(self)
  return self.limit and next_limited or next_free, self
end

local queue_kinds = { limit = "count" }

local function new(of, given, name)
  local info, rest = multi.info(given, name, queue_kinds)
  local self = future.new(of, 3, info)
  self.items, self.getters, self.full, self.gone, self.limit = new_list(), new_list(), false, 0, false
  self.count = false
  if rest.limit then self.limit, self.putters = rest.limit, new_list() end
  return self
end

--- Makes a queue that gives results in the order they are ready. In App Engine: QueueFuture.
-- @tparam[opt] table|string given info (text), limit (how many may be in it before putq makes its caller wait).
function queue.QueueFuture(given)
  local self = new(meta, given, "QueueFuture")
  self.members, self.pending, self.lane = {}, 0, false
  self.batch, self.count = new_batch(self), self.limit and 0
  return self
end

-- ---- SerialQueueFuture -----------------------------------------------------------------------------------------

-- An item is a plain value (NIL: nil), or a future, done or not.
local serial_meta, Serial = future.kind("SerialQueueFuture")

local function pass_on(entry)
  if entry.getter.state ~= FINISHING then hand_over(entry.getter, entry.member) end
end

-- The getter gets what `member` gives.
local function wait_for(getter, member)
  local entry = { go = pass_on, loop = current_loop(), getter = getter, member = member }
  getter.members, getter.waits = { member }, entry
  entry.place = future.add(member, entry)
end

function give_back(self, getter)
  local entry = getter.waits
  getter.gone = true
  future.remove(entry.member, entry, entry.place)
  local other = take_getter(self)
  if other then return wait_for(other, entry.member) end
  prepend(self.items, entry.member)
end

-- A future that is done with an item that was no future.
local function done_with(item)
  local self = plain(3)
  if item == NIL then item = nil end
  self.state, self.value = FINISHING, item
  return self
end

-- Returns a future that is done when there is room.
local function put_serial(self, value)
  local getter = take_getter(self)
  if not getter then
    if value == nil then value = NIL end
    append(self.items, value)
    if not self.limit then
      self.items[QUICK] = math.maxinteger -- until somebody waits
      return DONE
    end
    if is_empty(self.putters) then self.items[QUICK] = self.limit end
    return put(self)
  end
  if not is_future(value) then
    finish(getter, value)
  elseif value.state == FINISHING then
    hand_over(getter, value)
  else
    wait_for(getter, value)
  end
  return DONE
end

--- Adds a future; results come in the order of adding.
function Serial.add_dependent(self, member)
  check_future(member)
  if self.full then refuse(self, "add_dependent") end
  put_serial(self, member)
end

--- Adds a value or a future. Returns a future that is done as soon as the queue has room for more (G54).
function Serial.putq(self, value)
  local items = self.items
  local last = items[LAST] + 1
  if last - items[FIRST] < items[QUICK] and value ~= nil then
    items[LAST], items[last] = last, value
    return DONE
  end
  if self.full then refuse(self, "putq") end
  return put_serial(self, value)
end

--- Returns a future of the next item: the very one that was put, if there is one.
function Serial.getq(self)
  if not is_empty(self.items) then
    local item = take(self.items)
    taken(self)
    return is_future(item) and item or done_with(item)
  end
  local getter = new_getter(self)
  if self.full then
    fail(getter, end_error(self))
  else
    append(self.getters, getter)
    self.items[QUICK] = 0
  end
  return getter
end

--- No more will be added. The queue itself is done at once, with nil.
function Serial.complete(self)
  if self.full then refuse(self, "complete") end
  self.full, self.items[QUICK] = true, 0
  finish(self, nil)
  end_getters(self)
end

--- No more will be added: the queue fails; what is in it can still be taken, then comes the error.
function Serial.set_exception(self, value, trace)
  if value == nil then return future.methods.set_exception(self) end
  self.full, self.items[QUICK] = true, 0
  future.methods.set_exception(self, value, trace)
  broken(self)
  end_getters(self)
end

--- As set_exception with a CancelledError. Returns false if the queue was done already.
function Serial.cancel(self, reason)
  if self.state == FINISHING then return false end
  self:set_exception(errors.CancelledError(reason or "cancelled"))
  return true
end

Serial.each, Serial.set_result = Queue.each, multi.refuse_result

--- Makes a queue that gives results in the order they were put; `given` as for QueueFuture.
-- In App Engine: SerialQueueFuture.
function queue.SerialQueueFuture(given)
  local self = new(serial_meta, given, "SerialQueueFuture")
  return self
end

return queue
