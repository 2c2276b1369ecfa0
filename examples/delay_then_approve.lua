-- delay_then_approve.lua [--seconds N] [--db FILE] [--approve] - two pipelines that wait for something outside.
--
-- The first waits for time: its run adds a named callback task that comes back after N seconds (default 1). The name
-- carries the pipeline's id, so that a run that is repeated after a crash finds the task already there instead of
-- adding another. The callback starts the second pipeline and completes the first.
--
-- The second waits for a person: it logs a URL, and completes when somebody visits it (--approve: the example does).
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

io.stdout:setvbuf("line")

local here = arg[0]:match("^(.*)/[^/]*$") or "."

local options = { seconds = 1, db = ":memory:" }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%w+)$")
    if name == "approve" then
      options.approve = true
    elseif (name == "seconds" or name == "db") and arg[i + 1] then
      i = i + 1
      options[name] = name == "seconds" and assert(tonumber(arg[i]), "--seconds takes a number") or arg[i]
    else
      io.stderr:write("usage: delay_then_approve.lua [--seconds N] [--db FILE] [--approve]\n")
      os.exit(2)
    end
    i = i + 1
  end
end

local server -- where the callback URL leads, set below

local Approval = pipeline.define("delay_then_approve.Approval", {
  async = true,
  public_callbacks = true,

  run = function(self)
    local url = server.url .. self:get_callback_url { choice = "approve" }
    print("Callback URL: " .. url)
    if options.approve then
      os.execute(("lua5.4 '%s' '%s' >/dev/null </dev/null &"):format(here .. "/visit.lua", url))
    end
  end,

  callback = function(self, params)
    if params.choice == "approve" then self:complete(true) end
    return 200, "text/html", "<h1>Thank you</h1>\n"
  end,
})

local Delay = pipeline.define("delay_then_approve.Delay", {
  async = true,

  run = function(self, seconds)
    local task = self:get_callback_task { countdown = seconds, name = "ae-pipeline-delay-" .. self.id }
    local ok, err = pcall(task.add, task, self.queue_name)
    if ok then return end
    if pipeline.is(err, taskqueue.TombstonedTaskError) or pipeline.is(err, taskqueue.TaskAlreadyExistsError) then
      return -- an earlier attempt has added it
    end
    error(err, 0)
  end,

  -- May run more than once; the key makes sure that the second pipeline starts only once.
  callback = function(self)
    local ok, err = pcall(function() Approval():start { idempotence_key = "approval-" .. self.id } end)
    if not ok and not pipeline.is(err, pipeline.PipelineExistsError) then error(err, 0) end
    self:complete(self.args[1])
  end,
})

local engine <close> = pipeline.open(options.db)
server = engine:serve { port = 0 }

local delay = Delay(options.seconds)
delay:start()
print(("waiting for %g s"):format(options.seconds))
print(("waited for %g s"):format(engine:wait(delay).default.value))
engine:wait("approval-" .. delay.id)
print("approved")
engine:sleep(0.05) -- the answer to whoever visited the URL is still on its way
