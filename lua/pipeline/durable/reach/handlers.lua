--- durable/reach/handlers.lua: the functions of a body that answer from outside: for queries, signals and updates.
--
-- A signal or an update that a handler takes is an operation of its own in the journal, delivered as all others are,
-- when the body is blocked; the handler then runs as a branch of the body. A validator runs once, before that, and
-- records nothing. An update is answered with the commit behind the end of its handler; its entry says so by its
-- attempt (1).

local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local journal = require "pipeline.durable.journal"
local mailbox = require "pipeline.durable.mailbox"
local shown = require "pipeline.durable.reach.shown"
local values = require "pipeline.durable.values"

local handlers = {}

local Handlers = { query = entry.NONE, signal = entry.NONE, update = entry.NONE }
Handlers.__index = Handlers

local pack, unpack = table.pack, table.unpack
local UNTAKEN <const> = {} -- in place of the handler of an update that there is none for

--- Those of a run that begins. `bracket`: see run.lua.
function handlers.new(run, bracket)
  return setmetatable({ run = run, bracket = bracket, has_begun = false, is_ending = false }, Handlers)
end

local function sorted(names)
  local list = {}
  for name in pairs(names) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- The names of handlers of a kind ("query", "signal" or "update") in words.
function Handlers.names(self, kind)
  local list = sorted(self[kind])
  return list[1] and table.concat(list, ", ") or "none"
end

--- The names of handlers of a kind: a list.
function Handlers.list(self, kind)
  return sorted(self[kind])
end

--- The names of signals that handlers take: a list.
function Handlers.signal_names(self)
  return self.is_ending and {} or sorted(self.signal)
end

--- Calls fn(...) as code of the body that may record nothing. Returns as pcall does, errors with their traceback.
function Handlers.call(self, fn, ...)
  local co = coroutine.create(function(...) return xpcall(fn, errors.handler, ...) end)
  self.bracket.enter(co, self.run)
  local results = pack(coroutine.resume(co, ...))
  self.bracket.leave(co)
  if not results[1] then return false, results[2] end
  if coroutine.status(co) == "suspended" then
    return false, errors.WorkflowError("it waits: a query handler or a validator has to answer at once",
      { where = false })
  end
  return unpack(results, 2, results.n)
end

-- ---- what comes ----------------------------------------------------------------------------------------------------

--- What takes a mail that no wait takes; nil: nothing does yet. When run has returned nothing does any more: those at
-- work are waited for, and what comes is for the next era, if there is one.
function Handlers.find(self, mail)
  if self.is_ending then return nil end
  local handler = self[mail.kind or "signal"][mail.name]
  if handler or mail.kind ~= "update" then return handler end
  return self.has_begun and UNTAKEN or nil
end

-- The error of an update that is refused; nil: it is taken.
local function refusal(self, mail, handler)
  if handler == UNTAKEN then
    return errors.UpdateRejectedError(("no handler takes update %q; there are: %s"):format(mail.name,
      self:names "update"), { where = false })
  end
  if not handler.validate then return nil end
  local ok, problem = self:call(handler.validate, (values.decode(mailbox.results(mail)))[1])
  if ok then return nil end
  local _, message = errors.describe(problem)
  return errors.UpdateRejectedError(message, { where = false })
end

--- A mail is given to what takes it. Returns the list of operations to be delivered.
function Handlers.receive(self, run, mail, handler)
  if mail.kind == "update" then
    local problem = refusal(self, mail, handler)
    if problem then
      journal.add(run, "taken", mail.id)
      shown.answer(run, mail.id, "refused", values.encode_error(problem))
      return {}
    end
  end
  local op = run.machine:receive(mail.kind or "signal", mail.name, mail.id, mailbox.results(mail), handler.follow)
  journal.add(run, "taken", mail.id)
  return { op }
end

-- ---- branches ------------------------------------------------------------------------------------------------------

local function start(run, op, fn)
  local machine = run.machine
  local branch = machine:add_branch(("/%s:%s#%d"):format(op.kind, op.name, op.nth), fn, pack(), machine.scope)
  branch.is_handler = true
  entry.put(run, "branches", branch.future)
end

local function payload_of(op)
  return (values.decode(op.value))[1]
end

local function answer(run, op, ok, ...)
  if op.attempt > 0 then return end -- in an earlier life
  local caught = ...
  if ok then
    ok, caught = pcall(values.encode, { ... }, select("#", ...), ("result of update %q"):format(op.name))
  end
  if ok then
    shown.answer(run, op.ref, "ok", caught)
  else
    local _, _, trace = errors.describe(caught)
    shown.answer(run, op.ref, "failed", values.encode_error(errors.original(caught), trace))
  end
  op.attempt = 1
  run.machine:touch(op)
end

--- Registers a handler of queries.
function Handlers.answer(self, name, fn)
  entry.own(self, "query")[name] = fn
end

--- Registers a handler of signals, or of updates (with a validator, or nil).
function Handlers.register(self, run, kind, name, fn, validate)
  local function follow(op)
    op.is_seen = true
    if kind == "signal" then return start(run, op, function() return fn(payload_of(op)) end) end
    start(run, op, function() answer(run, op, xpcall(fn, errors.handler, payload_of(op))) end)
  end
  entry.own(self, kind)[name] = { fn = fn, validate = validate or false, follow = follow }
  run.machine:follow(kind, name, follow)
end

return handlers
