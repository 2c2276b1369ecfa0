--- keeping.lua: the commands that look after a store: check, backup, stats.

local confirm = require "pipeline.command.confirm"
local columns = require "pipeline.command.output.columns"
local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local json = require "pipeline.http.json"
local mends = require "pipeline.command.mends"
local terminal = require "pipeline.command.output.terminal"
local words = require "pipeline.command.output.words"

local commands = {}

-- ---- check -----------------------------------------------------------------------------------------------------

-- A finding names a row by its number: people know a stage by its id, and its pipeline by that of the root.
local function row_of(engine, finding)
  local number = math.tointeger(tonumber(finding:match(": stage (%-?%d+)")))
  local id = number and engine:_id_text(number)
  local ok, stage = pcall(function() return id and engine:stage(id) end)
  local root = ok and stage and stage.root or nil
  return { what = finding, id = id, root = root, mend = mends.of(finding, root),
    repair = mends.repair_of(finding) }
end

-- Writes what was found, and below each line what is to be done, or will be.
local function write_found(out, list, repairs)
  for _, one in ipairs(list) do
    out:line(out:style("bad", out:plain(one.what .. (one.id and (" (%s)"):format(one.id) or ""))))
    local mend = repairs and one.repair
    if mend then
      out:paragraph("repair: " .. mend, 2)
    elseif one.mend then
      out:paragraph("mend: " .. one.mend, 2)
    end
  end
end

local function rows_of(engine, found)
  local list = {}
  for i, text in ipairs(found) do list[i] = row_of(engine, text) end
  return list
end

-- Where the copy lies that is made before a repair.
local function backup_name(call, path)
  if call.given.backup then return call.given.backup end
  if path == ":memory:" or path == "" then failure.usage("where is the copy to be made? Give --backup FILE") end
  return ("%s.before-repair-%s"):format(path, os.date("!%Y%m%dT%H%M%SZ"))
end

local function check(call)
  local engine, out = call.open(), call.out
  local found = engine:check()
  local list, path = rows_of(engine, found), engine:status().store.path
  out:json { ok = #found == 0, path = path, found = json.array(list) }
  if #found == 0 then
    out:say("%s is sound", path)
    return
  end
  write_found(out, list, call.given.repair)
  return failure.NO
end

local function repair(call)
  local engine, out = call.open(), call.out
  local path = engine:status().store.path
  local found = engine:check()
  if #found == 0 then return check(call) end
  local backup = backup_name(call, path)
  local before = rows_of(engine, found) -- while it can be said what they are about
  if not call.given.yes then write_found(out, before, true) end
  confirm.ask(call, ("copy %s to %s and repair what can be"):format(path, backup))
  local answer = engine:repair { backup = backup }
  local left, mended = rows_of(engine, answer.left), {}
  for title, rows in pairs(answer.mended) do mended[#mended + 1] = { what = title, rows = rows } end
  table.sort(mended, function(a, b) return a.what < b.what end)
  out:json { ok = #left == 0, path = path, found = json.array(before), mended = json.array(mended),
    left = json.array(left), backup = backup }
  out:say("%s is the store as it was", backup)
  for _, one in ipairs(mended) do out:say("mended: %s (%s)", one.what, words.of(one.rows, "row")) end
  if #left == 0 then
    out:say("%s is sound", path)
    return
  end
  write_found(out, left)
  return failure.NO
end

commands[#commands + 1] = {
  name = "check", summary = "looks for what is wrong in a store, and says what mends it",
  details = "Work goes on meanwhile. The exit code is 1 if something is wrong. With --repair the store is copied, and "
    .. "what can be mended is; nobody may work on it then. What is mended keeps its work: what can still be done is "
    .. "done, what cannot is aborted or put among the dead tasks with a reason.",
  options = {
    { "--repair", help = "mends what can be mended" },
    { "--backup", sign = "FILE", help = "where the copy is made before (default: beside the store)" },
    { "-y", "--yes", help = "repairs without asking" },
    { "--dry-run", help = "only says what --repair would do" },
  },
  run = function(call)
    if call.given.repair and not call.given.dry_run then return repair(call) end
    if call.given.dry_run then call.given.repair = true end
    return check(call)
  end,
}

-- ---- backup ----------------------------------------------------------------------------------------------------

commands[#commands + 1] = {
  name = "backup", summary = "copies a store while everybody works on it",
  details = "The copy is consistent, has its name only when it is whole, and holds the secret of the store: keep it to "
    .. "yourself. A copy of that name is replaced, any other file refused.",
  arguments = { { name = "file", sign = "FILE", help = "the copy" } },
  run = function(call)
    local engine, out, file = call.open(), call.out, call.given.file
    local shows = not out.as_json and not out.quiet and terminal.is("err") and not terminal.is_dumb()
    local said = -1
    local ok, problem = xpcall(engine.backup, errors.handler, engine, file, {
      spare = true,
      progress = shows and function(copied, total)
        local percent = total > 0 and copied * 100 // total or 100
        if percent == said then return end
        said = percent
        io.stderr:write(("\r%d %%"):format(percent))
      end or nil,
    })
    if shows then io.stderr:write("\r\27[K") end
    if not ok then
      problem = errors.original(problem)
      if not errors.is(problem, errors.StoreError) then error(problem, 0) end
      failure.no("%s; name another file", problem.message)
    end
    local copy <close> = io.open(file, "rb")
    local bytes = copy and copy:seek("end") or 0
    out:json { path = file, bytes = bytes }
    out:say("%s: %s", file, words.bytes(bytes))
  end,
}

-- ---- stats -----------------------------------------------------------------------------------------------------

-- What the next sweep would take, and since when it is there.
local function due_of(retention)
  local rows = {}
  for _, name in ipairs { "done", "aborted", "dead", "names" } do
    local due = retention and retention.due and retention.due[name]
    if due then rows[#rows + 1] = { name = name, count = due.count, oldest = due.oldest, more = due.more } end
  end
  return rows
end

local TABLES_SHOWN = 12

local function write_tables(out, tables)
  local shown, rest = table.move(tables, 1, math.min(TABLES_SHOWN, #tables), 1, {}), 0
  for i = TABLES_SHOWN + 1, #tables do rest = rest + tables[i].bytes + tables[i].index_bytes end
  out:line()
  columns.write(out, {
    { title = "TABLE", field = "name", least = 8 },
    { title = "ROWS", field = function(one) return words.bytes(one.bytes) end, right = true },
    { title = "INDEXES", field = function(one) return words.bytes(one.index_bytes) end, right = true, rank = 1 },
    { title = "UNUSED", field = function(one) return words.bytes(one.unused) end, right = true, rank = 2 },
  }, shown)
  if rest > 0 then out:say("%d more: %s", #tables - #shown, words.bytes(rest)) end
end

local DAY, DAYS, DAY_MAX = 86400, 7, 100000

-- How fast it grows: pipelines that have ended in each of the last days, the last first, of those that are still kept,
-- and about how many bytes they take.
local function growth_of(engine, status)
  local now, days, sum, more = engine:now(), json.array {}, 0, false
  for i = 1, DAYS do
    local day = engine:count_over { since = now - i * DAY, before = now - (i - 1) * DAY, limit = DAY_MAX }
    days[i] = { since = now - i * DAY, done = day.done, aborted = day.aborted }
    sum, more = sum + day.done + day.aborted, more or day.more
  end
  local counts = engine:list_counts()
  local used = status.store.bytes - (status.store.free or 0)
  local last = days[1].done + days[1].aborted
  return {
    days = days, more = more or nil, pipelines_last_day = last, pipelines_last_days = sum,
    bytes_last_day = counts.total > 0 and not counts.more and math.floor(used / counts.total * last) or nil,
  }
end

local function write_growth(out, growth)
  local least = growth.more and "at least " or ""
  local size = growth.bytes_last_day and (", about %s of the file"):format(words.bytes(growth.bytes_last_day)) or ""
  out:say("%s%s have ended in the last day%s; %s%s in the last %d days", least,
    words.of(growth.pipelines_last_day, "pipeline"), size, least, words.count(growth.pipelines_last_days), DAYS)
end

commands[#commands + 1] = {
  name = "stats", summary = "says how large a store is, and what is in it, table by table and queue by queue",
  details = "The whole file is read, while everybody works on; --short leaves its tables out and is quick.",
  options = { { "--short", help = "without the sizes of tables" } },
  run = function(call)
    local engine, out = call.open(), call.out
    local status = engine:status()
    local tables = not call.given.short and engine:stats().tables or nil
    local growth = growth_of(engine, status)
    local queues, now = {}, engine:now()
    for i, queue in ipairs(engine:queues()) do
      queues[i] = { name = queue.name, ready = queue.ready, delayed = queue.delayed, executing = queue.executing,
        dead = queue.dead, oldest_ready = queue.oldest_ready }
    end
    if out.as_json then
      return out:json {
        path = status.store.path, bytes = status.store.bytes, free = status.store.free,
        log_bytes = status.store.log_bytes, stages = status.stages, workers = status.facts.other_workers,
        durability = status.durability, overdue_schedules = status.overdue, queues = json.array(queues),
        tables = tables and json.array(tables), growth = growth, due = json.array(due_of(status.retention)),
      }
    end
    out:say("%s: %s, of which %s are free, and %s of log", status.store.path, words.bytes(status.store.bytes),
      words.bytes(status.store.free), words.bytes(status.store.log_bytes))
    out:say("%s, %s at work", words.of(status.stages, "stage"), words.of(status.facts.other_workers, "worker"))
    write_growth(out, growth)
    if status.overdue > 0 then out:say("%s overdue", words.of(status.overdue, "schedule")) end
    out:line()
    columns.write(out, {
      { title = "QUEUE", field = "name", least = 8 }, { title = "READY", field = "ready", right = true },
      { title = "DELAYED", field = "delayed", right = true, rank = 1 },
      { title = "EXECUTING", field = "executing", right = true, rank = 2 },
      { title = "DEAD", field = "dead", right = true },
      { title = "OLDEST", field = function(queue)
        return words.span(queue.oldest_ready and now - queue.oldest_ready)
      end, right = true, rank = 3 },
    }, queues)
    if tables then write_tables(out, tables) end
    for _, due in ipairs(due_of(status.retention)) do
      if due.count > 0 then
        out:say("%s%s %s older than is kept, the oldest of %s", due.more and "more than " or "", words.count(due.count),
          due.name, words.instant(due.oldest, engine:now()))
      end
    end
  end,
}

return commands
