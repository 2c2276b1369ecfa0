-- flow/due.lua: which operation of a run is due first.

local due = require "pipeline.flow.due"

local SEED <const> = 20261129

local function never() return false end

describe("the operations that have a time", function()
  it("W72 come in the order of their times, and of asking where those are the same; what is over or moved does not",
    function()
      math.randomseed(SEED)
      for _ = 1, 200 do
        local set, ops = due.new(), {}
        for i = 1, math.random(0, 40) do
          ops[i] = { seq = i, due = math.random(1, 10) }
          set:add(ops[i])
        end
        for _, op in ipairs(ops) do
          local what = math.random(5)
          if what == 1 then
            op.done = 100 + op.seq
          elseif what == 2 then
            op.due = math.random(1, 10)
            set:add(op)
          elseif what == 3 then
            set:remove(op)
            op.gone = true
          end
        end
        local expected = {}
        for _, op in ipairs(ops) do
          if not (op.done or op.gone) then expected[#expected + 1] = op end
        end
        table.sort(expected, function(a, b) return a.due < b.due or a.due == b.due and a.seq < b.seq end)
        local found = {}
        while true do
          local op, time = set:first(never)
          if not op then break end
          assert.equal(op.due, time)
          assert.equal(op, (set:first(never)))
          found[#found + 1] = op
          set:remove(op)
        end
        assert.same(expected, found)
        assert.same({ 0, nil }, { set.count, (next(set.items)) })
      end
    end)

  it("W117 those that have to wait are passed over, and stay", function()
    local set, ops = due.new(), {}
    for i = 1, 5 do
      ops[i] = { seq = i, due = i }
      set:add(ops[i])
    end
    local function waits(op) return op.seq ~= 4 end
    assert.equal(ops[4], (set:first(waits)))
    assert.equal(ops[4], (set:first(waits)))
    set:remove(ops[4])
    assert.is_nil((set:first(waits)))
    for _, i in ipairs { 1, 2, 3, 5 } do
      assert.equal(ops[i], (set:first(never)))
      set:remove(ops[i])
    end
    assert.is_nil((set:first(never)))
  end)

  it("W58 ten thousand that are due at once are each looked at once", function()
    local set, looks, count = due.new(), 0, 10000
    for i = 1, count do set:add { seq = i, due = 7 } end
    for i = 1, count do
      local op = set:first(function()
        looks = looks + 1
        return false
      end)
      assert.equal(i, op.seq)
      op.done = count + i
    end
    assert.equal(count, looks)
    assert.is_nil((set:first(never)))
  end)
end)
