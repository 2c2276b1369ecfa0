--- The calendar beside an independent one: oracle.txt says when schedules fire, by the brute force of oracle.py.
--
-- The file was made with one version of tzdata. A zone whose changes are others on this machine is left out of the
-- comparison, and how many were is printed; with the version of the file none may be.

local core = require "pipeline.core"

local DIRECTORY = "/usr/share/zoneinfo"
local BEGIN, END = 946684800, 2240524800 -- 2000-01-01 to 2041-01-01, UTC
local RULES = { { "next", "first" }, { "shift", "last" }, { "skip", "both" } }
local MINUTES = { 0, 30, 59 }

local version, zones, cases = nil, {}, {}

local function read_data()
  for line in io.lines("spec/calendar/oracle.txt") do
    local name, digests = line:match("^zone (%S+) (.*)$")
    if name then
      local zone = { name = name }
      for digest in digests:gmatch("%S+") do zone[#zone + 1] = digest end
      zones[#zones + 1] = zone
    elseif line:find("^case ") then
      cases[#cases + 1] = line:sub(6)
    else
      version = version or line:match("^# tzdata (%w+)")
    end
  end
end

local function version_here()
  local file <close> = assert(io.open(DIRECTORY .. "/tzdata.zi"))
  return file:read("l"):match("^# version (%w+)")
end

-- ---- digests --------------------------------------------------------------------------------------------------------

local function new_digest() return { value = 0xcbf29ce484222325, count = 0 } end

local function add(digest, number) digest.value = (digest.value ~ number) * 0x100000001b3 end

local function text_of(digest) return ("%d:%016x"):format(digest.count, digest.value) end

-- The changes of the offset from 2000 to 2040.
local function changes_of(zone)
  local changes, at = {}, BEGIN
  local offset, _, _, _, behind = zone:at(at)
  while behind and behind < END do
    at = behind
    local new
    new, _, _, _, behind = zone:at(at)
    if new ~= offset then changes[#changes + 1] = { at, offset, new } end
    offset = new
  end
  return changes
end

local function digest_changes(changes)
  local digest = new_digest()
  digest.count = #changes
  for _, change in ipairs(changes) do
    for i = 1, 3 do add(digest, change[i]) end
  end
  return text_of(digest)
end

-- Local hours from two before the change to two behind it, as in the oracle; ascending.
local function hours_around(at, before, after)
  local set, list = {}, {}
  local low, high = at + math.min(before, after) - 7200, at + math.max(before, after) + 7200
  for time = low, high, 3600 do set[time // 3600 % 24] = true end
  for hour = 0, 23 do
    if set[hour] then list[#list + 1] = hour end
  end
  return list
end

local function add_fires(digest, rule, begin, behind)
  local list, at = {}, begin
  while true do
    at = rule:next(at)
    if not at or at > behind then break end
    list[#list + 1] = at
  end
  digest.count = digest.count + #list
  add(digest, #list)
  for i = 1, #list do add(digest, list[i]) end
end

local function digest_fires(zone, changes, gap, fold)
  local rules, digest = {}, new_digest()
  local function rule_of(minute, hour)
    local text = ("%d %s * * *"):format(minute, hour)
    rules[text] = rules[text] or assert(core.cron(text, { zone = zone, gap = gap, fold = fold }))
    return rules[text]
  end
  for _, change in ipairs(changes) do
    local hours = hours_around(table.unpack(change))
    if gap == "next" then hours[#hours + 1] = "*" end
    for _, minute in ipairs(MINUTES) do
      for _, hour in ipairs(hours) do
        add_fires(digest, rule_of(minute, hour), change[1] - 36 * 3600, change[1] + 36 * 3600)
      end
    end
  end
  return text_of(digest)
end

-- ---- what is compared -----------------------------------------------------------------------------------------------

local function words(text, separator)
  local list = {}
  for word in text:gmatch("[^" .. separator .. "]+") do list[#list + 1] = word end
  return list
end

local function check_case(line, zone)
  local _, expressions, excluded, rules, start, fires = line:match("^(.-)|(.-)|(.-)|(.-)|(.-)|(.*)$")
  local gap, fold, both = table.unpack(words(rules, " "))
  local rule, _, message = core.cron(words(expressions, ";"), { zone = zone, exclude = words(excluded, ";"), gap = gap,
    fold = fold, day_and_weekday = both == "both" })
  if not rule then return fires == "" and message:find("never fire", 1, true), message end
  start = math.tointeger(start)
  local at, found = start, {}
  for i = 1, 3 do
    at = rule:next(at)
    if not at or (at > start + 42 * 86400 and #words(fires, " ") < i) then break end
    found[i] = ("%d"):format(at - start)
  end
  return table.concat(found, " ") == fires, table.concat(found, " ")
end

describe("the calendar and an independent one", function()
  local usable, left_out = {}, 0

  setup(function()
    read_data()
    for _, expected in ipairs(zones) do
      local zone = core.zone(expected.name)
      local changes = zone and changes_of(zone)
      if changes and digest_changes(changes) == expected[1] then
        usable[expected.name] = { zone = zone, changes = changes }
      else
        left_out = left_out + 1
      end
    end
    if left_out > 0 then
      print(("%d of %d zones have other changes in tzdata %s than in %s"):format(left_out, #zones, version_here(),
        version))
    end
  end)

  it("agree on all changes of all zones, 2000 to 2040", function()
    assert.is_true(#zones > 400 and #cases == 10000)
    if version_here() == version then assert.equal(0, left_out) end
    assert.is_true(left_out < #zones / 10)
  end)

  it("S23 for every zone and change, 0, 30 and 59 of each hour around it: number and times are those of the rule",
    function()
      local known = {}
      for _, expected in ipairs(zones) do
        local this = usable[expected.name]
        local digests = this and known[this.zone:digest()]
        if this and not digests then
          digests = {}
          for i, rule in ipairs(RULES) do digests[i] = digest_fires(this.zone, this.changes, rule[1], rule[2]) end
          known[this.zone:digest()] = digests
        end
        for i = 1, this and #RULES or 0 do
          assert.equal(expected[i + 1], digests[i], ("%s, rule %d"):format(expected.name, i))
        end
      end
    end)

  it("S8 10,000 random zones, expressions and starts: the same times as by trying every minute", function()
    local wrong = {}
    for _, line in ipairs(cases) do
      local this = usable[line:match("^[^|]+")]
      if this then
        local agrees, found = check_case(line, this.zone)
        if not agrees then wrong[#wrong + 1] = line .. " here: " .. found end
      end
    end
    assert.equal("", table.concat(wrong, "\n", 1, math.min(#wrong, 10)))
  end)
end)
