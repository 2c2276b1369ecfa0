-- reference.lua [--write] - the reference of the library, lua/API.md, and what editors are told of it,
-- lua/pipeline/meta/, from the doc comments; run by `make lint`.
--
-- What is public is found by looking at the loaded modules and at objects of each kind, not by reading the sources: a
-- function that users can reach and that has no doc comment is an error, and so is an option that no comment names.
-- Without --write it fails where the files differ from what the comments say. How meta files look: meta.lua.

package.path = "./?.lua;" .. package.path

local annotations = require "spec.tools.meta"

local OUTPUT = "lua/API.md"

local findings = {}

local function complain(format, ...)
  findings[#findings + 1] = format:format(...)
end

-- ---- doc comments ----------------------------------------------------------------------------------------------

local sources = {} -- path -> list of lines

local function lines_of(path)
  if not sources[path] then
    local lines = {}
    for line in io.lines(path) do lines[#lines + 1] = line end
    sources[path] = lines
  end
  return sources[path]
end

-- The comment above line `at` of a file: a list of lines without dashes, or nil.
local function comment_above(path, at)
  local lines, out = lines_of(path), {}
  at = at - 1
  while lines[at] and lines[at]:find("^%s*%-%-") do
    table.insert(out, 1, (lines[at]:gsub("^%s*%-+ ?", "")))
    if lines[at]:find("^%s*%-%-%-") then return out end
    at = at - 1
  end
  return nil
end

-- What a check of `self` is wrapped around (options.methods).
local function unwrapped(fn)
  if not debug.getinfo(fn, "S").source:find("pipeline/support/options%.lua$") then return fn end
  for i = 1, 10 do
    local name, value = debug.getupvalue(fn, i)
    if not name then return fn end
    if name == "fn" then return value end
  end
  return fn
end

local function place_of(fn)
  local info = debug.getinfo(fn, "S")
  local path = info.source:match("^@.-(lua/pipeline/.*)$")
  return path, info.linedefined
end

local all_paths = {}
do
  local pipe <close> = assert(io.popen("find lua -name '*.lua' ! -path 'lua/pipeline/meta/*' | LC_ALL=C sort"))
  for path in pipe:lines() do all_paths[#all_paths + 1] = path end
end

local function comment_of_assignment(path, name)
  for number, line in ipairs(lines_of(path)) do
    if line:find("^%s*[%w_]+%." .. name .. "%s*=") then
      local comment = comment_above(path, number)
      if comment then return comment, path end
    end
  end
end

-- A function may be made by another one, or written in C: the comment is then above the line that gives it its name.
local function comment_of(fn, name)
  local path, at = place_of(fn)
  local comment = path and (comment_above(path, at) or comment_of_assignment(path, name))
  if comment then return comment, path end
  for _, other in ipairs(path and {} or all_paths) do
    comment = comment_of_assignment(other, name)
    if comment then return comment, other end
  end
  return nil, path
end

-- The comment above the line that defines a class of pipelines.
local function comment_of_definition(class_path)
  for _, path in ipairs(all_paths) do
    for number, line in ipairs(lines_of(path)) do
      if line:find('define%("' .. class_path:gsub("%.", "%%.") .. '"') then return comment_above(path, number) end
    end
  end
end

local function parameters(fn)
  local info, list = debug.getinfo(fn, "u"), {}
  for i = 1, info.nparams do list[i] = debug.getlocal(fn, i) end
  if info.isvararg then list[#list + 1] = "..." end
  return list
end

-- ---- what is public --------------------------------------------------------------------------------------------

local out, seen = {}, {}

local function write(format, ...)
  out[#out + 1] = select("#", ...) > 0 and format:format(...) or format
end

-- Joins lines of a comment into paragraphs and list items.
local function write_comment(comment)
  local text = {}
  for _, line in ipairs(comment) do
    local tag, rest = line:match("^@(%a+)%S*%s+(.*)$")
    if tag == "tparam" then
      local kind, name, words = rest:match("^(%S+)%s+(%S+)%s*(.*)$")
      local optional = line:find("^@tparam%[opt%]") and "optional " or ""
      text[#text + 1] = ("- `%s` (%s%s): %s"):format(name, optional, kind, words)
    elseif tag == "param" then
      local name, words = rest:match("^(%S+)%s*(.*)$")
      text[#text + 1] = ("- `%s`: %s"):format(name, words)
    elseif tag == "return" then
      text[#text + 1] = "- returns " .. rest
    elseif tag == "treturn" then
      local kind, words = rest:match("^(%S+)%s*(.*)$")
      text[#text + 1] = ("- returns (%s): %s"):format(kind, words)
    elseif line:find("^@") then
      if tag ~= "function" then text[#text + 1] = "- " .. line:gsub("^@", "") end -- that names what is made elsewhere
    elseif #text == 0 then
      text[1] = line
    else
      text[#text] = text[#text] .. " " .. line:gsub("^%s+", "")
    end
  end
  for i, line in ipairs(text) do
    if i == 2 then write("") end
    write((line:gsub("%s+$", "")))
  end
  write("")
end

local internal = { dropped = true } -- hooks of the library on objects that users hold

local function is_public(key, value)
  return type(key) == "string" and not key:find("^_") and not internal[key] and type(value) == "function"
end

local function names_of(object)
  local names = {}
  for key, value in next, object do
    if is_public(key, value) then names[#names + 1] = key end
  end
  table.sort(names)
  return names
end

local title_of_section

local function write_functions(object, prefix, is_method)
  for _, name in ipairs(names_of(object)) do
    local fn = unwrapped(object[name])
    local list = parameters(fn)
    if is_method then table.remove(list, 1) end
    local comment, path = comment_of(fn, name)
    write("### `%s%s(%s)`", prefix, name, table.concat(list, ", "))
    write("")
    if seen[fn] and seen[fn] ~= prefix .. name then
      write("The same as `%s`.", seen[fn])
      write("")
    elseif not comment then
      complain("%s%s (%s) has no doc comment", prefix, name, path or "?")
    else
      write_comment(comment)
    end
    annotations.add { section = title_of_section, name = name, fn = fn, parameters = list, comment = comment or {} }
    seen[fn] = seen[fn] or prefix .. name
  end
end

local function write_constants(object, prefix)
  local list = {}
  for key, value in next, object do
    local is_plain = type(value) == "number" or type(value) == "string"
    if type(key) == "string" and not key:find("^_") and is_plain then
      list[#list + 1] = ("`%s%s` = %s"):format(prefix, key, tostring(value))
    end
  end
  table.sort(list)
  if #list == 0 then return end
  write("Constants: " .. table.concat(list, ", ") .. ".")
  write("")
end

local function methods_of(object)
  local meta = debug.getmetatable(object)
  local index = meta and rawget(meta, "__index")
  return type(index) == "table" and index or nil
end

local function section(title, words)
  title_of_section = title
  write("## %s", title)
  write("")
  if words then
    write(words)
    write("")
  end
end

-- ---- error classes ---------------------------------------------------------------------------------------------

local function write_errors(modules)
  local errors = require "pipeline.support.errors"
  local names, parents = {}, {}
  for prefix, module in pairs(modules) do
    for _, value in pairs(module) do
      local meta = type(value) == "table" and getmetatable(value)
      if meta and meta.__name == "pipeline.ErrorClass" then
        local name = prefix .. "." .. value.name
        local best = parents[value]
        if not best or #name < #best or #name == #best and name < best then parents[value] = name end
      end
    end
  end
  for class, name in pairs(parents) do names[#names + 1] = { name = name, class = class } end
  table.sort(names, function(a, b) return a.name < b.name end)
  for _, entry in ipairs(names) do
    local parent = entry.class.parent
    annotations.add { section = "Errors", name = entry.name, parent = parent and (parents[parent] or parent.name) }
    write("- `%s`%s", entry.name, parent and (" below `%s`"):format(parents[parent] or parent.name) or "")
  end
  write("")
  assert(errors.Error, "no class of errors")
end

-- ---- options ---------------------------------------------------------------------------------------------------

-- Every key of a table `..._kinds` of options must be a word of the reference.
local function check_options(text)
  for _, path in ipairs(all_paths) do
    local body = table.concat(lines_of(path), "\n")
    for name, keys in body:gmatch("\nlocal ([%w_]*kinds) = (%b{})") do
      for key in keys:gmatch("[{,]%s*([%a_][%w_]*)%s*=") do
        if not text:find("%f[%w_]" .. key .. "%f[^%w_]") then
          complain("%s: option '%s' (%s) is in no doc comment", path, key, name)
        end
      end
    end
  end
end

-- ---- all -------------------------------------------------------------------------------------------------------

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local deferred = require "pipeline.deferred"
local schedules = require "pipeline.schedules"
local tasklets = require "pipeline.tasklets"
local eventloop = require "pipeline.eventloop"

local engine = pipeline.open(":memory:", { virtual_time = true, log = function() end })
local Class = pipeline.define("reference.Class", { run = function() end })

write("# Reference")
write("")
write("Every public function of the library, from its doc comments (`make reference`). Options are named in a table; "
  .. "times are seconds since the epoch, durations seconds, sizes bytes. examples/guide/README.md is the guide.")
write("")

section("pipeline", "`require \"pipeline\"`")
write_functions(pipeline, "pipeline.")
section("Engines", "What `pipeline.open` returns.")
local of_durable = {}
do
  local public, web, later = {}, methods_of(engine:_get_web()), require "pipeline.engine.later"
  for room in pairs(later.ROOMS) do later.bring(methods_of(engine), room) end
  local on_web = { serve = true, route = true, handle = true }
  for name, fn in pairs(methods_of(engine)) do public[name] = on_web[name] and web[name] or fn end
  for room, names in pairs(later.ROOMS) do
    for _, name in ipairs(room:find("^pipeline%.durable%.") and names or {}) do
      of_durable[name], public[name] = public[name], nil
    end
  end
  write_functions(public, "engine:", true)
end
section("Pipelines", "Instances of a class of `pipeline.define`; in `run`, `callback` and `finalized` it is `self`.")
write_functions(require("pipeline.workflow.class").Base, "stage:", true)
section("Durable functions", "What `self` has besides in the `run` of a class of `pipeline.workflow`.")
write_functions(require("pipeline.durable.body.methods").methods, "self:", true)
section("Durable functions from outside", "Methods of engines that act on durable functions, and show them.")
write_functions(of_durable, "engine:", true)
section("Transactions", "What `engine:transaction` gives to its function.")
engine:transaction(function(tx) write_functions(methods_of(tx), "tx:", true) end)
section("Ready-made pipelines", "`pipeline.common`; each is a class.")
do
  local common, names = pipeline.common, {}
  for name in pairs(common) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local class = common[name]
    if pipeline.is_class(class) then
      local comment = comment_of_definition(class.class_path)
      write("### `pipeline.common.%s`", name)
      write("")
      if comment then write_comment(comment) else complain("%s has no doc comment", class.class_path) end
      annotations.add { section = title_of_section, name = name, is_class = true, comment = comment or {} }
    end
  end
end
section("Mail", "`require \"pipeline.mail\"`")
write_functions(require "pipeline.mail", "mail.")
write("The option `mail` of `pipeline.open`:")
write("")
write_comment(assert(comment_of(require("pipeline.mail.settings").read, "read")))
section("Task queues", "`require \"pipeline.taskqueue\"`")
write_constants(taskqueue, "taskqueue.")
write_functions(taskqueue, "taskqueue.")
section("Queues", "What `taskqueue.Queue` returns.")
write_functions(methods_of(taskqueue.Queue()), "queue:", true)
section("Statistics of queues")
write_functions(taskqueue.QueueStatistics, "taskqueue.QueueStatistics.")
section("Tasks", "What `taskqueue.Task` returns.")
write_functions({ add = taskqueue.Task {}.add, add_async = taskqueue.Task {}.add_async,
  extract_params = taskqueue.Task {}.extract_params }, "task:", true)
section("Deferred calls", "`require \"pipeline.deferred\"`")
write_functions(deferred, "deferred.")
section("Schedules", "`require \"pipeline.schedules\"`")
write_functions({ create = schedules.create, declare = schedules.declare, get = schedules.get, list = schedules.list,
  next = schedules.next }, "schedules.")
section("One schedule", "What `schedules.create` and `schedules.get` return; its `name` is a field.")
write_functions(methods_of(schedules.create("reference", { every = 3600, call = { print } })), "schedule:", true)
section("Tasklets", "`require \"pipeline.tasklets\"`")
write_functions(tasklets, "tasklets.")
for _, entry in ipairs {
  { "Futures", "future:", tasklets.Future() }, { "Queues of futures", "queue:", tasklets.QueueFuture() },
  { "Queues in order", "queue:", tasklets.SerialQueueFuture() },
  { "Futures of many", "future:", tasklets.MultiFuture() },
  { "Reductions", "future:", tasklets.ReducingFuture(function() end) },
  { "Semaphores", "semaphore:", tasklets.Semaphore(1) },
  { "Batchers", "batcher:", tasklets.AutoBatcher(function() end) }, { "Contexts", "context:", tasklets.make_context() },
} do
  local methods = methods_of(entry[3])
  if methods then
    section(entry[1])
    write_functions(methods, entry[2], true)
  end
end
section("The event loop", "`require \"pipeline.eventloop\"`")
do
  local public = {}
  for _, name in ipairs { "queue_call", "add_idle", "run", "run0", "run1", "stop", "fd", "timeout", "step",
    "is_running", "set_error_hook" } do
    public[name] = assert(eventloop[name], name)
  end
  write_functions(public, "eventloop.")
end
section("The command", "`pipeline COMMAND`; `pipeline help COMMAND` says the same.")
do
  local manual = require "pipeline.command.manual"
  for _, group in ipairs(require("pipeline.command.grammar").groups()) do
    for _, command in ipairs(group.commands) do
      write("### `%s`", manual.usage(command))
      write("")
      local summary = command.summary:gsub("^%l", string.upper)
      write("%s.%s", summary, command.details and " " .. command.details or "")
      write("")
      for _, list in ipairs { command.arguments or {}, command.options or {} } do
        for _, item in ipairs(list) do
          local name = item.name and item.sign or table.concat(item, ", ") .. (item.sign and " " .. item.sign or "")
          write("- `%s`: %s", name, item.help)
        end
      end
      write("")
    end
  end
end
section("Errors", "Classes of error objects: tables with `class`, `message`, `where` and `traceback`; "
  .. "`pipeline.is(err, class)` tells whether one is of a class or of one below it.")
write_errors { pipeline = pipeline, taskqueue = taskqueue, deferred = deferred, schedules = schedules,
  tasklets = tasklets }
assert(Class)
engine:close()

local text = table.concat(out, "\n"):gsub("\n\n\n+", "\n\n"):gsub("\n+$", "") .. "\n"
check_options(text)
if #findings > 0 then
  table.sort(findings)
  print(table.concat(findings, "\n"))
  print(("reference: %d findings"):format(#findings))
  os.exit(false)
end
local texts = annotations.files(pipeline)
texts[OUTPUT] = text
for path, wanted in pairs(texts) do
  if arg[1] == "--write" then
    local file <close> = assert(io.open(path, "w"))
    file:write(wanted)
  else
    local file = io.open(path)
    local there = file and file:read("a")
    if file then file:close() end
    if there ~= wanted then
      print(path .. " is not what the doc comments say: make reference")
      findings[#findings + 1] = path
    end
  end
end
os.exit(#findings == 0)
