--- durable/body/branches.lua: several things at once in a body: branches, the first of several, all of several.
--
-- A branch is a coroutine of the body, not a tasklet: branches take turns in one order, the same in every life.

local calls = require "pipeline.durable.body.calls"
local events = require "pipeline.durable.body.events"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"
local options = require "pipeline.support.options"
local order = require "pipeline.flow.order"
local place = require "pipeline.support.place"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local branches = {}

local methods = {}
local pack, unpack = table.pack, table.unpack

--- Starts a branch of the body: fn(...) takes its turns beside the code that goes on here, and may wait by the same
-- methods. What it asks for counts by itself, so its steps never share a number with those of another branch.
-- @tparam[opt] string name of the branch (default "go"); the second of that name is another one.
-- @return a future of its results. An error that nobody awaits fails the run at its end.
function methods.go(self, name, fn, ...)
  local run = calls.run_of(self, "go")
  if options.is_callable(name) then return methods.go(self, "go", name, fn, ...) end
  options.check_function(fn, 2, "go")
  local on = run.machine:go(name, fn, ...)
  entry.put(run, "branches", on)
  return calls.new_future(on)
end

-- The operations that a member of a select, or of a list, stands for.
local function add_member(run, self, wait, key, value, what)
  local op, child = calls.operation_of(run, self, value, what)
  wait.list[#wait.list + 1] = op
  wait.keys[op] = wait.keys[op] or key
  if child and not op.ready then -- its end without the output is an end, too
    wait.list[#wait.list + 1] = child
    wait.keys[child], wait.of[child] = wait.keys[child] or key, op
  end
end

local function see(run, op)
  op.is_seen = true
  run.unseen[op] = nil
end

local function results_of(run, key, op)
  see(run, op)
  local results = pack(pcall(calls.results_of, op))
  if results[1] then return key, unpack(results, 2, results.n) end
  local problem = results[2]
  if errors.is(problem) and rawget(problem, "key") == nil then rawset(problem, "key", key) end
  error(problem, 0)
end

-- Which member came first; a child that is done before its output is told of is not it.
local function first_of(run, wait)
  while true do
    local op = run.machine:wait(wait.list, "self:select")
    local output = wait.of[op]
    if not output or op.state == "failed" then return op end
    if output.ready then return output end
    for i, other in ipairs(wait.list) do
      if other == op then
        table.remove(wait.list, i)
        break
      end
    end
  end
end

--- Waits for the first of several.
-- @tparam table members by key: futures of this run; a number: a timer of so many seconds; a text: the next signal of
--   that name. The last two end with the select; losing futures stay valid.
-- @return the key of the member that came first, and its values; in every later life the same. Raises its error, with
--   the key in its field `key`.
function methods.select(self, members)
  local run = calls.run_of(self, "select")
  if type(members) ~= "table" or calls.is_own_future(members) or future.is_future(members) then
    bad_type(1, "select", "table of members", members)
  end
  local wait, own = { list = {}, keys = {}, of = {} }, {}
  for key, value in order.sorted_pairs(members) do
    if type(value) == "number" then
      local timer = calls.ask_timer(run, "select", calls.due_in(run, "select", value))
      own[#own + 1] = timer
      wait.list[#wait.list + 1], wait.keys[timer] = timer, key
    elseif type(value) == "string" then
      local event = events.ask(run, value, "select")
      own[#own + 1] = event
      wait.list[#wait.list + 1], wait.keys[event] = event, key
    else
      add_member(run, self, wait, key, value, "select")
    end
  end
  if #wait.list == 0 then bad_argument(1, "select", "it has no members") end
  local op = first_of(run, wait)
  for _, member in ipairs(own) do
    if member ~= op then run.machine:cancel(member) end
  end
  return results_of(run, wait.keys[op], op)
end

local all_kinds = { settle = "boolean" }

local function settled(op)
  local results = pack(pcall(calls.results_of, op))
  if results[1] then return { ok = true, value = results[2] } end
  return { ok = false, error = results[2] }
end

local function never()
  return false
end

local function is_failed(op)
  return op.state == "failed" or op.kind == "branch" and not op.ok
end

local function results_of_failed(run, op)
  see(run, op)
  calls.results_of(op)
end

-- Where outputs of children are among them: such a child may fail, and then is what came.
local function wait_one_by_one(run, wait, found, n, given)
  while #wait.list > 0 do
    local op = first_of(run, wait)
    see(run, op)
    if not given.settle then calls.results_of(op) end
    local left = {}
    for _, other in ipairs(wait.list) do
      if other ~= op and wait.of[other] ~= op then left[#left + 1] = other end
    end
    if wait.of[op] then -- the child has failed: its output will not come
      for i = 1, n do
        if found[i] == wait.of[op] then found[i] = op end
      end
      for i = #left, 1, -1 do
        if left[i] == wait.of[op] then table.remove(left, i) end
      end
    end
    wait.list = left
  end
end

--- Waits for all futures of a list.
-- @tparam table list of futures of this run. @tparam[opt] table given settle = true: errors are among the results.
-- @return list of the first value of each, with their count in `n`; with settle of { ok =, value =, error = }. Raises
--   the first error in the order in which they came; the others go on.
function methods.all(self, list, given)
  local run = calls.run_of(self, "all")
  if type(list) ~= "table" or calls.is_own_future(list) or future.is_future(list) then
    bad_type(1, "all", "list of futures", list)
  end
  given = options.check(given, all_kinds, 2, "all")
  local n, found, results = #list, {}, { n = #list }
  local wait = { list = {}, keys = {}, of = {} }
  for i = 1, n do
    add_member(run, self, wait, i, list[i], "all")
    found[i] = wait.list[#wait.list]
    found[i] = wait.of[found[i]] or found[i]
  end
  if next(wait.of) then
    wait_one_by_one(run, wait, found, n, given)
  else
    local failed = run.machine:wait_all(wait.list, "self:all", given.settle and never or is_failed)
    if failed then results_of_failed(run, failed) end
    for i = 1, #wait.list do see(run, wait.list[i]) end
  end
  for i = 1, n do
    if given.settle then results[i] = settled(found[i]) else results[i] = (calls.results_of(found[i])) end
  end
  return results
end

-- A branch that has ended by the cancellation of its scope has not failed.
local function is_told(on)
  local problem = errors.original(on.caught)
  for _, told in pairs(on.branch.got or {}) do
    if rawequal(told, problem) then return true end
  end
  return false
end

--- At the end of run: waits for its branches. The error of one that nobody has awaited is raised, with its name.
function branches.wait_for_rest(run)
  local i = 1
  while run.branches[i] do
    local on = run.branches[i]
    if not on.ready then run.machine:wait({ on }, "the end of run") end
    if not (on.ok or on.is_seen or is_told(on)) then
      local class, message, trace = errors.describe(on.caught)
      errors.raise(errors.WorkflowError, "branch %s, which nobody awaits, failed: %s: %s\n%s", on.name:sub(2), class,
        message, trace)
    end
    i = i + 1
  end
end

branches.methods = methods

return branches
