-- A process that acts on many pipelines and is killed between two of them.

local json = require "pipeline.http.json"
local pipeline = require "pipeline"
local processes = require "spec.crash.processes"

describe("engine:act in a process that is killed", function()
  local directory, group, broken, ran

  local Done = pipeline.define("act.killed.Done", { run = function(_, n)
    ran[n] = (ran[n] or 0) + 1
    return n
  end })
  local Fickle = pipeline.define("act.killed.Fickle", { max_attempts = 1, run = function(_, n)
    if broken then error("no " .. n, 0) end
    return n
  end })
  local Tree = pipeline.define("act.killed.Tree", { run = function(self, n)
    local first = self:spawn(Done(n))
    self:after({ first }, function() self:spawn(Fickle(n)) end)
    return n
  end })

  setup(function()
    directory = processes.directory()
    group = processes.group(directory)
  end)
  teardown(function()
    group:close()
    os.execute("rm -rf " .. processes.quote(directory))
  end)

  local function open(path)
    return pipeline.open(path, { virtual_time = true, virtual_start = 1700000000.0, log = function() end })
  end

  -- Resumes the ids of a file one after the other, and kills itself before the nth.
  local KILLED = [[
    local path, given, nth = arg[1], arg[2], tonumber(arg[3])
    local pipeline = require "pipeline"
    local file <close> = assert(io.open(given))
    local list = require("pipeline.http.json").decode(file:read("a"))
    local engine = pipeline.open(path, { virtual_time = true, virtual_start = 1700000000.0, log = function() end })
    local looked = 0 -- the ids are checked first, then acted on
    engine:act { op = "resume", ids = setmetatable({}, { __index = function(_, i)
      looked = looked + 1
      if looked == #list + 1 + nth then os.execute("kill -9 " .. io.open("/proc/self/stat"):read("n")) end
      return list[i]
    end }) }
  ]]

  local function write(name, text)
    local file <close> = assert(io.open(directory .. "/" .. name, "w"))
    file:write(text)
    return directory .. "/" .. name
  end

  it("U2 has done with each what it did wholly or not at all, and the same act once more does the rest", function()
    local COUNT = 12
    local script = write("killed.lua", KILLED)
    for _, nth in ipairs { 1, 2, 7, COUNT } do
      local path = ("%s/%d.db"):format(directory, nth)
      broken, ran = true, {}
      local engine = open(path)
      for i = 1, COUNT do Tree(i):start() end
      engine:drain()
      local would = engine:act { op = "resume", filters = { state = "aborted" }, dry_run = true, list = true }
      assert.equal(COUNT, #would.ids)
      assert.is_nil(would.more)
      engine:close()

      group:wait(group:spawn(directory .. "/log", script, path, write("ids", json.encode(json.array(would.ids))), nth))
      engine = open(path)
      local states = { aborted = 0, going = 0 }
      for i, id in ipairs(would.ids) do
        local is_aborted = engine:stage(id).state == "aborted"
        assert.equal(i >= nth, is_aborted, "in their order")
        for _, entry in ipairs(engine:tree(id).items) do
          if is_aborted and entry.class ~= "act.killed.Done" then assert.equal("aborted", entry.state) end
          if entry.class == "act.killed.Done" then assert.equal("done", entry.state) end
        end
        local which = is_aborted and "aborted" or "going"
        states[which] = states[which] + 1
      end
      assert.same({ aborted = COUNT - nth + 1, going = nth - 1 }, states)
      broken = false
      local rest = engine:act { op = "resume", ids = would.ids }
      assert.equal(COUNT - nth + 1, rest.done)
      assert.equal(nth - 1, #rest.refused) -- they go on already
      engine:drain()
      for i, id in ipairs(would.ids) do
        assert.equal("done", engine:stage(id).state)
        assert.equal(1, ran[i]) -- what was done stayed done
      end
      engine:close()
    end
  end)

  it("U2 lists what it would act on; what comes later is not among it", function()
    broken, ran = true, {}
    local engine <close> = open(":memory:")
    for i = 1, 3 do Tree(i):start() end
    engine:drain()
    local filters = { state = "aborted" }
    local would = engine:act { op = "resume", filters = filters, dry_run = true, list = true }
    Tree(4):start()
    engine:drain()
    broken = false
    local did = engine:act { op = "resume", ids = would.ids, list = true }
    assert.same(would.ids, did.ids)
    engine:drain()
    assert.equal(1, engine:list_counts(filters).total)
  end)
end)
