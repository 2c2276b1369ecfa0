-- Creating, starting and naming pipelines (P1–P23).

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

describe("a new pipeline", function()
  local engine
  local Add = pipeline.define("creation.Add", { run = function(_, a, b) return a + b end })
  local Divide = pipeline.define("creation.Divide", {
    output_names = { "remainder" },
    run = function(self, a, b)
      self:fill("remainder", a % b)
      return a // b
    end,
  })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("P1 keeps its arguments and knows nothing else yet", function()
    local stage = Add(1, { x = 2 }, nil)
    assert.equal(3, stage.args.n)
    assert.equal(1, stage.args[1])
    assert.same({ x = 2 }, stage.args[2])
    assert.is_nil(stage.args[3])
    for _, name in ipairs { "id", "pipeline_id", "root_id", "queue_name", "base_path" } do
      assert.is_nil(stage[name])
    end
    assert.is_false(stage.has_finalized)
    assert.is_false(stage.was_aborted)
    assert.equal(1, stage.current_attempt)
  end)

  it("P2 start gives it an id, the default queue and the default base path", function()
    local stage = Add(1, 2)
    assert.equal(stage, stage:start())
    assert.matches("^%x+$", stage.id)
    assert.equal(32, #stage.id)
    assert.equal(stage.id, stage.pipeline_id)
    assert.equal(stage.id, stage.root_id)
    assert.is_true(stage.is_root)
    assert.equal("default", stage.queue_name)
    assert.equal("/_ah/pipeline", stage.base_path)
    local other = Add(1, 2):start()
    assert.not_equal(stage.id, other.id)
  end)

  it("P3 start makes exactly one task ready", function()
    Add(1, 2):start()
    assert.equal(1, engine:status().queues.default.ready)
  end)

  it("P4 start writes the record and a waiting slot for every output at once", function()
    local stage = Divide(7, 2):start()
    local tree = pipeline.get_status_tree(stage.id)
    local entry = tree.pipelines[stage.id]
    assert.equal("run", entry.status)
    assert.equal(1700000000000, entry.startTimeMs)
    for _, name in ipairs { "default", "remainder" } do
      assert.equal("waiting", tree.slots[entry.outputs[name]].status)
    end
  end)

  it("P5 an idempotence key is the id", function()
    local stage = Add(1, 2):start { idempotence_key = "order-17" }
    assert.equal("order-17", stage.id)
    assert.equal("order-17", stage.root_id)
    assert.equal("order-17", pipeline.from_id("order-17").id)
  end)

  it("P6 a key can be used once, whatever became of the first use", function()
    Add(1, 2):start { idempotence_key = "k" }
    helper.raises(pipeline.PipelineExistsError, function() Divide(1, 2):start { idempotence_key = "k" } end)
    engine:drain()
    local problem = helper.raises(pipeline.PipelineExistsError, function()
      Add(1, 2):start { idempotence_key = "k" }
    end)
    assert.is_true(pipeline.is(problem, pipeline.PipelineSetupError))
    local gone = Add(1, 2):start { idempotence_key = "a", countdown = 100 }
    gone:abort("no")
    engine:drain { delayed = true }
    assert.is_true(pipeline.from_id("a").was_aborted)
    helper.raises(pipeline.PipelineExistsError, function() Add(1, 2):start { idempotence_key = "a" } end)
  end)

  it("P7 an empty key is none", function()
    local a, b = Add(1, 2):start { idempotence_key = "" }, Add(1, 2):start { idempotence_key = "" }
    assert.not_equal(a.id, b.id)
    assert.equal(32, #a.id)
  end)

  it("P8 P260 a key that is no plain name is hashed, works, and is found by its bytes", function()
    local key = "\xff\x00 order/17"
    local stage = Add(1, 2):start { idempotence_key = key }
    assert.matches("^%x+$", stage.id)
    assert.equal(40, #stage.id)
    helper.raises(pipeline.PipelineExistsError, function() Add(1, 2):start { idempotence_key = key } end)
    engine:drain()
    assert.equal(3, pipeline.from_id(key).outputs.default.value)
    assert.equal(3, pipeline.from_id(stage.id).outputs.default.value)
    assert.equal(40, #Add(1, 2):start { idempotence_key = ("x"):rep(501) }.id)
    assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", require("pipeline.core").sha1("abc"))
  end)

  it("P8 a key that looks like an id is a key", function()
    local stage = Add(1, 2):start()
    local other = Add(3, 4):start { idempotence_key = ("0123456789abcdef"):rep(2) }
    assert.equal(7, engine:wait(other.id).default.value)
    assert.equal(3, engine:wait(stage.id).default.value)
  end)

  it("P9 return_task writes the records and leaves the start to the caller", function()
    local stage = Add(1, 2)
    local task = stage:start { return_task = true }
    assert.is_nil(task.name)
    assert.equal("/_ah/pipeline/run", task.url)
    engine:drain { delayed = true }
    assert.is_false(pipeline.from_id(stage.id).outputs.default.filled)
    assert.equal(task, task:add())
    assert.is_true(task.was_enqueued)
    engine:drain()
    assert.equal(3, pipeline.from_id(stage.id).outputs.default.value)
    local taskqueue = require "pipeline.taskqueue"
    helper.raises(taskqueue.BadTaskStateError, task.add, task)
  end)

  it("P10 the queue given to start is that of the whole tree", function()
    local queues = {}
    local Leaf = helper.define(function(self) queues[#queues + 1] = self.queue_name end)
    local Tree = helper.define(function(self)
      queues[#queues + 1] = self.queue_name
      self:spawn(Leaf())
      self:spawn(Leaf())
    end)
    local stage = Tree():start { queue_name = "red" }
    assert.equal("red", stage.queue_name)
    assert.equal(1, engine:status().queues.red.ready)
    engine:drain()
    assert.same({ "red", "red", "red" }, queues)
  end)

  it("P11 countdown and eta delay the start, and exclude each other", function()
    local started = {}
    local Note = helper.define(function(self) started[#started + 1] = { self.args[1], engine:now() } end)
    Note("countdown"):start { countdown = 30 }
    Note("eta"):start { eta = 1700000010 }
    Note("date"):start { eta = os.date("!*t", 1700000020) }
    engine:drain()
    assert.same({}, started)
    engine:drain { delayed = true }
    assert.same({ { "eta", 1700000010.0 }, { "date", 1700000020.0 }, { "countdown", 1700000030.0 } }, started)
    helper.raises(pipeline.PipelineSetupError, function() Note():start { countdown = 1, eta = 2 } end)
    helper.raises(pipeline.PipelineSetupError, function() Note():start { eta = {} } end)
  end)

  it("P12 errors of start are errors of this library; others name the instance and the key", function()
    helper.raises(pipeline.SerializationError, function() Add(print, function() end):start() end)
    local text = helper.misuse("unknown option 'queue_nam'", function() Add(1, 2):start { queue_nam = "x" } end)
    assert.matches("did you mean 'queue_name'", text)
    helper.misuse("bad argument #1 to 'start'", function() Add(1, 2):start { countdown = "soon" } end)
    local broken = { _core = setmetatable({}, { __index = function() error("out of order") end }) }
    local stage = Add(1, 2)
    local problem = helper.raises(pipeline.PipelineSetupError, function()
      stage:start { idempotence_key = "k1", engine = broken }
    end)
    assert.matches("creation.Add%(1, 2%)", problem.message)
    assert.matches("k1", problem.message)
    assert.matches("out of order", problem.message)
    assert.equal(3, helper.result(stage))
  end)

  it("P13 the starter may fill slots right after start", function()
    local Async = helper.define { async = true, output_names = { "x" }, run = function() end }
    local stage = Async():start()
    stage:fill("x", 1)
    stage:complete(2)
    assert.equal(1, pipeline.from_id(stage.id).outputs.x.value)
    engine:drain()
    local outputs = engine:wait(stage)
    assert.equal(1, outputs.x.value)
    assert.equal(2, outputs.default.value)
  end)

  it("P14 starting the same instance twice is refused", function()
    local stage = Add(1, 2):start()
    helper.raises(pipeline.UnexpectedPipelineError, stage.start, stage)
  end)

  it("P15 settings survive exactly", function()
    local stage = Add(1, 2)
    stage.max_attempts, stage.backoff_seconds, stage.backoff_factor = 7, 1234.56, 2.718
    stage.target = "v2.worker"
    stage:start()
    local read = pipeline.from_id(stage.id)
    assert.equal(7, read.max_attempts)
    assert.equal(1234.56, read.backoff_seconds)
    assert.equal(2.718, read.backoff_factor)
    assert.equal("v2.worker", read.target)
    helper.raises(pipeline.UnexpectedPipelineError, function() stage.max_attempts = 1 end)
    helper.misuse("max_attempts", function() Add(1, 2).max_attempts = 0 end)
  end)

  it("P16 P17 P18 futures and slots in arguments, at any depth, are replaced by their values", function()
    local Tree = helper.define(function(self)
      local divided = self:spawn(Divide(17, 5))
      local cfg = { list = { 1, divided.remainder, { deep = divided } }, plain = "p" }
      local Show = helper.define(function(_, a, b, c, d) return { a, b, c, d } end)
      return self:spawn(Show(divided, divided.remainder, cfg, "value"))
    end)
    assert.same({ 3, 2, { list = { 1, 2, { deep = 3 } }, plain = "p" }, "value" }, helper.result(Tree()))
  end)

  it("P18 the status tree shows how arguments are stored", function()
    local Ignore = helper.define(function() end)
    local Tree = helper.define(function(self)
      local sum = self:spawn(Add(1, 2))
      self:spawn(Ignore(sum, "x"))
    end)
    local stage = Tree():start()
    engine:drain()
    local entry = helper.find(stage, Ignore)
    local _, id = helper.find(stage, Add)
    assert.same({ type = "value", value = "x" }, entry.args[2])
    assert.equal("slot", entry.args[1].type)
    assert.equal(pipeline.get_status_tree(stage.id).pipelines[id].outputs.default, entry.args[1].slotKey)
  end)

  it("P19 an argument that is not filled raises when its value is read", function()
    local Wait = helper.define { async = true, run = function() end }
    local Use = helper.define(function() end)
    local Tree = helper.define(function(self) self:spawn(Use(self:spawn(Wait()))) end)
    local stage = Tree():start()
    engine:drain()
    local _, id = helper.find(stage, Use)
    local slot = pipeline.from_id(id).args[1]
    assert.is_true(pipeline.is_slot(slot))
    helper.raises(pipeline.SlotNotFilledError, function() return slot.value end)
  end)

  it("P20 its text is the class path and the arguments, cut at 200 bytes", function()
    assert.equal("creation.Add(1, \"x\")", tostring(Add(1, "x")))
    local text = tostring(Add(("x"):rep(1000)))
    assert.matches("^creation.Add%(\"x+%.%.%. %(1002 bytes%)%)$", text)
    assert.is_true(#text < 260)
    local cycle = {}
    cycle.self = cycle
    assert.matches("^creation.Add%(", tostring(Add(cycle)))
  end)

  it("P21 P22 L22 the class path is the name given, not inherited, and the base class has none", function()
    local Sub = pipeline.define("creation.Sub", { extends = Add })
    assert.equal("creation.Add", Add.class_path)
    assert.equal("creation.Sub", Sub.class_path)
    assert.is_nil(pipeline.Pipeline.class_path)
    assert.equal(5, helper.result(Sub(2, 3)))
    helper.raises(pipeline.ConfigurationError, pipeline.define, "creation.Add", { run = function() end })
    assert.equal(Sub, pipeline.define("creation.Sub", { extends = Add }))
  end)

  it("P23 pipeline names are sorted and unique, with the library's", function()
    local names = pipeline.get_pipeline_names()
    local seen = {}
    for i, name in ipairs(names) do
      assert.is_nil(seen[name])
      seen[name] = true
      assert.is_true(i == 1 or names[i - 1] < name)
    end
    assert.is_true(seen["creation.Add"] and seen["pipeline.common.Return"])
  end)

  it("a definition with a reserved name or a wrong type is refused", function()
    helper.raises(pipeline.ConfigurationError, pipeline.define, "creation.Bad", { spawn = function() end })
    helper.raises(pipeline.ConfigurationError, pipeline.define, "creation.Bad", { run = 5 })
    helper.raises(pipeline.ConfigurationError, pipeline.define, "creation.Bad", { max_attempts = 0 })
    helper.raises(pipeline.ConfigurationError, pipeline.define, "creation.Bad", { output_names = { "a", "a" } })
    assert.equal("mine", pipeline.define("creation.Own", { run = function() end, helper = "mine" })().helper)
  end)

  it("a function added to a class later counts like one of its definition", function()
    local finalized = 0
    local Late = helper.define { run = function() end }
    function Late.finalized() finalized = finalized + 1 end
    helper.result(Late())
    assert.equal(1, finalized)
    helper.raises(pipeline.ConfigurationError, function() Late.spawn = print end)
    helper.raises(pipeline.ConfigurationError, function() Late.async = 5 end)
  end)

  it("L24 read-only fields raise on assignment; own fields do not", function()
    local stage = Add(1, 2)
    stage.note = "mine"
    assert.equal("mine", stage.note)
    for _, name in ipairs { "id", "root_id", "args", "outputs", "was_aborted", "spawn" } do
      helper.raises(pipeline.UnexpectedPipelineError, function() stage[name] = 1 end)
    end
  end)
end)
