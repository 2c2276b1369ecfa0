-- delivery.lua: gets between an engine and its tasks, so that specs can repeat, lose, delay and shuffle deliveries.

local executor = require "pipeline.workflow.execute"

local delivery = {}

--- Hands every claimed task to fn(claim, execute, lose) in a coroutine of the engine. execute() does what the engine
-- would have done. lose() does it too, but what it reports never reaches the store, as when the process dies before
-- the commit; the task is delivered again.
function delivery.intercept(engine, fn)
  engine._core:on("task", function(claim)
    local function execute() executor.task(engine, claim) end
    local function lose() delivery.lose(engine, claim) end
    fn(claim, execute, lose)
  end)
end

local function nothing() return true end

local function deaf(real)
  return setmetatable({ outcome = nothing, finalized = nothing, task_done = nothing }, {
    __index = function(_, name)
      return function(_, ...) return real[name](real, ...) end
    end,
  })
end

function delivery.lose(engine, claim)
  local real = engine._core
  engine._core = deaf(real)
  executor.task(engine, claim)
  engine._core = real
  real:give_back(claim)
end

--- Loses the first `count` deliveries of each kind of task of each stage.
function delivery.lose_first(engine, count)
  local seen = {}
  delivery.intercept(engine, function(claim, execute, lose)
    local key = claim.kind .. claim.id
    seen[key] = (seen[key] or 0) + 1
    if seen[key] <= count then lose() else execute() end
  end)
end

--- Holds the first delivery for which wanted(claim) is true until the function returned here is called; by then its
-- claim may have been taken over. Works in steps until the delivery is there.
function delivery.hold(engine, wanted)
  local token
  delivery.intercept(engine, function(claim, execute)
    if not token and wanted(claim) then
      token = engine._core:token()
      engine._core:suspend()
    end
    execute()
  end)
  repeat engine:step() until token
  return function()
    token:wake()
    engine:drain()
  end
end

--- Another worker on the same file, so much later that the leases of all others are over.
function delivery.successor(engine, open, path, options)
  local given = { path = path, virtual_start = engine:now() + 1000.0 }
  for name, value in pairs(options or {}) do given[name] = value end
  return open(given)
end

return delivery
