--- filters.lua: the filters that choose pipelines or tasks, the same for every command that takes them.

local failure = require "pipeline.command.failure"
local values = require "pipeline.command.values"

local filters = {}

local STATES = { "waiting", "delayed", "ready", "executing", "open", "finalizing", "aborting", "done", "aborted" }
local TASK_STATES = { "ready", "delayed", "executing", "dead" }

local function options(states)
  return {
    { "--state", sign = "STATE", help = "in this state: " .. table.concat(states, ", ") },
    { "--class", sign = "CLASS", help = "of this class" },
    { "--queue", sign = "QUEUE", help = "in this queue" },
    { "--key", sign = "KEY", help = "with this idempotence key" },
    { "--text", sign = "TEXT", help = "with this text in class, key, message or error" },
    { "--since", sign = "TIME", convert = values.time, help = "from then on; a duration: so long ago" },
    { "--until", sign = "TIME", convert = values.time, help = "before then" },
    { "--error", sign = "TEXT", help = "with this text in the error" },
  }
end

--- The options of filters of pipelines; more (a list) are put behind.
function filters.of_pipelines(more)
  local list = options(STATES)
  return table.move(more or {}, 1, #(more or {}), #list + 1, list)
end

local NAMES = { "class", "queue", "key", "text", "error" }

local function is_state(state, states)
  for _, known in ipairs(states) do
    if known == state then return true end
  end
  return false
end

--- What the filters of a command line are for the engine, and whether any is given.
function filters.read(given, now)
  local chosen = {}
  for _, name in ipairs(NAMES) do chosen[name] = given[name] end
  if given.state and not is_state(given.state, STATES) then
    failure.usage("there is no state '%s'; did you mean '%s'? They are %s", given.state,
      failure.nearest(given.state, STATES) or "done", table.concat(STATES, ", "))
  end
  chosen.state = given.state
  chosen.since, chosen["until"] = given.since and given.since(now), given["until"] and given["until"](now)
  return chosen, next(chosen) ~= nil
end

local LOOKED_AT = 200 -- newest pipelines, whose classes are known

--- What is said where nothing has the class that was asked for: the nearest one that there is; "": nothing.
function filters.hint(engine, given)
  if not given.class then return "" end
  local names, known = {}, {}
  for _, entry in ipairs(engine:list({ limit = LOOKED_AT }).items) do
    if not known[entry.class] then names[#names + 1] = entry.class end
    known[entry.class] = true
  end
  local near = not known[given.class] and failure.nearest(given.class, names)
  return near and ("; did you mean the class '%s'?"):format(near) or ""
end

--- The state of tasks that was asked for, or nil.
function filters.task_state(state)
  if state == nil or is_state(state, TASK_STATES) then return state end
  failure.usage("there is no state '%s' of tasks; they are %s", state, table.concat(TASK_STATES, ", "))
end

return filters
