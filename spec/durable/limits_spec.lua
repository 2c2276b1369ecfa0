-- Bounds of durable functions: of a value, of the mailbox, of a journal, and how long that is kept.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"
local support = require "spec.durable.support"

local DAY <const> = 86400
local MIB <const> = 1 << 20
local BIG <const> = ("z"):rep(2 * MIB + 1)

describe("bounds of a durable function", function()
  local engine

  after_each(helper.finish)
  teardown(helper.clean)

  local function open(options)
    options = options or {}
    options.warm_runs = support.warm_runs
    engine = helper.open(options)
  end

  local function workflow(definition)
    if type(definition) == "function" then definition = { run = definition } end
    return pipeline.workflow(helper.name("Bound"), definition)
  end

  local function lines_with(text)
    local found = {}
    for _, line in ipairs(helper.log()) do
      if line:find(text, 1, true) then found[#found + 1] = line end
    end
    return found
  end

  local function result(class, ...)
    local stage = class(...):start()
    engine:drain { delayed = true }
    return engine:wait(stage, { timeout = 0 }).default.value, stage
  end

  it("W23 a value above the limit is an error where it is asked for, whoever gives it", function()
    open()
    local calls = 0
    local Child = helper.define(function() return BIG end)
    local value, stage = result(workflow(function(self)
      local errors = {}
      local function try(what, ...)
        local ok, problem = pcall(...)
        assert(not ok, what)
        assert(pipeline.is(problem, pipeline.LimitError), what .. ": " .. tostring(problem))
        errors[#errors + 1] = problem.message
      end
      try("step", self.step, self, "big", function() calls = calls + 1 return BIG end)
      try("transaction", self.transaction, self, "big", function() calls = calls + 1 return BIG end)
      try("child", self.await, self, self:spawn(Child()))
      try("arguments", self.continue_as_new, self, BIG)
      self:sleep(1) -- and again, from the journal
      return errors
    end))
    assert.equal(2, calls)
    assert.match('^result of step "big": %d+ bytes, and at most 2097152 can be kept', value[1])
    assert.match('^result of transaction "big": %d+ bytes, and at most', value[2])
    assert.match("^output of spec%.Class%d+: %d+ bytes, and at most", value[3])
    local failed = 0
    for _, entry in ipairs(engine:get_journal(stage)) do failed = failed + (entry.state == "failed" and 1 or 0) end
    assert.equal(3, failed)
  end)

  it("W22 a result of a transaction that cannot be encoded is rolled back, and not tried again", function()
    open()
    local calls = 0
    local value = result(workflow(function(self)
      local ok, problem = pcall(self.transaction, self, "odd", function(tx)
        calls = calls + 1
        tx:execute("CREATE TABLE odd (x)")
        return coroutine.create(print)
      end)
      return { ok, pipeline.is(problem, pipeline.SerializationError), problem.message }
    end))
    assert.same({ false, true, 1 }, { value[1], value[2], calls })
    assert.match('result of transaction "odd"', value[3])
    assert.equal(0, sql.number(engine, "SELECT count(*) FROM sqlite_master WHERE name = 'odd'"))
  end)

  it("W23 the largest payload that can be sent can be received", function()
    open()
    local stage = workflow(function(self) return #self:wait_event("x") end)():start()
    engine:drain()
    local problem = helper.raises(pipeline.LimitError, engine.signal, engine, stage, "x", BIG)
    assert.match("payload: %d+ bytes, and at most 2097152 can be sent", problem.message)
    assert.is_true(engine:signal(stage, "x", ("z"):rep(2 * MIB - 5)))
    assert.equal(2 * MIB - 5, engine:wait(stage).default.value)
  end)

  it("W88 a full mailbox is an error of the sender; the run takes what is there, and can be sent more", function()
    open { transaction_timeout = 60 } -- a slow machine is not the question
    local stage = workflow(function(self)
      self:wait_event("go")
      local sum = 0
      for _ = 1, 10000 do sum = sum + self:wait_event("x") end
      return sum
    end)
    stage = workflow { journal_limit = { entries = 30000 }, run = rawget(stage, "run") }():start()
    engine:drain()
    engine:transaction(function()
      for i = 1, 10000 do assert(engine:signal(stage, "x", i)) end
    end)
    local problem = helper.raises(pipeline.LimitError, engine.signal, engine, stage, "go")
    assert.match('signal "go": the mailbox of .* is full: 10,000 signals, or 16 MiB of them', problem.message)
    assert.equal("suspended", engine._core:journal_get(stage._id).mode)
  end)

  it("W88 so is one with too many bytes", function()
    open()
    local stage = workflow(function(self)
      local sum = 0
      for _ = 1, 9 do sum = sum + #self:wait_event("x") end
      return sum
    end)():start { countdown = 100 }
    local large = ("z"):rep(2 * MIB - 8)
    for _ = 1, 8 do assert.is_true(engine:signal(stage, "x", large)) end
    helper.raises(pipeline.LimitError, engine.signal, engine, stage, "x", large)
    assert.is_true(engine:signal(stage, "x", "small")) -- a few bytes more harm nobody
    engine:drain { delayed = true }
    assert.equal(8 * #large + 5, engine:wait(stage, { timeout = 0 }).default.value)
  end)

  it("W146 warns once in an era that a journal grows long, and not in a replay", function()
    open()
    local value = result(workflow(function(self, era)
      local said
      for i = 1, 2010 do
        self:go(function() self:timer(0) end)
        if self:history().suggested then said = said or i end
      end
      self:sleep(10)
      said = said or self:history().suggested and "then"
      self:sleep(10)
      if era == 2 then return said end
      return self:continue_as_new(era + 1)
    end), 1)
    assert.equal("then", value)
    local said = lines_with("has a long journal")
    assert.equal(2, #said)
    assert.match("2011 entries, %d+ bytes %(it can have 10000 and 52428800%)", said[1])
  end)

  it("W147 bytes are bounded as entries are, and both leave room to clean up", function()
    open()
    local value = result(workflow { journal_limit = { entries = 50, bytes = 100000 }, run = function(self)
      local big = ("y"):rep(30000)
      for i = 1, 10 do
        local ok, problem = pcall(self.step, self, "a", function() return big end)
        if not ok then
          local cleaned = 0
          for _ = 1, 200 do
            if pcall(self.step, self, "clean", function() end) then cleaned = cleaned + 1 end
          end
          return { i, problem.message, cleaned }
        end
      end
    end })
    assert.equal(5, value[1])
    assert.match("^self:step: the journal of this run is full: it has %d+ bytes %(journal_limit: 50 entries, 100000 " ..
      "bytes%)", value[2])
    assert.equal(200, value[3])
  end)

  local function journal_rows(stage)
    return sql.number(engine, "SELECT count(*) FROM pl_journal WHERE stage = " .. stage._id)
  end

  it("W148 a journal goes a week after its run is done, a month after it was aborted; the run itself stays", function()
    open()
    local class = workflow(function(self, fails)
      self:step("large", function() return ("x"):rep(5000) end)
      if fails then error(pipeline.Abort("no")) end
      return "out"
    end)
    local _, done = result(class)
    local aborted = class(true):start()
    local live = workflow(function(self) self:step("a", print) self:wait_event("never") end)():start()
    engine:drain { delayed = true }
    engine:advance(7 * DAY - 100)
    assert.same({ 1, 1, 1 }, { journal_rows(done), journal_rows(aborted), journal_rows(live) - 1 })
    engine:advance(200)
    assert.same({ 0, 1, 1 }, { journal_rows(done), journal_rows(aborted), journal_rows(live) - 1 })
    assert.equal("out", engine:wait(done, { timeout = 0 }).default.value)
    assert.same({}, engine:get_journal(done))
    assert.same({ false, "final" }, { engine:signal(done, "x") })
    engine:advance(23 * DAY)
    assert.same({ 0, 1 }, { journal_rows(aborted), journal_rows(live) - 1 })
    assert.equal(0, sql.number(engine, "SELECT count(*) FROM pl_journal_large"))
    assert.same({}, engine:check())
  end)

  it("W148 the ages are an option; a tree that is resumed without its journal is held", function()
    open { journal_retention = { done = false, aborted = "1h" } }
    assert.same({ done = false, aborted = 3600.0 }, engine:status().retention.journals)
    local calls = 0
    local class = workflow(function(self, fails)
      self:step("a", function() calls = calls + 1 end)
      if fails then error(pipeline.Abort("no")) end
      return calls
    end)
    local _, done = result(class)
    local list = {}
    for i = 1, 100 do list[i] = class(true):start() end
    engine:drain { delayed = true }
    engine:advance(3700)
    assert.same({ 1, 1 }, { journal_rows(done), sql.number(engine, "SELECT count(*) FROM pl_journal") })
    assert.equal(1, engine:act { op = "resume", ids = { list[50].id } }.done)
    assert.equal(0, sql.number(engine, "SELECT count(*) FROM pl_task WHERE state <> 1")) -- not even claimed
    engine:drain { delayed = true }
    assert.same({ 101, "held" }, { calls, engine._core:journal_get(list[50]._id).mode })
    assert.match("its journal is deleted", engine:stage(list[50].id).state_words)
    assert.same({}, engine:check())
    helper.misuse("option 'journal_retention': 'done': seconds, a text", pipeline.open, ":memory:",
      { journal_retention = { done = "soon" } })
  end)
end)
