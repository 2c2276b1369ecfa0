-- examples/reminders.lua: tells its story, and asks and is answered once while its processes are killed at random.

local pace = require "spec.support.pace"
local processes = require "spec.crash.processes"
local support = require "spec.examples.support"

local read = support.read


-- The status of what is behind a URL; 0: nobody answers.
local function status_of(url)
  local pipe = assert(io.popen(("curl -s -m 10 -o /dev/null -w '%%{http_code}' '%s'"):format(url)))
  local code = tonumber(pipe:read("a"))
  pipe:close()
  return code
end

describe("the approval with reminders", function()
  for title, story in pairs(support.stories "examples/reminders.lua") do
    it(title, function()
      local text = story()
      local _, mails = text:gsub("mail to ada@example.org: a new chair%?\n", "")
      assert(mails >= 3, text)
      assert.match("approved\nshe was reminded\n$", text)
    end)
  end

  it("W13 W72 W85 W164 asks once for each reminder, and takes an answer once, whatever is killed", function()
    local directory, group, random, seed = support.killing("REMINDERS_SEED", finally)
    local db, port = directory .. "/request.db", 20000 + seed % 20000
    local function mails() return read(db .. ".mails") end
    local function work(round)
      return group:spawn(("%s/work%d"):format(directory, round), "examples/reminders.lua", "--work", db, port)
    end
    for round = 1, 6 do
      local pid = work(round)
      group:wait_for(pid, (100 + random(600)) / 1000)
    end
    local pid = work(7)
    local function said() return ("seed %d: %s"):format(seed, read(directory .. "/work7")) end
    assert(processes.eventually(60 * pace, function() return mails():find("ask#2 ", 1, true) end), said())
    local yes, no = mails():match("ask#1 %S+ (%S+) (%S+)")
    assert(processes.eventually(60 * pace, function() return status_of(yes) == 200 end), said())
    local late = status_of(no) -- the same nonce: it does not count, if anybody is there to say so
    assert(late == 200 or late == 409 or late == 0, said())
    assert.equal(0, group:wait_for(pid, 60 * pace), said())
    assert.equal("approved\n", read(directory .. "/work7"), "seed " .. seed)
    local keys = {}
    for key in mails():gmatch("(%S+) ada@") do
      assert.is_nil(keys[key], "seed " .. seed)
      keys[key] = true
    end
  end)
end)
