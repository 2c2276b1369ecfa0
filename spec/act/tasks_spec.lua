-- engine:act_tasks: dead tasks get another life, or are forgotten.

local deferred = require "pipeline.deferred"
local helper = require "spec.support.helper"
local taskqueue = require "pipeline.taskqueue"

describe("engine:act_tasks", function()
  local engine, broken, done

  deferred.register("act.fickle", function(what)
    if broken then error("no " .. what, 0) end
    done = done + 1
  end)

  before_each(function()
    engine = helper.open()
    broken, done = true, 0
    taskqueue.configure { default = {}, mail = {} }
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local once = { task_retry_limit = 0 }

  local function die(queue, count, prefix)
    for i = 1, count do
      local name = prefix and prefix .. i or nil
      deferred.with { queue = queue, name = name, retry_options = once } ("act.fickle", prefix or "other")
    end
    engine:drain { delayed = true }
  end

  local function dead(queue) return #taskqueue.Queue(queue):dead_tasks { count = 500 } end

  it("revives those of a queue, page by page; dry_run only counts", function()
    die("mail", 250)
    die("default", 3)
    assert.same({ matched = 250, done = 250, refused = {} },
      engine:act_tasks { op = "revive", queue = "mail", dry_run = true })
    assert.equal(250, dead "mail")
    broken = false
    assert.same({ matched = 250, done = 250, refused = {} }, engine:act_tasks { op = "revive", queue = "mail" })
    engine:drain()
    assert.same({ 0, 3, 250 }, { dead "mail", dead "default", done })
  end)

  it("finds them by name or by a filter, and says which are not there", function()
    die("mail", 3, "red")
    die("default", 2, "blue")
    local result = engine:act_tasks { op = "forget", queue = "mail", names = { "red1", "green" } }
    assert.same({ 1, 1, "green" }, { result.matched, result.done, result.refused[1].id })
    assert.equal("it is not among the dead tasks any more", result.refused[1].why)
    result = engine:act_tasks { op = "forget", names = { "mail/red2", "default/blue1", "default/red3" } }
    assert.same({ 2, "default/red3" }, { result.done, result.refused[1].id })
    assert.equal(1, engine:act_tasks { op = "forget", filters = { text = "NO RED" } }.done)
    assert.same({ 0, 1 }, { dead "mail", dead "default" })
  end)

  it("names a task without a name by its id", function()
    die("mail", 2)
    local id = engine:_id_text(taskqueue.Queue("mail"):dead_tasks()[1]._id)
    broken = false
    assert.equal(1, engine:act_tasks { op = "revive", names = { "mail/" .. id } }.done)
    engine:drain()
    assert.same({ 1, 1 }, { dead "mail", done })
  end)

  it("refuses what it does not know", function()
    helper.misuse("did you mean 'revive'", engine.act_tasks, engine, { op = "revyve", queue = "mail" })
    helper.misuse("names, filters or queue", engine.act_tasks, engine, { op = "revive" })
    helper.misuse("QUEUE/NAME", engine.act_tasks, engine, { op = "revive", names = { "x" } })
    helper.misuse("only dead", engine.act_tasks, engine, { op = "revive", filters = { state = "ready" } })
  end)
end)
