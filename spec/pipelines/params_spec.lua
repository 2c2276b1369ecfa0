-- with_params, target and queue (P207–P213, G16, G17).

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local START = 1700000000.0

describe("with_params", function()
  local engine
  local Give = pipeline.define("params.Give", { run = function(_, value) return value end })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function settings(stage)
    return {
      max_attempts = stage.max_attempts, backoff_seconds = stage.backoff_seconds,
      backoff_factor = stage.backoff_factor, target = stage.target, queue_name = stage.queue_name,
      timeout = stage.timeout,
    }
  end

  local given = {
    max_attempts = 7, backoff_seconds = 1234.56, backoff_factor = 2.718, target = "v2.worker", queue_name = "slow",
    timeout = 12.5,
  }
  local defaults = { max_attempts = 3, backoff_seconds = 15, backoff_factor = 2, queue_name = "default" }

  -- What a class of this definition notes about itself when it runs.
  local function noting(trace, name, fields)
    local definition = {
      run = function(self)
        trace[name] = { target = self.target, queue = self.queue_name, attempts = self.max_attempts }
        return name
      end,
    }
    for key, value in pairs(fields or {}) do definition[key] = value end
    return helper.define(definition)
  end

  it("P207 sets and returns the instance", function()
    local stage = Give(1)
    assert.equal(stage, stage:with_params(given))
    assert.same(given, settings(stage))
    assert.equal(stage, stage:with_params { max_attempts = 4 })
    assert.equal(stage, stage:with_params {})
    assert.equal(stage, stage:with_params())
    local changed = { max_attempts = 4 }
    for name, value in pairs(given) do changed[name] = changed[name] or value end
    assert.same(changed, settings(stage))
    stage:start()
    assert.same(changed, settings(stage))
    assert.same(changed, settings(pipeline.from_id(stage.id)))
    local entry = helper.entry(stage)
    assert.same({ 4, 1234.56, 2.718, "v2.worker", "slow" }, {
      entry.maxAttempts, entry.backoffSeconds, entry.backoffFactor, entry.target, entry.queueName,
    })
  end)

  it("P207 is what the attempts follow", function()
    local times = {}
    local Fails = helper.define {
      backoff_seconds = 100, max_attempts = 9,
      run = function()
        table.insert(times, engine:now() - START)
        error("no")
      end,
    }
    helper.aborted(Fails():with_params { max_attempts = 4, backoff_seconds = 2, backoff_factor = 3 })
    assert.same({ 0.0, 2.0, 8.0, 26.0 }, times)
    local Sleeps = helper.define(function() engine:sleep(60) end)
    local problem = helper.aborted(Sleeps():with_params { timeout = 5, max_attempts = 1 })
    assert.matches("TimeoutError: the attempt took longer than 5 s", problem.reason, 1, true)
  end)

  it("P207 takes no other key, and no wrong value", function()
    local stage = Give(1)
    for _, key in ipairs { "idempotence_key", "countdown", "run", "args", "priority", "max_attempt" } do
      helper.misuse("bad argument #1 to 'with_params' %(unknown option '" .. key .. "'", stage.with_params, stage,
        { [key] = 1 })
    end
    helper.misuse("did you mean 'backoff_factor'%?", stage.with_params, stage, { backof_factor = 1 })
    helper.misuse("options have names", stage.with_params, stage, { 3 })
    for key, value in pairs {
      max_attempts = 0, backoff_seconds = -1, backoff_factor = 0 / 0, target = 5, queue_name = {}, timeout = "5",
    } do
      helper.misuse("option '" .. key .. "'", stage.with_params, stage, { [key] = value })
    end
    helper.misuse("positive integer expected, got 1.5", stage.with_params, stage, { max_attempts = 1.5 })
    assert.same(defaults, settings(stage:start()))
  end)

  it("P208 is refused after start or spawn, even without keys", function()
    local stage = Give(1):start()
    local problem = helper.raises(pipeline.UnexpectedPipelineError, stage.with_params, stage)
    assert.matches("params.Give(1) was already started", problem.message, 1, true)
    helper.raises(pipeline.UnexpectedPipelineError, stage.with_params, stage, {})
    helper.raises(pipeline.UnexpectedPipelineError, stage.with_params, stage, { max_attempts = 2 })
    local copy = pipeline.from_id(stage.id)
    helper.raises(pipeline.UnexpectedPipelineError, copy.with_params, copy, {})
    local text
    local Tree = helper.define(function(self)
      local child = Give(2)
      self:spawn(child)
      text = helper.raises(pipeline.UnexpectedPipelineError, child.with_params, child, {}).message
      helper.raises(pipeline.UnexpectedPipelineError, self.with_params, self, { max_attempts = 9 })
    end)
    helper.result(Tree())
    assert.equal("params.Give(2) was already spawned", text)
  end)

  it("P209 on a child applies to that child only", function()
    local trace = {}
    local Leaf = noting(trace, "leaf")
    local Middle = noting(trace, "middle", {
      run = function(self)
        trace.middle = settings(self)
        self:spawn(Leaf())
      end,
    })
    local Sibling = noting(trace, "sibling")
    local Tree = helper.define(function(self)
      self:spawn(Middle():with_params { max_attempts = 8, backoff_seconds = 5, backoff_factor = 1, target = "other" })
      self:spawn(Sibling())
    end)
    helper.result(Tree())
    assert.same({
      max_attempts = 8, backoff_seconds = 5, backoff_factor = 1, target = "other", queue_name = "default",
    }, trace.middle)
    assert.same({ queue = "default", attempts = 3 }, trace.leaf)
    assert.same({ queue = "default", attempts = 3 }, trace.sibling)
  end)

  it("P209 leaves the tree its target below a child that has one of its own", function()
    local trace = {}
    local Leaf = noting(trace, "leaf")
    local Lower = helper.define(function(self) self:spawn(Leaf()) end)
    local Middle = helper.define(function(self) self:spawn(Lower():with_params { target = "lower" }) end)
    local Tree = helper.define(function(self) self:spawn(Middle():with_params { target = "middle" }) end)
    helper.result(Tree():with_params { target = "v1" })
    assert.same({ target = "v1", queue = "default", attempts = 3 }, trace.leaf)
  end)

  it("P210 applies in test mode as well", function()
    local seen = {}
    local Leaf = helper.define(function(self) seen.leaf = settings(self) end)
    local Tree = helper.define(function(self)
      seen.root = settings(self)
      self:spawn(Leaf():with_params { max_attempts = 2 })
    end)
    Tree():with_params(given):start_test()
    assert.same(given, seen.root)
    assert.same({
      max_attempts = 2, backoff_seconds = 15, backoff_factor = 2, target = "v2.worker", queue_name = "slow",
    }, seen.leaf)
  end)

  it("P211 the target of a root is that of its tree, in every attempt (G17)", function()
    local seen = {}
    local Leaf = helper.define {
      backoff_seconds = 1,
      run = function(self)
        table.insert(seen, self.target or "none")
        if self.current_attempt < 3 then error("again") end
      end,
      finalized = function(self) table.insert(seen, "finalized " .. self.target) end,
    }
    local Middle = helper.define(function(self) self:spawn(Leaf()) end)
    local Tree = helper.define(function(self)
      local first = self:spawn(Middle())
      self:after({ first }, function() self:spawn(Middle()) end)
    end)
    local stage = Tree():with_params { target = "v7.shop" }
    helper.result(stage)
    assert.same({
      "v7.shop", "v7.shop", "v7.shop", "finalized v7.shop", "v7.shop", "v7.shop", "v7.shop", "finalized v7.shop",
    }, seen)
    for _, entry in pairs(pipeline.get_status_tree(stage.id).pipelines) do assert.equal("v7.shop", entry.target) end
  end)

  it("P211 may be that of the class, and is kept across processes", function()
    local trace = {}
    local Leaf = noting(trace, "leaf")
    local Tree = helper.define {
      target = "class", run = function(self) self:spawn(Leaf()) end,
    }
    local stage = Tree():start()
    assert.equal("class", stage.target)
    local path = engine._path
    engine:close()
    engine = helper.open { path = path }
    engine:drain { delayed = true }
    assert.equal("class", trace.leaf.target)
  end)

  it("P212 target is nil when nobody said, also in test mode", function()
    local trace = {}
    local Leaf = noting(trace, "leaf")
    local stage = Leaf():start()
    assert.is_nil(stage.target)
    engine:drain()
    assert.same({ queue = "default", attempts = 3 }, trace.leaf)
    assert.is_nil(helper.entry(stage).target)
    trace.leaf = nil
    Leaf():start_test()
    assert.same({ queue = "default", attempts = 3 }, trace.leaf)
  end)

  it("P213 a child may have a queue of its own, which its children inherit (G16)", function()
    local trace = {}
    local Leaf, Sibling = noting(trace, "leaf"), noting(trace, "sibling")
    local Own = noting(trace, "own", { queue_name = "mine" })
    local Retried = helper.define {
      run = function(self)
        trace["attempt " .. self.current_attempt] = self.queue_name
        if self.current_attempt == 1 then error("again") end
      end,
      finalized = function(self) trace.finalized = self.queue_name end,
    }
    local Middle = helper.define(function(self)
      self:spawn(Own())
      self:spawn(Retried())
      self:spawn(Leaf())
    end)
    local Tree = helper.define(function(self)
      self:spawn(Middle():with_params { queue_name = "fast" })
      self:spawn(Sibling())
    end)
    local stage = Tree():start { queue_name = "slow" }
    engine:drain()
    local queues = engine:status().queues
    assert.same({ ready = 0, delayed = 1, claimed = 0 }, queues.fast) -- the retry
    assert.same({ ready = 0, delayed = 0, claimed = 0 }, queues.slow)
    engine:drain { delayed = true }
    engine:wait(stage, { timeout = 0 })
    assert.same({
      leaf = { queue = "fast", attempts = 3 }, sibling = { queue = "slow", attempts = 3 },
      own = { queue = "mine", attempts = 3 }, ["attempt 1"] = "fast", ["attempt 2"] = "fast", finalized = "fast",
    }, trace)
    assert.equal("fast", (helper.find(stage, Middle)).queueName)
    assert.equal("slow", (helper.find(stage, Sibling)).queueName)
  end)

  it("P213 the queue given to start wins over that of the instance, and that over the class's", function()
    local Own = helper.define { queue_name = "class", run = function(self) return self.queue_name end }
    assert.equal("class", helper.result(Own()))
    assert.equal("instance", helper.result(Own():with_params { queue_name = "instance" }))
    assert.equal("start", helper.result(Own():with_params { queue_name = "instance" }, { queue_name = "start" }))
  end)
end)
