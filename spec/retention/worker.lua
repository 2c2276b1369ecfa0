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
