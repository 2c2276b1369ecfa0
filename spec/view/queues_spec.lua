-- queues_spec.lua: queues with their figures, lists of tasks, and the processes on a store.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local taskqueue = require "pipeline.taskqueue"
local START = 1700000000

describe("queues and tasks", function()
  local engine
  local Give = pipeline.define("queues.Give", { run = function(_, value) return value end })
  local Fails = pipeline.define("queues.Fails", {
    max_attempts = 3, backoff_seconds = 60, run = function() error("no paper", 0) end,
  })

  before_each(function()
    engine = helper.open {
      queues = {
        mail = { rate = "5/s", max_concurrent_requests = 2, paused = true }, pulled = { mode = "pull" },
      },
    }
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function queue(name)
    for _, found in ipairs(engine:queues()) do
      if found.name == name then return found end
    end
  end

  local function names(filter)
    local found = {}
    for i, task in ipairs(engine:tasks(filter).items) do found[i] = task.name or task.what end
    return found
  end

  it("are counted by state, with what limits them", function()
    for i = 1, 3 do taskqueue.add { url = "/a", queue_name = "mail", name = "m" .. i } end
    taskqueue.add { url = "/a", queue_name = "mail", countdown = 60 }
    engine:advance(5)
    local mail = queue "mail"
    assert.same({ 3, 1, 0, 0 }, { mail.ready, mail.delayed, mail.executing, mail.dead })
    assert.same({ "push", true, 5.0, 2, 5, START + 0.0, true },
      { mail.mode, mail.paused, mail.rate, mail.max_concurrent, mail.bucket_size, mail.oldest_ready, mail.served })
    assert.equal(5.0, mail.tokens)
    engine:advance(60)
    mail = queue "mail"
    assert.same({ 4, 0 }, { mail.ready, mail.delayed })
    assert.same({ 0, nil }, { queue("default").ready, queue("default").oldest_ready })
    assert.is_nil(queue("default").rate)
  end)

  it("of pull queues: leased tasks are executing", function()
    local pulled = taskqueue.Queue "pulled"
    for i = 1, 3 do pulled:add(taskqueue.Task { method = "PULL", payload = "p" .. i, name = "t" .. i }) end
    engine:advance(1)
    assert.equal(1, #pulled:lease_tasks(60, 1))
    local found = queue "pulled"
    assert.same({ 2, 1, "pull" }, { found.ready, found.executing, found.mode })
    assert.same({ "t1" }, names { queue = "pulled", state = "executing" })
    assert.same({ "t2", "t3" }, names { queue = "pulled", state = "ready" })
  end)

  it("are listed by state, as they will start, in pages", function()
    for i = 1, 5 do taskqueue.add { url = "/a", queue_name = "mail", name = "m" .. i } end
    taskqueue.add { url = "/urgent", queue_name = "mail", name = "first", priority = 9 }
    taskqueue.add { url = "/later", queue_name = "mail", name = "later", countdown = 60 }
    taskqueue.add { url = "/sooner", queue_name = "mail", name = "sooner", countdown = 30 }
    local all = { "first", "m1", "m2", "m3", "m4", "m5", "sooner", "later" }
    assert.same(all, names { queue = "mail" })
    assert.same({ "sooner", "later" }, names { queue = "mail", state = "delayed" })
    local found, cursor = {}, nil
    repeat
      local page = engine:tasks { limit = 3, cursor = cursor }
      for _, task in ipairs(page.items) do found[#found + 1] = task.name end
      cursor = page.cursor
    until not cursor
    assert.same(all, found)
    assert.same({ "first" }, names { text = "URGENT" })
    assert.same({ "m3" }, names { text = "m3" })
    local task = engine:tasks({ text = "later" }).items[1]
    assert.same({ "mail", "later", "mail/later", "push", "POST /later", "delayed", START + 60.0, 1 },
      { task.queue, task.name, task.address, task.kind, task.what, task.state, task.eta, task.attempt })
    assert.equal(START + 0.0, task.created)
  end)

  it("are found by a text in their payloads, of which the first 64 KiB are looked through", function()
    taskqueue.configure { pulled = { mode = "pull" } }
    local long, pulled = ("x"):rep(200000), taskqueue.Queue("pulled")
    for i = 1, 6 do
      pulled:add(taskqueue.Task { method = "PULL", name = "p" .. i,
        payload = i % 2 == 0 and "needle" .. long or long .. "needle" })
    end
    local found, cursor = {}, nil
    repeat
      local page = engine:tasks { text = "NEEDLE", limit = 2, cursor = cursor }
      for _, task in ipairs(page.items) do
        found[#found + 1] = task.name
        assert.truthy(#task.what < 1000)
      end
      cursor = page.cursor
    until not cursor
    assert.same({ "p2", "p4", "p6" }, found)
  end)

  it("tell of tasks of pipelines whose they are, and what they failed with", function()
    local give, fails = Give(1):start { countdown = 600 }, Fails():start()
    engine:drain()
    local list = engine:tasks({ queue = "default" }).items
    assert.same({ fails.id, give.id }, { list[1].stage, list[2].stage })
    assert.same({ "run", "queues.Fails", "delayed", 2, 3 },
      { list[1].kind, list[1].class, list[1].state, list[1].attempt, list[1].max_attempts })
    assert.equal("run queues.Fails " .. fails.id, list[1].what)
    assert.matches("no paper", list[1].last_error)
    assert.equal(1, #engine:tasks({ text = "paper" }).items)
  end)

  it("tell of dead tasks why they died", function()
    require("pipeline.deferred").defer("spec.deferred.functions", "no_such_function")
    engine:drain { delayed = true }
    local list = engine:tasks({ state = "dead" }).items
    assert.equal(1, #list)
    assert.same({ "dead", "default", "deferred" }, { list[1].state, list[1].queue, list[1].kind })
    assert.equal("string", type(list[1].last_error))
    assert.truthy(list[1].died >= START)
    assert.equal(1, queue("default").dead)
  end)

  it("refuse what is unknown with the nearest known name", function()
    local problem = helper.raises(pipeline.PipelineStatusError, engine.tasks, engine, { queue = "mial" })
    assert.matches("no queue 'mial'; did you mean 'mail'", tostring(problem))
    helper.misuse("did you mean 'ready'", engine.tasks, engine, { state = "redy" })
    helper.raises(pipeline.PipelineStatusError, engine.tasks, engine, { cursor = "1.2" })
  end)

  it("have workers: this process, what it serves, and its version", function()
    local list = engine:workers()
    assert.equal(1, #list)
    assert.same({ true, nil, 0 }, { list[1].is_self, list[1].serving, list[1].executing })
    assert.equal(engine:status().version, list[1].version)
    assert.equal("number", type(list[1].pid))
    assert.equal(START + 0.0, list[1].since)
    engine:close()
    engine = helper.open { serve_queues = { "mail" } }
    assert.same({ "mail" }, engine:workers()[1].serving)
    assert.is_false(queue("default").served)
    engine:close()
    engine = helper.open { no_worker = true }
    assert.same({}, engine:workers()[1].serving)
    assert.is_false(queue("default").served)
  end)

  it("show the worker that executes a task, and since when", function()
    local seen
    local Looks = helper.define(function() seen = engine:tasks { state = "executing" } end)
    Looks():start()
    engine:drain()
    assert.same({ "executing", "run", START + 0.0 }, { seen.items[1].state, seen.items[1].kind, seen.items[1].since })
    assert.matches(":%d+$", seen.items[1].worker)
  end)
end)
