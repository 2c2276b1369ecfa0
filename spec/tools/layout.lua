-- layout.lua - numbers that C and Lua both know are the same in both; run by `make lint`.
--
-- Tasklets take their steps in C, on tables that Lua has made: fields have numbers there, states and limits, too. Each
-- number has one name, written down on both sides. This compares them, name by name, and fails if a name of a pair is
-- missing on one side.

-- What is compared: names in the C file, without the prefix, and in the Lua file.
local pairs_of_files = {
  { c = "csrc/binding/tasklet/shared.h", lua = "lua/pipeline/eventloop.lua",
    names = "AT LAST CURRENT COUNT LATER AWAKE STOPPING FRUITLESS TIMERS" },
  { c = "csrc/binding/tasklet/shared.h", lua = "lua/pipeline/tasklet/task.lua", prefix = "T_",
    names = "BODY WORKER ON PLACE MAKER" },
  { c = "csrc/binding/tasklet/shared.h", lua = "lua/pipeline/tasklet/future.lua", names = "FINISHING" },
  { c = "csrc/binding/tasklet/step.c", lua = "lua/pipeline/eventloop.lua", names = "QUEUE_KEPT_MAX" },
  { c = "csrc/binding/tasklet/worker.h", lua = "lua/pipeline/tasklet/task.lua", prefix = "PL__WORKER_",
    names = "CO ENDED WAITS YIELDED DEAD" },
  { c = "csrc/binding/tasklet/items.c", lua = "lua/pipeline/tasklet/queue.lua", names = "FIRST LAST QUICK" },
  { c = "csrc/binding/tasklet/shared.h", lua = "lua/pipeline/tasklet/future.lua", prefix = "T_",
    names = "BODY ON MADE" },
}

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

-- Names and numbers of enums and of plain macros.
local function numbers_of_c(text)
  local found = {}
  for body in text:gmatch("enum%s*{(.-)}") do
    local value = -1
    for entry in body:gsub("/%*.-%*/", ""):gmatch("[^,]+") do
      local name, given = entry:match("^%s*([%w_]+)%s*=?%s*([%w_]*)%s*$")
      if name then
        value = given == "" and value + 1 or tonumber(given) or found[given] or 0
        found[name] = value
      end
    end
  end
  for name, given in text:gmatch("#define ([%w_]+) (%d+)%f[%s]") do found[name] = tonumber(given) end
  return found
end

-- Of locals that are given numbers: one, or several at once.
local function numbers_of_lua(text)
  local found = {}
  for names, values in text:gmatch("\nlocal ([%u][%w_<>, ]*) = ([%d][%d, ]*)") do
    local list = {}
    for value in values:gmatch("%d+") do list[#list + 1] = tonumber(value) end
    local at = 0
    for name in names:gsub("<%w+>", ""):gmatch("[%w_]+") do
      at = at + 1
      found[name] = list[at]
    end
  end
  return found
end

local failed = false
for _, pair in ipairs(pairs_of_files) do
  local ours, theirs = numbers_of_c(read(pair.c)), numbers_of_lua(read(pair.lua))
  for name in pair.names:gmatch("%S+") do
    local here, there = ours[(pair.prefix or "") .. name], theirs[name]
    if not here or here ~= there then
      failed = true
      local text = "layout: %s is %s in %s and %s in %s"
      print(text:format(name, here or "missing", pair.c, there or "missing", pair.lua))
    end
  end
end
if failed then os.exit(false) end
