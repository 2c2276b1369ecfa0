--- check.lua: the invariants of a store checked in its file, from outside, by the sqlite3
-- command.
--
-- What holds after every commit, whoever died when: check.file(path). What holds when everything that was started has
-- come to its end, too: check.file(path, { finished = true }). Both return a list of what is wrong, empty if nothing.
-- The states are those of csrc/store/model.h.

local check = {}

local WAITING, READY, RUN, FINALIZING, DONE, ABORTED = 0, 1, 2, 3, 4, 6

-- Waits and filled slots, wherever they are: in the row of the stage whose default slot it is, or in their own.
local WAITS = "(SELECT slot, stage, kind FROM pl_wait UNION ALL SELECT id, waiter, 0 FROM pl_stage WHERE waiter > 0)"
local SLOTS = "(SELECT id FROM pl_slot UNION SELECT id FROM pl_stage WHERE result IS NOT NULL)"

-- Each query gives one text per violation. Control tasks (kinds 0 to 2) bear the id of their stage.
local always = {
  ["a claim without an owner"] =
    "SELECT id FROM pl_task WHERE state = 2 AND owner NOT IN (SELECT id FROM pl_worker)",
  ["a control task without its stage"] =
    "SELECT id FROM pl_task WHERE kind < 3 AND id NOT IN (SELECT id FROM pl_stage)",
  ["a callback task without its stage"] =
    "SELECT id FROM pl_task WHERE kind = 3 AND stage NOT IN (SELECT id FROM pl_stage)",
  ["a task that does not fit the state of its stage"] = [[
    SELECT t.id || ' kind ' || t.kind || ' state ' || s.state FROM pl_task AS t JOIN pl_stage AS s ON s.id = t.id
    WHERE NOT (s.state = 1 AND t.kind = 0 OR s.state = 3 AND t.kind = 1 OR s.state = 5)]],
  ["a stage without its task"] = [[
    SELECT id || ' state ' || state FROM pl_stage
    WHERE state IN (1, 3, 5) AND NOT EXISTS (SELECT 1 FROM pl_task WHERE pl_task.id = pl_stage.id AND kind < 3)
      AND NOT (state = 1 AND EXISTS (SELECT 1 FROM pl_fire WHERE target = pl_stage.id AND pl_fire.state = 0))]],
  ["a stage that waits for nothing"] =
    "SELECT id FROM pl_stage WHERE state = 0 AND id NOT IN (SELECT stage FROM " .. WAITS .. " WHERE kind = 0)",
  ["missing is not the number of unfilled inputs"] = ([[
    SELECT s.id || ' missing ' || missing FROM pl_stage AS s
    LEFT JOIN (SELECT stage, count(*) AS n FROM %s WHERE kind = 0 GROUP BY stage) AS w ON w.stage = s.id
    WHERE state = 0 AND missing <> coalesce(n, 0)]]):format(WAITS),
  ["open is not the number of unsettled children and unfilled outputs"] = [[
    SELECT id || ' open ' || open FROM pl_stage AS s WHERE state = 2 AND open <>
      (SELECT count(*) FROM pl_stage AS c WHERE c.root = s.root AND c.parent = s.id AND c.state NOT IN (3, 4, 6)
        AND c.flags & 32768 = 0 AND NOT (c.state = 5 AND c.flags & 384 = 384)) +
      (SELECT count(*) FROM pl_wait AS w WHERE w.stage = s.id AND w.kind = 1)]],
  ["a stage that has begun but still waits for an input"] = ([[
    SELECT s.id || ' slot ' || slot FROM pl_stage AS s JOIN %s AS w ON w.stage = s.id
    WHERE state IN (1, 2, 3, 4) AND kind = 0]]):format(WAITS),
  ["a wait for a filled slot"] =
    ("SELECT slot || ' of ' || stage FROM %s AS w JOIN %s AS v ON w.slot = v.id"):format(WAITS, SLOTS),
  ["a wait without its stage"] =
    ("SELECT slot FROM %s WHERE stage NOT IN (SELECT id FROM pl_stage)"):format(WAITS),
  ["a wait that the stage it waits for does not know"] =
    "SELECT w.slot || ' of ' || w.stage FROM pl_wait AS w JOIN pl_stage AS s ON s.id = w.slot WHERE waiter IS NOT -1",
  ["a value of a stage that is not done"] = "SELECT id FROM pl_stage WHERE result IS NOT NULL AND state <> 4",
  ["a stage whose parent is not in its tree"] = [[
    SELECT id FROM pl_stage AS s WHERE parent IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM pl_stage AS p WHERE p.id = s.parent AND p.root = s.root)]],
  ["a live child of a stage that has not run, or is settled"] = [[
    SELECT c.id FROM pl_stage AS c JOIN pl_stage AS p ON p.id = c.parent
    WHERE c.state IN (0, 1, 2) AND (p.state IN (0, 3, 4) OR p.state = 1 AND NOT p.flags & 1048577)]],
  ["a tree to be aborted with a stage that goes on"] = [[
    SELECT s.id || ' state ' || s.state FROM pl_stage AS s JOIN pl_stage AS r ON r.id = s.root
    WHERE r.abort_requested AND s.state IN (0, 1, 2)]],
  ["an aborted stage of a tree that was not told to abort, and whose fallback was not taken"] = [[
    SELECT s.id FROM pl_stage AS s JOIN pl_stage AS r ON r.id = s.root
    WHERE s.state IN (5, 6, 7) AND NOT r.abort_requested AND s.id NOT IN (WITH RECURSIVE over (id) AS
      (SELECT id FROM pl_stage WHERE flags & 32768 OR parent IS NOT NULL AND abort_requested
        UNION ALL SELECT c.id FROM pl_stage AS c JOIN over AS o ON o.id = c.parent) SELECT id FROM over)]],
  ["a stage that goes on below one that was aborted"] = [[
    SELECT s.id || ' state ' || s.state FROM pl_stage AS s JOIN pl_stage AS p ON p.id = s.parent
    WHERE s.state IN (0, 1, 2) AND (p.state IN (5, 6, 7) OR s.abort_requested)]],
  ["a scope below a stage that is no durable function"] = [[
    SELECT id FROM pl_stage AS s WHERE flags & 2097152 AND NOT EXISTS
      (SELECT 1 FROM pl_stage AS p WHERE p.id = s.parent AND p.flags & 1048576)]],
  ["a fallback that its stage does not know"] =
    "SELECT stage FROM pl_fallback WHERE stage NOT IN (SELECT id FROM pl_stage WHERE flags & 16384)",
  ["a task whose name is not taken"] = [[
    SELECT t.id || ' ' || t.name FROM pl_task AS t WHERE name IS NOT NULL AND state < 4 AND NOT EXISTS
      (SELECT 1 FROM pl_task_name AS n WHERE n.queue = t.queue AND n.name = t.name AND n.expires IS NULL)]],
  ["a name taken by no task"] = [[
    SELECT name FROM pl_task_name AS n WHERE expires IS NULL
      AND NOT EXISTS (SELECT 1 FROM pl_task AS t WHERE t.queue = n.queue AND t.name = n.name AND t.state < 4)]],
  ["a name of another task than the one that has it"] = [[
    SELECT n.name || ' of ' || coalesce(n.task, 'none') FROM pl_task_name AS n
    JOIN pl_task AS t ON t.queue = n.queue AND t.name = n.name AND t.state < 4
    WHERE n.expires IS NULL AND n.task IS NOT t.id]],
  ["a name borne by two tasks"] =
    "SELECT name FROM pl_task WHERE name IS NOT NULL AND state < 4 GROUP BY queue, name HAVING count(*) > 1",
  ["a large body of no task"] =
    "SELECT task FROM pl_task_detail WHERE task NOT IN (SELECT id FROM pl_task WHERE flags & 1)",
  ["a task whose large body is missing"] =
    "SELECT id FROM pl_task WHERE flags & 1 AND id NOT IN (SELECT task FROM pl_task_detail)",
  ["a reason of no dead task"] = "SELECT task FROM pl_dead WHERE task NOT IN (SELECT id FROM pl_task WHERE state = 4)",
  ["a dead task without a reason"] =
    "SELECT id FROM pl_task WHERE state = 4 AND id NOT IN (SELECT task FROM pl_dead)",
  ["a task that died before its tries were used up"] = [[
    SELECT id || ' after ' || tries || ' of ' || retry_limit FROM pl_task JOIN pl_dead AS d ON d.task = id
      JOIN pl_task_detail AS o ON o.task = id
    WHERE state = 4 AND age_limit IS NULL AND tries < retry_limit + (kind <> 5)
      AND d.error_class NOT LIKE '%PermanentTaskFailure']],
  ["permits of no worker"] = "SELECT worker FROM pl_permit WHERE worker NOT IN (SELECT id FROM pl_worker)",
  ["a task of no queue"] = [[
    SELECT id || ' queue ' || queue FROM pl_task AS t
    WHERE queue NOT IN (SELECT id FROM pl_queue WHERE NOT removed OR t.kind < 4)]],
  ["a task of a queue of the other mode"] = [[
    SELECT t.id || ' in ' || q.name FROM pl_task AS t JOIN pl_queue AS q ON q.id = t.queue
    WHERE t.kind >= 4 AND (t.kind = 5) <> (q.mode = 'pull')]],
  ["a bucket that is emptier than empty"] = "SELECT name || ' ' || tokens FROM pl_queue WHERE tokens < 0",
  ["a value without the stage that filled it"] =
    "SELECT id FROM pl_slot WHERE filler NOT IN (SELECT id FROM pl_stage)",
  ["a large body of no stage, or missing"] = [[
    SELECT id FROM pl_stage WHERE args IS NULL AND id NOT IN (SELECT stage FROM pl_stage_large)]],
  ["a durable function that waits for a signal that is there"] = [[
    SELECT f.stage || ' ' || m.name FROM pl_flow AS f JOIN pl_task AS t ON t.id = f.stage AND t.state = 1
    JOIN pl_mail AS m ON m.stage = f.stage AND m.taken = 0
    WHERE f.mode = 1 AND instr(x'00' || f.wants || x'00', x'00' || cast(m.name AS blob) || x'00')]],
  ["a durable function that waits for a child that is final"] = [[
    SELECT f.stage || ' ' || j.name FROM pl_flow AS f JOIN pl_task AS t ON t.id = f.stage AND t.state = 1
    JOIN pl_journal AS j ON j.stage = f.stage AND j.kind = 4 AND j.state = 0 AND j.seq >= f.first
    JOIN pl_stage AS c ON c.id = j.ref AND c.state IN (4, 6) WHERE f.mode = 1]],
  ["a mailbox with another number of signals than it says"] = [[
    SELECT stage || ' ' || mails FROM pl_flow AS f WHERE mails <>
      (SELECT count(*) FROM pl_mail AS m WHERE m.stage = f.stage AND taken = 0)]],
  ["an entry of no durable function, or one behind where it is"] = [[
    SELECT j.stage || ' ' || seq FROM pl_journal AS j LEFT JOIN pl_flow AS f ON f.stage = j.stage
    WHERE f.stage IS NULL OR seq >= f.next OR done >= f.next]],
  ["two fires of a schedule for one time"] = [[
    SELECT schedule || ' for ' || nominal FROM pl_fire WHERE reason < 2
    GROUP BY schedule, nominal HAVING count(*) > 1]],
  ["a fire for a time that its schedule has not come to"] = [[
    SELECT f.id || ' for ' || nominal FROM pl_fire AS f JOIN pl_schedule AS s ON s.id = f.schedule
    WHERE f.reason < 2 AND nominal > coalesce(last_nominal, 0)]],
  ["a fire under way whose root is final, or gone"] = [[
    SELECT f.id FROM pl_fire AS f LEFT JOIN pl_stage AS s ON s.id = f.target
    WHERE f.state < 2 AND is_stage AND coalesce(s.state, 4) IN (4, 6)]],
  ["a fire under way whose task is dead, or gone"] = [[
    SELECT f.id FROM pl_fire AS f LEFT JOIN pl_task AS t ON t.id = f.target
    WHERE f.state < 2 AND NOT is_stage AND coalesce(t.state, 4) = 4]],
  ["a fire that is kept back, and its root has a task"] =
    "SELECT f.id FROM pl_fire AS f JOIN pl_task AS t ON t.id = f.target WHERE f.state = 0 AND is_stage",
  ["a fire that is kept back for nobody"] = [[
    SELECT id FROM pl_fire AS f WHERE state = 0
      AND NOT EXISTS (SELECT 1 FROM pl_fire AS o WHERE o.schedule = f.schedule AND o.state = 1)
      AND NOT (SELECT paused FROM pl_schedule AS s WHERE s.id = f.schedule)]],
  -- What was kept back and given up is dropped, and is in no other count; what was started and ended for a newer one
  -- stays in the count of its reason. Both are cancelled.
  ["counts of a schedule that are not those of its fires"] = [[
    SELECT name || ' has ' || kept || ', ' || counted FROM (SELECT name,
      fired + caught_up + triggered + backfilled + skipped + dropped AS total,
      fired || ' ' || caught_up || ' ' || triggered || ' ' || backfilled || ' ' || dropped || ' ' || skipped AS counted,
      (SELECT group_concat(n, ' ') FROM (SELECT reason, sum(state <> 4 AND state <> 5) || '..' || sum(state <> 4) AS n
        FROM pl_fire WHERE schedule = s.id GROUP BY reason ORDER BY reason)) || ', skipped ' ||
        (SELECT sum(state = 4) FROM pl_fire WHERE schedule = s.id) AS kept,
      (SELECT sum(state <> 4) <> s.fired + s.caught_up + s.triggered + s.backfilled + s.dropped
        OR sum(state = 4) <> s.skipped
        OR s.fired NOT BETWEEN sum(reason = 0 AND state < 4) AND sum(reason = 0 AND state <> 4)
        OR s.caught_up NOT BETWEEN sum(reason = 1 AND state < 4) AND sum(reason = 1 AND state <> 4)
        OR s.triggered NOT BETWEEN sum(reason = 2 AND state < 4) AND sum(reason = 2 AND state <> 4)
        OR s.backfilled NOT BETWEEN sum(reason = 3 AND state < 4) AND sum(reason = 3 AND state <> 4)
        FROM pl_fire WHERE schedule = s.id) AS differs FROM pl_schedule AS s)
    WHERE total BETWEEN 1 AND 100 AND differs IS NOT 0]],
}

local finished = {
  ["a fire that is not over"] = "SELECT id || ' state ' || state FROM pl_fire WHERE state < 2",
  ["a stage that is not final"] = "SELECT id || ' state ' || state FROM pl_stage WHERE state NOT IN (4, 6)",
  ["a task that is left"] = "SELECT id || ' kind ' || kind || ' state ' || state FROM pl_task WHERE state < 4",
  ["a worker that is left"] = "SELECT id || ' pid ' || pid FROM pl_worker",
  ["a wait of a stage that is done"] =
    ("SELECT slot FROM %s AS w JOIN pl_stage AS s ON w.stage = s.id WHERE state = 4"):format(WAITS),
}

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Runs SQL through the sqlite3 command; returns the lines it prints.
function check.sql(path, sql)
  local script = os.tmpname()
  local file <close> = assert(io.open(script, "w"))
  file:write(".bail on\n.timeout 10000\n", sql, "\n")
  file:close()
  local pipe = assert(io.popen(("sqlite3 -batch %s <%s 2>&1"):format(quote(path), script)))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  local ok, _, code = pipe:close()
  os.remove(script)
  if not ok then error(("sqlite3 %s: exit code %s: %s"):format(path, code, table.concat(lines, "; ")), 0) end
  return lines
end

-- Limits hold for permits, and for claims of workers without.
local function add_limits(script, limits)
  for queue, limit in pairs(limits) do
    script[#script + 1] = ([[SELECT 'bad|queue %s: ' || sum(places) || ' claimed, more than %d' FROM (
      SELECT coalesce(max(p.permits), count(*)) AS places FROM pl_queue AS q JOIN pl_task AS t ON t.queue = q.id
      LEFT JOIN pl_permit AS p ON p.queue = q.id AND p.worker = t.owner AND p.permits > 0
      WHERE t.state = 2 AND q.name = '%s' GROUP BY t.owner) HAVING sum(places) > %d;]])
      :format(queue, limit, queue, limit)
  end
end

local function add_queries(script, queries)
  for title, sql in pairs(queries) do
    script[#script + 1] = ("SELECT 'bad|%s: ' || x.v FROM (SELECT v FROM (SELECT '' AS v) WHERE 0 UNION ALL %s) AS x;")
      :format(title, sql)
  end
end

-- ---- lists of slots, as csrc/store/sqlite/pack.c packs them ----------------------------------------------------

local function ids_of(hex)
  local list = {}
  for id in hex:gmatch(("%x"):rep(16)) do list[#list + 1] = tonumber(id, 16) end
  return list
end

local function outputs_of(id, hex)
  if hex == "" then return { id } end
  local list, at = {}, 1
  while at < #hex do
    local length = tonumber(hex:sub(at, at + 3), 16)
    at = at + 4 + 2 * length
    list[#list + 1] = tonumber(hex:sub(at, at + 15), 16)
    at = at + 16
  end
  return list
end

local function unfilled(slots, ...)
  local count, seen = 0, {}
  for _, list in ipairs { ... } do
    for _, id in ipairs(list) do
      if not slots[id] and not seen[id] then
        seen[id] = true
        count = count + 1
      end
    end
  end
  return count
end

local function check_slots(stage, slots, found)
  local waits_for = unfilled(slots, ids_of(stage.inputs), ids_of(stage.after))
  local state = stage.state
  if state == WAITING and waits_for ~= stage.missing then
    found[#found + 1] = ("stage %d: missing %d, but %d slots are unfilled"):format(stage.id, stage.missing, waits_for)
  elseif state >= READY and state <= DONE and waits_for > 0 then
    found[#found + 1] = ("stage %d: state %d with %d unfilled inputs"):format(stage.id, state, waits_for)
  end
  if state == DONE or state == FINALIZING then
    local left = unfilled(slots, outputs_of(stage.id, stage.outputs))
    if left > 0 then
      found[#found + 1] = ("stage %d: state %d with %d unfilled outputs"):format(stage.id, state, left)
    end
  end
end

local dump = "SELECT 'slot|' || id FROM " .. SLOTS .. [[;
SELECT 'stage|' || s.id || '|' || state || '|' || missing || '|' || hex(coalesce(s.inputs, l.inputs, ''))
  || '|' || hex(coalesce(s.after_slots, l.after_slots, '')) || '|' || hex(coalesce(outputs, ''))
  FROM pl_stage AS s LEFT JOIN pl_stage_large AS l ON l.stage = s.id;
]]

local function read_dump(lines, found)
  local slots, stages = {}, {}
  for _, line in ipairs(lines) do
    local kind, rest = line:match("^(%a+)|(.*)$")
    if kind == "slot" then
      slots[math.tointeger(rest)] = true
    elseif kind == "stage" then
      local id, state, missing, inputs, after, outputs = rest:match("^(%d+)|(%d+)|(%d+)|(%x*)|(%x*)|(%x*)$")
      stages[#stages + 1] = { id = math.tointeger(id), state = math.tointeger(state),
        missing = math.tointeger(missing), inputs = inputs, after = after, outputs = outputs }
    else
      found[#found + 1] = rest or line
    end
  end
  return slots, stages
end

--- Checks a store.
-- @tparam string path the database file; with other processes at work on it, what is found may be between two commits
--   of theirs: copy it before, or stop them.
-- @tparam[opt] table given finished = true: everything has come to its end; limits: of claims, by name of the queue;
--   more: list of tables of queries, from a title to one that gives a text per violation.
-- @return list of texts, one per violation; number of stages looked at.
function check.file(path, given)
  local script, found = { "BEGIN;" }, {}
  add_queries(script, always)
  if given and given.finished then add_queries(script, finished) end
  for _, queries in ipairs(given and given.more or {}) do add_queries(script, queries) end
  add_limits(script, given and given.limits or {})
  script[#script + 1] = dump
  script[#script + 1] = "SELECT 'bad|integrity_check: ' || integrity_check FROM pragma_integrity_check "
    .. "WHERE integrity_check <> 'ok';"
  script[#script + 1] = "SELECT 'bad|foreign key: ' || \"table\" || ' row ' || rowid FROM pragma_foreign_key_check;"
  local slots, stages = read_dump(check.sql(path, table.concat(script, "\n")), found)
  for _, stage in ipairs(stages) do check_slots(stage, slots, found) end
  table.sort(found)
  return found, #stages
end

--- Copies a store as it is, log included, so that looking does not change it. Nobody may be at work on it.
function check.copy(path, to)
  os.execute(("rm -f %s %s"):format(quote(to), quote(to .. "-wal")))
  assert(os.execute(("cp %s %s"):format(quote(path), quote(to))))
  os.execute(("[ ! -f %s ] || cp %s %s"):format(quote(path .. "-wal"), quote(path .. "-wal"), quote(to .. "-wal")))
end

check.states = { WAITING = WAITING, READY = READY, RUN = RUN, FINALIZING = FINALIZING, DONE = DONE,
  ABORTED = ABORTED }

return check
