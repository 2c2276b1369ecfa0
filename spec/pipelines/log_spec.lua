-- log_spec.lua: failures are told by the log: whose, which attempt, why, where, and what happens next.

local pipeline = require "pipeline"
local mail = require "pipeline.mail"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"

local WARNING, ERROR = 30, 40
local HERE = "spec/pipelines/log_spec.lua:"

describe("the log", function()
  local engine

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function failing(message, definition)
    definition = definition or {}
    definition.run = function() error(message) end
    return helper.define(definition)
  end

  local function find(pattern, level)
    local found = {}
    for _, line in ipairs(helper.log(level)) do
      if line:find(pattern) then found[#found + 1] = line end
    end
    return found
  end

  it("has a warning for every failed attempt, with what failed, where, and when it runs again", function()
    local Fails = failing("no stock", { max_attempts = 3, backoff_seconds = 15 })
    local stage = Fails():start()
    engine:drain { delayed = true }
    local lines = find("^run of ", WARNING)
    assert.equal(3, #lines)
    for i, line in ipairs(lines) do
      local head = ("run of %s %s failed, attempt %d of 3: "):format(Fails.class_path, stage.id, i)
      assert.equal(head, line:sub(1, #head))
      assert.truthy(line:find(HERE .. "%d+: no stock", #head), line)
    end
    assert.matches("; runs again in 15 s, at 2023%-11%-14T22:13:35Z$", lines[1])
    assert.matches("; runs again in 30 s, at ", lines[2])
    assert.is_nil(lines[3]:find("runs again", 1, true))
  end)

  it("has an error for an abort, with the class, id and arguments of the stage that failed", function()
    local Fails = failing("no stock", { max_attempts = 1 })
    local Tree = helper.define(function(self) self:spawn(Fails("x1", { n = 2 })) end)
    local stage = Tree():start()
    engine:drain { delayed = true }
    local _, id = helper.find(stage, Fails)
    local lines = find("is aborted", ERROR)
    assert.equal(1, #lines)
    local whose = Fails.class_path .. '("x1", {n=2}) ' .. id
    for _, part in ipairs { stage.id, whose, "attempt 1 of 1", HERE, "no stock" } do
      assert.truthy(lines[1]:find(part, 1, true), lines[1])
    end
  end)

  it("has the place of errors that have none in their text", function()
    for _, raise in ipairs {
      function() error(pipeline.Abort "enough") end, function() error({ code = 5 }) end,
      function() error("text", 0) end,
    } do
      local Fails = helper.define { max_attempts = 1, run = raise }
      Fails():start()
      engine:drain()
      local lines = find("^run of " .. Fails.class_path, WARNING)
      assert.equal(1, #lines)
      assert.truthy(lines[1]:find(HERE, 1, true), lines[1])
    end
  end)

  it("has a line, and no error, for an abort that was asked for", function()
    local Async = helper.define { async = true, run = function() end }
    local stage = helper.define(function(self) self:spawn(Async(7)) end)():start()
    engine:drain()
    assert.is_true(stage:abort("not wanted"))
    local lines = find("is aborted, as was asked: not wanted", 20)
    assert.equal(1, #lines)
    assert.truthy(lines[1]:find(stage.id, 1, true))
    assert.is_false(stage:abort("again"))
    assert.equal(1, #find("as was asked", 20))
    assert.same({}, helper.log(WARNING))
  end)

  it("has a warning for a task that has no route, and one that is refused", function()
    taskqueue.add { url = "/nowhere", retry_options = taskqueue.TaskRetryOptions { task_retry_limit = 0 } }
    engine:drain()
    assert.equal(1, #find("^push task .*no route for it in this process", WARNING))
    local Async = helper.define { async = true, run = function() end, callback = function() end }
    local stage = Async():start()
    engine:drain()
    local task = stage:get_callback_task()
    stage:complete(1)
    engine:drain()
    task:add()
    engine:drain { delayed = true }
    assert.equal(1, #find("^a callback task of .* was refused and is dropped: 409", WARNING))
  end)

  it("has a line with class, id and attempt n of m for a run whose task is refused at its commit", function()
    local queue = taskqueue.Queue()
    queue:pause()
    queue:add(taskqueue.Task { name = "taken" })
    local Adds = helper.define { max_attempts = 2, backoff_seconds = 15, run = function()
      queue:add({ taskqueue.Task { name = "free" }, taskqueue.Task { name = "taken" } }, { transactional = true })
    end }
    local stage = Adds():with_params { queue_name = "other" }:start()
    engine:drain { delayed = true }
    local lines = find("^run of ", WARNING)
    assert.equal(2, #lines)
    for i, following in ipairs { "; runs again in 15 s", "; its tree is aborted" } do
      local head = ("run of %s %s failed, attempt %d of 2: TaskAlreadyExistsError: task 'taken'"):format(
        Adds.class_path, stage.id, i)
      assert.equal(head, lines[i]:sub(1, #head))
      assert.truthy(lines[i]:find(following, 1, true), lines[i])
    end
  end)

  it("has one line alone for such a run, also when something waits for its commit", function()
    local queue = taskqueue.Queue()
    queue:pause()
    queue:add(taskqueue.Task { name = "taken" })
    local Adds = helper.define { max_attempts = 1, run = function()
      queue:add(taskqueue.Task { name = "taken" }, { transactional = true })
      mail.send({ sender = "a@example.org", to = "b@example.org", body = "not sent" }, { transactional = true })
    end }
    local stage = Adds():with_params { queue_name = "other" }:start()
    engine:drain { delayed = true }
    assert.equal(1, #find("TaskAlreadyExistsError: task 'taken'", WARNING))
    assert.equal(1, #find("", WARNING) - #find("^the tree is aborted", WARNING))
    assert.same({}, find("not sent", 20))
    assert.equal("aborted", helper.entry(stage).status)
  end)

  it("bounds lines that are equal but for the stage, and tells how many were left out", function()
    local Fails = failing("the same", { max_attempts = 1 })
    for i = 1, 50 do Fails(i):start() end
    engine:drain()
    assert.equal(5, #find("^run of ", WARNING))
    assert.equal(5, #find("^the tree is aborted", ERROR))
    engine:advance(11)
    Fails():start()
    engine:drain()
    assert.equal(6, #find("^run of ", WARNING))
    assert.equal(1, #find("^45 more like this were not written: run of ", WARNING))
    assert.equal(1, #find("^45 more like this were not written: the tree is aborted", ERROR))
    failing("another", { max_attempts = 1 })():start()
    engine:drain()
    assert.equal(1, #find("another", ERROR))
  end)

  it("tells at the end of the engine what was left out", function()
    local Fails = failing("the same", { max_attempts = 1 })
    for i = 1, 7 do Fails(i):start() end
    engine:drain()
    engine:close()
    assert.equal(1, #find("^2 more like this were not written: run of ", WARNING))
  end)

  it("says nothing of what a test raises to its caller", function()
    local Fails = failing("in a test")
    assert.is_false(pcall(function() Fails():start_test() end))
    assert.same({}, helper.log(WARNING))
  end)

  it("goes to standard error without a setting, so that a failure is seen", function()
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write([[local pipeline = require "pipeline"
      local Fails = pipeline.define("log.Fails", { max_attempts = 1, run = function() undefined() end })
      local engine <close> = pipeline.open(":memory:")
      Fails():start()
      engine:drain()]])
    file:close()
    local pipe = assert(io.popen(("%s %s 2>&1"):format(os.getenv("LUA") or "lua5.4", path)))
    local text = pipe:read("a")
    pipe:close()
    os.remove(path)
    assert.truthy(text:find(path .. ":2: attempt to call a nil value (global 'undefined')", 1, true), text)
  end)
end)
