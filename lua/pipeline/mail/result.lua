--- result.lua: the mail that says how a pipeline ended, with a link to its status page.

local core = require "pipeline.core"
local errors = require "pipeline.support.errors"
local outbox = require "pipeline.mail.outbox"
local text = require "pipeline.support.text"

local result = {}

local WARNING = 30
local ADMINISTRATORS_WITHOUT_SETTINGS = "administrators@localhost"

local function fields_of(engine, stage, given)
  local aborted, app, id = stage.was_aborted, engine:_app_name(), stage.root_id
  local outcome = aborted and "aborted" or "successful"
  local link = ("%s%s/status?root=%s"):format(engine:_link_base() or "", stage.base_path, text.quote(id))
  local reason = aborted and stage._record.abort_message
  reason = reason and reason ~= "" and reason or nil
  local what = ("The pipeline %s was %s."):format(stage.class_path, outcome)
  return {
    sender = given.sender, subject = ('Pipeline %s: app "%s", %s, root %s'):format(outcome, app, stage.class_path, id),
    body = ("%s\n%s\nSee what it did:\n\n%s\n"):format(what, reason and "\nReason: " .. reason .. "\n" or "", link),
    html = ('<p>%s</p>\n%s<p><a href="%s">See what it did</a></p>\n'):format(text.html(what),
      reason and "<p>Reason: " .. text.html(reason) .. "</p>\n" or "", text.html(link)),
  }
end

-- What is in a subject or a reason may be anything; what mails cannot have is replaced.
local function clean(fields)
  for _, name in ipairs { "subject", "body", "html" } do
    local value = fields[name]
    if not utf8.len(value) then value = value:gsub("[\128-\255]", "?") end
    fields[name] = name == "subject" and value:gsub("[%z\1-\31\127]", " "):sub(1, 2000) or value
  end
  return fields
end

--- Sends it, once for each pipeline and recipients, however often it is asked for. What is wrong with an address is a
-- warning in the log, nothing more. given: sender, to (default: that of the `mail` option).
function result.send(engine, stage, given)
  local own = engine._mail
  local to = given.to or own and own.to
  if not to and own then
    engine:_log(WARNING, ("the mail about the result of %s is for nobody: give `to`, or to the option `mail`"):format(
      tostring(stage)))
    return
  end
  local fields = clean(fields_of(engine, stage, given))
  fields.to = to or ADMINISTRATORS_WITHOUT_SETTINGS
  local name = ("result-%s-%s"):format(engine:_id_text(stage._id), core.sha1(text.of(fields.to)):sub(1, 12))
  local resumes = (stage._record.flags & core.RESUMES) // core.RESUMED -- each end of a tree is told
  if resumes > 0 then name = ("%s-%d"):format(name, resumes) end
  local ok, problem = pcall(outbox.post, engine, fields, { name = name })
  if ok then return end
  if not errors.is(problem, errors.MailError) then error(problem, 0) end
  engine:_log(WARNING, ("the mail about the result of %s was not sent: %s"):format(tostring(stage), problem.message))
end

--- Whether a pipeline without a finalized function of its own is one about whose end a mail is sent.
function result.is_wanted(engine, stage)
  local own = engine._mail
  if not own or not own.to or not stage.is_root then return false end
  return own.results == "all" or own.results == "aborted" and stage.was_aborted
end

return result
