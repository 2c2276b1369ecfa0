-- place_spec.lua: whatever is refused or fails, the line that is blamed is the user's, not one inside the library.

local deferred = require "pipeline.deferred"
local eventloop = require "pipeline.eventloop"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"
local helper = require "spec.support.helper"

local HERE = "spec/input/place_spec.lua:"

-- What no function takes for long: they run the loop, end something, or change it for the tests that follow.
local LEFT_OUT = {
  run = true, run0 = true, run1 = true, stop = true, close = true, drain = true, serve = true, set_clock = true,
  virtual_clock = true, forget = true, purge = true, pause = true, resume = true,
  set_logger = true, set_enforce_auth = true, set_log_level = true, set_error_hook = true, purge_dead = true,
  open = true, backup = true, -- make files
  -- of the library alone
  execute = true, [deferred.serve] = true, set_drain = true, add_soon = true, report = true, call = true,
  current = true, is_stepping = true, managed = true, is_running = true, lend = true, attach = true, has_engine = true,
  detach = true, client = true, clear = true, cancel_timer = true, push = true,
  arouse = true,
}

local BAD = {
  {}, { nil, n = 1 }, { 17 }, { -1 }, { 0 / 0 }, { "no such thing" }, { {} }, { { nonsense = 1 } }, { true },
  { print }, { "default", 17 }, { "default", {} }, { "default", { nonsense = 1 } }, { {}, { nonsense = 1 } },
  { print, { nonsense = 1 } }, { { 17 } }, { { { nonsense = 1 } } }, { "GET", "no slash" }, { "GET", "/x", 17 },
  { 1, "x" }, { 1, 1, 17 }, { 17, { nonsense = 1 } }, { "x", "y", { nonsense = 1 } },
}

describe("what is refused", function()
  local engine

  before_each(function() engine = helper.open { queues = { work = { mode = "pull" } } } end)
  after_each(helper.finish)
  teardown(helper.clean)

  -- What is wrong with the place of an error; nil: nothing.
  local function misplaced(problem)
    if pipeline.is(problem) then
      if type(problem.where) == "string" and problem.where:find(HERE, 1, true) == 1 then return nil end
      return ("where = %s: %s"):format(tostring(problem.where), tostring(problem))
    end
    if type(problem) == "string" and problem:find(HERE, 1, true) == 1 then return nil end
    return tostring(problem)
  end

  -- What fails later is not what this is about.
  local function look_at(value)
    if type(value) == "table" and pipeline.is(value) == false and tasklets.is_future and tasklets.is_future(value) then
      value:add_immediate_callback(function() value:get_exception() end)
    end
  end

  local function attack(found, name, fn, self)
    for _, values in ipairs(BAD) do
      local n = values.n or #values
      local ok, problem
      if self == nil then
        ok, problem = pcall(function() look_at(fn(table.unpack(values, 1, n))) end)
      else
        ok, problem = pcall(function() look_at(fn(self, table.unpack(values, 1, n))) end)
      end
      local wrong = not ok and misplaced(problem)
      if wrong then found[#found + 1] = ("%s: %s"):format(name, wrong) end
    end
  end

  local function attack_all(found, name, functions, self)
    for key, fn in pairs(functions) do
      local is_public = type(fn) == "function" and key:sub(1, 1) ~= "_" and not LEFT_OUT[key] and not LEFT_OUT[fn]
      if is_public then
        attack(found, name .. "." .. key, fn, self)
        if self ~= nil then attack(found, name .. "." .. key .. " without self", fn) end
      end
    end
  end

  local function expect_none(found)
    table.sort(found)
    assert(#found == 0, table.concat(found, "\n"))
  end

  it("by a function of a module blames the line that has called it", function()
    local found = {}
    attack_all(found, "pipeline", pipeline)
    local bad = { 17, { nonsense = 1 }, { durability = "some" }, { queues = { x = 1 } }, { modules = 1 } }
    for _, options in ipairs(bad) do
      attack(found, "open", function() return pipeline.open(":memory:", options) end)
    end
    attack_all(found, "taskqueue", taskqueue)
    attack_all(found, "deferred", deferred)
    for name, class in pairs(pipeline.common) do
      attack(found, "common." .. name, function(...) return class(...) end)
    end
    expect_none(found)
  end)

  it("by a function of the tasklets blames the line that has called it", function()
    local found = {}
    attack_all(found, "tasklets", tasklets)
    attack_all(found, "eventloop", eventloop)
    expect_none(found)
  end)

  it("by a method blames the line that has called it", function()
    local found = {}
    local Async = helper.define { async = true, run = function() end }
    local stage = Async(1):start()
    engine:drain()
    attack_all(found, "engine", getmetatable(engine).__index, engine)
    attack_all(found, "instance", pipeline.Pipeline, stage)
    attack_all(found, "new instance", pipeline.Pipeline, Async(2))
    local queue = taskqueue.Queue("work")
    attack_all(found, "queue", getmetatable(queue).__index, queue)
    local task = taskqueue.Task { payload = "x", method = "PULL" }
    for _, method in ipairs { "add", "extract_params" } do attack(found, "task." .. method, task[method], task) end
    expect_none(found)
  end)
end)

describe("an error object", function()
  local engine

  before_each(function() engine = helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  -- The line that calls this.
  local function line(offset)
    return HERE .. debug.getinfo(2, "l").currentline + (offset or 0)
  end

  it("has the line of the user's that raised it, and shows it", function()
    local problem, at = pipeline.Abort "no stock", line()
    assert.equal(at, problem.where)
    assert.equal(at .. ": Abort: no stock", tostring(problem))
    local ok, other = pcall(engine.wait, engine, "nobody")
    assert.is_false(ok)
    assert.is_true(pipeline.is(other, pipeline.UnexpectedPipelineError))
    assert.is_nil(other.where and other.where:match("lua/pipeline/"))
  end)

  it("that comes out of a run has the line of the run", function()
    local at
    local Fails = helper.define(function(self)
      at = line(1)
      self:fill("nowhere", 1)
    end)
    local ok, problem = pcall(function() Fails():start_test() end)
    assert.is_false(ok)
    assert.equal(at, problem.where)
  end)

  it("of what failed by itself has the line that looked at it", function()
    local future = tasklets.with_timeout(tasklets.sleep(10), 0.001)
    local ok, problem = pcall(function() future:get_result() end)
    local at = line(-1)
    assert.is_false(ok)
    assert.is_true(pipeline.is(problem, pipeline.TimeoutError))
    assert.equal(at, problem.where)
  end)

  it("of a text that was raised in a tasklet has the place of the text, once", function()
    local at
    local future = tasklets.tasklet(function()
      at = line(1)
      error("oops")
    end)()
    local problem = future:get_exception()
    assert.equal(at, problem.where)
    assert.equal(("Error: %s: oops"):format(at), tostring(problem))
  end)

  it("of a text without a place has the place where it was raised", function()
    local at
    local problem = tasklets.tasklet(function()
      at = line(1)
      error("oops", 0)
    end)():get_exception()
    assert.equal(at .. ": Error: oops", tostring(problem))
  end)

  it("is what an uncaught error of a program prints, with its line", function()
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write('local pipeline = require "pipeline"\n\npipeline.default()\n')
    file:close()
    local pipe = assert(io.popen(("%s %s 2>&1"):format(os.getenv("LUA") or "lua5.4", path)))
    local text = pipe:read("a")
    pipe:close()
    os.remove(path)
    assert.truthy(text:find(path .. ":3: ConfigurationError: no engine is open", 1, true), text)
  end)
end)
