--- program.lua: the files of the user's program, which define the classes that are worked on or started.
--
-- A file is loaded once and counts as the module of its name, so that functions in it are found by the names that the
-- store keeps ("shop.send" in shop.lua); what lies beside it can be required by it.

local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local pipeline = require "pipeline"

local program = {}

local function raise(name, caught, is_whole)
  local class, message, trace = errors.describe(caught)
  if is_whole then io.stderr:write(trace, "\n") end
  failure.no("%s cannot be loaded: %s%s", name, class == "Error" and "" or class .. ": ", message)
end

local function load_file(path)
  local chunk, problem = loadfile(path)
  if not chunk then
    local file, why = io.open(path, "rb")
    if not file then failure.not_found("%s; is the path right?", why) end
    file:close()
    failure.no("%s cannot be loaded: %s", path, problem)
  end
  local folder, name = path:match("^(.*/)"), path:match("([^/]+)%.lua$")
  folder = folder or "./"
  package.path = ("%s?.lua;%s?/init.lua;%s"):format(folder, folder, package.path)
  local ok, result = xpcall(chunk, errors.handler, name or path, path)
  if not ok then raise(path, result, true) end
  if name and package.loaded[name] == nil then package.loaded[name] = result == nil and true or result end
end

local function load_module(name)
  package.path = "./?.lua;./?/init.lua;" .. package.path
  local ok, problem = xpcall(require, errors.handler, name)
  if ok then return end
  local _, message = errors.describe(problem)
  if message:find(("module '%s' not found"):format(name), 1, true) then
    failure.not_found("there is no module '%s' on LUA_PATH; a file ends with .lua", name)
  end
  raise(name, problem, true)
end

--- The modules that files stand for: functions in them may be called by name.
function program.modules(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = name:match("([^/]+)%.lua$") or name:match("[^/]+$") or name end
  return list
end

--- Loads a file (its name ends with .lua, or has a slash) or a module. Exit code 3 if it is not there, 1 if it fails,
-- with its traceback.
function program.load(name)
  if name:find("%.lua$") or name:find("/", 1, true) then load_file(name) else load_module(name) end
end

--- A class by its name, of what is loaded; else of the module before its last dot. Exit code 3 where there is none,
-- with the nearest known name.
function program.class(name)
  local known = require("pipeline.workflow.class").find(name)
  if known then return known end
  local module = name:match("^(.+)%.[^.]*$")
  local path = "./?.lua;./?/init.lua;" .. package.path
  if module and package.loaded[module] == nil and package.searchpath(module, path) then
    load_module(module)
    known = require("pipeline.workflow.class").find(name)
    if known then return known end
  end
  failure.unknown("class", name, pipeline.get_pipeline_names(),
    "name the file that defines it with --module FILE.lua")
end

return program
