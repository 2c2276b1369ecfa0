--- Clocks that are set: durations go on as before, etas are times of day. Every scenario is a process of its own, into
-- which a small library is loaded (clock.c) that shifts what it sees of the wall clock.

local library = require "spec.clocks.library"
local processes = require "spec.crash.processes"

local quote = processes.quote
local directory, preloaded, group
local files = 0

local function run(text)
  local pipe = assert(io.popen(text .. " 2>&1"))
  local output = pipe:read("a")
  local ok = pipe:close()
  return ok, output
end

-- A sanitized lua is a script that preloads its runtime; what it finds in LD_PRELOAD it keeps.
local function command(shift, ...)
  local words = {}
  for i, word in ipairs { ... } do words[i] = quote(word) end
  return ("%s %s spec/clocks/scenarios.lua %s"):format(library.environment(preloaded, shift),
    os.getenv("LUA") or "lua5.4", table.concat(words, " "))
end

local function new_files()
  files = files + 1
  local path, shift = ("%s/%d.db"):format(directory, files), ("%s/%d.shift"):format(directory, files)
  library.make(shift)
  return path, shift
end

local function read_all(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

-- One process for each step, side by side.
local function scenario(name, steps)
  local running = {}
  for _, step in ipairs(steps) do
    local path, shift = new_files()
    local log = path .. ".log"
    running[#running + 1] = { step = step, log = log, pid = group:shell(log, command(shift, path, shift, name, step)) }
  end
  for _, one in ipairs(running) do
    local code, output = group:wait_for(one.pid, 60), read_all(one.log)
    assert(code == 0 and output == "", ("%s, clock set by %s s: %s"):format(name, one.step, output))
  end
end

describe("clocks that are set", function()
  setup(function()
    directory = processes.directory()
    preloaded = library.build(directory)
    group = processes.group(directory)
  end)

  teardown(function()
    group:close()
    os.execute("rm -rf " .. quote(directory))
  end)

  local steps = { 3600, -3600, 86400, -86400 }

  local function always(title, name)
    it(title, function()
      scenario(name, steps)
    end)
  end

  always("a wait with a timeout takes as long as it says", "waits")
  always("a run has the time that its timeout says, and its sleeps take as long as they say", "runs")
  always("the pause before a retry takes as long as it says", "retries")
  always("the pause before a retry takes as long also when the clock is set before it is stored", "retry_on_its_way")
  always("a pause before a retry goes on while no process has the file open", "reopened")
  always("a pulled task is leased as long as it says, and its holder can prolong the lease", "leases")
  always("a task that can be leased can still be leased", "leasable")
  always("who rested while the clock was set and set back reckons as the file does", "rested")
  always("a rate is kept", "rates")
  always("the name of a deleted task stays taken as long as it says", "tombstones")
  it("an eta is a time of day: due when the clock is set to it", function() scenario("etas", { 3600 }) end)
  it("what runs with an eta finds that the time has come, by every clock that a program can read", function()
    scenario("due", { 0 })
  end)

  it("a worker is not taken for dead because the clock was set", function()
    for _, step in ipairs { 3600, -3600 } do
      local path, shift = new_files()
      local log = directory .. "/log" .. files
      local worker = group:shell(log, command(shift, path, shift, "work"))
      local watcher = group:shell(log, command(shift, path, shift, "work"))
      local ok, output = run(command(shift, path, shift, "start", step))
      assert(ok and output == "", output)
      for _, pid in ipairs { worker, watcher } do
        group:signal(pid, "TERM")
        assert(group:wait_for(pid, 10) == 0)
      end
    end
  end)
end)
