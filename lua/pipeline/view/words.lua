--- words.lua: the words for states, the same wherever people look: in Lua, JSON, the command, the pages, metrics. And
-- one line for each thing that says what is so with it.

local words = {}

--- States of a stage, in the order in which it may pass through them.
words.STATES = {
  "waiting", "delayed", "ready", "executing", "open", "finalizing", "aborting", "done", "aborted",
}

local of_record = {
  waiting = "waiting", run = "open", finalizing = "finalizing", aborting = "aborting", abort_held = "aborting",
  done = "done", aborted = "aborted",
}

--- The state of a stage, in a word. One that may start has a task, but for one whose start is to be added by its
-- caller: that waits.
-- @tparam table record as the store gives it.
-- @tparam[opt] table work what it waits for (record.work).
function words.state(record, work)
  if record.state ~= "ready" then return of_record[record.state] or record.state end
  if not (work and work.has_task) then return "waiting" end
  return work.claimed and "executing" or work["until"] and "delayed" or "ready"
end

--- A time as people and programs read it: RFC 3339, UTC, to the second.
function words.time(seconds)
  local ok, shown = pcall(os.date, "!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds))
  return ok and shown or "?"
end

--- A span of time, in short: "0.3 s", "42 s", "5 min 3 s", "2 h 5 min", "3 d 4 h".
function words.span(seconds)
  seconds = math.max(0, seconds)
  if seconds < 10 then return ("%.3g s"):format(seconds) end
  local whole = math.floor(seconds + 0.5)
  if whole < 60 then return whole .. " s" end
  if whole < 3600 then return ("%d min %d s"):format(whole // 60, whole % 60) end
  if whole < 86400 then return ("%d h %d min"):format(whole // 3600, whole % 3600 // 60) end
  return ("%d d %d h"):format(whole // 86400, whole % 86400 // 3600)
end

--- "1 slot", "3 slots".
function words.count(n, noun)
  return ("%d %s%s"):format(n, noun, n == 1 and "" or "s")
end

local function one_line(value)
  return (value:gsub("%s+", " "))
end

local say = {}

function say.waiting(entry)
  local list = entry.waits_for
  if not list or #list == 0 then return "waiting: its schedule holds it back, or its task has not been added" end
  local first = list[1]
  local whose = first.class and (" of %s (%s)"):format(first.class, first.state) or ""
  return ("waiting for %s: %s%s%s"):format(words.count(#list, "slot"), first.name or first.slot, whose,
    #list > 1 and " and others" or "")
end

function say.delayed(entry)
  if entry.held then return "held: " .. one_line(entry.held) end
  if entry.suspended then return "suspended: it " .. one_line(entry.suspended) end
  local line = entry["until"] and "delayed until " .. words.time(entry["until"]) or "delayed until something else ends"
  if entry.attempt > 1 then line = ("%s, attempt %d of %d"):format(line, entry.attempt, entry.max_attempts) end
  if entry.last_error then line = line .. "; last error: " .. one_line(entry.last_error) end
  return line
end

function say.ready(entry)
  local line = ("ready in queue %s"):format(entry.queue)
  if entry.place then line = ("%s, place %d"):format(line, entry.place) end
  return entry.queue_paused and line .. "; the queue is paused" or line
end

function say.executing(entry)
  local line = "executing"
  if entry.worker then line = line .. " at " .. entry.worker end
  if entry.since then line = line .. " since " .. words.time(entry.since) end
  if entry.durable then return line end -- its steps have attempts
  return ("%s, attempt %d of %d"):format(line, entry.attempt, entry.max_attempts)
end

function say.open(entry)
  local children = entry.children
  local parts = {}
  if entry.outputs_open and entry.outputs_open > 0 then parts[1] = "to be completed from outside" end
  if children and children.total > 0 then
    parts[#parts + 1] = ("%d of %d%s children done"):format(children.done, children.total, children.more and "+" or "")
  end
  return #parts > 0 and "open: " .. table.concat(parts, "; ") or "open"
end

function say.finalizing(entry)
  return entry.since and "finalizing since " .. words.time(entry.since) or "finalizing"
end

function say.aborting(entry)
  local line = entry.since and "aborting since " .. words.time(entry.since) or "aborting"
  if entry.abort_held then line = line .. "; its try_cancel() refused: it ends when it is completed" end
  return entry.reason and line .. ": " .. one_line(entry.reason) or line
end

function say.done(entry)
  local line = entry.ended and "done at " .. words.time(entry.ended) or "done"
  return entry.took and ("%s, took %s"):format(line, words.span(entry.took)) or line
end

function say.aborted(entry)
  local line = entry.ended and "aborted at " .. words.time(entry.ended) or "aborted"
  return entry.reason and line .. ": " .. one_line(entry.reason) or line
end

--- What is so with an entry of the view, in one line.
function words.line(entry)
  local says = say[entry.state]
  return says and says(entry) or entry.state
end

return words
