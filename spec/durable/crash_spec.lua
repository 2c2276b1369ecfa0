-- durable/run.lua under SIGKILL: every commit of a run and every effect of its steps is a moment to be killed at.

local pace = require "spec.support.pace"
local processes = require "spec.crash.processes"

local directory, group

local function read(path)
  local found = { effects = {}, log = {} }
  local file = io.open(path)
  for line in file and file:lines() or function() end do
    local verb, rest = line:match("^(%w+)|(.*)$")
    if verb == "effect" then
      local step = rest:match("/(.*)$")
      found.effects[step] = (found.effects[step] or 0) + 1
    elseif verb == "log" then
      found.log[#found.log + 1] = rest
    elseif verb then
      found[verb] = rest
    end
  end
  if file then file:close() end
  return found
end

local function run_process(path, ledger, program, crash_at)
  local pid = group:spawn(directory .. "/output", "spec/durable/worker.lua", path, ledger, program, crash_at, 60 * pace)
  assert(group:wait_for(pid, 120 * pace), "the process does not end")
end

-- Lives of a run, killed before the events that are given; the last one is not. Returns the ledger.
local serial = 0
local function lives(program, crashes)
  serial = serial + 1
  local path = ("%s/%d.db"):format(directory, serial)
  local ledger = path .. ".ledger"
  for _, at in ipairs(crashes) do run_process(path, ledger, program, at) end
  run_process(path, ledger, program, 0)
  local found = read(ledger)
  for _, suffix in ipairs { "", "-wal", "-shm", "-workers", ".ledger" } do os.remove(path .. suffix) end
  return found
end

local function check(found, clean, crashes, label)
  local function fail(text)
    error(("%s: %s\n%s"):format(label, text, table.concat(found.log, "\n")), 0)
  end
  if found.done ~= clean.done then fail(("output %s, not %s"):format(tostring(found.done), tostring(clean.done))) end
  for step, count in pairs(found.effects) do
    if not clean.effects[step] then fail("a step that nobody asked for: " .. step) end
    if count > 1 + crashes then fail(("%s was executed %d times"):format(step, count)) end
  end
  for step in pairs(clean.effects) do
    if not found.effects[step] then fail(step .. " was never executed") end
  end
end

describe("a durable run that is killed", function()
  setup(function()
    directory = processes.directory()
    group = processes.group(directory)
  end)
  teardown(function() group:close() end)

  it("W5 W6 W12 W13 W14 W99 W164: at each event, it is finished by another process with the same output", function()
    local clean = lives("order", {})
    assert.match("stock.*paid", clean.done)
    local events = assert(tonumber(clean.events))
    for at = 1, events do
      check(lives("order", { at }), clean, 1, ("order, killed before event %d of %d"):format(at, events))
    end
  end)

  it("W14 W164: twice, in the first life and in the second", function()
    local clean = lives("row", {})
    assert.equal("15", clean.done)
    local events = assert(tonumber(clean.events))
    for at = 1, events, 3 do
      for again = 2, 6, 2 do
        check(lives("row", { at, again }), clean, 2, ("row, killed before events %d and then %d"):format(at, again))
      end
    end
  end)

  it("W50 W80 W81 W142 W164: with signals, a transaction, branches and eras, at each event", function()
    local clean = lives("mixed", {})
    assert.equal("{1={1=1,2=2,3=1},2=three,3=3,4=end}", clean.done)
    local events = assert(tonumber(clean.events))
    for at = 1, events do
      check(lives("mixed", { at }), clean, 1, ("mixed, killed before event %d of %d"):format(at, events))
    end
  end)

  it("W54 W135 W136 W140 with updates, values, a stream and a signal to itself, at each event", function()
    local clean = lives("shows", {})
    assert.equal("10 answers 1,3,negative,6,10 stream 1 2 3 4 in 2 eras, sum 10", clean.done)
    local events = assert(tonumber(clean.events))
    for at = 1, events do
      local found, label = lives("shows", { at }), ("killed before event %d of %d"):format(at, events)
      assert.equal(clean.done, found.done, label)
      for step, count in pairs(found.effects) do assert.is_true(count <= 2, label .. ": " .. step) end
    end
  end)

  it("W123 W126 W129 W164: a saga that fails, at each event, undoes everything once, the newest first", function()
    local clean = lives("saga", {})
    assert.match("AbortedError.*not shipped", clean.done)
    assert.same({
      ["reserve#1"] = 1, ["charge#1"] = 1, ["ship#1"] = 1, ["~compensate#1/letter#1"] = 1,
      ["~compensate#1/charge#1"] = 1, ["~compensate#1/reserve#1"] = 1,
    }, clean.effects)
    local events = assert(tonumber(clean.events))
    for at = 1, events do
      local found = lives("saga", { at })
      assert.equal(clean.done, found.done, "killed before event " .. at)
      for step, count in pairs(clean.effects) do
        local had = found.effects[step] or 0
        local text = ("%s: %d effects, killed before event %d"):format(step, had, at)
        assert.is_true(had >= count and had <= count + 1, text)
      end
    end
  end)

  it("W110 W116 W123 W124 W164: an abort, at each event, cleans up at every depth", function()
    local clean = lives("cancelled", {})
    assert.match("AbortedError.*enough", clean.done)
    local needed = { "reserve#1", "~compensate#1/reserve#1", "go#1/cleaned#1" }
    local events = assert(tonumber(clean.events))
    for at = 1, events do
      local found = lives("cancelled", { at })
      assert.equal(clean.done, found.done, "killed before event " .. at)
      for _, step in ipairs(needed) do
        assert.is_true((found.effects[step] or 0) >= 1, ("no %s, killed before event %d"):format(step, at))
      end
      for step, count in pairs(found.effects) do
        assert.is_true(count <= 2, ("%s: %d effects, killed before event %d"):format(step, count, at))
      end
      local was_opened, was_closed = found.effects["open#1"], found.effects["~compensate#1/close#1"]
      assert.is_true(was_closed ~= nil or was_opened == nil, "killed before event " .. at)
    end
  end)

  it("W41 a step that runs at most once is never called again after a crash", function()
    local clean = lives("once", {})
    assert.equal("{interrupted=false,ok=true,value=had}", clean.done)
    local events, interrupted = assert(tonumber(clean.events)), 0
    for at = 1, events do
      local found = lives("once", { at })
      assert.is_true((found.effects["once#1"] or 0) <= 1, "killed before event " .. at)
      if found.done == "{interrupted=true,ok=false,value=none}" then
        interrupted = interrupted + 1
      else
        assert.equal(clean.done, found.done, "killed before event " .. at)
      end
    end
    assert.is_true(interrupted > 0 and interrupted < events)
  end)
end)
