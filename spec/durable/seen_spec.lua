-- how durable functions are seen: words of their state, why, the command.

local command = require "pipeline.command.grammar"
local pipeline = require "pipeline"
local support = require "spec.durable.support"

local open, workflow = support.open, support.workflows()

describe("a durable function that waits", function()
  it("W175 says for which timer, child or attempt", function()
    local engine <close> = open()
    local Never = pipeline.define("durable_seen.Never", { async = true, run = function() end })
    local sleeping = workflow(function(self) self:sleep(1000) end)():start()
    local parent = workflow(function(self) self:await(self:spawn(Never())) end)():start()
    local failing = workflow(function(self)
      self:step({ name = "pay", backoff_seconds = 60 }, error, "no money", 0)
    end)():start()
    engine:drain()
    local expected = {
      [sleeping] = "waits for timer until 2001%-09%-09T02:03:20Z",
      [parent] = "waits for child durable_seen.Never %x+",
      [failing] = "waits for attempt 2 of step pay at 2001%-09%-09T01:47:40Z, after Error: no money",
    }
    for stage, words in pairs(expected) do
      local seen = engine:stage(stage.id)
      assert.equal("delayed", seen.state)
      assert.match("^suspended: it " .. words, seen.state_words)
      assert.match(words, seen.suspended)
      local reasons = engine:why(stage.id)
      assert.equal("suspended", reasons[1].code)
      assert.match("^it is suspended, and " .. words, reasons[1].text)
    end
  end)

  it("W175 says why it is held, and what lets it go on", function()
    local engine <close> = open()
    local n = 0
    local stage = workflow(function(self)
      n = n + 1
      self:step("step" .. n, print)
      self:sleep(10)
    end)():start()
    engine:drain { delayed = true }
    local seen = engine:stage(stage.id)
    assert.match("^held: NondeterminismError: " .. stage.class_path:gsub("%p", "%%%0") .. " " .. stage.id
      .. ': entry 1 of the journal is step "step1".* Held.$', seen.state_words)
    local reason = engine:why(stage.id)[1]
    assert.equal("held_run", reason.code)
    assert.equal("pipeline resume-run " .. stage.id, reason.command)
  end)

  it("is shown, and gets a signal, by the command", function()
    local processes = require "spec.crash.processes"
    local directory = processes.directory()
    finally(function() os.execute("rm -rf " .. processes.quote(directory)) end)
    local path = directory .. "/a.db"
    local class = workflow(function(self)
      return self:step("first", function() return 7 end) + self:wait_event("more")
    end)
    local engine <close> = pipeline.open(path, { log = function() end })
    local stage = class():start()
    engine:drain()
    local function run(...)
      local pipe = assert(io.popen(("%s lua/pipeline/command/script.lua --db %s %s 2>&1"):format(
        os.getenv("LUA") or "lua5.4", path, table.concat({ ... }, " "))))
      local text = pipe:read("a")
      return pipe:close(), text
    end
    local ok, text = run("journal", stage.id)
    assert(ok, text)
    assert.match("step +first#1 +ok", text)
    assert.match("event +more#1 +open", text)
    ok, text = run("hold", stage.id, "--reason", "'the bank is closed'")
    assert(ok, text)
    ok, text = run("hold", stage.id)
    assert(not ok and text:find("is held already", 1, true), text)
    ok, text = run("signal", stage.id, "more", "35")
    assert(ok, text)
    engine:drain()
    assert.match("held: the bank is closed", engine:explain(stage))
    ok, text = run("resume-run", stage.id)
    assert(ok, text)
    assert.equal(42, engine:wait(stage).default.value)
    ok, text = run("signal", stage.id, "more", "35")
    assert.is_falsy(ok)
    assert.match("is final", text)
    ok, text = run("resume-run", stage.id)
    assert(not ok and text:find("final", 1, true), text)
  end)

  it("W175 is explained in a line and a table, and counted in the status", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:start_step({ name = "pay", key = 7, backoff_seconds = 60 }, error, "no money", 0)
      self:wait_event("answer", { timeout = 3600 })
    end)():start()
    engine:drain()
    engine:signal(stage, "other", 1)
    local line, found = engine:explain(stage)
    assert.match("^spec.durable.W%d+ %x+: suspended: it waits for signal answer", line)
    assert.same({ "suspended", 0, 1, 2 }, { found.mode, found.era, found.mails, #found.pending })
    local pay, answer = table.unpack(found.pending)
    assert.same({ "step", "pay", "7", 1, "Error: no money" }, { pay.kind, pay.name, pay.key, pay.attempt, pay.error })
    assert.same({ "event", "answer", 1e9 + 3600 }, { answer.kind, answer.name, answer.due })
    local runs = engine:status().runs
    assert.same({ 0, 1, 0, 0 }, { runs.begun, runs.suspended, runs.held, runs.over })
    assert.is_true(runs.bytes > 0)
  end)

  it("tells hooks that it waits, is replayed, is held", function()
    local engine <close> = open()
    local heard = {}
    for _, name in ipairs { "run_suspended", "run_replayed", "run_held" } do
      engine:on(name, function(event) heard[#heard + 1] = event end)
    end
    local n = 0
    local stage = workflow(function(self)
      n = n + 1
      self:step(n < 3 and "step" or "other", function() end)
      self:sleep(10)
      self:sleep(10)
    end)():start()
    engine:drain { delayed = true }
    local names = {}
    for i, event in ipairs(heard) do
      names[i] = event.event
      assert.equal(stage.id, event.id)
      assert.equal(stage.class_path, event.class)
    end
    assert.same({ "run_suspended", "run_replayed", "run_suspended", "run_replayed", "run_held" }, names)
    assert.equal(1e9 + 10, heard[1].due)
    assert.match("^waits for timer", heard[1].reason)
    assert.equal(2, heard[2].entries)
    assert.match("^NondeterminismError", heard[5].reason)
  end)

  it("is asked, and forked, by the command", function()
    local processes = require "spec.crash.processes"
    local json = require "cjson"
    local directory = processes.directory()
    finally(function() os.execute("rm -rf " .. processes.quote(directory)) end)
    local path, module = directory .. "/a.db", directory .. "/counts.lua"
    local file = assert(io.open(module, "w"))
    file:write([[
      return require("pipeline").workflow("counts.Counts", { run = function(self, n)
        self:on_query("count", function(add) return { count = n + (add or 0) } end)
        n = n + self:step("add", function() return 1 end)
        self:wait_event("go")
      end })
    ]])
    file:close()
    local engine <close> = pipeline.open(path, { log = function() end })
    local stage = assert(loadfile(module))()(5):start()
    engine:drain()
    local function run(...)
      local pipe = assert(io.popen(("%s lua/pipeline/command/script.lua --db %s %s 2>&1"):format(
        os.getenv("LUA") or "lua5.4", path, table.concat({ ... }, " "))))
      local text = pipe:read("a")
      return pipe:close(), text
    end
    local ok, text = run("query", stage.id, "count", "10", "--json", "--module", module)
    assert(ok, text)
    local schema, shapes = require "spec.command.schema", require "spec.command.shapes"
    assert.same({ value = { count = 16 }, results = { { count = 16 } } }, json.decode(text))
    assert.equal("", schema.check(json.decode(text), shapes.query))
    ok, text = run("query", stage.id, "count", "--module", module)
    assert(ok and text == '{"count":6}\n', text)
    ok, text = run("query", stage.id, "none", "--module", module)
    assert(not ok and text:find("there are: count", 1, true), text)
    ok, text = run("fork", stage.id, "add", "--key", "the-fork", "--json", "--module", module)
    assert(ok, text)
    assert.same({ id = "the-fork", done = true }, json.decode(text:match("{.-}")))
    assert.equal("", schema.check(json.decode(text:match("{.-}")), shapes.fork))
    engine:drain()
    assert.match("waits for signal go", engine:stage("key:the-fork").state_words)
    ok, text = run("fork", stage.id, "nothing", "--module", module)
    assert.is_falsy(ok)
    assert.match('no entry of the journal of counts.Counts is called "nothing"', text)
  end)

  it("has commands for its journal and for going on", function()
    for _, name in ipairs { "journal", "query", "signal", "fork", "hold", "resume-run" } do
      assert.is_table((command.find(name)))
    end
  end)
end)
