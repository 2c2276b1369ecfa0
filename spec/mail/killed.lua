-- killed.lua FILE URL - sends a mail, and is killed when the server has said that it has it.

local mail = require "pipeline.mail"
local pipeline = require "pipeline"

local engine = pipeline.open(arg[1], {
  mail = { url = arg[2], from = "robot@example.org", starttls = "no" },
  log = function(_, text)
    if text:find("the server has it", 1, true) then os.execute("kill -9 $PPID") end
  end,
})
mail.send { to = "ada@example.org", subject = "s", body = "x" }
engine:drain { delayed = true, timeout = 30 }
