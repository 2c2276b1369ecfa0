-- examples/order_saga.lua: tells its story, and keeps its books right while its processes are killed at random.

local pace = require "spec.support.pace"
local processes = require "spec.crash.processes"

local LUA = os.getenv("LUA") or "lua5.4"
local STORY = {
  "order 1: parcel with book, receipt charge#1",
  'order 2: AbortedError: saga.Ship("piano") was aborted: nobody can carry a piano',
  "order 3: parcel with lamp, receipt charge#1",
}

local function read(path)
  local file = io.open(path)
  local text = file and file:read("a") or ""
  if file then file:close() end
  return text
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line:gsub(" %(saga.*", "") end
  return lines
end

describe("the order saga", function()
  for _, environment in ipairs { "", "LUA_INIT='require \"spec.examples.failing\"' " } do
    it("tells its story" .. (environment ~= "" and ", also when each first attempt fails" or ""), function()
      local pipe = assert(io.popen(environment .. "timeout 120 " .. LUA .. " examples/order_saga.lua 2>&1"))
      local lines = lines_of(pipe:read("a"))
      assert(pipe:close())
      assert.same({ STORY[1], STORY[2], STORY[3], "the bank has\t400" }, lines)
    end)
  end

  it("W13 W57 W96 W123 W164 books each amount once, whatever is killed", function()
    local seed = tonumber(os.getenv("SAGA_SEED")) or os.time()
    local directory = processes.directory()
    local group = processes.group(directory)
    finally(function()
      group:close()
      os.execute("rm -rf " .. processes.quote(directory))
    end)
    local books, db = directory .. "/books", directory .. "/orders.db"
    group:spawn(directory .. "/bank", "examples/order_saga.lua", "--bank", 0, books)
    local url
    assert(processes.eventually(30 * pace, function()
      url = read(directory .. "/bank"):match("bank at (%S+)")
      return url
    end), read(directory .. "/bank"))
    local state = seed
    local function random(n)
      state = (state * 1103515245 + 12345) % 2147483648
      return (state >> 8) % n
    end
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
