-- The status tree, the list of roots, and set_status (P170–P187, P197–P200, G11, G15, G20, G31, G32).

local core = require "pipeline.core"
local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local START = 1700000000
local START_MS = START * 1000

local function keys(map)
  local list = {}
  for key in pairs(map) do list[#list + 1] = key end
  table.sort(list)
  return list
end

describe("the status tree", function()
  local engine
  local Give = pipeline.define("status.Give", { run = function(_, value) return value end })
  local Async = pipeline.define("status.Async", { async = true, run = function() end })
  local Wide = pipeline.define("status.Wide", { async = true, output_names = { "b", "a" }, run = function() end })
  local Two = pipeline.define("status.Two", {
    run = function(self)
      self:spawn(Async())
      self:spawn(Give(2))
    end,
  })
  local Nested = pipeline.define("status.Nested", { run = function(self) self:spawn(Two()) end })
  local Fails = pipeline.define("status.Fails", { max_attempts = 2, run = function() error("no", 0) end })

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function started(stage, options)
    stage:start(options)
    engine:drain()
    return stage
  end

  local function status_of(stage, class)
    return (class and helper.find(stage, class) or helper.entry(stage)).status
  end

  -- The id, as users see it, of the only row for which `where` holds.
  local function raw_id(where)
    return sql.number(engine, "SELECT id FROM pl_stage WHERE " .. where)
  end

  it("P170 is that of the root, whichever of its pipelines is asked for", function()
    local stage = started(Nested())
    local tree = pipeline.get_status_tree(stage.id)
    assert.same({ "pipelines", "rootPipelineId", "slots" }, keys(tree))
    assert.equal(stage.id, tree.rootPipelineId)
    assert.equal(4, #keys(tree.pipelines))
    for id in pairs(tree.pipelines) do
      assert.same(tree, pipeline.get_status_tree(id))
      assert.same(tree, engine:get_status_tree(id))
    end
  end)

  it("P170 goes by idempotence keys as well", function()
    local stage = started(Nested(), { idempotence_key = "order-17" })
    local tree = pipeline.get_status_tree("order-17")
    assert.equal("order-17", tree.rootPipelineId)
    assert.equal("status.Nested", tree.pipelines["order-17"].classPath)
    local _, child = helper.find(stage, Two)
    assert.same({ child }, tree.pipelines["order-17"].children)
    assert.equal("order-17", pipeline.get_status_tree(child).rootPipelineId)
    local strange = started(Give(1), { idempotence_key = "über/ \0" })
    assert.equal(strange.id, pipeline.get_status_tree("über/ \0").rootPipelineId)
  end)

  it("P171 of an unknown id raises PipelineStatusError", function()
    for _, id in ipairs { ("0"):rep(32), ("f"):rep(32), "nobody", "", "\0\255", ("x"):rep(1000) } do
      local problem = helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, id)
      assert.matches("there is no pipeline", problem.message, 1, true)
    end
    helper.misuse("bad argument #1 to 'get_status_tree' %(string expected, got nil%)", pipeline.get_status_tree)
  end)

  it("P171 with a missing root or a missing pipeline in between raises PipelineStatusError", function()
    local stage = started(Nested())
    local _, two = helper.find(stage, Two)
    local _, leaf = helper.find(stage, Give)
    sql.run(engine, "DELETE FROM pl_stage WHERE class_path = 'status.Two'")
    for _, id in ipairs { stage.id, leaf } do
      local problem = helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, id)
      assert.matches("the parent of pipeline %x+ is missing", problem.message)
    end
    helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, two)
    local other = started(Nested())
    local _, child = helper.find(other, Two)
    sql.run(engine, "DELETE FROM pl_stage WHERE id = " .. other._id)
    helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, other.id)
    helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, child)
  end)

  it("P172 shows nothing of failed attempts", function()
    local attempts = 0
    local Tree = helper.define(function(self)
      attempts = attempts + 1
      for _ = 1, 4 - attempts do self:spawn(Give(attempts)) end
      if attempts < 3 then error("no") end
    end)
    local stage = Tree()
    assert.equal(3, helper.result(stage))
    local tree = pipeline.get_status_tree(stage.id)
    assert.equal(2, #keys(tree.pipelines))
    assert.equal(1, #tree.pipelines[stage.id].children)
    assert.equal(3, tree.pipelines[tree.pipelines[stage.id].children[1]].args[1].value)
  end)

  it("P173 has all fields of every pipeline", function()
    local Tree = helper.define {
      output_names = { "x" }, max_attempts = 5, backoff_seconds = 1.5, backoff_factor = 3,
      run = function(self)
        local f = self:spawn(Async())
        self:fill("x", 1)
        self:after({ f }, function() self:spawn(Give(7)) end)
      end,
    }
    local stage = started(Tree("a", 2), { queue_name = "slow" })
    local tree = pipeline.get_status_tree(stage.id)
    local root = tree.pipelines[stage.id]
    local first, second = root.children[1], root.children[2]
    assert.same({ { type = "value", value = "a" }, { type = "value", value = 2 } }, root.args)
    assert.same({ "default", "x" }, keys(root.outputs))
    root.args, root.outputs = nil, nil
    assert.same({
      classPath = stage.class_path, kwargs = {}, children = { first, second }, queueName = "slow",
      afterSlotKeys = {}, currentAttempt = 1, maxAttempts = 5, backoffSeconds = 1.5, backoffFactor = 3,
      status = "run", startTimeMs = START_MS, state = "open", childrenOpen = 2,
    }, root)
    assert.equal("status.Async", tree.pipelines[first].classPath)
    assert.same({
      classPath = "status.Give", args = { { type = "value", value = 7 } }, kwargs = {},
      outputs = { default = helper.entry(pipeline.from_id(stage.id)).outputs.default }, children = {},
      queueName = "slow", afterSlotKeys = { tree.pipelines[first].outputs.default }, currentAttempt = 1,
      maxAttempts = 3, backoffSeconds = 15, backoffFactor = 2, status = "waiting", state = "waiting",
      waitingFor = { tree.pipelines[first].outputs.default },
    }, tree.pipelines[second])
  end)

  it("P174 shows slots and values in arguments", function()
    local Tree = helper.define(function(self)
      local f = self:spawn(Wide())
      self:spawn(Give(f))
      self:spawn(Give(f.a))
      self:spawn(Give { 1, two = "x" })
    end)
    local stage = started(Tree())
    local tree = pipeline.get_status_tree(stage.id)
    local children = tree.pipelines[stage.id].children
    local wide = tree.pipelines[children[1]]
    assert.same({}, wide.args)
    assert.same({ { type = "slot", slotKey = wide.outputs.default } }, tree.pipelines[children[2]].args)
    assert.same({ { type = "slot", slotKey = wide.outputs.a } }, tree.pipelines[children[3]].args)
    assert.same({ { type = "value", value = { 1, two = "x" } } }, tree.pipelines[children[4]].args)
  end)

  it("P175 tells waiting, run, retry, finalizing, done and aborted", function()
    local seen = {}
    local Watched = helper.define {
      run = function(self) seen.run = helper.entry(self).status end,
      finalized = function(self) seen.finalizing = helper.entry(self).status end,
    }
    local stage = started(Watched())
    assert.same({ run = "run", finalizing = "finalizing" }, seen)
    assert.equal("done", status_of(stage))
    local failing = started(Fails())
    assert.equal("retry", status_of(failing))
    engine:drain { delayed = true }
    assert.equal("aborted", status_of(failing))
    local Waits = helper.define(function(self) self:spawn(Give(self:spawn(Async()))) end)
    local tree = started(Waits())
    assert.equal("waiting", status_of(tree, Give))
    assert.equal("run", status_of(tree, Async))
    assert.equal("run", status_of(tree))
  end)

  it("P175 tells aborting of those that are asked to, and that one cannot be cancelled (G3)", function()
    local seen = {}
    local Tree = helper.define {
      run = function(self) self:spawn(Async()) end,
      finalized = function(self)
        local entry = helper.entry(self)
        seen.status, seen.pending = entry.status, entry.abortPending
      end,
    }
    local stage = started(Tree())
    assert.is_true(stage:abort("enough"))
    engine:drain()
    assert.same({ status = "aborting" }, seen)
    assert.equal("aborted", status_of(stage))
    local held, id = helper.find(stage, Async)
    assert.same({ "aborting", true }, { held.status, held.abortPending })
    assert.is_nil(held.endTimeMs)
    pipeline.from_id(id):complete(1)
    engine:drain()
    held = helper.find(stage, Async)
    assert.same({ "aborted" }, { held.status, held.abortPending })
  end)

  it("P175 tells run, not finalizing, while children run although default is filled (G11)", function()
    local stage = started(Two())
    local tree = pipeline.get_status_tree(stage.id)
    local root = tree.pipelines[stage.id]
    assert.equal("filled", tree.slots[root.outputs.default].status)
    assert.equal("run", root.status)
    assert.is_nil(root.endTimeMs)
    local wide = started(Wide())
    wide:complete(1)
    local entry = helper.entry(wide)
    assert.same({ "run", { "a", "b" } }, { entry.status, entry.missingOutputs })
  end)

  it("P176 tells run of what can run and has not", function()
    local root = Give(1):start()
    assert.equal("run", status_of(root))
    local later = Give(1):start { countdown = 100 }
    assert.equal("run", status_of(later))
    local held = Give(1)
    held:start { return_task = true }
    assert.equal("run", status_of(held))
    engine:close()
    engine = helper.open { concurrency = 1 }
    local seen
    local First = helper.define(function(self)
      local tree = pipeline.get_status_tree(self.root_id)
      seen = tree.pipelines[tree.pipelines[self.root_id].children[2]]
    end)
    local Tree = helper.define(function(self)
      self:spawn(First())
      self:spawn(Give(1))
    end)
    helper.result(Tree())
    assert.equal("status.Give", seen.classPath)
    assert.equal("run", seen.status)
  end)

  it("P177 start times are those of the retry, of the last input, or of the start", function()
    local Tree = helper.define(function(self) self:spawn(Give(self:spawn(Async()))) end)
    local stage = started(Tree())
    engine:advance(3.5)
    local _, async = helper.find(stage, Async)
    assert.is_nil(helper.find(stage, Give).startTimeMs)
    pipeline.from_id(async):complete(1)
    engine:advance(1)
    engine:drain()
    assert.equal(START_MS + 3500, helper.find(stage, Give).startTimeMs)
    assert.equal(START_MS, helper.find(stage, Async).startTimeMs)
    assert.equal(START_MS, helper.entry(stage).startTimeMs)
    local tries = 0
    local Once = helper.define(function()
      tries = tries + 1
      if tries == 1 then error("no", 0) end
    end)
    local once = started(Once())
    assert.equal(START_MS + 4500 + 15000, helper.entry(once).startTimeMs)
    engine:drain { delayed = true }
    local entry = helper.entry(once)
    assert.same({ "done", START_MS + 19500 }, { entry.status, entry.startTimeMs })
    local aborted = started(Fails())
    engine:drain { delayed = true }
    assert.is_nil(helper.entry(aborted).startTimeMs)
  end)

  it("P178 end times are those of finalizing, of done, and of aborted (G32)", function()
    local seen
    local Slow = helper.define {
      async = true,
      run = function() end,
      finalized = function(self)
        engine:advance(2)
        seen = helper.entry(self)
      end,
    }
    local stage = started(Slow())
    assert.is_nil(helper.entry(stage).endTimeMs)
    engine:advance(1.25)
    stage:complete(1)
    engine:advance(1)
    engine:drain()
    assert.same({ "finalizing", START_MS + 1250 }, { seen.status, seen.endTimeMs })
    local entry = helper.entry(stage)
    assert.same({ "done", START_MS + 4250 }, { entry.status, entry.endTimeMs })
    local aborted = started(Async())
    engine:advance(5)
    local root = started(helper.define(function(self) self:abort("no") end)())
    assert.equal(START_MS + 9250, helper.entry(root).endTimeMs)
    assert.is_nil(helper.entry(aborted).endTimeMs)
  end)

  it("P179 messages of retry and abort stay; empty ones are left out", function()
    local tries = 0
    local Once = helper.define(function()
      tries = tries + 1
      if tries == 1 then error("not yet", 0) end
    end)
    local stage = started(Once())
    assert.equal("Error: not yet", helper.entry(stage).lastRetryMessage)
    engine:drain { delayed = true }
    assert.same({ "done", "Error: not yet" }, { status_of(stage), helper.entry(stage).lastRetryMessage })
    assert.is_nil(helper.entry(stage).abortMessage)
    local given_up = started(Fails())
    engine:drain { delayed = true }
    assert.equal("Aborting after 2 attempts. Error: no", helper.entry(given_up).abortMessage)
    local aborted = started(Async())
    aborted:abort("")
    engine:drain()
    assert.is_nil(helper.entry(aborted).abortMessage)
    local Quits = helper.define {
      max_attempts = 2,
      run = function(self) self:retry("") end,
    }
    local quits = started(Quits())
    assert.same({ "retry" }, { status_of(quits), helper.entry(quits).lastRetryMessage })
  end)

  it("P181 times are whole milliseconds, truncated (G31)", function()
    engine:close()
    for seconds, milliseconds in pairs {
      [1700000016.416567] = 1700000016416, [1700000016.416999] = 1700000016416, [1700000016.417] = 1700000016417,
      [1700000000.999999] = 1700000000999, [3000000000.123] = 3000000000123, [1600000000.001] = 1600000000001,
      [1600000000.000999] = 1600000000000,
    } do
      engine = helper.open { virtual_start = seconds }
      local entry = helper.entry(Give(1):start())
      assert.equal(milliseconds, entry.startTimeMs)
      assert.equal("integer", math.type(entry.startTimeMs))
      engine:close()
    end
  end)

  it("P181 L19 the time zone of the process makes no difference (G31)", function()
    local script = helper.path() .. ".lua"
    local file = assert(io.open(script, "w"))
    file:write([[
      local pipeline = require "pipeline"
      local engine <close> = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1700000000.25 })
      local Give = pipeline.define("zone.Give", { run = function(_, value) return value end })
      local stage = Give(1):start { eta = os.date("!*t", 1700000100) }
      print(pipeline.get_status_tree(stage.id).pipelines[stage.id].startTimeMs)
      engine:wait(stage)
      print(pipeline.get_status_tree(stage.id).pipelines[stage.id].endTimeMs)
    ]])
    file:close()
    for _, zone in ipairs { "UTC", "Asia/Tokyo", "America/New_York", "XXX-13:45" } do
      local pipe = assert(io.popen(("TZ=%s lua5.4 %s 2>&1"):format(zone, script)))
      local printed = pipe:read("a")
      pipe:close()
      assert.equal("1700000000250\n1700000100000\n", printed, zone)
    end
  end)

  it("P182 slots show who fills them, and what with", function()
    local Inner = helper.define(function(self)
      self:spawn(Give(1))
      self:spawn(Async())
    end)
    local Tree = helper.define(function(self) self:spawn(Inner()) end)
    local stage = started(Tree())
    local tree = pipeline.get_status_tree(stage.id)
    local _, give = helper.find(stage, Give)
    local _, async = helper.find(stage, Async)
    local inherited = tree.pipelines[stage.id].outputs.default
    assert.equal(inherited, tree.pipelines[async].outputs.default)
    assert.same({
      [inherited] = { status = "waiting", fillerPipelineId = async },
      [tree.pipelines[give].outputs.default] = {
        status = "filled", fillerPipelineId = give, fillTimeMs = START_MS, value = 1,
      },
    }, tree.slots)
    engine:advance(2.5)
    pipeline.from_id(async):complete { 1, x = "y" }
    assert.same({ status = "filled", fillerPipelineId = async, fillTimeMs = START_MS + 2500, value = { 1, x = "y" } },
      pipeline.get_status_tree(stage.id).slots[inherited])
  end)

  it("P183 G15 slots of a root without children are there, also when it is aborted", function()
    local stage = started(Wide(), { idempotence_key = "wide" })
    local outputs = helper.entry(stage).outputs
    assert.same({ "a", "b", "default" }, keys(outputs))
    stage:fill("a", "early")
    stage:abort("no")
    engine:drain()
    assert.same({
      [outputs.a] = { status = "filled", fillerPipelineId = "wide", fillTimeMs = START_MS, value = "early" },
      [outputs.b] = { status = "waiting", fillerPipelineId = "wide" },
      [outputs.default] = { status = "waiting", fillerPipelineId = "wide" },
    }, pipeline.get_status_tree(stage.id).slots)
  end)

  it("P184 a damaged record raises PipelineStatusError", function()
    for column, value in pairs { args = "NULL", outputs = "x'0007'", class_path = "''" } do
      local stage = started(Nested())
      local _, child = helper.find(stage, Two)
      sql.run(engine, ("UPDATE pl_stage SET %s = %s WHERE id = %d"):format(column, value,
        pipeline.from_id(child)._id))
      local problem = helper.raises(pipeline.PipelineStatusError, pipeline.get_status_tree, stage.id)
      assert.matches("pipeline " .. child .. " is damaged", problem.message, 1, true)
    end
  end)

  it("shows large values in short, and thousands of children (G20)", function()
    local large = ("x"):rep(1e6)
    local Tree = helper.define(function(self)
      for i = 1, 2000 do self:spawn(Give(i)) end
      return large
    end)
    local stage = started(Tree({ large }, "small", large))
    local tree = pipeline.get_status_tree(stage.id)
    local root = tree.pipelines[stage.id]
    assert.equal(2000, #root.children)
    assert.equal(2000, tree.pipelines[root.children[2000]].args[1].value)
    assert.same({ type = "value", value = "small" }, root.args[2])
    for _, shown in ipairs { root.args[1].value, root.args[3].value, tree.slots[root.outputs.default].value } do
      assert.is_true(#shown < 2000)
      assert.matches("x%.%.%. %(%d+ bytes%)$", shown)
    end
  end)

  it("shows what this process cannot read as a text", function()
    local names = { f = function() end }
    package.loaded["spec.status.names"] = names
    local stage = started(Give(names.f))
    package.loaded["spec.status.names"] = nil
    local tree = pipeline.get_status_tree(stage.id)
    local root = tree.pipelines[stage.id]
    assert.matches("^%(cannot be read: .*spec%.status%.names", root.args[1].value)
    assert.matches("^%(cannot be read: .*spec%.status%.names", tree.slots[root.outputs.default].value)
  end)

  describe("and the list of roots", function()
    it("P185 has the newest first, 50 to a page, and a cursor only if there is another page", function()
      local ids = {}
      for i = 1, 101 do ids[i] = Give(i):start().id end
      local function page(options)
        local list = pipeline.get_root_list(options)
        local found = {}
        for i, entry in ipairs(list.pipelines) do found[i] = entry.pipelineId end
        return found, list.cursor
      end
      local function expected(first, last)
        local list = {}
        for i = first, last, -1 do list[#list + 1] = ids[i] end
        return list
      end
      local found, cursor = page()
      assert.same(expected(101, 52), found)
      assert.equal("string", type(cursor))
      found, cursor = page { cursor = cursor }
      assert.same(expected(51, 2), found)
      found, cursor = page { cursor = cursor }
      assert.same(expected(1, 1), found)
      assert.is_nil(cursor)
      found, cursor = page { count = 101 }
      assert.same(expected(101, 1), found)
      assert.is_nil(cursor)
      found, cursor = page { count = 100 }
      assert.same(expected(101, 2), found)
      assert.same(expected(1, 1), (page { cursor = cursor, count = 1 }))
      assert.is_nil(select(2, page { cursor = cursor, count = 1 }))
    end)

    it("P185 has entries of the tree, of roots only, with their ids", function()
      local stage = started(Nested(), { idempotence_key = "mine" })
      engine:advance(1)
      local other = started(Fails(9))
      local list = pipeline.get_root_list()
      assert.equal(2, #list.pipelines)
      local entry = list.pipelines[2]
      local wanted = helper.entry(stage)
      wanted.pipelineId, wanted.children = "mine", {} -- the list says nothing of children
      assert.same(wanted, entry)
      assert.same({ other.id, "retry", "Error: no", START_MS + 16000 }, {
        list.pipelines[1].pipelineId, list.pipelines[1].status, list.pipelines[1].lastRetryMessage,
        list.pipelines[1].startTimeMs,
      })
      assert.same(list, engine:get_root_list())
    end)

    it("P185 may be empty; a bad cursor or count is refused", function()
      assert.same({ pipelines = {} }, pipeline.get_root_list())
      helper.raises(pipeline.PipelineStatusError, pipeline.get_root_list, { cursor = "what" })
      helper.misuse("option 'count': positive integer expected", pipeline.get_root_list, { count = 0 })
      helper.misuse("unknown option 'classpath'; did you mean 'class_path'%?", pipeline.get_root_list,
        { classpath = "x" })
    end)

    it("P186 may be that of one class", function()
      for i = 1, 3 do
        Give(i):start()
        Async():start()
      end
      started(Two()) -- has children of both classes
      local list = pipeline.get_root_list { class_path = "status.Give" }
      assert.same({ 3, 2, 1 }, {
        list.pipelines[1].args[1].value, list.pipelines[2].args[1].value, list.pipelines[3].args[1].value,
      })
      assert.equal(3, #list.pipelines)
      assert.is_nil(list.cursor)
      local first = pipeline.get_root_list { class_path = "status.Async", count = 2 }
      assert.equal(2, #first.pipelines)
      local rest = pipeline.get_root_list { class_path = "status.Async", count = 2, cursor = first.cursor }
      assert.equal(1, #rest.pipelines)
      assert.same({ pipelines = {} }, pipeline.get_root_list { class_path = "status.Nobody" })
    end)

    it("P187 shows a damaged root as an entry of its own", function()
      local ids = {}
      for i = 1, 4 do ids[i] = started(Give(i)).id end
      sql.run(engine, "UPDATE pl_stage SET args = NULL WHERE id = " .. raw_id("true ORDER BY id LIMIT 1 OFFSET 1"))
      sql.run(engine, "UPDATE pl_stage SET outputs = x'0001' WHERE id = "
        .. raw_id("true ORDER BY id LIMIT 1 OFFSET 2"))
      local list = pipeline.get_root_list().pipelines
      assert.equal(4, #list)
      assert.same({ "done", "status.Give", ids[4] }, { list[1].status, list[1].classPath, list[1].pipelineId })
      for i = 2, 3 do
        local id = ids[5 - i]
        assert.same({ status = ("pipeline %s is damaged"):format(id), classPath = "", pipelineId = id }, {
          status = list[i].status:match("^pipeline %x+ is damaged"), classPath = list[i].classPath,
          pipelineId = list[i].pipelineId,
        })
      end
      assert.same({ "done", "status.Give", ids[1] }, { list[4].status, list[4].classPath, list[4].pipelineId })
    end)
  end)

  describe("and set_status", function()
    it("P180 shows what was said, and only that", function()
      local stage = started(Async())
      local plain = helper.entry(stage)
      engine:advance(1.5)
      stage:set_status { message = "half way", console_url = "/console", status_links = { b = "/b", a = "/a" } }
      local entry = helper.entry(stage)
      for name, value in pairs {
        statusTimeMs = START_MS + 1500, statusMessage = "half way", statusConsoleUrl = "/console",
        statusLinks = { a = "/a", b = "/b" },
      } do
        assert.same(value, entry[name])
        entry[name] = nil
      end
      assert.same(plain, entry)
      stage:set_status { message = "", console_url = "", status_links = {} }
      plain.statusTimeMs = START_MS + 1500
      assert.same(plain, helper.entry(stage))
    end)

    it("P197 replaces all at once, with a new time", function()
      local stage = started(Async())
      stage:set_status { message = "one", console_url = "/one", status_links = { x = "/x" } }
      engine:advance(2)
      stage:set_status { console_url = "/two" }
      local entry = helper.entry(stage)
      assert.same({ statusConsoleUrl = "/two", statusTimeMs = START_MS + 2000 }, {
        statusMessage = entry.statusMessage, statusConsoleUrl = entry.statusConsoleUrl,
        statusLinks = entry.statusLinks, statusTimeMs = entry.statusTimeMs,
      })
      engine:advance(1)
      stage:set_status()
      entry = helper.entry(stage)
      assert.same({ nil, START_MS + 3000 }, { entry.statusConsoleUrl, entry.statusTimeMs })
      assert.equal(1, sql.number(engine, "SELECT count(*) FROM pl_status"))
    end)

    it("P197 does not wait for the attempt, nor depend on it", function()
      local seen
      local Speaks = helper.define(function(self)
        self:set_status { message = "attempt " .. self.current_attempt }
        seen = helper.entry(self).statusMessage
        error("no", 0)
      end)
      local stage = started(Speaks())
      assert.equal("attempt 1", seen)
      assert.equal("attempt 1", helper.entry(stage).statusMessage)
      engine:drain { delayed = true }
      assert.same({ "aborted", "attempt 3" }, { status_of(stage), helper.entry(stage).statusMessage })
      stage:set_status { message = "post mortem" }
      assert.equal("post mortem", helper.entry(stage).statusMessage)
    end)

    it("P198 stores links sorted by name, however they were given", function()
      local names, links = {}, {}
      for i = 1, 40 do names[i] = ("link%02d"):format(i) end
      for i = 40, 1, -1 do links[names[i]] = "/" .. i end
      local stage = started(Async())
      stage:set_status { status_links = links }
      local bytes = engine._core:stage_get(stage._id).status.links
      local at = 1
      for i = 1, 40 do at = assert(bytes:find(names[i], at, true), names[i] .. " is not in its place") end
      assert.same(links, (core.decode(bytes)))
    end)

    it("P199 that cannot be stored raises PipelineRuntimeError with pipeline and cause", function()
      local stage = started(Give("the argument"))
      for _, links in ipairs { { "/x" }, { x = 1 }, { x = {} } } do
        local problem = helper.raises(pipeline.PipelineRuntimeError, stage.set_status, stage, { status_links = links })
        assert.matches('status.Give("the argument")', problem.message, 1, true)
        assert.matches("status_links: a table of URLs by name expected", problem.message, 1, true)
      end
      assert.is_nil(helper.entry(stage).statusTimeMs)
      stage:cleanup()
      local problem = helper.raises(pipeline.PipelineRuntimeError, stage.set_status, stage, { message = "x" })
      assert.matches('status.Give("the argument")', problem.message, 1, true)
      assert.matches("not found", problem.message, 1, true)
      helper.raises(pipeline.UnexpectedPipelineError, Give(1).set_status, Give(1), { message = "x" })
      helper.misuse("unknown option 'url'", stage.set_status, stage, { url = "x" })
      engine:close()
      helper.raises(pipeline.PipelineRuntimeError, stage.set_status, stage, { message = "x" })
    end)

    it("P200 only logs in test mode", function()
      local Speaks = helper.define(function(self)
        self:set_status { message = "half way", status_links = { x = "/x" } }
        local entry = helper.entry(self)
        return { entry.statusMessage, entry.statusTimeMs, entry.statusLinks }
      end)
      local stage = Speaks()
      stage:start_test()
      assert.same({}, stage.outputs.default.value)
      assert.matches("half way", helper.log(20)[1], 1, true)
    end)
  end)
end)
