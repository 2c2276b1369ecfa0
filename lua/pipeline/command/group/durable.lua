--- durable.lua: the commands about durable functions: journal, values, stream, query, update, signal, fork, hold,
-- resume-run.

local columns = require "pipeline.command.output.columns"
local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local json = require "pipeline.http.json"
local program = require "pipeline.command.program"
local store = require "pipeline.command.store"
local text = require "pipeline.support.text"
local values = require "pipeline.command.values"
local words = require "pipeline.command.output.words"

local commands = {}

local LIMIT = 100

local MODULE = { "--module", sign = "FILE|NAME", count = "*", help = "the file or module that defines its class" }
local ID = { name = "id", sign = "ID", help = "the durable function" }
local PAYLOAD = { name = "payload", sign = "JSON", many = "?", help = "its payload (default: none)" }

-- What the library refuses is an answer.
local function try(fn, ...)
  local results = table.pack(pcall(fn, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local problem = results[2]
  local pipeline = require "pipeline"
  for _, class in ipairs { "UnexpectedPipelineError", "WorkflowError", "PipelineExistsError", "AbortedError" } do
    if pipeline.is(problem, pipeline[class]) then failure.no("%s", problem.message) end
  end
  error(problem, 0)
end

-- The payload that PAYLOAD has brought; nil: none.
local function payload_of(call)
  local payload = call.given.payload
  if payload ~= nil then return values.told(call, payload) end
end

-- The results of a query or an update, a line each.
local function write_results(call, results)
  local list = json.array {}
  for i = 1, results.n do list[i] = results[i] == nil and json.null or results[i] end
  if call.out.as_json then return call.out:json { value = results[1], results = list } end
  for i = 1, results.n do
    local value = results[i]
    call.out:line(call.out:plain(type(value) == "string" and value or json.encode(value)))
  end
end

local function label(entry)
  local which = entry.nth == 0 and entry.name .. "@" .. entry.key or ("%s#%d"):format(entry.name, entry.nth)
  return entry.path ~= "" and entry.path:sub(2) .. "/" .. which or which
end

local function columns_of(now)
  return {
    { title = "SEQ", field = function(entry) return tostring(entry.seq) end, right = true },
    { title = "KIND", field = "kind" },
    { title = "NAME", field = label, least = 8 },
    { title = "STATE", field = "state" },
    { title = "ENDED", field = function(entry)
      return entry.closed and words.away(entry.closed, now) or ""
    end, rank = 1 },
    { title = "LINE", field = function(entry) return entry.line or "" end, rank = 2 },
    { title = "", field = function(entry)
      local told = entry.error or entry.value or entry.details or ""
      if not entry.beat then return told, "faint" end
      return ("%s (heartbeat %s)"):format(told, words.away(entry.beat, now)), "faint"
    end, least = 12, rank = 3 },
  }
end

commands[#commands + 1] = {
  name = "journal", summary = "shows what a durable function has asked for, and how that ended",
  arguments = { ID },
  options = {
    { "--after", sign = "SEQ", convert = values.count, help = "begin behind this entry" },
    { "--limit", sign = "N", convert = values.count, help = "at most so many (100)" },
  },
  examples = { "pipeline journal 4fb1c2d8" },
  run = function(call)
    local engine = call.open()
    local id = store.find(engine, call.given.id)
    local list = try(engine.get_journal, engine, id, {
      after = call.given.after, limit = call.given.limit or LIMIT,
    })
    if call.out.as_json then return call.out:json { items = json.array(list) } end
    if #list == 0 then return call.out:note("%s has asked for nothing yet", id) end
    columns.write(call.out, columns_of(engine:now()), list)
  end,
}

local function one_line(value)
  return type(value) == "string" and value or text.of(value)
end

local function value_columns(now)
  return {
    { title = "VALUE", field = "name", least = 8 },
    { title = "SET", field = function(item) return words.away(item.time, now) end, rank = 1 },
    { title = "", field = function(item)
      return item.too_large and ("(%s)"):format(words.bytes(item.size)) or one_line(item.value)
    end, least = 12 },
  }
end

local function stream_columns(now)
  return {
    { title = "STREAM", field = "name", least = 8 },
    { title = "VALUES", field = function(item) return words.count(item.count) end, right = true },
    { title = "STATE", field = function(item) return item.closed and "closed" or "open" end },
    { title = "LAST", field = function(item) return words.away(item.time, now) end, rank = 1 },
    { title = "", field = function(item)
      return item.tail[1] and one_line(item.tail[#item.tail].value) or "", "faint"
    end, least = 12, rank = 2 },
  }
end

commands[#commands + 1] = {
  name = "values", summary = "shows the values of a durable function, and its streams",
  arguments = { ID },
  options = { { "--tail", sign = "N", convert = values.count, help = "with --json: the last N of each stream (1)" } },
  examples = { "pipeline values 4fb1c2d8" },
  run = function(call)
    local engine = call.open()
    local id = store.find(engine, call.given.id)
    local list = try(engine.get_values, engine, id)
    local streams = try(engine.get_streams, engine, id, { tail = call.given.tail or 1 })
    if call.out.as_json then
      for _, stream in ipairs(streams) do json.array(stream.tail) end
      return call.out:json { items = json.array(list), streams = json.array(streams) }
    end
    if #list + #streams == 0 then return call.out:note("%s shows nothing", id) end
    if #list > 0 then columns.write(call.out, value_columns(engine:now()), list) end
    if #list > 0 and #streams > 0 then call.out:line() end
    if #streams > 0 then columns.write(call.out, stream_columns(engine:now()), streams) end
  end,
}

-- Whether it has such a stream, or may still have; exit code 3 where it does not, with the nearest that it has.
local function check_stream(engine, id, name, follow)
  local names = {}
  for i, stream in ipairs(try(engine.get_streams, engine, id, { tail = 0 })) do
    if stream.name == name then return end
    names[i] = stream.name
  end
  if follow then return end
  failure.unknown("stream", name, names, "see 'pipeline values " .. id .. "'")
end

commands[#commands + 1] = {
  name = "stream", summary = "writes what a durable function has written into a stream",
  details = "A value a line. With --follow until it is closed, or the function has ended.",
  arguments = { ID, { name = "name", sign = "NAME", help = "the name of the stream" } },
  options = {
    { "--from", sign = "N", convert = values.count, help = "begin with the value of this number (0)" },
    { "--follow", help = "goes on as it grows" },
  },
  examples = { "pipeline stream 4fb1c2d8 tokens --follow" },
  run = function(call)
    local engine, given, out = call.open(), call.given, call.out
    local id, items = store.find(engine, given.id), {}
    check_stream(engine, id, given.name, given.follow)
    if given.follow then out:live() end
    for offset, value in try(engine.read_stream, engine, id, given.name, {
      offset = given.from, wait = given.follow or false,
    }) do
      if not out.as_json then
        out:line(out:plain(one_line(value)))
      elseif given.follow then
        out:write(json.encode { offset = offset, value = value } .. "\n")
      else
        items[#items + 1] = { offset = offset, value = value }
      end
    end
    if out.as_json and not given.follow then out:json { items = json.array(items) } end
  end,
}

-- What it has handlers for.
local function list_handlers(call, engine, id)
  local found = try(engine.get_handlers, engine, id)
  if call.out.as_json then
    for _, list in pairs(found) do json.array(list) end
    return call.out:json(found)
  end
  for _, kind in ipairs { "queries", "updates", "signals" } do
    call.out:say("%s: %s", kind, found[kind][1] and table.concat(found[kind], ", ") or "none")
  end
end

commands[#commands + 1] = {
  name = "query", summary = "asks a durable function, which it does not notice",
  details = "It is replayed here, up to where its journal ends, so its class has to be loaded: see --module. Without a "
    .. "name it says what it can be asked.",
  arguments = {
    ID, { name = "name", sign = "NAME", many = "?", help = "the name of the query" },
    { name = "args", sign = "JSON", many = "*", help = "its arguments; what is no JSON is a text" },
  },
  options = { MODULE },
  examples = { "pipeline query 4fb1c2d8 messages --module ./chat.lua" },
  run = function(call)
    local engine, given = call.open(), call.given
    for _, name in ipairs(given.module) do program.load(name) end
    local id, args, n = store.find(engine, given.id), {}, #(given.args or {})
    if not given.name then return list_handlers(call, engine, id) end
    for i, arg in ipairs(given.args or {}) do args[i] = values.told(call, arg) end
    local results = table.pack(try(engine.query, engine, id, given.name, table.unpack(args, 1, n)))
    write_results(call, results)
  end,
}

commands[#commands + 1] = {
  name = "update", summary = "has a handler of a durable function do something, and waits for its answer",
  details = "It is done once, also if nobody waits any more; a worker that executes it has to be there.",
  arguments = {
    ID, { name = "name", sign = "NAME", help = "the name of the update" },
    PAYLOAD,
  },
  options = {
    { "--key", sign = "KEY", help = "an update with a key that it has had already is answered as then" },
    { "--timeout", sign = "D", convert = values.duration, help = "how long its answer may take (default: for ever)" },
  },
  examples = { "pipeline update 4fb1c2d8 reassign '\"ada\"' --timeout 10s" },
  run = function(call)
    local engine, given = call.open(), call.given
    local id = store.find(engine, given.id)
    local results = table.pack(pcall(try, engine.update, engine, id, given.name, payload_of(call), {
      key = given.key, timeout = given.timeout,
    }))
    if results[1] then return write_results(call, { n = results.n - 1, table.unpack(results, 2, results.n) }) end
    if not errors.is(results[2], errors.TimeoutError) then error(results[2], 0) end
    failure.no("update %s has no answer after %s, and goes on all the same; see 'pipeline why %s'", given.name,
      words.span(given.timeout), id)
  end,
}

commands[#commands + 1] = {
  name = "fork", summary = "starts a new run with what one had done before an entry of its journal",
  details = "From that entry on all is done anew. The original is left as it is.",
  arguments = { ID, { name = "from", sign = "ENTRY", help = "its name (charge, charge#2), or its position" } },
  options = {
    { "--key", sign = "KEY", help = "the idempotence key of the new run" },
    { "--rerun-children", help = "a child that is not final, and all behind it, is done anew" },
    { "--mail", help = "with a copy of the signals that were not taken" },
    MODULE,
  },
  examples = { "pipeline fork 4fb1c2d8 charge --module ./shop.lua" },
  run = function(call)
    local engine, given = call.open(), call.given
    for _, name in ipairs(given.module) do program.load(name) end
    local id = store.find(engine, given.id)
    local stage = try(engine.fork, engine, id, {
      from = math.tointeger(tonumber(given.from)) or given.from, idempotence_key = given.key,
      children = given.rerun_children and "rerun" or nil, mail = given.mail,
    })
    call.out:json { id = stage.id, done = true }
    call.out:note("%s has begun, with what %s had done before %s", stage.id, id, given.from)
  end,
}

commands[#commands + 1] = {
  name = "signal", summary = "sends a durable function a signal",
  details = "It is kept until a wait of that name takes it.",
  arguments = {
    ID, { name = "name", sign = "NAME", help = "the name of the signal" },
    PAYLOAD,
  },
  options = { { "--key", sign = "KEY", help = "a signal with a key that it has had already is not delivered again" } },
  examples = { "pipeline signal 4fb1c2d8 answer '{\"yes\": true}'" },
  run = function(call)
    local engine, given = call.open(), call.given
    local id = store.find(engine, given.id)
    local sent, why = try(engine.signal, engine, id, given.name, payload_of(call), { key = given.key })
    if not sent then failure.no("%s is %s", id, why == "final" and "final" or "not there") end
    call.out:json { id = id, done = true }
    call.out:note("%s has the signal %s", id, given.name)
  end,
}

commands[#commands + 1] = {
  name = "hold", summary = "holds a durable function: nothing more of it begins",
  details = "Steps at work end. Timers keep their times, and signals are kept, until 'pipeline resume-run'.",
  arguments = { ID },
  options = { { "--reason", sign = "TEXT", help = "what is said of it" } },
  examples = { "pipeline hold 4fb1c2d8 --reason 'the bank is closed'" },
  run = function(call)
    local engine = call.open()
    local id = store.find(engine, call.given.id)
    local holds = try(engine.hold, engine, id, call.given.reason)
    if not holds then failure.no("%s is held already, or has returned", id) end
    call.out:json { id = id, done = true }
    call.out:note("%s is held", id)
  end,
}

commands[#commands + 1] = {
  name = "resume-run", summary = "lets a durable function that is held go on",
  details = "It is replayed with the code of now, and goes on from where its journal ends.",
  arguments = { ID },
  options = { { "--retry", help = "the step whose failure has left run is tried again, with all its attempts" } },
  examples = { "pipeline resume-run 4fb1c2d8", "pipeline resume-run 4fb1c2d8 --retry" },
  run = function(call)
    local engine = call.open()
    local id = store.find(engine, call.given.id)
    local goes_on = try(engine.resume, engine, id, { retry = call.given.retry })
    if not goes_on then failure.no("%s is not held", id) end
    call.out:json { id = id, done = true }
    call.out:note("%s goes on", id)
  end,
}

return commands
