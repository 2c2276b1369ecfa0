-- The reader of logs itself: it finds nothing in a sound log, and everything that must never be in one that has it.

local ledger = require "spec.crash.ledger"

local RULES = { limits = { strict = 1 }, rates = { rated = { rate = 10, bucket = 2 } }, tombstone = 5 }

local function read(lines, rules)
  local book = ledger.new(rules or RULES)
  for line in lines:gmatch("[^\n;]+") do
    local words = {}
    for word in (line:match("^%s*(.-)%s*$") .. "|"):gmatch("([^|]*)|") do words[#words + 1] = word end
    if words[1] ~= "" then assert(book:read(table.unpack(words)), line) end
  end
  return book:finish()
end

-- Lines that many logs have.
local ADD = "opened|100;will|k|work|ok|;added|k|task-1|100.1;"
local DO, OK, FAIL = "do|k|work|7|-|100.2;", "did|k|7|-|ok|100.3;", "did|k|7|-|fail|100.3;"
local DYING = "opened|100;will|k|work|hopeless|;added|k|task-1|100.1;" .. DO .. FAIL
local PULL = "opened|100;will|k|pull|ok|;added|k|task-1|100.1;"
local NAMED = "opened|100;will|k|work|ok|n;added|k|n|100.1;"

describe("the ledger", function()
  local sound = {
    ["a task that is done"] = ADD .. DO .. OK,
    ["a task that fails and is done"] = ADD .. DO .. FAIL .. DO .. OK,
    ["a task begun by a process that was killed"] = ADD .. DO .. "kill|7;do|k|work|8|-|101;did|k|8|-|ok|102",
    ["a task done by a process that was killed before it could say so"] =
      ADD .. DO .. OK .. "kill|7;do|k|work|8|-|101;did|k|8|-|ok|102",
    ["a task whose target was killed"] =
      ADD .. "do|k|work|7|9|100.2;kill|9;do|k|work|7|10|101;did|k|7|10|ok|102",
    ["a process that stood still"] =
      ADD .. DO .. "stop|7;do|k|work|8|-|101;did|k|8|-|ok|102;cont|7;did|k|7|-|ok|103",
    ["a request of a process that was killed"] = ADD .. DO .. OK .. "unsigned|k|7;kill|7",
    ["an end that came too late"] = ADD .. "stop|7;stale|7|task-1;" .. DO .. OK,
    ["the end of a task that was purged"] = ADD .. DO .. OK .. "willdrop|work|7;kill|7;stale|7|task-1;stale|7|task-5",
    ["an addition nobody acknowledged"] = "opened|100;will|k|work|ok|",
    ["a dead task"] = DYING .. "dead|task-1|work|Error|3;stats|work|0|0|1|1",
    ["a task that was purged"] = ADD .. "willdrop|work|7;dropped|work|7",
    ["a task that was added while others purged"] = "willdrop|work|7;" .. ADD .. "dropped|work|7",
    ["a task that was added while others deleted its name"] = "willdelete|n|7;" .. NAMED .. "diddelete|n|7",
    ["a task that was deleted"] = NAMED .. "willdelete|n|7;diddelete|n|7",
    ["a name used again, late enough"] = NAMED .. DO .. OK .. "will|l|work|ok|n;added|l|n|105.4;do|l|work|7|-|106;"
      .. "did|l|7|-|ok|106",
    ["leases one after the other"] = PULL .. "leased|k|7|101|102;leased|k|8|102.1|103;handled|k|8|102.5;"
      .. "deleted|k|true|105;stats|pull|0|0|1|0",
    ["a lease that is told of after the deletion that came after it"] = PULL .. "leased|k|7|101|102;handled|k|7|101.5;"
      .. "deleted|k|true|103;leased|k|8|102.5|104",
    ["a lease that was given back"] = PULL .. "leased|k|7|101|102;willmodify|k|7;modified|k|7|101.5|101.5;"
      .. "leased|k|8|101.6|103;handled|k|8|102;deleted|k|true|105",
    ["a lease of a process that was killed giving it back"] =
      PULL .. "leased|k|7|101|102;willmodify|k|7;kill|7;leased|k|8|101.6|103;handled|k|8|102;deleted|k|true|105",
  }
  for title, lines in pairs(sound) do
    it("finds nothing wrong with " .. title, function() assert.same({}, read(lines)) end)
  end

  local wrong = {
    ["a task that is lost"] = { ADD, "was acknowledged, and is lost" },
    ["a task that only failed"] = { ADD .. DO .. FAIL, "was acknowledged, and is lost" },
    ["a task executed by two"] = { ADD .. DO .. "do|k|work|8|-|100.3;" .. OK, "while 7 was at it" },
    ["a task executed again"] = { ADD .. DO .. OK .. "do|k|work|8|-|101;did|k|8|-|ok|102", "after 7 had done it" },
    ["a task begun again by who stood still"] = -- others must not begin it because of that
      { ADD .. "stop|9;" .. DO .. "do|k|work|8|-|100.3;" .. OK, "while 7 was at it" },
    ["a request that was refused without reason"] =
      { ADD .. DO .. OK .. "unsigned|k|7;kill|8", "the request of 7 for k was refused" },
    ["an end that was refused without reason"] =
      { ADD .. "stop|8;" .. DO .. OK .. "stale|7|task-1", "7 was refused the end of k, but it never stood still" },
    ["what was refused, and executed"] = { "opened|100;will|k|work|ok|n;refused|k|X;" .. DO .. OK, "was refused" },
    ["what was executed, and refused"] = { "opened|100;will|k|work|ok|n;" .. DO .. OK .. "refused|k|X", "was refused" },
    ["a task that died too soon"] = { ADD .. DO .. OK .. "dead|task-1|work|Error|1", "k (ok) is dead" },
    ["a dead task that is not listed"] = { DYING, "is not in the dead-letter list" },
    ["a dead task listed twice"] =
      { DYING .. "dead|task-1|work|Error|3;dead|task-1|work|Error|3", "twice in the dead-letter list" },
    ["a success of what always fails"] =
      { DYING .. DO .. OK .. "dead|task-1|work|Error|3", "but it always fails" },
    ["a name of two"] = { NAMED .. "will|l|work|ok|n;added|l|n|100.2;" .. DO .. OK
      .. "do|l|work|7|-|101;did|l|7|-|ok|102",
      "was given to l while k had it" },
    ["a name used again too soon"] = { NAMED .. DO .. OK .. "will|l|work|ok|n;added|l|n|101;do|l|work|7|-|102;"
      .. "did|l|7|-|ok|102", "was given to l 0.700 s after k was done" },
    ["more at once than the limit"] = { "opened|100;do|a|strict|7|-|101;do|b|strict|8|-|101;did|a|7|-|ok|102;"
      .. "did|b|8|-|ok|102", "queue strict: 2 at once, more than 1" },
    ["more started than the rate allows"] = { "opened|100;do|a|rated|7|-|100.05;do|b|rated|7|-|100.05;"
      .. "do|c|rated|7|-|100.05", "queue rated: 3 started within 0.050 s" },
    ["a lease of two"] = { PULL .. "leased|k|7|101|102;leased|k|8|101.5|103;handled|k|8|102;deleted|k|true|105",
      "was leased by 8 0.500000 s before the lease of 7 was over" },
    ["a lease of two, longer than it was"] = { PULL .. "leased|k|7|101|102;willmodify|k|7;modified|k|7|101.5|104;"
      .. "leased|k|8|103|105;handled|k|8|104;deleted|k|true|105", "before the lease of 7 was over" },
    ["a lease that moved when it was over"] = { PULL .. "leased|k|7|101|102;willmodify|k|7;modified|k|7|102.5|104;"
      .. "handled|k|7|103;deleted|k|true|105", "moved its lease 0.500000 s after it was over" },
    ["a lease that moved without being there"] = { PULL .. "modified|k|7|102.5|104;handled|k|7|103", "did not have" },
    ["a lease of what was deleted"] = { PULL .. "leased|k|7|101|102;handled|k|7|101.5;deleted|k|true|102;"
      .. "leased|k|8|103|104", "after it was deleted" },
    ["what was deleted twice"] = { PULL .. "leased|k|7|101|102;handled|k|7|101.5;deleted|k|true|105;deleted|k|true|105",
      "was deleted twice" },
    ["a lease of what was refused"] = { "will|k|pull|ok|n;refused|k|X;leased|k|7|101|102", "its addition was refused" },
    ["a pull task that nobody handled"] = { PULL .. "leased|k|7|101|102", "was acknowledged, and is lost" },
    ["statistics with tasks that are not there"] = { "stats|work|1|0|0|0", "statistics say 1 tasks, 0 in flight" },
    ["statistics of the dead"] = { "stats|work|0|0|0|2", "statistics say 2 dead, the list has 0" },
    ["statistics of what was executed"] =
      { ADD .. DO .. OK .. "stats|work|0|0|0|0", "say 0 executed, it was 1 at least" },
    ["a purge before the task was added"] =
      { "willdrop|work|7;dropped|work|7;willdrop|work|8;kill|8;" .. ADD, "was acknowledged, and is lost" },
  }
  for title, case in pairs(wrong) do
    it("finds " .. title, function()
      local found = table.concat(read(case[1]), "\n")
      assert(found:find(case[2], 1, true), ("'%s' was not found by: %s"):format(case[2], found))
    end)
  end

  it("does not know every verb", function() assert.is_false(ledger.new(RULES):read("begin", "1")) end)
end)
