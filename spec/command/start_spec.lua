--- start: from the shell to a pipeline, and back with its outputs.

local processes = require "spec.crash.processes"
local support = require "spec.command.support"

describe("start", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  local function start(...)
    return { "start", "--module", "./demo.lua", ... }
  end

  local function name_of(pid)
    local file <close> = assert(io.open(("/proc/%d/comm"):format(pid)))
    return file:read("l")
  end

  it("C5 prints the outputs with --wait, without any worker", function()
    local out = scene:must { "start", "demo.Add", "1", "2", "--module", "./demo.lua", "--wait" }
    assert.equal("3\n", out)
    assert.equal("6\n", (scene:must(start("demo.Sum", "1", "2", "3", "--wait"))))
    assert.equal('{"default":8,"half":4.0}\n', (scene:must(start("demo.Named", "8", "--wait")):gsub("4}", "4.0}")))
  end)

  it("C5 takes arguments as JSON, and what is none as a text", function()
    local out = scene:must(start("--wait", "demo.Say", "1", "2.5", "true", '"3"', "plain text", '{"a": [1, null]}',
      "[]", "{broken", "--", "-7"))
    assert.equal('[1,2.5,true,"3","plain text",{"a":[1]},{},"{broken",-7]\n', out)
  end)

  it("says that what looks like JSON is none, which command helps, and where a pipeline is that exists", function()
    local _, _, err = scene:run(start("demo.Say", "{id: 20}", "--key", "twice"))
    assert.truthy(err:find("'{id: 20}' is no JSON", 1, true), err)
    _, _, err = scene:run(start("demo.Say", "1", "--key", "twice"))
    assert.truthy(err:find("exists already; see 'pipeline show key:twice'", 1, true), err)
    _, _, err = scene:run { "start" }
    assert.truthy(err:find("see 'pipeline help start'", 1, true), err)
  end)

  it("C5 exits with 1 when it is aborted, and names the stage that failed", function()
    local code, out, err = scene:run(start("demo.Parent", "no stock", "--wait", "-q"))
    assert.equal(1, code)
    assert.equal("", out)
    local last = err:match("([^\n]*)\n$")
    for _, text in ipairs { "demo.Bad", "no stock", "pipeline logs " } do
      assert.truthy(last:find(text, 1, true), err)
    end
  end)

  it("starts once for a key, later with --in and --at, and prints the id", function()
    local id = scene:must(start("demo.Add", "1", "2", "--key", "once")):match("^(%S+)\n$")
    assert.truthy(id)
    local code, _, err = scene:run(start("demo.Add", "1", "2", "--key", "once"))
    assert.equal(1, code)
    assert.truthy(err:find("once", 1, true), err)
    assert.equal("demo.Add", scene:json(start("demo.Add", "1", "2", "--in", "2h")).class)
    assert.equal(32, #scene:json(start("demo.Add", "1", "2", "--at", "2030-01-01T00:00:00Z")).id)
  end)

  it("C10 leaves the work to a worker that is there", function()
    local worker = scene:worker()
    local out, err = scene:must(start("demo.Sum", "1", "2", "3", "--wait"))
    assert.equal("6\n", out)
    assert.is_nil(err:find("working here", 1, true))
    assert.equal(0, scene:stop(worker))
  end)

  it("gives up waiting after --timeout, with exit code 1, and the pipeline goes on", function()
    local code, _, err = scene:run(start("demo.Ask", "--wait", "--timeout", "0.3s"))
    assert.equal(1, code)
    assert.truthy(err:find("pipeline why ", 1, true), err)
  end)

  it("ends at Ctrl-C with exit code 130", function()
    local code = scene:terminal(start("demo.Ask", "--wait"), { send = { { "working here", "\\x03" } } })
    assert.equal(130, code)
  end)

  it("ends at Ctrl-C whenever that comes: it is never lost, and the exit code is 130", function()
    local seed = os.time()
    print("start_spec: seed " .. seed)
    math.randomseed(seed)
    for _ = 1, 25 do
      -- a shell has what it starts in the background ignore it
      local process = scene:spawn(start("demo.Ask", "--wait"), { before = "env --default-signal=INT" })
      assert(processes.eventually(support.SECONDS, function() return name_of(process.pid) == "lua5.4" end))
      processes.sleep(math.random() * 0.15)
      local code = scene:stop(process, "INT")
      local is_before = process.said():find("^%S*lua5%.4: interrupted!") -- the library is not loaded yet
      assert.equal(is_before and 1 or 130, code, process.said())
    end
  end)
end)
