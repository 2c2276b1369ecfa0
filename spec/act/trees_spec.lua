-- engine:act: resume, abort, retry and cleanup of many pipelines.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

describe("engine:act", function()
  local engine, broken, ran

  local Fickle = pipeline.define("act.Fickle", {
    max_attempts = 1, run = function(_, value)
      if broken then error("no " .. value, 0) end
      ran = ran + 1
      return value
    end,
  })
  local Open = pipeline.define("act.Open", {
    async = true, run = function() end, try_cancel = function() return true end,
  })
  local Stubborn = pipeline.define("act.Stubborn", {
    async = true, run = function() end, try_cancel = function() return false end,
  })
  local Tree = pipeline.define("act.Tree", { run = function(self) self:spawn(Open()) end })

  before_each(function()
    engine = helper.open()
    broken, ran = true, 0
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function start(class, count)
    local list = {}
    for i = 1, count or 1 do list[i] = class(i):start() end
    engine:drain { delayed = true }
    return table.unpack(list)
  end

  local function state(stage) return (helper.record(stage) or {}).state end

  local function whys(result)
    local list = {}
    for i, one in ipairs(result.refused) do list[i] = one.why end
    return list
  end

  it("counts no tree that would be refused: aborted, while something in it is still being aborted", function()
    local Below = pipeline.define("act.Below", { queue_name = "held", finalized = function() end,
      run = function(self) self:spawn(pipeline.common.Delay { seconds = 1e6 }) end })
    local Above = pipeline.define("act.Above", { max_attempts = 1, run = function(self) self:spawn(Below()) end })
    local stage = Above():start()
    engine:drain()
    require("pipeline.taskqueue").Queue("held"):pause()
    stage:abort()
    engine:drain()
    assert.equal("aborted", state(stage))
    local would = engine:act { op = "resume", ids = { stage.id }, dry_run = true }
    local did = engine:act { op = "resume", ids = { stage.id } }
    local refused = { { id = stage.id, why = "its tree is still being aborted" } }
    assert.same({ matched = 1, done = 0, refused = refused }, would)
    assert.same(would, did)
    require("pipeline.taskqueue").Queue("held"):resume()
    engine:drain()
    assert.equal(1, engine:act({ op = "resume", ids = { stage.id }, dry_run = true }).done)
    assert.equal("aborted", state(stage))
  end)

  it("resumes what filters find, and nothing else; dry_run only counts", function()
    start(Fickle, 30)
    broken = false
    local other = start(Fickle)
    local filters = { state = "aborted", class = "act.Fickle" }
    local would = engine:act { op = "resume", filters = filters, dry_run = true }
    assert.same({ matched = 30, done = 30, refused = {} }, would)
    assert.equal(30, engine:list_counts(filters).total)
    assert.same({ matched = 30, done = 30, refused = {} }, engine:act { op = "resume", filters = filters })
    engine:drain { delayed = true }
    assert.equal(0, engine:list_counts(filters).total)
    assert.equal("done", state(other))
    assert.same({ matched = 31, done = 0 }, (function()
      local result = engine:act { op = "resume", filters = { class = "act.Fickle" }, dry_run = true }
      assert.equal(31, #result.refused)
      return { matched = result.matched, done = result.done }
    end)())
  end)

  it("takes ids, beginnings of them and keys, of any pipeline of a tree, and tells what it could not do", function()
    local failed = Fickle("x"):start { idempotence_key = "order-1" }
    engine:drain { delayed = true }
    local tree = start(Tree)
    broken = false
    local result = engine:act { op = "resume", ids = { "key:order-1", tree.id, "nothing-like-it" } }
    assert.same({ matched = 2, done = 1, refused = {
      { id = tree.id, why = "its tree is not aborted" }, { id = "nothing-like-it", why = "there is no such pipeline" },
    } }, result)
    engine:drain()
    assert.equal("done", state(failed))
    local open = helper.child(tree, Open)
    assert.equal(1, engine:act { op = "abort", ids = { open.id }, reason = "enough" }.done)
    engine:drain()
    assert.equal("aborted", state(tree))
    assert.equal("enough", helper.entry(tree).abortMessage)
    assert.same({ "its tree is final" }, whys(engine:act { op = "abort", ids = { tree.id } }))
  end)

  it("aborts by force at once, also what is being aborted already", function()
    local Slow = helper.define {
      async = true, run = function() end, try_cancel = function() return true end,
      finalized = function() error("not yet") end,
    }
    local stage = Slow():start()
    engine:drain()
    assert.equal(1, engine:act { op = "abort", ids = { stage.id } }.done)
    assert.same({ "its tree is being aborted already" }, whys(engine:act { op = "abort", ids = { stage.id } }))
    assert.equal(1, engine:act { op = "abort", ids = { stage.id }, force = true }.done)
    assert.equal("aborted", state(stage))
    helper.misuse("force' is for abort alone", engine.act, engine, { op = "retry", ids = { stage.id }, force = true })
  end)

  it("retries async pipelines that wait, where their try_cancel agrees", function()
    local open, stubborn, failed = start(Open), start(Stubborn), start(Fickle)
    local result = engine:act { op = "retry", ids = { open.id, stubborn.id, failed.id }, reason = "again" }
    assert.same({ 3, 1 }, { result.matched, result.done })
    assert.same({ "its try_cancel refuses", "it is not async; an aborted tree is resumed, not retried" }, whys(result))
    engine:drain { delayed = true }
    assert.same({ 2, "again" }, { helper.entry(open).currentAttempt, helper.entry(open).lastRetryMessage })
  end)

  it("cleans up what is final", function()
    local failed, tree = start(Fickle), start(Tree)
    local open = helper.child(tree, Open)
    local result = engine:act { op = "cleanup", ids = { failed.id, tree.id, open.id } }
    assert.same({ 3, 1 }, { result.matched, result.done })
    assert.same({ "it still runs; abort it first", "it is not a root" }, whys(result))
    assert.is_nil(state(failed))
  end)

  it("does not keep others waiting: a run that acts on many leaves the loop to them between two", function()
    start(Fickle, 300)
    broken = false
    local during
    local Bulk = helper.define { max_attempts = 1, run = function()
      engine:act { op = "resume", filters = { state = "aborted" } }
      during = ran
    end }
    helper.result(Bulk())
    assert.is_true(during > 0)
    assert.equal(300, engine:list_counts { state = "done", class = "act.Fickle" }.total)
  end)

  it("refuses what it does not know, with the nearest name", function()
    helper.misuse("did you mean 'resume'", engine.act, engine, { op = "resum", ids = {} })
    helper.misuse("either ids or filters", engine.act, engine, { op = "resume" })
    helper.misuse("list of texts", engine.act, engine, { op = "resume", ids = { 1 } })
    helper.misuse("class", engine.act, engine, { op = "resume", filters = { clas = "x" } })
  end)
end)
