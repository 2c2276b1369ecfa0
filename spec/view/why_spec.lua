-- why_spec.lua: what keeps a pipeline or a task from running, or from being done; each time the very thing that is
-- named is changed, and it starts.

local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"
local taskqueue = require "pipeline.taskqueue"

describe("C7 why", function()
  local engine
  local runs
  local Give = pipeline.define("why.Give", { run = function(_, value)
    runs = runs + 1
    return value
  end })
  local Mail = pipeline.define("why.Mail", { queue_name = "mail", run = function() runs = runs + 1 end })
  local Async = pipeline.define("why.Async", { async = true, output_names = { "x" }, run = function() end })
  local Fired = pipeline.define("why.Fired", { async = true, run = function() end })
  local Fails = pipeline.define("why.Fails", {
    max_attempts = 2, backoff_seconds = 30, run = function() error("no paper", 0) end,
  })

  before_each(function()
    runs = 0
    engine = helper.open()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function codes(address)
    local list = {}
    for i, reason in ipairs(engine:why(address)) do
      list[i] = reason.code
      assert.equal("string", type(reason.text))
    end
    return list
  end

  local function first(address)
    return engine:why(address)[1] or {}
  end

  it("agrees with what happens next: a queue that is paused, and goes on", function()
    taskqueue.configure { mail = { paused = true } }
    local stage = Mail():start()
    engine:drain()
    local reason = first(stage.id)
    assert.same({ "queue_paused", "pipeline resume-queue mail", "queue 'mail' is paused" },
      { reason.code, reason.command, reason.text })
    assert.equal(0, runs)
    taskqueue.Queue("mail"):resume()
    assert.same({ "worker" }, codes(stage.id))
    engine:drain()
    assert.equal(1, runs)
    assert.same({}, codes(stage.id))
  end)

  it("agrees with what happens next: a rate that is 0, and is raised", function()
    taskqueue.configure { mail = { rate = "0" } }
    local stage = Mail():start()
    engine:drain()
    assert.same({ "rate_zero", "pipeline set mail rate=5/s" }, { first(stage.id).code, first(stage.id).command })
    taskqueue.configure { mail = { rate = "5/s" } }
    engine:drain()
    assert.equal(1, runs)
  end)

  it("agrees with what happens next: a rate whose tokens are used up, and come again", function()
    taskqueue.configure { mail = { rate = "1/s", bucket_size = 1 } }
    local stages = { Mail():start() }
    engine:drain()
    assert.equal(1, runs)
    stages[2], stages[3] = Mail():start(), Mail():start()
    assert.same({ "rate" }, codes(stages[2].id))
    assert.same({ "rate", "place" }, codes(stages[3].id))
    local wait = first(stages[2].id).wait
    assert.truthy(wait > 0.9 and wait <= 1)
    local before = engine:now()
    engine:drain() -- virtual time goes on until they have started
    assert.equal(3, runs)
    local began = engine:stage(stages[2].id).ended
    assert.truthy(began >= before + wait - 0.01 and began <= before + wait + 0.1)
  end)

  it("agrees with what happens next: as many at once as may be, and one ends", function()
    taskqueue.configure { mail = { max_concurrent_requests = 1 } }
    local seen, second
    local Long = helper.define { queue_name = "mail", run = function() seen = first(second.id) end }
    local long = Long():start()
    second = Mail():start()
    engine:drain()
    assert.same({ "concurrency", 1, 1, "pipeline set mail max_concurrent_requests=2" },
      { seen.code, seen.used, seen.max_concurrent, seen.command })
    assert.equal(1, runs)
    assert.same({}, codes(long.id))
  end)

  it("agrees with what happens next: a time that is not there yet, and is", function()
    local stage = Give(1):start { countdown = 60 }
    assert.same({ "eta" }, codes(stage.id))
    assert.equal(engine:now() + 60, first(stage.id)["until"])
    engine:advance(59)
    engine:drain()
    assert.equal(0, runs)
    engine:advance(1)
    assert.same({ "worker" }, codes(stage.id))
    engine:drain()
    assert.equal(1, runs)
  end)

  it("agrees with what happens next: an attempt that failed, and is tried again", function()
    local stage = Fails():start()
    engine:drain()
    local reason = first(stage.id)
    assert.same({ "retry" }, codes(stage.id))
    assert.truthy(reason.text:find("no paper", 1, true))
    engine:advance(reason["until"] - engine:now())
    engine:drain()
    assert.equal("aborted", first(stage.id).code)
  end)

  it("agrees with what happens next: a slot that is not filled, and is", function()
    local Tree = helper.define(function(self) self:spawn(Give(self:spawn(Async()).x)) end)
    local root = Tree():start()
    engine:drain()
    local _, waiting = helper.find(root, Give)
    local _, async = helper.find(root, Async)
    local list = engine:why(waiting)
    assert.same({ "slots", "pipeline complete " .. async .. " VALUE" }, { list[1].code, list[1].command })
    assert.same({ "x", "why.Async", async }, { list[1].slots[1].name, list[1].slots[1].class, list[1].slots[1].stage })
    assert.same({ "slot_owner", "callback", async }, { list[2].code, list[2].cause, list[2].stage })
    assert.equal("callback", list[3].code)
    list = engine:why(root.id)
    assert.same({ "child", "callback", "pipeline complete " .. async .. " VALUE" },
      { list[1].code, list[1].cause, list[1].command })
    local owner = pipeline.from_id(async)
    owner:fill("x", 1)
    engine:drain()
    assert.equal(1, runs)
    owner:complete()
    engine:drain()
    assert.same({}, codes(root.id))
  end)

  it("names the child that its parent waits for, and not one that only has its finalized() to come", function()
    local seen, root
    local Ends = helper.define { run = function() end, finalized = function() seen = first(root.id) end }
    root = helper.define(function(self)
      self:spawn(Ends())
      self:spawn(Async())
    end)():start()
    engine:drain()
    local _, async = helper.find(root, Async)
    assert.same({ "child", async }, { seen.code, seen.stage })
  end)

  it("says of a part that was aborted which fallback was taken, and of what goes on nothing of that part", function()
    local asked, held, root
    local Held = pipeline.define("why.Held", {
      async = true, run = function() end, try_cancel = function()
        asked = first(root.id)
        return false
      end,
    })
    local Part = pipeline.define("why.Part", { run = function(self)
      self:spawn(Held())
      self:spawn(Fails())
    end })
    root = helper.define(function(self)
      self:spawn(Part(), { fallback = 1 })
      self:spawn(Async())
    end)():start()
    engine:drain { delayed = true }
    local _, async = helper.find(root, Async)
    local _, part = helper.find(root, Part)
    local _, failed = helper.find(root, Fails)
    _, held = helper.find(root, Held)
    assert.same({ "child", async }, { asked.code, asked.stage })
    assert.same({ "child", async }, { first(root.id).code, first(root.id).stage })
    for _, id in ipairs { part, failed } do
      local reason = first(id)
      assert.same({ "fallback", "why.Part", part }, { reason.code, reason.class, reason.stage })
      assert.is_nil(reason.command)
      assert.truthy(reason.text:find("no paper", 1, true))
    end
    assert.equal("abort_held", first(held).code)
  end)

  it("agrees with what happens next: no worker serves its queue, and one does", function()
    local path = engine._path
    local stage = Mail():start()
    local id = stage.id
    engine:close()
    engine = helper.open { path = path, serve_queues = { "other" } }
    engine:drain()
    local reason = first(id)
    assert.same({ "not_served", "pipeline worker FILE.lua --queues mail" }, { reason.code, reason.command })
    engine:close()
    engine = helper.open { path = path, no_worker = true }
    reason = first(id)
    assert.same({ "no_worker", "pipeline worker FILE.lua" }, { reason.code, reason.command })
    assert.equal(0, runs)
    engine:close()
    engine = helper.open { path = path }
    assert.same({ "worker" }, codes(id))
    engine:drain()
    assert.equal(1, runs)
  end)

  it("agrees with what happens next: several things, in the order in which a claim comes to them", function()
    taskqueue.configure { mail = { paused = true, rate = "0" } }
    local stage = Mail():start { countdown = 10 }
    engine:drain()
    assert.same({ "eta", "queue_paused", "rate_zero" }, codes(stage.id))
    engine:advance(10)
    assert.same({ "queue_paused", "rate_zero" }, codes(stage.id))
    taskqueue.Queue("mail"):resume()
    assert.same({ "rate_zero" }, codes(stage.id))
    taskqueue.configure { mail = {} }
    engine:drain()
    assert.equal(1, runs)
  end)

  it("agrees with what happens next: others that are before it", function()
    taskqueue.configure { mail = { rate = "1/s", bucket_size = 1 } }
    Mail():start()
    engine:drain()
    local stages = {}
    for i = 1, 4 do stages[i] = Mail():start() end
    local list = engine:why(stages[4].id)
    assert.same({ "rate", "place", 4 }, { list[1].code, list[2].code, list[2].place })
    assert.truthy(list[1].wait > 3.9 and list[1].wait <= 4)
    assert.truthy(list[2].text:find("3 tasks are before it", 1, true))
  end)

  it("agrees with what happens next: a fire that is held back, until the one before it is over", function()
    schedules.create("often", { every = 1, overlap = "buffer_all", start = Fired() })
    engine:advance(2)
    engine:drain()
    local roots = engine:list { class = "why.Fired" }.items
    assert.equal(2, #roots)
    local reason = first(roots[1].id)
    assert.same({ "held", "often", roots[2].id, "callback", ("pipeline complete %s VALUE"):format(roots[2].id) },
      { reason.code, reason.schedule, reason.earlier, reason.cause, reason.command })
    assert.same({ "held", "callback" }, codes(roots[1].id))
    assert.truthy(reason.text:find(roots[2].id, 1, true))
    engine:complete(roots[2].id, 1)
    engine:drain()
    assert.same({ "callback" }, codes(roots[1].id))
    assert.equal("open", engine:stage(roots[1].id).state)
  end)

  it("agrees with what happens next: a fire that is held back while its schedule is paused", function()
    local often = schedules.create("it's often", { every = 1, overlap = "buffer_all", start = Fired() })
    engine:advance(2)
    engine:drain()
    local second, before = table.unpack(engine:list { class = "why.Fired" }.items)
    often:pause("for a while")
    local reason = first(second.id)
    assert.same({ "schedule_paused", "it's often", "pipeline resume-schedule 'it'\\''s often'" },
      { reason.code, reason.schedule, reason.command })
    assert.same({ "schedule_paused", "held", "callback" }, codes(second.id))
    engine:complete(before.id, 1) -- the fire before it is over: that is not what keeps it
    engine:drain()
    assert.same({ "schedule_paused" }, codes(second.id))
    often:resume()
    engine:drain()
    assert.same({ "callback" }, codes(second.id))
    local Called = schedules.create("calls", { every = 1, overlap = "buffer_all", queue = "mail",
      task = taskqueue.Task { url = "/nowhere" } })
    taskqueue.configure { mail = { paused = true } }
    engine:advance(2)
    engine:drain()
    local tasks = engine:tasks { queue = "mail", state = "delayed" }.items
    assert.same({ "held", "queue_paused", "queue_paused" }, codes(tasks[1].address)) -- its own, and of the one before
    Called:pause()
    assert.same({ "schedule_paused", "held", "queue_paused", "queue_paused" }, codes(tasks[1].address))
  end)

  it("agrees with what happens next: an aborted tree is resumed when all of it is aborted, and not before", function()
    local Refuses = pipeline.define("why.Refuses", {
      async = true, run = function() end, try_cancel = function() return false end,
    })
    local Tree = pipeline.define("why.Tree", { run = function(self) self:spawn(Give(self:spawn(Refuses()))) end })
    local root = Tree():start()
    engine:drain()
    engine:act { op = "abort", ids = { root.id }, reason = "no more" }
    engine:drain()
    local _, last = helper.find(root, Refuses)
    local command = ("pipeline complete %s VALUE"):format(last)
    assert.same({ "aborted", "abort_held" }, codes(root.id))
    assert.same({ command, true }, { first(root.id).command, first(root.id).text:find(last, 1, true) ~= nil })
    assert.equal(0, engine:act({ op = "resume", ids = { root.id } }).done)
    engine:complete(last, 1)
    engine:drain()
    assert.same({ "aborted", "pipeline resume " .. root.id }, { first(root.id).code, first(root.id).command })
    assert.equal(1, engine:act({ op = "resume", ids = { root.id } }).done)
  end)

  it("agrees with what happens next: what workers have died with is executed alone, one after the other", function()
    local path = helper.path()
    engine:close()
    engine = helper.open { path = path, no_worker = true }
    Mail():start()
    local second = Mail():start().id
    engine:close()
    local check = require "spec.crash.check"
    check.sql(path, "UPDATE pl_task SET losses = 2, alone = 1; UPDATE pl_task SET state = 1, eta = 9223372036854775807 "
      .. "WHERE id = (SELECT max(id) FROM pl_task);")
    engine = helper.open { path = path }
    assert.same({ "alone", "mail" }, { first(second).code, first(second).queue })
    assert.truthy(first(second).text:find("another such task of queue 'mail' is before it", 1, true))
    engine:drain()
    assert.equal(2, runs)
    assert.same({}, codes(second))
  end)

  it("tells of a start that was left to who asked for its task", function()
    local held = Give(1)
    local task = held:start { return_task = true }
    assert.same({ "not_added" }, codes(held.id))
    task:add()
    engine:drain()
    assert.equal(1, runs)
  end)

  it("tells of an aborted tree what failed, and how to resume it", function()
    local Tree = helper.define(function(self) self:spawn(Fails()) end)
    local root = Tree():start()
    engine:drain { delayed = true }
    local reason = first(root.id)
    local _, failed = helper.find(root, Fails)
    assert.same({ "aborted", "why.Fails", failed, "pipeline resume " .. root.id },
      { reason.code, reason.class, reason.stage, reason.command })
    assert.truthy(reason.text:find("no paper", 1, true))
    assert.same("aborted", first(failed).code)
  end)

  it("agrees with what happens next: a class that cannot be loaded, and then can", function()
    local stage = Give(1):start()
    sql.run(engine, "UPDATE pl_stage SET class_path = 'no.such.Class';")
    engine:drain()
    local reason = first(stage.id)
    assert.same({ "no_class", "no.such.Class", "pipeline worker FILE.lua" },
      { reason.code, reason.class, reason.command })
    sql.run(engine, "UPDATE pl_stage SET class_path = 'why.Give';")
    engine:drain()
    assert.equal(0, runs)
    engine:advance(reason["until"] - engine:now())
    engine:drain()
    assert.equal(1, runs)
  end)

  it("tells of tasks of queues by QUEUE/NAME, also of dead ones", function()
    taskqueue.configure { mail = { paused = true }, pulled = { mode = "pull" } }
    taskqueue.add { url = "/x", queue_name = "mail", name = "hello" }
    assert.same({ "queue_paused" }, codes("mail/hello"))
    local id = engine:tasks({ queue = "mail" }).items[1].id
    assert.same({ "queue_paused" }, codes("mail/" .. id))
    taskqueue.Queue("pulled"):add(taskqueue.Task { method = "PULL", payload = "p", name = "p" })
    assert.same({ "pulled" }, codes("pulled/p"))
    require("pipeline.deferred").defer("spec.deferred.functions", "no_such_function")
    engine:drain { delayed = true }
    local dead = engine:tasks({ state = "dead" }).items[1]
    assert.same({ "dead", "pipeline revive " .. dead.address },
      { first(dead.address).code, first(dead.address).command })
    helper.raises(pipeline.PipelineStatusError, engine.why, engine, "mail/nothing")
    helper.raises(pipeline.PipelineStatusError, engine.why, engine, "nothing")
    helper.misuse("string expected", engine.why, engine, 7)
  end)
end)
