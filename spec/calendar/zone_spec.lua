--- Time zones: names, files, and the times a change of the clock leaves out or repeats.

local core = require "pipeline.core"
local helper = require "spec.support.helper"
local support = require "spec.calendar.support"

local fires, times = support.fires, support.times
local NEW_YORK = "America/New_York"

local function has(text, ...)
  for _, part in ipairs { ... } do assert.is_truthy(text:find(part, 1, true), ("no %q in %q"):format(part, text)) end
end

local function problem(...)
  local zone, code, message = core.zone(...)
  assert.is_nil(zone)
  return code .. " " .. message
end

local function in_zone(name, more)
  local options = { zone = name }
  for key, value in pairs(more or {}) do options[key] = value end
  return options
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

-- A zone file of the newest form: 64-bit transitions { time, type }, types { offset, is_dst, index }, footer.
local function zone_file(footer, transitions, types, chars)
  transitions, types, chars = transitions or {}, types or { { 0, 0, 0 } }, chars or "AAA\0"
  local head = ("c4BI15xI4I4I4I4I4I4"):gsub("I15x", "xxxxxxxxxxxxxxx")
  local counts = { 0, 0, 0, #transitions, #types, #chars }
  local parts = { string.pack(">" .. head, "TZif", ("3"):byte(), 0, 0, 0, 0, 1, 1), string.pack(">i4BB", 0, 0, 0), "\0",
    string.pack(">" .. head, "TZif", ("3"):byte(), table.unpack(counts)) }
  for _, one in ipairs(transitions) do parts[#parts + 1] = string.pack(">i8", one[1]) end
  for _, one in ipairs(transitions) do parts[#parts + 1] = string.pack("B", one[2]) end
  for _, one in ipairs(types) do parts[#parts + 1] = string.pack(">i4BB", table.unpack(one)) end
  return table.concat(parts) .. chars .. "\n" .. footer .. "\n"
end

describe("names of zones", function()
  teardown(helper.clean)

  it("S9 an unknown one, or a machine without zone data, is an error with zone, directory and package", function()
    has(problem "Europe/Bern-Ost", "ENOTFOUND", "Europe/Bern-Ost", "/usr/share/zoneinfo", "tzdata", "tzdata-legacy")
    has(problem("Europe/Berlin", "/nowhere"), "ENOTFOUND", "Europe/Berlin", "/nowhere", "tzdata")
    has(problem "Europe", "ENOTFOUND", "Europe")
    has(problem "Europe/Berlin/Mitte", "ENOTFOUND")
  end)

  it("S9 what is no name never leads to a file", function()
    for _, name in ipairs { "", "/etc/localtime", "../../etc/passwd", "Europe/../UTC", "Europe//Berlin", "Europe/",
      "europe/berlin", "zone.tab", "tzdata.zi", "Europe/Ber lin", "Europe/Berlin\0", "posix/UTC", "+02:00",
      ("A"):rep(200) } do
      has(problem(name), "EINVAL", "Europe/Berlin")
    end
  end)

  it("S9 a damaged file is an error that names the zone", function()
    local directory = helper.path()
    os.execute("mkdir -p " .. directory .. "/Europe")
    write(directory .. "/Europe/Berlin", read("/usr/share/zoneinfo/Europe/Berlin"):sub(1, 500))
    has(problem("Europe/Berlin", directory), "ECORRUPT", "Europe/Berlin")
    write(directory .. "/Europe/Paris", "")
    has(problem("Europe/Paris", directory), "ECORRUPT", "Europe/Paris", "TZif")
  end)

  it("S10 TZ, TZDIR and the host's zone have no influence", function()
    local program = [[
      local core = require "pipeline.core"
      local zone = core.zone("America/New_York")
      io.write(zone:local_time(1800000000), " ", (core.cron("30 2 * * *"):next(1800000000)), " ",
        (core.cron("30 2 * * *", { zone = zone }):next(1800000000)), " ", (core.at("2027-03-14T02:30"):next(0)))
    ]]
    local path = helper.path()
    write(path, program)
    local function output(environment)
      local pipe <close> = assert(io.popen(("env %s %s %s"):format(environment, os.getenv("LUA") or "lua5.4", path)))
      return pipe:read("a")
    end
    local expected = "2027-01-15T03:00:00-05:00 1800066600 1800084600 1804991400"
    local environments = { "-u TZ", "TZ=Asia/Tokyo", "TZ=:/etc/localtime TZDIR=/nowhere", "TZ=EST5EDT", "TZ=" }
    for _, environment in ipairs(environments) do
      assert.equal(expected, output(environment))
    end
  end)

  it("S11 local and abbreviations are refused with a suggestion, though there may be files of these names", function()
    for _, name in ipairs { "local", "localtime", "Local", "CET", "EST", "PST", "pst", "MET", "EET", "WET", "HST",
      "MST", "EST5EDT", "PST8PDT", "CEST", "BST", "IST", "JST" } do
      has(problem(name), "EINVAL", name, "/")
    end
    has(problem "PST", "America/Los_Angeles")
    has(problem "CET", "Europe/Berlin")
    for _, name in ipairs { "UTC", "Etc/GMT+5", "Etc/UTC", "GMT", "Japan", "America/Argentina/Buenos_Aires",
      "America/Port-au-Prince", "Etc/GMT-14" } do
      assert.equal(name, assert(core.zone(name)):name())
    end
    assert.equal(-5 * 3600, (core.zone("Etc/GMT+5"):at(0)))
  end)

  it("S12 UTC needs no file, and has no gaps", function()
    assert.is_truthy(core.zone("UTC", "/nowhere"))
    local list = times("30 1 * * *", "2027-03-10T00:00", 300)
    for i = 1, #list do
      assert.equal(os.date("!%Y-%m-%dT01:30", support.instant("UTC", "2027-03-10T00:00") + (i - 1) * 86400), list[i])
    end
  end)
end)

describe("times that a change of the clock leaves out", function()
  it("S13 fire once, at the first instant after it", function()
    assert.same({ "2027-03-13T02:30:00-05:00", "2027-03-14T03:00:00-04:00", "2027-03-15T02:30:00-04:00" },
      (fires("30 2 * * *", "2027-03-13T00:00", 3, in_zone(NEW_YORK))))
  end)

  it("S14 are later by the length of the gap with shift; with skip they are counted", function()
    local list, skipped = fires("30 2 * * *", "2027-03-14T00:00", 2, in_zone(NEW_YORK, { gap = "shift" }))
    assert.same({ "2027-03-14T03:30:00-04:00", "2027-03-15T02:30:00-04:00" }, list)
    assert.equal(0, skipped)
    list, skipped = fires("30 2 * * *", "2027-03-14T00:00", 2, in_zone(NEW_YORK, { gap = "skip" }))
    assert.same({ "2027-03-15T02:30:00-04:00", "2027-03-16T02:30:00-04:00" }, list)
    assert.equal(1, skipped)
    list, skipped = fires("*/10 2-3 * * *", "2027-03-14T00:00", 1, in_zone(NEW_YORK, { gap = "skip" }))
    assert.same({ "2027-03-14T03:00:00-04:00" }, list)
    assert.equal(6, skipped)
  end)

  it("S14 shifted ones are in order with those that are not", function()
    assert.same({ "2027-03-14T03:00", "2027-03-14T03:15", "2027-03-14T03:30", "2027-03-15T02:00" },
      times({ "0,30 2 * * *", "15,30 3 14 * *" }, "2027-03-14T00:00", 4, in_zone(NEW_YORK, { gap = "shift" })))
  end)

  it("S15 are one fire, however many they are", function()
    assert.same({ "2027-03-14T03:00", "2027-03-15T02:00", "2027-03-15T02:10" },
      times("*/10 2 * * *", "2027-03-14T00:00", 3, in_zone(NEW_YORK)))
    assert.same({ "2027-03-14T03:00", "2027-03-14T03:10" },
      times({ "*/10 2 * * *", "*/10 3 * * *" }, "2027-03-14T00:00", 2, in_zone(NEW_YORK)))
  end)

  it("S16 do not move others", function()
    assert.same({ "2027-03-14T03:00", "2027-03-14T06:30", "2027-03-14T10:30", "2027-03-14T14:30" },
      times("30 2/4 * * *", "2027-03-14T00:00", 4, in_zone(NEW_YORK)))
  end)

  it("S17 at midnight: the first instant of the day", function()
    assert.same({ "2023-10-01T01:00:00-03:00", "2023-10-02T00:00:00-03:00" },
      (fires("0 0 * * *", "2023-09-30T12:00", 2, in_zone "America/Asuncion")))
    assert.same({ "2024-04-26T01:00:00+03:00", "2024-04-27T00:00:00+03:00" },
      (fires("0 0 * * *", "2024-04-25T12:00", 2, in_zone "Africa/Cairo")))
  end)

  it("S18 a whole day: once, at the first instant of the next", function()
    local apia = in_zone "Pacific/Apia"
    assert.same({ "2011-12-29T09:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00" },
      (fires("0 9 * * *", "2011-12-29T00:00", 3, apia)))
    assert.same({ "2011-12-29T09:00", "2011-12-31T09:00" },
      times("0 9 * * *", "2011-12-29T00:00", 2, in_zone("Pacific/Apia", { gap = "skip" })))
  end)
end)

describe("times that a change of the clock repeats", function()
  it("S19 fire at the first occurrence", function()
    assert.same({ "2027-11-07T01:30:00-04:00", "2027-11-08T01:30:00-05:00" },
      (fires("30 1 * * *", "2027-11-07T00:00", 2, in_zone(NEW_YORK))))
  end)

  it("S19 not again when asked between the two", function()
    local rule = core.cron("30 1 * * *", { zone = support.zone(NEW_YORK) })
    local first = support.instant(NEW_YORK, "2027-11-07T01:30")
    for _, later in ipairs { 0, 1, 1799, 1800, 3599, 3600, 7200 } do
      assert.equal(first + 90000, rule:next(first + later))
    end
  end)

  it("S20 fire at the last with last, at each with both", function()
    assert.same({ "2027-11-07T01:30:00-05:00", "2027-11-08T01:30:00-05:00" },
      (fires("30 1 * * *", "2027-11-07T00:00", 2, in_zone(NEW_YORK, { fold = "last" }))))
    assert.same({ "2027-11-07T01:30:00-04:00", "2027-11-07T01:30:00-05:00", "2027-11-08T01:30:00-05:00" },
      (fires("30 1 * * *", "2027-11-07T00:00", 3, in_zone(NEW_YORK, { fold = "both" }))))
  end)
end)

describe("what follows elapsed time", function()
  it("S21 fires at each real occurrence", function()
    assert.same({ "2027-11-07T00:15:00-04:00", "2027-11-07T01:15:00-04:00", "2027-11-07T01:15:00-05:00",
      "2027-11-07T02:15:00-05:00" }, (fires("15 * * * *", "2027-11-07T00:00", 4, in_zone(NEW_YORK))))
    assert.same({ "2027-11-07T01:15:00-04:00", "2027-11-07T01:15:00-05:00" },
      (fires("15 */1 * * *", "2027-11-07T01:00", 2, in_zone(NEW_YORK))))
    assert.same({ "2027-11-07T01:15:00-04:00", "2027-11-07T02:15:00-05:00" },
      (fires("15 0-23 * * *", "2027-11-07T01:00", 2, in_zone(NEW_YORK))))
  end)

  it("S21 every five minutes, 300 times on the long day and 276 on the short one", function()
    local options = { zone = NEW_YORK }
    assert.equal(300, support.count("*/5 * * * *", "2027-11-07", options))
    assert.equal(276, support.count("*/5 * * * *", "2027-03-14", options))
    assert.equal(288, support.count("*/5 * * * *", "2027-03-15", options))
  end)

  it("S21 owes nothing for a gap, and is not moved by the rules for those who do", function()
    assert.same({ "2027-03-14T00:00", "2027-03-14T04:00" },
      times("0 */2 * * *", "2027-03-13T23:00", 2, in_zone(NEW_YORK, { gap = "shift" })))
  end)
end)

describe("changes of other lengths", function()
  it("S22 half an hour: Lord Howe", function()
    local name = "Australia/Lord_Howe"
    assert.same({ "2027-10-03T02:30:00+11:00", "2027-10-04T02:15:00+11:00" },
      (fires("15 2 * * *", "2027-10-03T00:00", 2, in_zone(name))))
    assert.same({ "2027-10-03T02:45:00+11:00" },
      (fires("15 2 * * *", "2027-10-03T00:00", 1, in_zone(name, { gap = "shift" }))))
    assert.same({ "2027-04-04T01:45:00+11:00", "2027-04-04T01:45:00+10:30" },
      (fires("45 1 * * *", "2027-04-04T00:00", 2, in_zone(name, { fold = "both" }))))
    assert.equal(294, support.count("*/5 * * * *", "2027-04-04", { zone = name }))
  end)

  it("S22 two hours: Troll; three: Casey", function()
    assert.same({ "2027-03-28T03:00:00+02:00", "2027-03-29T01:30:00+02:00", "2027-03-29T02:30:00+02:00" },
      (fires("30 1,2 * * *", "2027-03-28T00:00", 3, in_zone "Antarctica/Troll")))
    assert.same({ "2027-10-31T01:30:00+02:00", "2027-10-31T01:30:00+00:00" },
      (fires("30 1 * * *", "2027-10-31T00:00", 2, in_zone("Antarctica/Troll", { fold = "both" }))))
    assert.equal(26 * 12, support.count("*/5 * * * *", "2027-10-31", { zone = "Antarctica/Troll" }))
    assert.equal(21 * 12, support.count("*/5 * * * *", "2018-03-11", { zone = "Antarctica/Casey" }) +
      support.count("*/5 * * * *", "2018-03-12", { zone = "Antarctica/Casey" }) - 24 * 12 - 6 * 12)
  end)
end)

describe("the next time", function()
  it("S24 is later than the one asked from, whatever is asked", function()
    local seed = os.time()
    math.randomseed(seed)
    local around = { math.mininteger, math.maxinteger, -1e300, 1e300, math.huge, -math.huge, 0, -0.5, 0.5, 253402300798,
      253402300799, 253402300800, -62135596800, -62135596801 }
    for _ = 1, 300 do around[#around + 1] = math.random(-70000000000, 260000000000) end
    local names = { "UTC", NEW_YORK, "Antarctica/Troll", "Pacific/Apia", "Africa/Casablanca", "Europe/Dublin" }
    for _, name in ipairs(names) do
      for _, gap in ipairs { "next", "shift", "skip" } do
        for _, fold in ipairs { "first", "last", "both" } do
          local options = { zone = support.zone(name), gap = gap, fold = fold }
          local rule = core.cron({ "30 1-3 * * *", "*/7 * 1 * *", "0 0 29 2 *" }, options)
          for _, after in ipairs(around) do
            local at = rule:next(after)
            assert.is_true(at == nil or at > after, ("seed %d: %s %s"):format(seed, after, at))
            assert.is_true(at ~= nil or after > 253402200000)
          end
        end
      end
    end
    assert.has_error(function() core.cron("* * * * *"):next(0 / 0) end)
  end)

  it("S24 is never missed by a zone with changes in each hour, or all year", function()
    local transitions = {}
    for i = 1, 2000 do transitions[i] = { i * 1800, i % 3 } end
    local odd = assert(core.zone(zone_file("XXX3EDT4,0/0,J365/23", transitions,
      { { 93600, 0, 0 }, { -90000, 1, 0 }, { 1, 0, 0 } })))
    for _, expression in ipairs { "* * * * *", "30 2 * * *", "*/10 2 * * *" } do
      for _, gap in ipairs { "next", "shift", "skip" } do
        local rule = core.cron(expression, { zone = odd, gap = gap, fold = "both" })
        local at = 0
        for _ = 1, 500 do
          local following = rule:next(at)
          assert.is_true(following > at)
          at = following
        end
      end
    end
    local offset, is_dst, name = odd:at(4000000000)
    assert.same({ -4 * 3600, true, "EDT" }, { offset, is_dst, name })
  end)

  it("S19 S24 is not doubled when only the name of the time changes inside a repeated hour, or behind a gap", function()
    local begin = support.instant("UTC", "2027-06-15T02:00") -- when 02:00 becomes 01:00, or 03:00
    local types = { { 0, 0, 0 }, { -3600, 0, 0 }, { -3600, 1, 0 }, { 3600, 0, 0 }, { 3600, 1, 0 } }
    local function all(transitions, expression, options)
      options.zone = assert(core.zone(zone_file("", transitions, types)))
      local rule, list, at = core.cron(expression, options), {}, begin - 7200
      while #list < 5 do
        at = rule:next(at)
        if at > begin + 14400 then return table.concat(list, " "), rule:count(begin - 7200, begin + 14400) end
        list[#list + 1] = ("%d"):format((at - begin) // 60)
      end
    end
    local fold = { { begin, 1 }, { begin + 600, 2 }, { begin + 1200, 1 } }
    assert.equal("-30", (all(fold, "30 1 * * *", { fold = "first" })))
    assert.equal("30", (all(fold, "30 1 * * *", { fold = "last" })))
    assert.equal("-30 30", (all(fold, "30 1 * * *", { fold = "both" })))
    fold = { { begin - 600, 0 }, { begin, 1 } }
    assert.equal("30", (all(fold, "30 1 * * *", { fold = "last" })))
    local gap = { { begin, 3 }, { begin + 600, 4 }, { begin + 1200, 3 } }
    assert.equal("0", (all(gap, "30 2 * * *", { gap = "next" })))
    assert.equal("30", (all(gap, "30 2 * * *", { gap = "shift" })))
    assert.equal("", (all(gap, "30 2 * * *", { gap = "skip" })))
    assert.same({ "-30", 1 }, { all({ { begin, 1 }, { begin + 600, 2 } }, "30 1 * * *", { fold = "first" }) })
  end)

  it("S25 of years behind the table follows the footer, and 2100 is no leap year", function()
    assert.same({ "2092-02-29T00:00", "2096-02-29T00:00", "2104-02-29T00:00" },
      times("0 0 29 2 *", "2091-01-01T00:00", 3, in_zone "Europe/Berlin"))
    assert.same({ "2399-03-28T03:00:00+02:00", "2399-03-29T02:30:00+02:00" },
      (fires("30 2 * * *", "2399-03-28T00:00", 2, in_zone "Europe/Berlin")))
    assert.same({ "2100-10-31T02:30:00+02:00", "2100-10-31T02:30:00+01:00" },
      (fires("30 2 * * *", "2100-10-31T00:00", 2, in_zone("Europe/Berlin", { fold = "both" }))))
    local function first(expression, from, name) return fires(expression, from, 1, in_zone(name))[1] end
    assert.equal("2087-12-01T00:00:00+01:00", first("0 0 1 12 *", "2087-01-01T00:00", "Africa/Casablanca"))
    assert.equal("2200-07-01T00:00:00+01:00", first("0 0 1 7 *", "2200-01-01T00:00", "Africa/Casablanca"))
    assert.equal("2200-07-01T00:00:00+02:00", first("0 0 1 7 *", "2200-01-01T00:00", "Antarctica/Troll"))
  end)
end)

describe("zone files", function()
  teardown(helper.clean)

  -- The offsets on some days of 2027 by a footer alone.
  local function offsets(footer, ...)
    local zone = assert(core.zone(zone_file(footer)))
    local list = {}
    for i, text in ipairs { ... } do
      list[i] = zone:at(support.instant("UTC", "2027-" .. text)) / 3600
    end
    return list
  end

  it("S25 footers of every form are understood", function()
    assert.same({ 1, 2, 2, 1 }, offsets("CET-1CEST,M3.5.0,M10.5.0/3", "03-28T00:59", "03-28T01:00", "10-31T00:59",
      "10-31T01:00"))
    assert.same({ 1, 1 }, offsets("<+01>-1", "01-01T00:00", "07-01T00:00"))
    assert.same({ 0, 2 }, offsets("<+00>0<+02>-2,M3.5.0/1,M10.5.0/3", "03-28T00:59", "03-28T01:00"))
    assert.same({ 0, 1 }, offsets("IST-1GMT0,M10.5.0,M3.5.0/1", "01-01T00:00", "07-01T00:00")) -- Dublin: negative
    assert.same({ -3, -2 }, offsets("<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", "03-28T00:59", "03-28T01:00")) -- the day before
    assert.same({ 3, 2 }, offsets("EET-2EEST,M3.4.4/50,M10.4.4/50", "10-29T22:59", "10-29T23:00")) -- two days later
    assert.same({ -4, -4 }, offsets("EST5EDT,0/0,J365/25", "01-01T12:00", "12-31T23:59")) -- all year
    assert.same({ 0, 1, 1, 0 }, offsets("AAA0BBB,J60/0,J300/0", "02-28T23:59", "03-01T00:00", "10-26T22:59",
      "10-27T00:00"))
    assert.same({ 0, 1 }, offsets("AAA0BBB,59/0,J300/0", "02-28T23:59", "03-01T00:00")) -- counted from 0
    assert.same({ 5.75 }, offsets("<+0545>-5:45", "01-01T00:00"))
    assert.same({ -24.999722222222223 }, offsets("AAA24:59:59", "01-01T00:00"))
  end)

  it("damaged footers are refused", function()
    for _, footer in ipairs { "A", "AA1", "AAA", "AAA1BBB", "AAA25", "AAA1BBB,M3.5.0", "AAA1BBB,M13.1.0,M1.1.0",
      "AAA1BBB,M1.6.0,M1.1.0", "AAA1BBB,M1.1.7,M1.1.0", "AAA1BBB,J0,J1", "AAA1BBB,J366,J1", "AAA1BBB,366,1",
      "AAA1BBB,1/168,1", "<A1>1", "<AAA1", "AAA1BBB,1,2,3", "AAA1BBB,1,2/", "AAA1:60", "AAA1:1:60",
      "AAA99999999999" } do
      has(problem(zone_file(footer)), "ECORRUPT", "footer")
    end
  end)

  it("an empty footer leaves the last type, a file without transitions has the footer's", function()
    local zone = assert(core.zone(zone_file("", { { 1000, 1 } }, { { 0, 0, 0 }, { 7200, 0, 0 } })))
    assert.equal(0, (zone:at(999)))
    assert.equal(7200, (zone:at(4000000000)))
    assert.equal(7200, (assert(core.zone(zone_file("AAA-2"))):at(-4000000000)))
  end)

  it("damaged ones are refused, whatever byte is missing or wrong", function()
    local bytes = read("/usr/share/zoneinfo/Europe/Dublin")
    for len = 4, #bytes - 1 do assert.is_nil((core.zone(bytes:sub(1, len)))) end
    local seed = os.time()
    math.randomseed(seed)
    for _ = 1, 3000 do
      local at = math.random(5, #bytes)
      local zone = core.zone(bytes:sub(1, at - 1) .. string.char(math.random(0, 255)) .. bytes:sub(at + 1))
      if zone then
        local rule = core.cron("30 1 * * *", { zone = zone })
        assert.is_true(rule:next(1800000000) > 1800000000, "seed " .. seed)
      end
    end
    has(problem(zone_file("AAA0", { { 5, 0 }, { 5, 0 } })), "transition 1")
    has(problem(zone_file("AAA0", { { 5, 1 } })), "transition 0")
    has(problem(zone_file("AAA0", {}, { { 93601, 0, 0 } })), "type 0")
    has(problem(zone_file("AAA0", {}, { { 0, 0, 9 } })), "type 0")
  end)

  it("old ones, and those that count leap seconds, are refused with a word on it", function()
    local bytes = read("/usr/share/zoneinfo/UTC")
    has(problem(bytes:sub(1, 4) .. "\0" .. bytes:sub(6)), "version 1")
    local leaps = read("/usr/share/zoneinfo/UTC")
    local second = leaps:find("TZif", 5, true)
    leaps = leaps:sub(1, second + 27) .. string.pack(">I4", 1) .. leaps:sub(second + 32) .. ("\0"):rep(12)
    has(problem(leaps), "leap seconds")
  end)

  it("S26 a file that says something else is noticed, a new one that says the same is not", function()
    local directory = helper.path()
    os.execute("mkdir -p " .. directory .. "/Europe")
    local path = directory .. "/Europe/Berlin"
    write(path, zone_file("CET-1CEST,M3.5.0,M10.5.0/3"))
    local zone = assert(core.zone("Europe/Berlin", directory))
    assert.is_false(zone:changed())
    local function replace(text)
      write(path .. ".new", text)
      assert(os.rename(path .. ".new", path))
    end
    replace(zone_file("CET-1CEST,M3.5.0,M10.5.0/3"))
    assert.is_false(zone:changed())
    replace(zone_file("CET-1"))
    assert.is_true(zone:changed())
    assert.is_true(zone:changed())
    local new = assert(core.zone("Europe/Berlin", directory))
    assert.is_false(new:changed())
    assert.is_true(new:digest() ~= zone:digest())
    os.remove(path)
    local changed, code, message = zone:changed()
    assert.same({ nil, "ENOTFOUND" }, { changed, code })
    has(message, "Europe/Berlin")
    assert.is_false(core.zone("UTC"):changed())
    assert.is_false(core.zone(zone_file("CET-1")):changed())
  end)
end)
