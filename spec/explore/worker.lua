--- worker.lua: a process that works on the run of a body, and kills itself at a chosen event.
--
--   lua worker.lua FILE LEDGER SEED CRASH_AT SECONDS
--
-- Events are as in lives.lua. CRASH_AT 0: it lives until the run is final, and writes `done|OUTPUT` into the ledger,
-- which gets `effect|KEY` for each effect. Every process sends all signals, with keys.

local bodies = require "spec.explore.bodies"
local lives = require "spec.explore.lives"
local pipeline = require "pipeline"
local processes = require "spec.crash.processes"

local path, ledger_path, seed, crash_at, seconds = table.unpack(arg, 1, 5)
seed, crash_at, seconds = tonumber(seed), tonumber(crash_at), tonumber(seconds)
bodies.pace, bodies.is_plain = 0.004, true

local ledger = assert(io.open(ledger_path, "a"))
ledger:setvbuf("no")

local events = 0
local function event()
  events = events + 1
  if events == crash_at then
    os.execute("kill -9 " .. processes.own_pid())
    while true do end -- until the signal comes
  end
end

function bodies.effect(key)
  event()
  ledger:write(("effect|%s\n"):format(key))
  event()
end

local body = bodies.make(seed)
local engine <close> = pipeline.open(path, { lease_seconds = 5, durability = "normal", log = function() end })
bodies.faster = crash_at % 2 == 0 and "left" or "right"
engine:transaction(function(tx) tx:execute("CREATE TABLE IF NOT EXISTS explored (n INTEGER)") end)
local stage = pipeline.from_id("the-run")
if not stage then
  local ok, problem = pcall(function() stage = body.class():start { idempotence_key = "the-run" } end)
  if not ok and not pipeline.is(problem, pipeline.PipelineExistsError) then error(problem, 0) end
end
lives.watch(engine, event)
for i, name in ipairs(body.signals) do engine:signal("the-run", name, i * 100, { key = i }) end
stage = stage or pipeline.from_id("the-run")
if body.fate == "cancelled" then
  local late = engine:now() + seconds
  while not engine:get_value(stage, "waits") and engine:now() < late do engine:sleep(0.01) end
  stage:abort(lives.REASON)
end
local ok, outputs = pcall(engine.wait, engine, stage, { timeout = seconds })
if crash_at == 0 then ledger:write(("done|%s\n"):format(lives.output_of(ok, outputs))) end
