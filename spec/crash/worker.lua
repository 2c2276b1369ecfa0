--- worker.lua: one process of the crash run, to be killed at any moment.
--
--   lua worker.lua work FILE LOG SEED BATCH NUMBER   starts the roots of a batch that are not there yet, and works
--   lua worker.lua drain FILE LOG SEED BATCHES       works until nothing is left, then logs what came of every root

local processes = require "spec.crash.processes"
local pipeline = require "pipeline"
local classes = require "spec.crash.classes"
local plan = require "spec.crash.plan"

local mode, path, log, seed, batch, number = table.unpack(arg)
seed, batch, number = math.tointeger(tonumber(seed)), math.tointeger(tonumber(batch)), tonumber(number)

classes.log, classes.pid = assert(io.open(log, "a")), processes.own_pid()

local engine = pipeline.open(path, {
  durability = seed % 3 == 0 and "full" or "normal", concurrency = ({ 4, 64, 256 })[seed % 3 + 1],
  log = function(level, text)
    local expected = text:find("as intended", 1, true) or text:find("no attempt succeeds", 1, true)
    if level >= 30 and not expected then classes.note("log", level, (text:gsub("\n", " "))) end
  end,
})

local function start(item)
  classes.start_once(item.key, classes[item.class](table.unpack(item.args)))
  if item.may_abort and math.random(3) == 1 then
    local stage = pipeline.from_id(item.key)
    if stage and stage:abort("by a worker") then classes.note("aborted", item.key) end
  end
end

local function work_a_little()
  local ok, problem = pcall(engine.drain, engine, { timeout = math.random() * 0.02 })
  if not ok and not pipeline.is(problem, pipeline.TimeoutError) then error(problem, 0) end
end

local function work()
  math.randomseed(seed + number, batch)
  local list = plan.batch(seed, batch)
  for i = #list, 2, -1 do
    local j = math.random(i)
    list[i], list[j] = list[j], list[i]
  end
  for _, item in ipairs(list) do
    start(item)
    if math.random(3) == 1 then work_a_little() end
  end
  engine:run()
end

local function result_of(key)
  local stage = pipeline.from_id(key)
  if not stage then return "missing" end
  if stage.was_aborted then return "aborted" end
  return tostring(stage.outputs.default.value)
end

local function drain()
  engine:drain { delayed = true, timeout = 60 }
  for cycle = 1, batch do
    for _, item in ipairs(plan.batch(seed, cycle)) do
      classes.note("result", item.key, result_of(item.key))
      for n = 1, item.class == "Starter" and item.args[2] or 0 do
        local key = item.key .. "-" .. n
        classes.note("result", key, result_of(key))
      end
    end
  end
  classes.note("drained")
end

(mode == "drain" and drain or work)()
engine:close()
