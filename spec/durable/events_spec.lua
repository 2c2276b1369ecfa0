-- durable/body/events.lua and durable/mailbox.lua: signals, transactions, eras.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local open, workflow = support.open, support.workflows { backoff_seconds = 1 }

teardown(helper.clean)

describe("signals", function()
  it("W78 W79 come before or after the wait, in their order, each to a wait of its name", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local got = { self:wait_event("a"), self:wait_event("b"), self:wait_event("a") }
      got[4] = self:wait_event("a")
      return got
    end)():start()
    for i = 1, 2 do assert.is_true(engine:signal(stage, "a", "a" .. i)) end
    assert.is_true(stage:signal("b", { "b", 1 }))
    engine:drain()
    assert.match("suspended: it waits for signal a", engine:stage(stage.id).state_words)
    assert.is_true(engine:signal(stage.id, "a", nil))
    assert.same({ "a1", { "b", 1 }, "a2" }, engine:wait(stage).default.value)
  end)

  it("W82 W83 W84 a timeout is recorded; what comes later goes to the next wait", function()
    local engine <close> = open()
    local seen = {}
    local stage = workflow(function(self)
      local ok, problem = pcall(self.wait_event, self, "x", { timeout = 10 })
      local first = { ok, pipeline.is(problem, pipeline.TimeoutError) }
      local second = self:wait_event("x", { timeout = 1000 })
      seen[#seen + 1] = first
      self:sleep(1)
      return { first[1], first[2], second }
    end)():start()
    engine:drain()
    engine:advance(20)
    engine:drain()
    assert.is_true(engine:signal(stage, "x", "late"))
    assert.same({ false, true, "late" }, engine:wait(stage).default.value)
    for _, each in ipairs(seen) do assert.same({ false, true }, each) end
  end)

  it("W85 a key is delivered once, also after it was taken", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local got = { self:wait_event("x"), self:wait_event("x") }
      return got
    end)():start { idempotence_key = "run" }
    assert.is_true(engine:signal("run", "x", 1, { key = "k" }))
    assert.is_true(engine:signal("run", "x", 1, { key = "k" }))
    engine:drain()
    assert.is_true(engine:signal("run", "x", 1, { key = "k" }))
    engine:drain()
    assert.equal("delayed", engine:stage(stage.id).state)
    assert.is_true(engine:signal("run", "x", 2))
    assert.same({ 1, 2 }, engine:wait(stage).default.value)
  end)

  it("W86 to what is final, or is not there, are refused", function()
    local engine <close> = open()
    local stage = workflow(function() end)():start()
    engine:wait(stage)
    assert.same({ false, "final" }, { engine:signal(stage, "x") })
    assert.same({ false, "not_found" }, { engine:signal("nobody", "x") })
    local plain = pipeline.common.Return(1):start { idempotence_key = "plain" }
    local ok, problem = pcall(engine.signal, engine, "plain", "x")
    assert.is_false(ok)
    assert.match("no durable function", problem.message)
    engine:wait(plain)
  end)

  it("W87 may start the run that they are for, once", function()
    local engine <close> = open()
    local class = workflow(function(self, base) return base + self:wait_event("x") + self:wait_event("x") end)
    assert.is_true(engine:signal("the-key", "x", 1, { start = class(100) }))
    assert.is_true(engine:signal("the-key", "x", 2, { start = class(500) }))
    assert.equal(103, engine:wait("the-key").default.value)
  end)

  it("W89 that nothing takes wake nobody, and are told of once at the end", function()
    local engine <close>, lines = open()
    local stage = workflow(function(self) self:sleep(100) end)():start()
    engine:drain()
    for _ = 1, 3 do engine:signal(stage, "other", 1) end
    engine:drain()
    assert.match("waits for timer", engine:stage(stage.id).state_words)
    engine:wait(stage)
    local count = 0
    for _, line in ipairs(lines) do
      if line:find('has ended, and nothing in it has taken signal "other"', 1, true) then count = count + 1 end
    end
    assert.equal(1, count)
  end)

  it("W80 W81 W91 many are delivered one after the other, over restarts", function()
    local path, n = helper.path(), 250
    local id
    local class = workflow(function(self)
      local sum = 0
      for _ = 1, n do sum = sum * 3 % 1000003 + self:wait_event("x") end
      return sum
    end)
    do
      local engine <close> = open(path)
      local stage = class():start()
      id = stage.id
      engine:drain()
      for i = 1, 120 do engine:signal(stage, "x", i) end
      engine:drain()
    end
    local engine <close> = open(path, { virtual_start = 1e9 + 10 })
    for i = 121, n do engine:signal(id, "x", i) end
    local sum = 0
    for i = 1, n do sum = sum * 3 % 1000003 + i end
    assert.equal(sum, engine:wait(id).default.value)
  end)

  it("W93 W94 reach a run that waits beside a step, and go with the transaction they are sent in", function()
    local engine <close> = open()
    local stage
    stage = workflow(function(self)
      local slow = self:start_step("slow", function()
        tasklets.await(tasklets.sleep(1))
        pcall(engine.transaction, engine, function()
          engine:signal(stage, "x", "lost")
          error("rolled back")
        end)
        engine:transaction(function() engine:signal(stage, "x", "kept") end)
        tasklets.await(tasklets.sleep(1000))
      end)
      local got, at = self:wait_event("x"), self:now()
      self:await(slow)
      return { got, at < 1e9 + 10 }
    end)():start()
    assert.same({ "kept", true }, engine:wait(stage).default.value)
  end)

  it("are members of a select, and end with it", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local first = self:select { x = "x", late = 10 }
      local second, value = self:select { x = "x", y = "y", late = 1000 }
      return { first, second, value, self:wait_event("x") }
    end)():start()
    engine:drain()
    engine:advance(20)
    engine:drain()
    engine:signal(stage, "y", "why")
    engine:signal(stage, "x", "ex")
    assert.same({ "late", "y", "why", "ex" }, engine:wait(stage).default.value)
  end)

  it("are refused where they have no place", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      return { pcall(engine.signal, engine, self, "x", 1) }
    end)():start()
    assert.is_false(engine:wait(stage).default.value[1])
    assert.is_false(pcall(engine.signal, engine, stage, ""))
    assert.is_false(pcall(engine.signal, engine, stage, "x", coroutine.create(print)))
  end)
end)

describe("transactions of a durable function", function()
  it("W50 W51 commit the rows, the result and what was asked for together, once", function()
    local engine <close> = open()
    engine:transaction(function(tx) tx:execute("CREATE TABLE ledger (cents INTEGER)") end)
    local calls = 0
    local stage = workflow(function(self)
      local sum = self:transaction("book", function(tx)
        calls = calls + 1
        tx:execute("INSERT INTO ledger VALUES (?)", 100)
        return tx:query("SELECT sum(cents) AS s FROM ledger")[1].s
      end)
      self:sleep(10)
      return sum
    end)():start()
    assert.equal(100, engine:wait(stage).default.value)
    assert.equal(1, calls)
    engine:transaction(function(tx) assert.equal(1, #tx:query("SELECT * FROM ledger")) end)
  end)

  it("W50 that raise are rolled back, and tried again as steps are", function()
    local engine <close> = open()
    engine:transaction(function(tx) tx:execute("CREATE TABLE ledger (cents INTEGER)") end)
    local calls = 0
    local stage = workflow(function(self)
      local first = self:transaction("book", function(tx)
        calls = calls + 1
        tx:execute("INSERT INTO ledger VALUES (?)", calls)
        if calls == 1 then error("no", 0) end
        return calls
      end)
      local ok, problem = pcall(self.transaction, self, "bad", function(tx)
        tx:execute("INSERT INTO ledger VALUES (1000)")
        error(pipeline.Abort("never"))
      end)
      return { first, ok, problem.message }
    end)():start()
    assert.same({ 2, false, "never" }, engine:wait(stage).default.value)
    engine:transaction(function(tx)
      local rows = tx:query("SELECT cents FROM ledger")
      assert.same({ 1, 2 }, { #rows, rows[1].cents })
    end)
  end)
end)

describe("continue_as_new", function()
  it("W142 W143 begins anew with the same id, its mailbox and its callers", function()
    local engine <close> = open()
    local stage = workflow(function(self, n, sum)
      local era = self:history().era
      assert(era == n)
      if n == 3 then return { sum, self:wait_event("x"), self:wait_event("x") } end
      local value = self:step("s", function() return n end)
      if n == 1 then self:wait_event("go") end
      return self:continue_as_new(n + 1, sum + value)
    end)(0, 0):start()
    engine:drain()
    engine:signal(stage, "x", "first")
    engine:signal(stage, "go")
    engine:signal(stage, "x", "second")
    assert.same({ 3, "first", "second" }, engine:wait(stage).default.value)
    assert.is_true(#engine:get_journal(stage) < 10)
  end)

  it("W57 W67 W145 W146 keys and random numbers differ from era to era, and the journal stays short", function()
    local engine <close> = open()
    local keys, numbers, times = {}, {}, {}
    local stage = workflow(function(self, n)
      keys[self:step("k", function() return pipeline.step().key end)] = true
      numbers[self:uuid()] = true
      times[#times + 1] = self:now()
      self:sleep(10)
      if n == 20 then return self:history().suggested end
      return self:continue_as_new(n + 1)
    end)(1):start()
    assert.is_false(engine:wait(stage).default.value)
    local function count(t) local c = 0 for _ in pairs(t) do c = c + 1 end return c end
    assert.same({ 20, 20 }, { count(keys), count(numbers) })
    for i = 2, #times do assert.is_true(times[i] >= times[i - 1]) end
  end)

  it("W142 that is not returned is a mistake", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:continue_as_new(1)
      return 2
    end)():start()
    local ok, problem = pcall(engine.wait, engine, stage)
    assert.is_false(ok)
    assert.match("run must return what it returns", problem.reason)
  end)
end)
