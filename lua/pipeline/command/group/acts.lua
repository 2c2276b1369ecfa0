--- acts.lua: the commands that act on pipelines: retry, resume, abort, cleanup, complete, callback.

local confirm = require "pipeline.command.confirm"
local deeds = require "pipeline.command.deeds"
local failure = require "pipeline.command.failure"
local filters = require "pipeline.command.filters"
local json = require "pipeline.http.json"
local program = require "pipeline.command.program"
local store = require "pipeline.command.store"
local values = require "pipeline.command.values"
local words = require "pipeline.command.output.words"

local commands = {}

-- ---- many at once ----------------------------------------------------------------------------------------------

-- The ids of what is to be acted on, and whether they were found by filters.
local function chosen(call, engine)
  local given = call.given
  local wanted, is_filtered = filters.read(given, engine:now())
  if #given.ids > 0 and is_filtered then failure.usage("give ids or filters, not both") end
  if is_filtered then return deeds.ids(engine, wanted), true end
  if #given.ids == 0 then
    failure.usage("which pipelines? Give ids, or filters such as --state %s", given.command == "retry" and "open"
      or "aborted")
  end
  local ids = {}
  for i, address in ipairs(given.ids) do ids[i] = store.find(engine, address) end
  return ids, false
end

local function act(call, done)
  local engine, given, out = call.open(), call.given, call.out
  for _, name in ipairs(given.module) do program.load(name) end
  local ids, is_filtered = chosen(call, engine)
  if given.dry_run then
    out:json { matched = #ids, done = 0, refused = json.array {} }
    return out:say("this would %s %s", given.command, words.of(#ids, "pipeline"))
  end
  if is_filtered and #ids > 0 or #ids > 1 then
    confirm.ask(call, ("%s %s"):format(given.command, words.of(#ids, "pipeline")))
  end
  local result = deeds.to_pipelines(engine, given.command, ids, given.reason)
  out:json { matched = result.matched, done = result.done, refused = json.array(result.refused) }
  if result.done > 0 or #result.refused == 0 then out:note("%s %s", done, words.of(result.done, "pipeline")) end
  for _, one in ipairs(result.refused) do out:say("%s was refused: %s", one.id, one.why) end
  if #result.refused > 0 then return failure.NO end
end

local MODULE = { "--module", sign = "FILE|NAME", count = "*", help = "the file or module that defines its class" }

-- A command that acts on one or many.
local function add(name, done, summary, details, more)
  local options = filters.of_pipelines(more)
  options[#options + 1] = MODULE
  table.move(confirm.options, 1, #confirm.options, #options + 1, options)
  commands[#commands + 1] = {
    name = name, summary = summary, details = details .. " More than one is done after a confirmation.",
    arguments = { { name = "ids", sign = "ID", many = "*", help = "a pipeline" } }, options = options,
    examples = { ("pipeline %s 4fb1c2d8"):format(name), ("pipeline %s --class shop.Order --since 24h"):format(name) },
    run = function(call) return act(call, done) end,
  }
end

add("retry", "retried", "runs an async pipeline that waits for its callback again",
  "It must not be over, and have attempts left. What was aborted goes on with 'pipeline resume'.",
  { { "--reason", sign = "TEXT", help = "what is said of it" } })
add("resume", "resumed", "lets an aborted pipeline go on from where it failed",
  "What is done stays done; what failed begins again with fresh attempts.")
add("abort", "aborted", "aborts a pipeline with everything below it",
  "What is executing ends, or is cancelled; a class may refuse (try_cancel).",
  { { "--reason", sign = "TEXT", help = "what is said of it" } })
add("cleanup", "cleaned up", "deletes a pipeline that is done or aborted, with all its records",
  "One that still runs is refused: abort it first.")

-- ---- async pipelines -------------------------------------------------------------------------------------------

-- The stage that an address means, if it is async and not over.
local function open_stage(engine, address)
  local stage = engine:stage(store.find(engine, address))
  if not stage.async then failure.no("%s (%s) is not async: it is done by its run", stage.id, stage.class) end
  if stage.state == "done" or stage.state == "aborted" then failure.no("%s is %s already", stage.id, stage.state) end
  return stage
end

commands[#commands + 1] = {
  name = "complete", summary = "finishes an async pipeline with a value",
  arguments = {
    { name = "id", sign = "ID", help = "the pipeline" },
    { name = "value", sign = "JSON", many = "?", help = "its output (default: none)" },
  },
  examples = { "pipeline complete 4fb1c2d8 '{\"approved\": true}'" },
  run = function(call)
    local engine = call.open()
    local stage = open_stage(engine, call.given.id)
    local value = call.given.value
    if value ~= nil then value = values.json(value) end
    engine:from_id(stage.id):fill("default", value)
    call.out:json { id = stage.id, done = true }
    call.out:note("%s is completed", stage.id)
  end,
}

commands[#commands + 1] = {
  name = "callback", summary = "calls an async pipeline back, as its callback URL does",
  details = "Its callback function is executed here: --module names the file that defines its class.",
  arguments = {
    { name = "id", sign = "ID", help = "the pipeline" },
    { name = "params", sign = "NAME=VALUE", many = "*", help = "a parameter" },
  },
  options = { MODULE },
  examples = { "pipeline callback 4fb1c2d8 answer=yes --module shop.lua" },
  run = function(call)
    local params = values.pairs(call.given.params, "parameter")
    local engine = call.open()
    for _, name in ipairs(call.given.module) do program.load(name) end
    local stage = open_stage(engine, call.given.id)
    local answer = engine:_get_web():handle_task {
      method = "POST", path = stage.callback_url:gsub("^%a+://[^/]*", ""), params = params,
    }
    if answer.status >= 400 then
      failure.no("the callback of %s answered %d%s%s; is its class among the files of --module?", stage.id,
        answer.status, answer.body ~= "" and ": " or "", answer.body)
    end
    call.out:json { id = stage.id, done = true, status = answer.status }
    if answer.body ~= "" then call.out:say("%s", answer.body) end
    call.out:note("%s was called back", stage.id)
  end,
}

return commands
