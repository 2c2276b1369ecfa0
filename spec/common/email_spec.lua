-- EmailToContinue (P253–P257, M4, G33): the mail, its two links, the page, and who decides.

local mail = require "pipeline.mail"
local page = require "pipeline.mail.page"
local pipeline = require "pipeline"
local EmailToContinue = pipeline.common.EmailToContinue
local helper = require "spec.support.helper"

local BODY = "Approve: {approve_url}\nNot: {disapprove_url}\n"

describe("EmailToContinue", function()
  local engine, posted

  -- What is sent is seen in the log: there is no mail server.
  before_each(function()
    posted = {}
    engine = helper.open {
      base_url = "https://shop.example.org/app/",
      log = function(level, text)
        if level == 20 and text:find("^mail from") then posted[#posted + 1] = text end
      end,
    }
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function started(fields)
    local given = { to = "boss@example.org", subject = "Buy a <b>chair</b> & a \u{202e}desk", body = BODY }
    for name, value in pairs(fields or {}) do given[name] = value end
    local stage = EmailToContinue(given):start()
    engine:drain()
    local text = posted[#posted] or ""
    return stage, text:match("Approve: (%S+)"), text:match("Not: (%S+)")
  end

  local function path_of(url) return (url:gsub("^https://shop%.example%.org/app", "")) end

  local function request(method, url, params)
    return engine:handle { method = method, path = path_of(url), params = params }
  end

  it("P253 takes mail fields by name, and stores a token and two pages with them when they are absent", function()
    local stage = EmailToContinue { to = "a@b", body = BODY }
    local given = stage.args[1]
    assert.matches("^%x+$", given.random_token)
    assert.is_true(#given.random_token >= 16)
    assert.matches("<h1>Approved</h1>", given.approve_html)
    assert.matches("<h1>Not approved</h1>", given.disapprove_html)
    assert.not_equal(given.random_token, EmailToContinue({ to = "a@b", body = BODY }).args[1].random_token)
    local own = EmailToContinue {
      to = "a@b", body = BODY, random_token = "t", approve_html = "y", disapprove_html = "n",
    }
    own:start()
    local read = pipeline.from_id(own.id).args[1]
    assert.same({ "t", "y", "n", "a@b" }, { read.random_token, read.approve_html, read.disapprove_html, read.to })
    assert.is_true(EmailToContinue.async)
    assert.is_true(EmailToContinue.public_callbacks)
  end)

  it("P254 G33 L25 the body is required, and unknown fields are refused, when it is made", function()
    helper.misuse("option 'body': the text is missing", EmailToContinue, { to = "a@b" })
    helper.misuse("unknown option 'titel'", EmailToContinue, { body = "x", titel = "y" })
    helper.misuse("option 'subject': string expected, got number", EmailToContinue, { body = "x", subject = 7 })
    helper.misuse("one table of fields expected", EmailToContinue)
    helper.misuse("one table of fields expected", EmailToContinue, { body = "x" }, 2)
    helper.misuse("table of options expected", EmailToContinue, "x")
  end)

  it("P254 both kinds of templates are filled in; in HTML the links are escaped", function()
    EmailToContinue {
      to = "a@b", body = "%(approve_url)s 100%% {braces} {disapprove_url}", html = '<a href="%(approve_url)s">',
      random_token = "t",
    }:start_test()
    local sent = mail.collected()
    sent = sent[#sent]
    assert.matches("^https://shop%.example%.org/app/_ah/pipeline/callback%?choice=approve&pipeline_id=%x+"
      .. "&random_token=t 100%% {braces} https://shop.*choice=disapprove&", sent.body)
    assert.matches('^<a href="https://.*choice=approve&amp;pipeline_id=%x+&amp;random_token=t">$', sent.html)
    EmailToContinue { to = "a@b", body = "100% {x} %d {approve_url}", html = "p{color:red}%(" }:start_test()
    sent = mail.collected()[1]
    assert.matches("^100%% {x} %%d https://", sent.body)
    assert.equal("p{color:red}%(", sent.html)
    helper.misuse("there is no value for %%%(who%)s", function()
      EmailToContinue { to = "a@b", body = "%(approve_url)s %(who)s" }:start_test()
    end)
  end)

  it("P255 M4 the links are absolute and have choice, pipeline_id and random_token, sorted", function()
    local stage, approve, disapprove = started { random_token = "a b&c" }
    local base = "https://shop.example.org/app/_ah/pipeline/callback?choice=%s&pipeline_id=%s&random_token=a+b%%26c"
    assert.same({ base:format("approve", stage.id), base:format("disapprove", stage.id) }, { approve, disapprove })
    local _, one = started { one_click = true, random_token = "t" }
    assert.matches("%?choice=approve&confirm=1&pipeline_id=%x+&random_token=t$", one)
  end)

  it("M4 following a link decides nothing, however often; the button does", function()
    for choice, wanted in pairs { approve = true, disapprove = false } do
      local stage, approve, disapprove = started()
      for _ = 1, 3 do
        for _, url in ipairs { approve, disapprove } do
          assert.equal(200, request("GET", url).status)
          assert.equal(200, request("HEAD", url).status)
          assert.equal(200, request("GET", url .. "&confirm=1").status)
        end
      end
      engine:drain()
      assert.equal("run", helper.entry(stage).status)
      local answer = request("POST", choice == "approve" and approve or disapprove, {})
      assert.equal(200, answer.status)
      assert.equal(stage.args[1][choice .. "_html"], answer.body)
      assert.equal(wanted, engine:wait(stage).default.value)
    end
  end)

  it("P256 M4 with one_click following the link decides, as in the original", function()
    local stage, approve = started { one_click = true, approve_html = "<p>yes" }
    assert.equal(200, request("GET", (approve:gsub("confirm=1&", ""))).status)
    engine:drain()
    assert.equal("run", helper.entry(stage).status)
    local answer = request("GET", approve)
    assert.same({ 200, "<p>yes" }, { answer.status, answer.body })
    assert.equal("text/html; charset=utf-8", answer.headers["content-type"])
    assert.is_true(engine:wait(stage).default.value)
  end)

  it("P256 a wrong or missing token is 403 and changes nothing; another choice is 400", function()
    local stage, approve = started()
    local wrong = {
      approve:gsub("random_token=%x", "random_token=g"), approve:gsub("random_token=%x+", "random_token="),
      approve:gsub("&random_token=%x+", ""), approve .. "0", (approve:gsub("%x$", "")),
    }
    for _, url in ipairs(wrong) do
      for _, method in ipairs { "GET", "POST" } do
        local answer = request(method, url)
        assert.same({ 403, "text/html; charset=utf-8" }, { answer.status, answer.headers["content-type"] }, url)
        assert.is_nil(answer.body:find("chair", 1, true))
      end
    end
    assert.equal(400, request("POST", (approve:gsub("choice=approve", "choice=maybe"))).status)
    assert.equal(400, request("POST", (approve:gsub("choice=approve&", ""))).status)
    engine:drain()
    assert.equal("run", helper.entry(stage).status)
  end)

  it("M4 a link that was used is 403 and says what was decided; nothing changes any more", function()
    for choice, said in pairs { approve = "<strong>approved</strong>", disapprove = "<strong>not approved</strong>" } do
      local stage, approve, disapprove = started()
      assert.equal(200, request("POST", choice == "approve" and approve or disapprove).status)
      for _, url in ipairs { approve, disapprove } do
        for _, method in ipairs { "GET", "POST" } do
          local answer = request(method, url)
          assert.equal(403, answer.status)
          assert.truthy(answer.body:find(said, 1, true), answer.body)
        end
      end
      assert.equal(choice == "approve", engine:wait(stage).default.value)
    end
  end)

  it("M4 of two answers at once one counts, and the other is told so", function()
    local stage, approve, disapprove = started()
    local server = engine:serve { port = 0, admin_token = "12345678" }
    local statuses = {}
    for _, url in ipairs { approve, disapprove, approve } do
      assert(engine._core:fetch_start({ url = server.url .. path_of(url), method = "POST", body = "" }, function(answer)
        statuses[#statuses + 1] = answer.status
      end))
    end
    for _ = 1, 1000 do
      if #statuses == 3 then break end
      engine._core:run("next", 0.01)
    end
    table.sort(statuses)
    assert.same({ 200, 403, 403 }, statuses)
    assert.equal("boolean", type(engine:wait(stage).default.value))
    server:close()
  end)

  it("M4 links of a tree that was stopped say so, with 403", function()
    local stage, approve = started()
    assert.is_true(stage:abort("no money"))
    engine:drain()
    local answer = request("POST", approve)
    assert.equal(403, answer.status)
    assert.truthy(answer.body:find("no longer open", 1, true))
    assert.equal("no money", helper.raises(pipeline.AbortedError, engine.wait, engine, stage).reason)
  end)

  it("M4 retry() sends the mail again, with the same links", function()
    local stage, approve = started()
    assert.is_true(stage:retry("not seen"))
    engine:drain { delayed = true }
    assert.equal(2, #posted)
    assert.equal(approve, posted[2]:match("Approve: (%S+)"))
    request("POST", approve)
    assert.is_true(engine:wait(stage).default.value)
  end)

  it("M4 the page says what is asked, by whom it was started, and what happens next, harmlessly", function()
    local Purchase = helper.define(function(self)
      self:spawn(EmailToContinue { to = "a@b", subject = "<img src=x onerror=alert(1)>\u{202e}", body = BODY })
    end)
    local root = Purchase():start { idempotence_key = "purchase-7" }
    engine:drain()
    local answer = request("GET", posted[1]:match("Approve: (%S+)"))
    local html = answer.body
    assert.truthy(html:find("<bdi>&lt;img src=x onerror=alert(1)&gt;\u{202e}</bdi>", 1, true), html)
    assert.truthy(html:find("<bdi>" .. root.class_path .. "</bdi>", 1, true))
    assert.truthy(html:find("<bdi>purchase-7</bdi>", 1, true))
    assert.truthy(html:find("2023-11-14 22:13 UTC", 1, true))
    assert.truthy(html:find("Nothing happens before you press the button", 1, true))
    assert.truthy(html:find('<html lang="en">', 1, true))
    assert.truthy(html:find('<form method="post"><button type="submit">Approve</button></form>', 1, true))
    assert.truthy(html:find('<a href="?choice=disapprove&amp;pipeline_id=', 1, true), html)
    assert.is_nil(html:find("<script", 1, true))
  end)

  it("M4 the page shows the text of the mail, without the lines that have its links", function()
    local function shown(body)
      local stage = started { body = body, random_token = "t" }
      local path = ("/_ah/pipeline/callback?choice=approve&pipeline_id=%s&random_token=t"):format(stage.id)
      return request("GET", path).body:match("<dt>Text</dt><dd>(.-)</dd>")
    end
    assert.equal("<bdi>Shall we buy</bdi><br>\n<br>\n<bdi>&lt;b&gt; &amp; \u{202e}5 %?</bdi>",
      shown("\nShall we buy\r\n\r\n<b> & \u{202e}5 %?\n\nApprove: {approve_url}\nNot: {disapprove_url}\n\n"))
    assert.equal("<bdi>5 % \u{fffd}</bdi>", shown("5 %% \0\nApprove: %(approve_url)s\n"))
    assert.is_nil(shown(BODY))
    local long = shown(("\u{20ac}"):rep(400000) .. "\nApprove: {approve_url}")
    assert.equal("<bdi>" .. ("\u{20ac}"):rep(1333) .. " \u{2026}</bdi>", long)
  end)

  it("M4 the pages are valid HTML", function()
    local path = helper.path()
    local function check(html)
      local file <close> = assert(io.open(path, "wb"))
      file:write(html)
      file:close()
      local pipe = assert(io.popen(("env -u LD_PRELOAD tidy -utf8 -e -q --show-warnings yes %s 2>&1"):format(path)))
      local said = pipe:read("a")
      assert.is_true(pipe:close(), said)
      assert.equal("", said)
    end
    local _, approve, disapprove = started { subject = "</dd><script>\u{202e}'\"&x;", body = "<p>&amp\n" .. BODY }
    for _, url in ipairs { approve, disapprove, approve .. "0", (approve:gsub("choice=approve", "choice=maybe")) } do
      check(request("GET", url).body)
    end
    check(request("POST", approve).body) -- Thank you
    check(request("POST", approve).body) -- answered already
    local _, _, other = started()
    check(request("POST", other).body)
  end)

  it("M4 the page has a strict policy, is not stored, and tells nobody its address", function()
    local _, approve = started()
    local headers = request("GET", approve).headers
    assert.equal("default-src 'none'; style-src 'sha256-" .. page.STYLE_HASH .. "'; form-action 'self'; "
      .. "base-uri 'none'; frame-ancestors 'none'", headers["content-security-policy"])
    assert.same({ "no-store", "no-referrer", "DENY", "nosniff" }, {
      headers["cache-control"], headers["referrer-policy"], headers["x-frame-options"],
      headers["x-content-type-options"],
    })
    headers = request("POST", approve).headers
    assert.same({ "no-store", "no-referrer" }, { headers["cache-control"], headers["referrer-policy"] })
    local path = helper.path()
    local file = assert(io.open(path, "wb"))
    file:write(page.STYLE)
    file:close()
    local pipe = assert(io.popen(("openssl dgst -sha256 -binary %s | openssl base64"):format(path)))
    assert.equal(page.STYLE_HASH, pipe:read("l"))
    pipe:close()
  end)

  it("P257 in test mode the mail is collected and the result is true", function()
    mail.collected()
    local stage = EmailToContinue { sender = "robot@example.org", to = "a@b", subject = "s", body = BODY }
    assert.is_true(stage:start_test().outputs.default.value)
    local sent = mail.collected()
    assert.equal(1, #sent)
    assert.same({ "robot@example.org", "a@b", "s" }, { sent[1].from, sent[1].to, sent[1].subject })
    local problem = helper.raises(mail.MailError, function() EmailToContinue { to = "a", body = BODY }:start_test() end)
    assert.truthy(problem.message:find('to: "a" is no mail address', 1, true))
  end)

  it("M1 its fields may come from other pipelines", function()
    local Text = helper.define(function(_, text) return text end)
    local Root = helper.define(function(self)
      self:spawn(EmailToContinue {
        to = self:spawn(Text("late@example.org")), subject = self:spawn(Text("late")), body = self:spawn(Text(BODY)),
      })
    end)
    local stage = Root():start()
    engine:drain()
    assert.matches("to late@example%.org: late\nApprove: https://", posted[1])
    assert.equal(200, request("POST", posted[1]:match("Not: (%S+)")).status)
    assert.is_false(engine:wait(stage).default.value)
  end)

  it("M4 the links lead to base_url of serve, else of open, else to the server; without any nothing is sent", function()
    local function link(options, serve)
      local posts = {}
      options.log = function(_, text) posts[#posts + 1] = text:match("Approve: (%S+)_ah") end
      local other = helper.open(options)
      local server = serve and other:serve(serve)
      EmailToContinue({ to = "a@b", body = BODY }):start { engine = other }
      other:drain()
      return posts[1], server
    end
    assert.equal("https://a.example/", (link { base_url = "https://a.example" }))
    assert.equal("https://b.example/x/", (link({ base_url = "https://a.example" }, {
      port = 0, base_url = "https://b.example/x/", admin_token = "12345678",
    })))
    local base, server = link({}, { port = 0, admin_token = "12345678" })
    assert.equal(server.url .. "/", base)
    local last = helper.open { mail = { url = "smtp://127.0.0.1:1", from = "r@example.org" } }
    local stage = EmailToContinue({ to = "a@b", body = BODY }):with_params({ max_attempts = 1 }):start { engine = last }
    last:drain()
    assert.truthy(helper.raises(pipeline.AbortedError, last.wait, last, stage).reason:find(
      "nobody knows where its links lead: give base_url to pipeline.open", 1, true))
    helper.raises(pipeline.ConfigurationError, last.serve, last, { port = 0, base_url = "b.example" })
  end)
end)
