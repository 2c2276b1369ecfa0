--- worker: executes what files define, until it is told to stop.

local http = require "socket.http"
local support = require "spec.command.support"

describe("worker", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  local function hold()
    scene:write("hold", "")
    scene:must { "start", "demo.Hold", "hold", "--module", "demo.lua" }
    local worker = scene:worker()
    worker.saw("holding")
    return worker
  end

  it("C3 stops cleanly at one SIGINT: what runs may end, and is waited for", function()
    local worker = hold()
    scene.group:signal(worker.pid, "INT")
    local id = scene:json({ "list" }).items[1].id
    worker.saw("waiting up to 30 s for 1 run to end (run demo.Hold " .. id .. "); Ctrl-C again ends at once")
    os.remove(scene.directory .. "/hold")
    assert.equal(0, scene.group:wait_for(worker.pid, support.SECONDS))
    worker.saw("stopped")
  end)

  it("C3 ends at once at a second SIGINT", function()
    local worker = hold()
    support.eventually(support.SECONDS, function() -- signals that come close together are one
      if scene.group:state(worker.pid) ~= "Z" then scene.group:signal(worker.pid, "INT") end
      return scene.group:state(worker.pid) == "Z"
    end)
    assert.equal(130, scene.group:wait_for(worker.pid, support.SECONDS))
  end)

  it("C3 stops at Ctrl-C in a terminal", function()
    local code, screen = scene:terminal({ "worker", "demo.lua" }, { send = { { "working on", "\\x03" } } })
    assert.equal(0, code, screen)
    assert.truthy(screen:find("stopped", 1, true), screen)
  end)

  it("C3 exits with 1 and a traceback when a file cannot be loaded, and has claimed nothing", function()
    scene:must { "start", "demo.Add", "1", "2", "--module", "demo.lua" }
    scene:write("broken.lua", "local function deep() error('out of order') end\ndeep()\n")
    local code, _, err = scene:run { "worker", "demo.lua", "broken.lua" }
    assert.equal(1, code)
    assert.truthy(err:find("stack traceback", 1, true) and err:find("broken.lua:1: out of order", 1, true), err)
    scene:write("broken.lua", "this is no Lua\n")
    code, _, err = scene:run { "worker", "broken.lua" }
    assert.equal(1, code)
    assert.truthy(err:find("broken.lua:1", 1, true), err)
    assert.equal(0, scene:json({ "start", "demo.Add", "3", "4", "--module", "demo.lua" }).attempts or 0)
  end)

  it("C3 says at start which classes pipelines wait for that no file defines", function()
    scene:must { "start", "demo.Add", "1", "2", "--module", "demo.lua" }
    scene:write("other.lua", 'require("pipeline").define("demo.Added", { run = function() end })\n')
    local worker = scene:spawn { "worker", "other.lua" }
    worker.saw("pipelines of class demo.Add are waiting, and none of these files defines it (did you mean demo.Added?)")
    worker.saw("working on")
    assert.equal(0, scene:stop(worker))
    worker = scene:worker()
    assert.is_nil(worker.said():find("none of these files", 1, true))
    assert.equal(0, scene:stop(worker))
  end)

  it("C3 says so of classes of stages below a root, too", function()
    scene:must { "start", "demo.Sum", "1", "2", "3", "--module", "demo.lua", "--queue", "default" }
    scene:write("above.lua", [[
      local pipeline = require "pipeline"
      local Add = pipeline.define("demo.Add", { queue_name = "later", run = function() end })
      pipeline.define("demo.Sum", { run = function(self) self:spawn(Add(1, 2)) end })
    ]])
    local worker = scene:spawn { "worker", "above.lua", "--queues", "default" }
    assert.is_true(support.eventually(support.SECONDS, function()
      return scene:json({ "list" }).items[1].state == "open"
    end))
    assert.equal(0, scene:stop(worker))
    scene:write("other.lua", 'require("pipeline").define("demo.Sum", { run = function() end })\n')
    worker = scene:spawn { "worker", "other.lua" }
    worker.saw("pipelines of class demo.Add are waiting, and none of these files defines it")
    worker.saw("working on")
    assert.equal(0, scene:stop(worker))
  end)

  it("C3 says once which class is missing, with the remedy, however many wait for it", function()
    for i = 1, 3 do scene:must { "start", "demo.Add", i, "2", "--module", "demo.lua" } end
    scene:write("other.lua", "")
    local worker = scene:spawn { "worker", "other.lua" }
    worker.saw("class demo.Add cannot be loaded")
    worker.saw("start the worker with the file that defines it")
    support.eventually(support.SECONDS, function()
      for _, entry in ipairs(scene:json({ "list" }).items) do
        if entry.state ~= "delayed" then return false end
      end
      return true
    end)
    assert.equal(0, scene:stop(worker))
    local _, lines = worker.said():gsub("class demo.Add cannot be loaded", "")
    assert.equal(1, lines, worker.said())
    worker.saw("more tries in vain to load class demo.Add")
  end)

  it("loads what lies beside a file, and finds its functions by the names in the store", function()
    scene:write("beside.lua", "return { word = 'beside' }\n")
    scene:write("calls.lua", [[
      local beside, deferred = require "beside", require "pipeline.deferred"
      local calls = {}
      function calls.tell(text) io.stderr:write(beside.word, " ", text, "\n") end
      package.loaded.calls = calls
      deferred.defer(calls.tell, "was called")
      return calls
    ]])
    local worker = scene:spawn { "worker", "calls.lua" }
    worker.saw("working on")
    worker.saw("beside was called")
    assert.equal(0, scene:stop(worker))
  end)

  it("C10 serve answers requests, and executes nothing", function()
    local id = scene:must({ "start", "demo.Add", "1", "2", "--module", "demo.lua" }):match("%S+")
    local server = scene:spawn { "serve", "127.0.0.1:0" }
    server.saw("serving http://127.0.0.1:")
    local url = server.said():match("serving (http://127.0.0.1:%d+)")
    local answer
    assert.is_true(support.eventually(support.SECONDS, function()
      local _, status = http.request(url .. "/healthz")
      answer = status
      return status == 200
    end), tostring(answer))
    assert.equal("ready", scene:json({ "show", id }).state)
    assert.equal(0, scene:stop(server, "INT"))
  end)

  it("serves pages where it is told to, and says so when the address is taken", function()
    local worker = scene:worker("--serve", "127.0.0.1:0")
    worker.saw("serving http://127.0.0.1:")
    local port = worker.said():match("serving http://127.0.0.1:(%d+)")
    local code, _, err = scene:run { "serve", "127.0.0.1:" .. port }
    assert.equal(1, code)
    assert.truthy(err:find("choose another address", 1, true), err)
    assert.equal(0, scene:stop(worker))
  end)
end)
