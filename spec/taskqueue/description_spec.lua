-- description_spec.lua: what a task is, in words, for who looks at dead letters.

local deferred = require "pipeline.deferred"
local functions = require "spec.deferred.functions"
local helper = require "spec.support.helper"
local taskqueue = require "pipeline.taskqueue"

describe("the description of a task", function()
  local engine
  before_each(function() engine = helper.open { queues = { pull = { mode = "pull" } } } end)
  after_each(helper.finish)
  teardown(helper.clean)

  local once = taskqueue.TaskRetryOptions { task_retry_limit = 0 }

  local function dead(fn, ...)
    deferred.with { retry_options = once }(fn, ...)
    engine:drain { delayed = true }
    local task = taskqueue.Queue():dead_tasks()[1]
    taskqueue.Queue():purge_dead()
    return task.description
  end

  it("of a dead call names the function and its arguments", function()
    assert.equal('spec.deferred.functions.fail("no", 5, {a=true}, nil)',
      dead(functions.fail, "no", 5, { a = true }, nil))
    local long = dead(functions.fail, ("x"):rep(10000))
    assert.is_true(#long <= 300, #long)
    assert.matches("^spec.deferred.functions.fail%(\"xxx", long)
  end)

  it("of a call that cannot be read here still names the function, and loads nothing", function()
    assert.matches("^spec.not_here.fn%(1%)$", dead("spec.not_here.fn", 1))
    functions.Gone = { __index = {} }
    deferred.defer(functions.record, setmetatable({}, functions.Gone))
    functions.Gone = nil
    engine:drain { delayed = true }
    assert.matches("^spec.deferred.functions.record%(%.%.%. %d+ bytes that cannot be read here%)$",
      taskqueue.Queue():dead_tasks()[1].description)
  end)

  it("of a push is method, URL and parameters; of a pull task its tag and payload", function()
    assert.equal("POST /a b=c+d&e=1", taskqueue.Task { url = "/a", params = { b = "c d", e = 1 } }.description)
    assert.equal("GET /a?b=c", taskqueue.Task { url = "/a?b=c", method = "GET" }.description)
    assert.equal("PULL tag eu text", taskqueue.Task { method = "PULL", tag = "eu", payload = "text" }.description)
    assert.equal("PULL (3 bytes)", taskqueue.Task { method = "PULL", payload = "\0\1\2" }.description)
  end)

  it("of damaged bytes is harmless", function()
    math.randomseed(7)
    local sound = deferred.serialize(functions.record, 1, "two", { 3 })
    for i = 1, 300 do
      local bytes = i <= #sound and sound:sub(1, i) or
        sound:gsub(".", function(c) return math.random(8) == 1 and string.char(math.random(0, 255)) or c end)
      local task = taskqueue.Task { url = "/x", payload = bytes }
      task._kind = "deferred"
      assert.is_string(task.description)
    end
  end)
end)
