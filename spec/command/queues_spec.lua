--- queues, queue, pause, resume-queue, purge, set; tasks, dead, revive, forget; workers, top.

local schema = require "spec.command.schema"
local shapes = require "spec.command.shapes"
local support = require "spec.command.support"

describe("queues", function()
  local scene

  before_each(function()
    scene = support.scene()
    scene:write("calls.lua", [[
      local deferred, taskqueue = require "pipeline.deferred", require "pipeline.taskqueue"
      local calls = {}
      function calls.fails(why) error(why, 0) end
      package.loaded.calls = calls
      if os.getenv "FILL" then
        taskqueue.configure { mail = { rate = "5/s" }, pulled = { mode = "pull" } }
        deferred.with { countdown = 3600, queue = "mail", name = "later" } (calls.fails, "later")
        for _, name in ipairs { "first", "second" } do
          local once = taskqueue.TaskRetryOptions { task_retry_limit = 0 }
          deferred.with { queue = "mail", name = name, retry_options = once } (calls.fails, "no " .. name)
        end
      end
      return calls
    ]])
  end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  -- A store with a delayed and two dead tasks in the queue mail.
  local function fill()
    local worker = scene:spawn({ "worker", "calls.lua" }, { env = { FILL = "1" } })
    worker.saw("working on")
    local done = support.eventually(support.SECONDS, function()
      return #scene:json({ "dead", "mail" }).items == 2
    end)
    assert.is_true(done, worker.said())
    scene:stop(worker)
  end

  local function is_as(shape, words, expected)
    local value = scene:json(words, nil, expected)
    assert.equal("", schema.check(value, shapes[shape]))
    return value
  end

  local function fails(code, text, ...)
    local got, _, err = scene:run { ... }
    assert.equal(code, got, err)
    assert.truthy(err:find(text, 1, true), err)
  end

  it("C6 queues, tasks, dead and workers are JSON with the names of their schemas", function()
    fill()
    local by_name = {}
    for _, queue in ipairs(is_as("queues", { "queues" }).items) do by_name[queue.name] = queue end
    assert.equal(1, by_name.mail.delayed)
    assert.equal(2, by_name.mail.dead)
    assert.equal("pull", by_name.pulled.mode)
    assert.equal(5, is_as("queue", { "queue", "mail" }).settings.rate)
    assert.equal(3, #is_as("tasks", { "tasks", "mail" }).items)
    assert.equal(1, #is_as("tasks", { "tasks", "mail", "--state", "delayed" }).items)
    assert.equal(2, #is_as("tasks", { "dead" }).items)
    assert.same({}, is_as("workers", { "workers" }).items)
    is_as("top", { "top" })
    local worker = scene:worker()
    assert.equal(1, #is_as("workers", { "workers" }).items)
    is_as("top", { "top" })
    scene:stop(worker)
  end)

  it("tasks and dead say in words what a task is and what failed", function()
    fill()
    local out = scene:must { "tasks", "mail" }
    assert.truthy(out:find("mail/later", 1, true) and out:find("calls.fails", 1, true), out)
    out = scene:must { "dead", "mail", "--text", "second" }
    assert.truthy(out:find("mail/second", 1, true) and out:find("no second", 1, true), out)
    assert.is_nil(out:find("mail/first", 1, true), out)
    local code, screen = scene:terminal({ "dead" }, { columns = 40 })
    assert.equal(0, code)
    assert.truthy(screen:find("mail/first", 1, true), screen)
  end)

  it("pause, resume-queue and set change a queue at once, and leave its other settings as they are", function()
    fill()
    scene:must { "pause", "mail" }
    assert.is_true(scene:json({ "queue", "mail" }).paused)
    scene:must { "resume-queue", "mail" }
    local settings = is_as("set", { "set", "mail", "max_concurrent_requests=3", "task_retry_limit=7",
      "min_backoff_seconds=2m" }).settings
    assert.equal(5, settings.rate)
    assert.equal(3, settings.max_concurrent_requests)
    assert.equal(7, settings.retry_parameters.task_retry_limit)
    assert.equal(120, settings.retry_parameters.min_backoff_seconds)
    assert.is_false(scene:json({ "queue", "mail" }).paused)
    settings = is_as("set", { "set", "mail", "rate=", "max_concurrent_requests=" }).settings
    assert.is_nil(settings.rate)
    assert.equal(7, settings.retry_parameters.task_retry_limit)
    assert.equal("pull", is_as("set", { "set", "fresh", "--new", "mode=pull" }).settings.mode)
    fails(2, "did you mean 'rate'", "set", "mail", "rat=5/s")
    fails(2, "neither", "set", "mail", "rate=x")
  end)

  it("purge, revive and forget ask before they do much, and count with --dry-run", function()
    fill()
    fails(2, "--yes", "purge", "mail")
    assert.truthy(scene:must({ "purge", "mail", "--dry-run" }):find("1 task", 1, true))
    assert.equal(1, is_as("purge", { "purge", "mail", "--yes" }).done)
    fails(2, "which tasks?", "revive")
    fails(2, "QUEUE/NAME", "revive", "first")
    fails(2, "--yes", "forget", "--queue", "mail")
    assert.equal(2, is_as("act", { "forget", "--queue", "mail", "--dry-run" }).matched)
    fails(3, "there is no dead task 'mail/frist'; did you mean 'mail/first'?", "revive", "mail/frist")
    assert.equal(1, is_as("act", { "revive", "mail/first" }).done)
    assert.equal(1, #scene:json({ "dead" }).items)
    assert.equal(1, is_as("act", { "forget", "--all", "--yes" }).done)
    assert.equal(0, #scene:json({ "dead" }).items)
  end)

  it("asks on a terminal, and takes no for an answer", function()
    fill()
    local code, screen = scene:terminal({ "purge", "mail" }, { send = { { "[y/N]", "n\\n" } } })
    assert.equal(1, code, screen)
    assert.truthy(screen:find("nothing was done", 1, true), screen)
    code, screen = scene:terminal({ "purge", "mail" }, { send = { { "[y/N]", "y\\n" } } })
    assert.equal(0, code, screen)
    assert.equal(0, scene:json({ "queue", "mail" }).delayed)
  end)

  it("C8 names the queue that was probably meant", function()
    fill()
    for _, words in ipairs { { "queue", "mial" }, { "tasks", "mial" }, { "pause", "mial" }, { "purge", "mial" },
      { "set", "mial", "rate=5/s" }, { "dead", "mial" }, { "revive", "mial/x" } } do
      fails(3, "did you mean 'mail'?", table.unpack(words))
    end
  end)

  it("top has a line chosen by keys: enter shows it, p pauses its queue", function()
    fill()
    local code, screen = scene:terminal({ "top" }, { lines = 40, send = {
      { "> mail", "j" }, { "> default", "\\x1b[A" }, { "> mail", "p" }, { "paused", "\\r" },
      { "calls.fails", "\\r" }, { "> mail", "jjj" }, { "Failed last", "q" },
    } })
    assert.equal(0, code, screen)
    assert.truthy(screen:find("enter back", 1, true), screen)
    assert.is_true(scene:json({ "queue", "mail" }).paused)
    assert.is_false(scene:json({ "queue", "default" }).paused)
  end)

  it("top draws on a terminal until q, and prints one picture where it cannot draw", function()
    fill()
    local code, screen = scene:terminal({ "top" }, { send = { { "Failed last", "q" } } })
    assert.equal(0, code, screen)
    assert.truthy(screen:find("\27[?1049h", 1, true) and screen:find("\27[?1049l", 1, true), screen)
    code, screen = scene:terminal({ "top" }, { env = { TERM = "dumb" } })
    assert.equal(0, code, screen)
    assert.is_nil(screen:find("\27", 1, true), screen)
    assert.truthy(scene:must({ "top" }):find("mail", 1, true))
  end)

  it("top pauses the chosen queue at p", function()
    fill()
    local code = scene:terminal({ "top" }, { send = { { "> ", "p" }, { "paused", "q" } } })
    assert.equal(0, code)
    local paused = 0
    for _, queue in ipairs(scene:json({ "queues" }).items) do paused = paused + (queue.paused and 1 or 0) end
    assert.equal(1, paused)
  end)
end)
