-- lists_spec.lua: how a pipeline is named by people, and lists of roots with filters.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local START = 1700000000

describe("a pipeline is found", function()
  local engine
  local Give = pipeline.define("find.Give", { run = function(_, value) return value end })
  local Tree = pipeline.define("find.Tree", { run = function(self)
    for i = 1, 3 do self:spawn(Give(i)) end
  end })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("by its id, by its key, and not by what is none", function()
    local stage = Give(1):start { idempotence_key = "order-7" }
    local other = Give(2):start()
    assert.equal("order-7", engine:find("key:order-7"))
    assert.equal("order-7", engine:find(engine:_id_text(stage._id)))
    assert.equal(other.id, engine:find(other.id))
    assert.is_nil(engine:find("key:order-8"))
    assert.is_nil(engine:find("ffffff"))
    assert.is_nil(engine:find("nothing"))
    helper.misuse("string expected", engine.find, engine, 7)
  end)

  it("by the beginning of its id, of six characters or more, if only one begins so", function()
    local first = Give(1):start()
    assert.equal(first.id, engine:find(first.id:sub(1, 6)))
    assert.equal(first.id, engine:find(first.id:sub(1, 31)))
    assert.is_nil(engine:find(first.id:sub(1, 5)))
    engine:advance(3600)
    local second = Give(2):start()
    assert.equal(first.id, engine:find(first.id:sub(1, 8)))
    assert.equal(second.id, engine:find(second.id:sub(1, 8)))
  end)

  it("by the beginning of several ids only if one of them is the root of all", function()
    local root = Tree():start()
    engine:drain()
    local _, child = helper.find(root, Give)
    assert.equal(root.id, engine:find(root.id:sub(1, 6)))
    assert.equal(child, engine:find(child))
    local other = Give(9):start()
    local problem = helper.raises(pipeline.PipelineStatusError, engine.find, engine, root.id:sub(1, 6))
    assert.truthy(tostring(problem):find(root.id, 1, true))
    assert.truthy(tostring(problem):find(other.id .. " (find.Give)", 1, true))
  end)
end)

describe("the list of roots", function()
  local engine
  local Give = pipeline.define("list.Give", { run = function(_, value) return value end })
  local Async = pipeline.define("list.Async", { async = true, run = function(self)
    self:set_status { message = "needs a signature" }
  end })
  local Fails = pipeline.define("list.Fails", { max_attempts = 1, run = function() error("paper jam", 0) end })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function ids(filter)
    local found = {}
    for i, entry in ipairs(engine:list(filter).items) do found[i] = entry.id end
    return found
  end

  it("is newest first, with entries as everybody shows them", function()
    Give(1):start { idempotence_key = "k1" }
    engine:drain()
    engine:advance(10)
    local later = Give(2):with_params { queue_name = "mail" }:start { countdown = 60 }
    local page = engine:list()
    assert.same({ later.id, "k1" }, { page.items[1].id, page.items[2].id })
    assert.is_nil(page.cursor)
    local entry = page.items[1]
    assert.same({ "delayed", "list.Give", "mail", 1, 3, START + 70.0 },
      { entry.state, entry.class, entry.queue, entry.attempt, entry.max_attempts, entry["until"] })
    assert.equal("delayed until 2023-11-14T22:14:30Z", entry.state_words)
    entry = page.items[2]
    assert.same({ "done", "k1", "k1", START + 0.0, START + 0.0 },
      { entry.state, entry.key, entry.root, entry.created, entry.ended })
    assert.equal("done at 2023-11-14T22:13:20Z, took 0 s", entry.state_words)
  end)

  it("is filtered by state, class, queue, key, text, error and time", function()
    local give = Give(1):start { idempotence_key = "order-1" }
    local async, fails = Async():start(), Fails():start()
    local mail = Give(2):with_params { queue_name = "mail" }:start { countdown = 60 }
    engine:drain()
    engine:advance(5)
    local late = Give(3):start()
    assert.same({ fails.id }, ids { state = "aborted" })
    assert.same({ mail.id, async.id }, ids { state = "open,delayed" })
    assert.same({ late.id }, ids { state = { "ready" } })
    assert.same({ late.id, mail.id, give.id }, ids { class = "list.Give" })
    assert.same({ mail.id }, ids { queue = "mail" })
    assert.same({ give.id }, ids { key = "order-1" })
    assert.same({ async.id }, ids { text = "SIGNATURE" })
    assert.same({ give.id }, ids { text = "order-" })
    assert.same({ fails.id }, ids { text = "paper" })
    assert.same({ fails.id }, ids { error = "jam" })
    assert.same({ fails.id }, ids { error = true })
    assert.same({ late.id }, ids { since = START + 1 })
    assert.equal(4, #ids { ["until"] = START + 1 })
    assert.equal(0, #ids { ["until"] = 0 }) -- nothing is that old
    assert.same({}, ids { class = "list.None" })
    helper.misuse("did you mean 'delayed'", engine.list, engine, { state = "delayd" })
    helper.misuse("unknown option 'stat'; did you mean 'state'", engine.list, engine, { stat = "done" })
  end)

  it("goes on where a page ended", function()
    local all = {}
    for i = 1, 7 do all[8 - i] = Give(i):start().id end
    local found, cursor = {}, nil
    repeat
      local page = engine:list { limit = 3, cursor = cursor }
      for _, entry in ipairs(page.items) do found[#found + 1] = entry.id end
      cursor = page.cursor
    until not cursor
    assert.same(all, found)
    helper.raises(pipeline.PipelineStatusError, engine.list, engine, { cursor = "nonsense" })
  end)

  it("is counted by state", function()
    for i = 1, 3 do Give(i):start() end
    Fails():start()
    Async():start()
    engine:drain()
    Give(9):start()
    local counts = engine:list_counts()
    assert.same({ 3, 1, 1, 1, 0, 6 },
      { counts.done, counts.aborted, counts.open, counts.ready, counts.delayed, counts.total })
    assert.equal(4, engine:list_counts({ class = "list.Give" }).total)
  end)
end)

describe("roots that have ended", function()
  local engine
  local Ends = pipeline.define("over.Ends", { max_attempts = 1, run = function(_, fails)
    if fails then error("no") end
  end })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("U1 are counted by when they did, and no further than is asked for", function()
    local function finish(n, fails)
      for _ = 1, n do Ends(fails):start() end
      engine:drain()
    end
    local began = engine:now()
    finish(3)
    engine:advance(60)
    finish(5)
    finish(2, true)
    engine:advance(60)
    local now = engine:now()
    assert.same({ done = 8, aborted = 2 }, engine:count_over())
    assert.same({ done = 3, aborted = 0 }, engine:count_over { since = began, before = began + 60 })
    assert.same({ done = 5, aborted = 2 }, engine:count_over { since = began + 60, before = now })
    assert.same({ done = 0, aborted = 0 }, engine:count_over { since = now })
    assert.same({ done = 4, aborted = 2, more = true }, engine:count_over { limit = 4 })
    helper.misuse("limit", engine.count_over, engine, { limit = 0 })
  end)
end)
