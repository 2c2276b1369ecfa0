-- Durable functions that are suspended, and kept in memory: they go on where they are, as a replay would.

local pipeline = require "pipeline"
local support = require "spec.durable.support"
local warm = require "pipeline.flow.warm"

local workflow, paths = support.workflows(), {}

local function path_of()
  local path = os.tmpname()
  paths[#paths + 1] = path
  os.remove(path)
  return path
end

local function open(path, given)
  given = given or {}
  given.warm_runs = given.warm_runs or 1000
  return support.open(path, given)
end

local function replays(engine)
  return engine._replays and engine._replays.runs or 0
end

-- A run that tells how often its body was entered.
local function waiter(counts)
  return workflow(function(self)
    counts.entered = counts.entered + 1
    local sum = 0
    while true do
      local value = self:wait_event("go")
      if not value then return sum end
      sum = sum + self:step("add", function() return value end)
    end
  end)
end

describe("a suspended run that is kept in memory", function()
  teardown(function()
    for _, path in ipairs(paths) do
      for _, suffix in ipairs { "", "-wal", "-shm", "-workers" } do os.remove(path .. suffix) end
    end
  end)

  it("W162 goes on where it is: its body is entered once", function()
    local engine <close> = open()
    local counts = { entered = 0 }
    local stage = waiter(counts)():start()
    for i = 1, 5 do
      engine:drain()
      engine:signal(stage, "go", i)
    end
    engine:drain()
    engine:signal(stage, "go", false)
    assert.equal(15, engine:wait(stage).default.value)
    assert.same({ 1, 0 }, { counts.entered, replays(engine) })
    assert.equal(0, engine._warm.count)
  end)

  it("W162 goes on after a timer, a retry, a child, an update, a transaction, in branches", function()
    local engine <close> = open()
    local Child = workflow(function(self) self:sleep(5) return 3 end)
    local entered, attempts = 0, 0
    local stage = workflow(function(self)
      entered = entered + 1
      local total = 0
      self:on_update("add", nil, function(n) total = total + n return total end)
      local branch = self:go(function()
        self:sleep(3)
        return self:transaction("rows", function(tx)
          tx:execute("CREATE TABLE IF NOT EXISTS warm_rows (n)")
          return 5
        end)
      end)
      total = total + self:await(self:spawn(Child()))
      total = total + self:step({ name = "flaky", backoff_seconds = 9 }, function()
        attempts = attempts + 1
        if attempts < 3 then error("no", 0) end
        return attempts
      end)
      total = total + self:await(branch)
      self:sleep(1)
      self:wait_event("end")
      return total
    end)():start()
    engine:drain { delayed = true }
    assert.equal(111, engine:update(stage, "add", 100))
    engine:signal(stage, "end")
    assert.equal(111, engine:wait(stage).default.value)
    assert.same({ 1, 3 }, { entered, attempts })
  end)

  it("W159 is kept within the bounds of number and bytes, and the oldest goes first", function()
    local list = warm.new(2, 100)
    list:keep(1, "a", 10)
    list:keep(2, "b", 10)
    list:keep(1, "a again", 20)
    list:keep(3, "c", 10)
    assert.same({ nil, 2, 30 }, { [2] = list.count, [3] = list.bytes })
    assert.is_nil(list:take(2))
    assert.equal("a again", list:take(1))
    list:keep(4, "d", 95)
    assert.same({ 1, 95 }, { list.count, list.bytes })
    assert.is_nil(list:take(3))
    list:keep(5, "e", 101)
    assert.same({ 0, 0, false, false }, { list.count, list.bytes, list.oldest, list.newest })
    local engine <close> = open(nil, { warm_runs = 2 })
    local counts = { entered = 0 }
    local class, stages = waiter(counts), {}
    for i = 1, 3 do
      stages[i] = class():start()
      engine:drain()
    end
    assert.equal(2, engine._warm.count)
    for _, stage in ipairs(stages) do engine:signal(stage, "go", 1) end
    engine:drain()
    assert.equal(4, counts.entered) -- the first one had to begin anew
  end)

  it("W159 with warm_runs = 0 nothing is kept, and each resumption is a replay; other values are refused", function()
    local engine <close> = open(nil, { warm_runs = 0 })
    local counts = { entered = 0 }
    local stage = waiter(counts)():start()
    for _ = 1, 3 do
      engine:drain()
      engine:signal(stage, "go", 1)
    end
    engine:drain()
    assert.same({ 4, false }, { counts.entered, engine._warm })
    for _, bad in ipairs { { warm_runs = -1 }, { warm_runs = 1.5 }, { warm_runs = "many" }, { warm_bytes = "x" } } do
      local ok, problem = pcall(open, nil, bad)
      assert.is_false(ok)
      assert.match("warm_", tostring(problem))
    end
  end)

  it("W160 one that goes is dropped, not closed: no code of it runs; nothing of it stays in memory", function()
    local closed, caught = 0, 0
    local held = setmetatable({}, { __mode = "v" })
    local class = workflow(function(self)
      local thing = {}
      held[#held + 1] = thing
      local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
      local ok = pcall(self.wait_event, self, "go")
      if not ok then caught = caught + 1 end
      return thing
    end)
    local engine <close> = open(nil, { warm_runs = 1 })
    local first = class():start()
    engine:drain()
    class():start()
    engine:drain()
    collectgarbage()
    collectgarbage()
    local left = 0
    for _ in pairs(held) do left = left + 1 end
    assert.same({ 0, 0, 1 }, { closed, caught, left })
    engine:signal(first, "go")
    engine:wait(first)
    assert.same({ 1, 0 }, { closed, caught })
    engine:close()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(held))
    assert.same({ 1, 0 }, { closed, caught })
  end)

  it("W165 another engine on the file has gone on with it: the body here is dropped before anything of it runs",
    function()
      local path = path_of()
      local one <close> = open(path)
      local seen = {}
      local class = workflow(function(self)
        local life = {}
        while true do
          local value = self:wait_event("go")
          if not self:is_replaying() then seen[#seen + 1] = { life, value } end
          if value == "end" then return #seen end
        end
      end)
      local stage = class():start { engine = one }
      one:drain()
      assert.equal(1, one._warm.count)
      do
        local other <close> = open(path)
        other:signal(stage.id, "go", "there")
        other:drain()
        assert.equal(1, replays(other))
      end
      one:signal(stage.id, "go", "here")
      one:drain()
      one:signal(stage.id, "go", "end")
      assert.equal(3, one:wait(stage.id).default.value)
      assert.equal(1, replays(one))
      local values = {}
      for i, each in ipairs(seen) do values[i] = each[2] end
      assert.same({ "there", "here", "end" }, values)
      assert.is_false(rawequal(seen[1][1], seen[2][1]))
      assert.is_true(rawequal(seen[2][1], seen[3][1]))
    end)

  it("W165 the same where the other one has changed no number of the journal: an attempt of a step has failed there",
    function()
      local path = path_of()
      local one <close> = open(path)
      local attempts, entered = {}, 0
      local stage = workflow(function(self)
        entered = entered + 1
        return self:step({ name = "s", max_attempts = 4, backoff_seconds = 10, backoff_factor = 1 }, function()
          attempts[#attempts + 1] = pipeline.step().attempt
          if #attempts < 4 then error("no", 0) end
          return "at last"
        end)
      end)():start { engine = one }
      one:drain()
      do
        local other <close> = open(path, { virtual_start = 1e9 + 11 })
        other:drain()
      end
      assert.same({ 1, 2 }, attempts)
      one:advance(30)
      one:drain { delayed = true }
      assert.equal("at last", one:wait(stage.id).default.value)
      assert.same({ 1, 2, 3, 4 }, attempts)
      assert.equal(3, entered)
    end)

  it("W165 the same where the other one has taken an update that it refused", function()
    local path = path_of()
    local one <close> = open(path)
    local asked = {}
    local stage = workflow(function(self)
      self:on_update("set", function(n)
        asked[#asked + 1] = n
        error("never", 0)
      end, function() end)
      self:wait_event("end")
      return #asked
    end)():start { engine = one }
    one:drain()
    do
      local other <close> = open(path)
      pcall(other.update, other, stage.id, "set", 1, { timeout = 5 })
    end
    one:signal(stage.id, "end")
    assert.equal(1, one:wait(stage.id).default.value)
  end)

  it("W112 W120 an abort, a hold and a resume reach it as any other", function()
    local engine <close> = open()
    local told = {}
    local class = workflow(function(self)
      local ok, problem = pcall(self.wait_event, self, "go")
      told[#told + 1] = ok and "went on" or problem.message
      if not ok then error(problem, 0) end
      return "done"
    end)
    local aborted, held, forced = class():start(), class():start(), class():start()
    engine:drain()
    assert.is_true(aborted:abort("enough"))
    assert.is_true(forced:abort("at once", { force = true }))
    assert.is_true(engine:hold(held, "wait"))
    engine:signal(held, "go")
    engine:drain()
    assert.same({ "aborted: enough" }, told)
    assert.is_true(engine:resume(held))
    assert.equal("done", engine:wait(held).default.value)
    assert.same({ "aborted: enough", "went on" }, told)
    assert.equal(0, replays(engine))
  end)

  it("W121 its run_timeout counts as in a replay", function()
    local engine <close> = open()
    local stage = workflow { run_timeout = 100, run = function(self)
      for _ = 1, 100 do self:wait_event("go") end
    end }():start()
    engine:drain()
    for _ = 1, 3 do
      engine:advance(30)
      engine:signal(stage, "go")
      engine:drain()
    end
    local begun = engine:now()
    local ok, problem = pcall(engine.wait, engine, stage)
    assert.is_false(ok)
    assert.match("run_timeout", problem.message)
    assert.is_true(engine:now() - begun <= 11)
  end)

  it("W142 one that continues as new begins its next era from its journal", function()
    local engine <close> = open()
    local entered = {}
    local stage = workflow(function(self, n)
      entered[#entered + 1] = n or 0
      self:wait_event("go")
      if (n or 0) >= 2 then return "end" end
      return self:continue_as_new((n or 0) + 1)
    end)():start()
    for _ = 1, 3 do
      engine:drain()
      engine:signal(stage, "go")
    end
    assert.equal("end", engine:wait(stage).default.value)
    assert.same({ 0, 1, 2 }, { entered[1], entered[2], entered[#entered] })
  end)

  it("W118 a step that waits for its next try beside another one ends with its scope", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local slow = self:start_step("slow", function() pipeline.default():sleep(50) return "slow" end)
      local ok, problem = pcall(self.with_timeout, self, 20, self.step, self,
        { name = "bad", backoff_seconds = 1000 }, error, "no", 0)
      return { ok, pipeline.is(problem, pipeline.TimeoutError), self:await(slow) }
    end)():start()
    assert.same({ false, true, "slow" }, engine:wait(stage).default.value)
    assert.is_true(engine:now() < 1e9 + 60)
  end)

  it("W159 takes no more memory than is counted, also with branches", function()
    local runs = {
      function(self) self:wait_event("never") end,
      function(self)
        for i = 1, 10 do self:go(function() self:wait_event("never" .. i) end) end
      end,
    }
    for _, run in ipairs(runs) do
      local engine <close> = open()
      local class = workflow(run)
      local function start(count)
        for _ = 1, count do class():start() end
        engine:drain()
        collectgarbage()
        collectgarbage()
        return collectgarbage("count") * 1024
      end
      start(100)
      local before, counted = start(0), engine._warm.bytes
      local after = start(300)
      assert.equal(400, engine._warm.count)
      assert.is_true(after - before <= engine._warm.bytes - counted)
    end
  end)
end)

-- What holds for a run that is replayed at each resumption holds for one that is kept.
describe("kept in memory:", function()
  setup(function() support.warm_runs = 1000 end)
  teardown(function() support.warm_runs = 0 end)
  for _, name in ipairs { "body", "branches", "cancel", "compensation", "events", "fork", "lasting", "limits",
    "progress", "reach", "run" } do
    assert(loadfile(("spec/durable/%s_spec.lua"):format(name), "t", _ENV))()
  end
end)
