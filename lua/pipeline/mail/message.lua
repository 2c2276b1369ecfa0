--- message.lua: a mail from its fields: an RFC 5322 message of plain ASCII, with a text part and maybe an HTML part.
--
-- Everything that comes from outside is checked here, once, before anything is stored or sent. Encoding is a pure
-- function of the fields: the same fields give the same bytes, whenever and however often a message is sent.
--
-- Invariants
--   1. No line of a message has more than 998 bytes, and there is no CR or LF but as a line break.
--   2. No field can add a header, end the head, end a part, or add a recipient.
--   3. What a conforming reader decodes is what was given, byte for byte, but for "\r\n" read as "\n".

local core = require "pipeline.core"
local address = require "pipeline.mail.address"
local errors = require "pipeline.support.errors"
local header = require "pipeline.mail.header"
local options = require "pipeline.support.options"
local quoted = require "pipeline.mail.quoted"
local text = require "pipeline.support.text"

local message = {}

local SUBJECT_BYTES_MAX, HEADER_BYTES_MAX, BODY_BYTES_MAX = 10000, 10000, 16 << 20
local RECIPIENTS_MAX, HEADERS_MAX = 100, 100

local function fail(format, ...)
  errors.raise(errors.MailError, format, ...)
end

local function check_utf8(place, value)
  local length, at = utf8.len(value)
  if not length then fail("%s: it is not UTF-8 (byte %d)", place, at) end
end

local function check_line(place, value, limit)
  if type(value) ~= "string" then fail("%s: string expected, got %s", place, type(value)) end
  if #value > limit then fail("%s: %d bytes; at most %d", place, #value, limit) end
  if value:find("[\r\n]") then fail("%s: it has a line break", place) end
  if value:find("[%z\1-\8\10-\31\127]") then fail("%s: it has a control byte", place) end
  check_utf8(place, value)
  return value
end

local function check_body(place, value)
  if type(value) ~= "string" then fail("%s: string expected, got %s", place, type(value)) end
  if #value > BODY_BYTES_MAX then fail("%s: %d bytes; at most %d", place, #value, BODY_BYTES_MAX) end
  check_utf8(place, value)
  return value
end

-- Headers that are made of other fields, or that only servers write.
local own = {}
for name in ([[from to cc bcc sender reply-to subject date message-id mime-version return-path received
  dkim-signature]]):gmatch("%S+") do own[name] = true end

local function check_headers(given)
  local names, seen = {}, {}
  for name, value in pairs(given or {}) do
    if type(name) ~= "string" or not name:find("^%a[%w%-]*$") or #name > 60 then
      fail("headers: %s is no name of a header", text.of(name, 100))
    end
    local lower = name:lower()
    if own[lower] or lower:find("^content%-") or lower:find("^resent%-") then
      fail("headers: %s is made by the library", name)
    end
    if seen[lower] then fail("headers: %s is there twice", name) end
    check_line("header " .. name, value, HEADER_BYTES_MAX)
    names[#names + 1], seen[lower] = name, true
  end
  if #names > HEADERS_MAX then fail("headers: %d; at most %d", #names, HEADERS_MAX) end
  table.sort(names)
  return names, seen
end

local function check_recipients(parsed)
  local seen, specs = {}, {}
  for _, name in ipairs { "to", "cc", "bcc" } do
    for _, item in ipairs(parsed[name]) do
      local key = item.spec:gsub("@.*", string.lower)
      if not seen[key] then specs[#specs + 1], seen[key] = item.spec, true end
    end
  end
  if #specs == 0 then fail("to: nobody to send it to") end
  if #specs > RECIPIENTS_MAX then fail("%d recipients; at most %d", #specs, RECIPIENTS_MAX) end
  return specs
end

local kinds = {
  from = "string", to = "any", cc = "any", bcc = "any", reply_to = "any", subject = "any", body = "any", html = "any",
  headers = "table", message_id = "string", date = "number",
}

--- The fields of a message, as options.check takes them.
message.kinds = kinds

-- Everything read and checked; raises MailError, which names the field.
local function read(fields)
  for name in pairs(fields) do
    if not kinds[name] then
      local shown = text.short(errors.text(name))
      fail("unknown field '%s'; did you mean '%s'?", shown, options.nearest(shown, kinds))
    end
  end
  if fields.from == nil then fail("from: the address of the sender is missing") end
  local parsed = {
    from = address.parse(fields.from, "from"), to = address.parse_list(fields.to, "to"),
    cc = address.parse_list(fields.cc, "cc"), bcc = address.parse_list(fields.bcc, "bcc"),
    reply_to = address.parse_list(fields.reply_to, "reply_to"),
    subject = check_line("subject", fields.subject == nil and "" or fields.subject, SUBJECT_BYTES_MAX),
  }
  if fields.body == nil and fields.html == nil then fail("body: the text is missing") end
  if fields.body ~= nil then parsed.body = check_body("body", fields.body) end
  if fields.html ~= nil then parsed.html = check_body("html", fields.html) end
  parsed.names, parsed.seen = check_headers(fields.headers)
  parsed.recipients = check_recipients(parsed)
  return parsed
end

--- Checks the fields of a message.
-- @return the address of the sender and the list of those of the recipients (to, cc, bcc, without doubles), as the
-- envelope has them. Raises MailError, which names the field.
function message.check(fields)
  local parsed = read(fields)
  return parsed.from.spec, parsed.recipients
end

-- ---- encoding --------------------------------------------------------------------------------------------------

local days = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local months = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

-- In English whatever the locale is.
local function date_text(seconds)
  local t = os.date("!*t", math.floor(seconds))
  local day, month = days[t.wday], months[t.month]
  return ("%s, %d %s %04d %02d:%02d:%02d +0000"):format(day, t.day, month, t.year, t.hour, t.min, t.sec)
end

local function add_part(out, kind, content)
  out[#out + 1] = ("Content-Type: text/%s; charset=utf-8"):format(kind)
  out[#out + 1] = "Content-Transfer-Encoding: quoted-printable"
  out[#out + 1] = ""
  out[#out + 1] = quoted.encode(content)
end

-- "=_" cannot stand in quoted-printable, so no content has a line that looks like the boundary.
local function add_parts(out, parsed, message_id)
  local boundary = "=_" .. core.sha1(message_id):sub(1, 24)
  out[#out + 1] = ('Content-Type: multipart/alternative; boundary="%s"'):format(boundary)
  out[#out + 1] = ""
  out[#out + 1] = "--" .. boundary
  add_part(out, "plain", parsed.body)
  out[#out + 1] = "--" .. boundary
  add_part(out, "html", parsed.html)
  out[#out + 1] = "--" .. boundary .. "--"
  out[#out + 1] = ""
end

local function add_head(out, fields, parsed)
  out[#out + 1] = "Date: " .. date_text(fields.date)
  out[#out + 1] = header.addresses("From", { parsed.from })
  for _, pair in ipairs { { "To", "to" }, { "Cc", "cc" }, { "Reply-To", "reply_to" } } do
    local list = parsed[pair[2]]
    if #list > 0 then out[#out + 1] = header.addresses(pair[1], list) end
  end
  if #parsed.to + #parsed.cc == 0 then out[#out + 1] = "To: undisclosed-recipients:;" end
  if parsed.subject ~= "" then out[#out + 1] = header.text("Subject", parsed.subject) end
  out[#out + 1] = ("Message-ID: <%s>"):format(fields.message_id)
  for _, name in ipairs(parsed.names) do out[#out + 1] = header.text(name, fields.headers[name]) end
  if not parsed.seen["auto-submitted"] then out[#out + 1] = "Auto-Submitted: auto-generated" end
  out[#out + 1] = "MIME-Version: 1.0"
end

--- The bytes of a message.
-- @tparam table fields from, to, cc, bcc, reply_to (addresses; lists but for from), subject, body (text), html, headers
--   (others by name), message_id (without its brackets), date (seconds since the epoch). bcc is not shown.
-- @treturn string lines that end with "\r\n", of ASCII. Raises MailError, which names the field.
function message.encode(fields)
  local parsed, out = read(fields), {}
  if not (fields.message_id or ""):find("^[%w.+%-=_]+@[%w.%-:%[%]]+$") or #fields.message_id > 250 then
    fail("message_id: of the form ID@HOST")
  end
  add_head(out, fields, parsed)
  if parsed.body and parsed.html then
    add_parts(out, parsed, fields.message_id)
  else
    add_part(out, parsed.html and "html" or "plain", parsed.html or parsed.body)
  end
  return table.concat(out, "\r\n")
end

return message
