-- meta.lua: what editors are told of the library: files of annotations (LuaLS) in lua/pipeline/meta/, which are
-- installed with it and never loaded by it. reference.lua brings what is public and its doc comments; here it is
-- written down.
--
-- Names, parameters and options are those of the loaded functions, descriptions those of the comments. Types are those
-- that a comment names, the kinds that options are checked by, and else what a name always means (TYPES). What a
-- function returns is in RETURNS, as comments say it in words; a function of futures may be generic there.

local meta = {}

local FOLDER, WIDTH = "lua/pipeline/meta/", 120

-- Section of the reference -> its file, its class, and how a function is written. `module`: what is required;
-- `is_part`: most of the class is in another file.
local SECTIONS = {
  ["pipeline"] = { file = "pipeline", module = "pipeline" },
  ["Engines"] = { file = "engine", class = "pipeline.Engine" },
  ["Durable functions"] = { file = "durable", class = "pipeline.DurableFunction", parent = "pipeline.Stage" },
  ["Durable functions from outside"] = {
    file = "durable", class = "pipeline.Engine", is_part = true,
  },
  ["Transactions"] = { file = "engine", class = "pipeline.Transaction" },
  ["Pipelines"] = { file = "stage", class = "pipeline.Stage" },
  ["Ready-made pipelines"] = { file = "stage", class = "pipeline.Common" },
  ["Errors"] = { file = "errors" },
  ["Mail"] = { file = "mail", module = "pipeline.mail" },
  ["Task queues"] = { file = "taskqueue", module = "pipeline.taskqueue" },
  ["Queues"] = { file = "taskqueue", class = "taskqueue.Queue" },
  ["Statistics of queues"] = { file = "taskqueue", class = "taskqueue.QueueStatistics", is_plain = true },
  ["Tasks"] = { file = "taskqueue", class = "taskqueue.Task" },
  ["Deferred calls"] = { file = "deferred", module = "pipeline.deferred" },
  ["Schedules"] = { file = "schedules", module = "pipeline.schedules" },
  ["One schedule"] = { file = "schedules", class = "schedules.Schedule" },
  ["Tasklets"] = { file = "tasklets", module = "pipeline.tasklets" },
  ["Futures"] = { file = "futures", class = "tasklets.Future", generic = "<T>" },
  ["Queues of futures"] = { file = "futures", class = "tasklets.QueueFuture", parent = "tasklets.Future" },
  ["Queues in order"] = { file = "futures", class = "tasklets.SerialQueueFuture", parent = "tasklets.Future" },
  ["Futures of many"] = { file = "futures", class = "tasklets.MultiFuture", parent = "tasklets.Future" },
  ["Reductions"] = { file = "futures", class = "tasklets.ReducingFuture", parent = "tasklets.Future" },
  ["Semaphores"] = { file = "futures", class = "tasklets.Semaphore" },
  ["Batchers"] = { file = "futures", class = "tasklets.AutoBatcher" },
  ["Contexts"] = { file = "futures", class = "tasklets.Context" },
  ["The event loop"] = { file = "eventloop", module = "pipeline.eventloop" },
}

local ABOUT = {
  pipeline = "the module that users require", engine = "engines and transactions", stage = "instances of pipelines",
  durable = "durable functions",
  errors = "classes of errors", mail = "mail", taskqueue = "queues, tasks, statistics", deferred = "deferred calls",
  schedules = "schedules", tasklets = "tasklets", futures = "futures of tasklets and their kin",
  eventloop = "the event loop below tasklets",
}

-- What a parameter of this name is, wherever nothing else is said.
local TYPES = {
  name = "string", path = "string", id = "string", address = "string", key = "string", url = "string", text = "string",
  message = "string", method = "string", reason = "string", level = "string", format = "string", event = "string",
  queue_name = "string", sql = "string", statement = "string", fn = "function", handler = "function", body = "function",
  callback = "function", seconds = "number", deadline = "number", timeout = "number", n = "integer", count = "integer",
  limit = "integer", given = "table", options = "table", request = "table", params = "table", stage = "pipeline.Stage",
  stage_or_id = "pipeline.Stage|string", tasks = "taskqueue.Task|taskqueue.Task[]", task = "taskqueue.Task",
  definition = "table", future = "tasklets.Future", err = "any", value = "any",
}

-- What kinds of options are in the words of editors; others are their own.
local KINDS = { count = "integer", duration = "number", time = "number|table", any = "any" }

local GENERIC = "---@generic T\n"
local RETURNS = {
  ["pipeline.open"] = "pipeline.Engine", ["pipeline.define"] = "pipeline.Class",
  ["pipeline.workflow"] = "pipeline.Class",
  ["pipeline.from_id"] = "pipeline.Stage",
  ["pipeline.default"] = "pipeline.Engine", ["pipeline.is"] = "boolean", ["pipeline.is_class"] = "boolean",
  ["pipeline.Engine.from_id"] = "pipeline.Stage", ["pipeline.Engine.find"] = "string?",
  ["pipeline.Engine.why"] = "{ code: string, text: string, command: string? }[]",
  ["pipeline.Engine.list"] = "{ items: table[], cursor: string? }", ["pipeline.Engine.check"] = "string[]",
  ["pipeline.Engine.serve"] = "{ url: string, host: string, port: integer }", ["pipeline.Engine.now"] = "number",
  ["pipeline.Engine.fd"] = "integer", ["pipeline.Engine.timeout"] = "number", ["pipeline.Engine.status"] = "table",
  ["pipeline.Engine.wait"] = "table<string, pipeline.Slot>", ["pipeline.Engine.tree"] = "table[]",
  ["pipeline.Engine.stage"] = "table", ["pipeline.Engine.logs"] = "table[]", ["pipeline.Engine.queues"] = "table[]",
  ["pipeline.Engine.workers"] = "table[]",
  ["pipeline.Engine.act"] = "{ matched: integer, done: integer, refused: table[] }",
  ["pipeline.Engine.act_tasks"] = "{ matched: integer, done: integer, refused: table[] }",
  ["pipeline.Stage.start"] = "pipeline.Stage", ["pipeline.Stage.spawn"] = "pipeline.Future",
  ["pipeline.Stage.with_params"] = "pipeline.Stage", ["pipeline.Stage.get_callback_url"] = "string",
  ["pipeline.Stage.get_callback_task"] = "taskqueue.Task", ["pipeline.Transaction.query"] = "table<string, any>[]",
  ["pipeline.Transaction.execute"] = "integer, integer",
  ["taskqueue.Queue"] = "taskqueue.Queue", ["taskqueue.Task"] = "taskqueue.Task", ["taskqueue.add"] = "taskqueue.Task",
  ["taskqueue.Queue.lease_tasks"] = "taskqueue.Task[]", ["taskqueue.Queue.dead_tasks"] = "taskqueue.Task[]",
  ["taskqueue.Queue.fetch_statistics"] = "taskqueue.QueueStatistics",
  ["schedules.get"] = "schedules.Schedule", ["schedules.create"] = "schedules.Schedule",
  ["schedules.list"] = "schedules.Schedule[]",
  ["tasklets.tasklet"] = { GENERIC, "fun(...: any): tasklets.Future<T>", { fn = "fun(...: any): T" } },
  ["tasklets.synctasklet"] = { GENERIC, "fun(...: any): T", { fn = "fun(...: any): T" } },
  ["tasklets.toplevel"] = { GENERIC, "fun(...: any): T", { fn = "fun(...: any): T" } },
  ["tasklets.await"] = { GENERIC, "T, ...", { ["..."] = "tasklets.Future<T>" } },
  ["tasklets.fetch"] = "tasklets.Future", ["tasklets.sleep"] = "tasklets.Future",
  ["tasklets.Future.get_result"] = "any", ["tasklets.Future.done"] = "boolean",
}

-- Fields of objects: what instances have is compared with what they answer to (check_fields).
local FIELDS = {
  ["pipeline.Stage"] = {
    { "id", "string", "once it is started or spawned" }, { "root_id", "string" }, { "is_root", "boolean" },
    { "pipeline_id", "string", "the same as id" }, { "root_pipeline_id", "string", "the same as root_id" },
    { "args", "any[]", "what it was made with" }, { "outputs", "table<string, pipeline.Slot>" },
    { "class", "pipeline.Class" }, { "class_path", "string", "the name of its class" },
    { "current_attempt", "integer", "from 1 on" }, { "max_attempts", "integer" }, { "backoff_seconds", "number" },
    { "backoff_factor", "number" }, { "timeout", "number?" },
    { "queue_name", "string" }, { "target", "string?" }, { "base_path", "string" },
    { "was_aborted", "boolean", "in finalized: how it has ended" }, { "has_finalized", "boolean" },
    { "test_mode", "boolean" }, { "task_retry", "boolean" }, { "schedule", "table?", "of the fire that started it" },
  },
  ["pipeline.Slot"] = {
    { "name", "string" }, { "filled", "boolean" }, { "value", "any" }, { "filler", "pipeline.Stage?" },
    { "fill_time", "number?" },
  },
}

-- ---- what is there ---------------------------------------------------------------------------------------------

local added = {}

--- Adds what is public: section, name, and of a function `fn`, parameters, comment; of an error its parent.
function meta.add(entry)
  added[#added + 1] = entry
end

-- The table of kinds that a function checks its options by: its own, or that of a function it calls.
local function kinds_of(fn, depth)
  local found
  for i = 1, 60 do
    local name, value = debug.getupvalue(fn, i)
    if not name then break end
    if type(value) == "table" and name:find("kinds$") then
      if found then return nil end
      found = value
    end
  end
  if found or depth == 0 then return found end
  for i = 1, 60 do
    local name, value = debug.getupvalue(fn, i)
    if not name then break end
    if name == "settings" and type(value) == "table" then value = rawget(value, "read") end
    if type(value) == "function" and (name:find("check") or name == "settings" or name == "open") then
      found = found or kinds_of(value, depth - 1)
    end
  end
  return found
end

local function wrap(out, text, first, rest)
  local line = first
  for word in text:gmatch("%S+") do
    if #line + #word + 1 > WIDTH and line ~= first and line ~= rest then
      out[#out + 1] = line
      line = rest
    end
    line = line .. (line:find("%s$") and "" or " ") .. word
  end
  out[#out + 1] = line
end

-- The parts of a doc comment: its text, and by name what is said of parameters { type, words, is_optional }.
local function parse(comment)
  local text, params, returns, into = {}, {}, nil, nil
  for _, line in ipairs(comment) do
    local tag, rest = line:match("^@(%a+)%S*%s+(.*)$")
    if tag == "tparam" then
      local kind, name, words = rest:match("^(%S+)%s+(%S+)%s*(.*)$")
      into = { type = kind, words = words, is_optional = line:find("^@tparam%[opt%]") ~= nil }
      params[name] = into
    elseif tag == "param" then
      local name, words = rest:match("^(%S+)%s*(.*)$")
      into = { words = words, is_optional = line:find("^@param%[opt%]") ~= nil }
      params[name] = into
    elseif tag == "return" or tag == "treturn" then
      into = { words = rest }
      returns = into
    elseif line:find("^@") then
      into = { words = "" }
    elseif into then
      into.words = into.words .. " " .. line
    else
      text[#text + 1] = line
    end
  end
  return table.concat(text, " "), params, returns
end

-- ---- writing ---------------------------------------------------------------------------------------------------

local TYPE_WORDS = { ["function"] = "function", list = "any[]" }

local function type_of(name, said)
  if said and said.type then return TYPE_WORDS[said.type] or said.type end
  return TYPES[name] or "any"
end

local function write_options(out, class, kinds, words)
  out[#out + 1] = ("---@class (exact) %s"):format(class)
  local names = {}
  for name in pairs(kinds) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local about = words:match("%f[%w_]" .. name .. "%f[^%w_]%s*(%b())")
    if about then wrap(out, about:sub(2, -2), "---", "---") end
    local kind = type(kinds[name]) == "string" and kinds[name] or "any"
    out[#out + 1] = ("---@field %s? %s"):format(name == "until" and '["until"]' or name, KINDS[kind] or kind)
  end
  out[#out + 1] = ""
end

local function write_function(out, section, entry)
  local path = (section.class or section.module:match("%w+$")) .. "." .. entry.name
  local text, said, returns = parse(entry.comment)
  local kinds = kinds_of(entry.fn, 3)
  local before, after = {}, {}
  wrap(before, text, "---", "---")
  local generic = type(RETURNS[path]) == "table" and RETURNS[path]
  local parameters = {}
  for i, name in ipairs(entry.parameters) do parameters[i] = name end
  for name in pairs(said) do -- what is written in C, or takes its arguments as they come, has no names
    if #entry.parameters == 0 or entry.parameters[1] == "..." and #entry.parameters == 1 then
      if parameters[1] == "..." then parameters = {} end
      parameters[#parameters + 1] = name
    end
  end
  if #entry.parameters <= 1 then table.sort(parameters) end
  for _, name in ipairs(parameters) do
    local about = said[name]
    local kind = generic and generic[3][name] or type_of(name, about)
    if kinds and (name == "given" or name == "options") then
      kind = path .. ".options"
      write_options(out, kind, kinds, text .. " " .. (about and about.words or ""))
      kinds = nil
    end
    local is_optional = about and about.is_optional or name == "given" or name == "options"
    local line = ("---@param %s%s %s"):format(name, is_optional and name ~= "..." and "?" or "", kind)
    if about and about.words ~= "" then
      if #line + #about.words + 1 <= WIDTH then
        line = line .. " " .. about.words
      else
        before[#before + 1] = "---"
        wrap(before, ("`%s`: %s"):format(name, about.words), "---", "---")
      end
    end
    after[#after + 1] = line
  end
  local returned = generic and generic[2] or RETURNS[path]
  if returns then
    before[#before + 1] = "---"
    wrap(before, "Returns " .. returns.words, "---", "---")
  end
  if returned or returns then after[#after + 1] = "---@return " .. (returned or "any") end
  table.move(before, 1, #before, #out + 1, out)
  if generic then out[#out + 1] = generic[1]:sub(1, -2) end
  table.move(after, 1, #after, #out + 1, out)
  local owner = section.module and section.module:match("%w+$") or section.class:match("%w+$")
  local mark = (section.module or section.is_plain) and "." or ":"
  out[#out + 1] = ("function %s%s%s(%s) end"):format(owner, mark, entry.name, table.concat(parameters, ", "))
  out[#out + 1] = ""
end

local function write_fields(out, class)
  for _, field in ipairs(FIELDS[class] or {}) do
    out[#out + 1] = ("---@field %s %s%s"):format(field[1], field[2], field[3] and " " .. field[3] or "")
  end
end

local function begin_class(out, section)
  if section.module then
    out[#out + 1] = "---@class " .. section.module:match("%w+$")
    out[#out + 1] = ("local %s = {}"):format(section.module:match("%w+$"))
  else
    out[#out + 1] = ("---@class %s%s%s%s"):format(section.is_part and "(partial) " or "", section.class,
      section.generic or "", section.parent and ": " .. section.parent or "")
    write_fields(out, section.class)
    out[#out + 1] = ("local %s = {}"):format(section.class:match("%w+$"))
  end
  out[#out + 1] = ""
end

local function write_error(out, entry)
  out[#out + 1] = ("---@class %s%s"):format(entry.name, entry.parent and ": " .. entry.parent or "")
  if not entry.parent then
    for _, name in ipairs { "message", "where", "traceback" } do out[#out + 1] = "---@field " .. name .. " string" end
  end
  out[#out + 1] = ""
end

-- What is no function: constants, classes of errors, and what is made by hand.
local function write_values(out, section)
  local name = section.module:match("%w+$")
  local values, names = require(section.module), {}
  for key, value in pairs(values) do
    if type(key) == "string" and not key:find("^_") and type(value) ~= "function" then names[#names + 1] = key end
  end
  table.sort(names)
  for _, key in ipairs(names) do
    local value = values[key]
    local class = getmetatable(value) and rawget(getmetatable(value) or {}, "__name") == "pipeline.ErrorClass"
    local kind = class and "pipeline.ErrorClass" or type(value)
    if math.type(value) == "integer" then kind = "integer" end
    if name == "pipeline" and key == "common" then kind = "pipeline.Common" end
    if name == "tasklets" and key == "Future" then kind = "fun(): tasklets.Future" end
    if name == "taskqueue" and key == "QueueStatistics" then kind = "taskqueue.QueueStatistics" end
    out[#out + 1] = ("---@type %s"):format(kind)
    out[#out + 1] = ("%s.%s = nil"):format(name, key)
    out[#out + 1] = ""
  end
end

-- Classes that belong to no section, by the file that has them.
local BY_HAND = {
  stage = { "---@class pipeline.Class: { [string]: any }", "---@overload fun(...: any): pipeline.Stage", "",
    "---@class pipeline.Future: { [string]: pipeline.Future }", "", "---@class pipeline.Slot" },
  errors = {
    "---@class pipeline.ErrorClass", "---@field name string", "---@overload fun(...: any): pipeline.Error", "",
  },
}

-- Fails when an instance answers to what FIELDS has not, or the other way round.
local function check_fields(pipeline)
  local Class = pipeline.define("meta.Class", { run = function() end })
  local index, there = getmetatable(Class()).__index, {}
  for i = 1, 20 do
    local name, value = debug.getupvalue(index, i)
    if name == "getters" then there = value end
  end
  assert(next(there), "no getters of instances")
  local listed = {}
  for _, field in ipairs(FIELDS["pipeline.Stage"]) do
    listed[field[1]] = true
    assert(there[field[1]], "spec/tools/meta.lua: instances have no field " .. field[1])
  end
  for name in pairs(there) do
    assert(name:find("^_") or listed[name], "spec/tools/meta.lua: the field is not listed: " .. name)
  end
end

--- The files, by their paths. `pipeline`: the loaded library.
function meta.files(pipeline)
  check_fields(pipeline)
  local outs, current, ends = {}, {}, {}
  for _, entry in ipairs(added) do
    local section = assert(SECTIONS[entry.section], "spec/tools/meta.lua: the section is not listed: " .. entry.section)
    local out = outs[section.file]
    if not out then
      local head = "-- %s.lua: %s, for editors (LuaLS); made from doc comments by `make reference`."
      out = { head:format(section.file, ABOUT[section.file]), "---@meta " .. (section.module or "_"), "" }
      outs[section.file] = out
      local by_hand = BY_HAND[section.file] or {}
      table.move(by_hand, 1, #by_hand, #out + 1, out)
      if section.file == "stage" then
        write_fields(out, "pipeline.Slot")
        out[#out + 1] = ""
      end
    end
    if current[section.file] ~= entry.section and entry.section ~= "Errors" then
      current[section.file] = entry.section
      begin_class(out, section)
      if section.module then
        write_values(out, section)
        ends[section.file] = "return " .. section.module:match("%w+$")
      end
    end
    if entry.section == "Errors" then
      write_error(out, entry)
    elseif entry.is_class then
      wrap(out, (parse(entry.comment)), "---", "---")
      out[#out + 1] = "---@type pipeline.Class"
      out[#out + 1] = ("Common.%s = nil\n"):format(entry.name)
    else
      write_function(out, section, entry)
    end
  end
  local files = {}
  for name, out in pairs(outs) do
    out[#out + 1] = ends[name]
    files[FOLDER .. name .. ".lua"] = table.concat(out, "\n"):gsub("\n+$", "") .. "\n"
  end
  return files
end

return meta
