--- classes.lua: the pipelines of the crash run. Loaded by every worker.
--
-- Every run writes lines to a log with one write each, so that a kill cannot take back what was said:
--   begin|id|class|attempt|pid|time    a run begins
--   end|id|pid|time                    it ends and gives its outcome to the engine
--   step|key|number|pid                a step of an Order runs
--   finalized|id|aborted
--   started|key                        a start was acknowledged
-- The log shows what was executed; the file shows what became real.

local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local plan = require "spec.crash.plan"
local processes = require "spec.crash.processes"

local classes = { log = io.stderr, pid = 0 }

function classes.note(...)
  classes.log:write(table.concat({ ... }, "|"), "\n")
  classes.log:flush()
end

local function now()
  return ("%.6f"):format(processes.now())
end

--- Defines a class whose run says when it begins and ends.
function classes.define(name, definition)
  local run = definition.run
  definition.backoff_seconds = definition.backoff_seconds or 0.01
  definition.backoff_factor, definition.max_losses = 1, 10000
  definition.run = function(self, ...)
    classes.note("begin", self.id, name, self.current_attempt, classes.pid, now())
    local ok, result = pcall(run, self, ...)
    classes.note("end", self.id, classes.pid, now())
    if not ok then error(result, 0) end
    return result
  end
  local class = pipeline.define("spec.crash.classes." .. name, definition)
  classes[name] = class
  return class
end
local define = classes.define

local function note_finalized(self)
  classes.note("finalized", self.id, tostring(self.was_aborted))
end

local Leaf = define("Leaf", { run = function(_, value) return value end })

-- Takes a while, without blocking the process: its claim is held meanwhile.
local Slow = define("Slow", {
  run = function(_, value)
    pipeline.default():sleep(0.012)
    return value
  end,
})

local Sum = define("Sum", {
  run = function(_, list)
    local sum = 0
    for _, value in ipairs(list) do sum = sum + value end
    return sum
  end,
})

-- n leaves and their sum.
define("Fan", {
  run = function(self, n)
    local list = {}
    for i = 1, n do list[i] = self:spawn((i % 7 == 0 and Slow or Leaf)(i)) end
    return self:spawn(Sum(list))
  end,
})

-- Generators in generators: width ^ depth leaves.
local Tree = define("Tree", {
  finalized = note_finalized,
  run = function(self, depth, width)
    if depth == 0 then return 1 end
    local list = {}
    for i = 1, width do list[i] = self:spawn(classes.Tree(depth - 1, width)) end
    return self:spawn(Sum(list))
  end,
})
classes.Tree = Tree

local Step = define("Step", {
  run = function(_, key, number)
    classes.note("step", key, number, classes.pid)
    return number
  end,
})

-- n steps one after the other, by in_order and by after.
define("Order", {
  run = function(self, key, n)
    local last
    self:in_order(function()
      for i = 1, n do last = self:spawn(Step(key, i)) end
    end)
    self:after({ last }, function() self:spawn(Step(key, n + 1)) end)
  end,
})

local Flaky = define("Flaky", {
  run = function(self, value)
    if self.current_attempt == 1 then error(pipeline.Retry "the first attempt") end
    return value
  end,
})

define("Flakies", {
  run = function(self, n)
    local list = {}
    for i = 1, n do list[i] = self:spawn(Flaky(i)) end
    return self:spawn(Sum(list))
  end,
})

local function add_quietly(task, given)
  local ok, problem = pcall(task.add, task, nil, given)
  -- Added by an attempt that was killed before its commit.
  if ok or pipeline.is(problem, taskqueue.TaskAlreadyExistsError) then return end
  if not pipeline.is(problem, taskqueue.TombstonedTaskError) then error(problem, 0) end
end

local Async = define("Async", {
  async = true, output_names = { "twice" },
  run = function(self, value, transactional)
    local task = self:get_callback_task {
      params = { value = value }, name = "answer-" .. self.id, countdown = value % 3 * 0.008,
    }
    if transactional then task:add(nil, { transactional = true }) else add_quietly(task) end
  end,
  callback = function(self, params)
    local value = math.tointeger(tonumber(params.value))
    self:fill("twice", 2 * value)
    self:complete(value)
  end,
})

define("Asyncs", {
  finalized = note_finalized,
  run = function(self, n)
    local list = {}
    for i = 1, n do
      local f = self:spawn(Async(i, i % 2 == 0))
      list[#list + 1], list[#list + 2] = f, f.twice
    end
    return self:spawn(Sum(list))
  end,
})

local Bad = define("Bad", { run = function() error(pipeline.Abort "as intended") end })

-- Aborts the whole tree, in the middle of work of every kind.
define("Doomed", {
  finalized = note_finalized,
  run = function(self, n)
    local list = {}
    for i = 1, n do
      list[i] = self:spawn(i % 3 == 0 and Async(i, i % 2 == 0) or i % 3 == 1 and Tree(2, 2) or Slow(i))
    end
    self:spawn(Bad())
    return self:spawn(Sum(list))
  end,
})

-- Uses up its attempts.
define("Hopeless", {
  max_attempts = 2, finalized = note_finalized,
  run = function() error("no attempt succeeds") end,
})

-- Starts other roots; a second execution finds them there.
define("Starter", {
  run = function(_, key, n)
    for i = 1, n do classes.start_once(key .. "-" .. i, classes.Fan(i)) end
    return n
  end,
})

-- Adds tasks with its outcome; the first attempt of every other one fails after that.
define("Booker", {
  run = function(self, key, n)
    local tasks = require "spec.crash.tasks"
    for _, item in ipairs(plan.booked(key, n, self.current_attempt)) do tasks.add(item, item.key, true) end
    if self.current_attempt < plan.booked_attempt(n) then error(pipeline.Retry "after its tasks") end
    return n
  end,
})

--- Starts a root unless it was started before; says so in the log when it is acknowledged.
function classes.start_once(key, stage)
  local ok, problem = pcall(stage.start, stage, { idempotence_key = key })
  if ok then
    classes.note("started", key)
  elseif not pipeline.is(problem, pipeline.PipelineExistsError) then
    error(problem, 0)
  end
end

return classes
