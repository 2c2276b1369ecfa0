-- The mail about the result of a root (P201, P202, P231, M7).

local mail = require "pipeline.mail"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local helper = require "spec.support.helper"
local parse = require "spec.mail.parsed"
local support = require "spec.mail.support"

describe("the mail about a result", function()
  local server

  setup(function() server = support.hostile() end)
  teardown(function()
    server:close()
    helper.clean()
  end)
  before_each(function()
    server:plan {}
    server:seen()
  end)
  after_each(helper.finish)

  local Give = pipeline.define("result.Give", { run = function(_, value) return value end })
  local Abort = pipeline.define("result.Abort", { run = function() error(pipeline.Abort "no <money>") end })

  local function open(options, others)
    local given = {
      url = server.url, from = "robot@example.org", to = "boss@example.org", starttls = "no", app = "eu~shop",
    }
    for name, value in pairs(options or {}) do given[name] = value or nil end
    others = others or {}
    others.mail, others.base_url = given, "https://shop.example.org"
    return helper.open(others)
  end

  local function sent(engine, count)
    engine:drain { delayed = true }
    local list = {}
    for i, one in ipairs(server:wait_seen(count)) do
      list[i] = parse(one.message)
      list[i].recipient = one.to[1]
    end
    return list
  end

  it("P201 M7 says outcome, program, class and id, with a link, of a root that was successful", function()
    local engine = open()
    local stage = Give(1):start { idempotence_key = "order-1", base_path = "/base" }
    local got = sent(engine, 1)[1]
    assert.same({ 1 }, { engine:wait(stage).default.value })
    assert.equal('Pipeline successful: app "shop", result.Give, root order-1', got.subject)
    assert.same({ { "", "robot@example.org" } }, got.from)
    assert.equal("boss@example.org", got.recipient)
    local link = "https://shop.example.org/base/status?root=order-1"
    assert.truthy(got.body:find(link, 1, true), got.body)
    assert.truthy(got.html:find('<a href="' .. link .. '">', 1, true), got.html)
  end)

  it("P201 M7 says so of one that was aborted, and why", function()
    local engine = open()
    Abort():start()
    local got = sent(engine, 1)[1]
    assert.matches('^Pipeline aborted: app "shop", result%.Abort, root %x+$', got.subject)
    assert.truthy(got.body:find("Reason: no <money>", 1, true), got.body)
    assert.truthy(got.html:find("Reason: no &lt;money&gt;", 1, true), got.html)
  end)

  it("M7 is sent for roots without a finalized function, and for those alone, once", function()
    local engine = open()
    local finalized = 0
    local Own = helper.define { run = function() end, finalized = function() finalized = finalized + 1 end }
    local Tree = helper.define(function(self)
      self:spawn(Give(1))
      self:spawn(Own())
    end)
    local stage = Tree():start()
    Own():start()
    local list = sent(engine, 1)
    assert.equal(1, #list)
    assert.truthy(list[1].subject:find(stage.id, 1, true))
    assert.equal(2, finalized)
    assert.same({}, server:seen())
  end)

  it("M7 tells each end of a tree that was resumed, once", function()
    local engine = open()
    local broken = true
    local Fickle = helper.define { max_attempts = 1, run = function() if broken then error("no", 0) end end }
    local stage = Fickle():start()
    assert.matches("^Pipeline aborted", sent(engine, 1)[1].subject)
    assert.is_true(stage:resume())
    assert.matches("^Pipeline aborted", sent(engine, 1)[1].subject)
    broken = false
    assert.is_true(stage:resume())
    assert.matches("^Pipeline successful", sent(engine, 1)[1].subject)
    assert.same({}, server:seen())
  end)

  it("M7 results = \"aborted\" and \"none\", and no `to`, send fewer", function()
    for results, wanted in pairs { all = 2, aborted = 1, none = 0 } do
      local engine = open { results = results }
      Give(1):start()
      Abort():start()
      assert.equal(wanted, #sent(engine, wanted), results)
      helper.finish()
    end
    local engine = open { to = false }
    Give(1):start()
    assert.equal(0, #sent(engine, 0))
    assert.same({}, helper.log(30))
  end)

  it("P201 send_result_email in finalized has its own sender and recipients, and sends once however often it runs",
    function()
      local engine = open { to = false }
      local runs = 0
      local Own = helper.define {
        run = function() end, backoff_seconds = 1,
        finalized = function(self)
          runs = runs + 1
          self:send_result_email { sender = "Shop <shop@example.org>", to = { "a@example.org", "b@example.org" } }
          if runs < 3 then error("again") end
        end,
      }
      Own():start()
      local list = sent(engine, 2)
      assert.equal(2, #list)
      assert.equal(3, runs)
      assert.same({ { "Shop", "shop@example.org" } }, list[1].from)
      assert.same({}, server:seen())
      helper.misuse("unknown option 'too'", Own().send_result_email, Own(), { too = "x" })
      helper.raises(pipeline.UnexpectedPipelineError, Own().send_result_email, Own())
    end)

  it("P202 a bad sender or address is a warning; the pipeline ends as it would", function()
    local engine = open()
    local Own = helper.define { run = function() return 7 end, finalized = function(self, given)
      local _ = given
      self:send_result_email { sender = "nobody" }
      self:send_result_email { to = "a@b\r\nBcc: c@d" }
    end }
    local stage = Own():start()
    engine:drain { delayed = true }
    assert.equal(7, engine:wait(stage).default.value)
    local warnings = helper.log(30)
    assert.equal(2, #warnings, table.concat(warnings, "\n"))
    assert.truthy(warnings[1]:find('was not sent: from: "nobody" is no mail address', 1, true), warnings[1])
    assert.truthy(warnings[2]:find("was not sent: to: ", 1, true), warnings[2])
    assert.same({}, server:seen())
    helper.finish()
    engine = open { to = false }
    stage = Own():start()
    engine:drain { delayed = true }
    assert.equal(7, engine:wait(stage).default.value)
    assert.truthy(helper.log(30)[1]:find("is for nobody", 1, true))
  end)

  it("M5 M7 the mail is there although the process ended between the end of the root and its sending", function()
    local path = helper.path()
    server:plan { reply = { greeting = "421 not now" } }
    local engine = open(nil, { path = path })
    local stage = Give(1):start()
    engine:drain()
    assert.equal("done", helper.record(stage).state)
    engine:close()
    server:plan {}
    server:seen()
    engine = open(nil, { path = path, virtual_start = 1700001000.0 })
    assert.equal(1, #sent(engine, 1))
    assert.same({}, taskqueue.Queue(mail.QUEUE):dead_tasks())
  end)

  it("P231 M7 in test mode it is collected", function()
    open()
    mail.collected()
    Give(1):start_test()
    local list = mail.collected()
    assert.equal(1, #list)
    assert.matches('^Pipeline successful: app "shop", result%.Give', list[1].subject)
    pcall(Abort().start_test, Abort(), { retry = true })
    assert.matches("^Pipeline aborted", mail.collected()[1].subject)
    assert.same({}, server:seen())
  end)

  it("P201 without the option it is written to the log", function()
    local engine = helper.open()
    local Own = helper.define { run = function() end, finalized = function(self) self:send_result_email() end }
    Own():start()
    Give(1):start()
    engine:drain { delayed = true }
    local text = table.concat(helper.log(20), "\n")
    local line = "mail from pipeline@localhost to administrators@localhost: Pipeline successful"
    assert.truthy(text:find(line, 1, true), text)
    assert.equal(1, select(2, text:gsub("Pipeline successful", "")))
  end)
end)
