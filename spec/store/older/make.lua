-- make.lua FILE - made release-0.1.tar.gz: run by Lua with version 0.1 of the library (the last commit whose schema was
-- version 1), in this directory. The program kills itself while a stage is executing, with its last commits in the log
-- beside the file, so that what is kept is what a crash leaves.
--
--   lua5.4 make.lua release-0.1.db; tar --owner=0 --group=0 -czf release-0.1.tar.gz release-0.1.db release-0.1.db-wal

local pipeline = require "pipeline"
local classes = require "classes"

local engine = pipeline.open(arg[1], { durability = "normal", seed = 1 })

-- Finished work of all kinds.
local done = classes.Order("chair"):start { idempotence_key = "done" }
assert(engine:wait(done).default.value == 3)
assert(not pcall(engine.wait, engine, classes.Fail():start { idempotence_key = "aborted" }))

-- Pending work of all kinds: a tree half done, retries, delayed ones, what waits for the outside.
classes.Tree(3600):start { idempotence_key = "tree" }
classes.Ask():start { idempotence_key = "asked" }
classes.Retry():start { idempotence_key = "retry" }
classes.Give("later"):start { idempotence_key = "delayed", countdown = 7200 }
pcall(engine.drain, engine, { timeout = 5 })

function classes.hold()
  classes.Give("ready"):start { idempotence_key = "ready" } -- nobody comes to execute it
  local pipe <close> = assert(io.popen("kill -9 $PPID"))
  pipe:read("a")
  while true do end
end
classes.Hold():start { idempotence_key = "held" }
engine:run()
