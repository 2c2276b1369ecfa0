-- Sending mails (M3, M5, M8): the option `mail`, the queue of mails, retries, refusals, Message-IDs; with virtual time
-- and real servers.

local mail = require "pipeline.mail"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local fetch_support = require "spec.fetch.support"
local helper = require "spec.support.helper"
local parse = require "spec.mail.parsed"
local support = require "spec.mail.support"

describe("pipeline.mail", function()
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

  local function open(options)
    local given = { url = server.url, from = "Robot <robot@example.org>", starttls = "no" }
    for name, value in pairs(options or {}) do given[name] = value end
    return helper.open { mail = given }
  end

  local function dead(engine)
    local _ = engine
    return taskqueue.Queue(mail.QUEUE):dead_tasks()
  end

  it("M3 M5 a mail is stored when send returns, and the server has it once", function()
    local engine = open()
    local id = mail.send { to = { "Ada <ada@example.org>" }, subject = "Grüße", body = "Hallo", html = "<p>Hallo" }
    assert.equal(1, engine:status().queues[mail.QUEUE].ready)
    assert.same({}, server:seen())
    engine:drain { delayed = true }
    local seen = server:wait_seen(1)
    assert.equal(1, #seen)
    assert.same({ "robot@example.org", { "ada@example.org" }, true }, { seen[1].from, seen[1].to, seen[1].accepted })
    local got = parse(seen[1].message)
    assert.same({ "<" .. id .. ">", "Grüße", "Hallo", "<p>Hallo" }, { got.message_id, got.subject, got.body, got.html })
    assert.same({ { "Robot", "robot@example.org" } }, got.from)
    assert.matches("^%x+@example%.org$", id)
    assert.equal(1700000000, got.seconds)
    assert.same({}, helper.log(30))
  end)

  it("M5 each recipient has a mail of his own, all with one Message-ID", function()
    local engine = open()
    server:plan { reply = { RCPT = "550 no such user" }, count = 1 }
    mail.send { to = { "a@example.org", "b@example.org" }, cc = "c@example.org", bcc = "d@example.org", body = "x" }
    engine:drain { delayed = true }
    local seen, accepted, ids = server:wait_seen(4), {}, {}
    for _, one in ipairs(seen) do
      assert.equal(1, #one.to)
      if one.accepted then
        accepted[#accepted + 1] = one.to[1]
        ids[parse(one.message).message_id] = true
        assert.is_nil(one.message:find("%f[%w]d@example%.org")) -- a Message-ID may end in d, too
      end
    end
    assert.equal(3, #accepted)
    assert.truthy(next(ids))
    assert.is_nil(next(ids, next(ids)))
    assert.equal(1, #dead(engine))
  end)

  it("M5 a refusal for now, at any command, is tried again later with the same message, until accepted", function()
    for _, command in ipairs { "greeting", "MAIL", "RCPT", "DATA", "body" } do
      local engine = open()
      server:plan { reply = { [command] = "451 4.7.1 grey, come back" }, count = 3 }
      local began = engine:now()
      local id = mail.send { to = "ada@example.org", subject = "s", body = command }
      engine:drain { delayed = true }
      local seen = server:wait_seen(4)
      assert.equal(4, #seen, command)
      for i, one in ipairs(seen) do
        assert.equal(i == 4, one.accepted)
        if type(one.message) == "string" then assert.equal(seen[4].message, one.message) end
      end
      assert.equal("<" .. id .. ">", parse(seen[4].message).message_id)
      assert.near(70, engine:now() - began, 1) -- 10 + 20 + 40
      local warnings = helper.log(30)
      assert.equal(3, #warnings, table.concat(warnings, "\n"))
      assert.truthy(warnings[1]:find("451 4.7.1 grey, come back", 1, true), warnings[1])
      assert.same({}, dead(engine))
      helper.finish()
    end
  end)

  it("M5 lost lines and silent servers are tried again", function()
    for _, plan in ipairs {
      { drop = "greeting" }, { drop = "EHLO" }, { drop = "MAIL" }, { drop = "DATA" }, { drop = "body" },
      { drop = "late" }, { stall = "greeting" }, { stall = "RCPT" }, { stall = "body" },
    } do
      local engine = open { timeout = 0.5 }
      plan.count = 2
      server:plan(plan)
      mail.send { to = "ada@example.org", body = ("line\n"):rep(1000) }
      engine:drain { delayed = true }
      local accepted = 0
      for _, one in ipairs(server:wait_seen(3)) do accepted = accepted + (one.accepted and 1 or 0) end
      assert.equal(1, accepted)
      helper.finish()
    end
  end)

  it("M5 a refusal for good, at any command, is kept with the server's words; it can be revived", function()
    for _, command in ipairs { "greeting", "EHLO", "MAIL", "RCPT", "DATA", "body" } do
      local engine = open()
      local words = "554 5.7.1 we do not want this"
      server:plan { reply = { [command] = words, HELO = command == "EHLO" and words or nil }, count = 1 }
      mail.send { to = "ada@example.org", body = "x" }
      engine:drain { delayed = true }
      assert.is_false(server:wait_seen(1)[1].accepted)
      local list = dead(engine)
      assert.equal(1, #list, command)
      assert.truthy(list[1].message:find(words, 1, true), list[1].message)
      assert.truthy(list[1].message:find("to ada@example.org", 1, true))
      assert.same({ "MailRefusedError", 554 }, { list[1].error_class, list[1].status })
      assert.truthy(helper.log(40)[1]:find(words, 1, true))
      taskqueue.Queue(mail.QUEUE):revive(list[1])
      engine:drain { delayed = true }
      assert.is_true(server:wait_seen(1)[1].accepted)
      helper.finish()
    end
  end)

  it("M5 nobody there: tried for five days, then kept", function()
    local engine = open { url = "smtp://127.0.0.1:1" }
    local began = engine:now()
    mail.send { to = "ada@example.org", body = "x" }
    engine:drain { delayed = true }
    assert.is_true(engine:now() - began > 5 * 86400 - 3600 and engine:now() - began < 5 * 86400 + 3700)
    assert.truthy(dead(engine)[1].message:find("smtp://127.0.0.1:1", 1, true))
  end)

  it("M5 a login that is refused is ours to mend: the mail is tried again", function()
    local engine = open { username = "robot", password = "wrong", starttls = "no" }
    server:plan { auth = "robot:right" }
    mail.send { to = "ada@example.org", body = "x" }
    engine:drain()
    assert.same({}, dead(engine))
    assert.equal(1, engine:status().queues[mail.QUEUE].delayed)
    assert.truthy(helper.log(30)[1]:find("535 5.7.8 wrong name or password", 1, true))
    assert.is_nil(table.concat(helper.log()):find("wrong\"", 1, true))
    server:plan { auth = "robot:wrong" }
    engine:drain { delayed = true }
    local seen = server:wait_seen(2)
    assert.is_true(seen[#seen].accepted)
  end)

  it("M5 a process killed between the server's 250 and the commit sends it again, with the same Message-ID", function()
    local path = helper.path()
    assert(os.execute(("LUA_PATH=%q LUA_CPATH=%q %s spec/mail/killed.lua %s %s 2>/dev/null"):format(package.path,
      package.cpath, os.getenv("LUA") or "lua5.4", path, server.url)) == nil)
    local first = server:wait_seen(1)
    assert.same({ 1, true }, { #first, first[1].accepted })
    local engine = helper.open { path = path, mail = { url = server.url, starttls = "no" } }
    engine:drain { delayed = true }
    local again = server:wait_seen(1)
    assert.equal(1, #again)
    assert.equal(first[1].message, again[1].message)
    engine:drain { delayed = true }
    assert.same({}, server:seen())
  end)

  it("M5 a mail of a run goes if, and only if, its attempt succeeds; one of a transaction with that", function()
    local engine = open()
    local Sends = helper.define {
      backoff_seconds = 1,
      run = function(self)
        mail.send({ to = self.current_attempt .. "@example.org", body = "x" }, { transactional = true })
        if self.current_attempt < 3 then error("not yet") end
      end,
    }
    Sends():start()
    engine:drain { delayed = true }
    assert.same({ "3@example.org" }, server:wait_seen(1)[1].to)
    pcall(engine.transaction, engine, function()
      mail.send { to = "lost@example.org", body = "x" }
      error("no")
    end)
    engine:transaction(function() mail.send { to = "tx@example.org", body = "x" } end)
    engine:drain { delayed = true }
    local seen = server:wait_seen(1)
    assert.same({ 1, { "tx@example.org" } }, { #seen, seen[1].to })
  end)

  it("M5 a mail with a name is sent once, however often it is asked for", function()
    local engine = open()
    for _ = 1, 3 do mail.send({ to = { "a@example.org", "b@example.org" }, body = "x" }, { name = "once" }) end
    engine:drain { delayed = true }
    mail.send({ to = { "a@example.org", "b@example.org" }, body = "x" }, { name = "once" })
    engine:drain { delayed = true }
    assert.equal(2, #server:wait_seen(2))
    assert.same({}, server:seen())
  end)

  it("M3 without the option there is one warning, and the text is in the log at info", function()
    local engine = helper.open()
    for i = 1, 3 do mail.send { to = "ada@example.org", subject = "Number " .. i, body = "Click here: " .. i } end
    engine:drain { delayed = true }
    local warnings = helper.log(30)
    assert.equal(1, #warnings)
    assert.truthy(warnings[1]:find("mail is not configured", 1, true))
    local text = table.concat(helper.log(20), "\n")
    assert.truthy(text:find("mail from pipeline@localhost to ada@example.org: Number 3\nClick here: 3", 1, true), text)
    assert.is_nil(engine:status().queues[mail.QUEUE])
  end)

  it("M3 without the option the text is logged when the mail would have been stored, or not at all", function()
    local engine = helper.open()
    local function logged()
      local n = 0
      for _, line in ipairs(helper.log(20)) do n = n + (line:find("mail from", 1, true) and 1 or 0) end
      return n
    end
    local Sends = helper.define { run = function(self)
      mail.send({ to = "ada@example.org", body = "x" }, { transactional = true })
      assert(logged() == 0)
      if self.current_attempt < 3 then error("not yet") end
      return "sent"
    end }
    assert.equal("sent", helper.result(Sends()))
    assert.equal(1, logged())
    pcall(engine.transaction, engine, function()
      mail.send { to = "ada@example.org", body = "x" }
      error("no")
    end)
    assert.equal(1, logged())
    engine:transaction(function()
      mail.send { to = "ada@example.org", body = "x" }
      assert.equal(1, logged())
      mail.send({ to = "ada@example.org", body = "x" }, { transactional = false })
      assert.equal(1, logged())
    end)
    assert.equal(3, logged())
    helper.raises(require("pipeline.taskqueue").BadTransactionStateError, mail.send,
      { to = "ada@example.org", body = "x" }, { transactional = true })
  end)

  it("M3 a worker without the option leaves the mail to one that has it", function()
    local path = helper.path()
    local first = helper.open { path = path, mail = { url = server.url, from = "robot@example.org", starttls = "no" } }
    mail.send { to = "ada@example.org", body = "x" }
    first:close()
    local without = helper.open { path = path }
    without:drain()
    assert.truthy(helper.log(30)[1]:find("this process was opened without the option `mail`", 1, true))
    without:close()
    local last = helper.open { path = path, mail = { url = server.url, starttls = "no" } }
    last:drain { delayed = true }
    assert.is_true(server:wait_seen(1)[1].accepted)
  end)

  it("M3 in test mode mails are collected, not sent; what is wrong with them raises", function()
    open()
    mail.collected()
    local Sends = helper.define(function(_, to)
      mail.send { to = to, subject = "s", body = "b" }
      mail.send { sender = "x@example.org", to = to, body = "c" }
    end)
    Sends("ada@example.org"):start_test()
    assert.same({
      { from = "Robot <robot@example.org>", to = "ada@example.org", subject = "s", body = "b" },
      { from = "x@example.org", to = "ada@example.org", body = "c" },
    }, mail.collected())
    assert.same({}, mail.collected())
    local problem = helper.raises(mail.MailError, Sends("ada").start_test, Sends("ada"))
    assert.truthy(problem.message:find('to: "ada" is no mail address', 1, true))
    assert.same({}, server:seen())
  end)

  it("M6 a mail that could not be sent is refused at the call, and nothing is stored", function()
    local engine = open()
    for part, fields in pairs {
      ["subject: it has a line break"] = { to = "a@b", subject = "x\r\nBcc: c@d", body = "" },
      ["body: the text is missing"] = { to = "a@b" }, ["to: nobody to send it to"] = { body = "x" },
      ["unknown field 'boddy'; did you mean 'body'?"] = { to = "a@b", boddy = "x" },
      ["from and sender are the same; give one"] = { to = "a@b", body = "x", sender = "c@d", from = "e@f" },
    } do
      assert.truthy(helper.raises(mail.MailError, mail.send, fields).message:find(part, 1, true))
    end
    helper.misuse("bad argument #1 to 'send'", mail.send, "x")
    helper.misuse("unknown option 'nam'; did you mean 'name'", mail.send, { to = "a@b", body = "" }, { nam = "x" })
    assert.equal(0, engine:status().queues[mail.QUEUE].ready)
  end)

  it("M3 mistakes in the options are named", function()
    for part, given in pairs {
      ["mail: url is missing, such as"] = {}, ["mail: url: one such as"] = { url = "http://localhost" },
      ["expected, got \"smtp:///x\""] = { url = "smtp:///x" },
      ["url: it has an '@'; give username and password by themselves"] = { url = "smtp://u:p@localhost" },
      ['mail: from: "x" is no mail address'] = { url = "smtp://localhost", from = "x" },
      ['mail: to[2]: "y" is no mail address'] = { url = "smtp://localhost", to = { "a@b", "y" } },
      ["mail: username and password go together"] = { url = "smtp://localhost", username = "x" },
      ["mail: password: it has a control byte"] = { url = "smtp://localhost", username = "x", password = "y\n" },
      ['mail: starttls: one of require, opportunistic, no expected'] = { url = "smtp://x", starttls = "yes" },
      ["mail: unknown field 'passwort'; did you mean 'password'?"] = { url = "smtp://x", passwort = "x" },
      ["mail: timeout: number of seconds, at least 0 expected, got string"] = { url = "smtp://x", timeout = "1" },
      ["mail: results: one of all, aborted, none expected"] = { url = "smtp://localhost", results = "some" },
      ["unknown option 'task_retry_limt'; did you mean 'task_retry_limit'"] = {
        url = "smtp://localhost", retry = { task_retry_limt = 3 },
      },
    } do
      local ok, problem = pcall(pipeline.open, ":memory:", { mail = given })
      assert.is_false(ok, part)
      assert.truthy(tostring(problem):find(part, 1, true), tostring(problem))
    end
    helper.raises(pipeline.ConfigurationError, pipeline.open, ":memory:", { base_url = "shop.example.org" })
    helper.raises(pipeline.ConfigurationError, pipeline.open, ":memory:", { base_url = "https://shop/?a=b" })
  end)

  it("M3 M8 a real server on an encrypted line, with a login, has the message", function()
    local certificate, key, directory = fetch_support.certificate()
    local box = support.mailbox(("%s %s robot:secret"):format(certificate, key))
    finally(function()
      box:close()
      support.remove(directory)
    end)
    local engine = helper.open { mail = {
      url = box.url, from = "robot@example.org", username = "robot", password = "secret", ca_file = certificate,
    } }
    mail.send { to = "Ada <ada@example.org>", subject = "Grüße", body = ".\n..\nÄ", html = "<p>Ä" }
    engine:drain { delayed = true }
    local messages = box:messages()
    assert.equal(1, #messages, table.concat(helper.log(30), "\n"))
    local got = parse(messages[1].message)
    assert.same({ true, { "ada@example.org" } }, { messages[1].tls, messages[1].to })
    assert.same({ "Grüße", ".\r\n..\r\nÄ", "<p>Ä" }, { got.subject, got.body, got.html })
  end)
end)
