-- processes_spec.lua: deferred calls made by other processes, in real time: D1, D18, D25, D30, D31, D35, D40.

local support = require "spec.multi.support"
local deferred = require "pipeline.deferred"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

describe("deferred calls and other processes", function()
  local scene
  before_each(function() scene = support.scene { lease_seconds = 2 } end)
  after_each(function() scene:close() end)

  local function count(verb)
    return #scene:read(verb)
  end

  it("D1 L21 a call goes by name to a process that knows the function", function()
    scene:spawn("deferred")
    deferred.defer("spec.note", "here")
    assert.equal("here", scene:wait_line("end")[2])
    assert.equal(1, count("begin"))
  end)

  it("D25 a call whose process is killed is made again by another", function()
    local victim = scene:spawn("deferred", { lease_seconds = 2 })
    deferred.defer("spec.note", "cut", 1)
    scene:wait_line("begin", victim)
    scene.group:kill(victim)
    scene:spawn("deferred", { lease_seconds = 2 })
    scene:wait_line("end")
    assert.same({ 2, 1 }, { count("begin"), count("end") })
  end)

  it("D36 G36 none of many is lost or made twice", function()
    for _ = 1, 2 do scene:spawn("deferred") end
    for i = 1, 200 do deferred.defer("spec.note", i) end
    assert(support.eventually(20, function() return count("end") >= 200 end), scene:printed())
    local seen = {}
    for _, words in ipairs(scene:read("end")) do
      assert.is_nil(seen[words[2]])
      seen[words[2]] = true
    end
  end)

  it("D18 D30 D31 D40 the handler elsewhere makes calls of its own store, and refuses and logs all others", function()
    if not scene.engine._core.fetch then return pending("needs a build that can send HTTP requests") end
    local other = scene:spawn("start_handler")
    local targets = { default = "http://127.0.0.1:" .. scene:wait_line("port", other)[2] }
    local options = { targets = targets, log = function() end }
    local function push(path, what)
      scene.engine:close()
      local engine <close> = pipeline.open(path, options)
      deferred.with { target = "elsewhere", retry_options = { task_retry_limit = 0 } }("spec.note", what)
      engine:drain { delayed = true, timeout = 10 }
      return taskqueue.Queue("default"):dead_tasks()
    end
    assert.equal(0, #push(scene.path, "own"))
    assert.same({ 1, "own" }, { count("end"), scene:read("end")[1][2] })
    local dead = push(":memory:", "foreign")
    assert.same({ 1, 403 }, { #dead, dead[1].status })
    assert.equal(1, count("end"))
    assert.equal(1, #scene:logged(50, other))
  end)

  it("D35 G39 the handler elsewhere does not know the function, and the call is kept", function()
    if not scene.engine._core.fetch then return pending("needs a build that can send HTTP requests") end
    local other = scene:spawn("start_handler")
    scene.engine:close()
    local engine <close> = pipeline.open(scene.path, { log = function() end,
      targets = { default = "http://127.0.0.1:" .. scene:wait_line("port", other)[2] } })
    deferred.with { target = "elsewhere" }("spec.unknown_there", 1)
    engine:drain { delayed = true, timeout = 10 }
    local dead = taskqueue.Queue("default"):dead_tasks()
    assert.same({ 1, 422, "PermanentTaskFailure" }, { #dead, dead[1].status, dead[1].error_class })
    assert.matches("spec.unknown_there", dead[1].message)
  end)
end)
