--- support.lua: what the specs of examples share that tell their story, and that are killed at random.

local processes = require "spec.crash.processes"

local support = {}

local LUA = os.getenv("LUA") or "lua5.4"

--- What a file has; "": there is none.
function support.read(path)
  local file = io.open(path)
  local text = file and file:read("a") or ""
  if file then file:close() end
  return text
end

--- The ways in which `program` tells its story: title -> function that returns what it wrote. As it is, and with each
-- first attempt failing after its effects.
function support.stories(program)
  local stories = {}
  for title, environment in pairs {
    ["tells its story"] = "",
    ["tells its story, also when each first attempt fails"] = "LUA_INIT='require \"spec.examples.failing\"' ",
  } do
    stories[title] = function()
      local pipe = assert(io.popen(("%stimeout 120 %s %s 2>&1"):format(environment, LUA, program)))
      local text = pipe:read("a")
      assert(pipe:close(), text)
      return text
    end
  end
  return stories
end

--- What a spec kills at random: a folder, a group of processes in it (both go when the spec ends, by `finally` of
-- busted), and a function that gives numbers from 0 to n - 1, by the seed that is returned as well: that of the
-- variable, or a new one.
function support.killing(variable, finally)
  local seed = tonumber(os.getenv(variable)) or os.time()
  local directory = processes.directory()
  local group = processes.group(directory)
  finally(function()
    group:close()
    os.execute("rm -rf " .. processes.quote(directory))
  end)
  local state = seed
  local function random(n)
    state = (state * 1103515245 + 12345) % 2147483648
    return (state >> 8) % n
  end
  return directory, group, random, seed
end

return support
