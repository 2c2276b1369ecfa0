-- mistakes_spec.lua: what is said of the mistakes that everybody makes: what is wrong, and the remedy.

local deferred = require "pipeline.deferred"
local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"

describe("the message of a mistake", function()
  local engine
  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local Leaf = helper.define(function(_, value) return value end)

  local function said(class, pattern, fn, ...)
    local problem = helper.raises(class, fn, ...)
    assert.matches(pattern, problem.message)
  end

  -- What a run that does this is aborted with.
  local function in_run(pattern, fn)
    local stage = helper.define { max_attempts = 1, run = fn }()
    local problem = helper.aborted(stage)
    assert.matches(pattern, problem.message)
  end

  describe("in a definition", function()
    it("names the field that is one letter away, and is not given where the fields are the user's own", function()
      for wrong, meant in pairs { max_attempt = "max_attempts", runn = "run", finalised = "finalized", rn = false,
        queuename = "queue_name", timeouts = "timeout", callbak = "callback", asyn = "async", backoff = false,
        helper = false, price = false } do
        local definition = { run = function() end, [wrong] = 1 }
        if meant then
          said(pipeline.ConfigurationError, ("'%s' is one letter away from '%s'"):format(wrong, meant), pipeline.define,
            helper.name(), definition)
        else
          pipeline.define(helper.name(), definition)
        end
      end
    end)

    it("lets a function have such a name that the others use", function()
      local Runs = helper.define {
        run = function(self) return self:runs(20) end,
        runs = function(_, n) return n + 1 end,
      }
      assert.equal(21, helper.result(Runs()))

      local function helps(self) return self.run_teste(1) end -- reached by an upvalue
      pipeline.define(helper.name(), { run = tasklets.tasklet(function(self) return helps(self) end),
        run_teste = function() end })
      pipeline.define(helper.name(), { run = function() return function(self) return self.asyncs end end,
        asyncs = function() end })
      pipeline.define(helper.name(), { extends = Runs, runs = function(_, n) return n + 2 end })

      local Later = pipeline.define(helper.name(), {})
      function Later.runs() return 5 end
      function Later.run(self) return self.runs() end
      assert.equal(5, helper.result(Later()))
    end)

    it("refuses it all the same when nobody uses the function", function()
      for _, definition in ipairs {
        { run = function() end, finalised = function() end },
        { run = function(self) self:other() end, runs = function(self) self:runs() end, other = function() end },
        { run = function() return "no runs, the word is no name" end, runs = function() end },
        { run = function(self) return self.timeouts end, timeouts = 5 },
      } do
        said(pipeline.ConfigurationError, "is one letter away from", pipeline.define, helper.name(), definition)
      end
      local Later = pipeline.define(helper.name(), {})
      function Later.runn() end
      said(pipeline.ConfigurationError, "'runn' is one letter away from 'run'", Later)
    end)

    it("says that run is missing when an instance is made, unless it is inherited or came later", function()
      local here = "[^ ]*mistakes_spec.lua:" .. debug.getinfo(1, "l").currentline + 1
      local Empty = pipeline.define(helper.name(), { callback = function() end })
      said(pipeline.ConfigurationError, ("%%(defined at %s%%) has no run function"):format(here), Empty)
      local Heir = pipeline.define(helper.name(), { extends = Leaf })
      assert.equal(5, helper.result(Heir(5)))
      function Empty.run() return "late" end
      assert.equal("late", helper.result(Empty()))
    end)

    it("says that define is called with a dot", function()
      helper.misuse("with a dot", pipeline.define, pipeline, "mistakes.X", { run = function() end })
    end)
  end)

  it("of a queue that is not there names the nearest, where queues are configured", function()
    Leaf():start { queue_name = "anything" } -- nothing is configured
    taskqueue.configure { mail = {}, reports = {} }
    said(taskqueue.UnknownQueueError, "'mial'; did you mean 'mail'", function()
      Leaf():start { queue_name = "mial" }
    end)
    in_run("UnknownQueueError.*'mial'; did you mean 'mail'", function(self)
      self:spawn(Leaf():with_params { queue_name = "mial" })
    end)
    assert.equal(1, helper.result(Leaf(1), { queue_name = "mail" }))
    assert.equal(1, helper.result(Leaf(1)))
  end)

  it("of a class of errors that does not exist is an error, not a yes", function()
    local problem = pipeline.Abort("x")
    assert.is_true(pipeline.is(problem))
    assert.is_true(pipeline.is(problem, pipeline.Abort))
    helper.misuse("got nil: is its name misspelt", pipeline.is, problem, pipeline.Aborted)
    for _, wrong in ipairs { "Abort", 5, {}, problem } do
      helper.misuse("class of errors expected", pipeline.is, problem, wrong)
    end
  end)

  it("a class of errors that is raised is an error of that class", function()
    local times = 0
    local Aborts = helper.define { run = function() times = times + 1 error(pipeline.Abort) end }
    helper.aborted(Aborts())
    assert.equal(1, times) -- not tried again
    local Retries = helper.define { run = function(self)
      if self.current_attempt == 1 then error(pipeline.Retry) end
      return "second"
    end }
    assert.equal("second", helper.result(Retries()))
    local future = tasklets.tasklet(function() error(pipeline.Abort) end)()
    assert.is_true(pipeline.is(select(2, pcall(future.get_result, future)), pipeline.Abort))
  end)

  it("of a pipeline that is passed on without spawn names spawn, and the place", function()
    in_run("argument 1.*a pipeline: spawn it, self:spawn%(it%)", function(self) self:spawn(Leaf(Leaf(1))) end)
    in_run("return value.*a pipeline: spawn it", function() return { part = Leaf(1) } end)
    said(pipeline.SerializationError, 'argument 1, field "deep%.x".*a pipeline: spawn it', function()
      Leaf({ deep = { x = Leaf(1) } }):start()
    end)
    in_run("future of tasklets: await it", function()
      return { tasklets.tasklet(function() return 1 end)() }
    end)
  end)

  it("of an await for the future of a pipeline says to pass it on", function()
    in_run("is not awaited: pass it on to another child", function(self) tasklets.await(self:spawn(Leaf(1))) end)
  end)

  it("of a value that is read too early says to pass the future on", function()
    in_run("it is not filled yet: this run must end first; pass the future on", function(self)
      local future = self:spawn(Leaf(1))
      return future.default.value
    end)
  end)

  it("of a method that is called with a dot says that ':' is missing", function()
    in_run("is ':' missing, as in self:spawn", function(self) self.spawn(Leaf(1)) end)
    local stage = Leaf(1)
    for _, name in ipairs { "start", "with_params", "fill", "complete", "retry", "abort", "get_callback_url",
      "get_callback_task", "set_status", "cleanup" } do
      helper.misuse("':' is missing, as in stage:" .. name, stage[name])
      helper.misuse("':' is missing", stage[name], Leaf)
    end
    in_run("instance of it with its arguments", function(self) self:spawn(Leaf) end)
    in_run("spawned already", function(self) self:spawn(self:spawn(Leaf(1))) end)
  end)

  it("of an option that has another name elsewhere names the one meant", function()
    helper.misuse("unknown option 'max_attempts'; did you mean 'task_retry_limit'", taskqueue.TaskRetryOptions,
      { max_attempts = 3 })
    helper.misuse("did you mean 'countdown'", function() Leaf():start { delay = 5 } end)
    helper.misuse("did you mean 'queue'", deferred.with, { queue_name = "x" })
    helper.misuse("did you mean 'idempotence_key'", function() Leaf():start { key = "x" } end)
  end)

  it("of a local function that is deferred names deferred.register", function()
    said(pipeline.SerializationError, "deferred%.register", deferred.defer, function() end)
  end)

  it("of an error that is a table shows its fields", function()
    in_run("{code=5}", function() error { code = 5 } end)
    in_run("^.-no stock", function() error { message = "no stock" } end)
  end)

  it("of what the engine adds for a returned value with futures is not shown", function()
    local Both = helper.define(function(self)
      return { self:spawn(Leaf(1)), self:spawn(Leaf(2)) }
    end)
    local stage = Both():start()
    engine:drain()
    assert.same({ 1, 2 }, engine:wait(stage).default.value)
    local tree, count = pipeline.get_status_tree(stage.id), 0
    for _, entry in pairs(tree.pipelines) do
      count = count + 1
      assert.not_equal("pipeline.common.Return", entry.classPath)
    end
    assert.equal(3, count)
    assert.equal(2, #tree.pipelines[stage.id].children)
    local Own = helper.define(function(self) self:spawn(pipeline.common.Return(5)) end)
    stage = Own():start()
    engine:drain()
    assert.equal(1, #pipeline.get_status_tree(stage.id).pipelines[stage.id].children) -- spawned by the user: shown
  end)
end)
