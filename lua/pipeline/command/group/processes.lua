--- processes.lua: the commands that show what works: workers, top.

local columns = require "pipeline.command.output.columns"
local json = require "pipeline.http.json"
local letters = require "pipeline.command.output.letters"
local taskqueue = require "pipeline.taskqueue"
local terminal = require "pipeline.command.output.terminal"
local values = require "pipeline.command.values"
local words = require "pipeline.command.output.words"

local commands = {}

-- ---- workers ---------------------------------------------------------------------------------------------------

local function columns_of(now)
  return {
    { title = "WORKER", field = function(worker) return ("%s:%s"):format(worker.host or "?", worker.pid or "?") end,
      least = 10 },
    { title = "SINCE", field = function(worker) return words.away(worker.since, now) end, rank = 1 },
    { title = "EXECUTING", field = "executing", right = true },
    { title = "SERVING", field = function(worker)
      if worker.gone then return "gone", "bad" end
      return worker.serving and (#worker.serving > 0 and table.concat(worker.serving, " ") or "nothing") or "all"
    end, least = 8, rank = 2 },
    { title = "LEASE", field = function(worker) return words.away(worker.lease_until, now) end, rank = 3 },
    { title = "VERSION", field = "version", rank = 4 },
  }
end

-- Those of others: this process is only looking.
local function workers_of(engine)
  local list = {}
  for _, worker in ipairs(engine:workers()) do
    if not worker.is_self then list[#list + 1] = worker end
  end
  return list
end

commands[#commands + 1] = {
  name = "workers", summary = "lists the processes that have the store open, and what they do",
  run = function(call)
    local engine, out = call.open(), call.out
    local list = workers_of(engine)
    if out.as_json then return out:json { items = json.array(list) } end
    if #list == 0 then return out:note("no worker is there: start one with 'pipeline worker FILE.lua'") end
    columns.write(out, columns_of(engine:now()), list)
  end,
}

-- ---- top -------------------------------------------------------------------------------------------------------

local FAILED, FAILED_EVERY = 5, 5 -- lines; looked for in every fifth picture, for it means reading a list
local EXECUTING = 50
local QUEUES_SHOWN = 8

-- What one picture shows.
local function look(engine, before, number)
  local queues, names = engine:queues(), {}
  for i, queue in ipairs(queues) do names[i] = queue.name end
  for i, statistics in ipairs(taskqueue.QueueStatistics.fetch(names)) do
    queues[i].executed_last_minute = statistics.executed_last_minute or 0
  end
  return {
    now = engine:now(), queues = queues, workers = workers_of(engine),
    executing = engine:tasks({ state = "executing", limit = EXECUTING }).items,
    failed = before and number % FAILED_EVERY ~= 0 and before.failed
      or engine:list({ state = "aborted", limit = FAILED }).items,
  }
end

local function total_of(queues)
  local sum = { ready = 0, delayed = 0, executing = 0, dead = 0, executed_last_minute = 0 }
  for _, queue in ipairs(queues) do
    for name in pairs(sum) do sum[name] = sum[name] + (queue[name] or 0) end
  end
  return sum
end

local function title(out, text)
  out:line()
  out:line(out:style("title", text))
end

-- The busiest queues first, and no more of them than are shown.
local function shown_queues(picture)
  table.sort(picture.queues, function(a, b)
    if a.executed_last_minute ~= b.executed_last_minute then return a.executed_last_minute > b.executed_last_minute end
    return a.name < b.name
  end)
  return table.move(picture.queues, 1, math.min(QUEUES_SHOWN, #picture.queues), 1, {})
end

-- What can be chosen, from the top to the bottom: queues, what executes, what has failed.
local function choices_of(picture)
  local list = shown_queues(picture)
  table.move(picture.executing, 1, #picture.executing, #list + 1, list)
  return table.move(picture.failed, 1, #picture.failed, #list + 1, list)
end

-- `chosen`: the line that is marked; nil: none is, and there is no room for a mark.
local function draw(out, picture, chosen)
  local function marked(item, text)
    if not chosen then return text end
    return (item == chosen and "> " or "  ") .. text
  end
  local sum = total_of(picture.queues)
  out:say("%s, ready %s, delayed %s, executing %s, dead %s, %s/min", words.of(#picture.workers, "worker"),
    words.count(sum.ready), words.count(sum.delayed), words.count(sum.executing), words.count(sum.dead),
    words.count(sum.executed_last_minute))
  title(out, "Queues")
  columns.write(out, {
    { title = "QUEUE", field = function(queue) return marked(queue, queue.name) end, least = 10 },
    { title = "/MIN", field = "executed_last_minute", right = true },
    { title = "READY", field = "ready", right = true },
    { title = "DELAYED", field = "delayed", right = true, rank = 2 },
    { title = "EXECUTING", field = "executing", right = true, rank = 1 },
    { title = "DEAD", field = "dead", right = true, rank = 3 },
    { title = "", field = function(queue) return queue.paused and "paused" or "", "warn" end },
  }, shown_queues(picture))
  title(out, "Executing")
  columns.write(out, {
    { title = "WHAT", field = function(task) return marked(task, task.what or task.kind) end, least = 20 },
    { title = "QUEUE", field = "queue", rank = 1 },
    { title = "STAGE", field = function(task) return task.stage or "" end, least = 8, rank = 2 },
  }, picture.executing)
  title(out, "Failed last")
  columns.write(out, {
    { title = "PIPELINE", field = function(entry) return marked(entry, entry.id) end, least = 8 },
    { title = "CLASS", field = "class", least = 10, rank = 1 },
    { title = "WHEN", field = function(entry) return words.away(entry.ended, picture.now) end, rank = 2 },
    { title = "WHY", field = function(entry)
      return words.cause(entry.reason or entry.last_error or ""):match("^[^\r\n]*"), "bad"
    end, least = 16 },
  }, picture.failed)
end

local function as_json(picture)
  return {
    time = picture.now, totals = total_of(picture.queues), queues = json.array(picture.queues),
    workers = json.array(picture.workers), executing = json.array(picture.executing),
    failed = json.array(picture.failed),
  }
end

-- The name of the queue that a line is about, and whether it is paused.
local function queue_of(picture, item)
  local name = item and (item.executed_last_minute and item.name or item.queue)
  for _, queue in ipairs(picture.queues) do
    if queue.name == name then return name, queue.paused end
  end
end

-- What a key asks for; returns whether to go on.
local function heed(key, state, picture)
  local choices = choices_of(picture)
  if key == "q" or key == "\4" then return false end
  if key == "p" then
    local name, paused = queue_of(picture, choices[state.selected])
    local object = name and taskqueue.Queue(name)
    if object then
      if paused then object:resume() else object:pause() end
    end
  elseif key == "j" or key == "B" then
    state.selected = math.max(1, math.min(state.selected + 1, #choices))
  elseif key == "k" or key == "A" then
    state.selected = math.max(1, state.selected - 1)
  elseif key == "\n" or key == "\r" then
    state.shown = not state.shown and choices[state.selected] or false
  end
  return true
end

local TASKS_SHOWN = 50
local KEYS = "j k choose a line  enter show it  p pause its queue  q quit"
local KEYS_SHORT = "j k choose  enter show  p pause  q quit"

-- The tasks of a queue that was chosen, or the tree of a pipeline.
local function draw_one(out, engine, item)
  if item.executed_last_minute then
    out:say("%s", item.name)
    out:line()
    return columns.write(out, {
      { title = "TASK", field = function(task) return task.name or task.id end, least = 8 },
      { title = "STATE", field = "state" },
      { title = "WHAT", field = function(task) return task.what or task.kind end, least = 20, rank = 1 },
    }, engine:tasks({ queue = item.name, limit = TASKS_SHOWN }).items)
  end
  local id = item.stage or item.root or item.id
  local ok, page = pcall(function() return engine:tree(id, { limit = 200 }) end)
  out:say("%s", id)
  if not ok then return out:line(item.what or "it is gone") end -- a task without a pipeline
  require("pipeline.command.output.tree").write(out, page.items, { now = engine:now() })
end

local function show(call, engine, state, picture)
  local out, choices = call.out, choices_of(picture)
  out:measure()
  state.selected = math.max(1, math.min(state.selected, #choices))
  if state.shown then draw_one(out, engine, state.shown) else draw(out, picture, choices[state.selected]) end
  local lines = out.lines
  out.lines = {}
  while #lines > out.height - 2 do table.remove(lines) end
  local keys = out.width < #KEYS and KEYS_SHORT or KEYS
  lines[#lines + 1] = out:style("faint", letters.cut(state.shown and "enter back  q quit" or keys, out.width, out.mark))
  io.stdout:write("\27[H", table.concat(lines, "\27[K\r\n"), "\27[K\27[J")
  io.stdout:flush()
end

local function full_screen(call, engine, seconds)
  local state, picture, number = { selected = 1, shown = false }, nil, 0
  if not terminal.read_keys(seconds) then return false end
  terminal.full_screen()
  repeat
    picture = look(engine, picture, number)
    number = number + 1
    show(call, engine, state, picture)
    local key = io.read(1)
    if key == "\27" then key = io.read(1) == "[" and io.read(1) or nil end -- of an arrow the last of three bytes
  until key and not heed(key, state, picture)
  return true
end

commands[#commands + 1] = {
  name = "top", summary = "shows what is going on, again and again: rates, queues, what executes, what failed last",
  details = "Keys: j and k, or the arrows, choose a line, enter shows it, p pauses its queue or lets it go on, q "
    .. "quits. Where it is no terminal that can be drawn on, one picture is printed; --count prints more.",
  options = {
    { "--every", sign = "D", convert = values.duration, help = "how often (1s; not more often than that)" },
    { "--count", sign = "N", convert = values.count, help = "so many pictures, one below the other" },
  },
  run = function(call)
    local engine, out = call.open(), call.out
    local every = math.max(1, call.given.every or 1)
    local is_full = not call.given.count and out:can_redraw() and terminal.is("in")
    if is_full and full_screen(call, engine, every) then return end
    local picture
    for number = 1, call.given.count or 1 do
      if number > 1 then engine:sleep(every) end
      picture = look(engine, picture, number)
      if out.as_json then
        out:json(as_json(picture))
      else
        draw(out, picture)
        out:flush()
      end
    end
  end,
}

return commands
