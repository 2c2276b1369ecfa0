-- many_spec.lua: lists of a store with many roots: what is looked at for a page is bounded, and what is rare is found
-- all the same. How long they take among a million is what spec/bench/million.lua prints.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local ROOTS = 70000 -- more than two pages look at
local START = 1700000000

describe("C4 among many roots", function()
  local engine
  local Give = pipeline.define("many.Give", { run = function(_, value) return value end })
  local Async = pipeline.define("many.Async", { async = true, run = function() end })

  -- Rows as they are left by roots that are done, one in a thousand aborted; each was made a second after the one
-- before.
  local function fill(behind)
    sql.run(engine, ([[
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
      INSERT INTO pl_stage (id, root, state, flags, missing, open, queue, class_path, args, created, started, finalized,
        abort_message)
      SELECT %d - %d + i, %d - %d + i, CASE WHEN i %% 1000 = 0 THEN 6 ELSE 4 END, 0, 0, 0, 1, 'many.Old' || (i %% 7),
        x'80', (%d + i) * 1000000, 0, (%d + i) * 1000000, CASE WHEN i %% 1000 = 0 THEN 'jammed' END FROM n;]])
      :format(ROOTS, behind, ROOTS + 1, behind, ROOTS + 1, START, START))
  end

  local old, open, later

  setup(function()
    engine = helper.open { virtual_start = START + ROOTS + 10.0 }
    old = Give(1):start()
    open = Async():start()
    engine:drain()
    later = Give(2):start { countdown = 600 }
    fill(old._id)
  end)
  teardown(function()
    helper.finish()
    helper.clean()
  end)

  -- All that a filter finds, and in how many pages.
  local function all(filter)
    local found, pages, cursor = {}, 0, nil
    repeat
      filter.cursor, filter.limit = cursor, 1000
      local page = engine:list(filter)
      for _, entry in ipairs(page.items) do found[#found + 1] = entry end
      pages, cursor = pages + 1, page.cursor
    until not cursor
    return found, pages
  end

  it("a page looks at some, comes back short, and the next one goes on", function()
    local page = engine:list { text = "nowhere" }
    assert.same({}, page.items)
    assert.equal("string", type(page.cursor))
    local found, pages = all { text = "nowhere" }
    assert.same({ 0, 3 }, { #found, pages })
    local last = all { text = "many.old1", ["until"] = START + 50 }
    assert.equal("many.Old1", last[1].class)
  end)

  it("what is rare is found at once: by what it is doing, its class, or its time", function()
    assert.same({ open.id }, { engine:list({ state = "open" }).items[1].id })
    assert.same({ later.id }, { engine:list({ state = "delayed,ready,executing" }).items[1].id })
    local aborted = engine:list { state = "aborted", limit = 100 }
    assert.same({ ROOTS // 1000, nil }, { #aborted.items, aborted.cursor })
    assert.truthy(aborted.items[1].created > aborted.items[2].created)
    assert.equal("jammed", aborted.items[1].reason)
    local middle = engine:list { since = START + 30000, ["until"] = START + 30009, limit = 20 }
    assert.equal(10, #middle.items)
    assert.equal(START + 30009.0, middle.items[1].created)
    assert.equal(3, #engine:list({ class = "many.Old3", limit = 3 }).items)
    assert.equal(1, #engine:list({ class = "many.Give", state = "done" }).items)
  end)

  it("they are counted, those that are over to the end", function()
    local counts = engine:list_counts()
    assert.same({ ROOTS // 1000, ROOTS - ROOTS // 1000 + 1, 1, 1 },
      { counts.aborted, counts.done, counts.open, counts.delayed })
    assert.is_true(engine:list_counts({ text = "old" }).more)
    assert.same(1, engine:list_counts({ class = "many.Async" }).open)
  end)
end)
