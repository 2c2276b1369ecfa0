--- bodies.lua: durable functions made from a number: what they ask for, in which order, and what is sent to them.
--
-- A body is a list of acts, each with what belongs to it; branches have lists of their own. What it returns depends on
-- nothing but its number and the seed of its run: of each race one side is there long before the other. So every life
-- must give the same, however often it was killed. But for `decide` and `hasten`, whose race goes otherwise in another
-- life, until it is recorded: what is done because of it is an effect for the one side or the other, never for both.

local order = require "pipeline.flow.order"
local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"

local bodies = {}

--- What a step does in the world; set by who runs the bodies.
function bodies.effect(_) end

--- Which side of a decision is faster in this life ("right": signals come late), set by who runs the bodies.
bodies.faster = "left"

--- What times are multiplied with, where they pass; and whether outputs leave out what differs from run to run.
bodies.pace, bodies.is_plain = 1, false

-- ---- numbers -------------------------------------------------------------------------------------------------------

-- A generator of its own: the same everywhere, and nobody else's numbers are disturbed.
local function generator(seed)
  local state = (seed * 2654435761 + 88172645463325252) & 0x7fffffffffffffff
  return function(n)
    state = state ~ (state << 13)
    state = state ~ (state >> 7)
    state = state ~ (state << 17)
    return (state & 0x7fffffff) % n + 1
  end
end

-- ---- children ------------------------------------------------------------------------------------------------------

local Plain = pipeline.define("spec.explore.Plain", { output_names = { "twice" }, run = function(self, n)
  self:fill("twice", 2 * n)
  return n + 1
end })

local Refusing = pipeline.define("spec.explore.Refusing", { max_attempts = 1, run = function(_, n)
  error(pipeline.Abort("refused " .. n))
end })

-- An effect goes by the key of its step, without the id of its run: a child whose begin was not committed is another
-- one in the next life. `of`: what tells children apart.
local function note(of)
  bodies.effect(of .. pipeline.step().key:gsub("^%x+", ""))
end

local function do_effect(...)
  note("")
  return ...
end

-- What can be undone: it is done under a number, and undone under the same one, at the second try where that is even.
local function do_undoable(n)
  note(("do %s "):format(n))
  return n
end

local function undo(n)
  if tostring(n):find("[02468]p?$") and pipeline.step().attempt < 2 then error("not undone yet", 0) end
  note(("undo %s "):format(n))
end

local function undo_step(outcome, n)
  if outcome.ok ~= false then undo(n) end
end

-- A child that waits until it is cancelled.
local Part = pipeline.workflow("spec.explore.Part", {
  backoff_seconds = 2 * bodies.pace,
  run = function(self, n, whom)
    self:step({ name = "open", compensate = undo_step }, do_undoable, n .. "p")
    self:signal_to(whom, "opened" .. n, n)
    self:wait_event("never")
  end,
})

local Small = pipeline.workflow("spec.explore.Small", { run = function(self, n)
  local value = self:step("small", function() note(n) return n end)
  self:sleep(3 * bodies.pace)
  return value + self:step("small", function() note(n) return 1 end)
end })

-- As pcall, but a cancellation that the body itself has not brought about, for that reason, goes on.
local function try(reason, fn, ...)
  local ok, problem = pcall(fn, ...)
  if not ok and pipeline.is(problem, pipeline.CancelledError) and problem.reason ~= reason then error(problem, 0) end
  return ok, problem
end

-- ---- acts: each is made with the generator, and done in a body -----------------------------------------------------

local acts, kinds = {}, {}

local function act(name, make, perform)
  kinds[#kinds + 1] = name
  acts[name] = { make = make, perform = perform }
end

act("step", function(random) return { fails = random(3) - 1 } end, function(self, given, out)
  out(self:step({ name = "s", max_attempts = 4, backoff_seconds = 2 * bodies.pace }, function(n)
    if pipeline.step().attempt <= given.fails then error("not yet", 0) end
    return do_effect(n)
  end, given.n))
end)

act("hopeless", function() return {} end, function(self, given, out)
  local options = { name = "h", max_attempts = 2, backoff_seconds = bodies.pace }
  local ok, problem = try(nil, self.step, self, options, function() error({ code = given.n }) end)
  out(ok, problem.code)
end)

act("side", function(random) return { count = random(3) + 1 } end, function(self, given, out)
  local list = {}
  for i = 1, given.count do
    list[i] = self:start_step(i % 2 == 0 and "even" or { name = "odd", key = given.n .. "." .. i }, do_effect, i)
  end
  out(table.unpack(self:all(list)))
end)

act("sleep", function(random) return { seconds = random(50) } end, function(self, given)
  self:sleep(given.seconds * bodies.pace)
end)

act("event", function(_, plan) return { signal = plan.signal() } end, function(self, given, out)
  out(self:wait_event(given.signal))
end)

act("timeout", function() return {} end, function(self, _, out)
  local ok, problem = try(nil, self.wait_event, self, "never", { timeout = 5 * bodies.pace })
  out(ok, pipeline.is(problem, pipeline.TimeoutError))
end)

act("race", function(random, plan)
  local side = random(3)
  return { side = side, signal = side == 1 and plan.signal() or nil }
end, function(self, given, out)
  local long = 1e6
  if given.side == 1 then
    out(self:select { given.signal, late = long })
  elseif given.side == 2 then
    out(self:select { work = self:start_step("r", do_effect, given.n), late = long, other = "never" })
  else
    out(self:select { soon = 2 * bodies.pace, other = "never", late = self:timer(long) })
  end
end)

local function lag(side)
  tasklets.await(tasklets.sleep(side == bodies.faster and 0.001 or 0.5 * bodies.pace))
  return side
end

act("decide", function() return {} end, function(self, given, out)
  local side = self:select {
    left = self:start_step("lag", lag, "left"), right = self:start_step("lag", lag, "right"),
  }
  self:step({ name = "took-" .. side, key = given.n }, do_effect)
  out("decided")
end)

act("hasten", function(_, plan) return { signal = plan.signal() } end, function(self, given, out)
  local side = self:select { came = given.signal, late = bodies.pace }
  self:step({ name = "took-" .. side, key = given.n }, do_effect)
  out("decided")
end)

act("branches", function(random, plan)
  local lists = {}
  for i = 1, random(2) + 1 do lists[i] = bodies.acts(random, plan, random(3), true) end
  return { lists = lists }
end, function(self, given, out)
  local list = {}
  for i, inner in ipairs(given.lists) do
    list[i] = self:go(i % 2 == 0 and "even" or "odd", function()
      local got = {}
      bodies.perform(self, inner, got)
      return got
    end)
  end
  for _, got in ipairs(self:all(list)) do out(got) end
end)

act("child", function(random) return { which = random(4) } end, function(self, given, out)
  if given.which == 1 then
    local child = self:spawn(Plain(given.n))
    out(self:await(child), self:await(child.twice))
  elseif given.which == 2 then
    out(self:await(self:spawn(Small(given.n))))
  elseif given.which == 3 then
    local first = self:spawn(Plain(given.n))
    out(self:await(self:spawn(Plain(first)), first))
  else
    local ok, problem = try(nil, self.await, self, self:spawn(Refusing(given.n)))
    out(ok, problem.reason)
  end
end)

act("transaction", function() return {} end, function(self, given, out)
  out(self:transaction("book", function(tx)
    tx:execute("INSERT INTO explored (n) VALUES (?)", given.n)
    return tx:query("SELECT count(*) AS n FROM explored WHERE n = ?", given.n)[1].n
  end))
end)

-- What is shown outside: by the body, and by a step in each of its attempts.
act("show", function() return {} end, function(self, given, out)
  local shown = self:stream("shown")
  shown:write(given.n)
  self:set_value("last", given.n)
  out(self:step({ name = "show", max_attempts = 3, backoff_seconds = bodies.pace }, function()
    local stream = pipeline.step():stream("shown")
    for i = 1, 2 do stream:write(given.n * 10 + i) end
    if pipeline.step().attempt < 2 then error("not yet", 0) end
    return do_effect(given.n)
  end))
  shown:write(-given.n)
end)

act("oneself", function() return {} end, function(self, given, out)
  self:signal_to(self.id, "own" .. given.n, given.n)
  out(self:wait_event("own" .. given.n))
end)

act("chance", function() return {} end, function(self, _, out)
  local id, number = self:uuid(), self:random(1000)
  if bodies.is_plain then id, number = #id, number <= 1000 end
  out(id, number, self:now() > 0)
end)

-- Of all that can be undone each is so when the run is cancelled, or fails.
act("undoable", function(random) return { how = random(4) } end, function(self, given, out)
  local n = given.n
  if given.how == 1 then
    out(self:step({ name = "u", compensate = undo_step }, do_undoable, n))
  elseif given.how == 2 then
    self:on_compensate("undo", undo, n)
    out(self:step("u", do_undoable, n))
  elseif given.how == 3 then
    self:on_compensate(function()
      self:sleep(bodies.pace)
      self:step({ name = "by code", key = n }, undo, n)
    end)
    out(self:step("u", do_undoable, n))
  else
    local options = { name = "u", max_attempts = 1, compensate = undo_step }
    out((try(nil, self.step, self, options, error, "refused")))
  end
end)

-- Undoes by hand what was done so far. (Not in a branch: what others have done by then is a matter of time.)
act("undone", function() return {} end, function(self, given, out)
  out(self:step({ name = "u", compensate = undo_step }, do_undoable, given.n))
  self:compensate("changed its mind")
end)

act("limited", function() return {} end, function(self, _, out)
  local ok, problem = try(nil, self.with_timeout, self, 4 * bodies.pace, self.wait_event, self, "never")
  out(ok, pipeline.is(problem, pipeline.TimeoutError))
end)

-- A scope that is cancelled with what is in it: a branch, and a child that undoes what it did.
act("scoped", function() return {} end, function(self, given, out)
  local child
  local ok, problem = try("enough of it", self.scope, self, function(scope)
    local branch = self:go(function() self:sleep(1e6) end)
    child = self:spawn(Part(given.n, self.id))
    self:wait_event("opened" .. given.n)
    scope:cancel("enough of it")
    self:await(branch)
  end)
  out(ok, pipeline.is(problem, pipeline.CancelledError))
  ok, problem = try(nil, self.await, self, child)
  out(ok, pipeline.is(problem, pipeline.AbortedError))
end)

act("shielded", function() return {} end, function(self, given, out)
  out(self:shield(function()
    local value = self:step("guarded", do_effect, given.n)
    self:sleep(bodies.pace)
    return value + self:step("guarded", do_effect, 1)
  end))
end)

kinds[#kinds + 1] = "undoable" -- twice as often

local top_only = { branches = true, undone = true }

-- ---- bodies --------------------------------------------------------------------------------------------------------

--- A list of acts.
function bodies.acts(random, plan, count, in_branch)
  local list = {}
  while #list < count do
    local kind = kinds[random(#kinds)]
    if not (in_branch and top_only[kind]) then
      local given = acts[kind].make(random, plan)
      given.kind, given.n = kind, plan.number()
      list[#list + 1] = given
    end
  end
  return list
end

--- Does them; results go to the end of `got`.
function bodies.perform(self, list, got)
  for _, given in ipairs(list) do
    acts[given.kind].perform(self, given, function(...)
      for i = 1, select("#", ...) do got[#got + 1] = (select(i, ...)) end
    end)
  end
end

local function names_of(list)
  local names = {}
  for i, given in ipairs(list) do
    local inner = {}
    for j, each in ipairs(given.lists or {}) do inner[j] = names_of(each) end
    names[i] = inner[1] and ("%s(%s)"):format(given.kind, table.concat(inner, " | ")) or given.kind
  end
  return table.concat(names, ", ")
end

--- A value as text, the same everywhere.
function bodies.text(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, inner in order.sorted_pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. bodies.text(inner) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local made = {}

-- How a body ends: what it returns, after what it is given.
local fates = {}

function fates.returns(_, got) return got end

function fates.fails() error(pipeline.Abort("nothing of it counts")) end

-- It says that it waits to be cancelled, and then cleans up.
function fates.cancelled(self)
  self:set_value("waits", true)
  local beside = self:go("waiting", function()
    local _, problem = pcall(self.wait_event, self, "never")
    self:step("cleaned", do_effect)
    error(problem, 0)
  end)
  local _, problem = pcall(self.await, self, beside)
  self:step("cleaned", do_effect)
  error(problem, 0)
end

--- Makes the body of a number: seed (that), class; signals (names, in the order in which they are to be sent); fate
-- (how it ends: "returns", "fails", or "cancelled", where it waits to be); words (what it does).
function bodies.make(seed)
  if made[seed] then return made[seed] end
  local random, signals, numbers = generator(seed), {}, 0
  local plan = {
    signal = function()
      signals[#signals + 1] = "g" .. #signals + 1
      return signals[#signals]
    end,
    number = function()
      numbers = numbers + 1
      return numbers
    end,
  }
  local first, second = bodies.acts(random, plan, random(4) + 1), random(3) == 1 and bodies.acts(random, plan, 2)
  local fate = ({ "returns", "returns", "fails", "cancelled" })[random(4)]
  local class = pipeline.workflow("spec.explore.Body" .. seed, {
    backoff_seconds = 2 * bodies.pace,
    run = function(self, got)
      local is_second = got ~= nil
      got = got or {}
      bodies.perform(self, is_second and second or first, got)
      if second and not is_second then return self:continue_as_new(got) end
      return fates[fate](self, got)
    end,
  })
  made[seed] = {
    seed = seed, class = class, signals = signals, fate = fate,
    words = ("%s%s; %s"):format(names_of(first), second and "; then as new: " .. names_of(second) or "", fate),
  }
  return made[seed]
end

return bodies
