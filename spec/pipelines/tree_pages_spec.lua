-- tree_pages_spec.lua: trees that are read in pages: what is in them, what a reader costs the others, and the bounds.

local pace = require "spec.support.pace"
local core = require "pipeline.core"
local common = require "pipeline.common"
local json = require "pipeline.http.json"
local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local Leaf = pipeline.define("pages.Leaf", { run = function(_, value) return value end })
local Wide = pipeline.define("pages.Wide", {
  run = function(self, n, value)
    for _ = 1, n do self:spawn(Leaf(value)) end
  end,
})
-- Shape: how many children, each with the shape behind it.
local Shaped
Shaped = pipeline.define("pages.Shaped", {
  run = function(self, shape)
    for _, below in ipairs(shape) do self:spawn(Shaped(below)) end
    return #shape
  end,
})

describe("a tree in pages", function()
  after_each(helper.finish)
  teardown(helper.clean)

  -- All pages, put together: entries by id, ids in order, number of pages.
  local function read(id, options)
    local all, order, pages, cursor = {}, {}, 0, nil
    repeat
      local given = { cursor = cursor }
      for name, value in pairs(options) do given[name] = value end
      local page = pipeline.get_status_tree(id, given)
      pages = pages + 1
      assert(#page.order <= (options.limit or 1000))
      for _, own in ipairs(page.order) do
        assert.is_nil(all[own])
        all[own] = page.pipelines[own]
        order[#order + 1] = own
      end
      cursor = page.cursor
    until not cursor
    return all, order, pages
  end

  it("has every stage once, a parent before its children, as the whole tree has them", function()
    local engine = helper.open()
    local stage = Wide(120, "v"):start()
    engine:drain()
    local whole = pipeline.get_status_tree(stage.id)
    assert.is_nil(whole.cursor)
    assert.is_nil(whole.order)
    for _, limit in ipairs { 1, 7, 60, 121, 500 } do
      local all, order, pages = read(stage.id, { limit = limit })
      assert.equal(121, #order)
      assert.equal(math.ceil(121 / limit), pages)
      assert.equal(stage.id, order[1])
      for id, entry in pairs(all) do
        assert.equal(id ~= stage.id and stage.id or nil, entry.parentPipelineId)
        entry.parentPipelineId = nil
        if id ~= stage.id then assert.same(whole.pipelines[id], entry) end
      end
    end
    local page = pipeline.get_status_tree(stage.id, {})
    page.order = nil
    for _, entry in pairs(page.pipelines) do entry.parentPipelineId = nil end
    assert.same(whole, page)
  end)

  local function random_shape(levels)
    local shape = {}
    for i = 1, levels > 0 and math.random(0, 4) or 0 do shape[i] = random_shape(levels - 1) end
    return shape
  end

  it("has what is below a stage, so many levels of it, with counts of children", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    math.randomseed(seed)
    local engine = helper.open()
    local other = Leaf(1):start()
    local stage = Shaped { random_shape(5), random_shape(5), { {}, { {} } } }
    stage:start()
    engine:drain()
    local whole = pipeline.get_status_tree(stage.id).pipelines
    local function expected(id, depth, found, level)
      found[id] = true
      if level < depth then
        for _, child in ipairs(whole[id].children) do expected(child, depth, found, level + 1) end
      end
      return found
    end
    for id, entry in pairs(whole) do
      for _, depth in ipairs { 0, 1, 2, 9 } do
        local options = { parent = id, depth = depth < 9 and depth or nil, limit = math.random(1, 5) }
        local all = read(({ stage.id, id })[math.random(2)], options)
        local ids = {}
        for own, shown in pairs(all) do
          ids[own] = true
          assert(shown.childCount == #whole[own].children, "seed " .. seed)
        end
        assert.same(expected(id, depth, {}, 0), ids, "seed " .. seed)
      end
      assert.is_nil(entry.childCount)
    end
    local all = read(stage.id, { depth = 1, limit = 2 })
    assert.equal(3, all[stage.id].childCount)
    local problem = helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, stage.id,
      { parent = other.id })
    assert.truthy(problem.message:find("is not in the tree of", 1, true))
  end)

  it("of the engine counts no stage that the engine made itself, unless it failed", function()
    local engine = helper.open()
    Wide(3, "v"):start()
    engine:drain()
    local stage = helper.define(function(self) return { value = self:spawn(common.Return(1)) } end)():start()
    engine:drain()
    local total = 0
    for _ in pairs(pipeline.get_status_tree(stage.id).pipelines) do total = total + 1 end
    assert.equal(2, total)
    assert.equal(4 + total, engine:status().stages)
  end)

  it("shows keys, slots and hidden stages as the whole tree does", function()
    local engine = helper.open()
    local stage = Wide(3, "v"):start { idempotence_key = "my-key" }
    engine:drain()
    local page = pipeline.get_status_tree("my-key", { limit = 2 })
    assert.equal("my-key", page.rootPipelineId)
    assert.equal("my-key", page.order[1])
    page = pipeline.get_status_tree(stage.id, { limit = 2, cursor = page.cursor })
    assert.equal("my-key", page.rootPipelineId)
    for _, id in ipairs(page.order) do
      assert.equal("my-key", page.pipelines[id].parentPipelineId)
      local slot = page.slots[page.pipelines[id].outputs.default]
      assert.same({ "filled", "v", id }, { slot.status, slot.value, slot.fillerPipelineId })
    end
  end)

  it("refuses what it does not understand", function()
    local engine = helper.open()
    local stage = Leaf(1):start()
    engine:drain()
    for pattern, options in pairs {
      ["there is no pipeline nobody"] = { parent = "nobody" }, ["bad cursor"] = { cursor = "x" },
    } do
      local problem = helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, stage.id, options)
      assert.truthy(problem.message:find(pattern, 1, true), problem.message)
    end
    helper.misuse("option 'depth': integer, at least 0, expected", pipeline.get_status_tree, stage.id, { depth = -1 })
    helper.misuse("'limit'", pipeline.get_status_tree, stage.id, { limit = 0 })
    helper.misuse("depth", pipeline.get_status_tree, stage.id, { dept = 1 })
    helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, "nobody", {})
  end)

  it("is given whole up to 5,000 stages; beyond that the error says how to page", function()
    local engine = helper.open()
    local fits, large = Wide(4999, 1):start(), Wide(5000, 1):start()
    engine:drain()
    local tree = pipeline.get_status_tree(fits.id)
    assert.equal(4999, #tree.pipelines[fits.id].children)
    local problem = helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, large.id)
    assert.truthy(problem.message:find("has more than 5000 stages", 1, true), problem.message)
    assert.truthy(problem.message:find("get_status_tree(id, { limit = 1000, cursor =", 1, true), problem.message)
    local _, order, pages = read(large.id, {})
    assert.equal(5001, #order)
    assert.equal(6, pages)
    local page = pipeline.get_status_tree(large.id, { limit = 100000 })
    assert.equal(5000, #page.order)
  end)

  it("has so many bytes at most, a whole tree any number; longer values are told by their length", function()
    local engine = helper.open()
    local stage = Wide(30, ("x"):rep(1900000)):start()
    local long = Leaf(("y"):rep(3000000)):start()
    local list = {}
    for i = 1, 50000 do list[i] = i end
    local many = Leaf(list):start()
    engine:drain()
    assert.equal(30, #pipeline.get_status_tree(stage.id).pipelines[stage.id].children)
    local all, order, pages = read(stage.id, {})
    assert.equal(31, #order)
    assert(pages > 2)
    assert.matches("x+%.%.%. %(%d+ bytes%)$", all[order[2]].args[1].value)
    for _, shown in ipairs { long, many } do
      local tree = pipeline.get_status_tree(shown.id)
      assert.matches("^%(%d+ bytes%)$", tree.pipelines[shown.id].args[1].value)
      assert.matches("^%(%d+ bytes%)$", tree.slots[tree.pipelines[shown.id].outputs.default].value)
    end
  end)

  it("that is damaged ends", function()
    local engine = helper.open()
    local stage = Shaped { { {} }, { {} } }
    stage:start()
    engine:drain()
    local whole = pipeline.get_status_tree(stage.id)
    local first = engine._core:id_parse(whole.pipelines[stage.id].children[1])
    local below = engine._core:id_parse(whole.pipelines[whole.pipelines[stage.id].children[1]].children[1])
    sql.run(engine, ("UPDATE pl_stage SET parent = %d WHERE id = %d"):format(below, first))
    local second = whole.pipelines[stage.id].children[2]
    local all = read(stage.id, { parent = second })
    assert.is_table(all[second])
    assert.equal(5, select(2, pcall(function() return #select(2, read(stage.id, {})) end)))
  end)

  it("is answered by rpc/tree", function()
    local engine = helper.open()
    local stage = Wide(5, 1):start()
    engine:drain()
    pipeline.set_enforce_auth(false)
    local function get(query)
      local answer = engine:handle { method = "GET", path = "/_ah/pipeline/rpc/tree", query = query,
        headers = { ["x-requested-with"] = "XMLHttpRequest" } }
      assert.equal(200, answer.status)
      return json.decode(answer.body)
    end
    local id = "root_pipeline_id=" .. stage.id
    assert.is_nil(get(id).order)
    local page = get(id .. "&limit=4&depth=1")
    assert.equal(4, #page.order)
    assert.equal(5, page.pipelines[stage.id].childCount)
    assert.equal(2, #get(id .. "&limit=4&depth=1&cursor=" .. page.cursor).order)
    assert.same({ page.order[2] }, get(id .. "&parent=" .. page.order[2]).order)
    assert.truthy(get(id .. "&limit=0").error_message:find("limit", 1, true))
    assert.truthy(get(id .. "&depth=x").error_message:find("depth", 1, true))
    assert.truthy(get(id .. "&cursor=x").error_message:find("bad cursor", 1, true))
    pipeline.set_enforce_auth(true)
  end)

  it("has children with smaller ids than their parent's, as files of before may, and fails for a parent that is gone",
    function()
      local engine = helper.open()
      local stage = Shaped { { {} }, { {} } }
      stage:start()
      engine:drain()
      local whole = pipeline.get_status_tree(stage.id)
      local child = whole.pipelines[stage.id].children[1]
      local grandchild = whole.pipelines[child].children[1]
      local old = engine._core:id_parse(grandchild)
      local new = stage._id - 5
      sql.run(engine, ("UPDATE pl_stage SET id = %d WHERE id = %d"):format(new, old))
      local early = engine:_id_text(new)
      assert.same({ early }, pipeline.get_status_tree(stage.id).pipelines[child].children)
      local all, order = read(stage.id, { limit = 2, depth = 5 })
      assert.equal(5, #order)
      assert.equal(child, all[early].parentPipelineId)
      sql.run(engine, ("UPDATE pl_stage SET parent = 77 WHERE id = %d"):format(new))
      local problem = helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, stage.id)
      assert.truthy(problem.message:find("the parent of pipeline " .. early .. " is missing", 1, true), problem.message)
    end)

  it("has children after their parent, also if who runs that has a clock behind that of who started it", function()
    local path = helper.path()
    local ahead = helper.open { path = path, virtual_start = 1700000000.0 }
    local behind = helper.open { path = path, virtual_start = 1600000000.0 }
    local stage = Shaped { { {}, {} }, {} }
    stage:start { engine = ahead }
    behind:drain()
    local tree = behind:get_status_tree(stage.id, {})
    assert.equal(5, #tree.order)
    assert.equal(stage.id, tree.order[1])
    for _, id in ipairs(tree.order) do
      for _, child in ipairs(tree.pipelines[id].children) do
        assert(behind._core:id_parse(child) > behind._core:id_parse(id))
      end
    end
  end)

  it("is a deep chain: from the root, from any link of it, and by levels", function()
    local engine = helper.open()
    local Chain
    Chain = helper.define(function(self, n)
      if n > 1 then self:spawn(Chain(n - 1)) end
      return n
    end)
    local stage = Chain(301):start()
    engine:drain()
    local _, order = read(stage.id, { limit = 40 })
    assert.equal(301, #order)
    for _, at in ipairs { 1, 2, 150, 300, 301 } do
      local _, below = read(order[#order], { parent = order[at], limit = 33 })
      assert.same({ table.unpack(order, at) }, below)
      local _, near = read(stage.id, { parent = order[at], depth = 2, limit = 2 })
      assert.same({ table.unpack(order, at, math.min(at + 2, 301)) }, near)
    end
  end)

  it("has every stage once that was there, while the tree grows and is aborted", function()
    local engine = helper.open()
    local stage = Shaped { random_shape(5), random_shape(5), random_shape(5), { { {} } } }
    stage:start()
    for _ = 1, 30 do engine:step() end
    local there = pipeline.get_status_tree(stage.id).pipelines
    local seen, cursor, pages = {}, nil, 0
    repeat
      local page = pipeline.get_status_tree(stage.id, { limit = 3, cursor = cursor })
      for _, id in ipairs(page.order) do
        assert.is_nil(seen[id])
        seen[id] = true
      end
      cursor, pages = page.cursor, pages + 1
      if pages == 3 then stage:abort("enough") end
      for _ = 1, 5 do engine:step() end
    until not cursor
    for id in pairs(there) do assert.is_true(seen[id]) end
    engine:drain()
  end)

  it("tells what of it cannot be read, and the rest", function()
    local engine = helper.open()
    local stage = Wide(20, "v"):start()
    engine:drain()
    local children = pipeline.get_status_tree(stage.id).pipelines[stage.id].children
    sql.run(engine, ("UPDATE pl_stage SET args = x'ff00' WHERE id = %d"):format(engine._core:id_parse(children[3])))
    local all, order = read(stage.id, { limit = 7 })
    assert.equal(21, #order)
    assert.matches("^%(cannot be read: ", all[children[3]].args[1].value)
    assert.equal("v", pipeline.get_status_tree(stage.id).pipelines[children[4]].args[1].value)
    sql.run(engine, ("UPDATE pl_stage SET class_path = '' WHERE id = %d"):format(engine._core:id_parse(children[5])))
    all, order = read(stage.id, { limit = 7 })
    assert.equal(21, #order)
    assert.matches("is damaged: it has no class", all[children[5]].status)
    helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, stage.id)
    assert.equal("v", all[children[4]].args[1].value)
  end)

  -- ---- others ------------------------------------------------------------------------------------------------

  -- While fn runs in a tasklet another one wakes every millisecond: how often it did, the longest time in between, the
  -- most values that were read in between, and the most that Lua had of memory.
  local function beside(fn)
    local found = { ticks = 0, seconds = 0, values = 0, bytes = 0 }
    local over, values = false, 0
    local decode, decode_list = core.decode, core.decode_list
    function core.decode(...)
      values = values + 1
      return decode(...)
    end
    function core.decode_list(...)
      values = values + 1
      return decode_list(...)
    end
    local ticker = tasklets.tasklet(function()
      local last = core.now()
      repeat
        values = 0
        tasklets.sleep(0.001):wait()
        local now = core.now()
        found.ticks, found.seconds, last = found.ticks + 1, math.max(found.seconds, now - last), now
        found.values = math.max(found.values, values)
        found.bytes = math.max(found.bytes, collectgarbage("count") * 1024)
      until over
    end)()
    local work = tasklets.tasklet(fn)()
    local ok, result = pcall(work.get_result, work)
    over = true
    ticker:get_result()
    core.decode, core.decode_list = decode, decode_list
    assert(ok, result)
    assert.is_true(collectgarbage("isrunning"))
    return found, result
  end

  -- Others have their turn after a few hundred values: 3 ms, and on the slowest machine not more. The time is that of a
  -- machine on which others work, too.
  local function check(title, fn, turns, seconds)
    local best = math.huge
    local result
    for _ = 1, 5 do
      collectgarbage()
      local found
      found, result = beside(fn)
      assert(found.ticks >= turns, ("%s: only %d turns of the loop"):format(title, found.ticks))
      assert(found.values <= 2000, ("%s: %d values were read in one turn of the loop"):format(title, found.values))
      best = math.min(best, found.seconds)
      if best < seconds * pace then break end
    end
    assert(best < seconds * pace, ("%s held the loop for %.1f ms"):format(title, best * 1000))
    return result
  end

  it("of thousands of stages does not hold the loop of whoever else works", function()
    local engine = helper.open { virtual_time = false }
    local stage = Wide(4999, { name = "n", list = { 1, 2, 3 } }):start()
    engine:wait(stage)
    pipeline.set_enforce_auth(false)
    check("the whole tree", function() return pipeline.get_status_tree(stage.id) end, 20, 0.1)
    check("a page", function() return pipeline.get_status_tree(stage.id, { limit = 5000, depth = 1 }) end, 20, 0.1)
    local answer = check("rpc/tree", function()
      return engine:handle { method = "GET", path = "/_ah/pipeline/rpc/tree", query = "root_pipeline_id=" .. stage.id,
        headers = { ["x-requested-with"] = "XMLHttpRequest" } }
    end, 20, 0.1)
    assert.equal(4999, #json.decode(answer.body).pipelines[stage.id].children)
    pipeline.set_enforce_auth(true)
  end)

  -- Copies of the last child, below the children in turn.
  local function multiply(engine, stage, n)
    local columns = "state, flags, missing, open, attempt, queue, priority, class_path, args, created, started, " ..
      "finalized"
    local children = pipeline.get_status_tree(stage.id).pipelines[stage.id].children
    sql.run(engine, ([[WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
      INSERT INTO pl_stage (id, root, parent, %s) SELECT s.id + n.i, s.root, s.parent, %s FROM n, pl_stage AS s
      WHERE s.id = %d]]):format(n, columns, columns, engine._core:id_parse(children[#children])))
  end

  it("of 50,000 stages is read by pages, each stage once, in little memory, while the loop goes on", function()
    local engine = helper.open { virtual_time = false }
    local stage = Wide(9, { name = "n", list = { 1, 2, 3 } }):start()
    engine:wait(stage)
    multiply(engine, stage, 49990)
    local before = collectgarbage("count") * 1024
    local found, n = beside(function()
      local seen, cursor = {}, nil
      repeat
        local page = pipeline.get_status_tree(stage.id, { cursor = cursor })
        for _, id in ipairs(page.order) do
          local own = engine._core:id_parse(id)
          assert(not seen[own])
          seen[own] = true
        end
        cursor = page.cursor
      until not cursor
      local count = 0
      for _ in pairs(seen) do count = count + 1 end
      return count
    end)
    assert.equal(50000, n)
    assert(found.ticks > 200, ("only %d turns of the loop"):format(found.ticks))
    assert(found.values <= 2000, ("%d values were read in one turn of the loop"):format(found.values))
    assert(found.bytes - before < 24e6, ("%d bytes more"):format(found.bytes - before))
    local counted = pipeline.get_status_tree(stage.id, { depth = 0 })
    assert.equal(49999, counted.pipelines[stage.id].childCount)
    local problem = helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, stage.id)
    assert.truthy(problem.message:find("has more than 5000 stages", 1, true))
    pipeline.set_enforce_auth(false)
    local answer = engine:handle { method = "GET", path = "/_ah/pipeline/rpc/tree",
      query = "root_pipeline_id=" .. stage.id, headers = { ["x-requested-with"] = "XMLHttpRequest" } }
    pipeline.set_enforce_auth(true)
    local said = json.decode(answer.body)
    assert.equal("PipelineStatusError", said.error_class)
    assert.truthy(said.error_message:find("has more than 5000 stages", 1, true))
  end)

  it("does not hold it for the list of roots, or for the failures of a large tree", function()
    local engine = helper.open { virtual_time = false }
    for i = 1, 1000 do Leaf(i):start() end
    local Bad = helper.define { max_attempts = 1, run = function() error(pipeline.Abort "no") end }
    local Large = helper.define(function(self)
      for i = 1, 3000 do self:spawn(Leaf(i)) end
      self:spawn(Bad())
    end)
    local stage = Large():start()
    engine:drain()
    check("the list", function() return pipeline.get_root_list { count = 1000 } end, 5, 0.1)
    local problem = check("the failures", function()
      return helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
    end, 1, 0.1)
    assert.equal(1, #problem.failures)
    assert.equal(Bad.class_path, problem.failures[1].class_path)
  end)

  it("is read inside a transaction without making that longer, and after an error the collector runs", function()
    local engine = helper.open { virtual_time = false }
    local stage = Wide(3000, 1):start()
    engine:wait(stage)
    local read_inside = helper.define(function()
      return engine:transaction(function() return #pipeline.get_status_tree(stage.id, { limit = 5000 }).order end)
    end)
    local outputs = engine:wait(read_inside():start())
    assert.equal(3001, outputs.default.value)
    sql.run(engine, ("UPDATE pl_stage SET class_path = '' WHERE id = %d"):format(stage._id))
    local ok, problem = pcall(function()
      return tasklets.tasklet(function() return pipeline.get_status_tree(stage.id) end)():get_result()
    end)
    assert.is_false(ok)
    assert.truthy(tostring(problem):find("is damaged", 1, true))
    assert.is_true(collectgarbage("isrunning"))
  end)
end)
