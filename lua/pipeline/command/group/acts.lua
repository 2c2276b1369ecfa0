--- acts.lua: the commands that act on pipelines: retry, resume, abort, cleanup, complete, callback.

local confirm = require "pipeline.command.confirm"
local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local filters = require "pipeline.command.filters"
local program = require "pipeline.command.program"
local report = require "pipeline.command.report"
local store = require "pipeline.command.store"
local values = require "pipeline.command.values"

local commands = {}

-- ---- many at once ----------------------------------------------------------------------------------------------

-- What is to be acted on: ids that are there, or filters.
local function chosen(call, engine)
  local given = call.given
  local wanted, is_filtered = filters.read(given, engine:now())
  if #given.ids > 0 and is_filtered then failure.usage("give ids or filters, not both") end
  for name, value in pairs(wanted) do
    if value == "" then failure.usage("--%s is empty; without it all are meant", name) end
  end
  if is_filtered then
    if given.queue then store.queue(engine, given.queue) end
    wanted["until"] = wanted["until"] or engine:now() -- what is started while somebody is asked is not meant
    return { filters = wanted }
  end
  if #given.ids == 0 then
    failure.usage("which pipelines? Give ids, or filters such as --state %s", given.command == "retry" and "open"
      or "aborted")
  end
  local ids = {}
  for i, address in ipairs(given.ids) do ids[i] = store.find(engine, address) end
  return { ids = ids }
end

local function act(call, done)
  local engine, given = call.open(), call.given
  for _, name in ipairs(given.module) do program.load(name) end
  local wanted = chosen(call, engine)
  wanted.op, wanted.reason, wanted.force = given.command, given.reason, given.force
  return report.act(call, function(dry_run)
    wanted.dry_run = dry_run
    return engine:act(wanted)
  end, { verb = given.command == "cleanup" and "clean up", hint = function() return filters.hint(engine, given) end,
    done = done, noun = "pipeline", is_many = wanted.filters or #wanted.ids > 1 })
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
  "What is executing ends, or is cancelled; a class may refuse (try_cancel); a durable function undoes what it did.",
  { { "--reason", sign = "TEXT", help = "what is said of it" },
    { "--force", help = "at once: no code of it runs any more, nothing is undone; also what is being aborted" },
  })
add("cleanup", "cleaned up", "deletes a pipeline that is done or aborted, with all its records",
  "One that still runs is refused: abort it first.")

-- ---- async pipelines -------------------------------------------------------------------------------------------

-- What the library refuses is an answer, too.
local function try(fn, ...)
  local results = table.pack(xpcall(fn, errors.handler, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local problem = errors.original(results[2])
  if errors.is(problem, errors.ConfigurationError) then
    failure.no("%s; name the file that defines it with --module FILE.lua", problem.message)
  end
  if errors.is(problem) and not errors.is(problem, errors.StoreError) then failure.no("%s", problem.message) end
  error(results[2], 0)
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
    local id = store.find(engine, call.given.id)
    local value = call.given.value
    if value ~= nil then value = values.told(call, value) end
    if not try(engine.complete, engine, id, value) then failure.no("%s is being aborted: its value is not used", id) end
    call.out:json { id = id, done = true }
    call.out:note("%s is completed", id)
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
    local id = store.find(engine, call.given.id)
    local status, _, body = try(engine.callback, engine, id, params)
    if status == 409 then failure.no("%s is over already", id) end
    if status >= 400 then failure.no("the callback of %s answered %d: %s", id, status, body or "") end
    call.out:json { id = id, done = true, status = status }
    if body and body ~= "" then call.out:say("%s", body) end
    call.out:note("%s was called back", id)
  end,
}

return commands
