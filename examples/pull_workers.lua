-- pull_workers.lua [--db FILE] [--tasks N] - two processes lease tasks of a pull queue; one is killed; nothing is lost.
--
-- The program adds N tasks (default 20), starts two workers (itself, with --worker), and kills the first one with
-- SIGKILL in the middle of its work. What that one had leased and not deleted comes back when its leases are over, and
-- the second worker does it. A task that had been done but not deleted is done twice: what a task does must bear that.
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

io.stdout:setvbuf("line")

local LEASE_SECONDS, LEASE_TASKS, STANDS_STILL_AFTER = 1.5, 5, 2

local options = { tasks = 20 }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%l+)$")
    if not (name == "db" or name == "tasks" or name == "worker") or not arg[i + 1] then
      io.stderr:write("usage: pull_workers.lua [--db FILE] [--tasks N]\n")
      os.exit(2)
    end
    options[name] = arg[i + 1]
    i = i + 2
  end
  options.tasks = assert(math.tointeger(tonumber(options.tasks)), "--tasks takes a number")
end

-- ---- a worker ------------------------------------------------------------------------------------------------------

-- Leases a few tasks at a time, does each and deletes it, until the queue is empty. The first worker stands still in
-- the middle, for the sake of the example: it is killed there.
local function work(name, db)
  local engine <close> = pipeline.open(db)
  local queue = taskqueue.Queue("work")
  local done = 0
  local function say(verb, task) print(("%s %s %s, lease %d"):format(name, verb, task.name, task.retry_count)) end
  while queue:fetch_statistics().tasks > 0 do
    local tasks = queue:lease_tasks(LEASE_SECONDS, LEASE_TASKS)
    for _, task in ipairs(tasks) do say("leased", task) end
    for _, task in ipairs(tasks) do
      engine:sleep(0.02) -- the work
      say("did", task)
      queue:delete_tasks(task)
      done = done + 1
      if name == "first" and done == STANDS_STILL_AFTER then engine:sleep(60) end
    end
    if #tasks == 0 then engine:sleep(0.05) end -- others have the rest
  end
end

if options.worker then
  work(options.worker, assert(options.db, "--worker needs --db"))
  return
end

-- ---- the program ---------------------------------------------------------------------------------------------------

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- A worker in a process of its own: its id, and a pipe from which its lines come.
local function start_worker(name, db)
  local lua = os.getenv "LUA" or arg[-1] or "lua5.4"
  local pipe = assert(io.popen(("echo $$; exec %s %s --worker %s --db %s"):format(quote(lua), quote(arg[0]), name,
    quote(db)), "r"))
  return assert(pipe:read("n", "l"), "the worker did not start"), pipe
end

local directory
if not options.db then
  local pipe = assert(io.popen("mktemp -d"))
  directory = pipe:read("l")
  pipe:close()
end
local db = options.db or directory .. "/tasks.db"

local engine = pipeline.open(db, { no_worker = true, queues = { work = { mode = "pull" } } })
local queue, list = taskqueue.Queue("work"), {}
for i = 1, options.tasks do
  list[i] = taskqueue.Task { method = "PULL", name = ("task-%02d"):format(i), payload = "work " .. i, countdown = -1 }
end
for first = 1, #list, taskqueue.MAX_TASKS_PER_ADD do
  queue:add(table.move(list, first, math.min(first + taskqueue.MAX_TASKS_PER_ADD - 1, #list), 1, {}))
end
print(("%d tasks in the queue"):format(queue:fetch_statistics().tasks))

local times = {} -- name of a task -> how often it was done
local function note(line)
  print(line)
  local name = line:match("^%S+ did (%S+),")
  if name then times[name] = (times[name] or 0) + 1 end
end

-- The first worker leases five tasks and is killed after two.
local first, first_lines = start_worker("first", db)
note(first_lines:read("l") or error("the first worker ended before it had a task"))
local _, second_lines = start_worker("second", db)
local done = 0
for line in first_lines:lines() do
  note(line)
  if line:find(" did ", 1, true) then done = done + 1 end
  if done == STANDS_STILL_AFTER then break end
end
os.execute("kill -9 " .. first)
for line in first_lines:lines() do note(line) end -- what it had said before it died
first_lines:close()
print("the first worker is dead; what it had leased comes back")

for line in second_lines:lines() do note(line) end
second_lines:close()

local lost, twice = 0, 0
for _, task in ipairs(list) do
  local n = times[task.name] or 0
  if n == 0 then lost = lost + 1 end
  if n > 1 then twice = twice + 1 end
end
print(("%d tasks left, %d lost, %d done twice"):format(queue:fetch_statistics().tasks, lost, twice))
engine:close()
if directory then os.execute("rm -rf " .. quote(directory)) end
os.exit(lost == 0, true)
