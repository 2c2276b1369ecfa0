-- libcurl is loaded by the first request, not with the library: most processes fetch nothing.

local processes = require "spec.crash.processes"

local ASAN = (os.getenv("PL_BUILD") or ""):find("san$") -- its runtime has to be the first library
local in_plain_builds = ASAN and pending or it

local function run(source, environment)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "w"))
  file:write([[
    local function is_loaded()
      for line in io.lines("/proc/self/maps") do if line:find("libcurl", 1, true) then return true end end
      return false
    end
    local pipeline, tasklets = require "pipeline", require "pipeline.tasklets"
    local engine <close> = pipeline.open(":memory:")
  ]], source)
  file:close()
  local command = ("%s %s %s 2>&1"):format(environment or "", os.getenv("LUA") or "lua5.4", processes.quote(path))
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  os.remove(path)
  return text
end

local FETCH = [[
  local ok, problem = pcall(function()
    return tasklets.fetch{ url = "http://127.0.0.1:1/" }:get_result()
  end)
  print(ok, problem)
  print(is_loaded())
]]

describe("libcurl", function()
  it("is not loaded by a process that opens an engine, runs work and fetches nothing", function()
    assert.equal("false\n", run [[
      local Add = pipeline.define("spec.Add", { run = function(_, a, b) return a + b end })
      local stage = Add(1, 2)
      stage:start()
      assert(engine:wait(stage).default.value == 3)
      print(is_loaded())
    ]])
  end)

  it("is loaded by the first request", function()
    local text = run(FETCH)
    assert.matches("^false\t.*127%.0%.0%.1", text)
    assert.matches("true\n$", text)
  end)

  in_plain_builds("where it is missing, a request says so, and all else works", function()
    local library = os.tmpname()
    assert(os.execute(("cc -O1 -shared -fPIC -D_GNU_SOURCE -o %s spec/fetch/absent.c"):format(library)))
    local text = run(FETCH .. [[
      local Add = pipeline.define("spec.Add", { run = function(_, a, b) return a + b end })
      local stage = Add(1, 2)
      stage:start()
      print(engine:wait(stage).default.value)
    ]], "LD_PRELOAD=" .. library)
    os.remove(library)
    assert.matches("^false\t.*libcurl cannot be loaded: libcurl%.so%.4", text)
    assert.matches("false\n3\n$", text)
  end)
end)
