-- lively.lua: an engine in which something of every kind has happened, so that all of its routes and metrics are there.

local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"

local SCHEDULES = 101 -- so many that some are left out, which is a metric

--- Calls fn(engine) with such an engine, and closes it; returns what fn does.
local function lively(fn)
  local engine <close> = pipeline.open(":memory:", { log = function() end, metrics = { classes = true },
    queues = { default = {} } })
  local Class = pipeline.define("docs.Class", { max_attempts = 1, run = function(_, ok) assert(ok) end })
  local server = engine:serve { port = 0, admin_token = "reference-token" }
  for i = 1, SCHEDULES do schedules.create("docs-" .. i, { every = 3600, call = { string.rep, "", 1 } }) end
  schedules.get("docs-1"):trigger()
  engine:wait(Class(true):start())
  pcall(engine.wait, engine, Class(false):start())
  taskqueue.add { url = "/none", retry_options = { task_retry_limit = 0 } }
  engine:drain { delayed = false }
  local Fetch = pipeline.define("docs.Fetch", {
    run = function() return tasklets.await(tasklets.fetch { url = server.url .. "/healthz", deadline = 30 }).status end,
  })
  engine:wait(Fetch():start())
  return fn(engine)
end

return lively
