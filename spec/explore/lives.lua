--- lives.lua: the lives of a run that is killed, in one process: what a process leaves behind that dies is the file.
--
-- At every event of a life (before and after each commit of a durable function and of its children, each signal that is
-- sent and each effect of a step) the file and the write-ahead log beside it are copied, with the number of effects so
-- far. Another life begins with such a copy: for it, the one before has died at that moment. Time is virtual, so timers
-- and the attempts after failures take none.

local bodies = require "spec.explore.bodies"
local pipeline = require "pipeline"

local lives = { REASON = "it is not wanted any more" }

local VERBS <const> = { "journal", "flow_suspend", "outcome", "signal", "give_back", "abort", "finalized" }
local FILES <const> = { "", "-wal" }
local ALL_FILES <const> = { "", "-wal", "-shm", "-workers" }

local function read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read("a") or ""
end

local function write(path, bytes)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(bytes))
end

local function remove(path)
  for _, suffix in ipairs(ALL_FILES) do os.remove(path .. suffix) end
end

-- What dies leaves this behind. Of a life that is the last one nothing is wanted.
local function copy(life)
  if life.given and life.given.is_last then return end
  local taken = { effects = #life.effects, time = life.engine:now(), files = {}, is_accepted = life.is_accepted }
  for i, suffix in ipairs(FILES) do taken.files[i] = read(life.path .. suffix) end
  local last = life.copies[#life.copies]
  if last and last.effects == taken.effects and last.files[1] == taken.files[1] and last.files[2] == taken.files[2] then
    return
  end
  life.copies[#life.copies + 1] = taken
end

--- Has event(verb) called around each verb that commits ("finish": of a transaction); returns what ends that.
function lives.watch(engine, event)
  local undo = {}
  local function around(call, verb)
    return function(...)
      event(verb)
      return (function(...)
        event(verb)
        return ...
      end)(call(...))
    end
  end
  local function replace(methods, verb)
    local call = methods[verb]
    methods[verb] = around(call, verb)
    undo[#undo + 1] = function() methods[verb] = call end
  end
  for _, verb in ipairs(VERBS) do replace(getmetatable(engine._core).__index, verb) end
  local session = engine._core:session()
  replace(getmetatable(session).__index, "finish") -- the commit of a transaction
  session:drop()
  return function()
    for _, fn in ipairs(undo) do fn() end
  end
end

-- The run itself is the same one in all lives.
local function begin(engine, body)
  engine:transaction(function(tx) tx:execute("CREATE TABLE IF NOT EXISTS explored (n INTEGER)") end)
  return pipeline.from_id("the-run") or body.class():start { idempotence_key = "the-run" }
end

-- What its stream has, sorted: branches may take their turns in another order in a life before which nothing of it was
-- recorded.
local function shown_by(engine)
  local list = {}
  for _, value in engine:read_stream("the-run", "shown", { wait = false }) do list[#list + 1] = value end
  table.sort(list)
  return table.concat(list, " ")
end

--- How a run has ended, as text; as engine:wait tells it.
function lives.output_of(ok, outputs)
  if ok then return bodies.text(outputs.default.value) end
  if pipeline.is(outputs, pipeline.AbortedError) then return "aborted: " .. outputs.reason end
  return "no output: " .. tostring(outputs)
end

local function drive(life, body, stage)
  local engine = life.engine
  if life.given and life.given.abort_at == 0 then life.is_accepted = stage:abort(lives.REASON) end
  for i, name in ipairs(body.signals) do
    if bodies.faster == "right" then
      engine:drain()
      engine:sleep(2)
    end
    engine:signal("the-run", name, i * 100, { key = i })
  end
  engine:drain { delayed = true }
  if body.fate == "cancelled" and not life.is_accepted then
    life.is_accepted = stage:abort(lives.REASON)
    engine:drain { delayed = true }
  end
  local ok, outputs = pcall(engine.wait, engine, stage, { timeout = 0 })
  life.output = lives.output_of(ok, outputs)
  local rows = engine:transaction(function(tx) return tx:query("SELECT n FROM explored ORDER BY n") end)
  local numbers = {}
  for i, row in ipairs(rows) do numbers[i] = row.n end
  life.rows = table.concat(numbers, " ")
  life.shown = shown_by(engine)
  life.problems = life.given and life.given.is_unchecked and {} or engine:check()
  local flow = engine._core:journal_get(stage._record.id)
  life.era = flow and flow.era
end

--- Lives from `copied` on (nil: from nothing), whose effects so far are `effects`, in files below `directory`.
-- `crashes`: how many there were before. given: abort_at (the event at which the run is aborted from outside; 0:
-- before anything happens), is_accepted (it was, in a life before), is_last (no copies are taken: no other life begins
-- with one), is_unchecked (its file is not looked through, which takes as long as all else).
-- @return { output, rows (texts), effects (list of keys), copies, events (how many), problems, era, is_accepted (it was
--   aborted, and whoever did so was told that) }
function lives.live(directory, body, copied, effects, crashes, given)
  bodies.faster = (crashes or 0) % 2 == 0 and "right" or "left"
  local path = directory .. "/life.db"
  remove(path)
  local life = {
    path = path, effects = {}, copies = {}, log = {}, events = 0, given = given,
    is_accepted = given and given.is_accepted or false,
  }
  if copied then
    table.move(effects, 1, copied.effects, 1, life.effects)
    for i, suffix in ipairs(FILES) do
      if copied.files[i] ~= "" then write(path .. suffix, copied.files[i]) end
    end
  end
  local engine <close> = pipeline.open(path, {
    durability = "normal", virtual_time = true, virtual_start = copied and copied.time or 1e9, lease_seconds = 5,
    warm_runs = ((crashes or 0) + body.seed) % 2 == 1 and 0 or nil, -- every second life is replayed after each wait
    log = function(level, line) if level >= 40 then life.log[#life.log + 1] = line end end,
    transaction_timeout = 600, -- it is real time, and the machine may be busy
  })
  life.engine = engine
  local stage = begin(engine, body)
  local abort_at = given and given.abort_at ~= 0 and given.abort_at or math.huge
  local function event(verb)
    copy(life)
    life.events = life.events + 1
    if life.events < abort_at or verb == "finish" then return end -- it is not meant to belong to a transaction
    abort_at = math.huge
    life.is_accepted = stage:abort(lives.REASON)
  end
  bodies.effect = function(key)
    event()
    life.effects[#life.effects + 1] = key
    event()
  end
  local unwatch = lives.watch(engine, event)
  local ok, problem = xpcall(drive, debug.traceback, life, body, stage)
  unwatch()
  if not ok then error(problem, 0) end
  return life
end

local function counts(effects)
  local found = {}
  for _, key in ipairs(effects) do
    key = key:gsub("took%-%a+", "took")
    found[key] = (found[key] or 0) + 1
  end
  return found
end

-- A decision that was taken for both sides; nil: there is none.
local function taken_twice(effects)
  local sides = {}
  for _, key in ipairs(effects) do
    local before, side, after = key:match("^(.*took%-)(%a+)(.*)$")
    local which = side and before .. after
    if side and sides[which] and sides[which] ~= side then return which end
    if side then sides[which] = side end
  end
end

--- What is wrong with the effects of a life that had so many crashes, beside those of one that had none.
function lives.difference_of_effects(effects, clean, crashes)
  local twice = taken_twice(effects)
  if twice then return "both sides were taken of decision " .. twice end
  local had, wanted = counts(effects), counts(clean)
  for key, count in pairs(had) do
    if not wanted[key] then return "an effect that nobody asked for: " .. key end
    if count > 1 + crashes then return ("effect %s was had %d times"):format(key, count) end
  end
  for key in pairs(wanted) do
    if not had[key] then return "effect " .. key .. " is missing" end
  end
end

--- What is wrong with a life that had so many crashes before it, compared with the one that had none; nil: nothing.
function lives.difference(life, clean, crashes)
  if life.output ~= clean.output then return ("its output is\n  %s, not\n  %s"):format(life.output, clean.output) end
  if life.shown ~= clean.shown then return ("its stream has %s, not %s"):format(life.shown, clean.shown) end
  if life.rows ~= clean.rows then return ("rows %s, not %s"):format(life.rows, clean.rows) end
  if life.problems[1] then return "the store is not right: " .. tostring(life.problems[1].text or life.problems[1]) end
  return lives.difference_of_effects(life.effects, clean.effects, crashes)
end

--- Explores the body of a number: dies at each event, and then, `depth` times, at each one of every life behind that;
-- of a level below the first only every `stride`-th copy, which are others behind each copy of the level above. The
-- file of every one of the first level is looked through, and of those below of each `stride`-th. Returns how many
-- lives that were; raises at the first difference, with the number and the events.
function lives.explore(directory, seed, depth, stride)
  local body = bodies.make(seed)
  local clean, count = nil, 0
  local function go(life, crashes, path, first)
    for i = first, #life.copies, crashes > 0 and stride or 1 do
      count = count + 1
      if count % 8 == 0 then collectgarbage() end -- copies are large
      local after = lives.live(directory, body, life.copies[i], life.effects, crashes + 1, {
        is_last = crashes + 1 == depth, is_unchecked = crashes > 0 and count % stride > 0,
      })
      local where = path .. i .. " of " .. #life.copies
      local what = lives.difference(after, clean, crashes + 1)
      if what then
        error(("body %d, dead at event %s: %s\nbody: %s\nlog: %s"):format(seed, where, what, body.words,
          table.concat(after.log, "\n")), 0)
      end
      if crashes + 1 < depth then go(after, crashes + 1, where .. ", then at ", i % stride + 1) end
    end
  end
  clean = lives.live(directory, body)
  if clean.output:find("no output", 1, true) then
    error(("body %d: %s\n%s"):format(seed, clean.output, body.words), 0)
  end
  go(clean, 0, "", 1)
  return count, body, clean
end

return lives
