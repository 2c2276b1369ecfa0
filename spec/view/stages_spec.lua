-- stages_spec.lua: a tree and a stage as everybody shows them, and what has happened in it.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local START = 1700000000

describe("what is shown of a pipeline", function()
  local engine
  local Give = pipeline.define("view.Give", { run = function(_, value) return value end })
  local Async = pipeline.define("view.Async", { async = true, output_names = { "x" }, run = function() end })
  local Fails = pipeline.define("view.Fails", {
    max_attempts = 2, backoff_seconds = 10, run = function() error("no paper", 0) end,
  })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("is its tree, a parent before its children, with what each of them waits for", function()
    local Tree = helper.define(function(self)
      self:spawn(Give(1))
      local approved = self:spawn(Async())
      self:spawn(Give(approved))
    end)
    local root = Tree():start()
    engine:drain()
    local tree = engine:tree(root.id)
    assert.equal(root.id, tree.root)
    local top, give, async, waits = table.unpack(tree.items)
    assert.same({ root.id, "open", 3, { done = 1, total = 3 } }, { top.id, top.state, #top.child_ids, top.children })
    assert.equal("open: 1 of 3 children done", top.state_words)
    assert.same({ "done", root.id, root.id }, { give.state, give.parent, give.root })
    assert.same({ "open", 2, 0 }, { async.state, async.outputs_open, async.children_open })
    assert.equal("open: to be completed from outside", async.state_words)
    assert.same({ "waiting", 1 }, { waits.state, #waits.waits_for })
    assert.equal(async.id, waits.waits_for[1].slot)
    local whole = engine:stage(waits.id)
    assert.same({ slot = async.id, stage = async.id, name = "default", class = "view.Async", state = "open" },
      whole.waits_for[1])
    assert.equal("waiting for 1 slot: default of view.Async (open)", whole.state_words)
    assert.same({ { type = "slot", slot = async.id, filled = false } }, whole.args)
    local list = engine:list().items
    assert.same({ done = 1, total = 3 }, engine:stage(root.id).stages)
    assert.equal(root.id, list[1].id)
  end)

  it("is a page of its tree, a part of it, or some levels", function()
    local Inner = helper.define(function(self) self:spawn(Give(1)) end)
    local Tree = helper.define(function(self) for _ = 1, 3 do self:spawn(Inner()) end end)
    local root = Tree():start()
    engine:drain()
    assert.equal(7, #engine:tree(root.id).items)
    local level = engine:tree(root.id, { depth = 1 }).items
    assert.equal(4, #level)
    assert.same({ done = 1, total = 1 }, level[2].children)
    assert.equal(2, #engine:tree(root.id, { parent = level[2].id }).items)
    local ids, cursor = {}, nil
    repeat
      local page = engine:tree(root.id, { limit = 2, cursor = cursor })
      for _, entry in ipairs(page.items) do ids[#ids + 1] = entry.id end
      cursor = page.cursor
    until not cursor
    assert.equal(7, #ids)
    helper.raises(pipeline.PipelineStatusError, engine.tree, engine, "nothing")
    helper.misuse("at least 0", engine.tree, engine, root.id, { depth = -1 })
  end)

  it("is everything of one stage", function()
    Fails("a", { b = 1 }):start { idempotence_key = "f" }
    engine:drain { delayed = true }
    local shown = engine:stage("key:f")
    assert.same({ "f", "f", "aborted", "view.Fails", 2, 2 },
      { shown.id, shown.key, shown.state, shown.class, shown.attempt, shown.max_attempts })
    assert.same({ { type = "value", value = "a" }, { type = "value", value = { b = 1 } } }, shown.args)
    assert.same({ "default", false }, { shown.outputs[1].name, shown.outputs[1].filled })
    assert.equal(2, #shown.attempts)
    assert.matches("no paper", shown.attempts[1].message)
    assert.equal(START + 0.0, shown.attempts[1].time)
    assert.truthy(shown.ended > shown.created)
    assert.same({ "f", "view.Fails", 2 }, { shown.failed.id, shown.failed.class, shown.failed.attempt })
    assert.matches("^aborted at .*no paper", shown.state_words)
  end)

  it("is its output, its message with links, and where its callback is", function()
    local stage = Async():start()
    engine:drain()
    stage:set_status { message = "almost", console_url = "http://c/", status_links = { log = "http://l/" } }
    local shown = engine:stage(stage.id)
    assert.same({ "almost", "http://c/", { log = "http://l/" } }, { shown.message, shown.console_url, shown.links })
    assert.equal("/_ah/pipeline/callback?pipeline_id=" .. stage.id, shown.callback_url)
    stage:complete(42)
    engine:drain()
    shown = engine:stage(stage.id)
    assert.same({ true, 42, stage.id }, { shown.outputs[1].filled, shown.outputs[1].value, shown.outputs[1].filler })
  end)

  it("is large values in short, whatever is in them", function()
    local stage = Give(("x"):rep(100000)):start()
    engine:drain()
    local shown = engine:stage(stage.id)
    assert.truthy(#shown.args[1].value < 2000)
    assert.matches("%(%d+ bytes%)$", shown.outputs[1].value)
  end)

  it("is what has happened in it, in the order of time", function()
    local Tree = helper.define { run = function(self)
      self:set_status { message = "begun" }
      self:spawn(Fails())
    end }
    local root = Tree():start()
    engine:drain { delayed = true }
    local lines = engine:logs(root.id)
    local counts, failure = {}, nil
    for i, line in ipairs(lines) do
      counts[line.kind] = (counts[line.kind] or 0) + 1
      if line.kind == "failure" then failure = line end
      assert.truthy(i == 1 or line.time >= lines[i - 1].time)
    end
    assert.same({ created = 2, message = 1, failure = 2, aborted = 2 }, counts)
    assert.equal("created", lines[1].kind)
    assert.same({ "view.Fails", 2, "error" }, { failure.class, failure.attempt, failure.level })
    assert.matches("no paper", failure.text)
    assert.equal("string", type(failure.traceback))
    helper.raises(pipeline.PipelineStatusError, engine.logs, engine, "nothing")
  end)
end)
