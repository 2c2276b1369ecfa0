-- locks_spec.lua: what is acknowledged is there, whoever else opens and closes the files of a store.

local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local processes = require "spec.crash.processes"

local LUA = os.getenv("LUA") or "lua5.4"

local function lines_in(name)
  local n = 0
  for _ in io.lines(name) do n = n + 1 end
  return n
end

local function size_of(name)
  local file <close> = io.open(name, "rb")
  return file and file:seek("end")
end

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("a")
  pipe:close()
  return text
end

describe("the files of a store", function()
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

  local function stages()
    local engine <close> = pipeline.open(path, { no_worker = true })
    return engine:status().stages
  end

  for _, visit in ipairs { "none", "io.open", "read", "copy", "another engine", "another library",
    "another library stays", "fork" } do
    it("lose nothing that was acknowledged before a kill, whatever the program does to them: " .. visit, function()
      local text = run(("%s spec/files/writer.lua '%s' '%s/acks' '%s'"):format(LUA, path, directory, visit))
      assert.equal(10, lines_in(directory .. "/acks"), text)
      assert.equal(10, stages(), text)
    end)
  end

  it("leave no log behind when the last one closes them, whatever was done to them meanwhile", function()
    local text = run(("%s spec/files/writer.lua '%s' '%s/acks' io.open close"):format(LUA, path, directory))
    assert.equal("", text)
    assert.is_nil(size_of(path .. "-wal"))
    assert.equal(10, stages())
  end)

  local Nothing = helper.define(function() end)

  for _, case in ipairs {
    { "deleted", "rm %s", "file" }, { "moved", "mv %s %s.old", "file" },
    { "replaced", "cp %s %s.new && mv %s.new %s", "file" },
    { "deleted: the log", "rm %s-wal", "log" }, { "deleted: the index of the log", "rm %s-shm", "index" },
    { "replaced: the log", "cp %s-wal %s.new && mv %s.new %s-wal", "log" },
  } do
    it("are not written to, and nothing is acknowledged, once they are " .. case[1], function()
      local engine = helper.open { path = path }
      Nothing():start()
      os.execute((case[2]:gsub("%%s", path)))
      for _ = 1, 2 do
        local problem = helper.raises(pipeline.StoreError, function() Nothing():start() end)
        assert.matches("moved, deleted or replaced", problem.message)
        assert.matches(case[3], problem.message)
        assert.equal("EGONE", problem.code)
      end
      helper.raises(pipeline.StoreError, engine.transaction, engine, function(tx) tx:execute("CREATE TABLE t (a)") end)
      helper.raises(pipeline.StoreError, engine.status, engine)
      engine:close()
    end)
  end

  it("are opened under any symbolic link, as one store", function()
    os.execute(("cd '%s' && mkdir release && ln -s release current && ln -s current/jobs.db link.db"):format(directory))
    local engine = helper.open { path = directory .. "/current/jobs.db" }
    Nothing():start()
    local other = helper.open { path = directory .. "/link.db", no_worker = true }
    assert.equal(1, other:status().stages)
    assert.equal(2, other:status().workers)
    assert.equal(directory .. "/release/jobs.db", engine:status().store.path)
    assert.is_nil(size_of(directory .. "/link.db-workers"))
    assert.is_nil(size_of(directory .. "/current/link.db-workers"))
  end)

  it("are refused under a second name, a hard link, while they are open under the first", function()
    local engine = helper.open { path = path }
    os.execute(("ln '%s' '%s/b.db'"):format(path, directory))
    local problem = helper.raises(pipeline.StoreError, pipeline.open, directory .. "/b.db")
    assert.matches("hard link", problem.message)
    engine:close()
    helper.open { path = directory .. "/b.db" }:close()
    helper.open { path = path }
  end)

  it("are the owner's alone, unless file_mode says otherwise", function()
    local function modes(name)
      return (run(("stat -c %%a '%s' '%s-wal' '%s-shm' '%s-workers'"):format(name, name, name, name)):gsub("\n", " "))
    end
    helper.open { path = path }
    assert.equal("600 600 600 600 ", modes(path))
    assert.same({}, helper.log(30))
    helper.open { path = directory .. "/b.db", file_mode = "640" }
    assert.equal("640 640 640 640 ", modes(directory .. "/b.db"))
    helper.open { path = directory .. "/c.db", file_mode = tonumber("660", 8) }
    assert.equal("660 660 660 660 ", modes(directory .. "/c.db"))
    os.execute(("cd '%s' && mkdir real && ln -s real/e.db e.db"):format(directory)) -- a link that leads nowhere yet
    helper.open { path = directory .. "/e.db" }
    assert.equal("600 600 600 600 ", modes(directory .. "/real/e.db"))
    for _, wrong in ipairs { "rw", "999", "1777", "044", -1, 5.5, {} } do
      helper.misuse("file_mode", helper.open, { path = directory .. "/d.db", file_mode = wrong })
    end
  end)

  it("are the owner's of the database, also those that root makes", function()
    if run("id -u") ~= "0\n" then return pending("only root can try this") end
    helper.open({ path = path }):close()
    os.execute(("chown 65534:65534 '%s'; rm -f '%s-workers'"):format(path, path))
    helper.open { path = path }
    assert.equal("65534\n65534\n65534\n65534\n",
      run(("stat -c %%u '%s' '%s-wal' '%s-shm' '%s-workers'"):format(path, path, path, path)))
  end)

  it("that others can use are warned of, with the mode and the remedy", function()
    helper.open({ path = path }):close()
    os.execute("chmod 644 " .. path)
    helper.open({ path = path }):close()
    assert.equal(1, #helper.log(30))
    assert.matches("0644.*chmod 600.*file_mode = \"644\"", helper.log(30)[1])
    helper.open({ path = path, file_mode = "644" }):close()
    assert.equal(1, #helper.log(30))
  end)

  it("are small again when there is nothing to do: the log is cut", function()
    local engine = helper.open { path = path, virtual_time = false }
    local Big = helper.define(function() end)
    for _ = 1, 40 do Big(("x"):rep(100000)):start() end
    assert.is_true(size_of(path .. "-wal") > 4000000)
    assert.is_true(processes.eventually(20, function() return size_of(path .. "-wal") == 0 end))
    Big():start()
    assert.equal(41, engine:status().stages)
  end)
end)

describe("two processes on one file", function()
  local directory, path, group

  before_each(function()
    directory = processes.directory()
    path = directory .. "/jobs.db"
    group = processes.group(directory)
  end)
  after_each(function()
    group:close()
    os.execute("rm -rf " .. processes.quote(directory))
  end)

  local function log_lines()
    local lines = {}
    for line in io.lines(directory .. "/log") do lines[#lines + 1] = line end
    return lines
  end

  local function count(pattern)
    local n = 0
    for _, line in ipairs(log_lines()) do
      if line:find(pattern) then n = n + 1 end
    end
    return n
  end

  local function eventually(pattern, n)
    local ok = processes.eventually(20, function() return count(pattern) >= (n or 1) end)
    assert(ok, pattern .. " did not come; the log: " .. table.concat(log_lines(), "; "))
  end

  local function spawn(name)
    return group:spawn(directory .. "/output", "spec/files/runner.lua", name, directory .. "/log", directory)
  end

  before_each(function() assert(io.open(directory .. "/log", "w")):close() end)

  local Slow = pipeline.define("files.Slow", { run = function() end }) -- here they are only started
  local Quick = pipeline.define("files.Quick", { run = function() end })

  for _, case in ipairs { "through a symbolic link", "after the file of workers was deleted" } do
    it("do not run the same task at once when the second opens it " .. case, function()
      local first = spawn(path)
      eventually("ready " .. first)
      local engine = pipeline.open(path, { no_worker = true })
      Slow():start()
      eventually("begin")
      local other = path
      if case:find("link") then
        other = directory .. "/b.db"
        os.execute(("ln -s jobs.db '%s'"):format(other))
      else
        os.execute(("rm '%s-workers'"):format(path))
      end
      local second = spawn(other)
      eventually("ready " .. second)
      Quick():start() -- one of the two hears of it
      eventually("quick")
      processes.sleep(1)
      assert.equal(1, count("^begin"), table.concat(log_lines(), "; "))
      assert(io.open(directory .. "/go", "w")):close()
      eventually("^end")
      assert.equal(0, count("refused"))
      engine:close()
    end)
  end

  it("hear of each other again after the file of workers was deleted", function()
    local first = spawn(path)
    eventually("ready " .. first)
    os.execute(("rm '%s-workers'"):format(path))
    local engine <close> = pipeline.open(path, { no_worker = true })
    eventually("made anew")
    Quick():start()
    eventually("quick")
    local before = processes.now()
    for i = 2, 6 do
      Quick():start()
      eventually("quick", i)
    end
    assert.is_true(processes.now() - before < 4) -- not by the slow check, which takes five seconds each
    assert(engine)
  end)
end)
