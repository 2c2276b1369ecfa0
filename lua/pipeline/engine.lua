--- engine.lua: the engine as users see it, around the engine of the C core.
--
-- Private fields: _core (the C engine), _timers, _ending (closed inside its own loop, which has not come back),
-- _pending (set of what ends when it is closed: sleeps of tasklets, calls of taskqueue/async.lua), _waiters (stage
-- id -> list of tokens), _finals (stage id -> state, of stages that a blocking wait waits for), _transactions (set of
-- those under way on its file, through any engine of this process), _raised (first error to be raised again, P116),
-- _aborted (set of the stages whose runs are to be ended, or false); _test, _test_retry, _test_callbacks, _test_errors.
-- Of the telemetry: _hooks, _events, _tracing, _worker_number, and what telemetry/faces.lua sets.

local core = require "pipeline.core"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local execute = require "pipeline.workflow.execute"
local eventloop = require "pipeline.eventloop"
local instance = require "pipeline.workflow.instance"
local later = require "pipeline.engine.later"
local log = require "pipeline.telemetry.log"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local queue = require "pipeline.taskqueue.queue"
local report = require "pipeline.support.report"
local settings = require "pipeline.engine.settings"
local slices = require "pipeline.support.slices"
local status = require "pipeline.workflow.status"
local stores = require "pipeline.support.stores"
local timers = require "pipeline.loop.timers"
local waiting = require "pipeline.workflow.waiting"
local place = require "pipeline.support.place"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local engine = {}

local CLASS_LOAD_TIMEOUT = 7 * 86400.0
local WARNING = 30
local TRANSACTION_TIMEOUT, BLOCK_WARNING = 5.0, 10.0

-- Rooms that bring methods of the engine: each returns a table of them. More are in engine/later.lua.
local ROOMS = {
  "pipeline.engine.facts", "pipeline.engine.copies", "pipeline.telemetry.hooks", "pipeline.telemetry.faces",
}

local Engine = {}
local meta = { __name = "pipeline.PublicEngine", __index = Engine, __unserializable = "an engine" }

function meta.__tostring(self)
  return ("pipeline engine (%s)"):format(self._closed and "closed" or self._path)
end

-- ---- opening and closing ---------------------------------------------------------------------------------------

local function set_hooks(self)
  self._core:on("task", function(claim) execute.task(self, claim) end)
  self._core:on("log", function(level, line) self:_log(level, line) end)
  self._core:on("error", function(problem)
    local name, message = errors.describe(problem)
    self:_log(core.LOG_ERROR, ("%s: %s"):format(name, message))
  end)
  self._core:on("late", function(claim, co) require("pipeline.deferred")._late(self, claim, co) end)
  self._core:on("fire", function() require("pipeline.schedule.firing").begin(self) end)
  self._core:on("final", function(id, state, record, slots)
    if state == "aborting" then return execute.interrupt(self, id) end
    if id == 0 then return waiting.told(self) end -- others may have written something
    if state == "ready" then return self._news[id] and self._news[id]:hear() end
    waiting.is_final(self, id, record and { record = record, slots = slots } or state)
  end)
end

local function new(path, handle, given, known)
  local self = setmetatable({
    _core = handle, _path = path, _closed = false, _log_function = known.log, _waiters = {}, _finals = {},
    _news = {}, _told = 0, _replays = false, _crash = false,
    _modules = table.move(given.modules or {}, 1, #(given.modules or {}), 1, {}), _test = false,
    _class_load_timeout = given.class_load_timeout or CLASS_LOAD_TIMEOUT, _raised = false, _web = false,
    _virtual = given.virtual_time or false, _durability = given.durability or "full",
    _targets = known.targets, _mail = known.mail, _mail_warned = false, _base_url = known.base_url,
    _aborted = false, _pending = {}, _ending = false, _hooks = false, _events = false,
    _worker_number = handle:facts().worker_number, _tracing = false,
    _transactions = current.transactions_of(handle:facts().file),
    _block_warning = given.block_warning or BLOCK_WARNING,
    _transaction_timeout = given.transaction_timeout or TRANSACTION_TIMEOUT,
    _has_limit = given.total_storage_limit ~= nil,
    _max_tasks_per_add = given.max_tasks_per_add or queue.MAX_TASKS_PER_ADD,
    _max_tasks_per_lease = given.max_tasks_per_lease or queue.MAX_TASKS_PER_LEASE,
    _known_queues = false, _listens = false, _on_missed = given.on_missed or false,
    _guards = given.guards or false, _warm = known.warm,
    _last_tick = false, _reports = {}, _reports_count = 0,
  }, meta)
  self._timers = timers.new(handle, function(problem)
    local name, message = errors.describe(problem)
    self:_log(core.LOG_ERROR, ("timer: %s: %s"):format(name, message))
  end)
  set_hooks(self)
  return self
end

-- The transaction under way here would have to end first.
local function refuse_reopening(path)
  local tx = current.transaction()
  if tx and tx:_is_open() and path ~= ":memory:" and tx._engine._path == path then
    errors.raise(errors.TransactionError, "open: inside a transaction on the same file (%s)", path)
  end
end

-- Malformed settings leave no engine behind.
local function set_queues(self, queues)
  self._known_queues = {}
  local ok, problem = pcall(function()
    queue.apply(self._core, queue.parse(queues, function(level, line) self:_log(level, line) end))
  end)
  if ok then return end
  self._core:close()
  error(problem, 0)
end

--- Opens or creates a store and makes an engine on it.
-- @tparam string path a file, or ":memory:".
-- @tparam[opt] table given durability ("full" or "normal"), concurrency (runs at work at once, default 64; one
--   that waits is not at work), waiting_memory (bytes, or a text such as "256M", the default: what runs may take that
--   wait; beyond it they keep their places), modules
--   (prefixes a worker may require), stop_grace (seconds that what runs has to end when the engine stops, default 30;
--   then it is cancelled and given back), lease_seconds (until others take over from a process that gives no sign of
--   life, default 15), tombstone_seconds (how long the name of a task that is gone stays blocked, default 9 days),
--   class_load_timeout (seconds until a tree whose class stays missing is aborted, default 7 days), transaction_timeout
--   (seconds that a transaction may be held, 0.001 to 3600, default 5: everybody else on the file waits meanwhile),
--   queues (settings by name, see taskqueue.configure), targets (base URLs by name; `default` is where relative URLs of
--   tasks lead; a target "v2.billing" that is not there leads where "billing" does), must_exist (true: a file that is
--   not there is not made, and one that is no store does not become one: that is a StoreError), file_mode (permissions
--   of the files that are made, such as "640"; default "600": the file holds the secret that signs requests),
--   serve_queues (list of names: only tasks of these are executed by this process, those of pipelines included;
--   default: all), total_storage_limit (bytes, or a text such as "500M": while more of the file is in use this engine
--   adds no tasks to queues; default: none), max_tasks_per_add and max_tasks_per_lease (of one call, default 100 and
--   1000), log (function(level, text, fields), or { format = "text" or "json", level = "info" }, see
--   telemetry/log.lua), metrics ({ public =, classes = }, see telemetry/metrics.lua), tracing ({ endpoint =, service =,
--   sample = }, see telemetry/tracing.lua), mail (the server that mails are sent by, see mail/settings.lua), base_url
--   (such as "https://shop.example.org": where people reach this program, for the links in mails; default: the URL of
--   serve), retention (how long what is over is kept, default { done = "30d", aborted = "90d" }: finished trees go when
--   their root has been done or aborted for so long, with all that belongs to them and their idempotence key; seconds,
--   or a text such as "30d", "12h", "15m"; false: for ever, for one of them or all; `dead`: the same for dead tasks of
--   queues, default false; `max_bytes`: while more of the file is in use the oldest of these go before their time. Of
--   several processes on a file each deletes what is too old by its own setting), no_worker (executes nothing, and
--   deletes nothing unless `retention` is given), journal_retention (how long journals of durable functions are kept
--   that are over, default { done = "7d", aborted = "30d" }, as retention), on_missed (function({ schedule, count,
--   from, to }): times of a schedule at which nobody was there), block_warning (seconds, default 10: the log tells of a
--   body of a durable function that computes for longer without waiting), guards (true: os.time, os.clock, os.getenv,
--   io.open and math.random raise in the body of a durable function, as they do in tests), warm_runs (number, default
--   1000; 0: none) and warm_bytes (bytes, or a text such as "16M"; default 32 MiB): so many durable functions that are
--   suspended are kept in memory, counted by the bytes of their journals, and go on without a replay unless another
--   process has gone on with them meanwhile; and for tests virtual_time, virtual_start (seconds since the epoch), seed,
--   vfs.
-- @return the engine. The first one open is the default one. Raises StoreError with the reason.
function engine.open(path, given, hidden)
  local passed, known
  given, passed, known = settings.read(path, given)
  refuse_reopening(path)
  passed.loop = not given.virtual_time and eventloop.lend() or nil
  local handle, code, message = core.open(path, passed)
  if not handle then
    message = message or code
    if message:sub(1, #path) ~= path then message = path .. ": " .. message end
    error(errors.StoreError(message, { code = code }), 0)
  end
  local self = new(path, handle, given, known)
  if given.queues then set_queues(self, given.queues) end
  if known.mail then errors.check(handle:queue_set({ { name = known.mail.queue } }, true)) end -- is made, or stays
  class.allow_modules(self._modules)
  eventloop.attach(self, self._virtual, passed.loop ~= nil)
  current.add_engine(self, hidden)
  self:_set_up_telemetry(given, known)
  return self
end

local LAST_ANSWERS_STEPS, LAST_ANSWERS_STEP_SECONDS = 20, 0.05

-- Flushes responses still in flight before closing.
local function give_last_answers(self)
  local steps = 0
  while self._web.answering > 0 and steps < LAST_ANSWERS_STEPS do
    if not self._core:run("next", LAST_ANSWERS_STEP_SECONDS) then steps = steps + 1 end
  end
end

local function close_core(self)
  self._core:close()
  self._core:end_waits()
end

-- The loop is left with what the engine has on it.
local function leave_loop(self)
  eventloop.detach(self)
  if self._web and self._web.close then self._web:close() end
end

-- The end of the engine: at once; or, while a transaction of another engine of this process holds the file, with that.
local function close_store(self)
  if not next(self._transactions) then return close_core(self) end
  require("pipeline.transaction").when_free(self, function() close_core(self) end)
end

-- The loop of the engine has come back: it may have been closed in there.
local function end_run(self)
  if not self._ending or self._core:running() then return end
  self._ending = false
  leave_loop(self)
  close_store(self)
end

Engine._end_run = end_run

--- Stops and closes the engine. What it executes is given back without spending an attempt, and its transactions are
-- rolled back; whoever else waits for it, or through it, gets a StoreError that says closed (`code` "ECLOSED"), and so
-- does whoever has called wait, drain or sleep if it is closed in there; run returns. Idempotent, and possible
-- anywhere.
-- While a transaction is held through another engine of this process on the file, the store is left, and what is
-- executed given back, when that has ended: at the latest when its time is up.
function Engine.close(self)
  opened.is_engine(self)
  if self._closed then return end
  local is_running = self._core:running()
  if self._web and self._web.answering > 0 and not is_running then give_last_answers(self) end
  report.flush(self, true)
  if self._hooks then self._hooks:closing() end
  self._closed = true
  if next(self._transactions) then require("pipeline.transaction").drop_all(self) end
  current.remove_engine(self)
  self._timers.closed, self._warm = true, false
  waiting.give_up(self)
  class.forbid_modules(self._modules)
  if not is_running then
    leave_loop(self)
    return close_store(self)
  end
  self._ending = true
  self._core:stop()
  self._core:stop() -- at once: it does not wait for what runs
end

meta.__close = Engine.close

-- ---- inside the library ----------------------------------------------------------------------------------------

function Engine._log(self, level, line, fields)
  local logger = self._log_function or current.logger
  if logger then
    local ok = pcall(function() logger(level, line, log.complete(self, fields)) end)
    if ok then return end
  end
  if level >= WARNING then io.stderr:write(("pipeline [%d] %s\n"):format(level, line)) end
end

-- The base URL of a target: for "v2.billing" that of "v2.billing", else of "billing", else of "default"; or nil.
function Engine._base_of(self, name)
  while type(name) == "string" do
    if self._targets[name] then return self._targets[name] end
    name = name:match("^[^.]*%.(.+)$")
  end
  return self._targets.default
end

-- Where links in mails lead, or nil.
function Engine._link_base(self)
  local web = self._web
  return web and web.base_url or self._base_url or web and web.url or nil
end

-- The name of the program in mails: that of the file, unless it was given. A prefix up to "~" is dropped, as App Engine
-- did with that of its regions.
function Engine._app_name(self)
  local name = self._mail and self._mail.app or self._path:match("([^/]+)$"):gsub("%.[^.]*$", "")
  return (name:gsub("^.*~", ""))
end

function Engine._id_text(self, id)
  return self._core:id_text(id)
end

-- Ends a suspended coroutine of the engine, with its to-be-closed variables.
function Engine._cancel(self, co)
  if coroutine.status(co) ~= "suspended" then return end
  current.instances[co] = nil
  local ok, problem = coroutine.close(co)
  self._core:closed(co)
  if not ok then self:_log(WARNING, "closing an attempt whose time was up: " .. errors.text(problem)) end
end

-- ---- running ---------------------------------------------------------------------------------------------------

local function run_core(self, name, mode, timeout, signals)
  opened.check(self)
  opened.outside_transaction(self, name)
  local ok, code, message = self._core:run(mode, timeout, signals)
  end_run(self)
  if mode ~= "once" then eventloop.release_prefetched(self) end
  if self._closed then
    if name == "run" or name == "step" then return end
    error(errors.closed(name), 0)
  end
  if not ok then
    if code == "ETIMEDOUT" then
      errors.raise(errors.TimeoutError, "%s: not done%s", name,
        timeout and (" after %g s"):format(timeout) or "; what runs waits for something that never comes")
    end
    if code == "ESTATE" then
      errors.raise(errors.UnexpectedPipelineError, "%s cannot be called from inside a task or callback", name)
    end
    errors.raise_core(code, message, name)
  end
  waiting.raise_again(self)
end

--- Works until engine:stop() or SIGINT or SIGTERM, then finishes what runs and returns. What has not ended after
-- `stop_grace` seconds is cancelled and given back, spending nothing. A second signal ends the process at once.
function Engine.run(self)
  run_core(self, "run", "forever", nil, true)
end

--- Makes run return.
function Engine.stop(self)
  opened.check(self)
  self._core:stop()
end

local drain_kinds = { timeout = "duration", delayed = "boolean" }

--- Works until nothing is ready or running; with `delayed`, until nothing is scheduled either. Does not wait for async
-- pipelines that only somebody outside can complete.
-- @tparam[opt] table given timeout (seconds), delayed (default false). Raises TimeoutError; and Interrupted at SIGINT:
-- what was running is given back then, spending nothing.
function Engine.drain(self, given)
  given = options.check(given, drain_kinds, 1, "drain")
  run_core(self, "drain", given.delayed and "all" or "ready", given.timeout, true)
end

--- One step for a host with its own loop: does what can be done without waiting.
function Engine.step(self)
  run_core(self, "step", "once")
end

--- The descriptor to poll for reading before calling step.
function Engine.fd(self)
  opened.check(self)
  return self._core:fd()
end

--- Seconds after which step is to be called even if the descriptor is quiet; -1: no limit.
function Engine.timeout(self)
  opened.check(self)
  return self._core:timeout()
end

--- The engine's time: seconds since the epoch.
function Engine.now(self)
  opened.check(self)
  return self._core:now()
end

local function check_seconds(seconds, name, kind)
  local ok, wanted = options.fits(seconds, kind or "number")
  if not ok then bad_argument(1, name, "%s expected", wanted) end
end

--- Moves virtual time forward by `seconds`, or to a time such as "2027-03-28T01:59:00[Europe/Berlin]". Where schedules
-- fire meanwhile, time stops for each of them: what is due by then, and what it starts, is done.
function Engine.advance(self, seconds)
  opened.check(self)
  if type(seconds) == "string" then seconds = require("pipeline.schedule.passing").seconds_until(self, seconds) end
  check_seconds(seconds, "advance", "duration")
  local target = self._core:now() + seconds
  if self._virtual and not self._core:running() then require("pipeline.schedule.passing").pass(self, target) end
  errors.check(self._core:advance(math.max(0, target - self._core:now())))
end

--- Waits on the engine's clock: suspends a task or a tasklet, else runs the loop.
function Engine.sleep(self, seconds)
  opened.check(self)
  if type(seconds) ~= "number" or seconds - seconds ~= 0 then check_seconds(seconds, "sleep") end
  waiting.sleep(self, seconds)
end

local wait_kinds = { timeout = "duration" }

--- Works until a pipeline is final; inside a task it suspends instead. Virtual time stands then.
-- @param stage_or_id a started pipeline, or its id. If it is of the store of another engine, that engine waits for it.
-- @tparam[opt] table given timeout (seconds).
-- @return its outputs (a future whose slots are filled). Raises AbortedError with `reason`, `failures` (attempts, with
-- their tracebacks) and `failed` = {id =, class =, args = (in short), attempt =, error =, where =}: the stage for which
-- the tree was aborted, nil if somebody asked for the abort;
-- TimeoutError, UnexpectedPipelineError if there is no such pipeline; and Interrupted at SIGINT: what was running is
-- given back then, spending nothing.
function Engine.wait(self, stage_or_id, given)
  given = options.check(given, wait_kinds, 2, "wait")
  opened.check(self)
  local stage = waiting.stage(self, stage_or_id)
  if not stores.same(stage._engine, self) then return stage._engine:wait(stage, given) end
  waiting.refuse_deadlock(self, stage._id)
  opened.outside_transaction(self, "wait")
  return waiting.outputs(self, stage, given.timeout)
end

-- ---- transactions ----------------------------------------------------------------------------------------------

--- Calls fn(tx) in one transaction on the file of the engine: what tx:execute and tx:query do to the user's own tables,
-- and whatever is started, enqueued, deferred or else done through this library meanwhile, by the coroutine that calls
-- this and by tasklets started in it, is committed together when fn returns; or nothing of it is, if fn raises, the
-- process dies, or the transaction is held longer than `transaction_timeout`. What is started or added with
-- `transactional = false` is committed by itself when the transaction has ended, either way.
-- Everybody else who writes to the file waits meanwhile. fn may await; it should not wait for the world. It cannot
-- begin another transaction, nor run or wait for what it starts, nor write to the file through another engine.
-- @tparam function fn its tx has execute and query, see transaction.lua; tx is of no use when fn has returned.
-- @return what fn returns. Raises its error, unchanged; TimeoutError, TransactionError, SQLError, StoreError. An error
-- of what was to be committed by itself is raised too, with `committed` = true; if fn has failed, it is logged.
-- In App Engine: run_in_transaction.
function Engine.transaction(self, fn)
  opened.check(self)
  if type(fn) ~= "function" then
    bad_type(1, "transaction", "function", fn)
  end
  return require("pipeline.transaction").run(self, fn)
end

-- ---- HTTP ------------------------------------------------------------------------------------------------------

-- A pipeline of this store only: who may ask is decided with the secret and the token of this engine.
local function own_from_id(self, id)
  local stage = instance.from_id(self, id, {}, class.Base)
  return stage and stores.same(stage._engine, self) and stage or nil
end

-- What the HTTP side may use of the engine.
local function face_of(self)
  return {
    engine = self._core,
    work = function(fn, web, request)
      if self._tracing then return self._tracing:serve(request, current.work_for, self, fn, web, request) end
      if current.owner() == self then return fn(web, request) end
      return current.work_for(self, fn, web, request)
    end,
    from_id = function(id) return own_from_id(self, id) end,
    run_callback = function(stage, params, who) return execute.run_callback(self, stage, params, who) end,
    get_status_tree = function(id, given, keep) return status.tree(self, id, given, true, keep) end,
    get_root_list = function(given) return status.roots(self, given) end,
    slices = function() return slices.new(self) end,
    get_pipeline_names = class.names,
    get_enforce_auth = function() return current.enforce_auth end,
    log = function(level, line) self:_log(level, line) end,
    answered = function(method, code) require("pipeline.telemetry.metrics").answered(self, method, code) end,
  }
end

local function web_of(self)
  opened.check(self)
  if self._web then return self._web end
  self._web = require("pipeline.http.web").new(face_of(self))
  self:_add_metrics(self._web)
  self._web:route("*", "/_ah/queue/deferred", function(request)
    return require("pipeline.deferred").serve(self, request)
  end)
  self._web.pages = require("pipeline.pages.site").add(self._web, self)
  return self._web
end

function Engine._get_web(self)
  return web_of(self)
end

--- Starts an HTTP server.
function Engine.serve(self, given)
  return web_of(self):serve(given)
end

--- Answers requests for `method` and `path` with fn(request).
function Engine.route(self, method, path, fn)
  return web_of(self):route(method, path, fn)
end

--- Answers a request without a socket: returns {status, headers, body}.
function Engine.handle(self, request)
  if type(request) ~= "table" then
    bad_type(1, "handle", "table", request)
  end
  return web_of(self):handle(request)
end

for _, room in ipairs(ROOMS) do later.bring(Engine, room) end
later.promise(Engine)

return engine
