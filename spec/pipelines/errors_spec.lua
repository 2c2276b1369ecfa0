-- Error classes, and what of the durable mechanics can be seen (P258–P264, G12, G13, G17, G18).

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local delivery = require "spec.support.delivery"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

describe("errors", function()
  local parents = {
    PipelineSetupError = "Error", PipelineExistsError = "PipelineSetupError", PipelineRuntimeError = "Error",
    SlotNotFilledError = "PipelineRuntimeError", SlotNotDeclaredError = "PipelineRuntimeError",
    UnexpectedPipelineError = "PipelineRuntimeError", PipelineUserError = "Error", Retry = "PipelineUserError",
    Abort = "PipelineUserError", PipelineStatusError = "Error", AbortedError = "Error", TimeoutError = "Error",
    SerializationError = "Error", StoreError = "Error", ConfigurationError = "Error",
  }

  it("P258 L10 are in a tree of classes", function()
    local names = { "Error" }
    for name in pairs(parents) do names[#names + 1] = name end
    for _, name in ipairs(names) do
      local object = pipeline[name]("why")
      local above, at = {}, name
      while at do
        above[at] = true
        at = parents[at]
      end
      for _, other in ipairs(names) do
        assert.equal(above[other] or false, pipeline.is(object, pipeline[other]), name .. " is " .. other)
      end
      assert.is_true(pipeline.is(object))
      assert.same({ name, "why", "spec/pipelines/errors_spec.lua:22" }, { object.class, object.message, object.where })
      assert.equal(("%s: %s: why"):format(object.where, name), tostring(object))
    end
  end)

  it("P258 are told from everything else", function()
    local imitation = setmetatable({ class = "Error", message = "x" }, { __name = "pipeline.Error" })
    for _, value in ipairs { "Error: x", 17, false, {}, imitation, pipeline.Error, print } do
      assert.is_false(pipeline.is(value))
      assert.is_false(pipeline.is(value, pipeline.Error))
    end
    assert.is_false(pipeline.is(nil, pipeline.Error))
  end)

  it("P258 have a readable text whatever they are made of", function()
    local at = "spec/pipelines/errors_spec.lua:"
    assert.equal(at .. "48: Abort", tostring(pipeline.Abort()))
    assert.equal(at .. "49: Abort: 17", tostring(pipeline.Abort(17)))
    local worse = setmetatable({}, { __tostring = function() error("no") end })
    assert.equal(at .. "51: Abort: (table without a readable text)", tostring(pipeline.Abort(worse)))
    assert.equal("pipeline.Abort", tostring(pipeline.Abort))
  end)

  it("P258 that the library raises have a traceback that leads to the caller", function()
    local _ <close> = pipeline.open(":memory:", { virtual_time = true })
    local Give = helper.define(function(_, value) return value end)
    local stage = Give(1):start()
    local problem = helper.raises(pipeline.UnexpectedPipelineError, stage.complete, stage, 1)
    assert.matches("errors_spec.lua", problem.traceback, 1, true)
  end)
end)

describe("the machinery", function()
  local engine, trace
  local Give = pipeline.define("machinery.Give", { run = function(_, value) return value end })
  local Note = pipeline.define("machinery.Note", {
    run = function(_, ...) table.insert(trace, { ... }) end,
  })
  local Async = pipeline.define("machinery.Async", {
    async = true, output_names = { "a", "b" }, run = function() end,
    callback = function(self, params)
      table.insert(trace, params.what)
      if params.done then self:complete(params.done) end
    end,
  })

  before_each(function()
    engine = helper.open()
    trace = {}
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function async_of(stage)
    local _, id = helper.find(stage, Async)
    return pipeline.from_id(id)
  end

  local function reopen(options)
    local given = { path = engine._path }
    for name, value in pairs(options or {}) do given[name] = value end
    engine:close()
    engine = helper.open(given)
    return engine
  end

  it("P259 starts a child once, however many inputs it has and however they are filled", function()
    local Tree = helper.define(function(self)
      local f = self:spawn(Async())
      self:after({ f, f }, function()
        self:spawn(Note(f, f.a, f.b, f, { f.a, x = f }))
        self:spawn(Note(f.a))
      end)
    end)
    local stage = Tree():start()
    engine:drain()
    local async = async_of(stage)
    for i = 1, 3 do async:fill("a", "a" .. i) end
    engine:drain()
    assert.same({}, trace)
    async:complete("d1")
    async:complete("d2")
    engine:drain()
    assert.same({ { "a3" } }, trace)
    async:fill("b", "b1")
    engine:drain { delayed = true }
    assert.same({ { "a3" }, { "d2", "a3", "b1", "d2", { "a3", x = "d2" } } }, trace)
    assert.equal("done", helper.entry(stage).status)
  end)

  it("P259 finalizes once, whoever asks for it", function()
    local count = 0
    local Once = helper.define {
      async = true, run = function() end, try_cancel = function() return true end,
      finalized = function() count = count + 1 end,
    }
    local Tree = helper.define(function(self) for _ = 1, 3 do self:spawn(Once()) end end)
    local stage = Tree():start()
    engine:drain()
    assert.is_true(stage:abort("one"))
    assert.is_false(stage:abort("two"))
    for _, id in ipairs(helper.entry(stage).children) do assert.is_false(pipeline.from_id(id):abort("three")) end
    engine:drain { delayed = true }
    assert.is_false(stage:abort("four"))
    engine:drain { delayed = true }
    assert.equal(3, count)
    assert.equal("one", helper.entry(stage).abortMessage)
  end)

  it("P259 takes the name of a task once, and again when its tombstone is gone", function()
    reopen { tombstone_seconds = 100 }
    local stage = Async():start()
    engine:drain()
    local function add(what) return stage:get_callback_task({ name = "news", params = { what = what } }):add() end
    add("first")
    local problem = helper.raises(taskqueue.TaskAlreadyExistsError, add, "second")
    assert.is_true(pipeline.is(problem, pipeline.Error))
    engine:drain()
    helper.raises(taskqueue.TombstonedTaskError, add, "third")
    engine:advance(99)
    helper.raises(taskqueue.TombstonedTaskError, add, "fourth")
    engine:advance(2)
    add("fifth")
    engine:drain { delayed = true }
    assert.same({ "first", "fifth" }, trace)
  end)

  it("P260 L18 carries any idempotence key through to the end (G12)", function()
    local Tree = helper.define {
      run = function(self, value)
        self:spawn(Give(self:spawn(Give(value))))
      end,
      finalized = function(self) table.insert(trace, self.args[1]) end,
    }
    local keys = {
      "order 17", "a/b?c=d&e#f", "üñï", "\0\1\2", "\255\254", ("k"):rep(500), ("k"):rep(501), ("é"):rep(9999), ".", "-",
    }
    local stages = {}
    for i, key in ipairs(keys) do stages[i] = Tree(i):start { idempotence_key = key } end
    engine:drain { delayed = true }
    for i, key in ipairs(keys) do
      assert.equal("done", helper.entry(stages[i]).status)
      assert.equal(i, pipeline.from_id(key).outputs.default.value)
      assert.equal(stages[i].id, pipeline.from_id(key).id)
      helper.raises(pipeline.PipelineExistsError, Tree(0).start, Tree(0), { idempotence_key = key })
    end
    table.sort(trace)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, trace)
    local async = Async():start { idempotence_key = "käse & brot" }
    engine:drain()
    async:get_callback_task({ params = { what = "called" } }):add()
    engine:drain()
    assert.equal("called", trace[11])
  end)

  it("P261 fills a slot and wakes who waits for it in one commit (G13)", function()
    local Tree = helper.define(function(self) self:spawn(Note(self:spawn(Async()).a)) end)
    local stage = Tree():start()
    engine:drain()
    local _, child = helper.find(stage, Note)
    local id = pipeline.from_id(child)._id
    local tasks = "SELECT count(*) FROM pl_task WHERE id = " .. id
    assert.equal(0, sql.number(engine, tasks))
    async_of(stage):fill("a", "now")
    assert.equal(1, sql.number(engine, tasks))
    assert.equal(1, sql.number(engine, "SELECT state FROM pl_stage WHERE id = " .. id))
    assert.same({}, trace)
    reopen():drain()
    assert.same({ { "now" } }, trace)
  end)

  it("P261 also when the process dies as soon as fill has returned", function()
    local module = helper.path() .. ".lua"
    local file = assert(io.open(module, "w"))
    file:write([[
      local path = ...
      local pipeline = require "pipeline"
      local Async = pipeline.define("dying.Async", { async = true, run = function() end })
      local Give = pipeline.define("dying.Give", { run = function(_, value) return value .. "!" end })
      local Tree = pipeline.define("dying.Tree", {
        run = function(self)
          local f = self:spawn(Async())
          self:spawn(Give(f))
        end,
      })
      if not path then return end
      local engine = pipeline.open(path, { durability = "normal" })
      local stage = Tree():start { idempotence_key = "tree" }
      engine:drain()
      local tree = pipeline.get_status_tree("tree")
      pipeline.from_id(tree.pipelines.tree.children[1]):complete("value")
      os.exit(3, false)
    ]])
    file:close()
    local path = helper.path()
    local _, _, code = os.execute(("lua5.4 %s %s"):format(module, path))
    assert.equal(3, code)
    dofile(module)
    engine:close()
    engine = pipeline.open(path, { durability = "normal" })
    finally(function() engine:close() end)
    assert.equal("value!", engine:wait("tree", { timeout = 20 }).default.value)
  end)

  it("P262 starts all that wait for one slot, however many", function()
    local Many = helper.define(function(self)
      local f = self:spawn(Async())
      for i = 1, 300 do self:spawn(Note(i, f.a)) end
    end)
    local stage = Many():start()
    engine:drain()
    assert.equal(300, sql.number(engine, "SELECT count(*) FROM pl_stage WHERE state = 0"))
    local async = async_of(stage)
    async:fill("a", "go")
    assert.equal(0, sql.number(engine, "SELECT count(*) FROM pl_stage WHERE state = 0"))
    engine:drain()
    assert.equal(300, #trace)
    local seen = {}
    for _, args in ipairs(trace) do
      assert.equal("go", args[2])
      seen[args[1]] = true
    end
    assert.equal(300, #seen)
  end)

  it("P263 makes all children and their tasks in the commit of the run", function()
    reopen { concurrency = 1 }
    local seen
    local Child = helper.define(function(_, i)
      seen = seen or {
        stages = sql.number(engine, "SELECT count(*) FROM pl_stage"),
        tasks = sql.number(engine, "SELECT count(*) FROM pl_task"),
      }
      return i
    end)
    local Tree = helper.define(function(self)
      for i = 1, 250 do self:spawn(Child(i)) end
    end)
    local stage = Tree()
    assert.equal(250, helper.result(stage))
    assert.same({ stages = 251, tasks = 250 }, seen)
    assert.equal(250, #helper.entry(stage).children)
  end)

  it("P263 and none of them when that commit is lost", function()
    local Tree = helper.define(function(self)
      for i = 1, 250 do self:spawn(Note(i)) end
    end)
    local before
    local intercepted = false
    delivery.intercept(engine, function(claim, execute, lose)
      if intercepted then return execute() end
      intercepted = true
      lose()
      before = sql.number(engine, "SELECT count(*) FROM pl_stage")
      assert(claim.kind == "run")
    end)
    local stage = Tree():start()
    engine:drain { delayed = true }
    assert.equal(1, before)
    assert.equal(250, #trace)
    assert.equal("done", helper.entry(stage).status)
  end)

  it("P264 works off records in which later fields are missing, with the defaults (G17)", function()
    local tries = 0
    local Old = pipeline.define("machinery.Old", {
      max_attempts = 2, backoff_seconds = 3, backoff_factor = 4,
      run = function(self, value)
        tries = tries + 1
        trace[tries] = { self.target or "none", self.queue_name, self.base_path, self.max_attempts, engine:now() }
        if tries == 1 then error("again", 0) end
        self:spawn(Give(value))
      end,
    })
    local stage = Old("old"):start()
    local start = engine:now()
    sql.run(engine, [[
      UPDATE pl_stage SET max_attempts = NULL, backoff_seconds = NULL, backoff_factor = NULL, timeout = NULL,
        base_path = NULL, target = NULL, eta = NULL, started = NULL, outputs = NULL, key = NULL, inputs = NULL,
        after_slots = NULL, retry_at = NULL]])
    local id = stage.id
    reopen()
    local entry = helper.entry(stage)
    assert.same({ 3, 15, 2, "run", "default" }, {
      entry.maxAttempts, entry.backoffSeconds, entry.backoffFactor, entry.status, entry.queueName,
    })
    engine:drain { delayed = true }
    assert.equal("old", engine:wait(id, { timeout = 0 }).default.value)
    local base = "/_ah/pipeline"
    assert.same({ { "none", "default", base, 3, start }, { "none", "default", base, 3, start + 15 } }, trace)
  end)
end)
