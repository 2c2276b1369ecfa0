-- Handing a mail to a server, with servers of all kinds (M6, M8): what is said and answered, one message per success.

local core = require "pipeline.core"
local fetch_support = require "spec.fetch.support"
local support = require "spec.mail.support"

local MESSAGE = "Subject: s\r\n\r\nHello\r\n.\r\n..\r\n.x\r\n"

describe("handing a mail over", function()
  local server, e

  setup(function() server = support.hostile() end)
  teardown(function() server:close() end)
  before_each(function()
    server:plan {}
    server:seen()
    e = assert(core.open(":memory:"))
  end)
  after_each(function() e:close() end)

  local function send(options)
    local request = {
      url = server.url, mail_from = "robot@example.org", mail_to = "ada@example.org", body = MESSAGE, deadline = 20,
      starttls = "no",
    }
    for name, value in pairs(options or {}) do request[name] = value end
    return e:fetch(request)
  end

  local function the_one_seen()
    local list = server:wait_seen(1)
    assert.equal(1, #list)
    return list[1]
  end

  it("M8 a server that accepts has the message, dots and all, and its envelope", function()
    local answer, code, message = send()
    assert.is_truthy(answer, ("%s %s"):format(code, message))
    assert.same({ 250, "2.0.0 queued" }, { answer.status, answer.body })
    local seen = the_one_seen()
    assert.same({ MESSAGE, "robot@example.org", { "ada@example.org" }, true }, {
      seen.message, seen.from, seen.to, seen.accepted,
    })
    assert.same({ "EHLO", "MAIL", "RCPT", "DATA", "QUIT" }, seen.commands)
  end)

  it("M6 lines of dots, a message without a line break at its end, and large ones arrive as they are", function()
    for _, body in ipairs {
      ".\r\n", "..\r\n.\r\n", "\r\n.\r\n", ("." .. ("x"):rep(997) .. "\r\n"):rep(1000), ("line\r\n"):rep(200000),
    } do
      local answer, code, message = send { body = body }
      assert.equal(250, answer and answer.status, ("%s %s"):format(code, message))
      assert.is_true(body == the_one_seen().message)
    end
    assert.equal(250, send { body = "no end" }.status)
    assert.equal("no end\r\n", the_one_seen().message)
    assert.equal(250, send { body = "" }.status)
    assert.equal("", the_one_seen().message)
  end)

  it("M6 refuses what could end a command or the message, and other wrong calls", function()
    for text, options in pairs {
      ["an address of the mail is not one"] = { mail_to = "a@b>\r\nRCPT TO:<c@d" },
      ["the mail has a line break other than CR LF"] = { body = "a\n.\nb" },
      ["a mail has a sender"] = { stream = true },
      ["not a URL that begins with smtp://"] = { url = "http://127.0.0.1/" },
      ["contains a NUL byte"] = { username = "a\0b" },
    } do
      local answer, code, message = send(options)
      assert.is_nil(answer)
      assert.equal("EINVAL", code)
      assert.truthy(message:find(text, 1, true), message)
    end
    for _, body in ipairs { "a\rb", "\r", "\n", "a\r\n\n", "a\r\r\n" } do
      assert.equal("EINVAL", (select(2, send { body = body })), body)
    end
    for _, address in ipairs { "", "a b@c", "a@b\0", "<a@b>", "\u{e4}@b", ("x"):rep(321) } do
      assert.equal("EINVAL", (select(2, send { mail_from = address })), address)
    end
    assert.equal("EINVAL", (select(2, e:fetch { url = server.url })))
    for _, seen in ipairs(server:seen()) do assert.is_false(seen.accepted) end
  end)

  it("M8 M5 a refusal at any command, for now or for good, is the answer, in the server's words", function()
    for _, command in ipairs { "greeting", "EHLO", "MAIL", "RCPT", "DATA", "body" } do
      for _, reply in ipairs { "451 4.3.0 try again later", "554 5.7.1 we do not want you\27[2J" } do
        server:plan { reply = { [command] = reply, HELO = command == "EHLO" and reply or nil } }
        local answer, code, message = send()
        local what = ("%s %s: %s %s"):format(command, reply, code, message)
        assert.is_truthy(answer, what)
        local status, words = tonumber(reply:sub(1, 3)), reply:sub(5):gsub("\27", " ")
        assert.same({ status, words }, { answer.status, answer.body }, what)
        assert.is_false(the_one_seen().accepted)
      end
    end
  end)

  it("M8 a reply of several lines is one answer", function()
    server:plan { reply = { RCPT = "550-no such user\r\n550-here\r\n550 sorry", MAIL = "250-a\r\n250 b" } }
    local answer = send()
    assert.same({ 550, "no such user here sorry" }, { answer.status, answer.body })
  end)

  it("M8 a line that is cut at any command is a broken connection, and no success", function()
    for _, command in ipairs { "greeting", "EHLO", "MAIL", "RCPT", "DATA", "body", "late" } do
      server:plan { drop = command }
      local answer, code = send { body = ("line\r\n"):rep(400000) }
      assert.is_nil(answer, command)
      assert.truthy(code == "ECONNRESET" or command == "greeting" or command == "EHLO", command .. " " .. code)
      assert.is_false(the_one_seen().accepted)
    end
  end)

  it("M8 a server that is silent at any command is given up, and the loop turns meanwhile", function()
    for _, command in ipairs { "greeting", "EHLO", "MAIL", "RCPT", "DATA", "body" } do
      server:plan { stall = command }
      local ticks = 0
      fetch_support.inside(e, function()
        local done = false
        assert(e:spawn(function()
          while not done do
            e:sleep(0.02)
            ticks = ticks + 1
          end
        end))
        local answer, code, message = send { deadline = 0.4 }
        done = true
        e:sleep(0.05)
        assert.is_nil(answer)
        assert.equal("ETIMEDOUT", code, command)
        if command ~= "greeting" and command ~= "EHLO" then
          local name = command == "body" and "the message" or command
          assert.equal(("no reply to %s within 0.4 s"):format(name), message)
        end
      end)
      assert.is_true(ticks >= 8, ("%d ticks"):format(ticks))
      assert.is_false(the_one_seen().accepted)
    end
  end)

  it("M8 a server that is silent at QUIT, or cuts the line there, has the message; nobody waits for it", function()
    for _, plan in ipairs { { stall = "QUIT" }, { drop = "QUIT" }, { after_250 = true } } do
      server:plan(plan)
      local before = os.time()
      assert.equal(250, send({ deadline = 60 }).status)
      e:close()
      assert.is_true(os.time() - before < 20)
      assert.is_true(the_one_seen().accepted)
      e = assert(core.open(":memory:"))
    end
  end)

  it("M8 a server that speaks in pieces is understood; each step has the whole deadline", function()
    server:plan { pieces = 0.005 }
    local answer, code, message = send { deadline = 3 }
    assert.equal(250, answer and answer.status, ("%s %s"):format(code, message))
    assert.equal(MESSAGE, the_one_seen().message)
  end)

  it("M8 what is said out of turn, or cannot be read, is no success", function()
    for text, plan in pairs {
      ["the mail server spoke out of turn"] = { ahead = { MAIL = "250 more\r\n250 x\r\n354 go\r\n250 done\r\n" } },
      ["spoke out of turn"] = { ahead = { DATA = "250 2.0.0 queued already\r\n" } },
      ["a reply that does not belong to the command"] = { reply = { MAIL = "354 go" } },
      ["that does not belong"] = { reply = { DATA = "250 ok" } },
      ["not belong to the"] = { reply = { body = "354 more" } },
      ["a reply that cannot be read"] = { reply = { RCPT = "HTTP/1.1 200 OK" } },
      ["reply that cannot be read"] = { reply = { MAIL = "250-one\r\n251 two" } },
      ["that cannot be read"] = { reply = { MAIL = "2500 ok" } }, ["cannot be read"] = { reply = { MAIL = "999 ok" } },
      ["gave a reply that cannot be read"] = { reply = { MAIL = "250 " .. ("x"):rep(5000) } },
      ["server gave a reply that cannot be read"] = { reply = { MAIL = ("250-x\r\n"):rep(101) .. "250 x" } },
    } do
      server:plan(plan)
      local answer, code, message = send()
      assert.is_nil(answer, text)
      assert.truthy(code == "EPROTO" or code == "ELIMIT", text .. " " .. code)
      assert.truthy(message:find(text, 1, true), message)
      assert.is_false(the_one_seen().accepted)
    end
  end)

  it("M8 421 at any moment is for now", function()
    for _, command in ipairs { "greeting", "MAIL", "RCPT", "DATA", "body" } do
      server:plan { reply = { [command] = "421 4.3.2 shutting down" } }
      assert.same({ 421, "4.3.2 shutting down" }, { send().status, send().body })
    end
  end)

  it("M8 nobody there is a refused connection, and the wrong host none", function()
    local _, code = send { url = "smtp://127.0.0.1:1" }
    assert.equal("ECONNREFUSED", code)
  end)

  it("M8 many at once share the client, and can be cancelled", function()
    server:plan { pieces = 0.001 }
    local done, handles = 0, {}
    fetch_support.inside(e, function()
      for i = 1, 30 do
        handles[i] = assert(e:fetch_start({
          url = server.url, mail_from = "a@b", mail_to = i .. "@example.org", body = MESSAGE, deadline = 30,
          starttls = "no",
        }, function(answer) done = done + (answer and answer.status == 250 and 1 or 0) end))
      end
      for i = 1, 30, 3 do assert.is_true(handles[i]:cancel()) end
      fetch_support.wait(e, function() return done == 20 end)
    end)
    local accepted = 0
    for _, seen in ipairs(server:wait_seen(20)) do accepted = accepted + (seen.accepted and 1 or 0) end
    assert.equal(20, accepted)
  end)

  it("M8 an engine that is closed in the middle lets go of everything", function()
    for _, command in ipairs { "greeting", "MAIL", "body" } do
      server:plan { stall = command }
      local called = false
      assert(e:fetch_start({ url = server.url, mail_from = "a@b", mail_to = "c@d", body = MESSAGE, starttls = "no" },
        function() called = true end))
      for _ = 1, 20 do e:sleep(0.01) end
      e:close()
      assert.is_false(called)
      e = assert(core.open(":memory:"))
    end
  end)
end)

describe("a secure line to a mail server", function()
  local server, e, certificate, key, directory

  setup(function()
    certificate, key, directory = fetch_support.certificate()
    server = support.hostile()
  end)
  teardown(function()
    server:close()
    support.remove(directory)
  end)
  before_each(function()
    e = assert(core.open(":memory:"))
    server:seen()
  end)
  after_each(function() e:close() end)

  local function send(options)
    local request = {
      url = server.url, mail_from = "robot@example.org", mail_to = "ada@example.org", body = MESSAGE, deadline = 20,
    }
    for name, value in pairs(options or {}) do request[name] = value end
    return e:fetch(request)
  end

  local function spoken_in_the_clear(seen)
    for _, command in ipairs(seen.commands) do
      if command == "MAIL" or command == "AUTH" then return true end
    end
    return false
  end

  it("M8 STARTTLS with a good certificate: the message goes encrypted", function()
    server:plan { tls = { certificate, key } }
    local answer, code, message = send { ca_file = certificate }
    assert.equal(250, answer and answer.status, ("%s %s"):format(code, message))
    local seen = server:wait_seen(1)[1]
    assert.same({ true, true, MESSAGE }, { seen.tls, seen.accepted, seen.message })
    assert.same({ "EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "QUIT" }, seen.commands)
  end)

  it("M8 STARTTLS with a bad certificate, none, refused, or injected into: required, nothing is said", function()
    for _, plan in ipairs {
      { tls = { certificate, key } }, {}, { tls = { certificate, key }, reply = { STARTTLS = "454 not now" } },
      { tls = { certificate, key }, ahead = { STARTTLS = "250 forged\r\n" } },
      { tls = { certificate, key }, drop = "STARTTLS" },
    } do
      server:plan(plan)
      local answer = send { ca_file = plan.ahead and certificate or nil, username = "u", password = "p" }
      assert.is_true(not answer or answer.status == 454)
      local seen = server:wait_seen(1)[1]
      assert.is_false(seen.accepted)
      assert.is_false(spoken_in_the_clear(seen))
    end
    server:plan { tls = { certificate, key } }
    assert.equal("ETLS", (select(2, send())))
    local name = server.url:gsub("127%.0%.0%.1", "localhost")
    assert.equal("ETLS", (select(2, send { url = name, ca_file = certificate })))
    for _, seen in ipairs(server:wait_seen(2)) do assert.is_false(spoken_in_the_clear(seen)) end
  end)

  it("M8 opportunistic: encrypted where offered, else in the clear", function()
    for _, case in ipairs { { { tls = { certificate, key } }, true }, { {}, false } } do
      server:plan(case[1])
      assert.equal(250, send({ starttls = "opportunistic", verify = false }).status)
      local seen = server:wait_seen(1)[1]
      assert.same({ case[2], true }, { seen.tls, seen.accepted })
    end
  end)

  it("M8 smtps: encrypted from the first byte", function()
    server:plan { tls = { certificate, key }, implicit = true }
    local url = server.url:gsub("^smtp", "smtps")
    assert.equal(250, send({ url = url, ca_file = certificate }).status)
    local seen = server:wait_seen(1)[1]
    assert.same({ true, MESSAGE }, { seen.tls, seen.message })
    assert.equal("ETLS", (select(2, send { url = url })))
  end)

  it("M8 a login is made, and a refused one is the answer", function()
    server:plan { auth = "robot:secret" }
    local options = { starttls = "no", username = "robot", password = "secret" }
    assert.equal(250, send(options).status)
    assert.is_true(server:wait_seen(1)[1].accepted)
    options.password = "wrong"
    local answer = send(options)
    assert.same({ 535, "5.7.8 wrong name or password" }, { answer.status, answer.body })
    assert.is_false(server:wait_seen(1)[1].accepted)
  end)

  it("M8 large messages go over an encrypted line whole, also in pieces", function()
    server:plan { tls = { certificate, key }, pieces = 0.001 }
    local body = ("0123456789abcdef\r\n"):rep(100000)
    local answer, code, message = send { ca_file = certificate, body = body }
    assert.equal(250, answer and answer.status, ("%s %s"):format(code, message))
    assert.is_true(body == server:wait_seen(1)[1].message)
  end)
end)
