-- annotations_spec.lua: what editors are told of the library (lua/pipeline/meta/) is what it has: each file is compared
-- with the loaded module or object, both ways, and each annotation is read by the grammar of LuaLS.

local pipeline = require "pipeline"

local FOLDER = "lua/pipeline/meta/"

-- ---- the grammar of types ---------------------------------------------------------------------------------------

-- Reads one type of `text` from `at`; calls named(name) for each name in it. Returns where it ends; raises if there is
-- none.
local read_type

local function skip(text, at)
  return text:match("^%s*()", at)
end

local function expect(text, at, what)
  at = skip(text, at)
  if text:sub(at, at + #what - 1) ~= what then error(("'%s' expected at: %s"):format(what, text:sub(at))) end
  return at + #what
end

-- Items between brackets, divided by commas.
local function read_list(text, at, last, item)
  at = skip(text, at)
  while text:sub(at, at) ~= last do
    at = skip(text, item(text, at))
    if text:sub(at, at) == "," then at = skip(text, at + 1) end
    if at > #text then error("'" .. last .. "' expected: " .. text) end
  end
  return at + 1
end

local function read_name_and_type(named)
  return function(text, at)
    local after = text:match("^%[[^%]]+%]%??%s*:()", at) or text:match("^[%w_]+%??%s*:()", at)
      or text:match("^%.%.%.%s*:()", at)
    if not after then error("a name and a type expected at: " .. text:sub(at)) end
    return read_type(text, after, named)
  end
end

local function read_one(text, at, named)
  at = skip(text, at)
  local function item(given, from) return read_type(given, from, named) end
  if text:sub(at, at) == "(" then
    at = expect(text, read_type(text, at + 1, named), ")")
  elseif text:sub(at, at) == "{" then
    at = read_list(text, at + 1, "}", text:find("^%[", skip(text, at + 1)) and function(given, from)
      from = expect(given, read_type(given, from + 1, named), "]")
      return read_type(given, expect(given, from, ":"), named)
    end or read_name_and_type(named))
  elseif text:sub(at, at) == '"' then
    at = text:match('^"[^"]*"()', at)
  elseif text:find("^fun%(", at) then
    at = read_list(text, at + 4, ")", read_name_and_type(named))
    local result = text:match("^%s*:()", at)
    if result then at = read_type(text, result, named) end
  else
    local name, after = text:match("^([%a_][%w_%.]*)()", at)
    if not name then error("a type expected at: " .. text:sub(at)) end
    named(name)
    at = after
    if text:sub(at, at) == "<" then at = read_list(text, at + 1, ">", item) end
  end
  while text:find("^%[%]", at) or text:find("^%?", at) do at = at + (text:sub(at, at) == "?" and 1 or 2) end
  return at
end

function read_type(text, at, named)
  at = read_one(text, at, named)
  local more = text:match("^%s*|()", at)
  while more do
    at = read_one(text, more, named)
    more = text:match("^%s*|()", at)
  end
  return at
end

-- ---- the files --------------------------------------------------------------------------------------------------

local BUILT_IN = {}
for name in ("any string number integer boolean table nil function thread userdata T"):gmatch("%a+") do
  BUILT_IN[name] = true
end

local function is_done(text, at)
  return at > #text or text:find("^%s", at) ~= nil
end

-- Reads a line of annotations. Returns the class it declares, if it does.
local function read_annotation(line, named)
  local tag, rest = line:match("^%-%-%-@(%a+)%s*(.*)$")
  local at
  if tag == "class" then
    local is_part = rest:find("^%(partial%) ") ~= nil
    rest = rest:gsub("^%(%l+%) ", "")
    local name, after = rest:match("^([%a_][%w_%.]*)()")
    at = rest:match("^<T>()", after) or after
    if rest:find("^:", at) then at = read_type(rest, at + 1, named) end
    assert(at > #rest, "a class: " .. line)
    if is_part then return named(name) end -- the rest of one that is declared elsewhere
    return name
  elseif tag == "field" then
    local after = rest:match('^%["[%w_]+"%]%??%s()') or assert(rest:match("^[%w_]+%??%s()"), line)
    at = read_type(rest, after, named)
  elseif tag == "param" then
    at = read_type(rest, assert(rest:match("^[%w_]+%??%s()") or rest:match("^%.%.%.%s()"), line), named)
  elseif tag == "return" then
    repeat
      at = rest:match("^%.%.%.()", skip(rest, at and at + 1 or 1)) or read_type(rest, at and at + 1 or 1, named)
    until rest:sub(at, at) ~= ","
  elseif tag == "type" or tag == "overload" then
    at = read_type(rest, 1, named)
  elseif tag == "generic" then
    at = assert(rest:match("^T()$"), line)
  else
    at = tag == "meta" and #rest + 1
  end
  assert(at and is_done(rest, at), "not understood: " .. line)
end

local files = {}
do
  local pipe <close> = assert(io.popen("ls " .. FOLDER))
  for name in pipe:lines() do
    local lines = {}
    for line in io.lines(FOLDER .. name) do lines[#lines + 1] = line end
    files[#files + 1] = { name = name, lines = lines, module = lines[2]:match("^%-%-%-@meta (.*)$") }
  end
end

local function functions_of(object)
  local names = {}
  for key, value in pairs(object) do
    if type(key) == "string" and not key:find("^_") and type(value) == "function" then names[key] = true end
  end
  return names
end

-- What the files say a class or module has, by its name: { functions }.
local function declared()
  local found = {}
  for _, file in ipairs(files) do
    for _, line in ipairs(file.lines) do
      local owner, name = line:match("^function ([%w_]+)[%.:]([%w_]+)%(")
      if owner then
        found[owner] = found[owner] or {}
        found[owner][name] = true
      end
    end
  end
  return found
end

describe("N1 annotations for editors", function()
  it("are read by the grammar of LuaLS, and name no type that is not declared", function()
    local classes, used = {}, {}
    for _, file in ipairs(files) do
      for number, line in ipairs(file.lines) do
        if line:find("^%-%-%-@") then
          local ok, class = pcall(read_annotation, line, function(name) used[name] = file.name .. ":" .. number end)
          assert(ok, ("%s:%d: %s"):format(file.name, number, class))
          if class then
            assert(not classes[class], "declared twice: " .. class)
            classes[class] = true
          end
        end
      end
    end
    for name, place in pairs(used) do assert(BUILT_IN[name] or classes[name], place .. ": no such type: " .. name) end
    assert(classes["tasklets.Future"] and classes["pipeline.open.options"])
  end)

  it("have each function and constant of the modules, and none that they lack", function()
    local has = declared()
    for _, file in ipairs(files) do
      if file.module ~= "_" then
        local module, there = require(file.module), assert(load(table.concat(file.lines, "\n")))()
        local short = file.module:match("[%w_]+$")
        for name in pairs(functions_of(there)) do
          assert.equal("function", type(module[name]), ("%s.%s is not there"):format(short, name))
        end
        local is_all = short ~= "eventloop" and short ~= "schedules" -- what else these have is for the library
        for name in pairs(is_all and functions_of(module) or {}) do
          assert(has[short][name], ("%s.%s is not declared"):format(short, name))
        end
        for key, value in pairs(is_all and module or {}) do
          local line = ("%s.%s = nil"):format(short, key)
          local is_there = type(value) == "function" or type(key) ~= "string" or key:find("^_")
          for _, other in ipairs(is_there and {} or file.lines) do is_there = is_there or other == line end
          assert(is_there, line)
        end
      end
    end
  end)

  it("have each method of engines, pipelines, transactions, queues and schedules, and none that they lack", function()
    local engine <close> = pipeline.open(":memory:", { log = function() end, no_worker = true })
    local later = require "pipeline.engine.later"
    local methods = getmetatable(engine).__index
    for room in pairs(later.ROOMS) do later.bring(methods, room) end
    local objects = {
      Engine = methods, Stage = require("pipeline.workflow.class").Base,
      Queue = getmetatable(require("pipeline.taskqueue").Queue()).__index,
      Future = getmetatable(require("pipeline.tasklets").Future()).__index,
    }
    engine:transaction(function(tx) objects.Transaction = getmetatable(tx).__index end)
    local has = declared()
    for name, object in pairs(objects) do
      local there = functions_of(object)
      there.dropped = nil -- a hook of the library
      assert.same(there, has[name], name)
    end
  end)

  it("are whole programs that do nothing, and belong to what is installed", function()
    assert.is_true(#files >= 10)
    for _, file in ipairs(files) do
      assert(load(table.concat(file.lines, "\n"), "=" .. file.name, "t", {}))
      assert.truthy(file.lines[1]:find("-- " .. file.name .. ": ", 1, true))
    end
  end)
end)
