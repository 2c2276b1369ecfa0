--- retry, resume, abort, cleanup, complete, callback: acting on pipelines from the shell.

local schema = require "spec.command.schema"
local shapes = require "spec.command.shapes"
local support = require "spec.command.support"

describe("acting on pipelines", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  local function start(...)
    return (scene:must { "start", "--module", "demo.lua", ... }):match("%S+")
  end

  local function act(words, expected)
    local value = scene:json(words, nil, expected)
    assert.equal("", schema.check(value, shapes.act))
    return value
  end

  local function state(id) return scene:json({ "show", id, "--depth", "0" }).state end

  -- An async pipeline that waits for its callback.
  local function asked()
    local id = start("demo.Ask")
    local worker = scene:worker()
    assert.is_true(support.eventually(support.SECONDS, function() return state(id) == "open" end))
    scene:stop(worker)
    return id
  end

  it("aborts one, and cleans it up when a worker has ended it", function()
    local id = start("demo.Add", "1", "2", "--in", "1h")
    assert.equal(1, act({ "abort", id, "--reason", "not wanted" }).done)
    local worker = scene:worker()
    assert.is_true(support.eventually(support.SECONDS, function() return state(id) == "aborted" end))
    scene:stop(worker)
    assert.truthy(scene:must({ "show", id }):find("not wanted", 1, true))
    assert.equal(1, #act({ "abort", id }, 1).refused)
    assert.equal(1, act({ "cleanup", id }).done)
    assert.equal(3, (scene:run { "show", id }))
  end)

  it("refuses to clean up what still runs, with exit code 1 and the reason", function()
    local id = start("demo.Add", "1", "2", "--in", "1h")
    local result = act({ "cleanup", id }, 1)
    assert.equal(0, result.done)
    assert.truthy(result.refused[1].why:find("abort it first", 1, true))
  end)

  it("resumes what was aborted, and it ends well", function()
    scene:write("fragile.lua", [[
      local pipeline = require "pipeline"
      pipeline.define("fragile.One", { max_attempts = 1, run = function()
        if not io.open("mended") then error("not mended", 0) end
        return "mended"
      end })
    ]])
    local words = { "start", "fragile.One", "--module", "fragile.lua", "--key", "one", "--wait", "-q" }
    scene:must(words, nil, 1)
    scene:write("mended", "")
    assert.equal(1, act({ "resume", "key:one" }).done)
    local worker = scene:spawn { "worker", "fragile.lua" }
    assert.is_true(support.eventually(support.SECONDS, function() return state("key:one") == "done" end))
    scene:stop(worker)
    assert.truthy(act({ "resume", "key:one" }, 1).refused[1].why:find("not aborted", 1, true))
  end)

  it("acts on many by filters, after a confirmation that says how many", function()
    for i = 1, 3 do start("demo.Add", tostring(i), "1", "--in", "1h") end
    start("demo.Say", "--in", "1h")
    local code, _, err = scene:run { "abort", "--class", "demo.Add" }
    assert.equal(2, code)
    assert.truthy(err:find("abort 3 pipelines", 1, true) and err:find("--yes", 1, true), err)
    assert.equal(3, act({ "abort", "--class", "demo.Add", "--dry-run" }).matched)
    local screen
    code, screen = scene:terminal({ "abort", "--class", "demo.Add" }, { send = { { "[y/N]", "y\\n" } } })
    assert.equal(0, code, screen)
    assert.equal(1, act({ "abort", "--class", "demo.Say", "--yes" }).done)
    code, _, err = scene:run { "abort" }
    assert.equal(2, code)
    assert.truthy(err:find("which pipelines?", 1, true), err)
  end)

  it("acts on nothing where a filter is empty, as that of a variable without a value", function()
    local id = start("demo.Add", "1", "1", "--in", "1h")
    for _, filter in ipairs { "--class", "--queue", "--key", "--text", "--error" } do
      local code, _, err = scene:run { "abort", filter, "", "--yes" }
      assert.equal(2, code)
      assert.truthy(err:find(filter .. " is empty", 1, true), err)
    end
    assert.equal(2, (scene:run { "forget", "--text", "", "--yes" }))
    assert.equal("delayed", state(id))
  end)

  it("says of many only how many it would be, not of those that would be refused", function()
    local ids = {}
    for i = 1, 3 do ids[i] = start("demo.Add", tostring(i), "1", "--in", "1h") end
    act({ "abort", ids[1] })
    local said = scene:must { "abort", "--class", "demo.Add", "--dry-run" }
    assert.truthy(said:find("abort 2 pipelines (1 more would be refused)", 1, true), said)
    assert.equal(3, act({ "abort", "--class", "demo.Add", "--dry-run" }).matched)
  end)

  it("leaves alone what is started while somebody is said", function()
    local pipeline, confirm = require "pipeline", require "pipeline.command.confirm"
    local Waits = pipeline.define("command.acts.Waits", { run = function() end })
    local engine <close> = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1e9, log = function() end })
    local first, second, said, ask = Waits():start { countdown = 3600 }, nil, nil, confirm.ask
    engine:advance(1)
    rawset(confirm, "ask", function(_, what)
      said = what
      engine:advance(1)
      second = Waits():start { countdown = 3600 }
    end)
    local given = { command = "abort", ids = {}, module = {}, class = "command.acts.Waits" }
    local out = { json = function() end, say = function() end, note = function() end }
    for _, command in ipairs(require "pipeline.command.group.acts") do
      if command.name == "abort" then
        command.run { given = given, out = out, open = function() return engine end }
      end
    end
    rawset(confirm, "ask", ask)
    assert.equal("abort 1 pipeline", said)
    assert.equal("delayed", engine:stage(second.id).state)
    assert.not_equal("delayed", engine:stage(first.id).state)
  end)

  it("completes an async pipeline with a value", function()
    local id = asked()
    scene:must { "complete", id, '{"approved": true}' }
    local worker = scene:worker()
    assert.is_true(support.eventually(support.SECONDS, function() return state(id) == "done" end))
    scene:stop(worker)
    assert.is_true(scene:json({ "show", id, "--outputs" }).stages[1].outputs[1].value.approved)
    assert.equal(1, (scene:run { "complete", id, "1" }))
    local code, _, err = scene:run { "complete", start("demo.Add", "1", "2") }
    assert.equal(1, code)
    assert.truthy(err:find("not async", 1, true), err)
  end)

  it("calls an async pipeline back, with parameters", function()
    local id = asked()
    scene:must { "callback", id, "answer=yes, please", "--module", "demo.lua" }
    local stage = scene:json({ "show", id, "--outputs" }).stages[1]
    assert.equal("yes, please", stage.outputs[1].value)
    assert.equal(1, (scene:run { "callback", id, "answer=no", "--module", "demo.lua" }))
    assert.equal(2, (scene:run { "callback", id, "answer" }))
  end)

  it("C8 says so when there is no such pipeline", function()
    start("demo.Add", "1", "2")
    for _, command in ipairs { "retry", "resume", "abort", "cleanup", "complete", "callback" } do
      assert.equal(3, (scene:run { command, "key:nothing" }), command)
    end
  end)
end)
