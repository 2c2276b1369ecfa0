-- examples/chat_agent.lua: tells its story; and says each thing once, to a reader in another process, while both are
-- killed at random.

local pace = require "spec.support.pace"
local processes = require "spec.crash.processes"
local support = require "spec.examples.support"

local read = support.read

local TEXTS = { "good morning", "one two three four five", "how are you", "six seven eight", "good night" }
local INBOX = { "from the inbox", "and one more" }

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n") do lines[#lines + 1] = line end -- a last one without its end was cut off
  return lines
end

-- What is said in a stream, sentence by sentence, sorted: which message comes first is a matter of time.
local function sentences_of(tokens)
  local list, words = {}, {}
  for _, token in ipairs(tokens) do
    if token == "." then
      list[#list + 1], words = table.concat(words, " "), {}
    else
      words[#words + 1] = token
    end
  end
  table.sort(list)
  return list
end

describe("the chat agent", function()
  for title, story in pairs(support.stories "examples/chat_agent.lua") do
    it(title, function()
      local text = story()
      local lines = lines_of(text)
      table.sort(lines)
      assert.same({
        "agent:\tGOOD MORNING .", "agent:\tGOOD NIGHT .", "agent:\tHOW ARE YOU .", "asked:\thow are you", "turns:\t3",
      }, lines)
    end)
  end

  it("W140 W141 W142 W143 W164 says each thing once, whatever is killed; readers go on where they were", function()
    local directory, group, random, seed = support.killing("AGENT_SEED", finally)
    local db, inbox, serial = directory .. "/agent.db", directory .. "/inbox", 0
    local function spawn(...)
      serial = serial + 1
      local output = ("%s/out%d"):format(directory, serial)
      return { pid = group:spawn(output, "examples/chat_agent.lua", ...), output = output }
    end
    local function finish(...)
      local process = spawn(...)
      assert.equal(0, group:wait_for(process.pid, 120 * pace), ("seed %d: %s"):format(seed, read(process.output)))
    end
    local file = assert(io.open(inbox, "w"))
    file:write(table.concat(INBOX, "\n"), "\n")
    file:close()

    local worker = spawn("--work", db, inbox) -- the agent has to be there before anybody speaks to it
    local path = spawn("--read", db, 0).output
    assert(processes.eventually(60 * pace, function()
      if read(path):find("there is no pipeline", 1, true) then path = spawn("--read", db, 0).output end
      return #lines_of(read(path)) > 0
    end), read(worker.output) .. read(path))
    group:wait_for(worker.pid, 0.001) -- is killed
    finish("--say", db, table.unpack(TEXTS))

    local tokens, is_over = {}, false
    local function take(reader)
      for _, line in ipairs(lines_of(read(reader.output))) do
        if line == "end" then
          is_over = true
          return
        end
        local n, token = line:match("^(%d+)\t(.*)$")
        assert(n, ("seed %d: %s"):format(seed, line))
        assert.equal(#tokens, tonumber(n), "seed " .. seed)
        tokens[#tokens + 1] = token
      end
    end
    for round = 1, 10 do
      local reader = spawn("--read", db, #tokens)
      worker = spawn("--work", db, inbox)
      local is_last = round == 10
      if is_last then
        assert(processes.eventually(120 * pace, function()
          local _, said = read(reader.output):gsub("\t%.\n", "")
          local _, before = table.concat(tokens, "\n"):gsub("%.", "")
          return said + before >= #TEXTS + #INBOX
        end), ("seed %d: %s%s"):format(seed, read(worker.output), read(reader.output)))
        finish("--stop", db)
        assert.equal(0, group:wait_for(worker.pid, 120 * pace), read(worker.output))
        assert.equal(0, group:wait_for(reader.pid, 120 * pace), read(reader.output))
      else
        group:wait_for(worker.pid, (40 + random(200)) / 1000)
        group:wait_for(reader.pid, random(30) / 1000)
      end
      take(reader)
    end
    assert.is_true(is_over)
    local expected = {}
    for _, text in ipairs(TEXTS) do expected[#expected + 1] = text:upper() end
    for _, text in ipairs(INBOX) do expected[#expected + 1] = text:upper() end
    table.sort(expected)
    assert.same(expected, sentences_of(tokens), "seed " .. seed)
    assert.match("turns\t" .. #expected, read(worker.output))
  end)
end)
