--- tasklet/context.lua: what belongs to the running tasklet: its context, and its local values; toplevel.
--
-- A context is an object that a tasklet has from whoever called it: users keep in its fields what they like, and the
-- batchers made in it are flushed with it. Local values are inherited too, but a change stays with the tasklet that
-- made it, and with those it starts afterwards: a context has a table `locals` that is never changed, but replaced in a
-- context of the tasklet's own.

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local future = require "pipeline.tasklet.future"
local options = require "pipeline.support.options"
local task = require "pipeline.tasklet.task"
local place = require "pipeline.support.place"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local context = {}

local Context = {}
local meta = { __name = "pipeline.Context", __index = Context }

function meta.__tostring(self)
  local state = rawget(self, "_shared")
  return ("<Context: %d batchers>"):format(#state.batchers)
end

--- Makes a context with the fields of `given`. In App Engine: make_context.
function context.make_context(given)
  if given ~= nil and type(given) ~= "table" then
    bad_type(1, "make_context", "table", given)
  end
  local self = {}
  for key, value in pairs(given or {}) do self[key] = value end
  self._shared = { batchers = {} }
  return setmetatable(self, meta)
end

local function is_context(value)
  return getmetatable(value) == meta
end

-- What a task carries: {of = context, locals = table}. The pair is never changed.
local function current_pair()
  return task.current_context()
end

--- The context of the running tasklet, made if there is none. In App Engine: get_context.
function context.get_context()
  local pair = current_pair()
  if pair and pair.of then return pair.of end
  local of = context.make_context()
  task.set_context { of = of, locals = pair and pair.locals or {} }
  return of
end

--- Sets the context of the running tasklet, and of no other; nil: none. In App Engine: set_context.
function context.set_context(of)
  if of ~= nil and not is_context(of) then
    bad_type(1, "set_context", "context", of)
  end
  local pair = current_pair()
  task.set_context { of = of, locals = pair and pair.locals or {} }
end

--- A local value of the running tasklet: its own, or one it was started with.
function context.get_local(key)
  local pair = current_pair()
  return pair and pair.locals[key]
end

--- Sets a local value of the running tasklet. Those it starts later have it too; its caller has not. In App Engine the
-- namespace is such a value.
function context.set_local(key, value)
  if key == nil or key ~= key then bad_argument(1, "set_local", "key expected, got %s", tostring(key)) end
  local pair, locals = current_pair(), {}
  for name, before in pairs(pair and pair.locals or {}) do locals[name] = before end
  locals[key] = value
  task.set_context { of = pair and pair.of, locals = locals }
end

local function flush(self)
  local flushes = {}
  for i, batcher in ipairs(self._shared.batchers) do flushes[i] = batcher:flush() end
  for _, each in ipairs(flushes) do task.await(each) end
end

--- Sends what the batchers of this context hold; a future that is done when they have nothing under way.
function Context.flush(self)
  return task.start(flush, 1, { n = 1, self })
end

-- ---- toplevel --------------------------------------------------------------------------------------------------

local function work_off(of, loop)
  local flushed = of:flush()
  flushed:wait()
  loop:run()
end

local toplevel_kinds = { after_error = "boolean" }

--- As synctasklet, in a fresh context; afterwards the context is flushed and the loop run until nothing is left, so
-- that what was started without waiting is finished. Leaves no current context behind. In App Engine: @toplevel.
-- @tparam[opt] table given after_error (default true): also work off what is left when fn has failed.
function context.toplevel(fn, given)
  options.check_function(fn, 1, "toplevel")
  given = options.check(given, toplevel_kinds, 2, "toplevel")
  local after_error = given.after_error ~= false
  local function wrapper(...)
    if task.in_tasklet() or eventloop.is_running() then
      errors.raise(errors.TaskletError, "a toplevel function cannot be called in a tasklet: it runs the loop")
    end
    local of = context.make_context()
    task.set_context { of = of, locals = {} }
    local self = task.start_user(fn, 2, table.pack(...))
    task.set_context(nil)
    self:wait()
    if after_error or not self.failure then work_off(of, self.loop) end
    return future.results(self)
  end
  task.bodies[wrapper] = fn
  return wrapper
end

return context
