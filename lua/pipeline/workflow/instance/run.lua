--- workflow/instance/run.lua: what a pipeline does inside its run: children, and the order in which they begin.
--
-- All of it is collected in the run context, and sent with the outcome of the run.

local core = require "pipeline.core"
local await = require "pipeline.support.await"
local class = require "pipeline.workflow.class"
local errors = require "pipeline.support.errors"
local facts = require "pipeline.workflow.instance.facts"
local future = require "pipeline.workflow.future"
local options = require "pipeline.support.options"
local place = require "pipeline.support.place"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local methods = facts.methods
local refuse_self, refuse_used = facts.refuse_self, facts.refuse_used
local type, next, rawset, setmetatable, tostring = type, next, rawset, setmetatable, tostring

local function run_of(self, what)
  refuse_self(self, what)
  local run = self._run
  if not run then
    errors.raise(errors.UnexpectedPipelineError, "%s is possible only inside the run of a pipeline", what)
  end
  if run.over then
    errors.raise(errors.UnexpectedPipelineError, "%s: this attempt of %s is over", what, tostring(self))
  end
  run.used = true
  return run
end

local Scope = { __name = "pipeline.Scope" }

-- Chains of scopes are never changed, since children refer to them; a scope closed before an inner one stays in the
-- chain until that one closes and is skipped meanwhile.
local function open_only(chain)
  if chain == nil then return nil end
  local outer = open_only(chain.outer)
  if chain.closed then return outer end
  if outer == chain.outer then return chain end
  return { futures = chain.futures, outer = outer }
end

function Scope.__close(scope)
  local run = scope.run
  if scope.is_order then
    if run.order == scope then run.order = nil end
    return
  end
  scope.closed = true
  local top = run.scope
  while top and top.closed do top = top.outer end
  run.scope = top
end

local function refuse_child(self, child)
  refuse_self(self, "spawn")
  local what, hint = type(child), ""
  if child == nil then
    hint = "; is ':' missing, as in self:spawn(Child())?"
  elseif class.is(child) then
    what, hint = "a class", "; make an instance of it with its arguments, as in self:spawn(Child(1, 2))"
  elseif future.is_future(child) then
    what, hint = "a future", ", of a pipeline that is spawned already"
  end
  errors.raise(errors.UnexpectedPipelineError, "spawn: a pipeline instance expected, got %s%s", what, hint)
end

local spawn_kinds = { fallback = "any" }

local function encode_fallback(given)
  given = options.check(given, spawn_kinds, 2, "spawn")
  if given.fallback == nil then return nil end
  local bytes, inputs, message = core.encode_value(given.fallback, "fallback")
  if not bytes then errors.raise_core(inputs, message) end
  if inputs and #inputs > 0 then
    errors.raise(errors.SerializationError, "fallback: a future cannot be the value of a slot")
  end
  return bytes
end

--- Makes `child` a child of the running pipeline.
-- @tparam[opt] table given fallback: a value. If the child, or anything below it, fails for good or aborts, not the
--   whole tree is aborted but the child with all that is below it; its outputs that are not filled get this value, and
--   the others go on. Of several the nearest one counts. An abort of the tree from outside ends it all the same.
-- @return its future. Nothing starts before run has ended; arguments are read then.
-- Raises UnexpectedPipelineError outside of run, for anything but a new pipeline instance; SerializationError for a
-- fallback that cannot be stored. In App Engine: `yield child`.
function methods.spawn(self, child, given)
  if not facts.is(child) then refuse_child(self, child) end
  local run = run_of(self, "spawn")
  if child._spawned or child._id then refuse_used(child) end
  local fallback = given ~= nil and encode_fallback(given)
  child._spawned = self
  local n = run.n + 1
  run.n = n
  if n == 1 then run.children = {} end
  run.children[n] = child
  local order = run.order
  if order then
    if order.last then rawset(child, "_previous", order.last) end
    order.last = child
  end
  if run.scope then rawset(child, "_after", open_only(run.scope)) end
  if fallback then
    rawset(child, "_fallback", fallback)
    run.has_fallbacks = true
  end
  return future.new(child)
end

local function check_body(fn, position, name)
  if fn ~= nil and type(fn) ~= "function" then
    bad_type(position, name, "function", fn)
  end
end

local function within(scope, fn)
  local _ <close> = scope
  return await.results(fn())
end

--- Children spawned inside `fn` start only when the default outputs of all `futures` are filled.
-- @tparam table futures list of futures.
-- @tparam[opt] function fn its results are passed on; without it a to-be-closed scope is returned.
-- In App Engine: `with pipeline.After(...)`.
function methods.after(self, futures, fn)
  if type(futures) ~= "table" or future.is_future(futures) then
    bad_argument(1, "after", "list of futures expected")
  end
  check_body(fn, 2, "after")
  local count, copy = 0, {}
  for key, value in next, futures do
    count = count + 1
    if not future.is_future(value) then
      bad_argument(1, "after", "list of futures expected; [%s] is a %s", tostring(key),
        future.is_slot(value) and "slot" or facts.is(value) and "pipeline" or type(value))
    end
    copy[count] = value
  end
  local run = run_of(self, "after")
  local scope = setmetatable({ futures = copy, outer = run.scope, run = run }, Scope)
  run.scope = scope
  if fn == nil then return scope end
  return within(scope, fn)
end

--- Children spawned inside `fn` run one after the other, each when the default output of the one before is filled.
-- @tparam[opt] function fn its results are passed on; without it a to-be-closed scope is returned.
-- Raises UnexpectedPipelineError inside another in_order. In App Engine: `with pipeline.InOrder()`.
function methods.in_order(self, fn)
  check_body(fn, 1, "in_order")
  local run = run_of(self, "in_order")
  if run.order then errors.raise(errors.UnexpectedPipelineError, "in_order cannot be nested") end
  local scope = setmetatable({ is_order = true, run = run, last = false }, Scope)
  run.order = scope
  if fn == nil then return scope end
  return within(scope, fn)
end

return { run_of = run_of }
