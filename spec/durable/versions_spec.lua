-- durable/body/versions.lua: code that changes while runs of it are under way.

local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local sql = require "spec.support.sql"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local name_of, open, pass = support.name, support.open, support.pass

teardown(helper.clean)

local function mode_of(engine, stage)
  local flow = engine._core:journal_get(stage._id)
  return flow.mode, flow.reason
end

local function nothing() return 1 end

local Waiting = pipeline.workflow("durable_versions.Waiting", { output_names = { "more" }, run = function(self)
  self:wait_event("never")
end })

-- What a run has cancelled, before its code changed, and what the changed code does instead: it waits for that.
local given_up = {
  { "timer \"select\"", function(self) self:select { late = 100, go = "go" } end, function(self)
    self:wait_event("go")
    self:select { late = 100 }
  end },
  { "event \"go\"", function(self) self:select { late = 5, go = "go" } end, function(self)
    self:select { late = 5 }
    self:wait_event("go")
  end },
  { "timer \"timer\"", function(self)
    self:scope(function(scope)
      local timer = self:timer(1000)
      scope:cancel()
      self:await(timer)
    end)
  end, function(self) self:await(self:timer(1000)) end },
  { "timer \"sleep\" in branch beside#1", function(self)
    self:scope(function(scope)
      local branch = self:go("beside", self.sleep, self, 1000)
      self:sleep(1)
      scope:cancel()
      self:await(branch)
    end)
  end, function(self)
    local branch = self:go("beside", self.sleep, self, 1000)
    self:sleep(1)
    self:await(branch)
  end },
  { "step \"slow\"", function(self)
    self:scope(function(scope)
      local step = self:start_step("slow", function() tasklets.await(tasklets.sleep(1000)) end)
      self:sleep(1)
      scope:cancel()
      self:await(step)
    end)
  end, function(self)
    local step = self:start_step("slow", nothing)
    self:sleep(1)
    self:await(step)
  end },
  { "output \"durable_versions.Waiting#1.more\" in branch beside#1", function(self)
    self:scope(function(scope)
      local child = self:spawn(Waiting())
      local branch = self:go("beside", function() return self:await(child.more) end)
      self:sleep(1)
      scope:cancel()
      self:await(branch)
    end)
  end, function(self)
    local child = self:spawn(Waiting())
    local branch = self:go("beside", function() return self:await(child.more) end)
    self:sleep(1)
    self:await(branch)
  end },
}

describe("code that changes", function()
  for _, each in ipairs(given_up) do
    local what, old, new = table.unpack(each)
    local function start(engine, determinism)
      local is_new, after = false, 0
      local class = pipeline.workflow(name_of(), { determinism = determinism, run = function(self)
        local rest = self:go("rest", self.wait_event, self, "end")
        local ok, problem = pcall(is_new and new or old, self)
        if is_new then self:step("after", function() after = after + 1 end) end
        return { self:await(rest), ok, pipeline.is(problem, pipeline.CancelledError), after }
      end })
      local stage = class():start()
      engine:drain()
      pass(engine, 5)
      engine:signal(stage, "go")
      pass(engine, 5)
      return stage, function(yes) is_new = yes end
    end

    it("W59 W60 W63 W75 holds a run that now waits for what it had cancelled: " .. what, function()
      local engine <close> = open()
      local stage, change = start(engine)
      change(true)
      engine:signal(stage, "end", "end")
      pass(engine, 2000)
      local mode, reason = mode_of(engine, stage)
      assert.equal("held", mode)
      assert.match(what, reason, 1, true)
      assert.match("which was cancelled, but the function now ", reason, 1, true)
      assert.match("it. Nothing was executed. Guard changed code with", reason, 1, true)
      change(false)
      assert.is_true(engine:resume(stage))
      engine:drain()
      assert.equal("end", engine:wait(stage).default.value[1])
    end)

    it("W64 W75 by name it is found as it was, cancelled, in every life: " .. what, function()
      local engine <close> = open()
      local stage, change = start(engine, "by_name")
      change(true)
      engine:signal(stage, "other", 1)
      pass(engine, 1)
      engine:signal(stage, "end", "end")
      pass(engine, 2000)
      assert.same({ "end", false, true, 1 }, engine:wait(stage).default.value)
    end)
  end

  it("W59 W75 holds a run that does not cancel any more what it had, and would wait for it only later", function()
    local engine <close> = open()
    local is_new = false
    local class = pipeline.workflow(name_of(), { run = function(self)
      local timer
      pcall(self.scope, self, function(scope)
        timer = self:timer(1000)
        if not is_new then scope:cancel() end
      end)
      self:wait_event("end")
      if is_new then self:await(timer) end
    end })
    local stage = class():start()
    engine:drain()
    is_new = true
    engine:signal(stage, "end")
    engine:drain()
    local mode, reason = mode_of(engine, stage)
    assert.equal("held", mode)
    assert.match("entry 1 of the journal is timer \"timer\"", reason, 1, true)
    assert.match("which was cancelled, but the function now goes on without cancelling it", reason, 1, true)
  end)

  it("W150 patched is true in new runs, false in those that have passed it, and the same all through a run", function()
    local engine <close> = open()
    local is_new, answers = false, {}
    local class = pipeline.workflow(name_of(), { run = function(self, who)
      self:step("a", nothing)
      local first
      if is_new then
        first = self:patched("change")
        self:step(first and "new" or "old", nothing)
      else
        self:step("old", nothing)
      end
      self:wait_event("go")
      for _ = 1, 2 do
        if is_new then answers[#answers + 1] = ("%s %s"):format(who, self:patched("change")) end
      end
      return first
    end })
    local old = class("old"):start()
    engine:drain()
    is_new = true
    local new = class("new"):start()
    engine:drain()
    for _, stage in ipairs { old, new } do engine:signal(stage, "go") end
    assert.is_false(engine:wait(old).default.value)
    assert.is_true(engine:wait(new).default.value)
    table.sort(answers)
    assert.same({ "new true", "new true", "old false", "old false" }, answers)
    local patches = 0
    for _, item in ipairs(engine:get_journal(new.id)) do
      if item.kind == "patch" then patches = patches + 1 end
    end
    assert.equal(1, patches)
  end)

  it("W151 a deprecated patch is true for old and new runs; without the call the run is held: it is named", function()
    local engine <close> = open()
    local mode = "patched"
    local class = pipeline.workflow(name_of(), { run = function(self)
      local answer = true
      if mode == "patched" then answer = self:patched("change") end
      if mode == "deprecated" then answer = self:patched("change", { deprecated = true }) end
      self:step(answer and "new" or "old", nothing)
      self:wait_event("go")
      return answer
    end })
    local kept, left = class():start(), class():start()
    engine:drain()
    mode = "deprecated"
    local new = class():start()
    engine:drain()
    for _, stage in ipairs { kept, new } do
      engine:signal(stage, "go")
      assert.is_true(engine:wait(stage).default.value)
    end
    mode = "gone"
    engine:signal(left, "go")
    engine:drain()
    local is, reason = mode_of(engine, left)
    assert.equal("held", is)
    assert.match('patch "change"', reason)
    assert.match("Guard changed code with self:patched%(id%), or resume the run with the old code", reason)
  end)

  it("W152 runs of an older version run its function, new ones run; one without a function is held", function()
    local engine <close> = open()
    local name = name_of()
    local function version(n)
      return function(self)
        self:step("of " .. n, nothing)
        self:wait_event("go")
        return { n, self:version() }
      end
    end
    local class = pipeline.workflow(name, { run = version(1) })
    local old, lost = class():start(), class():start()
    engine:drain()
    local function deploy(versions) -- as a process with the new code has it
      rawset(class, "run", version(2))
      rawset(class, "_version", 2)
      rawset(class, "versions", versions)
    end
    deploy { version(1) }
    local new = class():start()
    engine:drain()
    engine:signal(old, "go")
    engine:signal(new, "go")
    assert.same({ 1, 1 }, engine:wait(old).default.value)
    assert.same({ 2, 2 }, engine:wait(new).default.value)
    deploy {}
    engine:signal(lost, "go")
    engine:drain()
    local is, reason = mode_of(engine, lost)
    assert.equal("held", is)
    assert.match("no function for runs that were started under version 1", reason)
    deploy { version(1) }
    assert.is_true(engine:resume(lost))
    assert.same({ 1, 1 }, engine:wait(lost).default.value)
  end)
end)

describe("holding a run", function()
  it("W158 nothing more begins; steps at work end, timers keep their time, signals wait; resume goes on", function()
    local engine <close> = open()
    local ran = {}
    local stage
    stage = pipeline.workflow(name_of(), { run = function(self)
      self:step("a", function()
        assert(engine:hold(stage, "a look at it"))
        ran[#ran + 1] = "a"
      end)
      self:step("b", function() ran[#ran + 1] = "b" end)
      return self:wait_event("e")
    end })():start()
    engine:drain()
    assert.same({ "a" }, ran)
    assert.same({ "held", "a look at it" }, { mode_of(engine, stage) })
    assert.equal("ok", engine:get_journal(stage.id)[1].state)
    assert.is_false(engine:hold(stage))
    engine:signal(stage, "e", "kept")
    engine:drain()
    assert.is_true(engine:resume(stage))
    assert.equal("kept", engine:wait(stage).default.value)
    assert.same({ "a", "b" }, ran)
    assert.is_false(pcall(engine.hold, engine, stage))
  end)

  it("W158 W73 one that waits keeps the time of its timer", function()
    local engine <close> = open()
    local stage = pipeline.workflow(name_of(), { run = function(self) self:sleep(100) return self:now() end })():start()
    engine:drain()
    assert.is_true(engine:hold(stage))
    engine:advance(500)
    engine:drain()
    assert.equal("held", (mode_of(engine, stage)))
    assert.is_true(engine:resume(stage))
    assert.equal(1e9 + 500, engine:wait(stage).default.value)
  end)

  local function claims_of(engine, stage)
    return sql.number(engine, "SELECT claim FROM pl_task WHERE id = " .. stage._id)
  end

  it("W158 one that is started by hand and held before it begins waits for resume, not for its task", function()
    local engine <close> = open(helper.path())
    local class = pipeline.workflow(name_of(), { run = nothing })
    local stage = class()
    local task = stage:start { return_task = true }
    assert.is_true(engine:hold(stage, "not yet"))
    task:add()
    engine:drain { delayed = true }
    assert.same({ "held", "not yet" }, { mode_of(engine, stage) })
    assert.equal(0, claims_of(engine, stage))
    assert.is_true(engine:resume(stage))
    assert.equal(1, engine:wait(stage).default.value)
  end)

  it("W158 one that waits for its inputs is held, and let go on, before they come or when they have", function()
    local engine <close> = open(helper.path())
    local Input = pipeline.workflow(name_of(), { run = function(self) return self:wait_event("go") end })
    local Second = pipeline.workflow(name_of(), { run = function(_, value) return value end })
    for early = 0, 1 do
      local input, waiting = Input(), nil
      local root = pipeline.define(name_of(), { run = function(self)
        waiting = Second(self:spawn(input))
        return self:spawn(waiting)
      end })():start()
      engine:drain()
      assert.equal("waiting", engine:stage(waiting.id).state)
      assert.is_true(engine:hold(waiting))
      assert.is_false(engine:hold(waiting))
      if early == 1 then assert.is_true(engine:resume(waiting)) end
      engine:signal(input, "go", 7)
      engine:drain()
      if early == 0 then
        assert.equal("held", (mode_of(engine, waiting)))
        assert.equal(0, claims_of(engine, waiting))
        assert.is_true(engine:resume(waiting))
      end
      assert.equal(7, engine:wait(root).default.value)
    end
  end)

  it("W63 all runs of a class that are held go on at once", function()
    local engine <close> = open()
    local which, stages = "a", {}
    local class = pipeline.workflow(name_of(), { run = function(self)
      self:step(which, nothing)
      return self:wait_event("go")
    end })
    local other = pipeline.workflow(name_of(), { run = function(self) self:wait_event("never") end })():start()
    for i = 1, 3 do stages[i] = class():start() end
    engine:drain()
    engine:hold(other)
    which = "b"
    for i = 1, 2 do engine:signal(stages[i], "go", i) end
    engine:drain()
    which = "a"
    assert.equal(2, engine:resume(class))
    assert.equal(0, engine:resume(class))
    for i = 1, 2 do assert.equal(i, engine:wait(stages[i]).default.value) end
    assert.equal("suspended", (mode_of(engine, stages[3])))
    assert.equal("held", (mode_of(engine, other)))
  end)
end)

describe("a run of a class with determinism = \"by_name\"", function()
  local before, after = nil, nil

  -- A run that has waited with the code of before, and goes on with that of after; every wait is a replay.
  local function change(definition, lines)
    local engine = pipeline.open(":memory:", {
      virtual_time = true, virtual_start = 1e9, warm_runs = 0,
      log = function(level, line) if level >= 30 then lines[#lines + 1] = line end end,
    })
    local is_new = false
    definition.run = function(self, ...) return (is_new and after or before)(self, ...) end
    local stage = pipeline.workflow(name_of(), definition)():start()
    engine:drain()
    is_new = true
    return engine, stage
  end

  local function calls_of(list)
    return function(self, name, options)
      options = options or {}
      options.name = name
      return self:step(options, function()
        list[#list + 1] = name
        return name
      end)
    end
  end

  it("W64 passes over what it does not ask for any more, says so once for each, and does what is new", function()
    local lines, done = {}, {}
    local step = calls_of(done)
    function before(self)
      step(self, "a")
      step(self, "gone")
      self:sleep(5)
      return step(self, "b"), self:wait_event("go")
    end
    function after(self)
      step(self, "a")
      step(self, "new")
      self:set_value("seen", "new code")
      local b = step(self, "b")
      self:wait_event("go")
      return b .. step(self, "last")
    end
    local engine, stage = change({ determinism = "by_name" }, lines)
    finally(function() engine:close() end)
    assert.same({ "a", "gone" }, done)
    engine:advance(10)
    engine:drain()
    assert.same({ "a", "gone", "new", "b" }, done)
    assert.equal("new code", engine:get_value(stage, "seen"))
    assert.same({}, lines)
    engine:signal(stage, "go")
    assert.equal("blast", engine:wait(stage).default.value)
    assert.same({ "a", "gone", "new", "b", "last" }, done)
    local told = {}
    for i, line in ipairs(lines) do told[i] = line:match("has not asked for (entry %d+ of the journal, %S+ %S+)") end
    assert.same({ 'entry 2 of the journal, step "gone"', 'entry 3 of the journal, timer "sleep"' }, told)
  end)

  it("W64 finds what was passed over when it asks for it later, in every life at the same place", function()
    local lines, done, orders = {}, {}, {}
    local step = calls_of(done)
    function before(self)
      step(self, "a")
      step(self, "b")
      self:go("side", function() step(self, "c", { key = 1 }) end)
      self:wait_event("go")
    end
    function after(self)
      step(self, "a")
      self:sleep(5)
      local order = {}
      local side = self:go("side", function()
        step(self, "c", { key = 1 })
        order[#order + 1] = "c"
        step(self, "new")
        order[#order + 1] = "new"
      end)
      step(self, "b")
      order[#order + 1] = "b"
      self:sleep(5)
      self:await(side)
      self:wait_event("go")
      orders[#orders + 1] = table.concat(order, " ")
      return self:history().entries
    end
    local engine, stage = change({ determinism = "by_name" }, lines)
    finally(function() engine:close() end)
    assert.same({ "a", "b", "c" }, done)
    engine:signal(stage, "go")
    engine:wait(stage)
    assert.same({ "a", "b", "c", "new" }, done)
    assert.same({ "b c new" }, orders)
    assert.same({}, lines)
  end)

  it("W64 W63 has the identities of any other; without it such a run is held", function()
    local lines, done = {}, {}
    local step = calls_of(done)
    function before(self)
      for _ = 1, 3 do step(self, "a") end
      self:wait_event("go")
    end
    function after(self)
      step(self, "a")
      local n = #done
      self:transaction("a", function() end)
      self:wait_event("go")
      return n
    end
    local engine, stage = change({ determinism = "by_name" }, lines)
    engine:signal(stage, "go")
    assert.equal(3, engine:wait(stage).default.value)
    engine:close()
    assert.equal(3, #done)
    assert.equal(2, #lines)
    local strict, other = change({}, lines)
    finally(function() strict:close() end)
    strict:signal(other, "go")
    strict:drain()
    assert.equal("held", (mode_of(strict, other)))
  end)
end)
