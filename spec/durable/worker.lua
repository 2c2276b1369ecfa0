--- worker.lua: a process that works on durable runs, and may be killed at a chosen event.
--
--   lua worker.lua FILE LEDGER PROGRAM CRASH_AT SECONDS [LEASE_SECONDS]
--
-- Events are the beginning and the end of each commit of a durable run, and each effect of a step; before the one
-- numbered CRASH_AT (0: never) the process kills itself with SIGKILL. The ledger gets a line for each effect
-- (`effect|KEY`), for the end (`done|OUTPUT`) and at last for the count of events (`events|N`).

local processes = require "spec.crash.processes"
local pipeline = require "pipeline"
local programs = require "spec.durable.programs"

local path, ledger_path, name, crash_at, seconds, lease = table.unpack(arg, 1, 6)
crash_at, seconds = tonumber(crash_at), tonumber(seconds)

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

function programs.effect(...)
  event()
  ledger:write(("effect|%s\n"):format(pipeline.step().key))
  event()
  return ...
end

function programs.note(text)
  ledger:write(text .. "\n")
end

programs.path = path

--- Aborts the run from outside, as soon as it is told to by a step of it.
function programs.abort()
  event()
  pipeline.from_id("the-run"):abort("enough")
end

local engine = pipeline.open(path, { lease_seconds = tonumber(lease), log = function(level, line)
  if level >= 40 then ledger:write(("log|%d %s\n"):format(level, (line:gsub("\n", " ")))) end
end })

-- The verbs of durable runs, with an event before and after each.
local methods = getmetatable(engine._core).__index
for _, verb in ipairs { "journal", "flow_suspend", "outcome", "signal", "abort" } do
  local call = methods[verb]
  methods[verb] = function(...)
    event()
    return (function(...)
      event()
      return ...
    end)(call(...))
  end
end

if programs.signals[name] then
  engine:transaction(function(tx) tx:execute("CREATE TABLE IF NOT EXISTS ledger (n INTEGER)") end)
end

local stage = pipeline.from_id("the-run") or programs[name]():start { idempotence_key = "the-run" }
for i, signal in ipairs(programs.signals[name] or {}) do
  engine:signal("the-run", signal[1], signal[2], { key = i })
end
-- Whoever comes later asks again, with the same keys, and gets the same answers.
local answers = {}
for i, update in ipairs(programs.updates[name] or {}) do
  local ok, answer = pcall(engine.update, engine, "the-run", update[1], update[2], { key = i, timeout = seconds })
  answers[i] = ok and tostring(answer) or tostring(answer.message)
end
local ok, outputs = pcall(engine.wait, engine, stage, { timeout = seconds })
local text = ok and programs.text(outputs.default.value) or tostring(outputs)
if answers[1] then
  text = ("%s answers %s stream %s"):format(text, table.concat(answers, ","), programs.seen(engine))
end
ledger:write(("done|%s\nevents|%d\n"):format(text, events))
engine:close()
