-- What the specs of the binding share: an engine with hooks that record, stages and tasks to feed it with.
local core = require "pipeline.core"

local support = {}

-- Opens an engine on virtual time whose errors and log lines are collected.
function support.open(options)
  options = options or {}
  if options.virtual_time == nil then
    options.virtual_time = true
    options.virtual_start = 1000
  end
  local e = assert(core.open(options.path or ":memory:", {
    virtual_time = options.virtual_time, virtual_start = options.virtual_start, concurrency = options.concurrency,
  }))
  local seen = { errors = {}, codes = {}, lines = {} }
  e:on("error", function(err, code)
    seen.errors[#seen.errors + 1], seen.codes[#seen.codes + 1] = err, code
  end)
  e:on("log", function(level, text) seen.lines[#seen.lines + 1] = { level = level, text = text } end)
  return e, seen
end

-- A stage that is held back: something for callback tasks to belong to.
function support.held(e)
  local id = e:new_id()
  assert(e:start{ { id = id, class_path = "spec.Held", args = "", hold = true } })
  return id
end

-- Adds one callback task for each name; returns the result names.
function support.tasks(e, stage, names)
  local list = {}
  for i, name in ipairs(names) do
    list[i] = { id = e:new_id(), stage = stage, payload = name }
  end
  return assert(e:task_add(list))
end

-- Runs fn in a managed coroutine until nothing is left to do; errors of fn are raised here.
function support.inside(e, fn)
  local result
  assert(e:spawn(function() result = table.pack(pcall(fn)) end))
  assert(e:run("ready"))
  assert(result, "the coroutine did not end")
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

-- Runs a chunk in a Lua process of its own. Returns its exit code and what it printed.
function support.process(source)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(source)
  file:close()
  local pipe = assert(io.popen(("%s -W %s 2>&1"):format(os.getenv("LUA") or "lua5.4", name)))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  os.remove(name)
  return how == "exit" and code or -code, output
end

return support
