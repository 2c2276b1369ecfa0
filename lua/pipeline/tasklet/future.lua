--- tasklet/future.lua: a result that is not there yet.
--
-- Fields: state (RUNNING, FINISHING), loop (whose it is), made (where it was made), info, value (the result; NONE:
-- there are none; a packed table if there are several), how (false: one result or none; n > 1: so many; FAILED) and
-- failure ({value, trace, seen}). Who waits: `first`, then the list `rest`, are tasks and callback records in the order
-- of registration, false in the place of one that has gone; `now` is the list of immediate callbacks. Fields that are
-- seldom set have their default in the table of methods: a future has no more than the eight that fit the smallest
-- table that will do.
--
-- What was cancelled waits no more, and what only it has waited for is cancelled, too: `dropped(self)`, of the future
-- or its kind, ends whatever the future stands for when the last who waited has gone so. It may be called when the
-- future is done already: then its result was not seen by who was to have it. A future made by hand has none: somebody
-- else will complete it, and others may wait for it later.
--
-- Invariants
--   1. A future is completed once. Then first, rest and now are given away.
--   2. A failure that nobody has looked at when it is collected is reported (G55), once.
--   3. Completing does not recurse, however long the chain: immediate callbacks are called one after the other, in the
--      order in which their futures were completed. Nor does cancelling, beyond DROPS_NESTED_MAX.

local core = require "pipeline.core"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local options = require "pipeline.support.options"
local places = require "pipeline.support.place"
local bad_argument, bad_type = places.bad_argument, places.bad_type

local future = {}

local IDLE, RUNNING, FINISHING = 0, 1, 2
local NONE, FAILED = {}, -1
local NOBODY = {} -- in the place of `first` when only `now` is used, so that one look tells that nobody waits
local CHAIN_LINES_MAX = 50
local DROPS_NESTED_MAX = 200
local BODY <const>, ON <const>, MADE <const> = 1, 3, 5 -- of tasks: see task.lua

local getmetatable, setmetatable, rawequal, select, type = getmetatable, setmetatable, rawequal, select, type
local unpack, pack = table.unpack, table.pack
local error_object, call_unyieldable = errors.object, core.call_unyieldable
local where, current_loop, call, push = core.where, eventloop.current, eventloop.call, eventloop.push
local note_owner = eventloop.note_owner
local common = eventloop.common

-- Methods of all kinds, and defaults.
local Future = {
  state = RUNNING, how = false, failure = false, info = false, made = false, now = false, rest = false,
  loop = eventloop.common, user = false,
}
local kinds = {} -- metatable -> name

-- ---- kinds -----------------------------------------------------------------------------------------------------

--- Makes a kind of futures: its metatable, with a table of methods that has those of all futures.
function future.kind(name, methods)
  methods = methods or {}
  for key, method in pairs(Future) do
    if methods[key] == nil then methods[key] = method end
  end
  local meta = {
    __name = "pipeline." .. name, __index = methods, __tostring = Future.text, name = name,
    __unserializable = "a future of tasklets: await it, and store its result",
  }
  kinds[meta] = name
  return meta, methods
end

--- Whether `value` is a future of tasklets, of any kind.
local function is_future(value)
  return kinds[getmetatable(value) or false] ~= nil
end

future.is = is_future

--- Makes a future of a kind. `level` says whose line it is made at: 1 is the function that calls this.
function future.new(meta, level, info)
  local loop = current_loop()
  local self = setmetatable({ state = RUNNING, made = where(level + 1), value = false, first = false }, meta)
  if loop ~= common then self.loop = loop end
  if info then self.info = info end
  return self
end

-- ---- failures --------------------------------------------------------------------------------------------------

local flow = {} -- classes that are not reported
local unseen = setmetatable({}, { __mode = "k" })
local failure_meta = { __name = "pipeline.Failure" }
local failures = 0 -- how many there have been

for _, quiet in ipairs { errors.CancelledError, errors.EOFError, errors.Abort, errors.Retry } do flow[quiet] = true end

--- Says that failures of that class of errors need not be reported when nobody looks at them (T36).
function future.add_flow_exception(of)
  local meta = getmetatable(of)
  if type(meta) ~= "table" or meta.__name ~= "pipeline.ErrorClass" then
    bad_type(1, "add_flow_exception", "class of errors", of)
  end
  flow[of] = true
end

local function is_flow(value)
  for of in pairs(flow) do
    if errors.is(value, of) then return true end
  end
  return false
end

local function report(entry)
  local text, value, trace = entry.text, entry.value, entry.trace or ""
  eventloop.report(value, ("%s\n(unhandled failure of %s)"):format(trace, text))
end

function failure_meta.__gc(failure)
  if failure.seen or is_flow(failure.value) then return end
  failure.seen = true
  if eventloop.is_running() then
    failure.go = report
    eventloop.current():push(failure)
  else
    report(failure)
  end
end

local function see(failure)
  if not failure.seen then
    failure.seen = true
    unseen[failure] = nil
  end
end

--- The error raised last by an await, and its trace: a handler that gets the same value can add its own.
local raised_value, raised_trace

errors.set_awaited(function(value)
  if raised_trace and rawequal(value, raised_value) then return raised_trace end
end)

--- Raises the failure of a future again: the same value every time.
local function raise(failure)
  see(failure)
  raised_value, raised_trace = failure.value, failure.trace
  error(errors.located(failure.value), 0)
end

future.raise = raise

-- ---- completing ------------------------------------------------------------------------------------------------

local function call_now(list)
  for i = 1, #list do
    local entry = list[i]
    if entry then
      local ok, problem = xpcall(entry.fn, errors.handler, unpack(entry, 1, entry.n))
      if not ok then eventloop.report(problem) end
    end
  end
end

-- Futures that are done and have immediate callbacks to be called: done[at + 1 .. last]. Whoever is the first to put
-- one there calls them all.
local done, at, last, telling = {}, 0, 0, false
local complete

local function tell_all()
  while at < last do
    at = at + 1
    local self = done[at]
    done[at] = nil
    local now = self.now
    self.now = false
    if now then call_now(now) end
    complete(self)
  end
end

local function tell_now(self)
  last = last + 1
  done[last] = self
  if telling then return end
  telling = true
  local ok, problem = call_unyieldable(tell_all)
  telling = false
  if not ok then error(problem, 0) end -- no memory: what is left is told with the next
  at, last = 0, 0
end

function complete(self)
  self.state = FINISHING
  local first, rest = self.first, self.rest
  if not first then return end
  if self.now then return tell_now(self) end
  self.first = false
  if first ~= NOBODY then push(first.loop, first) end
  if rest then
    self.rest = false
    for i = 1, #rest do
      local entry = rest[i]
      if entry then entry.loop:push(entry) end
    end
  end
end

--- Completes a future with results.
local function finish(self, ...)
  local n = select("#", ...)
  if n == 1 then
    self.value = ...
  elseif n == 0 then
    self.value = NONE
  else
    self.value, self.how = pack(...), n
  end
  return complete(self)
end

--- Completes a future with an error. A text becomes an error object, here and nowhere else: whoever looks at a failure
-- finds an object with a class, a message and a traceback.
local function fail(self, value, trace)
  failures = failures + 1
  value = error_object(value, trace)
  local failure = setmetatable({
    value = value, trace = trace or false, seen = false, text = false, order = failures,
  }, failure_meta)
  self.failure, self.how, self.value = failure, FAILED, NONE
  unseen[failure] = true
  failure.text = Future.name(self)
  return complete(self)
end

--- Completes `self` as `other` was completed.
local function hand_over(self, other)
  local failure = other.failure
  if failure then
    see(failure)
    return fail(self, failure.value, failure.trace)
  end
  local how = other.how
  if how then self.how = how end
  self.value = other.value
  return complete(self)
end

future.finish, future.fail, future.hand_over, future.complete = finish, fail, hand_over, complete

--- The results of a future that is done, or its error raised.
local function results(self)
  local how, value = self.how, self.value
  if not how then
    if value == NONE then return end
    return value
  end
  if how == FAILED then return raise(self.failure) end
  return unpack(value, 1, how)
end

future.results = results

--- The first result of a future that is done without failure.
function future.first_result(self)
  local value = self.value
  if self.how then return value[1] end
  if value == NONE then return nil end
  return value
end

local function refuse(self, what)
  local failure = self.failure
  local how = "it is done already"
  if failure and errors.is(failure.value, errors.CancelledError) then how = "it was cancelled" end
  errors.raise(errors.TaskletError, "%s of %s: %s", what, Future.name(self), how)
end

--- Completes the future with results, any number of them. Raises TaskletError if it is done.
function Future.set_result(self, ...)
  if self.state == FINISHING then refuse(self, "set_result") end
  if self[BODY] ~= nil then
    errors.raise(errors.TaskletError, "set_result of %s: only its tasklet completes it", Future.name(self))
  end
  return finish(self, ...)
end

--- Completes the future with an error: any value but nil. A text, and whatever else is no object, becomes an Error.
function Future.set_exception(self, value, trace)
  if value == nil then bad_argument(1, "set_exception", "error expected, got nil") end
  if self.state == FINISHING then refuse(self, "set_exception") end
  if self[BODY] ~= nil then
    errors.raise(errors.TaskletError, "set_exception of %s: only its tasklet completes it", Future.name(self))
  end
  return fail(self, value, trace or errors.is(value) and rawget(value, "traceback") or nil)
end

-- ---- who waits -------------------------------------------------------------------------------------------------

--- Lets a task or a callback record wait. Its place is returned, for `remove`.
local function add(self, entry)
  local rest = self.rest
  if rest then
    local place = #rest + 1
    rest[place] = entry
    return place
  end
  local first = self.first
  if first and first ~= NOBODY then
    self.rest = { entry }
    return 1
  end
  self.first = entry
  return 0
end

future.add = add

--- Takes a task or record away that has waited at `place`. Returns whether nobody waits any more.
function future.remove(self, entry, place)
  local rest = self.rest
  if self.first == entry then
    self.first = (self.rest or self.now) and NOBODY or false
  elseif rest and rest[place] == entry then
    rest[place] = false
    local n = #rest
    while n > 0 and not rest[n] do
      rest[n] = nil
      n = n - 1
    end
    if n == 0 then self.rest = false end
  end
  if self.first == NOBODY and not self.rest and not self.now then self.first = false end
  return not self.first
end

--- Calls fn(...) from the loop when the future is done; in the order added.
function Future.add_callback(self, fn, ...)
  options.check_function(fn, 1, "add_callback")
  local entry = note_owner { go = call, fn = fn, n = select("#", ...), loop = current_loop(), ... }
  if self.failure then see(self.failure) end
  if self.state == FINISHING then return entry.loop:push(entry) end
  add(self, entry)
end

--- Calls fn(...) inside the call that completes the future, before all other callbacks; at once if it is done. If that
-- call is itself in an immediate callback, fn comes as soon as those have returned that are to be called before. It
-- cannot await.
function Future.add_immediate_callback(self, fn, ...)
  options.check_function(fn, 1, "add_immediate_callback")
  if self.state == FINISHING then
    fn(...)
    return
  end
  local engine = current.has_several and current.owner()
  if engine then return future.add_now(self, current.work_for, engine, fn, ...) end
  future.add_now(self, fn, ...)
end

--- As add_immediate_callback, for the library: returns what remove_now and leave_now take.
function future.add_now(self, fn, ...)
  local now = self.now or {}
  self.now, self.first = now, self.first or NOBODY
  local entry = { fn = fn, n = select("#", ...), ... }
  now[#now + 1] = entry
  return entry
end

function future.remove_now(self, entry)
  local now = self.now
  if not now then return end
  for i = #now, 1, -1 do
    if now[i] == entry then table.remove(now, i) end
  end
  if #now > 0 then return end
  self.now = false
  if self.first == NOBODY and not self.rest then self.first = false end
end

-- ---- giving up -------------------------------------------------------------------------------------------------

local drops, drops_later = 0, {} -- how many are nested; those that have to wait until these are over

local function drop(self, reason)
  local dropped = self.dropped
  if not dropped then return end
  self.dropped = nil
  return dropped(self, reason)
end

-- The outermost.
local function drop_all(self, reason)
  drop(self, reason)
  while drops_later[1] do
    local list = drops_later
    drops_later = {}
    for i = 1, #list do drop(list[i], reason) end
  end
end

--- Nobody waits for the future any more, as who did was cancelled: what it stands for is cancelled, too. What is waited
-- for ends before those who wait for it, as long as there are not too many in a row.
function future.give_up(self, reason)
  if drops == 0 then
    drops = 1
    local ok, problem = pcall(drop_all, self, reason)
    drops = 0
    if not ok then eventloop.report(problem) end
  elseif drops < DROPS_NESTED_MAX then
    drops = drops + 1
    drop(self, reason)
    drops = drops - 1
  else
    drops_later[#drops_later + 1] = self
  end
end

--- Takes a task or record that has waited at `place` away, for it was cancelled, and gives the future up if it was the
-- last. What it has waited for may be done.
function future.leave(self, entry, place)
  if future.remove(self, entry, place) or self.state == FINISHING then future.give_up(self) end
end

--- The same for an entry of add_now.
function future.leave_now(self, entry)
  if self.state == FINISHING then return end
  future.remove_now(self, entry)
  if not self.first then future.give_up(self) end
end

-- ---- looking at it ---------------------------------------------------------------------------------------------

--- What waits until a future is done, wait(future), comes from the room above, of tasklets: it is future.wait.
function future.set_wait(wait)
  future.wait = wait
end

--- Whether the future is done.
function Future.done(self)
  return self.state == FINISHING
end

--- Waits until the future is done.
function Future.wait(self)
  future.wait(self)
end

--- Waits, then returns the results or raises the error. In a tasklet the same as await.
function Future.get_result(self)
  future.wait(self)
  return results(self)
end

--- Waits, then raises the error if there is one.
function Future.check_success(self)
  future.wait(self)
  if self.failure then raise(self.failure) end
end

--- Waits, then returns the error or nil.
function Future.get_exception(self)
  future.wait(self)
  local failure = self.failure
  if not failure then return nil end
  see(failure)
  return failure.value
end

--- The trace of the error, through all the awaits it has come; nil if there is none. Waits like get_exception.
function Future.get_traceback(self)
  future.wait(self)
  local failure = self.failure
  if not failure then return nil end
  see(failure)
  return failure.trace or nil
end

--- Completes the future with CancelledError, and cancels what only it has waited for. Returns false if it was done
-- already.
function Future.cancel(self, reason)
  if self.state == FINISHING then return false end
  future.give_up(self, reason)
  if self.state ~= FINISHING then fail(self, errors.CancelledError(reason or "cancelled")) end
  return true
end

--- Completes a future that was given up, so that whoever waits for it later does not do so for ever.
function future.fail_dropped(self, reason)
  if self.state == FINISHING then return end
  fail(self, errors.CancelledError(reason or "nobody waits for it any more", { where = false }))
end

-- ---- text ------------------------------------------------------------------------------------------------------

local function function_name(body)
  if type(body) ~= "function" then return "of " .. errors.text(body) end
  local of = debug.getinfo(body, "S")
  return ("of function <%s:%d>"):format(of.short_src, of.linedefined)
end

--- What it is and where it was made.
function Future.name(self)
  local kind = kinds[getmetatable(self)] or "Future"
  local body = self.user or self[BODY]
  local info = self.info and " " .. tostring(self.info) or body ~= nil and " " .. function_name(body) or ""
  local made = self.made or self[MADE]
  local place = made and " made at " .. made or self.owner and " of " .. Future.name(self.owner) or ""
  return ("%s %s%s%s"):format(kind, ("%p"):format(self), info, place)
end

--- As name, and how it stands (T33).
function Future.text(self)
  local name, failure = Future.name(self), self.failure
  if self.state ~= FINISHING then return ("<%s: pending>"):format(name) end
  if failure then
    local of, message = errors.describe(failure.value)
    return ("<%s: failed with %s: %s>"):format(name, of, message)
  end
  if self.value == NONE then return ("<%s: done>"):format(name) end
  return ("<%s: result %s>"):format(name, errors.text(future.first_result(self)))
end

local function chain(self, lines, depth, met)
  if #lines >= CHAIN_LINES_MAX or met[self] then return lines end
  met[self] = true
  lines[#lines + 1] = ("  "):rep(depth) .. Future.text(self)
  if self[ON] then chain(self[ON], lines, depth + 1, met) end
  for _, member in ipairs(self.members or {}) do
    if is_future(member) and member.state ~= FINISHING then chain(member, lines, depth + 1, met) end
  end
  return lines
end

--- The chain of futures that are waited for, from this one on: a list of lines (T34).
function future.chain(self)
  return chain(self, {}, 0, {})
end

--- The chain as one text.
function Future.dump_stack(self)
  return table.concat(future.chain(self), "\n")
end

-- The first failure, of those worth a report, that nobody has looked at.
local function first_unseen()
  local first
  for failure in pairs(unseen) do
    if not failure.seen and not is_flow(failure.value) and not (first and first.order < failure.order) then
      first = failure
    end
  end
  return first
end

--- The error of a wait for `self` when nothing is left that could complete it (G45).
function future.deadlock(self)
  local lines = future.chain(self)
  local text = "deadlock: nothing is left to be done, and these are pending:\n  " .. table.concat(lines, "\n  ")
  local failure = first_unseen()
  if failure then
    local of, message = errors.describe(failure.value)
    text = ("%s\nperhaps because of a failure nobody has looked at: %s: %s: %s"):format(text, failure.text, of, message)
  end
  return errors.DeadlockError(text, { futures = lines, traceback = debug.traceback(nil, 2) })
end

future.methods, future.name, future.kinds, future.NONE = Future, Future.name, kinds, NONE
future.IDLE, future.RUNNING, future.FINISHING = IDLE, RUNNING, FINISHING

local plain_meta

--- Makes a plain future for the library.
function future.plain(level, info)
  return future.new(plain_meta, level, info)
end

plain_meta = future.kind("Future")
future.plain_meta = plain_meta

return future
