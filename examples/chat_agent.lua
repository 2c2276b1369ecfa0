-- chat_agent.lua - an agent that answers as long as it is spoken to: a durable function that polls an inbox, waits for
-- what users say, and begins a new journal now and then (continue_as_new). What its model says is a stream, which
-- another process reads while it grows. Any of the processes may be killed at any time: nothing is said twice, or left
-- out.
--
--   chat_agent.lua                   the whole story, in memory
--   chat_agent.lua --work DB INBOX   starts the agent on the file DB, unless it is there, and works until it has ended
--   chat_agent.lua --say DB TEXT...  says these things
--   chat_agent.lua --stop DB         says that this was all
--   chat_agent.lua --read DB FROM    prints the stream from this offset on, a line for each token
local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"

local ENTRIES_MAX <const> = 40 -- of a journal; real agents go by self:history().suggested

-- ---- the world ---------------------------------------------------------------------------------------------------

-- The n-th line of a file; nil: it is not there yet.
local function poll_inbox(path, n)
  local file <close> = io.open(path)
  for line in file and file:lines() or function() end do
    n = n - 1
    if n == 0 then return line end
  end
end

-- A language model, of a kind: says each word aloud, takes its time, and tells how far it is.
local function call_model(text)
  local info = pipeline.step()
  local out, said = info:stream("tokens"), {}
  for word in text:gmatch("%S+") do
    said[#said + 1] = word:upper()
    out:write(word:upper())
    info:heartbeat(#said)
    tasklets.await(tasklets.sleep(0.002))
  end
  out:write(".")
  return table.concat(said, " ")
end

-- ---- the agent ---------------------------------------------------------------------------------------------------

local Agent = pipeline.workflow("chat.Agent", {
  on_error = "hold", timeout = 60, backoff_seconds = 0.01,
  run = function(self, inbox, state)
    state = state or { messages = {}, turns = 0, read = 0 }
    local tokens = self:stream("tokens")
    self:on_query("messages", function() return state.messages end)
    while true do
      if self:history().entries > ENTRIES_MAX then return self:continue_as_new(inbox, state) end
      local which, text = self:select { said = "user", stop = "stop", idle = 0.02 }
      if which == "stop" then
        tokens:close()
        return state.turns
      end
      if which == "idle" then
        text = self:step("inbox", poll_inbox, inbox, state.read + 1)
        if text then state.read = state.read + 1 end
      end
      if text then
        local reply = self:step({ name = "model", heartbeat_timeout = 30 }, call_model, text)
        state.messages[#state.messages + 1] = { text = text, reply = reply }
        state.turns = state.turns + 1
        self:set_value("turns", state.turns)
      end
    end
  end,
})

-- ---- the program -------------------------------------------------------------------------------------------------

local KEY <const> = "the-agent"

local function open(path)
  return pipeline.open(path, { log = function() end })
end

local function say(engine, texts)
  for i, text in ipairs(texts) do engine:signal(KEY, "user", text, { key = i }) end
end

local function work(path, inbox)
  local engine <close> = open(path)
  local stage = pipeline.from_id(KEY) or Agent(inbox):start { idempotence_key = KEY }
  print("turns", engine:wait(stage).default.value)
end

local function read(path, from)
  local engine <close> = open(path)
  for n, token in engine:read_stream(KEY, "tokens", { offset = from }) do
    print(n, token)
    io.stdout:flush()
  end
  print("end")
end

local function tell_all()
  local engine <close> = open(":memory:")
  local stage = Agent("/dev/null"):start { idempotence_key = KEY }
  say(engine, { "good morning", "how are you", "good night" })
  local reader = tasklets.tasklet(function()
    local line = {}
    for _, token in engine:read_stream(stage, "tokens") do
      line[#line + 1] = token
      if token == "." then
        print("agent:", table.concat(line, " "))
        line = {}
      end
    end
  end)()
  while (engine:get_value(stage, "turns") or 0) < 3 do engine:sleep(0.05) end
  print("asked:", engine:query(stage, "messages")[2].text)
  engine:signal(stage, "stop")
  print("turns:", engine:wait(stage).default.value)
  tasklets.await(reader)
end

if arg[1] == "--work" then
  work(arg[2], arg[3])
elseif arg[1] == "--say" then
  local engine <close> = open(arg[2])
  say(engine, table.move(arg, 3, #arg, 1, {}))
elseif arg[1] == "--stop" then
  local engine <close> = open(arg[2])
  engine:signal(KEY, "stop", nil, { key = "stop" })
elseif arg[1] == "--read" then
  read(arg[2], tonumber(arg[3]))
else
  tell_all()
end
