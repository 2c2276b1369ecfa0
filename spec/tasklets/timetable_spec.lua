-- timetable_spec.lua - the order of timers (csrc/binding/tasklet/timetable.c, csrc/base/heap.c) against a plain list,
-- with random times, cancellations and clocks. The seed is printed when it fails.

local core = require "pipeline.core"

local SEED = tonumber(os.getenv("SEED")) or os.time()

-- The same, slow: a list, looked through from the beginning.
local function model()
  local list, order = {}, 0
  local self = {}

  local function first()
    local best
    for i, entry in ipairs(list) do
      local other = list[best]
      if not best or entry.due < other.due or (entry.due == other.due and entry.order < other.order) then best = i end
    end
    return best
  end

  function self.add(timer, due, is_soon)
    order = order + 1
    for _, entry in ipairs(list) do
      if is_soon and entry.is_soon then due = math.max(due, entry.due) end
    end
    list[#list + 1] = { timer = timer, due = due, order = order, is_soon = is_soon }
  end

  function self.cancel(timer)
    for i, entry in ipairs(list) do
      if entry.timer == timer then
        table.remove(list, i)
        return true
      end
    end
    return false
  end

  function self.first()
    local at = first()
    if at then return list[at].due, list[at].is_soon end
  end

  function self.take()
    local at = first()
    return at and table.remove(list, at).timer or nil
  end

  function self.count() return #list end
  function self.clear() list = {} end
  return self
end

local TIMES = { 0, -0.0, 1, 1, 1.5, 2, 1e9, -1, -2.5, 1e-9, math.huge, -math.huge, 1.7e9 + 1e-6, 1.7e9, 3 }

local function due_of(random)
  if random(3) == 1 then return random(0, 20) end
  return TIMES[random(#TIMES)]
end

local function compare(timetable, slow, step)
  local due, is_soon = timetable:first()
  local wanted, wanted_soon = slow.first()
  assert(due == wanted and is_soon == wanted_soon, ("step %d: first at %s, not %s"):format(step, due, wanted))
  assert(timetable:count() == slow.count(), ("step %d: %d timers"):format(step, timetable:count()))
end

local function play(seed, steps)
  math.randomseed(seed)
  local random = math.random
  local timetable, slow, timers = core.timetable(), model(), {}
  for step = 1, steps do
    local what = random(100)
    if what <= 45 then
      local timer, due, is_soon = {}, due_of(random), random(3) == 1
      timers[#timers + 1] = timer
      timetable[is_soon and "add_soon" or "add"](timetable, timer, due)
      slow.add(timer, due, is_soon)
    elseif what <= 65 and timers[1] then
      local timer = timers[random(#timers)]
      assert(timetable:cancel(timer) == slow.cancel(timer), ("step %d: cancelled"):format(step))
    elseif what <= 99 then
      assert(timetable:take() == slow.take(), ("step %d: another timer"):format(step))
    elseif random(5) == 1 then
      timetable:clear()
      slow.clear()
    end
    compare(timetable, slow, step)
  end
end

describe("a timetable", function()
  it("gives timers in the order of their times, those of one time in the order added", function()
    for i = 0, 19 do
      local ok, problem = pcall(play, SEED + i, 400)
      if not ok then error(("SEED=%d: %s"):format(SEED + i, problem), 0) end
    end
  end)

  it("knows a timer that was taken, cancelled or cleared no more, and may be given it again", function()
    local timetable, timer = core.timetable(), {}
    timetable:add(timer, 1)
    assert.equal(timer, timetable:take())
    assert.is_false(timetable:cancel(timer))
    local other = {}
    timetable:add_soon(other, 1) -- has the place of the first
    assert.is_false(timetable:cancel(timer))
    timetable:add(timer, 2)
    timetable:clear()
    assert.is_false(timetable:cancel(timer))
    assert.is_nil(timetable:first())
    timetable:add(timer, 3)
    assert.is_true(timetable:cancel(timer))
    assert.equal(0, timetable:count())
  end)

  it("holds a hundred thousand timers, gives their memory back, and holds others", function()
    local timetable, last = core.timetable(), -1
    for _ = 1, 2 do
      for i = 1, 100000 do timetable:add({ i }, (i * 7919) % 100003) end
      for _ = 1, 100000 do
        local due = timetable:first()
        assert(due >= last)
        timetable:take()
        last = due
      end
      last = -1
    end
    assert.is_nil(timetable:take())
  end)

  it("forgets what it held when it is collected, whatever was in it", function()
    local kept = setmetatable({}, { __mode = "k" })
    do
      local timetable = core.timetable()
      local timer = { timetable }
      kept[timer] = true
      timetable:add(timer, 1)
      timetable:add_soon({ timetable }, 1)
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(kept))
  end)

  it("takes numbers as times only", function()
    local timetable = core.timetable()
    assert.has_error(function() timetable:add({}, 0 / 0) end)
    assert.has_error(function() timetable:add({}, "soon") end)
    assert.has_error(function() timetable:add("timer", 1) end)
    assert.has_error(function() timetable.add({}, {}, 1) end)
    assert.has_error(function() timetable.first(io.stdout) end)
  end)
end)
