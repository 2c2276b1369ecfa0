-- circles.lua OBJECT-DIRECTORY - fails where files call each other in a circle; run by `make lint`.
--
-- Among the objects: who uses a symbol that another one defines. Among the Lua modules: who requires whom, requires
-- inside functions included. A circle is a set of files none of which can be read, tested or moved without the others.
--
-- Circles that are still there are listed below. The list may only become shorter: a circle that is not in it, or that
-- grows, fails, and so does one that is listed and no longer there.

local known = {
  objects = {
  },
  modules = {
  },
}

-- ---- graphs ----------------------------------------------------------------------------------------------------

local function lines_of(command)
  local pipe <close> = assert(io.popen(command))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

-- node -> set of nodes it uses -> by what
local function objects(directory)
  local defined, used, graph = {}, {}, {}
  for _, line in ipairs(lines_of(("find '%s' -name '*.o' | xargs nm -A -g"):format(directory))) do
    local object, kind, symbol = line:match("/obj/csrc/(%S+)%.o:%s*%x*%s+(%a)%s+(%S+)")
    if object then
      graph[object], used[object] = graph[object] or {}, used[object] or {}
      if kind == "U" then used[object][symbol] = true else defined[symbol] = object end
    end
  end
  for object, symbols in pairs(used) do
    for symbol in pairs(symbols) do
      local other = defined[symbol]
      if other and other ~= object then graph[object][other] = symbol end
    end
  end
  return graph
end

local function modules()
  local graph = {}
  for _, path in ipairs(lines_of("cd lua && find . -name '*.lua'")) do
    graph[(path:gsub("^%./", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))] = path
  end
  for name, path in pairs(graph) do
    local uses = {}
    for line in io.lines("lua/" .. path) do
      if not line:find("^%s*%-%-") then
        for other in line:gmatch("require%s*%(?%s*[\"']([%w_.]+)[\"']") do
          if graph[other] and other ~= name then uses[other] = "require" end
        end
      end
    end
    graph[name] = uses
  end
  return graph
end

-- ---- circles ---------------------------------------------------------------------------------------------------

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- Strongly connected components of more than one node (Tarjan).
local function circles_of(graph)
  local index, low, on_stack, stack, count, found = {}, {}, {}, {}, 0, {}
  local function visit(node)
    count = count + 1
    index[node], low[node] = count, count
    stack[#stack + 1], on_stack[node] = node, true
    for _, other in ipairs(sorted_keys(graph[node])) do
      if graph[other] and not index[other] then
        visit(other)
        low[node] = math.min(low[node], low[other])
      elseif on_stack[other] then
        low[node] = math.min(low[node], index[other])
      end
    end
    if low[node] ~= index[node] then return end
    local circle = {}
    repeat
      local top = table.remove(stack)
      on_stack[top] = nil
      circle[#circle + 1] = top
    until top == node
    if #circle > 1 then
      table.sort(circle)
      found[#found + 1] = circle
    end
  end
  for _, node in ipairs(sorted_keys(graph)) do
    if not index[node] then visit(node) end
  end
  return found
end

local findings = 0

local function complain(format, ...)
  findings = findings + 1
  print(("circles: " .. format):format(...))
end

local function is_within(circle, listed)
  local set = {}
  for word in listed:gmatch("%S+") do set[word] = true end
  for _, node in ipairs(circle) do
    if not set[node] then return false end
  end
  return true
end

local function show_edges(graph, circle)
  local inside = {}
  for _, node in ipairs(circle) do inside[node] = true end
  for _, node in ipairs(circle) do
    for _, other in ipairs(sorted_keys(graph[node])) do
      if inside[other] then print(("    %s -> %s (%s)"):format(node, other, graph[node][other])) end
    end
  end
end

local function check(what, graph)
  local circles, listed = circles_of(graph), known[what]
  for _, circle in ipairs(circles) do
    local is_known = false
    for _, words in ipairs(listed) do is_known = is_known or is_within(circle, words) end
    if not is_known then
      complain("%d %s call each other: %s", #circle, what, table.concat(circle, " "))
      show_edges(graph, circle)
    end
  end
  for _, words in ipairs(listed) do
    local left = {}
    for _, circle in ipairs(circles) do
      if is_within(circle, words) then
        for _, node in ipairs(circle) do left[#left + 1] = node end
      end
    end
    table.sort(left)
    if table.concat(left, " ") ~= words then
      complain("the list of %s says '%s', there is now '%s': shorten the list", what, words, table.concat(left, " "))
    end
  end
end

check("objects", objects(assert(arg[1], "usage: circles.lua OBJECT-DIRECTORY")))
check("modules", modules())
os.exit(findings == 0)
