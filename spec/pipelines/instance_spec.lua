-- from_id and the facts of an instance (P144–P151).

local pipeline = require "pipeline"
local class = require "pipeline.workflow.class"
local helper = require "spec.support.helper"

local START = 1700000000.0

describe("an instance", function()
  local engine
  local Give = pipeline.define("instance.Give", { run = function(_, value) return value end })
  local Other = pipeline.define("instance.Other", { async = true, run = function() end })
  local Async = pipeline.define("instance.Async", {
    async = true, output_names = { "a", "b" }, run = function() end, try_cancel = function() return true end,
  })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function child_id(stage, of)
    local _, id = helper.find(stage, of)
    return id
  end

  it("P144 read by its id is of its own class and has everything that was stored", function()
    local stage = Async("one", { 2, three = 3.5 }, nil):with_params {
      max_attempts = 7, backoff_seconds = 1234.56, backoff_factor = 2.718, target = "my-target", timeout = 9.5,
    }:start { queue_name = "queue", base_path = "/base", idempotence_key = "key-1" }
    engine:drain()
    for _, from_id in ipairs { pipeline.from_id, Async.from_id, Give.from_id, pipeline.Pipeline.from_id } do
      local copy = from_id("key-1")
      assert.equal(Async, copy.class)
      assert.equal("instance.Async", copy.class_path)
      assert.not_equal(stage, copy)
      assert.same({ "one", { 2, three = 3.5 } }, { copy.args[1], copy.args[2] })
      assert.equal(3, copy.args.n)
      assert.same({ "key-1", "key-1", "key-1", "key-1", true },
        { copy.id, copy.pipeline_id, copy.root_id, copy.root_pipeline_id, copy.is_root })
      assert.same({ "queue", "/base", "my-target" }, { copy.queue_name, copy.base_path, copy.target })
      assert.same({ 7, 1234.56, 2.718, 9.5 },
        { copy.max_attempts, copy.backoff_seconds, copy.backoff_factor, copy.timeout })
      assert.same({ false, false, false },
        { copy.outputs.a.filled, copy.outputs.b.filled, copy.outputs.default.filled })
    end
  end)

  it("P144 has the defaults when nothing was said", function()
    local stage = Give(1):start()
    local copy = pipeline.from_id(stage.id)
    assert.matches("^%x+$", copy.id)
    assert.equal(32, #copy.id)
    assert.same({ "default", "/_ah/pipeline", 3, 15, 2, 1, true }, { copy.queue_name, copy.base_path, copy.max_attempts,
      copy.backoff_seconds, copy.backoff_factor, copy.current_attempt, copy.is_root })
    assert.is_nil(copy.target)
    assert.equal(copy.id, copy.root_id)
  end)

  it("P144 of a child knows its root", function()
    local Tree = helper.define(function(self) self:spawn(Other(1)) end)
    for _, key in ipairs { "", "a-key" } do
      local stage = Tree():start { idempotence_key = key, queue_name = "q", base_path = "/b" }
      engine:drain()
      local copy = pipeline.from_id(child_id(stage, Other))
      assert.same({ stage.id, false, "q", "/b", Other },
        { copy.root_id, copy.is_root, copy.queue_name, copy.base_path, copy.class })
      assert.not_equal(stage.id, copy.id)
    end
  end)

  it("P144 is nil when there is none; ids are texts", function()
    for _, id in ipairs { "unknown", "", ("0"):rep(32), ("f"):rep(32), ("f"):rep(33), "\0\xff", ("x"):rep(10000) } do
      assert.is_nil(pipeline.from_id(id))
      assert.is_nil(Give.from_id(id))
      assert.is_nil(engine:from_id(id))
    end
    helper.misuse("bad argument #1 to 'from_id' %(string expected, got nil%)", pipeline.from_id)
    helper.misuse("string expected, got number", Give.from_id, 1)
    helper.misuse("string expected, got table", engine.from_id, engine, {})
    helper.misuse("did you mean 'resolve_outputs'", pipeline.from_id, "x", { resolve_output = false })
  end)

  it("P144 is read from the store anew each time, and from any engine on the file", function()
    local stage = Async():start()
    engine:drain()
    local before = pipeline.from_id(stage.id)
    before:fill("a", 1)
    assert.is_false(before.outputs.a.filled)
    assert.equal(1, pipeline.from_id(stage.id).outputs.a.value)
    local other = helper.open { path = engine._path, no_worker = true }
    local copy = other:from_id(stage.id)
    assert.equal(1, copy.outputs.a.value)
    copy:fill("b", 2)
    assert.equal(2, pipeline.from_id(stage.id).outputs.b.value)
    assert.equal(2, pipeline.from_id(stage.id, { engine = other }).outputs.b.value)
    assert.same({ 1, 2 }, { other:from_id(stage.id).outputs.a.value, other:from_id(stage.id).outputs.b.value })
  end)

  it("P145 whose class cannot be loaded is of the class that was asked, with a warning", function()
    local name = helper.name()
    local stage = pipeline.define(name, { run = function() end })("argument"):start { idempotence_key = "orphan" }
    class.registry[name] = nil
    local copy = Other.from_id("orphan")
    assert.equal(Other, copy.class)
    assert.same({ "orphan", "argument", name }, { copy.id, copy.args[1], copy.class_path })
    local warnings = helper.log(30)
    assert.equal(1, #warnings)
    assert.matches("from_id of orphan: class " .. name, warnings[1], 1, true)
    assert.is_nil(rawget(pipeline.from_id("orphan").class, "class_path")) -- the base class
    pipeline.define(name, { run = function() return "found" end })
    assert.equal("found", engine:wait(stage.id).default.value)
  end)

  it("P145 L20 whose class is in a module that may be loaded is found there", function()
    engine:close()
    engine = helper.open { modules = { "instance_shop" } }
    local stage = pipeline.define("instance_shop.orders.Order", { run = function() end })():start()
    class.registry["instance_shop.orders.Order"] = nil
    local loads = 0
    package.preload["instance_shop.orders"] = function()
      loads = loads + 1
      pipeline.define("instance_shop.orders.Order", { run = function() return "from the module" end })
      return true
    end
    assert.equal("instance_shop.orders.Order", pipeline.from_id(stage.id).class.class_path)
    assert.equal("from the module", engine:wait(stage).default.value)
    assert.equal(1, loads)
    assert.same({}, helper.log(30))
    package.preload["instance_shop.orders"], package.loaded["instance_shop.orders"] = nil, nil
  end)

  it("P146 whose inputs are not filled can be read: those arguments are its slots", function()
    local Needs = pipeline.define("instance.Needs", { run = function(_, ...) return select("#", ...) end })
    local Tree = helper.define(function(self)
      local async = self:spawn(Async())
      self:spawn(Needs("plain", async, { deep = { async.a } }, async.b))
    end)
    local stage = Tree():start()
    engine:drain()
    local id = child_id(stage, Needs)
    local async = pipeline.from_id(child_id(stage, Async))
    async:fill("a", "filled")
    local copy = pipeline.from_id(id)
    assert.equal("waiting", helper.find(stage, Needs).status)
    local args = copy.args
    assert.same({ "plain", "filled", 4 }, { args[1], args[3].deep[1], args.n })
    for _, i in ipairs { 2, 4 } do
      assert.is_true(pipeline.is_slot(args[i]))
      assert.is_false(args[i].filled)
      helper.raises(pipeline.SlotNotFilledError, function() return args[i].value end)
    end
    assert.matches("instance.Needs", tostring(copy))
    async:complete(1)
    async:fill("b", nil)
    args = pipeline.from_id(id).args
    assert.same({ "plain", 1, { deep = { "filled" } }, nil, 4 }, { args[1], args[2], args[3], args[4], args.n })
    assert.equal(4, engine:wait(id).default.value)
  end)

  it("P147 shows its outputs, unless told not to read them", function()
    local stage = Async():start()
    engine:drain()
    stage:fill("a", { "value" })
    engine:advance(5)
    stage:fill("b", nil)
    local copy = pipeline.from_id(stage.id)
    assert.same({ true, true, false }, { copy.outputs.a.filled, copy.outputs.b.filled, copy.outputs.default.filled })
    assert.same({ "value" }, copy.outputs.a.value)
    assert.is_nil(copy.outputs.b.value)
    assert.same({ stage.id, START, START + 5 },
      { copy.outputs.a.filler, copy.outputs.a.fill_time, copy.outputs.b.fill_time })
    helper.raises(pipeline.SlotNotFilledError, function() return copy.outputs.default.value end)
    helper.raises(pipeline.SlotNotDeclaredError, function() return copy.outputs.c end)
    for _, from_id in ipairs { pipeline.from_id, Async.from_id } do
      copy = from_id(stage.id, { resolve_outputs = false })
      assert.is_false(copy.outputs.a.filled)
      helper.raises(pipeline.SlotNotFilledError, function() return copy.outputs.a.value end)
    end
    copy:fill("a", "through the unresolved copy")
    assert.equal("through the unresolved copy", engine:from_id(stage.id).outputs.a.value)
    assert.is_false(engine:from_id(stage.id, { resolve_outputs = false }).outputs.a.filled)
  end)

  it("P147 shows outputs that it shares with the child that filled them", function()
    local Pair = helper.define {
      output_names = { "a" },
      run = function(self)
        self:fill("a", "of the child")
        return "default"
      end,
    }
    local Tree = helper.define { output_names = { "a" }, run = function(self) self:spawn(Pair()) end }
    local stage = Tree():start()
    engine:drain()
    local copy = pipeline.from_id(stage.id)
    assert.same({ "of the child", "default" }, { copy.outputs.a.value, copy.outputs.default.value })
    assert.equal(child_id(stage, Pair), copy.outputs.a.filler)
  end)

  it("P148 has its arguments back as they were given, whatever the run did to them", function()
    local seen
    local Use = helper.define(function(self, list, map, ...)
      seen = { self.args[1], self.args[2], self.args.n, select("#", ...), (select(2, ...)) }
      list[1] = "changed"
      map.new = true
      self.args[1] = "not even the list itself"
      self.args[9] = 9
    end)
    local shared = { "shared" }
    local stage = Use({ 1, shared, shared }, { [1] = "a", [3] = "c", name = "x" }, nil, 1.0, "\xff\0", nil):start()
    for _ = 1, 2 do
      local args = pipeline.from_id(stage.id).args
      assert.same({ 1, { "shared" }, { "shared" } }, args[1])
      assert.equal(args[1][2], args[1][3])
      assert.same({ [1] = "a", [3] = "c", name = "x" }, args[2])
      assert.is_nil(args[3])
      assert.equal("float", math.type(args[4]))
      assert.same({ "\xff\0", nil, 6 }, { args[5], args[6], args.n })
      engine:drain()
    end
    assert.same({ 6, 4, 1.0 }, { seen[3], seen[4], seen[5] })
    assert.equal("instance.Give(1, \"two\")", (tostring(Give(1, "two"))))
    assert.equal(tostring(Give(1, "two")), tostring(pipeline.from_id(Give(1, "two"):start().id)))
  end)

  it("P149 has finalized only when done, was aborted only when aborted", function()
    local function facts(stage)
      local copy = pipeline.from_id(stage.id)
      return { copy.has_finalized, copy.was_aborted }
    end
    local new = Give(1)
    assert.same({ false, false }, { new.has_finalized, new.was_aborted })
    local done, aborted = Give(1):start(), Async():start()
    assert.same({ false, false }, facts(done))
    engine:drain()
    assert.same({ true, false }, facts(done))
    assert.same({ false, false }, facts(aborted))
    assert.is_true(aborted:abort())
    engine:drain()
    assert.same({ false, true }, facts(aborted))
    helper.raises(pipeline.UnexpectedPipelineError, function() done.has_finalized = true end)
    helper.raises(pipeline.UnexpectedPipelineError, function() done.was_aborted = true end)
  end)

  it("P150 counts its attempts from 1", function()
    local seen = {}
    local Tries = helper.define {
      backoff_seconds = 1,
      run = function(self)
        table.insert(seen, self.current_attempt)
        if self.current_attempt < 3 then error("again") end
      end,
    }
    local stage = Tries()
    assert.equal(1, stage.current_attempt)
    stage:start()
    for attempt = 1, 3 do
      assert.equal(attempt, pipeline.from_id(stage.id).current_attempt)
      engine:drain()
      engine:advance(attempt)
    end
    engine:drain()
    assert.same({ 1, 2, 3 }, seen)
    assert.equal(3, pipeline.from_id(stage.id).current_attempt)
    local async = Async():start()
    engine:drain()
    assert.is_true(pipeline.from_id(async.id):retry())
    assert.equal(2, pipeline.from_id(async.id).current_attempt)
    helper.raises(pipeline.UnexpectedPipelineError, function() stage.current_attempt = 1 end)
  end)

  it("P151 tells whether test mode is on", function()
    local seen = {}
    local Child = helper.define(function(self) table.insert(seen, self.test_mode) end)
    local Tree = helper.define {
      run = function(self)
        table.insert(seen, self.test_mode)
        table.insert(seen, Child().test_mode)
        self:spawn(Child())
      end,
      finalized = function(self) table.insert(seen, self.test_mode) end,
    }
    local stage = Tree()
    assert.is_false(stage.test_mode)
    stage:start()
    engine:drain()
    assert.is_false(pipeline.from_id(stage.id).test_mode)
    assert.same({ false, false, false, false }, seen)
    seen = {}
    stage = Tree():start_test()
    assert.is_true(stage.test_mode)
    assert.same({ true, true, true, true }, seen)
    assert.is_false(Tree().test_mode)
  end)

  it("P148 keeps what the user stores in its own fields to itself", function()
    local Own = helper.define(function(self)
      assert(self.note == nil)
      self.note = "of the run"
      return self.note
    end)
    local stage = Own()
    stage.note = "of the starter"
    assert.equal("of the run", helper.result(stage))
    assert.equal("of the starter", stage.note)
    assert.is_nil(pipeline.from_id(stage.id).note)
  end)
end)
