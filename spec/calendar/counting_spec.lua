--- How often a schedule fires between two instants, and when last: as if each fire had been looked for.

local core = require "pipeline.core"
local support = require "spec.calendar.support"

local ZONES = { "UTC", "America/New_York", "Antarctica/Troll", "Pacific/Apia", "Africa/Casablanca",
  "Australia/Lord_Howe" }
local EXPRESSIONS = { "*/5 * * * *", "30 1-3 * * *", "0 0 * * *", "*/20 2 13 * *", "0 0 L * *",
  { "*/5 1 * * *", "*/3 */2 * * *" }, { "*/5 1 * * *", "30 */3 * * * *" }, { "0 1 * * *", "0 0 1 * * *" } }
local EXCLUDED = { "0-9 2 * * *", "2011-12-29", "*/2 13-14 1-15 * *", "*/7 * 3 * * *" }

local function pick(list) return list[math.random(#list)] end

-- One fire after the other.
local function walk(rule, after, until_)
  local count, last, at = 0, nil, after
  while true do
    at = rule:next(at)
    if not at or at > until_ then return count, last end
    count, last = count + 1, at
  end
end

describe("counting", function()
  it("gives the same as looking for each fire", function()
    local seed = os.time()
    math.randomseed(seed)
    for _ = 1, 80 do
      local name, expression = pick(ZONES), pick(EXPRESSIONS)
      local rule = assert(core.cron(expression, { zone = support.zone(name), gap = pick { "next", "shift", "skip" },
        fold = pick { "first", "last", "both" }, exclude = math.random(2) == 1 and EXCLUDED or nil }))
      local after = math.random(1300000000, 1340000000) + pick { 0, 900000000 }
      local until_ = after + math.random(0, 150 * 86400)
      local what = ("seed %d: %s, %s, %d to %d"):format(seed, name, tostring(expression), after, until_)
      local count, last = walk(rule, after, until_)
      assert.equal(count, rule:count(after, until_), what)
      assert.equal(last, rule:last(after, until_), what)
    end
  end)

  it("of slots, too", function()
    local plain = core.every(2.5, 1)
    assert.equal(4, plain:count(0, 10))
    assert.equal(8.5, plain:last(0, 10))
    assert.is_nil(plain:last(1, 3))
    local rule = core.every(1800, 0, { exclude = { "* 9-16 * * *", "1970-01-03" },
      zone = support.zone "Europe/Berlin" })
    for _, range in ipairs { { 0, 0 }, { -1, 0 }, { 0, 86400 }, { 5, 400000 }, { 90000, 250000 } } do
      local count, last = walk(rule, range[1], range[2])
      assert.equal(count, rule:count(range[1], range[2]))
      assert.equal(last, rule:last(range[1], range[2]))
    end
    local once = core.at(500)
    assert.same({ 1, 0, 0, 500 }, { once:count(0, 500), once:count(500, 600), once:count(0, 499), once:last(0, 500) })
  end)

  it("ten years of minutes takes no longer than a few of them", function()
    local rule = core.cron("* * * * *", { zone = support.zone "Europe/Berlin" })
    local begun = os.clock()
    assert.equal(3652 * 1440, rule:count(1800000000, 1800000000 + 3652 * 86400))
    assert.equal(1800000000 + 3652 * 86400, rule:last(1800000000, 1800000000 + 3652 * 86400))
    assert.is_true(os.clock() - begun < 1)
  end)

  it("covers all the time there is", function()
    local rule = core.cron("0 0 29 2 *")
    assert.equal(2424, rule:count(-1e300, 1e300)) -- of the years 1 to 9999
    assert.equal(support.instant("UTC", "9996-02-29T00:00"), rule:last(0, 1e300))
    assert.equal(0, rule:count(1e300, -1e300))
    assert.is_nil(rule:last(10, 5))
  end)
end)
