-- Very many Delays at once (M2): memory, time, and restarts. DELAYS=100000 for as many as that.

local pipeline = require "pipeline"
local common = pipeline.common
local fetch_support = require "spec.fetch.support"
local helper = require "spec.support.helper"
local pace = require "spec.support.pace"
local support = require "spec.mail.support"

local COUNT = tonumber(os.getenv("DELAYS")) or (pace == 1 and 10000 or 2000) -- who watches races keeps 2 MB of each
local BATCH = 1000
local CACHES_KIB = 12 * 1024

describe("many Delays", function()
  local fired

  -- What is over notes when; seconds tells the delays apart.
  local Noted = pipeline.define("delays.Noted", {
    extends = common.Delay,
    callback = function(self, params)
      local seconds = self.args[1].seconds
      fired[seconds] = fired[seconds] or {}
      table.insert(fired[seconds], pipeline.default():now())
      common.Delay.callback(self, params)
    end,
  })
  local Batch = pipeline.define("delays.Batch", {
    run = function(self, first)
      for i = first, first + BATCH - 1 do self:spawn(Noted { seconds = i }) end
    end,
  })

  before_each(function() fired = {} end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("M2 are rows of the file, not memory, and after restarts none is early, late or doubled", function()
    local path = helper.path()
    local engine = helper.open { path = path }
    local began = engine:now()
    for first = 1, COUNT, BATCH do
      Batch(first):start()
      if first == 1 then engine:drain() end
    end
    collectgarbage()
    local before = fetch_support.memory()
    engine:drain()
    collectgarbage()
    assert.equal(COUNT, engine:status().queues.default.delayed)
    -- The caches of the store are full after a few thousand, whatever their number is.
    local kib = fetch_support.memory() - before
    assert.is_true(kib < CACHES_KIB + COUNT / 2, ("%.0f KiB for %d of them"):format(kib, COUNT))
    for part = 1, 3 do
      engine:advance(COUNT // 4)
      engine:drain()
      assert.equal(COUNT - part * (COUNT // 4), engine:status().queues.default.delayed)
      local now = engine:now()
      engine:close()
      engine = helper.open { path = path, virtual_start = now }
    end
    engine:drain { delayed = true }
    for seconds = 1, COUNT do
      local times = fired[seconds]
      local what = ("delay of %d s"):format(seconds)
      if not times or #times ~= 1 then error(("%s: over %d times"):format(what, times and #times or 0)) end
      -- The clock was moved by hand, a quarter at a time, but for the last quarter.
      local due = began + seconds
      if times[1] < due then error(what .. " was early") end
      if seconds > 3 * (COUNT // 4) and times[1] > due + 0.05 then error(what .. " was late") end
    end
  end)

  it("M2 are over in time, also when the process was killed meanwhile", function()
    local directory = support.directory()
    finally(function() support.remove(directory) end)
    local lua = os.getenv("LUA") or "lua5.4"
    local command = ("%s spec/common/delays_worker.lua %s/d.db %s/log 400 3"):format(lua, directory, directory)
    os.execute("timeout -s KILL 1 " .. command .. " 2>/dev/null")
    os.execute("timeout -s KILL 1 " .. command .. " 2>/dev/null")
    assert(os.execute("timeout 60 " .. command))
    local late, seen = {}, {}
    for line in io.lines(directory .. "/log") do
      local number, seconds = line:match("^(%d+) (%S+)$")
      assert.is_true(tonumber(seconds) >= 0, line)
      if not seen[number] then late[#late + 1] = tonumber(seconds) end
      seen[number] = true
    end
    assert.equal(400, #late)
    table.sort(late)
    assert.is_true(late[200] < 1, ("half of them are %g s late"):format(late[200]))
  end)
end)
