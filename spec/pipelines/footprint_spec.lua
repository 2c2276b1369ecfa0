-- What a stage costs in Lua memory, and that what is made lazily or used again shows the same as before.
local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"

local STAGE_BYTES_MAX = 1400

describe("the memory of a stage", function()
  local engine

  before_each(function() engine = pipeline.open(":memory:", { log = function() end }) end)
  after_each(function() engine:close() end)

  local function bytes_of(fn)
    collectgarbage()
    collectgarbage("stop")
    local before = collectgarbage("count")
    local ok, problem = pcall(fn)
    local after = collectgarbage("count")
    collectgarbage("restart")
    assert(ok, problem)
    return (after - before) * 1024
  end

  it("is bounded, spawned, executed and ended, in a fan-out", function()
    local Leaf = pipeline.define("footprint.Leaf", { run = function(_, n) return n end })
    local Fan = pipeline.define("footprint.Fan", {
      run = function(self, n)
        for i = 1, n do self:spawn(Leaf(i)) end
        return n
      end,
    })
    engine:wait(Fan(3):start())
    local bytes = bytes_of(function() engine:wait(Fan(1000):start()) end)
    assert.is_true(bytes / 1000 < STAGE_BYTES_MAX, ("%.0f bytes a stage"):format(bytes / 1000))
  end)

  it("shows all that is known of a stage while it runs, and when it is kept longer than its run", function()
    local kept, seen, parent = nil, nil, nil
    local function look(self)
      return {
        self.max_attempts, self.backoff_seconds, self.backoff_factor, self.timeout, self.target, self.queue_name,
        self.base_path, self.current_attempt, self.is_root, self.class_path, self.id, self.root_id, self.args[1],
        self.args.n, self.was_aborted, self.task_retry,
      }
    end
    local Child = pipeline.define("footprint.Child", {
      max_attempts = 5, backoff_seconds = 1.5, backoff_factor = 4, timeout = 60, queue_name = "q",
      output_names = { "other" },
      run = function(self)
        kept, seen = self, look(self)
        self:fill("other", 2)
        return 1
      end,
    })
    local Parent = pipeline.define("footprint.Parent", {
      run = function(self)
        parent = self
        return self:spawn(Child("a\0b"):with_params{ target = "t" })
      end,
    })
    local root = Parent()
    root:start{ base_path = "/here" }
    engine:drain()
    collectgarbage()
    assert.same({
      5, 1.5, 4, 60, "t", "q", "/here", 1, false, "footprint.Child", kept.id, root.id, "a\0b", 1, false, false,
    }, seen)
    assert.same(seen, look(kept))
    assert.equal(root.id, parent.id)
    assert.is_true(parent.is_root)
    assert.equal("default", parent.queue_name)
  end)

  it("shows of a spawned stage that its parent keeps what it will show itself", function()
    local kept, early = nil, nil
    local Child = pipeline.define("footprint.Kept", {
      max_attempts = 7, queue_name = "slow", timeout = 9, run = function() return 1 end,
    })
    local Parent = pipeline.define("footprint.Keeper", {
      run = function(self)
        kept = { Child(1), Child(2):with_params{ max_attempts = 2, queue_name = "fast" } }
        for _, child in ipairs(kept) do self:spawn(child) end
        early = { kept[1].id, kept[1].max_attempts, kept[2].max_attempts, kept[2].queue_name, kept[1].base_path }
        return 0
      end,
    })
    local root = Parent()
    root:start{ base_path = "/base" }
    engine:drain()
    assert.same({ nil, 7, 2, "fast", nil }, early)
    assert.same({ 7, "slow", 9, "/base", false }, { kept[1].max_attempts, kept[1].queue_name, kept[1].timeout,
                                                    kept[1].base_path, kept[1].is_root })
    assert.same({ 2, "fast", 9 }, { kept[2].max_attempts, kept[2].queue_name, kept[2].timeout })
    assert.same({ root.id, root.id }, { kept[1].root_id, kept[2].root_id })
    assert.has_error(function() kept[1].max_attempts = 3 end)
    assert.equal(1, engine:wait(kept[1]).default.value)
    assert.equal(7, kept[1].max_attempts)
  end)

  it("has nothing of one run reach another, whatever user code still does with it", function()
    local late = {}
    local Publisher
    Publisher = pipeline.define("footprint.Publisher", {
      output_names = { "early" },
      run = function(self)
        tasklets.tasklet(function()
          tasklets.sleep(0.01)
          late[#late + 1] = { pcall(self.spawn, self, Publisher()) }
          pcall(self.fill, self, "early", 1)
        end)()
        self:fill("early", 0)
        return 1
      end,
    })
    local Leaf = pipeline.define("footprint.Plain", {
      run = function(self, n)
        assert(self._run.children == false and self._run.n == 0 and not self._run.fills and not self._run.filled)
        if n % 3 == 0 then tasklets.sleep(0.02) end
        if n % 5 == 0 and self.current_attempt == 1 then error("once") end
        return n
      end,
    })
    local Leaves = pipeline.define("footprint.Leaves", {
      backoff_seconds = 0,
      run = function(self)
        local futures = {}
        for i = 1, 30 do
          futures[i] = self:spawn(Leaf(i):with_params{ backoff_seconds = 0 })
          self:spawn(Publisher())
        end
        return futures
      end,
    })
    local values = engine:wait(Leaves():start(), { timeout = 60 }).default.value
    for i = 1, 30 do assert.equal(i, values[i]) end
    assert.is_true(#late > 0)
    for _, result in ipairs(late) do assert.is_false(result[1]) end
  end)
end)
