--- programs.lua: durable functions for worker.lua. What their steps do is an effect, written into the ledger.

local pipeline = require "pipeline"
local order = require "pipeline.flow.order"

local programs = {}

--- What a step does: notes its key, returns its arguments. Set by worker.lua.
function programs.effect(...)
  return ...
end

local function effect(...)
  return programs.effect(...)
end

--- A value as text, the same everywhere.
function programs.text(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, inner in order.sorted_pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. programs.text(inner) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local Ship = pipeline.define("spec.durable.Ship", { output_names = { "parcel" }, run = function(self, item)
  self:fill("parcel", "parcel of " .. item)
  return "shipped " .. item
end })

local Refuse = pipeline.define("spec.durable.Refuse", { max_attempts = 1, run = function()
  error("refused", 0)
end })

--- A bit of everything: steps in a row and side by side, a failing step, a sleep, children, a child that fails.
programs.order = pipeline.workflow("spec.durable.Order", {
  backoff_seconds = 0.01, backoff_factor = 1,
  run = function(self)
    local stock = self:step("reserve", effect, "stock")
    local paid = self:step("charge", function()
      if pipeline.step().attempt < 2 then error("declined once", 0) end
      return effect("paid")
    end)
    self:sleep(0.01)
    local child = self:spawn(Ship(stock))
    local a, b = self:start_step("side", effect, "a"), self:start_step("side", effect, "b")
    local first, second = self:await(a, b)
    local parcel = self:await(child.parcel)
    local ok, problem = pcall(self.await, self, self:spawn(Refuse()))
    local mail = self:step({ name = "mail", key = "ada" }, effect, "mailed")
    return { stock, paid, first, second, parcel, self:await(child), tostring(ok), problem.reason, mail }
  end,
})

--- Steps in a row only.
programs.row = pipeline.workflow("spec.durable.Row", {
  run = function(self)
    local sum = 0
    for i = 1, 5 do sum = sum + self:step("add", effect, i) end
    return sum
  end,
})

--- A step that runs at most once, between others.
programs.once = pipeline.workflow("spec.durable.Once", {
  run = function(self)
    self:step("before", effect)
    local ok, problem = pcall(self.step, self, { name = "once", at_most_once = true }, effect, "had")
    self:step("after", effect)
    return {
      ok = ok, interrupted = pipeline.is(problem, pipeline.StepInterruptedError), value = ok and problem or "none",
    }
  end,
})

--- Signals, a transaction, branches, a select, and a second era. The worker sends the signals, with keys.
programs.mixed = pipeline.workflow("spec.durable.Mixed", {
  backoff_seconds = 0.01,
  run = function(self, first)
    if not first then
      local a, b = self:go(function()
        return self:step("s", effect, self:wait_event("one"))
      end), self:go(function()
        return self:step("s", effect, self:wait_event("two"))
      end)
      local rows = self:transaction("book", function(tx)
        tx:execute("INSERT INTO ledger VALUES (1)")
        return tx:query("SELECT count(*) AS n FROM ledger")[1].n
      end)
      local values = self:all { a, b }
      return self:continue_as_new { values[1], values[2], rows }
    end
    local which, value = self:select { three = "three", late = 60 }
    return { first, which, value, self:step("end", effect, "end") }
  end,
})

--- Updates with a step each, values and a stream, over two eras; a signal to itself ends it. When the second era begins
-- is a matter of time, but not what comes of it.
programs.shows = pipeline.workflow("spec.durable.Shows", {
  backoff_seconds = 0.01,
  run = function(self, state)
    local is_second = state ~= nil
    state = state or { sum = 0, count = 0 }
    local out = self:stream("out")
    self:on_update("add", function(n)
      if n < 0 then error("negative", 0) end
    end, function(n)
      local added = self:step("add", effect, n)
      state.sum, state.count = state.sum + added, state.count + 1
      out:write(added)
      self:set_value("sum", state.sum)
      return state.sum
    end)
    out:write("era")
    while state.count < (is_second and 4 or 2) do self:sleep(0.01) end
    if not is_second then return self:continue_as_new(state) end
    self:signal_to(self.id, "end", state.sum)
    local last = self:wait_event("end")
    out:close()
    return last
  end,
})

-- What a saga did, and undid again: the ledger of the worker has both.
local function undo(outcome, what)
  return effect(what, outcome.ok)
end

local Part = pipeline.workflow("spec.durable.Part", {
  run = function(self)
    self:on_compensate("close", effect, "part")
    self:step("open", effect)
    self:wait_event("never")
  end,
})

--- A saga that fails at its end: what it did is undone, and it is aborted.
programs.saga = pipeline.workflow("spec.durable.Saga", {
  backoff_seconds = 0.01, max_attempts = 2,
  run = function(self)
    self:step({ name = "reserve", compensate = undo }, effect, "stock")
    self:step({ name = "charge", compensate = undo }, effect, "card")
    self:on_compensate("letter", effect, "sorry")
    self:step("ship", function()
      effect()
      error(pipeline.Abort("not shipped"))
    end)
  end,
})

--- A saga with a child below it that both wait, until the worker aborts it.
programs.cancelled = pipeline.workflow("spec.durable.Cancelled", {
  run = function(self)
    self:step({ name = "reserve", compensate = undo }, effect, "stock")
    local side = self:go(function()
      local ok, problem = pcall(self.wait_event, self, "never")
      self:step("cleaned", effect)
      error(ok or problem, 0)
    end)
    self:step("asked", programs.abort)
    self:await(self:spawn(Part()), side)
  end,
})

--- What is sent to it: names and payloads.
programs.signals = { mixed = { { "two", 2 }, { "one", 1 }, { "three", 3 } } }

--- Updates, in the same way.
programs.updates = { shows = { { "add", 1 }, { "add", 2 }, { "add", -1 }, { "add", 3 }, { "add", 4 } } }

--- What is seen of a run that has answered them, as text.
function programs.seen(engine)
  local eras, list, count = 0, {}, 0
  for n, value in engine:read_stream("the-run", "out") do
    assert(n == count, "an offset is missing, or there twice")
    count = count + 1
    if value == "era" then eras = eras + 1 else list[#list + 1] = value end
  end
  return ("%s in %d eras, sum %d"):format(table.concat(list, " "), eras, engine:get_value("the-run", "sum"))
end

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

--- Its first step lasts as long as the process that began it first, unless FILE.go is there: that one is stopped.
programs.stopped = pipeline.workflow("spec.durable.Stopped", {
  run = function(self)
    self:step("first", function()
      if exists(programs.path .. ".began") then return end
      assert(io.open(programs.path .. ".began", "w")):close()
      programs.note("began")
      while not exists(programs.path .. ".go") do pipeline.default():sleep(0.01) end
    end)
    self:step("after", effect)
    return "finished"
  end,
})

return programs
