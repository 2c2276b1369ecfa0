-- Files that are not what they should be: opening them raises StoreError with the reason, and damages nothing.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local Echo = pipeline.define("input.store.Echo", { run = function(_, value) return value end })

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  assert(file:write(bytes))
  assert(file:close())
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("a")
  file:close()
  return bytes
end

local function shell(command)
  return os.execute(command .. " >/dev/null 2>&1") == true
end

-- Opening fails with StoreError of this code, whose message names the path; engines opened before are not affected.
local function refused(code, path, options)
  local problem = helper.raises(pipeline.StoreError, pipeline.open, path, options)
  assert.equal("StoreError", problem.class)
  assert.equal(code, problem.code)
  assert.truthy(problem.message:find(path, 1, true), problem.message)
  assert.truthy(tostring(problem):find("StoreError", 1, true))
  return problem
end

describe("opening", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("a file that is not a database is refused, and left as it is", function()
    local path, text = helper.path(), ("These are the notes of a gardener.\n"):rep(200)
    write(path, text)
    refused("ENOTDB", path)
    assert.equal(text, read(path))
  end)

  it("a short file of garbage is refused", function()
    local path = helper.path()
    write(path, "xy")
    refused("ENOTDB", path)
    assert.equal("xy", read(path))
  end)

  it("an empty file is a new database", function()
    local path = helper.path()
    write(path, "")
    helper.open { path = path }
    assert.equal(5, helper.result(Echo(5)))
  end)

  it("a database of something else is taken, its tables stay", function()
    local path = helper.path()
    if not shell("command -v sqlite3") then return pending("no sqlite3 command") end
    assert(shell(("sqlite3 '%s' 'CREATE TABLE mine (a); INSERT INTO mine VALUES (7)'"):format(path)))
    helper.open { path = path }
    assert.equal(6, helper.result(Echo(6)))
    helper.finish()
    local pipe = io.popen(("sqlite3 '%s' 'SELECT a FROM mine'"):format(path))
    assert.equal("7\n", pipe:read("a"))
    pipe:close()
  end)

  it("a newer schema is refused by name, and nothing is changed", function()
    if not shell("command -v sqlite3") then return pending("no sqlite3 command") end
    local path = helper.path()
    helper.open { path = path }
    helper.finish()
    assert(shell(("sqlite3 '%s' \"UPDATE pl_meta SET value = 999 WHERE key = 'schema_version'; "
      .. "PRAGMA wal_checkpoint(TRUNCATE)\""):format(path)))
    local problem = refused("ENEWER", path)
    assert.truthy(problem.message:find("999", 1, true))
    assert.truthy(problem.message:find("newer", 1, true))
    local pipe = io.popen(("sqlite3 '%s' \"SELECT value FROM pl_meta WHERE key = 'schema_version'\""):format(path))
    assert.equal("999\n", pipe:read("a"))
    pipe:close()
  end)

  it("a directory is refused", function()
    local path = helper.path()
    assert(shell(("mkdir '%s'"):format(path)))
    refused("EIO", path)
  end)

  it("a directory that does not exist is refused", function()
    local problem = refused("EIO", helper.path() .. "/no/such/place.db")
    assert.truthy(problem.message:find("No such file or directory", 1, true), problem.message)
  end)

  it("a file where a directory should be is refused", function()
    local path = helper.path()
    write(path, "x")
    refused("EIO", path .. "/t.db")
  end)

  it("a directory where no file can be made (/proc, for root ignores permissions) is refused", function()
    refused("EIO", "/proc/pipeline-spec.db")
  end)

  it("a read-only file system (a tmpfs mounted so) is refused", function()
    local path = helper.path()
    assert(shell(("mkdir '%s'"):format(path)))
    if not shell(("mount -t tmpfs -o ro tmpfs '%s'"):format(path)) then return pending("cannot mount a tmpfs here") end
    local ok, problem = pcall(refused, "EREADONLY", path .. "/t.db")
    shell(("umount '%s'"):format(path))
    assert(ok, problem)
  end)

  it("an existing file on a file system that became read-only is refused as read-only", function()
    local path = helper.path()
    assert(shell(("mkdir '%s'"):format(path)))
    if not shell(("mount -t tmpfs tmpfs '%s'"):format(path)) then return pending("cannot mount a tmpfs here") end
    helper.open { path = path .. "/t.db" }
    helper.finish()
    assert(shell(("mount -o remount,ro '%s'"):format(path)))
    local ok, problem = pcall(refused, "EREADONLY", path .. "/t.db")
    shell(("umount '%s'"):format(path))
    assert(ok, problem)
  end)

  it("a path with a zero byte is misuse", function()
    helper.misuse("bad argument #1 to 'open'", pipeline.open, helper.path() .. "\0.db")
  end)

  it("an empty path, which SQLite would take for a temporary file, is misuse", function()
    helper.misuse("bad argument #1 to 'open'", pipeline.open, "")
  end)

  it("the same file may be opened twice in one process: two workers", function()
    local path = helper.path()
    local first = helper.open { path = path, virtual_time = false }
    local second = helper.open { path = path, virtual_time = false }
    local stage = Echo("by the second"):start { engine = first }
    second:drain { timeout = 20 }
    assert.equal("by the second", first:wait(stage, { timeout = 20 }).default.value)
    assert.equal(2, first:status().workers)
    second:close()
    stage = Echo("by the first"):start { engine = first }
    assert.equal("by the first", first:wait(stage, { timeout = 20 }).default.value)
  end)
end)

describe("a damaged file", function()
  after_each(helper.finish)
  teardown(helper.clean)

  local function filled()
    local path = helper.path()
    local engine = helper.open { path = path }
    local stages = {}
    for i = 1, 40 do stages[i] = Echo(("value %d "):format(i):rep(200)):start() end
    engine:drain { delayed = true }
    local ids = {}
    for i, stage in ipairs(stages) do ids[i] = stage.id end
    helper.finish()
    return path, ids
  end

  -- Opens and reads everything: whatever is raised is one of our errors, and nothing crashes.
  local function try(path, ids)
    local ok, engine = pcall(helper.open, { path = path })
    if not ok then
      assert(pipeline.is(engine), tostring(engine))
      return 1
    end
    local raised = 0
    local function call(fn, ...)
      local good, problem = pcall(fn, ...)
      if not good then
        assert(pipeline.is(problem), tostring(problem))
        raised = raised + 1
      end
    end
    for _, id in ipairs(ids) do
      call(function()
        local stage = pipeline.from_id(id)
        return stage and stage.outputs.default.value
      end)
      call(pipeline.get_status_tree, id)
    end
    call(pipeline.get_root_list, { count = 100 })
    call(function() Echo(1):start() end)
    call(engine.drain, engine, { timeout = 5 })
    engine:close()
    return raised
  end

  it("with a page overwritten in its middle gives errors, not crashes", function()
    local path, ids = filled()
    local bytes = read(path)
    assert.is_true(#bytes > 40 * 1024)
    local raised = 0
    for page = 2, #bytes // 4096 - 1, 3 do
      local at = page * 4096
      write(path, bytes:sub(1, at) .. ("\xa5"):rep(4096) .. bytes:sub(at + 4097))
      os.remove(path .. "-wal")
      os.remove(path .. "-shm")
      raised = raised + try(path, ids)
    end
    assert.is_true(raised > 0, "no damage was noticed")
  end)

  it("with its first page overwritten is refused", function()
    local path = filled()
    local bytes = read(path)
    write(path, bytes:sub(1, 100) .. ("\xa5"):rep(3996) .. bytes:sub(4097))
    refused("ECORRUPT", path)
  end)

  it("that was cut off is refused or gives errors", function()
    local path, ids = filled()
    local bytes = read(path)
    write(path, bytes:sub(1, #bytes // 2))
    assert.is_true(try(path, ids) > 0)
  end)

  it("with garbage for a write-ahead log opens: a log that is not one is ignored", function()
    local path, ids = filled()
    write(path .. "-wal", ("\xa5"):rep(20000))
    assert.equal(0, try(path, ids))
  end)
end)

describe("a full disk", function()
  teardown(helper.clean)

  it("is reported, loses nothing, and work goes on when there is room again", function()
    local path = helper.path()
    assert(shell(("mkdir '%s'"):format(path)))
    if not shell(("mount -t tmpfs -o size=2m tmpfs '%s'"):format(path)) then
      return pending("cannot mount a tmpfs here; spec/faults/vfs_test.c does the same with a failing file system")
    end
    finally(function()
      pcall(helper.finish)
      shell(("umount '%s'"):format(path))
    end)
    local engine = helper.open { path = path .. "/t.db" }
    local first = Echo("before"):start { idempotence_key = "before" }
    local kept, problem = {}, nil
    for i = 1, 100 do
      local ok, result = pcall(function() return Echo(("x"):rep(100000)):start { idempotence_key = "k" .. i } end)
      if not ok then
        problem = result
        break
      end
      kept[#kept + 1] = result
    end
    assert(pipeline.is(problem, pipeline.StoreError), tostring(problem))
    assert.equal("EFULL", problem.code)
    -- Results cannot be stored either: drain does not end well, and says so.
    local ok = pcall(engine.drain, engine, { timeout = 5, delayed = true })
    assert.is_false(ok)
    assert(shell(("mount -o remount,size=64m '%s'"):format(path)))
    engine:drain { timeout = 60, delayed = true }
    assert.equal("before", engine:wait(first, { timeout = 0 }).default.value)
    for _, stage in ipairs(kept) do assert.equal(100000, #engine:wait(stage, { timeout = 0 }).default.value) end
    assert.is_nil(pipeline.from_id("k" .. #kept + 1))
    assert.equal(#kept, engine:status().stages - 1)
    assert.is_true(#helper.log(40) > 0, "nothing was logged")
  end)
end)
