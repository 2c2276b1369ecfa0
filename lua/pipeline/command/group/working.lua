--- working.lua: the commands that start work and do it: worker, start, serve.

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local failure = require "pipeline.command.failure"
local pipeline = require "pipeline"
local program = require "pipeline.command.program"
local store = require "pipeline.command.store"
local values = require "pipeline.command.values"
local words = require "pipeline.command.output.words"

local commands = {}

local HOST, PORT, PORT_MAX = "127.0.0.1", 8080, 65535
local INFO, WARNING = 20, 30
local GRACE = 30 -- seconds, as pipeline.open has it
local LEVELS = { [10] = "debug", [20] = "info", [30] = "warning", [40] = "error", [50] = "critical" }

-- ---- the log ---------------------------------------------------------------------------------------------------

-- Lines of the engine, with the time, on standard error.
local function logger(call, usual)
  local least = call.given.verbose and 0 or call.given.quiet and WARNING or usual or INFO
  return function(level, text)
    if level < least then return end
    io.stderr:write(("%s %-7s %s\n"):format(os.date("%H:%M:%S"), LEVELS[level] or level, call.out:plain(text)))
  end
end

-- ---- serving ---------------------------------------------------------------------------------------------------

-- HOST:PORT, :PORT, HOST or PORT.
local function address_of(text)
  local host, port = text:match("^%[(.*)%]:?(%d*)$")
  if text:find("^%d+$") then host, port = "", text end
  if not host then host, port = text:match("^([^:]*):?(%d*)$") end
  if not host then failure.usage("'%s' is no address; write HOST:PORT, such as 127.0.0.1:8080", text) end
  local number = port ~= "" and math.tointeger(tonumber(port)) or PORT
  if number > PORT_MAX then failure.usage("there is no port %s; they go to %d", port, PORT_MAX) end
  return host ~= "" and host or HOST, number
end

local function serve(call, engine, text)
  local host, port = address_of(text)
  local ok, server = pcall(engine.serve, engine, {
    host = host, port = port, admin_token = os.getenv("PIPELINE_ADMIN_TOKEN"), base_url = call.given.base_url,
  })
  if not ok then
    if not errors.is(server) then error(server, 0) end
    failure.no("%s; choose another address, or stop what uses it", server.message)
  end
  call.out:note("serving %s/_ah/pipeline/", server.url)
  return server
end

-- ---- worker ----------------------------------------------------------------------------------------------------

-- Names between commas, behind those of a list.
local function names_of(text, names)
  if not text then return names end
  names = names or {}
  for name in text:gmatch("[^,%s]+") do names[#names + 1] = name end
  return names
end

local UNFINISHED = { "ready", "delayed", "executing" }
local LOOKED_AT = 200

-- Classes that tasks wait for, of roots and of what is below them, and nothing here defines.
local function say_missing(call, engine)
  local known, said = {}, {}
  for _, name in ipairs(pipeline.get_pipeline_names()) do known[name] = true end
  local waiting = engine:list({ state = UNFINISHED, limit = LOOKED_AT }).items
  for _, state in ipairs(UNFINISHED) do
    local tasks = engine:tasks({ state = state, limit = LOOKED_AT }).items
    table.move(tasks, 1, #tasks, #waiting + 1, waiting)
  end
  for _, entry in ipairs(waiting) do
    local name = entry.class
    if name and not known[name] and not said[name] then
      said[name] = true
      local near = failure.nearest(name, pipeline.get_pipeline_names())
      call.out:note("pipelines of class %s are waiting, and none of these files defines it%s", name,
        near and (" (did you mean %s?)"):format(near) or "; name the file that does")
    end
  end
end

local NAMED = 3

-- What is executed by this process, in words: "run shop.Order 4fb1…", of a few.
local function named_runs(engine, count)
  local own
  for _, worker in ipairs(engine:workers()) do own = worker.is_self and worker or own end
  local list, where = {}, own and ("%s:%s"):format(own.host, own.pid)
  for _, task in ipairs(engine:tasks({ state = "executing", limit = LOOKED_AT }).items) do
    if #list < NAMED and task.worker and task.worker:gsub("#%d+$", "") == where then list[#list + 1] = task.what end
  end
  if #list == 0 then return "" end
  if count > #list then list[#list + 1] = ("%d more"):format(count - #list) end
  return (" (%s)"):format(table.concat(list, ", "))
end

local function say_stopping(call, engine, grace)
  local count = engine:status().executing
  if count == 0 then return call.out:note("stopping") end
  local ok, named = pcall(named_runs, engine, count)
  call.out:note("stopping: waiting up to %s for %s to end%s; Ctrl-C again ends at once", words.span(grace),
    words.of(count, "run"), ok and named or "")
end

commands[#commands + 1] = {
  name = "worker", summary = "executes pipelines and tasks until it is interrupted",
  details = "Loads the files, which define classes, routes and schedules (pipeline.default() is the engine), and works "
    .. "until SIGINT or SIGTERM; what runs then has --grace to end. A second signal ends it at once: what it did is "
    .. "taken over by others.",
  arguments = {
    { name = "files", sign = "FILE", many = "*", help = "a file (x.lua) or module of your program" },
  },
  options = {
    { "--serve", sign = "HOST:PORT", help = "also serves pages and routes there" },
    { "--base-url", sign = "URL", help = "where people reach that, for links in mails" },
    { "--concurrency", sign = "N", convert = values.count, help = "how many run at once (default: 64)" },
    { "--queues", sign = "A,B", help = "executes only tasks of these queues (default: all)" },
    { "--modules", sign = "A,B", help = "prefixes of modules that may be loaded for what is not defined" },
    { "--grace", sign = "D", convert = values.duration, help = "how long what runs may go on when it stops (30s)" },
  },
  examples = { "pipeline --db jobs.db worker shop.lua --serve 127.0.0.1:8080" },
  run = function(call)
    local given = call.given
    local engine = call.open {
      works = true, log = logger(call), concurrency = given.concurrency, serve_queues = names_of(given.queues),
      modules = names_of(given.modules, program.modules(given.files)), stop_grace = given.grace,
    }
    for _, file in ipairs(given.files) do program.load(file) end
    local _ <close> = given.serve and serve(call, engine, given.serve) or nil
    say_missing(call, engine)
    for _, name in ipairs(names_of(given.queues) or {}) do store.hint_queue(call, engine, name) end
    engine:on("engine_stopping", function() say_stopping(call, engine, given.grace or GRACE) end)
    local path = engine:status().store.path
    -- said by the loop: from then on signals are heard
    eventloop.queue_call(0, function() call.out:note("working on %s (Ctrl-C stops)", path) end)
    engine:run()
    call.out:note("stopped")
  end,
}

-- ---- serve -----------------------------------------------------------------------------------------------------

commands[#commands + 1] = {
  name = "serve", summary = "serves the pages and routes of a store, and executes nothing",
  details = "PIPELINE_ADMIN_TOKEN is the token of the administrator; without it one is made and said once.",
  arguments = {
    { name = "address", sign = "HOST:PORT", many = "?", help = "where (default: 127.0.0.1:8080)" },
  },
  options = { { "--base-url", sign = "URL", help = "where people reach it, for links" } },
  run = function(call)
    local engine = call.open { log = logger(call) }
    local _ <close> = serve(call, engine, call.given.address or HOST .. ":" .. PORT)
    engine:run()
  end,
}

-- ---- start -----------------------------------------------------------------------------------------------------

local function outputs_of(outputs, stage)
  local shown = {}
  for _, name in ipairs(stage.class.output_names or {}) do
    if outputs[name].filled then shown[name] = outputs[name].value end
  end
  local value = outputs.default.filled and outputs.default.value or nil
  if next(shown) == nil then return value end
  if value ~= nil then shown.default = value end
  return shown
end

local function report_abort(call, stage, problem)
  local failed = problem.failed
  if call.out.as_json then
    call.out:json { id = stage.id, state = "aborted", reason = problem.reason, failed = failed }
  end
  if not failed then failure.no("%s was aborted: %s", stage.id, problem.reason or problem.message) end
  failure.no("%s was aborted: %s (%s) failed: %s; see 'pipeline logs %s'", stage.id, failed.class, failed.id,
    failed.error or problem.reason or problem.message, stage.id)
end

-- Waits for the end: while there is no other worker the work is done here.
local function wait(call, engine, stage, timeout)
  local ok, outputs = xpcall(engine.wait, errors.handler, engine, stage, { timeout = timeout })
  if ok then
    call.out:flush()
    call.out:write(require("pipeline.http.json").encode(outputs_of(outputs, stage)) .. "\n")
    return
  end
  local problem = errors.original(outputs)
  if errors.is(problem, errors.AbortedError) then return report_abort(call, stage, problem) end
  if errors.is(problem, errors.TimeoutError) then
    failure.no("%s is not done after %s; see 'pipeline why %s'", stage.id, words.span(timeout), stage.id)
  end
  error(outputs, 0)
end

local function eta_of(given)
  if given["in"] and given.at then failure.usage("--in and --at say the same: give one of them") end
  return given["in"], given.at and given.at(os.time())
end

-- The engine to start with: one that executes only where somebody waits and nobody else works.
local function engine_for(call, waits)
  local engine = call.open { makes = true }
  if not waits or engine:status().facts.other_workers > 0 then return engine end
  engine:close()
  call.out:note("no worker is there: working here until it is done")
  return call.open { works = true, makes = true, log = logger(call, WARNING) }
end

commands[#commands + 1] = {
  name = "start", summary = "starts a pipeline and prints its id",
  details = "Arguments are JSON; what is no JSON is a text. With --wait the outputs are printed as JSON when it is "
    .. "done, and the exit code is 1 if it is aborted; while there is no worker it is executed here.",
  arguments = {
    { name = "class", sign = "CLASS", help = "the name of its class, such as shop.Order" },
    { name = "args", sign = "JSON", many = "*", help = "an argument" },
  },
  options = {
    { "--module", sign = "FILE|NAME", count = "*", help = "the file or module that defines the class" },
    { "--key", sign = "K", help = "idempotence key: the same key is started once" },
    { "--queue", sign = "Q", help = "the queue of its first task" },
    { "--in", sign = "D", convert = values.duration, help = "starts it so much later" },
    { "--at", sign = "T", convert = values.time, help = "starts it then" },
    { "--wait", help = "waits for its end and prints its outputs" },
    { "--timeout", sign = "D", convert = values.duration, help = "how long --wait waits at most" },
  },
  examples = { "pipeline start demo.Add 1 2 --module ./demo.lua --wait", "pipeline start shop.Order '{\"id\": 17}'" },
  run = function(call)
    local given = call.given
    local countdown, eta = eta_of(given)
    local engine = engine_for(call, given.wait)
    for _, name in ipairs(given.module) do program.load(name) end
    local class = program.class(given.class)
    local args, n = {}, #given.args
    for i, text in ipairs(given.args) do
      local hint
      args[i], hint = values.json(text)
      if hint then call.out:note("%s", hint) end
    end
    local stage = class(table.unpack(args, 1, n))
    if given.queue then store.hint_queue(call, engine, given.queue) end
    local ok, problem = pcall(stage.start, stage, {
      idempotence_key = given.key, queue_name = given.queue, countdown = countdown, eta = eta, engine = engine,
    })
    if not ok and errors.is(problem, errors.PipelineExistsError) then
      failure.no("PipelineExistsError: %s; see 'pipeline show key:%s'", problem.message, given.key)
    end
    if not ok then error(problem, 0) end
    if given.wait then
      call.out:note("%s", stage.id)
      return wait(call, engine, stage, given.timeout)
    end
    call.out:json { id = stage.id, class = given.class, key = given.key }
    call.out:line(stage.id)
  end,
}

return commands
