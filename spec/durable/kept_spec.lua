-- Journals that earlier versions have written are replayed by this one, and give the same.

local core = require "pipeline.core"
local durable_run = require "pipeline.durable.run"
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

-- As the store is given them.
local function children_of(journal)
  local list = {}
  for i, item in ipairs(journal.children or {}) do
    list[i] = { args = core.encode({}, 0, "argument") }
    for name, value in pairs(item) do list[i][name] = value end
  end
  return list[1] and list or nil
end

-- A run that has that journal in its store, before its body begins.
local function begin(engine, journal)
  local methods = getmetatable(engine._core).__index
  local journal_get, execute = methods.journal_get, durable_run.execute
  finally(function() methods.journal_get, durable_run.execute = journal_get, execute end)
  methods.journal_get = function(...)
    local flow, entries, news = journal_get(...)
    if flow then flow.seed, flow.created = bytes(journal.seed), journal.created end
    return flow, entries, news
  end
  durable_run.execute = function(at, claim, ...)
    durable_run.execute = execute
    assert(engine._core:journal(claim, {
      entries = entries_of(journal), next = journal.next, cancel = journal.cancel, children = children_of(journal),
    }))
    if (journal.cancel or 0) > 0 then engine._core:abort(claim.stage.id, "it is not wanted", false) end
    return execute(at, claim, ...)
  end
  return kept.classes[journal.class or "all"]():start()
end

describe("a journal that is kept", function()
  local pipe <close> = assert(io.popen("ls spec/durable/journals"))
  for file in pipe:lines() do
    local name = file:match("^(.*)%.lua$")
    it("W71 W20 W35 W67 W81 W97 W123 W134 W150 is replayed: " .. name, function()
      local journal = require("spec.durable.journals." .. name)
      local engine <close> = pipeline.open(":memory:", {
        virtual_time = true, virtual_start = 1e9 + 500, log = function() end, warm_runs = 0,
      })
      kept.undone = {}
      local stage = begin(engine, journal)
      engine:drain()
      local afterwards = kept.afterwards[journal.class]
      if afterwards then afterwards(engine, stage, engine:_id_text(journal.children[1].id)) end
      assert.equal(journal.output, kept.output(engine, stage))
    end)
  end
end)
