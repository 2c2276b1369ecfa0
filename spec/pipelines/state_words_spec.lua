-- state_words_spec.lua: the field `state` of entries of status trees and root lists: one word for what is so, and what
-- is said with it.

local json = require "pipeline.http.json"
local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local START_MS = 1700000000000

describe("the state of a pipeline", function()
  local engine
  local Give = pipeline.define("words.Give", { run = function(_, value) return value end })
  local Async = pipeline.define("words.Async", { async = true, output_names = { "x" }, run = function() end })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("is ready with the place in the queue, and tells that the queue is paused", function()
    local first, second = Give(1):start(), Give(2):start()
    local entry = helper.entry(second)
    assert.same({ "ready", 2, "run" }, { entry.state, entry.placeInQueue, entry.status })
    assert.equal(1, helper.entry(first).placeInQueue)
    assert.is_nil(entry.pausedQueue)
    assert.equal("ready", pipeline.get_root_list().pipelines[1].state)
  end)

  it("is ready in a queue that is paused", function()
    engine:close()
    engine = helper.open { queues = { default = { paused = true } } }
    local stage = Give(1):start()
    engine:drain()
    local entry = helper.entry(stage)
    assert.same({ "ready", 1, true }, { entry.state, entry.placeInQueue, entry.pausedQueue })
  end)

  it("is delayed until its eta, or its next attempt", function()
    local later = Give(1):start { countdown = 60 }
    local Fails = helper.define { max_attempts = 2, run = function() error("no", 0) end }
    local failing = Fails():start()
    engine:drain()
    local entry = helper.entry(later)
    assert.same({ "delayed", START_MS + 60000 }, { entry.state, entry.untilMs })
    entry = helper.entry(failing)
    assert.same({ "delayed", "retry", entry.startTimeMs }, { entry.state, entry.status, entry.untilMs })
    assert.truthy(entry.lastRetryMessage:find("no", 1, true))
    engine:drain { delayed = true }
    assert.same({ "done", "aborted" }, { helper.entry(later).state, helper.entry(failing).state })
  end)

  it("is executing with its worker while it runs, then finalizing, then done", function()
    local run, finalized
    local Watched = helper.define {
      run = function(self) run = helper.entry(self) end,
      finalized = function(self) finalized = helper.entry(self) end,
    }
    local stage = Watched():start()
    engine:drain()
    assert.same({ "executing", START_MS }, { run.state, run.sinceMs })
    assert.matches("^[^#]+:%d+$", run.worker)
    assert.same({ "finalizing", run.worker }, { finalized.state, finalized.worker })
    local entry = helper.entry(stage)
    assert.equal("done", entry.state)
    assert.is_nil(entry.worker)
  end)

  it("is executing since its last attempt was begun", function()
    local since = {}
    local Fails = helper.define { max_attempts = 3, backoff_seconds = 60, backoff_factor = 1, run = function(self)
      since[#since + 1] = helper.entry(self).sinceMs
      error("no", 0)
    end }
    Fails():start()
    engine:drain { delayed = true }
    assert.same({ START_MS, START_MS + 60000, START_MS + 120000 }, since)
  end)

  it("is ready behind the first thousand, whatever its place", function()
    engine:close()
    engine = helper.open { queues = { default = { paused = true } } }
    local stages
    engine:transaction(function()
      stages = {}
      for i = 1, 1003 do stages[i] = Give(i):start() end
    end)
    assert.equal(1000, helper.entry(stages[1000]).placeInQueue)
    assert.equal(1001, helper.entry(stages[1001]).placeInQueue)
    assert.equal(1001, helper.entry(stages[1003]).placeInQueue)
  end)

  it("is waiting while its start is left to who has asked for the task", function()
    local held = Give(1)
    local task = held:start { return_task = true }
    assert.equal("waiting", helper.entry(held).state)
    task:add()
    assert.equal("ready", helper.entry(held).state)
    engine:drain()
    assert.equal("done", helper.entry(held).state)
  end)

  it("is waiting for slots, or open with what is open, also in rpc/tree", function()
    local Tree = helper.define(function(self) self:spawn(Give(self:spawn(Async()).x)) end)
    local stage = Tree():start()
    engine:drain()
    local root, open, waiting = helper.entry(stage), helper.find(stage, Async), helper.find(stage, Give)
    assert.same({ "open", 2 }, { root.state, root.childrenOpen })
    assert.same({ "open", 0, 2 }, { open.state, open.childrenOpen, open.outputsOpen })
    assert.same({ "waiting", { open.outputs.x } }, { waiting.state, waiting.waitingFor })
    pipeline.set_enforce_auth(false)
    local answer = engine:handle { method = "GET", path = "/_ah/pipeline/rpc/tree",
      query = "root_pipeline_id=" .. stage.id, headers = { ["x-requested-with"] = "XMLHttpRequest" } }
    pipeline.set_enforce_auth(true)
    local shown = json.decode(answer.body).pipelines
    assert.same({ "open", 2 }, { shown[stage.id].state, shown[stage.id].childrenOpen })
  end)

  it("is aborting, then aborted", function()
    local seen
    local Tree = helper.define {
      run = function(self) self:spawn(Async()) end,
      finalized = function(self) seen = helper.entry(self).state end,
    }
    local stage = Tree():start()
    engine:drain()
    stage:abort("enough")
    engine:drain()
    assert.same({ "aborting", "aborted" }, { seen, helper.entry(stage).state })
  end)
end)
