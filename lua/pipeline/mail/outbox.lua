--- outbox.lua: mails on their way: from the call that sends one to the server that has it.
--
--   post ──► task of the queue "pipeline-mail", one for each recipient ──► deliver ──► 250: done
--                                                    ▲                        │
--                                                    └── later: 4xx, no line ─┤
--                                                        5xx: dead, with the server's words
--
-- A mail is checked when it is posted, so that a mistake is the caller's, at once. Its Message-ID and date are made
-- then, too, and encoding is a pure function: whenever it is sent again, also because a process died between the
-- server's 250 and the commit that ends the task, it is the same message, and a reader's program shows it once.
--
-- A recipient has a task of his own: what one server says of him does not hold up the others, nor send to them twice.
--
-- Without the `mail` option of the engine that posts, the mail is written to the log, when it would have been stored;
-- in test mode it is collected.

local address = require "pipeline.mail.address"
local current = require "pipeline.current"
local deferred = require "pipeline.deferred"
local errors = require "pipeline.support.errors"
local message = require "pipeline.mail.message"
local settings = require "pipeline.mail.settings"
local task = require "pipeline.workflow.task"
local text = require "pipeline.support.text"

local outbox = { QUEUE = settings.QUEUE, DELIVER = "pipeline.mail.deliver" }

local DEBUG, INFO, WARNING = 10, 20, 30
local COLLECTED_MAX = 10000
local SENDER_WITHOUT_SETTINGS = "pipeline@localhost"
local LOGGED_BYTES_MAX = 4000

--- A server refused a mail for good: its task is dead, with the server's words.
outbox.MailRefusedError = errors.define("MailRefusedError", errors.MailError, deferred.PermanentTaskFailure)

local collected = {} -- in test mode, oldest first

-- What a program gives, as the encoder takes it: sender is App Engine's word for from.
local function fields_of(engine, given)
  local fields = {}
  for name, value in pairs(given) do fields[name] = value end
  if fields.sender ~= nil then
    if fields.from ~= nil then errors.raise(errors.MailError, "from and sender are the same; give one") end
    fields.from, fields.sender = fields.sender, nil
  end
  local own = engine._mail
  if fields.from == nil then fields.from = own and own.from or nil end
  if fields.from == nil and not own then fields.from = SENDER_WITHOUT_SETTINGS end
  return fields
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function log_mail(engine, fields, recipients)
  if not engine._mail_warned then
    engine._mail_warned = true
    engine:_log(WARNING, "mail is not configured (pipeline.open{ mail = { url = ... } }): what would be sent is "
      .. "written to the log instead, at level info")
  end
  local body = fields.body or fields.html
  if #body > LOGGED_BYTES_MAX then body = body:sub(1, LOGGED_BYTES_MAX) .. ("... (%d bytes)"):format(#body) end
  engine:_log(INFO, ("mail from %s to %s: %s\n%s"):format(fields.from, table.concat(recipients, ", "),
    fields.subject or "", body))
end

local function collect(fields)
  if #collected >= COLLECTED_MAX then table.remove(collected, 1) end
  collected[#collected + 1] = fields
end

--- The mails of test mode since the last time this was asked, oldest first: tables of the fields given.
function outbox.take_collected()
  local list = collected
  collected = {}
  return list
end

-- Calls fn for an engine that is not the current one.
local function on_behalf_of(engine, fn)
  if current.engine_or_nil() == engine then return fn() end
  local co = coroutine.running()
  local before = current.owners[co]
  current.owners[co] = engine
  local ok, problem = xpcall(fn, errors.handler)
  current.owners[co] = before
  if not ok then error(errors.original(problem), 0) end
end

-- "name" in the queue, for each of the recipients; a mail with a name is sent once (a run of it again sends no other).
local function enqueue(engine, fields, recipients, given)
  for i, recipient in ipairs(recipients) do
    local name = given.name and #recipients > 1 and given.name .. "-" .. i or given.name
    local defer = deferred.with {
      queue = outbox.QUEUE, name = name, retry_options = engine._mail.retry, transactional = given.transactional,
    }
    local ok, problem = pcall(defer, outbox.DELIVER, { recipient = recipient, fields = fields })
    local is_known = not ok and (problem.class == "TaskAlreadyExistsError" or problem.class == "TombstonedTaskError")
    if not ok and not (given.name and is_known) then error(problem, 0) end
  end
end

--- Sends a mail: it is checked now, stored with what is under way (a transaction; with `transactional`, the outcome of
-- the run), and handed to the server later.
-- @tparam table engine the mail is one of its store.
-- @tparam table given the fields of message.lua; `sender` may stand for `from`.
-- @tparam table how name (sent once, however often this is called), transactional.
-- @treturn string its Message-ID. Raises MailError, which names the field, and what Queue.add raises.
function outbox.post(engine, given, how)
  local fields = fields_of(engine, given)
  if engine._test then
    message.check(fields)
    collect(fields)
    return ""
  end
  local sender, recipients = message.check(fields)
  fields.message_id = hex(engine._core:random(16)) .. "@" .. sender:match("@(.*)$")
  fields.date = math.floor(engine._core:now())
  if engine._mail then
    on_behalf_of(engine, function() enqueue(engine, fields, recipients, how) end)
  else
    task.when_committed("send", engine, how.transactional, function() log_mail(engine, fields, recipients) end)
  end
  return fields.message_id
end

-- ---- delivering ------------------------------------------------------------------------------------------------

-- These are about the login, which is ours to mend: the mail itself was not refused.
local LOGIN = { [530] = true, [534] = true, [535] = true, [538] = true }

local function later(status, format, ...)
  error(errors.MailError(format:format(...), { traceback = "", status = status }), 0)
end

local function judge(engine, post, answer)
  local status, words = answer.status, answer.body
  local who = ("mail %s to %s"):format(post.fields.message_id, post.recipient)
  if status == 250 then return engine:_log(DEBUG, ("%s: the server has it: %s"):format(who, words)) end
  if status < 500 or LOGIN[status] then later(status, "%s: %s: %d %s", who, engine._mail.url, status, words) end
  error(outbox.MailRefusedError(("%s: %s: %d %s"):format(who, engine._mail.url, status, words),
    { traceback = "", is_kept = true, status = status }), 0)
end

--- Hands a mail to the server; the deferred call of its task. Raises MailError: it is tried again; MailRefusedError: it
-- goes to the dead tasks of the queue.
function outbox.deliver(post)
  local engine = current.engine()
  local own = engine._mail
  if not own then
    later(nil, "mail to %s: this process was opened without the option `mail`; one that has it may send it",
      text.short(post.recipient))
  end
  local answer, code, why = engine._core:fetch {
    url = own.url, mail_from = address.parse(post.fields.from, "from").spec, mail_to = post.recipient,
    body = message.encode(post.fields), username = own.username, password = own.password,
    starttls = own.starttls, verify = own.starttls ~= "opportunistic" or own.username ~= nil,
    ca_file = own.ca_file, deadline = own.timeout,
  }
  if not answer then
    later(nil, "mail %s to %s: %s: %s", post.fields.message_id, post.recipient, own.url, why or code)
  end
  judge(engine, post, answer)
end

return outbox
