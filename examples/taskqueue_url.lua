-- taskqueue_url.lua [--db FILE] [--port N] - a request that leaves work for later, and the task that does it.
--
-- A user visits /gen_task. That adds a task, a request to /task_do with parameters, and answers at once. Later the
-- engine makes that request, and its route inserts a row into a table of the program, which lives in the same file.
--
--   taskqueue_url.lua               visits /gen_task itself, waits for the task and shows the table
--   taskqueue_url.lua --port 8080   serves until it is interrupted: curl http://127.0.0.1:8080/gen_task
--
-- A task may be executed more than once: here its first try fails after the row is in. So that the row is there once,
-- the task's name, which stays the same from try to try, is its key.
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

io.stdout:setvbuf("line")

local options = { db = ":memory:" }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%l+)$")
    if not (name == "db" or name == "port") or not arg[i + 1] then
      io.stderr:write("usage: taskqueue_url.lua [--db FILE] [--port N]\n")
      os.exit(2)
    end
    options[name] = arg[i + 1]
    i = i + 2
  end
end

local engine <close> = pipeline.open(options.db)

engine:transaction(function(tx)
  tx:execute [[CREATE TABLE IF NOT EXISTS mytable (task TEXT PRIMARY KEY, old TEXT NOT NULL, new TEXT NOT NULL)]]
end)

engine:route("GET", "/gen_task", function()
  -- … do some things, then
  local task = taskqueue.add { url = "/task_do", params = { old = "original text", new = "new text" } }
  print("added " .. tostring(task))
  return 200, "text/plain", "done soon\n"
end)

local tries = 0

engine:route("POST", "/task_do", function(request)
  if not request.is_task then return 403, "text/plain", "for tasks only\n" end
  local name = request.headers["x-appengine-taskname"]
  engine:transaction(function(tx)
    tx:execute("INSERT INTO mytable (task, old, new) VALUES (?, ?, ?) ON CONFLICT (task) DO NOTHING", name,
      request.params.old, request.params.new)
  end)
  tries = tries + 1
  if tries == 1 then return 503 end -- the row is in, but nobody learns of it
  print(("try %d: done"):format(tries))
end)

if options.port then
  print("visit " .. engine:serve({ port = assert(math.tointeger(tonumber(options.port))) }).url .. "/gen_task")
  engine:run()
  return
end

local answer = engine:handle { method = "GET", path = "/gen_task" } -- as a user's browser would
print(("the user has an answer: %d %s"):format(answer.status, answer.body:match("[^\n]*")))
local forged = engine:handle { method = "POST", path = "/task_do", params = { old = "a", new = "b" } }
print(("a stranger who posts to /task_do has another: %d"):format(forged.status))

engine:drain { delayed = true, timeout = 60 }

engine:transaction(function(tx)
  for _, row in ipairs(tx:query "SELECT old, new FROM mytable") do print(("row: %s -> %s"):format(row.old, row.new)) end
end)
