-- What the ledger of durable functions in the crash run finds.

local mails = require "spec.crash.mails"

local function found_in(lines, left)
  local ledger = mails.new()
  for _, line in ipairs(lines) do
    local words = {}
    for word in (line .. "|"):gmatch("([^|]*)|") do words[#words + 1] = word end
    ledger:read(table.unpack(words))
  end
  return table.concat(ledger:finish(left or {}), "; ")
end

local sent = { "willnote|f|note-1-1.|1", "noted|f|note-1-1." }
local function after_sent(...)
  return table.move({ ... }, 1, select("#", ...), 3, { table.unpack(sent) })
end

describe("the ledger of durable functions", function()
  it("finds nothing where each effect is had once, and each note taken, or there", function()
    assert.equal("", found_in { "effect|f|f/work#1,1|1", "effect|f|f/work#2,1|2" })
    assert.equal("", found_in(after_sent "took|f|note-1-1.|f/took#1|2"))
    assert.equal("", found_in(sent, { "jnote-1-1." }))
    assert.equal("", found_in { "willnote|f|note-1-1.|1", "kill|1" })
  end)

  it("lets an effect be had again when its process was killed or stopped, and only then", function()
    assert.equal("", found_in { "effect|f|f/work#1,1|1", "kill|1", "effect|f|f/work#1,1|2" })
    assert.equal("", found_in { "effect|f|f/work#1,1|1", "stop|1", "effect|f|f/work#1,1|2" })
    assert.match("work#1,1 of f by 2 after 1 had done it",
      found_in { "effect|f|f/work#1,1|1", "effect|f|f/work#1,1|2" })
    assert.equal("", found_in { "effect|f|f/work#1,1|1", "effect|f|f/work#1,2|1" })
  end)

  it("finds notes that are lost, taken twice, or taken and still there", function()
    assert.match("was acknowledged, and is lost", found_in(sent))
    assert.match("was taken twice", found_in(after_sent("took|f|note-1-1.|f/took#1|2", "kill|2",
      "took|f|note-1-1.|f/took#2|3")))
    assert.match("was taken, and is there", found_in(after_sent("took|f|note-1-1.|f/took#1|2"), { "note-1-1." }))
    assert.match("is there twice", found_in(sent, { "note-1-1.", "note-1-1." }))
    assert.match("which was not sent to it", found_in { "took|f|note-1-1.|f/took#1|2" })
  end)
end)
