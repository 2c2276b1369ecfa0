--- graph.lua: who waits for whose output in a tree: the picture of its slots.
--
-- A line leads from the stage that fills a slot to each stage that has it as an argument ("slot"), at any depth of a
-- value, or was told to start after it ("after").

local json = require "pipeline.http.json"

local graph = {}

local STAGES_MAX = 400

local function add_slots(value, found, seen)
  if type(value) ~= "table" or seen[value] then return end
  seen[value] = true
  if value.type == "slot" and type(value.slotKey) == "string" then
    found[value.slotKey] = true
    return
  end
  for _, item in pairs(value) do add_slots(item, found, seen) end
end

local function collect(tree)
  local owners, nodes = {}, json.array {}
  for _, id in ipairs(tree.order) do
    local entry = tree.pipelines[id]
    nodes[#nodes + 1] = { id = id, class = entry.classPath, state = entry.state or entry.status,
      parent = entry.parentPipelineId }
    for _, key in pairs(entry.outputs or {}) do owners[key] = owners[key] or id end
  end
  -- A slot that is handed up belongs to the deepest stage that has it as an output, which comes last.
  for _, id in ipairs(tree.order) do
    for _, key in pairs(tree.pipelines[id].outputs or {}) do owners[key] = id end
  end
  return nodes, owners
end

local function add_edges(edges, keys, kind, to, owners, nodes)
  for key in pairs(keys) do
    local from = owners[key]
    if from and from ~= to and nodes[from] then
      edges[#edges + 1] = { from = from, to = to, kind = kind }
    end
  end
end

--- { nodes = list of { id, class, state, parent }, edges = list of { from, to, kind = "slot" | "after" } }, or, for a
-- tree with more than 400 stages, too_large = 400.
function graph.of(engine, id)
  local tree = engine:get_status_tree(id, { limit = STAGES_MAX + 1 })
  if #tree.order > STAGES_MAX or tree.cursor then
    return { too_large = STAGES_MAX, nodes = json.array {}, edges = json.array {} }
  end
  local nodes, owners = collect(tree)
  local known, edges = {}, json.array {}
  for _, node in ipairs(nodes) do known[node.id] = true end
  for _, node in ipairs(nodes) do
    local entry = tree.pipelines[node.id]
    local slots, after = {}, {}
    add_slots(entry.args, slots, {})
    for _, key in ipairs(entry.afterSlotKeys or {}) do
      if not slots[key] then after[key] = true end
    end
    add_edges(edges, slots, "slot", node.id, owners, known)
    add_edges(edges, after, "after", node.id, owners, known)
  end
  table.sort(edges, function(a, b)
    if a.to ~= b.to then return a.to < b.to end
    return a.from < b.from
  end)
  return { nodes = nodes, edges = edges }
end

return graph
