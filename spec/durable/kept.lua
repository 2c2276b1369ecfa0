--- kept.lua: a durable function whose journals are kept, as each version has written them: see kept_spec.lua.
--
--   lua kept.lua [all | undone | reached]    prints a journal of this version as a module, to be kept in
--                                            spec/durable/journals/
--
-- They must stay as they are: what they ask for is what the journals have.

local pipeline = require "pipeline"
local order = require "pipeline.flow.order"
local tasklets = require "pipeline.tasklets"

-- live: the functions of its steps may be called; undone: what was undone, in that order
local kept = { live = false, undone = {} }

local function called(...)
  assert(kept.live, "a step that is recorded was called")
  return ...
end

local function text(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, inner in order.sorted_pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. text(inner) end
  return "{" .. table.concat(parts, ",") .. "}"
end

kept.text = text

local Child = pipeline.define("kept.Child", { output_names = { "twice" }, run = function(self, n)
  self:fill("twice", 2 * n)
  return n + 1
end })

local Bad = pipeline.define("kept.Bad", { max_attempts = 1, run = function() error("bad child", 0) end })

kept.all = pipeline.workflow("kept.All", {
  backoff_seconds = 0.5,
  run = function(self)
    local got = {}
    local function add(...)
      for i = 1, select("#", ...) do got[#got + 1] = text((select(i, ...))) end
    end
    add(self:step("results", called, 1, "two", nil, { three = 3.5 }, true))
    add(self:step({ name = "keyed", key = "k@1" }, called, "keyed"))
    for i = 1, 3 do add(self:step("loop", called, i)) end
    local ok, problem = pcall(self.step, self, { name = "fails", max_attempts = 2 }, function()
      called()
      error(pipeline.FetchError("gone", { url = "http://x/" }))
    end)
    add(ok, problem.class, problem.message, problem.url)
    add(pcall(self.step, self, { name = "raises", max_attempts = 1 }, function() called() error("a text", 0) end))
    add(self:step({ name = "once", at_most_once = true }, called, "once"))
    self:sleep(10)
    local child = self:spawn(Child(20))
    add(self:await(child.twice), self:await(child))
    ok, problem = pcall(self.await, self, self:spawn(Bad()))
    add(ok, problem.class, problem.reason)
    local a = self:go("side", function() return self:step("loop", called, "in a branch") end)
    add(self:await(a))
    add(self:select { late = self:timer(100), soon = 5 })
    add(self:random(1000000), self:uuid(), self:now())
    local large = self:step("large", called, ("x"):rep(1500))
    add(#large)
    self:sleep(1000)
    return table.concat(got, "|")
  end,
})

-- The journal has all of these but that of the step "reserve", which is about to be tried again.
local function undo(outcome, what)
  if kept.live then
    if what == "stock" then error("the warehouse is closed", 0) end
    return "undone"
  end
  kept.undone[#kept.undone + 1] = ("%s %s %s"):format(what, outcome.ok, text(outcome.value))
end

local function undo_named(what)
  assert(kept.live, "what is undone was undone again: " .. what)
end

--- It is aborted from outside, and has undone a part of what it did.
kept.undone_class = pipeline.workflow("kept.Undone", {
  backoff_seconds = 600, max_attempts = 2,
  run = function(self)
    local is_new = self:patched("a guard")
    local was_new = self:patched("another guard", { deprecated = true })
    self:step({ name = "reserve", compensate = undo }, called, "stock")
    pcall(self.step, self, { name = "charge", max_attempts = 1, compensate = undo }, function()
      called()
      error("declined", 0)
    end, "card")
    self:on_compensate("letter", undo_named, "letter")
    self:on_compensate(function()
      self:sleep(3)
      self:step("by code", undo_named, "code")
    end)
    pcall(self.with_timeout, self, 5, self.wait_event, self, "never")
    pcall(self.scope, self, function(scope)
      local timer = self:timer(1000)
      scope:cancel("enough of it")
      self:await(timer)
    end)
    local signal = self:wait_event("go")
    local n = self:transaction("book", function(tx)
      called()
      return tx:query("SELECT 41 + 1 AS n")[1].n
    end)
    local beside = self:go(function() self:sleep(1e6) end)
    local ok, problem = pcall(self.await, self, beside)
    assert(not ok and problem.reason == "it is not wanted", "it was aborted here")
    kept.seen = text { is_new = is_new, was_new = was_new, signal = signal, n = n, reason = problem.reason }
    self:step("cleaned", called)
    error(problem, 0)
  end,
})

-- Its output comes from outside.
local Outside = pipeline.define("kept.Outside", {
  async = true, output_names = { "answer" }, run = function() end,
  callback = function(self, params)
    self:fill("answer", params.answer)
    self:complete("over")
  end,
})

--- Signals and updates that handlers take, one of which is still at work; and an output that is still to come.
kept.reached = pipeline.workflow("kept.Reached", {
  run = function(self)
    local got, total = {}, 0
    local function add(value) got[#got + 1] = text(value) end
    self:on_signal("note", function(what)
      add(what)
      add(self:step("note", called, "noted"))
    end)
    self:on_update("add", function(n) assert(type(n) == "number", "a number is wanted") end, function(n)
      total = total + self:step("add", called, n)
      return total
    end)
    self:on_update("slow", nil, function(n)
      self:sleep(1000)
      total = total + n
      return total
    end)
    self:on_update("bad", nil, function() error({ code = 7 }) end)
    local child = self:spawn(Outside())
    add(self:wait_event("go"))
    add { self:select { answer = child.answer, late = 1e6 } }
    add(self:await(child))
    self:wait_event("end")
    self:sleep(2000)
    return table.concat(got, "|") .. "|" .. total
  end,
})

kept.classes = { all = kept.all, undone = kept.undone_class, reached = kept.reached }

--- What is done from outside with a run that has got as far as its journal: `child`: the id of the one it waits for.
kept.afterwards = {}

function kept.afterwards.reached(engine, stage, child)
  engine:callback(child, { answer = "from outside" })
  engine:drain()
  kept.live = true
  assert(engine:update(stage, "add", 100) == 105)
  engine:signal(stage, "note", "late")
  engine:drain()
  kept.live = false
  engine:signal(stage, "end")
end

-- A float stays one.
local function number(value)
  local shown = ("%.17g"):format(value)
  return math.type(value) == "float" and not shown:find("[.e]") and shown .. ".0" or shown
end

local drive = {}

-- Until it sleeps for the last time.
function drive.all(engine)
  for _ = 1, 20 do
    engine:advance(10)
    engine:drain()
  end
end

-- Until the last compensation waits to be tried again.
function drive.undone(engine, stage)
  engine:advance(10)
  engine:drain()
  engine:signal(stage, "go", { "a", 1 })
  engine:drain()
  stage:abort("it is not wanted")
  engine:drain()
  engine:advance(10)
  engine:drain()
end

-- Until one update has been answered, one refused, one has failed, and one is at work.
function drive.reached(engine, stage)
  engine:signal(stage, "note", { "a", 1 })
  engine:drain()
  assert(engine:update(stage, "add", 5, { key = "k" }) == 5)
  assert(not pcall(engine.update, engine, stage, "add", "x"))
  assert(not pcall(engine.update, engine, stage, "bad"))
  local slow = tasklets.tasklet(function() pcall(engine.update, engine, stage, "slow", 20, { timeout = 1 }) end)()
  engine:signal(stage, "go", "went")
  engine:drain()
  engine:advance(2)
  engine:drain()
  tasklets.await(slow)
end

-- Keeps what is said to the store of the children of runs: a list.
local function note_children(core)
  local methods, list = getmetatable(core).__index, {}
  for _, verb in ipairs { "journal", "flow_suspend" } do
    local write = methods[verb]
    methods[verb] = function(self, claim, given)
      for _, child in ipairs(given.children or {}) do list[#list + 1] = child end
      return write(self, claim, given)
    end
  end
  return list
end

local function print_children(list)
  print("  children = {")
  for _, child in ipairs(list) do
    local slots = {}
    for i, output in ipairs(child.outputs) do
      slots[i] = ("{ name = %q, slot = %d }"):format(output.name, output.slot)
    end
    print(("    { id = %d, class_path = %q, flags = %d, outputs = {\n      %s,\n    } },"):format(child.id,
      child.class_path, child.flags, table.concat(slots, ", ")))
  end
  print("  },")
end

-- Prints the journal of a run that has not ended.
local function print_journal(which)
  kept.live = true
  local engine <close> = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1e9, log = function() end })
  local children = which == "reached" and note_children(engine._core)
  local stage = kept.classes[which]():start()
  engine:drain()
  drive[which](engine, stage)
  local flow, entries = engine._core:journal_get(stage._record.id, { after = 0, limit = 1000 })
  print("-- A journal as this version has written it: see spec/durable/kept.lua. Values are CBOR, in hexadecimal.\n")
  local function hex(bytes) return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)) end
  print(("return {\n  class = %q, seed = %q, next = %d, created = %s, cancel = %d,\n  entries = {"):format(which,
    hex(flow.seed), flow.next, number(flow.created), flow.cancel))
  for _, item in ipairs(entries) do
    local line = "    {"
    for name, value in order.sorted_pairs(item) do
      if name == "value" then value = hex(value) end
      local field = ("%s = %s,"):format(name, type(value) == "string" and ("%q"):format(value) or number(value))
      field = name == "value" and field:gsub(("%x"):rep(100), "%0\\z\n      ") or field
      if name ~= "line" then
        local last = line:match("[^\n]*$")
        line = line .. (#last + #field:match("^[^\n]*") > 110 and "\n      " or " ") .. field
      end
    end
    print(line:gsub(",$", "") .. " },")
  end
  print("  },")
  if children then print_children(children) end
  kept.live = which == "all"
  if kept.afterwards[which] then
    kept.afterwards[which](engine, stage, engine:_id_text(children[1].id))
  end
  engine:advance(1000)
  engine:drain()
  print("  output = " .. ("%q"):format(kept.output(engine, stage)):gsub(("[^\n]"):rep(100), "%0\\z\n    ") .. ",")
  print("}")
end

--- How a run has ended, and what it has undone and seen, as text.
function kept.output(engine, stage)
  local ok, outputs = pcall(engine.wait, engine, stage)
  if ok then return outputs.default.value end
  return ("aborted: %s; undone: %s; %s"):format(outputs.reason, table.concat(kept.undone, ", "), kept.seen)
end

if arg and arg[0] and arg[0]:find("kept%.lua$") then print_journal(arg[1] or "all") end

return kept
