-- The examples of schedules do what they say: over a year of virtual time with two changes of the clock, and as
-- programs that run until they are interrupted.

local http = require "socket.http"
local processes = require "spec.crash.processes"

local LUA = os.getenv("LUA") or "lua5.4"
local FAILING = "LUA_INIT='require \"spec.examples.failing\"'"
local NEW_YEAR, DAY = 1798761600, 86400 -- 2027-01-01T00:00:00Z

describe("an example of schedules", function()
  local directory, group, output
  before_each(function()
    directory = processes.directory()
    output = directory .. "/output"
    group = processes.group(directory)
  end)
  after_each(function()
    group:close()
    os.execute("rm -rf " .. processes.quote(directory))
  end)

  -- Runs it to its end; returns its lines, and all of it. What follows itself counts once: then it has said the same
  -- if the first attempt of everything fails.
  local function run(arguments, environment)
    local pipe = assert(io.popen(("2>/dev/null %s timeout 240 %s examples/%s"):format(environment or "", LUA,
      arguments)))
    local text = pipe:read("a")
    local ok, how, code = pipe:close()
    assert(ok, ("%s: %s %s\n%s"):format(arguments, how, tostring(code), text))
    local lines = {}
    for line in text:gmatch("[^\n]+") do
      if line ~= lines[#lines] then lines[#lines + 1] = line end
    end
    return lines, text
  end

  -- Starts it; returns its process and what the pattern finds in what it prints.
  local function start(pattern, ...)
    os.remove(output)
    local pid = group:spawn(output, ...)
    local found
    assert(processes.eventually(60, function()
      local file <close> = io.open(output)
      found = file and file:read("a"):match(pattern)
      return found
    end), "it does not say " .. pattern)
    return pid, found
  end

  local function stop(pid)
    group:signal(pid, "TERM")
    assert.equal(0, group:wait_for(pid, 60))
  end

  local function printed()
    local file <close> = assert(io.open(output))
    return file:read("a")
  end

  it("schedules: a year of reports; Berlin's is made once on both days on which its clocks are changed", function()
    local arguments = "schedules.lua --year --broken 2027-05-05"
    local lines, text = run(arguments)
    assert.same({
      "berlin at 2027-03-28T03:00:00+02:00", -- there is no 02:30
      "no report, due at 2027-05-06T06:00:00+09:00", "no report, due at 2027-05-06T02:30:00+02:00",
      "berlin at 2027-10-31T02:30:00+02:00", -- the first of two
      "639 reports", -- 365 + 260 + 12 + 4 of the pulse, which are of two days each, without those two
      "berlin next 2028-01-01T02:30:00+01:00 fired 365 missed 0 skipped 0",
      "month next 2028-01-31T07:00:00-05:00 fired 12 missed 0 skipped 0",
      "pulse next 2027-11-01T00:05:00+00:00 fired 576 missed 0 skipped 0",
      "tokyo next 2028-01-03T06:00:00+09:00 fired 260 missed 0 skipped 0",
    }, lines, text)
    assert.same(lines, (run(arguments, FAILING)))
  end)

  it("schedules: makes up for a week once, shows its page, and ends when it is told to", function()
    local arguments = { "examples/schedules.lua", "--port", "0", "--db", directory .. "/reports.db" }
    local pid, url = start("see (http://%S+)", table.unpack(arguments))
    local text = printed()
    local _, dues = text:gsub("berlin is due at 20%d%d%-%d%d%-%d%dT0[23]:[03]0:00%+0[12]:00, fires at 20", "")
    assert.equal(3, dues, text)
    local started, buffered = text:match("tokyo: started (%d+), buffered (%d+), fired before 0")
    local days = tonumber(started) + tonumber(buffered)
    assert.is_true(days >= 3 and days <= 5, text) -- one of them may be New Year
    local page
    assert(processes.eventually(60, function()
      local code
      page, code = http.request(url)
      return code == 200
    end))
    local names = {}
    for name, next_local in page:gmatch("(%a+) next (%S+) fired %d+ missed %d+ skipped %d+\n") do
      names[#names + 1] = name
      assert.truthy(next_local:find("^20%d%d%-"), page)
    end
    assert.same({ "berlin", "month", "pulse", "tokyo" }, names, page)
    stop(pid)
    start("see (http://%S+)", table.unpack(arguments))
    local again, fired = printed():match("tokyo: started (%d), buffered 0, fired before (%d)")
    assert.is_true(tonumber(again) <= 1 and tonumber(fired) >= days - 1, printed()) -- a day may have come meanwhile
  end)

  local function put(path, name, time)
    return ("touch -d @%d %s/%s\n"):format(time, processes.quote(path), name)
  end

  it("cleaner: a year of temporary files; none stays for longer than it may, none goes earlier", function()
    local files = directory .. "/files"
    local script = { "mkdir ", processes.quote(files), "\n" }
    for i = 0, 366 do script[#script + 1] = put(files, "day-" .. i, NEW_YEAR + i * DAY + 3 * 3600) end
    assert(os.execute(table.concat(script)))
    local lines, text = run("cleaner.lua " .. processes.quote(files) .. " --year", FAILING)
    -- 03:30 is 02:30 UTC in winter, 01:30 in summer: the newest file that has had its day is of the day before the last
    assert.same({ "2027-03-28T03:30:00+02:00: none left from before 2027-03-27T01:30:00Z",
      "2027-10-31T03:30:00+01:00: none left from before 2027-10-30T02:30:00Z",
      "cleaned 365 times, missed 0, skipped 0" }, lines, text)
    local pipe <close> = assert(io.popen("ls " .. processes.quote(files)))
    assert.equal("day-363\nday-364\nday-365\nday-366\n", pipe:read("a"))
  end)

  it("cleaner: says when it comes next, and ends when it is told to", function()
    assert(os.execute(put(directory, "old", 1000000000)))
    local pid, due = start("comes next at (%S+)", "examples/cleaner.lua", directory, "--zone", "Asia/Tokyo", "--hours",
      "1", "--db", directory .. "/cleaner.db")
    assert.truthy(due:find("T03:30:00+09:00", 1, true), due)
    stop(pid)
    assert(io.open(directory .. "/old")):close() -- its time had not come
  end)
end)
