-- approval.lua [options] - a purchase is priced, approved by mail or given up after a time, and reported on.
--
--   approval.lua                          everything on the terminal; says where to answer, within a minute
--   approval.lua --answer approve         answers itself (or: disapprove)
--   approval.lua --db shop.db --mail smtp://localhost:25 --to boss@example.org --port 8080
--                                         asks by mail; may be killed at any moment and started again
--   --seconds N   how long the answer is waited for (default 60)
--   --key NAME    which purchase it is (default purchase-1): one key, one purchase, however often this is started
--
-- Two pipelines are started in one transaction. Purchase adds up the prices, sends the mail, waits for the answer, and
-- reports. Deadline waits for its time, and answers in place of the person if nobody has. What happens first counts.
local pipeline = require "pipeline"
local common = pipeline.common
local mail = require "pipeline.mail"
local tasklets = require "pipeline.tasklets"

io.stdout:setvbuf("line")

local usage = "usage: approval.lua [--db FILE] [--mail URL] [--to ADDRESS] [--port N] [--seconds N] [--key NAME] "
  .. "[--answer approve|disapprove]\n"
local options = { db = ":memory:", to = "boss@example.org", port = "0", seconds = "60", key = "purchase-1" }
for i = 1, #arg, 2 do
  local name, value = arg[i]:match("^%-%-(%l+)$"), arg[i + 1]
  local is_known = name and (options[name] or name == "mail" or name == "answer")
  if not is_known or not value then
    io.stderr:write(usage)
    os.exit(2)
  end
  options[name] = value
end

local items = { { name = "chair", cents = 12900 }, { name = "desk", cents = 34950 }, { name = "lamp", cents = 4550 } }

-- ---- the pipelines ---------------------------------------------------------------------------------------------

-- nil: nobody has answered in time.
local words = { [true] = "approved", [false] = "not approved" }

local Report = pipeline.define("approval.Report", {
  run = function(self, cents, approved)
    local verdict = words[approved] or "given up: nobody has answered in time"
    mail.send({
      to = "requester@example.org", subject = ("%s: %s"):format(self.root_id, verdict),
      body = ("The purchase of %d.%02d is %s.\n"):format(cents // 100, cents % 100, verdict),
    }, { transactional = true }) -- once, with the end of this run
    return verdict
  end,
})

local Purchase = pipeline.define("approval.Purchase", {
  run = function(self, list, boss)
    local prices, names = {}, {}
    for i, item in ipairs(list) do prices[i], names[i] = item.cents, item.name end
    local cents = self:spawn(common.Sum(table.unpack(prices)))
    local intro = self:spawn(common.Format.tuple("Shall we buy %s for %d cents?\n\n", table.concat(names, ", "), cents))
    local body = self:spawn(common.Concat(intro, "Yes: {approve_url}\n\nNo: {disapprove_url}\n"))
    local approved = self:spawn(common.EmailToContinue { to = boss, subject = "Purchase " .. self.id, body = body })
    self:spawn(Report(cents, approved))
  end,
})

-- Answers in place of the person, unless there is an answer.
local Expire = pipeline.define("approval.Expire", {
  max_attempts = 1000, backoff_seconds = 1, backoff_factor = 1,
  run = function(_, purchase)
    for id, entry in pairs(pipeline.get_status_tree(purchase).pipelines) do
      if entry.classPath == common.EmailToContinue.class_path then
        if entry.status == "waiting" then error(pipeline.Retry "nobody was asked yet") end
        local ok, problem = pcall(function() pipeline.from_id(id):complete(nil) end)
        local was_late = not ok and pipeline.is(problem, pipeline.UnexpectedPipelineError) -- somebody has answered
        if not ok and not was_late then error(problem, 0) end
      end
    end
  end,
})

local Deadline = pipeline.define("approval.Deadline", {
  run = function(self, purchase, seconds)
    local over = self:spawn(common.Delay { seconds = seconds })
    self:after({ over }, function() self:spawn(Expire(purchase)) end)
  end,
})

-- ---- the program -----------------------------------------------------------------------------------------------

-- Without a mail server the mails are in the log. The first link in one is that to approve.
local function log(level, text)
  if level >= 30 and not text:find("mail is not configured", 1, true) then io.stderr:write(text, "\n") end
  local link = text:match("http%S+choice=" .. (options.answer or "approve") .. "%S*")
  if not text:find("^mail from") then return end
  print(text)
  if link and options.answer then
    tasklets.tasklet(function() tasklets.await(tasklets.fetch { url = link, method = "POST" }) end)()
  end
end

local engine <close> = pipeline.open(options.db, {
  mail = options.mail and { url = options.mail, from = "purchases@example.org" }, log = log,
})
engine:serve { port = math.tointeger(tonumber(options.port)), admin_token = "not-for-strangers" }

local purchase = options.key
local ok, problem = pcall(engine.transaction, engine, function()
  Purchase(items, options.to):start { idempotence_key = purchase }
  Deadline(purchase, tonumber(options.seconds)):start { idempotence_key = purchase .. "-deadline" }
end)
if not ok and not pipeline.is(problem, pipeline.PipelineExistsError) then error(problem, 0) end

print(purchase .. ": " .. engine:wait(purchase).default.value)
engine:drain() -- the report is on its way
