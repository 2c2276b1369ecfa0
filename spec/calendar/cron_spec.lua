--- Cron expressions: what they match, and what is said about those that are wrong.

local core = require "pipeline.core"
local support = require "spec.calendar.support"

local times = support.times

-- Neither a sanitized build nor a slow one.
local is_plain = (os.getenv("PL_BUILD") or ""):find("/build$")
local pace = require "spec.support.pace"

-- The message about an expression that is refused.
local function problem(expression, options)
  local rule, code, message = core.cron(expression, options)
  assert.is_nil(rule)
  assert.equal("EINVAL", code)
  return message
end

local function has(text, ...)
  for _, part in ipairs { ... } do assert.is_truthy(text:find(part, 1, true), ("no %q in %q"):format(part, text)) end
end

-- The days of a month (2027 unless said otherwise) on which an expression for midnight fires.
local function days(fields, month, options, year)
  local from = ("%d-%02d-01T00:00"):format(year or 2027, month)
  local rule = assert(core.cron("0 0 " .. fields, options))
  local at, list = support.instant("UTC", from) - 1, {}
  while true do
    at = rule:next(at)
    local text = at and support.zone("UTC"):local_time(at)
    if not text or text:sub(1, 7) ~= from:sub(1, 7) then return table.concat(list, " ") end
    list[#list + 1] = tonumber(text:sub(9, 10))
  end
end

describe("fields", function()
  it("S1 five are minute, hour, day, month, weekday", function()
    assert.same({ "2027-02-03T05:30", "2028-02-03T05:30" }, times("30 5 3 2 *", "2027-01-01T00:00", 2))
    assert.same({ "2027-02-02T05:30", "2027-02-09T05:30" }, times("30 5 * 2 2", "2027-01-01T00:00", 2))
  end)

  it("S1 six begin with the second", function()
    assert.same({ "2027-02-03T05:30:15", "2028-02-03T05:30:15" }, times("15 30 5 3 2 *", "2027-01-01T00:00", 2))
    assert.same({ "2027-01-01T00:00:20", "2027-01-01T00:00:40", "2027-01-01T00:01" },
      times("*/20 * * * * *", "2027-01-01T00:00", 3))
  end)

  it("S1 other numbers of fields are refused, seven with a word on Quartz's year", function()
    has(problem("0 0 0 1 1 ? 2027"), "seven", "Quartz", "year")
    has(problem("0 0 1 1"), "4 fields", "five")
    has(problem(""), "0 fields")
    has(problem("  \t "), "0 fields")
    has(problem("1 2 3 4 5 6 7 8"), "8 fields")
  end)

  it("S1 any spaces and tabs divide them", function()
    assert.same(times("5 4 * * *", "2027-01-01T00:00", 2), times("  5\t 4  *  * *\t", "2027-01-01T00:00", 2))
  end)

  it("S2 names stand for months and weekdays in any case, also in ranges, lists and with steps", function()
    for i, name in ipairs { "JAN", "feb", "Mar", "aPR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC" } do
      assert.same({ ("2027-%02d-01T00:00"):format(i) }, times("0 0 1 " .. name .. " *", "2026-12-31T00:00", 1))
    end
    for i, name in ipairs { "SUN", "mon", "Tue", "WED", "THU", "FRI", "SAT" } do -- 3 January 2027 is a Sunday
      assert.same({ ("2027-01-%02dT00:00"):format(i + 2) }, times("0 0 * * " .. name, "2027-01-02T12:00", 1))
    end
    assert.equal("1 4 5 6 7 8 11 12 13 14 15 18 19 20 21 22 25 26 27 28 29", days("* * MON-FRI", 1))
    assert.equal("1 4 6 8 11 13 15 18 20 22 25 27 29", days("* * mon-fri/2", 1))
  end)

  it("S2 weekdays 0 and 7 are Sunday, alone and in ranges", function()
    local sundays = days("* * 0", 1)
    assert.equal("3 10 17 24 31", sundays)
    assert.equal(sundays, days("* * 7", 1))
    assert.equal(sundays, days("* * 7-7", 1))
    assert.equal(days("* * SAT,SUN", 1), days("* * 6-7", 1))
    assert.equal(days("* * *", 1), days("* * 0-7", 1))
    assert.equal(days("* * *", 1), days("* * 1-7", 1))
    assert.equal(days("* * SUN-TUE", 1), days("* * 7-2", 1))
  end)

  it("S2 a range goes on beyond the end of the field", function()
    assert.equal("1 2 3 4 8 9 10 11 15 16 17 18 22 23 24 25 29 30 31", days("* * FRI-MON", 1))
    assert.same({ "2027-01-01T22:00", "2027-01-01T23:00", "2027-01-02T00:00", "2027-01-02T01:00", "2027-01-02T22:00" },
      times("0 22-1 * * *", "2027-01-01T12:00", 5))
    assert.same({ "2027-01-01T00:00", "2027-01-01T00:10", "2027-01-01T00:50", "2027-01-01T01:00" },
      times("50-10/10 * * * *", "2026-12-31T23:55", 4))
    assert.same({ "2027-01-01T00:00", "2027-02-01T00:00", "2027-11-01T00:00" },
      times("0 0 1 NOV-FEB *", "2026-12-31T00:00", 3))
  end)

  it("S3 steps count from the begin of their range; of a single number to the end of the field", function()
    local function minutes(field)
      local list = {}
      for i, text in ipairs(times(field .. " 0 1 1 *", "2026-12-31T12:00", 8)) do
        if text:sub(1, 4) ~= "2027" then break end
        list[i] = tonumber(text:sub(15, 16))
      end
      return table.concat(list, " ")
    end
    assert.equal("0 15 30 45", minutes("*/15"))
    assert.equal("5 15 25 35 45 55", minutes("5-55/10"))
    assert.equal("3 23 43", minutes("3/20"))
    assert.equal("0 1 2 7 50 55", minutes("7,0-2,50-59/5"))
    assert.equal("0", minutes("*/60"))
    assert.equal("59", minutes("59/7"))
  end)

  it("S3 what is wrong is named with its field and its position", function()
    for expression, parts in pairs {
      ["60 * * * *"] = { "minute, position 1", "60", "0 to 59" },
      ["0 24 * * *"] = { "hour, position 3", "24", "0 to 23" },
      ["0 0 0 * *"] = { "day, position 5", "0", "1 to 31" },
      ["0 0 32 * *"] = { "day, position 5", "32" },
      ["0 0 * 13 *"] = { "month, position 7", "13", "1 to 12" },
      ["0 0 * * 8"] = { "weekday, position 9", "8" },
      ["61 0 0 * * *"] = { "second, position 1", "61" },
      ["*/0 * * * *"] = { "minute, position 3", "0 is out of range" },
      ["5-55/61 * * * *"] = { "minute, position 6", "61" },
      ["1,2,x * * * *"] = { "minute, position 5", "\"x\"" },
      ["1,,2 * * * *"] = { "minute, position 3" },
      ["1, * * * *"] = { "minute, position 3" },
      ["5- * * * *"] = { "minute, position 3" },
      ["-5 * * * *"] = { "minute, position 1", "\"-5\"" },
      ["1.5 * * * *"] = { "minute, position 2", "\".5\"" },
      ["* * * * FRIDAY"] = { "weekday, position 12", "\"DAY\"" },
      ["* * * FOO *"] = { "month, position 7", "\"FOO\"" },
      ["* MON * * *"] = { "hour, position 3", "\"MON\"" },
      ["** * * * *"] = { "minute, position 2" },
      ["*-5 * * * *"] = { "minute, position 2" },
      ["* * * * 5/"] = { "weekday, position 11" },
      ["99999999999999999999 * * * *"] = { "minute, position 1", "out of range" },
      ["  0   0  1  jan  mon-x"] = { "weekday, position 22", "\"x\"" },
    } do
      has(problem(expression), expression, table.unpack(parts))
    end
    has(problem { "0 0 * * *", "0 0 * * 9" }, "0 0 * * 9", "weekday, position 9")
    has(problem("0 0 * * *", { exclude = { "2027-01-01", "x 0 * * *" } }), "exclude", "x 0 * * *", "minute, position 1")
    has(problem("0 0 * * *", { exclude = { "2027-02-29" } }), "exclude", "2027-02-29", "no date")
    has(problem(("1,"):rep(600) .. "1 * * * *"), "longer than 1000")
  end)

  it("S4 L and W in the day", function()
    assert.equal("31", days("L * *", 1))
    assert.equal("28", days("L * *", 2))
    assert.equal("29", days("L * *", 2, nil, 2028))
    assert.equal("29", days("L-2 * *", 1))
    assert.equal("1", days("L-30 * *", 1))
    assert.equal("", days("L-30 * *", 2))
    assert.equal("29", days("LW * *", 1)) -- the 31st is a Sunday
    assert.equal("30", days("LW * *", 7)) -- the 31st is a Saturday
    assert.equal("15", days("15W * *", 1)) -- a Friday
    assert.equal("15", days("16W * *", 1)) -- a Saturday
    assert.equal("18", days("17W * *", 1)) -- a Sunday
    assert.equal("3", days("1W * *", 5)) -- a Saturday: not in April
    assert.equal("29", days("31W * *", 1)) -- a Sunday: not in February
    assert.equal("", days("31W * *", 4))
    assert.equal("1 15 30 31", days("1,15W,L-1,L * *", 1))
    for _, wrong in ipairs { "L-0", "L-31", "L-W", "L-2W", "W", "1-5W", "0W", "32W", "LL" } do
      has(problem("0 0 " .. wrong .. " * *"), "day, position")
    end
  end)

  it("S4 L and # in the weekday", function()
    assert.equal("29", days("* * 5L", 1))
    assert.equal("29", days("* * FRIL", 1))
    assert.equal("31", days("* * 7L", 1))
    assert.equal("11", days("* * MON#2", 1))
    assert.equal("11", days("* * 1#2", 1))
    assert.equal("3", days("* * 7#1", 1))
    assert.equal("29", days("* * FRI#5", 1))
    assert.equal("", days("* * MON#5", 1))
    assert.equal("5 11 27", days("* * TUE#1,MON#2,WEDL", 1))
    has(problem("0 0 * * L"), "weekday, position 9", "5L")
    for _, wrong in ipairs { "MON#0", "MON#6", "MON#", "8#1", "#2", "5L-2", "MON#2/2", "LFRI" } do
      has(problem("0 0 * * " .. wrong), "weekday, position")
    end
  end)

  it("S4 ? is * in day and weekday, and refused elsewhere", function()
    assert.equal(days("* * MON", 1), days("? * MON", 1))
    assert.equal(days("5 * *", 1), days("5 * ?", 1))
    assert.equal(days("* * *", 1), days("? * ?", 1))
    has(problem("? * * * *"), "minute, position 1")
    has(problem("0 0 * ? *"), "month, position 7")
    has(problem("0 0 1,? * *"), "day, position 7")
    has(problem("0 0 ?/2 * *"), "day, position")
  end)

  it("S5 day and weekday: either is enough when both are restricted, both with day_and_weekday", function()
    assert.equal("1 4 11 13 18 25", days("1,13 * MON", 1))
    assert.equal("13", days("13 * *", 1))
    assert.equal("4 11 18 25", days("* * MON", 1))
    assert.equal("", days("13 * FRI", 1, { day_and_weekday = true }))
    assert.equal("13", days("13 * FRI", 8, { day_and_weekday = true }))
    assert.equal("1 2 3 4 5 6 7", days("1-7 * *", 2, { day_and_weekday = true }))
    assert.equal("1 8 15 22 29 31", days("L * MON", 3)) -- a letter restricts
    assert.equal("1", days("1-7 * MON", 2, { day_and_weekday = true })) -- the first Monday
  end)

  it("S5 a step restricts, too", function()
    assert.equal("1 3 4 5 7 9 11 13 15 17 18 19 21 23 25 27 29 31", days("*/2 * MON", 1))
    assert.equal(days("* * *", 1), days("13 * */1", 1))
  end)

  it("S6 names with @ in any case", function()
    for name, expression in pairs {
      ["@yearly"] = "0 0 1 1 *", ["@annually"] = "0 0 1 1 *", ["@monthly"] = "0 0 1 * *", ["@weekly"] = "0 0 * * 0",
      ["@daily"] = "0 0 * * *", ["@midnight"] = "0 0 * * *", ["@hourly"] = "0 * * * *", [" @Daily "] = "0 0 * * *",
    } do
      assert.same(times(expression, "2027-01-01T00:00", 3), times(name, "2027-01-01T00:00", 3))
    end
  end)

  it("S6 @reboot and @every are refused with a word on every, others with a list", function()
    has(problem("@reboot"), "@reboot", "every")
    has(problem("@every 5m"), "every = ")
    has(problem("@EVERY"), "every = ")
    has(problem("@fortnightly"), "@fortnightly", "@yearly", "@hourly")
    has(problem("@"), "@hourly")
    has(problem("@daily 5"), "@daily 5")
  end)

  it("S7 what can never fire is refused in under 10 milliseconds", function()
    local always, each_day = "* * * * * *", {}
    for day = 1, 31 do each_day[day] = ("*/2 * * %d * *"):format(day) end
    for _, case in ipairs {
      { "0 0 30 2 *" }, { "0 0 31 2,4,6,9,11 *" }, { "0 0 L-30 2,4 *" }, { "0 0 31W 4 *" }, { "* * * 31 11 *" },
      { "0 0 29 2 *", { exclude = { "* * 29 * *" } } }, { "0 0 * * MON", { exclude = { "* * * * 1" } } },
      { always, { exclude = { "* * 1-15 * *", "* * 16-31 * *" } } }, { always, { exclude = { always } } },
      { "0 0 * * *", { exclude = { "* 0 * * *" } } },
      { "1-30 1-30 * * * *", { exclude = { "0-40 * * * * *" } } },
      { always, { exclude = { "0-29 * * * * *", "30-59 * * * * *" } } },
      { "*/2 * * * * *", { exclude = each_day } }, { { "0 0 * * *", "0 12 * * *" }, { exclude = { "0 */12 * * *" } } },
    } do
      local spent = math.huge -- the best of three
      for _ = 1, 3 do
        local begun = os.clock()
        assert.is_truthy(problem(case[1], case[2]):find("never fire", 1, true))
        spent = math.min(spent, os.clock() - begun)
      end
      assert.is_true(spent < (is_plain and 0.01 * pace or 1), ("%.1f ms"):format(spent * 1000))
    end
  end)

  it("S7 what fires once in many years is found", function()
    assert.same({ "2028-02-29T00:00", "2032-02-29T00:00" }, times("0 0 29 2 *", "2027-01-01T00:00", 2))
    assert.same({ "2044-02-29T00:00", "2072-02-29T00:00", "2112-02-29T00:00" },
      times("0 0 29 2 MON", "2027-01-01T00:00", 3, { day_and_weekday = true }))
  end)
end)

describe("several expressions, and exclusions", function()
  it("fire at the union, once where two agree", function()
    assert.same({ "2027-01-01T06:00", "2027-01-01T12:00", "2027-01-01T18:00", "2027-01-02T00:00" },
      times({ "0 0,6,12 * * *", "0 12,18 * * *" }, "2027-01-01T00:00", 4))
  end)

  it("leave out days, and the times an expression matches; without seconds it stands for whole minutes", function()
    assert.same({ "2027-12-24T09:00", "2027-12-27T09:00" },
      times("0 9 * * *", "2027-12-24T00:00", 2, { exclude = { "2027-12-26", "2027-12-25" } }))
    assert.same({ "2027-12-24T09:00", "2027-12-27T09:00" },
      times("0 9 * * *", "2027-12-24T00:00", 2, { exclude = { "* * 25,26 12 *" } }))
    assert.same({ "2027-01-01T11:00", "2027-01-01T14:00" },
      times("0 * * * *", "2027-01-01T10:00", 2, { exclude = { "* 12-13 * * *" } }))
    assert.same({ "2027-01-01T10:02", "2027-01-01T10:02:30" },
      times("*/30 * * * * *", "2027-01-01T10:00:30", 2, { exclude = { "1 * * * *" } }))
    assert.same({ "2027-01-01T10:00:45", "2027-01-01T10:01:15" },
      times("15,30,45 * * * * *", "2027-01-01T10:00:15", 2, { exclude = { "30 * * * * *" } }))
  end)

  it("match the local time that was meant", function()
    local options = { zone = "America/New_York", exclude = { "* 2 14 3 *" } } -- 02:30 would fire at 03:00
    assert.same({ "2027-03-14T04:30", "2027-03-15T02:30" }, times("30 2,4 * * *", "2027-03-14T00:00", 2, options))
    options.exclude = { "* 3 14 3 *" }
    assert.same({ "2027-03-14T03:00", "2027-03-14T04:30" }, times("30 2,4 * * *", "2027-03-14T00:00", 2, options))
  end)
end)

describe("slots and single times", function()
  it("every counts from its anchor, before and after it, and leaves out what is excluded", function()
    local rule = assert(core.every(3600, 1800))
    assert.equal(1800, rule:next(0))
    assert.equal(5400, rule:next(1800))
    assert.equal(-1800, rule:next(-1800.5))
    assert.equal(2.5, assert(core.every(2.5, 0)):next(0.1))
    local working = assert(core.every(3600, 0, { exclude = { "* 0-8,17-23 * * *", "1970-01-02" } }))
    assert.equal(9 * 3600, working:next(0))
    assert.equal((48 + 9) * 3600, working:next(16 * 3600))
    local rare = assert(core.every(1, 0, { exclude = { "* * 1-30 * *", "* * * 1-11 *" } }))
    assert.equal(support.instant("UTC", "1970-12-31T00:00"), rare:next(0))
    local rule_, _, message = core.every(1, 0, { exclude = { "* * * * *" } })
    assert.is_nil(rule_)
    has(message, "never fire")
    assert.has_error(function() core.every(0.5, 0) end)
  end)

  it("at is read in the zone, and follows the rules for gaps and repeated times", function()
    local zone = support.zone("America/New_York")
    local function at(text, options)
      options = options or {}
      options.zone = zone
      local rule, code, message = core.at(text, options)
      if not rule then return code .. " " .. message end
      local instant = rule:next(0)
      assert.is_nil(rule:next(instant))
      return zone:local_time(instant)
    end
    assert.equal("2026-12-24T18:00:00-05:00", at "2026-12-24T18:00")
    assert.equal("2027-03-14T03:00:00-04:00", at "2027-03-14T02:30")
    assert.equal("2027-03-14T03:30:00-04:00", at("2027-03-14T02:30", { gap = "shift" }))
    has(at("2027-03-14T02:30", { gap = "skip" }), "EINVAL", "put forward")
    assert.equal("2027-11-07T01:30:00-04:00", at "2027-11-07T01:30")
    assert.equal("2027-11-07T01:30:00-05:00", at("2027-11-07T01:30", { fold = "last" }))
    has(at "2027-13-01T00:00", "EINVAL", "2027-13-01T00:00")
    assert.equal(1700000000, assert(core.at(1700000000.7)):next(0))
  end)

  it("jitter is the same each time, differs by name and time, and keeps the order", function()
    local seen = {}
    for i = 1, 100 do
      local late = core.jitter("nightly", i * 3600, 60)
      assert.is_true(late >= 0 and late < 60)
      assert.equal(late, core.jitter("nightly", i * 3600, 60))
      assert.is_true(core.jitter("nightly", i, 60, i + 1) < 1)
      seen[late] = true
    end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.is_true(count > 95)
    assert.is_true(core.jitter("a", 0, 60) ~= core.jitter("b", 0, 60))
    assert.equal(0, core.jitter("a", 0, 0))
  end)
end)
