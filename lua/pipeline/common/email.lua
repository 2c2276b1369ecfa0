--- email.lua: asking a person by mail whether to go on. See common.lua.
--
-- The mail has two links, to approve and to disapprove. Programs follow links, too: those that look for viruses, or
-- show a preview. So a link leads to a page that says what is asked, and only the button on it decides. The links hold
-- a secret; once somebody has decided, they say so and change nothing.

local class = require "pipeline.workflow.class"
local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"
local options = require "pipeline.support.options"
local page = require "pipeline.mail.page"
local text = require "pipeline.support.text"
local bad_option = require("pipeline.support.place").bad_option

local TOKEN_BYTES = 16
local SHOWN_BYTES_MAX = 4000

-- ---- what is given ---------------------------------------------------------------------------------------------

local kinds = {
  from = "any", sender = "any", to = "any", cc = "any", bcc = "any", reply_to = "any", subject = "any", body = "any",
  html = "any", headers = "table", approve_html = "any", disapprove_html = "any", random_token = "any",
  one_click = "boolean",
}

local own = { approve_html = true, disapprove_html = true, random_token = true, one_click = true }

local function short_page(title, line)
  return ([[<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>%s</title></head><body><h1>%s</h1><p>%s</p></body></html>]]):format(
    title, title, line)
end

local APPROVED = short_page("Approved", "Thank you. The pipeline goes on; you can close this page.")
local DISAPPROVED = short_page("Not approved", "Thank you. The pipeline has your answer; you can close this page.")

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function is_later(value)
  return future.is_future(value) or future.is_slot(value)
end

local function check_text(name, value)
  if value == nil or type(value) == "string" or is_later(value) then return end
  bad_option(1, "EmailToContinue", name, "string expected, got %s", type(value))
end

local function prepare(given, ...)
  if given == nil or select("#", ...) > 0 then
    error("bad arguments to 'EmailToContinue' (one table of fields expected)", 3)
  end
  given = options.check(given, kinds, 1, "EmailToContinue", 2)
  for _, name in ipairs { "subject", "body", "html", "approve_html", "disapprove_html", "random_token" } do
    check_text(name, given[name])
  end
  if given.body == nil then bad_option(1, "EmailToContinue", "body", "the text is missing") end
  local fields = {}
  for name, value in pairs(given) do fields[name] = value end
  fields.random_token = fields.random_token or hex(core.random(TOKEN_BYTES))
  fields.approve_html = fields.approve_html or APPROVED
  fields.disapprove_html = fields.disapprove_html or DISAPPROVED
  return fields
end

-- ---- the mail --------------------------------------------------------------------------------------------------

-- Puts the links into a template, written as %(approve_url)s or {approve_url}. "%%" is a per cent sign in a template of
-- the first kind; one of the second kind may have what it likes.
local function fill(template, urls)
  if template:find("%%%(%l+_url%)s") then
    template = template:gsub("%%([%%(])([%w_]*)(%)?)(s?)", function(mark, name, close, kind)
      if mark == "%" then return "%" .. name .. close .. kind end
      if close == "" or kind == "" then return nil end
      return urls[name] or error(("EmailToContinue: there is no value for %%(%s)s"):format(name), 0)
    end)
  end
  return (template:gsub("{(%l+_url)}", urls))
end

local function link_base(engine)
  local base = engine:_link_base()
  if not base and engine._mail and not engine._test then
    errors.raise(errors.ConfigurationError, "EmailToContinue: nobody knows where its links lead: give base_url to "
      .. "pipeline.open, or serve in this process")
  end
  return base or ""
end

local function urls_of(self, given, quote)
  local urls, base = {}, link_base(self._engine)
  for _, choice in ipairs { "approve", "disapprove" } do
    urls[choice .. "_url"] = quote(base .. self:get_callback_url {
      choice = choice, random_token = given.random_token, confirm = given.one_click and 1 or nil,
    })
  end
  return urls
end

local function same(value) return value end

local function send(self, given)
  local fields = {}
  for name, value in pairs(given) do
    if not own[name] then fields[name] = value end
  end
  fields.body = fill(given.body, urls_of(self, given, same))
  if given.html then fields.html = fill(given.html, urls_of(self, given, text.html)) end
  local outbox = require "pipeline.mail.outbox"
  if fields.to == nil then fields.to = self._engine._mail and self._engine._mail.to or nil end
  outbox.post(self._engine, fields, { transactional = true }) -- once, with the end of this run
end

-- ---- the pages -------------------------------------------------------------------------------------------------

local function show(status, title, body)
  local headers, html = page.make(title, body)
  return status, headers, html
end

local function wrong_link()
  return show(403, "This link is not valid", [[<h1>This link is not valid</h1>
<p>Maybe a part of it got lost. Please copy the whole address from the mail.</p>]])
end

local function decided(self)
  local said = "It is no longer open: the pipeline was stopped."
  if self.has_finalized then
    local approved = self.outputs.default.value == true
    said = approved and "It was <strong>approved</strong>." or "It was <strong>not approved</strong>."
  end
  return show(403, "Already answered", ([[<h1>This request was answered already</h1>
<p>%s Nothing was changed now.</p>]]):format(said))
end

local function time_text(seconds)
  return os.date("!%Y-%m-%d %H:%M UTC", math.floor(seconds))
end

local words = {
  approve = {
    title = "Approve?", button = "Approve", other = "disapprove", link = "Do not approve instead",
    next = "The pipeline goes on with your approval.",
  },
  disapprove = {
    title = "Do not approve?", button = "Do not approve", other = "approve", link = "Approve instead",
    next = "The pipeline is told that you did not approve.",
  },
}

-- Cut where a character begins.
local function beginning(value)
  if #value <= SHOWN_BYTES_MAX then return value end
  return value:sub(1, utf8.offset(value, 0, SHOWN_BYTES_MAX + 1) - 1) .. " \u{2026}"
end

-- What the text of the mail says beside its links, as HTML, or "".
local function said_in(template)
  local lines = {}
  if template:find("%%%(%l+_url%)s") then template = template:gsub("%%%%", "%%") end
  for line in (template .. "\n"):gmatch("(.-)\r?\n") do
    if not (line:find("{%l+_url}") or line:find("%%%(%l+_url%)s")) then lines[#lines + 1] = line end
  end
  local shown = beginning(table.concat(lines, "\n"):match("^%s*(.-)%s*$")):gsub("[%z\1-\8\11-\31\127]", "\u{fffd}")
  if shown == "" then return "" end
  return "\n<dt>Text</dt><dd>" .. shown:gsub("[^\n]+", page.foreign):gsub("\n", "<br>\n") .. "</dd>"
end

local function ask(self, given, choice)
  local said, root = words[choice], self.is_root and self or self._engine:from_id(self.root_id)
  local record = root and root._record or self._record
  local other = self:get_callback_url { choice = said.other, random_token = given.random_token }:match("?.*$")
  local subject = given.subject
  return show(200, said.title, ([[<h1>%s</h1>
<dl>
<dt>Request</dt><dd>%s</dd>%s
<dt>Started by</dt><dd>pipeline %s, %s</dd>
<dt>Started at</dt><dd><time datetime="%s">%s</time></dd>
<dt>What happens next</dt><dd>%s Nothing happens before you press the button.</dd>
</dl>
<form method="post"><button type="submit">%s</button></form>
<p><a href="%s">%s</a></p>]]):format(said.title,
    page.foreign(type(subject) == "string" and subject ~= "" and subject or "(without a subject)"),
    said_in(given.body), page.foreign(record.class_path or ""), page.foreign(root and root.id or self.id),
    os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(record.created)), time_text(record.created), said.next, said.button,
    text.html(other), said.link))
end

-- The secrets are compared by their signatures: how long that takes says nothing about them.
local function is_token(engine, given, token)
  if type(token) ~= "string" or type(given.random_token) ~= "string" then return false end
  local handle = engine._core
  return handle:verify("approval\n" .. token, handle:sign("approval\n" .. given.random_token))
end

local function answer(self, given, choice)
  local html = choice == "approve" and given.approve_html or given.disapprove_html
  local ok, problem = pcall(self.complete, self, choice == "approve")
  if ok then return 200, page.headers(""), html end
  if not errors.is(problem, errors.UnexpectedPipelineError) then error(problem, 0) end
  local now = self._engine:from_id(self.id) -- somebody was faster
  if now then return decided(now) end
  return wrong_link()
end

--- EmailToContinue{ to = "boss@example.org", subject = "…", body = "… {approve_url} … {disapprove_url}" }: sends a mail
-- and waits for the answer; gives true if it is approved, false if not. In test mode it gives true at once.
--
-- Fields: from (or sender), to, cc, bcc, reply_to, subject, headers as in pipeline.mail; body (required) and html:
-- templates with {approve_url} and {disapprove_url}, or %(approve_url)s and %(disapprove_url)s; approve_html and
-- disapprove_html: what is shown after the answer; one_click = true: following a link decides, without the page;
-- random_token: the secret of the links (default: made at random). The links lead to the base_url of pipeline.open or
-- engine:serve. An answer with a wrong token, or after the first, is refused with 403 and changes nothing.
-- In App Engine: common.EmailToContinue.
local EmailToContinue = class.define("pipeline.common.EmailToContinue", {
  async = true, public_callbacks = true,
  run = send,
  try_cancel = function() return true end, -- retry() sends the mail again, with the same links
  run_test = function(self, given)
    send(self, given)
    self:complete(true)
  end,
  callback = function(self, params, request)
    local given, choice = self.args[1], params.choice
    if not is_token(self._engine, given, params.random_token) then return wrong_link() end
    if not words[choice] then
      return show(400, "No such answer", "<h1>No such answer</h1>\n<p>The link must say approve or disapprove.</p>")
    end
    local state = self._record.state
    if state ~= "run" then return decided(self) end
    local is_certain = request.method == "POST" or given.one_click and params.confirm == "1"
    if not is_certain then return ask(self, given, choice) end
    return answer(self, given, choice)
  end,
})

class.prepare_arguments(EmailToContinue, prepare)
rawset(EmailToContinue, "_answers_when_final", true) -- its callback is called then, too, and says what was decided

return { EmailToContinue = EmailToContinue }
