-- durable/body.lua: what `self` can do in the body of a durable function, in tests and in memory.

local pipeline = require "pipeline"
local support = require "spec.durable.support"
local tasklets = require "pipeline.tasklets"

local name_of, open, workflow = support.name, support.open, support.workflows()

local function outputs(run, ...)
  local stage = workflow(run)(...)
  stage:start_test()
  return stage.outputs.default.value, stage
end

local function is(class, fn, ...)
  local ok, problem = pcall(fn, ...)
  assert.is_false(ok)
  if not pipeline.is(problem, class) then error(("not %s but %s"):format(tostring(class), tostring(problem)), 0) end
  return problem.message
end

describe("the definition of a durable function", function()
  it("W1 workflow gives the class that define gives with durable = true", function()
    local run = function() return 1 end
    local name = name_of "Same"
    local class = pipeline.workflow(name, { run = run })
    assert.equal(class, pipeline.define(name, { run = run, durable = true }))
    assert.is_true(class.durable)
    assert.match("taken by another definition", is(pipeline.ConfigurationError, pipeline.define, name, { run = run }))
  end)

  it("W2 durable and async exclude each other", function()
    assert.match("'durable' and 'async'", is(pipeline.ConfigurationError, pipeline.workflow, name_of "A",
      { run = print, async = true }))
  end)

  it("W3 names of the methods of a body are reserved in durable classes only", function()
    for _, name in ipairs { "step", "sleep", "await", "now", "uuid", "signal_to", "continue_as_new", "log" } do
      assert.match("'" .. name .. "' is a method of durable functions", is(pipeline.ConfigurationError,
        pipeline.workflow, name_of "R", { run = print, [name] = print }))
    end
    local class = pipeline.define(name_of "P", {
      run = function(self) return self:step(1) + self.timer end, step = function(_, n) return n + 1 end, timer = 5,
    })
    local stage = class()
    stage:start_test()
    assert.equal(7, stage.outputs.default.value)
    local durable = workflow(print)
    assert.match("'stream' is a method", is(pipeline.ConfigurationError, function() durable.stream = print end))
  end)

  it("refuses fields that say nothing, and a plain class below a durable one", function()
    assert.match('determinism is "strict" or "by_name", not "loose"', is(pipeline.ConfigurationError, pipeline.workflow,
      name_of "D", { run = print, determinism = "loose" }))
    assert.match("versions has functions by the number", is(pipeline.ConfigurationError, pipeline.workflow, name_of "D",
      { run = print, versions = { print, old = print } }))
    assert.match('on_error is "abort" or "hold"', is(pipeline.ConfigurationError, pipeline.workflow, name_of "D",
      { run = print, on_error = "wait" }))
    local durable = workflow(print)
    assert.match("is not durable itself", is(pipeline.ConfigurationError, pipeline.define, name_of "E",
      { extends = durable, run = print }))
    local plain = pipeline.define(name_of "H", { run = print, help = function() return "help" end })
    local extended = workflow { extends = plain, run = function(self) return self:help() end }
    local stage = extended()
    stage:start_test()
    assert.equal("help", stage.outputs.default.value)
  end)
end)

describe("steps of a durable function", function()
  it("W11 get their arguments and give all their results, nils included", function()
    local got = outputs(function(self, x)
      local results = table.pack(self:step("a", function(...)
        return select("#", ...), ..., nil
      end, x, nil))
      return { results.n, results[1], results[2], select("#", self:step("none", function() end)) }
    end, 7)
    assert.same({ 3, 2, 7, 0 }, got)
  end)

  it("W21 results are a decoded copy", function()
    local kept = { 1 }
    local got = outputs(function(self)
      local result = self:step("a", function() return kept end)
      kept[1] = 2
      return { result[1], result == kept }
    end)
    assert.same({ 1, false }, got)
  end)

  it("W12 W14 W178 each step is executed once, although the body is run again at every wait", function()
    local executed, entered = {}, 0
    local got = outputs(function(self)
      entered = entered + 1
      local sum = 0
      for i = 1, 4 do
        sum = sum + self:step("s", function() executed[#executed + 1] = i return i end)
        self:sleep(3600)
      end
      return sum
    end)
    assert.equal(10, got)
    assert.same({ 1, 2, 3, 4 }, executed)
    assert.equal(5, entered)
  end)

  it("W13 W39 W57 know their key, their attempt and how many there may be", function()
    local infos = {}
    local _, stage = outputs(function(self)
      local function note()
        local info = pipeline.step()
        infos[#infos + 1] = ("%s %d/%s"):format(info.key, info.attempt, tostring(info.max_attempts))
        if info.attempt < 2 then error("once more") end
      end
      self:step({ name = "a", backoff_seconds = 1 }, note)
      self:step({ name = "a", key = 17, max_attempts = 5 }, note)
    end)
    local id = stage.id
    assert.same({ id .. "/a#1 1/3", id .. "/a#1 2/3", id .. "/a@17 1/5", id .. "/a@17 2/5" }, infos)
    is(pipeline.NotInStepError, pipeline.step)
  end)

  it("W22 a result that cannot be stored fails the step for good", function()
    local calls = 0
    local got = outputs(function(self)
      local ok, problem = pcall(self.step, self, "a", function()
        calls = calls + 1
        return { f = coroutine.create(print) }
      end)
      return { ok, pipeline.is(problem, pipeline.SerializationError), problem.message }
    end)
    assert.same({ false, true }, { got[1], got[2] })
    assert.match('result of step "a"', got[3])
    assert.equal(1, calls)
  end)

  it("W23 a result that is too large is an error of the step that the body may catch", function()
    local calls = 0
    local got = outputs(function(self)
      local ok, problem = pcall(self.step, self, "a", function() calls = calls + 1 return ("x"):rep(3 << 20) end)
      return { ok, pipeline.is(problem, pipeline.LimitError) }
    end)
    assert.same({ false, true }, got)
    assert.equal(1, calls)
  end)

  it("W24 take no future as an argument", function()
    local got = outputs(function(self)
      local f = self:start_step("a", function() return 1 end)
      local problems = {}
      for i, value in ipairs { f, { f } } do
        problems[i] = select(2, pcall(self.step, self, "b", print, value))
      end
      self:await(f)
      return problems
    end)
    for i = 1, 2 do assert.match("bad argument #3 to 'step' %(a future: await it first", got[i]) end
  end)

  it("W25 cannot be asked for inside a step function", function()
    local got = outputs(function(self)
      local ok, problem = pcall(self.step, self, { name = "outer", max_attempts = 1 }, function()
        self:step("inner", print)
      end)
      return { ok, pipeline.is(problem, pipeline.NotInStepError), problem.message }
    end)
    assert.same({ false, true }, { got[1], got[2] })
    assert.match('self:step is called inside the function of step "outer"', got[3])
  end)

  it("W26 more than max_parallel_steps begin in the order of the calls, as others end", function()
    local at_work, most, order = 0, 0, {}
    local stage = workflow({ max_parallel_steps = 3, run = function(self)
      local list = {}
      for i = 1, 10 do
        list[i] = self:start_step("s", function()
          at_work = at_work + 1
          most = math.max(most, at_work)
          order[#order + 1] = i
          tasklets.await(tasklets.sleep(i))
          at_work = at_work - 1
          return i
        end)
      end
      return { self:await(table.unpack(list)) }
    end })()
    stage:start_test()
    assert.equal(3, most)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, order)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, stage.outputs.default.value)
  end)

  it("W27 a step that nobody awaits is waited for, and its failure is that of the run", function()
    local done = false
    assert.equal("early", outputs(function(self)
      self:start_step("late", function()
        tasklets.await(tasklets.sleep(5))
        done = true
      end)
      return "early"
    end))
    assert.is_true(done)
    local ok, problem = pcall(outputs, function(self)
      self:start_step({ name = "bad", max_attempts = 1 }, function() error("bad step", 0) end)
      return "early"
    end)
    assert.is_false(ok)
    assert.equal("bad step", problem)
  end)
end)

describe("failing steps", function()
  it("W30 W31 W32 are tried again with growing pauses, up to max_attempts calls", function()
    local times = {}
    local got = outputs(function(self)
      local begun = self:now()
      local given = { name = "a", max_attempts = 4, backoff_seconds = 10, backoff_factor = 3 }
      local ok, problem = pcall(self.step, self, given, function()
        times[#times + 1] = math.floor(pipeline.default():now() - begun + 0.5)
        error("no", 0)
      end)
      return { ok, problem }
    end)
    assert.same({ 0, 10, 40, 130 }, times)
    assert.same({ false, "no" }, got)
    local calls = 0
    outputs(function(self)
      pcall(self.step, self, { name = "a", max_attempts = 5, backoff_seconds = 0 }, function()
        calls = calls + 1
        error("no")
      end)
    end)
    assert.equal(5, calls)
  end)

  it("W30 options of the class are the defaults of steps, one by one", function()
    local calls = 0
    local stage = workflow({ max_attempts = 2, backoff_seconds = 1, run = function(self)
      local begun = self:now()
      pcall(self.step, self, "a", function() calls = calls + 1 error("no") end)
      return self:now() - begun
    end })()
    stage:start_test()
    assert.equal(2, calls)
    assert.is_true(math.abs(stage.outputs.default.value - 1) < 0.5)
  end)

  it("W34 W35 W174 the last error is the same value in every life", function()
    local object = pipeline.Abort("why", { code = 17, list = { 1, 2 } })
    local raised = { "text: of an error", { a = { 1 } }, 42, false, object }
    for i = 1, #raised + 1 do
      local value, calls, seen = raised[i], 0, {}
      outputs(function(self)
        local ok, problem = pcall(self.step, self, { name = "a", max_attempts = 2, backoff_seconds = 0 }, function()
          calls = calls + 1
          error(value, 0)
        end)
        assert(not ok)
        seen[#seen + 1] = { problem }
        self:sleep(1)
      end)
      assert.equal(2, #seen)
      if value == object then
        for _, each in ipairs(seen) do
          assert.is_true(pipeline.is(each[1], pipeline.Abort))
          assert.same({ "why", 17, { 1, 2 } }, { each[1].message, each[1].code, each[1].list })
        end
        assert.equal(seen[1][1].traceback, seen[2][1].traceback)
        assert.equal(seen[1][1].where, seen[2][1].where)
        assert.equal(1, calls) -- Abort is final
      else
        assert.same({ value }, seen[1])
        assert.same({ value }, seen[2])
        assert.equal(2, calls)
      end
    end
  end)

  it("W36 W65 W173 a step in the handler of a failed one works and replays", function()
    local calls = 0
    assert.equal("undone 2", outputs(function(self)
      local ok = pcall(self.step, self, { name = "a", max_attempts = 1 }, error, "no")
      local text = ok and "done" or self:step("undo", function() calls = calls + 1 return "undone" end)
      self:sleep(10)
      return text .. " " .. self:step("b", function() return 2 end)
    end))
    assert.equal(1, calls)
  end)

  it("W37 Abort and the classes of no_retry are final", function()
    local Declined = { __name = "Declined" }
    for _, value in ipairs { pipeline.Abort("stop"), setmetatable({}, Declined), pipeline.FetchError("gone") } do
      local calls = 0
      outputs(function(self)
        pcall(self.step, self, { name = "a", no_retry = { Declined, pipeline.FetchError } }, function()
          calls = calls + 1
          error(value, 0)
        end)
      end)
      assert.equal(1, calls)
    end
  end)

  it("W38 Retry says when the next attempt is", function()
    local times = {}
    outputs(function(self)
      local begun = self:now()
      self:step("a", function()
        times[#times + 1] = math.floor(pipeline.default():now() - begun + 0.5)
        if #times == 1 then error(pipeline.Retry("later", { after = 30 })) end
      end)
    end)
    assert.same({ 0, 30 }, times)
  end)

  it("W40 an attempt that takes too long is cancelled, and fails with TimeoutError", function()
    local closed, begun = 0, 0
    local got = outputs(function(self)
      local ok, problem = pcall(self.step, self, { name = "slow", timeout = 5, max_attempts = 2, backoff_seconds = 1 },
        function()
          begun = begun + 1
          local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
          tasklets.await(tasklets.sleep(100))
        end)
      return { ok, pipeline.is(problem, pipeline.TimeoutError), problem.message }
    end)
    assert.same({ false, true, 'step "slow" took longer than 5 s' }, got)
    assert.same({ 2, 2 }, { begun, closed })
  end)

  it("W42 a step that runs at most once is tried again after an error, if it may be", function()
    local calls = 0
    assert.equal(2, outputs(function(self)
      return self:step({ name = "a", at_most_once = true, max_attempts = 3, backoff_seconds = 1 }, function()
        calls = calls + 1
        assert(pipeline.step().attempt == calls)
        if calls == 1 then error("no") end
        return calls
      end)
    end))
    calls = 0
    pcall(outputs, function(self)
      self:step({ name = "a", at_most_once = true }, function() calls = calls + 1 error("no") end)
    end)
    assert.equal(1, calls)
  end)
end)

describe("a run that fails", function()
  it("W46 aborts with the error as its reason", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:step({ name = "charge", max_attempts = 1 }, function() error("card declined", 0) end)
    end)():start()
    local ok, problem = pcall(engine.wait, engine, stage)
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.AbortedError))
    assert.match("card declined", problem.reason)
  end)

  it("W48 an error in the body itself aborts at once, whatever its type", function()
    for _, value in ipairs { "text", { "table" }, 42 } do
      local engine <close> = open()
      local entered = 0
      local stage = workflow(function()
        entered = entered + 1
        error(value, 0)
      end)():start()
      assert.is_false(pcall(engine.wait, engine, stage))
      assert.equal(1, entered)
    end
  end)

  it("W47 W63 with on_error = hold it is held, and goes on after resume with the code of now", function()
    local engine <close>, lines = open()
    local fixed, calls = false, 0
    local stage = workflow({ on_error = "hold", run = function(self)
      local a = self:step("a", function() calls = calls + 1 return 1 end)
      local missing = fixed and { b = 2 } or nil
      return a + missing.b
    end })():start()
    engine:drain()
    assert.match("held: .*attempt to index a nil value", lines[#lines])
    assert.is_true(engine:resume(stage))
    engine:drain()
    assert.equal(1, calls)
    fixed = true
    assert.is_true(engine:resume(stage.id))
    assert.equal(3, engine:wait(stage).default.value)
    assert.equal(1, calls)
    is(pipeline.UnexpectedPipelineError, engine.resume, engine, stage)
  end)
end)

describe("calls that do not belong where they are", function()
  it("W10 methods of a body outside of it name where they belong", function()
    local engine <close> = open()
    local kept
    local stage = workflow({ run = function(self) kept = self return 1 end, finalized = function(self)
      assert.match("self:sleep is possible only in the body", is(pipeline.NotInStepError, self.sleep, self, 1))
    end })():start()
    engine:wait(stage)
    assert.match("self:step is possible only in the body", is(pipeline.NotInStepError, kept.step, kept, "a", print))
    local ok, problem = pcall(function()
      pipeline.define(name_of "Plain", { run = function(self) self:step("a", print) end })():start_test()
    end)
    assert.is_false(ok)
    assert.match("method 'step'", tostring(problem))
  end)

  it("W68 what waits, or touches the world, is refused in a body", function()
    local calls = {
      function() tasklets.await(tasklets.sleep(1)) end, function() pipeline.default():sleep(1) end,
      function() tasklets.fetch { url = "http://127.0.0.1:1/" } end, function() tasklets.Semaphore(1):acquire() end,
      function() tasklets.Mutex():acquire() end, function() pipeline.default():transaction(print) end,
      function() pipeline.common.Return(1):start() end, function() pipeline.from_id("x") end, function() os.time() end,
      function() os.clock() end, function() math.random() end, function() io.open("/dev/null") end,
      function() os.getenv("HOME") end,
    }
    local got = outputs(function()
      local problems = {}
      for i, call in ipairs(calls) do
        local ok, problem = pcall(call)
        problems[i] = not ok and pipeline.is(problem, pipeline.NotInStepError) and "refused" or tostring(problem)
      end
      return problems
    end)
    for i = 1, #calls do assert.equal("refused", got[i], "call " .. i) end
    assert.is_number(os.time()) -- the guards are gone
  end)

  it("W68 guards = true has them refused outside of tests, too", function()
    for guards, refused in pairs { [true] = true, [false] = false } do
      local engine <close> = open(nil, { guards = guards })
      local stage = workflow(function() return { pcall(os.time) } end)():start()
      assert.equal(not refused, engine:wait(stage).default.value[1])
    end
  end)

  it("W171 W172 a call inside table.sort, or in a coroutine of the body's own, is refused", function()
    local got = outputs(function(self)
      local _, in_sort = pcall(table.sort, { 2, 1 }, function() self:step("a", print) end)
      local _, in_coroutine = coroutine.resume(coroutine.create(function() self:sleep(1) end))
      return { pipeline.is(in_sort, pipeline.NotYieldableError), in_sort.message,
        pipeline.is(in_coroutine, pipeline.NotInStepError) }
    end)
    assert.is_true(got[1] and got[3])
    assert.match("^self:step cannot wait here", got[2])
  end)
end)

describe("time, chance and the log", function()
  it("W66 now stands while the body computes, and is equal in every life", function()
    local seen = {}
    outputs(function(self)
      local list = { self:now(), self:now() }
      for i = 1, 3 do
        self:sleep(i)
        list[#list + 1] = self:now()
      end
      seen[#seen + 1] = list
    end)
    local last = seen[#seen]
    assert.equal(last[1], last[2])
    for i = 1, 3 do assert.is_true(math.abs(last[i + 2] - last[i + 1] - i) < 0.01) end
  end)

  it("W67 random and uuid are equal in every life and different between runs", function()
    local seen = {}
    local class = workflow(function(self)
      local list = { self:random(), self:random(6), self:random(10, 20), self:uuid() }
      seen[#seen + 1] = table.concat(list, " ")
      self:sleep(1)
      return list[4]
    end)
    local uuids = {}
    for i = 1, 2 do
      local stage = class()
      stage:start_test()
      uuids[i] = stage.outputs.default.value
    end
    assert.equal(4, #seen)
    assert.equal(seen[1], seen[2])
    assert.not_equal(uuids[1], uuids[2])
    local got = outputs(function(self)
      local ok, problem = pcall(self.step, self, { name = "a", max_attempts = 1 }, function() return self:random() end)
      return { ok, pipeline.is(problem, pipeline.NotInStepError) }
    end)
    assert.same({ false, true }, got)
  end)

  it("W69 sorted_pairs has one order", function()
    local t, keys = { b = 1, a = 2, [10] = 3, [2] = 4, [true] = 5, c = 6 }, {}
    for key, value in pipeline.sorted_pairs(t) do
      keys[#keys + 1] = tostring(key)
      assert.equal(t[key], value)
    end
    assert.equal("2 10 a b c true", table.concat(keys, " "))
  end)

  it("W70 log writes a line for each passage, not for each replay", function()
    local engine <close>, lines = open()
    local replaying = {}
    local stage = workflow(function(self)
      self:log("info", "began")
      self:step("a", function() end)
      self:log("info", "done a")
      self:sleep(1)
      replaying[#replaying + 1] = self:is_replaying()
      self:log("info", "slept")
    end)():start()
    engine:wait(stage)
    local said = {}
    for _, line in ipairs(lines) do
      said[#said + 1] = line:match("began") or line:match("done a") or line:match("slept")
    end
    assert.same({ "began", "done a", "slept" }, said)
    assert.same({ false }, replaying)
  end)
end)

describe("timers", function()
  it("W72 W77 W177 a sleep ends at its time, however long or short", function()
    local begun = os.clock()
    local got = outputs(function(self)
      local at = self:now()
      for _ = 1, 14 do self:sleep(86400) end
      self:sleep(0.0005)
      self:sleep(0)
      self:sleep(-5)
      return self:now() - at
    end)
    assert.is_true(math.abs(got - 14 * 86400) < 1)
    assert.is_true(os.clock() - begun < 60)
  end)

  it("W72 a timer is a future, also of a time of the day", function()
    local got = outputs(function(self)
      local at = self:now()
      local timer, late = self:timer { at = at + 100 }, self:timer(300)
      self:sleep(10)
      local first = self:now() - at
      self:await(timer)
      local second = self:now() - at
      self:await(late, timer)
      return { first, second, self:now() - at }
    end)
    for i, expected in ipairs { 10, 100, 300 } do assert.is_true(math.abs(got[i] - expected) < 0.5) end
  end)
end)

describe("children", function()
  local Add = pipeline.define(name_of "Add", { output_names = { "product" }, run = function(self, a, b)
    self:fill("product", a * b)
    return a + b
  end })
  local Fail = pipeline.define(name_of "Fail", { max_attempts = 1, run = function() error("bad child", 0) end })

  it("W95 await gives the default output of a child, or the one that is named", function()
    assert.same({ 5, 6, 11, 30 }, (outputs(function(self)
      local f = self:spawn(Add(2, 3))
      local product = self:await(f.product)
      local sum = self:await(f)
      local g = self:spawn(Add(f, f.product))
      return { sum, product, self:await(g), self:await(g.product) }
    end)))
  end)

  it("W7 a run that returns nothing has no output, one that returns a future that child's outputs", function()
    local engine <close> = open()
    local stage = workflow(function(self) self:spawn(Add(1, 2)) end)():start()
    assert.is_nil(engine:wait(stage).default.value)
    assert.is_true(stage.outputs.default.filled)
    stage = workflow({ output_names = { "product" }, run = function(self) return self:spawn(Add(3, 4)) end })():start()
    engine:wait(stage)
    assert.same({ 7, 12 }, { stage.outputs.default.value, stage.outputs.product.value })
  end)

  it("W96 W97 an aborted child raises AbortedError at the await, in every life, and the run goes on", function()
    local engine <close> = open(nil, { warm_runs = 0 })
    local seen = {}
    local stage = workflow(function(self)
      local good = self:spawn(Add(1, 2))
      local ok, problem = pcall(self.await, self, self:spawn(Fail()))
      seen[#seen + 1] = { ok, pipeline.is(problem, pipeline.AbortedError), problem.reason, #problem.failures }
      self:sleep(5)
      return self:await(good)
    end)():start()
    assert.equal(3, engine:wait(stage).default.value)
    assert.is_true(#seen >= 2)
    for _, each in ipairs(seen) do
      assert.same({ false, true, 1 }, { each[1], each[2], each[4] })
      assert.match("bad child", each[3])
    end
    assert.equal("done", engine:stage(stage.id).state)
  end)

  it("W96 W97 the outputs of a child that was aborted, or is detached, are known in every life", function()
    local engine <close> = open(nil, { warm_runs = 0 })
    local Bad = pipeline.define(name_of "Bad", { output_names = { "more" }, max_attempts = 1, run = function()
      error("bad child", 0)
    end })
    local Good = pipeline.define(name_of "Good", { output_names = { "more" }, run = function(self)
      self:fill("more", 7)
    end })
    local seen = {}
    local stage = workflow(function(self)
      local bad, good = self:spawn(Bad()), self:spawn(Good(), { detached = true })
      local _, first = pcall(self.await, self, bad.more)
      local _, second = pcall(self.await, self, bad)
      self:sleep(5)
      local _, third = pcall(self.await, self, bad.more)
      local sum = self:await(self:spawn(Add(good.more, 2)))
      for i, problem in ipairs { first, second, third } do
        seen[#seen + 1] = ("%d %s %s"):format(i, problem.class, problem.message)
      end
      self:sleep(5)
      return sum
    end)():start()
    assert.equal(9, engine:wait(stage).default.value)
    assert.is_true(#seen >= 6)
    for _, each in ipairs(seen) do assert.match("^%d AbortedError .*bad child", each) end
  end)

  it("W96 an abort of the child from outside is the same", function()
    local engine <close> = open()
    local Slow = pipeline.define(name_of "Slow", {
      async = true, run = function() end, try_cancel = function() return true end,
    })
    local child_id
    local stage = workflow(function(self)
      local f = self:spawn(Slow())
      child_id = tostring(f.default):match('slot_key="(%x+)"')
      local ok, problem = pcall(self.await, self, f)
      return { ok, problem.reason }
    end)():start()
    engine:drain()
    assert.is_true(engine:from_id(child_id):abort("enough"))
    assert.same({ false, "enough" }, engine:wait(stage).default.value)
  end)

  it("W98 an aborted child that nobody awaits fails the run at its end", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:spawn(Fail())
      return 1
    end)():start()
    local ok, problem = pcall(engine.wait, engine, stage)
    assert.is_false(ok)
    assert.match("bad child", problem.reason)
  end)

  it("W102 a detached child is a root of its own", function()
    local engine <close> = open()
    local ran = {}
    local Mail = pipeline.define(name_of "Mail", { run = function(_, to) ran[#ran + 1] = to end })
    local stage = workflow(function(self)
      local f = self:spawn(Mail("ada"), { detached = true })
      assert(not pcall(self.await, self, f))
      self:sleep(1)
      error("no", 0)
    end)():start()
    assert.is_false(pcall(engine.wait, engine, stage))
    engine:drain { delayed = true }
    assert.same({ "ada" }, ran)
    assert.equal(2, #engine:list {}.items)
  end)

  it("W8 W9 outputs that are filled become visible once, published ones at the next commit", function()
    local engine <close> = open()
    local class = workflow({ output_names = { "early", "late" }, run = function(self)
      self:fill("early", 1, { publish = true })
      self:fill("late", 2)
      self:sleep(100)
      return 3
    end })
    local stage = class():start()
    engine:drain()
    local seen = engine:from_id(stage.id).outputs
    assert.same({ true, false }, { seen.early.filled, seen.late.filled })
    engine:wait(stage)
    assert.same({ 1, 2, 3 }, { stage.outputs.early.value, stage.outputs.late.value, stage.outputs.default.value })
  end)

  it("refuses after and in_order, and futures of others", function()
    local got = outputs(function(self)
      local f = self:spawn(Add(1, 1))
      local _, after = pcall(self.after, self, { f })
      local _, foreign = pcall(self.await, self, pipeline.Slot { name = "x" })
      local _, instance = pcall(self.await, self, Add(1, 2))
      return { tostring(after), tostring(foreign), tostring(instance) }
    end)
    assert.match("await the futures, then spawn", got[1])
    assert.match("not of a pipeline that this run has spawned", got[2])
    assert.match("spawn it first", got[3])
  end)
end)

describe("replay", function()
  it("W59 W63 changed code holds the run, which goes on when the old code is back", function()
    local engine <close>, lines = open(nil, { warm_runs = 0 })
    local changed, called = false, {}
    local stage = workflow(function(self)
      local name = changed and "bill" or "charge"
      self:step(name, function() called[#called + 1] = name end)
      self:sleep(10)
      return "done"
    end)():start()
    engine:drain()
    changed = true
    engine:drain { delayed = true }
    assert.match("^NondeterminismError: " .. stage.class_path:gsub("%p", "%%%0") .. " " .. stage.id
      .. ': entry 1 of the journal is step "charge" %(.*body_spec.lua:%d+%), but the function now asks for step "bill" '
      .. "%(.*body_spec.lua:%d+%). Nothing was executed. Guard changed code with self:patched%(id%), or resume the "
      .. "run with the old code. Held.$", lines[#lines])
    assert.same({ "charge" }, called)
    changed = false
    assert.is_true(engine:resume(stage))
    assert.equal("done", engine:wait(stage).default.value)
    assert.same({ "charge" }, called)
  end)

  it("W69 W178 in a test a divergence is an error of the test", function()
    local n = 0
    local ok, problem = pcall(outputs, function(self)
      n = n + 1
      self:step("step" .. n, print)
      self:sleep(1)
    end)
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.NondeterminismError))
  end)

  it("W160 W161 a run that leaves memory closes nothing and runs no handler", function()
    local closed, handled = 0, 0
    assert.equal("x", outputs(function(self)
      local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
      local ok = pcall(function()
        for _ = 1, 5 do self:sleep(1) end
      end)
      if not ok then handled = handled + 1 end
      return "x"
    end))
    assert.same({ 1, 0 }, { closed, handled })
  end)

  it("W147 the limit of the journal is an error at the call", function()
    local got = workflow({ journal_limit = { entries = 5 }, run = function(self)
      for i = 1, 20 do
        local ok, problem = pcall(self.step, self, "a", function() end)
        if not ok then
          return { i, pipeline.is(problem, pipeline.LimitError), self:step("clean", function() return 1 end) }
        end
      end
    end })()
    got:start_test()
    assert.same({ 6, true, 1 }, got.outputs.default.value)
  end)

  it("W176 get_journal shows what was asked for", function()
    local engine <close> = open()
    local stage = workflow(function(self)
      self:step({ name = "a", key = "k@1" }, function() return 1, "x" end)
      pcall(self.step, self, { name = "bad", max_attempts = 1 }, error, "oh", 0)
      self:sleep(100)
    end)():start()
    engine:drain()
    local list = engine:get_journal(stage)
    assert.equal(3, #list)
    local first = list[1]
    assert.same({ "step", "ok", "a", "k@1", 0 }, { first.kind, first.state, first.name, first.key, first.nth })
    assert.match("^1, .x.$", list[1].value)
    assert.match("body_spec.lua:%d+", list[1].line)
    assert.same({ "failed", "bad" }, { list[2].state, list[2].name })
    assert.match("oh", list[2].error)
    assert.same({ "timer", "open", "sleep" }, { list[3].kind, list[3].state, list[3].name })
    assert.is_true(list[3].due > list[3].opened)
  end)
end)
