-- Several processes write to one file at the same time.

local support = require "spec.multi.support"
local check = require "spec.crash.check"

describe("processes at the same time", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  local function go()
    assert(io.open(scene.path .. ".go", "w")):close()
  end

  it("never see SQLITE_BUSY", function()
    local starters, count = {}, 150
    for i = 1, 3 do starters[i] = scene:spawn("start_many", nil, count) end
    scene:spawn("work")
    scene:spawn("work", { concurrency = 4 })
    go()
    for _, pid in ipairs(starters) do assert.equal(0, scene.group:wait_for(pid, 60), scene:printed()) end
    assert(support.eventually(60, function()
      local counts = check.sql(scene.path, "SELECT count(*), sum(state = 4) FROM pl_stage;")
      return counts[1] == ("%d|%d"):format(9 * count, 9 * count)
    end), "not everything was done")
    assert.equal("", scene:printed())
    assert.same({}, scene:logged(30))
    assert.equal(9 * count, #scene:read("begin"))
  end)

  it("start each idempotence key once, whoever comes first", function()
    local starters, keys = {}, 60
    for i = 1, 4 do starters[i] = scene:spawn("start_keys", nil, keys) end
    local worker = scene:spawn("work")
    go()
    for _, pid in ipairs(starters) do assert.equal(0, scene.group:wait_for(pid, 60), scene:printed()) end
    local won = {}
    for _, words in ipairs(scene:read("won")) do
      assert.is_nil(won[words[2]], "started twice: " .. words[2])
      won[words[2]] = words.pid
    end
    assert.equal(keys, #scene:read("won"))
    assert.equal(3 * keys, #scene:read("lost"))
    for i = 1, keys do assert.equal(i, scene.engine:wait("key-" .. i, { timeout = 20 }).default.value) end
    assert.equal(keys, #scene:read("begin", worker))
    assert.equal("", scene:printed())
  end)

  it("make one new file together", function()
    scene.engine:close()
    local path = scene.path
    scene.path = scene.directory .. "/new.db"
    for i = 1, 3 do
      os.execute(("rm -f '%s' '%s-wal' '%s-shm' '%s-workers'"):format(scene.path, scene.path, scene.path, scene.path))
      local pids = {}
      for j = 1, 4 do
        pids[j] = scene.group:spawn(scene.output, "spec/multi/worker.lua", scene.path, scene.log, "start_keys", 15, 1,
          3)
      end
      assert(support.eventually(20, function() return #scene:read("ready") == 4 * i end), scene:printed())
      assert(io.open(scene.path .. ".go", "w")):close()
      for _, pid in ipairs(pids) do assert.equal(0, scene.group:wait_for(pid, 20), scene:printed()) end
      assert.same({ "3" }, check.sql(scene.path, "SELECT count(*) FROM pl_stage;"))
    end
    scene.path = path
    assert.equal("", scene:printed())
  end)
end)
