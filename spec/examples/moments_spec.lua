-- The examples of durable functions, killed before and after their commits and effects: once, twice, and of three
-- processes two. A selection; MOMENTS=1 takes every moment.

local pace = require "spec.support.pace"
local processes = require "spec.crash.processes"

local STRIDE <const> = tonumber(os.getenv("MOMENTS"))

local directory, group, serial -- serial: of files

local function read(path)
  local file <close> = io.open(path)
  return file and file:read("a") or ""
end

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line:gsub(" %(saga.*", "") end
  return lines
end

-- A process that dies at an event of its own. Fields: pid, output, events (paths).
local function spawn(at, program, ...)
  serial = serial + 1
  local base = ("%s/%d"):format(directory, serial)
  local process = { output = base .. ".out", events = base .. ".events" }
  process.pid = group:spawn(process.output, "spec/examples/dying.lua", at, process.events, program, ...)
  return process
end

-- Waits until it has died, or ended well.
local function wait(process)
  local code = group:wait_for(process.pid, 120 * pace)
  assert(code == 0 or code == 137, ("code %s: %s"):format(tostring(code), read(process.output)))
  return process
end

local function finish(process)
  assert.equal(0, group:wait_for(process.pid, 120 * pace), read(process.output))
  return process
end

-- Processes one after the other, or beside each other; the last lives. `begin`: function(at) -> process. Returns the
-- last.
local function lives(begin, crashes, is_beside)
  local list = {}
  for i, at in ipairs(crashes) do
    list[i] = begin(at)
    if is_beside and i == 1 then
      processes.eventually(5 * pace, function() return read(list[1].events) ~= "" end) -- who is first starts it
    elseif not is_beside then
      wait(list[i])
    end
  end
  local last = begin(0)
  for _, process in ipairs(is_beside and list or {}) do wait(process) end
  return last
end

-- Calls try(crashes, is_beside) for the moments of a program that has so many events.
local function all_moments(events, stride, try)
  stride = STRIDE or stride
  for at = 1 + events % stride, events, stride do try({ at }, false) end
  for at = 2, events, 3 * stride do try({ at, 1 + at % 7 }, false) end
  for at = 3, events, 3 * stride do try({ at, 1 + events - at }, true) end
end

describe("an example that is killed at its commits and effects", function()
  setup(function()
    directory, serial = processes.directory(), 0
    group = processes.group(directory)
  end)
  teardown(function()
    group:close()
    os.execute("rm -rf " .. processes.quote(directory))
  end)

  it("W13 W57 W96 W123 W164 the order saga books each amount once, and undoes what has to be", function()
    local function try(crashes, is_beside)
      serial = serial + 1
      local bank, books = ("%s/bank%d"):format(directory, serial), ("%s/books%d"):format(directory, serial)
      local db = ("%s/orders%d.db"):format(directory, serial)
      local pid = group:spawn(bank, "examples/order_saga.lua", "--bank", 0, books)
      assert(processes.eventually(60 * pace, function() return read(bank):find("bank at %S+\n") end), read(bank))
      local url = read(bank):match("bank at (%S+)")
      local last = finish(lives(function(at)
        return spawn(at, "examples/order_saga.lua", "--work", db, url, 2)
      end, crashes, is_beside))
      group:kill(pid)
      local label = "killed at " .. table.concat(crashes, ", ") .. (is_beside and ", beside each other" or "")
      assert.same({
        "order 1: parcel with book, receipt charge#1",
        'order 2: AbortedError: saga.Ship("piano") was aborted: nobody can carry a piano',
      }, lines_of(read(last.output)), label)
      local booked = {}
      for what, cents, key in read(books):gmatch("(%w+) (%-?%d+) ([^\n]+)") do
        assert.is_nil(booked[key], label)
        booked[key] = true
        booked[what .. cents] = (booked[what .. cents] or 0) + 1
      end
      assert.same({ 1, 1, 1 }, { booked.charge100, booked.charge200, booked["refund-200"] }, label)
      assert.is_nil(booked["refund-100"], label)
      return #read(last.events)
    end
    all_moments(try({}, false), 7, try)
  end)

  it("W13 W72 W85 W164 the approval is asked for once in each round, and answered once", function()
    local function try(crashes)
      serial = serial + 1
      local db, port = ("%s/request%d.db"):format(directory, serial), 20000 + (serial * 37 + os.time()) % 30000
      local function begin(at) return spawn(at, "examples/reminders.lua", "--work", db, port) end
      -- She follows the link of the second mail, until somebody answers her.
      local yes, is_answered = nil, false
      local function follow()
        yes = yes or read(db .. ".mails"):match("ask#2 %S+ (%S+)")
        local pipe = yes and not is_answered
          and io.popen(("curl -s -m 5 -o /dev/null -w '%%{http_code}' '%s'"):format(yes))
        if not pipe then return end
        is_answered = pipe:read("a") == "200"
        pipe:close()
      end
      local function is_over(process)
        follow()
        local state = group:state(process.pid)
        return state == nil or state == "Z"
      end
      local label, last = "killed at " .. table.concat(crashes, ", "), nil
      for i = 1, #crashes + 1 do
        last = begin(crashes[i] or 0)
        assert(processes.eventually(60 * pace, function() return is_over(last) end), label .. read(last.output))
        if crashes[i] then wait(last) else finish(last) end
      end
      assert.equal("approved\n", read(last.output), label)
      local keys = {}
      for key in read(db .. ".mails"):gmatch("(%S+) ada@") do
        assert.is_nil(keys[key], label)
        keys[key] = true
      end
      return #read(last.events)
    end
    all_moments(try {}, 9, try) -- not beside each other: they answer at one port
  end)

  it("W140 W142 W143 W164 the agent says each thing once", function()
    local texts = { "good morning", "how are you", "good night" }
    local inbox = directory .. "/inbox"
    write(inbox, "from the inbox\n")
    local function try(crashes, is_beside)
      serial = serial + 1
      local db = ("%s/agent%d.db"):format(directory, serial)
      local function begin(at) return spawn(at, "examples/chat_agent.lua", "--work", db, inbox) end
      local function said(...) finish(spawn(0, "examples/chat_agent.lua", ...)) end
      local is_said = false
      local last = lives(function(at)
        local process = begin(at)
        if not is_said then -- when the agent is there
          is_said = processes.eventually(60 * pace, function() return read(process.events) ~= "" end)
          said("--say", db, table.unpack(texts))
        end
        if at == 0 then said("--stop", db) end
        return process
      end, crashes, is_beside)
      finish(last)
      local label = "killed at " .. table.concat(crashes, ", ") .. (is_beside and ", beside each other" or "")
      local reader = finish(spawn(0, "examples/chat_agent.lua", "--read", db, 0))
      local words, sentences = {}, {}
      for token in read(reader.output):gmatch("%d+\t(%S+)\n") do
        if token == "." then
          sentences[#sentences + 1], words = table.concat(words, " "), {}
        else
          words[#words + 1] = token
        end
      end
      table.sort(sentences)
      local list = {}
      for _, sentence in ipairs(sentences) do
        if sentence ~= "FROM THE INBOX" then list[#list + 1] = sentence end -- it is stopped before, or after that
      end
      assert.same({ "GOOD MORNING", "GOOD NIGHT", "HOW ARE YOU" }, list, label)
      assert.is_true(#sentences <= 4, label)
      return #read(last.events)
    end
    all_moments(try({}, false), 9, try)
  end)
end)
