--- support.lua: how the specs of durable functions begin: engines of virtual time, and classes with names of their own.

local helper = require "spec.support.helper"
local pipeline = require "pipeline"

-- warm_runs: how many runs the engines keep in memory while they are suspended. None: so each resumption replays the
-- journal, as in another process. warm_spec.lua executes the same specs once more with others than that.
local support = { warm_runs = 0 }

local serial = 0

--- A name that no other class has.
function support.name(what)
  serial = serial + 1
  return ("spec.durable.%s%d"):format(what or "W", serial)
end

local function merge(into, from)
  for key, value in pairs(from or {}) do into[key] = value end
  return into
end

--- What makes durable classes of a body or a definition, and of what these are to have besides; each has `defaults`.
function support.workflows(defaults)
  return function(definition, more)
    if type(definition) == "function" then definition = { run = definition } end
    return pipeline.workflow(support.name(), merge(merge(merge({}, defaults), definition), more))
  end
end

--- Opens an engine of virtual time on a file, or in memory. `given`: options of its own. Returns it, and the lines of
-- its log.
function support.open(path, given)
  local lines = {}
  local options = {
    virtual_time = true, virtual_start = 1e9, warm_runs = support.warm_runs,
    log = function(_, line) lines[#lines + 1] = line end,
  }
  return pipeline.open(path or ":memory:", merge(options, given)), lines
end

--- Lets so much time pass, and does what is due by then.
function support.pass(engine, seconds)
  engine:advance(seconds)
  engine:drain()
end

--- Waits for the end of a run that is aborted. Returns the error.
function support.aborted(engine, stage)
  return helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
end

return support
