--- flows.lua: durable functions in the crash run, and those who send them signals. Loaded by every worker.
--
-- A flow takes as many signals `go` as it was started for, each with a key, which all processes send; and notes, which
-- have none, while it waits. For each it does a step, has a child, a step beside it, a sleep and a transaction, and
-- after the second it begins anew. Lines of the log:
--   effect|flow|key of the step, attempt|pid    a step has its effect
--   willnote|flow|note|pid, noted|flow|note     a note is about to be sent, was acknowledged
--   took|flow|note|key of the step|pid          it was taken
--
-- A saga does some things, and half of them fail then, after a child of it that waits was cancelled; workers abort some
-- of the others. What each does can be undone:
--   acted|saga|label|key of the step|pid, undid|saga|label|key of the step|pid

local pipeline = require "pipeline"
local classes = require "spec.crash.classes"
local plan = require "spec.crash.plan"

local flows = {}

local function effect(key, ...)
  local step = pipeline.step()
  classes.note("effect", key, step.key .. "," .. step.attempt, classes.pid)
  return ...
end

local function took(key, what)
  classes.note("took", key, what, pipeline.step().key, classes.pid)
end

local function go(self, key, payload)
  local child = self:spawn(classes.Leaf(payload))
  local beside = self:start_step("side", effect, key)
  self:sleep(0.004)
  self:transaction("book", function(tx) tx:execute("INSERT INTO crash_flow VALUES (?, ?)", key, payload) end)
  self:await(beside)
  return self:await(child)
end

classes.Flow = pipeline.workflow("spec.crash.classes.Flow", {
  backoff_seconds = 0.01, max_losses = 10000,
  run = function(self, key, n, got)
    got = got or {}
    while #got < n do
      local which, payload = self:select { go = "go", note = "note" }
      if which == "note" then
        self:step("took", took, key, payload)
      else
        self:step("work", effect, key)
        got[#got + 1] = go(self, key, payload)
        if #got == 2 and self:history().era == 0 then return self:continue_as_new(key, n, got) end
      end
    end
    table.sort(got)
    return table.concat(got, " ")
  end,
})

local function note_step(verb, key, label)
  classes.note(verb, key, label, pipeline.step().key, classes.pid)
end

local function did(key, label) note_step("acted", key, label) end
local function undid(_, key, label) note_step("undid", key, label) end
local function undid_named(key, label) note_step("undid", key, label) end

local Part = pipeline.workflow("spec.crash.classes.Part", {
  backoff_seconds = 0.01, max_losses = 10000,
  run = function(self, key)
    self:step({ name = "open", compensate = undid }, did, key, "part")
    self:wait_event("never")
  end,
})

classes.Saga = pipeline.workflow("spec.crash.classes.Saga", {
  backoff_seconds = 0.01, max_losses = 10000,
  run = function(self, key, n)
    for i = 1, n do
      if i % 3 == 0 then
        self:on_compensate("undo", undid_named, key, i)
        self:step("do", did, key, i)
      else
        self:step({ name = "do", compensate = undid }, did, key, i)
      end
      self:sleep(0.003)
    end
    if n % 2 == 1 then return n end
    local part
    pcall(self.with_timeout, self, 0.05, function()
      part = self:spawn(Part(key)) -- it belongs to what is cancelled
      self:await(part)
    end)
    pcall(self.await, self, part)
    error(pipeline.Abort("sold out, as intended"))
  end,
})

--- Sends a flow its signals, and some notes, if it is there.
function flows.send(engine, item, notes)
  local key, n = table.unpack(item.args)
  for _ = 1, notes do
    flows.sent = (flows.sent or 0) + 1
    local what = ("note-%d-%d."):format(classes.pid, flows.sent)
    classes.note("willnote", key, what, classes.pid)
    if engine:signal(key, "note", what) then classes.note("noted", key, what) end
  end
  for i = 1, n do engine:signal(key, "go", i, { key = i }) end
end

--- What there is to send in a batch: a list of functions.
function flows.things_to_do(engine, seed, number)
  local list = {}
  for batch = math.max(1, number - 1), number do
    for _, item in ipairs(plan.batch(seed, batch)) do
      if item.class == "Flow" then
        list[#list + 1] = function() flows.send(engine, item, math.random(0, 2)) end
      end
    end
  end
  return list
end

--- Sends all that may not have been sent.
function flows.finish(engine, seed, batches)
  for batch = 1, batches do
    for _, item in ipairs(plan.batch(seed, batch)) do
      if item.class == "Flow" then flows.send(engine, item, 0) end
    end
  end
end

return flows
