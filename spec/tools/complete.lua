-- complete.lua - whether the reference has every command with its options, every route, event and metric, and every
-- variable of the environment; run by `make lint`. What is there is asked of the loaded library, not of the pages'
-- makers; functions and options are reference.lua's.

package.path = "./?.lua;" .. package.path

local generated = require "spec.tools.docs.generated"
local grammar = require "pipeline.command.grammar"
local lively = require "spec.tools.docs.lively"

local findings = 0

local function complain(format, ...)
  findings = findings + 1
  print(("complete: " .. format):format(...))
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

-- Lines of the output of a command.
local function lines_of(command)
  local list = {}
  local pipe <close> = assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

local API = read("lua/API.md")

-- ---- commands, and what they read from the environment ---------------------------------------------------------

local command_page = generated.command().text
for _, group in ipairs(grammar.groups()) do
  for _, command in ipairs(group.commands) do
    local entry = API:match("\n### `pipeline " .. command.name:gsub("%-", "%%-") .. "%f[^%w%-].-\n(.-)\n###? ")
    if not entry then complain("the command %s is not in lua/API.md", command.name) end
    if not command_page:find("\n### " .. command.name .. "\n", 1, true) then
      complain("the command %s is not in the page of the command", command.name)
    end
    for _, option in ipairs(command.options or {}) do
      for _, name in ipairs(option) do
        if not (entry or ""):find(name, 1, true) then complain("%s %s is not in lua/API.md", command.name, name) end
      end
    end
  end
end
for _, option in ipairs(grammar.globals) do
  if not command_page:find(option[#option], 1, true) then complain("%s is not described", option[#option]) end
end
for _, name in ipairs(lines_of("grep -rhoE '\"PIPELINE_[A-Z_]+\"' lua | tr -d '\"' | sort -u")) do
  if not command_page:find(name, 1, true) then complain("the variable %s is not in the page of the command", name) end
end

-- ---- events ----------------------------------------------------------------------------------------------------

local events_page = generated.events().text
local names, told = {}, read("lua/pipeline/telemetry/events.lua")
for _, name in ipairs(require("pipeline.telemetry.events").NAMES) do
  names[name] = true
  if not events_page:find("`" .. name .. "`", 1, true) then complain("the event %s is not described", name) end
end
for name in told:gmatch(':tell%("([%w_]-)"') do
  if not names[name] and not name:find("_$") then complain("the event %s is told of and has no name", name) end
end

-- ---- routes and metrics ----------------------------------------------------------------------------------------

-- Paths of a tree of routes, with their methods.
local function each_route(node, path, fn)
  for method in pairs(node.methods) do fn(method, path == "" and "/" or path) end
  for segment, child in pairs(node.literals) do each_route(child, path .. "/" .. segment, fn) end
  if node.parameter then each_route(node.parameter, path .. "/:", fn) end
  if node.rest then each_route(node.rest, path .. "/*", fn) end
end

-- What serves the files of the pages, and what the engine asks itself.
local INNER = { output = true, run = true, finalized = true, abort = true, fanout = true, fanout_abort = true,
  cleanup = true }

local function is_inner(path)
  return path:find("/*", 1, true) or path:find("/assets/", 1, true) or path:find("^/_ah/queue/")
    or INNER[path:match("^/_ah/pipeline/([^/]+)$")]
end

local function check_route(routes_page, method, path)
  if is_inner(path) then return end
  local short = path:gsub("^/_ah/pipeline", "")
  local api = short:match("^/api(/.+)$")
  local is_there = routes_page:find("[ `]" .. short:gsub("%p", "%%%0") .. "[`? ]")
    or api and routes_page:find("`" .. method .. " " .. api .. "`", 1, true)
  if short ~= "" and short ~= "/" and short ~= "/api" and not is_there then
    complain("the route %s %s is not described", method, path)
  end
end

lively(function(engine)
  local web = engine:_get_web()
  local routes_page, text = generated.routes(engine).text, engine:metrics()
  each_route(web.routes.root, "", function(method, path) check_route(routes_page, method, path) end)
  for name, methods in pairs(web.endpoints) do
    for method in pairs(methods) do check_route(routes_page, method, web.base_path .. "/" .. name) end
  end

  for _, line in ipairs(lines_of("grep -hE 'page:gauge|family\\(' lua/pipeline/telemetry/*.lua")) do
    local metric = line:match(':%w+%("([%w_]+)"') or line:match('family%([%w_]+, "%w+", "([%w_]+)"')
    if metric and not text:find("pipeline_" .. metric, 1, true) then complain("the metric %s is not told", metric) end
  end
  for line in text:gmatch("[^\n]+") do
    local name = line:match("^# TYPE (%S+)")
    if name and not text:find("# HELP " .. name .. " %S") then complain("the metric %s is not described", name) end
  end
end)

os.exit(findings == 0)
