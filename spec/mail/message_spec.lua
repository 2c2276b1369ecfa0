-- The mail encoder: what is refused, and what Python's email package reads of what is not (M6).

local cjson = require "cjson.safe"
local message = require "pipeline.mail.message"
local pace = require "spec.support.pace"
local pipeline = require "pipeline"

local PYTHON = os.getenv("PYTHON") or "/usr/bin/python3"
local SEED = tonumber(os.getenv("SEED") or os.time())

-- Encodes each of the messages and gives them back as Python reads them.
local function read_by_python(messages)
  local pipe = assert(io.popen("mktemp -d"))
  local directory = pipe:read("l")
  pipe:close()
  for i, fields in ipairs(messages) do
    local file <close> = assert(io.open(("%s/%d.eml"):format(directory, i), "wb"))
    file:write(message.encode(fields))
  end
  pipe = assert(io.popen(("env -u LD_PRELOAD %s spec/mail/parse.py %s"):format(PYTHON, directory)))
  local text = pipe:read("a")
  pipe:close()
  os.execute("rm -r '" .. directory .. "'")
  local decoded, found = assert(cjson.decode(text), text), {}
  for name, value in pairs(decoded) do found[tonumber(name)] = value end
  return found
end

local NONE = {} -- in place of a field that is to be absent

local function fields_of(given)
  local fields = {
    from = "robot@example.org", to = "ada@example.org", subject = "s", body = "b", message_id = "1.a@example.org",
    date = 1700000000,
  }
  for name, value in pairs(given) do fields[name] = value ~= NONE and value or nil end
  return fields
end

-- What every message must be, whatever is in it. Lines with an address may be as long as that.
local function check_wire(bytes)
  assert.equal("\r\n", bytes:sub(-2))
  assert.is_nil(bytes:find("[\0\128-\255]"))
  assert.is_nil(bytes:gsub("\r\n", ""):find("[\r\n]"))
  for line in bytes:gmatch("(.-)\r\n") do
    if line == "." or #line > (line:find("@", 1, true) and 400 or 76) then error("line: " .. line) end
  end
end

local function newlines(text) return text and (text:gsub("\r\n", "\n")) end

local function null(value) if value ~= cjson.null then return value end end

-- Asserts that Python has read what was given.
local function check_read(fields, got, note)
  assert.is_nil(got.error, note)
  assert.same({}, got.defects, note)
  assert.equal(fields.subject, null(got.subject) or "", note)
  assert.equal("<" .. fields.message_id .. ">", got.message_id, note)
  assert.equal(math.floor(fields.date), got.seconds, note)
  assert.equal(newlines(fields.body), newlines(null(got.body)), note)
  assert.equal(newlines(fields.html), newlines(null(got.html)), note)
  assert.equal(fields.headers and fields.headers["X-Note"], null(got.note), note)
end

local function refused(part, given)
  local ok, problem = pcall(message.encode, fields_of(given))
  assert.is_false(ok, part)
  assert.is_true(pipeline.is(problem, pipeline.MailError), tostring(problem))
  if not problem.message:find(part, 1, true) then error(("'%s' expected, got: %s"):format(part, problem.message), 2) end
end

describe("a mail", function()
  it("M6 is refused when an address could be anything but one address, and the error names it", function()
    for address, part in pairs {
      ["a"] = 'to: "a" is no mail address', [""] = 'to: "" is no mail address', ["a@"] = "is no mail address",
      ["@b"] = "is no mail address", ["a@b..c"] = "is no mail address", ["a..b@c"] = "is no mail address",
      [".a@c"] = "is no mail address", ["a@-b"] = "is no mail address", ["a@b-"] = "is no mail address",
      ["a@b_c"] = "is no mail address", ["a@[::x]"] = "is no mail address", ["a@b@c"] = "is no mail address",
      ['"a b"@c'] = "has a space or control byte in the address", ["a(b)@c"] = "is no mail address",
      ["a@b,c@d"] = "looks like several addresses: give a list of them", ["a@b;c@d"] = "looks like several addresses",
      ["x <a@b>, y <c@d>"] = nil, ["a@b\r\nBcc: c@d"] = "has a space or control byte in the address",
      ["a@b\0"] = "has a space or control byte", ["<a@b>c"] = "is no mail address",
      ["x\r\nBcc: c@d <a@b>"] = "has a control byte in the name", ["n\0m <a@b>"] = "has a control byte in the name",
      ["ada@zürich.example"] = "has letters beyond ASCII in the address (write the domain as xn--...)",
      ["jürg@example.org"] = "has letters beyond ASCII", ["J\xfcrg <a@b>"] = "is not UTF-8",
      [("x"):rep(1001) .. " <a@b>"] = "has a name of more than 1000 bytes",
      [("x"):rep(65) .. "@b"] = "is no mail address", ["x@" .. ("a."):rep(127) .. "bcd"] = "is no mail address",
      ["x@" .. ("a"):rep(64)] = "is no mail address", ["x <a@b\r\n>"] = "has a space or control byte",
    } do
      for _, name in ipairs { "to", "from", "reply_to" } do
        refused(part:gsub("^to:", name .. ":"), { [name] = address })
      end
    end
    refused('to[2]: "b" is no mail address', { to = { "a@b", "b" } })
    refused("cc: list of addresses expected", { cc = { address = "a@b" } })
    refused("to: address as a string expected, got number", { to = 7 })
    refused("to: nobody to send it to", { to = {} })
    refused("from: the address of the sender is missing", { from = NONE })
    local many = {}
    for i = 1, 101 do many[i] = i .. "@example.org" end
    refused("101 recipients; at most 100", { to = many })
  end)

  it("M6 is refused when a field could break out of its place or cannot be read; the error names it", function()
    refused("subject: it has a line break", { subject = "a\r\nBcc: b@c" })
    refused("subject: it has a line break", { subject = "a\n" })
    refused("subject: it has a control byte", { subject = "a\0b" })
    refused("subject: it has a control byte", { subject = "a\27[2Jb" })
    refused("subject: it is not UTF-8 (byte 2)", { subject = "a\xffb" })
    refused("subject: 10001 bytes; at most 10000", { subject = ("x"):rep(10001) })
    refused("subject: string expected, got table", { subject = {} })
    refused("body: the text is missing", { body = NONE })
    refused("body: it is not UTF-8 (byte 3)", { body = "ab\xc3" })
    refused("html: it is not UTF-8 (byte 1)", { html = "\xed\xa0\x80" })
    refused("body: string expected, got number", { body = 7 })
    refused("body: 16777217 bytes; at most 16777216", { body = ("x"):rep((16 << 20) + 1) })
    refused("headers: Bcc is made by the library", { headers = { Bcc = "c@d" } })
    refused("headers: content-type is made by the library", { headers = { ["content-type"] = "text/x" } })
    refused('headers: "X: y" is no name of a header', { headers = { ["X: y"] = "z" } })
    refused("header X-Y: it has a line break", { headers = { ["X-Y"] = "a\r\n\r\nb" } })
    refused("is there twice", { headers = { ["X-Y"] = "a", ["x-y"] = "b" } })
    refused("unknown field 'subjct'; did you mean 'subject'?", { subjct = "x" })
    refused("message_id: of the form ID@HOST", { message_id = "a@b>\r\nBcc: <c@d" })
  end)

  it("M6 says the same bytes each time, and who is in its envelope", function()
    local fields = fields_of {
      from = "Robot <robot@example.org>", to = { "Ada <ada@example.org>", "bob@example.org" }, cc = "ada@EXAMPLE.org",
      bcc = { "hidden@example.org", "bob@example.org" }, headers = { ["X-B"] = "2", ["X-A"] = "1" }, html = "<p>",
    }
    local bytes = message.encode(fields)
    for _ = 1, 3 do assert.equal(bytes, message.encode(fields)) end
    local from, recipients = message.check(fields)
    assert.equal("robot@example.org", from)
    assert.same({ "ada@example.org", "bob@example.org", "hidden@example.org" }, recipients)
    assert.is_nil(bytes:find("hidden", 1, true))
  end)

  it("M6 with hostile, long and foreign texts is read by Python as it was given", function()
    local long = ("word "):rep(400):sub(1, -2)
    local subjects = {
      "", "plain", "two  spaces", " leading", "trailing ", "a\tb", long, ("x"):rep(10000), "=?UTF-8?Q?forged?=",
      "Grüße", "\u{202e}gnp.exe right to left \u{2066}x\u{2069}", ("\u{1f600}"):rep(2000),
      "Re: [x] (y) <z>, \"q\"; a@b", ".", "-- ", "日本語の件名" .. (" テスト"):rep(100), "é", ("a"):rep(61) .. " b",
      ("ab "):rep(23) .. "ö",
    }
    local bodies = {
      "", ".", "..", ".\n.\n", "\n", "\n\n", "a", "a\n", "a \n\t\nb\t", "From me\nFrom you", "=", "=3D", "a=\nb",
      ("x"):rep(10000), ("x"):rep(75), ("x"):rep(76), ("x"):rep(77), ("="):rep(1000), ("ü"):rep(5000), "a\rb", "\r",
      "a\r\nb\r\n", "--=_1\n--=_1--", "\0\1\2\27\127", "\u{202e}abc", (("y"):rep(997) .. "\n"):rep(50), "Bcc: x@y\n\nz",
      ("."):rep(300), "\n.", (" "):rep(200), "text " .. ("z "):rep(60),
    }
    local messages = {}
    for _, subject in ipairs(subjects) do
      local headers = subject ~= "" and { ["X-Note"] = subject } or nil
      messages[#messages + 1] = fields_of { subject = subject, headers = headers }
    end
    for i, body in ipairs(bodies) do
      messages[#messages + 1] = fields_of { body = body }
      messages[#messages + 1] = fields_of { body = body, html = bodies[#bodies + 1 - i] }
      messages[#messages + 1] = fields_of { body = NONE, html = body }
    end
    for i, got in ipairs(read_by_python(messages)) do
      check_wire(message.encode(messages[i]))
      check_read(messages[i], got, "message " .. i)
    end
  end)

  it("M6 with names of all kinds has exactly its addresses", function()
    local names = {
      "Ada", "Ada Lovelace", 'a "quoted" \\ name', "O'Neil, Jr. (x); z:", "Jürg Müller", "\u{202e}evil",
      "=?UTF-8?Q?x?=", ("Name "):rep(30) .. "end", ("名"):rep(100), "a@b", "undisclosed-recipients:;", "x.y", "  ",
    }
    local messages = {}
    for i, name in ipairs(names) do
      local address = name .. " <n" .. i .. "@example.org>"
      messages[i] = fields_of {
        from = address, to = { address, "plain@example.org", (address:gsub("<n", "<m")) }, cc = address,
        reply_to = address,
      }
    end
    local found = read_by_python(messages)
    for i, name in ipairs(names) do
      check_wire(message.encode(messages[i]))
      local shown = name:match("^%s*(.-)%s*$")
      local own, other = { shown, "n" .. i .. "@example.org" }, { shown, "m" .. i .. "@example.org" }
      assert.same({}, found[i].defects, name)
      assert.same({ own }, found[i].from, name)
      assert.same({ own, { "", "plain@example.org" }, other }, found[i].to)
      assert.same({ own }, found[i].cc)
      assert.same({ own }, found[i].reply_to)
    end
  end)

  it("M6 of random texts is read by Python as it was given", function()
    math.randomseed(SEED)
    local pieces = {
      "a", "Z", "7", " ", "  ", ".", "=", "_", "?", "=?", "?=", "-", "--", "\n", "\n", "\r\n", "\r", "\t", "ü",
      "\u{202e}", "\u{1f600}", "\u{0}", "\u{7f}", "From ", "<", ">", "@", ",", '"', "\\", ":", ";", "(", "日本",
      ("x"):rep(70), "\u{feff}", "=0A", "=0D=0A", "Bcc: x@y.z", "\u{a0}", "\u{85}", "\u{2028}",
    }
    local function random_text(most, line)
      local out = {}
      for i = 1, math.random(0, most) do
        local piece = pieces[math.random(#pieces)]
        out[i] = line and piece:find("[%z\r\n\127]") and "" or piece
      end
      return table.concat(out)
    end
    local messages = {}
    for i = 1, 400 do
      messages[i] = fields_of {
        subject = random_text(40, true), body = random_text(200),
        html = math.random(2) == 1 and random_text(100) or nil,
        date = math.random(0, 4102444800) + 0.5, message_id = i .. ".x@example.org",
      }
    end
    local found = read_by_python(messages)
    for i, fields in ipairs(messages) do
      check_wire(message.encode(fields))
      check_read(fields, found[i], ("SEED=%d message %d"):format(SEED, i))
    end
  end)

  it("M6 with a body of 1 MB, of one line or of many, is made fast and read as it was given", function()
    local messages = {
      fields_of { body = ("x"):rep(1 << 20) }, fields_of { body = ("ü"):rep(1 << 19) },
      fields_of { body = ("a line like any other, with text\n"):rep(1 << 15), html = ("<p>é</p>\n"):rep(1 << 16) },
      fields_of { body = (".\n"):rep(1 << 19) },
    }
    local before = os.clock()
    local encoded = {}
    for i, fields in ipairs(messages) do encoded[i] = message.encode(fields) end
    assert.is_true(os.clock() - before < 20 * pace)
    for _, bytes in ipairs(encoded) do check_wire(bytes) end
    for i, got in ipairs(read_by_python(messages)) do check_read(messages[i], got, "message " .. i) end
  end)
end)
