-- Journals that earlier versions have written are replayed by this one, and give the same.

local kept = require "spec.durable.kept"
local pipeline = require "pipeline"

local function bytes(hex)
  return hex and (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function entries_of(journal)
  local list = {}
  for i, item in ipairs(journal.entries) do
    local entry = {}
    for name, value in pairs(item) do entry[name] = name == "value" and bytes(value) or value end
    list[i] = entry
  end
  return list
end

describe("a journal that is kept", function()
  local pipe <close> = assert(io.popen("ls spec/durable/journals"))
  for file in pipe:lines() do
    local name = file:match("^(.*)%.lua$")
    it("W71 W20 W35 W67 W97 W123 W150 is replayed: " .. name, function()
      local journal = require("spec.durable.journals." .. name)
      local engine <close> = pipeline.open(":memory:", {
        virtual_time = true, virtual_start = 1e9 + 2000, log = function() end,
      })
      local methods = getmetatable(engine._core).__index
      local journal_get, asked = methods.journal_get, false
      finally(function() methods.journal_get = journal_get end)
      methods.journal_get = function(core, id, given)
        if asked then return journal_get(core, id, given) end
        asked = true
        if (journal.cancel or 0) > 0 then core:abort(id, "it is not wanted", false) end
        local flow, _, news = journal_get(core, id, given)
        flow.seed, flow.next, flow.created = bytes(journal.seed), journal.next, journal.created
        flow.cancel = journal.cancel or 0
        return flow, entries_of(journal), news
      end
      kept.undone = {}
      local stage = kept.classes[journal.class or "all"]():start()
      assert.equal(journal.output, kept.output(engine, stage))
    end)
  end
end)
