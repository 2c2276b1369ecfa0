--- durable/reach/noticed.lua: what is noticed of runs in this process: counts for the metrics, and events for the
-- hooks.

local noticed = {}

local function tell(run, name, event)
  local hooks = run.engine._hooks
  if not (hooks and hooks.functions[name]) then return end
  local record = run.record
  event.time, event.id, event.class, event.key = run.core:now(), run.self.id, record.class_path, record.key
  event.era = run.flow.era
  hooks:tell(name, event)
end

--- A run goes on, or begins anew in this process: so many entries of its journal are replayed.
function noticed.replayed(run, entries)
  if entries == 0 then return end
  local counts = run.engine._replays or { runs = 0, entries = 0 }
  run.engine._replays = counts
  counts.runs, counts.entries = counts.runs + 1, counts.entries + entries
  tell(run, "run_replayed", { entries = entries })
end

--- A run waits, and holds nothing. `due`: when it goes on at the latest, or nil.
function noticed.suspended(run, due, reason)
  tell(run, "run_suspended", { due = due, reason = reason })
end

--- A run goes no further until somebody resumes it.
function noticed.held(run, reason)
  tell(run, "run_held", { reason = reason })
end

return noticed
