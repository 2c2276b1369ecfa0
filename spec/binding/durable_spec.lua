-- Methods of the binding that a durable function is executed with: journal, flow_suspend, signal and others.
package.path = "spec/binding/?.lua;" .. package.path
local core = require "pipeline.core"
local support = require "support"

describe("of a durable function", function()
  local e, seen, id

  before_each(function()
    e, seen = support.open()
    id = e:new_id()
    assert.same({ "OK" }, e:start{ { id = id, class_path = "spec.Durable", args = "", flags = core.DURABLE,
                                     version = 3 } })
  end)
  after_each(function()
    assert.same({}, e:check(0))
    assert.same({}, seen.errors)
    e:close()
  end)

  local function entry(seq, done, more)
    local one = { seq = seq, done = done, kind = "step", state = done and "ok" or "open", name = "a", nth = 1,
                  line = "a.lua:7", opened = 1000.25, closed = done and 1000.5 or nil, attempt = 1,
                  value = done and "\1\0\2" or nil }
    for name, value in pairs(more or {}) do one[name] = value end
    return one
  end

  local function execute(fn, mode)
    e:on("task", fn)
    assert(e:run(mode or "ready"))
  end

  it("entries come back as they were written, and the claim stays", function()
    local timer = entry(3, nil, { kind = "timer", due = 2000.5, path = "1", attempt = 0 })
    local large = entry(4, 5, { value = ("x"):rep(3000) })
    local first = entry(1, 2)
    execute(function(task)
      assert(e:journal(task, { next = 6, entries = { first, timer, large } }))
      local flow, entries, news = e:journal_get(id)
      assert(#flow.seed == 16 and flow.version == 3 and flow.next == 6 and flow.first == 1 and flow.mode == "begun")
      assert.same({ first, timer, large }, entries)
      assert.is_nil(news) -- nothing has come
      flow, entries = e:journal_get(id, { next = 6 })
      assert(#entries == 0 and not flow.stale and not flow.more)
      flow, entries = e:journal_get(id, { next = 5, after = 1, limit = 1 })
      assert(#entries == 1 and entries[1].seq == 3 and flow.stale and flow.more)
      assert(e:outcome(task, { kind = "ok", fills = { { slot = id, value = "done" } },
                               journal = { next = 8, entries = { entry(6, 7) } } }))
    end)
    local flow, entries = e:journal_get(id)
    assert(#entries == 4 and flow.mode == "over" and flow.next == 8)
    assert.equal("done", e:stage_get(id).state)
    assert.is_nil(e:journal_get(e:new_id()))
  end)

  it("suspending ends the claim until a timer, a mail or a child wakes it; with news there it is refused", function()
    local lives, refused, news = 0, {}, {}
    local child = e:new_id()
    execute(function(task)
      if task.id == child then return e:outcome(task, { kind = "ok", fills = { { slot = child, value = "c" } } }) end
      lives = lives + 1
      if lives == 1 then
        assert(e:flow_suspend(task, { next = 2, entries = { entry(1, nil, { kind = "timer", due = 1010 }) },
                                      due = 1010, reason = "a timer" }))
        assert.equal("ESTALE", select(2, e:journal(task, { next = 2 })))
      elseif lives == 2 then
        assert.equal(1010.0, e:now())
        assert.same({ "OK" }, e:signal{ { stage = id, name = "go", value = "first" } })
        refused = { e:flow_suspend(task, { next = 2, wants = { "go" } }) }
        news[1] = select(3, e:journal_get(id))
        assert(e:flow_suspend(task, { next = 4, entries = { entry(2, 3, { kind = "event", name = "go", ref = 1 }) },
                                 taken = { 1 }, wants = { "stop", "go" } }))
      elseif lives == 3 then
        news[2] = select(3, e:journal_get(id))
        assert(e:flow_suspend(task, { next = 7, taken = { 2 },
                                 children = { { id = child, class_path = "spec.C", args = "" } },
                                 entries = { entry(5, nil, { kind = "child", ref = child }) } }))
      else
        news[3] = select(3, e:journal_get(id))
        assert(e:outcome(task, { kind = "ok" }))
      end
    end)
    assert.equal(1, lives)
    assert.equal("a timer", e:journal_get(id).reason)
    e:advance(10)
    assert(e:run("ready"))
    assert.equal(2, lives)
    assert.same({ nil, "EBUSY", "there are news" }, refused)
    assert.same({ { id = 1, kind = "signal", name = "go", value = "first", time = 1010.0 } }, news[1].mails)
    assert.same({ "OK", "OK", "EEXISTS", "ENOTFOUND" }, e:signal{ { stage = id, name = "other" },
      { stage = id, name = "x", key = "k" }, { stage = id, name = "x", key = "k" },
      { stage = e:new_id(), name = "go" } })
    assert(e:run("ready"))
    assert.equal(2, lives)
    assert.same({ "OK" }, e:signal{ { stage = id, name = "stop" } })
    assert(e:run("ready"))
    assert.equal(4, lives)
    assert.equal("stop", news[2].mails[#news[2].mails].name)
    assert.same({ { seq = 5, stage = child, state = "done", value = "c", time = 1010.0 } }, news[3].children)
    assert.equal("done", e:stage_get(id).state)
    assert.same({ "EFINAL" }, e:signal{ { stage = id, name = "go" } })
  end)

  it("one that is held waits until it is let go on", function()
    local lives = 0
    execute(function(task)
      lives = lives + 1
      assert(e:outcome(task, lives == 1 and { kind = "held", retry_message = "it has parted" } or { kind = "ok" }))
    end)
    assert(e:run("all"))
    local flow = e:journal_get(id)
    assert.same({ "held", "it has parted", 1 }, { flow.mode, flow.reason, lives })
    assert.equal("ESTATE", select(2, e:flow_set(id, { hold = true })))
    assert(e:flow_set(id, { resume = true }))
    assert(e:run("ready"))
    assert.same({ 2, "done" }, { lives, e:stage_get(id).state })
  end)

  it("one that continues as new begins with other arguments, an empty journal, and the mails that it has", function()
    local eras, first = {}, ("x"):rep(2000)
    assert.same({ "OK" }, e:signal{ { stage = id, name = "go" } })
    execute(function(task)
      local flow, entries, news = e:journal_get(id)
      eras[#eras + 1] = { flow.era, flow.first, #entries, news and #news.mails or 0, task.stage.args }
      assert(e:outcome(task, #eras < 3 and { kind = "continue", args = #eras == 1 and first or "third",
        journal = { next = flow.next + 2, entries = { entry(flow.next, flow.next + 1, { value = ("y"):rep(2000) }) } } }
        or { kind = "ok" }))
    end)
    assert.same({ { 0, 1, 0, 1, "" }, { 1, 3, 0, 1, first }, { 2, 5, 0, 1, "third" } }, eras)
    assert.equal("done", e:stage_get(id).state)
  end)

  it("one is started with a signal in it, or gets it if it is there", function()
    local function signal(value)
      return e:signal{ { idempotence = "order-1", name = "go", value = value, start = {
        { id = e:new_id(), class_path = "spec.Durable", args = "", flags = core.DURABLE } } } }
    end
    assert.same({ "OK" }, signal("a"))
    assert.same({ "OK" }, signal("b"))
    assert.same({ "ENOTFOUND" }, e:signal{ { idempotence = "order-2", name = "go" } })
    local mails = select(3, e:journal_get(e:stage_get("order-1").id)).mails
    assert.same({ "a", "b" }, { mails[1].value, mails[2].value })
  end)

  it("one that is being executed hears of news at once, and writes in a transaction of the user's", function()
    local heard, rows = {}, nil
    e:on("final", function(stage, state) heard[#heard + 1] = { stage, state } end)
    execute(function(task)
      assert.same({ "OK" }, e:signal{ { stage = id, name = "go" } })
      e:sleep(1)
      assert.same({ { id, "ready" } }, heard)
      for i, commit in ipairs{ false, true } do
        local session = e:session()
        assert(session:begin(5))
        assert(session:sql("CREATE TABLE IF NOT EXISTS mine (a)", {}, 0, false))
        assert(session:sql("INSERT INTO mine VALUES (1)", {}, 0, false))
        assert(session:journal(task, { next = 3, entries = { entry(1, 2, { kind = "tx" }) } }))
        assert(session:finish(commit))
        rows = select(2, e:journal_get(id))
        assert.equal(i - 1, #rows)
      end
      assert(e:outcome(task, { kind = "ok" }))
    end)
    assert.equal("tx", rows[1].kind)
  end)

  it("what is wrong in an entry is told with its place", function()
    local messages = {}
    execute(function(task)
      for _, given in ipairs{
        { next = 2, entries = { { name = "a" } } }, { next = 2, entries = { { seq = 1, state = "ok", name = "a" } } },
        { next = 2, entries = { entry(1, nil), entry(1, nil) } }, { next = 1, entries = { entry(1, nil) } },
        { next = 9, entries = { entry(2, 1) } }, { next = 9, entries = { entry(2, 3, { kind = "dance" }) } },
      } do
        messages[#messages + 1] = select(2, pcall(e.journal, e, task, given))
      end
      e:outcome(task, { kind = "ok" })
    end)
    for i, text in ipairs{
      "entries[1].seq: an entry has a number", "entries[1].done: an entry has it when it is delivered, and only then",
      "entries[2].seq: the entries must be ascending by it", "next: it is not greater than every number of an entry",
      "entries[1].done: it is not greater than seq", "entries[1].kind:",
    } do
      assert.truthy(messages[i]:find(text, 1, true), messages[i])
    end
  end)
end)
