--- keeping.lua: the commands that look after a store: check, backup, stats.

local columns = require "pipeline.command.output.columns"
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
  return { what = finding, id = id, root = root, mend = mends.of(finding, root) }
end

commands[#commands + 1] = {
  name = "check", summary = "looks for what is wrong in a store, and says what mends it",
  details = "Work goes on meanwhile. The exit code is 1 if something is wrong.",
  run = function(call)
    local engine = call.open()
    local found = engine:check()
    local out, list = call.out, {}
    for i, text in ipairs(found) do list[i] = row_of(engine, text) end
    out:json { ok = #found == 0, path = engine:status().store.path, found = json.array(list) }
    if #found == 0 then
      out:say("%s is sound", engine:status().store.path)
      return
    end
    for _, one in ipairs(list) do
      out:line(out:style("bad", out:plain(one.what .. (one.id and (" (%s)"):format(one.id) or ""))))
      if one.mend then out:paragraph("mend: " .. one.mend, 2) end
    end
    return failure.NO
  end,
}

-- ---- backup ----------------------------------------------------------------------------------------------------

commands[#commands + 1] = {
  name = "backup", summary = "copies a store while everybody works on it",
  details = "The copy is consistent, has its name only when it is whole, and holds the secret of the store: keep it to "
    .. "yourself. A file of that name is replaced.",
  arguments = { { name = "file", sign = "FILE", help = "the copy" } },
  run = function(call)
    local engine, out, file = call.open(), call.out, call.given.file
    local shows = not out.as_json and not out.quiet and terminal.is("err") and not terminal.is_dumb()
    local said = -1
    engine:backup(file, {
      progress = shows and function(copied, total)
        local percent = total > 0 and copied * 100 // total or 100
        if percent == said then return end
        said = percent
        io.stderr:write(("\r%d %%"):format(percent))
      end or nil,
    })
    if shows then io.stderr:write("\r\27[K") end
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

commands[#commands + 1] = {
  name = "stats", summary = "says how large a store is, and what is in it, table by table and queue by queue",
  details = "The whole file is read, while everybody works on; --short leaves its tables out and is quick.",
  options = { { "--short", help = "without the sizes of tables" } },
  run = function(call)
    local engine, out = call.open(), call.out
    local status = engine:status()
    local tables = not call.given.short and engine:stats().tables or nil
    local names, queues = {}, {}
    for name in pairs(status.queues) do names[#names + 1] = name end
    table.sort(names)
    for i, name in ipairs(names) do
      local queue = status.queues[name]
      queues[i] = { name = name, ready = queue.ready, delayed = queue.delayed, executing = queue.claimed }
    end
    if out.as_json then
      return out:json {
        path = status.store.path, bytes = status.store.bytes, free = status.store.free,
        log_bytes = status.store.log_bytes, stages = status.stages, workers = status.facts.other_workers,
        durability = status.durability, overdue_schedules = status.overdue, queues = json.array(queues),
        tables = tables and json.array(tables), due = json.array(due_of(status.retention)),
      }
    end
    out:say("%s: %s, of which %s are free, and %s of log", status.store.path, words.bytes(status.store.bytes),
      words.bytes(status.store.free), words.bytes(status.store.log_bytes))
    out:say("%s, %s at work", words.of(status.stages, "stage"), words.of(status.facts.other_workers, "worker"))
    if status.overdue > 0 then out:say("%s overdue", words.of(status.overdue, "schedule")) end
    out:line()
    columns.write(out, {
      { title = "QUEUE", field = "name", least = 8 }, { title = "READY", field = "ready", right = true },
      { title = "DELAYED", field = "delayed", right = true, rank = 1 },
      { title = "EXECUTING", field = "executing", right = true },
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
