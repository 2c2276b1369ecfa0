-- durable_spec.lua: the commands about durable functions, on the installed rock, beside a worker and without one.

local pipeline = require "pipeline"
local pages = require "spec.pages.support"
local schema = require "spec.command.schema"
local shapes = require "spec.command.shapes"
local support = require "spec.command.support"

local PROGRAM = [[
local pipeline = require "pipeline"
local function is_changed()
  local file = io.open("changed")
  return file ~= nil and file:close() ~= nil
end
pipeline.workflow("shop.Order", { run = function(self, sku)
  local state = { sku = sku, cents = 100 }
  self:on_query("state", function(more) return state, more end)
  self:on_query("broken", function() error("no such shelf", 0) end)
  self:on_update("price", function(cents)
    if type(cents) ~= "number" then error("a number of cents is wanted", 0) end
  end, function(cents)
    state.cents = cents
    return cents * 2
  end)
  self:set_value("progress", { done = 1, of = 3 })
  local log = self:stream("log")
  log:write("begun")
  log:write { level = "info" }
  self:step("reserve", function() return "shelf 7" end)
  self:wait_event("go")
  if is_changed() then self:step("bill", print) else self:step("charge", function() return state.cents end) end
  self:set_value("progress", { done = 3, of = 3 })
  log:close()
  self:wait_event("again")
  if is_changed() then self:step("bill", print) end
  return state.cents
end })
]]

describe("the commands about durable functions", function()
  local scene, id

  before_each(function()
    scene = support.scene()
    scene:write("shop.lua", PROGRAM)
    id = scene:must({ "start", "shop.Order", "A-1", "--module", "./shop.lua" }):match("%S+")
  end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  local function worker()
    local process = scene:spawn { "worker", "./shop.lua" }
    process.saw("working on")
    return process
  end

  -- When it waits for the signal of that name.
  local function waits_for(name)
    assert(support.eventually(support.SECONDS, function()
      return scene:must({ "why", id }):find("signal " .. name, 1, true)
    end), name)
  end

  local function valid(shape, words)
    local value = scene:json(words)
    assert.equal("", schema.check(value, shapes[shape]))
    return value
  end

  it("C6 W139 W141 show values and streams, whole and by their tails, also when nothing works any more", function()
    local work = worker()
    waits_for("go")
    local shown = scene:must { "values", id }
    assert.truthy(shown:find("progress", 1, true) and shown:find("done=1", 1, true), shown)
    assert.truthy(shown:find("log +2 +open"), shown)
    local value = valid("values", { "values", id, "--tail", "2" })
    assert.same({ done = 1, of = 3 }, value.items[1].value)
    assert.same({ 0, "begun" }, { value.streams[1].tail[1].offset, value.streams[1].tail[1].value })
    local follow = scene:spawn { "--json", "stream", id, "log", "--follow" }
    follow.saw('"level"')
    scene:must { "signal", id, "go" }
    assert.equal(0, scene.group:wait_for(follow.pid, support.SECONDS)) -- the stream is closed
    scene:stop(work)
    assert.equal("begun\n{level=\"info\"}\n", scene:must { "stream", id, "log" })
    assert.equal(1, #valid("stream", { "stream", id, "log", "--from", "1" }).items)
    local code, _, said = scene:run { "stream", id, "lag" }
    assert.same({ 3, "pipeline: there is no stream 'lag'; did you mean 'log'?\n" }, { code, said })
  end)

  it("C6 W131 W134 ask and update one; without a name they say what it can be asked", function()
    local work = worker()
    waits_for("go")
    local with = { "--module", "./shop.lua" }
    local function query(...)
      return { "query", id, table.unpack(table.move(with, 1, 2, select("#", ...) + 1, { ... })) }
    end
    assert.equal("queries: broken, state\nupdates: price\nsignals: none\n", scene:must(query()))
    assert.same({ "broken", "state" }, valid("handlers", query()).queries)
    assert.same({ sku = "A-1", cents = 100 }, valid("query", query("state")).value)
    assert.equal("a word\n", scene:must(query("state", "a word")):match("[^\n]*\n$"))
    local code, _, said = scene:run(query("broken"))
    assert.equal(1, code)
    assert.truthy(said:find("no such shelf", 1, true), said)
    code, _, said = scene:run(query("stat"))
    assert.equal(1, code)
    assert.truthy(said:find("there are: broken, state", 1, true), said)
    assert.equal("500\n", scene:must { "update", id, "price", "250", "--timeout", "20s" })
    assert.equal(250, scene:json(query("state")).value.cents)
    code, _, said = scene:run { "update", id, "price", "much", "--timeout", "20s" }
    assert.same({ 1, "pipeline: a number of cents is wanted\n" }, { code, said })
    scene:stop(work)
    code, _, said = scene:run { "update", id, "price", "1", "--timeout", "0.2s" }
    assert.equal(1, code)
    assert.truthy(said:find("pipeline why " .. id, 1, true), said)
  end)

  it("W59 W63 U4 C7 say of one that is held the same words in the log, the command and the pages", function()
    local work = worker()
    waits_for("go")
    scene:must { "signal", id, "go" }
    waits_for("again")
    scene:stop(work)
    scene:write("changed", "")
    work = worker()
    scene:must { "signal", id, "again" }
    work.saw("Held.")
    scene:stop(work)
    local line = work.said():match("[^\n]*Held%.\n")
    local text = line:match("(NondeterminismError: .*Held%.)\n")
    local pattern = ('^NondeterminismError: shop.Order %s: entry %%d of the journal is step "charge" %%(.-shop.lua:%%d+'
      .. '%%), but the function now asks for step "bill" %%(.-shop.lua:%%d+%%). Nothing was executed. Guard changed '
      .. "code with self:patched%%(id%%), or resume the run with the old code. Held.$"):format(id)
    assert.match(pattern, text)
    for _, words in ipairs { { "why", id }, { "show", id }, { "list" } } do
      assert.truthy(scene:must(words):find(text, 1, true), words[1] .. ": " .. scene:must(words))
    end
    assert.equal("it is held: " .. text, scene:json({ "why", id }).reasons[1].text)
    local engine <close> = pipeline.open(scene.db, { no_worker = true, log = function() end })
    engine:serve { port = 0, admin_token = pages.ADMIN }
    local function get(path)
      return pages.ask(engine, { path = "api/" .. path, query = { id = id },
        headers = { authorization = "Bearer " .. pages.ADMIN } }).json
    end
    assert.equal(text, get("stage").stage.held)
    assert.equal(text, get("journal").run.reason)
    assert.equal(text, get("home").held.items[1].held)
  end)
end)
