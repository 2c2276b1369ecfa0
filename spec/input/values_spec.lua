-- Classes that cannot be found and values that cannot be stored: an attempt fails or a call raises, the engine goes on.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local Echo = pipeline.define("input.values.Echo", { run = function(_, value) return value end })

-- Writes a root of any class name into the store, past the face, as a program of another version would have.
local function start_unknown(engine, class_path)
  local core = require "pipeline.core"
  local id = engine._core:new_id()
  assert(engine._core:start { {
    id = id, class_path = class_path, args = core.encode({}, 0), max_attempts = 3, backoff_seconds = 15,
    backoff_factor = 2,
  } })
  return engine:_id_text(id)
end

describe("a class", function()
  local engine

  before_each(function() engine = helper.open { modules = { "input_spec" }, class_load_timeout = 3600 } end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function fails_to_load(class_path, pattern)
    local id = start_unknown(engine, class_path)
    engine:drain()
    assert.equal(1, helper.result(Echo(1)))
    local entry = pipeline.get_status_tree(id).pipelines[id]
    assert.equal(1, entry.currentAttempt, "an attempt was counted")
    local logged = table.concat(helper.log(40), "\n")
    assert.truthy(logged:find(pattern), logged)
    -- Time passes and it stays missing: the tree is aborted, with the reason.
    engine:drain { delayed = true }
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, id, { timeout = 0 })
    assert.truthy(problem.reason:find(pattern), problem.reason)
    return id
  end

  it("that nobody defined is tried again, logged, and aborted in the end", function()
    fails_to_load("nowhere.Class", "class nowhere%.Class .-is not under the prefixes")
  end)

  it("whose name has no module is treated the same", function()
    fails_to_load("Alone", "class Alone is not defined")
  end)

  it("whose module is missing is treated the same", function()
    fails_to_load("input_spec.missing.Class", "module input_spec%.missing")
  end)

  it("whose module raises is treated the same", function()
    package.preload["input_spec.broken"] = function() error("broken on purpose") end
    finally(function() package.preload["input_spec.broken"] = nil end)
    fails_to_load("input_spec.broken.Class", "broken on purpose")
  end)

  it("whose module raises something that is no text is treated the same", function()
    package.preload["input_spec.odd"] = function()
      error(setmetatable({}, { __tostring = function() error("not even this") end }))
    end
    finally(function() package.preload["input_spec.odd"] = nil end)
    fails_to_load("input_spec.odd.Class", "input_spec%.odd")
  end)

  it("whose module does not define it is treated the same", function()
    package.preload["input_spec.other"] = function() return {} end
    finally(function() package.preload["input_spec.other"], package.loaded["input_spec.other"] = nil, nil end)
    fails_to_load("input_spec.other.Class", "does not define class")
  end)

  it("that appears in time runs", function()
    local id = start_unknown(engine, "input_spec.late.Class")
    engine:drain()
    pipeline.define("input_spec.late.Class", { run = function() return "at last" end })
    engine:drain { delayed = true }
    assert.equal("at last", engine:wait(id, { timeout = 0 }).default.value)
  end)

  it("with a strange name in the store does no harm", function()
    local ids = {}
    local names = { "", ".", "..", "a..b", "os.execute", "../../etc/passwd.x", ("x"):rep(5000), "\0.\0", "\xff" }
    for _, name in ipairs(names) do
      ids[#ids + 1] = start_unknown(engine, name)
    end
    engine:drain()
    assert.equal(2, helper.result(Echo(2)))
    engine:drain { delayed = true }
    for _, id in ipairs(ids) do helper.raises(pipeline.AbortedError, engine.wait, engine, id, { timeout = 0 }) end
  end)
end)

describe("a run", function()
  local engine
  local attempts

  before_each(function()
    engine = helper.open()
    attempts = 0
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function fails(run, pattern)
    local class = helper.define { max_attempts = 2, run = function(...)
      attempts = attempts + 1
      return run(...)
    end }
    local problem = helper.aborted(class())
    assert.equal(2, attempts)
    assert.truthy(problem.reason:find(pattern), problem.reason)
    assert.equal(2, #problem.failures)
    return problem
  end

  it("that returns a closure fails its attempt: Bad return value.", function()
    local count = 0
    local function closure() return function() count = count + 1 end end
    local problem = fails(closure, "Bad return value%. SerializationError")
    assert.equal("SerializationError", problem.failures[1].error_class)
  end)

  it("that returns a closure deep inside names the place", function()
    local up = 1
    fails(function() return { a = { b = { function() return up end } } } end, 'Bad return value%..*field "a%.b')
  end)

  it("that returns a coroutine or userdata fails", function()
    fails(function() return coroutine.create(print) end, "Bad return value")
    attempts = 0
    fails(function() return io.stdout end, "Bad return value")
  end)

  it("that gives a child a closure fails", function()
    local up = 1
    fails(function(self) self:spawn(Echo(function() return up end)) end, "argument 1")
  end)

  it("that fills a slot with a closure fails", function()
    local up = 1
    fails(function(self) self:fill("default", function() return up end) end, "SerializationError")
  end)

  it("that returns a table which contains itself gives it back as it was", function()
    local class = helper.define(function()
      local list = { 1 }
      list[2] = list
      return list
    end)
    local list = helper.result(class())
    assert.equal(list, list[2])
  end)

  it("that raises any kind of value fails with a readable reason", function()
    for _, value in ipairs { 17, true, {}, print, setmetatable({}, { __tostring = function() error("x") end }) } do
      attempts = 0
      fails(function() error(value) end, ".")
    end
    attempts = 0
    fails(function() error() end, "nil")
  end)

  it("that overflows the stack fails its attempt only", function()
    local function deeper(n) return 1 + deeper(n + 1) end
    fails(function() return deeper(1) end, "stack overflow")
  end)

  it("that adds a transactional task whose name is taken fails its attempt", function()
    local Waits = pipeline.define(helper.name(), { async = true, run = function() end, callback = function() end })
    local waits = Waits():start()
    engine:drain()
    waits:get_callback_task { name = "taken", countdown = 1e6 }:add()
    local class = helper.define { max_attempts = 2, run = function()
      attempts = attempts + 1
      waits:get_callback_task { name = "taken" }:add(nil, { transactional = true })
      return attempts
    end }
    local stage = class():start()
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage, { timeout = 3600 })
    assert.equal(2, attempts)
    assert.equal("TaskAlreadyExistsError", problem.failures[1].error_class)
    assert.truthy(problem.reason:find("Aborting after 2 attempts. TaskAlreadyExistsError: task 'taken'", 1, true),
      problem.reason)
  end)

  it("that adds two transactional tasks of one name fails its attempt, and adds neither", function()
    local calls = 0
    local Waits = pipeline.define(helper.name(), {
      async = true, run = function() end, callback = function() calls = calls + 1 end,
    })
    local waits = Waits():start()
    engine:drain()
    local stage = helper.define { max_attempts = 1, run = function()
      for _ = 1, 2 do waits:get_callback_task { name = "twin" }:add(nil, { transactional = true }) end
    end }():start()
    local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage, { timeout = 3600 })
    assert.equal("TaskAlreadyExistsError", problem.failures[1].error_class)
    engine:drain { delayed = true }
    assert.equal(0, calls)
    waits:get_callback_task { name = "twin" }:add() -- the name is still free
  end)
end)

describe("a large value", function()
  local engine

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function nested(levels)
    local value = "bottom"
    for _ = 1, levels do value = { value } end
    return value
  end

  it("60 levels deep goes through", function()
    local value = helper.result(Echo(nested(60)))
    for _ = 1, 60 do value = value[1] end
    assert.equal("bottom", value)
  end)

  it("100 levels deep is refused at the call; the error names the place and the limit", function()
    for _, levels in ipairs { 100, 100000 } do
      local problem = helper.raises(pipeline.SerializationError, function() Echo(nested(levels)):start() end)
      assert.truthy(problem.message:find('argument 1, field "[1][1]', 1, true), problem.message)
      assert.truthy(problem.message:find("deeper than the limit of 64", 1, true), problem.message)
    end
    assert.equal(3, helper.result(Echo(3)))
  end)

  it("too deep as a return value fails the attempt", function()
    local class = helper.define { max_attempts = 1, run = function() return nested(100000) end }
    assert.truthy(helper.aborted(class()).reason:find("Bad return value", 1, true))
  end)

  it("of 64 MiB goes through, or is refused at the call with a reason", function()
    local bytes = ("0123456789abcdef"):rep(4 * 1024 * 1024)
    local ok, result = pcall(function() return Echo(bytes):start() end)
    if ok then
      engine:drain { delayed = true }
      local done, outputs = pcall(engine.wait, engine, result, { timeout = 0 })
      if done then
        assert.is_true(outputs.default.value == bytes)
      else
        assert(pipeline.is(outputs, pipeline.AbortedError), tostring(outputs))
      end
    else
      assert(pipeline.is(result, pipeline.SerializationError), tostring(result))
      assert.truthy(result.message:find("argument 1", 1, true), result.message:sub(1, 200))
    end
    assert.is_true(#tostring(result) < 10000)
    assert.equal(4, helper.result(Echo(4)))
  end)

  it("of 64 MiB as a return value is stored or fails the attempt", function()
    local class = helper.define { max_attempts = 1, run = function() return ("x"):rep(64 * 1024 * 1024) end }
    local stage = class():start()
    engine:drain { delayed = true }
    local ok, result = pcall(engine.wait, engine, stage, { timeout = 0 })
    if ok then
      assert.equal(64 * 1024 * 1024, #result.default.value)
    else
      assert(pipeline.is(result, pipeline.AbortedError), tostring(result))
      assert.truthy(result.reason:find("Bad return value", 1, true))
    end
  end)

  it("of a hundred thousand entries goes through", function()
    local list = {}
    for i = 1, 100000 do list[i] = i end
    assert.equal(100000, #helper.result(Echo(list)))
  end)
end)
