--- settings.lua: the `mail` option of pipeline.open: the server mails go to, and what they have in common.

local address = require "pipeline.mail.address"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local queue_task = require "pipeline.taskqueue.task"
local text = require "pipeline.support.text"

local settings = { QUEUE = "pipeline-mail" }

local TIMEOUT_SECONDS = 60
local MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, AGE_SECONDS = 10, 3600, 5 * 86400

local kinds = {
  url = "string", from = "string", to = "any", username = "string", password = "string", starttls = "string",
  ca_file = "string", timeout = "duration", app = "string", results = "string", retry = "table",
}

local function fail(format, ...)
  errors.raise(errors.ConfigurationError, "mail: " .. format, ...)
end

local function check_one_of(name, value, ...)
  for _, allowed in ipairs { ... } do
    if value == allowed then return value end
  end
  fail("%s: one of %s expected, got %s", name, table.concat({ ... }, ", "), text.of(text.short(value)))
end

local function check_url(url)
  if not url then fail("url is missing, such as \"smtp://mail.example.org:587\"") end
  local scheme, rest = url:match("^(%a+)://(.+)$")
  scheme = scheme and scheme:lower()
  if scheme ~= "smtp" and scheme ~= "smtps" or rest:find("[%z\1-\32\127]") or rest:find("^[/?#:]") then
    fail("url: one such as \"smtp://mail.example.org:587\" or \"smtps://mail.example.org\" expected, got %s",
      text.of(text.short(url)))
  end
  if rest:find("@", 1, true) then fail("url: it has an '@'; give username and password by themselves") end
  return url
end

-- Addresses of the configuration are looked at now, not with the first mail.
local function check_address(name, read, value)
  if value == nil then return nil end
  local ok, problem = pcall(read, value, name)
  if ok then return value end
  fail("%s", problem.message)
end

local function check_login(given)
  if (given.username == nil) ~= (given.password == nil) then fail("username and password go together") end
  for _, name in ipairs { "username", "password", "ca_file" } do
    if given[name] and given[name]:find("[%z\r\n]") then fail("%s: it has a control byte", name) end
  end
end

-- Without a login there is nothing to lose on a line that nobody can vouch for.
local function starttls_of(given)
  if given.starttls then return check_one_of("starttls", given.starttls, "require", "opportunistic", "no") end
  return given.username and "require" or "opportunistic"
end

local function retry_of(given)
  local retry = { min_backoff_seconds = MIN_BACKOFF_SECONDS, max_backoff_seconds = MAX_BACKOFF_SECONDS }
  for name, value in pairs(given or {}) do retry[name] = value end
  if not retry.task_age_limit and not retry.task_retry_limit then retry.task_age_limit = AGE_SECONDS end
  return queue_task.TaskRetryOptions(retry)
end

--- Reads the option.
-- @tparam table given url ("smtp://host:25", "smtps://host"; a path after the host is what EHLO says), from (address of
--   the sender of mails that do not say theirs), to (address or list: who gets the mails about results), username and
--   password, starttls ("require": nothing is sent unless the line is encrypted and the certificate good, the default
--   with a login; "opportunistic": encrypted if the server offers it, the default without; "no"), ca_file (certificates
--   to trust instead of the system's), timeout (seconds for the connection, and then for each reply; 60), app (name of
--   the program in mails about results; default: that of the file), results (which roots without a finalized function a
--   mail is sent about: "all", the default, "aborted" or "none"), retry (TaskRetryOptions of mails: by default after 10
--   s, in the end once an hour, for 5 days).
-- Raises ConfigurationError, which names the field.
function settings.read(given)
  for name, value in pairs(given) do
    local kind = kinds[name]
    if not kind then
      local shown = text.short(errors.text(name))
      fail("unknown field '%s'; did you mean '%s'?", shown, options.nearest(shown, kinds))
    end
    local ok, wanted = options.fits(value, kind)
    if not ok then fail("%s: %s expected, got %s", name, wanted, type(value)) end
  end
  check_login(given)
  return {
    url = check_url(given.url), from = check_address("from", address.parse, given.from),
    to = check_address("to", address.parse_list, given.to), username = given.username, password = given.password,
    starttls = starttls_of(given), ca_file = given.ca_file, timeout = given.timeout or TIMEOUT_SECONDS,
    app = given.app, queue = settings.QUEUE, retry = retry_of(given.retry),
    results = check_one_of("results", given.results or "all", "all", "aborted", "none"),
  }
end

return settings
