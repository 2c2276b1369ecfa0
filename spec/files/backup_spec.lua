-- backup_spec.lua: engine:backup: a whole copy of one moment, while work goes on.

local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local processes = require "spec.crash.processes"
local check = require "spec.crash.check"

local LUA = os.getenv("LUA") or "lua5.4"

local function exists(path)
  local file <close> = io.open(path, "rb")
  return file ~= nil
end

describe("engine:backup", function()
  local directory, copy
  before_each(function()
    directory = processes.directory()
    copy = directory .. "/copy.db"
  end)
  after_each(function()
    helper.finish()
    os.execute("rm -rf " .. processes.quote(directory))
  end)
  teardown(helper.clean)

  local Echo = helper.define(function(_, value) return value end)

  it("makes a copy that opens and goes on where the store was, with its ids", function()
    local engine = helper.open()
    local done, open = Echo("done"):start(), Echo("open"):start { countdown = 60 }
    engine:wait(done)
    local done_id, open_id = done.id, open.id
    engine:backup(copy)
    engine:close()
    engine = helper.open { path = copy }
    assert.equal("done", pipeline.from_id(done_id).outputs.default.value)
    assert.equal("open", engine:wait(open_id).default.value)
    assert.same({}, check.file(copy))
  end)

  it("is of one moment, in portions, while others write; the loop goes on", function()
    local engine = helper.open { virtual_time = false }
    for _ = 1, 20 do Echo(("x"):rep(60000)):start() end
    local portions, last, started, ticks = 0, 0, 0, 0
    local tasklets = require "pipeline.tasklets"
    local ticking = true
    local ticker = tasklets.tasklet(function()
      while ticking do
        ticks = ticks + 1
        Echo("later"):start()
        started = started + 1
        tasklets.await(tasklets.sleep(0))
      end
    end)()
    tasklets.tasklet(function()
      engine:backup(copy, { pages = 10, progress = function(copied, total)
        assert(copied > last and copied <= total)
        portions, last = portions + 1, copied
        while started < math.min(portions, 6) do tasklets.await(tasklets.sleep(0)) end
      end })
      ticking = false
    end)():get_result()
    ticker:get_result()
    assert.is_true(portions > 20 and started > 5, portions .. " portions, " .. started .. " started")
    engine:close()
    engine = helper.open { path = copy, no_worker = true }
    local stages = engine:status().stages
    assert.is_true(stages >= 20 and stages < 20 + started)
    assert.same({}, check.file(copy))
  end)

  it("is the owner's alone, replaces what has its name, and leaves nothing else", function()
    local engine = helper.open()
    assert(io.open(copy, "w")):write("something else"):close()
    os.execute("chmod 644 " .. copy)
    engine:backup(copy)
    engine:backup(copy)
    local pipe = assert(io.popen("cd " .. directory .. " && stat -c '%n %a' *"))
    assert.equal("copy.db 600\n", pipe:read("a"))
    pipe:close()
  end)

  it("may be read by whom file_mode lets read the store", function()
    local engine = helper.open { file_mode = "640" }
    engine:backup(copy)
    local pipe = assert(io.popen("stat -c %a " .. processes.quote(copy)))
    assert.equal("640\n", pipe:read("a"))
    pipe:close()
  end)

  it("of a database in memory is one, too", function()
    local engine = helper.open { path = ":memory:" }
    local stage = Echo(5):start()
    engine:wait(stage)
    engine:backup(copy)
    local id = stage.id
    engine:close()
    helper.open { path = copy }
    assert.equal(5, pipeline.from_id(id).outputs.default.value)
  end)

  it("with `spare` replaces a store, and nothing else", function()
    local engine = helper.open()
    engine:backup(copy, { spare = true })
    engine:backup(copy, { spare = true })
    assert.same({}, check.file(copy))
    os.remove(copy)
    assert(os.execute(("sqlite3 '%s' 'CREATE TABLE mine (x)'"):format(copy)))
    local problem = helper.raises(pipeline.StoreError, engine.backup, engine, copy, { spare = true })
    assert.matches("is no copy of a store", problem.message)
    assert(io.open(copy, "w")):write("precious"):close()
    helper.raises(pipeline.StoreError, engine.backup, engine, copy, { spare = true })
    local file <close> = io.open(copy)
    assert.equal("precious", file:read("a"))
  end)

  it("that cannot be made leaves what was there, and says why", function()
    local engine = helper.open()
    assert(io.open(copy, "w")):write("precious"):close()
    helper.raises(pipeline.StoreError, engine.backup, engine, directory .. "/none/copy.db")
    local problem = helper.raises(pipeline.StoreError, engine.backup, engine, engine._path)
    assert.matches("a file of this store", problem.message)
    assert.is_false(exists(engine._path .. ".part"))
    local stops = function() error("enough") end
    for _ = 1, 20 do Echo(("x"):rep(60000)):start() end
    assert.is_false(pcall(engine.backup, engine, copy, { pages = 1, progress = stops }))
    local file <close> = io.open(copy)
    assert.equal("precious", file:read("a"))
    engine:backup(copy) -- begins anew
    assert.same({}, check.file(copy))
    helper.misuse("path expected", engine.backup, engine, 5)
    helper.misuse("unknown option", engine.backup, engine, copy, { page = 1 })
  end)

  it("to a database in use, or to one of its own files, is refused", function()
    local engine = helper.open()
    Echo(1):start()
    local other = directory .. "/other.db"
    do
      local _ <close> = pipeline.open(other)
      local problem = helper.raises(pipeline.StoreError, engine.backup, engine, other)
      assert.matches("in use", problem.message)
    end
    engine:backup(other) -- it is closed
    for _, suffix in ipairs { "", "-wal", "-shm", "-workers" } do
      helper.raises(pipeline.StoreError, engine.backup, engine, engine._path .. suffix)
    end
    os.execute(("ln -s '%s' '%s/copy.db.part'"):format(engine._path, directory))
    helper.raises(pipeline.StoreError, engine.backup, engine, copy)
    assert.equal(1, engine:status().stages)
  end)

  it("may be made to several files at once; to the same one, one after the other", function()
    local tasklets = require "pipeline.tasklets"
    local engine = helper.open { virtual_time = false }
    for _ = 1, 10 do Echo(("x"):rep(60000)):start() end
    local backup = tasklets.tasklet(function(name, given) engine:backup(directory .. name, given) end)
    local all = { backup("/a.db", { pages = 5 }), backup("/b.db", { pages = 7 }), backup("/a.db", { pages = 3 }) }
    tasklets.await_all(all)
    for _, name in ipairs { "/a.db", "/b.db" } do
      assert.same({}, check.file(directory .. name))
      local copied <close> = pipeline.open(directory .. name, { no_worker = true })
      assert.equal(10, copied:status().stages)
    end
    -- another engine, which knows nothing of this one
    local second = pipeline.open(engine._path, { no_worker = true })
    local other = pipeline.open(engine._path, { no_worker = true })
    local refused
    second:backup(copy, { pages = 20, progress = function()
      refused = refused or helper.raises(pipeline.StoreError, other.backup, other, copy)
    end })
    assert.matches("another backup to it is under way", refused.message)
    assert.same({}, check.file(copy))
    other:backup(copy)
    second:close()
    other:close()
  end)

  it("that nobody goes on with keeps nothing: neither a file nor the log", function()
    local engine = helper.open { virtual_time = false }
    for _ = 1, 40 do Echo(("x"):rep(60000)):start() end
    assert.is_false(pcall(engine.backup, engine, copy, { pages = 1, progress = function() error("enough") end }))
    assert.is_false(exists(copy .. ".part"))
    Echo(1):start()
    assert.is_true(processes.eventually(10, function()
      local file <close> = assert(io.open(engine._path .. "-wal"))
      return file:seek("end") == 0
    end))
  end)

  it("is whole or not there when the process is killed at any moment", function()
    local seed = os.time()
    math.randomseed(seed)
    local path = directory .. "/jobs.db"
    do
      local _ <close> = pipeline.open(path)
      for _ = 1, 30 do Echo(("x"):rep(60000)):start() end
    end
    local program = [[
      local pipeline = require "pipeline"
      local engine = pipeline.open(arg[1], { no_worker = true })
      local stop, n = tonumber(arg[3]), 0
      engine:backup(arg[2], { pages = 20, progress = function()
        n = n + 1
        if n == stop then os.execute("kill -9 $PPID") end
      end })
      os.execute("kill -9 $PPID")
    ]]
    local file = assert(io.open(directory .. "/backup.lua", "w"))
    file:write(program)
    file:close()
    for stop = 1, 40, 6 do
      os.remove(copy)
      os.execute(("%s '%s/backup.lua' '%s' '%s' %d 2>/dev/null"):format(LUA, directory, path, copy, stop))
      if exists(copy) then
        assert.same({}, check.file(copy), "seed " .. seed)
        local engine <close> = pipeline.open(copy, { no_worker = true })
        assert.equal(30, engine:status().stages)
      end
      for _, suffix in ipairs { "", "-wal", "-shm", "-workers" } do os.remove(copy .. suffix) end
    end
  end)
end)
