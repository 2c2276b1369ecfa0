-- helper.lua: what specs of pipelines share: engines in a directory of their own, classes with throw-away names, and
-- a look at what a test has left behind.

local pipeline = require "pipeline"

local helper = {}

local directory
local engines, files, classes = {}, 0, 0
local lines = {} -- of log, since the test began

local function make_directory()
  local pipe = assert(io.popen("mktemp -d"))
  directory = assert(pipe:read("l"), "mktemp failed")
  pipe:close()
end

--- The path of a new file in a directory that goes away with the spec.
function helper.path()
  if not directory then make_directory() end
  files = files + 1
  return ("%s/%d.db"):format(directory, files)
end

--- Opens an engine on a new file (or options.path) with virtual time; closed after the test. What specs defer lies in
-- modules under "spec".
function helper.open(options)
  local given = { virtual_time = true, virtual_start = 1700000000.0, durability = "normal", modules = { "spec" } }
  for name, value in pairs(options or {}) do given[name] = value end
  local path = given.path or helper.path()
  given.path = nil
  given.log = given.log or function(level, text) lines[#lines + 1] = { level = level, text = text } end
  local engine = pipeline.open(path, given)
  engines[#engines + 1] = engine
  return engine
end

--- Lines of log since the test began, at `level` or above.
function helper.log(level)
  local found = {}
  for _, line in ipairs(lines) do
    if line.level >= (level or 0) then found[#found + 1] = line.text end
  end
  return found
end

--- A name no class has.
function helper.name(prefix)
  classes = classes + 1
  return ("spec.%s%d"):format(prefix or "Class", classes)
end

--- Defines a class: from a definition, or from its run function alone.
function helper.define(definition)
  if type(definition) == "function" then definition = { run = definition } end
  return pipeline.define(helper.name(), definition)
end

--- Starts a pipeline, works everything off and gives its outputs.
function helper.outputs(stage, options)
  local engine = pipeline.default()
  stage:start(options)
  engine:drain { delayed = true }
  return engine:wait(stage, { timeout = 0 })
end

--- Starts a pipeline, works everything off and gives the value of its default output.
function helper.result(stage, options)
  return helper.outputs(stage, options).default.value
end

--- Starts a pipeline, works everything off, and gives the AbortedError it ends with.
function helper.aborted(stage, options)
  return helper.raises(pipeline.AbortedError, helper.outputs, stage, options)
end

--- What the store keeps of a pipeline.
function helper.record(stage)
  return pipeline.default()._core:stage_get(stage._id)
end

--- The only child of a class below a pipeline, as an instance.
function helper.child(stage, class)
  local _, id = helper.find(stage, class)
  return pipeline.from_id(id)
end

--- How many pipelines of a tree are in which state.
function helper.states(stage)
  local found = {}
  for _, member in ipairs(pipeline.default()._core:tree_get(stage._id)) do
    found[member.state] = (found[member.state] or 0) + 1
  end
  return found
end

--- Calls fn(...), which must raise an error of `class`; returns it.
function helper.raises(class, fn, ...)
  local ok, problem = pcall(fn, ...)
  assert(not ok, "nothing was raised")
  if not pipeline.is(problem, class) then
    error(("%s expected, got: %s"):format(tostring(class), tostring(problem)), 2)
  end
  return problem
end

--- Calls fn(...), which must raise a text in which `pattern` is found.
function helper.misuse(pattern, fn, ...)
  local ok, problem = pcall(fn, ...)
  assert(not ok, "nothing was raised")
  local text = tostring(problem)
  if not text:find(pattern) then error(("'%s' expected, got: %s"):format(pattern, text), 2) end
  return text
end

--- The entry of a pipeline in its status tree.
function helper.entry(stage)
  return pipeline.get_status_tree(stage.id).pipelines[stage.id]
end

--- The first entry of the tree whose class is `class`, and its id.
function helper.find(stage, class)
  for id, entry in pairs(pipeline.get_status_tree(stage.id).pipelines) do
    if entry.classPath == class.class_path then return entry, id end
  end
end

--- The first line of log at error level that is not expected fails the test.
function helper.check()
  for _, line in ipairs(lines) do
    if line.level >= 50 then error("internal error: " .. line.text, 0) end
  end
end

local function close_all()
  local open = engines
  engines = {}
  for _, engine in ipairs(open) do
    if not engine._closed then
      local facts = engine._core:facts()
      engine:close()
      assert(facts.executing == 0, "a task was still being executed at the end of a test")
    end
  end
end

--- After each test.
function helper.finish()
  close_all()
  collectgarbage()
  helper.check()
  lines = {}
end

--- After the last test of a spec.
function helper.clean()
  if directory then os.execute("rm -rf '" .. directory .. "'") end
  directory = nil
end

return helper
