-- examples/chat_agent.lua: tells its story; and says each thing once, to a reader in another process, while both are
-- killed at random.

local pace = require "spec.support.pace"
local processes = require "spec.crash.processes"

local LUA = os.getenv("LUA") or "lua5.4"
local TEXTS = { "good morning", "one two three four five", "how are you", "six seven eight", "good night" }
local INBOX = { "from the inbox", "and one more" }

local function read(path)
  local file = io.open(path)
  local text = file and file:read("a") or ""
  if file then file:close() end
  return text
end

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
  for _, environment in ipairs { "", "LUA_INIT='require \"spec.examples.failing\"' " } do
    it("tells its story" .. (environment ~= "" and ", also when each first attempt fails" or ""), function()
      local pipe = assert(io.popen(environment .. "timeout 120 " .. LUA .. " examples/chat_agent.lua 2>&1"))
      local lines = lines_of(pipe:read("a"))
      assert(pipe:close(), table.concat(lines, "\n"))
      table.sort(lines)
      assert.same({
        "agent:\tGOOD MORNING .", "agent:\tGOOD NIGHT .", "agent:\tHOW ARE YOU .", "asked:\thow are you", "turns:\t3",
      }, lines)
    end)
  end

  it("W140 W141 W142 W143 W164 says each thing once, whatever is killed; readers go on where they were", function()
    local seed = tonumber(os.getenv("AGENT_SEED")) or os.time()
    local directory = processes.directory()
    local group = processes.group(directory)
    finally(function()
      group:close()
      os.execute("rm -rf " .. processes.quote(directory))
    end)
    local db, inbox, serial = directory .. "/agent.db", directory .. "/inbox", 0
    local state = seed
    local function random(n)
      state = (state * 1103515245 + 12345) % 2147483648
      return (state >> 8) % n
    end
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
