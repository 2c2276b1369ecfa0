-- Claims as the "task" hook sees them, ends of claims, and the arguments of every verb.
package.path = "spec/binding/?.lua;" .. package.path
local core = require "pipeline.core"
local support = require "support"

describe("a claim", function()
  local e, seen

  before_each(function() e, seen = support.open() end)
  after_each(function() e:close() end)

  it("has the fields of its task", function()
    local stage = support.held(e)
    local id = e:new_id()
    assert.same({ "OK" }, e:task_add{ { id = id, stage = stage, name = "n", queue = "q", payload = "p\0q",
                                        priority = 3, eta = 1000.25 } })
    local fields, text, unknown, record
    e:on("task", function(task)
      fields = { id = task.id, kind = task.kind, tries = task.tries, priority = task.priority, eta = task.eta,
                 queue = task.queue, name = task.name, payload = task.payload }
      record = task.stage
      assert(rawequal(record, task.stage))
      unknown = task.unknown
      text = tostring(task)
      assert(task:slot(12345) == nil)
      assert(math.type(task.claim) == "integer")
      assert(e:task_done(task, {}))
      assert(task.id == id)
    end)
    e:advance(1)
    assert(e:run("ready"))
    assert.same({}, seen.errors)
    assert.same({ id = id, kind = "callback", tries = 0, priority = 3, eta = 1000.25, queue = "q", name = "n",
                  payload = "p\0q" }, fields)
    assert.is_nil(unknown)
    assert.equal(stage, record.id)
    assert.truthy(text:find("callback", 1, true))
  end)

  it("has its stage and slots", function()
    local root, input, id = e:new_ids(1), e:new_id(), e:new_id()
    local children = {
      { id = input, class_path = "spec.Input", args = "", flags = core.ASYNC },
      { id = id, class_path = "spec.Stage", args = "a\0b", inputs = { input }, queue = "q", max_attempts = 7,
        backoff_seconds = 1.5, backoff_factor = 4, timeout = 30, priority = -2, target = "t", base_path = "/b",
        outputs = { { name = "default", slot = id }, { name = "other", slot = e:new_id() } } },
    }
    assert(e:start{ { id = root, class_path = "spec.Root", args = "" } })
    local record, slot
    e:on("task", function(task)
      if task.id == root then
        assert(e:outcome(task, { children = children, fills = { { slot = root, value = "r" } } }))
      elseif task.id == id then
        record, slot = task.stage, task:slot(input)
        assert(e:outcome(task, { kind = "ok", nowait = true, fills = { { slot = record.outputs[2].slot, value = "2" },
                                                                        { slot = id, value = "1" } } }))
      else
        assert(e:outcome(task, { kind = "ok" }))
      end
    end)
    assert(e:run("ready"))
    assert.equal("waiting", e:stage_get(id).state)
    assert.equal(1, e:stage_get(id).missing)
    assert(e:fill(input, { { slot = input, value = "filled" } }))
    assert(e:run("ready"))
    assert.same({}, seen.errors)
    assert.equal("spec.Stage", record.class_path)
    assert.equal("a\0b", record.args)
    assert.same({ input }, record.inputs)
    assert.equal(root, record.parent)
    assert.equal(root, record.root)
    assert.equal("q", record.queue)
    assert.equal(7, record.max_attempts)
    assert.equal(1.5, record.backoff_seconds)
    assert.equal(30, record.timeout)
    assert.equal(-2, record.priority)
    assert.equal("t", record.target)
    assert.equal("/b", record.base_path)
    assert.equal("ready", record.state)
    assert.equal("other", record.outputs[2].name)
    assert.equal(true, slot.filled)
    assert.equal("filled", slot.value)
    local done, slots = e:stage_get(id, true)
    assert.equal("done", done.state)
    assert.equal("1", slots[id].value)
    assert.equal("2", slots[record.outputs[2].slot].value)
    assert.equal(id, slots[id].filler)
    assert.equal(1000, done.created)
  end)

  it("is over with its coroutine", function()
    support.tasks(e, support.held(e), { "a" })
    local kept
    e:on("task", function(task)
      kept = task
      assert(e:task_done(task, { nowait = true }))
      assert.equal("ESTATE", select(2, e:task_done(task, {})))
    end)
    assert(e:run("ready"))
    assert.same({}, seen.errors)
    assert.has_error(function() return kept.id end)
    assert.equal("pipeline.Claim (ended)", tostring(kept))
    assert.equal("ESTATE", select(2, e:task_done(kept, {})))
    local other = support.open()
    assert.has_error(function() other:task_done(kept, {}) end)
    other:close()
  end)

  it("is a failed attempt, after which the task is tried again, when nobody ends it", function()
    support.tasks(e, support.held(e), { "returns", "dies", "yields" })
    local counts, tries = {}, {}
    e:on("task", function(task)
      local name = task.payload
      counts[name] = (counts[name] or 0) + 1
      tries[#tries + 1] = task.tries
      if counts[name] == 2 then assert(e:task_done(task, { nowait = true })) return end
      if name == "dies" then error("dies") end
      if name == "yields" then coroutine.yield() end
    end)
    assert(e:run("all"))
    assert.same({ returns = 2, dies = 2, yields = 2 }, counts)
    assert.same({ 0, 0, 0, 1, 1, 1 }, tries)
    assert.equal(3, #seen.errors)
  end)

  it("may be ended where the coroutine cannot yield, and from outside", function()
    support.tasks(e, support.held(e), { "sorted", "outside" })
    local outside, token
    e:on("task", function(task)
      if task.payload == "outside" then
        outside, token = task, e:token()
        e:suspend()
        return
      end
      local ended
      table.sort({ 1, 2 }, function(a, b)
        if not ended then ended = assert(e:task_done(task, {})) end
        return a < b
      end)
    end)
    for _ = 1, 5 do e:run("next") end
    assert(outside)
    assert.is_true(e:task_done(outside, {}))
    token:wake()
    assert(e:run("ready"))
    assert.same({}, seen.errors)
    assert.equal(0, e:facts().executing)
    local counts = e:counts_get()
    for _, count in ipairs(counts) do assert.equal(0, count.ready + count.claimed) end
  end)

  it("logs a bad result that nobody waited for", function()
    local id = e:new_id()
    assert(e:start{ { id = id, class_path = "spec.Aborted", args = "" } })
    e:on("task", function(task)
      if task.kind == "run" then
        assert(e:abort(id, "meanwhile"))
        assert(e:outcome(task, { nowait = true, fills = { { slot = id, value = "1" } } }))
      else
        assert(e:finalized(task, { nowait = true }))
      end
    end)
    assert(e:run("ready"))
    local found
    for _, line in ipairs(seen.lines) do found = found or line.text:find("EABORTED", 1, true) end
    assert.truthy(found)
  end)

  it("must be of the kind the verb is for", function()
    support.tasks(e, support.held(e), { "a" })
    local messages = {}
    e:on("task", function(task)
      messages[1] = select(2, pcall(e.outcome, e, task, {}))
      messages[2] = select(2, pcall(e.finalized, e, task, {}))
      messages[3] = select(2, pcall(e.task_done, e, {}, {}))
      messages[4] = select(2, pcall(e.task_done, e, task, 1))
      assert(e:task_done(task, {}))
    end)
    assert(e:run("ready"))
    assert.truthy(messages[1]:find("outcome() ends a run task, this is a ", 1, true))
    assert.truthy(messages[2]:find("finalized() ends a finalize or abort task, this is a ", 1, true))
    assert.truthy(messages[3]:find("pipeline.Claim expected", 1, true))
    assert.truthy(messages[4]:find("table expected", 1, true))
  end)

  it("may have children that are gathered one by one, whose settings are read once", function()
    local id, ids, problems = e:new_id(), e:new_ids(4), {}
    local input = ids + 1
    local reads = 0
    local settings = setmetatable({}, { __index = function(_, name)
      reads = reads + (name == "class_path" and 1 or 0)
      return ({ class_path = "spec.Child", queue = "q", max_attempts = 4, timeout = 2.5, priority = 3 })[name]
    end })
    local function refused(children, ...) problems[#problems + 1] = select(2, pcall(children.add, children, ...)) end
    assert(e:start{ { id = id, class_path = "spec.Parent", args = "" } })
    e:on("task", function(task)
      if task.id ~= id then return assert(e:returned(task, 0, "of " .. task.id - id)) end
      local children = core.children(3)
      children:add(settings, ids, "a")
      refused(children, { class_path = "spec.Child", max_attempts = "x" }, ids + 1, "b")
      refused(children, settings, ids + 1, "b", { 3, 2 })
      refused(children, settings, ids + 1)
      children:add({ class_path = "spec.Other" }, ids + 1, "b")
      children:add(settings, ids + 2, "c", { ids, input }, { input }, {
        { name = "default", slot = id }, { name = "more", slot = ids + 3 } })
      refused(children, settings, ids + 3, "d")
      assert(e:outcome(task, { children = children, nowait = true }))
      refused(children, settings, ids + 3, "d")
      problems[#problems + 1] = select(2, e:outcome(task, { children = children }))
    end)
    assert(e:run("ready"))
    assert.same({}, seen.errors)
    assert.equal(1, reads)
    for i, text in ipairs{ "children[2].max_attempts: integer expected, got string",
      "children[2].inputs[2]: the ids must be ascending", "children[2].args: string expected, got nil",
      "more children than there was to be", "the children of a run that has ended", "ESTATE" } do
      assert.truthy(problems[i]:find(text, 1, true), problems[i])
    end
    local list, slots = e:tree_get(id)
    assert.same({ "spec.Parent", "spec.Child", "spec.Other", "spec.Child" }, {
      list[1].class_path, list[2].class_path, list[3].class_path, list[4].class_path })
    for _, i in ipairs{ 2, 4 } do
      assert.same({ "q", 4, 2.5, 3 }, { list[i].queue, list[i].max_attempts, list[i].timeout, list[i].priority })
    end
    assert.same({ "default", 3 }, { list[3].queue, list[3].max_attempts })
    assert.same({ "a", "b", "c" }, { list[2].args, list[3].args, list[4].args })
    assert.same({ "of " .. ids - id, "of " .. ids + 1 - id }, { slots[ids].value, slots[ids + 1].value })
    assert.equal("of " .. ids + 2 - id, slots[id].value)
    assert.is_false(slots[ids + 3].filled)
  end)

  it("may return one value, by its bytes alone", function()
    local id = e:new_id()
    local messages = {}
    assert(e:start{ { id = id, class_path = "spec.Leaf", args = "" } })
    e:on("task", function(task)
      messages[1] = select(2, pcall(e.returned, e, task, -1, "x"))
      messages[2] = select(2, pcall(e.returned, e, task, 0))
      assert(e:returned(task, 0, "v\0"))
      messages[3] = select(2, e:returned(task, 0, "again"))
    end)
    assert(e:run("ready"))
    local record, slots = e:stage_get(id, true)
    assert.equal("done", record.state)
    assert.equal("v\0", slots[id].value)
    assert.truthy(messages[1]:find("out of range", 1, true))
    assert.truthy(messages[2]:find("string expected", 1, true))
    assert.equal("ESTATE", messages[3])
  end)

  it("may have tens of thousands of children, in linear time", function()
    local id = e:new_id()
    local spent = {}
    local function children(n)
      local list = {}
      for i = 1, n do list[i] = { id = e:new_id(), class_path = "spec.Child", args = "x" } end
      return list
    end
    assert(e:start{ { id = id, class_path = "spec.Parent", args = "" } })
    local ran = 0
    e:on("task", function(task)
      if task.id ~= id then
        ran = ran + 1
        return e:outcome(task, { nowait = true, fills = { { slot = task.id, value = "1" } } })
      end
      local list = children(20000)
      local started = os.clock()
      assert(e:outcome(task, { children = list, fills = { { slot = id, value = "1" } }, nowait = true }))
      spent = os.clock() - started
    end)
    assert(e:run("ready"))
    assert.same({}, seen.errors)
    assert.equal(20000, ran)
    assert.equal("done", e:stage_get(id).state)
    assert.truthy(spent < 2, spent)
  end)
end)

describe("the arguments of verbs", function()
  local e
  before_each(function() e = support.open() end)
  after_each(function() e:close() end)

  local function stage(extra)
    local record = { id = 1, class_path = "spec.X", args = "" }
    for key, value in pairs(extra) do record[key] = value end
    return record
  end

  local function check(expected, method, ...)
    local ok, err = pcall(e[method], e, ...)
    assert.is_false(ok, expected)
    assert.truthy(tostring(err):find(expected, 1, true), tostring(err) .. " instead of " .. expected)
  end

  it("are checked, and the message names the place", function()
    check("table expected, got nil", "start")
    check("stages[1]: table expected, got number", "start", { 1 })
    check("stages[2]: table expected, got boolean", "start", { stage{}, false })
    check("stages[1].id: integer expected, got nil", "start", { {} })
    check("stages[1].id: not from 1 to", "start", { stage{ id = 0 } })
    check("stages[1].id: integer expected, got a float", "start", { stage{ id = 1.5 } })
    check("stages[1].class_path: string expected, got number", "start", { stage{ class_path = 3 } })
    check("stages[1].max_attempts: integer expected, got string", "start", { stage{ max_attempts = "3" } })
    check("stages[1].max_attempts: not from 1 to", "start", { stage{ max_attempts = 0 } })
    check("stages[1].max_attempts: not from 1 to", "start", { stage{ max_attempts = 1 << 40 } })
    check("stages[1].timeout: a finite number", "start", { stage{ timeout = 0 / 0 } })
    check("stages[1].backoff_factor: a finite number", "start", { stage{ backoff_factor = -1 } })
    check("stages[1].hold: boolean expected, got number", "start", { stage{ hold = 1 } })
    check("stages[1].eta: number expected, got string", "start", { stage{ eta = "now" } })
    check("stages[1].inputs: table expected, got string", "start", { stage{ inputs = "1" } })
    check("stages[1].inputs[2]: the ids must be ascending", "start", { stage{ inputs = { 2, 2 } } })
    check("stages[1].after[1]: integer expected, got string", "start", { stage{ after = { "2" } } })
    check("stages[1].outputs[1].name: the first output must be", "start",
      { stage{ outputs = { { name = "x", slot = 1 } } } })
    check("stages[1].outputs[2].slot: integer expected, got nil", "start",
      { stage{ outputs = { { name = "default", slot = 1 }, { name = "x" } } } })
    check("tasks[1].kind: unknown choice 'pulled'", "task_add", { { id = 1, kind = "pulled" } })
    check("tasks[1].payload: string expected, got table", "task_add", { { id = 1, payload = {} } })
    check("fills[1].value: string expected, got nil", "fill", 1, { { slot = 1 } })
    check("integer expected, got string", "fill", "1", {})
    check("message: string expected, got number", "status", 1, { message = 3 })
    check("string expected, got number", "meta", 3)
    check("string expected, got boolean", "abort", 1, true)
    check("number expected, got string", "retry", 1, "soon")
    check("limit: not from 1 to", "roots_list", { limit = 0 })
    check("integer expected, got table", "stage_get", {})
    check("integer expected, got nil", "cleanup")
    check("number expected", "unwatch", "key")
  end)

  it("of outcome name places in children", function()
    local id = e:new_id()
    assert(e:start{ { id = id, class_path = "spec.X", args = "" } })
    local messages = {}
    e:on("task", function(task)
      local function try(outcome)
        local ok, err = pcall(e.outcome, e, task, outcome)
        messages[#messages + 1] = ok and "no error" or err
      end
      try{ children = { stage{}, stage{}, stage{ max_attempts = "x" } } }
      try{ failure = { message = 3 } }
      try{ failure = 3 }
      try{ kind = "other" }
      try{ tasks = { {} } }
      try{ give_up = 1 }
      assert(e:outcome(task, { fills = { { slot = id, value = "" } } }))
    end)
    assert(e:run("ready"))
    local expected = {
      "children[3].max_attempts: integer expected, got string", "failure.message: string expected, got number",
      "failure: table expected, got number", "kind: unknown choice 'other'", "tasks[1].id: integer expected, got nil",
      "give_up: boolean expected, got number",
    }
    assert.equal(#expected, #messages)
    for i, text in ipairs(expected) do assert.truthy(messages[i]:find(text, 1, true), messages[i]) end
  end)

  it("may have metamethods that raise or call the engine", function()
    local evil = setmetatable({}, { __index = function() error({ "mine" }, 0) end })
    local ok, err = pcall(e.start, e, { evil })
    assert.is_false(ok)
    assert.same({ "mine" }, err)
    local id = e:new_id()
    local lazy = setmetatable({ id = id, class_path = "spec.Lazy", hold = true }, {
      __index = function(_, key) return key == "args" and e:meta("made", "by a metamethod") or nil end,
    })
    assert.same({ "OK" }, e:start{ lazy })
    assert.equal("by a metamethod", e:stage_get(id).args)
  end)

  it("sort fills, and the later value of a slot wins", function()
    local id, other = e:new_id(), e:new_id()
    assert(e:start{ stage{ id = id, outputs = { { name = "default", slot = id }, { name = "o", slot = other } } } })
    e:on("task", function(task)
      assert(e:outcome(task, { fills = { { slot = other, value = "o" }, { slot = id, value = "1" },
                                         { slot = id, value = "2" } } }))
    end)
    assert(e:run("ready"))
    local _, slots = e:stage_get(id, true)
    assert.equal("2", slots[id].value)
    assert.equal("o", slots[other].value)
  end)
end)

describe("reads", function()
  it("find stages by id and key, trees, roots, counts and failures", function()
    local e, seen = support.open()
    local root, child = e:new_id(), e:new_id()
    assert.same({ "OK" }, e:start{ { id = root, class_path = "spec.Root", args = "", key = "k" } })
    assert.same({ "EEXISTS" }, e:start{ { id = e:new_id(), class_path = "spec.Root", args = "", key = "k" } })
    local failed
    e:on("task", function(task)
      if task.id == child then
        assert(e:outcome(task, { fills = { { slot = child, value = "c" } } }))
      elseif not failed then
        failed = true
        assert(e:outcome(task, { kind = "failed", retry_at = e:now(), retry_message = "again",
                                 failure = { error_class = "Oops", message = "m", traceback = "t" } }))
      else
        assert(e:outcome(task, { children = { { id = child, class_path = "spec.Child", args = "" } },
                                 fills = { { slot = root, value = "r" } } }))
      end
    end)
    assert(e:run("all"))
    assert.same({}, seen.errors)
    assert.equal(root, e:stage_get("k").id)
    assert.is_nil(e:stage_get("other key"))
    assert.equal(1, select("#", e:stage_get(e:new_id())))
    local tree, slots = e:tree_get(child)
    assert.equal(2, #tree)
    assert.equal(root, tree[2].parent)
    assert.equal("c", slots[child].value)
    assert.is_nil(e:tree_get("other key"))
    local roots, root_slots, next_id = e:roots_list{ class_path = "spec.Root" }
    assert.equal(1, #roots)
    assert.equal("r", root_slots[root].value)
    assert.is_nil(next_id)
    local failures = e:failures_get(root)
    assert.equal(1, #failures)
    assert.equal("Oops", failures[1].error_class)
    assert.equal("t", failures[1].traceback)
    assert.equal(1000, failures[1].time)
    assert.equal(1, tree[1].attempt)
    assert.equal("again", tree[1].retry_message)
    assert(e:status(root, { message = "hello", links = "x" }))
    assert.same({ message = "hello", links = "x", time = 1000 }, e:stage_get(root).status)
    local counts, stages, workers = e:counts_get()
    assert.equal("table", type(counts))
    assert.equal(2, stages)
    assert.equal(1, workers)
    assert.equal("integer", math.type(e:cleanup(root)))
    assert.is_nil(e:stage_get(root))
    assert.is_nil(e:meta("nothing"))
    assert.equal("a", e:meta("m", "a", true))
    assert.equal("a", e:meta("m", "b", true))
    e:close()
  end)
end)
