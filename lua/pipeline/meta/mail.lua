-- mail.lua: mail, for editors (LuaLS); made from doc comments by `make reference`.
---@meta pipeline.mail

---@class mail
local mail = {}

---@type pipeline.ErrorClass
mail.MailError = nil

---@type pipeline.ErrorClass
mail.MailRefusedError = nil

---@type string
mail.QUEUE = nil

--- The mails that were sent in test mode since the last call, oldest first: tables of their fields.
function mail.collected() end

--- Hands a mail to the server; the deferred call of its task. Raises MailError: it is tried again; MailRefusedError: it
--- goes to the dead tasks of the queue.
---@param post any
function mail.deliver(post) end

---@class (exact) mail.send.options
---@field engine? table
--- letters, digits, "_", "-": a mail of that name is sent once
---@field name? string
--- in a run: sent if, and only if, the attempt succeeds; inside engine:transaction it belongs to that, unless false
---@field transactional? boolean

--- Sends a mail.
---
--- `fields`: from (or sender; default: that of the `mail` option), to, cc, bcc, reply_to (an address such as
--- "ada@example.org" or "Ada <ada@example.org>", or a list of these), subject, body (text), html, headers (others by
--- name), message_id (default: made here) and date. Texts are UTF-8.
---
--- `given`: name (letters, digits, "_", "-": a mail of that name is sent once), transactional (in a run: sent if, and
--- only if, the attempt succeeds; inside engine:transaction it belongs to that, unless false), engine.
---
--- Returns string the Message-ID. When it returns, the mail is stored. Raises MailError, which names the field. Without
--- the option `mail` the text goes to the log at level info; in test mode it is collected. In App Engine:
--- mail.send_mail.
---@param fields table
---@param given? mail.send.options
---@return any
function mail.send(fields, given) end

return mail
