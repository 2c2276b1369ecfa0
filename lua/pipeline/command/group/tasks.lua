--- tasks.lua: the commands about tasks of queues: tasks, dead, revive, forget.

local columns = require "pipeline.command.output.columns"
local confirm = require "pipeline.command.confirm"
local failure = require "pipeline.command.failure"
local filters = require "pipeline.command.filters"
local json = require "pipeline.http.json"
local report = require "pipeline.command.report"
local store = require "pipeline.command.store"
local values = require "pipeline.command.values"
local words = require "pipeline.command.output.words"

local commands = {}

local LIMIT = 50

local function first_line(value)
  return value and value:match("^[^\r\n]*") or ""
end

local function columns_of(now)
  return {
    { title = "TASK", field = function(task) return task.address end, narrow = 10 }, -- it has to be whole to be used
    { title = "STATE", field = function(task) return task.state, words.style(task.state) end },
    { title = "WHAT", field = function(task) return task.what or task.kind end, least = 16 },
    { title = "ETA", field = function(task) return words.away(task.eta, now) end, rank = 2 },
    { title = "TRIES", field = function(task) return task.attempt or "" end, right = true, rank = 3 },
    { title = "LAST ERROR", field = function(task)
      return first_line(task.last_error or task.message), "bad"
    end, least = 12, rank = 1 },
  }
end

local function list(call, engine, wanted)
  wanted.limit, wanted.cursor, wanted.text = call.given.limit or LIMIT, call.given.cursor, call.given.text
  local page, out = store.page(call.given, engine.tasks, engine, wanted), call.out
  if out.as_json then return out:json { items = json.array(page.items), cursor = page.cursor } end
  if #page.items == 0 then return out:note("no tasks") end
  columns.write(out, columns_of(engine:now()), page.items)
  out:more(page.cursor)
end

local PAGE_OPTIONS = {
  { "--text", sign = "TEXT", help = "with this text in name, what it is, or error" },
  { "--limit", sign = "N", convert = values.count, help = "at most so many (50)" },
  { "--cursor", sign = "C", help = "goes on where the list before has ended" },
}

commands[#commands + 1] = {
  name = "tasks", summary = "lists the tasks of a queue, and what they are",
  arguments = { { name = "queue", sign = "QUEUE", help = "the queue" } },
  options = { { "--state", sign = "STATE", help = "ready, delayed, executing or dead" }, table.unpack(PAGE_OPTIONS) },
  run = function(call)
    local state = filters.task_state(call.given.state)
    local engine = call.open()
    return list(call, engine, { queue = store.queue(engine, call.given.queue), state = state })
  end,
}

commands[#commands + 1] = {
  name = "dead", summary = "lists tasks whose retries are used up, newest first",
  arguments = { { name = "queue", sign = "QUEUE", many = "?", help = "the queue (default: all)" } },
  options = PAGE_OPTIONS,
  run = function(call)
    local engine, queue = call.open(), call.given.queue
    return list(call, engine, { queue = queue and store.queue(engine, queue), state = "dead" })
  end,
}

-- ---- acting ----------------------------------------------------------------------------------------------------

local KNOWN_MAX, PAGE = 5000, 500

-- The addresses of all dead tasks of a queue; nil: there are too many to look at.
local function dead_of(engine, queue)
  local known, cursor = {}, nil
  repeat
    local page = engine:tasks { queue = queue, state = "dead", limit = PAGE, cursor = cursor }
    for _, task in ipairs(page.items) do known[#known + 1] = task.address end
    cursor = page.cursor
    if cursor and #known >= KNOWN_MAX then return nil end
  until not cursor
  return known
end

local function check_dead(engine, queue, task)
  local known = dead_of(engine, queue)
  if not known then return end
  for _, name in ipairs(known) do
    if name == task then return end
  end
  failure.unknown("dead task", task, known, ("see 'pipeline dead %s'"):format(queue))
end

-- Refuses what is no QUEUE/NAME of a queue that is there, and of a dead task in it.
local function check_tasks(engine, tasks)
  for _, task in ipairs(tasks) do
    local queue = task:match("^([^/]+)/.")
    if not queue then failure.usage("'%s' is no task; write QUEUE/NAME, as 'pipeline dead' shows it", task) end
    store.queue(engine, queue)
    check_dead(engine, queue, task)
  end
end

local function run(call, done)
  local given, tasks = call.given, call.given.tasks
  local is_filtered = given.queue or given.text or given.all
  if given.text == "" then failure.usage("--text is empty; --all means all") end
  if #tasks > 0 and is_filtered then failure.usage("give tasks or filters, not both") end
  if #tasks == 0 and not is_filtered then
    failure.usage("which tasks? Give QUEUE/NAME, --queue QUEUE, --text TEXT or --all")
  end
  local engine = call.open()
  check_tasks(engine, tasks)
  local wanted = { op = given.command }
  if is_filtered then
    wanted.filters = { queue = given.queue and store.queue(engine, given.queue), text = given.text }
  else
    wanted.names = tasks
  end
  return report.act(call, function(dry_run)
    wanted.dry_run = dry_run
    return engine:act_tasks(wanted)
  end, { done = done, noun = "dead task", is_many = is_filtered or #tasks > 1 })
end

local function add(name, done, summary)
  commands[#commands + 1] = {
    name = name, summary = summary, details = "More than one is done after a confirmation.",
    arguments = { { name = "tasks", sign = "QUEUE/NAME", many = "*", help = "a dead task" } },
    options = {
      { "--queue", sign = "QUEUE", help = "all dead tasks of this queue" },
      { "--text", sign = "TEXT", help = "those with this text in name, what they are, or error" },
      { "--all", help = "all dead tasks" }, confirm.options[1], confirm.options[2],
    },
    run = function(call) return run(call, done) end,
  }
end

add("revive", "revived", "gives dead tasks another life, as if they had never been tried")
add("forget", "forgot", "deletes dead tasks")

return commands
