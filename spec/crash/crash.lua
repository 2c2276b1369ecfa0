--- crash.lua: kills processes with SIGKILL at random moments and checks what they leave behind.
--
--   lua spec/crash/crash.lua [--cycles N] [--seed S] [--processes 1,4] [--verbose] [--keep]
--
-- A cycle ends with at least one kill. Cycles come in rounds, each on a file of its own and with one or several workers
-- on it, a process that leases from a pull queue, one to which tasks are pushed over HTTP, and a visitor that opens and
-- closes the files all along, as the workers do with their own between two things. In every cycle the
-- processes that are missing are started; workers find new roots to start and tasks to add (all the same ones, at the
-- same time) beside what the dead have left, pause, purge, remove and reconfigure queues, revive dead tasks; and after
-- 1 to 150 ms one of them, or all, are killed, now and then with the others. In a round with several workers one is
-- stopped (SIGSTOP) for longer than its lease and then goes on. At the end of a round everybody is killed; the file is
-- checked as it is, worked off by one last process, and checked again. In half of the rounds the wall clock of all
-- processes is set, forward and back, by an hour or a day, at random moments, around a day on which the clocks of a
-- zone change; what is checked stays the same. All processes declare the same schedules, make others, and fire them.
--
--   * every invariant of check.lua, before and after;
--   * every root whose start was acknowledged is there, and final;
--   * sums, counts of stages and of failed attempts are exact: nothing lost, nothing counted twice;
--   * no run was begun while a living process was at it (the log has everything in order);
--   * steps ran one after the other; finalized() ran for every root that has one;
--   * rows of the user's own and the tasks added with them in one transaction agree: all are there, or none, and what a
--     task does in a transaction is done;
--   * tasks of a run exist if, and only if, its attempt succeeded;
--   * what a killed worker had claimed is claimed by it no longer soon after, while others live;
--   * every invariant of ledger.lua: no task lost, names unique, limits kept, leases exclusive, dead letters complete;
--   * every invariant of mails.lua: no signal lost or taken twice, each effect of a step once more a crash at most;
--   * every invariant of sagas.lua: what an aborted one did is undone, the newest first, and no abort is lost;
--   * every invariant of journal.lua: each time of a schedule fires once, none is lost.
--
-- The last line is "N passed, M failed", counted in cycles. The files of rounds that failed are kept.

local check = require "spec.crash.check"
local journal = require "spec.crash.journal"
local ledger = require "spec.crash.ledger"
local mails = require "spec.crash.mails"
local sagas = require "spec.crash.sagas"
local library = require "spec.clocks.library"
local plan = require "spec.crash.plan"
local processes = require "spec.crash.processes"
local rows = require "spec.crash.rows"

local WORKER = "spec/crash/worker.lua"
local CYCLES_PER_ROUND, KILL_MS_MAX, DRAIN_SECONDS, RESCUE_SECONDS, START_SECONDS = 10, 200, 90, 4, 10

-- As in tasks.lua, which this process does not load: it has no engine.
local RULES = {
  limits = setmetatable({ strict = 2, narrow = 3 }, {
    __index = function(_, queue) return queue:sub(1, #plan.ALONE) == plan.ALONE and 1 or nil end,
  }),
  rates = { rated = { rate = 400, bucket = 5 } },
}

local STOP_TRIES = 5
local AHEAD = { 0, 3600, -3600, 86400, -86400 } -- seconds by which clocks that jump are ahead of the true time
local PASSED = { 0, 3, 5 } -- seconds that pass besides; less is taken for a clock that drifts
local AFTER_ALL_ETAS = 10 * 86400
local BEFORE_CHANGE = 2 -- seconds: that is when a round begins
local SLACK = 0.005 -- what setting the clock so often may cost
local COUNTS = { "kills", "stages", "begun", "interrupted", "executed", "again", "late", "leases", "orders", "fired",
  "missed", "effects", "notes", "undone" }

-- ---- arguments -------------------------------------------------------------------------------------------------

local function usage(message)
  io.stderr:write(message, "\nusage: crash.lua [--cycles N] [--seed S] [--processes 1,4] [--verbose] [--keep]\n")
  os.exit(2)
end

local function whole(name, text, least)
  local number = math.tointeger(tonumber(text))
  if not number or number < least then usage(("%s: whole number of at least %d expected"):format(name, least)) end
  return number
end

local function read_arguments(words)
  local given = { cycles = 500, seed = os.time() * 1000 + processes.own_pid() % 1000, processes = { 1, 4 } }
  local i = 1
  while words[i] do
    local name, value = words[i], words[i + 1]
    i = i + 2
    if name == "--cycles" then
      given.cycles = whole(name, value, 1)
    elseif name == "--seed" then
      given.seed = whole(name, value, 0)
    elseif name == "--processes" then
      given.processes = {}
      for count in (value or ""):gmatch("[^,]+") do table.insert(given.processes, whole(name, count, 1)) end
      if #given.processes == 0 then usage("--processes: a list expected") end
    elseif name == "--verbose" or name == "--keep" then
      given[name:sub(3)] = true
      i = i - 1
    else
      usage("unknown argument " .. name)
    end
  end
  return given
end

-- ---- one round of kills ----------------------------------------------------------------------------------------

local Round = {}
Round.__index = Round

-- A clock that jumps does so around a moment at which the clocks of a zone change.
local function new_round(directory, group, number, seed, count)
  local base = ("%s/round-%d"):format(directory, number)
  local jumps, now = number // 2 % 2 == 1, processes.now()
  local ahead = jumps and plan.change(seed).at - BEFORE_CHANGE - now or 0
  group.environment = nil
  if jumps then
    library.make(base .. ".shift")
    library.set(base .. ".shift", ahead)
    group.environment = library.environment(directory .. "/clock.so", base .. ".shift", true)
  end
  return setmetatable({
    jumps = jumps, ahead = ahead, start = math.floor(now + ahead),
    group = group, seed = seed, count = count, path = base .. ".db", log = base .. ".log", output = base .. ".out",
    base = base, alive = {}, helpers = {}, spawned = 0, kills = 0, found = {}, port = 0, is_stopped = {}, batch = 0,
  }, Round)
end

-- Sets the wall clock that all processes of the round see, ahead of the time of the round.
function Round:set_clock(seconds)
  if self.jumps then library.set(self.base .. ".shift", self.ahead + seconds) end
end

function Round:fail(...)
  self.found[#self.found + 1] = string.format(...)
end

-- The log says that a process is to die, or to stop, before it can.
function Round:note(verb, pid)
  local file <close> = assert(io.open(self.log, "a"))
  file:write(("%s|%d\n"):format(verb, pid))
end

function Round:spawn(mode)
  self.spawned = self.spawned + 1
  return self.group:spawn(self.output, WORKER, mode, self.path, self.log, self.seed, self.batch, self.spawned,
    self.port, self.start)
end

function Round:kill_process(pid)
  self:note("kill", pid)
  self.kills = self.kills + 1
  local code = self.group:kill(pid)
  if code ~= 137 then self:fail("process %d ended by itself with exit code %d", pid, code) end
end

-- Somebody who works must notice, soon, that the claims of this process are free, if the process is dead or its lease
-- over.
function Round:check_rescue(pid)
  local sql = ("SELECT count(*) FROM pl_task JOIN pl_worker AS w ON w.id = owner WHERE state = 2 AND pid = %d;")
    :format(pid)
  local free = processes.eventually(RESCUE_SECONDS, function() return check.sql(self.path, sql)[1] == "0" end)
  if not free then self:fail("after %d s the dead, or stopped, %d still has claims", RESCUE_SECONDS, pid) end
end

function Round:is_rescuer_left()
  for _, pid in ipairs(self.alive) do
    if not self.is_stopped[pid] then return true end
  end
end

-- Whoever stands still lives on: what it does when it wakes up is the question.
function Round:kill(index)
  if self.is_stopped[self.alive[index]] then return end
  local pid = table.remove(self.alive, index)
  self:kill_process(pid)
  if self:is_rescuer_left() and math.random(4) == 1 then self:check_rescue(pid) end
end

-- ---- those who do not work, but lease or answer ------------------------------------------------------------------

-- What the target says when it is there: its port; the next one has the same.
function Round:count_ports()
  local file <close> = io.open(self.log)
  local n, port = 0, nil
  for found in (file and file:read("a") or ""):gmatch("port|(%d+)") do n, port = n + 1, found end
  return n, port
end

function Round:find_port(n)
  return processes.eventually(START_SECONDS, function()
    local found, port = self:count_ports()
    return found > n and port
  end)
end

function Round:start_helpers()
  if not self.helpers.target then
    self.helpers.target = self:spawn("target")
    if self.port == 0 then self.port = assert(self:find_port(0), "the target of push tasks does not start") end
  end
  if not self.helpers.visitor then
    self.helpers.visitor = self.group:spawn(self.output, "spec/crash/visitor.lua", self.path, self.seed + self.batch)
  end
  for i = 1, self.count > 1 and 2 or 1 do self.helpers[i] = self.helpers[i] or self:spawn("pull") end
end

function Round:kill_helper(name)
  self:kill_process(self.helpers[name])
  self.helpers[name] = nil
end

function Round:kill_some_helpers()
  local names = {}
  for name in pairs(self.helpers) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    if math.random(3) == 1 then self:kill_helper(name) end
  end
end

-- ---- one that stands still ---------------------------------------------------------------------------------------

-- Has it begun to execute several things that it has not ended?
function Round:is_busy(pid)
  local open = 0
  for line in io.lines(self.log) do
    if line:match("^do|[^|]*|[^|]*|(%d+)") == tostring(pid) then open = open + 1 end
    if line:match("^did|[^|]*|(%d+)") == tostring(pid) then open = open - 1 end
  end
  return open >= 3
end

-- Stopped in the middle of a commit, it would stop all others.
function Round:is_locked()
  return not pcall(check.sql, self.path, ".timeout 200\nBEGIN IMMEDIATE; ROLLBACK;")
end

-- Stops one, in the middle of something if it ever is.
function Round:stop_one()
  local pid = self.alive[#self.alive]
  for i = 1, STOP_TRIES do
    processes.eventually(0.3, function() return self:is_busy(pid) end)
    self:note("stop", pid)
    self.group:signal(pid, "STOP")
    processes.sleep(0.002)
    if self:is_busy(pid) and not self:is_locked() then break end
    if i < STOP_TRIES or self:is_locked() then self.group:signal(pid, "CONT") end
  end
  self.is_stopped[pid], self.stopped_pid, self.stopped_at = true, pid, processes.now()
end

-- Lets it go on once its lease is over, and others have its tasks: whoever dies is a reason for them to look.
function Round:let_go_on()
  if not self.stopped_pid then return end
  processes.sleep(math.max(0, self.stopped_at + plan.LEASE_SECONDS + 0.1 - processes.now()))
  self:kill_helper(1)
  self:check_rescue(self.stopped_pid)
  processes.sleep(math.random() * 0.03)
  self:note("cont", self.stopped_pid)
  self.group:signal(self.stopped_pid, "CONT")
  self.is_stopped[self.stopped_pid], self.stopped_pid = nil, nil
  processes.sleep(0.15)
end

-- ---- cycles ------------------------------------------------------------------------------------------------------

function Round:kill_workers()
  if self.count == 1 or math.random(4) == 1 then
    for index = #self.alive, 1, -1 do self:kill(index) end
  else
    self:kill(math.random(#self.alive))
  end
end

function Round:cycle(number)
  self.batch = number
  self:start_helpers()
  while #self.alive < self.count do table.insert(self.alive, (self:spawn("work"))) end
  if self.count > 1 and number == CYCLES_PER_ROUND // 2 then self:stop_one() end
  local left = math.random(1, KILL_MS_MAX) / 1000
  if math.random(2) == 1 then
    local part = math.random() * left
    processes.sleep(part)
    self.ahead = self.ahead + PASSED[math.random(#PASSED)]
    self:set_clock(AHEAD[math.random(#AHEAD)])
    left = left - part
  end
  processes.sleep(left)
  if number == CYCLES_PER_ROUND - 2 then self:let_go_on() end
  self:kill_some_helpers()
  self:kill_workers()
end

function Round:kill_all()
  while #self.alive > 0 do self:kill_process(table.remove(self.alive)) end
  for _, pid in pairs(self.helpers) do self:kill_process(pid) end
  self.helpers = {}
end

-- A command that the visitor has started outlives it, and the file is to be copied as it is.
function Round:wait_for_commands()
  local look = "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -qF " .. processes.quote(self.path)
  return processes.eventually(START_SECONDS, function() return not os.execute(look) end)
end

-- The target lives on, for the last process.
function Round:drain(cycles)
  local targets = self:count_ports()
  local target = self:spawn("target")
  self.batch = cycles
  if not self:find_port(targets) then self:fail("the target of push tasks does not start") end
  local pid = self:spawn("drain")
  local code = self.group:wait_for(pid, DRAIN_SECONDS)
  if code ~= 0 then self:fail("working off the rest: %s", code and "exit code " .. code or "did not end") end
  self.group:signal(target, "TERM")
  code = self.group:wait_for(target, 10)
  if code ~= 0 then self:fail("the target: %s", code and "exit code " .. code or "did not end") end
end

-- Nobody may have come as far as making the user's tables.
function Round:row_queries(path, name)
  return check.sql(path, rows.count_tables)[1] == "4" and rows[name] or {}
end

function Round:finish(cycles)
  self:kill_all()
  if not self:wait_for_commands() then self:fail("somebody has the file open who is not there any more") end
  if not io.open(self.path) then return end -- nobody came as far as making it
  local copy = self.base .. "-copy.db"
  check.copy(self.path, copy)
  local ok, found = pcall(check.file, copy, { limits = RULES.limits, more = { self:row_queries(copy, "always") } })
  for _, text in ipairs(ok and found or { tostring(found) }) do
    -- Killed while it made the file: the schema is not there yet.
    if not text:find("no such table") then self:fail("after the kills: %s", text) end
  end
  self:set_clock(AFTER_ALL_ETAS) -- an eta is a time of day: all that were given must come
  self:drain(cycles)
  found, self.stages = check.file(self.path, { finished = true, more = {
    self:row_queries(self.path, "always"), self:row_queries(self.path, "finished") } })
  for _, text in ipairs(found) do self:fail("%s", text) end
end

-- ---- what the log and the file tell ----------------------------------------------------------------------------

local readers = {}

function readers.begin(round, id, class, attempt, pid)
  local holder, stopped = round.holder[id], round.ledger.stopped
  round.begun = round.begun + 1
  if holder and stopped[pid] then
    return -- it stood still, and comes too late
  elseif holder and not round.killed[holder] and not stopped[holder] then
    round:fail("run %s of %s (attempt %s) begun by %s while %s was at it", class, id, attempt, pid, holder)
  elseif holder then
    round.interrupted = round.interrupted + 1
  end
  round.holder[id] = pid
  round.ran[id] = true
end

readers["end"] = function(round, id, pid)
  if round.holder[id] == pid then round.holder[id] = nil end
end
function readers.willsell() end
function readers.sold(round, key) round.sold[key] = true end
function readers.unsold(round, key) round.unsold[key] = true end
function readers.kill(round, pid) round.killed[pid] = true end
function readers.started(round, key) round.started[key] = true end
function readers.result(round, key, value) round.result[key] = value end
function readers.finalized(round, id, aborted) round.finalized[id] = aborted end
function readers.aborted() end
function readers.drained() end
function readers.port() end

function readers.step(round, key, number, pid)
  number = tonumber(number)
  if round.ledger.stopped[pid] then return end
  if number < (round.step[key] or 0) then round:fail("step %d of %s after step %d", number, key, round.step[key]) end
  round.step[key] = number
end

-- What a killed process may leave in the log: a callback too late for its stage (its tree is being aborted, or an
-- earlier execution was killed after it had filled the outputs), the retry that Flaky asks for, a worker that was
-- killed in the middle of an answer, a task whose workers were killed again and again.
local EXPECTED = {
  "^callback of .* it is final",
  "^a callback task of .* was refused and is dropped: 409 This pipeline is finished",
  "^run of spec%.crash%.classes%.Flaky .* failed, attempt 1 of 3: .* the first attempt; runs again in",
  "has ended, and nothing in it has taken signal \"%l+\"$",
  "^push task .* failed, try %d+: Empty reply from server",
  "^push task .* failed, try %d+: .*[Cc]onnect",
  "^push task .* failed, try %d+: answered 403", -- dropped or given up meanwhile; the ledger judges whether it may
  "^deferred task %x+ of queue .* failed, try %d+: the workers that executed it died %d+ times in a row",
}

function readers.log(round, level, text)
  local expected = text:find("its signature is too old", 1, true) and round.jumps or
    text:find("another worker declared this one dead", 1, true) and next(round.ledger.stopped)
  text = text:gsub("^%d+ more like this were not written: ", "")
  for _, pattern in ipairs(EXPECTED) do expected = expected or text:find(pattern) end
  if not expected then round:fail("log %s: %s", level, text) end
end

function Round:read_log()
  for _, name in ipairs { "holder", "killed", "started", "result", "finalized", "step", "ran", "rows", "sold",
    "unsold" } do
    self[name] = {}
  end
  self.begun, self.interrupted, self.journal, self.mails = 0, 0, journal.new(), mails.new()
  self.sagas = sagas.new()
  self.ledger = ledger.new { limits = RULES.limits, rates = RULES.rates, tombstone = plan.tombstone(self.seed),
    slack = self.jumps and SLACK }
  for line in io.lines(self.log) do
    local verb, rest = line:match("^(%l+)|?(.*)$")
    local words = {}
    for word in ((rest or "") .. "|"):gmatch("([^|]*)|") do words[#words + 1] = word end
    local is_mail = self.mails:read(verb, table.unpack(words)) or self.sagas:read(verb, table.unpack(words))
    if is_mail then self.ran[words[1]] = true end
    local known = self.ledger:read(verb, table.unpack(words)) or self.journal:read(verb, table.unpack(words))
    if readers[verb] then
      readers[verb](self, table.unpack(words))
    elseif not (known or is_mail) then
      self:fail("strange line in the log: %s", line)
    end
  end
  local output = io.open(self.output)
  if output then
    local text = output:read("a")
    if text ~= "" then self:fail("output: %s", text:sub(1, 2000)) end
    output:close()
  end
end

local has_finalized = { Tree = true, Asyncs = true, Doomed = true, Hopeless = true }

function Round:check_root(key, class, may_abort, value, stages)
  local result = self.result[key]
  local is_aborted = result == "aborted"
  if result == "missing" then
    if self.started[key] then self:fail("%s: its start was acknowledged, but it is not there", key) end
    return
  elseif result == nil then
    return self:fail("%s: no result", key)
  elseif result ~= tostring(value) and not (is_aborted and may_abort) then
    self:fail("%s (%s): %s instead of %s", key, class, result, tostring(value))
  end
  if not is_aborted and stages and self.rows[key] ~= stages then
    self:fail("%s (%s): %s stages instead of %d", key, class, tostring(self.rows[key]), stages)
  end
  if not is_aborted and not self.ran[key] then self:fail("%s: done, but it never ran", key) end
  if has_finalized[class] and self.finalized[key] ~= tostring(is_aborted) then
    self:fail("%s (%s): finalized() said %s", key, class, tostring(self.finalized[key]))
  end
end

function Round:check_results(cycles)
  for _, line in ipairs(check.sql(self.path, "SELECT cast(r.key AS text) || '|' || count(*) FROM pl_stage AS s "
    .. "JOIN pl_stage AS r ON r.id = s.root GROUP BY r.id;")) do
    local key, count = line:match("^(.-)|(%d+)$")
    self.rows[key] = math.tointeger(count)
  end
  for cycle = 1, cycles do
    for _, item in ipairs(plan.batch(self.seed, cycle)) do
      self:check_root(item.key, item.class, item.may_abort, plan.expected(item))
      for n = 1, item.class == "Starter" and item.args[2] or 0 do
        local key = ("%s-%d"):format(item.key, n)
        if self.result[item.key] == tostring(item.args[2]) then self.started[key] = true end
        self:check_root(key, "Fan", false, plan.expected_of_started(n))
      end
    end
  end
end

-- A run has added all of its tasks, or none; an attempt that failed, none.
function Round:check_booked(cycles)
  local entries = self.ledger.entries
  for cycle = 1, cycles do
    for _, item in ipairs(plan.batch(self.seed, cycle)) do
      local n = item.args[2]
      local last = item.class == "Booker" and plan.booked_attempt(n) or 0
      for attempt = 1, last do
        local is_done = attempt == last and self.result[item.key] == tostring(n)
        for _, task in ipairs(plan.booked(item.key, n, attempt)) do
          local entry = entries[task.key]
          if is_done and not (entry and entry.done) then
            self:fail("%s: its run succeeded, but it is lost", task.key)
          end
          if not is_done and entry then self:fail("%s: its run did not succeed, but it was executed", task.key) end
        end
      end
    end
  end
end

-- What was committed is there, what was undone is not; and the rows that tasks have inserted are those of the tasks
-- that were done.
function Round:check_rows()
  if not next(self:row_queries(self.path, "always")) then return end
  local orders, times = {}, {}
  for _, key in ipairs(check.sql(self.path, "SELECT key FROM crash_order;")) do
    orders[key] = true
    if self.unsold[key] then self:fail("the order %s was undone, but it is there", key) end
  end
  for key in pairs(self.sold) do
    if not orders[key] then self:fail("the order %s was committed, but it is not there", key) end
  end
  for _, line in ipairs(check.sql(self.path, "SELECT key || '|' || times FROM crash_done;")) do
    local key, count = line:match("^(.*)|(%d+)$")
    times[key] = tonumber(count)
    if not self.ledger.entries[key] then self:fail("%s has a row, but was never executed", key) end
  end
  for key, entry in pairs(self.ledger.entries) do
    if entry.successes > (times[key] or 0) then
      self:fail("%s was done %d times, but its row says %s", key, entry.successes, tostring(times[key]))
    end
  end
  self.orders = #check.sql(self.path, "SELECT key FROM crash_order;")
end

-- Attempts are counted once, and only those that failed: not the ones that were killed.
function Round:check_attempts()
  local sql = [[
    SELECT s.class_path || ' ' || s.attempt || ' attempts, ' || count(f.id) || ' failures' FROM pl_stage AS s
    LEFT JOIN pl_failure AS f ON f.stage = s.id JOIN pl_stage AS r ON r.id = s.root
    WHERE r.state = 4 OR s.class_path LIKE '%.Hopeless' AND s.abort_message NOT LIKE 'by a worker'
    GROUP BY s.id HAVING s.attempt <> count(f.id) OR s.attempt <>
      CASE s.class_path WHEN 'spec.crash.classes.Flaky' THEN 1 WHEN 'spec.crash.classes.Hopeless' THEN 2
      WHEN 'spec.crash.classes.Booker' THEN s.attempt ELSE 0 END;]]
  for _, line in ipairs(check.sql(self.path, sql)) do self:fail("failed attempts: %s", line) end
end

-- The dead-letter lists have every dead task of the file.
function Round:check_dead()
  for _, line in ipairs(check.sql(self.path, "SELECT q.name || '|' || count(*) FROM pl_task JOIN pl_queue AS q "
    .. "ON q.id = queue WHERE state = 4 GROUP BY q.id;")) do
    local queue, count = line:match("^(.*)|(%d+)$")
    local listed = self.ledger.dead_count[queue] or 0
    if listed ~= tonumber(count) then self:fail("queue %s: %s dead, but %d in the list", queue, count, listed) end
  end
end

function Round:check_fires()
  for _, line in ipairs(check.sql(self.path, journal.dump)) do self.journal:read_file(line) end
  for _, text in ipairs(self.journal:finish(self.ledger.entries)) do self:fail("%s", text) end
  self.fired, self.missed = self.journal.fired, self.journal.missed
end

function Round:check_mails()
  for _, text in ipairs(self.mails:finish(check.sql(self.path, mails.left))) do self:fail("%s", text) end
  for _, text in ipairs(self.sagas:finish()) do self:fail("%s", text) end
  self.effects, self.notes, self.undone = self.mails.effects_count, self.mails.taken, self.sagas.undone
end

function Round:check(cycles)
  self:read_log()
  if self.stages then
    self:check_results(cycles)
    self:check_booked(cycles)
    self:check_attempts()
    self:check_dead()
    self:check_rows()
    self:check_fires()
    self:check_mails()
    for _, text in ipairs(self.ledger:finish()) do self:fail("%s", text) end
  elseif next(self.started) then
    self:fail("the file is gone")
  end
end

-- ---- all rounds ------------------------------------------------------------------------------------------------

-- What happened, in words. A run or a task is executed again when a process was killed at it; what ends too late is
-- that of a process that stood still.
local function counted(counts)
  local n = {}
  for i, name in ipairs(COUNTS) do n[i] = counts[name] or 0 end
  return ("%d kills; %d stages, %d runs begun, %d of them again; %d executions of tasks, %d of them again, %d ended "
    .. "too late; %d leases, %d orders; %d fires, %d times missed; %d effects of steps, %d notes taken, %d "
    .. "undone"):format(
    table.unpack(n))
end

local function run_round(given, totals, number, cycles, directory, group)
  local count = given.processes[(number - 1) % #given.processes + 1]
  local round = new_round(directory, group, number, given.seed + number, count)
  for cycle = 1, cycles do round:cycle(cycle) end
  local ok, problem = xpcall(function()
    round:finish(cycles)
    round:check(cycles)
  end, debug.traceback)
  if not ok then round:fail("%s", problem) end
  for _, name in ipairs { "executed", "again", "late", "leases" } do
    round[name] = round.ledger and round.ledger[name] or 0
  end
  for _, name in ipairs(COUNTS) do
    totals[name] = totals[name] + (round[name] or 0)
  end
  if given.verbose or #round.found > 0 then
    print(("round %d: %d cycles, %d worker(s)%s, %s: %s"):format(number, cycles, count,
      round.jumps and ", clocks that jump" or "", counted(round),
      #round.found == 0 and "good" or #round.found .. " violations"))
  end
  for i, text in ipairs(round.found) do
    if i <= 20 then print("  " .. text) end
  end
  if #round.found == 0 and not given.keep then
    os.execute("rm -f " .. processes.quote(round.base) .. "*")
  else
    print("  kept: " .. round.path)
  end
  local outcome = #round.found == 0 and "passed" or "failed"
  totals[outcome] = totals[outcome] + cycles
end

local function main(words)
  local given = read_arguments(words)
  local totals = { passed = 0, failed = 0 }
  for _, name in ipairs(COUNTS) do totals[name] = 0 end
  local directory, started = processes.directory(), processes.now()
  local group = processes.group(directory)
  library.build(directory)
  math.randomseed(given.seed)
  print(("crash: %d cycles, seed %d"):format(given.cycles, given.seed))
  io.stdout:setvbuf("line")
  local left, number = given.cycles, 0
  while left > 0 do
    number = number + 1
    local cycles = math.min(CYCLES_PER_ROUND, left)
    left = left - cycles
    run_round(given, totals, number, cycles, directory, group)
  end
  group:close()
  if totals.failed == 0 and not given.keep then os.execute("rm -rf " .. processes.quote(directory)) end
  print(("crash: %.0f s, %s"):format(processes.now() - started, counted(totals)))
  if totals.failed > 0 then print(("crash: failed; again with --seed %d"):format(given.seed)) end
  print(("%d passed, %d failed"):format(totals.passed, totals.failed))
  os.exit(totals.failed == 0)
end

main(arg)
