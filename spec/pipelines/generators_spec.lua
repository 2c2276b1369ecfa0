-- Generators: children, inherited outputs, after and in_order (P55–P82).

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

describe("a generator", function()
  local engine, trace
  local Give = pipeline.define("generators.Give", { run = function(_, value) return value end })
  local Add = pipeline.define("generators.Add", { run = function(_, a, b) return a + b end })
  local Note = pipeline.define("generators.Note", {
    run = function(_, name)
      table.insert(trace, name)
      return name
    end,
  })
  local Pair = pipeline.define("generators.Pair", {
    output_names = { "a", "b" },
    run = function(self, a, b)
      self:fill("a", a)
      self:fill("b", b)
      return "pair"
    end,
  })
  local Async = pipeline.define("generators.Async", { async = true, run = function() end })

  before_each(function()
    engine = helper.open()
    trace = {}
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function find_ids(stage, class)
    local ids = {}
    local tree = pipeline.get_status_tree(stage.id)
    for _, id in ipairs(tree.pipelines[stage.id].children) do
      if tree.pipelines[id].classPath == class.class_path then ids[#ids + 1] = id end
    end
    return ids
  end

  it("P55 L4 gets futures at once; nothing runs until it has ended", function()
    local Tree = helper.define(function(self)
      local f = self:spawn(Note("child"))
      assert(pipeline.is_future(f))
      table.insert(trace, "end of run")
      return f
    end)
    assert.equal("child", helper.result(Tree()))
    assert.same({ "end of run", "child" }, trace)
  end)

  it("P56 that raises leaves no children behind and runs again from its start", function()
    local attempts = 0
    local Tree = helper.define {
      backoff_seconds = 1,
      run = function(self)
        attempts = attempts + 1
        self:spawn(Note("attempt " .. attempts))
        if attempts == 1 then error("no") end
      end,
    }
    local stage = Tree()
    helper.result(stage)
    assert.same({ "attempt 2" }, trace)
    assert.equal(1, #helper.entry(stage).children)
  end)

  it("P57 P58 children without pending inputs start at once, the others when the last input is filled", function()
    local Tree = helper.define(function(self)
      local slow, fast = self:spawn(Async()), self:spawn(Note("fast"))
      self:spawn(Note(slow))
      self:spawn(Give(fast))
    end)
    local stage = Tree():start()
    engine:drain { delayed = true }
    assert.same({ "fast" }, trace)
    local waiting = find_ids(stage, Note)[2]
    local tree = pipeline.get_status_tree(stage.id)
    assert.equal("waiting", tree.pipelines[waiting].status)
    assert.is_nil(tree.pipelines[waiting].startTimeMs)
    pipeline.from_id(find_ids(stage, Async)[1]):complete("slow")
    engine:drain()
    assert.same({ "fast", "slow" }, trace)
    assert.equal("slow" and "fast", engine:wait(stage).default.value)
  end)

  it("P59 lists its children in the order spawned", function()
    local Tree = helper.define(function(self)
      for i = 1, 30 do self:spawn(Give(i)) end
    end)
    local stage = Tree()
    assert.equal(30, helper.result(stage))
    local tree = pipeline.get_status_tree(stage.id)
    for i, id in ipairs(tree.pipelines[stage.id].children) do assert.equal(i, tree.pipelines[id].args[1].value) end
  end)

  it("P60 takes its outputs from the last child", function()
    local Tree = helper.define {
      output_names = { "a", "b" },
      run = function(self)
        self:spawn(Give(1))
        self:spawn(Pair("x", "y"))
      end,
    }
    local stage = Tree()
    local outputs = helper.outputs(stage)
    assert.same({ "pair", "x", "y" }, { outputs.default.value, outputs.a.value, outputs.b.value })
    assert.equal(find_ids(stage, Pair)[1], outputs.a.filler)
  end)

  it("P60 or from the child whose future it returned", function()
    local Tree = helper.define(function(self)
      local first = self:spawn(Give("first"))
      self:spawn(Give("last"))
      return first
    end)
    assert.equal("first", helper.result(Tree()))
  end)

  it("P60 futures of the child that supplies the outputs still lead to its values", function()
    local Tree = helper.define {
      output_names = { "a", "b" },
      run = function(self)
        local pair = self:spawn(Pair("x", "y"))
        self:spawn(Note(pair.a))
        self:spawn(Note(pair))
        return pair
      end,
    }
    assert.equal("y", helper.outputs(Tree()).b.value)
    table.sort(trace)
    assert.same({ "pair", "x" }, trace)
  end)

  it("P61 keeps the outputs it fills itself", function()
    local Tree = helper.define {
      output_names = { "a" },
      run = function(self)
        self:fill("a", "own")
        self:spawn(Give("child"))
      end,
    }
    local outputs = helper.outputs(Tree())
    assert.same({ "own", "child" }, { outputs.a.value, outputs.default.value })
    local Both = helper.define {
      output_names = { "a", "b" },
      run = function(self)
        self:fill("default", "mine")
        self:spawn(Pair(1, 2))
      end,
    }
    outputs = helper.outputs(Both())
    assert.same({ "mine", 1, 2 }, { outputs.default.value, outputs.a.value, outputs.b.value })
  end)

  it("P62 inheritance goes through any number of levels", function()
    local Down
    Down = helper.define {
      output_names = { "a", "b" },
      run = function(self, depth, value)
        if depth == 0 then
          self:fill("a", value)
          self:fill("b", depth)
          return "bottom"
        end
        self:spawn(Down(depth - 1, self:spawn(Add(value, 1))))
      end,
    }
    local outputs = helper.outputs(Down(20, 0))
    assert.same({ "bottom", 20, 0 }, { outputs.default.value, outputs.a.value, outputs.b.value })
  end)

  it("P62 a recursive generator", function()
    local Fibonacci
    Fibonacci = helper.define(function(self, n)
      if n < 2 then return n end
      self:spawn(Add(self:spawn(Fibonacci(n - 1)), self:spawn(Fibonacci(n - 2))))
    end)
    assert.equal(55, helper.result(Fibonacci(10)))
  end)

  it("P63 P69 a strict last child without a needed output is a failed attempt", function()
    local Tree = helper.define {
      output_names = { "c" }, max_attempts = 2, backoff_seconds = 1,
      run = function(self) self:spawn(Pair(1, 2)) end,
    }
    local problem = helper.aborted(Tree())
    assert.equal(2, #problem.failures)
    assert.equal("UnexpectedPipelineError", problem.failures[1].error_class)
    assert.matches("'c'", problem.failures[1].message)
  end)

  it("P64 a strict child must fill what it declares, also what its parent inherits", function()
    local Lazy = helper.define { output_names = { "c" }, max_attempts = 1, run = function() end }
    local Tree = helper.define { output_names = { "c" }, run = function(self) self:spawn(Lazy()) end }
    local problem = helper.aborted(Tree())
    assert.equal("SlotNotFilledError", problem.failures[1].error_class)
    assert.equal(Lazy.class_path, problem.failures[1].class_path)
  end)

  it("P65 a strict child may not fill what nobody declared", function()
    local Wild = helper.define {
      output_names = { "c" }, max_attempts = 1,
      run = function(self)
        self:fill("c", 1)
        self:fill("d", 1)
      end,
    }
    local Tree = helper.define { output_names = { "c" }, run = function(self) self:spawn(Wild()) end }
    assert.equal("SlotNotDeclaredError", helper.aborted(Tree()).failures[1].error_class)
  end)

  it("P66 L5 that spawns nothing must have filled its outputs, and gives nil", function()
    local Empty = helper.define {
      output_names = { "a" }, max_attempts = 1,
      run = function(self, fill)
        if fill then self:fill("a", 1) end
      end,
    }
    local outputs = helper.outputs(Empty(true))
    assert.is_nil(outputs.default.value)
    assert.equal(1, outputs.a.value)
    assert.equal("SlotNotFilledError", helper.aborted(Empty(false)).failures[1].error_class)
  end)

  it("P67 P68 may not spawn an instance twice, nor anything but a pipeline", function()
    local Tree = helper.define(function(self)
      local child = Give(1)
      self:spawn(child)
      helper.raises(pipeline.UnexpectedPipelineError, self.spawn, self, child)
      for _, bad in ipairs { 5, "x", {}, Give, true } do
        helper.raises(pipeline.UnexpectedPipelineError, self.spawn, self, bad)
      end
      helper.raises(pipeline.UnexpectedPipelineError, self.spawn, self, nil)
      helper.raises(pipeline.UnexpectedPipelineError, child.start, child)
    end)
    assert.equal(1, helper.result(Tree()))
    local Twice = helper.define {
      max_attempts = 2, backoff_seconds = 1,
      run = function(self)
        local child = Give(1)
        self:spawn(child)
        self:spawn(child)
      end,
    }
    assert.equal(2, #helper.aborted(Twice()).failures)
    helper.raises(pipeline.UnexpectedPipelineError, function() Give(1):spawn(Give(2)) end)
  end)

  it("P70 may pass futures to siblings and down", function()
    local Down = helper.define(function(self, value, f)
      local g = self:spawn(Add(value, f))
      return self:spawn(Add(g, 100))
    end)
    local Tree = helper.define(function(self)
      local f = self:spawn(Give(1))
      return self:spawn(Down(f, self:spawn(Add(f, 1))))
    end)
    assert.equal(103, helper.result(Tree()))
    local Other = helper.define { max_attempts = 1, run = function(self) Give(self:spawn(Give(1))):start() end }
    helper.aborted(Other())
  end)

  it("P71 making a child without spawning it has no effect", function()
    local Tree = helper.define(function(self)
      Note("never")
      self:spawn(Note("spawned"))
    end)
    helper.result(Tree())
    assert.same({ "spawned" }, trace)
  end)

  it("P72 after waits for the default outputs of the futures", function()
    local Tree = helper.define(function(self)
      local slow = self:spawn(Async())
      local other = self:spawn(Give(1))
      local result = self:after({ slow, other }, function()
        self:spawn(Note("inside"))
        return "passed on"
      end)
      assert(result == "passed on")
      self:spawn(Note("outside"))
    end)
    local stage = Tree():start()
    engine:drain()
    assert.same({ "outside" }, trace)
    local inside = find_ids(stage, Note)[1]
    assert.equal(2, #pipeline.get_status_tree(stage.id).pipelines[inside].afterSlotKeys)
    pipeline.from_id(find_ids(stage, Async)[1]):complete()
    engine:drain()
    assert.same({ "outside", "inside" }, trace)
  end)

  it("P73 after nothing has no effect", function()
    local Tree = helper.define(function(self)
      self:after({}, function() self:spawn(Note("x")) end)
    end)
    assert.equal("x", helper.result(Tree()))
  end)

  it("P74 after takes futures only", function()
    local Tree = helper.define(function(self)
      local f = self:spawn(Give(1))
      for _, bad in ipairs { { f.default }, { Give(1) }, { 5 }, f, 5 } do
        helper.misuse("bad argument #1 to 'after'", self.after, self, bad, function() end)
      end
    end)
    helper.result(Tree())
  end)

  it("P75 nested after waits for both; naming a future twice is harmless", function()
    local Tree = helper.define(function(self)
      local a, b = self:spawn(Async()), self:spawn(Async())
      self:after({ a, a }, function()
        self:after({ b, a }, function() self:spawn(Note("both")) end)
        self:spawn(Note("a"))
      end)
      self:spawn(Note("none"))
    end)
    local stage = Tree():start()
    engine:drain()
    assert.same({ "none" }, trace)
    local ids = find_ids(stage, Async)
    pipeline.from_id(ids[1]):complete()
    engine:drain()
    assert.same({ "none", "a" }, trace)
    pipeline.from_id(ids[2]):complete()
    engine:drain()
    assert.same({ "none", "a", "both" }, trace)
  end)

  it("P76 after a list of ten", function()
    local Tree = helper.define(function(self)
      local list = {}
      for i = 1, 10 do list[i] = self:spawn(Note(i)) end
      self:after(list, function() self:spawn(Note("last", list)) end)
    end)
    helper.result(Tree())
    assert.equal(11, #trace)
    assert.equal("last", trace[11])
  end)

  it("P77 in_order runs children one after the other, and ends with the block", function()
    local Tree = helper.define(function(self)
      self:in_order(function()
        self:spawn(Note(1))
        self:spawn(Async())
        self:spawn(Note(3))
        self:spawn(Note(4))
      end)
      self:spawn(Note("free"))
    end)
    local stage = Tree():start()
    engine:drain()
    table.sort(trace, function(a, b) return tostring(a) < tostring(b) end)
    assert.same({ 1, "free" }, trace)
    pipeline.from_id(find_ids(stage, Async)[1]):complete()
    engine:drain()
    assert.same({ 3, 4 }, { trace[3], trace[4] })
  end)

  it("P78 in_order cannot be nested", function()
    local Tree = helper.define {
      max_attempts = 2, backoff_seconds = 1,
      run = function(self) self:in_order(function() self:in_order(function() end) end) end,
    }
    local problem = helper.aborted(Tree())
    assert.equal(2, #problem.failures)
    assert.equal("UnexpectedPipelineError", problem.failures[1].error_class)
  end)

  it("P79 after and in_order work inside each other", function()
    local Tree = helper.define(function(self)
      local gate = self:spawn(Note("gate"))
      self:in_order(function()
        self:spawn(Note(1))
        self:after({ gate }, function() self:spawn(Note(2)) end)
      end)
      self:after({ gate }, function()
        self:in_order(function()
          self:spawn(Note(3))
          self:spawn(Note(4))
        end)
      end)
    end)
    helper.result(Tree())
    local at = {}
    for i, name in ipairs(trace) do at[name] = i end
    assert.is_true(at[1] < at[2] and at.gate < at[2] and at.gate < at[3] and at[3] < at[4])
  end)

  it("P80 order looks at outputs, not at finalized", function()
    local First = helper.define {
      backoff_seconds = 50,
      run = function() end,
      finalized = function(self)
        if not trace.failed then
          trace.failed = true
          error("again")
        end
        table.insert(trace, "finalized " .. tostring(self.was_aborted))
      end,
    }
    local Tree = helper.define(function(self)
      self:in_order(function()
        self:spawn(First())
        self:spawn(Note("second"))
      end)
    end)
    helper.result(Tree())
    assert.same({ "second", "finalized false" }, { trace[1], trace[2] })
  end)

  it("P81 L3 both blocks close on an error inside and never swallow it", function()
    local Tree = helper.define(function(self)
      local f = self:spawn(Async())
      assert(not pcall(self.after, self, { f }, function() error("x") end))
      assert(not pcall(self.in_order, self, function() error("y") end))
      self:in_order(function() self:spawn(Note("free")) end)
      local ok, problem = pcall(function()
        local _ <close> = self:after { f }
        error("z", 0)
      end)
      assert(not ok and problem == "z")
      self:spawn(Note("also free"))
    end)
    Tree():start()
    engine:drain()
    assert.equal(2, #trace)
  end)

  it("P82 a scope that is never closed does not outlive its run (G26)", function()
    local kept
    local Leaky = helper.define(function(self)
      local f = self:spawn(Give(1))
      kept = { self:after { f }, self:in_order() }
      self:spawn(Note("leaky"))
    end)
    local Clean = helper.define(function(self)
      self:in_order(function() self:spawn(Note("a")) end)
      self:spawn(Note("b"))
    end)
    local a, b = Leaky():start(), Clean():start()
    engine:drain()
    assert.equal(2, #kept)
    assert.is_true(pipeline.from_id(a.id).has_finalized and pipeline.from_id(b.id).has_finalized)
  end)

  it("L5 a returned value fills default, with the futures in it resolved", function()
    local Tree = helper.define(function(self)
      local a = self:spawn(Give(1))
      return { a, { b = self:spawn(Add(a, 1)) }, "plain" }
    end)
    assert.same({ 1, { b = 2 }, "plain" }, helper.result(Tree()))
    local Plain = helper.define(function(self)
      self:spawn(Note("child"))
      return "plain"
    end)
    assert.equal("plain", helper.result(Plain()))
    local False = helper.define(function(self)
      self:spawn(Note("child"))
      return false
    end)
    assert.is_false(helper.result(False()))
  end)

  it("a returned slot is a value", function()
    local Tree = helper.define(function(self) return self:spawn(Pair(1, 2)).b end)
    assert.equal(2, helper.result(Tree()))
  end)

  it("a fan-out of a thousand with its sum", function()
    local Sum = helper.define(function(_, list)
      local sum = 0
      for _, value in ipairs(list) do sum = sum + value end
      return sum
    end)
    local Tree = helper.define(function(self)
      local list = {}
      for i = 1, 1000 do list[i] = self:spawn(Give(i)) end
      return self:spawn(Sum(list))
    end)
    assert.equal(500500, helper.result(Tree()))
  end)
end)
