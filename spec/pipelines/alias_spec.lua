-- alias_spec.lua: pipelines whose class has another name now; the version; which queues a process serves.

local class = require "pipeline.workflow.class"
local deferred = require "pipeline.deferred"
local helper = require "spec.support.helper"
local pipeline = require "pipeline"

describe("pipeline.alias", function()
  local engine
  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function forget(name) class.registry[name] = nil end

  it("lets work that is pending under an old class name run with the new class", function()
    local old = helper.name("Old")
    local stage = pipeline.define(old, { run = function() return "old" end })():start()
    forget(old)
    local new = helper.name("New")
    pipeline.define(new, { run = function() return "new" end })
    pipeline.alias(old, new)
    assert.equal("new", engine:wait(stage).default.value)
    assert.equal(new, pipeline.from_id(stage.id).class.class_path)
  end)

  it("of a module holds for all that is in it, and through several renames", function()
    local stage = pipeline.define("alias_one.shop.Order", { run = function() return "old" end })():start()
    forget("alias_one.shop.Order")
    pipeline.define("alias_three.Order", { run = function() return "moved" end })
    pipeline.alias("alias_one.shop", "alias_two")
    pipeline.alias("alias_two", "alias_three")
    assert.equal("moved", engine:wait(stage).default.value)
  end)

  it("counts only where the old name leads nowhere", function()
    local name = helper.name()
    local Still = pipeline.define(name, { run = function() return "still" end })
    pipeline.alias(name, "alias_nowhere.X")
    assert.equal("still", engine:wait(Still():start()).default.value)
  end)

  it("refuses circles and what is no name", function()
    pipeline.alias("alias_a", "alias_b")
    helper.raises(pipeline.ConfigurationError, pipeline.alias, "alias_b", "alias_a.x")
    helper.misuse("name of a class expected", pipeline.alias, "", "x")
    helper.misuse("#2", pipeline.alias, "x", 5)
  end)
end)

describe("pipeline.version", function()
  it("is that of the core and of the rock", function()
    assert.matches("^%d+%.%d+%.%d+$", pipeline.version)
    assert.equal(require("pipeline.core").version, pipeline.version)
  end)
end)

describe("serve_queues", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("executes only tasks of these queues, children of pipelines included, and drain waits for no other", function()
    local ran = {}
    local Note = helper.define(function(_, name) ran[#ran + 1] = name end)
    local engine = helper.open {
      serve_queues = { "mail", "reports" }, queues = { mail = {}, other = {}, reports = {} },
    }
    Note("mail"):start { queue_name = "mail" }
    Note("other"):start { queue_name = "other" }
    Note("default"):start()
    Note("later"):start { queue_name = "other", countdown = 5 }
    deferred.with { queue = "reports" }(print)
    engine:drain { delayed = true }
    assert.same({ "mail" }, ran)
    assert.equal(2, engine:status().queues.other.ready + engine:status().queues.other.delayed)
    local path = engine._path
    engine:close()
    engine = helper.open { path = path, serve_queues = { "default" } }
    engine:drain()
    assert.same({ "mail", "default" }, ran)
    local Tree = helper.define(function(self)
      return self:spawn(helper.define { queue_name = "mail", run = function() return "child" end }())
    end)
    local stage = Tree():start()
    engine:drain()
    assert.equal("run", pipeline.get_status_tree(stage.id).pipelines[stage.id].status)
    local id = stage.id
    engine:close()
    engine = helper.open { path = path }
    assert.equal("child", engine:wait(id).default.value)
    engine:drain { delayed = true }
    assert.same({ "mail", "default", "other", "later" }, ran)
  end)

  it("refuses what is no list of queue names", function()
    for _, wrong in ipairs { { mail = true }, { "a b" }, { 5 } } do
      helper.misuse("serve_queues", helper.open, { serve_queues = wrong })
    end
  end)
end)
