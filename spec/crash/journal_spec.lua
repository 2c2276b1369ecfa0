-- The reader of schedules itself: it finds nothing in a sound log and file, and everything that must never be in those
-- that have it.

local journal = require "spec.crash.journal"
local spec = require "pipeline.schedule.spec"

local function rule(given)
  given.anchor = given.every and 0
  return (spec.encode(spec.times(given, 0)):gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

local EVERY = rule { every = 1 }
local ALL = rule { every = 1, catch_up = { policy = "all", window = "60d", limit = 2 } }
local OTHER = rule { every = 2 }
local TWICE = rule { every = 1, max_fires = 2 }
local FAILS = rule { every = 1, pause_on_failure = 2 }

-- A made schedule, "s" with the id 7, whose next time is 10 s.
local function made(times) return "set|1|7|0|10000000|0|0|0|" .. (times or EVERY) .. "|s;settled|1|ok|;" end
local MADE = made()

-- Seconds are written as such in what follows, with an s.
local function seconds(text) return (text:gsub("(%d+)s", "%1000000")) end

-- It moves on by an op of one fire, of which the answer is told or not.
local function fire(op, revision, nominal, outcome)
  return seconds(("fire|%d|7|%d|%ds|%ds|%ds|0;shot|%d|%d|%ds|schedule;%s"):format(op, revision, nominal, nominal + 1,
    nominal, op, op + 100, nominal, outcome and ("settled|%d|%s|%s;"):format(op, outcome,
    outcome == "ok" and "started" or "") or ""))
end

-- What the file has: the schedule at this revision, next and last time, with so many that have fired; and its fires.
local function row(revision, next_time, last, fired, more)
  return seconds(("schedule|7|%d|%ds|%ds|0|%d|0|0|0|0|0|0|0;%s"):format(revision, next_time, last, fired, more or ""))
end
local function fired(id, nominal, state) return seconds(("made|%d|7|%ds|0|%d;"):format(id, nominal, state or 2)) end

local function read(log, file, entries)
  local book = journal.new()
  for line in log:gmatch("[^;]+") do
    local words = {}
    for word in (line .. "|"):gmatch("([^|]*)|") do words[#words + 1] = word end
    assert(book:read(table.unpack(words)), line)
  end
  for line in file:gmatch("[^;]+") do book:read_file(line) end
  return book:finish(entries)
end

describe("the journal", function()
  local sound = {
    ["a schedule that fires"] = { MADE .. fire(2, 1, 10, "ok") .. fire(3, 2, 11, "ok"),
      row(3, 12, 11, 2, fired(102, 10) .. fired(103, 11)) },
    ["two that try"] = { MADE .. fire(2, 1, 10, "ok") .. fire(3, 1, 10, "ESTALE"), row(2, 11, 10, 1, fired(102, 10)) },
    ["one that was killed before it heard that it had fired"] = { MADE .. fire(2, 1, 10) .. fire(3, 2, 11, "ok"),
      row(3, 12, 11, 2, fired(102, 10) .. fired(103, 11)) },
    ["one that was killed before it had fired"] = { MADE .. fire(2, 1, 10) .. fire(3, 1, 10, "ok"),
      row(2, 11, 10, 1, fired(103, 10)) },
    ["one that nobody lived to hear of"] = { "set|1|7|0|10000000|0|0|0|" .. EVERY .. "|s", "" },
    ["a pause, and the end of it"] = { MADE .. seconds("set|2|7|1|10s|0|1|0|" .. EVERY
      .. "|s;settled|2|ok|;set|3|7|2|13s|12s|0|3|" .. EVERY .. "|s;settled|3|ok|"),
      seconds("schedule|7|3|13s|12s|0|0|0|0|0|0|3|0|0") },
    ["a rule that was changed"] = { MADE .. seconds("set|2|7|1|5s|0|0|0|" .. OTHER .. "|s;settled|2|ok|"),
      row(2, 5, 0, 0) },
    ["what was missed"] = { made(ALL) .. seconds("fire|2|7|1|10s|20s|19s|8;shot|2|102|18s|catch_up;"
      .. "shot|2|103|19s|catch_up;settled|2|ok|started,skipped"),
      seconds("schedule|7|2|20s|19s|0|0|1|0|0|1|0|8|0;made|102|7|18s|1|2;made|103|7|19s|1|4") },
    ["a fire by hand"] = { MADE .. "fire|2|7|0|0|0|0|0;shot|2|102|9500000|trigger;settled|2|ok|started",
      "schedule|7|1|10000000|0|0|0|0|1|0|0|0|0|0;made|102|7|9500000|2|2" },
    ["a pause for failures"] = { made(FAILS) .. fire(2, 1, 10, "ok") .. seconds("set|3|7|3|11s|10s|0|0|" .. FAILS
      .. "|s;settled|3|ok|"), row(4, 11, 10, 1, fired(102, 10, 3)) },
    ["a schedule of as many fires as it may have"] = { made(TWICE) .. fire(2, 1, 10, "ok") .. fire(3, 2, 11, "ok"),
      row(3, 0, 11, 2, fired(102, 10) .. fired(103, 11)) },
    ["a schedule that was deleted, and another one"] = { MADE .. "unset|3|s;settled|3|ok|;set|4|8|0|10000000|0|0|0|"
      .. EVERY .. "|s;settled|4|ok|", "schedule|8|1|10000000|0|0|0|0|0|0|0|0|0|0" },
    ["a schedule that was deleted"] = { MADE .. fire(2, 1, 10, "ok") .. "unset|3|s;settled|3|ok|", "" },
  }
  for title, case in pairs(sound) do
    it("finds nothing wrong with " .. title, function() assert.same({}, read(case[1], case[2])) end)
  end

  local wrong = {
    ["two that fire for one time"] = { MADE .. fire(2, 1, 10, "ok") .. fire(3, 1, 10, "ok"),
      row(2, 11, 10, 2, fired(102, 10) .. fired(103, 10)), "two changes came through for the revision 1" },
    ["a fire that was refused, and is there"] = { MADE .. fire(2, 1, 10, "ok") .. fire(3, 1, 10, "ESTALE"),
      row(2, 11, 10, 1, fired(102, 10) .. fired(103, 10)), "was refused, and is there" },
    ["a fire that is lost"] = { MADE .. fire(2, 1, 10, "ok"), row(2, 11, 10, 1), "was acknowledged, and is lost" },
    ["a time that is fired for again"] = { MADE .. fire(2, 1, 10, "ok") .. seconds("set|4|7|2|10s|0|0|0|" .. OTHER
      .. "|s;settled|4|ok|;") .. fire(3, 3, 10, "ok"), row(4, 11, 10, 2, fired(102, 10) .. fired(103, 10)),
      "fired for 10000000 (schedule) after it had for 10000000" },
    ["a next time that went back"] = { MADE .. seconds("set|2|7|1|9s|0|0|0|" .. EVERY .. "|s;settled|2|ok|"),
      row(2, 9, 0, 0), "its next time went from 10000000 back to 9000000" },
    ["a next time that went back when another thing was changed"] = { MADE .. seconds("set|2|7|1|9s|0|0|0|" .. ALL
      .. "|s;settled|2|ok|"), row(2, 9, 0, 0), "its next time went from 10000000 back to 9000000" },
    ["a time that is left out"] = { MADE .. seconds("fire|2|7|1|10s|12s|11s|0;shot|2|102|11s|schedule;"
      .. "settled|2|ok|started"), row(2, 12, 11, 1, fired(102, 11)), "1 of the 2 times from 10000000 on fired" },
    ["a missed time that is not counted"] = { MADE .. seconds("fire|2|7|1|10s|20s|19s|8;shot|2|102|19s|catch_up;"
      .. "settled|2|ok|started"), seconds("schedule|7|2|20s|19s|0|0|1|0|0|0|0|8|0;made|102|7|19s|1|2"),
      "of 10 times 1 were made up for and 8 missed" },
    ["a missed time that should have been made up for"] = { made(ALL) .. seconds("fire|2|7|1|10s|20s|19s|9;"
      .. "shot|2|102|19s|catch_up;settled|2|ok|started"),
      seconds("schedule|7|2|20s|19s|0|0|1|0|0|0|0|9|0;made|102|7|19s|1|2"),
      "1 of 10 missed times made up for, and not 2" },
    ["more that is made up for than may be"] = { MADE .. seconds("fire|2|7|1|10s|20s|19s|8;shot|2|102|18s|catch_up;"
      .. "shot|2|103|19s|catch_up;settled|2|ok|started,started"),
      seconds("schedule|7|2|20s|19s|0|0|2|0|0|0|0|8|0;made|102|7|18s|1|2;made|103|7|19s|1|2"),
      "2 missed times made up for, more than 1" },
    ["an older time that is made up for"] = { MADE .. seconds("fire|2|7|1|10s|20s|19s|9;shot|2|102|12s|catch_up;"
      .. "settled|2|ok|started"), seconds("schedule|7|2|20s|19s|0|0|1|0|0|0|0|9|0;made|102|7|12s|1|2"),
      "it was not the latest" },
    ["a time that is none"] = { MADE .. seconds("fire|2|7|1|10s|11s|10s|0;shot|2|102|10500000|schedule;"
      .. "settled|2|ok|started"), "schedule|7|2|11000000|10000000|0|1|0|0|0|0|0|0|0;made|102|7|10500000|0|2",
      "which is none of its times" },
    ["what fires in a pause"] = { MADE .. seconds("set|3|7|1|10s|0|1|0|" .. EVERY .. "|s;settled|3|ok|;")
      .. fire(2, 2, 10, "ok"), row(3, 11, 10, 1, fired(102, 10)), "while it was paused" },
    ["a pause that is not counted"] = { MADE .. seconds("set|3|7|1|13s|12s|0|2|" .. EVERY .. "|s;settled|3|ok|"),
      row(2, 13, 12, 0), "3 times of a pause, but 2 counted" },
    ["counts that are wrong"] = { MADE .. fire(2, 1, 10, "ok"), row(2, 11, 10, 2, fired(102, 10)),
      "fired is 2, but it was 1" },
    ["a next time that nobody has set"] = { MADE .. fire(2, 1, 10, "ok"), row(2, 12, 10, 1, fired(102, 10)),
      "its next time is 12000000, and not 11000000" },
    ["a change that nobody has made"] = { MADE .. fire(2, 2, 10, "ok"), row(3, 11, 10, 1, fired(102, 10)),
      "nobody has made the change of the revision 1" },
    ["a schedule that is lost"] = { MADE, "", "it was made, and is lost" },
    ["a schedule that was refused"] = { "set|1|7|0|10000000|0|0|0|" .. EVERY .. "|s;settled|1|ESTALE|",
      row(1, 10, 0, 0), "it was not made, and is there" },
    ["a schedule that was deleted"] = { MADE .. "unset|3|s;settled|3|ok|", row(1, 10, 0, 0),
      "it was deleted, and is there" },
    ["more fires than it may have"] = { made(TWICE) .. fire(2, 1, 10, "ok") .. fire(3, 2, 11, "ok")
      .. fire(4, 3, 12, "ok"), row(4, 0, 12, 3, fired(102, 10) .. fired(103, 11) .. fired(104, 12)),
      "it went on after the last of 2 fires" },
    ["a schedule that nobody made"] = { "", row(1, 10, 0, 0), "nobody has made it" },
    ["a fire by hand that is lost"] = { MADE .. "fire|2|7|0|0|0|0|0;shot|2|102|9500000|trigger;settled|2|ok|started",
      row(1, 10, 0, 0), "was acknowledged, and is lost" },
    ["more dropped than given up"] = { MADE, "schedule|7|1|10000000|0|0|0|0|0|0|0|0|0|1", "1 dropped, but 0 given up" },
  }
  for title, case in pairs(wrong) do
    it("finds " .. title, function()
      local found = table.concat(read(case[1], case[2]), "\n")
      assert(found:find(case[3], 1, true), ("'%s' was not found by: %s"):format(case[3], found))
    end)
  end

  it("compares what fired with what was executed", function()
    local log, file = MADE .. fire(2, 1, 10, "ok"), row(2, 11, 10, 1, fired(102, 10))
    assert.same({}, read(log, file, { ["s:s:10"] = { done = true } }))
    assert.same({ "s:s:10 is done, but it was not executed" }, read(log, file, {}))
    assert.same({ "s:s:11 was executed, but nothing has fired" },
      read(log, file, { ["s:s:10"] = { done = true }, ["s:s:11"] = {} }))
    log = log:gsub("started", "skipped")
    assert.same({ "s:s:10 was executed, but it was skipped" }, read(log, seconds(
      "schedule|7|2|11s|10s|0|0|0|0|0|1|0|0|0;made|102|7|10s|0|4"), { ["s:s:10"] = { done = true } }))
  end)

  it("does not know every verb", function() assert.is_false(journal.new():read("begin", "1")) end)
end)
