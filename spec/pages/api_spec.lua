-- api_spec.lua - the API below <base>/api: what it says of a store, its errors, and the list of itself.

local pipeline = require "pipeline"
local http = require "spec.http.support"
local support = require "spec.pages.support"

local BEARER = { authorization = "Bearer " .. support.ADMIN }

describe("the API of the pages", function()
  local engine

  local Leaf = pipeline.define("pages.api.Leaf", { run = function(_, n) return n end })
  local Tree = pipeline.define("pages.api.Tree", { run = function(self, n)
    local first = self:spawn(Leaf(n))
    self:after({ first }, function() self:spawn(Leaf { first = first, raw = "\xff\0" }) end)
  end })
  local Fails = pipeline.define("pages.api.Fails", { max_attempts = 1, run = function() error("no luck") end })

  before_each(function()
    engine = http.open { warm_runs = 0 } -- changed code is met in a replay
    engine:serve { port = 0, admin_token = support.ADMIN, viewer_token = support.VIEWER }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local function get(path, query)
    return support.ask(engine, { path = "api/" .. path, query = query, headers = BEARER })
  end

  local function run(class, ...)
    local stage = class(...)
    stage:start()
    engine:drain()
    return stage.id
  end

  it("U2 U3 U4 shows pipelines, trees, graphs and stages", function()
    local id, failed = run(Tree, 7), run(Fails)
    local list = get("pipelines", { limit = 1 }).json
    assert.equal(failed, list.items[1].id)
    assert.is_string(list.cursor)
    assert.equal(id, get("pipelines", { limit = 1, cursor = list.cursor }).json.items[1].id)
    assert.equal(failed, get("pipelines", { state = "aborted", since = -60 }).json.items[1].id)
    assert.same({}, get("pipelines", { class = "pages.api.None" }).json.items)
    local counts = get("counts").json
    assert.equal(1, counts.done)
    assert.equal(1, counts.aborted)
    local tree = get("tree", { id = id }).json
    assert.equal(3, #tree.items)
    assert.equal(id, tree.root)
    local graph = get("graph", { id = id }).json
    assert.equal(3, #graph.nodes)
    assert.equal(1, #graph.edges)
    assert.equal("slot", graph.edges[1].kind)
    local stage = get("stage", { id = tree.items[3].id }).json.stage
    assert.equal("pages.api.Leaf", stage.class)
    assert.equal("/wA=", stage.args[1].value.raw.base64)
    local broken = get("stage", { id = failed:sub(1, 31) }).json.stage
    assert.equal(failed, broken.id)
    assert.truthy(broken.attempts[1].message:find("no luck", 1, true))
    assert.is_true(#get("logs", { id = failed }).json.items >= 1)
    assert.equal("aborted", get("why", { id = failed }).json.reasons[1].code)
    local home = get("home").json
    assert.equal(failed, home.failed.items[1].id)
    assert.equal(60, #home.rates.done)
    assert.equal(1, home.rates.aborted[60])
    assert.is_true(#get("events").json.items >= 4)
  end)

  it("U1 counts what has ended in the last hour, however many began since, and however long ago it did", function()
    local Late = pipeline.define("pages.api.Late", {
      async = true, run = function() end, try_cancel = function() return true end,
    })
    engine:close()
    engine = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1e9, log = function() end })
    engine:serve { port = 0, admin_token = support.ADMIN }
    local old = {}
    for i = 1, 3 do old[i] = Late():start() end
    engine:drain()
    engine:advance(3 * 86400)
    for i = 1, 2 do engine:complete(old[i].id, i) end
    engine:act { op = "abort", ids = { old[3].id } }
    engine:drain()
    engine:advance(120)
    for i = 1, 350 do Leaf(i):start() end
    engine:drain()
    local home = get("home").json
    local function sum(list)
      local all = 0
      for _, n in ipairs(list) do all = all + n end
      return all
    end
    assert.same({ 352, 1 }, { sum(home.rates.done), sum(home.rates.aborted) })
    assert.is_nil(home.rates.more)
    assert.equal(350, home.rates.done[60] + home.rates.done[59])
    assert.same({ 1, old[3].id }, { home.failed.count, home.failed.items[1].id })
    engine:act { op = "cleanup", filters = { class = "pages.api.Leaf" } }
    engine:advance(3601)
    home = get("home").json
    assert.same({ 0, 0, 1 }, { sum(home.rates.done), sum(home.rates.aborted), home.failed.count })
    engine:advance(86400)
    assert.equal(0, get("home").json.failed.count)
  end)

  it("U8 shows trees in short: what is left out is so by default, all else is the same", function()
    local Odd = pipeline.define("pages.api.Odd \"\u{202e}<img>", { async = true, max_attempts = 3, queue_name = "other",
      run = function(self)
        self:set_status { message = "line\nwith \"quotes\" and \xff" }
        if self.current_attempt == 1 then error("no luck: \\ \0 \u{e9}", 0) end
      end })
    local Mixed = pipeline.define("pages.api.Mixed", { run = function(self)
      self:spawn(Leaf(1))
      self:spawn(Odd())
      self:spawn(Tree(2))
    end })
    local id = run(Mixed)
    local full, brief = get("tree", { id = id }).json, get("tree", { id = id, brief = "true" }).json
    assert.same({ full.id, full.root, #full.items }, { brief.id, brief.root, #brief.items })
    for i, entry in ipairs(full.items) do
      entry.child_ids = nil
      local short = brief.items[i]
      if entry.parent then
        entry.root, entry.status, entry.took = nil, nil, nil
        if entry.state == "done" then entry.state_words = nil end
        for name, value in pairs(short) do assert.same(entry[name], value, name) end
        for _, name in ipairs { "class", "state", "parent", "message", "last_error", "reason", "children",
          "state_words", "created", "started", "ended" } do
          assert.same(entry[name], short[name], name)
        end
        assert.equal(entry.queue, short.queue or "default")
        assert.equal(entry.attempt, short.attempt or 1)
      else
        entry.took, short.took = nil, nil
        assert.same(entry, short)
      end
    end
    local first = get("tree", { id = id, brief = "true", limit = 2 }).json
    assert.equal(2, #first.items)
    assert.is_true(#get("tree", { id = id, brief = "true", cursor = first.cursor }).json.items > 1)
    assert.equal(400, get("tree", { id = id, brief = "yes" }).status)
  end)

  it("P195 lists roots of a class, a page after the other", function()
    local ids = {}
    for i = 1, 3 do ids[i] = run(Leaf, i) end
    run(Fails)
    local page, seen = nil, {}
    repeat
      page = get("pipelines", { class = "pages.api.Leaf", limit = 2, cursor = page and page.cursor }).json
      for _, entry in ipairs(page.items) do seen[#seen + 1] = entry.id end
    until not page.cursor
    assert.same({ ids[3], ids[2], ids[1] }, seen)
  end)

  it("U5 shows queues, tasks, workers and schedules, and acts on them", function()
    local taskqueue = require "pipeline.taskqueue"
    taskqueue.configure { letters = { mode = "pull" } }
    taskqueue.Queue("letters"):add(taskqueue.Task { payload = "x", method = "PULL" })
    local queues = get("queues").json.items
    assert.is_true(#queues >= 1)
    assert.is_true(#get("workers").json.items >= 1)
    assert.same({}, get("schedules").json.items)
    local tasks = get("tasks", { queue = "letters" }).json.items
    assert.equal(1, #tasks)
    local function post(path, body)
      return support.ask(engine, { path = "api/" .. path, json = body, headers = BEARER })
    end
    assert.equal(200, post("queues/pause", { queue = "letters" }).status)
    for _, queue in ipairs(get("queues").json.items) do
      if queue.name == "letters" then assert.is_true(queue.paused) end
    end
    assert.equal(200, post("queues/resume", { queue = "letters" }).status)
    assert.equal(200, post("queues/purge", { queue = "letters" }).status)
    assert.same({}, get("tasks", { queue = "letters" }).json.items)
    assert.equal(404, post("queues/pause", { queue = "unheard of" }).status)
    assert.equal(400, post("queues/pause", {}).status)
    assert.equal(404, post("schedules/trigger", { name = "none" }).status)
  end)

  it("U3 U13 W176 shows journals, sends signals, and lets what is held go on", function()
    local changed = false
    local Asks = pipeline.workflow("pages.api.Asks", { run = function(self)
      self:step("first", function() return { 1 } end)
      local got = self:wait_event("answer")
      self:step(changed and "other" or "second", function() return got end)
      return self:wait_event("more")
    end })
    local id = run(Asks)
    local function post(path, body, headers)
      return support.ask(engine, { path = "api/" .. path, json = body, headers = headers or BEARER })
    end
    local journal = get("journal", { id = id }).json
    assert.equal("suspended", journal.run.mode)
    assert.equal("waits for signal answer", journal.run.reason)
    assert.same({ "first", "answer" }, { journal.items[1].name, journal.items[2].name })
    local page = get("journal", { id = id, limit = 1 }).json
    assert.equal("answer", get("journal", { id = id, after = page.items[1].seq }).json.items[1].name)
    assert.is_true(get("stage", { id = id }).json.stage.durable)

    assert.equal(403, post("signal", { id = id, signal = "answer" }, { authorization = "Bearer " .. support.VIEWER })
      .status)
    assert.equal(400, post("signal", { id = id }).status)
    assert.equal(400, post("signal", { id = id, signal = ("x"):rep(201) }).status)
    assert.equal(409, post("resume-run", { id = run(Leaf, 1) }).status)
    assert.equal(409, post("signal", { id = run(Leaf, 1), signal = "answer" }).status)
    assert.equal(404, post("signal", { id = ("0"):rep(32), signal = "answer" }).status)
    assert.equal(404, get("stage", { id = ("0"):rep(16) }).status) -- no id begins like that
    assert.equal(false, post("resume-run", { id = id }).json.done)
    assert.equal(true, post("signal", { id = id, signal = "answer", payload = { yes = true } }).json.done)
    engine:drain()
    assert.equal("waits for signal more", get("stage", { id = id }).json.stage.suspended)

    changed = true
    assert.equal(true, post("signal", { id = id, signal = "more", payload = 7 }).json.done)
    engine:drain()
    local held = get("home").json.held
    assert.equal(1, held.count)
    assert.equal(id, held.items[1].id)
    assert.truthy(held.items[1].held:find("now asks for step \"other\"", 1, true))
    assert.equal("held", get("journal", { id = id }).json.run.mode)
    changed = false
    assert.equal(true, post("resume-run", { id = id:sub(1, 31) }).json.done)
    engine:drain()
    assert.equal(7, get("stage", { id = id }).json.stage.outputs[1].value)
    assert.equal(409, post("signal", { id = id, signal = "more" }).status)
    assert.equal(0, get("home").json.held.count)
  end)

  it("U3 U6 U13 shows values and streams, asks, updates, holds, forks; a viewer asks, and changes nothing", function()
    local Copy = pipeline.workflow("pages.api.Copy", { run = function(self, n)
      local speed = 1
      self:on_query("speed", function(factor, other) return speed * (factor or 1), other end)
      self:on_query("broken", function() error("no such disk", 0) end)
      self:on_update("speed", nil, function(wanted)
        if wanted == "broken" then error({ "not even a text" }) end
        speed = wanted
        return "done"
      end)
      self:set_value("progress", { done = n })
      self:set_value("raw", "\xff")
      self:stream("log"):write(("x"):rep(2000))
      self:step("first", function() return n end)
      self:wait_event("go")
    end })
    local id = run(Copy, 3)
    local function post(path, body, headers)
      return support.ask(engine, { path = "api/" .. path, json = body, headers = headers or BEARER })
    end
    local shown = get("run", { id = id }).json
    assert.same({ "progress", "raw" }, { shown.values[1].name, shown.values[2].name })
    assert.same({ { done = 3 }, { base64 = "/w==" } }, { shown.values[1].value, shown.values[2].value })
    assert.same({ "log", 1 }, { shown.streams[1].name, shown.streams[1].count })
    assert.is_true(#shown.streams[1].tail[1].text < 1100)
    assert.same({}, get("run", { id = id, tail = 0 }).json.streams[1].tail)
    assert.same({ "broken", "speed" }, get("handlers", { id = id }).json.queries)

    local viewer = { authorization = "Bearer " .. support.VIEWER }
    local function ask(query)
      query.id = id
      return support.ask(engine, { path = "api/query", query = query, headers = viewer })
    end
    assert.same({ 7, 2 }, ask({ name = "speed", args = "[7, 2]" }).json.results)
    assert.equal(400, ask({ name = "speed", args = "7" }).status)
    assert.equal(400, ask({}).status)
    for name, text in pairs { none = "there are: broken, speed", broken = "has raised Error: no such disk" } do
      local reply = ask { name = name }
      assert.equal(409, reply.status)
      assert.truthy(reply.json.error.message:find(text, 1, true), reply.body)
    end
    for route, given in pairs { update = { update = "speed" }, hold = {}, fork = { from = "first" } } do
      given.id = id
      assert.equal(403, post(route, given, viewer).status, route)
    end

    local reply = post("update", { id = id, update = "speed", payload = 5 })
    assert.equal("done", reply.json.value, reply.body)
    assert.equal(5, ask({ name = "speed" }).json.value)
    assert.equal(409, post("update", { id = id, update = "speed", payload = "broken" }).status)
    assert.equal(409, post("update", { id = id, update = "slow" }).status)
    assert.equal(400, post("update", { id = id, update = ("x"):rep(201) }).status)
    assert.equal(true, post("hold", { id = id, reason = "the disk is changed" }).json.done)
    assert.equal("the disk is changed", get("stage", { id = id }).json.stage.held)
    assert.equal(false, post("hold", { id = id }).json.done)
    assert.equal(504, post("update", { id = id, update = "speed", timeout = 0.05 }).status)
    assert.equal(true, post("resume-run", { id = id, retry = true }).json.done)
    local fork = post("fork", { id = id, from = "2", key = "again" })
    assert.equal("again", fork.json.id, fork.body)
    assert.equal(id, get("stage", { id = "key:again" }).json.stage.forked_from)
    assert.equal(409, post("fork", { id = id, from = "2", key = "again" }).status)
    assert.equal(400, post("fork", { id = id, from = "nothing" }).status)
    assert.equal(409, post("hold", { id = run(Leaf, 1) }).status)
  end)

  it("U13 says what is wrong with what it was asked", function()
    local none = get("stage", { id = "0123456789abcdef0123456789abcdef" })
    assert.equal(404, none.status)
    assert.equal("PipelineStatusError", none.json.error.class)
    assert.equal(400, get("stage").status)
    assert.equal(400, get("pipelines", { limit = "many" }).status)
    assert.equal(400, get("pipelines", { state = "doen" }).status)
    assert.equal(404, get("pipelines/none").status)
    assert.equal(405, support.ask(engine, { path = "api/pipelines", json = {}, headers = BEARER }).status)
    local path = support.BASE .. "/api/queues/pause"
    local bad = engine:handle { method = "POST", path = path, body = "{", headers = BEARER }
    assert.equal(400, bad.status)
  end)

  it("U10 shows lists whatever the length of messages in them, and a stage with all of its own", function()
    local Says = pipeline.define("pages.api.Says", { max_attempts = 1, run = function(self)
      self:set_status { message = ("\u{E4}"):rep(1 << 19) }
      error(("x"):rep(10000), 0)
    end })
    local id
    for _ = 1, 17 do id = Says():start().id end
    engine:drain()
    local list = get("pipelines").json.items
    assert.equal(17, #list)
    assert.is_true(#list[1].message < 510 and utf8.len(list[1].message) == 250)
    assert.is_true(#list[1].reason < 510)
    assert.equal(8, #get("home").json.failed.items)
    assert.equal(1, #get("tree", { id = id }).json.items)
    assert.equal(1 << 20, #get("stage", { id = id }).json.stage.message)
  end)

  it("U2 U13 acts on nothing where a request says less than it means", function()
    local id = Leaf(1):start({ countdown = 3600 }).id
    local function refused(path, body)
      local reply = support.ask(engine, { path = "api/" .. path, json = body, headers = BEARER })
      assert.equal(400, reply.status, reply.body)
    end
    for _, filters in ipairs {
      { since = "yesterday" }, { since = true }, { class = "" }, { state = "" }, { state = "," }, { clas = "x" },
      { limit = 1 }, { cursor = id },
    } do
      refused("act", { op = "abort", filters = filters })
    end
    refused("act", { op = "abort", filters = {}, dryrun = true })
    refused("act", { op = "abort", filters = {}, dry_run = "" })
    refused("act", { op = "abort" })
    refused("tasks/act", { op = "forget", queue = "default", filters = { text = "" } })
    refused("tasks/act", { op = "forget", queue = "default", filters = { queue = "another" } })
    refused("callback", { id = id, params = { a = { 1 } } })
    assert.equal("delayed", get("stage", { id = id }).json.stage.state)
    local reply = support.ask(engine, { path = "api/act", headers = BEARER,
      json = { op = "abort", filters = { since = "-60" }, dry_run = true } })
    assert.equal(1, reply.json.matched)
  end)

  it("U13 does nothing, and shows nothing, that the command has not with --json", function()
    local grammar = require "pipeline.command.grammar"
    local COMMANDS = { -- of each route
      act = { "retry", "resume", "abort", "cleanup" }, complete = { "complete" }, callback = { "callback" },
      signal = { "signal" }, ["resume-run"] = { "resume-run" }, ["queues/pause"] = { "pause" },
      ["queues/resume"] = { "resume-queue" }, ["queues/purge"] = { "purge" }, ["tasks/act"] = { "revive", "forget" },
      ["schedules/trigger"] = { "trigger" }, ["schedules/pause"] = { "pause-schedule" },
      ["schedules/resume"] = { "resume-schedule" }, home = { "top", "stats" }, pipelines = { "list" },
      counts = { "list" }, tree = { "show" }, graph = { "show" }, stage = { "show" }, why = { "why" },
      logs = { "logs" }, journal = { "journal" }, queues = { "queues" }, tasks = { "tasks", "dead" },
      run = { "values", "stream" }, handlers = { "query" }, query = { "query" }, update = { "update" },
      hold = { "hold" }, fork = { "fork" }, workers = { "workers" }, schedules = { "schedules" }, events = { "logs" },
    }
    local is_global
    for _, option in ipairs(grammar.globals) do is_global = is_global or option[1] == "--json" end
    assert.is_true(is_global)
    local page_acts = {}
    for _, route in ipairs(require("pipeline.pages.api").ROUTES) do
      if route.name ~= "openapi" then
        for _, name in ipairs(assert(COMMANDS[route.name], route.name .. ": say which command has it")) do
          assert.is_truthy(grammar.find(name), name)
        end
      end
      if route.acts then page_acts[route.name] = true end
    end
    local seen = 0 -- the scripts of the pages post to these routes alone
    for _, script in ipairs(require("pipeline.pages.assets").NAMES) do
      local _, body = require("pipeline.pages.assets").get(script)
      for given in body:gmatch("post%((.-)[,)]") do
        for name in given:gmatch('"([%l/-]+)"') do
          local is_session = name == "sign-in" or name == "sign-out"
          assert.is_true(is_session or page_acts[name] == true, script .. ": " .. name)
          seen = seen + 1
        end
      end
    end
    assert.is_true(seen >= 10)
    for _, name in ipairs { "abort", "retry", "cleanup", "tree", "list" } do -- and those that the original's page has
      assert.is_truthy(engine._web.endpoints["rpc/" .. name], name)
    end
  end)

  it("U13 lists itself as OpenAPI, every route with what it takes", function()
    local described = get("openapi").json
    assert.equal("3.1.0", described.openapi)
    assert.same(described, support.ask(engine, { path = "api", headers = BEARER }).json)
    for _, route in ipairs(require("pipeline.pages.api").ROUTES) do
      local entry = described.paths["/" .. route.name][route.method:lower()]
      assert.is_string(entry.summary)
      local names = {}
      if route.acts then
        names = entry.requestBody.content["application/json"].schema.properties
      else
        for _, param in ipairs(entry.parameters) do names[param.name] = param.schema end
      end
      for _, param in ipairs(route.params) do assert.is_table(names[param[1]], route.name .. " " .. param[1]) end
    end
  end)
end)
