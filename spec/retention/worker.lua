-- worker.lua PATH ROLE …: another process of portions_spec.lua.

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

local path, role, what = arg[1], arg[2], arg[3]
local engine = pipeline.open(path, { no_worker = true, durability = "normal" })

local roles = {}

function roles.cleanup()
  pipeline.from_id(what):cleanup()
  print("done")
end

function roles.purge()
  print(taskqueue.Queue(what):purge())
end

-- Writes some 150 MB, without a pause: two of these would make a log of 300 MB that never starts over.
function roles.write()
  taskqueue.configure { bulk = { mode = "pull" } }
  local queue, payload = taskqueue.Queue("bulk"), ("x"):rep(90000)
  for _ = 1, 170 do
    local list = {}
    for i = 1, 10 do list[i] = taskqueue.Task { payload = payload, method = "PULL" } end
    queue:delete_tasks(queue:add(list))
  end
  print("done")
end

-- Sweeps until it is killed.
function roles.sweep()
  engine:close()
  engine = pipeline.open(path, { durability = "normal", retention = { done = 0 } })
  print("ready")
  io.stdout:flush()
  engine:run()
end

roles[role]()
engine:close()
