-- durable/body/branches.lua: branches, select, all.

local pipeline = require "pipeline"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local name_of, open, workflow = support.name, support.open, support.workflows { max_attempts = 1 }

local function outputs(run, ...)
  local stage = workflow(run)(...)
  stage:start_test()
  return stage.outputs.default.value
end

-- A step that takes so many seconds of virtual time.
local function slow(seconds, value)
  return function()
    tasklets.await(tasklets.sleep(seconds))
    if type(value) == "table" then error(value[1], 0) end
    return value
  end
end

describe("branches of a durable function", function()
  it("W16 count for themselves, and replay as they were", function()
    local executed = {}
    assert.same({ "a1 a2", "b1 b2" }, outputs(function(self)
      local function chain(name, pause)
        local list = {}
        for i = 1, 2 do
          list[i] = self:step("s", function()
            executed[#executed + 1] = name .. i
            return name .. i
          end)
          self:sleep(pause)
        end
        return table.concat(list, " ")
      end
      local a, b = self:go("x", chain, "a", 10), self:go("x", chain, "b", 3)
      return { self:await(a, b) }
    end))
    table.sort(executed)
    assert.same({ "a1", "a2", "b1", "b2" }, executed)
  end)

  it("W106 an error in one that nobody awaits fails the run, with its name; else it is raised there", function()
    local ok, problem = pcall(outputs, function(self)
      self:go("side", function()
        self:sleep(5)
        error("lost", 0)
      end)
      return 1
    end)
    assert.is_false(ok)
    assert.match("branch side#1, which nobody awaits, failed: Error: lost", problem.message)
    assert.equal("caught lost", outputs(function(self)
      local f = self:go(function() error("lost", 0) end)
      return "caught " .. select(2, pcall(self.await, self, f))
    end))
  end)

  it("are waited for at the end of run", function()
    local done = false
    assert.equal(1, outputs(function(self)
      self:go(function()
        self:sleep(50)
        done = true
      end)
      return 1
    end))
    assert.is_true(done)
  end)

  it("W108 that wait for each other hold the run, and the log says who waits for whom", function()
    local engine <close>, lines = open()
    local stage = workflow(function(self)
      local a, b
      a = self:go("a", function() self:sleep(1) return self:await(b) end)
      b = self:go("b", function() return self:await(a) end)
      return self:await(a)
    end)():start()
    engine:drain { delayed = true }
    assert.match("^held: DeadlockError: its branches wait for each other: run %(.-%) waits for a#1; a#1 %(.-%) waits "
      .. "for b#1; b#1 %(.-%) waits for a#1", engine:stage(stage.id).state_words)
    assert.match("is held: DeadlockError", lines[#lines])
  end)
end)

describe("select", function()
  it("W103 gives the one that came first, in every life the same", function()
    local seen = {}
    outputs(function(self)
      local a, b = self:start_step("a", slow(7, "A")), self:start_step("b", slow(3, "B"))
      local list = {}
      for i = 1, 2 do
        local key, value = self:select { a = i == 1 and a or self:timer(100), b = b, c = a }
        list[i] = key .. tostring(value)
        b = a
      end
      seen[#seen + 1] = table.concat(list, " ")
      self:sleep(1)
      self:sleep(1)
    end)
    assert.is_true(#seen >= 3)
    for _, each in ipairs(seen) do assert.equal("bB bA", each) end
  end)

  it("W103 of several that were there before takes the one that was delivered first", function()
    assert.equal("second", outputs(function(self)
      local a, b = self:timer(10), self:timer(5)
      self:sleep(20)
      return (self:select { first = a, second = b })
    end))
  end)

  it("W75 W105 a number is a timer that ends with it; losing futures stay valid", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local step = self:start_step("slow", slow(50, "done"))
      local first = self:select { step = step, late = 10 }
      local second, value = self:select { step = step, late = 1000 }
      return { first, second, value, self:await(step), self:now() }
    end)():start()
    local got = engine:wait(stage).default.value
    assert.same({ "late", "step", "done", "done" }, { got[1], got[2], got[3], got[4] })
    assert.is_true(got[5] < 1e9 + 60)
    local states = {}
    for _, entry in ipairs(engine:get_journal(stage)) do
      if entry.kind == "timer" then states[#states + 1] = entry.state end
    end
    assert.same({ "ok", "cancelled" }, states)
  end)

  it("W104 raises the error of the member that came first, with its key", function()
    assert.same({ false, "bad", "FetchError" }, outputs(function(self)
      local bad = self:start_step("bad", function() error(pipeline.FetchError("gone")) end)
      local ok, problem = pcall(self.select, self, { bad = bad, late = 100 })
      return { ok, problem.key, problem.class }
    end))
  end)

  it("takes children and their outputs", function()
    local Make = pipeline.define(name_of "Make", { output_names = { "x" }, run = function(self, n)
      self:fill("x", n)
      return n + 1
    end })
    local Fail = pipeline.define(name_of "Fail", { max_attempts = 1, output_names = { "x" }, run = function()
      error("bad", 0)
    end })
    assert.same({ "x", 1, "child", 2, false, "f" }, outputs(function(self)
      local f, bad = self:spawn(Make(1)), self:spawn(Fail())
      local key, value = self:select { x = f.x, late = 100 }
      local key2, value2 = self:select { child = f, late = 100 }
      local ok, problem = pcall(self.select, self, { f = bad.x, late = 100 })
      return { key, value, key2, value2, ok, problem.key }
    end))
  end)

  it("refuses what is no member", function()
    outputs(function(self)
      for _, members in ipairs { {}, { a = {} }, { a = true }, "x" } do
        local ok, problem = pcall(self.select, self, members)
        assert(not ok and tostring(problem):find("bad argument #1 to 'select'", 1, true), problem)
      end
    end)
  end)
end)

describe("all", function()
  it("W107 gives all values, or raises the error that came first", function()
    local got = outputs(function(self)
      local list = { self:start_step("a", slow(5, 1)), self:start_step("b", slow(2, 2)), self:timer(1) }
      local values = self:all(list)
      local bad = { self:start_step("a", slow(5, { "five" })), self:start_step("b", slow(2, { "two" })) }
      local ok, problem = pcall(self.all, self, bad)
      local settled = self:all({ list[1], bad[1], bad[2] }, { settle = true })
      return { values[1], values[2], values.n, ok, problem, settled[1].value, settled[2].ok, settled[2].error,
        settled[3].error, self:all({}).n }
    end)
    assert.same({ 1, 2, 3, false, "two", 1, false, "five", "two", 0 }, got)
  end)
end)
