-- durable/cancel.lua: runs that are cancelled: from outside, by their own scopes, for their time is up.

local common = require "pipeline.common"
local pipeline = require "pipeline"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local aborted, name_of, open, workflow = support.aborted, support.name, support.open, support.workflows()

local function is_cancelled(problem) return pipeline.is(problem, pipeline.CancelledError) end

local function journal_of(engine, stage)
  local list = {}
  for i, item in ipairs(engine:get_journal(stage.id)) do
    list[i] = ("%s %s %s"):format(item.kind, item.name, item.state)
  end
  return list
end

describe("an abort of a durable run", function()
  it("W110 W111 wakes it where it waits, and a handler may clean up, and wait", function()
    local engine <close> = open()
    local told, cleaned = {}, 0
    local stage = workflow(function(self)
      local ok, problem = pcall(self.sleep, self, 1e6)
      told[#told + 1] = tostring(not ok and problem.message)
      self:step("clean", function() cleaned = cleaned + 1 end)
      self:sleep(50)
      error(problem, 0)
    end)():start()
    engine:drain()
    local begun = engine:now()
    assert.is_true(stage:abort("enough"))
    assert.is_false(stage:abort("again"))
    engine:drain()
    assert.equal(1, cleaned)
    assert.same({ "aborted: enough" }, { told[#told] })
    local problem = aborted(engine, stage)
    assert.equal("enough", problem.reason)
    assert.equal(50, engine:now() - begun)
    assert.is_false(stage:abort("later"))
    for _, each in ipairs(told) do assert.equal("aborted: enough", each) end
    assert.same({ "timer sleep cancelled", "cancel abort ok", "step clean ok", "timer sleep ok" },
      journal_of(engine, stage))
  end)

  it("W110 W115 ends every kind of wait", function()
    local engine <close> = open()
    local Never = workflow(function(self) self:wait_event("never") end)
    local waits = {
      function(self) self:wait_event("e") end,
      function(self) self:select { a = "e", b = 1e6 } end,
      function(self) self:await(self:spawn(Never())) end,
      function(self) self:all { self:go(function() self:sleep(1e6) end), self:timer(1e6) } end,
      function(self) self:with_timeout(1e6, self.wait_event, self, "e") end,
      function(self) self:step({ name = "s", backoff_seconds = 1e6 }, error, "no") end,
    }
    local stages = {}
    for i, wait in ipairs(waits) do
      stages[i] = workflow(function(self)
        local ok, problem = pcall(wait, self)
        return self:step("end", function() return tostring(ok) .. tostring(is_cancelled(problem)) end)
      end)():start()
    end
    engine:advance(1)
    engine:drain()
    local begun = engine:now()
    for i, stage in ipairs(stages) do assert.is_true(stage:abort("stop"), i) end
    for i, stage in ipairs(stages) do
      assert.equal("stop", aborted(engine, stage).reason, i)
      local journal = engine:get_journal(stage.id)
      assert.equal('"falsetrue"', journal[#journal].value, i)
    end
    assert.equal(begun, engine:now())
  end)

  it("W112 is final: whatever run returns, and when it continues as new, too", function()
    local engine <close> = open()
    local returned = workflow(function(self)
      pcall(self.sleep, self, 1e6)
      return "done"
    end)():start()
    local again = workflow(function(self, n)
      pcall(self.sleep, self, 1e6)
      return self:continue_as_new((n or 0) + 1)
    end)():start()
    engine:drain()
    for _, stage in ipairs { returned, again } do assert.is_true(stage:abort("enough")) end
    for _, stage in ipairs { returned, again } do assert.equal("enough", aborted(engine, stage).reason) end
  end)

  it("W112 an abort that comes when run has returned still undoes what it did", function()
    local engine <close> = open()
    local undone = 0
    local stage
    stage = workflow(function(self)
      self:step({ name = "a", compensate = function() undone = undone + 1 end }, function() return 1 end)
      return "done"
    end)():start()
    local methods = getmetatable(engine._core).__index
    local outcome = methods.outcome
    finally(function() methods.outcome = outcome end)
    methods.outcome = function(core, claim, out)
      if out.kind == "ok" then assert.is_true(pipeline.from_id(stage.id):abort("just then")) end
      return outcome(core, claim, out)
    end
    assert.equal("just then", aborted(engine, stage).reason)
    assert.equal(1, undone)
  end)

  it("of one that has not begun runs nothing", function()
    local engine <close> = open()
    local ran = false
    local stage = workflow(function() ran = true end)():start { countdown = 100 }
    assert.is_true(stage:abort("never mind"))
    assert.equal("never mind", aborted(engine, stage).reason)
    engine:advance(200)
    assert.is_false(ran)
  end)

  it("W113 W114 a step at work is stopped; when it ends well all the same, its result is recorded", function()
    local engine <close> = open()
    local ends = {}
    local function run(fn)
      local stage
      stage = workflow(function(self)
        local future = self:start_step("s", fn, function() return pipeline.from_id(stage.id) end)
        local ok, problem = pcall(self.await, self, future)
        ends[#ends + 1] = ok or is_cancelled(problem)
        ends[#ends + 1] = table.concat({ tostring(select(2, pcall(self.await, self, future))) })
      end)():start()
      aborted(engine, stage)
      return journal_of(engine, stage)
    end
    local journal = run(function(stage)
      stage():abort("stop")
      return "well"
    end)
    assert.same({ "step s ok", "cancel abort ok" }, journal)
    assert.same({ true, "well" }, { ends[#ends - 1], ends[#ends] })
    journal = run(function(stage)
      stage():abort("stop")
      tasklets.await(tasklets.sleep(3600))
    end)
    assert.same({ "step s cancelled", "cancel abort ok" }, journal)
    assert.match("CancelledError.*step \"s\".*was cancelled", ends[#ends])
  end)

  it("W113 a resume of the tree begins it anew, and the steps run again", function()
    local engine <close> = open()
    local ran, stop = 0, true
    local stage = workflow(function(self)
      self:step("a", function() ran = ran + 1 end)
      if stop then self:wait_event("never") end
      return ran
    end)():start()
    engine:drain()
    assert.is_true(stage:abort("enough"))
    aborted(engine, stage)
    stop = false
    assert.is_true(stage:resume())
    assert.equal(2, engine:wait(stage).default.value)
  end)

  it("W116 aborts its children at every depth, the deepest first, and ends when they have", function()
    local engine <close> = open()
    local order = {}
    local function cleaning(name, below)
      return workflow(function(self)
        local ok, problem = pcall(function()
          if below then return self:await(self:spawn(below())) end
          self:wait_event("never")
        end)
        assert(not ok and is_cancelled(problem))
        self:sleep(10)
        self:step("note", function() order[#order + 1] = name end)
        error(problem, 0)
      end)
    end
    local deepest = cleaning("deepest")
    local Plain = pipeline.define(name_of "Plain", { run = function(self) self:spawn(deepest()) end })
    local stage = cleaning("top", cleaning("middle", Plain))():start()
    engine:drain()
    assert.is_true(stage:abort("all of it"))
    aborted(engine, stage)
    assert.same({ "deepest", "middle", "top" }, order)
    engine:drain()
    for _, item in ipairs(engine:tree(stage.id).items) do assert.equal("aborted", item.state) end
  end)

  it("W116 waits for what a child has left below it when it ended, and wakes when that has ended", function()
    for _, is_plain in ipairs { false, true } do
      local engine <close> = open()
      local order = {}
      local Deep = workflow(function(self)
        local _, problem = pcall(self.wait_event, self, "never")
        self:sleep(10)
        self:step("note", function() order[#order + 1] = "deep" end)
        error(problem, 0)
      end)
      local Middle = workflow(function(self)
        local _, problem = pcall(self.wait_event, self, "never")
        self:spawn(Deep())
        self:sleep(1)
        self:step("note", function() order[#order + 1] = "middle" end)
        error(problem, 0)
      end)
      local Plain = pipeline.define(name_of "Plain", { run = function(self) self:spawn(Middle()) end })
      local stage = workflow(function(self)
        local _, problem = pcall(self.await, self, self:spawn((is_plain and Plain or Middle)()))
        self:step("note", function() order[#order + 1] = "top" end)
        error(problem, 0)
      end)():start()
      engine:drain()
      local begun = engine:now()
      assert.is_true(stage:abort("all of it"))
      assert.equal("all of it", aborted(engine, stage).reason)
      assert.same({ "middle", "deep", "top" }, order)
      assert.equal(11, engine:now() - begun)
    end
  end)

  it("W110 tells why of a function whose part of a plain tree is given up for a fallback", function()
    local engine <close> = open()
    local told
    local Waiting = workflow(function(self)
      local _, problem = pcall(self.wait_event, self, "never")
      self:step("note", function() told = problem.message end)
      error(problem, 0)
    end)
    local Failing = pipeline.define(name_of "Failing", { max_attempts = 1, run = function() error("no luck", 0) end })
    local Part = pipeline.define(name_of "Part", { run = function(self)
      self:spawn(Waiting())
      self:spawn(Failing(self:spawn(common.Delay { seconds = 5 })))
    end })
    local stage = pipeline.define(name_of "Top", { run = function(self)
      return self:spawn(Part(), { fallback = "instead" })
    end })():start()
    assert.equal("instead", engine:wait(stage).default.value)
    engine:drain()
    assert.match("^aborted: .*no luck", told)
  end)

  it("W116 aborts children that were started in the very commit before which it was aborted", function()
    for _, verb in ipairs { "journal", "flow_suspend" } do
      local engine <close> = open()
      local id
      local Child = workflow(function(self)
        local _, problem = pcall(self.wait_event, self, "never")
        self:step("note", function() end)
        error(problem, 0)
      end)
      local stage = workflow(function(self)
        local list = { self:spawn(Child()), self:spawn(Child()) }
        if verb == "journal" then self:step("a", function() end) end
        self:all(list)
      end)():start()
      id = stage.id
      local methods = getmetatable(engine._core).__index
      local write, aborts = methods[verb], 0
      finally(function() methods[verb] = write end)
      methods[verb] = function(core, claim, given)
        if given.children and aborts == 0 then
          aborts = 1
          assert.is_true(pipeline.from_id(id):abort("just then"))
        end
        return write(core, claim, given)
      end
      local problem = aborted(engine, stage)
      methods[verb] = write
      assert.equal("just then", problem.reason)
      assert.equal(1, aborts, verb)
      for _, item in ipairs(engine:tree(id).items) do assert.equal("aborted", item.state, verb) end
    end
  end)

  it("W117 does not interrupt what is shielded, and its children live on", function()
    local engine <close> = open()
    local events = {}
    local Child = workflow(function(self) self:sleep(20) return "child" end)
    local stage = workflow(function(self)
      local ok, problem = pcall(function()
        self:shield(function()
          local value = self:await(self:spawn(Child()))
          local timed = pcall(self.wait_event, self, "never", { timeout = 5 })
          self:step("note", function() events[#events + 1] = value .. tostring(timed) end)
        end)
        self:step("not this", function() events[#events + 1] = "not shielded" end)
      end)
      self:step("told", function() events[#events + 1] = tostring(not ok and problem.message) end)
    end)():start()
    engine:drain()
    assert.is_true(stage:abort("wait for it"))
    aborted(engine, stage)
    assert.same({ "childfalse", "aborted: wait for it" }, events)
  end)

  it("W119 by force runs no code of the user, and keeps the journals", function()
    local engine <close> = open()
    local ran = false
    local function cleaning(below)
      return workflow {
        run = function(self)
          pcall(function()
            if below then self:await(self:spawn(below())) end
            self:wait_event("never")
          end)
          ran = true
          self:sleep(1e6)
        end,
        finalized = function() ran = true end,
      }
    end
    local stage = cleaning(cleaning())():start()
    engine:drain()
    assert.is_true(stage:abort("at once", { force = true }))
    assert.equal("at once", aborted(engine, stage).reason)
    for _, item in ipairs(engine:tree(stage.id).items) do assert.equal("aborted", item.state) end
    engine:advance(10)
    assert.is_false(ran)
    assert.equal(1, #engine:get_journal(stage.id))
  end)

  it("W119 by force ends one that is cleaning up", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      while true do pcall(self.sleep, self, 1e6) end
    end)():start()
    engine:drain()
    assert.is_true(stage:abort("please"))
    engine:drain()
    assert.equal("delayed", engine:stage(stage.id).state)
    assert.is_true(stage:abort("now", { force = true }))
    assert.equal("now", aborted(engine, stage).reason)
  end)

  it("W119 by force ends one whose step is at work, which is stopped", function()
    local engine <close> = open()
    local closed = 0
    local stage
    stage = workflow(function(self)
      self:step("a", function()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        pipeline.from_id(stage.id):abort("enough", { force = true })
        tasklets.await(tasklets.sleep(3600))
      end)
    end)():start()
    assert.equal("enough", aborted(engine, stage).reason)
    engine:drain()
    assert.equal(1, closed)
  end)

  it("W120 of one that is held cleans up where its code replays, else it is forced", function()
    local engine <close> = open(nil, { warm_runs = 0 })
    local cleaned, which = 0, "a"
    local class = workflow(function(self)
      self:step(which, function() end)
      local ok, problem = pcall(self.wait_event, self, "go")
      if not ok then
        self:step("clean", function() cleaned = cleaned + 1 end)
        error(problem, 0)
      end
      self:wait_event("never")
    end)
    for i = 1, 2 do
      which = "a"
      local stage = class():start()
      engine:drain()
      which = "b"
      engine:signal(stage, "go")
      engine:drain()
      assert.equal("held", engine._core:journal_get(stage._record.id).mode)
      if i == 1 then which = "a" end
      assert.is_true(stage:abort("give up"))
      assert.equal("give up", aborted(engine, stage).reason)
      assert.equal(1, cleaned)
    end
  end)

  it("W122 a body that catches everything is suspended and aborted all the same, and told once", function()
    local engine <close> = open()
    local told = 0
    local stage = workflow(function(self)
      for _ = 1, 3 do
        local ok, problem = pcall(self.wait_event, self, "e", { timeout = 10 })
        if not ok and is_cancelled(problem) then self:step("told", function() told = told + 1 end) end
      end
    end)():start()
    engine:drain()
    stage:abort("enough")
    aborted(engine, stage)
    assert.equal(1, told)
  end)
end)

describe("the time of a durable run", function()
  it("W121 run_timeout cancels it, whatever it waits for, over eras as well", function()
    local engine <close> = open()
    local messages = {}
    local class = workflow { run_timeout = 100, run = function(self, n)
      local ok, problem = pcall(self.sleep, self, 70)
      if ok then return self:continue_as_new((n or 0) + 1) end
      self:step("note", function() messages[#messages + 1] = { n, problem.message, is_cancelled(problem) } end)
      error(problem, 0)
    end }
    local stage = class():start()
    local problem = aborted(engine, stage)
    assert.equal(1e9 + 100, engine:now())
    assert.equal("TimeoutError: the run took longer than 100 s (run_timeout)", problem.reason)
    assert.same({ { 1, "TimeoutError: the run took longer than 100 s (run_timeout)", true } }, messages)
    assert.equal("TimeoutError", problem.failures[1].error_class)
  end)

  it("W121 W116 run_timeout reaches the children first, and is kept over lives", function()
    local engine <close> = open()
    local order = {}
    local Child = workflow(function(self)
      pcall(self.sleep, self, 1e6)
      self:step("note", function() order[#order + 1] = "child" end)
    end)
    local stage = workflow { run_timeout = 100, run = function(self)
      self:sleep(60)
      pcall(self.await, self, self:spawn(Child()))
      self:step("note", function() order[#order + 1] = "parent" end)
    end }():start()
    aborted(engine, stage)
    assert.same({ "child", "parent" }, order)
    assert.equal(1e9 + 100, engine:now())
  end)

  it("W121 W116 run_timeout waits for a durable function below a plain child", function()
    for _, limit in ipairs { false, 50 } do
      local engine <close> = open()
      local order = {}
      local Deep = workflow(function(self)
        local _, problem = pcall(self.wait_event, self, "never")
        self:sleep(10)
        self:step("note", function() order[#order + 1] = "deep: " .. problem.message end)
        error(problem, 0)
      end)
      local Plain = pipeline.define(name_of "Plain", { run = function(self) self:spawn(Deep()) end })
      local stage = workflow { run_timeout = 100, cancel_timeout = limit or nil, run = function(self)
        local _, problem = pcall(self.await, self, self:spawn(Plain()))
        self:step("note", function() order[#order + 1] = "top: " .. problem.message end)
        error(problem, 0)
      end }():start()
      local problem = aborted(engine, stage)
      local why = "TimeoutError: the run took longer than 100 s (run_timeout)"
      assert.equal(why, problem.reason)
      assert.same({ "deep: aborted: the run took longer than 100 s (run_timeout)", "top: " .. why }, order)
      assert.equal(1e9 + 110, engine:now())
    end
  end)

  it("W121 a pipeline above one whose time is up, and whose code has changed meanwhile, ends with it", function()
    local engine <close> = open()
    local which = "before"
    local Child = workflow(function(self)
      pcall(self.wait_event, self, "never")
      self:sleep(10)
    end)
    local Timed = workflow { run_timeout = 100, run = function(self)
      self:step(which, function() end)
      pcall(self.await, self, self:spawn(Child()))
    end }
    local above = pipeline.define(name_of "Above", { run = function(self) self:spawn(Timed()) end })():start()
    support.pass(engine, 0)
    support.pass(engine, 100)
    which = "after"
    support.pass(engine, 20)
    assert.match("but the function now asks for step \"after\"", aborted(engine, above).reason)
    assert.same({}, engine:check())
  end)

  it("W121 W116 that its time is up is kept over lives while its children clean up, with cancel_timeout as well",
    function()
    for _, seconds in ipairs { 10, 500 } do
      local engine <close> = open()
      local order = {}
      local Child = workflow(function(self)
        pcall(self.wait_event, self, "never")
        self:sleep(seconds)
        self:step("note", function() order[#order + 1] = "child" end)
      end)
      local stage = workflow { run_timeout = 100, cancel_timeout = 50, run = function(self)
        local _, problem = pcall(self.await, self, self:spawn(Child()))
        self:step("note", function() order[#order + 1] = problem.message end)
      end }():start()
      local why = "TimeoutError: the run took longer than 100 s (run_timeout)"
      assert.equal(why, aborted(engine, stage).reason)
      assert.same(seconds == 10 and { "child", why } or {}, order)
      assert.equal(1e9 + 100 + math.min(seconds, 50), engine:now())
    end
  end)

  it("W121 run_timeout is anew for a tree that is resumed, and stays what it was for a run that was held", function()
    local engine <close> = open()
    local class = workflow { run_timeout = 100, run = function(self) return self:wait_event("go") end }
    local stage = class():start()
    aborted(engine, stage)
    assert.equal(1e9 + 100, engine:now())
    engine:advance(50)
    assert.is_true(stage:resume())
    engine:drain()
    engine:advance(90)
    engine:signal(stage, "go", "in time")
    assert.equal("in time", engine:wait(stage).default.value)
    stage = class():start()
    engine:drain()
    local begun = engine:now()
    assert.is_true(engine:hold(stage))
    engine:advance(60)
    assert.is_true(engine:resume(stage))
    aborted(engine, stage)
    assert.equal(100, engine:now() - begun)
  end)

  it("W121 cancel_timeout ends what does not clean up in time", function()
    local engine <close> = open()
    local stage = workflow { cancel_timeout = 30, run = function(self)
      while true do pcall(self.sleep, self, 10) end
    end }():start()
    engine:drain()
    engine:advance(15)
    engine:drain()
    stage:abort("stop")
    local begun = engine:now()
    local problem = aborted(engine, stage)
    assert.equal("stop", problem.reason)
    assert.equal(30, engine:now() - begun)
    assert.match("cleaning up took longer than 30 s", problem.failures[1].message)
  end)

  it("W121 cancel_timeout does not wait for children either", function()
    local engine <close> = open()
    local Child = workflow(function(self)
      while true do pcall(self.sleep, self, 1000) end
    end)
    local stage = workflow { cancel_timeout = 30, run = function(self) self:await(self:spawn(Child())) end }():start()
    engine:drain()
    stage:abort("stop")
    local begun = engine:now()
    aborted(engine, stage)
    assert.equal(30, engine:now() - begun)
  end)
end)

describe("a scope of a durable run", function()
  it("W118 cancels timers, waits, steps and children that were asked for in it, and leaves the rest alone", function()
    local engine <close> = open()
    local stopped, child = 0, nil
    local Child = workflow(function(self) self:wait_event("never") end)
    local stage = workflow(function(self)
      local outside = self:start_step("outside", function()
        tasklets.await(tasklets.sleep(20))
        return "outside"
      end)
      local list = {}
      local ok, problem = pcall(self.scope, self, function(scope)
        local spawned = self:spawn(Child())
        list = { self:start_step("inside", function()
          local _ <close> = setmetatable({}, { __close = function() stopped = stopped + 1 end })
          tasklets.await(tasklets.sleep(1e6))
        end), self:timer(1e6), self:event("e") }
        list[4] = spawned
        self:go(function()
          self:sleep(10)
          scope:cancel("enough")
        end)
        self:await(spawned)
      end)
      local states = {}
      for i, future in ipairs(list) do
        local done, got = pcall(self.await, self, future)
        states[i] = tostring(done) .. " " .. (got.class or "?")
      end
      return { ok, problem.message, is_cancelled(problem), self:await(outside), states }
    end)():start()
    local result = engine:wait(stage).default.value
    assert.same({ false, "cancelled: enough", true, "outside", {
      "false CancelledError", "false CancelledError", "false CancelledError", "false AbortedError",
    } }, result)
    assert.equal(1, stopped)
    for _, item in ipairs(engine:tree(stage.id).items) do
      if item.id ~= stage.id then child = item end
    end
    assert.equal("aborted", child.state)
  end)

  it("W118 the end of a child that it has aborted is heard of in a later life, too", function()
    local engine <close> = open(nil, { warm_runs = 0 })
    local undone = 0
    local Child = workflow(function(self)
      self:on_compensate(function()
        self:sleep(10)
        self:step("undo", function() undone = undone + 1 end)
      end)
      self:wait_event("never")
    end)
    local stage = workflow(function(self)
      local child
      pcall(self.scope, self, function(scope)
        child = self:spawn(Child())
        self:sleep(5)
        scope:cancel("enough")
      end)
      self:sleep(1)
      local ok, problem = pcall(self.await, self, child)
      return { ok, problem.class, problem.reason }
    end)():start()
    assert.same({ false, "AbortedError", "cancelled" }, engine:wait(stage, { timeout = 60 }).default.value)
    assert.equal(1, undone)
  end)

  it("W118 gives what its function returns when it is not cancelled, and cancels once", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local kept
      local a, b = self:scope(function(scope)
        kept = scope
        return self:step("x", function() return 1 end), 2
      end)
      return { a, b, kept:cancel() }
    end)():start()
    assert.same({ 1, 2, false }, engine:wait(stage).default.value)
  end)

  it("W76 with_timeout: the function ends first, and its timer is gone; or the time is up: it is cancelled", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      local early = self:with_timeout(100, function(x)
        self:sleep(10)
        return x
      end, "early")
      local ok, problem = pcall(self.with_timeout, self, 5, function() self:wait_event("e") end)
      return { early, ok, problem.class, self:now() }
    end)():start()
    local result = engine:wait(stage).default.value
    assert.same({ "early", false, "TimeoutError", 1e9 + 15 }, result)
    assert.equal(1e9 + 15, engine:now())
    engine:signal(stage, "e")
    assert.same({ "timer with_timeout cancelled", "timer sleep ok", "timer with_timeout ok", "event e cancelled" },
      journal_of(engine, stage))
  end)

  it("W82 W118 a signal is not taken by a wait that was cancelled", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      pcall(self.with_timeout, self, 5, self.wait_event, self, "e")
      return self:wait_event("e")
    end)():start()
    engine:drain()
    engine:advance(10)
    engine:drain()
    engine:signal(stage, "e", "kept")
    assert.equal("kept", engine:wait(stage).default.value)
  end)
end)
