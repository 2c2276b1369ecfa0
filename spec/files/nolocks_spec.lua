-- nolocks_spec.lua: where the system has no locks of open files, work goes on as far as it can, and says so.

local processes = require "spec.crash.processes"
local pipeline = require "pipeline"

local quote = processes.quote
local LUA = os.getenv("LUA") or "lua5.4"

describe("without locks of open files", function()
  local directory, path, library, group

  setup(function()
    directory = processes.directory()
    library = directory .. "/nolocks.so"
    assert(os.execute(("cc -O1 -shared -fPIC -o %s spec/files/nolocks.c"):format(quote(library))))
    group = processes.group(directory)
  end)
  before_each(function()
    path = directory .. "/jobs.db"
    for _, name in ipairs { "/log", "/text" } do assert(io.open(directory .. name, "w")):close() end
  end)
  after_each(function() os.execute("rm -f " .. quote(path) .. "*") end)
  teardown(function()
    group:close()
    os.execute("rm -rf " .. quote(directory))
  end)

  local function read(name)
    local file <close> = assert(io.open(directory .. name))
    return file:read("a")
  end

  local function count(pattern)
    local _, n = read("/log"):gsub(pattern, "")
    return n
  end

  local function spawn()
    return group:shell(directory .. "/text", ("LD_PRELOAD=%s %s spec/files/runner.lua %s %s %s"):format(quote(library),
      LUA, quote(path), quote(directory .. "/log"), quote(directory)))
  end

  it("it is said once what is missing, and what is acknowledged is there", function()
    local command = ("LD_PRELOAD=%s %s spec/files/writer.lua %s %s/acks none >%s/text 2>&1"):format(quote(library), LUA,
      quote(path), directory, directory)
    os.execute(command)
    local text = read("/text")
    local _, warnings = text:gsub("no locks of open files", "")
    assert.equal(1, warnings, text)
    local engine <close> = pipeline.open(path, { no_worker = true })
    assert.equal(10, engine:status().stages)
  end)

  it("a worker is alive while its lease lasts: no task runs in two of them", function()
    local Slow = pipeline.define("files.Slow", { run = function() end })
    local Quick = pipeline.define("files.Quick", { run = function() end })
    local function eventually(pattern)
      assert(processes.eventually(20, function() return count(pattern) > 0 end), pattern .. ": " .. read("/log"))
    end
    local first = spawn()
    eventually("ready " .. first)
    local engine <close> = pipeline.open(path, { no_worker = true })
    Slow():start()
    eventually("begin")
    local second = spawn()
    eventually("ready " .. second)
    Quick():start()
    eventually("quick")
    processes.sleep(1)
    assert.equal(1, count("begin"))
    assert(io.open(directory .. "/go", "w")):close()
    eventually("end " .. first)
    assert.is_not_nil(engine)
  end)
end)
