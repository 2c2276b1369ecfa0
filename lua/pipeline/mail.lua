--- mail.lua: mails by way of an SMTP server, sent as tasks: `require "pipeline.mail"`.
--
-- The engine is opened with the option `mail` (see mail/settings.lua). A mail that was sent is in the store: it
-- survives the process, is tried again while the server cannot be reached or says "later", and is kept among the dead
-- tasks of the queue "pipeline-mail", with the server's words, when it says "never". In App Engine: the mail service.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local outbox = require "pipeline.mail.outbox"
local bad_type = require("pipeline.support.place").bad_type

local mail = {
  QUEUE = outbox.QUEUE, MailError = errors.MailError, MailRefusedError = outbox.MailRefusedError,
  deliver = outbox.deliver,
}

local how_kinds = { name = "string", transactional = "boolean", engine = "table" }

--- Sends a mail.
-- @tparam table fields from (or sender; default: that of the `mail` option), to, cc, bcc, reply_to (an address such as
--   "ada@example.org" or "Ada <ada@example.org>", or a list of these), subject, body (text), html, headers (others by
--   name), message_id (default: made here) and date. Texts are UTF-8.
-- @tparam[opt] table given name (letters, digits, "_", "-": a mail of that name is sent once), transactional (in a run:
--   sent if, and only if, the attempt succeeds; inside engine:transaction it belongs to that, unless false), engine.
-- @treturn string the Message-ID. When it returns, the mail is stored. Raises MailError, which names the field.
-- Without the option `mail` the text goes to the log at level info; in test mode it is collected.
-- In App Engine: mail.send_mail.
function mail.send(fields, given)
  if type(fields) ~= "table" then
    bad_type(1, "send", "table of fields", fields)
  end
  given = options.check(given, how_kinds, 2, "send")
  return outbox.post(given.engine or current.engine(), fields, given)
end

--- The mails that were sent in test mode since the last call, oldest first: tables of their fields.
function mail.collected()
  return outbox.take_collected()
end

return mail
