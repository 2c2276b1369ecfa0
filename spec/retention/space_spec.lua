-- Free space is given back, without VACUUM, when nothing else is to be done (F120).

local pipeline = require "pipeline"
local processes = require "spec.crash.processes"
local helper = require "spec.support.helper"
local sql = require "spec.support.sql"

local Give = pipeline.define("space.Give", { run = function(_, value) return value end })

describe("the file", function()
  after_each(helper.finish)
  teardown(helper.clean)

  local function size_of(path)
    local file <close> = io.open(path)
    return file and file:seek("end") or 0
  end

  local function fill(engine)
    local text = ("x"):rep(100000)
    for _ = 1, 60 do Give(text):start() end
    engine:drain()
  end

  it("F120 shrinks by itself when much of it is free; what was made meanwhile is whole", function()
    local engine = helper.open { virtual_time = false, retention = { done = 0 } }
    local kept = pipeline.define("space.Kept", { async = true, run = function() end })():start()
    fill(engine)
    local before = engine:status().store
    assert.is_true(before.bytes > 6000000, before.bytes .. " bytes")
    assert(processes.eventually(30, function() return size_of(engine._path) == before.bytes end), "it is not moved")
    assert(processes.eventually(30, function() return size_of(engine._path) < before.bytes // 2 end),
      "it is as large as it was")
    local after = engine:status().store
    assert.is_true(after.free > 0 and after.free < 2 * 2 ^ 20, after.free .. " bytes are free") -- for what comes
    assert.is_true(processes.eventually(60, function() return size_of(engine._path .. "-wal") == 0 end), "the log")
    assert.equal("run", engine._core:stage_get(kept._id).state)
    assert.same({}, engine:check())
  end)

  it("F120 of an older version keeps its size, and uses what is free again", function()
    local path = helper.path()
    assert(os.execute(("sqlite3 '%s' 'CREATE TABLE mine (x)'"):format(path)))
    local engine = helper.open { path = path, virtual_time = false, retention = false }
    assert.equal(0, sql.number(engine, "PRAGMA auto_vacuum"))
    for _ = 1, 3 do
      fill(engine)
      for _, root in ipairs(pipeline.get_root_list({ count = 1000 }).pipelines) do
        pipeline.from_id(root.pipelineId):cleanup()
      end
    end
    local store = engine:status().store
    assert.is_false(store.shrinks)
    assert.is_true(store.bytes < 14000000, store.bytes .. " bytes")
    assert.is_true(store.free > store.bytes / 2)
    engine:close()
    -- the command that the guide names
    assert(os.execute(("sqlite3 '%s' 'PRAGMA auto_vacuum = INCREMENTAL; VACUUM' >/dev/null"):format(path)))
    engine = helper.open { path = path, virtual_time = false }
    assert.is_true(engine:status().store.shrinks)
    assert.same({}, engine:check())
  end)

  it("F120 has a log that starts over, though several processes write without a pause", function()
    local directory = processes.directory()
    local engine = helper.open { path = directory .. "/log.db", virtual_time = false, retention = false }
    local group = processes.group(directory)
    local _ <close> = setmetatable({}, { __close = function() group:close() end })
    local pids = {}
    for i = 1, 2 do
      pids[i] = group:spawn(directory .. "/output", "spec/retention/worker.lua", engine._path, "write")
    end
    local most = 0
    assert(processes.eventually(120, function()
      processes.sleep(0.02)
      most = math.max(most, size_of(engine._path .. "-wal"))
      return group:state(pids[1]) == "Z" and group:state(pids[2]) == "Z"
    end), "they write for ever")
    local file <close> = assert(io.open(directory .. "/output"))
    assert.equal("done\ndone\n", file:read("a"))
    assert.is_true(most > 50 * 2 ^ 20 and most < 250 * 2 ^ 20, ("%.1f MiB"):format(most / 2 ^ 20))
    assert.same({}, engine:check())
    helper.finish()
    os.execute("rm -rf " .. processes.quote(directory))
  end)
end)
