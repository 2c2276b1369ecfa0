-- durable/reach/: values, queries, updates and streams, for who is outside of a durable function.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local open, workflow = support.open, support.workflows { backoff_seconds = 1 }

local function start(fn)
  return tasklets.tasklet(fn)()
end

-- Calls fn while an engine works, in a tasklet; returns its results when nothing is left to be done.
local function beside(engine, fn)
  local on = start(fn)
  engine:drain()
  return tasklets.await(on)
end

local function tables_of(path)
  local pipe = assert(io.popen(("sqlite3 '%s' .dump | cksum"):format(path)))
  local sum = pipe:read("a")
  pipe:close()
  return sum
end

teardown(helper.clean)

describe("values of a durable function", function()
  it("W139 W54 are the last ones set between two commits, need no replay, and stay when it is over", function()
    local engine <close> = open()
    local bodies = 0
    local stage = workflow(function(self)
      bodies = bodies + 1
      self:set_value("progress", 1)
      self:set_value("progress", { done = 2, of = 3 })
      self:set_value("nothing", nil)
      self:sleep(10)
      self:set_value("progress", "all")
      self:sleep(10)
    end)():start()
    assert.is_nil(engine:get_value(stage, "progress"))
    engine:drain()
    local before = bodies
    assert.same({ done = 2, of = 3 }, engine:get_value(stage, "progress"))
    assert.is_nil(engine:get_value(stage.id, "unknown"))
    assert.equal(before, bodies)
    engine:drain { delayed = true }
    assert.equal("all", engine:get_value(stage, "progress"))
  end)

  it("are refused where they cannot be encoded, or where no body sets them", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local ok, problem = pcall(self.set_value, self, "x", coroutine.create(print))
      return { ok, pipeline.is(problem, pipeline.SerializationError), (pcall(self.set_value, self, "", 1)) }
    end)():start()
    assert.same({ false, true, false }, engine:wait(stage).default.value)
    local _, problem = pcall(stage.set_value, stage, "x", 1)
    assert.is_true(pipeline.is(problem, pipeline.NotInStepError))
  end)
end)

describe("a query", function()
  it("W130 replays a suspended run in the process that asks, writes nothing and starts nothing", function()
    local path = helper.path()
    local effects = 0
    local Waits = workflow(function(self, n)
      local seen = { n }
      self:on_query("seen", function(add) return seen, add end)
      seen[2] = self:step("one", function() effects = effects + 1 return "stepped" end)
      self:set_value("v", seen)
      self:wait_event("go")
      self:step("two", function() effects = effects + 1 end)
    end)
    local id
    do
      local engine <close> = open(path)
      local stage = Waits("arg"):start()
      engine:drain()
      id = stage.id
    end
    local engine <close> = open(path)
    local before = tables_of(path)
    local seen, add = engine:query(id, "seen", "more")
    assert.same({ "arg", "stepped" }, seen)
    assert.equal("more", add)
    assert.equal(1, effects)
    assert.equal(before, tables_of(path))
    engine:signal(id, "go")
    engine:drain()
    assert.equal(2, effects)
  end)

  it("W131 of one that has not begun runs it to its first wait; an unknown name lists all others", function()
    local engine <close> = open()
    local ran = false
    local stage = workflow(function(self)
      self:on_query("b", function() return "first wait" end)
      self:on_query("a", print)
      self:step("one", function() ran = true end)
      self:on_query("later", print)
    end)():start()
    assert.equal("first wait", engine:query(stage, "b"))
    local ok, problem = pcall(engine.query, engine, stage, "zzz")
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.QueryError))
    assert.match('query "zzz" of spec.durable.W%d+: there is no handler of that name; there are: a, b$',
      problem.message)
    assert.is_false(ran)
  end)

  it("W132 of a finished run works, and does not change its state", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local total = 0
      self:on_query("total", function() return total end)
      for i = 1, 3 do total = total + self:step("add", function() return i end) end
      return "done"
    end)():start()
    engine:drain()
    assert.equal(6, engine:query(stage, "total"))
    assert.equal("done", engine:stage(stage.id).state)
    assert.equal("done", engine:wait(stage).default.value)
  end)

  it("W133 that records is refused, and what it changes is lost at once", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local count = 0
      self:on_query("count", function() count = count + 1 return count end)
      self:on_query("step", function() return self:step("x", print) end)
      self:on_query("set", function() self:set_value("x", 1) end)
      self:on_query("wait", function() self:sleep(1) end)
      self:on_query("yields", function() coroutine.yield() end)
      self:on_query("raises", function() error { code = 7 } end)
      self:wait_event("go")
      return count
    end)():start()
    engine:drain()
    assert.equal(1, engine:query(stage, "count"))
    assert.equal(1, engine:query(stage, "count"))
    for _, name in ipairs { "step", "set", "wait" } do
      local ok, problem = pcall(engine.query, engine, stage, name)
      assert.is_false(ok)
      assert.is_true(pipeline.is(problem, pipeline.QueryError), name)
    end
    local _, yields = pcall(engine.query, engine, stage, "yields")
    assert.match("answer at once", yields.message)
    local _, raised = pcall(engine.query, engine, stage, "raises")
    assert.same({ code = 7 }, raised)
    engine:signal(stage, "go")
    engine:drain()
    assert.equal(0, engine:wait(stage).default.value)
    assert.is_nil(engine:get_value(stage, "x"))
  end)

  it("W59 of a run whose code does not fit its journal raises the divergence, and leaves the run as it is", function()
    local engine <close> = open()
    local name = "first"
    local stage = workflow(function(self)
      self:on_query("q", function() return 1 end)
      self:step(name, function() end)
      self:wait_event("go")
    end)():start()
    engine:drain()
    name = "renamed"
    local ok, problem = pcall(engine.query, engine, stage, "q")
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.NondeterminismError))
    assert.match("suspended", engine:stage(stage.id).state_words)
    name = "first"
    assert.equal(1, engine:query(stage, "q"))
  end)

  it("W130 W54 spawns nothing, sends nothing and logs nothing beyond the journal", function()
    local engine <close>, lines = open()
    local Child = pipeline.define("durable_reach.Child", { run = function() return 1 end })
    local other = workflow(function(self) return self:wait_event("ping") end)():start()
    local stage = workflow(function(self)
      self:on_query("q", function() return "asked" end)
      self:log("info", "begins")
      self:signal_to(other.id, "ping", 1)
      self:set_status { message = "m" }
      self:spawn(Child(), { detached = true })
      self:sleep(10)
    end)():start()
    assert.equal("asked", engine:query(stage, "q"))
    assert.same({}, lines)
    assert.equal(2, #engine:list {}.items)
    engine:drain()
    assert.equal(1, engine:wait(other).default.value)
    assert.equal(3, #engine:list {}.items)
  end)
end)

describe("an update", function()
  local function adder(more)
    return workflow(function(self)
      local total, calls = 0, 0
      self:on_query("total", function() return total end)
      self:on_update("add", function(n)
        if type(n) ~= "number" then error("a number is wanted", 0) end
      end, function(n)
        calls = calls + 1
        total = total + self:step("read", function() return n end)
        return total
      end)
      self:on_update("fail", nil, function() error("it failed", 0) end)
      self:wait_event("end")
      return { total, calls }
    end, more)
  end

  it("W134 is refused by its validator without a trace, or handled by a branch, whose end is its answer", function()
    local engine <close> = open()
    local stage = adder()():start()
    engine:drain()
    assert.equal(2, beside(engine, function() return engine:update(stage, "add", 2) end))
    assert.equal(5, engine:update(stage, "add", 3))
    local entries = #engine:get_journal(stage)
    local ok, problem = pcall(engine.update, engine, stage, "add", "x")
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.UpdateRejectedError))
    assert.equal("a number is wanted", problem.message)
    assert.equal(entries, #engine:get_journal(stage))
    ok, problem = pcall(engine.update, engine, stage, "fail")
    assert.is_false(ok)
    assert.equal("it failed", problem)
    ok, problem = pcall(engine.update, engine, stage, "unknown")
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.UpdateRejectedError))
    assert.equal('no handler takes update "unknown"; there are: add, fail', problem.message)
    assert.equal(5, engine:query(stage, "total"))
    engine:signal(stage, "end")
    engine:drain()
    assert.same({ 5, 2 }, engine:wait(stage).default.value)
  end)

  it("W134 W141 W170 whoever waits in virtual time has it when it comes, and no time passes after that, though " ..
    "others are on the file", function()
    for _, has_others in ipairs { false, true } do
      local path = helper.path()
      local _ <close> = has_others and open(path) or nil
      local engine <close> = open(path)
      local stage = workflow(function(self)
        self:on_update("at once", nil, function(n) return n + 1 end)
        self:on_update("later", nil, function(n)
          self:sleep(10)
          return n + 2
        end)
        self:stream("shown"):write("a")
        self:sleep(1000)
        self:stream("shown"):write("b")
        self:sleep(1e6)
        return "done"
      end)():start { engine = engine }
      local begun = engine:now()
      assert.equal(1, engine:update(stage.id, "at once", 0))
      assert.equal(0, engine:now() - begun)
      assert.equal(2, engine:update(stage.id, "later", 0))
      assert.equal(10, engine:now() - begun)
      local each = engine:read_stream(stage.id, "shown")
      each()
      assert.equal("b", select(2, each()))
      assert.equal(1000, engine:now() - begun)
      assert.equal("done", engine:wait(stage).default.value)
      assert.equal(1001000, engine:now() - begun)
    end
  end)

  it("W135 goes on when its caller gives up; the same key asks for the same result", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:on_update("slow", nil, function(n)
        self:sleep(100)
        return n * 2
      end)
      self:wait_event("end")
    end)():start()
    engine:drain()
    local ok, problem = pcall(engine.update, engine, stage, "slow", 4, { key = "k", timeout = 10 })
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.TimeoutError))
    assert.equal(8, engine:update(stage, "slow", 4, { key = "k" }))
    assert.equal(8, engine:update(stage, "slow", 5, { key = "k" }))
    engine:signal(stage, "end")
    engine:drain()
    assert.equal(8, engine:update(stage, "slow", 4, { key = "k" }))
  end)

  it("W136 that comes before the run has begun, or at continue_as_new, is applied once, and answered", function()
    local engine <close> = open()
    local applied = 0
    local stage = workflow(function(self, era, got)
      got = got or {}
      self:on_update("note", nil, function(n)
        applied = applied + self:step("apply", function() return 1 end)
        got[#got + 1] = n
        return (era or 0)
      end)
      if (era or 0) < 3 then
        self:sleep(10)
        return self:continue_as_new((era or 0) + 1, got)
      end
      self:wait_event("end")
      return got
    end)():start()
    local eras = {}
    for i = 1, 5 do
      eras[i] = start(function()
        engine:sleep(i * 7 - 7)
        return engine:update(stage, "note", i)
      end)
    end
    engine:drain { delayed = true }
    local got = {}
    for i = 1, 5 do got[i] = tasklets.await(eras[i]) end
    assert.same({ 0, 0, 1, 2, 2 }, got)
    engine:signal(stage, "end")
    engine:drain()
    assert.same({ 1, 2, 3, 4, 5 }, engine:wait(stage).default.value)
  end)

  it("W137 a run that returns waits for its handlers; one that continues as new is told so", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local got = {}
      self:on_update("slow", nil, function()
        self:sleep(50)
        got[1] = "handled"
        return "answer"
      end)
      self:on_update("again", nil, function() return self:continue_as_new() end)
      self:wait_event("end")
      return got
    end)():start()
    engine:drain()
    local again, problem = pcall(engine.update, engine, stage, "again")
    assert.is_false(again)
    assert.match("continue_as_new is not possible in a handler", tostring(problem))
    local answer = start(function() return engine:update(stage, "slow") end)
    engine:drain()
    engine:signal(stage, "end")
    engine:drain()
    assert.match("suspended", engine:stage(stage.id).state_words)
    engine:drain { delayed = true }
    assert.equal("answer", tasklets.await(answer))
    assert.same({ "handled" }, engine:wait(stage).default.value)
  end)

  it("W138 is told when the run ends before it was taken", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:step("one", function() engine:sleep(5) end)
      return "over"
    end)():start()
    local on = start(function() return pcall(engine.update, engine, stage, "x") end)
    engine:drain { delayed = true }
    local ok, problem = tasklets.await(on)
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.UpdateRejectedError) or pipeline.is(problem, pipeline.AbortedError))
    ok, problem = pcall(engine.update, engine, stage, "x")
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.AbortedError))
    assert.equal("final", problem.reason)
    local held = workflow(function(self) self:on_update("x", nil, print) self:wait_event("never") end)():start()
    engine:drain()
    on = start(function() return pcall(engine.update, engine, held, "x", 1, { timeout = 1000 }) end)
    held:abort("enough")
    engine:drain()
    ok, problem = tasklets.await(on)
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.AbortedError))
  end)

  it("W90 W92 signals that a handler takes run it as branches, in their order, and the end waits for them", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local got = {}
      self:wait_event("ready")
      self:on_signal("item", function(n)
        local taken = self:step("take", function() return n end)
        got[#got + 1] = taken
      end)
      self:wait_event("end")
      return got
    end)():start()
    for i = 1, 5 do engine:signal(stage, "item", i) end
    engine:drain()
    engine:signal(stage, "ready")
    engine:drain()
    engine:signal(stage, "item", 6)
    engine:signal(stage, "end")
    engine:drain()
    assert.same({ 1, 2, 3, 4, 5, 6 }, engine:wait(stage).default.value)
  end)

  it("W137 an error in a handler of signals fails the run at its end", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:on_signal("x", function() error("bad item", 0) end)
      self:wait_event("end")
    end)():start()
    engine:drain()
    engine:signal(stage, "x")
    engine:signal(stage, "end")
    local ok, problem = pcall(engine.wait, engine, stage)
    assert.is_false(ok)
    assert.match("branch signal:x#1, which nobody awaits, failed: Error: bad item", problem.reason)
  end)
end)

describe("a stream", function()
  it("W140 W141 of a body has its offsets without gap or double, and is read from any of them", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local out = self:stream("out")
      for i = 1, 5 do
        out:write { i }
        if i % 2 == 0 then self:sleep(10) end
      end
      out:close()
      self:sleep(10)
      local ok, problem = pcall(out.write, out, 1)
      return { ok, pipeline.is(problem, pipeline.WorkflowError) }
    end)():start()
    local function read(given)
      local list = {}
      for n, value in engine:read_stream(stage, "out", given) do list[#list + 1] = n .. ":" .. value[1] end
      return table.concat(list, " ")
    end
    assert.equal("", read { wait = false })
    engine:drain()
    assert.equal("0:1 1:2", read { wait = false })
    assert.equal("1:2 2:3 3:4 4:5", read { offset = 1 })
    engine:drain { delayed = true }
    assert.equal("0:1 1:2 2:3 3:4 4:5", read())
    assert.same({ false, true }, engine:wait(stage).default.value)
  end)

  it("W141 ends with the run; whoever waits too long is told so", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:stream("s"):write("only")
      self:sleep(100)
    end)():start()
    local on = start(function()
      local list = {}
      for _, value in engine:read_stream(stage, "s") do list[#list + 1] = value end
      return list
    end)
    local late = start(function()
      local list = {}
      local ok, problem = pcall(function()
        for _, value in engine:read_stream(stage, "s", { timeout = 20 }) do list[#list + 1] = value end
      end)
      return ok, pipeline.is(problem, pipeline.TimeoutError), list
    end)
    engine:drain { delayed = true }
    assert.same({ "only" }, tasklets.await(on))
    assert.same({ false, true, { "only" } }, { tasklets.await(late) })
  end)

  it("W143 goes on over continue_as_new, and bounds are errors of who writes", function()
    local engine <close> = open()
    local stage = workflow(function(self, n)
      local out = self:stream("out")
      n = n or 1
      out:write(n)
      local ok, problem = pcall(out.write, out, ("x"):rep(3 << 20))
      out:write { ok, pipeline.is(problem, pipeline.LimitError) }
      self:sleep(1)
      if n < 3 then return self:continue_as_new(n + 1) end
    end)():start()
    engine:drain { delayed = true }
    local list = {}
    for n, value in engine:read_stream(stage, "out") do list[n + 1] = value end
    assert.same({ 1, { false, true }, 2, { false, true }, 3, { false, true } }, list)
  end)
end)
