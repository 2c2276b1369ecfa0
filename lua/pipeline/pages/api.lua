--- api.lua: the routes below <base>/api: what they are called, what they take and what they say. The pages use nothing
-- else, and the list that <base>/api gives (openapi.lua) is made of this table.
--
-- GET routes read and take a query; POST routes act and take an object in JSON. Names of fields are those of the
-- engine's readers; times are seconds since the epoch. Messages and errors of lists are cut at 500 bytes: a stage alone
-- has them whole.

local acts = require "pipeline.pages.acts"
local errors = require "pipeline.support.errors"
local graph = require "pipeline.pages.reads.graph"
local home = require "pipeline.pages.reads.home"
local json = require "pipeline.http.json"
local openapi = require "pipeline.pages.openapi"
local json_reader = require "pipeline.http.json_reader"
local run = require "pipeline.pages.reads.run"
local schedules = require "pipeline.schedules"
local tree = require "pipeline.pages.reads.tree"

local api = {}

local FILTERS = {
  { "state", "text", "a state, or several separated by commas" }, { "class", "text" }, { "queue", "text" },
  { "key", "text", "an idempotence key" }, { "text", "text", "is in class, key, message or error" },
  { "since", "number", "started at that time or later; below 0: so many seconds ago" }, { "until", "number" },
  { "error", "text", "is in the last error" },
}

local function with_filters(more)
  local list = table.move(FILTERS, 1, #FILTERS, 1, {})
  return table.move(more, 1, #more, #list + 1, list)
end

local ID = { "id", "text", "an id, an unambiguous beginning of at least 6 characters, or key:KEY", required = true }
local LIMIT, CURSOR = { "limit", "count", "items at most" }, { "cursor", "text", "of the page before" }

local function not_found(id)
  errors.raise(errors.PipelineStatusError, "there is no pipeline %s", errors.text(id))
end

local function find(engine, id)
  return engine:find(id) or not_found(id)
end

-- Filters as the engine takes them.
local function filters_of(engine, given)
  local filters = {}
  for _, filter in ipairs(FILTERS) do filters[filter[1]] = given[filter[1]] end
  for _, name in ipairs { "since", "until" } do
    local time = filters[name]
    if time and time < 0 then filters[name] = engine:now() + time end
  end
  return filters
end

api.filters_of = filters_of

local function list_pipelines(engine, given)
  local wanted = filters_of(engine, given)
  wanted.limit, wanted.cursor = math.min(given.limit or 50, 500), given.cursor
  local page = engine:list(wanted)
  return { items = home.short(page.items), cursor = page.cursor, now = engine:now() }
end

local function count_pipelines(engine, given)
  local filters = filters_of(engine, given)
  filters.state = nil
  return engine:list_counts(filters)
end

local function show_tree(engine, given)
  local id = find(engine, given.id)
  local page = engine:tree(id, {
    depth = given.depth, parent = given.parent, cursor = given.cursor, limit = math.min(given.limit or 1000, 5000),
  })
  home.short(page.items)
  if given.brief then
    return json.texts {
      id = json.encode(id), root = json.encode(page.root), items = tree.brief(engine, page.items),
      cursor = page.cursor and json.encode(page.cursor), now = json.encode(engine:now()),
    }
  end
  for _, entry in ipairs(page.items) do
    if entry.child_ids then json.array(entry.child_ids) end
  end
  return { id = id, root = page.root, items = page.items, cursor = page.cursor, now = engine:now() }
end

local function show_stage(engine, given)
  local stage = engine:stage(find(engine, given.id))
  for _, name in ipairs { "args", "outputs", "after", "attempts" } do
    if stage[name] then json.array(stage[name]) end
  end
  return { stage = stage, now = engine:now() }
end

local function explain(engine, given)
  return { reasons = json.array(engine:why(find(engine, given.id))) }
end

local function show_logs(engine, given)
  return { items = json.array(engine:logs(find(engine, given.id))) }
end

local RESULT_MAX = 4096 -- bytes of an error in a journal; values are cut before

local function show_journal(engine, given)
  local id = find(engine, given.id)
  local list, known = engine:get_journal(id, { after = given.after, limit = math.min(given.limit or 100, 1000) })
  for _, entry in ipairs(list) do
    if entry.error then entry.error = home.beginning(entry.error, RESULT_MAX) end
  end
  return { id = id, items = json.array(list), run = known, now = engine:now() }
end

-- Of a durable function, by an address.
local function of_run(fn)
  return function(engine, given) return fn(engine, find(engine, given.id), given) end
end

local function list_queues(engine)
  return { items = json.array(engine:queues()), now = engine:now() }
end

local function list_tasks(engine, given)
  local page = engine:tasks {
    queue = given.queue, state = given.state, text = given.text, limit = math.min(given.limit or 50, 500),
    cursor = given.cursor,
  }
  return { items = json.array(page.items), cursor = page.cursor, now = engine:now() }
end

local function list_workers(engine)
  local items = json.array(engine:workers())
  for _, worker in ipairs(items) do
    if worker.serving then json.array(worker.serving) end
  end
  return { items = items, now = engine:now() }
end

local function list_schedules(engine)
  local items = json.array {}
  for i, schedule in ipairs(schedules.list()) do items[i] = home.schedule(schedule) end
  return { items = items, now = engine:now() }
end

--- Each: method, name (below api/), summary, params (name, kind, description), handler(engine, given, site), `acts`;
-- `shared`: programs that ask the same within a second get the same, as pages always do.
api.ROUTES = {
  { method = "GET", name = "home", shared = true, summary = "What needs a person, and how the store is getting on",
    params = {}, handler = home.show },
  { method = "GET", name = "pipelines", shared = true, summary = "Roots, newest first; long messages are cut",
    params = with_filters { LIMIT, CURSOR }, handler = list_pipelines },
  { method = "GET", name = "counts", shared = true, summary = "Roots by state", params = with_filters {},
    handler = count_pipelines },
  { method = "GET", name = "tree", summary = "A tree or a part; long messages are cut", handler = show_tree, params = {
    ID, { "parent", "text", "only what is below that stage" }, { "depth", "count", "levels below it" }, LIMIT,
    CURSOR, { "brief", "flag", "without root, child_ids, what is so by default, and words for what is done" } } },
  { method = "GET", name = "graph", summary = "Who waits for whose output in a tree", params = { ID },
    handler = function(engine, given) return graph.of(engine, find(engine, given.id)) end },
  { method = "GET", name = "stage", summary = "Everything about one stage", params = { ID }, handler = show_stage },
  { method = "GET", name = "why", summary = "Why it is not running, or not done", params = { ID }, handler = explain },
  { method = "GET", name = "logs", summary = "Failures and status messages in time order", params = { ID },
    handler = show_logs },
  { method = "GET", name = "journal", summary = "What a durable function has asked for, and how that ended",
    handler = show_journal, params = { ID, { "after", "count", "seq of the last entry of the page before" },
      { "limit", "count", "items at most (100)" } } },
  { method = "GET", name = "run", summary = "What a durable function shows: its values, and the tails of its streams",
    handler = of_run(run.show), params = { ID, { "tail", "count", "values of each stream, the last ones (10)" } } },
  { method = "GET", name = "handlers", summary = "The names of queries, signals and updates that a durable function "
    .. "has handlers for: it is replayed", handler = of_run(run.handlers), params = { ID } },
  { method = "GET", name = "query", is_fresh = true, handler = of_run(run.query),
    summary = "Asks a durable function, which it does not notice: it is replayed by the process that serves",
    params = { ID, { "name", "text", "of the query", required = true },
      { "args", "args", "its arguments, a list in JSON" } } },
  { method = "GET", name = "queues", shared = true, summary = "Queues with their settings and counts", params = {},
    handler = list_queues },
  { method = "GET", name = "tasks", summary = "Tasks of queues", handler = list_tasks, params = {
    { "queue", "text" }, { "state", "text", "ready, delayed, executing or dead" }, { "text", "text" }, LIMIT,
    CURSOR } },
  { method = "GET", name = "workers", shared = true, summary = "Processes that work on the store", params = {},
    handler = list_workers },
  { method = "GET", name = "schedules", summary = "Schedules, and when they fire next", params = {},
    handler = list_schedules },
  { method = "GET", name = "events", shared = true, summary = "What has happened in the last hour, newest first",
    params = {}, handler = home.events },
}

for _, route in ipairs(acts.ROUTES) do api.ROUTES[#api.ROUTES + 1] = route end
table.insert(api.ROUTES, {
  method = "GET", name = "openapi", summary = "This list, as OpenAPI 3.1", params = {},
  handler = function(_, _, site) return openapi.describe(api.ROUTES, site.web) end,
})

-- ---- what a request gives ---------------------------------------------------------------------------------------

local function bad(name, wanted)
  errors.raise(errors.RequestError, "%s: %s expected", name, wanted)
end

-- What JSON calls null is nil here; a list with such holes is a table with holes.
local function without_null(value)
  if value == json.null then return nil end
  if type(value) ~= "table" then return value end
  local out = {}
  for key, item in pairs(value) do out[key] = without_null(item) end
  return out
end

-- Arguments in a query: a list in JSON, with its length in `n`.
local function read_args(value)
  local list = type(value) == "string" and json_reader.read(value)
  if type(list) ~= "table" or next(list) ~= nil and #list == 0 then return nil end
  local args = without_null(list)
  args.n = #list
  return args
end

local readers = {
  text = function(value) return type(value) == "string" and value or nil, "text" end,
  number = function(value) return tonumber(value), "a number" end,
  count = function(value)
    local number = math.tointeger(tonumber(value))
    return number and number >= 0 and number or nil, "a whole number"
  end,
  flag = function(value, is_query)
    if is_query and (value == "true" or value == "false") then return value == "true" end
    if type(value) == "boolean" then return value end
    return nil, "true or false"
  end,
  object = function(value) -- a list has numbers for names, also one with holes
    return type(value) == "table" and type(next(value)) ~= "number" and value or nil, "an object"
  end,
  list = function(value) return type(value) == "table" and value or nil, "a list" end,
  any = function(value) return value end,
  args = function(value) return read_args(value), "a list in JSON" end,
}

local function read(values, route)
  local given = {}
  for _, param in ipairs(route.params) do
    local name, value = param[1], values[param[1]]
    if value == "" and (param[2] == "text" or not route.acts) then value = nil end
    if value ~= nil then
      local read_value, wanted = readers[param[2]](value, not route.acts)
      if read_value == nil and wanted then bad(name, wanted) end
      given[name] = read_value
    elseif param.required then
      bad(name, "it is missing; a value")
    end
  end
  return given
end

-- A misspelt dry_run would be an act.
local function check_names(values, route)
  local known = {}
  for _, param in ipairs(route.params) do known[param[1]] = true end
  for name in pairs(values) do
    if not known[name] then errors.raise(errors.RequestError, "%s: there is no such parameter", errors.text(name)) end
  end
end

--- The parameters of a route in the query of a request. Raises RequestError.
function api.query(request, route)
  return read(request.query, route)
end

--- The same in a body in JSON; an empty one stands for an empty object.
function api.body(request, route)
  if request.body == "" then return read({}, route) end
  local body = without_null(request.json)
  if type(body) ~= "table" then errors.raise(errors.RequestError, "the body: an object in JSON expected") end
  check_names(body, route)
  return read(body, route)
end

return api
