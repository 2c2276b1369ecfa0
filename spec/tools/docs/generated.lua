-- generated.lua: the pages that are made from the program: the reference, the command, routes, metrics and events.
--
-- Each is { name =, title =, text = (Markdown) }; for what there is, the library itself is asked.

local source = require "spec.tools.docs.source"

local generated = {}

-- ---- the reference ---------------------------------------------------------------------------------------------

-- Which section of lua/API.md begins a page, and what it is called; those between belong to it.
local PAGES = {
  ["pipeline"] = "pipeline", ["Engines"] = "engines", ["Pipelines"] = "pipelines",
  ["Durable functions"] = "durable", ["Transactions"] = "transactions", ["Ready-made pipelines"] = "common",
  ["Mail"] = "mail", ["Task queues"] = "queues", ["Deferred calls"] = "deferred", ["Schedules"] = "schedules",
  ["Tasklets"] = "tasklets", ["The event loop"] = "loop", ["Errors"] = "errors",
}

-- Divides a text where `separator` stands outside of brackets and code.
local function divide(text, separator)
  local parts, depth, from, in_code, at = {}, 0, 1, false, 1
  while at <= #text do
    local c = text:sub(at, at)
    if c == "`" then in_code = not in_code end
    if not in_code then
      if c:find("[%(%[{]") then depth = depth + 1 elseif c:find("[%)%]}]") then depth = depth - 1 end
      if depth == 0 and text:find("^" .. separator, at) then
        local _, last = text:find("^" .. separator, at)
        parts[#parts + 1] = text:sub(from, at - 1)
        from, at = last + 1, last
      end
    end
    at = at + 1
  end
  parts[#parts + 1] = text:sub(from)
  return parts
end

-- "- `given` (table): a (what), b (what)" as a list with an entry for each of many options.
local function spread(line)
  local head, rest = line:match("^(%- `[^`]+`[^:]*:) (.*)$")
  if not head then return line end
  local sentences = divide(rest, "%. ")
  local entries, named = divide(sentences[1], "[,;] "), 0
  for _, entry in ipairs(entries) do
    if entry:find("^`?[%a_][%w_]*`? %(") then named = named + 1 end
  end
  if named < 5 or named < #entries // 2 then return line end
  local out = { head }
  local open
  for _, entry in ipairs(entries) do
    local name, words = entry:match("^and `?([%a_][%w_]*)`? (%(.*)$")
    local one, other, both = entry:match("^([%a_][%w_]*) and ([%a_][%w_]*) (%(.*)$")
    if one then name, words = one .. "`, `" .. other, both end
    if not name then name, words = entry:match("^`?([%a_][%w_]*)`? (%(.*)$") end
    if name then
      out[#out + 1] = ("  - `%s` %s"):format(name, words)
      open = false
    elseif entry:find("^[%a_][%w_]*$") then
      out[#out + 1] = ("  - `%s`"):format(entry)
      open = false
    elseif open == nil then
      out[1] = out[1] .. " " .. entry
    else
      out[#out] = out[#out] .. ", " .. entry
    end
  end
  if #sentences > 1 then
    out[#out + 1] = ""
    out[#out + 1] = "  " .. table.concat(sentences, ". ", 2)
  end
  return table.concat(out, "\n")
end

-- Without what Markdown would take for an address or HTML.
local function without_tags(line)
  local is_code = true
  return (("`" .. line .. "`"):gsub("[^`]*", function(part)
    if part == "" then return part end
    is_code = not is_code
    return is_code and part or part:gsub("<", "\\<")
  end):sub(2, -2))
end

--- Pages of lua/API.md, and from the address of each section there to its page.
function generated.reference()
  local pages, of, current = {}, {}, nil
  local seen = {}
  local slug = require("spec.tools.docs.markdown").slug
  local is_command
  for line in source.read("lua/API.md"):gmatch("([^\n]*)\n") do
    local hashes, title = line:match("^(#+) (.*)$")
    local id = title and slug(title, seen)
    if hashes == "##" then
      is_command = title == "The command"
      if is_command then
        of[id] = { page = "command" }
      elseif PAGES[title] or not current then
        current = { name = PAGES[title] or id, title = title, lines = {} }
        pages[#pages + 1] = current
        of[id] = { page = current.name }
      else
        of[id] = { page = current.name, section = title }
      end
    end
    if current and not is_command then
      if hashes == "###" and not current.has_section then
        local kind = title:find(":", 1, true) and "Methods" or title:find("(", 1, true) and "Functions" or "Classes"
        current.lines[#current.lines + 1] = "## " .. kind .. "\n"
      end
      if hashes == "###" or hashes == "##" and current.title ~= title then current.has_section = true end
      if hashes == "##" and current.title == title then
        current.lines[#current.lines + 1] = "# " .. title
      else
        current.lines[#current.lines + 1] = title and line or spread(without_tags(line))
      end
      if hashes == "###" then of[id] = { page = current.name, section = title } end
    end
  end
  for _, page in ipairs(pages) do page.text = table.concat(page.lines, "\n") .. "\n" end
  return pages, of
end

-- ---- the command -----------------------------------------------------------------------------------------------

local function escaped(text)
  return (text:gsub("[<>*_|]", "\\%0"))
end

local function option_lines(out, ...)
  for i = 1, select("#", ...) do
    for _, item in ipairs(select(i, ...) or {}) do
      local name = item.name and item.sign or table.concat(item, ", ") .. (item.sign and " " .. item.sign or "")
      out[#out + 1] = ("- `%s`: %s"):format(name, escaped(item.help))
    end
  end
  out[#out + 1] = ""
end

--- The manual page of the command.
function generated.command()
  local grammar = require "pipeline.command.grammar"
  local manual = require "pipeline.command.manual"
  local out = { "# The command", "", "`pipeline [--db URI] COMMAND …`; the same as `man pipeline`.", "" }
  for _, group in ipairs(grammar.groups()) do
    out[#out + 1] = "## " .. group.title .. "\n"
    for _, command in ipairs(group.commands) do
      out[#out + 1] = ("### %s\n"):format(command.name)
      out[#out + 1] = "```text\n" .. manual.usage(command, true) .. "\n```\n"
      out[#out + 1] = escaped(("%s. %s"):format(command.summary:gsub("^%l", string.upper), command.details or ""))
      out[#out + 1] = ""
      option_lines(out, command.arguments or {}, command.options or {})
      for _, example in ipairs(command.examples or {}) do out[#out + 1] = "```console\n" .. example .. "\n```\n" end
    end
  end
  out[#out + 1] = "## For every command\n"
  option_lines(out, grammar.globals)
  -- What the manual page says beyond the commands.
  local page = manual.page(grammar.groups(), grammar.globals):gsub("\\%-", "-"):gsub("\\e", "\\"):gsub("\\&", "")
  local rest = page:match("\n(%.SH ADDRESSES\n.*)$")
  for line in (rest or ""):gmatch("[^\n]+") do
    local title = line:match("^%.SH (.*)$")
    local head = line:match("^%.B (.*)$")
    if title then
      out[#out + 1] = "\n## " .. title:sub(1, 1) .. title:sub(2):lower() .. "\n"
    elseif head then
      out[#out + 1] = ("- `%s`:"):format(head)
    elseif line ~= ".TP" then
      out[#out + 1] = (out[#out]:find(":$") and "  " or "") .. escaped(line)
    end
  end
  return { name = "command", title = "The command", text = table.concat(out, "\n") .. "\n" }
end

-- ---- routes, metrics, events -----------------------------------------------------------------------------------

local BUILT_IN = {
  { "GET, POST", "/callback", "Calls an async pipeline back; `pipeline_id` and parameters for its `callback`." },
  { "GET", "/rpc/tree", "The status of a tree, as App Engine's library gives it; `root_pipeline_id`." },
  { "GET", "/rpc/list", "Roots, newest first; `class_path`, `cursor`." },
  { "GET", "/rpc/class_paths", "The classes that this process has defined." },
  { "POST", "/rpc/abort", "Aborts a tree; `root_pipeline_id`, `message`." },
  { "POST", "/rpc/retry", "Runs an async pipeline that waits once more; `pipeline_id`, `message`." },
  { "POST", "/rpc/cleanup", "Deletes a finished tree; `root_pipeline_id`." },
  { "GET", "/metrics", "What is measured, for Prometheus; also at `/metrics`." },
}

local function code(words)
  return "`" .. words .. "`"
end

local function param_line(name, is_required, words)
  return ("- `%s`%s%s"):format(name, is_required and " (required)" or "", words and ": " .. escaped(words) or "")
end

--- The routes of `engine` (one with a server): its own, and those of the API as it describes itself.
function generated.routes(engine)
  local json = require "pipeline.http.json"
  local out = { "# Routes", "",
    "What `engine:serve` answers, beside the routes of your program. Paths are below the base path, "
      .. "`/_ah/pipeline`, unless they say otherwise. Requests carry `Authorization: Bearer TOKEN`, the "
      .. "administrator's or, where nothing is changed, a viewer's.", "", "## The engine", "",
    "| method | path | what |", "|---|---|---|" }
  for _, route in ipairs(BUILT_IN) do
    assert(engine:_get_web():has_route("/_ah/pipeline" .. route[2]), "there is no route " .. route[2])
    out[#out + 1] = ("| %s | `%s` | %s |"):format(route[1], route[2], route[3])
  end
  out[#out + 1] = "| GET | `/healthz` (not below the base path) | 200 while the process answers. |"
  out[#out + 1] = "| GET | `/readyz` (not below the base path) | 200 while the engine can work, else 503. |"
  out[#out + 1] = "\n## The pages\n\nFor browsers, below the base path: `/`, `/pipelines`, `/pipeline`, `/stage`, "
    .. "`/queues`, `/tasks`, `/workers`, `/schedules` and `/events`; `/list` and `/status`, the addresses of App "
    .. "Engine's pages, lead there. Sessions of browsers: `POST /api/sign-in` (`token`), `POST /api/sign-out`, "
    .. "`GET /api/session` (who is signed in, and what acts are signed with); `GET /api/live` is the stream of "
    .. "what changes (Server-Sent Events)."
  out[#out + 1] = "\n## The API\n\nWhat [the pages](../faces/pages.html) do. `GET /_ah/pipeline/api` is the same as "
    .. "OpenAPI 3.1; paths are below `/_ah/pipeline/api`. Bodies and answers are JSON.\n"
  local answer = engine:handle { path = "/_ah/pipeline/api", headers = { Authorization = "Bearer reference-token" } }
  assert(answer.status == 200, "no description of the API: " .. answer.status)
  local described = json.decode(answer.body)
  local paths = {}
  for path in pairs(described.paths) do paths[#paths + 1] = path end
  table.sort(paths)
  for _, path in ipairs(paths) do
    for _, method in ipairs { "get", "post", "put", "delete" } do
      local operation = described.paths[path][method]
      if operation then
        out[#out + 1] = ("### `%s %s`\n\n%s\n"):format(method:upper(), path, escaped(
          operation.summary:gsub("^%l", string.upper)))
        for _, param in ipairs(operation.parameters or {}) do
          out[#out + 1] = param_line(param.name, param.required, param.description)
        end
        local body = operation.requestBody
        local schema = body and body.content["application/json"].schema
        local names, required = {}, {}
        for name in pairs(schema and schema.properties or {}) do names[#names + 1] = name end
        for _, name in ipairs(schema and schema.required or {}) do required[name] = true end
        table.sort(names)
        for _, name in ipairs(names) do
          out[#out + 1] = param_line(name, required[name], schema.properties[name].description)
        end
        out[#out + 1] = ""
      end
    end
  end
  return { name = "routes", title = "Routes", text = table.concat(out, "\n") .. "\n" }
end

--- The metrics of an engine in which something of every kind has happened.
function generated.metrics(text)
  local out = { "# Metrics", "",
    "What `GET /metrics` and `engine:metrics()` tell. Names of counters end with `_total`, and a histogram has "
      .. "`_bucket`, `_count` and `_sum`. [Telemetry](../faces/telemetry.html) says who may ask.", "",
    "| name | kind | labels | what |", "|---|---|---|---|" }
  local family
  local function finish()
    if not family then return end
    local labels = {}
    for _, name in ipairs(family.labels) do labels[#labels + 1] = code(name) end
    out[#out + 1] = ("| `%s` | %s | %s | %s |"):format(family.name, family.kind, table.concat(labels, ", "),
      escaped(family.help))
  end
  for line in text:gmatch("[^\n]+") do
    local name, help = line:match("^# HELP (%S+) (.*)$")
    local kind = line:match("^# TYPE %S+ (%S+)")
    if name then
      finish()
      family = { name = name, help = help, kind = "", labels = {}, seen = {} }
    elseif kind then
      family.kind = kind
    elseif line:find("{", 1, true) then
      for label in line:match("{(.*)}"):gmatch('([%w_]+)="') do
        if not family.seen[label] and label ~= "le" then
          family.seen[label] = true
          family.labels[#family.labels + 1] = label
        end
      end
    end
  end
  finish()
  return { name = "metrics", title = "Metrics", text = table.concat(out, "\n") .. "\n" }
end

local EVENTS = {
  stage_started = "an attempt of a stage begins", stage_done = "a stage is done",
  stage_failed = "an attempt has failed; `will_retry` and `at` say what follows",
  stage_aborted = "a stage is aborted", root_done = "a tree is done; after the event of its stage",
  root_aborted = "a tree is aborted; after the event of its stage", task_started = "a task begins",
  task_done = "a task has ended well", task_failed = "a try of a task has failed",
  task_dead = "a task has failed with no retries left", queue_paused = "a queue was paused",
  run_suspended = "a durable function waits", run_replayed = "a durable function goes on, its journal is replayed",
  run_held = "a durable function is held",
  worker_joined = "a process has opened the store", worker_lost = "a process is gone; `number`, `pid`",
  engine_stopping = "this engine begins to stop",
}

--- The events of engine:on.
function generated.events()
  local out = { "# Events", "",
    "What `engine:on(event, fn)` can be asked for. [Telemetry](../faces/telemetry.html#hooks) has an example, "
      .. "[the reference](engines.html#engineonevent-fn) the fields of an event.", "", "| event | when |", "|---|---|" }
  for _, name in ipairs(require("pipeline.telemetry.events").NAMES) do
    out[#out + 1] = ("| `%s` | %s |"):format(name, assert(EVENTS[name], "the event " .. name .. " is not described"))
  end
  return { name = "events", title = "Events", text = table.concat(out, "\n") .. "\n" }
end

return generated
