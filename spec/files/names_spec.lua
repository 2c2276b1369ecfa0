-- names_spec.lua: a log belongs to a name; whoever comes by another one, or too late, does no harm to what is in it.

local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local processes = require "spec.crash.processes"

local LUA = os.getenv("LUA") or "lua5.4"

local function size_of(name)
  local file <close> = io.open(name, "rb")
  return file and file:seek("end")
end

describe("the log of a store", function()
  local directory, path

  before_each(function()
    directory = processes.directory()
    path = directory .. "/jobs.db"
  end)
  after_each(function()
    helper.finish()
    os.execute("rm -rf " .. processes.quote(directory))
  end)
  teardown(helper.clean)

  local Big = helper.define(function() end)

  local function log_is_cut()
    return size_of(path .. "-wal") == 0
  end

  -- As after a load: the log is large, all of it has been moved into the file, and what follows is small.
  it("is cut though all of it had been moved into the file, and what came since is little", function()
    helper.open { path = path, virtual_time = false }
    for _ = 1, 40 do Big(("x"):rep(100000)):start() end
    os.execute(("sqlite3 '%s' 'PRAGMA wal_checkpoint' >/dev/null"):format(path))
    for _ = 1, 3 do Big():start() end
    assert.is_true(size_of(path .. "-wal") > 4000000)
    assert.is_true(processes.eventually(20, log_is_cut))
  end)

  it("is cut though it has grown, been moved and begun anew in no time", function()
    helper.open { path = path, virtual_time = false }
    local visitor = assert(require("luasql.sqlite3").sqlite3():connect(path))
    processes.sleep(0.3) -- so that the folder may be taken for unchanged for a while
    Big(("x"):rep(5000000)):start()
    local cursor = visitor:execute("PRAGMA wal_checkpoint")
    cursor:close()
    visitor:close()
    Big():start()
    assert.is_true(size_of(path .. "-wal") > 4000000)
    assert.is_true(processes.eventually(20, log_is_cut))
  end)

  it("is cut once those who read from it are done", function()
    local engine = helper.open { path = path, virtual_time = false }
    local reader = assert(require("luasql.sqlite3").sqlite3():connect(path))
    for _ = 1, 20 do Big(("x"):rep(100000)):start() end
    local cursor = assert(reader:execute("SELECT id FROM pl_stage"))
    cursor:fetch()
    for _ = 1, 20 do Big(("x"):rep(100000)):start() end
    processes.sleep(2.5)
    assert.is_false(log_is_cut())
    Big():start() -- nobody who writes has to wait for that
    cursor:close()
    reader:close()
    assert.is_true(processes.eventually(20, log_is_cut))
    assert.equal(41, engine:status().stages)
  end)
end)

describe("a store", function()
  local directory, path, other

  before_each(function()
    directory = processes.directory()
    path, other = directory .. "/jobs.db", directory .. "/b.db"
  end)
  after_each(function()
    helper.finish()
    os.execute("rm -rf " .. processes.quote(directory))
  end)
  teardown(helper.clean)

  local Nothing = helper.define(function() end)

  local function shell(command, ...)
    assert(os.execute((command:format(...))))
  end

  -- Another process starts up to ten pipelines and is killed. Returns how many, and what it printed.
  local function write(visit)
    os.execute(("%s spec/files/writer.lua '%s' '%s/acks' '%s' >'%s/text' 2>&1"):format(LUA, path, directory, visit,
      directory))
    local n = 0
    for _ in io.lines(directory .. "/acks") do n = n + 1 end
    local file <close> = io.open(directory .. "/text")
    return n, file:read("a")
  end

  local function kill_a_writer()
    write("none")
    assert.is_true(size_of(path .. "-wal") > 0)
  end

  local function stages(name)
    local engine <close> = pipeline.open(name, { no_worker = true })
    return engine:status().stages
  end

  it("that was killed under one name is not opened under another, a hard link, without what is in its log", function()
    kill_a_writer()
    shell("ln '%s' '%s'", path, other)
    local problem = helper.raises(pipeline.StoreError, pipeline.open, other)
    assert.matches("hard link, " .. path, problem.message, 1, true)
    assert.is_nil(size_of(other .. "-wal"))
    assert.equal(10, stages(path))
    assert.equal(10, stages(other)) -- closed in order: its log is no more
    assert.equal(10, stages(path))
  end)

  it("that was moved without its log is not opened without it; with it, it is", function()
    kill_a_writer()
    shell("mv '%s' '%s'", path, other)
    local problem = helper.raises(pipeline.StoreError, pipeline.open, other)
    assert.matches("move " .. path .. "-wal as well", problem.message, 1, true)
    shell("mv '%s-wal' '%s-wal'", path, other)
    assert.equal(10, stages(other))
  end)

  it("that was copied is a store of its own", function()
    kill_a_writer()
    shell("cp '%s' '%s' && cp '%s-wal' '%s-wal'", path, other, path, other)
    assert.equal(10, stages(other))
    assert.equal(10, stages(path))
  end)

  it("is one store under every path that leads to its directory", function()
    local mounted = directory .. "/mounted"
    shell("mkdir '%s' '%s/real'", mounted, directory)
    if not os.execute(("unshare -m true 2>/dev/null")) then return pending("cannot mount here") end
    local program = ([[local p = require "pipeline"
      local a = p.open("%s/real/jobs.db", { no_worker = true })
      local b = p.open("%s/jobs.db", { no_worker = true })
      p.define("names.Nothing", { run = function() end })():start()
      print(a:status().stages, b:status().stages, a:status().workers)]]):format(directory, mounted)
    local file <close> = assert(io.open(directory .. "/program.lua", "w"))
    file:write(program)
    file:close()
    local command = ("mount --bind %s/real %s && %s %s/program.lua"):format(directory, mounted, LUA, directory)
    local pipe <close> = io.popen(("unshare -m sh -c '%s' 2>&1"):format(command))
    assert.equal("1\t1\t2\n", pipe:read("a"))
  end)

  it("that has lost its log to another one does not touch that when it closes", function()
    local engine = helper.open { path = path }
    for _ = 1, 3 do Nothing():start() end
    shell("rm '%s-wal' '%s-shm'", path, path)
    kill_a_writer()
    helper.raises(pipeline.StoreError, function() Nothing():start() end)
    engine:close()
    assert.is_true(size_of(path .. "-wal") > 0)
    assert.is_true(stages(path) >= 10)
  end)

  it("whose log was deleted keeps what was in it, though the process is killed then", function()
    assert.equal(1, (write("log deleted")))
    assert.is_true(stages(path) >= 1)
  end)

  it("that was replaced can be opened anew while the old one is still open in the same program", function()
    local old = helper.open { path = path }
    Nothing():start()
    shell("mv '%s' '%s.old' && rm -f '%s-wal' '%s-shm'", path, path, path, path)
    helper.raises(pipeline.StoreError, function() Nothing():start() end)
    local new = helper.open { path = path }
    for _ = 1, 2 do Nothing():start { engine = new } end
    assert.equal(2, new:status().stages)
    helper.raises(pipeline.StoreError, old.status, old)
    old:close()
    Nothing():start()
    new:close()
    assert.equal(3, stages(path))
  end)

  for _, visit in ipairs { "the library loaded first", "the file opened first" } do
    it("that something else in the program had open before loses nothing either: " .. visit, function()
      helper.open({ path = path }):close() -- is in WAL mode from now on
      local n, text = write(visit)
      if visit == "the library loaded first" then
        assert.equal(10, n, text)
        assert.is_nil(text:find("Load this library first"))
      else
        assert.matches("Load this library first", text)
      end
      assert.is_true(stages(path) >= n)
    end)
  end
end)
