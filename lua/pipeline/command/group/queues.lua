--- queues.lua: the commands about queues: queues, queue, pause, resume-queue, purge, set.

local columns = require "pipeline.command.output.columns"
local confirm = require "pipeline.command.confirm"
local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local json = require "pipeline.http.json"
local store = require "pipeline.command.store"
local taskqueue = require "pipeline.taskqueue"
local values = require "pipeline.command.values"
local words = require "pipeline.command.output.words"

local commands = {}

-- ---- looking ---------------------------------------------------------------------------------------------------

local function rate_of(queue)
  if not queue.rate then return "" end
  if queue.rate == 0 then return "0" end
  for _, unit in ipairs { { 1, "s" }, { 60, "m" }, { 3600, "h" }, { 86400, "d" } } do
    local number = queue.rate * unit[1]
    if number >= 1 then return ("%.4g/%s"):format(number, unit[2]) end
  end
  return ("%g/s"):format(queue.rate)
end

local function remark_of(queue)
  if queue.paused then return "paused", "warn" end
  if queue.rate == 0 then return "stands still: its rate is 0", "warn" end
  local has_work = (queue.ready or 0) + (queue.delayed or 0) > 0
  if queue.served == false and has_work and queue.mode ~= "pull" then return "no worker serves it", "bad" end
  return ""
end

local function columns_of(now)
  return {
    { title = "QUEUE", field = "name", least = 8 },
    { title = "MODE", field = "mode", rank = 4 },
    { title = "READY", field = "ready", right = true },
    { title = "DELAYED", field = "delayed", right = true, rank = 1 },
    { title = "EXECUTING", field = "executing", right = true, rank = 2 },
    { title = "DEAD", field = function(queue)
      return tostring(queue.dead or 0), (queue.dead or 0) > 0 and "bad" or nil
    end, right = true },
    { title = "RATE", field = rate_of, right = true, rank = 5 },
    { title = "AT ONCE", field = function(queue) return queue.max_concurrent or "" end, right = true, rank = 6 },
    { title = "OLDEST", field = function(queue) return words.span(queue.oldest_ready and now - queue.oldest_ready) end,
      right = true, rank = 3 },
    { title = "", field = remark_of, least = 19, narrow = 6 },
  }
end

commands[#commands + 1] = {
  name = "queues", summary = "lists the queues and what is in them",
  run = function(call)
    local engine = call.open()
    local list = engine:queues()
    if call.out.as_json then return call.out:json { items = json.array(list) } end
    columns.write(call.out, columns_of(engine:now()), list)
  end,
}

local function find(engine, name)
  store.queue(engine, name)
  for _, queue in ipairs(engine:queues()) do
    if queue.name == name then return queue end
  end
end

local SETTINGS = { "mode", "rate", "bucket_size", "max_concurrent_requests", "target", "paused" }
local RETRY = { "task_retry_limit", "task_age_limit", "min_backoff_seconds", "max_backoff_seconds", "max_doublings",
  "max_losses" }

commands[#commands + 1] = {
  name = "queue", summary = "shows the settings and the figures of a queue",
  arguments = { { name = "name", sign = "QUEUE", help = "its name" } },
  run = function(call)
    local engine, out = call.open(), call.out
    local queue = find(engine, call.given.name)
    local settings = taskqueue.Queue(queue.name):settings() or {}
    queue.settings = settings
    queue.executed_last_minute = taskqueue.Queue(queue.name):fetch_statistics().executed_last_minute
    if out.as_json then return out:json(queue) end
    out:say("%s", queue.name)
    local remark, style = remark_of(queue)
    if remark ~= "" then out:line(out:style(style, remark)) end
    out:say("ready %d, delayed %d, executing %d, dead %d; %d started in the last minute", queue.ready or 0,
      queue.delayed or 0, queue.executing or 0, queue.dead or 0, queue.executed_last_minute or 0)
    if queue.oldest_ready then
      out:say("the oldest is ready since %s", words.instant(queue.oldest_ready, engine:now()))
    end
    for _, name in ipairs(SETTINGS) do
      if settings[name] ~= nil then out:say("%s=%s", name, tostring(settings[name])) end
    end
    for _, name in ipairs(RETRY) do
      local value = (settings.retry_parameters or {})[name]
      if value ~= nil then out:say("%s=%s", name, tostring(value)) end
    end
  end,
}

-- ---- acting ----------------------------------------------------------------------------------------------------

local function each_queue(call, fn, said)
  local engine = call.open()
  for _, name in ipairs(call.given.names) do store.queue(engine, name) end
  for _, name in ipairs(call.given.names) do
    fn(taskqueue.Queue(name))
    call.out:note(said, name)
  end
  call.out:json { queues = json.array(call.given.names) }
end

commands[#commands + 1] = {
  name = "pause", summary = "stops queues: nothing of them starts in any process; what runs goes on",
  arguments = { { name = "names", sign = "QUEUE", many = "+", help = "a queue" } },
  run = function(call) each_queue(call, function(queue) queue:pause() end, "%s is paused") end,
}

commands[#commands + 1] = {
  name = "resume-queue", summary = "lets paused queues go on",
  arguments = { { name = "names", sign = "QUEUE", many = "+", help = "a queue" } },
  run = function(call) each_queue(call, function(queue) queue:resume() end, "%s goes on") end,
}

commands[#commands + 1] = {
  name = "purge", summary = "deletes all tasks of a queue",
  details = "Its dead tasks and what belongs to the life of pipelines stay. It is done after a confirmation.",
  arguments = { { name = "name", sign = "QUEUE", help = "the queue" } },
  options = {
    { "--free-names", help = "frees the names of all tasks, so that they can be added again at once" },
    confirm.options[1], confirm.options[2],
  },
  run = function(call)
    local engine, out = call.open(), call.out
    local name = store.queue(engine, call.given.name)
    local queue = taskqueue.Queue(name)
    local tasks = queue:fetch_statistics().tasks
    if call.given.dry_run then
      out:json { queue = name, matched = tasks, done = 0 }
      return out:say("this would delete up to %s of %s", words.of(tasks, "task"), name)
    end
    if tasks > 0 then confirm.ask(call, ("delete up to %s of %s"):format(words.of(tasks, "task"), name)) end
    local done = queue:purge { keep_names = not call.given.free_names }
    out:json { queue = name, matched = tasks, done = done }
    out:note("deleted %s of %s", words.of(done, "task"), name)
  end,
}

-- ---- settings --------------------------------------------------------------------------------------------------

local function is_of(list, name)
  for _, known in ipairs(list) do
    if known == name then return true end
  end
  return false
end

local BOOLEANS = { ["true"] = true, yes = true, ["false"] = false, no = false }

-- A value as it stands on the command line; "" is the default.
local function value_of(name, text)
  if text == "" then return nil end
  if name == "paused" then
    if BOOLEANS[text] == nil then failure.usage("paused=%s: write true or false", text) end
    return BOOLEANS[text]
  end
  if name == "mode" or name == "target" then return text end
  if name == "rate" or name == "task_age_limit" then return tonumber(text) or text end
  local number = math.tointeger(tonumber(text)) or tonumber(text)
  if not number and name:find("_seconds$") then number = values.seconds(text) end
  return number or failure.usage("%s=%s: a number expected", name, text)
end

local function merge(settings, given)
  local known = table.move(RETRY, 1, #RETRY, #SETTINGS + 1, table.move(SETTINGS, 1, #SETTINGS, 1, {}))
  for name, text in pairs(given) do
    local value = value_of(is_of(known, name) and name or "mode", text)
    if is_of(SETTINGS, name) then
      settings[name] = value
    elseif is_of(RETRY, name) then
      settings.retry_parameters = settings.retry_parameters or {}
      settings.retry_parameters[name] = value
    else
      failure.usage("there is no setting '%s'; did you mean '%s'? They are %s", name,
        failure.nearest(name, known) or "rate", table.concat(known, ", "))
    end
  end
  if settings.retry_parameters and next(settings.retry_parameters) == nil then settings.retry_parameters = nil end
  if not settings.rate then settings.bucket_size = nil end
  return settings
end

commands[#commands + 1] = {
  name = "set", summary = "changes settings of a queue, for all processes and at once",
  details = "Settings: " .. table.concat(SETTINGS, ", ") .. "; of retries: " .. table.concat(RETRY, ", ")
    .. ". NAME= (nothing behind it) gives one its default again.",
  arguments = {
    { name = "name", sign = "QUEUE", help = "the queue" },
    { name = "settings", sign = "NAME=VALUE", many = "*", help = "a setting" },
  },
  options = { { "--new", help = "makes the queue if there is none of that name" } },
  examples = { "pipeline set mail rate=5/s max_concurrent_requests=10", "pipeline set reports --new mode=pull" },
  run = function(call)
    local given = values.pairs(call.given.settings, "setting")
    if next(given) == nil and not call.given.new then
      failure.usage("what is to be set? Write NAME=VALUE, such as rate=5/s; 'pipeline queue %s' shows what is",
        call.given.name)
    end
    local engine = call.open()
    local name = call.given.new and call.given.name or store.queue(engine, call.given.name)
    local settings = merge(taskqueue.Queue(name):settings() or {}, given)
    local ok, problem = xpcall(taskqueue.configure, errors.handler, { [name] = settings })
    if not ok then
      local original = errors.original(problem)
      if errors.is(original, errors.StoreError) then error(problem, 0) end
      local _, message = errors.describe(problem)
      failure.usage("%s", message)
    end
    call.out:json { name = name, settings = taskqueue.Queue(name):settings() }
    call.out:note("%s is set", name)
  end,
}

return commands
