-- scope.lua: cancelling a run, or a part of its body, at every moment: who is told, in which order, how often.

local errors = require "pipeline.support.errors"
local model = require "spec.flow.model"

local function is_cancelled(problem) return errors.is(problem, errors.CancelledError) end

local function first() return 1 end

-- Plays a program in every order of endings and of the cancellation, and each of these again with a crash before every
-- event, after which another life ends it. check(seen, ended, store): `seen` is what the last life has noted.
local function explore(program, check, most)
  local orders, crashes = 0, 0
  model.each_order(function(choose)
    orders = orders + 1
    local store, seen, made = model.store(), {}, {}
    local function play(m) return program(m, seen) end
    local function noting(n)
      local choice = choose(n)
      made[#made + 1] = choice
      return choice
    end
    local ended, events = model.life(play, store, noting, { cancel = true })
    local clean = { table.concat(seen, " "), ended.ok, ended.ok and ended.results[1] }
    check(seen, ended, store)
    for at = 1, events do
      crashes = crashes + 1
      local again, place, notes = model.store(), 0, {}
      local function as_before(n)
        place = place + 1
        return math.min(made[place] or 1, n)
      end
      local function play_unseen(m) return program(m, {}) end
      assert.is_nil(model.life(play_unseen, again, as_before, { cancel = true, crash_at = at }))
      local last = model.life(function(m) return program(m, notes) end, again, as_before, { cancel = true })
      check(notes, last, again)
      local replayed = {}
      local replay = model.life(function(m) return program(m, replayed) end, again, first)
      assert.same(notes, replayed)
      assert.equal(last.ok, replay.ok)
    end
    local replayed = {}
    local replay = model.life(function(m) return program(m, replayed) end, store, first)
    assert.same(clean, { table.concat(replayed, " "), replay.ok, replay.ok and replay.results[1] })
  end, most)
  assert(orders > 1 and crashes > orders)
end

local function count(list, pattern)
  local n = 0
  for _, text in ipairs(list) do n = n + (text:find(pattern) and 1 or 0) end
  return n
end

describe("cancelling a run", function()
  it("W111 W113 W115 tells each branch once, in the order of their creation, in every life the same", function()
    local told, untold = 0, 0
    explore(function(m, seen)
      local futures = {}
      for i = 1, 2 do
        futures[i] = model.go(m, "b", function()
          local ok, problem = pcall(model.step, m, "x")
          if not ok then
            seen[#seen + 1] = "b" .. i
            assert(is_cancelled(problem))
            model.step(m, "cleaned") -- works, and is not interrupted
            seen[#seen + 1] = "cleaned" .. i
          end
          return i
        end)
      end
      local ok, problem = pcall(model.step, m, "main")
      if not ok then
        seen[#seen + 1] = "main"
        assert(is_cancelled(problem))
      end
      model.join(m, futures)
      model.step(m, "end")
      return "over"
    end, function(seen, ended)
      local text = table.concat(seen, " ")
      assert.is_true(count(seen, "^main$") <= 1 and count(seen, "^b1$") <= 1 and count(seen, "^b2$") <= 1, text)
      for i = 1, 2 do -- or main has ended first
        local cleaned, is_told = count(seen, "^cleaned" .. i), count(seen, "^b" .. i)
        assert.is_true(cleaned == is_told or not ended.ok and cleaned < is_told, text)
      end
      local main, one, two = text:find("main"), text:find("b1"), text:find("b2")
      assert.is_true(not (main and one) or main < one, text)
      assert.is_true(not (one and two) or one < two, text)
      assert.is_true(ended.ok or is_cancelled(ended.caught))
      if #seen == 0 and ended.ok then untold = untold + 1 else told = told + 1 end
    end, 150)
    assert.is_true(told > 0)
  end)

  it("W113 W114 a step at work ends by itself, with its result or without one, and is no error of that", function()
    local ends = {}
    explore(function(m, seen)
      local op = m:ask("step", "x")
      if not pcall(function() m:wait { op } end) then
        m:wait { op } -- how did it end?
        seen[#seen + 1] = op.state
      end
      return op.state
    end, function(seen, ended, store)
      assert.is_true(ended.ok)
      if seen[1] then ends[seen[1]] = true end
      for _, each in pairs(store.entries) do
        assert.is_true(each.kind ~= "step" or each.state == "ok" or each.state == "cancelled")
      end
    end)
    assert.same({ ok = true, cancelled = true }, ends)
  end)

  it("W75 W118 closes timers and waits at once, and lets nothing hang that waits for them all the same", function()
    explore(function(m, seen)
      local timer = model.timer(m, 100)
      if not pcall(model.step, m, "x") then
        assert(m:wait { timer } == timer and timer.state ~= "open") -- it may have fired before
        seen[#seen + 1] = "cancelled"
        model.step(m, "y")
      end
      return timer.state
    end, function(_, ended) assert.is_true(ended.ok) end)
  end)

  it("W117 does not reach into a shield, and is told where it ends", function()
    local late = 0
    explore(function(m, seen)
      local ok = model.scope(m, function()
        model.step(m, "a")
        model.race(m, m:ask("step", "b"), model.timer(m, 5))
        seen[#seen + 1] = "shielded"
      end, true)
      assert(ok)
      if not pcall(m.heed, m) then seen[#seen + 1] = "told" end
      if not pcall(model.step, m, "c") then seen[#seen + 1] = "told" end
      if not pcall(model.step, m, "d") then seen[#seen + 1] = "told" end
      return "over"
    end, function(seen, ended)
      assert.is_true(ended.ok)
      assert.equal("shielded", seen[1])
      assert.is_true(#seen <= 2)
      late = late + (#seen - 1)
    end)
    assert.is_true(late > 0)
  end)

  it("W112 a cancellation that comes when the body has ended has the last word", function()
    local store = model.store()
    local ended, _, m = model.life(function(m) return model.step(m, "a") end, store, first)
    assert.is_true(ended.ok)
    m:deliver(m:cancel_all("abort", "too late"))
    assert.is_true(m:is_over())
    assert.is_false(m.ended.ok)
    assert.is_true(is_cancelled(errors.original(m.ended.caught)))
  end)
end)

describe("a scope", function()
  it("W118 cancels what was asked for in it, in its branches, too, and nothing else", function()
    explore(function(m, seen)
      local other = model.go(m, "other", function() return model.step(m, "o1") .. model.step(m, "o2") end)
      local ok, problem, inner = model.scope(m, function(inner)
        model.go(m, "inside", function()
          local ok, problem = pcall(model.step, m, "i")
          if not ok then
            assert(is_cancelled(problem))
            seen[#seen + 1] = "inside"
          end
        end)
        model.step(m, "s")
        m:cancel_scope(inner, function() return errors.CancelledError("enough") end)
        return model.step(m, "never")
      end)
      if not ok then
        assert(is_cancelled(problem))
        seen[#seen + 1] = m:told(inner) and problem.message or "run"
      end
      return pcall(model.join, m, { other })
    end, function(seen, ended, store)
      assert.is_true(ended.ok)
      for _, id in ipairs(store.effects) do assert.is_nil(id:find("never", 1, true)) end
      assert.is_true(count(seen, "inside") <= 1)
      assert.is_true(count(seen, "enough") <= 1)
    end, 100)
  end)

  it("W76 with a timer of its own ends what is late, and the timer ends with it", function()
    local late, early = 0, 0
    explore(function(m, seen)
      local timer = model.timer(m, 5)
      local ok = model.scope(m, function(inner)
        timer.follow = function()
          m:cancel_scope(inner, function() return errors.CancelledError("late") end)
        end
        model.step(m, "a")
        model.step(m, "b")
      end)
      m:cancel(timer)
      seen[#seen + 1] = ok and "early" or "late"
      pcall(model.step, m, "c")
      return timer.state
    end, function(seen, ended)
      assert.is_true(ended.ok)
      if seen[1] == "late" then late = late + 1 else early = early + 1 end
    end)
    assert.is_true(late > 0 and early > 0)
  end)
end)
