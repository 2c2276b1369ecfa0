-- reminders.lua - somebody is asked, and reminded until there is an answer or it is too late: an approval as a durable
-- function. The answer comes over links in the mails; any process may be killed at any time.
--
--   reminders.lua                     the whole story: asks, reminds twice, and then follows the link itself
--   reminders.lua --work DB PORT      works on the request of the file DB, and answers at this port; its mails are
--                                     lines of DB.mails
--
-- A mail is written once for each key of a step, however often the step is tried. A link may be followed twice, or too
-- late: its nonce is the key of the signal, so it counts once.
local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"

io.stdout:setvbuf("line")

local REMINDER_SECONDS <const>, LATE_SECONDS <const> = 0.3, 600

-- ---- mails -----------------------------------------------------------------------------------------------------

local outbox -- path of a file, or nil: mails go to the terminal
local asked_for = 0 -- mails to the terminal
local site = "" -- where links in mails lead

local function has_line(path, beginning)
  local file <close> = io.open(path)
  for line in file and file:lines() or function() end do
    if line:sub(1, #beginning) == beginning then return true end
  end
  return false
end

-- What a step does: mails, unless the mail of this key is out.
local function ask(boss, what, yes, no)
  local key = pipeline.step().key:match("[^/]+/(.*)$")
  if not outbox then
    asked_for = asked_for + 1
    return print(("mail to %s: %s?"):format(boss, what))
  end
  if has_line(outbox, key .. " ") then return end
  local file <close> = assert(io.open(outbox, "a"))
  assert(file:write(("%s %s %s%s %s%s\n"):format(key, boss, site, yes, site, no)))
end

-- ---- the request -----------------------------------------------------------------------------------------------

local Approval = pipeline.workflow("reminders.Approval", {
  public_callbacks = true, backoff_seconds = 0.1,
  callback = function(self, params)
    local taken = self:signal("answer", { yes = params.choice == "yes" }, { key = params.nonce })
    return taken and 200 or 409, "text/plain", taken and "Thank you\n" or "This was decided already\n"
  end,
  run = function(self, what, boss)
    local deadline, asked = self:timer(LATE_SECONDS), 0
    while true do
      asked = asked + 1
      local nonce = self:uuid()
      self:step("ask", ask, boss, what, self:get_callback_url { choice = "yes", nonce = nonce },
        self:get_callback_url { choice = "no", nonce = nonce })
      local which, answer = self:select { answer = "answer", late = deadline, again = REMINDER_SECONDS }
      if which == "answer" then return { yes = answer.yes, asked = asked } end
      if which == "late" then error(pipeline.Abort(boss .. " has not answered in time")) end
    end
  end,
})

local function tell(outputs)
  local verdict = outputs.default.value
  print(verdict.yes and "approved" or "refused")
  return verdict.asked
end

-- ---- the programs ----------------------------------------------------------------------------------------------

local function work(path, port)
  outbox, site = path .. ".mails", "http://127.0.0.1:" .. port
  local engine <close> = pipeline.open(path)
  engine:serve { port = math.tointeger(port), admin_token = "not-for-strangers" }
  local stage = pipeline.from_id("request-1")
    or Approval("a new chair", "ada@example.org"):start { idempotence_key = "request-1" }
  tell(engine:wait(stage))
  engine:sleep(0.5) -- who follows a link late is told so
end

local function story()
  local engine <close> = pipeline.open(":memory:")
  local stage = Approval("a new chair", "ada@example.org"):start()
  tasklets.tasklet(function() -- she takes her time
    while asked_for < 3 do tasklets.await(tasklets.sleep(0.05)) end
    local link = stage:get_callback_url { choice = "yes", nonce = "by-hand" }
    repeat until engine:handle { method = "GET", path = link }.status == 200 -- she tries again when it fails
  end)()
  print(tell(engine:wait(stage)) > 1 and "she was reminded" or "she answered at once")
end

if arg[1] == "--work" then
  work(arg[2], arg[3])
else
  story()
end
