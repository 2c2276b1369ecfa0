-- What the ledger of sagas in the crash run finds.

local sagas = require "spec.crash.sagas"

local function found_in(...)
  local ledger = sagas.new()
  for _, line in ipairs { ... } do
    local words = {}
    for word in (line .. "|"):gmatch("([^|]*)|") do words[#words + 1] = word end
    ledger:read(table.unpack(words))
  end
  return table.concat(ledger:finish(), "; ")
end

local ONE <const>, TWO <const> = "acted|s|1|s/do#1|7", "acted|s|2|s/do#2|7"
local UNDO_ONE <const>, UNDO_TWO <const> = "undid|s|1|s/~/do#1|7", "undid|s|2|s/~/do#2|7"

describe("the ledger of sagas", function()
  it("finds nothing where all is done once, and all of an aborted one undone, the newest first", function()
    assert.equal("", found_in(ONE, TWO, "result|s|2"))
    assert.equal("", found_in(ONE, TWO, UNDO_TWO, UNDO_ONE, "aborted|s", "result|s|aborted"))
    assert.equal("", found_in(ONE, "acted|s|part|c/open|7", "undid|s|part|c/~/open|7", "result|s|2"))
    assert.equal("", found_in(ONE)) -- whoever started it had no answer
  end)

  it("lets something be done or undone again when its process was killed or stopped, and only then", function()
    assert.equal("", found_in(ONE, "kill|7", "acted|s|1|s/do#1|8", "result|s|2"))
    assert.match("acted 1 of s by 8 after 7 had done it", found_in(ONE, "acted|s|1|s/do#1|8", "result|s|2"))
    assert.match("undid 1 of s by 8", found_in(ONE, UNDO_ONE, "undid|s|1|s/~/do#1|8", "result|s|aborted"))
  end)

  it("finds what was not undone, or too early, or in the wrong order, and an abort that is lost", function()
    assert.match("1 was never undone", found_in(ONE, "result|s|aborted"))
    assert.match("1 was undone before it was done", found_in(UNDO_ONE, ONE, "result|s|aborted"))
    assert.match("1 was undone before 2", found_in(ONE, TWO, UNDO_ONE, UNDO_TWO, "result|s|aborted"))
    assert.match("s: 1 was undone", found_in(ONE, UNDO_ONE, "result|s|2"))
    assert.match("its abort was acknowledged", found_in(ONE, "aborted|s", "result|s|2"))
  end)
end)
