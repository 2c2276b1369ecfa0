-- examples/order_saga.lua: tells its story, and keeps its books right while its processes are killed at random.

local pace = require "spec.support.pace"
local processes = require "spec.crash.processes"
local support = require "spec.examples.support"

local read = support.read

local STORY = {
  "order 1: parcel with book, receipt charge#1",
  'order 2: AbortedError: saga.Ship("piano") was aborted: nobody can carry a piano',
  "order 3: parcel with lamp, receipt charge#1",
}

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line:gsub(" %(saga.*", "") end
  return lines
end

describe("the order saga", function()
  for title, story in pairs(support.stories "examples/order_saga.lua") do
    it(title, function()
      local text = story()
      assert.same({ STORY[1], STORY[2], STORY[3], "the bank has\t400" }, lines_of(text))
    end)
  end

  it("W13 W57 W96 W123 W164 books each amount once, whatever is killed", function()
    local directory, group, random, seed = support.killing("SAGA_SEED", finally)
    local books, db = directory .. "/books", directory .. "/orders.db"
    group:spawn(directory .. "/bank", "examples/order_saga.lua", "--bank", 0, books)
    local url
    assert(processes.eventually(30 * pace, function()
      url = read(directory .. "/bank"):match("bank at (%S+)")
      return url
    end), read(directory .. "/bank"))
    local ends
    for round = 1, 12 do
      local output = ("%s/work%d"):format(directory, round)
      local pid = group:spawn(output, "examples/order_saga.lua", "--work", db, url, 3)
      local code = group:wait_for(pid, round < 12 and (30 + random(250)) / 1000 or 120 * pace)
      if code == 0 then
        ends = lines_of(read(output))
        break
      end
      assert(code == nil, ("seed %d: %s"):format(seed, read(output)))
    end
    assert.same(STORY, ends, "seed " .. seed)
    local sum, keys = 0, {}
    for line in io.lines(books) do
      local cents, key = line:match("^%w+ (%-?%d+) (.+)$")
      assert.is_nil(keys[key], "seed " .. seed)
      keys[key], sum = true, sum + tonumber(cents)
    end
    assert.equal(400, sum, "seed " .. seed)
  end)
end)
