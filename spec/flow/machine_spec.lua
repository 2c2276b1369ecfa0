-- machine.lua: the scheduler of durable bodies, driven by the model of spec/flow/model.lua.

local errors = require "pipeline.support.errors"
local model = require "spec.flow.model"

local function seed_of_run()
  local seed = tonumber(os.getenv("MODEL_SEED")) or os.time()
  return seed
end

-- Small generator: the same everywhere.
local function generator(seed)
  local state = seed * 2654435761 % 4294967296 + 1
  return function(low, high)
    state = (state * 1103515245 + 12345) % 2147483648
    return low + (state >> 8) % (high - low + 1)
  end
end

local function steps_by_name(store)
  local count = {}
  for _, id in ipairs(store.effects) do count[id] = (count[id] or 0) + 1 end
  return count
end

describe("the machine of a body", function()
  local first = function() return 1 end

  it("runs steps in a row and gives their results", function()
    local store = model.store()
    local ended = model.life(function(m)
      return model.step(m, "a") .. " " .. model.step(m, "b")
    end, store, first)
    assert.is_true(ended.ok)
    assert.equal("/step:a#1 /step:b#1", ended.results[1])
    assert.same({ "/step:a#1", "/step:b#1" }, store.effects)
  end)

  it("W12 W15 counts occurrences, and finds each again in the next life", function()
    local store, seen = model.store(), {}
    local function program(m)
      local list = {}
      for i = 1, 4 do list[i] = model.step(m, "s") end
      seen[#seen + 1] = table.concat(list, ",")
      return #list
    end
    assert.is_nil(model.life(program, store, first, { crash_at = 5 }))
    assert.is_true(model.life(program, store, first).ok)
    assert.same({ "/step:s#1,/step:s#2,/step:s#3,/step:s#4" }, seen)
    assert.same({ "/step:s#1", "/step:s#2", "/step:s#3", "/step:s#4" }, store.effects)
  end)

  it("W16 W19 gives identities by branch, at the call, whatever ends first", function()
    local results = {}
    model.each_order(function(choose)
      local store = model.store()
      local ended = model.life(function(m)
        local futures = {}
        for i = 1, 3 do
          futures[i] = model.go(m, "b", function() return model.step(m, "x") .. "+" .. model.step(m, "x") end)
        end
        return table.concat(model.join(m, futures), " ")
      end, store, choose)
      results[ended.results[1]] = true
    end)
    assert.same({ ["/b#1/step:x#1+/b#1/step:x#2 /b#2/step:x#1+/b#2/step:x#2 /b#3/step:x#1+/b#3/step:x#2"] = true },
      results)
  end)

  it("W17 W18 takes a key in place of the number, and takes it once", function()
    local store = model.store()
    local ended = model.life(function(m)
      local a = model.step(m, "s", "k1")
      local ok, problem = pcall(model.step, m, "s", "k1")
      return a .. tostring(ok) .. tostring(problem)
    end, store, first)
    assert.match("^/step:s@k1false.*s.*k1 was asked for before", ended.results[1])
    assert.equal(1, #store.effects)
  end)

  it("W20 W103 keeps the first order of endings in every later life", function()
    local count = model.each_order(function(choose)
      local store, orders = model.store(), {}
      local function program(m)
        local ops, list = {}, {}
        for i = 1, 4 do ops[i] = m:ask("step", "s" .. i) end
        for _ = 1, 4 do
          local op = m:wait(ops)
          list[#list + 1] = op.name
          for i, other in ipairs(ops) do
            if other == op then table.remove(ops, i) break end
          end
        end
        orders[#orders + 1] = table.concat(list)
        model.step(m, "last")
      end
      assert.is_nil(model.life(program, store, choose, { crash_at = 10 })) -- after the last delivery
      assert.is_true(model.life(program, store, first).ok)
      assert.equal(2, #orders)
      assert.equal(orders[1], orders[2])
    end)
    assert.equal(24, count)
  end)

  it("W59 W60 says which recorded operation nobody asks for, and what is asked for instead", function()
    local store = model.store()
    model.life(function(m) model.step(m, "charge") model.step(m, "mail") end, store, first, { crash_at = 4 })
    local effects = #store.effects
    local ok, problem = pcall(model.life, function(m) model.step(m, "bill") end, store, first)
    assert.is_false(ok)
    assert.is_true(errors.is(problem, errors.NondeterminismError))
    assert.match('entry 1 of the journal is step "charge" %(.*model.lua:%d+%), but the function now asks for '
      .. 'step "bill" %(.*model.lua:%d+%). Nothing was executed.', problem.message)
    assert.equal(1, problem.position)
    assert.equal(effects, #store.effects)
    ok, problem = pcall(model.life, function() return 1 end, store, first)
    assert.is_false(ok)
    assert.match("but the function now returns without asking for it", problem.message)
    ok, problem = pcall(model.life, function() error("oh dear", 0) end, store, first)
    assert.is_false(ok)
    assert.match("now raises an error before it asks for it: oh dear", problem.message)
  end)

  it("W61 lets two recorded steps change places, and W62 knows a kind from another", function()
    local store = model.store()
    model.life(function(m) model.step(m, "a") model.step(m, "b") model.step(m, "c") end, store, first, { crash_at = 6 })
    local ended = model.life(function(m) return model.step(m, "b") .. model.step(m, "a") .. model.step(m, "c") end,
      store, first)
    assert.equal("/step:b#1/step:a#1/step:c#1", ended.results[1])
    local ok, problem = pcall(model.life, function(m) m:wait { model.timer(m, 1) } end, store, first)
    assert.is_false(ok)
    assert.match('is step "a".*asks for timer "timer"', problem.message)
  end)

  it("W66 has a time that stands while the body computes, and is the same in every life", function()
    local store, times = model.store(), {}
    local function program(m)
      local list = { m.now }
      for i = 1, 3 do
        model.step(m, "s" .. i)
        list[#list + 1] = m.now
      end
      times[#times + 1] = table.concat(list, " ")
      model.step(m, "end")
    end
    model.life(program, store, first, { crash_at = 8 })
    store.time = store.time + 500
    model.life(program, store, first)
    assert.equal(2, #times)
    assert.equal(times[1], times[2])
  end)

  it("W67 draws the same numbers in every life, a sequence for each branch", function()
    local store, drawn = model.store(), {}
    local function program(m, other)
      local futures = {}
      for i = 1, 2 do
        futures[i] = model.go(m, "b", function()
          if other and i == 1 then for _ = 1, 5 do m:chance("random"):bits() end end
          model.step(m, "s")
          return m:chance("random"):number(1, 1000000) .. " " .. m:chance("random"):uuid()
        end)
      end
      local list = model.join(m, futures)
      drawn[#drawn + 1] = list
      model.step(m, "end")
    end
    model.life(program, store, first, { crash_at = 6 })
    model.life(program, store, first)
    assert.same(drawn[1], drawn[2])
    assert.not_equal(drawn[1][1], drawn[1][2])
    model.life(function(m) return program(m, true) end, model.store(), first)
    assert.equal(drawn[1][2], drawn[3][2])
    assert.match("^%d+ %x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$", drawn[1][1])
  end)

  it("W171 W172 refuses calls where the body cannot wait, and records nothing", function()
    local store = model.store()
    local ended, _, m = model.life(function(m)
      local _, in_sort = pcall(table.sort, { 2, 1, 3 }, function(a, b)
        model.step(m, "s")
        return a < b
      end)
      local co = coroutine.create(function() model.step(m, "t") end)
      local _, in_coroutine = coroutine.resume(co)
      return in_sort, in_coroutine
    end, store, first)
    assert.is_true(errors.is(ended.results[1], errors.NotYieldableError))
    assert.is_true(errors.is(ended.results[2], errors.NotInStepError))
    assert.equal(0, m.count)
    assert.same({}, store.entries)
  end)

  it("W173 waits inside pcall, an iterator, a metamethod and a closing variable", function()
    local store = model.store()
    local ended = model.life(function(m)
      local list = {}
      local object = setmetatable({}, { __index = function(_, key) return model.step(m, key) end })
      do
        local _ <close> = setmetatable({}, { __close = function() list[#list + 1] = model.step(m, "closed") end })
        local function items(_, last) return not last and model.step(m, "item") or nil end
        for value in items do list[#list + 1] = value end
        list[#list + 1] = select(2, pcall(model.step, m, "called"))
        list[#list + 1] = object.field
      end
      return table.concat(list, " ")
    end, store, first)
    assert.equal("/step:item#1 /step:called#1 /step:field#1 /step:closed#1", ended.results[1])
  end)

  it("W147 stops at the limit with an error that may be caught, and leaves some for cleaning up", function()
    local ended = model.life(function(m)
      local n, problem = 0, nil
      while not problem do
        local ok, caught = pcall(model.step, m, "s")
        if ok then n = n + 1 else problem = caught end
      end
      model.step(m, "clean")
      return n, problem
    end, model.store(), first, { limit = { entries = 7 } })
    assert.equal(7, ended.results[1])
    assert.is_true(errors.is(ended.results[2], errors.LimitError))
  end)

  it("ends a body that yields by itself", function()
    local ok, problem = pcall(model.life, function() coroutine.yield(1) end, model.store(), first)
    assert.is_false(ok)
    assert.match("yields by itself", problem.message)
  end)
end)

-- ---- every interleaving, and crashes -------------------------------------------------------------------------------

-- A body of n branches; each waits for a step or a timer, whichever is first, decides, and has the effect of that.
local function deciding(n)
  return function(m)
    local futures = {}
    for i = 1, n do
      futures[i] = model.go(m, "b" .. i, function()
        local won = model.race(m, m:ask("step", "work" .. i), model.timer(m, i))
        return model.step(m, ("branch %d took %d"):format(i, won))
      end)
    end
    return table.concat(model.join(m, futures), "\n")
  end
end

-- No decision was taken both ways.
local function both_ways(store)
  local taken, both = {}, 0
  for id in pairs(steps_by_name(store)) do
    local branch, won = id:match("branch (%d+) took (%d)")
    if branch then
      if taken[branch] and taken[branch] ~= won then both = both + 1 end
      taken[branch] = won
    end
  end
  return both
end

local function check_effects(store, crashes)
  for id, n in pairs(steps_by_name(store)) do
    assert(n <= 1 + crashes, ("%s was executed %d times, with %d crashes"):format(id, n, crashes))
  end
end

-- Lives with crashes before the events that `crashes` gives, until one ends.
local function live(program, crashes, choose, given)
  local store, ended, events = model.store(), nil, nil
  for i = 1, #crashes + 1 do
    ended, events = model.life(program, store, choose, {
      crash_at = crashes[i], without_flush_rule = given and given.without_flush_rule,
    })
    if ended then break end
  end
  assert(ended and ended.ok, "the last life did not end well")
  return store, ended, events
end

describe("crashes of a body", function()
  it("W13 W14 W20 W56 W103: every interleaving of endings, a crash before every commit and effect", function()
    for n = 1, 6 do
      local orders = 0
      local branches = n
      model.each_order(function(choose)
        orders = orders + 1
        local store = live(function(m)
          local futures = {}
          for i = 1, branches do futures[i] = model.go(m, "b", function() return model.step(m, "s" .. i) end) end
          return table.concat(model.join(m, futures), " ")
        end, {}, choose)
        check_effects(store, 0)
      end)
      local expected = 1
      for i = 2, n do expected = expected * i end
      assert.equal(expected, orders)
    end
    for n = 1, 2 do
      local program, schedules = deciding(n), 0
      model.each_order(function(choose)
        local _, _, events = live(program, {}, choose)
        schedules = math.max(schedules, events)
      end, 400)
      for at = 1, schedules + 1 do
        model.each_order(function(choose)
          local store = live(program, { at }, choose)
          assert.equal(0, both_ways(store))
          check_effects(store, 1)
        end, 60)
      end
    end
  end)

  it("W14 W56 random schedules of up to six branches with one and two crashes take no decision both ways", function()
    local seed = seed_of_run()
    local random = generator(seed)
    local done, broken = 0, 0
    for i = 1, 3000 do
      local program, crashes = deciding(random(1, 6)), {}
      for c = 1, random(1, 2) do crashes[c] = random(1, 30) end
      local ok, problem = pcall(function()
        local store = live(program, crashes, model.by_chance(random))
        assert.equal(0, both_ways(store))
        check_effects(store, #crashes)
      end)
      if not ok then error(("seed %d, schedule %d: %s"):format(seed, i, tostring(problem)), 0) end
      done = done + 1
      ok = pcall(function()
        broken = broken + both_ways((live(program, crashes, model.by_chance(random), { without_flush_rule = true })))
      end)
      if not ok then broken = broken + 1 end
    end
    assert.equal(3000, done)
    assert(broken > 0, "without the flush rule the model must find decisions taken both ways; seed " .. seed)
  end)

  it("W58 replay is linear in the entries", function()
    local function replay(n)
      local store = model.store()
      local function program(m)
        for _ = 1, n do model.step(m, "s") end
        m:wait { model.timer(m, 1) }
      end
      model.life(program, store, function() return 1 end, { crash_at = 2 * n + 2 })
      local steps = 0
      local function count() steps = steps + 1 end
      debug.sethook(count, "", 100)
      local function enter(co) debug.sethook(co, count, "", 100) end
      model.life(program, store, function() return 1 end, { enter = enter })
      debug.sethook()
      return steps
    end
    assert.is_true(replay(3000) <= 12 * replay(300) + 100)
  end)
end)
