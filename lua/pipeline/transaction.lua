--- transaction.lua: engine:transaction: the user's own rows, pipelines and tasks in one commit.
--
-- A transaction is a session of the store (csrc/store/session.c), begun before the function is called and committed
-- when it has returned. It belongs to the coroutine that called it, to plain coroutines run inside the function, and
-- to the tasklets started in it, which carry it as a local value: whatever they ask the store goes there
-- (current.store). Everybody else waits: a managed coroutine in the queue of the store, a tasklet or a plain script
-- in `gate`, so that the loop can go on meanwhile.
--
--   NEW ──begin──► OPEN ──the function returned──► COMMITTED ──► what was left for later
--    │               └──it raised, was killed, or the store has given up──► LOST ──► what was left for later
--    └──cannot begin──► LOST
--
-- Private fields: _engine, _session (of the C core), _state, _later (list of functions: what is committed by itself),
-- _undo (flat list, four for each: a function and its arguments: what objects are to forget if it is lost), _queues
-- (table: queue that takes tasks -> whether it is a pull queue), _waiters (set of tokens), _until (when its time is up,
-- by core.now; false: not known), _coroutine (that called the function), _in_main.

local core = require "pipeline.core"
local await = require "pipeline.support.await"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local outside = require "pipeline.tasklet.outside"
local queue_errors = require "pipeline.taskqueue.errors"
local task_context = require "pipeline.tasklet.context"
local place = require "pipeline.support.place"
local bad_argument, bad_type, misuse = place.bad_argument, place.bad_type, place.misuse

local transaction = {}

local BadTransactionStateError = queue_errors.classes.BadTransactionStateError
local ERROR = 40

local NEW, OPEN, COMMITTED, LOST = "new", "open", "committed", "lost"

local Tx = {}
local meta = { __name = "pipeline.Transaction", __index = Tx }
local KEY = {} -- of the local value
local open = {} -- set of all transactions that are under way

local running, status, now = coroutine.running, coroutine.status, core.now

function meta.__tostring(self)
  return ("transaction (%s)"):format(self._state)
end

-- ---- which one is it? ------------------------------------------------------------------------------------------

-- Plain coroutines that a program makes for itself carry nothing. Where one runs, the coroutine of the transaction
-- waits for it to come back; only the main one also waits for the loop, and what runs there is not its own.
local function around(co)
  if eventloop.managed() then return nil end -- that of somebody else
  for tx in pairs(open) do
    if status(tx._coroutine) == "normal" and not (tx._in_main and eventloop.is_running()) and co ~= tx._coroutine then
      return tx
    end
  end
end

local function find()
  return task_context.get_local(KEY) or next(open) and around(running()) or nil
end

--- Whether it is under way.
function Tx._is_open(self)
  return self._state == OPEN
end

-- ---- others wait -----------------------------------------------------------------------------------------------

-- One that keeps the store busy: not one whose time is up, for the store has ended that.
local function busy(engine)
  for tx in pairs(engine._transactions) do
    if not tx._until or tx._until > now() then return tx end
  end
end

--- Waits until no transaction keeps the store of the engine busy, while the loop goes on. Managed coroutines need not.
function transaction.gate(engine)
  local _, managed = await.way(engine)
  if managed == engine._core then return end -- the store has a queue for them
  local tx = busy(engine)
  while tx do
    local token = outside.new(function(token) tx._waiters[token] = nil end, "the end of a transaction")
    tx._waiters[token] = true
    token:wait(tx._until and math.max(tx._until - now(), 0.001) or nil)
    tx = busy(engine)
  end
end

current.set_transactions(find, transaction.gate)

-- As busy, but through another engine.
local function busy_elsewhere(engine)
  for tx in pairs(engine._transactions) do
    if tx._engine ~= engine and (not tx._until or tx._until > now()) then return tx end
  end
end

--- Calls fn() as soon as no transaction of another engine of this process keeps the store of `engine` busy: now, or
-- when those have ended.
function transaction.when_free(engine, fn)
  local tx = busy_elsewhere(engine)
  if not tx then return fn() end
  tx._waiters[{ wake = function() transaction.when_free(engine, fn) end }] = true
end

-- ---- what the function gets ------------------------------------------------------------------------------------

local function refuse_over(self, what)
  errors.raise(errors.TransactionError, "%s: the transaction is over: it %s", what,
    self._state == COMMITTED and "was committed" or "was rolled back")
end

local function check_self(self, name)
  if getmetatable(self) ~= meta then
    misuse(("bad self of '%s': a transaction expected (its methods are called with a colon)"):format(name))
  end
end

local function check_values(name, n, ...)
  for i = 1, n do
    local value = select(i, ...)
    local kind = type(value)
    if value ~= value then
      bad_argument(i + 1, name, "nan cannot be stored")
    elseif kind == "table" or kind == "function" or kind == "thread" or kind == "userdata" and
      value ~= core.null then
      bad_argument(i + 1, name, "nil, boolean, number or string expected, got %s", kind)
    end
  end
end

-- Raises what the store says of a statement.
local function raise_sql(code, message, name)
  if code == "ETIMEDOUT" then errors.raise(errors.TimeoutError, "%s: %s", name, message) end
  if code == "EOVER" then errors.raise(errors.TransactionError, "%s: %s", name, message) end
  if code == "ESQL" or code == "ECONSTRAINT" or code == "ELIMIT" then
    error(errors.SQLError(name .. ": " .. message, { code = code, traceback = debug.traceback(nil, 2) }), 0)
  end
  errors.raise_core(code, message, name)
end

local function run_sql(self, name, query, sql, ...)
  check_self(self, name)
  if type(sql) ~= "string" then
    bad_type(1, name, "SQL", sql)
  end
  local n = select("#", ...)
  check_values(name, n, ...)
  if self._state ~= OPEN then refuse_over(self, name) end
  local first, second, message = self._session:sql(sql, { ... }, n, query)
  if first == nil then raise_sql(second, message, name) end
  return first, second
end

--- Runs a statement, or, without values, several.
-- @tparam string sql parameters are `?`; there are as many values.
-- @param ... nil and JSON's null are NULL, true and false are 1 and 0; integers, floats and strings are exact. A string
--   is stored as text if it is UTF-8 without zero bytes, else as a blob.
-- @return how many rows were inserted, updated or deleted (those that triggers changed are not counted), and the rowid
-- of the one inserted last, if one was. Rows of a SELECT are thrown away.
-- Raises SQLError with SQLite's message, also when a constraint is violated (`code` is "ECONSTRAINT"); the statement
-- has then changed nothing, and the transaction can go on, unless the statement itself made SQLite roll back (OR
-- ROLLBACK). Raises TimeoutError when the transaction was held too long, TransactionError when it is over. Refused, as
-- SQLError: COMMIT and its like, ATTACH, PRAGMA but those that only tell something, and whatever writes to tables that
-- begin with pl_ or depends on them.
function Tx.execute(self, sql, ...)
  return run_sql(self, "execute", false, sql, ...)
end

--- Runs one statement and gives its rows.
-- @return list of tables, from the name of a column to its value; NULL is nil. At most 64 MiB. Values and errors are
-- those of execute; two columns of one name are an error.
function Tx.query(self, sql, ...)
  return (run_sql(self, "query", true, sql, ...))
end

-- ---- what belongs to it ----------------------------------------------------------------------------------------

--- Whether what is started or enqueued here belongs to the transaction: `transactional` is nil, true or false. Raises
-- BadTransactionStateError if it should, and the transaction is over.
function Tx._takes(self, transactional, what)
  if transactional == false then return false end
  if self._state ~= OPEN then
    errors.raise(BadTransactionStateError, "%s: the transaction this tasklet was started in is over; " ..
      "transactional = false adds without one", what)
  end
  return true
end

--- fn() is called when the transaction has ended, either way, or now if it has.
function Tx._after(self, fn)
  if self._state ~= OPEN then return fn() end
  self._later[#self._later + 1] = fn
end

--- fn() is called if and when the transaction has been committed.
function Tx._if_committed(self, fn)
  self:_after(function()
    if self._state == COMMITTED then fn() end
  end)
end

--- fn(a, b, c), which are not nil, is called if the transaction is lost.
function Tx._if_lost(self, fn, a, b, c)
  local undo = self._undo
  local n = #undo
  undo[n + 1], undo[n + 2], undo[n + 3], undo[n + 4] = fn, a or false, b or false, c or false
end

--- Whether the store cannot refuse tasks without names for this queue, of the mode (true: pull). Then they need no
-- answer. It can if a task was never added to the queue here, where the file may be full, or the time is up.
function Tx._takes_all(self, queue, pull)
  return self._queues[queue] == pull and not self._engine._has_limit and not (self._until and now() >= self._until)
end

--- The store has taken a task for that queue.
function Tx._took(self, queue, pull)
  self._queues[queue] = pull
end

--- Queues are others now.
function Tx._forget_queues(self)
  self._queues = {}
end

-- ---- life ------------------------------------------------------------------------------------------------------

local function new(engine)
  local session, code, message = engine._core:session()
  if not session then errors.raise_core(code, message, "transaction") end
  local co, in_main = running()
  return setmetatable({
    _coroutine = co, _in_main = in_main, _engine = engine, _session = session, _state = NEW, _later = {}, _undo = {},
    _queues = {}, _waiters = {}, _until = false,
  }, meta)
end

local function begin(self)
  local engine = self._engine
  engine._transactions[self] = true
  local ok, code, message = self._session:begin(engine._transaction_timeout)
  if not ok then errors.raise_core(code, message, "transaction") end
  self._state = OPEN
  open[self] = true
  engine._core:urgent(true) -- whoever writes to the file waits for the end
  -- Virtual time says nothing of the time that the store measures.
  if not engine._virtual then self._until = now() + engine._transaction_timeout end
  task_context.set_local(KEY, self)
end

-- The store has been told how it ends: nobody waits any more.
local function free(self)
  self._engine._transactions[self] = nil
  for token in pairs(self._waiters) do token:wake(true) end
end

-- It is over for its function, too: nothing belongs to it.
local function leave(self, state)
  self._state = state
  open[self] = nil
  if not self._engine._closed then self._engine._core:urgent(false) end
  if task_context.get_local(KEY) == self then task_context.set_local(KEY, nil) end
  free(self)
  local undo = self._undo
  self._undo = {}
  if state == COMMITTED then return end
  for i = #undo - 3, 1, -4 do undo[i](undo[i + 1], undo[i + 2], undo[i + 3]) end
end

-- What failed only because nothing can wait here, where a coroutine is closed, is done at the next turn of the loop.
local function try_later(engine, fn)
  local ok, problem = pcall(fn)
  if ok then return end
  local busy_here = errors.is(problem, errors.TaskletError) or errors.is(problem) and problem.code == "EBUSY"
  if busy_here and not engine._closed and engine._core:spawn(try_later, engine, fn) then return end
  engine:_log(ERROR, "after a transaction that was rolled back: " .. errors.text(problem))
end

-- It was not committed: an error, or its coroutine is closed. What comes later is not lost with it.
function meta.__close(self)
  if self._state ~= NEW and self._state ~= OPEN then return end
  self._session:drop()
  leave(self, LOST)
  for _, fn in ipairs(self._later) do try_later(self._engine, fn) end
end

local function run_later(self)
  local first
  for _, fn in ipairs(self._later) do
    local ok, problem = xpcall(fn, errors.handler)
    first = first or not ok and { errors.original(problem) }
  end
  if not first then return end
  if errors.is(first[1]) then rawset(first[1], "committed", true) end
  error(first[1], 0)
end

-- The function has returned.
local function commit(self, ...)
  local engine = self._engine
  if engine._closed then
    errors.raise(errors.TransactionError, "the engine was closed: the transaction has been rolled back")
  end
  local ok, code, message = self._session:finish(true)
  if not ok then
    if code == "ETIMEDOUT" then errors.raise(errors.TimeoutError, "%s", message) end
    if code == "EOVER" then errors.raise(errors.TransactionError, "%s", message) end
    errors.raise_core(code, message, "commit of a transaction")
  end
  leave(self, COMMITTED)
  run_later(self)
  return ...
end

--- See Engine.transaction.
function transaction.run(engine, fn)
  current.refuse_in_body("a transaction")
  local outer = current.transaction()
  if outer and outer:_is_open() then
    errors.raise(errors.TransactionError, "a transaction inside a transaction is not possible")
  end
  transaction.gate(engine)
  local self <close> = new(engine)
  begin(self)
  return commit(self, await.results(fn(self)))
end

--- Rolls back those of the engine, for it closes.
function transaction.drop_all(engine)
  for tx in pairs(engine._transactions) do
    if tx._engine == engine then
      tx._session:drop()
      free(tx)
    end
  end
end

return transaction
