-- durable/run.lua: runs on files, over several lives and engines.

local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local processes = require "spec.crash.processes"
local pace = require "spec.support.pace"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local directory, group
local name_of, open, workflow = support.name, support.open, support.workflows()

local Add = pipeline.define("durable_run.Add", { run = function(_, a, b) return a + b end })

describe("durable runs", function()
  setup(function()
    directory = processes.directory()
    group = processes.group(directory)
  end)
  teardown(function()
    group:close()
    helper.clean()
  end)

  it("W4 a key that exists is refused, and the run that has it goes on", function()
    local engine <close> = open()
    local class = workflow(function(self) self:sleep(10) return 1 end)
    local stage = class():start { idempotence_key = "k" }
    engine:drain()
    local ok, problem = pcall(function() class():start { idempotence_key = "k" } end)
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.PipelineExistsError))
    assert.equal(1, engine:wait(stage).default.value)
  end)

  it("W73 W74 a timer keeps its time while no process is there, and fires once", function()
    local path, fired = helper.path(), 0
    local class = workflow(function(self)
      local begun = self:now()
      self:sleep(1000)
      fired = self:is_replaying() and fired or fired + 1
      self:sleep(self:now() - begun < 1500 and 5000 or 1)
      return self:now() - begun
    end)
    local id
    do
      local engine <close> = open(path)
      id = class():start().id
      engine:drain()
    end
    do
      local engine <close> = open(path, { virtual_start = 1e9 + 900 })
      engine:drain()
      assert.equal(0, fired)
    end
    local engine <close> = open(path, { virtual_start = 1e9 + 4000 })
    local stage = engine:wait(id)
    assert.is_true(stage.default.value >= 4001 and stage.default.value < 4010)
    assert.equal(1, fired)
  end)

  it("W72 virtual time may begin at 0", function()
    local engine <close> = pipeline.open(":memory:", { virtual_time = true, log = function() end })
    local stage = workflow(function(self)
      self:step({ name = "a", backoff_seconds = 0 }, function()
        if pipeline.step().attempt == 1 then error("no", 0) end
      end)
      self:sleep(0)
      self:sleep(5)
      return self:now()
    end)():start()
    assert.is_true(math.abs(engine:wait(stage).default.value - 5) < 0.5)
  end)

  it("W33 the next attempt of a step is due after a restart as well, and counts on", function()
    local path, attempts = helper.path(), {}
    local class = workflow(function(self)
      return self:step({ name = "a", backoff_seconds = 100 }, function()
        attempts[#attempts + 1] = pipeline.step().attempt
        if #attempts == 1 then error("no", 0) end
        return "done"
      end)
    end)
    local id
    do
      local engine <close> = open(path)
      id = class():start().id
      engine:drain()
      assert.equal("delayed", engine:stage(id).state)
    end
    do
      local engine <close> = open(path, { virtual_start = 1e9 + 50 })
      engine:drain()
      assert.same({ 1 }, attempts)
    end
    local engine <close> = open(path, { virtual_start = 1e9 + 150 })
    assert.equal("done", engine:wait(id).default.value)
    assert.same({ 1, 2 }, attempts)
  end)

  it("W29 W168 a timer and a child that end beside a step do not begin it again", function()
    local engine <close> = open()
    local calls, order = 0, {}
    local stage = workflow(function(self)
      local slow = self:start_step("slow", function()
        calls = calls + 1
        tasklets.await(tasklets.sleep(50))
        return "slow"
      end)
      local child = self:spawn(Add(1, 2))
      self:sleep(3)
      order[#order + 1] = math.floor(pipeline.default():now() - 1e9 + 0.5)
      assert(self:await(child) == 3)
      order[#order + 1] = math.floor(pipeline.default():now() - 1e9 + 0.5)
      return self:await(slow)
    end)():start()
    assert.equal("slow", engine:wait(stage).default.value)
    assert.same({ 1, 3, 3 }, { calls, order[1], order[2] })
  end)

  it("W99 W167 what is there already when the run would be suspended wakes it at once", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local child = self:spawn(Add(1, 2))
      self:step("slow", function() tasklets.await(tasklets.sleep(50)) end)
      return self:await(child)
    end)():start()
    assert.equal(3, engine:wait(stage).default.value)
  end)

  it("W53 W56 children that were spawned exist before the function of a later step begins", function()
    local engine <close> = open()
    local seen
    local class
    class = workflow(function(self)
      for i = 1, 100 do self:spawn(Add(i, i)) end
      self:step("look", function() seen = #engine:tree(self.id, { limit = 1000 }).items end)
    end)
    local stage = class():start()
    engine:wait(stage)
    assert.equal(101, seen)
  end)

  it("W100 a run keeps the value of an output that it was given", function()
    local engine <close> = open()
    local Refill = pipeline.define(name_of "Refill", { output_names = { "x" }, run = function(self)
      self:fill("x", 1, { publish = true })
      engine:sleep(10)
      self:fill("x", 2)
    end })
    local stage = workflow(function(self)
      local f = self:spawn(Refill())
      local before = self:await(f.x)
      self:await(f)
      self:sleep(100)
      return { before, self:await(f.x) }
    end)():start()
    assert.same({ 1, 1 }, engine:wait(stage).default.value)
  end)

  it("W101 W159 a run that waits holds no place: a child in a queue of one place gets it", function()
    local engine <close> = open(nil, { queues = { one = { max_concurrent_requests = 1 } } })
    local stage = workflow(function(self)
      return self:await(self:spawn(Add(1, 2))) + self:await(self:spawn(Add(3, 4)))
    end)():start { queue_name = "one" }
    assert.equal(10, engine:wait(stage).default.value)
  end)

  it("W159 while the result of a step is being committed, others go on: however few places there are", function()
    local engine <close> = open(nil, { concurrency = 1 })
    local executed, most = 0, 0
    local class = workflow(function(self)
      executed = executed + 1
      most = math.max(most, executed)
      for i = 1, 5 do self:step(tostring(i), function() end) end
      executed = executed - 1
    end)
    for _ = 1, 10 do class():start() end
    engine:drain()
    assert.equal(0, executed)
    assert.is_true(most > 1, "one after the other")
  end)

  it("W45 a step at work when the engine stops is cancelled, and its attempt is not counted", function()
    local path, attempts, closed = helper.path(), {}, 0
    local class = workflow(function(self)
      return self:step({ name = "a", max_attempts = 1 }, function()
        attempts[#attempts + 1] = pipeline.step().attempt
        if #attempts > 1 then return "done" end
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        pipeline.default():stop()
        tasklets.await(tasklets.sleep(3600))
      end)
    end)
    local id
    do
      local engine <close> = pipeline.open(path, { stop_grace = 0.01, log = function() end })
      id = class():start().id
      engine:run()
    end
    assert.equal(1, closed)
    local engine <close> = open(path, { virtual_start = os.time() + 1 })
    assert.equal("done", engine:wait(id).default.value)
    assert.same({ 1, 1 }, attempts)
  end)

  it("W55 a commit that fails delivers nothing, and the run is tried again", function()
    local engine <close> = open(nil, { warm_runs = 0 })
    local methods = getmetatable(engine._core).__index
    local journal, failing, calls, after = methods.journal, 1, 0, 0
    finally(function() methods.journal = journal end)
    methods.journal = function(...)
      if failing > 0 then
        failing = failing - 1
        return nil, "EFULL", "disk full"
      end
      return journal(...)
    end
    local stage = workflow(function(self)
      self:step({ name = "a", max_attempts = 1 }, function() calls = calls + 1 end)
      after = after + 1
      self:sleep(1)
    end)():start()
    engine:wait(stage)
    assert.equal(2, calls)
    assert.equal(2, after)
  end)

  it("W170 drain does not wait for runs that wait; with delayed it waits for timers", function()
    local engine <close> = open()
    local Never = pipeline.define(name_of "Never", { async = true, run = function() end })
    local timed = workflow(function(self) self:sleep(500) return 1 end)():start()
    local stuck = workflow(function(self) return self:await(self:spawn(Never())) end)():start()
    engine:drain()
    assert.equal("delayed", engine:stage(timed.id).state)
    engine:drain { delayed = true }
    assert.equal("done", engine:stage(timed.id).state)
    assert.equal("delayed", engine:stage(stuck.id).state)
  end)

  it("W58 a replay of 3,000 entries is linear, and reads pages", function()
    local engine <close> = open()
    local n = 3000
    local stage = workflow(function(self)
      for _ = 1, n do self:step("s", function() return 1 end) end
      self:sleep(1)
      return n
    end)():start()
    assert.equal(n, engine:wait(stage).default.value)
    assert.equal(1000, #engine:get_journal(stage, { limit = 1000 }))
    assert.equal(1, #engine:get_journal(stage, { after = engine:get_journal(stage, { limit = 1 })[1].seq, limit = 1 }))
  end)

  it("a run that is resumed after an abort tries the step again that failed, and no other", function()
    local engine <close> = open()
    local bad, calls, tries = true, 0, 0
    local stage = workflow(function(self)
      self:step("good", function() calls = calls + 1 end)
      self:sleep(1)
      return self:step({ name = "bad", max_attempts = 2, backoff_seconds = 1 }, function()
        tries = tries + 1
        if bad then error("no", 0) end
        return pipeline.step().attempt
      end)
    end)():start()
    assert.is_false(pcall(engine.wait, engine, stage))
    assert.same({ 1, 2 }, { calls, tries })
    bad = false
    assert.is_true(stage:resume())
    assert.equal(1, engine:wait(stage).default.value)
    assert.same({ 1, 3 }, { calls, tries })
  end)

  it("nothing is said of attempts of a run that failed: its steps have them", function()
    local engine <close>, lines = open()
    local stage = workflow(function(self)
      self:step({ name = "bad", max_attempts = 2, backoff_seconds = 1 }, function() error("no luck", 0) end)
    end)():start()
    local _, failure = pcall(engine.wait, engine, stage)
    local told = table.concat(lines, "\n")
    assert.match("step bad of %S+ %S+ failed, attempt 1 of 2: Error: no luck", told)
    assert.match("the tree is aborted: [^\n]+ failed: [^\n]*no luck", told)
    for _, text in ipairs { tostring(failure), engine:why(stage.id)[1].text, told:match "the tree is aborted.*" } do
      assert.match("no luck", text)
      assert.is_nil(text:find("attempt", 1, true), text)
    end
  end)

  it("W153 a class that stays missing holds the run", function()
    local path = helper.path()
    local id
    local class = workflow(function(self) self:sleep(10) return 1 end)
    do
      local engine <close> = open(path)
      id = class():start().id
      engine:drain()
    end
    local registry = require("pipeline.workflow.class").registry
    local name = class.class_path
    registry[name] = nil
    local engine <close> = open(path, { virtual_start = 1e9 + 100, class_load_timeout = 1 })
    engine:drain { delayed = true }
    assert.match("^held: class .* cannot be loaded", engine:stage(id).state_words)
    registry[name] = class
    assert.is_true(engine:resume(id))
    assert.equal(1, engine:wait(id).default.value)
  end)

  it("starts from a plain pipeline, and from a schedule", function()
    local engine <close> = open()
    local Add1 = workflow(function(self, x)
      self:sleep(1)
      return self:step("add", function() return x + 1 end)
    end)
    local Parent = pipeline.define(name_of "Parent", { run = function(self)
      self:spawn(Add1(self:spawn(Add1(1))))
    end })
    assert.equal(3, engine:wait(Parent():start()).default.value)
    require("pipeline.schedules").create(name_of "schedule", { every = 3600, start = Add1(5) })
    engine:advance(3700)
    local found = engine:list { class = Add1.class_path }.items
    assert.equal(1, #found)
    assert.equal(6, engine:wait(found[1].id).default.value)
  end)

  it("an abort ends a run that waits, with its children", function()
    local engine <close> = open()
    local Never = pipeline.define(name_of "Never", {
      async = true, run = function() end, try_cancel = function() return true end,
    })
    local stage = workflow(function(self) return self:await(self:spawn(Never())) end)():start()
    engine:drain()
    assert.is_true(stage:abort("enough"))
    local ok, problem = pcall(engine.wait, engine, stage)
    assert.is_false(ok)
    assert.equal("enough", problem.reason)
    engine:drain()
    for _, item in ipairs(engine:tree(stage.id).items) do assert.equal("aborted", item.state) end
  end)

  it("an abort of a run whose step is at work cancels that", function()
    local engine <close> = open()
    local closed = 0
    local stage
    stage = workflow(function(self)
      self:step("a", function()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        pipeline.from_id(stage.id):abort("enough")
        tasklets.await(tasklets.sleep(3600))
      end)
    end)():start()
    assert.is_false(pcall(engine.wait, engine, stage))
    engine:drain()
    assert.equal(1, closed)
    assert.equal("aborted", engine:stage(stage.id).state)
  end)

  it("W28 a process that was stopped, and whose run another one has finished, writes nothing more", function()
    local path = helper.path()
    local ledger = path .. ".ledger"
    local function read()
      local text = io.open(ledger)
      local all = text and text:read("a") or ""
      if text then text:close() end
      return all
    end
    local pid = group:spawn(directory .. "/output", "spec/durable/worker.lua", path, ledger, "stopped", 0, 60, 1)
    assert(processes.eventually(30, function() return read():find("began", 1, true) end), read())
    group:signal(pid, "STOP")
    local other = group:spawn(directory .. "/output", "spec/durable/worker.lua", path, ledger, "stopped", 0, 60, 1)
    assert(processes.eventually(60, function() return read():find("done|", 1, true) end), read())
    assert(group:wait_for(other, 60))
    assert(io.open(path .. ".go", "w")):close()
    group:signal(pid, "CONT")
    assert(group:wait_for(pid, 60))
    local text = read()
    local _, effects = text:gsub("effect|[^\n]*/after#1", "")
    assert.equal(1, effects, text)
    local _, done = text:gsub("done|finished", "")
    assert.equal(2, done, text) -- both processes are told of the one end
  end)

  it("W28 a run that is aborted by force before its transaction is written ends without a word", function()
    local path, id, tries = helper.path(), nil, 0
    local engine <close>, lines = open(path, { virtual_time = false })
    local stage = workflow(function(self)
      self:step("before", function() end)
      assert(os.execute(("%s -e 'local e <close> = require(\"pipeline\").open(\"%s\", { no_worker = true }) "
        .. "e:act { op = \"abort\", ids = { \"%s\" }, force = true }'"):format(os.getenv("LUA") or "lua5.4", path, id)))
      self:transaction("late", function() tries = tries + 1 end)
    end)():start()
    id = stage.id
    assert.is_false(pcall(engine.wait, engine, stage, { timeout = 60 }))
    engine:drain()
    assert.same({ 1, "aborted" }, { tries, engine:stage(id).state })
    assert.is_nil(table.concat(lines, "\n"):find("claim", 1, true), table.concat(lines, "\n"))
  end)

  it("W164 a run whose process dies in the same step again and again is held", function()
    local path = helper.path()
    local ledger = path .. ".ledger"
    for _ = 1, 6 do
      local pid = group:spawn(directory .. "/output", "spec/durable/worker.lua", path, ledger, "row", 1, 0.5 * pace)
      assert(group:wait_for(pid, 60))
    end
    local engine <close> = pipeline.open(path, { no_worker = true, log = function() end })
    local stage = engine:from_id("the-run")
    local flow = engine._core:journal_get(stage._record.id, { after = 0, limit = 1 })
    assert.equal("held", flow.mode)
    assert.match("5 times", flow.reason)
    assert.is_true(engine:resume("the-run"))
  end)
end)
