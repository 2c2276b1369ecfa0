-- cleanup (P203–P206, G18, G19).

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local TABLES = { "pl_stage", "pl_stage_large", "pl_slot", "pl_wait", "pl_status", "pl_failure", "pl_task" }

describe("cleanup", function()
  local engine
  local Give = pipeline.define("cleanup.Give", { run = function(_, value) return value end })
  local Async = pipeline.define("cleanup.Async", {
    async = true, output_names = { "x" }, run = function() end, callback = function(self) self:complete(1) end,
  })
  local Flaky = pipeline.define("cleanup.Flaky", {
    backoff_seconds = 1, output_names = { "x" },
    run = function(self, value)
      self:set_status { message = "at it" }
      if self.current_attempt == 1 then error("not yet") end
      self:fill("x", value)
      return value
    end,
  })
  local Tree = pipeline.define("cleanup.Tree", {
    output_names = { "x" },
    run = function(self, value)
      local first = self:spawn(Flaky(value))
      self:in_order(function()
        self:spawn(Give(first.x))
        self:spawn(Give(first))
      end)
      self:spawn(Flaky(first))
    end,
  })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function started(stage, options)
    stage:start(options)
    engine:drain()
    return stage
  end

  local function rows()
    local found = {}
    for _, name in ipairs(TABLES) do
      local count = sql.number(engine, "SELECT count(*) FROM " .. name)
      -- a small value is in the row of its stage
      if name == "pl_slot" then count = count + sql.number(engine, "SELECT count(result) FROM pl_stage") end
      if count > 0 then found[name] = count end
    end
    return found
  end

  local function content()
    local lines = {}
    for i, name in ipairs(TABLES) do lines[i] = table.concat(sql.run(engine, "SELECT * FROM " .. name), "\n") end
    return lines
  end

  it("P203 of a root deletes every record of its tree, and of no other", function()
    local kept = Tree(1)
    helper.outputs(kept)
    local before, counts = content(), rows()
    local stage = Tree("value")
    helper.outputs(stage, { idempotence_key = "tree" })
    assert.same({ pl_stage = 10, pl_slot = 12, pl_status = 4, pl_failure = 4 }, rows())
    assert.same({ pl_stage = 5, pl_slot = 6, pl_status = 2, pl_failure = 2 }, counts)
    local _, child = helper.find(stage, Give)
    assert.is_nil(stage:cleanup())
    assert.same(before, content())
    for _, id in ipairs { "tree", child } do
      assert.is_nil(pipeline.from_id(id))
      helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, id)
    end
    assert.equal(1, #pipeline.get_root_list().pipelines)
    assert.equal(1, pipeline.from_id(kept.id).outputs.default.value)
  end)

  it("P203 may be repeated, and frees the idempotence key", function()
    local stage = started(Give(1), { idempotence_key = "again" })
    helper.raises(pipeline.PipelineExistsError, Give(2).start, Give(2), { idempotence_key = "again" })
    stage:cleanup()
    stage:cleanup()
    assert.same({}, rows())
    assert.equal(2, helper.result(Give(2), { idempotence_key = "again" }))
    stage:cleanup()
    assert.equal(2, pipeline.from_id("again").outputs.default.value)
  end)

  it("P203 works on a copy read back, and on aborted trees", function()
    local Quits = helper.define(function(self)
      self:set_status { message = "hm" }
      self:abort("no")
    end)
    local Above = helper.define(function(self)
      self:spawn(Give(self:spawn(Async()).x))
      self:spawn(Quits())
    end)
    local stage = started(Above())
    local _, held = helper.find(stage, Async)
    pipeline.from_id(held):complete(1) -- ends it (G3)
    engine:drain()
    assert.equal("aborted", helper.entry(stage).status)
    pipeline.from_id(stage.id):cleanup()
    assert.same({}, rows())
  end)

  it("P204 on a child does nothing; before start it is refused", function()
    local stage = Tree(1)
    helper.outputs(stage)
    local before = content()
    for _, id in ipairs(helper.entry(stage).children) do assert.is_nil(pipeline.from_id(id):cleanup()) end
    assert.same(before, content())
    helper.raises(pipeline.UnexpectedPipelineError, Tree(1).cleanup, Tree(1))
  end)

  it("P205 of a tree that still runs is refused and changes nothing (G19)", function()
    local Above = helper.define(function(self) self:spawn(Async()) end)
    local stage = started(Above())
    local before = content()
    local problem = helper.raises(pipeline.UnexpectedPipelineError, stage.cleanup, stage)
    assert.matches("it still runs; abort it first", problem.message, 1, true)
    assert.same(before, content())
    local delayed = Give(1):start { countdown = 100 }
    helper.raises(pipeline.UnexpectedPipelineError, delayed.cleanup, delayed)
    local held = Give(1)
    held:start { return_task = true }
    helper.raises(pipeline.UnexpectedPipelineError, held.cleanup, held)
    local Inside = helper.define(function(self) self:cleanup() end)
    assert.matches("it still runs", helper.aborted(Inside()).reason, 1, true)
  end)

  it("P205 takes the tasks left behind along; those already at work end quietly (G18)", function()
    local called = 0
    local Late = helper.define {
      async = true, run = function() end, try_cancel = function() return true end,
      callback = function() called = called + 1 end,
    }
    local stage = started(Late())
    local task = stage:get_callback_task { countdown = 50, name = "late" }
    task:add()
    stage:get_callback_task({ countdown = 60 }):add()
    assert.is_true(stage:abort("over"))
    engine:drain()
    stage:cleanup()
    assert.same({}, rows())
    assert.same({ "late|1" }, sql.run(engine, "SELECT name, expires IS NOT NULL FROM pl_task_name"))
    stage:get_callback_task():add()
    engine:drain { delayed = true }
    assert.equal(0, called)
    assert.same({}, rows())
    assert.same({}, helper.log(30))
    helper.raises(pipeline.UnexpectedPipelineError, stage.complete, stage, 1)
  end)

  it("P205 of a root by its own finalized takes effect when the tree is done", function()
    local seen
    local Root = helper.define {
      run = function(self, value) self:spawn(Give(value)) end,
      finalized = function(self)
        self:cleanup()
        seen = self.outputs.default.value
      end,
    }
    local stage = started(Root(7))
    engine:drain { delayed = true }
    assert.equal(7, seen)
    assert.same({}, rows())
    assert.same({}, helper.log(30))
    assert.is_nil(pipeline.from_id(stage.id))
  end)

  it("P205 of a root by its own finalized waits for the finalized of others", function()
    local trace = {}
    local Slow = helper.define {
      run = function() return 1 end,
      finalized = function()
        table.insert(trace, "child begins")
        engine:sleep(30)
        table.insert(trace, "child ends")
      end,
    }
    local Root = helper.define {
      run = function(self)
        self:spawn(Slow())
        self:set_status { message = "here" }
      end,
      finalized = function(self)
        table.insert(trace, "root")
        self:cleanup()
        if #trace < 3 then error("again", 0) end
      end,
    }
    local stage = Root():start()
    engine:drain { delayed = true }
    assert.same({ "child begins", "root", "root", "child ends" }, trace)
    assert.same({}, rows())
    assert.equal(1, #helper.log(30)) -- "again"
    assert.is_nil(pipeline.from_id(stage.id))
  end)

  it("P206 deletes large arguments and values as well (G19)", function()
    local Large = helper.define {
      output_names = { "x" },
      run = function(self, value)
        self:fill("x", value .. "x")
        return self:spawn(Give(value))
      end,
    }
    local bytes = ("y"):rep(3000000)
    local stage = Large(bytes)
    assert.equal(bytes, helper.outputs(stage).default.value)
    assert.same({ pl_stage = 2, pl_stage_large = 2, pl_slot = 2 }, rows())
    stage:cleanup()
    assert.same({}, rows())
    -- What was freed is used again: the file does not grow from tree to tree.
    local function pages() return sql.number(engine, "PRAGMA page_count") end
    local before = pages()
    for _ = 1, 3 do
      local other = Large(bytes)
      helper.outputs(other)
      other:cleanup()
    end
    assert.is_true(pages() <= before * 1.1, ("%d pages became %d"):format(before, pages()))
  end)
end)
